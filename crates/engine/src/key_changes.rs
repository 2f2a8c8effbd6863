//! Changes of keys, and what follows from them.
//!
//! A command notes its changes in [`KeyChanges`] while it runs. When its effects are in the log,
//! and still under the locks of its keys, [`FanOut::announce`] passes each change once to
//! everything that listens: watching transactions, blocked clients, client-side caches, keyspace
//! notifications. So no listener sees a change that the log does not have,
//! and the order in which a key's listeners see its changes is the order of the changes.
//!
//! [`KeyListeners`] counts who listens. While nobody does, a change costs one relaxed load.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keyspace::KeyHash;

use crate::engine::Engine;
use crate::keys::{DbKey, Key};
use crate::notifications::{Event, EventClass};
use crate::pubsub::PublishedAs;
use crate::session::Origin;
use crate::shard_tables::{Locked, ShardTables};
use crate::tracking::Tracker;

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// Its value or its expiry was changed.
    Modified,
    /// It was removed because its time was over.
    Expired,
    /// It was removed to make room.
    Evicted,
    /// It changed in a way that counts as no change of the data set.
    Touched,
    /// It has something for clients that are blocked on it.
    Ready,
    /// It is gone, or holds something else than before.
    Gone,
    /// Only its event is announced.
    Event,
}

impl ChangeKind {
    /// Transactions that watch the key fail.
    fn breaks_watch(self) -> bool {
        use ChangeKind::{Evicted, Expired, Modified, Touched};
        matches!(self, Modified | Expired | Evicted | Touched)
    }
}

/// What listens to changes of keys.
///
/// One word holds two counters and some flags, so that a change costs one load while nothing
/// listens.
/// Counters of watching and waiting clients change under the lock of a key of theirs: a command
/// that holds that lock sees them.
#[derive(Default)]
pub struct KeyListeners {
    counts: AtomicU64,
}

/// Bits of the counter of watching clients, and of that of waiting clients.
const CLIENT_BITS: u32 = 28;
const CLIENT_MASK: u64 = (1 << CLIENT_BITS) - 1;
const ONE_WATCHING: u64 = 1;
const ONE_WAITING: u64 = 1 << CLIENT_BITS;
/// Keyspace events are sent.
const EVENTS: u64 = 1 << (2 * CLIENT_BITS);
/// They name elements.
const ELEMENTS: u64 = EVENTS << 1;
/// Clients keep copies of keys.
const CACHES: u64 = ELEMENTS << 1;

impl KeyListeners {
    #[inline]
    fn counts(&self) -> u64 {
        self.counts.load(Ordering::Relaxed)
    }

    /// Clients that watch keys.
    pub fn watching(&self) -> u64 {
        self.counts() & CLIENT_MASK
    }

    /// Clients that are blocked on keys.
    #[inline]
    pub fn waiting(&self) -> u64 {
        (self.counts() >> CLIENT_BITS) & CLIENT_MASK
    }

    /// A client watches its first key.
    pub fn add_watcher(&self) {
        self.counts.fetch_add(ONE_WATCHING, Ordering::Relaxed);
    }

    /// A client watches no key any more.
    pub fn remove_watcher(&self) {
        self.counts.fetch_sub(ONE_WATCHING, Ordering::Relaxed);
    }

    /// A client is blocked on keys.
    pub fn add_waiter(&self) {
        self.counts.fetch_add(ONE_WAITING, Ordering::Relaxed);
    }

    /// A client is not blocked on keys any more.
    pub fn remove_waiter(&self) {
        self.counts.fetch_sub(ONE_WAITING, Ordering::Relaxed);
    }

    /// Keyspace events are sent from now on, or no more.
    pub fn listen_to_events(&self, listens: bool) {
        self.set(EVENTS, listens);
    }

    /// Keyspace events name elements from now on, or no more.
    pub fn listen_to_elements(&self, listens: bool) {
        self.set(ELEMENTS, listens);
    }

    /// Some client keeps copies of keys from now on, or none does any more.
    pub fn listen_to_changes(&self, listens: bool) {
        self.set(CACHES, listens);
    }

    fn set(&self, flag: u64, on: bool) {
        if on {
            self.counts.fetch_or(flag, Ordering::Relaxed);
        } else {
            self.counts.fetch_and(!flag, Ordering::Relaxed);
        }
    }

    /// Keyspace events are sent.
    #[inline]
    pub fn wants_events(&self) -> bool {
        self.counts() & EVENTS != 0
    }

    /// Some client keeps copies of keys.
    #[inline]
    fn wants_changes(&self) -> bool {
        self.counts() & CACHES != 0
    }

    /// Keyspace events name elements.
    #[inline]
    pub fn wants_elements(&self) -> bool {
        self.counts() & ELEMENTS != 0
    }
}

/// One change, with its key and its elements in the arena.
struct Record {
    db: u32,
    hash: KeyHash,
    key: (usize, usize),
    kind: ChangeKind,
    event: Option<(EventClass, &'static str)>,
    /// Range of `elements`.
    elements: (usize, usize),
}

/// Something that has its place among the changes of an execution.
struct Step {
    /// How many changes stand before it.
    behind: usize,
    what: What,
}

enum What {
    /// A message was published.
    Message {
        way: PublishedAs,
        channel: Box<[u8]>,
        payload: Box<[u8]>,
    },
    /// A database was emptied, or all of them were.
    Emptied,
    /// A client that keeps copies has read a key.
    Read {
        tracker: Arc<Tracker>,
        key: Box<[u8]>,
        hash: KeyHash,
    },
}

/// The changes of one execution, in their order.
#[derive(Default)]
pub struct KeyChanges {
    records: Vec<Record>,
    steps: Vec<Step>,
    keys: Vec<u8>,
    elements: Vec<Vec<u8>>,
}

/// Bytes and records that are kept for the next execution.
const KEEP: usize = 16 * 1024;

impl KeyChanges {
    /// True when nothing was noted.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.steps.is_empty()
    }

    /// Forgets everything.
    #[inline]
    pub fn clear(&mut self) {
        if !self.records.is_empty() {
            self.records.clear();
            self.records.shrink_to(KEEP / size_of::<Record>());
            self.keys.clear();
            self.keys.shrink_to(KEEP);
            self.elements.clear();
            self.elements.shrink_to(KEEP / size_of::<Vec<u8>>());
        }
        if !self.steps.is_empty() {
            self.steps = Vec::new();
        }
    }

    fn step(&mut self, what: What) {
        let behind = self.records.len();
        self.steps.push(Step { behind, what });
    }

    /// Notes that a database was emptied, or all of them were.
    pub fn note_emptied(&mut self, listeners: &KeyListeners) {
        if listeners.wants_changes() {
            self.step(What::Emptied);
        }
    }

    /// Notes that a client which keeps copies has read a key.
    pub fn note_read(&mut self, tracker: &Arc<Tracker>, key: Key<'_>) {
        self.step(What::Read {
            tracker: Arc::clone(tracker),
            key: key.bytes.into(),
            hash: key.hash,
        });
    }

    /// Notes a message that is to be sent when the changes are in the log.
    pub fn note_message(&mut self, way: PublishedAs, channel: &[u8], payload: &[u8]) {
        self.step(What::Message {
            way,
            channel: channel.into(),
            payload: payload.into(),
        });
    }

    /// Notes a change of a key, when something listens.
    #[inline]
    pub fn note(
        &mut self,
        listeners: &KeyListeners,
        place: (u32, Key<'_>),
        kind: ChangeKind,
        event: Option<(EventClass, &'static str)>,
    ) {
        let counts = listeners.counts();
        if counts != 0 && (counts & EVENTS != 0 || kind != ChangeKind::Event) {
            self.push(place, kind, event, self.elements.len());
        }
    }

    /// The same with the elements that the event is about.
    pub fn note_elements<T: AsRef<[u8]>>(
        &mut self,
        listeners: &KeyListeners,
        place: (u32, Key<'_>),
        kind: ChangeKind,
        event: (EventClass, &'static str),
        elements: impl IntoIterator<Item = T>,
    ) {
        if listeners.wants_elements() {
            let first = self.elements.len();
            let elements = elements.into_iter();
            let copies = elements.map(|element| element.as_ref().to_vec());
            self.elements.extend(copies);
            self.push(place, kind, Some(event), first);
        } else {
            self.note(listeners, place, kind, Some(event));
        }
    }

    #[cold]
    fn push(
        &mut self,
        (db, key): (u32, Key<'_>),
        kind: ChangeKind,
        event: Option<(EventClass, &'static str)>,
        first_element: usize,
    ) {
        let last = self.records.last().map(|record| record.key);
        let is_same = |range: &(usize, usize)| self.bytes(*range) == key.bytes;
        let range = last.filter(is_same).unwrap_or_else(|| {
            let start = self.keys.len();
            self.keys.extend_from_slice(key.bytes);
            (start, self.keys.len())
        });
        self.records.push(Record {
            db,
            hash: key.hash,
            key: range,
            kind,
            event,
            elements: (first_element, self.elements.len()),
        });
    }

    fn bytes(&self, (start, end): (usize, usize)) -> &[u8] {
        self.keys.get(start..end).unwrap_or_default()
    }
}

/// Where the changes of an execution go.
pub struct FanOut<'a, 'k> {
    /// Its server.
    pub engine: &'a Engine,
    /// The shards it has locked.
    pub locked: &'a mut Locked<'k>,
    /// Keys that blocked clients may be served from.
    pub ready: &'a mut Vec<DbKey>,
    /// The log offset behind its effects.
    pub after: u64,
    /// Where it came from.
    pub origin: Origin,
    /// The client that made the changes; `None`: the server itself.
    pub actor: Option<u64>,
}

impl FanOut<'_, '_> {
    /// Passes every change on, once, and forgets it.
    #[cold]
    pub fn announce(mut self, changes: &mut KeyChanges) {
        let engine = self.engine;
        // What files hold was announced when it happened.
        let is_new = self.origin == Origin::Client;
        let sends = is_new && engine.key_listeners.wants_events();
        let invalidates = is_new && engine.key_listeners.wants_changes();
        let mut steps = changes.steps.iter().peekable();
        for (index, record) in changes.records.iter().enumerate() {
            while let Some(step) = steps.next_if(|step| step.behind <= index) {
                self.take(&step.what);
            }
            let bytes = changes.bytes(record.key);
            let tables = &self.locked.held(record.hash).attachments;
            if record.kind.breaks_watch() && !tables.watched.is_empty() {
                tables.watched.touch(record.db, bytes);
            }
            let is_last = |last: &DbKey| last.is(record.db, bytes);
            if is_waited_for(tables, record, bytes) && !self.ready.last().is_some_and(is_last) {
                self.ready.push(DbKey::new(record.db, bytes));
            }
            if invalidates && record.kind.breaks_watch() {
                let table = &mut self.locked.held_mut(record.hash).attachments.tracking;
                engine.invalidate(table, bytes, self.actor, self.after);
            }
            if sends && let Some((class, name)) = record.event {
                let (first, end) = record.elements;
                let event = Event {
                    db: record.db,
                    key: bytes,
                    class,
                    name,
                    elements: changes.elements.get(first..end).unwrap_or_default(),
                    after: self.after,
                };
                engine.notifications.send(engine, &event);
            }
        }
        steps.for_each(|step| self.take(&step.what));
        if invalidates && engine.tracking.prefixes.count() > 0 {
            self.broadcast(changes);
        }
        changes.clear();
    }

    /// One message for each prefix and client, with all keys that have changed.
    fn broadcast(&mut self, changes: &KeyChanges) {
        let records = changes.records.iter();
        let changed = records.filter(|record| record.kind.breaks_watch());
        let keys = changed.map(|record| changes.bytes(record.key));
        let prefixes = &self.engine.tracking.prefixes;
        prefixes.invalidate(self.engine, keys, self.actor, self.after);
    }

    fn take(&mut self, what: &What) {
        let engine = self.engine;
        match what {
            What::Message {
                way,
                channel,
                payload,
            } => {
                let pubsub = &engine.pubsub;
                pubsub.publish(engine, *way, channel, payload, self.after);
            }
            What::Emptied => engine.invalidate_all(self.locked, self.after),
            What::Read { tracker, key, hash } => {
                engine.remember_read(self.locked, tracker, Key::new(key, *hash));
            }
        }
    }
}

/// Clients are blocked on this key and may be served, or learn that it is gone.
fn is_waited_for(tables: &ShardTables, record: &Record, key: &[u8]) -> bool {
    use ChangeKind::{Evicted, Expired, Gone, Ready};
    match record.kind {
        Ready => tables.waiting.has(record.db, key),
        Gone | Expired | Evicted => tables.waiting.wakes_on_delete(record.db, key),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(bytes: &[u8]) -> Key<'_> {
        Key::new(bytes, KeyHash(7))
    }

    #[test]
    fn nothing_is_noted_while_nobody_listens() {
        let (listeners, mut changes) = (KeyListeners::default(), KeyChanges::default());
        changes.note(&listeners, (0, key(b"k")), ChangeKind::Modified, None);
        assert!(changes.is_empty());
        listeners.add_watcher();
        changes.note(&listeners, (0, key(b"k")), ChangeKind::Modified, None);
        assert!(!changes.is_empty());
    }

    #[test]
    fn counters_do_not_touch_each_other() {
        let listeners = KeyListeners::default();
        for _ in 0..3 {
            listeners.add_watcher();
            listeners.add_waiter();
        }
        listeners.add_waiter();
        listeners.remove_watcher();
        assert_eq!((listeners.watching(), listeners.waiting()), (2, 4));
        assert!(!listeners.wants_events());
        listeners.listen_to_events(true);
        listeners.listen_to_elements(true);
        listeners.listen_to_events(false);
        assert!(!listeners.wants_events() && listeners.wants_elements());
        assert_eq!((listeners.watching(), listeners.waiting()), (2, 4));
    }

    #[test]
    fn changes_of_one_key_in_a_row_share_its_bytes() {
        let listeners = KeyListeners::default();
        listeners.add_waiter();
        let mut changes = KeyChanges::default();
        for name in [b"aa", b"aa", b"bb", b"aa"] {
            changes.note(&listeners, (0, key(name)), ChangeKind::Ready, None);
        }
        assert_eq!(changes.keys, b"aabbaa");
        assert_eq!(changes.records.len(), 4);
        changes.clear();
        assert!(changes.is_empty() && changes.keys.is_empty());
    }
}
