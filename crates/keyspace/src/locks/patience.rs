//! How long a lock request waits.

use std::fmt;
use std::time::Duration;

/// A lock request was given up because the caller stopped waiting. It holds no lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GaveUp;

impl fmt::Display for GaveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the wait for a lock was given up")
    }
}

impl std::error::Error for GaveUp {}

/// How often the caller is asked whether to go on waiting.
pub(super) const PERIOD: Duration = Duration::from_millis(1);
/// The first slice of a wait that has to notice an extension; every further slice is twice as long.
const SLICE_MIN: Duration = Duration::from_micros(64);

/// How long a lock request waits.
pub(super) enum Patience<'p> {
    Unlimited,
    /// Until the function answers false.
    Asked(&'p mut dyn FnMut() -> bool),
}

impl Patience<'_> {
    pub(super) fn is_unlimited(&self) -> bool {
        matches!(self, Patience::Unlimited)
    }

    /// Asks the caller whether to go on waiting.
    pub(super) fn ask(&mut self) -> Result<(), GaveUp> {
        match self {
            Patience::Unlimited => Ok(()),
            Patience::Asked(goes_on) => goes_on().then_some(()).ok_or(GaveUp),
        }
    }
}

/// The slices of one wait: short ones first, so that a wait of microseconds ends in time, then
/// [`PERIOD`].
pub(super) struct Slices {
    next: Duration,
    /// Time waited since the last call of the function.
    waited: Duration,
}

impl Slices {
    pub(super) fn new() -> Slices {
        Slices {
            next: SLICE_MIN,
            waited: Duration::ZERO,
        }
    }

    pub(super) fn length(&self) -> Duration {
        self.next
    }

    /// A slice has passed. True when [`PERIOD`] has passed since this was true last.
    pub(super) fn is_period_over(&mut self) -> bool {
        self.waited += self.next;
        self.next = PERIOD.min(self.next * 2);
        let is_over = self.waited >= PERIOD;
        if is_over {
            self.waited = Duration::ZERO;
        }
        is_over
    }
}
