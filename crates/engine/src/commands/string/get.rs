//! Commands that read a whole string: GET, GETDEL, GETEX, STRLEN.

use super::options::{Accepted, Lifetime, Options};
use super::set::{is_past, read_into_reply};
use super::write_string;
use crate::command::*;
use crate::commands::generic::{delete_expired, delete_key};
use crate::context::{Context, EventClass};
use crate::execute::{CommandResult, CommandSpec, Outcome};

pub(super) const GET: CommandSpec = CommandSpec::new("get", 2, get)
    .group(Group::String)
    .since("1.0.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .summary("Returns the string at a key.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY]);

pub(super) fn get(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    match ctx.data.string(key)? {
        None => ctx.reply.null(),
        Some(value) => write_string(&mut ctx.reply, value),
    }
    Ok(Outcome::Done)
}

pub(super) const GETDEL: CommandSpec = CommandSpec::new("getdel", 2, getdel)
    .group(Group::String)
    .since("6.2.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .summary("Returns the string at a key and removes the key.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RW_ACCESS_DELETE)])
    .args(&[Arg::KEY]);

pub(super) fn getdel(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    if read_into_reply(ctx, key)? {
        delete_key(ctx, key);
        ctx.propagate(&[b"DEL", key.bytes]);
    }
    Ok(Outcome::Done)
}

const ACCEPTED: Accepted = Accepted {
    existence: false,
    comparison: false,
    get: false,
    keep: false,
    persist: true,
};

pub(super) const GETEX: CommandSpec = CommandSpec::new("getex", -2, getex)
    .group(Group::String)
    .since("6.2.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .summary("Returns the string at a key and sets or removes the expiry of the key.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RW_ACCESS_UPDATE)])
    .args(&[Arg::KEY, Arg::EXPIRATION_OR_PERSIST]);

pub(super) fn getex(ctx: &mut Context<'_, '_>) -> CommandResult {
    let options = Options::parse(ctx.args.skip(2), ACCEPTED)?;
    let deadline = options.deadline(ctx.data.now_ms, "getex")?;
    let key = ctx.key(1);
    if !read_into_reply(ctx, key)? {
        return Ok(Outcome::Done);
    }
    if options.is_absolute() && is_past(ctx, deadline) {
        delete_expired(ctx, key);
    } else if let Some(at) = deadline {
        ctx.data.set_deadline(key, Some(at));
        ctx.data.changed(key, EventClass::Generic, "expire");
        if ctx.data.effects.is_enabled() {
            let mut digits = itoa::Buffer::new();
            ctx.propagate(&[b"PEXPIREAT", key.bytes, digits.format(at).as_bytes()]);
        }
    } else if matches!(options.lifetime, Lifetime::Persist) && ctx.data.deadline(key).is_some() {
        ctx.data.set_deadline(key, None);
        ctx.data.changed(key, EventClass::Generic, "persist");
        ctx.propagate(&[b"PERSIST", key.bytes]);
    }
    Ok(Outcome::Done)
}

pub(super) const STRLEN: CommandSpec = CommandSpec::new("strlen", 2, strlen)
    .group(Group::String)
    .since("2.2.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .summary("Returns the length of the string at a key, in bytes.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RO)])
    .args(&[Arg::KEY]);

pub(super) fn strlen(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    let len = ctx.data.string(key)?.map_or(0, |value| value.len());
    ctx.reply.integer(super::length(len));
    Ok(Outcome::Done)
}
