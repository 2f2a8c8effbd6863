//! Logs that are there and not complete: the start ends with the reason, and the files stay as
//! they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::harness::{TestServer, fresh_dir, program};
use super::operations::info;

/// The files below a directory with their bytes, but for locks and logs of servers.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.ends_with("lodestore.lock") {
            found.insert(path.clone(), std::fs::read(&path).expect("its bytes"));
        }
    }
    found
}

/// A directory with a log: a base with `a`, and an increment with `b`.
fn with_base(args: &[&str]) -> PathBuf {
    let server = TestServer::start_with(args);
    let mut client = server.connect();
    client.check(&[("SET a 1", "+OK")]);
    assert!(client.line("BGREWRITEAOF").starts_with('+'));
    while info(&mut client, "aof_rewrite_in_progress") != "0" {}
    client.check(&[("SET b 1", "+OK")]);
    server.shut_down("SHUTDOWN NOSAVE")
}

/// Starts a server that has to refuse, and returns what it said.
fn refusal(dir: &Path, args: &[&str]) -> String {
    let before = files(dir);
    let output = Command::new(program())
        .args(["--port", "0", "--unixsocket", "lodestore.sock", "--dir"])
        .arg(dir)
        .args(args)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success(), "{said}");
    assert_eq!(files(dir), before, "{said}");
    said
}

fn remove(dir: &Path) {
    let _ = std::fs::remove_dir_all(dir);
}

#[test]
fn an_empty_base_is_no_beginning() {
    for (preamble, base) in [("yes", "2.base.rdb"), ("no", "2.base.aof")] {
        let dir = with_base(&["--aof-use-rdb-preamble", preamble]);
        let path = dir.join(format!("appendonlydir/appendonly.aof.{base}"));
        std::fs::write(&path, b"").expect("written");
        for given in [&["--appendonly", "yes"][..], &[]] {
            let said = refusal(&dir, given);
            assert!(said.contains("is empty (0 bytes)"), "{said}");
        }
        std::fs::remove_file(&path).expect("removed");
        assert!(refusal(&dir, &[]).contains("No such file or directory"));
        remove(&dir);
    }
}

#[test]
fn files_without_their_manifest_are_no_new_log() {
    for snapshot in [false, true] {
        let dir = with_base(&[]);
        if snapshot {
            let other = TestServer::start_plain(fresh_dir(), &["--appendonly", "no"]);
            let mut client = other.connect();
            client.check(&[("SET c 1", "+OK"), ("SAVE", "+OK")]);
            std::fs::copy(other.dir().join("dump.rdb"), dir.join("dump.rdb")).expect("copied");
        }
        let manifest = dir.join("appendonlydir/appendonly.aof.manifest");
        let text = std::fs::read(&manifest).expect("a manifest");
        std::fs::remove_file(&manifest).expect("removed");
        for given in [&["--appendonly", "yes"][..], &[]] {
            let said = refusal(&dir, given);
            assert!(said.contains("no appendonly.aof.manifest"), "{said}");
        }
        // A log that is switched on later would take their names as well.
        let server = TestServer::start_plain(dir.clone(), &["--appendonly", "no", "--save", ""]);
        let mut client = server.connect();
        let reply = client.line("CONFIG SET appendonly yes");
        assert!(reply.contains("no appendonly.aof.manifest"), "{reply}");
        client.line("BGREWRITEAOF");
        while info(&mut client, "aof_rewrite_in_progress") != "0" {}
        assert_eq!(info(&mut client, "aof_last_bgrewrite_status"), "err");
        server.shut_down("SHUTDOWN NOSAVE");
        std::fs::write(&manifest, text).expect("written");
        let server = TestServer::start_plain(dir, &["--appendonly", "yes", "--save", ""]);
        server.connect().check(&[("MGET a b", "[\"1\" \"1\"]")]);
    }
}

#[test]
fn a_start_that_was_interrupted_leaves_no_obstacle() {
    let server = TestServer::start();
    let dir = server.shut_down("SHUTDOWN NOSAVE");
    // The files of a log that had no time to begin: they hold nothing.
    std::fs::remove_file(dir.join("appendonlydir/appendonly.aof.manifest")).expect("removed");
    let server = TestServer::start_plain(dir, &["--appendonly", "yes", "--save", ""]);
    server
        .connect()
        .check(&[("SET a 1", "+OK"), ("DBSIZE", ":1")]);
    server.assert_replays();
}

#[test]
fn an_empty_manifest_or_snapshot_is_an_error() {
    let dir = with_base(&[]);
    let manifest = dir.join("appendonlydir/appendonly.aof.manifest");
    std::fs::write(&manifest, b"").expect("written");
    assert!(refusal(&dir, &[]).contains("Found an empty AOF manifest"));
    remove(&dir);
    let dir = fresh_dir();
    std::fs::write(dir.join("dump.rdb"), b"").expect("written");
    for appendonly in ["yes", "no"] {
        refusal(&dir, &["--appendonly", appendonly]);
    }
    remove(&dir);
}
