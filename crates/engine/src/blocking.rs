//! Clients that wait: what they wait for, and how they are served.
//!
//! A handler that cannot answer yet returns [`Block`]. The connection then stops reading, and a
//! [`Waiter`] stands in the table of each shard whose keys it waits for, in order of arrival. The
//! command that feeds a key serves its waiters while it still holds the locks of that key, before
//! its own reply leaves: nobody else sees what was fed in between. What serving needs beyond the
//! keys of the feeding command is locked before that command runs ([`widen`]).
//!
//! A wait can end in several ways at once; [`Wait`] makes sure that one of them counts.

mod serve;
mod table;
mod wait;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use keyspace::Type;
use resp::OwnedArgs;
use resp::number::F80;
use smallvec::SmallVec;

use crate::client::ClientShared;
use crate::commandlog::Executed;
use crate::context::Context;
use crate::engine::Engine;
use crate::error::CommandError;
use crate::execute::{Call, Execution, Executor};
use crate::keys::LocatedKey;
use crate::session::{Origin, Session};
use crate::shard_tables::{Locked, ShardTables};
use crate::table::Command;

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
    /// What it is woken by.
    wakes: Wakes,
    /// Protocol version of its replies.
    protocol: resp::Protocol,
    /// CLIENT NO-TOUCH.
    no_touch: bool,
    /// CLIENT IMPORT-SOURCE.
    import_source: bool,
    /// Its reply is dropped: the command was sent under CLIENT REPLY OFF or SKIP.
    silent: bool,
    /// Time that the command took until the client began to wait, in nanoseconds.
    spent_ns: u64,
    /// It stands in no queue any more.
    left: AtomicBool,
    /// When it is run again without being woken, in Unix milliseconds: time passing can be what it
    /// waits for. 0: never.
    pub look_again_ms: AtomicU64,
}

impl Waiter {
    /// A new waiter for the client of `session`.
    fn new(
        engine: &Engine,
        session: &mut Session,
        call: Call<'_>,
        (keys, wakes): (Vec<Vec<u8>>, Wakes),
        spent_ns: u64,
    ) -> Self {
        let Call { command, args, .. } = call;
        let located = SmallVec::from_slice(call.keys);
        let hashes = call.keys.iter().map(|key| key.hash);
        let mut shards: SmallVec<[usize; 2]> =
            hashes.map(|hash| engine.keyspace.shard_of(hash)).collect();
        shards.sort_unstable();
        shards.dedup();
        Self {
            client: Arc::clone(&session.shared),
            number: session.shared.wait.begin(),
            command,
            args: session.run_again.take().unwrap_or_else(|| args.to_owned()),
            located,
            db: session.db,
            keys,
            shards,
            wakes,
            protocol: session.protocol,
            no_touch: session.no_touch,
            import_source: session.import_source,
            silent: session.silent_wait,
            spent_ns,
            left: AtomicBool::new(false),
            look_again_ms: AtomicU64::new(session.look_again_ms.unwrap_or(0)),
        }
    }

    /// True when a key that holds `kind` (nothing: it is gone) is a reason to run the command
    /// again.
    fn is_woken_by(&self, kind: Option<Type>) -> bool {
        kind == Some(self.wakes.kind) || self.wakes.removal
    }

    /// It is also woken by the removal of a key, or by another type in its place.
    pub fn wakes_on_delete(&self) -> bool {
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
    pub fn account(&self, exec: &mut Executor, engine: &Engine, began_ns: u64, reply_bytes: usize) {
        // Its own worker leaves the figure alone while the client waits.
        self.client.figures.commands.fetch_add(1, Ordering::Relaxed);
        let executed = Executed {
            now_ms: exec.now_ms,
            session: &self.session(),
            command: self.command,
            args: self.args.as_args(),
            nanos: exec.now_ns.saturating_sub(began_ns) + self.spent_ns,
            reply_bytes,
        };
        exec.account(engine, executed);
    }

    /// Takes the waiter out of the queues of all its keys, whose shards are locked, if it stands
    /// there.
    fn leave_queues(self: &Arc<Self>, engine: &Engine, locked: &mut Locked<'_>) {
        if self.left.swap(true, Ordering::AcqRel) {
            return;
        }
        for key in &self.keys {
            tables(locked, engine, key).waiting.remove(key, self);
        }
        engine.key_listeners.remove_waiter();
    }
}

fn tables<'a>(locked: &'a mut Locked<'_>, engine: &Engine, key: &[u8]) -> &'a mut ShardTables {
    let hash = engine.keyspace.hash(key);
    &mut locked.held_mut(hash).attachments
}

/// When a wait of argument `index` seconds ends, in Unix milliseconds; `None` for 0, which waits
/// for ever.
pub fn deadline(ctx: &Context<'_, '_>, index: usize) -> Result<Option<u64>, CommandError> {
    let text = ctx.args.arg(index);
    let ms = match resp::number::parse_i64(text) {
        Some(seconds) => Some(seconds.saturating_mul(1000)),
        None => F80::parse(text).and_then(F80::thousandfold),
    };
    let ms = ms.ok_or(CommandError::line(
        "ERR timeout is not a float or out of range",
    ))?;
    let ms = u64::try_from(ms).map_err(|_| CommandError::line("ERR timeout is negative"))?;
    if ms == 0 {
        return Ok(None);
    }
    ms.checked_add(ctx.data.now_ms)
        .filter(|deadline| i64::try_from(*deadline).is_ok())
        .map(Some)
        .ok_or(CommandError::line("ERR timeout is out of range"))
}

impl Context<'_, '_> {
    /// The client can wait: it is connected, and not in the middle of a transaction.
    pub fn may_block(&self) -> bool {
        !self.is_nested() && self.session.is_client()
    }
}

/// A command that began at `began_ns` asked to wait: notes it in the session and, for keys, in the
/// tables of their shards. Called under the locks of the command.
pub fn block(
    execution: &mut Execution<'_, '_>,
    call: Call<'_>,
    mut block: Block,
    locked: &mut Locked<'_>,
    began_ns: u64,
) {
    let (engine, session) = (execution.engine, &mut *execution.session);
    let spent_ns = engine.clock.monotonic_ns().saturating_sub(began_ns);
    session.silent_wait = session.is_silent();
    if let Block::Keys { keys, wakes, .. } = &mut block {
        // From here on the keys stand in the waiter alone.
        let keys = distinct(std::mem::take(keys));
        let waiter = Waiter::new(engine, session, call, (keys, *wakes), spent_ns);
        let waiter = Arc::new(waiter);
        engine.key_listeners.add_waiter();
        for key in &waiter.keys {
            let waiting = &mut tables(locked, engine, key).waiting;
            waiting.add(key, Arc::clone(&waiter));
        }
        session.new_waiter = Some(waiter);
    } else {
        session.shared.wait.begin();
    }
    engine.blocked_clients.fetch_add(1, Ordering::Relaxed);
    if block.deadline_ms().is_some() {
        engine.timed_waits.fetch_add(1, Ordering::Relaxed);
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
pub fn unblock(engine: &Engine, session: &mut Session) -> Option<Block> {
    let block = session.blocked.take()?;
    engine.blocked_clients.fetch_sub(1, Ordering::Relaxed);
    if block.deadline_ms().is_some() {
        engine.timed_waits.fetch_sub(1, Ordering::Relaxed);
    }
    Some(block)
}

/// The least time between two looks for what a client waits for, in milliseconds.
pub const LOOK_AGAIN_MIN_MS: u64 = 20;

/// A blocked client disconnects.
pub fn forget(engine: &Engine, session: &mut Session, waiter: Option<Arc<Waiter>>) {
    unblock(engine, session);
    session.shared.wait.end();
    if let Some(waiter) = &waiter {
        withdraw(engine, waiter);
    }
}

/// Takes a waiter whose wait has ended out of all queues, if nobody did. Must not be called under
/// shard locks.
pub fn withdraw(engine: &Engine, waiter: &Arc<Waiter>) {
    let mut locked = engine.keyspace.lock_many(&waiter.shards);
    waiter.leave_queues(engine, &mut locked);
}
