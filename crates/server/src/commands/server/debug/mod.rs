//! DEBUG: for tests of the server and for developers.
//!
//! Only what can be done truthfully is here. Switches that tune a mechanism which Lodestore does
//! not have are accepted when ignoring them changes no result; all else is an error.

mod digest;
mod keys;
mod reply;
mod tables;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::config::{Extent, rewrite};
use crate::jobs::loading::reload::{self, Reload};
use crate::server::Server;
use engine::command::{Flags, Group, Locks};
use engine::context::Context;
use engine::error::CommandError;
use engine::execute::{CommandResult, CommandSpec, Outcome};
use engine::fault::STAGES;

pub(crate) const DEBUG: CommandSpec = CommandSpec::new("debug", -2, debug)
    .group(Group::Server)
    .since("1.0.0")
    .flags(Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::PROTECTED))
    .flags(Flags::ANY_TIME)
    .summary("A container for commands that test and inspect the server.")
    .complexity("Depends on the subcommand")
    .locks(Locks::Own);
fn debug(ctx: &mut Context<'_, '_>) -> CommandResult {
    let name = ctx.arg(1).to_ascii_lowercase();
    match (name.as_slice(), ctx.args.len()) {
        (b"help", 2) => help(ctx),
        (b"log", 3) => log_message(ctx),
        (b"error", 3) => return Err(CommandError::Bytes(ctx.arg(2).to_vec())),
        (b"sleep", 3) => sleep(ctx),
        (b"panic", 2) => panic_now(),
        (b"set-active-expire", 3) => switch(ctx, &ctx.engine.switches.active_expire),
        (b"pause-cron", 3) => switch(ctx, &ctx.engine.switches.pause_cron),
        (b"set-skip-checksum-validation", 3) => {
            switch(ctx, &ctx.engine.switches.skip_checksum_validation);
        }
        (b"set-disable-deny-scripts", 3) => {
            switch(ctx, &ctx.engine.switches.allows_all_in_scripts);
        }
        (b"client-enforce-reply-list", 3) => {
            switch(ctx, &ctx.engine.switches.enforce_reply_list);
        }
        (b"fault", 3) if cfg!(debug_assertions) => arm_fault(ctx)?,
        (b"step-clock", 3) if cfg!(debug_assertions) => step_clock(ctx)?,
        (b"replicate", 3..) => replicate(ctx),
        (b"change-repl-id", 2) => change_replication_id(ctx)?,
        (b"reload", _) => reload(ctx)?,
        (b"loadaof", 2) => load_log(ctx)?,
        (b"config-rewrite-force-all", 2) => rewrite_all(ctx)?,
        (b"object", 3 | 4) => keys::object(ctx)?,
        (b"populate", 3..=5) => keys::populate(ctx)?,
        (b"digest", 2) => digest::digest(ctx)?,
        (b"digest-value", _) => digest::digest_value(ctx)?,
        (b"htstats", 3..) => tables::htstats(ctx)?,
        (b"htstats-key", 3..) => tables::htstats_key(ctx)?,
        (b"stringmatch-len", 4) => stringmatch(ctx),
        (b"protocol", 3) => reply::protocol(ctx)?,
        _ => return tune(ctx, &name),
    }
    Ok(Outcome::Done)
}

/// The result of C's atoi for an argument: the digits at its beginning, 0 without any.
fn leading_number(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (sign, digits) = match text.split_first() {
        Some((b'-', rest)) => (-1, rest),
        Some((b'+', rest)) => (1, rest),
        _ => (1, text),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    let number = digits.fold(0i64, |number, digit| {
        number
            .saturating_mul(10)
            .saturating_add(i64::from(digit - b'0'))
    });
    sign * number
}

fn switch(ctx: &mut Context<'_, '_>, switch: &AtomicBool) {
    switch.store(leading_number(ctx.args.arg(2)) != 0, Ordering::Relaxed);
    ctx.reply.ok();
}

/// Switches of mechanisms that do not exist here and that no result depends on: reply buffers have
/// no peak to reset, tables have no resizing to suspend.
fn tune(ctx: &mut Context<'_, '_>, name: &[u8]) -> CommandResult {
    match (name, ctx.args.len()) {
        (b"dict-resizing" | b"hashtable-can-abort-shrink" | b"set-disable-deny-scripts", 3) => {}
        (b"quicklist-packed-threshold", 3) => {
            const MAX: u64 = (4 << 30) - (1 << 20);
            let size = resp::number::parse_memory(ctx.arg(2));
            if size.is_none_or(|size| size > MAX) {
                return Err(CommandError::line(
                    "ERR argument must be a memory value bigger than 1 and smaller than 4gb",
                ));
            }
        }
        (b"replybuffer", 4) if ctx.is_word(2, "RESIZING") => {}
        (b"replybuffer", 4) if ctx.is_word(2, "PEAK-RESET-TIME") => {
            if !ctx.is_word(3, "NEVER") && !ctx.is_word(3, "RESET") {
                ctx.integer(3)?;
            }
        }
        _ => return Err(ctx.subcommand_arity_error()),
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

fn log_message(ctx: &mut Context<'_, '_>) {
    log::warn!("DEBUG LOG: {}", String::from_utf8_lossy(ctx.args.arg(2)));
    ctx.reply.ok();
}

/// Stops the whole server, not only this worker: all shards stay locked meanwhile.
fn sleep(ctx: &mut Context<'_, '_>) {
    let seconds = resp::number::parse_f64_or_hex(ctx.args.arg(2)).unwrap_or(0.0);
    let keyspace = &ctx.engine.keyspace;
    let _stopped = (!ctx.data.locked.holds_all()).then(|| keyspace.lock_all());
    let duration = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    if let Ok(server) = Server::of(ctx) {
        let steady_ms = server.engine.steady_ms();
        server.replication.stop_until(steady_ms, duration);
    }
    std::thread::sleep(duration);
    ctx.reply.ok();
}

/// The end that a defect would bring: nothing is written, nothing is closed.
fn panic_now() {
    log::error!("DEBUG PANIC called, the process ends here");
    std::process::abort();
}

/// Debug builds only: the next execution that reaches a stage panics.
fn arm_fault(ctx: &mut Context<'_, '_>) -> Result<(), CommandError> {
    let named = STAGES.iter().find(|(name, _)| ctx.is_word(2, name));
    let (_, stage) = named.ok_or(CommandError::Syntax)?;
    ctx.engine.faults.arm(*stage);
    ctx.reply.ok();
    Ok(())
}

/// Debug builds only: the wall clock is set to so many milliseconds later, or earlier.
fn step_clock(ctx: &mut Context<'_, '_>) -> Result<(), CommandError> {
    let ms = ctx.integer(2)?;
    ctx.engine.clock.step(ms);
    ctx.reply.ok();
    Ok(())
}

/// Sends a command to the replicas alone, whatever it is.
fn replicate(ctx: &mut Context<'_, '_>) {
    let request: Vec<&[u8]> = (2..ctx.args.len()).map(|index| ctx.arg(index)).collect();
    ctx.engine.append_to_stream(&request);
    ctx.reply.ok();
}

fn change_replication_id(ctx: &mut Context<'_, '_>) -> Result<(), CommandError> {
    log::info!("Changing replication IDs after receiving DEBUG change-repl-id");
    Server::of(ctx)?.replication.begin_history(None);
    ctx.reply.ok();
    Ok(())
}

/// Some subcommands take locks that they cannot have while a transaction holds shards.
fn refuse_in_transaction(ctx: &Context<'_, '_>) -> Result<(), CommandError> {
    if ctx.is_nested() {
        return Err(CommandError::line(
            "ERR this DEBUG subcommand is not possible inside a transaction",
        ));
    }
    Ok(())
}

fn reload(ctx: &mut Context<'_, '_>) -> Result<(), CommandError> {
    let mut what = Reload {
        save: true,
        flush: true,
        merge: false,
    };
    for index in 2..ctx.args.len() {
        match () {
            () if ctx.is_word(index, "merge") => what.merge = true,
            () if ctx.is_word(index, "noflush") => what.flush = false,
            () if ctx.is_word(index, "nosave") => what.save = false,
            () => {
                return Err(CommandError::line(
                    "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
                ));
            }
        }
    }
    refuse_in_transaction(ctx)?;
    reload::reload(&*Server::of(ctx)?, what)?;
    log::info!("DB reloaded by DEBUG RELOAD");
    ctx.reply.ok();
    Ok(())
}

fn load_log(ctx: &mut Context<'_, '_>) -> Result<(), CommandError> {
    refuse_in_transaction(ctx)?;
    reload::load_again(&*Server::of(ctx)?)?;
    log::info!("Append Only File loaded by DEBUG LOADAOF");
    ctx.reply.ok();
    Ok(())
}

fn rewrite_all(ctx: &mut Context<'_, '_>) -> Result<(), CommandError> {
    refuse_in_transaction(ctx)?;
    rewrite(&ctx.engine.config, None, Extent::Everything)
        .map_err(|error| CommandError::owned(error.to_string()))?;
    ctx.reply.ok();
    Ok(())
}

/// 1 when a pattern matches a string, else 0.
fn stringmatch(ctx: &mut Context<'_, '_>) {
    let matches = values::glob::matches(ctx.arg(2), ctx.arg(3), false);
    ctx.reply.integer(i64::from(matches));
}

fn help(ctx: &mut Context<'_, '_>) {
    ctx.help(&[
        "CHANGE-REPL-ID",
        "    Gives the data set a new history.",
        "CONFIG-REWRITE-FORCE-ALL",
        "    CONFIG REWRITE that writes defaults too.",
        "DIGEST",
        "    A hash of all data.",
        "DIGEST-VALUE <key> [<key> ...]",
        "    A hash of each of these values.",
        "ERROR <line>",
        "    Answers with this error line.",
        "HTSTATS <db> [full]",
        "    The shape of the hash tables of a database.",
        "HTSTATS-KEY <key> [full]",
        "    The shape of the hash table of one value.",
        "LOADAOF",
        "    Empties the server and loads the append-only file again.",
        "LOG <message>",
        "    Writes a message into the log of the server.",
        "OBJECT <key> [fast]",
        "    How a value is represented.",
        "PANIC",
        "    Ends the process as a defect would.",
        "PAUSE-CRON (0|1)",
        "    Stops the periodic work.",
        "POPULATE <count> [<prefix>] [<size>]",
        "    Creates string keys.",
        "PROTOCOL (string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false)",
        "    Answers with a value of this type.",
        "RELOAD [MERGE] [NOFLUSH] [NOSAVE]",
        "    Saves the snapshot, empties the server and loads the snapshot again. NOSAVE takes the one that is there,",
        "    NOFLUSH keeps the data, MERGE lets keys of the snapshot replace others.",
        "SET-ACTIVE-EXPIRE (0|1)",
        "    Whether keys that nobody looks at expire.",
        "SET-DISABLE-DENY-SCRIPTS (0|1)",
        "    Whether scripts may call commands that are not for them.",
        "SET-SKIP-CHECKSUM-VALIDATION (0|1)",
        "    Whether RESTORE takes payloads with a wrong checksum.",
        "REPLICATE <string>",
        "    Replicates the provided string to replicas, allowing data divergence.",
        "SLEEP <seconds>",
        "    Stops the server for a time.",
        "QUICKLIST-PACKED-THRESHOLD <size>",
        "    From how many bytes on an element of a list gets a node of its own; 0 for the usual.",
        "STRINGMATCH-LEN <pattern> <string>",
        "    Whether the pattern matches.",
        "CLIENT-ENFORCE-REPLY-LIST, DICT-RESIZING, HASHTABLE-CAN-ABORT-SHRINK,",
        "REPLYBUFFER, SET-DISABLE-DENY-SCRIPTS",
        "    Accepted without effect: they tune what Lodestore does not have.",
    ]);
}

#[cfg(test)]
mod tests {
    use super::leading_number;

    #[test]
    fn numbers_are_read_as_atoi_does() {
        for (text, number) in [
            ("1", 1),
            ("0", 0),
            ("", 0),
            ("x", 0),
            (" 12a", 12),
            ("-3", -3),
        ] {
            assert_eq!(leading_number(text.as_bytes()), number, "{text:?}");
        }
    }
}
