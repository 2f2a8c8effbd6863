//! Commands on sets.

use std::collections::BTreeSet;

use resp::Value;

use super::harness::{Client, TestServer, show};

const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const NOT_POSITIVE: &str = "-ERR value is out of range, must be positive";
const SYNTAX: &str = "-ERR syntax error";
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

/// The elements of a reply without an order, as sorted words.
fn words(client: &mut Client, line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let reply = client.run(&words);
    let elements = reply.as_elements();
    let elements = elements.unwrap_or_else(|| panic!("{line} answers {}", show(&reply)));
    let mut texts: Vec<String> = elements
        .iter()
        .map(|element| show(element).trim_matches('"').to_owned())
        .collect();
    texts.sort();
    texts.join(" ")
}

#[test]
fn members() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("SADD s a b a c", ":3"),
        ("SADD s a d", ":1"),
        ("SCARD s", ":4"),
        ("SCARD none", ":0"),
        ("SISMEMBER s a", ":1"),
        ("SISMEMBER s x", ":0"),
        ("SISMEMBER none x", ":0"),
        ("SMISMEMBER s a x d", "[:1 :0 :1]"),
        ("SMISMEMBER none a x", "[:0 :0]"),
        ("SMEMBERS none", "[]"),
        ("SREM s a x a", ":1"),
        ("SREM none a", ":0"),
        (
            "SADD s",
            "-ERR wrong number of arguments for 'sadd' command",
        ),
    ]);
    assert_eq!(words(&mut client, "SMEMBERS s"), "b c d");
    client.check(&[
        ("SREM s b c d e", ":3"),
        ("EXISTS s", ":0"),
        ("TYPE s", "+none"),
    ]);
    let mut resp3 = server.connect_resp3();
    resp3.check(&[
        ("SADD s 3 1 2", ":3"),
        ("SMEMBERS s", "~[\"1\" \"2\" \"3\"]"),
        ("SMEMBERS none", "~[]"),
        ("SMISMEMBER s 1 5", "[:1 :0]"),
        ("SISMEMBER s 1", ":1"),
    ]);
    server.assert_replays();
}

#[test]
fn moves() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("SADD a 1 2", ":2"),
        ("SET str x", "+OK"),
        ("SMOVE none str 1", ":0"),
        ("SMOVE a str 9", WRONG_TYPE),
        ("SMOVE str a 1", WRONG_TYPE),
        ("SMOVE a b 9", ":0"),
        ("EXISTS b", ":0"),
        ("SMOVE a a 1", ":1"),
        ("SMOVE a a 9", ":0"),
        ("SMOVE a b 1", ":1"),
        ("SMOVE a b 2", ":1"),
        ("EXISTS a", ":0"),
        ("SMEMBERS b", "[\"1\" \"2\"]"),
        ("SADD a 1", ":1"),
        ("SMOVE a b 1", ":1"),
        ("SCARD b", ":2"),
    ]);
    server.assert_replays();
}

#[test]
fn encodings() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    let numbers = |count: usize| -> String { (0..count).map(|n| format!(" {n}")).collect() };
    client.check(&[
        ("SADD i 1 2", ":2"),
        ("OBJECT ENCODING i", "\"intset\""),
        ("SADD i x", ":1"),
        ("OBJECT ENCODING i", "\"listpack\""),
        (&format!("SADD big{}", numbers(512)), ":512"),
        ("OBJECT ENCODING big", "\"intset\""),
        ("SADD big 512", ":1"),
        ("OBJECT ENCODING big", "\"hashtable\""),
        (&format!("SADD l {}", "x".repeat(64)), ":1"),
        ("OBJECT ENCODING l", "\"listpack\""),
        (&format!("SADD l {}", "x".repeat(65)), ":1"),
        ("OBJECT ENCODING l", "\"hashtable\""),
        ("CONFIG SET set-max-intset-entries 2", "+OK"),
        ("SADD few 1 2", ":2"),
        ("SADD few 3", ":1"),
        ("OBJECT ENCODING few", "\"hashtable\""),
        ("SUNIONSTORE u i", ":3"),
        ("OBJECT ENCODING u", "\"listpack\""),
        ("CONFIG SET set-max-listpack-entries 2", "+OK"),
        ("SUNIONSTORE u i", ":3"),
        ("OBJECT ENCODING u", "\"hashtable\""),
    ]);
    server.assert_replays();
}

#[test]
fn algebra() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("SADD a 1 2 3 4", ":4"),
        ("SADD b 3 4 5 x", ":4"),
        ("SADD c 4 x", ":2"),
        ("SET str x", "+OK"),
        ("SINTER a none", "[]"),
        ("SINTER none a str", WRONG_TYPE),
        ("SUNION none str", WRONG_TYPE),
        ("SDIFF none str", WRONG_TYPE),
        ("SDIFF a a", "[]"),
        ("SDIFF none a", "[]"),
        ("SUNION none", "[]"),
    ]);
    for (line, expected) in [
        ("SINTER a b", "3 4"),
        ("SINTER a b c", "4"),
        ("SINTER a a", "1 2 3 4"),
        ("SUNION a b c none", "1 2 3 4 5 x"),
        ("SUNION a", "1 2 3 4"),
        ("SDIFF a b", "1 2"),
        ("SDIFF b a c", "5"),
        ("SDIFF a none", "1 2 3 4"),
    ] {
        assert_eq!(words(&mut client, line), expected, "{line}");
    }
    let mut resp3 = server.connect_resp3();
    resp3.check(&[
        ("SINTER a b", "~[\"3\" \"4\"]"),
        ("SUNION none", "~[]"),
        ("SDIFF a b", "~[\"1\" \"2\"]"),
    ]);
}

#[test]
fn stored_algebra() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("SADD a 1 2 3 4", ":4"),
        ("SADD b 3 4 5", ":3"),
        ("SINTERSTORE d a b", ":2"),
        ("SMEMBERS d", "[\"3\" \"4\"]"),
        ("SUNIONSTORE d a b", ":5"),
        ("SMEMBERS d", "[\"1\" \"2\" \"3\" \"4\" \"5\"]"),
        ("SDIFFSTORE d d a", ":1"),
        ("SMEMBERS d", "[\"5\"]"),
        ("SDIFFSTORE d a a", ":0"),
        ("EXISTS d", ":0"),
        ("SINTERSTORE d a none", ":0"),
        ("SET str x EX 100", "+OK"),
        ("SINTERSTORE d a str", WRONG_TYPE),
        ("SUNIONSTORE d str", WRONG_TYPE),
        ("SDIFFSTORE d a str", WRONG_TYPE),
        ("SUNIONSTORE str a", ":4"),
        ("TYPE str", "+set"),
        ("TTL str", ":-1"),
        ("SINTERSTORE str none", ":0"),
        ("EXISTS str", ":0"),
        ("SUNIONSTORE a a b", ":5"),
    ]);
    server.assert_replays();
}

#[test]
fn counts() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("SADD a 1 2 3 4", ":4"),
        ("SADD b 3 4 5", ":3"),
        ("SADD c 5 6", ":2"),
        ("SET str x", "+OK"),
        ("SINTERCARD 2 a b", ":2"),
        ("SINTERCARD 2 a b LIMIT 1", ":1"),
        ("SINTERCARD 2 a b LIMIT 0", ":2"),
        ("SINTERCARD 2 a none", ":0"),
        ("SINTERCARD 2 none str", WRONG_TYPE),
        ("SDIFFCARD 2 a b", ":2"),
        ("SDIFFCARD 3 a b c LIMIT 1", ":1"),
        ("SDIFFCARD 2 none a", ":0"),
        ("SDIFFCARD 1 str", WRONG_TYPE),
        ("SDIFFCARD 1 a APPROX", SYNTAX),
        ("SUNIONCARD 3 a b c", ":6"),
        ("SUNIONCARD 3 a b c LIMIT 5", ":5"),
        ("SUNIONCARD 3 a b c LIMIT 2", ":2"),
        ("SUNIONCARD 6 a b c a b c", ":6"),
        ("SUNIONCARD 6 a b c a b c LIMIT 4", ":4"),
        ("SUNIONCARD 3 a b c APPROX", ":6"),
        ("SUNIONCARD 3 a b c LIMIT 3 APPROX", ":3"),
        ("SUNIONCARD 1 none", ":0"),
        ("SUNIONCARD 1 none APPROX", ":0"),
        ("SUNIONCARD 2 a str", WRONG_TYPE),
    ]);
    for command in ["SINTERCARD", "SDIFFCARD", "SUNIONCARD"] {
        for (args, expected) in [
            ("0 a", "-ERR numkeys should be greater than 0"),
            ("x a", "-ERR numkeys should be greater than 0"),
            (
                "2 a",
                "-ERR Number of keys can't be greater than number of args",
            ),
            ("1 a LIMIT -1", "-ERR LIMIT can't be negative"),
            ("1 a LIMIT x", "-ERR LIMIT can't be negative"),
            ("1 a LIMIT", SYNTAX),
            ("1 a b", SYNTAX),
        ] {
            let line = format!("{command} {args}");
            assert_eq!(client.line(&line), expected, "{line}");
        }
    }
}

#[test]
fn estimates_are_close() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    for start in [0, 1000] {
        let members: String = (start..start + 3000).map(|n| format!(" m{n}")).collect();
        client.line(&format!("SADD s{start}{members}"));
    }
    assert_eq!(client.integer("SUNIONCARD 2 s0 s1000"), 4000);
    let estimate = client.integer("SUNIONCARD 2 s0 s1000 APPROX");
    assert!((3900..=4100).contains(&estimate), "{estimate}");
}

#[test]
fn popping() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("SPOP none", "nil"),
        ("SPOP none 3", "[]"),
        ("SPOP none -1", NOT_POSITIVE),
        ("SPOP none x", NOT_POSITIVE),
        ("SPOP none 1 2", SYNTAX),
        ("SADD s a", ":1"),
        ("SPOP s 0", "[]"),
        ("SPOP s", "\"a\""),
        ("EXISTS s", ":0"),
        ("SADD s a", ":1"),
        ("SPOP s 9223372036854775807", "[\"a\"]"),
        ("EXISTS s", ":0"),
    ]);
    // Few, most and nearly all of small and of large sets.
    for size in [20usize, 2000] {
        for count in [1, size / 10, size / 2, size - 2] {
            let all: BTreeSet<String> = (0..size).map(|n| format!("m{n}")).collect();
            client.line("DEL s");
            let members: String = all.iter().map(|member| format!(" {member}")).collect();
            client.line(&format!("SADD s{members}"));
            let popped = words(&mut client, &format!("SPOP s {count}"));
            let mut seen: BTreeSet<String> = popped.split(' ').map(str::to_owned).collect();
            assert_eq!(seen.len(), count, "different members are popped");
            let rest = words(&mut client, "SMEMBERS s");
            seen.extend(rest.split(' ').map(str::to_owned));
            assert_eq!(seen, all, "popped and left together are all");
            assert_eq!(client.integer("SCARD s"), (size - count) as i64);
        }
    }
    server.assert_replays();
    let mut resp3 = server.connect_resp3();
    resp3.check(&[
        ("SPOP none", "null"),
        ("SPOP none 3", "~[]"),
        ("DEL s", ":1"),
        ("SADD s a", ":1"),
        ("SPOP s 3", "~[\"a\"]"),
    ]);
}

#[test]
fn random_members() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("SRANDMEMBER none", "nil"),
        ("SRANDMEMBER none 3", "[]"),
        ("SRANDMEMBER none -3", "[]"),
        ("SRANDMEMBER none x", NOT_INTEGER),
        ("SRANDMEMBER none 1 2", SYNTAX),
        (
            "SRANDMEMBER none -9223372036854775808",
            "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ),
        ("SADD one a", ":1"),
        ("SRANDMEMBER one", "\"a\""),
        ("SRANDMEMBER one 9223372036854775807", "[\"a\"]"),
        ("SRANDMEMBER one -3", "[\"a\" \"a\" \"a\"]"),
        ("SRANDMEMBER one 0", "[]"),
    ]);
    let refused = client.line("SRANDMEMBER one -9223372036854775807");
    assert!(
        refused.starts_with("-ERR value is out of range"),
        "{refused}"
    );
    for size in [20i64, 2000] {
        let members: String = (0..size).map(|n| format!(" m{n}")).collect();
        client.line("DEL s");
        client.line(&format!("SADD s{members}"));
        for count in [1, 5, size / 4, size / 2, size - 1, size, size + 1] {
            let found = words(&mut client, &format!("SRANDMEMBER s {count}"));
            let distinct: BTreeSet<&str> = found.split(' ').collect();
            assert_eq!(distinct.len() as i64, count.min(size), "{count} of {size}");
        }
        let found = words(&mut client, "SRANDMEMBER s -5000");
        assert_eq!(found.split(' ').count(), 5000);
        assert_eq!(client.integer("SCARD s"), size);
    }
    let mut resp3 = server.connect_resp3();
    resp3.check(&[
        ("SRANDMEMBER one 3", "[\"a\"]"),
        ("SRANDMEMBER none", "null"),
    ]);
}

#[test]
fn scans() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("SADD small 1 2 30", ":3"),
        ("SSCAN small 0", "[\"0\" [\"1\" \"2\" \"30\"]]"),
        ("SSCAN small 0 MATCH 3*", "[\"0\" [\"30\"]]"),
        ("SSCAN none 7 WHAT", "[\"0\" []]"),
        ("SSCAN small x", "-ERR invalid cursor"),
        ("SSCAN small 0 COUNT 0", SYNTAX),
        ("SSCAN small 0 COUNT x", NOT_INTEGER),
        ("SSCAN small 0 TYPE set", SYNTAX),
        (
            "SSCAN small 0 NOSCORES",
            "-ERR NOSCORES option can only be used in ZSCAN",
        ),
        (
            "SSCAN small 0 NOVALUES",
            "-ERR NOVALUES option can only be used in HSCAN",
        ),
    ]);
    let members: String = (0..1000).map(|n| format!(" m{n}")).collect();
    client.line(&format!("SADD big{members}"));
    let mut found = BTreeSet::new();
    let mut cursor = "0".to_owned();
    let mut calls = 0;
    loop {
        let reply = client.run(&["SSCAN", "big", &cursor, "COUNT", "20"]);
        let [next, members] = reply.as_elements().expect("an array") else {
            panic!("SSCAN answers two elements");
        };
        for member in members.as_elements().expect("members") {
            let member = member.as_bytes().expect("a member").to_vec();
            assert!(found.insert(member), "a member came twice");
        }
        calls += 1;
        cursor = String::from_utf8(next.as_bytes().expect("a cursor").to_vec()).expect("digits");
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(found.len(), 1000);
    assert!((10..=100).contains(&calls), "{calls} calls");
}

#[test]
fn wrong_type() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.line("SET k v");
    for line in [
        "SADD k a",
        "SREM k a",
        "SMOVE k x a",
        "SCARD k",
        "SISMEMBER k a",
        "SMISMEMBER k a",
        "SMEMBERS k",
        "SPOP k",
        "SPOP k 2",
        "SRANDMEMBER k",
        "SRANDMEMBER k 2",
        "SSCAN k 0",
        "SINTER k",
        "SUNION k",
        "SDIFF k",
        "SINTERCARD 1 k",
        "SUNIONCARD 1 k",
        "SDIFFCARD 1 k",
        "SINTERSTORE x k",
        "SUNIONSTORE x k",
        "SDIFFSTORE x k",
    ] {
        assert_eq!(client.line(line), WRONG_TYPE, "{line}");
    }
    client.check(&[("GET k", "\"v\""), ("DBSIZE", ":1")]);
}

#[test]
fn what_is_logged() {
    let server = TestServer::start_twice();
    let logged = |commands: &[&str]| server.logs_of(commands).join("; ");
    assert_eq!(logged(&["SADD s 1 2 2", "SADD s 1"]), "SADD s 1 2 2");
    assert_eq!(logged(&["SREM s 2 9", "SREM s 9"]), "SREM s 2 9");
    assert_eq!(logged(&["SPOP s", "SPOP s"]), "SREM s 1");
    assert_eq!(logged(&["SADD s 1", "SPOP s 5"]), "SADD s 1; UNLINK s");
    assert_eq!(
        logged(&[
            "CONFIG SET lazyfree-lazy-server-del no",
            "SADD s 1",
            "SPOP s 1"
        ]),
        "SADD s 1; DEL s"
    );
    assert_eq!(
        logged(&["SADD s 1 2", "SMOVE s t 1", "SMOVE s t 9", "SMOVE t t 1"]),
        "SADD s 1 2; SMOVE s t 1"
    );
    assert_eq!(
        logged(&["SUNIONSTORE u s t", "SINTERSTORE u s t", "SDIFFSTORE u s s"]),
        "SUNIONSTORE u s t; SINTERSTORE u s t"
    );
    assert_eq!(
        logged(&["SMEMBERS s", "SRANDMEMBER s 3", "SSCAN s 0", "SUNION s t"]),
        ""
    );
    // Many members are logged in several commands of one transaction.
    let members: String = (0..3000).map(|n| format!(" m{n}")).collect();
    let popped = server.logs_of(&[&format!("SADD big{members}"), "SPOP big 2500"]);
    let names: Vec<&str> = popped
        .iter()
        .filter_map(|command| command.split(' ').next())
        .collect();
    assert_eq!(names, ["SADD", "MULTI", "SREM", "SREM", "SREM", "EXEC"]);
    server.assert_replays();
}

#[test]
fn lifetimes_of_keys() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("SADD s 1 2", ":2"),
        ("EXPIRE s 100", ":1"),
        ("SADD s 3", ":1"),
        ("SREM s 1", ":1"),
        ("TTL s", ":100"),
        ("SADD t 1", ":1"),
        ("PEXPIRE t 1", ":1"),
    ]);
    std::thread::sleep(std::time::Duration::from_millis(10));
    client.check(&[
        ("SADD t 5", ":1"),
        ("SMEMBERS t", "[\"5\"]"),
        ("TTL t", ":-1"),
        ("PEXPIRE t 1", ":1"),
    ]);
    std::thread::sleep(std::time::Duration::from_millis(10));
    client.check(&[("SUNIONSTORE s t none", ":0"), ("EXISTS s t", ":0")]);
    assert_eq!(client.run(&["SMEMBERS", "t"]), Value::Array(vec![]));
    server.assert_replays();
}
