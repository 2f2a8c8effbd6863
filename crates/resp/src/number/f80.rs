//! The 80-bit extended floating-point numbers of INCRBYFLOAT and HINCRBYFLOAT.
//!
//! Redis calculates with the x87's long double: 64 bits of mantissa hide the decimal noise of most
//! sums (0.1 + 0.2 prints as 0.3), and its results are stored and replicated as text. Reading,
//! adding and printing round to nearest, ties to even, exactly as that hardware and glibc do.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, Neg};

use super::binary::{EXTENDED80, Exact, parse_hex};
use super::decimal::{Big, Decimal};
use super::double::split_sign;

/// The longest text that is read as a number, in bytes: one less than Valkey's buffer for it.
/// Public for tests.
pub const F80_TEXT_BYTES_MAX: usize = 5 * 1024 - 1;

/// Decimals that are printed before trailing zeros are dropped.
const DECIMALS: u32 = 17;

/// Decimal magnitudes of all numbers of the format, with a little room on both sides.
const MAGNITUDES: std::ops::RangeInclusive<i64> = -4960..=4940;

/// Guard bits of an addition: enough that what is shifted out of them only counts as sticky.
const GUARD_BITS: u32 = 62;

/// A number in 80-bit extended precision.
#[derive(Clone, Copy, Debug)]
pub struct F80 {
    negative: bool,
    class: Class,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Class {
    /// `mantissa * 2^exponent`. The top bit of the mantissa is set unless the number is subnormal
    /// or zero; those have the smallest exponent.
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

    /// The largest finite number.
    pub const MAX: F80 = F80::finite(false, u64::MAX, EXTENDED80.exponent_max);

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

    /// Reads a decimal number with an optional sign, point and exponent, a hexadecimal one, or
    /// `inf` or `infinity` in either case.
    ///
    /// `None` for everything else: white space, NaN, more than [`F80_TEXT_BYTES_MAX`] bytes, and
    /// numbers too large or too small for the format.
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
                // The largest number has 4,933 digits in front of the point, the smallest 4,950
                // zeros behind it: beyond that the exact value is not worth the work.
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

    /// A thousand times the number, rounded to the format and then up to an integer: seconds as
    /// milliseconds. The ends of the range of integers stand for what is beyond them; `None` is
    /// NaN.
    pub fn thousandfold(self) -> Option<i64> {
        let beyond = if self.negative { i64::MIN } else { i64::MAX };
        let (mantissa, exponent) = match self.class {
            Class::Finite { mantissa, exponent } => (mantissa, exponent),
            Class::Infinite => return Some(beyond),
            Class::Nan => return None,
        };
        let exact = Exact {
            mantissa: u128::from(mantissa) * 1000,
            exponent,
            sticky: false,
        };
        let Class::Finite { mantissa, exponent } = F80::from_exact(self.negative, exact).class
        else {
            return Some(beyond);
        };
        // A mantissa of 64 bits leaves no room above for a positive exponent.
        if exponent > 0 && mantissa != 0 {
            return Some(beyond);
        }
        let shift = exponent.min(0).unsigned_abs();
        let whole = mantissa.checked_shr(shift).unwrap_or(0);
        let has_fraction = whole.checked_shl(shift).unwrap_or(0) != mantissa;
        let size = whole + u64::from(has_fraction && !self.negative);
        Some(match self.negative {
            true => 0i64.checked_sub_unsigned(size).unwrap_or(beyond),
            false => i64::try_from(size).unwrap_or(beyond),
        })
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

impl Neg for F80 {
    type Output = F80;

    fn neg(self) -> F80 {
        F80 {
            negative: !self.negative,
            ..self
        }
    }
}

impl PartialEq for F80 {
    fn eq(&self, other: &F80) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

/// As numbers: both zeros are equal, and NaN is not comparable.
impl PartialOrd for F80 {
    fn partial_cmp(&self, other: &F80) -> Option<Ordering> {
        // Larger exponents mean larger numbers, since mantissas are normalized.
        let size = |class| match class {
            Class::Finite { mantissa: 0, .. } => Some((0, 0, 0)),
            Class::Finite { mantissa, exponent } => Some((1, exponent, mantissa)),
            Class::Infinite => Some((2, 0, 0)),
            Class::Nan => None,
        };
        let (mine, others) = (size(self.class)?, size(other.class)?);
        let negative = |number: &F80| number.negative && !number.is_zero();
        Some(match (negative(self), negative(other)) {
            (false, false) => mine.cmp(&others),
            (true, true) => others.cmp(&mine),
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
        })
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
    // With the lowest bit standing for everything that was shifted out, rounding sees on which side
    // of a half the value lies. If anything was lost at all, the numbers are so far apart that the
    // result keeps 60 of the guard bits, and a bit at the bottom cannot reach the rounded ones.
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

/// Plain notation, never an exponent: 17 decimals, rounded, without trailing zeros; `inf`, `-inf`
/// or `nan`.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> F80 {
        F80::parse(text.as_bytes()).unwrap()
    }

    fn sum(a: &str, b: &str) -> String {
        (number(a) + number(b)).to_string()
    }

    #[test]
    fn a_thousandfold_is_rounded_up() {
        for (text, expected) in [
            ("0", 0),
            ("-0", 0),
            ("1", 1000),
            ("0.001", 1),
            ("0.0011", 2),
            ("1e-4950", 1),
            ("-1e-4950", 0),
            ("-0.0011", -1),
            ("-1", -1000),
            ("0x1p-3", 125),
            ("9223372036854775.807", i64::MAX),
            ("9223372036854775.806", i64::MAX - 1),
            ("1e400", i64::MAX),
            ("-1e400", i64::MIN),
            ("1e4932", i64::MAX),
            ("inf", i64::MAX),
            ("-inf", i64::MIN),
        ] {
            let number = F80::parse(text.as_bytes()).expect(text);
            assert_eq!(number.thousandfold(), Some(expected), "{text}");
        }
    }

    #[test]
    fn numbers_compare_by_size() {
        let sorted = [
            "-inf", "-1e4000", "-2", "-1.5", "-1e-4940", "0", "1e-4940", "1e-4939", "1", "1.5",
            "2", "1e4000", "inf",
        ];
        for (index, low) in sorted.iter().enumerate() {
            for high in &sorted[index + 1..] {
                assert!(number(low) < number(high), "{low} {high}");
                assert!(number(high) > number(low), "{high} {low}");
                assert!(-number(low) > -number(high), "{low} {high}");
            }
            assert_eq!(number(low), number(low));
        }
        assert_eq!(number("-0"), number("0"));
        assert!(F80::MAX < number("inf") && F80::MAX > number("1.18e4932"));
        assert!((F80::MAX + F80::MAX).is_infinite());
        assert!(
            (number("inf") + -number("inf"))
                .partial_cmp(&F80::ZERO)
                .is_none()
        );
    }

    /// Expected values come from a C program that adds `long double`s on x86-64.
    #[test]
    fn sums_as_the_hardware_computes_them() {
        assert_eq!(sum("0.1", "0.2"), "0.3");
        assert_eq!(sum("1e17", "0.5"), "100000000000000000.5");
        assert_eq!(sum("3", "1.1"), "4.1");
        assert_eq!(sum("5.0e3", "2.0e2"), "5200");
        assert_eq!(sum("10.5", "-10.5"), "0");
        assert_eq!(sum("-0", "-0"), "0");
        assert_eq!(sum("1", "-1e-30"), "1");
        assert_eq!(sum("0", "-1e-30"), "0");
        assert_eq!(
            sum("9223372036854775807", "9223372036854775807"),
            "18446744073709551614"
        );
        assert_eq!(sum("18446744073709551615", "1"), "18446744073709551616");
        assert_eq!(sum("18446744073709551617", "0"), "18446744073709551616");
        assert_eq!(sum("18446744073709551618", "1"), "18446744073709551620");
        assert_eq!(sum("0x1p63", "0x1p-3"), "9223372036854775808");
        assert_eq!(sum("0x1p60", "0x1p-3"), "1152921504606846976.125");
        assert_eq!(sum("5e-18", "0"), "0");
        assert_eq!(sum("5.1e-18", "0"), "0.00000000000000001");
        // Ties of the last decimal go to the even digit.
        assert_eq!(sum("0x1p-18", "0"), "0.00000381469726562");
        assert_eq!(sum("0x3p-18", "0"), "0.00001144409179688");
        assert_eq!(sum("256", "0.0201"), "256.02010000000000001");
        assert_eq!(sum("0.99999999999999999999", "0"), "1");
    }

    #[test]
    fn limits_of_the_format() {
        let largest = number("1.18973149535723176502e4932");
        assert!(
            largest
                .to_string()
                .starts_with("1189731495357231765021263853")
        );
        assert_eq!(largest.to_string().len(), 4933);
        assert!((largest + largest).is_infinite());
        assert_eq!(F80::parse(b"1.18973149535723176506e4932"), None);
        assert_eq!(F80::parse(b"1e4933"), None);
        assert_eq!(F80::parse(b"1e99999999999"), None);
        // Half of the smallest subnormal is 1.82e-4951: below that a number vanishes.
        assert_eq!(number("2e-4951").to_string(), "0");
        assert!(!number("2e-4951").is_zero());
        assert_eq!(F80::parse(b"1.8e-4951"), None);
        assert_eq!(F80::parse(b"1e-99999999999"), None);
        assert!(number("0e99999999999").is_zero());
        let smallest = number("0x1p-16445");
        assert_eq!(smallest + smallest, number("0x1p-16444"));
        assert_eq!(F80::parse(b"0x1p-16446"), None);
        assert_eq!(number("0x1.8p-16446"), smallest);
    }

    #[test]
    fn special_values() {
        let infinite = number("-Infinity");
        assert!(infinite.is_infinite() && !infinite.is_finite());
        assert_eq!(infinite.to_string(), "-inf");
        assert_eq!((infinite + number("1")).to_string(), "-inf");
        assert_eq!((number("1") + infinite).to_string(), "-inf");
        assert!((infinite + infinite).is_infinite());
        let nan = infinite + number("inf");
        assert!(nan.is_nan());
        assert_eq!(nan.to_string(), "nan");
        assert!((nan + number("1")).is_nan() && (number("1") + nan).is_nan());
    }

    #[test]
    fn refuses_other_text() {
        let bad = [
            "", " 1", "1 ", "+", "-", ".", "1e", "1e+", "1x", "--1", "nan", "infin", "0x", "0x.p1",
            "0x1p", "1\0",
        ];
        for text in bad {
            assert_eq!(F80::parse(text.as_bytes()), None, "{text:?}");
        }
        let long = "1".repeat(F80_TEXT_BYTES_MAX + 1);
        assert_eq!(F80::parse(long.as_bytes()), None);
        let long = format!("0.{}", "1".repeat(F80_TEXT_BYTES_MAX - 2));
        assert_eq!(number(&long).to_string(), "0.11111111111111111");
    }

    proptest! {
        #[test]
        fn integers_round_trip(value: i64) {
            prop_assert_eq!(F80::from(value).to_string(), value.to_string());
            prop_assert_eq!(number(&value.to_string()), F80::from(value));
        }

        #[test]
        fn integer_sums_are_exact(a: i64, b: i64) {
            let wanted = i128::from(a) + i128::from(b);
            // Beyond 64 bits only even sums are numbers of the format.
            prop_assume!(wanted.unsigned_abs() >> 64 == 0);
            prop_assert_eq!((F80::from(a) + F80::from(b)).to_string(), wanted.to_string());
        }

        #[test]
        fn addition_commutes(a: u64, b: u64, scale in -200..200i32) {
            let (a, b) = (number(&format!("0x{a:x}p{scale}")), number(&format!("-0x{b:x}")));
            prop_assert_eq!((a + b).to_string(), (b + a).to_string());
        }

        #[test]
        fn short_decimals_print_as_they_were_typed(integer in 0..128u32, decimals in "[0-9]{0,14}[1-9]") {
            let text = format!("{integer}.{decimals}");
            prop_assert_eq!(number(&text).to_string(), text);
        }

        #[test]
        fn any_text_is_read_without_panic(text in "[-+]?(0x)?[0-9a-f.]{0,30}([ep][-+]?[0-9]{0,6})?") {
            if let Some(number) = F80::parse(text.as_bytes()) {
                let _ = (number + number).to_string();
            }
        }
    }
}
