//! Expiry of one database: looks up the entries of handles that fire.
//!
//! Invariant: for every entry with a deadline there is a handle, filed at the deadline or before;
//! likewise for every entry with elements that have deadlines, filed at the earliest of these or
//! before. A handle that fires too early is filed again; one that finds nothing is dropped.
//! Repeated changes of deadlines can leave several handles for one key. When there are too many, a
//! walk through the table fills a new wheel, some buckets per call, while the old wheel still
//! fires; then the old one is dropped, with all stale handles.

use crate::db::{Database, FRONTIER_END};
use crate::entry::{Block, Removed, Type, Value};
use crate::hash::{Hasher, KeyHash};
use crate::hook::{self, ChangeHook};
use crate::undo;
use crate::wheel::{BATCH, Expiry, Rebuild, Wanted, Wheel};
use values::table::Slot;

/// Stale handles up to this number never cause a rebuild.
const STALE_HANDLES_MIN: usize = 1024;
/// One stale handle is tolerated for so many entries, because a rebuild walks over all of them.
const ENTRIES_PER_STALE_HANDLE: usize = 4;
/// A clock that goes back by more than this makes the wheel begin anew, in milliseconds. After a
/// smaller step keys that get deadlines during the step expire late by at most the step.
const CLOCK_STEP_MAX_MS: u64 = 100;
/// Is called for everything that expires. A closure is called for entries only.
pub trait OnExpired {
    /// The entry of a key is about to be removed, because its deadline has passed.
    fn entry(&mut self, db: u32, key: &[u8]);

    /// An element of a collection is removed, because its deadline has passed.
    fn element(&mut self, db: u32, key: &[u8], kind: Type, element: &[u8]) {
        let _ = (db, key, kind, element);
    }

    /// The entry of a key is about to be removed, because its last element has expired.
    fn emptied(&mut self, db: u32, key: &[u8]) {
        let _ = (db, key);
    }
}

impl<F: FnMut(u32, &[u8])> OnExpired for F {
    fn entry(&mut self, db: u32, key: &[u8]) {
        self(db, key);
    }
}

/// The state of one call of the expiry cycle, shared between databases.
pub(crate) struct Cycle<'a> {
    pub(crate) now_ms: u64,
    /// Units of work left: handles looked up and buckets walked.
    pub(crate) budget: usize,
    pub(crate) db: u32,
    pub(crate) hasher: Hasher,
    pub(crate) hook: &'a mut Option<Box<dyn ChangeHook>>,
    pub(crate) on_expired: &'a mut dyn OnExpired,
    pub(crate) expired: usize,
    /// Values whose freeing is worth another thread.
    pub(crate) garbage: Vec<Value>,
}

impl Database {
    /// Files a handle. Returns when the wheel has to be advanced because of it.
    pub(crate) fn file(&mut self, hash: KeyHash, deadline: u64) -> u64 {
        let too_many = self.stale_handles_max();
        let seen = self.expiry.seen_ms;
        let wheel = self
            .expiry
            .wheel
            .get_or_insert_with(|| Box::new(Wheel::new(seen)));
        let due_ms = wheel.file(hash.0, deadline);
        // Too many handles need a rebuild, which the next cycle begins: at once.
        if self.expiry.rebuild.is_none() && wheel.handles() > too_many {
            seen
        } else {
            due_ms
        }
    }

    fn stale_handles_max(&self) -> usize {
        2 * (self.volatile + self.volatile_elements())
            + STALE_HANDLES_MIN
            + self.table.len() / ENTRIES_PER_STALE_HANDLE
    }

    /// Expires due entries and does other work of the wheel until the budget is used up. Returns
    /// when there is work again.
    pub(crate) fn expire(&mut self, cycle: &mut Cycle<'_>) -> Wanted {
        if self.expiry.wheel.is_none() {
            self.expiry.seen_ms = cycle.now_ms;
            return Wanted::Never;
        }
        self.begin_cycle(cycle.now_ms);
        let mut batch = [0; BATCH];
        while cycle.budget > 0 {
            let count = self.expiry.take_batch(&mut batch, cycle.budget);
            let Some(handles) = batch.get(..count).filter(|handles| !handles.is_empty()) else {
                break;
            };
            cycle.budget -= count;
            handles
                .iter()
                .for_each(|hash| self.table.prefetch_bucket(*hash));
            handles
                .iter()
                .for_each(|hash| self.table.prefetch_entry(*hash));
            for hash in handles {
                self.fire(KeyHash(*hash), cycle);
            }
        }
        while cycle.budget > 0 && self.expiry.rebuild.is_some() {
            cycle.budget -= 1;
            self.walk(&cycle.hasher);
        }
        if self.volatile == 0 && !self.has_volatile_elements() {
            // All handles that are left are stale.
            self.expiry = Expiry::new(cycle.now_ms);
        }
        self.wanted()
    }

    fn begin_cycle(&mut self, now_ms: u64) {
        self.expiry.seen_ms = now_ms;
        if self.wants_rebuild(now_ms) {
            let fresh = Box::new(Wheel::new(now_ms));
            let old = self.expiry.wheel.replace(fresh);
            self.expiry.rebuild = old.map(|old| Rebuild {
                old,
                walked: self.place.origin(),
            });
        }
        self.expiry.advance(now_ms);
    }

    fn wants_rebuild(&self, now_ms: u64) -> bool {
        let Some(wheel) = self
            .expiry
            .wheel
            .as_ref()
            .filter(|_| self.expiry.rebuild.is_none())
        else {
            return false;
        };
        let too_many = self.stale_handles_max();
        wheel.handles() > too_many
            || wheel.is_sparse(too_many)
            || wheel.cursor() > now_ms.saturating_add(CLOCK_STEP_MAX_MS)
    }

    fn wanted(&self) -> Wanted {
        // While a walk runs there is always work; the old wheel fires along with it.
        if self.expiry.rebuild.is_some() || !self.expiry.unfinished.is_empty() {
            return Wanted::Now;
        }
        self.expiry
            .wheel
            .as_ref()
            .map_or(Wanted::Never, |wheel| wheel.wanted())
    }

    /// Files the entries of the next bucket in the new wheel.
    fn walk(&mut self, hasher: &Hasher) {
        let (Some(rebuild), Some(wheel)) = (&mut self.expiry.rebuild, &mut self.expiry.wheel)
        else {
            return;
        };
        let next = self.table.scan(rebuild.walked, hasher, |ptr| {
            // SAFETY: the table holds live blocks, and it is borrowed.
            let block = unsafe { Block::from_ptr(ptr) };
            if let Some(deadline) = block.deadline() {
                wheel.file(hasher.hash(block.key()).0, deadline);
            }
            if !self.elements.is_empty() {
                let hash = hasher.hash(block.key()).0;
                if let Some(filed) = self.elements.get(&hash) {
                    wheel.file(hash, filed.at_ms());
                }
            }
        });
        rebuild.walked = next;
        if next == 0 {
            self.expiry.rebuild = None;
        }
    }

    /// Looks at the keys that a handle means: expires those that are due, files the handle again
    /// for the others.
    fn fire(&mut self, hash: KeyHash, cycle: &mut Cycle<'_>) {
        if self
            .elements_filed(hash)
            .is_some_and(|filed| filed <= cycle.now_ms)
        {
            self.fire_elements(hash, cycle);
        }
        loop {
            let mut due: Option<Slot> = None;
            // One handle for the entry and its elements, at the earlier time: with two, each firing
            // would file two again. Elements that are due already have a handle among the
            // unfinished.
            let elements = self.elements_filed(hash);
            let mut later: Option<u64> = elements.filter(|next| *next > cycle.now_ms);
            self.table.candidates(hash.0, |slot, ptr| {
                // SAFETY: the table holds live blocks, and it is borrowed.
                let block = unsafe { Block::from_ptr(ptr) };
                match block.deadline() {
                    None => {}
                    Some(deadline) if deadline <= cycle.now_ms => due = Some(slot),
                    // Candidates agree in most bits of the hash only.
                    Some(deadline) if cycle.hasher.hash(block.key()) == hash => {
                        later = Some(later.map_or(deadline, |other| other.min(deadline)));
                    }
                    Some(_) => {}
                }
            });
            match (due, later) {
                (Some(slot), _) => self.expire_entry(slot, cycle),
                (None, Some(deadline)) => return self.file_again(hash, deadline),
                (None, None) => return,
            }
        }
    }

    /// Expires elements of the collection with this hash, as many as the budget allows, and files
    /// the next.
    fn fire_elements(&mut self, hash: KeyHash, cycle: &mut Cycle<'_>) {
        let mut found: Option<Slot> = None;
        self.table.candidates(hash.0, |slot, ptr| {
            // SAFETY: the table holds live blocks, and it is borrowed.
            let block = unsafe { Block::from_ptr(ptr) };
            let next = block.value().next_element_deadline();
            if next.is_some() && cycle.hasher.hash(block.key()) == hash {
                found = Some(slot);
            }
        });
        let Some(slot) = found else {
            return self.elements_expired(hash, None, Type::Hash);
        };
        let deadline = self.entry(slot).deadline();
        let is_due = deadline.is_some_and(|at| at <= cycle.now_ms);
        if is_due {
            // The whole entry is removed next.
            return self.elements_expired(hash, None, Type::Hash);
        }
        self.expire_elements(hash, slot, usize::MAX, cycle);
    }

    /// Expires up to `limit` due elements of an entry, and the entry when none is left. Elements
    /// beyond the budget are filed again.
    pub(crate) fn expire_elements(
        &mut self,
        hash: KeyHash,
        slot: Slot,
        limit: usize,
        cycle: &mut Cycle<'_>,
    ) {
        // SAFETY: the database is borrowed exclusively; `remove` below is the last use.
        let block = unsafe { self.block(slot) };
        if undo::is_recording() {
            // SAFETY: the database is borrowed exclusively.
            unsafe { undo::before_change(cycle.db, hash, block, undo::Change::Edit) };
        }
        hook::before_change(cycle.hook, self, cycle.db, hash, block);
        self.sizes.open(hash, block);
        let (db, kind) = (cycle.db, block.value_type());
        let on_expired = &mut *cycle.on_expired;
        // SAFETY: the database is borrowed exclusively; key and value of a block do not overlap.
        let value = unsafe { block.value_mut() };
        // The look at the handle may have used the budget up. At least one element is removed, so
        // that every call makes progress.
        let limit = limit.min(cycle.budget.max(1));
        let count = value.expire_elements(cycle.now_ms, limit, &mut |element| {
            on_expired.element(db, block.key(), kind, element);
        });
        cycle.budget = cycle.budget.saturating_sub(count);
        cycle.expired += count;
        let is_emptied = kind != Type::Stream && block.value().element_count() == Some(0);
        if is_emptied {
            cycle.on_expired.emptied(db, block.key());
            let removed = self.remove(slot, &cycle.hasher);
            drop(undo::removed(cycle.db, hash, removed));
        } else {
            let next = block.value().next_element_deadline();
            self.elements_expired(hash, next, kind);
            if next.is_some_and(|next| next <= cycle.now_ms) {
                // Filed again it would count from the next millisecond only.
                self.expiry.unfinished.push(hash.0);
            }
        }
    }

    fn file_again(&mut self, hash: KeyHash, deadline: u64) {
        if let Some(wheel) = &mut self.expiry.wheel {
            wheel.file(hash.0, deadline);
        }
    }

    fn expire_entry(&mut self, slot: Slot, cycle: &mut Cycle<'_>) {
        // SAFETY: the database is borrowed exclusively; `remove` below is the last use.
        let block = unsafe { self.block(slot) };
        cycle.on_expired.entry(cycle.db, block.key());
        if self.frontier != FRONTIER_END {
            let hash = cycle.hasher.hash(block.key());
            hook::before_change(cycle.hook, self, cycle.db, hash, block);
        }
        let removed = Removed::new(self.remove(slot, &cycle.hasher));
        cycle.expired += 1;
        if removed.is_big() {
            cycle.garbage.push(removed.into_value());
        }
    }
}
