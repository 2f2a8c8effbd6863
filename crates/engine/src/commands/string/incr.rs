//! Counters: INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT.

use keyspace::{NewValue, StringRef, Value};
use resp::number::{F80, I64_BYTES_MAX};

use crate::command::*;
use crate::context::{Context, EventClass, Expiry};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

pub(super) const INCR: CommandSpec = CommandSpec::new("incr", 2, incr)
    .group(Group::String)
    .since("1.0.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST))
    .summary("Adds one to the integer at a key; a missing key counts as 0.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RW_ACCESS_UPDATE)])
    .args(&[Arg::KEY]);

pub(super) fn incr(ctx: &mut Context<'_, '_>) -> CommandResult {
    add(ctx, 1)
}

pub(super) const DECR: CommandSpec = CommandSpec::new("decr", 2, decr)
    .group(Group::String)
    .since("1.0.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST))
    .summary("Subtracts one from the integer at a key; a missing key counts as 0.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RW_ACCESS_UPDATE)])
    .args(&[Arg::KEY]);

pub(super) fn decr(ctx: &mut Context<'_, '_>) -> CommandResult {
    add(ctx, -1)
}

pub(super) const INCRBY: CommandSpec = CommandSpec::new("incrby", 3, incrby)
    .group(Group::String)
    .since("1.0.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST))
    .summary("Adds a number to the integer at a key; a missing key counts as 0.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RW_ACCESS_UPDATE)])
    .args(&[Arg::KEY, Arg::integer("increment")]);

pub(super) fn incrby(ctx: &mut Context<'_, '_>) -> CommandResult {
    let increment = ctx.integer(2)?;
    add(ctx, increment)
}

pub(super) const DECRBY: CommandSpec = CommandSpec::new("decrby", 3, decrby)
    .group(Group::String)
    .since("1.0.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST))
    .summary("Subtracts a number from the integer at a key; a missing key counts as 0.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RW_ACCESS_UPDATE)])
    .args(&[Arg::KEY, Arg::integer("decrement")]);

pub(super) fn decrby(ctx: &mut Context<'_, '_>) -> CommandResult {
    let increment = ctx
        .integer(2)?
        .checked_neg()
        .ok_or(CommandError::line("ERR decrement would overflow"))?;
    add(ctx, increment)
}

fn add(ctx: &mut Context<'_, '_>, increment: i64) -> CommandResult {
    let key = ctx.key(1);
    let value = match ctx.data.lookup_mut(key) {
        Some(mut entry) => {
            let old = match entry.integer() {
                Some(old) => old,
                None => integer_of(entry.string())?,
            };
            let value = old.checked_add(increment).ok_or(CommandError::Overflow)?;
            entry.set_integer(value);
            value
        }
        None => {
            ctx.data.set(key, NewValue::Int(increment), Expiry::Clear);
            ctx.data.notify(EventClass::New, "new", key);
            increment
        }
    };
    ctx.data.changed(key, EventClass::String, "incrby");
    ctx.reply.integer(value);
    Ok(Outcome::Done)
}

/// The integer in a value. `None` is a value of another type.
pub(super) fn integer_of(value: Option<StringRef<'_>>) -> Result<i64, CommandError> {
    value
        .ok_or(CommandError::WrongType)?
        .parse_i64()
        .ok_or(CommandError::NotInteger)
}

/// The number in a value. `None` is a value of another type.
pub(super) fn float_of(value: Option<StringRef<'_>>) -> Result<F80, CommandError> {
    match value.ok_or(CommandError::WrongType)? {
        StringRef::Int(value) => Ok(F80::from(value)),
        value => F80::parse(value.as_bytes(&mut [0; I64_BYTES_MAX])).ok_or(CommandError::NotFloat),
    }
}

/// The text of a number as a value. Unlike a value of SET it is never stored as an integer, which
/// OBJECT ENCODING shows.
pub(super) fn float_value(text: &str) -> NewValue<'static> {
    NewValue::Owned(Value::Bytes(text.as_bytes().into()))
}

pub(super) const INCRBYFLOAT: CommandSpec = CommandSpec::new("incrbyfloat", 3, incrbyfloat)
    .group(Group::String)
    .since("2.6.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST))
    .summary("Adds a floating-point number to the number at a key; a missing key counts as 0.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RW_ACCESS_UPDATE)])
    .args(&[Arg::KEY, Arg::double("increment")]);

pub(super) fn incrbyfloat(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    let increment = ctx.arg(2);
    let text = match ctx.data.lookup_mut(key) {
        Some(mut entry) => {
            let text = float_sum(float_of(entry.string())?, increment)?;
            entry.set_value(float_value(&text));
            text
        }
        None => {
            let text = float_sum(F80::ZERO, increment)?;
            ctx.data.set(key, float_value(&text), Expiry::Clear);
            ctx.data.notify(EventClass::New, "new", key);
            text
        }
    };
    ctx.data.changed(key, EventClass::String, "incrbyfloat");
    ctx.reply.bulk(text.as_bytes());
    // The sum itself is logged, so that a reader of the log does not round differently.
    ctx.propagate(&[b"SET", key.bytes, text.as_bytes(), b"KEEPTTL"]);
    Ok(Outcome::Done)
}

fn float_sum(old: F80, increment: &[u8]) -> Result<String, CommandError> {
    let increment = F80::parse(increment).ok_or(CommandError::NotFloat)?;
    let value = old + increment;
    if !value.is_finite() {
        return Err(CommandError::NanOrInfinity);
    }
    Ok(value.to_string())
}
