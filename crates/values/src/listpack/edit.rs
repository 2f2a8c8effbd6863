//! Changing a listpack.

use super::format::{self, END, HEADER};
use super::view::{COUNT_UNKNOWN, Position, View};
use super::{BYTES_MAX, Listpack};
use crate::element::Element;

impl Listpack {
    /// Replaces `old` bytes at `at` by `new` bytes that the caller writes. False, and nothing is
    /// done, when the listpack would become too large.
    ///
    /// # Safety
    /// `HEADER <= at` and `at + old <= end`. When it returns true, the new bytes must be written
    /// before the listpack is used otherwise.
    #[inline]
    unsafe fn splice(&mut self, at: usize, old: usize, new: usize) -> bool {
        let len = self.byte_len();
        debug_assert!(HEADER <= at && at + old < len);
        // `len - old` is positive, and the sum cannot overflow since sizes of elements saturate.
        let to = (len - old).saturating_add(new);
        if to > BYTES_MAX {
            return false;
        }
        let tail = len - at - old;
        // SAFETY: the block holds the larger of both lengths while the tail moves; the tail
        // includes the end mark.
        unsafe {
            if to > len {
                self.reallocate(len, to);
            }
            if new != old {
                let from = self.at(at + old);
                self.at(at + new).copy_from(from, tail);
            }
            if to < len {
                self.reallocate(len, to);
            }
        }
        self.set_byte_len(to);
        true
    }

    /// Offsets that positions may give: those of entries and that of the end.
    #[inline]
    fn checked(&self, position: Position) -> usize {
        position.offset().clamp(HEADER, self.view().end())
    }

    /// Adds to the count, which stays unknown when it is.
    #[inline]
    fn added(&mut self, entries: usize) {
        let count = self.view().count();
        if count != COUNT_UNKNOWN {
            self.set_count(count.saturating_add(entries));
        }
    }

    /// Takes from the count. An unknown one is counted as soon as there cannot be too many any
    /// more.
    #[inline]
    fn removed(&mut self, entries: usize) {
        match self.view().count() {
            COUNT_UNKNOWN => self.recount(),
            count => self.set_count(count.saturating_sub(entries)),
        }
    }

    /// Counts when the count is unknown and fewer entries than it takes can be there.
    pub(super) fn recount(&mut self) {
        let view = self.view();
        // No entry has less than two bytes.
        if view.count() == COUNT_UNKNOWN && view.byte_len() < COUNT_UNKNOWN * 2 {
            self.set_count(self.view().iter().count());
        }
    }

    /// Inserts at an offset where an entry begins or the end is, in place of `old` bytes.
    #[inline]
    fn put(&mut self, at: usize, old: usize, element: Element<'_>) -> bool {
        let size = format::full_size(element);
        // SAFETY: callers pass the extent of entries. The size is that of the entry, and as it fits
        // in a listpack, it is below 4 GiB.
        unsafe {
            self.splice(at, old, size) && {
                format::write(self.at(at), element);
                true
            }
        }
    }

    #[inline]
    fn insert_at(&mut self, at: usize, element: Element<'_>) -> bool {
        let done = self.put(at, 0, element);
        if done {
            self.added(1);
        }
        done
    }

    /// Appends an element. False, and nothing changes, when the listpack would exceed
    /// [`BYTES_MAX`]; so it is with all that insert.
    #[inline]
    pub fn push_back(&mut self, text: &[u8]) -> bool {
        self.insert_at(self.view().end(), format::classify(text))
    }

    /// Inserts an element in front of all.
    #[inline]
    pub fn push_front(&mut self, text: &[u8]) -> bool {
        self.insert_at(HEADER, format::classify(text))
    }

    /// Appends an integer.
    #[inline]
    pub fn push_back_int(&mut self, value: i64) -> bool {
        self.insert_at(self.view().end(), Element::Int(value))
    }

    /// Appends an element of another collection.
    #[inline]
    pub fn push_back_element(&mut self, element: Element<'_>) -> bool {
        self.insert_at(self.view().end(), format::classify_element(element))
    }

    /// Appends elements, all or none; the block grows once.
    pub fn push_back_all<'e, I>(&mut self, texts: I) -> bool
    where
        I: IntoIterator<Item = &'e [u8], IntoIter: Clone>,
    {
        self.insert_all_at(self.view().end(), texts.into_iter().map(format::classify))
    }

    /// Appends elements of other collections, all or none; the block grows once.
    pub fn push_back_elements<'e, I>(&mut self, elements: I) -> bool
    where
        I: IntoIterator<Item = Element<'e>, IntoIter: Clone>,
    {
        self.insert_all_at(
            self.view().end(),
            elements.into_iter().map(format::classify_element),
        )
    }

    /// Inserts elements in front of `position`, or at the end with `None`, all or none, in one
    /// move. The position is that of the first new one afterwards.
    pub fn insert_elements<'e, I>(&mut self, position: Option<Position>, elements: I) -> bool
    where
        I: IntoIterator<Item = Element<'e>, IntoIter: Clone>,
    {
        let at = position.map_or(self.view().end(), |position| self.checked(position));
        self.insert_all_at(at, elements.into_iter().map(format::classify_element))
    }

    fn insert_all_at<'e>(
        &mut self,
        at: usize,
        elements: impl Iterator<Item = Element<'e>> + Clone,
    ) -> bool {
        let (mut size, mut count) = (0usize, 0);
        for element in elements.clone() {
            size = size.saturating_add(format::full_size(element));
            count += 1;
        }
        // SAFETY: the offset is that of an entry or of the end. All new bytes are written: should
        // the iterator give other elements the second time, what is too much is left out, and a gap
        // is closed.
        unsafe {
            if !self.splice(at, 0, size) {
                return false;
            }
            // Should the iterator panic, there is something in the gap.
            self.at(at).write_bytes(0, size);
            let mut written = 0;
            for element in elements.take(count) {
                if format::full_size(element) > size - written {
                    break;
                }
                written += format::write(self.at(at + written), element);
            }
            if written < size {
                self.splice(at + written, size - written, 0);
                self.set_count(COUNT_UNKNOWN);
                self.recount();
                return true;
            }
        }
        self.added(count);
        true
    }

    /// Inserts an element in front of the one at `position`; returns where it is.
    #[inline]
    pub fn insert_before(&mut self, position: Position, text: &[u8]) -> Position {
        self.insert_element_before(position, format::classify(text))
    }

    /// The same with an element of another collection.
    #[inline]
    pub fn insert_element_before(&mut self, position: Position, element: Element<'_>) -> Position {
        let at = self.checked(position);
        self.insert_at(at, format::classify_element(element));
        Position::new(at)
    }

    /// Puts another element in the place of the one at `position`, where it is afterwards, too.
    #[inline]
    pub fn replace(&mut self, position: Position, text: &[u8]) -> Position {
        self.replace_element(position, format::classify(text))
    }

    /// The same with an element of another collection.
    #[inline]
    pub fn replace_element(&mut self, position: Position, element: Element<'_>) -> Position {
        let at = self.checked(position);
        let old = self.view().after(position) - at;
        debug_assert!(old > 0, "a position of another listpack, or a stale one");
        if old > 0 {
            self.put(at, old, format::classify_element(element));
        }
        position
    }

    /// Removes the bytes between two offsets, which are `entries` entries.
    #[inline]
    fn cut(&mut self, from: usize, to: usize, entries: usize) {
        if from < to {
            // SAFETY: callers pass offsets of entries or of the end; nothing has to be written.
            unsafe { self.splice(from, to - from, 0) };
            self.removed(entries);
        }
    }

    /// Removes the element at `position`; returns where the next one is, if there is one.
    #[inline]
    pub fn remove(&mut self, position: Position) -> Option<Position> {
        let at = self.checked(position);
        self.cut(at, self.view().after(position), 1);
        (at < self.view().end()).then(|| Position::new(at))
    }

    /// Removes up to `entries` elements from `position` on in one move; returns where the next one
    /// is.
    pub fn remove_n(&mut self, position: Position, entries: usize) -> Option<Position> {
        let at = self.checked(position);
        let (to, removed) = self.offset_behind(at, entries);
        self.cut(at, to, removed);
        (at < self.view().end()).then(|| Position::new(at))
    }

    /// The offset behind up to `entries` entries from `at` on, and how many there are.
    fn offset_behind(&self, at: usize, entries: usize) -> (usize, usize) {
        let mut rest = self.view().positions_from(Position::new(at));
        let count = rest.by_ref().take(entries).count();
        (rest.offset(), count)
    }

    /// Keeps the first `entries` elements.
    pub fn truncate(&mut self, entries: usize) {
        if let Some(position) = self.view().nth(entries) {
            let (at, end) = (position.offset(), self.view().end());
            self.cut_all_but(at, end, entries);
        }
    }

    /// Removes the bytes between two offsets, with `left` entries remaining.
    fn cut_all_but(&mut self, from: usize, to: usize, left: usize) {
        self.cut(from, to, 0);
        self.set_count(left);
    }

    /// Removes the elements from `position` on and returns them.
    pub fn split_off(&mut self, position: Position) -> Listpack {
        let (at, end) = (self.checked(position), self.view().end());
        let moved = self.view().iter_from(Position::new(at)).count();
        let len = HEADER + (end - at) + 1;
        let mut tail = Listpack::allocate(len);
        // SAFETY: the new block has room for header, entries and end mark.
        unsafe {
            let from = self.at(at);
            tail.at(HEADER).copy_from_nonoverlapping(from, end - at);
            *tail.at(len - 1) = END;
        }
        tail.set_count(moved);
        self.cut(at, end, moved);
        tail
    }

    /// Appends all elements of another listpack.
    pub fn append(&mut self, other: View<'_>) -> bool {
        self.insert_entries(self.view().end(), other)
    }

    /// Inserts all elements of another listpack in front of the own ones.
    pub fn prepend(&mut self, other: View<'_>) -> bool {
        self.insert_entries(HEADER, other)
    }

    fn insert_entries(&mut self, at: usize, other: View<'_>) -> bool {
        let bytes = other.bytes();
        let entries = &bytes[HEADER..bytes.len() - 1];
        // SAFETY: the offset is that of an entry or of the end; the new bytes are written at once.
        // `other` borrows another block, as this one is borrowed for change.
        unsafe {
            if !self.splice(at, 0, entries.len()) {
                return false;
            }
            self.at(at)
                .copy_from_nonoverlapping(entries.as_ptr(), entries.len());
        }
        match other.count() {
            COUNT_UNKNOWN => self.set_count(COUNT_UNKNOWN),
            count => self.added(count),
        }
        true
    }
}
