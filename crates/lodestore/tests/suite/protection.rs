//! What protects a server is never lost in silence, and what it cannot do is said.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::harness::{TestServer, fresh_dir, program};
use super::operations::info;

/// The SHA-256 of `password`.
const HASH: &str = "#5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";

/// A program that starts the server with a configuration file of this text.
pub(crate) fn with_file(dir: &Path, text: &str) -> PathBuf {
    let (file, script) = (dir.join("server.conf"), dir.join("start.sh"));
    std::fs::write(&file, text).expect("a configuration file");
    let server = program();
    let line = format!("exec '{}' '{}' \"$@\"\n", server.display(), file.display());
    std::fs::write(&script, format!("#!/bin/sh\n{line}")).expect("a script");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&script, mode).expect("executable");
    script
}

/// Starts a server that does not start; what it said.
fn refused(args: &[&str], environment: &[(&str, &str)]) -> String {
    let dir = fresh_dir();
    let output = Command::new(program())
        .args(["--port", "0", "--unixsocket", "lodestore.sock", "--dir"])
        .arg(&dir)
        .args(args)
        .envs(environment.iter().copied())
        .output()
        .expect("it runs");
    let Output {
        status,
        stdout,
        stderr,
    } = output;
    let said = [stdout, stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(!status.success(), "{said}");
    std::fs::remove_dir_all(&dir).expect("removed");
    said
}

#[test]
fn the_default_user_of_a_file_keeps_its_password() {
    let dir = fresh_dir();
    let text = format!("user default on sanitize-payload {HASH} ~* &* +@all\n");
    let script = with_file(&dir, &text);
    let mut server = TestServer::start_peer_unready(&script, dir, &["--save", ""]);
    let mut client = server.connect();
    client.check(&[
        ("PING", "-NOAUTH Authentication required."),
        (
            "AUTH wrong",
            "-WRONGPASS invalid username-password pair or user is disabled.",
        ),
        ("AUTH password", "+OK"),
    ]);
    while client.line("PING").starts_with("-LOADING") {}
    client.check(&[
        ("PING", "+PONG"),
        ("CONFIG GET requirepass", "[\"requirepass\" \"\"]"),
    ]);
    // A set that fails leaves the password as it is.
    let failed = client.line("CONFIG SET requirepass other bind 203.0.113.1");
    assert!(failed.starts_with('-'), "{failed}");
    let mut other = server.connect();
    other.check(&[
        ("PING", "-NOAUTH Authentication required."),
        ("AUTH default password", "+OK"),
        // The password of requirepass takes its place, in the file too.
        ("CONFIG SET requirepass other", "+OK"),
        ("CONFIG REWRITE", "+OK"),
    ]);
    let mut third = server.connect();
    assert!(third.line("AUTH password").starts_with("-WRONGPASS"));
    third.check(&[("AUTH other", "+OK")]);
    server.restart_unready();
    let mut client = server.connect();
    client.check(&[
        ("PING", "-NOAUTH Authentication required."),
        ("AUTH other", "+OK"),
    ]);
    while client.line("PING").starts_with("-LOADING") {}
    client.check(&[("CONFIG SET requirepass ''", "+OK")]);
    server.connect().check(&[("PING", "+PONG")]);
}

#[test]
fn users_with_wrong_rules_end_the_start() {
    for (line, reason) in [
        (
            vec!["alice", "on", "+nosuch"],
            "Error loading the user named 'alice'",
        ),
        (
            vec!["alice", "on", "~*", "~app:*"],
            "'~app:*': Adding a pattern after",
        ),
        (vec!["alice", "(+get", "~a"], "Unmatched parenthesis"),
        (vec!["a b", "on"], "Spaces not allowed in ACL usernames"),
        (
            vec!["alice", "on", "--user", "alice", "off"],
            "Duplicate user found",
        ),
        (
            vec!["alice", "on", "--aclfile", "users.acl"],
            "define them in one of the two",
        ),
    ] {
        let said = refused(&[&["--user"], &line[..]].concat(), &[]);
        assert!(said.contains(reason), "{said}");
    }
    // No password in the log.
    let said = refused(&["--user", "alice", "on", "<secret"], &[]);
    assert!(!said.contains("secret"), "{said}");
    // A `user` line is above requirepass.
    let both = [
        "--user",
        "default",
        "on",
        HASH,
        "~*",
        "&*",
        "+@all",
        "--requirepass",
        "other",
    ];
    let server = TestServer::start_peer_unready(&super::harness::program(), fresh_dir(), &both);
    server.connect().check(&[("AUTH password", "+OK")]);
    // What Redis and Valkey write when there is no user but this one, and no password.
    let open = ["--user", "default", "on", "nopass", "~*", "&*", "+@all"];
    TestServer::start_plain(fresh_dir(), &open)
        .connect()
        .check(&[("PING", "+PONG")]);
}

#[test]
fn misspelt_protection_ends_the_start() {
    for name in [
        "LODESTORE_REQUIREPAS",
        "LODESTORE_REQUIRE_PASS",
        "LODESTORE_PROTECTEDMODE",
    ] {
        let said = refused(&[], &[(name, "x")]);
        assert!(said.contains("did you mean LODESTORE_"), "{said}");
        assert!(said.contains(name), "{said}");
    }
}

#[test]
fn parameters_that_steer_nothing_say_so() {
    let dir = fresh_dir();
    let log = dir.join("server.log");
    let logfile = ["--logfile", log.to_str().expect("a path")];
    let server = TestServer::start_plain(dir, &logfile);
    let mut client = server.connect();
    for _ in 0..2 {
        client.check(&[
            ("CONFIG SET slowlog-entry-max-argc 64", "+OK"),
            ("CONFIG SET slowlog-entry-max-argc 32", "+OK"),
        ]);
    }
    let text = std::fs::read_to_string(&log).expect("a log");
    let warning = "# The configuration parameter 'slowlog-entry-max-argc' is stored, but";
    assert_eq!(text.matches(warning).count(), 2, "{text}");
}

#[test]
fn with_the_log_on_there_are_no_save_points_unless_they_are_set() {
    let mut server = TestServer::start_plain(fresh_dir(), &[]);
    let mut client = server.connect();
    let default = "[\"save\" \"3600 1 300 100 60 10000\"]";
    client.check(&[
        ("CONFIG GET save", "[\"save\" \"\"]"),
        ("CONFIG SET appendonly no", "+OK"),
        ("CONFIG GET save", default),
        ("CONFIG SET appendonly yes", "+OK"),
        ("CONFIG GET save", "[\"save\" \"\"]"),
        ("CONFIG SET save '3600 1 300 100 60 10000'", "+OK"),
        ("CONFIG GET save", default),
        ("CONFIG SET save ''", "+OK"),
        ("SET a 1", "+OK"),
    ]);
    while info(&mut client, "aof_rewrite_in_progress") != "0" {}
    server.restart();
    let mut client = server.connect();
    client.check(&[("GET a", "\"1\""), ("SET b 1", "+OK")]);
    let pid = server.pid().to_string();
    let sent = Command::new("kill").args(["-s", "TERM", &pid]).status();
    assert!(sent.expect("kill runs").success());
    assert_eq!(server.wait_for_end(), Some(0));
    assert!(!server.dir().join("dump.rdb").exists());
    server.restart();
    server.connect().check(&[("MGET a b", "[\"1\" \"1\"]")]);
}

#[test]
fn maxmemory_has_64_bits() {
    let dir = fresh_dir();
    let script = with_file(
        &dir,
        "maxmemory 9223372036854775808\nmaxmemory-clients 50%\n",
    );
    let mut server = TestServer::start_peer(&script, dir, &["--save", ""]);
    let mut client = server.connect();
    let shown = "[\"maxmemory\" \"9223372036854775808\"]";
    client.check(&[
        ("CONFIG GET maxmemory", shown),
        ("CONFIG SET maxmemory 18446744073709551615", "+OK"),
        (
            "CONFIG GET maxmemory",
            "[\"maxmemory\" \"18446744073709551615\"]",
        ),
        ("CONFIG SET maxmemory 9223372036854775808", "+OK"),
        ("SET a 1", "+OK"),
        ("CONFIG REWRITE", "+OK"),
    ]);
    assert_eq!(info(&mut client, "maxmemory"), "9223372036854775808");
    assert!(client.line("CONFIG SET maxmemory -1").starts_with('-'));
    server.restart();
    server.connect().check(&[("CONFIG GET maxmemory", shown)]);
}

#[test]
fn a_crash_leaves_a_report() {
    for (enabled, signal, number) in [
        ("yes", "SEGV", "11"),
        ("yes", "BUS", "7"),
        ("yes", "FPE", "8"),
        ("yes", "ABRT", "6"),
        ("no", "SEGV", "11"),
    ] {
        let dir = fresh_dir();
        let log = dir.join("server.log");
        let args = [
            "--crash-log-enabled",
            enabled,
            "--logfile",
            log.to_str().expect("a path"),
        ];
        let mut server = TestServer::start_plain(dir, &args);
        server.connect().check(&[("SET a 1", "+OK")]);
        let pid = server.pid().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.expect("kill runs").success());
        assert_eq!(server.wait_for_end(), None, "the signal ends it");
        let text = std::fs::read_to_string(&log).expect("a log");
        let line = format!("crashed by signal: {number} (SIG{signal})");
        assert_eq!(text.contains(&line), enabled == "yes", "{text}");
        assert_eq!(text.contains("STACK TRACE"), enabled == "yes", "{text}");
    }
    // A thread that runs a command names it.
    let dir = fresh_dir();
    let log = dir.join("server.log");
    let args = [
        "--enable-debug-command",
        "yes",
        "--logfile",
        log.to_str().expect("a path"),
    ];
    let mut server = TestServer::start_plain(dir, &args);
    server.connect().send(&[b"DEBUG", b"PANIC"]);
    assert_eq!(server.wait_for_end(), None);
    let text = std::fs::read_to_string(&log).expect("a log");
    assert!(text.contains("Last command of the thread: debug"), "{text}");
    let trace = text.split("STACK TRACE").nth(1).expect("a trace");
    assert!(trace.lines().count() > 5, "{text}");
}
