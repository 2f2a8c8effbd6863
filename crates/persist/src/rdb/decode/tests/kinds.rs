//! Each type, and what can be wrong with it.

use super::shown::shown;
use super::*;
use crate::rdb::format::{self, types};
use values::listpack::Listpack;

/// A value of a payload of this version, or what is wrong with it.
fn value_of(version: u16, code: u8, body: &[u8]) -> String {
    value_with(version, code, body, &options())
}

/// What is wrong, without the form in which it is wrong.
fn rule(cause: &RdbCause) -> String {
    match cause {
        RdbCause::Integrity { rule, .. } => (*rule).to_owned(),
        cause => cause.to_string(),
    }
}

#[test]
fn the_damaged_form_is_named() {
    for (code, form) in [
        (types::HASH_ZIPMAP, "Zipmap"),
        (types::HASH_ZIPLIST, "Hash ziplist"),
        (types::ZSET_LISTPACK, "Zset listpack"),
        (types::SET_INTSET, "Intset"),
    ] {
        let error = restore(&payload(11, &[code, 1, 0x55]), &options()).unwrap_err();
        let text = error.cause().unwrap().to_string();
        let begin = format!("{form} integrity check failed: ");
        assert!(text.starts_with(&begin), "{text}");
    }
}

fn value_with(version: u16, code: u8, body: &[u8], options: &LoadOptions) -> String {
    let bytes = [&[code][..], body].concat();
    match restore(&payload(version, &bytes), options) {
        Ok(value) => shown(&value),
        Err(error) => error.cause().map_or_else(|| error.to_string(), rule),
    }
}

fn strings(texts: &[&str]) -> Vec<u8> {
    texts
        .iter()
        .flat_map(|text| string(text.as_bytes()))
        .collect()
}

/// Count and strings.
fn counted(count: u64, texts: &[&str]) -> Vec<u8> {
    [length(count), strings(texts)].concat()
}

fn listpack(texts: &[&str]) -> Vec<u8> {
    let mut pack = Listpack::new();
    texts
        .iter()
        .for_each(|text| assert!(pack.push_back(text.as_bytes())));
    pack.as_bytes().to_vec()
}

/// A ziplist of entries without the lengths before them.
fn ziplist(entries: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![0; 10];
    let (mut before, mut tail) = (0, 10);
    for entry in entries {
        tail = bytes.len();
        match before {
            0..254 => bytes.push(before as u8),
            _ => {
                bytes.push(254);
                bytes.extend_from_slice(&(before as u32).to_le_bytes());
            }
        }
        bytes.extend_from_slice(entry);
        before = bytes.len() - tail;
    }
    bytes.push(255);
    let len = bytes.len() as u32;
    bytes[..4].copy_from_slice(&len.to_le_bytes());
    bytes[4..8].copy_from_slice(&(tail as u32).to_le_bytes());
    bytes[8..10].copy_from_slice(&(entries.len() as u16).to_le_bytes());
    bytes
}

fn intset(width: u32, count: u32, members: &[u8]) -> Vec<u8> {
    [&width.to_le_bytes()[..], &count.to_le_bytes(), members].concat()
}

const EMPTY: &str = "empty key";

#[test]
fn lists() {
    let of = |code, body: &[u8]| value_of(11, code, body);
    let three = counted(3, &["a", "2", "c"]);
    assert_eq!(of(types::LIST, &three), "listpack a 2 c");
    assert_eq!(of(types::LIST, b"\x00"), EMPTY);
    assert_eq!(of(types::LIST, &three[..4]), "unexpected end");
    assert_eq!(
        of(types::LIST, b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01a"),
        "unexpected end"
    );

    let packed = [length(2), listpack(&["a", "1"])].concat();
    let nodes = [
        &b"\x03"[..],
        &packed[..1],
        &string(&packed[1..]),
        b"\x01\x02zz\x02",
    ]
    .concat();
    let nodes = [nodes, string(&listpack(&["b"]))].concat();
    assert_eq!(of(types::LIST_QUICKLIST_2, &nodes), "quicklist(3) a 1 zz b");
    let one = [&b"\x01\x02"[..], &string(&listpack(&["a", "1"]))].concat();
    assert_eq!(of(types::LIST_QUICKLIST_2, &one), "listpack a 1");
    // A plain node can be written as a number.
    assert_eq!(
        of(types::LIST_QUICKLIST_2, b"\x01\x01\xc0\x07"),
        "quicklist(1) 7"
    );
    let empty = [&b"\x01\x02"[..], &string(&listpack(&[]))].concat();
    assert_eq!(of(types::LIST_QUICKLIST_2, &empty), EMPTY);
    assert_eq!(
        of(types::LIST_QUICKLIST_2, b"\x01\x03\x01a"),
        "a node of the list is of unknown kind"
    );
    assert_eq!(
        of(types::LIST_QUICKLIST_2, b"\x01\x01\x00"),
        "a node of the list is an empty element"
    );
    assert_eq!(
        of(types::LIST_QUICKLIST_2, b"\x01\x02\xc0\x01"),
        "a number where packed elements must be"
    );
    let mut bad = one.clone();
    bad[4] += 1;
    assert!(of(types::LIST_QUICKLIST_2, &bad).contains("listpack"));

    let old = string(&ziplist(&[b"\x01a", b"\xf2", b"\xfe\xff"]));
    assert_eq!(of(types::LIST_ZIPLIST, &old), "listpack a 1 -1");
    assert_eq!(of(types::LIST_ZIPLIST, &string(&ziplist(&[]))), EMPTY);
    let nodes = [&b"\x02"[..], &old, &old].concat();
    assert_eq!(
        of(types::LIST_QUICKLIST, &nodes),
        "quicklist(2) a 1 -1 a 1 -1"
    );
    assert_eq!(
        of(types::LIST_QUICKLIST, &[b"\x01", &old[..]].concat()),
        "listpack a 1 -1"
    );
    assert_eq!(
        of(
            types::LIST_QUICKLIST,
            &[&b"\x01"[..], &string(&ziplist(&[]))].concat()
        ),
        EMPTY
    );
}

#[test]
fn ziplists() {
    let of = |bytes: &[u8]| value_of(11, types::LIST_ZIPLIST, &string(bytes));
    let long = [&b"\x41\x2c"[..], &[b'x'; 300]].concat();
    let longest = [&b"\x80\x00\x00\x40\x00"[..], &[b'y'; 0x4000]].concat();
    let numbers: [&[u8]; 8] = [
        b"\xc0\x00\x80",
        b"\xd0\x00\x00\x00\x80",
        b"\xe0\x00\x00\x00\x00\x00\x00\x00\x80",
        b"\xf0\x00\x00\x80",
        b"\xfe\x80",
        b"\xf1",
        b"\xfd",
        b"\x00",
    ];
    assert_eq!(
        of(&ziplist(&numbers)),
        "listpack -32768 -2147483648 -9223372036854775808 -8388608 -128 0 12 "
    );
    let texts = of(&ziplist(&[&long, b"\x01z", &longest, b"\x01z"]));
    assert_eq!(
        texts.len(),
        "quicklist(2) ".len() + 300 + 0x4000 + 5,
        "{texts}"
    );

    let good = ziplist(&[b"\x01a", &long, b"\x01b"]);
    assert!(of(&good).starts_with("listpack a xxx"));
    let damaged = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        of(&bytes)
    };
    assert_eq!(
        damaged(0, 9),
        "ziplist of another length than its header says"
    );
    assert_eq!(damaged(4, 9), "ziplist whose last entry is elsewhere");
    assert_eq!(
        damaged(8, 2),
        "ziplist with another number of entries than its header says"
    );
    assert_eq!(
        damaged(10, 1),
        "ziplist entry with a wrong length before it"
    );
    assert_eq!(damaged(10, 255), "ziplist that ends in its middle");
    assert_eq!(damaged(11, 0xff), "ziplist entry of unknown encoding");
    assert_eq!(damaged(11, 0xef), "ziplist entry of unknown encoding");
    assert_eq!(damaged(11, 0x80), "ziplist entry beyond the end");
    assert_eq!(damaged(good.len() - 1, 0), "ziplist without end");
    assert_eq!(of(&good[..9]), "ziplist entry beyond the end");
    // A count of 65,535 says nothing.
    let mut unknown = good.clone();
    unknown[8..10].fill(0xff);
    assert_eq!(of(&unknown), of(&good));
}

#[test]
fn sets() {
    let of = |code, body: &[u8]| value_of(11, code, body);
    assert_eq!(
        of(types::SET, &counted(3, &["3", "1", "2"])),
        "intset 1 2 3"
    );
    assert_eq!(
        of(types::SET, &counted(3, &["3", "a", "2"])),
        "listpack 2 3 a"
    );
    assert_eq!(of(types::SET, &counted(0, &[])), EMPTY);
    let twice = "a member of the set is there twice";
    assert_eq!(of(types::SET, &counted(3, &["3", "3", "2"])), twice);
    assert_eq!(of(types::SET, &counted(3, &["a", "b", "a"])), twice);
    assert_eq!(
        of(types::SET, &counted(1 << 40, &["a", "b", "c"])),
        "unexpected end"
    );
    let long = "x".repeat(100);
    assert_eq!(
        of(types::SET, &counted(2, &["1", &long])),
        format!("table 1 {long}")
    );

    let members = [&1i16.to_le_bytes()[..], &2i16.to_le_bytes()].concat();
    assert_eq!(
        of(types::SET_INTSET, &string(&intset(2, 2, &members))),
        "intset 1 2"
    );
    for (width, count, bytes) in [
        (3, 2, &members[..]),
        (2, 3, &members),
        (2, u32::MAX, &members),
        (2, 2, &[2, 0, 1, 0]),
        (2, 2, &[1, 0, 1, 0]),
    ] {
        let text = of(types::SET_INTSET, &string(&intset(width, count, bytes)));
        assert!(
            text.starts_with("intset with")
                || text.starts_with("intset of")
                || text.starts_with("intset that"),
            "{text}"
        );
    }
    assert_eq!(
        of(types::SET_LISTPACK, &string(&listpack(&["b", "1"]))),
        "listpack 1 b"
    );
    assert_eq!(of(types::SET_LISTPACK, &string(&listpack(&[]))), EMPTY);
    assert_eq!(
        of(types::SET_LISTPACK, &string(&listpack(&["b", "b"]))),
        twice
    );
    assert!(of(types::SET_LISTPACK, &string(b"nothing")).starts_with("listpack "));

    let mut small = options();
    (small.thresholds.set_entries, small.thresholds.set_integers) = (1, 1);
    assert_eq!(
        value_with(
            11,
            types::SET_LISTPACK,
            &string(&listpack(&["b", "1"])),
            &small
        ),
        "table 1 b"
    );
    assert_eq!(
        value_with(
            11,
            types::SET_INTSET,
            &string(&intset(2, 2, &members)),
            &small
        ),
        "table 1 2"
    );
    assert_eq!(
        value_with(11, types::SET, &counted(2, &["1", "2"]), &small),
        "table 1 2"
    );
}

#[test]
fn sorted_sets() {
    let of = |code, body: &[u8]| value_of(11, code, body);
    let scored = |pairs: &[(&str, f64)]| {
        let rows = pairs.iter().flat_map(|(member, score)| {
            [string(member.as_bytes()), score.to_le_bytes().to_vec()].concat()
        });
        [length(pairs.len() as u64), rows.collect()].concat()
    };
    let pairs = [("b", 2.5), ("a", f64::INFINITY), ("c", -1.0)];
    assert_eq!(
        of(types::ZSET_2, &scored(&pairs)),
        "listpack c:-1 b:2.5 a:inf"
    );
    let nan = "Zset with NAN score detected";
    assert_eq!(of(types::ZSET_2, &scored(&[("b", f64::NAN)])), nan);
    let twice = "a member of the sorted set is there twice";
    assert_eq!(of(types::ZSET_2, &scored(&[("b", 1.0), ("b", 2.0)])), twice);
    assert_eq!(of(types::ZSET_2, &scored(&[])), EMPTY);
    assert_eq!(of(types::ZSET_2, &scored(&pairs)[..11]), "unexpected end");
    assert_eq!(
        of(types::ZSET, b"\x03\x01a\x032.5\x01b\xfe\x01c\xff"),
        "listpack c:-inf a:2.5 b:inf"
    );
    assert_eq!(
        of(types::ZSET, b"\x01\x01a\x181.7976931348623157e"),
        "unexpected end"
    );
    assert_eq!(
        of(types::ZSET, b"\x01\x01a\x06 1e+21"),
        "listpack a:1000000000000000000000"
    );
    assert_eq!(of(types::ZSET, b"\x01\x01a\xfd"), nan);
    for text in [&b"\x03nan"[..], b"\x00", b"\x031.x", b"\x02\xff\xff"] {
        let text = of(types::ZSET, &[b"\x01\x01a", text].concat());
        assert!(
            text == nan || text == "a score of the sorted set is not a number",
            "{text}"
        );
    }

    let of_pack = |texts: &[&str]| of(types::ZSET_LISTPACK, &string(&listpack(texts)));
    assert_eq!(of_pack(&["b", "-1", "a", "2.5"]), "listpack b:-1 a:2.5");
    assert_eq!(of_pack(&[]), EMPTY);
    for (texts, wrong) in [
        (&["b"][..], "a member of the sorted set has no score"),
        (&["b", "x"], "a score of the sorted set is not a number"),
        (&["b", "nan"], "a score of the sorted set is not a number"),
        (&["b", "2", "a", "1"], "the sorted set is not in order"),
        (&["b", "1", "b", "2"], twice),
    ] {
        assert_eq!(of_pack(texts), wrong);
    }
    let old = ziplist(&[b"\x01a", b"\xf2", b"\x01b", b"\x032.5"]);
    assert_eq!(of(types::ZSET_ZIPLIST, &string(&old)), "listpack a:1 b:2.5");
    assert_eq!(of(types::ZSET_ZIPLIST, &string(&ziplist(&[]))), EMPTY);
    let mut small = options();
    small.thresholds.zset_entries = 1;
    assert_eq!(
        value_with(11, types::ZSET_ZIPLIST, &string(&old), &small),
        "skiplist a:1 b:2.5"
    );
    assert_eq!(
        value_with(11, types::ZSET_2, &scored(&pairs), &small),
        "skiplist c:-1 b:2.5 a:inf"
    );
}

#[test]
fn hashes() {
    let of = |code, body: &[u8]| value_of(11, code, body);
    assert_eq!(
        of(types::HASH, &counted(2, &["f", "v", "n", "12"])),
        "listpack f=v n=12"
    );
    assert_eq!(of(types::HASH, &counted(0, &[])), EMPTY);
    let twice = "a field of the hash is there twice";
    assert_eq!(of(types::HASH, &counted(2, &["f", "v", "f", "w"])), twice);
    assert_eq!(of(types::HASH, &counted(600, &["f", "v", "f", "w"])), twice);
    assert_eq!(
        of(types::HASH, &counted(2, &["f", "v", "g"])),
        "unexpected end"
    );
    let long = "x".repeat(65);
    assert_eq!(
        of(types::HASH, &counted(1, &["f", &long])),
        format!("table f={long}")
    );

    let of_pack = |texts: &[&str]| of(types::HASH_LISTPACK, &string(&listpack(texts)));
    assert_eq!(of_pack(&["f", "v", "1", "2"]), "listpack 1=2 f=v");
    assert_eq!(of_pack(&[]), EMPTY);
    assert_eq!(of_pack(&["f"]), "a field of the hash has no value");
    assert_eq!(of_pack(&["f", "v", "f", "2"]), twice);
    let old = ziplist(&[b"\x01f", b"\xf2", b"\xf3", b"\x01v"]);
    assert_eq!(of(types::HASH_ZIPLIST, &string(&old)), "listpack 2=v f=1");
    assert_eq!(of(types::HASH_ZIPLIST, &string(&ziplist(&[]))), EMPTY);
    let mut small = options();
    small.thresholds.hash_entries = 1;
    assert_eq!(
        value_with(11, types::HASH_ZIPLIST, &string(&old), &small),
        "table 2=v f=1"
    );

    let zipmap = |bytes: &[u8]| of(types::HASH_ZIPMAP, &string(bytes));
    assert_eq!(
        zipmap(b"\x02\x01f\x02\x01vv.\x01g\x00\x00\xff"),
        "listpack f=vv g="
    );
    assert_eq!(zipmap(b"\xfe\x01f\x01\x00v\xff"), "listpack f=v");
    let big = [
        &b"\x01\x01f\xfe\x2c\x01\x00\x00\x00"[..],
        &[b'x'; 300],
        b"\xff",
    ]
    .concat();
    assert!(zipmap(&big).starts_with("table f=xxx"));
    for (bytes, wrong) in [
        (&b"\xff"[..], "zipmap entry beyond the end"),
        (b"\x00\x00", "zipmap without end"),
        (
            b"\x02\x01f\x01\x00v\xff",
            "zipmap with another number of fields than its header says",
        ),
        (b"\x01\x05f\x01\x00v\xff", "zipmap entry beyond the end"),
        (b"\x01\x01f\x01\x09v\xff", "zipmap entry beyond the end"),
        (b"\x01\xff\xff", "zipmap that ends in its middle"),
        (
            b"\x01\xfe\x01\x00\x00\x00f\x01\x00v\xff",
            "zipmap with a longer length than needed",
        ),
        (
            b"\x01\xfe\xff\xff\xff\xfff\x01\x00v\xff",
            "zipmap entry beyond the end",
        ),
        (b"\x02\x01f\x01\x00v\x01f\x01\x00v\xff", twice),
        (b"\x00\xff", "no entries"),
    ] {
        assert_eq!(zipmap(bytes), wrong, "{bytes:?}");
    }
}

#[test]
fn deadlines_of_fields() {
    let at = |time: i64| time.to_le_bytes().to_vec();
    let two = [
        length(2),
        strings(&["f", "v"]),
        at(-1),
        strings(&["g", "w"]),
        at(5000),
    ]
    .concat();
    assert_eq!(value_of(80, types::HASH_2, &two), "table f=v g=w@5000");
    let impossible = "a field of the hash has an impossible deadline";
    let bad = [length(1), strings(&["f", "v"]), at(-2)].concat();
    assert_eq!(value_of(80, types::HASH_2, &bad), impossible);
    let twice = [
        length(2),
        strings(&["f", "v"]),
        at(-1),
        strings(&["f", "w"]),
        at(5000),
    ]
    .concat();
    assert_eq!(
        value_of(80, types::HASH_2, &twice),
        "a field of the hash is there twice"
    );

    let rows = |first: u64| {
        [
            length(2),
            length(0),
            strings(&["f", "v"]),
            length(first),
            strings(&["g", "w"]),
        ]
        .concat()
    };
    assert_eq!(
        value_of(12, types::HASH_METADATA_PRE_GA, &rows(5000)),
        "table f=v g=w@5000"
    );
    let relative = [at(5000), rows(3)].concat();
    assert_eq!(
        value_of(12, types::HASH_METADATA, &relative),
        "table f=v g=w@5002"
    );
    let none = [at(0), length(1), length(0), strings(&["f", "v"])].concat();
    assert_eq!(value_of(12, types::HASH_METADATA, &none), "listpack f=v");
    for (earliest, first) in [(-1, 1), (5000, (1 << 63) - 1), (5000, u64::MAX)] {
        let body = [at(earliest), rows(first)].concat();
        assert_eq!(value_of(12, types::HASH_METADATA, &body), impossible);
    }
    let pack = |texts: &[&str]| string(&listpack(texts));
    let triples = pack(&["g", "w", "5000", "f", "v", "0"]);
    assert_eq!(
        value_of(12, types::HASH_LISTPACK_EX_PRE_GA, &triples),
        "table f=v g=w@5000"
    );
    let ex = |texts: &[&str]| {
        value_of(
            12,
            types::HASH_LISTPACK_EX,
            &[at(5000), pack(texts)].concat(),
        )
    };
    assert_eq!(ex(&["g", "w", "5000", "f", "v", "0"]), "table f=v g=w@5000");
    assert_eq!(ex(&["f", "v", "0"]), "listpack f=v");
    assert_eq!(
        ex(&["f", "v"]),
        "a field of the hash has no value or deadline"
    );
    assert_eq!(ex(&["f", "v", "-1"]), impossible);
    assert_eq!(ex(&["f", "v", "x"]), impossible);
    assert_eq!(ex(&[]), EMPTY);
    // The same number is another thing to the other family.
    let unknown = "Unknown type or opcode when loading DB. Unrecoverable error, aborting now.";
    assert_eq!(value_of(80, types::HASH_METADATA, &relative), unknown);
}

#[test]
fn templates_of_hashes() {
    let fields = counted(2, &["f", "g"]);
    let body = [fields.clone(), string(&listpack(&["1", "v"]))].concat();
    assert_eq!(value_of(16, 29, &body), "listpack f=1 g=v");
    assert_eq!(
        value_of(16, 31, &counted(2, &["f", "1", "g", "v"])),
        "listpack f=1 g=v"
    );
    let count = "a hash has not as many values as its template fields";
    for texts in [&["1"][..], &["1", "2", "3"]] {
        let body = [fields.clone(), string(&listpack(texts))].concat();
        assert_eq!(value_of(16, 29, &body), count);
    }
    let lost = "a hash without its template";
    assert_eq!(value_of(16, 30, &string(&listpack(&["7", "1", "v"]))), lost);
    assert_eq!(value_of(16, 32, b"\x07\x01a\x01b"), lost);

    let template = [&b"\xf2\x07"[..], &fields].concat();
    let by_id = [&b"\x1e\x01a"[..], &string(&listpack(&["7", "1", "v"]))].concat();
    let body = [&template[..], &by_id, b"\x20\x01b\x07\x01x\x01y"].concat();
    let keeper = loaded(&file(16, &body));
    let all: Vec<_> = keeper
        .entries
        .iter()
        .map(|kept| shown(&kept.value))
        .collect();
    assert_eq!(all, ["listpack f=1 g=v", "listpack f=x g=y"]);
    let twice = load_with(&file(16, &[&template[..], &template].concat()), &options());
    assert_eq!(
        twice.unwrap_err().0.cause.to_string(),
        "two hash templates with the same id"
    );
    let none = load_with(&file(16, b"\xf2\x07\x00"), &options());
    assert_eq!(
        none.unwrap_err().0.cause.to_string(),
        "hash template with zero fields"
    );
}

#[test]
fn modules_are_passed_over() {
    // "test__rdb", version 1, and one piece of each kind.
    let id: u64 = b"test__rdb".iter().fold(0, |id, letter| {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        id << 6 | letters.iter().position(|one| one == letter).unwrap() as u64
    });
    let id = length(id << 10 | 1);
    let pieces =
        b"\x01\x05\x02\x40\x05\x03ffff\x04dddddddd\x05\x03abc\x05\xc3\x05\x0a\x00a\xe0\x00\x00\x00";
    let value = [&b"\x07\x03key"[..], &id, pieces, b"\x00\x01a\x011"].concat();
    let text =
        "The RDB file contains module data I can't load: no matching module type 'test__rdb'";
    assert_eq!(refused(&value).cause.to_string(), text);
    assert_eq!(
        value_of(11, types::MODULE_2, &[&id[..], pieces].concat()),
        text
    );
    let skip = LoadOptions {
        skip_modules: true,
        ..options()
    };
    let (_, keeper) = load_with(&file(11, &value), &skip).unwrap();
    assert_eq!(keeper.entries.len(), 1);
    assert_eq!(
        keeper.skipped,
        [(b"key".to_vec(), Skipped::Module("test__rdb".to_owned()))]
    );

    let aux = [&b"\xf7"[..], &id, b"\x02\x01", pieces].concat();
    let text = "The RDB file contains AUX module data I can't load: no matching module 'test__rdb'";
    assert_eq!(refused(&aux).cause.to_string(), text);
    load_with(&file(11, &aux), &skip).unwrap();
    let bad = [&b"\xf7"[..], &id, b"\x01\x01", pieces].concat();
    assert_eq!(refused(&bad).cause.to_string(), "bad when_opcode");
    let unknown = [&b"\x07\x03key"[..], &id, b"\x06"].concat();
    let (error, _) = *load_with(&file(11, &unknown), &skip).unwrap_err();
    assert_eq!(error.cause.to_string(), "data of a module of unknown kind");
    assert_eq!(
        refused(b"\x06\x01k\x00").cause.to_string(),
        "Pre-release module format not supported"
    );

    // Metadata of a key, which may be ignored or not.
    let class = |flags: u32| (0x123456 << 8 | flags).to_le_bytes();
    let meta = |flags| [&b"\xf3\x01"[..], &class(flags), pieces, b"\x00\x01a\x011"].concat();
    assert_eq!(loaded(&file(13, &meta(1))).entries.len(), 1);
    let (error, _) = *load_with(&file(13, &meta(0)), &options()).unwrap_err();
    assert!(error.cause.to_string().contains("'META-EjRW'"), "{error}");
    load_with(&file(13, &meta(0)), &skip).unwrap();
    let value = restore(
        &payload(
            13,
            &[&b"\xf3\x01"[..], &class(1), pieces, b"\x00\x011"].concat(),
        ),
        &options(),
    );
    assert_eq!(shown(&value.unwrap()), "bytes 1");
}

#[test]
fn slots_that_are_imported() {
    let body = [
        &b"\xf3"[..],
        &string(&[b'a'; 40]),
        b"\x02\x00\x05\x40\x64\x40\x65\x00\x01a\x011",
    ]
    .concat();
    assert_eq!(loaded(&file(80, &body)).entries.len(), 1);
}

#[test]
fn what_only_we_write() {
    let aux = |name: &str, value: &[u8]| {
        [b"\xfa".to_vec(), string(name.as_bytes()), string(value)].concat()
    };
    let deadlines = [&b"\x01"[..], &5000u64.to_le_bytes(), b"\x01a"].concat();
    let set = [&b"\x02\x03set"[..], &counted(2, &["a", "b"])].concat();
    let zset = [&b"\x03\x04zset\x01\x01a\x011"[..]].concat();
    let name = format::AUX_MEMBER_DEADLINES;
    let body = [
        aux(name, &deadlines),
        b"\xf9\x01".to_vec(),
        set.clone(),
        set.clone(),
        aux(name, &deadlines),
        zset,
    ]
    .concat();
    let keeper = loaded(&file(11, &body));
    let all: Vec<_> = keeper
        .entries
        .iter()
        .map(|kept| shown(&kept.value))
        .collect();
    assert_eq!(all, ["table a@5000 b", "listpack a b", "skiplist a:1@5000"]);
    assert!(keeper.aux.is_empty());
    let missing = [&b"\x01"[..], &5000u64.to_le_bytes(), b"\x01c"].concat();
    let error = refused(&[aux(name, &missing), set.clone()].concat());
    assert_eq!(
        error.cause.to_string(),
        "a deadline of a member that is not there"
    );
    let error = refused(&[aux(name, &deadlines), b"\x00\x01a\x011".to_vec()].concat());
    assert_eq!(
        error.cause.to_string(),
        "what an auxiliary field says is not of this value"
    );
    let error = refused(&[aux(name, &deadlines[..5]), set].concat());
    assert_eq!(
        error.cause.to_string(),
        "an auxiliary field that is cut off"
    );
}

#[test]
fn empty_keys_are_left_out_of_files() {
    let body = [
        &b"\xfc\x01\0\0\0\0\0\0\0\x02\x01a\x00"[..],
        b"\x00\x01b\x011",
    ]
    .concat();
    let keeper = loaded(&file(11, &body));
    assert_eq!(keeper.skipped, [(b"a".to_vec(), Skipped::Empty)]);
    assert_eq!(
        (keeper.entries.len(), keeper.entries[0].deadline),
        (1, None)
    );
}
