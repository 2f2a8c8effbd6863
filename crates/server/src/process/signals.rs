//! SIGINT and SIGTERM: handlers set a flag, the timers act on it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use engine::config::{P, shutdown as bits};

use super::shutdown::{ShutdownOptions, request_shutdown};
use crate::server::Server;

/// Set by SIGINT and SIGTERM, taken by the timers.
static SIGNALS: LazyLock<[Arc<AtomicBool>; 2]> = LazyLock::new(Default::default);

/// True once a shutdown is under way: another SIGINT then ends the process at once, as in Redis.
pub(super) static STOPPING: LazyLock<Arc<AtomicBool>> = LazyLock::new(Default::default);

/// Makes SIGINT and SIGTERM end the process in order.
pub fn handle_signals() -> io::Result<()> {
    signal_hook::flag::register_conditional_shutdown(libc::SIGINT, 1, Arc::clone(&STOPPING))?;
    for (flag, signal) in SIGNALS.iter().zip([libc::SIGINT, libc::SIGTERM]) {
        signal_hook::flag::register(signal, Arc::clone(flag))?;
    }
    Ok(())
}

/// SHUTDOWN ABORT: clears signals that the timers have not acted on yet. False when there were
/// none.
pub(crate) fn abort_shutdown() -> bool {
    let mut aborted = false;
    for flag in SIGNALS.iter() {
        aborted |= flag.swap(false, Ordering::AcqRel);
    }
    if aborted {
        log::warn!("Shutdown manually aborted.");
    }
    aborted
}

/// Another SIGINT has come while the timers act on an earlier signal.
pub(super) fn is_interrupted() -> bool {
    SIGNALS[0].load(Ordering::Acquire)
}

/// Shuts the server down when a signal has come since the last look.
pub(super) fn check_signals(server: &Server) {
    for (slot, name, parameter) in [
        (0_usize, "SIGINT", P::ShutdownOnSigint),
        (1, "SIGTERM", P::ShutdownOnSigterm),
    ] {
        let got = SIGNALS
            .get(slot)
            .is_some_and(|flag| flag.swap(false, Ordering::AcqRel));
        if !got || server.shutdown.is_requested() {
            continue;
        }
        log::warn!("Received {name} scheduling shutdown...");
        let asked = server.engine.config.int(parameter);
        let options = ShutdownOptions {
            save: asked & bits::SAVE != 0,
            nosave: asked & bits::NOSAVE != 0,
            now: asked & bits::NOW != 0,
            force: asked & bits::FORCE != 0,
            safe: asked & bits::SAFE != 0,
            failover: asked & bits::FAILOVER != 0,
        };
        if request_shutdown(server, options).is_err() {
            log::warn!(
                "Errors trying to shut down the server. Check the logs for more information."
            );
        }
    }
}
