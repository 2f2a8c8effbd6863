//! Ranges of sorted sets: parsed from requests, and converted to ranks.

use std::ops::Range;

use values::{LexBound, LexRange, ScoreRange, SortedSetView};

use crate::context::Context;
use crate::error::CommandError;

/// A score as a bound of a range. More is accepted than for a score that is stored, as in Valkey:
/// no digits at all are 0, and a number that is too large or too small is infinite or 0.
fn score_bound(text: &[u8]) -> Option<(f64, bool)> {
    let (text, exclusive) = match text {
        [b'(', rest @ ..] => (rest, true),
        _ => (text, false),
    };
    if text.is_empty() {
        return Some((0.0, exclusive));
    }
    let score = resp::number::parse_f64(text)
        .or_else(|| std::str::from_utf8(text).ok()?.parse().ok())
        .filter(|score: &f64| !score.is_nan())?;
    Some((score, exclusive))
}

/// The range of scores between two arguments.
pub(crate) fn score_range(min: &[u8], max: &[u8]) -> Result<ScoreRange, CommandError> {
    let (Some(min), Some(max)) = (score_bound(min), score_bound(max)) else {
        return Err(CommandError::line("ERR min or max is not a float"));
    };
    Ok(ScoreRange {
        min: min.0,
        min_exclusive: min.1,
        max: max.0,
        max_exclusive: max.1,
    })
}

fn lex_bound(text: &[u8]) -> Option<LexBound<'_>> {
    match text {
        b"-" => Some(LexBound::Min),
        b"+" => Some(LexBound::Max),
        [b'[', member @ ..] => Some(LexBound::Inclusive(member)),
        [b'(', member @ ..] => Some(LexBound::Exclusive(member)),
        _ => None,
    }
}

/// The range of members between two arguments.
pub(crate) fn lex_range<'a>(min: &'a [u8], max: &'a [u8]) -> Result<LexRange<'a>, CommandError> {
    let (Some(min), Some(max)) = (lex_bound(min), lex_bound(max)) else {
        return Err(CommandError::line(
            "ERR min or max not valid string range item",
        ));
    };
    Ok(LexRange { min, max })
}

/// The kind of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// Ranks, both included; negative ones count from the end.
    Rank,
    /// Scores.
    Score,
    /// Members, where all scores are equal.
    Lex,
}

/// The range that a request asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Span<'a> {
    /// First and last rank.
    Ranks(i64, i64),
    /// Scores.
    Scores(ScoreRange),
    /// Members.
    Members(LexRange<'a>),
}

impl<'a> Span<'a> {
    /// The range between the arguments at two indices.
    pub(crate) fn parse(
        ctx: &Context<'a, '_>,
        by: By,
        min: usize,
        max: usize,
    ) -> Result<Self, CommandError> {
        Ok(match by {
            By::Rank => Self::Ranks(ctx.integer(min)?, ctx.integer(max)?),
            By::Score => Self::Scores(score_range(ctx.arg(min), ctx.arg(max))?),
            By::Lex => Self::Members(lex_range(ctx.arg(min), ctx.arg(max))?),
        })
    }

    /// The ranks of the members inside. With `reverse`, ranks of the request count from the member
    /// with the highest score; the returned ranks always count from the lowest.
    pub(crate) fn ranks(&self, members: &SortedSetView, reverse: bool) -> Range<usize> {
        match self {
            Self::Ranks(first, last) => {
                let len = members.len();
                let ranks = rank_range(*first, *last, len);
                if reverse {
                    len - ranks.end..len - ranks.start
                } else {
                    ranks
                }
            }
            Self::Scores(range) => members.score_range(range),
            Self::Members(range) => members.lex_range(range),
        }
    }
}

/// The ranks from `first` to `last` among `len`, both included; negative ones count from the end.
pub(crate) fn rank_range(first: i64, last: i64, len: usize) -> Range<usize> {
    let size = i64::try_from(len).unwrap_or(i64::MAX);
    let from_start = |rank: i64| if rank < 0 { rank + size } else { rank };
    let first = from_start(first).max(0);
    let last = from_start(last).min(size - 1);
    match (usize::try_from(first), usize::try_from(last)) {
        (Ok(first), Ok(last)) if first <= last => first..last + 1,
        _ => 0..0,
    }
}

/// LIMIT: which part of a range is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// Members left out at the beginning; a negative number leaves out all.
    pub offset: i64,
    /// Members wanted after those; a negative number is for all.
    pub count: i64,
}

impl Limit {
    /// The whole range.
    pub(crate) const ALL: Self = Self {
        offset: 0,
        count: -1,
    };

    /// The wanted part of `ranks`, which begins at their end when `reverse` is true.
    pub(crate) fn part_of(self, ranks: Range<usize>, reverse: bool) -> Range<usize> {
        let len = ranks.len();
        let offset = usize::try_from(self.offset).unwrap_or(len).min(len);
        let count = usize::try_from(self.count).unwrap_or(len).min(len - offset);
        if reverse {
            let end = ranks.end - offset;
            end - count..end
        } else {
            let start = ranks.start + offset;
            start..start + count
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_count_from_both_ends_and_are_clamped() {
        assert_eq!(rank_range(0, -1, 5), 0..5);
        assert_eq!(rank_range(1, 2, 5), 1..3);
        assert_eq!(rank_range(-2, -1, 5), 3..5);
        assert_eq!(rank_range(-100, 100, 5), 0..5);
        assert_eq!(rank_range(3, 1, 5), 0..0);
        assert_eq!(rank_range(5, 9, 5), 0..0);
        assert_eq!(rank_range(0, -6, 5), 0..0);
        assert_eq!(rank_range(i64::MIN, i64::MAX, 5), 0..5);
        assert_eq!(rank_range(i64::MAX, i64::MIN, 5), 0..0);
    }

    #[test]
    fn limits_take_a_part_from_either_end() {
        let part = |offset, count, reverse| Limit { offset, count }.part_of(10..20, reverse);
        assert_eq!(part(0, -1, false), 10..20);
        assert_eq!(part(2, 3, false), 12..15);
        assert_eq!(part(2, 3, true), 15..18);
        assert_eq!(part(0, i64::MAX, true), 10..20);
        assert_eq!(part(i64::MAX, 1, false), 20..20);
        assert_eq!(part(i64::MAX, 1, true), 10..10);
        assert_eq!(part(-1, 5, false), 20..20);
        assert_eq!(part(3, 0, false), 13..13);
    }

    #[test]
    fn bounds_are_lenient_as_valkeys() {
        assert_eq!(score_bound(b"(1.5"), Some((1.5, true)));
        assert_eq!(score_bound(b"-inf"), Some((f64::NEG_INFINITY, false)));
        assert_eq!(score_bound(b"("), Some((0.0, true)));
        assert_eq!(score_bound(b"1e999"), Some((f64::INFINITY, false)));
        assert_eq!(score_bound(b"1e-999"), Some((0.0, false)));
        for wrong in [&b"nan"[..], b"((1", b" 1", b"1 ", b"x"] {
            assert_eq!(score_bound(wrong), None);
        }
    }

    #[test]
    fn bounds_of_members() {
        assert_eq!(lex_bound(b"-"), Some(LexBound::Min));
        assert_eq!(lex_bound(b"["), Some(LexBound::Inclusive(b"")));
        assert_eq!(lex_bound(b"(a"), Some(LexBound::Exclusive(b"a")));
        for wrong in [&b""[..], b"a", b"+a", b"--"] {
            assert_eq!(lex_bound(wrong), None);
        }
    }
}
