//! Which shards a command locks.

use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use keyspace::KeyHash;
use resp::Args;
use smallvec::SmallVec;

use super::script::lock_script;
use super::{Call, Execution, Request, multi};
use crate::command::{Flags, KeyPosition, Locks};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::execute::blocking;
use crate::keys::LocatedKey;
use crate::shard_tables::{Keyspace, Locked};
use crate::table::{Command, KeyPlan, counted_positions, key_positions};

/// Keys of ordinary commands that an executor keeps room for: a command with a hundred thousand
/// keys must not pin its memory.
pub(super) const KEYS_KEEP: usize = 1024;

/// Keys whose lines are brought in together: three lines each stay within the first-level cache.
const LOOK_AHEAD_KEYS: usize = 64;

/// Why the locks of a request were not taken.
pub(super) enum NotLocked {
    /// A script has been running for too long: the error for the client.
    Busy(Box<CommandError>),
    /// The request is to be offered again.
    Postpone,
}

/// The key of a request that has exactly one, at this position.
#[inline]
pub(super) fn locate_one(
    engine: &Engine,
    position: KeyPosition,
    request: &Request<'_>,
) -> Option<LocatedKey> {
    let key = request.args.get(position.index)?;
    let hash = request.hash.unwrap_or_else(|| engine.keyspace.hash(key));
    Some(LocatedKey { position, hash })
}

/// Finds and hashes the keys of a request, in order of their position.
pub fn locate(
    engine: &Engine,
    command: &Command,
    request: &Request<'_>,
    into: &mut Vec<LocatedKey>,
) {
    let args = request.args;
    match command.plan {
        KeyPlan::None => {}
        KeyPlan::One(position) => into.extend(locate_one(engine, position, request)),
        KeyPlan::Counted(count) => into.extend(counted_positions(count, args).map(|position| {
            let hash = engine.keyspace.hash(args.arg(position.index));
            LocatedKey { position, hash }
        })),
        KeyPlan::Specs => into.extend(locate_by_specs(&engine.keyspace, command, args)),
    }
}

/// The same for the commands that a script calls.
#[inline]
pub(super) fn locate_one_or_all(
    engine: &Engine,
    command: &Command,
    args: Args<'_>,
) -> SmallVec<[LocatedKey; 4]> {
    match command.plan {
        KeyPlan::None => SmallVec::new(),
        KeyPlan::One(position) => {
            let key = args.get(position.index).into_iter();
            key.map(|key| LocatedKey {
                position,
                hash: engine.keyspace.hash(key),
            })
            .collect()
        }
        KeyPlan::Counted(_) | KeyPlan::Specs => locate_by_specs(&engine.keyspace, command, args),
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
    pub(super) fn lock_changes(&self, call: &Call<'_>) -> Option<MutexGuard<'k, ()>> {
        let is_exec = matches!(call.command.spec.locks, Locks::Queued);
        (is_exec && multi::locks_config(self.session)).then(|| self.engine.config.lock_changes())
    }

    /// Locks the shards of a command, and those needed to serve the waiters of keys that it may
    /// feed.
    pub(super) fn lock_for(&mut self, call: &Call<'_>) -> Result<Locked<'k>, NotLocked> {
        match call.locks() {
            Locks::Keys => self.lock_keys(call),
            Locks::Script(_) => lock_script(self, call),
            Locks::Queued => multi::lock_for(self),
            // SCAN: nothing else removes the expired keys that it meets.
            Locks::Own if call.command.spec.flags.has(Flags::READONLY) && !self.expires() => {
                self.lock_all()
            }
            Locks::Own => Ok(self.engine.keyspace.lock_many(&[])),
            Locks::All | Locks::ByArguments(_) => self.lock_all(),
        }
    }

    /// Active expiry is on, as it is but for tests.
    fn expires(&self) -> bool {
        self.engine.switches.active_expire.load(Ordering::Relaxed)
    }

    /// Locks the shards of the keys of a request.
    #[inline]
    pub(super) fn lock_keys(&mut self, call: &Call<'_>) -> Result<Locked<'k>, NotLocked> {
        let mut waits = self.patience();
        let keyspace = &self.engine.keyspace;
        let locked = match call.keys {
            [] => Ok(keyspace.lock_many(&[])),
            [one] => keyspace.lock_one_patient(keyspace.shard_of(one.hash), &mut waits),
            many => {
                let shards = &mut self.exec.shards;
                shards.clear();
                shards.extend(many.iter().map(|key| keyspace.shard_of(key.hash)));
                shards.sort_unstable();
                shards.dedup();
                shards.shrink_to(KEYS_KEEP);
                keyspace.lock_many_patient(shards, &mut waits)
            }
        };
        let locked = locked.map_err(|_| self.busy())?;
        let feeds = call
            .command
            .spec
            .flags
            .any(Flags::WRITE.or(Flags::MAY_REPLICATE));
        if feeds && self.engine.key_listeners.waiting() > 0 && !locked.holds_all() {
            let keys = call.keys.iter();
            let fed: SmallVec<[(KeyHash, &[u8]); 4]> = keys
                .map(|key| (key.hash, call.args.arg(key.position.index)))
                .collect();
            return self.widen(locked, &fed);
        }
        Ok(locked)
    }

    /// Locks all shards.
    pub(super) fn lock_all(&self) -> Result<Locked<'k>, NotLocked> {
        let locked = self.engine.keyspace.lock_all_patient(&mut self.patience());
        locked.map_err(|_| self.busy())
    }

    /// Adds the locks that serving the waiters of these keys needs.
    pub(super) fn widen(
        &self,
        locked: Locked<'k>,
        fed: &[(KeyHash, &[u8])],
    ) -> Result<Locked<'k>, NotLocked> {
        let widened = blocking::widen(self.engine, locked, fed, &mut self.patience());
        widened.map_err(|_| self.busy())
    }

    /// Whether a request goes on waiting for locks: until a script has run for so long that others
    /// are refused. Commands of files wait in any case.
    #[inline]
    pub(super) fn patience(&self) -> impl FnMut() -> bool + use<'k> {
        let (engine, is_client) = (self.engine, self.session.is_client());
        move || !is_client || !engine.runs.any_slow()
    }

    /// The answer to a request that has waited for too long.
    #[cold]
    pub(super) fn busy(&self) -> NotLocked {
        match self.engine.runs.slow() {
            Some(slow) => NotLocked::Busy(Box::new(slow.error())),
            // The script has just ended.
            None => NotLocked::Postpone,
        }
    }

    /// Takes the right to lock further shards while a script runs. A request that does not get it
    /// at once is offered again, so that its worker serves others meanwhile.
    pub(super) fn take_right(&mut self) -> Result<(), NotLocked> {
        let keyspace = &self.engine.keyspace;
        let right = match keyspace.try_extension_right() {
            Some(right) => right,
            None if !self.session.is_client() => keyspace.extension_right(),
            None => {
                // Asked after a millisecond.
                let right = keyspace.extension_right_patient(&mut || false);
                right.map_err(|_| self.busy())?
            }
        };
        self.right = Some(right);
        Ok(())
    }
}
