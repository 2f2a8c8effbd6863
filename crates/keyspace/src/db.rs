//! One numbered database's part in one shard: a table of entries, a timing wheel, and counters.

use crate::entry::{Block, EntryRef, OwnedBlock, Type, ValueRef};
use crate::hash::{Hasher, KeyHash};
use crate::sizes::Sizes;
use crate::wheel::Expiry;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use values::table::{Slot, Table};

/// The frontier of a database without a hook.
pub(crate) const FRONTIER_END: u64 = u64::MAX;

/// Which part of the hash order a shard has: the hashes whose top `prefix_bits` are `index`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) index: usize,
    pub(crate) prefix_bits: u32,
}

impl Place {
    /// The first position.
    pub(crate) fn origin(self) -> u64 {
        (self.index as u64)
            .checked_shl(u64::BITS - self.prefix_bits)
            .unwrap_or(0)
    }
}

/// The time for which the elements of an entry are filed in the wheel (unix milliseconds), and in
/// the top bit whether the entry is a hash.
#[derive(Clone, Copy)]
pub(crate) struct Filed(u64);

impl Filed {
    const HASH: u64 = 1 << 63;

    fn new(at_ms: u64, kind: Type) -> Filed {
        let hash = if kind == Type::Hash { Filed::HASH } else { 0 };
        Filed(at_ms.min(!Filed::HASH) | hash)
    }

    pub(crate) fn at_ms(self) -> u64 {
        self.0 & !Filed::HASH
    }

    fn is_hash(self) -> bool {
        self.0 & Filed::HASH != 0
    }
}

/// Entries are counted in bytes and the sum of deadlines in milliseconds; 128 bits, because a
/// single deadline may have 63.
pub(crate) struct Database {
    pub(crate) table: Table,
    pub(crate) expiry: Expiry,
    /// Entries with a deadline.
    pub(crate) volatile: usize,
    /// Entries that have elements with deadlines, by hash.
    pub(crate) elements: HashMap<u64, Filed>,
    /// How many of these are hashes.
    volatile_hashes: usize,
    /// Sum of all deadlines, for the average time to live.
    deadline_sum: u128,
    /// Bytes of all blocks; memory of out-of-line values is not included.
    block_bytes: usize,
    /// How many entries there are of each size.
    pub(crate) sizes: Sizes,
    /// The shard's part of the hash order.
    pub(crate) place: Place,
    /// The change hook is called for entries whose hash is at or above this (see `hook`).
    pub(crate) frontier: u64,
    /// Entries at or behind the frontier may be marked.
    pub(crate) marked: bool,
}

impl Database {
    pub(crate) fn new(place: Place, seen_ms: u64, frontier: u64) -> Database {
        Database {
            table: Table::new(place.prefix_bits),
            expiry: Expiry::new(seen_ms),
            volatile: 0,
            elements: HashMap::new(),
            volatile_hashes: 0,
            deadline_sum: 0,
            block_bytes: 0,
            sizes: Sizes::default(),
            place,
            frontier,
            marked: false,
        }
    }

    #[inline]
    pub(crate) fn find(&self, hash: KeyHash, key: &[u8]) -> Option<Slot> {
        self.table.find(hash.0, |ptr| {
            // SAFETY: the table holds live blocks, and it is borrowed.
            unsafe { Block::from_ptr(ptr) }.key_is(key)
        })
    }

    /// Starts bringing the out-of-line value that `hash` most likely means into the cache. True for
    /// a collection with an index. Reads the entry, so it should have been prefetched some time
    /// before.
    #[inline]
    pub(crate) fn prefetch_value(&self, hash: KeyHash) -> bool {
        self.table.find(hash.0, |_| true).is_some_and(|slot| {
            // SAFETY: the table holds live blocks, and it is borrowed.
            unsafe { Block::from_ptr(self.table.get(slot)) }.prefetch_value()
        })
    }

    /// Shows the values that `hash` may mean; nearly always it is one at most. Reads the entries,
    /// so they should have been prefetched some time before.
    #[inline]
    pub(crate) fn glance(&self, hash: KeyHash, mut look: impl FnMut(ValueRef<'_>)) {
        self.table.candidates(hash.0, |_, ptr| {
            // SAFETY: the table holds live blocks, and it is borrowed.
            look(unsafe { EntryRef::from_ptr(ptr) }.value());
        });
    }

    /// The block of an entry.
    ///
    /// # Safety
    /// It is not used after the entry is removed, or after another block took its place.
    #[inline]
    pub(crate) unsafe fn block(&self, slot: Slot) -> Block {
        // SAFETY: the table holds live blocks, and the caller stops using this one with its entry.
        unsafe { Block::from_ptr(self.table.get(slot)) }
    }

    #[inline]
    pub(crate) fn entry(&self, slot: Slot) -> EntryRef<'_> {
        // SAFETY: the table holds live blocks, and it is borrowed.
        unsafe { EntryRef::from_ptr(self.table.get(slot)) }
    }

    /// All entries, in no order that callers may rely on.
    pub(crate) fn entries(&self) -> impl Iterator<Item = EntryRef<'_>> {
        // SAFETY: the table holds live blocks, and it is borrowed.
        self.table
            .iter()
            .map(|ptr| unsafe { EntryRef::from_ptr(ptr) })
    }

    /// Adds an entry whose key is absent. Returns when the wheel has to be advanced because of it.
    #[inline]
    pub(crate) fn insert(&mut self, hash: KeyHash, block: Block, hasher: &Hasher) -> u64 {
        self.block_bytes += block.capacity();
        self.sizes.added(hash, block);
        self.table.insert(hash.0, block.as_ptr(), hasher);
        let due_ms = match block.value_type() {
            Type::String | Type::List => u64::MAX,
            _ => match block.value().next_element_deadline() {
                None => u64::MAX,
                next => self.elements_changed(hash, next, block.value_type()),
            },
        };
        match block.deadline() {
            None => due_ms,
            deadline => self.deadline_changed(hash, None, deadline).min(due_ms),
        }
    }

    /// True when some entry has elements with deadlines.
    #[inline]
    pub(crate) fn has_volatile_elements(&self) -> bool {
        !self.elements.is_empty()
    }

    /// Number of entries that have elements with deadlines.
    #[inline]
    pub(crate) fn volatile_elements(&self) -> usize {
        self.elements.len()
    }

    /// The time for which the elements of an entry are filed in the wheel.
    pub(crate) fn elements_filed(&self, hash: KeyHash) -> Option<u64> {
        self.elements.get(&hash.0).map(|filed| filed.at_ms())
    }

    /// Number of hashes that have fields with deadlines.
    pub(crate) fn volatile_hashes(&self) -> usize {
        self.volatile_hashes
    }

    /// Notes that the earliest deadline of an element of an entry, which is of this type, is `next`
    /// now, and files it when need be. Returns when the wheel has to be advanced because of it,
    /// `u64::MAX` for never.
    pub(crate) fn elements_changed(&mut self, hash: KeyHash, next: Option<u64>, kind: Type) -> u64 {
        let old = self.elements.get(&hash.0).map(|filed| filed.at_ms());
        // A handle that is filed earlier finds the new time when it fires.
        let at_ms = next.map(|next| old.map_or(next, |old| old.min(next)));
        self.note_elements(hash, at_ms, kind);
        match at_ms {
            Some(at_ms) if Some(at_ms) != old => self.file(hash, at_ms),
            _ => u64::MAX,
        }
    }

    fn note_elements(&mut self, hash: KeyHash, at_ms: Option<u64>, kind: Type) {
        let new = at_ms.map(|at_ms| Filed::new(at_ms, kind));
        let old = match new {
            Some(filed) => self.elements.insert(hash.0, filed),
            None => self.elements.remove(&hash.0),
        };
        self.volatile_hashes += usize::from(new.is_some_and(Filed::is_hash));
        self.volatile_hashes -= usize::from(old.is_some_and(Filed::is_hash));
        if self.elements.is_empty() {
            self.elements = HashMap::new();
        }
    }

    /// As [`Database::elements_changed`] when elements have expired: the handle that was filed for
    /// them finds the new time, whether it fires now or later.
    pub(crate) fn elements_expired(&mut self, hash: KeyHash, next: Option<u64>, kind: Type) {
        self.note_elements(hash, next, kind);
    }

    /// Takes an entry out.
    #[inline]
    pub(crate) fn remove(&mut self, slot: Slot, hasher: &Hasher) -> OwnedBlock {
        // SAFETY: `OwnedBlock` below is the only user of the block once it has left the table.
        let block = unsafe { self.block(slot) };
        self.sizes.removed(block, hasher);
        self.table.remove(slot, hasher);
        self.block_bytes -= block.capacity();
        if let Some(deadline) = block.deadline() {
            self.volatile -= 1;
            self.deadline_sum -= u128::from(deadline);
        }
        if !self.elements.is_empty() {
            self.note_elements(hasher.hash(block.key()), None, block.value_type());
        }
        // SAFETY: the table does not hold the block any more, so this is the only copy in use.
        unsafe { OwnedBlock::new(block) }
    }

    /// Puts another block in the place of an entry; counters are the caller's.
    #[inline]
    pub(crate) fn replace(&mut self, slot: Slot, block: Block) {
        self.table.replace(slot, block.as_ptr());
    }

    /// The place of a block that stands in the table. Compares addresses only.
    pub(crate) fn slot_of(&self, hash: KeyHash, block: Block) -> Slot {
        match self.table.find(hash.0, |ptr| ptr == block.as_ptr()) {
            Some(slot) => slot,
            None => unreachable!("a borrowed entry stays in its table"),
        }
    }

    /// An entry's block of `before` bytes became one of `after` bytes.
    #[inline]
    pub(crate) fn account_block_change(&mut self, before: usize, after: usize) {
        self.block_bytes = self.block_bytes - before + after;
    }

    /// Counts a changed deadline and files it when need be. Returns when the wheel has to be
    /// advanced because of it, `u64::MAX` for never.
    #[inline]
    pub(crate) fn deadline_changed(
        &mut self,
        hash: KeyHash,
        old: Option<u64>,
        new: Option<u64>,
    ) -> u64 {
        if let Some(old) = old {
            self.volatile -= 1;
            self.deadline_sum -= u128::from(old);
        }
        let Some(new) = new else {
            return u64::MAX;
        };
        self.volatile += 1;
        self.deadline_sum += u128::from(new);
        if old.is_some_and(|old| old <= new) {
            // The handle that is filed for the old deadline or before finds the new one when it
            // fires.
            return u64::MAX;
        }
        self.file(hash, new)
    }

    /// The average time to live of the entries with a deadline, in milliseconds.
    pub(crate) fn avg_ttl_ms(&self, now_ms: u64) -> u64 {
        let count = self.volatile as u128;
        let left = self.deadline_sum.saturating_sub(count * u128::from(now_ms));
        left.checked_div(count)
            .and_then(|average| u64::try_from(average).ok())
            .unwrap_or(0)
    }

    pub(crate) fn stats(&self) -> DatabaseStats {
        DatabaseStats {
            entries: self.table.len(),
            volatile: self.volatile,
            volatile_elements: self.volatile_elements(),
            block_bytes: self.block_bytes,
            table_bytes: self.table.memory_usage() + self.sizes.memory_usage(),
            buckets: self.table.buckets(),
            wheel_bytes: self.expiry.memory_usage(),
            wheel_handles: self.expiry.handles(),
        }
    }

    /// Empties the database; the frontier is at the end afterwards when it was anywhere.
    pub(crate) fn take(&mut self, place: Place) -> Database {
        std::mem::replace(
            self,
            Database::new(place, self.expiry.seen_ms(), FRONTIER_END),
        )
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        for ptr in self.table.iter() {
            // SAFETY: the table holds live blocks, each once, and goes with the database.
            unsafe { Block::from_ptr(ptr).destroy() }
        }
    }
}

// SAFETY: a database owns its entries as `OwnedBlock`s, which are `Send`; everything else is too.
unsafe impl Send for Database where OwnedBlock: Send {}
// SAFETY: with `&Database` entries are only read, as with `&OwnedBlock`, which is `Sync`.
unsafe impl Sync for Database where OwnedBlock: Sync {}

/// Sizes of one database, in one shard or summed over shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatabaseStats {
    /// Number of entries.
    pub entries: usize,
    /// Entries with a deadline.
    pub volatile: usize,
    /// Entries that have elements with deadlines.
    pub volatile_elements: usize,
    /// Bytes of the entries' blocks, without what values keep out of line.
    pub block_bytes: usize,
    /// Bytes of the hash tables, and of the counts of sizes.
    pub table_bytes: usize,
    /// Buckets of the hash tables, of 8 slots each.
    pub buckets: usize,
    /// Bytes of the timing wheels.
    pub wheel_bytes: usize,
    /// Handles in the timing wheels, stale ones included.
    pub wheel_handles: usize,
}

impl std::ops::AddAssign for DatabaseStats {
    fn add_assign(&mut self, other: DatabaseStats) {
        self.entries += other.entries;
        self.volatile += other.volatile;
        self.volatile_elements += other.volatile_elements;
        self.block_bytes += other.block_bytes;
        self.table_bytes += other.table_bytes;
        self.buckets += other.buckets;
        self.wheel_bytes += other.wheel_bytes;
        self.wheel_handles += other.wheel_handles;
    }
}

/// The entries that a database had in one shard before it was cleared. Dropping it frees the
/// entries, without recursion and in time linear in their size; it may be sent to another thread
/// for that. While a snapshot still reads the entries they are freed when that is done.
#[derive(Clone)]
pub struct Cleared {
    content: Arc<Database>,
}

impl Cleared {
    pub(crate) fn new(content: Database) -> Cleared {
        Cleared {
            content: Arc::new(content),
        }
    }

    pub(crate) fn database(&self) -> &Database {
        &self.content
    }

    /// The database again, as it was. The other way round when others still read the entries, or
    /// when some of them are marked for a hook.
    pub(crate) fn into_database(self) -> Result<Database, Cleared> {
        if self.content.frontier != FRONTIER_END {
            return Err(self);
        }
        Arc::try_unwrap(self.content).map_err(|content| Cleared { content })
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.content.table.len()
    }

    /// True when there was nothing to clear.
    pub fn is_empty(&self) -> bool {
        self.content.table.is_empty()
    }

    /// The entries, for the effects of their removal.
    pub fn entries(&self) -> impl Iterator<Item = EntryRef<'_>> {
        self.content.entries()
    }
}

impl fmt::Debug for Cleared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cleared").field("len", &self.len()).finish()
    }
}
