//! What a full synchronization leaves on the disk: a replica that is killed has what it has
//! acknowledged.

use super::harness::{Client, TestServer};
use super::pubsub::wait_until;
use super::replication::{
    assert_same, false_primary, field, fill, primary, replica_of, replication, wait_for_link,
};

const DEBUG: &[&str] = &["--enable-debug-command", "yes"];
const LOG: &[&str] = &["--logfile", "server.log"];
/// Writing the data again takes longer than any test.
const SLOW: &[&str] = &["--rdb-key-save-delay", "1000000"];
const WAYS: [&str; 4] = ["disabled", "on-empty-db", "flush-before-load", "swapdb"];

fn log_of(server: &TestServer) -> String {
    std::fs::read_to_string(server.dir().join("server.log")).unwrap()
}

/// A primary with data of every type.
fn filled_primary() -> TestServer {
    let primary = primary(DEBUG);
    let mut client = primary.connect();
    fill(&mut client);
    client.line("DEBUG POPULATE 100 key");
    primary
}

/// A server with data of its own, which follows the primary then.
fn follower(primary: &TestServer, more: &[&str]) -> TestServer {
    let server = TestServer::start_with(&[LOG, more].concat());
    server.connect().line("SET mine 1");
    follow(&server, primary);
    server
}

fn follow(server: &TestServer, primary: &TestServer) {
    let line = format!("REPLICAOF 127.0.0.1 {}", primary.port());
    assert_eq!(server.connect().line(&line), "+OK");
}

fn is_linked(server: &TestServer) -> bool {
    replication(server, "master_link_status") == "up"
}

fn persistence(client: &mut Client, name: &str) -> String {
    field(client, "persistence", name)
}

#[test]
fn a_replica_that_is_promoted_and_killed_has_what_it_acknowledged() {
    let primary = filled_primary();
    let mut client = primary.connect();
    for way in WAYS {
        let loads = ["--repl-diskless-load", way];
        let mut replica = follower(&primary, &[&loads[..], SLOW].concat());
        wait_for_link(&replica);
        assert_eq!(client.line(&format!("SET waited {way}")), "+OK");
        assert_eq!(client.line("WAIT 1 0"), ":1");
        let mut own = replica.connect();
        own.check(&[("REPLICAOF NO ONE", "+OK"), ("SET promoted 1", "+OK")]);
        replica.kill();
        replica.restart();
        let mut own = replica.connect();
        let waited = format!("\"{way}\"");
        own.check(&[("GET waited", &waited), ("GET promoted", "\"1\"")]);
        own.check(&[("GET mine", "nil"), ("DEL promoted", ":1")]);
        assert_eq!(own.line("DBSIZE"), client.line("DBSIZE"), "{way}");
    }
}

#[test]
fn a_replica_that_is_killed_goes_on_from_the_snapshot_that_it_received() {
    for way in WAYS {
        let primary = filled_primary();
        let mut client = primary.connect();
        client.check(&[("SELECT 3", "+OK"), ("SET there 1", "+OK")]);
        let loads = ["--repl-diskless-load", way];
        let mut replica = replica_of(&primary, &[&loads[..], SLOW, LOG].concat());
        replica.kill();
        client.check(&[("SET there 2", "+OK"), ("INCR number", ":1")]);
        replica.restart();
        wait_for_link(&replica);
        client.line("SET there 3");
        assert_same(&primary, &replica);
        assert_eq!(field(&mut client, "stats", "sync_full"), "1", "{way}");
        assert_eq!(field(&mut client, "stats", "sync_partial_ok"), "1", "{way}");
        let text = log_of(&replica);
        let reused = text.contains("Reused RDB file from primary sync as AOF base file: ");
        assert_eq!(reused, way == "disabled", "{text}");
    }
}

#[test]
fn the_base_of_a_replica_of_a_replica_has_its_place_too() {
    let primary = filled_primary();
    let mut client = primary.connect();
    client.check(&[("SELECT 3", "+OK"), ("SET there 1", "+OK")]);
    let middle = replica_of(&primary, &[]);
    let mut last = replica_of(&middle, SLOW);
    last.kill();
    // No SELECT comes before it.
    client.line("SET there 2");
    last.restart();
    wait_for_link(&last);
    client.line("SET there 3");
    assert_same(&primary, &last);
    let mut stats = middle.connect();
    assert_eq!(field(&mut stats, "stats", "sync_full"), "1");
    // A rewrite and another start find the same.
    assert_eq!(
        last.connect().line("CONFIG SET rdb-key-save-delay 0"),
        "+OK"
    );
    last.connect().line("BGREWRITEAOF");
    wait_until("the log is rewritten", || {
        persistence(&mut last.connect(), "aof_rewrite_in_progress") == "0"
    });
    last.kill();
    last.restart();
    wait_for_link(&last);
    assert_same(&primary, &last);
    assert_eq!(field(&mut stats, "stats", "sync_full"), "1");
}

#[test]
fn without_rdb_in_the_log_a_base_of_commands_comes_before_the_link() {
    a_base_comes_before_the_link(&["--aof-use-rdb-preamble", "no"]);
}

#[test]
fn a_file_of_a_version_that_is_not_written_here_is_no_base() {
    a_base_comes_before_the_link(&["--rdb-version", "12"]);
}

fn a_base_comes_before_the_link(more: &[&str]) {
    let primary = filled_primary();
    let mut client = primary.connect();
    for way in WAYS {
        let loads = ["--repl-diskless-load", way];
        let mut replica = follower(&primary, &[&loads[..], more, SLOW].concat());
        let mut own = replica.connect();
        wait_until("a base is being written", || {
            persistence(&mut own, "aof_rewrite_in_progress") == "1"
        });
        assert!(!is_linked(&replica), "{way}");
        client.line("SET waited 1");
        assert_eq!(client.line("WAIT 1 100"), ":0", "{way}");
        own.line("CONFIG SET rdb-key-save-delay 0");
        wait_for_link(&replica);
        assert_eq!(client.line("WAIT 1 0"), ":1", "{way}");
        replica.connect().line("REPLICAOF NO ONE");
        replica.kill();
        replica.restart();
        let mut own = replica.connect();
        own.check(&[("GET waited", "\"1\""), ("GET mine", "nil")]);
        assert_eq!(own.line("DBSIZE"), client.line("DBSIZE"), "{way}");
    }
}

#[test]
fn nothing_is_acknowledged_before_there_is_a_base() {
    let primary = filled_primary();
    let mut client = primary.connect();
    for way in ["disabled", "flush-before-load", "swapdb"] {
        let server = TestServer::start_with(&[LOG, &["--repl-diskless-load", way]].concat());
        // The disk takes neither the received file nor another base under these names.
        let place = |name: &str| server.dir().join("appendonlydir").join(name);
        let received = place("temp-appendonly.aof.received");
        let base = place("temp-appendonly.aof.base");
        std::fs::create_dir(&received).unwrap();
        std::fs::create_dir(&base).unwrap();
        follow(&server, &primary);
        wait_for_link(&server);
        client.line(&format!("SET waited {way}"));
        let mut own = server.connect();
        let waited = format!("\"{way}\"");
        wait_until("the write has arrived", || own.line("GET waited") == waited);
        assert_eq!(
            client.line("WAIT 1 300"),
            ":0",
            "{way}: {}",
            log_of(&server)
        );
        assert_eq!(field(&mut client, "replication", "connected_slaves"), "1");
        std::fs::remove_dir(&base).unwrap();
        // The timers try again.
        assert_eq!(client.line("WAIT 1 0"), ":1");
        assert_eq!(own.line("REPLICAOF NO ONE"), "+OK");
        let mut server = server;
        server.kill();
        server.restart();
        server.connect().check(&[("GET waited", &waited)]);
    }
}

#[test]
fn without_a_log_the_received_file_is_the_snapshot() {
    let primary = filled_primary();
    let mut client = primary.connect();
    let none = ["--appendonly", "no", "--save", ""];
    let mut replica = replica_of(&primary, &[&none[..], LOG].concat());
    replica.kill();
    client.line("SET later 1");
    replica.restart();
    wait_for_link(&replica);
    assert_same(&primary, &replica);
    assert_eq!(field(&mut client, "stats", "sync_full"), "1");
    assert_eq!(field(&mut client, "stats", "sync_partial_ok"), "1");
    // A server that keeps nothing may remove it.
    let more = ["--rdb-del-sync-files", "yes"];
    let replica = replica_of(&primary, &[&none[..], &more].concat());
    assert_same(&primary, &replica);
    assert!(!replica.dir().join("dump.rdb").exists());
    // Parsed from the socket, nothing is kept.
    let more = ["--repl-diskless-load", "flush-before-load"];
    let replica = replica_of(&primary, &[&none[..], &more].concat());
    assert!(!replica.dir().join("dump.rdb").exists());
}

#[test]
fn a_snapshot_of_the_old_data_does_not_take_the_place_of_the_received_one() {
    let primary = filled_primary();
    let none = ["--appendonly", "no", "--save", ""];
    let server = TestServer::start_with(&[&none[..], SLOW, DEBUG, LOG].concat());
    let mut own = server.connect();
    own.line("DEBUG POPULATE 50 old");
    own.line("BGSAVE");
    wait_until("the snapshot is being written", || {
        persistence(&mut own, "rdb_bgsave_in_progress") == "1"
    });
    follow(&server, &primary);
    wait_for_link(&server);
    let mut server = server;
    server.kill();
    server.restart();
    let mut own = server.connect();
    own.check(&[("EXISTS old:1", ":0"), ("EXISTS key:1", ":1")]);
}

#[test]
fn a_snapshot_that_cannot_take_its_place_leaves_the_old_data() {
    let primary = filled_primary();
    let none = ["--appendonly", "no", "--save", ""];
    let server = TestServer::start_with(&[&none[..], LOG].concat());
    let mut own = server.connect();
    own.line("SET mine 1");
    let place = server.dir().join("dump.rdb");
    std::fs::create_dir(&place).unwrap();
    follow(&server, &primary);
    wait_until("the file cannot be renamed", || {
        log_of(&server).contains("Failed trying to rename the temp DB into dump.rdb")
    });
    own.check(&[("GET mine", "\"1\""), ("EXISTS key:1", ":0")]);
    std::fs::remove_dir(&place).unwrap();
    wait_for_link(&server);
    own.check(&[("GET mine", "nil"), ("EXISTS key:1", ":1")]);
}

#[test]
fn a_synchronization_that_breaks_off_leaves_the_files_of_before() {
    let head = "+FULLRESYNC 0123456789012345678901234567890123456789 7000\r\n";
    let mark = "m".repeat(40);
    let answer = format!("{head}$EOF:{mark}\r\nREDIS0011\x7f\x01k{}", "x".repeat(28));
    let port = false_primary(answer.leak().as_bytes());
    let more = ["--repl-diskless-load", "flush-before-load"];
    let mut server = TestServer::start_with(&[LOG, &more].concat());
    let mut own = server.connect();
    own.line("SET mine 1");
    own.line(&format!("REPLICAOF 127.0.0.1 {port}"));
    let tries = |text: &str| text.matches("Discarding the half-loaded data").count();
    wait_until("it has been tried twice", || tries(&log_of(&server)) >= 2);
    // Nothing is there, so there is nothing to go on from.
    let text = log_of(&server);
    let (_, behind) = text.split_once("Discarding the half-loaded data").unwrap();
    assert!(
        behind.contains("Partial resynchronization not possible"),
        "{behind}"
    );
    assert!(!behind.contains("Trying a partial"), "{behind}");
    server.kill();
    server.restart();
    server.connect().check(&[("GET mine", "\"1\"")]);
    // Promoted without data it has a history of its own, and a log that begins with nothing.
    let mut own = server.connect();
    own.line(&format!("REPLICAOF 127.0.0.1 {port}"));
    let before = tries(&log_of(&server));
    wait_until("it has been tried again", || {
        tries(&log_of(&server)) > before
    });
    own.line("REPLICAOF NO ONE");
    wait_until("it is promoted", || {
        replication(&server, "role") == "master" && own.line("SET new 1") == "+OK"
    });
    assert_eq!(replication(&server, "second_repl_offset"), "-1");
    wait_until("the log has its base", || {
        ["aof_rewrite_scheduled", "aof_rewrite_in_progress"]
            .iter()
            .all(|name| persistence(&mut own, name) == "0")
    });
    server.kill();
    server.restart();
    server
        .connect()
        .check(&[("GET mine", "nil"), ("GET new", "\"1\"")]);
}
