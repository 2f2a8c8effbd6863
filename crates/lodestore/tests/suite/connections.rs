//! What happens to connections: hanging up, being paused, moving between workers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::harness::{Client, TestServer};

/// A client may shut down its sending side and still wait for its replies; then it is closed.
#[test]
fn a_half_closed_client_gets_its_replies() {
    for policy in ["everysec", "always"] {
        let options = ["--appendfsync", policy, "--enable-debug-command", "yes"];
        let server = TestServer::start_with(&[&options[..], &["--threads", "1"]].concat());
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut greeting = [0; 7];
        stream.write_all(b"PING\r\n").unwrap();
        stream.read_exact(&mut greeting).unwrap();
        // While the only worker sleeps, the request and the end of the stream arrive together.
        let mut other = server.connect();
        other.send(&[b"DEBUG", b"SLEEP", b"0.2"]);
        std::thread::sleep(Duration::from_millis(50));
        stream.write_all(b"SET key 1\r\nGET key\r\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut replies = String::new();
        stream.read_to_string(&mut replies).unwrap();
        assert_eq!(replies, "+OK\r\n$1\r\n1\r\n");
        let clients = other.read();
        assert!(!clients.is_error());
        assert_eq!(other.line("GET key"), "\"1\"");
    }
}

/// Waits until the workers hold these numbers of connections.
fn wait_for_clients(client: &mut Client, expected: &[usize]) {
    let began = Instant::now();
    loop {
        let info = client.run(&["INFO", "threads"]);
        let info = String::from_utf8_lossy(info.as_bytes().expect("a text")).into_owned();
        let found: Vec<usize> = info
            .lines()
            .filter_map(|line| line.split_once("clients=")?.1.split_once(','))
            .map(|(count, _)| count.parse().expect("a number"))
            .collect();
        if found == expected {
            return;
        }
        assert!(
            began.elapsed() < super::harness::PATIENCE,
            "{found:?} instead of {expected:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Connections keep their state and their unanswered requests when they move to another worker.
#[test]
fn connections_move_with_all_they_have() {
    let server = TestServer::start_with(&["--threads", "2", "--threads-spread", "yes"]);
    let mut admin = server.connect();
    let mut clients: Vec<Client> = (0..5).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.check(&[("SELECT 2", "+OK"), ("WATCH w", "+OK"), ("MULTI", "+OK")]);
    }
    wait_for_clients(&mut admin, &[3, 3]);
    admin.check(&[("CLIENT PAUSE 100000 WRITE", "+OK")]);
    for client in &mut clients {
        client.send(&[b"INCR", b"n"]);
        client.send(&[b"EXEC"]);
    }
    // Paused requests move as well.
    admin.check(&[("CONFIG SET threads-spread no", "+OK")]);
    wait_for_clients(&mut admin, &[6, 0]);
    admin.check(&[("CONFIG SET threads-spread yes", "+OK")]);
    wait_for_clients(&mut admin, &[3, 3]);
    admin.check(&[("CLIENT UNPAUSE", "+OK")]);
    let mut counts: Vec<i64> = Vec::new();
    for client in &mut clients {
        assert_eq!(client.read().as_bytes(), Some(&b"QUEUED"[..]));
        let reply = client.read();
        counts.push(reply.as_elements().unwrap()[0].as_integer().unwrap());
    }
    counts.sort_unstable();
    assert_eq!(counts, [1, 2, 3, 4, 5]);
}

/// A write that was admitted before a pause, and waits for the lock of its key while the pause
/// begins, does not run during the pause.
#[test]
fn a_pause_also_holds_for_writes_that_wait_for_a_lock() {
    let server = TestServer::start_with(&[
        "--threads",
        "3",
        "--threads-spread",
        "yes",
        "--enable-debug-command",
        "yes",
    ]);
    let mut admin = server.connect();
    let mut holder = server.connect();
    let mut writer = server.connect();
    wait_for_clients(&mut admin, &[1, 1, 1]);
    for round in 0..10 {
        let (held, written) = (format!("held {round}"), format!("written {round}"));
        for request in [
            &["MULTI"][..],
            &["SET", "k", &held],
            &["DEBUG", "SLEEP", "1"],
            &["EXEC"],
        ] {
            let request: Vec<&[u8]> = request.iter().map(|arg| arg.as_bytes()).collect();
            holder.send(&request);
        }
        std::thread::sleep(Duration::from_millis(200));
        writer.send(&[b"SET", b"k", written.as_bytes()]);
        std::thread::sleep(Duration::from_millis(200));
        admin.check(&[("CLIENT PAUSE 100000 WRITE", "+OK")]);
        let after_pause = admin.line("GET k");
        std::thread::sleep(Duration::from_millis(200));
        let in_pause = admin.line("GET k");
        admin.check(&[("CLIENT UNPAUSE", "+OK")]);
        for _ in 0..4 {
            holder.read();
        }
        assert_eq!(writer.read().as_bytes(), Some(&b"OK"[..]));
        assert_eq!(admin.line("GET k"), format!("\"{written}\""));
        // Pause and write wait for the same locks. When the write gets them first this shows
        // nothing.
        let held = format!("\"{held}\"");
        if after_pause == held {
            assert_eq!(in_pause, held, "a write ran in the pause");
            return;
        }
    }
    panic!("the write always ran before the pause, or in it");
}
