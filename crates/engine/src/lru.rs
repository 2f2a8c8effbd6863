//! The access field of an entry (24 bits): an LRU clock, or an LFU counter, as the policy says.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use keyspace::lru::{self, Lfu};
use persist::rdb::Access;

/// The clock that stamps entries; refreshed by the first worker's timers with the steady clock.
#[derive(Debug, Default)]
pub struct AccessClock {
    lfu: AtomicBool,
    now_ms: AtomicU64,
    log_factor: AtomicU32,
    decay_minutes: AtomicU32,
}

/// A snapshot of the clock, cheap to copy into closures.
#[derive(Debug, Clone, Copy)]
pub struct AccessNow {
    lfu: Option<Lfu>,
    now_ms: u64,
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
        self.now_ms.store(now_ms, Ordering::Relaxed);
    }

    /// The clock as it stands.
    #[inline]
    pub fn now(&self) -> AccessNow {
        let lfu = self.lfu.load(Ordering::Relaxed).then(|| self.lfu());
        AccessNow {
            lfu,
            now_ms: self.now_ms.load(Ordering::Relaxed),
        }
    }

    /// The parameters of LFU.
    pub fn lfu(&self) -> Lfu {
        Lfu {
            log_factor: self.log_factor.load(Ordering::Relaxed),
            decay_minutes: self.decay_minutes.load(Ordering::Relaxed),
        }
    }
}

impl AccessNow {
    /// Milliseconds of the steady clock at the last refresh.
    #[inline]
    pub fn ms(self) -> u64 {
        self.now_ms
    }

    /// True when entries carry LFU counters.
    #[inline]
    pub fn is_lfu(self) -> bool {
        self.lfu.is_some()
    }

    /// The field of a new entry.
    #[inline]
    pub fn initial(self) -> u32 {
        match self.lfu {
            Some(_) => Lfu::initial(self.now_ms),
            None => lru::clock(self.now_ms),
        }
    }

    /// The field of an entry that comes from a file or from RESTORE: its value is kept when it fits
    /// the policy.
    #[inline]
    pub fn restored(self, access: Access) -> u32 {
        match (access, self.lfu) {
            (Access::Frequency(counter), Some(_)) => Lfu::field(counter, self.now_ms),
            (Access::IdleSeconds(seconds), None) => {
                lru::from_idle_ms(seconds.saturating_mul(1000), self.now_ms)
            }
            _ => self.initial(),
        }
    }

    /// The field of an entry that is accessed now; `random` is used by LFU only.
    #[inline]
    pub fn touch(self, field: u32, random: u64) -> u32 {
        match self.lfu {
            Some(lfu) => lfu.touch(field, self.now_ms, random),
            None => lru::clock(self.now_ms),
        }
    }

    /// Seconds since the last access, for LRU.
    pub fn idle_seconds(self, field: u32) -> u64 {
        lru::idle_ms(field, self.now_ms) / 1000
    }

    /// The decayed LFU counter.
    pub fn frequency(self, field: u32) -> u8 {
        self.lfu.unwrap_or_default().counter(field, self.now_ms)
    }
}
