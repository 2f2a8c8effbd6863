//! What tools rely on: refusals that they know, the version, hardened configurations.

use std::process::Command;

use resp::Value;

use super::harness::{Client, TestServer, fresh_dir, program};

const NO_CLUSTER: &str = "-ERR This instance has cluster support disabled";

#[test]
fn clusters_are_refused_in_the_words_of_redis() {
    let server = TestServer::start();
    for mut client in [server.connect(), server.connect_resp3()] {
        client.check(&[
            ("READONLY", "+OK"),
            ("READWRITE", "+OK"),
            ("ASKING", NO_CLUSTER),
            ("CLUSTER INFO", NO_CLUSTER),
            ("CLUSTER NODES", NO_CLUSTER),
            ("CLUSTER SLOTS", NO_CLUSTER),
            ("CLUSTER SHARDS", NO_CLUSTER),
            ("CLUSTER MYID", NO_CLUSTER),
            ("CLUSTER HELP", NO_CLUSTER),
            ("CLUSTER MEET 127.0.0.1 1", NO_CLUSTER),
            ("CLUSTER KEYSLOT a", ":15495"),
            ("CLUSTER KEYSLOT {a}b", ":15495"),
            (
                "CLUSTER KEYSLOT",
                "-ERR wrong number of arguments for 'cluster|keyslot' command",
            ),
            (
                "CLUSTER",
                "-ERR wrong number of arguments for 'cluster' command",
            ),
            (
                "CLUSTER NOSUCH",
                "-ERR unknown subcommand 'NOSUCH'. Try CLUSTER HELP.",
            ),
        ]);
        client.check(&[
            ("MULTI", "+OK"),
            ("READONLY", "+QUEUED"),
            ("CLUSTER INFO", "+QUEUED"),
            ("EXEC", &format!("[+OK {NO_CLUSTER}]")),
        ]);
        assert!(client.line("INFO cluster").contains("cluster_enabled:0"));
    }
}

#[test]
fn no_module_is_loaded_and_none_can_be() {
    let server = TestServer::start();
    let mut client = server.connect();
    let refused = "-ERR MODULE command not allowed. If the enable-module-command option is set to \"local\", you can run \
                   it from a local connection, otherwise you need to set this option in the configuration file, and then \
                   restart the server.";
    client.check(&[
        ("MODULE LIST", "[]"),
        ("MODULE LOAD x.so", refused),
        ("MODULE LOADEX x.so", refused),
        ("MODULE UNLOAD x", refused),
        (
            "MODULE NOSUCH",
            "-ERR unknown subcommand 'NOSUCH'. Try MODULE HELP.",
        ),
    ]);
    let server = TestServer::start_with(&["--enable-module-command", "local"]);
    server.connect().check(&[
        ("MODULE LIST", "[]"),
        (
            "MODULE LOAD x.so",
            "-ERR Error loading the extension. Please check the server logs.",
        ),
        (
            "MODULE UNLOAD x",
            "-ERR Error unloading module: no such module with that name",
        ),
    ]);
}

/// What the log of a server says.
fn log_of(args: &[&str]) -> (TestServer, String) {
    let dir = fresh_dir();
    let log = dir.join("log.txt");
    let log = log.to_str().expect("a path").to_owned();
    let server = TestServer::start_plain(dir, &[&["--logfile", &log], args].concat());
    let text = std::fs::read_to_string(&log).expect("the log");
    (server, text)
}

#[test]
fn removing_a_command_that_is_not_there_is_no_error() {
    let (server, log) = log_of(&[
        "--rename-command",
        "NOSUCH",
        "",
        "--rename-command",
        "FLUSHALL",
        "",
        "--rename-command",
        "DEL",
        "hidden",
    ]);
    assert!(
        log.contains("rename-command: there is no command 'NOSUCH' to remove"),
        "{log}"
    );
    server.connect().check(&[
        ("SET a 1", "+OK"),
        ("HIDDEN a", ":1"),
        (
            "FLUSHALL",
            "-ERR unknown command 'FLUSHALL', with args beginning with: ",
        ),
    ]);
}

#[test]
fn renaming_a_command_that_is_not_there_ends_the_start_at_its_line() {
    let dir = fresh_dir();
    let file = dir.join("test.conf");
    let text = "rename-command NOSUCH other\nrename-command GET \"\"\n";
    std::fs::write(&file, text).expect("the file");
    let output = Command::new(program())
        .arg(&file)
        .args(["--port", "0", "--dir"])
        .arg(&dir)
        .output()
        .expect("the program");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("No such command in rename-command"), "{said}");
    assert!(said.contains("rename-command NOSUCH other"), "{said}");
    let _ = std::fs::remove_dir_all(&dir);
}

/// A field of INFO.
fn info(client: &mut Client, name: &str) -> String {
    let reply = client.run(&["INFO", "server"]);
    let text = String::from_utf8_lossy(reply.as_bytes().expect("text")).into_owned();
    let start = format!("{name}:");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("{name} in {text}"))
        .to_owned()
}

#[test]
fn the_version_line_has_the_form_of_redis() {
    let output = Command::new(program())
        .arg("-v")
        .output()
        .expect("the program");
    let line = String::from_utf8(output.stdout).expect("a text");
    let word = |start: &str| {
        let word = line.split_whitespace().find_map(|w| w.strip_prefix(start));
        word.unwrap_or_else(|| panic!("{start} in {line}"))
            .to_owned()
    };
    assert!(line.starts_with("Lodestore server v="), "{line}");
    let version: Vec<u32> = word("v=")
        .split('.')
        .map(|n| n.parse().expect(&line))
        .collect();
    assert!(version.len() == 3 && version >= vec![7, 4, 0], "{line}");
    let (commit, dirty) = word("sha=")
        .split_once(':')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .expect("a colon");
    assert!(commit.len() == 8 && commit.bytes().all(|b| b.is_ascii_hexdigit()));
    assert_eq!(word("bits="), "64");
    assert_eq!(word("build=").len(), 16);

    let server = TestServer::start();
    let mut client = server.connect();
    assert_eq!(info(&mut client, "redis_version"), word("v="));
    assert_eq!(info(&mut client, "redis_git_sha1"), commit);
    assert_eq!(info(&mut client, "redis_git_dirty"), dirty);
    assert_eq!(info(&mut client, "redis_build_id"), word("build="));
    assert_eq!(info(&mut client, "lodestore_version"), word("lodestore="));
}

#[test]
fn the_version_of_redis_can_be_chosen() {
    let server = TestServer::start_with(&["--redis-version", "7.2.4"]);
    let mut client = server.connect();
    let hello = |client: &mut Client| client.line("HELLO 2");
    assert_eq!(info(&mut client, "redis_version"), "7.2.4");
    assert!(hello(&mut client).contains("\"version\" \"7.2.4\""));
    client.check(&[
        ("CONFIG SET redis-version 8.10.0", "+OK"),
        (
            "CONFIG SET redis-version 8",
            "-ERR CONFIG SET failed (possibly related to argument 'redis-version') - argument must be a version, three \
             numbers with points between them",
        ),
    ]);
    assert_eq!(info(&mut client, "redis_version"), "8.10.0");
    assert!(hello(&mut client).contains("\"version\" \"8.10.0\""));
    assert!(matches!(client.run(&["LOLWUT"]), Value::Bulk(_)));
}
