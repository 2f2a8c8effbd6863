//! Removing members: ZREM, ZREMRANGEBYRANK, ZREMRANGEBYSCORE, ZREMRANGEBYLEX.

use super::bounds::{By, Span};
use super::{arguments, length};
use crate::command::*;
use crate::context::{Context, EventClass, Key};

pub(super) const ZREM: Command = Command {
    name: "zrem",
    arity: -3,
    flags: Flags::WRITE.or(Flags::FAST),
    categories: Categories::FAST
        .or(Categories::SORTEDSET)
        .or(Categories::WRITE),
    keys: &[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::DELETE))],
    group: Group::SortedSet,
    since: "1.2.0",
    summary: "Removes members.",
    complexity: "O(M*log(N)) with N being the number of elements in the sorted set and M the number of elements to be removed.",
    args: &[arguments::KEY, arguments::MEMBERS],
    handler: zrem,
    ..Command::BASE
};

pub(super) fn zrem(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (key, named) = (ctx.key(1), ctx.args.skip(2));
    let (mut removed, mut emptied) = (0, false);
    if let Some(members) = ctx.data.zset_mut(key)? {
        for member in named.iter() {
            removed += usize::from(members.remove(member).is_some());
            emptied = members.is_empty();
            if emptied {
                break;
            }
        }
    }
    note_removed(ctx, key, removed, emptied, "zrem");
    ctx.reply.integer(length(removed));
    Ok(Outcome::Done)
}

pub(super) const ZREMRANGEBYRANK: Command = Command {
    name: "zremrangebyrank",
    arity: 4,
    flags: Flags::WRITE,
    categories: Categories::SLOW
        .or(Categories::SORTEDSET)
        .or(Categories::WRITE),
    keys: &[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::DELETE))],
    group: Group::SortedSet,
    since: "2.0.0",
    summary: "Removes the members in a range of ranks.",
    complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.",
    args: &[
        arguments::KEY,
        arguments::plain("start", ArgKind::Integer),
        arguments::plain("stop", ArgKind::Integer),
    ],
    handler: zremrangebyrank,
    ..Command::BASE
};

pub(super) fn zremrangebyrank(ctx: &mut Context<'_, '_>) -> CommandResult {
    remove_range(ctx, By::Rank, "zremrangebyrank")
}

pub(super) const ZREMRANGEBYSCORE: Command = Command {
    name: "zremrangebyscore",
    arity: 4,
    flags: Flags::WRITE,
    categories: Categories::SLOW
        .or(Categories::SORTEDSET)
        .or(Categories::WRITE),
    keys: &[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::DELETE))],
    group: Group::SortedSet,
    since: "1.2.0",
    summary: "Removes the members in a range of scores.",
    complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.",
    args: &[
        arguments::KEY,
        arguments::plain("min", ArgKind::Double),
        arguments::plain("max", ArgKind::Double),
    ],
    handler: zremrangebyscore,
    ..Command::BASE
};

pub(super) fn zremrangebyscore(ctx: &mut Context<'_, '_>) -> CommandResult {
    remove_range(ctx, By::Score, "zremrangebyscore")
}

pub(super) const ZREMRANGEBYLEX: Command = Command {
    name: "zremrangebylex",
    arity: 4,
    flags: Flags::WRITE,
    categories: Categories::SLOW
        .or(Categories::SORTEDSET)
        .or(Categories::WRITE),
    keys: &[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::DELETE))],
    group: Group::SortedSet,
    since: "2.8.9",
    summary: "Removes the members between two members of a sorted set whose scores are all equal.",
    complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.",
    args: &[
        arguments::KEY,
        arguments::plain("min", ArgKind::String),
        arguments::plain("max", ArgKind::String),
    ],
    handler: zremrangebylex,
    ..Command::BASE
};

pub(super) fn zremrangebylex(ctx: &mut Context<'_, '_>) -> CommandResult {
    remove_range(ctx, By::Lex, "zremrangebylex")
}

fn remove_range(ctx: &mut Context<'_, '_>, by: By, event: &'static str) -> CommandResult {
    let span = Span::parse(ctx, by, 2, 3)?;
    let key = ctx.key(1);
    let (mut removed, mut emptied) = (0, false);
    if let Some(members) = ctx.data.zset_mut(key)? {
        let ranks = span.ranks(members, false);
        removed = members.remove_range(ranks, &mut |_, _| {});
        emptied = members.is_empty();
    }
    note_removed(ctx, key, removed, emptied, event);
    ctx.reply.integer(length(removed));
    Ok(Outcome::Done)
}

/// What follows from the removal of some members.
pub(super) fn note_removed(
    ctx: &mut Context<'_, '_>,
    key: Key<'_>,
    removed: usize,
    emptied: bool,
    event: &'static str,
) {
    if removed > 0 {
        ctx.data
            .changed_times(removed as u64, key, EventClass::ZSet, event);
    }
    if emptied {
        ctx.data.drop_if_empty(key);
    }
}
