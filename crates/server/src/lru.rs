//! The access field of an entry (24 bits): an LRU clock, or an LFU counter, as the policy says.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use keyspace::lru;

/// The clock that stamps entries; refreshed once per loop turn of the first worker.
#[derive(Debug, Default)]
pub struct AccessClock {
    lfu: AtomicBool,
    /// LRU clock, or minutes for LFU.
    clock: AtomicU32,
    log_factor: AtomicU32,
    decay_minutes: AtomicU32,
}

/// A snapshot of the clock, cheap to copy into closures.
#[derive(Debug, Clone, Copy)]
pub struct AccessNow {
    lfu: bool,
    clock: u32,
    log_factor: u32,
    decay_minutes: u32,
}

impl AccessClock {
    /// Takes over the policy and the parameters of LFU.
    pub fn configure(&self, lfu: bool, log_factor: u32, decay_minutes: u32) {
        self.lfu.store(lfu, Ordering::Relaxed);
        self.log_factor.store(log_factor, Ordering::Relaxed);
        self.decay_minutes.store(decay_minutes, Ordering::Relaxed);
    }

    /// Moves the clock on.
    pub fn refresh(&self, now_ms: u64) {
        let clock = if self.lfu.load(Ordering::Relaxed) {
            lru::lfu_minutes(now_ms)
        } else {
            lru::lru_clock(now_ms)
        };
        self.clock.store(clock, Ordering::Relaxed);
    }

    /// The clock as it stands.
    #[inline]
    pub fn now(&self) -> AccessNow {
        AccessNow {
            lfu: self.lfu.load(Ordering::Relaxed),
            clock: self.clock.load(Ordering::Relaxed),
            log_factor: self.log_factor.load(Ordering::Relaxed),
            decay_minutes: self.decay_minutes.load(Ordering::Relaxed),
        }
    }
}

impl AccessNow {
    /// True when entries carry LFU counters.
    #[inline]
    pub fn is_lfu(self) -> bool {
        self.lfu
    }

    /// The field of a new entry.
    #[inline]
    pub fn initial(self) -> u32 {
        if self.lfu {
            lru::lfu_initial(self.clock)
        } else {
            self.clock
        }
    }

    /// The field of an entry that is accessed now; `random` is used by LFU only.
    #[inline]
    pub fn touch(self, field: u32, random: u64) -> u32 {
        if self.lfu {
            lru::lfu_touch(field, self.clock, self.log_factor, self.decay_minutes, random)
        } else {
            self.clock
        }
    }

    /// Seconds since the last access, for LRU.
    pub fn idle_seconds(self, field: u32) -> u64 {
        lru::lru_idle_ms(field, self.clock) / 1000
    }

    /// The decayed LFU counter.
    pub fn frequency(self, field: u32) -> u32 {
        lru::lfu_decayed(field, self.clock, self.decay_minutes)
    }
}
