//! A node that takes no more entries, in two thirds of the room.
//!
//! A listpack stores the size of each of its elements twice, and the size of each entry, so that it
//! can be read backwards; and it stores the id of each entry as a difference to the first. Here an
//! entry is its difference to the one before, and entries can only be read forward; an index of
//! every eighth entry leads to the others. Nothing is lost: the node can be made a listpack again,
//! byte for byte as it was.
//!
//! ```text
//! u32 bytes of the listpack, u16 live, u16 deleted, u16 number of names
//! u16 offset of entry 0, of entry 8, ...
//! name ...
//! entry ...                           first byte, id, fields
//!
//! first byte   bit 0     deleted
//!              bit 1     names of its own: number of fields (varint), (name, value) ...;
//!                        else value ...
//!              bits 2-3  0: same time as the entry before, next number
//!                        1: later by a difference, number 0
//!                        2: later by a difference, number (varint)
//!              bits 4-7  the difference, or 15: difference (varint)
//! ```
//!
//! "Before" every eighth entry, the first of a group, is the time of the node. Names and values are
//! listpack entries without their sizes at the end.

use super::StreamId;
use super::node::{Entry, Fields, Found};
use super::packed::{Head, Packed};
use crate::element::Element;

/// Entries from one offset of the index to the next.
const GROUP: usize = 8;
/// Bytes in front of the index.
const HEADER: usize = 10;
/// Larger listpacks are not converted, so that all offsets fit in 16 bits.
const PACK_BYTES_MAX: usize = 32 << 10;

const DELETED: u8 = 1;
const OWN_NAMES: u8 = 2;
/// The difference follows.
const LONG: u64 = 15;

/// The node.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    bytes: Box<[u8]>,
}

/// Rows with their header decoded.
#[derive(Clone, Copy)]
struct View<'a> {
    id: StreamId,
    bytes: &'a [u8],
    names: &'a [u8],
    names_len: usize,
    entries: usize,
}

impl Rows {
    /// The node in this form, if it can be and is smaller.
    pub(super) fn new(id: StreamId, packed: &Packed) -> Option<Rows> {
        let pack = packed.pack();
        if pack.byte_len() > PACK_BYTES_MAX {
            return None;
        }
        let head = packed.head(id);
        let entries = usize::try_from(head.live.checked_add(head.deleted)?).ok()?;
        let groups = entries.div_ceil(GROUP);
        let mut bytes = Vec::with_capacity(pack.byte_len());
        bytes.extend_from_slice(&(pack.byte_len() as u32).to_le_bytes());
        for number in [head.live, head.deleted, head.names_len as u64] {
            bytes.extend_from_slice(&u16::try_from(number).ok()?.to_le_bytes());
        }
        bytes.resize(HEADER + 2 * groups, 0);
        let names = head.names.clone().take(head.names_len);
        names.for_each(|name| put_element(&mut bytes, name));
        write_entries(id, &head, &mut bytes)?;
        let is_smaller = crate::alloc::size_class(bytes.len()) < pack.heap_bytes();
        is_smaller.then(|| Rows {
            bytes: bytes.into_boxed_slice(),
        })
    }

    pub(super) fn heap_bytes(&self) -> usize {
        crate::alloc::size_class(self.bytes.len())
    }

    /// Bytes that the node has as a listpack.
    pub(super) fn pack_len(&self) -> usize {
        let bytes = self.bytes.first_chunk::<4>().copied().unwrap_or_default();
        u32::from_le_bytes(bytes) as usize
    }

    /// Live and deleted entries.
    pub(super) fn counts(&self) -> (u64, u64) {
        let live = read_u16(&self.bytes, 4);
        (u64::from(live), u64::from(read_u16(&self.bytes, 6)))
    }

    fn view(&self, id: StreamId) -> View<'_> {
        let (live, deleted) = self.counts();
        let entries = (live + deleted) as usize;
        let names_at = HEADER + 2 * entries.div_ceil(GROUP);
        View {
            id,
            bytes: &self.bytes,
            names: self.bytes.get(names_at..).unwrap_or_default(),
            names_len: usize::from(read_u16(&self.bytes, 8)),
            entries,
        }
    }

    /// The node as a listpack.
    pub(super) fn unpacked(&self, id: StreamId) -> Option<Packed> {
        let view = self.view(id);
        let mut entries = self.forward(id);
        let entries = std::iter::from_fn(move || entries.next().map(|(_, found)| found));
        let names = Elements {
            rest: view.names,
            left: view.names_len,
        };
        Packed::collect(id, names, entries)
    }

    /// Marks entries as deleted.
    pub(super) fn mark(&mut self, entry_at: usize) {
        if let Some(first) = self.bytes.get_mut(entry_at) {
            *first |= DELETED;
        }
    }

    /// Counts entries that have been marked.
    pub(super) fn count_marked(&mut self, marked: u64) {
        let (live, deleted) = self.counts();
        for (at, count) in [(4, live.saturating_sub(marked)), (6, deleted + marked)] {
            let count = count as u16;
            if let Some(bytes) = self.bytes.get_mut(at..at + 2) {
                bytes.copy_from_slice(&count.to_le_bytes());
            }
        }
    }

    /// All entries.
    pub(super) fn forward(&self, id: StreamId) -> Forward<'_> {
        self.view(id).group(0)
    }

    /// Entries from one on that is not behind `from`.
    pub(super) fn forward_from(&self, id: StreamId, from: StreamId) -> Forward<'_> {
        let view = self.view(id);
        view.group(view.group_of(from))
    }

    /// Entries backwards from one on that is not in front of `from`.
    pub(super) fn backward_from(&self, id: StreamId, from: StreamId) -> Backward<'_> {
        let view = self.view(id);
        Backward::new(view, view.group_of(from) + 1)
    }
}

impl<'a> View<'a> {
    /// The entries from the beginning of a group on.
    fn group(self, group: usize) -> Forward<'a> {
        let first = group.saturating_mul(GROUP);
        let at = usize::from(read_u16(self.bytes, HEADER + 2 * group));
        let rest = match first < self.entries {
            true => self.bytes.get(at..).unwrap_or_default(),
            false => &[],
        };
        Forward {
            view: self,
            rest,
            index: first.min(self.entries),
            last: self.id,
        }
    }

    /// The only group that can have the entry with an id.
    fn group_of(self, id: StreamId) -> usize {
        let (mut low, mut high) = (0, self.entries.div_ceil(GROUP));
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let first = self.group(middle).next();
            match first.is_some_and(|(_, found)| found.entry.id <= id) {
                true => low = middle,
                false => high = middle,
            }
        }
        low
    }
}

/// Entries in order.
#[derive(Clone)]
pub(super) struct Forward<'a> {
    view: View<'a>,
    rest: &'a [u8],
    /// Number of the next entry.
    index: usize,
    /// Id of the entry before.
    last: StreamId,
}

impl<'a> Forward<'a> {
    /// The next entry, and where it begins.
    #[inline]
    pub(super) fn next(&mut self) -> Option<(usize, Found<'a>)> {
        if self.index >= self.view.entries {
            return None;
        }
        if self.index.is_multiple_of(GROUP) {
            self.last = self.view.id;
        }
        let at = self.view.bytes.len() - self.rest.len();
        let (&first, mut rest) = self.rest.split_first()?;
        let id = take_id(first, self.last, &mut rest)?;
        let (fields, behind) = self.view.fields(first, rest)?;
        self.rest = behind;
        self.index += 1;
        self.last = id;
        let entry = Entry { id, fields };
        let is_deleted = first & DELETED != 0;
        Some((at, Found { entry, is_deleted }))
    }
}

impl<'a> View<'a> {
    /// The fields that begin with `rest`, and what lies behind them.
    #[inline]
    fn fields(self, first: u8, mut rest: &'a [u8]) -> Option<(Fields<'a>, &'a [u8])> {
        let (names, left, elements) = if first & OWN_NAMES == 0 {
            let names = Elements {
                rest: self.names,
                left: self.names_len,
            };
            (Some(names), self.names_len, self.names_len)
        } else {
            let left = usize::try_from(take_varint(&mut rest)?).ok()?;
            (None, left, left.saturating_mul(2))
        };
        let mut behind = rest;
        for _ in 0..elements {
            take_element(&mut behind)?;
        }
        let values = Elements {
            rest,
            left: elements,
        };
        Some((Fields::rows(names, values, left), behind))
    }
}

/// Entries in reverse order: group by group, each of which is read forward first.
#[derive(Clone)]
pub(super) struct Backward<'a> {
    view: View<'a>,
    /// Groups not read yet, which are the first ones.
    groups: usize,
    /// The entries of the group that is read: where each begins, and its id.
    read: [(u16, StreamId); GROUP],
    /// How many of them are left.
    left: usize,
}

impl<'a> Backward<'a> {
    fn new(view: View<'a>, groups: usize) -> Backward<'a> {
        Backward {
            view,
            groups,
            read: [(0, StreamId::MIN); GROUP],
            left: 0,
        }
    }

    /// The next entry, and where it begins.
    pub(super) fn next(&mut self) -> Option<(usize, Found<'a>)> {
        if self.left == 0 {
            self.groups = self.groups.checked_sub(1)?;
            let mut entries = self.view.group(self.groups);
            for slot in &mut self.read {
                let Some((at, found)) = entries.next() else {
                    break;
                };
                *slot = (at as u16, found.entry.id);
                self.left += 1;
            }
        }
        self.left = self.left.checked_sub(1)?;
        let (at, id) = *self.read.get(self.left)?;
        let at = usize::from(at);
        let (&first, mut rest) = self.view.bytes.get(at..)?.split_first()?;
        take_id(first, StreamId::MIN, &mut rest)?;
        let (fields, _) = self.view.fields(first, rest)?;
        let entry = Entry { id, fields };
        let is_deleted = first & DELETED != 0;
        Some((at, Found { entry, is_deleted }))
    }
}

/// Names or values one behind the other.
#[derive(Clone)]
pub(super) struct Elements<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        self.left = self.left.checked_sub(1)?;
        take_element(&mut self.rest)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Elements<'_> {}

/// Writes all entries of a node and their offsets into the index.
fn write_entries(id: StreamId, head: &Head<'_>, bytes: &mut Vec<u8>) -> Option<()> {
    let mut rest = head.entries.clone();
    let (mut index, mut last) = (0usize, id);
    while let Some(Found { entry, is_deleted }) = head.next(&mut rest) {
        let begins_group = index.is_multiple_of(GROUP);
        if begins_group {
            let at = u16::try_from(bytes.len()).ok()?.to_le_bytes();
            let place = HEADER + 2 * (index / GROUP);
            bytes.get_mut(place..place + 2)?.copy_from_slice(&at);
            last = id;
        }
        let same = entry.fields.has_names_of_head();
        let deleted = if is_deleted { DELETED } else { 0 };
        let flags = deleted | if same { 0 } else { OWN_NAMES };
        put_id(bytes, flags, last, entry.id, begins_group);
        if !same {
            put_varint(bytes, entry.fields.len() as u64);
        }
        for (name, value) in entry.fields {
            if !same {
                put_element(bytes, name);
            }
            put_element(bytes, value);
        }
        last = entry.id;
        index += 1;
    }
    Some(())
}

/// The first byte and the id. Ids ascend, so that the difference is never negative.
fn put_id(bytes: &mut Vec<u8>, flags: u8, last: StreamId, id: StreamId, begins_group: bool) {
    let later = id.ms.wrapping_sub(last.ms);
    let follows = later == 0 && last.seq.checked_add(1) == Some(id.seq);
    let kind = match (follows, id.seq) {
        (true, _) if !begins_group => 0u8,
        (_, 0) => 1,
        _ => 2,
    };
    let short = if kind == 0 { 0 } else { later.min(LONG) };
    bytes.push(flags | (kind << 2) | ((short as u8) << 4));
    if short == LONG {
        put_varint(bytes, later);
    }
    if kind == 2 {
        put_varint(bytes, id.seq);
    }
}

#[inline]
fn take_id(first: u8, last: StreamId, rest: &mut &[u8]) -> Option<StreamId> {
    let kind = (first >> 2) & 3;
    if kind == 0 {
        return Some(StreamId::new(last.ms, last.seq.wrapping_add(1)));
    }
    let later = match u64::from(first >> 4) {
        LONG => take_varint(rest)?,
        short => short,
    };
    let seq = match kind {
        1 => 0,
        _ => take_varint(rest)?,
    };
    Some(StreamId::new(last.ms.wrapping_add(later), seq))
}

/// Seven bits in each byte, the low ones first; a set high bit means that there are more.
fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

#[inline]
fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, behind) = rest.split_first()?;
        *rest = behind;
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn put_element(bytes: &mut Vec<u8>, element: Element<'_>) {
    match element {
        Element::Bytes(text) => {
            match text.len() {
                len @ 0..0x40 => bytes.push(0x80 | len as u8),
                len @ 0x40..0x1000 => bytes.extend([0xE0 | (len >> 8) as u8, len as u8]),
                len => {
                    bytes.push(0xF0);
                    bytes.extend((len as u32).to_le_bytes());
                }
            }
            bytes.extend_from_slice(text);
        }
        Element::Int(value) => {
            let full = value.to_le_bytes();
            let (first, len) = match value {
                0..=0x7F => (value as u8, 0),
                -0x1000..=0xFFF => {
                    bytes.push(0xC0 | (value >> 8) as u8 & 0x1F);
                    (value as u8, 0)
                }
                -0x8000..=0x7FFF => (0xF1, 2),
                -0x80_0000..=0x7F_FFFF => (0xF2, 3),
                -0x8000_0000..=0x7FFF_FFFF => (0xF3, 4),
                _ => (0xF4, 8),
            };
            bytes.push(first);
            bytes.extend(full.iter().take(len));
        }
    }
}

#[inline]
fn take_element<'a>(rest: &mut &'a [u8]) -> Option<Element<'a>> {
    let (&first, behind) = rest.split_first()?;
    let (skip, len) = match first {
        0..=0x7F => {
            *rest = behind;
            return Some(Element::Int(i64::from(first)));
        }
        0x80..=0xBF => (0, usize::from(first & 0x3F)),
        0xC0..=0xDF => {
            let (&low, behind) = behind.split_first()?;
            *rest = behind;
            // The sign is bit 12.
            let value = i16::from_be_bytes([first << 3, 0]) >> 3 | i16::from(low);
            return Some(Element::Int(i64::from(value)));
        }
        0xE0..=0xEF => (
            1,
            usize::from(first & 0x0F) << 8 | usize::from(*behind.first()?),
        ),
        0xF0 => (4, u32::from_le_bytes(*behind.first_chunk()?) as usize),
        _ => return take_long_integer(first, behind, rest),
    };
    let (text, behind) = behind.get(skip..)?.split_at_checked(len)?;
    *rest = behind;
    Some(Element::Bytes(text))
}

fn take_long_integer<'a>(first: u8, behind: &'a [u8], rest: &mut &'a [u8]) -> Option<Element<'a>> {
    let len = match first {
        0xF1 => 2,
        0xF2 => 3,
        0xF3 => 4,
        _ => 8,
    };
    let (digits, behind) = behind.split_at_checked(len)?;
    let mut full = [0; 8];
    full.get_mut(8 - len..)?.copy_from_slice(digits);
    *rest = behind;
    Some(Element::Int(i64::from_le_bytes(full) >> (64 - 8 * len)))
}

fn read_u16(bytes: &[u8], at: usize) -> u16 {
    let pair = bytes.get(at..).and_then(<[u8]>::first_chunk);
    u16::from_le_bytes(pair.copied().unwrap_or_default())
}
