//! The change hook, called before every change of data: a snapshot keeps old values with it.
//!
//! Every change of an entry goes through `Shard::entry_mut`, `Shard::insert` or the expiry of its
//! database, and all of them call [`before_change`] first. Each database has a frontier, a position
//! in hash order. The hook is not called for entries before it. Without a hook all frontiers stand
//! at the end, so that the whole mechanism costs one comparison with a number in a cache line that
//! the operation needs anyway.
//!
//! At or behind the frontier one bit of an entry, its mark, means that the hook is not called for
//! it: it was called for the entry before, or the entry is younger than the hook. So the hook
//! stores no keys. Invariants while a hook is set:
//!
//! - no entry before the frontier is marked, so no entry is when all frontiers stand at the end;
//! - an entry behind the frontier without a mark is unchanged since the hook was set.
//!
//! A snapshot sets the hook while it holds all locks (every frontier then stands at 0) and moves
//! the frontiers along with [`crate::Shard::walk`], which visits unmarked entries and removes the
//! marks. When the hook is removed before the walk is done, marks may be left: frontiers then stay
//! where they are, nothing is marked any more, and the walk must be completed before the next hook
//! is set.

use crate::db::{Cleared, Database, FRONTIER_END};
use crate::entry::{Block, EntryRef};
use crate::hash::{Hasher, KeyHash};
use smallvec::SmallVec;
use std::ops::ControlFlow;

/// Called before changes of a shard, under the shard's lock. LRU and LFU fields change without a
/// call.
pub trait ChangeHook: Send {
    /// The entry, which was there when the hook was set, is about to be changed or removed for the
    /// first time since.
    fn before_change(&mut self, db: u32, entry: EntryRef<'_>);

    /// The two databases are about to change numbers, with their frontiers.
    fn before_swap(&mut self, a: u32, b: u32);

    /// The database has been emptied. `rest` holds its entries; [`Rest::walk`] visits those that
    /// the walk has not reached and that were not changed before. Their memory is freed when the
    /// hook drops `rest`.
    fn cleared(&mut self, db: u32, rest: Rest);
}

/// Calls the hook for an unmarked entry that is about to be changed, and marks the entry. The
/// caller borrows the database exclusively.
#[inline]
pub(crate) fn before_change(
    hook: &mut Option<Box<dyn ChangeHook>>,
    db: &mut Database,
    number: u32,
    hash: KeyHash,
    block: Block,
) {
    if hash.0 >= db.frontier {
        save(hook, db, number, block);
    }
}

#[cold]
fn save(hook: &mut Option<Box<dyn ChangeHook>>, db: &mut Database, number: u32, block: Block) {
    if let Some(hook) = hook
        && db.frontier != FRONTIER_END
        && !block.is_saved()
    {
        // SAFETY: the block stays as it is during the call, because the database is borrowed.
        hook.before_change(number, unsafe { EntryRef::new(block) });
        db.marked = true;
        // SAFETY: the database is borrowed exclusively, and the borrow of the hook has ended.
        unsafe { block.set_saved(true) };
    }
}

/// Marks an entry that is about to be inserted behind the frontier: it is younger than the hook.
#[inline]
pub(crate) fn before_insert(
    hook: &Option<Box<dyn ChangeHook>>,
    db: &mut Database,
    hash: KeyHash,
    block: Block,
) {
    if hash.0 >= db.frontier && hook.is_some() && db.frontier != FRONTIER_END {
        db.marked = true;
        // SAFETY: the block is in no table yet.
        unsafe { block.set_saved(true) };
    }
}

/// Visits the blocks of the next bucket at `position` in the order of their hashes, all of the same
/// hash or none, until `visit` breaks. Returns the position after the visited ones,
/// [`FRONTIER_END`] at the end.
fn walk_bucket(
    db: &Database,
    hasher: &Hasher,
    position: u64,
    mut visit: impl FnMut(Block) -> ControlFlow<()>,
) -> u64 {
    let mut blocks: SmallVec<[(u64, Block); 16]> = SmallVec::new();
    let position = position.max(db.place.origin());
    let next = db.table.scan(position, hasher, |ptr| {
        // SAFETY: the table holds live blocks, and it is borrowed.
        let block = unsafe { Block::from_ptr(ptr) };
        blocks.push((hasher.hash(block.key()).0, block));
    });
    blocks.sort_unstable_by_key(|(hash, _)| *hash);
    for group in 0..blocks.len() {
        let Some((hash, block)) = blocks.get(group) else {
            break;
        };
        let flow = visit(*block);
        match blocks.get(group + 1) {
            Some((other, _)) if flow.is_break() && other != hash => return *other,
            _ => {}
        }
    }
    if next == 0 { FRONTIER_END } else { next }
}

/// The hook's own walk through a database: see [`crate::Shard::walk`].
pub(crate) fn walk(
    db: &mut Database,
    hasher: &Hasher,
    mut visit: impl FnMut(EntryRef<'_>) -> ControlFlow<()>,
) {
    db.frontier = walk_bucket(db, hasher, db.frontier, |block| {
        if block.is_saved() {
            // SAFETY: the database is borrowed exclusively.
            unsafe { block.set_saved(false) };
            return ControlFlow::Continue(());
        }
        // SAFETY: the block stays as it is during the call, because the database is borrowed.
        visit(unsafe { EntryRef::new(block) })
    });
    if db.frontier == FRONTIER_END {
        db.marked = false;
    }
}

/// The entries of a database that was cleared before the walk had reached its end. They do not
/// change any more, so they are read without a lock.
pub struct Rest {
    content: Cleared,
    hasher: Hasher,
    frontier: u64,
}

impl Rest {
    pub(crate) fn new(content: Cleared, hasher: Hasher, frontier: u64) -> Rest {
        Rest {
            content,
            hasher,
            frontier,
        }
    }

    /// As [`crate::Shard::walk`]: visits unmarked entries until `visit` breaks, at most one
    /// bucket's worth, and moves on behind them. False at the end.
    pub fn walk(&mut self, mut visit: impl FnMut(EntryRef<'_>) -> ControlFlow<()>) -> bool {
        if self.frontier == FRONTIER_END {
            return false;
        }
        let db = self.content.database();
        self.frontier = walk_bucket(db, &self.hasher, self.frontier, |block| {
            if block.is_saved() {
                ControlFlow::Continue(())
            } else {
                // SAFETY: the block stays as it is, because the cleared database is borrowed.
                visit(unsafe { EntryRef::new(block) })
            }
        });
        self.frontier != FRONTIER_END
    }
}
