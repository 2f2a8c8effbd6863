//! The 80-bit extended floating-point numbers of INCRBYFLOAT and HINCRBYFLOAT.
//!
//! Redis calculates with the x87's long double: 64 bits of mantissa hide the decimal noise of most sums
//! (0.1 + 0.2 prints as 0.3), and its results are stored and replicated as text. Reading, adding and printing
//! round to nearest, ties to even, exactly as that hardware and glibc do.

use std::fmt;
use std::ops::Add;

use super::binary::{EXTENDED80, Exact, parse_hex};
use super::decimal::{Big, Decimal};
use super::double::split_sign;

/// The longest text that is read as a number, in bytes: one less than Valkey's buffer for it.
pub const F80_TEXT_BYTES_MAX: usize = 5 * 1024 - 1;

/// Decimals that are printed before trailing zeros are dropped.
const DECIMALS: u32 = 17;

/// Decimal magnitudes of all numbers of the format, with a little room on both sides.
const MAGNITUDES: std::ops::RangeInclusive<i64> = -4960..=4940;

/// Guard bits of an addition: enough that what is shifted out of them only counts as sticky.
const GUARD_BITS: u32 = 62;

/// A number in 80-bit extended precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct F80 {
    negative: bool,
    class: Class,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Class {
    /// `mantissa * 2^exponent`. The top bit of the mantissa is set unless the number is subnormal or zero;
    /// those have the smallest exponent.
    Finite {
        mantissa: u64,
        exponent: i32,
    },
    Infinite,
    Nan,
}

impl F80 {
    /// Zero.
    pub const ZERO: F80 = F80::finite(false, 0, EXTENDED80.exponent_min);

    const fn finite(negative: bool, mantissa: u64, exponent: i32) -> F80 {
        F80 {
            negative,
            class: Class::Finite { mantissa, exponent },
        }
    }

    /// Rounds a value; infinite on overflow.
    fn from_exact(negative: bool, exact: Exact) -> F80 {
        match exact.round(&EXTENDED80) {
            Some((mantissa, exponent)) => F80::finite(negative, mantissa, exponent),
            None => F80 {
                negative,
                class: Class::Infinite,
            },
        }
    }

    /// Reads a decimal number with an optional sign, point and exponent, a hexadecimal one, or `inf` or `infinity`
    /// in either case.
    ///
    /// `None` for everything else: white space, NaN, more than [`F80_TEXT_BYTES_MAX`] bytes, and numbers too
    /// large or too small for the format.
    pub fn parse(text: &[u8]) -> Option<F80> {
        if text.len() > F80_TEXT_BYTES_MAX {
            return None;
        }
        let (negative, text) = split_sign(text);
        if text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity") {
            return Some(F80 {
                negative,
                class: Class::Infinite,
            });
        }
        let exact = match text {
            [b'0', b'x' | b'X', digits @ ..] => parse_hex(digits)?,
            _ => {
                let decimal = Decimal::parse(text)?;
                // The largest number has 4,933 digits in front of the point, the smallest 4,950 zeros behind
                // it: beyond that the exact value is not worth the work.
                if !decimal.is_zero() && !MAGNITUDES.contains(&decimal.magnitude()) {
                    return None;
                }
                decimal.to_exact()
            }
        };
        let number = F80::from_exact(negative, exact);
        let underflow = number.is_zero() && exact.mantissa != 0;
        (number.is_finite() && !underflow).then_some(number)
    }

    /// The double `value`, exactly.
    pub fn from_f64(value: f64) -> F80 {
        let negative = value.is_sign_negative();
        if value.is_nan() {
            return F80 {
                negative,
                class: Class::Nan,
            };
        }
        if value.is_infinite() {
            return F80 {
                negative,
                class: Class::Infinite,
            };
        }
        let bits = value.to_bits();
        let biased = (bits >> 52 & 0x7ff) as i32;
        let fraction = u128::from(bits & ((1 << 52) - 1));
        let (mantissa, exponent) = if biased == 0 {
            (fraction, -1074)
        } else {
            (fraction | 1 << 52, biased - 1075)
        };
        F80::from_exact(
            negative,
            Exact {
                mantissa,
                exponent,
                sticky: false,
            },
        )
    }

    /// Whether this is neither infinite nor NaN.
    pub fn is_finite(&self) -> bool {
        matches!(self.class, Class::Finite { .. })
    }

    /// Whether this is infinite.
    pub fn is_infinite(&self) -> bool {
        self.class == Class::Infinite
    }

    /// Whether this is NaN, the sum of opposite infinities.
    pub fn is_nan(&self) -> bool {
        self.class == Class::Nan
    }

    fn is_zero(&self) -> bool {
        matches!(self.class, Class::Finite { mantissa: 0, .. })
    }
}

impl From<i64> for F80 {
    fn from(value: i64) -> F80 {
        let mantissa = u128::from(value.unsigned_abs());
        F80::from_exact(
            value < 0,
            Exact {
                mantissa,
                exponent: 0,
                sticky: false,
            },
        )
    }
}

impl Add for F80 {
    type Output = F80;

    fn add(self, other: F80) -> F80 {
        match (self.class, other.class) {
            (
                Class::Finite { mantissa, exponent },
                Class::Finite {
                    mantissa: m,
                    exponent: e,
                },
            ) => {
                if exponent >= e {
                    add_finite((self.negative, mantissa, exponent), (other.negative, m, e))
                } else {
                    add_finite((other.negative, m, e), (self.negative, mantissa, exponent))
                }
            }
            (Class::Infinite, Class::Infinite) if self.negative != other.negative => F80 {
                negative: false,
                class: Class::Nan,
            },
            (Class::Nan, _) | (Class::Infinite, Class::Finite { .. } | Class::Infinite) => self,
            (_, Class::Nan | Class::Infinite) => other,
        }
    }
}

/// Adds sign, mantissa and exponent; the first number has the larger exponent.
fn add_finite(large: (bool, u64, i32), small: (bool, u64, i32)) -> F80 {
    let distance = (large.2 - small.2) as u32;
    // 126 bits: the sum of two has no more than 127.
    let first = u128::from(large.1) << GUARD_BITS;
    let second = u128::from(small.1) << GUARD_BITS;
    let shifted = second.checked_shr(distance).unwrap_or(0);
    let lost = distance >= 128 && second != 0 || shifted << distance.min(127) != second;
    // With the lowest bit standing for everything that was shifted out, rounding sees on which side of a half
    // the value lies. If anything was lost at all, the numbers are so far apart that the result keeps 60
    // of the guard bits, and a bit at the bottom cannot reach the rounded ones.
    let second = shifted | u128::from(lost);
    let exact = |mantissa| Exact {
        mantissa,
        exponent: large.2 - GUARD_BITS as i32,
        sticky: false,
    };
    if large.0 == small.0 {
        return F80::from_exact(large.0, exact(first + second));
    }
    match first.cmp(&second) {
        std::cmp::Ordering::Greater => F80::from_exact(large.0, exact(first - second)),
        std::cmp::Ordering::Less => F80::from_exact(small.0, exact(second - first)),
        std::cmp::Ordering::Equal => F80::ZERO,
    }
}

/// Plain notation, never an exponent: 17 decimals, rounded, without trailing zeros; `inf`, `-inf` or `nan`.
impl fmt::Display for F80 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mantissa, exponent) = match self.class {
            Class::Finite { mantissa, exponent } => (mantissa, exponent),
            Class::Infinite => return f.write_str(if self.negative { "-inf" } else { "inf" }),
            Class::Nan => return f.write_str("nan"),
        };
        let sign = if self.negative { "-" } else { "" };
        if exponent >= 0 {
            let integer = Big::shifted(mantissa, exponent.unsigned_abs());
            return write!(f, "{sign}{}", integer.into_decimal());
        }
        let (integer, decimals) = round_decimals(mantissa, exponent.unsigned_abs());
        match (integer, decimals) {
            (0, 0) => f.write_str("0"),
            (_, 0) => write!(f, "{sign}{integer}"),
            _ => {
                let decimals = format!("{decimals:0width$}", width = DECIMALS as usize);
                write!(f, "{sign}{integer}.{}", decimals.trim_end_matches('0'))
            }
        }
    }
}

/// `mantissa / 2^shift` rounded to 17 decimals: the integer part, and the decimals as an integer.
fn round_decimals(mantissa: u64, shift: u32) -> (u64, u64) {
    let integer = mantissa.checked_shr(shift).unwrap_or(0);
    let fraction = mantissa - integer.checked_shl(shift).unwrap_or(0);
    // Below 2^64 * 10^17 < 2^121.
    let scaled = u128::from(fraction) * 10u128.pow(DECIMALS);
    if shift >= 124 {
        // Less than an eighth of the last decimal.
        return (integer, 0);
    }
    let kept = (scaled >> shift) as u64;
    let rest = scaled - (u128::from(kept) << shift);
    let half = 1 << (shift - 1);
    let up = rest > half || rest == half && kept & 1 == 1;
    let decimals = kept + u64::from(up);
    if decimals == 10u64.pow(DECIMALS) {
        // The integer part is below 2^63 here, since there are fraction bits.
        return (integer + 1, 0);
    }
    (integer, decimals)
}
