//! One element of a table in one block of the allocator: a member of a set, or a field with its
//! value.
//!
//! ```text
//!  +------+-----------+--------+-------------+----------+-----+-------+
//!  | head | key bytes | value  | value bytes | deadline | key | value |
//!  |   1  | 0,1,2,4,8 | code 1 | 0,2,4,8     |    8     |     |       |
//!  +------+-----------+--------+-------------+----------+-----+-------+
//!                     \______ with value ___/ \ with one /
//! ```
//! The head has two marks (bit 0: a deadline, bit 1: a value) and six bits that are the length of
//! the key when it is below 60, else say how many bytes of length follow. Likewise the value code
//! is the length below 253. So a short member costs one byte, a short field with its value two; an
//! element without a deadline costs nothing for deadlines. Numbers are little-endian and lie where
//! they lie.
//!
//! The block is as large as the allocator makes it for what is used ([`size_class`]); a value that
//! needs a block of the same size is written in place. Keys come first and never move, because a
//! lookup reads them.

use crate::alloc::{ALIGN, size_class};
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

const DEADLINE: u8 = 1;
const VALUE: u8 = 2;
/// Marks below the length code of the key.
const MARK_BITS: u32 = 2;
/// Key length codes from here on: 1, 2, 4, 8 bytes of length follow.
const KEY_LONG: u8 = 60;
/// Value length codes from here on: 2, 4, 8 bytes of length follow.
const VALUE_LONG: u8 = 253;
const DEADLINE_BYTES: usize = 8;
/// The longest header without the deadline: two codes with 8 bytes of length each.
const HEADER_MAX: usize = 18;

/// The header before the key.
struct Header {
    bytes: [u8; HEADER_MAX],
    len: usize,
}

impl Header {
    fn new(key: usize, value: Option<usize>, deadline: bool) -> Header {
        let mut header = Header {
            bytes: [0; HEADER_MAX],
            len: 0,
        };
        let marks = if deadline { DEADLINE } else { 0 } | if value.is_some() { VALUE } else { 0 };
        let (code, width) = match key {
            // The guards keep the casts whole.
            0..60 => (key as u8, 0),
            60..=0xff => (KEY_LONG, 1),
            0x100..=0xffff => (KEY_LONG + 1, 2),
            0x1_0000..=0xffff_ffff => (KEY_LONG + 2, 4),
            _ => (KEY_LONG + 3, 8),
        };
        header.push(code << MARK_BITS | marks, key, width);
        if let Some(value) = value {
            let (code, width) = match value {
                0..253 => (value as u8, 0),
                253..=0xffff => (VALUE_LONG, 2),
                0x1_0000..=0xffff_ffff => (VALUE_LONG + 1, 4),
                _ => (VALUE_LONG + 2, 8),
            };
            header.push(code, value, width);
        }
        header
    }

    fn push(&mut self, code: u8, len: usize, width: usize) {
        self.bytes[self.len] = code;
        let from = self.len + 1;
        self.bytes[from..from + width].copy_from_slice(&(len as u64).to_le_bytes()[..width]);
        self.len = from + width;
    }
}

/// Where the parts of a block are.
struct Shape {
    /// Offset of the deadline, if there is one, else of the key.
    header: usize,
    key: usize,
    key_len: usize,
    value_len: usize,
}

/// A block, borrowed for reading.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    start: NonNull<u8>,
    borrow: PhantomData<&'a [u8]>,
}

impl<'a> Block<'a> {
    /// Borrows the block at `start`.
    ///
    /// # Safety
    /// `start` came from [`create`] or [`Block::duplicate`], and the block is neither changed nor
    /// freed during `'a`.
    #[inline(always)]
    pub(crate) unsafe fn at(start: NonNull<u8>) -> Block<'a> {
        Block {
            start,
            borrow: PhantomData,
        }
    }

    /// The pointer that owns the block.
    #[cfg(test)]
    pub(crate) fn start(self) -> NonNull<u8> {
        self.start
    }

    /// A little-endian number of `width` (1, 2, 4, 8) bytes inside the header.
    ///
    /// # Safety
    /// The block has so many bytes at `at`.
    #[inline]
    unsafe fn number(self, at: usize, width: usize) -> u64 {
        let mut bytes = [0; 8];
        // SAFETY: the block has these bytes; `bytes` has room for 8, and width is at most that.
        unsafe {
            ptr::copy_nonoverlapping(self.start.as_ptr().add(at), bytes.as_mut_ptr(), width);
        }
        u64::from_le_bytes(bytes)
    }

    /// The first byte: marks and length code of the key.
    #[inline(always)]
    fn head(self) -> u8 {
        // SAFETY: every block begins with a head, and the contract of `at` keeps it for 'a.
        unsafe { *self.start.as_ptr() }
    }

    #[inline(always)]
    fn shape(self) -> Shape {
        let head = self.head();
        let code = head >> MARK_BITS;
        let (key_len, mut header) = if code < KEY_LONG {
            (code as usize, 1)
        } else {
            let width = 1 << (code - KEY_LONG);
            // SAFETY: the code says that the length follows the head, in so many bytes.
            let len = unsafe { self.number(1, width) };
            // A length in memory fits usize.
            (len as usize, 1 + width)
        };
        let mut value_len = 0;
        if head & VALUE != 0 {
            // SAFETY: the mark says that the code of the value follows what the key has.
            let code = unsafe { *self.start.as_ptr().add(header) };
            header += 1;
            value_len = code as usize;
            if code >= VALUE_LONG {
                let width = 2 << (code - VALUE_LONG);
                // SAFETY: the code says that the length follows it, in so many bytes.
                value_len = unsafe { self.number(header, width) } as usize;
                header += width;
            }
        }
        let key = if head & DEADLINE != 0 {
            header + DEADLINE_BYTES
        } else {
            header
        };
        Shape {
            header,
            key,
            key_len,
            value_len,
        }
    }

    /// # Safety
    /// Offset and length are those of the key or the value in the shape of this block.
    #[inline(always)]
    unsafe fn slice(self, at: usize, len: usize) -> &'a [u8] {
        // SAFETY: key and value are in the block and were written when it was made; the contract of
        // `at` keeps them for 'a.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(at), len) }
    }

    /// The member or field.
    #[inline(always)]
    pub(crate) fn key(self) -> &'a [u8] {
        let shape = self.shape();
        // SAFETY: this is the key in the shape of the block.
        unsafe { self.slice(shape.key, shape.key_len) }
    }

    /// The value of a field; empty for a member.
    #[inline]
    pub(crate) fn value(self) -> &'a [u8] {
        let shape = self.shape();
        // SAFETY: this is the value in the shape of the block, which follows the key.
        unsafe { self.slice(shape.key + shape.key_len, shape.value_len) }
    }

    /// The deadline in unix milliseconds.
    #[inline]
    pub(crate) fn deadline(self) -> Option<u64> {
        if self.head() & DEADLINE == 0 {
            return None;
        }
        // SAFETY: the mark says that the deadline follows the header.
        Some(unsafe { self.number(self.shape().header, DEADLINE_BYTES) })
    }

    /// True when it is not past its deadline at `now_ms`; 0 sees all.
    #[inline]
    pub(crate) fn is_visible(self, now_ms: u64) -> bool {
        self.head() & DEADLINE == 0
            || now_ms == 0
            || self.deadline().is_none_or(|deadline| deadline > now_ms)
    }

    fn used(self) -> usize {
        let shape = self.shape();
        shape.key + shape.key_len + shape.value_len
    }

    /// Bytes of the block.
    pub(crate) fn bytes(self) -> usize {
        size_class(self.used())
    }

    /// A copy in a block of its own.
    pub(crate) fn duplicate(self) -> NonNull<u8> {
        let used = self.used();
        let copy = allocate(used);
        // SAFETY: both blocks have `used` bytes, and one is new.
        unsafe { ptr::copy_nonoverlapping(self.start.as_ptr(), copy.as_ptr(), used) };
        copy
    }

    /// The same element with another value or deadline, in a block of its own.
    pub(crate) fn recreate(self, value: Option<&[u8]>, deadline: Option<u64>) -> NonNull<u8> {
        create(self.key(), value, deadline)
    }

    fn has_value(self) -> bool {
        self.head() & VALUE != 0
    }

    /// The value, when elements of this kind have one.
    pub(crate) fn own_value(self) -> Option<&'a [u8]> {
        self.has_value().then(|| self.value())
    }
}

fn layout(used: usize) -> Layout {
    // A block holds slices that were in memory, so the size is far from overflowing.
    Layout::from_size_align(size_class(used), ALIGN).unwrap_or(Layout::new::<u64>())
}

/// A block for at least one used byte, uninitialised.
fn allocate(used: usize) -> NonNull<u8> {
    debug_assert!(used > 0);
    let layout = layout(used);
    assert!(layout.size() >= used);
    // SAFETY: the size is not zero, because `used` is not.
    let start = unsafe { alloc(layout) };
    NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout))
}

/// A new block. The caller owns it and ends it with [`free`].
pub(crate) fn create(key: &[u8], value: Option<&[u8]>, deadline: Option<u64>) -> NonNull<u8> {
    let header = Header::new(key.len(), value.map(<[u8]>::len), deadline.is_some());
    let deadline_bytes = deadline.map_or(0, |_| DEADLINE_BYTES);
    let value = value.unwrap_or_default();
    let start = allocate(header.len + deadline_bytes + key.len() + value.len());
    let mut at = start.as_ptr();
    let mut write = |bytes: &[u8]| {
        // SAFETY: the block has room for the sum of the parts, which are written one after the
        // other.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len());
            at = at.add(bytes.len());
        }
    };
    write(&header.bytes[..header.len]);
    if let Some(deadline) = deadline {
        write(&deadline.to_le_bytes());
    }
    write(key);
    write(value);
    start
}

/// Frees a block.
///
/// # Safety
/// `start` came from [`create`] or [`Block::duplicate`], and the block is not used again.
pub(crate) unsafe fn free(start: NonNull<u8>) {
    // SAFETY: the block is live and not used again; its layout is a function of the bytes in use,
    // as it was when `allocate` made it.
    unsafe {
        let layout = layout(Block::at(start).used());
        dealloc(start.as_ptr(), layout);
    }
}

/// Gives a field another value in place, when the block would have the same size and header length;
/// else changes nothing and returns false.
///
/// # Safety
/// `start` is a live block with a value, and it is not borrowed.
pub(crate) unsafe fn write_value(start: NonNull<u8>, value: &[u8]) -> bool {
    // SAFETY: the caller passes a live block; this borrow ends before the block is changed.
    let block = unsafe { Block::at(start) };
    let shape = block.shape();
    let has_deadline = block.head() & DEADLINE != 0;
    let header = Header::new(shape.key_len, Some(value.len()), has_deadline);
    let value_at = shape.key + shape.key_len;
    if header.len != shape.header || size_class(value_at + value.len()) != block.bytes() {
        return false;
    }
    // SAFETY: the header keeps its length, and the block has room for the value behind the key. The
    // block is not borrowed, so the new value does not lie in it.
    unsafe {
        ptr::copy_nonoverlapping(header.bytes.as_ptr(), start.as_ptr(), header.len);
        ptr::copy_nonoverlapping(value.as_ptr(), start.as_ptr().add(value_at), value.len());
    }
    true
}

/// Gives an element another deadline in place, when it has one; else changes nothing and returns
/// false.
///
/// # Safety
/// `start` is a live block, and it is not borrowed.
pub(crate) unsafe fn write_deadline(start: NonNull<u8>, deadline: u64) -> bool {
    // SAFETY: the caller passes a live block; this borrow ends before the block is changed.
    let block = unsafe { Block::at(start) };
    let has_deadline = block.head() & DEADLINE != 0;
    if has_deadline {
        let bytes = deadline.to_le_bytes();
        // SAFETY: the deadline lies after the header.
        unsafe {
            let at = start.as_ptr().add(block.shape().header);
            ptr::copy_nonoverlapping(bytes.as_ptr(), at, DEADLINE_BYTES);
        }
    }
    has_deadline
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key: usize, value: Option<usize>, deadline: Option<u64>) {
        let key = vec![b'k'; key];
        let value = value.map(|len| vec![b'v'; len]);
        let start = create(&key, value.as_deref(), deadline);
        // SAFETY: a live block, changed only between borrows and freed last.
        unsafe {
            let block = Block::at(start);
            assert_eq!(block.key(), key);
            assert_eq!(block.own_value(), value.as_deref());
            assert_eq!(block.deadline(), deadline);
            assert!(block.bytes() >= key.len());
            let copy = block.duplicate();
            assert_eq!(Block::at(copy).key(), key);
            assert_eq!(Block::at(copy).deadline(), deadline);
            assert_eq!(write_deadline(copy, 77), deadline.is_some());
            assert_eq!(Block::at(copy).deadline(), deadline.map(|_| 77));
            if let Some(value) = &value {
                let other = vec![b'w'; value.len()];
                assert!(write_value(copy, &other));
                assert_eq!(Block::at(copy).value(), other);
                assert!(!write_value(copy, &vec![0; value.len() + 100_000]));
                assert_eq!(Block::at(copy).value(), other);
                assert_eq!(Block::at(copy).key(), key);
            }
            free(copy);
            free(start);
        }
    }

    #[test]
    fn blocks_keep_what_they_are_given() {
        let lengths = [0, 1, 59, 60, 252, 253, 255, 256, 65_535, 65_536];
        for key in lengths {
            for deadline in [None, Some(u64::MAX)] {
                check(key, None, deadline);
                for value in lengths {
                    check(key, Some(value), deadline);
                }
            }
        }
    }

    #[test]
    fn a_value_grows_in_place_within_the_block() {
        let start = create(b"field", Some(b"12"), None);
        // SAFETY: a live block, changed only between borrows and freed last.
        unsafe {
            assert_eq!(Block::at(start).bytes(), 16);
            assert!(write_value(start, b"123456789"));
            assert_eq!(Block::at(start).value(), b"123456789");
            assert!(!write_value(start, b"1234567890"));
            assert!(write_value(start, b"12"));
            assert!(!write_value(start, b"1"), "the block would be smaller");
            free(start);
        }
    }
}
