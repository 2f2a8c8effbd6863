//! CLIENT PAUSE.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::keys::DbKey;

/// The pause that is in force, if any. Times are milliseconds of the steady clock; 0 means no
/// pause.
#[derive(Debug, Default)]
pub struct Pause {
    until_ms: AtomicU64,
    all: AtomicBool,
    fed: Mutex<Vec<DbKey>>,
    has_fed: AtomicBool,
}

impl Pause {
    /// Starts or extends a pause. As in Redis, a longer one wins, and a pause of all commands is
    /// not weakened by one of writes only.
    pub fn start(&self, until_ms: u64, all: bool, steady_ms: u64) {
        let active = self.is_active(steady_ms);
        let was_all = active && self.all.load(Ordering::Relaxed);
        let until = if active {
            until_ms.max(self.until_ms.load(Ordering::Relaxed))
        } else {
            until_ms
        };
        self.all.store(all || was_all, Ordering::Relaxed);
        self.until_ms.store(until, Ordering::Release);
    }

    /// Ends the pause.
    pub fn end(&self) {
        self.until_ms.store(0, Ordering::Release);
        self.all.store(false, Ordering::Relaxed);
    }

    /// Keys (with their databases) that were fed just before the pause began. Serving their waiters
    /// would write.
    pub fn keep_fed(&self, keys: &mut Vec<DbKey>) {
        let mut fed = self.fed.lock().unwrap_or_else(PoisonError::into_inner);
        fed.append(keys);
        self.has_fed.store(true, Ordering::Release);
    }

    /// The keys that were kept, once the pause is over.
    #[inline]
    pub fn take_fed(&self, steady_ms: u64) -> Option<Vec<DbKey>> {
        if !self.has_fed.load(Ordering::Relaxed) || self.is_active(steady_ms) {
            return None;
        }
        let mut fed = self.fed.lock().unwrap_or_else(PoisonError::into_inner);
        self.has_fed.store(false, Ordering::Release);
        Some(std::mem::take(&mut fed))
    }

    /// When the pause ends; 0 without one.
    #[inline]
    pub fn until_ms(&self) -> u64 {
        self.until_ms.load(Ordering::Acquire)
    }

    /// True while a pause is in force.
    #[inline]
    pub fn is_active(&self, steady_ms: u64) -> bool {
        let until = self.until_ms();
        until != 0 && steady_ms < until
    }

    /// True when every command waits, not only writes.
    pub fn is_all(&self) -> bool {
        self.all.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_and_stricter_pause_wins() {
        let pause = Pause::default();
        pause.start(1_000, true, 0);
        pause.start(500, false, 0);
        assert_eq!(pause.until_ms(), 1_000);
        assert!(pause.is_all());
        assert!(!pause.is_active(1_000));
        pause.start(2_000, false, 1_500);
        assert!(!pause.is_all());
        pause.end();
        assert!(!pause.is_active(1_600));
    }
}
