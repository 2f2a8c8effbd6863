//! Clients that wait: what they wait for, and how they are served.
//!
//! A handler that cannot answer yet returns [`Block`]. The connection then stops reading, and a
//! [`Waiter`] stands in the table of each shard whose keys it waits for, in order of arrival. The
//! command that feeds a key serves its waiters while it still holds the locks of that key, before its
//! own reply leaves: nobody else sees what was fed in between. What serving needs beyond the keys of the
//! feeding command is locked before that command runs ([`widen`]).
//!
//! A wait can end in several ways at once; [`Wait`] makes sure that one of them counts.

mod serve;
mod table;
mod wait;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use keyspace::{Locked, Type};
use resp::{Args, Output, OwnedArgs, Reply};
use smallvec::SmallVec;

use crate::client::{ClientShared, Origin, ReplyMode, Session};
use crate::context::{Context, Data, Key, LocatedKey};
use crate::dispatch::{self, Executor};
use crate::error::CommandError;
use crate::net::worker::Worker;
use crate::server::Server;
use crate::table::{Entry, key_positions};
use crate::watch::ShardTables;

pub use serve::{serve, serve_later, widen};
pub use table::WaitTable;
pub use wait::{Wait, WaitNumber};

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
        /// What must happen to one of them.
        wakes: Wakes,
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

/// What is a reason to run the command of a client that waits for keys again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wakes {
    /// A key holds a value of this type now.
    pub kind: Type,
    /// A key is gone, or holds a value of any other type.
    pub removal: bool,
}

/// A client waiting for keys, shared by the shards of these keys.
pub struct Waiter {
    /// The client, for its mailbox and its state.
    pub client: Arc<ClientShared>,
    /// Which of the client's waits this is.
    pub number: WaitNumber,
    /// The command that is run again when a key may serve it.
    pub command: &'static Entry,
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
    /// What it is woken by.
    wakes: Wakes,
    /// Protocol version of its replies.
    protocol: resp::Protocol,
    /// CLIENT NO-TOUCH.
    no_touch: bool,
    /// CLIENT IMPORT-SOURCE.
    import_source: bool,
    /// Time that the command took until the client began to wait, in nanoseconds.
    spent_ns: u64,
    /// It stands in no queue any more.
    left: AtomicBool,
    /// When it is run again without being woken, in Unix milliseconds: time passing can be what it waits for.
    /// 0: never.
    look_again_ms: AtomicU64,
}

impl Waiter {
    /// A new waiter for the client of `session`.
    fn new(
        server: &Server,
        session: &mut Session,
        entry: &'static Entry,
        args: Args<'_>,
        keys: Vec<Vec<u8>>,
        wakes: Wakes,
        spent_ns: u64,
    ) -> Self {
        let positions = key_positions(entry.command, args);
        let mut located: SmallVec<[LocatedKey; 4]> = positions
            .iter()
            .map(|position| LocatedKey {
                position: *position,
                hash: server.keyspace.hash(args.arg(position.index)),
            })
            .collect();
        located.sort_unstable_by_key(|key| key.position.index);
        let hashes = located.iter().map(|key| key.hash);
        let mut shards: SmallVec<[usize; 2]> =
            hashes.map(|hash| server.keyspace.shard_of(hash)).collect();
        shards.sort_unstable();
        shards.dedup();
        Self {
            client: Arc::clone(&session.shared),
            number: session.shared.wait.begin(),
            command: entry,
            args: session.run_again.take().unwrap_or_else(|| args.to_owned()),
            located,
            db: session.db,
            keys,
            shards,
            wakes,
            protocol: session.protocol,
            no_touch: session.no_touch,
            import_source: session.import_source,
            spent_ns,
            left: AtomicBool::new(false),
            look_again_ms: AtomicU64::new(session.look_again_ms.unwrap_or(0)),
        }
    }

    /// True when a key that holds `kind` (nothing: it is gone) is a reason to run the command again.
    fn is_woken_by(&self, kind: Option<Type>) -> bool {
        kind == Some(self.wakes.kind) || self.wakes.removal
    }

    /// It is also woken by the removal of a key, or by another type in its place.
    pub fn heeds_removal(&self) -> bool {
        self.wakes.removal
    }

    /// More than the shard of one of its keys is needed to serve it.
    fn reaches_further(&self) -> bool {
        self.shards.len() > 1
    }

    /// The client as far as its command is concerned.
    fn session(&self) -> Session {
        let mut session = Session::new(Arc::clone(&self.client), Origin::Client, true);
        session.db = self.db;
        session.protocol = self.protocol;
        session.no_touch = self.no_touch;
        session.import_source = self.import_source;
        session
    }

    /// Statistics of the command, which count it when it ends.
    fn account(&self, exec: &mut Executor, server: &Server, began_ns: u64, reply_bytes: usize) {
        // Its own worker leaves the figure alone while the client waits.
        self.client.figures.commands.fetch_add(1, Ordering::Relaxed);
        let began_ns = began_ns.saturating_sub(self.spent_ns);
        let (session, args) = (self.session(), self.args.as_args());
        dispatch::account(
            exec,
            server,
            &session,
            self.command,
            args,
            began_ns,
            reply_bytes,
        );
    }

    /// Takes the waiter out of the queues of all its keys, whose shards are locked, if it stands there.
    fn leave_queues(self: &Arc<Self>, server: &Server, locked: &mut Locked<'_>) {
        if self.left.swap(true, Ordering::AcqRel) {
            return;
        }
        for key in &self.keys {
            if let Some(tables) = tables(locked, server, key) {
                tables.waiting.remove(key, self);
            }
        }
        server.waiting_clients.fetch_sub(1, Ordering::Relaxed);
    }
}

fn tables<'a>(
    locked: &'a mut Locked<'_>,
    server: &Server,
    key: &[u8],
) -> Option<&'a mut ShardTables> {
    locked
        .shard_mut(server.keyspace.hash(key))
        .and_then(|shard| shard.attachment_mut::<ShardTables>())
}

/// When a wait of argument `index` seconds ends, in Unix milliseconds; `None` for 0, which waits for ever.
pub fn deadline(ctx: &Context<'_, '_>, index: usize) -> Result<Option<u64>, CommandError> {
    const OUT_OF_RANGE: CommandError = CommandError::line("ERR timeout is out of range");
    let seconds = ctx
        .float(index)
        .map_err(|_| CommandError::line("ERR timeout is not a float or out of range"))?;
    let ms = seconds * 1000.0;
    // 2^63 is the first number that no timeout can have, and every double below it fits.
    if ms >= i64::MAX as f64 {
        return Err(OUT_OF_RANGE);
    }
    let ms = ms.ceil();
    if ms < 0.0 {
        return Err(CommandError::line("ERR timeout is negative"));
    }
    if ms == 0.0 {
        return Ok(None);
    }
    (ms as u64)
        .checked_add(ctx.data.now_ms)
        .filter(|deadline| i64::try_from(*deadline).is_ok())
        .map(Some)
        .ok_or(OUT_OF_RANGE)
}

impl Context<'_, '_> {
    /// The client can wait: it is connected, and not in the middle of a transaction.
    pub fn may_block(&self) -> bool {
        !self.in_transaction && self.session.origin == Origin::Client
    }
}

impl Data<'_, '_> {
    /// A key that somebody waits for got elements or appeared: its waiters are served when the command is
    /// done.
    #[inline]
    pub fn signal_ready(&mut self, key: Key<'_>) {
        if self.server.waiting_clients.load(Ordering::Relaxed) > 0 {
            self.signal(key, WaitTable::has);
        }
    }

    /// A key is gone, or holds something else than before.
    #[inline]
    pub fn signal_gone(&mut self, key: Key<'_>) {
        if self.server.waiting_clients.load(Ordering::Relaxed) > 0 {
            self.signal(key, WaitTable::is_heeded);
        }
    }

    #[cold]
    fn signal(&mut self, key: Key<'_>, concerns: fn(&WaitTable, u32, &[u8]) -> bool) {
        let db = self.db;
        let concerned = self
            .tables(key)
            .is_some_and(|tables| concerns(&tables.waiting, db, key.bytes));
        let is_last = |last: &(u32, Vec<u8>)| last.0 == db && last.1 == key.bytes;
        if concerned && !self.ready.last().is_some_and(is_last) {
            self.ready.push((db, key.bytes.to_vec()));
        }
    }
}

/// A command that began `spent_ns` ago asked to wait: notes it in the session and, for keys, in the tables of
/// their shards. Called under the locks of the command.
pub fn block(
    server: &Server,
    session: &mut Session,
    entry: &'static Entry,
    args: Args<'_>,
    block: Block,
    locked: &mut Locked<'_>,
    spent_ns: u64,
) {
    let mut block = block;
    session.silent_wait = matches!(session.reply_mode, ReplyMode::Off | ReplyMode::Skip);
    if let Block::Keys { keys, wakes, .. } = &mut block {
        // From here on the keys stand in the waiter alone.
        let keys = distinct(std::mem::take(keys));
        let waiter = Waiter::new(server, session, entry, args, keys, *wakes, spent_ns);
        let waiter = Arc::new(waiter);
        server.waiting_clients.fetch_add(1, Ordering::Relaxed);
        for key in &waiter.keys {
            if let Some(tables) = tables(locked, server, key) {
                tables.waiting.add(key, Arc::clone(&waiter));
            }
        }
        session.new_waiter = Some(waiter);
    } else {
        session.shared.wait.begin();
    }
    server.blocked_clients.fetch_add(1, Ordering::Relaxed);
    if block.deadline_ms().is_some() {
        server.timed_waits.fetch_add(1, Ordering::Relaxed);
    }
    session.blocked = Some(block);
}

/// Keys without those that were named before.
fn distinct(mut keys: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut seen = std::collections::HashSet::new();
    if keys.len() > 1 {
        keys.retain(|key| seen.insert(key.clone()));
    }
    keys
}

/// The session is blocked no more. Returns what it waited for.
fn unblock(server: &Server, session: &mut Session) -> Option<Block> {
    let block = session.blocked.take()?;
    server.blocked_clients.fetch_sub(1, Ordering::Relaxed);
    if block.deadline_ms().is_some() {
        server.timed_waits.fetch_sub(1, Ordering::Relaxed);
    }
    Some(block)
}

/// The reply of a served client has arrived at its worker.
pub(crate) fn served(worker: &mut Worker, token: usize, mut reply: Output, offset: u64) {
    if let Some(connection) = worker.connection(token) {
        if !connection.session.silent_wait {
            connection.output.append(&mut reply);
        }
        connection.reply_offset = connection.reply_offset.max(offset);
        connection.session.last_write_offset = connection.session.last_write_offset.max(offset);
    }
    resume(worker, token);
}

/// Why a wait ends without being served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its time is over.
    Timeout,
    /// CLIENT UNBLOCK; true: with an error. Whoever sent this has ended the wait already.
    Unblocked(bool),
}

/// The wait of a client ends without being served.
pub(crate) fn end_wait(worker: &mut Worker, server: &Server, token: usize, ending: Ending) {
    let Some(connection) = worker.connection(token) else {
        return;
    };
    let Some(block) = connection.session.blocked.clone() else {
        return;
    };
    if ending == Ending::Timeout && !connection.session.shared.wait.end() {
        // Served or unblocked meanwhile: the reply is on its way.
        return;
    }
    let waiter = connection.waiter.take();
    if let Some(waiter) = &waiter {
        withdraw(server, waiter);
    }
    let protocol = connection.session.protocol;
    let mut output = Output::new();
    let mut reply = Reply::new(&mut output, protocol);
    let fails = ending == Ending::Unblocked(true);
    match &block {
        _ if fails => {
            let error = CommandError::line("UNBLOCKED client unblocked via CLIENT UNBLOCK");
            dispatch::write_error(&worker.exec, server, protocol, &error, &mut output);
        }
        Block::Keys { .. } => reply.null_array(),
        Block::Replicas { .. } => reply.integer(0),
        Block::Synced { offset, .. } => {
            reply.array(2);
            let synced = server.log.is_enabled() && server.log.synced() >= *offset;
            reply.integer(i64::from(synced));
            reply.integer(0);
        }
    }
    if let Some(waiter) = waiter {
        let exec = &mut worker.exec;
        let now_ns = server.clock.monotonic_ns();
        exec.now_ns = now_ns;
        waiter.account(exec, server, now_ns, output.len());
        if fails {
            dispatch::count_rejected(exec, server, waiter.command);
        }
    }
    if let Some(handle) = server.workers.get(worker.index)
        && ending == Ending::Timeout
    {
        handle.stats.blocked_timeouts.add(1);
    }
    if let Some(connection) = worker.connection(token)
        && !connection.session.silent_wait
    {
        connection.output.append(&mut output);
    }
    resume(worker, token);
}

/// The least time between two looks for what a client waits for, in milliseconds.
pub const LOOK_AGAIN_MIN_MS: u64 = 20;

/// A timer of a client has gone off: its wait is over, or it is time to look for what it waits for.
pub(crate) fn timer(worker: &mut Worker, server: &Server, token: usize) {
    let now_ms = worker.exec.now_ms;
    let Some(connection) = worker.connection(token) else {
        return;
    };
    let session = &mut connection.session;
    let Some(block) = &session.blocked else {
        return;
    };
    if block
        .deadline_ms()
        .is_some_and(|deadline| deadline <= now_ms)
    {
        return end_wait(worker, server, token, Ending::Timeout);
    }
    let id = session.shared.id;
    session.look_again_ms = None;
    let Some(waiter) = connection.waiter.clone() else {
        return;
    };
    let exec = &mut worker.exec;
    let keys = waiter.keys.iter();
    exec.ready.extend(keys.map(|key| (waiter.db, key.clone())));
    let served = dispatch::guarded(server, "the service of a blocked client", || {
        serve(exec, server, &mut server.keyspace.lock_many(&waiter.shards));
    });
    if served.is_some() && !exec.ready.is_empty() {
        serve_later(exec, server);
    }
    // Whether it was served or goes on waiting: until that is known here it keeps a timer.
    let next_ms = waiter.look_again_ms.load(Ordering::Acquire);
    let next_ms = next_ms.max(now_ms.saturating_add(LOOK_AGAIN_MIN_MS));
    if let Some(connection) = worker.connection(token) {
        connection.session.look_again_ms = Some(next_ms);
        worker.deadlines.insert((next_ms, id));
    }
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
            let is_done = is_off || replicas == 0 && offset <= synced;
            if !is_done || !connection.session.shared.wait.end() {
                continue;
            }
            let mut reply = Reply::new(&mut connection.output, connection.session.protocol);
            if is_off && !connection.session.silent_wait {
                reply.error(WAITAOF_WITHOUT_LOG);
            } else if !connection.session.silent_wait {
                reply.array(2);
                reply.integer(1);
                reply.integer(0);
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
        let look_again_ms = connection.session.look_again_ms.take();
        let block = unblock(&server, &mut connection.session);
        let deadline_ms = block.and_then(|block| block.deadline_ms());
        for at in [deadline_ms, look_again_ms].into_iter().flatten() {
            worker.deadlines.remove(&(at, id));
        }
    }
    worker.want_write(token);
    worker.want_run(token);
}

/// A blocked client disconnects.
pub fn forget(server: &Server, session: &mut Session, waiter: Option<Arc<Waiter>>) {
    unblock(server, session);
    session.shared.wait.end();
    if let Some(waiter) = &waiter {
        withdraw(server, waiter);
    }
}

/// Takes a waiter whose wait has ended out of all queues, if nobody did. Must not be called under shard locks.
fn withdraw(server: &Server, waiter: &Arc<Waiter>) {
    let mut locked = server.keyspace.lock_many(&waiter.shards);
    waiter.leave_queues(server, &mut locked);
}
