//! Undo of scripts and of MULTI ROLLBACK.

use resp::Value;

use super::super::harness::{Client, TestServer, dump, show};
use super::super::random::Random;
use super::{eval, wait_until};

/// Large forms begin early, so that journals are used.
const SMALL_FORMS: &[&str] = &[
    "--hash-max-listpack-entries",
    "3",
    "--set-max-intset-entries",
    "3",
    "--set-max-listpack-entries",
    "3",
    "--zset-max-listpack-entries",
    "3",
    "--list-max-listpack-size",
    "3",
    "--stream-node-max-entries",
    "3",
    "--enable-debug-command",
    "yes",
    "--notify-keyspace-events",
    "KEA",
];

fn start(more: &[&str]) -> TestServer {
    TestServer::start_with(&[SMALL_FORMS, more].concat())
}

fn rollbacks(client: &mut Client) -> i64 {
    let info = client.line("INFO stats");
    let (_, rest) = info.split_once("total_rollbacks:").expect("a field");
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

/// All that clients can see of the data, and what the log has.
fn state(server: &TestServer) -> (String, Vec<String>, usize, String) {
    let mut client = server.connect();
    let digest = client.line("DEBUG DIGEST");
    let keyspace = client.line("INFO keyspace");
    // Average times to live go down.
    let counts: Vec<&str> = keyspace.split(",avg_ttl").collect();
    let counts = counts.iter().map(|part| part.split("\\r\\n").last());
    let counts: Vec<String> = counts.map(|part| format!("{part:?}")).collect();
    (
        digest,
        dump(&mut client),
        server.logged().len(),
        counts.join(" "),
    )
}

#[test]
fn a_script_that_is_killed_leaves_nothing() {
    let server = start(&["--busy-reply-threshold", "20"]);
    let mut client = server.connect();
    client.check(&[("SET k whole", "+OK"), ("RPUSH l a b c d e", ":5")]);
    let before = state(&server);
    for end in [
        "while true do end",
        "while true do redis.pcall('incr', 'n') end",
    ] {
        let script = format!(
            "redis.call('set', KEYS[1], 'half') redis.call('lpop', 'l', 2) redis.call('select', 2)
             redis.call('set', 'other', 1) {end}"
        );
        let mut busy = server.connect();
        busy.send(&[b"EVAL", script.as_bytes(), b"1", b"k"]);
        wait_until(|| server.connect().line("SCRIPT KILL") == "+OK");
        let reply = show(&busy.read());
        assert!(
            reply.starts_with("-ERR Script killed by user with SCRIPT KILL."),
            "{reply}"
        );
        assert_eq!(state(&server), before);
        // The database that the script has selected is not that of the client.
        busy.check(&[("GET k", "\"whole\"")]);
    }
    assert_eq!(rollbacks(&mut client), 2);
    server.assert_replays();
}

#[test]
fn a_script_over_its_budget_leaves_nothing() {
    let server = start(&[
        "--script-max-milliseconds",
        "100",
        "--script-max-memory",
        "4mb",
    ]);
    let mut client = server.connect();
    client.check(&[("SET k whole EX 1000", "+OK"), ("SADD s a b c d e", ":5")]);
    let before = state(&server);
    for end in [
        "while true do end",
        "local t = {} for i = 1, 1e9 do t[i] = i end",
        "pcall(function() local s = 'x' while true do s = s .. s end end) return 1",
    ] {
        let script = format!("redis.call('del', 'k') redis.call('spop', 's') {end}");
        let reply = eval(&mut client, &script, &["k"], &[]);
        assert!(reply.starts_with("-ERR "), "{reply}");
        assert_eq!(state(&server), before, "{end}");
    }
    client.check(&[("INCR counter", ":1")]);
    server.assert_replays();
}

#[test]
fn errors_undo_scripts_on_request() {
    let server = start(&[]);
    let mut client = server.connect();
    const SCRIPT: &str = "redis.call('incr', KEYS[1]) redis.call('lpush', KEYS[1], 1)";
    const WRONG: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value script: on @user_script:1.";
    assert_eq!(eval(&mut client, SCRIPT, &["n"], &[]), WRONG);
    client.check(&[
        ("GET n", "\"1\""),
        ("CONFIG SET script-rollback yes", "+OK"),
    ]);
    assert_eq!(eval(&mut client, SCRIPT, &["n"], &[]), WRONG);
    client.check(&[("GET n", "\"1\"")]);
    for (script, reply, after) in [
        (
            "redis.call('incr', KEYS[1]) error('why')",
            "-ERR user_script:1: why",
            "\"1\"",
        ),
        (
            "redis.call('incr', KEYS[1]) return redis.error_reply('NO way')",
            "-NO way",
            "\"1\"",
        ),
        (
            "redis.call('incr', KEYS[1]) redis.pcall('nosuch') return 1",
            ":1",
            "\"2\"",
        ),
        (
            "redis.call('incr', KEYS[1]) return redis.pcall('nosuch')",
            "-ERR Unknown",
            "\"2\"",
        ),
    ] {
        let given = eval(&mut client, script, &["n"], &[]);
        assert!(given.starts_with(reply), "{script}: {given}");
        client.check(&[("GET n", after)]);
    }
    // In a transaction the script alone is undone.
    client.check(&[("MULTI", "+OK"), ("INCR n", "+QUEUED")]);
    assert_eq!(eval(&mut client, SCRIPT, &["n"], &[]), "+QUEUED");
    client.check(&[("INCR n", "+QUEUED")]);
    let reply = client.line("EXEC");
    assert!(
        reply.starts_with("[:3 -WRONGTYPE") && reply.ends_with(" :4]"),
        "{reply}"
    );
    server.assert_replays();
}

#[test]
fn multi_rollback_does_all_or_nothing() {
    let server = start(&[]);
    for mut client in [server.connect(), server.connect_resp3()] {
        client.check(&[
            ("FLUSHALL", "+OK"),
            ("MULTI ROLLBACK", "+OK"),
            ("SET a 1", "+QUEUED"),
            ("INCR a", "+QUEUED"),
            ("EXEC", "[+OK :2]"),
            ("MULTI rollback", "+OK"),
            ("SELECT 1", "+QUEUED"),
            ("SET b 1", "+QUEUED"),
            ("SELECT 0", "+QUEUED"),
            ("DEL a", "+QUEUED"),
            ("LPUSH l 1 2 3 4 5 6", "+QUEUED"),
            ("INCR l", "+QUEUED"),
            ("SET never 1", "+QUEUED"),
            (
                "EXEC",
                "-EXECABORT Transaction rolled back because command 6 ('incr') failed: WRONGTYPE Operation against a key \
                 holding the wrong kind of value",
            ),
            ("GET a", "\"2\""),
            ("EXISTS l never", ":0"),
            ("DBSIZE", ":1"),
            ("MULTI ROLLBACK", "+OK"),
            ("SELECT 1", "+QUEUED"),
            ("SET a 5", "+QUEUED"),
            ("GETEX a PX x", "+QUEUED"),
        ]);
        let reply = client.line("EXEC");
        assert!(
            reply.starts_with(
                "-EXECABORT Transaction rolled back because command 3 ('getex') failed: ERR "
            ),
            "{reply}"
        );
        // The selected database is that of before.
        client.check(&[
            ("GET a", "\"2\""),
            ("MULTI ROLLBACK", "+OK"),
            ("INCR a", "+QUEUED"),
            ("DISCARD", "+OK"),
            ("MULTI x", "-ERR wrong number of arguments for 'multi' command"),
            ("MULTI ROLLBACK x", "-ERR wrong number of arguments for 'multi' command"),
            ("MULTI ROLLBACK", "+OK"),
            (
                "CONFIG SET maxmemory 0",
                "-ERR Command 'config|set' cannot be undone and is not allowed inside of MULTI ROLLBACK",
            ),
            ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
            ("WATCH a", "+OK"),
            ("SET a 3", "+OK"),
            ("MULTI ROLLBACK", "+OK"),
            ("INCR a", "+QUEUED"),
        ]);
        let reply = client.line("EXEC");
        assert!(reply == "nil-array" || reply == "null", "{reply}");
    }
    server.assert_replays();
}

#[test]
fn scripts_are_a_part_of_multi_rollback() {
    let server = start(&[]);
    let mut client = server.connect();
    client.check(&[
        ("ZADD z 1 a 2 b 3 c 4 d 5 e", ":5"),
        ("MULTI ROLLBACK", "+OK"),
    ]);
    let scripts = [
        "redis.call('zadd', 'z', 9, 'a') redis.call('xadd', 's', '*', 'f', 'v')",
        "redis.call('zrem', 'z', 'a', 'b') redis.call('rename', 'z', 'y') error('no')",
    ];
    for script in scripts {
        assert_eq!(eval(&mut client, script, &[], &[]), "+QUEUED");
    }
    let reply = client.line("EXEC");
    assert!(
        reply.starts_with("-EXECABORT Transaction rolled back because command 2 ('eval') failed: ERR user_script:1: no"),
        "{reply}"
    );
    client.check(&[
        (
            "ZRANGE z 0 -1 WITHSCORES",
            "[\"a\" \"1\" \"b\" \"2\" \"c\" \"3\" \"d\" \"4\" \"e\" \"5\"]",
        ),
        ("DBSIZE", ":1"),
    ]);
    server.assert_replays();
}

#[test]
fn nobody_hears_of_what_is_undone() {
    let server = start(&["--script-rollback", "yes"]);
    let mut client = server.connect();
    let mut subscriber = server.connect();
    let mut tracker = server.connect_resp3();
    let mut waiter = server.connect();
    client.check(&[("SET k 1", "+OK")]);
    subscriber.line("PSUBSCRIBE *");
    tracker.check(&[("CLIENT TRACKING ON", "+OK"), ("GET k", "\"1\"")]);
    waiter.send(&[b"BLPOP", b"queue", b"0"]);
    wait_until(|| {
        client
            .line("INFO clients")
            .contains("blocked_clients:1\\r\\n")
    });
    let mut watcher = server.connect();
    watcher.check(&[("WATCH k", "+OK"), ("MULTI", "+OK"), ("GET k", "+QUEUED")]);
    let script = "redis.call('publish', 'news', 'false') redis.call('set', 'k', 2)
        redis.call('rpush', 'queue', 'x') redis.call('flushall') redis.call('publish', 'news', 'false')
        error('no')";
    assert!(eval(&mut client, script, &["k"], &[]).starts_with("-ERR user_script:3: no"));
    client.check(&[("PUBLISH news true", ":1")]);
    assert_eq!(
        show(&subscriber.read()),
        "[\"pmessage\" \"*\" \"news\" \"true\"]"
    );
    watcher.check(&[("EXEC", "[\"1\"]")]);
    // Without a message in between: the copy is still good, and nothing was served.
    tracker.check(&[("PING", "+PONG")]);
    client.check(&[("RPUSH queue y", ":1")]);
    assert_eq!(show(&waiter.read()), "[\"queue\" \"y\"]");
    // What is kept is told, in its order.
    let script = "redis.call('publish', 'news', 'one') redis.call('set', 'k', 2) return redis.call('publish', 'news', 'two')";
    assert_eq!(eval(&mut client, script, &["k"], &[]), ":1");
    let mut told = Vec::new();
    while told
        .last()
        .is_none_or(|it: &String| !it.contains("\"two\""))
    {
        told.push(show(&subscriber.read()));
    }
    let at = |text: &str| told.iter().position(|it| it.contains(text)).expect(text);
    assert!(at("\"one\"") < at("__keyevent@0__:set"), "{told:?}");
}

#[test]
fn what_expires_meanwhile_expires() {
    let server = start(&[
        "--script-rollback",
        "yes",
        "--script-undeclared-keys",
        "allow",
    ]);
    let mut client = server.connect();
    client.check(&[
        ("DEBUG SET-ACTIVE-EXPIRE 0", "+OK"),
        ("HSET h a 1 b 2 c 3 d 4 e 5", ":5"),
        ("HPEXPIRE h 20 FIELDS 1 a", "[:1]"),
        // The key is the last to expire.
        ("SET k 1 PX 20", "+OK"),
    ]);
    let mut gone = server.connect();
    wait_until(|| gone.line("PTTL k") == ":-2");
    let script = "redis.call('exists', 'k') redis.call('set', 'k', 'new') redis.call('hset', 'h', 'a', 'new')
        redis.call('hdel', 'h', 'b') error('no')";
    assert!(eval(&mut client, script, &["k"], &[]).starts_with("-ERR "));
    client.check(&[
        ("EXISTS k", ":0"),
        ("HGET h b", "\"2\""),
        ("HGET h a", "nil"),
        ("DEBUG SET-ACTIVE-EXPIRE 1", "+OK"),
        ("SET stays 1 PX 50", "+OK"),
    ]);
    // Deadlines that were put back are found by the timers.
    let script =
        "redis.call('del', 'stays') redis.call('persist', 'h') redis.call('flushall') error('no')";
    assert!(eval(&mut client, script, &["stays"], &[]).starts_with("-ERR "));
    let info = |client: &mut Client| client.line("INFO keyspace");
    wait_until(|| info(&mut client).contains("db0:keys=1,"));
    server.assert_replays();
}

#[test]
fn a_panic_in_a_script_leaves_nothing() {
    for end in ["EVAL", "MULTI ROLLBACK"] {
        let mut server = start(&[]);
        let mut client = server.connect();
        client.check(&[("SET k whole", "+OK"), ("RPUSH l a b c d e f", ":6")]);
        let before = state(&server);
        client.check(&[("DEBUG FAULT nested", "+OK")]);
        let reply = match end {
            "EVAL" => {
                let script =
                    "redis.pcall('rpush', 'l', 'g') redis.pcall('set', 'k', 'half') return 1";
                eval(&mut client, script, &["k"], &[])
            }
            _ => {
                client.check(&[
                    ("MULTI ROLLBACK", "+OK"),
                    ("RPUSH l g", "+QUEUED"),
                    ("SET k half", "+QUEUED"),
                ]);
                client.line("EXEC")
            }
        };
        assert!(reply.contains("internal error in '"), "{reply}");
        assert_eq!(state(&server), before);
        assert!(client.line("SET k half").starts_with("-MISCONF A defect"));
        server.restart();
        assert_eq!(state(&server).0, before.0);
    }
}

#[test]
fn a_script_with_too_much_to_undo_is_not_killed() {
    let mut server = start(&["--busy-reply-threshold", "20"]);
    let mut client = server.connect();
    client.check(&[("SETRANGE long 2000000 x", ":2000001")]);
    let mut busy = server.connect();
    let script = "redis.call('append', KEYS[1], 'y') while true do end";
    busy.send(&[b"EVAL", script.as_bytes(), b"1", b"long"]);
    let mut killer = server.connect();
    wait_until(|| {
        killer
            .line("SCRIPT KILL")
            .starts_with("-UNKILLABLE Sorry the script already executed write")
    });
    killer.send(&[b"SHUTDOWN", b"NOSAVE"]);
    assert_eq!(server.wait_for_end(), Some(0));
    server.restart();
    server.connect().check(&[("STRLEN long", ":2000001")]);
}

/// Commands of all types on a few keys of three databases.
fn random_command(random: &mut Random) -> String {
    let key = |random: &mut Random| format!("k{}", random.below(8));
    let element = |random: &mut Random| format!("e{}", random.below(12));
    let (k, other) = (key(random), key(random));
    let (a, b) = (element(random), element(random));
    let n = random.below(20);
    match random.below(58) {
        0 => format!("set {k} {a}"),
        1 => format!("set {k} {n}"),
        2 => format!("set {k} {a} px {}", 100_000 + n),
        3 => format!("append {k} {a}"),
        4 => format!("setrange {k} {n} {a}"),
        5 => format!("incrby {k} {n}"),
        6 => format!("setbit {k} {n} 1"),
        7 => format!("getdel {k}"),
        8 | 9 => format!("del {k} {other}"),
        10 => format!("unlink {k}"),
        11 | 12 => format!("rename {k} {other}"),
        13 => format!("copy {k} {other} replace"),
        14 => format!("move {k} {}", random.below(3)),
        15 => format!("pexpire {k} {}", 100_000 + n),
        16 => format!("persist {k}"),
        17..=19 => format!("rpush {k} {a} {b} {a}"),
        20 => format!("lpush {k} {a} {b}"),
        21 => format!("lpop {k} {}", n % 4),
        22 => format!("rpop {k}"),
        23 => format!("lset {k} {} {b}", n % 4),
        24 => format!("linsert {k} before {a} {b}"),
        25 => format!("lrem {k} {} {a}", (n % 5) as i64 - 2),
        26 => format!("ltrim {k} {} {}", n % 3, n),
        27 => format!("lmove {k} {other} left right"),
        28..=30 => format!("sadd {k} {a} {b} {n}"),
        31 => format!("srem {k} {a} {n}"),
        32 => format!("spop {k}"),
        33 => format!("smove {k} {other} {a}"),
        34 => format!("sunionstore {k} {other} {k}"),
        35 => format!("spexpire {k} {} members 1 {a}", 100_000 + n),
        36..=38 => format!("hset {k} {a} {n} {b} x"),
        39 => format!("hdel {k} {a}"),
        40 => format!("hincrby {k} {a} {n}"),
        41 => format!("hpexpire {k} {} fields 1 {a}", 100_000 + n),
        42 => format!("hpersist {k} fields 1 {a}"),
        43..=45 => format!("zadd {k} {n} {a} {} {b}", n + 1),
        46 => format!("zincrby {k} 1.5 {a}"),
        47 => format!("zremrangebyrank {k} 0 {}", n % 3),
        48 => format!("zpopmax {k}"),
        49 => format!("zpexpire {k} {} members 1 {a}", 100_000 + n),
        50 | 51 => format!("xadd {k} * {a} {b}"),
        52 => format!("xadd {k} maxlen {} * {a} {b}", n % 7),
        53 => format!("xgroup create {k} {a} 0 mkstream"),
        54 => format!("xreadgroup group {a} {b} count 2 streams {k} >"),
        55 => format!("xtrim {k} minid {n}"),
        56 if n < 4 => "flushdb".to_owned(),
        57 if n < 4 => "flushall".to_owned(),
        56 => format!("swapdb {} {}", random.below(3), random.below(3)),
        _ => format!("select {}", random.below(3)),
    }
}

/// The commands as the body of a script that goes on behind errors.
fn body(commands: &[String]) -> String {
    let call = |command: &String| {
        let words: Vec<String> = command.split(' ').map(|word| format!("'{word}'")).collect();
        format!("redis.pcall({})", words.join(","))
    };
    commands.iter().map(call).collect::<Vec<_>>().join("\n")
}

#[test]
fn random_work_is_undone_as_if_it_had_never_begun() {
    let seed = Random::seed();
    println!("LODESTORE_TEST_SEED={seed}");
    let mut random = Random::new(seed);
    let server = start(&["--script-rollback", "yes", "--script-max-memory", "8mb"]);
    let mut client = server.connect();
    let mut subscriber = server.connect();
    subscriber.line("PSUBSCRIBE *");
    for round in 0..60 {
        let work = |random: &mut Random| -> Vec<String> {
            let count = 1 + random.below(40);
            (0..count).map(|_| random_command(random)).collect()
        };
        // What stays.
        let kept = work(&mut random);
        let reply = client.run(&["EVAL", &body(&kept), "0"]);
        assert!(!reply.is_error(), "{}", show(&reply));
        client.line(&format!("PUBLISH marker {round}"));
        while !show(&subscriber.read()).contains("\"marker\"") {}
        let before = state(&server);
        let undone = work(&mut random);
        let reply = match random.below(4) {
            0 => client.run(&["EVAL", &format!("{}\nerror('end')", body(&undone)), "0"]),
            1 => {
                let end = "local t = {} for i = 1, 1e9 do t[i] = i end";
                client.run(&["EVAL", &format!("{}\n{end}", body(&undone)), "0"])
            }
            2 => {
                // Scripts inside, of which some are undone before.
                client.line("MULTI ROLLBACK");
                for part in undone.chunks(5) {
                    client.run(&["EVAL", &body(part), "0"]);
                }
                client.line("LPUSH wrong");
                client.line("DISCARD");
                client.line("MULTI ROLLBACK");
                for part in undone.chunks(5) {
                    client.run(&["EVAL", &body(part), "0"]);
                }
                client.line("SET text text");
                client.line("INCR text");
                client.run(&["EXEC"])
            }
            _ => {
                client.line("MULTI ROLLBACK");
                client.line("SET text text");
                for command in &undone {
                    client.line(command);
                }
                client.line("INCR text");
                client.line("SELECT 0");
                client.line("SET text text");
                client.line("INCR text");
                client.run(&["EXEC"])
            }
        };
        assert!(reply.is_error(), "{} of {undone:?}", show(&reply));
        client.line("SELECT 0");
        assert_eq!(state(&server), before, "round {round}: {undone:?}");
        client.line("PUBLISH marker end");
        let next = show(&subscriber.read());
        assert!(next.contains("\"marker\""), "{next}");
    }
    server.assert_replays();
    let second = server.replayed();
    let mut other = second.connect();
    let digest = |client: &mut Client| client.run(&["DEBUG", "DIGEST"]);
    let (one, two): (Value, Value) = (digest(&mut client), digest(&mut other));
    assert_eq!(show(&one), show(&two));
}
