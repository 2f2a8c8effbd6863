//! Taking members from an end: ZPOPMIN, ZPOPMAX, ZMPOP and the forms that wait.

use keyspace::Type;
use resp::{Args, Protocol, Reply};
use smallvec::SmallVec;

use super::arguments;
use super::remove::note_removed;
use crate::command::*;
use crate::context::{Context, ElementReply};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome, blocking};
use crate::keys::Key;
use crate::wait::{Block, Wakes};

/// The end that members are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Min,
    Max,
}

impl End {
    fn parse(word: &[u8]) -> Option<Self> {
        if word.eq_ignore_ascii_case(b"min") {
            Some(Self::Min)
        } else if word.eq_ignore_ascii_case(b"max") {
            Some(Self::Max)
        } else {
            None
        }
    }

    fn event(self) -> &'static str {
        match self {
            Self::Min => "zpopmin",
            Self::Max => "zpopmax",
        }
    }

    /// The command that takes from this end and never waits.
    fn command(self) -> &'static [u8] {
        match self {
            Self::Min => b"ZPOPMIN",
            Self::Max => b"ZPOPMAX",
        }
    }
}

/// The form of the members in the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Members and scores in one array.
    Flat,
    /// An array of pairs.
    Pairs,
    /// The key, a member and its score.
    KeyFlat,
    /// The key and an array of pairs.
    KeyPairs,
}

impl Shape {
    fn write_head(self, reply: &mut Reply<'_>, key: Key<'_>, len: usize) {
        match self {
            Self::Flat => reply.array(len * 2),
            Self::Pairs => reply.array(len),
            Self::KeyFlat => {
                reply.array(1 + len * 2);
                reply.bulk(key.bytes);
            }
            Self::KeyPairs => {
                reply.array(2);
                reply.bulk(key.bytes);
                reply.array(len);
            }
        }
    }

    fn write_pair(self, reply: &mut Reply<'_>, member: values::Element<'_>, score: f64) {
        if matches!(self, Self::Pairs | Self::KeyPairs) {
            reply.array(2);
        }
        reply.element(member);
        reply.double(score);
    }
}

/// Takes up to `count` members, which is not 0, into the reply. Returns how many; nothing when
/// there is no such key.
fn take(
    ctx: &mut Context<'_, '_>,
    key: Key<'_>,
    end: End,
    count: usize,
    shape: Shape,
) -> Result<Option<usize>, CommandError> {
    let Some(members) = ctx.data.zset_mut(key)? else {
        return Ok(None);
    };
    let len = members.len();
    let count = count.min(len);
    let ranks = match end {
        End::Min => 0..count,
        End::Max => len - count..len,
    };
    let reply = &mut ctx.reply;
    shape.write_head(reply, key, count);
    let taken = members.range(ranks.clone());
    match end {
        End::Min => taken.for_each(|(member, score)| shape.write_pair(reply, member, score)),
        End::Max => taken
            .rev()
            .for_each(|(member, score)| shape.write_pair(reply, member, score)),
    }
    members.remove_range(ranks, &mut |_, _| {});
    let emptied = members.is_empty();
    note_removed(ctx, key, count, emptied, end.event());
    Ok(Some(count))
}

pub(super) const ZPOPMIN: CommandSpec = CommandSpec::new("zpopmin", -2, zpopmin)
    .group(Group::SortedSet)
    .since("5.0.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .summary("Removes and returns the members with the lowest scores.")
    .complexity("O(log(N)) per popped member in the size of the sorted set.")
    .keys(&[KeySpec::one(1, KeyFlags::RW_ACCESS_DELETE)])
    .args(&[Arg::KEY, Arg::integer("count").optional()]);

pub(super) fn zpopmin(ctx: &mut Context<'_, '_>) -> CommandResult {
    pop(ctx, End::Min)
}

pub(super) const ZPOPMAX: CommandSpec = CommandSpec::new("zpopmax", -2, zpopmax)
    .group(Group::SortedSet)
    .since("5.0.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .summary("Removes and returns the members with the highest scores.")
    .complexity("O(log(N)) per popped member in the size of the sorted set.")
    .keys(&[KeySpec::one(1, KeyFlags::RW_ACCESS_DELETE)])
    .args(&[Arg::KEY, Arg::integer("count").optional()]);

pub(super) fn zpopmax(ctx: &mut Context<'_, '_>) -> CommandResult {
    pop(ctx, End::Max)
}

fn pop(ctx: &mut Context<'_, '_>, end: End) -> CommandResult {
    if ctx.args.len() > 3 {
        return Err(CommandError::Syntax);
    }
    let has_count = ctx.args.len() == 3;
    let count = if has_count {
        const NEGATIVE: CommandError =
            CommandError::line("ERR value is out of range, must be positive");
        let count = resp::number::parse_i64(ctx.arg(2)).ok_or(NEGATIVE)?;
        usize::try_from(count).map_err(|_| NEGATIVE)?
    } else {
        1
    };
    let shape = if has_count && ctx.reply.protocol == Protocol::Resp3 {
        Shape::Pairs
    } else {
        Shape::Flat
    };
    let key = ctx.key(1);
    if count == 0 {
        // The type of the key is checked all the same.
        ctx.data.zset_mut(key)?;
        ctx.reply.empty_array();
    } else if take(ctx, key, end, count, shape)?.is_none() {
        ctx.reply.empty_array();
    }
    Ok(Outcome::Done)
}

/// The keys, the end and the count of ZMPOP and BZMPOP.
struct Request {
    /// Index of the first key.
    first: usize,
    /// Number of keys.
    keys: usize,
    end: End,
    count: usize,
}

impl Request {
    /// `numkeys` is the index of the number of keys.
    fn parse(args: Args<'_>, numkeys: usize) -> Result<Self, CommandError> {
        let positive = |index: usize, line: &'static str| {
            resp::number::parse_i64(args.arg(index))
                .and_then(|number| usize::try_from(number).ok())
                .filter(|number| *number > 0)
                .ok_or(CommandError::line(line))
        };
        let keys = positive(numkeys, "ERR numkeys should be greater than 0")?;
        let at = keys.saturating_add(numkeys + 1);
        let end = args
            .get(at)
            .and_then(End::parse)
            .ok_or(CommandError::Syntax)?;
        let count = match args.len() - at {
            1 => 1,
            2.. if !args.arg(at + 1).eq_ignore_ascii_case(b"count") || args.len() == at + 2 => {
                return Err(CommandError::Syntax);
            }
            _ => positive(at + 2, "ERR count should be greater than 0")?,
        };
        if args.len() > at + 3 {
            return Err(CommandError::Syntax);
        }
        Ok(Self {
            first: numkeys + 1,
            keys,
            end,
            count,
        })
    }
}

pub(super) const ZMPOP: CommandSpec = CommandSpec::new("zmpop", -4, zmpop)
    .group(Group::SortedSet)
    .since("7.0.0")
    .flags(Flags::WRITE)
    .summary("Removes and returns members from an end of the first sorted set that exists.")
    .complexity("O(K) in the number of keys, and O(log(N)) per popped member in the size of the sorted set.")
    .keys(&[KeySpec::counted(1, KeyFlags::RW_ACCESS_DELETE)])
    .args(&[Arg::NUMKEYS, Arg::KEYS, arguments::WHERE, Arg::COUNT]);

pub(super) fn zmpop(ctx: &mut Context<'_, '_>) -> CommandResult {
    let request = Request::parse(ctx.args, 1)?;
    for index in request.first..request.first + request.keys {
        let key = ctx.key(index);
        if let Some(taken) = take(ctx, key, request.end, request.count, Shape::KeyPairs)? {
            propagate(ctx, key, request.end, Some(taken));
            return Ok(Outcome::Done);
        }
    }
    ctx.reply.null_array();
    Ok(Outcome::Done)
}

/// Logs the pop as a command that names the key and never blocks.
fn propagate(ctx: &mut Context<'_, '_>, key: Key<'_>, end: End, count: Option<usize>) {
    match count {
        None => ctx.propagate(&[end.command(), key.bytes]),
        Some(count) => {
            let mut digits = itoa::Buffer::new();
            let count = digits.format(count).as_bytes();
            ctx.propagate(&[end.command(), key.bytes, count]);
        }
    }
}

pub(super) const BZPOPMIN: CommandSpec = CommandSpec::new("bzpopmin", -3, bzpopmin)
    .group(Group::SortedSet)
    .since("5.0.0")
    .flags(Flags::WRITE.or(Flags::FAST).or(Flags::BLOCKING))
    .summary(
        "Removes and returns the member with the lowest score of the first sorted set that \
         exists, waiting for one if none does.",
    )
    .complexity("O(log(N)) in the size of the sorted set.")
    .keys(&[KeySpec::range(1, -2, 1, KeyFlags::RW_ACCESS_DELETE)])
    .args(&[Arg::KEYS, Arg::double("timeout")]);

pub(super) fn bzpopmin(ctx: &mut Context<'_, '_>) -> CommandResult {
    wait_and_pop(ctx, End::Min)
}

pub(super) const BZPOPMAX: CommandSpec = CommandSpec::new("bzpopmax", -3, bzpopmax)
    .group(Group::SortedSet)
    .since("5.0.0")
    .flags(Flags::WRITE.or(Flags::FAST).or(Flags::BLOCKING))
    .summary(
        "Removes and returns the member with the highest score of the first sorted set that \
         exists, waiting for one if none does.",
    )
    .complexity("O(log(N)) in the size of the sorted set.")
    .keys(&[KeySpec::range(1, -2, 1, KeyFlags::RW_ACCESS_DELETE)])
    .args(&[Arg::KEYS, Arg::double("timeout")]);

pub(super) fn bzpopmax(ctx: &mut Context<'_, '_>) -> CommandResult {
    wait_and_pop(ctx, End::Max)
}

fn wait_and_pop(ctx: &mut Context<'_, '_>, end: End) -> CommandResult {
    let timeout = ctx.args.len() - 1;
    let deadline_ms = blocking::deadline(ctx, timeout)?;
    let keys: SmallVec<[Key<'_>; 4]> = (1..timeout).map(|index| ctx.key(index)).collect();
    for key in &keys {
        if take(ctx, *key, end, 1, Shape::KeyFlat)?.is_some() {
            propagate(ctx, *key, end, None);
            return Ok(Outcome::Done);
        }
    }
    wait(ctx, &keys, deadline_ms)
}

pub(super) const BZMPOP: CommandSpec = CommandSpec::new("bzmpop", -5, bzmpop)
    .group(Group::SortedSet)
    .since("7.0.0")
    .flags(Flags::WRITE.or(Flags::BLOCKING))
    .summary(
        "Removes and returns members from an end of the first sorted set that exists, waiting \
         for one if none does.",
    )
    .complexity("O(K) in the number of keys, and O(log(N)) per popped member in the size of the sorted set.")
    .keys(&[KeySpec::counted(2, KeyFlags::RW_ACCESS_DELETE)])
    .args(&[
        Arg::double("timeout"),
        Arg::NUMKEYS,
        Arg::KEYS,
        arguments::WHERE,
        Arg::COUNT,
    ]);

pub(super) fn bzmpop(ctx: &mut Context<'_, '_>) -> CommandResult {
    let request = Request::parse(ctx.args, 2)?;
    let deadline_ms = blocking::deadline(ctx, 1)?;
    let indices = request.first..request.first + request.keys;
    let keys: SmallVec<[Key<'_>; 4]> = indices.map(|index| ctx.key(index)).collect();
    for key in &keys {
        if let Some(taken) = take(ctx, *key, request.end, request.count, Shape::KeyPairs)? {
            propagate(ctx, *key, request.end, Some(taken));
            return Ok(Outcome::Done);
        }
    }
    wait(ctx, &keys, deadline_ms)
}

/// Blocks the client until one of the keys has members. Replies the time-out at once when the
/// client cannot block.
fn wait(ctx: &mut Context<'_, '_>, keys: &[Key<'_>], deadline_ms: Option<u64>) -> CommandResult {
    if !ctx.may_block() {
        ctx.reply.null_array();
        return Ok(Outcome::Done);
    }
    Ok(Outcome::Block(Block::Keys {
        keys: keys.iter().map(|key| key.bytes.to_vec()).collect(),
        deadline_ms,
        wakes: Wakes {
            kind: Type::ZSet,
            removal: false,
        },
    }))
}
