//! Active expiry: removes expired keys that no command accesses, logs the removal and announces it.

use std::sync::atomic::Ordering;

use keyspace::{OnExpired, Type};

use crate::config::P;
use crate::context::ExpiredElements;
use crate::engine::Engine;
use crate::execute::{self, Executor};
use crate::fault::Stage;

/// Work per lock of a shard, in looks at entries (each a cache miss or two): some tens of
/// microseconds, which delays commands on the shard very little.
const BUDGET_PER_LOCK: usize = 256;

/// Work per loop turn, in locks: together with the above at most a few milliseconds, after which
/// clients get their turn.
const LOCKS_PER_TURN: usize = 64;

/// A shard that a script has locked is looked at again then.
const LOCKED_AGAIN_MS: u64 = 10;

/// Removes expired keys and elements. Returns when the next ones expire (Unix milliseconds;
/// `u64::MAX`: never).
pub fn run(exec: &mut Executor, engine: &Engine, from: &mut usize) -> u64 {
    let began_ns = engine.clock.monotonic_ns();
    let cycle = execute::guarded(engine, "active expiry", || cycle(exec, engine, from));
    let nanos = engine.clock.monotonic_ns().saturating_sub(began_ns);
    if let Some(stats) = engine.stats.get(exec.worker) {
        stats.expire_nanos.add(nanos);
    }
    // After a panic active expiry stays off.
    cycle.unwrap_or(u64::MAX)
}

fn cycle(exec: &mut Executor, engine: &Engine, from: &mut usize) -> u64 {
    if !is_active(engine) {
        expire_local(exec, engine);
        // Runs again in 100 ms, because the switch has no waker. The time is stored: the keys that
        // have expired would keep the worker awake otherwise.
        let again = exec.now_ms + 100;
        engine.next_expiry_ms.store(again, Ordering::Release);
        return again;
    }
    // Reset before looking, so that a deadline set meanwhile is not lost.
    engine.next_expiry_ms.store(u64::MAX, Ordering::Release);
    let shards = engine.keyspace.shard_count();
    let mut next = u64::MAX;
    let mut locks = 0;
    for step in 0..shards {
        let shard = (*from + step) % shards;
        let Some(due) = engine.keyspace.next_due_ms(shard) else {
            continue;
        };
        if due > exec.now_ms {
            next = next.min(due);
            continue;
        }
        loop {
            let (more, next_due) = expire_shard(exec, engine, shard);
            locks += 1;
            if locks >= LOCKS_PER_TURN {
                *from = shard;
                return exec.now_ms;
            }
            if !more {
                next = next.min(next_due.unwrap_or(u64::MAX));
                break;
            }
        }
    }
    next
}

/// Removes what clients wrote with a deadline to a writable replica.
fn expire_local(exec: &mut Executor, engine: &Engine) {
    let local = &engine.role.local_deadlines;
    let is_off = engine.is_paused() || engine.loading.is_active() || engine.is_half_changed();
    if local.count() == 0 || is_off || !engine.switches.active_expire.load(Ordering::Relaxed) {
        return;
    }
    for (db, key) in local.take_due(exec.now_ms, BUDGET_PER_LOCK) {
        let shard = engine.keyspace.shard_of(engine.keyspace.hash(&key));
        let mut waits = || !engine.runs.any();
        let Ok(mut locked) = engine.keyspace.lock_one_patient(shard, &mut waits) else {
            local.note(db, &key, exec.now_ms + LOCKED_AGAIN_MS);
            continue;
        };
        exec.change(engine, &mut locked, db, |data| {
            data.remove_expired(data.key(&key));
        });
    }
    if !exec.ready.is_empty() {
        super::blocking::serve_later(exec, engine);
    }
}

fn is_active(engine: &Engine) -> bool {
    engine.switches.active_expire.load(Ordering::Relaxed)
        && !engine.is_paused()
        && !engine.loading.is_active()
        && !engine.is_half_changed()
        && !engine.config.bool(P::ImportMode)
        && !engine.role.is_replica()
}

/// One step in every shard, whether it has something due or not: a shard whose keys with deadlines
/// are all gone frees its index of deadlines.
pub fn visit_all(exec: &mut Executor, engine: &Engine) {
    if is_active(engine) {
        for shard in 0..engine.keyspace.shard_count() {
            let (_, next_ms) = expire_shard(exec, engine, shard);
            engine
                .next_expiry_ms
                .fetch_min(next_ms.unwrap_or(u64::MAX), Ordering::AcqRel);
        }
    }
}

fn expire_shard(exec: &mut Executor, engine: &Engine, shard: usize) -> (bool, Option<u64>) {
    let now_ms = exec.now_ms;
    // A script may have locked the shard for long: others have their turn.
    let mut waits = || !engine.runs.any();
    let Ok(mut locked) = engine.keyspace.lock_one_patient(shard, &mut waits) else {
        return (false, Some(now_ms + LOCKED_AGAIN_MS));
    };
    let mut due = Due::default();
    let Some(target) = locked.shard_at_mut(shard) else {
        return (false, None);
    };
    let progress = target.expire_due(now_ms, BUDGET_PER_LOCK, &mut due);
    for old in progress.garbage {
        if old.is_big() && engine.config.bool(P::LazyfreeLazyExpire) {
            engine.lazy.free(Box::new(old));
        }
    }
    engine.faults.reach(Stage::Expire);
    for chunk in due.entries.chunk_by(|a, b| a.0 == b.0) {
        let Some((db, _)) = chunk.first() else {
            continue;
        };
        exec.change(engine, &mut locked, *db, |data| {
            for (_, key) in chunk {
                data.note_expired(data.key(key));
            }
        });
    }
    for (db, key, gone) in &due.elements {
        exec.change(engine, &mut locked, *db, |data| {
            data.note_expired_elements(data.key(key), gone);
        });
    }
    drop(locked);
    if !exec.ready.is_empty() {
        super::blocking::serve_later(exec, engine);
    }
    (progress.more, progress.next_due_ms)
}

/// Keys and elements that one step has removed, for their events.
#[derive(Default)]
struct Due {
    entries: Vec<(u32, Vec<u8>)>,
    /// Elements of one collection after the other.
    elements: Vec<(u32, Vec<u8>, ExpiredElements)>,
}

impl Due {
    fn collection(&mut self, db: u32, key: &[u8]) -> Option<&mut ExpiredElements> {
        let is_last = |last: &(u32, Vec<u8>, ExpiredElements)| last.0 == db && last.1 == key;
        if !self.elements.last().is_some_and(is_last) {
            let fresh = ExpiredElements::default();
            self.elements.push((db, key.to_vec(), fresh));
        }
        self.elements.last_mut().map(|(_, _, gone)| gone)
    }
}

impl OnExpired for Due {
    fn entry(&mut self, db: u32, key: &[u8]) {
        self.entries.push((db, key.to_vec()));
    }

    fn element(&mut self, db: u32, key: &[u8], kind: Type, element: &[u8]) {
        if let Some(gone) = self.collection(db, key) {
            gone.element(db, key, kind, element);
        }
    }

    fn emptied(&mut self, db: u32, key: &[u8]) {
        if let Some(gone) = self.collection(db, key) {
            gone.emptied = true;
        }
    }
}
