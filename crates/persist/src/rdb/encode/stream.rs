//! Streams.

use super::super::format::types;
use super::text::{put_len, put_string};
use values::stream::{Group, Idempotence, Pending};
use values::{Stream, StreamId};

/// A stream in the form `kind`: nodes, counters, groups with their pending entries, consumers with
/// the ids of theirs. Types before Redis 8.8 leave out entries that are pending without a consumer:
/// their loaders require a consumer for each.
pub(super) fn put(stream: &Stream, kind: u8, compress: bool, out: &mut Vec<u8>) {
    let entries = stream.entries();
    put_len(entries.node_count() as u64, out);
    for (id, bytes) in entries.nodes() {
        put_string(&id.to_bytes(), compress, out);
        put_string(&bytes, compress, out);
    }
    put_len(entries.len(), out);
    put_id(entries.last_id(), out);
    if kind != types::STREAM_LISTPACKS {
        put_id(entries.first_id(), out);
        put_id(entries.max_deleted_id(), out);
        put_len(entries.added(), out);
    }
    put_len(stream.groups().len() as u64, out);
    for group in stream.groups().iter() {
        put_group(group, kind, compress, out);
    }
    if kind >= types::STREAM_LISTPACKS_4 {
        match stream.idempotence() {
            Some(known) => put_producers(known, compress, out),
            None => put_producers(&Idempotence::default(), compress, out),
        }
    }
}

/// The ids of producers: limits, ids with their entries, counts.
pub(super) fn put_producers(known: &Idempotence, compress: bool, out: &mut Vec<u8>) {
    let limits = known.limits();
    put_len(limits.duration_s.into(), out);
    put_len(limits.ids_max.into(), out);
    let producers = known.producers();
    put_len(producers.len() as u64, out);
    for (name, records) in producers {
        put_string(name, compress, out);
        put_len(records.len() as u64, out);
        for (id, entry) in records {
            put_string(id, compress, out);
            put_id(entry, out);
        }
    }
    put_len(known.added(), out);
    put_len(known.duplicates(), out);
}

fn put_group(group: &Group, kind: u8, compress: bool, out: &mut Vec<u8>) {
    put_string(group.name(), compress, out);
    put_id(group.last_id, out);
    if kind != types::STREAM_LISTPACKS {
        // "Not known" is -1 there, written as a length.
        put_len(group.entries_read.unwrap_or(u64::MAX), out);
    }
    let with_unowned = kind >= types::STREAM_LISTPACKS_5;
    let unowned = unowned_len(group);
    let pending_len = group.pending_len() - if with_unowned { 0 } else { unowned };
    put_len(pending_len as u64, out);
    for (id, pending) in all_pending(group) {
        if with_unowned || pending.consumer.is_some() {
            put_pending(id, &pending, out);
        }
    }
    put_len(group.consumer_count() as u64, out);
    for (_, consumer) in group.consumers() {
        put_string(consumer.name(), compress, out);
        out.extend_from_slice(&consumer.seen_ms.to_le_bytes());
        if kind >= types::STREAM_LISTPACKS_3 {
            // "Never" is -1.
            let active = consumer.active_ms.unwrap_or(u64::MAX);
            out.extend_from_slice(&active.to_le_bytes());
        }
        put_len(consumer.pending_len() as u64, out);
        for id in consumer.pending_ids(StreamId::MIN, StreamId::MAX) {
            out.extend_from_slice(&id.to_bytes());
        }
    }
    if with_unowned {
        put_len(unowned as u64, out);
        let all = all_pending(group);
        all.filter(|(_, pending)| pending.consumer.is_none())
            .for_each(|(id, _)| out.extend_from_slice(&id.to_bytes()));
    }
}

/// True when an entry is pending without a consumer.
pub(super) fn has_unowned(stream: &Stream) -> bool {
    stream.groups().iter().any(|group| unowned_len(group) > 0)
}

/// Entries that are pending without a consumer, `None` when there are none:
///
/// ```text
/// groups { name count { id (16 bytes) delivered (8 bytes) deliveries (length) } }
/// ```
pub(super) fn unowned(stream: &Stream) -> Option<Vec<u8>> {
    let concerned = || {
        stream
            .groups()
            .iter()
            .filter(|group| unowned_len(group) > 0)
    };
    let groups = concerned().count();
    if groups == 0 {
        return None;
    }
    let mut out = Vec::new();
    put_len(groups as u64, &mut out);
    for group in concerned() {
        put_string(group.name(), false, &mut out);
        put_len(unowned_len(group) as u64, &mut out);
        for (id, pending) in all_pending(group) {
            if pending.consumer.is_none() {
                put_pending(id, &pending, &mut out);
            }
        }
    }
    Some(out)
}

fn unowned_len(group: &Group) -> usize {
    let owned: usize = group.consumers().map(|(_, one)| one.pending_len()).sum();
    group.pending_len().saturating_sub(owned)
}

fn all_pending(group: &Group) -> impl Iterator<Item = (StreamId, Pending)> {
    group.pending_range(StreamId::MIN, StreamId::MAX)
}

fn put_pending(id: StreamId, pending: &Pending, out: &mut Vec<u8>) {
    out.extend_from_slice(&id.to_bytes());
    out.extend_from_slice(&pending.delivered_ms.to_le_bytes());
    put_len(pending.deliveries, out);
}

/// Time and number as lengths: how ids are written outside of nodes and pending lists.
fn put_id(id: StreamId, out: &mut Vec<u8>) {
    put_len(id.ms, out);
    put_len(id.seq, out);
}
