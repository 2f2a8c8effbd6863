//! SLOWLOG and COMMANDLOG; the logs themselves are in [`crate::commandlog`].

use crate::command::{Arg, Flags, Group};
use crate::commandlog::{LogEntry, LogKind};
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

/// Entries that SLOWLOG GET returns without a count.
const COUNT_DEFAULT: usize = 10;

/// A number of entries; -1 means all.
fn count(ctx: &Context<'_, '_>, index: usize) -> Result<usize, CommandError> {
    match resp::number::parse_i64(ctx.arg(index)) {
        Some(-1) => Ok(usize::MAX),
        Some(count @ 0..) => Ok(usize::try_from(count).unwrap_or(usize::MAX)),
        _ => Err(CommandError::line(
            "ERR count should be greater than or equal to -1",
        )),
    }
}

fn kind(ctx: &Context<'_, '_>, index: usize) -> Result<LogKind, CommandError> {
    LogKind::named(ctx.arg(index)).ok_or(CommandError::line(
        "ERR type should be one of the following: slow, large-request, large-reply",
    ))
}

fn reply_entries(ctx: &mut Context<'_, '_>, entries: &[LogEntry]) {
    let reply = &mut ctx.reply;
    reply.array(entries.len());
    for entry in entries {
        reply.array(6);
        reply.integer(entry.id as i64);
        reply.integer(entry.time_s as i64);
        reply.integer(entry.value);
        reply.array(entry.args.len());
        entry.args.iter().for_each(|arg| reply.bulk(arg));
        reply.bulk(entry.addr.as_bytes());
        reply.bulk(&entry.name);
    }
}

pub(crate) const SLOWLOG: CommandSpec = CommandSpec::container("slowlog", -2)
    .group(Group::Server)
    .since("2.2.12")
    .summary("A container for commands about slow commands.")
    .complexity("Depends on the subcommand")
    .subcommands(&[&SLOWLOG_GET, &SLOWLOG_HELP, &SLOWLOG_LEN, &SLOWLOG_RESET]);

pub(crate) const SLOWLOG_GET: CommandSpec = CommandSpec::new("get", -2, slowlog_get)
    .group(Group::Server)
    .since("2.2.12")
    .flags(Flags::ADMIN.or(Flags::ANY_TIME))
    .summary("Returns the newest slow executions.")
    .complexity("O(N) in the number of entries returned")
    .hints(&["request_policy:all_nodes", "nondeterministic_output"])
    .args(&[Arg::integer("count").optional()]);
fn slowlog_get(ctx: &mut Context<'_, '_>) -> CommandResult {
    let count = match ctx.args.len() {
        2 => COUNT_DEFAULT,
        3 => count(ctx, 2)?,
        _ => return Err(ctx.subcommand_arity_error()),
    };
    let entries = ctx.engine.commandlog.newest(LogKind::Slow, count);
    reply_entries(ctx, &entries);
    Ok(Outcome::Done)
}

pub(crate) const SLOWLOG_LEN: CommandSpec = CommandSpec::new("len", 2, slowlog_len)
    .group(Group::Server)
    .since("2.2.12")
    .flags(Flags::ADMIN.or(Flags::ANY_TIME))
    .summary("Counts the logged slow executions.")
    .complexity("O(1)")
    .hints(&[
        "request_policy:all_nodes",
        "response_policy:agg_sum",
        "nondeterministic_output",
    ]);
fn slowlog_len(ctx: &mut Context<'_, '_>) -> CommandResult {
    let len = ctx.engine.commandlog.len(LogKind::Slow);
    ctx.reply.integer(len as i64);
    Ok(Outcome::Done)
}

pub(crate) const SLOWLOG_RESET: CommandSpec = CommandSpec::new("reset", 2, slowlog_reset)
    .group(Group::Server)
    .since("2.2.12")
    .flags(Flags::ADMIN.or(Flags::ANY_TIME))
    .summary("Clears the slow log.")
    .complexity("O(N) in the number of entries")
    .hints(&["request_policy:all_nodes", "response_policy:all_succeeded"]);
fn slowlog_reset(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.engine.commandlog.reset(LogKind::Slow);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const SLOWLOG_HELP: CommandSpec = CommandSpec::new("help", 2, slowlog_help)
    .group(Group::Server)
    .since("6.2.0")
    .flags(Flags::ANY_TIME)
    .summary("Lists the subcommands of SLOWLOG.")
    .complexity("O(1)");
fn slowlog_help(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.help(&[
        "GET [<count>]",
        "    The newest entries, 10 when no number is given, all for -1. Each one has:",
        "    id, Unix seconds, microseconds, arguments, address and name of the client.",
        "LEN",
        "    Number of entries.",
        "RESET",
        "    Removes all entries.",
    ]);
    Ok(Outcome::Done)
}

/// The log that a subcommand is about.
const TYPE: Arg = Arg::one_of("type").args(&[
    Arg::word("slow", "SLOW"),
    Arg::word("large-request", "LARGE-REQUEST"),
    Arg::word("large-reply", "LARGE-REPLY"),
]);

pub(crate) const COMMANDLOG: CommandSpec = CommandSpec::container("commandlog", -2)
    .group(Group::Server)
    .since("8.1.0")
    .summary("A container for commands about the command log.")
    .complexity("Depends on the subcommand")
    .subcommands(&[
        &COMMANDLOG_GET,
        &COMMANDLOG_HELP,
        &COMMANDLOG_LEN,
        &COMMANDLOG_RESET,
    ]);

pub(crate) const COMMANDLOG_GET: CommandSpec = CommandSpec::new("get", 4, commandlog_get)
    .group(Group::Server)
    .since("8.1.0")
    .flags(Flags::ADMIN.or(Flags::ANY_TIME))
    .summary("Returns the newest entries of one of the logs.")
    .complexity("O(N) in the number of entries returned")
    .hints(&["request_policy:all_nodes", "nondeterministic_output"])
    .args(&[Arg::integer("count"), TYPE]);
fn commandlog_get(ctx: &mut Context<'_, '_>) -> CommandResult {
    let count = count(ctx, 2)?;
    let kind = kind(ctx, 3)?;
    let entries = ctx.engine.commandlog.newest(kind, count);
    reply_entries(ctx, &entries);
    Ok(Outcome::Done)
}

pub(crate) const COMMANDLOG_LEN: CommandSpec = CommandSpec::new("len", 3, commandlog_len)
    .group(Group::Server)
    .since("8.1.0")
    .flags(Flags::ADMIN.or(Flags::ANY_TIME))
    .summary("Counts the entries of one of the logs.")
    .complexity("O(1)")
    .hints(&[
        "request_policy:all_nodes",
        "response_policy:agg_sum",
        "nondeterministic_output",
    ])
    .args(&[TYPE]);
fn commandlog_len(ctx: &mut Context<'_, '_>) -> CommandResult {
    let len = ctx.engine.commandlog.len(kind(ctx, 2)?);
    ctx.reply.integer(len as i64);
    Ok(Outcome::Done)
}

pub(crate) const COMMANDLOG_RESET: CommandSpec = CommandSpec::new("reset", 3, commandlog_reset)
    .group(Group::Server)
    .since("8.1.0")
    .flags(Flags::ADMIN.or(Flags::ANY_TIME))
    .summary("Clears one of the logs.")
    .complexity("O(N) in the number of entries")
    .hints(&["request_policy:all_nodes", "response_policy:all_succeeded"])
    .args(&[TYPE]);
fn commandlog_reset(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.engine.commandlog.reset(kind(ctx, 2)?);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const COMMANDLOG_HELP: CommandSpec = CommandSpec::new("help", 2, commandlog_help)
    .group(Group::Server)
    .since("8.1.0")
    .flags(Flags::ANY_TIME)
    .summary("Lists the subcommands of COMMANDLOG.")
    .complexity("O(1)");
fn commandlog_help(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.help(&[
        "GET <count> (slow|large-request|large-reply)",
        "    The newest entries of a log, all for -1. Each one has: id, Unix seconds,",
        "    microseconds (slow) or bytes, arguments, address and name of the client.",
        "LEN (slow|large-request|large-reply)",
        "    Number of entries.",
        "RESET (slow|large-request|large-reply)",
        "    Removes all entries.",
    ]);
    Ok(Outcome::Done)
}
