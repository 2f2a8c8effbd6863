//! Replicas and primaries: synchronization, the stream, roles, waits, and what goes wrong.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use super::harness::{Client, TestServer, dump, show};
use super::protection::with_file;
use super::pubsub::wait_until;

/// No pause in which more replicas may come.
const PROMPT: &[&str] = &["--repl-diskless-sync-delay", "0"];

pub(super) fn primary(more: &[&str]) -> TestServer {
    TestServer::start_with(&[PROMPT, more].concat())
}

/// A server that follows another, and is up to date.
pub(super) fn replica_of(primary: &TestServer, more: &[&str]) -> TestServer {
    let port = primary.port().to_string();
    let args = [PROMPT, &["--replicaof", "127.0.0.1", &port], more].concat();
    let replica = TestServer::start_with(&args);
    wait_for_link(&replica);
    replica
}

pub(super) fn field(client: &mut Client, section: &str, name: &str) -> String {
    let info = client.line(&format!("INFO {section}"));
    let start = format!("{name}:");
    let line = info.split("\\r\\n").find_map(|line| {
        let line = line.trim_start_matches(['"', '#']);
        line.strip_prefix(&start)
    });
    line.unwrap_or_default().to_owned()
}

pub(super) fn replication(server: &TestServer, name: &str) -> String {
    field(&mut server.connect(), "replication", name)
}

pub(super) fn wait_for_link(replica: &TestServer) {
    wait_until("the replica follows its primary", || {
        replication(replica, "master_link_status") == "up"
    });
}

/// Waits until the replica has everything that the primary has now, and compares the data.
pub(super) fn assert_same(primary: &TestServer, replica: &TestServer) {
    let offset: u64 = replication(primary, "master_repl_offset").parse().unwrap();
    wait_until("the replica has caught up", || {
        let own: u64 = replication(replica, "slave_repl_offset")
            .parse()
            .unwrap_or(0);
        own >= offset
    });
    let (mut one, mut other) = (primary.connect(), replica.connect());
    assert_eq!(dump(&mut one), dump(&mut other));
}

/// Something of every type, with deadlines, in two databases.
pub(super) fn fill(client: &mut Client) {
    for line in [
        "SET string value",
        "SET number 17 EX 1000",
        "SETRANGE string 3 xyz",
        "RPUSH list a b c",
        "LMOVE list other LEFT RIGHT",
        "SADD set a b c 1 2 3",
        "SPOP set",
        "ZADD zset 1 a 2.5 b 3 c",
        "ZPOPMIN zset",
        "HSET hash f v g w",
        "HPEXPIRE hash 900000 FIELDS 1 f",
        "XADD stream * f v",
        "XGROUP CREATE stream group 0",
        "XREADGROUP GROUP group me COUNT 1 STREAMS stream >",
        "PFADD hll a b c",
        "GEOADD geo 13.36 38.11 Palermo",
        "SELECT 2",
        "SET elsewhere 1",
        "MULTI",
        "INCR elsewhere",
        "SELECT 3",
        "LPUSH third x",
        "EXEC",
        "SELECT 0",
    ] {
        let reply = client.line(line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }
}

#[test]
fn a_replica_gets_what_is_there_and_what_follows() {
    for log in ["yes", "no"] {
        let log = ["--appendonly", log];
        let primary = primary(&log);
        let mut client = primary.connect();
        fill(&mut client);
        let replica = replica_of(&primary, &log);
        assert_same(&primary, &replica);
        client.line("FLUSHALL");
        fill(&mut client);
        assert_same(&primary, &replica);
        assert_eq!(replication(&primary, "connected_slaves"), "1");
        let row = replication(&primary, "slave0");
        let port = replica.port();
        assert!(row.contains(&format!("port={port},state=online,")), "{row}");
        assert_eq!(replication(&replica, "role"), "slave");
        assert_eq!(
            replication(&replica, "master_replid"),
            replication(&primary, "master_replid")
        );
    }
}

#[test]
fn roles_tell_who_follows_whom() {
    let primary = primary(&[]);
    let replica = replica_of(&primary, &[]);
    let (own, other) = (primary.port(), replica.port());
    let role = replica.connect().line("ROLE");
    let begin = format!("[\"slave\" \"127.0.0.1\" :{own} \"connected\" :");
    assert!(role.starts_with(&begin), "{role}");
    let role = primary.connect_resp3().line("ROLE");
    assert!(role.starts_with("[\"master\" :"), "{role}");
    assert!(
        role.contains(&format!("[\"127.0.0.1\" \"{other}\" \"")),
        "{role}"
    );
    for (server, role) in [(&primary, "master"), (&replica, "replica")] {
        let hello = server.connect().line("HELLO 3");
        assert!(hello.contains(&format!("\"role\": \"{role}\"")), "{hello}");
        assert!(hello.contains("\"server\": \"redis\""), "{hello}");
    }
    let list = primary.connect().line("CLIENT LIST TYPE replica");
    assert!(list.contains("flags=S "), "{list}");
}

#[test]
fn clients_cannot_write_to_a_replica() {
    let primary = primary(&[]);
    let replica = replica_of(&primary, &[]);
    let readonly = "-READONLY You can't write against a read only replica.";
    let mut client = replica.connect();
    client.check(&[
        ("SET a 1", readonly),
        ("GET a", "nil"),
        ("MULTI", "+OK"),
        ("SET a 1", readonly),
        (
            "EXEC",
            "-EXECABORT Transaction discarded because of previous errors.",
        ),
        ("CONFIG SET replica-read-only no", "+OK"),
        ("SET own 1", "+OK"),
        ("CONFIG SET replica-read-only yes", "+OK"),
        ("DEL own", readonly),
    ]);
    let refused = client.line("WAIT 1 0");
    assert!(
        refused.starts_with("-ERR WAIT cannot be used with replica"),
        "{refused}"
    );
}

#[test]
fn what_clients_write_to_a_replica_stays_there() {
    let primary = primary(&[]);
    let mut replica = replica_of(&primary, &["--replica-read-only", "no"]);
    let last = replica_of(&replica, &[]);
    let mut client = primary.connect();
    client.line("SET a 1");
    assert_same(&primary, &last);
    let mut own = replica.connect();
    own.check(&[
        ("SELECT 2", "+OK"),
        ("SET own 1", "+OK"),
        ("PUBLISH a b", ":0"),
    ]);
    client.line("SET b 2");
    assert_same(&primary, &last);
    assert_eq!(own.line("GET own"), "\"1\"");
    // The file has both, and the offset that it says is that of the stream.
    assert_eq!(client.line("WAITAOF 1 1 0"), "[:1 :1]");
    replica.restart();
    wait_for_link(&replica);
    client.line("SET c 3");
    assert_eq!(client.line("WAIT 1 0"), ":1");
    let mut own = replica.connect();
    own.check(&[
        ("GET c", "\"3\""),
        ("SELECT 2", "+OK"),
        ("GET own", "\"1\""),
    ]);
    assert_eq!(field(&mut client, "stats", "sync_full"), "1");
}

#[test]
fn what_has_expired_stays_hidden_until_the_stream_removes_it() {
    let primary = primary(&["--enable-debug-command", "yes"]);
    let replica = replica_of(&primary, &[]);
    let mut client = primary.connect();
    client.line("DEBUG SET-ACTIVE-EXPIRE 0");
    client.line("SET short x PX 50");
    client.line("SET long y");
    let mut reader = replica.connect();
    wait_until("the key arrives", || reader.line("EXISTS long") == ":1");
    wait_until("its time passes", || reader.line("GET short") == "nil");
    assert_eq!(reader.line("DBSIZE"), ":2");
    // The primary removes it when it is asked for it, and says so in the stream.
    assert_eq!(client.line("GET short"), "nil");
    wait_until("the removal arrives", || reader.line("DBSIZE") == ":1");
    assert_same(&primary, &replica);
}

#[test]
fn a_restarted_replica_goes_on_where_it_was() {
    let primary = primary(&[]);
    let mut client = primary.connect();
    fill(&mut client);
    let mut replica = replica_of(&primary, &[]);
    client.line("SET while it-was-there");
    // Its log has begun, and has it on the disk.
    assert_eq!(client.line("WAITAOF 1 1 0"), "[:1 :1]");
    assert_same(&primary, &replica);
    replica.kill();
    client.line("SET while it-was-away");
    replica.restart();
    wait_for_link(&replica);
    assert_same(&primary, &replica);
    let mut stats = primary.connect();
    assert_eq!(field(&mut stats, "stats", "sync_full"), "1");
    assert_eq!(field(&mut stats, "stats", "sync_partial_ok"), "1");
}

#[test]
fn a_restarted_primary_keeps_its_replicas() {
    let mut primary = primary(&[]);
    let mut client = primary.connect();
    fill(&mut client);
    let replica = replica_of(&primary, &[]);
    client.line("SET before-the-end 1");
    assert_same(&primary, &replica);
    let old = replication(&primary, "master_replid");
    primary.restart();
    let line = format!("REPLICAOF 127.0.0.1 {}", primary.port());
    assert_eq!(replica.connect().line(&line), "+OK");
    primary.connect().line("SET after-the-start 1");
    wait_for_link(&replica);
    assert_same(&primary, &replica);
    let mut stats = primary.connect();
    assert_eq!(field(&mut stats, "stats", "sync_full"), "0");
    assert_eq!(field(&mut stats, "stats", "sync_partial_ok"), "1");
    assert_eq!(replication(&primary, "master_replid2"), old);
    assert_ne!(replication(&primary, "master_replid"), old);
}

/// Asks a primary to go on; what it answers.
fn ask_to_go_on(server: &TestServer, id: &str, next: u64) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
    write!(
        stream,
        "REPLCONF capa eof capa psync2\r\nPSYNC {id} {next}\r\n"
    )
    .unwrap();
    read_stream(&mut stream, "+OK\r\n+")
}

#[test]
fn an_old_history_reaches_no_further_than_to_its_end() {
    let mut server = primary(&[]);
    replica_of(&server, &[]).kill();
    let old = replication(&server, "master_replid");
    server.restart();
    let end: u64 = replication(&server, "master_repl_offset").parse().unwrap();
    // Bytes of the history after it. A replica of the old one may have lost others here.
    server.connect().line("SET new 1");
    server.restart();
    let offset: u64 = replication(&server, "master_repl_offset").parse().unwrap();
    assert!(offset > end);
    let answer = ask_to_go_on(&server, &old, offset + 1);
    assert!(answer.contains("+FULLRESYNC"), "{answer}");
    let last = replication(&server, "master_replid2");
    assert_ne!(last, old);
    let answer = ask_to_go_on(&server, &last, offset + 1);
    assert!(answer.contains("+CONTINUE"), "{answer}");
}

#[test]
fn a_large_transaction_arrives_whole() {
    let primary = primary(&[]);
    let replica = replica_of(&primary, &[]);
    let mut client = primary.connect();
    // More than one read, and more than a batch.
    let value = "v".repeat(10_000);
    client.line("MULTI");
    for n in 0..200 {
        client.run(&["SET", &format!("key:{n}"), &value]);
    }
    client.line("EXEC");
    let many: Vec<String> = (0..50_000).map(|n| format!("element:{n}")).collect();
    let request: Vec<&str> = ["RPUSH", "list"]
        .into_iter()
        .chain(many.iter().map(|it| &**it))
        .collect();
    client.run(&request);
    assert_same(&primary, &replica);
    assert_eq!(
        field(&mut replica.connect(), "stats", "unexpected_error_replies"),
        "0"
    );
}

#[test]
fn replicas_of_replicas_have_the_same_stream() {
    let primary = primary(&[]);
    let mut client = primary.connect();
    fill(&mut client);
    client.line("SELECT 3");
    client.line("SET in-three 1");
    let middle = replica_of(&primary, &[]);
    let last = replica_of(&middle, &[]);
    // No SELECT comes before it: the last replica has to know the database.
    client.line("SET in-three 2");
    assert_same(&primary, &middle);
    assert_same(&middle, &last);
    client.check(&[("SELECT 0", "+OK"), ("FLUSHALL", "+OK")]);
    fill(&mut client);
    assert_same(&primary, &last);
    for name in ["master_replid", "master_repl_offset"] {
        let offset = replication(&primary, name);
        wait_until(name, || replication(&last, name) == offset);
    }
}

#[test]
fn a_promoted_replica_keeps_its_followers() {
    let mut old = primary(&[]);
    fill(&mut old.connect());
    let next = replica_of(&old, &[]);
    let other = replica_of(&next, &[]);
    assert_same(&old, &other);
    let id = replication(&old, "master_replid");
    old.kill();
    let mut client = next.connect();
    client.check(&[
        ("REPLICAOF NO ONE", "+OK"),
        ("SET after-promotion 1", "+OK"),
    ]);
    assert_eq!(replication(&next, "role"), "master");
    assert_eq!(replication(&next, "master_replid2"), id);
    wait_for_link(&other);
    assert_same(&next, &other);
    assert_eq!(field(&mut client, "stats", "sync_full"), "1");
    // The old primary follows the new one, and gets rid of what only it had.
    old.restart();
    let mut back = old.connect();
    back.line("SET only-here 1");
    let line = format!("REPLICAOF 127.0.0.1 {}", next.port());
    assert_eq!(back.line(&line), "+OK");
    assert_eq!(
        back.line(&line),
        "+OK Already connected to specified master"
    );
    wait_for_link(&old);
    assert_same(&next, &old);
    assert_eq!(old.connect().line("EXISTS only-here"), ":0");
}

#[test]
fn waits_end_when_replicas_have_acknowledged() {
    let primary = primary(&[]);
    let mut client = primary.connect();
    client.check(&[("SET a 1", "+OK"), ("WAIT 1 10", ":0"), ("WAIT 0 10", ":0")]);
    let replica = replica_of(&primary, &[]);
    client.check(&[
        ("SET a 2", "+OK"),
        ("WAIT 1 0", ":1"),
        ("SET a 3", "+OK"),
        ("WAITAOF 1 1 0", "[:1 :1]"),
        ("SET a 4", "+OK"),
        ("WAIT 2 50", ":1"),
    ]);
    let mut other = primary.connect_resp3();
    other.check(&[("SET a 5", "+OK"), ("WAIT 1 0", ":1")]);
    assert_eq!(replica.connect().line("GET a"), "\"5\"");
}

#[test]
fn writes_need_as_many_replicas_as_asked_for() {
    let refused = "-NOREPLICAS Not enough good replicas to write.";
    let primary = primary(&["--min-replicas-to-write", "1"]);
    let mut client = primary.connect();
    client.check(&[("SET a 1", refused), ("GET a", "nil")]);
    let mut replica = replica_of(&primary, &[]);
    wait_until("a write is accepted", || client.line("SET a 1") == "+OK");
    replica.kill();
    wait_until("writes are refused again", || {
        client.line("SET a 2") == refused
    });
}

#[test]
fn messages_reach_subscribers_of_replicas() {
    let primary = primary(&[]);
    let replica = replica_of(&primary, &[]);
    let mut subscriber = replica.connect();
    subscriber.line("SUBSCRIBE a");
    let mut client = primary.connect();
    assert_eq!(client.line("PUBLISH a one"), ":0");
    assert_eq!(show(&subscriber.read()), r#"["message" "a" "one"]"#);
    client.line("MULTI");
    client.line("SET key value");
    client.line("PUBLISH a two");
    client.line("EXEC");
    assert_eq!(show(&subscriber.read()), r#"["message" "a" "two"]"#);
    assert!(
        primary
            .logged()
            .iter()
            .all(|line| !line.contains("PUBLISH"))
    );
    // Messages are part of the stream but not of the file, and a restart counts the same bytes.
    let offset = replication(&primary, "master_repl_offset");
    wait_until("the replica counts the same", || {
        replication(&replica, "slave_repl_offset") == offset
    });
}

#[test]
fn transactions_are_seen_as_a_whole() {
    let primary = primary(&[]);
    let replica = replica_of(&primary, &["--threads", "2", "--threads-spread", "yes"]);
    let mut client = primary.connect();
    client.line("MSET x 500 y 500");
    let mut reader = replica.connect();
    wait_until("both are there", || reader.line("EXISTS x y") == ":2");
    for n in 0..300 {
        let (from, to) = if n % 3 == 0 { ("x", "y") } else { ("y", "x") };
        client.line("MULTI");
        client.line(&format!("DECR {from}"));
        client.line(&format!("INCR {to}"));
        client.line("EXEC");
        let sum = reader.line("MGET x y");
        let numbers: i64 = sum
            .split(|c: char| !c.is_ascii_digit() && c != '-')
            .filter_map(|part| part.parse::<i64>().ok())
            .sum();
        assert_eq!(numbers, 1000, "{sum}");
    }
    assert_same(&primary, &replica);
}

#[test]
fn blocked_clients_learn_that_the_role_has_changed() {
    let primary = primary(&[]);
    let server = TestServer::start_with(PROMPT);
    let mut blocked = server.connect();
    blocked.send(&[b"BLPOP", b"list", b"0"]);
    let mut client = server.connect();
    wait_until("the client is blocked", || {
        field(&mut client, "clients", "blocked_clients") == "1"
    });
    client.line(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    let reply = show(&blocked.read());
    assert!(reply.starts_with("-UNBLOCKED force unblock"), "{reply}");
    wait_for_link(&server);
    // Readers may wait on a replica.
    let mut reader = server.connect();
    reader.send(&[b"XREAD", b"BLOCK", b"0", b"STREAMS", b"stream", b"$"]);
    wait_until("the reader is blocked", || {
        field(&mut client, "clients", "blocked_clients") == "1"
    });
    primary.connect().line("XADD stream 1-1 f v");
    assert_eq!(show(&reader.read()), r#"[["stream" [["1-1" ["f" "v"]]]]]"#);
}

/// Reads what a primary sends until `wanted` is in it.
pub(super) fn read_stream(stream: &mut TcpStream, wanted: &str) -> String {
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if text.contains(wanted) {
            return text;
        }
        let got = stream.read(&mut piece).expect("more of the stream");
        assert!(got > 0, "the stream ended: {text}");
        bytes.extend_from_slice(&piece[..got]);
    }
}

#[test]
fn an_old_replica_gets_a_snapshot_of_known_length_and_the_stream() {
    let server = primary(&["--appendonly", "no"]);
    server.connect().line("SET before 1");
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
    stream.write_all(b"SYNC\r\n").unwrap();
    let head = read_stream(&mut stream, "before");
    assert!(
        head.trim_start_matches(['\r', '\n']).starts_with('$'),
        "{head}"
    );
    let mut client = server.connect();
    client.line("SELECT 5");
    client.line("MULTI");
    client.line("SET one 1");
    client.line("SET two 2");
    client.line("EXEC");
    let text = read_stream(&mut stream, "EXEC");
    let words: Vec<&str> = text
        .split("\r\n")
        .filter(|part| !part.starts_with(['*', '$']) && !part.is_empty())
        .collect();
    let end = words.len();
    assert_eq!(
        &words[end - 10..],
        [
            "MULTI", "SELECT", "5", "SET", "one", "1", "SET", "two", "2", "EXEC"
        ]
    );
}

#[test]
fn the_stream_selects_databases_as_other_products_do() {
    let server = primary(&[]);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
    stream.write_all(b"SYNC\r\n").unwrap();
    wait_until("the replica is online", || {
        replication(&server, "slave0").contains("state=online")
    });
    let mut client = server.connect();
    for line in [
        "MULTI",
        "SELECT 1",
        "SET one 1",
        "SELECT 2",
        "SET two 2",
        "EXEC",
        "SET two 3",
        "PUBLISH channel first",
        "SELECT 0",
        "PUBLISH channel second",
        "MULTI",
        "PUBLISH channel third",
        "EXEC",
        "SET last 1",
    ] {
        client.line(line);
    }
    let text = read_stream(&mut stream, "last\r\n$1\r\n1\r\n");
    let words: Vec<&str> = text
        .split("\r\n")
        .filter(|part| !part.starts_with(['*', '$']) && !part.is_empty())
        .collect();
    let from = words.iter().position(|word| *word == "MULTI").unwrap();
    assert_eq!(
        words[from..].join(" "),
        "MULTI SELECT 1 SET one 1 SELECT 2 SET two 2 EXEC SET two 3 PUBLISH channel first \
         SELECT 0 PUBLISH channel second PUBLISH channel third SET last 1"
    );
    server.assert_replays();
}

#[test]
fn a_replica_that_does_not_read_is_disconnected_alone() {
    let server = primary(&[
        "--client-output-buffer-limit",
        "replica 1mb 0 0",
        "--repl-backlog-size",
        "16kb",
    ]);
    let good = replica_of(&server, &[]);
    let mut deaf = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
    deaf.write_all(b"SYNC\r\n").unwrap();
    let mut client = server.connect();
    wait_until("both replicas are there", || {
        replication(&server, "slave1").contains("state=online")
    });
    let value = vec![b'x'; 100_000];
    let mut written = 0;
    while replication(&server, "connected_slaves") == "2" {
        client.run_bytes(&[b"SET", b"key", &value]);
        written += 1;
        assert!(written < 10_000, "the limit does not hold");
    }
    assert_same(&server, &good);
    let closed = field(
        &mut client,
        "stats",
        "client_output_buffer_limit_disconnections",
    );
    assert_ne!(closed, "0");
}

#[test]
fn a_killed_connection_is_made_again() {
    let server = primary(&[]);
    let replica = replica_of(&server, &[]);
    let mut client = server.connect();
    assert_eq!(client.line("CLIENT KILL TYPE replica"), ":1");
    client.line("SET a 1");
    wait_until("it follows again", || {
        replica.connect().line("GET a") == "\"1\""
    });
    assert_eq!(field(&mut client, "stats", "sync_partial_ok"), "1");
}

#[test]
fn what_replicas_say_is_checked() {
    let server = primary(&[]);
    let mut client = server.connect();
    client.check(&[
        ("REPLCONF", "+OK"),
        ("REPLCONF listening-port", "-ERR syntax error"),
        (
            "REPLCONF listening-port x",
            "-ERR value is not an integer or out of range",
        ),
        (
            "REPLCONF nonsense 1",
            "-ERR Unrecognized REPLCONF option: nonsense",
        ),
        (
            "REPLCONF version 1.x",
            "-ERR Unrecognized version format: 1.x",
        ),
        (
            "REPLCONF rdb-filter-only keys",
            "-ERR Unsupported rdb-filter-only option: keys",
        ),
        ("REPLCONF listening-port 1 capa eof capa unknown", "+OK"),
        ("PSYNC x y", "-ERR value is not an integer or out of range"),
        (
            "PSYNC x 1 FAILOVER",
            "-ERR PSYNC FAILOVER can't be sent to a master.",
        ),
        (
            "REPLICAOF host port",
            "-ERR value is not an integer or out of range",
        ),
        ("REPLICAOF 127.0.0.1 70000", "-ERR Invalid master port"),
        ("REPLICAOF NO ONE", "+OK"),
        ("MULTI", "+OK"),
        (
            "SYNC",
            "-ERR Command 'sync' not allowed inside a transaction",
        ),
        (
            "EXEC",
            "-EXECABORT Transaction discarded because of previous errors.",
        ),
    ]);
}

/// A primary that answers PSYNC with these bytes.
pub(super) fn false_primary(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut piece = [0; 4096];
                while let Ok(got @ 1..) = stream.read(&mut piece) {
                    let is_last = piece[..got].windows(5).any(|word| word == b"PSYNC");
                    let reply: &[u8] = if is_last { answer } else { b"+OK\r\n" };
                    if stream.write_all(reply).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

#[test]
fn a_false_primary_does_no_harm() {
    for answer in [
        &b"+FULLRESYNC\r\n"[..],
        b"+FULLRESYNC abc 12\r\n",
        b"-ERR go away\r\n",
        b"+FULLRESYNC 0123456789012345678901234567890123456789 0\r\n$-5\r\n",
        b"+FULLRESYNC 0123456789012345678901234567890123456789 0\r\n$EOF:short\r\n",
        b"+FULLRESYNC 0123456789012345678901234567890123456789 0\r\n$9\r\nnot a rdb",
        b"+CONTINUE\r\n*1\r\n$-3\r\n",
        b"+CONTINUE\r\nGET / HTTP/1.1\r\n",
    ] {
        let port = false_primary(answer);
        let server = TestServer::start_with(PROMPT);
        let mut client = server.connect();
        client.line("SET mine 1");
        client.line(&format!("REPLICAOF 127.0.0.1 {port}"));
        std::thread::sleep(Duration::from_millis(300));
        let shown = String::from_utf8_lossy(answer).into_owned();
        client.check(&[("GET mine", "\"1\""), ("REPLICAOF NO ONE", "+OK")]);
        client.check(&[("SET mine 2", "+OK"), ("GET mine", "\"2\"")]);
        assert_eq!(replication(&server, "role"), "master", "{shown}");
    }
}

#[test]
fn replicaof_survives_a_rewrite_of_the_configuration() {
    let server = primary(&[]);
    let dir = super::harness::fresh_dir();
    std::fs::create_dir_all(&dir).unwrap();
    let script = with_file(&dir, "repl-diskless-sync-delay 0\nsave \"\"\n");
    let file = dir.join("server.conf");
    let mut replica = TestServer::start_peer(&script, dir, &[]);
    let mut client = replica.connect();
    let line = format!("replicaof 127.0.0.1 {}", server.port());
    assert_eq!(client.line(&line), "+OK");
    client.check(&[("CONFIG REWRITE", "+OK")]);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(&line), "{text}");
    replica.restart();
    wait_for_link(&replica);
    replica
        .connect()
        .check(&[("REPLICAOF NO ONE", "+OK"), ("CONFIG REWRITE", "+OK")]);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("replicaof 127"), "{text}");
}

#[test]
fn a_replica_that_sends_other_commands_is_disconnected() {
    let server = primary(&["--logfile", "server.log"]);
    let log = || std::fs::read_to_string(server.dir().join("server.log")).unwrap();
    for (command, name, error) in [
        ("PING", "ping", None),
        ("SLOWLOG GET", "slowlog|get", None),
        ("GET x", "get", Some("can't interact with the keyspace")),
        ("NONSENSE", "<unknown>", Some("ERR unknown command")),
    ] {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        write!(stream, "PSYNC ? -1\r\n{command}\r\n").unwrap();
        // A reply in the stream would be taken for a part of it.
        let mut sent = Vec::new();
        stream.read_to_end(&mut sent).unwrap();
        assert!(!sent.windows(5).any(|word| word == b"+PONG"));
        let text = log();
        let line = format!("Replica generated a reply to command '{name}', disconnecting it: id=");
        assert!(text.contains(&line), "{text}");
        if let Some(error) = error {
            let line = format!("{error}' after processing the command '{name}'");
            assert!(text.contains(&line), "{text}");
        }
    }
    assert_eq!(
        server.connect().line("PSYNC id offset"),
        "-ERR value is not an integer or out of range"
    );
    assert!(log().contains("asks for synchronization but with a wrong offset"));
}

const DUAL: &[&str] = &["--dual-channel-replication-enabled", "yes"];

#[test]
fn a_snapshot_may_come_on_a_connection_of_its_own() {
    for way in ["disabled", "flush-before-load", "swapdb"] {
        let primary = primary(&[DUAL, &["--enable-debug-command", "yes"]].concat());
        let mut client = primary.connect();
        fill(&mut client);
        client.line("DEBUG POPULATE 200 key 1000");
        client.line("CONFIG SET rdb-key-save-delay 20000");
        let port = primary.port().to_string();
        let more = [
            "--repl-diskless-load",
            way,
            "--replicaof",
            "127.0.0.1",
            &port,
        ];
        let replica = TestServer::start_with(&[PROMPT, DUAL, &more].concat());
        wait_until("the stream comes beside the snapshot", || {
            field(&mut client, "stats", "sync_partial_ok") == "1"
        });
        let rows = [
            replication(&primary, "slave0"),
            replication(&primary, "slave1"),
        ];
        let has = |word: &str| rows.iter().any(|row| row.contains(word));
        assert!(
            has("type=rdb-channel") && has("state=bg_transfer,"),
            "{rows:?}"
        );
        assert!(has("type=main-channel"), "{rows:?}");
        client.check(&[("SELECT 3", "+OK"), ("SET beside 1", "+OK")]);
        client.line("SETRANGE big 3000000 x");
        wait_until("the stream waits at the replica", || {
            replication(&replica, "replicas_repl_buffer_size")
                .parse::<u64>()
                .is_ok_and(|bytes| bytes > 0)
        });
        assert_eq!(client.line("WAIT 1 100"), ":0");
        client.line("CONFIG SET rdb-key-save-delay 0");
        wait_for_link(&replica);
        assert_same(&primary, &replica);
        assert_eq!(client.line("WAIT 1 0"), ":1");
        wait_until("the other connection has ended", || {
            replication(&primary, "connected_slaves") == "1"
                && replication(&primary, "replicas_waiting_psync") == "0"
        });
        assert!(replication(&primary, "slave0").contains("state=online,"));
        assert!(replication(&primary, "slave0").contains("type=replica"));
        assert_eq!(replication(&replica, "replicas_repl_buffer_size"), "0");
        assert_eq!(field(&mut client, "stats", "sync_full"), "1");
    }
}

#[test]
fn a_stream_beyond_the_limit_waits_at_the_primary() {
    let primary = primary(&[DUAL, &["--enable-debug-command", "yes"]].concat());
    let mut client = primary.connect();
    client.line("DEBUG POPULATE 200 key 1000");
    client.line("CONFIG SET rdb-key-save-delay 20000");
    let port = primary.port().to_string();
    let more = [
        "--replica-full-sync-buffer-limit",
        "1000",
        "--replicaof",
        "127.0.0.1",
        &port,
    ];
    let log = ["--logfile", "server.log"];
    let replica = TestServer::start_with(&[PROMPT, DUAL, &more, &log].concat());
    wait_until("the stream comes beside the snapshot", || {
        field(&mut client, "stats", "sync_partial_ok") == "1"
    });
    let value = "v".repeat(10_000);
    for number in 0..100 {
        client.run(&["SET", &format!("beside:{number}"), &value]);
    }
    wait_until("the limit is reached", || {
        let log = std::fs::read_to_string(replica.dir().join("server.log")).unwrap();
        log.contains("Replication buffer limit reached (1000 bytes)")
    });
    client.line("CONFIG SET rdb-key-save-delay 0");
    wait_for_link(&replica);
    assert_same(&primary, &replica);
}

#[test]
fn a_replica_without_its_second_connection_begins_anew() {
    let primary = primary(&[DUAL, &["--enable-debug-command", "yes"]].concat());
    let mut client = primary.connect();
    client.line("DEBUG POPULATE 200 key 1000");
    let port = primary.port().to_string();
    let replica = TestServer::start_with(&[PROMPT, DUAL].concat());
    for kind in ["rdb-channel", "main-channel"] {
        client.line("CONFIG SET rdb-key-save-delay 100000");
        let before = field(&mut client, "stats", "sync_partial_ok");
        replica
            .connect()
            .line(&format!("REPLICAOF 127.0.0.1 {port}"));
        wait_until("the stream comes beside the snapshot", || {
            field(&mut client, "stats", "sync_partial_ok") != before
        });
        let rows = client.line("CLIENT LIST TYPE replica");
        let apart = ["slave0", "slave1"]
            .map(|name| replication(&primary, name))
            .into_iter()
            .position(|row| row.ends_with(&format!("type={kind}")))
            .unwrap();
        let ids: Vec<&str> = rows
            .split("id=")
            .skip(1)
            .filter_map(|row| row.split(' ').next())
            .collect();
        // Rows of both lists stand in the order of their connections.
        client.line(&format!("CLIENT KILL ID {}", ids[apart]));
        client.line("CONFIG SET rdb-key-save-delay 0");
        wait_for_link(&replica);
        assert_same(&primary, &replica);
        assert_eq!(replica.connect().line("REPLICAOF NO ONE"), "+OK");
        replica.connect().line("SET own 1");
        client.line("CONFIG SET repl-backlog-size 16384");
        client.line("DEBUG POPULATE 50 more 1000");
    }
    // An unknown connection.
    let mut other = primary.connect();
    let refused = "-ERR Unrecognized RDB client id 12345";
    other.check(&[("REPLCONF set-rdb-client-id 12345", refused)]);
}

#[test]
fn a_snapshot_that_no_replica_waits_for_is_cancelled() {
    for diskless in ["yes", "no"] {
        let more = ["--enable-debug-command", "yes", "--repl-diskless-sync"];
        let primary = primary(&[&more[..], &[diskless]].concat());
        let mut client = primary.connect();
        client.line("DEBUG POPULATE 300 key");
        client.line("CONFIG SET rdb-key-save-delay 1000000");
        let replica = TestServer::start_with(PROMPT);
        let line = format!("REPLICAOF 127.0.0.1 {}", primary.port());
        replica.connect().line(&line);
        let mut runs = |expected: &str| {
            field(&mut client, "persistence", "rdb_bgsave_in_progress") == expected
        };
        wait_until("the snapshot is being written", || runs("1"));
        replica.connect().line("REPLICAOF NO ONE");
        wait_until("it is cancelled", || runs("0"));
        client.line("CONFIG SET rdb-key-save-delay 0");
        replica.connect().line(&line);
        wait_for_link(&replica);
        assert_same(&primary, &replica);
    }
}

#[test]
fn the_place_of_a_replica_that_left_is_another_ones() {
    let primary = primary(&["--enable-debug-command", "yes"]);
    let mut client = primary.connect();
    client.line("DEBUG POPULATE 300 key");
    client.line("CONFIG SET repl-diskless-sync-delay 1 rdb-key-save-delay 10000");
    let ask = |count: &str| {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, primary.port())).unwrap();
        write!(stream, "REPLCONF capa eof\r\nPSYNC ? -1\r\n").unwrap();
        wait_until("it is there", || {
            replication(&primary, "connected_slaves") == count
        });
        stream
    };
    // They share a snapshot, which goes on without the first one.
    let (first, _second) = (ask("1"), ask("2"));
    wait_until("the snapshot is being written", || {
        field(&mut client, "persistence", "rdb_bgsave_in_progress") == "1"
    });
    drop(first);
    wait_until("it has left", || {
        replication(&primary, "connected_slaves") == "1"
    });
    let replica = replica_of(&primary, &[]);
    assert_same(&primary, &replica);
    assert_eq!(field(&mut client, "stats", "sync_full"), "3");
}
