//! Announcing the changes of an execution, under its locks, when its effects are in the log.

use crate::engine::Engine;
use crate::key_changes::{ChangeKind, KeyChange, KeyChanges};
use crate::keys::DbKey;
use crate::session::Origin;
use crate::shard_tables::{Locked, ShardTables};

/// Where the changes of an execution go.
pub(super) struct FanOut<'a, 'k> {
    /// Its engine.
    pub(super) engine: &'a Engine,
    /// The shards it has locked.
    pub(super) locked: &'a mut Locked<'k>,
    /// Keys that blocked clients may be served from.
    pub(super) ready: &'a mut Vec<DbKey>,
    /// The log offset behind its effects.
    pub(super) after: u64,
    /// Where it came from.
    pub(super) origin: Origin,
}

impl FanOut<'_, '_> {
    /// Passes each change to its listeners once, and clears the list of changes.
    #[cold]
    pub(super) fn announce(self, changes: &mut KeyChanges) {
        let listeners = &self.engine.key_listeners;
        // Observers get no changes from files: these were announced when clients made them.
        let observes = self.origin == Origin::Client && listeners.has_observers();
        for change in changes.iter(self.after) {
            let (db, key) = (change.db, change.key.bytes);
            let tables = &self.locked.held(change.key.hash).attachments;
            if change.kind.breaks_watch() && !tables.watched.is_empty() {
                tables.watched.touch(db, key);
            }
            let is_last = |last: &DbKey| last.is(db, key);
            if is_waited_for(tables, &change) && !self.ready.last().is_some_and(is_last) {
                self.ready.push(DbKey::new(db, key));
            }
            if observes {
                listeners.tell(&change);
            }
        }
        changes.clear();
    }
}

/// True when clients are blocked on this key and the change may serve them or end their wait.
fn is_waited_for(tables: &ShardTables, change: &KeyChange<'_>) -> bool {
    use ChangeKind::{Evicted, Expired, Gone, Ready};
    let (db, key) = (change.db, change.key.bytes);
    match change.kind {
        Ready => tables.waiting.has(db, key),
        Gone | Expired | Evicted => tables.waiting.wakes_on_delete(db, key),
        _ => false,
    }
}
