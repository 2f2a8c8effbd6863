//! Signals: handlers set a flag and wake the first worker, whose timers act on it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use engine::config::{P, shutdown as bits};
use signal_hook::iterator::Signals;

use super::shutdown::request_shutdown;
use crate::server::Server;
use crate::state::ShutdownOptions;

/// SIGINT, SIGTERM and SIGHUP: set by handlers, taken by the timers.
static SIGNALS: LazyLock<[Arc<AtomicBool>; 3]> = LazyLock::new(Default::default);

/// The handled signals as a stream, for the thread that wakes the first worker.
static STREAM: Mutex<Option<Signals>> = Mutex::new(None);

/// True once a shutdown is under way: another SIGINT then ends the process at once, as in Redis.
pub(super) static STOPPING: LazyLock<Arc<AtomicBool>> = LazyLock::new(Default::default);

/// A signal has begun the shutdown under way: a SIGINT then ends the process without replicas and
/// snapshots.
pub(super) static BY_SIGNAL: AtomicBool = AtomicBool::new(false);

/// Makes SIGINT and SIGTERM end the process in order, SIGHUP open the log file anew, and ignores
/// what else would end the process by default.
pub fn handle_signals() -> io::Result<()> {
    const HANDLED: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];
    crate::os::ignore_unused_signals();
    signal_hook::flag::register_conditional_shutdown(libc::SIGINT, 1, Arc::clone(&STOPPING))?;
    for (flag, signal) in SIGNALS.iter().zip(HANDLED) {
        signal_hook::flag::register(signal, Arc::clone(flag))?;
    }
    // Behind the flags, which are set when the stream has the signal.
    *STREAM.lock().unwrap_or_else(PoisonError::into_inner) = Some(Signals::new(HANDLED)?);
    Ok(())
}

/// Starts the thread that wakes the first worker on each signal. Without [`handle_signals`] there
/// is none.
pub(crate) fn wake_on_signals(server: &Arc<Server>) -> io::Result<()> {
    let stream = STREAM.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut signals) = stream else {
        return Ok(());
    };
    let server = Arc::downgrade(server);
    let thread = std::thread::Builder::new().name("signals".to_owned());
    thread.spawn(move || {
        for _ in signals.forever() {
            let Some(server) = server.upgrade() else {
                return;
            };
            if let Some(worker) = server.workers.first() {
                worker.mailbox.wake();
            }
        }
    })?;
    Ok(())
}

/// SHUTDOWN ABORT: clears signals that the timers have not acted on yet. False when there were
/// none.
pub(super) fn forget_stop() -> bool {
    let [interrupt, terminate, _] = &*SIGNALS;
    let mut forgotten = false;
    for flag in [interrupt, terminate] {
        forgotten |= flag.swap(false, Ordering::AcqRel);
    }
    forgotten
}

/// SIGINT or SIGTERM has come, and the timers have not acted on it yet.
pub(crate) fn is_stop_asked() -> bool {
    let [interrupt, terminate, _] = &*SIGNALS;
    interrupt.load(Ordering::Acquire) || terminate.load(Ordering::Acquire)
}

/// Another SIGINT has come while the timers act on an earlier signal.
pub(super) fn is_interrupted() -> bool {
    SIGNALS[0].load(Ordering::Acquire)
}

/// Acts on the signals that have come since the last look.
pub(super) fn check_signals(server: &Server) {
    let is_set = |flag: &Arc<AtomicBool>| flag.load(Ordering::Relaxed);
    if !SIGNALS.iter().any(is_set) {
        return;
    }
    if SIGNALS[2].swap(false, Ordering::AcqRel) {
        log::info!("Received SIGHUP, opening the log file anew");
        crate::observe::logging::reopen();
        if let Err(reason) = crate::observe::audit::open(&server.engine) {
            log::warn!("{reason}");
        }
    }
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
        // A shutdown by signal waits for replicas.
        if slot == 0 && BY_SIGNAL.load(Ordering::Acquire) {
            log::warn!("You insist... exiting now.");
            std::process::exit(1);
        }
        log::warn!("Received {name} scheduling shutdown...");
        BY_SIGNAL.store(true, Ordering::Release);
        let asked = server.engine.config.int(parameter);
        let options = ShutdownOptions {
            save: asked & bits::SAVE != 0,
            nosave: asked & bits::NOSAVE != 0,
            now: asked & bits::NOW != 0,
            force: asked & bits::FORCE != 0,
            safe: asked & bits::SAFE != 0,
            failover: asked & bits::FAILOVER != 0,
        };
        // A failure is in the log.
        let _ = request_shutdown(server, options, None);
    }
}
