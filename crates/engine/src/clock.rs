//! Time: one place that asks the operating system.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Wall clock and monotonic clock of the process.
///
/// Deadlines of keys are wall-clock milliseconds and follow the wall clock, as in Redis; durations
/// are measured with the monotonic clock, which is read once per command. That clock is the
/// processor's time stamp counter where it is invariant (a third of the cost of a system clock),
/// else the system's. Timers (of blocked, paused and idle clients, of save points and of the
/// server's own work) run on the *steady* clock: Unix milliseconds at the start, and from then on
/// as the monotonic clock goes. A wall clock that is set neither stops nor fires them.
#[derive(Debug)]
pub struct Clock {
    counter: quanta::Clock,
    origin: u64,
    /// Unix milliseconds at `origin`.
    began_ms: u64,
    /// What DEBUG STEP-CLOCK has added to the wall clock, in microseconds.
    step_us: AtomicI64,
    /// Unix microseconds of a simulation.
    simulated: Option<Box<AtomicU64>>,
}

impl Default for Clock {
    fn default() -> Self {
        let counter = quanta::Clock::new();
        let origin = counter.raw();
        let mut clock = Self {
            counter,
            origin,
            began_ms: 0,
            step_us: AtomicI64::new(0),
            simulated: None,
        };
        clock.began_ms = clock.unix_ms();
        clock
    }
}

impl Clock {
    /// A clock that stands at this Unix time, in microseconds, and goes on by [`Clock::advance`]
    /// alone.
    pub fn simulated(unix_us: u64) -> Self {
        Self {
            simulated: Some(Box::new(AtomicU64::new(unix_us))),
            began_ms: 0,
            ..Self::default()
        }
    }

    /// Moves a simulated clock on; does nothing to any other.
    pub fn advance(&self, by: Duration) {
        if let Some(now_us) = &self.simulated {
            now_us.fetch_add(by.as_micros() as u64, Ordering::Relaxed);
        }
    }

    /// Unix time in milliseconds.
    #[inline]
    pub fn unix_ms(&self) -> u64 {
        self.unix_us() / 1000
    }

    /// Unix time in microseconds.
    #[inline]
    #[expect(
        clippy::disallowed_methods,
        reason = "this module is the engine's one place that reads the time"
    )]
    pub fn unix_us(&self) -> u64 {
        if let Some(now_us) = &self.simulated {
            return now_us.load(Ordering::Relaxed);
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        let now_us = now.as_micros() as u64;
        match cfg!(debug_assertions) {
            true => now_us.saturating_add_signed(self.step_us.load(Ordering::Relaxed)),
            false => now_us,
        }
    }

    /// For tests, in debug builds: the wall clock is set to so many milliseconds later, or earlier.
    pub fn step(&self, ms: i64) {
        self.step_us
            .fetch_add(ms.saturating_mul(1000), Ordering::Relaxed);
    }

    /// Milliseconds of the steady clock: near Unix time, never going back.
    #[inline]
    pub fn steady_ms(&self) -> u64 {
        self.began_ms + self.monotonic_ns() / 1_000_000
    }

    /// The time on the steady clock by which `ms` milliseconds have passed in full; `None` when it
    /// is beyond its range.
    pub fn steady_ms_after(&self, ms: u64) -> Option<u64> {
        let now_ms = self.began_ms + self.monotonic_ns().div_ceil(1_000_000);
        now_ms.checked_add(ms)
    }

    /// Nanoseconds since the process began, never going back.
    #[inline]
    pub fn monotonic_ns(&self) -> u64 {
        if let Some(now_us) = &self.simulated {
            return now_us.load(Ordering::Relaxed) * 1000;
        }
        self.counter.delta_as_nanos(self.origin, self.counter.raw())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_is_set_does_not_move_the_steady_one() {
        let clock = Clock::default();
        let (wall, steady) = (clock.unix_ms(), clock.steady_ms());
        assert!(wall.abs_diff(steady) < 1_000, "{wall} {steady}");
        clock.step(-3_600_000);
        assert!(clock.unix_ms() < wall - 3_000_000);
        let later = clock.steady_ms();
        assert!(
            (steady..steady + 60_000).contains(&later),
            "{steady} {later}"
        );
    }

    #[test]
    fn a_deadline_is_not_early() {
        let clock = Clock::default();
        for _ in 0..1000 {
            let began_ns = clock.monotonic_ns();
            let deadline = clock.steady_ms_after(5).expect("in range");
            let left_ns = (deadline - clock.began_ms) * 1_000_000 - began_ns;
            assert!(left_ns >= 5_000_000, "{left_ns}");
        }
        assert_eq!(clock.steady_ms_after(u64::MAX), None);
    }

    #[test]
    fn the_monotonic_clock_measures_nanoseconds() {
        let clock = Clock::default();
        let (began, system) = (clock.monotonic_ns(), std::time::Instant::now());
        std::thread::sleep(Duration::from_millis(20));
        let ours = clock.monotonic_ns() - began;
        let theirs = system.elapsed().as_nanos() as u64;
        // Both slept at least as long as asked; they agree within a generous tenth.
        assert!(ours >= 18_000_000, "{ours}");
        assert!(
            ours.abs_diff(theirs) < theirs / 10 + 5_000_000,
            "{ours} {theirs}"
        );
    }
}
