//! SHUTDOWN: the end of the process in order.
//!
//! ```text
//! SHUTDOWN, SIGTERM   no replica, all in sync, NOW: the end begins at once
//!                     else writes are paused under the locks of all data, replicas are asked
//! timers              all acknowledge the offset, or shutdown-timeout is over: the end begins
//! the end             log, snapshot, threads stop; an error cancels: callers are told
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering;

use engine::client::ClientShared;
use engine::config::P;
use engine::error::CommandError;
use engine::port::{Port, Unblocked};
use engine::replicas::{Replica, SyncState};

use super::signals::{BY_SIGNAL, STOPPING, is_interrupted};
use crate::jobs::snapshot;
use crate::server::Server;
use crate::state::ShutdownOptions;
use crate::transport::mailbox::Message;

/// What becomes of a request to shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begun {
    /// The server ends now.
    Ends,
    /// It waits for replicas; the caller gets an error when it goes on after all.
    Waits,
}

const FAILED: &str = "ERR Errors trying to SHUTDOWN. Check logs.";

/// Begins the end of the process: replicas are waited for, the log is written, with save points the
/// snapshot too, replies leave, clients are closed. Called without locks held.
///
/// # Errors
/// Something could not be written, and the server goes on.
pub(crate) fn request_shutdown(
    server: &Server,
    options: ShutdownOptions,
    caller: Option<&Arc<ClientShared>>,
) -> Result<Begun, CommandError> {
    if !server.shutdown.begin(caller) {
        return Ok(Begun::Waits);
    }
    match caller {
        Some(client) => {
            let hides = server.engine.config.bool(P::HideUserDataFromLog);
            log::info!(
                "User requested shutdown... (user request from '{}')",
                client.describe(hides)
            );
        }
        None => log::info!("User requested shutdown..."),
    }
    server.end_scripts(options.nosave);
    if server.engine.loading.is_active() {
        log::warn!("Received shutdown signal during loading, exiting now.");
        stop(server);
        return Ok(Begun::Ends);
    }
    if waits_for_replicas(server, options, caller) {
        return Ok(Begun::Waits);
    }
    finish(server, options).map(|()| Begun::Ends)
}

/// As [`request_shutdown`] with NOSAVE while a script runs for long: on a thread of its own,
/// because the script may run on the calling one, and has to end first.
pub(crate) fn request_later(
    server: &Server,
    options: ShutdownOptions,
    caller: &Arc<ClientShared>,
) -> Result<(), CommandError> {
    server.end_scripts(true);
    let (Some(server), caller) = (server.me.upgrade(), Arc::clone(caller)) else {
        return Ok(());
    };
    let thread = std::thread::Builder::new().name("shutdown".to_owned());
    let spawned = thread.spawn(move || {
        if request_shutdown(&server, options, Some(&caller)).is_err() {
            server.shutdown.refuse(&caller);
        }
    });
    spawned.map(|_| ()).map_err(|error| {
        log::warn!("Starting the thread that ends the server: {error}");
        CommandError::line(FAILED)
    })
}

/// Called by the timers: finishes a shutdown whose wait for replicas is over, and tells the callers
/// of one that was given up.
pub(super) fn check(server: &Server, steady_ms: u64) {
    let port = server.engine.outboxes.port.get();
    server.shutdown.tell_refused(|caller| {
        let ended = caller.wait.end_firm();
        if ended {
            port.unblock(caller, Unblocked::Error(FAILED));
        }
        ended || caller.kill.load(Ordering::Acquire)
    });
    let Some(until_ms) = server.shutdown.waits_until_ms() else {
        return;
    };
    if (steady_ms >= until_ms || is_in_sync(server))
        && let Some(options) = server.shutdown.resume()
    {
        // A failure is in the log, and all callers are told.
        let _ = finish(server, options);
    }
}

/// SHUTDOWN ABORT. False when no shutdown waits.
pub(crate) fn abort(server: &Server) -> bool {
    let aborted = server.shutdown.abort();
    if aborted {
        go_on(server);
    }
    let forgotten = super::signals::forget_stop();
    if aborted || forgotten {
        log::info!("Shutdown manually aborted.");
    }
    aborted || forgotten
}

/// All replicas have acknowledged all of the stream.
fn is_in_sync(server: &Server) -> bool {
    let end = server.engine.log.stream_offset();
    let replicas = server.engine.replicas.all();
    replicas.iter().all(|it| it.acknowledged() == end)
}

/// Pauses writes, and returns whether replicas are to be waited for.
fn waits_for_replicas(
    server: &Server,
    options: ShutdownOptions,
    caller: Option<&Arc<ClientShared>>,
) -> bool {
    let engine = &server.engine;
    let timeout_ms = engine.config.int(P::ShutdownTimeout).max(0) as u64 * 1000;
    if options.now || timeout_ms == 0 || engine.replicas.count() == 0 {
        return false;
    }
    // No write is under way while all shards are locked, and none begins before the end.
    let _locked = engine.keyspace.lock_all();
    let may_ask = !engine.is_paused();
    engine.pause.set_shutdown(true);
    engine.admission_epoch.fetch_add(1, Ordering::AcqRel);
    if is_in_sync(server) {
        return false;
    }
    if may_ask {
        engine.append_to_stream(&[b"REPLCONF", b"GETACK", b"*"]);
    }
    let until_ms = engine.steady_ms().saturating_add(timeout_ms);
    server.shutdown.wait(options, until_ms, caller);
    log::info!("Waiting for replicas before shutting down.");
    server.replication.wake();
    true
}

/// Ends the server, unless something cannot be written.
fn finish(server: &Server, options: ShutdownOptions) -> Result<(), CommandError> {
    report_replicas(server);
    if let Err(error) = write_all(server, options) {
        log::warn!("Errors trying to shut down the server. Check the logs for more information.");
        server.shutdown.cancel();
        go_on(server);
        return Err(error);
    }
    stop(server);
    Ok(())
}

/// The server goes on after a shutdown that was given up.
fn go_on(server: &Server) {
    BY_SIGNAL.store(false, Ordering::Release);
    server.engine.pause.set_shutdown(false);
    server.resume();
    // Its timers tell the callers.
    if let Some(worker) = server.workers.first() {
        worker.mailbox.wake();
    }
}

fn report_replicas(server: &Server) {
    let replicas = server.engine.replicas.all();
    let (end, steady_ms) = (server.engine.log.stream_offset(), server.engine.steady_ms());
    let is_behind = |it: &&Arc<Replica>| it.acknowledged() != end;
    let behind: Vec<_> = replicas.iter().filter(is_behind).collect();
    for replica in &behind {
        let (port, state) = (replica.setup.port, replica.state());
        let port = match port {
            0 => "<unknown-replica-port>".to_owned(),
            port => port.to_string(),
        };
        log::info!(
            "Lagging replica {}:{port} reported offset {} behind master, lag={}, state={}.",
            replica.ip(),
            end.saturating_sub(replica.acknowledged()),
            match state {
                SyncState::Online => replica.lag_s(steady_ms),
                _ => 0,
            },
            state.word()
        );
    }
    if !replicas.is_empty() {
        log::info!(
            "{} of {} replicas are in sync when shutting down.",
            replicas.len() - behind.len(),
            replicas.len()
        );
    }
}

fn write_all(server: &Server, options: ShutdownOptions) -> Result<(), CommandError> {
    const ERROR: CommandError = CommandError::line(FAILED);
    if !snapshot::stop_running(server, options.force) {
        return Err(ERROR);
    }
    if let Err(error) = server.engine.log.flush()
        && !options.force
    {
        log::warn!("Error trying to write the append only file, can't exit: {error}");
        return Err(ERROR);
    }
    let has_points = !server.engine.config.save_points().is_empty();
    if options.save || (has_points && !options.nosave) {
        let saved = snapshot::save_before_stop(server, &is_interrupted);
        if saved.is_err() && !options.force {
            log::warn!("Error trying to save the DB, can't exit.");
            return Err(ERROR);
        }
        if saved.is_err() {
            log::warn!("Error trying to save the DB. Exit anyway.");
        }
    }
    Ok(())
}

fn stop(server: &Server) {
    STOPPING.store(true, Ordering::Release);
    server.shutdown.settle();
    server.shutdown.request(0);
    server.broadcast(|| Message::Stop);
}
