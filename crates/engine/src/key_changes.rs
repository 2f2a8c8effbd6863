//! Changes of keys, and what listens to them.
//!
//! A command notes its changes in [`KeyChanges`] while it runs. When its effects are in the log,
//! and still under the locks of its keys, `execute` announces each change once to everything that
//! listens: watching transactions, blocked clients, client-side caches, keyspace notifications. So
//! no listener sees a change that the log does not have, and the order in which a key's listeners
//! see its changes is the order of the changes.
//!
//! [`KeyListeners`] counts the listeners. Without any, a change costs one relaxed load.

use std::sync::Arc;

use keyspace::KeyHash;

use crate::config::events;
use crate::keys::Key;
use crate::listeners::{EVENTS, KeyListeners};
use crate::pubsub::PublishedAs;
use crate::tracking::Tracker;

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

/// Something that has its place among the changes of an execution.
pub struct Step {
    /// How many changes stand before it.
    pub behind: usize,
    /// What it is.
    pub what: What,
}

/// What is no change of a key, but has its place among them.
pub enum What {
    /// A message was published.
    Message {
        /// The command that published it.
        way: PublishedAs,
        /// The database that it ran in.
        db: u32,
        /// Its channel.
        channel: Box<[u8]>,
        /// What it says.
        payload: Box<[u8]>,
    },
    /// A database was emptied, or all of them were.
    Emptied,
    /// A client that keeps copies has read a key.
    Read {
        /// The client.
        tracker: Arc<Tracker>,
        /// The key.
        key: Box<[u8]>,
        /// Its hash.
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

/// How far changes have been noted, for [`KeyChanges::back_to`].
#[derive(Debug, Clone, Copy)]
pub struct ChangesMark {
    records: usize,
    steps: usize,
    keys: usize,
    elements: usize,
}

/// Bytes and records that are kept for the next execution.
const KEEP: usize = 16 * 1024;

impl KeyChanges {
    /// True when nothing was noted.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.steps.is_empty()
    }

    /// How far changes have been noted.
    pub fn mark(&self) -> ChangesMark {
        ChangesMark {
            records: self.records.len(),
            steps: self.steps.len(),
            keys: self.keys.len(),
            elements: self.elements.len(),
        }
    }

    /// Forgets the changes behind a mark.
    pub fn back_to(&mut self, mark: ChangesMark) {
        self.records.truncate(mark.records);
        self.steps.truncate(mark.steps);
        self.keys.truncate(mark.keys);
        self.elements.truncate(mark.elements);
    }

    /// Forgets everything.
    #[inline]
    pub fn clear(&mut self) {
        if !self.records.is_empty() {
            self.clear_all();
        }
        if !self.steps.is_empty() {
            self.steps = Vec::new();
        }
    }

    fn step(&mut self, what: What) {
        let behind = self.records.len();
        self.steps.push(Step { behind, what });
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

    /// Notes a message that is to be sent when the changes are in the log: the command that
    /// published it with its database, the channel, and what it says.
    pub fn note_message(&mut self, (way, db): (PublishedAs, u32), channel: &[u8], payload: &[u8]) {
        self.step(What::Message {
            way,
            db,
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

    /// What else happened, in its order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter()
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
    fn changes_behind_a_mark_are_forgotten() {
        let listeners = KeyListeners::default();
        listeners.add_waiter();
        let mut changes = KeyChanges::default();
        let note = |changes: &mut KeyChanges, name| {
            changes.note(&listeners, (0, key(name)), ChangeKind::Ready, None);
        };
        note(&mut changes, b"aa");
        let mark = changes.mark();
        note(&mut changes, b"bb");
        changes.note_emptied(&listeners);
        changes.back_to(mark);
        note(&mut changes, b"aa");
        let keys: Vec<&[u8]> = changes.iter().map(|change| change.key.bytes).collect();
        assert_eq!(keys, [b"aa", b"aa"]);
        assert_eq!(changes.steps().count(), 0);
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
