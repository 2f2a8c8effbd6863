//! Announcing the changes of an execution, under its locks, when its effects are in the log.

use crate::engine::Engine;
use crate::key_changes::{ChangeKind, KeyChange, KeyChanges, What};
use crate::keys::{DbKey, Key};
use crate::notifications::Event;
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
    /// The client that made the changes; `None`: the server itself.
    pub(super) actor: Option<u64>,
}

impl FanOut<'_, '_> {
    /// Passes each change to its listeners once, and clears the list of changes.
    #[cold]
    pub(super) fn announce(mut self, changes: &mut KeyChanges) {
        let engine = self.engine;
        // What files hold was announced when it happened.
        let is_new = self.origin != Origin::Replay;
        let sends = is_new && engine.key_listeners.wants_events();
        let invalidates = is_new && engine.key_listeners.wants_changes();
        let mut steps = changes.steps().peekable();
        for (index, change) in changes.iter().enumerate() {
            while let Some(step) = steps.next_if(|step| step.behind <= index) {
                self.take(&step.what);
            }
            self.wake(&change);
            if invalidates && change.kind.breaks_watch() {
                let key = change.key;
                let table = &mut self.locked.held_mut(key.hash).attachments.tracking;
                engine.invalidate(table, key.bytes, self.actor, self.after);
            }
            if sends && let Some((class, name)) = change.event {
                let event = Event {
                    db: change.db,
                    key: change.key.bytes,
                    class,
                    name,
                    elements: change.elements,
                    after: self.after,
                };
                let notifications = &engine.notifications;
                notifications.send(&engine.pubsub, &engine.outboxes, &event);
            }
        }
        steps.for_each(|step| self.take(&step.what));
        if invalidates && engine.tracking.prefixes.count() > 0 {
            self.broadcast(changes);
        }
        changes.clear();
    }

    /// Transactions that watch the key fail, and clients that are blocked on it may be served.
    fn wake(&mut self, change: &KeyChange<'_>) {
        let (db, key) = (change.db, change.key.bytes);
        let tables = &self.locked.held(change.key.hash).attachments;
        if change.kind.breaks_watch() && !tables.watched.is_empty() {
            tables.watched.touch(db, key);
        }
        let is_last = |last: &DbKey| last.is(db, key);
        if is_waited_for(tables, change) && !self.ready.last().is_some_and(is_last) {
            self.ready.push(DbKey::new(db, key));
        }
    }

    /// One message for each prefix and client, with all keys that have changed.
    fn broadcast(&mut self, changes: &KeyChanges) {
        let changed = changes.iter().filter(|change| change.kind.breaks_watch());
        let keys = changed.map(|change| change.key.bytes);
        let engine = self.engine;
        let prefixes = &engine.tracking.prefixes;
        prefixes.invalidate(&engine.outboxes, keys, self.actor, self.after);
    }

    fn take(&mut self, what: &What) {
        let engine = self.engine;
        match what {
            What::Message {
                way,
                db,
                channel,
                payload,
            } => {
                if self.origin == Origin::Client {
                    engine.replicate_message(*way, *db, channel, payload);
                }
                let (pubsub, outboxes) = (&engine.pubsub, &engine.outboxes);
                pubsub.publish(outboxes, *way, channel, payload, self.after);
            }
            What::Emptied => engine.invalidate_all(self.locked, self.after),
            What::Read { tracker, key, hash } => {
                engine.remember_read(self.locked, tracker, Key::new(key, *hash));
            }
        }
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
