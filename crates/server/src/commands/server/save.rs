//! Snapshots by command: SAVE, BGSAVE, LASTSAVE.

use std::sync::atomic::Ordering;

use crate::jobs::snapshot::{self, Save};
use crate::server::Server;
use crate::state::Purpose;
use engine::command::*;
use engine::context::Context;
use engine::error::CommandError;
use engine::execute::{CommandResult, CommandSpec, Outcome};

pub(crate) const SAVE: CommandSpec = CommandSpec::new("save", 1, save)
    .group(Group::Server)
    .since("1.0.0")
    .flags(Flags::NO_ASYNC_LOADING.or(Flags::ADMIN).or(Flags::NOSCRIPT))
    .flags(Flags::NO_MULTI)
    .summary("Saves the data to the RDB file in the foreground.")
    .complexity("O(N) in the number of keys")
    .locks(Locks::All);
fn save(ctx: &mut Context<'_, '_>) -> CommandResult {
    if Server::of(ctx)?.snapshots.purpose() == Some(Purpose::Save) {
        return Err(CommandError::line(
            "ERR Background save already in progress",
        ));
    }
    snapshot::save(&*Server::of(ctx)?, ctx.data.locked, 0)
        .map_err(|reason| CommandError::owned(format!("ERR {reason}")))?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const BGSAVE: CommandSpec = CommandSpec::new("bgsave", -1, bgsave)
    .group(Group::Server)
    .since("1.0.0")
    .flags(Flags::NO_ASYNC_LOADING.or(Flags::ADMIN).or(Flags::NOSCRIPT))
    .summary("Saves the data to the RDB file in the background.")
    .complexity("O(1) for the caller")
    .locks(Locks::All)
    .args(&[Arg::one_of("operation").optional().args(&[
        Arg::word("schedule", "SCHEDULE").since("3.2.2"),
        Arg::word("cancel", "CANCEL").since("8.1.0"),
    ])]);
fn bgsave(ctx: &mut Context<'_, '_>) -> CommandResult {
    let is_scheduled = match ctx.args.len() {
        1 => false,
        2 if ctx.is_word(1, "SCHEDULE") => true,
        2 if ctx.is_word(1, "CANCEL") => {
            let answer = snapshot::cancel(&*Server::of(ctx)?)?;
            ctx.reply.simple(answer);
            return Ok(Outcome::Done);
        }
        _ => return Err(CommandError::Syntax),
    };
    // In the middle of a transaction the data must not be saved: no client may see that state.
    let how = match (ctx.is_nested(), is_scheduled) {
        (true, _) => Save::AfterTransaction,
        (false, true) => Save::Scheduled,
        (false, false) => Save::Now,
    };
    let answer = snapshot::background(&*Server::of(ctx)?, ctx.data.locked, how)?;
    ctx.reply.simple(answer);
    Ok(Outcome::Done)
}

pub(crate) const LASTSAVE: CommandSpec = CommandSpec::new("lastsave", 1, lastsave)
    .group(Group::Server)
    .since("1.0.0")
    .flags(Flags::FAST.or(Flags::ANY_TIME))
    .categories(Categories::ADMIN.or(Categories::DANGEROUS))
    .summary("Returns the Unix time of the last successful save, in seconds.")
    .complexity("O(1)")
    .hints(&["nondeterministic_output"]);
fn lastsave(ctx: &mut Context<'_, '_>) -> CommandResult {
    let seconds = Server::of(ctx)?.last_save_s.load(Ordering::Relaxed);
    ctx.reply.integer(seconds as i64);
    Ok(Outcome::Done)
}
