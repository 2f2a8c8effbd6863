//! Streams: nodes, counters, groups with their consumers and pending entries, ids of producers.

use super::error::RdbCause;
use super::input::Input;
use super::value::{Context, time};
use crate::rdb::format::types;
use std::collections::HashSet;
use values::stream::{Entries, Group, IdempotenceLimits, Pending, Saved, StreamBuilder};
use values::{DIGITS, Stream, StreamId};

/// The contents of a stream type; each later one adds to the earlier ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    /// Redis 5.
    First,
    /// Redis 7.0: first id, greatest deleted id, all entries ever; entries read by groups.
    Counted,
    /// Redis 7.2: when consumers were active.
    Active,
    /// Redis 8.6: ids of producers.
    Producers,
    /// Redis 8.8: entries that are pending without a consumer.
    Unowned,
}

/// A stream of one of the types that are streams.
pub(super) fn read(
    input: &mut Input<'_>,
    code: u8,
    context: &Context<'_>,
) -> Result<Stream, RdbCause> {
    let form = match code {
        types::STREAM_LISTPACKS => Form::First,
        types::STREAM_LISTPACKS_2 => Form::Counted,
        types::STREAM_LISTPACKS_3 => Form::Active,
        types::STREAM_LISTPACKS_4 => Form::Producers,
        _ => Form::Unowned,
    };
    let mut builder = StreamBuilder::new();
    for _ in 0..input.length()? {
        let id = input.blob()?.try_into().map_err(|_| {
            RdbCause::Malformed("Stream node key entry is not the size of a stream ID")
        })?;
        builder.push_node(StreamId::from_bytes(id), input.blob()?)?;
    }
    let mut saved = saved(input, form)?;
    if context.options.count_streams && saved.len != builder.len() {
        let counted = builder.len();
        context.recounted.set(Some((saved.len, counted)));
        saved.len = counted;
        saved.added = saved.added.map(|added| added.max(counted));
    }
    let mut stream = builder.finish(&saved)?;
    for _ in 0..input.length()? {
        read_group(input, form, &mut stream)?;
    }
    if form >= Form::Producers {
        read_producers(input, &mut stream)?;
    }
    Ok(stream)
}

/// Time and number as lengths.
fn id(input: &mut Input<'_>) -> Result<StreamId, RdbCause> {
    Ok(StreamId::new(input.length()?, input.length()?))
}

/// Sixteen bytes.
fn raw_id(input: &mut Input<'_>) -> Result<StreamId, RdbCause> {
    input.array().map(StreamId::from_bytes)
}

fn saved(input: &mut Input<'_>, form: Form) -> Result<Saved, RdbCause> {
    let mut saved = Saved {
        len: input.length()?,
        last_id: id(input)?,
        max_deleted_id: StreamId::MIN,
        added: None,
    };
    if form >= Form::Counted {
        // The first id follows from the nodes.
        id(input)?;
        saved.max_deleted_id = id(input)?;
        saved.added = Some(input.length()?);
    }
    Ok(saved)
}

fn read_group(input: &mut Input<'_>, form: Form, stream: &mut Stream) -> Result<(), RdbCause> {
    let name = input.string()?.to_vec();
    let last_id = id(input)?;
    let (entries, groups) = stream.parts_mut();
    let entries_read = match form {
        Form::First => read_so_far(entries, last_id),
        _ => Some(input.length()?).filter(|read| *read != u64::MAX),
    };
    let group = groups
        .create(&name, last_id, entries_read)
        .ok_or(RdbCause::Malformed("Duplicated consumer group name"))?;
    read_pending(input, group)?;
    let mut owned = 0;
    for _ in 0..input.length()? {
        owned += read_consumer(input, form, group)?;
    }
    if form >= Form::Unowned {
        owned += check_unowned(input, group)?;
    }
    match owned == group.pending_len() {
        true => Ok(()),
        false => Err(RdbCause::Malformed("Stream CG PEL entry without consumer")),
    }
}

/// The number of entries read up to an id, as Redis estimates it for files without this count. Such
/// files have no data about deleted entries either.
fn read_so_far(entries: &Entries, id: StreamId) -> Option<u64> {
    let (len, last_id, first_id) = (entries.len(), entries.last_id(), entries.first_id());
    match id {
        _ if len == 0 => (id <= last_id).then_some(0),
        _ if id == last_id => Some(len),
        _ if id > last_id => None,
        _ if id < first_id => Some(0),
        _ => (id == first_id).then_some(1),
    }
}

fn read_pending(input: &mut Input<'_>, group: &mut Group) -> Result<(), RdbCause> {
    for _ in 0..input.length()? {
        let id = raw_id(input)?;
        let pending = Pending {
            consumer: None,
            delivered_ms: time(input)?,
            deliveries: input.length()?,
        };
        if group.set_pending(id, pending).is_some() {
            return Err(RdbCause::Malformed(
                "Duplicated global PEL entry loading stream consumer group",
            ));
        }
    }
    Ok(())
}

/// Reads a consumer. Returns how many entries are pending for it.
fn read_consumer(input: &mut Input<'_>, form: Form, group: &mut Group) -> Result<usize, RdbCause> {
    let mut digits = DIGITS;
    let name = input.string()?;
    let consumer = group
        .create_consumer(name.as_bytes(&mut digits), 0)
        .ok_or(RdbCause::Malformed("Duplicate stream consumer detected."))?;
    let seen_ms = time(input)?;
    let active_ms = match form {
        Form::First | Form::Counted => Some(seen_ms),
        // -1: never.
        _ => u64::try_from(i64::from_le_bytes(input.array()?)).ok(),
    };
    if let Some(consumer) = group.consumer_mut(consumer) {
        (consumer.seen_ms, consumer.active_ms) = (seen_ms, active_ms);
    }
    let mut count = 0;
    for _ in 0..input.length()? {
        let id = raw_id(input)?;
        let pending = group.pending(id).ok_or(RdbCause::Malformed(
            "Consumer entry not found in group global PEL",
        ))?;
        if pending.consumer == Some(consumer) {
            return Err(RdbCause::Malformed(
                "Duplicated consumer PEL entry loading a stream consumer group",
            ));
        }
        if pending.consumer.is_some() {
            return Err(RdbCause::Malformed(
                "NACK already assigned to a different consumer, shared NACKs across consumers are not valid",
            ));
        }
        let consumer = Some(consumer);
        group.set_pending(
            id,
            Pending {
                consumer,
                ..pending
            },
        );
        count += 1;
    }
    Ok(count)
}

/// Reads which entries are pending without a consumer. Returns how many.
fn check_unowned(input: &mut Input<'_>, group: &Group) -> Result<usize, RdbCause> {
    let mut seen = HashSet::new();
    for _ in 0..input.length()? {
        let id = raw_id(input)?;
        let pending = group.pending(id);
        let is_unowned = pending.is_some_and(|pending| pending.consumer.is_none());
        if !is_unowned || !seen.insert(id) {
            return Err(RdbCause::Malformed(
                "NACK zone entry that is not pending, or not for nobody",
            ));
        }
    }
    Ok(seen.len())
}

/// Reads what producers have added under ids of their own.
pub(super) fn read_producers(input: &mut Input<'_>, stream: &mut Stream) -> Result<(), RdbCause> {
    const DURATION_MAX_S: u64 = 86_400;
    const IDS_MAX: u64 = 10_000;
    let (duration_s, ids_max) = (input.length()?, input.length()?);
    if !(1..=DURATION_MAX_S).contains(&duration_s) || !(1..=IDS_MAX).contains(&ids_max) {
        return Err(RdbCause::Malformed(
            "limits of the stream's producers are out of range",
        ));
    }
    let limits = IdempotenceLimits {
        duration_s: duration_s as u32,
        ids_max: ids_max as u32,
    };
    let producers = input.length()?;
    let (mut name, mut id_text) = (Vec::new(), Vec::new());
    for _ in 0..producers {
        input.string_into(&mut name)?;
        for _ in 0..input.length()? {
            input.string_into(&mut id_text)?;
            let entry = id(input)?;
            let known = stream.idempotence_or_new(limits);
            if known.get(&name, &id_text).is_some() {
                return Err(RdbCause::Malformed("an id of a producer is there twice"));
            }
            known.record(&name, &id_text, entry, u64::MAX);
        }
    }
    let (added, duplicates) = (input.length()?, input.length()?);
    let is_used = limits != IdempotenceLimits::default() || added > 0 || duplicates > 0;
    if is_used || stream.idempotence().is_some() {
        stream
            .idempotence_or_new(limits)
            .set_counts(added, duplicates);
    }
    Ok(())
}
