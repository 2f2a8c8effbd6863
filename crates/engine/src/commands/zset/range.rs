//! Ranges of members: ZRANGE, its older relatives and ZRANGESTORE.

use std::ops::Range;

use values::{DIGITS, Element, SortedSet, SortedSetBuilder, SortedSetView, Thresholds};

use super::bounds::{By, Limit, Span};
use super::{arguments, store, write_members};
use crate::command::*;
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

/// Complexity of the commands that return a range of scores or members.
const COMPLEXITY: &str = "O(log(N)+M) with N being the number of elements in the sorted set and M the number of \
     elements being returned. If M is constant (e.g. always asking for the first 10 elements \
     with LIMIT), you can consider it O(log(N)).";

/// The properties that commands of this family differ in.
#[derive(Clone, Copy, Debug)]
struct Form {
    /// Index of the key that is read; the bounds follow it.
    key: usize,
    /// The kind of the range, unless an option decides.
    by: Option<By>,
    /// The direction, unless an option decides.
    reverse: Option<bool>,
    /// The result is stored.
    stores: bool,
}

/// One request.
struct Request<'a> {
    span: Span<'a>,
    reverse: bool,
    limit: Limit,
    with_scores: bool,
}

impl<'a> Request<'a> {
    fn parse(ctx: &Context<'a, '_>, form: Form) -> Result<Self, CommandError> {
        let (mut by, mut reverse) = (form.by, form.reverse);
        let mut with_scores = false;
        let mut limit = Limit::ALL;
        let mut index = form.key + 3;
        while index < ctx.args.len() {
            if !form.stores && ctx.is_word(index, "withscores") {
                with_scores = true;
            } else if ctx.is_word(index, "limit") && index + 2 < ctx.args.len() {
                limit.offset = ctx.integer(index + 1)?;
                limit.count = ctx.integer(index + 2)?;
                index += 2;
            } else if reverse.is_none() && ctx.is_word(index, "rev") {
                reverse = Some(true);
            } else if by.is_none() && ctx.is_word(index, "bylex") {
                by = Some(By::Lex);
            } else if by.is_none() && ctx.is_word(index, "byscore") {
                by = Some(By::Score);
            } else {
                return Err(CommandError::Syntax);
            }
            index += 1;
        }
        let by = by.unwrap_or(By::Rank);
        let reverse = reverse.unwrap_or(false);
        check_combination(by, limit, with_scores)?;
        let (first, second) = (form.key + 1, form.key + 2);
        // Scores and members are given from the higher to the lower one when the order is reversed.
        let (min, max) = if reverse && by != By::Rank {
            (second, first)
        } else {
            (first, second)
        };
        Ok(Self {
            span: Span::parse(ctx, by, min, max)?,
            reverse,
            limit,
            with_scores,
        })
    }

    fn ranks(&self, members: &SortedSetView) -> Range<usize> {
        let ranks = self.span.ranks(members, self.reverse);
        match self.span {
            // An offset without a count is accepted with ranks, and means nothing.
            Span::Ranks(..) => ranks,
            _ => self.limit.part_of(ranks, self.reverse),
        }
    }

    /// A sorted set of the members in the range.
    ///
    /// Redis adds them one by one, in the order of the request, and a packed sorted set loses the
    /// sign of a zero.
    fn copy_of(&self, members: &SortedSetView, limits: &Thresholds) -> SortedSet {
        let found = members.range(self.ranks(members));
        let mut copy = SortedSetBuilder::with_capacity(found.len());
        let is_counted = matches!(self.span, Span::Ranks(..));
        let mut packed = !is_counted || found.len() <= limits.zset_entries;
        let mut add = |(member, score): (Element<'_>, f64)| {
            let mut digits = DIGITS;
            let member = member.as_bytes(&mut digits);
            packed &= copy.len() < limits.zset_entries && member.len() <= limits.zset_value;
            let score = if packed && score == 0.0 { 0.0 } else { score };
            copy.merge(member, score, |_, new| new);
        };
        match self.reverse {
            true => found.rev().for_each(&mut add),
            false => found.for_each(&mut add),
        }
        copy.finish(limits)
    }
}

fn check_combination(by: By, limit: Limit, with_scores: bool) -> Result<(), CommandError> {
    if limit.count != -1 && by == By::Rank {
        return Err(CommandError::line(
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
        ));
    }
    if with_scores && by == By::Lex {
        return Err(CommandError::line(
            "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
        ));
    }
    Ok(())
}

/// Answers a range.
fn reply(ctx: &mut Context<'_, '_>, by: Option<By>, reverse: Option<bool>) -> CommandResult {
    let form = Form {
        key: 1,
        by,
        reverse,
        stores: false,
    };
    let request = Request::parse(ctx, form)?;
    let key = ctx.key(1);
    let Some(members) = ctx.data.zset(key)? else {
        ctx.reply.empty_array();
        return Ok(Outcome::Done);
    };
    let found = members.range(request.ranks(members));
    if request.reverse {
        write_members(&mut ctx.reply, found.rev(), request.with_scores);
    } else {
        write_members(&mut ctx.reply, found, request.with_scores);
    }
    Ok(Outcome::Done)
}

pub(super) const ZRANGE: CommandSpec = CommandSpec::new("zrange", -4, zrange)
    .group(Group::SortedSet)
    .since("1.2.0")
    .flags(Flags::READONLY)
    .summary(
        "Returns the members in a range of ranks, scores or, where all scores are equal, members.",
    )
    .complexity("O(log(N)) in the size of the sorted set, and O(M) in what is returned.")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[
        Arg::KEY,
        Arg::string("start"),
        Arg::string("stop"),
        arguments::SORT_BY.since("6.2.0"),
        Arg::flag("rev", "REV").since("6.2.0"),
        Arg::LIMIT.since("6.2.0"),
        arguments::WITHSCORES,
    ]);

pub(super) fn zrange(ctx: &mut Context<'_, '_>) -> CommandResult {
    reply(ctx, None, None)
}

pub(super) const ZREVRANGE: CommandSpec = CommandSpec::new("zrevrange", -4, zrevrange)
    .group(Group::SortedSet)
    .since("1.2.0")
    .flags(Flags::READONLY)
    .summary("Returns the members in a range of ranks that count from the highest score.")
    .complexity("O(log(N)) in the size of the sorted set, and O(M) in what is returned.")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[
        Arg::KEY,
        Arg::integer("start"),
        Arg::integer("stop"),
        arguments::WITHSCORES,
    ]);

pub(super) fn zrevrange(ctx: &mut Context<'_, '_>) -> CommandResult {
    reply(ctx, Some(By::Rank), Some(true))
}

pub(super) const ZRANGEBYSCORE: CommandSpec = CommandSpec::new("zrangebyscore", -4, zrangebyscore)
    .group(Group::SortedSet)
    .since("1.0.5")
    .flags(Flags::READONLY)
    .summary("Returns the members in a range of scores.")
    .complexity(COMPLEXITY)
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[
        Arg::KEY,
        Arg::double("min"),
        Arg::double("max"),
        arguments::WITHSCORES.since("2.0.0"),
        Arg::LIMIT,
    ]);

pub(super) fn zrangebyscore(ctx: &mut Context<'_, '_>) -> CommandResult {
    reply(ctx, Some(By::Score), Some(false))
}

pub(super) const ZREVRANGEBYSCORE: CommandSpec =
    CommandSpec::new("zrevrangebyscore", -4, zrevrangebyscore)
        .group(Group::SortedSet)
        .since("2.2.0")
        .flags(Flags::READONLY)
        .summary("Returns the members in a range of scores, from the highest to the lowest.")
        .complexity(COMPLEXITY)
        .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
        .args(&[
            Arg::KEY,
            Arg::double("max"),
            Arg::double("min"),
            arguments::WITHSCORES,
            Arg::LIMIT,
        ]);

pub(super) fn zrevrangebyscore(ctx: &mut Context<'_, '_>) -> CommandResult {
    reply(ctx, Some(By::Score), Some(true))
}

pub(super) const ZRANGEBYLEX: CommandSpec = CommandSpec::new("zrangebylex", -4, zrangebylex)
    .group(Group::SortedSet)
    .since("2.8.9")
    .flags(Flags::READONLY)
    .summary("Returns the members between two members of a sorted set whose scores are all equal.")
    .complexity(COMPLEXITY)
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY, Arg::string("min"), Arg::string("max"), Arg::LIMIT]);

pub(super) fn zrangebylex(ctx: &mut Context<'_, '_>) -> CommandResult {
    reply(ctx, Some(By::Lex), Some(false))
}

pub(super) const ZREVRANGEBYLEX: CommandSpec = CommandSpec::new(
    "zrevrangebylex",
    -4,
    zrevrangebylex,
)
.group(Group::SortedSet)
.since("2.8.9")
.flags(Flags::READONLY)
.summary(
    "Returns the members between two members of a sorted set whose scores are all equal, in \
         reverse order.",
)
.complexity(COMPLEXITY)
.keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
.args(&[Arg::KEY, Arg::string("max"), Arg::string("min"), Arg::LIMIT]);

pub(super) fn zrevrangebylex(ctx: &mut Context<'_, '_>) -> CommandResult {
    reply(ctx, Some(By::Lex), Some(true))
}

pub(super) const ZRANGESTORE: CommandSpec = CommandSpec::new("zrangestore", -5, zrangestore)
    .group(Group::SortedSet)
    .since("6.2.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM))
    .summary("Stores the members in a range of a sorted set at another key.")
    .complexity("O(log(N)) in the size of the sorted set, and O(M) in what is stored.")
    .keys(&[
        KeySpec::one(1, KeyFlags::OW.or(KeyFlags::UPDATE)),
        KeySpec::one(2, KeyFlags::RO.or(KeyFlags::ACCESS)),
    ])
    .args(&[
        Arg::key("dst"),
        Arg::key("src").key_spec(1),
        Arg::string("min"),
        Arg::string("max"),
        arguments::SORT_BY,
        Arg::flag("rev", "REV"),
        Arg::LIMIT,
    ]);

pub(super) fn zrangestore(ctx: &mut Context<'_, '_>) -> CommandResult {
    let form = Form {
        key: 2,
        by: None,
        reverse: None,
        stores: true,
    };
    let request = Request::parse(ctx, form)?;
    let (destination, source) = (ctx.key(1), ctx.key(2));
    let limits = ctx.thresholds();
    let found = match ctx.data.zset(source)? {
        Some(members) => request.copy_of(members, &limits),
        None => SortedSet::new(),
    };
    store(ctx, destination, found, "zrangestore");
    Ok(Outcome::Done)
}
