//! The log as executions see it: when replies may leave, and whether a write may run.

use std::sync::atomic::Ordering;

use persist::WriteStatus;

use crate::config::P;
use crate::engine::Engine;
use crate::error::CommandError;

/// Writes everything appended so far, for all workers, and returns the offset up to which replies
/// may leave. When the write fails, the replies that depend on it are held back, and the log
/// retries by itself.
pub fn flush(engine: &Engine) -> u64 {
    let log = &engine.log;
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
pub fn admit_write(engine: &Engine) -> Result<(), CommandError> {
    if engine.is_half_changed() {
        return Err(CommandError::line(
            "MISCONF A defect interrupted a change, see the log of the server; writes are refused until a restart",
        ));
    }
    match engine.log.write_status() {
        WriteStatus::Open => Ok(()),
        WriteStatus::Slow => {
            flush(engine);
            Ok(())
        }
        WriteStatus::Refuse => Err(misconf(engine)),
    }
}

#[cold]
fn misconf(engine: &Engine) -> CommandError {
    match engine.log.trouble() {
        Some(trouble) => CommandError::owned(format!("MISCONF {trouble}")),
        None => CommandError::line(
            "MISCONF The AOF file cannot take writes as fast as they come; try again",
        ),
    }
}

/// The error of a write while snapshots are configured and fail (`stop-writes-on-bgsave-error`).
#[inline]
pub fn refused_without_snapshots(engine: &Engine) -> Option<CommandError> {
    match engine.switches.snapshots_fail.load(Ordering::Relaxed) {
        true => unable_to_snapshot(engine),
        false => None,
    }
}

#[cold]
fn unable_to_snapshot(engine: &Engine) -> Option<CommandError> {
    let stops =
        engine.config.bool(P::StopWritesOnBgsaveError) && !engine.config.save_points().is_empty();
    stops.then_some(CommandError::line(
        "MISCONF Lodestore is configured to save RDB snapshots, but it's currently unable to persist to disk. \
         Commands that may modify the data set are disabled, because this instance is configured to report \
         errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the \
         Lodestore logs for details about the RDB error.",
    ))
}
