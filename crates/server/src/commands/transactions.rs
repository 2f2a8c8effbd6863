//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! What they do stands in `execute::multi`.

use std::sync::Arc;

use crate::client::WatchedKey;
use crate::command::{
    Arg, ArgKind, Categories, Command, CommandResult, Flags, Group, KeyFlags, KeySpec, Locks,
    Outcome,
};
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{discard, unwatch};

/// The commands of this group.
pub const COMMANDS: &[&Command] = &[&DISCARD, &EXEC, &MULTI, &UNWATCH, &WATCH];

/// `MULTI`
pub const MULTI: Command = Command {
    name: "multi",
    arity: 1,
    flags: Flags::NOSCRIPT
        .or(Flags::LOADING)
        .or(Flags::STALE)
        .or(Flags::FAST)
        .or(Flags::NO_MULTI)
        .or(Flags::ALLOW_BUSY),
    categories: Categories::TRANSACTION,
    group: Group::Transactions,
    since: "1.2.0",
    summary: "Begins a transaction: the commands that follow are queued.",
    complexity: "O(1)",
    handler: multi,
    ..Command::BASE
};
fn multi(ctx: &mut Context) -> CommandResult {
    ctx.session.multi = Some(Box::default());
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `EXEC`
pub const EXEC: Command = Command {
    name: "exec",
    arity: 1,
    flags: Flags::NOSCRIPT
        .or(Flags::LOADING)
        .or(Flags::STALE)
        .or(Flags::SKIP_COMMANDLOG),
    categories: Categories::TRANSACTION,
    locks: Locks::Own,
    group: Group::Transactions,
    since: "1.2.0",
    summary: "Runs all queued commands as one step.",
    complexity: "The sum of the queued commands",
    handler: exec_without_multi,
    ..Command::BASE
};
// The executor runs EXEC by itself: a handler cannot run other commands.
fn exec_without_multi(_: &mut Context) -> CommandResult {
    Err(CommandError::line("ERR EXEC without MULTI"))
}

/// `DISCARD`
pub const DISCARD: Command = Command {
    name: "discard",
    arity: 1,
    flags: Flags::NOSCRIPT
        .or(Flags::LOADING)
        .or(Flags::STALE)
        .or(Flags::FAST)
        .or(Flags::ALLOW_BUSY),
    categories: Categories::TRANSACTION,
    group: Group::Transactions,
    since: "2.0.0",
    summary: "Gives the queued commands up and forgets the watched keys.",
    complexity: "O(N) with N queued commands",
    handler: discard_command,
    ..Command::BASE
};
fn discard_command(ctx: &mut Context) -> CommandResult {
    if ctx.session.multi.is_none() {
        return Err(CommandError::line("ERR DISCARD without MULTI"));
    }
    discard(ctx.server, ctx.session);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `WATCH key [key ...]`
pub const WATCH: Command = Command {
    name: "watch",
    arity: -2,
    flags: Flags::NOSCRIPT
        .or(Flags::LOADING)
        .or(Flags::STALE)
        .or(Flags::FAST)
        .or(Flags::NO_MULTI)
        .or(Flags::ALLOW_BUSY),
    categories: Categories::TRANSACTION,
    keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO)],
    group: Group::Transactions,
    since: "2.2.0",
    summary: "Makes the next EXEC depend on these keys not being changed.",
    complexity: "O(1) for every key",
    args: &[Arg {
        name: "key",
        kind: ArgKind::Key,
        key_spec: Some(0),
        multiple: true,
        ..Arg::BASE
    }],
    handler: watch,
    ..Command::BASE
};
fn watch(ctx: &mut Context) -> CommandResult {
    if !ctx.session.watch_flag.is_dirty() {
        for index in 1..ctx.args.len() {
            watch_key(ctx, index);
        }
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

fn watch_key(ctx: &mut Context, index: usize) {
    let key = ctx.key(index);
    let lived = ctx.data.exists(key);
    let (db, flag) = (ctx.session.db, Arc::clone(&ctx.session.watch_flag));
    if ctx.session.watched.is_empty() {
        ctx.server.key_listeners.add_watcher();
    }
    let tables = ctx.data.tables(key);
    if tables.is_some_and(|tables| tables.watched.add(db, key.bytes, &flag)) {
        ctx.session.watched.push(WatchedKey {
            db,
            key: key.bytes.to_vec(),
            lived,
        });
    }
}

/// `UNWATCH`
pub const UNWATCH: Command = Command {
    name: "unwatch",
    arity: 1,
    flags: Flags::NOSCRIPT
        .or(Flags::LOADING)
        .or(Flags::STALE)
        .or(Flags::FAST)
        .or(Flags::ALLOW_BUSY),
    categories: Categories::TRANSACTION,
    group: Group::Transactions,
    since: "2.2.0",
    summary: "Forgets the watched keys.",
    complexity: "O(1)",
    handler: unwatch_command,
    ..Command::BASE
};
fn unwatch_command(ctx: &mut Context) -> CommandResult {
    // Inside EXEC the watched keys have been forgotten already.
    unwatch(ctx.server, ctx.session);
    ctx.reply.ok();
    Ok(Outcome::Done)
}
