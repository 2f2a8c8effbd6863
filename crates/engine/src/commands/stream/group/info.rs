//! XINFO.

use resp::Reply;
use values::StreamId;
use values::stream::{Consumer, Entries, Group as ConsumerGroup, Idempotence, Stream};

use super::{GROUP, StreamReply, no_group_in, position, range};
use crate::command::*;
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

pub(crate) const XINFO: CommandSpec = CommandSpec::container("xinfo", -2)
    .group(Group::Stream)
    .since("5.0.0")
    .summary("A container for commands that describe streams.")
    .complexity("Depends on the subcommand.")
    .subcommands(&[&XINFO_CONSUMERS, &XINFO_GROUPS, &XINFO_HELP, &XINFO_STREAM]);

/// The specification that the subcommands share.
const SUBCOMMAND: CommandSpec = CommandSpec::BASE
    .group(Group::Stream)
    .since("5.0.0")
    .flags(Flags::READONLY)
    .complexity("O(N) in what is returned.")
    .keys(&[KeySpec::one(2, KeyFlags::RO.or(KeyFlags::ACCESS))]);

const XINFO_CONSUMERS: CommandSpec = SUBCOMMAND
    .named("consumers", 4, xinfo_consumers)
    .summary("Returns the consumers of a group.")
    .hints(&["nondeterministic_output"])
    .args(&[Arg::KEY, GROUP]);

fn xinfo_consumers(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (key, name, now_ms) = (ctx.key(2), ctx.arg(3), ctx.data.now_ms);
    let stream = ctx.data.stream(key)?.ok_or(CommandError::NoSuchKey)?;
    let group = stream.groups().get(name);
    let group = group.ok_or_else(|| no_group_in(key, name))?;
    ctx.reply.array(group.consumer_count());
    for (_, consumer) in group.consumers() {
        ctx.reply.map(4);
        ctx.reply.bulk(b"name");
        ctx.reply.bulk(consumer.name());
        number(&mut ctx.reply, "pending", consumer.pending_len() as u64);
        let idle_ms = now_ms.saturating_sub(consumer.seen_ms);
        number(&mut ctx.reply, "idle", idle_ms);
        ctx.reply.bulk(b"inactive");
        let inactive_ms = consumer
            .active_ms
            .map(|ms| (now_ms as i64).wrapping_sub(ms as i64));
        ctx.reply.integer(inactive_ms.unwrap_or(-1));
    }
    Ok(Outcome::Done)
}

const XINFO_GROUPS: CommandSpec = SUBCOMMAND
    .named("groups", 3, xinfo_groups)
    .summary("Returns the groups of a stream.")
    .args(&[Arg::KEY]);

fn xinfo_groups(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(2);
    let stream = ctx.data.stream(key)?.ok_or(CommandError::NoSuchKey)?;
    let reply = &mut ctx.reply;
    reply.array(stream.groups().len());
    for group in stream.groups().iter() {
        reply.map(6);
        reply.bulk(b"name");
        reply.bulk(group.name());
        number(reply, "consumers", group.consumer_count() as u64);
        number(reply, "pending", group.pending_len() as u64);
        progress(reply, stream.entries(), group);
    }
    Ok(Outcome::Done)
}

fn number(reply: &mut Reply<'_>, name: &str, value: u64) {
    reply.bulk(name.as_bytes());
    reply.integer(value as i64);
}

/// The progress of a group: three fields.
fn progress(reply: &mut Reply<'_>, entries: &Entries, group: &ConsumerGroup) {
    reply.bulk(b"last-delivered-id");
    reply.id(group.last_id);
    reply.bulk(b"entries-read");
    match group.entries_read {
        Some(count) => reply.integer(count as i64),
        None => reply.null(),
    }
    reply.bulk(b"lag");
    match position::lag(entries, group) {
        Some(lag) => reply.integer(lag as i64),
        None => reply.null(),
    }
}

const XINFO_STREAM: CommandSpec = SUBCOMMAND
    .named("stream", -3, xinfo_stream)
    .summary("Returns information about a stream; with FULL also entries, groups and consumers.")
    .args(&[
        Arg::KEY,
        Arg::block("full-block")
            .optional()
            .args(&[Arg::word("full", "FULL"), Arg::COUNT]),
    ]);

/// How many entries FULL shows of each list.
const SHOWN: usize = 10;

/// The most entries that FULL shows, 0 for all; `None` without FULL.
fn full_count(ctx: &Context<'_, '_>) -> Result<Option<usize>, CommandError> {
    match ctx.args.len() {
        3 => return Ok(None),
        4 | 6 if ctx.is_word(3, "full") => {}
        _ => return Err(ctx.subcommand_arity_error()),
    }
    if ctx.args.len() == 4 {
        return Ok(Some(SHOWN));
    }
    if !ctx.is_word(4, "count") {
        return Err(ctx.subcommand_arity_error());
    }
    Ok(Some(match usize::try_from(ctx.integer(5)?) {
        Ok(0) => usize::MAX,
        Ok(count) => count,
        Err(_) => SHOWN,
    }))
}

fn xinfo_stream(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(2);
    let count = full_count(ctx);
    let stream = ctx.data.stream(key)?.ok_or(CommandError::NoSuchKey)?;
    let (count, reply, entries) = (count?, &mut ctx.reply, stream.entries());
    let known = stream.idempotence();
    reply.map(if count.is_some() { 9 } else { 10 } + if known.is_some() { 6 } else { 0 });
    number(reply, "length", entries.len());
    number(reply, "radix-tree-keys", entries.node_count() as u64);
    // Nodes stand in a row here: a tree would have at least a root besides.
    number(reply, "radix-tree-nodes", entries.node_count() as u64 + 1);
    reply.bulk(b"last-generated-id");
    reply.id(entries.last_id());
    reply.bulk(b"max-deleted-entry-id");
    reply.id(entries.max_deleted_id());
    number(reply, "entries-added", entries.added());
    reply.bulk(b"recorded-first-entry-id");
    reply.id(entries.first_id());
    if let Some(known) = known {
        produced(reply, known);
    }
    match count {
        None => ends(reply, stream),
        Some(count) => full(reply, stream, count),
    }
    Ok(Outcome::Done)
}

/// The ids of producers: six fields, which a stream has from its first producer on.
fn produced(reply: &mut Reply<'_>, known: &Idempotence) {
    let limits = known.limits();
    number(reply, "idmp-duration", u64::from(limits.duration_s));
    number(reply, "idmp-maxsize", u64::from(limits.ids_max));
    number(reply, "pids-tracked", known.producer_count() as u64);
    number(reply, "iids-tracked", known.len() as u64);
    number(reply, "iids-added", known.added());
    number(reply, "iids-duplicates", known.duplicates());
}

/// The number of groups, the first and the last entry.
fn ends(reply: &mut Reply<'_>, stream: &Stream) {
    let entries = stream.entries();
    number(reply, "groups", stream.groups().len() as u64);
    let first = entries.range(StreamId::MIN, StreamId::MAX).next();
    for (name, entry) in [("first-entry", first), ("last-entry", entries.last())] {
        reply.bulk(name.as_bytes());
        match entry {
            Some(entry) => reply.entry(entry),
            None => reply.null(),
        }
    }
}

/// Up to `count` entries, and all groups with up to `count` pending entries in each list.
fn full(reply: &mut Reply<'_>, stream: &Stream, count: usize) {
    let entries = stream.entries();
    reply.bulk(b"entries");
    range::write(
        reply,
        entries.range(StreamId::MIN, StreamId::MAX).take(count),
    );
    reply.bulk(b"groups");
    reply.array(stream.groups().len());
    for group in stream.groups().iter() {
        reply.map(7);
        reply.bulk(b"name");
        reply.bulk(group.name());
        progress(reply, entries, group);
        number(reply, "pel-count", group.pending_len() as u64);
        reply.bulk(b"pending");
        reply.array(group.pending_len().min(count));
        for (id, pending) in group
            .pending_range(StreamId::MIN, StreamId::MAX)
            .take(count)
        {
            reply.array(4);
            reply.id(id);
            let consumer = pending.consumer.and_then(|id| group.consumer(id));
            reply.bulk(consumer.map_or(b"", Consumer::name));
            reply.integer(pending.delivered_ms as i64);
            reply.integer(pending.deliveries as i64);
        }
        reply.bulk(b"consumers");
        reply.array(group.consumer_count());
        for (_, consumer) in group.consumers() {
            full_consumer(reply, group, consumer, count);
        }
    }
}

fn full_consumer(reply: &mut Reply<'_>, group: &ConsumerGroup, consumer: &Consumer, count: usize) {
    reply.map(5);
    reply.bulk(b"name");
    reply.bulk(consumer.name());
    number(reply, "seen-time", consumer.seen_ms);
    reply.bulk(b"active-time");
    reply.integer(consumer.active_ms.map_or(-1, |ms| ms as i64));
    number(reply, "pel-count", consumer.pending_len() as u64);
    reply.bulk(b"pending");
    let array = reply.defer();
    let mut len = 0;
    let ids = consumer.pending_ids(StreamId::MIN, StreamId::MAX);
    for id in ids.take(count) {
        let Some(pending) = group.pending(id) else {
            continue;
        };
        reply.array(3);
        reply.id(id);
        reply.integer(pending.delivered_ms as i64);
        reply.integer(pending.deliveries as i64);
        len += 1;
    }
    reply.finish_array(array, len);
}

const XINFO_HELP: CommandSpec = CommandSpec::new("help", 2, xinfo_help)
    .group(Group::Stream)
    .since("5.0.0")
    .flags(Flags::ANY_TIME)
    .summary("Lists the subcommands.")
    .complexity("O(1)");

fn xinfo_help(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.help(&[
        "CONSUMERS <key> <groupname>",
        "    Show the consumers of the group.",
        "GROUPS <key>",
        "    Show the groups of the stream.",
        "STREAM <key> [FULL [COUNT <count>]",
        "    Show what is known of the stream.",
    ]);
    Ok(Outcome::Done)
}
