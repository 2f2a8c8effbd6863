//! Connection commands: authentication, protocol version, name and database of a client.

pub mod auth;
pub mod client;
pub mod hello;

use std::sync::Arc;

use resp::Protocol;

use crate::command::{Arg, Flags, Group, databases_at};
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::session::ReplyMode;

/// The commands of this group.
pub const COMMANDS: &[&CommandSpec] = &[
    &auth::AUTH,
    &client::CLIENT,
    &ECHO,
    &hello::HELLO,
    &PING,
    &QUIT,
    &RESET,
    &SELECT,
];

pub(crate) const ECHO: CommandSpec = CommandSpec::new("echo", 2, echo)
    .group(Group::Connection)
    .since("1.0.0")
    .flags(Flags::FAST.or(Flags::ANY_TIME))
    .summary("Answers with its argument.")
    .complexity("O(1)")
    .args(&[Arg::string("message")]);
fn echo(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.reply.bulk(ctx.args.arg(1));
    Ok(Outcome::Done)
}

pub(crate) const PING: CommandSpec = CommandSpec::new("ping", -1, ping)
    .group(Group::Connection)
    .since("1.0.0")
    .flags(
        Flags::FAST
            .or(Flags::REFUSED_WITH_WRITES)
            .or(Flags::SUBSCRIBER),
    )
    .summary("Returns PONG, or the argument.")
    .complexity("O(1)")
    .hints(&["request_policy:all_shards", "response_policy:all_succeeded"])
    .args(&[Arg::string("message").optional()]);
fn ping(ctx: &mut Context<'_, '_>) -> CommandResult {
    if ctx.args.len() > 2 {
        return Err(CommandError::Arity("ping".into()));
    }
    if ctx.session.is_subscriber_only() {
        // In the form of a message.
        ctx.reply.array(2);
        ctx.reply.bulk(b"pong");
        ctx.reply.bulk(ctx.arg(1));
    } else if ctx.args.len() == 1 {
        ctx.reply.simple("PONG");
    } else {
        ctx.reply.bulk(ctx.arg(1));
    }
    Ok(Outcome::Done)
}

pub(crate) const QUIT: CommandSpec = CommandSpec::new("quit", -1, quit)
    .group(Group::Connection)
    .since("1.0.0")
    .flags(Flags::ALLOW_BUSY.or(Flags::NOSCRIPT).or(Flags::FAST))
    .flags(Flags::NO_AUTH.or(Flags::ANY_TIME).or(Flags::RUNS_IN_MULTI))
    .flags(Flags::SUBSCRIBER)
    .summary("Answers OK and closes the connection.")
    .complexity("O(1)");
fn quit(ctx: &mut Context<'_, '_>) -> CommandResult {
    let was_subscribed = ctx.engine.unsubscribe_all(ctx.session);
    if ctx.engine.stop_tracking(ctx.session) || was_subscribed {
        ctx.drain_outbox();
    }
    ctx.reply.ok();
    ctx.session.close_after_reply = true;
    Ok(Outcome::Done)
}

pub(crate) const RESET: CommandSpec = CommandSpec::new("reset", 1, reset)
    .group(Group::Connection)
    .since("6.2.0")
    .flags(Flags::NOSCRIPT.or(Flags::FAST).or(Flags::NO_AUTH))
    .flags(Flags::ALLOW_BUSY.or(Flags::ANY_TIME))
    .flags(Flags::RUNS_IN_MULTI.or(Flags::SUBSCRIBER))
    .summary("Resets the state of the connection.")
    .complexity("O(1)");
fn reset(ctx: &mut Context<'_, '_>) -> CommandResult {
    let session = &mut *ctx.session;
    if session.monitor {
        ctx.engine.monitors.remove(&session.shared);
        session.monitor = false;
    }
    ctx.engine.unsubscribe_all(session);
    ctx.engine.stop_tracking(session);
    session.reply_mode = ReplyMode::On;
    // No line or message of what has ended comes behind the confirmation.
    set_protocol(ctx, Protocol::Resp2);
    let session = &mut *ctx.session;
    crate::execute::discard(ctx.engine, session);
    session.db = 0;
    session.no_touch = false;
    session.no_evict = false;
    session.import_source = false;
    let default = ctx.engine.users.default_user();
    session.set_user(default.is_open().then(|| Arc::clone(default)));
    // The library's name stays, because the program behind the connection is the same.
    session.shared.lock_details().name = Vec::new();
    ctx.reply.simple("RESET");
    Ok(Outcome::Done)
}

/// Another protocol version holds for the reply and for everything behind it; messages of the one
/// before come before the reply.
fn set_protocol(ctx: &mut Context<'_, '_>, protocol: Protocol) {
    let moves = !ctx.is_nested() && !ctx.session.is_silent();
    let output = moves.then_some(&mut *ctx.reply.out);
    let after = ctx.session.shared.set_protocol(protocol, output);
    *ctx.reply_offset = (*ctx.reply_offset).max(after);
    ctx.session.protocol = protocol;
    ctx.reply.protocol = protocol;
}

pub(crate) const SELECT: CommandSpec = CommandSpec::new("select", 2, select)
    .group(Group::Connection)
    .since("1.0.0")
    .flags(Flags::ALLOW_BUSY.or(Flags::FAST).or(Flags::ANY_TIME))
    .databases(|args, count| databases_at(args, count, [1]))
    .summary("Changes the database that the connection works on.")
    .complexity("O(1)")
    .args(&[Arg::integer("index")]);
fn select(ctx: &mut Context<'_, '_>) -> CommandResult {
    let index = ctx.integer(1)?;
    if i32::try_from(index).is_err() {
        return Err(out_of_i32());
    }
    match u32::try_from(index) {
        Ok(db) if db < ctx.engine.keyspace.databases() => ctx.session.db = db,
        _ => return Err(CommandError::DbIndex),
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// An integer argument that does not fit in 32 bits.
fn out_of_i32() -> CommandError {
    CommandError::owned(format!(
        "ERR value is out of range, value must between {} and {}",
        i32::MIN,
        i32::MAX
    ))
}
