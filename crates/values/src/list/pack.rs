//! A listpack with room at both ends.
//!
//! ```text
//! | room | header | entries ......... | end | room |
//!        ^ start                            ^ bytes.len()  ^ bytes.capacity()
//! ```
//!
//! Elements are added and removed mostly at the ends of a list. In a plain listpack each change in
//! front moves all entries behind it, some 4 KiB on average; here only the header moves. The bytes
//! between the free rooms are exactly a listpack, so reading and saving are those of a listpack.

use crate::alloc::size_class;
use crate::listpack::{EMPTY, Encoded, FRAME, FRONT, View, stamp};
use std::ops::Range;

/// Room that a node gets at least when it grows: for a few short elements.
const ROOM_MIN: usize = 40;
/// Below one part in so many in use, a node that shrinks is moved to a smaller block.
const SPARSE: usize = 4;

/// A node's elements.
// Invariant: `bytes[start..]` is a listpack of `count` entries. It has less than 4 GiB, and so has
// `bytes`.
pub(super) struct Pack {
    bytes: Vec<u8>,
    start: u32,
    count: u32,
}

impl Pack {
    /// A pack without elements, which has not even a listpack: it marks nodes that are to be
    /// removed.
    pub(super) fn none() -> Pack {
        Pack::from_raw(Vec::new(), 0)
    }

    /// A pack of one element.
    pub(super) fn of(text: &[u8]) -> Pack {
        let encoded = Encoded::new(text);
        let mut pack = Pack {
            bytes: Vec::with_capacity(size_class(FRAME + encoded.size())),
            start: 0,
            count: 0,
        };
        pack.bytes.extend_from_slice(&EMPTY);
        pack.insert(FRONT, encoded);
        pack
    }

    /// A copy of a listpack.
    pub(super) fn copy_of(view: View<'_>) -> Pack {
        let mut bytes = Vec::with_capacity(size_class(view.byte_len()));
        bytes.extend_from_slice(view.bytes());
        Pack {
            bytes,
            start: 0,
            count: view.len() as u32,
        }
    }

    /// Takes the bytes of a listpack that had `count` entries.
    pub(super) fn from_raw(bytes: Vec<u8>, count: usize) -> Pack {
        Pack {
            bytes,
            start: 0,
            count: count as u32,
        }
    }

    #[inline]
    fn start(&self) -> usize {
        self.start as usize
    }

    /// The number of elements.
    #[inline]
    pub(super) fn count(&self) -> usize {
        self.count as usize
    }

    /// The bytes of the listpack.
    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(self.start()..).unwrap_or(&EMPTY)
    }

    /// The number of bytes of the listpack.
    #[inline]
    pub(super) fn byte_len(&self) -> usize {
        self.bytes.len() - self.start()
    }

    /// The listpack.
    #[inline]
    pub(super) fn view(&self) -> View<'_> {
        View::trusting(self.as_bytes())
    }

    /// Bytes of the block.
    #[inline]
    pub(super) fn heap_bytes(&self) -> usize {
        size_class(self.bytes.capacity())
    }

    #[inline]
    fn stamp(&mut self) {
        if let Some(bytes) = self.bytes.get_mut(self.start as usize..) {
            stamp(bytes, self.count as usize);
        }
    }

    /// Adds an element behind all others.
    #[inline]
    pub(super) fn push_back(&mut self, text: &[u8]) {
        self.insert(self.byte_len() - 1, Encoded::new(text));
    }

    /// Adds an element in front of all others.
    #[inline]
    pub(super) fn push_front(&mut self, text: &[u8]) {
        self.insert(FRONT, Encoded::new(text));
    }

    /// Inserts an element in front of the one with this index.
    pub(super) fn insert_at(&mut self, index: usize, text: &[u8]) {
        self.insert(self.view().offset_of(index), Encoded::new(text));
    }

    #[inline]
    fn insert(&mut self, offset: usize, encoded: Encoded<'_>) {
        self.count += 1;
        self.put(offset, 0, encoded);
    }

    /// Puts another element in the place of one, if the bytes of the listpack without the one and
    /// the bytes of its entry allow it. Returns whether they did.
    pub(super) fn replace(
        &mut self,
        index: usize,
        text: &[u8],
        allow: impl FnOnce(usize, usize) -> bool,
    ) -> bool {
        let extent = self.extent(index, 1);
        let allowed = allow(self.byte_len() - extent.len(), extent.len());
        if allowed {
            self.put(extent.start, extent.len(), Encoded::new(text));
        }
        allowed
    }

    /// Where up to `count` entries from `index` on are, in bytes from the start of the listpack.
    #[inline]
    fn extent(&self, index: usize, count: usize) -> Range<usize> {
        let view = self.view();
        let end = self.byte_len() - 1;
        match view.nth(index) {
            None => end..end,
            Some(first) if count == 1 => first.offset()..view.offset_after(first),
            Some(first) => first.offset()..view.offset_of(index.saturating_add(count)),
        }
    }

    /// Removes up to `count` elements from `index` on.
    pub(super) fn remove(&mut self, index: usize, count: usize) {
        let extent = self.extent(index, count);
        let count = count.min(self.count().saturating_sub(index));
        self.count -= count as u32;
        self.resize(extent.start, extent.len(), 0);
        self.stamp();
        self.give_back();
    }

    /// Removes the elements at `extents`, in bytes from the start of the listpack and in order:
    /// each of one element.
    pub(super) fn remove_all(&mut self, extents: &[Range<usize>]) {
        let start = self.start();
        let mut kept = extents
            .first()
            .map_or(self.bytes.len(), |it| start + it.start);
        for (index, extent) in extents.iter().enumerate() {
            let until = extents
                .get(index + 1)
                .map_or(self.bytes.len(), |next| start + next.start);
            self.bytes.copy_within(start + extent.end..until, kept);
            kept += until - (start + extent.end);
        }
        self.bytes.truncate(kept);
        self.count -= extents.len() as u32;
        self.stamp();
        self.give_back();
    }

    /// Takes the elements from `index` on out.
    pub(super) fn split_off(&mut self, index: usize) -> Pack {
        let (from, end) = (self.view().offset_of(index), self.byte_len() - 1);
        let tail = self.as_bytes().get(from..end).unwrap_or_default();
        let mut bytes = Vec::with_capacity(size_class(FRAME + tail.len()));
        bytes.extend_from_slice(&[0; FRONT]);
        bytes.extend_from_slice(tail);
        bytes.extend(EMPTY.last());
        let mut rest = Pack::from_raw(bytes, self.count().saturating_sub(index));
        rest.stamp();
        self.remove(index, usize::MAX - index);
        rest
    }

    /// Adds the elements of another pack behind the own ones.
    pub(super) fn append(&mut self, other: &Pack) {
        let entries = other.as_bytes().get(FRONT..).unwrap_or(&EMPTY);
        if self.bytes.capacity() - self.bytes.len() < entries.len() - 1 {
            self.move_to(0, entries.len() - 1);
        }
        self.bytes.pop();
        self.bytes.extend_from_slice(entries);
        self.count += other.count;
        self.stamp();
    }

    /// Writes an entry in the place of `old` bytes at `offset`, and the header.
    #[inline]
    fn put(&mut self, offset: usize, old: usize, encoded: Encoded<'_>) {
        self.resize(offset, old, encoded.size());
        let at = self.start() + offset;
        if let Some(room) = self.bytes.get_mut(at..) {
            encoded.write(room);
        }
        self.stamp();
    }

    /// Makes `new` bytes of the `old` ones at `offset`. The shorter side moves, or the one that has
    /// room; the header must be written afterwards.
    #[inline]
    fn resize(&mut self, offset: usize, old: usize, new: usize) {
        let behind = self.byte_len() - offset - old;
        if new > old {
            let more = new - old;
            let front = self.start() >= more;
            let back = self.bytes.capacity() - self.bytes.len() >= more;
            // At an end only that end's room will do: all else would be moved, push after push.
            let inner = offset > FRONT && behind > 1;
            let forward = if inner && front != back {
                front
            } else {
                offset < behind
            };
            if forward {
                if !front {
                    self.make_room(more, 0);
                }
                self.grow_front(offset, more);
            } else {
                if !back {
                    self.make_room(0, more);
                }
                self.grow_back(offset + old, more);
            }
        } else if offset < behind {
            let start = self.start();
            // The header needs no moving: it is written anew.
            self.bytes
                .copy_within(start + FRONT..start + offset, start + FRONT + old - new);
            self.start += (old - new) as u32;
        } else {
            let from = self.start() + offset + old;
            self.bytes.copy_within(from.., from - (old - new));
            self.bytes.truncate(self.bytes.len() - (old - new));
        }
    }

    /// Moves what is in front of `offset` forward into the room there, which is large enough.
    #[inline]
    fn grow_front(&mut self, offset: usize, more: usize) {
        let start = self.start();
        if offset > FRONT {
            self.bytes
                .copy_within(start + FRONT..start + offset, start + FRONT - more);
        }
        self.start -= more as u32;
    }

    /// Moves what is behind `offset` backward into the room there, which is large enough.
    #[inline]
    fn grow_back(&mut self, offset: usize, more: usize) {
        let (at, len) = (self.start() + offset, self.bytes.len());
        self.bytes.resize(len + more, 0);
        if at + 1 == len {
            // Only the end mark: the common case, an element pushed at the back.
            if let (Some(last), Some(end)) = (self.bytes.last_mut(), EMPTY.last()) {
                *last = *end;
            }
        } else {
            self.bytes.copy_within(at..len, at + more);
        }
    }

    /// Moves to a block with so much more room in front or behind, and half of the contents on top:
    /// the pushes until the next call pay for the moved bytes. Room on the other side is kept
    /// within the same measure, since some lists grow at both ends.
    #[cold]
    fn make_room(&mut self, front: usize, back: usize) {
        let spare = (self.byte_len() / 2).max(ROOM_MIN);
        let (front, back) = if front > 0 {
            let there = self.bytes.capacity() - self.bytes.len();
            (front + spare, there.min(spare))
        } else {
            (self.start().min(spare), back + spare)
        };
        self.move_to(front, back);
    }

    /// Moves to a block with so much room in front and behind.
    fn move_to(&mut self, front: usize, back: usize) {
        let needed = front + self.byte_len() + back;
        let capacity = size_class(needed);
        // Room of the size class beyond the request goes to the front when the list grows there.
        let front = if front > back {
            front + capacity - needed
        } else {
            front
        };
        let mut bytes = Vec::with_capacity(capacity);
        bytes.resize(front, 0);
        bytes.extend_from_slice(self.as_bytes());
        self.bytes = bytes;
        self.start = front as u32;
    }

    /// Frees room after many elements went.
    #[inline]
    fn give_back(&mut self) {
        let used = self.byte_len();
        if self.bytes.capacity() / SPARSE > used.max(ROOM_MIN) {
            self.move_to(0, used / 2);
        }
    }

    /// Frees all room, because no element is likely to be added soon.
    pub(super) fn trim(&mut self) {
        if self.heap_bytes() > size_class(self.byte_len()) {
            self.move_to(0, 0);
        }
    }
}

impl Clone for Pack {
    fn clone(&self) -> Self {
        let mut bytes = Vec::with_capacity(size_class(self.byte_len()));
        bytes.extend_from_slice(self.as_bytes());
        Pack::from_raw(bytes, self.count())
    }
}
