//! MULTI and EXEC: the queue, the locks of everything in it, and running it as one step.
//!
//! EXEC locks the shards of everything it will run and of everything that was watched. So a watched
//! key cannot change between the check and the first command.

use std::sync::Arc;

use keyspace::{Beyond, GaveUp, KeyHash};
use resp::{Args, Output, Protocol, Reply};
use script::profile::Profile;

use super::locking::{NotLocked, locate_by_specs};
use super::rollback::Savepoint;
use super::script::script_locks;
use super::{Call, Execution, Mode};
use crate::command::{Flags, Locks};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::execute::{CommandResult, Outcome};
use crate::scripts::Left;
use crate::session::{Multi, Queued, Session, WatchedKey};
use crate::shard_tables::Locked;
use crate::table::{Command, KeyPlan};

/// Queues a command of a transaction that can still succeed.
pub(super) fn queue(
    session: &mut Session,
    (command, flags): (&'static Command, Flags),
    args: Args<'_>,
    databases: u32,
) {
    if let Some(multi) = &mut session.multi
        && !multi.aborted
        && !session.watch_flag.is_dirty()
    {
        multi.bytes += args.byte_len() + args.len() * size_of::<usize>() * 2;
        multi.flags = multi.flags.or(flags);
        multi.runs_scripts |= matches!(command.spec.locks, Locks::Script(_));
        if let Some(find) = command.spec.databases
            && command.spec.name == "select"
        {
            let found = find(args, databases);
            multi.db = found.first().map_or(multi.db, |(_, db)| *db);
        }
        multi.queue.push(Queued {
            entry: command,
            args: args.to_owned(),
        });
    }
}

/// Discards a transaction and unwatches its keys. Must not be called under shard locks.
pub fn discard(engine: &Engine, session: &mut Session) {
    session.multi = None;
    unwatch(engine, session);
}

/// Unwatches all keys, one shard at a time. Must not be called under shard locks, except while a
/// script runs for too long: then what it has locked is left for `clear_left`.
pub fn unwatch(engine: &Engine, session: &mut Session) {
    for watched in take_watched(engine, session) {
        let hash = engine.keyspace.hash(&watched.key);
        let shard = engine.keyspace.shard_of(hash);
        let mut waits = || !engine.runs.any_slow();
        match engine.keyspace.lock_one_patient(shard, &mut waits) {
            Ok(mut locked) => unwatch_one(&mut locked, session, &watched, hash),
            Err(GaveUp) => {
                let flag = Arc::clone(&session.watch_flag);
                engine.runs.leave(Left::Watched { key: watched, flag });
            }
        }
    }
}

/// The same under the locks of all watched keys.
fn unwatch_locked(engine: &Engine, session: &mut Session, locked: &mut Locked<'_>) {
    for watched in take_watched(engine, session) {
        let hash = engine.keyspace.hash(&watched.key);
        unwatch_one(locked, session, &watched, hash);
    }
}

fn take_watched(engine: &Engine, session: &mut Session) -> Vec<WatchedKey> {
    if !session.watched.is_empty() {
        engine.key_listeners.remove_watcher();
    }
    session.watch_flag.clear();
    std::mem::take(&mut session.watched)
}

fn unwatch_one(locked: &mut Locked<'_>, session: &Session, watched: &WatchedKey, hash: KeyHash) {
    let tables = &mut locked.held_mut(hash).attachments;
    let flag = &session.watch_flag;
    tables.watched.remove(watched.db, &watched.key, flag);
    // A change made while the keys were being unwatched has no effect.
    flag.clear();
}

/// Runs EXEC under the locks of `lock_for`.
pub fn exec(
    execution: &mut Execution<'_, '_>,
    _: &Call<'_>,
    locked: &mut Locked<'_>,
) -> CommandResult {
    let engine = execution.engine;
    let Some(multi) = execution.session.multi.take() else {
        return Err(CommandError::line("ERR EXEC without MULTI"));
    };
    let session = &mut *execution.session;
    let is_stale = session.watch_flag.is_dirty() || watched_key_expired(execution, locked);
    unwatch_locked(engine, execution.session, locked);
    if multi.aborted {
        return Err(CommandError::line(
            "EXECABORT Transaction discarded because of previous errors.",
        ));
    }
    if is_stale {
        Reply::new(execution.out, execution.session.protocol).null_array();
        return Ok(Outcome::Done);
    }
    if multi.rolls_back {
        return run_or_roll_back(execution, &multi, locked);
    }
    let has_reply = !execution.session.is_silent();
    let before = (has_reply && unsubscribes(&multi)).then(|| std::mem::take(execution.out));
    // A command that fails does not end the transaction.
    let _ = run_queue(execution, &multi, locked, |_, _| Ok(()));
    if let Some(before) = before {
        put_behind_messages(execution, before);
    }
    Ok(Outcome::Done)
}

/// Runs the commands of a transaction until `go_on`, which gets the result of each, fails.
fn run_queue(
    execution: &mut Execution<'_, '_>,
    multi: &Multi,
    locked: &mut Locked<'_>,
    mut go_on: impl FnMut(usize, Result<(), CommandError>) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    Reply::new(execution.out, Protocol::Resp2).array(multi.queue.len());
    // All commands of the transaction use the same time, as in Redis.
    let now_ms = execution.exec.now_ms;
    for (index, queued) in multi.queue.iter().enumerate() {
        execution.exec.now_ms = now_ms;
        let args = queued.args.as_args();
        let keys = locate_by_specs(&execution.engine.keyspace, queued.entry, args);
        let call = Call {
            command: queued.entry,
            args,
            keys: &keys,
            mode: Mode::Transaction,
        };
        go_on(index, execution.nested(&call, locked))?;
    }
    Ok(())
}

/// Runs a transaction of MULTI ROLLBACK: all of it, or nothing.
fn run_or_roll_back(
    execution: &mut Execution<'_, '_>,
    multi: &Multi,
    locked: &mut Locked<'_>,
) -> CommandResult {
    let savepoint = Savepoint::begin(execution, Beyond::GoOn);
    let result = run_queue(execution, multi, locked, |index, result| {
        let name = multi.queue.get(index).map_or("", |it| it.entry.full_name);
        let failed = |why: &[u8]| {
            let number = index + 1;
            let head = format!(
                "EXECABORT Transaction rolled back because command {number} ('{name}') failed: "
            );
            Err(CommandError::Bytes([head.as_bytes(), why].concat()))
        };
        match result {
            Err(error) => failed(&error.text()),
            Ok(()) if savepoint.is_too_large() => {
                failed(b"ERR there is more to undo than 64 MiB of old values")
            }
            Ok(()) => Ok(()),
        }
    });
    match result {
        Ok(()) => {
            savepoint.keep(execution.engine, locked);
            Ok(Outcome::Done)
        }
        Err(error) => {
            savepoint.roll_back(execution, locked);
            Err(error)
        }
    }
}

/// Some command of a transaction may confirm that subscriptions have ended.
fn unsubscribes(multi: &Multi) -> bool {
    let flags = Flags::PUBSUB.or(Flags::SUBSCRIBER);
    multi.queue.iter().any(|it| it.entry.spec.flags.has(flags))
}

/// Puts the replies of a transaction behind `before` and the messages that have come: nothing of a
/// subscription comes behind the confirmation of its end. A RESP2 client that is not subscribed at
/// the end gets no messages, because it could take them for replies.
fn put_behind_messages(execution: &mut Execution<'_, '_>, before: Output) {
    let mut replies = std::mem::replace(execution.out, before);
    let session = &*execution.session;
    let mut messages = Output::new();
    let after = session.shared.take_outbox(&mut messages);
    let offset = &mut execution.exec.reply_offset;
    *offset = (*offset).max(after);
    match session.protocol {
        Protocol::Resp3 => execution.out.append(&mut messages),
        Protocol::Resp2 if session.is_subscriber_only() => replies.append(&mut messages),
        Protocol::Resp2 => {}
    }
    execution.out.append(&mut replies);
}

/// Whether EXEC will run a command that takes `Config::lock_changes`.
pub(super) fn locks_config(session: &Session) -> bool {
    let queue = session.multi.as_ref().map(|multi| multi.queue.as_slice());
    let mut queue = queue.unwrap_or_default().iter();
    queue.any(|queued| queued.entry.spec.flags.has(Flags::LOCKS_CONFIG))
}

/// Locks everything that EXEC will touch, and takes the right to lock more when a queued script may
/// need it.
pub(super) fn lock_for<'k>(execution: &mut Execution<'_, 'k>) -> Result<Locked<'k>, NotLocked> {
    // Out of the session, because looking scripts up needs the execution.
    let Some(multi) = execution.session.multi.take() else {
        return lock_queue(execution, &[]);
    };
    let locked = lock_queue(execution, &multi.queue);
    execution.session.multi = Some(multi);
    locked
}

fn lock_queue<'k>(
    execution: &mut Execution<'_, 'k>,
    queue: &[Queued],
) -> Result<Locked<'k>, NotLocked> {
    let engine = execution.engine;
    let keyspace = &engine.keyspace;
    let mut shards = Vec::new();
    let mut fed: Vec<(KeyHash, &[u8])> = Vec::new();
    let mut extends = false;
    for Queued { entry, args } in queue {
        let args = args.as_args();
        match entry.spec.locks.of(args) {
            Locks::All | Locks::Own | Locks::Queued | Locks::ByArguments(_) => {
                return execution.lock_all();
            }
            Locks::Script(callee) => match script_locks(execution, callee, args) {
                Profile::All => return execution.lock_all(),
                Profile::Undeclared => extends = true,
                Profile::Proved => {}
            },
            Locks::Keys if entry.plan == KeyPlan::None => continue,
            Locks::Keys => {}
        }
        let keys = locate_by_specs(keyspace, entry, args);
        shards.extend(keys.iter().map(|key| keyspace.shard_of(key.hash)));
        if entry.spec.flags.any(Flags::WRITE.or(Flags::MAY_REPLICATE)) {
            let keys = keys.iter();
            fed.extend(keys.map(|key| (key.hash, args.arg(key.position.index))));
        }
    }
    let watched = execution.session.watched.iter();
    shards.extend(watched.map(|watched| keyspace.shard_of(keyspace.hash(&watched.key))));
    shards.sort_unstable();
    shards.dedup();
    if extends {
        execution.take_right()?;
    }
    let locked = keyspace.lock_many_patient(&shards, &mut execution.patience());
    let locked = locked.map_err(|_| execution.busy())?;
    match engine.key_listeners.waiting() {
        0 => Ok(locked),
        _ => execution.widen(locked, &fed),
    }
}

/// A watched key that existed at WATCH and has expired by now counts as changed.
fn watched_key_expired(execution: &Execution<'_, '_>, locked: &Locked<'_>) -> bool {
    let now_ms = execution.exec.now_ms;
    execution.session.watched.iter().any(|watched| {
        let hash = execution.engine.keyspace.hash(&watched.key);
        watched.lived
            && locked
                .shard(hash)
                .and_then(|shard| shard.find(watched.db, hash, &watched.key))
                .and_then(|entry| entry.deadline())
                .is_some_and(|deadline| deadline <= now_ms)
    })
}
