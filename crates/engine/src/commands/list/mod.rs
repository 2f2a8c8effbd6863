//! Commands on lists.
//!
//! A list in the keyspace is never empty, so a key that exists has an element. Each push signals
//! the clients that are blocked on the list (see [`crate::execute::blocking`]).

mod edit;
mod moves;
mod moves_many;
mod pop;
mod push;
mod read;

use std::ops::Range;

use values::End;

use crate::command::Arg;
use crate::context::{Context, Data, EventClass};
use crate::error::CommandError;
use crate::execute::CommandSpec;
use crate::keys::Key;

/// All commands of this group.
pub const COMMANDS: &[&CommandSpec] = &[
    &moves::BLMOVE,
    &moves_many::BLMOVEM,
    &pop::BLMPOP,
    &pop::BLPOP,
    &pop::BRPOP,
    &moves::BRPOPLPUSH,
    &read::LINDEX,
    &edit::LINSERT,
    &read::LLEN,
    &moves::LMOVE,
    &moves_many::LMOVEM,
    &pop::LMPOP,
    &pop::LPOP,
    &read::LPOS,
    &push::LPUSH,
    &push::LPUSHX,
    &read::LRANGE,
    &edit::LREM,
    &edit::LSET,
    &edit::LTRIM,
    &pop::RPOP,
    &moves::RPOPLPUSH,
    &push::RPUSH,
    &push::RPUSHX,
];

const ELEMENT: Arg = Arg::string("element");

const SOURCE: Arg = Arg::key("source");

const DESTINATION: Arg = Arg::DESTINATION.key_spec(1);

const TIMEOUT: Arg = Arg::double("timeout");

/// `LEFT` or `RIGHT`
const WHERE: Arg =
    Arg::one_of("where").args(&[Arg::word("left", "LEFT"), Arg::word("right", "RIGHT")]);

/// The end of a list that argument `index` names.
fn end(ctx: &Context<'_, '_>, index: usize) -> Result<End, CommandError> {
    if ctx.is_word(index, "left") {
        Ok(End::Front)
    } else if ctx.is_word(index, "right") {
        Ok(End::Back)
    } else {
        Err(CommandError::Syntax)
    }
}

/// Name of the event of a pop.
fn popped(end: End) -> &'static str {
    match end {
        End::Front => "lpop",
        End::Back => "rpop",
    }
}

/// Name of the event of a push.
fn pushed(end: End) -> &'static str {
    match end {
        End::Front => "lpush",
        End::Back => "rpush",
    }
}

/// The first or last `count` places of a list of `len` elements; all when there are fewer.
fn outermost(end: End, count: usize, len: usize) -> Range<usize> {
    let count = count.min(len);
    match end {
        End::Front => 0..count,
        End::Back => len - count..len,
    }
}

/// Places `start` to `stop` (included; negative: from the end) of a list of `len` elements.
fn places(start: i64, stop: i64, len: usize) -> Range<usize> {
    let from_end = |index: i64| {
        let back = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
        match index < 0 {
            true => len.checked_sub(back),
            false => Some(usize::try_from(index).unwrap_or(usize::MAX)),
        }
    };
    let start = from_end(start).unwrap_or(0);
    match from_end(stop) {
        Some(stop) if start <= stop && start < len => start..stop.saturating_add(1).min(len),
        _ => 0..0,
    }
}

/// The place that an index names, negative ones from the end; `None` outside of the list.
fn place(index: i64, len: usize) -> Option<usize> {
    let distance = usize::try_from(index.unsigned_abs()).ok()?;
    let place = if index < 0 {
        len.checked_sub(distance)?
    } else {
        distance
    };
    (place < len).then_some(place)
}

/// `count` elements were popped from a list that existed.
fn elements_popped(data: &mut Data<'_, '_>, key: Key<'_>, end: End, count: usize) {
    data.changed_times(count as u64, key, EventClass::List, popped(end));
    data.drop_if_empty(key);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_from_both_ends() {
        assert_eq!(places(0, -1, 5), 0..5);
        assert_eq!(places(-2, -1, 5), 3..5);
        assert_eq!(places(-100, 1, 5), 0..2);
        assert_eq!(places(1, 100, 5), 1..5);
        assert_eq!(places(0, i64::MAX, 5), 0..5);
        assert_eq!(places(i64::MIN, i64::MAX, 5), 0..5);
        for (start, stop) in [(3, 2), (5, 9), (0, -6), (-1, -2), (0, i64::MIN)] {
            assert!(places(start, stop, 5).is_empty(), "{start} {stop}");
        }
    }

    #[test]
    fn a_place_lies_within_the_list() {
        assert_eq!(place(0, 3), Some(0));
        assert_eq!(place(-1, 3), Some(2));
        assert_eq!(place(-3, 3), Some(0));
        for index in [3, -4, i64::MIN, i64::MAX] {
            assert_eq!(place(index, 3), None);
        }
    }

    #[test]
    fn the_outermost_are_taken_from_one_end() {
        assert_eq!(outermost(End::Front, 2, 5), 0..2);
        assert_eq!(outermost(End::Back, 2, 5), 3..5);
        assert_eq!(outermost(End::Back, usize::MAX, 5), 0..5);
    }
}
