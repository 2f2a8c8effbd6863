//! Entries, which the tables point to.
//!
//! An entry is one allocation, so that a lookup costs two cache misses: the bucket and the entry.
//! Its layout, all numbers little-endian and unaligned:
//!
//! ```text
//!  0      1       2           5
//!  +------+-------+-----------+----------+------+---------+---------+-----------+-------+ - - - +
//!  | kind | flags | LRU / LFU | deadline | room | key len | val len | key bytes | value | spare |
//!  +------+-------+-----------+----------+------+---------+---------+-----------+-------+ - - - +
//!     1       1         3        0 or 8   0 or 4  1,2,4,8   0,1,2
//!
//!  kind     type nibble (String, List, Set, ZSet, Hash, Stream) << 4 | mark << 3 | storage
//!  mark     the running snapshot needs nothing more of this entry
//!  storage  Int: value is an integer of 1..=8 bytes, as few as hold it, no value length
//!           Inline: value is a string of up to 65,535 bytes
//!           Embedded: value is a collection, a listpack or an intset of up to 255 bytes; the
//!           value length has one byte
//!           OutOfLine: value is an owning pointer, aligned to 8 (the gap before it lies in what
//!           the size class would waste anyway), no value length
//!  flags    bit 0     the entry has a deadline (absolute unix milliseconds)
//!           bits 1-2  width of the key length: 1 << these
//!           bit 3     the block has spare room: `room` says how many bytes the value may take
//!           bit 4     a string that stays "raw": it came from APPEND, SETRANGE and the like
//!           bits 5-7  Int: width of the value - 1; Inline: width of the value length - 1;
//!                     Embedded: mark of the form of the collection
//! ```
//!
//! With jemalloc's size classes of 8 bytes a 16-byte key with an 8-byte value takes a block of 32
//! bytes (7 + 16 + 8), with 32 bytes of value one of 56, with 32 bytes and a deadline one of 64. A
//! block without spare room has exactly the size class of its content, so neither the size nor a
//! capacity is stored. Overwriting keeps the block while the size class stays the same. Only
//! APPEND, SETRANGE and the like leave spare room: twice the length when the value has to move, as
//! sds does it.
//!
//! A small collection is embedded when it is stored as a whole: built by a command, loaded, copied
//! or renamed. The first change in place moves it out of line, where it stays.

mod block;
mod value;

pub use block::LRU_BITS;
pub(crate) use block::{Block, OwnedBlock, Storage};
pub(crate) use value::Payload;
pub use value::{
    EMBSTR_MAX, Encoding, INLINE_MAX, NewValue, StringRef, Type, Value, ValueMut, ValueRef,
};

use crate::hash::Hasher;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;
use values::table::HashOf;

impl HashOf for Hasher {
    fn hash(&self, ptr: NonNull<u8>) -> u64 {
        // SAFETY: the tables of this crate hold only live entry blocks.
        let block = unsafe { Block::from_ptr(ptr) };
        Hasher::hash(self, block.key()).0
    }
}

/// An entry, borrowed for reading.
#[derive(Clone, Copy)]
pub struct EntryRef<'a> {
    block: Block,
    borrow: PhantomData<&'a Value>,
}

impl<'a> EntryRef<'a> {
    /// # Safety
    /// The block is neither changed nor freed during `'a`. The LRU or LFU field may change when no
    /// method of the entry runs at the same time.
    #[inline]
    pub(crate) unsafe fn new(block: Block) -> EntryRef<'a> {
        EntryRef {
            block,
            borrow: PhantomData,
        }
    }

    /// # Safety
    /// The pointer came from [`Block::as_ptr`] of a block that is alive, and neither changed nor
    /// freed during `'a`.
    #[inline]
    pub(crate) unsafe fn from_ptr(ptr: NonNull<u8>) -> EntryRef<'a> {
        // SAFETY: the block is alive and stays as it is during `'a`.
        unsafe { EntryRef::new(Block::from_ptr(ptr)) }
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &'a [u8] {
        // SAFETY: `new` demands that the block stays as it is during `'a`.
        unsafe { self.block.key_for() }
    }

    /// The data type.
    #[inline]
    pub fn value_type(&self) -> Type {
        self.block.value_type()
    }

    /// How the value is represented, in the words of `OBJECT ENCODING`.
    pub fn encoding(&self) -> Encoding {
        encoding_of(self.block)
    }

    /// When the entry expires, in absolute unix milliseconds.
    #[inline]
    pub fn deadline(&self) -> Option<u64> {
        self.block.deadline()
    }

    /// The 24 bits of LRU clock or LFU counter.
    #[inline]
    pub fn lru(&self) -> u32 {
        self.block.lru()
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> ValueRef<'a> {
        // SAFETY: `new` demands that the block stays as it is during `'a`.
        unsafe { self.block.value_for() }
    }

    /// The value as a string, `None` when it is a collection.
    #[inline]
    pub fn string(&self) -> Option<StringRef<'a>> {
        self.value().string()
    }

    /// A copy of the value, as COPY stores it. Long strings are shared until one of the two is
    /// changed.
    pub fn to_value(&self) -> Value {
        value_of(self.block)
    }

    /// Bytes that the entry takes: its block and what the value keeps on the heap. The table's
    /// share (about 10 bytes) is not included.
    pub fn memory_usage(&self) -> usize {
        self.block.capacity() + self.value().heap_bytes()
    }
}

impl fmt::Debug for EntryRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntryRef")
            .field("key", &self.key())
            .field("value", &self.value())
            .field("deadline", &self.deadline())
            .field("lru", &self.lru())
            .finish()
    }
}

fn encoding_of(block: Block) -> Encoding {
    match block.value() {
        ValueRef::Int(_) => Encoding::Int,
        ValueRef::Bytes(bytes) if bytes.len() <= EMBSTR_MAX && !block.is_raw() => Encoding::Embstr,
        value => value.out_of_line_encoding().unwrap_or(Encoding::Raw),
    }
}

fn value_of(block: Block) -> Value {
    match block.value() {
        ValueRef::Int(value) => Value::Int(value),
        ValueRef::Bytes(bytes) if block.is_raw() => Value::Raw(bytes.into()),
        ValueRef::Bytes(bytes) => Value::Bytes(bytes.into()),
        value => value.to_owned_value(),
    }
}

/// An entry that was taken out of its database. Dropping it frees the value, without recursion and
/// in time linear in its size; it may be sent to another thread for that.
#[derive(Debug)]
pub struct Removed {
    block: Ownership,
}

#[derive(Debug)]
enum Ownership {
    Alone(OwnedBlock),
    /// With a recording, which may put the entry back.
    Shared(Arc<OwnedBlock>),
}

impl Removed {
    pub(crate) fn new(block: OwnedBlock) -> Removed {
        Removed {
            block: Ownership::Alone(block),
        }
    }

    pub(crate) fn shared(block: Arc<OwnedBlock>) -> Removed {
        Removed {
            block: Ownership::Shared(block),
        }
    }

    /// The entry, for reading.
    pub fn entry(&self) -> EntryRef<'_> {
        match &self.block {
            Ownership::Alone(block) => block.entry(),
            Ownership::Shared(block) => block.entry(),
        }
    }

    /// When the entry would have expired, in absolute unix milliseconds.
    pub fn deadline(&self) -> Option<u64> {
        self.entry().deadline()
    }

    /// The 24 bits of LRU clock or LFU counter.
    pub fn lru(&self) -> u32 {
        self.entry().lru()
    }

    /// The value, to be stored elsewhere; a copy, when the entry may be put back.
    pub fn into_value(self) -> Value {
        match self.block {
            Ownership::Alone(block) => block.into_value(),
            Ownership::Shared(block) => match Arc::try_unwrap(block) {
                Ok(block) => block.into_value(),
                Err(block) => block.entry().to_value(),
            },
        }
    }

    /// True when freeing the value costs enough to be worth another thread.
    pub fn is_big(&self) -> bool {
        match &self.block {
            Ownership::Alone(block) => {
                block.storage() == Storage::OutOfLine && self.entry().value().is_big()
            }
            Ownership::Shared(_) => false,
        }
    }
}

#[cfg(test)]
mod tests;
