//! Who waits for which key of a shard.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use keyspace::Type;
use smallvec::SmallVec;

use super::Waiter;

/// Waiters of one key in order of arrival, whatever database they wait in: keys of the same name in
/// different databases share a shard, and hardly ever a queue.
#[derive(Default)]
struct Queue {
    waiters: VecDeque<Arc<Waiter>>,
    /// How many of them need more than the shard of this key to be served.
    reaching: usize,
    /// How many of them want to know when the key is gone.
    heeding: usize,
}

/// Waiters of one shard by key.
#[derive(Default)]
pub struct WaitTable {
    queues: HashMap<Box<[u8]>, Queue, foldhash::fast::RandomState>,
}

impl WaitTable {
    /// True when nobody waits in this shard: the usual case.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Keys that somebody waits for; those of which somebody wants to know that they are gone.
    pub fn counts(&self) -> (usize, usize) {
        let databases = |queue: &Queue, all: bool| {
            let waiters = queue.waiters.iter();
            let mut dbs: SmallVec<[u32; 8]> = waiters
                .filter(|waiter| all || waiter.wakes_on_delete())
                .map(|waiter| waiter.db)
                .collect();
            dbs.sort_unstable();
            dbs.dedup();
            dbs.len()
        };
        let queues = self.queues.values();
        queues.fold((0, 0), |(all, heeded), queue| {
            let heeding = if queue.heeding > 0 {
                databases(queue, false)
            } else {
                0
            };
            (all + databases(queue, true), heeded + heeding)
        })
    }

    /// Adds a waiter at the end of a key's queue.
    pub(super) fn add(&mut self, key: &[u8], waiter: Arc<Waiter>) {
        let queue = self.queues.entry(key.into()).or_default();
        queue.reaching += usize::from(waiter.reaches_further());
        queue.heeding += usize::from(waiter.wakes_on_delete());
        queue.waiters.push_back(waiter);
    }

    /// True when somebody waits for this key.
    pub fn has(&self, db: u32, key: &[u8]) -> bool {
        self.queues
            .get(key)
            .is_some_and(|queue| queue.waiters.iter().any(|waiter| waiter.db == db))
    }

    /// True when somebody wants to know that this key is gone.
    pub fn wakes_on_delete(&self, db: u32, key: &[u8]) -> bool {
        self.queues.get(key).is_some_and(|queue| {
            let heeds = |waiter: &Arc<Waiter>| waiter.wakes_on_delete() && waiter.db == db;
            queue.heeding > 0 && queue.waiters.iter().any(heeds)
        })
    }

    /// The first waiter at position `at` or behind it that a key holding `kind` may serve, and its
    /// position.
    pub(super) fn next(
        &self,
        db: u32,
        key: &[u8],
        at: usize,
        kind: Option<Type>,
    ) -> Option<(usize, Arc<Waiter>)> {
        let queue = self.queues.get(key)?;
        if kind.is_none() && queue.heeding == 0 {
            return None;
        }
        let mut waiters = queue.waiters.iter().enumerate().skip(at);
        waiters
            .find(|(_, waiter)| waiter.db == db && waiter.is_woken_by(kind))
            .map(|(at, waiter)| (at, Arc::clone(waiter)))
    }

    /// Waiters of this key, in any database, that need more than its shard to be served.
    pub(super) fn reaching(&self, key: &[u8]) -> impl Iterator<Item = &Arc<Waiter>> {
        let queue = self.queues.get(key).filter(|queue| queue.reaching > 0);
        let waiters = queue.into_iter().flat_map(|queue| &queue.waiters);
        waiters.filter(|waiter| waiter.reaches_further())
    }

    /// Removes one waiter from the queue of one of its keys.
    pub(super) fn remove(&mut self, key: &[u8], waiter: &Arc<Waiter>) {
        let Some(queue) = self.queues.get_mut(key) else {
            return;
        };
        let mut waiters = queue.waiters.iter();
        // Whoever is served stands near the front.
        if let Some(at) = waiters.position(|other| Arc::ptr_eq(other, waiter)) {
            queue.waiters.remove(at);
            queue.reaching -= usize::from(waiter.reaches_further());
            queue.heeding -= usize::from(waiter.wakes_on_delete());
        }
        if queue.waiters.is_empty() {
            self.queues.remove(key);
        }
    }

    /// Keys of one database somebody waits for (SWAPDB and FLUSHALL wake them).
    pub fn keys_of(&self, db: u32) -> Vec<Box<[u8]>> {
        let waits = |queue: &Queue| queue.waiters.iter().any(|waiter| waiter.db == db);
        let queues = self.queues.iter().filter(|(_, queue)| waits(queue));
        queues.map(|(key, _)| key.clone()).collect()
    }
}
