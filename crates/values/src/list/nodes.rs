//! The sequence of a list's nodes.
//!
//! Not a linked list: the headers of up to [`CHUNK_MAX`] nodes lie side by side in a ring buffer,
//! and the ring buffers in another one. Both ends are a step away. To find an index, the numbers of
//! elements of whole chunks are added up from the nearer end, then those of the nodes of one chunk:
//! for a million nodes that reads some 2,000 + 128 neighbouring numbers, where a linked list would
//! miss the cache a million times. A node that comes in the middle moves at most 128 headers of its
//! chunk, and each 128 such nodes at most half of the chunks. A tree would be asymptotically
//! better, at ten times the code, for sizes that no list has.

use super::node::Node;
use crate::alloc::size_class;
use std::collections::VecDeque;
use std::ops::{Range, RangeInclusive};

/// Headers in one chunk: 8 KiB.
const CHUNK_MAX: usize = 256;
/// Neighbours that have no more headers together are united.
const CHUNK_UNITE: usize = CHUNK_MAX / 2;

#[derive(Default)]
struct Chunk {
    /// Never empty between calls.
    nodes: VecDeque<Node>,
    /// Elements in all nodes.
    elements: usize,
    /// Bytes on the heap of all nodes.
    heap: usize,
}

impl Clone for Chunk {
    fn clone(&self) -> Self {
        let nodes = self.nodes.clone();
        Chunk {
            elements: self.elements,
            // Copies have no spare room.
            heap: nodes.iter().map(Node::heap_bytes).sum(),
            nodes,
        }
    }
}

impl Chunk {
    fn count_in(&mut self, node: &Node) {
        self.elements += node.count();
        self.heap += node.heap_bytes();
    }

    fn count_out(&mut self, node: &Node) {
        self.elements -= node.count();
        self.heap -= node.heap_bytes();
    }

    /// Takes the nodes from `at` on out.
    fn split_off(&mut self, at: usize) -> Chunk {
        let mut rest = Chunk {
            nodes: self.nodes.split_off(at),
            ..Chunk::default()
        };
        for node in &rest.nodes {
            rest.elements += node.count();
            rest.heap += node.heap_bytes();
        }
        self.elements -= rest.elements;
        self.heap -= rest.heap;
        rest
    }
}

/// Where a node is. Valid until nodes come or go; [`Nodes`] answers nothing for places that are not
/// there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub(super) chunk: usize,
    node: usize,
}

impl At {
    /// Where a node comes that is inserted right behind this one.
    pub(super) fn after(self) -> At {
        At {
            node: self.node + 1,
            ..self
        }
    }
}

/// The nodes of a list, in order.
#[derive(Clone, Default)]
pub(super) struct Nodes {
    chunks: VecDeque<Chunk>,
    len: usize,
    elements: usize,
}

impl Nodes {
    /// The number of nodes.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The number of elements in all nodes.
    #[inline]
    pub(super) fn elements(&self) -> usize {
        self.elements
    }

    /// The first place.
    #[inline]
    pub(super) fn first(&self) -> At {
        At::default()
    }

    /// The last place; one that is not there when there are no nodes.
    #[inline]
    pub(super) fn last(&self) -> At {
        let chunk = self.chunks.len().saturating_sub(1);
        let nodes = self.chunks.back().map_or(0, |last| last.nodes.len());
        At {
            chunk,
            node: nodes.saturating_sub(1),
        }
    }

    /// The node at a place.
    #[inline]
    pub(super) fn get(&self, at: At) -> Option<&Node> {
        self.chunks.get(at.chunk)?.nodes.get(at.node)
    }

    /// The place after `at`.
    #[inline]
    pub(super) fn next(&self, at: At) -> Option<At> {
        let chunk = self.chunks.get(at.chunk)?;
        let next = if at.node + 1 < chunk.nodes.len() {
            At {
                node: at.node + 1,
                ..at
            }
        } else {
            At {
                chunk: at.chunk + 1,
                node: 0,
            }
        };
        (next.chunk < self.chunks.len()).then_some(next)
    }

    /// The place before `at`.
    #[inline]
    pub(super) fn previous(&self, at: At) -> Option<At> {
        if let Some(node) = at.node.checked_sub(1) {
            return Some(At { node, ..at });
        }
        let chunk = at.chunk.checked_sub(1)?;
        let node = self.chunks.get(chunk)?.nodes.len().checked_sub(1)?;
        Some(At { chunk, node })
    }

    /// Changes the node at a place. Nothing happens when there is none.
    #[inline]
    pub(super) fn edit<R>(&mut self, at: At, change: impl FnOnce(&mut Node) -> R) -> Option<R> {
        let chunk = self.chunks.get_mut(at.chunk)?;
        let node = chunk.nodes.get_mut(at.node)?;
        let (count, heap) = (node.count(), node.heap_bytes());
        let result = change(node);
        chunk.elements = chunk.elements - count + node.count();
        chunk.heap = chunk.heap - heap + node.heap_bytes();
        self.elements = self.elements - count + node.count();
        Some(result)
    }

    /// The place of the element `index` and how many elements of its node come before it.
    #[inline]
    pub(super) fn seek(&self, index: usize) -> Option<(At, usize)> {
        let after = self.elements.checked_sub(index).filter(|&it| it > 0)?;
        let (first, last) = (self.first(), self.last());
        let (front, back) = (self.get(first)?.count(), self.get(last)?.count());
        if index < front {
            return Some((first, index));
        }
        if after <= back {
            return Some((last, back - after));
        }
        self.seek_inside(index, after)
    }

    fn seek_inside(&self, index: usize, after: usize) -> Option<(At, usize)> {
        let (chunk, offset) = if index < after {
            walk(self.chunks.iter().map(|chunk| chunk.elements), index)?
        } else {
            let counts = self.chunks.iter().rev().map(|chunk| chunk.elements);
            walk_back(counts, self.chunks.len(), after)?
        };
        let nodes = &self.chunks.get(chunk)?.nodes;
        let after = self.chunks.get(chunk)?.elements - offset;
        let (node, offset) = if offset < after {
            walk(nodes.iter().map(Node::count), offset)?
        } else {
            walk_back(nodes.iter().rev().map(Node::count), nodes.len(), after)?
        };
        Some((At { chunk, node }, offset))
    }

    /// The place of the node `index`.
    pub(super) fn at(&self, index: usize) -> Option<At> {
        let after = self.len.checked_sub(index).filter(|&it| it > 0)?;
        let (chunk, node) = if index < after {
            walk(self.chunks.iter().map(|chunk| chunk.nodes.len()), index)?
        } else {
            let counts = self.chunks.iter().rev().map(|chunk| chunk.nodes.len());
            walk_back(counts, self.chunks.len(), after)?
        };
        Some(At { chunk, node })
    }

    /// The number of nodes before a place.
    pub(super) fn rank(&self, at: At) -> usize {
        let before = self.chunks.iter().take(at.chunk);
        before.map(|chunk| chunk.nodes.len()).sum::<usize>() + at.node
    }

    /// The numbers of the nodes of some chunks.
    pub(super) fn ranks_of(&self, chunks: &RangeInclusive<usize>) -> Range<usize> {
        let lens = || self.chunks.iter().map(|chunk| chunk.nodes.len());
        let start = lens().take(*chunks.start()).sum();
        start..lens().take(*chunks.end() + 1).sum()
    }

    /// Inserts a node at a place: in front of what is there, or as the last one of its chunk.
    /// Returns where it is.
    pub(super) fn insert(&mut self, mut at: At, node: Node) -> At {
        if self.chunks.is_empty() {
            self.chunks.reserve_exact(1);
            self.chunks.push_back(Chunk::default());
        }
        at.chunk = at.chunk.min(self.chunks.len() - 1);
        if let Some(chunk) = self.chunks.get_mut(at.chunk)
            && chunk.nodes.len() >= CHUNK_MAX
        {
            at = self.make_room(at);
        }
        self.len += 1;
        self.elements += node.count();
        if let Some(chunk) = self.chunks.get_mut(at.chunk) {
            at.node = at.node.min(chunk.nodes.len());
            chunk.count_in(&node);
            chunk.nodes.insert(at.node, node);
        }
        at
    }

    /// Splits the full chunk of `at`; returns the place again, where there is room now. At its ends
    /// nothing moves: lists grow there.
    fn make_room(&mut self, at: At) -> At {
        let Some(chunk) = self.chunks.get_mut(at.chunk) else {
            return at;
        };
        let (new, added, at) = if at.node == 0 {
            (at.chunk, Chunk::default(), At { node: 0, ..at })
        } else if at.node >= chunk.nodes.len() {
            let next = At {
                chunk: at.chunk + 1,
                node: 0,
            };
            (at.chunk + 1, Chunk::default(), next)
        } else {
            let half = chunk.nodes.len() / 2;
            let rest = chunk.split_off(half);
            let place = match at.node.checked_sub(half + 1) {
                Some(_) => At {
                    chunk: at.chunk + 1,
                    node: at.node - half,
                },
                None => at,
            };
            (at.chunk + 1, rest, place)
        };
        self.chunks.insert(new, added);
        at
    }

    /// Adds a node behind all others.
    #[inline]
    pub(super) fn push_back(&mut self, node: Node) -> At {
        let last = self.last();
        self.insert(
            At {
                node: last.node + usize::from(self.len > 0),
                ..last
            },
            node,
        )
    }

    /// Takes a node out. Other places change.
    pub(super) fn remove(&mut self, at: At) -> Option<Node> {
        let chunk = self.chunks.get_mut(at.chunk)?;
        let node = chunk.nodes.remove(at.node)?;
        chunk.count_out(&node);
        self.len -= 1;
        self.elements -= node.count();
        self.tidy(at.chunk);
        Some(node)
    }

    /// Removes the nodes from a place on that have no more than `elements` elements together.
    /// Returns how many elements went. Other places change.
    pub(super) fn remove_whole(&mut self, mut at: At, elements: usize) -> usize {
        let first = at.chunk;
        let mut left = elements;
        while let Some(chunk) = self.chunks.get_mut(at.chunk) {
            let mut end = at.node;
            while let Some(node) = chunk.nodes.get(end)
                && let Some(rest) = left.checked_sub(node.count())
            {
                left = rest;
                end += 1;
            }
            let stop = end < chunk.nodes.len();
            self.len -= end - at.node;
            for node in chunk.nodes.drain(at.node..end) {
                chunk.elements -= node.count();
                chunk.heap -= node.heap_bytes();
            }
            if chunk.nodes.is_empty() {
                self.chunks.remove(at.chunk);
            } else {
                at.chunk += 1;
            }
            at.node = 0;
            if stop {
                break;
            }
        }
        self.elements -= elements - left;
        give_back(&mut self.chunks);
        self.tidy(first + 1);
        self.tidy(first);
        elements - left
    }

    /// Removes the empty nodes among some chunks, and unites nodes with the next one when
    /// `may_unite` allows it and at least two nodes remain.
    pub(super) fn sweep(
        &mut self,
        chunks: RangeInclusive<usize>,
        may_unite: impl Fn(&Node, &Node) -> bool,
    ) {
        for index in chunks.clone() {
            let nodes = self.chunks.get(index).map(|chunk| chunk.nodes.iter());
            let nodes = nodes.into_iter().flatten();
            self.len -= nodes.filter(|node| node.count() == 0).count();
        }
        for index in chunks.rev() {
            let Some(chunk) = self.chunks.get_mut(index) else {
                continue;
            };
            let mut kept: VecDeque<Node> = VecDeque::with_capacity(chunk.nodes.len());
            for mut node in std::mem::take(&mut chunk.nodes) {
                if node.count() == 0 {
                    continue;
                }
                if self.len > 2
                    && let Some(last) = kept.back_mut()
                    && may_unite(last, &node)
                {
                    last.append(&mut node);
                    self.len -= 1;
                } else {
                    kept.push_back(node);
                }
            }
            give_back(&mut kept);
            chunk.nodes = kept;
            chunk.heap = chunk.nodes.iter().map(Node::heap_bytes).sum();
            self.tidy(index);
        }
    }

    /// After nodes of a chunk went.
    fn tidy(&mut self, index: usize) {
        let Some(chunk) = self.chunks.get_mut(index) else {
            return;
        };
        if chunk.nodes.is_empty() {
            self.chunks.remove(index);
            give_back(&mut self.chunks);
        } else if chunk.nodes.len() < CHUNK_UNITE / 2 {
            give_back(&mut chunk.nodes);
            self.unite(index);
        }
    }

    /// Unites a chunk with the one after it when both are small, so that lists which lose their
    /// nodes here and there do not become lists of single chunks.
    fn unite(&mut self, index: usize) {
        let small = |chunk: Option<&Chunk>| chunk.map(|chunk| chunk.nodes.len());
        let pairs = [index.checked_sub(1), Some(index)];
        for left in pairs.into_iter().flatten() {
            if let (Some(first), Some(second)) = (
                small(self.chunks.get(left)),
                small(self.chunks.get(left + 1)),
            ) && first + second <= CHUNK_UNITE
                && let Some(mut second) = self.chunks.remove(left + 1)
                && let Some(first) = self.chunks.get_mut(left)
            {
                first.nodes.append(&mut second.nodes);
                first.elements += second.elements;
                first.heap += second.heap;
                return;
            }
        }
    }

    /// Bytes on the heap: nodes, their headers and the chunks. Takes one step per chunk.
    pub(super) fn heap_bytes(&self) -> usize {
        let headers = |chunk: &Chunk| size_class(chunk.nodes.capacity() * size_of::<Node>());
        let chunks = self.chunks.iter();
        let inner: usize = chunks.map(|chunk| chunk.heap + headers(chunk)).sum();
        inner + size_class(self.chunks.capacity() * size_of::<Chunk>())
    }

    /// All nodes in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.chunks.iter().flat_map(|chunk| &chunk.nodes)
    }
}

/// The position in `counts` where the sum passes `index`, and what is left of it there.
#[inline]
fn walk(counts: impl Iterator<Item = usize>, mut index: usize) -> Option<(usize, usize)> {
    for (position, count) in counts.enumerate() {
        if index < count {
            return Some((position, index));
        }
        index -= count;
    }
    None
}

/// The same from the end: `after` elements are at and behind the index, which is at least one.
#[inline]
fn walk_back(
    counts: impl Iterator<Item = usize>,
    len: usize,
    mut after: usize,
) -> Option<(usize, usize)> {
    for (position, count) in counts.enumerate() {
        if after <= count {
            return Some((len - 1 - position, count - after));
        }
        after -= count;
    }
    None
}

/// Frees most of what a buffer that shrank does not use.
fn give_back<T>(buffer: &mut VecDeque<T>) {
    if buffer.capacity() > 4 * (buffer.len() + 1) {
        buffer.shrink_to(2 * buffer.len());
    }
}

#[cfg(test)]
impl Nodes {
    /// Panics where a chunk or a sum is wrong.
    pub(super) fn check(&self) {
        let mut len = 0;
        for chunk in &self.chunks {
            assert!(!chunk.nodes.is_empty() && chunk.nodes.len() <= CHUNK_MAX);
            let elements: usize = chunk.nodes.iter().map(Node::count).sum();
            let heap: usize = chunk.nodes.iter().map(Node::heap_bytes).sum();
            assert_eq!((elements, heap), (chunk.elements, chunk.heap));
            len += chunk.nodes.len();
        }
        let elements: usize = self.iter().map(Node::count).sum();
        assert_eq!((len, elements), (self.len, self.elements));
    }
}
