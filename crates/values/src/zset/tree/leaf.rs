//! A leaf: up to 126 entries of one word each.
//!
//! ```text
//!  +---------------+-----+----------+-------+      +------+------+-- --+
//!  | base          | len | capacity | shift |      | word | word | ... |
//!  +---------------+-----+----------+-------+      +------+------+-- --+
//!  word:  63     45 44                     0
//!        +---------+------------------------+
//!        |  code   |  address of block / 8  |
//!        +---------+------------------------+
//! ```
//! Entries are in order. The code is 19 bits of the key (the score as an ordered
//! integer): `(key >> shift) - (base >> shift)`, with `base` a multiple of 2^shift, so keys that
//! the leaf can hold lie in a window of 2^19 steps from `base` on. Codes have the order of keys;
//! only where two are equal the blocks have to be read to compare. Keys in a leaf differ in few
//! bits, so that hardly happens unless the scores are equal, and a leaf is half as large as with
//! whole scores in it. With `shift` 0 codes are exact.
//!
//! A coarser window (larger shift, lower base) is computed from the codes alone; a finer one needs
//! the keys, which are in the blocks. So splits make windows finer, but only when codes got too
//! coarse.

use super::{Bound, Member, Node};
use crate::alloc::{ALIGN, size_class};
use crate::table::prefetch;
use crate::zset::score::key_of;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::Range;
use std::ptr::NonNull;

/// Entries of the largest leaf: 1 KiB with the header. Unit tests have small nodes, so that few
/// entries make several levels.
pub(super) const MAX_ENTRIES: usize = if cfg!(test) { 6 } else { 126 };

/// Leaves with fewer entries try to join a neighbour.
pub(super) const MIN_ENTRIES: usize = if cfg!(test) { 2 } else { MAX_ENTRIES / 4 };

/// Leaves join when together they have at most this many entries.
pub(super) const JOIN_ENTRIES: usize = MAX_ENTRIES * 3 / 4;

const HEADER_BYTES: usize = size_of::<Header>();
const WORD_BYTES: usize = size_of::<Word>();
const LINE_BYTES: usize = 64;

const CODE_SHIFT: u32 = 45;
const CODE_BITS: u32 = 19;
const MAX_CODE: u64 = (1 << CODE_BITS) - 1;
const ADDRESS_MASK: usize = (1 << CODE_SHIFT) - 1;
const ADDRESS_SHIFT: u32 = ALIGN.trailing_zeros();

/// After a split, codes that span less than this are made finer: below, random keys begin to
/// collide.
const SPAN_MIN: u64 = 1 << 12;

/// Blocks prefetched ahead when many are read.
const LOOKAHEAD: usize = 16;

const _: () = assert!(CODE_SHIFT + CODE_BITS == 64 && CODE_SHIFT + ADDRESS_SHIFT == 48);

/// Code and address. A pointer, not an integer, so that the provenance of the block survives.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Word(*mut u8);

impl Word {
    fn new(code: u64, member: Member) -> Word {
        let block = member.as_ptr().as_ptr();
        debug_assert!(block.addr() >> 48 == 0 && code <= MAX_CODE);
        Word(block.map_addr(|address| address >> ADDRESS_SHIFT | (code as usize) << CODE_SHIFT))
    }

    #[inline(always)]
    fn code(self) -> u64 {
        (self.0.addr() >> CODE_SHIFT) as u64
    }

    #[inline(always)]
    pub(super) fn member(self) -> Member {
        let block = self
            .0
            .map_addr(|word| (word & ADDRESS_MASK) << ADDRESS_SHIFT);
        // SAFETY: the entries of a leaf are words of `Word::new`, so this is the block of a member,
        // whose address is not null. The sorted set frees a member only when no leaf has it.
        unsafe { Member::from_ptr(NonNull::new_unchecked(block)) }
    }

    fn with_code(self, code: u64) -> Word {
        Word(
            self.0
                .map_addr(|word| word & ADDRESS_MASK | (code as usize) << CODE_SHIFT),
        )
    }
}

#[repr(C)]
struct Header {
    /// The lowest key of the window.
    base: u64,
    len: u16,
    capacity: u16,
    shift: u8,
}

/// How many entries a leaf for `entries` has room for: as many as its block can hold.
fn capacity_for(entries: usize) -> usize {
    let bytes = size_class(HEADER_BYTES + entries * WORD_BYTES);
    ((bytes - HEADER_BYTES) / WORD_BYTES).min(MAX_ENTRIES)
}

fn layout(capacity: usize) -> Layout {
    let bytes = size_class(HEADER_BYTES + capacity * WORD_BYTES);
    let Ok(layout) = Layout::from_size_align(bytes, ALIGN) else {
        unreachable!("a leaf has at most 1 KiB")
    };
    layout
}

/// Starts bringing a leaf of so many entries into the cache.
#[inline]
pub(super) fn prefetch_leaf(leaf: Node, entries: usize) {
    let bytes = HEADER_BYTES + entries.min(MAX_ENTRIES) * WORD_BYTES;
    (0..bytes)
        .step_by(LINE_BYTES)
        .for_each(|line| prefetch(leaf.as_ptr().wrapping_add(line)));
}

/// An empty leaf with room for so many entries.
pub(super) fn allocate(entries: usize) -> Node {
    let capacity = capacity_for(entries);
    let layout = layout(capacity);
    // SAFETY: the layout is not empty. Zeroes are valid words, and the header is written.
    unsafe {
        let Some(leaf) = NonNull::new(alloc_zeroed(layout)) else {
            handle_alloc_error(layout)
        };
        leaf.cast::<Header>().write(Header {
            base: 0,
            len: 0,
            capacity: capacity as u16,
            shift: 0,
        });
        leaf
    }
}

/// Frees a leaf, not the members. Returns its bytes.
///
/// # Safety
/// `leaf` is a live leaf and is not used again.
pub(super) unsafe fn free(leaf: Node) -> usize {
    // SAFETY: the leaf is live and not used again; its layout follows from its capacity, as in
    // `allocate`.
    unsafe {
        let layout = layout(usize::from(leaf.cast::<Header>().as_ref().capacity));
        dealloc(leaf.as_ptr(), layout);
        layout.size()
    }
}

/// A leaf, for reading.
#[derive(Clone, Copy)]
pub(super) struct Leaf<'a> {
    header: &'a Header,
    /// The entries.
    pub(super) words: &'a [Word],
}

/// A leaf, for change. Its members are live.
pub(super) struct LeafMut<'a> {
    header: &'a mut Header,
    /// As many as the capacity.
    words: &'a mut [Word],
}

impl<'a> Leaf<'a> {
    /// # Safety
    /// `leaf` is a live leaf whose members are live; neither changes during `'a`.
    #[inline]
    pub(super) unsafe fn new(leaf: Node) -> Leaf<'a> {
        // SAFETY: the leaf is live and does not change during 'a; `len` initialized words follow
        // the header.
        unsafe {
            let header = leaf.cast::<Header>().as_ref();
            let words = leaf.add(HEADER_BYTES).cast::<Word>().as_ptr();
            let words = std::slice::from_raw_parts(words, usize::from(header.len));
            Leaf { header, words }
        }
    }

    pub(super) fn len(self) -> usize {
        self.words.len()
    }

    pub(super) fn is_full(self) -> bool {
        self.len() == MAX_ENTRIES
    }

    /// Bytes of the block.
    pub(super) fn bytes(self) -> usize {
        layout(usize::from(self.header.capacity)).size()
    }

    /// The code of a key, or the side of the window on which the key lies.
    #[inline]
    fn encode(self, key: u64) -> Result<u64, Side> {
        let Some(offset) = key.checked_sub(self.header.base) else {
            return Err(Side::Below);
        };
        let code = offset >> self.header.shift;
        if code > MAX_CODE {
            Err(Side::Above)
        } else {
            Ok(code)
        }
    }

    /// The number of entries before a place.
    #[inline]
    pub(super) fn position(self, bound: &impl Bound) -> usize {
        let Some(key) = bound.key() else {
            // SAFETY: members of a leaf are live.
            return self
                .words
                .partition_point(|word| unsafe { bound.precedes(word.member()) });
        };
        let code = match self.encode(key) {
            Ok(code) => code,
            Err(Side::Below) => return 0,
            Err(Side::Above) => return self.len(),
        };
        let first = self.words.partition_point(|word| word.code() < code);
        let alike = &self.words[first..];
        if alike.first().is_none_or(|word| word.code() != code) {
            return first;
        }
        let alike = &alike[..alike.partition_point(|word| word.code() == code)];
        let exact = self.header.shift == 0;
        first
            + alike.partition_point(|word| {
                // SAFETY: members of a leaf are live.
                unsafe {
                    let there = if exact {
                        key
                    } else {
                        key_of(word.member().score())
                    };
                    there < key || there == key && bound.precedes(word.member())
                }
            })
    }

    /// The number of entries before a place, not counting the one at `without`, which is not looked
    /// at.
    pub(super) fn position_without(self, without: usize, bound: &impl Bound) -> usize {
        let (before, rest) = self.words.split_at(without);
        let position = Leaf {
            words: before,
            ..self
        }
        .position(bound);
        if position < without {
            return position;
        }
        let after = rest.get(1..).unwrap_or_default();
        without
            + Leaf {
                words: after,
                ..self
            }
            .position(bound)
    }

    /// Where an entry stands.
    #[inline]
    pub(super) fn find(self, key: u64, member: Member) -> Option<usize> {
        let code = self.encode(key).ok()?;
        let first = self.words.partition_point(|word| word.code() < code);
        let word = Word::new(code, member).0.addr();
        let mut alike = self.words.iter().skip(first);
        alike
            .position(|it| it.0.addr() == word)
            .map(|at| first + at)
    }

    /// The first entry with its key.
    pub(super) fn first(self) -> Option<(u64, Member)> {
        let member = self.words.first()?.member();
        // SAFETY: members of a leaf are live.
        Some((key_of(unsafe { member.score() }), member))
    }

    /// The lowest and the highest key that the codes of the entries allow.
    fn key_span(self) -> Option<(u64, u64)> {
        let (first, last) = (self.words.first()?, self.words.last()?);
        let step_mask = (1u64 << self.header.shift) - 1;
        let key = |word: &Word| self.header.base + (word.code() << self.header.shift);
        Some((key(first), key(last) | step_mask))
    }

    /// Checks order and codes; gives the entries to `visit`.
    #[cfg(test)]
    pub(super) fn check(self, mut visit: impl FnMut(u64, Member)) {
        assert!(!self.words.is_empty() && self.len() <= usize::from(self.header.capacity));
        assert_eq!(self.header.base & ((1 << self.header.shift) - 1), 0);
        for word in self.words {
            // SAFETY: members of a leaf are live.
            let key = key_of(unsafe { word.member().score() });
            assert_eq!(self.encode(key).ok(), Some(word.code()));
            visit(key, word.member());
        }
    }
}

/// A side of a leaf's window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Below,
    Above,
}

/// Base and shift of the finest window (but no finer than `shift`) over the keys from `low` to
/// `high`. The rest of the window lies on the given side.
fn window(low: u64, high: u64, shift: u8, spare: Side) -> (u64, u8) {
    let bits = (high - low).checked_ilog2().map_or(0, |bit| bit + 1);
    // At most 45, or 46 when rounding the base down costs a step.
    let mut shift = shift.max(bits.saturating_sub(CODE_BITS) as u8);
    loop {
        let step_mask = (1u64 << shift) - 1;
        let base = low & !step_mask;
        if (high - base) >> shift <= MAX_CODE {
            return match spare {
                Side::Above => (base, shift),
                // The base and the subtrahend are multiples of the step, and so is zero.
                Side::Below => ((high & !step_mask).saturating_sub(MAX_CODE << shift), shift),
            };
        }
        shift += 1;
    }
}

impl<'a> LeafMut<'a> {
    /// # Safety
    /// `leaf` is a live leaf whose members are live; nothing else refers to it during `'a`.
    #[inline]
    pub(super) unsafe fn new(leaf: Node) -> LeafMut<'a> {
        // SAFETY: the leaf is live, and there is no other reference to it; words follow the header,
        // as many as the capacity, all initialized.
        unsafe {
            let capacity = usize::from(leaf.cast::<Header>().as_ref().capacity);
            let words = leaf.add(HEADER_BYTES).cast::<Word>().as_ptr();
            LeafMut {
                header: leaf.cast::<Header>().as_mut(),
                words: std::slice::from_raw_parts_mut(words, capacity),
            }
        }
    }

    #[inline]
    pub(super) fn read(&self) -> Leaf<'_> {
        Leaf {
            header: self.header,
            words: &self.words[..self.len()],
        }
    }

    #[inline]
    fn len(&self) -> usize {
        usize::from(self.header.len)
    }

    fn set_len(&mut self, len: usize) {
        self.header.len = len as u16;
    }

    /// Puts an entry at a position; there is room for it.
    pub(super) fn insert(&mut self, at: usize, key: u64, member: Member) {
        let word = Word::new(self.code_for(key), member);
        let len = self.len();
        self.words.copy_within(at..len, at + 1);
        self.words[at] = word;
        self.set_len(len + 1);
    }

    /// Takes out entries.
    pub(super) fn remove(&mut self, range: Range<usize>) {
        let len = self.len();
        self.words.copy_within(range.end..len, range.start);
        self.set_len(len - range.len());
    }

    /// Takes the entry at `from` out and puts an entry at position `to` of what remains.
    pub(super) fn shift(&mut self, from: usize, to: usize, key: u64, member: Member) {
        let word = Word::new(self.code_for(key), member);
        if from < to {
            self.words.copy_within(from + 1..to + 1, from);
        } else {
            self.words.copy_within(to..from, to + 1);
        }
        self.words[to] = word;
    }

    /// Fills an empty leaf with entries in order; there is room for them.
    pub(super) fn fill(&mut self, entries: &[(u64, Member)]) {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return;
        };
        let (base, shift) = window(first.0, last.0, 0, Side::Above);
        (self.header.base, self.header.shift) = (base, shift);
        for (place, (key, member)) in self.words.iter_mut().zip(entries) {
            *place = Word::new((key - base) >> shift, *member);
        }
        self.set_len(entries.len());
    }

    /// The code of a key, for which the window is made wider when it must.
    fn code_for(&mut self, key: u64) -> u64 {
        let leaf = self.read();
        let side = match leaf.encode(key) {
            Ok(code) => return code,
            Err(side) => side,
        };
        let (base, shift) = match leaf.key_span() {
            None => (key, 0),
            Some((low, high)) => window(low.min(key), high.max(key), leaf.header.shift, side),
        };
        self.set_window(base, shift);
        (key - base) >> shift
    }

    /// Gives all entries the codes of a coarser or equal window.
    fn set_window(&mut self, base: u64, shift: u8) {
        let old_shift = self.header.shift;
        let (old_start, start) = (self.header.base >> old_shift, base >> shift);
        let len = self.len();
        for word in &mut self.words[..len] {
            // Exact, because the old base is a multiple of the old step.
            let code = ((old_start + word.code()) >> (shift - old_shift)) - start;
            *word = word.with_code(code);
        }
        (self.header.base, self.header.shift) = (base, shift);
    }

    /// Makes the window as fine as it can be when codes became coarse.
    fn refine(&mut self) {
        let leaf = self.read();
        let (Some(first), Some(last)) = (leaf.words.first(), leaf.words.last()) else {
            return;
        };
        if leaf.header.shift == 0 || last.code() - first.code() >= SPAN_MIN {
            return;
        }
        let members = leaf.words.iter().map(|word| word.member());
        for member in members.clone().take(LOOKAHEAD) {
            prefetch(member.as_ptr().as_ptr());
        }
        let ahead = members.clone().skip(LOOKAHEAD).map(Some);
        let mut keys = [0u64; MAX_ENTRIES];
        for ((key, member), ahead) in keys
            .iter_mut()
            .zip(members)
            .zip(ahead.chain(std::iter::repeat(None)))
        {
            if let Some(ahead) = ahead {
                prefetch(ahead.as_ptr().as_ptr());
            }
            // SAFETY: members of a leaf are live.
            *key = key_of(unsafe { member.score() });
        }
        let len = self.len();
        let (base, shift) = window(keys[0], keys[len - 1], 0, Side::Above);
        for (word, key) in self.words[..len].iter_mut().zip(&keys) {
            *word = word.with_code((key - base) >> shift);
        }
        (self.header.base, self.header.shift) = (base, shift);
    }
}

/// A leaf with the same entries and room for `entries`, in place of this one. Returns it and by how
/// many bytes it is larger.
///
/// # Safety
/// `leaf` is a live leaf, which nothing refers to; it is not used again. `entries` are at least as
/// many as it has.
pub(super) unsafe fn resize(leaf: Node, entries: usize) -> (Node, isize) {
    let new = allocate(entries);
    // SAFETY: the leaf is live without references, and so is the new one, from `allocate`.
    unsafe {
        let (old, mut to) = (Leaf::new(leaf), LeafMut::new(new));
        to.words[..old.len()].copy_from_slice(old.words);
        to.set_len(old.len());
        (to.header.base, to.header.shift) = (old.header.base, old.header.shift);
        let bytes = to.read().bytes();
        (new, bytes as isize - free(leaf) as isize)
    }
}

/// The size that a leaf should have before an entry is added; `None` when there is room.
pub(super) fn growth(leaf: Leaf<'_>) -> Option<usize> {
    (leaf.len() == usize::from(leaf.header.capacity)).then(|| leaf.len() + 1)
}

/// The size that a leaf should have after entries were removed; `None` when it is not much too
/// large.
pub(super) fn shrinkage(leaf: Leaf<'_>) -> Option<usize> {
    let comfortable = leaf.len() + leaf.len() / 4 + 2;
    let capacity = usize::from(leaf.header.capacity);
    (capacity_for(comfortable) < capacity).then(|| leaf.len() + leaf.len() / 8 + 1)
}

/// Moves the entries from `at` on to a new leaf with room for `room` entries.
///
/// # Safety
/// `leaf` is a live leaf with live members, which nothing refers to.
pub(super) unsafe fn split(leaf: Node, at: usize, room: usize) -> Node {
    let right = allocate(room);
    // SAFETY: the leaf is live without references, and so is the new one, from `allocate`.
    unsafe {
        let (mut from, mut to) = (LeafMut::new(leaf), LeafMut::new(right));
        let moved = &from.words[at..from.len()];
        to.words[..moved.len()].copy_from_slice(moved);
        to.set_len(moved.len());
        (to.header.base, to.header.shift) = (from.header.base, from.header.shift);
        from.set_len(at);
        from.refine();
        to.refine();
    }
    right
}

/// Moves the entries of `right`, the next leaf, to the end of `left`, which has room for them.
///
/// # Safety
/// Both are live leaves with live members, which nothing refers to.
pub(super) unsafe fn join(left: Node, right: Node) {
    // SAFETY: both leaves are live with live members, and there are no references to them.
    unsafe {
        let (mut left, mut right) = (LeafMut::new(left), LeafMut::new(right));
        let spans = left.read().key_span().zip(right.read().key_span());
        if let Some(((low, _), (_, high))) = spans {
            let shift = left.header.shift.max(right.header.shift);
            let (base, shift) = window(low, high, shift, Side::Above);
            left.set_window(base, shift);
            right.set_window(base, shift);
        } else if left.len() == 0 {
            (left.header.base, left.header.shift) = (right.header.base, right.header.shift);
        }
        let (kept, moved) = (left.len(), right.len());
        left.words[kept..kept + moved].copy_from_slice(right.read().words);
        left.set_len(kept + moved);
        right.set_len(0);
        left.refine();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 8 } else { 128 }))]

        #[test]
        fn windows_cover_their_keys(a: u64, b: u64, shift in 0u8..46, bits in 0u32..64) {
            let (a, b) = (a >> bits, b >> bits);
            let (low, high) = (a.min(b), a.max(b));
            for side in [Side::Below, Side::Above] {
                let (base, found) = window(low, high, shift, side);
                prop_assert!(found >= shift && found <= 46 && base <= low);
                prop_assert_eq!(base & ((1 << found) - 1), 0);
                prop_assert!((high - base) >> found <= MAX_CODE);
                prop_assert!(found == shift || high - low >= MAX_CODE << (found - 1) >> 1);
            }
        }
    }
}
