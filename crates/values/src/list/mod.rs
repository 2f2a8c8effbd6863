//! Lists.
//!
//! Two forms, as in Redis: a short list is one listpack, which the key's entry leads to directly; a
//! long one is a quicklist, a sequence of listpacks ("nodes") of limited size. Long elements are
//! nodes of their own. Nodes far from both ends can be kept compressed (`list-compress-depth`).
//!
//! * `quicklist`: operations on elements;
//! * `nodes`: the sequence of nodes, and how an index is found in it;
//! * `node`, `pack`: one node, and the listpack with room at both ends that it usually is;
//! * `limits`: when a node is full, and when a list changes its form.

mod limits;
mod node;
mod nodes;
mod pack;
mod quicklist;
#[cfg(test)]
mod tests;
mod undo;

pub use limits::set_packed_threshold;
pub use node::NodeRef;

use crate::listpack::{Listpack, View};
use crate::owner::{Editing, Owner, forms};
use crate::{Element, Malformed, Thresholds};
use limits::Limits;
use node::{Contents, Node};
use pack::Pack;
use quicklist::{Needle, Quicklist};
use std::fmt;
use std::ops::{ControlFlow, Range};
use undo::Step;

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The first element's side, left.
    Front,
    /// The last element's side, right.
    Back,
}

/// A list: a sequence of elements, quick at both ends.
#[repr(transparent)]
pub struct List {
    owner: Owner,
}

forms! {
    /// A list, borrowed for reading.
    List, ListView {
        0 => Packed(Listpack) as View<'a>, packed;
        1 => Quick(Box<Quicklist>) as &'a Quicklist, quick;
    }
}

/// The form, for change.
enum FormMut<'a> {
    Packed(Editing<'a, Listpack>),
    Quick(Editing<'a, Box<Quicklist>>),
}

impl List {
    /// An empty list.
    pub fn new() -> List {
        List::packed(Listpack::new())
    }

    #[inline]
    fn form_mut(&mut self) -> FormMut<'_> {
        // SAFETY: the owner was made from the form that `form` has just returned.
        unsafe {
            if self.is_packed() {
                FormMut::Packed(self.owner.edit())
            } else {
                FormMut::Quick(self.owner.edit())
            }
        }
    }

    /// Adds an element at an end.
    #[inline]
    pub fn push(&mut self, end: End, element: &[u8], thresholds: &Thresholds) {
        let limits = Limits::new(thresholds);
        self.grow(1, element.len(), &limits);
        match (self.form_mut(), end) {
            (FormMut::Packed(mut pack), End::Front) => drop(pack.push_front(element)),
            (FormMut::Packed(mut pack), End::Back) => drop(pack.push_back(element)),
            (FormMut::Quick(mut quick), _) => {
                quick.push(end, element, &limits);
                if quick.journal.is_open() {
                    quick.journal.push(Step::Pushed(end), 0);
                }
            }
        }
    }

    /// Replaces the element at an index. False when there is none.
    pub fn set(&mut self, index: usize, element: &[u8], thresholds: &Thresholds) -> bool {
        if index >= self.len() {
            return false;
        }
        let limits = Limits::new(thresholds);
        self.note_replaced(index);
        self.grow(1, element.len(), &limits);
        match self.form_mut() {
            FormMut::Packed(mut pack) => {
                if let Some(position) = pack.view().nth(index) {
                    pack.replace(position, element);
                }
            }
            FormMut::Quick(mut quick) => quick.set(index, element, &limits),
        }
        self.shrink(&limits);
        true
    }

    /// Inserts an element before the one at an index; at the end when there is none.
    pub fn insert(&mut self, index: usize, element: &[u8], thresholds: &Thresholds) {
        let limits = Limits::new(thresholds);
        self.grow(1, element.len(), &limits);
        match self.form_mut() {
            FormMut::Packed(mut pack) => match pack.view().nth(index) {
                Some(position) => drop(pack.insert_before(position, element)),
                None => drop(pack.push_back(element)),
            },
            FormMut::Quick(mut quick) => {
                let at = index.min(quick.len());
                quick.insert(index, element, &limits);
                if quick.journal.is_open() {
                    quick.journal.push(Step::Inserted(at), 0);
                }
            }
        }
    }

    /// Removes the elements of a range. Returns how many.
    pub fn remove_range(&mut self, range: Range<usize>, thresholds: &Thresholds) -> usize {
        let range = self.clamp(range);
        if range.is_empty() {
            return 0;
        }
        let count = range.len();
        self.note_removed(range.clone());
        match self.form_mut() {
            FormMut::Packed(mut pack) => {
                if let Some(position) = pack.view().nth(range.start) {
                    pack.remove_n(position, count);
                }
                return count;
            }
            FormMut::Quick(mut quick) => quick.remove_range(range, &Limits::new(thresholds)),
        }
        self.shrink(&Limits::new(thresholds));
        count
    }

    /// Removes the elements equal to `value`, at most `limit` (0: all), from the back when asked
    /// to. Returns how many.
    pub fn remove_equal(
        &mut self,
        value: &[u8],
        limit: usize,
        from_back: bool,
        thresholds: &Thresholds,
    ) -> usize {
        let limit = if limit == 0 { usize::MAX } else { limit };
        self.note_equal(value, limit, from_back);
        let needle = Needle::new(value);
        let removed = match self.form_mut() {
            FormMut::Packed(mut pack) => {
                return remove_from_pack(&mut pack, &needle, limit, from_back);
            }
            FormMut::Quick(mut quick) => {
                quick.remove_equal(&needle, limit, from_back, &Limits::new(thresholds))
            }
        };
        if removed > 0 {
            self.shrink(&Limits::new(thresholds));
        }
        removed
    }

    /// Takes the form that the limits define for a list that was just built: a quicklist of one
    /// packed node within the limits becomes a listpack, a listpack beyond them a quicklist.
    pub fn convert(&mut self, thresholds: &Thresholds) {
        let limits = Limits::new(thresholds);
        self.grow(0, 0, &limits);
        self.pack(&limits, false);
    }

    /// Makes a listpack a quicklist when it would exceed the limits with so many elements and bytes
    /// of text more.
    #[inline]
    fn grow(&mut self, elements: usize, bytes: usize, limits: &Limits) {
        if let Form::Packed(view) = self.form()
            && !limits.allow(view.byte_len().saturating_add(bytes), view.len() + elements)
        {
            self.unpack(limits);
        }
    }

    #[cold]
    fn unpack(&mut self, limits: &Limits) {
        if let Form::Packed(view) = self.form() {
            let mut quick = Quicklist::default();
            if !view.is_empty() {
                quick.push_node(End::Back, Node::Packed(Pack::copy_of(view)), limits);
            }
            *self = List::quick(quick);
        }
    }

    /// Makes a quicklist that lost elements a listpack when it is small enough.
    #[inline]
    fn shrink(&mut self, limits: &Limits) {
        self.pack(limits, true);
    }

    #[inline]
    fn pack(&mut self, limits: &Limits, shrinking: bool) {
        let Form::Quick(quick) = self.form() else {
            return;
        };
        if quick.journal.is_open() {
            // A listpack has no journal: the end of the journal looks at this again.
            return;
        }
        if quick.len() == 0 {
            *self = List::new();
        } else if let Some(node) = quick.only_pack()
            && limits.pack(node.byte_len(), node.count(), shrinking)
            && let Contents::Packed(view) = node.read(&mut Vec::new())
        {
            *self = List::packed(Listpack::from(view));
        }
    }

    /// Appends a node with the elements of a listpack from outside; an empty one is left out. After
    /// the last node, [`List::convert`] brings the list to its form.
    ///
    /// # Errors
    /// The bytes break a rule of the format; the list is unchanged then.
    pub fn append_listpack(
        &mut self,
        bytes: &[u8],
        thresholds: &Thresholds,
    ) -> Result<(), Malformed> {
        let owned;
        let view = match View::new(bytes) {
            Ok(view) => view,
            // Some servers write backlens in another form; this encodes them anew, or returns the
            // error.
            Err(_) => {
                owned = Listpack::from_bytes(bytes)?;
                owned.view()
            }
        };
        if !view.is_empty() {
            self.append_node(Node::Packed(Pack::copy_of(view)), thresholds);
        }
        Ok(())
    }

    /// Appends a node that is one element, its bytes as they are; see [`List::append_listpack`].
    pub fn append_plain(&mut self, element: Box<[u8]>, thresholds: &Thresholds) {
        self.append_node(Node::Plain(element), thresholds);
    }

    fn append_node(&mut self, node: Node, thresholds: &Thresholds) {
        let limits = Limits::new(thresholds);
        self.unpack(&limits);
        if let FormMut::Quick(mut quick) = self.form_mut() {
            quick.push_node(End::Back, node, &limits);
        }
    }
}

impl ListView {
    /// Number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        match self.form() {
            Form::Packed(view) => view.len(),
            Form::Quick(quick) => quick.len(),
        }
    }

    /// True when there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True for the packed form.
    #[inline]
    pub fn is_packed(&self) -> bool {
        matches!(self.form(), Form::Packed(_))
    }

    /// The listpack of elements, when the list is packed.
    pub fn pack_bytes(&self) -> Option<&[u8]> {
        match self.form() {
            Form::Packed(view) => Some(view.bytes()),
            Form::Quick(_) => None,
        }
    }

    /// Number of nodes.
    pub fn nodes(&self) -> usize {
        match self.form() {
            Form::Packed(_) => 1,
            Form::Quick(quick) => quick.nodes().len(),
        }
    }

    fn clamp(&self, range: Range<usize>) -> Range<usize> {
        let end = range.end.min(self.len());
        range.start.min(end)..end
    }

    /// Visits the elements of a range, from its last one when `reverse`.
    #[inline]
    pub fn visit(
        &self,
        range: Range<usize>,
        reverse: bool,
        mut visit: impl FnMut(Element<'_>) -> ControlFlow<()>,
    ) {
        let range = self.clamp(range);
        if range.is_empty() {
            return;
        }
        match self.form() {
            Form::Packed(view) => {
                let offset = if reverse { range.end - 1 } else { range.start };
                // The walk ends after a break, so the result has no further meaning.
                let _ = Contents::Packed(view).visit(offset, range.len(), reverse, &mut visit);
            }
            Form::Quick(quick) => quick.visit(range, reverse, visit),
        }
    }

    /// Reads the element at an index.
    pub fn with<R>(&self, index: usize, read: impl FnOnce(Element<'_>) -> R) -> Option<R> {
        let mut read = Some(read);
        let mut result = None;
        self.visit(index..index.saturating_add(1), false, |element| {
            result = read.take().map(|read| read(element));
            ControlFlow::Break(())
        });
        result
    }

    /// Reports the indexes of the elements equal to `value`, from the `rank`-th match (1: the
    /// first) on, comparing at most `maxlen` elements (0: all), from the back when asked to.
    pub fn position(
        &self,
        value: &[u8],
        from_back: bool,
        rank: usize,
        maxlen: usize,
        found: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) {
        let len = self.len();
        let most = if maxlen == 0 { len } else { maxlen.min(len) };
        let range = if from_back { len - most..len } else { 0..most };
        let needle = Needle::new(value);
        let (mut compared, mut matches) = (0, 0);
        self.visit(range, from_back, |element| {
            compared += 1;
            if !needle.is(element) {
                return ControlFlow::Continue(());
            }
            matches += 1;
            if matches < rank {
                return ControlFlow::Continue(());
            }
            found(if from_back {
                len - compared
            } else {
                compared - 1
            })
        });
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        match self.form() {
            Form::Packed(view) => crate::alloc::packed_bytes(self.is_embedded(), view.byte_len()),
            Form::Quick(quick) => quick.heap_bytes(),
        }
    }

    /// Shows all nodes as they are stored, in order: the form in RDB files.
    pub fn each_node(&self, visit: &mut dyn FnMut(NodeRef<'_>)) {
        match self.form() {
            Form::Packed(view) => visit(NodeRef::Packed(view.bytes())),
            Form::Quick(quick) => quick.each_node(visit),
        }
    }
}

/// Removes the elements equal to a needle from a listpack.
fn remove_from_pack(
    pack: &mut Listpack,
    needle: &Needle<'_>,
    limit: usize,
    from_back: bool,
) -> usize {
    let mut found = Vec::new();
    needle.find_in(pack.view(), limit, from_back, &mut found);
    if found.len() == pack.len() {
        *pack = Listpack::new();
    } else if !found.is_empty() {
        let mut rest = Pack::copy_of(pack.view());
        rest.remove_all(&found);
        *pack = Listpack::from(rest.view());
    }
    found.len()
}

impl Default for List {
    fn default() -> Self {
        List::new()
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl fmt::Debug for ListView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        self.visit(0..self.len(), false, |element| {
            list.entry(&element);
            ControlFlow::Continue(())
        });
        list.finish()
    }
}
