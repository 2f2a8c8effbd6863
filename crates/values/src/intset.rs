//! Intsets: the packed form of small sets whose members are all integers.
//!
//! One block, byte for byte as Redis has it in memory, in DUMP payloads and in RDB files:
//!
//! ```text
//! u32  bytes of each member: 2, 4 or 8
//! u32  number of members
//!      the members, ascending
//! ```
//!
//! all little-endian. A member that needs more bytes than the others widens all; they are never
//! narrowed.
//!
//! The format is Redis's (`intset.c`).

use crate::alloc::{ALIGN, size_class};
use crate::malformed::Malformed;
use crate::owner::Form;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::fmt;
use std::hint::select_unpredictable;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::NonNull;

/// No intset has more members. Sets convert before; an insertion that would exceed it changes
/// nothing.
pub const MEMBERS_MAX: usize = 1 << 30;

/// Bytes in front of the members.
const HEADER: usize = 8;

/// An owned intset: a pointer to the block that starts with its widths and length.
///
/// The block has always the size class of what is in it, so growing within the class moves nothing,
/// and no capacity has to be stored.
// Invariant: `block` was allocated with `layout(width, len)`, where width is the first u32 it has,
// 2, 4 or 8, and len the second one, at most MEMBERS_MAX; that many members are initialized and
// ascending.
#[repr(transparent)]
pub struct Intset {
    block: NonNull<u8>,
}

// SAFETY: an intset owns its block alone.
unsafe impl Send for Intset {}
// SAFETY: shared borrows only read.
unsafe impl Sync for Intset {}

// SAFETY: blocks are aligned to 8, and the pointer is all that an intset is.
unsafe impl Form for Intset {
    type Ref<'a> = IntsetView<'a>;

    fn copy_of(borrowed: Self::Ref<'_>) -> Self {
        Intset::from(borrowed)
    }

    #[inline]
    fn into_raw(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).block
    }

    #[inline]
    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Intset { block: raw }
    }

    #[inline]
    unsafe fn borrow<'a>(raw: NonNull<u8>) -> IntsetView<'a>
    where
        Self: 'a,
    {
        IntsetView {
            start: raw,
            bytes: PhantomData,
        }
    }
}

/// A borrowed intset.
// Invariant: `start` leads to an intset as it is in an `Intset`, readable during `'a`.
#[derive(Clone, Copy)]
pub struct IntsetView<'a> {
    start: NonNull<u8>,
    bytes: PhantomData<&'a [u8]>,
}

// SAFETY: a view is a `&[u8]` without its length.
unsafe impl Send for IntsetView<'_> {}
// SAFETY: a view is a `&[u8]` without its length.
unsafe impl Sync for IntsetView<'_> {}

/// The bytes that a member needs.
#[inline]
const fn width_of(value: i64) -> usize {
    match value {
        -0x8000..=0x7FFF => 2,
        -0x8000_0000..=0x7FFF_FFFF => 4,
        _ => 8,
    }
}

#[inline]
fn layout(width: usize, len: usize) -> Layout {
    // SAFETY: the alignment is a power of two, and widths and lengths do not come near
    // `isize::MAX`.
    unsafe { Layout::from_size_align_unchecked(size_class(HEADER + width * len), ALIGN) }
}

/// A member as it is stored.
trait Stored: Copy + Ord {
    /// # Safety
    /// The bytes of a member can be read.
    unsafe fn read(at: *const u8) -> Self;
}

macro_rules! stored {
    ($($kind:ty),*) => {$(
        impl Stored for $kind {
            #[inline(always)]
            unsafe fn read(at: *const u8) -> Self {
                // SAFETY: the caller passes the address of a readable member; arrays of bytes have
                // no alignment.
                Self::from_le_bytes(unsafe { at.cast::<[u8; size_of::<Self>()]>().read() })
            }
        }
    )*};
}

stored!(i16, i32, i64);

impl<'a> IntsetView<'a> {
    /// One of the two numbers of the header.
    #[inline]
    fn header<const INDEX: usize>(self) -> usize {
        const { assert!(INDEX < 2) };
        // SAFETY: every intset begins with a header of two numbers, 4 bytes each.
        let bytes = unsafe { self.start.as_ptr().add(INDEX * 4).cast::<[u8; 4]>().read() };
        u32::from_le_bytes(bytes) as usize
    }

    /// The bytes of each member.
    #[inline]
    fn width(self) -> usize {
        self.header::<0>()
    }

    /// The number of members.
    #[inline]
    pub fn len(self) -> usize {
        self.header::<1>()
    }

    /// True without members.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The whole intset as it is stored, sent and saved.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        // SAFETY: an intset is a header and as many members of its width as the header says.
        unsafe {
            std::slice::from_raw_parts(self.start.as_ptr(), HEADER + self.width() * self.len())
        }
    }

    /// The member with this index in ascending order.
    ///
    /// # Safety
    /// The index is below the length.
    #[inline]
    unsafe fn member(self, index: usize) -> i64 {
        let width = self.width();
        // SAFETY: the index is below the length, and so many members follow the header.
        unsafe {
            let at = self.start.as_ptr().add(HEADER + width * index);
            match width {
                2 => i64::from(i16::read(at)),
                4 => i64::from(i32::read(at)),
                _ => i64::read(at),
            }
        }
    }

    /// The member with this index in ascending order.
    #[inline]
    pub fn get(self, index: usize) -> Option<i64> {
        // SAFETY: the index is checked.
        (index < self.len()).then(|| unsafe { self.member(index) })
    }

    /// The smallest member.
    #[inline]
    pub fn first(self) -> Option<i64> {
        self.get(0)
    }

    /// The largest member.
    #[inline]
    pub fn last(self) -> Option<i64> {
        self.get(self.len().wrapping_sub(1))
    }

    /// A member, each as likely as the others.
    pub fn random(self, rng: &mut impl FnMut() -> u64) -> Option<i64> {
        // The upper half of the product is evenly spread up to one part in 2^32.
        let index = (u128::from(rng()) * self.len() as u128) >> 64;
        self.get(index as usize)
    }

    /// Where the value is, or where it would have to be.
    #[inline]
    pub fn search(self, value: i64) -> Result<usize, usize> {
        // The casts keep the value: it was checked that it fits.
        match (self.width(), width_of(value)) {
            (2, 2) => self.search_stored(value as i16),
            (4, 2 | 4) => self.search_stored(value as i32),
            (8, _) => self.search_stored(value),
            _ => Err(if value < 0 { 0 } else { self.len() }),
        }
    }

    #[inline]
    fn search_stored<T: Stored>(self, value: T) -> Result<usize, usize> {
        // SAFETY: the members have this width, as the caller checked; indexes stay below the
        // length.
        let read = |index: usize| unsafe {
            T::read(self.start.as_ptr().add(HEADER + size_of::<T>() * index))
        };
        let len = self.len();
        if len == 0 || value > read(len - 1) {
            return Err(len);
        }
        // The range always has a member, and if any member is not above the value, so is its first
        // one. No step depends on a prediction.
        let (mut base, mut rest) = (0, len);
        while rest > 1 {
            let half = rest / 2;
            base = select_unpredictable(read(base + half) <= value, base + half, base);
            rest -= half;
        }
        let found = read(base);
        if found == value {
            Ok(base)
        } else {
            Err(base + usize::from(found < value))
        }
    }

    /// True when the value is a member.
    #[inline]
    pub fn contains(self, value: i64) -> bool {
        self.search(value).is_ok()
    }

    /// The members, ascending.
    #[inline]
    pub fn iter(self) -> IntsetIter<'a> {
        self.range(0..self.len())
    }

    /// The members with these indexes, as far as they are there, ascending.
    #[inline]
    pub fn range(self, indexes: Range<usize>) -> IntsetIter<'a> {
        let end = indexes.end.min(self.len());
        IntsetIter {
            view: self,
            indexes: indexes.start.min(end)..end,
        }
    }
}

impl<'a> IntoIterator for IntsetView<'a> {
    type Item = i64;
    type IntoIter = IntsetIter<'a>;

    fn into_iter(self) -> IntsetIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for IntsetView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Members of an intset.
// Invariant: the indexes are below the length.
#[derive(Clone)]
pub struct IntsetIter<'a> {
    view: IntsetView<'a>,
    indexes: Range<usize>,
}

impl Iterator for IntsetIter<'_> {
    type Item = i64;

    #[inline]
    fn next(&mut self) -> Option<i64> {
        let index = self.indexes.next()?;
        // SAFETY: an intset is a header and as many members of its width as the header says.
        Some(unsafe { self.view.member(index) })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.indexes.size_hint()
    }
}

impl DoubleEndedIterator for IntsetIter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<i64> {
        let index = self.indexes.next_back()?;
        // SAFETY: an intset is a header and as many members of its width as the header says.
        Some(unsafe { self.view.member(index) })
    }
}

impl ExactSizeIterator for IntsetIter<'_> {}
impl FusedIterator for IntsetIter<'_> {}

impl Intset {
    /// An intset without members.
    pub fn new() -> Intset {
        Intset::allocate(2, 0)
    }

    /// A block for that many members, which are not written yet; only the header is.
    fn allocate(width: usize, len: usize) -> Intset {
        let layout = layout(width, len);
        // SAFETY: the layout is not empty.
        let block = NonNull::new(unsafe { alloc(layout) });
        let mut set = Intset {
            block: block.unwrap_or_else(|| handle_alloc_error(layout)),
        };
        set.set_header(width, len);
        set
    }

    /// Takes bytes from outside, after checking all of them.
    ///
    /// # Errors
    /// [`Malformed`] names the rule of the format that the bytes break.
    pub fn from_bytes(bytes: &[u8]) -> Result<Intset, Malformed> {
        let Some(([w0, w1, w2, w3, l0, l1, l2, l3], members)) = bytes.split_first_chunk::<HEADER>()
        else {
            return Err(Malformed("intset without header"));
        };
        let width = u32::from_le_bytes([*w0, *w1, *w2, *w3]) as usize;
        let len = u32::from_le_bytes([*l0, *l1, *l2, *l3]) as usize;
        if !matches!(width, 2 | 4 | 8) {
            return Err(Malformed("intset with members of unknown width"));
        }
        // No overflow: both factors have at most 32 bits.
        if len > MEMBERS_MAX || width * len != members.len() {
            return Err(Malformed("intset of another length than its header says"));
        }
        let mut set = Intset::allocate(width, len);
        // SAFETY: the new block has room for the header and as many members.
        unsafe {
            set.at(HEADER)
                .copy_from_nonoverlapping(members.as_ptr(), members.len());
        }
        if !set.view().iter().is_sorted_by(|a, b| a < b) {
            return Err(Malformed("intset that is not in order"));
        }
        Ok(set)
    }

    /// The address of a byte. It can be accessed when the offset is within the block.
    #[inline]
    fn at(&mut self, offset: usize) -> *mut u8 {
        // Without a contract: computing an address outside of the block is no harm, only access is.
        self.block.as_ptr().wrapping_add(offset)
    }

    #[inline]
    fn set_header(&mut self, width: usize, len: usize) {
        let header = (len as u64) << 32 | width as u64;
        // SAFETY: every block begins with a header of 8 bytes.
        unsafe { self.at(0).cast::<[u8; 8]>().write(header.to_le_bytes()) };
    }

    /// Changes the block from one size to another; the header is left to the caller.
    ///
    /// # Safety
    /// The block was allocated with `old`. Until the header has the width and length that `new` was
    /// made from, the intset must not be used otherwise.
    #[inline]
    unsafe fn reallocate(&mut self, old: Layout, new: Layout) {
        if old == new {
            return;
        }
        // SAFETY: the block was allocated with `old`; the new size has a header, so is not zero.
        let block = unsafe { realloc(self.block.as_ptr(), old, new.size()) };
        self.block = NonNull::new(block).unwrap_or_else(|| handle_alloc_error(new));
    }

    /// The intset, borrowed for reading.
    #[inline]
    pub fn view(&self) -> IntsetView<'_> {
        IntsetView {
            start: self.block,
            bytes: PhantomData,
        }
    }

    /// Adds a member; true when it was not there.
    pub fn insert(&mut self, value: i64) -> bool {
        let view = self.view();
        let Err(index) = view.search(value) else {
            return false;
        };
        let (width, len) = (view.width(), view.len());
        debug_assert!(len < MEMBERS_MAX);
        if len >= MEMBERS_MAX {
            return false;
        }
        if width_of(value) > width {
            self.widen(value);
            return true;
        }
        // SAFETY: the block has room for one member more, and those from the index on move up by
        // one.
        unsafe {
            self.reallocate(layout(width, len), layout(width, len + 1));
            let at = self.at(HEADER + width * index);
            if index < len {
                at.add(width).copy_from(at, width * (len - index));
            }
            write_member(at, width, value);
        }
        self.set_header(width, len + 1);
        true
    }

    /// Adds a member that needs more bytes than all others have. It is smaller or larger than all.
    #[cold]
    fn widen(&mut self, value: i64) {
        let (view, width) = (self.view(), width_of(value));
        let mut wide = Intset::allocate(width, view.len() + 1);
        let mut at = wide.at(HEADER);
        let below = (value < 0).then_some(value);
        let above = (value >= 0).then_some(value);
        for member in below.into_iter().chain(view.iter()).chain(above) {
            // SAFETY: the new block has room for the members and one more.
            unsafe {
                write_member(at, width, member);
                at = at.add(width);
            }
        }
        *self = wide;
    }

    /// Removes a member; true when it was there.
    pub fn remove(&mut self, value: i64) -> bool {
        let found = self.view().search(value);
        if let Ok(index) = found {
            self.remove_range(index..index + 1);
        }
        found.is_ok()
    }

    /// Removes the members with these indexes, as far as they are there.
    pub fn remove_range(&mut self, indexes: Range<usize>) {
        let (width, len) = (self.view().width(), self.view().len());
        let end = indexes.end.min(len);
        if indexes.start >= end {
            return;
        }
        let left = len - (end - indexes.start);
        // SAFETY: the members behind the range move down before the block shrinks to what is left.
        unsafe {
            let from = self.at(HEADER + width * end);
            self.at(HEADER + width * indexes.start)
                .copy_from(from, width * (len - end));
            self.reallocate(layout(width, len), layout(width, left));
        }
        self.set_header(width, left);
    }

    /// True when the value is a member.
    #[inline]
    pub fn contains(&self, value: i64) -> bool {
        self.view().contains(value)
    }

    /// The number of members.
    #[inline]
    pub fn len(&self) -> usize {
        self.view().len()
    }

    /// True without members.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.view().is_empty()
    }

    /// The member with this index in ascending order.
    #[inline]
    pub fn get(&self, index: usize) -> Option<i64> {
        self.view().get(index)
    }

    /// The members, ascending.
    #[inline]
    pub fn iter(&self) -> IntsetIter<'_> {
        self.view().iter()
    }

    /// The whole intset as it is stored, sent and saved.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.view().bytes()
    }

    /// The bytes of the block.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        layout(self.view().width(), self.len()).size()
    }
}

/// # Safety
/// `width` bytes from `at` on can be written. `width` is 2, 4 or 8, and the value fits.
#[inline]
unsafe fn write_member(at: *mut u8, width: usize, value: i64) {
    // SAFETY: `width` bytes can be written; arrays of bytes have no alignment. The casts keep the
    // value, as it fits the width.
    unsafe {
        match width {
            2 => at.cast::<[u8; 2]>().write((value as i16).to_le_bytes()),
            4 => at.cast::<[u8; 4]>().write((value as i32).to_le_bytes()),
            _ => at.cast::<[u8; 8]>().write(value.to_le_bytes()),
        }
    }
}

impl Drop for Intset {
    fn drop(&mut self) {
        let layout = layout(self.view().width(), self.len());
        // SAFETY: the block was allocated with this layout.
        unsafe { dealloc(self.block.as_ptr(), layout) };
    }
}

impl Clone for Intset {
    fn clone(&self) -> Self {
        Intset::from(self.view())
    }
}

impl From<IntsetView<'_>> for Intset {
    fn from(view: IntsetView<'_>) -> Self {
        let mut copy = Intset::allocate(view.width(), view.len());
        let bytes = view.bytes();
        // SAFETY: the new block has room for the same header and members.
        unsafe {
            copy.at(0)
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        copy
    }
}

impl Default for Intset {
    fn default() -> Self {
        Intset::new()
    }
}

impl<'a> IntoIterator for &'a Intset {
    type Item = i64;
    type IntoIter = IntsetIter<'a>;

    fn into_iter(self) -> IntsetIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Intset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const CASES: u32 = if cfg!(miri) { 6 } else { 96 };

    /// What must hold for every intset: the members of the model in its order, valid bytes.
    fn check(set: &Intset, model: &BTreeSet<i64>) {
        assert!(set.iter().eq(model.iter().copied()));
        assert!(set.iter().rev().eq(model.iter().rev().copied()));
        assert_eq!(set.len(), model.len());
        assert_eq!(set.is_empty(), model.is_empty());
        assert_eq!(set.view().first(), model.first().copied());
        assert_eq!(set.view().last(), model.last().copied());
        assert_eq!(set.heap_bytes(), size_class(set.as_bytes().len()));
        let copy = Intset::from_bytes(set.as_bytes());
        assert_eq!(copy.as_ref().map(Intset::as_bytes), Ok(set.as_bytes()));
        assert_eq!(set.clone().as_bytes(), set.as_bytes());
    }

    #[test]
    fn bytes_are_those_of_redis() {
        let mut set = Intset::new();
        assert_eq!(set.as_bytes(), [2, 0, 0, 0, 0, 0, 0, 0]);
        assert!(set.insert(5) && set.insert(-1) && !set.insert(5));
        assert_eq!(set.as_bytes(), [2, 0, 0, 0, 2, 0, 0, 0, 0xFF, 0xFF, 5, 0]);
        assert!(set.insert(-32_769));
        assert_eq!(
            set.as_bytes(),
            [
                4, 0, 0, 0, 3, 0, 0, 0, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 5, 0, 0, 0
            ]
        );
        assert!(set.insert(i64::MAX) && set.remove(i64::MAX) && set.remove(-32_769));
        assert_eq!(set.as_bytes()[..8], [8, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(set.iter().collect::<Vec<_>>(), [-1, 5]);
    }

    #[test]
    fn broken_bytes_are_refused() {
        for bytes in [
            &[][..],
            &[2, 0, 0, 0, 0, 0, 0],
            &[3, 0, 0, 0, 0, 0, 0, 0],
            &[2, 0, 0, 0, 1, 0, 0, 0],
            &[2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0],
            &[2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 1, 0],
            &[2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0],
            &[8, 0, 0, 0, 0, 0, 0, 0x20],
        ] {
            assert!(Intset::from_bytes(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn random_members_are_members() {
        let mut set = Intset::new();
        assert_eq!(set.view().random(&mut || 7), None);
        for value in [3, 70_000, -9] {
            set.insert(value);
        }
        let mut state = 1u64;
        let mut rng = || {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            state
        };
        let seen: BTreeSet<_> = (0..64)
            .filter_map(|_| set.view().random(&mut rng))
            .collect();
        assert!(set.iter().eq(seen));
    }

    /// Values that meet each other, at all widths.
    fn value() -> impl Strategy<Value = i64> {
        prop_oneof![
            4 => -20i64..20,
            2 => (-3i64..3).prop_map(|near| near + 0x8000),
            2 => (-3i64..3).prop_map(|near| near - 0x8000),
            1 => (-3i64..3).prop_map(|near| near + 0x8000_0000),
            1 => (-3i64..3).prop_map(|near| near - 0x8000_0000),
            1 => Just(i64::MIN),
            1 => Just(i64::MAX),
            1 => any::<i64>(),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: CASES,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn behaves_as_a_set(steps in prop::collection::vec((0u8..8, value()), 1..60)) {
            let (mut set, mut model) = (Intset::new(), BTreeSet::new());
            for (kind, value) in steps {
                match kind {
                    0..5 => prop_assert_eq!(set.insert(value), model.insert(value)),
                    5..7 => prop_assert_eq!(set.remove(value), model.remove(&value)),
                    _ => {
                        let from = value.rem_euclid(8) as usize;
                        set.remove_range(from..from + 2);
                        let gone: Vec<_> = model.iter().copied().skip(from).take(2).collect();
                        gone.iter().for_each(|value| { model.remove(value); });
                    }
                }
                prop_assert_eq!(set.contains(value), model.contains(&value));
                check(&set, &model);
            }
        }

        #[test]
        fn changed_bytes_are_refused_or_a_set(
            members in prop::collection::btree_set(value(), 0..12),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            len in any::<Option<prop::sample::Index>>(),
        ) {
            let mut set = Intset::new();
            members.iter().for_each(|&value| { set.insert(value); });
            let mut bytes = set.as_bytes().to_vec();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(len.map_or(bytes.len(), |len| len.index(bytes.len() + 1)));
            if let Ok(set) = Intset::from_bytes(&bytes) {
                prop_assert_eq!(set.as_bytes(), bytes);
                check(&set, &set.iter().collect());
            }
        }
    }
}
