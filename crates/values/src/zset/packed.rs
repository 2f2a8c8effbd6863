//! The small form: a listpack of members, each followed by its score, in order.

use super::score::{self, pack, unpack};
use super::{LexBound, LexRange, ScoreRange};
use crate::distinct::all_distinct;
use crate::listpack::{Iter, Listpack, Position, View};
use crate::malformed::Malformed;
use crate::{DIGITS, Element};
use std::cmp::Ordering;
use std::ops::Range;

/// Members and scores of a listpack, from both ends.
pub(super) struct Pairs<'a> {
    rest: Iter<'a>,
    len: usize,
    /// Pairs at the back of `rest` that do not belong to the range.
    beyond: usize,
}

impl<'a> Pairs<'a> {
    /// The members with ranks in a range, which must exist.
    pub(super) fn new(view: View<'a>, ranks: Range<usize>) -> Pairs<'a> {
        let start = view.nth(ranks.start.saturating_mul(2));
        Pairs {
            rest: start.map_or_else(|| view.iter(), |start| view.iter_from(start)),
            len: ranks.len(),
            beyond: view.len() / 2 - ranks.end,
        }
    }
}

/// A score of a listpack was checked when it came from outside.
fn score_of(element: Element<'_>) -> f64 {
    unpack(element).unwrap_or(0.0)
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Element<'a>, f64);

    fn next(&mut self) -> Option<Self::Item> {
        self.len = self.len.checked_sub(1)?;
        Some((self.rest.next()?, score_of(self.rest.next()?)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len, Some(self.len))
    }
}

impl DoubleEndedIterator for Pairs<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.len = self.len.checked_sub(1)?;
        if self.beyond > 0 {
            self.rest.nth_back(2 * self.beyond - 1);
            self.beyond = 0;
        }
        let score = score_of(self.rest.next_back()?);
        Some((self.rest.next_back()?, score))
    }
}

impl ExactSizeIterator for Pairs<'_> {}

/// All members and scores.
pub(super) fn pairs(view: View<'_>) -> impl Iterator<Item = (Element<'_>, f64)> + Clone {
    let mut rest = view.iter();
    std::iter::from_fn(move || Some((rest.next()?, score_of(rest.next()?))))
}

/// The order of a sorted set.
fn order(a: (Element<'_>, f64), b: (Element<'_>, f64)) -> Ordering {
    let scores = a.1.partial_cmp(&b.1).unwrap_or(Ordering::Equal);
    scores.then_with(|| text_order(a.0, b.0))
}

fn text_order(a: Element<'_>, b: Element<'_>) -> Ordering {
    a.as_bytes(&mut { DIGITS }).cmp(b.as_bytes(&mut { DIGITS }))
}

/// Takes a listpack from outside.
pub(super) fn check(bytes: &[u8]) -> Result<Listpack, Malformed> {
    let listpack = Listpack::from_bytes(bytes)?;
    let view = listpack.view();
    if !view.len().is_multiple_of(2) {
        return Err(Malformed("a member of the sorted set has no score"));
    }
    if view
        .iter()
        .skip(1)
        .step_by(2)
        .any(|score| unpack(score).is_none())
    {
        return Err(Malformed("a score of the sorted set is not a number"));
    }
    if !pairs(view).is_sorted_by(|a, b| order(*a, *b).is_lt()) {
        return Err(Malformed("the sorted set is not in order"));
    }
    if !all_distinct(pairs(view).map(|(member, _)| member)) {
        return Err(Malformed("a member of the sorted set is there twice"));
    }
    Ok(listpack)
}

/// Where a member is.
pub(super) fn find(view: View<'_>, member: &[u8]) -> Option<Position> {
    view.find(view.first()?, member, 1)
}

/// The score of the member at a position.
pub(super) fn score_at(view: View<'_>, member: Position) -> Option<f64> {
    view.next(member).map(|score| score_of(view.get(score)))
}

/// How many members are before the one at a position.
pub(super) fn rank_at(view: View<'_>, member: Position) -> usize {
    view.iter_to(member).count() / 2
}

/// Adds a member that is not there. False, and nothing done, when the listpack would become too
/// large.
pub(super) fn insert(listpack: &mut Listpack, member: &[u8], score: f64) -> bool {
    let new = (Element::Bytes(member), score);
    let mut text = score::Text::default();
    let score = pack(score, &mut text);
    let view = listpack.view();
    let position = pairs(view)
        .zip(view.positions().step_by(2))
        .find(|(pair, _)| order(*pair, new).is_gt())
        .map(|(_, (position, _))| position);
    listpack.insert_elements(position, [new.0, score])
}

/// Gives the member at a position another score. False, and nothing done, when the listpack would
/// become too large.
pub(super) fn set_score(listpack: &mut Listpack, at: Position, member: &[u8], score: f64) -> bool {
    let view = listpack.view();
    let new = (Element::Bytes(member), score);
    let Some(place) = view.next(at) else {
        return false;
    };
    let pair = |member| Some((view.get(member), score_at(view, member)?));
    let before = view.prev(at).and_then(|score| view.prev(score));
    let in_order = before
        .and_then(pair)
        .is_none_or(|it| order(it, new).is_lt())
        && view
            .next(place)
            .and_then(pair)
            .is_none_or(|it| order(it, new).is_gt());
    let mut text = score::Text::default();
    let packed = pack(score, &mut text);
    let grown = crate::listpack::encoded_element_len(packed);
    if !view.fits(grown) {
        return false;
    }
    if in_order {
        listpack.replace_element(place, packed);
        return true;
    }
    listpack.remove_n(at, 2);
    insert(listpack, member, score)
}

/// The ranks of the members with such scores.
pub(super) fn score_range(view: View<'_>, range: &ScoreRange) -> Range<usize> {
    let len = view.len() / 2;
    let first = |stop: &dyn Fn(f64) -> bool| {
        let mut scores = view.iter().skip(1).step_by(2);
        let found = scores.position(|score| stop(score_of(score)));
        found.unwrap_or(len)
    };
    let (min, max) = (range.min, range.max);
    let start = first(&|score| score > min || score == min && !range.min_exclusive);
    let end = first(&|score| score > max || score == max && range.max_exclusive);
    start..end.max(start)
}

/// The ranks of such members.
pub(super) fn lex_range(view: View<'_>, range: &LexRange<'_>) -> Range<usize> {
    let len = view.len() / 2;
    let first = |stop: &dyn Fn(&[u8]) -> bool| {
        let mut members = view.iter().step_by(2);
        let found = members.position(|member| stop(member.as_bytes(&mut { DIGITS })));
        found.unwrap_or(len)
    };
    let start = match range.min {
        LexBound::Min => 0,
        LexBound::Max => len,
        LexBound::Inclusive(bound) => first(&|member| member >= bound),
        LexBound::Exclusive(bound) => first(&|member| member > bound),
    };
    let end = match range.max {
        LexBound::Min => 0,
        LexBound::Max => len,
        LexBound::Inclusive(bound) => first(&|member| member > bound),
        LexBound::Exclusive(bound) => first(&|member| member >= bound),
    };
    start..end.max(start)
}
