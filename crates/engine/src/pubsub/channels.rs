//! Channels by name, in shards by the hash of the name.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_utils::CachePadded;

use super::subscribers::Subscribers;
use crate::client::ClientShared;

/// More than there are workers, so that two of them seldom publish in the same shard.
const SHARDS: usize = 64;

/// A table keeps room for this many channels when they are gone.
const KEEP: usize = 64;

pub(super) type Table = HashMap<Arc<[u8]>, Subscribers, foldhash::fast::RandomState>;

/// The channels that have subscribers.
pub(super) struct Channels {
    shards: Box<[CachePadded<Mutex<Table>>]>,
    hasher: foldhash::fast::RandomState,
    count: AtomicUsize,
}

impl Default for Channels {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| CachePadded::default()).collect(),
            hasher: foldhash::fast::RandomState::default(),
            count: AtomicUsize::new(0),
        }
    }
}

impl Channels {
    /// The shard of a channel, locked.
    pub(super) fn lock(&self, channel: &[u8]) -> MutexGuard<'_, Table> {
        // The lowest bits choose the place in the table.
        let place = (self.hasher.hash_one(channel) >> 32) as usize % SHARDS;
        lock(&self.shards[place])
    }

    /// Adds a client that is not subscribed. Returns the name as all share it.
    pub(super) fn add(&self, name: &[u8], client: &Arc<ClientShared>) -> Arc<[u8]> {
        let mut shard = self.lock(name);
        let name = match shard.get_key_value(name) {
            Some((name, _)) => Arc::clone(name),
            None => {
                self.count.fetch_add(1, Ordering::Relaxed);
                Arc::from(name)
            }
        };
        shard.entry(Arc::clone(&name)).or_default().add(client);
        name
    }

    /// Removes a client; the last one takes the channel with it.
    pub(super) fn remove(&self, name: &[u8], client: &ClientShared) {
        let mut shard = self.lock(name);
        let Some(subscribers) = shard.get_mut(name) else {
            return;
        };
        subscribers.remove(client);
        if subscribers.len() == 0 {
            shard.remove(name);
            self.count.fetch_sub(1, Ordering::Relaxed);
            if shard.capacity() > KEEP && shard.len() < shard.capacity() / 8 {
                let room = shard.len() * 2;
                shard.shrink_to(room);
            }
        }
    }

    /// Visits the names, one shard at a time.
    pub(super) fn each(&self, mut visit: impl FnMut(&Arc<[u8]>)) {
        for shard in &self.shards {
            lock(shard).keys().for_each(&mut visit);
        }
    }

    /// Visits the subscribers of all channels, one shard at a time.
    pub(super) fn each_subscribers(&self, mut visit: impl FnMut(&[u8], &Subscribers)) {
        for shard in &self.shards {
            for (name, subscribers) in lock(shard).iter() {
                visit(name, subscribers);
            }
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

fn lock(shard: &Mutex<Table>) -> MutexGuard<'_, Table> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
