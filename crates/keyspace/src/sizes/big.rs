//! The biggest entries of a database in one shard, by type: by their elements and by their bytes.
//!
//! For each type and measure the hashes of up to [`KEPT`] entries are kept, those with the largest
//! sizes that have been seen. When there are more, the smallest goes, and its size is the bound up
//! to which entries may be missing from then on. Readers take the present sizes from the entries.

use super::{BIN_BITS, BINS, Class, TYPES};
use crate::entry::{EntryRef, Type};
use crate::hash::KeyHash;

/// Entries that are kept for each type and measure; MEMORY BIGKEYS shows up to 100.
const KEPT: usize = 128;
/// Shorter strings, and collections that take fewer bytes, are never among the biggest: with the
/// number of elements below, it spares small entries, which change most, all this. A power of two,
/// so that an entry which passes it changes its bin.
const BYTES_MIN: usize = 1024;
/// Collections with fewer elements are not among the biggest by elements; a power of two.
const ELEMENTS_MIN: usize = 64;

/// By what the biggest entries are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Bytes of the entry with its value, as [`EntryRef::memory_usage`](crate::EntryRef).
    Bytes,
    /// Elements of a collection.
    Elements,
}

impl Measure {
    /// The least size of an entry that counts as big.
    pub(crate) fn least(self) -> usize {
        match self {
            Measure::Bytes => BYTES_MIN,
            Measure::Elements => ELEMENTS_MIN,
        }
    }

    /// The size of an entry.
    pub(crate) fn of(self, entry: EntryRef<'_>) -> usize {
        match self {
            Measure::Bytes => entry.memory_usage(),
            Measure::Elements => entry.value().element_count().unwrap_or(0),
        }
    }
}

/// An entry's type and sizes.
pub(super) struct Measured {
    pub(super) kind: Type,
    /// Elements of a collection.
    pub(super) elements: usize,
    /// Bytes of block and value.
    pub(super) bytes: usize,
}

/// Whether an entry of this class may be among those that are kept.
#[inline]
pub(super) fn may_be_big(class: Class) -> bool {
    const STRING: u16 = ((Type::String as u16) << BIN_BITS) | bin_of(BYTES_MIN);
    if class.memory == Class::NONE {
        return class.size >= STRING;
    }
    let of_bins = |place: u16| place & (BINS as u16 - 1);
    of_bins(class.memory) >= bin_of(BYTES_MIN) || of_bins(class.size) >= bin_of(ELEMENTS_MIN)
}

const fn bin_of(power_of_two: usize) -> u16 {
    power_of_two.trailing_zeros() as u16 + 1
}

/// How an entry has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It was not there before.
    New,
    /// It is in another bin than before.
    Moved,
    /// It is in the same bin.
    Same,
}

/// The biggest entries of one type by one measure.
#[derive(Default)]
struct Top {
    /// Hash and size when it was last measured.
    entries: Vec<(KeyHash, u64)>,
    /// Entries up to this size may be missing.
    unlisted: u64,
    /// The smallest size when there is no room, else 0.
    floor: u64,
    /// Some entries have changed within their bin since they were measured.
    is_stale: bool,
}

impl Top {
    /// An entry has this size now.
    fn changed(&mut self, hash: KeyHash, size: u64, least: u64, change: Change) {
        if change == Change::Same && self.unlisted == 0 {
            // Nothing was ever dropped, so it is kept already.
            self.is_stale = true;
            return;
        }
        if change != Change::Moved && size <= self.floor {
            // One of those that are kept may have become smaller than the others: it stays.
            self.unlisted = self.unlisted.max(size);
            return;
        }
        let mut known = self.entries.iter();
        let at = match change {
            Change::New => None,
            Change::Same | Change::Moved => known.position(|(known, _)| *known == hash),
        };
        match at {
            Some(_) if size < least => self.remove(hash),
            Some(at) => {
                if let Some(entry) = self.entries.get_mut(at) {
                    entry.1 = size;
                }
            }
            None if size < least => {}
            None if self.entries.len() < KEPT => self.entries.push((hash, size)),
            None => self.replace_smallest(hash, size),
        }
        self.find_floor();
    }

    fn find_floor(&mut self) {
        let sizes = self.entries.iter().map(|(_, size)| *size);
        self.floor = match self.entries.len() < KEPT {
            true => 0,
            false => sizes.min().unwrap_or(0),
        };
    }

    fn replace_smallest(&mut self, hash: KeyHash, size: u64) {
        let smallest = self.entries.iter_mut().min_by_key(|(_, size)| *size);
        let Some(smallest) = smallest else { return };
        let dropped = match smallest.1 < size {
            true => {
                let old = std::mem::replace(smallest, (hash, size)).1;
                // A bin doubles, and APPEND makes room for as much again.
                old.saturating_mul(if self.is_stale { 4 } else { 1 })
            }
            false => size,
        };
        self.unlisted = self.unlisted.max(dropped);
    }

    fn remove(&mut self, hash: KeyHash) {
        if let Some(at) = self.entries.iter().position(|(known, _)| *known == hash) {
            self.entries.swap_remove(at);
            self.floor = 0;
        }
    }
}

/// The biggest entries of all types.
#[derive(Default)]
pub(super) struct Big {
    by_bytes: [Top; TYPES],
    by_elements: [Top; TYPES],
}

impl Big {
    pub(super) fn changed(&mut self, hash: KeyHash, measured: &Measured, change: Change) {
        for (other, (bytes, elements)) in self
            .by_bytes
            .iter_mut()
            .zip(&mut self.by_elements)
            .enumerate()
        {
            if other != measured.kind as usize {
                // It may have had another type.
                if change == Change::Moved {
                    bytes.remove(hash);
                    elements.remove(hash);
                }
                continue;
            }
            bytes.changed(hash, measured.bytes as u64, BYTES_MIN as u64, change);
            if measured.kind != Type::String {
                let size = measured.elements as u64;
                elements.changed(hash, size, ELEMENTS_MIN as u64, change);
            }
        }
    }

    /// An entry of this type has changed within its bin. True when its size does not matter,
    /// because no entry of the type was ever dropped.
    pub(super) fn changed_within_bin(&mut self, kind: Type) -> bool {
        let tops = [&mut self.by_bytes, &mut self.by_elements];
        let mut tops = tops.map(|tops| &mut tops[kind as usize]);
        let all_are_kept = tops.iter().all(|top| top.unlisted == 0);
        if all_are_kept {
            tops.iter_mut().for_each(|top| top.is_stale = true);
        }
        all_are_kept
    }

    pub(super) fn remove(&mut self, hash: KeyHash) {
        for top in self.by_bytes.iter_mut().chain(&mut self.by_elements) {
            top.remove(hash);
        }
    }

    fn top(&self, kind: Type, measure: Measure) -> Option<&Top> {
        let tops = match measure {
            Measure::Bytes => &self.by_bytes,
            Measure::Elements => &self.by_elements,
        };
        tops.get(kind as usize)
    }

    pub(super) fn of(&self, kind: Type, measure: Measure) -> impl Iterator<Item = KeyHash> + Clone {
        let entries = self.top(kind, measure).map(|top| &top.entries[..]);
        entries.unwrap_or_default().iter().map(|(hash, _)| *hash)
    }

    pub(super) fn unlisted_below(&self, kind: Type, measure: Measure) -> u64 {
        self.top(kind, measure).map_or(0, |top| top.unlisted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::rng;
    use std::collections::BTreeMap;

    const LEAST: u64 = 64;

    fn same_bin(a: u64, b: u64) -> bool {
        a.leading_zeros() == b.leading_zeros()
    }

    /// One random step on a list and on a map of all sizes.
    fn step(top: &mut Top, sizes: &mut BTreeMap<u64, u64>, random: &mut impl FnMut() -> u64) {
        let (key, any) = (random() % 500, random() % 1000);
        let hash = KeyHash(key);
        let Some(old) = sizes.get(&key).copied() else {
            sizes.insert(key, any);
            if any >= LEAST {
                top.changed(hash, any, LEAST, Change::New);
            }
            return;
        };
        if random().is_multiple_of(5) {
            sizes.remove(&key);
            return top.remove(hash);
        }
        let size = if random().is_multiple_of(3) {
            any
        } else {
            old + any % 40
        };
        sizes.insert(key, size);
        let change = if same_bin(old, size) {
            Change::Same
        } else {
            Change::Moved
        };
        if size >= LEAST {
            top.changed(hash, size, LEAST, change);
        } else if old >= LEAST {
            top.remove(hash);
        }
    }

    #[test]
    fn all_entries_above_the_bound_are_kept() {
        for seed in 0..if cfg!(miri) { 1 } else { 40 } {
            let mut random = rng(seed);
            let (mut top, mut sizes) = (Top::default(), BTreeMap::new());
            for _ in 0..1500 {
                step(&mut top, &mut sizes, &mut random);
                let kept: BTreeMap<u64, u64> = top
                    .entries
                    .iter()
                    .map(|(hash, size)| (hash.0, *size))
                    .collect();
                assert_eq!(kept.len(), top.entries.len());
                assert!(kept.len() <= KEPT && kept.keys().all(|key| sizes.contains_key(key)));
                let mut big = sizes.iter().filter(|(_, size)| **size >= LEAST);
                assert!(
                    big.all(|(key, size)| *size <= top.unlisted || kept.contains_key(key)),
                    "seed {seed}"
                );
            }
        }
    }
}
