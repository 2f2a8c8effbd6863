//! Listpacks: the packed form of small lists, hashes, sets and sorted sets, and of the nodes of
//! large lists.
//!
//! One block holds all elements one behind the other, byte for byte as Redis has it in memory, in
//! DUMP payloads and in RDB files: a header of six bytes, the entries, an end mark. Strings that
//! are canonical integers are stored as integers. Each entry ends with its own size, so that it can
//! be read backwards.
//!
//! The format is Redis's, <https://github.com/antirez/listpack/blob/master/listpack.md>.

mod edit;
mod format;
mod parts;
mod view;

#[cfg(test)]
mod tests;

pub(crate) use parts::{EMPTY, Encoded, FRAME, FRONT, stamp};
pub use view::{Iter, Position, Positions, View};

use crate::alloc::{ALIGN, size_class};
use crate::element::Element;
use crate::malformed::Malformed;
use crate::owner::Form;
use crate::table::prefetch;
use format::{END, HEADER};
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::fmt;
use std::ptr::NonNull;

/// No listpack is larger than this, in bytes. Callers check [`View::fits`] before an insertion; one
/// that would exceed it changes nothing.
pub const BYTES_MAX: usize = 1 << 30;

/// Bytes that `text` takes as an entry, its backlen included.
#[inline]
pub fn encoded_len(text: &[u8]) -> usize {
    format::full_size(format::classify(text))
}

/// Bytes that `element` takes as an entry, its backlen included.
#[inline]
pub fn encoded_element_len(element: Element<'_>) -> usize {
    format::full_size(format::classify_element(element))
}

/// An owned listpack: a pointer to the block that starts with its length.
///
/// The block has always the size class of that length, so growing within the class moves nothing,
/// and no capacity has to be stored.
// Invariant: `block` was allocated with `layout(length)`, where `length` is the u32 it starts with,
// from HEADER + 1 to BYTES_MAX; the bytes up to `length` are initialized.
#[repr(transparent)]
pub struct Listpack {
    block: NonNull<u8>,
}

// SAFETY: a listpack owns its block alone.
unsafe impl Send for Listpack {}
// SAFETY: shared borrows only read.
unsafe impl Sync for Listpack {}

// SAFETY: blocks are aligned to 8, and the pointer is all that a listpack is.
unsafe impl Form for Listpack {
    type Ref<'a> = View<'a>;

    fn copy_of(borrowed: Self::Ref<'_>) -> Self {
        Listpack::from(borrowed)
    }

    #[inline]
    fn into_raw(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).block
    }

    #[inline]
    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Listpack { block: raw }
    }

    #[inline]
    unsafe fn borrow<'a>(raw: NonNull<u8>) -> View<'a>
    where
        Self: 'a,
    {
        // SAFETY: `raw` is the block of a listpack, which begins with its length in use, and
        // nothing changes or frees it during 'a.
        unsafe { View::from_raw(raw) }
    }
}

impl Listpack {
    /// A listpack without entries.
    pub fn new() -> Listpack {
        let mut pack = Listpack::allocate(HEADER + 1);
        pack.set_count(0);
        // SAFETY: the block has at least that many bytes.
        unsafe { *pack.at(HEADER) = END };
        pack
    }

    /// Starts bringing the header into the cache, with the entries at the front.
    #[inline]
    pub(crate) fn prefetch_head(&self) {
        prefetch(self.block.as_ptr());
    }

    /// Starts bringing the end mark into the cache, with the line in front of it. Reads the header.
    #[inline]
    pub(crate) fn prefetch_end(&self) {
        const LINE_BYTES: usize = 64;
        let end = self.block.as_ptr().wrapping_add(self.len() - 1);
        prefetch(end);
        prefetch(end.wrapping_sub(LINE_BYTES));
    }

    /// Takes bytes from outside, after checking all of them.
    ///
    /// # Errors
    /// [`Malformed`] names the rule of the format that the bytes break.
    pub fn from_bytes(bytes: &[u8]) -> Result<Listpack, Malformed> {
        let mut pack = match view::validate(bytes)? {
            0 => Listpack::copy_of(bytes),
            longer => Listpack::respelled(bytes, longer),
        };
        pack.recount();
        Ok(pack)
    }

    /// Copies a well-formed listpack.
    fn copy_of(bytes: &[u8]) -> Listpack {
        let pack = Listpack::allocate(bytes.len());
        // SAFETY: the block has room for as many bytes, which include the length; it is a new one.
        unsafe {
            pack.block
                .as_ptr()
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        pack
    }

    /// Copies a listpack that is valid but for `longer` backlens that Redis writes with a byte
    /// more.
    fn respelled(bytes: &[u8], longer: usize) -> Listpack {
        let mut pack = Listpack::allocate(bytes.len() - longer);
        let (mut from, mut to, end) = (HEADER, HEADER, bytes.len() - 1);
        // SAFETY: all entries are valid, and with `longer` bytes less behind some of them they fill
        // the block.
        unsafe {
            pack.at(4)
                .copy_from_nonoverlapping(bytes.as_ptr().add(4), 2);
            while from < end {
                let at = bytes.as_ptr().add(from);
                let bare = format::read(at, end - from).bare;
                let backlen = format::check_backlen(at.add(bare), end - from - bare, bare);
                pack.at(to).copy_from_nonoverlapping(at, bare);
                to += bare + format::write_backlen(pack.at(to + bare), bare);
                from += bare + backlen.unwrap_or(end);
            }
            *pack.at(to) = END;
        }
        pack
    }

    /// A block for `len` bytes, of which only the length is written.
    fn allocate(len: usize) -> Listpack {
        let layout = layout(len);
        // SAFETY: the layout is not empty.
        let block = NonNull::new(unsafe { alloc(layout) });
        let mut pack = Listpack {
            block: block.unwrap_or_else(|| handle_alloc_error(layout)),
        };
        pack.set_byte_len(len);
        pack
    }

    /// Changes the block from one length to another. The contents stay as far as both reach; the
    /// length in the header is left to the caller.
    ///
    /// # Safety
    /// The block was allocated for `from` bytes, and `to` is from `HEADER + 1` to `BYTES_MAX`.
    /// Until the header has `to` in it, the listpack must not be used otherwise.
    #[inline]
    unsafe fn reallocate(&mut self, from: usize, to: usize) {
        let (old, new) = (layout(from), layout(to));
        if old == new {
            return;
        }
        // SAFETY: the block was allocated with the old layout; the new size is not zero and far
        // from overflowing.
        let block = unsafe { realloc(self.block.as_ptr(), old, new.size()) };
        self.block = NonNull::new(block).unwrap_or_else(|| handle_alloc_error(new));
    }

    /// The address of a byte. It can be accessed when the offset is within the block.
    #[inline]
    fn at(&mut self, offset: usize) -> *mut u8 {
        // Without a contract: computing an address outside of the block is no harm, only access is.
        self.block.as_ptr().wrapping_add(offset)
    }

    #[inline]
    fn set_byte_len(&mut self, len: usize) {
        // SAFETY: the header is always there. Lengths are at most BYTES_MAX.
        unsafe {
            self.at(0)
                .cast::<[u8; 4]>()
                .write((len as u32).to_le_bytes())
        };
    }

    /// Writes the count, or that it is unknown when it is too large.
    #[inline]
    fn set_count(&mut self, count: usize) {
        let count = count.min(view::COUNT_UNKNOWN) as u16;
        // SAFETY: the header is always there.
        unsafe { self.at(4).cast::<[u8; 2]>().write(count.to_le_bytes()) };
    }

    /// The listpack, borrowed for reading.
    #[inline]
    pub fn view(&self) -> View<'_> {
        // SAFETY: the block is as a view needs it, and stays so while it is borrowed.
        unsafe { View::from_raw(self.block) }
    }

    /// The whole listpack as it is stored, sent and saved.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.view().bytes()
    }

    /// The number of entries; see [`View::len`].
    #[inline]
    pub fn len(&self) -> usize {
        self.view().len()
    }

    /// True without entries.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.view().is_empty()
    }

    /// The bytes of the listpack, header and end included.
    #[inline]
    pub fn byte_len(&self) -> usize {
        self.view().byte_len()
    }

    /// The bytes of the block.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        layout(self.byte_len()).size()
    }
}

/// The layout of the block for a listpack of `len` bytes.
#[inline]
fn layout(len: usize) -> Layout {
    // SAFETY: the alignment is a power of two, and sizes do not come near `isize::MAX`.
    unsafe { Layout::from_size_align_unchecked(size_class(len), ALIGN) }
}

impl Drop for Listpack {
    fn drop(&mut self) {
        // SAFETY: the block was allocated with this layout.
        unsafe { dealloc(self.block.as_ptr(), layout(self.byte_len())) };
    }
}

impl Clone for Listpack {
    fn clone(&self) -> Self {
        Listpack::copy_of(self.as_bytes())
    }
}

impl Default for Listpack {
    fn default() -> Self {
        Listpack::new()
    }
}

impl From<View<'_>> for Listpack {
    fn from(view: View<'_>) -> Self {
        Listpack::copy_of(view.bytes())
    }
}

impl fmt::Debug for Listpack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}
