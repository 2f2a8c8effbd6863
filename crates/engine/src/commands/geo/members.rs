//! Places of members: GEOADD, GEODIST, GEOHASH, GEOPOS.

use smallvec::SmallVec;
use values::SortedSetView;
use values::geohash::Point;

use super::{arguments, output, point, unit};
use crate::command::*;
use crate::commands::zset;
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

pub(super) const GEOADD: CommandSpec = CommandSpec::new("geoadd", -5, geoadd)
    .group(Group::Geo)
    .since("3.2.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM))
    .summary("Adds members with their longitude and latitude to a sorted set, or updates them.")
    .complexity("O(log(N)) per added member in the size of the sorted set.")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))])
    .args(&[
        Arg::KEY,
        Arg::one_of("condition")
            .since("6.2.0")
            .optional()
            .args(&[Arg::NX, Arg::XX]),
        Arg::flag("change", "CH").since("6.2.0"),
        Arg::block("data").multiple().args(&[
            arguments::LONGITUDE,
            arguments::LATITUDE,
            Arg::MEMBER,
        ]),
    ]);

fn geoadd(ctx: &mut Context<'_, '_>) -> CommandResult {
    let mut options = zset::Options::default();
    let mut first = 2;
    while let Some(word) = ctx.args.get(first) {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        match () {
            () if is(b"nx") => options.new_only = true,
            () if is(b"xx") => options.existing_only = true,
            () if is(b"ch") => options.count_changed = true,
            () => break,
        }
        first += 1;
    }
    let places = ctx.args.skip(first);
    let contradicts = options.new_only && options.existing_only;
    if !places.len().is_multiple_of(3) || contradicts {
        return Err(CommandError::Syntax);
    }
    let mut scores = SmallVec::new();
    for index in (0..places.len()).step_by(3) {
        scores.push(point(places, index)?.score() as f64);
    }
    if scores.is_empty() {
        return Err(CommandError::Syntax);
    }
    let pairs = zset::Pairs {
        args: places,
        step: 3,
        scores,
    };
    if zset::give(ctx, options, &pairs)? > 0 {
        log_as_zadd(ctx, first, &pairs);
    }
    Ok(Outcome::Done)
}

/// The log has scores, as in Redis, so that they do not depend on the server that replays it.
fn log_as_zadd(ctx: &mut Context<'_, '_>, first: usize, pairs: &zset::Pairs<'_>) {
    let mut scores: SmallVec<[itoa::Buffer; 8]> =
        pairs.scores.iter().map(|_| itoa::Buffer::new()).collect();
    let mut argv: SmallVec<[&[u8]; 16]> = SmallVec::new();
    argv.push(b"ZADD");
    argv.extend((1..first).map(|index| ctx.arg(index)));
    let numbers = scores.iter_mut().zip(&pairs.scores);
    for ((buffer, score), member) in numbers.zip(pairs.members()) {
        argv.push(buffer.format(*score as u64).as_bytes());
        argv.push(member);
    }
    ctx.propagate(&argv);
}

/// The place of a member.
fn place_of(members: Option<&SortedSetView>, member: &[u8]) -> Option<Point> {
    members?.score(member).map(Point::of_score)
}

pub(super) const GEODIST: CommandSpec = CommandSpec::new("geodist", -4, geodist)
    .group(Group::Geo)
    .since("3.2.0")
    .flags(Flags::READONLY)
    .summary("Returns the distance between two members.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[
        Arg::KEY,
        Arg::string("member1"),
        Arg::string("member2"),
        arguments::UNIT.optional(),
    ]);

fn geodist(ctx: &mut Context<'_, '_>) -> CommandResult {
    let meters = match ctx.args.len() {
        4 => 1.0,
        5 => unit(ctx.arg(4))?,
        _ => return Err(CommandError::Syntax),
    };
    let (key, first, second) = (ctx.key(1), ctx.arg(2), ctx.arg(3));
    let members = ctx.data.zset(key)?;
    match (place_of(members, first), place_of(members, second)) {
        (Some(first), Some(second)) => {
            output::distance(&mut ctx.reply, first.distance(second) / meters);
        }
        _ => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

pub(super) const GEOHASH: CommandSpec = CommandSpec::new("geohash", -2, geohash)
    .group(Group::Geo)
    .since("3.2.0")
    .flags(Flags::READONLY)
    .summary("Returns the geohash strings of members.")
    .complexity("O(1) per member.")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY, arguments::MEMBERS]);

fn geohash(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (key, asked) = (ctx.key(1), ctx.args.skip(2));
    let members = ctx.data.zset(key)?;
    ctx.reply.array(asked.len());
    for member in asked.iter() {
        match place_of(members, member) {
            Some(place) => ctx.reply.bulk(&place.text()),
            None => ctx.reply.null(),
        }
    }
    Ok(Outcome::Done)
}

pub(super) const GEOPOS: CommandSpec = CommandSpec::new("geopos", -2, geopos)
    .group(Group::Geo)
    .since("3.2.0")
    .flags(Flags::READONLY)
    .summary("Returns the longitudes and latitudes of members.")
    .complexity("O(1) per member.")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY, arguments::MEMBERS]);

fn geopos(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (key, asked) = (ctx.key(1), ctx.args.skip(2));
    let members = ctx.data.zset(key)?;
    ctx.reply.array(asked.len());
    for member in asked.iter() {
        match place_of(members, member) {
            Some(place) => output::place(&mut ctx.reply, place),
            None => ctx.reply.null_array(),
        }
    }
    Ok(Outcome::Done)
}
