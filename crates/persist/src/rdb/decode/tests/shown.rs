//! Values as text, with what tests compare.

use keyspace::Value;
use std::ops::ControlFlow;
use values::stream::Group;
use values::{Element, SetEncoding, Stream, StreamId};

fn text(element: Element<'_>) -> String {
    element.to_vec().escape_ascii().to_string()
}

fn joined(rows: impl Iterator<Item = String>) -> String {
    rows.collect::<Vec<_>>().join(" ")
}

fn sorted(rows: impl Iterator<Item = String>) -> String {
    let mut rows: Vec<_> = rows.collect();
    rows.sort();
    rows.join(" ")
}

fn at(deadline: Option<u64>) -> String {
    deadline.map_or_else(String::new, |deadline| format!("@{deadline}"))
}

/// The form of a value and all that it holds; what has no order is sorted.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Int(value) => format!("int {value}"),
        Value::Bytes(bytes) => format!("bytes {}", bytes.escape_ascii()),
        Value::Hash(hash) => {
            let form = if hash.is_packed() {
                "listpack"
            } else {
                "table"
            };
            let fields = hash.iter(0).map(|(field, value)| {
                let deadline = hash.deadline(&field.to_vec()).unwrap();
                format!("{}={}{}", text(field), text(value), at(deadline))
            });
            format!("{form} {}", sorted(fields))
        }
        Value::Set(set) => {
            let form = match set.encoding() {
                SetEncoding::Intset => "intset",
                SetEncoding::Listpack => "listpack",
                SetEncoding::Table => "table",
            };
            let members = set.iter().map(|member| {
                let deadline = set.deadline(&member.to_vec()).unwrap();
                format!("{}{}", text(member), at(deadline))
            });
            format!("{form} {}", sorted(members))
        }
        Value::ZSet(zset) => {
            let form = if zset.is_packed() {
                "listpack"
            } else {
                "skiplist"
            };
            let members = zset.iter().map(|(member, score)| {
                let deadline = zset.deadline(&member.to_vec()).unwrap();
                format!("{}:{score}{}", text(member), at(deadline))
            });
            format!("{form} {}", joined(members))
        }
        Value::List(list) => {
            let mut elements = Vec::new();
            list.visit(0..list.len(), false, |element| {
                elements.push(text(element));
                ControlFlow::Continue(())
            });
            let form = match list.is_packed() {
                true => "listpack".to_owned(),
                false => format!("quicklist({})", list.nodes()),
            };
            format!("{form} {}", elements.join(" "))
        }
        Value::Stream(stream) => shown_stream(stream),
        other => format!("{other:?}"),
    }
}

fn shown_stream(stream: &Stream) -> String {
    let entries = stream.entries();
    let mut all = format!(
        "stream {} first {} last {} deleted {} added {}",
        entries.len(),
        entries.first_id(),
        entries.last_id(),
        entries.max_deleted_id(),
        entries.added()
    );
    for entry in entries.range(StreamId::MIN, StreamId::MAX) {
        let fields = entry
            .fields
            .map(|(name, value)| format!("{}={}", text(name), text(value)));
        all += &format!("; {} {}", entry.id, joined(fields));
    }
    for group in stream.groups().iter() {
        all += &shown_group(group);
    }
    if let Some(known) = stream.idempotence() {
        let limits = known.limits();
        all += &format!("; ids {} s {} max", limits.duration_s, limits.ids_max);
        for (name, records) in known.producers() {
            let records = records.map(|(id, entry)| format!("{}={entry}", id.escape_ascii()));
            all += &format!(" {}: {}", name.escape_ascii(), joined(records));
        }
        all += &format!(" added {} twice {}", known.added(), known.duplicates());
    }
    all
}

fn shown_group(group: &Group) -> String {
    let pending = group
        .pending_range(StreamId::MIN, StreamId::MAX)
        .map(|(id, pending)| {
            let consumer = pending
                .consumer
                .and_then(|consumer| group.consumer(consumer));
            let name = consumer.map_or(&b"nobody"[..], |consumer| consumer.name());
            let (since, times) = (pending.delivered_ms, pending.deliveries);
            format!("{id}@{since}x{times} {}", name.escape_ascii())
        });
    let consumers = group.consumers().map(|(_, consumer)| {
        let name = consumer.name().escape_ascii();
        format!("{name} {} {:?}", consumer.seen_ms, consumer.active_ms)
    });
    format!(
        "; group {} last {} read {:?} [{}] [{}]",
        group.name().escape_ascii(),
        group.last_id,
        group.entries_read,
        pending.collect::<Vec<_>>().join(", "),
        consumers.collect::<Vec<_>>().join(", ")
    )
}
