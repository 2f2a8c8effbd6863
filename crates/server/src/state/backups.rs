//! The state of backups.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// The backups: the running one, and the last one.
#[derive(Debug)]
pub struct Backups {
    pub(crate) running: AtomicBool,
    pub(crate) failed: AtomicBool,
    /// Unix seconds of the end of the last good one, 0 without one.
    pub(crate) last_s: AtomicI64,
    /// Seconds the last one took, -1 without one.
    pub(crate) last_seconds: AtomicI64,
}

impl Default for Backups {
    fn default() -> Self {
        Self {
            running: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            last_s: AtomicI64::new(0),
            last_seconds: AtomicI64::new(-1),
        }
    }
}

impl Backups {
    /// Whether one is under way.
    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::Relaxed)
    }

    /// Whether the last one failed.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// End of the last good one (Unix seconds, 0 without one), and the seconds the last one took
    /// (-1 without one).
    pub fn last(&self) -> (i64, i64) {
        let load = |it: &AtomicI64| it.load(Ordering::Relaxed);
        (load(&self.last_s), load(&self.last_seconds))
    }
}
