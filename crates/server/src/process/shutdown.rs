//! SHUTDOWN: the end of the process in order.

use std::sync::atomic::Ordering;

use engine::error::CommandError;

use super::signals::{STOPPING, is_interrupted};
use crate::jobs::snapshot;
use crate::server::Server;
use crate::transport::mailbox::Message;

/// Options of SHUTDOWN.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ShutdownOptions {
    /// SAVE: a snapshot even without save points.
    pub save: bool,
    /// NOSAVE.
    pub nosave: bool,
    /// NOW: do not wait for replicas.
    pub now: bool,
    /// FORCE: errors do not matter.
    pub force: bool,
    /// SAFE: only when nothing is lost by it.
    pub safe: bool,
    /// FAILOVER: hand over to a replica first.
    pub failover: bool,
}

/// Begins the end of the process: the log is written, with save points the snapshot too, replies
/// leave, clients are closed. Called without locks held.
///
/// # Errors
/// Something could not be written, and the server goes on.
pub(crate) fn request_shutdown(
    server: &Server,
    options: ShutdownOptions,
) -> Result<(), CommandError> {
    log::warn!("User requested shutdown...");
    server.end_scripts(options.nosave);
    if server.engine.loading.is_active() {
        log::warn!("Received shutdown signal during loading, exiting now.");
        return finish_shutdown(server);
    }
    if !snapshot::stop_running(server, options.force) {
        return Err(shutdown_error());
    }
    if let Err(error) = server.engine.log.flush()
        && !options.force
    {
        log::warn!("Error trying to write the append only file, can't exit: {error}");
        return Err(shutdown_error());
    }
    let has_points = !server.engine.config.save_points().is_empty();
    if options.save || (has_points && !options.nosave) {
        let saved = snapshot::save_before_stop(server, &is_interrupted);
        if saved.is_err() && !options.force {
            log::warn!("Error trying to save the DB, can't exit.");
            return Err(shutdown_error());
        }
        if saved.is_err() {
            log::warn!("Error trying to save the DB. Exit anyway.");
        }
    }
    finish_shutdown(server)
}

/// As [`request_shutdown`] with NOSAVE while a script runs for long: on a thread of its own,
/// because the script may run on the calling one, and has to end first.
pub(crate) fn request_later(server: &Server, options: ShutdownOptions) {
    server.end_scripts(true);
    let Some(server) = server.me.upgrade() else {
        return;
    };
    let thread = std::thread::Builder::new().name("shutdown".to_owned());
    let spawned = thread.spawn(move || {
        // A failure is in the log, and there is no client that it could be told.
        let _ = request_shutdown(&server, options);
    });
    if let Err(error) = spawned {
        log::warn!("Starting the thread that ends the server: {error}");
    }
}

fn finish_shutdown(server: &Server) -> Result<(), CommandError> {
    STOPPING.store(true, Ordering::Release);
    server.shutdown.request(0);
    server.broadcast(|| Message::Stop);
    Ok(())
}

fn shutdown_error() -> CommandError {
    CommandError::line("ERR Errors trying to SHUTDOWN. Check logs.")
}
