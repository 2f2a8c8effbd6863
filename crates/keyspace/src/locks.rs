//! The keyspace: all shards and their locks.
//!
//! A command locks the shards of its keys, in ascending order, and works on the [`Locked`] set. Lock order:
//! shards ascending, then whatever the caller locks while it holds them.

use crate::db::{DatabaseStats, Place};
use crate::entry::ValueRef;
use crate::hash::{Hasher, KeyHash};
use crate::shard::{NEVER_MS, Shard};
use crossbeam_utils::CachePadded;
use smallvec::SmallVec;
use std::any::Any;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};

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

/// A shard with its lock, alone on its cache lines.
struct Cell {
    /// When the shard's expiry has work, `NEVER_MS` for never: copied from the shard when it is unlocked,
    /// so that the time to sleep is found without locking.
    next_due_ms: AtomicU64,
    shard: Mutex<Shard>,
}

/// All data, in shards with one lock each.
pub struct Keyspace {
    cells: Box<[CachePadded<Cell>]>,
    shard_shift: u32,
    databases: u32,
    hasher: Hasher,
    /// A panic has happened while a shard was locked.
    poisoned: AtomicBool,
}

impl Keyspace {
    /// An empty keyspace without attachments.
    pub fn new(options: Options) -> Keyspace {
        Keyspace::new_with(options, |_| Box::new(()))
    }

    /// An empty keyspace whose shard i has `attachments(i)` under its lock.
    pub fn new_with(
        options: Options,
        attachments: impl Fn(usize) -> Box<dyn Any + Send>,
    ) -> Keyspace {
        let shards = options
            .shards
            .clamp(SHARDS_MIN, SHARDS_MAX)
            .next_power_of_two();
        let prefix_bits = shards.trailing_zeros();
        let databases = options.databases.max(1);
        let hasher = Hasher::new(options.hash_seed);
        let cell = |index| {
            let place = Place { index, prefix_bits };
            let shard = Shard::new(place, databases, hasher, attachments(index));
            CachePadded::new(Cell {
                next_due_ms: AtomicU64::new(NEVER_MS),
                shard: Mutex::new(shard),
            })
        };
        Keyspace {
            cells: (0..shards).map(cell).collect(),
            shard_shift: u64::BITS - prefix_bits,
            databases,
            hasher,
            poisoned: AtomicBool::new(false),
        }
    }

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
        self.cells.len()
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

    /// True when a panic has happened while a shard was locked: what it holds may be half changed. The
    /// shard can still be locked.
    #[inline]
    pub fn poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Relaxed)
    }

    /// The shards that were locked during a panic.
    pub fn poisoned_shards(&self) -> impl Iterator<Item = usize> {
        let cells = self.cells.iter().enumerate();
        cells
            .filter(|(_, cell)| cell.shard.is_poisoned())
            .map(|(index, _)| index)
    }

    /// When the shard's expiry has work (absolute unix milliseconds), `None` for never. Does not lock: a
    /// deadline that is just being set under the lock counts when the lock is released.
    pub fn next_due_ms(&self, shard: usize) -> Option<u64> {
        let time = self.cells.get(shard)?.next_due_ms.load(Ordering::Relaxed);
        (time != NEVER_MS).then_some(time)
    }

    #[inline]
    fn guard(&self, index: usize) -> Guard<'_> {
        // The count is a power of two, so the mask keeps every index in range.
        let index = index & (self.cells.len() - 1);
        let cell = &*self.cells[index];
        let shard = cell.shard.lock().unwrap_or_else(|error| error.into_inner());
        Guard {
            shard,
            cell,
            keyspace: self,
            index,
        }
    }

    #[inline]
    fn try_guard(&self, index: usize) -> Option<Guard<'_>> {
        let index = index & (self.cells.len() - 1);
        let cell = &*self.cells[index];
        let shard = match cell.shard.try_lock() {
            Ok(shard) => shard,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(Guard {
            shard,
            cell,
            keyspace: self,
            index,
        })
    }

    /// Locks one shard. Indices wrap at the number of shards.
    #[inline]
    pub fn lock_one(&self, shard: usize) -> Locked<'_> {
        Locked {
            keyspace: self,
            guards: Guards::One(self.guard(shard)),
        }
    }

    /// Locks one shard when nobody holds it.
    #[inline]
    pub fn try_lock_one(&self, shard: usize) -> Option<Locked<'_>> {
        Some(Locked {
            keyspace: self,
            guards: Guards::One(self.try_guard(shard)?),
        })
    }

    /// Locks several shards. The indices are to be ascending and without duplicates; when they are not,
    /// they are put in order first.
    pub fn lock_many(&self, shards: &[usize]) -> Locked<'_> {
        if let [shard] = shards {
            return self.lock_one(*shard);
        }
        let ordered = shards.is_sorted_by(|a, b| a < b)
            && shards.iter().all(|shard| *shard < self.cells.len());
        let guards = if ordered {
            shards.iter().map(|shard| self.guard(*shard)).collect()
        } else {
            let mut shards: Vec<usize> = shards
                .iter()
                .map(|shard| shard & (self.cells.len() - 1))
                .collect();
            shards.sort_unstable();
            shards.dedup();
            shards.iter().map(|shard| self.guard(*shard)).collect()
        };
        Locked {
            keyspace: self,
            guards: Guards::Many(guards),
        }
    }

    /// Locks all shards.
    pub fn lock_all(&self) -> Locked<'_> {
        let guards = (0..self.cells.len())
            .map(|shard| self.guard(shard))
            .collect();
        Locked {
            keyspace: self,
            guards: Guards::All(guards),
        }
    }

    /// Starts bringing the bucket of a key into the cache. Does nothing when somebody holds the shard.
    #[inline]
    pub fn prefetch_bucket(&self, db: u32, hash: KeyHash) {
        if let Ok(shard) = self.cells[self.shard_of(hash)].shard.try_lock()
            && let Some(db) = shard.db(db)
        {
            db.table.prefetch_bucket(hash.0);
        }
    }

    /// Starts bringing the entry of a key into the cache; looks into its bucket, so
    /// [`Keyspace::prefetch_bucket`] should have been called some time before. Does nothing when somebody
    /// holds the shard.
    #[inline]
    pub fn prefetch_entry(&self, db: u32, hash: KeyHash) {
        if let Ok(shard) = self.cells[self.shard_of(hash)].shard.try_lock()
            && let Some(db) = shard.db(db)
        {
            db.table.prefetch_entry(hash.0);
        }
    }

    /// Starts bringing the beginning of a collection into the cache; looks into the entry of its key, so
    /// [`Keyspace::prefetch_entry`] should have been called some time before. Does nothing when somebody holds
    /// the shard.
    #[inline]
    pub fn prefetch_value(&self, db: u32, hash: KeyHash) {
        if let Ok(shard) = self.cells[self.shard_of(hash)].shard.try_lock()
            && let Some(db) = shard.db(db)
        {
            db.prefetch_value(hash);
        }
    }

    /// Shows the values that `hash` may mean, without comparing keys: for looking ahead into collections, after
    /// [`Keyspace::prefetch_value`]. Does nothing when somebody holds the shard.
    #[inline]
    pub fn glance(&self, db: u32, hash: KeyHash, look: impl FnMut(ValueRef<'_>)) {
        if let Ok(shard) = self.cells[self.shard_of(hash)].shard.try_lock()
            && let Some(db) = shard.db(db)
        {
            db.glance(hash, look);
        }
    }

    /// Sizes of a database, summed over all shards. Locks one shard after the other, so it is not a
    /// consistent cut.
    pub fn db_stats(&self, db: u32) -> DatabaseStats {
        let mut sum = DatabaseStats::default();
        for shard in 0..self.cells.len() {
            sum += self.guard(shard).stats(db);
        }
        sum
    }
}

impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyspace")
            .field("shards", &self.cells.len())
            .field("databases", &self.databases)
            .finish_non_exhaustive()
    }
}

/// A locked shard.
struct Guard<'a> {
    shard: MutexGuard<'a, Shard>,
    cell: &'a Cell,
    keyspace: &'a Keyspace,
    index: usize,
}

impl Deref for Guard<'_> {
    type Target = Shard;

    #[inline]
    fn deref(&self) -> &Shard {
        &self.shard
    }
}

impl DerefMut for Guard<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Shard {
        &mut self.shard
    }
}

impl Drop for Guard<'_> {
    /// Publishes what can be seen without the lock. The lock itself is released after this.
    #[inline]
    fn drop(&mut self) {
        let next = self.shard.next_due_ms();
        if self.cell.next_due_ms.load(Ordering::Relaxed) != next {
            self.cell.next_due_ms.store(next, Ordering::Relaxed);
        }
        if std::thread::panicking() {
            self.keyspace.poisoned.store(true, Ordering::Relaxed);
        }
    }
}

enum Guards<'a> {
    One(Guard<'a>),
    /// Ascending, without duplicates.
    Many(SmallVec<[Guard<'a>; 4]>),
    /// Shard i at index i.
    All(Vec<Guard<'a>>),
}

/// Some locked shards. Unlocks them when dropped.
pub struct Locked<'a> {
    keyspace: &'a Keyspace,
    guards: Guards<'a>,
}

impl<'a> Locked<'a> {
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
    pub fn prefetch_value(&self, db: u32, hash: KeyHash) {
        if let Some(db) = self.shard(hash).and_then(|shard| shard.db(db)) {
            db.prefetch_value(hash);
        }
    }

    /// [`Keyspace::glance`] for a shard that is locked already.
    #[inline]
    pub fn glance(&self, db: u32, hash: KeyHash, look: impl FnMut(ValueRef<'_>)) {
        if let Some(db) = self.shard(hash).and_then(|shard| shard.db(db)) {
            db.glance(hash, look);
        }
    }

    /// The keyspace whose shards these are.
    pub fn keyspace(&self) -> &'a Keyspace {
        self.keyspace
    }

    /// The shard of a key, when it is locked here.
    #[inline]
    pub fn shard(&self, hash: KeyHash) -> Option<&Shard> {
        self.shard_at(self.keyspace.shard_of(hash))
    }

    /// The shard of a key for change, when it is locked here.
    #[inline]
    pub fn shard_mut(&mut self, hash: KeyHash) -> Option<&mut Shard> {
        self.shard_at_mut(self.keyspace.shard_of(hash))
    }

    /// The shard with this number, when it is locked here.
    #[inline]
    pub fn shard_at(&self, index: usize) -> Option<&Shard> {
        match &self.guards {
            Guards::One(guard) => (guard.index == index).then_some(&**guard),
            Guards::Many(guards) => guards
                .get(position(guards, index).ok()?)
                .map(|guard| &**guard),
            Guards::All(guards) => guards.get(index).map(|guard| &**guard),
        }
    }

    /// The shard with this number for change, when it is locked here.
    #[inline]
    pub fn shard_at_mut(&mut self, index: usize) -> Option<&mut Shard> {
        match &mut self.guards {
            Guards::One(guard) => (guard.index == index).then_some(&mut **guard),
            Guards::Many(guards) => {
                let at = position(guards, index).ok()?;
                guards.get_mut(at).map(|guard| &mut **guard)
            }
            Guards::All(guards) => guards.get_mut(index).map(|guard| &mut **guard),
        }
    }

    /// True when the shard with this number is locked here.
    pub fn holds(&self, shard: usize) -> bool {
        self.shard_at(shard).is_some()
    }

    /// True when all shards are locked here.
    pub fn holds_all(&self) -> bool {
        self.guards().len() == self.keyspace.shard_count()
    }

    /// The numbers of the locked shards, ascending.
    pub fn numbers(&self) -> impl Iterator<Item = usize> {
        self.guards().iter().map(|guard| guard.index)
    }

    /// The locked shards, ascending.
    pub fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.guards().iter().map(|guard| &**guard)
    }

    /// The locked shards for change, ascending.
    pub fn shards_mut(&mut self) -> impl Iterator<Item = &mut Shard> {
        let guards = match &mut self.guards {
            Guards::One(guard) => std::slice::from_mut(guard),
            Guards::Many(guards) => guards.as_mut_slice(),
            Guards::All(guards) => guards.as_mut_slice(),
        };
        guards.iter_mut().map(|guard| &mut **guard)
    }

    fn guards(&self) -> &[Guard<'a>] {
        match &self.guards {
            Guards::One(guard) => std::slice::from_ref(guard),
            Guards::Many(guards) => guards,
            Guards::All(guards) => guards,
        }
    }

    /// Locks one more shard, whatever its number, when nobody holds it. True when it is locked here
    /// afterwards. Waiting for it could deadlock, so this does not wait.
    pub fn try_extend(&mut self, shard: usize) -> bool {
        if self.holds(shard) {
            return true;
        }
        if shard >= self.keyspace.shard_count() {
            return false;
        }
        let Some(guard) = self.keyspace.try_guard(shard) else {
            return false;
        };
        let guards = std::mem::replace(&mut self.guards, Guards::Many(SmallVec::new()));
        let mut guards = match guards {
            Guards::One(one) => SmallVec::from_iter([one]),
            Guards::Many(many) => many,
            Guards::All(all) => SmallVec::from_vec(all),
        };
        let at = position(&guards, shard).unwrap_or_else(|at| at);
        guards.insert(at, guard);
        self.guards = Guards::Many(guards);
        true
    }
}

fn position(guards: &[Guard<'_>], index: usize) -> Result<usize, usize> {
    guards.binary_search_by_key(&index, |guard| guard.index)
}

impl fmt::Debug for Locked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.guards().iter().map(|guard| guard.index))
            .finish()
    }
}
