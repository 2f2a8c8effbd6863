//! The hook that sees every change of data before it happens: how a snapshot keeps the old values.
//!
//! Every change of an entry goes through `Shard::entry_mut` or `Shard::insert`, and both call
//! `before_change` first. Each database has a frontier, a position in hash order: the hook is called only
//! for entries at or behind it. Without a hook all frontiers stand at the end, so that the whole mechanism
//! costs one comparison with a number in a cache line that the operation needs anyway.
//!
//! A snapshot sets the hook while it holds all locks (every frontier then stands at 0) and walks each
//! database with [`crate::Shard::walk_frontier`], which moves the frontier along.

use crate::entry::EntryRef;
use crate::hash::KeyHash;

/// Sees changes of a shard before they happen, under the shard's lock.
///
/// The hook may be called more than once for one key; which keys it has seen since the snapshot began is
/// its own to remember. LRU and LFU fields change without a call.
pub trait ChangeHook: Send {
    /// The entry is about to be changed or removed; or, with `None`, a key with this hash is about to be
    /// inserted.
    fn before_change(&mut self, db: u32, hash: KeyHash, key: &[u8], entry: Option<EntryRef<'_>>);

    /// The two databases are about to change numbers, with their frontiers.
    fn before_swap(&mut self, a: u32, b: u32);

    /// The database is about to lose all its entries; these are the ones at or behind the frontier. The
    /// frontier moves to the end.
    fn before_clear(&mut self, db: u32, entries: &mut dyn Iterator<Item = EntryRef<'_>>);
}

/// The frontier of a database that no hook watches.
pub(crate) const FRONTIER_END: u64 = u64::MAX;

/// Calls the hook when the entry is at or behind the frontier.
#[inline]
pub(crate) fn before_change(
    hook: &mut Option<Box<dyn ChangeHook>>,
    frontier: u64,
    db: u32,
    hash: KeyHash,
    key: &[u8],
    entry: Option<EntryRef<'_>>,
) {
    if hash.0 >= frontier {
        call(hook, db, hash, key, entry);
    }
}

#[cold]
fn call(
    hook: &mut Option<Box<dyn ChangeHook>>,
    db: u32,
    hash: KeyHash,
    key: &[u8],
    entry: Option<EntryRef<'_>>,
) {
    if let Some(hook) = hook {
        hook.before_change(db, hash, key, entry);
    }
}
