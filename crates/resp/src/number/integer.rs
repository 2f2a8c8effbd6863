//! Integers and memory sizes.

/// Size of a buffer that every `i64` fits in, in bytes.
pub const I64_BYTES_MAX: usize = 20;

/// Reads an integer that is written in the one way that [`format_i64`] writes it: no spaces, no
/// plus sign, no leading zeros, no `-0`. `None` for everything else and out of range.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'0'] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    // 18 digits cannot overflow, so that only the last ones need checked steps.
    let (&first, rest) = digits.split_first()?;
    if !matches!(first, b'1'..=b'9') || digits.len() > 19 {
        return None;
    }
    let mut value = u64::from(first - b'0');
    for byte in rest {
        if !byte.is_ascii_digit() {
            return None;
        }
        // 19 digits are below 10^19, which an u64 holds.
        value = value
            .wrapping_mul(10)
            .wrapping_add(u64::from(byte.wrapping_sub(b'0')));
    }
    if negative {
        0i64.checked_sub_unsigned(value)
    } else {
        i64::try_from(value).ok()
    }
}

/// Reads an unsigned integer: decimal digits only, leading zeros allowed (stream IDs and cursors
/// have them). `None` for everything else and out of range.
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// Reads a cursor of the SCAN commands as `strtoull` of C does: spaces and a plus sign in front of
/// the digits are allowed, as in Redis. `None` for everything else and out of range.
pub fn parse_cursor(text: &[u8]) -> Option<u64> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let spaces = text.iter().take_while(|byte| is_space(byte)).count();
    match text.get(spaces..)? {
        [b'+', digits @ ..] => parse_u64(digits),
        b"-0" => Some(0),
        digits => parse_u64(digits),
    }
}

/// Prints `value` in decimal into `buffer` and returns the text.
#[inline]
pub fn format_i64(value: i64, buffer: &mut [u8; I64_BYTES_MAX]) -> &[u8] {
    let mut digits = itoa::Buffer::new();
    let text = digits.format(value).as_bytes();
    let buffer = &mut buffer[..text.len()];
    buffer.copy_from_slice(text);
    buffer
}

/// Reads an amount of memory in bytes: digits and a unit in either case. `b` or nothing is bytes;
/// `k`, `m`, `g` are powers of 1,000; `kb`, `mb`, `gb` are powers of 1,024. `None` for everything
/// else and out of range.
pub fn parse_memory(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, unit) = text.split_at(digits);
    let factor = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1_000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    parse_u64(digits)?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cursors_may_have_spaces_and_a_plus_sign() {
        for (text, cursor) in [
            (&b"0"[..], Some(0)),
            (b"007", Some(7)),
            (b"+7", Some(7)),
            (b" \t+7", Some(7)),
            (b"-0", Some(0)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"18446744073709551616", None),
            (b"", None),
            (b"+", None),
            (b" ", None),
            (b"++7", None),
            (b"+ 7", None),
            (b"7 ", None),
            (b"-1", None),
            (b"0x7", None),
        ] {
            assert_eq!(parse_cursor(text), cursor, "{text:?}");
        }
    }

    #[test]
    fn integers_have_one_text() {
        let bad = [
            "", "-", "+1", " 1", "1 ", "01", "-0", "-01", "1.", "0x1", "1a", "--1", "00", "\0",
        ];
        for text in bad {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
        }
        for text in [
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999",
            "18446744073709551617",
        ] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text}");
        }
        for value in [
            0,
            1,
            -1,
            9,
            10,
            i64::MAX,
            i64::MIN,
            i64::MAX - 1,
            i64::MIN + 1,
        ] {
            assert_eq!(parse_i64(value.to_string().as_bytes()), Some(value));
        }
    }

    #[test]
    fn unsigned_integers() {
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"0007"), Some(7));
        for text in ["", "18446744073709551616", "-1", "+1", " 1", "1x"] {
            assert_eq!(parse_u64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn memory_sizes() {
        let good = [
            ("0", 0),
            ("10b", 10),
            ("10k", 10_000),
            ("10Kb", 10_240),
            ("100mb", 100 << 20),
            ("2m", 2_000_000),
        ];
        for (text, bytes) in good
            .into_iter()
            .chain([("1gb", 1 << 30), ("1G", 1_000_000_000)])
        {
            assert_eq!(parse_memory(text.as_bytes()), Some(bytes), "{text}");
        }
        for text in [
            "",
            "mb",
            "-1",
            "1tb",
            "1 mb",
            "1mbb",
            "99999999999gb",
            "1.5gb",
        ] {
            assert_eq!(parse_memory(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn integers_round_trip(value: i64) {
            let mut buffer = [0; I64_BYTES_MAX];
            let text = format_i64(value, &mut buffer);
            let plain = value.to_string();
            prop_assert_eq!(text, plain.as_bytes());
            prop_assert_eq!(parse_i64(text), Some(value));
        }

        #[test]
        fn whatever_parses_prints_the_same(text in "-?[0-9]{1,21}") {
            if let Some(value) = parse_i64(text.as_bytes()) {
                prop_assert_eq!(value.to_string(), text);
            }
        }
    }
}
