//! FAILOVER.

use crate::replication::{abort_failover, begin_failover, replica_at};
use crate::server::Server;
use crate::state::{Failover, Phase};
use engine::command::{Arg, Flags, Group, Locks};
use engine::context::Context;
use engine::error::CommandError;
use engine::execute::{CommandResult, CommandSpec, Outcome};
use engine::replicas::SyncState;

// All locks: no write is under way when writes are paused, so the offset stands still.
pub(super) const FAILOVER: CommandSpec = CommandSpec::new("failover", -1, failover)
    .locks(Locks::All)
    .group(Group::Server)
    .since("6.2.0")
    .flags(Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::STALE))
    .summary("Starts a coordinated failover from a server to one of its replicas.")
    .complexity("O(1)")
    .args(&[
        Arg::block("target").token("TO").optional().args(&[
            Arg::string("host"),
            Arg::integer("port"),
            Arg::word("force", "FORCE").optional(),
        ]),
        Arg::word("abort", "ABORT").optional(),
        Arg::integer("milliseconds").token("TIMEOUT").optional(),
    ]);

/// The options of the command.
#[derive(Debug, Default)]
struct Options {
    /// Milliseconds; 0: without limit.
    timeout_ms: u64,
    is_forced: bool,
    target: Option<(String, i64)>,
}

fn failover(ctx: &mut Context<'_, '_>) -> CommandResult {
    let server = Server::of(ctx)?;
    if ctx.args.len() == 2 && ctx.is_word(1, "ABORT") {
        if !server.replication.failover.is_active() {
            return Err(CommandError::line("ERR No failover in progress."));
        }
        abort_failover(&server, "Failover manually aborted");
        ctx.reply.ok();
        return Ok(Outcome::Done);
    }
    let options = options(ctx)?;
    let target = check(&server, &options)?;
    let deadline_ms = (options.timeout_ms > 0)
        .then(|| server.engine.steady_ms().saturating_add(options.timeout_ms));
    let failover = Failover {
        phase: Phase::WaitsForSync,
        target,
        deadline_ms,
        is_forced: options.is_forced,
    };
    begin_failover(&server, failover);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

fn options(ctx: &Context<'_, '_>) -> Result<Options, CommandError> {
    let mut options = Options::default();
    let (len, mut index) = (ctx.args.len(), 1);
    while index < len {
        if ctx.is_word(index, "TIMEOUT") && index + 1 < len && options.timeout_ms == 0 {
            options.timeout_ms = u64::try_from(ctx.integer(index + 1)?)
                .ok()
                .filter(|timeout_ms| *timeout_ms > 0)
                .ok_or(CommandError::line(
                    "ERR FAILOVER timeout must be greater than 0",
                ))?;
            index += 2;
        } else if ctx.is_word(index, "TO") && index + 2 < len && options.target.is_none() {
            let host = String::from_utf8_lossy(ctx.arg(index + 1)).into_owned();
            options.target = Some((host, ctx.integer(index + 2)?));
            index += 3;
        } else if ctx.is_word(index, "FORCE") && !options.is_forced {
            options.is_forced = true;
            index += 1;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok(options)
}

/// Whether a failover can begin. Returns its target, which is an online replica.
fn check(server: &Server, options: &Options) -> Result<Option<(String, u16)>, CommandError> {
    if server.replication.failover.is_active() {
        return Err(CommandError::line("ERR FAILOVER already in progress."));
    }
    if server.engine.role.is_replica() {
        return Err(CommandError::line(
            "ERR FAILOVER is not valid when server is a replica.",
        ));
    }
    if server.engine.replicas.count() == 0 {
        return Err(CommandError::line(
            "ERR FAILOVER requires connected replicas.",
        ));
    }
    if options.is_forced && (options.timeout_ms == 0 || options.target.is_none()) {
        return Err(CommandError::line(
            "ERR FAILOVER with force option requires both a timeout and target HOST and IP.",
        ));
    }
    let Some((host, port)) = &options.target else {
        return Ok(None);
    };
    let found = u16::try_from(*port)
        .ok()
        .and_then(|port| Some((replica_at(server, host, port)?, port)));
    let Some((replica, port)) = found else {
        return Err(CommandError::line(
            "ERR FAILOVER target HOST and PORT is not a replica.",
        ));
    };
    match replica.state() {
        SyncState::Online => Ok(Some((host.clone(), port))),
        _ => Err(CommandError::line(
            "ERR FAILOVER target replica is not online.",
        )),
    }
}
