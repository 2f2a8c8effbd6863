//! Operations on two tables in the same order: finding the entries of one in the other by the hash
//! bits in its slots, without reading or hashing an entry; and a copy with the places of the
//! original.

use std::ops::ControlFlow;
use std::ptr::NonNull;

use super::bucket::{Bucket, Packed, home_of};
use super::segment::{Segment, Word};
use super::{Table, span};

/// Bits of a tag.
pub(super) const TAG_BITS: u32 = 16;

/// A slot has the bits of a hash that its segment skips and those of the tag. When the other
/// table has a segment that is so many levels deeper, it takes hashing to find an entry there.
const DEEPER_MAX: u32 = 4;

/// Entries in the overflow list of a segment that are too many. Evenly spread hashes leave it
/// empty.
const SKEWED_OVERFLOW: usize = 32;

/// The entry of a table under a hash of which a slot gives the leading bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// No entry.
    Nothing,
    /// The first entry that may have the hash; there may be more.
    First(NonNull<u8>),
    /// Too little was known.
    Unknown,
}

impl Table {
    /// Whether hashes around this one are so close to each other that lookups become slow. So it is
    /// when they were added in their order, or when all begin with the same bits.
    pub(crate) fn is_skewed(&self, hash: u64) -> bool {
        let located = self.locate(hash);
        located.is_some_and(|(_, word)| word.view().overflow_len() >= SKEWED_OVERFLOW)
    }

    /// A table of other entries under the same hashes: `copy` is given each entry and returns the
    /// other.
    pub(crate) fn duplicate(&self, mut copy: impl FnMut(NonNull<u8>) -> NonNull<u8>) -> Table {
        let mut table = Table::new(self.prefix_bits);
        table.depth = self.depth;
        table.directory.reserve_exact(self.directory.len());
        // While words are missing the table would not be well-formed, but it can be dropped.
        while let Some(word) = self.word(table.directory.len()) {
            let mut words = word.view().gather();
            for packed in &mut words {
                if let Some(entry) = packed.entry() {
                    *packed = Packed::new(packed.tag(), copy(entry));
                }
            }
            let twin = Word::build(&words, word.skip(), word.buckets());
            let places = span(self.depth, word.skip() - self.prefix_bits);
            let filled = table.directory.len() + places;
            table.directory.resize(filled, twin);
            table.account(twin);
            table.deepest += usize::from(places == 1);
            table.len += words.len();
        }
        table
    }

    /// Visits all entries, each with what `other` has under its hash, in the order of their
    /// segments. Only for tables without a prefix.
    pub(crate) fn join(
        &self,
        other: &Table,
        mut visit: impl FnMut(NonNull<u8>, Found) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        debug_assert!(self.prefix_bits == 0 && other.prefix_bits == 0);
        let mut index = 0;
        while let Some(word) = self.word(index) {
            // Two shifts, because a shift by 64 (depth 0) would not be zero.
            let hash = (index as u64) << (63 - self.depth) << 1;
            index += span(self.depth, word.skip());
            let mine = word.view();
            let known = word.skip() + TAG_BITS;
            let hash_of = |packed: Packed| hash | u64::from(packed.tag()) << (64 - known);
            match other.locate(hash) {
                None => meet_all(mine, |_| Found::Nothing, &mut visit)?,
                // All hashes of this segment lie in one segment of the other table.
                Some((_, theirs)) if theirs.skip() <= word.skip() => {
                    let segment = theirs.view();
                    let meet = |packed| first_in(segment, theirs.tag(hash_of(packed)));
                    meet_all(mine, meet, &mut visit)?;
                }
                Some(_) => {
                    let meet = |packed| other.first_of_known(hash_of(packed), known);
                    meet_all(mine, meet, &mut visit)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// The first entry under a hash of which only the leading bits are known; the others are zero.
    fn first_of_known(&self, hash: u64, known: u32) -> Found {
        let Some((_, word)) = self.locate(hash) else {
            return Found::Nothing;
        };
        let segment = word.view();
        let tag = word.tag(hash);
        let unknown = (word.skip() + TAG_BITS).saturating_sub(known);
        if unknown == 0 {
            return first_in(segment, tag);
        }
        if unknown > DEEPER_MAX {
            return Found::Unknown;
        }
        let homes = segment.buckets.len();
        let (first, last) = (
            home_of(tag, homes),
            home_of(tag | ((1 << unknown) - 1), homes),
        );
        // Entries that do not fit their home bucket lie in the next one.
        let lines = segment.buckets.iter().take(last + 2).skip(first);
        let words = lines.flat_map(|line| line.words());
        let stashed = segment.stashed().map(|(_, packed)| packed);
        words
            .chain(stashed)
            .filter(|packed| packed.tag() >> unknown == tag >> unknown)
            .find_map(Packed::entry)
            .map_or(Found::Nothing, Found::First)
    }
}

/// Visits all entries of a segment, each with what it meets.
#[inline(always)]
fn meet_all(
    segment: Segment<'_>,
    meet: impl Fn(Packed) -> Found,
    visit: &mut impl FnMut(NonNull<u8>, Found) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for line in segment.buckets {
        for packed in line.words() {
            if let Some(entry) = packed.entry() {
                visit(entry, meet(packed))?;
            }
        }
    }
    for (_, packed) in segment.stashed() {
        if let Some(entry) = packed.entry() {
            visit(entry, meet(packed))?;
        }
    }
    ControlFlow::Continue(())
}

/// The first entry of a segment under a tag.
#[inline(always)]
fn first_in(segment: Segment<'_>, tag: u16) -> Found {
    let home = home_of(tag, segment.buckets.len());
    let line = &segment.buckets[home];
    let here = |line: &Bucket| line.matches(tag).find_map(|slot| line.get(slot).entry());
    if let Some(entry) = here(line) {
        return Found::First(entry);
    }
    if line.flags() == 0 {
        return Found::Nothing;
    }
    let next = segment.buckets.get(home + 1);
    let mut stashed = segment.stashed().filter(|(_, packed)| packed.tag() == tag);
    next.and_then(here)
        .or_else(|| stashed.find_map(|(_, packed)| packed.entry()))
        .map_or(Found::Nothing, Found::First)
}

#[cfg(test)]
mod tests {
    use super::super::HashOf;
    use super::*;

    struct Stored;

    impl HashOf for Stored {
        fn hash(&self, ptr: NonNull<u8>) -> u64 {
            // SAFETY: tables of these tests point to hashes.
            unsafe { ptr.cast::<u64>().read() }
        }
    }

    fn table(hashes: &[u64]) -> Table {
        let mut table = Table::new(0);
        for hash in hashes {
            table.insert(*hash, NonNull::from(hash).cast(), &Stored);
        }
        table
    }

    fn hashes(count: u64) -> Vec<u64> {
        let mix = |n: u64| {
            let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            n ^ n >> 31
        };
        (1..=count).map(mix).collect()
    }

    #[test]
    fn entries_are_found_in_tables_of_other_sizes() {
        let sizes: &[u64] = if cfg!(miri) {
            &[3, 40, 700]
        } else {
            &[1, 40, 500, 3000, 20_000]
        };
        let most = hashes(sizes[sizes.len() - 1]);
        for small in sizes {
            for large in sizes {
                let (a, b) = (&most[..*small as usize], &most[..*large as usize]);
                let (a, b) = (table(a), table(b));
                let (mut unknown, mut found) = (0, 0);
                let whole = a.join(&b, |entry, meets| {
                    let hash = Stored.hash(entry);
                    match meets {
                        Found::Nothing => {
                            assert!(b.find(hash, |it| Stored.hash(it) == hash).is_none())
                        }
                        Found::Unknown => unknown += 1,
                        Found::First(it) if Stored.hash(it) == hash => found += 1,
                        // Another one with the same leading bits came first.
                        Found::First(_) => {
                            found +=
                                u64::from(b.find(hash, |it| Stored.hash(it) == hash).is_some());
                        }
                    }
                    ControlFlow::Continue(())
                });
                assert!(whole.is_continue());
                assert!(unknown == 0 || small * 8 < *large);
                assert!(
                    unknown > 0 || found == *small.min(large),
                    "{small} in {large}"
                );
            }
        }
    }

    #[test]
    fn a_duplicate_is_a_table() {
        let most = hashes(if cfg!(miri) { 600 } else { 5000 });
        for count in [0, 1, 9, most.len()] {
            let original = table(&most[..count]);
            let mut copy = original.duplicate(|entry| entry);
            copy.check_invariants(&Stored);
            assert_eq!(copy.len(), count);
            for hash in &most[..count] {
                let slot = copy.find(*hash, |_| true).unwrap();
                copy.remove(slot, &Stored);
            }
            copy.check_invariants(&Stored);
            original.check_invariants(&Stored);
        }
    }

    #[test]
    fn what_begins_alike_skews() {
        let even = hashes(5000);
        let skewed = |hashes: &[u64]| {
            let table = table(hashes);
            hashes.iter().any(|hash| table.is_skewed(*hash))
        };
        let counts = if cfg!(miri) { 1..=200 } else { 1..=5000 };
        assert!(counts.step_by(100).all(|count| !skewed(&even[..count])));
        // In the order of the hashes splits go ahead of the others.
        let mut sorted = even.clone();
        sorted.sort_unstable();
        assert!(!skewed(&sorted));
        let corner: Vec<_> = even.iter().map(|hash| hash >> 24).collect();
        assert!(skewed(&corner[..100]));
    }
}
