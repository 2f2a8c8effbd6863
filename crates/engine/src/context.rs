//! The context of a handler: all that it may read and change.
//!
//! A handler sees its arguments, the locked part of the keyspace, its client's session, a cached
//! clock and random numbers; it writes a reply and effects. It never sees a socket, a file or the
//! wall clock. The data side stands in a field of its own ([`Data`]), so that a value borrowed from
//! the keyspace can be written into the reply without a copy.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use keyspace::{
    BigString, EntryMut, EntryRef, INLINE_MAX, NewValue, StringRef, Type, Value, ValueMut, ValueRef,
};
use persist::rdb::Access;
use resp::{Args, Reply};
use smallvec::SmallVec;
use values::{
    Element, Hash, HashView, List, ListView, Set, SetView, SortedSet, SortedSetView, Stream,
    Thresholds,
};

use crate::config::P;
use crate::effects::Effects;
use crate::engine::Engine;
use crate::error::CommandError;
use crate::key_changes::{ChangeKind, KeyChanges};
use crate::keys::{Key, LocatedKey};
use crate::lru::AccessNow;
use crate::session::{Origin, Session};
use crate::shard_tables::{Locked, Shard, ShardTables};
use crate::stats::WorkerStats;
use crate::table::Command;

pub use crate::key_changes::EventClass;

/// Typed access to collections: for each kind one method to read, one to change what is there, and
/// one that makes an empty collection where there is none (which must not stay empty, unless it is
/// a stream: see [`Data::drop_if_empty`]).
macro_rules! collection_access {
    ($($(#[$doc:meta])* $kind:ident($read:ident, $edit:ident, $make:ident) => $type:ident as $view:ident),+ $(,)?) => {
        $(
            $(#[$doc])*
            /// For reading: counts a hit or a miss.
            #[inline]
            pub fn $read(&mut self, key: Key<'_>) -> Result<Option<&$view>, CommandError> {
                match self.lookup(key).map(|entry| entry.value()) {
                    None => Ok(None),
                    Some(ValueRef::$kind(value)) => Ok(Some(value)),
                    Some(_) => Err(CommandError::WrongType),
                }
            }

            $(#[$doc])*
            /// For change.
            #[inline]
            pub fn $edit(&mut self, key: Key<'_>) -> Result<Option<&mut $type>, CommandError> {
                match self.lookup_mut(key).map(EntryMut::into_value_mut) {
                    None => Ok(None),
                    Some(ValueMut::$kind(value)) => Ok(Some(value)),
                    Some(_) => Err(CommandError::WrongType),
                }
            }

            $(#[$doc])*
            /// For change; a new empty one, with its event, when there is no such key.
            #[inline]
            pub fn $make(&mut self, key: Key<'_>) -> Result<&mut $type, CommandError> {
                if self.type_of(key).is_none() {
                    let value = Value::$kind($type::new());
                    self.set(key, NewValue::Owned(value), Expiry::Clear);
                    self.notify(EventClass::New, "new", key);
                }
                match self.$edit(key)? {
                    Some(value) => Ok(value),
                    None => Err(CommandError::line("ERR the key cannot be stored")),
                }
            }
        )+
    };
}

/// Replies with elements of collections.
pub trait ElementReply {
    /// The element as a bulk string.
    fn element(&mut self, element: Element<'_>);
}

impl ElementReply for Reply<'_> {
    #[inline]
    fn element(&mut self, element: Element<'_>) {
        match element {
            Element::Bytes(bytes) => self.bulk(bytes),
            Element::Int(value) => self.integer_bulk(value),
        }
    }
}

/// The effect of a write on the deadline of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The key keeps the deadline it has.
    Keep,
    /// The key lives for ever.
    Clear,
    /// Absolute Unix milliseconds.
    At(u64),
}

/// How a command came to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Sent as it is: by a client, or in a file.
    Direct,
    /// Queued by MULTI and run by EXEC: it cannot block.
    Transaction,
    /// Called by a script: it cannot block.
    Script,
    /// Run again for a client that was blocked in it.
    Served,
}

/// Everything that one execution of a command may touch.
pub struct Context<'c, 'k> {
    /// The request, command name first.
    pub args: Args<'c>,
    /// Where the reply goes.
    pub reply: Reply<'c>,
    /// The data set.
    pub data: Data<'c, 'k>,
    /// The client's own state.
    pub session: &'c mut Session,
    /// The state that the whole server shares.
    pub engine: &'c Engine,
    /// The command being executed.
    pub entry: &'static Command,
    /// Keys of the request, in order of their position; empty for commands without key positions.
    pub located: &'c [LocatedKey],
    /// How the command came to be run.
    pub mode: Mode,
    /// Number of the worker that runs it.
    pub worker: usize,
    /// Log offset that the replies written so far depend on.
    pub reply_offset: &'c mut u64,
}

impl<'c, 'k> Context<'c, 'k> {
    /// The argument at `index`; empty when there is none (arity has been checked already).
    #[inline]
    pub fn arg(&self, index: usize) -> &'c [u8] {
        self.args.arg(index)
    }

    /// An argument as the value of a string: a long one stays in the buffer that it was received
    /// in, where that holds little else.
    #[inline]
    pub fn string_value(&self, bytes: &'c [u8]) -> NewValue<'c> {
        if bytes.len() <= INLINE_MAX {
            return NewValue::Bytes(bytes);
        }
        let buffer = self.session.received.as_ref();
        match buffer.and_then(|buffer| BigString::part_of(buffer, bytes)) {
            Some(part) => NewValue::Big(Arc::new(part)),
            None => NewValue::Bytes(bytes),
        }
    }

    /// The key at argument `index`.
    #[inline]
    pub fn key(&self, index: usize) -> Key<'c> {
        let bytes = self.args.arg(index);
        let hash = match self.located.first() {
            Some(first) if first.position.index == index => first.hash,
            _ => self
                .located
                .binary_search_by_key(&index, |key| key.position.index)
                .ok()
                .and_then(|at| self.located.get(at))
                .map_or_else(|| self.engine.keyspace.hash(bytes), |key| key.hash),
        };
        Key { bytes, hash }
    }

    /// A signed integer argument.
    pub fn integer(&self, index: usize) -> Result<i64, CommandError> {
        resp::number::parse_i64(self.args.arg(index)).ok_or(CommandError::NotInteger)
    }

    /// A double argument (NaN is refused).
    pub fn float(&self, index: usize) -> Result<f64, CommandError> {
        self.double(self.args.arg(index))
            .ok_or(CommandError::NotFloat)
    }

    /// Reads a double; see [`Context::double_reader`].
    pub fn double(&self, text: &[u8]) -> Option<f64> {
        self.double_reader()(text)
    }

    /// What reads a double. Commands of a file may have hexadecimal ones, which Redis logs; clients
    /// may not, because Valkey refuses them.
    pub fn double_reader(&self) -> fn(&[u8]) -> Option<f64> {
        match self.session.is_client() {
            true => resp::number::parse_f64,
            false => resp::number::parse_f64_or_hex,
        }
    }

    /// True when the argument at `index` is `word`, in any case.
    pub fn is_word(&self, index: usize, word: &str) -> bool {
        self.args.arg(index).eq_ignore_ascii_case(word.as_bytes())
    }

    /// Up to which size collections stay packed.
    pub fn thresholds(&self) -> Thresholds {
        self.engine.config.thresholds()
    }

    /// Logs `argv` instead of the command as it was sent. May be called several times.
    pub fn propagate(&mut self, argv: &[&[u8]]) {
        self.data.effects.replace(self.data.db, argv);
    }

    /// Logs nothing for this command although it changed something that is logged elsewhere.
    pub fn suppress_propagation(&mut self) {
        self.data.effects.suppress();
    }

    /// True inside of another command: blocking is not possible, and locks are held.
    pub fn is_nested(&self) -> bool {
        matches!(self.mode, Mode::Transaction | Mode::Script)
    }

    /// True when the client can block: it is connected and runs no transaction.
    pub fn may_block(&self) -> bool {
        !self.denies_blocking() && self.session.is_client()
    }

    /// True when the command has to answer at once: inside of another command, and for clients
    /// that only get replies.
    pub fn denies_blocking(&self) -> bool {
        self.is_nested() || self.session.denies_blocking
    }

    /// Writes what others have sent to this client before its next reply: a confirmation that
    /// nothing more comes must stand behind everything that did. Not inside of the reply of EXEC,
    /// and not where the reply is dropped: what others sent comes behind it then.
    pub fn drain_outbox(&mut self) {
        let is_dropped = self.session.is_silent() && !self.session.reply_is_push;
        if self.is_nested() || is_dropped {
            return;
        }
        let after = self.session.shared.take_outbox(self.reply.out);
        *self.reply_offset = (*self.reply_offset).max(after);
    }

    /// The error for a subcommand that is unknown or has the wrong number of arguments, where the
    /// command itself decides.
    pub fn subcommand_arity_error(&self) -> CommandError {
        let name = self.args.arg(1);
        let mut line = b"ERR unknown subcommand or wrong number of arguments for '".to_vec();
        line.extend_from_slice(name.get(..128).unwrap_or(name));
        line.extend_from_slice(b"'. Try ");
        line.extend_from_slice(&self.args.arg(0).to_ascii_uppercase());
        line.extend_from_slice(b" HELP.");
        CommandError::Bytes(line)
    }

    /// Writes the reply of a HELP subcommand: `lines` between the usual first and last lines.
    pub fn help(&mut self, lines: &[&str]) {
        let name = self
            .entry
            .parent
            .unwrap_or(self.entry.spec.name)
            .to_ascii_uppercase();
        self.reply.array(lines.len() + 3);
        self.reply.simple(format!(
            "{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
        ));
        for line in lines {
            self.reply.simple(line);
        }
        self.reply.simple("HELP");
        self.reply.simple("    Print this help.");
    }
}

/// The locked part of the keyspace, seen from one database.
pub struct Data<'c, 'k> {
    /// Locked shards.
    pub locked: &'c mut Locked<'k>,
    /// The effects to be logged.
    pub effects: &'c mut Effects,
    /// Statistics of this worker.
    pub stats: &'c WorkerStats,
    /// The state that the whole server shares.
    pub engine: &'c Engine,
    /// Selected database.
    pub db: u32,
    /// Unix milliseconds, the same for the whole command or transaction.
    pub now_ms: u64,
    /// False for clients with NO-TOUCH.
    pub touch: bool,
    /// Where the command comes from.
    pub origin: Origin,
    /// The client is the source of an import (CLIENT IMPORT-SOURCE).
    pub imports: bool,
    /// What is announced when the effects are in the log.
    pub changes: &'c mut KeyChanges,
    /// Random numbers of this worker.
    pub random: &'c mut Random,
}

impl<'c, 'k> Data<'c, 'k> {
    /// A key that is not an argument of the request (its shard must be locked).
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key {
            bytes,
            hash: self.engine.keyspace.hash(bytes),
        }
    }

    /// Visits all shards in order: under the locks that are held already when those are all,
    /// otherwise locking one shard after the other. For commands that lock by themselves.
    ///
    /// # Errors
    /// A script keeps a shard locked for long.
    pub fn visit_shards(&mut self, mut visit: impl FnMut(&Shard)) -> Result<(), CommandError> {
        if self.locked.holds_all() {
            self.locked.shards().for_each(visit);
            return Ok(());
        }
        for shard in 0..self.engine.keyspace.shard_count() {
            let locked = self.engine.lock_shard(shard)?;
            locked.shards().for_each(&mut visit);
        }
        Ok(())
    }

    /// The shard of a key, which is locked: to go on with another one would answer and log a change
    /// that was never made.
    ///
    /// # Panics
    /// When the shard is not locked, a defect of the command's metadata. The dispatcher answers
    /// with an error then and refuses further writes.
    #[inline]
    fn shard(&mut self, key: Key<'_>) -> &mut Shard {
        self.locked.held_mut(key.hash)
    }

    // Only LFU spends a random number per access.
    #[inline]
    fn random_for(&mut self, clock: AccessNow) -> u64 {
        if clock.is_lfu() {
            self.random.next_u64()
        } else {
            0
        }
    }

    /// The key for reading: counts a hit or a miss, touches LRU/LFU.
    #[inline]
    pub fn lookup(&mut self, key: Key<'_>) -> Option<EntryRef<'_>> {
        let lives = self.reap(key);
        let (stats, engine, db) = (self.stats, self.engine, self.db);
        let touch = self.touch;
        let clock = engine.lru.now();
        let random = self.random_for(clock);
        let changes = &mut *self.changes;
        let shard = self.locked.held_mut(key.hash);
        let found = match (lives, touch) {
            (false, _) => None,
            (true, true) => {
                shard.find_touch(db, key.hash, key.bytes, |lru| clock.touch(lru, random))
            }
            (true, false) => shard.find(db, key.hash, key.bytes),
        };
        if found.is_some() {
            stats.keyspace_hits.add(1);
        } else {
            stats.keyspace_misses.add(1);
            let event = Some((EventClass::KeyMiss, "keymiss"));
            changes.note(&engine.key_listeners, (db, key), ChangeKind::Event, event);
        }
        found
    }

    /// The key for reading, without statistics and without touching it.
    pub fn peek(&mut self, key: Key<'_>) -> Option<EntryRef<'_>> {
        if !self.reap(key) {
            return None;
        }
        let db = self.db;
        self.shard(key).find(db, key.hash, key.bytes)
    }

    /// The key for a change of its value; touches LRU/LFU.
    pub fn lookup_mut(&mut self, key: Key<'_>) -> Option<EntryMut<'_>> {
        if !self.reap(key) {
            return None;
        }
        let db = self.db;
        let touch = self.touch;
        let clock = self.engine.lru.now();
        let random = self.random_for(clock);
        let mut entry = self.shard(key).find_mut(db, key.hash, key.bytes)?;
        if touch {
            let lru = clock.touch(entry.lru(), random);
            entry.set_lru(lru);
        }
        Some(entry)
    }

    /// The string at `key` for reading.
    #[inline]
    pub fn string(&mut self, key: Key<'_>) -> Result<Option<StringRef<'_>>, CommandError> {
        match self.lookup(key) {
            None => Ok(None),
            Some(entry) => entry.string().map(Some).ok_or(CommandError::WrongType),
        }
    }

    collection_access! {
        /// The list at a key.
        List(list, list_mut, list_or_new) => List as ListView,
        /// The set at a key.
        Set(set_ref, set_mut, set_or_new) => Set as SetView,
        /// The sorted set at a key.
        ZSet(zset, zset_mut, zset_or_new) => SortedSet as SortedSetView,
        /// The hash at a key.
        Hash(hash, hash_mut, hash_or_new) => Hash as HashView,
        /// The stream at a key.
        Stream(stream, stream_mut, stream_or_new) => Stream as Stream,
    }

    /// True when the key exists (and is not expired); no statistics.
    pub fn exists(&mut self, key: Key<'_>) -> bool {
        self.peek(key).is_some()
    }

    /// Type of the key.
    pub fn type_of(&mut self, key: Key<'_>) -> Option<Type> {
        self.peek(key).map(|entry| entry.value_type())
    }

    /// Absolute deadline of an existing key.
    pub fn deadline(&mut self, key: Key<'_>) -> Option<u64> {
        self.peek(key).and_then(|entry| entry.deadline())
    }

    /// Writes a value, over whatever was there; true when there was something. Not yet a change:
    /// call [`Data::changed`].
    pub fn set(&mut self, key: Key<'_>, value: NewValue<'_>, expiry: Expiry) -> bool {
        self.reap(key);
        let db = self.db;
        let deadline = match expiry {
            Expiry::Clear => None,
            Expiry::At(at) => Some(at),
            Expiry::Keep => self.deadline(key),
        };
        if let Some(at) = deadline {
            self.note_deadline(key, at);
        }
        let lru = self.access_field(key);
        // Clients can be blocked on keys that hold a collection.
        let is_whole = matches!(value, NewValue::Owned(_));
        if let NewValue::Owned(value) = &value
            && let Some(at) = value.next_element_deadline()
        {
            self.engine.note_deadline(at);
        }
        let shard = self.shard(key);
        let before = shard.len(db);
        let old = shard.put(db, key.hash, key.bytes, value, deadline, lru);
        let existed = shard.len(db) == before;
        if let Some(old) = old
            && old.is_big()
            && self.engine.config.bool(P::LazyfreeLazyServerDel)
        {
            self.engine.lazy.free(Box::new(old));
        }
        if is_whole {
            self.signal_ready(key);
        } else if existed {
            self.signal_gone(key);
        }
        existed
    }

    /// As [`Data::set`], with the events of a value that replaces another.
    pub fn overwrite(&mut self, key: Key<'_>, value: NewValue<'_>, expiry: Expiry) -> bool {
        let before = self.type_for_events(key);
        let existed = self.set(key, value, expiry);
        self.notify_overwritten(key, before);
        existed
    }

    /// What a key holds, when events are sent: for [`Data::notify_overwritten`].
    #[inline]
    pub fn type_for_events(&mut self, key: Key<'_>) -> Option<Type> {
        if self.engine.key_listeners.wants_events() {
            self.type_of(key)
        } else {
            None
        }
    }

    /// The events of a value that has replaced another; `before`: the type that there was.
    #[inline]
    pub fn notify_overwritten(&mut self, key: Key<'_>, before: Option<Type>) {
        if before.is_some() {
            self.notify(EventClass::Overwritten, "overwritten", key);
            if self.type_of(key) != before {
                self.notify(EventClass::TypeChanged, "type_changed", key);
            }
        }
    }

    /// The access field of a key that is written now: how often it is used survives an overwrite.
    #[inline]
    fn access_field(&mut self, key: Key<'_>) -> u32 {
        let clock = self.engine.lru.now();
        if !clock.is_lfu() {
            return clock.initial();
        }
        let random = self.random_for(clock);
        self.peek(key)
            .map_or_else(|| clock.initial(), |entry| clock.touch(entry.lru(), random))
    }

    /// Removes a key, because a command replaces it or it is empty. True when it existed.
    /// Not yet a change: call [`Data::changed`].
    pub fn remove(&mut self, key: Key<'_>) -> bool {
        self.take_visible(key).map(|old| self.free(old)).is_some()
    }

    /// Takes a key out with its value, unless it has expired.
    pub fn take_visible(&mut self, key: Key<'_>) -> Option<keyspace::Removed> {
        if self.reap(key) { self.take(key) } else { None }
    }

    /// Takes a key out with its value.
    pub fn take(&mut self, key: Key<'_>) -> Option<keyspace::Removed> {
        let db = self.db;
        let old = self.shard(key).remove(db, key.hash, key.bytes)?;
        self.signal_gone(key);
        Some(old)
    }

    /// Frees a value that was taken out because a command replaced or emptied it.
    pub fn free(&self, old: keyspace::Removed) {
        self.free_by(P::LazyfreeLazyServerDel, old);
    }

    /// Frees a value that was taken out: a big one in the background when the parameter says so,
    /// else here.
    pub fn free_by(&self, parameter: P, old: keyspace::Removed) {
        if old.is_big() && self.engine.config.bool(parameter) {
            self.engine.lazy.free(Box::new(old));
        }
    }

    /// Sets how recently or how often an existing key was used.
    pub fn set_access(&mut self, key: Key<'_>, access: Access) {
        let field = self.engine.lru.now().restored(access);
        let db = self.db;
        if let Some(mut entry) = self.shard(key).find_mut(db, key.hash, key.bytes) {
            entry.set_lru(field);
        }
    }

    /// A key gets a deadline. On a writable replica no stream removes what a client has written.
    #[inline]
    pub(crate) fn note_deadline(&self, key: Key<'_>, at: u64) {
        self.engine.note_deadline(at);
        if self.engine.role.is_replica() && self.origin == Origin::Client {
            let local = &self.engine.role.local_deadlines;
            local.note(self.db, key.bytes, at);
        }
    }

    /// Removes a key whose deadline has passed, whatever the role of the server is.
    pub(crate) fn remove_expired(&mut self, key: Key<'_>) {
        let (db, now_ms) = (self.db, self.now_ms);
        let entry = self.shard(key).find(db, key.hash, key.bytes);
        let deadline = entry.and_then(|entry| entry.deadline());
        if deadline.is_some_and(|at| at <= now_ms)
            && let Some(old) = self.take(key)
        {
            self.free_by(P::LazyfreeLazyExpire, old);
            self.note_expired(key);
        }
    }

    /// Sets or clears the deadline of an existing key. False when there is no such key.
    pub fn set_deadline(&mut self, key: Key<'_>, deadline: Option<u64>) -> bool {
        if let Some(at) = deadline {
            self.note_deadline(key, at);
        }
        let db = self.db;
        self.shard(key)
            .set_deadline(db, key.hash, key.bytes, deadline)
    }

    /// A key was changed: watchers, the change counter and the keyspace event.
    #[inline]
    pub fn changed(&mut self, key: Key<'_>, class: EventClass, event: &'static str) {
        self.changed_times(1, key, class, event);
    }

    /// As [`Data::changed`], counting `n` changes.
    #[inline]
    pub fn changed_times(&mut self, n: u64, key: Key<'_>, class: EventClass, event: &'static str) {
        self.count_changes(n, key);
        self.note(key, ChangeKind::Modified, Some((class, event)));
    }

    #[inline]
    fn count_changes(&mut self, n: u64, key: Key<'_>) {
        self.effects.add_dirty(n);
        let db = self.db;
        let shard = self.shard(key);
        if shard.volatile_elements(db) > 0 {
            shard.sync_elements(db, key.hash, key.bytes);
        }
    }

    /// As [`Data::changed_times`], for an event that is about elements of the key.
    pub fn changed_elements<T: AsRef<[u8]>>(
        &mut self,
        n: u64,
        key: Key<'_>,
        event: (EventClass, &'static str),
        elements: impl IntoIterator<Item = T>,
    ) {
        self.count_changes(n, key);
        self.note_elements(key, ChangeKind::Modified, event, elements);
    }

    /// As [`Data::notify`], for an event that is about elements of the key.
    pub fn notify_elements<T: AsRef<[u8]>>(
        &mut self,
        key: Key<'_>,
        event: (EventClass, &'static str),
        elements: impl IntoIterator<Item = T>,
    ) {
        self.note_elements(key, ChangeKind::Event, event, elements);
    }

    fn note_elements<T: AsRef<[u8]>>(
        &mut self,
        key: Key<'_>,
        kind: ChangeKind,
        event: (EventClass, &'static str),
        elements: impl IntoIterator<Item = T>,
    ) {
        let listeners = &self.engine.key_listeners;
        let place = (self.db, key);
        self.changes
            .note_elements(listeners, place, kind, event, elements);
    }

    /// Events name elements: they have to be collected.
    #[inline]
    pub fn wants_elements(&self) -> bool {
        self.engine.key_listeners.wants_elements()
    }

    #[inline]
    fn note(&mut self, key: Key<'_>, kind: ChangeKind, event: Option<(EventClass, &'static str)>) {
        self.changes
            .note(&self.engine.key_listeners, (self.db, key), kind, event);
    }

    /// The key was created or got elements: clients that are blocked on it may be served.
    #[inline]
    pub fn signal_ready(&mut self, key: Key<'_>) {
        self.note(key, ChangeKind::Ready, None);
    }

    /// The key is gone, or holds something else than before.
    #[inline]
    fn signal_gone(&mut self, key: Key<'_>) {
        self.note(key, ChangeKind::Gone, None);
    }

    /// Must be called after elements of the collection have got deadlines, before
    /// [`Data::changed`].
    pub fn sync_elements(&mut self, key: Key<'_>) {
        let db = self.db;
        self.shard(key).sync_elements(db, key.hash, key.bytes);
    }

    /// Removes a collection that has no elements left, with its event. True when it did.
    pub fn drop_if_empty(&mut self, key: Key<'_>) -> bool {
        let db = self.db;
        let is_empty = self
            .shard(key)
            .find(db, key.hash, key.bytes)
            .is_some_and(|entry| entry.value().element_count() == Some(0));
        if is_empty {
            if let Some(old) = self.take(key) {
                self.free(old);
            }
            self.notify(EventClass::Generic, "del", key);
        }
        is_empty
    }

    /// The entries of several keys at once, for reading, in the order of the keys; hits and misses
    /// are counted.
    pub fn gather(&mut self, keys: &[Key<'_>]) -> SmallVec<[Option<EntryRef<'_>>; 4]> {
        for key in keys {
            self.lookup(*key);
        }
        self.peek_all(keys)
    }

    /// As [`Data::gather`], without statistics and without touching the keys.
    pub fn peek_all(&mut self, keys: &[Key<'_>]) -> SmallVec<[Option<EntryRef<'_>>; 4]> {
        let db = self.db;
        let hidden: SmallVec<[bool; 4]> = keys.iter().map(|key| !self.reap(*key)).collect();
        let locked = &*self.locked;
        let entries = keys.iter().zip(hidden);
        entries
            .map(|(key, hidden)| {
                if hidden {
                    return None;
                }
                locked.held(key.hash).find(db, key.hash, key.bytes)
            })
            .collect()
    }

    /// Marks the key as changed for its watchers, without counting a change.
    pub fn touch_watchers(&mut self, key: Key<'_>) {
        self.note(key, ChangeKind::Touched, None);
    }

    /// The tables of the server beside the shard of `key`.
    pub fn tables(&mut self, key: Key<'_>) -> &mut ShardTables {
        &mut self.shard(key).attachments
    }

    /// A keyspace event.
    #[inline]
    pub fn notify(&mut self, class: EventClass, event: &'static str, key: Key<'_>) {
        self.note(key, ChangeKind::Event, Some((class, event)));
    }

    /// Removes the key, or elements of it, when expired, logs the removal and announces it, so that
    /// no command reads expired data. False when the key must be treated as absent.
    ///
    /// Costs nothing in a shard without volatile keys.
    #[inline(always)]
    fn reap(&mut self, key: Key<'_>) -> bool {
        let db = self.db;
        let shard = self.shard(key);
        let has_volatile = shard.volatile(db) > 0 || shard.volatile_elements(db) > 0;
        !has_volatile || self.reap_volatile(key)
    }

    fn reap_volatile(&mut self, key: Key<'_>) -> bool {
        let (db, now_ms) = (self.db, self.now_ms);
        let Some(entry) = self.shard(key).find(db, key.hash, key.bytes) else {
            return true;
        };
        let is_due = |deadline: Option<u64>| deadline.is_some_and(|at| at <= now_ms);
        if is_due(entry.deadline()) {
            return self.expired(key);
        }
        if is_due(entry.value().next_element_deadline()) {
            return self.elements_expired(key);
        }
        true
    }

    /// Removes a key that has expired. Returns whether it is still visible: while the log is
    /// replayed, which contains the removal, and in import mode for the client that imports.
    #[cold]
    fn expired(&mut self, key: Key<'_>) -> bool {
        if self.sees_expired() {
            return true;
        }
        if self.is_importing() || self.engine.role.is_replica() {
            return false;
        }
        if self.engine.is_paused() {
            return false;
        }
        if let Some(old) = self.take(key) {
            self.free_by(P::LazyfreeLazyExpire, old);
        }
        self.note_expired(key);
        false
    }

    /// Removes the expired elements of a collection. Returns whether the key is still there.
    #[cold]
    fn elements_expired(&mut self, key: Key<'_>) -> bool {
        let stays = self.sees_expired()
            || self.is_importing()
            || self.engine.role.is_replica()
            || self.engine.is_paused()
            || !self.engine.switches.active_expire.load(Ordering::Relaxed);
        if stays {
            return true;
        }
        let (db, now_ms) = (self.db, self.now_ms);
        let mut gone = ExpiredElements::default();
        self.shard(key)
            .expire_elements(db, key.hash, key.bytes, now_ms, &mut gone);
        let emptied = gone.emptied;
        self.note_expired_elements(key, &gone);
        !emptied
    }

    /// True in import mode: nothing expires by itself, because the source of the import sends the
    /// removals.
    fn is_importing(&self) -> bool {
        self.engine.config.bool(P::ImportMode)
    }

    /// True when expired keys are visible to this client.
    pub fn sees_expired(&self) -> bool {
        self.origin.is_trusted() || (self.imports && self.is_importing())
    }

    /// A deadline that has passed already when it is set, so that the key goes at once. In a replay
    /// of the log and in an import the key stays until a command removes it.
    pub fn is_past(&self, deadline: u64) -> bool {
        deadline <= self.now_ms && !self.origin.is_trusted() && !self.is_importing()
    }

    /// The time up to which deadlines of hash fields count as passed: fields that are past it and
    /// still there are not shown. 0 for a client that sees expired fields.
    #[inline]
    pub fn view_ms(&self) -> u64 {
        if self.sees_expired() { 0 } else { self.now_ms }
    }

    /// Logs and announces the expiry of elements that have just been removed.
    pub fn note_expired_elements(&mut self, key: Key<'_>, gone: &ExpiredElements) {
        let Some(kind) = gone.kind.filter(|_| !gone.elements.is_empty()) else {
            return;
        };
        let (word, class, event): (&[u8], _, _) = match kind {
            Type::Set => (b"SREM", EventClass::Set, "sexpired"),
            Type::ZSet => (b"ZREM", EventClass::ZSet, "zexpired"),
            _ => (b"HDEL", EventClass::Hash, "hexpired"),
        };
        self.stats.expired_fields.add(gone.elements.len() as u64);
        for chunk in gone.elements.chunks(EXPIRED_PER_COMMAND) {
            let mut argv: Vec<&[u8]> = vec![word, key.bytes];
            argv.extend(chunk.iter().map(|element| &element[..]));
            self.effects.push(self.db, &argv);
        }
        self.note_elements(key, ChangeKind::Modified, (class, event), &gone.elements);
        if gone.emptied {
            self.signal_gone(key);
            self.notify(EventClass::Generic, "del", key);
        }
    }

    /// Logs and announces the eviction of a key that has just been removed.
    pub fn evicted(&mut self, key: Key<'_>) {
        let event = Some((EventClass::Evicted, "evicted"));
        self.note(key, ChangeKind::Evicted, event);
    }

    /// Logs and announces the expiry of a key that has just been removed.
    pub fn note_expired(&mut self, key: Key<'_>) {
        self.stats.expired_keys.add(1);
        let word: &[u8] = if self.engine.lazy_expire() {
            b"UNLINK"
        } else {
            b"DEL"
        };
        self.effects.push(self.db, &[word, key.bytes]);
        let event = Some((EventClass::Expired, "expired"));
        self.note(key, ChangeKind::Expired, event);
    }
}

/// Elements named in one command of the log: bounds its length.
const EXPIRED_PER_COMMAND: usize = 1024;

/// Expired elements of one collection, as the keyspace reports them.
#[derive(Debug, Default)]
pub struct ExpiredElements {
    /// The collection's type; `None` until something was reported.
    pub kind: Option<Type>,
    /// The elements, in the order of their deadlines.
    pub elements: Vec<Vec<u8>>,
    /// The collection is gone with its last element.
    pub emptied: bool,
}

impl keyspace::OnExpired for ExpiredElements {
    fn entry(&mut self, _db: u32, _key: &[u8]) {}

    fn element(&mut self, _db: u32, _key: &[u8], kind: Type, element: &[u8]) {
        self.kind = Some(kind);
        self.elements.push(element.to_vec());
    }

    fn emptied(&mut self, _db: u32, _key: &[u8]) {
        self.emptied = true;
    }
}

/// A small generator (xorshift64*) for sampling; seeded from the operating system, never used for
/// anything secret.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator with a seed; zero is replaced.
    pub fn new(seed: u64) -> Self {
        Self(if seed == 0 {
            0x9E37_79B9_7F4A_7C15
        } else {
            seed
        })
    }

    /// The next number.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let mut x = self.0;
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0 = x;
        x.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound` (0 for 0).
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}
