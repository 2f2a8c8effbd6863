//! Commands on keys of any type and on databases.

use std::collections::BTreeSet;
use std::time::Duration;

use resp::Value;

use super::harness::{Client, TestServer};

const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const SYNTAX: &str = "-ERR syntax error";

#[test]
fn existence() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("MSET a 1 b 2 c 3", "+OK"),
        ("EXISTS a b none a", ":3"),
        ("TOUCH a b none", ":2"),
        ("TYPE a", "+string"),
        ("TYPE none", "+none"),
        ("DBSIZE", ":3"),
        ("DEL a none a", ":1"),
        ("UNLINK b none", ":1"),
        ("DBSIZE", ":1"),
        ("RANDOMKEY", "\"c\""),
        ("DEL c", ":1"),
        ("RANDOMKEY", "nil"),
        ("DEL", "-ERR wrong number of arguments for 'del' command"),
    ]);
}

#[test]
fn deadlines() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("EXPIRE none 10", ":0"),
        ("TTL none", ":-2"),
        ("PEXPIRETIME none", ":-2"),
        ("SET k v", "+OK"),
        ("TTL k", ":-1"),
        ("EXPIRETIME k", ":-1"),
        ("PERSIST k", ":0"),
        ("EXPIRE k 100", ":1"),
        ("TTL k", ":100"),
        ("EXPIRE k 200 NX", ":0"),
        ("EXPIRE k 50 GT", ":0"),
        ("EXPIRE k 200 GT", ":1"),
        ("EXPIRE k 300 LT", ":0"),
        ("EXPIRE k 150 LT", ":1"),
        ("TTL k", ":150"),
        ("PERSIST k", ":1"),
        ("EXPIRE k 100 XX", ":0"),
        ("EXPIRE k 100 GT", ":0"),
        ("EXPIRE k 100 LT", ":1"),
        ("EXPIREAT k 9999999999", ":1"),
        ("EXPIRETIME k", ":9999999999"),
        ("PEXPIREAT k 9999999999600", ":1"),
        ("EXPIRETIME k", ":10000000000"),
        ("PEXPIRETIME k", ":9999999999600"),
        ("EXPIRE k x", NOT_INTEGER),
        ("EXPIRE k 10 WHAT", "-ERR Unsupported option WHAT"),
        (
            "EXPIRE k 10 NX XX",
            "-ERR NX and XX, GT or LT options at the same time are not compatible",
        ),
        (
            "EXPIRE k 10 GT LT",
            "-ERR GT and LT options at the same time are not compatible",
        ),
        (
            "EXPIRE k 9223372036854775807",
            "-ERR invalid expire time in 'expire' command",
        ),
        (
            "EXPIRE k -9223372036854775808",
            "-ERR invalid expire time in 'expire' command",
        ),
        (
            "PEXPIRE k 9223372036854775807",
            "-ERR invalid expire time in 'pexpire' command",
        ),
        ("PEXPIREAT k 9223372036854775807", ":1"),
        ("PEXPIRETIME k", ":9223372036854775807"),
        ("EXPIRETIME k", ":9223372036854776"),
        ("EXPIRE k -1", ":1"),
        ("EXISTS k", ":0"),
        ("SET k v", "+OK"),
        ("PEXPIREAT k -9223372036854775808", ":1"),
        ("EXISTS k", ":0"),
    ]);
}

#[test]
fn expired_keys_are_gone_everywhere() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.line("SET lives v");
    for n in 0..20 {
        client.line(&format!("SET gone:{n} v PX 30"));
    }
    std::thread::sleep(Duration::from_millis(60));
    client.check(&[
        ("KEYS *", "[\"lives\"]"),
        ("SCAN 0 COUNT 1000", "[\"0\" [\"lives\"]]"),
        ("RANDOMKEY", "\"lives\""),
        ("EXISTS gone:1", ":0"),
        ("TYPE gone:2", "+none"),
        ("RENAME gone:3 x", "-ERR no such key"),
        ("COPY gone:4 x", ":0"),
        ("PERSIST gone:5", ":0"),
        ("OBJECT ENCODING gone:6", "nil"),
        ("DEL gone:7", ":0"),
        ("SETNX gone:8 v", ":1"),
        ("TTL gone:8", ":-1"),
        ("DBSIZE", ":2"),
    ]);
    server.assert_replays();
}

#[test]
fn names() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("RENAME none x", "-ERR no such key"),
        ("RENAMENX none none", "-ERR no such key"),
        ("SET a 1 PXAT 99999999999999", "+OK"),
        ("RENAME a a", "+OK"),
        ("RENAMENX a a", ":0"),
        ("SET b 2", "+OK"),
        ("RENAMENX a b", ":0"),
        ("RENAME a b", "+OK"),
        ("EXISTS a", ":0"),
        ("GET b", "\"1\""),
        ("PEXPIRETIME b", ":99999999999999"),
        ("RENAMENX b c", ":1"),
        ("PEXPIRETIME c", ":99999999999999"),
        ("SET d 1", "+OK"),
        ("RENAME d c", "+OK"),
        ("TTL c", ":-1"),
    ]);
    server.assert_replays();
}

#[test]
fn copies() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("COPY none x", ":0"),
        (
            "COPY a a",
            "-ERR source and destination objects are the same",
        ),
        ("SET a 1 PXAT 99999999999999", "+OK"),
        ("COPY a b", ":1"),
        ("COPY a b", ":0"),
        ("SET a 2", "+OK"),
        ("COPY a b REPLACE", ":1"),
        ("GET b", "\"2\""),
        ("TTL b", ":-1"),
        ("COPY a a DB 1", ":1"),
        ("COPY a a DB 1", ":0"),
        ("COPY a a DB 16", "-ERR DB index is out of range"),
        ("COPY a a DB -1", "-ERR DB index is out of range"),
        ("COPY a a DB x", NOT_INTEGER),
        (
            "COPY a a DB 2147483648",
            "-ERR value is out of range, value must between -2147483648 and 2147483647",
        ),
        ("COPY a b DB", SYNTAX),
        ("COPY a b WHAT", SYNTAX),
        ("SELECT 1", "+OK"),
        ("GET a", "\"2\""),
        ("OBJECT ENCODING a", "\"int\""),
    ]);
    server.assert_replays();
}

#[test]
fn moves() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("MOVE none 1", ":0"),
        ("SET a 1 PXAT 99999999999999", "+OK"),
        (
            "MOVE a 0",
            "-ERR source and destination objects are the same",
        ),
        ("MOVE a 16", "-ERR DB index is out of range"),
        ("MOVE a x", NOT_INTEGER),
        ("MOVE a 1", ":1"),
        ("EXISTS a", ":0"),
        ("SET a 2", "+OK"),
        ("MOVE a 1", ":0"),
        ("SELECT 1", "+OK"),
        ("GET a", "\"1\""),
        ("PEXPIRETIME a", ":99999999999999"),
    ]);
    server.assert_replays();
}

#[test]
fn whole_databases() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    let fill = |client: &mut Client| {
        client.check(&[
            ("SELECT 1", "+OK"),
            ("MSET x 1 y 2", "+OK"),
            ("SELECT 0", "+OK"),
            ("MSET a 1 b 2 c 3", "+OK"),
        ]);
    };
    fill(&mut client);
    client.check(&[
        ("SWAPDB 0 1", "+OK"),
        ("MGET x a", "[\"1\" nil]"),
        ("DBSIZE", ":2"),
        ("SWAPDB 0 0", "+OK"),
        ("SWAPDB 0 16", "-ERR DB index is out of range"),
        ("SWAPDB -1 0", "-ERR DB index is out of range"),
        ("SWAPDB x 0", "-ERR invalid first DB index"),
        ("SWAPDB 0 x", "-ERR invalid second DB index"),
        ("SWAPDB 1 0", "+OK"),
    ]);
    server.assert_replays();
    client.check(&[
        ("FLUSHDB ASYNC", "+OK"),
        ("DBSIZE", ":0"),
        ("SELECT 1", "+OK"),
        ("DBSIZE", ":2"),
        ("FLUSHDB SYNC", "+OK"),
        ("DBSIZE", ":0"),
        ("FLUSHDB WHAT", SYNTAX),
        ("FLUSHALL ASYNC SYNC", SYNTAX),
    ]);
    fill(&mut client);
    client.check(&[
        ("FLUSHALL", "+OK"),
        ("KEYS *", "[]"),
        ("SELECT 1", "+OK"),
        ("KEYS *", "[]"),
    ]);
    server.assert_replays();
}

#[test]
fn patterns() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.line("MSET one 1 two 2 three 3 \"\" 4");
    let mut keys = |pattern: &str| {
        let Value::Array(keys) = client.run(&["KEYS", pattern]) else {
            panic!("KEYS answers an array");
        };
        let mut keys: Vec<String> = keys
            .iter()
            .map(|key| String::from_utf8_lossy(key.as_bytes().expect("a key")).into_owned())
            .collect();
        keys.sort();
        keys.join(" ")
    };
    assert_eq!(keys("*"), " one three two");
    assert_eq!(keys("t*"), "three two");
    assert_eq!(keys("?n?"), "one");
    assert_eq!(keys("[ot]??"), "one two");
    assert_eq!(keys("none"), "");
}

/// Walks over a database with SCAN and checks that no key comes twice.
fn scan_all(client: &mut Client, options: &[&str]) -> BTreeSet<Vec<u8>> {
    let mut found = BTreeSet::new();
    let mut cursor = "0".to_owned();
    loop {
        let mut request = vec!["SCAN", &cursor];
        request.extend(options);
        let reply = client.run(&request);
        let [next, keys] = reply.as_elements().expect("an array") else {
            panic!("SCAN answers two elements");
        };
        for key in keys.as_elements().expect("an array of keys") {
            let key = key.as_bytes().expect("a key").to_vec();
            assert!(found.insert(key), "a key came twice");
        }
        cursor = String::from_utf8(next.as_bytes().expect("a cursor").to_vec()).expect("digits");
        if cursor == "0" {
            return found;
        }
    }
}

#[test]
fn scans() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    assert_eq!(client.line("SCAN 0"), "[\"0\" []]");
    for n in 0..1000 {
        client.run(&["SET", &format!("key:{n}"), "v"]);
    }
    assert_eq!(scan_all(&mut client, &[]).len(), 1000);
    assert_eq!(scan_all(&mut client, &["COUNT", "7"]).len(), 1000);
    assert_eq!(
        scan_all(&mut client, &["COUNT", "9223372036854775807"]).len(),
        1000
    );
    assert_eq!(scan_all(&mut client, &["MATCH", "key:1??"]).len(), 100);
    assert_eq!(
        scan_all(&mut client, &["TYPE", "STRING", "COUNT", "100"]).len(),
        1000
    );
    assert_eq!(scan_all(&mut client, &["TYPE", "list"]).len(), 0);
    client.check(&[
        ("SCAN x", "-ERR invalid cursor"),
        ("SCAN -1", "-ERR invalid cursor"),
        ("SCAN 18446744073709551616", "-ERR invalid cursor"),
        ("SCAN 18446744073709551615", "[\"0\" []]"),
        ("SCAN +281474976710655", "[\"0\" []]"),
        ("SCAN \" 281474976710655\"", "[\"0\" []]"),
        ("SSCAN none +1", "[\"0\" []]"),
        ("HSCAN none +1", "[\"0\" []]"),
        ("ZSCAN none +1", "[\"0\" []]"),
        ("SCAN 18446744073709551615", "[\"0\" []]"),
        ("SCAN 0 COUNT 0", SYNTAX),
        ("SCAN 0 COUNT x", NOT_INTEGER),
        ("SCAN 0 MATCH", SYNTAX),
        ("SCAN 0 TYPE what", "-ERR unknown type name 'what'"),
        (
            "SCAN 0 NOVALUES",
            "-ERR NOVALUES option can only be used in HSCAN",
        ),
    ]);
    // Inside a transaction all shards are locked already.
    client.line("MULTI");
    client.line("SCAN 0 COUNT 10000");
    let reply = client.run(&["EXEC"]);
    let scan = &reply.as_elements().expect("one reply")[0];
    let keys = scan.as_elements().expect("two elements")[1].as_elements();
    assert_eq!(keys.expect("keys").len(), 1000);
}

#[test]
fn scan_is_exact_while_keys_come_and_go() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    for n in 0..500 {
        client.run(&["SET", &format!("stays:{n}"), "v"]);
    }
    let mut found = BTreeSet::new();
    let mut cursor = "0".to_owned();
    let mut n = 0;
    loop {
        let reply = client.run(&["SCAN", &cursor, "COUNT", "20"]);
        let [next, keys] = reply.as_elements().expect("an array") else {
            panic!("SCAN answers two elements");
        };
        for key in keys.as_elements().expect("keys") {
            let key = key.as_bytes().expect("a key").to_vec();
            if key.starts_with(b"stays") {
                assert!(found.insert(key), "a key came twice");
            }
        }
        for _ in 0..200 {
            n += 1;
            client.run(&["SET", &format!("comes:{n}"), "v"]);
            if n > 300 {
                client.run(&["DEL", &format!("comes:{}", n - 300)]);
            }
        }
        cursor = String::from_utf8(next.as_bytes().expect("a cursor").to_vec()).expect("digits");
        if cursor == "0" || n > 40_000 {
            break;
        }
    }
    assert_eq!(found.len(), 500);
}

#[test]
fn objects() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    let long = "x".repeat(45);
    client.check(&[
        ("SET int 5", "+OK"),
        ("OBJECT ENCODING int", "\"int\""),
        ("SET short abc", "+OK"),
        ("OBJECT ENCODING short", "\"embstr\""),
        (&format!("SET long {long}"), "+OK"),
        ("OBJECT ENCODING long", "\"raw\""),
        ("OBJECT ENCODING none", "nil"),
        ("OBJECT REFCOUNT short", ":1"),
        ("OBJECT REFCOUNT none", "nil"),
        ("OBJECT FREQ none", "nil"),
        (
            "OBJECT ENCODING",
            "-ERR wrong number of arguments for 'object|encoding' command",
        ),
    ]);
    assert!(
        client
            .line("OBJECT FREQ short")
            .starts_with("-ERR An LFU maxmemory policy is not")
    );
    assert!(
        client
            .line("OBJECT HELP")
            .starts_with("[+OBJECT <subcommand>")
    );
    assert!(
        client
            .line("OBJECT WHAT k")
            .starts_with("-ERR unknown subcommand 'WHAT'")
    );
}

#[test]
fn waiting_for_safety() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.check(&[
        ("SET k v", "+OK"),
        ("WAIT 0 0", ":0"),
        ("WAIT 1 20", ":0"),
        ("WAIT x 0", NOT_INTEGER),
        ("WAIT 1 -1", "-ERR timeout is negative"),
        ("WAIT 1 x", "-ERR timeout is not an integer or out of range"),
        ("WAIT 1 9223372036854775807", "-ERR timeout is out of range"),
        ("WAITAOF 1 0 5000", "[:1 :0]"),
        (
            "WAITAOF 2 0 0",
            "-ERR value is out of range, value must between 0 and 1",
        ),
        (
            "WAITAOF 0 -1 0",
            "-ERR value is out of range, must be positive",
        ),
        ("MULTI", "+OK"),
        ("WAIT 1 0", "+QUEUED"),
        ("EXEC", "[:0]"),
    ]);
}

#[test]
fn watched_keys_notice_changes_of_whole_databases() {
    let server = TestServer::start_twice();
    let mut watcher = server.connect();
    let mut other = server.connect();
    for (line, existing, aborts) in [
        ("FLUSHDB", true, true),
        ("FLUSHALL", true, true),
        ("FLUSHALL", false, false),
        ("SWAPDB 0 1", true, true),
        ("SWAPDB 0 1", false, false),
        ("RENAME a k", true, true),
        ("COPY a k REPLACE", true, true),
        ("MOVE k 2", true, true),
        ("EXPIRE k 100", true, true),
        ("DEL k", false, false),
    ] {
        other.line("FLUSHALL");
        other.line("SET a 1");
        if existing {
            other.line("SET k 1");
        }
        watcher.line("WATCH k");
        other.line(line);
        watcher.line("MULTI");
        watcher.line("PING");
        let expected = if aborts { "nil-array" } else { "[+PONG]" };
        assert_eq!(watcher.line("EXEC"), expected, "after {line}");
    }
}

#[test]
fn what_is_logged() {
    let server = TestServer::start_twice();
    let logged = |commands: &[&str]| server.logs_of(commands).join("; ");
    assert_eq!(logged(&["MSET a 1 b 2"]), "MSET a 1 b 2");
    assert_eq!(
        logged(&["EXPIREAT a 9999999999"]),
        "PEXPIREAT a 9999999999000"
    );
    assert_eq!(
        logged(&["EXPIREAT a 9999999998 LT", "EXPIREAT a 9999999998 LT"]),
        "PEXPIREAT a 9999999998000 LT"
    );
    assert_eq!(
        logged(&["PEXPIREAT a 9999999999000"]),
        "PEXPIREAT a 9999999999000"
    );
    assert_eq!(logged(&["PERSIST a", "PERSIST a"]), "PERSIST a");
    assert_eq!(logged(&["EXPIRE a -1", "EXPIRE a -1"]), "UNLINK a");
    assert_eq!(logged(&["RENAME b c", "RENAME c c"]), "RENAME b c");
    assert_eq!(
        logged(&["COPY c d", "COPY c d", "COPY c d DB 1"]),
        "COPY c d; COPY c d DB 1"
    );
    assert_eq!(logged(&["MOVE c 3", "MOVE c 3"]), "MOVE c 3");
    assert_eq!(logged(&["DEL none", "DEL d none"]), "DEL d none");
    assert_eq!(logged(&["TOUCH d", "EXISTS d", "KEYS *", "SCAN 0"]), "");
    assert_eq!(logged(&["SWAPDB 0 1"]), "SWAPDB 0 1");
    assert_eq!(
        logged(&["FLUSHDB", "FLUSHDB ASYNC", "FLUSHALL"]),
        "FLUSHDB; FLUSHDB ASYNC; FLUSHALL"
    );
    server.assert_replays();
}

#[test]
fn nothing_expires_during_an_import() {
    let server = TestServer::start_twice();
    let mut source = server.connect();
    let mut other = server.connect();
    source.line("CONFIG SET import-mode yes");
    source.line("CLIENT IMPORT-SOURCE on");
    source.line("SET gone 1 PX 1");
    source.line("SET past 2");
    assert_eq!(source.integer("EXPIRE past -10"), 1);
    std::thread::sleep(std::time::Duration::from_millis(20));
    // The source sees expired keys, other clients do not, and nothing is removed.
    assert_eq!(source.run(&["GET", "gone"]).as_bytes(), Some(&b"1"[..]));
    assert_eq!(source.run(&["GET", "past"]).as_bytes(), Some(&b"2"[..]));
    assert!(other.run(&["GET", "gone"]).is_null());
    assert_eq!(other.integer("DBSIZE"), 2);
    source.line("CONFIG SET import-mode no");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while other.integer("DBSIZE") > 0 {
        assert!(std::time::Instant::now() < deadline, "the keys stay");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Runs a command of the SCAN kind to its end, checks that all cursors are below 2^53, and returns
/// every `step`th element of the replies. `{}` in the command is the cursor.
fn walk(client: &mut Client, command: &str, step: usize) -> Vec<String> {
    let (mut found, mut cursor, mut last) = (Vec::new(), 0u64, 0);
    loop {
        let request = command.replace("{}", &cursor.to_string());
        let words: Vec<&str> = request.split(' ').collect();
        let reply = client.run(&words);
        let [next, elements] = reply.as_elements().expect("an array") else {
            panic!("a cursor and elements");
        };
        let elements = elements.as_elements().expect("elements");
        found.extend(elements.iter().step_by(step).map(|element| {
            let bytes = element.as_bytes().expect("a bulk string");
            String::from_utf8_lossy(bytes).into_owned()
        }));
        let digits = String::from_utf8_lossy(next.as_bytes().expect("a cursor"));
        cursor = digits.parse().expect("a number");
        assert!(cursor < 1 << 53, "{command}: {cursor}");
        if cursor == 0 {
            return found;
        }
        assert!(cursor > last, "{command}: the cursor must advance");
        last = cursor;
    }
}

#[test]
fn cursors_fit_a_double_and_scans_are_exact() {
    const COUNT: usize = 10_000;
    let server = TestServer::start_twice();
    let mut client = server.connect();
    for first in (0..COUNT).step_by(1000) {
        let each = |form: fn(usize) -> String| {
            let all: Vec<String> = (first..first + 1000).map(form).collect();
            all.join(" ")
        };
        let with_values = each(|n| format!("k{n} v"));
        client.line(&format!("MSET {with_values}"));
        client.line("SELECT 1");
        client.line(&format!("MSET {with_values}"));
        client.line(&format!("HSET hash {with_values}"));
        client.line(&format!("SADD set {}", each(|n| format!("k{n}"))));
        client.line(&format!("ZADD zset {}", each(|n| format!("1 k{n}"))));
        client.line("DEL k0 k1");
        client.line("SELECT 0");
    }
    let expected: BTreeSet<String> = (0..COUNT).map(|n| format!("k{n}")).collect();
    let check = |found: Vec<String>, command: &str| {
        assert_eq!(found.len(), COUNT, "{command}");
        assert_eq!(BTreeSet::from_iter(found), expected, "{command}");
    };
    for command in ["SCAN {}", "SCAN {} COUNT 1", "SCAN {} COUNT 3000"] {
        check(walk(&mut client, command, 1), command);
    }
    client.line("SELECT 1");
    // The collections are keys too, and two names are missing.
    assert_eq!(walk(&mut client, "SCAN {}", 1).len(), COUNT + 3 - 2);
    for (command, step) in [
        ("SSCAN set {}", 1),
        ("SSCAN set {} COUNT 1", 1),
        ("HSCAN hash {} COUNT 100", 2),
        ("HSCAN hash {} NOVALUES", 1),
        ("ZSCAN zset {}", 2),
        ("ZSCAN zset {} COUNT 1 NOSCORES", 1),
    ] {
        check(walk(&mut client, command, step), command);
    }
    // Cursors that no server returned end, soon or at once.
    for cursor in [
        "9007199254740993",
        "9223372036854775808",
        "18446744073709551615",
    ] {
        for command in ["SCAN {}", "SSCAN set {}", "HSCAN hash {}", "ZSCAN zset {}"] {
            let command = command.replace("{}", cursor);
            client.check(&[(&command, "[\"0\" []]")]);
        }
    }
}
