//! What a panic at each stage of an execution leaves behind: an error reply, no lock, no client
//! that waits for ever, and a server that refuses writes and says so.

use std::time::{Duration, Instant};

use super::harness::{Client, TestServer};

const REFUSED: &str = "-MISCONF A defect interrupted a change, see the log of the server; writes are refused until a restart";

/// A server with something in every shard's reach, and `threads` workers that all have clients.
fn server(threads: &str) -> TestServer {
    let server = TestServer::start_with(&[
        "--enable-debug-command",
        "yes",
        "--threads",
        threads,
        "--threads-spread",
        "yes",
    ]);
    let mut client = server.connect();
    for n in 0..64 {
        client.line(&format!("SET key:{n} {n}"));
    }
    server
}

fn internal(command: &str) -> String {
    format!("-ERR internal error in '{command}', see the log of the server")
}

/// No shard is locked any more, reads are answered, and writes are refused, also by other workers.
fn check_refusing(server: &TestServer) {
    for mut client in [server.connect(), server.connect(), server.connect_resp3()] {
        for n in 0..64 {
            client.line(&format!("GET key:{n}"));
        }
        assert!(client.line("KEYS key:*").contains("key:1"));
        client.check(&[
            ("SET key:1 again", REFUSED),
            ("DEL key:2", REFUSED),
            ("MULTI", "+OK"),
            ("SET key:1 again", REFUSED),
            (
                "EXEC",
                "-EXECABORT Transaction discarded because of previous errors.",
            ),
            ("EXISTS key:1", ":1"),
        ]);
    }
}

/// Acknowledged writes are there after a restart, and writes are accepted again.
fn check_restart(server: &mut TestServer) {
    server.restart();
    let mut client = server.connect();
    for n in 0..64 {
        assert_eq!(client.line(&format!("GET key:{n}")), format!("\"{n}\""));
    }
    client.check(&[("SET key:0 again", "+OK")]);
}

fn arm(client: &mut Client, stage: &str) {
    client.check(&[(&format!("DEBUG FAULT {stage}"), "+OK")]);
}

#[test]
fn a_panic_in_a_command_is_answered_and_stops_writes() {
    for threads in ["1", "2"] {
        for stage in ["admission", "before-log", "after-log"] {
            let mut server = server(threads);
            let mut client = server.connect();
            arm(&mut client, stage);
            client.check(&[
                ("SET other 1", &internal("set")),
                ("SET other 2", REFUSED),
                ("GET key:1", "\"1\""),
            ]);
            check_refusing(&server);
            check_restart(&mut server);
        }
    }
}

#[test]
fn a_panic_in_a_transaction_ends_it() {
    for stage in ["before-log", "after-log"] {
        let mut server = server("2");
        let mut client = server.connect();
        client.check(&[
            ("WATCH key:3", "+OK"),
            ("MULTI", "+OK"),
            ("INCR count", "+QUEUED"),
            ("LPUSH list a", "+QUEUED"),
        ]);
        arm(&mut server.connect(), stage);
        client.check(&[
            ("EXEC", &internal("exec")),
            ("EXEC", "-ERR EXEC without MULTI"),
        ]);
        check_refusing(&server);
        check_restart(&mut server);
    }
}

#[test]
fn a_panic_while_clients_are_served_leaves_none_waiting() {
    for stage in ["signals", "serve"] {
        let mut server = server("2");
        let mut waiting: Vec<_> = (0..3).map(|_| server.connect()).collect();
        for client in &mut waiting {
            client.send(&[b"BLPOP", b"list", b"0"]);
        }
        let mut client = server.connect();
        wait_for(&mut client, "blocked_clients:3");
        arm(&mut client, stage);
        client.line("RPUSH list a b c");
        let replies: Vec<_> = waiting.iter_mut().map(|client| client.read()).collect();
        let errors = replies.iter().filter(|reply| reply.is_error()).count();
        assert!(errors <= 1, "{stage}: {replies:?}");
        check_refusing(&server);
        check_restart(&mut server);
    }
}

#[test]
fn a_panic_in_active_expiry_stops_writes() {
    let mut server = server("2");
    let mut client = server.connect();
    arm(&mut client, "expire");
    client.check(&[("SET short 1 PX 50", "+OK")]);
    let began = Instant::now();
    while client.line("SET probe 1") == "+OK" {
        assert!(began.elapsed() < super::harness::PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
    client.check(&[("GET short", "nil")]);
    check_refusing(&server);
    check_restart(&mut server);
}

#[test]
fn a_panic_in_eviction_stops_writes() {
    let server = server("2");
    let mut client = server.connect();
    // Every shard has something to evict.
    for number in 0..1000 {
        client.check(&[(&format!("SET filler:{number} x"), "+OK")]);
    }
    // Without a policy the timer that follows a lower limit evicts nothing.
    client.check(&[("CONFIG SET maxmemory 1mb", "+OK")]);
    std::thread::sleep(Duration::from_millis(300));
    arm(&mut client, "evict");
    client.check(&[("CONFIG SET maxmemory-policy allkeys-random", "+OK")]);
    let reply = client.line("SET key:1 x");
    assert!(
        reply == internal("set") || reply.starts_with("-OOM"),
        "{reply}"
    );
    // Nothing is evicted any more, so memory stays above the limit.
    assert!(client.line("SET other 1").starts_with("-OOM"));
    client.check(&[("CONFIG SET maxmemory 0", "+OK"), ("SET other 1", REFUSED)]);
}

#[test]
fn a_worker_that_ends_ends_the_process() {
    for threads in ["1", "2"] {
        let mut server = server(threads);
        let mut client = server.connect();
        client.check(&[("SET key:0 0", "+OK")]);
        arm(&mut client, "turn");
        assert_eq!(server.wait_for_end(), Some(1));
        check_restart(&mut server);
    }
}

fn wait_for(client: &mut Client, field: &str) {
    let began = Instant::now();
    while !client.line("INFO clients").contains(field) {
        assert!(began.elapsed() < super::harness::PATIENCE, "no {field}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
