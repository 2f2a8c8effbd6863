//! Streams: entries in the order of their ids, and groups of consumers that read them.
//!
//! Entries lie in nodes of up to a hundred or so, which stand in a queue by their ids: entries are
//! added at its end and mostly removed at its front. The last node is a listpack as Redis has it
//! (`packed`), the others have a form of their own that is a third smaller (`rows`) and can be made
//! such a listpack. Pending entries lie in rows of blocks (`pending`).

mod entries;
mod group;
mod id;
mod idempotence;
mod node;
mod packed;
mod pending;
mod rows;

#[cfg(test)]
mod tests;

use crate::alloc::size_class;
use crate::journal;
use crate::malformed::Malformed;
use crate::table::prefetch;
use std::fmt;

pub use entries::{AheadOfAppend, AppendError, Entries, Keep, NodeLimits, Range, RangeBack};
pub use group::{Consumer, ConsumerId, Group, Groups, Pending, PendingRange};
pub use id::{ID_TEXT, IdText, StreamId};
pub use idempotence::{Idempotence, IdempotenceLimits};
pub use node::{Entry, Fields};

/// The treatment of pending references of groups to deleted entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum References {
    /// Groups keep them.
    #[default]
    Keep,
    /// They are removed.
    Remove,
    /// Entries to which there are some are not deleted.
    Spare,
}

/// A stream: eight bytes that own all of it. An empty one stays what it is: ids never come again.
#[derive(Clone)]
pub struct Stream {
    body: Box<Body>,
}

#[derive(Clone, Default)]
struct Body {
    entries: Entries,
    groups: Groups,
    idempotence: Option<Box<Idempotence>>,
    journal: Journal,
}

/// What a stream had, besides its entries, when a journal began. A copy of the stream has none.
#[derive(Default)]
struct Journal(Option<Box<Had>>);

/// Parts that were not borrowed for change since are `None`.
#[derive(Default)]
struct Had {
    groups: Option<Groups>,
    idempotence: Option<Option<Box<Idempotence>>>,
    /// The account of the journal.
    account: u64,
}

impl Had {
    /// False when the journal was left by an execution that has ended without its end.
    fn is_open(&self) -> bool {
        journal::is_open(self.account)
    }
}

impl Clone for Journal {
    fn clone(&self) -> Self {
        Journal(None)
    }
}

impl Stream {
    /// A prefetch for an entry that is to be appended. The steps follow each other; between two of
    /// them the caller runs those of other streams.
    #[inline]
    pub fn look_ahead(&self, step: AheadOfAppend) {
        if step == AheadOfAppend::Node {
            // The first two lines are there: the look-ahead for a value brings them.
            let body = std::ptr::from_ref(&*self.body).cast::<u8>();
            for at in (128..size_of::<Body>()).step_by(64) {
                prefetch(body.wrapping_add(at));
            }
        }
        self.body.entries.look_ahead(step);
    }
}

/// Journals.
impl Stream {
    /// Begins a journal of changes. False, and there is none, for a stream of one node, of which a
    /// copy costs less, and while there is one already.
    pub fn begin_journal(&mut self) -> bool {
        let body = &mut *self.body;
        if body.entries.node_count() < 2 || body.journal.0.as_ref().is_some_and(|it| it.is_open()) {
            return false;
        }
        body.entries.begin_journal();
        body.journal.0 = Some(Box::new(Had {
            account: journal::account(),
            ..Had::default()
        }));
        true
    }

    /// True while there is a journal.
    pub fn has_journal(&self) -> bool {
        self.body.journal.0.is_some()
    }

    /// Ends a journal that was left.
    #[cold]
    fn drop_left_journal(&mut self) {
        if self.body.journal.0.as_ref().is_some_and(|it| !it.is_open()) {
            self.end_journal();
        }
    }

    /// Keeps what was done since the journal began.
    pub fn end_journal(&mut self) {
        self.body.entries.end_journal();
        self.body.journal.0 = None;
    }

    /// Takes back what was done since the journal began.
    pub fn roll_back(&mut self) {
        let body = &mut *self.body;
        let Some(had) = body.journal.0.take() else {
            return;
        };
        body.entries.roll_back();
        if let Some(groups) = had.groups {
            body.groups = groups;
        }
        if let Some(idempotence) = had.idempotence {
            body.idempotence = idempotence;
        }
    }

    /// Notes the groups, which are about to be changed, while there is a journal.
    #[inline]
    fn note_groups(&mut self) {
        let body = &mut *self.body;
        if let Some(had) = &mut body.journal.0
            && had.groups.is_none()
            && journal::charge(body.groups.heap_bytes())
        {
            had.groups = Some(body.groups.clone());
        }
    }

    /// Notes the ids of producers, which are about to be changed, while there is a journal.
    #[inline]
    fn note_idempotence(&mut self) {
        let body = &mut *self.body;
        let bytes = body.idempotence.as_ref().map_or(0, |ids| ids.heap_bytes());
        if let Some(had) = &mut body.journal.0
            && had.idempotence.is_none()
            && journal::charge(bytes)
        {
            had.idempotence = Some(body.idempotence.clone());
        }
    }
}

impl Stream {
    /// An empty stream.
    pub fn new() -> Stream {
        Stream {
            body: Box::default(),
        }
    }

    /// The entries.
    #[inline]
    pub fn entries(&self) -> &Entries {
        &self.body.entries
    }

    /// The entries, for change.
    #[inline]
    pub fn entries_mut(&mut self) -> &mut Entries {
        if self.has_journal() {
            self.drop_left_journal();
        }
        &mut self.body.entries
    }

    /// The groups.
    #[inline]
    pub fn groups(&self) -> &Groups {
        &self.body.groups
    }

    /// The groups, for change.
    #[inline]
    pub fn groups_mut(&mut self) -> &mut Groups {
        self.note_groups();
        &mut self.body.groups
    }

    /// Both at once.
    #[inline]
    pub fn parts_mut(&mut self) -> (&mut Entries, &mut Groups) {
        self.note_groups();
        if self.has_journal() {
            self.drop_left_journal();
        }
        let body = &mut *self.body;
        (&mut body.entries, &mut body.groups)
    }

    /// The ids of producers; `None` without any so far.
    #[inline]
    pub fn idempotence(&self) -> Option<&Idempotence> {
        self.body.idempotence.as_deref()
    }

    /// The ids of producers, for change.
    #[inline]
    pub fn idempotence_mut(&mut self) -> Option<&mut Idempotence> {
        self.note_idempotence();
        self.body.idempotence.as_deref_mut()
    }

    /// The same, which begins with these limits if there is nothing yet.
    pub fn idempotence_or_new(&mut self, limits: IdempotenceLimits) -> &mut Idempotence {
        self.note_idempotence();
        let fresh = || Box::new(Idempotence::new(limits));
        self.body.idempotence.get_or_insert_with(fresh)
    }

    /// Deletes the oldest entries until those of `keep` are left. Only whole nodes go when
    /// `whole_nodes` is set, and not more than `limit` entries (0: all). Returns how many went.
    pub fn trim(
        &mut self,
        keep: Keep,
        whole_nodes: bool,
        limit: u64,
        references: References,
    ) -> u64 {
        if self.groups().is_empty() || references == References::Keep {
            let entries = self.entries_mut();
            return entries.trim(keep, whole_nodes, limit, None);
        }
        let (entries, groups) = self.parts_mut();
        let mut spare = |id| {
            if references == References::Spare {
                return groups.refer_to(id);
            }
            groups.remove_pending(id);
            false
        };
        entries.trim(keep, whole_nodes, limit, Some(&mut spare))
    }

    /// Deletes an entry, or not. `None` when there is no such entry, else whether it is deleted.
    pub fn remove(&mut self, id: StreamId, references: References) -> Option<bool> {
        let body = &*self.body;
        if references == References::Spare && body.entries.contains(id) && body.groups.refer_to(id)
        {
            return Some(false);
        }
        let removed = self.entries_mut().remove(id);
        if references == References::Remove {
            self.groups_mut().remove_pending(id);
        }
        removed.then_some(true)
    }

    /// Bytes on the heap. Takes as long as there are groups, consumers and ids of producers.
    pub fn heap_bytes(&self) -> usize {
        let body = &*self.body;
        size_class(size_of::<Body>())
            + body.entries.heap_bytes()
            + body.groups.heap_bytes()
            + self.idempotence().map_or(0, Idempotence::heap_bytes)
    }

    /// Approximate number of allocations, a measure of the cost of freeing.
    pub fn blocks(&self) -> usize {
        self.body.entries.node_count()
            + self.body.groups.blocks()
            + self.idempotence().map_or(0, Idempotence::blocks)
    }
}

impl Default for Stream {
    fn default() -> Self {
        Stream::new()
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("len", &self.entries().len())
            .field("last_id", &self.entries().last_id())
            .field("groups", &self.groups().len())
            .finish()
    }
}

/// Makes a stream from what Redis saves: node by node, then what is known besides; groups are made
/// in the finished stream.
#[derive(Debug, Default)]
pub struct StreamBuilder {
    entries: Entries,
}

/// The saved data of a stream besides its nodes and groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Number of entries.
    pub len: u64,
    /// The greatest id there has ever been.
    pub last_id: StreamId,
    /// The greatest deleted id; [`StreamId::MIN`] where the file is too old to have it.
    pub max_deleted_id: StreamId,
    /// How many entries there have ever been; `None` where the file is too old to have it.
    pub added: Option<u64>,
}

impl StreamBuilder {
    /// A stream without nodes.
    pub fn new() -> StreamBuilder {
        StreamBuilder::default()
    }

    /// Appends a node.
    ///
    /// # Errors
    /// When the bytes are not a node, or not one that can follow those before.
    pub fn push_node(&mut self, id: StreamId, bytes: &[u8]) -> Result<(), Malformed> {
        self.entries.push_node(id, bytes)
    }

    /// Number of entries in the nodes so far.
    pub fn len(&self) -> u64 {
        self.entries.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The stream.
    ///
    /// # Errors
    /// When the entries of the nodes disagree with `saved`.
    pub fn finish(self, saved: &Saved) -> Result<Stream, Malformed> {
        let mut entries = self.entries;
        if entries.len() != saved.len {
            return Err(Malformed("the stream has another length than it says"));
        }
        if entries.last_id() > saved.last_id {
            return Err(Malformed("the stream has an id beyond its last"));
        }
        entries.loaded();
        entries.set_last_id(saved.last_id);
        entries.set_max_deleted_id(saved.max_deleted_id);
        entries.set_added(saved.added.unwrap_or(saved.len));
        let groups = Groups::default();
        Ok(Stream {
            body: Box::new(Body {
                entries,
                groups,
                idempotence: None,
                journal: Journal::default(),
            }),
        })
    }
}
