//! A node: entries of neighbouring ids. It grows as a listpack; once there is another behind it, it
//! takes a denser form, in which entries can still be marked as deleted.

use super::StreamId;
use super::entries::AheadOfAppend;
use super::packed::{Head, Packed};
use super::rows::{self, Elements, Rows};
use crate::element::Element;
use crate::listpack::{Iter, Position};
use crate::malformed::Malformed;
use std::borrow::Cow;

pub(super) use super::packed::NODE_BYTES_MAX;

/// A node with its id, which is that of its first entry ever.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) id: StreamId,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    Packed(Packed),
    Rows(Rows),
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
    source: Source<'a>,
    left: usize,
}

/// Names, when the entry has those of the head, and the rest.
#[derive(Clone)]
enum Source<'a> {
    Packed(Option<Iter<'a>>, Iter<'a>),
    Rows(Option<Elements<'a>>, Elements<'a>),
}

impl<'a> Fields<'a> {
    #[inline]
    pub(super) fn packed(names: Option<Iter<'a>>, rest: Iter<'a>, left: usize) -> Self {
        let source = Source::Packed(names, rest);
        Fields { source, left }
    }

    #[inline]
    pub(super) fn rows(names: Option<Elements<'a>>, rest: Elements<'a>, left: usize) -> Self {
        let source = Source::Rows(names, rest);
        Fields { source, left }
    }

    /// The entry has the names of its node's head.
    pub(super) fn has_names_of_head(&self) -> bool {
        matches!(
            self.source,
            Source::Packed(Some(_), _) | Source::Rows(Some(_), _)
        )
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (Element<'a>, Element<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        match &mut self.source {
            Source::Packed(Some(names), rest) => Some((names.next()?, rest.next()?)),
            Source::Packed(None, rest) => Some((rest.next()?, rest.next()?)),
            Source::Rows(Some(names), rest) => Some((names.next()?, rest.next()?)),
            Source::Rows(None, rest) => Some((rest.next()?, rest.next()?)),
        }
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

/// Where an entry is in its node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Packed(Position),
    Rows(usize),
}

/// Entries of a node in order, deleted ones included.
#[derive(Clone)]
pub(super) enum Forward<'a> {
    Packed(Head<'a>, Iter<'a>),
    Rows(rows::Forward<'a>),
}

impl<'a> Forward<'a> {
    #[inline]
    pub(super) fn next(&mut self) -> Option<(Place, Found<'a>)> {
        match self {
            Forward::Packed(head, rest) => {
                let at = rest.front()?;
                Some((Place::Packed(at), head.next(rest)?))
            }
            Forward::Rows(rest) => {
                let (at, found) = rest.next()?;
                Some((Place::Rows(at), found))
            }
        }
    }
}

/// Entries of a node in reverse order, deleted ones included.
#[derive(Clone)]
pub(super) enum Backward<'a> {
    Packed(Head<'a>, Iter<'a>),
    Rows(rows::Backward<'a>),
}

impl<'a> Backward<'a> {
    #[inline]
    pub(super) fn next(&mut self) -> Option<Found<'a>> {
        match self {
            Backward::Packed(head, rest) => head.next_back(rest),
            Backward::Rows(rest) => rest.next().map(|(_, found)| found),
        }
    }
}

impl Node {
    /// See [`super::Stream::look_ahead`].
    #[inline]
    pub(super) fn look_ahead(&self, step: AheadOfAppend) {
        if let Form::Packed(packed) = &self.form {
            packed.look_ahead(step);
        }
    }

    /// A node with this first entry. `None` when it would be too large.
    pub(super) fn new<'e>(
        id: StreamId,
        pairs: impl Iterator<Item = &'e [u8]> + Clone,
        len: usize,
    ) -> Option<Node> {
        let form = Form::Packed(Packed::new(id, pairs, len)?);
        Some(Node { id, form })
    }

    /// Takes a node from outside, after checking all of it.
    pub(super) fn from_bytes(id: StreamId, bytes: &[u8]) -> Result<Node, Malformed> {
        let form = Form::Packed(Packed::from_bytes(id, bytes)?);
        Ok(Node { id, form })
    }

    /// The node as Redis saves it.
    pub(super) fn bytes(&self) -> Cow<'_, [u8]> {
        match &self.form {
            Form::Packed(packed) => Cow::Borrowed(packed.pack().as_bytes()),
            Form::Rows(rows) => {
                let packed = rows.unpacked(self.id);
                Cow::Owned(packed.map_or(Vec::new(), |it| it.pack().as_bytes().to_vec()))
            }
        }
    }

    /// The length of the node as Redis saves it.
    pub(super) fn bytes_len(&self) -> usize {
        match &self.form {
            Form::Packed(packed) => packed.pack().byte_len(),
            Form::Rows(rows) => rows.pack_len(),
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match &self.form {
            Form::Packed(packed) => packed.pack().heap_bytes(),
            Form::Rows(rows) => rows.heap_bytes(),
        }
    }

    /// Live and deleted entries.
    #[inline]
    pub(super) fn counts(&self) -> (u64, u64) {
        match &self.form {
            Form::Packed(packed) => {
                let head = packed.head(self.id);
                (head.live, head.deleted)
            }
            Form::Rows(rows) => rows.counts(),
        }
    }

    /// All entries.
    #[inline]
    pub(super) fn forward(&self) -> Forward<'_> {
        match &self.form {
            Form::Packed(packed) => {
                let head = packed.head(self.id);
                let rest = head.entries.clone();
                Forward::Packed(head, rest)
            }
            Form::Rows(rows) => Forward::Rows(rows.forward(self.id)),
        }
    }

    /// Entries from one on that is not behind `from`.
    #[inline]
    pub(super) fn forward_from(&self, from: StreamId) -> Forward<'_> {
        match &self.form {
            Form::Rows(rows) => Forward::Rows(rows.forward_from(self.id, from)),
            Form::Packed(_) => self.forward(),
        }
    }

    /// Entries backwards from one on that is not in front of `from`.
    #[inline]
    pub(super) fn backward_from(&self, from: StreamId) -> Backward<'_> {
        match &self.form {
            Form::Packed(packed) => {
                let head = packed.head(self.id);
                let rest = head.entries.clone();
                Backward::Packed(head, rest)
            }
            Form::Rows(rows) => Backward::Rows(rows.backward_from(self.id, from)),
        }
    }

    /// Appends an entry. False, and nothing changes, when the node would become too large; a caller
    /// that calls this keeps below [`NODE_BYTES_MAX`].
    pub(super) fn push<'e>(
        &mut self,
        id: StreamId,
        pairs: impl Iterator<Item = &'e [u8]> + Clone,
        len: usize,
    ) -> bool {
        if let Form::Rows(rows) = &self.form {
            let Some(packed) = rows.unpacked(self.id) else {
                return false;
            };
            self.form = Form::Packed(packed);
        }
        match &mut self.form {
            Form::Packed(packed) => packed.push(self.id, id, pairs, len),
            Form::Rows(_) => false,
        }
    }

    /// Converts the node to its denser form, because it will hardly get another entry.
    pub(super) fn settle(&mut self) {
        if let Form::Packed(packed) = &self.form
            && let Some(rows) = Rows::new(self.id, packed)
        {
            self.form = Form::Rows(rows);
        }
    }

    /// Marks entries as deleted.
    pub(super) fn mark(&mut self, places: &[Place]) {
        for place in places {
            match (&mut self.form, place) {
                (Form::Packed(packed), Place::Packed(at)) => packed.mark(*at),
                (Form::Rows(rows), Place::Rows(at)) => rows.mark(*at),
                _ => {}
            }
        }
        let marked = places.len() as u64;
        match &mut self.form {
            Form::Packed(packed) => packed.count_marked(marked),
            Form::Rows(rows) => rows.count_marked(marked),
        }
    }

    /// Where the live entry with an id is.
    pub(super) fn find(&self, id: StreamId) -> Option<Place> {
        let mut rest = self.forward_from(id);
        loop {
            let (at, found) = rest.next()?;
            if found.entry.id >= id {
                let is_it = found.entry.id == id && !found.is_deleted;
                return is_it.then_some(at);
            }
        }
    }

    /// The id of the last entry, deleted or not.
    pub(super) fn last_id(&self) -> Option<StreamId> {
        let mut rest = self.backward_from(StreamId::MAX);
        rest.next().map(|found| found.entry.id)
    }

    /// The first live entry, which is not in front of `from`.
    pub(super) fn first_live(&self, from: StreamId) -> Option<Entry<'_>> {
        let mut rest = self.forward_from(from);
        loop {
            let (_, found) = rest.next()?;
            if !found.is_deleted {
                return Some(found.entry);
            }
        }
    }
}
