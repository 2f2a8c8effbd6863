//! Binary floating-point formats: correct rounding of exact values, and hexadecimal text.

/// A binary floating-point format without its encoding. The mantissa is an integer of `precision`
/// bits.
pub(super) struct Format {
    pub(super) precision: u32,
    /// Exponent of the last bit of subnormal numbers.
    pub(super) exponent_min: i32,
    /// Largest exponent of the last bit.
    pub(super) exponent_max: i32,
}

/// IEEE 754 binary64.
pub(super) const BINARY64: Format = Format {
    precision: 53,
    exponent_min: -1074,
    exponent_max: 971,
};

/// The 80-bit extended format of the x87, with its explicit leading bit.
pub(super) const EXTENDED80: Format = Format {
    precision: 64,
    exponent_min: -16445,
    exponent_max: 16320,
};

/// An exact non-negative value: `mantissa * 2^exponent`, or a little more than that if `sticky` (by
/// less than one unit of the mantissa). A sticky value has at least two bits more than any format's
/// precision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exact {
    pub(super) mantissa: u128,
    pub(super) exponent: i32,
    pub(super) sticky: bool,
}

impl Exact {
    /// Rounds to the nearest number of `format`, ties to even: its mantissa and exponent, or `None`
    /// on overflow. The mantissa has all bits of the format's precision unless the number is
    /// subnormal or zero.
    pub(super) fn round(self, format: &Format) -> Option<(u64, i32)> {
        if self.mantissa == 0 {
            return Some((0, format.exponent_min));
        }
        let bits = 128 - self.mantissa.leading_zeros() as i32;
        let shift = (bits - format.precision as i32).max(format.exponent_min - self.exponent);
        if shift <= 0 {
            let exponent = self.exponent + shift;
            // Not more bits than the precision, so that they fit.
            let mantissa = (self.mantissa << shift.unsigned_abs()) as u64;
            return (exponent <= format.exponent_max).then_some((mantissa, exponent));
        }
        if shift > bits {
            // Less than half of the smallest number.
            return Some((0, format.exponent_min));
        }
        let kept = self.mantissa.checked_shr(shift as u32).unwrap_or(0);
        let half = 1 << (shift - 1);
        let rest = self.mantissa & (half - 1 + half);
        let up = rest > half || rest == half && (self.sticky || kept & 1 == 1);
        let rounded = kept + u128::from(up);
        // All ones became a power of two: one bit too many.
        let carry = (rounded >> format.precision) as i32;
        let exponent = self.exponent + shift + carry;
        (exponent <= format.exponent_max).then_some(((rounded >> carry) as u64, exponent))
    }
}

/// Reads the part of a hexadecimal floating-point number behind `0x`, as strtod does: digits with
/// at most one point, and a binary exponent. `None` if that is not all of `text`, or if there is no
/// digit.
pub(super) fn parse_hex(text: &[u8]) -> Option<Exact> {
    let power = text.iter().position(|byte| matches!(byte, b'p' | b'P'));
    let (digits, power) = match power {
        Some(at) => (&text[..at], parse_power(&text[at + 1..])?),
        None => (text, 0),
    };
    let mut exact = Exact {
        mantissa: 0,
        exponent: 0,
        sticky: false,
    };
    // Counted in 64 bits: the text is shorter than that, and the exponent saturates far below.
    let mut exponent = power;
    let mut point = false;
    let mut any = false;
    for &byte in digits {
        if byte == b'.' && !point {
            point = true;
            continue;
        }
        let digit = u128::from(char::from(byte).to_digit(16)?);
        any = true;
        if exact.mantissa >> 120 == 0 {
            exact.mantissa = exact.mantissa << 4 | digit;
            exponent -= if point { 4 } else { 0 };
        } else {
            exact.sticky |= digit != 0;
            exponent += if point { 0 } else { 4 };
        }
    }
    // Beyond a million every number is zero or infinite in both formats.
    exact.exponent = exponent.clamp(-1_000_000, 1_000_000) as i32;
    any.then_some(exact)
}

/// Reads an exponent with an optional sign; beyond ten million it is cut off.
pub(super) fn parse_power(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0, |value: i64, digit| {
        (value * 10 + i64::from(digit - b'0')).min(10_000_000)
    });
    Some(if negative { -value } else { value })
}
