//! `repl-diskless-load`: a full synchronization that is parsed as it arrives.

use super::harness::{Client, TestServer, show};
use super::pubsub::wait_until;
use super::replication::{
    assert_same, false_primary, field, fill, primary, replica_of, wait_for_link,
};

const DEBUG: &[&str] = &["--enable-debug-command", "yes"];
const SWAP: &[&str] = &[
    "--repl-diskless-load",
    "swapdb",
    "--replica-read-only",
    "no",
    "--logfile",
    "server.log",
];

fn log_of(server: &TestServer) -> String {
    std::fs::read_to_string(server.dir().join("server.log")).unwrap()
}

fn library(client: &mut Client, answer: &str) {
    let code = format!(
        "#!lua name=lib\nserver.register_function{{function_name='f', callback=function() return '{answer}' end, flags={{'no-writes'}}}}"
    );
    assert_eq!(
        show(&client.run(&["FUNCTION", "LOAD", "REPLACE", &code])),
        "\"lib\""
    );
}

/// Makes all replicas ask for everything again. With `slow` the snapshot lasts for long.
fn begin_full_sync(primary: &TestServer, slow: bool) {
    let mut client = primary.connect();
    let before = field(&mut client, "stats", "sync_full");
    let delay = if slow { "100000" } else { "0" };
    assert_eq!(
        show(&client.run(&["CONFIG", "SET", "rdb-key-save-delay", delay])),
        "+OK"
    );
    client.line("MULTI");
    client.line("CLIENT KILL TYPE replica");
    client.line("CONFIG SET repl-backlog-size 16384");
    let filling = "A".repeat(16_384);
    for number in 0..10 {
        client.run(&["SET", &format!("filling{number}"), &filling]);
    }
    client.line("EXEC");
    wait_until("a full synchronization", || {
        field(&mut client, "stats", "sync_full") != before
    });
}

fn is_loading(server: &TestServer, name: &str) -> bool {
    field(&mut server.connect(), "persistence", name) == "1"
}

#[test]
fn the_old_data_is_served_until_the_new_one_is_there() {
    // Without files that have what the backlog has not.
    let primary = primary(&[DEBUG, &["--appendonly", "no"]].concat());
    let mut client = primary.connect();
    fill(&mut client);
    client.line("SELECT 0");
    library(&mut client, "one");
    let replica = replica_of(&primary, SWAP);
    let mut reader = replica.connect();
    reader.check(&[("SET own 1", "+OK"), ("FCALL f 0", "\"one\"")]);
    let keys = reader.integer("DBSIZE");
    client.line("DEBUG POPULATE 100 more");
    library(&mut client, "two");
    client.line("XADD new 1-1 f v");
    reader.check(&[("SELECT 3", "+OK"), ("SET other 1", "+OK")]);
    begin_full_sync(&primary, true);
    wait_until("data is loaded beside the old one", || {
        is_loading(&replica, "async_loading")
    });
    assert!(!is_loading(&replica, "loading"));
    reader.line("SELECT 0");
    let refused = "-LOADING Lodestore is loading the dataset in memory";
    reader.check(&[
        ("GET own", "\"1\""),
        ("REPLICAOF NO ONE", refused),
        ("CONFIG SET appendonly no", refused),
    ]);
    assert!(reader.integer("DBSIZE") >= keys);
    // A synchronization that breaks off changes nothing.
    client.line("CONFIG SET repl-diskless-sync-delay 3600");
    client.line("CLIENT KILL TYPE replica");
    wait_until("nothing is loaded any more", || {
        !is_loading(&replica, "async_loading")
    });
    reader.check(&[("GET own", "\"1\""), ("SET own 2", "+OK")]);
    assert!(log_of(&replica).contains("Internal error in RDB"));

    let mut waiting = replica.connect();
    waiting.send(&[b"XREAD", b"BLOCK", b"0", b"STREAMS", b"later", b"0"]);
    let mut watching = replica.connect();
    watching.check(&[("WATCH own", "+OK"), ("MULTI", "+OK"), ("PING", "+QUEUED")]);
    let mut apart = replica.connect();
    apart.check(&[
        ("WATCH nothing", "+OK"),
        ("MULTI", "+OK"),
        ("PING", "+QUEUED"),
    ]);
    let mut expecting = replica.connect();
    expecting.check(&[
        ("WATCH later", "+OK"),
        ("MULTI", "+OK"),
        ("PING", "+QUEUED"),
    ]);
    client.line("XADD later 1-1 f v");
    client.line("CONFIG SET rdb-key-save-delay 0");
    client.line("CONFIG SET repl-diskless-sync-delay 0");
    wait_for_link(&replica);
    assert_same(&primary, &replica);
    assert_eq!(show(&waiting.read()), r#"[["later" [["1-1" ["f" "v"]]]]]"#);
    watching.check(&[("EXEC", "nil-array")]);
    expecting.check(&[("EXEC", "nil-array")]);
    apart.check(&[("EXEC", "[+PONG]")]);
    reader.check(&[("GET own", "nil"), ("FCALL f 0", "\"two\"")]);
    reader.check(&[("SELECT 3", "+OK"), ("EXISTS other", ":0")]);
    // The stream goes on behind it, and a restart begins with the new data.
    client.line("SET after 1");
    assert_same(&primary, &replica);
}

#[test]
fn data_of_another_history_is_not_served_but_comes_back() {
    let primary = primary(&[DEBUG, &["--rdb-key-save-delay", "100000"]].concat());
    primary.connect().line("DEBUG POPULATE 200 key");
    let mut replica = TestServer::start_with(SWAP);
    let mut client = replica.connect();
    client.check(&[("SET mine 1", "+OK")]);
    client.line(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    wait_until("data is loaded", || is_loading(&replica, "loading"));
    assert!(!is_loading(&replica, "async_loading"));
    wait_until("data is refused", || {
        client.line("GET mine").starts_with("-LOADING")
    });
    let mut other = primary.connect();
    other.line("CONFIG SET repl-diskless-sync-delay 3600");
    other.line("CLIENT KILL TYPE replica");
    wait_until("the old data is back", || {
        client.line("GET mine") == "\"1\""
    });
    client.check(&[("REPLICAOF NO ONE", "+OK"), ("SET mine 2", "+OK")]);
    assert_eq!(client.line("DBSIZE"), ":1");
    replica.restart();
    replica.connect().check(&[("GET mine", "\"2\"")]);
}

#[test]
fn data_is_flushed_first_or_must_not_be_there() {
    let primary = primary(DEBUG);
    fill(&mut primary.connect());
    primary.connect().line("DEBUG POPULATE 5000 key 0 100");
    let log = ["--logfile", "server.log"];
    let loads = |way| ["--repl-diskless-load", way];
    let line = format!("REPLICAOF 127.0.0.1 {}", primary.port());
    for (way, has_data, parses) in [
        ("flush-before-load", true, true),
        ("on-empty-db", false, true),
        ("on-empty-db", true, false),
        ("swapdb", true, true),
    ] {
        let mut replica = TestServer::start_with(&[&loads(way)[..], &log].concat());
        let mut client = replica.connect();
        if has_data {
            client.line("SET mine 1");
        }
        assert_eq!(client.line(&line), "+OK");
        wait_for_link(&replica);
        assert_same(&primary, &replica);
        client.check(&[("EXISTS mine", ":0")]);
        let text = log_of(&replica);
        assert_eq!(text.contains("with EOF to parser"), parses, "{way}: {text}");
        // With a log of its own.
        wait_until("the log has its base", || {
            field(&mut client, "persistence", "aof_enabled") == "1"
                && field(&mut client, "persistence", "aof_rewrite_in_progress") == "0"
        });
        replica.restart();
        assert_eq!(replica.connect().line(&line), "+OK");
        wait_for_link(&replica);
        assert_same(&primary, &replica);
    }
    // Those with the capability were sent snapshots of unknown length; this one has a length.
    primary.connect().line("CONFIG SET repl-diskless-sync no");
    let replica = replica_of(&primary, &[&loads("swapdb")[..], &log].concat());
    assert_same(&primary, &replica);
    assert!(log_of(&replica).contains("bytes from primary to parser"));
}

#[test]
fn a_damaged_snapshot_leaves_what_the_way_promises() {
    const HEAD: &str = "+FULLRESYNC 0123456789012345678901234567890123456789 0\r\n";
    let junk = "\x7f\x01k".to_owned() + &"x".repeat(28);
    let long = format!("{HEAD}$40\r\nREDIS0011{junk}");
    let unmarked = format!("{HEAD}$EOF:{}\r\nREDIS0011{junk}", "m".repeat(40));
    let alien = format!("{HEAD}$40\r\nnot a rdb, and long enough for a version");
    for (answer, way, stays) in [
        (&long, "swapdb", true),
        (&unmarked, "swapdb", true),
        (&alien, "swapdb", true),
        (&alien, "flush-before-load", true),
        (&unmarked, "flush-before-load", false),
    ] {
        let port = false_primary(answer.clone().leak().as_bytes());
        let server =
            TestServer::start_with(&["--repl-diskless-load", way, "--logfile", "server.log"]);
        let mut client = server.connect();
        client.line("SET mine 1");
        client.line(&format!("REPLICAOF 127.0.0.1 {port}"));
        wait_until("the snapshot is refused", || {
            log_of(&server).contains("The link to the primary ended: ")
        });
        assert_eq!(client.line("REPLICAOF NO ONE"), "+OK");
        wait_until("nothing is loaded", || !is_loading(&server, "loading"));
        let expected = if stays { "\"1\"" } else { "nil" };
        client.check(&[("GET mine", expected), ("SET mine 2", "+OK")]);
    }
}
