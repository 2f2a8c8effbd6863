//! The wheels of a database: the one that is filled, and its predecessor while that still fires.

use super::Wheel;

/// Handles looked up together, so that their cache misses overlap.
pub(crate) const BATCH: usize = 16;

/// The wheels of a database; none before the first deadline.
pub(crate) struct Expiry {
    /// The last time that was expired, where a new wheel begins: never after the current time,
    /// unless the clock went back.
    pub(crate) seen_ms: u64,
    pub(crate) wheel: Option<Box<Wheel>>,
    pub(crate) rebuild: Option<Rebuild>,
    /// Handles of collections with more due elements than the budget had room for.
    pub(crate) unfinished: Vec<u64>,
}

/// An old wheel while its successor is being filled.
pub(crate) struct Rebuild {
    pub(crate) old: Box<Wheel>,
    /// Entries before this position of the table have a handle in the new wheel.
    pub(crate) walked: u64,
}

impl Expiry {
    /// No deadlines yet; the time is known to be `seen_ms` at least.
    pub(crate) fn new(seen_ms: u64) -> Expiry {
        Expiry {
            seen_ms,
            wheel: None,
            rebuild: None,
            unfinished: Vec::new(),
        }
    }

    pub(crate) fn seen_ms(&self) -> u64 {
        self.seen_ms
    }

    pub(crate) fn memory_usage(&self) -> usize {
        self.wheels().map(Wheel::memory_usage).sum()
    }

    pub(crate) fn handles(&self) -> usize {
        self.wheels().map(Wheel::handles).sum()
    }

    fn wheels(&self) -> impl Iterator<Item = &Wheel> {
        let old = self.rebuild.as_ref().map(|rebuild| &rebuild.old);
        self.wheel.iter().chain(old).map(|wheel| &**wheel)
    }

    /// A random handle: the hash of a key that has, or had, a deadline.
    pub(crate) fn sample(&self, rng: &mut impl FnMut() -> u64) -> Option<u64> {
        let old = self.rebuild.as_ref().map(|rebuild| &rebuild.old);
        // During a rebuild most of the keys are in the old wheel.
        old.or(self.wheel.as_ref())?.sample(rng)
    }

    pub(crate) fn advance(&mut self, now_ms: u64) {
        if let Some(wheel) = &mut self.wheel {
            wheel.advance(now_ms);
        }
        if let Some(rebuild) = &mut self.rebuild {
            rebuild.old.advance(now_ms);
        }
    }

    /// Up to `limit` handles to look up: due ones first, then those that are due next.
    pub(crate) fn take_batch(&mut self, batch: &mut [u64; BATCH], limit: usize) -> usize {
        let mut count = 0;
        for place in batch.iter_mut().take(limit) {
            let due = self.unfinished.pop();
            let due = due.or_else(|| self.wheel.as_mut()?.pop_due());
            let due = due.or_else(|| self.rebuild.as_mut()?.old.pop_due());
            let Some(handle) = due.or_else(|| self.wheel.as_mut()?.pop_ahead()) else {
                break;
            };
            *place = handle;
            count += 1;
        }
        count
    }
}
