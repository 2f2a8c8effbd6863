//! Places on the earth: sorted sets whose scores are geohashes.

mod arguments;
mod members;
mod nearest;
mod output;
mod radius;
mod request;
mod search;

use resp::Args;
use values::geohash::Point;

use crate::error::CommandError;
use crate::execute::CommandSpec;

/// The commands of this group.
pub const COMMANDS: &[&CommandSpec] = &[
    &members::GEOADD,
    &members::GEODIST,
    &members::GEOHASH,
    &members::GEOPOS,
    &radius::GEORADIUS,
    &radius::GEORADIUS_RO,
    &radius::GEORADIUSBYMEMBER,
    &radius::GEORADIUSBYMEMBER_RO,
    &search::GEOSEARCH,
    &search::GEOSEARCHSTORE,
];

/// A number that is an argument.
fn number(text: &[u8], error: CommandError) -> Result<f64, CommandError> {
    resp::number::parse_f64(text)
        .filter(|number| !number.is_nan())
        .ok_or(error)
}

/// The place in two arguments: longitude and latitude.
fn point(args: Args<'_>, index: usize) -> Result<Point, CommandError> {
    let place = Point {
        longitude: number(args.arg(index), CommandError::NotFloat)?,
        latitude: number(args.arg(index + 1), CommandError::NotFloat)?,
    };
    if place.is_valid() {
        Ok(place)
    } else {
        Err(CommandError::owned(format!(
            "ERR invalid longitude,latitude pair {:.6},{:.6}",
            place.longitude, place.latitude
        )))
    }
}

/// Metres per unit.
fn unit(word: &[u8]) -> Result<f64, CommandError> {
    let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
    match () {
        () if is(b"m") => Ok(1.0),
        () if is(b"km") => Ok(1000.0),
        () if is(b"ft") => Ok(0.3048),
        () if is(b"mi") => Ok(1609.34),
        () => Err(CommandError::line(
            "ERR unsupported unit provided. please use M, KM, FT, MI",
        )),
    }
}
