//! Serving blocked clients right after the command that fed a key, before any other command reads
//! it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use keyspace::{GaveUp, KeyHash, Type};
use resp::Output;
use smallvec::SmallVec;

use super::{account, leave_queues, session_of};
use crate::context::Mode;
use crate::engine::Engine;
use crate::execute::{self, Call, Execution, Executor, Outcome, Touched};
use crate::fault::Stage;
use crate::keys::DbKey;
use crate::session::Session;
use crate::shard_tables::Locked;
use crate::waiters::{Arrival, Waiter};

/// Adds to the locks of a command that may feed these keys the locks needed to serve their waiters:
/// the shards of all keys of the waiters' commands, of the waiters of keys that these commands
/// feed, and so on. Locks are taken in ascending order only, so the whole set is released and
/// locked again until it covers all waiters.
pub fn widen<'k>(
    engine: &'k Engine,
    mut locked: Locked<'k>,
    fed: &[(KeyHash, &[u8])],
    patience: &mut dyn FnMut() -> bool,
) -> Result<Locked<'k>, GaveUp> {
    loop {
        let missing = missing(&locked, fed);
        if missing.is_empty() {
            return Ok(locked);
        }
        // The set grows with each round, so the loop ends.
        let mut shards: SmallVec<[usize; 8]> = locked.numbers().collect();
        shards.extend(missing);
        shards.sort_unstable();
        shards.dedup();
        drop(locked);
        locked = engine.keyspace.lock_many_patient(&shards, patience)?;
    }
}

/// Shards that are not locked and may be needed when these keys are fed.
fn missing<'a>(locked: &'a Locked<'_>, fed: &[(KeyHash, &'a [u8])]) -> SmallVec<[usize; 4]> {
    let mut missing = SmallVec::new();
    let mut seen: HashSet<&[u8]> = HashSet::new();
    let mut fed: SmallVec<[(KeyHash, &[u8]); 4]> = SmallVec::from_slice(fed);
    while let Some((hash, key)) = fed.pop() {
        // A shard that is not locked yet is among the missing ones.
        let Some(shard) = locked.shard(hash) else {
            continue;
        };
        let waiting = &shard.attachments.waiting;
        match waiting.shards(key) {
            Some(shards) => missing.extend(shards.filter(|shard| !locked.holds(*shard))),
            None => {
                let all = 0..locked.keyspace().shard_count();
                return all.filter(|shard| !locked.holds(*shard)).collect();
            }
        }
        fed.extend(waiting.feeds(key).filter(|(_, key)| seen.insert(key)));
    }
    missing
}

/// Serves clients that wait for the keys a command has just fed. Clients that wait for keys which
/// these commands feed are served as well. Keys that need locks which are not held stay in
/// `exec.ready` for [`serve_later`].
pub fn serve(exec: &mut Executor, engine: &Engine, locked: &mut Locked<'_>) {
    engine.faults.reach(Stage::Signals);
    if engine.is_paused() {
        engine.pause.keep_fed(&mut exec.ready);
        return;
    }
    let mut unserved = Vec::new();
    while !exec.ready.is_empty() {
        for fed in std::mem::take(&mut exec.ready) {
            if !serve_key(exec, engine, locked, &fed) {
                unserved.push(fed);
            }
        }
    }
    exec.ready = unserved;
}

/// Serves clients that wait for keys which were fed or removed under the locks of these keys alone:
/// by expiry, by eviction, before a pause. Must not be called under locks. While a script runs for
/// too long they are kept for the timers.
#[cold]
pub fn serve_later(exec: &mut Executor, engine: &Engine) {
    let served = execute::guarded(engine, "the service of blocked clients", || {
        let mut waits = || !engine.runs.any_slow();
        match engine.keyspace.lock_all_patient(&mut waits) {
            Ok(mut locked) => serve(exec, engine, &mut locked),
            Err(GaveUp) => engine.pause.keep_fed(&mut exec.ready),
        }
    });
    if served.is_none() {
        exec.ready.clear();
    }
}

/// How an attempt to serve a waiter ended.
enum Attempt {
    Served,
    /// The wait goes on, or another thread has ended it.
    Waits,
    /// It needs locks that are not held.
    Unlocked,
}

/// Serves the waiters of one key in order of arrival, as long as it has something for them. False
/// when that needs more locks.
fn serve_key(exec: &mut Executor, engine: &Engine, locked: &mut Locked<'_>, fed: &DbKey) -> bool {
    let (db, key) = (fed.db, fed.key.as_slice());
    let hash = engine.keyspace.hash(key);
    // Waiters that this key cannot serve (another type, not enough elements) keep their place.
    let mut from = Arrival::default();
    loop {
        let kind = kind_of(locked, db, hash, key, exec.now_ms);
        let waiter = locked
            .held(hash)
            .attachments
            .waiting
            .next(db, key, from, kind);
        let Some(waiter) = waiter else {
            return true;
        };
        match serve_waiter(exec, engine, locked, &waiter) {
            Attempt::Served | Attempt::Waits => from = waiter.arrival.next(),
            Attempt::Unlocked => return false,
        }
    }
}

/// The type of a key's value; `None` when the key is missing or expired.
fn kind_of(locked: &Locked<'_>, db: u32, hash: KeyHash, key: &[u8], now_ms: u64) -> Option<Type> {
    let entry = locked.shard(hash)?.find(db, hash, key)?;
    let lives = entry.deadline().is_none_or(|deadline| deadline > now_ms);
    lives.then(|| entry.value_type())
}

/// Runs the command of a waiter again.
fn serve_waiter(
    exec: &mut Executor,
    engine: &Engine,
    locked: &mut Locked<'_>,
    waiter: &Arc<Waiter>,
) -> Attempt {
    if !waiter.shards.iter().all(|shard| locked.holds(*shard)) {
        return Attempt::Unlocked;
    }
    // An element popped for a client that is being disconnected would be lost.
    let leaves = waiter.client.kill.load(Ordering::Acquire);
    if leaves || !waiter.client.wait.try_serve(waiter.number) {
        return Attempt::Waits;
    }
    let mut session = session_of(waiter);
    let mut reply = Output::new();
    let began_ns = exec.now_ns;
    let before = std::mem::take(&mut exec.reply_offset);
    // What the command sends to its own client comes behind the reply.
    waiter.client.hold_outbox();
    let name = waiter.command.full_name;
    let served = execute::guarded(engine, name, || {
        run_again(exec, engine, &mut session, waiter, locked, &mut reply)
    });
    let served = served.unwrap_or_else(|| {
        // Without an error reply the client would wait for ever.
        reply.clear();
        let error = execute::internal_error(name);
        execute::write_error(exec, engine, session.protocol, &error, &mut reply);
        Ran::Answered
    });
    let is_refused = served == Ran::Refused;
    let served = served != Ran::Waits;
    waiter.client.wait.finish(waiter.number, served);
    let offset = std::mem::replace(&mut exec.reply_offset, before);
    if !served {
        let again_ms = session.look_again_ms.unwrap_or(0);
        waiter.look_again_ms.store(again_ms, Ordering::Release);
        if waiter.client.release_outbox() {
            engine.outboxes.port.get().deliver(&[&*waiter.client]);
        }
        return Attempt::Waits;
    }
    leave_queues(waiter, engine, locked);
    exec.now_ns = engine.clock.monotonic_ns();
    if !is_refused {
        account(waiter, exec, engine, began_ns, reply.len());
    }
    engine
        .outboxes
        .deliver_served(&waiter.client, offset, |out| {
            if !waiter.silent {
                out.append(&mut reply);
            }
        });
    Attempt::Served
}

/// How the command of a waiter ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ran {
    Answered,
    /// The user of the client has lost the right to it.
    Refused,
    Waits,
}

/// Runs the command of a waiter and logs its effects.
fn run_again(
    exec: &mut Executor,
    engine: &Engine,
    session: &mut Session,
    waiter: &Arc<Waiter>,
    locked: &mut Locked<'_>,
    reply: &mut Output,
) -> Ran {
    let call = Call {
        command: waiter.command,
        args: waiter.args.as_args(),
        keys: &waiter.located,
        mode: Mode::Served,
    };
    let mut execution = Execution {
        exec,
        engine,
        session,
        out: reply,
        right: None,
        turn: None,
    };
    execution.begin();
    // Its rights may have changed while it waited.
    if let Err(error) = execution.check_rights(call.command, call.args, call.mode) {
        execute::count_rejected(execution.exec, engine, call.command);
        execution.write_error(&error);
        return Ran::Refused;
    }
    let outcome = execution.call(&call, locked);
    engine.faults.reach(Stage::Serve);
    // Committed also when the client goes on waiting: the command may have removed expired keys.
    execution.commit(locked, Touched::Keys(call.keys));
    match outcome {
        Ok(Outcome::Block(_)) => Ran::Waits,
        _ => Ran::Answered,
    }
}
