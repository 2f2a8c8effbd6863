//! Expected bytes are those of valkey-server 9.1 for the same values.

use super::super::{Access, SaveOptions, Version};
use super::{FileWriter, NoForm, dump, entry, needs_field_deadlines, value_len};
use keyspace::{Keyspace, NewValue, Options, Value, ValueRef};
use values::stream::{NodeLimits, Pending};
use values::{End, FieldDeadline, Hash, List, Set, SortedSet, Stream, StreamId, Thresholds};

fn options(version: u16, compression: bool) -> SaveOptions {
    SaveOptions {
        version: Version(version),
        compression,
        checksum: true,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The DUMP payload without compression, in the version of Valkey 9.
fn dumped(value: &ValueRef<'_>) -> String {
    let mut out = Vec::new();
    dump(value, &options(80, false), &mut out).expect("a form");
    hex(&out)
}

/// Value without type and footer.
fn plain(value: &ValueRef<'_>, compression: bool) -> Vec<u8> {
    let mut out = Vec::new();
    dump(value, &options(11, compression), &mut out).expect("a form");
    out[1..out.len() - 10].to_vec()
}

#[test]
fn strings_take_their_shortest_form() {
    let text = |text: &[u8]| plain(&ValueRef::Bytes(text), true);
    assert_eq!(text(b""), [0]);
    assert_eq!(text(b"a"), [1, b'a']);
    assert_eq!(text(b"-1"), [0xc0, 0xff]);
    assert_eq!(text(b"128"), [0xc1, 128, 0]);
    assert_eq!(text(b"-32769"), [0xc2, 0xff, 0x7f, 0xff, 0xff]);
    assert_eq!(text(b"2147483648"), b"\x0a2147483648");
    assert_eq!(text(b"012"), b"\x03012");
    assert_eq!(plain(&ValueRef::Int(-129), true), [0xc1, 0x7f, 0xff]);
    assert_eq!(plain(&ValueRef::Int(1 << 40), true), b"\x0d1099511627776");
    assert_eq!(text(&[b'x'; 20]).len(), 21, "too short to compress");
    assert_eq!(text(&[b'x'; 21])[0], 0xc3);
    let long = vec![b'x'; 20_000];
    assert_eq!(
        plain(&ValueRef::Bytes(&long), false)[..5],
        [0x80, 0, 0, 0x4e, 0x20]
    );
    assert_eq!(
        plain(&ValueRef::Bytes(&[b'x'; 100]), false)[..2],
        [0x40, 100]
    );
}

#[test]
fn compressed_strings_say_both_lengths() {
    let text = b"to be or not to be, to be or not to be, to be or not to be".repeat(10);
    let written = plain(&ValueRef::Bytes(&text), true);
    assert_eq!(written[0], 0xc3);
    // Compressed below 64 bytes, plain 580 of them.
    let len = usize::from(written[1]);
    assert!(len < 64);
    assert_eq!(written[2..4], [0x40 | 2, 0x44]);
    let back = values::lzf::decompress(&written[4..], text.len()).expect("valid");
    assert_eq!(back, text);
    assert_eq!(written.len(), 4 + len);
}

#[test]
fn collections_have_the_bytes_of_valkey() {
    let limits = Thresholds::default();
    let mut list = List::new();
    for element in [&b"a"[..], b"1", b"-300", b"70000", b""] {
        list.push(End::Back, element, &limits);
    }
    assert_eq!(
        dumped(&ValueRef::List(&list)),
        "120102161600000005008161020101ded402f2701101048001ff50000a21210081c99210"
    );
    let mut set = Set::new();
    for member in [&b"1"[..], b"2", b"70000"] {
        set.add(member, &limits);
    }
    assert_eq!(
        dumped(&ValueRef::Set(&set)),
        "0b14040000000300000001000000020000007011010050004aff0897c54fb7a1"
    );
    let mut set = Set::new();
    set.add(b"a", &limits);
    set.add(b"1", &limits);
    assert_eq!(
        dumped(&ValueRef::Set(&set)),
        "140c0c00000002008161020101ff500046b594d134d63635"
    );
    let mut hash = Hash::new();
    hash.set(b"f", b"v", FieldDeadline::Clear, &limits);
    assert_eq!(
        dumped(&ValueRef::Hash(&hash)),
        "100d0d0000000200816602817602ff5000efdbf4d5bd066f69"
    );
    hash.set(b"f", b"v", FieldDeadline::At(4_000_000_000_000), &limits);
    assert_eq!(
        dumped(&ValueRef::Hash(&hash)),
        "16010166017600409452a30300005000953971d0cc3d2643"
    );
    let mut zset = SortedSet::new();
    zset.insert(b"a", 1.0, &limits);
    zset.insert(b"b", 2.5, &limits);
    assert_eq!(
        dumped(&ValueRef::ZSet(&zset)),
        "1114140000000400816102010181620283322e3504ff50001b66a7356816be23"
    );
    let mut zset = SortedSet::new();
    zset.insert(&[b'x'; 65], 1.0, &limits);
    zset.insert(b"a", f64::INFINITY, &limits);
    let member = "78".repeat(65);
    assert_eq!(
        dumped(&ValueRef::ZSet(&zset)),
        format!("05020161000000000000f07f4041{member}000000000000f03f500019dc42e6e3437c35")
    );
}

/// Two entries, one of them deleted, and two groups.
fn stream() -> Stream {
    let mut stream = Stream::new();
    let limits = NodeLimits {
        bytes: 4096,
        entries: 100,
    };
    for seq in [5, 6] {
        let pairs = [&b"f"[..], b"v"];
        stream
            .entries_mut()
            .append(StreamId::new(5, seq), pairs.into_iter(), &limits)
            .expect("a greater id");
    }
    stream.entries_mut().remove(StreamId::new(5, 5));
    let groups = stream.groups_mut();
    groups.create(b"g", StreamId::MIN, None);
    groups.create(b"h", StreamId::new(5, 6), Some(7));
    stream
}

#[test]
fn streams_have_the_bytes_of_valkey() {
    assert_eq!(
        dumped(&ValueRef::Stream(&stream())),
        concat!(
            "1501100000000000000005000000000000000528280000000f0001010101010181660200010301000100018176020401",
            "0201000101018176020401ff0105060506050502020167000081ffffffffffffffff00000168050607000050003630ae",
            "04c6bffe6b"
        )
    );
}

#[test]
fn what_a_version_lacks_is_written_element_by_element() {
    let limits = Thresholds::default();
    let first = |value: &ValueRef<'_>, version: u16| {
        let mut out = Vec::new();
        dump(value, &options(version, true), &mut out).expect("a form");
        out[0]
    };
    let mut set = Set::new();
    set.add(b"a", &limits);
    let mut list = List::new();
    list.push(End::Back, b"a", &limits);
    let mut hash = Hash::new();
    hash.set(b"f", b"v", FieldDeadline::Clear, &limits);
    let mut zset = SortedSet::new();
    zset.insert(b"a", 1.0, &limits);
    let stream = stream();
    let types = |version: u16| {
        [
            first(&ValueRef::List(&list), version),
            first(&ValueRef::Set(&set), version),
            first(&ValueRef::ZSet(&zset), version),
            first(&ValueRef::Hash(&hash), version),
            first(&ValueRef::Stream(&stream), version),
        ]
    };
    assert_eq!(types(9), [1, 2, 5, 4, 15]);
    assert_eq!(types(10), [18, 2, 17, 16, 19]);
    assert_eq!(types(11), [18, 20, 17, 16, 21]);
    assert_eq!(types(12), [18, 20, 17, 16, 21]);
    assert_eq!(types(13), [18, 20, 17, 16, 26]);
    assert_eq!(types(14), [18, 20, 17, 16, 27]);
    assert_eq!(types(80), [18, 20, 17, 16, 21]);
}

#[test]
fn deadlines_of_fields_need_a_version_that_has_them() {
    let limits = Thresholds::default();
    let mut hash = Hash::new();
    hash.set(b"f", b"v", FieldDeadline::At(1000), &limits);
    hash.set(b"g", b"1", FieldDeadline::At(1500), &limits);
    let value = ValueRef::Hash(&hash);
    assert!(needs_field_deadlines(&value));
    let mut out = Vec::new();
    assert_eq!(
        dump(&value, &options(11, true), &mut out),
        Err(NoForm::FieldDeadlines(Version::V11))
    );
    assert!(out.is_empty());
    assert!(value_len(&value, &options(11, true)) > 0);
    hash.remove(b"g");
    hash.set(b"h", b"w", FieldDeadline::Clear, &limits);
    hash.remove(b"h");
    let value = ValueRef::Hash(&hash);
    dump(&value, &options(12, true), &mut out).expect("a form");
    assert_eq!(out[0], 24);
    // The earliest deadline, one field; its deadline is the earliest one.
    assert_eq!(out[1..10], [0xe8, 3, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(out[10..15], [1, 1, b'f', 1, b'v']);
}

/// The bytes of one entry in a file.
fn written(value: Value, deadline: Option<u64>, access: Access, version: u16) -> Vec<u8> {
    let keyspace: Keyspace = Keyspace::new(Options {
        shards: 16,
        databases: 1,
        hash_seed: [1, 2],
    });
    let hash = keyspace.hash(b"key");
    let mut locked = keyspace.lock_one(keyspace.shard_of(hash));
    let shard = locked.shard_mut(hash).expect("locked");
    shard.put(0, hash, b"key", NewValue::Owned(value), deadline, 0);
    let found = shard.find(0, hash, b"key").expect("there");
    let mut out = Vec::new();
    entry(&found, access, &options(version, true), &mut out).expect("a form");
    out
}

#[test]
fn entries_begin_with_deadline_and_use() {
    let value = || Value::Int(1);
    assert_eq!(
        written(value(), None, Access::Unknown, 11),
        b"\x00\x03key\xc0\x01"
    );
    assert_eq!(
        written(value(), Some(256), Access::IdleSeconds(100), 11),
        b"\xfc\x00\x01\x00\x00\x00\x00\x00\x00\xf8\x40\x64\x00\x03key\xc0\x01"
    );
    assert_eq!(
        written(value(), None, Access::Frequency(7), 11),
        b"\xf9\x07\x00\x03key\xc0\x01"
    );
}

#[test]
fn deadlines_of_members_stand_before_the_entry() {
    let limits = Thresholds::default();
    let mut set = Set::new();
    set.add(b"a", &limits);
    set.add(b"b", &limits);
    set.set_deadline(b"b", Some(512));
    let mut payload = Vec::new();
    let refused = dump(&ValueRef::Set(&set), &options(80, true), &mut payload);
    assert_eq!(refused, Err(NoForm::MemberDeadlines));
    let out = written(Value::Set(set), Some(1), Access::Unknown, 11);
    let mut expected = b"\xfa\x1alodestore-member-deadlines".to_vec();
    // One member.
    expected.extend_from_slice(b"\x0b\x01\x00\x02\x00\x00\x00\x00\x00\x00\x01b");
    expected.push(0xfc);
    assert_eq!(out[..expected.len()], expected);
}

#[test]
fn what_is_pending_for_nobody_has_its_place_or_stands_before_the_entry() {
    let mut stream = stream();
    let group = stream.groups_mut().get_mut(b"g").expect("there");
    let pending = Pending {
        consumer: None,
        delivered_ms: 1,
        deliveries: 2,
    };
    group.set_pending(StreamId::new(5, 6), pending);
    let mut out = Vec::new();
    let refused = dump(&ValueRef::Stream(&stream), &options(11, true), &mut out);
    assert_eq!(refused, Err(NoForm::UnownedPending(Version::V11)));
    dump(&ValueRef::Stream(&stream), &options(14, true), &mut out).expect("a form");
    assert_eq!(out[0], 27);
    let file = written(Value::Stream(stream), None, Access::Unknown, 11);
    let name = b"\xfa\x19lodestore-unowned-pending";
    assert_eq!(file[..name.len()], *name);
}

#[test]
fn files_have_magic_fields_databases_and_a_checksum() {
    let build = |options: SaveOptions| {
        let aux = [("redis-bits", "64")];
        let mut writer = FileWriter::new(Vec::new(), options, &aux).expect("memory");
        writer.function(b"code").expect("memory");
        writer.sizes(0, 2, 1).expect("memory");
        writer.entries(0, b"\x00\x01a\x01b").expect("memory");
        writer.entries(0, b"").expect("memory");
        writer.entries(3, b"\x00\x01c\x01d").expect("memory");
        let bytes = writer.bytes();
        let file = writer.finish().expect("memory");
        assert_eq!(file.len() as u64, bytes + 9);
        file
    };
    let file = build(options(11, true));
    let (body, crc) = file.split_last_chunk::<8>().expect("a checksum");
    assert_eq!(
        body,
        b"REDIS0011\xfa\x0aredis-bits\xc0\x40\xf5\x04code\xfe\x00\xfb\x02\x01\x00\x01a\x01b\xfe\x03\x00\x01c\x01d\xff"
    );
    let expected = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Redis, body);
    assert_eq!(u64::from_le_bytes(*crc), expected);
    let unchecked = SaveOptions {
        checksum: false,
        ..options(80, true)
    };
    let file = build(unchecked);
    assert!(file.starts_with(b"VALKEY080"));
    assert!(file.ends_with(&[0; 8]));
}

#[test]
fn large_pieces_pass_through_in_order() {
    let piece = vec![7; 200_000];
    let mut writer = FileWriter::new(Vec::new(), options(11, true), &[]).expect("memory");
    writer.entries(0, b"ab").expect("memory");
    writer.entries(0, &piece).expect("memory");
    writer.entries(0, b"cd").expect("memory");
    let file = writer.finish().expect("memory");
    let (body, crc) = file.split_last_chunk::<8>().expect("a checksum");
    assert_eq!(body[..13], *b"REDIS0011\xfe\x00ab");
    assert_eq!(body[13..200_013], piece);
    assert_eq!(body[200_013..], *b"cd\xff");
    let expected = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Redis, body);
    assert_eq!(u64::from_le_bytes(*crc), expected);
}
