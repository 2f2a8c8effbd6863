//! Questions about members and counts: ZCARD, ZSCORE, ZMSCORE, ZRANK, ZREVRANK, ZCOUNT, ZLEXCOUNT.

use super::bounds::{By, Span};
use super::length;
use crate::command::*;
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

pub(super) const ZCARD: CommandSpec = CommandSpec::new("zcard", 2, zcard)
    .group(Group::SortedSet)
    .since("1.2.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .summary("Returns the number of members.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RO)])
    .args(&[Arg::KEY]);

pub(super) fn zcard(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    let len = ctx.data.zset(key)?.map_or(0, |members| members.len());
    ctx.reply.integer(length(len));
    Ok(Outcome::Done)
}

pub(super) const ZSCORE: CommandSpec = CommandSpec::new("zscore", 3, zscore)
    .group(Group::SortedSet)
    .since("1.2.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .summary("Returns the score of a member.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY, Arg::MEMBER]);

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

pub(super) const ZMSCORE: CommandSpec = CommandSpec::new("zmscore", -3, zmscore)
    .group(Group::SortedSet)
    .since("6.2.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .summary("Returns the scores of several members, null for one that is not there.")
    .complexity("O(N) in the number of members that are named.")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY, Arg::MEMBERS]);

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

pub(super) const ZRANK: CommandSpec = CommandSpec::new("zrank", -3, zrank)
    .group(Group::SortedSet)
    .since("2.0.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .summary("Returns how many members have lower scores than a member.")
    .complexity("O(log(N))")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY, Arg::MEMBER, Arg::flag("withscore", "WITHSCORE")]);

pub(super) fn zrank(ctx: &mut Context<'_, '_>) -> CommandResult {
    rank(ctx, false)
}

pub(super) const ZREVRANK: CommandSpec = CommandSpec::new("zrevrank", -3, zrevrank)
    .group(Group::SortedSet)
    .since("2.0.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .summary("Returns how many members have higher scores than a member.")
    .complexity("O(log(N))")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY, Arg::MEMBER, Arg::flag("withscore", "WITHSCORE")]);

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

pub(super) const ZCOUNT: CommandSpec = CommandSpec::new("zcount", 4, zcount)
    .group(Group::SortedSet)
    .since("2.0.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .summary("Returns the number of members in a range of scores.")
    .complexity("O(log(N)) in the size of the sorted set.")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY, Arg::double("min"), Arg::double("max")]);

pub(super) fn zcount(ctx: &mut Context<'_, '_>) -> CommandResult {
    count(ctx, By::Score)
}

pub(super) const ZLEXCOUNT: CommandSpec = CommandSpec::new("zlexcount", 4, zlexcount)
    .group(Group::SortedSet)
    .since("2.8.9")
    .flags(Flags::READONLY.or(Flags::FAST))
    .summary(
        "Returns the number of members between two members of a sorted set whose scores are all \
         equal.",
    )
    .complexity("O(log(N)) in the size of the sorted set.")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY, Arg::string("min"), Arg::string("max")]);

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
