//! Reading and removing deadlines: TTL, PTTL, EXPIRETIME, PEXPIRETIME, PERSIST.

use crate::command::*;
use crate::context::{Context, EventClass};
use crate::execute::{CommandResult, CommandSpec, Outcome};

/// The form of a reply about a deadline.
#[derive(Clone, Copy)]
enum Scale {
    Seconds,
    Milliseconds,
}

/// The specification that the commands share which return an expiry.
const GETTER: CommandSpec = CommandSpec::BASE
    .group(Group::Generic)
    .flags(Flags::READONLY.or(Flags::FAST))
    .categories(Categories::KEYSPACE)
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))]);

pub(super) const TTL: CommandSpec = GETTER
    .named("ttl", 2, ttl)
    .since("1.0.0")
    .summary(
        "Returns how long a key will live, in seconds; -1 for ever, -2 when there is no such key.",
    )
    .hints(&["nondeterministic_output"])
    .args(&[Arg::KEY]);

pub(super) fn ttl(ctx: &mut Context<'_, '_>) -> CommandResult {
    let now_ms = ctx.data.now_ms;
    tell_deadline(ctx, now_ms, Scale::Seconds)
}

pub(super) const PTTL: CommandSpec = GETTER
    .named("pttl", 2, pttl)
    .since("2.6.0")
    .summary(
        "Returns how long a key will live, in milliseconds; -1 for ever, -2 when there is no \
         such key.",
    )
    .hints(&["nondeterministic_output"])
    .args(&[Arg::KEY]);

pub(super) fn pttl(ctx: &mut Context<'_, '_>) -> CommandResult {
    let now_ms = ctx.data.now_ms;
    tell_deadline(ctx, now_ms, Scale::Milliseconds)
}

pub(super) const EXPIRETIME: CommandSpec = GETTER
    .named("expiretime", 2, expiretime)
    .since("7.0.0")
    .summary(
        "Returns the deadline of a key as a Unix time in seconds; -1 without one, -2 when there \
         is no such key.",
    )
    .args(&[Arg::KEY]);

pub(super) fn expiretime(ctx: &mut Context<'_, '_>) -> CommandResult {
    tell_deadline(ctx, 0, Scale::Seconds)
}

pub(super) const PEXPIRETIME: CommandSpec = GETTER
    .named("pexpiretime", 2, pexpiretime)
    .since("7.0.0")
    .summary(
        "Returns the deadline of a key as a Unix time in milliseconds; -1 without one, -2 when \
         there is no such key.",
    )
    .args(&[Arg::KEY]);

pub(super) fn pexpiretime(ctx: &mut Context<'_, '_>) -> CommandResult {
    tell_deadline(ctx, 0, Scale::Milliseconds)
}

/// Replies with the deadline counted from `base_ms`. This does not touch the key.
fn tell_deadline(ctx: &mut Context<'_, '_>, base_ms: u64, scale: Scale) -> CommandResult {
    let key = ctx.key(1);
    ctx.data.touch = false;
    let answer = match ctx.data.lookup(key) {
        None => -2,
        Some(entry) => match entry.deadline() {
            None => -1,
            Some(deadline) => {
                let left_ms = deadline.saturating_sub(base_ms);
                let left = match scale {
                    // Rounded to the nearest second, as Redis does.
                    Scale::Seconds => left_ms.saturating_add(500) / 1000,
                    Scale::Milliseconds => left_ms,
                };
                i64::try_from(left).unwrap_or(i64::MAX)
            }
        },
    };
    ctx.reply.integer(answer);
    Ok(Outcome::Done)
}

pub(super) const PERSIST: CommandSpec = CommandSpec::new("persist", 2, persist)
    .group(Group::Generic)
    .since("2.2.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .categories(Categories::KEYSPACE)
    .summary("Removes the expiry of a key.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))])
    .args(&[Arg::KEY]);

pub(super) fn persist(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    let volatile = ctx
        .data
        .lookup_mut(key)
        .is_some_and(|entry| entry.deadline().is_some());
    if volatile {
        ctx.data.set_deadline(key, None);
        ctx.data.changed(key, EventClass::Generic, "persist");
    }
    ctx.reply.integer(i64::from(volatile));
    Ok(Outcome::Done)
}
