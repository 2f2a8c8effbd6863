//! Commands on entries of streams; those on consumer groups are in `stream_groups`.

use std::time::{Duration, Instant};

use resp::Value;

use super::harness::{Client, TestServer, dump, show};

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const SYNTAX: &str = "-ERR syntax error";
const INVALID_ID: &str = "-ERR Invalid stream ID specified as stream command argument";
const TOO_SMALL: &str =
    "-ERR The ID specified in XADD is equal or smaller than the target stream top item";
const LAST: &str = "18446744073709551615-18446744073709551615";

#[test]
fn entries_are_appended() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("XADD s NOMKSTREAM 1-1 f v", "nil"),
        ("EXISTS s", ":0"),
        ("XADD s 1-1 f v", r#""1-1""#),
        ("XADD s 1-* f v2", r#""1-2""#),
        ("XADD s 5 f v3 g 12", r#""5-0""#),
        ("XADD s NOMKSTREAM 6-* other v", r#""6-0""#),
        ("XADD s 5-* f v", TOO_SMALL),
        ("XADD s 6-0 f v", TOO_SMALL),
        ("XADD s 0-* f v", TOO_SMALL),
        ("XLEN s", ":4"),
        ("TYPE s", "+stream"),
        ("OBJECT ENCODING s", r#""stream""#),
        (
            "XRANGE s - +",
            r#"[["1-1" ["f" "v"]] ["1-2" ["f" "v2"]] ["5-0" ["f" "v3" "g" "12"]] ["6-0" ["other" "v"]]]"#,
        ),
        ("XADD z 0-* f v", r#""0-1""#),
        (
            "XADD new 0-0 f v",
            "-ERR The ID specified in XADD must be greater than 0-0",
        ),
        ("EXISTS new", ":0"),
        ("XADD new x f v", INVALID_ID),
        ("XADD new - f v", INVALID_ID),
        ("XADD new + f v", INVALID_ID),
        ("XADD new x-* f v", INVALID_ID),
        (
            "XADD new 1-1 f v g",
            "-ERR wrong number of arguments for 'xadd' command",
        ),
        (
            "XADD new MAXLEN 5 1-1",
            "-ERR wrong number of arguments for 'xadd' command",
        ),
        ("EXISTS new", ":0"),
        ("SET string v", "+OK"),
        ("XADD string 1-1 f v", WRONG_TYPE),
        ("XADD string NOMKSTREAM 1-1 f v", WRONG_TYPE),
        ("XLEN string", WRONG_TYPE),
        ("XLEN none", ":0"),
    ]);
    client.line(&format!("XADD end {LAST} f v"));
    client.check(&[
        (
            "XADD end * f v",
            "-ERR The stream has exhausted the last possible ID, unable to add more items",
        ),
        ("XLEN end", ":1"),
    ]);
}

#[test]
fn ids_are_generated() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    let first = client.line("XADD s * f 1");
    let second = client.line("XADD s * f 2");
    let ms = |id: &str| {
        id.trim_matches('"')
            .split('-')
            .next()
            .and_then(|ms| ms.parse().ok())
    };
    let (first, second): (Option<u64>, Option<u64>) = (ms(&first), ms(&second));
    assert!(first.is_some_and(|ms| ms > 1_600_000_000_000));
    assert!(first <= second);
    // Never backward in time, even when the last one is in the future.
    client.check(&[
        ("XADD s 99999999999999-7 f 3", r#""99999999999999-7""#),
        ("XADD s * f 4", r#""99999999999999-8""#),
        (
            "XADD s 99999999999999-18446744073709551615 f 5",
            r#""99999999999999-18446744073709551615""#,
        ),
        ("XADD s 99999999999999-* f 6", TOO_SMALL),
        ("XADD s * f 6", r#""100000000000000-0""#),
    ]);
    server.assert_replays();
}

#[test]
fn ranges() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    for id in ["1-0", "1-5", "2-0", "3-0"] {
        client.line(&format!("XADD s {id} n {id}"));
    }
    let entry = |id: &str| format!(r#"["{id}" ["n" "{id}"]]"#);
    let entries = |ids: &[&str]| {
        let entries: Vec<String> = ids.iter().map(|id| entry(id)).collect();
        format!("[{}]", entries.join(" "))
    };
    for (range, ids) in [
        ("- +", &["1-0", "1-5", "2-0", "3-0"][..]),
        ("1 1", &["1-0", "1-5"]),
        ("1-1 2", &["1-5", "2-0"]),
        ("(1-0 (3", &["1-5", "2-0", "3-0"]),
        ("(1-0 (3-0", &["1-5", "2-0"]),
        ("2-0 2-0", &["2-0"]),
        ("3 2", &[]),
        ("4 +", &[]),
    ] {
        let (start, end) = range.split_once(' ').expect("two ids");
        assert_eq!(client.line(&format!("XRANGE s {range}")), entries(ids));
        let mut back = ids.to_vec();
        back.reverse();
        let line = format!("XREVRANGE s {end} {start}");
        assert_eq!(client.line(&line), entries(&back));
    }
    client.check(&[
        ("XRANGE s - + COUNT 2", &entries(&["1-0", "1-5"])),
        ("XREVRANGE s + - COUNT 1", &entries(&["3-0"])),
        ("XRANGE s - + COUNT 1 COUNT 2", &entries(&["1-0", "1-5"])),
        ("XRANGE none - +", "[]"),
        ("XRANGE s - + COUNT", SYNTAX),
        ("XRANGE s - + LIMIT 2", SYNTAX),
        ("XRANGE s - + COUNT x", NOT_INTEGER),
        ("XRANGE s x +", INVALID_ID),
        ("XRANGE s - (+", INVALID_ID),
        ("XRANGE s (- +", INVALID_ID),
        ("XRANGE s - (0-0", "-ERR invalid end ID for the interval"),
        (
            &format!("XRANGE s ({LAST} +"),
            "-ERR invalid start ID for the interval",
        ),
        ("SET string v", "+OK"),
        ("XRANGE string - +", WRONG_TYPE),
    ]);
    assert_eq!(
        client.run(&["XRANGE", "s", "-", "+", "COUNT", "0"]),
        Value::NullArray
    );
    assert_eq!(
        client.run(&["XRANGE", "s", "-", "+", "COUNT", "-5"]),
        Value::NullArray
    );
}

#[test]
fn entries_are_deleted() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    for ms in 1..=5 {
        client.line(&format!("XADD s {ms}-0 f v"));
    }
    client.check(&[
        ("XDEL s 2-0 2-0 9-9 1", ":2"),
        ("XDEL s 3-0 x", INVALID_ID),
        ("XLEN s", ":3"),
        ("XDEL none x", ":0"),
        ("XDEL s 3 4 5", ":3"),
        ("XLEN s", ":0"),
        // The stream stays, and so does its last id.
        ("EXISTS s", ":1"),
        ("XRANGE s - +", "[]"),
        ("XADD s 5-0 f v", TOO_SMALL),
        ("XADD s 5-1 f v", r#""5-1""#),
        ("SET string v", "+OK"),
        ("XDEL string 1-1", WRONG_TYPE),
    ]);
    server.assert_replays();
}

fn fill(client: &mut Client, key: &str, entries: u64) {
    for ms in 1..=entries {
        client.line(&format!("XADD {key} {ms}-0 f {ms}"));
    }
}

#[test]
fn streams_are_trimmed() {
    let server = TestServer::start_with(&["--stream-node-max-entries", "10"]);
    let mut client = server.connect();
    fill(&mut client, "s", 55);
    client.check(&[
        ("XTRIM s MAXLEN 60", ":0"),
        ("XTRIM s MAXLEN ~ 42", ":10"),
        ("XTRIM s MAXLEN ~ 0 LIMIT 9", ":0"),
        ("XTRIM s MAXLEN ~ 0 LIMIT 25", ":20"),
        ("XLEN s", ":25"),
        ("XTRIM s MAXLEN = 22", ":3"),
        ("XTRIM s MINID ~ 41", ":7"),
        ("XTRIM s MINID 44-1", ":4"),
        ("XRANGE s - + COUNT 1", r#"[["45-0" ["f" "45"]]]"#),
        // What an addition trims.
        ("XADD s MAXLEN 3 60-0 f v", r#""60-0""#),
        ("XLEN s", ":3"),
        ("XADD s MINID = 60 61-0 f v", r#""61-0""#),
        ("XLEN s", ":2"),
        ("XADD s MAXLEN ~ 1 LIMIT 0 62-0 f v", r#""62-0""#),
        ("XLEN s", ":3"),
        ("XADD s MAXLEN 0 63-0 f v", r#""63-0""#),
        ("XLEN s", ":0"),
        ("XTRIM s MAXLEN 0", ":0"),
        ("XTRIM none MAXLEN 0", ":0"),
    ]);
    server.assert_replays();
}

#[test]
fn what_trims_cannot_be() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    let both = "-ERR syntax error, MAXLEN and MINID options at the same time are not compatible";
    let no_tilde = "-ERR syntax error, LIMIT cannot be used without the special ~ option";
    let no_strategy =
        "-ERR syntax error, LIMIT cannot be used without specifying a trimming strategy";
    client.check(&[
        ("XADD s MAXLEN 1 MINID 1 1-1 f v", both),
        ("XADD s MAXLEN 1 MAXLEN 1 1-1 f v", both),
        ("XTRIM s MINID 1 MAXLEN 1", both),
        (
            "XADD s MAXLEN -1 1-1 f v",
            "-ERR The MAXLEN argument must be >= 0.",
        ),
        ("XADD s MAXLEN x 1-1 f v", NOT_INTEGER),
        ("XADD s MINID x 1-1 f v", INVALID_ID),
        ("XADD s MAXLEN 1 LIMIT 3 1-1 f v", no_tilde),
        ("XADD s MAXLEN = 1 LIMIT 0 1-1 f v", no_tilde),
        ("XADD s LIMIT 3 1-1 f v", no_strategy),
        (
            "XADD s MAXLEN ~ 1 LIMIT -3 1-1 f v",
            "-ERR The LIMIT argument must be >= 0.",
        ),
        ("XADD s MAXLEN ~ 1 LIMIT x 1-1 f v", NOT_INTEGER),
        ("XTRIM s LIMIT 3", no_strategy),
        (
            "XTRIM s MAXLEN",
            "-ERR wrong number of arguments for 'xtrim' command",
        ),
        ("XTRIM s LIMIT 3 LIMIT 3", no_strategy),
        (
            "XTRIM s LIMIT 0 LIMIT 0",
            "-ERR syntax error, XTRIM must be called with a trimming strategy",
        ),
        ("XTRIM s MAXLEN 3 x", SYNTAX),
        ("XTRIM s MAXLEN 3 NOMKSTREAM", SYNTAX),
        ("XTRIM s MAXLEN 3 MAXLEN", SYNTAX),
        ("EXISTS s", ":0"),
        ("SET string v", "+OK"),
        ("XTRIM string MAXLEN 1", WRONG_TYPE),
        ("XTRIM string MAXLEN 1 x", SYNTAX),
    ]);
}

#[test]
fn a_plus_is_the_last_entry_that_is_there() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    fill(&mut client, "s", 3);
    let read = |client: &mut Client| client.line("XREAD STREAMS s +");
    let entry = |id: &str, value: &str| format!(r#"[["s" [["{id}" ["f" "{value}"]]]]]"#);
    assert_eq!(read(&mut client), entry("3-0", "3"));
    client.line("XDEL s 3-0");
    assert_eq!(read(&mut client), entry("2-0", "2"));
    let line = "XREAD COUNT 5 BLOCK 1000 STREAMS s +";
    assert_eq!(client.line(line), entry("2-0", "2"));
    client.line("XTRIM s MAXLEN 0");
    assert_eq!(read(&mut client), "nil-array");
    assert_eq!(client.line("XREAD STREAMS none +"), "nil-array");
}

/// Setting the id adds and removes no entry: watching clients see no change, as in Redis.
#[test]
fn setting_the_last_id_does_not_fail_a_transaction() {
    let server = TestServer::start_twice();
    let (mut client, mut other) = (server.connect(), server.connect());
    fill(&mut client, "s", 1);
    for (command, reply) in [("XSETID s 5-0", "[+PONG]"), ("XADD s 6-0 f 6", "nil-array")] {
        client.check(&[("WATCH s", "+OK"), ("MULTI", "+OK"), ("PING", "+QUEUED")]);
        other.line(command);
        assert_eq!(client.line("EXEC"), reply, "{command}");
    }
    assert_eq!(server.logs_of(&["XSETID s 9-0"]), ["XSETID s 9-0"]);
    server.assert_replays();
}

#[test]
fn the_last_id_can_be_set() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    fill(&mut client, "s", 5);
    client.check(&[
        ("XSETID none 1-1", "-ERR no such key"),
        (
            "XSETID s 4-0",
            "-ERR The ID specified in XSETID is smaller than the target stream top item",
        ),
        ("XSETID s 200-7", "+OK"),
        ("XADD s 200-* f v", r#""200-8""#),
        (
            "XSETID s 300 ENTRIESADDED 5",
            "-ERR The entries_added specified in XSETID is smaller than the target stream length",
        ),
        (
            "XSETID s 300 ENTRIESADDED -1",
            "-ERR entries_added must be positive",
        ),
        ("XSETID s 300 ENTRIESADDED x", NOT_INTEGER),
        ("XSETID s 300 ENTRIESADDED", SYNTAX),
        (
            "XSETID s 300 MAXDELETEDID 300-1",
            "-ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
        ),
        ("XSETID s 300-0 ENTRIESADDED 100 MAXDELETEDID 250", "+OK"),
        (
            "XSETID s 249",
            "-ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
        ),
        ("XSETID s x", INVALID_ID),
        ("SET string v", "+OK"),
        ("XSETID string 1-1", WRONG_TYPE),
        ("XADD s 300-0 f v", TOO_SMALL),
    ]);
    server.assert_replays();
}

#[test]
fn several_streams_are_read() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    fill(&mut client, "s", 3);
    client.check(&[
        ("XADD t 7-1 g w", r#""7-1""#),
        (
            "XREAD COUNT 2 STREAMS s t none 1 0 0",
            r#"[["s" [["2-0" ["f" "2"]] ["3-0" ["f" "3"]]]] ["t" [["7-1" ["g" "w"]]]]]"#,
        ),
        ("XREAD STREAMS s t 3 7", r#"[["t" [["7-1" ["g" "w"]]]]]"#),
        ("XREAD STREAMS s +", r#"[["s" [["3-0" ["f" "3"]]]]]"#),
        ("XREAD COUNT 0 STREAMS s 2", r#"[["s" [["3-0" ["f" "3"]]]]]"#),
        ("XREAD STREAMS none +", "nil-array"),
        ("XREAD STREAMS s", "-ERR wrong number of arguments for 'xread' command"),
        (
            "XREAD STREAMS s t 0",
            "-ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be specified.",
        ),
        (
            "XREAD STREAMS s >",
            "-ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
        ),
        (
            "XREAD GROUP g c STREAMS s 0",
            "-ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
        ),
        (
            "XREAD NOACK STREAMS s 0",
            "-ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
        ),
        ("XREAD COUNT x STREAMS s 0", NOT_INTEGER),
        ("XREAD BLOCK x STREAMS s 0", "-ERR timeout is not an integer or out of range"),
        ("XREAD BLOCK -1 STREAMS s 0", "-ERR timeout is negative"),
        ("XREAD BLOCK 9223372036854775807 STREAMS s 0", "-ERR timeout is out of range"),
        ("XREAD COUNT 1 s 0", SYNTAX),
        ("XREAD STREAMS s x", INVALID_ID),
        ("XREAD STREAMS s -", INVALID_ID),
        ("SET string v", "+OK"),
        ("XREAD STREAMS s string 0 0", WRONG_TYPE),
    ]);
    for words in [
        &["XREAD", "STREAMS", "s", "$"][..],
        &["XREAD", "STREAMS", "s", LAST],
    ] {
        assert_eq!(client.run(words), Value::NullArray);
    }
    let mut resp3 = server.connect_resp3();
    assert_eq!(
        resp3.line("XREAD STREAMS s t 2 0"),
        r#"{"s": [["3-0" ["f" "3"]]] "t": [["7-1" ["g" "w"]]]}"#
    );
    assert_eq!(resp3.run(&["XREAD", "STREAMS", "s", "$"]), Value::Null);
}

fn waiting(server: &TestServer, line: &str) -> Client {
    let mut client = server.connect();
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let blocked = |other: &mut Client| {
        let info = other.run(&["INFO", "clients"]);
        let text = String::from_utf8_lossy(info.as_bytes().expect("a text")).into_owned();
        let count = text
            .lines()
            .find_map(|line| line.strip_prefix("blocked_clients:"));
        count
            .and_then(|count| count.trim().parse::<u64>().ok())
            .expect("a count")
    };
    let mut other = server.connect();
    let before = blocked(&mut other);
    client.send(&words);
    let began = Instant::now();
    while blocked(&mut other) == before {
        assert!(began.elapsed() < Duration::from_secs(10), "{line}");
        std::thread::sleep(Duration::from_millis(2));
    }
    client
}

#[test]
fn readers_wait_for_entries() {
    let server = TestServer::start_twice();
    let mut feeder = server.connect();
    fill(&mut feeder, "s", 2);
    let mut newest = waiting(&server, "XREAD BLOCK 0 STREAMS s none $ $");
    let mut behind = waiting(&server, "XREAD BLOCK 0 COUNT 1 STREAMS s 5-0");
    let mut last = waiting(&server, "XREAD BLOCK 10000 STREAMS none +");
    feeder.check(&[("XADD s 3-0 f 3", r#""3-0""#)]);
    assert_eq!(show(&newest.read()), r#"[["s" [["3-0" ["f" "3"]]]]]"#);
    // Another type in the place of the stream wakes no client.
    feeder.check(&[
        ("DEL s", ":1"),
        ("SET s v", "+OK"),
        ("DEL s", ":1"),
        ("MULTI", "+OK"),
        ("XADD s 5-0 f v", "+QUEUED"),
        ("XADD s 6-0 f v", "+QUEUED"),
        ("XADD s 7-0 f v", "+QUEUED"),
        ("EXEC", r#"["5-0" "6-0" "7-0"]"#),
    ]);
    assert_eq!(show(&behind.read()), r#"[["s" [["6-0" ["f" "v"]]]]]"#);
    feeder.check(&[("RENAME s none", "+OK")]);
    assert_eq!(show(&last.read()), r#"[["none" [["7-0" ["f" "v"]]]]]"#);
    // In a transaction the command does not block.
    feeder.check(&[
        ("MULTI", "+OK"),
        ("XREAD BLOCK 0 STREAMS none $", "+QUEUED"),
        ("EXEC", "[nil-array]"),
    ]);
    let began = Instant::now();
    assert_eq!(
        feeder.run(&["XREAD", "BLOCK", "20", "STREAMS", "none", "$"]),
        Value::NullArray
    );
    assert!(began.elapsed() >= Duration::from_millis(19));
}

#[test]
fn the_log_has_what_happened() {
    let server = TestServer::start_with(&["--stream-node-max-entries", "2"]);
    let logged = server.logs_of(&[
        "XADD s 1-1 f v",
        "XADD s 1-* f v",
        "XADD s NOMKSTREAM 2-0 f v",
        "XADD s MAXLEN ~ 2 LIMIT 10 3-0 f v",
        "XADD s MINID ~ 3 3-* f v",
        "XADD none NOMKSTREAM 1-1 f v",
        "XTRIM s MAXLEN 100",
        "XADD s 5-0 f v",
        "XTRIM s MINID ~ 4",
        "XTRIM s MAXLEN = 1",
        "XADD s MINID ~ 9 8-0 f v",
        "XDEL s 9-9",
        "XADD s 8-5 f v",
        "XDEL s 8-5 9-9",
        "XREAD STREAMS s 0",
        "XSETID s 9-0",
    ]);
    assert_eq!(
        logged,
        [
            "XADD s 1-1 f v",
            "XADD s 1-2 f v",
            "XADD s NOMKSTREAM 2-0 f v",
            "XADD s MAXLEN = 2 LIMIT 10 3-0 f v",
            "XADD s MINID = 2-0 3-1 f v",
            "XADD s 5-0 f v",
            "XTRIM s MINID = 3-1",
            "XTRIM s MAXLEN = 1",
            "XADD s MINID = 18446744073709551615-18446744073709551615 8-0 f v",
            "XADD s 8-5 f v",
            "XDEL s 8-5 9-9",
            "XSETID s 9-0",
        ]
    );
    server.assert_replays();
}

#[test]
fn streams_survive() {
    let server = TestServer::start_with(&["--enable-debug-command", "yes"]);
    let mut client = server.connect();
    fill(&mut client, "s", 250);
    client.check(&[
        ("XADD s 300-5 a 1 b 2 c 3", r#""300-5""#),
        ("XDEL s 7-0 100-0 300-5", ":3"),
        ("XTRIM s MAXLEN 180", ":68"),
        ("XADD empty 1-1 f v", r#""1-1""#),
        ("XTRIM empty MAXLEN 0", ":1"),
        ("XADD gone 9-9 f v", r#""9-9""#),
        ("XDEL gone 9-9", ":1"),
        ("PEXPIREAT s 99999999999999", ":1"),
        ("COPY s t", ":1"),
    ]);
    let before = dump(&mut client);
    let digest = client.line("DEBUG DIGEST");
    server.assert_replays();
    client.check(&[("DEBUG RELOAD", "+OK")]);
    assert_eq!(dump(&mut client), before);
    assert_eq!(client.line("DEBUG DIGEST"), digest);
    assert!(client.line("BGREWRITEAOF").starts_with('+'));
    client.check(&[
        ("DEBUG LOADAOF", "+OK"),
        ("XADD s 300-5 f v", TOO_SMALL),
        ("XADD gone 9-9 f v", TOO_SMALL),
        ("XADD empty 1-1 f v", TOO_SMALL),
        ("XADD t 300-6 f v", r#""300-6""#),
    ]);
    assert!(client.integer("MEMORY USAGE s") > 500);
}

#[test]
fn trims_heed_what_is_pending() {
    let server = TestServer::start_with(&["--stream-node-max-entries", "2"]);
    let mut client = server.connect();
    for key in ["keep", "remove", "spare", "nodes"] {
        fill(&mut client, key, 6);
        client.check(&[(&format!("XGROUP CREATE {key} g 0"), "+OK")]);
        client.line(&format!("XREADGROUP GROUP g c COUNT 4 STREAMS {key} >"));
        client.check(&[(&format!("XACK {key} g 1-0 2-0 4-0"), ":3")]);
    }
    client.check(&[
        ("XTRIM keep MAXLEN 2 KEEPREF", ":4"),
        ("XPENDING keep g", r#"[:1 "3-0" "3-0" [["c" "1"]]]"#),
        ("XTRIM remove DELREF MAXLEN 2", ":4"),
        ("XPENDING remove g", "[:0 nil nil nil-array]"),
        // 3-0 is pending, and 5-0 and 6-0 have not been read.
        ("XTRIM spare MAXLEN 0 ACKED", ":3"),
        ("XADD spare ACKED MINID 9 7-0 f v", r#""7-0""#),
        (
            "XRANGE spare - + COUNT 2",
            r#"[["3-0" ["f" "3"]] ["5-0" ["f" "5"]]]"#,
        ),
        ("XLEN spare", ":4"),
        // Whole nodes only: the second has an entry that stays.
        ("XTRIM nodes MAXLEN ~ 0 ACKED", ":2"),
        ("XRANGE nodes - + COUNT 1", r#"[["3-0" ["f" "3"]]]"#),
    ]);
    server.assert_replays();
}

#[test]
fn groups_survive_a_rewrite_of_the_log() {
    let server = TestServer::start_with(&["--enable-debug-command", "yes"]);
    let mut client = server.connect();
    fill(&mut client, "s", 10);
    client.check(&[
        ("XGROUP CREATE s g 0", "+OK"),
        ("XGROUP CREATE s h 5-0 ENTRIESREAD 5", "+OK"),
        ("XGROUP CREATE empty g $ MKSTREAM", "+OK"),
        ("XGROUP CREATECONSUMER s h idle", ":1"),
    ]);
    client.line("XREADGROUP GROUP g c COUNT 6 STREAMS s >");
    client.line("XREADGROUP GROUP h d COUNT 2 STREAMS s >");
    client.check(&[
        ("XACK s g 4-0", ":1"),
        ("XDEL s 5-0 10-0", ":2"),
        ("XTRIM s MINID 3", ":2"),
    ]);
    let before = dump(&mut client);
    client.check(&[("DEBUG RELOAD", "+OK")]);
    assert_eq!(dump(&mut client), before);
    assert!(client.line("BGREWRITEAOF").starts_with('+'));
    client.check(&[("DEBUG LOADAOF", "+OK")]);
    assert_eq!(dump(&mut client), before);
}
