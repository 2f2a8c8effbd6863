//! Changes of keys, and their listeners.
//!
//! A command notes its changes in [`KeyChanges`] while it runs. When its effects are in the log,
//! and still under the locks of its keys, `execute` announces each change once to
//! everything that listens: watching transactions, blocked clients, observers (keyspace
//! notifications, client-side caching). So no listener sees a change that the log does not have,
//! and the order in which a key's listeners see its changes is the order of the changes.
//!
//! [`KeyListeners`] counts the listeners. Without any, a change costs one relaxed load.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use keyspace::KeyHash;

use crate::keys::Key;

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

/// A change of one key, as observers see it.
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
    /// The log must be flushed up to this offset before a client may be told.
    pub after: u64,
}

/// Receives every change of a key, under the lock of its shard: it must be quick and must not touch
/// the keyspace.
pub trait Observer: Send + Sync {
    /// A key was changed.
    fn changed(&self, change: &KeyChange<'_>);
}

/// How many listen to changes of keys, and the observers among them.
///
/// One word holds three counters, so that one load shows whether there are listeners. Counters of
/// watching and waiting clients change under the lock of a key of theirs: a command that holds that
/// lock sees them.
#[derive(Default)]
pub struct KeyListeners {
    counts: AtomicU64,
    observers: RwLock<Vec<Arc<dyn Observer>>>,
}

/// Bits of the counter of watching clients, and of that of waiting clients.
const CLIENT_BITS: u32 = 28;
const CLIENT_MASK: u64 = (1 << CLIENT_BITS) - 1;
const ONE_WATCHING: u64 = 1;
const ONE_WAITING: u64 = 1 << CLIENT_BITS;
const ONE_OBSERVER: u64 = 1 << (2 * CLIENT_BITS);

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

    /// Adds an observer, at most 255 of them, for the life of the server.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        let mut observers = self
            .observers
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        observers.push(observer);
        self.counts.fetch_add(ONE_OBSERVER, Ordering::Relaxed);
    }

    /// There are observers.
    pub fn has_observers(&self) -> bool {
        self.counts() >= ONE_OBSERVER
    }

    /// Passes a change on to every observer.
    pub fn tell(&self, change: &KeyChange<'_>) {
        let observers = self.observers.read();
        let observers = observers.unwrap_or_else(PoisonError::into_inner);
        observers.iter().for_each(|other| other.changed(change));
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

/// The changes of one execution, in their order.
#[derive(Default)]
pub struct KeyChanges {
    records: Vec<Record>,
    keys: Vec<u8>,
    elements: Vec<Vec<u8>>,
}

/// Bytes and records that are kept for the next execution.
const KEEP: usize = 16 * 1024;

impl KeyChanges {
    /// True when nothing was noted.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Forgets everything.
    #[inline]
    pub fn clear(&mut self) {
        if !self.records.is_empty() {
            self.clear_all();
        }
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

    /// Notes a change of a key, when there are listeners.
    #[inline]
    pub fn note(
        &mut self,
        listeners: &KeyListeners,
        (db, key): (u32, Key<'_>),
        kind: ChangeKind,
        event: Option<(EventClass, &'static str)>,
    ) {
        if listeners.counts() != 0 {
            self.push(db, key, kind, event, &[]);
        }
    }

    /// The same with the elements that the event is about.
    pub fn note_elements(
        &mut self,
        listeners: &KeyListeners,
        (db, key): (u32, Key<'_>),
        event: (EventClass, &'static str),
        elements: &[Vec<u8>],
    ) {
        if listeners.counts() != 0 {
            self.push(db, key, ChangeKind::Modified, Some(event), elements);
        }
    }

    #[cold]
    fn push(
        &mut self,
        db: u32,
        key: Key<'_>,
        kind: ChangeKind,
        event: Option<(EventClass, &'static str)>,
        elements: &[Vec<u8>],
    ) {
        let last = self.records.last().map(|record| record.key);
        let is_same = |range: &(usize, usize)| self.bytes(*range) == key.bytes;
        let range = last.filter(is_same).unwrap_or_else(|| {
            let start = self.keys.len();
            self.keys.extend_from_slice(key.bytes);
            (start, self.keys.len())
        });
        let first = self.elements.len();
        self.elements.extend_from_slice(elements);
        self.records.push(Record {
            db,
            hash: key.hash,
            key: range,
            kind,
            event,
            elements: (first, self.elements.len()),
        });
    }

    /// The changes in their order; observers may be told when the log is flushed up to `after`.
    pub fn iter(&self, after: u64) -> impl Iterator<Item = KeyChange<'_>> {
        self.records.iter().map(move |record| {
            let (first, end) = record.elements;
            KeyChange {
                db: record.db,
                key: Key::new(self.bytes(record.key), record.hash),
                kind: record.kind,
                event: record.event,
                elements: self.elements.get(first..end).unwrap_or_default(),
                after,
            }
        })
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
        assert!(!listeners.has_observers());
    }

    #[test]
    fn changes_of_one_key_in_a_row_share_its_bytes() {
        let listeners = KeyListeners::default();
        listeners.add_waiter();
        let mut changes = KeyChanges::default();
        for name in [b"aa", b"aa", b"bb", b"aa"] {
            changes.note(&listeners, (0, key(name)), ChangeKind::Event, None);
        }
        assert_eq!(changes.keys, b"aabbaa");
        assert_eq!(changes.records.len(), 4);
        changes.clear();
        assert!(changes.is_empty() && changes.keys.is_empty());
    }
}
