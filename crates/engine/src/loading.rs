//! How far the loading of files is: commands are refused meanwhile.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::clock::Clock;

/// How long requests wait for the end of loading before they are refused, in milliseconds: a server
/// with little data is ready by then, and clients that connect early never see -LOADING.
const GRACE_MS: u64 = 100;

/// No data is loaded.
const NONE: u8 = 0;
/// Data is loaded, and commands on data are refused.
const ACTIVE: u8 = 1;
/// Data is loaded beside that which clients see.
const ASYNC: u8 = 2;

/// How far loading is, and what the last loading brought.
#[derive(Debug, Default)]
pub struct Loading {
    stage: AtomicU8,
    /// Monotonic nanoseconds until which requests wait.
    grace_until_ns: AtomicU64,
    /// Unix milliseconds of the start.
    started_ms: AtomicU64,
    total_bytes: AtomicU64,
    loaded_bytes: AtomicU64,
    /// Memory that the data took when the file was written (`used-mem`), in bytes.
    used_memory: AtomicU64,
    keys_loaded: AtomicU64,
    keys_expired: AtomicU64,
}

impl Loading {
    /// Loading begins. Commands on data are refused meanwhile.
    pub fn begin(&self, clock: &Clock) {
        self.start(clock, ACTIVE);
    }

    /// Loading begins, of data that replaces the present one as a whole when all of it is there.
    /// Until then clients are served the present data.
    pub fn begin_async(&self, clock: &Clock) {
        self.start(clock, ASYNC);
    }

    fn start(&self, clock: &Clock, stage: u8) {
        let grace_until_ns = clock.monotonic_ns() + GRACE_MS * 1_000_000;
        self.grace_until_ns.store(grace_until_ns, Ordering::Relaxed);
        self.started_ms.store(clock.unix_ms(), Ordering::Relaxed);
        for number in [
            &self.total_bytes,
            &self.loaded_bytes,
            &self.used_memory,
            &self.keys_loaded,
            &self.keys_expired,
        ] {
            number.store(0, Ordering::Relaxed);
        }
        self.stage.store(stage, Ordering::Release);
    }

    /// Loading is over.
    pub fn end(&self) {
        self.stage.store(NONE, Ordering::Release);
    }

    /// True while data is loaded and commands on data are refused.
    #[inline]
    pub fn is_active(&self) -> bool {
        self.stage.load(Ordering::Relaxed) == ACTIVE
    }

    /// True while data is loaded beside that which clients see.
    pub fn is_async(&self) -> bool {
        self.stage.load(Ordering::Relaxed) == ASYNC
    }

    /// True while data is loaded in either way.
    #[inline]
    pub fn is_under_way(&self) -> bool {
        self.stage.load(Ordering::Relaxed) != NONE
    }

    /// How long requests still wait for the end of loading, in nanoseconds; 0 when it is over or
    /// lasts so long that they are refused.
    pub fn grace_left_ns(&self, now_ns: u64) -> u64 {
        match self.is_active() {
            true => self
                .grace_until_ns
                .load(Ordering::Relaxed)
                .saturating_sub(now_ns),
            false => 0,
        }
    }

    /// How many bytes there are to load.
    pub fn set_total(&self, bytes: u64) {
        self.total_bytes.store(bytes, Ordering::Relaxed);
    }

    /// How many bytes are loaded.
    pub fn progress(&self, bytes: u64) {
        self.loaded_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Start (Unix milliseconds), bytes loaded, bytes in all.
    pub fn figures(&self) -> (u64, u64, u64) {
        (
            self.started_ms.load(Ordering::Relaxed),
            self.loaded_bytes.load(Ordering::Relaxed),
            self.total_bytes.load(Ordering::Relaxed),
        )
    }

    /// Memory that the data took when the file was written (`used-mem`), in bytes.
    pub fn used_memory(&self) -> u64 {
        self.used_memory.load(Ordering::Relaxed)
    }

    /// Notes the memory that the data took when the file was written, in bytes.
    pub fn note_used_memory(&self, bytes: u64) {
        self.used_memory.store(bytes, Ordering::Relaxed);
    }

    /// Keys loaded and keys left out as expired, by the last loading.
    pub fn keys(&self) -> (u64, u64) {
        (
            self.keys_loaded.load(Ordering::Relaxed),
            self.keys_expired.load(Ordering::Relaxed),
        )
    }

    /// Notes how many keys were loaded, and how many were left out as expired.
    pub fn note_keys(&self, loaded: u64, expired: u64) {
        self.keys_loaded.store(loaded, Ordering::Relaxed);
        self.keys_expired.store(expired, Ordering::Relaxed);
    }
}
