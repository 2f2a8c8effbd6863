//! Clients that do not read their replies: limits of clients hold before keys are evicted, whatever
//! command makes the replies.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use super::harness::{Client, TestServer};
use super::operations::info;

/// Keys, and the bytes of each value.
const KEYS: usize = 600;
const VALUE_BYTES: usize = 30_000;

/// Keys whose values one reply has: 6 MB.
const KEYS_PER_REPLY: usize = 200;

/// Clients that do not read.
const CLIENTS: usize = 20;

fn number(client: &mut Client, field: &str) -> u64 {
    info(client, field).parse().expect("a number")
}

fn filled(args: &[&str]) -> TestServer {
    let server = TestServer::start_with(args);
    let mut client = server.connect();
    for key in 0..KEYS {
        let value = "x".repeat(VALUE_BYTES);
        assert!(
            !client
                .run(&["SET", &format!("key:{key}"), &value])
                .is_error()
        );
    }
    server
}

fn mget() -> String {
    let mut request = format!("*{}\r\n$4\r\nMGET\r\n", KEYS_PER_REPLY + 1);
    for key in 0..KEYS_PER_REPLY {
        let name = format!("key:{key}");
        let _ = write!(request, "${}\r\n{name}\r\n", name.len());
    }
    request
}

/// Ways to ask for the same values.
fn requests() -> [(&'static str, String); 3] {
    let gets = (0..KEYS_PER_REPLY).fold(String::new(), |mut text, key| {
        let _ = write!(text, "GET key:{key}\r\n");
        text
    });
    [
        ("one command", mget()),
        ("a pipeline", gets.clone()),
        ("a transaction", format!("MULTI\r\n{gets}EXEC\r\n")),
    ]
}

fn connect(server: &TestServer) -> TcpStream {
    TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).expect("a connection")
}

/// Waits until every request has been executed, or its client is gone.
fn settle(admin: &mut Client, commands: u64) {
    let began = Instant::now();
    let mut last = (0, 0);
    loop {
        let now = (
            number(admin, "total_commands_processed"),
            number(admin, "evicted_clients"),
        );
        let is_done = now.0 >= commands && number(admin, "mem_clients_normal") < 13_000_000;
        if is_done && now.1 == last.1 {
            return;
        }
        last = now;
        assert!(began.elapsed() < Duration::from_secs(60), "{now:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn clients_go_before_keys() {
    for threads in ["1", "4"] {
        for (what, request) in requests() {
            let server = filled(&[
                "--threads",
                threads,
                "--threads-spread",
                "yes",
                "--maxmemory",
                "60mb",
                "--maxmemory-policy",
                "allkeys-lru",
                "--maxmemory-clients",
                "20%",
            ]);
            let mut admin = server.connect();
            let commands = number(&mut admin, "total_commands_processed") + CLIENTS as u64;
            let mut streams: Vec<TcpStream> = (0..CLIENTS).map(|_| connect(&server)).collect();
            for stream in &mut streams {
                stream.write_all(request.as_bytes()).expect("sent");
            }
            settle(&mut admin, commands);
            let evicted = number(&mut admin, "evicted_clients");
            assert_eq!(number(&mut admin, "evicted_keys"), 0, "{threads} {what}");
            admin.check(&[("DBSIZE", &format!(":{KEYS}"))]);
            assert!(evicted >= 10, "{threads} {what}: {evicted}");
            let peak = number(&mut admin, "used_memory_peak");
            assert!(peak < 100_000_000, "{threads} {what}: {peak}");
        }
    }
}

#[test]
fn replies_above_the_limit_of_a_client_are_not_built() {
    let limits = [
        ["--client-output-buffer-limit", "normal 10mb 0 0"],
        ["--maxmemory-clients", "10mb"],
    ];
    for limit in limits {
        let server = filled(&limit);
        let mut admin = server.connect();
        // 300 MB in one transaction, whose writes are made all the same.
        let mut stream = connect(&server);
        let request = format!("MULTI\r\n{}SET done 1\r\nEXEC\r\n", mget().repeat(50));
        stream.write_all(request.as_bytes()).expect("sent");
        let began = Instant::now();
        while admin.line("EXISTS done") != ":1" {
            assert!(began.elapsed() < Duration::from_secs(60), "{limit:?}");
        }
        let peak = number(&mut admin, "used_memory_peak");
        assert!(peak < 70_000_000, "{limit:?}: {peak}");
        let began = Instant::now();
        while number(&mut admin, "connected_clients") != 1 {
            assert!(began.elapsed() < Duration::from_secs(60), "{limit:?}");
        }
    }
}

#[test]
fn the_peak_of_memory_shows_what_replies_took() {
    let server = filled(&[]);
    let mut admin = server.connect();
    let before = number(&mut admin, "used_memory_peak");
    let mut stream = connect(&server);
    stream.write_all(mget().repeat(8).as_bytes()).expect("sent");
    let began = Instant::now();
    // Replies of 48 MB do not fit the buffers of the sockets.
    while number(&mut admin, "used_memory_peak") < before + 20_000_000 {
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn sorting_by_a_long_pattern_builds_few_names_at_once() {
    let server = TestServer::start();
    let mut client = server.connect();
    for n in 0..256 {
        client.line(&format!("RPUSH list {n}"));
    }
    let peak_kb = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let digits = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
        digits.unwrap_or(0)
    };
    let pattern = format!("{}*", "p".repeat(1_000_000));
    client.run(&["ECHO", &pattern]);
    let before = peak_kb();
    for request in [
        vec!["SORT", "list", "BY", &pattern, "LIMIT", "0", "3"],
        vec!["SORT", "list", "LIMIT", "0", "100", "GET", &pattern],
    ] {
        assert!(!client.run(&request).is_error());
    }
    let grown_kb = peak_kb() - before;
    assert!(grown_kb < 32_000, "{grown_kb} KB");
}
