//! Streams of all versions.

use super::shown::shown;
use super::*;
use crate::rdb::format::{self, types};
use values::stream::NodeLimits;
use values::{Stream, StreamId};

/// Nodes of entries 1-0 to `len`-0.
fn nodes(len: u64) -> Vec<u8> {
    let mut stream = Stream::new();
    for ms in 1..=len {
        let pair = [&b"f"[..], b"v"];
        let limits = NodeLimits {
            bytes: 0,
            entries: 2,
        };
        stream
            .entries_mut()
            .append(StreamId::new(ms, 0), pair.into_iter(), &limits)
            .unwrap();
    }
    let mut bytes = length(stream.entries().node_count() as u64);
    for (id, node) in stream.entries().nodes() {
        bytes.extend_from_slice(&string(&id.to_bytes()));
        bytes.extend_from_slice(&string(&node));
    }
    bytes
}

fn id(ms: u64) -> [u8; 16] {
    StreamId::new(ms, 0).to_bytes()
}

fn of(code: u8, body: &[u8]) -> String {
    let bytes = [&[code][..], body].concat();
    match restore(&payload(14, &bytes), &options()) {
        Ok(value) => shown(&value),
        Err(error) => error.cause().unwrap().to_string(),
    }
}

/// Three entries, and a group that has read two, of which a consumer has the first: `pending` and
/// `owned` are the numbers in the two lists.
fn with_group(code: u8, pending: &[u64], consumers: &[(&str, &[u64])]) -> Vec<u8> {
    let mut body = [nodes(3), b"\x03\x03\x00".to_vec()].concat();
    if code != types::STREAM_LISTPACKS {
        body.extend_from_slice(b"\x01\x00\x00\x00\x03");
    }
    body.extend_from_slice(b"\x01\x01g\x02\x00");
    if code != types::STREAM_LISTPACKS {
        body.push(2);
    }
    body.push(pending.len() as u8);
    for ms in pending {
        body.extend_from_slice(&id(*ms));
        body.extend_from_slice(&1000u64.to_le_bytes());
        body.push(7);
    }
    body.push(consumers.len() as u8);
    for (name, owned) in consumers {
        body.extend_from_slice(&string(name.as_bytes()));
        body.extend_from_slice(&2000u64.to_le_bytes());
        if code >= types::STREAM_LISTPACKS_3 {
            body.extend_from_slice(&(-1i64).to_le_bytes());
        }
        body.push(owned.len() as u8);
        owned.iter().for_each(|ms| body.extend_from_slice(&id(*ms)));
    }
    body
}

const ENTRIES: &str = "added 3; 1-0 f=v; 2-0 f=v; 3-0 f=v";

#[test]
fn all_versions() {
    let body = with_group(types::STREAM_LISTPACKS, &[1], &[("c", &[1])]);
    let first = format!(
        "stream 3 first 1-0 last 3-0 deleted 0-0 {ENTRIES}; group g last 2-0 read None [1-0@1000x7 c] [c 2000 Some(2000)]"
    );
    assert_eq!(of(types::STREAM_LISTPACKS, &body), first);
    let code = types::STREAM_LISTPACKS_2;
    let second = first.replace("read None", "read Some(2)");
    assert_eq!(of(code, &with_group(code, &[1], &[("c", &[1])])), second);
    let code = types::STREAM_LISTPACKS_3;
    let third = second.replace("Some(2000)", "None");
    assert_eq!(of(code, &with_group(code, &[1], &[("c", &[1])])), third);

    let code = types::STREAM_LISTPACKS_4;
    let unused = b"\x40\x64\x40\x64\x00\x00\x00";
    let body = with_group(code, &[1], &[("c", &[1])]);
    assert_eq!(of(code, &[&body[..], unused].concat()), third);
    let producers = b"\x40\x64\x05\x01\x01p\x02\x01x\x01\x00\x01y\x02\x00\x09\x03";
    let fourth = format!("{third}; ids 100 s 5 max p: x=1-0 y=2-0 added 9 twice 3");
    assert_eq!(of(code, &[&body[..], producers].concat()), fourth);
    for (bytes, wrong) in [
        (
            &b"\x00\x05\x00\x00\x00"[..],
            "limits of the stream's producers are out of range",
        ),
        (
            b"\x05\x80\xff\xff\xff\xff\x00\x00\x00",
            "limits of the stream's producers are out of range",
        ),
        (
            b"\x05\x05\x01\x01p\x02\x01x\x01\x00\x01x\x02\x00\x09\x03",
            "an id of a producer is there twice",
        ),
        (b"\x05\x05\x01\x01p\x02\x01x\x01\x00", "unexpected end"),
    ] {
        assert_eq!(of(code, &[&body[..], bytes].concat()), wrong);
    }

    // The list of entries that are pending without a consumer is behind the consumers of each
    // group.
    let code = types::STREAM_LISTPACKS_5;
    let body = with_group(code, &[1, 2], &[("c", &[1])]);
    let fifth = [&body[..], b"\x01", &id(2), unused].concat();
    let expected = third.replace("x7 c]", "x7 c, 2-0@1000x7 nobody]");
    assert_eq!(of(code, &fifth), expected);
    let wrong = "NACK zone entry that is not pending, or not for nobody";
    for zone in [
        &[&[1][..], &id(1)].concat(),
        &[&[1][..], &id(3)].concat(),
        &[&[2][..], &id(2), &id(2)].concat(),
    ] {
        assert_eq!(of(code, &[&body[..], zone, unused].concat()), wrong);
    }
    let ownerless = "Stream CG PEL entry without consumer";
    assert_eq!(of(code, &[&body[..], b"\x00", unused].concat()), ownerless);
}

#[test]
fn empty_streams_and_old_groups() {
    assert_eq!(
        of(types::STREAM_LISTPACKS, b"\x00\x00\x05\x01\x00"),
        "stream 0 first 0-0 last 5-1 deleted 0-0 added 0"
    );
    // Counts that an old file lacks are estimated from the ids.
    for (last_read, read) in [
        (0, "Some(0)"),
        (1, "Some(1)"),
        (2, "None"),
        (3, "Some(3)"),
        (4, "None"),
    ] {
        let group = [
            nodes(3),
            b"\x03\x03\x00\x01\x01g".to_vec(),
            vec![last_read, 0, 0, 0],
        ]
        .concat();
        let text = of(types::STREAM_LISTPACKS, &group);
        assert!(
            text.ends_with(&format!("group g last {last_read}-0 read {read} [] []")),
            "{text}"
        );
    }
}

#[test]
fn damage() {
    let code = types::STREAM_LISTPACKS_3;
    for (pending, consumers, wrong) in [
        (
            &[1][..],
            &[("c", &[1][..]), ("d", &[1])][..],
            "NACK already assigned to a different consumer, shared NACKs across consumers are not valid",
        ),
        (
            &[1],
            &[("c", &[1, 1])],
            "Duplicated consumer PEL entry loading a stream consumer group",
        ),
        (
            &[1],
            &[("c", &[2])],
            "Consumer entry not found in group global PEL",
        ),
        (
            &[1, 2],
            &[("c", &[1])],
            "Stream CG PEL entry without consumer",
        ),
        (
            &[1, 1],
            &[("c", &[1])],
            "Duplicated global PEL entry loading stream consumer group",
        ),
        (
            &[1],
            &[("c", &[1]), ("c", &[])],
            "Duplicate stream consumer detected.",
        ),
    ] {
        assert_eq!(of(code, &with_group(code, pending, consumers)), wrong);
    }
    let good = with_group(code, &[1], &[("c", &[1])]);
    for len in 0..good.len() {
        assert_eq!(of(code, &good[..len]), "unexpected end", "{len}");
    }
    let two = [
        nodes(3),
        b"\x03\x03\x00\x01\x00\x00\x00\x03\x02\x01g\x00\x00\x00\x00\x00\x01g\x00\x00\x00\x00\x00"
            .to_vec(),
    ]
    .concat();
    assert_eq!(of(code, &two), "Duplicated consumer group name");
    let short = [&b"\x01"[..], &string(&[0; 15]), &string(b"x")].concat();
    assert_eq!(
        of(code, &short),
        "Stream node key entry is not the size of a stream ID"
    );
    let number = b"\x01\xc0\x05\x00";
    assert_eq!(of(code, number), "a number where packed elements must be");
    let len = [nodes(3), b"\x04\x03\x00\x01\x00\x00\x00\x03\x00".to_vec()].concat();
    assert_eq!(
        of(code, &len),
        "Stream listpack integrity check failed: the stream has another length than it says"
    );
    let last = [nodes(3), b"\x03\x02\x00\x01\x00\x00\x00\x03\x00".to_vec()].concat();
    assert_eq!(
        of(code, &last),
        "Stream listpack integrity check failed: the stream has an id beyond its last"
    );
    let twice = [&b"\x02"[..], &nodes(2)[1..], &nodes(2)[1..]].concat();
    assert_eq!(
        of(code, &twice),
        "Stream listpack integrity check failed: nodes of the stream do not ascend"
    );
}

#[test]
fn entries_pending_for_nobody_in_files_of_ours() {
    let code = types::STREAM_LISTPACKS_3;
    let pending = |name: &[u8], ms| {
        [
            &b"\x01"[..],
            &string(name),
            b"\x01",
            &id(ms),
            &9u64.to_le_bytes(),
            b"\x02",
        ]
        .concat()
    };
    let aux = |value: &[u8]| {
        [
            b"\xfa".to_vec(),
            string(format::AUX_UNOWNED_PENDING.as_bytes()),
            string(value),
        ]
        .concat()
    };
    let entry = [
        &[code][..],
        b"\x01k",
        &with_group(code, &[1], &[("c", &[1])]),
    ]
    .concat();
    let keeper = loaded(&file(11, &[aux(&pending(b"g", 2)), entry.clone()].concat()));
    assert!(shown(&keeper.entries[0].value).contains("[1-0@1000x7 c, 2-0@9x2 nobody]"));
    for value in [pending(b"h", 2), pending(b"g", 1)] {
        let error = refused(&[aux(&value), entry.clone()].concat());
        assert_eq!(
            error.cause.to_string(),
            "a pending entry of no group, or there twice"
        );
    }
}
