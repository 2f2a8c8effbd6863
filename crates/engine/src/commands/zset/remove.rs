//! Removing members: ZREM, ZREMRANGEBYRANK, ZREMRANGEBYSCORE, ZREMRANGEBYLEX.

use super::bounds::{By, Span};
use super::length;
use crate::command::*;
use crate::context::{Context, EventClass};
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::keys::Key;

/// Complexity of the commands that remove a range.
const COMPLEXITY: &str = "O(log(N)+M) with N being the number of elements in the sorted set and M the number of \
     elements removed by the operation.";

pub(super) const ZREM: CommandSpec = CommandSpec::new("zrem", -3, zrem)
    .group(Group::SortedSet)
    .since("1.2.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .summary("Removes members.")
    .complexity("O(log(N)) per member in the size of the sorted set.")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::DELETE))])
    .args(&[Arg::KEY, Arg::MEMBERS]);

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

pub(super) const ZREMRANGEBYRANK: CommandSpec =
    CommandSpec::new("zremrangebyrank", 4, zremrangebyrank)
        .group(Group::SortedSet)
        .since("2.0.0")
        .flags(Flags::WRITE)
        .summary("Removes the members in a range of ranks.")
        .complexity(COMPLEXITY)
        .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::DELETE))])
        .args(&[Arg::KEY, Arg::integer("start"), Arg::integer("stop")]);

pub(super) fn zremrangebyrank(ctx: &mut Context<'_, '_>) -> CommandResult {
    remove_range(ctx, By::Rank, "zremrangebyrank")
}

pub(super) const ZREMRANGEBYSCORE: CommandSpec =
    CommandSpec::new("zremrangebyscore", 4, zremrangebyscore)
        .group(Group::SortedSet)
        .since("1.2.0")
        .flags(Flags::WRITE)
        .summary("Removes the members in a range of scores.")
        .complexity(COMPLEXITY)
        .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::DELETE))])
        .args(&[Arg::KEY, Arg::double("min"), Arg::double("max")]);

pub(super) fn zremrangebyscore(ctx: &mut Context<'_, '_>) -> CommandResult {
    remove_range(ctx, By::Score, "zremrangebyscore")
}

pub(super) const ZREMRANGEBYLEX: CommandSpec =
    CommandSpec::new("zremrangebylex", 4, zremrangebylex)
        .group(Group::SortedSet)
        .since("2.8.9")
        .flags(Flags::WRITE)
        .summary(
            "Removes the members between two members of a sorted set whose scores are all equal.",
        )
        .complexity(COMPLEXITY)
        .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::DELETE))])
        .args(&[Arg::KEY, Arg::string("min"), Arg::string("max")]);

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

/// Announces the removal of some members.
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
