//! Integer text: which strings are stored as integers, and how they read back.

/// The longest text of an `i64`: a sign and 19 digits.
pub const INTEGER_TEXT_MAX: usize = 20;

/// Parses the one canonical text of an `i64`: an optional `-`, no leading zeros, no `+`, no spaces,
/// no `-0`. A string that passes can be stored as the integer, because writing the integer gives
/// the same bytes back.
#[inline]
pub fn parse_canonical(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [] => return None,
        [b'-', rest @ ..] => (true, rest),
        all => (false, all),
    };
    let first = *digits.first()?;
    if first == b'0' {
        return (text.len() == 1).then_some(0);
    }
    if digits.len() >= INTEGER_TEXT_MAX || !first.is_ascii_digit() {
        return None;
    }
    let mut magnitude = 0u64;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // At most 19 digits, so at most 9,999,999,999,999,999,999 < 2^64: this cannot overflow.
        magnitude = magnitude.wrapping_mul(10).wrapping_add(u64::from(digit));
    }
    if negative {
        0i64.checked_sub_unsigned(magnitude)
    } else {
        i64::try_from(magnitude).ok()
    }
}

/// Writes `value` into the end of `buffer` and returns the text.
#[inline]
pub fn format(value: i64, buffer: &mut [u8; INTEGER_TEXT_MAX]) -> &[u8] {
    let mut at = buffer.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        // `rest % 10` is a digit, so the cast keeps it whole.
        buffer[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        buffer[at] = b'-';
    }
    &buffer[at..]
}

/// The number of bytes of the text of `value`.
pub fn text_len(value: i64) -> usize {
    let digits = value.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 1;
    digits + usize::from(value < 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_canonical_text_is_an_integer() {
        for (text, value) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("99999999999999999999", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("00", None),
            ("01", None),
            ("+1", None),
            (" 1", None),
            ("1 ", None),
            ("1.0", None),
        ] {
            assert_eq!(parse_canonical(text.as_bytes()), value, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn text_and_value_agree(value: i64) {
            let mut buffer = [0; INTEGER_TEXT_MAX];
            let text = format(value, &mut buffer);
            let expected = value.to_string();
            prop_assert_eq!(text, expected.as_bytes());
            prop_assert_eq!(text.len(), text_len(value));
            prop_assert_eq!(parse_canonical(text), Some(value));
        }
    }
}
