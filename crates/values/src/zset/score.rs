//! Scores: their order as integers, and their text in listpacks.

use crate::{Element, number};
use std::io::Write;

/// The score as an integer with the same order. The two zeros are equal, as everywhere in sorted
/// sets.
#[inline]
pub(super) fn key_of(score: f64) -> u64 {
    // Adding zero makes -0.0 to 0.0 and changes nothing else.
    let bits = (score + 0.0).to_bits();
    // Negative: all bits flip, so that larger magnitudes come first. Positive: above all negative
    // ones.
    let flip = ((bits as i64 >> 63) as u64) | 1 << 63;
    bits ^ flip
}

/// Room for the text of a score: `-1.7976931348623157e+308` is as long as it gets, and no plain
/// form is longer than a sign, "0.", six zeros and 17 digits.
pub(super) type Text = [u8; 32];

/// The score as it is stored in a listpack: an integer where it is one of at most 62 bits, else its
/// text.
///
/// The text has the shortest digits that give the same score again, laid out as Redis does
/// (fpconv): plain when few zeros are needed, else with an exponent of at least one digit. Redis
/// takes its digits from Grisu2, which in rare cases finds one digit more; both read back to the
/// same score.
pub(super) fn pack(score: f64, text: &mut Text) -> Element<'_> {
    const LIMIT: f64 = (i64::MAX / 2) as f64;
    if (-LIMIT..=LIMIT).contains(&score) && score.trunc() == score {
        // In range and without a fraction, so the cast is exact; -0.0 becomes 0 as in Redis.
        return Element::Int(score as i64);
    }
    if score.is_infinite() {
        return Element::Bytes(if score > 0.0 { b"inf" } else { b"-inf" });
    }
    let len = write_shortest(score, text);
    Element::Bytes(&text[..len])
}

/// The score of an element of a listpack; none when it is not a number.
pub(super) fn unpack(element: Element<'_>) -> Option<f64> {
    match element {
        Element::Int(value) => Some(value as f64),
        Element::Bytes(text) => {
            let score: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
            (!score.is_nan()).then_some(score)
        }
    }
}

/// A cursor over the text; it never needs more room than there is.
struct Writer<'a> {
    text: &'a mut Text,
    len: usize,
}

impl Writer<'_> {
    fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if let Some(place) = self.text.get_mut(self.len) {
                *place = byte;
                self.len += 1;
            }
        }
    }

    fn zeros(&mut self, count: usize) {
        (0..count).for_each(|_| self.push(b"0"));
    }
}

/// Writes a finite score that is not zero; returns the length.
fn write_shortest(score: f64, text: &mut Text) -> usize {
    // std writes the shortest digits: "d.ddde-7".
    let mut scientific = [0u8; 40];
    let mut rest = &mut scientific[..];
    // Room for 17 digits, a point, an exponent of five characters and more.
    let _ = write!(rest, "{:e}", score.abs());
    let unused = rest.len();
    let written = &scientific[..scientific.len() - unused];
    let at = written.iter().position(|byte| *byte == b'e');
    let (mantissa, exponent) = written.split_at(at.unwrap_or(written.len()));
    let exponent = exponent.get(1..).and_then(number::parse_canonical);
    let exponent = exponent.unwrap_or(0);
    let mut digits = [0u8; 20];
    let mut count = 0;
    for (place, digit) in digits
        .iter_mut()
        .zip(mantissa.iter().filter(|byte| **byte != b'.'))
    {
        *place = *digit;
        count += 1;
    }
    let mut writer = Writer { text, len: 0 };
    if score < 0.0 {
        writer.push(b"-");
    }
    lay_out(&digits[..count], exponent, &mut writer);
    writer.len
}

/// Writes digits, of which the first counts 10^exponent.
fn lay_out(digits: &[u8], exponent: i64, writer: &mut Writer<'_>) {
    let count = digits.len() as i64;
    let magnitude = exponent.abs();
    // The power of ten that the last digit counts.
    let last = exponent - count + 1;
    if last >= 0 && magnitude < count + 7 {
        writer.push(digits);
        writer.zeros(last as usize);
    } else if last < 0 && (last > -7 || magnitude < 4) {
        if exponent < 0 {
            writer.push(b"0.");
            writer.zeros((-exponent - 1) as usize);
            writer.push(digits);
        } else {
            let (whole, fraction) = digits.split_at((exponent + 1) as usize);
            writer.push(whole);
            writer.push(b".");
            writer.push(fraction);
        }
    } else {
        let (first, others) = digits.split_at(1);
        writer.push(first);
        if !others.is_empty() {
            writer.push(b".");
            writer.push(others);
        }
        writer.push(if exponent < 0 { b"e-" } else { b"e+" });
        writer.push(number::format(magnitude, &mut { crate::DIGITS }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(score: f64) -> String {
        String::from_utf8(pack(score, &mut [0; 32]).to_vec()).unwrap()
    }

    #[test]
    fn texts_are_those_of_redis() {
        for (score, expected) in [
            (0.0, "0"),
            (-0.0, "0"),
            (3.0, "3"),
            (-17.0, "-17"),
            (1.5, "1.5"),
            (0.1, "0.1"),
            (-0.25, "-0.25"),
            (3.25, "3.25"),
            (0.000001, "0.000001"),
            (0.0000001, "1e-7"),
            (0.00012345678, "1.2345678e-4"),
            (0.0012345678, "0.0012345678"),
            (123456.7890123, "1.234567890123e+5"),
            (1234.567890123, "1234.567890123"),
            (123.4567890123, "123.4567890123"),
            (1e18, "1000000000000000000"),
            (1e19, "1e+19"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (-1.7976931348623157e308, "-1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(text(score), expected, "{score:e}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 8 } else { 128 }))]

        #[test]
        fn a_score_comes_back(bits: u64) {
            let score = f64::from_bits(bits);
            if !score.is_nan() {
                let back = unpack(pack(score, &mut [0; 32])).unwrap();
                prop_assert_eq!(back, score);
                let digits = text(score);
                prop_assert_eq!(unpack(Element::Bytes(digits.as_bytes())), Some(score));
            }
        }

        #[test]
        fn keys_have_the_order_of_scores(a: u64, b: u64) {
            let (a, b) = (f64::from_bits(a), f64::from_bits(b));
            if !a.is_nan() && !b.is_nan() {
                prop_assert_eq!(key_of(a).partial_cmp(&key_of(b)), a.partial_cmp(&b));
            }
        }
    }

    #[test]
    fn zeros_are_one() {
        assert_eq!(key_of(0.0), key_of(-0.0));
        assert!(key_of(f64::NEG_INFINITY) < key_of(f64::MIN));
        assert!(key_of(-f64::MIN_POSITIVE) < key_of(-0.0));
        assert!(key_of(f64::MAX) < key_of(f64::INFINITY));
    }
}
