//! Tests of the whole crate against plain models.

mod concurrency;
mod elements;
mod eviction;
mod expiry;
mod hooks;
mod model;

use crate::{DatabaseStats, Keyspace, Locked, Options, Shard, SizeCounts, Type};
use std::collections::BTreeMap;

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

/// The counts by size are those of the entries that there are.
pub(crate) fn check_sizes(shard: &Shard, db: u32) {
    let mut counts = SizeCounts::default();
    shard.add_sizes(db, &mut counts);
    let power = |size: usize| size.checked_ilog2().map_or(0, |bits| 1u64 << bits);
    for kind in Type::ALL {
        let (mut sizes, mut memory) = (BTreeMap::new(), BTreeMap::new());
        for entry in shard.entries(db).filter(|it| it.value_type() == kind) {
            let elements = entry.value().element_count();
            let size = entry.string().map_or(elements, |string| Some(string.len()));
            *sizes.entry(power(size.unwrap())).or_insert(0) += 1;
            if kind != Type::String {
                *memory.entry(power(entry.memory_usage())).or_insert(0) += 1;
            }
        }
        assert_eq!(counts.sizes(kind).collect::<BTreeMap<_, u64>>(), sizes);
        assert_eq!(counts.memory(kind).collect::<BTreeMap<_, u64>>(), memory);
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
