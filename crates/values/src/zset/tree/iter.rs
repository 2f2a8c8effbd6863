//! Entries by rank, from both ends.

use super::leaf::{self, Leaf, Word};
use super::{Inner, Member, Tree};
use crate::table::prefetch;

/// Blocks that are fetched ahead of the one that is given out: as many as the memory works on at a
/// time.
const LOOKAHEAD: usize = 16;

/// The members with ranks from `start` to `end`. They are live as long as the tree is borrowed.
pub(in crate::zset) struct Entries<'a> {
    tree: &'a Tree,
    start: usize,
    end: usize,
    front: Run<'a>,
    back: Run<'a>,
}

/// Entries of one leaf.
#[derive(Clone, Copy)]
struct Run<'a> {
    /// The rank of the first word.
    rank: usize,
    words: &'a [Word],
}

impl<'a> Run<'a> {
    #[inline]
    fn get(&self, rank: usize) -> Option<Word> {
        self.words.get(rank.checked_sub(self.rank)?).copied()
    }

    #[inline]
    fn prefetch(&self, rank: usize) {
        if let Some(word) = self.get(rank) {
            prefetch(word.member().as_ptr().as_ptr());
        }
    }
}

impl<'a> Entries<'a> {
    pub(super) fn new(tree: &'a Tree, start: usize, end: usize) -> Entries<'a> {
        let end = end.min(tree.len);
        let nothing = Run {
            rank: 0,
            words: &[],
        };
        Entries {
            tree,
            start: start.min(end),
            end,
            front: nothing,
            back: nothing,
        }
    }

    /// The leaf that has an entry; the leaves beside it are fetched.
    fn run(&self, rank: usize) -> Run<'a> {
        let Some((path, node, at)) = self.tree.seek(rank) else {
            return Run { rank, words: &[] };
        };
        if let Some(step) = path.last() {
            // SAFETY: nodes of the tree are live, and the borrow of the tree keeps them as they
            // are.
            let parent = unsafe { Inner::new(step.node) };
            let (start, end) = (rank - at, rank - at + parent.counts[step.child]);
            let next = step.child + 1;
            if end < self.end && next < parent.len() {
                leaf::prefetch_leaf(parent.node(next), parent.counts[next]);
            }
            if start > self.start
                && let Some(before) = step.child.checked_sub(1)
            {
                leaf::prefetch_leaf(parent.node(before), parent.counts[before]);
            }
        }
        // SAFETY: nodes of the tree are live, and the borrow of the tree keeps them as they are.
        let words = unsafe { Leaf::new(node) }.words;
        Run {
            rank: rank - at,
            words,
        }
    }

    #[cold]
    fn enter_front(&mut self) {
        self.front = self.run(self.start);
        (self.start..self.end.min(self.start + LOOKAHEAD))
            .for_each(|rank| self.front.prefetch(rank));
    }

    #[cold]
    fn enter_back(&mut self) {
        self.back = self.run(self.end - 1);
        let start = self.start.max(self.end.saturating_sub(LOOKAHEAD));
        (start..self.end).for_each(|rank| self.back.prefetch(rank));
    }
}

impl Iterator for Entries<'_> {
    type Item = Member;

    #[inline]
    fn next(&mut self) -> Option<Member> {
        if self.start == self.end {
            return None;
        }
        if self.front.get(self.start).is_none() {
            self.enter_front();
        }
        let word = self.front.get(self.start)?;
        self.start += 1;
        let ahead = self.start + LOOKAHEAD - 1;
        if ahead < self.end {
            self.front.prefetch(ahead);
        }
        Some(word.member())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.end - self.start;
        (len, Some(len))
    }

    fn nth(&mut self, skipped: usize) -> Option<Member> {
        self.start = self.start.saturating_add(skipped).min(self.end);
        self.next()
    }
}

impl DoubleEndedIterator for Entries<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Member> {
        if self.start == self.end {
            return None;
        }
        let rank = self.end - 1;
        if self.back.get(rank).is_none() {
            self.enter_back();
        }
        let word = self.back.get(rank)?;
        self.end = rank;
        if let Some(ahead) = rank.checked_sub(LOOKAHEAD)
            && ahead >= self.start
        {
            self.back.prefetch(ahead);
        }
        Some(word.member())
    }

    fn nth_back(&mut self, skipped: usize) -> Option<Member> {
        self.end = self.end.saturating_sub(skipped).max(self.start);
        self.next_back()
    }
}

impl ExactSizeIterator for Entries<'_> {}
