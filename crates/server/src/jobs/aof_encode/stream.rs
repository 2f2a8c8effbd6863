//! A stream as commands: its entries, its groups with their pending entries, its last id and
//! counters, and the ids of producers.
//!
//! An entry can be pending although it is deleted, and XCLAIM makes no missing entry pending. So
//! such entries are added as placeholders and removed in the end as before: those in front of all
//! others by XTRIM, the rest by XDEL. XSETID comes last and restores the counters that this
//! changed.

use std::collections::BTreeSet;
use std::io::{self, Write};

use values::stream::{Consumer, ConsumerId, Entry, Group, ID_TEXT, Idempotence, Pending};
use values::{Stream, StreamId};

use resp::request::{write as write_command, write_begin, write_bulk};

use super::{ELEMENTS_PER_COMMAND, write_element};

/// Writes the commands that make a stream.
pub(super) fn write(key: &[u8], stream: &Stream, out: &mut dyn Write) -> io::Result<()> {
    let entries = stream.entries();
    let gone = gone_but_pending(stream);
    let mut placeholders = gone.iter().copied().peekable();
    for entry in entries.range(StreamId::MIN, StreamId::MAX) {
        while let Some(id) = placeholders.next_if(|id| *id < entry.id) {
            write_placeholder(key, id, out)?;
        }
        write_entry(key, entry, out)?;
    }
    placeholders.try_for_each(|id| write_placeholder(key, id, out))?;
    if entries.is_empty() && gone.is_empty() {
        // An empty stream is created by an entry that is trimmed at once.
        let id = StreamId::new(0, 1);
        let id = &id.text(&mut { ID_TEXT }).to_vec();
        write_command(out, &[b"XADD", key, b"MAXLEN", b"0", id, b"x", b"y"])?;
    }
    for group in stream.groups().iter() {
        write_group(key, group, out)?;
    }
    remove(key, stream, &gone, out)?;
    write_command(
        out,
        &[
            b"XSETID",
            key,
            entries.last_id().text(&mut { ID_TEXT }),
            b"ENTRIESADDED",
            entries.added().to_string().as_bytes(),
            b"MAXDELETEDID",
            entries.max_deleted_id().text(&mut { ID_TEXT }),
        ],
    )?;
    match stream.idempotence() {
        Some(known) => write_idempotence(key, known, out),
        None => Ok(()),
    }
}

/// Ids of producers. The counts have options that only the log may use. They stand in a separate
/// command, so that a server without these options still loads the rest.
fn write_idempotence(key: &[u8], known: &Idempotence, out: &mut dyn Write) -> io::Result<()> {
    let mut settings = |first: &str, one: u64, second: &str, other: u64| {
        let (one, other) = (one.to_string(), other.to_string());
        let words = [first, &one, second, &other].map(str::as_bytes);
        write_command(
            out,
            &[b"XCFGSET", key, words[0], words[1], words[2], words[3]],
        )
    };
    let limits = known.limits();
    let (duration_s, ids_max) = (u64::from(limits.duration_s), u64::from(limits.ids_max));
    settings("IDMP-DURATION", duration_s, "IDMP-MAXSIZE", ids_max)?;
    let (added, duplicates) = (known.added(), known.duplicates());
    if added != known.len() as u64 || duplicates != 0 {
        // Each id that follows adds one to the count.
        let before = added.saturating_sub(known.len() as u64);
        settings("IIDS-ADDED", before, "IIDS-DUPLICATES", duplicates)?;
    }
    for (producer, ids) in known.producers() {
        for (id, entry) in ids {
            let entry = entry.text(&mut { ID_TEXT }).to_vec();
            write_command(out, &[b"XIDMPRECORD", key, producer, id, &entry])?;
        }
    }
    Ok(())
}

/// Ids that are pending in a group and have no entry.
fn gone_but_pending(stream: &Stream) -> BTreeSet<StreamId> {
    let mut gone = BTreeSet::new();
    for group in stream.groups().iter() {
        let pending = group.pending_range(StreamId::MIN, StreamId::MAX);
        let first = pending.clone().next().map_or(StreamId::MAX, |(id, _)| id);
        let mut entries = stream.entries().range(first, StreamId::MAX).peekable();
        for (id, _) in pending {
            while entries.next_if(|entry| entry.id < id).is_some() {}
            if entries.peek().is_none_or(|entry| entry.id != id) && !id.is_zero() {
                gone.insert(id);
            }
        }
    }
    gone
}

fn write_entry(key: &[u8], entry: Entry<'_>, out: &mut dyn Write) -> io::Result<()> {
    write_begin(out, 3 + entry.fields.len() * 2)?;
    write_bulk(out, b"XADD")?;
    write_bulk(out, key)?;
    write_bulk(out, entry.id.text(&mut { ID_TEXT }))?;
    for (name, value) in entry.fields {
        write_element(out, name)?;
        write_element(out, value)?;
    }
    Ok(())
}

fn write_placeholder(key: &[u8], id: StreamId, out: &mut dyn Write) -> io::Result<()> {
    let id = id.text(&mut { ID_TEXT }).to_vec();
    write_command(out, &[b"XADD", key, &id, b"x", b"y"])
}

/// Removes the placeholders.
fn remove(
    key: &[u8],
    stream: &Stream,
    gone: &BTreeSet<StreamId>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let entries = stream.entries();
    let first = match entries.is_empty() {
        true => StreamId::MAX,
        false => entries.first_id(),
    };
    if gone.first().is_some_and(|id| *id < first) {
        let first = first.text(&mut { ID_TEXT }).to_vec();
        write_command(out, &[b"XTRIM", key, b"MINID", &first])?;
    }
    let inside: Vec<StreamId> = gone.range(first..).copied().collect();
    for chunk in inside.chunks(ELEMENTS_PER_COMMAND) {
        write_begin(out, 2 + chunk.len())?;
        write_bulk(out, b"XDEL")?;
        write_bulk(out, key)?;
        chunk
            .iter()
            .try_for_each(|id| write_bulk(out, id.text(&mut { ID_TEXT })))?;
    }
    Ok(())
}

fn write_group(key: &[u8], group: &Group, out: &mut dyn Write) -> io::Result<()> {
    let entries_read = match group.entries_read {
        Some(count) => count.to_string(),
        None => "-1".to_owned(),
    };
    write_command(
        out,
        &[
            b"XGROUP",
            b"CREATE",
            key,
            group.name(),
            group.last_id.text(&mut { ID_TEXT }),
            b"ENTRIESREAD",
            entries_read.as_bytes(),
        ],
    )?;
    for consumer in group.consumers() {
        write_consumer(key, group, consumer, out)?;
    }
    for (id, pending) in group.pending_range(StreamId::MIN, StreamId::MAX) {
        if pending.consumer.is_none() {
            write_unowned(key, group, id, pending.deliveries, out)?;
        }
    }
    Ok(())
}

/// Writes the entries that are pending without a consumer (XNACK).
fn write_unowned(
    key: &[u8],
    group: &Group,
    id: StreamId,
    deliveries: u64,
    out: &mut dyn Write,
) -> io::Result<()> {
    write_command(
        out,
        &[
            b"XNACK",
            key,
            group.name(),
            b"SILENT",
            b"IDS",
            b"1",
            id.text(&mut { ID_TEXT }),
            b"RETRYCOUNT",
            deliveries.to_string().as_bytes(),
            b"FORCE",
        ],
    )
}

/// Writes a consumer: the commands for its pending entries create it, else XGROUP CREATECONSUMER
/// does.
fn write_consumer(
    key: &[u8],
    group: &Group,
    (_, consumer): (ConsumerId, &Consumer),
    out: &mut dyn Write,
) -> io::Result<()> {
    let name = consumer.name();
    if consumer.pending_len() == 0 {
        return write_command(
            out,
            &[b"XGROUP", b"CREATECONSUMER", key, group.name(), name],
        );
    }
    let mut ids = consumer.pending_ids(StreamId::MIN, StreamId::MAX);
    ids.try_for_each(|id| match group.pending(id) {
        Some(pending) => write_pending(key, group, name, (id, pending), out),
        None => Ok(()),
    })
}

fn write_pending(
    key: &[u8],
    group: &Group,
    consumer: &[u8],
    (id, pending): (StreamId, Pending),
    out: &mut dyn Write,
) -> io::Result<()> {
    write_command(
        out,
        &[
            b"XCLAIM",
            key,
            group.name(),
            consumer,
            b"0",
            id.text(&mut { ID_TEXT }),
            b"TIME",
            pending.delivered_ms.to_string().as_bytes(),
            b"RETRYCOUNT",
            pending.deliveries.to_string().as_bytes(),
            b"JUSTID",
            b"FORCE",
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::aof_encode::tests::text;
    use values::stream::{IdempotenceLimits, Keep, NodeLimits, References};

    fn stream() -> Stream {
        let mut stream = Stream::new();
        for ms in 1..=4 {
            let pair = [&b"f"[..], b"v"].into_iter();
            let result =
                stream
                    .entries_mut()
                    .append(StreamId::new(ms, 0), pair, &NodeLimits::default());
            assert_eq!(result, Ok(()));
        }
        stream
    }

    #[test]
    fn entries_and_groups_are_written() {
        let mut stream = stream();
        stream.trim(Keep::Newest(1), false, 0, References::Keep);
        stream.groups_mut().create(b"g", StreamId::new(4, 0), None);
        let text = text(|out| write(b"k", &stream, out));
        let wanted = "*5 XADD k 4-0 f v *7 XGROUP CREATE k g 4-0 ENTRIESREAD -1 \
            *7 XSETID k 4-0 ENTRIESADDED 4 MAXDELETEDID 0-0 ";
        assert_eq!(text, wanted);
    }

    #[test]
    fn ids_of_producers_are_written() {
        let mut stream = stream();
        let limits = IdempotenceLimits {
            duration_s: 7,
            ids_max: 2,
        };
        let known = stream.idempotence_or_new(limits);
        for ms in 1..=3 {
            known.record(b"p", ms.to_string().as_bytes(), StreamId::new(ms, 0), 9);
        }
        known.record(b"b", b"1", StreamId::new(4, 0), 9);
        known.count_duplicate();
        let text = text(|out| write(b"k", &stream, out));
        let wanted = "*6 XCFGSET k IDMP-DURATION 7 IDMP-MAXSIZE 2 \
            *6 XCFGSET k IIDS-ADDED 1 IIDS-DUPLICATES 1 *5 XIDMPRECORD k b 1 4-0 \
            *5 XIDMPRECORD k p 2 2-0 *5 XIDMPRECORD k p 3 3-0 ";
        assert!(text.ends_with(wanted), "{text}");
    }

    #[test]
    fn what_is_pending_survives_its_entry() {
        let mut stream = stream();
        let group = stream
            .groups_mut()
            .create(b"g", StreamId::new(4, 0), Some(4));
        let group = group.expect("a new one");
        let consumer = group.create_consumer(b"c", 9);
        for ms in [1, 3] {
            let pending = Pending {
                consumer,
                delivered_ms: 8,
                deliveries: 2,
            };
            group.set_pending(StreamId::new(ms, 0), pending);
        }
        stream.trim(Keep::Newest(3), false, 0, References::Keep);
        stream.remove(StreamId::new(3, 0), References::Keep);
        let text = text(|out| write(b"k", &stream, out));
        let wanted = "*5 XADD k 1-0 x y *5 XADD k 2-0 f v *5 XADD k 3-0 x y *5 XADD k 4-0 f v \
            *7 XGROUP CREATE k g 4-0 ENTRIESREAD 4 \
            *12 XCLAIM k g c 0 1-0 TIME 8 RETRYCOUNT 2 JUSTID FORCE \
            *12 XCLAIM k g c 0 3-0 TIME 8 RETRYCOUNT 2 JUSTID FORCE \
            *4 XTRIM k MINID 2-0 *3 XDEL k 3-0 \
            *7 XSETID k 4-0 ENTRIESADDED 4 MAXDELETEDID 3-0 ";
        assert_eq!(text, wanted);
    }
}
