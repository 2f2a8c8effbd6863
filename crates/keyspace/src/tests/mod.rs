//! Tests of the whole crate against plain models.

mod concurrency;
mod elements;
mod eviction;
mod expiry;
mod hooks;
mod model;

use crate::{DatabaseStats, Keyspace, Locked, Options, Shard};

/// The database that tests of one database use.
pub(crate) const DB: u32 = 0;

pub(crate) fn keyspace() -> Keyspace {
    Keyspace::new(Options {
        shards: 16,
        databases: 4,
        hash_seed: [0x0123_4567, 0x89ab_cdef],
    })
}

/// Sizes of a database, summed over all shards.
pub(crate) fn stats(keyspace: &Keyspace, db: u32) -> DatabaseStats {
    let mut sum = DatabaseStats::default();
    for shard in keyspace.lock_all().shards() {
        sum += shard.stats(db);
    }
    sum
}

/// A shard of its own. It holds every key that is put into it, whatever its hash.
pub(crate) fn one_shard() -> Shard {
    let place = crate::db::Place {
        index: 0,
        prefix_bits: 0,
    };
    Shard::new(place, 4, crate::hash::Hasher::new([1, 2]), ())
}

/// A small generator of random bits.
pub(crate) fn rng(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = state;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }
}

/// Runs over all entries of a database as SCAN does.
pub(crate) fn scan_all(locked: &Locked<'_>, db: u32) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    for shard in locked.shards() {
        let mut position = shard.first_position();
        loop {
            position = shard.scan(db, position, |entry| keys.push(entry.key().to_vec()));
            if position == 0 {
                break;
            }
        }
    }
    keys
}
