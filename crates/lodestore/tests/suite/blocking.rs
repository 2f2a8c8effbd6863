//! Clients that wait for keys: order, time-outs, what feeds a key, chains, and that nothing gets
//! lost.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use resp::Value;

use super::harness::{Client, TestServer, show};

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

/// A client that has sent `line` and waits.
fn blocked(server: &TestServer, line: &str) -> Client {
    let mut client = server.connect();
    block(server, &mut client, line);
    client
}

fn block(server: &TestServer, client: &mut Client, line: &str) {
    let mut other = server.connect();
    let info = other.run(&["INFO", "clients"]);
    let text = String::from_utf8_lossy(info.as_bytes().expect("a text")).into_owned();
    let before: usize = text
        .lines()
        .find_map(|line| line.strip_prefix("blocked_clients:"))
        .and_then(|count| count.trim().parse().ok())
        .expect("a count");
    send(client, line);
    wait_for_blocked(&mut other, before + 1);
}

fn send(client: &mut Client, line: &str) {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    client.send(&words);
}

fn info_value(client: &mut Client, section: &str, name: &str) -> String {
    let info = client.run(&["INFO", section]);
    let text = String::from_utf8_lossy(info.as_bytes().expect("a text")).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map(|value| value.trim_start_matches(':').to_owned())
        .unwrap_or_default()
}

#[test]
fn a_wait_ends_when_its_time_is_over() {
    let server = TestServer::start();
    let mut client = server.connect();
    for line in [
        "BLPOP k 0.05",
        "BRPOP k other 0.05",
        "BLMPOP 0.05 1 k LEFT",
        "BLMOVE k l LEFT LEFT 0.05",
        "BRPOPLPUSH k l 0.05",
        "BLMOVEM k l LEFT LEFT 0.05",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let began = Instant::now();
        assert_eq!(client.run(&words), Value::NullArray, "{line}");
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(48), "{line}: {took:?}");
        assert!(took < Duration::from_secs(10), "{line}: {took:?}");
    }
    let mut resp3 = server.connect_resp3();
    assert_eq!(resp3.run(&["BLPOP", "k", "0.01"]), Value::Null);
    client.check(&[
        ("BLPOP k 0x1p-10", "nil-array"),
        ("BLPOP k 0.000001", "nil-array"),
        ("BLPOP k 1e-310", "nil-array"),
        ("BRPOP k 1e-400", "nil-array"),
        ("BLMPOP 1e-4000 1 k LEFT", "nil-array"),
        ("BZPOPMIN k 1e-400", "nil-array"),
    ]);
    let not_a_float = "-ERR timeout is not a float or out of range";
    let too_long = "-ERR timeout is out of range";
    client.check(&[
        ("BLPOP k abc", not_a_float),
        ("BLPOP k nan", not_a_float),
        ("BLPOP k \"\"", not_a_float),
        ("BLPOP k \" 1\"", not_a_float),
        ("BLPOP k -1", "-ERR timeout is negative"),
        ("BLPOP k -inf", "-ERR timeout is negative"),
        ("BLPOP k inf", too_long),
        ("BLPOP k 9223372036854775807", too_long),
        ("BLPOP k 9223372036854775", too_long),
        ("BRPOP k 1e300", too_long),
        ("BRPOP k 1e400", too_long),
        ("BLPOP k 1e4932", too_long),
        ("BLPOP k 1e5000", not_a_float),
        ("BLPOP k -1e400", "-ERR timeout is negative"),
        ("BLMOVE k l LEFT LEFT x", not_a_float),
        ("BRPOPLPUSH k l -0.5", "-ERR timeout is negative"),
        ("BLMPOP x 1 k LEFT", not_a_float),
        ("BLMPOP x 0 k LEFT", "-ERR numkeys should be greater than 0"),
        ("BLMOVEM k l LEFT LEFT x", not_a_float),
        // The timeout counts even when there is something to pop.
        ("RPUSH full a", ":1"),
        ("BLPOP full -1", "-ERR timeout is negative"),
        ("LLEN full", ":1"),
    ]);
}

#[test]
fn clients_are_served_in_order_of_arrival() {
    let server = TestServer::start();
    let mut feeder = server.connect();
    let mut first = blocked(&server, "BLPOP k 0");
    let mut second = blocked(&server, "BRPOP k 0");
    let mut third = blocked(&server, "BLMPOP 0 1 k RIGHT COUNT 2");
    let mut fourth = blocked(&server, "BLPOP k 0");
    feeder.check(&[("RPUSH k 1", ":1")]);
    assert_eq!(show(&first.read()), r#"["k" "1"]"#);
    // One push serves several of them, and what is left stays.
    feeder.check(&[("RPUSH k a b c d e", ":5")]);
    assert_eq!(show(&second.read()), r#"["k" "e"]"#);
    assert_eq!(show(&third.read()), r#"["k" ["d" "c"]]"#);
    assert_eq!(show(&fourth.read()), r#"["k" "a"]"#);
    feeder.check(&[("LRANGE k 0 -1", r#"["b"]"#)]);
}

#[test]
fn a_client_waits_for_several_keys() {
    let server = TestServer::start();
    let mut feeder = server.connect();
    let mut client = blocked(&server, "BLPOP a b c b a 0");
    assert_eq!(
        info_value(&mut feeder, "clients", "total_blocking_keys"),
        "3"
    );
    feeder.check(&[("RPUSH c 1", ":1")]);
    assert_eq!(show(&client.read()), r#"["c" "1"]"#);
    assert_eq!(
        info_value(&mut feeder, "clients", "total_blocking_keys"),
        "0"
    );
    // Fed together, the order of the command counts, not that of the pushes.
    block(&server, &mut client, "BRPOP a b c 0");
    send(&mut feeder, "MULTI");
    for line in ["RPUSH c 3", "RPUSH b 2", "EXEC"] {
        send(&mut feeder, line);
    }
    assert_eq!(show(&client.read()), r#"["b" "2"]"#);
    (0..4).for_each(|_| drop(feeder.read()));
    feeder.check(&[("LRANGE c 0 -1", r#"["3"]"#), ("EXISTS b", ":0")]);
}

#[test]
fn other_types_and_removals_do_not_wake() {
    let server = TestServer::start();
    let mut feeder = server.connect();
    let mut client = blocked(&server, "BLPOP k other 0");
    feeder.check(&[
        ("SET k v", "+OK"),
        ("DEL k", ":1"),
        ("APPEND k v", ":1"),
        ("PEXPIRE k 1", ":1"),
        ("FLUSHALL", "+OK"),
        ("SET k string", "+OK"),
        // Woken by the second key, the command meets the first.
        ("RPUSH other x", ":1"),
    ]);
    let wrong_type = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    assert_eq!(show(&client.read()), wrong_type);
    feeder.check(&[("DEL k other", ":2")]);
    // A push and its removal in one step are nothing to a waiter.
    block(&server, &mut client, "BLPOP k 0");
    feeder.check(&[
        ("MULTI", "+OK"),
        ("RPUSH k 1", "+QUEUED"),
        ("DEL k", "+QUEUED"),
        ("EXEC", "[:1 :1]"),
        ("MULTI", "+OK"),
        ("RPUSH k 1", "+QUEUED"),
        ("SET k 1", "+QUEUED"),
        ("EXEC", "[:1 +OK]"),
        ("DEL k", ":1"),
        ("RPUSH k 2", ":1"),
    ]);
    assert_eq!(show(&client.read()), r#"["k" "2"]"#);
}

#[test]
fn keys_appear_in_many_ways() {
    let server = TestServer::start();
    let mut feeder = server.connect();
    let mut client = server.connect();
    let ways: [(&[&str], &str); 7] = [
        (&["RPUSH from 1", "RENAME from k"], r#"["k" "1"]"#),
        (&["RPUSH from 2", "RENAMENX from k"], r#"["k" "2"]"#),
        (&["RPUSH from 3", "COPY from k"], r#"["k" "3"]"#),
        (
            &["SELECT 3", "RPUSH k 4", "MOVE k 0", "SELECT 0"],
            r#"["k" "4"]"#,
        ),
        (
            &["SELECT 3", "RPUSH k 5", "SWAPDB 0 3", "SELECT 0"],
            r#"["k" "5"]"#,
        ),
        (
            &["SELECT 3", "RPUSH k 6", "COPY k k DB 0", "SELECT 0"],
            r#"["k" "6"]"#,
        ),
        (&["RPUSH from 7", "LMOVE from k LEFT LEFT"], r#"["k" "7"]"#),
    ];
    for (lines, reply) in ways {
        block(&server, &mut client, "BLPOP k 0");
        for line in lines {
            assert!(!feeder.line(line).starts_with('-'), "{line}");
        }
        assert_eq!(show(&client.read()), reply, "{lines:?}");
        feeder.line("FLUSHALL");
    }
    // The same name in another database is another key.
    block(&server, &mut client, "BLPOP k 0");
    feeder.check(&[
        ("SELECT 1", "+OK"),
        ("RPUSH k far", ":1"),
        ("SELECT 0", "+OK"),
    ]);
    feeder.check(&[("RPUSH k near", ":1")]);
    assert_eq!(show(&client.read()), r#"["k" "near"]"#);
}

#[test]
fn what_a_served_client_pushes_serves_others() {
    let server = TestServer::start();
    let mut feeder = server.connect();
    let mut mover = blocked(&server, "BLMOVE a b LEFT RIGHT 0");
    let mut pusher = blocked(&server, "BRPOPLPUSH b c 0");
    let mut taker = blocked(&server, "BLPOP c 0");
    feeder.check(&[("RPUSH a x", ":1"), ("KEYS *", "[]")]);
    assert_eq!(show(&mover.read()), r#""x""#);
    assert_eq!(show(&pusher.read()), r#""x""#);
    assert_eq!(show(&taker.read()), r#"["c" "x"]"#);
    // A cycle ends where a client takes the element, or where no client waits any more.
    block(&server, &mut mover, "BLMOVE a b LEFT RIGHT 0");
    block(&server, &mut pusher, "BLMOVE b a LEFT RIGHT 0");
    block(&server, &mut taker, "BLMOVE a a LEFT RIGHT 0");
    feeder.check(&[("RPUSH a y", ":1"), ("LRANGE a 0 -1", r#"["y"]"#)]);
    for client in [&mut mover, &mut pusher, &mut taker] {
        assert_eq!(show(&client.read()), r#""y""#);
    }
    // A destination of another type is an error of the client that waited, and nothing moves.
    feeder.check(&[("DEL a", ":1"), ("SET b string", "+OK")]);
    block(&server, &mut mover, "BLMOVE a b LEFT RIGHT 0");
    feeder.check(&[("RPUSH a z", ":1"), ("LRANGE a 0 -1", r#"["z"]"#)]);
    assert!(show(&mover.read()).starts_with("-WRONGTYPE"));
}

#[test]
fn transactions_do_not_block_and_feed_at_their_end() {
    let server = TestServer::start();
    let mut feeder = server.connect();
    feeder.check(&[
        ("MULTI", "+OK"),
        ("BLPOP k 0", "+QUEUED"),
        ("BLMPOP 0 1 k LEFT", "+QUEUED"),
        ("BLMOVE k l LEFT LEFT 0", "+QUEUED"),
        ("BLMOVEM k l LEFT LEFT 0 EXACTLY 2 OBO", "+QUEUED"),
        ("EXEC", "[nil-array nil-array nil nil-array]"),
    ]);
    let mut client = blocked(&server, "BLPOP k 0");
    feeder.check(&[
        ("MULTI", "+OK"),
        ("RPUSH k 1 2", "+QUEUED"),
        ("LPOP k", "+QUEUED"),
        ("LPUSH k 0", "+QUEUED"),
        ("EXEC", r#"[:2 "1" :2]"#),
        ("LRANGE k 0 -1", r#"["2"]"#),
    ]);
    assert_eq!(show(&client.read()), r#"["k" "0"]"#);
}

#[test]
fn many_are_moved_when_there_are_enough() {
    let server = TestServer::start();
    let mut feeder = server.connect();
    let mut exact = blocked(&server, "BLMOVEM k to LEFT RIGHT 0 EXACTLY 3 BULK");
    let mut popper = blocked(&server, "BLPOP k 0");
    let mut late = blocked(&server, "BLPOP k 0");
    // Too few for the first, enough for the second; the first keeps its place.
    feeder.check(&[("RPUSH k a", ":1")]);
    assert_eq!(show(&popper.read()), r#"["k" "a"]"#);
    feeder.check(&[("RPUSH k 1 2 3 4", ":4")]);
    assert_eq!(show(&exact.read()), r#"["1" "2" "3"]"#);
    assert_eq!(show(&late.read()), r#"["k" "4"]"#);
    // A list that is there may still be too short.
    for feed in [
        "LINSERT k BEFORE a b",
        "LMOVE from k LEFT RIGHT",
        "RPUSHX k z",
    ] {
        feeder.check(&[
            ("DEL k from", ":0"),
            ("RPUSH k a z", ":2"),
            ("RPUSH from x", ":1"),
        ]);
        block(
            &server,
            &mut exact,
            "BLMOVEM k to LEFT RIGHT 0 EXACTLY 3 OBO",
        );
        assert!(!feeder.line(feed).starts_with('-'));
        assert_eq!(
            exact.read().as_elements().map(<[Value]>::len),
            Some(3),
            "{feed}"
        );
        feeder.line("DEL k from");
    }
    block(
        &server,
        &mut exact,
        "BLMOVEM k to LEFT RIGHT 0 COUNT 3 BULK",
    );
    feeder.check(&[("RPUSH k a b", ":2"), ("EXISTS k", ":0")]);
    assert_eq!(show(&exact.read()), r#"["a" "b"]"#);
}

#[test]
fn a_client_that_leaves_takes_nothing() {
    let server = TestServer::start();
    let mut feeder = server.connect();
    drop(blocked(&server, "BLPOP k 0"));
    wait_for_blocked(&mut feeder, 0);
    let mut killed = blocked(&server, "BLPOP k other 0");
    let id = feeder
        .line("CLIENT LIST")
        .split("\\n")
        .find(|row| row.contains("flags=b"))
        .and_then(|row| row.split(' ').next())
        .and_then(|id| id.trim_start_matches('"').strip_prefix("id="))
        .expect("a blocked client")
        .to_owned();
    // The kill counts from its reply on.
    feeder.check(&[
        (&format!("CLIENT KILL ID {id}"), ":1"),
        ("RPUSH k x", ":1"),
        ("LLEN k", ":1"),
    ]);
    assert!(killed.read_or_closed().is_none());
    wait_for_blocked(&mut feeder, 0);
    assert_eq!(
        info_value(&mut feeder, "clients", "total_blocking_keys"),
        "0"
    );
}

#[test]
fn client_unblock() {
    let server = TestServer::start();
    let mut other = server.connect();
    let mut client = server.connect();
    let id = client.integer("CLIENT ID");
    other.check(&[
        (&format!("CLIENT UNBLOCK {id}"), ":0"),
        ("CLIENT UNBLOCK 123456", ":0"),
        (
            "CLIENT UNBLOCK x",
            "-ERR value is not an integer or out of range",
        ),
    ]);
    block(&server, &mut client, "BLPOP k 0");
    other.check(&[(&format!("CLIENT UNBLOCK {id} TIMEOUT"), ":1")]);
    assert_eq!(client.read(), Value::NullArray);
    block(&server, &mut client, "BLMOVE k l LEFT LEFT 0");
    // From this reply on an unblocked client takes no element any more.
    other.check(&[
        (&format!("CLIENT UNBLOCK {id} ERROR"), ":1"),
        (&format!("CLIENT UNBLOCK {id} ERROR"), ":0"),
        ("RPUSH k x", ":1"),
        ("LPOP k", r#""x""#),
    ]);
    assert_eq!(
        show(&client.read()),
        "-UNBLOCKED client unblocked via CLIENT UNBLOCK"
    );
    assert_eq!(
        info_value(&mut other, "errorstats", "errorstat_UNBLOCKED"),
        "count=1"
    );
    block(&server, &mut client, "BLPOP k 0");
    // Served is served.
    other.check(&[("RPUSH k y", ":1"), (&format!("CLIENT UNBLOCK {id}"), ":0")]);
    assert_eq!(show(&client.read()), r#"["k" "y"]"#);
    wait_for_blocked(&mut other, 0);
}

#[test]
fn what_the_server_tells_about_waiting_clients() {
    let server = TestServer::start();
    let mut other = server.connect();
    let mut client = blocked(&server, "BLPOP a b 100");
    let mut forever = blocked(&server, "BRPOP a 0");
    for (name, value) in [
        ("blocked_clients", "2"),
        ("clients_in_timeout_table", "1"),
        ("total_blocking_keys", "2"),
        ("total_blocking_keys_on_nokey", "0"),
    ] {
        assert_eq!(info_value(&mut other, "clients", name), value, "{name}");
    }
    let listed = other.line("CLIENT LIST");
    assert_eq!(listed.matches("flags=b").count(), 2, "{listed}");
    assert!(listed.contains("cmd=blpop"), "{listed}");
    // A command that waits is counted when it ends.
    assert_eq!(info_value(&mut other, "commandstats", "cmdstat_blpop"), "");
    other.check(&[("RPUSH a 1 2", ":2")]);
    client.read();
    forever.read();
    let stats = info_value(&mut other, "commandstats", "cmdstat_blpop");
    assert!(stats.starts_with("calls=1,"), "{stats}");
    assert_eq!(show(&client.run(&["BLPOP", "a", "0.01"])), "nil-array");
    let stats = info_value(&mut other, "commandstats", "cmdstat_blpop");
    assert!(stats.starts_with("calls=2,"), "{stats}");
    let listed = other.line("CLIENT LIST");
    assert_eq!(listed.matches("flags=b").count(), 0, "{listed}");
    wait_for_blocked(&mut other, 0);
    assert_eq!(
        info_value(&mut other, "clients", "clients_in_timeout_table"),
        "0"
    );
}

#[test]
fn the_log_names_what_served_clients_did_in_order() {
    let server = TestServer::start();
    let before = server.logged().len();
    let mut feeder = server.connect();
    let mut waiting = [
        blocked(&server, "BLMOVE a b LEFT RIGHT 0"),
        blocked(&server, "BRPOPLPUSH b c 0"),
        blocked(&server, "BLMPOP 0 2 none c LEFT COUNT 5"),
        blocked(&server, "BRPOP a 0"),
        blocked(&server, "BLMOVEM d e LEFT LEFT 0 EXACTLY 2 OBO"),
    ];
    feeder.check(&[
        ("RPUSH a 1 2", ":2"),
        ("MULTI", "+OK"),
        ("RPUSH d 1", "+QUEUED"),
        ("RPUSH d 2", "+QUEUED"),
        ("EXEC", "[:1 :2]"),
    ]);
    waiting.iter_mut().for_each(|client| drop(client.read()));
    let mut logged = server.logged().split_off(before);
    logged.retain(|command| !command.starts_with("SELECT "));
    assert_eq!(
        logged,
        [
            "RPUSH a 1 2",
            "LMOVE a b LEFT RIGHT",
            "RPOP a",
            "RPOPLPUSH b c",
            "LPOP c 1",
            "MULTI",
            "RPUSH d 1",
            "RPUSH d 2",
            "EXEC",
            "LMOVEM d e LEFT LEFT EXACTLY 2 OBO",
        ]
    );
    server.assert_replays();
}

#[test]
fn what_is_pipelined_behind_a_wait_runs_after_it() {
    let server = TestServer::start();
    let mut feeder = server.connect();
    let mut client = server.connect();
    for line in ["SET s 1", "BLPOP k 0", "GET s", "BLPOP k 0", "PING"] {
        send(&mut client, line);
    }
    wait_for_blocked(&mut feeder, 1);
    feeder.check(&[("GET s", r#""1""#), ("SET s 2", "+OK"), ("RPUSH k a", ":1")]);
    assert_eq!(show(&client.read()), "+OK");
    assert_eq!(show(&client.read()), r#"["k" "a"]"#);
    assert_eq!(show(&client.read()), r#""2""#);
    feeder.line("RPUSH k b");
    assert_eq!(show(&client.read()), r#"["k" "b"]"#);
    assert_eq!(show(&client.read()), "+PONG");
}

#[test]
fn replies_that_nobody_wants_are_dropped() {
    let server = TestServer::start();
    let mut feeder = server.connect();
    let mut client = server.connect();
    send(&mut client, "CLIENT REPLY SKIP");
    block(&server, &mut client, "BLPOP k 0");
    feeder.line("RPUSH k a");
    assert_eq!(client.line("ECHO 1"), r#""1""#);
    send(&mut client, "CLIENT REPLY SKIP");
    assert_eq!(
        {
            send(&mut client, "BLPOP k 0.01");
            client.line("ECHO 2")
        },
        r#""2""#
    );
    send(&mut client, "CLIENT REPLY OFF");
    block(&server, &mut client, "BLPOP k 0");
    feeder.line("RPUSH k a");
    wait_for_blocked(&mut feeder, 0);
    assert_eq!(client.line("CLIENT REPLY ON"), "+OK");
    feeder.check(&[("EXISTS k", ":0")]);
}

#[test]
fn a_pause_holds_the_feeder_and_not_the_clock() {
    let server = TestServer::start();
    let mut feeder = server.connect();
    let mut admin = server.connect();
    let mut short = blocked(&server, "BLPOP k 2");
    let mut long = blocked(&server, "BLPOP k 0");
    admin.check(&[("CLIENT PAUSE 100000 WRITE", "+OK")]);
    send(&mut feeder, "RPUSH k x");
    assert_eq!(short.read(), Value::NullArray);
    admin.check(&[("LLEN k", ":0"), ("CLIENT UNPAUSE", "+OK")]);
    assert_eq!(show(&long.read()), r#"["k" "x"]"#);
    assert_eq!(show(&feeder.read()), ":1");
}

#[test]
fn a_pause_in_the_feeding_transaction_comes_first() {
    let server = TestServer::start();
    let mut feeder = server.connect();
    let mut client = blocked(&server, "BLPOP k 0");
    feeder.check(&[
        ("MULTI", "+OK"),
        ("RPUSH k x", "+QUEUED"),
        ("CLIENT PAUSE 100000 WRITE", "+QUEUED"),
        ("EXEC", "[:1 +OK]"),
        ("LRANGE k 0 -1", r#"["x"]"#),
        ("CLIENT UNPAUSE", "+OK"),
    ]);
    assert_eq!(show(&client.read()), r#"["k" "x"]"#);
}

#[test]
fn keys_whose_time_is_over_wake_nobody() {
    let server = TestServer::start_with(&["--enable-debug-command", "yes"]);
    let mut feeder = server.connect();
    feeder.check(&[("DEBUG SET-ACTIVE-EXPIRE 0", "+OK")]);
    let mut client = blocked(&server, "BLPOP k 0");
    feeder.check(&[
        ("MULTI", "+OK"),
        ("RPUSH k x", "+QUEUED"),
        ("PEXPIRE k 20", "+QUEUED"),
        ("DEBUG SLEEP 0.05", "+QUEUED"),
        ("LLEN k", "+QUEUED"),
        ("EXEC", "[:1 :1 +OK :1]"),
        ("EXISTS k", ":0"),
        ("SELECT 1", "+OK"),
        ("RPUSH k x", ":1"),
        ("PEXPIRE k 1", ":1"),
        ("DEBUG SLEEP 0.01", "+OK"),
        ("SWAPDB 0 1", "+OK"),
        ("SELECT 0", "+OK"),
    ]);
    wait_for_blocked(&mut feeder, 1);
    feeder.check(&[("RPUSH k y", ":1")]);
    assert_eq!(show(&client.read()), r#"["k" "y"]"#);
    server.assert_replays();
}

#[test]
fn waits_for_different_types_share_a_key() {
    let server = TestServer::start();
    let mut feeder = server.connect();
    let mut list = blocked(&server, "BLPOP k 0");
    let mut scores = blocked(&server, "BZPOPMIN k 0");
    let mut second = blocked(&server, "BRPOP k 0");
    feeder.check(&[("ZADD k 1 m", ":1"), ("EXISTS k", ":0")]);
    assert_eq!(show(&scores.read()), r#"["k" "m" "1"]"#);
    block(&server, &mut scores, "BZPOPMAX k 0");
    feeder.check(&[("RPUSH k a b", ":2"), ("EXISTS k", ":0")]);
    assert_eq!(show(&list.read()), r#"["k" "a"]"#);
    assert_eq!(show(&second.read()), r#"["k" "b"]"#);
    feeder.check(&[("ZADD k 2 n", ":1")]);
    assert_eq!(show(&scores.read()), r#"["k" "n" "2"]"#);
}

/// Time-outs, CLIENT UNBLOCK and pushes race for the same waits: every element ends up with one
/// client or stays.
#[test]
fn the_end_of_a_wait_is_decided_once() {
    const CLIENTS: usize = 4;
    const PUSHES: usize = 600;
    let server = TestServer::start_with(&["--threads", "4", "--threads-spread", "yes"]);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    let ids: Vec<i64> = clients
        .iter_mut()
        .map(|client| client.integer("CLIENT ID"))
        .collect();
    let taken: Vec<String> = std::thread::scope(|scope| {
        let takers: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                scope.spawn(move || {
                    let mut taken = Vec::new();
                    let mut idle = 0;
                    while idle < 200 {
                        let reply = client.run(&["BLPOP", "none", "q", "0.001"]);
                        match reply.as_elements() {
                            Some([_, element]) => taken.push(show(element)),
                            _ => idle += 1,
                        }
                    }
                    taken
                })
            })
            .collect();
        let mut feeder = server.connect();
        scope.spawn(move || {
            for number in 0..PUSHES {
                feeder.line(&format!("RPUSH q e{number}"));
            }
        });
        let mut unblocker = server.connect();
        scope.spawn(move || {
            for number in 0..PUSHES {
                let how = if number % 2 == 0 { "TIMEOUT" } else { "ERROR" };
                unblocker.line(&format!("CLIENT UNBLOCK {} {how}", ids[number % CLIENTS]));
            }
        });
        let takers = takers.into_iter();
        takers.flat_map(|taker| taker.join().unwrap()).collect()
    });
    let mut client = server.connect();
    wait_for_blocked(&mut client, 0);
    let mut all = taken;
    if let Value::Array(rest) = client.run(&["LRANGE", "q", "0", "-1"]) {
        all.extend(rest.iter().map(show));
    }
    let distinct: BTreeSet<&String> = all.iter().collect();
    assert_eq!((all.len(), distinct.len()), (PUSHES, PUSHES));
    assert_eq!(
        info_value(&mut client, "clients", "total_blocking_keys"),
        "0"
    );
    server.assert_replays();
}

#[test]
fn resp3_and_databases_of_waiting_clients() {
    let server = TestServer::start_with(&["--appendfsync", "always"]);
    let mut feeder = server.connect();
    let mut client = server.connect_resp3();
    client.line("SELECT 2");
    block(&server, &mut client, "BLMOVE k l LEFT LEFT 0");
    feeder.check(&[
        ("SELECT 2", "+OK"),
        ("RPUSH k a", ":1"),
        ("LRANGE l 0 -1", r#"["a"]"#),
    ]);
    assert_eq!(show(&client.read()), r#""a""#);
    server.assert_replays();
}

/// Clients on several workers pass elements around a ring of lists, each with its own kind of wait,
/// while others push, take and time out. At the end every element is in exactly one place, and a
/// server that replays the log agrees.
#[test]
fn nothing_is_lost_or_doubled_in_a_ring() {
    const LISTS: usize = 5;
    const ELEMENTS: usize = 20;
    const MOVES: usize = 150;
    let server = TestServer::start_with(&["--threads", "4", "--threads-spread", "yes"]);
    let list = |number: usize| format!("ring{}", number % LISTS);
    let pass_on = |number: usize, client: &mut Client| {
        for turn in 0..MOVES {
            let (from, to) = (list(number), list(number + 1));
            let line = match turn % 4 {
                0 => format!("BLMOVE {from} {to} LEFT RIGHT 0.05"),
                1 => format!("BRPOPLPUSH {from} {to} 0.05"),
                2 => format!("BLMOVEM {from} {to} LEFT RIGHT 0.02 EXACTLY 2 BULK"),
                _ => format!("BLMPOP 0.05 2 {from} {to} LEFT"),
            };
            let words: Vec<&str> = line.split(' ').collect();
            let reply = client.run(&words);
            assert!(!reply.is_error(), "{line}: {}", show(&reply));
            // The client pushes popped elements itself.
            if turn % 4 == 3
                && let Some([_, Value::Array(elements)]) = reply.as_elements()
            {
                for element in elements {
                    let bytes = element.as_bytes().expect("an element");
                    client.run_bytes(&[b"RPUSH", to.as_bytes(), bytes]);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for number in 0..LISTS * 2 {
            let mut client = server.connect();
            scope.spawn(move || pass_on(number, &mut client));
        }
        let mut feeder = server.connect();
        for number in 0..ELEMENTS {
            feeder.line(&format!("RPUSH {} e{number}", list(number)));
        }
        // Waits that are broken off must not take anything along.
        for number in 0..20 {
            let mut client = server.connect();
            send(
                &mut client,
                &format!("BLPOP nothing{number} {} 0.001", list(0)),
            );
            if let Value::Array(pair) = client.read() {
                let bytes = pair[1].as_bytes().expect("an element");
                client.run_bytes(&[b"RPUSH", b"ring1", bytes]);
            }
        }
    });
    let mut client = server.connect();
    wait_for_blocked(&mut client, 0);
    let mut all = Vec::new();
    for number in 0..LISTS {
        let Value::Array(elements) = client.run(&["LRANGE", &list(number), "0", "-1"]) else {
            panic!("LRANGE answers an array");
        };
        all.extend(elements.iter().map(show));
    }
    let distinct: BTreeSet<&String> = all.iter().collect();
    assert_eq!((all.len(), distinct.len()), (ELEMENTS, ELEMENTS), "{all:?}");
    server.assert_replays();
}
