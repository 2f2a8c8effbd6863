//! The server's side of the log: when replies may leave, what a broken disk means, loading again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use keyspace::Locked;
use persist::WriteStatus;
use resp::Output;

use crate::client::{ClientShared, Origin, Session};
use crate::config::P;
use crate::dispatch::{self, Executor, Request};
use crate::error::CommandError;
use crate::loading::{self, Present, Replay, Rules, SnapshotError};
use crate::server::Server;
use crate::snapshot;

/// Writes everything appended so far, for all workers, and returns the offset up to which replies may
/// leave. A disk that refuses holds back the replies that depend on it; the log retries by itself.
pub fn flush(server: &Server) -> u64 {
    let log = &server.log;
    if log.written() < log.appended()
        && let Err(error) = log.flush()
    {
        // The log has reported it already; replies stay held until it recovers.
        log::debug!("Flushing the log: {error}");
    }
    log.acknowledged()
}

/// Whether a write may run: not while the log cannot be written, or after a defect left keys in an
/// unknown state.
#[inline]
pub fn admit_write(server: &Server) -> Result<(), CommandError> {
    if server.switches.half_changed.load(Ordering::Relaxed) {
        return Err(CommandError::line(
            "MISCONF A command failed half-way through its changes; writes are refused until a restart",
        ));
    }
    match server.log.write_status() {
        WriteStatus::Open => Ok(()),
        WriteStatus::Slow => {
            flush(server);
            Ok(())
        }
        WriteStatus::Refuse => Err(misconf(server)),
    }
}

#[cold]
fn misconf(server: &Server) -> CommandError {
    match server.log.trouble() {
        Some(trouble) => CommandError::owned(format!("MISCONF {trouble}")),
        None => CommandError::line(
            "MISCONF The AOF file cannot take writes as fast as they come; try again",
        ),
    }
}

/// A session for commands that come from files.
pub fn replay_session(server: &Server) -> Session {
    let shared = ClientShared::new(0, String::new(), String::new(), -1, server.now_ms(), 0);
    Session::new(Arc::new(shared), Origin::Replay, true)
}

/// What DEBUG RELOAD does.
#[derive(Clone, Copy, Debug)]
pub struct Reload {
    /// Write the snapshot first.
    pub save: bool,
    /// Empty the server before the snapshot is loaded.
    pub flush: bool,
    /// The snapshot wins over keys that are there; else they are an error.
    pub merge: bool,
}

/// DEBUG RELOAD: saves the snapshot and loads it again. Called without locks held.
pub fn reload(server: &Server, what: Reload) -> Result<(), CommandError> {
    let mut locked = server.keyspace.lock_all();
    if what.save {
        snapshot::save(server, &locked, 0)
            .map_err(|reason| CommandError::owned(format!("ERR {reason}")))?;
    }
    let path = server.config.path(P::DbFileName).unwrap_or_default();
    let failed = |error: SnapshotError| {
        log::warn!("{error}");
        CommandError::line("ERR Error trying to load the RDB dump, check server logs.")
    };
    loading::check_head(server, &path).map_err(failed)?;
    if what.flush {
        log::info!("RDB signature and version check passed. Flushing old data");
        clear(server, &mut locked);
    }
    let rules = Rules {
        drop_expired: true,
        present: match what.merge {
            true => Present::Replace,
            false => Present::Refuse,
        },
    };
    loading::load_snapshot(server, &path, Some(&mut locked), rules)
        .map(|_| ())
        .map_err(failed)
}

/// DEBUG LOADAOF: empties the server and loads the log again. Called without locks held.
pub fn load_again(server: &Server) -> Result<(), CommandError> {
    // A rewrite that is under way has the directory of the log.
    if !crate::rewrite::stop(server) {
        return Err(CommandError::line(
            "ERR Error trying to load the AOF files, check server logs: a rewrite does not end",
        ));
    }
    let mut locked = server.keyspace.lock_all();
    let was_enabled = server.log.is_enabled();
    server.log.disable();
    clear(server, &mut locked);
    let mut replay = Replay::new(server, Some(&mut locked));
    let result = server
        .log
        .load(&mut replay)
        .map_err(|error| error.to_string());
    let result = result.and_then(|_| replay.finish());
    if !was_enabled {
        server.log.disable();
    }
    match result {
        Ok(_) => Ok(()),
        Err(error) => Err(CommandError::owned(format!(
            "ERR Error trying to load the AOF files, check server logs: {error}"
        ))),
    }
}

fn clear(server: &Server, locked: &mut Locked<'_>) {
    for shard in locked.shards_mut() {
        for db in 0..server.keyspace.databases() {
            drop(shard.clear(db));
        }
    }
}

/// Runs one command of a file under locks that are held already.
pub fn replay(
    exec: &mut Executor,
    server: &Server,
    session: &mut Session,
    args: resp::Args<'_>,
    locked: &mut Locked<'_>,
) -> Result<(), String> {
    let request = Request::new(server, args);
    let Ok(Some(entry)) = request.entry else {
        return Err(format!(
            "Unknown command '{}' reading the append only file",
            String::from_utf8_lossy(args.arg(0))
        ));
    };
    if !entry.command.arity_fits(args.len()) {
        return Err(format!(
            "wrong number of arguments for '{}'",
            entry.full_name
        ));
    }
    let mut out = Output::new();
    exec.effects.reset(false);
    exec.ready.clear();
    let result = dispatch::execute(
        exec,
        server,
        session,
        entry,
        args,
        &[],
        locked,
        &mut out,
        false,
    );
    result
        .map(|_| ())
        .map_err(|error| String::from_utf8_lossy(&error.text()).into_owned())
}
