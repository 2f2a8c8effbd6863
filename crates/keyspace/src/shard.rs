//! A shard: its part of all numbered databases, behind one lock.

mod restore;
mod victims;

use crate::db::{Cleared, Database, DatabaseStats, FRONTIER_END, Place};
use crate::edit::EntryMut;
use crate::entry::{Block, EntryRef, NewValue, Payload, Removed, Type, Value};
use crate::eviction::Pool;
use crate::expire::{Cycle, OnExpired};
use crate::hash::{Hasher, KeyHash};
use crate::hook::{self, ChangeHook, Rest};
use crate::sizes::{Measure, SizeCounts};
use crate::undo::{self, Change};
use crate::wheel::Wanted;
use std::fmt;
use std::ops::ControlFlow;

/// No expiry work is waiting.
pub(crate) const NEVER_MS: u64 = u64::MAX;
/// The result of one call of [`Shard::expire_due`].
#[derive(Debug, Default)]
pub struct ExpireProgress {
    /// Entries that were expired.
    pub expired: usize,
    /// True when the budget was too small: call again soon.
    pub more: bool,
    /// When there is work again (absolute unix milliseconds), `None` while no entry has a deadline.
    pub next_due_ms: Option<u64>,
    /// Values whose freeing is worth another thread.
    pub garbage: Vec<Value>,
}

/// One shard. Databases at or above the configured number do not exist: nothing is found there and
/// nothing can be stored.
pub struct Shard<T = ()> {
    /// The log offset after the last command that changed this shard: until it is durable, a crash
    /// may still undo what is read here.
    pub last_log_offset: u64,
    /// Data of the server under the same lock, for instance the clients that watch its keys.
    pub attachments: T,
    /// Database 0 is inline, because nearly all requests are for it.
    first: Database,
    /// Database i + 1, created with its first entry.
    others: Vec<Option<Box<Database>>>,
    databases: u32,
    place: Place,
    hasher: Hasher,
    /// When `expire_due` has work, at the latest; never too late.
    next_due_ms: u64,
    /// The database that `expire_due` begins with, so that each gets its turn.
    expire_from: u32,
    hook: Option<Box<dyn ChangeHook>>,
    pub(crate) pool: Pool,
}

impl<T> Shard<T> {
    pub(crate) fn new(place: Place, databases: u32, hasher: Hasher, attachments: T) -> Shard<T> {
        Shard {
            last_log_offset: 0,
            attachments,
            first: Database::new(place, 0, FRONTIER_END),
            others: Vec::new(),
            databases,
            place,
            hasher,
            next_due_ms: NEVER_MS,
            expire_from: 0,
            hook: None,
            pool: Pool::default(),
        }
    }

    /// The hash of a key, as [`Keyspace::hash`](crate::Keyspace::hash).
    #[inline]
    pub fn hash(&self, key: &[u8]) -> KeyHash {
        self.hasher.hash(key)
    }

    /// The shard's number.
    pub fn index(&self) -> usize {
        self.place.index
    }

    #[inline]
    pub(crate) fn db(&self, db: u32) -> Option<&Database> {
        match db {
            0 => Some(&self.first),
            _ => self.others.get(db as usize - 1)?.as_deref(),
        }
    }

    #[inline]
    fn db_mut(&mut self, db: u32) -> Option<&mut Database> {
        match db {
            0 => Some(&mut self.first),
            _ => self.others.get_mut(db as usize - 1)?.as_deref_mut(),
        }
    }

    /// The database, created when it does not exist yet; `None` only beyond the configured number.
    #[inline]
    fn db_or_create(&mut self, db: u32) -> Option<&mut Database> {
        if db == 0 {
            return Some(&mut self.first);
        }
        self.other_or_create(db)
    }

    fn other_or_create(&mut self, db: u32) -> Option<&mut Database> {
        if db >= self.databases {
            return None;
        }
        let index = db as usize - 1;
        if self.others.len() <= index {
            self.others.resize_with(index + 1, || None);
        }
        // Database 0 takes part in every cycle. All entries of the new database are younger than
        // the hook.
        let (place, seen_ms) = (self.place, self.first.expiry.seen_ms());
        let other = self.others.get_mut(index)?;
        Some(other.get_or_insert_with(|| Box::new(Database::new(place, seen_ms, FRONTIER_END))))
    }

    /// The one way to an entry that is to be changed or removed: notes it for an undo, and calls
    /// the change hook first.
    #[inline]
    fn entry_mut(
        &mut self,
        db: u32,
        hash: KeyHash,
        key: &[u8],
        change: Change,
    ) -> Option<EntryMut<'_>> {
        let number = db;
        let db = match number {
            0 => &mut self.first,
            _ => self.others.get_mut(number as usize - 1)?.as_deref_mut()?,
        };
        let slot = db.find(hash, key)?;
        // SAFETY: the undo and the hook are the only users of this copy, one after the other and
        // before anything is changed.
        let block = unsafe { db.block(slot) };
        if undo::is_recording() {
            // SAFETY: the database is borrowed exclusively.
            unsafe { undo::before_change(number, hash, block, change) };
        }
        hook::before_change(&mut self.hook, db, number, hash, block);
        let place = (number, hash);
        Some(EntryMut::new(db, &mut self.next_due_ms, place, slot))
    }

    /// The one way to a new entry: notes for an undo that the key is absent, and calls the change
    /// hook first.
    #[inline]
    fn insert(
        &mut self,
        db: u32,
        hash: KeyHash,
        key: &[u8],
        payload: Payload<'_>,
        deadline: Option<u64>,
        lru: u32,
    ) {
        let number = db;
        if db != 0 && self.other_or_create(db).is_none() {
            return;
        }
        let db = match db {
            0 => Some(&mut self.first),
            _ => self
                .others
                .get_mut(db as usize - 1)
                .and_then(Option::as_deref_mut),
        };
        let Some(db) = db else { return };
        if undo::is_recording() {
            undo::before_insert(number, hash, key);
        }
        let block = Block::create(key, payload, deadline, lru);
        hook::before_insert(&self.hook, db, hash, block);
        let due_ms = db.insert(hash, block, &self.hasher);
        self.next_due_ms = self.next_due_ms.min(due_ms);
    }

    /// The entry of a key. An entry whose deadline has passed is found too: the caller decides.
    #[inline]
    pub fn find(&self, db: u32, hash: KeyHash, key: &[u8]) -> Option<EntryRef<'_>> {
        let db = self.db(db)?;
        db.find(hash, key).map(|slot| db.entry(slot))
    }

    /// The entry of a key, for change.
    #[inline]
    pub fn find_mut(&mut self, db: u32, hash: KeyHash, key: &[u8]) -> Option<EntryMut<'_>> {
        self.entry_mut(db, hash, key, Change::Edit)
    }

    /// The entry of a key; `touch` gives its new LRU or LFU field from the old one. The hot read
    /// path.
    #[inline]
    pub fn find_touch(
        &mut self,
        db: u32,
        hash: KeyHash,
        key: &[u8],
        touch: impl FnOnce(u32) -> u32,
    ) -> Option<EntryRef<'_>> {
        let db = self.db_mut(db)?;
        // SAFETY: this copy is used until the end of the borrow of the database.
        let block = unsafe { db.block(db.find(hash, key)?) };
        let (old, new) = (block.lru(), touch(block.lru()));
        if old != new {
            // SAFETY: the database is borrowed exclusively. Not writing an equal value keeps the
            // cache line clean.
            unsafe { block.set_lru(new) };
        }
        // SAFETY: the table holds live blocks, and the shard is borrowed as long as the result
        // lives.
        Some(unsafe { EntryRef::new(block) })
    }

    /// Sets the LRU or LFU field of a key. True when the key exists.
    pub fn touch(&mut self, db: u32, hash: KeyHash, key: &[u8], lru: u32) -> bool {
        self.find_touch(db, hash, key, |_| lru).is_some()
    }

    /// Stores a value under a key, with a deadline (absolute unix milliseconds) or without, and the
    /// LRU or LFU field `lru` (24 bits). Returns the old value when freeing it is worth another
    /// thread, else frees it.
    #[inline]
    pub fn put(
        &mut self,
        db: u32,
        hash: KeyHash,
        key: &[u8],
        value: NewValue<'_>,
        deadline: Option<u64>,
        lru: u32,
    ) -> Option<Value> {
        let payload = value.into_payload(key.len());
        match self.entry_mut(db, hash, key, Change::Put) {
            Some(mut entry) => entry.overwrite(payload, deadline, lru),
            None => {
                self.insert(db, hash, key, payload, deadline, lru);
                None
            }
        }
    }

    /// Stores a value under a key that is not there, as [`Shard::put`] does: how loading fills a
    /// shard. False when the key is there; the value is dropped then.
    #[inline]
    pub fn add(
        &mut self,
        db: u32,
        hash: KeyHash,
        key: &[u8],
        value: NewValue<'_>,
        deadline: Option<u64>,
        lru: u32,
    ) -> bool {
        if self.find(db, hash, key).is_some() {
            return false;
        }
        self.insert(db, hash, key, value.into_payload(key.len()), deadline, lru);
        true
    }

    /// Takes the entry of a key out.
    #[inline]
    pub fn remove(&mut self, db: u32, hash: KeyHash, key: &[u8]) -> Option<Removed> {
        let hasher = self.hasher;
        let number = db;
        let entry = self.entry_mut(db, hash, key, Change::Keep)?;
        let (db, slot) = entry.into_slot();
        let removed = db.remove(slot, &hasher);
        Some(undo::removed(number, hash, removed))
    }

    /// Sets or clears the deadline of a key (absolute unix milliseconds). True when the key exists.
    pub fn set_deadline(
        &mut self,
        db: u32,
        hash: KeyHash,
        key: &[u8],
        deadline: Option<u64>,
    ) -> bool {
        let Some(mut entry) = self.entry_mut(db, hash, key, Change::Keep) else {
            return false;
        };
        entry.set_deadline(deadline);
        true
    }

    /// Number of entries in a database, those past their deadline included.
    #[inline]
    pub fn len(&self, db: u32) -> usize {
        self.db(db).map_or(0, |db| db.table.len())
    }

    /// True when a database has no entries.
    pub fn is_empty(&self, db: u32) -> bool {
        self.len(db) == 0
    }

    /// Number of entries with a deadline.
    #[inline]
    pub fn volatile(&self, db: u32) -> usize {
        self.db(db).map_or(0, |db| db.volatile)
    }

    /// Number of entries that have elements with deadlines.
    #[inline]
    pub fn volatile_elements(&self, db: u32) -> usize {
        self.db(db).map_or(0, Database::volatile_elements)
    }

    /// Number of hashes that have fields with deadlines.
    pub fn volatile_hashes(&self, db: u32) -> usize {
        self.db(db).map_or(0, Database::volatile_hashes)
    }

    /// Must be called after elements of a collection may have got, changed or lost deadlines.
    pub fn sync_elements(&mut self, db: u32, hash: KeyHash, key: &[u8]) {
        let Some(db) = self.db_mut(db) else { return };
        let Some(entry) = db.find(hash, key).map(|slot| db.entry(slot)) else {
            return;
        };
        let (next, kind) = (entry.value().next_element_deadline(), entry.value_type());
        let due_ms = db.elements_changed(hash, next, kind);
        self.next_due_ms = self.next_due_ms.min(due_ms);
    }

    /// Expires the elements of one collection whose deadline is not after `now_ms`, and the entry
    /// when none is left. Returns how many elements went.
    pub fn expire_elements(
        &mut self,
        db: u32,
        hash: KeyHash,
        key: &[u8],
        now_ms: u64,
        on_expired: &mut dyn OnExpired,
    ) -> usize {
        let mut cycle = Cycle {
            now_ms,
            budget: usize::MAX,
            db,
            hasher: self.hasher,
            hook: &mut self.hook,
            on_expired,
            expired: 0,
            garbage: Vec::new(),
        };
        let db = match db {
            0 => Some(&mut self.first),
            _ => self
                .others
                .get_mut(db as usize - 1)
                .and_then(Option::as_deref_mut),
        };
        if let Some(db) = db
            && let Some(slot) = db.find(hash, key)
        {
            db.expire_elements(hash, slot, usize::MAX, &mut cycle);
        }
        cycle.expired
    }

    /// Average time to live of the entries with a deadline, in milliseconds.
    pub fn avg_ttl_ms(&self, db: u32, now_ms: u64) -> u64 {
        self.db(db).map_or(0, |db| db.avg_ttl_ms(now_ms))
    }

    /// Sizes of a database in this shard.
    pub fn stats(&self, db: u32) -> DatabaseStats {
        self.db(db)
            .map_or(DatabaseStats::default(), Database::stats)
    }

    /// Adds how many entries of each size a database has in this shard.
    pub fn add_sizes(&self, db: u32, sum: &mut SizeCounts) {
        if let Some(db) = self.db(db) {
            db.sizes.add_to(sum);
        }
    }

    /// Visits the entries of a database in this shard that are candidates for the biggest of their
    /// type: all of more than [`Shard::unlisted_below`] are among them.
    pub fn big_entries(
        &self,
        db: u32,
        kind: Type,
        measure: Measure,
        mut visit: impl FnMut(EntryRef<'_>),
    ) {
        let Some(db) = self.db(db) else { return };
        for hash in db.sizes.big(kind, measure, &self.hasher) {
            db.table.candidates(hash.0, |slot, _| {
                let entry = db.entry(slot);
                let is_big = measure.of(entry) >= measure.least();
                if is_big && entry.value_type() == kind && self.hasher.hash(entry.key()) == hash {
                    visit(entry);
                }
            });
        }
    }

    /// The size up to which there may be entries of a type that [`Shard::big_entries`] leaves out.
    pub fn unlisted_below(&self, db: u32, kind: Type, measure: Measure) -> u64 {
        self.db(db)
            .map_or(0, |db| db.sizes.unlisted_below(kind, measure))
    }

    /// The shape of a database's hash table in this shard. Walks the whole table.
    pub fn table_stats(&self, db: u32) -> values::table::Stats {
        self.db(db)
            .map_or(values::table::Stats::default(), |db| db.table.stats())
    }

    /// The numbers of the databases that have entries here.
    pub fn occupied_dbs(&self) -> impl Iterator<Item = u32> {
        (0..=self.others.len() as u32).filter(|db| !self.is_empty(*db))
    }

    /// The first position of this shard in hash order.
    pub fn first_position(&self) -> u64 {
        self.place.origin()
    }

    /// Visits the entries of a database from a position in hash order on, one bucket's worth, and
    /// returns the next position, 0 when the shard is done. Positions before this shard mean its
    /// beginning. An entry that is there from the first to the last call is visited exactly once,
    /// whatever happens to others between the calls; the order is that of the hashes.
    pub fn scan(&self, db: u32, position: u64, mut visit: impl FnMut(EntryRef<'_>)) -> u64 {
        let Some(db) = self.db(db) else { return 0 };
        let position = position.max(db.place.origin());
        if position >> 1 >> (63 - self.place.prefix_bits) != self.place.index as u64 {
            return 0;
        }
        db.table.scan(position, &self.hasher, |ptr| {
            // SAFETY: the table holds live blocks, and it is borrowed.
            visit(unsafe { EntryRef::from_ptr(ptr) });
        })
    }

    /// All entries of a database, in no particular order.
    pub fn entries(&self, db: u32) -> impl Iterator<Item = EntryRef<'_>> {
        self.db(db).into_iter().flat_map(Database::entries)
    }

    /// A random entry of a database, each with nearly the same probability.
    pub fn random(&self, db: u32, rng: &mut impl FnMut() -> u64) -> Option<EntryRef<'_>> {
        let db = self.db(db)?;
        db.table.random(rng).map(|slot| db.entry(slot))
    }

    /// Visits about `count` entries as candidates for eviction; with `volatile_only` those with a
    /// deadline. At least one is visited when there is one.
    pub fn sample_for_eviction(
        &self,
        db: u32,
        volatile_only: bool,
        rng: &mut impl FnMut() -> u64,
        count: usize,
        mut visit: impl FnMut(EntryRef<'_>),
    ) {
        let Some(db) = self.db(db) else { return };
        let count = count.max(1);
        if volatile_only {
            return db.sample_volatile(&self.hasher, rng, count, visit);
        }
        db.table.sample(rng, count, |ptr| {
            // SAFETY: the table holds live blocks, and it is borrowed.
            visit(unsafe { EntryRef::from_ptr(ptr) });
        });
    }

    /// Exchanges the contents of two databases.
    pub fn swap_dbs(&mut self, a: u32, b: u32) {
        if a == b || a >= self.databases || b >= self.databases {
            return;
        }
        if let Some(hook) = &mut self.hook {
            hook.before_swap(a, b);
        }
        if undo::is_recording() {
            undo::before_swap(self.place.index, a, b);
        }
        self.pool.clear();
        let place = self.place;
        let Some(first) = self.db_or_create(a).map(|db| db.take(place)) else {
            return;
        };
        let Some(second) = self.db_or_create(b).map(|db| std::mem::replace(db, first)) else {
            return;
        };
        if let Some(db) = self.db_or_create(a) {
            *db = second;
        }
    }

    /// Empties a database. The caller drops its former contents, perhaps on another thread.
    pub fn clear(&mut self, db: u32) -> Cleared {
        let place = self.place;
        let Some(content) = self.db_mut(db).map(|db| db.take(place)) else {
            return Cleared::new(Database::new(place, 0, FRONTIER_END));
        };
        let frontier = content.frontier;
        let cleared = Cleared::new(content);
        if let Some(hook) = &mut self.hook
            && frontier != FRONTIER_END
        {
            hook.cleared(db, Rest::new(cleared.clone(), self.hasher, frontier));
        }
        if undo::is_recording() {
            undo::cleared(self.place.index, db, &cleared);
        }
        cleared
    }

    /// Moves in all databases of a shard of a [sibling](crate::Keyspace::sibling) with the same
    /// number. Those here have been cleared, and no savepoint is open. To a change hook the entries
    /// are younger than it is.
    pub fn adopt(&mut self, from: &mut Shard<T>) {
        debug_assert_eq!(self.place.index, from.place.index);
        self.pool.clear();
        let place = self.place;
        for number in 0..self.databases {
            let Some(db) = from.db_mut(number).filter(|db| !db.table.is_empty()) else {
                continue;
            };
            let content = db.take(place);
            if let Some(own) = self.db_or_create(number) {
                debug_assert!(own.table.is_empty());
                *own = content;
            }
        }
        self.next_due_ms = self.next_due_ms.min(from.next_due_ms);
    }

    /// Expires the entries whose deadline is not after `now_ms`, with at most `budget` units of
    /// work: one unit is the look at one entry, or at one bucket when a timing wheel is built anew.
    /// `on_expired` is called with database and key before an entry is removed. When the budget
    /// suffices, every entry that is due is gone afterwards, except that a deadline which had
    /// passed when it was set counts from the millisecond after the last call. Call it for each
    /// shard at the start and when [`Keyspace::next_due_ms`] has come.
    ///
    /// [`Keyspace::next_due_ms`]: crate::Keyspace::next_due_ms
    pub fn expire_due(
        &mut self,
        now_ms: u64,
        budget: usize,
        on_expired: &mut dyn OnExpired,
    ) -> ExpireProgress {
        let mut cycle = Cycle {
            now_ms,
            budget,
            db: 0,
            hasher: self.hasher,
            hook: &mut self.hook,
            on_expired,
            expired: 0,
            garbage: Vec::new(),
        };
        let count = self.others.len() as u32 + 1;
        let mut next = NEVER_MS;
        let mut more = false;
        for step in 0..count {
            let number = (self.expire_from + step) % count;
            let db = match number {
                0 => &mut self.first,
                _ => match self
                    .others
                    .get_mut(number as usize - 1)
                    .and_then(Option::as_deref_mut)
                {
                    Some(db) => db,
                    None => continue,
                },
            };
            cycle.db = number;
            match db.expire(&mut cycle) {
                Wanted::Now => more = true,
                Wanted::At(time) => next = next.min(time),
                Wanted::Never => {}
            }
        }
        self.expire_from = (self.expire_from + 1) % count;
        self.next_due_ms = if more { now_ms } else { next };
        ExpireProgress {
            expired: cycle.expired,
            more,
            next_due_ms: (self.next_due_ms != NEVER_MS).then_some(self.next_due_ms),
            garbage: cycle.garbage,
        }
    }

    /// When [`Shard::expire_due`] has work (absolute unix milliseconds), `u64::MAX` for never.
    #[inline]
    pub(crate) fn next_due_ms(&self) -> u64 {
        self.next_due_ms
    }

    fn databases_mut(&mut self) -> impl Iterator<Item = (u32, &mut Database)> {
        let others = self.others.iter_mut().enumerate();
        let others = others.filter_map(|(index, db)| Some((index as u32 + 1, db.as_deref_mut()?)));
        std::iter::once((0, &mut self.first)).chain(others)
    }

    /// Sets the hook that sees all changes from now on, of all entries. Call it when
    /// [`Shard::is_walked`].
    pub fn set_change_hook(&mut self, hook: Box<dyn ChangeHook>) {
        debug_assert!(self.is_walked(), "marks of an earlier hook are left");
        for (_, db) in self.databases_mut() {
            db.frontier = if db.table.is_empty() { FRONTIER_END } else { 0 };
        }
        self.hook = Some(hook);
    }

    /// Takes the hook away. Unless [`Shard::is_walked`] is true then, [`Shard::walk`] must be
    /// called until it is, before another hook is set.
    pub fn take_change_hook(&mut self) -> Option<Box<dyn ChangeHook>> {
        for (_, db) in self.databases_mut().filter(|(_, db)| !db.marked) {
            db.frontier = FRONTIER_END;
        }
        self.hook.take()
    }

    /// True when there is nothing left to walk.
    pub fn is_walked(&self) -> bool {
        let others = self.others.iter().flatten().map(|db| &**db);
        let mut databases = std::iter::once(&self.first).chain(others);
        databases.all(|db| db.frontier == FRONTIER_END)
    }

    /// The hook's own walk: visits unmarked entries, with the number of their database, and moves
    /// the frontier behind them, so that the hook is not called for them. At most one bucket's
    /// worth is visited, and less when `visit` breaks. False when all databases are done.
    pub fn walk(&mut self, mut visit: impl FnMut(u32, EntryRef<'_>) -> ControlFlow<()>) -> bool {
        let hasher = self.hasher;
        let mut databases = self.databases_mut();
        let Some((number, db)) = databases.find(|(_, db)| db.frontier != FRONTIER_END) else {
            return false;
        };
        hook::walk(db, &hasher, |entry| visit(number, entry));
        true
    }
}

impl<T> fmt::Debug for Shard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard")
            .field("index", &self.place.index)
            .field(
                "len",
                &self
                    .occupied_dbs()
                    .map(|db| (db, self.len(db)))
                    .collect::<Vec<_>>(),
            )
            .finish_non_exhaustive()
    }
}
