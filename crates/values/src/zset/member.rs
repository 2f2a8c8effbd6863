//! A member of an indexed sorted set: one block of the allocator.
//!
//! ```text
//!  byte 0            1            8                16
//!  +--------+--------+------------+----------------+
//!  | header | top 7 bytes of score| member ...         narrow: the lowest byte of the score is 0
//!  | header | score, 8 bytes    | member ...           wide: any other score
//!  | header | length, 7 bytes     | score          | member ...   long: 63 bytes and more
//!  +--------+--------+------------+----------------+
//!  header: bit 0: a deadline of 8 bytes stands in front of the member; bit 1: wide;
//!          bits 2..8: length of the member, 63: long
//! ```
//! Integers below 2^45 and simple fractions are narrow, which puts a member of 16 bytes in a block
//! of 24 bytes and not of 32. The block is as large as the allocator makes it anyway, so its size
//! follows from the header and is not stored.

use crate::Element;
use crate::alloc::{ALIGN, size_class};
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

const HAS_DEADLINE: u8 = 1;
const WIDE: u8 = 2;
const LENGTH_SHIFT: u32 = 2;
/// In the length bits: the length stands in the seven bytes after the header.
const LONG: usize = 63;
const HEADER_MASK: u64 = 0xff;
const DEADLINE_BYTES: usize = size_of::<u64>();

/// The address of a live block. Copies name the same block.
///
/// A member is live from [`Member::new`] until [`Member::free`], whose caller guarantees that no
/// copy is used again. So safe functions may take members: they can rely on live blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(super) struct Member(NonNull<u8>);

/// The contents of the header.
#[derive(Clone, Copy)]
struct Shape {
    header: u8,
    len: usize,
}

impl Shape {
    fn new(len: usize, score: f64, has_deadline: bool) -> Shape {
        let long = len >= LONG;
        let wide = !long && !is_narrow(score);
        // A length below 64 in the upper six bits.
        let header = (len.min(LONG) << LENGTH_SHIFT) as u8
            | if wide { WIDE } else { 0 }
            | if has_deadline { HAS_DEADLINE } else { 0 };
        Shape { header, len }
    }

    #[inline]
    fn is_long(self) -> bool {
        usize::from(self.header >> LENGTH_SHIFT) == LONG
    }

    #[inline]
    fn is_wide(self) -> bool {
        self.header & WIDE != 0
    }

    #[inline]
    fn has_deadline(self) -> bool {
        self.header & HAS_DEADLINE != 0
    }

    /// Where the score ends.
    #[inline]
    fn head(self) -> usize {
        if self.is_long() {
            16
        } else if self.is_wide() {
            9
        } else {
            8
        }
    }

    /// Where the member begins.
    #[inline]
    fn text(self) -> usize {
        self.head()
            + if self.has_deadline() {
                DEADLINE_BYTES
            } else {
                0
            }
    }

    fn layout(self) -> Layout {
        let size = size_class(self.text() + self.len);
        let Ok(layout) = Layout::from_size_align(size, ALIGN) else {
            unreachable!(
                "a slice in memory is shorter than the address space by more than a header"
            )
        };
        layout
    }
}

#[inline]
fn is_narrow(score: f64) -> bool {
    score.to_bits() & HEADER_MASK == 0
}

impl Member {
    /// A new block.
    pub(super) fn new(text: &[u8], score: f64, deadline: Option<u64>) -> Member {
        let shape = Shape::new(text.len(), score, deadline.is_some());
        let layout = shape.layout();
        // SAFETY: a layout with a header is not empty. The block has room for head, deadline and
        // text, and is written from its beginning to the end of the text.
        unsafe {
            let Some(block) = NonNull::new(alloc(layout)) else {
                handle_alloc_error(layout)
            };
            if shape.is_long() {
                let word = (text.len() as u64) << 8 | u64::from(shape.header);
                block.cast::<u64>().write(word);
                block.add(8).cast::<f64>().write(score);
            } else if shape.is_wide() {
                block.write(shape.header);
                block.add(1).cast::<f64>().write_unaligned(score);
            } else {
                let word = score.to_bits() | u64::from(shape.header);
                block.cast::<u64>().write(word);
            }
            if let Some(deadline) = deadline {
                let place = block.add(shape.head()).cast::<u64>();
                place.write_unaligned(deadline);
            }
            let place = block.add(shape.text());
            place.copy_from_nonoverlapping(NonNull::from(text).cast(), text.len());
            Member(block)
        }
    }

    /// A member from the address of its block.
    ///
    /// # Safety
    /// `block` came from [`Member::as_ptr`], and the member has not been freed.
    #[inline]
    pub(super) unsafe fn from_ptr(block: NonNull<u8>) -> Member {
        Member(block)
    }

    /// The address of the block.
    #[inline]
    pub(super) fn as_ptr(self) -> NonNull<u8> {
        self.0
    }

    /// # Safety
    /// The block is live.
    #[inline]
    unsafe fn shape(self) -> Shape {
        // SAFETY: the block is live.
        let header = unsafe { self.header() };
        let len = usize::from(header >> LENGTH_SHIFT);
        if len < LONG {
            return Shape { header, len };
        }
        // SAFETY: long blocks begin with a whole word.
        let word = unsafe { self.0.cast::<u64>().read() };
        Shape {
            header,
            len: (word >> 8) as usize,
        }
    }

    /// # Safety
    /// The block is live.
    #[inline]
    unsafe fn header(self) -> u8 {
        const { assert!(cfg!(target_endian = "little")) };
        // SAFETY: the block is live; the header is the first byte in memory.
        unsafe { self.0.read() }
    }

    /// The member's text.
    ///
    /// # Safety
    /// The block is live and stays so during `'a`.
    #[inline]
    pub(super) unsafe fn text<'a>(self) -> &'a [u8] {
        // SAFETY: the block is live during 'a; `len` bytes after the head were written by `new`.
        unsafe {
            let shape = self.shape();
            std::slice::from_raw_parts(self.0.add(shape.text()).as_ptr(), shape.len)
        }
    }

    /// The score.
    ///
    /// # Safety
    /// The block is live.
    #[inline]
    pub(super) unsafe fn score(self) -> f64 {
        // SAFETY: the block is live; `new` and `set_score` write the score of each form where it is
        // read here.
        unsafe {
            let shape = self.shape();
            if shape.is_long() {
                self.0.add(8).cast::<f64>().read()
            } else if shape.is_wide() {
                self.0.add(1).cast::<f64>().read_unaligned()
            } else {
                f64::from_bits(self.0.cast::<u64>().read() & !HEADER_MASK)
            }
        }
    }

    /// The member as callers see it, and the score.
    ///
    /// # Safety
    /// The block is live and stays so during `'a`.
    #[inline]
    pub(super) unsafe fn pair<'a>(self) -> (Element<'a>, f64) {
        // SAFETY: the block is live during 'a.
        unsafe { (Element::Bytes(self.text()), self.score()) }
    }

    /// The deadline in unix milliseconds.
    ///
    /// # Safety
    /// The block is live.
    pub(super) unsafe fn deadline(self) -> Option<u64> {
        // SAFETY: the block is live; the flag says that the deadline is there.
        unsafe {
            let shape = self.shape();
            let place = self.0.add(shape.head()).cast::<u64>();
            shape.has_deadline().then(|| place.read_unaligned())
        }
    }

    /// Writes another score into the block. False, and nothing done, when there is no room for it.
    ///
    /// # Safety
    /// The block is live, and it is not borrowed.
    pub(super) unsafe fn set_score(self, score: f64) -> bool {
        // SAFETY: the block is live and not borrowed; each form has room for its score where
        // `score` reads it.
        unsafe {
            let shape = self.shape();
            if shape.is_long() {
                self.0.add(8).cast::<f64>().write(score);
            } else if shape.is_wide() {
                self.0.add(1).cast::<f64>().write_unaligned(score);
            } else if is_narrow(score) {
                let word = score.to_bits() | u64::from(shape.header);
                self.0.cast::<u64>().write(word);
            } else {
                return false;
            }
        }
        true
    }

    /// Bytes of the block.
    ///
    /// # Safety
    /// The block is live.
    #[inline]
    pub(super) unsafe fn block_bytes(self) -> usize {
        // SAFETY: the block is live.
        unsafe { self.shape().layout().size() }
    }

    /// Frees the block.
    ///
    /// # Safety
    /// The block is live, and no copy of the address is used as a member again.
    pub(super) unsafe fn free(self) {
        // SAFETY: the block is live and not used again; the layout is that of `new`, because
        // set_score keeps the header.
        unsafe { dealloc(self.0.as_ptr(), self.shape().layout()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8], score: f64, deadline: Option<u64>, bytes: usize) {
        let member = Member::new(text, score, deadline);
        // SAFETY: live until it is freed.
        unsafe {
            assert_eq!(member.text(), text);
            assert_eq!(member.score().to_bits(), score.to_bits());
            assert_eq!(member.deadline(), deadline);
            assert_eq!(member.block_bytes(), bytes);
            let kept = member.set_score(2.5);
            assert!(kept && member.score() == 2.5 && member.text() == text);
            let kept = member.set_score(0.1);
            assert_eq!(member.score(), if kept { 0.1 } else { 2.5 });
            assert_eq!(member.text(), text);
            assert_eq!(member.deadline(), deadline);
            member.free();
        }
    }

    #[test]
    fn blocks_hold_what_they_were_given() {
        check(b"", 0.0, None, 8);
        check(b"", 0.1, None, 16);
        check(b"0123456789abcdef", 17.0, None, 24);
        check(b"0123456789abcdef", -1_700_000_000_000.0, None, 24);
        check(b"0123456789abcdef", f64::NEG_INFINITY, Some(5), 32);
        check(b"0123456789abcdef", -0.0, None, 24);
        check(b"0123456789abcdef", 0.3, None, 32);
        check(b"0123456789abcdef", 0.3, Some(u64::MAX), 40);
        check(&[7; 62], 0.3, None, 80);
        check(&[7; 63], 0.3, None, 80);
        check(&[7; 63], 1.0, Some(3), 96);
        check(&[7; 5000], 0.1, None, 5120);
    }
}
