//! DUMP, RESTORE and MIGRATE, and values that go to other servers and back.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::harness::{Client, TestServer, dump, fresh_dir, show};

const BUSY: &str = "-BUSYKEY Target key name already exists.";
const BAD_FOOTER: &str = "-ERR DUMP payload version or checksum are wrong";
const BAD_DATA: &str = "-ERR Bad data format";
const SYNTAX: &str = "-ERR syntax error";

/// Samples whose elements come in the order of a hash table.
const UNORDERED: &[&str] = &["set_table", "hash_many"];

/// The version of RDB from which on others have the encodings that we have.
const SAME_ENCODINGS: u16 = 11;

/// A far time, in Unix milliseconds.
const FAR_MS: &str = "4000000000000";

/// Programs of other servers, separated by colons, with which values are exchanged.
const PEERS: &str = "LODESTORE_PEER";

/// Commands that make keys of all types and encodings; the name of a key is the second word.
fn samples() -> Vec<Vec<String>> {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let many = |start: &str, count: usize, element: &dyn Fn(usize) -> String| {
        let elements = (0..count).flat_map(|at| words(&element(at)));
        words(start).into_iter().chain(elements).collect::<Vec<_>>()
    };
    let long = "long ".repeat(100);
    let mut samples: Vec<Vec<String>> = [
        "SET empty ",
        "SET int8 -7",
        "SET int16 1000",
        "SET int32 -100000",
        "SET int64 1234567890123456789",
        "SET embstr abc",
        "APPEND raw 12",
        "RPUSH list_packed a 1 -300 70000",
        "SADD set_ints 1 2 70000",
        "SADD set_packed a b 1",
        "HSET hash_packed f v g 1",
        "ZADD zset_packed 1 a 2.5 b -inf c 0 1",
        "XADD stream 1-1 f v",
        "XADD stream 1-2 g w",
        "XADD stream 2-1 f v",
        "XDEL stream 1-2",
        "XGROUP CREATE stream readers 0",
        "XGROUP CREATE stream others 2-1 ENTRIESREAD 3",
        "XGROUP CREATECONSUMER stream readers idle",
        "XREADGROUP GROUP readers alice COUNT 1 STREAMS stream >",
        "XGROUP CREATE stream_empty g $ MKSTREAM",
    ]
    .iter()
    .map(|line| words(line))
    .collect();
    samples.push(vec!["SET".into(), "compressed".into(), long.clone()]);
    samples.push(vec!["SET".into(), "big".into(), "x".repeat(100_000)]);
    samples.push(vec![
        "HSET".into(),
        "hash_table".into(),
        "f".into(),
        long.clone(),
    ]);
    samples.push(vec!["SADD".into(), "set_long".into(), long]);
    samples.push(many("RPUSH list_nodes", 3000, &|at| {
        format!("element:{at}")
    }));
    samples.push(vec![
        "RPUSH".into(),
        "list_plain".into(),
        "y".repeat(10_000),
    ]);
    samples.push(many("SADD set_table", 600, &|at| format!("member:{at}")));
    samples.push(many("ZADD zset_tree", 300, &|at| {
        format!("{}.5 member:{at}", at * 3)
    }));
    samples.push(many("HSET hash_many", 600, &|at| {
        format!("field:{at} {at}")
    }));
    let entries = (3..300).map(|at| words(&format!("XADD stream {at}-0 f value:{at} g {at}")));
    samples.extend(entries);
    samples
}

fn fill(client: &mut Client) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for sample in samples() {
        let request: Vec<&str> = sample.iter().map(String::as_str).collect();
        let reply = client.run(&request);
        assert!(!reply.is_error(), "{request:?}: {}", show(&reply));
        let key = sample[1].clone();
        if request[0] != "XGROUP" && request[0] != "XREADGROUP" && !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys.push("stream_empty".to_owned());
    keys
}

fn payload(client: &mut Client, key: &str) -> Vec<u8> {
    let reply = client.run(&["DUMP", key]);
    reply
        .as_bytes()
        .unwrap_or_else(|| panic!("DUMP {key}: {}", show(&reply)))
        .to_vec()
}

fn restore(client: &mut Client, key: &str, ttl: &str, payload: &[u8], rest: &[&str]) -> String {
    let mut words: Vec<&[u8]> = vec![b"RESTORE", key.as_bytes(), ttl.as_bytes(), payload];
    words.extend(rest.iter().map(|word| word.as_bytes()));
    show(&client.run_bytes(&words))
}

fn digest(client: &mut Client, key: &str) -> String {
    client.line(&format!("DEBUG DIGEST-VALUE {key}"))
}

fn with_debug() -> TestServer {
    TestServer::start_with(&["--enable-debug-command", "yes"])
}

#[test]
fn every_encoding_goes_round() {
    let server = with_debug();
    let mut client = server.connect();
    let keys = fill(&mut client);
    for setting in [
        ("yes", "11 80"),
        ("no", "11 80"),
        ("yes", "80"),
        ("yes", "9"),
        ("yes", "14"),
    ] {
        let (compression, versions) = setting;
        client.run(&[
            "CONFIG",
            "SET",
            "rdbcompression",
            compression,
            "rdb-version",
            versions,
        ]);
        for key in &keys {
            let bytes = payload(&mut client, key);
            assert_eq!(
                restore(&mut client, "copy", "0", &bytes, &["REPLACE"]),
                "+OK"
            );
            assert_eq!(
                digest(&mut client, "copy"),
                digest(&mut client, key),
                "{key} {setting:?}"
            );
            let encodings = ["copy", key].map(|key| client.line(&format!("OBJECT ENCODING {key}")));
            if key != "raw" {
                assert_eq!(encodings[0], encodings[1], "{key} {setting:?}");
            }
            // Redis 5 had neither listpacks nor all of the counters of streams.
            if versions != "9" && !UNORDERED.contains(&key.as_str()) {
                let is_same = payload(&mut client, "copy") == bytes;
                assert!(is_same, "{key} {setting:?}");
            }
        }
    }
    server.assert_replays();
}

#[test]
fn a_key_that_is_not_there() {
    let server = TestServer::start();
    server.connect().check(&[
        ("DUMP k", "nil"),
        ("DUMP", "-ERR wrong number of arguments for 'dump' command"),
    ]);
    assert_eq!(server.connect_resp3().line("DUMP k"), "null");
}

#[test]
fn replies_are_the_same_in_both_protocols() {
    let server = TestServer::start();
    let mut client = server.connect_resp3();
    client.line("SET k hello");
    let bytes = payload(&mut client, "k");
    assert_eq!(&bytes[..8], b"\x00\x05hello\x0b");
    assert_eq!(restore(&mut client, "l", "0", &bytes, &[]), "+OK");
    assert_eq!(client.line("GET l"), "\"hello\"");
    assert_eq!(restore(&mut client, "l", "0", &bytes, &[]), BUSY);
}

#[test]
fn errors_come_in_the_order_of_redis() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.line("SET k v");
    let bytes = payload(&mut client, "k");
    let mut check = |key: &str, ttl: &str, payload: &[u8], rest: &[&str], expected: &str| {
        assert_eq!(
            restore(&mut client, key, ttl, payload, rest),
            expected,
            "{key} {ttl} {rest:?}"
        );
    };
    check("k", "x", b"junk", &["BOGUS"], SYNTAX);
    check("k", "x", b"junk", &["IDLETIME"], SYNTAX);
    check("k", "x", b"junk", &["IDLETIME", "1", "FREQ", "1"], SYNTAX);
    check("k", "x", b"junk", &["FREQ", "1", "IDLETIME", "1"], SYNTAX);
    check(
        "k",
        "x",
        b"junk",
        &["IDLETIME", "-1"],
        "-ERR Invalid IDLETIME value, must be >= 0",
    );
    check(
        "k",
        "x",
        b"junk",
        &["FREQ", "256"],
        "-ERR Invalid FREQ value, must be >= 0 and <= 255",
    );
    check(
        "k",
        "x",
        b"junk",
        &["FREQ", "y"],
        "-ERR value is not an integer or out of range",
    );
    check("k", "x", b"junk", &[], BUSY);
    check(
        "l",
        "x",
        b"junk",
        &[],
        "-ERR value is not an integer or out of range",
    );
    check(
        "l",
        "-1",
        b"junk",
        &[],
        "-ERR Invalid TTL value, must be >= 0",
    );
    check(
        "l",
        "9223372036854775807",
        &bytes,
        &[],
        "-ERR invalid expire time in 'restore' command",
    );
    check("l", "0", b"junk", &[], BAD_FOOTER);
    check("l", "0", b"", &[], BAD_FOOTER);
    let mut broken = bytes.clone();
    broken[1] ^= 1;
    check("l", "0", &broken, &[], BAD_FOOTER);
    // The wrong payload does not remove the key.
    check("k", "0", &broken, &["REPLACE"], BAD_FOOTER);
    assert_eq!(client.line("GET k"), "\"v\"");
    client.check(&[
        ("EXISTS l", ":0"),
        (
            "RESTORE k 0",
            "-ERR wrong number of arguments for 'restore' command",
        ),
    ]);
}

#[test]
fn damaged_payloads_are_refused_without_harm() {
    let server = with_debug();
    let mut client = server.connect();
    client.line("DEBUG SET-SKIP-CHECKSUM-VALIDATION 1");
    let keys = fill(&mut client);
    for key in keys.iter().filter(|key| !key.starts_with("big")) {
        let bytes = payload(&mut client, key);
        // A prime step, so that all kinds of places are hit.
        for at in (0..bytes.len().saturating_sub(10)).step_by(bytes.len() / 40 * 2 + 1) {
            let mut broken = bytes.clone();
            broken[at] ^= 0x81;
            let reply = restore(&mut client, "x", "0", &broken, &["REPLACE"]);
            assert!(
                reply == "+OK" || reply == BAD_DATA,
                "{key} at {at}: {reply}"
            );
        }
        let footer = &bytes[bytes.len() - 10..];
        let cut = [&bytes[..bytes.len() / 2 - 5], footer].concat();
        let reply = restore(&mut client, "x", "0", &cut, &["REPLACE"]);
        assert!(reply == "+OK" || reply == BAD_DATA, "{key} cut: {reply}");
    }
    assert_eq!(client.line("PING"), "+PONG");
}

#[test]
fn times_to_live() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.line("SET k v");
    let bytes = payload(&mut client, "k");
    assert_eq!(restore(&mut client, "a", "0", &bytes, &[]), "+OK");
    assert_eq!(client.line("PTTL a"), ":-1");
    assert_eq!(restore(&mut client, "b", "100000", &bytes, &[]), "+OK");
    assert!((1..=100_000).contains(&client.integer("PTTL b")));
    assert_eq!(
        restore(&mut client, "c", FAR_MS, &bytes, &["ABSTTL"]),
        "+OK"
    );
    assert_eq!(client.line("PEXPIRETIME c"), format!(":{FAR_MS}"));
    // In the past: it is not created, and what was there goes.
    assert_eq!(restore(&mut client, "d", "1", &bytes, &["ABSTTL"]), "+OK");
    assert_eq!(
        restore(&mut client, "c", "1", &bytes, &["ABSTTL", "REPLACE"]),
        "+OK"
    );
    client.check(&[("EXISTS c d", ":0"), ("EXISTS a b", ":2")]);
    // DUMP does not carry a deadline.
    let bytes = payload(&mut client, "b");
    assert_eq!(restore(&mut client, "e", "0", &bytes, &[]), "+OK");
    assert_eq!(client.line("PTTL e"), ":-1");
    server.assert_replays();
}

#[test]
fn in_import_mode_what_is_over_is_kept() {
    let server = TestServer::start_with(&["--import-mode", "yes"]);
    let mut client = server.connect();
    client.check(&[("CLIENT IMPORT-SOURCE ON", "+OK"), ("SET k v", "+OK")]);
    let bytes = payload(&mut client, "k");
    assert_eq!(restore(&mut client, "l", "1", &bytes, &["ABSTTL"]), "+OK");
    client.check(&[("GET l", "\"v\""), ("PEXPIRETIME l", ":1")]);
    assert_eq!(server.connect().line("GET l"), "nil");
}

#[test]
fn how_often_it_was_used() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.line("SET k v");
    let bytes = payload(&mut client, "k");
    assert_eq!(
        restore(&mut client, "a", "0", &bytes, &["IDLETIME", "1000"]),
        "+OK"
    );
    assert!((1000..1060).contains(&client.integer("OBJECT IDLETIME a")));
    client.line("CONFIG SET maxmemory-policy allkeys-lfu");
    assert_eq!(
        restore(&mut client, "b", "0", &bytes, &["FREQ", "100"]),
        "+OK"
    );
    assert_eq!(client.line("OBJECT FREQ b"), ":100");
    // Access data that does not fit the policy is not used.
    assert_eq!(
        restore(&mut client, "c", "0", &bytes, &["IDLETIME", "1000"]),
        "+OK"
    );
    assert_eq!(client.line("OBJECT FREQ c"), ":5");
}

#[test]
fn what_is_logged() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.line("RPUSH k a b");
    let bytes = payload(&mut client, "k");
    let before = server.logged().len();
    restore(&mut client, "a", "0", &bytes, &[]);
    restore(&mut client, "b", "100000", &bytes, &["IDLETIME", "5"]);
    restore(&mut client, "c", FAR_MS, &bytes, &["ABSTTL"]);
    restore(&mut client, "c", "1", &bytes, &["ABSTTL", "REPLACE"]);
    restore(&mut client, "d", "1", &bytes, &["ABSTTL"]);
    restore(&mut client, "a", "0", &bytes, &[]);
    let logged = server.logged().split_off(before);
    assert_eq!(logged.len(), 4, "{logged:?}");
    assert!(logged[0].starts_with("RESTORE a 0 "));
    let (start, end) = (logged[1].split(' ').nth(2), &logged[1]);
    let deadline: u64 = start.and_then(|word| word.parse().ok()).expect("a number");
    assert!(deadline > 1_600_000_000_000 && end.ends_with(" IDLETIME 5 ABSTTL"));
    assert!(logged[2].ends_with(" ABSTTL"));
    assert_eq!(logged[3], "UNLINK c");
    client.line("CONFIG SET lazyfree-lazy-server-del no");
    restore(&mut client, "b", "1", &bytes, &["ABSTTL", "REPLACE"]);
    assert_eq!(server.logged().last().map(String::as_str), Some("DEL b"));
    server.assert_replays();
}

#[test]
fn restored_keys_are_like_others() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.line("RPUSH source a b");
    let bytes = payload(&mut client, "source");
    let mut waiting = server.connect();
    waiting.send(&[b"BLPOP", b"list", b"0"]);
    let began = Instant::now();
    while !client.line("INFO clients").contains("blocked_clients:1") {
        assert!(began.elapsed() < super::harness::PATIENCE);
    }
    assert_eq!(restore(&mut client, "list", "0", &bytes, &[]), "+OK");
    assert_eq!(show(&waiting.read()), "[\"list\" \"a\"]");
    // Watchers see it.
    let mut other = server.connect();
    other.check(&[
        ("WATCH watched", "+OK"),
        ("MULTI", "+OK"),
        ("PING", "+QUEUED"),
    ]);
    restore(&mut client, "watched", "0", &bytes, &[]);
    assert_eq!(other.line("EXEC"), "nil-array");
    // RESTORE-ASKING does the same.
    let reply = client.run_bytes(&[b"RESTORE-ASKING", b"asked", b"0", &bytes]);
    assert_eq!(show(&reply), "+OK");
    client.check(&[("LRANGE asked 0 -1", "[\"a\" \"b\"]"), ("DBSIZE", ":4")]);
}

#[test]
fn deadlines_of_elements() {
    let server = with_debug();
    let mut client = server.connect();
    client.check(&[
        ("HSET h f v g w", ":2"),
        (&*format!("HPEXPIREAT h {FAR_MS} FIELDS 1 f"), "[:1]"),
    ]);
    for version in ["12", "80", "11 80"] {
        client.run(&["CONFIG", "SET", "rdb-version", version]);
        let bytes = payload(&mut client, "h");
        assert_eq!(restore(&mut client, "i", "0", &bytes, &["REPLACE"]), "+OK");
        assert_eq!(digest(&mut client, "i"), digest(&mut client, "h"));
        let times = format!("[:{FAR_MS} :-1]");
        assert_eq!(client.line("HPEXPIRETIME i FIELDS 2 f g"), times);
    }
    client.line("CONFIG SET rdb-version 11");
    assert_eq!(
        client.line("DUMP h"),
        "-ERR RDB version 11 has no form for hashes whose fields have deadlines"
    );
    client.line("CONFIG SET rdb-version 80");
    client.check(&[
        ("HSET short f v", ":1"),
        ("HPEXPIRE short 2000 FIELDS 1 f", "[:1]"),
    ]);
    let bytes = payload(&mut client, "short");
    assert_eq!(restore(&mut client, "late", "0", &bytes, &[]), "+OK");
    let began = Instant::now();
    while client.line("DBSIZE") != ":2" {
        assert!(
            began.elapsed() < super::harness::PATIENCE,
            "they go by themselves"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    client.check(&[
        ("SADD s a b", ":2"),
        (&*format!("SPEXPIREAT s {FAR_MS} MEMBERS 1 a"), "[:1]"),
    ]);
    assert_eq!(
        client.line("DUMP s"),
        "-ERR DUMP payloads have no form for sets whose members have deadlines"
    );
    server.assert_replays();
}

#[test]
fn the_parameter_takes_versions_that_can_be_written() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.check(&[
        ("CONFIG GET rdb-version", "[\"rdb-version\" \"11 80\"]"),
        ("CONFIG SET rdb-version 12", "+OK"),
        ("CONFIG SET rdb-version \"80 11\"", "+OK"),
        ("CONFIG GET rdb-version", "[\"rdb-version\" \"80 11\"]"),
    ]);
    for wrong in ["", "x", "8", "11 15", "79"] {
        let reply = show(&client.run(&["CONFIG", "SET", "rdb-version", wrong]));
        assert!(
            reply.ends_with("RDB versions out of: 9 10 11 12 13 14 80"),
            "{reply}"
        );
    }
    let started = TestServer::start_with(&["--rdb-version", "12", "80"]);
    let reply = started.connect().line("CONFIG GET rdb-version");
    assert_eq!(reply, "[\"rdb-version\" \"12 80\"]");
}

/// Two servers, and how MIGRATE is asked to move keys from the first to the second.
struct Pair {
    from: TestServer,
    to: TestServer,
}

impl Pair {
    fn start() -> Pair {
        Pair {
            from: with_debug(),
            to: with_debug(),
        }
    }

    fn migrate(&self, client: &mut Client, key: &str, rest: &str) -> String {
        let port = self.to.port();
        client.line(&format!("MIGRATE 127.0.0.1 {port} {key} 0 5000 {rest}"))
    }
}

#[test]
fn keys_move_to_another_server() {
    let pair = Pair::start();
    let (mut from, mut to) = (pair.from.connect(), pair.to.connect());
    let keys = fill(&mut from);
    from.line("PEXPIRE embstr 100000");
    let before: Vec<String> = keys.iter().map(|key| digest(&mut from, key)).collect();
    assert_eq!(pair.migrate(&mut from, "missing", ""), "+NOKEY");
    let all = format!("KEYS missing {}", keys.join(" "));
    assert_eq!(pair.migrate(&mut from, "\"\"", &all), "+OK");
    assert_eq!(from.line("DBSIZE"), ":0");
    let after: Vec<String> = keys.iter().map(|key| digest(&mut to, key)).collect();
    assert_eq!(before, after);
    assert!((1..=100_000).contains(&to.integer("PTTL embstr")));
    assert!(
        pair.from
            .logged()
            .last()
            .is_some_and(|last| last.starts_with("DEL empty int8 "))
    );
    assert!(from.line("INFO stats").contains("migrate_cached_sockets:1"));
    pair.from.assert_replays();
    pair.to.assert_replays();
}

#[test]
fn options_of_migrate() {
    let pair = Pair::start();
    let (mut from, mut to) = (pair.from.connect(), pair.to.connect());
    from.line("SET k here");
    to.line("SET k there");
    let busy = "-ERR Target instance replied with error: BUSYKEY Target key name already exists.";
    assert_eq!(pair.migrate(&mut from, "k", ""), busy);
    assert_eq!(pair.migrate(&mut from, "k", "COPY"), busy);
    assert_eq!(from.line("GET k"), "\"here\"");
    let before = pair.from.logged().len();
    assert_eq!(pair.migrate(&mut from, "k", "COPY REPLACE"), "+OK");
    assert_eq!(
        pair.from.logged().len(),
        before,
        "a copy changes nothing here"
    );
    from.check(&[("GET k", "\"here\"")]);
    to.check(&[("GET k", "\"here\"")]);
    assert_eq!(pair.migrate(&mut from, "k", "replace"), "+OK");
    from.check(&[("EXISTS k", ":0")]);
    let port = pair.to.port();
    from.line("SET k v");
    assert_eq!(
        from.line(&format!("MIGRATE 127.0.0.1 {port} k 2 5000")),
        "+OK"
    );
    to.check(&[("SELECT 2", "+OK"), ("GET k", "\"v\"")]);
    from.line("SET k v");
    let out_of_range = "-ERR Target instance replied with error: ERR DB index is out of range";
    assert_eq!(
        from.line(&format!("MIGRATE 127.0.0.1 {port} k 99 5000")),
        out_of_range
    );
    // One of several is refused: the others have moved.
    to.check(&[("SELECT 0", "+OK"), ("SET k2 x", "+OK")]);
    from.line("MSET k1 1 k2 2 k3 3");
    assert_eq!(pair.migrate(&mut from, "\"\"", "KEYS k1 k2 k3"), busy);
    from.check(&[("EXISTS k1 k2 k3", ":1"), ("GET k2", "\"2\"")]);
    assert_eq!(
        pair.from.logged().last().map(String::as_str),
        Some("DEL k1 k3")
    );
}

#[test]
fn errors_of_migrate() {
    let pair = Pair::start();
    let mut from = pair.from.connect();
    from.line("SET k v");
    let empty =
        "-ERR When using MIGRATE KEYS option, the key argument must be set to the empty string";
    assert_eq!(pair.migrate(&mut from, "k", "KEYS a"), empty);
    assert_eq!(pair.migrate(&mut from, "k", "BOGUS"), SYNTAX);
    assert_eq!(pair.migrate(&mut from, "k", "AUTH"), SYNTAX);
    assert_eq!(pair.migrate(&mut from, "k", "AUTH2 user"), SYNTAX);
    assert_eq!(pair.migrate(&mut from, "\"\"", "KEYS"), "+NOKEY");
    let not_integer = "-ERR value is not an integer or out of range";
    from.check(&[
        ("MIGRATE 127.0.0.1 1 k 0 x", not_integer),
        ("MIGRATE 127.0.0.1 1 k x 1", not_integer),
        (
            "MIGRATE 127.0.0.1 1 k 0",
            "-ERR wrong number of arguments for 'migrate' command",
        ),
        (
            "MIGRATE 127.0.0.1 1 k 0 100",
            "-IOERR error or timeout writing to target instance",
        ),
        (
            "MIGRATE 127.0.0.1 port k 0 100",
            "-IOERR error or timeout writing to target instance",
        ),
        (
            "MIGRATE nosuch.invalid 1 k 0 100",
            "-IOERR error or timeout connecting to the client",
        ),
    ]);
    let myself =
        "-IOERR error or timeout connecting to the client: the target is this server itself";
    let port = pair.from.port();
    assert_eq!(
        from.line(&format!("MIGRATE 127.0.0.1 {port} k 1 100000")),
        myself
    );
    assert_eq!(from.line("GET k"), "\"v\"");
}

#[test]
fn a_target_that_does_not_answer_is_given_up() {
    let pair = Pair::start();
    let (mut from, mut to) = (pair.from.connect(), pair.to.connect());
    from.line("SET k v");
    to.send(&[b"DEBUG", b"SLEEP", b"2"]);
    std::thread::sleep(Duration::from_millis(100));
    let port = pair.to.port();
    let reply = from.line(&format!("MIGRATE 127.0.0.1 {port} k 0 200"));
    assert_eq!(reply, "-IOERR error or timeout reading to target instance");
    from.check(&[("GET k", "\"v\"")]);
    assert!(from.line("INFO stats").contains("migrate_cached_sockets:0"));
}

#[test]
fn a_kept_connection_that_broke_is_replaced() {
    let mut pair = Pair::start();
    let mut from = pair.from.connect();
    from.line("MSET a 1 b 2");
    assert_eq!(pair.migrate(&mut from, "a", ""), "+OK");
    pair.to.connect().line("CLIENT KILL TYPE normal");
    assert_eq!(pair.migrate(&mut from, "b", ""), "+OK");
    assert_eq!(pair.to.connect().line("MGET a b"), "[\"1\" \"2\"]");
    pair.to.restart();
    pair.to.assert_replays();
}

#[test]
fn a_target_that_asks_for_a_password() {
    let pair = Pair {
        from: with_debug(),
        to: TestServer::start(),
    };
    let (mut from, mut to) = (pair.from.connect(), pair.to.connect());
    to.line("CONFIG SET requirepass secret");
    from.line("MSET k v l w");
    let reply = pair.migrate(&mut from, "k", "");
    assert!(
        reply.starts_with("-ERR Target instance replied with error: NOAUTH"),
        "{reply}"
    );
    let reply = pair.migrate(&mut from, "k", "AUTH wrong");
    assert!(
        reply.starts_with("-ERR Target instance replied with error: WRONGPASS"),
        "{reply}"
    );
    assert_eq!(pair.migrate(&mut from, "k", "AUTH secret"), "+OK");
    assert_eq!(pair.migrate(&mut from, "l", "AUTH2 default secret"), "+OK");
    let shown = from.line("SLOWLOG GET");
    assert!(!shown.contains("secret"));
}

#[test]
fn keys_move_inside_transactions_and_out_of_long_pipelines() {
    let pair = Pair::start();
    let mut from = pair.from.connect();
    let port = pair.to.port();
    from.check(&[("SET k v", "+OK"), ("MULTI", "+OK")]);
    from.line(&format!("MIGRATE 127.0.0.1 {port} k 0 5000"));
    from.check(&[("EXISTS k", "+QUEUED"), ("EXEC", "[+OK :0]")]);
    for at in 0..500 {
        from.send(&[b"SET", format!("k{at}").as_bytes(), b"v"]);
    }
    let port = port.to_string();
    for at in 0..100 {
        let key = format!("k{at}");
        from.send(&[
            b"MIGRATE",
            b"127.0.0.1",
            port.as_bytes(),
            key.as_bytes(),
            b"0",
            b"5000",
        ]);
    }
    for _ in 0..600 {
        assert_eq!(show(&from.read()), "+OK");
    }
    assert_eq!(from.line("DBSIZE"), ":400");
    assert_eq!(pair.to.connect().line("DBSIZE"), ":101");
}

/// The programs that the environment names, as far as they are there.
fn peers() -> Vec<PathBuf> {
    let named = std::env::var_os(PEERS).unwrap_or_default();
    let programs = std::env::split_paths(&named).filter(|program| program.is_file());
    programs.collect()
}

/// The version of RDB that a server reads: the number behind the value of one of its own payloads.
fn version_of(client: &mut Client) -> u16 {
    client.line("SET version 1");
    let bytes = payload(client, "version");
    client.line("DEL version");
    let footer = bytes.last_chunk::<10>().expect("a footer");
    u16::from_le_bytes([footer[0], footer[1]])
}

#[test]
fn values_go_to_other_servers_and_back() {
    for program in peers() {
        exchange(&program);
    }
}

fn exchange(program: &Path) {
    let server = with_debug();
    let options = ["--save", "", "--enable-debug-command", "yes"];
    let peer = TestServer::start_peer(program, fresh_dir(), &options);
    let (mut ours, mut theirs) = (server.connect(), peer.connect());
    let version = version_of(&mut theirs);
    ours.line(&format!("CONFIG SET rdb-version {version}"));
    let keys = fill(&mut ours);
    for key in &keys {
        let bytes = payload(&mut ours, key);
        assert_eq!(
            restore(&mut theirs, key, "0", &bytes, &[]),
            "+OK",
            "{key} {program:?}"
        );
        let bytes = payload(&mut theirs, key);
        assert_eq!(
            restore(&mut ours, "back", "0", &bytes, &["REPLACE"]),
            "+OK",
            "{key} {program:?}"
        );
        let expected = digest(&mut ours, key);
        assert_eq!(digest(&mut theirs, key), expected, "{key} {program:?}");
        assert_eq!(digest(&mut ours, "back"), expected, "{key} {program:?}");
    }
    ours.line("DEL back");
    if version >= SAME_ENCODINGS {
        assert_eq!(encodings(&mut ours, &keys), encodings(&mut theirs, &keys));
        same_payloads(&mut ours, &mut theirs, &keys);
    }
    // And as whole keys, in both directions.
    theirs.line("FLUSHALL");
    let all = format!("KEYS {}", keys.join(" "));
    let move_to = |port: u16| format!("MIGRATE 127.0.0.1 {port} \"\" 0 5000 {all}");
    let before: Vec<String> = keys.iter().map(|key| digest(&mut ours, key)).collect();
    assert_eq!(ours.line(&move_to(peer.port())), "+OK");
    assert_eq!(theirs.line(&move_to(server.port())), "+OK");
    let after: Vec<String> = keys.iter().map(|key| digest(&mut ours, key)).collect();
    assert_eq!(before, after);
}

/// Without compression, whose choices are free, payloads are the same byte for byte where nothing
/// is unordered.
fn same_payloads(ours: &mut Client, theirs: &mut Client, keys: &[String]) {
    for client in [&mut *ours, &mut *theirs] {
        client.line("CONFIG SET rdbcompression no");
    }
    for key in keys.iter().filter(|key| !UNORDERED.contains(&key.as_str())) {
        assert!(payload(ours, key) == payload(theirs, key), "{key}");
    }
}

fn encodings(client: &mut Client, keys: &[String]) -> Vec<String> {
    let describe = |key: &String| client.line(&format!("OBJECT ENCODING {key}"));
    keys.iter().map(describe).collect()
}

#[test]
fn two_servers_hold_the_same_after_all_was_moved_by_hand() {
    let pair = Pair::start();
    let (mut from, mut to) = (pair.from.connect(), pair.to.connect());
    for key in fill(&mut from) {
        let bytes = payload(&mut from, &key);
        assert_eq!(restore(&mut to, &key, "0", &bytes, &[]), "+OK");
    }
    assert_eq!(dump(&mut from), dump(&mut to));
}

/// Values that no version of the format can represent, and values that only some can.
fn fill_ours(client: &mut Client) {
    let far = FAR_MS;
    for line in [
        "SADD s a b c",
        &format!("SPEXPIREAT s {far} MEMBERS 1 b"),
        "ZADD z 1 a 2 b",
        &format!("ZPEXPIREAT z {far} MEMBERS 2 a b"),
        "XADD x 1-1 f v",
        "XADD x 2-1 f v",
        "XGROUP CREATE x g 0",
        "XREADGROUP GROUP g alice STREAMS x >",
        "XNACK x g SILENT IDS 1 1-1",
        "XADD p IDMP producer one * f v",
        "HSET h f v g w",
    ] {
        let reply = client.line(line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }
    client.line(&format!("PEXPIREAT s {far}"));
    client.line("SELECT 3");
    client.line("SET elsewhere v");
    client.line("SELECT 0");
}

#[test]
fn reloading_keeps_everything() {
    let server = with_debug();
    let mut client = server.connect();
    fill(&mut client);
    fill_ours(&mut client);
    for versions in ["11 80", "80", "14", "10"] {
        client.run(&["CONFIG", "SET", "rdb-version", versions]);
        let before = (dump(&mut client), client.line("DEBUG DIGEST"));
        client.check(&[("DEBUG RELOAD", "+OK")]);
        let after = (dump(&mut client), client.line("DEBUG DIGEST"));
        assert!(after == before, "{versions}");
        assert!(client.line("XPENDING x g").starts_with("[:2 "));
        client.line("XADD p IDMP producer one * f v");
        assert_eq!(client.line("XLEN p"), ":1", "{versions}");
    }
    client.line(&format!("HPEXPIREAT h {FAR_MS} FIELDS 1 f"));
    let before = dump(&mut client);
    client.check(&[
        ("CONFIG SET rdb-version 11", "+OK"),
        ("CONFIG SET rdb-version 12", "+OK"),
        ("DEBUG RELOAD", "+OK"),
    ]);
    assert_eq!(dump(&mut client), before);
}

#[test]
fn options_of_reloading() {
    let server = with_debug();
    let mut client = server.connect();
    client.check(&[
        ("SET k saved", "+OK"),
        ("SET l saved", "+OK"),
        ("DEBUG RELOAD", "+OK"),
        ("SET k changed", "+OK"),
        ("DEL l", ":1"),
        ("SET m new", "+OK"),
        ("DEBUG RELOAD NOSAVE NOFLUSH MERGE", "+OK"),
        ("MGET k l m", "[\"saved\" \"saved\" \"new\"]"),
        ("SET k changed", "+OK"),
        ("DEBUG RELOAD NOSAVE", "+OK"),
        ("MGET k l m", "[\"saved\" \"saved\" nil]"),
        (
            "DEBUG RELOAD NOSAVE NOFLUSH",
            "-ERR Error trying to load the RDB dump, check server logs.",
        ),
        (
            "DEBUG RELOAD BOGUS",
            "-ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
        ),
    ]);
}

#[test]
fn what_is_pending_for_nobody_needs_a_version_that_has_it() {
    let server = TestServer::start();
    let mut client = server.connect();
    fill_ours(&mut client);
    assert_eq!(
        client.line("DUMP x"),
        "-ERR DUMP payloads of RDB version 80 have no form for pending entries without a consumer"
    );
    client.line("CONFIG SET rdb-version \"11 80 14\"");
    let bytes = payload(&mut client, "x");
    assert_eq!(restore(&mut client, "y", "0", &bytes, &[]), "+OK");
    let [x, y] = ["x", "y"].map(|key| client.line(&format!("XPENDING {key} g - + 10")));
    let owners = |text: &str| text.matches("alice").count();
    assert_eq!((owners(&x), owners(&y)), (1, 1), "{x} {y}");
}
