//! CONFIG.

use std::sync::Arc;

use crate::command::{
    Arg, ArgKind, Categories, Command, CommandResult, Flags, Group, Locks, Outcome,
};
use crate::config::{Apply, Config, P, SetContext};
use crate::context::Context;
use crate::error::CommandError;
use crate::server::Server;

pub(crate) const CONFIG: Command = Command {
    name: "config",
    arity: -2,
    flags: Flags::NONE,
    categories: Categories::SLOW,
    group: Group::Server,
    since: "2.0.0",
    summary: "A container for commands about the configuration.",
    complexity: "Depends on the subcommand",
    subcommands: &[
        &CONFIG_GET,
        &CONFIG_HELP,
        &CONFIG_RESETSTAT,
        &CONFIG_REWRITE,
        &CONFIG_SET,
    ],
    ..Command::BASE
};

pub(crate) const CONFIG_GET: Command = Command {
    name: "get",
    arity: -3,
    flags: Flags::ADMIN
        .or(Flags::NOSCRIPT)
        .or(Flags::LOADING)
        .or(Flags::STALE),
    categories: Categories::ADMIN
        .or(Categories::DANGEROUS)
        .or(Categories::SLOW),
    group: Group::Server,
    since: "2.0.0",
    summary: "Returns parameters and their values.",
    complexity: "O(N) in the number of parameters",
    args: &[Arg {
        name: "parameter",
        kind: ArgKind::String,
        multiple: true,
        ..Arg::BASE
    }],
    handler: config_get,
    ..Command::BASE
};
fn config_get(ctx: &mut Context<'_, '_>) -> CommandResult {
    let patterns: Vec<&[u8]> = ctx.args.skip(2).iter().collect();
    let found = ctx.server.config.get(&patterns);
    ctx.reply.map(found.len());
    for (name, value) in &found {
        ctx.reply.bulk(name);
        ctx.reply.bulk(value);
    }
    Ok(Outcome::Done)
}

/// Hands changed parameters to those parts of the server that have to do something about them.
struct Applier<'a> {
    server: &'a Server,
    in_transaction: bool,
}

impl Apply for Applier<'_> {
    fn apply(&mut self, _: &Config, id: P) -> Result<(), String> {
        if self.in_transaction && id == P::AppendOnly {
            return switch_log_later(self.server);
        }
        crate::start::apply_parameter(self.server, id)
    }
}

/// Turning the log on or off needs all locks, which EXEC holds already, and must not fall between the
/// commands of a transaction, whose effects are logged together.
fn switch_log_later(server: &Server) -> Result<(), String> {
    let server = server.me.upgrade().ok_or("the server is shutting down")?;
    let job = Arc::clone(&server);
    server.lazy.run(move || {
        let on = job.config.bool(P::AppendOnly);
        if let Err(error) = crate::rewrite::switch(&job, on) {
            log::error!("Changing appendonly after a transaction failed: {error}");
        }
    });
    log::info!("AOF background was scheduled by CONFIG SET in a transaction");
    Ok(())
}

pub(crate) const CONFIG_SET: Command = Command {
    name: "set",
    arity: -4,
    flags: Flags::ADMIN
        .or(Flags::NOSCRIPT)
        .or(Flags::LOADING)
        .or(Flags::STALE),
    categories: Categories::ADMIN
        .or(Categories::DANGEROUS)
        .or(Categories::SLOW),
    locks: Locks::Own,
    group: Group::Server,
    since: "2.0.0",
    summary: "Changes parameters of the running server, all of them or none.",
    complexity: "O(N) in the number of parameters",
    hints: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    args: &[Arg {
        name: "data",
        kind: ArgKind::Block,
        multiple: true,
        args: &[
            Arg {
                name: "parameter",
                kind: ArgKind::String,
                ..Arg::BASE
            },
            Arg {
                name: "value",
                kind: ArgKind::String,
                ..Arg::BASE
            },
        ],
        ..Arg::BASE
    }],
    handler: config_set,
    ..Command::BASE
};
fn config_set(ctx: &mut Context<'_, '_>) -> CommandResult {
    let pairs: Vec<&[u8]> = ctx.args.skip(2).iter().collect();
    let context = SetContext {
        loading: ctx.server.loading.is_active(),
        client_is_local: ctx.session.shared.is_local(),
    };
    let mut applier = Applier {
        server: ctx.server,
        in_transaction: ctx.is_nested(),
    };
    ctx.server
        .config
        .set(&pairs, context, &mut applier)
        .map_err(|error| CommandError::Bytes(error.to_string().into_bytes()))?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const CONFIG_REWRITE: Command = Command {
    name: "rewrite",
    arity: 2,
    flags: Flags::ADMIN
        .or(Flags::NOSCRIPT)
        .or(Flags::LOADING)
        .or(Flags::STALE),
    categories: Categories::ADMIN
        .or(Categories::DANGEROUS)
        .or(Categories::SLOW),
    group: Group::Server,
    since: "2.8.0",
    summary: "Writes the running configuration into the file the server was started with.",
    complexity: "O(1)",
    hints: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    handler: config_rewrite,
    ..Command::BASE
};
fn config_rewrite(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.server
        .config
        .rewrite(None, false)
        .map_err(|error| CommandError::owned(error.to_string()))?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const CONFIG_RESETSTAT: Command = Command {
    name: "resetstat",
    arity: 2,
    flags: Flags::ADMIN
        .or(Flags::NOSCRIPT)
        .or(Flags::LOADING)
        .or(Flags::STALE),
    categories: Categories::ADMIN
        .or(Categories::DANGEROUS)
        .or(Categories::SLOW),
    group: Group::Server,
    since: "2.0.0",
    summary: "Sets the statistics that INFO shows back to zero.",
    complexity: "O(1)",
    hints: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    handler: config_resetstat,
    ..Command::BASE
};
fn config_resetstat(ctx: &mut Context<'_, '_>) -> CommandResult {
    let server = ctx.server;
    server
        .workers
        .iter()
        .for_each(|worker| worker.stats.reset());
    server.errors.reset();
    server.metrics.reset();
    server.lazy.reset_freed();
    server.snapshots.reset();
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const CONFIG_HELP: Command = Command {
    name: "help",
    arity: 2,
    flags: Flags::LOADING.or(Flags::STALE),
    categories: Categories::SLOW,
    group: Group::Server,
    since: "5.0.0",
    summary: "Lists the subcommands of CONFIG.",
    complexity: "O(1)",
    handler: config_help,
    ..Command::BASE
};
fn config_help(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.help(&[
        "GET <pattern> [<pattern> ...]",
        "    Parameters whose names match, with their values.",
        "SET <parameter> <value> [<parameter> <value> ...]",
        "    Changes parameters, all or none.",
        "RESETSTAT",
        "    Sets the statistics of INFO back to zero.",
        "REWRITE",
        "    Writes the running configuration into its file.",
    ]);
    Ok(Outcome::Done)
}
