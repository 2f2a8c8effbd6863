//! Scripting, as far as a server without scripts can answer: there are no functions and no cached
//! scripts, and both can be flushed.

use crc_fast::{CrcAlgorithm, checksum};

use crate::command::{Arg, Flags, Group};
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

/// The commands of this group.
pub const COMMANDS: &[&CommandSpec] = &[&FUNCTION, &SCRIPT];

/// The version of RDB that payloads carry; Valkey's, which begins where those of Redis end.
const RDB_VERSION: u16 = 80;

pub(crate) const FUNCTION: CommandSpec = CommandSpec::container("function", -2)
    .group(Group::Scripting)
    .since("7.0.0")
    .summary("A container for commands about functions.")
    .complexity("Depends on the subcommand")
    .subcommands(&[
        &FUNCTION_DUMP,
        &FUNCTION_FLUSH,
        &FUNCTION_HELP,
        &FUNCTION_LIST,
        &FUNCTION_STATS,
    ]);

/// `SYNC` or `ASYNC`, which make no difference while there is nothing to flush.
fn check_flush_mode(ctx: &Context<'_, '_>, refusal: &'static str) -> Result<(), CommandError> {
    match ctx.args.len() {
        2 => Ok(()),
        3 if ctx.is_word(2, "SYNC") || ctx.is_word(2, "ASYNC") => Ok(()),
        _ => Err(CommandError::line(refusal)),
    }
}

pub(crate) const FUNCTION_FLUSH: CommandSpec = CommandSpec::new("flush", -2, function_flush)
    .group(Group::Scripting)
    .since("7.0.0")
    .flags(Flags::NOSCRIPT.or(Flags::WRITE))
    .summary("Removes all functions.")
    .complexity("O(N) in the number of functions")
    .hints(&["request_policy:all_shards", "response_policy:all_succeeded"])
    .args(&[Arg::one_of("flush-type")
        .optional()
        .args(&[Arg::word("async", "ASYNC"), Arg::word("sync", "SYNC")])]);
fn function_flush(ctx: &mut Context<'_, '_>) -> CommandResult {
    if ctx.args.len() > 3 {
        return Err(ctx.subcommand_arity_error());
    }
    check_flush_mode(ctx, "ERR FUNCTION FLUSH only supports SYNC|ASYNC option")?;
    // Those of a file that was loaded are kept, although they cannot be called.
    let libraries = std::mem::take(&mut *ctx.engine.lock_functions());
    if !libraries.is_empty() {
        ctx.data.effects.add_dirty(1);
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const FUNCTION_LIST: CommandSpec = CommandSpec::new("list", -2, function_list)
    .group(Group::Scripting)
    .since("7.0.0")
    .flags(Flags::NOSCRIPT)
    .summary("Lists the libraries of functions.")
    .complexity("O(N) in the number of functions")
    .hints(&["nondeterministic_output_order"])
    .args(&[
        Arg::string("library-name-pattern").option("LIBRARYNAME"),
        Arg::flag("withcode", "WITHCODE"),
    ]);
fn function_list(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (mut with_code, mut library) = (false, false);
    let mut at = 2;
    while at < ctx.args.len() {
        if !with_code && ctx.is_word(at, "WITHCODE") {
            with_code = true;
        } else if !library && ctx.is_word(at, "LIBRARYNAME") {
            library = true;
            at += 1;
            if at == ctx.args.len() {
                return Err(CommandError::line(
                    "ERR library name argument was not given",
                ));
            }
        } else {
            let line = [b"ERR Unknown argument ", ctx.arg(at)].concat();
            return Err(CommandError::Bytes(line));
        }
        at += 1;
    }
    ctx.reply.empty_array();
    Ok(Outcome::Done)
}

pub(crate) const FUNCTION_STATS: CommandSpec = CommandSpec::new("stats", 2, function_stats)
    .group(Group::Scripting)
    .since("7.0.0")
    .flags(Flags::NOSCRIPT.or(Flags::ALLOW_BUSY))
    .summary("Returns information about the running function and the engines.")
    .complexity("O(1)")
    .hints(&[
        "nondeterministic_output",
        "request_policy:all_shards",
        "response_policy:special",
    ]);
fn function_stats(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.reply.map(2);
    ctx.reply.bulk(b"running_script");
    ctx.reply.null();
    ctx.reply.bulk(b"engines");
    ctx.reply.map(0);
    Ok(Outcome::Done)
}

pub(crate) const FUNCTION_DUMP: CommandSpec = CommandSpec::new("dump", 2, function_dump)
    .group(Group::Scripting)
    .since("7.0.0")
    .flags(Flags::NOSCRIPT)
    .summary("Returns all functions as one payload.")
    .complexity("O(N) in the number of functions");
fn function_dump(ctx: &mut Context<'_, '_>) -> CommandResult {
    // The functions, none, then the footer: version and checksum, both little-endian.
    let mut payload = RDB_VERSION.to_le_bytes().to_vec();
    let crc = checksum(CrcAlgorithm::Crc64Redis, &payload);
    payload.extend_from_slice(&crc.to_le_bytes());
    ctx.reply.bulk(&payload);
    Ok(Outcome::Done)
}

pub(crate) const FUNCTION_HELP: CommandSpec = CommandSpec::new("help", 2, function_help)
    .group(Group::Scripting)
    .since("7.0.0")
    .flags(Flags::ANY_TIME)
    .summary("Lists the subcommands of FUNCTION.")
    .complexity("O(1)");
fn function_help(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.help(&[
        "DUMP",
        "    All functions as one payload.",
        "FLUSH [ASYNC|SYNC]",
        "    Removes all functions.",
        "LIST [LIBRARYNAME <pattern>] [WITHCODE]",
        "    The libraries and their functions.",
        "STATS",
        "    The running function and the engines.",
    ]);
    Ok(Outcome::Done)
}

pub(crate) const SCRIPT: CommandSpec = CommandSpec::container("script", -2)
    .group(Group::Scripting)
    .since("2.6.0")
    .summary("A container for commands about scripts.")
    .complexity("Depends on the subcommand")
    .subcommands(&[&SCRIPT_EXISTS, &SCRIPT_FLUSH, &SCRIPT_HELP]);

pub(crate) const SCRIPT_EXISTS: CommandSpec = CommandSpec::new("exists", -3, script_exists)
    .group(Group::Scripting)
    .since("2.6.0")
    .flags(Flags::NOSCRIPT.or(Flags::STALE))
    .summary("Returns whether scripts exist in the script cache.")
    .complexity("O(N) in the number of scripts asked for")
    .hints(&[
        "request_policy:all_shards",
        "response_policy:agg_logical_and",
    ])
    .args(&[Arg::string("sha1").multiple()]);
fn script_exists(ctx: &mut Context<'_, '_>) -> CommandResult {
    let count = ctx.args.len() - 2;
    ctx.reply.array(count);
    (0..count).for_each(|_| ctx.reply.integer(0));
    Ok(Outcome::Done)
}

pub(crate) const SCRIPT_FLUSH: CommandSpec = CommandSpec::new("flush", -2, script_flush)
    .group(Group::Scripting)
    .since("2.6.0")
    .flags(Flags::NOSCRIPT.or(Flags::STALE))
    .summary("Empties the cache of scripts.")
    .complexity("O(N) in the number of scripts")
    .hints(&["request_policy:all_nodes", "response_policy:all_succeeded"])
    .args(&[Arg::one_of("flush-type")
        .since("6.2.0")
        .optional()
        .args(&[Arg::word("async", "ASYNC"), Arg::word("sync", "SYNC")])]);
fn script_flush(ctx: &mut Context<'_, '_>) -> CommandResult {
    check_flush_mode(ctx, "ERR SCRIPT FLUSH only support SYNC|ASYNC option")?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const SCRIPT_HELP: CommandSpec = CommandSpec::new("help", 2, script_help)
    .group(Group::Scripting)
    .since("5.0.0")
    .flags(Flags::ANY_TIME)
    .summary("Lists the subcommands of SCRIPT.")
    .complexity("O(1)");
fn script_help(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.help(&[
        "EXISTS <sha1> [<sha1> ...]",
        "    Which of these scripts are in the cache.",
        "FLUSH [ASYNC|SYNC]",
        "    Empties the cache.",
    ]);
    Ok(Outcome::Done)
}
