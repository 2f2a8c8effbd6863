//! Client-side caching (CLIENT TRACKING): clients that keep what they have read get a message when
//! it changes.
//!
//! In the default mode the server remembers, beside each shard, which clients have read which keys.
//! A command that reads registers its client under the lock of the read, and a change sends the
//! invalidation under the same lock: so an invalidation stands behind the reply with the old value
//! in the output of the client, and a client that applies messages in their order never keeps a
//! stale value. In broadcast mode a client names prefixes instead, and nothing is remembered.
//!
//! Keys are tracked by name, whatever their database. What is registered stays until the key
//! changes or the table is full; a client that has left is passed over then.

mod broadcast;
mod table;
mod tracker;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::P;
use crate::engine::Engine;
use crate::session::Session;
use crate::shard_tables::Locked;

pub use broadcast::{Collision, Prefixes, check_prefixes};
pub use table::TrackingTable;
pub use tracker::{Mode, Options, Tracker, Tracking};

use tracker::Keys;

/// All clients that track keys, and what is remembered for them in sum.
#[derive(Default)]
pub struct TrackingClients {
    clients: Mutex<HashMap<u64, Arc<Tracker>>>,
    /// Of clients in broadcast mode.
    pub prefixes: Prefixes,
    count: AtomicUsize,
    /// Keys in the tables of all shards.
    keys: AtomicUsize,
    /// Clients of all these keys.
    items: AtomicUsize,
}

/// So many clients of keys are remembered for each key that `tracking-table-max-keys` allows.
const ITEMS_PER_KEY: usize = 4;

impl TrackingClients {
    /// How many clients track keys.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many keys are remembered.
    pub fn key_count(&self) -> usize {
        self.keys.load(Ordering::Relaxed)
    }

    /// How many clients are remembered for all these keys.
    pub fn item_count(&self) -> usize {
        self.items.load(Ordering::Relaxed)
    }

    fn note_removed(&self, items: usize) {
        self.keys.fetch_sub(1, Ordering::Relaxed);
        self.items.fetch_sub(items, Ordering::Relaxed);
    }

    /// More is remembered than `max` keys allow; 0: any number.
    fn is_over(&self, max: usize) -> bool {
        let items_max = max.saturating_mul(ITEMS_PER_KEY);
        max > 0 && (self.key_count() > max || self.item_count() > items_max)
    }

    fn add(&self, engine: &Engine, tracker: &Arc<Tracker>) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.insert(tracker.id, Arc::clone(tracker));
        self.note_count(engine, clients.len());
    }

    fn remove(&self, engine: &Engine, tracker: &Tracker) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.remove(&tracker.id);
        self.note_count(engine, clients.len());
    }

    /// Called under the mutex of the clients.
    fn note_count(&self, engine: &Engine, count: usize) {
        self.count.store(count, Ordering::Relaxed);
        // Changes are noted while some client tracks.
        engine.key_listeners.listen_to_changes(count > 0);
    }

    fn all(&self) -> Vec<Arc<Tracker>> {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.values().cloned().collect()
    }
}

/// Most keys that are remembered; 0: any number.
fn keys_max(engine: &Engine) -> usize {
    usize::try_from(engine.config.int(P::TrackingTableMaxKeys)).unwrap_or(0)
}

impl Engine {
    /// CLIENT TRACKING ON for a client whose options have been checked.
    pub fn start_tracking(&self, session: &mut Session, options: Options) {
        match &mut session.tracking {
            Some(tracking) => tracking.change(options),
            place @ None => {
                let tracking = Tracking::new(&session.shared, options);
                self.tracking.add(self, &tracking.tracker);
                *place = Some(Box::new(tracking));
            }
        }
        let Some(tracking) = &mut session.tracking else {
            return;
        };
        if tracking.mode() == Mode::Broadcast {
            self.tracking.prefixes.add(tracking);
        }
        tracking.publish(&session.shared);
    }

    /// CLIENT TRACKING OFF, RESET, a disconnection. True when the client tracked keys. No
    /// invalidation comes into its outbox any more.
    pub fn stop_tracking(&self, session: &mut Session) -> bool {
        let Some(tracking) = session.tracking.take() else {
            return false;
        };
        self.tracking.prefixes.remove(&tracking);
        self.tracking.remove(self, &tracking.tracker);
        tracking.tracker.leave();
        Tracking::publish_none(&session.shared);
        true
    }

    /// Registers a client for a key that it has read, under the lock of the key's shard. A table
    /// that is full forgets another key of the shard, as if that had changed.
    pub(crate) fn remember_read(
        &self,
        locked: &mut Locked<'_>,
        tracker: &Arc<Tracker>,
        key: crate::keys::Key<'_>,
    ) {
        let Some(shard) = locked.shard_mut(key.hash) else {
            return;
        };
        let table = &mut shard.attachments.tracking;
        let registered = table.add(key.bytes, tracker);
        self.tracking
            .keys
            .fetch_add(usize::from(registered.is_new_key), Ordering::Relaxed);
        if registered.is_new_client {
            self.tracking.items.fetch_add(1, Ordering::Relaxed);
            if self.tracking.is_over(keys_max(self)) {
                self.forget_one(table, key.bytes);
            }
        }
    }

    /// Forgets a key of a table, but not `spared`.
    fn forget_one(&self, table: &mut TrackingTable, spared: &[u8]) -> bool {
        let Some((key, trackers)) = table.take_any(spared) else {
            return false;
        };
        self.tracking.note_removed(trackers.len());
        for tracker in &trackers {
            tracker.invalidate(self, &Keys::One(&key), 0);
        }
        true
    }

    /// Sends the invalidation of a key that has changed, to all that have read it since the last
    /// time. `actor` is the client that changed it.
    pub(crate) fn invalidate(
        &self,
        table: &mut TrackingTable,
        key: &[u8],
        actor: Option<u64>,
        after: u64,
    ) {
        let Some(trackers) = table.take(key) else {
            return;
        };
        self.tracking.note_removed(trackers.len());
        for tracker in &trackers {
            if !tracker.is_spared(actor) {
                tracker.invalidate(self, &Keys::One(key), after);
            }
        }
    }

    /// The data has been emptied under these locks, which are all: whatever a client keeps is
    /// invalid.
    pub(crate) fn invalidate_all(&self, locked: &mut Locked<'_>, after: u64) {
        if self.tracking.count() == 0 && self.tracking.key_count() == 0 {
            return;
        }
        for shard in locked.shards_mut() {
            for trackers in shard.attachments.tracking.take_all() {
                self.tracking.note_removed(trackers.len());
            }
        }
        for tracker in self.tracking.all() {
            tracker.invalidate(self, &Keys::All, after);
        }
    }

    fn forget_left(&self) {
        for shard in 0..self.keyspace.shard_count() {
            for shard in self.keyspace.lock_one(shard).shards_mut() {
                let (keys, items) = shard.attachments.tracking.forget_left();
                self.tracking.keys.fetch_sub(keys, Ordering::Relaxed);
                self.tracking.items.fetch_sub(items, Ordering::Relaxed);
            }
        }
    }

    /// Forgets keys until no more are remembered than the limit allows, and all when no client is
    /// left that tracks. Called by a timer: locks one shard after the other.
    pub fn limit_tracking(&self) {
        if self.tracking.count() == 0 && self.tracking.key_count() > 0 {
            self.forget_left();
        }
        let max = keys_max(self);
        for shard in 0..self.keyspace.shard_count() {
            if !self.tracking.is_over(max) {
                return;
            }
            let mut locked = self.keyspace.lock_one(shard);
            let share = max / self.keyspace.shard_count();
            for shard in locked.shards_mut() {
                let table = &mut shard.attachments.tracking;
                while table.len() > share && self.tracking.is_over(max) {
                    self.forget_one(table, b"");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
