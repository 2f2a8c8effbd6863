//! The seam to the clocks of the system.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of the time. A test can pass one that stands still.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Unix milliseconds.
    fn wall_ms(&self) -> u64;

    /// Nanoseconds since any moment, of a clock that does not go back.
    fn monotonic_ns(&self) -> u64;

    /// Unix seconds.
    fn wall_s(&self) -> u64 {
        self.wall_ms() / 1000
    }

    /// Time since `began_ns` of [`Clock::monotonic_ns`].
    fn since(&self, began_ns: u64) -> Duration {
        Duration::from_nanos(self.monotonic_ns().saturating_sub(began_ns))
    }
}

/// The clocks of the operating system.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    fn wall_ms(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(0, |now| now.as_millis() as u64)
    }

    fn monotonic_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}
