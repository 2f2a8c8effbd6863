//! Sorted sets.

use crate::{Element, Thresholds};
use std::cmp::Ordering;
use std::ops::Range;

/// What [`SortedSet::insert`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// The member is new.
    Added,
    /// The member has another score now.
    Moved,
    /// The member had this score already.
    Same,
}

/// Scores from a lower to an upper bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    /// The lower bound.
    pub min: f64,
    /// The lower bound itself is not included.
    pub min_exclusive: bool,
    /// The upper bound.
    pub max: f64,
    /// The upper bound itself is not included.
    pub max_exclusive: bool,
}

/// A bound of a range of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LexBound<'a> {
    /// Before all members.
    Min,
    /// After all members.
    Max,
    /// The member and what is inside.
    Inclusive(&'a [u8]),
    /// Only what is inside.
    Exclusive(&'a [u8]),
}

/// Members from a lower to an upper bound, in the order of their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LexRange<'a> {
    /// The lower bound.
    pub min: LexBound<'a>,
    /// The upper bound.
    pub max: LexBound<'a>,
}

#[derive(Clone, Debug)]
struct Member {
    name: Vec<u8>,
    score: f64,
    deadline: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Model {
    members: Vec<Member>,
    is_indexed: bool,
    align: u64,
}

/// A sorted set: members with scores, ordered by score and, where scores are equal, by the member's bytes.
#[derive(Clone, Debug)]
pub struct SortedSet(Box<Model>);

impl Default for SortedSet {
    fn default() -> Self {
        SortedSet::new()
    }
}

fn order(a_score: f64, a: &[u8], b_score: f64, b: &[u8]) -> Ordering {
    let scores = a_score.partial_cmp(&b_score).unwrap_or(Ordering::Equal);
    scores.then_with(|| a.cmp(b))
}

impl SortedSet {
    /// An empty sorted set.
    pub fn new() -> SortedSet {
        SortedSet(Box::default())
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.0.members.len()
    }

    /// True when there are no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True for the packed form.
    pub fn is_packed(&self) -> bool {
        !self.0.is_indexed
    }

    fn find(&self, member: &[u8]) -> Option<usize> {
        self.0.members.iter().position(|it| it.name == member)
    }

    /// The score of a member.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.rank(member).map(|(_, score)| score)
    }

    /// Adds a member or gives it another score (never NaN).
    pub fn insert(&mut self, member: &[u8], score: f64, limits: &Thresholds) -> Inserted {
        let (result, deadline) = match self.find(member) {
            Some(at) if self.0.members.get(at).is_some_and(|it| it.score == score) => {
                return Inserted::Same;
            }
            Some(at) => (Inserted::Moved, self.0.members.remove(at).deadline),
            None => (Inserted::Added, None),
        };
        let at = self
            .0
            .members
            .partition_point(|it| order(it.score, &it.name, score, member).is_lt());
        self.0.members.insert(
            at,
            Member {
                name: member.to_vec(),
                score,
                deadline,
            },
        );
        self.convert(limits);
        result
    }

    /// Removes a member and returns its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let at = self.find(member)?;
        Some(self.0.members.remove(at).score)
    }

    /// How many members are before this one, and its score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let at = self.find(member)?;
        self.0.members.get(at).map(|it| (at, it.score))
    }

    fn clamp(&self, ranks: Range<usize>) -> Range<usize> {
        let end = ranks.end.min(self.len());
        ranks.start.min(end)..end
    }

    /// The members with these ranks, in order.
    pub fn range(
        &self,
        ranks: Range<usize>,
    ) -> impl DoubleEndedIterator<Item = (Element<'_>, f64)> + ExactSizeIterator {
        let found = self.0.members.get(self.clamp(ranks)).unwrap_or_default();
        found.iter().map(|it| (Element::Bytes(&it.name), it.score))
    }

    /// All members, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Element<'_>, f64)> + ExactSizeIterator {
        self.range(0..self.len())
    }

    /// Removes the members with these ranks. Returns how many.
    pub fn remove_range(
        &mut self,
        ranks: Range<usize>,
        removed: &mut dyn FnMut(Element<'_>, f64),
    ) -> usize {
        let ranks = self.clamp(ranks);
        let count = ranks.len();
        for member in self.0.members.drain(ranks) {
            removed(Element::Bytes(&member.name), member.score);
        }
        count
    }

    /// The ranks of the members with such scores.
    pub fn score_range(&self, range: &ScoreRange) -> Range<usize> {
        let start = self.0.members.partition_point(|it| {
            it.score < range.min || (range.min_exclusive && it.score == range.min)
        });
        let end = self.0.members.partition_point(|it| {
            it.score < range.max || (!range.max_exclusive && it.score == range.max)
        });
        start..end.max(start)
    }

    /// The ranks of these members, when all scores are equal.
    pub fn lex_range(&self, range: &LexRange<'_>) -> Range<usize> {
        let start = self.0.members.partition_point(|it| match range.min {
            LexBound::Min => false,
            LexBound::Max => true,
            LexBound::Inclusive(bound) => it.name[..] < *bound,
            LexBound::Exclusive(bound) => it.name[..] <= *bound,
        });
        let end = self.0.members.partition_point(|it| match range.max {
            LexBound::Min => false,
            LexBound::Max => true,
            LexBound::Inclusive(bound) => it.name[..] <= *bound,
            LexBound::Exclusive(bound) => it.name[..] < *bound,
        });
        start..end.max(start)
    }

    /// A random member.
    pub fn random(&self, rng: &mut impl FnMut() -> u64) -> Option<(Element<'_>, f64)> {
        self.iter().nth(rng() as usize % self.len().max(1))
    }

    /// Visits some members from a cursor on and returns the next cursor, 0 at the end.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(Element<'_>, f64)) -> u64 {
        let from = cursor as usize;
        let step = if self.is_packed() { usize::MAX } else { 4 };
        for (member, score) in self.iter().skip(from).take(step) {
            visit(member, score);
        }
        let next = from.saturating_add(step);
        if next >= self.len() { 0 } else { next as u64 }
    }

    /// The deadline of a member; `None` when there is no such member.
    pub fn deadline(&self, member: &[u8]) -> Option<Option<u64>> {
        let found = self.0.members.get(self.find(member)?)?;
        Some(found.deadline)
    }

    /// Sets or clears the deadline of a member. False when there is no such member.
    pub fn set_deadline(&mut self, member: &[u8], deadline: Option<u64>) -> bool {
        let Some(found) = self.find(member).and_then(|at| self.0.members.get_mut(at)) else {
            return false;
        };
        found.deadline = deadline;
        self.0.is_indexed |= deadline.is_some();
        true
    }

    /// Number of members with a deadline.
    pub fn volatile_len(&self) -> usize {
        let members = self.0.members.iter();
        members.filter(|member| member.deadline.is_some()).count()
    }

    /// The earliest deadline of a member.
    pub fn next_deadline(&self) -> Option<u64> {
        self.0.members.iter().filter_map(|it| it.deadline).min()
    }

    /// Removes at most `budget` members whose deadline is not after `now_ms`, the earliest first. Returns
    /// how many.
    pub fn expire(&mut self, now_ms: u64, budget: usize, expired: &mut dyn FnMut(&[u8])) -> usize {
        let mut count = 0;
        while count < budget {
            let members = self.0.members.iter().enumerate();
            let due = members
                .filter_map(|(at, member)| Some((member.deadline?, at)))
                .filter(|(deadline, _)| *deadline <= now_ms)
                .min();
            let Some((_, at)) = due else { break };
            let gone = self.0.members.remove(at);
            expired(&gone.name);
            count += 1;
        }
        count
    }

    /// Leaves the packed form when a limit is exceeded.
    pub fn convert(&mut self, limits: &Thresholds) {
        let members = &self.0.members;
        if members.len() > limits.zset_entries
            || members.iter().any(|it| it.name.len() > limits.zset_value)
        {
            self.0.is_indexed = true;
        }
        self.0.align = 0;
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.0.members.iter().map(|it| it.name.len() + 24).sum()
    }
}

/// Gathers members with scores and makes a sorted set of them at once.
#[derive(Debug, Default)]
pub struct SortedSetBuilder(SortedSet);

impl SortedSetBuilder {
    /// An empty builder.
    pub fn new() -> SortedSetBuilder {
        SortedSetBuilder::default()
    }

    /// An empty builder for about `members` members.
    pub fn with_capacity(members: usize) -> SortedSetBuilder {
        let _ = members;
        SortedSetBuilder::default()
    }

    /// Adds a member, or combines its score with the one that is there (there, new).
    pub fn merge(&mut self, member: &[u8], score: f64, combine: impl FnOnce(f64, f64) -> f64) {
        let score = match self.0.score(member) {
            Some(there) => combine(there, score),
            None => score,
        };
        self.0.insert(member, score, &Thresholds::default());
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there are no members.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sorted set.
    pub fn finish(self, limits: &Thresholds) -> SortedSet {
        let mut set = self.0;
        set.0.is_indexed = false;
        set.convert(limits);
        set
    }
}
