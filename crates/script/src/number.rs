//! Numbers as C's `printf` prints them.

use std::io::Write;

use resp::number::{F64_BYTES_MAX, format_f64};

/// A number as an argument of a command: whole numbers as digits, others with the digits and the
/// layout of fpconv.
pub(crate) fn argument_of(value: f64, buffer: &mut [u8; F64_BYTES_MAX]) -> &[u8] {
    if value == 0.0 {
        b"0"
    } else if value.is_nan() && value.is_sign_negative() {
        b"-nan"
    } else {
        format_f64(value, buffer)
    }
}

/// Appends a finite number as `%.<digits>g`: the shortest layout of `digits` significant digits,
/// without zeros at the end.
pub(crate) fn append_general(out: &mut Vec<u8>, number: f64, digits: usize) {
    let digits = digits.max(1);
    let mut text = [0_u8; 40];
    let mut rest = &mut text[..];
    let _ = write!(rest, "{:.*e}", digits - 1, number.abs());
    let unused = rest.len();
    let text = &text[..40 - unused];
    let split = text
        .iter()
        .position(|byte| *byte == b'e')
        .unwrap_or(text.len());
    let exponent: i32 = std::str::from_utf8(text.get(split + 1..).unwrap_or_default())
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let mut mantissa: Vec<u8> = text[..split]
        .iter()
        .copied()
        .filter(u8::is_ascii_digit)
        .collect();
    while mantissa.len() > 1 && mantissa.last() == Some(&b'0') {
        mantissa.pop();
    }
    if number.is_sign_negative() {
        out.push(b'-');
    }
    if exponent < -4 || exponent >= digits as i32 {
        out.push(mantissa[0]);
        if mantissa.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&mantissa[1..]);
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "e{sign}{:02}", exponent.abs());
    } else if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', (-exponent - 1) as usize));
        out.extend_from_slice(&mantissa);
    } else {
        let whole = exponent as usize + 1;
        if mantissa.len() <= whole {
            out.extend_from_slice(&mantissa);
            out.extend(std::iter::repeat_n(b'0', whole - mantissa.len()));
        } else {
            out.extend_from_slice(&mantissa[..whole]);
            out.push(b'.');
            out.extend_from_slice(&mantissa[whole..]);
        }
    }
}

/// Reads the number at the start of `text` as C's `strtod` does, without leading space: the number
/// and its length in bytes, or `None` when there is none.
pub(crate) fn read_prefix(text: &[u8]) -> Option<(f64, usize)> {
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let negative = text.first() == Some(&b'-');
    let rest = &text[sign..];
    let (number, len) = read_named(rest)
        .or_else(|| read_hexadecimal(rest))
        .or_else(|| read_decimal(rest))?;
    Some((if negative { -number } else { number }, sign + len))
}

fn starts_with(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn read_named(text: &[u8]) -> Option<(f64, usize)> {
    if starts_with(text, b"infinity") {
        return Some((f64::INFINITY, 8));
    }
    if starts_with(text, b"inf") {
        return Some((f64::INFINITY, 3));
    }
    if !starts_with(text, b"nan") {
        return None;
    }
    // A payload in parentheses belongs to it.
    let payload = text[3..].strip_prefix(b"(").and_then(|rest| {
        let end = rest
            .iter()
            .position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_'))?;
        (rest[end] == b')').then_some(end + 2)
    });
    Some((f64::NAN, 3 + payload.unwrap_or(0)))
}

fn digits(text: &[u8], is_digit: fn(&u8) -> bool) -> usize {
    text.iter().take_while(|byte| is_digit(byte)).count()
}

/// The length of digits with a point among them, of which there is at least one.
fn mantissa(text: &[u8], is_digit: fn(&u8) -> bool) -> Option<usize> {
    let whole = digits(text, is_digit);
    let mut len = whole;
    if text.get(whole) == Some(&b'.') {
        let fraction = digits(&text[whole + 1..], is_digit);
        if whole + fraction > 0 {
            len += 1 + fraction;
        }
    }
    (len > 0).then_some(len)
}

/// The length of an exponent behind `letter`, 0 when there is none.
fn exponent(text: &[u8], letter: u8) -> usize {
    if !text
        .first()
        .is_some_and(|byte| byte.eq_ignore_ascii_case(&letter))
    {
        return 0;
    }
    let sign = usize::from(matches!(text.get(1), Some(b'-' | b'+')));
    match digits(&text[1 + sign..], u8::is_ascii_digit) {
        0 => 0,
        len => 1 + sign + len,
    }
}

fn read_decimal(text: &[u8]) -> Option<(f64, usize)> {
    let mut len = mantissa(text, u8::is_ascii_digit)?;
    len += exponent(&text[len..], b'e');
    let number = std::str::from_utf8(&text[..len]).ok()?.parse().ok()?;
    Some((number, len))
}

fn read_hexadecimal(text: &[u8]) -> Option<(f64, usize)> {
    let rest = match text {
        [b'0', b'x' | b'X', rest @ ..] => rest,
        _ => return None,
    };
    let mantissa_len = mantissa(rest, u8::is_ascii_hexdigit)?;
    let exponent_len = exponent(&rest[mantissa_len..], b'p');
    let power: i64 = std::str::from_utf8(&rest[mantissa_len..][..exponent_len])
        .ok()
        .and_then(|text| text.get(1..))
        .map_or(0, |text| {
            text.parse().unwrap_or(if text.starts_with('-') {
                -99_999
            } else {
                99_999
            })
        });
    let mut bits: u64 = 0;
    let mut scale: i64 = 0;
    let mut sticky = false;
    let mut in_fraction = false;
    for byte in &rest[..mantissa_len] {
        let Some(digit) = char::from(*byte).to_digit(16) else {
            in_fraction = true;
            continue;
        };
        if bits >> 60 == 0 {
            bits = bits << 4 | u64::from(digit);
            scale -= if in_fraction { 4 } else { 0 };
        } else {
            // Beyond 64 bits a digit decides rounding only.
            sticky |= digit != 0;
            scale += if in_fraction { 0 } else { 4 };
        }
    }
    let scale = scale.saturating_add(power).clamp(-5_000, 5_000) as i32;
    let number = scaled(bits | u64::from(sticky), scale);
    Some((number, 2 + mantissa_len + exponent_len))
}

/// `bits * 2^scale`, rounded once where the result is not subnormal.
fn scaled(bits: u64, scale: i32) -> f64 {
    let mut number = bits as f64;
    let mut scale = scale;
    while scale > 0 && number.is_finite() && number != 0.0 {
        let step = scale.min(1000);
        number *= 2_f64.powi(step);
        scale -= step;
    }
    while scale < 0 && number != 0.0 {
        let step = scale.max(-1000);
        number *= 2_f64.powi(step);
        scale -= step;
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn general(number: f64, digits: usize) -> String {
        let mut out = Vec::new();
        append_general(&mut out, number, digits);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn prints_as_printf_does() {
        for (number, digits, text) in [
            (0.0, 14, "0"),
            (-0.0, 14, "-0"),
            (0.1, 14, "0.1"),
            (1e15, 14, "1e+15"),
            (123456789012345.0, 14, "1.2345678901234e+14"),
            (100000000000000.0, 14, "1e+14"),
            (10000000000000.0, 14, "10000000000000"),
            (0.0001, 14, "0.0001"),
            (0.00001234, 14, "1.234e-05"),
            (1.0 / 3.0, 14, "0.33333333333333"),
            (9.99999, 3, "10"),
            (1e300, 14, "1e+300"),
        ] {
            assert_eq!(general(number, digits), text);
        }
    }

    #[test]
    fn reads_what_strtod_reads() {
        for (text, number, len) in [
            ("12abc", 12.0, 2),
            ("-1.5e3,", -1500.0, 6),
            ("1e", 1.0, 1),
            ("1e+", 1.0, 1),
            (".5", 0.5, 2),
            ("5.", 5.0, 2),
            ("0x10", 16.0, 4),
            ("0x1.8p1", 3.0, 7),
            ("0x", 0.0, 1),
            ("-Infinity", f64::NEG_INFINITY, 9),
            ("1e999", f64::INFINITY, 5),
        ] {
            assert_eq!(read_prefix(text.as_bytes()), Some((number, len)), "{text}");
        }
        for text in ["", "-", "+", ".", "-.e1", "x"] {
            assert_eq!(read_prefix(text.as_bytes()), None, "{text}");
        }
        assert!(read_prefix(b"nan").is_some_and(|(number, len)| number.is_nan() && len == 3));
    }
}
