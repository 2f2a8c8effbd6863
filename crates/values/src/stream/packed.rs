//! A node as a listpack: the form in which it grows.
//!
//! ```text
//! live, deleted, number of names, name ..., 0                 the head
//! flags, ms, seq, value ..., size                             an entry with the names of the head
//! flags, ms, seq, number of fields, (name, value) ..., size   an entry with names of its own
//! ```
//!
//! Numbers are listpack integers. `ms` and `seq` are differences to the id of the node. `size`
//! counts the elements of the entry in front of it, so that a node can be read backwards; the 0 of
//! the head ends that. Deleted entries stay, with a flag, until the last live one of the node is
//! deleted.
//!
//! The format is Redis's, byte for byte, as it stands in DUMP payloads and in RDB files.

use super::StreamId;
use super::entries::AheadOfAppend;
use super::node::{Entry, Fields, Found};
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

/// The head of a node, read.
#[derive(Clone)]
pub(super) struct Head<'a> {
    id: StreamId,
    pub(super) live: u64,
    pub(super) deleted: u64,
    pub(super) names_len: usize,
    pub(super) names: Iter<'a>,
    /// All entries.
    pub(super) entries: Iter<'a>,
}

#[inline]
fn number(element: Element<'_>) -> i64 {
    match element {
        Element::Int(value) => value,
        Element::Bytes(_) => 0,
    }
}

/// A number that is not negative; 0 for anything else.
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
        let fields = Fields::packed(names, rest.clone(), left);
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

/// The entries of a node in a listpack. The id of the node is not in it: the caller passes it.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    pack: Listpack,
}

impl Packed {
    /// See [`super::Stream::look_ahead`].
    #[inline]
    pub(super) fn look_ahead(&self, step: AheadOfAppend) {
        match step {
            AheadOfAppend::Node => {}
            AheadOfAppend::Head => self.pack.prefetch_head(),
            AheadOfAppend::End => self.pack.prefetch_end(),
        }
    }

    /// A node with this first entry. `None` when it would be too large.
    pub(super) fn new<'e>(
        id: StreamId,
        pairs: impl Iterator<Item = &'e [u8]> + Clone,
        len: usize,
    ) -> Option<Packed> {
        let mut node = Packed {
            pack: Listpack::new(),
        };
        let head = [Element::Int(0), Element::Int(0), integer(len as u64)];
        let names = pairs.clone().step_by(2).map(Element::Bytes);
        let end = std::iter::once(Element::Int(0));
        let done = node
            .pack
            .push_back_elements(head.into_iter().chain(names).chain(end))
            && node.push(id, id, pairs, len);
        done.then_some(node)
    }

    /// A node with these entries, equal to one that got them one by one.
    pub(super) fn collect<'e>(
        id: StreamId,
        names: impl ExactSizeIterator<Item = Element<'e>> + Clone,
        entries: impl Iterator<Item = Found<'e>>,
    ) -> Option<Packed> {
        let (mut live, mut deleted) = (0, 0);
        let mut node = Packed {
            pack: Listpack::new(),
        };
        let head = [0, 0, names.len() as i64].map(Element::Int).into_iter();
        let end = std::iter::once(Element::Int(0));
        let mut done = node.pack.push_back_elements(head.chain(names).chain(end));
        for found in entries {
            let fields = found.entry.fields;
            let (len, same) = (fields.len(), fields.has_names_of_head());
            let flags = match found.is_deleted {
                true => DELETED,
                false => 0,
            };
            *(if found.is_deleted {
                &mut deleted
            } else {
                &mut live
            }) += 1;
            let names = (!same).then(|| fields.clone().flat_map(|(name, value)| [name, value]));
            let values = same.then(|| fields.map(|(_, value)| value));
            let elements = names
                .into_iter()
                .flatten()
                .chain(values.into_iter().flatten());
            done = done && node.push_elements(id, found.entry.id, (flags, same, len), elements);
        }
        node.set_counter(0, live);
        node.set_counter(1, deleted);
        done.then_some(node)
    }

    #[inline]
    pub(super) fn head(&self, id: StreamId) -> Head<'_> {
        Head::read(id, self.pack.view())
    }

    pub(super) fn pack(&self) -> &Listpack {
        &self.pack
    }

    /// Appends an entry to the node with `first` as its id. False, and nothing changes, when the
    /// listpack would become too large; callers keep it below [`NODE_BYTES_MAX`].
    pub(super) fn push<'e>(
        &mut self,
        first: StreamId,
        id: StreamId,
        pairs: impl Iterator<Item = &'e [u8]> + Clone,
        len: usize,
    ) -> bool {
        let head = self.head(first);
        let live = head.live;
        let same = head.names_len == len
            && head
                .names
                .clone()
                .zip(pairs.clone().step_by(2))
                .all(|(name, other)| name.is(other));
        let done = if same {
            let values = pairs.skip(1).step_by(2).map(Element::Bytes);
            self.push_elements(first, id, (0, true, len), values)
        } else {
            let pairs = pairs.map(Element::Bytes);
            self.push_elements(first, id, (0, false, len), pairs)
        };
        if done {
            self.set_counter(0, live.saturating_add(1));
        }
        done
    }

    /// Appends the elements of an entry without counting it: all, or only values when the names are
    /// the `same` as in the head.
    #[inline]
    fn push_elements<'e>(
        &mut self,
        first: StreamId,
        id: StreamId,
        (flags, same, len): (i64, bool, usize),
        elements: impl Iterator<Item = Element<'e>> + Clone,
    ) -> bool {
        let (ms, seq) = (
            id.ms.wrapping_sub(first.ms) as i64,
            id.seq.wrapping_sub(first.seq) as i64,
        );
        let flags = flags | if same { SAME_NAMES } else { 0 };
        let prefix = [flags, ms, seq].map(Element::Int).into_iter();
        let own_len = (!same).then(|| integer(len as u64));
        let size = match same {
            true => PREFIX + len,
            false => PREFIX + 1 + 2 * len,
        };
        let prefix = prefix.chain(own_len);
        let end = std::iter::once(integer(size as u64));
        self.pack
            .push_back_elements(prefix.chain(elements).chain(end))
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
        let head = self.head(StreamId::MIN);
        let (live, deleted) = (head.live, head.deleted);
        self.set_counter(0, live.saturating_sub(marked));
        self.set_counter(1, deleted.saturating_add(marked));
    }

    /// Takes a node from outside, after checking all of it.
    pub(super) fn from_bytes(id: StreamId, bytes: &[u8]) -> Result<Packed, Malformed> {
        let pack = Listpack::from_bytes(bytes)?;
        if pack.byte_len() > NODE_BYTES_MAX {
            return Err(Malformed("a node of the stream is too large"));
        }
        let node = Packed { pack };
        node.validate(id)?;
        Ok(node)
    }

    /// Checks the structure that readers rely on, and that ids ascend.
    fn validate(&self, first: StreamId) -> Result<(), Malformed> {
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
            let (id, is_deleted) = self.validate_entry(first, &mut rest, names)?;
            if last.is_some_and(|last| last >= id) || id < first {
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
        first: StreamId,
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
            ms: first.ms.wrapping_add(ms as u64),
            seq: first.seq.wrapping_add(seq as u64),
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
