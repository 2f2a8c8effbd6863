//! INFO keysizes: exact after every command, in every way that keys come, change and go.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::harness::{Client, TestServer};
use super::random::Random;

/// Generous: only a defect waits so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// The lines of the section, without the head.
fn sizes(client: &mut Client) -> String {
    let reply = client.run(&["INFO", "keysizes"]);
    let text = String::from_utf8_lossy(reply.as_bytes().expect("text")).into_owned();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("# Keysizes"));
    lines.collect::<Vec<_>>().join(" ")
}

/// The fields by elements, or by bytes of strings.
fn without_memory(client: &mut Client) -> String {
    let all = sizes(client);
    let is_memory = |line: &&str| line.contains("s_sizes:") && !line.contains("strings_sizes:");
    let lines: Vec<&str> = all.split(' ').filter(|line| !is_memory(line)).collect();
    lines.join(" ")
}

/// `db0_STR:1=2` stands for `db0_distrib_strings_sizes:1=2`, and so on.
fn long(short: &str) -> String {
    short
        .replace("STR", "distrib_strings_sizes")
        .replace("LIST", "distrib_lists_items")
        .replace("ZSET", "distrib_zsets_items")
        .replace("_SET", "_distrib_sets_items")
        .replace("HASH", "distrib_hashes_items")
}

/// Runs each command and compares the section.
fn check(client: &mut Client, steps: &[(&str, &str)]) {
    for (command, expected) in steps {
        let reply = client.line(command);
        assert!(!reply.starts_with('-'), "{command}: {reply}");
        assert_eq!(without_memory(client), long(expected), "after {command}");
    }
}

fn wait_for(client: &mut Client, expected: &str) {
    let until = Instant::now() + PATIENCE;
    while without_memory(client) != long(expected) {
        assert!(Instant::now() < until, "still {}", sizes(client));
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn label(size: i64) -> String {
    let power = match size {
        0 => 0,
        size => 1_i64 << size.ilog2(),
    };
    match power {
        1024.. => format!("{}K", power / 1024),
        power => power.to_string(),
    }
}

/// The section as it has to be, counted key by key.
fn counted(client: &mut Client, databases: u32) -> String {
    const KINDS: [(&str, &str, &str); 5] = [
        ("string", "STRLEN", "strings_sizes"),
        ("list", "LLEN", "lists_items"),
        ("set", "SCARD", "sets_items"),
        ("zset", "ZCARD", "zsets_items"),
        ("hash", "HLEN", "hashes_items"),
    ];
    let mut lines = Vec::new();
    for db in 0..databases {
        client.line(&format!("SELECT {db}"));
        let keys = client.run(&["KEYS", "*"]);
        let keys = keys.as_elements().expect("an array").to_vec();
        for (kind, len, name) in KINDS {
            let mut bins: BTreeMap<i64, u64> = BTreeMap::new();
            for key in &keys {
                let key = String::from_utf8_lossy(key.as_bytes().expect("text")).into_owned();
                if client.line(&format!("TYPE {key}")) == format!("+{kind}") {
                    let size = client.integer(&format!("{len} {key}"));
                    *bins
                        .entry(size.checked_ilog2().map_or(-1, i64::from))
                        .or_default() += 1;
                }
            }
            let bins: Vec<String> = bins
                .iter()
                .map(|(bits, count)| {
                    let size = if *bits < 0 { 0 } else { 1 << bits };
                    format!("{}={count}", label(size))
                })
                .collect();
            if !bins.is_empty() {
                lines.push(format!("db{db}_distrib_{name}:{}", bins.join(",")));
            }
        }
    }
    client.line("SELECT 0");
    lines.join(" ")
}

#[test]
fn the_section_is_a_default_one() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.check(&[
        ("SET a abc", "+OK"),
        ("SELECT 3", "+OK"),
        ("SET b ''", "+OK"),
    ]);
    let line = "# Keysizes\r\ndb0_distrib_strings_sizes:2=1\r\n";
    for request in [
        &["INFO"][..],
        &["INFO", "all"],
        &["INFO", "everything"],
        &["INFO", "default"],
    ] {
        let reply = client.run(request);
        let text = String::from_utf8_lossy(reply.as_bytes().expect("text")).into_owned();
        assert!(text.contains(line), "{request:?}");
        assert!(text.find("# Keyspace") < text.find("# Keysizes"));
    }
    let reply = client.run(&["INFO", "KEYSIZES"]);
    assert_eq!(
        String::from_utf8_lossy(reply.as_bytes().expect("text")),
        "# Keysizes\r\ndb0_distrib_strings_sizes:2=1\r\ndb3_distrib_strings_sizes:0=1\r\n"
    );
}

#[test]
fn strings_are_counted_by_their_bytes() {
    let server = TestServer::start();
    let mut client = server.connect();
    check(
        &mut client,
        &[
            ("SET s 0123456789ABCDEF", "db0_STR:16=1"),
            ("APPEND s 0123456789ABCDEF", "db0_STR:32=1"),
            ("SETRANGE s 200000 v", "db0_STR:128K=1"),
            ("SETRANGE s 3000000 v", "db0_STR:2M=1"),
            ("SET s 842", "db0_STR:2=1"),
            ("SET s 1234567", "db0_STR:4=1"),
            ("INCRBY s 90000000", "db0_STR:8=1"),
            ("INCRBYFLOAT s 0.5", "db0_STR:8=1"),
            ("DECR n", "db0_STR:2=1,8=1"),
            ("MSET a 1 b 2 c -3", "db0_STR:1=2,2=2,8=1"),
            ("GETDEL a", "db0_STR:1=1,2=2,8=1"),
            ("FLUSHALL", ""),
            ("SETBIT b 72 1", "db0_STR:8=1"),
            ("SETBIT b 640 0", "db0_STR:64=1"),
            ("BITFIELD f SET u8 1000 255", "db0_STR:64=2"),
            ("BITOP OR o b f", "db0_STR:64=3"),
            ("BITOP AND o none1 none2", "db0_STR:64=2"),
            ("FLUSHDB", ""),
            ("PFADD h a b c d e f g h i j k l m", "db0_STR:32=1"),
            ("PFMERGE g h", "db0_STR:32=2"),
            ("SET h 1234567", "db0_STR:4=1,32=1"),
            ("RENAME g h", "db0_STR:32=1"),
            ("UNLINK h", ""),
        ],
    );
}

#[test]
fn collections_are_counted_by_their_elements() {
    let server = TestServer::start();
    let mut client = server.connect();
    check(
        &mut client,
        &[
            ("RPUSH l 1 2 3 4 5", "db0_LIST:4=1"),
            ("RPUSH l 6 7 8", "db0_LIST:8=1"),
            ("LMOVE l m LEFT LEFT", "db0_LIST:1=1,4=1"),
            ("BLMOVE l m RIGHT LEFT 0", "db0_LIST:2=1,4=1"),
            ("LTRIM l 0 0", "db0_LIST:1=1,2=1"),
            ("LREM l 0 2", "db0_LIST:2=1"),
            ("LMPOP 1 m LEFT COUNT 5", ""),
            ("SADD s a b c d", "db0_SET:4=1"),
            ("SMOVE s t a", "db0_SET:1=1,2=1"),
            ("SUNIONSTORE u s t", "db0_SET:1=1,2=1,4=1"),
            ("SPOP u 4", "db0_SET:1=1,2=1"),
            ("SDIFFSTORE s s s", "db0_SET:1=1"),
            ("DEL t", ""),
            ("ZADD z 1 a 2 b 3 c 4 d", "db0_ZSET:4=1"),
            ("ZRANGESTORE y z 0 1", "db0_ZSET:2=1,4=1"),
            ("ZREMRANGEBYRANK z 0 1", "db0_ZSET:2=2"),
            ("GEOADD z 13 38 p", "db0_ZSET:2=2"),
            ("BZPOPMIN y 0", "db0_ZSET:1=1,2=1"),
            ("DEL y z", ""),
            ("HSET h a 1 b 2", "db0_HASH:2=1"),
            ("HINCRBY h c 1", "db0_HASH:2=1"),
            ("HSETEX h FIELDS 1 d 1", "db0_HASH:4=1"),
            ("HPEXPIREAT h 1 FIELDS 1 d", "db0_HASH:2=1"),
            ("HGETDEL h FIELDS 3 a b c", ""),
            ("XADD x 1-1 a b", ""),
            ("COPY x y", ""),
            ("SET x 1", "db0_STR:1=1"),
            ("LPUSH l a b c", "db0_STR:1=1 db0_LIST:2=1"),
            ("SORT l ALPHA STORE x", "db0_LIST:2=2"),
            ("COPY l k", "db0_LIST:2=3"),
            ("MOVE k 1", "db0_LIST:2=2 db1_LIST:2=1"),
            ("SWAPDB 0 1", "db0_LIST:2=1 db1_LIST:2=2"),
            ("FLUSHDB", "db1_LIST:2=2"),
        ],
    );
    client.check(&[("HSET h a 1 b 2 c 3 d 4", ":4")]);
    let steps = [
        ("HPEXPIRE h 20 FIELDS 3 a b c", "db0_HASH:1=1 db1_LIST:2=2"),
        ("PEXPIRE h 20", "db1_LIST:2=2"),
    ];
    for (command, expected) in steps {
        client.line(command);
        wait_for(&mut client, expected);
    }
}

#[test]
fn what_a_script_undoes_is_counted_back() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.check(&[("CONFIG SET script-rollback yes", "+OK")]);
    let words: Vec<String> = (0..600).map(|i| format!("f{i} v{i}")).collect();
    client.line(&format!("HSET big {}", words.join(" ")));
    client.line("RPUSH l a b");
    let before = sizes(&mut client);
    let script = "redis.call('hset', 'big', 'x', 1) redis.call('hdel', 'big', 'f1', 'f2') \
        redis.call('del', 'l') redis.call('set', 's', 'abc') redis.call('rename', 'big', 'other') \
        redis.call('flushall') redis.call('rpush', 'l', 1, 2, 3, 4, 5) return redis.error_reply('no')";
    let reply = client.line(&format!("EVAL \"{script}\" 0"));
    assert!(reply.starts_with('-'), "{reply}");
    assert_eq!(sizes(&mut client), before);
    assert_eq!(sizes(&mut client), counted(&mut client, 2));
}

/// One random command on few keys of all types.
fn command(random: &mut Random) -> String {
    let key = |random: &mut Random| format!("k{}", random.below(12));
    let (a, b) = (key(random), key(random));
    let n = random.below(40);
    match random.below(30) {
        0 => {
            format!("SET {a} {}", "v".repeat(n as usize))
                .trim_end()
                .to_owned()
                + "x"
        }
        1 => format!("APPEND {a} {}", "w".repeat(n as usize + 1)),
        2 => format!("SETRANGE {a} {} tail", n * 300),
        3 => format!("INCRBY {a} {}", n * 1000),
        4 => format!("RPUSH {a} {}", vec!["e"; n as usize + 1].join(" ")),
        5 => format!("LTRIM {a} 0 {n}"),
        6 => format!("LMOVE {a} {b} LEFT RIGHT"),
        7 => format!("SADD {a} {n} m{n} l{}", "o".repeat(n as usize * 3)),
        8 => format!("SPOP {a} {}", n / 4),
        9 => format!("SUNIONSTORE {a} {b} {}", key(random)),
        10 => format!("ZADD {a} {n} m{n} 1 l{}", "o".repeat(n as usize * 3)),
        11 => format!("ZREMRANGEBYSCORE {a} {} {n}", n / 2),
        12 => format!("ZUNIONSTORE {a} 2 {b} {}", key(random)),
        13 => format!("HSET {a} f{n} {} g 1", "v".repeat(n as usize * 3 + 1)),
        14 => format!("HDEL {a} f{n} f{} g", n / 2),
        15 => format!("HPEXPIREAT {a} 1 FIELDS 1 f{n}"),
        16 => format!("XADD {a} * f v"),
        17 => format!("RENAME {a} {b}"),
        18 => format!("COPY {a} {b} REPLACE"),
        19 => format!("COPY {a} {b} DB 1 REPLACE"),
        20 => format!("MOVE {a} 1"),
        21 => "SWAPDB 0 1".to_owned(),
        22 => format!("PEXPIREAT {a} {}", n % 2 * 9_000_000_000_000),
        23 => format!("DEL {a} {b}"),
        24 => format!("PERSIST {a}"),
        25 => format!("GETEX {a} EX 100000"),
        26 => format!("SORT {a} ALPHA STORE {b}"),
        27 if n == 0 => "FLUSHDB".to_owned(),
        28 => format!("SETBIT {a} {} 1", n * 100),
        _ => format!("PFADD {a} {n} x{n}"),
    }
}

#[test]
fn random_commands_keep_the_counts_exact() {
    let mut server = TestServer::start_with(&[
        "--key-memory-histograms",
        "yes",
        "--enable-debug-command",
        "yes",
        "--hash-max-listpack-entries",
        "4",
        "--zset-max-listpack-entries",
        "4",
    ]);
    let mut client = server.connect();
    let seed = Random::seed();
    println!("LODESTORE_TEST_SEED={seed}");
    let mut random = Random::new(seed);
    for round in 0..12 {
        for _ in 0..80 {
            let line = command(&mut random);
            match random.below(8) {
                0 => drop(client.line("MULTI")),
                1 => drop(client.line("EXEC")),
                _ => {}
            }
            client.line(&line);
        }
        client.line("EXEC");
        let expected = counted(&mut client, 2);
        assert_eq!(without_memory(&mut client), expected, "round {round}");
        if round == 5 {
            assert_eq!(client.line("DEBUG RELOAD"), "+OK");
            assert_eq!(without_memory(&mut client), expected);
        }
    }
    let all = sizes(&mut client);
    server.restart_with(&["--key-memory-histograms", "yes"]);
    let mut client = server.connect();
    assert_eq!(without_memory(&mut client), {
        let lines: Vec<&str> = all.split(' ').collect();
        let is_memory = |line: &&str| line.contains("s_sizes:") && !line.contains("strings_sizes:");
        lines
            .into_iter()
            .filter(|line| !is_memory(line))
            .collect::<Vec<_>>()
            .join(" ")
    });
    // Key by key: what was counted wrong stays.
    for db in 0..2 {
        client.line(&format!("SELECT {db}"));
        for key in 0..12 {
            client.line(&format!("DEL k{key}"));
        }
    }
    assert_eq!(sizes(&mut client), "");
}

#[test]
fn memory_of_collections_is_counted_on_request() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.line("RPUSH l a b c");
    assert!(!sizes(&mut client).contains("lists_sizes"));
    client.check(&[
        ("CONFIG SET key-memory-histograms yes", "+OK"),
        ("SADD s a", ":1"),
        ("ZADD z 1 a", ":1"),
        ("HSET h a 1", ":1"),
        ("SET str abc", "+OK"),
    ]);
    let small = sizes(&mut client);
    for name in ["lists_sizes", "sets_sizes", "zsets_sizes", "hashes_sizes"] {
        assert!(small.contains(&format!("db0_distrib_{name}:")), "{small}");
    }
    let field = |text: &str| {
        let mut lines = text.split(' ');
        lines
            .find(|line| line.contains("hashes_sizes"))
            .map(str::to_owned)
    };
    client.line(&format!("HSET h b {}", "v".repeat(5000)));
    let bytes = client.integer("MEMORY USAGE h");
    assert_eq!(
        field(&sizes(&mut client)),
        Some(format!("db0_distrib_hashes_sizes:{}=1", label(bytes)))
    );
    client.check(&[("DEL h", ":1")]);
    assert_eq!(field(&sizes(&mut client)), None);
    client.check(&[("CONFIG SET key-memory-histograms no", "+OK")]);
    assert!(!sizes(&mut client).contains("lists_sizes"));
}

#[test]
fn evicted_keys_are_counted_out() {
    let server = TestServer::start_with(&["--maxmemory-policy", "allkeys-random"]);
    let mut client = server.connect();
    for i in 0..3000 {
        client.line(&format!("SET k{i} {}", "v".repeat(1000)));
    }
    client.line("CONFIG SET maxmemory 1");
    let until = Instant::now() + PATIENCE;
    while client.integer("DBSIZE") > 1000 {
        assert!(Instant::now() < until, "nothing is evicted");
        client.line("SET k 1");
    }
    client.line("CONFIG SET maxmemory 0");
    let expected = counted(&mut client, 1);
    assert_eq!(sizes(&mut client), expected);
}
