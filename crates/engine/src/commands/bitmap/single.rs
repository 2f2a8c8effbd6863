//! Commands on one bit: SETBIT, GETBIT.

use keyspace::number::INTEGER_TEXT_MAX;
use values::bits;

use super::{bit_offset, edit};
use crate::command::*;
use crate::context::{Context, EventClass};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

pub(super) const SETBIT: CommandSpec = CommandSpec::new("setbit", 4, setbit)
    .group(Group::Bitmap)
    .since("2.2.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM))
    .summary("Sets or clears one bit of the string at a key and returns what it was.")
    .complexity("O(1), and O(N) in the bytes that are added when the string grows.")
    .keys(&[KeySpec::one(1, KeyFlags::RW_ACCESS_UPDATE)])
    .args(&[Arg::KEY, Arg::integer("offset"), Arg::integer("value")]);

pub(super) fn setbit(ctx: &mut Context<'_, '_>) -> CommandResult {
    let offset = bit_offset(ctx, ctx.arg(2), 1)?;
    let on = match ctx.integer(3) {
        Ok(0) => false,
        Ok(1) => true,
        _ => {
            return Err(CommandError::line(
                "ERR bit is not an integer or out of range",
            ));
        }
    };
    let key = ctx.key(1);
    let (grew, was) = edit(&mut ctx.data, key, offset, |bytes| {
        bits::set(bytes, offset, on)
    })?;
    if grew || was != on {
        ctx.data.changed(key, EventClass::String, "setbit");
    }
    ctx.reply.integer(i64::from(was));
    Ok(Outcome::Done)
}

pub(super) const GETBIT: CommandSpec = CommandSpec::new("getbit", 3, getbit)
    .group(Group::Bitmap)
    .since("2.2.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .summary("Returns one bit of the string at a key; bits beyond its end are 0.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY, Arg::integer("offset")]);

pub(super) fn getbit(ctx: &mut Context<'_, '_>) -> CommandResult {
    let offset = bit_offset(ctx, ctx.arg(2), 1)?;
    let key = ctx.key(1);
    let value = ctx.data.string(key)?;
    let bit =
        value.is_some_and(|value| bits::get(value.as_bytes(&mut [0; INTEGER_TEXT_MAX]), offset));
    ctx.reply.integer(i64::from(bit));
    Ok(Outcome::Done)
}
