//! XREAD: entries of several streams behind given ids, waiting for some if there are none.

use keyspace::{Type, ValueRef};
use resp::{Mark, OwnedArgs, Protocol, Reply};
use smallvec::SmallVec;
use values::StreamId;
use values::stream::ID_TEXT;

use super::{StreamReply, ids};
use crate::command::*;
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome, blocking};
use crate::wait::{Block, Wakes};

pub(super) const XREAD: CommandSpec = CommandSpec::new("xread", -4, xread)
    .group(Group::Stream)
    .since("5.0.0")
    .flags(Flags::BLOCKING.or(Flags::READONLY))
    .summary(
        "Returns entries of several streams with greater ids than those given; waits until \
         there are some.",
    )
    .complexity("O(N+M) with N streams and M entries returned.")
    .keys(&[KeySpec {
        flags: KeyFlags::RO.or(KeyFlags::ACCESS),
        ..STREAMS_KEYS
    }])
    .args(&[Arg::COUNT, MAX_COUNT, MAX_SIZE, MILLISECONDS, STREAMS]);

/// The keys: the first half of the arguments behind STREAMS.
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

pub(super) const MILLISECONDS: Arg = Arg::integer("milliseconds").option("BLOCK");

/// Documented arguments: bounds of the whole reply.
pub(super) const MAX_COUNT: Arg = Arg::integer("maxcount").option("MAXCOUNT").since("8.10.0");

pub(super) const MAX_SIZE: Arg = Arg::integer("maxsize").option("MAXSIZE").since("8.10.0");

pub(super) const STREAMS: Arg = Arg::block("streams")
    .token("STREAMS")
    .args(&[Arg::KEYS, Arg::string("ID").multiple()]);

/// How much is read at most.
pub(super) struct Limits {
    /// Entries of each stream.
    pub count: usize,
    /// Entries of all streams together.
    entries: usize,
    /// Bytes of the reply after which no entry follows.
    bytes: usize,
}

impl Limits {
    pub(super) const NONE: Limits = Limits {
        count: usize::MAX,
        entries: usize::MAX,
        bytes: usize::MAX,
    };

    /// Takes COUNT, MAXCOUNT or MAXSIZE at `index`; false when there is none of them.
    pub(super) fn take(
        &mut self,
        ctx: &Context<'_, '_>,
        index: usize,
    ) -> Result<bool, CommandError> {
        let is = |word| index + 1 < ctx.args.len() && ctx.is_word(index, word);
        let (is_count, is_max) = (is("count"), is("maxcount"));
        if !is_count && !is_max && !is("maxsize") {
            return Ok(false);
        }
        let number = usize::try_from(ctx.integer(index + 1)?).unwrap_or(0);
        let limit = match () {
            () if is_count => {
                self.count = if number == 0 { usize::MAX } else { number };
                return Ok(true);
            }
            () if is_max => &mut self.entries,
            () => &mut self.bytes,
        };
        *limit = number;
        match (number, is_max) {
            (1.., _) => Ok(true),
            (0, true) => Err(CommandError::line(
                "ERR MAXCOUNT must be a positive integer",
            )),
            (0, false) => Err(CommandError::line("ERR MAXSIZE must be a positive integer")),
        }
    }

    /// All options have been taken.
    pub(super) fn check(&self) -> Result<(), CommandError> {
        if self.count != usize::MAX && self.entries < self.count {
            return Err(CommandError::line(
                "ERR MAXCOUNT must be greater than or equal to COUNT",
            ));
        }
        Ok(())
    }

    /// The budget of a reply that begins now.
    pub(super) fn budget(&self, reply: &Reply<'_>) -> Budget {
        Budget {
            start: reply.out.mark(),
            is_begun: false,
            entries: self.entries,
            bytes: self.bytes,
        }
    }
}

/// The rest of the budget of a reply from several streams. One entry always fits.
pub(super) struct Budget {
    start: Mark,
    is_begun: bool,
    entries: usize,
    bytes: usize,
}

impl Budget {
    /// No entry may follow.
    #[inline]
    pub(super) fn is_spent(&self, reply: &Reply<'_>) -> bool {
        let is_full = || reply.out.len_since(&self.start) >= self.bytes;
        self.entries == 0 || (self.bytes != usize::MAX && self.is_begun && is_full())
    }

    /// Takes one entry from the budget; false when it is used up.
    #[inline]
    pub(super) fn takes(&mut self, reply: &Reply<'_>) -> bool {
        if self.is_spent(reply) {
            return false;
        }
        self.entries -= 1;
        self.is_begun = true;
        true
    }
}

/// A parsed XREAD, except for the ids.
struct Reading {
    limits: Limits,
    /// When waiting ends; `None` does not wait, `Some(None)` waits for ever.
    wait: Option<Option<u64>>,
    /// Index of the first key.
    keys_at: usize,
    /// How many keys there are.
    keys: usize,
}

/// The end of a wait of so many milliseconds (BLOCK), in milliseconds of the steady clock; `None`
/// for 0, which waits for ever.
pub(super) fn block_deadline(
    ctx: &Context<'_, '_>,
    index: usize,
) -> Result<Option<u64>, CommandError> {
    let ms = ctx
        .integer(index)
        .map_err(|_| CommandError::line("ERR timeout is not an integer or out of range"))?;
    blocking::deadline_after(ctx, ms)
}

impl Reading {
    fn parse(ctx: &Context<'_, '_>) -> Result<Self, CommandError> {
        let mut reading = Self {
            limits: Limits::NONE,
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
            } else if reading.limits.take(ctx, at)? {
                at += 2;
            } else if is("streams") && more >= 1 {
                if !more.is_multiple_of(2) {
                    return Err(CommandError::line(
                        "ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be specified.",
                    ));
                }
                reading.keys_at = at + 1;
                reading.keys = more / 2;
                reading.limits.check()?;
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
                b"+" => entries
                    .and_then(|entries| entries.last())
                    .and_then(|entry| entry.id.prev())
                    .unwrap_or(StreamId::MIN),
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

    /// The request with `$` replaced by the present last ids: it is run again when there are
    /// greater ones.
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
    let mut budget = reading.limits.budget(&ctx.reply);
    for (index, after) in (reading.keys_at..).zip(&after) {
        if budget.is_spent(&ctx.reply) {
            break;
        }
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
        let array = ctx.reply.defer();
        let mut len = 0;
        for entry in entries.take(reading.limits.count) {
            if !budget.takes(&ctx.reply) {
                break;
            }
            ctx.reply.entry(entry);
            len += 1;
        }
        ctx.reply.finish_array(array, len);
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

/// Blocks the client, because there is no entry yet.
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
