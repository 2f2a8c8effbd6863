//! Deadlines of single elements: fields of hashes, members of sets and of sorted sets.

use std::time::{Duration, Instant};

use resp::Value;

use super::harness::{Client, TestServer, dump};

const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const SYNTAX: &str = "-ERR syntax error";
const WRONGTYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

/// How long what happens by itself may take.
const PATIENCE: Duration = super::harness::PATIENCE;

/// One of the three types. In the lines of these tests `@` stands for the first letter of its
/// commands, `LIST` for the word before elements.
struct Kind {
    letter: &'static str,
    list: &'static str,
    counted: &'static str,
    /// Makes a key with the elements a, b and c.
    make: &'static str,
    /// Removes elements.
    remove: &'static str,
    /// Counts elements.
    len: &'static str,
    type_name: &'static str,
}

const KINDS: [Kind; 3] = [
    Kind {
        letter: "H",
        list: "FIELDS",
        counted: "fields",
        make: "HSET k a 1 b 2 c 3",
        remove: "HDEL",
        len: "HLEN",
        type_name: "+hash",
    },
    Kind {
        letter: "S",
        list: "MEMBERS",
        counted: "members",
        make: "SADD k a b c",
        remove: "SREM",
        len: "SCARD",
        type_name: "+set",
    },
    Kind {
        letter: "Z",
        list: "MEMBERS",
        counted: "members",
        make: "ZADD k 1 a 2 b 3 c",
        remove: "ZREM",
        len: "ZCARD",
        type_name: "+zset",
    },
];

impl Kind {
    fn words(&self, line: &str) -> String {
        line.replace('@', self.letter)
            .replace("LIST", self.list)
            .replace("REMOVE", self.remove)
            .replace("LEN", self.len)
    }

    fn check(&self, client: &mut Client, expected: &[(&str, &str)]) {
        for (line, reply) in expected {
            let line = self.words(line);
            assert_eq!(client.line(&line), self.words(reply), "reply to {line}");
        }
    }

    fn run(&self, client: &mut Client, line: &str) -> String {
        client.line(&self.words(line))
    }
}

/// Waits until a request is answered so.
fn wait_for(client: &mut Client, line: &str, reply: &str) {
    let began = Instant::now();
    loop {
        let found = client.line(line);
        if found == reply {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{line} still answers {found}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn info(client: &mut Client, section: &str, field: &str) -> i64 {
    let Value::Bulk(text) = client.run(&["INFO", section]) else {
        panic!("INFO answers a string");
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{field}:")))
        .expect("the field");
    line.parse().expect("a number")
}

#[test]
fn deadlines_are_set_and_told() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    for kind in &KINDS {
        client.line("FLUSHALL");
        client.line(kind.make);
        kind.check(
            &mut client,
            &[
                ("@TTL k LIST 2 a none", "[:-1 :-2]"),
                ("@EXPIRE k 100 LIST 3 a none b", "[:1 :-2 :1]"),
                ("@TTL k LIST 3 a b c", "[:100 :100 :-1]"),
                ("@PEXPIRE k 200000 LIST 1 b", "[:1]"),
                ("@TTL k LIST 1 b", "[:200]"),
                ("@EXPIREAT k 9999999999 LIST 1 b", "[:1]"),
                ("@EXPIRETIME k LIST 2 b c", "[:9999999999 :-1]"),
                ("@PEXPIREAT k 9999999999600 LIST 1 b", "[:1]"),
                ("@PEXPIRETIME k LIST 1 b", "[:9999999999600]"),
                ("@EXPIRETIME k LIST 1 b", "[:10000000000]"),
                ("@PERSIST k LIST 3 b c none", "[:1 :-1 :-2]"),
                ("@TTL k LIST 1 b", "[:-1]"),
                ("@EXPIRE none 10 LIST 2 a b", "[:-2 :-2]"),
                ("@TTL none LIST 2 a b", "[:-2 :-2]"),
                ("@PTTL none LIST 1 a", "[:-2]"),
                ("@PERSIST none LIST 1 a", "[:-2]"),
                ("EXISTS none", ":0"),
                ("LEN k", ":3"),
                ("@PEXPIREAT k 9223372036854775807 LIST 1 a", "[:1]"),
                ("@PEXPIRETIME k LIST 1 a", "[:9223372036854775807]"),
            ],
        );
        let left = kind.run(&mut client, "@PTTL k LIST 1 a");
        assert!(left.len() > 15, "{left}");
    }
}

#[test]
fn conditions() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    for kind in &KINDS {
        client.line("FLUSHALL");
        client.line(kind.make);
        kind.check(
            &mut client,
            &[
                ("@EXPIRE k 100 XX LIST 1 a", "[:0]"),
                ("@EXPIRE k 100 GT LIST 1 a", "[:0]"),
                ("@EXPIRE k 100 NX LIST 2 a none", "[:1 :-2]"),
                ("@EXPIRE k 200 NX LIST 2 a b", "[:0 :1]"),
                ("@EXPIRE k 50 GT LIST 1 a", "[:0]"),
                ("@EXPIRE k 150 GT LIST 1 a", "[:1]"),
                ("@EXPIRE k 160 LT LIST 3 a b c", "[:0 :1 :1]"),
                ("@EXPIRE k 140 XX LT LIST 2 a b", "[:1 :1]"),
                ("@TTL k LIST 3 a b c", "[:140 :140 :160]"),
                ("@EXPIRE k 200 LIST 1 a NX", "[:0]"),
                (
                    "@EXPIRE k 1 NX XX LIST 1 a",
                    "-ERR NX and XX, GT or LT options at the same time are not compatible",
                ),
                (
                    "@EXPIRE k 1 GT LT LIST 1 a",
                    "-ERR GT and LT options at the same time are not compatible",
                ),
                ("@EXPIRE k 1 WHAT LIST 1 a", "-ERR Unsupported option WHAT"),
                ("@EXPIREAT k 1 NX LIST 1 a", "[:0]"),
                ("@EXPIREAT k 1 GT LIST 1 a", "[:0]"),
                ("LEN k", ":3"),
                ("@EXPIREAT k 1 LT LIST 1 a", "[:2]"),
                ("LEN k", ":2"),
            ],
        );
    }
}

#[test]
fn requests_that_make_no_sense() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    for kind in &KINDS {
        client.line("FLUSHALL");
        client.line(kind.make);
        client.line("SET s v");
        let miscounted = format!(
            "-ERR num{0} should be greater than 0 and match the provided number of {0}",
            kind.counted
        );
        for line in [
            "@EXPIRE k 10 LIST 0 a",
            "@EXPIRE k 10 LIST 2 a",
            "@EXPIRE k 10 LIST 1 a b",
            "@EXPIRE k 10 LIST -1 a",
            "@EXPIRE k 10 NX a b",
            "@EXPIRE k x LIST 2 a",
            "@PERSIST k LIST 0 a",
            "@PERSIST k LIST 2 a",
        ] {
            assert_eq!(kind.run(&mut client, line), miscounted, "{line}");
        }
        for (line, reply) in [
            ("@EXPIRE k 10 LIST x a", NOT_INTEGER),
            ("@EXPIRE k x LIST 1 a", NOT_INTEGER),
            ("@EXPIRE s x LIST 1 a", NOT_INTEGER),
            ("@EXPIRE s 10 LIST 1 a", WRONGTYPE),
            ("@TTL s LIST 1 a", WRONGTYPE),
            ("@PERSIST s LIST 1 a", WRONGTYPE),
            ("@TTL k WHAT 1 a", SYNTAX),
            ("@TTL k LIST 2 a", SYNTAX),
            ("@TTL k LIST x a", NOT_INTEGER),
            ("@PERSIST k WHAT 1 a", SYNTAX),
            ("@PERSIST k LIST x a", NOT_INTEGER),
        ] {
            assert_eq!(kind.run(&mut client, line), reply, "{line}");
        }
        for name in ["EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"] {
            let name = format!("{}{name}", kind.letter);
            let invalid = format!(
                "-ERR invalid expire time in '{}' command",
                name.to_ascii_lowercase()
            );
            let line = format!("{name} k -1 {} 1 a", kind.list);
            assert_eq!(client.line(&line), invalid);
            if name.ends_with("AT") && name.starts_with(&format!("{}P", kind.letter)) {
                continue;
            }
            let line = format!("{name} k 9223372036854775807 {} 1 a", kind.list);
            assert_eq!(client.line(&line), invalid);
        }
        kind.check(
            &mut client,
            &[("LEN k", ":3"), ("@TTL k LIST 1 a", "[:-1]")],
        );
    }
}

#[test]
fn a_deadline_in_the_past_removes_at_once() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    for kind in &KINDS {
        client.line("FLUSHALL");
        client.line("CONFIG RESETSTAT");
        client.line(kind.make);
        kind.check(
            &mut client,
            &[
                ("@EXPIRE k 0 LIST 3 a none a", "[:2 :-2 :-2]"),
                ("LEN k", ":2"),
                ("@EXPIREAT k 1 LIST 2 b c", "[:2 :2]"),
                ("EXISTS k", ":0"),
            ],
        );
        assert_eq!(info(&mut client, "stats", "expired_fields"), 3);
    }
    server.assert_replays();
}

#[test]
fn elements_go_without_being_asked_for() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    for kind in &KINDS {
        client.line("FLUSHALL");
        client.line("CONFIG RESETSTAT");
        client.line(kind.make);
        kind.check(
            &mut client,
            &[
                ("@PEXPIRE k 20 LIST 1 a", "[:1]"),
                ("@PEXPIRE k 40 LIST 2 b c", "[:1 :1]"),
            ],
        );
        // DBSIZE looks at no key.
        wait_for(&mut client, "DBSIZE", ":0");
        assert_eq!(info(&mut client, "stats", "expired_fields"), 3);
        assert_eq!(client.line("TYPE k"), "+none");
    }
    // What is left of the log is complete without anything expiring while it is loaded.
    server.assert_replays();
}

#[test]
fn elements_that_are_over_are_seen_by_nobody() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("HSET h a 1 b 2", ":2"),
        ("SADD s a b", ":2"),
        ("ZADD z 1 a 2 b", ":2"),
        ("HPEXPIRE h 30 FIELDS 1 a", "[:1]"),
        ("SPEXPIRE s 30 MEMBERS 1 a", "[:1]"),
        ("ZPEXPIRE z 30 MEMBERS 1 a", "[:1]"),
    ]);
    std::thread::sleep(Duration::from_millis(60));
    client.check(&[
        ("HGETALL h", "[\"b\" \"2\"]"),
        ("HEXISTS h a", ":0"),
        ("HTTL h FIELDS 1 a", "[:-2]"),
        ("SMEMBERS s", "[\"b\"]"),
        ("SISMEMBER s a", ":0"),
        ("STTL s MEMBERS 1 a", "[:-2]"),
        ("ZRANGE z 0 -1", "[\"b\"]"),
        ("ZSCORE z a", "nil"),
        ("ZTTL z MEMBERS 1 a", "[:-2]"),
        ("HSET h a 3", ":1"),
        ("HTTL h FIELDS 1 a", "[:-1]"),
    ]);
    server.assert_replays();
}

#[test]
fn many_fields_at_once() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    for round in 0..20 {
        let mut words = vec!["HSETEX".to_owned(), format!("h:{}", round % 5)];
        words.extend(["PX", "300", "FIELDS", "500"].map(str::to_owned));
        for number in 0..500 {
            words.push(format!("f:{round}:{number}"));
            words.push(number.to_string());
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(client.run(&words), Value::Integer(1));
    }
    client.line("HSET h:0 stays 1");
    wait_for(&mut client, "DBSIZE", ":1");
    wait_for(&mut client, "HLEN h:0", ":1");
    assert_eq!(info(&mut client, "stats", "expired_fields"), 10_000);
    server.assert_replays();
}

#[test]
fn writes_and_deadlines_of_fields() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("HSETEX h EX 100 FIELDS 4 a 1 b 2 c 3 d 4", ":1"),
        ("HSET h a 5", ":0"),
        ("HTTL h FIELDS 1 a", "[:-1]"),
        ("HINCRBY h b 1", ":3"),
        ("HTTL h FIELDS 1 b", "[:100]"),
        ("HINCRBYFLOAT h c 0.5", "\"3.5\""),
        ("HTTL h FIELDS 1 c", "[:100]"),
        ("HSETNX h d 1", ":0"),
        ("HTTL h FIELDS 1 d", "[:100]"),
        ("HDEL h d", ":1"),
        ("HSET h d 1", ":1"),
        ("HTTL h FIELDS 1 d", "[:-1]"),
        ("HMSET h b 1", "+OK"),
        ("HTTL h FIELDS 1 b", "[:-1]"),
        ("PERSIST h", ":0"),
        ("HTTL h FIELDS 1 c", "[:100]"),
    ]);
    server.assert_replays();
}

#[test]
fn deadlines_move_with_their_key() {
    let mut server = TestServer::start_with(&["--enable-debug-command", "yes"]);
    let mut client = server.connect();
    for kind in &KINDS {
        client.line("FLUSHALL");
        client.line(kind.make);
        let at = "[:99999999999000 :-1]";
        kind.check(
            &mut client,
            &[
                ("@PEXPIREAT k 99999999999000 LIST 1 a", "[:1]"),
                ("COPY k copy", ":1"),
                ("@PEXPIRETIME copy LIST 2 a b", at),
                ("@PERSIST copy LIST 1 a", "[:1]"),
                ("@PEXPIRETIME k LIST 2 a b", at),
                ("RENAME k renamed", "+OK"),
                ("@PEXPIRETIME renamed LIST 2 a b", at),
                ("MOVE renamed 1", ":1"),
                ("SELECT 1", "+OK"),
                ("@PEXPIRETIME renamed LIST 2 a b", at),
                ("SWAPDB 1 2", "+OK"),
                ("SELECT 2", "+OK"),
                ("@PEXPIRETIME renamed LIST 2 a b", at),
                ("DEBUG RELOAD", "+OK"),
                ("@PEXPIRETIME renamed LIST 2 a b", at),
                ("@PEXPIRE renamed 20 LIST 1 b", "[:1]"),
                ("COPY renamed second", ":1"),
                ("SELECT 0", "+OK"),
            ],
        );
        client.line("SELECT 2");
        wait_for(&mut client, &kind.words("LEN renamed"), ":2");
        wait_for(&mut client, &kind.words("LEN second"), ":2");
        client.line("SELECT 0");
        server.assert_replays();
    }
    let before = dump(&mut client);
    server.restart();
    assert_eq!(dump(&mut server.connect()), before);
}

#[test]
fn deadlines_that_pass_while_the_server_is_down() {
    let mut server = TestServer::start_twice();
    let mut client = server.connect();
    for kind in &KINDS {
        let make = kind.make.replacen(" k ", &format!(" {} ", kind.letter), 1);
        client.line(&make);
        let line = format!("{0}PEXPIRE {0} 60 {1} 2 a b", kind.letter, kind.list);
        assert_eq!(client.line(&line), "[:1 :1]");
    }
    server.kill();
    std::thread::sleep(Duration::from_millis(100));
    server.restart();
    let mut client = server.connect();
    for kind in &KINDS {
        wait_for(&mut client, &format!("{} {}", kind.len, kind.letter), ":1");
        assert_eq!(
            client.line(&format!("TYPE {}", kind.letter)),
            kind.type_name
        );
    }
}

#[test]
fn what_is_logged() {
    let server = TestServer::start_twice();
    for kind in &KINDS {
        server.connect().line("FLUSHALL");
        server.connect().line(kind.make);
        let logged = |commands: &[&str]| {
            let lines: Vec<String> = commands.iter().map(|line| kind.words(line)).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            server.logs_of(&lines).join("; ")
        };
        assert_eq!(
            logged(&[
                "@EXPIREAT k 9999999999 NX LIST 3 a none b",
                "@EXPIREAT k 9999999999 NX LIST 1 a",
                "@PEXPIREAT k 9999999999001 LIST 1 a",
            ]),
            kind.words(
                "@PEXPIREAT k 9999999999000 LIST 2 a b; @PEXPIREAT k 9999999999001 LIST 1 a"
            )
        );
        assert_eq!(
            logged(&["@PERSIST k LIST 2 a none", "@PERSIST k LIST 1 a"]),
            kind.words("@PERSIST k LIST 1 a")
        );
        assert_eq!(
            logged(&["@EXPIRE k 0 LIST 2 none a", "@EXPIRE k 0 LIST 1 a"]),
            kind.words("REMOVE k a")
        );
        let relative = logged(&["@EXPIRE k 1000 LIST 1 b"]);
        assert!(relative.starts_with(&kind.words("@PEXPIREAT k ")));
        assert!(relative.ends_with(&kind.words(" LIST 1 b")));
        let before = server.logged().len();
        kind.run(&mut server.connect(), "@PEXPIRE k 10 LIST 1 b");
        let mut client = server.connect();
        wait_for(&mut client, &kind.words("LEN k"), ":1");
        let added = server.logged().split_off(before + 1);
        assert_eq!(added, [kind.words("REMOVE k b")]);
    }
    server.assert_replays();
}

#[test]
fn watched_keys_change_with_their_elements() {
    let server = TestServer::start_twice();
    for kind in &KINDS {
        let mut client = server.connect();
        client.line("FLUSHALL");
        client.line(kind.make);
        kind.run(&mut client, "@PEXPIRE k 1000 LIST 1 a");
        client.check(&[("WATCH k", "+OK")]);
        wait_for(&mut server.connect(), &kind.words("LEN k"), ":2");
        client.check(&[("MULTI", "+OK"), ("PING", "+QUEUED"), ("EXEC", "nil-array")]);
        client.check(&[("WATCH k", "+OK")]);
        kind.run(&mut server.connect(), "@EXPIRE k 100 LIST 1 b");
        client.check(&[("MULTI", "+OK"), ("PING", "+QUEUED"), ("EXEC", "nil-array")]);
    }
}

#[test]
fn fields_stay_hidden_while_nothing_expires() {
    let server = TestServer::start_with(&["--enable-debug-command", "yes"]);
    let mut client = server.connect();
    client.check(&[
        ("DEBUG SET-ACTIVE-EXPIRE 0", "+OK"),
        ("CONFIG RESETSTAT", "+OK"),
        ("HSET h a 1 b 2 c 3 d 4 e 5 n 6", ":6"),
        ("HPEXPIRE h 1 FIELDS 5 a b c d n", "[:1 :1 :1 :1 :1]"),
    ]);
    std::thread::sleep(Duration::from_millis(20));
    client.check(&[
        ("HLEN h", ":6"),
        ("HGET h a", "nil"),
        ("HMGET h a e", "[nil \"5\"]"),
        ("HGETALL h", "[\"e\" \"5\"]"),
        ("HKEYS h", "[\"e\"]"),
        ("HVALS h", "[\"5\"]"),
        ("HEXISTS h a", ":0"),
        ("HSTRLEN h a", ":0"),
        ("HSCAN h 0", "[\"0\" [\"e\" \"5\"]]"),
        ("HRANDFIELD h 9", "[\"e\"]"),
        ("HTTL h FIELDS 1 a", "[:-2]"),
        ("HPERSIST h FIELDS 1 a", "[:-2]"),
        ("HEXPIRE h 100 FIELDS 1 a", "[:-2]"),
        ("HDEL h a", ":0"),
        ("HGETDEL h FIELDS 1 a", "[nil]"),
        ("HGETEX h EX 10 FIELDS 1 a", "[nil]"),
        ("HSET h a 7", ":1"),
        ("HTTL h FIELDS 1 a", "[:-1]"),
        ("HSETNX h b 8", ":1"),
        ("HSETEX h FNX KEEPTTL FIELDS 1 c 9", ":1"),
        ("HTTL h FIELDS 2 b c", "[:-1 :-1]"),
        ("HINCRBY h n 1", ":1"),
        ("HTTL h FIELDS 1 n", "[:-1]"),
        ("HSETEX h PX 0 FIELDS 1 d x", ":1"),
        ("HLEN h", ":5"),
    ]);
    assert_eq!(info(&mut client, "stats", "expired_fields"), 5);
    // All over: the hash is there and empty to look at.
    client.check(&[
        ("HSETEX gone PX 1 FIELDS 1 f v", ":1"),
        ("HSETEX kept PX 1 FIELDS 1 f v", ":1"),
    ]);
    std::thread::sleep(Duration::from_millis(20));
    client.check(&[
        ("EXISTS gone", ":1"),
        ("HGETALL gone", "[]"),
        ("HRANDFIELD gone", "nil"),
        ("HRANDFIELD gone -5", "[]"),
        ("HLEN gone", ":1"),
        ("DEBUG SET-ACTIVE-EXPIRE 1", "+OK"),
    ]);
    wait_for(&mut client, "DBSIZE", ":1");
    server.assert_replays();
}

#[test]
fn an_import_takes_fields_as_they_are() {
    let server = TestServer::start_twice();
    let mut source = server.connect();
    let mut client = server.connect();
    source.check(&[
        ("CONFIG SET import-mode yes", "+OK"),
        ("CLIENT IMPORT-SOURCE ON", "+OK"),
        // A deadline that has passed is set all the same.
        ("HSETEX h PXAT 1 FIELDS 2 a 1 b 2", ":1"),
        ("HSET h c 3", ":1"),
        ("HPEXPIREAT h 1 FIELDS 1 c", "[:1]"),
        ("HGET h a", "\"1\""),
        ("HPEXPIRETIME h FIELDS 1 c", "[:1]"),
        ("HSET h d 4", ":1"),
        ("HINCRBY h a 1", ":2"),
        ("HPEXPIRETIME h FIELDS 1 a", "[:1]"),
    ]);
    client.check(&[
        ("HGETALL h", "[\"d\" \"4\"]"),
        ("HGET h a", "nil"),
        ("HTTL h FIELDS 1 a", "[:-2]"),
        ("HLEN h", ":4"),
    ]);
    source.check(&[
        ("HDEL h b", ":1"),
        ("HLEN h", ":3"),
        ("CONFIG SET import-mode no", "+OK"),
    ]);
    wait_for(&mut client, "HLEN h", ":1");
    client.check(&[("HGETALL h", "[\"d\" \"4\"]")]);
    server.assert_replays();
}

#[test]
fn a_pause_removes_nothing() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("HSET h a 1 b 2", ":2"),
        ("SADD s a b", ":2"),
        ("MULTI", "+OK"),
        ("HPEXPIRE h 30 FIELDS 1 a", "+QUEUED"),
        ("SPEXPIRE s 30 MEMBERS 1 a", "+QUEUED"),
        ("CLIENT PAUSE 100000 WRITE", "+QUEUED"),
        ("EXEC", "[[:1] [:1] +OK]"),
    ]);
    std::thread::sleep(Duration::from_millis(60));
    client.check(&[
        ("HGETALL h", "[\"b\" \"2\"]"),
        ("HLEN h", ":2"),
        ("SCARD s", ":2"),
        ("SISMEMBER s a", ":1"),
        ("CLIENT UNPAUSE", "+OK"),
    ]);
    wait_for(&mut client, "HLEN h", ":1");
    wait_for(&mut client, "SCARD s", ":1");
    client.check(&[("SISMEMBER s a", ":0")]);
    server.assert_replays();
}

#[test]
fn writes_and_deadlines_of_members() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("SADD s a b c", ":3"),
        ("SEXPIRE s 100 MEMBERS 2 a b", "[:1 :1]"),
        ("SADD s a", ":0"),
        ("STTL s MEMBERS 3 a b c", "[:100 :100 :-1]"),
        ("SREM s a", ":1"),
        ("SADD s a", ":1"),
        ("STTL s MEMBERS 1 a", "[:-1]"),
        ("SMOVE s t b", ":1"),
        ("STTL t MEMBERS 1 b", "[:-1]"),
        ("ZADD z 1 a 2 b", ":2"),
        ("ZEXPIRE z 100 MEMBERS 2 a b", "[:1 :1]"),
        ("ZADD z 5 a", ":0"),
        ("ZINCRBY z 2 b", "\"4\""),
        ("ZTTL z MEMBERS 2 a b", "[:100 :100]"),
        ("ZRANGESTORE copy z 0 -1", ":2"),
        ("ZTTL copy MEMBERS 2 a b", "[:-1 :-1]"),
        ("ZREM z a", ":1"),
        ("ZADD z 1 a", ":1"),
        ("ZTTL z MEMBERS 2 a b", "[:-1 :100]"),
    ]);
    server.assert_replays();
}
