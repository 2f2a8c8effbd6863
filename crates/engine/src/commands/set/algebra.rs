//! Intersections, unions and differences: as replies, stored, and only counted.

use std::ops::ControlFlow;

use keyspace::{EntryRef, NewValue, Value, ValueRef};
use resp::Reply;
use smallvec::SmallVec;
use values::set::{difference, intersect, union};
use values::{DIGITS, Element, Set, SetView};

use super::estimate::Estimate;
use crate::command::*;
use crate::commands::generic::delete_key;
use crate::commands::string::length;
use crate::config::P;
use crate::context::{Context, Data, ElementReply, EventClass, Expiry};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::keys::Key;

type Entries<'a> = SmallVec<[Option<EntryRef<'a>>; 4]>;
type Sets<'a> = SmallVec<[Option<&'a SetView>; 4]>;

/// The sets at these keys, in their order; the types of all keys are checked before anything is
/// done.
fn sets_of<'a>(entries: &Entries<'a>) -> Result<Sets<'a>, CommandError> {
    entries
        .iter()
        .map(|entry| match entry.map(|entry| entry.value()) {
            None => Ok(None),
            Some(ValueRef::Set(set)) => Ok(Some(set)),
            Some(_) => Err(CommandError::WrongType),
        })
        .collect()
}

/// The keys at `count` arguments from `first` on.
fn keys<'c>(ctx: &Context<'c, '_>, first: usize, count: usize) -> SmallVec<[Key<'c>; 4]> {
    (first..first + count).map(|index| ctx.key(index)).collect()
}

fn all_keys<'c>(ctx: &Context<'c, '_>, first: usize) -> SmallVec<[Key<'c>; 4]> {
    keys(ctx, first, ctx.args.len().saturating_sub(first))
}

/// The members that are in all sets; a key that does not exist is a set without members.
fn each_common(sets: &Sets<'_>, visit: impl FnMut(Element<'_>) -> ControlFlow<()>) {
    let there: SmallVec<[&SetView; 4]> = sets.iter().flatten().copied().collect();
    if there.len() == sets.len() {
        intersect(&there, visit);
    }
}

/// The members that only the first set has.
fn each_different(sets: &Sets<'_>, visit: impl FnMut(Element<'_>) -> ControlFlow<()>) {
    if let Some((Some(first), others)) = sets.split_first() {
        let others: SmallVec<[&SetView; 4]> = others.iter().flatten().copied().collect();
        difference(first, &others, visit);
    }
}

/// Writes the members that `each` visits as a set.
fn reply_each(
    ctx: &mut Context<'_, '_>,
    each: impl FnOnce(&Sets<'_>, &mut dyn FnMut(Element<'_>) -> ControlFlow<()>),
) -> CommandResult {
    let keys = all_keys(ctx, 1);
    let sets = sets_of(&ctx.data.gather(&keys))?;
    let reply = &mut ctx.reply;
    let header = reply.defer();
    let mut members = 0;
    each(&sets, &mut |member| {
        reply.element(member);
        members += 1;
        ControlFlow::Continue(())
    });
    reply.finish_set(header, members);
    Ok(Outcome::Done)
}

/// Stores a set, over whatever was there, or removes the destination when there are no members.
fn store(ctx: &mut Context<'_, '_>, to: Key<'_>, result: Set, event: &'static str) {
    let members = result.len();
    if members == 0 {
        delete_key(ctx, to);
    } else {
        let value = NewValue::Owned(Value::Set(result));
        if !ctx.data.overwrite(to, value, Expiry::Clear) {
            ctx.data.notify(EventClass::New, "new", to);
        }
        ctx.data.changed(to, EventClass::Set, event);
    }
    ctx.reply.integer(length(members));
}

/// A set of the members that `each` visits.
fn collect(
    ctx: &mut Context<'_, '_>,
    each: impl FnOnce(&Sets<'_>, &mut dyn FnMut(Element<'_>) -> ControlFlow<()>),
) -> Result<Set, CommandError> {
    let keys = all_keys(ctx, 2);
    let limits = ctx.thresholds();
    let sets = sets_of(&ctx.data.gather(&keys))?;
    let mut result = Set::new();
    each(&sets, &mut |member| {
        result.add(member.as_bytes(&mut { DIGITS }), &limits);
        ControlFlow::Continue(())
    });
    Ok(result)
}

fn reply_members(reply: &mut Reply<'_>, set: &SetView) {
    reply.set(set.len());
    set.iter().for_each(|member| reply.element(member));
}

/// Frees a set that was made for a reply only.
fn discard(data: &Data<'_, '_>, set: Set) {
    let set = Value::Set(set);
    if set.is_big() && data.engine.config.bool(P::LazyfreeLazyServerDel) {
        data.engine.lazy.free(Box::new(set));
    }
}

pub(super) const SINTER: CommandSpec = CommandSpec::new("sinter", -2, sinter)
    .group(Group::Set)
    .since("1.0.0")
    .flags(Flags::READONLY)
    .summary("Returns the members that are in all of the given sets.")
    .complexity("O(N*M) with the size N of the smallest set and M sets.")
    .hints(&["nondeterministic_output_order"])
    .keys(&[KeySpec::range(1, -1, 1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEYS]);
pub(super) fn sinter(ctx: &mut Context<'_, '_>) -> CommandResult {
    reply_each(ctx, |sets, visit| each_common(sets, visit))
}

pub(super) const SINTERSTORE: CommandSpec = CommandSpec::new("sinterstore", -3, sinterstore)
    .group(Group::Set)
    .since("1.0.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM))
    .summary("Stores the members that are in all of the given sets.")
    .complexity("O(N*M) with the size N of the smallest set and M sets.")
    .keys(&[
        KeySpec::one(1, KeyFlags::OW.or(KeyFlags::UPDATE)),
        KeySpec::range(2, -1, 1, KeyFlags::RO.or(KeyFlags::ACCESS)),
    ])
    .args(&[Arg::DESTINATION, Arg::SOURCE_KEYS]);
pub(super) fn sinterstore(ctx: &mut Context<'_, '_>) -> CommandResult {
    let to = ctx.key(1);
    let result = collect(ctx, |sets, visit| each_common(sets, visit))?;
    store(ctx, to, result, "sinterstore");
    Ok(Outcome::Done)
}

pub(super) const SDIFF: CommandSpec = CommandSpec::new("sdiff", -2, sdiff)
    .group(Group::Set)
    .since("1.0.0")
    .flags(Flags::READONLY)
    .summary("Returns the members of the first set that none of the others has.")
    .complexity("O(N) in the number of members of all sets.")
    .hints(&["nondeterministic_output_order"])
    .keys(&[KeySpec::range(1, -1, 1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEYS]);
pub(super) fn sdiff(ctx: &mut Context<'_, '_>) -> CommandResult {
    reply_each(ctx, |sets, visit| each_different(sets, visit))
}

pub(super) const SDIFFSTORE: CommandSpec = CommandSpec::new("sdiffstore", -3, sdiffstore)
    .group(Group::Set)
    .since("1.0.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM))
    .summary("Stores the members of the first set that none of the others has.")
    .complexity("O(N) in the number of members of all sets.")
    .keys(&[
        KeySpec::one(1, KeyFlags::OW.or(KeyFlags::UPDATE)),
        KeySpec::range(2, -1, 1, KeyFlags::RO.or(KeyFlags::ACCESS)),
    ])
    .args(&[Arg::DESTINATION, Arg::SOURCE_KEYS]);
pub(super) fn sdiffstore(ctx: &mut Context<'_, '_>) -> CommandResult {
    let to = ctx.key(1);
    let result = collect(ctx, |sets, visit| each_different(sets, visit))?;
    store(ctx, to, result, "sdiffstore");
    Ok(Outcome::Done)
}

pub(super) const SUNION: CommandSpec = CommandSpec::new("sunion", -2, sunion)
    .group(Group::Set)
    .since("1.0.0")
    .flags(Flags::READONLY)
    .summary("Returns the members that are in any of the given sets.")
    .complexity("O(N) in the number of members of all sets.")
    .hints(&["nondeterministic_output_order"])
    .keys(&[KeySpec::range(1, -1, 1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEYS]);
pub(super) fn sunion(ctx: &mut Context<'_, '_>) -> CommandResult {
    let keys = all_keys(ctx, 1);
    let limits = ctx.thresholds();
    let made = {
        let sets = sets_of(&ctx.data.gather(&keys))?;
        let there: SmallVec<[&SetView; 4]> = sets.iter().flatten().copied().collect();
        match there.as_slice() {
            [] => {
                ctx.reply.set(0);
                None
            }
            [one] => {
                reply_members(&mut ctx.reply, one);
                None
            }
            several => Some(union(several, &limits)),
        }
    };
    if let Some(result) = made {
        reply_members(&mut ctx.reply, &result);
        discard(&ctx.data, result);
    }
    Ok(Outcome::Done)
}

pub(super) const SUNIONSTORE: CommandSpec = CommandSpec::new("sunionstore", -3, sunionstore)
    .group(Group::Set)
    .since("1.0.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM))
    .summary("Stores the members that are in any of the given sets.")
    .complexity("O(N) in the number of members of all sets.")
    .keys(&[
        KeySpec::one(1, KeyFlags::OW.or(KeyFlags::UPDATE)),
        KeySpec::range(2, -1, 1, KeyFlags::RO.or(KeyFlags::ACCESS)),
    ])
    .args(&[Arg::DESTINATION, Arg::SOURCE_KEYS]);
pub(super) fn sunionstore(ctx: &mut Context<'_, '_>) -> CommandResult {
    let to = ctx.key(1);
    let keys = all_keys(ctx, 2);
    let limits = ctx.thresholds();
    let result = {
        let sets = sets_of(&ctx.data.gather(&keys))?;
        let there: SmallVec<[&SetView; 4]> = sets.iter().flatten().copied().collect();
        union(&there, &limits)
    };
    store(ctx, to, result, "sunionstore");
    Ok(Outcome::Done)
}

/// Arguments of the commands that count: the number of keys and the options after them.
struct Counting {
    numkeys: usize,
    /// Where to stop counting; `usize::MAX` when nowhere.
    limit: usize,
    approx: bool,
}

impl Counting {
    fn parse(ctx: &Context<'_, '_>, with_approx: bool) -> Result<Self, CommandError> {
        let numkeys = resp::number::parse_i64(ctx.arg(1))
            .and_then(|number| usize::try_from(number).ok())
            .filter(|number| *number > 0)
            .ok_or(CommandError::line("ERR numkeys should be greater than 0"))?;
        if numkeys > ctx.args.len() - 2 {
            return Err(CommandError::line(
                "ERR Number of keys can't be greater than number of args",
            ));
        }
        let mut options = Self {
            numkeys,
            limit: 0,
            approx: false,
        };
        let mut index = 2 + numkeys;
        while index < ctx.args.len() {
            if ctx.is_word(index, "limit") && index + 1 < ctx.args.len() {
                index += 1;
                options.limit = resp::number::parse_i64(ctx.arg(index))
                    .and_then(|limit| usize::try_from(limit).ok())
                    .ok_or(CommandError::line("ERR LIMIT can't be negative"))?;
            } else if with_approx && ctx.is_word(index, "approx") {
                options.approx = true;
            } else {
                return Err(CommandError::Syntax);
            }
            index += 1;
        }
        if options.limit == 0 {
            options.limit = usize::MAX;
        }
        Ok(options)
    }
}

/// Counts up to a limit.
struct Counter {
    count: usize,
    limit: usize,
}

impl Counter {
    fn one_more(&mut self) -> ControlFlow<()> {
        self.count += 1;
        match self.count >= self.limit {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

fn reply_count(
    ctx: &mut Context<'_, '_>,
    each: impl FnOnce(&Sets<'_>, &mut dyn FnMut(Element<'_>) -> ControlFlow<()>),
) -> CommandResult {
    let options = Counting::parse(ctx, false)?;
    let keys = keys(ctx, 2, options.numkeys);
    let sets = sets_of(&ctx.data.gather(&keys))?;
    let mut counter = Counter {
        count: 0,
        limit: options.limit,
    };
    each(&sets, &mut |_| counter.one_more());
    ctx.reply.integer(length(counter.count));
    Ok(Outcome::Done)
}

pub(super) const SINTERCARD: CommandSpec = CommandSpec::new("sintercard", -3, sintercard)
    .group(Group::Set)
    .since("7.0.0")
    .flags(Flags::READONLY)
    .summary("Counts the members that are in all of the given sets.")
    .complexity("O(N*M) with the size N of the smallest set and M sets.")
    .keys(&[KeySpec::counted(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[
        Arg::NUMKEYS,
        Arg::KEYS,
        Arg::integer("limit").option("LIMIT"),
    ]);
pub(super) fn sintercard(ctx: &mut Context<'_, '_>) -> CommandResult {
    reply_count(ctx, |sets, visit| each_common(sets, visit))
}

pub(super) const SDIFFCARD: CommandSpec = CommandSpec::new("sdiffcard", -3, sdiffcard)
    .group(Group::Set)
    .since("8.10.0")
    .flags(Flags::READONLY)
    .summary("Counts the members of the first set that none of the others has.")
    .complexity("O(N) in the number of members of all sets.")
    .keys(&[KeySpec::counted(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[
        Arg::NUMKEYS,
        Arg::KEYS,
        Arg::integer("limit").option("LIMIT"),
    ]);
pub(super) fn sdiffcard(ctx: &mut Context<'_, '_>) -> CommandResult {
    reply_count(ctx, |sets, visit| each_different(sets, visit))
}

pub(super) const SUNIONCARD: CommandSpec = CommandSpec::new("sunioncard", -3, sunioncard)
    .group(Group::Set)
    .since("8.10.0")
    .flags(Flags::READONLY)
    .summary("Counts the members that are in any of the given sets, exactly or in fixed memory.")
    .complexity("O(N) in the number of members of all sets.")
    .keys(&[KeySpec::counted(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[
        Arg::NUMKEYS,
        Arg::KEYS,
        Arg::flag("approx", "APPROX"),
        Arg::integer("limit").option("LIMIT"),
    ]);
pub(super) fn sunioncard(ctx: &mut Context<'_, '_>) -> CommandResult {
    let options = Counting::parse(ctx, true)?;
    let keys = keys(ctx, 2, options.numkeys);
    let limits = ctx.thresholds();
    let limit = options.limit;
    let (count, made) = {
        let sets = sets_of(&ctx.data.gather(&keys))?;
        let mut there: SmallVec<[&SetView; 4]> = sets.iter().flatten().copied().collect();
        // The largest first: its members count without being looked at.
        there.sort_by_key(|set| std::cmp::Reverse(set.len()));
        if options.approx {
            (estimate(&there), None)
        } else if there.len() <= COUNTED_BY_DIFFERENCES {
            (count_union(&there, limit), None)
        } else {
            let result = union(&there, &limits);
            (result.len(), Some(result))
        }
    };
    if let Some(result) = made {
        discard(&ctx.data, result);
    }
    ctx.reply.integer(length(count.min(limit)));
    Ok(Outcome::Done)
}

/// Up to this many sets are counted without building their union. Each member is looked up in the
/// sets before its own, so for more sets the union is built.
const COUNTED_BY_DIFFERENCES: usize = 4;

/// The size of a union, up to a limit: of each set count the members that no set before it has.
fn count_union(sets: &[&SetView], limit: usize) -> usize {
    let first = sets.first().map_or(0, |set| set.len());
    let mut counter = Counter {
        count: first,
        limit,
    };
    for (index, set) in sets.iter().enumerate().skip(1) {
        if counter.count >= limit {
            break;
        }
        let before = sets.get(..index).unwrap_or_default();
        difference(set, before, |_| counter.one_more());
    }
    counter.count
}

fn estimate(sets: &[&SetView]) -> usize {
    let mut estimate = Estimate::new();
    for member in sets.iter().flat_map(|set| set.iter()) {
        estimate.add(member.as_bytes(&mut { DIGITS }));
    }
    estimate.count()
}
