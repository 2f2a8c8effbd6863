//! Reading and removing deadlines: TTL, PTTL, EXPIRETIME, PEXPIRETIME, PERSIST.

use crate::command::*;
use crate::context::{Context, EventClass};

/// What is told of a deadline.
#[derive(Clone, Copy)]
enum Scale {
    Seconds,
    Milliseconds,
}

pub(super) const TTL: Command = Command {
    name: "ttl",
    arity: 2,
    flags: Flags::READONLY.or(Flags::FAST),
    categories: Categories::FAST
        .or(Categories::KEYSPACE)
        .or(Categories::READ),
    keys: &[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))],
    group: Group::Generic,
    since: "1.0.0",
    summary: "Returns how long a key will live, in seconds; -1 for ever, -2 when there is no such key.",
    complexity: "O(1)",
    hints: &["nondeterministic_output"],
    args: &[Arg {
        name: "key",
        kind: ArgKind::Key,
        key_spec: Some(0),
        ..Arg::BASE
    }],
    handler: ttl,
    ..Command::BASE
};

pub(super) fn ttl(ctx: &mut Context<'_, '_>) -> CommandResult {
    let now_ms = ctx.data.now_ms;
    tell_deadline(ctx, now_ms, Scale::Seconds)
}

pub(super) const PTTL: Command = Command {
    name: "pttl",
    arity: 2,
    flags: Flags::READONLY.or(Flags::FAST),
    categories: Categories::FAST
        .or(Categories::KEYSPACE)
        .or(Categories::READ),
    keys: &[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))],
    group: Group::Generic,
    since: "2.6.0",
    summary: "Returns how long a key will live, in milliseconds; -1 for ever, -2 when there is no such key.",
    complexity: "O(1)",
    hints: &["nondeterministic_output"],
    args: &[Arg {
        name: "key",
        kind: ArgKind::Key,
        key_spec: Some(0),
        ..Arg::BASE
    }],
    handler: pttl,
    ..Command::BASE
};

pub(super) fn pttl(ctx: &mut Context<'_, '_>) -> CommandResult {
    let now_ms = ctx.data.now_ms;
    tell_deadline(ctx, now_ms, Scale::Milliseconds)
}

pub(super) const EXPIRETIME: Command = Command {
    name: "expiretime",
    arity: 2,
    flags: Flags::READONLY.or(Flags::FAST),
    categories: Categories::FAST
        .or(Categories::KEYSPACE)
        .or(Categories::READ),
    keys: &[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))],
    group: Group::Generic,
    since: "7.0.0",
    summary: "Returns the deadline of a key as a Unix time in seconds; -1 without one, -2 when there is no such key.",
    complexity: "O(1)",
    args: &[Arg {
        name: "key",
        kind: ArgKind::Key,
        key_spec: Some(0),
        ..Arg::BASE
    }],
    handler: expiretime,
    ..Command::BASE
};

pub(super) fn expiretime(ctx: &mut Context<'_, '_>) -> CommandResult {
    tell_deadline(ctx, 0, Scale::Seconds)
}

pub(super) const PEXPIRETIME: Command = Command {
    name: "pexpiretime",
    arity: 2,
    flags: Flags::READONLY.or(Flags::FAST),
    categories: Categories::FAST
        .or(Categories::KEYSPACE)
        .or(Categories::READ),
    keys: &[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))],
    group: Group::Generic,
    since: "7.0.0",
    summary: "Returns the deadline of a key as a Unix time in milliseconds; -1 without one, -2 when there is no such key.",
    complexity: "O(1)",
    args: &[Arg {
        name: "key",
        kind: ArgKind::Key,
        key_spec: Some(0),
        ..Arg::BASE
    }],
    handler: pexpiretime,
    ..Command::BASE
};

pub(super) fn pexpiretime(ctx: &mut Context<'_, '_>) -> CommandResult {
    tell_deadline(ctx, 0, Scale::Milliseconds)
}

/// Replies with the deadline counted from `base_ms`. Looking at a deadline is not a use of the key.
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

pub(super) const PERSIST: Command = Command {
    name: "persist",
    arity: 2,
    flags: Flags::WRITE.or(Flags::FAST),
    categories: Categories::FAST
        .or(Categories::KEYSPACE)
        .or(Categories::WRITE),
    keys: &[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))],
    group: Group::Generic,
    since: "2.2.0",
    summary: "Removes the deadline of a key.",
    complexity: "O(1)",
    args: &[Arg {
        name: "key",
        kind: ArgKind::Key,
        key_spec: Some(0),
        ..Arg::BASE
    }],
    handler: persist,
    ..Command::BASE
};

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
