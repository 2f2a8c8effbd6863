//! The form of long lists: many nodes.

use super::End;
use super::limits::Limits;
use super::node::{Contents, Node, NodeRef};
use super::nodes::{At, Nodes};
use super::pack::Pack;
use super::undo::Step;
use crate::alloc::{ALIGN, size_class};
use crate::listpack::View;
use crate::{Element, journal, number};
use std::ops::{ControlFlow, Range};

/// A sequence of nodes, none of them empty.
#[derive(Clone, Default)]
pub(super) struct Quicklist {
    nodes: Nodes,
    pub(super) journal: journal::Slot<Step>,
}

const _: () = assert!(align_of::<Quicklist>() == ALIGN, "an owner's low bits");

/// An element that others are compared with.
#[derive(Clone, Copy)]
pub(super) struct Needle<'a> {
    text: &'a [u8],
    number: Option<i64>,
}

impl<'a> Needle<'a> {
    pub(super) fn new(text: &'a [u8]) -> Needle<'a> {
        Needle {
            text,
            number: number::parse_canonical(text),
        }
    }

    #[inline]
    pub(super) fn is(&self, element: Element<'_>) -> bool {
        match element {
            Element::Bytes(text) => {
                text.len() == self.text.len()
                    && text.last() == self.text.last()
                    && text == self.text
            }
            Element::Int(value) => self.number == Some(value),
        }
    }

    /// Where the entries equal to it are, at most `limit`, in bytes and in order.
    pub(super) fn find_in(
        &self,
        view: View<'_>,
        limit: usize,
        from_back: bool,
        found: &mut Vec<Range<usize>>,
    ) {
        found.clear();
        let equal = view.positions().filter(|(_, element)| self.is(*element));
        found.extend(equal.map(|(position, _)| position.offset()..view.offset_after(position)));
        if from_back {
            found.drain(..found.len().saturating_sub(limit));
        } else {
            found.truncate(limit);
        }
    }
}

impl Contents<'_> {
    /// Visits `count` elements from `offset` on, backwards when `reverse`.
    #[inline]
    pub(super) fn visit(
        self,
        offset: usize,
        count: usize,
        reverse: bool,
        visit: &mut impl FnMut(Element<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let view = match self {
            Contents::Packed(view) => view,
            Contents::Plain(bytes) => return visit(Element::Bytes(bytes)),
        };
        let Some(position) = view.nth(offset) else {
            return ControlFlow::Continue(());
        };
        if reverse {
            view.iter_to(position).rev().take(count).try_for_each(visit)
        } else {
            view.iter_from(position).take(count).try_for_each(visit)
        }
    }
}

impl Quicklist {
    /// The number of elements.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.nodes.elements()
    }

    /// The nodes.
    pub(super) fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Bytes on the heap, with those of the struct itself.
    pub(super) fn heap_bytes(&self) -> usize {
        size_class(size_of::<Quicklist>()) + self.nodes.heap_bytes()
    }

    /// The only node, when there is just one and it is packed.
    pub(super) fn only_pack(&self) -> Option<&Node> {
        let node = self.nodes.get(self.nodes.first())?;
        (self.nodes.len() == 1 && !node.is_plain()).then_some(node)
    }

    /// Visits the elements of a range that is within the list.
    #[inline]
    pub(super) fn visit(
        &self,
        range: Range<usize>,
        reverse: bool,
        mut visit: impl FnMut(Element<'_>) -> ControlFlow<()>,
    ) {
        let start = if reverse {
            range.end.wrapping_sub(1)
        } else {
            range.start
        };
        let mut left = range.len();
        let mut scratch = Vec::new();
        let mut next = self.nodes.seek(start);
        while left > 0
            && let Some((at, offset)) = next
            && let Some(node) = self.nodes.get(at)
        {
            let there = if reverse {
                offset + 1
            } else {
                node.count() - offset
            };
            let count = left.min(there);
            let contents = node.read(&mut scratch);
            if contents
                .visit(offset, count, reverse, &mut visit)
                .is_break()
            {
                return;
            }
            left -= count;
            next = if reverse {
                let before = self.nodes.previous(at);
                before.and_then(|at| Some((at, self.nodes.get(at)?.count() - 1)))
            } else {
                self.nodes.next(at).map(|at| (at, 0))
            };
        }
    }

    /// Adds an element at an end.
    #[inline]
    pub(super) fn push(&mut self, end: End, element: &[u8], limits: &Limits) {
        let at = match end {
            End::Front => self.nodes.first(),
            End::Back => self.nodes.last(),
        };
        let done = !limits.is_large(element)
            && self
                .nodes
                .edit(at, |node| push_into(node, end, element, limits))
                == Some(true);
        if !done {
            self.push_node(end, Node::of(element, limits), limits);
        }
    }

    /// Adds a node at an end. The one that was there will not grow any more.
    #[cold]
    pub(super) fn push_node(&mut self, end: End, node: Node, limits: &Limits) {
        let first = self.nodes.first();
        let old = match end {
            End::Front => first,
            End::Back => self.nodes.last(),
        };
        self.nodes.edit(old, |node| {
            if let Node::Packed(pack) = node {
                pack.trim();
            }
        });
        match end {
            End::Front => self.nodes.insert(first, node),
            End::Back => self.nodes.push_back(node),
        };
        self.settle(limits);
    }

    /// Inserts an element in front of the one at an index.
    pub(super) fn insert(&mut self, index: usize, element: &[u8], limits: &Limits) {
        let Some((at, offset)) = self.nodes.seek(index).filter(|_| index > 0) else {
            let end = if index == 0 { End::Front } else { End::Back };
            return self.push(end, element, limits);
        };
        let large = limits.is_large(element);
        if !large && self.insert_into(at, offset, element, limits) {
            return;
        }
        // Now it is on the edge of two nodes, `at` the right one.
        let (at, is_split) = match offset {
            0 => (at, false),
            _ => (self.split(at, offset), true),
        };
        if large || !is_split || !self.insert_at_edge(at, element, limits) {
            self.nodes.insert(at, Node::of(element, limits));
        }
        let center = self
            .nodes
            .seek(index)
            .map_or(0, |(at, _)| self.nodes.rank(at));
        let center = if large {
            center
        } else {
            self.merge_around(center, limits)
        };
        self.settle(limits);
        self.seal(center.saturating_sub(1)..center + 2, limits);
    }

    /// Inserts into the node itself or at the end of the one before, if one allows it.
    fn insert_into(&mut self, at: At, offset: usize, element: &[u8], limits: &Limits) -> bool {
        let inserted = self.edit_allowing(at, element.len(), limits, |pack| {
            pack.insert_at(offset, element);
        });
        inserted
            || offset == 0
                && self.nodes.previous(at).is_some_and(|before| {
                    self.edit_allowing(before, element.len(), limits, |pack| {
                        pack.push_back(element);
                    })
                })
    }

    /// Inserts between the node at a place and the one before, into one of them, if it allows that.
    fn insert_at_edge(&mut self, at: At, element: &[u8], limits: &Limits) -> bool {
        let before = self.nodes.previous(at);
        before.is_some_and(|before| {
            let edit = |node: &mut Node| push_into(node, End::Back, element, limits);
            self.nodes.edit(before, edit) == Some(true)
        }) || {
            let edit = |node: &mut Node| push_into(node, End::Front, element, limits);
            self.nodes.edit(at, edit) == Some(true)
        }
    }

    /// Changes a node that allows another element of `len` bytes, which is not large. False when it
    /// does not.
    fn edit_allowing(
        &mut self,
        at: At,
        len: usize,
        limits: &Limits,
        change: impl FnOnce(&mut Pack),
    ) -> bool {
        let done = self.nodes.edit(at, |node| {
            node.allows_another(limits, len) && node.pack_mut().map(change).is_some()
        });
        let done = done == Some(true);
        if done && limits.depth > 0 {
            let rank = self.nodes.rank(at);
            self.seal(rank..rank + 1, limits);
        }
        done
    }

    /// Splits a node in front of its element `offset`, which is not the first; returns the place of
    /// the right part.
    fn split(&mut self, at: At, offset: usize) -> At {
        let rest = self.nodes.edit(at, |node| {
            let rest = node.pack_mut().map(|pack| pack.split_off(offset));
            rest.unwrap_or_else(Pack::none)
        });
        let rest = Node::Packed(rest.unwrap_or_else(Pack::none));
        self.nodes.insert(at.after(), rest)
    }

    /// Replaces an element.
    pub(super) fn set(&mut self, index: usize, element: &[u8], limits: &Limits) {
        let Some((at, offset)) = self.nodes.seek(index) else {
            return;
        };
        let large = limits.is_large(element);
        let done = self.nodes.edit(at, |node| match node {
            node if node.is_plain() || node.count() == 1 => {
                let done = large || !node.is_plain();
                if done {
                    *node = Node::of(element, limits);
                }
                done
            }
            node => !large && replace_in(node, offset, element, limits),
        });
        let rank = self.nodes.rank(at);
        if done == Some(true) {
            return self.seal(rank..rank + 1, limits);
        }
        let is_plain = self.nodes.get(at).is_none_or(Node::is_plain);
        let center = if is_plain {
            self.unwrap_plain(at, element, limits);
            rank
        } else {
            let at = if offset > 0 {
                self.split(at, offset)
            } else {
                at
            };
            self.nodes
                .edit(at, |node| node.pack_mut().map(|pack| pack.remove(0, 1)));
            if self.nodes.get(at).is_some_and(|node| node.count() == 0) {
                self.nodes
                    .edit(at, |node| *node = Node::of(element, limits));
            } else {
                self.nodes.insert(at, Node::of(element, limits));
            }
            let center = self
                .nodes
                .seek(index)
                .map_or(0, |(at, _)| self.nodes.rank(at));
            self.merge_around(center, limits)
        };
        self.settle(limits);
        self.seal(center.saturating_sub(1)..center + 2, limits);
    }

    /// Puts an element that is not large in the place of a plain node: into the next node if that
    /// allows it.
    fn unwrap_plain(&mut self, at: At, element: &[u8], limits: &Limits) {
        let next = self.nodes.next(at);
        let moved = next.is_some_and(|next| {
            let edit = |node: &mut Node| push_into(node, End::Front, element, limits);
            self.nodes.edit(next, edit) == Some(true)
        });
        if moved {
            self.nodes.remove(at);
        } else {
            self.nodes
                .edit(at, |node| *node = Node::of(element, limits));
        }
    }

    /// Removes the elements of a range that is within the list.
    pub(super) fn remove_range(&mut self, range: Range<usize>, limits: &Limits) {
        let (nodes, inner) = (self.nodes.len(), range.start > 0 && range.end < self.len());
        let mut left = range.len();
        while left > 0
            && let Some((at, offset)) = self.nodes.seek(range.start)
        {
            let count = self.nodes.get(at).map_or(0, Node::count);
            if offset == 0 && left >= count {
                left -= self.nodes.remove_whole(at, left).max(1);
                continue;
            }
            let taken = left.min(count - offset);
            self.nodes.edit(at, |node| {
                node.pack_mut().map(|pack| pack.remove(offset, taken))
            });
            left -= taken;
        }
        if !inner && limits.depth == 0 {
            return;
        }
        let center = self.nodes.seek(range.start);
        let center = center.map_or(0, |(at, _)| self.nodes.rank(at));
        let center = match inner {
            true => self.merge_around(center, limits),
            false => center,
        };
        if self.nodes.len() != nodes {
            self.settle(limits);
        }
        self.seal(center.saturating_sub(1)..center + 2, limits);
    }

    /// Removes elements equal to a needle, at most `limit`. Returns how many.
    pub(super) fn remove_equal(
        &mut self,
        needle: &Needle<'_>,
        limit: usize,
        from_back: bool,
        limits: &Limits,
    ) -> usize {
        let (mut scratch, mut found) = (Vec::new(), Vec::new());
        let mut left = limit;
        let mut touched: Option<(At, At)> = None;
        let mut next = Some(if from_back {
            self.nodes.last()
        } else {
            self.nodes.first()
        });
        while left > 0
            && let Some(at) = next
            && let Some(node) = self.nodes.get(at)
        {
            let removed = match node.read(&mut scratch) {
                Contents::Plain(bytes) => usize::from(bytes == needle.text),
                Contents::Packed(view) => {
                    needle.find_in(view, left, from_back, &mut found);
                    found.len()
                }
            };
            if removed > 0 {
                self.nodes.edit(at, |node| match node.count() - removed {
                    0 => *node = Node::Packed(Pack::none()),
                    _ => {
                        if let Some(pack) = node.pack_mut() {
                            pack.remove_all(&found);
                        }
                    }
                });
                let (first, last) = touched.unwrap_or((at, at));
                touched = Some((first.min(at), last.max(at)));
                left -= removed;
            }
            next = if from_back {
                self.nodes.previous(at)
            } else {
                self.nodes.next(at)
            };
        }
        if let Some((first, last)) = touched {
            self.sweep(first, last, limits);
        }
        limit - left
    }

    /// After elements went from some of the nodes between two places.
    fn sweep(&mut self, first: At, last: At, limits: &Limits) {
        let chunks = first.chunk..=last.chunk;
        let ranks = self.nodes.ranks_of(&chunks);
        self.nodes
            .sweep(chunks, |left, right| left.allows_merge(right, limits));
        self.settle(limits);
        self.seal(ranks, limits);
    }

    /// Merges a node and its neighbours, as far as the limits allow. Returns where the node is
    /// then.
    fn merge_around(&mut self, mut center: usize, limits: &Limits) -> usize {
        if center >= 2 && self.merge(center - 2, limits) {
            center -= 1;
        }
        self.merge(center + 1, limits);
        if center >= 1 && self.merge(center - 1, limits) {
            center -= 1;
        }
        self.merge(center, limits);
        center
    }

    /// Merges the node with this number and the next one, if the limits allow it. Two nodes stay at
    /// least: to be one listpack, a list must come down to half the limit, which is not decided
    /// here.
    fn merge(&mut self, rank: usize, limits: &Limits) -> bool {
        if self.nodes.len() <= 2 {
            return false;
        }
        let Some((left, right)) = self.nodes.at(rank).zip(self.nodes.at(rank + 1)) else {
            return false;
        };
        let allowed = match (self.nodes.get(left), self.nodes.get(right)) {
            (Some(left), Some(right)) => left.allows_merge(right, limits),
            _ => false,
        };
        if allowed && let Some(mut node) = self.nodes.remove(right) {
            // Places may have changed.
            if let Some(left) = self.nodes.at(rank) {
                self.nodes.edit(left, |left| left.append(&mut node));
            }
        }
        allowed
    }

    /// After nodes came or went: those within the depth from the ends are taken out of compression,
    /// the next ones are compressed.
    fn settle(&mut self, limits: &Limits) {
        let (depth, len) = (limits.depth, self.nodes.len());
        if depth == 0 {
            return;
        }
        let outer = depth.min(len);
        for from_back in [false, true] {
            let mut next = Some(if from_back {
                self.nodes.last()
            } else {
                self.nodes.first()
            });
            for _ in 0..outer {
                let Some(at) = next else {
                    break;
                };
                if matches!(self.nodes.get(at), Some(Node::Compressed(_))) {
                    self.nodes.edit(at, Node::expand);
                }
                next = if from_back {
                    self.nodes.previous(at)
                } else {
                    self.nodes.next(at)
                };
            }
        }
        // One change adds two nodes at most: so far others moved inward.
        self.seal(depth..depth + 2, limits);
        self.seal(len.saturating_sub(depth + 2)..len, limits);
    }

    /// Compresses those of some nodes that are farther from both ends than the depth.
    fn seal(&mut self, ranks: Range<usize>, limits: &Limits) {
        let depth = limits.depth;
        if depth == 0 {
            return;
        }
        let inner = depth.max(ranks.start)..ranks.end.min(self.nodes.len().saturating_sub(depth));
        let mut next = self.nodes.at(inner.start);
        for _ in inner {
            let Some(at) = next else {
                return;
            };
            self.nodes.edit(at, Node::compress);
            next = self.nodes.next(at);
        }
    }

    /// Shows all nodes as they are stored.
    pub(super) fn each_node(&self, visit: &mut dyn FnMut(NodeRef<'_>)) {
        self.nodes.iter().for_each(|node| visit(node.stored()));
    }
}

/// Adds an element that is not large at an end of a node, if that allows it.
#[inline]
fn push_into(node: &mut Node, end: End, element: &[u8], limits: &Limits) -> bool {
    if !node.allows_another(limits, element.len()) {
        return false;
    }
    match (node.pack_mut(), end) {
        (Some(pack), End::Front) => pack.push_front(element),
        (Some(pack), End::Back) => pack.push_back(element),
        (None, _) => return false,
    }
    true
}

/// Replaces an element of a packed node by one that is not large, if the limits allow it.
fn replace_in(node: &mut Node, offset: usize, element: &[u8], limits: &Limits) -> bool {
    let count = node.count();
    node.pack_mut().is_some_and(|pack| {
        pack.replace(offset, element, |bytes, old| {
            limits.allow_another(bytes, count - 1, element.len())
                || crate::listpack::encoded_len(element) <= old
        })
    })
}
