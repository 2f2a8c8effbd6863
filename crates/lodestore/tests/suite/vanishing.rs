//! Whatever leaves memory is in the log: a server that replays it has the same data, and starts.

use std::time::{Duration, Instant};

use super::harness::{Client, TestServer, dump};
use super::operations::info;
use super::random::{Random, number_in_env};

/// Names of keys by their type, and how many there are of each.
const KINDS: [&str; 6] = ["s", "l", "t", "z", "h", "x"];
const KEYS_PER_KIND: u64 = 4;

/// Requests of one round.
const STEPS: u64 = 400;

/// Ways by which keys and elements appear and disappear. `S`, `L`, `T`, `Z`, `H` and `X` stand for
/// a key of a type, `K` for any, `M` for a short time in milliseconds.
const STEPS_BY_WEIGHT: &[&str] = &[
    "SET S 1",
    "SET S 1 PX M",
    "SET K text",
    "APPEND S 1",
    "GETEX S PX M",
    "GETEX S PXAT 1",
    "GETDEL S",
    "GET S",
    "RPUSH L a b c",
    "LPOP L 2",
    "RPOP L",
    "LMOVE L L LEFT RIGHT",
    "LTRIM L 5 9",
    "LREM L 0 a",
    "BLPOP L L 0.001",
    "BLMPOP 0.001 2 L L LEFT COUNT 3",
    "SADD T 1 2 3 4",
    "SADD T a b",
    "SPOP T 2",
    "SREM T 1 2",
    "SMOVE T T 3",
    "SINTERSTORE T T T",
    "SDIFFSTORE T T T",
    "SPEXPIRE T M MEMBERS 2 1 a",
    "ZADD Z 1 a 2 b 3 c",
    "ZPOPMIN Z 2",
    "ZREM Z a b",
    "ZREMRANGEBYRANK Z 0 -1",
    "ZINTERSTORE Z 2 Z Z",
    "ZRANGESTORE Z Z 5 9",
    "BZPOPMAX Z 0.001",
    "ZPEXPIRE Z M MEMBERS 2 a c",
    "HSET H f 1 g 2",
    "HDEL H f g",
    "HGETDEL H FIELDS 2 f g",
    "HPEXPIRE H M FIELDS 2 f g",
    "HGETEX H PX M FIELDS 1 f",
    "HGETALL H",
    "HINCRBY H f 1",
    "XADD X * f v",
    "XADD X MAXLEN 2 * f v",
    "XTRIM X MAXLEN 0",
    "XDEL X 0-1",
    "PEXPIRE K M",
    "PEXPIRE K M",
    "PEXPIREAT K 1",
    "EXPIRE K -1",
    "PERSIST K",
    "DEL K",
    "UNLINK K K",
    "RENAME K K",
    "RENAMENX K K",
    "COPY K K REPLACE",
    "MOVE K 1",
    "EXISTS K",
    "SORT L BY nosort STORE L",
    "SORT T ALPHA STORE L",
    "BITOP AND S S S",
    "SETRANGE S 3 x",
    "PFADD S a",
    "SWAPDB 0 1",
    "RANDOMKEY",
    "SCAN 0",
    "DEBUG RELOAD",
    "DEBUG RELOAD NOSAVE",
    "DEBUG LOADAOF",
    "DEBUG POPULATE 3 s",
    "FLUSHDB",
    "BGREWRITEAOF",
];

fn request(random: &mut Random) -> String {
    let count = STEPS_BY_WEIGHT.len() as u64;
    let template = STEPS_BY_WEIGHT[random.below(count) as usize];
    let mut key = |kind: &str| format!("{kind}:{}", random.below(KEYS_PER_KIND));
    let words: Vec<String> = template
        .split(' ')
        .map(|word| match word {
            "S" | "L" | "T" | "Z" | "H" | "X" => key(&word.to_lowercase()),
            "K" => {
                let any = key("");
                let kind = any.as_bytes().last().map_or(0, |digit| usize::from(*digit));
                key(KINDS[kind % KINDS.len()])
            }
            "M" => key("").trim_start_matches(':').replace('0', "9"),
            _ => word.to_owned(),
        })
        .collect();
    words.join(" ")
}

/// Runs random requests, in transactions now and then.
fn run(client: &mut Client, random: &mut Random) {
    for _ in 0..STEPS {
        let requests: Vec<String> = (0..1 + random.below(3)).map(|_| request(random)).collect();
        let is_transaction = random.below(4) == 0;
        if is_transaction {
            client.line("MULTI");
        }
        for request in &requests {
            client.line(request);
        }
        if is_transaction {
            client.line("EXEC");
        }
        if random.below(20) == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn check(args: &[&str]) {
    let seed = Random::seed();
    println!("LODESTORE_TEST_SEED={seed}");
    let mut random = Random::new(seed);
    for round in 0..number_in_env("LODESTORE_VANISHING_ROUNDS").unwrap_or(4) {
        let active = if round % 2 == 0 { "1" } else { "0" };
        let all = [&["--enable-debug-command", "yes"], args].concat();
        let mut server = TestServer::start_with(&all);
        let mut client = server.connect();
        client.line(&format!("DEBUG SET-ACTIVE-EXPIRE {active}"));
        client.line("SAVE");
        run(&mut client, &mut random);
        // Short times are over on both sides then.
        std::thread::sleep(Duration::from_millis(50));
        client.line("DEBUG SET-ACTIVE-EXPIRE 1");
        let mut before = dump(&mut client);
        let began = Instant::now();
        loop {
            std::thread::sleep(Duration::from_millis(20));
            let now = dump(&mut client);
            if now == before || began.elapsed() > Duration::from_secs(20) {
                break;
            }
            before = now;
        }
        // Files that a rewrite is about to remove cannot be copied.
        while info(&mut client, "aof_rewrite_in_progress") != "0"
            || info(&mut client, "aof_rewrite_scheduled") != "0"
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        let other = server.replayed_with(&["--maxmemory", "0"]);
        assert_eq!(before, dump(&mut other.connect()), "round {round}");
        server.restart();
        assert_eq!(before.len(), dump(&mut server.connect()).len());
    }
}

#[test]
fn what_disappears_is_in_the_log() {
    check(&[]);
}

#[test]
fn what_several_workers_make_disappear_is_in_the_log() {
    check(&["--threads", "3", "--threads-spread", "yes"]);
}

#[test]
fn what_is_evicted_is_in_the_log() {
    check(&["--maxmemory", "1", "--maxmemory-policy", "allkeys-random"]);
}

#[test]
fn expired_keys_that_a_reload_drops_are_gone_from_the_log() {
    let mut server = TestServer::start_with(&["--enable-debug-command", "yes"]);
    let mut client = server.connect();
    client.check(&[
        ("DEBUG SET-ACTIVE-EXPIRE 0", "+OK"),
        ("SET k 1 PX 1", "+OK"),
        ("SET old 1", "+OK"),
    ]);
    std::thread::sleep(Duration::from_millis(20));
    client.check(&[
        ("DEBUG RELOAD", "+OK"),
        ("LPUSH k a", ":1"),
        ("SET new 1", "+OK"),
        // The snapshot is older than the last commands.
        ("DEBUG RELOAD NOSAVE", "+OK"),
        ("DEBUG POPULATE 2", "+OK"),
        ("RENAME key:1 moved", "+OK"),
        ("RPUSH new a", ":1"),
    ]);
    let before = dump(&mut client);
    server.restart();
    let mut client = server.connect();
    assert_eq!(dump(&mut client), before);
    client.check(&[
        ("LRANGE new 0 -1", "[\"a\"]"),
        ("EXISTS k", ":0"),
        ("GET moved", "\"value:1\""),
    ]);
}

/// What SCAN is asked for and finds expired is removed and logged, while nothing else does that.
#[test]
fn scan_removes_the_expired_keys_that_it_meets() {
    let server = TestServer::start_with(&["--enable-debug-command", "yes", "--threads", "2"]);
    let mut client = server.connect();
    let mut subscriber = server.connect();
    client.check(&[
        ("DEBUG SET-ACTIVE-EXPIRE 0", "+OK"),
        ("CONFIG SET notify-keyspace-events Ex", "+OK"),
        ("MSET a:1 1 a:2 2 b:1 3 lives 4", "+OK"),
        ("RPUSH list a", ":1"),
    ]);
    for key in ["a:1", "a:2", "b:1", "list"] {
        client.line(&format!("PEXPIRE {key} 1"));
    }
    std::thread::sleep(std::time::Duration::from_millis(10));
    subscriber.line("SUBSCRIBE __keyevent@0__:expired");
    client.check(&[
        ("DBSIZE", ":5"),
        ("SCAN 0 COUNT 1000 MATCH a:*", "[\"0\" []]"),
        ("DBSIZE", ":3"),
        ("SCAN 0 COUNT 1000 TYPE string", "[\"0\" [\"lives\"]]"),
        ("DBSIZE", ":2"),
        ("MULTI", "+OK"),
        ("SCAN 0 COUNT 1000", "+QUEUED"),
        ("DBSIZE", "+QUEUED"),
        ("EXEC", "[[\"0\" [\"lives\"]] :1]"),
        ("SCAN 0 COUNT 1000", "[\"0\" [\"lives\"]]"),
    ]);
    let mut told: Vec<String> = (0..4)
        .map(|_| super::harness::show(&subscriber.read()))
        .collect();
    told.sort();
    let event = |key: &str| format!("[\"message\" \"__keyevent@0__:expired\" \"{key}\"]");
    assert_eq!(told, ["a:1", "a:2", "b:1", "list"].map(event));
    server.assert_replays();
}

#[test]
fn a_log_that_cannot_be_loaded_again_stays_as_it_is() {
    let mut server = TestServer::start_with(&["--enable-debug-command", "yes"]);
    let mut client = server.connect();
    client.check(&[("SET a 1", "+OK")]);
    let file = server.dir().join("appendonlydir/appendonly.aof.1.incr.aof");
    let good = std::fs::read(&file).expect("an increment");
    let broken = [&good[..], b"*1\r\nbroken\r\n"].concat();
    std::fs::write(&file, &broken).expect("written");
    assert!(
        client
            .line("DEBUG LOADAOF")
            .starts_with("-ERR Error trying to load")
    );
    assert!(client.line("SET a 2").starts_with("-MISCONF"));
    assert!(client.line("BGREWRITEAOF").starts_with("-MISCONF"));
    assert!(
        std::fs::read(&file)
            .expect("an increment")
            .starts_with(&broken)
    );
    std::fs::write(&file, &good).expect("written");
    server.restart();
    server.connect().check(&[("GET a", "\"1\"")]);
}
