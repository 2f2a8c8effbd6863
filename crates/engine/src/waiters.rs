//! Clients that wait for keys, and their queues in a shard.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use keyspace::{KeyHash, Type};
use resp::OwnedArgs;
use smallvec::SmallVec;

use crate::client::ClientShared;
use crate::command::KeyFlags;
use crate::keys::LocatedKey;
use crate::table::Command;
use crate::tracking::Tracker;
use crate::wait::{WaitNumber, Wakes};

/// A client waiting for keys, shared by the shards of these keys.
pub struct Waiter {
    /// The client, for its mailbox and its state.
    pub client: Arc<ClientShared>,
    /// Which of the client's waits this is.
    pub number: WaitNumber,
    /// The command that is run again when a key may serve it.
    pub command: &'static Command,
    /// Its arguments.
    pub args: OwnedArgs,
    /// Its keys, those included that it does not wait for.
    pub located: SmallVec<[LocatedKey; 4]>,
    /// Its database.
    pub db: u32,
    /// The keys it waits for.
    pub keys: Vec<Vec<u8>>,
    /// Shards of all keys of the command, ascending. They are locked while it is run again.
    pub shards: SmallVec<[usize; 2]>,
    /// The changes of a key that wake it.
    pub wakes: Wakes,
    /// Protocol version of its replies.
    pub protocol: resp::Protocol,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// CLIENT IMPORT-SOURCE.
    pub import_source: bool,
    /// The client keeps copies of what the command reads.
    pub tracker: Option<Arc<Tracker>>,
    /// Its reply is dropped: the command was sent under CLIENT REPLY OFF or SKIP.
    pub silent: bool,
    /// Time that the command took until the client began to wait, in nanoseconds.
    pub spent_ns: u64,
    /// It stands in no queue any more.
    pub left: AtomicBool,
    /// When the command is run again without a change of its keys, in Unix milliseconds: entries
    /// become claimable by time alone. 0: never.
    pub look_again_ms: AtomicU64,
}

impl Waiter {
    /// True when a key that holds `kind` (nothing: it is gone) is a reason to run the command
    /// again.
    fn is_woken_by(&self, kind: Option<Type>) -> bool {
        kind == Some(self.wakes.kind) || self.wakes.removal
    }

    /// True when the removal of a key, or another type in its place, also wakes the waiter.
    pub fn wakes_on_delete(&self) -> bool {
        self.wakes.removal
    }

    /// True when more than the shard of one of its keys is needed to serve it.
    fn reaches_further(&self) -> bool {
        self.shards.len() > 1
    }

    /// Keys that the command feeds when it is served.
    pub fn feeds(&self) -> impl Iterator<Item = (KeyHash, &[u8])> {
        let args = self.args.as_args();
        self.located
            .iter()
            .filter(|key| key.position.flags & KeyFlags::INSERT.0 != 0)
            .map(move |key| (key.hash, args.arg(key.position.index)))
    }
}

/// Waiters of one key in order of arrival, whatever database they wait in: keys of the same name in
/// different databases share a shard, and hardly ever a queue.
#[derive(Default)]
struct Queue {
    waiters: VecDeque<Arc<Waiter>>,
    /// How many of them need more than the shard of this key to be served.
    reaching: usize,
    /// How many of them are also woken by the removal of the key.
    heeding: usize,
}

/// Waiters of one shard by key.
#[derive(Default)]
pub struct WaitTable {
    queues: HashMap<Box<[u8]>, Queue, foldhash::fast::RandomState>,
}

impl WaitTable {
    /// True when no client waits in this shard, the usual case.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Number of keys that clients wait for, and number of those whose removal also wakes clients.
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
    pub fn add(&mut self, key: &[u8], waiter: Arc<Waiter>) {
        let queue = self.queues.entry(key.into()).or_default();
        queue.reaching += usize::from(waiter.reaches_further());
        queue.heeding += usize::from(waiter.wakes_on_delete());
        queue.waiters.push_back(waiter);
    }

    /// True when clients wait for this key.
    pub fn has(&self, db: u32, key: &[u8]) -> bool {
        self.queues
            .get(key)
            .is_some_and(|queue| queue.waiters.iter().any(|waiter| waiter.db == db))
    }

    /// True when the removal of this key wakes a client.
    pub fn wakes_on_delete(&self, db: u32, key: &[u8]) -> bool {
        self.queues.get(key).is_some_and(|queue| {
            let heeds = |waiter: &Arc<Waiter>| waiter.wakes_on_delete() && waiter.db == db;
            queue.heeding > 0 && queue.waiters.iter().any(heeds)
        })
    }

    /// The first waiter at position `at` or behind it that a key holding `kind` may serve, and its
    /// position.
    pub fn next(
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
    pub fn reaching(&self, key: &[u8]) -> impl Iterator<Item = &Arc<Waiter>> {
        let queue = self.queues.get(key).filter(|queue| queue.reaching > 0);
        let waiters = queue.into_iter().flat_map(|queue| &queue.waiters);
        waiters.filter(|waiter| waiter.reaches_further())
    }

    /// Removes one waiter from the queue of one of its keys.
    pub fn remove(&mut self, key: &[u8], waiter: &Arc<Waiter>) {
        let Some(queue) = self.queues.get_mut(key) else {
            return;
        };
        let mut waiters = queue.waiters.iter();
        // The waiter that is served stands near the front.
        if let Some(at) = waiters.position(|other| Arc::ptr_eq(other, waiter)) {
            queue.waiters.remove(at);
            queue.reaching -= usize::from(waiter.reaches_further());
            queue.heeding -= usize::from(waiter.wakes_on_delete());
        }
        if queue.waiters.is_empty() {
            self.queues.remove(key);
        }
    }

    /// Keys of one database that clients wait for (SWAPDB and FLUSHALL wake these).
    pub fn keys_of(&self, db: u32) -> Vec<Box<[u8]>> {
        let waits = |queue: &Queue| queue.waiters.iter().any(|waiter| waiter.db == db);
        let queues = self.queues.iter().filter(|(_, queue)| waits(queue));
        queues.map(|(key, _)| key.clone()).collect()
    }
}
