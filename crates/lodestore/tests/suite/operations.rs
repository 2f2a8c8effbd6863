//! What an operator does to a server, and what a machine does to it: signals, clocks that are set,
//! disks that are full, descriptors that are used up, the log switched on and off meanwhile.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::harness::{Client, PATIENCE, TestServer, fresh_dir};

pub(crate) fn info(client: &mut Client, field: &str) -> String {
    let reply = client.run(&["INFO", "everything"]);
    let text = String::from_utf8_lossy(reply.as_bytes().expect("a text")).into_owned();
    let prefix = format!("{field}:");
    let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
    line.unwrap_or_default().to_owned()
}

fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_true() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(super) fn signal(server: &TestServer, name: &str) {
    let pid = server.pid().to_string();
    let sent = Command::new("kill").args(["-s", name, &pid]).status();
    assert!(sent.expect("kill runs").success(), "{name}");
}

/// Sets a limit of the running server with prlimit(1). False, said aloud, where there is none.
fn limit(server: &TestServer, limit: &str) -> bool {
    let pid = server.pid().to_string();
    let set = Command::new("prlimit")
        .args(["--pid", &pid, limit])
        .status();
    let is_set = set.is_ok_and(|status| status.success());
    if !is_set {
        println!("skipped: prlimit cannot set {limit}");
    }
    is_set
}

fn log_of(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

// ---- the log switched on and off ---------------------------------------------------------------

#[test]
fn a_log_that_cannot_be_switched_on_is_tried_again() {
    let dir = fresh_dir();
    let log = dir.join("server.log");
    let args = ["--appendonly", "no", "--save", ""];
    let logfile = ["--logfile", log.to_str().expect("a path")];
    let mut server = TestServer::start_plain(dir, &[&args[..], &logfile[..]].concat());
    let mut client = server.connect();
    client.line("DEBUG HELP");
    for n in 0..1000 {
        client.line(&format!("SET key:{n} {n}"));
    }
    client.hold_snapshots();
    // A file in the place of the directory: every attempt fails.
    let blocker = server.dir().join("appendonlydir");
    std::fs::write(&blocker, b"").expect("a file");
    assert!(client.line("BGSAVE").starts_with('+'));
    client.check(&[("CONFIG SET appendonly yes", "+OK")]);
    client.let_snapshots_go();
    wait_until("the first attempt fails", || {
        info(&mut client, "aof_last_bgrewrite_status") == "err"
    });
    assert_eq!(info(&mut client, "aof_enabled"), "0");
    assert_eq!(info(&mut client, "aof_rewrite_scheduled"), "1");
    assert!(log_of(&log).contains("Background AOF rewrite terminated with error"));
    assert!(!log_of(&log).contains("AOF rewrite terminated with success"));
    std::fs::remove_file(&blocker).expect("removed");
    wait_until("the log is there", || {
        info(&mut client, "aof_enabled") == "1" && info(&mut client, "aof_rewrite_scheduled") == "0"
    });
    wait_until("its base is written", || {
        info(&mut client, "aof_rewrite_in_progress") == "0"
    });
    client.check(&[("SET after 1", "+OK")]);
    server.restart_with(&["--appendonly", "yes", "--save", ""]);
    server
        .connect()
        .check(&[("GET after", "\"1\""), ("DBSIZE", ":1001")]);
}

#[test]
fn a_log_that_is_not_there_can_be_taken_back() {
    let server = TestServer::start_plain(fresh_dir(), &["--appendonly", "no", "--save", ""]);
    let mut client = server.connect();
    let blocker = server.dir().join("appendonlydir");
    std::fs::write(&blocker, b"").expect("a file");
    // Nothing else runs: the error is the answer, and the parameter is as it was.
    let reply = client.line("CONFIG SET appendonly yes");
    assert!(
        reply.contains("Can't open or create append-only dir"),
        "{reply}"
    );
    client.check(&[("CONFIG GET appendonly", "[\"appendonly\" \"no\"]")]);
    // In a transaction it is the error of a later moment.
    client.check(&[
        ("MULTI", "+OK"),
        ("CONFIG SET appendonly yes", "+QUEUED"),
        ("EXEC", "[+OK]"),
    ]);
    wait_until("an attempt fails", || {
        info(&mut client, "aof_rewrites_consecutive_failures") != "0"
    });
    client.check(&[("CONFIG SET appendonly no", "+OK")]);
    assert_eq!(info(&mut client, "aof_rewrite_scheduled"), "0");
    std::fs::remove_file(&blocker).expect("removed");
    client.check(&[("CONFIG SET appendonly yes", "+OK"), ("SET a 1", "+OK")]);
    // The last attempt may still be under way, and then this one follows it.
    wait_until("the log is on", || info(&mut client, "aof_enabled") == "1");
}

#[test]
fn switching_after_a_transaction_that_switches_is_not_cancelled() {
    let server = TestServer::start_with(&["--threads", "2"]);
    let mut client = server.connect();
    for _ in 0..100 {
        client.check(&[
            ("MULTI", "+OK"),
            ("CONFIG SET appendonly no", "+QUEUED"),
            ("CONFIG SET appendonly yes", "+QUEUED"),
            ("CONFIG SET appendonly no", "+QUEUED"),
            ("EXEC", "[+OK +OK +OK]"),
            ("CONFIG SET appendonly yes", "+OK"),
            ("SET a 1", "+OK"),
        ]);
    }
    wait_until("the log is on", || {
        info(&mut client, "aof_enabled") == "1" && info(&mut client, "aof_rewrite_scheduled") == "0"
    });
}

#[test]
fn transactions_that_configure_and_a_log_that_is_switched_do_not_wait_for_each_other() {
    let server = TestServer::start_with(&["--threads", "2", "--threads-spread", "yes"]);
    let rounds = 100;
    std::thread::scope(|scope| {
        let switching = || {
            let mut client = server.connect();
            for _ in 0..rounds {
                client.check(&[
                    ("CONFIG SET appendonly no", "+OK"),
                    ("CONFIG SET appendonly yes", "+OK"),
                ]);
            }
        };
        let configuring = || {
            let mut client = server.connect();
            for _ in 0..rounds {
                client.check(&[
                    ("MULTI", "+OK"),
                    ("SET a 1", "+QUEUED"),
                    ("CONFIG SET maxmemory-samples 6", "+QUEUED"),
                    ("EXEC", "[+OK +OK]"),
                ]);
            }
        };
        scope.spawn(switching);
        scope.spawn(configuring);
        scope.spawn(configuring);
    });
}

// ---- signals and clocks ------------------------------------------------------------------------

#[test]
fn signals_that_are_not_used_do_not_end_the_server() {
    let mut server = TestServer::start();
    let mut client = server.connect();
    for name in [
        "HUP", "USR1", "USR2", "ALRM", "VTALRM", "PROF", "IO", "PIPE", "XFSZ",
    ] {
        signal(&server, name);
        client.check(&[("PING", "+PONG")]);
    }
    client.check(&[("SET a 1", "+OK")]);
    signal(&server, "TERM");
    assert_eq!(server.wait_for_end(), Some(0));
}

#[test]
fn sighup_opens_the_log_file_anew() {
    let dir = fresh_dir();
    let log = dir.join("server.log");
    let server = TestServer::start_plain(dir, &["--logfile", log.to_str().expect("a path")]);
    let moved = server.dir().join("server.log.1");
    std::fs::rename(&log, &moved).expect("moved");
    signal(&server, "HUP");
    wait_until("the file is there again", || log.exists());
    assert!(log_of(&moved).contains("Ready to accept connections"));
}

#[test]
fn a_clock_that_is_set_back_stops_no_timer() {
    let args = [
        "--save",
        "1 1",
        "--appendonly",
        "yes",
        "--enable-debug-command",
        "yes",
    ];
    let mut server = TestServer::start_plain(fresh_dir(), &args);
    let mut client = server.connect();
    if client.line("DEBUG STEP-CLOCK -3600000") != "+OK" {
        println!("skipped: only debug builds set their clock");
        return;
    }
    let began = Instant::now();
    client.check(&[
        ("BLPOP list 0.05", "nil-array"),
        ("XREAD BLOCK 50 STREAMS s $", "nil-array"),
        ("WAIT 1 50", ":0"),
        ("CLIENT PAUSE 100 WRITE", "+OK"),
        ("SET a 1", "+OK"),
    ]);
    assert!(began.elapsed() < PATIENCE);
    wait_until("the save point is reached", || {
        info(&mut client, "rdb_changes_since_last_save") == "0"
    });
    // Expiry follows the wall clock.
    client.check(&[
        ("SET b 1 PX 1000", "+OK"),
        ("DEBUG STEP-CLOCK 2000", "+OK"),
        ("GET b", "nil"),
    ]);
    signal(&server, "TERM");
    assert_eq!(server.wait_for_end(), Some(0));
}

#[test]
fn a_clock_that_is_set_forward_fires_no_timer() {
    let args = ["--enable-debug-command", "yes", "--timeout", "600"];
    let server = TestServer::start_with(&args);
    let (mut client, mut idle, mut waiting) =
        (server.connect(), server.connect(), server.connect());
    idle.check(&[("PING", "+PONG")]);
    waiting.send(&[b"BLPOP", b"list", b"600"]);
    if client.line("DEBUG STEP-CLOCK 7200000") != "+OK" {
        println!("skipped: only debug builds set their clock");
        return;
    }
    // Idle clients are looked for once a second.
    let uptime = |client: &mut Client| info(client, "uptime_in_seconds").parse::<u64>();
    let began = uptime(&mut client).expect("a number");
    wait_until("time passes", || {
        uptime(&mut client).expect("a number") >= began + 3
    });
    idle.check(&[("PING", "+PONG"), ("RPUSH list 1", ":1")]);
    assert_eq!(super::harness::show(&waiting.read()), "[\"list\" \"1\"]");
}

// ---- full disks --------------------------------------------------------------------------------

#[test]
fn a_full_disk_holds_up_nothing_that_shows_no_data() {
    for policy in ["everysec", "always"] {
        let dir = fresh_dir();
        let log = dir.join("server.log");
        let logfile = log.to_str().expect("a path").to_owned();
        let args = ["--save", "", "--appendfsync", policy, "--logfile", &logfile];
        let server = TestServer::start_plain(dir, &args);
        let mut client = server.connect();
        for n in 0..100 {
            client.line(&format!("SET key:{n} {n}"));
        }
        // No file may grow any more, as on a full disk. The server's log is on another one.
        if !limit(&server, "--fsize=1:") {
            return;
        }
        let mut writer = server.connect();
        writer.send(&[b"SET", b"held", b"1"]);
        wait_until("the log is broken", || {
            info(&mut client, "aof_last_write_status") == "err"
        });
        let mut other = server.connect();
        other.check(&[
            ("ECHO a", "\"a\""),
            ("DBSIZE", ":101"),
            ("CONFIG SET maxmemory-samples 6", "+OK"),
            (
                "CONFIG GET maxmemory-samples",
                "[\"maxmemory-samples\" \"6\"]",
            ),
            ("CLIENT PAUSE 1", "+OK"),
        ]);
        assert!(other.line("SET more 1").starts_with("-MISCONF"), "{policy}");
        assert!(other.line("CLIENT ID").starts_with(':'));
        // The way out: what is held up was written to no file that counts any more.
        other.check(&[("CONFIG SET appendonly no", "+OK"), ("SET more 1", "+OK")]);
        assert_eq!(super::harness::show(&writer.read()), "+OK");
    }
}

#[test]
fn a_full_disk_is_complained_about_now_and_then() {
    let dir = fresh_dir();
    let server = TestServer::start_plain(dir, &["--save", "", "--syslog-enabled", "no"]);
    let mut client = server.connect();
    client.check(&[("SET a 1", "+OK")]);
    if !limit(&server, "--fsize=1:") {
        return;
    }
    let mut writer = server.connect();
    writer.send(&[b"SET", b"held", b"1"]);
    wait_until("the log is broken", || {
        info(&mut client, "aof_last_write_status") == "err"
    });
    if limit(&server, "--fsize=unlimited:") {
        assert_eq!(super::harness::show(&writer.read()), "+OK");
        client.check(&[("SET b 1", "+OK"), ("GET held", "\"1\"")]);
    }
}

// ---- connections -------------------------------------------------------------------------------

/// Connects and sends a request without waiting for anything.
fn knock(server: &TestServer) -> TcpStream {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).expect("a queue");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    // The server may have closed it already.
    let _ = stream.write_all(b"PING\r\n");
    stream
}

fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 64];
    let read = stream.read(&mut bytes).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..read]).into_owned()
}

#[test]
fn connections_wait_for_descriptors_and_not_for_another_connection() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.check(&[("PING", "+PONG")]);
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid()));
    let Ok(open) = open.map(Iterator::count) else {
        println!("skipped: no /proc");
        return;
    };
    if !limit(&server, &format!("--nofile={open}:")) {
        return;
    }
    let mut waiting = knock(&server);
    // The server has tried to accept it when it has answered this.
    for _ in 0..20 {
        client.check(&[("PING", "+PONG")]);
    }
    assert!(limit(&server, &format!("--nofile={}:", open + 100)));
    assert_eq!(answer(&mut waiting), "+PONG\r\n");
}

#[test]
fn a_burst_of_connections_is_refused_one_by_one() {
    let server = TestServer::start_with(&["--maxclients", "10"]);
    let mut client = server.connect();
    client.check(&[("PING", "+PONG")]);
    if !limit(&server, "--nofile=64:") {
        return;
    }
    let mut streams: Vec<TcpStream> = (0..300).map(|_| knock(&server)).collect();
    let answers: Vec<String> = streams.iter_mut().map(answer).collect();
    let welcomed = answers.iter().filter(|text| *text == "+PONG\r\n").count();
    assert_eq!(welcomed, 9, "{answers:?}");
    drop(streams);
    client.check(&[("PING", "+PONG"), ("SET a 1", "+OK")]);
}

#[test]
fn clients_without_the_password_keep_nobody_out() {
    let server = TestServer::start_plain(fresh_dir(), &["--maxclients", "10"]);
    let mut admin = server.connect();
    admin.check(&[("CONFIG SET requirepass secret", "+OK")]);
    let mut strangers: Vec<TcpStream> = (0..50).map(|_| knock(&server)).collect();
    let mut clients = Vec::new();
    for _ in 0..9 {
        let mut client = server.connect();
        client.check(&[("AUTH secret", "+OK"), ("PING", "+PONG")]);
        clients.push(client);
    }
    // All are authenticated now: the next one is too many.
    let mut late = server.connect();
    let refused = late.read_or_closed().expect("an error");
    assert_eq!(
        super::harness::show(&refused),
        "-ERR max number of clients reached"
    );
    for client in clients.iter_mut().chain([&mut admin]) {
        client.check(&[("PING", "+PONG")]);
    }
    for stranger in &mut strangers {
        let text = answer(stranger);
        assert!(text.is_empty() || text.starts_with("-NOAUTH"), "{text}");
    }
}
