//! Commands on strings.

use std::time::{SystemTime, UNIX_EPOCH};

use super::harness::{TestServer, show};

const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const SYNTAX: &str = "-ERR syntax error";

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(now.expect("a time after 1970").as_millis()).expect("a time before 292277024")
}

#[test]
fn set_and_get() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("GET k", "nil"),
        ("SET k v", "+OK"),
        ("GET k", "\"v\""),
        ("SET k w GET", "\"v\""),
        ("SET new w GET", "nil"),
        ("SET k x NX", "nil"),
        ("SET k x NX GET", "\"w\""),
        ("SET missing x XX", "nil"),
        ("SET missing x XX GET", "nil"),
        ("EXISTS missing", ":0"),
        ("SET k y XX", "+OK"),
        ("GET k", "\"y\""),
        ("SET k", "-ERR wrong number of arguments for 'set' command"),
        ("SET k v NX XX", SYNTAX),
        ("SET k v EX", SYNTAX),
        ("SET k v EX 1 PX 1", SYNTAX),
        ("SET k v EX 10 KEEPTTL", SYNTAX),
        ("SET k v PERSIST", SYNTAX),
        ("SET k v EX abc", NOT_INTEGER),
        ("SET k v EX 0", "-ERR invalid expire time in 'set' command"),
        ("SET k v PX -1", "-ERR invalid expire time in 'set' command"),
        (
            "SET k v EX 9223372036854775807",
            "-ERR invalid expire time in 'set' command",
        ),
        (
            "SET k v PX 9223372036854775807",
            "-ERR invalid expire time in 'set' command",
        ),
        ("GET k", "\"y\""),
    ]);
    let mut resp3 = server.connect_resp3();
    resp3.check(&[("GET none", "null"), ("GET k", "\"y\""), ("SET k z", "+OK")]);
}

#[test]
fn set_with_lifetimes() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.line("SET k v EX 100");
    assert!((99_000..=100_000).contains(&client.integer("PTTL k")));
    client.line("SET k w KEEPTTL");
    assert!((99_000..=100_000).contains(&client.integer("PTTL k")));
    client.check(&[("SET k w", "+OK"), ("TTL k", ":-1")]);
    client.check(&[
        ("SET k v PXAT 99999999999999", "+OK"),
        ("PEXPIRETIME k", ":99999999999999"),
        ("SET k v EXAT 9999999999", "+OK"),
        ("EXPIRETIME k", ":9999999999"),
        ("SET k v PXAT 1", "+OK"),
        ("GET k", "nil"),
        ("SET none v PXAT 1 GET", "nil"),
        ("EXISTS none", ":0"),
        ("SETEX k 100 v", "+OK"),
        ("TTL k", ":100"),
        ("PSETEX k 100000 w", "+OK"),
        ("GETSET k x", "\"w\""),
        ("TTL k", ":-1"),
        ("SETEX k 0 v", "-ERR invalid expire time in 'setex' command"),
        (
            "PSETEX k -5 v",
            "-ERR invalid expire time in 'psetex' command",
        ),
        ("SETEX k x v", NOT_INTEGER),
        ("GET k", "\"x\""),
    ]);
    client.line("SET soon v PX 20");
    std::thread::sleep(std::time::Duration::from_millis(40));
    client.check(&[("GET soon", "nil"), ("TTL soon", ":-2")]);
}

#[test]
fn conditions_on_the_present_value() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("SET k v IFEQ v", "nil"),
        ("SET k v IFNE x", "+OK"),
        ("SET k w IFEQ x", "nil"),
        ("SET k w IFEQ x GET", "\"v\""),
        ("SET k w IFEQ v", "+OK"),
        ("SET k 12 IFNE w", "nil"),
        ("SET k 12 IFNE v GET", "\"w\""),
        ("SET k 13 IFEQ 12", "+OK"),
        ("SET k v NX IFEQ 13", SYNTAX),
        ("SET k v IFEQ", SYNTAX),
        ("SET k v IFDEQ abc", "-ERR must be exactly 16 hexadecimal characters"),
        ("DIGEST none", "nil"),
        ("SET k v8lf0c11xh8ymlqztfd3eeq16kfn4sspw7fqmnuuq3k3t75em5wdizgcdw7uc26nnf961u2jkfzkjytls2kwlj7626sd", "+OK"),
        ("DIGEST k", "\"00006c38adf31777\""),
        ("SET k a IFDEQ 00006c38adf31778", "nil"),
        ("SET k a IFDNE 00006C38ADF31777", "nil"),
        ("SET k a IFDEQ 00006C38ADF31777", "+OK"),
        ("SET none a IFDEQ 00006C38ADF31777", "nil"),
        ("SET none a IFDNE 00006C38ADF31777", "+OK"),
        ("DELIFEQ k b", ":0"),
        ("DELIFEQ k a", ":1"),
        ("DELIFEQ k a", ":0"),
        ("SET k 5", "+OK"),
        ("DELEX k IFEQ 6", ":0"),
        ("DELEX k IFNE 5", ":0"),
        (
            "DELEX k WHAT 5",
            "-ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE",
        ),
        ("DELEX k IFEQ", "-ERR wrong number of arguments for 'delex' command"),
        ("DELEX k IFDEQ 5", "-ERR must be exactly 16 hexadecimal characters"),
        ("DELEX k IFDNE 0000000000000000", ":1"),
        ("DELEX k", ":0"),
        ("DELEX none", ":1"),
    ]);
    // The key and its type come before the form of the condition.
    let not_a_string = "-ERR Key should be of string type if conditions are specified";
    client.check(&[
        ("DELEX none IFDEQ abc", ":0"),
        ("DELEX none WHAT abc", ":0"),
        ("SET none a IFDEQ abc", "nil"),
        ("SET none a IFDEQ abc GET", "nil"),
        ("SET none a IFDNE abc", "+OK"),
        ("RPUSH list a", ":1"),
        ("DELEX list IFDEQ abc", not_a_string),
        ("DELEX list WHAT abc", not_a_string),
        (
            "DELEX list IFEQ",
            "-ERR wrong number of arguments for 'delex' command",
        ),
        ("SET list a IFDEQ abc", WRONG_TYPE),
        ("SET list a IFDEQ abc GET", WRONG_TYPE),
        ("DELEX list", ":1"),
    ]);
}

#[test]
fn getdel_and_getex() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("GETDEL k", "nil"),
        ("SET k v", "+OK"),
        ("GETDEL k", "\"v\""),
        ("EXISTS k", ":0"),
        ("GETEX k EX 10", "nil"),
        ("SET k v", "+OK"),
        ("GETEX k", "\"v\""),
        ("TTL k", ":-1"),
        ("GETEX k EX 100", "\"v\""),
        ("TTL k", ":100"),
        ("GETEX k PERSIST", "\"v\""),
        ("TTL k", ":-1"),
        ("GETEX k PXAT 99999999999999", "\"v\""),
        ("PEXPIRETIME k", ":99999999999999"),
        ("GETEX k NX", SYNTAX),
        ("GETEX k EX 10 PERSIST", SYNTAX),
        ("GETEX k KEEPTTL", SYNTAX),
        (
            "GETEX k EX 0",
            "-ERR invalid expire time in 'getex' command",
        ),
        ("GETEX k EXAT 1", "\"v\""),
        ("EXISTS k", ":0"),
    ]);
}

#[test]
fn integers() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("INCR k", ":1"),
        ("OBJECT ENCODING k", "\"int\""),
        ("INCRBY k 41", ":42"),
        ("DECR k", ":41"),
        ("DECRBY k 50", ":-9"),
        ("DECRBY k -9", ":0"),
        ("INCRBY k x", NOT_INTEGER),
        ("INCRBY k 1.5", NOT_INTEGER),
        (
            "DECRBY k -9223372036854775808",
            "-ERR decrement would overflow",
        ),
        ("SET k 9223372036854775807", "+OK"),
        ("INCR k", "-ERR increment or decrement would overflow"),
        ("DECRBY k 9223372036854775807", ":0"),
        ("SET k -9223372036854775808", "+OK"),
        ("DECR k", "-ERR increment or decrement would overflow"),
        ("GET k", "\"-9223372036854775808\""),
        ("SET k \" 11\"", "+OK"),
        ("INCR k", NOT_INTEGER),
        ("SET k 010", "+OK"),
        ("INCR k", NOT_INTEGER),
        ("SET k 1", "+OK"),
        ("APPEND k 2", ":2"),
        ("OBJECT ENCODING k", "\"raw\""),
        ("INCR k", ":13"),
        ("OBJECT ENCODING k", "\"int\""),
        ("SET k 1 EX 100", "+OK"),
        ("INCR k", ":2"),
        ("TTL k", ":100"),
    ]);
}

#[test]
fn floats() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("INCRBYFLOAT k 10.5", "\"10.5\""),
        ("INCRBYFLOAT k 0.1", "\"10.6\""),
        ("INCRBYFLOAT k -5.0e3", "\"-4989.39999999999999991\""),
        ("SET k 3", "+OK"),
        ("INCRBYFLOAT k 1.1", "\"4.1\""),
        ("INCRBYFLOAT k 0.9", "\"5\""),
        ("OBJECT ENCODING k", "\"embstr\""),
        ("INCRBYFLOAT k x", "-ERR value is not a valid float"),
        (
            "INCRBYFLOAT k inf",
            "-ERR increment would produce NaN or Infinity",
        ),
        ("SET k abc", "+OK"),
        ("INCRBYFLOAT k 1", "-ERR value is not a valid float"),
        ("SET k 1 EX 100", "+OK"),
        ("INCRBYFLOAT k 1", "\"2\""),
        ("TTL k", ":100"),
    ]);
}

#[test]
fn increx_counts_within_bounds() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("INCREX k", "[:1 :1]"),
        ("INCREX k BYINT 9 UBOUND 10", "[:10 :9]"),
        ("INCREX k BYINT 1 UBOUND 10", "[:10 :0]"),
        ("INCREX k BYINT 5 UBOUND 12 SATURATE", "[:12 :2]"),
        (
            "INCREX k BYINT 5 LBOUND 20 UBOUND 0",
            "-ERR LBOUND can't be greater than UBOUND",
        ),
        (
            "INCREX k BYINT abc",
            "-ERR Increment is not an integer or out of range",
        ),
        (
            "INCREX k LBOUND 1.5",
            "-ERR LBOUND is not an integer or out of range",
        ),
        (
            "INCREX k BYFLOAT abc",
            "-ERR Increment is not a valid float",
        ),
        (
            "INCREX k BYFLOAT inf",
            "-ERR BYFLOAT increment cannot be Infinity",
        ),
        (
            "INCREX k BYFLOAT 1 UBOUND x",
            "-ERR UBOUND is not a valid float",
        ),
        ("INCREX k ENX", "-ERR ENX flag requires an expiration"),
        ("INCREX k PERSIST ENX", SYNTAX),
        ("INCREX k BYINT 1 BYFLOAT 1", SYNTAX),
        ("INCREX k EX 1 EX 2", SYNTAX),
        ("INCREX k UBOUND", SYNTAX),
        (
            "INCREX k EX 0",
            "-ERR invalid expire time in 'increx' command",
        ),
        ("INCREX k BYFLOAT 0.5", "[\"12.5\" \"0.5\"]"),
        ("INCREX k", NOT_INTEGER),
        (
            "INCREX k BYFLOAT 10 UBOUND 15.5 SATURATE",
            "[\"15.5\" \"3\"]",
        ),
        ("INCREX none UBOUND 0", "[:0 :0]"),
        ("EXISTS none", ":0"),
        ("INCREX none XX", "[:0 :0]"),
        ("INCREX none NX EX 100 ENX", "[:1 :1]"),
        ("INCREX none NX", "[:1 :0]"),
        ("INCREX none EX 500 ENX", "[:2 :1]"),
        ("TTL none", ":100"),
        ("INCREX none PERSIST", "[:3 :1]"),
        ("TTL none", ":-1"),
        ("INCREX none EXAT 1", "[:4 :1]"),
        ("EXISTS none", ":0"),
        ("SET k 9223372036854775800", "+OK"),
        (
            "INCREX k BYINT 9223372036854775800",
            "[:9223372036854775800 :0]",
        ),
        ("INCREX k BYINT 10 SATURATE", "[:9223372036854775807 :7]"),
        (
            "INCREX k BYINT -5 UBOUND -9223372036854775808 SATURATE",
            "-ERR applied increment would overflow",
        ),
        ("SET k inf", "+OK"),
        ("INCREX k BYFLOAT 1", "-ERR value cannot be Infinity"),
    ]);
    let mut resp3 = server.connect_resp3();
    resp3.check(&[("SET k 1.5", "+OK"), ("INCREX k BYFLOAT 1", "[,2.5 ,1]")]);
}

#[test]
fn parts_of_strings() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("STRLEN k", ":0"),
        ("APPEND k hello", ":5"),
        ("APPEND k \" world\"", ":11"),
        ("STRLEN k", ":11"),
        ("GETRANGE k 0 4", "\"hello\""),
        ("GETRANGE k -5 -1", "\"world\""),
        ("GETRANGE k 5 1", "\"\""),
        (
            "GETRANGE k -9223372036854775808 9223372036854775807",
            "\"hello world\"",
        ),
        ("GETRANGE k a 1", NOT_INTEGER),
        ("GETRANGE none 0 -1", "\"\""),
        ("SUBSTR k 0 0", "\"h\""),
        ("SETRANGE k 6 there", ":11"),
        ("GET k", "\"hello there\""),
        ("SETRANGE k 0 \"\"", ":11"),
        ("SETRANGE none 5 \"\"", ":0"),
        ("EXISTS none", ":0"),
        ("SETRANGE none 3 x", ":4"),
        ("GET none", "\"\\x00\\x00\\x00x\""),
        ("OBJECT ENCODING none", "\"raw\""),
        ("SETRANGE k -1 x", "-ERR offset is out of range"),
        ("SETRANGE k x x", NOT_INTEGER),
        (
            "SETRANGE k 536870912 x",
            "-ERR string exceeds maximum allowed size (proto-max-bulk-len)",
        ),
        (
            "SETRANGE none 9223372036854775807 x",
            "-ERR string exceeds maximum allowed size (proto-max-bulk-len)",
        ),
        ("SET k 123", "+OK"),
        ("SETRANGE k 1 9", ":3"),
        ("GET k", "\"193\""),
        ("GETRANGE k 0 0", "\"1\""),
    ]);
}

#[test]
fn long_strings() {
    let mut server = TestServer::start();
    let mut client = server.connect();
    let long = vec![b'x'; 300_000];
    client.run_bytes(&[b"SET", b"k", &long]);
    client.run_bytes(&[b"APPEND", b"k", b"end"]);
    assert_eq!(client.integer("STRLEN k"), 300_003);
    assert_eq!(client.line("GETRANGE k -4 -1"), "\"xend\"");
    // A reply that still holds the old bytes must not see the change behind it.
    client.send(&[b"GET", b"k"]);
    client.send(&[b"SETRANGE", b"k", b"0", b"y"]);
    let before = client.read();
    assert!(
        before
            .as_bytes()
            .is_some_and(|bytes| bytes.starts_with(b"xx"))
    );
    assert_eq!(show(&client.read()), ":300003");
    client.check(&[("COPY k copy", ":1"), ("GETRANGE copy 0 1", "\"yx\"")]);
    client.check(&[
        ("SETRANGE copy 0 z", ":300003"),
        ("GETRANGE k 0 1", "\"yx\""),
    ]);
    server.assert_replays();
    server.restart();
    assert_eq!(server.connect().integer("STRLEN k"), 300_003);
}

#[test]
fn several_keys() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("MSET a 1 b 2", "+OK"),
        ("MGET a b c a", "[\"1\" \"2\" nil \"1\"]"),
        (
            "MSET a",
            "-ERR wrong number of arguments for 'mset' command",
        ),
        (
            "MSET a 1 b",
            "-ERR wrong number of arguments for 'mset' command",
        ),
        ("MSETNX c 3 a 9", ":0"),
        ("EXISTS c", ":0"),
        ("MSETNX c 3 d 4 c 5", ":1"),
        ("GET c", "\"5\""),
        ("MSETEX 2 a 1 e 2 XX", ":0"),
        ("MSETEX 2 a 1 e 2 NX", ":0"),
        ("MSETEX 2 a 7 b 8 XX EX 100", ":1"),
        ("MGET a b", "[\"7\" \"8\"]"),
        ("TTL a", ":100"),
        ("MSETEX 1 a 9 KEEPTTL", ":1"),
        ("TTL a", ":100"),
        ("MSETEX 1 a 9", ":1"),
        ("TTL a", ":-1"),
        ("MSETEX 0 a 9", "-ERR invalid numkeys value or out of range"),
        ("MSETEX x a 9", "-ERR invalid numkeys value or out of range"),
        (
            "MSETEX 2147483648 a 9",
            "-ERR invalid numkeys value or out of range",
        ),
        ("MSETEX 2 a 9", SYNTAX),
        ("MSETEX 1 a 9 GET", SYNTAX),
        (
            "MSETEX 1 a 9 EX 0",
            "-ERR invalid expire time in 'msetex' command",
        ),
    ]);
}

#[test]
fn longest_common_subsequences() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("MSET a ohmytext b mynewtext", "+OK"),
        ("LCS a b", "\"mytext\""),
        ("LCS a b LEN", ":6"),
        ("LCS a none", "\"\""),
        (
            "LCS a b IDX",
            "[\"matches\" [[[:4 :7] [:5 :8]] [[:2 :3] [:0 :1]]] \"len\" :6]",
        ),
        (
            "LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN",
            "[\"matches\" [[[:4 :7] [:5 :8] :4]] \"len\" :6]",
        ),
        ("LCS a b IDX MINMATCHLEN -5 NO", SYNTAX),
        (
            "LCS a b LEN IDX",
            "-ERR If you want both the length and indexes, please just use IDX.",
        ),
        ("LCS a b MINMATCHLEN x", NOT_INTEGER),
    ]);
    let mut resp3 = server.connect_resp3();
    resp3.check(&[(
        "LCS a b IDX MINMATCHLEN 4",
        "{\"matches\": [[[:4 :7] [:5 :8]]] \"len\": :6}",
    )]);
}

#[test]
fn what_is_logged() {
    let server = TestServer::start_with(&["--lazyfree-lazy-expire", "no"]);
    let logged = |commands: &[&str]| server.logs_of(commands).join("; ");
    assert_eq!(logged(&["SET k v", "GET k"]), "SET k v");
    assert_eq!(
        logged(&["SET k v PXAT 99999999999999"]),
        "SET k v PXAT 99999999999999"
    );
    assert_eq!(
        logged(&["set k v EXAT 9999999999"]),
        "set k v PXAT 9999999999000"
    );
    assert_eq!(
        logged(&["SET k v XX GET EXAT 9999999999"]),
        "SET k v PXAT 9999999999000"
    );
    assert_eq!(logged(&["SET k v GET KEEPTTL"]), "SET k v KEEPTTL");
    assert_eq!(logged(&["SET k w IFEQ v", "SET k w IFEQ v"]), "SET k w");
    assert_eq!(logged(&["SET k w NX", "SET none w XX"]), "");
    assert_eq!(logged(&["SET k w PXAT 1", "SET k w PXAT 1"]), "DEL k");
    assert_eq!(logged(&["SETNX k v", "SETNX k v"]), "SETNX k v");
    assert_eq!(logged(&["GETSET k w"]), "SET k w");
    assert_eq!(logged(&["GETEX k", "GETEX k PERSIST"]), "");
    assert_eq!(
        logged(&["GETEX k EXAT 9999999999", "GETEX k PERSIST"]),
        "PEXPIREAT k 9999999999000; PERSIST k"
    );
    assert_eq!(logged(&["GETEX k PXAT 1"]), "DEL k");
    assert_eq!(
        logged(&["SET k 1", "GETDEL k", "GETDEL k"]),
        "SET k 1; DEL k"
    );
    assert_eq!(
        logged(&["SET k 1", "INCRBYFLOAT k 0.5"]),
        "SET k 1; SET k 1.5 KEEPTTL"
    );
    assert_eq!(
        logged(&[
            "INCREX k BYFLOAT 1",
            "INCREX k BYFLOAT 9 UBOUND 5",
            "INCREX k BYFLOAT 1 PXAT 99999999999999"
        ]),
        "SET k 2.5 KEEPTTL; SET k 3.5 PXAT 99999999999999"
    );
    assert_eq!(logged(&["INCREX k BYFLOAT 1 PERSIST"]), "SET k 4.5");
    assert_eq!(logged(&["DELIFEQ k x", "DELIFEQ k 4.5"]), "DEL k");
    assert_eq!(logged(&["SET k 1", "DELEX k IFNE 2"]), "SET k 1; DEL k");
    assert_eq!(
        logged(&["MSETEX 2 a 1 b 2 EXAT 9999999999 NX"]),
        "MSETEX 2 a 1 b 2 PXAT 9999999999000 NX"
    );
    assert_eq!(
        logged(&["APPEND k x", "SETRANGE k 3 y", "INCR n"]),
        "APPEND k x; SETRANGE k 3 y; INCR n"
    );

    let before = now_ms();
    let relative = logged(&["SETEX k 100 v", "PSETEX k 100000 v", "SET k v EX 100"]);
    for record in relative.split("; ") {
        let deadline = record
            .strip_prefix("SET k v PXAT ")
            .expect("an absolute time");
        let deadline: i64 = deadline.parse().expect("a number");
        assert!((before + 100_000..before + 120_000).contains(&deadline));
    }
    server.assert_replays();
}

#[test]
fn strings_survive_a_restart() {
    let mut server = TestServer::start_twice();
    let mut client = server.connect();
    for line in [
        "SET int 12345",
        "SET text hello",
        "APPEND raw abc",
        "APPEND raw def",
        "SET volatile v EX 1000",
        "INCRBYFLOAT float 1.25",
        "SETRANGE padded 5 x",
    ] {
        assert!(!client.line(line).starts_with('-'), "{line}");
    }
    let before = super::harness::dump(&mut client);
    server.restart();
    assert_eq!(super::harness::dump(&mut server.connect()), before);
}

#[test]
fn wrong_type() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.line("SADD k a");
    for line in [
        "APPEND k x",
        "DECR k",
        "DECRBY k 1",
        "DELIFEQ k a",
        "DIGEST k",
        "GET k",
        "GETDEL k",
        "GETEX k",
        "GETEX k EX 10",
        "GETRANGE k 0 1",
        "GETSET k x",
        "INCR k",
        "INCRBY k 1",
        "INCRBYFLOAT k 1",
        "INCREX k",
        "SET k x GET",
        "SET k x IFEQ a",
        "SETRANGE k 0 x",
        "STRLEN k",
        "SUBSTR k 0 1",
    ] {
        let expected = "-WRONGTYPE Operation against a key holding the wrong kind of value";
        assert_eq!(client.line(line), expected, "{line}");
    }
    client.check(&[
        ("MGET k none", "[nil nil]"),
        ("SETNX k x", ":0"),
        ("MSETNX k x other y", ":0"),
        (
            "DELEX k IFEQ a",
            "-ERR Key should be of string type if conditions are specified",
        ),
        (
            "LCS k none",
            "-ERR The specified keys must contain string values",
        ),
        ("SMEMBERS k", "[\"a\"]"),
        ("TTL k", ":-1"),
        ("SET k x", "+OK"),
        ("GET k", "\"x\""),
    ]);
    server.assert_replays();
}
