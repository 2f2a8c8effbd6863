//! The thread of the HTTP side as the other threads see it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::Notify;

/// The worker number of clients that ask over HTTP: none has their connections.
pub(crate) const HTTP: usize = usize::MAX - 1;

/// The way to the thread, and figures of what it refused.
#[derive(Default)]
pub struct Http {
    thread: Mutex<Option<JoinHandle<()>>>,
    is_stopping: AtomicBool,
    stop: Notify,
    /// Logins with a wrong password or user.
    pub failed_logins: AtomicU64,
    /// Requests of users without the right to them.
    pub denied: AtomicU64,
    /// Requests that were answered.
    pub requests: AtomicU64,
}

impl Http {
    /// Keeps the thread, which is waited for at the end.
    pub(crate) fn started(&self, thread: JoinHandle<()>) {
        *self.lock() = Some(thread);
    }

    /// Ends the thread and waits for it.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        self.stop.notify_one();
        let thread = self.lock().take();
        if let Some(thread) = thread {
            thread.thread().unpark();
            if thread.join().is_err() {
                log::error!("The HTTP thread panicked while it ended");
            }
        }
    }

    /// Whether the thread is to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// Waits until the thread is to end.
    pub(crate) async fn stopped(&self) {
        while !self.is_stopping() {
            self.stop.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
