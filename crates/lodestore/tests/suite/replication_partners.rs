//! What replicas and primaries of any product rely on: redirections, histories in snapshots, the
//! form with a mark at its end, and what is refused to others.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use super::harness::{Client, show};
use super::pubsub::wait_until;
use super::replication::{
    assert_same, field, fill, primary, read_stream, replica_of, replication, wait_for_link,
};

/// Without an append-only file, with a snapshot at the end.
const SNAPSHOTS: &[&str] = &["--appendonly", "no", "--save", "3600 1"];

fn send(client: &mut Client, line: &str) {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    client.send(&words);
}

#[test]
fn clients_that_can_be_redirected_are_sent_to_the_primary() {
    let primary = primary(&[]);
    let replica = replica_of(&primary, &[]);
    let redirect = format!("-REDIRECT 127.0.0.1:{}", primary.port());
    for mut client in [replica.connect(), replica.connect_resp3()] {
        let nothing = client.line("GET a");
        client.check(&[
            ("CLIENT CAPA redirect", "+OK"),
            ("GET a", &redirect),
            ("SET a 1", &redirect),
            ("PING", "+PONG"),
            ("MULTI", "+OK"),
            ("SET a 1", &redirect),
            (
                "EXEC",
                "-EXECABORT Transaction discarded because of previous errors.",
            ),
            ("READONLY", "+OK"),
            ("GET a", &nothing),
            ("SET a 1", &redirect),
            ("READWRITE", "+OK"),
            ("GET a", &redirect),
        ]);
    }
}

#[test]
fn waits_end_with_the_role_as_their_clients_can_bear_it() {
    let server = primary(&[]);
    let other = primary(&[]);
    let (mut plain, mut redirected, mut reader) =
        (server.connect(), server.connect(), server.connect());
    redirected.line("CLIENT CAPA redirect");
    reader.line("CLIENT CAPA redirect");
    reader.line("READONLY");
    send(&mut plain, "BLPOP list 0");
    send(&mut redirected, "BLPOP list 0");
    send(&mut reader, "XREAD BLOCK 0 STREAMS stream 0");
    let mut client = server.connect();
    wait_until("all of them wait", || {
        field(&mut client, "clients", "blocked_clients") == "3"
    });
    client.line("MULTI");
    let follow = format!("REPLICAOF 127.0.0.1 {}", other.port());
    send(&mut client, &follow);
    assert_eq!(show(&client.read()), "+QUEUED");
    client.line("SET queued 1");
    assert!(client.line("EXEC").starts_with("[+OK"));
    assert!(show(&plain.read()).starts_with("-UNBLOCKED "));
    assert!(plain.read_or_closed().is_none(), "it is disconnected");
    let redirect = format!("-REDIRECT 127.0.0.1:{}", other.port());
    assert_eq!(show(&redirected.read()), redirect);
    assert_eq!(redirected.line("PING"), "+PONG");
    wait_for_link(&server);
    other.connect().line("XADD stream 1-1 f v");
    assert!(show(&reader.read()).contains("\"1-1\""));
}

#[test]
fn snapshots_carry_the_history_over_a_restart_of_either_side() {
    let mut one = primary(SNAPSHOTS);
    let mut other = replica_of(&one, SNAPSHOTS);
    let mut client = one.connect();
    fill(&mut client);
    client.check(&[("SELECT 0", "+OK"), ("SET gone x PX 1", "+OK")]);
    wait_until("the key has expired", || client.line("EXISTS gone") == ":0");
    assert_same(&one, &other);
    let (old, offset) = (
        replication(&one, "master_replid"),
        replication(&one, "master_repl_offset"),
    );
    assert!(other.connect().try_send(b"SHUTDOWN\r\n"));
    other.wait_for_end();
    client.line("SET while-the-replica-was-away 1");
    other.restart();
    wait_for_link(&other);
    assert_same(&one, &other);
    let mut stats = one.connect();
    assert_eq!(field(&mut stats, "stats", "sync_full"), "1");
    assert_eq!(field(&mut stats, "stats", "sync_partial_ok"), "1");
    assert!(stats.try_send(b"SHUTDOWN NOW\r\n"));
    one.wait_for_end();
    one.restart();
    let line = format!("REPLICAOF 127.0.0.1 {}", one.port());
    other.connect().line(&line);
    wait_for_link(&other);
    one.connect().line("SET after-the-restart 1");
    assert_same(&one, &other);
    assert_eq!(replication(&one, "master_replid2"), old);
    let until: u64 = replication(&one, "second_repl_offset").parse().unwrap();
    assert!(until > offset.parse().unwrap());
}

#[test]
fn a_replica_that_finds_the_mark_gets_the_stream_behind_its_acknowledgement() {
    let server = primary(&["--appendonly", "no"]);
    server.connect().line("SET before 1");
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
    write!(stream, "REPLCONF capa eof\r\nPSYNC ? -1\r\n").unwrap();
    let mut text = read_stream(&mut stream, "before");
    let at = text.find("$EOF:").unwrap() + 5;
    let mark = text[at..at + 40].to_owned();
    assert!(mark.bytes().all(|digit| digit.is_ascii_hexdigit()));
    server.connect().line("SET behind 2");
    let mut piece = [0; 4096];
    while text.matches(&mark).count() < 2 {
        let got = stream.read(&mut piece).unwrap();
        assert!(got > 0, "the snapshot has no end");
        text += &String::from_utf8_lossy(&piece[..got]);
    }
    assert!(text.ends_with(&mark), "nothing follows the mark");
    write!(stream, "REPLCONF ACK 0\r\n").unwrap();
    read_stream(&mut stream, "behind");
}

#[test]
fn the_primary_is_a_client_that_can_be_killed() {
    let primary = primary(&[]);
    let replica = replica_of(&primary, &[]);
    let mut client = replica.connect();
    let list = client.line("CLIENT LIST TYPE master");
    let addr = format!("addr=127.0.0.1:{} ", primary.port());
    assert!(list.contains("flags=M ") && list.contains(&addr), "{list}");
    assert_eq!(client.line("CLIENT KILL TYPE master"), ":1");
    let mut stats = primary.connect();
    wait_until("it comes back", || {
        field(&mut stats, "stats", "sync_partial_ok") == "1"
    });
    stats.line("SET a 1");
    wait_for_link(&replica);
    assert_same(&primary, &replica);
    assert_eq!(field(&mut stats, "stats", "sync_full"), "1");
}

#[test]
fn a_writable_replica_removes_what_its_clients_let_expire() {
    let primary = primary(&[]);
    let replica = replica_of(&primary, &["--replica-read-only", "no"]);
    let mut own = replica.connect();
    own.check(&[
        ("SET own 1 PX 3000", "+OK"),
        ("SET later 1 PX 3000", "+OK"),
        ("PEXPIRE later 100000000", ":1"),
    ]);
    wait_until("the key is removed", || own.line("DBSIZE") == ":1");
    assert_eq!(field(&mut own, "stats", "expired_keys"), "1");
    assert_eq!(own.line("GET later"), "\"1\"");
}

#[test]
fn others_get_nothing_that_only_lodestore_understands() {
    let server = primary(&[]);
    let mut client = server.connect();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
    write!(stream, "REPLCONF capa eof\r\nPSYNC ? -1\r\n").unwrap();
    let head = read_stream(&mut stream, "$EOF:");
    let words = head.split_whitespace();
    let place: Vec<&str> = words
        .skip_while(|word| *word != "+FULLRESYNC")
        .skip(1)
        .collect();
    client.line("SADD set a");
    client.line("XADD stream 1-1 f v");
    client.line("XGROUP CREATE stream g 0");
    for (line, what) in [
        ("SEXPIRE set 100 MEMBERS 1 a", "'sexpire'"),
        ("XADD stream IDMP p i * f v", "'xadd' with IDMP or IDMPAUTO"),
        (
            "XADD stream DELREF MAXLEN 1 * f v",
            "'xadd' with KEEPREF, DELREF or ACKED",
        ),
        (
            "XTRIM stream MAXLEN 1 ACKED",
            "'xtrim' with KEEPREF, DELREF or ACKED",
        ),
        ("XNACK stream g FAIL IDS 1 1-1 FORCE", "'xnack'"),
        ("XCFGSET stream IDMP-MAXSIZE 5", "'xcfgset'"),
        ("XIDMPRECORD stream p i 1-1", "'xidmprecord'"),
    ] {
        assert_eq!(
            client.line(line),
            format!(
                "-ERR {what} is not understood by a replica of another product, and one is attached"
            )
        );
    }
    client.check(&[("XDELEX stream DELREF IDS 1 1-1", "[:1]")]);
    drop(stream);
    wait_until("it has left", || {
        client.line("SEXPIRE set 100 MEMBERS 1 a") == "[:1]"
    });
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
    write!(stream, "PSYNC ? -1\r\n").unwrap();
    read_stream(&mut stream, "-ERR the data has deadlines of members");
    // The stream has them still when the data has none any more.
    client.line("DEL set");
    let next = place[1].parse::<u64>().unwrap() + 1;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
    write!(stream, "PSYNC {} {next}\r\n", place[0]).unwrap();
    read_stream(&mut stream, "+FULLRESYNC");
    drop(stream);
    wait_until("it has left", || {
        replication(&server, "connected_slaves") == "0"
    });
    client.line("SADD set a");
    client.line("SEXPIRE set 100 MEMBERS 1 a");
    let replica = replica_of(&server, &[]);
    assert_same(&server, &replica);
    assert_eq!(client.line("ZADD z 1 a"), ":1");
    assert_eq!(client.line("ZEXPIRE z 100 MEMBERS 1 a"), "[:1]");
    assert_same(&server, &replica);
}

#[test]
fn a_command_that_fails_in_the_stream_is_counted_or_ends_the_replica() {
    let primary = primary(&["--enable-debug-command", "yes"]);
    let mut replica = replica_of(&primary, &[]);
    let mut client = primary.connect();
    assert_eq!(client.line("DEBUG REPLICATE nonsense"), "+OK");
    client.line("SET a 1");
    assert_same(&primary, &replica);
    let mut stats = replica.connect();
    assert_eq!(field(&mut stats, "stats", "unexpected_error_replies"), "1");
    let calls = stats.line("INFO commandstats");
    assert!(calls.contains("cmdstat_set:calls=1,"), "{calls}");
    stats.line("CONFIG SET propagation-error-behavior panic-on-replicas");
    client.line("DEBUG REPLICATE nonsense");
    assert_eq!(replica.wait_for_end(), None, "it ends by a signal");
}

#[test]
fn a_replica_that_was_away_for_long_gets_the_stream_from_the_files() {
    let primary = primary(&[
        "--repl-backlog-size",
        "16384",
        "--aof-history-seconds",
        "3600",
        "--logfile",
        "server.log",
    ]);
    let mut replica = replica_of(&primary, &[]);
    fill(&mut primary.connect());
    assert_same(&primary, &replica);
    let mut own = replica.connect();
    wait_until("the replica has a log to go on from", || {
        field(&mut own, "persistence", "aof_rewrites") == "1"
            && field(&mut own, "persistence", "aof_rewrite_in_progress") == "0"
    });
    replica.kill();
    let mut client = primary.connect();
    wait_until("the replica is gone", || {
        replication(&primary, "connected_slaves") == "0"
    });
    let value = "x".repeat(1_000);
    for round in 0..3 {
        for number in 0..100 {
            client.line(&format!("SELECT {}", number % 3));
            client.run(&["SET", &format!("key:{round}:{number}"), &value]);
            client.line("MULTI");
            client.line("INCR counter");
            client.line("SELECT 5");
            client.line("RPUSH list a");
            client.line("EXEC");
            client.line("PUBLISH channel message");
        }
        // An increment of its own, and what is superseded goes to the history.
        let before = field(&mut client, "persistence", "aof_rewrites");
        client.line("BGREWRITEAOF");
        wait_until("the log has a new base", || {
            field(&mut client, "persistence", "aof_rewrites") != before
                && field(&mut client, "persistence", "aof_rewrite_in_progress") == "0"
        });
    }
    replica.restart();
    wait_for_link(&replica);
    client.line("SET after 1");
    assert_same(&primary, &replica);
    let log = std::fs::read_to_string(primary.dir().join("server.log")).unwrap();
    assert_eq!(field(&mut client, "stats", "sync_full"), "1", "{log}");
    assert_eq!(field(&mut client, "stats", "sync_partial_ok"), "1");
    assert!(log.contains("bytes of the stream come from the files of the log"));
    // Without the files there is no way back.
    replica.kill();
    client.line("CONFIG SET aof-history-seconds 0");
    for number in 0..100 {
        client.run(&["SET", &format!("key:{number}"), &value]);
    }
    let before = field(&mut client, "persistence", "aof_rewrites");
    client.line("BGREWRITEAOF");
    wait_until("the log has a new base", || {
        field(&mut client, "persistence", "aof_rewrites") != before
            && field(&mut client, "persistence", "aof_rewrite_in_progress") == "0"
    });
    replica.restart();
    wait_for_link(&replica);
    assert_same(&primary, &replica);
    assert_eq!(field(&mut client, "stats", "sync_full"), "2");
}
