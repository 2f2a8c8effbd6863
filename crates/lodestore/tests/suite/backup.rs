//! BACKUP: the copy is whole, is checked, and starts a server, whatever goes on meanwhile.

use std::time::{Duration, Instant};

use super::harness::{Client, TestServer};

fn info(client: &mut Client, field: &str) -> String {
    let text = client.line("INFO persistence");
    let field = format!("{field}:");
    let at = text.find(&field).expect("the field") + field.len();
    text[at..]
        .chars()
        .take_while(|it| it.is_ascii_alphanumeric() || *it == '-')
        .collect()
}

fn wait(client: &mut Client) {
    let began = Instant::now();
    while info(client, "backup_in_progress") == "1" {
        assert!(began.elapsed() < super::harness::PATIENCE, "it ends");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_backup_starts_a_server() {
    let server = TestServer::start_with(&["--enable-debug-command", "yes"]);
    let mut client = server.connect();
    for n in 0..200 {
        client.line(&format!("SET key:{n} {n}"));
    }
    client.check(&[
        ("RPUSH list a b c", ":3"),
        (
            "BGREWRITEAOF",
            "+Background append only file rewriting started",
        ),
    ]);
    while info(&mut client, "aof_rewrite_in_progress") == "1" {}
    client.check(&[
        ("MULTI", "+OK"),
        ("SET a 1", "+QUEUED"),
        ("SET b 1", "+QUEUED"),
    ]);
    client.line("EXEC");
    let digest = client.line("DEBUG DIGEST");
    client.check(&[("BACKUP monday", "+Background backup started")]);
    wait(&mut client);
    assert_eq!(info(&mut client, "backup_last_status"), "ok");
    assert_ne!(info(&mut client, "backup_last_time"), "0");
    // Later records are not in it, and do not reach it through shared files.
    client.check(&[("FLUSHALL", "+OK")]);
    client.line("BGREWRITEAOF");
    while info(&mut client, "aof_rewrite_in_progress") == "1" {}
    let copy = server.dir().join("backups/monday");
    let restored = TestServer::start_plain(
        copy,
        &["--appendonly", "yes", "--enable-debug-command", "yes"],
    );
    assert_eq!(restored.connect().line("DEBUG DIGEST"), digest);
    assert_eq!(client.line("DBSIZE"), ":0");
}

#[test]
fn backups_are_consistent_while_commands_and_rewrites_go_on() {
    let server = TestServer::start_with(&["--threads", "2", "--rdb-key-save-delay", "50"]);
    let mut client = server.connect();
    client.check(&[("MSET from 1000 to 0", "+OK")]);
    for n in 0..500 {
        client.line(&format!("SET key:{n} {n}"));
    }
    for round in 0..4 {
        if round % 2 == 1 {
            client.line("BGREWRITEAOF");
        }
        client.check(&[(&format!("BACKUP copy{round}"), "+Background backup started")]);
        while info(&mut client, "backup_in_progress") == "1" {
            client.check(&[
                ("MULTI", "+OK"),
                ("DECR from", "+QUEUED"),
                ("INCR to", "+QUEUED"),
            ]);
            client.line("EXEC");
        }
        assert_eq!(info(&mut client, "backup_last_status"), "ok");
        let copy = server.dir().join(format!("backups/copy{round}"));
        let restored = TestServer::start_plain(copy, &["--appendonly", "yes"]);
        let mut restored = restored.connect();
        let sum = restored.integer("INCRBY from 0") + restored.integer("INCRBY to 0");
        assert_eq!((sum, restored.line("DBSIZE")), (1000, ":502".to_owned()));
    }
}

#[test]
fn what_cannot_be_done_is_said() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.check(&[("SET a 1", "+OK")]);
    for name in ["../up", ".hidden", "a/b", "a b"] {
        let reply = client.run(&["BACKUP", name]);
        assert!(
            super::harness::show(&reply).starts_with("-ERR Invalid backup name"),
            "{name}"
        );
    }
    client.check(&[("BACKUP once", "+Background backup started")]);
    wait(&mut client);
    client.check(&[
        (
            "BACKUP once",
            "-ERR there is a backup called 'once' already",
        ),
        (
            "BACKUP",
            "-ERR wrong number of arguments for 'backup' command",
        ),
    ]);
}

#[test]
fn without_a_log_a_backup_is_a_snapshot() {
    let server = TestServer::start_with(&["--appendonly", "no", "--rdb-key-save-delay", "50"]);
    let mut client = server.connect();
    client.check(&[("MSET from 1000 to 0", "+OK")]);
    for n in 0..500 {
        client.line(&format!("SET key:{n} {n}"));
    }
    // A server removes its directory when it ends, so each form has a copy of its own.
    for appendonly in ["no", "yes"] {
        client.check(&[(
            &format!("BACKUP {appendonly}"),
            "+Background backup started",
        )]);
        while info(&mut client, "backup_in_progress") == "1" {
            client.check(&[
                ("MULTI", "+OK"),
                ("DECR from", "+QUEUED"),
                ("INCR to", "+QUEUED"),
            ]);
            client.line("EXEC");
        }
        assert_eq!(info(&mut client, "backup_last_status"), "ok");
        assert!(!server.dir().join("dump.rdb").exists());
        let copy = server.dir().join("backups").join(appendonly);
        let restored = TestServer::start_plain(copy, &["--appendonly", appendonly]);
        let mut restored = restored.connect();
        let sum = restored.integer("INCRBY from 0") + restored.integer("INCRBY to 0");
        assert_eq!((sum, restored.line("DBSIZE")), (1000, ":502".to_owned()));
    }
}
