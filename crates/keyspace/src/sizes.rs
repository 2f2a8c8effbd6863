//! How many entries a database has of each type and size, in powers of two, and which are the
//! biggest.
//!
//! Entries are counted in their bin when they are inserted, replaced and removed. An entry whose
//! value is about to be changed in place becomes the open one: it stays in its old bin until the
//! next one is opened, and readers count it in the bin it belongs to now. So a value is measured
//! once for any number of changes in a row, and no change needs a call at its end.
//!
//! Invariant: every entry of the table is counted once, in the bin of its present size, or, when it
//! is the open one, in the bin that [`Open`] says.

mod big;

use crate::entry::{Block, Type, ValueRef};
use crate::hash::{Hasher, KeyHash};
use big::{Big, Change, Measured};
use values::number;

pub use big::Measure;

/// Bins of a type: one for empty values, and one for each power of two.
const BINS: usize = 64;
const BIN_BITS: u32 = BINS.trailing_zeros();
/// Types of values; the nibble of an entry's header is below this.
const TYPES: usize = 6;

/// Counts by type and bin.
type Counts = [u64; TYPES * BINS];

/// Where an entry is counted: type and bin of its size, in elements or bytes of a string, and, for
/// collections, of the bytes it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class {
    size: u16,
    /// [`Class::NONE`] for strings.
    memory: u16,
}

impl Class {
    const NONE: u16 = u16::MAX;
}

/// The bin of a size: 0 for 0, i for 2^(i-1) and more.
#[inline]
fn bin(size: usize) -> u16 {
    (u64::BITS - (size as u64).leading_zeros()).min(BINS as u32 - 1) as u16
}

/// The place of a size in [`Counts`].
#[inline]
fn place(kind: Type, size: usize) -> u16 {
    ((kind as u16) << BIN_BITS) | bin(size)
}

/// Type, elements, and bytes of an entry.
#[inline]
fn measure(block: Block) -> Measured {
    let (value, capacity) = block.value_and_capacity();
    let (elements, heap_bytes) = value.measures();
    Measured {
        kind: block.value_type(),
        elements,
        bytes: capacity + heap_bytes,
    }
}

/// Where the entry of a block belongs.
#[inline]
fn class(block: Block) -> Class {
    match block.short_string_len() {
        Some(len) => Class {
            size: place(Type::String, len),
            memory: Class::NONE,
        },
        None => class_of_any(block),
    }
}

#[inline(never)]
fn class_of_any(block: Block) -> Class {
    if block.value_type() != Type::String {
        let measured = measure(block);
        return Class {
            size: place(measured.kind, measured.elements),
            memory: place(measured.kind, measured.bytes),
        };
    }
    let len = match block.value() {
        ValueRef::Int(value) => number::text_len(value),
        value => value.string().map_or(0, |string| string.len()),
    };
    Class {
        size: place(Type::String, len),
        memory: Class::NONE,
    }
}

/// The entry that is being changed in place.
#[derive(Clone, Copy)]
struct Open {
    hash: KeyHash,
    block: Block,
    /// Where it is counted.
    class: Class,
}

/// The counts of one database in one shard.
#[derive(Default)]
pub(crate) struct Sizes {
    /// Made with the first entry.
    counts: Option<Box<SizeCounts>>,
    open: Option<Open>,
    /// Made with the first big entry.
    big: Option<Box<Big>>,
}

impl Sizes {
    #[inline]
    fn count(&mut self, class: Class, change: u64) {
        let counts = self.counts.get_or_insert_default();
        counts.count(class, change);
    }

    /// An entry is new in the table.
    #[inline]
    pub(crate) fn added(&mut self, hash: KeyHash, block: Block) {
        let class = class(block);
        self.count(class, 1);
        if big::may_be_big(class) {
            self.big_changed(hash, block, Change::New);
        }
    }

    /// An entry is about to leave the table.
    #[inline]
    pub(crate) fn removed(&mut self, block: Block, hasher: &Hasher) {
        let class = match self.counted_as(block) {
            Some(class) => class,
            None => match self.open.take() {
                Some(open) => open.class,
                None => return,
            },
        };
        self.count(class, u64::MAX);
        if big::may_be_big(class)
            && let Some(big) = &mut self.big
        {
            big.remove(hasher.hash(block.key()));
        }
    }

    #[inline]
    fn is_open(&self, block: Block) -> bool {
        self.open
            .is_some_and(|open| open.block.as_ptr() == block.as_ptr())
    }

    /// Where an entry is counted whose value is about to be replaced: for [`Sizes::recount`].
    /// `None` for the open one, which is measured later in any case.
    #[inline]
    pub(crate) fn counted_as(&self, block: Block) -> Option<Class> {
        match self.is_open(block) {
            true => None,
            false => Some(class(block)),
        }
    }

    /// An entry has another value; it was counted as `before`.
    #[inline]
    pub(crate) fn recount(&mut self, before: Class, hash: KeyHash, block: Block) {
        let after = class(block);
        if before != after || big::may_be_big(after) {
            self.reclassed((before, after), hash, block);
        }
    }

    #[inline(never)]
    fn reclassed(&mut self, (before, after): (Class, Class), hash: KeyHash, block: Block) {
        let kind = block.value_type();
        if before == after
            && let Some(big) = &mut self.big
            && big.changed_within_bin(kind)
        {
            return;
        }
        if before != after {
            self.count(before, u64::MAX);
            self.count(after, 1);
        }
        if big::may_be_big(after) {
            let change = if before == after {
                Change::Same
            } else {
                Change::Moved
            };
            self.big_changed(hash, block, change);
        } else if big::may_be_big(before)
            && let Some(big) = &mut self.big
        {
            big.remove(hash);
        }
    }

    #[cold]
    fn big_changed(&mut self, hash: KeyHash, block: Block, change: Change) {
        self.big
            .get_or_insert_default()
            .changed(hash, &measure(block), change);
    }

    /// An integer took the place of another in the block of an entry.
    #[inline]
    pub(crate) fn integer_changed(&mut self, block: Block, from: i64, to: i64) {
        let size = |value| place(Type::String, number::text_len(value));
        let (from, to) = (size(from), size(to));
        if from != to && !self.is_open(block) {
            let class = |size| Class {
                size,
                memory: Class::NONE,
            };
            self.count(class(from), u64::MAX);
            self.count(class(to), 1);
        }
    }

    /// The value of an entry is about to be changed in place, now and until the next entry is
    /// opened.
    #[inline]
    pub(crate) fn open(&mut self, hash: KeyHash, block: Block) {
        if self.is_open(block) {
            return;
        }
        if let Some(open) = self.open {
            self.recount(open.class, open.hash, open.block);
        }
        let class = class(block);
        self.open = Some(Open { hash, block, class });
    }

    /// The block of an entry is about to change; its value stays. That changes the bytes of the
    /// entry, which are counted for collections.
    #[inline]
    pub(crate) fn open_collection(&mut self, hash: KeyHash, block: Block) {
        if block.value_type() != Type::String {
            self.open(hash, block);
        }
    }

    /// Another block has taken the place of an entry's block, which is freed.
    #[inline]
    pub(crate) fn moved(&mut self, from: Block, to: Block) {
        if let Some(open) = &mut self.open
            && open.block.as_ptr() == from.as_ptr()
        {
            open.block = to;
        }
    }

    /// Bytes on the heap.
    pub(crate) fn memory_usage(&self) -> usize {
        let counts = self.counts.as_ref().map_or(0, |_| size_of::<SizeCounts>());
        counts + self.big.as_ref().map_or(0, |_| size_of::<Big>())
    }

    /// Adds the counts to a sum.
    pub(crate) fn add_to(&self, sum: &mut SizeCounts) {
        if let Some(counts) = &self.counts {
            sum.add(counts);
        }
        if let Some(open) = self.open {
            sum.count(open.class, u64::MAX);
            sum.count(class(open.block), 1);
        }
    }

    /// Hashes of the entries of a type that are candidates for the biggest.
    pub(crate) fn big(
        &self,
        kind: Type,
        measure: Measure,
        hasher: &Hasher,
    ) -> impl Iterator<Item = KeyHash> {
        let known = self.big.iter().flat_map(move |big| big.of(kind, measure));
        // The open one may have grown since it was measured.
        let open = self.open.map(|open| hasher.hash(open.block.key()));
        let is_known = open.is_some_and(|open| known.clone().any(|hash| hash == open));
        known.chain(open.filter(|_| !is_known))
    }

    /// The size up to which entries of a type may be missing among the candidates.
    pub(crate) fn unlisted_below(&self, kind: Type, measure: Measure) -> u64 {
        match &self.big {
            Some(big) => big.unlisted_below(kind, measure),
            None => 0,
        }
    }
}

/// How many entries there are of each type and size.
#[derive(Clone, Debug)]
pub struct SizeCounts {
    sizes: Counts,
    memory: Counts,
}

impl Default for SizeCounts {
    fn default() -> SizeCounts {
        SizeCounts {
            sizes: [0; TYPES * BINS],
            memory: [0; TYPES * BINS],
        }
    }
}

impl SizeCounts {
    #[inline]
    fn count(&mut self, class: Class, change: u64) {
        if let Some(count) = self.sizes.get_mut(usize::from(class.size)) {
            *count = count.wrapping_add(change);
        }
        if let Some(count) = self.memory.get_mut(usize::from(class.memory)) {
            *count = count.wrapping_add(change);
        }
    }

    fn add(&mut self, other: &SizeCounts) {
        let sizes = self.sizes.iter_mut().zip(&other.sizes);
        let memory = self.memory.iter_mut().zip(&other.memory);
        for (to, from) in sizes.chain(memory) {
            *to = to.wrapping_add(*from);
        }
    }

    /// The sizes of a type that there are, each with the number of entries: 0, or the largest power
    /// of two that is not above the size. Sizes are bytes of strings, elements of collections.
    pub fn sizes(&self, kind: Type) -> impl Iterator<Item = (u64, u64)> {
        occupied(&self.sizes, kind)
    }

    /// The same by the bytes that a collection takes with its entry, without the table's share.
    pub fn memory(&self, kind: Type) -> impl Iterator<Item = (u64, u64)> {
        occupied(&self.memory, kind)
    }
}

fn occupied(counts: &Counts, kind: Type) -> impl Iterator<Item = (u64, u64)> {
    let bins = counts.chunks_exact(BINS).nth(kind as usize);
    let bins = bins.into_iter().flatten().copied().enumerate();
    bins.filter(|(_, count)| *count > 0)
        .map(|(bin, count)| (bin.checked_sub(1).map_or(0, |bin| 1 << bin), count))
}
