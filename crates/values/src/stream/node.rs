//! A node: entries of neighbouring ids in one listpack.
//!
//! ```text
//! live, deleted, number of names, name ..., 0                         the head
//! flags, ms, seq, value ..., size                                     an entry with the names of the head
//! flags, ms, seq, number of fields, (name, value) ..., size           an entry with names of its own
//! ```
//!
//! Numbers are listpack integers. `ms` and `seq` are differences to the id of the node. `size` counts the
//! elements of the entry in front of it, so that a node can be read backwards; the 0 of the head ends that.
//! Deleted entries stay with a flag until the last live one of the node goes.
//!
//! The format is Redis's, byte for byte, as it stands in DUMP payloads and in RDB files.

use super::StreamId;
use crate::element::Element;
use crate::listpack::{BYTES_MAX, Iter, Listpack, Position, View};
use crate::malformed::Malformed;

/// The entry is deleted.
const DELETED: i64 = 1;
/// The entry has the names of the head.
const SAME_NAMES: i64 = 2;
/// Elements of an entry in front of its fields: flags and id.
const PREFIX: usize = 3;

/// No node has more bytes: the counters of the head must be able to grow.
pub(super) const NODE_BYTES_MAX: usize = BYTES_MAX - 64;

/// A node with its id, which is that of its first entry ever.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) id: StreamId,
    pub(super) pack: Listpack,
}

/// The head of a node, read.
#[derive(Clone)]
pub(super) struct Head<'a> {
    id: StreamId,
    pub(super) live: u64,
    pub(super) deleted: u64,
    names_len: usize,
    names: Iter<'a>,
    /// All entries.
    pub(super) entries: Iter<'a>,
}

/// An entry of a stream, borrowed.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Its id.
    pub id: StreamId,
    /// Its fields with their values.
    pub fields: Fields<'a>,
}

/// An entry of a node, deleted or not.
pub(super) struct Found<'a> {
    pub(super) entry: Entry<'a>,
    pub(super) is_deleted: bool,
}

/// The fields of an entry with their values.
#[derive(Clone)]
pub struct Fields<'a> {
    /// The names of the head, when the entry has those.
    names: Option<Iter<'a>>,
    rest: Iter<'a>,
    left: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (Element<'a>, Element<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = match &mut self.names {
            Some(names) => names.next()?,
            None => self.rest.next()?,
        };
        Some((name, self.rest.next()?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Fields<'_> {}

impl std::fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.clone()).finish()
    }
}

#[inline]
fn number(element: Element<'_>) -> i64 {
    match element {
        Element::Int(value) => value,
        Element::Bytes(_) => 0,
    }
}

/// A number that counts something; 0 for what is none.
#[inline]
fn count(element: Element<'_>) -> u64 {
    u64::try_from(number(element)).unwrap_or(0)
}

#[inline]
fn length(element: Element<'_>) -> usize {
    usize::try_from(number(element)).unwrap_or(0)
}

/// Counts fit a listpack integer: a node has fewer than 2^30 entries.
fn integer(count: u64) -> Element<'static> {
    Element::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

impl<'a> Head<'a> {
    #[inline]
    pub(super) fn read(id: StreamId, pack: View<'a>) -> Head<'a> {
        let mut rest = pack.iter();
        let live = rest.next().map_or(0, count);
        let deleted = rest.next().map_or(0, count);
        let names_len = rest.next().map_or(0, length);
        let names = rest.clone();
        rest.leave_out(names_len.saturating_add(1));
        Head {
            id,
            live,
            deleted,
            names_len,
            names,
            entries: rest,
        }
    }

    /// Takes the entry at the front of `rest`.
    #[inline]
    pub(super) fn next(&self, rest: &mut Iter<'a>) -> Option<Found<'a>> {
        let flags = number(rest.next()?);
        let (ms, seq) = (number(rest.next()?), number(rest.next()?));
        let id = StreamId {
            ms: self.id.ms.wrapping_add(ms as u64),
            seq: self.id.seq.wrapping_add(seq as u64),
        };
        let (names, left, elements) = if flags & SAME_NAMES != 0 {
            (Some(self.names.clone()), self.names_len, self.names_len)
        } else {
            let left = length(rest.next()?);
            (None, left, left.saturating_mul(2))
        };
        let fields = Fields {
            names,
            rest: rest.clone(),
            left,
        };
        rest.leave_out(elements.saturating_add(1));
        Some(Found {
            entry: Entry { id, fields },
            is_deleted: flags & DELETED != 0,
        })
    }

    /// Takes the entry at the back of `rest`.
    #[inline]
    pub(super) fn next_back(&self, rest: &mut Iter<'a>) -> Option<Found<'a>> {
        let size = length(rest.next_back()?);
        rest.leave_out_back(size);
        self.next(&mut rest.behind())
    }
}

impl Node {
    /// A node whose first entry this is. `None` when it would be too large.
    pub(super) fn new<'e>(
        id: StreamId,
        pairs: impl Iterator<Item = &'e [u8]> + Clone,
        len: usize,
    ) -> Option<Node> {
        let mut node = Node {
            id,
            pack: Listpack::new(),
        };
        let head = [Element::Int(0), Element::Int(0), integer(len as u64)];
        let names = pairs.clone().step_by(2).map(Element::Bytes);
        let end = std::iter::once(Element::Int(0));
        let done = node
            .pack
            .push_back_elements(head.into_iter().chain(names).chain(end))
            && node.push(id, pairs, len);
        done.then_some(node)
    }

    pub(super) fn head(&self) -> Head<'_> {
        Head::read(self.id, self.pack.view())
    }

    /// Appends an entry. False, and nothing changes, when the listpack would become too large; who calls
    /// this keeps below [`NODE_BYTES_MAX`].
    pub(super) fn push<'e>(
        &mut self,
        id: StreamId,
        pairs: impl Iterator<Item = &'e [u8]> + Clone,
        len: usize,
    ) -> bool {
        let head = self.head();
        let live = head.live;
        let same = head.names_len == len
            && head
                .names
                .clone()
                .zip(pairs.clone().step_by(2))
                .all(|(name, other)| name.is(other));
        let (ms, seq) = (
            id.ms.wrapping_sub(self.id.ms) as i64,
            id.seq.wrapping_sub(self.id.seq) as i64,
        );
        let prefix = [if same { SAME_NAMES } else { 0 }, ms, seq];
        let prefix = prefix.map(Element::Int).into_iter();
        let done = if same {
            let size = integer((PREFIX + len) as u64);
            let values = pairs.skip(1).step_by(2).map(Element::Bytes);
            let all = prefix.chain(values).chain(std::iter::once(size));
            self.pack.push_back_elements(all)
        } else {
            let size = integer((PREFIX + 1 + 2 * len) as u64);
            let prefix = prefix.chain(std::iter::once(integer(len as u64)));
            let all = prefix
                .chain(pairs.map(Element::Bytes))
                .chain(std::iter::once(size));
            self.pack.push_back_elements(all)
        };
        if done {
            self.set_counter(0, live.saturating_add(1));
        }
        done
    }

    /// The live (0) or the deleted (1) entries.
    fn set_counter(&mut self, which: usize, count: u64) {
        let Some(mut at) = self.pack.view().first() else {
            return;
        };
        if which == 1 {
            at = self.pack.view().next(at).unwrap_or(at);
        }
        self.pack.replace_element(at, integer(count));
    }

    /// Marks the entry at a position as deleted, without counting. Sizes do not change.
    pub(super) fn mark(&mut self, at: Position) {
        let flags = number(self.pack.view().get(at));
        self.pack.replace_element(at, Element::Int(flags | DELETED));
    }

    /// Counts entries that have been marked.
    pub(super) fn count_marked(&mut self, marked: u64) {
        let head = self.head();
        let (live, deleted) = (head.live, head.deleted);
        self.set_counter(0, live.saturating_sub(marked));
        self.set_counter(1, deleted.saturating_add(marked));
    }

    /// Where the live entry with an id begins.
    pub(super) fn find(&self, id: StreamId) -> Option<Position> {
        let head = self.head();
        let mut rest = head.entries.clone();
        while let Some(at) = rest.front() {
            let found = head.next(&mut rest)?;
            if found.entry.id >= id {
                let is_it = found.entry.id == id && !found.is_deleted;
                return is_it.then_some(at);
            }
        }
        None
    }

    /// The id of the last entry, deleted or not.
    pub(super) fn last_id(&self) -> Option<StreamId> {
        let head = self.head();
        let found = head.next_back(&mut head.entries.clone())?;
        Some(found.entry.id)
    }

    /// The first live entry.
    pub(super) fn first_live(&self) -> Option<Entry<'_>> {
        let head = self.head();
        let mut rest = head.entries.clone();
        loop {
            let found = head.next(&mut rest)?;
            if !found.is_deleted {
                return Some(found.entry);
            }
        }
    }

    /// Takes a node from outside, after checking all of it.
    pub(super) fn from_bytes(id: StreamId, bytes: &[u8]) -> Result<Node, Malformed> {
        let pack = Listpack::from_bytes(bytes)?;
        if pack.byte_len() > NODE_BYTES_MAX {
            return Err(Malformed("a node of the stream is too large"));
        }
        let node = Node { id, pack };
        node.validate()?;
        Ok(node)
    }

    /// Checks all that reading relies on, and that ids ascend.
    fn validate(&self) -> Result<(), Malformed> {
        const HEAD: Malformed = Malformed("the head of a node of the stream is not one");
        const COUNTS: Malformed = Malformed("a node of the stream has other entries than it says");
        let mut rest = self.pack.view().iter();
        let live = counter(rest.next()).ok_or(HEAD)?;
        let deleted = counter(rest.next()).ok_or(HEAD)?;
        let names = counter(rest.next()).ok_or(HEAD)?;
        skip_checked(&mut rest, names).ok_or(HEAD)?;
        if counter(rest.next()) != Some(0) {
            return Err(HEAD);
        }
        let (mut seen_live, mut seen_deleted, mut last) = (0u64, 0u64, None);
        while rest.front().is_some() {
            let (id, is_deleted) = self.validate_entry(&mut rest, names)?;
            if last.is_some_and(|last| last >= id) || id < self.id {
                return Err(Malformed("ids of the stream do not ascend"));
            }
            last = Some(id);
            *(if is_deleted {
                &mut seen_deleted
            } else {
                &mut seen_live
            }) += 1;
        }
        if (seen_live, seen_deleted) != (live, deleted) {
            return Err(COUNTS);
        }
        Ok(())
    }

    fn validate_entry(
        &self,
        rest: &mut Iter<'_>,
        names: u64,
    ) -> Result<(StreamId, bool), Malformed> {
        const ENTRY: Malformed = Malformed("an entry of the stream is not one");
        let flags = counter(rest.next()).ok_or(ENTRY)?;
        if flags > (SAME_NAMES | DELETED) as u64 {
            return Err(ENTRY);
        }
        let (Some(Element::Int(ms)), Some(Element::Int(seq))) = (rest.next(), rest.next()) else {
            return Err(ENTRY);
        };
        let id = StreamId {
            ms: self.id.ms.wrapping_add(ms as u64),
            seq: self.id.seq.wrapping_add(seq as u64),
        };
        let (elements, size) = if flags & SAME_NAMES as u64 != 0 {
            (names, names.checked_add(PREFIX as u64))
        } else {
            let fields = counter(rest.next()).ok_or(ENTRY)?;
            let elements = fields.checked_mul(2).ok_or(ENTRY)?;
            (elements, elements.checked_add(PREFIX as u64 + 1))
        };
        skip_checked(rest, elements).ok_or(ENTRY)?;
        if counter(rest.next()) != size {
            return Err(ENTRY);
        }
        Ok((id, flags & DELETED as u64 != 0))
    }
}

/// A number that is not negative.
fn counter(element: Option<Element<'_>>) -> Option<u64> {
    match element? {
        Element::Int(value) => u64::try_from(value).ok(),
        Element::Bytes(_) => None,
    }
}

/// Leaves out elements that must be there.
fn skip_checked(rest: &mut Iter<'_>, elements: u64) -> Option<()> {
    (0..elements).try_for_each(|_| rest.next().map(drop))
}
