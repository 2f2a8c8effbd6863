//! The large form of hashes and sets: elements in blocks of their own, found through a hash table.

mod ahead;
mod block;
mod undo;

use crate::deadlines::{Deadlines, FieldDeadline};
use crate::hash_seed::{Ahead, Scatter, hash_of};
use crate::journal;
use crate::table::{Found, HashOf, Slot, Table, cursor};
use ahead::Delay;
pub(crate) use block::Block;
use std::ops::ControlFlow;
use std::ptr::NonNull;

/// Tries to find a random element that is not past its deadline before all are looked at.
const RANDOM_TRIES: usize = 32;

/// After so many insertions a look at whether the table is skewed, before lookups could become
/// slow.
const SKEW_CHECK: usize = 32;

/// Elements with a key (a member, or a field with a value), each at most once.
///
/// # Invariants
/// * The table holds blocks that only this struct owns, each under the scattered hash of its key.
/// * `block_bytes` is the sum of their sizes.
/// * The order of hashes changes at most once, when the table has become skewed.
/// * The index has exactly the elements with a deadline, and is there only when there are any.
pub(crate) struct Elements {
    table: Table,
    block_bytes: usize,
    deadlines: Option<Box<Deadlines>>,
    scatter: Scatter,
    journal: journal::Slot<undo::Before>,
}

// SAFETY: the struct owns the blocks that its table and its index point to; methods taking &self
// only read.
unsafe impl Send for Elements {}
// SAFETY: methods taking &self only read the blocks.
unsafe impl Sync for Elements {}

/// Hashes the keys of blocks.
struct KeyHash(Scatter);

impl HashOf for KeyHash {
    fn hash(&self, ptr: NonNull<u8>) -> u64 {
        // SAFETY: this hasher goes with tables of `Elements` only, whose blocks leave the table
        // before they are freed. The borrow ends here.
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
            scatter: Scatter::NONE,
            journal: journal::Slot::default(),
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

    /// Borrows a block together with the struct.
    ///
    /// # Safety
    /// This struct owns the block: it is in the table, or just not yet, or just no more. Nothing
    /// frees it without `&mut self`, so it stays as it is during the borrow.
    #[inline(always)]
    unsafe fn block(&self, start: NonNull<u8>) -> Block<'_> {
        // SAFETY: the block is live, and it changes and goes only through &mut self.
        unsafe { Block::at(start) }
    }

    /// The block in a slot that was just found.
    ///
    /// # Safety
    /// The table has not changed since the slot was found.
    #[inline(always)]
    unsafe fn block_in(&self, slot: Slot) -> Block<'_> {
        // SAFETY: the slot is as it was found, so its block is in the table.
        unsafe { self.block(self.table.get(slot)) }
    }

    #[inline(always)]
    fn find(&self, hash: u64, key: &[u8]) -> Option<Slot> {
        let hash = self.scatter.apply(hash);
        // SAFETY: the table has only blocks of this struct.
        let is = |start| unsafe { self.block(start) }.key() == key;
        self.table.find(hash, is)
    }

    /// The element with this key.
    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Option<Block<'_>> {
        let slot = self.find(hash_of(key), key)?;
        // SAFETY: the slot was just found.
        Some(unsafe { self.block_in(slot) })
    }

    /// Looks up which element may have this hash and starts bringing it into the cache, once its
    /// bucket is there.
    #[inline(always)]
    pub(crate) fn request(&self, hash: u64) -> Found {
        let slot = self.table.find(self.scatter.apply(hash), |_| true);
        slot.map_or(Found::Nothing, |slot| {
            let start = self.table.get(slot);
            ahead::prefetch_short(start);
            Found::First(start)
        })
    }

    /// Whether there is an element with this key, given what [`Elements::request`] or
    /// [`Elements::join`] found for it. Calls `hash` only when that is not enough.
    ///
    /// # Safety
    /// `found` was found in these elements, which have not changed since.
    #[inline(always)]
    pub(crate) unsafe fn confirm(
        &self,
        found: Found,
        hash: impl FnOnce() -> u64,
        mut is: impl FnMut(&[u8]) -> bool,
    ) -> bool {
        match found {
            Found::Nothing => false,
            // SAFETY: the block was in the table when it was found, and the elements did not
            // change.
            Found::First(start) if is(unsafe { self.block(start) }.key()) => true,
            Found::First(_) | Found::Unknown => {
                // SAFETY: the table has only blocks of this struct.
                let is = |start| is(unsafe { self.block(start) }.key());
                self.table.find(self.scatter.apply(hash()), is).is_some()
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

    /// One step of looking ahead for an element with this hash.
    #[inline]
    pub(crate) fn look_ahead(&self, hash: u64, step: Ahead) {
        match step {
            Ahead::Bucket => self.prefetch_bucket(hash),
            Ahead::Elements => self.prefetch_entry(hash),
        }
    }

    /// Looks for many elements, `N` at a time, so that their cache misses overlap. Passes to
    /// `visit` what it found for each key, in the order of the keys.
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
                // SAFETY: the slot was just found.
                visit(slot.map(|slot| unsafe { self.block_in(slot) }));
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
            self.note(key);
            // SAFETY: the block is new, and the key is absent.
            unsafe { self.insert(hash, block::create(key, None, None)) };
        }
        new
    }

    /// Adds an element whose key is absent.
    pub(crate) fn add_absent(&mut self, key: &[u8], value: Option<&[u8]>) {
        debug_assert!(self.get(key).is_none());
        self.note(key);
        // SAFETY: the block is new.
        unsafe { self.insert(hash_of(key), block::create(key, value, None)) };
    }

    /// Takes over a new block whose key is absent.
    ///
    /// # Safety
    /// The block is live and has no other owner.
    unsafe fn insert(&mut self, hash: u64, start: NonNull<u8>) {
        // SAFETY: this struct becomes the owner of the block.
        let block = unsafe { self.block(start) };
        let (bytes, deadline) = (block.bytes(), block.deadline());
        self.block_bytes += bytes;
        self.index(deadline, start);
        let hasher = self.hasher();
        let hash = self.scatter.apply(hash);
        self.table.insert(hash, start, &hasher);
        if self.len().is_multiple_of(SKEW_CHECK)
            && self.in_common_order()
            && self.table.is_skewed(hash)
        {
            self.reorder();
        }
    }

    /// Builds the table anew in an order of its own.
    #[cold]
    fn reorder(&mut self) {
        self.scatter = Scatter::new();
        let hasher = self.hasher();
        let skewed = std::mem::replace(&mut self.table, Table::new(0));
        for start in ahead::elements(&skewed) {
            self.table.insert(hasher.hash(start), start, &hasher);
        }
    }

    /// Whether this table and others of which that is true have their elements in the same order.
    pub(crate) fn in_common_order(&self) -> bool {
        self.scatter == Scatter::NONE
    }

    /// Visits all elements that another table in common order may have too, with `all` also the
    /// others, each with what was found for it there. Both are brought into the cache before.
    pub(crate) fn join<'a>(
        &'a self,
        other: &Elements,
        all: bool,
        mut visit: impl FnMut(Block<'a>, Found) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        debug_assert!(self.in_common_order() && other.in_common_order());
        let mut coming = Delay::default();
        self.table.join(&other.table, |start, found| {
            if let Found::First(start) = found {
                ahead::prefetch_short(start);
            } else if !all && found == Found::Nothing {
                return ControlFlow::Continue(());
            }
            ahead::prefetch_short(start);
            match coming.exchange((start, found)) {
                // SAFETY: `start` is in the table of this struct, which is borrowed for 'a.
                Some((start, found)) => visit(unsafe { self.block(start) }, found),
                None => ControlFlow::Continue(()),
            }
        })?;
        coming.rest().try_for_each(|(start, found)| {
            // SAFETY: `start` is in the table of this struct, which is borrowed for 'a.
            visit(unsafe { self.block(start) }, found)
        })
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
        self.note(key);
        let hash = hash_of(key);
        let Some(slot) = self.find(hash, key) else {
            let deadline = match deadline {
                FieldDeadline::At(at) => Some(at),
                FieldDeadline::Clear | FieldDeadline::Keep => None,
            };
            // SAFETY: the block is new.
            unsafe { self.insert(hash, block::create(key, Some(value), deadline)) };
            return true;
        };
        let start = self.table.get(slot);
        // SAFETY: the slot was just found.
        let before = unsafe { self.block_in(slot) }.deadline();
        let after = match deadline {
            FieldDeadline::At(at) => Some(at),
            FieldDeadline::Keep => before,
            FieldDeadline::Clear => None,
        };
        // SAFETY: &mut self keeps other borrows away; elements that are set have a value.
        if before == after && unsafe { block::write_value(start, value) } {
            return false;
        }
        // SAFETY: the table has not changed since the slot was found; the replacement is new.
        unsafe {
            let replacement = self.block_in(slot).recreate(Some(value), after);
            self.replace(slot, replacement);
        }
        false
    }

    /// Puts a new block in the place of another with the same key, which is freed.
    ///
    /// # Safety
    /// The replacement is live and has no other owner.
    unsafe fn replace(&mut self, slot: Slot, replacement: NonNull<u8>) {
        // SAFETY: this struct becomes the owner of the replacement.
        let new = unsafe { self.block(replacement) };
        let (bytes, deadline) = (new.bytes(), new.deadline());
        let start = self.table.replace(slot, replacement);
        // SAFETY: the block was in the table until now.
        unsafe { self.discard(start) };
        self.block_bytes += bytes;
        self.index(deadline, replacement);
    }

    /// Frees a block that has left the table.
    ///
    /// # Safety
    /// The block was in the table and is there no more; it is not used again.
    unsafe fn discard(&mut self, start: NonNull<u8>) {
        // SAFETY: this struct still owns the block.
        let block = unsafe { self.block(start) };
        let (bytes, deadline) = (block.bytes(), block.deadline());
        self.block_bytes -= bytes;
        self.unindex(deadline, start);
        // SAFETY: neither the table nor the index has it any more, and &mut self keeps borrows
        // away.
        unsafe { block::free(start) };
    }

    fn take(&mut self, slot: Slot) {
        let hasher = self.hasher();
        let start = self.table.remove(slot, &hasher);
        // SAFETY: the block was in the table until now.
        unsafe { self.discard(start) };
    }

    /// Removes an element. True when it was there.
    pub(crate) fn remove(&mut self, key: &[u8]) -> bool {
        let found = self.find(hash_of(key), key);
        if let Some(slot) = found {
            self.note(key);
            self.take(slot);
        }
        found.is_some()
    }

    /// Sets or clears the deadline of an element. False when there is no such element.
    pub(crate) fn set_deadline(&mut self, key: &[u8], deadline: Option<u64>) -> bool {
        let Some(slot) = self.find(hash_of(key), key) else {
            return false;
        };
        self.note(key);
        let start = self.table.get(slot);
        // SAFETY: the slot was just found.
        let before = unsafe { self.block_in(slot) }.deadline();
        match (before, deadline) {
            (None, None) => {}
            (Some(_), Some(after)) => {
                self.unindex(before, start);
                // SAFETY: &mut self keeps other borrows away. The block has a deadline to write
                // over.
                unsafe { block::write_deadline(start, after) };
                self.index(deadline, start);
            }
            (None, Some(_)) | (Some(_), None) => {
                // SAFETY: the table has not changed since the slot was found; the replacement is
                // new.
                unsafe {
                    let block = self.block_in(slot);
                    let replacement = block.recreate(block.own_value(), deadline);
                    self.replace(slot, replacement);
                }
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

    /// Removes at most `budget` elements whose deadline is not after `now_ms`, the earliest first.
    /// Passes each key to `expired` before the removal. Returns how many.
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
            // SAFETY: the index has blocks of the table only.
            let key = unsafe { self.block(start) }.key();
            let hash = self.scatter.apply(hash_of(key));
            let Some(slot) = self.table.find(hash, |found| found == start) else {
                break;
            };
            expired(key);
            if self.journal.is_open() {
                let key = key.to_vec();
                self.note(&key);
            }
            self.take(slot);
            count += 1;
        }
        count
    }

    /// A copy without deadlines.
    pub(crate) fn clone_lasting(&self) -> Elements {
        let mut copy = self.clone();
        let volatile: Vec<_> = self.iter().filter(|it| it.deadline().is_some()).collect();
        for block in volatile {
            copy.set_deadline(block.key(), None);
        }
        copy
    }

    /// All elements, in the order of their hashes more or less.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Block<'_>> {
        // SAFETY: the table has only blocks of this struct.
        ahead::elements(&self.table).map(|start| unsafe { self.block(start) })
    }

    /// Visits a few elements from a cursor on and returns the next cursor, 0 at the end, with the
    /// guarantees of [`crate::table`]. The first cursor is 0. The lowest bit of a cursor is the
    /// order of the hashes, the 48 bits above it are a cursor of the table.
    ///
    /// A cursor of the order before [`Elements::reorder`] starts again: the positions of one order
    /// mean nothing in the other. Such a scan visits every element, some of them twice.
    pub(crate) fn scan<'a>(&'a self, cursor: u64, mut visit: impl FnMut(Block<'a>)) -> u64 {
        let order = u64::from(!self.in_common_order());
        let (table_cursor, cursor_order) = (cursor >> 1, cursor & 1);
        let Some(position) = cursor::to_position(table_cursor) else {
            return 0;
        };
        let position = if cursor_order == order { position } else { 0 };
        // SAFETY: the table has only blocks of this struct.
        let visit = |start| visit(unsafe { self.block(start) });
        match self.table.scan(position, &self.hasher(), visit) {
            0 => 0,
            next => cursor::from_position(next) << 1 | order,
        }
    }

    /// A random element that is not past its deadline at `now_ms`; 0 sees all. `None` when all are.
    pub(crate) fn random(&self, now_ms: u64, rng: &mut impl FnMut() -> u64) -> Option<Block<'_>> {
        for _ in 0..RANDOM_TRIES {
            let slot = self.table.random(rng)?;
            // SAFETY: the slot was just found.
            let block = unsafe { self.block_in(slot) };
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
        // SAFETY: the slot was just found.
        let key = unsafe { self.block_in(slot) }.key().to_vec();
        self.note(&key);
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
        let mut deadlines = Deadlines::default();
        let table = self.table.duplicate(|start| {
            // SAFETY: the table has only blocks of this struct.
            let block = unsafe { self.block(start) };
            let copy = block.duplicate();
            if let Some(deadline) = block.deadline() {
                deadlines.insert(deadline, copy);
            }
            copy
        });
        Elements {
            table,
            block_bytes: self.block_bytes,
            deadlines: (!deadlines.is_empty()).then(|| Box::new(deadlines)),
            scatter: self.scatter,
            journal: journal::Slot::default(),
        }
    }
}

impl Drop for Elements {
    fn drop(&mut self) {
        for start in ahead::elements(&self.table) {
            // SAFETY: the blocks are owned by this struct alone; the table is only emptied
            // afterwards, and frees without reading them.
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
