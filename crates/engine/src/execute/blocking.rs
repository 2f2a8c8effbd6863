//! Blocked clients: what they wait for, and how they are served.
//!
//! A handler that cannot answer yet returns [`Block`]. The connection then stops reading, and a
//! [`Waiter`] stands in the table of each shard whose keys it waits for, in order of arrival. The
//! command that feeds a key serves its waiters while it still holds the locks of that key, before
//! its own reply leaves, so no other command reads the key between the two. [`widen`] locks the
//! further shards that serving needs, before that command runs.
//!
//! A wait can end in several ways at once; [`Wait`](crate::wait::Wait) makes sure that one of them
//! counts.

mod serve;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use keyspace::GaveUp;
use resp::number::F80;
use resp::{Protocol, Reply};
use smallvec::SmallVec;

use super::{Call, Execution, Executor};
use crate::commandlog::Executed;
use crate::context::Context;
use crate::engine::Engine;
use crate::error::CommandError;
use crate::replicas::{ReplicaWait, Wanted};
use crate::scripts::Left;
use crate::session::{Origin, Session};
use crate::shard_tables::{Locked, ShardTables};
use crate::tracking::Tracking;
use crate::wait::{Block, Wakes};
use crate::waiters::{Arrival, Waiter};

pub use serve::{serve, serve_later, widen};

/// The error of WAITAOF when there is no log to wait for.
pub const WAITAOF_WITHOUT_LOG: &str =
    "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";

/// A new waiter for the client of `session`.
fn new_waiter(
    engine: &Engine,
    session: &mut Session,
    call: &Call<'_>,
    (keys, wakes): (Vec<Vec<u8>>, Wakes),
    spent_ns: u64,
) -> Waiter {
    let Call { command, args, .. } = call;
    let located = SmallVec::from_slice(call.keys);
    let hashes = call.keys.iter().map(|key| key.hash);
    let mut shards: SmallVec<[usize; 2]> =
        hashes.map(|hash| engine.keyspace.shard_of(hash)).collect();
    shards.sort_unstable();
    shards.dedup();
    Waiter {
        client: Arc::clone(&session.shared),
        number: session.shared.wait.begin(),
        arrival: Arrival(engine.arrivals.fetch_add(1, Ordering::Relaxed)),
        command,
        args: session.run_again.take().unwrap_or_else(|| args.to_owned()),
        located,
        user: session.user.clone(),
        db: session.db,
        keys,
        shards,
        wakes,
        protocol: session.protocol,
        no_touch: session.no_touch,
        import_source: session.import_source,
        tracker: session
            .tracking
            .as_ref()
            .filter(|tracking| tracking.registers())
            .map(|tracking| Arc::clone(&tracking.tracker)),
        silent: session.silent_wait,
        spent_ns,
        left: AtomicBool::new(false),
        look_again_ms: AtomicU64::new(session.look_again_ms.unwrap_or(0)),
    }
}

/// The client as far as its command is concerned.
fn session_of(waiter: &Waiter) -> Session {
    let client = Arc::clone(&waiter.client);
    let mut session = Session::new(client, Origin::Client, waiter.user.clone());
    session.db = waiter.db;
    session.protocol = waiter.protocol;
    session.no_touch = waiter.no_touch;
    session.import_source = waiter.import_source;
    let tracker = waiter.tracker.as_ref();
    session.tracking = tracker.map(|tracker| Box::new(Tracking::of_wait(tracker)));
    session
}

/// Adds the execution to the statistics of the command when its wait ends.
pub fn account(
    waiter: &Waiter,
    exec: &mut Executor,
    engine: &Engine,
    began_ns: u64,
    reply_bytes: usize,
) {
    // The worker of the client does not write this figure while the client waits.
    waiter
        .client
        .figures
        .commands
        .fetch_add(1, Ordering::Relaxed);
    let executed = Executed {
        now_ms: exec.now_ms,
        session: &session_of(waiter),
        command: waiter.command,
        args: waiter.args.as_args(),
        keys: &waiter.located,
        nanos: exec.now_ns.saturating_sub(began_ns) + waiter.spent_ns,
        reply_bytes,
    };
    exec.account(engine, &executed);
}

/// Takes the waiter out of the queues of all its keys, whose shards are locked, if it stands
/// there.
fn leave_queues(waiter: &Arc<Waiter>, engine: &Engine, locked: &mut Locked<'_>) {
    if waiter.left.swap(true, Ordering::AcqRel) {
        return;
    }
    for key in &waiter.keys {
        tables(locked, engine, key).waiting.remove(key, waiter);
    }
    engine.key_listeners.remove_waiter();
}

fn tables<'a>(locked: &'a mut Locked<'_>, engine: &Engine, key: &[u8]) -> &'a mut ShardTables {
    let hash = engine.keyspace.hash(key);
    &mut locked.held_mut(hash).attachments
}

/// When a wait of argument `index` seconds ends, in milliseconds of the steady clock; `None` for 0,
/// which waits for ever.
pub fn deadline(ctx: &Context<'_, '_>, index: usize) -> Result<Option<u64>, CommandError> {
    let text = ctx.args.arg(index);
    let ms = match resp::number::parse_i64(text) {
        Some(seconds) => Some(seconds.saturating_mul(1000)),
        None => F80::parse(text).and_then(F80::thousandfold),
    };
    let ms = ms.ok_or(CommandError::line(
        "ERR timeout is not a float or out of range",
    ))?;
    deadline_after(ctx, ms)
}

/// When a wait of `ms` milliseconds that begins now ends, in milliseconds of the steady clock;
/// `None` for 0, which waits for ever.
pub fn deadline_after(ctx: &Context<'_, '_>, ms: i64) -> Result<Option<u64>, CommandError> {
    let ms = u64::try_from(ms).map_err(|_| CommandError::line("ERR timeout is negative"))?;
    if ms == 0 {
        return Ok(None);
    }
    ctx.engine
        .clock
        .steady_ms_after(ms)
        .filter(|deadline| i64::try_from(*deadline).is_ok())
        .map(Some)
        .ok_or(CommandError::line("ERR timeout is out of range"))
}

/// Blocks the client of a command that began at `began_ns`: sets the wait in the session and, for
/// keys, adds a waiter to the tables of their shards. Called under the locks of the command.
pub fn block(
    execution: &mut Execution<'_, '_>,
    call: &Call<'_>,
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
        let waiter = new_waiter(engine, session, call, (keys, *wakes), spent_ns);
        let waiter = Arc::new(waiter);
        engine.key_listeners.add_waiter();
        for key in &waiter.keys {
            let waiting = &mut tables(locked, engine, key).waiting;
            waiting.add(key, Arc::clone(&waiter));
        }
        session.new_waiter = Some(waiter);
    } else if block == Block::Shutdown {
        session.shared.wait.begin_firm();
    } else {
        let number = session.shared.wait.begin();
        if let Some(wanted) = wanted_of_replicas(&block) {
            engine.replicas.add_wait(ReplicaWait {
                client: Arc::clone(&session.shared),
                number,
                wanted,
                is_silent: session.silent_wait,
            });
        }
    }
    engine.blocked_clients.fetch_add(1, Ordering::Relaxed);
    if block.deadline_ms().is_some() {
        engine.timed_waits.fetch_add(1, Ordering::Relaxed);
    }
    session.blocked = Some(block);
}

/// What the client of this wait asks of replicas.
fn wanted_of_replicas(block: &Block) -> Option<Wanted> {
    match *block {
        Block::Replicas { count, offset, .. } => Some(Wanted::Processed { count, offset }),
        Block::Synced {
            local,
            replicas,
            offset,
            written,
            ..
        } if replicas > 0 => Some(Wanted::Durable {
            count: replicas,
            offset,
            local: local.then_some(written),
        }),
        _ => None,
    }
}

/// Ends the waits of WAIT and WAITAOF for which enough replicas have acknowledged.
pub fn serve_acknowledged(engine: &Engine) {
    let (replicas, log) = (&engine.replicas, &engine.log);
    let is_over = |wanted: &Wanted| match *wanted {
        Wanted::Processed { count, offset } => replicas.processed(offset) >= count,
        Wanted::Durable {
            count,
            offset,
            local,
        } => replicas.durable(offset) >= count && local.is_none_or(|at| log.synced() >= at),
    };
    for wait in replicas.take_waits(is_over) {
        if !wait.client.wait.end() {
            continue;
        }
        engine.outboxes.deliver_served(&wait.client, 0, |out| {
            let mut reply = Reply::new(out, Protocol::Resp2);
            match wait.wanted {
                _ if wait.is_silent => {}
                Wanted::Processed { offset, .. } => {
                    reply.integer(replicas.processed(offset) as i64);
                }
                Wanted::Durable { offset, .. } => {
                    let synced = log.is_enabled() && log.synced_offset() >= offset;
                    reply.array(2);
                    reply.integer(i64::from(synced));
                    reply.integer(replicas.durable(offset) as i64);
                }
            }
        });
    }
}

/// Keys without those that were named before.
fn distinct(mut keys: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut seen = std::collections::HashSet::new();
    if keys.len() > 1 {
        keys.retain(|key| seen.insert(key.clone()));
    }
    keys
}

/// Ends the blocked state of the session. Returns what it waited for.
pub fn unblock(engine: &Engine, session: &mut Session) -> Option<Block> {
    let block = session.blocked.take()?;
    engine.blocked_clients.fetch_sub(1, Ordering::Relaxed);
    if block.deadline_ms().is_some() {
        engine.timed_waits.fetch_sub(1, Ordering::Relaxed);
    }
    Some(block)
}

/// The least time between two runs of a blocked command without a change of its keys, in
/// milliseconds.
pub const LOOK_AGAIN_MIN_MS: u64 = 20;

/// Removes the wait of a client that disconnects.
pub fn forget(engine: &Engine, session: &mut Session, waiter: Option<Arc<Waiter>>) {
    unblock(engine, session);
    session.shared.wait.end();
    if let Some(waiter) = &waiter {
        withdraw(engine, waiter);
    }
}

/// Takes a waiter whose wait has ended out of all queues that it still stands in. Must not be
/// called under shard locks. A script that runs for long may have locked them: then it stands there
/// for longer, where it is not served any more.
pub fn withdraw(engine: &Engine, waiter: &Arc<Waiter>) {
    let mut waits = || !engine.runs.any_slow();
    match engine
        .keyspace
        .lock_many_patient(&waiter.shards, &mut waits)
    {
        Ok(mut locked) => leave_queues(waiter, engine, &mut locked),
        Err(GaveUp) => engine.runs.leave(Left::Waiter(Arc::clone(waiter))),
    }
}

/// Takes out of the tables what was left there because a script had locked their shards.
#[cold]
pub(super) fn clear_left(engine: &Engine) {
    for left in engine.runs.take_left() {
        match left {
            Left::Waiter(waiter) => {
                let mut locked = engine.keyspace.lock_many(&waiter.shards);
                leave_queues(&waiter, engine, &mut locked);
            }
            Left::Watched { key, flag } => {
                let hash = engine.keyspace.hash(&key.key);
                let mut locked = engine.keyspace.lock_one(engine.keyspace.shard_of(hash));
                let watched = &mut locked.held_mut(hash).attachments.watched;
                watched.remove(key.db, &key.key, &flag);
            }
        }
    }
}
