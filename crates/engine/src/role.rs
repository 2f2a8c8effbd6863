//! Whether the server is a primary or a replica, as executions see it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The role. Changes under the locks of all data.
#[derive(Debug, Default)]
pub struct Role {
    replica: AtomicBool,
    linked: AtomicBool,
    /// What clients gave deadlines on a writable replica.
    pub local_deadlines: LocalDeadlines,
}

impl Role {
    /// The data is a copy of a primary's: only the primary's stream changes it.
    #[inline]
    pub fn is_replica(&self) -> bool {
        self.replica.load(Ordering::Relaxed)
    }

    /// Becomes a replica, or a primary.
    pub fn set_replica(&self, is_replica: bool) {
        self.replica.store(is_replica, Ordering::Release);
        self.linked.store(false, Ordering::Release);
        self.local_deadlines.clear();
    }

    /// The stream of the primary is being followed.
    pub fn is_linked(&self) -> bool {
        self.linked.load(Ordering::Acquire)
    }

    /// The connection to the primary stands, or broke.
    pub fn set_linked(&self, is_linked: bool) {
        self.linked.store(is_linked, Ordering::Release);
    }
}

/// Keys that clients gave a deadline on a writable replica. No stream removes them, so the replica
/// does.
#[derive(Debug, Default)]
pub struct LocalDeadlines {
    /// Database and key, with the deadline in Unix milliseconds.
    keys: Mutex<HashMap<(u32, Vec<u8>), u64>>,
    count: AtomicUsize,
}

impl LocalDeadlines {
    /// A client has given a key a deadline, in Unix milliseconds.
    #[cold]
    pub fn note(&self, db: u32, key: &[u8], deadline_ms: u64) {
        let mut keys = self.lock();
        keys.insert((db, key.to_vec()), deadline_ms);
        self.count.store(keys.len(), Ordering::Relaxed);
    }

    /// How many there are. One relaxed load.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Takes out up to `most` whose deadline has passed.
    pub fn take_due(&self, now_ms: u64, most: usize) -> Vec<(u32, Vec<u8>)> {
        let mut keys = self.lock();
        let due = keys.extract_if(|_, deadline_ms| *deadline_ms <= now_ms);
        let due = due.take(most).map(|(key, _)| key).collect();
        self.count.store(keys.len(), Ordering::Relaxed);
        due
    }

    fn clear(&self) {
        self.lock().clear();
        self.count.store(0, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(u32, Vec<u8>), u64>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
