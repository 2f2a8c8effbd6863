//! A counted B+tree of the members of a sorted set, ordered by score and member.
//!
//! ```text
//!              inner node: keys, members, counts, children
//!             /               |               \
//!        inner node      inner node ...    inner node
//!        /   |   \
//!     leaf  leaf  leaf ...        an entry of a leaf is one word: the address of the member's
//!                                 block, and 19 bits of the score
//! ```
//! * Leaves have up to 126 entries, inner nodes up to 63 children. Both are blocks in sizes of the
//!   allocator, so a half-full node takes half the memory: splits need not aim at a fill.
//! * An inner node counts the entries under each child, which gives ranks; there are no links
//!   between leaves: going on to the next leaf is one search by rank in nodes that are in the
//!   cache.
//! * An inner node has the key and the address of the first entry under each child but the first.
//!   Only between equal scores members are compared, through the address.
//! * A full leaf at the right end of the tree stays full and a new one begins, and the same at the
//!   left end: ascending and descending scores fill leaves. Elsewhere it splits in halves.
//! * Small nodes join a neighbour when both together leave a quarter free. So of two neighbours
//!   under a parent the larger or both together are not small, and the height is bounded by about
//!   log 16 of the entries. Nothing here recurses deeper than the height.
//!
//! The tree does not own the members' blocks, but reads them: all of them are live while they are
//! in it, and the score in a block is the one that the entry was added with. A score changes only
//! between [`Tree::place`] and [`Tree::shift`], or while the entry is out of the tree.

mod bound;
mod inner;
mod iter;
mod leaf;

pub(super) use bound::{AtEntry, AtKey, AtText, Bound};
pub(super) use iter::Entries;

use super::member::Member;
use inner::{Child, Inner, InnerMut};
use leaf::{Leaf, LeafMut};
use smallvec::SmallVec;
use std::cmp::Ordering;
use std::ptr::NonNull;

/// A leaf or an inner node, depending on the level.
type Node = NonNull<u8>;

/// One inner node on the way to a leaf.
#[derive(Clone, Copy)]
struct Step {
    node: Node,
    child: usize,
}

/// The way from the root to a leaf. More than eight inner levels do not fit memory in practice.
type Path = SmallVec<[Step; 8]>;

/// The tree (see the module's documentation).
pub(super) struct Tree {
    root: Option<Node>,
    /// Inner levels above the leaves.
    height: usize,
    len: usize,
    /// Bytes of all nodes.
    bytes: usize,
}

impl Tree {
    pub(super) const fn new() -> Tree {
        Tree {
            root: None,
            height: 0,
            len: 0,
            bytes: 0,
        }
    }

    /// A tree of entries in order.
    pub(super) fn build(entries: &[(u64, Member)]) -> Tree {
        let mut tree = Tree::new();
        tree.len = entries.len();
        let mut level: Vec<Child> = even(entries, leaf::MAX_ENTRIES)
            .filter_map(|entries| {
                let (key, first) = *entries.first()?;
                let node = leaf::allocate(entries.len());
                // SAFETY: the leaf is new.
                unsafe {
                    LeafMut::new(node).fill(entries);
                    tree.bytes += Leaf::new(node).bytes();
                }
                let count = entries.len();
                Some(Child {
                    key,
                    first,
                    count,
                    node,
                })
            })
            .collect();
        while level.len() > 1 {
            tree.height += 1;
            level = even(&level, inner::MAX_CHILDREN)
                .filter_map(|children| {
                    let node = inner::allocate(children.len());
                    // SAFETY: the node is new.
                    let read = unsafe {
                        let mut inner = InnerMut::new(node);
                        for (at, child) in children.iter().enumerate() {
                            inner.insert(at, *child);
                        }
                        Inner::new(node)
                    };
                    tree.bytes += read.bytes();
                    let count = read.total();
                    Some(Child {
                        count,
                        node,
                        ..*children.first()?
                    })
                })
                .collect();
        }
        tree.root = level.first().map(|child| child.node);
        tree
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of all nodes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a member, of which there is no equal one.
    pub(super) fn insert(&mut self, key: u64, member: Member) {
        // SAFETY: the caller's member is live.
        let gap = self.gap(key, unsafe { member.text() });
        self.insert_at(gap, key, member);
    }

    /// Where a member goes that is not there.
    pub(super) fn gap(&self, key: u64, text: &[u8]) -> Gap {
        Gap(self.descend(&AtEntry {
            key,
            text,
            after: false,
        }))
    }

    /// Adds a member in its gap.
    pub(super) fn insert_at(&mut self, gap: Gap, key: u64, member: Member) {
        self.len += 1;
        let Some((path, node)) = gap.0 else {
            let root = leaf::allocate(1);
            // SAFETY: the leaf is new.
            unsafe {
                LeafMut::new(root).insert(0, key, member);
                self.bytes += Leaf::new(root).bytes();
            }
            self.root = Some(root);
            return;
        };
        // SAFETY: the caller's member is live.
        let text = unsafe { member.text() };
        let place = AtEntry {
            key,
            text,
            after: false,
        };
        for step in &path {
            // SAFETY: nodes of the tree are live, and &mut self excludes other references.
            *unsafe { InnerMut::new(step.node) }.count_mut(step.child) += 1;
        }
        // SAFETY: the leaf and its members are live, and &mut self excludes changes while it is
        // read.
        let leaf = unsafe { Leaf::new(node) };
        let at = leaf.position(&place);
        if leaf.is_full() {
            self.insert_full(path, node, at, key, member);
        } else {
            let node = self.make_room(&path, node);
            // SAFETY: the leaf and its members are live; no other reference to it is used any more.
            unsafe { LeafMut::new(node) }.insert(at, key, member);
        }
    }

    /// As the end of `insert`, when the leaf is full. The path has counted the entry.
    fn insert_full(&mut self, path: Path, node: Node, at: usize, key: u64, member: Member) {
        let edge = self.edge(&path);
        // SAFETY: nodes of the tree are live, its members are, and &mut self excludes other
        // references.
        let len = unsafe { Leaf::new(node) }.len();
        let at_end = at == len;
        if at_end && !edge.right && self.insert_right(&path, key, member) {
            return;
        }
        let (cut, room) = match (at_end && edge.right, at == 0 && edge.left) {
            (true, _) => (len, leaf::MAX_ENTRIES),
            (_, true) => (0, len),
            _ => (len / 2, len - len / 2 + 1),
        };
        // SAFETY: nodes of the tree are live, its members are, and &mut self excludes other
        // references; those made here end before the nodes change.
        let child = unsafe {
            let right = leaf::split(node, cut, room);
            self.bytes += Leaf::new(right).bytes();
            let to_right = at > cut || at == cut && cut == len;
            if cut != len && cut != 0 {
                self.shrink_leaf(&path, node);
            }
            let left = self.node_at(&path);
            let (to, at) = if to_right {
                (right, at - cut)
            } else {
                (left, at)
            };
            let to = if to_right {
                to
            } else {
                self.make_room(&path, to)
            };
            LeafMut::new(to).insert(at, key, member);
            let read = Leaf::new(right);
            let (key, first) = read.first().unwrap_or((key, member));
            Child {
                key,
                first,
                count: read.len(),
                node: right,
            }
        };
        self.insert_child(path, child, edge);
    }

    /// Puts an entry at the beginning of the next leaf under the same parent, if there is one with
    /// room.
    fn insert_right(&mut self, path: &[Step], key: u64, member: Member) -> bool {
        let Some(step) = path.last() else {
            return false;
        };
        // SAFETY: nodes of the tree are live, its members are, and &mut self excludes other
        // references.
        unsafe {
            let next = step.child + 1;
            let parent = Inner::new(step.node);
            if next == parent.len() || Leaf::new(parent.node(next)).is_full() {
                return false;
            }
            let mut parent = InnerMut::new(step.node);
            *parent.count_mut(step.child) -= 1;
            *parent.count_mut(next) += 1;
            parent.set_first(next, key, member);
            let way = [Step {
                node: step.node,
                child: next,
            }];
            let leaf = Inner::new(step.node).node(next);
            let leaf = self.make_room(&way, leaf);
            LeafMut::new(leaf).insert(0, key, member);
        }
        true
    }

    /// Adds `child` after the node that the path leads to, of which it was split off; counts above
    /// the path include its entries.
    fn insert_child(&mut self, mut path: Path, mut child: Child, edge: Edge) {
        while let Some(step) = path.pop() {
            let at = step.child + 1;
            // SAFETY: nodes of the tree are live, and &mut self excludes other references.
            unsafe {
                *InnerMut::new(step.node).count_mut(step.child) -= child.count;
                let inner = Inner::new(step.node);
                let len = inner.len();
                if !inner.is_full() {
                    let mut node = step.node;
                    if inner.needs_growth() {
                        let grown;
                        (node, grown) = inner::resize(node, len + 1);
                        self.account(grown);
                        self.set_node_at(&path, node);
                    }
                    InnerMut::new(node).insert(at, child);
                    return;
                }
                let cut = if at == len && edge.right {
                    len
                } else if at == 1 && edge.left {
                    1
                } else {
                    len / 2
                };
                let right = inner::split(step.node, cut);
                self.bytes += Inner::new(right).bytes();
                let to_left = at < cut || at == cut && cut != 1 && cut != len;
                if to_left {
                    InnerMut::new(step.node).insert(at, child);
                } else {
                    InnerMut::new(right).insert(at - cut, child);
                }
                let (left, shrunk) = inner::resize(step.node, Inner::new(step.node).len());
                self.account(shrunk);
                self.set_node_at(&path, left);
                let read = Inner::new(right);
                child = Child {
                    count: read.total(),
                    node: right,
                    ..read.child(0)
                };
            }
        }
        let Some(left) = self.root else {
            return;
        };
        let root = inner::allocate(2);
        let count = self.len - child.count;
        // SAFETY: the node is new.
        unsafe {
            let mut inner = InnerMut::new(root);
            inner.insert(
                0,
                Child {
                    count,
                    node: left,
                    ..child
                },
            );
            inner.insert(1, child);
            self.bytes += Inner::new(root).bytes();
        }
        self.root = Some(root);
        self.height += 1;
    }

    /// Takes a member out. False when it is not there.
    pub(super) fn remove(&mut self, key: u64, member: Member) -> bool {
        let Some((path, leaf, at)) = self.locate(key, member) else {
            return false;
        };
        self.remove_at(path, leaf, at, 1);
        true
    }

    /// Takes up to `count` members out of one leaf, from a rank on. Returns them, in order; none
    /// only when there are none.
    pub(super) fn remove_some(
        &mut self,
        rank: usize,
        count: usize,
    ) -> SmallVec<[Member; leaf::MAX_ENTRIES]> {
        let mut removed = SmallVec::new();
        let Some((path, node, at)) = self.seek(rank) else {
            return removed;
        };
        // SAFETY: nodes of the tree are live.
        let words = unsafe { Leaf::new(node) }.words;
        removed.extend(words.iter().skip(at).take(count).map(|word| word.member()));
        if !removed.is_empty() {
            self.remove_at(path, node, at, removed.len());
        }
        removed
    }

    /// Takes `count` entries from position `at` on out of a leaf.
    fn remove_at(&mut self, path: Path, node: Node, at: usize, count: usize) {
        self.len -= count;
        // SAFETY: nodes of the tree are live, its members are, and &mut self excludes other
        // references.
        unsafe {
            for step in &path {
                *InnerMut::new(step.node).count_mut(step.child) -= count;
            }
            LeafMut::new(node).remove(at..at + count);
            let leaf = Leaf::new(node);
            if leaf.len() == 0 {
                self.bytes -= leaf::free(node);
                return self.remove_child(path);
            }
            if at == 0
                && let Some((key, first)) = leaf.first()
            {
                set_first(&path, key, first);
            }
        }
        self.settle_leaf(path, node);
    }

    /// After entries were removed from a leaf: joins it with a neighbour or makes it smaller.
    fn settle_leaf(&mut self, path: Path, node: Node) {
        // SAFETY: nodes of the tree are live.
        let len = unsafe { Leaf::new(node) }.len();
        if len < leaf::MIN_ENTRIES && self.join(&path, 0) {
            self.settle_inner(path);
        } else {
            self.shrink_leaf(&path, node);
        }
    }

    /// Removes the node that the path leads to, which was freed, from its parent.
    fn remove_child(&mut self, mut path: Path) {
        while let Some(step) = path.pop() {
            // SAFETY: nodes of the tree are live, and &mut self excludes other references.
            unsafe {
                InnerMut::new(step.node).remove(step.child);
                let inner = Inner::new(step.node);
                if inner.len() == 0 {
                    self.bytes -= inner::free(step.node);
                    continue;
                }
                if step.child == 0 {
                    set_first(&path, inner.keys[0], inner.first(0));
                }
            }
            path.push(step);
            return self.settle_inner(path);
        }
        self.root = None;
        self.height = 0;
    }

    /// After the last node of the path lost a child: joins it with a neighbour, and so on upwards.
    fn settle_inner(&mut self, mut path: Path) {
        while let Some(step) = path.pop() {
            // SAFETY: nodes of the tree are live.
            let len = unsafe { Inner::new(step.node) }.len();
            let level = self.height - path.len();
            if len >= inner::MIN_CHILDREN || !self.join(&path, level) {
                break;
            }
        }
        self.drop_root();
    }

    /// While the root has one child, that is the root.
    fn drop_root(&mut self) {
        while self.height > 0
            && let Some(root) = self.root
        {
            // SAFETY: nodes of the tree are live; the old root is freed and not used again.
            unsafe {
                let inner = Inner::new(root);
                if inner.len() > 1 {
                    return;
                }
                self.root = Some(inner.node(0));
                self.bytes -= inner::free(root);
            }
            self.height -= 1;
        }
    }

    /// Joins the node that the path leads to, on a level counted from the leaves, with the next or
    /// the previous one under the same parent, if one is small enough. The path leads to the result
    /// or beside.
    fn join(&mut self, path: &[Step], level: usize) -> bool {
        let Some(step) = path.last() else {
            return false;
        };
        let before = step.child.checked_sub(1);
        let pairs = [Some(step.child), before].into_iter().flatten();
        // SAFETY: nodes of the tree are live, its members are, and &mut self excludes other
        // references.
        unsafe {
            for at in pairs {
                let parent = Inner::new(step.node);
                if at + 1 >= parent.len() {
                    continue;
                }
                let (left, right) = (parent.child(at), parent.child(at + 1));
                let (joined, fits) = if level == 0 {
                    let count = left.count + right.count;
                    (count, count <= leaf::JOIN_ENTRIES)
                } else {
                    let count = Inner::new(left.node).len() + Inner::new(right.node).len();
                    (count, count <= inner::JOIN_CHILDREN)
                };
                if !fits {
                    continue;
                }
                let (node, grown, freed);
                if level == 0 {
                    (node, grown) = leaf::resize(left.node, joined);
                    leaf::join(node, right.node);
                    freed = leaf::free(right.node);
                } else {
                    (node, grown) = inner::resize(left.node, joined);
                    inner::join(node, right.node, right.key, right.first);
                    freed = inner::free(right.node);
                }
                self.account(grown);
                self.bytes -= freed;
                let mut parent = InnerMut::new(step.node);
                parent.set_node(at, node);
                *parent.count_mut(at) += right.count;
                parent.remove(at + 1);
                return true;
            }
        }
        false
    }

    /// Where a member stands, for [`Tree::shift`]: before its score changes.
    pub(super) fn place(&self, key: u64, member: Member) -> Option<Place> {
        let (path, node, at) = self.locate(key, member)?;
        let (mut lower, mut upper) = (None, None);
        for step in &path {
            // SAFETY: nodes of the tree are live.
            let inner = unsafe { Inner::new(step.node) };
            if step.child > 0 {
                lower = Some((inner.keys[step.child], inner.first(step.child)));
            }
            if let Some(key) = inner.keys.get(step.child + 1) {
                upper = Some((*key, inner.first(step.child + 1)));
            }
        }
        Some(Place {
            path,
            node,
            at,
            lower,
            upper,
        })
    }

    /// Whether a member, with another key, would still be in the leaf where it stands.
    pub(super) fn stays(&self, place: &Place, key: u64, member: Member) -> bool {
        // SAFETY: members of the tree are live, and so is the caller's.
        let order = |(there, other): (u64, Member)| unsafe {
            there
                .cmp(&key)
                .then_with(|| other.text().cmp(member.text()))
        };
        place
            .lower
            .is_none_or(|lower| order(lower) != Ordering::Greater)
            && place
                .upper
                .is_none_or(|upper| order(upper) == Ordering::Greater)
    }

    /// Gives the member at a place another key, and perhaps another block with the same text. It
    /// stays in its leaf; the new block has the new score already.
    pub(super) fn shift(&mut self, place: Place, key: u64, member: Member) {
        // SAFETY: nodes of the tree are live, its members are, and &mut self excludes other
        // references.
        unsafe {
            let mut leaf = LeafMut::new(place.node);
            let text = member.text();
            let to = leaf.read().position_without(
                place.at,
                &AtEntry {
                    key,
                    text,
                    after: false,
                },
            );
            leaf.shift(place.at, to, key, member);
            if (place.at == 0 || to == 0)
                && let Some((key, first)) = leaf.read().first()
            {
                set_first(&place.path, key, first);
            }
        }
    }

    /// Takes the member at a place out.
    pub(super) fn remove_place(&mut self, place: Place) {
        self.remove_at(place.path, place.node, place.at, 1);
    }

    /// How many members are before this one.
    pub(super) fn rank(&self, key: u64, member: Member) -> Option<usize> {
        let (path, _, at) = self.locate(key, member)?;
        Some(before(&path) + at)
    }

    /// How many members are before a place.
    pub(super) fn count_before(&self, bound: &impl Bound) -> usize {
        let Some((path, node)) = self.descend(bound) else {
            return 0;
        };
        let before = before(&path);
        // SAFETY: nodes of the tree are live, and its members are.
        before + unsafe { Leaf::new(node) }.position(bound)
    }

    /// The members with these ranks.
    pub(super) fn range(&self, start: usize, end: usize) -> Entries<'_> {
        Entries::new(self, start, end)
    }

    /// Frees all nodes and gives every member to `visit`, which may free it.
    pub(super) fn drain(&mut self, mut visit: impl FnMut(Member)) {
        if let Some(root) = self.root.take() {
            drain(root, self.height, &mut visit);
        }
        (self.height, self.len, self.bytes) = (0, 0, 0);
    }

    /// The leaf under which a place lies, and the way to it.
    #[inline]
    fn descend(&self, bound: &impl Bound) -> Option<(Path, Node)> {
        let mut node = self.root?;
        let mut path = Path::new();
        for level in (0..self.height).rev() {
            // SAFETY: nodes of the tree are live, and its members are.
            let inner = unsafe { Inner::new(node) };
            let child = inner.child_at(bound);
            path.push(Step { node, child });
            node = inner.node(child);
            if level == 0 {
                leaf::prefetch_leaf(node, inner.counts[child]);
            } else {
                inner::prefetch_inner(node);
            }
        }
        Some((path, node))
    }

    /// The leaf and position of an entry, and the way to it.
    fn locate(&self, key: u64, member: Member) -> Option<(Path, Node, usize)> {
        // SAFETY: the caller's member is live.
        let text = unsafe { member.text() };
        let (path, node) = self.descend(&AtEntry {
            key,
            text,
            after: true,
        })?;
        // SAFETY: nodes of the tree are live, and its members are.
        let at = unsafe { Leaf::new(node) }.find(key, member);
        debug_assert!(at.is_some(), "a member stands where its score says");
        Some((path, node, at?))
    }

    /// The leaf and position of a rank, and the way to it.
    fn seek(&self, mut rank: usize) -> Option<(Path, Node, usize)> {
        if rank >= self.len {
            return None;
        }
        let mut node = self.root?;
        let mut path = Path::new();
        for _ in 0..self.height {
            // SAFETY: nodes of the tree are live.
            let inner = unsafe { Inner::new(node) };
            let mut child = 0;
            for count in inner.counts {
                if rank < *count {
                    break;
                }
                rank -= count;
                child += 1;
            }
            path.push(Step { node, child });
            node = inner.node(child);
        }
        Some((path, node, rank))
    }

    /// Whether a path leads along an edge of the tree.
    fn edge(&self, path: &[Step]) -> Edge {
        let right = path.iter().all(|step| {
            // SAFETY: nodes of the tree are live.
            step.child + 1 == unsafe { Inner::new(step.node) }.len()
        });
        Edge {
            left: path.iter().all(|step| step.child == 0),
            right,
        }
    }

    /// The node that a path leads to.
    fn node_at(&self, path: &[Step]) -> Node {
        let node = match path.last() {
            // SAFETY: nodes of the tree are live.
            Some(step) => Some(unsafe { Inner::new(step.node) }.node(step.child)),
            None => self.root,
        };
        let Some(node) = node else {
            unreachable!("a path leads to a node")
        };
        node
    }

    fn set_node_at(&mut self, path: &[Step], node: Node) {
        match path.last() {
            // SAFETY: nodes of the tree are live, and &mut self excludes other references.
            Some(step) => unsafe { InnerMut::new(step.node) }.set_node(step.child, node),
            None => self.root = Some(node),
        }
    }

    /// Makes room for one more entry in the leaf that a path leads to; returns the leaf.
    fn make_room(&mut self, path: &[Step], node: Node) -> Node {
        // SAFETY: nodes of the tree are live.
        match leaf::growth(unsafe { Leaf::new(node) }) {
            Some(entries) => self.resize_leaf(path, node, entries),
            None => node,
        }
    }

    fn shrink_leaf(&mut self, path: &[Step], node: Node) {
        // SAFETY: nodes of the tree are live.
        if let Some(entries) = leaf::shrinkage(unsafe { Leaf::new(node) }) {
            self.resize_leaf(path, node, entries);
        }
    }

    fn resize_leaf(&mut self, path: &[Step], node: Node, entries: usize) -> Node {
        // SAFETY: nodes of the tree are live; the place of the old one gets the new one.
        let (node, grown) = unsafe { leaf::resize(node, entries) };
        self.account(grown);
        self.set_node_at(path, node);
        node
    }

    fn account(&mut self, grown: isize) {
        self.bytes = self.bytes.wrapping_add_signed(grown);
    }
}

/// Which edges of the tree a path leads along.
#[derive(Clone, Copy)]
struct Edge {
    left: bool,
    right: bool,
}

/// The leaf where a member goes, until the tree changes.
pub(super) struct Gap(Option<(Path, Node)>);

/// Where a member stands, until the tree changes.
pub(super) struct Place {
    path: Path,
    node: Node,
    at: usize,
    /// The first entry that belongs into the leaf; none in the first leaf.
    lower: Option<(u64, Member)>,
    /// The first entry of the next leaf.
    upper: Option<(u64, Member)>,
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.drain(|_| ());
    }
}

/// The first entry under the node that the path leads to is another one.
///
/// # Safety
/// The path's nodes are live, and nothing refers to them.
unsafe fn set_first(path: &[Step], key: u64, first: Member) {
    // Where the path turns off from child 0, the node has the entry as a separator.
    if let Some(step) = path.iter().rev().find(|step| step.child > 0) {
        // SAFETY: the caller passes a path of live nodes without references.
        unsafe { InnerMut::new(step.node) }.set_first(step.child, key, first);
    }
}

/// How many entries are before the leaf that a path leads to.
fn before(path: &[Step]) -> usize {
    let counts = path.iter().map(|step| {
        // SAFETY: paths are of live nodes.
        let inner = unsafe { Inner::new(step.node) };
        inner.counts[..step.child].iter().sum::<usize>()
    });
    counts.sum()
}

/// Parts a slice in as few pieces of at most `most` as possible, all about equally long.
fn even<T>(all: &[T], most: usize) -> impl Iterator<Item = &[T]> {
    let pieces = all.len().div_ceil(most);
    let bound = move |piece: usize| (all.len() as u128 * piece as u128 / pieces as u128) as usize;
    (0..pieces).map(move |piece| &all[bound(piece)..bound(piece + 1)])
}

/// Frees a subtree; recurses as deep as the tree is high.
fn drain(node: Node, height: usize, visit: &mut impl FnMut(Member)) {
    // SAFETY: nodes of the tree are live, and this one is not used again.
    unsafe {
        if height > 0 {
            let inner = Inner::new(node);
            (0..inner.len()).for_each(|child| drain(inner.node(child), height - 1, visit));
            inner::free(node);
            return;
        }
        let words = Leaf::new(node).words;
        words.iter().for_each(|word| {
            crate::table::prefetch(word.member().as_ptr().as_ptr());
        });
        words.iter().for_each(|word| visit(word.member()));
        leaf::free(node);
    }
}

#[cfg(test)]
impl Tree {
    /// Checks order, counts, separators, sizes and sums; panics at what does not hold.
    pub(super) fn check(&self) {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        if let Some(root) = self.root {
            check(root, self.height, &mut entries, &mut bytes);
        }
        assert_eq!((entries.len(), bytes), (self.len, self.bytes));
        // SAFETY: members of the tree are live.
        assert!(entries.is_sorted_by(|a, b| unsafe { (a.0, a.1.text()) < (b.0, b.1.text()) }));
        assert!(self.root.is_some() || self.height == 0);
    }
}

/// Checks a subtree, and adds its entries and bytes.
#[cfg(test)]
fn check(node: Node, height: usize, entries: &mut Vec<(u64, Member)>, bytes: &mut usize) {
    if height == 0 {
        // SAFETY: nodes of the tree are live.
        let leaf = unsafe { Leaf::new(node) };
        leaf.check(|key, member| entries.push((key, member)));
        *bytes += leaf.bytes();
        return;
    }
    // SAFETY: nodes of the tree are live.
    let inner = unsafe { Inner::new(node) };
    assert!((1..=inner::MAX_CHILDREN).contains(&inner.len()));
    *bytes += inner.bytes();
    for at in 0..inner.len() {
        let start = entries.len();
        check(inner.node(at), height - 1, entries, bytes);
        assert_eq!(entries.len() - start, inner.counts[at]);
        if at > 0 {
            assert_eq!(entries[start], (inner.keys[at], inner.first(at)));
        }
    }
}
