//! Commands on consumer groups of streams.

use std::time::{Duration, Instant};

use resp::Value;

use super::harness::{Client, TestServer, dump, show};

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const SYNTAX: &str = "-ERR syntax error";
const INVALID_ID: &str = "-ERR Invalid stream ID specified as stream command argument";
const NO_GROUP: &str = "-NOGROUP No such key 's' or consumer group 'none'";
const NO_GROUP_IN: &str = "-NOGROUP No such consumer group 'none' for key name 's'";
const MAX: &str = "9223372036854775807";

/// Entries `1-0 .. n-0`, and a group that has read nothing.
fn fill(client: &mut Client, key: &str, count: usize) {
    for id in 1..=count {
        client.line(&format!("XADD {key} {id}-0 f {id}"));
    }
    client.line(&format!("XGROUP CREATE {key} g 0"));
}

/// A field of the only group of a stream.
fn group_field(client: &mut Client, key: &str, name: &str) -> String {
    let reply = client.run(&["XINFO", "GROUPS", key]);
    let group = reply.as_elements().and_then(|groups| groups.first());
    let fields = group.and_then(Value::as_elements).expect("a group");
    let mut pairs = fields.chunks(2);
    let pair = pairs.find(|pair| pair[0].as_bytes() == Some(name.as_bytes()));
    show(&pair.expect("the field")[1])
}

/// Waits until so many clients are blocked.
fn wait_for_blocked(client: &mut Client, count: usize) {
    let wanted = format!("blocked_clients:{count}\r\n");
    let began = Instant::now();
    loop {
        let info = client.run(&["INFO", "clients"]);
        let text = String::from_utf8_lossy(info.as_bytes().expect("a text")).into_owned();
        if text.contains(&wanted) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{text}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn send(client: &mut Client, line: &str) {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    client.send(&words);
}

#[test]
fn groups_are_made_and_removed() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    let no_key = "-ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use \
                  the MKSTREAM option to create an empty stream automatically.";
    let wrong = |name: &str| {
        format!(
            "-ERR unknown subcommand or wrong number of arguments for '{name}'. Try XGROUP HELP."
        )
    };
    client.check(&[
        ("XGROUP CREATE s g $", no_key),
        ("XGROUP DESTROY s g", no_key),
        ("XGROUP CREATECONSUMER s g c", no_key),
        ("XGROUP CREATE s g x MKSTREAM", INVALID_ID),
        ("XGROUP CREATE s g - MKSTREAM", INVALID_ID),
        ("XGROUP CREATE s g $ MKSTREAM ENTRIESREAD x", NOT_INTEGER),
        (
            "XGROUP CREATE s g $ ENTRIESREAD -2",
            "-ERR value for ENTRIESREAD must be positive or -1",
        ),
        ("XGROUP CREATE s g $ MKSTREAM ENTRIESREAD", &wrong("CREATE")),
        ("XGROUP CREATE s g $ x", &wrong("CREATE")),
        ("XGROUP SETID s g $ MKSTREAM", &wrong("SETID")),
        (
            "XGROUP CREATE s g $ MKSTREAM MKSTREAM MKSTREAM MKSTREAM",
            &wrong("CREATE"),
        ),
        ("EXISTS s", ":0"),
        ("XGROUP CREATE s g $ MKSTREAM", "+OK"),
        ("XLEN s", ":0"),
        (
            "XGROUP CREATE s g 5 MKSTREAM",
            "-BUSYGROUP Consumer Group name already exists",
        ),
        ("XGROUP CREATE s other 5-5 ENTRIESREAD 3", "+OK"),
        ("XGROUP SETID s none 0", NO_GROUP_IN),
        ("XGROUP SETID s g x", INVALID_ID),
        ("XGROUP SETID s g +", "+OK"),
        ("XGROUP SETID s g 7 ENTRIESREAD 9", "+OK"),
        (
            "XINFO GROUPS s",
            r#"[["name" "g" "consumers" :0 "pending" :0 "last-delivered-id" "7-0" "entries-read" :0 "lag" :0] ["name" "other" "consumers" :0 "pending" :0 "last-delivered-id" "5-5" "entries-read" :0 "lag" :0]]"#,
        ),
        ("XGROUP CREATECONSUMER s none c", NO_GROUP_IN),
        ("XGROUP CREATECONSUMER s g c", ":1"),
        ("XGROUP CREATECONSUMER s g c", ":0"),
        ("XGROUP DELCONSUMER s none c", NO_GROUP_IN),
        ("XGROUP DELCONSUMER s g d", ":0"),
        ("XGROUP DELCONSUMER s g c", ":0"),
        ("XGROUP DESTROY s none", ":0"),
        ("XGROUP DESTROY s other", ":1"),
        ("XGROUP DESTROY s other", ":0"),
        ("SET string v", "+OK"),
        ("XGROUP CREATE string g 0 MKSTREAM", WRONG_TYPE),
        ("XGROUP DESTROY string g", WRONG_TYPE),
        (
            "XGROUP CREATE s g",
            "-ERR wrong number of arguments for 'xgroup|create' command",
        ),
        ("XGROUP NONE", "-ERR unknown subcommand 'NONE'. Try XGROUP HELP."),
    ]);
    assert!(
        client
            .line("XGROUP HELP")
            .starts_with("[+XGROUP <subcommand>")
    );
    assert!(
        client
            .line("XINFO HELP")
            .starts_with("[+XINFO <subcommand>")
    );
    server.assert_replays();
}

#[test]
fn consumers_share_the_entries() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    fill(&mut client, "s", 5);
    let all = |ids: &[usize]| {
        let entries = ids.iter().map(|id| format!(r#"["{id}-0" ["f" "{id}"]]"#));
        format!(r#"[["s" [{}]]]"#, entries.collect::<Vec<_>>().join(" "))
    };
    client.check(&[
        ("XREADGROUP GROUP g a COUNT 2 STREAMS s >", &all(&[1, 2])),
        ("XREADGROUP GROUP g b COUNT 2 STREAMS s >", &all(&[3, 4])),
        ("XREADGROUP COUNT 0 GROUP g a STREAMS s >", &all(&[5])),
        ("XREADGROUP GROUP g a STREAMS s >", "nil-array"),
        ("XREADGROUP GROUP g a STREAMS s 0", &all(&[1, 2, 5])),
        ("XREADGROUP GROUP g a COUNT 1 STREAMS s 1", &all(&[2])),
        ("XREADGROUP GROUP g b STREAMS s 4", r#"[["s" []]]"#),
        ("XACK s g 1-0 3-0 9-9 1", ":2"),
        ("XACK s none 1-0", ":0"),
        ("XACK none g 1-0", ":0"),
        ("XACK s g 2-0 x", INVALID_ID),
        ("XACK s none x", ":0"),
        ("XREADGROUP GROUP g a STREAMS s 0", &all(&[2, 5])),
        ("XDEL s 2-0", ":1"),
        (
            "XREADGROUP GROUP g a STREAMS s 0",
            r#"[["s" [["2-0" nil-array] ["5-0" ["f" "5"]]]]]"#,
        ),
        ("XPENDING s g", r#"[:3 "2-0" "5-0" [["a" "2"] ["b" "1"]]]"#),
        ("XGROUP DELCONSUMER s g a", ":2"),
        ("XPENDING s g", r#"[:1 "4-0" "4-0" [["b" "1"]]]"#),
        ("XACK s g 4", ":1"),
        ("XPENDING s g", "[:0 nil nil nil-array]"),
        ("XADD s 6-0 f 6", r#""6-0""#),
        ("XREADGROUP GROUP g c NOACK STREAMS s >", &all(&[6])),
        ("XPENDING s g", "[:0 nil nil nil-array]"),
        (
            "XACK string x",
            "-ERR wrong number of arguments for 'xack' command",
        ),
        ("SET string v", "+OK"),
        ("XACK string g 1", WRONG_TYPE),
    ]);
    server.assert_replays();
    // In RESP3 streams are a map.
    client.line("XADD s 7-0 f 7");
    assert_eq!(
        server
            .connect_resp3()
            .line("XREADGROUP GROUP g c STREAMS s >"),
        r#"{"s": [["7-0" ["f" "7"]]]}"#
    );
}

#[test]
fn requests_to_read_are_checked() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    fill(&mut client, "s", 1);
    let meaningless = |sign: &str| {
        format!(
            "-ERR The {sign} ID is meaningless in the context of XREADGROUP: you want to read the history of this \
             consumer by specifying a proper ID, or use the > ID to get new messages. The {sign} ID would just \
             return an empty result set."
        )
    };
    client.check(&[
        (
            "XREADGROUP COUNT 1 NOACK NOACK STREAMS s >",
            "-ERR Missing GROUP option for XREADGROUP",
        ),
        (
            "XREADGROUP GROUP g c STREAMS s t 0",
            "-ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified.",
        ),
        ("XREADGROUP GROUP g c COUNT 1 STREAMS", SYNTAX),
        ("XREADGROUP GROUP g c COUNT x STREAMS s >", NOT_INTEGER),
        ("XREADGROUP GROUP g c OTHER STREAMS s >", SYNTAX),
        (
            "XREADGROUP GROUP g c BLOCK -1 STREAMS s >",
            "-ERR timeout is negative",
        ),
        (
            "XREADGROUP GROUP g c BLOCK x STREAMS s >",
            "-ERR timeout is not an integer or out of range",
        ),
        ("XREADGROUP GROUP g c STREAMS s $", &meaningless("$")),
        ("XREADGROUP GROUP g c STREAMS s +", &meaningless("+")),
        ("XREADGROUP GROUP g c STREAMS s x", INVALID_ID),
        (
            "XREADGROUP GROUP none c STREAMS s >",
            "-NOGROUP No such key 's' or consumer group 'none' in XREADGROUP with GROUP option",
        ),
        (
            "XREADGROUP GROUP g c STREAMS none >",
            "-NOGROUP No such key 'none' or consumer group 'g' in XREADGROUP with GROUP option",
        ),
        ("SET string v", "+OK"),
        ("XREADGROUP GROUP g c STREAMS string >", WRONG_TYPE),
        // No entry was read, and no consumer created.
        ("XINFO CONSUMERS s g", "[]"),
        ("XREAD GROUP g c STREAMS s 0", "-ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead."),
    ]);
    // Groups, consumers and keys may have the names of options.
    client.check(&[
        ("XADD streams 1-0 f 1", r#""1-0""#),
        ("XGROUP CREATE streams streams 0", "+OK"),
        (
            "XREADGROUP COUNT 1 GROUP streams streams STREAMS streams >",
            r#"[["streams" [["1-0" ["f" "1"]]]]]"#,
        ),
    ]);
    client.check(&[
        (
            "COMMAND GETKEYS XREADGROUP COUNT 1 GROUP STREAMS c NOACK STREAMS a b > >",
            r#"["a" "b"]"#,
        ),
        (
            "COMMAND GETKEYS XREADGROUP GROUP g c CLAIM 5 BLOCK 3 STREAMS a >",
            r#"["a"]"#,
        ),
    ]);
}

#[test]
fn pending_entries_are_listed() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    fill(&mut client, "s", 4);
    client.line("XREADGROUP GROUP g a COUNT 3 STREAMS s >");
    client.line("XREADGROUP GROUP g b STREAMS s >");
    // Times in the past, so that idle times are far apart.
    client.check(&[
        (
            "XCLAIM s g a 0 1-0 TIME 1000 RETRYCOUNT 7 JUSTID",
            r#"["1-0"]"#,
        ),
        ("XCLAIM s g b 0 4-0 IDLE 100000 JUSTID", r#"["4-0"]"#),
        ("XPENDING s none", NO_GROUP),
        ("XPENDING s none - + 10", NO_GROUP),
        ("XPENDING s g -", SYNTAX),
        ("XPENDING s g - +", SYNTAX),
        ("XPENDING s g - + x", NOT_INTEGER),
        ("XPENDING s g x + 10", INVALID_ID),
        ("XPENDING s g IDLE x - + 10", NOT_INTEGER),
        ("XPENDING s g IDLE 5 - +", SYNTAX),
        ("XPENDING s g IDLE 5 - + 1 c x", SYNTAX),
        (
            "XPENDING s g - (0-0 10",
            "-ERR invalid end ID for the interval",
        ),
        ("XPENDING s g - + 10 none", "[]"),
        ("XPENDING s g - + 0", "[]"),
        ("XPENDING s g - + -5", "[]"),
        ("XPENDING s g 5 + 10", "[]"),
    ]);
    let ids = |reply: Value| -> Vec<String> {
        let rows = reply.as_elements().expect("rows").iter();
        rows.map(|row| {
            let row = row.as_elements().expect("a row");
            assert_eq!(row.len(), 4);
            format!("{} {} {}", show(&row[0]), show(&row[1]), show(&row[3]))
        })
        .collect()
    };
    let mut list = |rest: &[&str]| {
        let words = [&["XPENDING", "s", "g"], rest].concat();
        ids(client.run(&words)).join(", ")
    };
    assert_eq!(
        list(&["-", "+", "10"]),
        r#""1-0" "a" :7, "2-0" "a" :1, "3-0" "a" :1, "4-0" "b" :1"#
    );
    assert_eq!(list(&["(1-0", "(4", "1"]), r#""2-0" "a" :1"#);
    assert_eq!(list(&["2", "+", "9", "b"]), r#""4-0" "b" :1"#);
    assert_eq!(
        list(&["IDLE", "90000", "-", "+", "9"]),
        r#""1-0" "a" :7, "4-0" "b" :1"#
    );
    assert_eq!(
        list(&["IDLE", "90000", "-", "+", "9", "b"]),
        r#""4-0" "b" :1"#
    );
    assert_eq!(list(&["IDLE", "-5", "4", "+", "9"]), r#""4-0" "b" :1"#);
    server.assert_replays();
}

#[test]
fn entries_are_claimed() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    fill(&mut client, "s", 4);
    client.line("XREADGROUP GROUP g a COUNT 3 STREAMS s >");
    client.check(&[
        ("XCLAIM s none b 0 1-0", NO_GROUP),
        (
            "XCLAIM s g b x 1-0",
            "-ERR Invalid min-idle-time argument for XCLAIM",
        ),
        (
            "XCLAIM s g b 0 1-0 x",
            "-ERR Unrecognized XCLAIM option 'x'",
        ),
        (
            "XCLAIM s g b 0 1-0 IDLE",
            "-ERR Unrecognized XCLAIM option 'IDLE'",
        ),
        (
            "XCLAIM s g b 0 1-0 IDLE x",
            "-ERR Invalid IDLE option argument for XCLAIM",
        ),
        (
            "XCLAIM s g b 0 1-0 TIME x",
            "-ERR Invalid TIME option argument for XCLAIM",
        ),
        (
            "XCLAIM s g b 0 1-0 RETRYCOUNT x",
            "-ERR Invalid RETRYCOUNT option argument for XCLAIM",
        ),
        ("XCLAIM s g b 0 1-0 LASTID x", INVALID_ID),
        // Without FORCE only pending entries are claimed.
        ("XCLAIM s g b 0 1-0 4-0 9-9", r#"[["1-0" ["f" "1"]]]"#),
        ("XCLAIM s g b 100000 2-0", "[]"),
        ("XCLAIM s g b 0 4-0 9-9 FORCE JUSTID", r#"["4-0"]"#),
        ("XPENDING s g", r#"[:4 "1-0" "4-0" [["a" "2"] ["b" "2"]]]"#),
        ("XDEL s 2-0 3-0", ":2"),
        // Deleted entries leave, however long they have been idle.
        ("XCLAIM s g c 100000 2-0", "[]"),
        ("XCLAIM s g c 0 3-0 3-0", "[]"),
        ("XPENDING s g", r#"[:2 "1-0" "4-0" [["b" "2"]]]"#),
        ("XCLAIM s g b 0 1-0 LASTID 77", r#"[["1-0" ["f" "1"]]]"#),
        ("XCLAIM s g b 0 9-0 LASTID 88-1", "[]"),
        ("XCLAIM s g b 0 9-0 LASTID 5", "[]"),
        ("SET string v", "+OK"),
        ("XCLAIM string g b 0 1-0", WRONG_TYPE),
    ]);
    assert_eq!(
        group_field(&mut client, "s", "last-delivered-id"),
        r#""88-1""#
    );
    assert_eq!(group_field(&mut client, "s", "consumers"), ":3");
    server.assert_replays();
}

#[test]
fn claims_are_logged_as_what_came_of_them() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    fill(&mut client, "s", 2);
    let logs = server.logs_of(&["XREADGROUP GROUP g a COUNT 1 STREAMS s >"]);
    assert_eq!(logs.len(), 4, "{logs:?}");
    assert!(logs[1].starts_with("XCLAIM s g a 0 1-0 TIME "), "{logs:?}");
    assert!(
        logs[1].ends_with(" RETRYCOUNT 1 FORCE JUSTID LASTID 1-0"),
        "{logs:?}"
    );
    assert_eq!(logs[2], "XGROUP SETID s g 1-0 ENTRIESREAD 1");
    assert_eq!(
        server.logs_of(&["XREADGROUP GROUP g b NOACK STREAMS s >"])[1..3],
        [
            "XGROUP CREATECONSUMER s g b",
            "XGROUP SETID s g 2-0 ENTRIESREAD 2"
        ]
    );
    for line in ["XREADGROUP GROUP g c STREAMS s >", "XCLAIM s g d 0 9-9"] {
        let logs = server.logs_of(&[line]);
        assert_eq!(logs.len(), 1, "{logs:?}");
        assert!(
            logs[0].starts_with("XGROUP CREATECONSUMER s g "),
            "{logs:?}"
        );
    }
    let logs = server.logs_of(&["XAUTOCLAIM s g b 0 0"]);
    assert!(
        logs[0].ends_with(" RETRYCOUNT 2 FORCE JUSTID LASTID 2-0"),
        "{logs:?}"
    );
    assert!(
        server
            .logs_of(&["XREADGROUP GROUP g b STREAMS s >"])
            .is_empty()
    );
    assert_eq!(server.logs_of(&["XACK s g 1-0"]), ["XACK s g 1-0"]);
    assert!(server.logs_of(&["XACK s g 1-0"]).is_empty());
    server.assert_replays();
}

#[test]
fn what_is_pending_is_swept() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    fill(&mut client, "s", 6);
    client.line("XREADGROUP GROUP g a STREAMS s >");
    client.check(&[
        ("XDEL s 2-0 4-0", ":2"),
        (
            "XAUTOCLAIM s g b x 0",
            "-ERR Invalid min-idle-time argument for XAUTOCLAIM",
        ),
        ("XAUTOCLAIM s g b 0 x", INVALID_ID),
        ("XAUTOCLAIM s g b 0 0 COUNT 0", "-ERR COUNT must be > 0"),
        ("XAUTOCLAIM s g b 0 0 COUNT x", "-ERR COUNT must be > 0"),
        (
            &format!("XAUTOCLAIM s g b 0 0 COUNT {MAX}"),
            "-ERR COUNT must be > 0",
        ),
        ("XAUTOCLAIM s g b 0 0 COUNT", SYNTAX),
        ("XAUTOCLAIM s none b 0 0", NO_GROUP),
        (
            "XAUTOCLAIM s g b 0 - COUNT 2",
            r#"["3-0" [["1-0" ["f" "1"]]] ["2-0"]]"#,
        ),
        (
            "XAUTOCLAIM s g b 0 (3-0 COUNT 2 JUSTID",
            r#"["6-0" ["5-0"] ["4-0"]]"#,
        ),
        ("XAUTOCLAIM s g b 100000 0", r#"["0-0" [] []]"#),
        (
            "XAUTOCLAIM s g b 0 6 COUNT 576460752303423487",
            r#"["0-0" [["6-0" ["f" "6"]]] []]"#,
        ),
        ("XPENDING s g", r#"[:4 "1-0" "6-0" [["a" "1"] ["b" "3"]]]"#),
        ("SET string v", "+OK"),
        ("XAUTOCLAIM string g b 0 0", WRONG_TYPE),
    ]);
    server.assert_replays();
    // It looks at ten times as many as it returns.
    fill(&mut client, "long", 25);
    client.line("XREADGROUP GROUP g a STREAMS long >");
    client.line("XCLAIM long g a 0 15-0 IDLE 100000 JUSTID");
    client.check(&[
        (
            "XAUTOCLAIM long g b 50000 0 COUNT 1 JUSTID",
            r#"["11-0" [] []]"#,
        ),
        (
            "XAUTOCLAIM long g b 50000 11 COUNT 1 JUSTID",
            r#"["16-0" ["15-0"] []]"#,
        ),
    ]);
}

/// What a consumer has pending is read once more: no change, and nothing for the log.
#[test]
fn reading_pending_entries_again_is_no_change() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    fill(&mut client, "s", 2);
    client.line("XGROUP CREATE s g 0");
    client.line("XREADGROUP GROUP g c STREAMS s >");
    let again = "XREADGROUP GROUP g c STREAMS s 0";
    let changes = |client: &mut Client| {
        let info = client.line("INFO persistence");
        let (_, rest) = info
            .split_once("rdb_changes_since_last_save:")
            .expect("a field");
        rest.split_once('\\').expect("a line end").0.to_owned()
    };
    let before = changes(&mut client);
    client.line(again);
    client.line("MULTI");
    client.line(again);
    client.line("EXEC");
    assert_eq!(changes(&mut client), before);
    assert!(server.logs_of(&[again, "MULTI", again, "EXEC"]).is_empty());
    let new = "XREADGROUP GROUP g other STREAMS s 0";
    assert_eq!(server.logs_of(&[new]), ["XGROUP CREATECONSUMER s g other"]);
    assert_ne!(changes(&mut client), before);
}

#[test]
fn groups_know_how_far_they_are() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    fill(&mut client, "s", 5);
    let mut progress = |commands: &[&str], expected: [&str; 2]| {
        for command in commands {
            client.line(command);
        }
        let fields = ["entries-read", "lag"].map(|name| group_field(&mut client, "s", name));
        assert_eq!(fields, expected, "{commands:?}");
    };
    progress(&[], ["nil", ":5"]);
    progress(&["XREADGROUP GROUP g c COUNT 1 STREAMS s >"], [":1", ":4"]);
    progress(&["XREADGROUP GROUP g c COUNT 2 STREAMS s >"], [":3", ":2"]);
    // A deleted entry behind it: the lag is unknown until the end is read.
    progress(&["XDEL s 4-0"], [":3", "nil"]);
    progress(&["XREADGROUP GROUP g c STREAMS s >"], [":5", ":0"]);
    progress(&["XADD s 6-0 f 6"], [":5", ":1"]);
    // Holes in front do not matter.
    progress(&["XDEL s 1-0"], [":5", ":1"]);
    progress(&["XGROUP SETID s g 2-0"], ["nil", "nil"]);
    progress(&["XGROUP SETID s g 6-0"], ["nil", ":0"]);
    progress(&["XGROUP SETID s g 0"], ["nil", "nil"]);
    progress(&["XGROUP SETID s g 0 ENTRIESREAD 2"], [":2", "nil"]);
    // Only the last is left: the entries in front of it were read or deleted.
    progress(&["XTRIM s MAXLEN 1"], [":2", ":1"]);
    progress(&["XTRIM s MAXLEN 0"], [":2", ":0"]);
    let unknown = format!("XGROUP SETID s g 6-0 ENTRIESREAD {MAX}");
    progress(&[&unknown], [":6", ":0"]);
    progress(
        &["XADD s 7-0 f 7", "XREADGROUP GROUP g c STREAMS s >"],
        [":7", ":0"],
    );
    server.assert_replays();
}

#[test]
fn streams_tell_about_themselves() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    let wrong =
        "-ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.";
    client.check(&[
        ("XINFO STREAM none", "-ERR no such key"),
        ("XINFO STREAM none x", "-ERR no such key"),
        ("XINFO GROUPS none", "-ERR no such key"),
        ("XINFO CONSUMERS none g", "-ERR no such key"),
        ("SET string v", "+OK"),
        ("XINFO STREAM string", WRONG_TYPE),
        ("XINFO GROUPS string", WRONG_TYPE),
        ("XGROUP CREATE s g $ MKSTREAM", "+OK"),
        ("XINFO STREAM s x", wrong),
        ("XINFO STREAM s FULL COUNT", wrong),
        ("XINFO STREAM s FULL LIMIT 3", wrong),
        ("XINFO STREAM s FULL COUNT x", NOT_INTEGER),
        ("XINFO CONSUMERS s none", NO_GROUP_IN),
        (
            "XINFO STREAM s",
            r#"["length" :0 "radix-tree-keys" :0 "radix-tree-nodes" :1 "last-generated-id" "0-0" "max-deleted-entry-id" "0-0" "entries-added" :0 "recorded-first-entry-id" "0-0" "groups" :1 "first-entry" nil "last-entry" nil]"#,
        ),
        ("DEL s", ":1"),
    ]);
    fill(&mut client, "s", 12);
    client.line("XREADGROUP GROUP g a COUNT 11 STREAMS s >");
    client.line("XCLAIM s g a 0 1-0 2-0 3-0 4-0 5-0 6-0 7-0 8-0 9-0 10-0 11-0 TIME 5 JUSTID");
    let info = server.connect_resp3().line("XINFO STREAM s");
    assert_eq!(
        info,
        r#"{"length": :12 "radix-tree-keys": :1 "radix-tree-nodes": :2 "last-generated-id": "12-0" "max-deleted-entry-id": "0-0" "entries-added": :12 "recorded-first-entry-id": "1-0" "groups": :1 "first-entry": ["1-0" ["f" "1"]] "last-entry": ["12-0" ["f" "12"]]}"#
    );
    let full = client.line("XINFO STREAM s FULL COUNT 1");
    let expected = r#"["length" :12 "radix-tree-keys" :1 "radix-tree-nodes" :2 "last-generated-id" "12-0" "max-deleted-entry-id" "0-0" "entries-added" :12 "recorded-first-entry-id" "1-0" "entries" [["1-0" ["f" "1"]]] "groups" [["name" "g" "last-delivered-id" "11-0" "entries-read" :11 "lag" :1 "pel-count" :11 "pending" [["1-0" "a" :5 :1]] "consumers" [["name" "a" "seen-time" "#;
    assert!(full.starts_with(expected), "{full}");
    assert!(
        full.ends_with(r#""pel-count" :11 "pending" [["1-0" :5 :1]]]]]]]"#),
        "{full}"
    );
    let shown = |reply: &str| reply.matches(r#""a" :5 :1"#).count();
    assert_eq!(shown(&client.line("XINFO STREAM s FULL")), 10);
    assert_eq!(shown(&client.line("XINFO STREAM s FULL COUNT -1")), 10);
    assert_eq!(shown(&client.line("XINFO STREAM s FULL COUNT 0")), 11);
    // A consumer that got nothing was never active.
    client.line("XGROUP CREATECONSUMER s g b");
    let consumers = client.line("XINFO CONSUMERS s g");
    assert!(
        consumers.contains(r#"["name" "b" "pending" :0 "idle" :"#),
        "{consumers}"
    );
    assert!(consumers.ends_with(r#""inactive" :-1]]"#), "{consumers}");
}

#[test]
fn waiting_consumers_are_served_in_order() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.line("XGROUP CREATE s g $ MKSTREAM");
    let mut waiting: Vec<Client> = (0..2).map(|_| server.connect()).collect();
    for (at, waiter) in waiting.iter_mut().enumerate() {
        send(
            waiter,
            &format!("XREADGROUP GROUP g c{at} BLOCK 0 STREAMS s >"),
        );
        wait_for_blocked(&mut client, at + 1);
    }
    for (at, waiter) in waiting.iter_mut().enumerate() {
        client.line(&format!("XADD s {}-0 f v", at + 1));
        let expected = format!(r#"[["s" [["{}-0" ["f" "v"]]]]]"#, at + 1);
        assert_eq!(show(&waiter.read()), expected);
    }
    assert_eq!(
        client.line("XPENDING s g"),
        r#"[:2 "1-0" "2-0" [["c0" "1"] ["c1" "1"]]]"#
    );
    let began = Instant::now();
    assert_eq!(
        client.line("XREADGROUP GROUP g c0 BLOCK 30 STREAMS s >"),
        "nil-array"
    );
    // The server counts whole milliseconds of the clock.
    assert!(began.elapsed() >= Duration::from_millis(28));
    server.assert_replays();
}

#[test]
fn waiting_consumers_learn_that_their_group_is_gone() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    let gone = "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option";
    for (commands, error) in [
        (&["DEL s"][..], gone),
        (&["UNLINK s"], gone),
        (&["XGROUP DESTROY s g"], gone),
        (&["RENAME s other"], gone),
        (&["PEXPIRE s 1"], gone),
        (&["FLUSHALL"], gone),
        (&["SET s v"], WRONG_TYPE),
        (&["MULTI", "DEL s", "LPUSH s a", "EXEC"], WRONG_TYPE),
    ] {
        client.line("DEL s");
        client.line("XGROUP CREATE s g $ MKSTREAM");
        let mut waiter = server.connect();
        send(&mut waiter, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
        wait_for_blocked(&mut client, 1);
        for command in commands {
            client.line(command);
        }
        assert_eq!(show(&waiter.read()), error, "{commands:?}");
        wait_for_blocked(&mut client, 0);
    }
    // XREAD does not care.
    client.line("DEL s");
    client.line("XGROUP CREATE s g $ MKSTREAM");
    let mut waiter = server.connect();
    send(&mut waiter, "XREAD BLOCK 0 STREAMS s $");
    wait_for_blocked(&mut client, 1);
    client.line("DEL s");
    client.line("SET s v");
    client.line("DEL s");
    client.line("XADD s 1-0 f v");
    assert_eq!(show(&waiter.read()), r#"[["s" [["1-0" ["f" "v"]]]]]"#);
}

#[test]
fn a_wait_is_ended_by_others() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.line("XGROUP CREATE s g $ MKSTREAM");
    let mut waiter = server.connect();
    let id = waiter.integer("CLIENT ID");
    for (how, reply) in [
        ("", "nil-array"),
        (" ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK"),
    ] {
        send(
            &mut waiter,
            "XREADGROUP GROUP g c BLOCK 0 CLAIM 50 STREAMS s >",
        );
        wait_for_blocked(&mut client, 1);
        assert_eq!(client.line(&format!("CLIENT UNBLOCK {id}{how}")), ":1");
        assert_eq!(show(&waiter.read()), reply);
    }
    // In a transaction the command does not block.
    client.check(&[
        ("MULTI", "+OK"),
        ("XREADGROUP GROUP g c BLOCK 0 STREAMS s >", "+QUEUED"),
        ("EXEC", "[nil-array]"),
    ]);
}

#[test]
fn what_is_pending_for_too_long_is_delivered_with_claim() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    fill(&mut client, "s", 4);
    client.line("XREADGROUP GROUP g a COUNT 3 STREAMS s >");
    client.check(&[
        (
            "XREADGROUP GROUP g b CLAIM x STREAMS s >",
            "-ERR min-idle-time is not an integer",
        ),
        (
            "XREADGROUP GROUP g b CLAIM -1 STREAMS s >",
            "-ERR min-idle-time must be a positive integer",
        ),
        (
            "XCLAIM s g a 0 2-0 IDLE 900000 RETRYCOUNT 3 JUSTID",
            r#"["2-0"]"#,
        ),
        ("XCLAIM s g a 0 1-0 IDLE 500000 JUSTID", r#"["1-0"]"#),
    ]);
    // Idle entries come first, the longest idle one first, then new ones.
    let reply = client.line("XREADGROUP GROUP g b CLAIM 100000 STREAMS s >");
    let idle = reply.split(" :").skip(1).map(|rest| {
        let end = rest.find([' ', ']']).unwrap_or(rest.len());
        rest[..end].parse::<u64>().expect("a number")
    });
    let numbers: Vec<u64> = idle.collect();
    assert!((900_000..960_000).contains(&numbers[0]), "{reply}");
    assert!((500_000..560_000).contains(&numbers[2]), "{reply}");
    assert_eq!(
        [numbers[1], numbers[3], numbers[4], numbers[5]],
        [3, 1, 0, 0],
        "{reply}"
    );
    assert_eq!(
        reply
            .replace(&numbers[0].to_string(), "X")
            .replace(&numbers[2].to_string(), "Y"),
        r#"[["s" [["2-0" ["f" "2"] :X :3] ["1-0" ["f" "1"] :Y :1] ["4-0" ["f" "4"] :0 :0]]]]"#
    );
    client.check(&[
        ("XPENDING s g", r#"[:4 "1-0" "4-0" [["a" "1"] ["b" "3"]]]"#),
        ("XREADGROUP GROUP g b CLAIM 100000 STREAMS s >", "nil-array"),
        // Of what is deleted nothing can be delivered.
        ("XDEL s 3-0", ":1"),
        ("XCLAIM s g a 0 4-0 IDLE 900000 JUSTID", r#"["4-0"]"#),
    ]);
    let reply = client.line("XREADGROUP GROUP g b NOACK COUNT 1 CLAIM 0 STREAMS s >");
    assert!(
        reply.starts_with(r#"[["s" [["4-0" ["f" "4"] :9"#),
        "{reply}"
    );
    assert_eq!(client.line("XPENDING s g + + 1"), "[]");
    assert_eq!(client.integer("XACK s g 4-0"), 1);
    server.assert_replays();
}

#[test]
fn a_waiting_client_gets_what_becomes_claimable() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    fill(&mut client, "s", 1);
    client.line("XREADGROUP GROUP g a STREAMS s >");
    let began = Instant::now();
    let reply = client.line("XREADGROUP GROUP g b BLOCK 20000 CLAIM 150 STREAMS s >");
    assert!(
        reply.starts_with(r#"[["s" [["1-0" ["f" "1"] :"#) && reply.ends_with(" :1]]]]"),
        "{reply}"
    );
    assert!(began.elapsed() >= Duration::from_millis(100));
    assert!(began.elapsed() < Duration::from_secs(10));
    // The first gets the new entry, the second claims it from the first.
    client.line("XACK s g 1-0");
    let mut waiting: Vec<Client> = (0..2).map(|_| server.connect()).collect();
    for (at, waiter) in waiting.iter_mut().enumerate() {
        send(
            waiter,
            &format!("XREADGROUP GROUP g c{at} BLOCK 0 CLAIM 100 STREAMS s >"),
        );
        wait_for_blocked(&mut client, at + 1);
    }
    client.line("XADD s 2-0 f 2");
    assert_eq!(
        show(&waiting[0].read()),
        r#"[["s" [["2-0" ["f" "2"] :0 :0]]]]"#
    );
    let claimed = show(&waiting[1].read());
    assert!(
        claimed.starts_with(r#"[["s" [["2-0" ["f" "2"] :"#) && claimed.ends_with(" :1]]]]"),
        "{claimed}"
    );
    // An entry can be made older than it is.
    send(
        &mut waiting[0],
        "XREADGROUP GROUP g c0 BLOCK 0 CLAIM 50000 STREAMS s >",
    );
    wait_for_blocked(&mut client, 1);
    client.line("XCLAIM s g c1 0 2-0 IDLE 60000 RETRYCOUNT 1 JUSTID");
    let claimed = show(&waiting[0].read());
    assert!(
        claimed.starts_with(r#"[["s" [["2-0" ["f" "2"] :6"#),
        "{claimed}"
    );
    // Nothing becomes claimable in time.
    assert_eq!(
        client.line("XREADGROUP GROUP g b BLOCK 60 CLAIM 10000 STREAMS s >"),
        "nil-array"
    );
    // Entries that are given back can be claimed at once.
    send(
        &mut waiting[0],
        "XREADGROUP GROUP g c0 BLOCK 0 CLAIM 100000 STREAMS s >",
    );
    wait_for_blocked(&mut client, 1);
    assert_eq!(client.line("XNACK s g FAIL IDS 1 2-0"), ":1");
    assert_eq!(
        show(&waiting[0].read()),
        r#"[["s" [["2-0" ["f" "2"] :-1 :2]]]]"#
    );
    server.assert_replays();
}

#[test]
fn entries_are_given_back() {
    let server = TestServer::start_with(&["--enable-debug-command", "yes"]);
    let mut client = server.connect();
    fill(&mut client, "s", 4);
    client.line("XREADGROUP GROUP g c COUNT 3 STREAMS s >");
    let unknown = |word: &str| format!("-ERR Unrecognized XNACK option '{word}'");
    client.check(&[
        ("XNACK s none FAIL IDS 1 1-0", NO_GROUP),
        (
            "XNACK s g BAD IDS 1 1-0",
            "-ERR mode must be SILENT, FAIL, or FATAL",
        ),
        ("XNACK s g FAIL FATAL IDS 1 1-0", &unknown("FATAL")),
        ("XNACK s g FAIL IDS 1 1-0 2-0", &unknown("2-0")),
        (
            "XNACK s g FAIL IDS 1 1-0 RETRYCOUNT",
            &unknown("RETRYCOUNT"),
        ),
        (
            "XNACK s g SILENT FORCE RETRYCOUNT 5",
            "-ERR syntax error, expected IDS keyword",
        ),
        (
            "XNACK s g SILENT IDS 0 1-0",
            "-ERR numids must be a positive integer",
        ),
        (
            "XNACK s g SILENT IDS 2 1-0",
            "-ERR number of IDs doesn't match numids",
        ),
        ("XNACK s g FAIL IDS 1 x", INVALID_ID),
        ("XNACK s g FAIL IDS 1 1-0 RETRYCOUNT x", NOT_INTEGER),
        (
            "XNACK s g FAIL IDS 1 1-0 RETRYCOUNT -1",
            "-ERR Invalid RETRYCOUNT value, must be >= 0",
        ),
        ("XNACK s g SILENT IDS 2 1-0 9-9", ":1"),
        ("XNACK s g FAIL IDS 2 2-0 2-0", ":2"),
        ("XNACK s g FATAL IDS 1 3-0", ":1"),
        ("XNACK s g FAIL IDS 1 4-0", ":0"),
        ("XNACK s g FAIL IDS 1 4-0 FORCE RETRYCOUNT 7", ":1"),
        ("XNACK s g FAIL FORCE IDS 1 9-9", ":0"),
        (
            "XPENDING s g - + 10",
            &format!(
                r#"[["1-0" "" :-1 :0] ["2-0" "" :-1 :1] ["3-0" "" :-1 :{MAX}] ["4-0" "" :-1 :7]]"#
            ),
        ),
        ("XPENDING s g IDLE 999999 - + 1", r#"[["1-0" "" :-1 :0]]"#),
        ("XPENDING s g", r#"[:4 "1-0" "4-0" []]"#),
        ("XREADGROUP GROUP g c STREAMS s 0", r#"[["s" []]]"#),
        ("XCLAIM s g d 99999 3-0 JUSTID", r#"["3-0"]"#),
        ("XDEL s 1-0", ":1"),
        ("XCLAIM s g d 0 1-0", "[]"),
        (
            "XAUTOCLAIM s g d 99999 0 COUNT 1 JUSTID",
            r#"["3-0" ["2-0"] []]"#,
        ),
        ("XPENDING s g", r#"[:3 "2-0" "4-0" [["d" "2"]]]"#),
        ("XGROUP DELCONSUMER s g d", ":2"),
        ("XPENDING s g", r#"[:1 "4-0" "4-0" []]"#),
        ("SET string v", "+OK"),
        ("XNACK string g FAIL IDS 1 1-0", WRONG_TYPE),
    ]);
    server.assert_replays();
    // Also what is deleted keeps its place when the log is written anew.
    client.check(&[
        ("XNACK s g FAIL IDS 1 2-0 FORCE RETRYCOUNT 5", ":1"),
        ("XDEL s 2-0", ":1"),
    ]);
    let before = dump(&mut client);
    client.check(&[("DEBUG RELOAD", "+OK")]);
    assert_eq!(dump(&mut client), before);
    assert!(client.line("BGREWRITEAOF").starts_with('+'));
    client.check(&[("DEBUG LOADAOF", "+OK")]);
    assert_eq!(dump(&mut client), before);
    assert_eq!(
        server.logs_of(&["XNACK s g FATAL IDS 1 4-0"]),
        [format!("XNACK s g SILENT IDS 1 4-0 RETRYCOUNT {MAX} FORCE")]
    );
}

#[test]
fn entries_are_deleted_with_their_references() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("XDELEX none IDS 2 1 2", "[:-1 :-1]"),
        ("XACKDEL none g IDS 2 1 2", "[:-1 :-1]"),
        (
            "XDELEX none IDS 0 1",
            "-ERR Number of IDs must be a positive integer",
        ),
        (
            "XDELEX none IDS 3 1",
            "-ERR The `numids` parameter must match the number of arguments",
        ),
        ("XDELEX none IDS 1 1 2", SYNTAX),
        ("XDELEX none KEEPREF ACKED IDS 1 1", SYNTAX),
        ("XDELEX none IDS 1 x", INVALID_ID),
        (
            "XACKDEL s g IDS x 1",
            "-ERR Number of IDs must be a positive integer",
        ),
        ("SET string v", "+OK"),
        ("XDELEX string IDS 1 1", WRONG_TYPE),
        ("XACKDEL string g IDS 1 1", WRONG_TYPE),
    ]);
    fill(&mut client, "s", 6);
    client.check(&[
        ("XACKDEL s none IDS 1 1", "[:-1]"),
        ("XGROUP CREATE s h 0", "+OK"),
    ]);
    client.line("XREADGROUP GROUP g a COUNT 5 STREAMS s >");
    client.line("XREADGROUP GROUP h a COUNT 4 STREAMS s >");
    client.check(&[
        ("XDELEX s IDS 2 1 9-9", "[:1 :-1]"),
        ("XPENDING s g", r#"[:5 "1-0" "5-0" [["a" "5"]]]"#),
        ("XDELEX s DELREF IDS 2 2 1", "[:1 :-1]"),
        ("XPENDING s g", r#"[:3 "3-0" "5-0" [["a" "3"]]]"#),
        // Pending in both, not read by one.
        ("XDELEX s IDS 3 3 5 6 acked", "[:2 :2 :2]"),
        ("XACKDEL s g ACKED IDS 3 3 5 9", "[:2 :2 :-1]"),
        ("XACKDEL s h ACKED IDS 2 3 5", "[:1 :-1]"),
        ("XACKDEL s h IDS 1 4", "[:1]"),
        ("XPENDING s g", r#"[:1 "4-0" "4-0" [["a" "1"]]]"#),
        ("XACKDEL s g DELREF IDS 1 4", "[:1]"),
        ("XPENDING s g", "[:0 nil nil nil-array]"),
        ("XRANGE s - +", r#"[["5-0" ["f" "5"]] ["6-0" ["f" "6"]]]"#),
        ("XADD alone 1-0 f v", r#""1-0""#),
        // Without groups an entry needs no acknowledgement.
        ("XDELEX alone ACKED IDS 1 1", "[:1]"),
        ("XLEN alone", ":0"),
        ("XADD alone 2-0 f v", r#""2-0""#),
        ("XTRIM alone MAXLEN 0 ACKED", ":1"),
    ]);
    server.assert_replays();
}

#[test]
fn changes_are_counted_as_in_redis() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    let dirty = |client: &mut Client| -> u64 {
        let info = client.run(&["INFO", "persistence"]);
        let text = String::from_utf8_lossy(info.as_bytes().expect("a text")).into_owned();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("rdb_changes_since_last_save:"));
        line.and_then(|count| count.trim().parse().ok())
            .expect("a count")
    };
    fill(&mut client, "s", 3);
    for (line, changes) in [
        ("XGROUP CREATECONSUMER s g a", 1),
        ("XGROUP CREATECONSUMER s g a", 0),
        ("XREADGROUP GROUP g a STREAMS s >", 1),
        ("XREADGROUP GROUP g b STREAMS s >", 1),
        ("XREADGROUP GROUP g b STREAMS s >", 0),
        ("XREADGROUP GROUP g a STREAMS s 0", 0),
        ("XCLAIM s g b 0 1-0 2-0", 2),
        ("XACK s g 1-0 2-0 9-9", 2),
        ("XGROUP SETID s g 0", 1),
        ("XGROUP DELCONSUMER s g a", 1),
        ("XGROUP DELCONSUMER s g a", 0),
        ("XGROUP DESTROY s g", 1),
    ] {
        let before = dirty(&mut client);
        client.line(line);
        assert_eq!(dirty(&mut client) - before, changes, "{line}");
    }
}
