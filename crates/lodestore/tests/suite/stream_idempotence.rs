//! Entries that producers send more than once.

use std::time::{Duration, Instant};

use resp::Value;

use super::harness::{Client, TestServer, dump, show};

const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
/// Options with which DEBUG is allowed.
const DEBUG: &[&str] = &["--enable-debug-command", "yes"];
const SYNTAX: &str = "-ERR syntax error";
const INVALID_ID: &str = "-ERR Invalid stream ID specified as stream command argument";
const TWICE: &str = "-ERR IDMP/IDMPAUTO specified multiple times";

/// A number of XINFO STREAM.
fn info(client: &mut Client, key: &str, name: &str) -> i64 {
    let reply = client.run(&["XINFO", "STREAM", key]);
    let fields = reply.as_elements().expect("an array");
    let at = fields
        .iter()
        .position(|field| field.as_bytes() == Some(name.as_bytes()))
        .expect("the field");
    match fields[at + 1] {
        Value::Integer(number) => number,
        ref other => panic!("{name} is {}", show(other)),
    }
}

/// Producers and ids that are tracked, ids ever added, duplicates.
fn counts(client: &mut Client, key: &str) -> [i64; 4] {
    [
        "pids-tracked",
        "iids-tracked",
        "iids-added",
        "iids-duplicates",
    ]
    .map(|name| info(client, key, name))
}

#[test]
fn what_is_sent_again_is_not_added() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.check(&[
        ("XADD s NOMKSTREAM IDMP p i * f v", "nil"),
        ("EXISTS s", ":0"),
    ]);
    let first = client.line("XADD s IDMP p i * f v");
    client.check(&[
        ("XADD s IDMP p i * f other g w", &first),
        ("XADD s MAXLEN ~ 0 idmp p i NOMKSTREAM * f v", &first),
        ("XLEN s", ":1"),
    ]);
    let second = client.line("XADD s IDMP q i * f v");
    let third = client.line("XADD s KEEPREF IDMP p IDMP MAXLEN 100 * f v");
    assert!(second != first && third != second);
    assert_eq!(counts(&mut client, "s"), [2, 3, 3, 2]);
    // Deleted, it has been added all the same.
    let id = first.trim_matches('"').to_owned();
    client.check(&[
        (&format!("XDEL s {id}"), ":1"),
        ("XADD s IDMP p i * f v", &first),
        ("XLEN s", ":2"),
    ]);
    let info = client.line("XINFO STREAM s FULL");
    let wanted = r#""idmp-duration" :100 "idmp-maxsize" :100 "pids-tracked" :2 "iids-tracked" :3 "iids-added" :3 "iids-duplicates" :3 "entries""#;
    assert!(info.contains(wanted), "{info}");
    let mut other = server.connect_resp3();
    let info = other.line("XINFO STREAM s");
    let wanted = r#""iids-duplicates": :3 "groups": :0"#;
    assert!(info.contains(wanted), "{info}");
    // Inside of a transaction, too.
    client.check(&[
        ("MULTI", "+OK"),
        ("XADD t IDMP p i * f v", "+QUEUED"),
        ("XADD t IDMP p i * f v", "+QUEUED"),
    ]);
    let ids = client.run(&["EXEC"]);
    let ids = ids.as_elements().expect("an array");
    assert_eq!(ids[0], ids[1]);
    server.assert_replays();
}

#[test]
fn ids_are_made_of_the_contents() {
    let server = TestServer::start_with(DEBUG);
    let mut client = server.connect();
    let first = client.line("XADD s IDMPAUTO p * f 1 g 2");
    client.check(&[
        ("XADD s IDMPAUTO p * g 2 f 1", &first),
        ("XADD s idmpauto p * f 1 g 2", &first),
        ("XLEN s", ":1"),
    ]);
    let lines = [
        "XADD s IDMPAUTO p * f 2 g 1",
        "XADD s IDMPAUTO p * f1 '' g 2",
        "XADD s IDMPAUTO p * f 1",
        "XADD s IDMPAUTO p * f 1 f 1 g 2",
        "XADD s IDMPAUTO p * f 1 f 1 f 1",
        "XADD s IDMPAUTO q * f 1 g 2",
        "XADD s * f 1 g 2",
    ];
    for line in lines {
        assert_ne!(client.line(line), first, "{line}");
    }
    client.check(&[("XLEN s", ":8")]);
    assert_eq!(counts(&mut client, "s"), [2, 7, 7, 2]);
    client.check(&[
        ("DEBUG RELOAD", "+OK"),
        ("XADD s IDMPAUTO p * f 1 g 2", &first),
    ]);
    server.assert_replays();
}

#[test]
fn what_is_wrong_with_requests() {
    let server = TestServer::start();
    let mut client = server.connect();
    let only_auto = "-ERR IDMP/IDMPAUTO can be used only with auto-generated IDs";
    client.check(&[
        ("XADD s IDMP p * f v", INVALID_ID),
        ("XADD s IDMP p i 1-1 f v", only_auto),
        ("XADD s IDMP p i 1-* f v", only_auto),
        ("XADD s IDMPAUTO p 1-1 f v", only_auto),
        ("XADD s IDMP p i IDMP q j * f v", TWICE),
        ("XADD s IDMPAUTO p IDMP q j * f v", TWICE),
        ("XADD s IDMPAUTO p IDMPAUTO p * f v", TWICE),
        (
            "XADD s IDMP '' i * f v",
            "-ERR IDMP requires a non-empty producer ID",
        ),
        (
            "XADD s IDMP p '' * f v",
            "-ERR IDMP requires a non-empty idempotent ID",
        ),
        (
            "XADD s IDMPAUTO '' * f v",
            "-ERR IDMPAUTO requires a non-empty producer ID",
        ),
        (
            "XADD s IDMP p i * f",
            "-ERR wrong number of arguments for 'xadd' command",
        ),
        ("EXISTS s", ":0"),
        ("XCFGSET s IDMP-DURATION 5", "-ERR no such key"),
        ("XIDMPRECORD s p i 1-1", "-ERR no such key"),
        ("XADD s 1-1 f v", r#""1-1""#),
        ("XCFGSET s", "-ERR At least one parameter must be specified"),
        ("XCFGSET s IDMP-DURATION", SYNTAX),
        ("XCFGSET s IDMP-DURATION x", NOT_INTEGER),
        ("XCFGSET s IDMP-MAXSIZE 00", NOT_INTEGER),
        ("XCFGSET s IDMP-MAXSIZE x IDMP-DURATION", NOT_INTEGER),
        ("XCFGSET s INVALID", SYNTAX),
        ("XCFGSET s IIDS-ADDED 5", SYNTAX),
        (
            "XCFGSET s IDMP-DURATION 0",
            "-ERR IDMP-DURATION must be between 1 and 86400 seconds",
        ),
        (
            "XCFGSET s IDMP-DURATION 86401",
            "-ERR IDMP-DURATION must be between 1 and 86400 seconds",
        ),
        (
            "XCFGSET s IDMP-MAXSIZE 10001",
            "-ERR IDMP-MAXSIZE must be between 1 and 10000 entries",
        ),
        (
            "XCFGSET s IDMP-MAXSIZE -1",
            "-ERR IDMP-MAXSIZE must be between 1 and 10000 entries",
        ),
        ("XIDMPRECORD s p i x", INVALID_ID),
        (
            "XIDMPRECORD s p i 1-2",
            "-ERR The specified stream ID was deleted or doesn't exist",
        ),
        (
            "XIDMPRECORD s '' i 1-1",
            "-ERR IDMP requires a non-empty producer ID",
        ),
        ("SET string v", "+OK"),
    ]);
    let wrong_type = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    client.check(&[
        ("XADD string IDMP p i * f v", wrong_type),
        ("XCFGSET string IDMP-DURATION 5", wrong_type),
        ("XIDMPRECORD string p i 1-1", wrong_type),
    ]);
    // A failed command changes nothing.
    client.check(&[
        (
            "XADD full 18446744073709551615-18446744073709551615 f v",
            r#""18446744073709551615-18446744073709551615""#,
        ),
        (
            "XADD full IDMP p i * f v",
            "-ERR The stream has exhausted the last possible ID, unable to add more items",
        ),
    ]);
    let info = client.line("XINFO STREAM full");
    assert!(!info.contains("pids-tracked"), "{info}");
    server.assert_replays();
}

#[test]
fn streams_have_limits_of_their_own() {
    let server = TestServer::start_with(DEBUG);
    let mut client = server.connect();
    let old = client.line("XADD s IDMP p old * f v");
    client.check(&[
        ("XCFGSET s IDMP-DURATION 100 IDMP-MAXSIZE 100", "+OK"),
        ("XADD s IDMP p old * f v", &old),
        ("XCFGSET s IDMP-MAXSIZE 3", "+OK"),
    ]);
    assert_eq!(counts(&mut client, "s"), [0, 0, 1, 1]);
    assert_ne!(client.line("XADD s IDMP p old * f v"), old);
    let ids: Vec<String> = (0..3)
        .map(|number| client.line(&format!("XADD s IDMP p i{number} * f v")))
        .collect();
    assert_eq!(counts(&mut client, "s"), [1, 3, 5, 1]);
    client.check(&[
        ("XADD s IDMP p i0 * f v", &ids[0]),
        ("XADD s IDMP p i2 * f v", &ids[2]),
        ("XCFGSET s IDMP-DURATION 7", "+OK"),
    ]);
    assert_eq!(info(&mut client, "s", "idmp-duration"), 7);
    assert_eq!(info(&mut client, "s", "idmp-maxsize"), 3);
    // The limits of a new stream.
    for value in ["0", "86401"] {
        let reply = client.line(&format!("CONFIG SET stream-idmp-duration {value}"));
        assert!(reply.contains("must be between 1 and 86400"), "{reply}");
    }
    let reply = client.line("CONFIG SET stream-idmp-maxsize 10001");
    assert!(reply.contains("must be between 1 and 10000"), "{reply}");
    client.check(&[(
        "CONFIG SET stream-idmp-duration 50 stream-idmp-maxsize 2",
        "+OK",
    )]);
    let first = client.line("XADD t MAXLEN ~ 5 IDMP p a * f v");
    client.line("XADD t IDMPAUTO p * f v");
    client.line("XADD u 1-1 f v");
    client.line("XADD u IDMP p a * f v");
    assert_eq!(info(&mut client, "t", "idmp-maxsize"), 2);
    client.check(&[(
        "CONFIG SET stream-idmp-duration 100 stream-idmp-maxsize 100",
        "+OK",
    )]);
    assert_eq!(info(&mut client, "u", "idmp-duration"), 50);
    let before = dump(&mut client);
    client.check(&[("DEBUG RELOAD", "+OK")]);
    assert_eq!(dump(&mut client), before);
    client.check(&[("XADD t IDMP p a * f v", &first)]);
    server.assert_replays();
}

#[test]
fn ids_are_forgotten_when_their_time_is_over() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.check(&[
        ("XADD s 1-1 f v", r#""1-1""#),
        ("XCFGSET s IDMP-DURATION 1", "+OK"),
    ]);
    let first = client.line("XADD s IDMP p i * f v");
    client.check(&[("XADD s IDMP p i * f v", &first)]);
    // An id ahead of the clock expires as well.
    client.line("XADD future 99999999999999-1 f v");
    client.check(&[("XCFGSET future IDMP-DURATION 1", "+OK")]);
    let ahead = client.line("XADD future IDMP p i * f v");
    let began = Instant::now();
    while counts(&mut client, "s")[1] > 0 || counts(&mut client, "future")[1] > 0 {
        assert!(began.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(began.elapsed() > Duration::from_millis(900));
    assert_eq!(counts(&mut client, "s"), [0, 0, 1, 1]);
    let second = client.line("XADD s IDMP p i * f v");
    assert!(second != first);
    client.check(&[("XADD s IDMP p i * f v", &second), ("XLEN s", ":3")]);
    assert_ne!(client.line("XADD future IDMP p i * f v"), ahead);
    // The time of an id that XIDMPRECORD adds is that of its entry's id.
    client.check(&[("XIDMPRECORD s late i 1-1", "+OK"), ("XLEN s", ":3")]);
    assert_eq!(counts(&mut client, "s"), [1, 1, 3, 2]);
    // An empty stream stays.
    client.check(&[("XTRIM s MAXLEN 0", ":3")]);
    std::thread::sleep(Duration::from_millis(1200));
    client.check(&[("EXISTS s", ":1")]);
    assert_eq!(counts(&mut client, "s"), [0, 0, 3, 2]);
}

#[test]
fn ids_survive_restarts_and_copies() {
    let mut server = TestServer::start_with(DEBUG);
    let mut client = server.connect();
    let mut ids = Vec::new();
    for number in 0..20 {
        let line = format!(
            "XADD s MAXLEN ~ 15 IDMP p{} i{number} * f {number}",
            number % 3
        );
        let id = client.line(&line);
        client.check(&[(&line, &id)]);
        ids.push((line, id));
    }
    client.line("XADD s IDMP bin \"\\x00\\xff\" * f v");
    let id = ids[7].1.trim_matches('"').to_owned();
    client.check(&[
        (&format!("XDEL s {id}"), ":1"),
        ("COPY s t", ":1"),
        ("RENAME t u", "+OK"),
        ("XCFGSET s IDMP-MAXSIZE 50", "+OK"),
        (
            "XADD s IDMP p i 1-1 f v",
            "-ERR IDMP/IDMPAUTO can be used only with auto-generated IDs",
        ),
    ]);
    assert_eq!(counts(&mut client, "u"), [4, 21, 21, 20]);
    assert_eq!(counts(&mut client, "s"), [0, 0, 21, 20]);
    let last = client.line("XADD s IDMP p i * f v");
    let before = dump(&mut client);
    server.assert_replays();
    client.check(&[("DEBUG RELOAD", "+OK")]);
    assert_eq!(dump(&mut client), before);
    assert!(client.line("BGREWRITEAOF").starts_with('+'));
    client.check(&[("DEBUG LOADAOF", "+OK")]);
    assert_eq!(dump(&mut client), before);
    client.check(&[("XADD s IDMP p i * f v", &last)]);
    for (line, id) in &ids {
        client.check(&[(&line.replace("XADD s", "XADD u"), id)]);
    }
    let used = client.integer("MEMORY USAGE u");
    client.check(&[("XCFGSET u IDMP-MAXSIZE 1", "+OK")]);
    assert!(client.integer("MEMORY USAGE u") < used - 20 * 50);
    server.restart();
    let mut client = server.connect();
    client.check(&[("XADD s IDMP p i * f v", &last)]);
}

#[test]
fn replies_have_bounds() {
    let server = TestServer::start();
    let mut client = server.connect();
    for key in ["a", "b", "c"] {
        for ms in 1..=4 {
            client.line(&format!("XADD {key} {ms}-0 f v"));
        }
        client.line(&format!("XGROUP CREATE {key} g 0"));
    }
    let entry = |ms: u64| format!(r#"["{ms}-0" ["f" "v"]]"#);
    let stream = |key: &str, all: &[u64]| {
        let all: Vec<String> = all.iter().map(|ms| entry(*ms)).collect();
        format!(r#"["{key}" [{}]]"#, all.join(" "))
    };
    let two = format!("[{} {}]", stream("a", &[1, 2]), stream("b", &[1]));
    let most = format!("[{}]", stream("a", &[1, 2, 3]));
    let ends = "STREAMS a b c";
    client.check(&[
        (&format!("XREAD COUNT 2 MAXCOUNT 3 {ends} 0 0 0"), &two),
        (&format!("XREAD MAXCOUNT 3 {ends} 0 0 0"), &most),
        (
            &format!("XREAD MAXCOUNT 3 MAXSIZE 100000 {ends} 0 0 0"),
            &most,
        ),
        (
            &format!("XREAD MAXSIZE 1 {ends} 0 0 0"),
            &format!("[{}]", stream("a", &[1])),
        ),
        // Fourteen bytes stand in front of the first entry, thirty-four are an entry.
        (
            &format!("XREAD MAXSIZE 60 {ends} 0 0 0"),
            &format!("[{}]", stream("a", &[1, 2])),
        ),
        (
            &format!("XREAD MAXSIZE 60 {ends} 4 0 0"),
            &format!("[{}]", stream("b", &[1, 2])),
        ),
        (
            &format!("XREAD COUNT 0 MAXCOUNT 1 {ends} 0 0 0"),
            &format!("[{}]", stream("a", &[1])),
        ),
        ("XREAD MAXCOUNT 1 STREAMS a 4", "nil-array"),
        (
            "XREAD MAXCOUNT 0 STREAMS a 0",
            "-ERR MAXCOUNT must be a positive integer",
        ),
        ("XREAD MAXCOUNT x STREAMS a 0", NOT_INTEGER),
        (
            "XREAD MAXSIZE -1 STREAMS a 0",
            "-ERR MAXSIZE must be a positive integer",
        ),
        (
            "XREAD MAXCOUNT 2 COUNT 3 STREAMS a 0",
            "-ERR MAXCOUNT must be greater than or equal to COUNT",
        ),
        (
            "XREAD MAXCOUNT",
            "-ERR wrong number of arguments for 'xread' command",
        ),
    ]);
    let read = |rest: &str| format!("XREADGROUP GROUP g c {rest}");
    client.check(&[
        (&read(&format!("COUNT 2 MAXCOUNT 3 {ends} > > >")), &two),
        (
            &read("MAXSIZE 1 STREAMS a > "),
            &format!("[{}]", stream("a", &[3])),
        ),
        ("XPENDING a g", r#"[:3 "1-0" "3-0" [["c" "3"]]]"#),
        ("XPENDING b g", r#"[:1 "1-0" "1-0" [["c" "1"]]]"#),
        ("XPENDING c g", "[:0 nil nil nil-array]"),
    ]);
    // Entries that are read again are not logged.
    server.assert_replays();
    client.check(&[
        (
            &read(&format!("MAXCOUNT 2 {ends} 0 0 0")),
            &format!("[{}]", stream("a", &[1, 2])),
        ),
        (
            &read(&format!("MAXCOUNT 4 {ends} 0 0 0")),
            &format!("[{} {}]", stream("a", &[1, 2, 3]), stream("b", &[1])),
        ),
        (
            &read("MAXCOUNT 0 STREAMS a >"),
            "-ERR MAXCOUNT must be a positive integer",
        ),
        (
            &read("COUNT 2 MAXCOUNT 1 STREAMS a >"),
            "-ERR MAXCOUNT must be greater than or equal to COUNT",
        ),
        (
            "COMMAND GETKEYS XREADGROUP GROUP g STREAMS MAXCOUNT 1 MAXSIZE 9 STREAMS a b > >",
            r#"["a" "b"]"#,
        ),
    ]);
    let claimed = client.line(&read("MAXCOUNT 2 CLAIM 0 STREAMS a b > >"));
    assert!(
        claimed.contains("1-0") && claimed.contains("2-0"),
        "{claimed}"
    );
    assert!(
        !claimed.contains("3-0") && !claimed.contains(r#""b""#),
        "{claimed}"
    );
}
