//! The bytes of one entry: how it is written and read.
//!
//! ```text
//! first byte  then                        holds
//! 0xxxxxxx                                an integer from 0 to 127
//! 10xxxxxx    bytes                       a string of x < 64 bytes
//! 110xxxxx    1 byte                      a signed integer of 13 bits, high bits first
//! 1110xxxx    1 byte, bytes               a string of x < 4,096 bytes, high bits of x first
//! 11110000    4 bytes, bytes              a string, its length little-endian
//! 11110001    2 bytes                     a signed integer, little-endian
//! 11110010    3 bytes                     the same
//! 11110011    4 bytes                     the same
//! 11110100    8 bytes                     the same
//! 11111111                                the end of the listpack
//! ```
//!
//! Behind each entry lies its size without that number itself, to be read backwards: the last byte
//! has the low seven bits, and a set high bit means that the byte before belongs to it, too.

use crate::element::Element;
use crate::number;

/// Bytes in front of the first entry: the bytes of the listpack (u32), then the number of entries
/// (u16).
pub(super) const HEADER: usize = 6;

/// The byte behind the last entry.
pub(super) const END: u8 = 0xFF;

pub(super) const SHORT_TEXT: u8 = 0x80;
pub(super) const INT13: u8 = 0xC0;
const MEDIUM_TEXT: u8 = 0xE0;
const LONG_TEXT: u8 = 0xF0;
const INT16: u8 = 0xF1;
const INT24: u8 = 0xF2;
const INT32: u8 = 0xF3;
const INT64: u8 = 0xF4;

/// The stored form of `text`: an integer when it is the canonical text of one.
#[inline]
pub(super) fn classify(text: &[u8]) -> Element<'_> {
    match number::parse_canonical(text) {
        Some(value) => Element::Int(value),
        None => Element::Bytes(text),
    }
}

/// The same for an element, which may come from a form that keeps all as bytes.
#[inline]
pub(super) fn classify_element(element: Element<'_>) -> Element<'_> {
    match element {
        Element::Bytes(text) => classify(text),
        integer @ Element::Int(_) => integer,
    }
}

/// Bytes of the size behind an entry of `size` bytes.
#[inline]
pub(super) const fn backlen_size(size: usize) -> usize {
    match size {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        0x20_0000..=0xFFF_FFFF => 4,
        _ => 5,
    }
}

/// Bytes of an entry for `element` without its backlen.
#[inline]
pub(super) fn bare_size(element: Element<'_>) -> usize {
    match element {
        Element::Bytes(text) => text.len().saturating_add(match text.len() {
            0..=0x3F => 1,
            0x40..=0xFFF => 2,
            _ => 5,
        }),
        Element::Int(value) => match value {
            0..=0x7F => 1,
            -0x1000..=0xFFF => 2,
            -0x8000..=0x7FFF => 3,
            -0x80_0000..=0x7F_FFFF => 4,
            -0x8000_0000..=0x7FFF_FFFF => 5,
            _ => 9,
        },
    }
}

/// Bytes of an entry for `element`, all counted.
#[inline]
pub(super) fn full_size(element: Element<'_>) -> usize {
    let bare = bare_size(element);
    bare.saturating_add(backlen_size(bare))
}

/// Writes the entry for `element` and returns its size.
///
/// # Safety
/// `full_size(element)` bytes from `at` on can be written, and `element` has less than 4 GiB.
#[inline]
pub(super) unsafe fn write(at: *mut u8, element: Element<'_>) -> usize {
    // SAFETY: the written bytes are those that `full_size` counts: first the bare entry, then its
    // size.
    unsafe {
        let bare = match element {
            Element::Bytes(text) => write_text(at, text),
            Element::Int(value) => write_integer(at, value),
        };
        bare + write_backlen(at.add(bare), bare)
    }
}

/// # Safety
/// As for `write`.
#[inline]
unsafe fn write_text(at: *mut u8, text: &[u8]) -> usize {
    let len = text.len();
    // The casts keep the value: the branch bounds it.
    // SAFETY: head and text are what `bare_size` counts; `text` is no part of a block that is
    // written to, since that one is borrowed for change.
    unsafe {
        let head = match len {
            0..=0x3F => {
                *at = SHORT_TEXT | len as u8;
                1
            }
            0x40..=0xFFF => {
                *at = MEDIUM_TEXT | (len >> 8) as u8;
                *at.add(1) = len as u8;
                2
            }
            _ => {
                *at = LONG_TEXT;
                at.add(1)
                    .cast::<[u8; 4]>()
                    .write((len as u32).to_le_bytes());
                5
            }
        };
        at.add(head).copy_from_nonoverlapping(text.as_ptr(), len);
        head + len
    }
}

/// # Safety
/// As for `write`.
#[inline]
unsafe fn write_integer(at: *mut u8, value: i64) -> usize {
    let [b0, b1, b2, b3, ..] = value.to_le_bytes();
    // SAFETY: the bytes are those that `bare_size` counts.
    unsafe {
        match value {
            0..=0x7F => {
                *at = b0;
                1
            }
            -0x1000..=0xFFF => {
                at.cast::<[u8; 2]>().write([INT13 | (b1 & 0x1F), b0]);
                2
            }
            -0x8000..=0x7FFF => {
                at.cast::<[u8; 3]>().write([INT16, b0, b1]);
                3
            }
            -0x80_0000..=0x7F_FFFF => {
                at.cast::<[u8; 4]>().write([INT24, b0, b1, b2]);
                4
            }
            -0x8000_0000..=0x7FFF_FFFF => {
                at.cast::<[u8; 5]>().write([INT32, b0, b1, b2, b3]);
                5
            }
            _ => {
                *at = INT64;
                at.add(1).cast::<[u8; 8]>().write(value.to_le_bytes());
                9
            }
        }
    }
}

/// Writes the size that stands behind an entry and returns how many bytes it takes.
///
/// # Safety
/// `backlen_size(size)` bytes from `at` on can be written.
#[inline]
pub(super) unsafe fn write_backlen(at: *mut u8, size: usize) -> usize {
    let bytes = backlen_size(size);
    let mut rest = size;
    for index in (0..bytes).rev() {
        let more = if index == 0 { 0 } else { 0x80 };
        // SAFETY: the index is below the number of bytes that the caller has room for.
        unsafe { *at.add(index) = (rest & 0x7F) as u8 | more };
        rest >>= 7;
    }
    bytes
}

/// An entry that was read.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) element: Element<'a>,
    /// Its bytes without the backlen.
    pub(super) bare: usize,
    /// Its bytes with the backlen. The last ones may be beyond the room in bytes that are not
    /// well-formed.
    pub(super) size: usize,
}

impl Entry<'_> {
    /// The result of reading where no entry is: it has no text and reaches to the end. Well-formed
    /// bytes never give it, neither do positions that are used as documented. Being cold keeps the
    /// check for it a branch: as a conditional move, it would make each step wait for it.
    #[cold]
    const fn none(room: usize) -> Self {
        Entry {
            element: Element::Bytes(&[]),
            bare: room,
            size: room,
        }
    }
}

/// Reads an entry, of which at most `room` bytes are there.
///
/// # Safety
/// From `at` on, `room` bytes can be read for `'a`, and `room` is not zero.
#[inline(always)]
pub(super) unsafe fn read<'a>(at: *const u8, room: usize) -> Entry<'a> {
    // SAFETY: at least one byte can be read; `text` and `read_wide` check the rest.
    unsafe {
        let first = *at;
        if first < SHORT_TEXT {
            Entry {
                element: Element::Int(i64::from(first)),
                bare: 1,
                size: 2,
            }
        } else if first < INT13 {
            let entry = text(at, 1, usize::from(first - SHORT_TEXT), room);
            Entry {
                // The entry is short here, so its size needs no look.
                size: entry.bare + 1,
                ..entry
            }
        } else {
            read_wide(at, room)
        }
    }
}

/// # Safety
/// As for `read`.
#[inline(always)]
unsafe fn text<'a>(at: *const u8, head: usize, len: usize, room: usize) -> Entry<'a> {
    // `head` is at most 5 and `len` at most 32 bits long.
    let bare = head + len;
    if bare > room {
        return Entry::none(room);
    }
    Entry {
        // SAFETY: head and text lie within the room, which can be read.
        element: Element::Bytes(unsafe { std::slice::from_raw_parts(at.add(head), len) }),
        bare,
        size: bare + backlen_size(bare),
    }
}

/// # Safety
/// As for `read`.
#[inline]
unsafe fn read_wide<'a>(at: *const u8, room: usize) -> Entry<'a> {
    // SAFETY: `bytes` gives nothing when it would leave the room; `text` checks itself.
    unsafe {
        let first = *at;
        match first {
            INT13..MEDIUM_TEXT => integer(bytes(at, room).map(|[low]| {
                // Bit 12 is the sign: it goes to the top and comes back with its copies.
                let value = u16::from(first & 0x1F) << 8 | u16::from(low);
                (i64::from((value << 3).cast_signed() >> 3), 2)
            })),
            MEDIUM_TEXT..LONG_TEXT => match bytes(at, room) {
                Some([low]) => {
                    return text(
                        at,
                        2,
                        usize::from(first & 0xF) << 8 | usize::from(low),
                        room,
                    );
                }
                None => None,
            },
            LONG_TEXT => match bytes(at, room) {
                Some(len) => return text(at, 5, u32::from_le_bytes(len) as usize, room),
                None => None,
            },
            INT16 => integer(bytes(at, room).map(|le| (i64::from(i16::from_le_bytes(le)), 3))),
            INT24 => integer(
                bytes(at, room)
                    .map(|[b0, b1, b2]| (i64::from(i32::from_le_bytes([0, b0, b1, b2]) >> 8), 4)),
            ),
            INT32 => integer(bytes(at, room).map(|le| (i64::from(i32::from_le_bytes(le)), 5))),
            INT64 => integer(bytes(at, room).map(|le| (i64::from_le_bytes(le), 9))),
            _ => None,
        }
    }
    .unwrap_or(Entry::none(room))
}

#[inline]
fn integer<'a>(read: Option<(i64, usize)>) -> Option<Entry<'a>> {
    read.map(|(value, bare)| Entry {
        element: Element::Int(value),
        bare,
        size: bare + 1,
    })
}

/// The `N` bytes behind the first one.
///
/// # Safety
/// From `at` on, `room` bytes can be read.
#[inline(always)]
unsafe fn bytes<const N: usize>(at: *const u8, room: usize) -> Option<[u8; N]> {
    // SAFETY: they lie within the room; arrays of bytes have no alignment.
    (N < room).then(|| unsafe { at.add(1).cast::<[u8; N]>().read() })
}

/// The size of an entry with its backlen. It can be beyond the room in bytes that are not
/// well-formed.
///
/// # Safety
/// As for `read`.
#[inline(always)]
pub(super) unsafe fn step(at: *const u8, room: usize) -> usize {
    // SAFETY: at least one byte can be read.
    let first = unsafe { *at };
    if first < SHORT_TEXT {
        2
    } else if first < INT13 {
        // One addition from the byte to the next entry: a walk waits for little else.
        usize::from(first) - usize::from(SHORT_TEXT) + 2
    } else {
        // SAFETY: the caller guarantees that `room` bytes can be read.
        unsafe { read_wide(at, room) }.size
    }
}

/// The size, with its backlen, of the entry that ends before `end`; at most `room`.
///
/// # Safety
/// `room` bytes before `end` can be read, and [`HEADER`] bytes in front of them; `room` is not
/// zero.
#[inline(always)]
pub(super) unsafe fn step_back(end: *const u8, room: usize) -> usize {
    // SAFETY: the room is not zero, so the byte before `end` can be read.
    let last = unsafe { *end.sub(1) };
    if last < 0x80 {
        return (usize::from(last) + 1).min(room);
    }
    let mut size = 0;
    let mut bytes = 0;
    // At most five bytes are looked at; should the room be smaller, the header is in front of it.
    while bytes < 5 {
        // SAFETY: with one byte of room and the header in front of it, five bytes can be read.
        let byte = unsafe { *end.sub(bytes + 1) };
        size |= usize::from(byte & 0x7F) << (7 * bytes);
        bytes += 1;
        if byte < 0x80 {
            break;
        }
    }
    (size + bytes).min(room)
}

/// The bytes of the backlen at `at`, when it is one for an entry of `bare` bytes and lies within
/// `room`.
///
/// # Safety
/// From `at` on, `room` bytes can be read.
pub(super) unsafe fn check_backlen(at: *const u8, room: usize, bare: usize) -> Option<usize> {
    let shortest = backlen_size(bare);
    // Redis takes a byte more at the top of each range.
    let longest = if backlen_size(bare + 1) > shortest && shortest > 1 {
        shortest + 1
    } else {
        shortest
    };
    (shortest..=longest.min(room)).find(|&bytes| {
        let mut rest = bare;
        (0..bytes).rev().all(|index| {
            let more = if index == 0 { 0 } else { 0x80 };
            let expected = (rest & 0x7F) as u8 | more;
            rest >>= 7;
            // SAFETY: the index is within the room.
            expected == unsafe { *at.add(index) }
        })
    })
}
