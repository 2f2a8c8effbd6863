//! The hash table of the keyspace and of big hashes and sets.
//!
//! A raw table: it stores non-null, 8-aligned pointers to entries under 64-bit hashes, never looks
//! into an entry and does not own it. Callers compare keys in the closure of [`Table::find`] and
//! give hashes of stored entries through [`HashOf`] when a split needs more hash bits.
//!
//! # Features
//! * no rehash stall and no second table: growing rebuilds one segment of at most 4 KiB;
//! * at most two cache misses for a hit (bucket, entry), both of which can be prefetched;
//! * a fill of 0.75-0.85 of the bucket slots on average, at every size;
//! * storage order is hash order at every size, so a scan that continues at a position in
//!   the order (a hash value) survives growth, splits, merges and shrinking;
//! * no lookup allocates; memory returns as entries go, an empty table owns none.
//!
//! # Structure
//! ```text
//!  hash     | prefix | directory index ...        |      tag       | unused |
//!           | shard  | depth of the segment       |     16 bits    |        |
//!                        |                              |
//!  directory             v                              |  home = tag * n >> 16
//!   +------+------+------+------+                       |
//!   | word | word | word | word |  2^global depth       |
//!   +--+---+--+---+---+--+--+---+                       v
//!      |      \_______/     |       segment: +--------+--------+-----+----------+
//!      v          v         v                | header | bucket | ... | bucket   |  n = 1..=63
//!   segment    segment   segment             | stash  |   0    |     |  n - 1   |  64 bytes each
//!                                            +--------+--------+-----+----------+
//!  bucket (one cache line)
//!   +--------------------------------+------+     +------+
//!   | tag 16 | address 45 | flags 3  |slot 1| ... |slot 7|
//!   +--------------------------------+------+     +------+
//!     slot 0                    flags of slot 0 are the bucket's: bit 0: an entry of this home
//!                               lies in the next bucket; bit 1: one lies in the stash
//! ```
//! A word packs the segment's address, bucket count and depth, so the address of a bucket is known
//! without touching the segment. An entry lies in its home bucket, else in the following one (not
//! wrapping), else in the stash. Home is derived from the tag, so a displaced entry needs no mark,
//! and a segment grows or shrinks without reading its entries. A segment of the largest size splits
//! in two of depth + 1; only that needs real hashes. Two buddies that shrank merge again: the
//! lowest tag bit is dropped, the side becomes the highest.
//!
//! # Conventions
//! * The top `prefix_bits` of all hashes in one table are equal (the shard was chosen with them).
//! * A [`Slot`] is valid until the next change of the table.
//! * Hashes should come from a keyed function. Equal hashes work, but are searched one by one.
//!
//! # What SCAN guarantees
//! A position is a hash value. One call of [`Table::scan`] from position `p` that returns `q`
//! visits exactly the entries present at the call with `p <= hash < q`, each once (`q` = 0: to the
//! end of the table), and `q` is greater than `p`. Hence, over a sequence of calls from the first
//! position to 0, with any changes of the table between the calls:
//! 1. an entry present from the first call to the last is visited exactly once;
//! 2. an entry absent throughout is never visited;
//! 3. an entry added or removed meanwhile is visited at most once; one that is removed and added
//!    again may be visited once for each time it was there.
//!
//! Clients get positions as smaller integers: see [`cursor`].

mod bucket;
pub mod cursor;
mod order;
mod scan;
mod segment;
#[cfg(test)]
mod tests;

use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;

pub use bucket::prefetch;
use bucket::{Bucket, NEIGHBOUR, Packed, STASH, home_of};
pub(crate) use order::Found;
pub use scan::Stats;
use segment::{Gathered, Place, Segment, SegmentMut, Word, next_size, size_for};

/// Hash bits in front of the tag, at most: directory index and prefix. With the 16 bits of the tag
/// the top 48 bits of a hash count; more segments than this addresses would not fit memory.
const MAX_SKIP: u32 = 32;

/// The directory doubles only while it has at most this many words per segment, or per entry. Good
/// hashes never come near. Entries that arrive in the order of their hashes, for instance from
/// another table, are dense at the beginning and leave the rest empty: they need the final depth of
/// the table early. Equal hashes end in an overflow list instead of a huge directory.
const MAX_WORDS_PER_SEGMENT: usize = 8;

/// Two buddies merge when together they have at most this many entries: 0.6 of the largest segment,
/// while a split leaves about 0.85 of it, so splits and merges do not alternate.
const MERGE_ENTRIES: usize = segment::MAX_BUCKETS * bucket::SLOTS * 6 / 10;

/// How many entries ahead a split prefetches what it will hash: enough to cover a memory access
/// with the hashing of the entries between.
const SPLIT_LOOKAHEAD: usize = 16;

/// A small entry ends in its second cache line as often as not.
#[inline]
fn prefetch_lines(entry: NonNull<u8>) {
    const LINE_BYTES: usize = 64;
    prefetch(entry.as_ptr());
    prefetch(entry.as_ptr().wrapping_add(LINE_BYTES));
}

/// Gives the hash of a stored entry.
pub trait HashOf {
    /// The same value that was given to [`Table::insert`] with this entry.
    fn hash(&self, ptr: NonNull<u8>) -> u64;
}

/// Position of an entry, valid until the next change of the table.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    entry: NonNull<u8>,
    directory: u32,
    place: Place,
}

impl Slot {
    #[inline(always)]
    fn new(entry: NonNull<u8>, directory: usize, place: Place) -> Slot {
        // A directory has at most 2^32 words (MAX_SKIP).
        Slot {
            entry,
            directory: directory as u32,
            place,
        }
    }
}

/// The table (see the module's documentation).
///
/// Dropping it frees the table's own memory, not the entries.
pub struct Table {
    /// 2^depth words; empty while the table is. A segment of depth d stands in 2^(depth - d)
    /// adjacent words, of which the first carries its length.
    directory: Vec<Word>,
    len: usize,
    segments: usize,
    /// Header and bucket lines of all segments.
    lines: usize,
    /// Segments whose depth is the directory's: when there are none, it can halve.
    deepest: usize,
    prefix_bits: u32,
    depth: u32,
}

// SAFETY: the table owns its segments alone and never dereferences entries. Reading one through its
// address takes an unsafe block of the caller's.
unsafe impl Send for Table {}
// SAFETY: methods taking &self only read the segments, and never the entries.
unsafe impl Sync for Table {}

impl Table {
    /// An empty table for hashes whose top `prefix_bits` (at most 16) are all equal. Allocates
    /// nothing.
    pub const fn new(prefix_bits: u32) -> Table {
        assert!(prefix_bits <= 16);
        Table {
            directory: Vec::new(),
            len: 0,
            segments: 0,
            lines: 0,
            deepest: 0,
            prefix_bits,
            depth: 0,
        }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of buckets, of 8 slots each.
    pub fn buckets(&self) -> usize {
        self.lines - self.segments
    }

    /// Bytes the table has allocated, without the entries and without overflow lists.
    pub fn memory_usage(&self) -> usize {
        self.lines * size_of::<bucket::Bucket>() + self.directory.capacity() * size_of::<Word>()
    }

    /// Starts bringing the bucket of `hash` into the cache.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        if let Some((_, word)) = self.locate(hash) {
            prefetch(word.bucket_address(home_of(word.tag(hash), word.buckets())));
        }
    }

    /// Starts bringing the entries that `hash` may mean into the cache (their first two lines:
    /// header and key, and the beginning of an inline value). Reads the bucket, so
    /// [`Table::prefetch_bucket`] should have been called some time before.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        let Some((_, word)) = self.locate(hash) else {
            return;
        };
        let segment = word.view();
        let tag = word.tag(hash);
        let home = home_of(tag, segment.buckets.len());
        let bucket = &segment.buckets[home];
        let mut any = false;
        for slot in bucket.matches(tag) {
            if let Some(entry) = bucket.get(slot).entry() {
                prefetch_lines(entry);
                any = true;
            }
        }
        if !any
            && bucket.flags() & NEIGHBOUR != 0
            && let Some(next) = segment.buckets.get(home + 1)
        {
            for slot in next.matches(tag) {
                if let Some(entry) = next.get(slot).entry() {
                    prefetch_lines(entry);
                }
            }
        }
    }

    /// The entry with this hash for which `eq` holds. `eq` gets entries whose hash agrees in its
    /// leading bits, so it must compare keys.
    #[inline]
    pub fn find(&self, hash: u64, mut eq: impl FnMut(NonNull<u8>) -> bool) -> Option<Slot> {
        self.search(hash, |slot| eq(slot.entry))
    }

    /// Visits all entries that agree with `hash` in the bits the table keeps: at least those with
    /// this hash, rarely others.
    #[inline]
    pub fn candidates(&self, hash: u64, mut visit: impl FnMut(Slot, NonNull<u8>)) {
        self.search(hash, |slot| {
            visit(slot, slot.entry);
            false
        });
    }

    /// The first slot with the tag of `hash` that is `wanted`.
    #[inline(always)]
    fn search(&self, hash: u64, mut wanted: impl FnMut(Slot) -> bool) -> Option<Slot> {
        let (index, word) = self.locate(hash)?;
        let segment = word.view();
        let tag = word.tag(hash);
        let home = home_of(tag, segment.buckets.len());
        let line = segment.buckets.get(home)?;
        let found = search_bucket(line, (index, home), tag, &mut wanted);
        if found.is_some() || line.flags() == 0 {
            return found;
        }
        search_further(segment, (index, home), tag, &mut wanted)
    }

    /// The entry at `slot`.
    #[inline]
    pub fn get(&self, slot: Slot) -> NonNull<u8> {
        slot.entry
    }

    /// Puts `ptr`, an entry with the same hash, in the place of the entry at `slot`, which is
    /// returned.
    ///
    /// # Panics
    /// When `ptr` is not 8-aligned or `slot` is stale.
    pub fn replace(&mut self, slot: Slot, ptr: NonNull<u8>) -> NonNull<u8> {
        assert!(bucket::is_packable(ptr), "entries must be 8-aligned");
        let (first, tag) = self.check(slot);
        self.segment_mut(first)
            .replace(slot.place, Packed::new(tag, ptr));
        slot.entry
    }

    /// Adds an entry. It is not in the table yet.
    ///
    /// # Panics
    /// When `ptr` is not 8-aligned.
    pub fn insert(&mut self, hash: u64, ptr: NonNull<u8>, hasher: &impl HashOf) {
        assert!(bucket::is_packable(ptr), "entries must be 8-aligned");
        if self.directory.is_empty() {
            self.directory = Vec::with_capacity(1);
            let word = Word::build(&[], self.prefix_bits, 1);
            self.directory.push(word);
            self.account(word);
            self.deepest = 1;
        }
        loop {
            let Some((index, word)) = self.locate(hash) else {
                unreachable!("the directory has a word for every hash")
            };
            let first = self.first_of(index, *word);
            let word = self.directory[first];
            if word.is_crowded() && self.grow(first, hasher) {
                continue;
            }
            let packed = Packed::new(word.tag(hash), ptr);
            if self.segment_mut(first).place(packed) {
                self.directory[first].add_len(false);
                break;
            }
            let has_grown = match word.is_half_full() {
                true => self.grow(first, hasher),
                false => self.is_one_sided(first, hasher) && self.split(first, hasher),
            };
            if !has_grown {
                self.segment_mut(first).push_overflow(packed);
                break;
            }
        }
        self.len += 1;
    }

    /// Removes and returns the entry at `slot`; gives memory back when a segment becomes sparse.
    ///
    /// The present layout does not use `hasher`: a merge derives tags from tags. It is part of the
    /// contract because a layout with other tags would need it.
    ///
    /// # Panics
    /// When `slot` is stale.
    pub fn remove(&mut self, slot: Slot, hasher: &impl HashOf) -> NonNull<u8> {
        let _ = hasher;
        let (first, _) = self.check(slot);
        self.len -= 1;
        if !self.segment_mut(first).take(slot.place) {
            self.directory[first].add_len(true);
        }
        if self.len == 0 {
            self.clear();
        } else if self.directory[first].is_sparse() {
            self.shrink(first);
        }
        slot.entry
    }

    /// Removes all entries and gives all memory back. The entries themselves are the caller's; see
    /// [`Table::drain`].
    pub fn clear(&mut self) {
        let words = std::mem::take(&mut self.directory);
        let (prefix_bits, depth) = (self.prefix_bits, self.depth);
        let mut index = 0;
        while let Some(&word) = words.get(index) {
            index += span(depth, word.skip() - prefix_bits);
            // SAFETY: the directory was taken, so no other copy of the word is reachable; stepping
            // by the span meets each segment once.
            unsafe { word.free() };
        }
        self.depth = 0;
        self.len = 0;
        self.segments = 0;
        self.lines = 0;
        self.deepest = 0;
    }

    /// As [`Table::clear`], but hands every entry to `visit` first.
    pub fn drain(&mut self, mut visit: impl FnMut(NonNull<u8>)) {
        let content = std::mem::replace(self, Table::new(self.prefix_bits));
        content.iter().for_each(&mut visit);
    }

    /// The directory index and word for a hash; none while the table is empty.
    #[inline(always)]
    fn locate(&self, hash: u64) -> Option<(usize, Listed<'_>)> {
        // Two shifts, because a shift by 64 (depth 0) would not be zero.
        let index = hash.wrapping_shl(self.prefix_bits) >> 1;
        let index = index.wrapping_shr(63u32.wrapping_sub(self.depth)) as usize;
        self.word(index).map(|word| (index, word))
    }

    /// The word at a directory index.
    #[inline(always)]
    fn word(&self, index: usize) -> Option<Listed<'_>> {
        self.directory.get(index).map(|word| Listed {
            word: *word,
            table: PhantomData,
        })
    }

    /// The segment of a directory index, for change.
    #[inline(always)]
    fn segment_mut(&mut self, index: usize) -> SegmentMut<'_> {
        // SAFETY: every segment in the directory is live: `install` and `insert` put new ones
        // there, and `retire` and `clear` free those that it has no more. &mut self excludes other
        // views.
        unsafe { self.directory[index].view_mut() }
    }

    /// First directory index and tag of a slot; panics when the slot is stale.
    fn check(&self, slot: Slot) -> (usize, u16) {
        let index = slot.directory as usize;
        let Some(word) = self.word(index) else {
            unreachable!("stale slot")
        };
        let packed = word.view().at(slot.place);
        assert!(packed.entry() == Some(slot.entry), "stale slot");
        (self.first_of(index, *word), packed.tag())
    }

    /// The first of the directory indexes that name this segment.
    #[inline(always)]
    fn first_of(&self, index: usize, word: Word) -> usize {
        index & !(span(self.depth, word.skip() - self.prefix_bits) - 1)
    }

    fn account(&mut self, word: Word) {
        self.segments += 1;
        self.lines += word.buckets() + 1;
    }

    /// Puts a new segment in the directory places from `first` on that its depth entitles it to.
    fn install(&mut self, first: usize, word: Word) {
        let count = span(self.depth, word.skip() - self.prefix_bits);
        self.directory[first..first + count].fill(word);
        self.account(word);
    }

    /// Frees a segment.
    ///
    /// # Safety
    /// Its directory places have been given to others, and no copy of the word is used again.
    unsafe fn retire(&mut self, word: Word) {
        self.segments -= 1;
        self.lines -= word.buckets() + 1;
        // SAFETY: the segment was in the directory until now, hence live, and &mut self excludes
        // views.
        unsafe { word.free() };
    }

    /// The words of all entries of a segment.
    fn gather(&self, index: usize) -> Gathered {
        self.word(index)
            .map_or_else(Gathered::new, |word| word.view().gather())
    }

    /// Number of entries in the overflow list of a segment.
    fn overflow_len(&self, index: usize) -> usize {
        self.word(index)
            .map_or(0, |word| word.view().overflow_len())
    }

    /// Words that the directory may have.
    fn words_max(&self) -> usize {
        MAX_WORDS_PER_SEGMENT.saturating_mul(self.segments.max(self.len))
    }

    /// Whether nearly all entries of a full segment are in one half of its range, so that a split
    /// gets nearer to the bits that distinguish them. When all tags are equal, two real hashes must
    /// differ within the depth that the directory may have. Checked only at every eighth entry of
    /// the overflow list, because it reads the whole segment.
    fn is_one_sided(&self, index: usize, hasher: &impl HashOf) -> bool {
        let Some(word) = self.word(index) else {
            return false;
        };
        let segment = word.view();
        if !segment.overflow_len().is_multiple_of(bucket::SLOTS) {
            return false;
        }
        let words = segment.gather();
        let (Some(first), Some(last)) = (words.first(), words.last()) else {
            return false;
        };
        let upper = words
            .iter()
            .filter(|packed| packed.tag() >> 15 == 1)
            .count();
        if upper.min(words.len() - upper) * 8 > words.len() {
            return false;
        }
        if words.iter().any(|packed| packed.tag() != first.tag()) {
            return true;
        }
        let (Some(first), Some(last)) = (first.entry(), last.entry()) else {
            return false;
        };
        let equal_bits = (hasher.hash(first) ^ hasher.hash(last)).leading_zeros();
        let depth = (equal_bits + 1).saturating_sub(self.prefix_bits);
        depth <= MAX_SKIP && 1usize << depth <= self.words_max()
    }

    /// Gives a segment more buckets, or splits it. False when neither is possible.
    fn grow(&mut self, first: usize, hasher: &impl HashOf) -> bool {
        let word = self.directory[first];
        match next_size(word.buckets()) {
            Some(larger) => {
                self.rebuild(first, larger);
                true
            }
            None => self.split(first, hasher),
        }
    }

    /// Builds a segment anew, with at least so many buckets. Entries are not read.
    fn rebuild(&mut self, first: usize, at_least: usize) {
        let old = self.directory[first];
        let words = self.gather(first);
        self.install(first, Word::build(&words, old.skip(), at_least));
        // SAFETY: the new segment has all places of the old one, and `old` is not used again.
        unsafe { self.retire(old) };
    }

    /// Parts a segment in two by the next hash bit. False when the directory may not grow for that.
    fn split(&mut self, mut first: usize, hasher: &impl HashOf) -> bool {
        let old = self.directory[first];
        let skip = old.skip() + 1;
        if skip > MAX_SKIP {
            return false;
        }
        if old.skip() - self.prefix_bits == self.depth {
            if self.directory.len() * 2 > self.words_max() {
                return false;
            }
            self.double_directory();
            first *= 2;
        }
        let words = self.gather(first);
        let mut halves = [Gathered::new(), Gathered::new()];
        for (i, packed) in words.iter().enumerate() {
            if let Some(ahead) = words.get(i + SPLIT_LOOKAHEAD).and_then(|word| word.entry()) {
                prefetch(ahead.as_ptr());
            }
            let Some(entry) = packed.entry() else {
                continue;
            };
            let tag = (hasher.hash(entry) << skip >> 48) as u16;
            halves[usize::from(packed.tag() >> 15)].push(packed.with_tag(tag));
        }
        let [low, high] = halves.map(|half| Word::build(&half, skip, 1));
        self.install(first, low);
        self.install(first + span(self.depth, skip - self.prefix_bits), high);
        // SAFETY: the two halves have all places of the old segment, and `old` is not used again.
        unsafe { self.retire(old) };
        if skip - self.prefix_bits == self.depth {
            self.deepest += 2;
        }
        true
    }

    /// After a removal left a segment sparse: merges it with its buddy or gives it fewer buckets.
    fn shrink(&mut self, first: usize) {
        if self.merge(first) {
            return;
        }
        let word = self.directory[first];
        let entries = word.len() + self.overflow_len(first);
        let wanted = size_for(entries);
        if wanted < word.buckets() {
            self.rebuild(first, wanted);
        }
    }

    /// Joins a segment and its buddy if both together are small enough. Entries are not read: the
    /// side becomes the highest bit of the tag, the lowest is dropped.
    fn merge(&mut self, first: usize) -> bool {
        let word = self.directory[first];
        let depth = word.skip() - self.prefix_bits;
        if depth == 0 {
            return false;
        }
        let width = span(self.depth, depth);
        let low = first & !(2 * width - 1);
        let pair = [self.directory[low], self.directory[low + width]];
        if pair[0].skip() != pair[1].skip()
            || pair[0].len() + pair[1].len() > MERGE_ENTRIES
            || self.overflow_len(low) + self.overflow_len(low + width) > 0
        {
            return false;
        }
        let mut words = Gathered::new();
        for (side, index) in [low, low + width].into_iter().enumerate() {
            let side = (side as u16) << 15;
            let half = self.gather(index);
            words.extend(half.iter().map(|w| w.with_tag(w.tag() >> 1 | side)));
        }
        self.install(low, Word::build(&words, word.skip() - 1, 1));
        for word in pair {
            // SAFETY: the joint segment has all places of both, and their words are not used again.
            unsafe { self.retire(word) };
        }
        if depth == self.depth {
            self.deepest -= 2;
            self.halve_directory();
        }
        true
    }

    fn double_directory(&mut self) {
        let mut doubled = Vec::with_capacity(self.directory.len() * 2);
        doubled.extend(self.directory.iter().flat_map(|word| [*word, *word]));
        self.directory = doubled;
        self.depth += 1;
        self.deepest = 0;
    }

    /// Halves the directory as long as no segment needs its full depth.
    fn halve_directory(&mut self) {
        while self.deepest == 0 && self.depth > 0 {
            self.directory = self.directory.iter().step_by(2).copied().collect();
            self.depth -= 1;
            let skip = self.prefix_bits + self.depth;
            self.deepest = self
                .directory
                .iter()
                .filter(|word| word.skip() == skip)
                .count();
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A word of a table's directory, borrowed with the table. The directory has only live segments,
/// and both change only through `&mut Table`: so the segment is live and unchanged during `'t`.
#[derive(Clone, Copy)]
struct Listed<'t> {
    word: Word,
    table: PhantomData<&'t Table>,
}

impl<'t> Listed<'t> {
    /// The segment, for reading.
    #[inline(always)]
    fn view(self) -> Segment<'t> {
        // SAFETY: the segment is live and unchanged during 't, because only `Table::word` makes
        // values of this type, from words of the directory.
        unsafe { self.word.view() }
    }
}

impl Deref for Listed<'_> {
    type Target = Word;

    #[inline(always)]
    fn deref(&self) -> &Word {
        &self.word
    }
}

/// Number of adjacent directory words that name one segment of `depth`.
#[inline(always)]
fn span(directory_depth: u32, depth: u32) -> usize {
    1usize.wrapping_shl(directory_depth.wrapping_sub(depth))
}

/// The first slot of a bucket, given by its place in directory and segment, with this tag that is
/// `wanted`.
#[inline(always)]
fn search_bucket(
    line: &Bucket,
    (directory, bucket): (usize, usize),
    tag: u16,
    wanted: &mut impl FnMut(Slot) -> bool,
) -> Option<Slot> {
    for slot in line.matches(tag) {
        // An empty slot has tag 0.
        let Some(entry) = line.get(slot).entry() else {
            continue;
        };
        let found = Slot::new(entry, directory, Place::bucket(bucket, slot));
        if wanted(found) {
            return Some(found);
        }
    }
    None
}

/// The same behind the home bucket, which has flags.
#[inline(never)]
fn search_further(
    segment: Segment<'_>,
    (directory, home): (usize, usize),
    tag: u16,
    mut wanted: &mut dyn FnMut(Slot) -> bool,
) -> Option<Slot> {
    let flags = segment.buckets[home].flags();
    if flags & NEIGHBOUR != 0
        && let Some(line) = segment.buckets.get(home + 1)
    {
        let found = search_bucket(line, (directory, home + 1), tag, &mut wanted);
        if found.is_some() {
            return found;
        }
    }
    if flags & STASH == 0 {
        return None;
    }
    segment.stashed().find_map(|(place, word)| {
        let found = Slot::new(word.entry()?, directory, place);
        (word.tag() == tag && wanted(found)).then_some(found)
    })
}
