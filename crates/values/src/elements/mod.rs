//! The large form of hashes and sets: elements in blocks of their own, found through a hash table.

mod ahead;
mod block;

use crate::deadlines::Deadlines;
use crate::hash::FieldDeadline;
use crate::hash_seed::{Scatter, hash_of};
use crate::table::{HashOf, Slot, Table};
use ahead::Ahead;
pub(crate) use block::Block;
use std::ptr::NonNull;

/// Tries to find a random element that is not past its deadline before all are looked at.
const RANDOM_TRIES: usize = 32;

/// Elements with a key (a member, or a field with a value), each at most once.
///
/// # Invariants
/// * The table holds blocks that only this struct owns, each under the scattered hash of its key.
/// * `block_bytes` is the sum of their sizes.
/// * The index has exactly the elements with a deadline, and is there only when there are any.
pub(crate) struct Elements {
    table: Table,
    block_bytes: usize,
    deadlines: Option<Box<Deadlines>>,
    scatter: Scatter,
}

/// Elements that the table has under a hash, going by the bits that it keeps.
#[derive(Clone, Copy)]
pub(crate) enum Found {
    Nothing,
    One(NonNull<u8>),
    Several,
}

// SAFETY: the struct owns the blocks that its table and its index point to; methods taking &self only read.
unsafe impl Send for Elements {}
// SAFETY: as above.
unsafe impl Sync for Elements {}

/// Hashes the keys of blocks.
struct KeyHash(Scatter);

impl HashOf for KeyHash {
    fn hash(&self, ptr: NonNull<u8>) -> u64 {
        // SAFETY: the tables that this hasher is given to hold live blocks.
        let key = unsafe { Block::at(ptr) }.key();
        self.0.apply(hash_of(key))
    }
}

impl Elements {
    /// No elements.
    pub(crate) fn new() -> Elements {
        Elements {
            table: Table::new(0),
            block_bytes: 0,
            deadlines: None,
            scatter: Scatter::new(),
        }
    }

    #[inline(always)]
    fn hasher(&self) -> KeyHash {
        KeyHash(self.scatter)
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    #[inline(always)]
    fn block(&self, start: NonNull<u8>) -> Block<'_> {
        // SAFETY: callers have `start` from the table or the index, which hold live blocks; these change
        // only through &mut self.
        unsafe { Block::at(start) }
    }

    #[inline(always)]
    fn find(&self, hash: u64, key: &[u8]) -> Option<Slot> {
        let hash = self.scatter.apply(hash);
        let is = |start| self.block(start).key() == key;
        self.table.find(hash, is)
    }

    /// The element with this key.
    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Option<Block<'_>> {
        let slot = self.find(hash_of(key), key)?;
        Some(self.block(self.table.get(slot)))
    }

    /// Looks up which elements may have this hash and starts bringing them into the cache, once their bucket
    /// is there.
    #[inline(always)]
    pub(crate) fn request(&self, hash: u64) -> Found {
        let mut found = Found::Nothing;
        self.table.candidates(self.scatter.apply(hash), |_, start| {
            found = match found {
                Found::Nothing => Found::One(start),
                Found::One(_) | Found::Several => Found::Several,
            };
            ahead::prefetch_short(start);
        });
        found
    }

    /// Whether one of the elements that `found` says is under this hash has the key that is looked for. The
    /// elements have not changed meanwhile.
    #[inline(always)]
    pub(crate) fn any_of(
        &self,
        found: Found,
        hash: u64,
        mut is: impl FnMut(&[u8]) -> bool,
    ) -> bool {
        match found {
            Found::Nothing => false,
            Found::One(start) => is(self.block(start).key()),
            Found::Several => {
                let is = |start| is(self.block(start).key());
                self.table.find(self.scatter.apply(hash), is).is_some()
            }
        }
    }

    /// Starts bringing the bucket of `hash` into the cache.
    #[inline]
    pub(crate) fn prefetch_bucket(&self, hash: u64) {
        self.table.prefetch_bucket(self.scatter.apply(hash));
    }

    /// Starts bringing the elements that `hash` may mean into the cache, once its bucket is there.
    #[inline]
    pub(crate) fn prefetch_entry(&self, hash: u64) {
        self.request(hash);
    }

    /// Looks for many elements, `N` at a time, so that their cache misses overlap. Tells what was found for
    /// each key, in the order of the keys.
    pub(crate) fn get_many<'a, 'k, const N: usize>(
        &'a self,
        mut keys: impl Iterator<Item = &'k [u8]>,
        mut visit: impl FnMut(Option<Block<'a>>),
    ) {
        loop {
            let mut batch: [(&[u8], u64); N] = [(&[], 0); N];
            let mut count = 0;
            for (place, key) in batch.iter_mut().zip(keys.by_ref().take(N)) {
                *place = (key, hash_of(key));
                self.prefetch_bucket(place.1);
                count += 1;
            }
            let batch = &batch[..count];
            batch
                .iter()
                .for_each(|(_, hash)| self.prefetch_entry(*hash));
            for (key, hash) in batch {
                let slot = self.find(*hash, key);
                visit(slot.map(|slot| self.block(self.table.get(slot))));
            }
            if count < N {
                return;
            }
        }
    }

    /// Adds an element without a value. False when it is there already.
    #[inline]
    pub(crate) fn add(&mut self, key: &[u8]) -> bool {
        self.add_hashed(hash_of(key), key)
    }

    /// As [`Elements::add`], with the hash of the key.
    #[inline]
    pub(crate) fn add_hashed(&mut self, hash: u64, key: &[u8]) -> bool {
        let new = self.find(hash, key).is_none();
        if new {
            self.insert(hash, block::create(key, None, None));
        }
        new
    }

    /// Adds an element that the caller knows to be absent.
    pub(crate) fn add_absent(&mut self, key: &[u8], value: Option<&[u8]>) {
        debug_assert!(self.get(key).is_none());
        self.insert(hash_of(key), block::create(key, value, None));
    }

    /// Takes over a new block whose key is absent.
    fn insert(&mut self, hash: u64, start: NonNull<u8>) {
        let block = self.block(start);
        let (bytes, deadline) = (block.bytes(), block.deadline());
        self.block_bytes += bytes;
        self.index(deadline, start);
        let hasher = self.hasher();
        let hash = self.scatter.apply(hash);
        self.table.insert(hash, start, &hasher);
    }

    fn index(&mut self, deadline: Option<u64>, start: NonNull<u8>) {
        if let Some(deadline) = deadline {
            let deadlines = self.deadlines.get_or_insert_default();
            deadlines.insert(deadline, start);
        }
    }

    fn unindex(&mut self, deadline: Option<u64>, start: NonNull<u8>) {
        if let (Some(deadline), Some(deadlines)) = (deadline, &mut self.deadlines) {
            deadlines.remove(deadline, start);
            if deadlines.is_empty() {
                self.deadlines = None;
            }
        }
    }

    /// Sets the value of an element. True when the element is new.
    pub(crate) fn set(&mut self, key: &[u8], value: &[u8], deadline: FieldDeadline) -> bool {
        let hash = hash_of(key);
        let Some(slot) = self.find(hash, key) else {
            let deadline = match deadline {
                FieldDeadline::At(at) => Some(at),
                FieldDeadline::Clear | FieldDeadline::Keep => None,
            };
            self.insert(hash, block::create(key, Some(value), deadline));
            return true;
        };
        let start = self.table.get(slot);
        let before = self.block(start).deadline();
        let after = match deadline {
            FieldDeadline::At(at) => Some(at),
            FieldDeadline::Keep => before,
            FieldDeadline::Clear => None,
        };
        // SAFETY: &mut self keeps other borrows away; elements that are set have a value.
        if before == after && unsafe { block::write_value(start, value) } {
            return false;
        }
        let replacement = self.block(start).recreate(Some(value), after);
        self.replace(slot, replacement);
        false
    }

    /// Puts a new block in the place of another with the same key, which is freed.
    fn replace(&mut self, slot: Slot, replacement: NonNull<u8>) {
        let new = self.block(replacement);
        let (bytes, deadline) = (new.bytes(), new.deadline());
        let start = self.table.replace(slot, replacement);
        self.discard(start);
        self.block_bytes += bytes;
        self.index(deadline, replacement);
    }

    /// Frees a block that has left the table.
    fn discard(&mut self, start: NonNull<u8>) {
        let block = self.block(start);
        let (bytes, deadline) = (block.bytes(), block.deadline());
        self.block_bytes -= bytes;
        self.unindex(deadline, start);
        // SAFETY: neither the table nor the index has it any more, and &mut self keeps borrows away.
        unsafe { block::free(start) };
    }

    fn take(&mut self, slot: Slot) {
        let hasher = self.hasher();
        let start = self.table.remove(slot, &hasher);
        self.discard(start);
    }

    /// Removes an element. True when it was there.
    pub(crate) fn remove(&mut self, key: &[u8]) -> bool {
        let found = self.find(hash_of(key), key);
        if let Some(slot) = found {
            self.take(slot);
        }
        found.is_some()
    }

    /// Sets or clears the deadline of an element. False when there is no such element.
    pub(crate) fn set_deadline(&mut self, key: &[u8], deadline: Option<u64>) -> bool {
        let Some(slot) = self.find(hash_of(key), key) else {
            return false;
        };
        let start = self.table.get(slot);
        let before = self.block(start).deadline();
        match (before, deadline) {
            (None, None) => {}
            (Some(_), Some(after)) => {
                self.unindex(before, start);
                // SAFETY: &mut self keeps other borrows away. The block has a deadline to write over.
                unsafe { block::write_deadline(start, after) };
                self.index(deadline, start);
            }
            (None, Some(_)) | (Some(_), None) => {
                let block = self.block(start);
                let replacement = block.recreate(block.own_value(), deadline);
                self.replace(slot, replacement);
            }
        }
        true
    }

    /// Number of elements with a deadline.
    pub(crate) fn volatile_len(&self) -> usize {
        self.deadlines.as_ref().map_or(0, |it| it.len())
    }

    /// The earliest deadline.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        let (deadline, _) = self.deadlines.as_ref()?.first()?;
        Some(deadline)
    }

    /// Removes at most `budget` elements whose deadline is not after `now_ms`, the earliest first. Tells
    /// their keys before they go, and returns how many.
    pub(crate) fn expire(
        &mut self,
        now_ms: u64,
        budget: usize,
        expired: &mut dyn FnMut(&[u8]),
    ) -> usize {
        let mut count = 0;
        while count < budget {
            let first = self.deadlines.as_ref().and_then(|it| it.first());
            let Some((_, start)) = first.filter(|(deadline, _)| *deadline <= now_ms) else {
                break;
            };
            let key = self.block(start).key();
            let hash = self.scatter.apply(hash_of(key));
            let Some(slot) = self.table.find(hash, |found| found == start) else {
                break;
            };
            expired(key);
            self.take(slot);
            count += 1;
        }
        count
    }

    /// All elements, in the order of their hashes more or less.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Block<'_>> {
        Ahead::new(self.table.iter()).map(|start| self.block(start))
    }

    /// Visits a few elements from a cursor on, as [`Table::scan`].
    pub(crate) fn scan<'a>(&'a self, cursor: u64, mut visit: impl FnMut(Block<'a>)) -> u64 {
        let visit = |start| visit(self.block(start));
        self.table.scan(cursor, &self.hasher(), visit)
    }

    /// A random element that is not past its deadline at `now_ms`; 0 sees all. `None` when all are.
    pub(crate) fn random(&self, now_ms: u64, rng: &mut impl FnMut() -> u64) -> Option<Block<'_>> {
        for _ in 0..RANDOM_TRIES {
            let slot = self.table.random(rng)?;
            let block = self.block(self.table.get(slot));
            if block.is_visible(now_ms) {
                return Some(block);
            }
        }
        let visible = || self.iter().filter(|block| block.is_visible(now_ms));
        let count = visible().count() as u64;
        visible().nth(rng().checked_rem(count)? as usize)
    }

    /// Takes a random element out.
    pub(crate) fn pop(&mut self, rng: &mut impl FnMut() -> u64) -> Option<Vec<u8>> {
        let slot = self.table.random(rng)?;
        let key = self.block(self.table.get(slot)).key().to_vec();
        self.take(slot);
        Some(key)
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        let deadlines = self.deadlines.as_ref().map_or(0, |it| it.heap_bytes());
        self.table.memory_usage() + self.block_bytes + deadlines
    }
}

/// A copy with blocks of its own.
impl Clone for Elements {
    fn clone(&self) -> Self {
        let mut copy = Elements::new();
        for block in self.iter() {
            copy.insert(hash_of(block.key()), block.duplicate());
        }
        copy
    }
}

impl Drop for Elements {
    fn drop(&mut self) {
        for start in Ahead::new(self.table.iter()) {
            // SAFETY: the blocks are owned by this struct alone; the table is only emptied afterwards, and
            // frees without reading them.
            unsafe { block::free(start) };
        }
    }
}

#[cfg(test)]
impl Elements {
    /// Checks the invariants; panics at the first that does not hold.
    pub(crate) fn check(&self) {
        let bytes: usize = self.iter().map(Block::bytes).sum();
        assert_eq!(self.block_bytes, bytes);
        let volatile = self.iter().filter(|block| block.deadline().is_some());
        assert_eq!(self.volatile_len(), volatile.count());
        let first = self.iter().filter_map(Block::deadline).min();
        assert_eq!(self.next_deadline(), first);
        for block in self.iter() {
            let found = self.get(block.key()).map(Block::start);
            assert_eq!(found, Some(block.start()));
        }
    }
}
