//! Client-side caching as clients see it.

mod staleness;

use super::harness::{Client, TestServer, show};
use super::pubsub::wait_until;

fn two_workers() -> TestServer {
    TestServer::start_with(&["--threads", "2", "--threads-spread", "yes"])
}

/// Checks that nothing has come: the next thing the client reads is the reply to a PING.
fn assert_quiet(client: &mut Client) {
    assert_eq!(client.line("PING"), "+PONG");
}

fn next(client: &mut Client) -> String {
    show(&client.read())
}

#[test]
fn what_was_read_is_invalidated_once() {
    let server = two_workers();
    let mut writer = server.connect();
    let mut reader = server.connect_resp3();
    writer.check(&[("SET k 1", "+OK"), ("SADD s a", ":1")]);
    reader.check(&[
        ("CLIENT TRACKING ON", "+OK"),
        ("GET k", "\"1\""),
        ("MGET k none", "[\"1\" null]"),
        ("SMEMBERS s", "~[\"a\"]"),
    ]);
    writer.check(&[("SET k 2", "+OK"), ("SET k 3", "+OK")]);
    assert_eq!(next(&mut reader), r#">["invalidate" ["k"]]"#);
    // A key that was not there is remembered as well.
    writer.check(&[("SET none 1", "+OK"), ("SREM s a", ":1"), ("DEL k", ":1")]);
    assert_eq!(next(&mut reader), r#">["invalidate" ["none"]]"#);
    assert_eq!(next(&mut reader), r#">["invalidate" ["s"]]"#);
    assert_quiet(&mut reader);
    // Writes register nothing.
    reader.check(&[("SET w 1", "+OK"), ("INCR w", ":2")]);
    writer.line("SET w 3");
    assert_quiet(&mut reader);
}

#[test]
fn invalidations_follow_every_kind_of_change() {
    let server = two_workers();
    let mut writer = server.connect();
    let mut reader = server.connect_resp3();
    reader.line("CLIENT TRACKING ON");
    let changes = [
        "SET k x",
        "APPEND k y",
        "EXPIRE k 1000",
        "PERSIST k",
        "RENAME k other",
        "COPY other k REPLACE",
        "DEL k",
    ];
    writer.line("SET k 0");
    for change in changes {
        reader.line("EXISTS k");
        writer.line(change);
        assert_eq!(next(&mut reader), r#">["invalidate" ["k"]]"#, "{change}");
    }
    // A transaction is one change.
    writer.line("SET k 0");
    reader.line("GET k");
    writer.check(&[
        ("MULTI", "+OK"),
        ("INCR k", "+QUEUED"),
        ("INCR k", "+QUEUED"),
    ]);
    writer.line("EXEC");
    assert_eq!(next(&mut reader), r#">["invalidate" ["k"]]"#);
    // Its own change: behind the reply.
    reader.check(&[("GET k", "\"2\""), ("SET k 9", "+OK")]);
    assert_eq!(next(&mut reader), r#">["invalidate" ["k"]]"#);
    // Expiry, of a key and of a field.
    writer.check(&[("SET k x PX 2000", "+OK"), ("HSET h f v", ":1")]);
    reader.check(&[("GET k", "\"x\""), ("HGETALL h", "{\"f\": \"v\"}")]);
    assert_eq!(next(&mut reader), r#">["invalidate" ["k"]]"#);
    writer.line("HPEXPIRE h 20 FIELDS 1 f");
    assert_eq!(next(&mut reader), r#">["invalidate" ["h"]]"#);
    reader.line("HGETALL h");
    wait_until("the field expires", || writer.line("EXISTS h") == ":0");
    assert_quiet_after_invalidation(&mut reader, "h");
}

/// One more invalidation may have come, before the reply to a PING.
fn assert_quiet_after_invalidation(client: &mut Client, key: &str) {
    client.send(&[b"PING"]);
    let first = next(client);
    if first != "+PONG" {
        assert_eq!(first, format!(r#">["invalidate" ["{key}"]]"#));
        assert_eq!(next(client), "+PONG");
    }
}

#[test]
fn transactions_and_blocked_reads_register() {
    let server = TestServer::start_with(&[
        "--threads",
        "2",
        "--threads-spread",
        "yes",
        "--enable-debug-command",
        "yes",
    ]);
    let mut writer = server.connect();
    let mut reader = server.connect_resp3();
    writer.line("SET k 1");
    reader.check(&[
        ("CLIENT TRACKING ON", "+OK"),
        ("MULTI", "+OK"),
        ("GET k", "+QUEUED"),
        ("EXEC", "[\"1\"]"),
    ]);
    writer.line("SET k 2");
    assert_eq!(next(&mut reader), r#">["invalidate" ["k"]]"#);
    // Changes of the transaction that come before the read concern no copy.
    reader.check(&[
        ("MULTI", "+OK"),
        ("SET own 1", "+QUEUED"),
        ("GET own", "+QUEUED"),
        ("EXEC", "[+OK \"1\"]"),
    ]);
    assert_quiet(&mut reader);
    writer.line("SET own 2");
    assert_eq!(next(&mut reader), r#">["invalidate" ["own"]]"#);
    // A read that finds a key expired: the invalidation comes behind the reply.
    writer.check(&[
        ("DEBUG SET-ACTIVE-EXPIRE 0", "+OK"),
        ("SET e x PX 1000", "+OK"),
    ]);
    reader.line("GET e");
    std::thread::sleep(std::time::Duration::from_millis(1010));
    assert_eq!(reader.line("MGET k e"), "[\"2\" null]");
    assert_eq!(next(&mut reader), r#">["invalidate" ["e"]]"#);
    writer.check(&[("DEBUG SET-ACTIVE-EXPIRE 1", "+OK"), ("SET e y", "+OK")]);
    assert_eq!(next(&mut reader), r#">["invalidate" ["e"]]"#);
    reader.send(&[b"XREAD", b"BLOCK", b"0", b"STREAMS", b"s", b"$"]);
    wait_until("the reader is blocked", || {
        writer.line("INFO clients").contains("blocked_clients:1")
    });
    writer.line("XADD s 1-1 f v");
    // The change that serves it comes before the reply, and the next one behind it.
    assert_eq!(next(&mut reader), r#">["invalidate" ["s"]]"#);
    assert_eq!(next(&mut reader), r#"{"s": [["1-1" ["f" "v"]]]}"#);
    writer.line("XADD s 2-1 f v");
    assert_eq!(next(&mut reader), r#">["invalidate" ["s"]]"#);
    assert_quiet(&mut reader);
}

#[test]
fn what_a_served_command_changes_comes_behind_its_reply() {
    let server = two_workers();
    let mut writer = server.connect();
    let mut reader = server.connect_resp3();
    reader.line("CLIENT TRACKING ON");
    for _ in 0..50 {
        reader.line("LLEN to");
        reader.send(&[b"BLMOVE", b"from", b"to", b"LEFT", b"RIGHT", b"0"]);
        wait_until("the reader is blocked", || {
            writer.line("INFO clients").contains("blocked_clients:1")
        });
        writer.line("RPUSH from x");
        assert_eq!(next(&mut reader), "\"x\"");
        assert_eq!(next(&mut reader), r#">["invalidate" ["to"]]"#);
    }
}

#[test]
fn optin_and_optout_choose_commands() {
    let server = two_workers();
    let mut writer = server.connect();
    let mut reader = server.connect_resp3();
    reader.check(&[
        (
            "CLIENT CACHING YES",
            "-ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        ),
        ("CLIENT TRACKING ON OPTIN", "+OK"),
        (
            "CLIENT CACHING NO",
            "-ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
        ),
        ("GET a", "null"),
        ("CLIENT CACHING YES", "+OK"),
        ("CLIENT GETNAME", "null"),
        ("GET b", "null"),
        ("GET c", "null"),
        ("CLIENT CACHING YES", "+OK"),
        ("MULTI", "+OK"),
        ("GET d", "+QUEUED"),
        ("GET e", "+QUEUED"),
        ("EXEC", "[null null]"),
        ("GET f", "null"),
    ]);
    for key in ["a", "b", "c", "d", "e", "f"] {
        writer.line(&format!("SET {key} 1"));
    }
    for key in ["b", "d", "e"] {
        assert_eq!(next(&mut reader), format!(r#">["invalidate" ["{key}"]]"#));
    }
    assert_quiet(&mut reader);
    reader.check(&[
        (
            "CLIENT TRACKING ON OPTOUT",
            "-ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.",
        ),
        ("CLIENT TRACKING OFF", "+OK"),
        ("CLIENT TRACKING ON OPTOUT", "+OK"),
        ("CLIENT CACHING NO", "+OK"),
        ("GET a", "\"1\""),
        ("GET b", "\"1\""),
    ]);
    writer.check(&[("SET a 2", "+OK"), ("SET b 2", "+OK")]);
    assert_eq!(next(&mut reader), r#">["invalidate" ["b"]]"#);
    assert_quiet(&mut reader);
}

#[test]
fn noloop_spares_own_changes() {
    let server = two_workers();
    let mut writer = server.connect();
    let mut reader = server.connect_resp3();
    reader.check(&[
        ("CLIENT TRACKING ON NOLOOP", "+OK"),
        ("GET k", "null"),
        ("SET k 1", "+OK"),
        ("GET k", "\"1\""),
    ]);
    assert_quiet(&mut reader);
    writer.line("SET k 2");
    assert_eq!(next(&mut reader), r#">["invalidate" ["k"]]"#);
}

#[test]
fn broadcasts_go_by_prefix() {
    let server = two_workers();
    let mut writer = server.connect();
    let mut some = server.connect_resp3();
    let mut all = server.connect_resp3();
    let mut noloop = server.connect_resp3();
    some.check(&[
        (
            "CLIENT TRACKING ON PREFIX a",
            "-ERR PREFIX option requires BCAST mode to be enabled",
        ),
        (
            "CLIENT TRACKING ON BCAST OPTIN",
            "-ERR OPTIN and OPTOUT are not compatible with BCAST",
        ),
        (
            "CLIENT TRACKING ON BCAST PREFIX ab PREFIX a",
            "-ERR Prefix 'ab' overlaps with another provided prefix 'a'. Prefixes for a single client must not overlap.",
        ),
        ("CLIENT TRACKING ON BCAST PREFIX a PREFIX b", "+OK"),
        (
            "CLIENT TRACKING ON BCAST PREFIX ab",
            "-ERR Prefix 'ab' overlaps with an existing prefix 'a'. Prefixes for a single client must not overlap.",
        ),
        ("CLIENT TRACKING ON BCAST PREFIX c", "+OK"),
        (
            "CLIENT TRACKING ON",
            "-ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.",
        ),
        (
            "CLIENT TRACKINGINFO",
            r#"{"flags": ~["on" "bcast"] "redirect": :0 "prefixes": ["a" "b" "c"]}"#,
        ),
    ]);
    all.line("CLIENT TRACKING ON BCAST");
    noloop.line("CLIENT TRACKING ON BCAST NOLOOP");
    writer.line("MSET a1 1 x 1 b1 1 a0 1");
    let mut got = [next(&mut some), next(&mut some)];
    got.sort();
    assert_eq!(
        got,
        [
            r#">["invalidate" ["a0" "a1"]]"#,
            r#">["invalidate" ["b1"]]"#
        ]
    );
    assert_eq!(next(&mut all), r#">["invalidate" ["a0" "a1" "b1" "x"]]"#);
    assert_eq!(next(&mut noloop), r#">["invalidate" ["a0" "a1" "b1" "x"]]"#);
    noloop.line("SET mine 1");
    assert_eq!(next(&mut all), r#">["invalidate" ["mine"]]"#);
    assert_quiet(&mut noloop);
    assert_quiet(&mut some);
    assert!(
        writer
            .line("INFO stats")
            .contains("tracking_total_prefixes:4")
    );
    some.line("CLIENT TRACKING OFF");
    writer.line("SET a1 2");
    assert_quiet(&mut some);
    drop((all, noloop));
    wait_until("prefixes go with their clients", || {
        let info = writer.line("INFO everything");
        info.contains("tracking_total_prefixes:0") && info.contains("tracking_clients:0")
    });
}

#[test]
fn messages_can_be_redirected() {
    let server = two_workers();
    let mut writer = server.connect();
    let mut channel = server.connect();
    let mut reader = server.connect();
    let id = channel.integer("CLIENT ID");
    channel.line("SUBSCRIBE __redis__:invalidate");
    reader.check(&[
        (
            "CLIENT TRACKING ON REDIRECT 999999",
            "-ERR The client ID you want redirect to does not exist",
        ),
        (
            "CLIENT TRACKING ON REDIRECT x",
            "-ERR value is not an integer or out of range",
        ),
        (
            &format!("CLIENT TRACKING ON REDIRECT {id} REDIRECT {id}"),
            "-ERR A client can only redirect to a single other client",
        ),
        ("CLIENT GETREDIR", ":-1"),
        (&format!("CLIENT TRACKING ON REDIRECT {id}"), "+OK"),
        ("CLIENT GETREDIR", &format!(":{id}")),
        ("GET k", "nil"),
    ]);
    let list = writer.line("CLIENT LIST");
    assert!(list.contains(&format!(" redir={id} ")) && list.contains(" flags=t "));
    writer.line("SET k 1");
    assert_eq!(
        next(&mut channel),
        r#"["message" "__redis__:invalidate" ["k"]]"#
    );
    reader.line("GET k");
    writer.line("FLUSHALL");
    assert_eq!(
        next(&mut channel),
        r#"["message" "__redis__:invalidate" nil]"#
    );
    // The other client goes.
    assert_eq!(reader.line("HELLO 3").get(..1), Some("{"));
    reader.line("GET k");
    drop(channel);
    wait_until("the other client is gone", || {
        writer.line(&format!("CLIENT LIST ID {id}")) == "\"\""
    });
    writer.line("SET k 2");
    assert_eq!(
        next(&mut reader),
        format!(r#">["tracking-redir-broken" :{id}]"#)
    );
    assert_eq!(
        reader.line("CLIENT TRACKINGINFO"),
        format!(r#"{{"flags": ~["on" "broken_redirect"] "redirect": :{id} "prefixes": []}}"#)
    );
    assert!(writer.line("CLIENT LIST").contains(" flags=tR "));
    // To a RESP2 client that is not subscribed nothing can be sent, to a RESP3 client pushes.
    let mut push = server.connect_resp3();
    let id = push.integer("CLIENT ID");
    reader.line(&format!("CLIENT TRACKING ON REDIRECT {id}"));
    reader.line("GET k");
    writer.line("SET k 3");
    assert_eq!(next(&mut push), r#">["invalidate" ["k"]]"#);
    let mut plain = server.connect();
    let id = plain.integer("CLIENT ID");
    reader.line(&format!("CLIENT TRACKING ON REDIRECT {id}"));
    reader.line("GET k");
    writer.line("SET k 4");
    assert_quiet(&mut plain);
    assert_quiet(&mut reader);
}

#[test]
fn an_emptied_server_invalidates_everything() {
    let server = two_workers();
    let mut writer = server.connect();
    let mut reader = server.connect_resp3();
    let mut broadcast = server.connect_resp3();
    let mut untracked = server.connect_resp3();
    broadcast.line("CLIENT TRACKING ON BCAST PREFIX x");
    reader.check(&[
        ("CLIENT TRACKING ON", "+OK"),
        ("GET k", "null"),
        ("GET l", "null"),
    ]);
    assert!(writer.line("INFO stats").contains("tracking_total_keys:2"));
    for line in ["FLUSHALL", "FLUSHDB"] {
        writer.line(line);
        assert_eq!(next(&mut reader), r#">["invalidate" null]"#);
        assert_eq!(next(&mut broadcast), r#">["invalidate" null]"#);
        assert!(writer.line("INFO stats").contains("tracking_total_keys:0"));
    }
    assert_quiet(&mut untracked);
    // Its own, behind the reply.
    assert_eq!(reader.line("FLUSHALL"), "+OK");
    assert_eq!(next(&mut reader), r#">["invalidate" null]"#);
}

#[test]
fn the_table_is_bounded() {
    let server = two_workers();
    let mut writer = server.connect();
    let mut reader = server.connect_resp3();
    reader.line("CLIENT TRACKING ON");
    for number in 0..500 {
        reader.line(&format!("GET key:{number}"));
    }
    let info = writer.line("INFO stats");
    assert!(info.contains("tracking_total_keys:500\\r"), "{info}");
    assert!(info.contains("tracking_total_items:500\\r"), "{info}");
    writer.line("CONFIG SET tracking-table-max-keys 100");
    // 400 keys are forgotten, and each was told.
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..400 {
        assert!(seen.insert(next(&mut reader)), "a key was forgotten twice");
    }
    assert!(
        writer
            .line("INFO stats")
            .contains("tracking_total_keys:100\\r")
    );
    assert_quiet(&mut reader);
    // What is read beyond the limit makes room for itself, or is forgotten soon.
    for number in 500..600 {
        reader.send(&[b"GET", format!("key:{number}").as_bytes()]);
    }
    let mut replies = 0;
    while replies < 100 {
        replies += usize::from(next(&mut reader) == "null");
    }
    wait_until("the limit holds", || {
        writer
            .line("INFO stats")
            .contains("tracking_total_keys:100\\r")
    });
}

#[test]
fn clients_that_leave_are_forgotten() {
    let server = two_workers();
    let mut writer = server.connect();
    let mut reader = server.connect_resp3();
    reader.check(&[
        ("CLIENT TRACKING ON", "+OK"),
        ("GET a", "null"),
        ("GET b", "null"),
    ]);
    assert!(
        writer
            .line("INFO stats")
            .contains("tracking_total_items:2\\r")
    );
    drop(reader);
    wait_until("nothing is remembered for it", || {
        let info = writer.line("INFO everything");
        [
            "tracking_total_keys:0",
            "tracking_total_items:0",
            "tracking_clients:0",
        ]
        .iter()
        .all(|field| info.contains(&format!("{field}\\r")))
    });
}

#[test]
fn states_are_shown() {
    let server = two_workers();
    let mut client = server.connect_resp3();
    client.check(&[
        (
            "CLIENT TRACKINGINFO",
            r#"{"flags": ~["off"] "redirect": :-1 "prefixes": []}"#,
        ),
        ("CLIENT TRACKING OFF", "+OK"),
        ("CLIENT TRACKING MAYBE", "-ERR syntax error"),
        ("CLIENT TRACKING ON FOO", "-ERR syntax error"),
        (
            "CLIENT TRACKING ON OPTIN OPTOUT",
            "-ERR You can't specify both OPTIN mode and OPTOUT mode",
        ),
        ("CLIENT TRACKING ON OPTIN NOLOOP", "+OK"),
        ("CLIENT CACHING YES", "+OK"),
        (
            "CLIENT TRACKINGINFO",
            r#"{"flags": ~["on" "optin" "caching-yes" "noloop"] "redirect": :0 "prefixes": []}"#,
        ),
        ("CLIENT GETREDIR", ":0"),
        ("CLIENT TRACKING OFF", "+OK"),
        ("CLIENT TRACKING ON OPTOUT", "+OK"),
        ("CLIENT CACHING MAYBE", "-ERR syntax error"),
        ("CLIENT CACHING NO", "+OK"),
        (
            "CLIENT TRACKINGINFO",
            r#"{"flags": ~["on" "optout" "caching-no"] "redirect": :0 "prefixes": []}"#,
        ),
        ("CLIENT TRACKING OFF", "+OK"),
        ("CLIENT TRACKING ON BCAST", "+OK"),
    ]);
    assert!(client.line("CLIENT INFO").contains(" flags=tB "));
    client.line("RESET");
    assert_eq!(client.line("CLIENT GETREDIR"), ":-1");
    assert!(client.line("INFO clients").contains("tracking_clients:0"));
}

/// CLIENT LIST counts what holds a prefix, as that of Valkey; limits count its text too.
#[test]
fn prefixes_count_little_in_the_list_of_clients() {
    let server = TestServer::start();
    let mut client = server.connect();
    let memory = |client: &mut Client| -> usize {
        let info = client.line("CLIENT INFO");
        let figure = info.split("tot-mem=").nth(1).expect("the field");
        let digits = figure.split(' ').next().expect("a number");
        digits.parse().expect("a number")
    };
    let before = memory(&mut client);
    let mut line = "CLIENT TRACKING ON BCAST".to_owned();
    for number in 0..1_000 {
        line.push_str(&format!(" PREFIX {}{number:04}", "x".repeat(100)));
    }
    assert_eq!(client.line(&line), "+OK");
    let grown = memory(&mut client) - before;
    assert!((24_000..60_000).contains(&grown), "{grown}");
}
