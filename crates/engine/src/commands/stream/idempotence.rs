//! Idempotent XADD: an entry that a producer sends again is not added twice.
//!
//! A replay of the log has the same result with any clock and any parameters: the log has the id of
//! each entry, and for a duplicate the id of the first one; in a replay no id expires, and a stream
//! begins with limits of 100 ids and 100 seconds. Other limits are logged.

use std::borrow::Cow;

use resp::Args;
use values::stream::{Idempotence, IdempotenceLimits};
use values::{Stream, StreamId};
use xxhash_rust::xxh3::Xxh3;

use super::ids;
use crate::command::*;
use crate::commands::foreign;
use crate::config::P;
use crate::context::{Context, Data, EventClass};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::keys::Key;

pub(super) const DURATION_MAX_S: i64 = 86_400;
pub(super) const IDS_MAX: i64 = 10_000;

/// Documented arguments of XADD.
pub(super) const PRODUCED: Arg = Arg::one_of("idmp").since("8.6.0").optional().args(&[
    Arg::string("pid").token("IDMPAUTO"),
    Arg::block("idmp").token("IDMP").args(&[PRODUCER, ID]),
]);

const PRODUCER: Arg = Arg::string("pid");

const ID: Arg = Arg::string("iid");

/// The IDMP or IDMPAUTO option of an XADD.
#[derive(Clone, Copy, Debug)]
pub(super) struct Produced {
    /// Index of IDMP or IDMPAUTO.
    at: usize,
    /// The id follows the producer; else it is computed from the contents.
    has_id: bool,
}

impl Produced {
    /// Takes the option at `index`, if it is one of these. Returns the index of its last argument.
    pub(super) fn take(
        ctx: &Context<'_, '_>,
        index: usize,
        before: &mut Option<Produced>,
    ) -> Result<Option<usize>, CommandError> {
        let more = ctx.args.len().saturating_sub(index + 1);
        let has_id = match () {
            () if more >= 2 && ctx.is_word(index, "idmp") => true,
            () if more >= 1 && ctx.is_word(index, "idmpauto") => false,
            () => return Ok(None),
        };
        if before.is_some() {
            return Err(CommandError::line(
                "ERR IDMP/IDMPAUTO specified multiple times",
            ));
        }
        if ctx.arg(index + 1).is_empty() {
            return Err(CommandError::line(match has_id {
                true => "ERR IDMP requires a non-empty producer ID",
                false => "ERR IDMPAUTO requires a non-empty producer ID",
            }));
        }
        if has_id && ctx.arg(index + 2).is_empty() {
            return Err(CommandError::line(
                "ERR IDMP requires a non-empty idempotent ID",
            ));
        }
        let produced = Produced { at: index, has_id };
        *before = Some(produced);
        Ok(Some(produced.last()))
    }

    fn last(self) -> usize {
        self.at + 1 + usize::from(self.has_id)
    }

    /// The producer, and its id for the entry whose contents begin at `pairs_at`.
    pub(super) fn names<'a>(self, args: Args<'a>, pairs_at: usize) -> Names<'a> {
        Names {
            producer: args.arg(self.at + 1),
            id: match self.has_id {
                true => Cow::Borrowed(args.arg(self.at + 2)),
                false => Cow::Owned(id_of(args.skip(pairs_at)).to_vec()),
            },
        }
    }
}

/// A producer and its id.
pub(super) struct Names<'a> {
    producer: &'a [u8],
    id: Cow<'a, [u8]>,
}

impl Names<'_> {
    /// The entry that was added before under this id; counts the duplicate.
    pub(super) fn duplicate(&self, stream: &mut Stream) -> Option<StreamId> {
        let known = stream.idempotence_mut()?;
        let entry = known.get(self.producer, &self.id)?;
        known.count_duplicate();
        Some(entry)
    }

    /// The same in a replay of the log, which has the id of the first entry. An XADD whose id is
    /// too small for a new entry is a duplicate even when the record of the id has expired here.
    pub(super) fn duplicate_of(&self, stream: &mut Stream, entry: StreamId) -> Option<StreamId> {
        let is_late = entry <= stream.entries().last_id();
        let known = stream.idempotence_mut()?;
        let is_known = known.get(self.producer, &self.id) == Some(entry);
        if !is_known && !is_late {
            return None;
        }
        known.count_duplicate();
        Some(entry)
    }

    /// Records the id of an added entry. Returns the limits of a stream without ids so far when
    /// they have to be logged.
    pub(super) fn record(
        &self,
        stream: &mut Stream,
        entry: StreamId,
        now_ms: u64,
        limits: IdempotenceLimits,
    ) -> Option<IdempotenceLimits> {
        let is_first = stream.idempotence().is_none();
        let known = stream.idempotence_or_new(limits);
        known.record(self.producer, &self.id, entry, now_ms);
        (is_first && limits != IdempotenceLimits::default()).then_some(limits)
    }
}

/// The id of an entry by its contents: the same for the same pairs in any order, after a restart
/// too. Every pair has a hash of its own, in which the name cannot run into the value.
fn id_of(pairs: Args<'_>) -> [u8; 16] {
    let mut sum = 0u128;
    let mut pairs = pairs.iter();
    while let (Some(name), Some(value)) = (pairs.next(), pairs.next()) {
        let mut hash = Xxh3::new();
        hash.update(&(name.len() as u64).to_le_bytes());
        hash.update(name);
        hash.update(value);
        sum = sum.wrapping_add(hash.digest128());
    }
    sum.to_le_bytes()
}

/// The limits with which a stream begins.
pub(super) fn limits(ctx: &Context<'_, '_>) -> IdempotenceLimits {
    if ctx.data.origin.is_trusted() {
        return IdempotenceLimits::default();
    }
    let config = &ctx.engine.config;
    let number = |id| u32::try_from(config.int(id)).unwrap_or(u32::MAX);
    IdempotenceLimits {
        duration_s: number(P::StreamIdmpDuration),
        ids_max: number(P::StreamIdmpMaxsize),
    }
}

/// Registers the deadline of the stream's ids with the expiry loop.
pub(super) fn follow(data: &mut Data<'_, '_>, key: Key<'_>, known: Option<u64>) {
    if let Some(deadline) = known {
        data.engine.note_deadline(deadline);
        data.sync_elements(key);
    }
}

/// Logs the limits of a stream.
pub(super) fn log_limits(ctx: &mut Context<'_, '_>, key: Key<'_>, limits: IdempotenceLimits) {
    let duration_s = limits.duration_s.to_string();
    let ids_max = limits.ids_max.to_string();
    ctx.propagate(&[
        b"XCFGSET",
        key.bytes,
        b"IDMP-DURATION",
        duration_s.as_bytes(),
        b"IDMP-MAXSIZE",
        ids_max.as_bytes(),
    ]);
}

/// Logs the first XADD with an id in a stream with other limits than the usual: the entry, then the
/// limits, which drop all ids, then the id.
pub(super) fn log_first(
    ctx: &mut Context<'_, '_>,
    produced: Produced,
    names: &Names<'_>,
    limits: IdempotenceLimits,
    entry: &[u8],
    args: &[&[u8]],
) {
    let key = ctx.key(1);
    let option = produced.at..=produced.last();
    let is_plain = |(index, _): &(usize, _)| !option.contains(index);
    let plain: Vec<&[u8]> = args
        .iter()
        .copied()
        .enumerate()
        .filter(is_plain)
        .map(|(_, arg)| arg)
        .collect();
    ctx.propagate(&plain);
    log_limits(ctx, key, limits);
    ctx.propagate(&[b"XIDMPRECORD", key.bytes, names.producer, &names.id, entry]);
}

pub(super) const XCFGSET: CommandSpec = CommandSpec::new("xcfgset", -2, xcfgset)
    .group(Group::Stream)
    .since("8.6.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .summary(
        "Sets how long, and how many, ids of producers a stream remembers; forgets them when \
         that changes.",
    )
    .complexity("O(1), and O(N) in the number of ids that are forgotten.")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))])
    .args(&[
        Arg::KEY,
        Arg::integer("idmp-duration").option("IDMP-DURATION"),
        Arg::integer("idmp-maxsize").option("IDMP-MAXSIZE"),
    ]);

/// A parsed XCFGSET. Only the log sets the counts.
#[derive(Default)]
struct Settings {
    duration_s: Option<u32>,
    ids_max: Option<u32>,
    added: Option<u64>,
    duplicates: Option<u64>,
}

/// A number from 1 to `max`.
fn limit(
    ctx: &Context<'_, '_>,
    index: usize,
    max: i64,
    error: &'static str,
) -> Result<u32, CommandError> {
    let number = ctx.integer(index)?;
    let number = u32::try_from(number).ok();
    number
        .filter(|number| (1..=max).contains(&i64::from(*number)))
        .ok_or(CommandError::line(error))
}

impl Settings {
    fn parse(ctx: &Context<'_, '_>) -> Result<Self, CommandError> {
        let mut settings = Self::default();
        let replays = ctx.data.origin.is_trusted();
        let mut at = 2;
        while at < ctx.args.len() {
            let has_value = at + 1 < ctx.args.len();
            let is = |word| has_value && ctx.is_word(at, word);
            if is("idmp-duration") {
                let error = "ERR IDMP-DURATION must be between 1 and 86400 seconds";
                settings.duration_s = Some(limit(ctx, at + 1, DURATION_MAX_S, error)?);
            } else if is("idmp-maxsize") {
                let error = "ERR IDMP-MAXSIZE must be between 1 and 10000 entries";
                settings.ids_max = Some(limit(ctx, at + 1, IDS_MAX, error)?);
            } else if replays && is("iids-added") {
                settings.added = u64::try_from(ctx.integer(at + 1)?).ok();
            } else if replays && is("iids-duplicates") {
                settings.duplicates = u64::try_from(ctx.integer(at + 1)?).ok();
            } else {
                return Err(CommandError::Syntax);
            }
            at += 2;
        }
        if at == 2 {
            return Err(CommandError::line(
                "ERR At least one parameter must be specified",
            ));
        }
        Ok(settings)
    }

    fn apply(&self, known: &mut Idempotence) {
        let before = known.limits();
        known.set_limits(IdempotenceLimits {
            duration_s: self.duration_s.unwrap_or(before.duration_s),
            ids_max: self.ids_max.unwrap_or(before.ids_max),
        });
        let added = self.added.unwrap_or(known.added());
        let duplicates = self.duplicates.unwrap_or(known.duplicates());
        known.set_counts(added, duplicates);
    }
}

fn xcfgset(ctx: &mut Context<'_, '_>) -> CommandResult {
    foreign::refuse(ctx, None)?;
    let settings = Settings::parse(ctx)?;
    let (key, limits) = (ctx.key(1), limits(ctx));
    let stream = ctx.data.stream_mut(key)?.ok_or(CommandError::NoSuchKey)?;
    let known = stream.idempotence_or_new(limits);
    settings.apply(known);
    let limits = known.limits();
    ctx.data.changed(key, EventClass::Stream, "xcfgset");
    log_limits(ctx, key, limits);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(super) const XIDMPRECORD: CommandSpec = CommandSpec::new("xidmprecord", 5, xidmprecord)
    .group(Group::Stream)
    .since("8.6.2")
    .flags(Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST))
    .summary("Records the id under which a producer added an entry; for the append-only file.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))])
    .args(&[Arg::KEY, PRODUCER, ID, Arg::string("stream-id")]);

fn xidmprecord(ctx: &mut Context<'_, '_>) -> CommandResult {
    foreign::refuse(ctx, None)?;
    let (key, producer, id) = (ctx.key(1), ctx.arg(2), ctx.arg(3));
    if producer.is_empty() || id.is_empty() {
        return Err(CommandError::line(match producer.is_empty() {
            true => "ERR IDMP requires a non-empty producer ID",
            false => "ERR IDMP requires a non-empty idempotent ID",
        }));
    }
    let entry = ids::strict(ctx.arg(4), 0)?;
    let (limits, now_ms) = (limits(ctx), ctx.data.now_ms);
    let replays = ctx.data.origin.is_trusted();
    let stream = ctx.data.stream_mut(key)?.ok_or(CommandError::NoSuchKey)?;
    // Not in a replay of the log: the entry may have been deleted since.
    if !replays && !stream.entries().contains(entry) {
        return Err(CommandError::line(
            "ERR The specified stream ID was deleted or doesn't exist",
        ));
    }
    let known = stream.idempotence();
    match known.and_then(|known| known.get(producer, id)) {
        Some(before) if before == entry => {
            ctx.reply.ok();
            return Ok(Outcome::Done);
        }
        Some(_) => {
            return Err(CommandError::line(
                "ERR The specified IDMP producer-id/idempotent-id pair maps to a different stream ID",
            ));
        }
        None => {}
    }
    let names = Names {
        producer,
        id: Cow::Borrowed(id),
    };
    let first = names.record(stream, entry, now_ms, limits);
    let deadline = stream.idempotence().and_then(Idempotence::next_deadline);
    follow(&mut ctx.data, key, deadline);
    ctx.data.changed(key, EventClass::Stream, "xidmprecord");
    if let Some(limits) = first {
        log_limits(ctx, key, limits);
        let args: Vec<&[u8]> = ctx.args.iter().collect();
        ctx.propagate(&args);
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}
