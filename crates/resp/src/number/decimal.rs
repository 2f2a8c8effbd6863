//! Decimal text to exact binary values, and large binary integers to decimal text.

use super::binary::{Exact, parse_power};

/// Largest power of five in an `u64`, as an exponent.
const POWER5_MAX: u32 = 27;
/// Digits that are split off large integers at once: the largest power of ten in an `u64`.
const CHUNK_DIGITS: usize = 19;
const CHUNK: u64 = 10u64.pow(CHUNK_DIGITS as u32);

/// A decimal number without its sign: `digits * 10^exponent`.
#[derive(Debug)]
pub(super) struct Decimal {
    /// Values 0 to 9; no zeros at either end. Empty for zero.
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    /// Reads digits with at most one point, and an exponent of ten. `None` if that is not all of
    /// `text`, or if there is no digit.
    pub(super) fn parse(text: &[u8]) -> Option<Decimal> {
        let power = text.iter().position(|byte| matches!(byte, b'e' | b'E'));
        let (number, mut exponent) = match power {
            Some(at) => (&text[..at], parse_power(&text[at + 1..])?),
            None => (text, 0),
        };
        let point = number.iter().position(|byte| *byte == b'.');
        let (integer, fraction) = match point {
            Some(at) => (&number[..at], &number[at + 1..]),
            None => (number, &[][..]),
        };
        if integer.is_empty() && fraction.is_empty() {
            return None;
        }
        exponent -= fraction.len() as i64;
        let mut digits = Vec::with_capacity(number.len());
        for byte in integer.iter().chain(fraction) {
            match byte {
                b'0' if digits.is_empty() => {}
                b'0'..=b'9' => digits.push(byte - b'0'),
                _ => return None,
            }
        }
        while digits.last() == Some(&0) {
            digits.pop();
            exponent += 1;
        }
        Some(Decimal { digits, exponent })
    }

    pub(super) fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    /// Position of the decimal point behind the first digit: the number is below 10 to this power,
    /// and at least a tenth of that.
    pub(super) fn magnitude(&self) -> i64 {
        self.digits.len() as i64 + self.exponent
    }

    /// The value in binary: exact, or with at least 66 bits and a sticky rest. The cost grows with
    /// the product of the number of digits and the exponent; bound [`Self::magnitude`] first.
    pub(super) fn to_exact(&self) -> Exact {
        if self.is_zero() {
            return Exact {
                mantissa: 0,
                exponent: 0,
                sticky: false,
            };
        }
        self.to_exact_small()
            .unwrap_or_else(|| self.to_exact_large())
    }

    /// Numbers of up to 19 digits near 1, in plain 128-bit arithmetic.
    fn to_exact_small(&self) -> Option<Exact> {
        if self.digits.len() > CHUNK_DIGITS {
            return None;
        }
        let number = self
            .digits
            .iter()
            .fold(0, |number, digit| number * 10 + u128::from(*digit));
        if let exponent @ 0..=19 = self.exponent {
            // Below 10^19 * 10^19 < 2^127.
            let mantissa = number * 10u128.pow(exponent as u32);
            return Some(Exact {
                mantissa,
                exponent: 0,
                sticky: false,
            });
        }
        if let exponent @ 1..=18 = -self.exponent {
            // The dividend has 127 bits and the divisor at most 60: 67 bits or more are left.
            let shift = number.leading_zeros().saturating_sub(1);
            let dividend = number << shift;
            let divisor = 10u128.pow(exponent as u32);
            return Some(Exact {
                mantissa: dividend / divisor,
                exponent: -(shift as i32),
                sticky: dividend % divisor != 0,
            });
        }
        None
    }

    fn to_exact_large(&self) -> Exact {
        let mut number = Big::default();
        for chunk in self.digits.chunks(CHUNK_DIGITS) {
            let value = chunk
                .iter()
                .fold(0, |value, digit| value * 10 + u64::from(*digit));
            number.multiply_add(10u64.pow(chunk.len() as u32), value);
        }
        // 10^n is 5^n shifted by n: the shift goes into the exponent.
        let power = self.exponent.unsigned_abs();
        let shift = self.exponent as i32;
        if self.exponent >= 0 {
            number.multiply_power5(power);
            return number.top_bits(shift);
        }
        let mut divisor = Big(vec![1]);
        divisor.multiply_power5(power);
        number.divide(divisor, shift)
    }
}

/// A non-negative integer of any size: 64-bit limbs, the lowest first, the last one not 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Big(Vec<u64>);

impl Big {
    /// `value * 2^shift`.
    pub(super) fn shifted(value: u64, shift: u32) -> Big {
        let mut big = Big(vec![value]);
        big.shift_left(shift);
        big
    }

    fn bits(&self) -> u32 {
        self.0
            .last()
            .map_or(0, |last| self.0.len() as u32 * 64 - last.leading_zeros())
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn multiply_add(&mut self, factor: u64, addend: u64) {
        let mut carry = u128::from(addend);
        for limb in &mut self.0 {
            // At most (2^64 - 1)^2 + 2^64 - 1, which fits.
            carry += u128::from(*limb) * u128::from(factor);
            *limb = carry as u64;
            carry >>= 64;
        }
        if carry > 0 {
            self.0.push(carry as u64);
        }
    }

    fn multiply_power5(&mut self, mut power: u64) {
        while power > 0 {
            let step = power.min(u64::from(POWER5_MAX));
            self.multiply_add(5u64.pow(step as u32), 0);
            power -= step;
        }
    }

    fn shift_left(&mut self, shift: u32) {
        self.multiply_add(1 << (shift % 64), 0);
        if !self.0.is_empty() {
            self.0
                .splice(..0, std::iter::repeat_n(0, shift as usize / 64));
        }
    }

    /// The top 128 bits of `self * 2^exponent`.
    fn top_bits(&self, exponent: i32) -> Exact {
        let drop = self.bits().saturating_sub(128);
        let (limbs, bits) = (drop as usize / 64, drop % 64);
        let limb = |index: usize| u128::from(self.0.get(limbs + index).copied().unwrap_or(0));
        let mut mantissa = (limb(0) | limb(1) << 64) >> bits;
        if bits > 0 {
            mantissa |= limb(2) << (128 - bits);
        }
        let lost = self.0.iter().take(limbs).any(|limb| *limb != 0);
        let sticky = lost || limb(0) & ((1 << bits) - 1) != 0;
        Exact {
            mantissa,
            exponent: exponent + drop as i32,
            sticky,
        }
    }

    /// `self / divisor * 2^exponent` to 67 bits or more, by long division in binary: neither is 0.
    fn divide(mut self, mut divisor: Big, exponent: i32) -> Exact {
        // The quotient lies between 2^66 and 2^68 once the dividend has 67 bits more than the
        // divisor.
        let shift = divisor.bits() as i32 + 67 - self.bits() as i32;
        if shift > 0 {
            self.shift_left(shift.unsigned_abs());
        } else {
            divisor.shift_left(shift.unsigned_abs());
        }
        divisor.shift_left(68);
        let mut mantissa = 0u128;
        for _ in 0..=68 {
            mantissa <<= 1;
            if self.subtract(&divisor) {
                mantissa |= 1;
            }
            divisor.halve();
        }
        Exact {
            mantissa,
            exponent: exponent - shift,
            sticky: !self.0.is_empty(),
        }
    }

    /// Subtracts if the result is not negative. Returns whether it did.
    fn subtract(&mut self, other: &Big) -> bool {
        let order = self.0.len().cmp(&other.0.len());
        if order
            .then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
            .is_lt()
        {
            return false;
        }
        let mut borrow = false;
        for (index, limb) in self.0.iter_mut().enumerate() {
            let (difference, first) =
                limb.overflowing_sub(other.0.get(index).copied().unwrap_or(0));
            let (difference, second) = difference.overflowing_sub(u64::from(borrow));
            *limb = difference;
            borrow = first || second;
        }
        self.trim();
        true
    }

    fn halve(&mut self) {
        let mut carry = 0;
        for limb in self.0.iter_mut().rev() {
            let low = *limb << 63;
            *limb = *limb >> 1 | carry;
            carry = low;
        }
        self.trim();
    }

    /// Decimal digits.
    pub(super) fn into_decimal(mut self) -> String {
        let mut chunks = Vec::new();
        while !self.0.is_empty() {
            let mut rest = 0;
            for limb in self.0.iter_mut().rev() {
                let part = rest << 64 | u128::from(*limb);
                *limb = (part / u128::from(CHUNK)) as u64;
                rest = part % u128::from(CHUNK);
            }
            chunks.push(rest as u64);
            self.trim();
        }
        let mut text = chunks.pop().unwrap_or(0).to_string();
        for chunk in chunks.iter().rev() {
            text.push_str(&format!("{chunk:019}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        for text in [
            "", ".", "e5", ".e5", "1e", "1e+", "1.2.3", "1x", "+1", "-1", "1e5.0", "1 ",
        ] {
            assert!(Decimal::parse(text.as_bytes()).is_none(), "{text:?}");
        }
        let number = Decimal::parse(b"00120.0500e-3").unwrap();
        assert_eq!(
            (number.digits.as_slice(), number.exponent),
            (&[1, 2, 0, 0, 5][..], -5)
        );
        assert_eq!(number.magnitude(), 0);
        assert!(Decimal::parse(b"0.000e99").unwrap().is_zero());
        assert_eq!(
            Decimal::parse(b"1e99999999999999999999").unwrap().exponent,
            10_000_000
        );
    }

    #[test]
    fn both_ways_agree() {
        for text in [
            "1",
            "123.456",
            "9999999999999999999",
            "1e19",
            "0.1",
            "5e-18",
            "1.7976931348623157",
        ] {
            let number = Decimal::parse(text.as_bytes()).unwrap();
            let small = number.to_exact_small().unwrap();
            let large = number.to_exact_large();
            for format in [
                &super::super::binary::BINARY64,
                &super::super::binary::EXTENDED80,
            ] {
                assert_eq!(small.round(format), large.round(format), "{text}");
            }
        }
    }

    #[test]
    fn large_integers_print() {
        assert_eq!(
            Big::shifted(1, 200).into_decimal(),
            "1606938044258990275541962092341162602522202993782792835301376"
        );
        assert_eq!(Big::shifted(5, 1).into_decimal(), "10");
        assert_eq!(
            Big::shifted(625, 64 + 60).into_decimal(),
            "13292279957849158729038070602803445760000"
        );
    }
}
