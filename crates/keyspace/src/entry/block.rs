//! The block of an entry: one allocation with header, key and value. The layout is drawn in the
//! [module above](super).

use super::EntryRef;
use super::value::{Payload, Type, Value, ValueMut, ValueRef};
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use values::alloc::size_class;
use values::table::prefetch;

/// Bytes before the optional parts of the header: kind, flags, 24 bits of LRU or LFU.
const FIXED: usize = 5;
/// Alignment of every block; the tables keep bits of their own in the low bits of the pointers.
pub(crate) const ALIGN: usize = 8;
/// LRU and LFU fields have this many bits.
pub const LRU_BITS: u32 = 24;

/// Bytes of a cache line, to prefetch by.
const CACHE_LINE: usize = 64;

const DEADLINE: u8 = 1;
const KEY_WIDTH_SHIFT: u32 = 1;
const KEY_WIDTH_BITS: u8 = 0b11 << KEY_WIDTH_SHIFT;
const SPARE: u8 = 1 << 3;
const RAW_SHIFT: u32 = 4;
const RAW: u8 = 1 << RAW_SHIFT;
const VALUE_CODE_SHIFT: u32 = 5;
/// In the kind byte: the running snapshot is done with this entry (see [`crate::hook`]).
const SAVED: u8 = 1 << 3;
/// In the kind byte: where the value is.
const STORAGE_BITS: u8 = 0b111;

/// The low three bits of the kind byte: where the value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Storage {
    /// An integer of 1..=8 bytes after the key.
    Int = 0,
    /// A string after the key.
    Inline = 1,
    /// An owning pointer after the key, aligned to 8.
    OutOfLine = 2,
    /// A listpack or an intset after the key.
    Embedded = 3,
}

/// Kind and flags of what nearly all entries are: an inline string with lengths of one byte each.
const SMALL_MASK: u16 =
    STORAGE_BITS as u16 | ((KEY_WIDTH_BITS | 0b111 << VALUE_CODE_SHIFT) as u16) << 8;
const SMALL_STRING: u16 = Storage::Inline as u16;

/// Where everything stands in a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    kind: u8,
    flags: u8,
    key_at: usize,
    key_len: usize,
    value_at: usize,
    value_len: usize,
    /// Used bytes of the block; at most its capacity.
    used: usize,
}

// Lengths and offsets are those of blocks in memory, or of a key and a value that are: they cannot
// overflow, and the arithmetic on them is wrapping only to save the checks.
impl Shape {
    /// The shape of an entry. `key_flags` are flags from which the width of the key length is
    /// taken.
    #[inline(always)]
    fn new(key_len: usize, key_flags: u8, has_deadline: bool, payload: &Payload<'_>) -> Shape {
        let flags = key_flags & KEY_WIDTH_BITS | u8::from(has_deadline);
        let inline = |len: usize, raw: bool| {
            let code = u8::from(len > usize::from(u8::MAX));
            let flags = flags | u8::from(raw) << RAW_SHIFT | code << VALUE_CODE_SHIFT;
            Shape::place(kind_of(Type::String, Storage::Inline), flags, key_len, len)
        };
        match payload {
            Payload::Inline { bytes, raw } => inline(bytes.len(), *raw),
            Payload::InlineOwned { bytes, raw } => inline(bytes.len(), *raw),
            Payload::Int(value) => {
                let width = int_width(*value);
                let flags = flags | (width as u8).wrapping_sub(1) << VALUE_CODE_SHIFT;
                Shape::place(kind_of(Type::String, Storage::Int), flags, key_len, width)
            }
            Payload::Embedded(value) => {
                let (mark, bytes) = value.embeddable().unwrap_or_default();
                let flags = flags | mark << VALUE_CODE_SHIFT;
                let kind = kind_of(value.value_type(), Storage::Embedded);
                Shape::place(kind, flags, key_len, bytes.len())
            }
            Payload::OutOfLine(value) => Shape::place(
                kind_of(value.value_type(), Storage::OutOfLine),
                flags,
                key_len,
                8,
            ),
        }
    }

    /// The shape of an inline string with room for more: its length always takes two bytes, so that
    /// growing never moves anything.
    fn with_spare(key_len: usize, has_deadline: bool, value_len: usize) -> Shape {
        let flags = key_width_flags(key_len) | u8::from(has_deadline);
        let flags = flags | SPARE | RAW | 1 << VALUE_CODE_SHIFT;
        Shape::place(
            kind_of(Type::String, Storage::Inline),
            flags,
            key_len,
            value_len,
        )
    }

    #[inline(always)]
    fn place(kind: u8, flags: u8, key_len: usize, value_len: usize) -> Shape {
        let key_at = lengths_at(flags)
            .wrapping_add(key_width(flags))
            .wrapping_add(value_width(kind, flags));
        let mut value_at = key_at.wrapping_add(key_len);
        if storage_of(kind) == Storage::OutOfLine {
            value_at = value_at.wrapping_add(ALIGN - 1) & !(ALIGN - 1);
        }
        let used = value_at.wrapping_add(value_len);
        Shape {
            kind,
            flags,
            key_at,
            key_len,
            value_at,
            value_len,
            used,
        }
    }

    #[inline]
    fn storage(&self) -> Storage {
        storage_of(self.kind)
    }
}

#[inline]
fn kind_of(value_type: Type, storage: Storage) -> u8 {
    (value_type as u8) << 4 | storage as u8
}

#[inline]
fn storage_of(kind: u8) -> Storage {
    match kind & STORAGE_BITS {
        0 => Storage::Int,
        1 => Storage::Inline,
        2 => Storage::OutOfLine,
        _ => Storage::Embedded,
    }
}

/// Where the lengths begin: behind the fixed part, 8 bytes of deadline and 4 bytes of room.
#[inline]
fn lengths_at(flags: u8) -> usize {
    let optional = (flags & DEADLINE) << 3 | (flags & SPARE) >> 1;
    usize::from(optional).wrapping_add(FIXED)
}

/// The width of the key length.
#[inline]
fn key_width(flags: u8) -> usize {
    1 << ((flags & KEY_WIDTH_BITS) >> KEY_WIDTH_SHIFT)
}

/// The width of the value length.
#[inline]
fn value_width(kind: u8, flags: u8) -> usize {
    match storage_of(kind) {
        Storage::Inline => usize::from((flags >> VALUE_CODE_SHIFT).wrapping_add(1)),
        Storage::Embedded => 1,
        Storage::Int | Storage::OutOfLine => 0,
    }
}

/// The flags that say how wide the length of a key is.
#[inline]
fn key_width_flags(key_len: usize) -> u8 {
    let code = match key_len {
        0..=0xff => 0,
        0x100..=0xffff => 1,
        0x1_0000..=0xffff_ffff => 2,
        _ => 3,
    };
    code << KEY_WIDTH_SHIFT
}

/// Whether two slices of one length are equal. Keys are short: a few words are compared without a
/// call, the last one overlapping the one before.
#[inline]
fn is_equal(a: &[u8], b: &[u8]) -> bool {
    const WORD: usize = size_of::<u64>();
    let (Some((a_end, b_end)), 0..=32) = (a.last_chunk::<WORD>().zip(b.last_chunk()), a.len())
    else {
        return a == b;
    };
    let (a_words, b_words) = (a.as_chunks::<WORD>().0, b.as_chunks().0);
    a_end == b_end && a_words.iter().zip(b_words).all(|(a, b)| a == b)
}

/// The number of bytes that hold `value` in two's complement.
#[inline]
fn int_width(value: i64) -> usize {
    let bits = 65 - (value ^ (value >> 63)).leading_zeros() as usize;
    bits.div_ceil(8)
}

/// A pointer to the block of a live entry.
///
/// Invariant of every `Block`: it points to memory of [`Block::capacity`] bytes, aligned to 8, that
/// was made by [`Block::create`] and neither freed nor given away while this copy is in use.
/// `Block` is `Copy` and does not free; the database that holds it in its table does. Reading
/// methods take the invariant for granted; a method that changes a block needs the only copy in use
/// (`&mut` access to the database).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block(NonNull<u8>);

impl Block {
    /// # Safety
    /// The pointer came from [`Block::as_ptr`] of a block that is alive, and the result is not used
    /// after that block is freed, replaced or given away.
    #[inline]
    pub(crate) unsafe fn from_ptr(ptr: NonNull<u8>) -> Block {
        Block(ptr)
    }

    #[inline]
    pub(crate) fn as_ptr(self) -> NonNull<u8> {
        self.0
    }

    /// Allocates and fills a block.
    #[inline]
    pub(crate) fn create(
        key: &[u8],
        payload: Payload<'_>,
        deadline: Option<u64>,
        lru: u32,
    ) -> Block {
        let key_flags = key_width_flags(key.len());
        let shape = Shape::new(key.len(), key_flags, deadline.is_some(), &payload);
        let block = Block::allocate(size_class(shape.used));
        // SAFETY: the block is new and has room for the shape.
        unsafe {
            block.write_header(&shape, deadline, lru, 0);
            ptr::copy_nonoverlapping(key.as_ptr(), block.at(shape.key_at), key.len());
            block.write_value(&shape, payload);
        }
        block
    }

    #[inline]
    fn allocate(capacity: usize) -> Block {
        // SAFETY: the alignment is a power of two, and a capacity is the rounded sum of two lengths
        // of slices in memory, far below `isize::MAX`.
        let layout = unsafe { Layout::from_size_align_unchecked(capacity, ALIGN) };
        // SAFETY: the size is not zero, a header alone has more than FIXED bytes.
        let Some(ptr) = NonNull::new(unsafe { alloc(layout) }) else {
            handle_alloc_error(layout)
        };
        if capacity <= 2 * ALIGN {
            // The header is read as one word. An entry can be shorter than that, and with a short
            // key the gap before an out-of-line pointer lies in it.
            // SAFETY: the block has these 8 bytes.
            unsafe { ptr.cast::<u64>().write(0) };
        }
        Block(ptr)
    }

    /// Frees the memory, not the value.
    ///
    /// # Safety
    /// No copy of this block is used afterwards, and an out-of-line value was taken out before.
    #[inline]
    pub(crate) unsafe fn free(self) {
        // SAFETY: the capacity is the size of the allocation, by the invariant.
        unsafe {
            let layout = Layout::from_size_align_unchecked(self.capacity(), ALIGN);
            dealloc(self.0.as_ptr(), layout);
        }
    }

    /// Frees the memory and the value.
    ///
    /// # Safety
    /// No copy of this block is used afterwards.
    #[inline]
    pub(crate) unsafe fn destroy(self) {
        // SAFETY: this is the last use of the block, so the value may be moved out.
        unsafe {
            drop(self.take_out_of_line());
            self.free();
        }
    }

    #[inline]
    fn at(self, offset: usize) -> *mut u8 {
        // Every caller's offset is at most the capacity; wrapping, so that this needs no proof
        // here.
        self.0.as_ptr().wrapping_add(offset)
    }

    /// The first 8 bytes. A block is never smaller: the allocator's smallest class is 8.
    #[inline]
    fn word(self) -> u64 {
        // SAFETY: by the invariant, 8 readable and aligned bytes.
        u64::from_le(unsafe { self.0.cast::<u64>().as_ptr().read() })
    }

    #[inline]
    fn kind(self) -> u8 {
        self.word() as u8
    }

    #[inline]
    fn flags(self) -> u8 {
        (self.word() >> 8) as u8
    }

    /// Reads `width` (1, 2, 4 or 8) bytes as an unsigned number.
    #[inline]
    fn number(self, offset: usize, width: usize) -> usize {
        let at = self.at(offset);
        // SAFETY: the header fields lie inside the block.
        unsafe {
            // Nearly all keys and values are shorter than 256 bytes.
            if width == 1 {
                return usize::from(at.read());
            }
            match width {
                2 => usize::from(u16::from_le(at.cast::<u16>().read_unaligned())),
                4 => u32::from_le(at.cast::<u32>().read_unaligned()) as usize,
                _ => u64::from_le(at.cast::<u64>().read_unaligned()) as usize,
            }
        }
    }

    #[inline(always)]
    fn shape(self) -> Shape {
        let word = self.word();
        let (kind, flags) = (word as u8, (word >> 8) as u8);
        let lengths = lengths_at(flags);
        if word as u16 & SMALL_MASK != SMALL_STRING {
            return self.shape_of_any(kind, flags);
        }
        // SAFETY: the two length bytes lie inside the block.
        let (key_len, value_len) = unsafe {
            (
                self.at(lengths).read(),
                self.at(lengths.wrapping_add(1)).read(),
            )
        };
        let (key_len, value_len) = (usize::from(key_len), usize::from(value_len));
        let key_at = lengths.wrapping_add(2);
        let value_at = key_at.wrapping_add(key_len);
        let used = value_at.wrapping_add(value_len);
        Shape {
            kind,
            flags,
            key_at,
            key_len,
            value_at,
            value_len,
            used,
        }
    }

    fn shape_of_any(self, kind: u8, flags: u8) -> Shape {
        let lengths = lengths_at(flags);
        let width = key_width(flags);
        let key_len = self.number(lengths, width);
        let value_len = match storage_of(kind) {
            Storage::Int => usize::from((flags >> VALUE_CODE_SHIFT).wrapping_add(1)),
            Storage::Inline | Storage::Embedded => {
                self.number(lengths.wrapping_add(width), value_width(kind, flags))
            }
            Storage::OutOfLine => 8,
        };
        Shape::place(kind, flags, key_len, value_len)
    }

    /// Bytes of the allocation.
    #[inline]
    pub(crate) fn capacity(self) -> usize {
        self.capacity_of(&self.shape())
    }

    /// The capacity of a block of this shape.
    #[inline]
    fn capacity_of(self, shape: &Shape) -> usize {
        if shape.flags & SPARE == 0 {
            size_class(shape.used)
        } else {
            size_class(shape.value_at + self.room())
        }
    }

    /// Bytes that the value of a block with spare room may take.
    fn room(self) -> usize {
        self.number(lengths_at(self.flags()) - 4, 4)
    }

    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        // SAFETY: this copy is in use during the borrow, so the block is neither changed nor freed.
        unsafe { self.key_for() }
    }

    /// The key, with a lifetime that the caller chooses.
    ///
    /// # Safety
    /// The block is neither changed nor freed during `'a`.
    #[inline]
    pub(super) unsafe fn key_for<'a>(self) -> &'a [u8] {
        let shape = self.shape();
        // SAFETY: the key lies inside the block, which stays as it is during `'a`.
        unsafe { std::slice::from_raw_parts(self.at(shape.key_at), shape.key_len) }
    }

    #[inline]
    pub(crate) fn key_is(self, key: &[u8]) -> bool {
        let word = self.word();
        let (kind, flags) = (word as u8, (word >> 8) as u8);
        let lengths = lengths_at(flags);
        let width = key_width(flags);
        if self.number(lengths, width) != key.len() {
            return false;
        }
        let key_at = lengths
            .wrapping_add(width)
            .wrapping_add(value_width(kind, flags));
        // SAFETY: the key lies inside the block, and has this length.
        let own = unsafe { std::slice::from_raw_parts(self.at(key_at), key.len()) };
        is_equal(own, key)
    }

    #[inline]
    pub(crate) fn value_type(self) -> Type {
        Type::from_nibble(self.kind() >> 4)
    }

    #[inline]
    pub(crate) fn storage(self) -> Storage {
        storage_of(self.kind())
    }

    /// True for a string that answers `raw` whatever its length.
    #[inline]
    pub(crate) fn is_raw(self) -> bool {
        self.flags() & RAW != 0
    }

    #[inline]
    pub(crate) fn has_deadline(self) -> bool {
        self.flags() & DEADLINE != 0
    }

    #[inline]
    pub(crate) fn deadline(self) -> Option<u64> {
        // SAFETY: with the flag set, 8 bytes of deadline follow the fixed part.
        self.has_deadline()
            .then(|| u64::from_le(unsafe { self.at(FIXED).cast::<u64>().read_unaligned() }))
    }

    #[inline]
    pub(crate) fn lru(self) -> u32 {
        (self.word() >> 16) as u32 & ((1 << LRU_BITS) - 1)
    }

    /// Sets the 24 bits of LRU or LFU.
    ///
    /// # Safety
    /// No other thread and no borrow reads the block at the same time.
    #[inline]
    pub(crate) unsafe fn set_lru(self, lru: u32) {
        let bytes = lru.to_le_bytes();
        // SAFETY: bytes 2..5 are the field.
        unsafe {
            self.at(2).write(bytes[0]);
            self.at(3).write(bytes[1]);
            self.at(4).write(bytes[2]);
        }
    }

    /// True when the running snapshot contains the entry already, or skips it because it is new.
    #[inline]
    pub(crate) fn is_saved(self) -> bool {
        self.kind() & SAVED != 0
    }

    /// Marks the entry for the running snapshot, or takes the mark away.
    ///
    /// # Safety
    /// No other thread and no borrow reads the block at the same time.
    #[inline]
    pub(crate) unsafe fn set_saved(self, saved: bool) {
        let kind = self.kind() & !SAVED | if saved { SAVED } else { 0 };
        // SAFETY: byte 0 is the kind.
        unsafe { self.at(0).write(kind) };
    }

    #[inline]
    pub(crate) fn value(&self) -> ValueRef<'_> {
        // SAFETY: this copy is in use during the borrow, so the block is neither changed nor freed.
        unsafe { self.value_for() }
    }

    /// The value, and the bytes of the allocation.
    #[inline]
    pub(crate) fn value_and_capacity(&self) -> (ValueRef<'_>, usize) {
        let shape = self.shape();
        // SAFETY: this copy is in use during the borrow, so the block is neither changed nor freed.
        (unsafe { self.value_at(&shape) }, self.capacity_of(&shape))
    }

    /// The value, with a lifetime that the caller chooses.
    ///
    /// # Safety
    /// The block is neither changed nor freed during `'a`.
    #[inline]
    pub(super) unsafe fn value_for<'a>(self) -> ValueRef<'a> {
        // SAFETY: the caller's promise.
        unsafe { self.value_at(&self.shape()) }
    }

    /// The value of a block of this shape.
    ///
    /// # Safety
    /// The block is neither changed nor freed during `'a`.
    #[inline(always)]
    unsafe fn value_at<'a>(self, shape: &Shape) -> ValueRef<'a> {
        match shape.storage() {
            Storage::Int => ValueRef::Int(self.int(shape)),
            Storage::Inline => {
                // SAFETY: the value lies inside the block, which stays as it is during `'a`.
                ValueRef::Bytes(unsafe {
                    std::slice::from_raw_parts(self.at(shape.value_at), shape.value_len)
                })
            }
            Storage::OutOfLine => {
                // SAFETY: an out-of-line block holds a live pointer of its type at `value_at`; the
                // block stays as it is during `'a`.
                unsafe { ValueRef::borrow(self.value_type(), self.at(shape.value_at)) }
            }
            Storage::Embedded => {
                let mark = shape.flags >> VALUE_CODE_SHIFT;
                // The key has at most EMBEDDED_KEY_MAX bytes, so the offset has 16 bits.
                let offset = shape.value_at as u16;
                // SAFETY: an embedded block holds the form of its type and mark at `value_at`; the
                // block stays as it is during `'a`.
                unsafe { ValueRef::embedded(self.value_type(), self.0, offset, mark) }
            }
        }
    }

    /// The value, when it is stored as an integer.
    #[inline]
    pub(crate) fn integer(self) -> Option<i64> {
        let shape = self.shape();
        (shape.storage() == Storage::Int).then(|| self.int(&shape))
    }

    #[inline]
    fn int(self, shape: &Shape) -> i64 {
        let end = shape.value_at + shape.value_len;
        if end >= 8 {
            // SAFETY: the 8 bytes that end with the value lie inside the block.
            let word = unsafe { self.at(end - 8).cast::<u64>().read_unaligned() };
            // The value is the high part of the word; the arithmetic shift extends its sign.
            return u64::from_le(word) as i64 >> (64 - 8 * shape.value_len);
        }
        // SAFETY: header and value end before byte 8, so this is an empty key with one byte of
        // value.
        i64::from(unsafe { self.at(shape.value_at).cast::<i8>().read() })
    }

    /// The length of an inline string whose lengths take one byte each, as nearly all do; `None`
    /// for every other entry.
    #[inline]
    pub(crate) fn short_string_len(self) -> Option<usize> {
        let word = self.word();
        if word as u16 & SMALL_MASK != SMALL_STRING {
            return None;
        }
        let at = lengths_at((word >> 8) as u8).wrapping_add(1);
        Some(self.number(at, 1))
    }

    /// Stores another integer in place of one that takes as many bytes, which is returned. `None`,
    /// and nothing is done, when it takes another number of bytes, or there is no integer.
    ///
    /// # Safety
    /// Exclusive access.
    #[inline]
    pub(crate) unsafe fn replace_int(self, value: i64) -> Option<i64> {
        let shape = self.shape();
        let width = int_width(value);
        if shape.storage() != Storage::Int || shape.value_len != width {
            return None;
        }
        let old = self.int(&shape);
        let bytes = value.to_le_bytes();
        // SAFETY: the integer of the block has `width` bytes at `value_at`, behind lengths and key.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.at(shape.value_at), width) };
        Some(old)
    }

    /// Moves an out-of-line value out.
    ///
    /// # Safety
    /// The block is freed or gets a new value next, and the old one is not read before.
    #[inline]
    pub(crate) unsafe fn take_out_of_line(self) -> Option<Value> {
        if self.storage() != Storage::OutOfLine {
            return None;
        }
        // SAFETY: the pointer is live, and the caller does not read it again.
        Some(unsafe { Value::read(self.value_type(), self.at(self.shape().value_at)) })
    }

    /// Starts bringing the beginning of an out-of-line value into the cache. True for a collection
    /// with an index.
    #[inline]
    pub(crate) fn prefetch_value(self) -> bool {
        let shape = self.shape();
        if shape.storage() != Storage::OutOfLine {
            return false;
        }
        // SAFETY: an out-of-line block holds a pointer at `value_at`. Collections keep marks in
        // its low bits, which name the same cache line.
        let value = unsafe { self.at(shape.value_at).cast::<*const u8>().read() };
        prefetch(value);
        prefetch(value.wrapping_add(CACHE_LINE));
        // SAFETY: as in `value_for`; the value is not used beyond this line.
        unsafe { ValueRef::borrow(self.value_type(), self.at(shape.value_at)) }.has_index()
    }

    /// Borrows an out-of-line value for change. An embedded one, which has neither journal nor
    /// deadlines, is not lent.
    ///
    /// # Safety
    /// The caller has exclusive access to the entry for `'a`.
    #[inline]
    pub(crate) unsafe fn value_mut<'a>(self) -> ValueMut<'a> {
        match self.storage() {
            Storage::Int | Storage::Inline | Storage::Embedded => ValueMut::Inline,
            Storage::OutOfLine => {
                // SAFETY: an out-of-line block holds a live pointer of its type at `value_at`; the
                // caller has exclusive access to the entry for `'a`.
                unsafe { ValueMut::borrow(self.value_type(), self.at(self.shape().value_at)) }
            }
        }
    }

    /// # Safety
    /// The block has room for the shape; with SPARE, its size is `size_class(value_at + room)`.
    #[inline]
    unsafe fn write_header(self, shape: &Shape, deadline: Option<u64>, lru: u32, room: usize) {
        let lengths = lengths_at(shape.flags);
        let width = key_width(shape.flags);
        // SAFETY: the block has room for the shape, and the header lies before the key.
        unsafe {
            let start = u32::from(shape.kind) | u32::from(shape.flags) << 8 | lru << 16;
            self.at(0).cast::<u32>().write(start.to_le());
            self.at(4).write((lru >> 16) as u8);
            if let Some(deadline) = deadline {
                self.at(FIXED)
                    .cast::<u64>()
                    .write_unaligned(deadline.to_le());
            }
            if shape.flags & SPARE != 0 {
                self.write_number(lengths - 4, 4, room);
            }
            self.write_number(lengths, width, shape.key_len);
            if matches!(shape.storage(), Storage::Inline | Storage::Embedded) {
                let at = lengths.wrapping_add(width);
                self.write_number(at, value_width(shape.kind, shape.flags), shape.value_len);
            }
        }
    }

    /// # Safety
    /// `width` (1, 2, 4 or 8) bytes at `offset` are inside the block.
    #[inline]
    unsafe fn write_number(self, offset: usize, width: usize, number: usize) {
        let at = self.at(offset);
        // SAFETY: the caller has checked that the bytes lie inside the block. The casts keep the
        // number whole, because its width was chosen for it.
        unsafe {
            if width == 1 {
                return at.write(number as u8);
            }
            match width {
                2 => at.cast::<u16>().write_unaligned((number as u16).to_le()),
                4 => at.cast::<u32>().write_unaligned((number as u32).to_le()),
                _ => at.cast::<u64>().write_unaligned((number as u64).to_le()),
            }
        }
    }

    /// # Safety
    /// The block has room for the shape, the payload is the one the shape was made for, and there
    /// is no live value in the block.
    #[inline]
    unsafe fn write_value(self, shape: &Shape, payload: Payload<'_>) {
        let at = self.at(shape.value_at);
        // SAFETY: the shape was made for this payload, so `value_len` bytes at `value_at` are
        // inside the block, and `value_at` is aligned to 8 for a pointer.
        unsafe {
            match payload {
                Payload::Int(value) => {
                    ptr::copy_nonoverlapping(value.to_le_bytes().as_ptr(), at, shape.value_len);
                }
                Payload::Inline { bytes, .. } => {
                    ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len())
                }
                Payload::InlineOwned { bytes, .. } => {
                    ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len());
                }
                Payload::Embedded(value) => {
                    let (_, bytes) = value.embeddable().unwrap_or_default();
                    ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len());
                }
                Payload::OutOfLine(value) => value.write(at),
            }
        }
    }

    /// Gives the entry a new value and deadline. The block stays when its size class does;
    /// otherwise another one takes over and this one is freed.
    ///
    /// # Safety
    /// Exclusive access; afterwards only the returned block is used.
    #[inline]
    pub(crate) unsafe fn overwrite(
        self,
        payload: Payload<'_>,
        deadline: Option<u64>,
        lru: u32,
    ) -> Overwritten {
        let old = self.shape();
        let old_value = match old.storage() {
            // SAFETY: the old value is overwritten or freed below.
            Storage::OutOfLine => unsafe { self.take_out_of_line() },
            Storage::Int | Storage::Inline | Storage::Embedded => None,
        };
        let mut shape = Shape::new(old.key_len, old.flags, deadline.is_some(), &payload);
        shape.kind |= old.kind & SAVED;
        let before = self.capacity_of(&old);
        let after = size_class(shape.used);
        if before == after {
            // SAFETY: the block has room for the shape. The key is moved before anything is written
            // over its old place.
            unsafe {
                if old.key_at != shape.key_at {
                    ptr::copy(self.at(old.key_at), self.at(shape.key_at), old.key_len);
                }
                self.write_header(&shape, deadline, lru, 0);
                self.write_value(&shape, payload);
            }
            return Overwritten {
                block: self,
                before,
                after,
                old_value,
            };
        }
        let block = Block::allocate(after);
        // SAFETY: the new block has room for the shape; the old one is used no more.
        unsafe {
            ptr::copy_nonoverlapping(self.at(old.key_at), block.at(shape.key_at), old.key_len);
            block.write_header(&shape, deadline, lru, 0);
            block.write_value(&shape, payload);
            self.free();
        }
        Overwritten {
            block,
            before,
            after,
            old_value,
        }
    }

    /// Sets, changes or clears the deadline; the value stays. Returns the block that holds the
    /// entry now.
    ///
    /// # Safety
    /// Exclusive access; afterwards only the returned block is used.
    pub(crate) unsafe fn with_deadline(self, deadline: Option<u64>) -> Block {
        if let (true, Some(deadline)) = (self.has_deadline(), deadline) {
            // SAFETY: the flag says that the field is there.
            unsafe {
                self.at(FIXED)
                    .cast::<u64>()
                    .write_unaligned(deadline.to_le())
            };
            return self;
        }
        if !self.has_deadline() && deadline.is_none() {
            return self;
        }
        let old = self.shape();
        let flags = if deadline.is_some() {
            old.flags | DEADLINE
        } else {
            old.flags & !DEADLINE
        };
        let shape = Shape::place(old.kind, flags, old.key_len, old.value_len);
        let (room, capacity) = if flags & SPARE == 0 {
            (0, size_class(shape.used))
        } else {
            (self.room(), size_class(shape.value_at + self.room()))
        };
        if capacity == self.capacity_of(&old) && shape.storage() != Storage::OutOfLine {
            // SAFETY: the block has room for the shape; key and value are adjacent, and are moved
            // before anything is written over their old place.
            unsafe {
                let len = old.key_len.wrapping_add(old.value_len);
                ptr::copy(self.at(old.key_at), self.at(shape.key_at), len);
                self.write_header(&shape, deadline, self.lru(), room);
            }
            return self;
        }
        let block = Block::allocate(capacity);
        // SAFETY: the new block has room for the shape; key and value are copied bit by bit (a
        // pointer moves by that) and the old block's memory is freed without dropping the value.
        unsafe {
            block.write_header(&shape, deadline, self.lru(), room);
            ptr::copy_nonoverlapping(self.at(old.key_at), block.at(shape.key_at), old.key_len);
            ptr::copy_nonoverlapping(
                self.at(old.value_at),
                block.at(shape.value_at),
                old.value_len,
            );
            self.free();
        }
        block
    }

    /// Makes an inline string `len` bytes long, with zero bytes after its old length, and with room
    /// to grow as sds gives it: when it must move, it gets twice what it needs. Marks the string
    /// raw.
    ///
    /// # Safety
    /// Exclusive access; the storage is inline; old length <= `len` <= [`super::INLINE_MAX`];
    /// afterwards only the returned block is used.
    pub(crate) unsafe fn grow_inline(self, len: usize) -> Block {
        let old = self.shape();
        let grown = old.used + (len - old.value_len);
        let stays = if old.flags & SPARE == 0 {
            // Without spare room the size class must stay, and with it the width of the length.
            size_class(grown) == size_class(old.used)
                && (len <= usize::from(u8::MAX)) == (old.flags >> VALUE_CODE_SHIFT == 0)
        } else {
            len <= self.room()
        };
        if stays {
            // SAFETY: the new length fits the block and the width of its field.
            unsafe {
                self.at(1).write(old.flags | RAW);
                let at = lengths_at(old.flags).wrapping_add(key_width(old.flags));
                self.write_number(at, value_width(old.kind, old.flags), len);
                ptr::write_bytes(
                    self.at(old.value_at + old.value_len),
                    0,
                    len - old.value_len,
                );
            }
            return self;
        }
        let deadline = self.deadline();
        let mut shape = Shape::with_spare(old.key_len, deadline.is_some(), len);
        shape.kind |= old.kind & SAVED;
        // At most 2 * INLINE_MAX, so it fits its 4 bytes.
        let room = 2 * len;
        let block = Block::allocate(size_class(shape.value_at + room));
        // SAFETY: the new block has room for twice the length; the old memory has no pointer in it.
        unsafe {
            block.write_header(&shape, deadline, self.lru(), room);
            ptr::copy_nonoverlapping(self.at(old.key_at), block.at(shape.key_at), old.key_len);
            let value = block.at(shape.value_at);
            ptr::copy_nonoverlapping(self.at(old.value_at), value, old.value_len);
            ptr::write_bytes(value.wrapping_add(old.value_len), 0, len - old.value_len);
            self.free();
        }
        block
    }

    /// The bytes of an inline string, for change. Marks the string raw.
    ///
    /// # Safety
    /// Exclusive access for `'a`, and the storage is inline.
    pub(crate) unsafe fn inline_mut<'a>(self) -> &'a mut [u8] {
        let shape = self.shape();
        // SAFETY: flags and value lie inside the block, and the caller has exclusive access for
        // `'a`.
        unsafe {
            self.at(1).write(shape.flags | RAW);
            std::slice::from_raw_parts_mut(self.at(shape.value_at), shape.value_len)
        }
    }
}

/// The result of [`Block::overwrite`].
pub(crate) struct Overwritten {
    /// The block that holds the entry now.
    pub(crate) block: Block,
    /// The size of the block before.
    pub(crate) before: usize,
    /// The size of the block now.
    pub(crate) after: usize,
    /// The old value, when it lived out of line.
    pub(crate) old_value: Option<Value>,
}

/// A block with its value, owned: frees both when dropped.
#[derive(Debug)]
pub(crate) struct OwnedBlock {
    block: Block,
    owns: PhantomData<Value>,
}

// SAFETY: an owned block is memory with one `Value` in it, and `Value` is `Send`.
unsafe impl Send for OwnedBlock where Value: Send {}
// SAFETY: a shared `OwnedBlock` gives only shared access to its `Value`, which is `Sync`.
unsafe impl Sync for OwnedBlock where Value: Sync {}

impl OwnedBlock {
    /// # Safety
    /// No other copy of the block is used from now on.
    pub(crate) unsafe fn new(block: Block) -> OwnedBlock {
        OwnedBlock {
            block,
            owns: PhantomData,
        }
    }

    /// The entry in the block.
    pub(crate) fn entry(&self) -> EntryRef<'_> {
        // SAFETY: the block is freed by this owner only, which is borrowed, and no other code
        // changes it.
        unsafe { EntryRef::new(self.block) }
    }

    #[cfg(test)]
    pub(crate) fn block(&self) -> Block {
        self.block
    }

    /// Where the value is.
    pub(crate) fn storage(&self) -> Storage {
        self.block.storage()
    }

    /// Gives the block away, which must be freed by its new owner.
    pub(crate) fn into_block(self) -> Block {
        let block = self.block;
        std::mem::forget(self);
        block
    }

    /// Takes the value out and frees the block.
    pub(crate) fn into_value(self) -> Value {
        let block = self.block;
        std::mem::forget(self);
        // SAFETY: `self` was forgotten, so this is the only and last use of the block; an
        // out-of-line value is moved out before the memory goes.
        unsafe {
            let value = match block.value() {
                ValueRef::Int(value) => Value::Int(value),
                ValueRef::Bytes(bytes) if block.is_raw() => Value::Raw(bytes.into()),
                ValueRef::Bytes(bytes) => Value::Bytes(bytes.into()),
                value if block.storage() == Storage::Embedded => value.to_owned_value(),
                _ => Value::read(block.value_type(), block.at(block.shape().value_at)),
            };
            block.free();
            value
        }
    }
}

impl Drop for OwnedBlock {
    fn drop(&mut self) {
        // SAFETY: this is the owner's last use.
        unsafe { self.block.destroy() }
    }
}
