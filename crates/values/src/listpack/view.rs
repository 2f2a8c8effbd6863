//! Reading a listpack.

use super::format::{self, END, HEADER, INT13, SHORT_TEXT};
use super::{BYTES_MAX, Malformed};
use crate::element::Element;
use crate::number;
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::ptr::NonNull;

/// The count in the header of a listpack with more entries than it can count.
pub(super) const COUNT_UNKNOWN: usize = 0xFFFF;

/// Where an entry begins, in bytes from the start of the listpack. It holds until an entry at or
/// before it is changed. A stale one finds wrong entries or none, but does no other harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(NonZeroU32);

impl Position {
    /// From an offset, which is at least [`HEADER`] and below 4 GiB.
    #[inline]
    pub(super) fn new(offset: usize) -> Position {
        Position(NonZeroU32::new(offset as u32).unwrap_or(NonZeroU32::MAX))
    }

    #[inline]
    pub(crate) fn offset(self) -> usize {
        self.0.get() as usize
    }
}

/// A borrowed listpack.
///
/// All reads are checked against the length in the header, and only against that: entries that are
/// not well-formed would be misread, but never lead out of the listpack.
// Invariant: `start` leads to as many readable bytes as the u32 says that is there, at least
// `HEADER` + 1.
#[derive(Clone, Copy)]
pub struct View<'a> {
    start: NonNull<u8>,
    bytes: PhantomData<&'a [u8]>,
}

// SAFETY: a view is a `&[u8]` without its length.
unsafe impl Send for View<'_> {}
// SAFETY: a view is a `&[u8]` without its length.
unsafe impl Sync for View<'_> {}

impl<'a> View<'a> {
    /// Looks at bytes from outside, after checking all of them.
    ///
    /// # Errors
    /// [`Malformed`] names the rule of the format that the bytes break.
    pub fn new(bytes: &'a [u8]) -> Result<View<'a>, Malformed> {
        match validate(bytes)? {
            0 => Ok(View {
                start: NonNull::from(bytes).cast(),
                bytes: PhantomData,
            }),
            _ => Err(Malformed(
                "listpack entry with a longer backlen than needed",
            )),
        }
    }

    /// # Safety
    /// `start` leads to a block that begins with its length in use, which is neither changed nor
    /// freed during `'a`.
    #[inline]
    pub(super) const unsafe fn from_raw(start: NonNull<u8>) -> View<'a> {
        View {
            start,
            bytes: PhantomData,
        }
    }

    /// The address of a byte. It can be read when the offset is below the length.
    #[inline]
    const fn at(self, offset: usize) -> *const u8 {
        // Without a contract: computing an address outside of the block is no harm, only reading
        // is.
        self.start.as_ptr().cast_const().wrapping_add(offset)
    }

    /// The bytes of the listpack, header and end included.
    #[inline]
    pub fn byte_len(self) -> usize {
        // SAFETY: the header is always there.
        u32::from_le_bytes(unsafe { self.at(0).cast::<[u8; 4]>().read() }) as usize
    }

    /// The offset of the end mark.
    #[inline]
    pub(super) fn end(self) -> usize {
        self.byte_len() - 1
    }

    /// The whole listpack as it is stored, sent and saved.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        // SAFETY: `start` leads to as many initialized bytes as the header says.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.byte_len()) }
    }

    /// The count in the header.
    #[inline]
    pub(super) fn count(self) -> usize {
        // SAFETY: the header is always there.
        usize::from(u16::from_le_bytes(unsafe {
            self.at(4).cast::<[u8; 2]>().read()
        }))
    }

    /// The number of entries. It is counted when there are 65,535 or more.
    #[inline]
    pub fn len(self) -> usize {
        match self.count() {
            COUNT_UNKNOWN => self.iter().count(),
            count => count,
        }
    }

    /// True without entries.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.end() <= HEADER
    }

    /// True when `more` bytes of entries (see [`encoded_len`](super::encoded_len)) still fit.
    #[inline]
    pub fn fits(self, more: usize) -> bool {
        self.byte_len().saturating_add(more) <= BYTES_MAX
    }

    /// The first entry.
    #[inline]
    pub fn first(self) -> Option<Position> {
        (!self.is_empty()).then(|| Position::new(HEADER))
    }

    /// The last entry.
    #[inline]
    pub fn last(self) -> Option<Position> {
        self.before(self.end())
    }

    /// The entry behind `position`.
    #[inline]
    pub fn next(self, position: Position) -> Option<Position> {
        let next = self.after(position);
        (next < self.end()).then(|| Position::new(next))
    }

    /// The entry in front of `position`.
    #[inline]
    pub fn prev(self, position: Position) -> Option<Position> {
        self.before(position.offset().min(self.end()))
    }

    /// The offset behind the entry at `position`; that of the end when there is none.
    #[inline]
    pub(super) fn after(self, position: Position) -> usize {
        let (at, end) = (position.offset(), self.end());
        if at >= end {
            return end;
        }
        // SAFETY: the bytes up to the end mark are there.
        end.min(at + unsafe { format::step(self.at(at), end - at) })
    }

    #[inline]
    fn before(self, offset: usize) -> Option<Position> {
        if offset <= HEADER {
            return None;
        }
        // SAFETY: the bytes from the header to the offset, which is at most that of the end, are
        // there.
        let size = unsafe { format::step_back(self.at(offset), offset - HEADER) };
        Some(Position::new(offset - size))
    }

    /// The element at `position`.
    #[inline]
    pub fn get(self, position: Position) -> Element<'a> {
        let (at, end) = (position.offset(), self.end());
        debug_assert!(at < end, "a position of another listpack, or a stale one");
        if at >= end {
            return Element::Bytes(&[]);
        }
        // SAFETY: the bytes up to the end mark are there.
        unsafe { format::read(self.at(at), end - at) }.element
    }

    /// The entry with this index, from the nearer end.
    pub fn nth(self, index: usize) -> Option<Position> {
        let count = self.count();
        if count == COUNT_UNKNOWN || index < count / 2 {
            let at = self.skip(HEADER, self.end(), index);
            return (at < self.end()).then(|| Position::new(at));
        }
        let from_back = count.checked_sub(index)?.checked_sub(1)?;
        let mut position = self.last()?;
        for _ in 0..from_back {
            position = self.prev(position)?;
        }
        Some(position)
    }

    /// The elements.
    #[inline]
    pub fn iter(self) -> Iter<'a> {
        Iter {
            view: self,
            front: HEADER,
            back: self.end(),
        }
    }

    /// The elements from `position` to the end. From the back it stops there, too.
    #[inline]
    pub fn iter_from(self, position: Position) -> Iter<'a> {
        let end = self.end();
        Iter {
            view: self,
            front: position.offset().min(end),
            back: end,
        }
    }

    /// The elements from the first one to that at `position`, which is included.
    #[inline]
    pub fn iter_to(self, position: Position) -> Iter<'a> {
        Iter {
            view: self,
            front: HEADER,
            back: self.after(position),
        }
    }

    /// The elements with their positions.
    #[inline]
    pub fn positions(self) -> Positions<'a> {
        Positions { rest: self.iter() }
    }

    /// The elements from `position` to the end with their positions.
    #[inline]
    pub fn positions_from(self, position: Position) -> Positions<'a> {
        Positions {
            rest: self.iter_from(position),
        }
    }

    /// Looks for an element with the text `needle`: compares the one at `from`, leaves out `skip`
    /// elements, compares the next, and so on.
    #[inline]
    pub fn find(self, from: Position, needle: &[u8], skip: usize) -> Option<Position> {
        match number::parse_canonical(needle) {
            None if needle.len() < 64 => self.find_short(from, needle, skip),
            number => self.find_any(from, needle, number, skip),
        }
    }

    /// Most needles are short and no numbers: an equal entry begins with one certain byte, unless
    /// its length is written in a longer form than needed.
    fn find_short(self, from: Position, needle: &[u8], skip: usize) -> Option<Position> {
        let head = SHORT_TEXT | needle.len() as u8;
        let (mut at, end) = (from.offset(), self.end());
        while at < end {
            let room = end - at;
            // SAFETY: the bytes up to the end mark are there, which are enough for the text when it
            // is read.
            let (same, size) = unsafe {
                let first = *self.at(at);
                if first == head && needle.len() < room {
                    let text = std::slice::from_raw_parts(self.at(at + 1), needle.len());
                    (same_text(text, needle), needle.len() + 2)
                } else if first < INT13 {
                    (false, format::step(self.at(at), room))
                } else {
                    let entry = format::read(self.at(at), room);
                    (
                        matches!(entry.element, Element::Bytes(text) if same_text(text, needle)),
                        entry.size,
                    )
                }
            };
            if same {
                return Some(Position::new(at));
            }
            at = self.skip(at + size, end, skip);
        }
        None
    }

    /// The general case.
    fn find_any(
        self,
        from: Position,
        needle: &[u8],
        number: Option<i64>,
        skip: usize,
    ) -> Option<Position> {
        let (mut at, end) = (from.offset(), self.end());
        while at < end {
            // SAFETY: the bytes up to the end mark are there.
            let entry = unsafe { format::read(self.at(at), end - at) };
            let same = match entry.element {
                Element::Bytes(text) => same_text(text, needle),
                Element::Int(value) => number == Some(value),
            };
            if same {
                return Some(Position::new(at));
            }
            at = self.skip(at + entry.size, end, skip);
        }
        None
    }

    /// The offset so many entries behind; not below that of the end when there are fewer.
    #[inline(always)]
    fn skip(self, mut at: usize, end: usize, entries: usize) -> usize {
        for _ in 0..entries {
            if at >= end {
                break;
            }
            // SAFETY: the bytes up to the end mark are there.
            at += unsafe { format::step(self.at(at), end - at) };
        }
        at
    }
}

/// Fields of one hash often have the same length and the same beginning: the last byte
/// distinguishes most.
#[inline(always)]
fn same_text(text: &[u8], needle: &[u8]) -> bool {
    text.len() == needle.len() && text.last() == needle.last() && text == needle
}

impl<'a> IntoIterator for View<'a> {
    type Item = Element<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The elements of a listpack.
// Invariant: HEADER <= front, HEADER <= back <= end of the view. All was read when front is not
// below back.
#[derive(Clone)]
pub struct Iter<'a> {
    view: View<'a>,
    front: usize,
    back: usize,
}

impl<'a> Iter<'a> {
    #[inline(always)]
    fn step(&mut self) -> Option<(usize, Element<'a>)> {
        let at = self.front;
        if at >= self.back {
            return None;
        }
        let room = self.back - at;
        // SAFETY: the bytes up to the end mark are there.
        let entry = unsafe { format::read(self.view.at(at), room) };
        self.front += entry.size;
        Some((at, entry.element))
    }

    #[inline(always)]
    fn step_back(&mut self) -> Option<(usize, Element<'a>)> {
        if self.front >= self.back {
            return None;
        }
        // SAFETY: the bytes between front and back are there, with the header or entries before
        // them, and so are those between the new back and the old one.
        unsafe {
            let size = format::step_back(self.view.at(self.back), self.back - self.front);
            self.back -= size;
            let entry = format::read(self.view.at(self.back), size);
            Some((self.back, entry.element))
        }
    }
}

impl<'a> Iter<'a> {
    /// Leaves out so many elements at the front.
    #[inline]
    pub(crate) fn leave_out(&mut self, entries: usize) {
        self.front = self.view.skip(self.front, self.back, entries);
    }

    /// Leaves out so many elements at the back.
    #[inline]
    pub(crate) fn leave_out_back(&mut self, entries: usize) {
        for _ in 0..entries {
            if self.front >= self.back {
                break;
            }
            // SAFETY: the bytes between front and back are there, with the header or entries before
            // them.
            self.back -=
                unsafe { format::step_back(self.view.at(self.back), self.back - self.front) };
        }
    }

    /// Where the next element is, if there is one.
    #[inline]
    pub(crate) fn front(&self) -> Option<Position> {
        (self.front < self.back).then(|| Position::new(self.front))
    }

    /// The bytes behind the remaining elements.
    #[inline]
    pub(crate) fn behind(&self) -> Iter<'a> {
        Iter {
            view: self.view,
            front: self.back,
            back: self.view.end(),
        }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        self.step().map(|(_, element)| element)
    }

    fn count(self) -> usize {
        let (mut at, mut count) = (self.front, 0);
        while at < self.back {
            // SAFETY: the bytes up to the end mark are there.
            at += unsafe { format::step(self.view.at(at), self.back - at) };
            count += 1;
        }
        count
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step_back().map(|(_, element)| element)
    }
}

impl std::iter::FusedIterator for Iter<'_> {}

/// The elements of a listpack with their positions.
#[derive(Clone)]
pub struct Positions<'a> {
    rest: Iter<'a>,
}

impl Positions<'_> {
    /// The offset of the first entry that is left, or behind all.
    pub(super) fn offset(&self) -> usize {
        self.rest.front.min(self.rest.back)
    }
}

impl<'a> Iterator for Positions<'a> {
    type Item = (Position, Element<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (at, element) = self.rest.step()?;
        Some((Position::new(at), element))
    }
}

impl DoubleEndedIterator for Positions<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        let (at, element) = self.rest.step_back()?;
        Some((Position::new(at), element))
    }
}

impl std::iter::FusedIterator for Positions<'_> {}

/// Checks all that reading relies on: lengths, every entry with its backlen, the count. Returns how
/// many entries have Redis's longer backlen (see [`format::check_backlen`]), with which nothing
/// here can read.
pub(super) fn validate(bytes: &[u8]) -> Result<usize, Malformed> {
    let (Some((head, _)), Some(&END)) = (
        bytes.split_first_chunk::<HEADER>(),
        bytes.get(HEADER..).and_then(<[u8]>::last),
    ) else {
        return Err(Malformed("listpack without header or end"));
    };
    let [b0, b1, b2, b3, c0, c1] = *head;
    if u32::from_le_bytes([b0, b1, b2, b3]) as usize != bytes.len() || bytes.len() > BYTES_MAX {
        return Err(Malformed("listpack of another length than its header says"));
    }
    let mut longer = 0;
    let (mut at, end, mut count) = (HEADER, bytes.len() - 1, 0);
    while at < end {
        let room = end - at;
        // SAFETY: the slice has these bytes.
        let bare = unsafe { format::read(bytes.as_ptr().add(at), room) }.bare;
        if bare >= room {
            return Err(Malformed(
                "listpack entry of no known kind, or beyond the end",
            ));
        }
        // SAFETY: the slice has these bytes.
        let backlen =
            unsafe { format::check_backlen(bytes.as_ptr().add(at + bare), room - bare, bare) };
        let Some(backlen) = backlen else {
            return Err(Malformed(
                "listpack entry with another size in front than behind",
            ));
        };
        longer += backlen - format::backlen_size(bare);
        at += bare + backlen;
        count += 1;
    }
    match usize::from(u16::from_le_bytes([c0, c1])) {
        COUNT_UNKNOWN => Ok(longer),
        said if said == count => Ok(longer),
        _ => Err(Malformed(
            "listpack with another number of entries than its header says",
        )),
    }
}
