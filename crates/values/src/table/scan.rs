//! Walking the table: in hash order with a cursor, at random, and whole.

use std::ptr::NonNull;

use super::bucket::{self, home_of};
#[cfg(test)]
use super::bucket::{NEIGHBOUR, STASH};
use super::segment::{Place, Segment, Word};
use super::{HashOf, Slot, Table, span};

/// Tries of [`Table::random`] before it takes the next entry it finds. Each try hits with a
/// probability of about the fill, so this is reached only in very uneven tables.
const RANDOM_TRIES: usize = 64;

/// Shape of a table, for DEBUG HTSTATS and tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Number of entries.
    pub entries: usize,
    /// Number of segments.
    pub segments: usize,
    /// Number of buckets.
    pub buckets: usize,
    /// Number of words of the directory.
    pub directory: usize,
    /// Buckets by the number of filled slots, 0 to 8.
    pub fill: [usize; bucket::SLOTS + 1],
    /// Entries that lie in the bucket after their home.
    pub displaced: usize,
    /// Entries in stashes.
    pub stashed: usize,
    /// Entries in overflow lists.
    pub overflowed: usize,
    /// Most entries that share one home bucket: the most entries that one lookup or SCAN step looks
    /// at.
    pub largest_home: usize,
    /// Bytes of directory and segments.
    pub memory: usize,
}

impl Table {
    /// Visits the entries of one home bucket from hash position `position` on and returns the
    /// position after them, 0 at the end of the table. The first position is the table's prefix
    /// followed by zero bits; all positions carry that prefix. Guarantees: see the module.
    ///
    /// Returned positions have their lower 16 bits clear, which [`cursor`](super::cursor) relies
    /// on. The scan hashes entries only when the table merged after the call that returned
    /// `position`: the few entries whose tag is that of the position.
    pub fn scan(
        &self,
        position: u64,
        hasher: &impl HashOf,
        mut visit: impl FnMut(NonNull<u8>),
    ) -> u64 {
        let Some((_, word)) = self.locate(position) else {
            return 0;
        };
        let segment = word.view();
        let tag = word.tag(position);
        let home = home_of(tag, segment.buckets.len());
        // Below the tag the position may have bits that stored tags lack.
        let finer = position << word.skip() << 16 != 0;
        for packed in segment.words_of_home(home) {
            let Some(entry) = packed.entry() else {
                continue;
            };
            let due = packed.tag() > tag
                || packed.tag() == tag && (!finer || hasher.hash(entry) >= position);
            if due {
                visit(entry);
            }
        }
        self.position_after(position, *word, home)
    }

    /// The first hash position after a home bucket of the segment that `position` lies in; 0 when
    /// that is beyond the table.
    fn position_after(&self, position: u64, word: Word, home: usize) -> u64 {
        let skip = word.skip();
        let kept = u64::MAX.checked_shl(64 - skip).unwrap_or(0);
        // The smallest tag with tag * buckets >> 16 > home; 65,536 after the last bucket.
        let next_tag = ((home as u64 + 1) << 16).div_ceil(word.buckets() as u64);
        let Some(next) = (position & kept).checked_add(next_tag << (48 - skip)) else {
            return 0;
        };
        let prefix = u64::MAX.checked_shl(64 - self.prefix_bits).unwrap_or(0);
        if (next ^ position) & prefix != 0 {
            0
        } else {
            next
        }
    }

    /// A random entry, each with the same probability (but for entries in overflow lists and very
    /// uneven tables). `rng` returns 64 random bits; it is called about 1.3 times on average.
    pub fn random(&self, rng: &mut impl FnMut() -> u64) -> Option<Slot> {
        let mut start = 0;
        for _ in 0..RANDOM_TRIES {
            let bits = rng();
            let index = (bits.checked_shr(64 - self.depth)).unwrap_or(0) as usize;
            let word = self.word(index)?;
            start = index;
            // A shallow segment stands in several words: only the first counts, so that each slot
            // is as likely as any other.
            if self.first_of(index, *word) != index {
                continue;
            }
            // One draw over the places of the largest segment; a single segment has its own size.
            let lines = if self.depth == 0 {
                word.buckets() + 1
            } else {
                64
            };
            let place = (bits as u32 as u64 * (lines * bucket::SLOTS) as u64) >> 32;
            if let Some(slot) = self.slot_at(index, word.view(), place as usize) {
                return Some(slot);
            }
        }
        self.next_occupied(start, rng())
    }

    /// The slot at a numbered place of a segment: stash line, then buckets.
    fn slot_at(&self, index: usize, segment: Segment<'_>, number: usize) -> Option<Slot> {
        let place = Place::numbered(number);
        let entry = segment.at(place).entry()?;
        Some(Slot::new(entry, index, place))
    }

    /// The first entry found from a segment and place on, wrapping; includes overflow lists.
    fn next_occupied(&self, start: usize, bits: u64) -> Option<Slot> {
        let count = self.directory.len();
        (0..count)
            .map(|step| (start + step) % count)
            .find_map(|index| {
                let segment = self.word(index)?.view();
                let places = (segment.buckets.len() + 1) * bucket::SLOTS;
                let from = (bits % places as u64) as usize;
                (0..places)
                    .find_map(|i| self.slot_at(index, segment, (from + i) % places))
                    .or_else(|| {
                        let (place, packed) = segment.stashed().next()?;
                        Some(Slot::new(packed.entry()?, index, place))
                    })
            })
    }

    /// Visits up to `count` different entries of consecutive buckets, beginning at a random one:
    /// cheap on the cache, and random enough to choose victims for eviction. Stashed entries come
    /// with the last bucket of their segment.
    pub fn sample(
        &self,
        rng: &mut impl FnMut() -> u64,
        count: usize,
        mut visit: impl FnMut(NonNull<u8>),
    ) {
        let bits = rng();
        let Some((index, word)) = self.locate(bits >> self.prefix_bits) else {
            return;
        };
        let mut left = count.min(self.len);
        let start = self.first_of(index, *word);
        let offset = home_of(word.tag(bits >> self.prefix_bits), word.buckets());
        let mut take = |segment: Segment<'_>, buckets: std::ops::Range<usize>| {
            let last = buckets.end == segment.buckets.len();
            let stashed = last.then(|| segment.stashed().map(|(_, packed)| packed));
            let words = segment.buckets[buckets]
                .iter()
                .flat_map(bucket::Bucket::words);
            for packed in words.chain(stashed.into_iter().flatten()) {
                if left == 0 {
                    return false;
                }
                if let Some(entry) = packed.entry() {
                    visit(entry);
                    left -= 1;
                }
            }
            left > 0
        };
        let mut index = start;
        let mut range = offset..word.buckets();
        loop {
            let Some(word) = self.word(index) else {
                return;
            };
            if !take(word.view(), range) {
                return;
            }
            index += span(self.depth, word.skip() - self.prefix_bits);
            index %= self.directory.len();
            if index == start {
                if let Some(word) = self.word(start) {
                    take(word.view(), 0..offset);
                }
                return;
            }
            range = 0..self.directory[index].buckets();
        }
    }

    /// All entries, in the order of their segments.
    pub fn iter(&self) -> impl Iterator<Item = NonNull<u8>> + '_ {
        self.segments()
            .flat_map(Segment::words)
            .filter_map(|packed| packed.entry())
    }

    fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        let mut index = 0;
        std::iter::from_fn(move || {
            let word = self.word(index)?;
            index += span(self.depth, word.skip() - self.prefix_bits);
            Some(word.view())
        })
    }

    /// Walks the whole table and describes its shape.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            entries: self.len,
            segments: self.segments,
            buckets: self.buckets(),
            directory: self.directory.len(),
            memory: self.memory_usage(),
            ..Stats::default()
        };
        for segment in self.segments() {
            let count = segment.buckets.len();
            let overflowed = segment.overflow_len();
            stats.overflowed += overflowed;
            stats.stashed += segment.stashed().count() - overflowed;
            for (number, line) in segment.buckets.iter().enumerate() {
                let filled = line.words().filter(|word| !word.is_empty());
                stats.fill[filled.count()] += 1;
                stats.displaced += line
                    .words()
                    .filter(|w| !w.is_empty() && home_of(w.tag(), count) != number)
                    .count();
                let at_home = segment.words_of_home(number).count();
                stats.largest_home = stats.largest_home.max(at_home);
            }
        }
        stats
    }

    /// Checks every invariant of the structure; panics at the first that does not hold.
    #[cfg(test)]
    pub(super) fn check_invariants(&self, hasher: &impl HashOf) {
        assert_eq!(
            self.directory.len(),
            if self.len == 0 { 0 } else { 1 << self.depth }
        );
        let (mut index, mut entries, mut segments, mut lines, mut deepest) = (0, 0, 0, 0, 0);
        while index < self.directory.len() {
            let word = self.word(index).unwrap();
            let segment = word.view();
            let width = span(self.depth, word.skip() - self.prefix_bits);
            for other in &self.directory[index..index + width] {
                assert_eq!(other.bucket_address(0), word.bucket_address(0));
                assert_eq!(
                    (other.skip(), other.buckets()),
                    (word.skip(), word.buckets())
                );
            }
            assert_eq!(segment.words().count(), word.len() + segment.overflow_len());
            assert_eq!(word.buckets(), segment.buckets.len());
            for packed in segment.words() {
                let hash = hasher.hash(packed.entry().unwrap());
                let (at, _) = self.locate(hash).unwrap();
                assert_eq!(self.first_of(at, *word), index);
                assert_eq!(word.tag(hash), packed.tag());
            }
            Self::check_flags(segment);
            entries += word.len() + segment.overflow_len();
            segments += 1;
            lines += word.buckets() + 1;
            deepest += usize::from(width == 1);
            index += width;
        }
        let mine = (self.len, self.segments, self.lines, self.deepest);
        assert_eq!(mine, (entries, segments, lines, deepest));
    }

    #[cfg(test)]
    fn check_flags(segment: Segment<'_>) {
        let count = segment.buckets.len();
        for (number, line) in segment.buckets.iter().enumerate() {
            let of_home =
                |word: super::Packed| !word.is_empty() && home_of(word.tag(), count) == number;
            let next = segment.buckets.get(number + 1);
            let displaced = next.is_some_and(|next| next.words().any(of_home));
            assert_eq!(line.flags() & NEIGHBOUR != 0, displaced);
            let stashed = segment.stashed().any(|(_, word)| of_home(word));
            assert_eq!(line.flags() & STASH != 0, stashed);
            for word in line.words().filter(|word| !word.is_empty()) {
                let home = home_of(word.tag(), count);
                assert!(home == number || home + 1 == number);
            }
        }
    }
}
