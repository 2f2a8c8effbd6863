//! HyperLogLogs.

use resp::Value;

use super::harness::{Client, TestServer};

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const NO_SKETCH: &str = "-WRONGTYPE Key is not a valid HyperLogLog string value.";
const CORRUPTED: &str = "-INVALIDOBJ Corrupted HLL object detected";

/// Adds `name0` to `name(n-1)`.
fn fill(client: &mut Client, key: &str, name: &str, count: usize) {
    for start in (0..count).step_by(1000) {
        let elements: Vec<String> = (start..count.min(start + 1000))
            .map(|at| format!("{name}{at}"))
            .collect();
        client.line(&format!("PFADD {key} {}", elements.join(" ")));
    }
}

fn get(client: &mut Client, key: &str) -> Vec<u8> {
    let value = client.run(&["GET", key]);
    value.as_bytes().expect("a string").to_vec()
}

#[test]
fn adding_and_counting() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("PFCOUNT k", ":0"),
        ("EXISTS k", ":0"),
        ("PFADD k", ":1"),
        ("PFADD k", ":0"),
        ("PFCOUNT k", ":0"),
        ("PFADD k a b c", ":1"),
        ("PFADD k a b c", ":0"),
        ("PFADD k c d", ":1"),
        ("PFADD k ''", ":1"),
        ("PFCOUNT k", ":5"),
        ("PFCOUNT k", ":5"),
        ("PFADD other x a", ":1"),
        ("PFCOUNT k other none", ":6"),
        ("PFCOUNT none none", ":0"),
        ("TYPE k", "+string"),
        (
            "PFADD",
            "-ERR wrong number of arguments for 'pfadd' command",
        ),
        (
            "PFCOUNT",
            "-ERR wrong number of arguments for 'pfcount' command",
        ),
    ]);
    fill(&mut client, "big", "e", 20_000);
    let count = client.integer("PFCOUNT big");
    assert!((19_000..21_000).contains(&count), "{count}");
    assert_eq!(client.integer("PFCOUNT big big"), count);
    assert_eq!(client.line("STRLEN big"), ":12304");
}

#[test]
fn the_bytes_are_those_of_redis() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.line("PFADD k a b c");
    let expected = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80\x60\xf3\x80\x50\xb1\x84\x4b\xfb\x80\x42\x5a";
    assert_eq!(get(&mut client, "k"), expected);
    client.line("PFCOUNT k");
    let mut counted = *expected;
    (counted[8], counted[15]) = (3, 0);
    assert_eq!(get(&mut client, "k"), counted);
    client.check(&[
        ("OBJECT ENCODING k", "\"raw\""),
        ("EXPIRE k 1000", ":1"),
        ("PFADD k d", ":1"),
        ("PFCOUNT k", ":4"),
        ("PFMERGE k none", "+OK"),
        ("TTL k", ":1000"),
    ]);
    // The cached count of a foreign sketch is used.
    counted[8] = 77;
    client.run_bytes(&[b"SET", b"k", &counted]);
    client.check(&[
        ("PFCOUNT k", ":77"),
        ("PFCOUNT k k", ":3"),
        ("PFADD k a", ":0"),
        ("PFCOUNT k", ":77"),
    ]);
}

#[test]
fn what_is_none_is_refused() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[("RPUSH list a", ":1"), ("SET number 12345", "+OK")]);
    client.run_bytes(&[b"SET", b"short", b"HYLL\x01"]);
    client.run_bytes(&[
        b"SET",
        b"encoding",
        b"HYLL\x02\0\0\0\0\0\0\0\0\0\0\0\x7f\xff",
    ]);
    client.run_bytes(&[b"SET", b"dense", b"HYLL\0\0\0\0\0\0\0\0\0\0\0\0\x7f\xff"]);
    let commands = [
        "PFADD {} x",
        "PFCOUNT {}",
        "PFCOUNT k {}",
        "PFMERGE {}",
        "PFMERGE k {}",
        "PFDEBUG ENCODING {}",
    ];
    for command in commands {
        for key in ["number", "short", "encoding", "dense"] {
            assert_eq!(
                client.line(&command.replace("{}", key)),
                NO_SKETCH,
                "{command} {key}"
            );
        }
        assert_eq!(
            client.line(&command.replace("{}", "list")),
            WRONG_TYPE,
            "{command}"
        );
    }
    let header = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80";
    for registers in [
        &b""[..],
        b"\x7f\xfe",
        b"\x7f",
        b"\x7f\xff\x00",
        b"\x80\x7f\xff",
    ] {
        let bytes = [header, registers].concat();
        client.run_bytes(&[b"SET", b"bad", &bytes]);
        client.check(&[
            ("PFCOUNT bad", CORRUPTED),
            ("PFCOUNT k bad", CORRUPTED),
            ("PFMERGE k bad", CORRUPTED),
            ("PFMERGE bad", CORRUPTED),
            ("PFDEBUG GETREG bad", CORRUPTED),
            ("PFDEBUG TODENSE bad", CORRUPTED),
            ("EXISTS k", ":0"),
        ]);
        assert_eq!(get(&mut client, "bad"), bytes);
    }
    client.run_bytes(&[b"SET", b"bad", header]);
    assert_eq!(client.line("PFADD bad x"), CORRUPTED);
    // A valid beginning is not enough when there is much too much of it.
    client.run_bytes(&[
        b"SET",
        b"bad",
        &[header, &b"\x7f\xff".repeat(40_000)[..]].concat(),
    ]);
    client.check(&[("PFADD bad x", CORRUPTED), ("PFCOUNT bad", CORRUPTED)]);
}

#[test]
fn merging() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("PFADD a 1 2 3", ":1"),
        ("PFADD b 3 4 5", ":1"),
        ("PFMERGE all a b none", "+OK"),
        ("PFCOUNT all", ":5"),
        ("PFMERGE a b", "+OK"),
        ("PFCOUNT a", ":5"),
        ("PFCOUNT b", ":3"),
        ("PFMERGE empty", "+OK"),
        ("PFCOUNT empty", ":0"),
        ("PFDEBUG ENCODING all", "+sparse"),
    ]);
    assert_eq!(get(&mut client, "a")[16..], get(&mut client, "all")[16..]);
    fill(&mut client, "dense", "e", 20_000);
    client.check(&[
        ("PFDEBUG ENCODING dense", "+dense"),
        ("PFMERGE a dense", "+OK"),
        ("PFDEBUG ENCODING a", "+dense"),
        ("PFMERGE dense a", "+OK"),
        ("PFMERGE new dense", "+OK"),
    ]);
    assert_eq!(get(&mut client, "a")[16..], get(&mut client, "new")[16..]);
    assert_eq!(get(&mut client, "a")[16..], get(&mut client, "dense")[16..]);
    let count = client.integer("PFCOUNT a");
    assert_eq!(client.integer("PFCOUNT a b dense"), count);
}

#[test]
fn sparse_sketches_become_dense() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("PFADD k a b c d e d g h i j k", ":1"),
        ("PFDEBUG ENCODING k", "+sparse"),
        ("CONFIG SET hll-sparse-max-bytes 30", "+OK"),
        ("PFADD k a b", ":0"),
        ("PFDEBUG ENCODING k", "+sparse"),
        ("PFADD k new", ":1"),
        ("PFDEBUG ENCODING k", "+dense"),
        ("PFCOUNT k", ":11"),
        ("PFADD k more", ":1"),
        ("PFADD k more", ":0"),
        ("PFCOUNT k", ":12"),
        ("PFMERGE k", "+OK"),
        ("PFMERGE other k", "+OK"),
        ("PFDEBUG ENCODING other", "+dense"),
        ("CONFIG SET hll-sparse-max-bytes 3000", "+OK"),
        ("PFADD s a b c", ":1"),
        ("CONFIG SET hll-sparse-max-bytes 25", "+OK"),
        ("PFADD t d e f", ":1"),
        ("PFMERGE s t", "+OK"),
        ("PFDEBUG ENCODING s", "+dense"),
        ("PFCOUNT s", ":6"),
    ]);
}

#[test]
fn a_look_inside() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("PFADD k a b c", ":1"),
        (
            "PFDEBUG DECODE k",
            "\"Z:8436 v:1,1 Z:4274 v:2,1 Z:3068 v:1,1 Z:603\"",
        ),
        ("PFDEBUG todense k", ":1"),
        ("PFDEBUG TODENSE k", ":0"),
        ("PFDEBUG DECODE k", "-ERR HLL encoding is not sparse"),
        (
            "PFDEBUG ENCODING none",
            "-ERR The specified key does not exist",
        ),
        ("PFDEBUG FOO none", "-ERR The specified key does not exist"),
        ("PFDEBUG FOO k", "-ERR Unknown PFDEBUG subcommand 'FOO'"),
        ("PFDEBUG SIMD maybe", "-ERR Argument must be ON or OFF"),
        ("PFDEBUG SIMD off", "+disabled"),
        ("PFCOUNT k k", ":3"),
        ("PFMERGE k k", "+OK"),
        ("PFCOUNT k", ":3"),
        ("PFSELFTEST", "+OK"),
    ]);
    assert!(["+enabled", "+disabled"].contains(&client.line("PFDEBUG SIMD on").as_str()));
    client.line("PFADD g a b c");
    let Value::Array(registers) = client.run(&["PFDEBUG", "GETREG", "g"]) else {
        panic!("registers are an array");
    };
    assert_eq!(registers.len(), 16_384);
    let set = registers
        .iter()
        .filter(|value| **value != Value::Integer(0));
    assert_eq!(set.count(), 3);
    assert_eq!(client.line("PFDEBUG ENCODING g"), "+dense");
}

#[test]
fn changes_are_logged() {
    let server = TestServer::start_twice();
    let commands = [
        "PFADD k",
        "PFADD k a b",
        "PFADD k a b",
        "PFCOUNT k",
        "PFCOUNT k",
        "PFCOUNT k none",
        "PFCOUNT none",
        "PFMERGE dest k none",
        "PFDEBUG ENCODING k",
        "PFDEBUG GETREG k",
        "PFDEBUG TODENSE k",
        "PFDEBUG TODENSE dest",
    ];
    let logged = [
        "PFADD k",
        "PFADD k a b",
        "PFCOUNT k",
        "PFMERGE dest k none",
        "PFDEBUG GETREG k",
        "PFDEBUG TODENSE dest",
    ];
    assert_eq!(server.logs_of(&commands), logged);
    let mut client = server.connect();
    fill(&mut client, "big", "e", 3000);
    client.check(&[("PFMERGE dest big", "+OK"), ("PFADD s x y z", ":1")]);
    server.assert_replays();
}

#[test]
fn counting_is_a_change() {
    let server = TestServer::start_twice();
    let (mut client, mut other) = (server.connect(), server.connect());
    client.check(&[("PFADD k a", ":1"), ("WATCH k", "+OK")]);
    other.check(&[("PFCOUNT k", ":1")]);
    client.check(&[("MULTI", "+OK"), ("PING", "+QUEUED"), ("EXEC", "nil-array")]);
    client.check(&[("WATCH k", "+OK")]);
    other.check(&[("PFCOUNT k", ":1"), ("PFADD k a", ":0")]);
    client.check(&[("MULTI", "+OK"), ("PING", "+QUEUED"), ("EXEC", "[+PONG]")]);
}
