//! The locks of all shards, and how several of them are taken.

use super::held::Guards;
use super::patience::{GaveUp, PERIOD, Patience, Slices};
use super::right::Extension;
use super::sync::{self, AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering};
use crossbeam_utils::CachePadded;
use std::ops::{Deref, DerefMut};

/// The content under a lock.
pub(super) trait Content {
    /// When its expiry has work, in absolute unix milliseconds; `u64::MAX` for never.
    fn next_due_ms(&self) -> u64;
}

/// A shard with its lock, alone on its cache lines.
struct Cell<C> {
    /// A copy of the content's time, written when it is unlocked; threads read it without the lock
    /// to compute how long to sleep.
    next_due_ms: AtomicU64,
    content: Mutex<C>,
}

/// The locks.
pub(super) struct LockTable<C> {
    /// A power of two of them.
    cells: Box<[CachePadded<Cell<C>>]>,
    /// A thread has panicked while it held a lock.
    poisoned: AtomicBool,
    extension: Extension,
}

impl<C: Content> LockTable<C> {
    /// A table with a lock for each content; their number is a power of two.
    pub(super) fn new(contents: impl Iterator<Item = C>) -> LockTable<C> {
        let cell = |content: C| {
            CachePadded::new(Cell {
                next_due_ms: AtomicU64::new(content.next_due_ms()),
                content: Mutex::new(content),
            })
        };
        let cells: Box<[_]> = contents.map(cell).collect();
        assert!(cells.len().is_power_of_two());
        LockTable {
            cells,
            poisoned: AtomicBool::new(false),
            extension: Extension::new(),
        }
    }

    /// Number of locks.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    /// True when a thread has panicked while it held a lock.
    #[inline]
    pub(super) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Relaxed)
    }

    pub(super) fn extension(&self) -> &Extension {
        &self.extension
    }

    /// The published time of a content, `None` beyond the last one.
    pub(super) fn next_due_ms(&self, index: usize) -> Option<u64> {
        let cell = self.cells.get(index)?;
        Some(cell.next_due_ms.load(Ordering::Relaxed))
    }

    /// A content to look at, when its lock is free.
    #[inline]
    pub(super) fn peek(&self, index: usize) -> Option<MutexGuard<'_, C>> {
        self.cells[index].content.try_lock()
    }

    /// The cell of a lock. The number of cells is a power of two, so the mask keeps every index in
    /// range.
    #[inline]
    fn cell(&self, index: usize) -> &Cell<C> {
        &self.cells[index & (self.cells.len() - 1)]
    }

    #[inline]
    fn guard<'a>(&'a self, index: usize, content: MutexGuard<'a, C>) -> Guard<'a, C> {
        sync::hold();
        Guard {
            content,
            cell: self.cell(index),
            table: self,
            index: index & (self.cells.len() - 1),
        }
    }

    /// Takes a lock when it is free. Indices wrap at the number of locks.
    #[inline]
    pub(super) fn try_lock(&self, index: usize) -> Option<Guard<'_, C>> {
        let content = self.cell(index).content.try_lock()?;
        Some(self.guard(index, content))
    }

    /// Takes one lock, by a thread that holds no other or that has the extension right.
    #[inline]
    pub(super) fn lock(
        &self,
        index: usize,
        patience: &mut Patience<'_>,
    ) -> Result<Guard<'_, C>, GaveUp> {
        match self.try_lock(index) {
            Some(guard) => Ok(guard),
            None => self.wait(index, patience),
        }
    }

    /// [`LockTable::lock`] when the lock is not free.
    #[cold]
    pub(super) fn wait(
        &self,
        index: usize,
        patience: &mut Patience<'_>,
    ) -> Result<Guard<'_, C>, GaveUp> {
        loop {
            let mutex = &self.cell(index).content;
            let content = if patience.is_unlimited() {
                Some(mutex.lock())
            } else {
                mutex.try_lock_for(PERIOD)
            };
            if let Some(content) = content {
                return Ok(self.guard(index, content));
            }
            patience.ask()?;
        }
    }

    /// Takes several locks into an empty set; the indices are ascending. A request that waits while
    /// it holds locks releases them when the holder of the extension right waits too. The set is to
    /// be dropped when the request is given up.
    #[inline]
    pub(super) fn lock_many<'a>(
        &'a self,
        indices: impl Iterator<Item = usize> + Clone,
        guards: &mut impl Guards<'a, C>,
        patience: &mut Patience<'_>,
    ) -> Result<(), GaveUp> {
        for index in indices.clone() {
            let Some(content) = self.cell(index).content.try_lock() else {
                return self.lock_contended(indices, guards, patience);
            };
            // Built in place: a guard in an `Option` would be copied once more.
            guards.push(self.guard(index, content));
        }
        Ok(())
    }

    /// [`LockTable::lock_many`] from the first lock on that was not free.
    #[cold]
    fn lock_contended<'a>(
        &'a self,
        indices: impl Iterator<Item = usize> + Clone,
        guards: &mut impl Guards<'a, C>,
        patience: &mut Patience<'_>,
    ) -> Result<(), GaveUp> {
        // Dropped when the request has all its locks, or is given up.
        let mut gave_back = None;
        loop {
            let mut rest = indices.clone().skip(guards.len());
            loop {
                let Some(index) = rest.next() else {
                    return Ok(());
                };
                let guard = if guards.len() == 0 {
                    Some(self.lock(index, patience)?)
                } else {
                    self.lock_politely(index, patience)?
                };
                match guard {
                    Some(guard) => guards.push(guard),
                    None => break,
                }
            }
            if gave_back.is_none() {
                gave_back = self.extension.give_back();
            }
            if gave_back.is_some() {
                guards.clear();
                self.extension.wait_until_clear(patience)?;
            }
        }
    }

    /// Takes a lock for a request that holds others; `None` when it has to release them.
    fn lock_politely(
        &self,
        index: usize,
        patience: &mut Patience<'_>,
    ) -> Result<Option<Guard<'_, C>>, GaveUp> {
        if let Some(guard) = self.try_lock(index) {
            return Ok(Some(guard));
        }
        let mut slices = Slices::new();
        while !self.extension.is_extending() {
            let slice = slices.length();
            if let Some(content) = self.cell(index).content.try_lock_for(slice) {
                return Ok(Some(self.guard(index, content)));
            }
            if slices.is_period_over() {
                patience.ask()?;
            }
        }
        Ok(None)
    }
}

/// A lock that is held.
pub(super) struct Guard<'a, C: Content> {
    content: MutexGuard<'a, C>,
    cell: &'a Cell<C>,
    table: &'a LockTable<C>,
    index: usize,
}

impl<C: Content> Guard<'_, C> {
    /// The number of the lock.
    #[inline]
    pub(super) fn index(&self) -> usize {
        self.index
    }
}

impl<C: Content> Deref for Guard<'_, C> {
    type Target = C;

    #[inline]
    fn deref(&self) -> &C {
        &self.content
    }
}

impl<C: Content> DerefMut for Guard<'_, C> {
    #[inline]
    fn deref_mut(&mut self) -> &mut C {
        &mut self.content
    }
}

impl<C: Content> Drop for Guard<'_, C> {
    /// Publishes the time that is read without the lock. The lock is released after this.
    #[inline]
    fn drop(&mut self) {
        let next = self.content.next_due_ms();
        if self.cell.next_due_ms.load(Ordering::Relaxed) != next {
            self.cell.next_due_ms.store(next, Ordering::Relaxed);
        }
        if sync::panicking() {
            self.table.poisoned.store(true, Ordering::Relaxed);
        }
        sync::release();
    }
}
