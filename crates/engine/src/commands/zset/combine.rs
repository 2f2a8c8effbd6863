//! Unions, intersections and differences of sets and sorted sets. Members of a set have the score
//! 1.

use std::borrow::Cow;
use std::ops::ControlFlow;

use keyspace::{EntryRef, ValueRef};
use values::{DIGITS, Element, SetView, SortedSet, SortedSetBuilder, SortedSetView, Thresholds};

use crate::error::CommandError;

/// The score of a member of a set.
const SET_SCORE: f64 = 1.0;

/// One input.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    members: Members<'a>,
    /// The factor of its scores.
    pub(super) weight: f64,
}

#[derive(Clone, Copy)]
enum Members<'a> {
    None,
    Set(&'a SetView),
    Sorted(&'a SortedSetView),
}

impl<'a> Source<'a> {
    /// The input at a key, with weight 1.
    pub(super) fn of(entry: Option<EntryRef<'a>>) -> Result<Self, CommandError> {
        let members = match entry.map(|entry| entry.value()) {
            None => Members::None,
            Some(ValueRef::Set(set)) => Members::Set(set),
            Some(ValueRef::ZSet(members)) => Members::Sorted(members),
            Some(_) => return Err(CommandError::WrongType),
        };
        Ok(Self {
            members,
            weight: 1.0,
        })
    }

    /// Number of members.
    pub(super) fn len(&self) -> usize {
        match self.members {
            Members::None => 0,
            Members::Set(set) => set.len(),
            Members::Sorted(members) => members.len(),
        }
    }

    fn score(&self, member: Element<'_>) -> Option<f64> {
        match self.members {
            Members::None => None,
            Members::Set(set) => set.contains_element(member).then_some(SET_SCORE),
            Members::Sorted(members) => members.score(member.as_bytes(&mut { DIGITS })),
        }
    }

    fn visit(&self, mut visit: impl FnMut(Element<'_>, f64) -> ControlFlow<()>) {
        let _ = match self.members {
            Members::None => ControlFlow::Continue(()),
            Members::Set(set) => set.iter().try_for_each(|member| visit(member, SET_SCORE)),
            Members::Sorted(members) => members
                .iter()
                .try_for_each(|(member, score)| visit(member, score)),
        };
    }

    /// True when both are the same key.
    fn is(&self, other: &Self) -> bool {
        match (self.members, other.members) {
            (Members::Set(a), Members::Set(b)) => std::ptr::eq(a, b),
            (Members::Sorted(a), Members::Sorted(b)) => std::ptr::eq(a, b),
            _ => false,
        }
    }
}

/// How the scores of a member that is in several inputs become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Aggregate {
    #[default]
    Sum,
    Min,
    Max,
    /// The sum of the weights of the inputs that have the member.
    Count,
}

impl Aggregate {
    pub(super) fn parse(word: &[u8]) -> Option<Self> {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        match () {
            () if is(b"sum") => Some(Self::Sum),
            () if is(b"min") => Some(Self::Min),
            () if is(b"max") => Some(Self::Max),
            () if is(b"count") => Some(Self::Count),
            () => None,
        }
    }

    /// What an input with this weight contributes for a member that has this score there.
    #[inline]
    fn weigh(self, weight: f64, score: f64) -> f64 {
        match self {
            Self::Count => weight,
            Self::Sum | Self::Min | Self::Max => weight * score,
        }
    }

    /// The sum of opposite infinities is 0 by convention.
    #[inline]
    fn combine(self, there: f64, new: f64) -> f64 {
        match self {
            Self::Sum | Self::Count => or_zero(there + new),
            Self::Min if new < there => new,
            Self::Max if new > there => new,
            Self::Min | Self::Max => there,
        }
    }
}

/// An infinite score with weight 0 counts as 0.
#[inline]
fn or_zero(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// The members of any input.
pub(super) fn union(
    sources: &mut [Source<'_>],
    aggregate: Aggregate,
    limits: &Thresholds,
) -> SortedSet {
    // Scores are added in this order, which rounding makes visible: the smallest input first, as in
    // Redis.
    sources.sort_by_key(Source::len);
    let largest = sources.last().map_or(0, Source::len);
    let mut result = SortedSetBuilder::with_capacity(largest);
    for source in sources.iter() {
        source.visit(|member, score| {
            let score = or_zero(aggregate.weigh(source.weight, score));
            result.merge(member.as_bytes(&mut { DIGITS }), score, |there, new| {
                aggregate.combine(there, new)
            });
            ControlFlow::Continue(())
        });
    }
    result.finish(limits)
}

/// Visits the members of all inputs with their scores: walks over the smallest and looks each
/// member up in the others.
pub(super) fn intersect(
    sources: &mut [Source<'_>],
    aggregate: Aggregate,
    mut visit: impl FnMut(Element<'_>, f64) -> ControlFlow<()>,
) {
    sources.sort_by_key(Source::len);
    let Some((first, others)) = sources.split_first() else {
        return;
    };
    first.visit(|member, score| {
        let mut combined = or_zero(aggregate.weigh(first.weight, score));
        for other in others {
            let found = if other.is(first) {
                Some(score)
            } else {
                other.score(member)
            };
            let Some(found) = found else {
                return ControlFlow::Continue(());
            };
            combined = aggregate.combine(combined, aggregate.weigh(other.weight, found));
        }
        visit(member, combined)
    });
}

/// The members of all inputs as a sorted set.
pub(super) fn intersection(
    sources: &mut [Source<'_>],
    aggregate: Aggregate,
    limits: &Thresholds,
) -> SortedSet {
    let mut result = SortedSetBuilder::new();
    intersect(sources, aggregate, |member, score| {
        add(&mut result, member, score);
        ControlFlow::Continue(())
    });
    result.finish(limits)
}

/// The members of the first input that are in no other.
pub(super) fn difference(sources: &mut [Source<'_>], limits: &Thresholds) -> SortedSet {
    let Some((first, others)) = sources.split_first_mut() else {
        return SortedSet::new();
    };
    if first.len() == 0 || others.iter().any(|other| other.is(first)) {
        return SortedSet::new();
    }
    let all: u128 = others.iter().map(|other| other.len() as u128).sum();
    let size = first.len() as u128;
    // Redis's estimate. A look-up costs less per member than marking, hence the half.
    if size * (others.len() as u128 + 1) / 2 <= size + all {
        difference_by_asking(first, others, limits)
    } else {
        difference_by_marking(first, others, limits)
    }
}

/// Looks each member of the first input up in the others: O(N * M).
fn difference_by_asking(
    first: &Source<'_>,
    others: &mut [Source<'_>],
    limits: &Thresholds,
) -> SortedSet {
    // The largest one is the most likely to have it.
    others.sort_by_key(|other| std::cmp::Reverse(other.len()));
    let mut result = SortedSetBuilder::new();
    first.visit(|member, score| {
        if others.iter().all(|other| other.score(member).is_none()) {
            add(&mut result, member, score);
        }
        ControlFlow::Continue(())
    });
    result.finish(limits)
}

/// The members of the others are marked in the first: O(L + N log N), better for many inputs.
fn difference_by_marking(
    first: &Source<'_>,
    others: &[Source<'_>],
    limits: &Thresholds,
) -> SortedSet {
    let base = match first.members {
        Members::Sorted(members) => Cow::Borrowed(members),
        Members::Set(_) | Members::None => {
            let mut members = SortedSetBuilder::with_capacity(first.len());
            first.visit(|member, score| {
                add(&mut members, member, score);
                ControlFlow::Continue(())
            });
            Cow::Owned(members.finish(limits))
        }
    };
    let mut marked = vec![false; base.len()];
    let mut left = base.len();
    for other in others {
        other.visit(|member, _| {
            let rank = base.rank(member.as_bytes(&mut { DIGITS }));
            if let Some(mark) = rank.and_then(|(rank, _)| marked.get_mut(rank)) {
                left -= usize::from(!std::mem::replace(mark, true));
            }
            if left == 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
    }
    let mut result = SortedSetBuilder::with_capacity(left);
    for ((member, score), _) in base.iter().zip(&marked).filter(|(_, marked)| !**marked) {
        add(&mut result, member, score);
    }
    result.finish(limits)
}

fn add(result: &mut SortedSetBuilder, member: Element<'_>, score: f64) {
    result.merge(member.as_bytes(&mut { DIGITS }), score, |_, new| new);
}
