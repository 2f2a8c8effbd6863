//! Places for threads of the program that run commands by function call.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};

use engine::engine::Engine;
use engine::execute::{Executor, Handlers};

/// Executors for threads that are no workers. The counters of each have one writer at a time,
/// because it runs commands only while its lock is held.
#[derive(Default)]
pub struct Seats {
    executors: Box<[Mutex<Executor>]>,
    next: AtomicUsize,
    /// How often the log was synced: what calls wait for that depend on it.
    syncs: Mutex<u64>,
    synced: Condvar,
}

impl Seats {
    /// So many places, with the numbers from `first` on.
    pub(crate) fn new(engine: &Engine, handlers: Handlers, first: usize, count: usize) -> Self {
        let executor = |seat| Mutex::new(Executor::new(engine, handlers, first + seat));
        Self {
            executors: (0..count).map(executor).collect(),
            ..Self::default()
        }
    }

    /// The place that a new client prefers; they take turns.
    pub(crate) fn assign(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A free place: the preferred one, or another, or the preferred one when it is free again.
    /// `None` without places.
    pub(crate) fn take(&self, preferred: usize) -> Option<MutexGuard<'_, Executor>> {
        let count = self.executors.len();
        let seat = |step: usize| self.executors.get((preferred + step) % count.max(1));
        for step in 0..count {
            match seat(step)?.try_lock() {
                Ok(guard) => return Some(guard),
                // The panic was caught where the command ran; the executor begins anew.
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        let guard = seat(0)?.lock();
        Some(guard.unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until no thread runs a command. One that begins later finds the server stopping.
    pub(crate) fn drain(&self) {
        for executor in &self.executors {
            drop(executor.lock());
        }
    }

    /// Wakes the calls that wait for the log.
    pub(crate) fn note_sync(&self) {
        *self.lock_syncs() += 1;
        self.synced.notify_all();
    }

    /// Waits until `is_over`, which is asked again after each sync.
    pub(crate) fn wait_for_sync(&self, mut is_over: impl FnMut() -> bool) {
        let mut syncs = self.lock_syncs();
        while !is_over() {
            syncs = self
                .synced
                .wait(syncs)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock_syncs(&self) -> MutexGuard<'_, u64> {
        self.syncs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
