//! PUBLISH and SPUBLISH.

use crate::command::{Arg, Channels, Flags, Group, KeyFlags, KeySpec};
use crate::context::Context;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::pubsub::PublishedAs;

const BASE: CommandSpec = CommandSpec::BASE
    .group(Group::PubSub)
    .flags(Flags::PUBSUB.or(Flags::FAST).or(Flags::ANY_TIME))
    .flags(Flags::MAY_REPLICATE);

pub(crate) const PUBLISH: CommandSpec = BASE
    .named("publish", 3, |ctx| publish(ctx, PublishedAs::Message))
    .since("2.0.0")
    .channels(Channels::Publish)
    .summary("Publishes a message to a channel.")
    .complexity(
        "O(N+M) with N subscribers of the channel and M subscribed patterns that begin as the \
         channel does",
    )
    .args(&[Arg::string("channel"), Arg::string("message")]);

pub(crate) const SPUBLISH: CommandSpec = BASE
    .named("spublish", 3, |ctx| publish(ctx, PublishedAs::ShardMessage))
    .since("7.0.0")
    .channels(Channels::Publish)
    .summary("Publishes a message to a shard channel.")
    .complexity("O(N) in the number of subscribers of the channel")
    .keys(&[KeySpec::one(1, KeyFlags::NOT_KEY)])
    .args(&[Arg::string("shardchannel"), Arg::string("message")]);

fn publish(ctx: &mut Context<'_, '_>, way: PublishedAs) -> CommandResult {
    let (channel, payload) = (ctx.arg(1), ctx.arg(2));
    let pubsub = &ctx.engine.pubsub;
    let receivers = if ctx.data.effects.dirty() > 0 || keyspace::is_recording() {
        // The transaction has changes that are not in the log yet, and the message must not leave
        // before them; or it may be taken back.
        let db = ctx.data.db;
        ctx.data.changes.note_message((way, db), channel, payload);
        pubsub.receivers(way, channel)
    } else {
        if ctx.session.is_client() {
            let db = ctx.data.db;
            ctx.engine.replicate_message(way, db, channel, payload);
        }
        let after = ctx.session.last_write_offset;
        pubsub.publish(&ctx.engine.outboxes, way, channel, payload, after)
    };
    ctx.reply.integer(receivers as i64);
    Ok(Outcome::Done)
}
