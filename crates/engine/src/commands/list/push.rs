//! Adding at the ends: LPUSH, LPUSHX, RPUSH, RPUSHX.

use keyspace::{NewValue, Value};
use values::{End, List};

use super::{ELEMENT, pushed};
use crate::command::*;
use crate::context::{Context, EventClass, Expiry};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::keys::Key;

/// All pushes take the same arguments.
const PUSH: CommandSpec = CommandSpec::BASE
    .group(Group::List)
    .flags(Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST))
    .complexity("O(1) for each element added.")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::INSERT))])
    .args(&[Arg::KEY, ELEMENT.multiple()]);

pub(super) const LPUSH: CommandSpec = PUSH.named("lpush", -3, lpush).since("1.0.0").summary(
    "Adds elements before the first one, one after the other, to a list that is made if \
         there is none.",
);

pub(super) fn lpush(ctx: &mut Context<'_, '_>) -> CommandResult {
    push(ctx, End::Front, false)
}

pub(super) const LPUSHX: CommandSpec = PUSH
    .named("lpushx", -3, lpushx)
    .since("2.2.0")
    .summary("Adds elements before the first one, if there is a list.");

pub(super) fn lpushx(ctx: &mut Context<'_, '_>) -> CommandResult {
    push(ctx, End::Front, true)
}

pub(super) const RPUSH: CommandSpec = PUSH
    .named("rpush", -3, rpush)
    .since("1.0.0")
    .summary("Adds elements behind the last one, to a list that is made if there is none.");

pub(super) fn rpush(ctx: &mut Context<'_, '_>) -> CommandResult {
    push(ctx, End::Back, false)
}

pub(super) const RPUSHX: CommandSpec = PUSH
    .named("rpushx", -3, rpushx)
    .since("2.2.0")
    .summary("Adds elements behind the last one, if there is a list.");

pub(super) fn rpushx(ctx: &mut Context<'_, '_>) -> CommandResult {
    push(ctx, End::Back, true)
}

fn push(ctx: &mut Context<'_, '_>, end: End, only_existing: bool) -> CommandResult {
    let elements = ctx.args.skip(2);
    let key = ctx.key(1);
    let len = if only_existing && ctx.data.list_mut(key)?.is_none() {
        0
    } else {
        push_all(ctx, key, end, elements.iter())?
    };
    if len > 0 {
        ctx.data
            .changed_times(elements.len() as u64, key, EventClass::List, pushed(end));
    }
    ctx.reply.integer(len as i64);
    Ok(Outcome::Done)
}

/// Adds elements one after the other to the list at `key`, which is made when there is none.
/// Returns its length. The caller announces the change.
pub(super) fn push_all<'e>(
    ctx: &mut Context<'_, '_>,
    key: Key<'_>,
    end: End,
    elements: impl Iterator<Item = &'e [u8]>,
) -> Result<usize, CommandError> {
    let limits = ctx.thresholds();
    let len = if let Some(list) = ctx.data.list_mut(key)? {
        elements.for_each(|element| list.push(end, element, &limits));
        list.len()
    } else {
        let mut list = List::new();
        elements.for_each(|element| list.push(end, element, &limits));
        let len = list.len();
        let value = NewValue::Owned(Value::List(list));
        ctx.data.set(key, value, Expiry::Clear);
        ctx.data.notify(EventClass::New, "new", key);
        len
    };
    ctx.data.signal_ready(key);
    Ok(len)
}
