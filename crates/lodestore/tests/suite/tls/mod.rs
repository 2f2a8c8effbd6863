//! Encrypted connections.

mod administration;
mod certificates;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;

use rustls::client::{Resumption, Tls12Resumption};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};

use certificates::{Authority, Made};

use super::harness::{Client, REPLY_TIMEOUT, TestServer, dump, free_port, fresh_dir, show};

/// A server with a port for TLS beside that for TCP.
struct Encrypted {
    server: TestServer,
    port: u16,
    authority: Authority,
}

impl Encrypted {
    fn start(options: &[&str]) -> Self {
        let authority = Authority::new(&fresh_dir());
        let port = free_port();
        let mut all = authority.options();
        all.extend(["--tls-port".to_owned(), port.to_string()]);
        all.extend(options.iter().map(|option| (*option).to_owned()));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        Self {
            server: TestServer::start_with(&all),
            port,
            authority,
        }
    }

    /// A configuration of clients with a good certificate.
    fn usual(&self) -> Arc<ClientConfig> {
        let made = self.authority.client("client");
        let versions = [&TLS12, &TLS13];
        self.authority
            .config(&versions, Some(&made), Resumption::disabled())
    }

    fn connect(&self) -> Client {
        Client::over(open(self.port, &self.usual()).expect("a connection"))
    }

    /// What happens to a client with this configuration that sends PING.
    fn ping(&self, config: &Arc<ClientConfig>) -> Result<(), String> {
        ping(self.port, config)
    }

    /// The same for a client that shows a certificate, or none, in both versions.
    fn is_accepted(&self, shown: Option<&Made>) -> bool {
        let accepted = [&TLS12, &TLS13].map(|version| {
            let disabled = Resumption::disabled();
            let config = self.authority.config(&[version], shown, disabled);
            self.ping(&config).is_ok()
        });
        assert_eq!(accepted[0], accepted[1]);
        accepted[0]
    }
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

fn socket(port: u16) -> io::Result<TcpStream> {
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    socket.set_read_timeout(Some(REPLY_TIMEOUT))?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// A connection behind the client's part of the handshake.
fn open(port: u16, config: &Arc<ClientConfig>) -> io::Result<Stream> {
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::clone(config), name).expect("a client");
    let mut stream = StreamOwned::new(connection, socket(port)?);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

fn ping(port: u16, config: &Arc<ClientConfig>) -> Result<(), String> {
    let reply = || -> io::Result<[u8; 7]> {
        let mut stream = open(port, config)?;
        stream.write_all(b"PING\r\n")?;
        let mut reply = [0; 7];
        stream.read_exact(&mut reply)?;
        Ok(reply)
    };
    match reply() {
        Ok(reply) => {
            assert_eq!(&reply, b"+PONG\r\n");
            Ok(())
        }
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn commands_run_as_over_tcp() {
    let encrypted = Encrypted::start(&[]);
    let made = encrypted.authority.client("client");
    for version in [&TLS12, &TLS13] {
        let config = encrypted
            .authority
            .config(&[version], Some(&made), Resumption::disabled());
        let connect = || Client::over(open(encrypted.port, &config).expect("a connection"));
        let mut client = connect();
        client.check(&[
            ("PING", "+PONG"),
            ("SET a b", "+OK"),
            ("GET a", "\"b\""),
            ("GET none", "nil"),
            ("INCR a", "-ERR value is not an integer or out of range"),
            ("MULTI", "+OK"),
            ("INCR n", "+QUEUED"),
            ("GET a", "+QUEUED"),
            ("EXEC", "[:1 \"b\"]"),
            ("DEL n", ":1"),
        ]);
        // Values of many records, both ways, and as parts of a pipeline.
        let long = vec![b'x'; 5_000_003];
        assert_eq!(show(&client.run_bytes(&[b"SET", b"long", &long])), "+OK");
        for _ in 0..3 {
            client.send(&[b"GET", b"long"]);
        }
        for _ in 0..3 {
            assert!(client.read().as_bytes() == Some(&long));
        }
        // A long pipeline in small requests.
        let requests = b"*2\r\n$4\r\nINCR\r\n$5\r\ncount\r\n".repeat(5_000);
        assert!(client.try_send(&requests));
        for at in 1..=5_000 {
            assert_eq!(show(&client.read()), format!(":{at}"));
        }
        assert_eq!(client.line("DEL count"), ":1");
        resp3(&mut client, &mut connect());
    }
    let mut plain = encrypted.server.connect();
    assert_eq!(plain.line("GET a"), "\"b\"");
    let other = encrypted.server.replayed_with(&["--tls-port", "0"]);
    assert_eq!(dump(&mut plain), dump(&mut other.connect()));
}

/// Pushes: messages, invalidations, lines of MONITOR; and a client that waits.
fn resp3(client: &mut Client, other: &mut Client) {
    assert!(!client.run(&["HELLO", "3"]).is_error());
    client.check(&[
        ("SUBSCRIBE news", ">[\"subscribe\" \"news\" :1]"),
        ("CLIENT TRACKING ON", "+OK"),
        ("GET a", "\"b\""),
    ]);
    other.check(&[("PUBLISH news hello", ":1"), ("SET a b", "+OK")]);
    assert_eq!(show(&client.read()), ">[\"message\" \"news\" \"hello\"]");
    assert_eq!(show(&client.read()), ">[\"invalidate\" [\"a\"]]");
    client.send(&[b"BLPOP", b"queue", b"0"]);
    while !other.line("INFO clients").contains("blocked_clients:1") {}
    assert_eq!(other.line("RPUSH queue item"), ":1");
    assert_eq!(show(&client.read()), "[\"queue\" \"item\"]");
    other.check(&[("MONITOR", "+OK")]);
    assert_eq!(client.line("PING"), "+PONG");
    assert!(show(&other.read()).ends_with("\"PING\""));
}

#[test]
fn the_port_for_tls_alone_is_a_complete_server() {
    let dir = fresh_dir();
    let authority = Authority::new(&dir);
    let port = free_port().to_string();
    let mut options = authority.options();
    for option in [
        "--port",
        "0",
        "--tls-port",
        &port,
        "--tls-auth-clients",
        "no",
    ] {
        options.push(option.to_owned());
    }
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let mut server = TestServer::begin_plain(dir, &options);
    let number = port.parse().expect("a port");
    let config = authority.config(&[&TLS13], None, Resumption::disabled());
    let began = std::time::Instant::now();
    while ping(number, &config).is_err() {
        assert!(began.elapsed() < REPLY_TIMEOUT, "no answer");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let mut client = Client::over(open(number, &config).expect("a connection"));
    let info = client.line("INFO server");
    assert!(info.contains(&format!("tcp_port:{port}\\r\\n")), "{info}");
    let listener = format!("listener0:name=tls,bind=127.0.0.1,port={port}\\r\\n");
    assert!(info.contains(&listener), "{info}");
    client.send(&[b"SHUTDOWN", b"NOSAVE"]);
    assert_eq!(client.read_or_closed(), None);
    assert_eq!(server.wait_for_end(), Some(0));
}

#[test]
fn clients_show_certificates_as_configured() {
    let encrypted = Encrypted::start(&[]);
    let stranger = Authority::new(&fresh_dir()).client("client");
    let (good, late) = (
        encrypted.authority.client("client"),
        encrypted.authority.late_client(),
    );
    let mut plain = encrypted.server.connect();
    for (mode, without) in [("yes", false), ("optional", true), ("no", true)] {
        let set = format!("CONFIG SET tls-auth-clients {mode}");
        assert_eq!(plain.line(&set), "+OK");
        assert!(encrypted.is_accepted(Some(&good)), "{mode}");
        assert_eq!(encrypted.is_accepted(None), without, "{mode}");
        let is_asked = mode != "no";
        assert_eq!(encrypted.is_accepted(Some(&stranger)), !is_asked, "{mode}");
        assert_eq!(encrypted.is_accepted(Some(&late)), !is_asked, "{mode}");
    }
}

#[test]
fn a_certificate_may_name_the_user() {
    let encrypted = Encrypted::start(&["--tls-auth-clients-user", "CN"]);
    let mut plain = encrypted.server.connect();
    assert_eq!(plain.line("CONFIG SET requirepass secret"), "+OK");
    assert_eq!(plain.line("AUTH secret"), "+OK");
    let reply = |made: &Made| {
        let config = encrypted
            .authority
            .config(&[&TLS13], Some(made), Resumption::disabled());
        let mut client = Client::over(open(encrypted.port, &config).expect("a connection"));
        client.line("PING")
    };
    let denied = |plain: &mut Client, count: usize| {
        let info = plain.line("INFO stats");
        let field = format!("acl_access_denied_tls_cert:{count}\\r\\n");
        assert!(info.contains(&field), "{info}");
    };
    let noauth = "-NOAUTH Authentication required.";
    assert_eq!(reply(&encrypted.authority.client("default")), "+PONG");
    denied(&mut plain, 0);
    assert_eq!(reply(&encrypted.authority.client("other")), noauth);
    assert_eq!(reply(&encrypted.authority.client("default\0")), noauth);
    denied(&mut plain, 2);
    let logged = plain.line("ACL LOG 1");
    assert!(
        logged.contains(
            r#""reason" "tls-cert" "context" "toplevel" "object" "" "username" "default\x00""#
        ),
        "{logged}"
    );
    plain.check(&[("ACL SETUSER other on >pw +ping", "+OK")]);
    assert_eq!(reply(&encrypted.authority.client("other")), "+PONG");
    plain.check(&[("ACL SETUSER other off", "+OK")]);
    assert_eq!(reply(&encrypted.authority.client("other")), noauth);
    denied(&mut plain, 3);
    plain.check(&[("CONFIG RESETSTAT", "+OK"), ("ACL DELUSER other", ":1")]);
    assert_eq!(reply(&encrypted.authority.client("other")), noauth);
    assert_eq!(reply(&encrypted.authority.client("default\0")), noauth);
    denied(&mut plain, 2);
    assert_eq!(plain.line("CONFIG SET tls-auth-clients-user URI"), "+OK");
    assert_eq!(reply(&encrypted.authority.client("default")), noauth);
    denied(&mut plain, 2);
    let uris = ["urn:none", "default"];
    assert_eq!(reply(&encrypted.authority.client_with_uris(&uris)), "+PONG");
    assert_eq!(plain.line("CONFIG SET tls-auth-clients-user off"), "+OK");
    assert_eq!(reply(&encrypted.authority.client("default")), noauth);
}

#[test]
fn sessions_are_resumed() {
    let encrypted = Encrypted::start(&[]);
    let made = encrypted.authority.client("client");
    let kinds = |version, resumption| {
        let config = encrypted
            .authority
            .config(&[version], Some(&made), resumption);
        [(); 3].map(|()| {
            let mut stream = open(encrypted.port, &config).expect("a connection");
            // Tickets of TLS 1.3 come behind the handshake.
            stream.write_all(b"PING\r\n").expect("a request");
            stream.read_exact(&mut [0; 7]).expect("a reply");
            stream.conn.handshake_kind().expect("a handshake")
        })
    };
    let by_id =
        || Resumption::in_memory_sessions(8).tls12_resumption(Tls12Resumption::SessionIdOnly);
    let by_ticket = || Resumption::in_memory_sessions(8);
    let resumed = [
        HandshakeKind::Full,
        HandshakeKind::Resumed,
        HandshakeKind::Resumed,
    ];
    assert_eq!(kinds(&TLS13, by_ticket()), resumed);
    assert_eq!(kinds(&TLS12, by_ticket()), resumed);
    assert_eq!(kinds(&TLS12, by_id()), resumed);
    let mut plain = encrypted.server.connect();
    for set in [
        "CONFIG SET tls-session-cache-timeout 0",
        "CONFIG SET tls-session-caching no tls-session-cache-timeout 300",
    ] {
        assert_eq!(plain.line(set), "+OK");
        let full = [HandshakeKind::Full; 3];
        assert_eq!(kinds(&TLS13, by_ticket()), full, "{set}");
        assert_eq!(kinds(&TLS12, by_ticket()), full, "{set}");
        assert_eq!(kinds(&TLS12, by_id()), full, "{set}");
    }
}

/// With appendfsync always replies wait for the disk: what a client of TLS was told is there after
/// a crash, and replies keep their order whether they wait or not.
#[test]
fn held_replies_leave_when_the_log_has_them() {
    let mut encrypted = Encrypted::start(&["--appendfsync", "always"]);
    let mut client = encrypted.connect();
    for round in 0..20 {
        let mut requests = Vec::new();
        for at in 0..50 {
            let key = format!("key:{round}:{at}");
            for request in [format!("SET {key} {at}\r\n"), format!("ECHO {at}\r\n")] {
                requests.extend_from_slice(request.as_bytes());
            }
        }
        assert!(client.try_send(&requests));
        for at in 0..50 {
            assert_eq!(show(&client.read()), "+OK");
            assert_eq!(show(&client.read()), format!("\"{at}\""));
        }
    }
    encrypted.server.restart();
    assert_eq!(encrypted.connect().line("DBSIZE"), ":1000");
}

#[test]
fn a_connection_that_is_cut_does_no_harm() {
    let encrypted = Encrypted::start(&[]);
    let mut stream = open(encrypted.port, &encrypted.usual()).expect("a connection");
    stream
        .conn
        .writer()
        .write_all(b"SET cut whole\r\n")
        .expect("room");
    stream.conn.writer().write_all(&[b'x'; 1000]).expect("room");
    let mut records = Vec::new();
    while stream.conn.wants_write() {
        stream.conn.write_tls(&mut records).expect("records");
    }
    let most = records.len() - 500;
    stream.sock.write_all(&records[..most]).expect("a part");
    drop(stream);
    let mut client = encrypted.connect();
    while client.line("GET cut") == "nil" {}
    assert_eq!(client.line("GET cut"), "\"whole\"");
    // Nor does a broken record.
    let mut stream = open(encrypted.port, &encrypted.usual()).expect("a connection");
    stream
        .sock
        .write_all(b"\x17\x03\x03\x00\x20")
        .expect("a head");
    stream.sock.write_all(&[7; 32]).expect("a body");
    let mut rest = Vec::new();
    assert!(stream.read_to_end(&mut rest).is_err());
    assert_eq!(client.line("PING"), "+PONG");
}

#[test]
fn the_limit_of_clients_holds() {
    let encrypted = Encrypted::start(&[]);
    let (mut first, mut second) = (encrypted.server.connect(), encrypted.connect());
    // The client that waited for the start may still be there.
    while !first
        .line("INFO clients")
        .contains("connected_clients:2\\r")
    {}
    assert_eq!(first.line("CONFIG SET maxclients 3"), "+OK");
    let mut third = encrypted.connect();
    for client in [&mut first, &mut second, &mut third] {
        assert_eq!(client.line("PING"), "+PONG");
    }
    let mut refused = encrypted.connect();
    let reply = refused.read();
    assert_eq!(show(&reply), "-ERR max number of clients reached");
    assert_eq!(refused.read_or_closed(), None);
    assert_eq!(second.line("CONFIG SET maxclients 4"), "+OK");
    assert_eq!(encrypted.connect().line("PING"), "+PONG");
}

#[test]
fn unfinished_handshakes_do_not_keep_others_out() {
    let encrypted = Encrypted::start(&[]);
    let mut client = encrypted.connect();
    // More than one address may have; half of them have begun a record.
    let mut sockets = Vec::new();
    for at in 0..400 {
        let mut socket = socket(encrypted.port).expect("a connection");
        if at % 2 == 0 {
            socket
                .write_all(b"\x16\x03\x01\x02\x00\x01\x00")
                .expect("a part");
        }
        sockets.push(socket);
        if at % 40 == 0 {
            assert_eq!(client.line("PING"), "+PONG");
            assert_eq!(encrypted.connect().line("PING"), "+PONG");
        }
    }
    assert_eq!(encrypted.connect().line("PING"), "+PONG");
    // The oldest have gone, the newest are still waited for.
    let first = &mut sockets[0];
    assert!(matches!(first.read(&mut [0; 64]), Ok(0) | Err(_)));
    let last = sockets.last_mut().expect("a socket");
    last.set_nonblocking(true).expect("a socket");
    let waits = last.read(&mut [0]).expect_err("no bytes");
    assert_eq!(waits.kind(), io::ErrorKind::WouldBlock);
    assert_eq!(client.line("PING"), "+PONG");
}

#[test]
fn what_is_no_tls_is_closed_and_logged() {
    let encrypted = Encrypted::start(&["--logfile", "log.txt"]);
    let logged = |text: &str| {
        let path = encrypted.server.dir().join("log.txt");
        let began = std::time::Instant::now();
        while !std::fs::read_to_string(&path)
            .expect("a log")
            .contains(text)
        {
            assert!(began.elapsed() < REPLY_TIMEOUT, "{text} is not logged");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    };
    let mut socket = socket(encrypted.port).expect("a connection");
    socket
        .write_all(b"*1\r\n$4\r\nPING\r\n")
        .expect("a request");
    let mut rest = Vec::new();
    // The end, or a reset because of bytes that nothing reads; but no bytes.
    let _ = socket.read_to_end(&mut rest);
    assert!(rest.is_empty());
    logged("the client does not speak TLS, but the port is for TLS only");
    let refused = ping(encrypted.server.port(), &encrypted.usual());
    assert!(refused.is_err());
    logged("began a TLS handshake on a port without TLS");
    assert_eq!(encrypted.connect().line("PING"), "+PONG");
}

#[test]
fn values_move_between_servers_over_tls() {
    let from = Encrypted::start(&["--tls-cluster", "yes"]);
    let options = from.authority.options();
    let port = free_port().to_string();
    let mut options: Vec<&str> = options.iter().map(String::as_str).collect();
    options.extend(["--tls-port", &port]);
    let to = TestServer::start_with(&options);
    let mut client = from.connect();
    let value = "v".repeat(100_000);
    for key in ["a", "b"] {
        assert_eq!(client.line(&format!("SET {key} {value}")), "+OK");
        let migrate = format!("MIGRATE 127.0.0.1 {port} {key} 0 5000");
        assert_eq!(client.line(&migrate), "+OK");
        assert_eq!(to.connect().line(&format!("STRLEN {key}")), ":100000");
    }
    assert_eq!(client.line("DBSIZE"), ":0");
    // A server without TLS, and this server itself.
    assert_eq!(client.line("SET c 1"), "+OK");
    let plain = format!("MIGRATE 127.0.0.1 {} c 0 5000", to.port());
    assert!(client.line(&plain).starts_with("-IOERR"));
    let own = format!("MIGRATE 127.0.0.1 {} c 0 5000", from.port);
    assert!(client.line(&own).starts_with("-IOERR"));
    assert_eq!(client.line("GET c"), "\"1\"");
}

#[test]
fn replicas_follow_over_tls() {
    let options = ["--tls-replication", "yes"];
    let (primary, replica) = (Encrypted::start(&options), Encrypted::start(&options));
    let mut client = primary.connect();
    let value = "v".repeat(300_000);
    assert_eq!(client.line(&format!("SET before {value}")), "+OK");
    let mut other = replica.connect();
    // Each has an authority of its own: the primary's is not that of the replica.
    let file = primary.authority.file("ca.pem");
    let pairs = [
        ("tls-ca-cert-file", file.clone()),
        ("tls-client-cert-file", primary.authority.file("server.pem")),
        ("tls-client-key-file", primary.authority.file("server.key")),
    ];
    let set: Vec<String> = pairs
        .iter()
        .map(|(name, file)| format!("{name} {file}"))
        .collect();
    assert_eq!(other.line(&format!("CONFIG SET {}", set.join(" "))), "+OK");
    let follow = format!("REPLICAOF 127.0.0.1 {}", primary.port);
    assert_eq!(other.line(&follow), "+OK");
    for at in 0..200 {
        assert_eq!(client.line(&format!("SET key:{at} {value}")), "+OK");
    }
    let began = std::time::Instant::now();
    while other.line("DBSIZE") != ":201" {
        assert!(began.elapsed() < 3 * REPLY_TIMEOUT, "the replica lags");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(client.line("WAIT 1 20000"), ":1");
    assert_eq!(other.line("STRLEN key:199"), ":300000");
    assert_eq!(other.line("STRLEN before"), ":300000");
    // A port without TLS is none to follow.
    let plain = format!("REPLICAOF 127.0.0.1 {}", primary.server.port());
    assert_eq!(other.line(&plain), "+OK");
    assert!(
        other
            .line("INFO replication")
            .contains("master_link_status:down")
    );
}
