//! Taking elements out at the ends: LPOP, RPOP, LMPOP, and BLPOP, BRPOP, BLMPOP, which wait for
//! them.

use keyspace::Type;
use std::ops::ControlFlow;

use values::{End, List, Thresholds};

use super::{TIMEOUT, WHERE, elements_popped, end, outermost};
use crate::command::*;
use crate::context::{Context, ElementReply};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome, blocking};
use crate::keys::Key;
use crate::wait::{Block, Wakes};

/// LPOP and RPOP differ in the end only.
const POP: CommandSpec = CommandSpec::BASE
    .group(Group::List)
    .since("1.0.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .complexity("O(N) in the number of elements returned.")
    .keys(&[KeySpec::one(1, POPPED_KEY)])
    .args(&[Arg::KEY, Arg::integer("count").since("6.2.0").optional()]);

/// The flags of a popped key.
const POPPED_KEY: KeyFlags = KeyFlags::RW_ACCESS_DELETE;

pub(super) const LPOP: CommandSpec = POP
    .named("lpop", -2, lpop)
    .summary("Removes and returns the first element, or so many of the first ones.");

pub(super) fn lpop(ctx: &mut Context<'_, '_>) -> CommandResult {
    pop(ctx, End::Front)
}

pub(super) const RPOP: CommandSpec = POP
    .named("rpop", -2, rpop)
    .summary("Removes and returns the last element, or so many of the last ones.");

pub(super) fn rpop(ctx: &mut Context<'_, '_>) -> CommandResult {
    pop(ctx, End::Back)
}

fn pop(ctx: &mut Context<'_, '_>, end: End) -> CommandResult {
    let count = match ctx.args.len() {
        2 => None,
        3 => Some(not_negative(ctx, 2)?),
        _ => return Err(CommandError::Arity(ctx.entry.full_name.into())),
    };
    let limits = ctx.thresholds();
    let key = ctx.key(1);
    let Some(list) = ctx.data.list_mut(key)? else {
        match count {
            Some(_) => ctx.reply.null_array(),
            None => ctx.reply.null(),
        }
        return Ok(Outcome::Done);
    };
    let popped = match count {
        Some(0) => {
            ctx.reply.empty_array();
            return Ok(Outcome::Done);
        }
        Some(count) => take_many(list, end, count, &limits, &mut ctx.reply),
        None => take_one(list, end, &limits, &mut ctx.reply),
    };
    elements_popped(&mut ctx.data, key, end, popped);
    Ok(Outcome::Done)
}

fn not_negative(ctx: &Context<'_, '_>, index: usize) -> Result<usize, CommandError> {
    ctx.integer(index)
        .ok()
        .and_then(|count| usize::try_from(count).ok())
        .ok_or(CommandError::line(
            "ERR value is out of range, must be positive",
        ))
}

/// Moves the element at one end into the reply. Returns 1.
fn take_one(list: &mut List, end: End, limits: &Thresholds, reply: &mut resp::Reply<'_>) -> usize {
    let range = outermost(end, 1, list.len());
    list.with(range.start, |element| reply.element(element));
    list.remove_range(range, limits)
}

/// Moves up to `count` elements from one end into the reply, as an array that begins at that end.
/// Returns how many.
fn take_many(
    list: &mut List,
    end: End,
    count: usize,
    limits: &Thresholds,
    reply: &mut resp::Reply<'_>,
) -> usize {
    let range = outermost(end, count, list.len());
    reply.array(range.len());
    list.visit(range.clone(), end == End::Back, |element| {
        reply.element(element);
        ControlFlow::Continue(())
    });
    list.remove_range(range, limits)
}

pub(super) const LMPOP: CommandSpec = CommandSpec::new("lmpop", -4, lmpop)
    .group(Group::List)
    .since("7.0.0")
    .flags(Flags::WRITE)
    .summary("Removes and returns elements from one end of the first of several lists that exists.")
    .complexity("O(N+M) with N keys and M elements returned.")
    .keys(&[KeySpec::counted(1, POPPED_KEY)])
    .args(&[Arg::NUMKEYS, Arg::KEYS, WHERE, Arg::COUNT]);

pub(super) fn lmpop(ctx: &mut Context<'_, '_>) -> CommandResult {
    let request = MultiPop::parse(ctx, 1)?;
    if !pop_from_first(ctx, request.keys, request.end, Some(request.count))? {
        ctx.reply.null_array();
    }
    Ok(Outcome::Done)
}

/// Arguments of LMPOP and BLMPOP from `numkeys` on.
struct MultiPop {
    /// Indexes of the first key and of the argument behind the last one.
    keys: (usize, usize),
    end: End,
    count: usize,
}

impl MultiPop {
    fn parse(ctx: &Context<'_, '_>, numkeys_at: usize) -> Result<Self, CommandError> {
        let numkeys = at_least_one(ctx, numkeys_at, "ERR numkeys should be greater than 0")?;
        let first = numkeys_at + 1;
        let where_at = first
            .checked_add(numkeys)
            .filter(|at| *at < ctx.args.len())
            .ok_or(CommandError::Syntax)?;
        let end = end(ctx, where_at)?;
        let count = match ctx.args.len() - where_at {
            1 => 1,
            3 if ctx.is_word(where_at + 1, "count") => {
                at_least_one(ctx, where_at + 2, COUNT_TOO_SMALL)?
            }
            // A second COUNT is refused only after the first one was parsed.
            4.. if ctx.is_word(where_at + 1, "count") => {
                at_least_one(ctx, where_at + 2, COUNT_TOO_SMALL)?;
                return Err(CommandError::Syntax);
            }
            _ => return Err(CommandError::Syntax),
        };
        Ok(Self {
            keys: (first, where_at),
            end,
            count,
        })
    }
}

pub(super) const COUNT_TOO_SMALL: &str = "ERR count should be greater than 0";

pub(super) fn at_least_one(
    ctx: &Context<'_, '_>,
    index: usize,
    error: &'static str,
) -> Result<usize, CommandError> {
    ctx.integer(index)
        .ok()
        .and_then(|number| usize::try_from(number).ok())
        .filter(|number| *number > 0)
        .ok_or(CommandError::line(error))
}

/// Pops from the first key that exists: `count` elements as BLMPOP replies them or, without a
/// count, one as BLPOP does. False when no key exists. Logged as the plain pop of that key.
fn pop_from_first(
    ctx: &mut Context<'_, '_>,
    (first, behind): (usize, usize),
    end: End,
    count: Option<usize>,
) -> Result<bool, CommandError> {
    let limits = ctx.thresholds();
    for index in first..behind {
        let key = ctx.key(index);
        let Some(list) = ctx.data.list_mut(key)? else {
            continue;
        };
        ctx.reply.array(2);
        ctx.reply.bulk(key.bytes);
        let popped = match count {
            Some(count) => take_many(list, end, count, &limits, &mut ctx.reply),
            None => take_one(list, end, &limits, &mut ctx.reply),
        };
        elements_popped(&mut ctx.data, key, end, popped);
        log_pop(ctx, key, end, count.map(|_| popped));
        return Ok(true);
    }
    Ok(false)
}

fn log_pop(ctx: &mut Context<'_, '_>, key: Key<'_>, end: End, count: Option<usize>) {
    let word: &[u8] = match end {
        End::Front => b"LPOP",
        End::Back => b"RPOP",
    };
    match count {
        Some(count) => {
            let mut digits = itoa::Buffer::new();
            let count = digits.format(count).as_bytes();
            ctx.propagate(&[word, key.bytes, count]);
        }
        None => ctx.propagate(&[word, key.bytes]),
    }
}

/// BLPOP and BRPOP differ in the end only.
const BLOCKING_POP: CommandSpec = CommandSpec::BASE
    .group(Group::List)
    .since("2.0.0")
    .flags(Flags::WRITE.or(Flags::BLOCKING))
    .complexity("O(N) in the number of keys.")
    .keys(&[KeySpec::range(1, -2, 1, POPPED_KEY)])
    .args(&[Arg::KEYS, TIMEOUT]);

pub(super) const BLPOP: CommandSpec = BLOCKING_POP.named("blpop", -3, blpop).summary(
    "Removes and returns the first element of the first of several lists that exists; waits \
         until one does.",
);

pub(super) fn blpop(ctx: &mut Context<'_, '_>) -> CommandResult {
    blocking_pop(ctx, End::Front)
}

pub(super) const BRPOP: CommandSpec = BLOCKING_POP.named("brpop", -3, brpop).summary(
    "Removes and returns the last element of the first of several lists that exists; waits \
         until one does.",
);

pub(super) fn brpop(ctx: &mut Context<'_, '_>) -> CommandResult {
    blocking_pop(ctx, End::Back)
}

fn blocking_pop(ctx: &mut Context<'_, '_>, end: End) -> CommandResult {
    let last = ctx.args.len() - 1;
    pop_or_wait(ctx, last, (1, last), end, None)
}

pub(super) const BLMPOP: CommandSpec = CommandSpec::new("blmpop", -5, blmpop)
    .group(Group::List)
    .since("7.0.0")
    .flags(Flags::WRITE.or(Flags::BLOCKING))
    .summary(
        "Removes and returns elements from one end of the first of several lists that exists; \
         waits until one does.",
    )
    .complexity("O(N+M) with N keys and M elements returned.")
    .keys(&[KeySpec::counted(2, POPPED_KEY)])
    .args(&[TIMEOUT, Arg::NUMKEYS, Arg::KEYS, WHERE, Arg::COUNT]);

pub(super) fn blmpop(ctx: &mut Context<'_, '_>) -> CommandResult {
    let request = MultiPop::parse(ctx, 2)?;
    pop_or_wait(ctx, 1, request.keys, request.end, Some(request.count))
}

fn pop_or_wait(
    ctx: &mut Context<'_, '_>,
    timeout_at: usize,
    keys: (usize, usize),
    end: End,
    count: Option<usize>,
) -> CommandResult {
    let deadline_ms = blocking::deadline(ctx, timeout_at)?;
    if pop_from_first(ctx, keys, end, count)? {
        return Ok(Outcome::Done);
    }
    if !ctx.may_block() {
        ctx.reply.null_array();
        return Ok(Outcome::Done);
    }
    Ok(Outcome::Block(Block::Keys {
        keys: (keys.0..keys.1).map(|at| ctx.arg(at).to_vec()).collect(),
        deadline_ms,
        wakes: Wakes {
            kind: Type::List,
            removal: false,
        },
    }))
}
