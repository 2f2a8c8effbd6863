//! SLOWLOG and COMMANDLOG; the logs themselves are in [`crate::commandlog`].

use crate::command::{Arg, ArgKind, Categories, Command, CommandResult, Flags, Group, Outcome};
use crate::commandlog::{LogEntry, LogKind};
use crate::context::Context;
use crate::error::CommandError;

/// Entries that SLOWLOG GET returns when it is not told how many.
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

pub(crate) const SLOWLOG: Command = Command {
    name: "slowlog",
    arity: -2,
    flags: Flags::NONE,
    categories: Categories::SLOW,
    group: Group::Server,
    since: "2.2.12",
    summary: "A container for commands about slow executions.",
    complexity: "Depends on the subcommand",
    subcommands: &[&SLOWLOG_GET, &SLOWLOG_HELP, &SLOWLOG_LEN, &SLOWLOG_RESET],
    ..Command::BASE
};

pub(crate) const SLOWLOG_GET: Command = Command {
    name: "get",
    arity: -2,
    flags: Flags::ADMIN.or(Flags::LOADING).or(Flags::STALE),
    categories: Categories::ADMIN
        .or(Categories::DANGEROUS)
        .or(Categories::SLOW),
    group: Group::Server,
    since: "2.2.12",
    summary: "Returns the newest slow executions.",
    complexity: "O(N) in the number of entries returned",
    hints: &["request_policy:all_nodes", "nondeterministic_output"],
    args: &[Arg {
        name: "count",
        kind: ArgKind::Integer,
        optional: true,
        ..Arg::BASE
    }],
    handler: slowlog_get,
    ..Command::BASE
};
fn slowlog_get(ctx: &mut Context<'_, '_>) -> CommandResult {
    let count = match ctx.args.len() {
        2 => COUNT_DEFAULT,
        3 => count(ctx, 2)?,
        _ => return Err(ctx.subcommand_arity_error()),
    };
    let entries = ctx.server.commandlog.newest(LogKind::Slow, count);
    reply_entries(ctx, &entries);
    Ok(Outcome::Done)
}

pub(crate) const SLOWLOG_LEN: Command = Command {
    name: "len",
    arity: 2,
    flags: Flags::ADMIN.or(Flags::LOADING).or(Flags::STALE),
    categories: Categories::ADMIN
        .or(Categories::DANGEROUS)
        .or(Categories::SLOW),
    group: Group::Server,
    since: "2.2.12",
    summary: "Counts the logged slow executions.",
    complexity: "O(1)",
    hints: &[
        "request_policy:all_nodes",
        "response_policy:agg_sum",
        "nondeterministic_output",
    ],
    handler: slowlog_len,
    ..Command::BASE
};
fn slowlog_len(ctx: &mut Context<'_, '_>) -> CommandResult {
    let len = ctx.server.commandlog.len(LogKind::Slow);
    ctx.reply.integer(len as i64);
    Ok(Outcome::Done)
}

pub(crate) const SLOWLOG_RESET: Command = Command {
    name: "reset",
    arity: 2,
    flags: Flags::ADMIN.or(Flags::LOADING).or(Flags::STALE),
    categories: Categories::ADMIN
        .or(Categories::DANGEROUS)
        .or(Categories::SLOW),
    group: Group::Server,
    since: "2.2.12",
    summary: "Forgets the logged slow executions.",
    complexity: "O(N) in the number of entries",
    hints: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    handler: slowlog_reset,
    ..Command::BASE
};
fn slowlog_reset(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.server.commandlog.reset(LogKind::Slow);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const SLOWLOG_HELP: Command = Command {
    name: "help",
    arity: 2,
    flags: Flags::LOADING.or(Flags::STALE),
    categories: Categories::SLOW,
    group: Group::Server,
    since: "6.2.0",
    summary: "Lists the subcommands of SLOWLOG.",
    complexity: "O(1)",
    handler: slowlog_help,
    ..Command::BASE
};
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

pub(crate) const COMMANDLOG: Command = Command {
    name: "commandlog",
    arity: -2,
    flags: Flags::NONE,
    categories: Categories::SLOW,
    group: Group::Server,
    since: "8.1.0",
    summary: "A container for commands about slow executions and large requests and replies.",
    complexity: "Depends on the subcommand",
    subcommands: &[
        &COMMANDLOG_GET,
        &COMMANDLOG_HELP,
        &COMMANDLOG_LEN,
        &COMMANDLOG_RESET,
    ],
    ..Command::BASE
};

pub(crate) const COMMANDLOG_GET: Command = Command {
    name: "get",
    arity: 4,
    flags: Flags::ADMIN.or(Flags::LOADING).or(Flags::STALE),
    categories: Categories::ADMIN
        .or(Categories::DANGEROUS)
        .or(Categories::SLOW),
    group: Group::Server,
    since: "8.1.0",
    summary: "Returns the newest entries of one of the logs.",
    complexity: "O(N) in the number of entries returned",
    hints: &["request_policy:all_nodes", "nondeterministic_output"],
    args: &[
        Arg {
            name: "count",
            kind: ArgKind::Integer,
            ..Arg::BASE
        },
        Arg {
            name: "type",
            kind: ArgKind::OneOf,
            args: &[
                Arg {
                    name: "slow",
                    kind: ArgKind::PureToken,
                    token: Some("SLOW"),
                    ..Arg::BASE
                },
                Arg {
                    name: "large-request",
                    kind: ArgKind::PureToken,
                    token: Some("LARGE-REQUEST"),
                    ..Arg::BASE
                },
                Arg {
                    name: "large-reply",
                    kind: ArgKind::PureToken,
                    token: Some("LARGE-REPLY"),
                    ..Arg::BASE
                },
            ],
            ..Arg::BASE
        },
    ],
    handler: commandlog_get,
    ..Command::BASE
};
fn commandlog_get(ctx: &mut Context<'_, '_>) -> CommandResult {
    let count = count(ctx, 2)?;
    let kind = kind(ctx, 3)?;
    let entries = ctx.server.commandlog.newest(kind, count);
    reply_entries(ctx, &entries);
    Ok(Outcome::Done)
}

pub(crate) const COMMANDLOG_LEN: Command = Command {
    name: "len",
    arity: 3,
    flags: Flags::ADMIN.or(Flags::LOADING).or(Flags::STALE),
    categories: Categories::ADMIN
        .or(Categories::DANGEROUS)
        .or(Categories::SLOW),
    group: Group::Server,
    since: "8.1.0",
    summary: "Counts the entries of one of the logs.",
    complexity: "O(1)",
    hints: &[
        "request_policy:all_nodes",
        "response_policy:agg_sum",
        "nondeterministic_output",
    ],
    args: &[Arg {
        name: "type",
        kind: ArgKind::OneOf,
        args: &[
            Arg {
                name: "slow",
                kind: ArgKind::PureToken,
                token: Some("SLOW"),
                ..Arg::BASE
            },
            Arg {
                name: "large-request",
                kind: ArgKind::PureToken,
                token: Some("LARGE-REQUEST"),
                ..Arg::BASE
            },
            Arg {
                name: "large-reply",
                kind: ArgKind::PureToken,
                token: Some("LARGE-REPLY"),
                ..Arg::BASE
            },
        ],
        ..Arg::BASE
    }],
    handler: commandlog_len,
    ..Command::BASE
};
fn commandlog_len(ctx: &mut Context<'_, '_>) -> CommandResult {
    let len = ctx.server.commandlog.len(kind(ctx, 2)?);
    ctx.reply.integer(len as i64);
    Ok(Outcome::Done)
}

pub(crate) const COMMANDLOG_RESET: Command = Command {
    name: "reset",
    arity: 3,
    flags: Flags::ADMIN.or(Flags::LOADING).or(Flags::STALE),
    categories: Categories::ADMIN
        .or(Categories::DANGEROUS)
        .or(Categories::SLOW),
    group: Group::Server,
    since: "8.1.0",
    summary: "Forgets the entries of one of the logs.",
    complexity: "O(N) in the number of entries",
    hints: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    args: &[Arg {
        name: "type",
        kind: ArgKind::OneOf,
        args: &[
            Arg {
                name: "slow",
                kind: ArgKind::PureToken,
                token: Some("SLOW"),
                ..Arg::BASE
            },
            Arg {
                name: "large-request",
                kind: ArgKind::PureToken,
                token: Some("LARGE-REQUEST"),
                ..Arg::BASE
            },
            Arg {
                name: "large-reply",
                kind: ArgKind::PureToken,
                token: Some("LARGE-REPLY"),
                ..Arg::BASE
            },
        ],
        ..Arg::BASE
    }],
    handler: commandlog_reset,
    ..Command::BASE
};
fn commandlog_reset(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.server.commandlog.reset(kind(ctx, 2)?);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const COMMANDLOG_HELP: Command = Command {
    name: "help",
    arity: 2,
    flags: Flags::LOADING.or(Flags::STALE),
    categories: Categories::SLOW,
    group: Group::Server,
    since: "8.1.0",
    summary: "Lists the subcommands of COMMANDLOG.",
    complexity: "O(1)",
    handler: commandlog_help,
    ..Command::BASE
};
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
