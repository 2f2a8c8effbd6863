//! Reading: LINDEX, LLEN, LPOS, LRANGE.

use std::ops::ControlFlow;

use super::{ELEMENT, place, places};
use crate::command::*;
use crate::context::{Context, ElementReply};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

pub(super) const LINDEX: CommandSpec = CommandSpec::new("lindex", 3, lindex)
    .group(Group::List)
    .since("1.0.0")
    .flags(Flags::READONLY)
    .summary("Returns the element at an index.")
    .complexity(
        "O(N) in the number of elements between the index and the nearest end; O(1) for the \
         first and the last.",
    )
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY, Arg::integer("index")]);

pub(super) fn lindex(ctx: &mut Context<'_, '_>) -> CommandResult {
    let index = ctx.integer(2);
    let key = ctx.key(1);
    let Some(list) = ctx.data.list(key)? else {
        ctx.reply.null();
        return Ok(Outcome::Done);
    };
    let found = place(index?, list.len())
        .and_then(|at| list.with(at, |element| ctx.reply.element(element)));
    if found.is_none() {
        ctx.reply.null();
    }
    Ok(Outcome::Done)
}

pub(super) const LLEN: CommandSpec = CommandSpec::new("llen", 2, llen)
    .group(Group::List)
    .since("1.0.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .summary("Returns the number of elements.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RO)])
    .args(&[Arg::KEY]);

pub(super) fn llen(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    let len = ctx.data.list(key)?.map_or(0, |list| list.len());
    ctx.reply.integer(len as i64);
    Ok(Outcome::Done)
}

pub(super) const LRANGE: CommandSpec = CommandSpec::new("lrange", 4, lrange)
    .group(Group::List)
    .since("1.0.0")
    .flags(Flags::READONLY)
    .summary("Returns the elements of a range of indexes.")
    .complexity("O(S+N) with N elements returned, S elements away from the nearest end.")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY, Arg::integer("start"), Arg::integer("stop")]);

pub(super) fn lrange(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (start, stop) = (ctx.integer(2)?, ctx.integer(3)?);
    let key = ctx.key(1);
    let Some(list) = ctx.data.list(key)? else {
        ctx.reply.empty_array();
        return Ok(Outcome::Done);
    };
    let range = places(start, stop, list.len());
    ctx.reply.array(range.len());
    list.visit(range, false, |element| {
        ctx.reply.element(element);
        ControlFlow::Continue(())
    });
    Ok(Outcome::Done)
}

/// Options of LPOS.
struct Search {
    /// From which match on, counted from 1.
    rank: usize,
    from_back: bool,
    /// How many matches; 0: all. `None` without the option: one, not as an array.
    count: Option<usize>,
    /// Elements that are compared; 0: all.
    maxlen: usize,
}

impl Search {
    fn parse(ctx: &Context<'_, '_>) -> Result<Self, CommandError> {
        let mut search = Self {
            rank: 1,
            from_back: false,
            count: None,
            maxlen: 0,
        };
        let mut at = 3;
        while at < ctx.args.len() {
            if at + 1 == ctx.args.len() {
                return Err(CommandError::Syntax);
            }
            if ctx.is_word(at, "rank") {
                let rank = rank(ctx, at + 1)?;
                search.from_back = rank < 0;
                search.rank = usize::try_from(rank.unsigned_abs()).unwrap_or(usize::MAX);
            } else if ctx.is_word(at, "count") {
                let error = "ERR COUNT can't be negative";
                search.count = Some(not_negative(ctx, at + 1, error)?);
            } else if ctx.is_word(at, "maxlen") {
                search.maxlen = not_negative(ctx, at + 1, "ERR MAXLEN can't be negative")?;
            } else {
                return Err(CommandError::Syntax);
            }
            at += 2;
        }
        Ok(search)
    }
}

fn rank(ctx: &Context<'_, '_>, index: usize) -> Result<i64, CommandError> {
    match ctx.integer(index)? {
        0 => Err(CommandError::line(
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use \
             negative to start from the end of the list",
        )),
        i64::MIN => Err(super::edit::OUT_OF_LONG_RANGE),
        rank => Ok(rank),
    }
}

fn not_negative(
    ctx: &Context<'_, '_>,
    index: usize,
    error: &'static str,
) -> Result<usize, CommandError> {
    ctx.integer(index)
        .ok()
        .and_then(|number| usize::try_from(number).ok())
        .ok_or(CommandError::line(error))
}

pub(super) const LPOS: CommandSpec = CommandSpec::new("lpos", -3, lpos)
    .group(Group::List)
    .since("6.0.6")
    .flags(Flags::READONLY)
    .summary("Returns the indexes at which an element stands.")
    .complexity("O(N) in the number of elements compared, at most the length of the list.")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[
        Arg::KEY,
        ELEMENT,
        Arg::integer("rank").option("RANK"),
        Arg::integer("num-matches").option("COUNT"),
        Arg::integer("len").option("MAXLEN"),
    ]);

pub(super) fn lpos(ctx: &mut Context<'_, '_>) -> CommandResult {
    let search = Search::parse(ctx)?;
    let (key, element) = (ctx.key(1), ctx.arg(2));
    let list = ctx.data.list(key)?;
    let mut matches = 0;
    let position = |found: &mut dyn FnMut(usize) -> ControlFlow<()>| {
        if let Some(list) = list {
            let (rank, maxlen) = (search.rank, search.maxlen);
            list.position(element, search.from_back, rank, maxlen, found);
        }
    };
    let Some(count) = search.count else {
        let mut first = None;
        position(&mut |index| {
            first = Some(index);
            ControlFlow::Break(())
        });
        match first {
            Some(index) => ctx.reply.integer(index as i64),
            None => ctx.reply.null(),
        }
        return Ok(Outcome::Done);
    };
    let deferred = ctx.reply.defer();
    position(&mut |index| {
        ctx.reply.integer(index as i64);
        matches += 1;
        if matches == count {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    ctx.reply.finish_array(deferred, matches);
    Ok(Outcome::Done)
}
