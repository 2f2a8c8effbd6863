//! The thread of TLS handshakes as the other threads see it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// The way to the thread. It runs from the first time that something is encrypted.
#[derive(Default)]
pub struct Handshakes {
    thread: Mutex<Option<Running>>,
    is_stopping: AtomicBool,
    is_changed: AtomicBool,
}

/// A thread and what wakes it.
pub(crate) struct Running {
    pub(crate) thread: JoinHandle<()>,
    pub(crate) waker: mio::Waker,
}

impl Handshakes {
    /// The thread, if it runs.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the thread look at the listening sockets and at its timers again.
    pub(crate) fn note_change(&self) {
        self.is_changed.store(true, Ordering::Release);
        self.wake();
    }

    /// Ends the thread and waits for it.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        self.wake();
        let running = self.lock().take();
        if let Some(running) = running
            && running.thread.join().is_err()
        {
            log::error!("The thread of TLS handshakes panicked while it ended");
        }
    }

    /// Whether the thread is to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// Whether there was a change since the last call.
    pub(crate) fn take_change(&self) -> bool {
        self.is_changed.swap(false, Ordering::AcqRel)
    }

    fn wake(&self) {
        if let Some(running) = &*self.lock()
            && let Err(error) = running.waker.wake()
        {
            log::warn!("Waking the thread of TLS handshakes failed: {error}");
        }
    }
}
