//! What must hold before a command runs: all checks, in Redis's order.

use std::sync::atomic::Ordering;

use super::{Executor, Request, stats, unknown_command, unknown_subcommand};
use crate::client::{Origin, Session};
use crate::command::Flags;
use crate::error::CommandError;
use crate::server::Server;
use crate::table::Entry;

/// What happens to a request that nothing speaks against.
pub(super) enum Admission {
    Run(&'static Entry),
    Queue(&'static Entry),
    Postpone,
}

/// All checks before execution, in Redis's order (the order decides which error a client sees).
pub(super) fn check(
    exec: &mut Executor,
    server: &Server,
    session: &Session,
    request: Request<'_>,
    holds_locks: bool,
) -> Result<Admission, CommandError> {
    let entry = admit_command(session, request)?;
    let flags = entry.command.flags;
    if session.multi.is_some() && flags.has(Flags::NO_MULTI) {
        return Err(CommandError::owned(format!(
            "ERR Command '{}' not allowed inside a transaction",
            entry.full_name
        )));
    }
    if session.origin == Origin::Replay {
        return Ok(Admission::Run(entry));
    }
    if flags.has(Flags::PROTECTED) {
        crate::commands::check_protected(server, session, entry)?;
    }
    let combined = combined_flags(session, entry);
    if !holds_locks {
        // Eviction locks shards; under held locks memory was not bounded a moment ago.
        check_memory(exec, server, combined)?;
    }
    check_disk(server, entry, combined)?;
    check_replicas(server, combined)?;
    if server.loading.is_active() && !loading_allowed(session, entry) {
        return Err(CommandError::line(
            "LOADING Lodestore is loading the dataset in memory",
        ));
    }
    if server.pause.until_ms() != 0
        && server.pause.is_active(exec.now_ms)
        && (server.pause.is_all() || combined.any(Flags::WRITE.or(Flags::MAY_REPLICATE)))
    {
        return Ok(Admission::Postpone);
    }
    if session.multi.is_some() && !runs_inside_multi(entry) {
        return Ok(Admission::Queue(entry));
    }
    Ok(Admission::Run(entry))
}

/// The command exists, its arity fits and the client may use it.
fn admit_command(session: &Session, request: Request<'_>) -> Result<&'static Entry, CommandError> {
    if !session.is_authenticated() {
        let open = match request.entry {
            Ok(Some(entry)) => entry.command.flags.has(Flags::NO_AUTH),
            _ => false,
        };
        if !open {
            return Err(CommandError::line("NOAUTH Authentication required."));
        }
    }
    let entry = match request.entry {
        Ok(Some(entry)) => entry,
        Ok(None) => return Err(CommandError::Bytes(unknown_command(request.args))),
        Err(container) => {
            return Err(CommandError::Bytes(unknown_subcommand(
                container.command.name,
                request.args.arg(1),
            )));
        }
    };
    if !entry.command.arity_fits(request.args.len()) {
        return Err(CommandError::Arity(entry.full_name.into()));
    }
    Ok(entry)
}

/// The flags of a command; of EXEC also those of everything it will run.
fn combined_flags(session: &Session, entry: &Entry) -> Flags {
    let mut flags = entry.command.flags;
    if let Some(multi) = &session.multi
        && entry.is_exec
    {
        for queued in &multi.queue {
            flags = flags.or(queued.entry.command.flags);
        }
    }
    flags
}

fn check_memory(exec: &mut Executor, server: &Server, flags: Flags) -> Result<(), CommandError> {
    if server.switches.max_memory.load(Ordering::Relaxed) == 0 {
        return Ok(());
    }
    let full = !crate::evict::make_room(exec, server);
    if full && flags.has(Flags::DENYOOM) {
        stats(server, exec.worker).oom_rejected.add(1);
        return Err(CommandError::line(
            "OOM command not allowed when used memory > 'maxmemory'.",
        ));
    }
    Ok(())
}

fn check_disk(server: &Server, entry: &Entry, flags: Flags) -> Result<(), CommandError> {
    if flags.has(Flags::WRITE) || entry.command.flags.has(Flags::REFUSED_WITH_WRITES) {
        if let Some(error) = crate::snapshot::refuses_writes(server) {
            return Err(error);
        }
        return crate::durability::admit_write(server);
    }
    Ok(())
}

/// There are no replicas yet, so any number of them that is asked for is too many.
fn check_replicas(server: &Server, flags: Flags) -> Result<(), CommandError> {
    if flags.has(Flags::WRITE) && server.switches.needs_replicas.load(Ordering::Relaxed) {
        return Err(CommandError::line(
            "NOREPLICAS Not enough good replicas to write.",
        ));
    }
    Ok(())
}

fn loading_allowed(session: &Session, entry: &Entry) -> bool {
    let allowed = |entry: &Entry| entry.command.flags.has(Flags::LOADING);
    match &session.multi {
        Some(multi) if entry.is_exec => multi.queue.iter().all(|queued| allowed(queued.entry)),
        _ => allowed(entry),
    }
}

fn runs_inside_multi(entry: &Entry) -> bool {
    entry.command.flags.has(Flags::RUNS_IN_MULTI)
}
