//! Which elements of a collection have a deadline, earliest first.

use std::collections::BTreeSet;
use std::ptr::NonNull;

/// The effect of a write on the deadline of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldDeadline {
    /// The field loses its deadline.
    Clear,
    /// The field keeps the deadline it has.
    Keep,
    /// Absolute unix milliseconds.
    At(u64),
}

/// An ordered index of the elements with a deadline. It does not own the elements: code that moves
/// or frees one updates the index.
#[derive(Default)]
pub(crate) struct Deadlines {
    /// Deadline in unix milliseconds and element. Pointers and not addresses, so that an element
    /// found here may be read and freed through what is found.
    entries: BTreeSet<(u64, NonNull<u8>)>,
}

// SAFETY: the index compares addresses of elements and never reads an element. Reading one through
// an address takes an unsafe block of the caller's.
unsafe impl Send for Deadlines {}
// SAFETY: methods taking &self only read the index, and never the elements.
unsafe impl Sync for Deadlines {}

/// Bytes of one entry of a B-tree, on average: nodes of up to 11 entries of 16 bytes with 16 bytes
/// of their own are about two thirds full, and one node in nine has children.
const ENTRY_BYTES: usize = 27;

impl Deadlines {
    /// Adds an element that is not in the index yet.
    pub(crate) fn insert(&mut self, deadline: u64, element: NonNull<u8>) {
        let added = self.entries.insert((deadline, element));
        debug_assert!(added, "an element has one deadline");
    }

    /// Removes an element; `deadline` is the one that it was added with.
    pub(crate) fn remove(&mut self, deadline: u64, element: NonNull<u8>) {
        let removed = self.entries.remove(&(deadline, element));
        debug_assert!(removed, "an element with a deadline stands in the index");
    }

    /// The element with the earliest deadline, and the deadline.
    pub(crate) fn first(&self) -> Option<(u64, NonNull<u8>)> {
        self.entries.first().copied()
    }

    /// Number of elements with a deadline.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when no element has a deadline.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of the index with its own struct, in a box. An estimate: the tree does not expose its
    /// nodes.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of::<Deadlines>() + self.entries.len() * ENTRY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earliest_first() {
        let blocks = [1u64, 2, 3];
        let element = |i: usize| NonNull::from(&blocks[i]).cast::<u8>();
        let mut deadlines = Deadlines::default();
        assert_eq!(deadlines.first(), None);
        deadlines.insert(30, element(0));
        deadlines.insert(10, element(1));
        deadlines.insert(20, element(2));
        assert_eq!(deadlines.first(), Some((10, element(1))));
        deadlines.remove(10, element(1));
        assert_eq!(deadlines.first(), Some((20, element(2))));
        deadlines.remove(20, element(2));
        deadlines.remove(30, element(0));
        assert!(deadlines.is_empty());
        assert_eq!(deadlines.len(), 0);
    }
}
