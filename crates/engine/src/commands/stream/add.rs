//! XADD.

use keyspace::{NewValue, Value};
use values::stream::{AppendError, ID_TEXT, Idempotence, IdempotenceLimits, NodeLimits};
use values::{Stream, StreamId};

use super::idempotence::{self, Names, Produced};
use super::ids::{self, NewId};
use super::options::{self, Options, Rewritten, Trim};
use super::{StreamReply, node_limits};
use crate::command::*;
use crate::commands::foreign;
use crate::context::{Context, EventClass, Expiry};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

pub(super) const XADD: CommandSpec = CommandSpec::new("xadd", -5, xadd)
    .group(Group::Stream)
    .since("5.0.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST))
    .summary("Appends an entry to a stream, which is made if there is none, and may trim it.")
    .complexity("O(1), and O(N) in the number of entries that are trimmed.")
    .hints(&["nondeterministic_output"])
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))])
    .args(&[
        Arg::KEY,
        Arg::flag("nomkstream", "NOMKSTREAM").since("6.2.0"),
        options::CONDITION,
        idempotence::PRODUCED,
        Arg::block("trim").optional().args(&[
            options::STRATEGY,
            options::OPERATOR,
            options::THRESHOLD,
            options::LIMIT,
        ]),
        Arg::one_of("id-selector").args(&[Arg::word("auto-id", "*"), Arg::string("id")]),
        Arg::block("data")
            .multiple()
            .args(&[Arg::FIELD, Arg::VALUE]),
    ]);

/// A parsed XADD.
struct Addition {
    id: NewId,
    id_at: usize,
    only_existing: bool,
    produced: Option<Produced>,
    trim: Option<Trim>,
}

impl Addition {
    fn parse(ctx: &Context<'_, '_>) -> Result<Self, CommandError> {
        let mut options = Options::default();
        let mut produced = None;
        let mut id = None;
        let mut at = 2;
        while at < ctx.args.len() {
            if ctx.arg(at) == b"*" {
                id = Some((NewId::Auto, at));
                break;
            }
            if let Some(last) = options.take(ctx, at)? {
                at = last + 1;
            } else if let Some(last) = Produced::take(ctx, at, &mut produced)? {
                at = last + 1;
            } else if ctx.is_word(at, "nomkstream") {
                options.only_existing = true;
                at += 1;
            } else {
                id = Some((ids::new_id(ctx.arg(at))?, at));
                // The log has the ids that entries have got.
                if produced.is_some() && !ctx.data.origin.is_trusted() {
                    return Err(CommandError::line(
                        "ERR IDMP/IDMPAUTO can be used only with auto-generated IDs",
                    ));
                }
                break;
            }
        }
        if produced.is_some() {
            foreign::refuse(ctx, Some("IDMP or IDMPAUTO"))?;
        }
        let trim = options.finish(ctx)?;
        let pairs = id.map_or(0, |(_, at)| ctx.args.len() - at - 1);
        let (Some((id, id_at)), 2.., true) = (id, pairs, pairs.is_multiple_of(2)) else {
            return Err(CommandError::Arity(ctx.entry.full_name.into()));
        };
        if id == NewId::Given(StreamId::MIN) {
            return Err(CommandError::line(
                "ERR The ID specified in XADD must be greater than 0-0",
            ));
        }
        Ok(Self {
            id,
            id_at,
            only_existing: options.only_existing,
            produced,
            trim,
        })
    }

    /// Appends the entry. Returns its id.
    fn append(
        &self,
        ctx_args: resp::Args<'_>,
        now_ms: u64,
        stream: &mut Stream,
        limits: &NodeLimits,
    ) -> Result<StreamId, CommandError> {
        const TOO_SMALL: CommandError = CommandError::line(
            "ERR The ID specified in XADD is equal or smaller than the target stream top item",
        );
        let entries = stream.entries_mut();
        let last = entries.last_id();
        if last == StreamId::MAX {
            return Err(CommandError::line(
                "ERR The stream has exhausted the last possible ID, unable to add more items",
            ));
        }
        let id = match self.id {
            NewId::Given(id) => id,
            NewId::Auto => entries.next_id(now_ms).ok_or(TOO_SMALL)?,
            NewId::Time(ms) if ms == last.ms => {
                let seq = last.seq.checked_add(1).ok_or(TOO_SMALL)?;
                StreamId::new(ms, seq)
            }
            NewId::Time(ms) => StreamId::new(ms, 0),
        };
        let pairs = ctx_args.skip(self.id_at + 1);
        entries
            .append(id, pairs.iter(), limits)
            .map_err(|error| match error {
                AppendError::NotAfterLast => TOO_SMALL,
                AppendError::TooLarge => {
                    CommandError::line("ERR Elements are too large to be stored")
                }
            })?;
        Ok(id)
    }
}

/// The result of an XADD.
struct Added {
    id: StreamId,
    trimmed: bool,
    rewritten: Option<Rewritten>,
    /// Limits on ids of producers that this XADD has set for the stream.
    limits: Option<IdempotenceLimits>,
    /// When the next id of a producer expires at the earliest, if that has changed.
    deadline: Option<u64>,
}

impl Added {
    /// The result for a duplicate: nothing was added.
    fn nothing(id: StreamId) -> Self {
        Self {
            id,
            trimmed: false,
            rewritten: None,
            limits: None,
            deadline: None,
        }
    }
}

/// The context of the request.
struct Surroundings {
    now_ms: u64,
    nodes: NodeLimits,
    limits: IdempotenceLimits,
}

impl Addition {
    /// Appends the entry, records its id of a producer, and trims.
    fn run(
        &self,
        args: resp::Args<'_>,
        names: Option<&Names<'_>>,
        stream: &mut Stream,
        around: &Surroundings,
    ) -> Result<Added, CommandError> {
        let before = stream.idempotence().and_then(Idempotence::next_deadline);
        let id = self.append(args, around.now_ms, stream, &around.nodes)?;
        let limits = names.and_then(|names| names.record(stream, id, around.now_ms, around.limits));
        let (trimmed, rewritten) = match &self.trim {
            Some(trim) => (trim.run(stream) > 0, trim.rewritten(stream)),
            None => (false, None),
        };
        let deadline = stream.idempotence().and_then(Idempotence::next_deadline);
        Ok(Added {
            id,
            trimmed,
            rewritten,
            limits,
            deadline: deadline.filter(|_| deadline != before),
        })
    }

    /// The entry that was added before under the same id of the producer.
    fn duplicate(&self, names: &Names<'_>, stream: &mut Stream, replays: bool) -> Option<StreamId> {
        match self.id {
            // In the log only: an entry id that differs from the recorded one was added after the
            // recorded one had expired.
            NewId::Given(id) if replays => names.duplicate_of(stream, id),
            _ => names.duplicate(stream),
        }
    }
}

pub(super) fn xadd(ctx: &mut Context<'_, '_>) -> CommandResult {
    let addition = Addition::parse(ctx)?;
    let (key, args) = (ctx.key(1), ctx.args);
    let around = Surroundings {
        now_ms: ctx.data.now_ms,
        nodes: node_limits(ctx),
        limits: idempotence::limits(ctx),
    };
    let replays = ctx.data.origin.is_trusted();
    let produced = addition.produced;
    let names = produced.map(|produced| produced.names(args, addition.id_at + 1));
    let added = match ctx.data.stream_mut(key)? {
        Some(stream) => {
            let duplicate = names
                .as_ref()
                .and_then(|names| addition.duplicate(names, stream, replays));
            if let Some(id) = duplicate {
                ctx.data.effects.add_dirty(1);
                ctx.reply.id(id);
                log(ctx, &addition, None, &Added::nothing(id));
                return Ok(Outcome::Done);
            }
            addition.run(args, names.as_ref(), stream, &around)?
        }
        None if addition.only_existing => {
            ctx.reply.null();
            return Ok(Outcome::Done);
        }
        None => {
            let mut stream = Stream::new();
            let added = addition.run(args, names.as_ref(), &mut stream, &around)?;
            let value = NewValue::Owned(Value::Stream(stream));
            ctx.data.set(key, value, Expiry::Clear);
            ctx.data.notify(EventClass::New, "new", key);
            added
        }
    };
    idempotence::follow(&mut ctx.data, key, added.deadline);
    ctx.data.changed(key, EventClass::Stream, "xadd");
    ctx.reply.id(added.id);
    if added.trimmed {
        ctx.data.notify(EventClass::Stream, "xtrim", key);
    }
    if added.rewritten.is_some()
        || added.limits.is_some()
        || !matches!(addition.id, NewId::Given(_))
    {
        log(ctx, &addition, names.as_ref(), &added);
    }
    ctx.data.signal_ready(key);
    Ok(Outcome::Done)
}

/// Logs the request with the id that the entry has got, and with an exact trim.
#[inline]
fn log(ctx: &mut Context<'_, '_>, addition: &Addition, names: Option<&Names<'_>>, added: &Added) {
    let mut room = ID_TEXT;
    let id = added.id.text(&mut room);
    let args = ctx
        .args
        .iter()
        .enumerate()
        .map(|(index, arg)| match &added.rewritten {
            _ if index == addition.id_at => id,
            Some(rewritten) => rewritten.arg(index, arg),
            None => arg,
        });
    match (addition.produced, names, added.limits) {
        (Some(produced), Some(names), Some(limits)) => {
            let args: Vec<&[u8]> = args.collect();
            idempotence::log_first(ctx, produced, names, limits, id, &args);
        }
        _ => ctx.data.effects.replace_iter(ctx.data.db, args),
    }
}
