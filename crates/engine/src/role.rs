//! Whether the server is a primary or a replica, as executions see it.

use std::sync::atomic::{AtomicBool, Ordering};

/// The role. Changes under the locks of all data.
#[derive(Debug, Default)]
pub struct Role {
    replica: AtomicBool,
    linked: AtomicBool,
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
