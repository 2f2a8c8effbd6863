//! Changing an entry in place.

use crate::db::Database;
use crate::entry::{
    Block, Encoding, EntryRef, INLINE_MAX, NewValue, Payload, Storage, StringRef, Type, Value,
    ValueMut, ValueRef,
};
use crate::hash::KeyHash;
use crate::undo;
use std::fmt;
use std::sync::Arc;
use values::BigString;
use values::number;
use values::table::Slot;

/// The longest string that a value may become, in bytes. Far above every configurable limit: it
/// keeps the arithmetic on lengths from overflowing.
const STRING_LEN_MAX: usize = isize::MAX as usize / 4;

/// Why a string could not be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StringError {
    /// The entry is not a string.
    WrongType,
    /// The string would become longer than an address space holds.
    TooLong,
}

impl fmt::Display for StringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StringError::WrongType => "the entry is not a string",
            StringError::TooLong => "the string would be too long",
        })
    }
}

impl std::error::Error for StringError {}

/// An entry, borrowed for change. It keeps the counters of its database and the timing wheel right.
pub struct EntryMut<'a> {
    db: &'a mut Database,
    /// Where the shard keeps the time of its next expiry work.
    next_due_ms: &'a mut u64,
    /// The number of the database.
    number: u32,
    hash: KeyHash,
    /// The entry's place, `None` once the block was replaced in it.
    slot: Option<Slot>,
    block: Block,
}

impl<'a> EntryMut<'a> {
    #[inline]
    pub(crate) fn new(
        db: &'a mut Database,
        next_due_ms: &'a mut u64,
        (number, hash): (u32, KeyHash),
        slot: Slot,
    ) -> EntryMut<'a> {
        // SAFETY: the `EntryMut` holds the exclusive borrow of the database, and is the only user
        // of the block; `replaced` keeps it the one in the table.
        let block = unsafe { db.block(slot) };
        EntryMut {
            db,
            next_due_ms,
            number,
            hash,
            slot: Some(slot),
            block,
        }
    }

    /// The entry, for reading.
    #[inline]
    pub fn as_ref(&self) -> EntryRef<'_> {
        // SAFETY: the block is changed through `&mut self` only, which is borrowed.
        unsafe { EntryRef::new(self.block) }
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        self.block.key()
    }

    /// The data type.
    #[inline]
    pub fn value_type(&self) -> Type {
        self.block.value_type()
    }

    /// How the value is represented.
    pub fn encoding(&self) -> Encoding {
        self.as_ref().encoding()
    }

    /// When the entry expires, in absolute unix milliseconds.
    #[inline]
    pub fn deadline(&self) -> Option<u64> {
        self.block.deadline()
    }

    /// The 24 bits of LRU clock or LFU counter.
    pub fn lru(&self) -> u32 {
        self.block.lru()
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> ValueRef<'_> {
        self.block.value()
    }

    /// The value, when it is stored as an integer.
    #[inline]
    pub fn integer(&self) -> Option<i64> {
        self.block.integer()
    }

    /// The value as a string, `None` when it is a collection.
    #[inline]
    pub fn string(&self) -> Option<StringRef<'_>> {
        self.block.value().string()
    }

    /// Bytes that the entry takes, as [`EntryRef::memory_usage`].
    pub fn memory_usage(&self) -> usize {
        self.as_ref().memory_usage()
    }

    /// Sets the 24 bits of LRU clock or LFU counter.
    #[inline]
    pub fn set_lru(&mut self, lru: u32) {
        // SAFETY: `&mut self` holds the exclusive borrow of the database.
        unsafe { self.block.set_lru(lru) }
    }

    /// Sets or clears the deadline (absolute unix milliseconds).
    pub fn set_deadline(&mut self, deadline: Option<u64>) {
        let old = self.block.deadline();
        self.db.sizes.open_collection(self.hash, self.block);
        // SAFETY: `&mut self` holds the exclusive borrow, and `replaced` records the new block.
        let block = unsafe {
            let before = self.block.capacity();
            let block = self.block.with_deadline(deadline);
            self.db.account_block_change(before, block.capacity());
            block
        };
        self.replaced(block);
        self.deadline_changed(old, deadline);
    }

    /// Stores another value; deadline and LRU stay. Returns the old value when freeing it is worth
    /// another thread, else frees it.
    pub fn set_value(&mut self, value: NewValue<'_>) -> Option<Value> {
        self.overwrite(
            value.into_payload(self.block.key().len()),
            self.block.deadline(),
            self.block.lru(),
        )
    }

    /// Stores an integer; deadline and LRU stay. Returns what [`EntryMut::set_value`] does.
    #[inline]
    pub fn set_integer(&mut self, value: i64) -> Option<Value> {
        // SAFETY: `&mut self` holds the exclusive borrow of the database.
        if let Some(old) = unsafe { self.block.replace_int(value) } {
            self.db.sizes.integer_changed(self.block, old, value);
            return None;
        }
        self.set_value(NewValue::Int(value))
    }

    /// [`EntryMut::set_value`] for string commands.
    #[inline]
    pub fn set_string(&mut self, value: NewValue<'_>) -> Option<Value> {
        self.set_value(value)
    }

    /// Everything but the key is new.
    #[inline]
    pub(crate) fn overwrite(
        &mut self,
        payload: Payload<'_>,
        deadline: Option<u64>,
        lru: u32,
    ) -> Option<Value> {
        let (old_deadline, old_lru) = (self.block.deadline(), self.block.lru());
        let next_element = payload.next_element_deadline();
        let counted = self.db.sizes.counted_as(self.block);
        // SAFETY: `&mut self` holds the exclusive borrow, and `replaced` records the new block.
        let done = unsafe { self.block.overwrite(payload, deadline, lru) };
        if done.before != done.after {
            self.db.account_block_change(done.before, done.after);
            self.replaced(done.block);
        }
        if let Some(class) = counted {
            self.db.sizes.recount(class, self.hash, done.block);
        }
        self.deadline_changed(old_deadline, deadline);
        if next_element.is_some() || self.db.has_volatile_elements() {
            let due_ms = self
                .db
                .elements_changed(self.hash, next_element, done.block.value_type());
            *self.next_due_ms = due_ms.min(*self.next_due_ms);
        }
        let value = done.old_value?;
        if undo::is_recording() {
            let place = (self.number, self.hash, done.block);
            return undo::replaced(place, value, (old_deadline, old_lru));
        }
        Some(value).filter(Value::is_big)
    }

    /// A value other than a short string, to be changed in place.
    #[inline]
    pub fn value_mut(&mut self) -> ValueMut<'_> {
        self.db.sizes.open(self.hash, self.block);
        self.move_out();
        // SAFETY: `&mut self` holds the exclusive borrow of the database.
        unsafe { self.block.value_mut() }
    }

    /// As [`EntryMut::value_mut`], for as long as the database was borrowed. When
    /// elements may have got or lost deadlines, [`crate::Shard::sync_elements`] must be called
    /// afterwards.
    #[inline]
    pub fn into_value_mut(mut self) -> ValueMut<'a> {
        self.db.sizes.open(self.hash, self.block);
        self.move_out();
        // SAFETY: `self` held the exclusive borrow of the database, which `'a` goes on with.
        unsafe { self.block.value_mut() }
    }

    /// Moves an embedded collection out of the block.
    #[inline]
    fn move_out(&mut self) {
        if self.block.storage() == Storage::Embedded {
            self.move_out_embedded();
        }
    }

    #[cold]
    fn move_out_embedded(&mut self) {
        let payload = Payload::OutOfLine(self.as_ref().to_value());
        let (deadline, lru) = (self.block.deadline(), self.block.lru());
        // SAFETY: `&mut self` holds the exclusive borrow, and `replaced` records the new block.
        let done = unsafe { self.block.overwrite(payload, deadline, lru) };
        self.db.account_block_change(done.before, done.after);
        self.replaced(done.block);
    }

    /// Appends to a string. Returns its new length.
    pub fn append(&mut self, tail: &[u8]) -> Result<usize, StringError> {
        let len = self.string().ok_or(StringError::WrongType)?.len();
        self.set_range(len, tail)
    }

    /// Overwrites a part of a string, growing it with zero bytes as needed. Returns its new length.
    /// An empty `bytes` leaves the length as it is.
    pub fn set_range(&mut self, offset: usize, bytes: &[u8]) -> Result<usize, StringError> {
        let old_len = self.string().ok_or(StringError::WrongType)?.len();
        if bytes.is_empty() {
            return Ok(old_len);
        }
        let end = offset
            .checked_add(bytes.len())
            .ok_or(StringError::TooLong)?;
        if end > STRING_LEN_MAX {
            return Err(StringError::TooLong);
        }
        self.db.sizes.open(self.hash, self.block);
        self.make_bytes();
        if end > INLINE_MAX || self.block.storage() == Storage::OutOfLine {
            self.make_big().set_range(offset, bytes);
            return Ok(old_len.max(end));
        }
        if end > old_len {
            self.grow_inline(end);
        }
        // SAFETY: exclusive borrow; the storage is inline, because it is neither an integer
        // (make_bytes) nor out of line.
        let value = unsafe { self.block.inline_mut() };
        if let Some(target) = value.get_mut(offset..end) {
            target.copy_from_slice(bytes);
        }
        Ok(value.len())
    }

    /// The bytes of a string, to be changed in place. An integer becomes its text, and the string
    /// is "raw" from now on. `None` when the entry is not a string.
    pub fn string_mut(&mut self) -> Option<&mut [u8]> {
        self.grow_zeroed(0).ok()
    }

    /// As [`EntryMut::string_mut`], but lengthens the string with zero bytes to at least `len`
    /// first.
    pub fn grow_zeroed(&mut self, len: usize) -> Result<&mut [u8], StringError> {
        if self.value_type() != Type::String {
            return Err(StringError::WrongType);
        }
        if len > STRING_LEN_MAX {
            return Err(StringError::TooLong);
        }
        self.db.sizes.open(self.hash, self.block);
        self.make_bytes();
        if len > INLINE_MAX || self.block.storage() == Storage::OutOfLine {
            let big = self.make_big();
            big.grow_zeroed(len);
            return Ok(big.as_mut_slice());
        }
        if len > self.value().string().map_or(0, |string| string.len()) {
            self.grow_inline(len);
        }
        // SAFETY: exclusive borrow; the storage is inline, because it is neither an integer
        // (make_bytes) nor out of line.
        Ok(unsafe { self.block.inline_mut() })
    }

    /// Turns an integer into its text.
    fn make_bytes(&mut self) {
        if let ValueRef::Int(value) = self.block.value() {
            let mut buffer = [0; number::INTEGER_TEXT_MAX];
            let bytes = number::format(value, &mut buffer);
            let payload = Payload::Inline { bytes, raw: true };
            self.overwrite(payload, self.block.deadline(), self.block.lru());
        }
    }

    /// The string out of line and not shared, moved or copied there if need be.
    fn make_big(&mut self) -> &mut BigString {
        if let ValueRef::Bytes(bytes) = self.block.value() {
            let big = Value::Big(Arc::new(BigString::from_slice(bytes)));
            self.overwrite(
                Payload::OutOfLine(big),
                self.block.deadline(),
                self.block.lru(),
            );
        }
        match self.value_mut() {
            ValueMut::Big(big) => Arc::make_mut(big),
            _ => unreachable!("callers have checked that the entry is a string"),
        }
    }

    fn grow_inline(&mut self, len: usize) {
        let before = self.block.capacity();
        // SAFETY: exclusive borrow; the storage is inline, and the caller has checked the lengths.
        let block = unsafe { self.block.grow_inline(len) };
        self.db.account_block_change(before, block.capacity());
        self.replaced(block);
    }

    /// Records that another block holds the entry now. The old one is freed already.
    #[inline]
    fn replaced(&mut self, block: Block) {
        if block.as_ptr() == self.block.as_ptr() {
            return;
        }
        let slot = match self.slot.take() {
            Some(slot) => slot,
            None => self.db.slot_of(self.hash, self.block),
        };
        self.db.replace(slot, block);
        self.db.sizes.moved(self.block, block);
        self.block = block;
    }

    #[inline]
    fn deadline_changed(&mut self, old: Option<u64>, new: Option<u64>) {
        if old != new {
            let due_ms = self.db.deadline_changed(self.hash, old, new);
            *self.next_due_ms = due_ms.min(*self.next_due_ms);
        }
    }

    /// Where the entry is, for its removal.
    pub(crate) fn into_slot(self) -> (&'a mut Database, Slot) {
        let slot = match self.slot {
            Some(slot) => slot,
            None => self.db.slot_of(self.hash, self.block),
        };
        (self.db, slot)
    }
}

impl fmt::Debug for EntryMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}
