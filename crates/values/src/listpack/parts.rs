//! Access to listpacks in buffers of another module: the nodes of lists.

use super::format::{self, END, HEADER};
use super::view::{COUNT_UNKNOWN, Position, View};
use crate::element::Element;
use std::ptr::NonNull;

/// A listpack without entries.
pub(crate) const EMPTY: [u8; HEADER + 1] = [HEADER as u8 + 1, 0, 0, 0, 0, 0, END];

/// Bytes of a listpack without entries.
pub(crate) const FRAME: usize = HEADER + 1;

/// Bytes in front of the first entry.
pub(crate) const FRONT: usize = HEADER;

/// An element as it will be written, and its size.
#[derive(Clone, Copy)]
pub(crate) struct Encoded<'a> {
    element: Element<'a>,
    size: usize,
}

impl<'a> Encoded<'a> {
    #[inline]
    pub(crate) fn new(text: &'a [u8]) -> Encoded<'a> {
        let element = format::classify(text);
        Encoded {
            element,
            size: format::full_size(element),
        }
    }

    /// Bytes of the entry.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Writes the entry to the beginning of `room`. Nothing is written when that is too small.
    #[inline]
    pub(crate) fn write(&self, room: &mut [u8]) {
        if room.len() >= self.size && self.size <= super::BYTES_MAX {
            // SAFETY: the room was checked; the element is smaller than its entry.
            unsafe { format::write(room.as_mut_ptr(), self.element) };
        }
    }
}

/// Writes the header of a listpack over the beginning of `bytes`, which are all of it.
#[inline]
pub(crate) fn stamp(bytes: &mut [u8], count: usize) {
    let len = (bytes.len() as u32).to_le_bytes();
    let count = (count.min(COUNT_UNKNOWN) as u16).to_le_bytes();
    if let Some((head, _)) = bytes.split_first_chunk_mut::<HEADER>() {
        *head = [len[0], len[1], len[2], len[3], count[0], count[1]];
    }
}

impl<'a> View<'a> {
    /// Looks at bytes that were written as a listpack. Only what memory safety needs is checked;
    /// bytes that fail are taken for an empty listpack.
    #[inline]
    pub(crate) fn trusting(bytes: &'a [u8]) -> View<'a> {
        let head = bytes.first_chunk::<4>();
        let len = head.map_or(0, |head| u32::from_le_bytes(*head) as usize);
        let ok = len == bytes.len() && len > HEADER;
        debug_assert!(ok, "not a listpack");
        let bytes = if ok { bytes } else { &EMPTY };
        // SAFETY: as many bytes as the header says are there, and enough for header and end.
        unsafe { View::from_raw(NonNull::from(bytes).cast()) }
    }

    /// Where the entry with this index begins, in bytes; the end mark when there is none. From the
    /// nearer end.
    #[inline]
    pub(crate) fn offset_of(self, index: usize) -> usize {
        self.nth(index).map_or(self.end(), Position::offset)
    }

    /// Where the entry behind `position` begins, in bytes.
    #[inline]
    pub(crate) fn offset_after(self, position: Position) -> usize {
        self.after(position)
    }
}
