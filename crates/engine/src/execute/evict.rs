//! `maxmemory`: making room before a command takes its locks.

use std::sync::atomic::Ordering;

use keyspace::{Choice, Policy, Victim};

use crate::config::P;
use crate::engine::Engine;
use crate::execute::Executor;
use crate::fault::Stage;
use crate::keys::Key;

/// Keys evicted before one command at most; when that was not enough, the next command goes on.
/// Bounds the time that a command spends on eviction (Redis bounds it by time,
/// `maxmemory-eviction-tenacity`).
const EVICTIONS_PER_CALL_MIN: usize = 16;

/// Shards that may be found without a victim before eviction gives up.
const EMPTY_SHARDS_FACTOR: usize = 2;

/// Bytes that count against `maxmemory`: what the allocator handed out, without the log's buffers.
fn counted_memory(engine: &Engine) -> u64 {
    keyspace::memory::publish();
    keyspace::memory::used().saturating_sub(not_counted(engine))
}

/// Memory that eviction does not try to free: the log's, which would only grow by evicting, and
/// that of evicted clients, which is on its way back.
fn not_counted(engine: &Engine) -> u64 {
    let status = engine.log.status();
    let leaving = engine.clients.leaving() as u64;
    if status.enabled {
        (status.buffer_length + status.unsynced_length) as u64 + leaving
    } else {
        leaving
    }
}

/// Evicts until memory is below `maxmemory`. False when memory is above it and stays there.
pub fn make_room(exec: &mut Executor, engine: &Engine) -> bool {
    let max = engine.switches.max_memory.load(Ordering::Relaxed);
    // Clients that hold too much go before keys do.
    engine.evict_clients(exec.worker);
    if engine.role.is_replica() && engine.config.bool(P::ReplicaIgnoreMaxmemory) {
        return true;
    }
    keyspace::memory::publish();
    let is_above = max != 0 && keyspace::memory::used() > max && counted_memory(engine) > max;
    engine.memory_excess.note(is_above, &engine.clock);
    if !is_above {
        return true;
    }
    // Nothing is evicted while data is loaded.
    if engine.is_paused() || engine.loading.is_active() {
        return true;
    }
    let policy = engine.config.eviction_policy();
    if policy == Policy::NoEviction || engine.config.bool(P::ImportMode) || engine.is_half_changed()
    {
        return false;
    }
    evict_some(exec, engine, policy, max)
}

/// Evicts a part of what is above a limit that was lowered, without a command that asks for room.
/// Must not be called under locks.
pub fn approach_limit(exec: &mut Executor, engine: &Engine) {
    let lowered = &engine.switches.limit_lowered;
    if !lowered.load(Ordering::Acquire) {
        return;
    }
    lowered.store(false, Ordering::Release);
    let stats = engine.stats.get(exec.worker);
    let evicted = || stats.map_or(0, |stats| stats.evicted_keys.get());
    let before = evicted();
    let made = crate::execute::guarded(engine, "eviction", || make_room(exec, engine));
    let is_done = made != Some(true)
        || counted_memory(engine) <= engine.switches.max_memory.load(Ordering::Relaxed);
    if !is_done && evicted() > before {
        lowered.store(true, Ordering::Release);
    }
}

fn evict_some(exec: &mut Executor, engine: &Engine, policy: Policy, max: u64) -> bool {
    let tenacity = engine
        .config
        .int(P::MaxmemoryEvictionTenacity)
        .clamp(0, 100) as usize;
    let budget = if tenacity == 100 {
        usize::MAX
    } else {
        EVICTIONS_PER_CALL_MIN + tenacity * 16
    };
    let shards = engine.keyspace.shard_count();
    let mut empty = 0;
    let mut evicted = 0;
    while counted_memory(engine) > max {
        if evicted >= budget {
            // Keys can still be evicted, so the next command goes on and this one is not refused.
            return true;
        }
        let shard = exec.random.below(shards as u64) as usize;
        if evict_one(exec, engine, policy, shard) {
            evicted += 1;
            empty = 0;
            continue;
        }
        empty += 1;
        if empty >= shards * EMPTY_SHARDS_FACTOR {
            return evict_anywhere(exec, engine, policy) || counted_memory(engine) <= max;
        }
    }
    true
}

/// Few keys are left: random shards miss them, so all are tried in order.
fn evict_anywhere(exec: &mut Executor, engine: &Engine, policy: Policy) -> bool {
    let found =
        (0..engine.keyspace.shard_count()).any(|shard| evict_one(exec, engine, policy, shard));
    // Values queued for the background thread count as free soon.
    if found || engine.lazy.pending() > 0 {
        return true;
    }
    // The expiry index of the evicted keys takes memory too, and an expiry cycle frees it.
    crate::execute::expire::visit_all(exec, engine);
    false
}

fn evict_one(exec: &mut Executor, engine: &Engine, policy: Policy, shard: usize) -> bool {
    // A script may have locked the shard for long: another one has a victim.
    let mut waits = || !engine.runs.any();
    let Ok(mut locked) = engine.keyspace.lock_one_patient(shard, &mut waits) else {
        return false;
    };
    let choice = Choice {
        policy,
        samples: engine.config.int(P::MaxmemorySamples).max(1) as usize,
        now_ms: engine.lru.now().ms(),
        lfu: engine.lru.lfu(),
    };
    let random = &mut exec.random;
    let victim = locked
        .shard_at_mut(shard)
        .and_then(|shard| shard.pick_victim(&choice, &mut || random.next_u64()));
    let Some(Victim { db, hash, key }) = victim else {
        return false;
    };
    let key = Key { bytes: &key, hash };
    let word: &[u8] = if engine.config.bool(P::LazyfreeLazyEviction) {
        b"UNLINK"
    } else {
        b"DEL"
    };
    exec.change(engine, &mut locked, db, |data| {
        if let Some(old) = data.take(key) {
            data.free_by(P::LazyfreeLazyEviction, old);
            engine.faults.reach(Stage::Evict);
            data.effects.push(db, &[word, key.bytes]);
            data.stats.evicted_keys.add(1);
            data.evicted(key);
        }
    });
    drop(locked);
    if !exec.ready.is_empty() {
        super::blocking::serve_later(exec, engine);
    }
    true
}
