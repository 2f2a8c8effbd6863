//! What is the same for collections of all types: copies, names, databases, digests, files, memory.

use std::time::{Duration, Instant};

use super::harness::{Client, TestServer, dump};

/// One small and one large collection of each type, some with deadlines.
fn fill(client: &mut Client) {
    for (command, name) in [
        ("RPUSH", "list"),
        ("SADD", "set"),
        ("ZADD", "zset"),
        ("HSET", "hash"),
    ] {
        let elements = |count: usize| -> String {
            let of = |n: usize| match command {
                "ZADD" => format!(" {}.5 member:{n}", n * 7 % 11),
                "HSET" => format!(" field:{n} {n}"),
                _ => format!(" element:{n}"),
            };
            (0..count).map(of).collect()
        };
        client.line(&format!("{command} {name}{}", elements(3)));
        client.line(&format!("{command} {name}:big{}", elements(700)));
        client.line(&format!("PEXPIREAT {name}:big 99999999999999"));
    }
    client.line("SADD numbers 3 1 2 -7");
    client.line("ZADD scores inf a -inf b -0 c 1e9 d 0.1 e");
    for line in [
        "HPEXPIREAT hash 99999999999999 FIELDS 2 field:0 field:1",
        "HPEXPIREAT hash:big 99999999999998 FIELDS 1 field:5",
        "SPEXPIREAT set 99999999999999 MEMBERS 1 element:1",
        "ZPEXPIREAT zset 99999999999999 MEMBERS 1 member:1",
    ] {
        let reply = client.line(line);
        assert!(reply.starts_with("[:1"), "{line}: {reply}");
    }
}

#[test]
fn files_hold_collections() {
    let mut server = TestServer::start_twice();
    let mut client = server.connect();
    fill(&mut client);
    let before = dump(&mut client);
    let digest = client.line("DEBUG DIGEST");
    assert_eq!(before.len(), 10);
    // Run again as they were sent.
    server.restart();
    let mut client = server.connect();
    assert_eq!(dump(&mut client), before);
    // From a base written from memory.
    assert!(client.line("BGREWRITEAOF").starts_with('+'));
    let began = Instant::now();
    while client
        .line("INFO persistence")
        .contains("aof_rewrite_in_progress:1")
    {
        assert!(
            began.elapsed() < super::harness::PATIENCE,
            "the rewrite ends"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    server.restart();
    let mut client = server.connect();
    assert_eq!(dump(&mut client), before);
    assert_eq!(client.line("DEBUG DIGEST"), digest);
}

#[test]
fn reloading() {
    let server = TestServer::start_with(&["--enable-debug-command", "yes"]);
    let mut client = server.connect();
    fill(&mut client);
    let before = dump(&mut client);
    let digest = client.line("DEBUG DIGEST");
    client.check(&[("DEBUG RELOAD", "+OK")]);
    assert_eq!(dump(&mut client), before);
    assert_eq!(client.line("DEBUG DIGEST"), digest);
    client.check(&[("DEBUG LOADAOF", "+OK")]);
    assert_eq!(dump(&mut client), before);
}

#[test]
fn elements_expire_after_a_reload() {
    let server = TestServer::start_with(&["--enable-debug-command", "yes"]);
    let mut client = server.connect();
    client.check(&[
        ("HSET h a 1 b 2", ":2"),
        ("SADD s a b", ":2"),
        ("ZADD z 1 a 2 b", ":2"),
        ("HPEXPIRE h 2000 FIELDS 1 a", "[:1]"),
        ("SPEXPIRE s 2000 MEMBERS 1 a", "[:1]"),
        ("ZPEXPIRE z 2000 MEMBERS 1 a", "[:1]"),
        ("DEBUG RELOAD", "+OK"),
        ("HLEN h", ":2"),
    ]);
    std::thread::sleep(Duration::from_millis(2100));
    client.check(&[
        ("HGETALL h", "[\"b\" \"2\"]"),
        ("SMEMBERS s", "[\"b\"]"),
        ("ZRANGE z 0 -1", "[\"b\"]"),
    ]);
    server.assert_replays();
}

/// Digests as Valkey 9.1 answers them.
#[test]
fn digests_are_those_of_valkey() {
    let server = TestServer::start_with(&["--enable-debug-command", "yes"]);
    let mut client = server.connect();
    client.check(&[
        ("RPUSH l a b 12 \"\"", ":4"),
        ("SADD s a b 12", ":3"),
        ("ZADD z 1 a 1.5 b 1e9 c inf d -0 e", ":5"),
        ("HSET h f v g 1", ":2"),
        ("EXPIRE l 1000", ":1"),
        (
            "DEBUG DIGEST-VALUE l s z h none",
            "[+e84c30193eb8c5f90ffef0ee413259416b8e4ff0 +a6cb320b073705356139f26fb4e18858a07e0492 +ac3273b4442f9c125d629b427105cd2f366b2497 +6679ee22f89ed8001eeb5309d0900265ea56c03a +0000000000000000000000000000000000000000]",
        ),
        ("DEBUG DIGEST", "+7b7c01bc0bb725257facc68f652e4c38fb130f8f"),
    ]);
}

#[test]
fn names_and_copies() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    fill(&mut client);
    for name in ["list", "set", "zset", "hash"] {
        let digest = |client: &mut Client, key: &str| {
            let lines = dump(client);
            let prefix = format!("\"{key}\" ");
            let line = lines
                .iter()
                .find_map(|line| line[2..].strip_prefix(&prefix));
            line.unwrap_or_else(|| panic!("there is no {key}"))
                .to_owned()
        };
        let big = format!("{name}:big");
        let content = digest(&mut client, &big);
        client.check(&[
            (&format!("TYPE {big}"), &format!("+{name}")),
            (&format!("COPY {big} copy"), ":1"),
            (&format!("COPY {name} copy"), ":0"),
            (&format!("RENAME {big} renamed"), "+OK"),
        ]);
        assert_eq!(digest(&mut client, "renamed"), content);
        // A copy is not changed with what it is a copy of.
        client.check(&[(&format!("COPY {name} copy REPLACE"), ":1")]);
        let content = digest(&mut client, name);
        assert_eq!(digest(&mut client, "copy"), content);
        let change = match name {
            "list" => "RPUSH",
            "set" => "SADD",
            "zset" => "ZADD copy 1",
            _ => "HSET copy f",
        };
        let change = if change.contains(' ') {
            change.to_owned()
        } else {
            format!("{change} copy")
        };
        assert_eq!(client.line(&format!("{change} new"))[..1], *":");
        assert_eq!(digest(&mut client, name), content);
        client.check(&[
            ("RENAMENX renamed copy", ":0"),
            ("MOVE copy 1", ":1"),
            ("EXISTS copy", ":0"),
            ("SELECT 1", "+OK"),
            ("TYPE copy", &format!("+{name}")),
            ("TOUCH copy none", ":1"),
            ("DEL copy", ":1"),
            ("SELECT 0", "+OK"),
            ("UNLINK renamed", ":1"),
            (
                &format!("SCAN 0 TYPE {name} COUNT 1000 MATCH {name}"),
                &format!("[\"0\" [\"{name}\"]]"),
            ),
        ]);
    }
    client.check(&[
        ("SWAPDB 0 1", "+OK"),
        ("DBSIZE", ":0"),
        ("SWAPDB 0 1", "+OK"),
        ("DBSIZE", ":6"),
    ]);
    server.assert_replays();
}

#[test]
fn introspection() {
    let server = TestServer::start_with(&["--enable-debug-command", "yes"]);
    let mut client = server.connect();
    fill(&mut client);
    for (key, encoding) in [
        ("list", "listpack"),
        ("list:big", "quicklist"),
        ("numbers", "intset"),
        ("set:big", "hashtable"),
        ("zset:big", "skiplist"),
        ("scores", "listpack"),
        ("hash:big", "hashtable"),
    ] {
        let shown = client.line(&format!("OBJECT ENCODING {key}"));
        assert_eq!(shown, format!("\"{encoding}\""), "{key}");
        let line = client.line(&format!("DEBUG OBJECT {key}"));
        assert!(line.contains(&format!(" encoding:{encoding} ")), "{line}");
        let nodes = line.contains(" ql_nodes:") && line.contains(" ql_uncompressed_size:");
        assert_eq!(nodes, encoding == "quicklist", "{line}");
        let table = client.line(&format!("DEBUG HTSTATS-KEY {key}"));
        let has_table = matches!(encoding, "hashtable" | "skiplist");
        assert_eq!(
            table.contains("number of elements: 700"),
            has_table,
            "{table}"
        );
    }
    client.check(&[
        ("OBJECT REFCOUNT set:big", ":1"),
        ("DEBUG HTSTATS-KEY none", "-ERR no such key"),
        ("MEMORY USAGE none", "nil"),
        ("MEMORY USAGE set SAMPLES -1", "-ERR syntax error"),
    ]);
    assert!((0..60).contains(&client.integer("OBJECT IDLETIME set:big")));
    for name in ["list", "set", "zset", "hash"] {
        let small = client.integer(&format!("MEMORY USAGE {name}"));
        let big = client.integer(&format!("MEMORY USAGE {name}:big SAMPLES 0"));
        assert!(small > 20 && big > 700 * 8, "{name}: {small} and {big}");
        let sampled = client.integer(&format!("MEMORY USAGE {name}:big SAMPLES 3"));
        assert_eq!(sampled, big, "the figure is exact");
    }
}

/// Objects freed by the background thread so far.
fn freed(client: &mut Client) -> i64 {
    let began = Instant::now();
    loop {
        let info = client.run(&["INFO", "memory"]);
        let text = String::from_utf8_lossy(info.as_bytes().expect("text")).into_owned();
        let field = |name: &str| -> i64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.expect("the field").trim().parse().expect("a number")
        };
        if field("lazyfree_pending_objects:") == 0 {
            return field("lazyfreed_objects:");
        }
        assert!(
            began.elapsed() < super::harness::PATIENCE,
            "nothing is freed"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn big_values_are_freed_where_the_parameters_say() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    let members: String = (0..200).map(|n| format!(" m{n}")).collect();
    let fill = format!("SADD big{members}");
    for (parameter, command, always) in [
        ("lazyfree-lazy-user-del", "DEL big", false),
        ("lazyfree-lazy-user-del", "UNLINK big", true),
        ("lazyfree-lazy-server-del", "SET big x", false),
        ("lazyfree-lazy-server-del", "RENAME other big", false),
        ("lazyfree-lazy-server-del", "SPOP big 200", false),
        ("lazyfree-lazy-expire", "PEXPIRE big -1", false),
        ("lazyfree-lazy-user-flush", "FLUSHALL", false),
    ] {
        for lazily in ["yes", "no"] {
            client.line("FLUSHALL SYNC");
            client.line("SET other x");
            client.line(&fill);
            client.line(&format!("CONFIG SET {parameter} {lazily}"));
            let before = freed(&mut client);
            client.line(command);
            let more = freed(&mut client) - before;
            let expected = always || lazily == "yes";
            assert_eq!(more > 0, expected, "{command} with {parameter} {lazily}");
        }
        client.line(&format!("CONFIG SET {parameter} yes"));
    }
    // A small one is never worth the way to another thread.
    client.line("SADD small a b c");
    let before = freed(&mut client);
    client.line("UNLINK small");
    assert_eq!(freed(&mut client), before);
}
