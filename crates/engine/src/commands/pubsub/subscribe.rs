//! SUBSCRIBE, PSUBSCRIBE and SSUBSCRIBE, and their opposites.

use std::sync::Arc;

use resp::{Output, Reply};

use crate::command::{Arg, Channels, Flags, Group, KeyFlags, KeySpec};
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::pubsub::Kind;

const BASE: CommandSpec = CommandSpec::BASE
    .group(Group::PubSub)
    .since("2.0.0")
    .flags(Flags::PUBSUB.or(Flags::NOSCRIPT).or(Flags::ANY_TIME))
    .flags(Flags::SUBSCRIBER);

const CHANNEL: Arg = Arg::string("channel").multiple();
const PATTERN: Arg = Arg::pattern("pattern").multiple();
const SHARD_CHANNEL: Arg = Arg::string("shardchannel").multiple();
/// Routed like keys, so that they go to the node of their slot.
const SHARD_CHANNELS: &[KeySpec] = &[KeySpec::range(1, -1, 1, KeyFlags::NOT_KEY)];

pub(crate) const SUBSCRIBE: CommandSpec = BASE
    .named("subscribe", -2, |ctx| subscribe(ctx, Kind::Channel))
    .channels(Channels::Subscribe)
    .summary("Subscribes the connection to channels.")
    .complexity("O(N) in the number of channels")
    .args(&[CHANNEL]);

pub(crate) const UNSUBSCRIBE: CommandSpec = BASE
    .named("unsubscribe", -1, |ctx| unsubscribe(ctx, Kind::Channel))
    .summary("Ends subscriptions to channels, or all of them.")
    .complexity("O(N) in the number of channels")
    .args(&[CHANNEL.optional()]);

pub(crate) const PSUBSCRIBE: CommandSpec = BASE
    .named("psubscribe", -2, |ctx| subscribe(ctx, Kind::Pattern))
    .channels(Channels::SubscribePatterns)
    .summary("Subscribes the connection to all channels that match a pattern.")
    .complexity("O(N) in the number of patterns")
    .args(&[PATTERN]);

pub(crate) const PUNSUBSCRIBE: CommandSpec = BASE
    .named("punsubscribe", -1, |ctx| unsubscribe(ctx, Kind::Pattern))
    .summary("Ends subscriptions to patterns, or all of them.")
    .complexity("O(N) in the number of patterns")
    .args(&[PATTERN.optional()]);

pub(crate) const SSUBSCRIBE: CommandSpec = BASE
    .named("ssubscribe", -2, |ctx| subscribe(ctx, Kind::ShardChannel))
    .since("7.0.0")
    .channels(Channels::Subscribe)
    .summary("Subscribes the connection to shard channels.")
    .complexity("O(N) in the number of channels")
    .keys(SHARD_CHANNELS)
    .args(&[SHARD_CHANNEL]);

pub(crate) const SUNSUBSCRIBE: CommandSpec = BASE
    .named("sunsubscribe", -1, |ctx| {
        unsubscribe(ctx, Kind::ShardChannel)
    })
    .since("7.0.0")
    .summary("Ends subscriptions to shard channels, or all of them.")
    .complexity("O(N) in the number of channels")
    .keys(SHARD_CHANNELS)
    .args(&[SHARD_CHANNEL.optional()]);

fn subscribe(ctx: &mut Context<'_, '_>, kind: Kind) -> CommandResult {
    let word: &[u8] = match kind {
        Kind::Channel => b"subscribe",
        Kind::Pattern => b"psubscribe",
        Kind::ShardChannel => b"ssubscribe",
    };
    if ctx.session.denies_blocking || kind == Kind::ShardChannel && ctx.is_nested() {
        return Err(CommandError::line(match kind {
            Kind::Channel => "ERR SUBSCRIBE isn't allowed for a DENY BLOCKING client",
            Kind::Pattern => "ERR PSUBSCRIBE isn't allowed for a DENY BLOCKING client",
            Kind::ShardChannel => "ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client",
        }));
    }
    ctx.session.reply_is_push = !ctx.is_nested();
    for index in 1..ctx.args.len() {
        let name = ctx.arg(index);
        let count = ctx.engine.subscribe(ctx.session, kind, name);
        confirm(ctx, word, Some(name), count);
    }
    Ok(Outcome::Done)
}

fn unsubscribe(ctx: &mut Context<'_, '_>, kind: Kind) -> CommandResult {
    let word: &[u8] = match kind {
        Kind::Channel => b"unsubscribe",
        Kind::Pattern => b"punsubscribe",
        Kind::ShardChannel => b"sunsubscribe",
    };
    ctx.session.reply_is_push = !ctx.is_nested();
    let all: Vec<Arc<[u8]>>;
    let left: Vec<&[u8]> = if ctx.args.len() == 1 {
        all = ctx.session.subscribed(kind);
        all.iter().map(|name| &**name).collect()
    } else {
        ctx.args.skip(1).iter().collect()
    };
    let counts: Vec<usize> = left
        .iter()
        .map(|name| ctx.engine.unsubscribe(ctx.session, kind, name))
        .collect();
    // Every message that came before stands before the first confirmation.
    ctx.drain_outbox();
    if left.is_empty() {
        let own = ctx.session.subscriptions.as_ref();
        let count = own.map_or(0, |own| own.count_with(kind));
        confirm(ctx, word, None, count);
    }
    for (name, count) in left.iter().zip(counts) {
        confirm(ctx, word, Some(name), count);
    }
    Ok(Outcome::Done)
}

fn confirm(ctx: &mut Context<'_, '_>, word: &[u8], name: Option<&[u8]>, count: usize) {
    if ctx.is_nested() && ctx.session.is_silent() {
        // The reply of the transaction is dropped, and this is none of it.
        let write = |out: &mut Output, protocol| {
            write_confirmation(&mut Reply::new(out, protocol), word, name, count);
        };
        ctx.session.shared.post(0, 0, write);
    } else {
        write_confirmation(&mut ctx.reply, word, name, count);
    }
}

fn write_confirmation(reply: &mut Reply<'_>, word: &[u8], name: Option<&[u8]>, count: usize) {
    reply.push(3);
    reply.bulk(word);
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
    reply.integer(count as i64);
}
