//! Moving one element from list to list: LMOVE, RPOPLPUSH, and BLMOVE, BRPOPLPUSH, which wait for
//! it.

use keyspace::Type;
use smallvec::SmallVec;
use values::{DIGITS, Element, End, List, Thresholds};

use super::push::push_all;
use super::{DESTINATION, SOURCE, TIMEOUT, WHERE, elements_popped, end, outermost, pushed};
use crate::command::*;
use crate::context::{Context, EventClass};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome, blocking};
use crate::keys::Key;
use crate::wait::{Block, Wakes};

/// The keys of a move: an element is removed from the first and added to the second.
pub(super) const MOVED_KEYS: &[KeySpec] = &[
    KeySpec::one(1, KeyFlags::RW_ACCESS_DELETE),
    KeySpec::one(2, KeyFlags::RW.or(KeyFlags::INSERT)),
];

/// The specification that all moves share.
pub(super) const MOVE: CommandSpec = CommandSpec::BASE
    .group(Group::List)
    .flags(Flags::WRITE.or(Flags::DENYOOM))
    .complexity("O(1)")
    .keys(MOVED_KEYS);

/// The specification that all blocking moves share.
pub(super) const BLOCKING_MOVE: CommandSpec = MOVE.flags(Flags::BLOCKING);

pub(super) const LMOVE: CommandSpec = MOVE
    .named("lmove", 5, lmove)
    .since("6.2.0")
    .summary("Moves an element from one end of a list to one end of another and returns it.")
    .args(&[
        SOURCE,
        DESTINATION,
        WHERE.named("wherefrom"),
        WHERE.named("whereto"),
    ]);

pub(super) fn lmove(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (from, to) = (end(ctx, 3)?, end(ctx, 4)?);
    if !move_one(ctx, from, to)? {
        ctx.reply.null();
    }
    Ok(Outcome::Done)
}

pub(super) const RPOPLPUSH: CommandSpec = MOVE
    .named("rpoplpush", 3, rpoplpush)
    .since("1.2.0")
    .summary("Moves the last element of a list to the front of another and returns it.")
    .args(&[SOURCE, DESTINATION]);

pub(super) fn rpoplpush(ctx: &mut Context<'_, '_>) -> CommandResult {
    if !move_one(ctx, End::Back, End::Front)? {
        ctx.reply.null();
    }
    Ok(Outcome::Done)
}

pub(super) const BLMOVE: CommandSpec = BLOCKING_MOVE
    .named("blmove", 6, blmove)
    .since("6.2.0")
    .summary(
        "Moves an element from one end of a list to one end of another and returns it; waits \
         until there is one.",
    )
    .args(&[
        SOURCE,
        DESTINATION,
        WHERE.named("wherefrom"),
        WHERE.named("whereto"),
        TIMEOUT,
    ]);

pub(super) fn blmove(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (from, to) = (end(ctx, 3)?, end(ctx, 4)?);
    let deadline_ms = blocking::deadline(ctx, 5)?;
    if !move_one(ctx, from, to)? {
        return wait_for_source(ctx, deadline_ms);
    }
    let args = ctx.args;
    ctx.propagate(&[b"LMOVE", args.arg(1), args.arg(2), args.arg(3), args.arg(4)]);
    Ok(Outcome::Done)
}

pub(super) const BRPOPLPUSH: CommandSpec = BLOCKING_MOVE
    .named("brpoplpush", 4, brpoplpush)
    .since("2.2.0")
    .summary(
        "Moves the last element of a list to the front of another and returns it; waits until \
         there is one.",
    )
    .args(&[SOURCE, DESTINATION, TIMEOUT]);

pub(super) fn brpoplpush(ctx: &mut Context<'_, '_>) -> CommandResult {
    let deadline_ms = blocking::deadline(ctx, 3)?;
    if !move_one(ctx, End::Back, End::Front)? {
        return wait_for_source(ctx, deadline_ms);
    }
    let args = ctx.args;
    ctx.propagate(&[b"RPOPLPUSH", args.arg(1), args.arg(2)]);
    Ok(Outcome::Done)
}

fn wait_for_source(ctx: &mut Context<'_, '_>, deadline_ms: Option<u64>) -> CommandResult {
    if !ctx.may_block() {
        ctx.reply.null();
        return Ok(Outcome::Done);
    }
    Ok(Outcome::Block(Block::Keys {
        keys: vec![ctx.arg(1).to_vec()],
        deadline_ms,
        wakes: Wakes {
            kind: Type::List,
            removal: false,
        },
    }))
}

/// An element between its removal and its insertion.
type Moved = SmallVec<[u8; 64]>;

/// Moves one element from the list at the first key to the list at the second (it may be the same
/// list) and replies it. False when there is nothing to move.
fn move_one(ctx: &mut Context<'_, '_>, from: End, to: End) -> Result<bool, CommandError> {
    let limits = ctx.thresholds();
    let (source, destination) = (ctx.key(1), ctx.key(2));
    let Some(list) = ctx.data.list_mut(source)? else {
        return Ok(false);
    };
    let element = take(list, from, &limits);
    if let Err(error) = push_all(ctx, destination, to, std::iter::once(&element[..])) {
        if let Some(list) = ctx.data.list_mut(source)? {
            list.push(from, &element, &limits);
        }
        return Err(error);
    }
    ctx.reply.bulk(&element);
    moved(ctx, (source, from), (destination, to), 1);
    Ok(true)
}

fn take(list: &mut List, end: End, limits: &Thresholds) -> Moved {
    let range = outermost(end, 1, list.len());
    let copy = |element: Element<'_>| Moved::from_slice(element.as_bytes(&mut { DIGITS }));
    let element = list.with(range.start, copy).unwrap_or_default();
    list.remove_range(range, limits);
    element
}

/// Announces elements that moved from list to list. The event of the push comes first; the elements
/// count as changes once.
pub(super) fn moved(
    ctx: &mut Context<'_, '_>,
    (source, from): (Key<'_>, End),
    (destination, to): (Key<'_>, End),
    count: usize,
) {
    ctx.data
        .changed_times(0, destination, EventClass::List, pushed(to));
    elements_popped(&mut ctx.data, source, from, count);
}
