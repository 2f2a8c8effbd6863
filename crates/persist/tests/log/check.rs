//! The checks of files: what they say, and what they cut.

use crate::support::*;
use persist::Storage;
use persist::check::{AofCheck, check_rdb};
use persist::storage::Memory;
use std::path::Path;

/// Checks a file; with `fix` it may be cut. Whether it is good, and what was printed.
fn check(memory: &Memory, path: &str, fix: bool, to_timestamp: Option<u64>) -> (bool, String) {
    let mut out = Vec::new();
    let mut check = AofCheck {
        storage: memory,
        out: &mut out,
        fix,
        to_timestamp,
        now_ms: 0,
        confirm: &mut || true,
    };
    let good = check.run(Path::new(path)).unwrap();
    (good, String::from_utf8(out).unwrap())
}

#[test]
fn our_own_logs_are_valid() {
    let memory = Memory::new();
    let (log, ..) = open(memory.clone(), options()).unwrap();
    for n in 0..300 {
        append(&log, n % 3, &["ADD", &n.to_string(), &"x".repeat(40)]);
    }
    log.close().unwrap();
    let (good, said) = check(&memory, MANIFEST, false, None);
    assert!(good, "{said}");
    assert!(
        said.starts_with("Start checking Multi Part AOF\n"),
        "{said}"
    );
    assert!(said.contains("BASE AOF appendonly.aof.1.base.aof is empty\n"));
    assert!(said.contains("INCR AOF appendonly.aof.1.incr.aof is valid\n"));
    assert!(said.ends_with("All AOF files and manifest are valid\n"));
}

#[test]
fn damage_that_only_checksums_show_is_found_and_cut_off() {
    let memory = Memory::new();
    let (log, ..) = open(memory.clone(), options()).unwrap();
    append(&log, 0, &["ADD", "first"]);
    log.service(1_000);
    let whole = memory.read(INCR_1).unwrap().len();
    append(&log, 0, &["ADD", "second"]);
    log.close().unwrap();
    let mut bytes = memory.read(INCR_1).unwrap();
    bytes[whole + 20] ^= 1;
    memory.write(INCR_1, &bytes);
    let (good, said) = check(&memory, MANIFEST, false, None);
    assert!(
        !good && said.contains("Bad checksum") && said.contains("is not valid"),
        "{said}"
    );
    let (good, said) = check(&memory, MANIFEST, true, None);
    assert!(
        good && said.contains("Successfully truncated AOF"),
        "{said}"
    );
    assert_eq!(memory.read(INCR_1).unwrap().len(), whole);
    let (_, ran_now) = load_only(memory, &options()).unwrap();
    assert_eq!(ran_now, [ran(0, &["ADD", "first"])]);
}

#[test]
fn a_torn_end_is_cut_behind_the_last_whole_record() {
    let whole = record(&["SET", "a", "1"]);
    let multi = [record(&["MULTI"]), record(&["SET", "b", "2"])].concat();
    for (tail, error, line) in [
        (&b"!!!"[..], "AOF f format error", 8),
        (
            b"*3\r\n$3\r\nSE",
            "0x              23: Expected to read 5 bytes, got 2 bytes",
            10,
        ),
        (
            b"*x\r\n",
            "0x              1b: Expected \\r\\n, got: 780d",
            8,
        ),
        (
            &multi,
            "0x              42: Reached EOF before reading EXEC for MULTI",
            18,
        ),
    ] {
        let memory = Memory::new();
        memory.write("f", &[&whole, tail].concat());
        let (good, said) = check(&memory, "f", false, None);
        assert!(
            !good && said.contains(&format!("ok_up_to_line={line},")),
            "{said}"
        );
        assert!(said.contains(error), "{said}");
        assert!(check(&memory, "f", true, None).0);
        assert_eq!(memory.read("f").unwrap(), whole);
    }
}

#[test]
fn a_log_can_be_cut_at_a_time() {
    let memory = Memory::new();
    let old = [&b"#TS:5\r\n"[..], &record(&["SET", "a", "1"])].concat();
    memory.write(
        "f",
        &[&old, &b"#TS:9\r\n"[..], &record(&["SET", "a", "2"])].concat(),
    );
    let (good, said) = check(&memory, "f", false, Some(9));
    assert!(
        good && said.contains("Truncate nothing in AOF f to timestamp 9"),
        "{said}"
    );
    let (good, said) = check(&memory, "f", false, Some(7));
    assert!(
        good && said.contains("Successfully truncated AOF f to timestamp 7"),
        "{said}"
    );
    assert_eq!(memory.read("f").unwrap(), old);
    let (good, said) = check(&memory, "f", false, Some(3));
    assert!(
        !good && said.contains("has nothing before timestamp 3"),
        "{said}"
    );
}

#[test]
fn any_bytes_are_checked_without_harm() {
    let storage = Memory::new();
    let mut seed = 1u64;
    for _ in 0..2_000 {
        let mut bytes = Vec::new();
        for _ in 0..30 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let pieces: [&[u8]; 8] = [
                b"*2\r\n",
                b"$3\r\n",
                b"SET\r\n",
                b"#TS:9\r\n",
                b"REDIS0011",
                b"*1\r\n$5\r\nMULTI\r\n",
                b"$99999999999999999999\r\n",
                b"\xff",
            ];
            bytes.extend_from_slice(pieces[(seed >> 33) as usize % pieces.len()]);
        }
        storage.write("f", &bytes);
        check(&storage, "f", false, Some(7));
        check_rdb(&storage, Path::new("f"), 0, &mut Vec::new()).unwrap();
    }
    assert!(
        storage
            .open(Path::new("f"), persist::storage::OpenMode::Read)
            .is_ok()
    );
}
