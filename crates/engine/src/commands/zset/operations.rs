//! ZUNION, ZINTER, ZDIFF, the forms that store, and ZINTERCARD.

use std::ops::ControlFlow;

use resp::Args;
use smallvec::SmallVec;
use values::SortedSet;

use super::combine::{Aggregate, Source, difference, intersect, intersection, union};
use super::{arguments, length, store, write_members};
use crate::command::*;
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::keys::Key;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// The use of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Reply,
    Store,
    Count,
}

type Sources<'a> = SmallVec<[Source<'a>; 4]>;

/// Options of one request; weights stand in the sources.
#[derive(Clone, Copy, Debug, Default)]
struct Options {
    aggregate: Aggregate,
    with_scores: bool,
    /// LIMIT: where counting stops; 0 for never.
    limit: usize,
}

impl Options {
    /// Reads the arguments after the keys, and weights by `double`.
    fn parse(
        args: Args<'_>,
        double: fn(&[u8]) -> Option<f64>,
        operation: Operation,
        purpose: Purpose,
        sources: &mut [Source<'_>],
    ) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let weighs = operation != Operation::Difference && purpose != Purpose::Count;
        let mut index = 0;
        while let Some(word) = args.get(index) {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            let values = args.skip(index + 1);
            index += 1;
            if weighs && values.len() >= sources.len() && is(b"weights") {
                for (source, text) in sources.iter_mut().zip(values.iter()) {
                    source.weight = double(text)
                        .ok_or(CommandError::line("ERR weight value is not a float"))?;
                }
                index += sources.len();
            } else if weighs && !values.is_empty() && is(b"aggregate") {
                options.aggregate = Aggregate::parse(values.arg(0)).ok_or(CommandError::Syntax)?;
                index += 1;
            } else if purpose == Purpose::Reply && is(b"withscores") {
                options.with_scores = true;
            } else if purpose == Purpose::Count && !values.is_empty() && is(b"limit") {
                options.limit = resp::number::parse_i64(values.arg(0))
                    .and_then(|limit| usize::try_from(limit).ok())
                    .ok_or(CommandError::line("ERR LIMIT can't be negative"))?;
                index += 1;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }
}

/// The keys that are read; `numkeys` is the index of their number.
fn keys<'c>(ctx: &Context<'c, '_>, numkeys: usize) -> Result<SmallVec<[Key<'c>; 4]>, CommandError> {
    let count = ctx.integer(numkeys)?;
    if count < 1 {
        return Err(CommandError::owned(format!(
            "ERR at least 1 input key is needed for '{}' command",
            ctx.entry.full_name
        )));
    }
    let first = numkeys + 1;
    let count = usize::try_from(count)
        .ok()
        .filter(|count| *count <= ctx.args.len() - first)
        .ok_or(CommandError::Syntax)?;
    Ok((first..first + count).map(|index| ctx.key(index)).collect())
}

/// Reads the request, whose number of keys stands at `numkeys`, and hands the inputs and options to
/// `act`.
fn with_sources<R>(
    ctx: &mut Context<'_, '_>,
    numkeys: usize,
    operation: Operation,
    purpose: Purpose,
    act: impl FnOnce(&mut [Source<'_>], Options) -> R,
) -> Result<R, CommandError> {
    let keys = keys(ctx, numkeys)?;
    let rest = ctx.args.skip(numkeys + 1 + keys.len());
    let double = ctx.double_reader();
    let entries = ctx.data.gather(&keys);
    let sources: Result<Sources<'_>, CommandError> = entries.into_iter().map(Source::of).collect();
    let mut sources = sources?;
    let options = Options::parse(rest, double, operation, purpose, &mut sources)?;
    Ok(act(&mut sources, options))
}

/// The result of an operation, and whether its scores are wanted.
fn result(
    ctx: &mut Context<'_, '_>,
    numkeys: usize,
    operation: Operation,
    purpose: Purpose,
) -> Result<(SortedSet, bool), CommandError> {
    let mut limits = ctx.thresholds();
    if purpose == Purpose::Reply {
        // A temporary result is not packed: that would take time and lose the sign of -0.
        limits.zset_entries = 0;
    }
    with_sources(ctx, numkeys, operation, purpose, |sources, options| {
        let members = match operation {
            Operation::Union => union(sources, options.aggregate, &limits),
            Operation::Intersection => intersection(sources, options.aggregate, &limits),
            Operation::Difference => difference(sources, &limits),
        };
        (members, options.with_scores)
    })
}

fn reply(ctx: &mut Context<'_, '_>, operation: Operation) -> CommandResult {
    let (members, with_scores) = result(ctx, 1, operation, Purpose::Reply)?;
    write_members(&mut ctx.reply, members.iter(), with_scores);
    Ok(Outcome::Done)
}

fn keep(ctx: &mut Context<'_, '_>, operation: Operation, event: &'static str) -> CommandResult {
    let (members, _) = result(ctx, 2, operation, Purpose::Store)?;
    let destination = ctx.key(1);
    store(ctx, destination, members, event);
    Ok(Outcome::Done)
}

pub(super) const ZUNION: CommandSpec = CommandSpec::new("zunion", -3, zunion)
    .group(Group::SortedSet)
    .since("6.2.0")
    .flags(Flags::READONLY)
    .summary("Returns the members of any of several sorted sets.")
    .complexity("O(N) in the members of all inputs, and O(M*log(M)) for M members of the result.")
    .keys(&[KeySpec::counted(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[
        Arg::NUMKEYS,
        Arg::KEYS,
        arguments::WEIGHTS,
        arguments::AGGREGATE,
        arguments::WITHSCORES,
    ]);

pub(super) fn zunion(ctx: &mut Context<'_, '_>) -> CommandResult {
    reply(ctx, Operation::Union)
}

pub(super) const ZUNIONSTORE: CommandSpec = CommandSpec::new("zunionstore", -4, zunionstore)
    .group(Group::SortedSet)
    .since("2.0.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM))
    .summary("Stores the members of any of several sorted sets.")
    .complexity("O(N) in the members of all inputs, and O(M*log(M)) for M members of the result.")
    .keys(&[
        KeySpec::one(1, KeyFlags::OW.or(KeyFlags::UPDATE)),
        KeySpec::counted(2, KeyFlags::RO.or(KeyFlags::ACCESS)),
    ])
    .args(&[
        Arg::DESTINATION,
        Arg::NUMKEYS,
        Arg::SOURCE_KEYS,
        arguments::WEIGHTS,
        arguments::AGGREGATE,
    ]);

pub(super) fn zunionstore(ctx: &mut Context<'_, '_>) -> CommandResult {
    keep(ctx, Operation::Union, "zunionstore")
}

pub(super) const ZINTER: CommandSpec = CommandSpec::new("zinter", -3, zinter)
    .group(Group::SortedSet)
    .since("6.2.0")
    .flags(Flags::READONLY)
    .summary("Returns the members that several sorted sets have in common.")
    .complexity("O(N*K) for N members of the smallest input and K inputs, and O(M*log(M)) for M members of the result.")
    .keys(&[KeySpec::counted(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[
        Arg::NUMKEYS,
        Arg::KEYS,
        arguments::WEIGHTS,
        arguments::AGGREGATE,
        arguments::WITHSCORES,
    ]);

pub(super) fn zinter(ctx: &mut Context<'_, '_>) -> CommandResult {
    reply(ctx, Operation::Intersection)
}

pub(super) const ZINTERSTORE: CommandSpec = CommandSpec::new("zinterstore", -4, zinterstore)
    .group(Group::SortedSet)
    .since("2.0.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM))
    .summary("Stores the members that several sorted sets have in common.")
    .complexity("O(N*K) for N members of the smallest input and K inputs, and O(M*log(M)) for M members of the result.")
    .keys(&[
        KeySpec::one(1, KeyFlags::OW.or(KeyFlags::UPDATE)),
        KeySpec::counted(2, KeyFlags::RO.or(KeyFlags::ACCESS)),
    ])
    .args(&[
        Arg::DESTINATION,
        Arg::NUMKEYS,
        Arg::SOURCE_KEYS,
        arguments::WEIGHTS,
        arguments::AGGREGATE,
    ]);

pub(super) fn zinterstore(ctx: &mut Context<'_, '_>) -> CommandResult {
    keep(ctx, Operation::Intersection, "zinterstore")
}

pub(super) const ZINTERCARD: CommandSpec = CommandSpec::new("zintercard", -3, zintercard)
    .group(Group::SortedSet)
    .since("7.0.0")
    .flags(Flags::READONLY)
    .summary("Returns the number of members that several sorted sets have in common.")
    .complexity("O(N*K) for N members of the smallest input and K inputs.")
    .keys(&[KeySpec::counted(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[
        Arg::NUMKEYS,
        Arg::KEYS,
        Arg::integer("limit").option("LIMIT"),
    ]);

pub(super) fn zintercard(ctx: &mut Context<'_, '_>) -> CommandResult {
    let count = |sources: &mut [Source<'_>], options: Options| {
        let mut count = 0;
        intersect(sources, options.aggregate, |_, _| {
            count += 1;
            if count == options.limit {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        count
    };
    let count = with_sources(ctx, 1, Operation::Intersection, Purpose::Count, count)?;
    ctx.reply.integer(length(count));
    Ok(Outcome::Done)
}

pub(super) const ZDIFF: CommandSpec = CommandSpec::new("zdiff", -3, zdiff)
    .group(Group::SortedSet)
    .since("6.2.0")
    .flags(Flags::READONLY)
    .summary("Returns the members of a sorted set that are in no other one.")
    .complexity(
        "O(N*M) for N members of the first of M inputs, or O(L*log(N)) for L members of all.",
    )
    .keys(&[KeySpec::counted(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::NUMKEYS, Arg::KEYS, arguments::WITHSCORES]);

pub(super) fn zdiff(ctx: &mut Context<'_, '_>) -> CommandResult {
    reply(ctx, Operation::Difference)
}

pub(super) const ZDIFFSTORE: CommandSpec = CommandSpec::new("zdiffstore", -4, zdiffstore)
    .group(Group::SortedSet)
    .since("6.2.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM))
    .summary("Stores the members of a sorted set that are in no other one.")
    .complexity(
        "O(N*M) for N members of the first of M inputs, or O(L*log(N)) for L members of all.",
    )
    .keys(&[
        KeySpec::one(1, KeyFlags::OW.or(KeyFlags::UPDATE)),
        KeySpec::counted(2, KeyFlags::RO.or(KeyFlags::ACCESS)),
    ])
    .args(&[Arg::DESTINATION, Arg::NUMKEYS, Arg::SOURCE_KEYS]);

pub(super) fn zdiffstore(ctx: &mut Context<'_, '_>) -> CommandResult {
    keep(ctx, Operation::Difference, "zdiffstore")
}
