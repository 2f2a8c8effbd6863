//! Changes of keys, and what listens to them.
//!
//! A command notes its changes in [`KeyChanges`] while it runs. When its effects are in the log,
//! and still under the locks of its keys, `execute` announces each change once to everything that
//! listens: watching transactions, blocked clients, client-side caches, keyspace notifications. So
//! no listener sees a change that the log does not have, and the order in which a key's listeners
//! see its changes is the order of the changes.
//!
//! [`KeyListeners`] counts the listeners. Without any, a change costs one relaxed load.

use std::sync::atomic::{AtomicU64, Ordering};

use keyspace::KeyHash;

use crate::config::events;
use crate::keys::Key;
use crate::pubsub::PublishedAs;

/// Class of a keyspace event, as the letters of `notify-keyspace-events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the names are the classes of notify-keyspace-events"
)]
pub enum EventClass {
    Generic,
    String,
    List,
    Set,
    Hash,
    ZSet,
    Expired,
    Evicted,
    Stream,
    Module,
    New,
    KeyMiss,
    Overwritten,
    TypeChanged,
}

impl EventClass {
    /// Its bit in the value of `notify-keyspace-events`.
    pub fn bit(self) -> i64 {
        match self {
            Self::Generic => events::GENERIC,
            Self::String => events::STRING,
            Self::List => events::LIST,
            Self::Set => events::SET,
            Self::Hash => events::HASH,
            Self::ZSet => events::ZSET,
            Self::Expired => events::EXPIRED,
            Self::Evicted => events::EVICTED,
            Self::Stream => events::STREAM,
            Self::Module => events::MODULE,
            Self::New => events::NEW,
            Self::KeyMiss => events::KEY_MISS,
            Self::Overwritten => events::OVERWRITTEN,
            Self::TypeChanged => events::TYPE_CHANGED,
        }
    }
}

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
    pub fn breaks_watch(self) -> bool {
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
    pub fn wants_changes(&self) -> bool {
        self.counts() & CACHES != 0
    }

    /// Keyspace events name elements.
    #[inline]
    pub fn wants_elements(&self) -> bool {
        self.counts() & ELEMENTS != 0
    }
}

/// A change of one key.
#[derive(Clone, Copy, Debug)]
pub struct KeyChange<'a> {
    /// Database.
    pub db: u32,
    /// The key.
    pub key: Key<'a>,
    /// What happened.
    pub kind: ChangeKind,
    /// Class and name of its keyspace event, if it has one.
    pub event: Option<(EventClass, &'static str)>,
    /// The elements (fields, members) that the event is about, where it names them.
    pub elements: &'a [Vec<u8>],
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

/// A message that a transaction has published.
pub struct Published {
    /// How many changes stand before it.
    pub behind: usize,
    /// The command that published it.
    pub way: PublishedAs,
    /// Its channel.
    pub channel: Box<[u8]>,
    /// What it says.
    pub payload: Box<[u8]>,
}

/// The changes of one execution, in their order.
#[derive(Default)]
pub struct KeyChanges {
    records: Vec<Record>,
    published: Vec<Published>,
    /// All data was removed behind so many changes, the last time.
    emptied: Option<usize>,
    keys: Vec<u8>,
    elements: Vec<Vec<u8>>,
}

/// Bytes and records that are kept for the next execution.
const KEEP: usize = 16 * 1024;

impl KeyChanges {
    /// True when nothing was noted.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.published.is_empty() && self.emptied.is_none()
    }

    /// Forgets everything.
    #[inline]
    pub fn clear(&mut self) {
        if !self.records.is_empty() {
            self.clear_all();
        }
        if !self.published.is_empty() {
            self.published = Vec::new();
        }
        self.emptied = None;
    }

    #[cold]
    fn clear_all(&mut self) {
        self.records.clear();
        self.records.shrink_to(KEEP / size_of::<Record>());
        self.keys.clear();
        self.keys.shrink_to(KEEP);
        self.elements.clear();
        self.elements.shrink_to(KEEP / size_of::<Vec<u8>>());
    }

    /// Notes that a database was emptied, or all of them were.
    pub fn note_emptied(&mut self, listeners: &KeyListeners) {
        if listeners.wants_changes() {
            self.emptied = Some(self.records.len());
        }
    }

    /// Notes a message that is to be sent when the changes are in the log, in the order of the
    /// changes and messages.
    pub fn publish(&mut self, way: PublishedAs, channel: &[u8], payload: &[u8]) {
        self.published.push(Published {
            behind: self.records.len(),
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

    /// The changes of keys, in their order.
    pub fn iter(&self) -> impl Iterator<Item = KeyChange<'_>> {
        self.records.iter().map(|record| {
            let (first, end) = record.elements;
            KeyChange {
                db: record.db,
                key: Key::new(self.bytes(record.key), record.hash),
                kind: record.kind,
                event: record.event,
                elements: self.elements.get(first..end).unwrap_or_default(),
            }
        })
    }

    /// The messages of the execution, each with the number of changes that stand before it.
    pub fn published(&self) -> impl Iterator<Item = &Published> {
        self.published.iter()
    }

    /// How many changes stand before the one that emptied the data, when there was one.
    pub fn emptied_behind(&self) -> Option<usize> {
        self.emptied
    }

    fn bytes(&self, (start, end): (usize, usize)) -> &[u8] {
        self.keys.get(start..end).unwrap_or_default()
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
