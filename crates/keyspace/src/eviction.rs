//! Choosing what to evict when memory is full.
//!
//! As in Redis, victims are approximations: some entries are sampled, and the best of them and of a
//! small pool of good candidates from earlier samples is taken. Each shard has its own pool, so
//! choosing needs no other lock.

use crate::db::Database;
use crate::entry::EntryRef;
use crate::hash::{Hasher, KeyHash};
use crate::lru::{self, Lfu};
use smallvec::SmallVec;
use std::fmt;

/// Candidates that are kept between samples.
const POOL_SIZE: usize = 16;
/// When only one entry in so many is volatile, volatile entries are drawn from the timing wheel
/// instead of the table.
const RARE_VOLATILE: usize = 16;

/// What to evict: `maxmemory-policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Nothing: writes fail instead.
    #[default]
    NoEviction,
    /// The key unused for longest.
    AllKeysLru,
    /// The key used least often.
    AllKeysLfu,
    /// Any key.
    AllKeysRandom,
    /// The key unused for longest of those with a deadline.
    VolatileLru,
    /// The key used least often of those with a deadline.
    VolatileLfu,
    /// Any key with a deadline.
    VolatileRandom,
    /// The key whose deadline is nearest.
    VolatileTtl,
}

impl Policy {
    /// All policies.
    pub const ALL: [Policy; 8] = [
        Policy::VolatileLru,
        Policy::VolatileLfu,
        Policy::VolatileRandom,
        Policy::VolatileTtl,
        Policy::AllKeysLru,
        Policy::AllKeysLfu,
        Policy::AllKeysRandom,
        Policy::NoEviction,
    ];

    /// The policy's name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Policy::NoEviction => "noeviction",
            Policy::AllKeysLru => "allkeys-lru",
            Policy::AllKeysLfu => "allkeys-lfu",
            Policy::AllKeysRandom => "allkeys-random",
            Policy::VolatileLru => "volatile-lru",
            Policy::VolatileLfu => "volatile-lfu",
            Policy::VolatileRandom => "volatile-random",
            Policy::VolatileTtl => "volatile-ttl",
        }
    }

    /// The policy with a name, whatever its case.
    pub fn from_name(name: &str) -> Option<Policy> {
        Policy::ALL
            .into_iter()
            .find(|policy| policy.name().eq_ignore_ascii_case(name))
    }

    /// True when only keys with a deadline may be evicted.
    pub fn volatile_only(self) -> bool {
        matches!(
            self,
            Policy::VolatileLru
                | Policy::VolatileLfu
                | Policy::VolatileRandom
                | Policy::VolatileTtl
        )
    }

    /// True when the entries' fields are LFU counters, otherwise they are LRU clocks.
    pub fn is_lfu(self) -> bool {
        matches!(self, Policy::AllKeysLfu | Policy::VolatileLfu)
    }

    /// True when the entries' fields decide as LRU clocks.
    pub fn is_lru(self) -> bool {
        matches!(self, Policy::AllKeysLru | Policy::VolatileLru)
    }

    /// True when victims are drawn without comparing.
    pub fn is_random(self) -> bool {
        matches!(self, Policy::AllKeysRandom | Policy::VolatileRandom)
    }

    /// How good a victim an entry is; more is better.
    pub(crate) fn score(self, entry: EntryRef<'_>, now_ms: u64, lfu: &Lfu) -> u64 {
        match self {
            Policy::AllKeysLru | Policy::VolatileLru => lru::idle_ms(entry.lru(), now_ms),
            Policy::AllKeysLfu | Policy::VolatileLfu => {
                u64::from(u8::MAX - lfu.counter(entry.lru(), now_ms))
            }
            Policy::VolatileTtl => u64::MAX - entry.deadline().unwrap_or(u64::MAX),
            Policy::NoEviction | Policy::AllKeysRandom | Policy::VolatileRandom => 0,
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How to choose.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// What to evict.
    pub policy: Policy,
    /// `maxmemory-samples`: entries looked at per choice and database.
    pub samples: usize,
    /// The current time in unix milliseconds.
    pub now_ms: u64,
    /// The parameters of the LFU counter.
    pub lfu: Lfu,
}

/// A key that was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victim {
    /// Its database.
    pub db: u32,
    /// Its hash.
    pub hash: KeyHash,
    /// The key.
    pub key: SmallVec<[u8; 24]>,
}

struct Candidate {
    score: u64,
    victim: Victim,
}

/// Good candidates of earlier samples: worst first, at most [`POOL_SIZE`].
#[derive(Default)]
pub(crate) struct Pool {
    /// The policy whose scores these are.
    policy: Policy,
    candidates: Vec<Candidate>,
}

impl Pool {
    pub(crate) fn clear(&mut self) {
        self.candidates.clear();
    }

    /// Scores of different policies cannot be compared.
    pub(crate) fn prepare(&mut self, policy: Policy) {
        if self.policy != policy {
            self.policy = policy;
            self.clear();
        }
    }

    pub(crate) fn wants(&self, score: u64) -> bool {
        self.candidates.len() < POOL_SIZE
            || self
                .candidates
                .first()
                .is_some_and(|worst| worst.score < score)
    }

    pub(crate) fn offer(&mut self, score: u64, victim: Victim) {
        if !self.wants(score) || self.candidates.iter().any(|known| known.victim == victim) {
            return;
        }
        if self.candidates.len() == POOL_SIZE {
            self.candidates.remove(0);
        }
        let at = self.candidates.partition_point(|known| known.score < score);
        self.candidates.insert(at, Candidate { score, victim });
    }

    pub(crate) fn take_best(&mut self) -> Option<Victim> {
        self.candidates.pop().map(|candidate| candidate.victim)
    }
}

impl Database {
    /// Visits about `count` entries with a deadline, at least one when there is one.
    pub(crate) fn sample_volatile(
        &self,
        hasher: &Hasher,
        rng: &mut impl FnMut() -> u64,
        count: usize,
        mut visit: impl FnMut(EntryRef<'_>),
    ) {
        let Some(rarity) = self.table.len().checked_div(self.volatile) else {
            return;
        };
        let mut left = count;
        let mut take = |entry: EntryRef<'_>| {
            if left > 0 && entry.deadline().is_some() {
                left -= 1;
                visit(entry);
            }
            left
        };
        if rarity < RARE_VOLATILE {
            self.table
                .sample(rng, count.saturating_mul(rarity + 1), |ptr| {
                    // SAFETY: the table holds live blocks, and it is borrowed.
                    take(unsafe { EntryRef::from_ptr(ptr) });
                });
        } else {
            for hash in (0..count).map_while(|_| self.expiry.sample(rng)) {
                self.table.candidates(hash, |_, ptr| {
                    // SAFETY: the table holds live blocks, and it is borrowed.
                    take(unsafe { EntryRef::from_ptr(ptr) });
                });
            }
        }
        if left == count {
            // No volatile entry was sampled: search from a random position.
            let origin = self.place.origin();
            let from = origin | rng() >> self.place.prefix_bits;
            let after = self.find_volatile(hasher, from);
            after
                .or_else(|| self.find_volatile(hasher, origin))
                .into_iter()
                .for_each(visit);
        }
    }

    /// The first entry with a deadline at or after a position.
    fn find_volatile(&self, hasher: &Hasher, mut position: u64) -> Option<EntryRef<'_>> {
        let mut found = None;
        loop {
            position = self.table.scan(position, hasher, |ptr| {
                // SAFETY: the table holds live blocks, and it is borrowed.
                let entry = unsafe { EntryRef::from_ptr(ptr) };
                if entry.deadline().is_some() {
                    found = Some(entry);
                }
            });
            if found.is_some() || position == 0 {
                return found;
            }
        }
    }
}
