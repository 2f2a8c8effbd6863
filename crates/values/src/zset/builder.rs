//! Making a large sorted set at once.

use super::SortedSet;
use super::indexed::Members;
use super::member::Member;
use super::score::{self, pack};
use crate::listpack::Listpack;
use crate::{Element, Thresholds};
use std::fmt;

/// Gathers members with scores and makes a sorted set of them at once: members are only looked up
/// by name until all are there, then sorted, and the tree is built from its leaves.
pub struct SortedSetBuilder {
    members: Members,
    /// The longest member, in bytes.
    longest: usize,
    /// Room for the order.
    order: Vec<(u64, Member)>,
}

// SAFETY: the members' blocks belong to the builder alone; `order` is empty until the end.
unsafe impl Send for SortedSetBuilder {}
// SAFETY: shared borrows only read.
unsafe impl Sync for SortedSetBuilder {}

impl SortedSetBuilder {
    /// An empty builder.
    pub fn new() -> SortedSetBuilder {
        SortedSetBuilder::with_capacity(0)
    }

    /// An empty builder for about `members` members.
    pub fn with_capacity(members: usize) -> SortedSetBuilder {
        SortedSetBuilder {
            members: Members::new(),
            longest: 0,
            order: Vec::with_capacity(members),
        }
    }

    /// Adds a member, or combines its score with the one that is there (there, new).
    pub fn merge(&mut self, member: &[u8], score: f64, combine: impl FnOnce(f64, f64) -> f64) {
        self.longest = self.longest.max(member.len());
        self.members.merge(member, score, combine);
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// True when there are no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sorted set, packed if the limits allow it.
    pub fn finish(self, limits: &Thresholds) -> SortedSet {
        let order = self.members.sort(self.order);
        let small = order.len() <= limits.zset_entries && self.longest <= limits.zset_value;
        match small.then(|| packed(&order)).flatten() {
            Some(listpack) => SortedSet::packed(listpack),
            None => SortedSet::indexed(self.members.index(&order)),
        }
    }
}

/// A listpack of members in order; none when it would become too large.
fn packed(order: &[(u64, Member)]) -> Option<Listpack> {
    let mut listpack = Listpack::new();
    for (_, member) in order {
        // SAFETY: the builder's members are live.
        let (member, score) = unsafe { member.pair() };
        let mut text = score::Text::default();
        let pair: [Element<'_>; 2] = [member, pack(score, &mut text)];
        if !listpack.push_back_elements(pair) {
            return None;
        }
    }
    Some(listpack)
}

impl Default for SortedSetBuilder {
    fn default() -> Self {
        SortedSetBuilder::new()
    }
}

impl fmt::Debug for SortedSetBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.len();
        f.debug_struct("SortedSetBuilder")
            .field("len", &len)
            .finish()
    }
}
