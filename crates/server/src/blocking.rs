//! Clients that wait: what they wait for, and how they are served.
//!
//! A handler that cannot answer yet returns [`Block`]. The connection then stops reading, and a
//! [`Waiter`] stands in the table of each shard whose keys it waits for, in order of arrival. The
//! command that feeds a key serves its waiters while it still holds the locks of that key, before its
//! own reply leaves.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use resp::OwnedArgs;
use smallvec::SmallVec;

use crate::client::ClientShared;
use crate::table::Entry;

/// What a blocked client waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// One of the keys to become servable; `deadline_ms` is absolute, `None` waits for ever.
    Keys {
        /// Keys in the order of the command.
        keys: Vec<Vec<u8>>,
        /// Unix time in milliseconds.
        deadline_ms: Option<u64>,
        /// What the client gets when the time is over.
        timeout_reply: TimeoutReply,
    },
    /// WAIT: replicas that acknowledged `offset`.
    Replicas {
        /// How many are asked for.
        count: u64,
        /// The log offset that they must have.
        offset: u64,
        /// Unix time in milliseconds.
        deadline_ms: Option<u64>,
    },
    /// WAITAOF: `offset` is fsynced here (when `local`) and on `replicas` replicas.
    Synced {
        /// The local log must be durable up to the offset.
        local: bool,
        /// How many replicas must be.
        replicas: u64,
        /// The log offset.
        offset: u64,
        /// Unix time in milliseconds.
        deadline_ms: Option<u64>,
    },
}

impl Block {
    /// When the wait ends by itself.
    pub fn deadline_ms(&self) -> Option<u64> {
        match self {
            Self::Keys { deadline_ms, .. }
            | Self::Replicas { deadline_ms, .. }
            | Self::Synced { deadline_ms, .. } => *deadline_ms,
        }
    }
}

/// What a client that waited for keys gets when its time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeoutReply {
    /// A null (element or bulk).
    Null,
    /// A null array.
    NullArray,
}

/// A client waiting for keys, shared by the shards of these keys.
pub struct Waiter {
    /// The client, for its mailbox and its state.
    pub client: Arc<ClientShared>,
    /// The command that is run again when a key may serve it.
    pub command: &'static Entry,
    /// Its arguments.
    pub args: OwnedArgs,
    /// Its database.
    pub db: u32,
    /// Protocol version of its replies.
    pub protocol: resp::Protocol,
    /// The shards where this waiter stands.
    pub shards: SmallVec<[usize; 2]>,
    state: AtomicU8,
}

const WAITING: u8 = 0;
const SERVED: u8 = 1;
const GONE: u8 = 2;

impl Waiter {
    /// A new waiter.
    pub fn new(
        client: Arc<ClientShared>,
        command: &'static Entry,
        args: OwnedArgs,
        db: u32,
        protocol: resp::Protocol,
        shards: SmallVec<[usize; 2]>,
    ) -> Self {
        Self {
            client,
            command,
            args,
            db,
            protocol,
            shards,
            state: AtomicU8::new(WAITING),
        }
    }

    /// True while nobody served it and its client did not leave.
    pub fn is_waiting(&self) -> bool {
        self.state.load(Ordering::Acquire) == WAITING
    }

    /// Claims the waiter for a reply. Of a feeder and a time-out, exactly one succeeds.
    pub fn claim(&self) -> bool {
        self.state
            .compare_exchange(WAITING, SERVED, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Takes the waiter out (time-out, UNBLOCK, disconnect). False when it was served already.
    pub fn abandon(&self) -> bool {
        self.state
            .compare_exchange(WAITING, GONE, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

/// Waiters of one shard by database and key, in order of arrival.
#[derive(Default)]
pub struct WaitTable {
    queues: HashMap<(u32, Box<[u8]>), VecDeque<Arc<Waiter>>, foldhash::fast::RandomState>,
}

impl WaitTable {
    /// True when nobody waits in this shard: the usual case.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Keys somebody waits for.
    pub fn len(&self) -> usize {
        self.queues.len()
    }

    /// Adds a waiter at the end of a key's queue.
    pub fn add(&mut self, db: u32, key: &[u8], waiter: Arc<Waiter>) {
        self.queues
            .entry((db, key.into()))
            .or_default()
            .push_back(waiter);
    }

    /// True when somebody waits for this key.
    pub fn has(&self, db: u32, key: &[u8]) -> bool {
        !self.queues.is_empty() && self.queues.contains_key(&(db, key.into()))
    }

    /// The first waiter of a key that still waits; those that do not are dropped on the way.
    pub fn first(&mut self, db: u32, key: &[u8], skip: usize) -> Option<Arc<Waiter>> {
        let id = (db, Box::from(key));
        let queue = self.queues.get_mut(&id)?;
        queue.retain(|waiter| waiter.is_waiting());
        let found = queue.get(skip).cloned();
        if queue.is_empty() {
            self.queues.remove(&id);
        }
        found
    }

    /// Removes one waiter from all queues of this shard.
    pub fn remove(&mut self, waiter: &Arc<Waiter>) {
        self.queues.retain(|_, queue| {
            queue.retain(|other| !Arc::ptr_eq(other, waiter));
            !queue.is_empty()
        });
    }

    /// Keys of one database somebody waits for (SWAPDB wakes them).
    pub fn keys_of(&self, db: u32) -> Vec<Box<[u8]>> {
        self.queues
            .keys()
            .filter(|(of, _)| *of == db)
            .map(|(_, key)| key.clone())
            .collect()
    }
}
