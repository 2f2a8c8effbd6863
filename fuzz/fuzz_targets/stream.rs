//! Nodes of streams from outside are refused, or are entries that can be read both ways, deleted
//! and added to.

#![no_main]

use libfuzzer_sys::fuzz_target;
use values::listpack::Listpack;
use values::stream::{NodeLimits, Saved, StreamBuilder};
use values::{Element, StreamId};

fn stream(bytes: &[u8]) {
    let mut builder = StreamBuilder::new();
    if builder.push_node(StreamId::new(5, 5), bytes).is_err() {
        return;
    }
    // The number of entries is in the first element of the node, which has been checked.
    let live = Listpack::from_bytes(bytes).ok().and_then(|pack| {
        let first = pack.view().iter().next()?;
        u64::try_from(first.parse_i64()?).ok()
    });
    let saved = Saved {
        len: live.expect("a node says how many entries it has"),
        last_id: StreamId::MAX,
        max_deleted_id: StreamId::MIN,
        added: None,
    };
    let mut stream = builder.finish(&saved).expect("all of it has been checked");
    let entries = stream.entries_mut();
    let ids: Vec<StreamId> = entries
        .range(StreamId::MIN, StreamId::MAX)
        .map(|entry| {
            assert_eq!(entry.fields.clone().count(), entry.fields.len());
            entry.id
        })
        .collect();
    assert_eq!(ids.len() as u64, entries.len());
    let back = entries.range_back(StreamId::MIN, StreamId::MAX);
    assert!(back.map(|entry| entry.id).eq(ids.iter().rev().copied()));
    entries.set_last_id(ids.last().copied().unwrap_or(StreamId::new(5, 5)));
    let pair = [&b"name"[..], b"12"].into_iter();
    let next = entries.next_id(0);
    if let Some(id) = next {
        // A new node, so that the first takes its denser form.
        let limits = NodeLimits {
            bytes: 4096,
            entries: 1,
        };
        assert!(entries.append(id, pair, &limits).is_ok());
        let back = entries.range_back(StreamId::MIN, StreamId::MAX);
        assert!(
            back.skip(1)
                .map(|entry| entry.id)
                .eq(ids.iter().rev().copied())
        );
    }
    for id in ids.iter().copied().chain(next) {
        assert!(entries.remove(id));
    }
    assert_eq!(entries.node_count(), 0);
}

fuzz_target!(|bytes: &[u8]| {
    // The bytes as they are, and as elements of a listpack: bytes below 0x80 as small numbers, the
    // others as the lengths of texts.
    stream(bytes);
    let text = [b'x'; 0x80];
    let mut pack = Listpack::new();
    for byte in bytes {
        pack.push_back_element(match *byte {
            small @ 0..0x80 => Element::Int(i64::from(small)),
            long => Element::Bytes(&text[..usize::from(long & 0x7F)]),
        });
    }
    stream(pack.as_bytes());
});
