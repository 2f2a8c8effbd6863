//! New bases of the log while clients go on, its history, and the checks of its files.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::harness::{Client, TestServer, program};

fn info(client: &mut Client, field: &str) -> String {
    let reply = client.run(&["INFO", "everything"]);
    let text = String::from_utf8_lossy(reply.as_bytes().expect("a text")).into_owned();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.unwrap_or_default().to_owned()
}

/// Waits until no rewrite is under way or wanted.
fn settle(client: &mut Client) {
    let began = Instant::now();
    // In this order: what is scheduled begins before it stops to be scheduled.
    while info(client, "aof_rewrite_scheduled") != "0"
        || info(client, "aof_rewrite_in_progress") != "0"
    {
        assert!(began.elapsed() < super::harness::PATIENCE, "it ends");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(info(client, "aof_last_bgrewrite_status"), "ok");
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .expect("the directory")
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn lodestore(args: &[&str]) -> (bool, String) {
    let Output { status, stdout, .. } = Command::new(program())
        .args(args)
        .output()
        .expect("it runs");
    (
        status.success(),
        String::from_utf8_lossy(&stdout).into_owned(),
    )
}

fn now_s() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("a clock").as_secs()
}

#[test]
fn what_is_written_during_a_rewrite_is_kept() {
    for preamble in ["yes", "no"] {
        let mut server = TestServer::start_with(&["--aof-use-rdb-preamble", preamble]);
        let mut client = server.connect();
        for n in 0..500 {
            client.line(&format!("SET key:{n} {n}"));
        }
        client.hold_snapshots();
        assert_eq!(
            client.line("BGREWRITEAOF"),
            "+Background append only file rewriting started"
        );
        assert!(
            client
                .line("BGREWRITEAOF")
                .starts_with("-ERR Background append only")
        );
        let mut expected = 0;
        while info(&mut client, "aof_rewrite_in_progress") == "1" {
            expected += 1;
            client.line("INCR counter");
            client.line(&format!("APPEND key:{} x", expected % 500));
            if expected == 100 {
                client.line("CONFIG SET rdb-key-save-delay 200");
            }
        }
        assert!(expected >= 100);
        settle(&mut client);
        let digest = client.line("DEBUG DIGEST");
        server.restart();
        let mut client = server.connect();
        assert_eq!(client.line("DEBUG DIGEST"), digest);
        assert_eq!(client.line("GET counter"), format!("\"{expected}\""));
        let extension = if preamble == "yes" { "rdb" } else { "aof" };
        let base = format!("appendonly.aof.2.base.{extension}");
        assert!(names(&server.dir().join("appendonlydir")).contains(&base));
    }
}

#[test]
fn a_log_that_grows_is_rewritten() {
    let server = TestServer::start_with(&["--auto-aof-rewrite-min-size", "20kb"]);
    let mut client = server.connect();
    let began = Instant::now();
    while info(&mut client, "aof_rewrites") == "0" {
        client.line(&format!("SET a {}", "x".repeat(1000)));
        assert!(began.elapsed() < super::harness::PATIENCE, "it begins");
    }
    settle(&mut client);
    server.assert_replays();
}

#[test]
fn a_log_that_is_off_can_have_a_base() {
    let mut server = TestServer::start_with(&["--appendonly", "no"]);
    let mut client = server.connect();
    client.check(&[("SET a 1", "+OK")]);
    assert!(client.line("BGREWRITEAOF").starts_with('+'));
    settle(&mut client);
    client.check(&[("SET a 2", "+OK")]);
    assert_eq!(info(&mut client, "aof_enabled"), "0");
    let manifest = server.dir().join("appendonlydir/appendonly.aof.manifest");
    let text = std::fs::read_to_string(manifest).expect("a manifest");
    assert_eq!(text.lines().count(), 1, "{text}");
    server.restart_with(&["--appendonly", "yes"]);
    assert_eq!(server.connect().line("GET a"), "\"1\"");
}

#[test]
fn switching_the_log_on_does_not_wait_for_its_base() {
    let mut server = TestServer::start();
    let mut client = server.connect();
    client.check(&[("CONFIG SET appendonly no", "+OK")]);
    for n in 0..300 {
        client.line(&format!("SET key:{n} {n}"));
    }
    client.hold_snapshots();
    client.check(&[("CONFIG SET appendonly yes", "+OK")]);
    assert_eq!(info(&mut client, "aof_rewrite_in_progress"), "1");
    assert_eq!(info(&mut client, "aof_enabled"), "1");
    client.check(&[("SET during 1", "+OK")]);
    client.let_snapshots_go();
    settle(&mut client);
    client.check(&[("SET after 1", "+OK")]);
    server.restart();
    server
        .connect()
        .check(&[("DBSIZE", ":302"), ("MGET during after", "[\"1\" \"1\"]")]);
}

#[test]
fn the_log_is_put_back() {
    let mut server = TestServer::start_with(&["--aof-history-seconds", "600"]);
    let mut client = server.connect();
    client.check(&[("SET a 1", "+OK")]);
    let offset = info(&mut client, "master_repl_offset");
    let second = now_s();
    while now_s() == second {
        std::thread::sleep(Duration::from_millis(20));
    }
    client.check(&[("SET a 2", "+OK")]);
    assert!(client.line("BGREWRITEAOF").starts_with('+'));
    settle(&mut client);
    client.check(&[("SET a 3", "+OK")]);
    let kept = names(&server.dir().join("appendonlydir/history"));
    assert_eq!(kept.len(), 3, "{kept:?}");

    for moment in [format!("offset:{offset}"), second.to_string()] {
        let back = server.replayed_with(&["--restore-to", &moment]);
        let mut client = back.connect();
        client.check(&[("GET a", "\"1\""), ("SET b 1", "+OK")]);
        let aside = names(back.dir())
            .into_iter()
            .find(|name| name.starts_with("appendonlydir.before-"));
        let old = back.dir().join(aside.expect("the old directory"));
        assert!(old.join("appendonly.aof.2.base.rdb").exists());
        back.assert_replays();
    }
    server.restart();
    assert_eq!(server.connect().line("GET a"), "\"3\"");
}

#[test]
fn files_are_checked() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.check(&[("SET a 1", "+OK"), ("SAVE", "+OK")]);
    assert!(client.line("BGREWRITEAOF").starts_with('+'));
    settle(&mut client);
    client.check(&[("SET a 2", "+OK")]);
    let dir = server.dir().to_owned();
    let path = |name: &str| dir.join(name).display().to_string();
    let manifest = path("appendonlydir/appendonly.aof.manifest");
    let (good, said) = lodestore(&["check", "aof", &manifest]);
    assert!(good, "{said}");
    assert!(said.contains("RDB preamble is OK, proceeding with AOF tail..."));
    assert!(said.ends_with("All AOF files and manifest are valid\n"));
    let (good, said) = lodestore(&["check", "rdb", &path("dump.rdb")]);
    assert!(good && said.contains("\\o/ RDB looks OK! \\o/"), "{said}");
    assert!(said.contains("[info] 1 keys read"), "{said}");

    let dump = path("dump.rdb");
    let mut bytes = std::fs::read(&dump).expect("a snapshot");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(&dump, bytes).expect("written");
    let (good, said) = lodestore(&["check", "rdb", &dump]);
    assert!(
        !good && said.contains("--- RDB ERROR DETECTED ---"),
        "{said}"
    );
    assert!(!lodestore(&["check", "aof", "/no/such/file"]).0);
    assert!(!lodestore(&["check"]).0);
}
