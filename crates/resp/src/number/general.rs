//! Doubles as C's `%.17g` prints them.

use std::io::Write;

use super::F64_BYTES_MAX;

/// Significant digits that every double survives.
const SIGNIFICANT: usize = 17;

/// Prints a finite number with up to 17 significant digits, as C's `%.17g` does, into `buffer`, and
/// returns the text: the form of scores of large sorted sets in ZSCAN.
pub fn format_f64_general(value: f64, buffer: &mut [u8; F64_BYTES_MAX]) -> &[u8] {
    let mut scientific = [0u8; F64_BYTES_MAX];
    let mut rest = &mut scientific[..];
    // d.dddddddddddddddde-308 with its sign has 24 bytes.
    let _ = write!(rest, "{:.*e}", SIGNIFICANT - 1, value.abs());
    let unused = rest.len();
    let text = &scientific[..F64_BYTES_MAX - unused];
    let at = text
        .iter()
        .position(|byte| *byte == b'e')
        .unwrap_or(text.len());
    let (mantissa, exponent) = text.split_at(at);
    let exponent: i32 = std::str::from_utf8(exponent.get(1..).unwrap_or_default())
        .ok()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0);
    let mut digits = [0u8; SIGNIFICANT];
    let mut len = 0;
    for byte in mantissa.iter().filter(|byte| byte.is_ascii_digit()) {
        digits[len] = *byte;
        len += 1;
    }
    while len > 1 && digits[len - 1] == b'0' {
        len -= 1;
    }
    let mut line = &mut buffer[..];
    let _ = layout(
        &mut line,
        value.is_sign_negative(),
        &digits[..len],
        exponent,
    );
    let unused = line.len();
    &buffer[..F64_BYTES_MAX - unused]
}

/// Writes significant digits with their exponent: plainly where that is short, else in scientific
/// notation.
fn layout(
    line: &mut &mut [u8],
    negative: bool,
    digits: &[u8],
    exponent: i32,
) -> std::io::Result<()> {
    if negative {
        line.write_all(b"-")?;
    }
    match exponent {
        -4..0 => {
            line.write_all(b"0.")?;
            for _ in exponent..-1 {
                line.write_all(b"0")?;
            }
            line.write_all(digits)
        }
        0..17 => {
            let whole = exponent.unsigned_abs() as usize + 1;
            for at in 0..whole {
                line.write_all(&[digits.get(at).copied().unwrap_or(b'0')])?;
            }
            if let Some(rest) = digits.get(whole..).filter(|rest| !rest.is_empty()) {
                line.write_all(b".")?;
                line.write_all(rest)?;
            }
            Ok(())
        }
        _ => {
            line.write_all(&digits[..1])?;
            if digits.len() > 1 {
                line.write_all(b".")?;
                line.write_all(&digits[1..])?;
            }
            let sign = if exponent < 0 { '-' } else { '+' };
            write!(line, "e{sign}{:02}", exponent.unsigned_abs())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn general_format_is_that_of_c() {
        for (value, expected) in [
            (3.1, "3.1000000000000001"),
            (-0.1, "-0.10000000000000001"),
            (0.5, "0.5"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (1e16, "10000000000000000"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (1e17, "1e+17"),
            (1e300, "1.0000000000000001e+300"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (5e-324, "4.9406564584124654e-324"),
            (-1.7976931348623157e308, "-1.7976931348623157e+308"),
        ] {
            let text = format_f64_general(value, &mut [0; F64_BYTES_MAX]).to_vec();
            assert_eq!(String::from_utf8_lossy(&text), expected);
        }
    }
}
