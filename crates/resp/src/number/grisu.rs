//! Doubles to decimal text with Grisu2, the algorithm that Valkey prints with.
//!
//! Grisu2 (Florian Loitsch, "Printing Floating-Point Numbers Quickly and Accurately with Integers",
//! PLDI 2010) always finds digits that read back as the same double, and nearly always the fewest.
//! Clients see its rare longer results, so that a shortest-digits algorithm would not do. The
//! choice of cached powers, the rounding of products and the layout are those of fpconv
//! (night-shift, Boost Software License 1.0), which Valkey uses.

use super::double::F64_BYTES_MAX;

const HIDDEN_BIT: u64 = 1 << 52;
const FRACTION_MASK: u64 = HIDDEN_BIT - 1;

/// Most digits that Grisu2 produces for a double.
const DIGITS_MAX: usize = 18;

/// After scaling with a cached power, the binary exponent lies in this range: the integer part has
/// at most 32 bits, and the fraction times ten does not overflow.
const SCALED_EXPONENT_MIN: i32 = -60;
const SCALED_EXPONENT_MAX: i32 = -32;

const POWERS_FIRST: i32 = -348;
const POWERS_STEP: i32 = 8;

/// An unsigned number: `fraction * 2^exponent`.
#[derive(Clone, Copy)]
struct Scaled {
    fraction: u64,
    exponent: i32,
}

impl Scaled {
    fn normalized(self) -> Scaled {
        let shift = self.fraction.leading_zeros();
        Scaled {
            fraction: self.fraction << shift,
            exponent: self.exponent - shift as i32,
        }
    }

    /// The upper half of the product, rounded half up.
    fn times(self, other: Scaled) -> Scaled {
        let product = u128::from(self.fraction) * u128::from(other.fraction) + (1 << 63);
        Scaled {
            fraction: (product >> 64) as u64,
            exponent: self.exponent + other.exponent + 64,
        }
    }
}

/// Decimal digits without leading zeros, and the power of ten of the last one.
struct Digits {
    text: [u8; DIGITS_MAX],
    len: usize,
    exponent: i32,
}

impl Digits {
    /// Appends a digit; the first one is not 0.
    fn push(&mut self, digit: u8) {
        self.text[self.len] = b'0' + digit;
        self.len += 1;
    }

    /// Lowers the last digit while that brings the number closer to the wanted one.
    ///
    /// All in units of the last generated fraction: `rest` is the distance of the digits to the
    /// upper boundary, `unit` one step of the last digit, `distance` from the wanted number to the
    /// upper boundary, and `delta` the width of the interval that reads back as the same double.
    fn round(&mut self, delta: u64, mut rest: u64, unit: u64, distance: u64) {
        while rest < distance
            && delta - rest >= unit
            && (rest.wrapping_add(unit) < distance
                || distance - rest > rest.wrapping_add(unit).wrapping_sub(distance))
        {
            self.text[self.len - 1] -= 1;
            rest += unit;
        }
    }
}

/// Prints a finite number other than 0 and returns the length of the text.
pub(super) fn print(value: f64, buffer: &mut [u8; F64_BYTES_MAX]) -> usize {
    let negative = value.is_sign_negative();
    let digits = shortest(value);
    buffer[0] = b'-';
    let start = usize::from(negative);
    start
        + lay_out(
            &digits.text[..digits.len],
            digits.exponent,
            &mut buffer[start..],
        )
}

fn shortest(value: f64) -> Digits {
    let bits = value.to_bits();
    let biased = (bits >> 52 & 0x7ff) as i32;
    let fraction = bits & FRACTION_MASK;
    let number = if biased > 0 {
        Scaled {
            fraction: fraction + HIDDEN_BIT,
            exponent: biased - 1075,
        }
    } else {
        Scaled {
            fraction,
            exponent: -1074,
        }
    };
    // The boundaries lie half way to the neighbours; below a power of two, the neighbour is nearer.
    let upper = Scaled {
        fraction: (number.fraction << 1) + 1,
        exponent: number.exponent - 1,
    }
    .normalized();
    let near = if number.fraction == HIDDEN_BIT { 2 } else { 1 };
    let lower_exponent = number.exponent - near;
    let lower = Scaled {
        fraction: ((number.fraction << near) - 1) << (lower_exponent - upper.exponent),
        exponent: upper.exponent,
    };
    let (power, decimal_exponent) = cached_power(upper.exponent);
    let number = number.normalized().times(power);
    // One unit inwards, because the products are off by up to that.
    let mut upper = upper.times(power);
    upper.fraction -= 1;
    let lower = lower.times(power).fraction + 1;
    generate(number.fraction, upper, lower, -decimal_exponent)
}

/// A power of ten that scales a number with this binary exponent into the wanted range, and its
/// decimal exponent.
///
/// Two powers may do. Which one is taken shows in the digits, so that the search starts where
/// fpconv's does.
fn cached_power(exponent: i32) -> (Scaled, i32) {
    let estimate =
        (f64::from(-(exponent + POWERS.len() as i32)) * std::f64::consts::LOG10_2) as i32;
    let mut index = ((estimate - POWERS_FIRST) / POWERS_STEP) as usize;
    loop {
        let (fraction, power_exponent) = POWERS[index];
        let power_exponent = i32::from(power_exponent);
        let scaled = exponent + power_exponent + 64;
        if scaled < SCALED_EXPONENT_MIN {
            index += 1;
        } else if scaled > SCALED_EXPONENT_MAX {
            index -= 1;
        } else {
            let power = Scaled {
                fraction,
                exponent: power_exponent,
            };
            return (power, POWERS_FIRST + index as i32 * POWERS_STEP);
        }
    }
}

/// Generates digits of the upper boundary until the number is known well enough, then rounds
/// towards `number`. All three share the exponent of `upper`; `exponent` is the power of ten they
/// were scaled by.
fn generate(number: u64, upper: Scaled, lower: u64, exponent: i32) -> Digits {
    let mut digits = Digits {
        text: [0; DIGITS_MAX],
        len: 0,
        exponent,
    };
    let distance = upper.fraction - number;
    let mut delta = upper.fraction - lower;
    let shift = upper.exponent.unsigned_abs();
    let one = 1u64 << shift;
    // At least 8 and below 2^32, because of the range of the exponent.
    let mut integer = (upper.fraction >> shift) as u32;
    let mut fraction = upper.fraction & (one - 1);

    let mut place = integer.ilog10();
    let mut unit = 10u32.pow(place);
    loop {
        digits.push((integer / unit) as u8);
        integer %= unit;
        let rest = (u64::from(integer) << shift) + fraction;
        if rest <= delta {
            digits.exponent += place as i32;
            digits.round(delta, rest, u64::from(unit) << shift, distance);
            return digits;
        }
        if place == 0 {
            break;
        }
        place -= 1;
        unit /= 10;
    }
    let mut scale = 1u64;
    loop {
        fraction *= 10;
        delta *= 10;
        scale = scale.wrapping_mul(10);
        digits.exponent -= 1;
        digits.push((fraction >> shift) as u8);
        fraction &= one - 1;
        if fraction < delta {
            digits.round(delta, fraction, one, distance.wrapping_mul(scale));
            return digits;
        }
    }
}

/// Writes digits in fpconv's layout: plain integers up to seven zeros, decimals down to six zeros
/// or of fewer than five integer digits, scientific notation otherwise. `exponent` is the power of
/// ten of the last digit.
fn lay_out(digits: &[u8], exponent: i32, buffer: &mut [u8]) -> usize {
    let count = digits.len() as i32;
    // Power of ten of the first digit.
    let first = exponent + count - 1;
    if exponent >= 0 && first < count + 7 {
        return append(buffer, &[digits, &b"0000000"[..exponent as usize]]);
    }
    if exponent < 0 && (exponent > -7 || first.abs() < 4) {
        if first >= 0 {
            let (integer, fraction) = digits.split_at(first as usize + 1);
            return append(buffer, &[integer, b".", fraction]);
        }
        return append(
            buffer,
            &[b"0.", &b"000000"[..(-1 - first) as usize], digits],
        );
    }
    let (leading, others) = digits.split_at(1);
    let point: &[u8] = if others.is_empty() { b"" } else { b"." };
    let sign: &[u8] = if first < 0 { b"e-" } else { b"e+" };
    let mut power = itoa::Buffer::new();
    let power = power.format(first.unsigned_abs()).as_bytes();
    append(buffer, &[leading, point, others, sign, power])
}

fn append(buffer: &mut [u8], parts: &[&[u8]]) -> usize {
    let mut len = 0;
    for part in parts {
        buffer[len..len + part.len()].copy_from_slice(part);
        len += part.len();
    }
    len
}

/// 10^(-348 + 8 * index) as a fraction of 64 bits and a binary exponent, rounded to nearest.
#[rustfmt::skip]
const POWERS: [(u64, i16); 87] = [
    (0xfa8fd5a0081c0288, -1220), (0xbaaee17fa23ebf76, -1193), (0x8b16fb203055ac76, -1166),
    (0xcf42894a5dce35ea, -1140), (0x9a6bb0aa55653b2d, -1113), (0xe61acf033d1a45df, -1087),
    (0xab70fe17c79ac6ca, -1060), (0xff77b1fcbebcdc4f, -1034), (0xbe5691ef416bd60c, -1007),
    (0x8dd01fad907ffc3c, -980), (0xd3515c2831559a83, -954), (0x9d71ac8fada6c9b5, -927),
    (0xea9c227723ee8bcb, -901), (0xaecc49914078536d, -874), (0x823c12795db6ce57, -847),
    (0xc21094364dfb5637, -821), (0x9096ea6f3848984f, -794), (0xd77485cb25823ac7, -768),
    (0xa086cfcd97bf97f4, -741), (0xef340a98172aace5, -715), (0xb23867fb2a35b28e, -688),
    (0x84c8d4dfd2c63f3b, -661), (0xc5dd44271ad3cdba, -635), (0x936b9fcebb25c996, -608),
    (0xdbac6c247d62a584, -582), (0xa3ab66580d5fdaf6, -555), (0xf3e2f893dec3f126, -529),
    (0xb5b5ada8aaff80b8, -502), (0x87625f056c7c4a8b, -475), (0xc9bcff6034c13053, -449),
    (0x964e858c91ba2655, -422), (0xdff9772470297ebd, -396), (0xa6dfbd9fb8e5b88f, -369),
    (0xf8a95fcf88747d94, -343), (0xb94470938fa89bcf, -316), (0x8a08f0f8bf0f156b, -289),
    (0xcdb02555653131b6, -263), (0x993fe2c6d07b7fac, -236), (0xe45c10c42a2b3b06, -210),
    (0xaa242499697392d3, -183), (0xfd87b5f28300ca0e, -157), (0xbce5086492111aeb, -130),
    (0x8cbccc096f5088cc, -103), (0xd1b71758e219652c, -77), (0x9c40000000000000, -50),
    (0xe8d4a51000000000, -24), (0xad78ebc5ac620000, 3), (0x813f3978f8940984, 30),
    (0xc097ce7bc90715b3, 56), (0x8f7e32ce7bea5c70, 83), (0xd5d238a4abe98068, 109),
    (0x9f4f2726179a2245, 136), (0xed63a231d4c4fb27, 162), (0xb0de65388cc8ada8, 189),
    (0x83c7088e1aab65db, 216), (0xc45d1df942711d9a, 242), (0x924d692ca61be758, 269),
    (0xda01ee641a708dea, 295), (0xa26da3999aef774a, 322), (0xf209787bb47d6b85, 348),
    (0xb454e4a179dd1877, 375), (0x865b86925b9bc5c2, 402), (0xc83553c5c8965d3d, 428),
    (0x952ab45cfa97a0b3, 455), (0xde469fbd99a05fe3, 481), (0xa59bc234db398c25, 508),
    (0xf6c69a72a3989f5c, 534), (0xb7dcbf5354e9bece, 561), (0x88fcf317f22241e2, 588),
    (0xcc20ce9bd35c78a5, 614), (0x98165af37b2153df, 641), (0xe2a0b5dc971f303a, 667),
    (0xa8d9d1535ce3b396, 694), (0xfb9b7cd9a4a7443c, 720), (0xbb764c4ca7a44410, 747),
    (0x8bab8eefb6409c1a, 774), (0xd01fef10a657842c, 800), (0x9b10a4e5e9913129, 827),
    (0xe7109bfba19c0c9d, 853), (0xac2820d9623bf429, 880), (0x80444b5e7aa7cf85, 907),
    (0xbf21e44003acdd2d, 933), (0x8e679c2f5e44ff8f, 960), (0xd433179d9c8cb841, 986),
    (0x9e19db92b4e31ba9, 1013), (0xeb96bf6ebadf77d9, 1039), (0xaf87023b9bf0ee6b, 1066),
];
