//! RENAME and RENAMENX.

use keyspace::NewValue;

use crate::command::*;
use crate::context::{Context, EventClass, Expiry};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::keys::Key;

pub(super) const RENAME: CommandSpec = CommandSpec::new("rename", 3, rename)
    .group(Group::Generic)
    .since("1.0.0")
    .flags(Flags::WRITE)
    .categories(Categories::KEYSPACE)
    .summary("Renames a key; a key that has the new name is overwritten.")
    .complexity("O(1); an overwritten big value is freed in the background.")
    .keys(&[
        KeySpec::one(1, KeyFlags::RW_ACCESS_DELETE),
        KeySpec::one(2, KeyFlags::OW.or(KeyFlags::UPDATE)),
    ])
    .args(&[Arg::KEY, Arg::key("newkey").key_spec(1)]);

pub(super) fn rename(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (from, to) = source_and_target(ctx)?;
    if from.bytes != to.bytes {
        move_value(ctx, from, to);
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(super) const RENAMENX: CommandSpec = CommandSpec::new("renamenx", 3, renamenx)
    .group(Group::Generic)
    .since("1.0.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .categories(Categories::KEYSPACE)
    .summary("Renames a key, if the new name does not exist.")
    .complexity("O(1)")
    .keys(&[
        KeySpec::one(1, KeyFlags::RW_ACCESS_DELETE),
        KeySpec::one(2, KeyFlags::OW.or(KeyFlags::INSERT)),
    ])
    .args(&[Arg::KEY, Arg::key("newkey").key_spec(1)]);

pub(super) fn renamenx(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (from, to) = source_and_target(ctx)?;
    let free = from.bytes != to.bytes && !ctx.data.exists(to);
    if free {
        move_value(ctx, from, to);
    }
    ctx.reply.integer(i64::from(free));
    Ok(Outcome::Done)
}

fn source_and_target<'c>(ctx: &mut Context<'c, '_>) -> Result<(Key<'c>, Key<'c>), CommandError> {
    let (from, to) = (ctx.key(1), ctx.key(2));
    match ctx.data.lookup_mut(from) {
        Some(_) => Ok((from, to)),
        None => Err(CommandError::NoSuchKey),
    }
}

/// Moves the value and the deadline of an existing key to another key, over whatever it holds.
fn move_value(ctx: &mut Context<'_, '_>, from: Key<'_>, to: Key<'_>) {
    let Some(old) = ctx.data.take(from) else {
        return;
    };
    let before = ctx.data.type_for_events(to);
    ctx.data.remove(to);
    let expiry = old.deadline().map_or(Expiry::Clear, Expiry::At);
    ctx.data.set(to, NewValue::Owned(old.into_value()), expiry);
    ctx.data.signal_ready(from);
    ctx.data.signal_ready(to);
    ctx.data.notify(EventClass::New, "new", to);
    ctx.data.changed(from, EventClass::Generic, "rename_from");
    ctx.data.touch_watchers(to);
    ctx.data.notify(EventClass::Generic, "rename_to", to);
    ctx.data.notify_overwritten(to, before);
}
