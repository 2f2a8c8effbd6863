//! WAIT and WAITAOF: wait until writes are replicated or durable.

use crate::command::*;
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::wait::Block;

/// When a wait ends: argument `index` in milliseconds from now, 0 for never.
fn wait_deadline(ctx: &Context<'_, '_>, index: usize) -> Result<Option<u64>, CommandError> {
    let timeout = resp::number::parse_i64(ctx.arg(index)).ok_or(CommandError::line(
        "ERR timeout is not an integer or out of range",
    ))?;
    let timeout =
        u64::try_from(timeout).map_err(|_| CommandError::line("ERR timeout is negative"))?;
    if timeout == 0 {
        return Ok(None);
    }
    ctx.engine
        .clock
        .steady_ms_after(timeout)
        .filter(|deadline| i64::try_from(*deadline).is_ok())
        .map(Some)
        .ok_or(CommandError::line("ERR timeout is out of range"))
}

/// Clients do not change the data of a replica, so there is nothing to wait for.
fn refuse_on_replica(ctx: &Context<'_, '_>, error: &'static str) -> Result<(), CommandError> {
    match ctx.engine.role.is_replica() {
        true => Err(CommandError::line(error)),
        false => Ok(()),
    }
}

/// The stream offset behind the last write of this client. Positions in the log are never below
/// offsets, so this may be an offset that a later write of another client has reached.
fn offset_of_last_write(ctx: &Context<'_, '_>) -> u64 {
    let written = ctx.session.last_write_offset;
    written.min(ctx.engine.log.stream_offset())
}

pub(super) const WAIT: CommandSpec = CommandSpec::new("wait", 3, wait)
    .group(Group::Generic)
    .since("3.0.0")
    .flags(Flags::BLOCKING)
    .categories(Categories::CONNECTION)
    .summary("Blocks until enough replicas have acknowledged the writes of this client.")
    .complexity("O(1)")
    .hints(&["request_policy:all_shards", "response_policy:agg_min"])
    .args(&[Arg::integer("numreplicas"), Arg::integer("timeout")]);

pub(super) fn wait(ctx: &mut Context<'_, '_>) -> CommandResult {
    refuse_on_replica(
        ctx,
        "ERR WAIT cannot be used with replica instances. Please also note that if a replica is configured to be \
         writable (which is not the default) writes to replicas are just local and are not propagated.",
    )?;
    let wanted = ctx.integer(1)?;
    let deadline_ms = wait_deadline(ctx, 2)?;
    let offset = offset_of_last_write(ctx);
    let acknowledged = ctx.engine.replicas.processed(offset);
    let count = u64::try_from(wanted).unwrap_or(0);
    if acknowledged >= count || ctx.denies_blocking() {
        ctx.reply
            .integer(i64::try_from(acknowledged).unwrap_or(i64::MAX));
        return Ok(Outcome::Done);
    }
    Ok(Outcome::Block(Block::Replicas {
        count,
        offset,
        deadline_ms,
    }))
}

pub(super) const WAITAOF: CommandSpec = CommandSpec::new("waitaof", 4, waitaof)
    .group(Group::Generic)
    .since("7.2.0")
    .flags(Flags::BLOCKING)
    .categories(Categories::CONNECTION)
    .summary(
        "Waits until the writes of this client are on disk, here and on as many replicas as \
         asked for.",
    )
    .complexity("O(1)")
    .hints(&["request_policy:all_shards", "response_policy:agg_min"])
    .args(&[
        Arg::integer("numlocal"),
        Arg::integer("numreplicas"),
        Arg::integer("timeout"),
    ]);

pub(super) fn waitaof(ctx: &mut Context<'_, '_>) -> CommandResult {
    refuse_on_replica(
        ctx,
        "ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local \
         and are not propagated.",
    )?;
    let local = match ctx.integer(1)? {
        0 => false,
        1 => true,
        _ => {
            return Err(CommandError::line(
                "ERR value is out of range, value must between 0 and 1",
            ));
        }
    };
    let replicas = u64::try_from(ctx.integer(2)?)
        .map_err(|_| CommandError::line("ERR value is out of range, must be positive"))?;
    let deadline_ms = wait_deadline(ctx, 3)?;
    let written = ctx.session.last_write_offset;
    let offset = offset_of_last_write(ctx);
    let log = &ctx.engine.log;
    if local && !log.is_enabled() {
        return Err(CommandError::line(
            crate::execute::blocking::WAITAOF_WITHOUT_LOG,
        ));
    }
    let synced = log.is_enabled() && log.synced() >= written;
    let acknowledged = ctx.engine.replicas.durable(offset);
    if (synced || !local) && acknowledged >= replicas || ctx.denies_blocking() {
        ctx.reply.array(2);
        ctx.reply.integer(i64::from(synced));
        ctx.reply
            .integer(i64::try_from(acknowledged).unwrap_or(i64::MAX));
        return Ok(Outcome::Done);
    }
    Ok(Outcome::Block(Block::Synced {
        local,
        replicas,
        offset,
        written,
        deadline_ms,
    }))
}
