//! Reading entries by their ids: XRANGE, XREVRANGE; and XLEN.

use resp::Reply;
use values::stream::Entry;

use super::{StreamReply, ids};
use crate::command::*;
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

pub(super) const XLEN: CommandSpec = CommandSpec::new("xlen", 2, xlen)
    .group(Group::Stream)
    .since("5.0.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .summary("Returns the number of entries of a stream.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RO)])
    .args(&[Arg::KEY]);

pub(super) fn xlen(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    let len = ctx.data.stream(key)?.map_or(0, |it| it.entries().len());
    ctx.reply.integer(i64::try_from(len).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

/// XRANGE and XREVRANGE differ in the direction only.
const RANGE: CommandSpec = CommandSpec::BASE
    .group(Group::Stream)
    .since("5.0.0")
    .flags(Flags::READONLY)
    .complexity("O(log(N)+M) with N entries in the stream and M returned.")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))]);

const START: Arg = Arg::string("start");

const END: Arg = Arg::string("end");

pub(super) const XRANGE: CommandSpec = RANGE
    .named("xrange", -4, xrange)
    .summary("Returns entries between two ids.")
    .args(&[Arg::KEY, START, END, Arg::COUNT]);

pub(super) fn xrange(ctx: &mut Context<'_, '_>) -> CommandResult {
    range(ctx, false)
}

pub(super) const XREVRANGE: CommandSpec = RANGE
    .named("xrevrange", -4, xrevrange)
    .summary("Returns entries between two ids, the last ones first.")
    .args(&[Arg::KEY, END, START, Arg::COUNT]);

pub(super) fn xrevrange(ctx: &mut Context<'_, '_>) -> CommandResult {
    range(ctx, true)
}

fn range(ctx: &mut Context<'_, '_>, reverse: bool) -> CommandResult {
    let (start_at, end_at) = if reverse { (3, 2) } else { (2, 3) };
    let start = ids::range_start(ctx.arg(start_at))?;
    let end = ids::range_end(ctx.arg(end_at))?;
    let mut count = None;
    let mut at = 4;
    while at < ctx.args.len() {
        if !ctx.is_word(at, "count") || at + 1 == ctx.args.len() {
            return Err(CommandError::Syntax);
        }
        count = Some(usize::try_from(ctx.integer(at + 1)?).unwrap_or(0));
        at += 2;
    }
    let key = ctx.key(1);
    let Some(stream) = ctx.data.stream(key)? else {
        ctx.reply.empty_array();
        return Ok(Outcome::Done);
    };
    let (entries, count) = match count {
        Some(0) => {
            ctx.reply.null_array();
            return Ok(Outcome::Done);
        }
        Some(count) => (stream.entries(), count),
        None => (stream.entries(), usize::MAX),
    };
    if reverse {
        write(&mut ctx.reply, entries.range_back(start, end).take(count));
    } else {
        write(&mut ctx.reply, entries.range(start, end).take(count));
    }
    Ok(Outcome::Done)
}

/// An array of entries.
pub(super) fn write<'a>(reply: &mut Reply<'_>, entries: impl Iterator<Item = Entry<'a>>) {
    let array = reply.defer();
    let mut len = 0;
    for entry in entries {
        reply.entry(entry);
        len += 1;
    }
    reply.finish_array(array, len);
}
