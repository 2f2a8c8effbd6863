//! Commands that read fields: HGET, HMGET, HGETALL, HKEYS, HVALS, HLEN, HEXISTS, HSTRLEN.

use resp::Args;

use super::Overdue;
use crate::command::*;
use crate::context::{Context, ElementReply};
use crate::execute::{CommandResult, CommandSpec, Outcome};

pub(super) const HGET: CommandSpec = CommandSpec::new("hget", 3, hget)
    .group(Group::Hash)
    .since("2.0.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .summary("Returns the value of a field of a hash.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY, Arg::FIELD]);

pub(super) fn hget(ctx: &mut Context<'_, '_>) -> CommandResult {
    let view_ms = ctx.data.view_ms();
    let hash = ctx.data.hash(ctx.key(1))?;
    match hash.and_then(|hash| hash.get(ctx.args.arg(2), view_ms)) {
        Some(value) => ctx.reply.element(value),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

pub(super) const HMGET: CommandSpec = CommandSpec::new("hmget", -3, hmget)
    .group(Group::Hash)
    .since("2.0.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .summary("Returns the values of several fields of a hash.")
    .complexity("O(N) where N is the number of fields asked for.")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY, Arg::FIELD.multiple()]);

pub(super) fn hmget(ctx: &mut Context<'_, '_>) -> CommandResult {
    reply_values(ctx, ctx.args.skip(2))
}

/// Replies with the values of fields of the hash at argument 1.
pub(super) fn reply_values(ctx: &mut Context<'_, '_>, fields: Args<'_>) -> CommandResult {
    let view_ms = ctx.data.view_ms();
    let hash = ctx.data.hash(ctx.key(1))?;
    let reply = &mut ctx.reply;
    reply.array(fields.len());
    match hash {
        None => fields.iter().for_each(|_| reply.null()),
        Some(hash) => hash.get_many(fields.iter(), view_ms, |value| match value {
            Some(value) => reply.element(value),
            None => reply.null(),
        }),
    }
    Ok(Outcome::Done)
}

pub(super) const HGETALL: CommandSpec = CommandSpec::new("hgetall", 2, hgetall)
    .group(Group::Hash)
    .since("2.0.0")
    .flags(Flags::READONLY)
    .summary("Returns all fields of a hash with their values.")
    .complexity("O(N) in the size of the hash.")
    .hints(&["nondeterministic_output_order"])
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY]);

pub(super) fn hgetall(ctx: &mut Context<'_, '_>) -> CommandResult {
    all(ctx, Wanted::Both)
}

pub(super) const HKEYS: CommandSpec = CommandSpec::new("hkeys", 2, hkeys)
    .group(Group::Hash)
    .since("2.0.0")
    .flags(Flags::READONLY)
    .summary("Returns all fields of a hash.")
    .complexity("O(N) in the size of the hash.")
    .hints(&["nondeterministic_output_order"])
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY]);

pub(super) fn hkeys(ctx: &mut Context<'_, '_>) -> CommandResult {
    all(ctx, Wanted::Fields)
}

pub(super) const HVALS: CommandSpec = CommandSpec::new("hvals", 2, hvals)
    .group(Group::Hash)
    .since("2.0.0")
    .flags(Flags::READONLY)
    .summary("Returns the values of all fields of a hash.")
    .complexity("O(N) in the size of the hash.")
    .hints(&["nondeterministic_output_order"])
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY]);

pub(super) fn hvals(ctx: &mut Context<'_, '_>) -> CommandResult {
    all(ctx, Wanted::Values)
}

/// Which part of each field goes into a reply.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Fields,
    Values,
    Both,
}

fn all(ctx: &mut Context<'_, '_>, wanted: Wanted) -> CommandResult {
    let view_ms = ctx.data.view_ms();
    let hash = ctx.data.hash(ctx.key(1))?;
    let reply = &mut ctx.reply;
    // The length comes first in a reply; when some have expired, the others have to be counted.
    let count = hash.map_or(0, |hash| {
        if Overdue::of(hash, view_ms).any() {
            hash.iter(view_ms).count()
        } else {
            hash.len()
        }
    });
    match wanted {
        Wanted::Both => reply.map(count),
        Wanted::Fields | Wanted::Values => reply.array(count),
    }
    for (field, value) in hash.into_iter().flat_map(|hash| hash.iter(view_ms)) {
        if wanted != Wanted::Values {
            reply.element(field);
        }
        if wanted != Wanted::Fields {
            reply.element(value);
        }
    }
    Ok(Outcome::Done)
}

pub(super) const HLEN: CommandSpec = CommandSpec::new("hlen", 2, hlen)
    .group(Group::Hash)
    .since("2.0.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .summary("Returns how many fields a hash has.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RO)])
    .args(&[Arg::KEY]);

pub(super) fn hlen(ctx: &mut Context<'_, '_>) -> CommandResult {
    let len = ctx.data.hash(ctx.key(1))?.map_or(0, |hash| hash.len());
    ctx.reply.integer(len as i64);
    Ok(Outcome::Done)
}

pub(super) const HEXISTS: CommandSpec = CommandSpec::new("hexists", 3, hexists)
    .group(Group::Hash)
    .since("2.0.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .summary("Returns whether a field exists in a hash.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RO)])
    .args(&[Arg::KEY, Arg::FIELD]);

pub(super) fn hexists(ctx: &mut Context<'_, '_>) -> CommandResult {
    let view_ms = ctx.data.view_ms();
    let field = ctx.arg(2);
    let hash = ctx.data.hash(ctx.key(1))?;
    let exists = hash.is_some_and(|hash| hash.get(field, view_ms).is_some());
    ctx.reply.integer(i64::from(exists));
    Ok(Outcome::Done)
}

pub(super) const HSTRLEN: CommandSpec = CommandSpec::new("hstrlen", 3, hstrlen)
    .group(Group::Hash)
    .since("3.2.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .summary("Returns the length of the value of a field in bytes, 0 when there is no such field.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RO)])
    .args(&[Arg::KEY, Arg::FIELD]);

pub(super) fn hstrlen(ctx: &mut Context<'_, '_>) -> CommandResult {
    let view_ms = ctx.data.view_ms();
    let field = ctx.arg(2);
    let hash = ctx.data.hash(ctx.key(1))?;
    let value = hash.and_then(|hash| hash.get(field, view_ms));
    ctx.reply
        .integer(value.map_or(0, |value| value.len()) as i64);
    Ok(Outcome::Done)
}
