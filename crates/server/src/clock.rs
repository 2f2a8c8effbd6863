//! Time: one place that asks the operating system.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Wall clock and monotonic clock of the process.
///
/// Deadlines of keys are wall-clock milliseconds and follow the wall clock, as in Redis; durations are
/// measured with the monotonic clock.
#[derive(Debug)]
pub struct Clock {
    origin: Instant,
    /// DEBUG and tests may move the wall clock forward, in milliseconds.
    skew_ms: AtomicU64,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            skew_ms: AtomicU64::new(0),
        }
    }
}

impl Clock {
    /// Unix time in milliseconds.
    #[inline]
    pub fn unix_ms(&self) -> u64 {
        self.unix_us() / 1000
    }

    /// Unix time in microseconds.
    #[inline]
    pub fn unix_us(&self) -> u64 {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        now.as_micros() as u64 + self.skew_ms.load(Ordering::Relaxed) * 1000
    }

    /// Nanoseconds since the process began, never going back.
    #[inline]
    pub fn monotonic_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }
}
