//! Changing the inside of a list: LINSERT, LREM, LSET, LTRIM.

use std::borrow::Cow;
use std::ops::ControlFlow;

use super::{ELEMENT, place, places};
use crate::command::*;
use crate::context::{Context, EventClass};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

/// The smallest integer has no positive counterpart, so counts with a sign exclude it.
pub(super) const OUT_OF_LONG_RANGE: CommandError = CommandError::Line(Cow::Borrowed(
    "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
));

pub(super) const LINSERT: CommandSpec = CommandSpec::new("linsert", 5, linsert)
    .group(Group::List)
    .since("2.2.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM))
    .summary("Inserts an element before or after the first one that equals the pivot.")
    .complexity("O(N) in the number of elements before the pivot.")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::INSERT))])
    .args(&[
        Arg::KEY,
        Arg::one_of("where").args(&[Arg::word("before", "BEFORE"), Arg::word("after", "AFTER")]),
        Arg::string("pivot"),
        ELEMENT,
    ]);

pub(super) fn linsert(ctx: &mut Context<'_, '_>) -> CommandResult {
    let behind = match () {
        () if ctx.is_word(2, "after") => 1,
        () if ctx.is_word(2, "before") => 0,
        () => return Err(CommandError::Syntax),
    };
    let (key, pivot, element) = (ctx.key(1), ctx.arg(3), ctx.arg(4));
    let limits = ctx.thresholds();
    let Some(list) = ctx.data.list_mut(key)? else {
        ctx.reply.integer(0);
        return Ok(Outcome::Done);
    };
    let mut found = None;
    list.position(pivot, false, 1, 0, &mut |index| {
        found = Some(index);
        ControlFlow::Break(())
    });
    let Some(at) = found else {
        ctx.reply.integer(-1);
        return Ok(Outcome::Done);
    };
    list.insert(at + behind, element, &limits);
    let len = list.len();
    ctx.data.signal_ready(key);
    ctx.data.changed(key, EventClass::List, "linsert");
    ctx.reply.integer(len as i64);
    Ok(Outcome::Done)
}

pub(super) const LSET: CommandSpec = CommandSpec::new("lset", 4, lset)
    .group(Group::List)
    .since("1.0.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM))
    .summary("Replaces the element at an index.")
    .complexity(
        "O(N) in the number of elements between the index and the nearest end; O(1) for the \
         first and the last.",
    )
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))])
    .args(&[Arg::KEY, Arg::integer("index"), ELEMENT]);

pub(super) fn lset(ctx: &mut Context<'_, '_>) -> CommandResult {
    let index = ctx.integer(2);
    let (key, element) = (ctx.key(1), ctx.arg(3));
    let limits = ctx.thresholds();
    let list = ctx.data.list_mut(key)?.ok_or(CommandError::NoSuchKey)?;
    let at = place(index?, list.len()).ok_or(CommandError::OutOfRange)?;
    list.set(at, element, &limits);
    ctx.data.changed(key, EventClass::List, "lset");
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(super) const LTRIM: CommandSpec = CommandSpec::new("ltrim", 4, ltrim)
    .group(Group::List)
    .since("1.0.0")
    .flags(Flags::WRITE)
    .summary("Removes all elements outside of a range of indexes.")
    .complexity("O(N) in the number of elements removed.")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::DELETE))])
    .args(&[Arg::KEY, Arg::integer("start"), Arg::integer("stop")]);

pub(super) fn ltrim(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (start, stop) = (ctx.integer(2)?, ctx.integer(3)?);
    let key = ctx.key(1);
    let limits = ctx.thresholds();
    let Some(list) = ctx.data.list_mut(key)? else {
        ctx.reply.ok();
        return Ok(Outcome::Done);
    };
    let kept = places(start, stop, list.len());
    let removed = list.len() - kept.len();
    if removed > 0 {
        // The elements behind are removed first, so that the other indexes stay right.
        list.remove_range(kept.end..list.len(), &limits);
        list.remove_range(0..kept.start, &limits);
        let event = (EventClass::List, "ltrim");
        ctx.data
            .changed_times(removed as u64, key, event.0, event.1);
        ctx.data.drop_if_empty(key);
    } else {
        ctx.data.notify(EventClass::List, "ltrim", key);
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(super) const LREM: CommandSpec = CommandSpec::new("lrem", 4, lrem)
    .group(Group::List)
    .since("1.0.0")
    .flags(Flags::WRITE)
    .summary("Removes elements that equal the given one: all of them, or so many from one end.")
    .complexity("O(N+M) with N elements in the list and M removed.")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::DELETE))])
    .args(&[Arg::KEY, Arg::integer("count"), ELEMENT]);

pub(super) fn lrem(ctx: &mut Context<'_, '_>) -> CommandResult {
    let count = ctx.integer(2)?;
    if count == i64::MIN {
        return Err(OUT_OF_LONG_RANGE);
    }
    let (key, element) = (ctx.key(1), ctx.arg(3));
    let limits = ctx.thresholds();
    let removed = match ctx.data.list_mut(key)? {
        Some(list) => {
            let limit = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
            list.remove_equal(element, limit, count < 0, &limits)
        }
        None => 0,
    };
    if removed > 0 {
        let event = (EventClass::List, "lrem");
        ctx.data
            .changed_times(removed as u64, key, event.0, event.1);
        ctx.data.drop_if_empty(key);
    }
    ctx.reply.integer(removed as i64);
    Ok(Outcome::Done)
}
