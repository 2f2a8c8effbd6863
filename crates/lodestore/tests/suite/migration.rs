//! Data of Redis and Valkey is loaded here, and data of ours there: snapshots and logs.
//!
//! Runs with the servers whose programs the environment variable `LODESTORE_PEERS` names, with
//! colons between them; without it there is nothing to test.

use std::path::{Path, PathBuf};

use super::harness::{Client, TestServer, fresh_dir, show};

/// What all servers are started with.
const USUAL: &[&str] = &["--save", "", "--enable-debug-command", "yes"];

fn peers() -> Vec<PathBuf> {
    let peers = std::env::var("LODESTORE_PEERS").unwrap_or_default();
    let peers = peers.split(':').filter(|peer| !peer.is_empty());
    peers.map(PathBuf::from).collect()
}

fn args(appendonly: &str) -> Vec<&str> {
    [USUAL, &["--appendonly", appendonly]].concat()
}

/// Fills a server with every type in every form. False: something of this only newer servers have.
fn fill(client: &mut Client) -> bool {
    let mut run = |line: &str| {
        let reply = client.line(line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    };
    let long = "x".repeat(100_000);
    let middle = "a text that compresses well ".repeat(20);
    for (key, value) in [
        ("int", "12"),
        ("negative", "-9223372036854775808"),
        ("not-int", "012"),
        ("short", "text"),
        ("empty", "\"\""),
        ("binary", "\"\\x00\\xff\\r\\n\""),
        ("long", &long),
        ("middle", &format!("\"{middle}\"")),
    ] {
        run(&format!("SET s:{key} {value}"));
    }
    run("APPEND s:appended 12");
    run("SET s:deadline x PXAT 4000000000000");
    run("SETBIT s:bits 1000000 1");
    run("PFADD s:hll a b c");
    for (name, count) in [("small", 10), ("large", 3000)] {
        for at in 0_i64..count {
            run(&format!("RPUSH l:{name} element:{at} {at}"));
            run(&format!("SADD si:{name} {at}"));
            run(&format!("SADD sm:{name} member:{at} {at}"));
            run(&format!(
                "HSET h:{name} field:{at} value:{at} {at} {}",
                at * 1_000_003
            ));
            run(&format!(
                "ZADD z:{name} {} member:{at} {at}.25 {at}",
                at % 7
            ));
            run(&format!("XADD x:{name} {at}-1 field {at} other value:{at}"));
        }
    }
    run(&format!("RPUSH l:plain {long} short"));
    run(&format!("HSET h:wide field {long}"));
    run("ZADD z:infinite inf a -inf b 0 c 123456789012.5 d");
    run("XADD x:fields 1-1 a 1 b 2");
    run("XADD x:fields 1-2 c 1");
    run("XDEL x:fields 1-1");
    run("XGROUP CREATE x:large g 5");
    run("XREADGROUP GROUP g one COUNT 20 STREAMS x:large >");
    run("XREADGROUP GROUP g two COUNT 3 STREAMS x:large >");
    run("XACK x:large g 7-1 9-1");
    run("XGROUP CREATE x:empty g $ MKSTREAM");
    run("PEXPIREAT z:small 4000000000000");
    run("PEXPIREAT l:large 4000000000001");
    run("SELECT 9");
    run("SET other database");
    run("SELECT 0");
    client.line("HPEXPIREAT h:small 4000000000000 FIELDS 1 field:3") == "[:1]"
}

/// The data that has to be the same everywhere; with `encodings` between servers that use the same
/// ones.
fn picture(client: &mut Client, encodings: bool) -> Vec<String> {
    let mut lines = vec![client.line("DEBUG DIGEST")];
    for db in [0, 9] {
        client.line(&format!("SELECT {db}"));
        let keys = client.run(&["KEYS", "*"]);
        for key in keys.as_elements().expect("an array") {
            let key = key.as_bytes().expect("a key");
            let mut parts = vec![String::from_utf8_lossy(key).into_owned()];
            let mut ask = |words: &[&[u8]]| show(&client.run_bytes(words));
            parts.push(ask(&[b"DEBUG", b"DIGEST-VALUE", key]));
            parts.push(ask(&[b"PEXPIRETIME", key]));
            // A file does not contain how a string got its bytes.
            if encodings && !key.starts_with(b"s:") {
                parts.push(ask(&[b"OBJECT", b"ENCODING", key]));
            }
            lines.push(parts.join(" "));
        }
    }
    client.line("SELECT 0");
    lines.sort();
    lines
}

/// Says in what pictures differ.
fn assert_same(found: &[String], expected: &[String], program: &Path) {
    let missing: Vec<_> = expected.iter().filter(|it| !found.contains(it)).collect();
    let wrong: Vec<_> = found.iter().filter(|it| !expected.contains(it)).collect();
    assert!(
        missing.is_empty() && wrong.is_empty(),
        "{}: {wrong:#?} where {missing:#?} was expected",
        program.display()
    );
}

fn change(client: &mut Client) {
    for line in [
        "SET after rewrite",
        "RPOP l:large",
        "ZINCRBY z:large 1.5 member:5",
        "HDEL h:large field:9",
        "XADD x:large MAXLEN 100 9999-1 f v",
        "DEL si:small",
    ] {
        let reply = client.line(line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }
}

fn rewrite(client: &mut Client) {
    assert!(client.line("BGREWRITEAOF").starts_with('+'));
    for _ in 0..2000 {
        let info = client.run(&["INFO", "persistence"]);
        let info = String::from_utf8_lossy(info.as_bytes().expect("text")).into_owned();
        if info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0") {
            assert!(info.contains("aof_last_bgrewrite_status:ok"), "{info}");
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("the rewrite does not end");
}

fn peer(program: &Path, dir: PathBuf, appendonly: &str) -> TestServer {
    TestServer::start_peer(program, dir, &args(appendonly))
}

fn ours(dir: PathBuf, appendonly: &str) -> TestServer {
    TestServer::start_plain(dir, &args(appendonly))
}

/// Whether the server loads files that Lodestore writes by default: RDB version 11 is that of Redis
/// 7.2. Older ones have fewer packed forms too.
fn loads_ours(client: &mut Client) -> bool {
    let info = client.run(&["INFO", "server"]);
    let info = String::from_utf8_lossy(info.as_bytes().expect("text")).into_owned();
    let version = info
        .lines()
        .find_map(|line| line.strip_prefix("redis_version:"));
    let mut numbers = version
        .unwrap_or_default()
        .split('.')
        .map(|part| part.parse().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(7), Some(2))
}

#[test]
fn snapshots_go_both_ways() {
    for program in peers() {
        let theirs = peer(&program, fresh_dir(), "no");
        let mut client = theirs.connect();
        fill(&mut client);
        let recent = loads_ours(&mut client);
        let before = picture(&mut client, recent);
        assert_eq!(client.line("SAVE"), "+OK");
        let dir = theirs.shut_down("SHUTDOWN NOSAVE");
        let server = ours(dir, "no");
        let mut client = server.connect();
        assert_same(&picture(&mut client, recent), &before, &program);
        change(&mut client);
        let changed = picture(&mut client, recent);
        assert_eq!(client.line("SAVE"), "+OK");
        let dir = server.shut_down("SHUTDOWN NOSAVE");
        let again = ours(dir, "no");
        assert_same(&picture(&mut again.connect(), recent), &changed, &program);
        let dir = again.shut_down("SHUTDOWN NOSAVE");
        if recent {
            let theirs = peer(&program, dir, "no");
            assert_same(&picture(&mut theirs.connect(), recent), &changed, &program);
        }
    }
}

#[test]
fn logs_go_both_ways() {
    for program in peers() {
        let theirs = peer(&program, fresh_dir(), "yes");
        let mut client = theirs.connect();
        fill(&mut client);
        rewrite(&mut client);
        change(&mut client);
        let recent = loads_ours(&mut client);
        let before = picture(&mut client, recent);
        let dir = theirs.shut_down("SHUTDOWN NOSAVE");
        let mut server = ours(dir, "yes");
        assert_same(&picture(&mut server.connect(), recent), &before, &program);
        let mut client = server.connect();
        client.line("SET written here");
        rewrite(&mut client);
        client.line("LPUSH l:small first");
        let changed = picture(&mut client, recent);
        server.restart();
        assert_same(&picture(&mut server.connect(), recent), &changed, &program);
        let dir = server.shut_down("SHUTDOWN NOSAVE");
        if recent {
            let theirs = peer(&program, dir, "yes");
            assert_same(&picture(&mut theirs.connect(), recent), &changed, &program);
        }
    }
}
