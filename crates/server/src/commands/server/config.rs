//! CONFIG.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::config::users::lines;
use crate::config::{Extent, rewrite, rewrite_locked};
use crate::server::Server;
use engine::command::{Arg, Flags, Group, Locks};
use engine::config::{Apply, Config, P, SetContext};
use engine::context::Context;
use engine::error::CommandError;
use engine::execute::{CommandResult, CommandSpec, Outcome};
use engine::stats::WorkerStats;
use engine::users::{DEFAULT_USER, Rules};

pub(crate) const CONFIG: CommandSpec = CommandSpec::container("config", -2)
    .group(Group::Server)
    .since("2.0.0")
    .summary("A container for commands about the configuration.")
    .complexity("Depends on the subcommand")
    .subcommands(&[
        &CONFIG_GET,
        &CONFIG_HELP,
        &CONFIG_RESETSTAT,
        &CONFIG_REWRITE,
        &CONFIG_SET,
    ]);

pub(crate) const CONFIG_GET: CommandSpec = CommandSpec::new("get", -3, config_get)
    .group(Group::Server)
    .since("2.0.0")
    .flags(Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::ANY_TIME))
    .summary("Returns parameters and their values.")
    .complexity("O(N) in the number of parameters")
    .args(&[Arg::string("parameter").multiple()]);
fn config_get(ctx: &mut Context<'_, '_>) -> CommandResult {
    let patterns: Vec<&[u8]> = ctx.args.skip(2).iter().collect();
    let found = ctx.engine.config.get(&patterns);
    ctx.reply.map(found.len());
    for (name, value) in &found {
        ctx.reply.bulk(name);
        ctx.reply.bulk(value);
    }
    Ok(Outcome::Done)
}

/// Puts changed parameters into effect in the parts of the server that use them.
struct Applier<'a> {
    server: &'a Server,
    in_transaction: bool,
    /// The rules of the default user before `requirepass` was applied.
    rules_before: Option<Arc<Rules>>,
}

impl Applier<'_> {
    /// Gives the default user its password. The second call takes the first one back: the user may
    /// have had other passwords than that of `requirepass`.
    fn apply_password(&mut self) {
        let engine = &self.server.engine;
        match self.rules_before.take() {
            Some(rules) => {
                let _changing = engine.users.lock_changes();
                engine
                    .users
                    .put(DEFAULT_USER.as_bytes(), Rules::clone(&rules));
            }
            None => {
                self.rules_before = Some(engine.users.default_user().rules());
                let password = engine.config.bytes(P::RequirePass);
                engine.users.set_default_password(&password);
            }
        }
    }
}

impl Apply for Applier<'_> {
    fn apply(&mut self, _: &Config, id: P) -> Result<(), String> {
        if id == P::RequirePass {
            self.apply_password();
            return Ok(());
        }
        if self.in_transaction && id == P::AppendOnly {
            return switch_log_later(self.server);
        }
        crate::process::apply::apply_parameter(self.server, id)
    }
}

/// Turning the log on or off needs all locks, which EXEC holds already, and must not fall between
/// the commands of a transaction, whose effects are logged together.
fn switch_log_later(server: &Server) -> Result<(), String> {
    let server = server.me.upgrade().ok_or("the server is shutting down")?;
    let job = Arc::clone(&server);
    server.engine.lazy.run(move || {
        // The value cannot change between the look at it and what follows from it.
        let _changes = job.engine.config.lock_changes();
        let on = job.engine.config.bool(P::AppendOnly);
        if let Err(error) = crate::jobs::rewrite::switch(&job, on) {
            log::warn!(
                "Changing appendonly after a transaction failed, it is tried again: {error}"
            );
        }
    });
    log::info!("AOF background was scheduled by CONFIG SET in a transaction");
    Ok(())
}

pub(crate) const CONFIG_SET: CommandSpec = CommandSpec::new("set", -4, config_set)
    .group(Group::Server)
    .since("2.0.0")
    .flags(Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::ANY_TIME))
    .flags(Flags::LOCKS_CONFIG)
    .summary("Changes parameters of the running server, all of them or none.")
    .complexity("O(N) in the number of parameters")
    .hints(&["request_policy:all_nodes", "response_policy:all_succeeded"])
    .locks(Locks::Own)
    .secrets(|args, index| {
        index >= 3 && index % 2 == 1 && Config::is_sensitive(args.arg(index - 1))
    })
    .args(&[Arg::block("data")
        .multiple()
        .args(&[Arg::string("parameter"), Arg::VALUE])]);
fn config_set(ctx: &mut Context<'_, '_>) -> CommandResult {
    let pairs: Vec<&[u8]> = ctx.args.skip(2).iter().collect();
    let context = SetContext {
        loading: ctx.engine.loading.is_active(),
        client_is_local: ctx.session.shared.peer.is_local(),
        is_locked: ctx.is_nested(),
    };
    let server = Server::of(ctx)?;
    let mut applier = Applier {
        server: &server,
        in_transaction: ctx.is_nested(),
        rules_before: None,
    };
    ctx.engine
        .config
        .set(&pairs, context, &mut applier)
        .map_err(|error| CommandError::Bytes(error.to_string().into_bytes()))?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const CONFIG_REWRITE: CommandSpec = CommandSpec::new("rewrite", 2, config_rewrite)
    .group(Group::Server)
    .since("2.8.0")
    .flags(Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::ANY_TIME))
    .flags(Flags::LOCKS_CONFIG)
    .summary("Rewrites the configuration file with the configuration in memory.")
    .complexity("O(1)")
    .hints(&["request_policy:all_nodes", "response_policy:all_succeeded"]);
fn config_rewrite(ctx: &mut Context<'_, '_>) -> CommandResult {
    let users = lines(ctx.engine);
    let write = match ctx.is_nested() {
        true => rewrite_locked,
        false => rewrite,
    };
    write(&ctx.engine.config, Some(&users), Extent::Needed)
        .map_err(|error| CommandError::owned(error.to_string()))?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const CONFIG_RESETSTAT: CommandSpec = CommandSpec::new("resetstat", 2, config_resetstat)
    .group(Group::Server)
    .since("2.0.0")
    .flags(Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::ANY_TIME))
    .summary("Resets the statistics of INFO.")
    .complexity("O(1)")
    .hints(&["request_policy:all_nodes", "response_policy:all_succeeded"]);
fn config_resetstat(ctx: &mut Context<'_, '_>) -> CommandResult {
    let server = Server::of(ctx)?;
    server.engine.workers().for_each(WorkerStats::reset);
    server.engine.errors.reset();
    server.engine.scripts.reset_evicted();
    server.metrics.reset();
    server.engine.memory_excess.reset();
    server.engine.outboxes.reset_statistics();
    server.replication.reset_statistics();
    server.engine.replicas.reset_statistics();
    server.engine.lazy.reset_freed();
    server.snapshots.reset();
    server.tls.denied_certificates.store(0, Ordering::Relaxed);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const CONFIG_HELP: CommandSpec = CommandSpec::new("help", 2, config_help)
    .group(Group::Server)
    .since("5.0.0")
    .flags(Flags::ANY_TIME)
    .summary("Lists the subcommands of CONFIG.")
    .complexity("O(1)");
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
