//! Clients that wait for keys, and their queues in a shard.

use std::collections::{BTreeMap, HashMap};
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
use crate::users::User;
use crate::wait::{WaitNumber, Wakes};

/// The place of a waiter in the order of all waiters of the server. The shards of its keys are
/// locked while it is given, so that queues of one key have the same order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival(pub u64);

impl Arrival {
    /// The next place.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A client waiting for keys, shared by the shards of these keys.
pub struct Waiter {
    /// The client, for its mailbox and its state.
    pub client: Arc<ClientShared>,
    /// Which of the client's waits this is.
    pub number: WaitNumber,
    /// Its place in every queue.
    pub arrival: Arrival,
    /// The command that is run again when a key may serve it.
    pub command: &'static Command,
    /// Its arguments.
    pub args: OwnedArgs,
    /// Its keys, those included that it does not wait for.
    pub located: SmallVec<[LocatedKey; 4]>,
    /// Its user.
    pub user: Option<Arc<User>>,
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
    /// When the command is run again without a change of its keys, in milliseconds of the steady
    /// clock: entries become claimable by time alone. 0: never.
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
    waiters: BTreeMap<Arrival, Arc<Waiter>>,
    /// How many of them are also woken by the removal of the key.
    heeding: usize,
    /// What it takes to serve them.
    reach: Reach,
}

/// Most shards of a waiter that [`Reach`] counts one by one: a waiter with more keys may as well
/// take all locks.
const NARROW_SHARDS: usize = 32;

/// Shards that serving the waiters of a key may need besides its own, and keys that it may feed,
/// each counted by waiters: looking them up does not depend on how many wait.
#[derive(Default)]
struct Reach {
    /// Waiters with more than [`NARROW_SHARDS`] shards.
    wide: usize,
    /// Ascending by shard.
    shards: Vec<(usize, usize)>,
    /// Destinations of BLMOVE and the like.
    feeds: HashMap<Box<[u8]>, (KeyHash, usize), foldhash::fast::RandomState>,
}

impl Reach {
    fn add(&mut self, waiter: &Waiter) {
        if !waiter.reaches_further() {
            return;
        }
        for (hash, key) in waiter.feeds() {
            self.feeds.entry(key.into()).or_insert((hash, 0)).1 += 1;
        }
        if waiter.shards.len() > NARROW_SHARDS {
            self.wide += 1;
            return;
        }
        for shard in &waiter.shards {
            match self.shards.binary_search_by_key(shard, |(shard, _)| *shard) {
                Ok(at) => self.shards[at].1 += 1,
                Err(at) => self.shards.insert(at, (*shard, 1)),
            }
        }
    }

    fn remove(&mut self, waiter: &Waiter) {
        if !waiter.reaches_further() {
            return;
        }
        for (_, key) in waiter.feeds() {
            if let Some((_, count)) = self.feeds.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    self.feeds.remove(key);
                }
            }
        }
        if waiter.shards.len() > NARROW_SHARDS {
            self.wide -= 1;
            return;
        }
        for shard in &waiter.shards {
            let found = self.shards.binary_search_by_key(shard, |(shard, _)| *shard);
            if let Ok(at) = found {
                self.shards[at].1 -= 1;
                if self.shards[at].1 == 0 {
                    self.shards.remove(at);
                }
            }
        }
    }
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
            let waiters = queue.waiters.values();
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
        queue.reach.add(&waiter);
        queue.heeding += usize::from(waiter.wakes_on_delete());
        queue.waiters.insert(waiter.arrival, waiter);
    }

    /// True when clients wait for this key.
    pub fn has(&self, db: u32, key: &[u8]) -> bool {
        self.queues
            .get(key)
            .is_some_and(|queue| queue.waiters.values().any(|waiter| waiter.db == db))
    }

    /// True when the removal of this key wakes a client.
    pub fn wakes_on_delete(&self, db: u32, key: &[u8]) -> bool {
        self.queues.get(key).is_some_and(|queue| {
            let heeds = |waiter: &Arc<Waiter>| waiter.wakes_on_delete() && waiter.db == db;
            queue.heeding > 0 && queue.waiters.values().any(heeds)
        })
    }

    /// The first waiter that arrived at `from` or later and that a key holding `kind` may serve.
    pub fn next(
        &self,
        db: u32,
        key: &[u8],
        from: Arrival,
        kind: Option<Type>,
    ) -> Option<Arc<Waiter>> {
        let queue = self.queues.get(key)?;
        if kind.is_none() && queue.heeding == 0 {
            return None;
        }
        let mut waiters = queue.waiters.range(from..).map(|(_, waiter)| waiter);
        waiters
            .find(|waiter| waiter.db == db && waiter.is_woken_by(kind))
            .map(Arc::clone)
    }

    /// Shards that serving the waiters of this key, in any database, may need. `None`: all.
    pub fn shards(&self, key: &[u8]) -> Option<impl Iterator<Item = usize>> {
        let reach = self.queues.get(key).map(|queue| &queue.reach);
        if reach.is_some_and(|reach| reach.wide > 0) {
            return None;
        }
        let shards = reach.map_or(&[][..], |reach| &reach.shards);
        Some(shards.iter().map(|(shard, _)| *shard))
    }

    /// Keys that serving the waiters of this key, in any database, may feed.
    pub fn feeds(&self, key: &[u8]) -> impl Iterator<Item = (KeyHash, &[u8])> {
        let queue = self.queues.get(key);
        let feeds = queue.into_iter().flat_map(|queue| &queue.reach.feeds);
        feeds.map(|(key, (hash, _))| (*hash, &**key))
    }

    /// Removes one waiter from the queue of one of its keys.
    pub fn remove(&mut self, key: &[u8], waiter: &Arc<Waiter>) {
        let Some(queue) = self.queues.get_mut(key) else {
            return;
        };
        if queue.waiters.remove(&waiter.arrival).is_some() {
            queue.reach.remove(waiter);
            queue.heeding -= usize::from(waiter.wakes_on_delete());
        }
        if queue.waiters.is_empty() {
            self.queues.remove(key);
        }
    }

    /// Keys of one database that clients wait for (SWAPDB and FLUSHALL wake these).
    pub fn keys_of(&self, db: u32) -> Vec<Box<[u8]>> {
        let waits = |queue: &Queue| queue.waiters.values().any(|waiter| waiter.db == db);
        let queues = self.queues.iter().filter(|(_, queue)| waits(queue));
        queues.map(|(key, _)| key.clone()).collect()
    }
}
