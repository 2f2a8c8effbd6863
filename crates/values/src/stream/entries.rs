//! The entries of a stream: nodes in the order of their ids.

use super::StreamId;
use super::node::{Backward, Entry, Forward, Found, NODE_BYTES_MAX, Node, Place};
use crate::journal;
use crate::malformed::Malformed;
use crate::table::prefetch;
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

/// Up to which size a node takes entries; 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLimits {
    /// `stream-node-max-bytes`.
    pub bytes: usize,
    /// `stream-node-max-entries`.
    pub entries: u64,
}

impl Default for NodeLimits {
    fn default() -> Self {
        NodeLimits {
            bytes: 4096,
            entries: 100,
        }
    }
}

/// Why an entry cannot be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// Its id is not greater than all before.
    NotAfterLast,
    /// It has more bytes than a node can have.
    TooLarge,
}

/// The next prefetch for an entry that is to be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AheadOfAppend {
    /// The header of the last node.
    Node,
    /// The beginning of its listpack.
    Head,
    /// The end of its listpack, whose place is known from its beginning.
    End,
}

impl AheadOfAppend {
    /// All steps in order.
    pub const ALL: [AheadOfAppend; 3] =
        [AheadOfAppend::Node, AheadOfAppend::Head, AheadOfAppend::End];
}

/// The entries that a trim keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// At most this many entries, the newest ones.
    Newest(u64),
    /// Entries with this id and greater ones.
    From(StreamId),
}

/// Returns whether an entry that trimming would delete stays.
pub(super) type Spare<'a> = dyn FnMut(StreamId) -> bool + 'a;

/// The entries of a stream with its counters and ids, which also cover deleted entries.
// Invariants: ids of nodes ascend, and so do those of entries; all entries of a node are below the
// id of the next. `length` is the sum of the live entries of the nodes, each of which has at least
// one.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    nodes: VecDeque<Node>,
    length: u64,
    first_id: StreamId,
    last_id: StreamId,
    max_deleted_id: StreamId,
    added: u64,
    /// Bytes of the listpacks.
    node_bytes: usize,
    before: Before,
}

/// What the entries were when a journal began; a copy of the entries has none.
#[derive(Default)]
struct Before(Option<Box<Was>>);

struct Was {
    length: u64,
    first_id: StreamId,
    last_id: StreamId,
    max_deleted_id: StreamId,
    added: u64,
    /// The id of the last node.
    last_node: Option<StreamId>,
    /// The nodes of then that were changed or removed since.
    nodes: BTreeMap<StreamId, Node>,
}

impl Clone for Before {
    fn clone(&self) -> Self {
        Before(None)
    }
}

impl fmt::Debug for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.0.as_ref().map(|was| was.nodes.len());
        f.debug_tuple("Before").field(&nodes).finish()
    }
}

/// Taking back.
impl Entries {
    pub(super) fn begin_journal(&mut self) {
        self.before.0 = Some(Box::new(Was {
            length: self.length,
            first_id: self.first_id,
            last_id: self.last_id,
            max_deleted_id: self.max_deleted_id,
            added: self.added,
            last_node: self.nodes.back().map(|node| node.id),
            nodes: BTreeMap::new(),
        }));
    }

    pub(super) fn end_journal(&mut self) {
        self.before.0 = None;
    }

    pub(super) fn roll_back(&mut self) {
        let Some(was) = self.before.0.take() else {
            return;
        };
        let noted = was.nodes;
        let stays = |node: &Node| Some(node.id) <= was.last_node && !noted.contains_key(&node.id);
        self.nodes.retain(stays);
        self.nodes.extend(noted.into_values());
        self.nodes
            .make_contiguous()
            .sort_unstable_by_key(|node| node.id);
        self.node_bytes = self.nodes.iter().map(Node::heap_bytes).sum();
        self.length = was.length;
        self.first_id = was.first_id;
        self.last_id = was.last_id;
        self.max_deleted_id = was.max_deleted_id;
        self.added = was.added;
    }

    /// Notes a node that is about to be changed or removed, while there is a journal.
    #[inline]
    fn note(&mut self, index: usize) {
        let Some(was) = &mut self.before.0 else {
            return;
        };
        if let Some(node) = self.nodes.get(index)
            && Some(node.id) <= was.last_node
            && !was.nodes.contains_key(&node.id)
        {
            if journal::charge(node.heap_bytes()) {
                was.nodes.insert(node.id, node.clone());
            } else {
                was.nodes.clear();
            }
        }
    }
}

impl Entries {
    /// See [`super::Stream::look_ahead`].
    #[inline]
    pub(super) fn look_ahead(&self, step: AheadOfAppend) {
        match (self.nodes.back(), step) {
            (Some(node), AheadOfAppend::Node) => prefetch(std::ptr::from_ref(node)),
            (Some(node), AheadOfAppend::Head | AheadOfAppend::End) => node.look_ahead(step),
            (None, _) => {}
        }
    }

    /// Number of entries.
    #[inline]
    pub fn len(&self) -> u64 {
        self.length
    }

    /// True without entries.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The id of the first entry; 0-0 without entries.
    #[inline]
    pub fn first_id(&self) -> StreamId {
        self.first_id
    }

    /// The greatest id so far, or the one that XSETID set.
    #[inline]
    pub fn last_id(&self) -> StreamId {
        self.last_id
    }

    /// The greatest id that XDEL has deleted; trimming does not count.
    #[inline]
    pub fn max_deleted_id(&self) -> StreamId {
        self.max_deleted_id
    }

    /// How many entries there have ever been.
    #[inline]
    pub fn added(&self) -> u64 {
        self.added
    }

    /// Number of nodes.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The nodes with their ids and their bytes, as Redis saves them.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = (StreamId, Cow<'_, [u8]>)> {
        self.nodes.iter().map(|node| (node.id, node.bytes()))
    }

    /// Sets the last id. Callers make sure that it is not below that of an entry.
    pub fn set_last_id(&mut self, id: StreamId) {
        self.last_id = id;
    }

    /// Sets the greatest deleted id.
    pub fn set_max_deleted_id(&mut self, id: StreamId) {
        self.max_deleted_id = id;
    }

    /// Sets how many entries there have ever been.
    pub fn set_added(&mut self, added: u64) {
        self.added = added;
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let index = self.nodes.capacity() * size_of::<Node>();
        self.node_bytes + crate::alloc::size_class(index)
    }

    /// The id that an entry gets at a time; `None` when there is none left.
    pub fn next_id(&self, now_ms: u64) -> Option<StreamId> {
        match now_ms > self.last_id.ms {
            true => Some(StreamId::new(now_ms, 0)),
            false => self.last_id.next(),
        }
    }

    /// Appends an entry. `pairs` are names and values in turn.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing is changed then.
    pub fn append<'e>(
        &mut self,
        id: StreamId,
        pairs: impl Iterator<Item = &'e [u8]> + Clone,
        limits: &NodeLimits,
    ) -> Result<(), AppendError> {
        if id <= self.last_id {
            return Err(AppendError::NotAfterLast);
        }
        let (mut elements, mut names, mut values) = (0usize, 0usize, 0usize);
        for element in pairs.clone() {
            let sum = if elements.is_multiple_of(2) {
                &mut names
            } else {
                &mut values
            };
            *sum = sum.saturating_add(element.len());
            elements += 1;
        }
        let bytes = names.saturating_add(values);
        // No element has more than 16 bytes around it, and a head and an entry have 9 numbers
        // together.
        let around = elements.saturating_add(9).saturating_mul(16);
        let entry_max = bytes.saturating_add(around);
        let len = elements / 2;
        self.note(self.nodes.len().wrapping_sub(1));
        if let Some(last) = self.nodes.back_mut()
            && has_room(last, bytes, entry_max, limits)
        {
            let before = last.heap_bytes();
            let is_done = last.push(id, pairs.clone(), len);
            self.node_bytes = self.node_bytes - before + last.heap_bytes();
            if is_done {
                self.appended(id);
                return Ok(());
            }
        }
        if entry_max.saturating_add(names).saturating_add(around) > NODE_BYTES_MAX {
            return Err(AppendError::TooLarge);
        }
        let node = Node::new(id, pairs, len).ok_or(AppendError::TooLarge)?;
        if let Some(last) = self.nodes.back_mut() {
            self.node_bytes -= last.heap_bytes();
            last.settle();
            self.node_bytes += last.heap_bytes();
        }
        self.node_bytes += node.heap_bytes();
        self.nodes.push_back(node);
        self.appended(id);
        Ok(())
    }

    fn appended(&mut self, id: StreamId) {
        self.length += 1;
        self.added = self.added.saturating_add(1);
        self.last_id = id;
        if self.length == 1 {
            self.first_id = id;
        }
    }

    /// The only node that can have the entry with an id: the last one with a first id up to it.
    fn node_of(&self, id: StreamId) -> Option<usize> {
        self.nodes
            .partition_point(|node| node.id <= id)
            .checked_sub(1)
    }

    /// The entry with an id.
    pub fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        self.range(id, id).next()
    }

    /// True when there is an entry with this id.
    pub fn contains(&self, id: StreamId) -> bool {
        self.get(id).is_some()
    }

    /// The last entry.
    pub fn last(&self) -> Option<Entry<'_>> {
        self.range_back(StreamId::MIN, StreamId::MAX).next()
    }

    /// Entries from `start` to `end`, both included, in ascending order.
    pub fn range(&self, start: StreamId, end: StreamId) -> Range<'_> {
        let is_empty = start > end || start > self.last_id;
        let first = match is_empty {
            true => self.nodes.len(),
            false => self.node_of(start).unwrap_or(0),
        };
        Range {
            nodes: self.nodes.range(first..),
            current: None,
            start,
            end,
        }
    }

    /// Entries from `end` down to `start`, both included.
    pub fn range_back(&self, start: StreamId, end: StreamId) -> RangeBack<'_> {
        let behind = match start > end {
            true => 0,
            false => self.node_of(end).map_or(0, |node| node + 1),
        };
        RangeBack {
            nodes: self.nodes.range(..behind),
            current: None,
            start,
            end,
        }
    }

    /// Deletes an entry. False when there is no such entry.
    pub fn remove(&mut self, id: StreamId) -> bool {
        let Some(index) = self.node_of(id) else {
            return false;
        };
        let Some(at) = self.nodes.get(index).and_then(|node| node.find(id)) else {
            return false;
        };
        self.mark(index, &[at]);
        self.max_deleted_id = self.max_deleted_id.max(id);
        if id == self.first_id || self.length == 0 {
            self.find_first();
        }
        true
    }

    /// Deletes entries of a node, or all of it when they are all that live in it. True when the
    /// node is gone.
    fn mark(&mut self, index: usize, places: &[Place]) -> bool {
        self.note(index);
        let Some(node) = self.nodes.get_mut(index) else {
            return false;
        };
        let marked = places.len() as u64;
        self.length -= marked;
        if node.counts().0 <= marked {
            self.node_bytes -= node.heap_bytes();
            self.nodes.remove(index);
            self.shrink();
            return true;
        }
        let before = node.heap_bytes();
        node.mark(places);
        self.node_bytes = self.node_bytes - before + node.heap_bytes();
        false
    }

    /// Gives back room for nodes that are gone.
    fn shrink(&mut self) {
        if self.nodes.len() < self.nodes.capacity() / 4 {
            self.nodes.shrink_to(self.nodes.len() * 2);
        }
    }

    /// Finds the first entry, at or behind the previous first one.
    fn find_first(&mut self) {
        let before = self.first_id;
        let first = self.nodes.iter().find_map(|node| node.first_live(before));
        self.first_id = first.map_or(StreamId::MIN, |entry| entry.id);
    }

    /// Deletes the oldest entries until those of `keep` are left, except those that `spare`
    /// accepts. Only whole nodes go when `whole_nodes` is set, and not more than `limit` entries
    /// (0: all). Returns how many went.
    pub(super) fn trim(
        &mut self,
        keep: Keep,
        whole_nodes: bool,
        limit: u64,
        mut spare: Option<&mut Spare<'_>>,
    ) -> u64 {
        let (mut index, mut removed) = (0, 0u64);
        while let Some(node) = self.nodes.get(index) {
            let (live, _) = node.counts();
            if limit > 0 && removed.saturating_add(live) > limit {
                break;
            }
            let goes_whole = match keep {
                Keep::Newest(len) if self.length <= len => break,
                Keep::Newest(len) => self.length - live >= len,
                Keep::From(id) => node.last_id().is_some_and(|last| last < id),
            };
            if goes_whole && spare.is_none() {
                self.node_bytes -= node.heap_bytes();
                self.length -= live;
                removed += live;
                self.note(index);
                self.nodes.remove(index);
                continue;
            }
            if whole_nodes && !goes_whole {
                break;
            }
            let (gone, is_last) = self.to_trim(index, keep, spare.as_deref_mut());
            // A node is whole only when nothing in it is spared.
            if whole_nodes && gone.len() as u64 != live {
                break;
            }
            removed += gone.len() as u64;
            if gone.is_empty() || !self.mark(index, &gone) {
                index += 1;
            }
            if is_last {
                break;
            }
        }
        if removed > 0 {
            self.shrink();
            self.find_first();
        }
        removed
    }

    /// Entries of a node that a trim deletes, and whether no other node has any.
    fn to_trim(
        &self,
        index: usize,
        keep: Keep,
        mut spare: Option<&mut Spare<'_>>,
    ) -> (Vec<Place>, bool) {
        let mut gone = Vec::new();
        let Some(node) = self.nodes.get(index) else {
            return (gone, true);
        };
        // Entries in front of the first one are deleted.
        let mut rest = node.forward_from(self.first_id);
        loop {
            if matches!(keep, Keep::Newest(len) if self.length - gone.len() as u64 <= len) {
                return (gone, true);
            }
            let Some((at, found)) = rest.next() else {
                break;
            };
            if matches!(keep, Keep::From(id) if found.entry.id >= id) {
                return (gone, true);
            }
            let is_spared = |spare: &mut &mut Spare<'_>| spare(found.entry.id);
            if !found.is_deleted && !spare.as_mut().is_some_and(is_spared) {
                gone.push(at);
            }
        }
        (gone, false)
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        let bytes: usize = self.nodes.iter().map(Node::heap_bytes).sum();
        assert_eq!(bytes, self.node_bytes);
        assert!(self.nodes.iter().all(|node| node.counts().0 > 0));
        for node in &self.nodes {
            let bytes = node.bytes();
            assert_eq!(bytes.len(), node.bytes_len());
            // Both forms are the same bytes, and nothing is lost between them.
            let mut settled = node.clone();
            settled.settle();
            assert_eq!(settled.bytes(), bytes);
            let packed = Node::from_bytes(node.id, &bytes);
            assert_eq!(
                packed.map(|node| node.bytes().into_owned()),
                Ok(bytes.into_owned())
            );
        }
    }

    /// Appends a node from outside.
    pub(super) fn push_node(&mut self, id: StreamId, bytes: &[u8]) -> Result<(), Malformed> {
        let node = Node::from_bytes(id, bytes)?;
        if self
            .nodes
            .back()
            .is_some_and(|last| last.id >= id || last.last_id().is_some_and(|last| last >= id))
        {
            return Err(Malformed("nodes of the stream do not ascend"));
        }
        let (live, _) = node.counts();
        self.last_id = self.last_id.max(node.last_id().unwrap_or_default());
        // Nodes without live entries can be left by trims of Redis.
        if live > 0 {
            if let Some(last) = self.nodes.back_mut() {
                self.node_bytes -= last.heap_bytes();
                last.settle();
                self.node_bytes += last.heap_bytes();
            }
            self.length += live;
            self.node_bytes += node.heap_bytes();
            self.nodes.push_back(node);
        }
        Ok(())
    }

    /// All nodes are there.
    pub(super) fn loaded(&mut self) {
        self.added = self.length;
        self.nodes.shrink_to_fit();
        self.find_first();
    }
}

/// A node takes an entry of so many bytes.
fn has_room(node: &Node, bytes: usize, entry_max: usize, limits: &NodeLimits) -> bool {
    let used = node.bytes_len();
    let bytes_max = match limits.bytes {
        0 => NODE_BYTES_MAX,
        limit => limit.min(NODE_BYTES_MAX),
    };
    if used.saturating_add(bytes) >= bytes_max || used.saturating_add(entry_max) > NODE_BYTES_MAX {
        return false;
    }
    let (live, deleted) = node.counts();
    limits.entries == 0 || live.saturating_add(deleted) < limits.entries
}

/// Entries in ascending order.
#[derive(Clone)]
pub struct Range<'a> {
    nodes: std::collections::vec_deque::Iter<'a, Node>,
    /// The rest of the node that is read.
    current: Option<Forward<'a>>,
    start: StreamId,
    end: StreamId,
}

impl<'a> Iterator for Range<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let rest = match &mut self.current {
                Some(rest) => rest,
                none => none.insert(self.nodes.next()?.forward_from(self.start)),
            };
            let Some((_, Found { entry, is_deleted })) = rest.next() else {
                self.current = None;
                continue;
            };
            if entry.id > self.end {
                self.nodes = Default::default();
                self.current = None;
                return None;
            }
            if !is_deleted && entry.id >= self.start {
                return Some(entry);
            }
        }
    }
}

/// Entries in descending order.
#[derive(Clone)]
pub struct RangeBack<'a> {
    nodes: std::collections::vec_deque::Iter<'a, Node>,
    current: Option<Backward<'a>>,
    start: StreamId,
    end: StreamId,
}

impl<'a> Iterator for RangeBack<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let rest = match &mut self.current {
                Some(rest) => rest,
                none => none.insert(self.nodes.next_back()?.backward_from(self.end)),
            };
            let Some(Found { entry, is_deleted }) = rest.next() else {
                self.current = None;
                continue;
            };
            if entry.id < self.start {
                self.nodes = Default::default();
                self.current = None;
                return None;
            }
            if !is_deleted && entry.id <= self.end {
                return Some(entry);
            }
        }
    }
}
