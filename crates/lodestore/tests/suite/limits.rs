//! Limits on the memory that clients may use, and the treatment of clients that exceed them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use super::harness::{Client, TestServer, show};

fn raw_connection(server: &TestServer) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).unwrap();
    stream
}

/// What comes until the server closes the connection, which may break it off.
fn read_to_end(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    match stream.read_to_end(&mut text) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    String::from_utf8(text).unwrap()
}

/// A field of CLIENT LIST of the client with a name; `None` when there is no such client.
fn field_of(client: &mut Client, name: &str, field: &str) -> Option<usize> {
    let list = client.run(&["CLIENT", "LIST"]);
    let list = String::from_utf8_lossy(list.as_bytes().expect("a text")).into_owned();
    let line = list
        .lines()
        .find(|line| line.contains(&format!(" name={name} ")))?;
    let value = line
        .split_once(&format!(" {field}="))?
        .1
        .split(' ')
        .next()?;
    Some(value.parse().expect("a number"))
}

fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_true() {
        assert!(began.elapsed() < super::harness::PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A client with a name that has sent `bytes` of an argument without end.
fn half_a_request(server: &TestServer, admin: &mut Client, name: &str, bytes: usize) -> TcpStream {
    let mut stream = raw_connection(server);
    write!(stream, "CLIENT SETNAME {name}\r\n").unwrap();
    write!(stream, "*2\r\n$4\r\nECHO\r\n${}\r\n", bytes * 2).unwrap();
    stream.write_all(&vec![b'x'; bytes]).unwrap();
    wait_until("the argument arrives", || {
        field_of(admin, name, "qbuf") == Some(bytes)
    });
    stream
}

#[test]
fn web_requests_are_cut_off() {
    let server = TestServer::start();
    for request in [
        "GET / HTTP/1.1\r\nHost: here\r\nSET stolen 1\r\n",
        "post / HTTP/1.1\r\nSET stolen 1\r\n",
    ] {
        let mut stream = raw_connection(&server);
        stream.write_all(request.as_bytes()).unwrap();
        assert_eq!(read_to_end(stream), "");
    }
    server.connect().check(&[("EXISTS stolen", ":0")]);
}

#[test]
fn too_much_output_ends_the_connection() {
    let server = TestServer::start_with(&["--client-output-buffer-limit", "normal 100000 0 0"]);
    let mut admin = server.connect();
    admin.run(&["SET", "big", &"x".repeat(150_000)]);
    // Nothing of the transaction is lost, and nothing of its replies arrives.
    let mut stream = raw_connection(&server);
    stream
        .write_all(b"MULTI\r\nSET a 1\r\nGET big\r\nSET b 2\r\nEXEC\r\nSET c 3\r\n")
        .unwrap();
    assert_eq!(read_to_end(stream), "");
    admin.check(&[("EXISTS a b c", ":2")]);
}

#[test]
fn the_soft_limit_has_patience() {
    let server = TestServer::start_with(&["--client-output-buffer-limit", "normal 0 100000 1"]);
    let mut admin = server.connect();
    admin.run(&["SET", "big", &"x".repeat(10_000_000)]);
    let mut stream = raw_connection(&server);
    stream.write_all(b"CLIENT SETNAME slow\r\n").unwrap();
    for _ in 0..10 {
        stream.write_all(b"GET big\r\n").unwrap();
    }
    wait_until("the output piles up", || {
        field_of(&mut admin, "slow", "omem") > Some(100_000)
    });
    wait_until("the client is closed", || {
        field_of(&mut admin, "slow", "db").is_none()
    });
    assert!(read_to_end(stream).len() < 100_000_000);
}

#[test]
fn the_largest_clients_go_first() {
    let server = TestServer::start_with(&["--threads", "2", "--threads-spread", "yes"]);
    let mut admin = server.connect();
    let _small = half_a_request(&server, &mut admin, "small", 200_000);
    let large = half_a_request(&server, &mut admin, "large", 3_000_000);
    let _medium = half_a_request(&server, &mut admin, "medium", 800_000);
    admin.check(&[("CONFIG SET maxmemory-clients 2mb", "+OK")]);
    assert_eq!(read_to_end(large), "+OK\r\n");
    wait_until("its line is gone", || {
        field_of(&mut admin, "large", "db").is_none()
    });
    assert!(field_of(&mut admin, "medium", "tot-mem") >= Some(800_000));
    assert!(field_of(&mut admin, "small", "tot-mem") >= Some(200_000));
    let stats = admin.run(&["INFO", "stats"]);
    let stats = String::from_utf8_lossy(stats.as_bytes().expect("a text")).into_owned();
    assert!(stats.contains("\r\nevicted_clients:1\r\n"), "{stats}");
}

#[test]
fn clients_may_be_exempt_from_eviction() {
    let server = TestServer::start();
    let mut admin = server.connect();
    let mut stream = raw_connection(&server);
    stream.write_all(b"CLIENT NO-EVICT on\r\n").unwrap();
    stream
        .write_all(b"CLIENT SETNAME kept\r\n*2\r\n$4\r\nECHO\r\n$2000000\r\n")
        .unwrap();
    stream.write_all(&vec![b'x'; 1_000_000]).unwrap();
    wait_until("the argument arrives", || {
        field_of(&mut admin, "kept", "qbuf") == Some(1_000_000)
    });
    admin.check(&[
        ("CLIENT NO-EVICT on", "+OK"),
        ("CONFIG SET maxmemory-clients 200kb", "+OK"),
        ("PING", "+PONG"),
    ]);
    stream.write_all(&vec![b'x'; 1_000_000]).unwrap();
    stream.write_all(b"\r\nQUIT\r\n").unwrap();
    assert_eq!(
        read_to_end(stream).len(),
        3 * "+OK\r\n".len() + "$2000000\r\n\r\n".len() + 2_000_000
    );
}

#[test]
fn writes_wait_for_enough_replicas() {
    let server = TestServer::start();
    let refused = "-NOREPLICAS Not enough good replicas to write.";
    server.connect().check(&[
        ("MULTI", "+OK"),
        ("SET key 1", "+QUEUED"),
        ("EXEC", "[+OK]"),
        ("CONFIG SET min-replicas-to-write 1", "+OK"),
        ("SET key 2", refused),
        ("GET key", "\"1\""),
        ("CONFIG SET min-replicas-max-lag 0", "+OK"),
        ("SET key 2", "+OK"),
    ]);
}

#[test]
fn switching_the_append_only_file_off_unblocks_waitaof() {
    let server = TestServer::start_with(&["--appendfsync", "no"]);
    let mut waiting = server.connect();
    waiting.check(&[("SET key 1", "+OK")]);
    waiting.send(&[b"WAITAOF", b"1", b"0", b"0"]);
    let mut admin = server.connect();
    wait_until("it waits", || {
        let clients = admin.run(&["INFO", "clients"]);
        String::from_utf8_lossy(clients.as_bytes().expect("a text"))
            .contains("\r\nblocked_clients:1\r\n")
    });
    admin.check(&[("CONFIG SET appendonly no", "+OK")]);
    assert_eq!(
        show(&waiting.read()),
        "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."
    );
}
