//! FAILOVER: the role goes to a replica, or stays, and no acknowledged write is lost.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::harness::{Client, TestServer, show};
use super::pubsub::wait_until;
use super::replication::{assert_same, field, fill, primary, replica_of, replication};

/// A replica that takes everything and acknowledges nothing.
struct Mute {
    _link: TcpStream,
    port: u16,
}

impl Mute {
    /// Attaches to a primary, and says that it listens on this port.
    fn attach(primary: &TestServer, port: u16) -> Self {
        let mut link = TcpStream::connect((Ipv4Addr::LOCALHOST, primary.port())).unwrap();
        write!(link, "REPLCONF listening-port {port}\r\nSYNC\r\n").unwrap();
        let row = format!("port={port},state=online");
        wait_until("the replica is online", || {
            replication(primary, "slave0").contains(&row)
        });
        Self { _link: link, port }
    }

    fn target(&self) -> String {
        format!("TO 127.0.0.1 {}", self.port)
    }
}

fn state(server: &TestServer) -> String {
    replication(server, "master_failover_state")
}

/// Sends a request whose reply comes later.
fn send(client: &mut Client, line: &str) {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    client.send(&words);
}

#[test]
fn the_role_goes_to_a_replica_and_back() {
    let one = primary(&[]);
    fill(&mut one.connect());
    let other = replica_of(&one, &[]);
    let last = replica_of(&one, &[]);
    let mut waiting = one.connect();
    send(&mut waiting, "BLPOP nothing 0");
    let stop = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let (mut client, mut written) = (one.connect(), 0);
            loop {
                let reply = client.line(&format!("RPUSH numbers {written}"));
                if reply.starts_with("-READONLY") || stop.load(Ordering::Relaxed) {
                    return written;
                }
                assert!(reply.starts_with(':'), "{reply}");
                written += 1;
            }
        });
        let mut client = one.connect_resp3();
        wait_until("some writes", || client.integer("LLEN numbers") > 20);
        let line = format!("FAILOVER TO 127.0.0.1 {} TIMEOUT 60000", other.port());
        assert_eq!(client.line(&line), "+OK");
        wait_until("the role has moved", || state(&one) == "no-failover");
        let written = writer.join();
        stop.store(true, Ordering::Relaxed);
        written.unwrap()
    });
    assert!(show(&waiting.read()).starts_with("-UNBLOCKED "));
    assert_eq!(replication(&one, "role"), "slave");
    assert_eq!(replication(&other, "role"), "master");
    let mut client = other.connect();
    assert_eq!(client.integer("LLEN numbers"), written);
    assert_eq!(client.line("SET after 1"), "+OK");
    assert_same(&other, &one);
    // The other replica follows the server that it knows, and that has the same history.
    assert_same(&other, &last);
    for server in [&one, &other] {
        let full = field(&mut server.connect(), "stats", "sync_full");
        assert!(full == "2" || full == "0", "{full}");
    }
    assert_eq!(client.line("FAILOVER"), "+OK");
    wait_until("the role is back", || {
        replication(&one, "role") == "master" && state(&other) == "no-failover"
    });
    assert_eq!(one.connect().line("SET after 2"), "+OK");
    assert_same(&one, &other);
}

#[test]
fn a_failover_that_cannot_be_is_refused() {
    let server = primary(&[]);
    let mut client = server.connect();
    let forced = "-ERR FAILOVER with force option requires both a timeout and target HOST and IP.";
    client.check(&[
        ("FAILOVER", "-ERR FAILOVER requires connected replicas."),
        ("FAILOVER ABORT", "-ERR No failover in progress."),
        ("FAILOVER ABORT TIMEOUT 1", "-ERR syntax error"),
        ("FAILOVER TO 127.0.0.1", "-ERR syntax error"),
        ("FAILOVER TIMEOUT", "-ERR syntax error"),
        ("FAILOVER FORCE FORCE", "-ERR syntax error"),
        ("FAILOVER TIMEOUT 1 TIMEOUT 1", "-ERR syntax error"),
        (
            "FAILOVER TIMEOUT 0",
            "-ERR FAILOVER timeout must be greater than 0",
        ),
        (
            "FAILOVER TO 127.0.0.1 x",
            "-ERR value is not an integer or out of range",
        ),
    ]);
    let replica = replica_of(&server, &[]);
    client.check(&[
        ("FAILOVER FORCE", forced),
        ("FAILOVER FORCE TIMEOUT 5", forced),
        (
            "FAILOVER TO 127.0.0.1 1",
            "-ERR FAILOVER target HOST and PORT is not a replica.",
        ),
    ]);
    replica.connect().check(&[
        (
            "FAILOVER",
            "-ERR FAILOVER is not valid when server is a replica.",
        ),
        (
            "PSYNC 0000000000000000000000000000000000000000 1 FAILOVER",
            "-ERR PSYNC FAILOVER replid must match my replid.",
        ),
    ]);
    client.check(&[(
        "PSYNC ? -1 FAILOVER",
        "-ERR PSYNC FAILOVER can't be sent to a master.",
    )]);
}

#[test]
fn writes_wait_for_the_end_of_a_failover_whatever_clients_pause() {
    let server = primary(&[]);
    let mute = Mute::attach(&server, 1);
    let mut client = server.connect();
    client.check(&[
        ("FAILOVER", "+OK"),
        ("FAILOVER", "-ERR FAILOVER already in progress."),
        (
            "REPLICAOF NO ONE",
            "-ERR REPLICAOF not allowed while failing over.",
        ),
        ("PSYNC ? -1", "-NOMASTERLINK Can't SYNC while failing over"),
        ("GET a", "nil"),
    ]);
    assert_eq!(state(&server), "waiting-for-sync");
    assert_eq!(
        field(&mut client, "clients", "paused_reason"),
        "failover_in_progress"
    );
    assert_eq!(field(&mut client, "clients", "paused_actions"), "write");
    let mut writer = server.connect();
    send(&mut writer, "SET a 1");
    client.check(&[("CLIENT PAUSE 100 ALL", "+OK")]);
    // It waits for the end of CLIENT PAUSE, and not for that of FAILOVER.
    client.check(&[("GET a", "nil"), ("CLIENT PAUSE 100000 WRITE", "+OK")]);
    client.check(&[("CLIENT UNPAUSE", "+OK"), ("GET a", "nil")]);
    assert_eq!(
        field(&mut client, "clients", "paused_reason"),
        "failover_in_progress"
    );
    client.check(&[
        ("CLIENT PAUSE 100000 WRITE", "+OK"),
        ("FAILOVER ABORT", "+OK"),
        ("GET a", "nil"),
    ]);
    assert_eq!(state(&server), "no-failover");
    assert_eq!(
        field(&mut client, "clients", "paused_reason"),
        "client_pause"
    );
    client.check(&[("CLIENT UNPAUSE", "+OK")]);
    assert_eq!(show(&writer.read()), "+OK");
    drop(mute);
}

#[test]
fn a_failover_ends_with_its_time() {
    let server = primary(&[]);
    let mute = Mute::attach(&server, 1);
    let mut client = server.connect();
    let line = format!("FAILOVER {} TIMEOUT 100", mute.target());
    client.check(&[(&line, "+OK"), ("SET a 1", "+OK"), ("GET a", "\"1\"")]);
    assert_eq!(state(&server), "no-failover");
    assert_eq!(replication(&server, "role"), "master");
}

/// Answers as a server that accepts the handshake, and to PSYNC with `answer`. Returns the request.
fn answer_psync(listener: &TcpListener, answer: &str) -> (TcpStream, String) {
    let (mut link, _) = listener.accept().unwrap();
    link.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let (mut input, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let got = link.read(&mut piece).unwrap();
        assert!(got > 0, "the handshake ended");
        input.extend_from_slice(&piece[..got]);
        let text = String::from_utf8_lossy(&input).into_owned();
        if !text.ends_with("\r\n") {
            continue;
        }
        if text.contains("PSYNC") {
            link.write_all(answer.as_bytes()).unwrap();
            return (link, text);
        }
        link.write_all(b"+OK\r\n").unwrap();
        input.clear();
    }
}

#[test]
fn a_forced_failover_that_is_rejected_leaves_the_primary_as_it_was() {
    let server = primary(&[]);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mute = Mute::attach(&server, listener.local_addr().unwrap().port());
    let mut client = server.connect();
    let mut waiting = server.connect();
    send(&mut waiting, "BLPOP list 0");
    let line = format!("FAILOVER {} FORCE TIMEOUT 100", mute.target());
    assert_eq!(client.line(&line), "+OK");
    let mut writer = server.connect();
    send(&mut writer, "SET a 1");
    let (link, request) = answer_psync(&listener, "-NOPERM no\r\n");
    assert!(request.ends_with("FAILOVER\r\n"), "{request}");
    assert_eq!(show(&writer.read()), "+OK");
    assert_eq!(replication(&server, "role"), "master");
    assert_eq!(state(&server), "no-failover");
    // It was not disturbed.
    assert_eq!(client.line("RPUSH list x"), ":1");
    assert_eq!(show(&waiting.read()), r#"["list" "x"]"#);
    drop(link);
}

#[test]
fn a_failover_to_a_target_that_is_gone_can_be_aborted() {
    let server = primary(&[]);
    let mute = Mute::attach(&server, 1);
    let mut client = server.connect();
    let line = format!("FAILOVER {} FORCE TIMEOUT 1", mute.target());
    client.check(&[(&line, "+OK")]);
    wait_until("it is in progress", || {
        state(&server) == "failover-in-progress"
    });
    assert_eq!(replication(&server, "role"), "slave");
    client.check(&[
        (
            "SET a 1",
            "-READONLY You can't write against a read only replica.",
        ),
        ("FAILOVER ABORT", "+OK"),
        ("SET a 1", "+OK"),
    ]);
    assert_eq!(replication(&server, "role"), "master");
    assert_eq!(state(&server), "no-failover");
}
