//! Files that real servers have written.

use super::shown::shown;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Redis 7.0.15, with small limits, so that large forms are in it.
const REDIS: &[u8] = include_bytes!("../../../../tests/assets/redis-7.0.rdb");
/// Valkey 9.1.2, likewise.
const VALKEY: &[u8] = include_bytes!("../../../../tests/assets/valkey-9.1.rdb");

fn by_key(keeper: &Keeper) -> BTreeMap<String, String> {
    let entries = keeper.entries.iter();
    entries
        .map(|kept| {
            let deadline = kept
                .deadline
                .map_or_else(String::new, |at| format!(" @{at}"));
            let key = kept.key.escape_ascii().to_string();
            (format!("{}:{key}", kept.db), shown(&kept.value) + &deadline)
        })
        .collect()
}

fn check(keeper: &Keeper, expected: &[(&str, &str)]) {
    let found = by_key(keeper);
    for (key, value) in expected {
        assert_eq!(found.get(*key).map(String::as_str), Some(*value), "{key}");
    }
    assert_eq!(found.len(), keeper.entries.len());
}

#[test]
fn of_redis() {
    let keeper = loaded(REDIS);
    check(
        &keeper,
        &[
            ("0:text", "bytes hello world"),
            ("0:number", "int 12345"),
            ("0:long-number", "bytes 1234567890123"),
            ("0:compressed", &format!("bytes {}", "ab".repeat(100))),
            ("0:volatile", "bytes x @4102444800123"),
            ("3:elsewhere", "int 1"),
            ("0:list-small", "listpack 1 two 3"),
            (
                "0:list-nodes",
                "quicklist(4) a b c d e a long element of its own 7 8 9",
            ),
            ("0:set-integers", "intset 1 2 3"),
            ("0:set-table", "listpack 1 2 a b c"),
            ("0:zset-small", "listpack b:-inf a:1.5 c:inf"),
            (
                "0:zset-large",
                &format!("listpack a:1 b:2 c:3.25 d:4 e:{}", 1e100),
            ),
            ("0:hash-small", "listpack f=v n=17"),
            ("0:hash-large", "listpack a=1 b=2 c=3 d=4 e=five"),
        ],
    );
    assert_eq!(keeper.entries.len(), 15);
    let stream = &by_key(&keeper)["0:stream"];
    assert!(
        stream
            .starts_with("stream 7 first 1-1 last 8-1 deleted 2-1 added 8; 1-1 field=v1 n=1; 3-1"),
        "{stream}"
    );
    assert!(
        stream.contains("; group g last 5-1 read None [3-1@"),
        "{stream}"
    );
    assert!(
        stream.contains("x1 alice, 5-1@") && stream.contains("x1 bob] [alice"),
        "{stream}"
    );
    assert!(
        stream.contains("; group h last 5-1 read None [] []"),
        "{stream}"
    );
    assert_eq!(keeper.functions.len(), 1);
    assert!(matches!(keeper.entries[0].access, Access::Frequency(5)));
    assert!(
        keeper
            .aux
            .contains(&(b"redis-ver".to_vec(), b"7.0.15".to_vec()))
    );
    assert!(keeper.sizes.contains(&(3, 1, 0)));
}

#[test]
fn of_valkey() {
    let keeper = loaded(VALKEY);
    check(
        &keeper,
        &[
            ("0:fields", "table a=1 b=2@4102444800123 c=3@4102444800456"),
            ("0:set-small", "listpack 3 a b"),
            ("0:set-table", "listpack a b c d e"),
            ("0:hash-small", "listpack f=v"),
            ("0:text", "bytes hello"),
            ("0:list", "quicklist(2) 1 2 3 4 5 6"),
        ],
    );
    let stream = &by_key(&keeper)["0:stream"];
    assert!(
        stream.starts_with("stream 3 first 1-0 last 3-0 deleted 0-0 added 3; 1-0 f=1;"),
        "{stream}"
    );
    assert!(
        stream.contains("group g last 2-0 read Some(2) [1-0@"),
        "{stream}"
    );
}

/// Files of all versions since 2.4 that come with Valkey's test suite, if the variable says where
/// they are.
#[test]
fn of_the_suite() {
    let Some(folder) = std::env::var_os("LODESTORE_SUITE_ASSETS") else {
        return;
    };
    let folder = std::path::PathBuf::from(folder);
    let relaxed = LoadOptions {
        any_version: true,
        ..options()
    };
    let load = |name: &str| load_with(&std::fs::read(folder.join(name)).unwrap(), &relaxed);
    let hash = [("0:hash", "listpack f1=v1 f2=v2")];
    check(&load("hash-zipmap.rdb").unwrap().1, &hash);
    check(&load("hash-ziplist.rdb").unwrap().1, &hash);
    check(
        &load("zset-ziplist.rdb").unwrap().1,
        &[("0:zset", "listpack one:1 two:2")],
    );
    check(
        &load("list-quicklist.rdb").unwrap().1,
        &[("0:list", "listpack 7"), ("0:x", "int 7")],
    );
    check(
        &load("encodings-rdb12.rdb").unwrap().1,
        &[("0:foo", "bytes bar")],
    );
    for name in ["encodings.rdb", "encodings-rdb987.rdb"] {
        let (_, keeper) = load(name).unwrap();
        assert_eq!(keeper.entries.len(), 13);
        check(
            &keeper,
            &[
                ("0:hash_zipped", "listpack a=1 b=2 c=3"),
                ("0:list_zipped", "listpack 1 2 3 a b c 100000 6000000000"),
                ("0:set", "listpack 1 100000 2 3 6000000000 a b c"),
                ("0:set_zipped_2", "intset 100000 200000 300000 400000"),
                ("0:zset_zipped", "listpack a:1 b:2 c:3"),
                ("0:compressible", &format!("bytes {}", "a".repeat(137))),
            ],
        );
    }
    let (_, keeper) = load("corrupt_empty_keys.rdb").unwrap();
    assert_eq!((keeper.entries.len(), keeper.skipped.len()), (0, 9));
    let wrong = |name: &str| load(name).unwrap_err().0.cause.to_string();
    assert_eq!(wrong("corrupt_ziplist.rdb"), "ziplist entry beyond the end");
    assert_eq!(
        wrong("encodings-rdb75-unknown-types.rdb"),
        "Can't handle foreign type or opcode 150 in RDB with version 75"
    );
    assert_eq!(
        wrong("encodings-rdb987-unknown-types.rdb"),
        "Unknown type or opcode when loading DB. Unrecoverable error, aborting now."
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever is damaged, loading ends without a panic, and without reading past the end.
    #[test]
    fn damaged_files(
        of_valkey in any::<bool>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = if of_valkey { VALKEY } else { REDIS }.to_vec();
        for (at, byte) in flips {
            // The signature is tested elsewhere.
            let at = 9 + at.index(bytes.len() - 9);
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let options = LoadOptions { checksum: false, skip_modules: true, ..options() };
        match load_with(&bytes, &options) {
            Ok((loaded, _)) => prop_assert!(loaded.bytes <= bytes.len() as u64),
            Err(wrong) => {
                let (error, _) = *wrong;
                prop_assert!(error.offset <= bytes.len() as u64);
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }

    /// Arbitrary bytes as a value of each type.
    #[test]
    fn arbitrary_values(version in prop::sample::select(vec![11u16, 16, 80]), code in 0u8..34, bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = restore(&payload(version, &[&[code][..], &bytes].concat()), &options());
    }
}
