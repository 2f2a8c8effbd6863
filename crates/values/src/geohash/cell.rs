//! Squares of the earth, as ranges of scores.

use super::{LATITUDES, LONGITUDES, Point, STEPS};
use std::ops::{Range, RangeInclusive};

/// Bits of longitudes; those of latitudes are the others, from the lowest bit on.
const LONGITUDE_BITS: u64 = 0xaaaa_aaaa_aaaa_aaaa;

/// Spreads 32 bits to the even ones of 64.
fn spread(bits: u32) -> u64 {
    let mut bits = u64::from(bits);
    bits = (bits | bits << 16) & 0x0000_ffff_0000_ffff;
    bits = (bits | bits << 8) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits << 2) & 0x3333_3333_3333_3333;
    (bits | bits << 1) & 0x5555_5555_5555_5555
}

/// Brings the even bits together.
#[inline]
fn gather(bits: u64) -> u32 {
    let mut bits = bits & 0x5555_5555_5555_5555;
    bits = (bits | bits >> 1) & 0x3333_3333_3333_3333;
    bits = (bits | bits >> 2) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits >> 4) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits >> 8) & 0x0000_ffff_0000_ffff;
    (bits | bits >> 16) as u32
}

/// Longitude and latitude, in steps.
#[inline]
pub(super) fn deinterleave(bits: u64) -> (u32, u32) {
    (gather(bits >> 1), gather(bits))
}

/// The beginning and the end of a step.
#[inline]
pub(super) fn span(step: u32, steps: u32, limits: &RangeInclusive<f64>) -> (f64, f64) {
    let scale = limits.end() - limits.start();
    let count = (1u64 << steps) as f64;
    let at = |step: u32| limits.start() + f64::from(step) / count * scale;
    // A score that is none of a place may have steps beyond the last one.
    (at(step), at(step.wrapping_add(1)))
}

/// The interleaved steps of a place.
pub(super) fn encode(point: Point, steps: u32, latitudes: &RangeInclusive<f64>) -> u64 {
    let step = |value: f64, limits: &RangeInclusive<f64>| {
        let share = (value - limits.start()) / (limits.end() - limits.start());
        (share * (1u64 << steps) as f64) as u32
    };
    let latitude = step(point.latitude, latitudes);
    let longitude = step(point.longitude, &LONGITUDES);
    spread(latitude) | spread(longitude) << 1
}

/// A square, as it is on maps: longitudes and latitudes have been halved `steps` times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Interleaved; 2 * steps of them, and one more at the eastern and northern end of the world.
    bits: u64,
    /// 1 to 26.
    steps: u32,
}

impl Cell {
    /// The square that a valid place is in.
    pub(super) fn around(point: Point, steps: u32) -> Cell {
        Cell {
            bits: encode(point, steps, &LATITUDES),
            steps,
        }
    }

    /// The scores of places in it.
    pub fn scores(self) -> Range<u64> {
        let shift = 2 * (STEPS - self.steps);
        self.bits << shift..(self.bits + 1) << shift
    }

    /// Its quarters in the order of scores, `None` when it cannot be divided.
    pub fn quarters(self) -> Option<[Cell; 4]> {
        let steps = self.steps + 1;
        (steps <= STEPS).then(|| {
            [0, 1, 2, 3].map(|quarter| Cell {
                bits: self.bits << 2 | quarter,
                steps,
            })
        })
    }

    /// Its first steps of longitude and latitude, of those that scores have, and how many there are
    /// of each.
    pub(super) fn corner(self) -> (u32, u32, u32) {
        let (longitude, latitude) = deinterleave(self.scores().start);
        (longitude, latitude, 1 << (STEPS - self.steps))
    }

    /// Its longitudes, from the western to the eastern edge.
    pub(super) fn longitudes(self) -> (f64, f64) {
        span(deinterleave(self.bits).0, self.steps, &LONGITUDES)
    }

    /// Its latitudes, from the southern to the northern edge.
    pub(super) fn latitudes(self) -> (f64, f64) {
        span(deinterleave(self.bits).1, self.steps, &LATITUDES)
    }

    /// The square so many to the east and to the north of it; beyond the end of the world it goes
    /// on at the other.
    pub(super) fn neighbour(self, east: i32, north: i32) -> Cell {
        let mask = u64::MAX >> (u64::BITS - 2 * self.steps);
        let (longitude, latitude) = (self.bits & LONGITUDE_BITS, self.bits & !LONGITUDE_BITS);
        Cell {
            bits: moved(longitude, LONGITUDE_BITS & mask, east)
                | moved(latitude, !LONGITUDE_BITS & mask, north),
            steps: self.steps,
        }
    }
}

/// One of two interleaved numbers, plus or minus one. `own` are its bits.
fn moved(number: u64, own: u64, by: i32) -> u64 {
    // Carries pass over the bits of the other number when those are all set, and borrows when they
    // are not.
    match by {
        0 => number,
        1.. => (number | !own).wrapping_add(1) & own,
        _ => number.wrapping_sub(own & own.wrapping_neg()) & own,
    }
}
