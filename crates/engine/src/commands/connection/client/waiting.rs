//! CLIENT PAUSE and UNBLOCK: clients that wait.

use std::sync::atomic::Ordering;

use crate::command::{Arg, Flags, Group, Locks};
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::port::Unblocked;

pub(crate) const CLIENT_PAUSE: CommandSpec = CommandSpec::new("pause", -3, client_pause)
    .group(Group::Connection)
    .since("3.0.0")
    .flags(Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::ANY_TIME))
    .summary("Suspends the commands of all clients for some time.")
    .complexity("O(1)")
    .args(&[
        Arg::integer("timeout"),
        Arg::one_of("mode")
            .since("6.2.0")
            .optional()
            .args(&[Arg::word("write", "WRITE"), Arg::word("all", "ALL")]),
    ])
    // All locks: a write that was admitted before either is done, or waits for a lock and is
    // admitted again under it.
    .locks(Locks::All);
fn client_pause(ctx: &mut Context<'_, '_>) -> CommandResult {
    if ctx.args.len() > 4 {
        return Err(CommandError::Arity("client|pause".into()));
    }
    let all = match ctx.args.len() {
        3 => true,
        _ if ctx.is_word(3, "WRITE") => false,
        _ if ctx.is_word(3, "ALL") => true,
        _ => {
            return Err(CommandError::line(
                "ERR CLIENT PAUSE mode must be WRITE or ALL",
            ));
        }
    };
    let steady_ms = ctx.engine.steady_ms();
    let until_ms = pause_end(ctx.arg(2), steady_ms)?;
    ctx.engine.pause.start(until_ms, all, steady_ms);
    ctx.engine.admission_epoch.fetch_add(1, Ordering::AcqRel);
    ctx.engine.outboxes.port.get().resume();
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// The time of the steady clock at which a pause of so many milliseconds ends; 0 for no pause.
fn pause_end(milliseconds: &[u8], steady_ms: u64) -> Result<u64, CommandError> {
    let Some(duration) = resp::number::parse_i64(milliseconds) else {
        return Err(CommandError::line(
            "ERR timeout is not an integer or out of range",
        ));
    };
    let Ok(duration) = u64::try_from(duration) else {
        return Err(CommandError::line("ERR timeout is negative"));
    };
    if duration == 0 {
        return Ok(0);
    }
    steady_ms
        .checked_add(duration)
        .filter(|end| i64::try_from(*end).is_ok())
        .ok_or(CommandError::line("ERR timeout is out of range"))
}

pub(crate) const CLIENT_UNPAUSE: CommandSpec = CommandSpec::new("unpause", 2, client_unpause)
    .group(Group::Connection)
    .since("6.2.0")
    .flags(Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::ANY_TIME))
    .summary("Resumes the commands that CLIENT PAUSE suspended.")
    .complexity("O(N) in the number of waiting clients");
fn client_unpause(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.engine.pause.end();
    ctx.engine.outboxes.port.get().resume();
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const CLIENT_UNBLOCK: CommandSpec = CommandSpec::new("unblock", -3, client_unblock)
    .group(Group::Connection)
    .since("5.0.0")
    .flags(Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::ANY_TIME))
    .summary("Unblocks a client that is blocked by a command.")
    .complexity("O(log N) in the number of clients")
    .args(&[
        Arg::integer("client-id"),
        Arg::one_of("unblock-type")
            .optional()
            .args(&[Arg::word("timeout", "TIMEOUT"), Arg::word("error", "ERROR")]),
    ]);
fn client_unblock(ctx: &mut Context<'_, '_>) -> CommandResult {
    if ctx.args.len() > 4 {
        return Err(CommandError::Arity("client|unblock".into()));
    }
    let why = match ctx.args.len() {
        3 => Unblocked::AsTimeout,
        _ if ctx.is_word(3, "TIMEOUT") => Unblocked::AsTimeout,
        _ if ctx.is_word(3, "ERROR") => {
            Unblocked::Error("UNBLOCKED client unblocked via CLIENT UNBLOCK")
        }
        _ => {
            return Err(CommandError::line(
                "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR",
            ));
        }
    };
    let id = ctx.integer(2)?;
    let target = u64::try_from(id)
        .ok()
        .and_then(|id| ctx.engine.clients.get(id));
    let unblocked = target.is_some_and(|target| {
        let unblocked = target.wait.unblock();
        if unblocked {
            ctx.engine.outboxes.port.get().unblock(&target, why);
        }
        unblocked
    });
    ctx.reply.integer(i64::from(unblocked));
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::pause_end;

    #[test]
    fn the_end_of_a_pause_is_absolute() {
        assert_eq!(pause_end(b"100", 5), Ok(105));
        assert_eq!(pause_end(b"0", 5), Ok(0));
        for bad in [&b"-1"[..], b"abc", b"9223372036854775807"] {
            assert!(pause_end(bad, 5).is_err(), "{bad:?}");
        }
    }
}
