//! OBJECT: how a value is stored and when it was used.

use keyspace::EntryRef;

use crate::command::*;
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

/// The entry at argument 2. Counts as a hit or a miss, but neither touches the key nor reports a
/// miss as an event, because OBJECT is no use of the key.
fn inspect<'d>(ctx: &'d mut Context<'_, '_>) -> Option<EntryRef<'d>> {
    let key = ctx.key(2);
    let stats = ctx.data.stats;
    let entry = ctx.data.peek(key);
    match entry {
        Some(_) => stats.keyspace_hits.add(1),
        None => stats.keyspace_misses.add(1),
    }
    entry
}

pub(super) const OBJECT_ENCODING: CommandSpec = CommandSpec::new("encoding", 3, object_encoding)
    .group(Group::Generic)
    .since("2.2.3")
    .flags(Flags::READONLY)
    .categories(Categories::KEYSPACE)
    .summary("Returns how the value at a key is represented in memory.")
    .complexity("O(1)")
    .hints(&["nondeterministic_output"])
    .keys(&[KeySpec::one(2, KeyFlags::RO)])
    .args(&[Arg::KEY]);

pub(super) fn object_encoding(ctx: &mut Context<'_, '_>) -> CommandResult {
    match inspect(ctx).map(|entry| entry.encoding()) {
        Some(encoding) => ctx.reply.bulk(encoding.name().as_bytes()),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

pub(super) const OBJECT_FREQ: CommandSpec = CommandSpec::new("freq", 3, object_freq)
    .group(Group::Generic)
    .since("4.0.0")
    .flags(Flags::READONLY)
    .categories(Categories::KEYSPACE)
    .summary("Returns the logarithmic access counter of a key.")
    .complexity("O(1)")
    .hints(&["nondeterministic_output"])
    .keys(&[KeySpec::one(2, KeyFlags::RO)])
    .args(&[Arg::KEY]);

pub(super) fn object_freq(ctx: &mut Context<'_, '_>) -> CommandResult {
    let Some(field) = inspect(ctx).map(|entry| entry.lru()) else {
        ctx.reply.null();
        return Ok(Outcome::Done);
    };
    let clock = ctx.engine.lru.now();
    if !clock.is_lfu() {
        return Err(CommandError::line(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. \
             Please note that when switching between policies at runtime LRU and LFU data \
             will take some time to adjust.",
        ));
    }
    ctx.reply.integer(i64::from(clock.frequency(field)));
    Ok(Outcome::Done)
}

pub(super) const OBJECT_HELP: CommandSpec = CommandSpec::new("help", 2, object_help)
    .group(Group::Generic)
    .since("6.2.0")
    .flags(Flags::ANY_TIME)
    .categories(Categories::KEYSPACE)
    .summary("Lists the subcommands.")
    .complexity("O(1)");

pub(super) fn object_help(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.help(&[
        "ENCODING <key>",
        "    Say how the value at <key> is represented in memory.",
        "FREQ <key>",
        "    Say how often <key> is used, as a logarithmic counter (with an LFU policy).",
        "IDLETIME <key>",
        "    Say how many seconds ago <key> was used (with other policies).",
        "REFCOUNT <key>",
        "    Say how many references to the value at <key> there are.",
    ]);
    Ok(Outcome::Done)
}

pub(super) const OBJECT_IDLETIME: CommandSpec = CommandSpec::new("idletime", 3, object_idletime)
    .group(Group::Generic)
    .since("2.2.3")
    .flags(Flags::READONLY)
    .categories(Categories::KEYSPACE)
    .summary("Returns the seconds since a key was last used.")
    .complexity("O(1)")
    .hints(&["nondeterministic_output"])
    .keys(&[KeySpec::one(2, KeyFlags::RO)])
    .args(&[Arg::KEY]);

pub(super) fn object_idletime(ctx: &mut Context<'_, '_>) -> CommandResult {
    let Some(field) = inspect(ctx).map(|entry| entry.lru()) else {
        ctx.reply.null();
        return Ok(Outcome::Done);
    };
    let clock = ctx.engine.lru.now();
    if clock.is_lfu() {
        return Err(CommandError::line(
            "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that \
             when switching between policies at runtime LRU and LFU data will take some time \
             to adjust.",
        ));
    }
    let seconds = clock.idle_seconds(field);
    ctx.reply
        .integer(i64::try_from(seconds).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

pub(super) const OBJECT_REFCOUNT: CommandSpec = CommandSpec::new("refcount", 3, object_refcount)
    .group(Group::Generic)
    .since("2.2.3")
    .flags(Flags::READONLY)
    .categories(Categories::KEYSPACE)
    .summary("Returns the number of references to the value at a key.")
    .complexity("O(1)")
    .hints(&["nondeterministic_output"])
    .keys(&[KeySpec::one(2, KeyFlags::RO)])
    .args(&[Arg::KEY]);

pub(super) fn object_refcount(ctx: &mut Context<'_, '_>) -> CommandResult {
    match inspect(ctx).is_some() {
        // Always 1, because keys share no values that clients could observe.
        true => ctx.reply.integer(1),
        false => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

pub(super) const OBJECT: CommandSpec = CommandSpec::container("object", -2)
    .group(Group::Generic)
    .since("2.2.3")
    .summary("A container for commands about the internals of keys.")
    .complexity("Depends on the subcommand.")
    .subcommands(&[
        &OBJECT_ENCODING,
        &OBJECT_FREQ,
        &OBJECT_HELP,
        &OBJECT_IDLETIME,
        &OBJECT_REFCOUNT,
    ]);
