//! Sorted sets: members with scores, in the order of the scores.
//!
//! A small sorted set is a listpack of members, each followed by its score. A large one is a table
//! of its members and a counted B+tree of them, where Redis has a skiplist beside its table: a tree
//! has fewer cache misses on the way down, and no pointers between entries. Only the large form
//! stores deadlines. A sorted set that has become large stays so.
//!
//! The order is that of Redis: by score, then by the member's bytes. The two zeros are equal.
//! Scores are never NaN.

mod builder;
mod indexed;
mod member;
mod packed;
mod score;
#[cfg(test)]
mod tests;
mod tree;
mod undo;

pub use builder::SortedSetBuilder;

use crate::hash_seed::{AHEAD_MIN, Ahead};
use crate::listpack::{Listpack, View};
use crate::malformed::Malformed;
use crate::owner::{Editing, Owner, forms};
use crate::{Element, Thresholds};
use indexed::Indexed;
use member::Member;
use packed::Pairs;
use score::key_of;
use std::fmt;
use std::ops::Range;
use tree::{AtKey, AtText};

/// The result of [`SortedSet::insert`].
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

/// A sorted set: eight bytes that own one of the two forms.
#[repr(transparent)]
pub struct SortedSet {
    owner: Owner,
}

forms! {
    /// A sorted set, borrowed for reading.
    SortedSet, SortedSetView {
        0 => Packed(Listpack) as View<'a>, packed, packed_mut;
        1 => Indexed(Box<Indexed>) as &'a Indexed, indexed, indexed_mut;
    }
}

impl SortedSet {
    /// An empty sorted set.
    pub fn new() -> SortedSet {
        SortedSet::packed(Listpack::new())
    }

    /// The large form, which it takes if it has the other.
    fn make_indexed(&mut self) -> Option<Editing<'_, Box<Indexed>>> {
        if let Form::Packed(view) = self.form() {
            let members = packed::pairs(view).map(|(member, score)| {
                Member::new(member.as_bytes(&mut { crate::DIGITS }), score, None)
            });
            *self = SortedSet::indexed(Indexed::from_sorted(members));
        }
        self.indexed_mut()
    }

    /// A sorted set from a listpack of members and scores, as Redis saves them.
    ///
    /// # Errors
    /// When the bytes are not a listpack, a score is missing or not a number, members are not in
    /// order, or a member is there twice.
    pub fn from_listpack(bytes: &[u8]) -> Result<SortedSet, Malformed> {
        packed::check(bytes).map(SortedSet::packed)
    }

    /// Adds a member or gives it another score (never NaN).
    pub fn insert(&mut self, member: &[u8], score: f64, limits: &Thresholds) -> Inserted {
        debug_assert!(!score.is_nan());
        if let Form::Packed(view) = self.form() {
            let place = packed::find(view, member);
            let there = place.and_then(|place| packed::score_at(view, place));
            if there == Some(score) {
                return Inserted::Same;
            }
            let fits = place.is_some()
                || view.len() / 2 < limits.zset_entries && member.len() <= limits.zset_value;
            if fits && let Some(mut listpack) = self.packed_mut() {
                let (done, result) = match place {
                    Some(place) => (
                        packed::set_score(&mut listpack, place, member, score),
                        Inserted::Moved,
                    ),
                    None => (
                        packed::insert(&mut listpack, member, score),
                        Inserted::Added,
                    ),
                };
                if done {
                    return result;
                }
            }
        }
        match self.make_indexed() {
            Some(mut indexed) => indexed.insert(member, score),
            None => unreachable!("there are two forms"),
        }
    }

    /// Removes a member and returns its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        if let Some(mut indexed) = self.indexed_mut() {
            return indexed.remove(member);
        }
        let mut listpack = self.packed_mut()?;
        let place = packed::find(listpack.view(), member)?;
        let score = packed::score_at(listpack.view(), place);
        listpack.remove_n(place, 2);
        score
    }

    /// Removes the members with these ranks. Returns how many.
    pub fn remove_range(
        &mut self,
        ranks: Range<usize>,
        removed: &mut dyn FnMut(Element<'_>, f64),
    ) -> usize {
        let ranks = self.clamp(ranks);
        let count = ranks.len();
        if let Some(mut indexed) = self.indexed_mut() {
            return indexed.remove_range(ranks, removed);
        }
        if let Some(mut listpack) = self.packed_mut()
            && count > 0
        {
            let view = listpack.view();
            Pairs::new(view, ranks.clone()).for_each(|(member, score)| removed(member, score));
            if let Some(first) = view.nth(2 * ranks.start) {
                listpack.remove_n(first, 2 * count);
            }
        }
        count
    }

    /// Sets or clears the deadline of a member. False when there is no such member.
    pub fn set_deadline(&mut self, member: &[u8], deadline: Option<u64>) -> bool {
        if let Form::Packed(view) = self.form()
            && (deadline.is_none() || packed::find(view, member).is_none())
        {
            return packed::find(view, member).is_some();
        }
        self.make_indexed()
            .is_some_and(|mut indexed| indexed.set_deadline(member, deadline))
    }

    /// Removes at most `budget` members whose deadline is not after `now_ms`, the earliest first.
    /// Returns how many.
    pub fn expire(&mut self, now_ms: u64, budget: usize, expired: &mut dyn FnMut(&[u8])) -> usize {
        self.indexed_mut()
            .map_or(0, |mut indexed| indexed.expire(now_ms, budget, expired))
    }

    /// Leaves the packed form when so many members, or one so long, are about to be added at once:
    /// Redis decides by the arguments of a command, even if a member is there twice.
    pub fn plan_for(&mut self, members: usize, longest: usize, limits: &Thresholds) {
        if self.is_packed() && (members > limits.zset_entries || longest > limits.zset_value) {
            self.make_indexed();
        }
    }

    /// Leaves the packed form when a limit is exceeded.
    pub fn convert(&mut self, limits: &Thresholds) {
        let Form::Packed(view) = self.form() else {
            return;
        };
        let mut members = view.iter().step_by(2);
        if view.len() / 2 > limits.zset_entries
            || members.any(|member| member.len() > limits.zset_value)
        {
            self.make_indexed();
        }
    }

    /// Begins a journal of changes, or a part of one; returns its mark. `None` for the packed form,
    /// which has no journal.
    pub fn begin_journal(&mut self) -> Option<usize> {
        self.indexed_mut()
            .map(|mut indexed| indexed.begin_journal())
    }

    /// Keeps what was done since the last beginning.
    pub fn end_journal(&mut self) {
        if let Some(mut indexed) = self.indexed_mut() {
            indexed.end_journal();
        }
    }

    /// Takes back what was done since the beginning that returned `mark`, the last one.
    pub fn roll_back(&mut self, mark: usize) {
        if let Some(mut indexed) = self.indexed_mut() {
            indexed.roll_back(mark);
        }
    }
}

impl SortedSetView {
    /// Number of members.
    #[inline]
    pub fn len(&self) -> usize {
        match self.form() {
            Form::Packed(view) => view.len() / 2,
            Form::Indexed(indexed) => indexed.len(),
        }
    }

    /// True when there are no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True for the packed form.
    pub fn is_packed(&self) -> bool {
        matches!(self.form(), Form::Packed(_))
    }

    /// The listpack of members and scores, when the sorted set is packed.
    pub fn pack_bytes(&self) -> Option<&[u8]> {
        match self.form() {
            Form::Packed(view) => Some(view.bytes()),
            Form::Indexed(_) => None,
        }
    }

    /// True when an index finds the members. Does not read the collection.
    #[inline]
    pub fn has_index(&self) -> bool {
        matches!(self.form(), Form::Indexed(_))
    }

    /// Whether bringing a member into the cache ahead of its use pays.
    #[inline]
    pub fn pays_to_look_ahead(&self) -> bool {
        matches!(self.form(), Form::Indexed(indexed) if indexed.len() >= AHEAD_MIN)
    }

    /// Starts bringing into the cache what looking for a member with this hash
    /// ([`crate::hash_seed::hash_of`]) will read.
    #[inline]
    pub fn look_ahead(&self, hash: u64, step: Ahead) {
        if let Form::Indexed(indexed) = self.form() {
            indexed.look_ahead(hash, step);
        }
    }

    /// The score of a member.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self.form() {
            Form::Packed(view) => packed::score_at(view, packed::find(view, member)?),
            Form::Indexed(indexed) => indexed.score(member),
        }
    }

    /// How many members are before this one, and its score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match self.form() {
            Form::Packed(view) => {
                let place = packed::find(view, member)?;
                Some((packed::rank_at(view, place), packed::score_at(view, place)?))
            }
            Form::Indexed(indexed) => indexed.rank(member),
        }
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
        let ranks = self.clamp(ranks);
        match self.form() {
            Form::Packed(view) => Members::Packed(Pairs::new(view, ranks)),
            Form::Indexed(indexed) => Members::Indexed(indexed.range(ranks)),
        }
    }

    /// All members, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Element<'_>, f64)> + ExactSizeIterator {
        self.range(0..self.len())
    }

    /// The ranks of the members with such scores.
    pub fn score_range(&self, range: &ScoreRange) -> Range<usize> {
        let indexed = match self.form() {
            Form::Packed(view) => return packed::score_range(view, range),
            Form::Indexed(indexed) => indexed,
        };
        let start = indexed.count_before(&AtKey {
            key: key_of(range.min),
            after: range.min_exclusive,
        });
        let end = indexed.count_before(&AtKey {
            key: key_of(range.max),
            after: !range.max_exclusive,
        });
        start..end.max(start)
    }

    /// The ranks of these members, when all scores are equal.
    pub fn lex_range(&self, range: &LexRange<'_>) -> Range<usize> {
        let indexed = match self.form() {
            Form::Packed(view) => return packed::lex_range(view, range),
            Form::Indexed(indexed) => indexed,
        };
        let before = |text, after| indexed.count_before(&AtText { text, after });
        let start = match range.min {
            LexBound::Min => 0,
            LexBound::Max => indexed.len(),
            LexBound::Inclusive(bound) => before(bound, false),
            LexBound::Exclusive(bound) => before(bound, true),
        };
        let end = match range.max {
            LexBound::Min => 0,
            LexBound::Max => indexed.len(),
            LexBound::Inclusive(bound) => before(bound, true),
            LexBound::Exclusive(bound) => before(bound, false),
        };
        start..end.max(start)
    }

    /// A random member, each as likely as any other.
    pub fn random(&self, rng: &mut impl FnMut() -> u64) -> Option<(Element<'_>, f64)> {
        // The high half of the product is below the length.
        let rank = ((u128::from(rng()) * self.len() as u128) >> 64) as usize;
        self.range(rank..rank + 1).next()
    }

    /// Visits some members from a cursor on and returns the next cursor, 0 at the end. The packed
    /// form visits all members; the large one gives the guarantees of [`table`](crate::table).
    /// Cursors are below 2^48.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(Element<'_>, f64)) -> u64 {
        match self.form() {
            Form::Packed(view) => {
                packed::pairs(view).for_each(|(member, score)| visit(member, score));
                0
            }
            Form::Indexed(indexed) => indexed.scan(cursor, visit),
        }
    }

    /// The deadline of a member; `None` when there is no such member.
    pub fn deadline(&self, member: &[u8]) -> Option<Option<u64>> {
        match self.form() {
            Form::Packed(view) => packed::find(view, member).map(|_| None),
            Form::Indexed(indexed) => indexed.deadline(member),
        }
    }

    /// Number of members with a deadline.
    pub fn volatile_len(&self) -> usize {
        match self.form() {
            Form::Packed(_) => 0,
            Form::Indexed(indexed) => indexed.volatile_len(),
        }
    }

    /// The earliest deadline of a member.
    pub fn next_deadline(&self) -> Option<u64> {
        match self.form() {
            Form::Packed(_) => None,
            Form::Indexed(indexed) => indexed.next_deadline(),
        }
    }

    /// True while there is a journal.
    pub fn has_journal(&self) -> bool {
        matches!(self.form(), Form::Indexed(indexed) if indexed.has_journal())
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        match self.form() {
            Form::Packed(view) => crate::alloc::packed_bytes(self.is_embedded(), view.byte_len()),
            Form::Indexed(indexed) => indexed.heap_bytes(),
        }
    }

    /// Checks what must always hold.
    #[cfg(test)]
    fn check(&self) {
        match self.form() {
            Form::Packed(view) => drop(packed::check(view.bytes()).unwrap()),
            Form::Indexed(indexed) => indexed.check(),
        }
    }
}

impl Default for SortedSet {
    fn default() -> Self {
        SortedSet::new()
    }
}

impl fmt::Debug for SortedSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl fmt::Debug for SortedSetView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Members of either form.
enum Members<'a> {
    Packed(Pairs<'a>),
    Indexed(tree::Entries<'a>),
}

/// A member of the large form, as callers get it.
#[inline]
fn pair<'a>(member: Member) -> (Element<'a>, f64) {
    // SAFETY: the members come from a sorted set that is borrowed for 'a, which keeps their blocks.
    unsafe { member.pair() }
}

impl<'a> Iterator for Members<'a> {
    type Item = (Element<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Members::Packed(pairs) => pairs.next(),
            Members::Indexed(entries) => entries.next().map(pair),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Members::Packed(pairs) => pairs.size_hint(),
            Members::Indexed(entries) => entries.size_hint(),
        }
    }

    fn nth(&mut self, skipped: usize) -> Option<Self::Item> {
        match self {
            Members::Packed(pairs) => pairs.nth(skipped),
            Members::Indexed(entries) => entries.nth(skipped).map(pair),
        }
    }
}

impl DoubleEndedIterator for Members<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Members::Packed(pairs) => pairs.next_back(),
            Members::Indexed(entries) => entries.next_back().map(pair),
        }
    }

    fn nth_back(&mut self, skipped: usize) -> Option<Self::Item> {
        match self {
            Members::Packed(pairs) => pairs.nth_back(skipped),
            Members::Indexed(entries) => entries.nth_back(skipped).map(pair),
        }
    }
}

impl ExactSizeIterator for Members<'_> {}
