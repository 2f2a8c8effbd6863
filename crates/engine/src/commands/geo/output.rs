//! Distances and coordinates as text.

use resp::{Protocol, Reply};
use values::geohash::Point;

/// A distance, with four digits after the point.
pub(super) fn distance(reply: &mut Reply<'_>, distance: f64) {
    let scaled = (distance * 10_000.0).round_ties_even() as u64;
    let mut text = Text::default();
    text.integer(scaled / 10_000);
    text.push(b'.');
    text.digits(scaled % 10_000, 4);
    reply.bulk(text.as_bytes());
}

/// Longitude and latitude, with as many digits after the point as there are, at most 17.
pub(super) fn place(reply: &mut Reply<'_>, place: Point) {
    reply.array(2);
    for degrees in [place.longitude, place.latitude] {
        let text = coordinate(degrees);
        if reply.protocol == Protocol::Resp3 {
            reply.raw(b",");
            reply.raw(text.as_bytes());
            reply.raw(b"\r\n");
        } else {
            reply.bulk(text.as_bytes());
        }
    }
}

/// The text of `%.17f`, without zeros at its end.
fn coordinate(degrees: f64) -> Text {
    let mut text = Text::default();
    let value = degrees.abs();
    // In units of 2^-64: no digit of a coordinate is lost, except next to 0.
    let fraction = value.fract() * TWO_64;
    let product = u128::from(fraction as u64) * u128::from(TEN_17);
    let (mut digits, rest) = ((product >> 64) as u64, product as u64);
    let half = 1 << 63;
    if rest > half || rest == half && digits % 2 == 1 {
        digits += 1;
    }
    let whole = value.trunc() as u64 + digits / TEN_17;
    digits %= TEN_17;
    if degrees < 0.0 && (whole, digits) != (0, 0) {
        text.push(b'-');
    }
    text.integer(whole);
    if digits > 0 {
        text.push(b'.');
        text.digits(digits, 17);
        text.trim_zeros();
    }
    text
}

const TWO_64: f64 = 18_446_744_073_709_551_616.0;
const TEN_17: u64 = 100_000_000_000_000_000;

/// Room for any of these texts.
#[derive(Default)]
struct Text {
    bytes: [u8; 32],
    len: usize,
}

impl Text {
    fn push(&mut self, byte: u8) {
        if let Some(free) = self.bytes.get_mut(self.len) {
            *free = byte;
            self.len += 1;
        }
    }

    fn integer(&mut self, value: u64) {
        let mut digits = itoa::Buffer::new();
        digits
            .format(value)
            .bytes()
            .for_each(|digit| self.push(digit));
    }

    /// A number with leading zeros.
    fn digits(&mut self, mut value: u64, width: usize) {
        let end = (self.len + width).min(self.bytes.len());
        for place in self.bytes[self.len..end].iter_mut().rev() {
            *place = b'0' + (value % 10) as u8;
            value /= 10;
        }
        self.len = end;
    }

    fn trim_zeros(&mut self) {
        while self.as_bytes().ends_with(b"0") {
            self.len -= 1;
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(degrees: f64) -> String {
        let text = format!("{degrees:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        if text == "-0" { "0" } else { text }.to_owned()
    }

    #[test]
    fn coordinates_have_all_their_digits() {
        let mut state = 7u64;
        let mut values = vec![
            0.0,
            -0.0,
            180.0,
            -180.0,
            0.5,
            -85.05112878,
            1e-20,
            -1e-5,
            0.1,
        ];
        for _ in 0..10_000 {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            values.push(((state >> 11) as f64 / (1u64 << 53) as f64 - 0.5) * 360.0);
            values.push(Point::of_score((state >> 12) as f64).longitude);
        }
        for value in values {
            let text = coordinate(value);
            assert_eq!(text.as_bytes(), expected(value).as_bytes(), "{value}");
        }
    }

    #[test]
    fn distances_are_rounded_to_four_digits() {
        let show = |value: f64| {
            let mut output = resp::Output::default();
            distance(&mut Reply::new(&mut output, Protocol::Resp2), value);
            String::from_utf8_lossy(&output.to_vec()).into_owned()
        };
        assert_eq!(show(0.0), "$6\r\n0.0000\r\n");
        assert_eq!(show(166_274.151_56), "$11\r\n166274.1516\r\n");
        assert_eq!(show(0.00004), "$6\r\n0.0000\r\n");
        assert_eq!(show(12.5), "$7\r\n12.5000\r\n");
    }
}
