//! An inner node: up to 63 children.
//!
//! ```text
//!  +-----+----------+----------+-------------+------------+------------+
//!  | len | capacity | key, ... | member, ... | count, ... | child, ... |
//!  +-----+----------+----------+-------------+------------+------------+
//! ```
//! Each array has `capacity` places. Key and member of a child are those of the first entry under
//! it, exactly, except that those of child 0 mean nothing: the removal of its first entry, or an
//! insertion before it, does not update this node. Keys lie together, so that a search touches few
//! cache lines; the same goes for the counts, which are added up for ranks.

use super::{Bound, Member, Node};
use crate::alloc::{ALIGN, size_class};
use crate::table::prefetch;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// Children of the largest node: 2 KiB with the header. Unit tests have small nodes (see leaf).
pub(super) const MAX_CHILDREN: usize = if cfg!(test) { 5 } else { 63 };

/// Nodes with fewer children try to join a neighbour.
pub(super) const MIN_CHILDREN: usize = if cfg!(test) { 2 } else { MAX_CHILDREN / 4 };

/// Nodes join when together they have at most this many children.
pub(super) const JOIN_CHILDREN: usize = MAX_CHILDREN * 3 / 4;

const HEADER_BYTES: usize = size_of::<Header>();
const CHILD_BYTES: usize = 4 * size_of::<u64>();
const LINE_BYTES: usize = 64;

#[repr(C)]
struct Header {
    len: u32,
    capacity: u32,
}

/// The data that a node stores for a child.
#[derive(Clone, Copy)]
pub(super) struct Child {
    /// Key of the first entry.
    pub(super) key: u64,
    /// The first entry.
    pub(super) first: Member,
    /// Entries under it.
    pub(super) count: usize,
    pub(super) node: Node,
}

fn capacity_for(children: usize) -> usize {
    let bytes = size_class(HEADER_BYTES + children * CHILD_BYTES);
    ((bytes - HEADER_BYTES) / CHILD_BYTES).min(MAX_CHILDREN)
}

fn layout(capacity: usize) -> Layout {
    let bytes = size_class(HEADER_BYTES + capacity * CHILD_BYTES);
    let Ok(layout) = Layout::from_size_align(bytes, ALIGN) else {
        unreachable!("a node has at most 2 KiB")
    };
    layout
}

/// An empty node with room for so many children.
pub(super) fn allocate(children: usize) -> Node {
    let capacity = capacity_for(children);
    let layout = layout(capacity);
    // SAFETY: the layout is not empty. Zeroes are valid in all arrays, and the header is written.
    unsafe {
        let Some(node) = NonNull::new(alloc_zeroed(layout)) else {
            handle_alloc_error(layout)
        };
        node.cast::<Header>().write(Header {
            len: 0,
            capacity: capacity as u32,
        });
        node
    }
}

/// Frees a node, not its children. Returns its bytes.
///
/// # Safety
/// `node` is a live inner node and is not used again.
pub(super) unsafe fn free(node: Node) -> usize {
    // SAFETY: the node is live and not used again; its layout follows from its capacity, as in
    // `allocate`.
    unsafe {
        let layout = layout(node.cast::<Header>().as_ref().capacity as usize);
        dealloc(node.as_ptr(), layout);
        layout.size()
    }
}

/// Starts bringing the header and the keys of a node into the cache.
#[inline]
pub(super) fn prefetch_inner(node: Node) {
    (0..HEADER_BYTES + MAX_CHILDREN * size_of::<u64>())
        .step_by(LINE_BYTES)
        .for_each(|line| prefetch(node.as_ptr().wrapping_add(line)));
}

/// A node, for reading. All arrays are as long as there are children.
#[derive(Clone, Copy)]
pub(super) struct Inner<'a> {
    pub(super) keys: &'a [u64],
    firsts: &'a [Option<Member>],
    pub(super) counts: &'a [usize],
    children: &'a [Option<Node>],
    capacity: usize,
}

impl<'a> Inner<'a> {
    /// # Safety
    /// `node` is a live inner node, which does not change during `'a`.
    #[inline]
    pub(super) unsafe fn new(node: Node) -> Inner<'a> {
        // SAFETY: the node is live and does not change during 'a; the arrays follow the header,
        // each with `capacity` initialized places.
        unsafe {
            let header = node.cast::<Header>().as_ref();
            let (len, capacity) = (header.len as usize, header.capacity as usize);
            let array = |number: usize| {
                node.add(HEADER_BYTES + number * capacity * size_of::<u64>())
                    .as_ptr()
            };
            Inner {
                keys: std::slice::from_raw_parts(array(0).cast(), len),
                firsts: std::slice::from_raw_parts(array(1).cast(), len),
                counts: std::slice::from_raw_parts(array(2).cast(), len),
                children: std::slice::from_raw_parts(array(3).cast(), len),
                capacity,
            }
        }
    }

    #[inline]
    pub(super) fn len(self) -> usize {
        self.keys.len()
    }

    pub(super) fn is_full(self) -> bool {
        self.len() == MAX_CHILDREN
    }

    /// Whether it has to be resized before a child is added.
    pub(super) fn needs_growth(self) -> bool {
        self.len() == self.capacity
    }

    /// Bytes of the block.
    pub(super) fn bytes(self) -> usize {
        layout(self.capacity).size()
    }

    /// The child's node.
    #[inline]
    pub(super) fn node(self, child: usize) -> Node {
        let Some(node) = self.children[child] else {
            unreachable!("every place below the length has a child")
        };
        node
    }

    /// The node's data about the child.
    pub(super) fn child(self, child: usize) -> Child {
        Child {
            key: self.keys[child],
            first: self.first(child),
            count: self.counts[child],
            node: self.node(child),
        }
    }

    /// The first entry under a child (meaningless for child 0).
    #[inline]
    pub(super) fn first(self, child: usize) -> Member {
        let Some(first) = self.firsts[child] else {
            unreachable!("every place below the length has a member")
        };
        first
    }

    /// Entries under all children.
    pub(super) fn total(self) -> usize {
        self.counts.iter().sum()
    }

    /// The last child whose first entry is before a place, or child 0: the one under which the
    /// place lies.
    #[inline]
    pub(super) fn child_at(self, bound: &impl Bound) -> usize {
        let separators = self.keys.get(1..).unwrap_or_default();
        let (first, last) = match bound.key() {
            None => (0, separators.len()),
            Some(key) => {
                let first = separators.partition_point(|it| *it < key);
                let rest = &separators[first..];
                if rest.first().is_none_or(|it| *it != key) {
                    return first;
                }
                (first, first + rest.partition_point(|it| *it == key))
            }
        };
        let before = |member: &Option<Member>| {
            // SAFETY: members that separate children are entries of the tree, which are live.
            member.is_some_and(|member| unsafe { bound.precedes(member) })
        };
        first + self.firsts[1 + first..1 + last].partition_point(before)
    }
}

/// A node, for change.
pub(super) struct InnerMut<'a> {
    len: &'a mut u32,
    keys: &'a mut [u64],
    firsts: &'a mut [Option<Member>],
    counts: &'a mut [usize],
    children: &'a mut [Option<Node>],
}

impl InnerMut<'_> {
    /// # Safety
    /// `node` is a live inner node; nothing else refers to it while this exists.
    #[inline]
    pub(super) unsafe fn new(node: Node) -> Self {
        // SAFETY: the node is live, and there is no other reference to it; the arrays follow the
        // header, each with `capacity` initialized places, and do not overlap.
        unsafe {
            let capacity = node.cast::<Header>().as_ref().capacity as usize;
            let array = |number: usize| {
                node.add(HEADER_BYTES + number * capacity * size_of::<u64>())
                    .as_ptr()
            };
            InnerMut {
                len: &mut node.cast::<Header>().as_mut().len,
                keys: std::slice::from_raw_parts_mut(array(0).cast(), capacity),
                firsts: std::slice::from_raw_parts_mut(array(1).cast(), capacity),
                counts: std::slice::from_raw_parts_mut(array(2).cast(), capacity),
                children: std::slice::from_raw_parts_mut(array(3).cast(), capacity),
            }
        }
    }

    fn len(&self) -> usize {
        *self.len as usize
    }

    fn set_len(&mut self, len: usize) {
        *self.len = len as u32;
    }

    /// Moves what is known of children to other places.
    fn copy_within(&mut self, from: std::ops::Range<usize>, to: usize) {
        self.keys.copy_within(from.clone(), to);
        self.firsts.copy_within(from.clone(), to);
        self.counts.copy_within(from.clone(), to);
        self.children.copy_within(from, to);
    }

    fn set(&mut self, at: usize, child: Child) {
        self.set_first(at, child.key, child.first);
        self.counts[at] = child.count;
        self.children[at] = Some(child.node);
    }

    /// Adds a child at a place; there is room for it.
    pub(super) fn insert(&mut self, at: usize, child: Child) {
        let len = self.len();
        self.copy_within(at..len, at + 1);
        self.set(at, child);
        self.set_len(len + 1);
    }

    /// Takes a child out.
    pub(super) fn remove(&mut self, at: usize) {
        let len = self.len();
        self.copy_within(at + 1..len, at);
        self.set_len(len - 1);
    }

    /// Adds the children of another node at the end; there is room for them.
    fn append(&mut self, other: Inner<'_>) {
        let (len, more) = (self.len(), other.len());
        self.keys[len..len + more].copy_from_slice(other.keys);
        self.firsts[len..len + more].copy_from_slice(other.firsts);
        self.counts[len..len + more].copy_from_slice(other.counts);
        self.children[len..len + more].copy_from_slice(other.children);
        self.set_len(len + more);
    }

    pub(super) fn count_mut(&mut self, child: usize) -> &mut usize {
        &mut self.counts[child]
    }

    pub(super) fn set_node(&mut self, child: usize, node: Node) {
        self.children[child] = Some(node);
    }

    pub(super) fn set_first(&mut self, child: usize, key: u64, first: Member) {
        self.keys[child] = key;
        self.firsts[child] = Some(first);
    }
}

/// A node with the same children and room for `children`, in place of this one. Returns it and by
/// how many bytes it is larger.
///
/// # Safety
/// `node` is a live inner node, which nothing refers to; it is not used again. `children` are at
/// least as many as it has.
pub(super) unsafe fn resize(node: Node, children: usize) -> (Node, isize) {
    let new = allocate(children);
    // SAFETY: the node is live without references, and so is the new one, from `allocate`.
    unsafe {
        InnerMut::new(new).append(Inner::new(node));
        let bytes = Inner::new(new).bytes();
        (new, bytes as isize - free(node) as isize)
    }
}

/// Moves the children from `at` on to a new node with room for one more.
///
/// # Safety
/// `node` is a live inner node, which nothing refers to.
pub(super) unsafe fn split(node: Node, at: usize) -> Node {
    // SAFETY: the node is live without references, and so is the new one, from `allocate`.
    unsafe {
        let from = Inner::new(node);
        let right = allocate(from.len() - at + 1);
        let moved = Inner {
            keys: &from.keys[at..],
            firsts: &from.firsts[at..],
            counts: &from.counts[at..],
            children: &from.children[at..],
            ..from
        };
        InnerMut::new(right).append(moved);
        InnerMut::new(node).set_len(at);
        right
    }
}

/// Moves the children of `right`, the next node, to the end of `left`, which has room for them.
/// `key` and `first` are those of the first entry under `right`.
///
/// # Safety
/// Both are live inner nodes, which nothing refers to.
pub(super) unsafe fn join(left: Node, right: Node, key: u64, first: Member) {
    // SAFETY: both nodes are live without references; each reference made here ends in its line.
    unsafe {
        InnerMut::new(right).set_first(0, key, first);
        InnerMut::new(left).append(Inner::new(right));
        InnerMut::new(right).set_len(0);
    }
}
