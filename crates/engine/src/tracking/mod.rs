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

use crate::listeners::KeyListeners;

pub use broadcast::{Collision, Prefixes, check_prefixes};
pub(crate) use table::Registered;
pub use table::TrackingTable;
pub use tracker::{Keys, Mode, Options, Tracker, Tracking};

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

    /// Counts what a registration has added.
    pub(crate) fn note_added(&self, registered: &Registered) {
        let (keys, items) = (registered.is_new_key, registered.is_new_client);
        self.keys.fetch_add(usize::from(keys), Ordering::Relaxed);
        self.items.fetch_add(usize::from(items), Ordering::Relaxed);
    }

    pub(crate) fn note_removed(&self, items: usize) {
        self.note_all_removed(1, items);
    }

    pub(crate) fn note_all_removed(&self, keys: usize, items: usize) {
        self.keys.fetch_sub(keys, Ordering::Relaxed);
        self.items.fetch_sub(items, Ordering::Relaxed);
    }

    /// More is remembered than `max` keys allow; 0: any number.
    pub(crate) fn is_over(&self, max: usize) -> bool {
        let items_max = max.saturating_mul(ITEMS_PER_KEY);
        max > 0 && (self.key_count() > max || self.item_count() > items_max)
    }

    pub(crate) fn add(&self, listeners: &KeyListeners, tracker: &Arc<Tracker>) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.insert(tracker.id, Arc::clone(tracker));
        self.note_count(listeners, clients.len());
    }

    pub(crate) fn remove(&self, listeners: &KeyListeners, tracker: &Tracker) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.remove(&tracker.id);
        self.note_count(listeners, clients.len());
    }

    /// Called under the mutex of the clients.
    fn note_count(&self, listeners: &KeyListeners, count: usize) {
        self.count.store(count, Ordering::Relaxed);
        // Changes are noted while some client tracks.
        listeners.listen_to_changes(count > 0);
    }

    pub(crate) fn all(&self) -> Vec<Arc<Tracker>> {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests;
