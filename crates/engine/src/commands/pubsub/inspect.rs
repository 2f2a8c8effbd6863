//! PUBSUB.

use crate::command::{Arg, Flags, Group};
use crate::context::Context;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::pubsub::PublishedAs;

const BASE: CommandSpec = CommandSpec::BASE
    .group(Group::PubSub)
    .since("2.8.0")
    .flags(Flags::PUBSUB.or(Flags::ANY_TIME));

pub(crate) const PUBSUB: CommandSpec = CommandSpec::container("pubsub", -2)
    .group(Group::PubSub)
    .since("2.8.0")
    .summary("A container for commands about subscriptions.")
    .complexity("Depends on the subcommand")
    .subcommands(&[
        &PUBSUB_CHANNELS,
        &PUBSUB_HELP,
        &PUBSUB_NUMPAT,
        &PUBSUB_NUMSUB,
        &PUBSUB_SHARDCHANNELS,
        &PUBSUB_SHARDNUMSUB,
    ]);

pub(crate) const PUBSUB_CHANNELS: CommandSpec = BASE
    .named("channels", -2, |ctx| channels(ctx, PublishedAs::Message))
    .summary("Lists the channels that have subscribers.")
    .complexity("O(N) in the number of channels")
    .args(&[Arg::pattern("pattern").optional()]);

pub(crate) const PUBSUB_SHARDCHANNELS: CommandSpec = BASE
    .named("shardchannels", -2, |ctx| {
        channels(ctx, PublishedAs::ShardMessage)
    })
    .since("7.0.0")
    .summary("Lists the shard channels that have subscribers.")
    .complexity("O(N) in the number of channels")
    .args(&[Arg::pattern("pattern").optional()]);

fn channels(ctx: &mut Context<'_, '_>, way: PublishedAs) -> CommandResult {
    if ctx.args.len() > 3 {
        return Err(ctx.subcommand_arity_error());
    }
    let found = ctx.engine.pubsub.channels(way, ctx.args.get(2));
    ctx.reply.array(found.len());
    found.iter().for_each(|name| ctx.reply.bulk(name));
    Ok(Outcome::Done)
}

pub(crate) const PUBSUB_NUMSUB: CommandSpec = BASE
    .named("numsub", -2, |ctx| numbers(ctx, PublishedAs::Message))
    .summary("Counts the subscribers of channels.")
    .complexity("O(N) in the number of channels that are asked for")
    .args(&[Arg::string("channel").optional().multiple()]);

pub(crate) const PUBSUB_SHARDNUMSUB: CommandSpec = BASE
    .named("shardnumsub", -2, |ctx| {
        numbers(ctx, PublishedAs::ShardMessage)
    })
    .since("7.0.0")
    .summary("Counts the subscribers of shard channels.")
    .complexity("O(N) in the number of channels that are asked for")
    .args(&[Arg::string("shardchannel").optional().multiple()]);

fn numbers(ctx: &mut Context<'_, '_>, way: PublishedAs) -> CommandResult {
    let channels = ctx.args.skip(2);
    ctx.reply.array(channels.len() * 2);
    for channel in channels.iter() {
        ctx.reply.bulk(channel);
        let count = ctx.engine.pubsub.subscriber_count(way, channel);
        ctx.reply.integer(count as i64);
    }
    Ok(Outcome::Done)
}

pub(crate) const PUBSUB_NUMPAT: CommandSpec = BASE
    .named("numpat", 2, numpat)
    .summary("Counts the different patterns that have subscribers.")
    .complexity("O(1)");
fn numpat(ctx: &mut Context<'_, '_>) -> CommandResult {
    let count = ctx.engine.pubsub.pattern_count();
    ctx.reply.integer(count as i64);
    Ok(Outcome::Done)
}

pub(crate) const PUBSUB_HELP: CommandSpec = CommandSpec::new("help", 2, pubsub_help)
    .group(Group::PubSub)
    .since("6.2.0")
    .flags(Flags::ANY_TIME)
    .summary("Lists the subcommands of PUBSUB.")
    .complexity("O(1)");
fn pubsub_help(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.help(&[
        "CHANNELS [<pattern>]",
        "    Channels that have subscribers, those only that match the pattern.",
        "NUMPAT",
        "    Number of different patterns that have subscribers.",
        "NUMSUB [<channel> ...]",
        "    Number of subscribers of each channel, without those of patterns.",
        "SHARDCHANNELS [<pattern>]",
        "    Shard channels that have subscribers, those only that match the pattern.",
        "SHARDNUMSUB [<shardchannel> ...]",
        "    Number of subscribers of each shard channel.",
    ]);
    Ok(Outcome::Done)
}
