//! XREAD: entries of several streams behind given ids, waiting for some if there are none.

use keyspace::{Type, ValueRef};
use resp::{OwnedArgs, Protocol};
use smallvec::SmallVec;
use values::StreamId;
use values::stream::ID_TEXT;

use super::{COUNT, KEY, ids, range};
use crate::blocking::{Block, Wakes};
use crate::command::*;
use crate::context::Context;
use crate::error::CommandError;

pub(super) const XREAD: Command = Command {
    name: "xread",
    arity: -4,
    flags: Flags::BLOCKING.or(Flags::READONLY),
    categories: Categories::BLOCKING
        .or(Categories::READ)
        .or(Categories::SLOW)
        .or(Categories::STREAM),
    keys: &[KeySpec {
        flags: KeyFlags::RO.or(KeyFlags::ACCESS),
        ..STREAMS_KEYS
    }],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Returns entries of several streams with greater ids than those given; waits until there are some.",
    complexity: "O(N+M) with N streams and M entries returned.",
    args: &[COUNT, MILLISECONDS, STREAMS],
    handler: xread,
    ..Command::BASE
};

/// The first half of what stands behind STREAMS.
pub(super) const STREAMS_KEYS: KeySpec = KeySpec {
    flags: KeyFlags::RO,
    begin: BeginSearch::Keyword {
        keyword: "STREAMS",
        start: 1,
    },
    find: FindKeys::Range {
        last: -1,
        step: 1,
        limit: 2,
    },
};

pub(super) const MILLISECONDS: Arg = Arg {
    name: "milliseconds",
    kind: ArgKind::Integer,
    token: Some("BLOCK"),
    optional: true,
    ..Arg::BASE
};

pub(super) const STREAMS: Arg = Arg {
    name: "streams",
    kind: ArgKind::Block,
    token: Some("STREAMS"),
    args: &[
        Arg {
            multiple: true,
            ..KEY
        },
        Arg {
            name: "ID",
            kind: ArgKind::String,
            multiple: true,
            ..Arg::BASE
        },
    ],
    ..Arg::BASE
};

/// An XREAD, understood up to the ids.
struct Reading {
    /// Most entries of each stream.
    count: usize,
    /// When waiting ends; `None` does not wait, `Some(None)` waits for ever.
    wait: Option<Option<u64>>,
    /// Index of the first key.
    keys_at: usize,
    /// How many keys there are.
    keys: usize,
}

/// The end of a wait of so many milliseconds (BLOCK), in Unix milliseconds; `None` for 0, which waits for ever.
pub(super) fn block_deadline(
    ctx: &Context<'_, '_>,
    index: usize,
) -> Result<Option<u64>, CommandError> {
    let ms = ctx
        .integer(index)
        .map_err(|_| CommandError::line("ERR timeout is not an integer or out of range"))?;
    let ms = u64::try_from(ms).map_err(|_| CommandError::line("ERR timeout is negative"))?;
    if ms == 0 {
        return Ok(None);
    }
    ms.checked_add(ctx.data.now_ms)
        .filter(|deadline| i64::try_from(*deadline).is_ok())
        .map(Some)
        .ok_or(CommandError::line("ERR timeout is out of range"))
}

impl Reading {
    fn parse(ctx: &Context<'_, '_>) -> Result<Self, CommandError> {
        let mut reading = Self {
            count: usize::MAX,
            wait: None,
            keys_at: 0,
            keys: 0,
        };
        let mut at = 1;
        while at < ctx.args.len() {
            let more = ctx.args.len() - at - 1;
            let is = |word| ctx.is_word(at, word);
            if is("block") && more >= 1 {
                reading.wait = Some(block_deadline(ctx, at + 1)?);
                at += 2;
            } else if is("count") && more >= 1 {
                reading.count = match usize::try_from(ctx.integer(at + 1)?) {
                    Ok(0) | Err(_) => usize::MAX,
                    Ok(count) => count,
                };
                at += 2;
            } else if is("streams") && more >= 1 {
                if !more.is_multiple_of(2) {
                    return Err(CommandError::line(
                        "ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be specified.",
                    ));
                }
                reading.keys_at = at + 1;
                reading.keys = more / 2;
                return Ok(reading);
            } else if is("group") && more >= 2 {
                return Err(CommandError::line(
                    "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
                ));
            } else if is("noack") {
                return Err(CommandError::line(
                    "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
                ));
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Err(CommandError::Syntax)
    }

    /// The ids behind which each stream is read.
    fn ids(&self, ctx: &mut Context<'_, '_>) -> Result<SmallVec<[StreamId; 8]>, CommandError> {
        let mut after = SmallVec::new();
        for index in self.keys_at..self.keys_at + self.keys {
            let key = ctx.key(index);
            let stream = ctx.data.stream(key)?;
            let entries = stream.map(|stream| stream.entries());
            let last = entries.map_or(StreamId::MIN, |entries| entries.last_id());
            after.push(match ctx.args.arg(index + self.keys) {
                b"$" => last,
                b"+" if entries.is_some_and(|entries| !entries.is_empty()) => {
                    last.prev().unwrap_or(StreamId::MIN)
                }
                b"+" => StreamId::MIN,
                b">" => {
                    return Err(CommandError::line(
                        "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
                    ));
                }
                text => ids::strict(text, 0)?,
            });
        }
        Ok(after)
    }

    /// The request with the ids that `$` stands for now: it is run again when there are greater ones.
    fn with_ids(&self, ctx: &Context<'_, '_>, after: &[StreamId]) -> OwnedArgs {
        let mut args = OwnedArgs::new();
        for (index, arg) in ctx.args.iter().enumerate() {
            let id = index.checked_sub(self.keys_at + self.keys);
            match id.and_then(|id| after.get(id)) {
                Some(id) if arg == b"$" => args.push(id.text(&mut { ID_TEXT })),
                _ => args.push(arg),
            }
        }
        args
    }
}

pub(super) fn xread(ctx: &mut Context<'_, '_>) -> CommandResult {
    let reading = Reading::parse(ctx)?;
    let after = reading.ids(ctx)?;
    let mut streams = None;
    let mut served = 0;
    for (index, after) in (reading.keys_at..).zip(&after) {
        let key = ctx.key(index);
        let Some(ValueRef::Stream(stream)) = ctx.data.peek(key).map(|entry| entry.value()) else {
            continue;
        };
        let Some(start) = after.next() else {
            continue;
        };
        let mut entries = stream.entries().range(start, StreamId::MAX).peekable();
        if entries.peek().is_none() {
            continue;
        }
        served += 1;
        streams.get_or_insert_with(|| ctx.reply.defer());
        if ctx.reply.protocol == Protocol::Resp2 {
            ctx.reply.array(2);
        }
        ctx.reply.bulk(key.bytes);
        range::write(&mut ctx.reply, entries.take(reading.count));
    }
    let Some(streams) = streams else {
        return wait(ctx, &reading, &after);
    };
    match ctx.reply.protocol {
        Protocol::Resp2 => ctx.reply.finish_array(streams, served),
        Protocol::Resp3 => ctx.reply.finish_map(streams, served),
    }
    Ok(Outcome::Done)
}

/// Nothing is there yet.
fn wait(ctx: &mut Context<'_, '_>, reading: &Reading, after: &[StreamId]) -> CommandResult {
    let Some(deadline_ms) = reading.wait.filter(|_| ctx.may_block()) else {
        ctx.reply.null_array();
        return Ok(Outcome::Done);
    };
    let keys = reading.keys_at..reading.keys_at + reading.keys;
    ctx.session.run_again = Some(reading.with_ids(ctx, after));
    Ok(Outcome::Block(Block::Keys {
        keys: keys.map(|at| ctx.arg(at).to_vec()).collect(),
        deadline_ms,
        wakes: Wakes {
            kind: Type::Stream,
            removal: false,
        },
    }))
}
