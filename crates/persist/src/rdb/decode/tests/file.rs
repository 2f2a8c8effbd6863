//! Files and payloads around the values.

use super::*;

fn texts(keeper: &Keeper) -> Vec<(u32, String, String)> {
    let text = |value: &Value| match value {
        Value::Int(value) => value.to_string(),
        Value::Bytes(bytes) => bytes.escape_ascii().to_string(),
        other => format!("{other:?}"),
    };
    let entries = keeper.entries.iter();
    entries
        .map(|kept| {
            (
                kept.db,
                kept.key.escape_ascii().to_string(),
                text(&kept.value),
            )
        })
        .collect()
}

fn row(db: u32, key: &str, value: &str) -> (u32, String, String) {
    (db, key.to_owned(), value.to_owned())
}

#[test]
fn strings_in_all_encodings() {
    let body = [
        &b"\x00\x01a\x05hello"[..],
        b"\x00\x01b\xc0\xff",
        b"\x00\x01c\xc1\x00\x80",
        b"\x00\x01d\xc2\xff\xff\xff\x7f",
        // Compressed: ten times a.
        b"\x00\x01e\xc3\x05\x0a\x00a\xe0\x00\x00",
        b"\x00\xc0\x07\x00",
        b"\x00\x01f\x80\x00\x00\x00\x01x",
        b"\x00\x01g\x81\x00\x00\x00\x00\x00\x00\x00\x01y",
        b"\x00\x01h\x40\x01z",
    ]
    .concat();
    let file = file(11, &body);
    let expected = [
        row(0, "a", "hello"),
        row(0, "b", "-1"),
        row(0, "c", "-32768"),
        row(0, "d", "2147483647"),
        row(0, "e", "aaaaaaaaaa"),
        row(0, "7", ""),
        row(0, "f", "x"),
        row(0, "g", "y"),
        row(0, "h", "z"),
    ];
    assert_eq!(texts(&loaded(&file)), expected);
    let mut keeper = Keeper::default();
    load(&mut Trickle(&file), &options(), &mut keeper).unwrap();
    assert_eq!(texts(&keeper), expected);
    assert_eq!(keeper.progress, file.len() as u64);
}

#[test]
fn opcodes_are_for_the_next_entry() {
    let body = [
        &b"\xfa\x09redis-ver\x056.0.0\xfa\x05other\xc0\x01"[..],
        b"\xf5\x04code",
        b"\xfe\x03\xfb\x02\x01\xf4\x01\x02\x03",
        b"\xfc\x01\x02\x00\x00\x00\x00\x00\x00\xf8\x40\xff\x00\x01a\x011",
        b"\xfd\x10\x00\x00\x00\xf9\x07\x00\x01b\x011",
        b"\x00\x01c\x011",
    ]
    .concat();
    let keeper = loaded(&file(11, &body));
    let of = |index: usize| {
        let kept = &keeper.entries[index];
        (kept.db, kept.deadline, kept.access)
    };
    assert_eq!(of(0), (3, Some(0x201), Access::IdleSeconds(255)));
    assert_eq!(of(1), (3, Some(16_000), Access::Frequency(7)));
    assert_eq!(of(2), (3, None, Access::Unknown));
    assert_eq!(keeper.functions, [b"code"]);
    assert_eq!(keeper.sizes, [(3, 2, 1)]);
    let aux: Vec<_> = keeper
        .aux
        .iter()
        .map(|(name, value)| (&name[..], &value[..]))
        .collect();
    assert_eq!(aux, [(&b"redis-ver"[..], &b"6.0.0"[..]), (b"other", b"1")]);
}

#[test]
fn signatures_and_versions() {
    for version in [1, 4, 5, 6, 9, 12, 13, 80] {
        let (loaded, _) = load_with(&file(version, b""), &options()).unwrap();
        assert_eq!(loaded.version, Version(version));
    }
    let relaxed = LoadOptions {
        any_version: true,
        ..options()
    };
    for version in [50, 81, 987] {
        let file = file(version, b"");
        let (error, _) = *load_with(&file, &options()).unwrap_err();
        assert_eq!(
            error.cause.to_string(),
            format!("Can't handle RDB format version {version}")
        );
        load_with(&file, &relaxed).unwrap();
    }
    for head in [
        &b"REDIS0000"[..],
        b"REDIS0080",
        b"VALKEY011",
        b"REDIS00x1",
        b"RODIS0011",
        b"REDIS1011",
    ] {
        load_with(&[head, b"\xff\0\0\0\0\0\0\0\0"].concat(), &relaxed).unwrap_err();
    }
}

#[test]
fn checksums() {
    let mut file = file(11, b"\x00\x01a\x011");
    let at = file.len() - 1;
    file[at] ^= 1;
    let (error, keeper) = *load_with(&file, &options()).unwrap_err();
    assert!(matches!(error.cause, RdbCause::Checksum { .. }), "{error}");
    assert_eq!(keeper.entries.len(), 1);
    let unchecked = LoadOptions {
        checksum: false,
        ..options()
    };
    load_with(&file, &unchecked).unwrap();
    file.truncate(at - 7);
    assert!(load_with(&file, &options()).unwrap_err().0.is_truncated());
    file.extend_from_slice(&[0; 8]);
    load_with(&file, &options()).unwrap();
    // Commands may follow.
    file.extend_from_slice(b"*1\r\n$4\r\nPING\r\n");
    let (loaded, _) = load_with(&file, &options()).unwrap();
    assert_eq!(loaded.bytes, at as u64 + 1);
}

#[test]
fn whatever_is_missing_is_told() {
    let file = file(
        11,
        b"\xfe\x01\xfc\0\0\0\0\0\0\0\0\xf9\x01\x00\x03key\xc3\x05\x0a\x00a\xe0\x00\x00",
    );
    for len in 0..file.len() {
        let (error, _) = *load_with(&file[..len], &options()).unwrap_err();
        assert!(error.is_truncated(), "{len}: {error}");
        assert!(error.offset <= len as u64);
        assert_eq!(
            error.place.is_some(),
            (27..35).contains(&len),
            "{len}: {error}"
        );
    }
    let (error, _) = *load_with(&file[..30], &options()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unexpected end (offset 30, key \"key\" of database 1, type 0 string)"
    );
}

#[test]
fn damage_is_told() {
    for (body, text) in [
        (&b"\x00\x01a\xc4"[..], "unknown string encoding"),
        (b"\x00\x01a\x82", "unknown length encoding"),
        (
            b"\x00\x01a\x81\xff\xff\xff\xff\xff\xff\xff\xff",
            "a string is longer than allowed",
        ),
        (
            b"\x00\x01a\xc3\x01\x81\x7f\xff\xff\xff\xff\xff\xff\xff",
            "a string is longer than allowed",
        ),
        (
            b"\x00\x01a\xc3\x03\x0b\x00a\x00",
            "compressed string is cut off",
        ),
        (b"\xfe\xc0\x01", "a string where a length must be"),
        (
            b"\xfe\x81\x00\x00\x00\x01\x00\x00\x00\x00",
            "no database has such a number",
        ),
        (b"\xf6", "Pre-release function format not supported."),
        (b"\x00\x07refused\x00", "not this one"),
        (
            b"\x08\x01a\x00",
            "Unknown type or opcode when loading DB. Unrecoverable error, aborting now.",
        ),
        (
            b"\x96\x01a\x00",
            "Can't handle foreign type or opcode 150 in RDB with version 11",
        ),
    ] {
        let wrong = refused(body).cause.to_string();
        assert_eq!(
            wrong.trim_start_matches("Value integrity check failed: "),
            text
        );
    }
}

#[test]
fn long_strings_pass_through_a_buffer_that_shrinks() {
    let long = vec![b'x'; 3 << 20];
    let mut body = [b"\x00\x01a", &string(&long)[..]].concat();
    for _ in 0..20_000 {
        body.extend_from_slice(b"\x00\x01b\x04text");
    }
    let options = LoadOptions {
        max_string: long.len(),
        ..options()
    };
    let (_, keeper) = load_with(&file(11, &body), &options).unwrap();
    assert_eq!(keeper.entries.len(), 20_001);
    assert!(matches!(&keeper.entries[0].value, Value::Bytes(bytes) if **bytes == long[..]));
}

#[test]
fn payloads() {
    let value = restore(&payload(11, b"\x00\x03abc"), &options()).unwrap();
    assert!(matches!(value, Value::Bytes(bytes) if *bytes == *b"abc"));
    let value = restore(&payload(80, b"\x00\xc0\x05"), &options()).unwrap();
    assert!(matches!(value, Value::Int(5)));
    let error = |payload: &[u8], any_version| {
        let options = LoadOptions {
            any_version,
            ..options()
        };
        restore(payload, &options).unwrap_err().to_string()
    };
    let footer = "DUMP payload version or checksum are wrong";
    for version in [0, 79, 81, 999] {
        assert_eq!(error(&payload(version, b"\x00\x03abc"), false), footer);
    }
    assert_eq!(error(&payload(0, b"\x00\x03abc"), true), footer);
    restore(
        &payload(999, b"\x00\x03abc"),
        &LoadOptions {
            any_version: true,
            ..options()
        },
    )
    .unwrap();
    assert_eq!(error(b"", false), footer);
    assert_eq!(error(&payload(11, b"")[1..], false), footer);
    let mut damaged = payload(11, b"\x00\x03abc");
    damaged[2] ^= 1;
    assert_eq!(error(&damaged, false), footer);
    restore(
        &damaged,
        &LoadOptions {
            checksum: false,
            ..options()
        },
    )
    .unwrap();
    assert_eq!(error(&payload(11, b""), false), "Bad data format");
    assert_eq!(
        error(&payload(11, b"\x00\x04abc"), false),
        "Bad data format"
    );
    assert_eq!(error(&payload(11, b"\xff"), false), "Bad data format");
    assert_eq!(
        error(&payload(79, b"\x96\x01"), true),
        "Unsupported foreign data type: 150"
    );
}
