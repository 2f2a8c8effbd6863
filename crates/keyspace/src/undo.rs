//! Taking back what a script or a transaction has changed.
//!
//! While a [`Recording`] is open on a thread, every change that this thread makes in a shard notes
//! first what was there: at the same places that call the [change hook](crate::hook). The thread
//! holds the locks of all shards that it changes until the recording ends, so nothing else sees
//! what is taken back, and one list has the changes of all shards in their order.
//!
//! ```text
//! steps  [ key was absent | key had this value | database was emptied | databases swapped | .. ]
//!          <----------------------- taken back from the end to the beginning
//! ```
//! Of a value there is a copy, which small values and long strings (shared until they are changed)
//! allow. Large collections note the changes of their elements themselves ([`values::journal`]);
//! such a collection is kept when its key is removed or overwritten.
//!
//! A key is noted once, before its first change. Noting it again would be right, too, because the
//! oldest step is taken back last; only memory depends on it.
//!
//! Recordings nest: an inner one that is kept becomes a part of the outer one.

use crate::db::Cleared;
use crate::entry::{Block, EntryRef, OwnedBlock, Removed, Value};
use crate::hash::KeyHash;
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use values::journal;

/// Bytes of old values above which a recording that may give up does so.
pub const UNDO_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of a value that is copied by a recording that may give up: a copy takes some tens of
/// microseconds then. Large collections are not copied, they have journals.
const COPY_BYTES_MAX: usize = 1024 * 1024;

/// Steps that are searched one by one for a key; more have an index.
const SEARCHED_MAX: usize = 8;

/// Steps for which a thread keeps room.
const STEPS_KEEP: usize = 64;

thread_local! {
    /// True while changes are noted. One load and one branch for every other change.
    static IS_RECORDING: Cell<bool> = const { Cell::new(false) };
    /// The open recordings of the thread, the innermost last.
    static OPEN: RefCell<Vec<Changes>> = const { RefCell::new(Vec::new()) };
    /// Room for the next recording.
    static SPARE: Cell<Vec<Step>> = const { Cell::new(Vec::new()) };
}

/// The bytes of a key in a step.
pub(crate) type KeyBytes = SmallVec<[u8; 24]>;

/// A change that can be taken back.
pub(crate) enum Step {
    /// The key was not there.
    Absent {
        db: u32,
        hash: KeyHash,
        key: KeyBytes,
    },
    /// The key had this value, with its deadline and its LRU or LFU field.
    Had {
        db: u32,
        hash: KeyHash,
        key: KeyBytes,
        value: Value,
        deadline: Option<u64>,
        lru: u32,
    },
    /// The key had a large collection, which has noted its changes since a mark.
    Journaled {
        db: u32,
        hash: KeyHash,
        key: KeyBytes,
        mark: usize,
        deadline: Option<u64>,
        lru: u32,
    },
    /// The key had a large collection with a journal, and was removed.
    Removed {
        db: u32,
        hash: KeyHash,
        block: Arc<OwnedBlock>,
    },
    /// The database had these entries in a shard.
    Cleared {
        shard: usize,
        db: u32,
        content: Cleared,
    },
    /// Two databases of a shard have changed places.
    Swapped { shard: usize, a: u32, b: u32 },
}

/// What a recording does when there is more to note than [`UNDO_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// It forgets what it has noted: nothing can be taken back any more.
    GiveUp,
    /// It goes on. Its owner looks at [`Recording::bytes`] and takes everything back.
    GoOn,
}

/// Places of steps by database and hash of the key.
type Index = HashMap<(u32, u64), usize>;

/// The changes of one recording.
struct Changes {
    steps: Vec<Step>,
    /// Where the steps begin that may be the first of their key.
    since: usize,
    /// The first step of each key behind `since`, once there are many.
    index: Option<Index>,
    beyond: Beyond,
    /// Large streams have journals; these have no parts, so only where recordings do not nest.
    journals_streams: bool,
    has_given_up: bool,
}

impl Changes {
    fn new(beyond: Beyond) -> Changes {
        Changes {
            steps: SPARE.take(),
            since: 0,
            index: None,
            beyond,
            journals_streams: beyond == Beyond::GiveUp,
            has_given_up: false,
        }
    }

    fn has(&self, db: u32, hash: KeyHash, key: &[u8]) -> bool {
        let steps = self.steps.get(self.since..).unwrap_or_default();
        if steps.len() <= SEARCHED_MAX {
            return steps.iter().any(|step| step.is_about(db, hash, key));
        }
        let first = self
            .index
            .as_ref()
            .and_then(|index| index.get(&(db, hash.0)));
        let step = first.and_then(|at| self.steps.get(*at));
        step.is_some_and(|step| step.is_about(db, hash, key))
    }

    /// Adds a step that keeps `bytes` outside of itself.
    fn push(&mut self, step: Step, bytes: usize) {
        let fits = journal::charge(size_of::<Step>() + bytes);
        self.steps.push(step);
        if !fits {
            return self.give_up();
        }
        let count = self.steps.len() - self.since;
        if count == SEARCHED_MAX + 1 {
            for (at, step) in self.steps.iter().enumerate().skip(self.since) {
                if let Some(place) = step.place() {
                    let index = self.index.get_or_insert_default();
                    index.entry(place).or_insert(at);
                }
            }
        } else if count > SEARCHED_MAX
            && let Some(place) = self.steps.last().and_then(Step::place)
        {
            let index = self.index.get_or_insert_default();
            index.entry(place).or_insert(self.steps.len() - 1);
        }
    }

    /// A step about whole databases: keys have another meaning behind it.
    fn push_whole(&mut self, step: Step) {
        self.index = None;
        self.push(step, 0);
        self.index = None;
        self.since = self.steps.len();
    }

    fn give_up(&mut self) {
        self.has_given_up = true;
        // Journals have an end at the end.
        self.steps
            .retain(|step| matches!(step, Step::Journaled { .. }));
        self.steps.shrink_to_fit();
        self.index = None;
        self.since = 0;
        IS_RECORDING.set(false);
    }
}

impl Step {
    /// Database and hash of the key that a step is the first of.
    fn place(&self) -> Option<(u32, u64)> {
        match self {
            Step::Absent { db, hash, .. }
            | Step::Had { db, hash, .. }
            | Step::Journaled { db, hash, .. } => Some((*db, hash.0)),
            Step::Removed { .. } | Step::Cleared { .. } | Step::Swapped { .. } => None,
        }
    }

    /// True when freeing what the step has is worth another thread.
    pub(crate) fn is_big(&self) -> bool {
        match self {
            Step::Had { value, .. } => value.is_big(),
            Step::Removed { block, .. } => block.entry().value().is_big(),
            Step::Cleared { content, .. } => !content.is_empty(),
            Step::Absent { .. } | Step::Journaled { .. } | Step::Swapped { .. } => false,
        }
    }

    fn is_about(&self, db: u32, hash: KeyHash, key: &[u8]) -> bool {
        match self {
            Step::Absent { key: own, .. }
            | Step::Had { key: own, .. }
            | Step::Journaled { key: own, .. } => {
                self.place() == Some((db, hash.0)) && own.as_slice() == key
            }
            Step::Removed { .. } | Step::Cleared { .. } | Step::Swapped { .. } => false,
        }
    }
}

/// True while changes of this thread are noted.
#[inline(always)]
pub fn is_recording() -> bool {
    IS_RECORDING.get()
}

/// Runs `work` without noting its changes.
pub(crate) fn paused<R>(work: impl FnOnce() -> R) -> R {
    let was_recording = IS_RECORDING.replace(false);
    let result = work();
    IS_RECORDING.set(was_recording);
    result
}

/// Passes the innermost recording to `note`.
fn innermost(note: impl FnOnce(&mut Changes)) {
    OPEN.with_borrow_mut(|open| {
        let Some(changes) = open.last_mut().filter(|changes| !changes.has_given_up) else {
            return;
        };
        if journal::is_over_limit() {
            // A journal of a collection is not complete.
            return changes.give_up();
        }
        note(changes);
    });
}

/// What happens to an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Its value may be changed in place.
    Edit,
    /// Its value stays as it is, or goes as a whole.
    Keep,
    /// It gets another value, or is made.
    Put,
}

/// Notes an entry that is about to be changed or removed.
///
/// # Safety
/// The caller has exclusive access to the entry of the block.
#[cold]
pub(crate) unsafe fn before_change(db: u32, hash: KeyHash, block: Block, change: Change) {
    innermost(|changes| {
        if changes.has(db, hash, block.key()) {
            return;
        }
        let key = KeyBytes::from_slice(block.key());
        let (deadline, lru) = (block.deadline(), block.lru());
        // SAFETY: the caller has exclusive access to the entry.
        let value = unsafe { block.value_mut() };
        if let Some(mark) = value.begin_journal(changes.journals_streams) {
            let step = Step::Journaled {
                db,
                hash,
                key,
                mark,
                deadline,
                lru,
            };
            return changes.push(step, 0);
        }
        // SAFETY: the value is not borrowed any more.
        let entry = unsafe { EntryRef::new(block) };
        let bytes = entry.memory_usage();
        let is_copied = change == Change::Edit && bytes > COPY_BYTES_MAX;
        if is_copied && changes.beyond == Beyond::GiveUp {
            return changes.give_up();
        }
        let step = Step::Had {
            db,
            hash,
            key,
            value: entry.to_value(),
            deadline,
            lru,
        };
        changes.push(step, bytes);
    });
}

/// Takes the former value of an entry whose key was noted. It is kept when it has a journal; else
/// it is given back when freeing it is worth another thread.
#[cold]
pub(crate) fn replaced(
    (db, hash, block): (u32, KeyHash, Block),
    value: Value,
    (deadline, lru): (Option<u64>, u32),
) -> Option<Value> {
    if !value.as_value_ref().has_journal() {
        return Some(value).filter(Value::is_big);
    }
    let mut value = Some(value);
    innermost(|changes| {
        if let Some(value) = value.take() {
            let step = Step::Had {
                db,
                hash,
                key: KeyBytes::from_slice(block.key()),
                value,
                deadline,
                lru,
            };
            changes.push(step, 0);
        }
    });
    value.filter(Value::is_big)
}

/// An entry that has left its table. One with a journal is shared with the recording, which may put
/// it back.
#[inline]
pub(crate) fn removed(db: u32, hash: KeyHash, block: OwnedBlock) -> Removed {
    match is_recording() && block.entry().value().has_journal() {
        true => keep_removed(db, hash, block),
        false => Removed::new(block),
    }
}

#[cold]
fn keep_removed(db: u32, hash: KeyHash, block: OwnedBlock) -> Removed {
    let block = Arc::new(block);
    innermost(|changes| {
        let block = Arc::clone(&block);
        changes.push(Step::Removed { db, hash, block }, 0);
    });
    Removed::shared(block)
}

/// Notes a key that is about to be inserted.
#[cold]
pub(crate) fn before_insert(db: u32, hash: KeyHash, key: &[u8]) {
    innermost(|changes| {
        if !changes.has(db, hash, key) {
            let step = Step::Absent {
                db,
                hash,
                key: KeyBytes::from_slice(key),
            };
            changes.push(step, key.len());
        }
    });
}

/// Notes a database that was emptied in a shard.
#[cold]
pub(crate) fn cleared(shard: usize, db: u32, content: &Cleared) {
    let content = content.clone();
    innermost(|changes| changes.push_whole(Step::Cleared { shard, db, content }));
}

/// Notes that two databases of a shard are about to change places.
#[cold]
pub(crate) fn before_swap(shard: usize, a: u32, b: u32) {
    innermost(|changes| changes.push_whole(Step::Swapped { shard, a, b }));
}

/// The changes of this thread from its beginning on, to be kept or taken back, by
/// [`Locked`](crate::Locked).
#[derive(Debug)]
#[must_use]
pub struct Recording {
    /// Recordings that are open outside of it.
    depth: usize,
}

impl Recording {
    /// Begins to note the changes of this thread.
    pub fn begin(beyond: Beyond) -> Recording {
        OPEN.with_borrow_mut(|open| {
            // What is not given up outside must not be given up inside.
            let goes_on = open.iter().any(|outer| outer.beyond == Beyond::GoOn);
            let beyond = if goes_on { Beyond::GoOn } else { beyond };
            if open.is_empty() {
                journal::open_account(match beyond {
                    Beyond::GiveUp => UNDO_BYTES_MAX,
                    Beyond::GoOn => usize::MAX,
                });
            }
            open.push(Changes::new(beyond));
            IS_RECORDING.set(true);
            Recording {
                depth: open.len() - 1,
            }
        })
    }

    /// Bytes of what is noted, by this recording and by those outside of it.
    pub fn bytes(&self) -> usize {
        journal::bytes()
    }

    /// True when nothing can be taken back, because there was too much to note.
    pub fn has_given_up(&self) -> bool {
        journal::is_over_limit()
            || OPEN.with_borrow(|open| {
                let own = open.get(self.depth);
                own.is_none_or(|changes| changes.has_given_up)
            })
    }

    /// Ends the recording and returns its steps.
    pub(crate) fn end(self) -> Vec<Step> {
        let changes = self.close();
        std::mem::forget(self);
        changes.map(|changes| changes.steps).unwrap_or_default()
    }

    /// Ends the recording, whose changes stay. Returns its steps, unless they are a part of an
    /// outer recording now.
    pub(crate) fn end_kept(self) -> Vec<Step> {
        let changes = self.close();
        std::mem::forget(self);
        let Some(mut own) = changes else {
            return Vec::new();
        };
        OPEN.with_borrow_mut(|open| match open.last_mut() {
            Some(outer) => {
                outer.steps.append(&mut own.steps);
                // Keys that both have noted may be noted again.
                outer.index = None;
                outer.since = outer.steps.len();
                Vec::new()
            }
            None => own.steps,
        })
    }

    /// Takes the recording off, and those inside of it that were left open.
    fn close(&self) -> Option<Changes> {
        OPEN.with_borrow_mut(|open| {
            open.truncate(self.depth + 1);
            let own = open.pop();
            IS_RECORDING.set(open.last().is_some_and(|outer| !outer.has_given_up));
            if open.is_empty() {
                journal::close_account();
            }
            own
        })
    }
}

/// What was noted is forgotten: for executions that end in a panic.
impl Drop for Recording {
    fn drop(&mut self) {
        drop(self.close());
    }
}

/// Gives the room of steps back, for the next recording.
pub(crate) fn recycle(mut steps: Vec<Step>) {
    steps.clear();
    steps.shrink_to(STEPS_KEEP);
    SPARE.set(steps);
}
