//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! The implementation is in `execute::multi`.

use std::sync::Arc;

use crate::command::{Arg, Flags, Group, KeyFlags, KeySpec, Locks};
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome, discard, exec, unwatch};
use crate::session::{Multi, WatchedKey};

/// The commands of this group.
pub const COMMANDS: &[&CommandSpec] = &[&DISCARD, &EXEC, &MULTI, &UNWATCH, &WATCH];

/// `MULTI [ROLLBACK]`
pub const MULTI: CommandSpec = CommandSpec::new("multi", 1, multi)
    .own_args(1)
    .group(Group::Transactions)
    .since("1.2.0")
    .flags(Flags::NOSCRIPT.or(Flags::FAST).or(Flags::NO_MULTI))
    .flags(Flags::ALLOW_BUSY.or(Flags::ANY_TIME))
    .flags(Flags::RUNS_IN_MULTI)
    .summary("Begins a transaction: the commands that follow are queued.")
    .complexity("O(1)")
    .args(&[Arg::word("rollback", "ROLLBACK").optional()]);
fn multi(ctx: &mut Context) -> CommandResult {
    let rolls_back = match ctx.args.len() {
        1 => false,
        2 if ctx.is_word(1, "rollback") => true,
        _ => return Err(CommandError::Arity(ctx.entry.full_name.into())),
    };
    let multi = Multi {
        db: ctx.session.db,
        rolls_back,
        ..Multi::default()
    };
    ctx.session.multi = Some(Box::new(multi));
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `EXEC`
pub const EXEC: CommandSpec = CommandSpec::nested("exec", 1, exec)
    .group(Group::Transactions)
    .since("1.2.0")
    .flags(Flags::NOSCRIPT.or(Flags::SKIP_COMMANDLOG))
    .flags(Flags::ANY_TIME.or(Flags::RUNS_IN_MULTI).or(Flags::IS_EXEC))
    .summary("Executes all queued commands atomically.")
    .complexity("The sum of the queued commands")
    .locks(Locks::Queued);

/// `DISCARD`
pub const DISCARD: CommandSpec = CommandSpec::new("discard", 1, discard_command)
    .group(Group::Transactions)
    .since("2.0.0")
    .flags(Flags::NOSCRIPT.or(Flags::FAST).or(Flags::ALLOW_BUSY))
    .flags(Flags::ANY_TIME.or(Flags::RUNS_IN_MULTI))
    .summary("Discards a transaction.")
    .complexity("O(N) with N queued commands");
fn discard_command(ctx: &mut Context) -> CommandResult {
    if ctx.session.multi.is_none() {
        return Err(CommandError::line("ERR DISCARD without MULTI"));
    }
    discard(ctx.engine, ctx.session);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `WATCH key [key ...]`
pub const WATCH: CommandSpec = CommandSpec::new("watch", -2, watch)
    .group(Group::Transactions)
    .since("2.2.0")
    .flags(Flags::NOSCRIPT.or(Flags::FAST).or(Flags::NO_MULTI))
    .flags(Flags::ALLOW_BUSY.or(Flags::ANY_TIME))
    .flags(Flags::RUNS_IN_MULTI)
    .summary("Watches keys: the next EXEC fails if one of them was changed.")
    .complexity("O(1) for every key")
    .keys(&[KeySpec::range(1, -1, 1, KeyFlags::RO)])
    .args(&[Arg::KEYS]);
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
        ctx.engine.key_listeners.add_watcher();
    }
    if ctx.data.tables(key).watched.add(db, key.bytes, &flag) {
        ctx.session.watched.push(WatchedKey {
            db,
            key: key.bytes.to_vec(),
            lived,
        });
    }
}

/// `UNWATCH`
pub const UNWATCH: CommandSpec = CommandSpec::new("unwatch", 1, unwatch_command)
    .group(Group::Transactions)
    .since("2.2.0")
    .flags(Flags::NOSCRIPT.or(Flags::FAST).or(Flags::ALLOW_BUSY))
    .flags(Flags::ANY_TIME)
    .summary("Unwatches all watched keys.")
    .complexity("O(1)");
fn unwatch_command(ctx: &mut Context) -> CommandResult {
    // Inside EXEC the keys are unwatched already.
    unwatch(ctx.engine, ctx.session);
    ctx.reply.ok();
    Ok(Outcome::Done)
}
