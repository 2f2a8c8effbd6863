//! The commands, and what becomes of the file.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::super::harness::{Client, TestServer, dump, fresh_dir};
use super::invariants::Content;
use super::{PATIENCE, info, save_in_background, wait_for, wait_until_saved};

/// Without a log, so that a restart brings back what the snapshot has.
const NO_LOG: &[&str] = &[
    "--appendonly",
    "no",
    "--save",
    "",
    "--enable-debug-command",
    "yes",
];

fn persistence(client: &mut Client, field: &str) -> String {
    info(client, "persistence", field)
}

/// Names of files of snapshots that are not finished.
fn unfinished(dir: &Path) -> Vec<OsString> {
    let names = std::fs::read_dir(dir)
        .expect("the directory")
        .map(|entry| entry.expect("an entry").file_name());
    names
        .filter(|name| name.to_string_lossy().starts_with("temp-"))
        .collect()
}

fn fill(client: &mut Client) {
    for line in [
        "SET string value",
        "SET number 17",
        "RPUSH list a b c",
        "SADD set a b 3",
        "ZADD zset 1.5 a 2 b",
        "HSET hash f v g 2",
        "XADD stream 1-1 f v",
        "XGROUP CREATE stream group 0",
        "XREADGROUP GROUP group one STREAMS stream >",
        "SET passing value PXAT 99999999999999",
        "HSET fields f v g w",
        "HPEXPIREAT fields 99999999999999 FIELDS 1 f",
        "SADD members a b",
        "SPEXPIREAT members 99999999999999 MEMBERS 1 a",
        "SELECT 2",
        "SET other database",
        "SELECT 0",
    ] {
        assert!(!client.line(line).starts_with('-'), "{line}");
    }
    let long = "x".repeat(100_000);
    client.line(&format!("SET long {long}"));
}

#[test]
fn what_is_saved_comes_back() {
    for save in ["SAVE", "BGSAVE"] {
        let server = TestServer::start_plain(fresh_dir(), NO_LOG);
        let mut client = server.connect();
        fill(&mut client);
        let before = dump(&mut client);
        client.line(save);
        wait_until_saved(&mut client);
        assert_eq!(unfinished(server.dir()), Vec::<OsString>::new());
        let server = TestServer::start_plain(server.shut_down("SHUTDOWN NOSAVE"), NO_LOG);
        assert_eq!(dump(&mut server.connect()), before, "{save}");
    }
}

#[test]
fn changes_are_counted_from_the_last_snapshot() {
    let server = TestServer::start_plain(fresh_dir(), NO_LOG);
    let mut client = server.connect();
    client.check(&[("SET a 1", "+OK"), ("RPUSH list 1 2 3", ":3")]);
    assert_eq!(persistence(&mut client, "rdb_changes_since_last_save"), "4");
    assert_eq!(persistence(&mut client, "rdb_last_bgsave_time_sec"), "-1");
    assert_eq!(client.line("SAVE"), "+OK");
    assert_eq!(persistence(&mut client, "rdb_changes_since_last_save"), "0");
    assert_eq!(persistence(&mut client, "rdb_saves"), "1");
    // Changes during a snapshot are not in it.
    client.hold_snapshots();
    let saved_s = client.integer("LASTSAVE");
    client.line("SET b 1");
    save_in_background(&mut client);
    client.check(&[("SET a 2", "+OK"), ("SET b 2", "+OK")]);
    assert_eq!(persistence(&mut client, "rdb_bgsave_in_progress"), "1");
    assert_eq!(persistence(&mut client, "current_save_keys_total"), "3");
    assert_ne!(persistence(&mut client, "current_cow_size"), "0");
    client.let_snapshots_go();
    wait_until_saved(&mut client);
    assert_eq!(persistence(&mut client, "rdb_changes_since_last_save"), "2");
    assert_eq!(
        persistence(&mut client, "rdb_current_bgsave_time_sec"),
        "-1"
    );
    assert_ne!(persistence(&mut client, "rdb_last_bgsave_time_sec"), "-1");
    assert_eq!(persistence(&mut client, "rdb_saves"), "2");
    assert_ne!(persistence(&mut client, "rdb_last_cow_size"), "0");
    assert!(client.integer("LASTSAVE") >= saved_s);
    let content = Content::read(&server.dir().join("dump.rdb"));
    assert_eq!(content.text(0, "a"), "1");
    assert_eq!(content.text(0, "b"), "1");
    client.line("CONFIG RESETSTAT");
    assert_eq!(persistence(&mut client, "rdb_saves"), "0");
    assert_eq!(persistence(&mut client, "rdb_changes_since_last_save"), "2");
}

/// Fills a server so that a snapshot takes as long as the test wants.
fn slow_server() -> (TestServer, Client) {
    let server = TestServer::start_plain(fresh_dir(), NO_LOG);
    let mut client = server.connect();
    client.check(&[
        ("DEBUG POPULATE 1000", "+OK"),
        ("SAVE", "+OK"),
        ("SET new value", "+OK"),
    ]);
    client.hold_snapshots();
    (server, client)
}

/// The file is made by the thread of the snapshot, a moment after BGSAVE.
fn wait_until_writing(server: &TestServer) {
    let began = Instant::now();
    while unfinished(server.dir()).len() != 1 {
        assert!(began.elapsed() < PATIENCE, "no file is begun");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn one_snapshot_at_a_time() {
    let (server, mut client) = slow_server();
    save_in_background(&mut client);
    client.check(&[
        ("BGSAVE", "-ERR Background save already in progress"),
        (
            "BGSAVE SCHEDULE",
            "-ERR Background save already in progress",
        ),
        ("SAVE", "-ERR Background save already in progress"),
        ("BGSAVE NOW", "-ERR syntax error"),
        ("BGSAVE SCHEDULE CANCEL", "-ERR syntax error"),
        ("MULTI", "+OK"),
        (
            "SAVE",
            "-ERR Command 'save' not allowed inside a transaction",
        ),
        ("DISCARD", "+OK"),
    ]);
    wait_until_writing(&server);
    client.check(&[("BGSAVE CANCEL", "+Background saving cancelled")]);
    wait_for(&mut client, "rdb_bgsave_in_progress", "0");
    assert_eq!(persistence(&mut client, "rdb_last_bgsave_status"), "ok");
    assert_eq!(unfinished(server.dir()), Vec::<OsString>::new());
    client.check(&[(
        "BGSAVE CANCEL",
        "-ERR Background saving is currently not in progress or scheduled",
    )]);
}

#[test]
fn a_snapshot_waits_for_a_rewrite_of_the_log() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.hold_snapshots();
    client.check(&[
        ("MSET a 1 b 2 c 3", "+OK"),
        ("BGREWRITEAOF", "+Background append only file rewriting started"),
        (
            "BGSAVE",
            "-ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to \
             schedule a BGSAVE whenever possible.",
        ),
        ("BGSAVE SCHEDULE", "+Background saving scheduled"),
        ("BGSAVE CANCEL", "+Scheduled background saving cancelled"),
        ("BGSAVE SCHEDULE", "+Background saving scheduled"),
        ("SET a 2", "+OK"),
    ]);
    client.let_snapshots_go();
    wait_for(&mut client, "rdb_saves", "1");
    wait_until_saved(&mut client);
    let content = Content::read(&server.dir().join("dump.rdb"));
    assert_eq!(content.text(0, "a"), "2");
}

#[test]
fn save_does_not_wait_for_a_rewrite_of_the_log() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.check(&[
        ("MSET a 1 b 2 c 3", "+OK"),
        // Each key takes both of them that long.
        ("CONFIG SET rdb-key-save-delay 300000", "+OK"),
        (
            "BGREWRITEAOF",
            "+Background append only file rewriting started",
        ),
        ("SAVE", "+OK"),
    ]);
    assert_eq!(persistence(&mut client, "rdb_saves"), "1");
    let content = Content::read(&server.dir().join("dump.rdb"));
    assert_eq!(content.len(), 3);
}

/// What was changed while a snapshot was given up is in the next one.
#[test]
fn a_cancelled_snapshot_leaves_nothing_behind() {
    let (server, mut client) = slow_server();
    for round in 0..3 {
        save_in_background(&mut client);
        for key in 0..1000 {
            client.line(&format!("SET key:{key} {round}"));
        }
        client.line("BGSAVE CANCEL");
        wait_for(&mut client, "rdb_bgsave_in_progress", "0");
    }
    let old = Content::read(&server.dir().join("dump.rdb"));
    assert_eq!(old.len(), 1000, "the old file is untouched");
    client.let_snapshots_go();
    save_in_background(&mut client);
    wait_until_saved(&mut client);
    let content = Content::read(&server.dir().join("dump.rdb"));
    assert_eq!(content.len(), 1001);
    for key in 0..1000 {
        assert_eq!(content.text(0, &format!("key:{key}")), "2");
    }
}

#[test]
fn a_transaction_schedules_its_snapshot() {
    let server = TestServer::start_plain(fresh_dir(), NO_LOG);
    let mut client = server.connect();
    client.check(&[
        ("SET a 0", "+OK"),
        ("MULTI", "+OK"),
        ("SET a 1", "+QUEUED"),
        ("BGSAVE", "+QUEUED"),
        ("SET a 2", "+QUEUED"),
        ("EXEC", "[+OK +Background saving scheduled +OK]"),
    ]);
    wait_for(&mut client, "rdb_saves", "1");
    wait_until_saved(&mut client);
    let content = Content::read(&server.dir().join("dump.rdb"));
    assert_eq!(content.text(0, "a"), "2");
}

#[test]
fn a_killed_server_leaves_the_old_file() {
    let (mut server, mut client) = slow_server();
    save_in_background(&mut client);
    wait_until_writing(&server);
    server.kill();
    assert_eq!(Content::read(&server.dir().join("dump.rdb")).len(), 1000);
    server.restart();
    assert_eq!(server.connect().line("DBSIZE"), ":1000");
    assert_eq!(unfinished(server.dir()), Vec::<OsString>::new());
}

#[test]
fn flushall_empties_the_file_when_there_are_save_points() {
    let (server, mut client) = slow_server();
    let path = server.dir().join("dump.rdb");
    save_in_background(&mut client);
    client.check(&[("FLUSHALL", "+OK")]);
    wait_for(&mut client, "rdb_bgsave_in_progress", "0");
    assert_eq!(
        Content::read(&path).len(),
        1000,
        "without save points the file stays"
    );
    client.check(&[
        ("SET a 1", "+OK"),
        ("CONFIG SET save \"3600 1000\"", "+OK"),
        ("FLUSHALL", "+OK"),
    ]);
    assert_eq!(Content::read(&path).len(), 0);
    assert_eq!(persistence(&mut client, "rdb_changes_since_last_save"), "0");
}

#[test]
fn shutdown_saves_when_it_should() {
    let points = ["--appendonly", "no", "--save", "3600 1000"];
    for (command, args, has_file) in [
        ("SHUTDOWN", &points[..], true),
        ("SHUTDOWN NOSAVE", &points[..], false),
        ("SHUTDOWN", NO_LOG, false),
        ("SHUTDOWN SAVE", NO_LOG, true),
    ] {
        let server = TestServer::start_plain(fresh_dir(), args);
        server.connect().line("SET a 1");
        let dir = server.shut_down(command);
        assert_eq!(
            dir.join("dump.rdb").exists(),
            has_file,
            "{command} {args:?}"
        );
        let server = TestServer::start_plain(dir, NO_LOG);
        let size = if has_file { ":1" } else { ":0" };
        assert_eq!(server.connect().line("DBSIZE"), size);
    }
}

#[test]
fn a_signal_saves_too_and_ends_what_is_under_way() {
    let (mut server, mut client) = slow_server();
    client.line("CONFIG SET save \"3600 1000\"");
    save_in_background(&mut client);
    client.let_snapshots_go();
    client.line("SET newer value");
    let pid = server.pid().to_string();
    let status = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(status.expect("kill runs").success());
    assert_eq!(server.wait_for_end(), Some(0));
    assert_eq!(Content::read(&server.dir().join("dump.rdb")).len(), 1002);
    assert_eq!(unfinished(server.dir()), Vec::<OsString>::new());
}

/// A directory in the place of the file: it cannot be replaced.
fn broken_server(args: &[&str]) -> TestServer {
    let dir = fresh_dir();
    let server = TestServer::start_plain(dir, args);
    let obstacle = server.dir().join("dump.rdb");
    std::fs::create_dir_all(obstacle.join("inside")).expect("an obstacle");
    server
}

fn mend(server: &TestServer) {
    std::fs::remove_dir_all(server.dir().join("dump.rdb")).expect("the obstacle goes");
}

#[test]
fn a_snapshot_that_fails_says_why() {
    let server = broken_server(NO_LOG);
    let mut client = server.connect();
    client.line("SET a 1");
    let reply = client.line("SAVE");
    let expected = "-ERR Error moving temp DB file temp-";
    assert!(reply.starts_with(expected), "{reply}");
    assert_eq!(unfinished(server.dir()), Vec::<OsString>::new());
    save_in_background(&mut client);
    wait_for(&mut client, "rdb_last_bgsave_status", "err");
    assert_eq!(unfinished(server.dir()), Vec::<OsString>::new());
    assert_eq!(persistence(&mut client, "rdb_changes_since_last_save"), "1");
    // The server goes on, and does not end without having saved.
    client.check(&[
        ("SET a 2", "+OK"),
        (
            "SHUTDOWN SAVE",
            "-ERR Errors trying to SHUTDOWN. Check logs.",
        ),
        ("GET a", "\"2\""),
    ]);
    mend(&server);
    client.check(&[("SAVE", "+OK")]);
    assert_eq!(persistence(&mut client, "rdb_last_bgsave_status"), "ok");
}

#[test]
fn a_missing_directory_is_an_error() {
    let server = TestServer::start_plain(fresh_dir(), NO_LOG);
    let mut client = server.connect();
    let dir = server.dir().to_owned();
    std::fs::remove_dir_all(&dir).expect("the directory goes");
    let reply = client.line("SAVE");
    assert!(
        reply.starts_with("-ERR Failed opening the temp RDB file temp-"),
        "{reply}"
    );
    assert!(
        reply.ends_with("for saving: No such file or directory"),
        "{reply}"
    );
    save_in_background(&mut client);
    wait_for(&mut client, "rdb_last_bgsave_status", "err");
}

#[test]
fn shutdown_by_force_ends_without_a_snapshot() {
    let mut server = broken_server(&["--appendonly", "no", "--save", "3600 1000"]);
    let mut client = server.connect();
    client.line("SET a 1");
    assert!(
        client
            .line("SHUTDOWN")
            .starts_with("-ERR Errors trying to SHUTDOWN")
    );
    client.send(&[b"SHUTDOWN", b"FORCE"]);
    assert_eq!(server.wait_for_end(), Some(0));
}

#[test]
fn writes_are_refused_while_snapshots_fail() {
    let server = broken_server(&["--appendonly", "no", "--save", "3600 1000"]);
    let mut client = server.connect();
    client.line("SET a 1");
    save_in_background(&mut client);
    wait_for(&mut client, "rdb_last_bgsave_status", "err");
    let misconf = "-MISCONF Lodestore is configured to save RDB snapshots";
    for line in ["SET a 2", "PING"] {
        let reply = client.line(line);
        assert!(reply.starts_with(misconf), "{line} answers {reply}");
    }
    client.check(&[
        ("GET a", "\"1\""),
        ("CONFIG SET stop-writes-on-bgsave-error no", "+OK"),
        ("SET a 2", "+OK"),
        ("CONFIG SET stop-writes-on-bgsave-error yes", "+OK"),
    ]);
    mend(&server);
    // SAVE is no write.
    client.check(&[("SAVE", "+OK"), ("SET a 3", "+OK")]);
}

/// A hash with deadlines of fields has no form in version 11.
#[test]
fn the_version_follows_from_the_data() {
    let server = TestServer::start_plain(fresh_dir(), NO_LOG);
    let mut client = server.connect();
    let path = server.dir().join("dump.rdb");
    let head = || std::fs::read(&path).expect("the file")[..9].to_vec();
    client.check(&[
        ("HSET hash f v", ":1"),
        ("SADD set a", ":1"),
        ("SPEXPIREAT set 99999999999999 MEMBERS 1 a", "[:1]"),
        ("SAVE", "+OK"),
    ]);
    assert_eq!(head(), b"REDIS0011");
    client.check(&[
        ("HPEXPIREAT hash 99999999999999 FIELDS 1 f", "[:1]"),
        ("SAVE", "+OK"),
    ]);
    assert_eq!(head(), b"VALKEY080");
    client.check(&[
        ("CONFIG SET rdb-version 11", "+OK"),
        (
            "SAVE",
            "-ERR RDB version 11 has no form for hashes whose fields have deadlines",
        ),
    ]);
    save_in_background(&mut client);
    wait_for(&mut client, "rdb_last_bgsave_status", "err");
    assert_eq!(head(), b"VALKEY080");
}
