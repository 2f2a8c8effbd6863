//! Which shards a command locks.

use std::sync::MutexGuard;

use keyspace::KeyHash;
use resp::Args;
use smallvec::SmallVec;

use super::{Call, Execution, Request, multi};
use crate::command::{Flags, Locks};
use crate::engine::Engine;
use crate::execute::blocking;
use crate::keys::LocatedKey;
use crate::shard_tables::{Keyspace, Locked};
use crate::table::{Command, KeyPlan, key_positions};

/// Keys of ordinary commands that an executor keeps room for: a command with a hundred thousand
/// keys must not pin its memory.
pub(super) const KEYS_KEEP: usize = 1024;

/// Keys whose lines are brought in together: three lines each stay within the first-level cache.
const LOOK_AHEAD_KEYS: usize = 64;

/// Finds and hashes the keys of a request, in order of their position.
#[inline]
pub fn locate(
    engine: &Engine,
    command: &Command,
    request: Request<'_>,
    into: &mut Vec<LocatedKey>,
) {
    let args = request.args;
    match command.plan {
        KeyPlan::None => {}
        KeyPlan::One(position) => {
            if let Some(key) = args.get(position.index) {
                let hash = request.hash.unwrap_or_else(|| engine.keyspace.hash(key));
                into.push(LocatedKey { position, hash });
            }
        }
        KeyPlan::Specs => into.extend(locate_by_specs(&engine.keyspace, command, args)),
    }
}

/// The same for commands that are not on the hot path.
pub(crate) fn locate_by_specs(
    keyspace: &Keyspace,
    command: &Command,
    args: Args<'_>,
) -> SmallVec<[LocatedKey; 4]> {
    let positions = key_positions(command.spec, args);
    let mut located: SmallVec<[LocatedKey; 4]> = positions
        .iter()
        .map(|position| LocatedKey {
            position: *position,
            hash: keyspace.hash(args.arg(position.index)),
        })
        .collect();
    located.sort_unstable_by_key(|key| key.position.index);
    located
}

/// A command on many keys has its own look-ahead: all buckets on their way into the cache, then all
/// entries. (The batch of its worker looks ahead of a command on one key.)
#[inline]
pub(super) fn look_ahead(locked: &Locked<'_>, db: u32, keys: &[LocatedKey]) {
    if keys.len() >= 2 {
        prefetch(locked, db, keys);
    }
}

fn prefetch(locked: &Locked<'_>, db: u32, keys: &[LocatedKey]) {
    for chunk in keys.chunks(LOOK_AHEAD_KEYS) {
        chunk
            .iter()
            .for_each(|key| locked.prefetch_bucket(db, key.hash));
        chunk
            .iter()
            .for_each(|key| locked.prefetch_entry(db, key.hash));
    }
}

impl<'k> Execution<'_, 'k> {
    /// The lock of the configuration, for a transaction that changes it. It comes before those of
    /// shards.
    #[inline]
    pub(super) fn lock_changes(&self, call: Call<'_>) -> Option<MutexGuard<'k, ()>> {
        let is_exec = matches!(call.command.spec.locks, Locks::Queued);
        (is_exec && multi::locks_config(self.session)).then(|| self.engine.config.lock_changes())
    }

    /// Locks the shards of a command, and those needed to serve the waiters of keys that it may
    /// feed.
    pub(super) fn lock_for(&mut self, call: Call<'_>) -> Locked<'k> {
        if matches!(call.command.spec.locks, Locks::Queued) {
            return multi::lock_for(self.engine, self.session);
        }
        let locked = self.lock(call);
        if call.command.spec.flags.has(Flags::WRITE)
            && self.engine.key_listeners.waiting() > 0
            && !locked.holds_all()
        {
            let keys = call.keys.iter();
            let fed: SmallVec<[(KeyHash, &[u8]); 4]> = keys
                .map(|key| (key.hash, call.args.arg(key.position.index)))
                .collect();
            return blocking::widen(self.engine, locked, &fed);
        }
        locked
    }

    fn lock(&mut self, call: Call<'_>) -> Locked<'k> {
        let keyspace = &self.engine.keyspace;
        match (call.locks(), call.keys) {
            (Locks::All | Locks::Queued | Locks::ByArguments(_), _) => keyspace.lock_all(),
            (Locks::Own, _) | (Locks::Keys, []) => keyspace.lock_many(&[]),
            (Locks::Keys, [one]) => keyspace.lock_one(keyspace.shard_of(one.hash)),
            (Locks::Keys, many) => {
                let shards = &mut self.exec.shards;
                shards.clear();
                shards.extend(many.iter().map(|key| keyspace.shard_of(key.hash)));
                shards.sort_unstable();
                shards.dedup();
                shards.shrink_to(KEYS_KEEP);
                keyspace.lock_many(shards)
            }
        }
    }
}
