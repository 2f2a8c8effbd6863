//! How long values are in an RDB file, without compression: what DEBUG OBJECT tells.

use keyspace::{StringRef, ValueRef};
use values::list::NodeRef;
use values::stream::Group;
use values::{Element, Hash, List, Set, SortedSet, Stream, StreamId};

/// A score or a deadline.
const NUMBER_BYTES: usize = 8;

/// An id in one piece.
const ID_BYTES: usize = 16;

/// Bytes of a value.
pub(super) fn serialized_len(value: ValueRef<'_>) -> usize {
    match value {
        ValueRef::List(list) => list_len(list),
        ValueRef::Set(set) => set_len(set),
        ValueRef::ZSet(set) => sorted_set_len(set),
        ValueRef::Hash(hash) => hash_len(hash),
        ValueRef::Stream(stream) => stream_len(stream),
        value => value.string().map_or(0, |string| match string {
            StringRef::Int(number) => element_len(Element::Int(number)),
            StringRef::Bytes(bytes) => element_len(Element::Bytes(bytes)),
            StringRef::Big(big) => blob_len(big.len()),
        }),
    }
}

fn list_len(list: &List) -> usize {
    let mut bytes = head_len(list.nodes());
    list.each_node(&mut |node| {
        // Each node is preceded by its kind.
        bytes += 1 + blob_len(node_bytes(&node));
    });
    bytes
}

/// Bytes of a node, not compressed.
pub(super) fn node_bytes(node: &NodeRef<'_>) -> usize {
    match node {
        NodeRef::Packed(bytes) | NodeRef::Plain(bytes) => bytes.len(),
        NodeRef::Compressed { plain_len, .. } => *plain_len,
    }
}

fn set_len(set: &Set) -> usize {
    if let Some(bytes) = set.pack_bytes() {
        return blob_len(bytes.len());
    }
    let members: usize = set.iter().map(element_len).sum();
    head_len(set.len()) + members + set.volatile_len() * NUMBER_BYTES
}

fn sorted_set_len(set: &SortedSet) -> usize {
    if let Some(bytes) = set.pack_bytes() {
        return blob_len(bytes.len());
    }
    let members = set.iter().map(|(member, _)| element_len(member));
    let members: usize = members.map(|bytes| bytes + NUMBER_BYTES).sum();
    head_len(set.len()) + members + set.volatile_len() * NUMBER_BYTES
}

fn hash_len(hash: &Hash) -> usize {
    if let Some(bytes) = hash.pack_bytes() {
        return blob_len(bytes.len());
    }
    let fields = hash.iter(0);
    let fields: usize = fields
        .map(|(field, value)| element_len(field) + element_len(value))
        .sum();
    head_len(hash.len()) + fields + hash.volatile_len() * NUMBER_BYTES
}

fn stream_len(stream: &Stream) -> usize {
    let entries = stream.entries();
    // Each node is preceded by its id.
    let nodes = entries.node_lens();
    let nodes: usize = nodes.map(|len| blob_len(ID_BYTES) + blob_len(len)).sum();
    let ids = [
        entries.last_id(),
        entries.first_id(),
        entries.max_deleted_id(),
    ];
    head_len(entries.node_count())
        + nodes
        + number_len(entries.len())
        + ids.map(id_len).iter().sum::<usize>()
        + number_len(entries.added())
        + head_len(stream.groups().len())
        + stream.groups().iter().map(group_len).sum::<usize>()
}

fn group_len(group: &Group) -> usize {
    let pending = group.pending_range(StreamId::MIN, StreamId::MAX);
    let pending = pending.map(|(_, it)| ID_BYTES + NUMBER_BYTES + number_len(it.deliveries));
    let consumers = group.consumers().map(|(_, consumer)| {
        blob_len(consumer.name().len())
            + 2 * NUMBER_BYTES
            + head_len(consumer.pending_len())
            + consumer.pending_len() * ID_BYTES
    });
    blob_len(group.name().len())
        + id_len(group.last_id)
        + number_len(group.entries_read.unwrap_or(u64::MAX))
        + head_len(group.pending_len())
        + pending.sum::<usize>()
        + head_len(group.consumer_count())
        + consumers.sum::<usize>()
}

fn id_len(id: StreamId) -> usize {
    number_len(id.ms) + number_len(id.seq)
}

/// A number in the form of a length.
fn number_len(number: u64) -> usize {
    usize::try_from(number).map_or(9, head_len)
}

/// A string; short integers have a form of their own.
fn element_len(element: Element<'_>) -> usize {
    let number = element.parse_i64();
    match number {
        Some(number) if i8::try_from(number).is_ok() => 2,
        Some(number) if i16::try_from(number).is_ok() => 3,
        Some(number) if i32::try_from(number).is_ok() => 5,
        _ => blob_len(element.len()),
    }
}

fn blob_len(len: usize) -> usize {
    head_len(len) + len
}

/// A length or a count.
fn head_len(len: usize) -> usize {
    match len {
        0..0x40 => 1,
        0x40..0x4000 => 2,
        0x4000..0x1_0000_0000 => 5,
        _ => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serialized_lengths_are_those_of_rdb() {
        let int = |number| serialized_len(ValueRef::Int(number));
        assert_eq!([int(1), int(-129), int(70_000)], [2, 3, 5]);
        assert_eq!(int(10_000_000_000), 1 + 11);
        assert_eq!(serialized_len(ValueRef::Bytes(b"abc")), 4);
        assert_eq!(serialized_len(ValueRef::Bytes(&[b'x'; 100])), 102);
        let mut set = Set::new();
        let limits = values::Thresholds::default();
        (0..5).for_each(|number: i32| {
            set.add(number.to_string().as_bytes(), &limits);
        });
        // An intset: 8 bytes in front of 2 for each.
        assert_eq!(serialized_len(ValueRef::Set(&set)), 1 + 18);
    }
}
