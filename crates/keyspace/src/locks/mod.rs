//! The keyspace: all shards and their locks.
//!
//! A command locks the shards of its keys, in ascending order, and works on the [`Locked`] set.
//! Lock order: the extension right, shards ascending, then the locks that callers take while they
//! hold shards. The holder of the [extension right](Keyspace::extension_right) locks further shards
//! in any order; `right.rs` describes the protocol and why it excludes deadlocks.

mod held;
mod patience;
mod right;
mod sync;
mod table;
#[cfg(test)]
mod tests;

pub use patience::GaveUp;
pub use right::ExtensionRight;

use crate::db::Place;
use crate::entry::ValueRef;
use crate::hash::{Hasher, KeyHash};
use crate::shard::{NEVER_MS, Shard};
use held::{Held, Many};
use patience::Patience;
use std::fmt;
use table::{Content, Guard, LockTable};

/// The fewest shards.
pub const SHARDS_MIN: usize = 16;
/// The most shards.
pub const SHARDS_MAX: usize = 1024;

/// How a keyspace is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Number of shards, rounded up to a power of two and into [`SHARDS_MIN`]..=[`SHARDS_MAX`].
    pub shards: usize,
    /// Number of databases, at least one.
    pub databases: u32,
    /// The secret of the hash. Random, or clients can choose keys that collide.
    pub hash_seed: [u64; 2],
}

impl<T> Content for Shard<T> {
    #[inline]
    fn next_due_ms(&self) -> u64 {
        Shard::next_due_ms(self)
    }
}

/// All data, in shards with one lock each. `T` is the type of the attachments of a shard.
///
/// # Waiting
/// `lock_*` wait until the shards are free. The `_patient` forms call `patience` about once per
/// millisecond while they wait, and give up with everything released when it returns false. They do
/// not call it when the shards are free. A request may hold some of the shards during the call, so
/// `patience` must not lock any.
pub struct Keyspace<T = ()> {
    locks: LockTable<Shard<T>>,
    shard_shift: u32,
    databases: u32,
    hasher: Hasher,
}

impl<T: Default> Keyspace<T> {
    /// An empty keyspace.
    pub fn new(options: Options) -> Keyspace<T> {
        let shards = options
            .shards
            .clamp(SHARDS_MIN, SHARDS_MAX)
            .next_power_of_two();
        let prefix_bits = shards.trailing_zeros();
        let databases = options.databases.max(1);
        let hasher = Hasher::new(options.hash_seed);
        let shard = |index| {
            let place = Place { index, prefix_bits };
            Shard::new(place, databases, hasher, T::default())
        };
        Keyspace {
            locks: LockTable::new((0..shards).map(shard)),
            shard_shift: u64::BITS - prefix_bits,
            databases,
            hasher,
        }
    }
}

impl<T: Default> Keyspace<T> {
    /// An empty keyspace with the same shards, databases and hashes, whose databases
    /// [`Shard::adopt`] can move into this one.
    pub fn sibling(&self) -> Keyspace<T> {
        let prefix_bits = u64::BITS - self.shard_shift;
        let shard = |index| {
            let place = Place { index, prefix_bits };
            Shard::new(place, self.databases, self.hasher, T::default())
        };
        Keyspace {
            locks: LockTable::new((0..self.shard_count()).map(shard)),
            shard_shift: self.shard_shift,
            databases: self.databases,
            hasher: self.hasher,
        }
    }
}

impl<T> Keyspace<T> {
    /// The hash of a key.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> KeyHash {
        self.hasher.hash(key)
    }

    /// The shard of a hash; also of a position in hash order.
    #[inline]
    pub fn shard_of(&self, hash: KeyHash) -> usize {
        (hash.0 >> self.shard_shift) as usize
    }

    /// Number of shards, a power of two.
    #[inline]
    pub fn shard_count(&self) -> usize {
        self.locks.len()
    }

    /// Number of databases.
    pub fn databases(&self) -> u32 {
        self.databases
    }

    /// The first position of a shard in hash order, where a scan of it begins.
    pub fn first_position(&self, shard: usize) -> u64 {
        Place {
            index: shard,
            prefix_bits: u64::BITS - self.shard_shift,
        }
        .origin()
    }

    /// True when a thread has panicked while it held a shard: its content may be half changed. The
    /// shard can still be locked. One relaxed load.
    #[inline]
    pub fn poisoned(&self) -> bool {
        self.locks.is_poisoned()
    }

    /// When the shard's expiry has work (absolute unix milliseconds), `None` for never. Does not
    /// lock: an expiry that is just being set under the lock counts when the lock is released.
    pub fn next_due_ms(&self, shard: usize) -> Option<u64> {
        let time = self.locks.next_due_ms(shard)?;
        (time != NEVER_MS).then_some(time)
    }

    /// Locks one shard. Indices wrap at the number of shards.
    #[inline]
    pub fn lock_one(&self, shard: usize) -> Locked<'_, T> {
        let guard = match self.locks.try_lock(shard) {
            Some(guard) => guard,
            None => unlimited(self.locks.wait(shard, &mut Patience::Unlimited)),
        };
        self.locked(Held::One(guard))
    }

    /// [`Keyspace::lock_one`] with [patience](Keyspace#waiting).
    #[inline]
    pub fn lock_one_patient(
        &self,
        shard: usize,
        patience: &mut dyn FnMut() -> bool,
    ) -> Result<Locked<'_, T>, GaveUp> {
        let guard = match self.locks.try_lock(shard) {
            Some(guard) => guard,
            None => self.locks.wait(shard, &mut Patience::Asked(patience))?,
        };
        Ok(self.locked(Held::One(guard)))
    }

    /// Locks several shards. The indices are to be ascending and without duplicates; otherwise they
    /// are put in order first.
    #[inline]
    pub fn lock_many(&self, shards: &[usize]) -> Locked<'_, T> {
        if let [shard] = shards {
            return self.lock_one(*shard);
        }
        let mut guards = Many::new();
        unlimited(self.many(shards, &mut guards, &mut Patience::Unlimited));
        self.locked(Held::Many(guards))
    }

    /// [`Keyspace::lock_many`] with [patience](Keyspace#waiting).
    #[inline]
    pub fn lock_many_patient(
        &self,
        shards: &[usize],
        patience: &mut dyn FnMut() -> bool,
    ) -> Result<Locked<'_, T>, GaveUp> {
        if let [shard] = shards {
            return self.lock_one_patient(*shard, patience);
        }
        let mut guards = Many::new();
        self.many(shards, &mut guards, &mut Patience::Asked(patience))?;
        Ok(self.locked(Held::Many(guards)))
    }

    fn many<'a>(
        &'a self,
        shards: &[usize],
        guards: &mut Many<'a, Shard<T>>,
        patience: &mut Patience<'_>,
    ) -> Result<(), GaveUp> {
        let ordered = shards.is_sorted_by(|a, b| a < b)
            && shards.iter().all(|shard| *shard < self.locks.len());
        if ordered {
            let shards = shards.iter().copied();
            return self.locks.lock_many(shards, guards, patience);
        }
        let mask = self.locks.len() - 1;
        let mut shards: Vec<usize> = shards.iter().map(|shard| shard & mask).collect();
        shards.sort_unstable();
        shards.dedup();
        let shards = shards.iter().copied();
        self.locks.lock_many(shards, guards, patience)
    }

    /// Locks all shards.
    pub fn lock_all(&self) -> Locked<'_, T> {
        unlimited(self.all(&mut Patience::Unlimited))
    }

    /// [`Keyspace::lock_all`] with [patience](Keyspace#waiting).
    pub fn lock_all_patient(
        &self,
        patience: &mut dyn FnMut() -> bool,
    ) -> Result<Locked<'_, T>, GaveUp> {
        self.all(&mut Patience::Asked(patience))
    }

    fn all(&self, patience: &mut Patience<'_>) -> Result<Locked<'_, T>, GaveUp> {
        let mut guards = Vec::with_capacity(self.locks.len());
        let all = 0..self.locks.len();
        self.locks.lock_many(all, &mut guards, patience)?;
        Ok(self.locked(Held::All(guards)))
    }

    #[inline]
    fn locked<'a>(&'a self, held: Held<'a, Shard<T>>) -> Locked<'a, T> {
        Locked {
            keyspace: self,
            held,
        }
    }

    /// Takes the extension right: the permission of one thread at a time to lock further shards, in
    /// any order, while it holds some ([`Locked::extend`]). Threads get it in order of arrival, and
    /// after the lock requests that gave shards back to an earlier holder.
    ///
    /// Two mistakes are to be avoided:
    /// - taking the right while the thread holds shards: the holder of the right may wait for them;
    /// - taking it although the thread holds all shards: there is nothing to extend to, so a
    ///   command inside such a set runs without the right.
    ///
    /// # Panics
    /// Both panic, and so does a thread that has the right already.
    #[track_caller]
    pub fn extension_right(&self) -> ExtensionRight<'_> {
        unlimited(self.locks.extension().take(&mut Patience::Unlimited))
    }

    /// [`Keyspace::extension_right`] with [patience](Keyspace#waiting).
    #[track_caller]
    pub fn extension_right_patient(
        &self,
        patience: &mut dyn FnMut() -> bool,
    ) -> Result<ExtensionRight<'_>, GaveUp> {
        let mut patience = Patience::Asked(patience);
        self.locks.extension().take(&mut patience)
    }

    /// [`Keyspace::extension_right`] without waiting: `None` when another thread has the right or
    /// waits for it, or when a lock request is to be served before.
    #[track_caller]
    pub fn try_extension_right(&self) -> Option<ExtensionRight<'_>> {
        self.locks.extension().try_take()
    }

    /// Starts bringing the bucket of a key into the cache. Does nothing when the shard is locked.
    #[inline]
    pub fn prefetch_bucket(&self, db: u32, hash: KeyHash) {
        if let Some(shard) = self.locks.peek(self.shard_of(hash))
            && let Some(db) = shard.db(db)
        {
            db.table.prefetch_bucket(hash.0);
        }
    }

    /// Starts bringing the entry of a key into the cache; reads its bucket, so call
    /// [`Keyspace::prefetch_bucket`] some time before. Does nothing when the shard is locked.
    #[inline]
    pub fn prefetch_entry(&self, db: u32, hash: KeyHash) {
        if let Some(shard) = self.locks.peek(self.shard_of(hash))
            && let Some(db) = shard.db(db)
        {
            db.table.prefetch_entry(hash.0);
        }
    }

    /// Starts bringing the beginning of a collection into the cache; reads the entry of its key, so
    /// call [`Keyspace::prefetch_entry`] some time before. True when the collection has an index,
    /// where it pays to [`Keyspace::glance`]. Does nothing when the shard is locked.
    #[inline]
    pub fn prefetch_value(&self, db: u32, hash: KeyHash) -> bool {
        let shard = self.locks.peek(self.shard_of(hash));
        let db = shard.as_ref().and_then(|shard| shard.db(db));
        db.is_some_and(|db| db.prefetch_value(hash))
    }

    /// Shows the values that `hash` may mean, without comparing keys: for looking ahead into
    /// collections, after [`Keyspace::prefetch_value`]. Does nothing when the shard is locked.
    #[inline]
    pub fn glance(&self, db: u32, hash: KeyHash, look: impl FnMut(ValueRef<'_>)) {
        if let Some(shard) = self.locks.peek(self.shard_of(hash))
            && let Some(db) = shard.db(db)
        {
            db.glance(hash, look);
        }
    }
}

/// The result of a wait that cannot be given up.
#[inline]
#[track_caller]
fn unlimited<L>(result: Result<L, GaveUp>) -> L {
    match result {
        Ok(locked) => locked,
        Err(GaveUp) => unreachable!("a request with unlimited patience does not give up"),
    }
}

impl<T> fmt::Debug for Keyspace<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyspace")
            .field("shards", &self.locks.len())
            .field("databases", &self.databases)
            .finish_non_exhaustive()
    }
}

/// Some locked shards. Unlocks them when dropped.
pub struct Locked<'a, T = ()> {
    keyspace: &'a Keyspace<T>,
    held: Held<'a, Shard<T>>,
}

impl<'a, T> Locked<'a, T> {
    /// [`Keyspace::prefetch_bucket`] for a shard that is locked already.
    #[inline]
    pub fn prefetch_bucket(&self, db: u32, hash: KeyHash) {
        if let Some(db) = self.shard(hash).and_then(|shard| shard.db(db)) {
            db.table.prefetch_bucket(hash.0);
        }
    }

    /// [`Keyspace::prefetch_entry`] for a shard that is locked already.
    #[inline]
    pub fn prefetch_entry(&self, db: u32, hash: KeyHash) {
        if let Some(db) = self.shard(hash).and_then(|shard| shard.db(db)) {
            db.table.prefetch_entry(hash.0);
        }
    }

    /// [`Keyspace::prefetch_value`] for a shard that is locked already.
    #[inline]
    pub fn prefetch_value(&self, db: u32, hash: KeyHash) -> bool {
        let db = self.shard(hash).and_then(|shard| shard.db(db));
        db.is_some_and(|db| db.prefetch_value(hash))
    }

    /// [`Keyspace::glance`] for a shard that is locked already.
    #[inline]
    pub fn glance(&self, db: u32, hash: KeyHash, look: impl FnMut(ValueRef<'_>)) {
        if let Some(db) = self.shard(hash).and_then(|shard| shard.db(db)) {
            db.glance(hash, look);
        }
    }

    /// The keyspace whose shards these are.
    pub fn keyspace(&self) -> &'a Keyspace<T> {
        self.keyspace
    }

    /// The shard of a key, when it is locked here.
    #[inline]
    pub fn shard(&self, hash: KeyHash) -> Option<&Shard<T>> {
        self.shard_at(self.keyspace.shard_of(hash))
    }

    /// The shard of a key for change, when it is locked here.
    #[inline]
    pub fn shard_mut(&mut self, hash: KeyHash) -> Option<&mut Shard<T>> {
        self.shard_at_mut(self.keyspace.shard_of(hash))
    }

    /// The shard with this number, when it is locked here.
    #[inline]
    pub fn shard_at(&self, index: usize) -> Option<&Shard<T>> {
        self.held.get(index)
    }

    /// The shard with this number for change, when it is locked here.
    #[inline]
    pub fn shard_at_mut(&mut self, index: usize) -> Option<&mut Shard<T>> {
        self.held.get_mut(index)
    }

    /// The shard of a key whose shard the caller has locked.
    ///
    /// # Panics
    /// When the shard is not locked here.
    #[inline]
    #[track_caller]
    pub fn held(&self, hash: KeyHash) -> &Shard<T> {
        let index = self.keyspace.shard_of(hash);
        match self.held.get(index) {
            Some(shard) => shard,
            None => not_held(index),
        }
    }

    /// The shard of a key whose shard the caller has locked, for change.
    ///
    /// # Panics
    /// When the shard is not locked here.
    #[inline]
    #[track_caller]
    pub fn held_mut(&mut self, hash: KeyHash) -> &mut Shard<T> {
        let index = self.keyspace.shard_of(hash);
        match self.held.get_mut(index) {
            Some(shard) => shard,
            None => not_held(index),
        }
    }

    /// True when the shard with this number is locked here.
    pub fn holds(&self, shard: usize) -> bool {
        self.held.get(shard).is_some()
    }

    /// True when all shards are locked here.
    pub fn holds_all(&self) -> bool {
        self.held.guards().len() == self.keyspace.shard_count()
    }

    /// The numbers of the locked shards, ascending.
    pub fn numbers(&self) -> impl Iterator<Item = usize> {
        self.held.guards().iter().map(Guard::index)
    }

    /// The locked shards, ascending.
    pub fn shards(&self) -> impl Iterator<Item = &Shard<T>> {
        self.held.guards().iter().map(|guard| &**guard)
    }

    /// The locked shards for change, ascending.
    pub fn shards_mut(&mut self) -> impl Iterator<Item = &mut Shard<T>> {
        self.held.guards_mut().iter_mut().map(|guard| &mut **guard)
    }

    /// Locks one more shard, whatever its number, when it is free. True when it is locked here
    /// afterwards. To wait for it could be a deadlock without the extension right.
    pub fn try_extend(&mut self, shard: usize) -> bool {
        self.holds(shard)
            || shard < self.keyspace.shard_count()
                && self.held.try_extend(&self.keyspace.locks, shard)
    }

    /// Locks one more shard, whatever its number, and waits for it. The thread took the right
    /// before it locked the shards of this set, which are all that it holds. Indices wrap at the
    /// number of shards.
    ///
    /// # Panics
    /// When the right is one of another keyspace.
    pub fn extend(&mut self, right: &ExtensionRight<'_>, shard: usize) {
        unlimited(self.extend_by(right, shard, &mut Patience::Unlimited));
    }

    /// [`Locked::extend`] with [patience](Keyspace#waiting). After giving up the set is as before.
    ///
    /// # Panics
    /// When the right is one of another keyspace.
    pub fn extend_patient(
        &mut self,
        right: &ExtensionRight<'_>,
        shard: usize,
        patience: &mut dyn FnMut() -> bool,
    ) -> Result<(), GaveUp> {
        self.extend_by(right, shard, &mut Patience::Asked(patience))
    }

    fn extend_by(
        &mut self,
        right: &ExtensionRight<'_>,
        shard: usize,
        patience: &mut Patience<'_>,
    ) -> Result<(), GaveUp> {
        let locks = &self.keyspace.locks;
        let shard = shard & (locks.len() - 1);
        self.held.extend(locks, right, shard, patience)
    }

    /// Locks all shards that are not locked here, as [`Locked::extend`] does.
    ///
    /// # Panics
    /// When the right is one of another keyspace.
    pub fn extend_to_all(&mut self, right: &ExtensionRight<'_>) {
        let locks = &self.keyspace.locks;
        let result = self
            .held
            .extend_to_all(locks, right, &mut Patience::Unlimited);
        unlimited(result);
    }

    /// [`Locked::extend_to_all`] with [patience](Keyspace#waiting). After giving up the set has the
    /// shards from before and some others.
    ///
    /// # Panics
    /// When the right is one of another keyspace.
    pub fn extend_to_all_patient(
        &mut self,
        right: &ExtensionRight<'_>,
        patience: &mut dyn FnMut() -> bool,
    ) -> Result<(), GaveUp> {
        let locks = &self.keyspace.locks;
        self.held
            .extend_to_all(locks, right, &mut Patience::Asked(patience))
    }
}

#[cold]
#[track_caller]
fn not_held(shard: usize) -> ! {
    unreachable!("shard {shard} is used but not locked")
}

impl<T> fmt::Debug for Locked<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.numbers()).finish()
    }
}
