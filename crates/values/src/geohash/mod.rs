//! Places on the earth as numbers: geohashes of 52 bits, and which of them lie in an area.
//!
//! Longitude and latitude are cut into 2^26 steps each, and the bits of the two numbers are
//! interleaved, so that places close to each other have numbers close to each other most of the
//! time. The numbers are scores of sorted sets: a square of the earth is a range of scores.
//!
//! All results must equal those of Redis and Valkey to the last bit, because they decide which
//! members a search returns: floating-point operations stand in the same order. Latitudes end at
//! 85.05112878 degrees, as those of web maps do; distances are those on a sphere (haversine).

mod area;
mod cell;
#[cfg(test)]
mod tests;

pub use area::{Area, Overlap, Shape};
pub use cell::Cell;

use std::f64::consts::PI;
use std::ops::RangeInclusive;

/// Longitudes, in degrees.
pub const LONGITUDES: RangeInclusive<f64> = -180.0..=180.0;

/// Latitudes, in degrees.
pub const LATITUDES: RangeInclusive<f64> = -85.05112878..=85.05112878;

/// Bits of each coordinate in a score.
const STEPS: u32 = 26;

/// Metres from the middle of the earth.
const EARTH_RADIUS: f64 = 6_372_797.560856;

const RADIANS_PER_DEGREE: f64 = PI / 180.0;

fn radians(degrees: f64) -> f64 {
    degrees * RADIANS_PER_DEGREE
}

fn degrees(radians: f64) -> f64 {
    radians / RADIANS_PER_DEGREE
}

/// A place, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// East of Greenwich.
    pub longitude: f64,
    /// North of the equator.
    pub latitude: f64,
}

impl Point {
    /// Whether it can be a score. NaN cannot.
    pub fn is_valid(self) -> bool {
        LONGITUDES.contains(&self.longitude) && LATITUDES.contains(&self.latitude)
    }

    /// The score of the place.
    pub fn score(self) -> u64 {
        Cell::around(self, STEPS).scores().start
    }

    /// The place of a score: the middle of the square that has it. Scores that are none of a place
    /// give something, too.
    #[inline]
    pub fn of_score(score: f64) -> Point {
        let (longitude, latitude) = cell::deinterleave(whole(score));
        Point::of_steps(longitude, latitude)
    }

    /// The place of step numbers.
    #[inline]
    fn of_steps(longitude: u32, latitude: u32) -> Point {
        let longitude = cell::span(longitude, STEPS, &LONGITUDES);
        let latitude = cell::span(latitude, STEPS, &LATITUDES);
        let middle = |span: (f64, f64), limits: RangeInclusive<f64>| {
            ((span.0 + span.1) / 2.0).clamp(*limits.start(), *limits.end())
        };
        Point {
            longitude: middle(longitude, LONGITUDES),
            latitude: middle(latitude, LATITUDES),
        }
    }

    /// Metres to another place.
    pub fn distance(self, other: Point) -> f64 {
        Origin::new(self).distance(other)
    }

    /// The standard geohash, whose latitudes go to the poles, in the usual alphabet. The last of
    /// the eleven characters has no bits left and is always 0.
    pub fn text(self) -> [u8; 11] {
        const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let bits = cell::encode(self, STEPS, &(-90.0..=90.0));
        std::array::from_fn(|at| match at {
            10 => b'0',
            _ => ALPHABET[(bits >> (52 - 5 * (at + 1)) & 0x1f) as usize],
        })
    }
}

/// A score without its fraction, as 64 bits. Numbers that do not fit become what x86-64 makes of
/// them.
#[inline]
fn whole(score: f64) -> u64 {
    const LIMIT: f64 = (1u64 << 63) as f64;
    if score < LIMIT {
        (score as i64).cast_unsigned()
    } else if score < 2.0 * LIMIT {
        score as u64
    } else {
        0
    }
}

/// A place that distances are measured from.
#[derive(Clone, Copy, Debug)]
struct Origin {
    latitude: f64,
    longitude_radians: f64,
    latitude_radians: f64,
    latitude_cosine: f64,
}

/// The sine of half a difference of longitudes that counts as none: some nanometres.
const SAME_LONGITUDE: f64 = 1e-15;

impl Origin {
    fn new(point: Point) -> Origin {
        let latitude_radians = radians(point.latitude);
        Origin {
            latitude: point.latitude,
            longitude_radians: radians(point.longitude),
            latitude_radians,
            latitude_cosine: latitude_radians.cos(),
        }
    }

    /// Metres along a meridian.
    #[inline]
    fn latitude_distance(&self, latitude: f64) -> f64 {
        EARTH_RADIUS * (radians(latitude) - radians(self.latitude)).abs()
    }

    /// The sine of half the difference of longitudes.
    #[inline]
    fn longitude_sine(&self, longitude: f64) -> f64 {
        ((radians(longitude) - self.longitude_radians) / 2.0).sin()
    }

    #[inline]
    fn distance(&self, other: Point) -> f64 {
        let across = self.longitude_sine(other.longitude);
        self.distance_with(other.latitude, across, radians(other.latitude).cos())
    }

    /// The distance, with what is known already: the sine of half the difference of longitudes and
    /// the cosine of the latitude of the other place.
    #[inline]
    fn distance_with(&self, latitude: f64, across: f64, cosine: f64) -> f64 {
        if across.abs() <= SAME_LONGITUDE {
            return self.latitude_distance(latitude);
        }
        let along = ((radians(latitude) - self.latitude_radians) / 2.0).sin();
        let a = along * along + self.latitude_cosine * cosine * across * across;
        // Rounding may make it more than 1 for antipodes.
        2.0 * EARTH_RADIUS * a.sqrt().min(1.0).asin()
    }

    /// Metres to the meridian of the origin, at the latitude of another place.
    #[inline]
    fn longitude_distance(across: f64, cosine: f64) -> f64 {
        if across.abs() <= SAME_LONGITUDE {
            return 0.0;
        }
        let a = cosine * cosine * across * across;
        2.0 * EARTH_RADIUS * a.sqrt().asin()
    }
}
