//! Questions about members and counts: ZCARD, ZSCORE, ZMSCORE, ZRANK, ZREVRANK, ZCOUNT, ZLEXCOUNT.

use super::bounds::{By, Span};
use super::{arguments, length};
use crate::command::*;
use crate::context::Context;
use crate::error::CommandError;

pub(super) const ZCARD: Command = Command {
    name: "zcard",
    arity: 2,
    flags: Flags::READONLY.or(Flags::FAST),
    categories: Categories::FAST
        .or(Categories::READ)
        .or(Categories::SORTEDSET),
    keys: &[KeySpec::one(1, KeyFlags::RO)],
    group: Group::SortedSet,
    since: "1.2.0",
    summary: "Returns the number of members.",
    complexity: "O(1)",
    args: &[arguments::KEY],
    handler: zcard,
    ..Command::BASE
};

pub(super) fn zcard(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    let len = ctx.data.zset(key)?.map_or(0, |members| members.len());
    ctx.reply.integer(length(len));
    Ok(Outcome::Done)
}

pub(super) const ZSCORE: Command = Command {
    name: "zscore",
    arity: 3,
    flags: Flags::READONLY.or(Flags::FAST),
    categories: Categories::FAST
        .or(Categories::READ)
        .or(Categories::SORTEDSET),
    keys: &[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "1.2.0",
    summary: "Returns the score of a member.",
    complexity: "O(1)",
    args: &[arguments::KEY, arguments::MEMBER],
    handler: zscore,
    ..Command::BASE
};

pub(super) fn zscore(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (key, member) = (ctx.key(1), ctx.arg(2));
    match ctx
        .data
        .zset(key)?
        .and_then(|members| members.score(member))
    {
        Some(score) => ctx.reply.double(score),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

pub(super) const ZMSCORE: Command = Command {
    name: "zmscore",
    arity: -3,
    flags: Flags::READONLY.or(Flags::FAST),
    categories: Categories::FAST
        .or(Categories::READ)
        .or(Categories::SORTEDSET),
    keys: &[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "6.2.0",
    summary: "Returns the scores of several members, null for one that is not there.",
    complexity: "O(N) where N is the number of members being requested.",
    args: &[arguments::KEY, arguments::MEMBERS],
    handler: zmscore,
    ..Command::BASE
};

pub(super) fn zmscore(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (key, asked) = (ctx.key(1), ctx.args.skip(2));
    let members = ctx.data.zset(key)?;
    ctx.reply.array(asked.len());
    for member in asked.iter() {
        match members.and_then(|members| members.score(member)) {
            Some(score) => ctx.reply.double(score),
            None => ctx.reply.null(),
        }
    }
    Ok(Outcome::Done)
}

pub(super) const ZRANK: Command = Command {
    name: "zrank",
    arity: -3,
    flags: Flags::READONLY.or(Flags::FAST),
    categories: Categories::FAST
        .or(Categories::READ)
        .or(Categories::SORTEDSET),
    keys: &[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "2.0.0",
    summary: "Returns how many members have lower scores than a member.",
    complexity: "O(log(N))",
    args: &[
        arguments::KEY,
        arguments::MEMBER,
        arguments::option("withscore", "WITHSCORE"),
    ],
    handler: zrank,
    ..Command::BASE
};

pub(super) fn zrank(ctx: &mut Context<'_, '_>) -> CommandResult {
    rank(ctx, false)
}

pub(super) const ZREVRANK: Command = Command {
    name: "zrevrank",
    arity: -3,
    flags: Flags::READONLY.or(Flags::FAST),
    categories: Categories::FAST
        .or(Categories::READ)
        .or(Categories::SORTEDSET),
    keys: &[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "2.0.0",
    summary: "Returns how many members have higher scores than a member.",
    complexity: "O(log(N))",
    args: &[
        arguments::KEY,
        arguments::MEMBER,
        arguments::option("withscore", "WITHSCORE"),
    ],
    handler: zrevrank,
    ..Command::BASE
};

pub(super) fn zrevrank(ctx: &mut Context<'_, '_>) -> CommandResult {
    rank(ctx, true)
}

fn rank(ctx: &mut Context<'_, '_>, reverse: bool) -> CommandResult {
    if ctx.args.len() > 4 {
        return Err(CommandError::Arity(ctx.entry.full_name.into()));
    }
    let with_score = ctx.args.len() == 4;
    if with_score && !ctx.is_word(3, "withscore") {
        return Err(CommandError::Syntax);
    }
    let (key, member) = (ctx.key(1), ctx.arg(2));
    let members = ctx.data.zset(key)?;
    let found = members.and_then(|members| {
        let (rank, score) = members.rank(member)?;
        let rank = if reverse {
            members.len() - 1 - rank
        } else {
            rank
        };
        Some((length(rank), score))
    });
    match found {
        Some((rank, score)) if with_score => {
            ctx.reply.array(2);
            ctx.reply.integer(rank);
            ctx.reply.double(score);
        }
        Some((rank, _)) => ctx.reply.integer(rank),
        None if with_score => ctx.reply.null_array(),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

pub(super) const ZCOUNT: Command = Command {
    name: "zcount",
    arity: 4,
    flags: Flags::READONLY.or(Flags::FAST),
    categories: Categories::FAST
        .or(Categories::READ)
        .or(Categories::SORTEDSET),
    keys: &[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "2.0.0",
    summary: "Returns the number of members in a range of scores.",
    complexity: "O(log(N)) with N being the number of elements in the sorted set.",
    args: &[
        arguments::KEY,
        arguments::plain("min", ArgKind::Double),
        arguments::plain("max", ArgKind::Double),
    ],
    handler: zcount,
    ..Command::BASE
};

pub(super) fn zcount(ctx: &mut Context<'_, '_>) -> CommandResult {
    count(ctx, By::Score)
}

pub(super) const ZLEXCOUNT: Command = Command {
    name: "zlexcount",
    arity: 4,
    flags: Flags::READONLY.or(Flags::FAST),
    categories: Categories::FAST
        .or(Categories::READ)
        .or(Categories::SORTEDSET),
    keys: &[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "2.8.9",
    summary: "Returns the number of members between two members of a sorted set whose scores are all equal.",
    complexity: "O(log(N)) with N being the number of elements in the sorted set.",
    args: &[
        arguments::KEY,
        arguments::plain("min", ArgKind::String),
        arguments::plain("max", ArgKind::String),
    ],
    handler: zlexcount,
    ..Command::BASE
};

pub(super) fn zlexcount(ctx: &mut Context<'_, '_>) -> CommandResult {
    count(ctx, By::Lex)
}

fn count(ctx: &mut Context<'_, '_>, by: By) -> CommandResult {
    let span = Span::parse(ctx, by, 2, 3)?;
    let key = ctx.key(1);
    let members = ctx.data.zset(key)?;
    let count = members.map_or(0, |members| span.ranks(members, false).len());
    ctx.reply.integer(length(count));
    Ok(Outcome::Done)
}
