//! Doubles: text to number, and number to the text that Valkey prints.

use super::binary::{BINARY64, parse_hex};
use super::grisu;
use super::integer::{I64_BYTES_MAX, format_i64};

/// Size of a buffer that every printed `f64` fits in, in bytes.
pub const F64_BYTES_MAX: usize = 32;

/// Doubles up to this size are printed as integers if they are some. Valkey's limit is half of the
/// range of a 64-bit integer, rounded to a double.
const INTEGER_MAX: f64 = (1u64 << 62) as f64;

/// Reads a double: a decimal number with an optional sign, point and exponent, or `inf` or
/// `infinity` in either case.
///
/// `None` for everything else: white space, NaN, hexadecimal numbers, and numbers too large or too
/// small for a double.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    if value.is_normal() {
        return Some(value);
    }
    // An infinity that was written as digits is an overflow; a zero that has other digits, an
    // underflow.
    let number = text
        .split(|byte| matches!(byte, b'e' | b'E'))
        .next()
        .unwrap_or_default();
    let valid = match value {
        _ if value.is_nan() => false,
        _ if value.is_infinite() => !text.iter().any(u8::is_ascii_digit),
        0.0 => !number.iter().any(|byte| matches!(byte, b'1'..=b'9')),
        _ => true,
    };
    valid.then_some(value)
}

/// Reads what [`parse_f64`] reads, or a hexadecimal number such as `0x1p-3`: Redis accepts those as
/// scores and writes them to its append-only file as they are.
pub fn parse_f64_or_hex(text: &[u8]) -> Option<f64> {
    parse_f64(text).or_else(|| parse_hex_f64(text))
}

fn parse_hex_f64(text: &[u8]) -> Option<f64> {
    let (negative, text) = split_sign(text);
    let [b'0', b'x' | b'X', digits @ ..] = text else {
        return None;
    };
    let exact = parse_hex(digits)?;
    let (mantissa, exponent) = exact.round(&BINARY64)?;
    if mantissa == 0 && exact.mantissa != 0 {
        return None;
    }
    // Subnormals have a biased exponent of 0 and no bit at 52, which the addition below leaves at
    // that.
    let biased = (exponent - BINARY64.exponent_min) as u64;
    let bits = if biased == 0 {
        mantissa
    } else {
        mantissa + (biased << 52)
    };
    let value = f64::from_bits(bits);
    Some(if negative { -value } else { value })
}

/// Splits off a plus or minus sign; true for a minus.
pub(super) fn split_sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] | rest => (false, rest),
    }
}

/// Prints `value` as Valkey does, into `buffer`, and returns the text: `nan`, `inf`, `-inf` and
/// `-0` by name, whole numbers up to 2^62 as integers, everything else with the digits and the
/// layout of fpconv.
pub fn format_f64(value: f64, buffer: &mut [u8; F64_BYTES_MAX]) -> &[u8] {
    if value.is_nan() {
        return b"nan";
    }
    if value.is_infinite() {
        return if value < 0.0 { b"-inf" } else { b"inf" };
    }
    if value == 0.0 {
        return if value.is_sign_negative() {
            b"-0"
        } else {
            b"0"
        };
    }
    let integer = value as i64;
    if value.abs() <= INTEGER_MAX && integer as f64 == value {
        let mut digits = [0; I64_BYTES_MAX];
        let text = format_i64(integer, &mut digits);
        let buffer = &mut buffer[..text.len()];
        buffer.copy_from_slice(text);
        return buffer;
    }
    let len = grisu::print(value, buffer);
    &buffer[..len]
}

/// Prints `value` with the digits and the layout of fpconv also when it is a whole number, so that
/// one with many zeros gets an exponent: the form that Valkey mixes into digests of scores.
pub fn format_f64_fpconv(value: f64, buffer: &mut [u8; F64_BYTES_MAX]) -> &[u8] {
    if value == 0.0 || !value.is_finite() {
        return format_f64(value, buffer);
    }
    let len = grisu::print(value, buffer);
    &buffer[..len]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn print(value: f64) -> String {
        String::from_utf8(format_f64(value, &mut [0; F64_BYTES_MAX]).to_vec()).unwrap()
    }

    #[test]
    fn reads_what_valkey_reads() {
        let good = [
            ("0", 0.0),
            ("+1", 1.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("-.5e1", -5.0),
            ("1E+2", 100.0),
            ("0e999999999999", 0.0),
            ("1e-320", 1e-320),
            ("inf", f64::INFINITY),
            ("+INF", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
        ];
        for (text, value) in good {
            assert_eq!(parse_f64(text.as_bytes()), Some(value), "{text}");
            assert_eq!(parse_f64_or_hex(text.as_bytes()), Some(value), "{text}");
        }
        assert!(parse_f64(b"-0").is_some_and(|zero| zero.is_sign_negative()));
    }

    #[test]
    fn reads_the_hexadecimal_numbers_that_redis_reads() {
        let good = [
            ("0x10", 16.0),
            ("-0X1p-3", -0.125),
            ("0x.8", 0.5),
            ("0x1.fffffffffffffp1023", f64::MAX),
            ("0x1p-1074", f64::from_bits(1)),
            ("0x1p-1022", f64::MIN_POSITIVE),
            ("0x1.00000000000008p0", 1.0),
            (
                "0x1.000000000000080000000000000000000000000000001p0",
                1.0 + f64::EPSILON,
            ),
            ("0x0p99999999999", 0.0),
        ];
        for (text, value) in good {
            assert_eq!(parse_f64_or_hex(text.as_bytes()), Some(value), "{text}");
            assert_eq!(parse_f64(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn refuses_what_valkey_refuses() {
        let bad = [
            "",
            " ",
            " 1",
            "1 ",
            "1\n",
            ".",
            "+",
            "-",
            "+-1",
            "1e",
            "1d5",
            "e5",
            "nan",
            "-nan",
            "nan(1)",
            "in",
            "infinit",
            "1e400",
            "-1e400",
            "1e-400",
            "0x",
            "0x.",
            "0xp1",
            "0x1p",
            "0x1p9999",
            "0x1p-9999",
            "0x1.8.",
            "1_0",
            "1,5",
            "1\0",
            "\u{661}",
        ];
        for text in bad {
            assert_eq!(parse_f64_or_hex(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse_f64_or_hex(b"1\xff"), None);
    }

    #[test]
    fn prints_as_valkey_prints() {
        let texts = [
            (1.0, "1"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (1.5e-7, "1.5e-7"),
            (0.000001, "0.000001"),
            (4611686018427387904.0, "4611686018427387904"),
            (4611686018427388928.0, "4611686018427389000"),
            (1e20, "1e+20"),
            (1.5e18, "1500000000000000000"),
            (12345678e21, "1.2345678e+28"),
            (1.2345678901234567e22, "12345678901234568000000"),
            (123456789012345680000.0, "123456789012345680000"),
            // Not the shortest: 299525.664027027 is the same number.
            (299_525.664_027_027, "2.9952566402702703e+5"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (-1234.5678, "-1234.5678"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (value, text) in texts {
            assert_eq!(print(value), text);
        }
    }

    #[test]
    fn fpconv_gives_exponents_to_whole_numbers() {
        let print = |value| {
            let mut buffer = [0; F64_BYTES_MAX];
            String::from_utf8(format_f64_fpconv(value, &mut buffer).to_vec()).unwrap()
        };
        assert_eq!(print(1e9), "1e+9");
        assert_eq!(print(12.0), "12");
        assert_eq!(print(-0.0), "-0");
        assert_eq!(print(f64::INFINITY), "inf");
    }

    proptest! {
        #[test]
        fn doubles_round_trip(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(!value.is_nan());
            let text = print(value);
            prop_assert!(text.len() <= 25);
            prop_assert_eq!(parse_f64(text.as_bytes()).map(f64::to_bits), Some(bits), "{}", text);
        }

        #[test]
        fn ordinary_numbers_round_trip(value in -1e9..1e9f64) {
            prop_assert_eq!(parse_f64(print(value).as_bytes()), Some(value));
        }

        #[test]
        fn hexadecimal_agrees_with_decimal(value: u64) {
            let text = format!("0x{value:x}");
            prop_assert_eq!(parse_f64_or_hex(text.as_bytes()), Some(value as f64));
            prop_assert_eq!(parse_f64(text.as_bytes()), None);
        }

        #[test]
        fn any_text_is_read_without_panic(text in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse_f64_or_hex(&text);
        }
    }
}
