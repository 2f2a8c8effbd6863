//! Clients that wait: what they wait for, and how they are served.
//!
//! A handler that cannot answer yet returns [`Block`]. The connection then stops reading, and a
//! [`Waiter`] stands in the table of each shard whose keys it waits for, in order of arrival. The
//! command that feeds a key serves its waiters while it still holds the locks of that key, before its
//! own reply leaves.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use keyspace::Locked;
use resp::{Args, Output, OwnedArgs, Reply};
use smallvec::SmallVec;

use crate::client::{ClientShared, Origin, Session};
use crate::command::Outcome;
use crate::dispatch::{self, Executor};
use crate::net::mailbox::Message;
use crate::net::worker::Worker;
use crate::server::Server;
use crate::table::Entry;
use crate::watch::ShardTables;

/// The error of WAITAOF when there is no log to wait for.
pub const WAITAOF_WITHOUT_LOG: &str =
    "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";

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
    /// The keys it waits for.
    pub keys: Vec<Box<[u8]>>,
    /// Their shards, ascending. The state changes only while all of them are locked, so that a wait cannot
    /// end by time while it is being served.
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
        keys: Vec<Box<[u8]>>,
        shards: SmallVec<[usize; 2]>,
    ) -> Self {
        Self {
            client,
            command,
            args,
            db,
            protocol,
            keys,
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

type Queues = HashMap<(u32, Box<[u8]>), VecDeque<Arc<Waiter>>, foldhash::fast::RandomState>;

/// Waiters of one shard by database and key, in order of arrival.
#[derive(Default)]
pub struct WaitTable {
    queues: Queues,
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

    /// Removes one waiter from the queue of one of its keys.
    pub fn remove(&mut self, key: &[u8], waiter: &Arc<Waiter>) {
        let id = (waiter.db, Box::from(key));
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.retain(|other| !Arc::ptr_eq(other, waiter));
            if queue.is_empty() {
                self.queues.remove(&id);
            }
        }
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

/// A command asked to wait: notes it in the session and, for keys, in the tables of their shards.
/// Called under the locks of the command.
pub fn block(
    server: &Server,
    session: &mut Session,
    entry: &'static Entry,
    args: Args<'_>,
    block: &Block,
    locked: &mut Locked<'_>,
) {
    server.blocked_clients.fetch_add(1, Ordering::Relaxed);
    session.blocked = Some(block.clone());
    let Block::Keys { keys, .. } = block else {
        return;
    };
    let hashes: SmallVec<[_; 4]> = keys.iter().map(|key| server.keyspace.hash(key)).collect();
    let mut shards: SmallVec<[usize; 2]> = hashes
        .iter()
        .map(|hash| server.keyspace.shard_of(*hash))
        .collect();
    shards.sort_unstable();
    shards.dedup();
    let waiter = Arc::new(Waiter::new(
        Arc::clone(&session.shared),
        entry,
        args.to_owned(),
        session.db,
        session.protocol,
        keys.iter().map(|key| Box::from(&key[..])).collect(),
        shards,
    ));
    for (key, hash) in keys.iter().zip(hashes) {
        if let Some(tables) = locked
            .shard_mut(hash)
            .and_then(|shard| shard.attachment_mut::<ShardTables>())
        {
            tables.waiting.add(session.db, key, Arc::clone(&waiter));
        }
    }
    session.new_waiter = Some(waiter);
}

/// Serves clients that wait for the keys a command has just fed, while its locks are still held. A
/// waiter whose other keys live in shards that cannot be locked at once (somebody else holds them, and
/// waiting here could deadlock) is served right after the locks are released.
pub fn serve(exec: &mut Executor, server: &Server, mut locked: Locked<'_>) {
    let mut later = Vec::new();
    while !exec.ready.is_empty() {
        for (db, key) in std::mem::take(&mut exec.ready) {
            serve_key(exec, server, &mut locked, db, &key, &mut later);
        }
    }
    drop(locked);
    for waiter in later {
        let mut locked = server.keyspace.lock_many(&waiter.shards);
        serve_waiter(exec, server, &mut locked, &waiter);
        if !exec.ready.is_empty() {
            serve(exec, server, locked);
        }
    }
}

fn serve_key(
    exec: &mut Executor,
    server: &Server,
    locked: &mut Locked<'_>,
    db: u32,
    key: &[u8],
    later: &mut Vec<Arc<Waiter>>,
) {
    let hash = server.keyspace.hash(key);
    // Waiters that this key cannot serve (another type, a group that is gone) keep their place.
    let mut skip = 0;
    loop {
        let waiter = locked
            .shard_mut(hash)
            .and_then(|shard| shard.attachment_mut::<ShardTables>())
            .and_then(|tables| tables.waiting.first(db, key, skip));
        let Some(waiter) = waiter else { return };
        let all_held = waiter
            .shards
            .iter()
            .all(|shard| locked.holds(*shard) || locked.try_extend(*shard));
        if !all_held {
            later.push(waiter);
            skip += 1;
        } else if !serve_waiter(exec, server, locked, &waiter) {
            skip += 1;
        }
    }
}

/// Runs the command of a waiter again. True when it got its reply.
fn serve_waiter(
    exec: &mut Executor,
    server: &Server,
    locked: &mut Locked<'_>,
    waiter: &Arc<Waiter>,
) -> bool {
    if !waiter.is_waiting() {
        return true;
    }
    let mut session = Session::new(Arc::clone(&waiter.client), Origin::Client, true);
    session.db = waiter.db;
    session.protocol = waiter.protocol;
    let mut reply = Output::new();
    exec.effects.reset(server.is_logging());
    let before = exec.reply_offset;
    exec.reply_offset = 0;
    let outcome = dispatch::execute(
        exec,
        server,
        &mut session,
        waiter.command,
        waiter.args.as_args(),
        &[],
        locked,
        &mut reply,
        false,
    );
    if matches!(outcome, Ok(Outcome::Block(_))) {
        exec.reply_offset = before;
        return false;
    }
    waiter.claim();
    take_out(server, locked, waiter);
    dispatch::commit(exec, server, &mut session, locked, dispatch::Touched::All);
    let offset = std::mem::replace(&mut exec.reply_offset, before);
    server.send_to(
        &waiter.client,
        Message::Served {
            client: waiter.client.id,
            reply,
            offset,
        },
    );
    true
}

/// The reply of a served client has arrived at its worker.
pub(crate) fn served(worker: &mut Worker, token: usize, mut reply: Output, offset: u64) {
    if let Some(connection) = worker.connection(token) {
        connection.output.append(&mut reply);
        connection.reply_offset = connection.reply_offset.max(offset);
        connection.session.last_write_offset = connection.session.last_write_offset.max(offset);
    }
    resume(worker, token);
}

/// The wait of a client is over: by time (`unblock` is `None`), or by CLIENT UNBLOCK with or without
/// an error.
pub(crate) fn end_wait(worker: &mut Worker, server: &Server, token: usize, unblock: Option<bool>) {
    let Some(connection) = worker.connection(token) else {
        return;
    };
    if let Some(waiter) = &connection.waiter
        && !withdraw(server, waiter)
    {
        // Served meanwhile: the reply is on its way.
        return;
    }
    let Some(block) = connection.session.blocked.clone() else {
        return;
    };
    let mut reply = Reply::new(&mut connection.output, connection.session.protocol);
    if unblock == Some(true) {
        reply.error("UNBLOCKED client unblocked via CLIENT UNBLOCK");
    } else {
        match &block {
            Block::Keys { timeout_reply, .. } => match timeout_reply {
                TimeoutReply::Null => reply.null(),
                TimeoutReply::NullArray => reply.null_array(),
            },
            Block::Replicas { .. } => reply.integer(0),
            Block::Synced { offset, .. } => {
                reply.array(2);
                reply.integer(i64::from(
                    server.log.is_enabled() && server.log.synced() >= *offset,
                ));
                reply.integer(0);
            }
        }
    }
    connection.waiter = None;
    if unblock.is_none()
        && let Some(handle) = server.workers.get(worker.index)
    {
        handle.stats.blocked_timeouts.add(1);
    }
    resume(worker, token);
}

/// Clients of this worker that wait for the log to be durable may be done, or wait in vain because the log was
/// switched off.
pub(crate) fn log_synced(worker: &mut Worker, server: &Server) {
    let synced = server.log.synced();
    let is_off = !server.log.is_enabled();
    for token in 0..worker.slots() {
        let Some(connection) = worker.connection(token) else {
            continue;
        };
        if let Some(Block::Synced {
            local: true,
            replicas,
            offset,
            ..
        }) = connection.session.blocked
        {
            let mut reply = Reply::new(&mut connection.output, connection.session.protocol);
            if is_off {
                reply.error(WAITAOF_WITHOUT_LOG);
            } else if replicas == 0 && offset <= synced {
                reply.array(2);
                reply.integer(1);
                reply.integer(0);
            } else {
                continue;
            }
            resume(worker, token);
        }
    }
}

/// The client goes on with its next request.
fn resume(worker: &mut Worker, token: usize) {
    let server = Arc::clone(&worker.server);
    if let Some(connection) = worker.connection(token) {
        connection.waiter = None;
        let id = connection.session.shared.id;
        if let Some(block) = connection.session.blocked.take() {
            server.blocked_clients.fetch_sub(1, Ordering::Relaxed);
            if let Some(deadline) = block.deadline_ms() {
                worker.deadlines.remove(&(deadline, id));
            }
        }
    }
    worker.want_write(token);
    worker.want_run(token);
}

/// A blocked client disconnects.
pub fn forget(server: &Server, session: &mut Session, waiter: Option<Arc<Waiter>>) {
    if session.blocked.take().is_some() {
        server.blocked_clients.fetch_sub(1, Ordering::Relaxed);
    }
    if let Some(waiter) = &waiter {
        // One that was served meanwhile stands nowhere any more.
        withdraw(server, waiter);
    }
}

/// Ends a wait that nobody served. False when it was served already. Must not be called under shard locks.
fn withdraw(server: &Server, waiter: &Arc<Waiter>) -> bool {
    let mut locked = server.keyspace.lock_many(&waiter.shards);
    let abandoned = waiter.abandon();
    if abandoned {
        take_out(server, &mut locked, waiter);
    }
    abandoned
}

/// Takes a waiter out of the queues of all its keys, whose shards are locked.
fn take_out(server: &Server, locked: &mut Locked<'_>, waiter: &Arc<Waiter>) {
    for key in &waiter.keys {
        if let Some(tables) = locked
            .shard_mut(server.keyspace.hash(key))
            .and_then(|shard| shard.attachment_mut::<ShardTables>())
        {
            tables.waiting.remove(key, waiter);
        }
    }
}
