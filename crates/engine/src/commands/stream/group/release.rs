//! Entries that are given back, or deleted depending on the groups: XNACK, XACKDEL, XDELEX.
//!
//! XACKDEL and XDELEX are logged as XACK and XDEL, which every replica understands.

use smallvec::SmallVec;
use values::stream::{Group as ConsumerGroup, ID_TEXT, Pending, References};
use values::{Stream, StreamId};

use super::super::options;
use super::{GROUP, ids, line, no_group};
use crate::command::*;
use crate::commands::foreign;
use crate::context::{Context, EventClass};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::keys::Key;

/// Documented argument: counted ids.
const COUNTED_IDS: Arg = Arg::block("ids")
    .token("IDS")
    .args(&[Arg::integer("numids"), Arg::string("id").multiple()]);

type Ids = SmallVec<[StreamId; 8]>;

/// The error texts of a command for a wrong count.
struct CountErrors {
    not_positive: &'static str,
    no_match: &'static str,
}

/// Ids behind IDS at `index`, and the index behind them.
fn counted_ids(
    ctx: &Context<'_, '_>,
    index: usize,
    errors: &CountErrors,
) -> Result<(Ids, usize), CommandError> {
    let count = ctx.integer(index + 1).ok();
    let count = count.and_then(|count| usize::try_from(count).ok());
    let count = count
        .filter(|count| *count > 0)
        .ok_or(CommandError::line(errors.not_positive))?;
    let first = index + 2;
    if count > ctx.args.len().saturating_sub(first) {
        return Err(CommandError::line(errors.no_match));
    }
    let texts = ctx.args.skip(first);
    let ids = texts.iter().take(count).map(|text| ids::strict(text, 0));
    Ok((ids.collect::<Result<_, _>>()?, first + count))
}

/// Options of XDELEX and XACKDEL, which begin at `at`: each once, in any order.
fn deletion(ctx: &Context<'_, '_>, at: usize) -> Result<(References, Ids), CommandError> {
    const ERRORS: CountErrors = CountErrors {
        not_positive: "ERR Number of IDs must be a positive integer",
        no_match: "ERR The `numids` parameter must match the number of arguments",
    };
    let (mut references, mut ids) = (None, None);
    let mut at = at;
    while at < ctx.args.len() {
        if ids.is_none() && at + 1 < ctx.args.len() && ctx.is_word(at, "ids") {
            let (found, end) = counted_ids(ctx, at, &ERRORS)?;
            ids = Some(found);
            at = end;
        } else if let Some(word) = options::references(ctx.arg(at)).filter(|_| references.is_none())
        {
            references = Some(word);
            at += 1;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let ids = ids.ok_or(CommandError::Syntax)?;
    Ok((references.unwrap_or_default(), ids))
}

/// The result for an entry, as these commands reply it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
enum Fate {
    Unknown = -1,
    Deleted = 1,
    Spared = 2,
}

/// What these commands have done, in the terms of XACK and XDEL.
#[derive(Default)]
struct Done {
    deleted: Ids,
    /// Entries that were pending and are not any more, with their groups.
    acknowledged: Vec<(Box<[u8]>, StreamId)>,
}

impl Done {
    /// Notes the groups in which an entry is pending that is about to be forgotten.
    fn forgets(&mut self, stream: &Stream, id: StreamId) {
        let groups = stream.groups().iter();
        let pending = groups.filter(|group| group.pending(id).is_some());
        self.acknowledged
            .extend(pending.map(|group| (group.name().into(), id)));
    }

    /// Logs one XACK for each group, and one XDEL.
    fn log(mut self, ctx: &mut Context<'_, '_>, key: Key<'_>) {
        let log = |ctx: &mut Context<'_, '_>,
                   head: &[&[u8]],
                   ids: &mut dyn Iterator<Item = StreamId>| {
            let texts: Vec<Vec<u8>> = ids.map(|id| id.text(&mut { ID_TEXT }).to_vec()).collect();
            let ids = texts.iter().map(Vec::as_slice);
            let argv: Vec<&[u8]> = head.iter().copied().chain(ids).collect();
            ctx.propagate(&argv);
        };
        self.acknowledged.sort_by(|a, b| a.0.cmp(&b.0));
        for of_group in self.acknowledged.chunk_by(|a, b| a.0 == b.0) {
            if let Some((name, _)) = of_group.first() {
                let ids = &mut of_group.iter().map(|(_, id)| *id);
                log(ctx, &[b"XACK", key.bytes, name], ids);
            }
        }
        if !self.deleted.is_empty() {
            log(ctx, &[b"XDEL", key.bytes], &mut self.deleted.into_iter());
        }
    }
}

/// Replies the results of the entries, announces what was done, and logs it.
fn finish(ctx: &mut Context<'_, '_>, key: Key<'_>, fates: &[Fate], done: Done, changes: u64) {
    ctx.reply.array(fates.len());
    for fate in fates {
        ctx.reply.integer(*fate as i64);
    }
    ctx.data.effects.add_dirty(changes);
    let deleted = done.deleted.len() as u64;
    if deleted > 0 {
        ctx.data
            .changed_times(deleted, key, EventClass::Stream, "xdel");
    }
    ctx.suppress_propagation();
    done.log(ctx, key);
}

pub(crate) const XDELEX: CommandSpec = CommandSpec::new("xdelex", -5, xdelex)
    .group(Group::Stream)
    .since("8.2.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .summary(
        "Deletes entries, with what groups have pending of them, or only those with which \
         groups are done.",
    )
    .complexity("O(log(N)) for each id with N pending entries.")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::DELETE))])
    .args(&[Arg::KEY, options::CONDITION, COUNTED_IDS]);

fn xdelex(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (references, ids) = deletion(ctx, 2)?;
    let key = ctx.key(1);
    let mut stream = ctx.data.stream_mut(key)?;
    let (mut done, mut changes) = (Done::default(), 0);
    let mut fates: SmallVec<[Fate; 8]> = SmallVec::new();
    for id in ids {
        let Some(stream) = stream.as_deref_mut() else {
            fates.push(Fate::Unknown);
            continue;
        };
        if references == References::Remove {
            done.forgets(stream, id);
        }
        fates.push(match delete(stream, id, references) {
            Some(true) => {
                done.deleted.push(id);
                Fate::Deleted
            }
            Some(false) => Fate::Spared,
            None => {
                // With DELREF, references to an entry that is deleted already are removed too.
                let was_pending = references == References::Remove && forget(stream, id);
                changes += u64::from(was_pending);
                Fate::Unknown
            }
        });
    }
    finish(ctx, key, &fates, done, changes);
    Ok(Outcome::Done)
}

/// Deletes an entry, if groups allow it. `None`: there is no such entry.
fn delete(stream: &mut Stream, id: StreamId, references: References) -> Option<bool> {
    let exists = stream.entries().contains(id);
    exists.then(|| stream.remove(id, references) == Some(true))
}

/// Removes an entry from the pending lists of all groups. True when it was in any.
fn forget(stream: &mut Stream, id: StreamId) -> bool {
    let groups = stream.groups_mut().iter_mut();
    let had = groups.filter_map(|group| group.remove_pending(id));
    had.count() > 0
}

pub(crate) const XACKDEL: CommandSpec = CommandSpec::new("xackdel", -6, xackdel)
    .group(Group::Stream)
    .since("8.2.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .summary("Acknowledges and deletes entries, or only those that every group has acknowledged.")
    .complexity("O(log(N)) for each id with N pending entries.")
    .keys(&[KeySpec::one(
        1,
        KeyFlags::RW.or(KeyFlags::UPDATE).or(KeyFlags::DELETE),
    )])
    .args(&[Arg::KEY, GROUP, options::CONDITION, COUNTED_IDS]);

fn xackdel(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (references, ids) = deletion(ctx, 3)?;
    let (key, name) = (ctx.key(1), ctx.arg(2));
    let mut stream = ctx.data.stream_mut(key)?;
    let (mut done, mut changes) = (Done::default(), 0);
    let mut fates: SmallVec<[Fate; 8]> = SmallVec::new();
    for id in ids {
        let acknowledged = stream
            .as_deref_mut()
            .and_then(|stream| stream.groups_mut().get_mut(name)?.remove_pending(id));
        let (Some(stream), Some(_)) = (stream.as_deref_mut(), acknowledged) else {
            fates.push(Fate::Unknown);
            continue;
        };
        changes += 1;
        done.acknowledged.push((name.into(), id));
        if references == References::Remove {
            done.forgets(stream, id);
        }
        let result = stream.remove(id, references);
        if result == Some(true) {
            done.deleted.push(id);
        }
        fates.push(match result {
            Some(false) => Fate::Spared,
            _ => Fate::Deleted,
        });
    }
    finish(ctx, key, &fates, done, changes);
    Ok(Outcome::Done)
}

pub(crate) const XNACK: CommandSpec = CommandSpec::new("xnack", -7, xnack)
    .group(Group::Stream)
    .since("8.8.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .summary("Returns pending entries to their group, where any consumer can claim them at once.")
    .complexity("O(log(N)) for each id with N pending entries.")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))])
    .args(&[
        Arg::KEY,
        GROUP,
        Arg::one_of("mode").args(&[
            Arg::word("silent", "SILENT"),
            Arg::word("fail", "FAIL"),
            Arg::word("fatal", "FATAL"),
        ]),
        COUNTED_IDS,
        Arg::integer("count").option("RETRYCOUNT"),
        Arg::flag("force", "FORCE"),
    ]);

/// Why an entry is given back, which decides its new number of deliveries.
#[derive(Clone, Copy)]
enum Mode {
    /// The delivery does not count.
    Silent,
    /// It counts.
    Fail,
    /// No consumer can process the entry: the number becomes the greatest one.
    Fatal,
}

/// A parsed XNACK.
struct Refusal {
    mode: Mode,
    deliveries: Option<u64>,
    force: bool,
    ids: Ids,
}

impl Refusal {
    fn parse(ctx: &Context<'_, '_>) -> Result<Self, CommandError> {
        const ERRORS: CountErrors = CountErrors {
            not_positive: "ERR numids must be a positive integer",
            no_match: "ERR number of IDs doesn't match numids",
        };
        let mode = match () {
            () if ctx.is_word(3, "silent") => Mode::Silent,
            () if ctx.is_word(3, "fail") => Mode::Fail,
            () if ctx.is_word(3, "fatal") => Mode::Fatal,
            () => {
                return Err(CommandError::line(
                    "ERR mode must be SILENT, FAIL, or FATAL",
                ));
            }
        };
        let (mut deliveries, mut force, mut ids) = (None, false, None);
        let mut at = 4;
        while at < ctx.args.len() {
            let has_value = at + 1 < ctx.args.len();
            if ctx.is_word(at, "force") {
                force = true;
                at += 1;
            } else if has_value && ctx.is_word(at, "retrycount") {
                let count = u64::try_from(ctx.integer(at + 1)?);
                deliveries = Some(count.map_err(|_| {
                    CommandError::line("ERR Invalid RETRYCOUNT value, must be >= 0")
                })?);
                at += 2;
            } else if has_value && ids.is_none() && ctx.is_word(at, "ids") {
                let (found, end) = counted_ids(ctx, at, &ERRORS)?;
                ids = Some(found);
                at = end;
            } else {
                return Err(line(&[
                    b"ERR Unrecognized XNACK option '",
                    ctx.arg(at),
                    b"'",
                ]));
            }
        }
        let ids = ids.ok_or(CommandError::line("ERR syntax error, expected IDS keyword"))?;
        Ok(Self {
            mode,
            deliveries,
            force,
            ids,
        })
    }

    /// How often an entry counts as delivered now; `None` was not pending.
    fn deliveries(&self, before: Option<Pending>) -> u64 {
        let before = before.map_or(0, |pending| pending.deliveries);
        match (self.deliveries, self.mode) {
            (Some(count), _) => count,
            (None, Mode::Silent) => before.saturating_sub(1),
            (None, Mode::Fail) => before,
            (None, Mode::Fatal) => i64::MAX as u64,
        }
    }
}

fn xnack(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (key, name) = (ctx.key(1), ctx.arg(2));
    let stream = ctx.data.stream(key)?;
    if stream.is_none_or(|stream| stream.groups().get(name).is_none()) {
        return Err(no_group(key, name));
    }
    let refusal = Refusal::parse(ctx)?;
    foreign::refuse(ctx, None)?;
    ctx.suppress_propagation();
    let stream = ctx.data.stream_mut(key)?.map(Stream::parts_mut);
    let Some((entries, group)) =
        stream.and_then(|(entries, groups)| Some((entries, groups.get_mut(name)?)))
    else {
        return Err(no_group(key, name));
    };
    let mut released: SmallVec<[(StreamId, u64); 8]> = SmallVec::new();
    for id in &refusal.ids {
        let before = group.pending(*id);
        if before.is_none() && !(refusal.force && entries.contains(*id)) {
            continue;
        }
        let deliveries = refusal.deliveries(before);
        release(group, *id, deliveries);
        released.push((*id, deliveries));
    }
    for (id, deliveries) in &released {
        ctx.propagate(&[
            b"XNACK",
            key.bytes,
            name,
            b"SILENT",
            b"IDS",
            b"1",
            id.text(&mut { ID_TEXT }),
            b"RETRYCOUNT",
            itoa::Buffer::new().format(*deliveries).as_bytes(),
            b"FORCE",
        ]);
    }
    if !released.is_empty() {
        ctx.data.effects.add_dirty(released.len() as u64);
        // A blocked XREADGROUP with CLAIM may claim the entries.
        ctx.data.signal_ready(key);
    }
    ctx.reply.integer(released.len() as i64);
    Ok(Outcome::Done)
}

fn release(group: &mut ConsumerGroup, id: StreamId, deliveries: u64) {
    let pending = Pending {
        consumer: None,
        delivered_ms: 0,
        deliveries,
    };
    group.set_pending(id, pending);
}
