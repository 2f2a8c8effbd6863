//! Pauses of commands: CLIENT PAUSE, FAILOVER and SHUTDOWN.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::keys::DbKey;

/// Why commands are paused. Each purpose begins and ends its own pause; the strictest of them is in
/// force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PausePurpose {
    /// CLIENT PAUSE, with an end.
    Client,
    /// SHUTDOWN pauses writes while it waits for replicas.
    Shutdown,
    /// FAILOVER pauses writes, until it succeeds or is given up.
    Failover,
}

impl PausePurpose {
    /// The word of INFO.
    pub fn word(self) -> &'static str {
        match self {
            Self::Client => "client_pause",
            Self::Shutdown => "shutdown_in_progress",
            Self::Failover => "failover_in_progress",
        }
    }
}

/// The end of a pause without one.
const WITHOUT_END: u64 = i64::MAX as u64;

/// The pauses in force. Times are milliseconds of the steady clock; 0 means no pause.
#[derive(Debug, Default)]
pub struct Pause {
    /// The latest end of all purposes: what commands look at.
    until_ms: AtomicU64,
    client_until_ms: AtomicU64,
    all: AtomicBool,
    failover: AtomicBool,
    shutdown: AtomicBool,
    /// Held while the ends are combined: the last change is the one that counts.
    changes: Mutex<()>,
    fed: Mutex<Vec<DbKey>>,
    has_fed: AtomicBool,
}

impl Pause {
    /// Starts or extends CLIENT PAUSE. As in Redis, a longer one wins, and a pause of all commands
    /// is not weakened by one of writes only.
    pub fn start(&self, until_ms: u64, all: bool, steady_ms: u64) {
        let before_ms = self.client_until_ms.load(Ordering::Relaxed);
        let active = before_ms != 0 && steady_ms < before_ms;
        let was_all = active && self.all.load(Ordering::Relaxed);
        let until = if active {
            until_ms.max(before_ms)
        } else {
            until_ms
        };
        self.all.store(all || was_all, Ordering::Relaxed);
        self.client_until_ms.store(until, Ordering::Release);
        self.combine();
    }

    /// Ends CLIENT PAUSE.
    pub fn end(&self) {
        self.client_until_ms.store(0, Ordering::Release);
        self.all.store(false, Ordering::Relaxed);
        self.combine();
    }

    /// Pauses writes for FAILOVER, or ends that pause.
    pub fn set_failover(&self, is_on: bool) {
        self.failover.store(is_on, Ordering::Release);
        self.combine();
    }

    /// Pauses writes for SHUTDOWN, or ends that pause.
    pub fn set_shutdown(&self, is_on: bool) {
        self.shutdown.store(is_on, Ordering::Release);
        self.combine();
    }

    /// True once when the time of CLIENT PAUSE has passed while another purpose still pauses
    /// writes: postponed commands are to be looked at again.
    pub fn has_weakened(&self, steady_ms: u64) -> bool {
        let until_ms = self.client_until_ms.load(Ordering::Acquire);
        if until_ms == 0 || steady_ms < until_ms || self.endless().is_none() {
            return false;
        }
        let ended =
            self.client_until_ms
                .compare_exchange(until_ms, 0, Ordering::AcqRel, Ordering::Relaxed);
        ended.is_ok()
    }

    /// FAILOVER pauses writes.
    pub fn is_failover(&self) -> bool {
        self.failover.load(Ordering::Acquire)
    }

    /// The purpose that pauses writes without an end.
    fn endless(&self) -> Option<PausePurpose> {
        if self.shutdown.load(Ordering::Acquire) {
            return Some(PausePurpose::Shutdown);
        }
        self.is_failover().then_some(PausePurpose::Failover)
    }

    fn combine(&self) {
        let _change = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let until_ms = match self.endless() {
            Some(_) => WITHOUT_END,
            None => self.client_until_ms.load(Ordering::Acquire),
        };
        self.until_ms.store(until_ms, Ordering::Release);
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
    pub fn is_all(&self, steady_ms: u64) -> bool {
        self.all.load(Ordering::Relaxed) && steady_ms < self.client_until_ms.load(Ordering::Acquire)
    }

    /// The pause that lasts longest of those that are as strict as any, and its milliseconds left;
    /// `None` without one.
    pub fn longest(&self, steady_ms: u64) -> Option<(PausePurpose, u64)> {
        let client_ms = self.client_until_ms.load(Ordering::Acquire);
        if let Some(purpose) = self.endless().filter(|_| !self.is_all(steady_ms)) {
            return Some((purpose, WITHOUT_END - steady_ms));
        }
        let left_ms = client_ms.saturating_sub(steady_ms);
        (left_ms > 0).then_some((PausePurpose::Client, left_ms))
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
        assert!(pause.is_all(0));
        assert!(!pause.is_active(1_000));
        pause.start(2_000, false, 1_500);
        assert!(!pause.is_all(1_500));
        pause.end();
        assert!(!pause.is_active(1_600));
    }

    #[test]
    fn purposes_do_not_end_each_other() {
        let pause = Pause::default();
        pause.set_failover(true);
        pause.start(1_000, true, 0);
        assert_eq!(pause.longest(0), Some((PausePurpose::Client, 1_000)));
        assert!(pause.is_all(999) && !pause.is_all(1_000));
        assert!(!pause.has_weakened(999));
        assert!(pause.has_weakened(1_000) && !pause.has_weakened(1_000));
        assert!(pause.is_active(1_000_000));
        assert!(matches!(
            pause.longest(1_000),
            Some((PausePurpose::Failover, _))
        ));
        pause.start(9_000, false, 2_000);
        pause.end();
        assert!(pause.is_active(2_000));
        pause.start(9_000, false, 2_000);
        pause.set_shutdown(true);
        pause.set_failover(false);
        assert!(matches!(
            pause.longest(2_000),
            Some((PausePurpose::Shutdown, _))
        ));
        assert!(!pause.is_failover());
        pause.set_shutdown(false);
        assert_eq!(pause.longest(2_000), Some((PausePurpose::Client, 7_000)));
        assert!(!pause.is_active(9_000));
        assert_eq!(pause.longest(9_000), None);
    }
}
