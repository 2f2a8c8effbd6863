//! A store inside of this process: by function call, over connections without a port, over a port.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lodestore::{CallError, Error, OpenError, Options, Store, Value};

use super::harness::PATIENCE;

/// A directory that is removed when the test ends.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let name = format!("lodestore-embedded-{}-{name}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&dir);
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn bulk(text: &str) -> Value {
    Value::Bulk(text.as_bytes().to_vec())
}

fn text(value: &Value) -> String {
    String::from_utf8_lossy(value.as_bytes().expect("a string")).into_owned()
}

fn code(result: Result<impl std::fmt::Debug, Error>) -> String {
    let error = result.expect_err("an error");
    error.code().unwrap_or("no code").to_owned()
}

#[test]
fn helpers_return_what_commands_reply() {
    let store = Store::in_memory().expect("a store");
    let mut client = store.client();
    client.set("s", "one").expect("SET");
    assert_eq!(client.get("s").expect("GET"), Some(b"one".to_vec()));
    assert_eq!(client.get("none").expect("GET"), None);
    assert_eq!(client.append("s", "two").expect("APPEND"), 6);
    assert!(!client.set_new("s", "x").expect("SET NX"));
    assert!(client.set_new("t", "x").expect("SET NX"));
    assert_eq!(client.incr("n", 5).expect("INCRBY"), 5);
    assert_eq!(client.incr("n", -7).expect("INCRBY"), -2);
    assert_eq!(
        client.mget(&["s", "none"]).expect("MGET"),
        [Some(b"onetwo".to_vec()), None]
    );
    assert!(client.hset("h", "f", "v").expect("HSET"));
    assert!(!client.hset("h", "f", "w").expect("HSET"));
    assert_eq!(client.hget("h", "f").expect("HGET"), Some(b"w".to_vec()));
    let fields = [(b"f".to_vec(), b"w".to_vec())];
    assert_eq!(client.hgetall("h").expect("HGETALL"), fields);
    assert!(client.hdel("h", "f").expect("HDEL"));
    assert!(!client.exists("h").expect("EXISTS"));
    assert_eq!(client.rpush("l", "b").expect("RPUSH"), 1);
    assert_eq!(client.lpush("l", "a").expect("LPUSH"), 2);
    assert_eq!(client.lrange("l", 0, -1).expect("LRANGE"), [b"a", b"b"]);
    assert_eq!(client.rpop("l").expect("RPOP"), Some(b"b".to_vec()));
    assert_eq!(client.lpop("l").expect("LPOP"), Some(b"a".to_vec()));
    assert_eq!(client.lpop("l").expect("LPOP"), None);
    assert!(client.sadd("set", "m").expect("SADD"));
    assert!(client.sismember("set", "m").expect("SISMEMBER"));
    assert_eq!(client.smembers("set").expect("SMEMBERS"), [b"m"]);
    assert!(client.srem("set", "m").expect("SREM"));
    assert!(client.zadd("z", "m", 1.5).expect("ZADD"));
    assert!(client.zadd("z", "a", f64::INFINITY).expect("ZADD"));
    assert_eq!(client.zscore("z", "m").expect("ZSCORE"), Some(1.5));
    assert_eq!(client.zscore("z", "none").expect("ZSCORE"), None);
    assert_eq!(client.zrange("z", 0, -1).expect("ZRANGE"), [b"m", b"a"]);
    assert_eq!(client.ttl("z").expect("PTTL"), None);
    let hour = Duration::from_secs(3600);
    assert!(client.expire("z", hour).expect("PEXPIRE"));
    assert!(!client.expire("none", hour).expect("PEXPIRE"));
    let left = client.ttl("z").expect("PTTL").expect("a time");
    assert!(left <= hour && left > hour / 2, "{left:?}");
    client.set_for("soon", "x", hour).expect("SET PX");
    assert!(client.ttl("soon").expect("PTTL").is_some());
    let sum = client.eval(
        "return redis.call('incrby', KEYS[1], ARGV[1])",
        &["n"],
        &["12"],
    );
    assert_eq!(sum.expect("EVAL"), Value::Integer(10));
    assert_eq!(client.publish("nobody", "x").expect("PUBLISH"), 0);
    assert_eq!(client.del(&["s", "t", "none"]).expect("DEL"), 2);
    assert!(!client.is_empty().expect("DBSIZE"));
    client.select(3).expect("SELECT");
    assert!(client.is_empty().expect("DBSIZE"));
    client.select(0).expect("SELECT");
    client.clear().expect("FLUSHDB");
    assert_eq!(client.len().expect("DBSIZE"), 0);
}

#[test]
fn errors_of_commands_and_of_calls_are_told_apart() {
    let store = Store::in_memory().expect("a store");
    let mut client = store.client();
    client.sadd("set", "m").expect("SADD");
    assert_eq!(code(client.get("set")), "WRONGTYPE");
    assert_eq!(code(client.call(&["NOSUCH"])), "ERR");
    assert_eq!(code(client.call(&["GET"])), "ERR");
    let empty: [&str; 0] = [];
    assert_eq!(client.call(&empty), Err(Error::Call(CallError::Empty)));
    client
        .call(&["CONFIG", "SET", "proto-max-bulk-len", "1mb"])
        .expect("CONFIG");
    let long = vec![b'x'; (1 << 20) + 1];
    assert_eq!(
        client.set("long", long),
        Err(Error::Call(CallError::TooLong))
    );
    // Types that a helper does not return.
    assert!(matches!(client.call(&["HELLO", "2"]), Ok(Value::Array(_))));
    assert!(matches!(client.hgetall("none"), Err(Error::Type(_))));
}

#[test]
fn threads_run_commands_at_the_same_time_and_each_is_counted() {
    const THREADS: usize = 8;
    const EACH: i64 = 2_000;
    let store = Store::in_memory().expect("a store");
    std::thread::scope(|scope| {
        for number in 0..THREADS {
            let mut client = store.client();
            scope.spawn(move || {
                let own = format!("own:{number}");
                for _ in 0..EACH {
                    client.incr("all", 1).expect("INCRBY");
                    client.incr(&own, 1).expect("INCRBY");
                }
            });
        }
    });
    let mut client = store.client();
    let all = THREADS as i64 * EACH;
    assert_eq!(client.incr("all", 0).expect("INCRBY"), all);
    assert_eq!(client.incr("own:3", 0).expect("INCRBY"), EACH);
    let stats = text(&client.call(&["INFO", "commandstats"]).expect("INFO"));
    let wanted = format!("cmdstat_incrby:calls={},", 2 * all + 2);
    assert!(stats.contains(&wanted), "{stats}");
}

#[test]
fn data_outlives_the_store() {
    let dir = Dir::new("outlives");
    for run in 1..=3 {
        let store = Store::open(&dir.0).expect("a store");
        let mut client = store.client();
        assert_eq!(client.incr("runs", 1).expect("INCRBY"), run);
        match run {
            // Closed by the last of the two.
            1 => drop(store),
            _ => store.close().expect("closed"),
        }
    }
}

#[test]
fn save_points_write_a_snapshot_at_the_end() {
    let dir = Dir::new("snapshot");
    let options = || Options::new().dir(&dir.0).set("appendonly", "no");
    let store = options().set("save", "3600 1").open().expect("a store");
    store.client().set("k", "v").expect("SET");
    store.close().expect("closed");
    assert!(dir.0.join("dump.rdb").exists());
    let store = options().open().expect("a store");
    assert_eq!(store.client().get("k").expect("GET"), Some(b"v".to_vec()));
}

#[test]
fn each_call_returns_when_the_log_has_it() {
    let dir = Dir::new("always");
    let options = Options::new().dir(&dir.0).set("appendfsync", "always");
    let store = options.open().expect("a store");
    std::thread::scope(|scope| {
        for number in 0..4 {
            let store = store.clone();
            scope.spawn(move || {
                let mut client = store.client();
                for _ in 0..20 {
                    client.incr(format!("n:{number}"), 1).expect("INCRBY");
                    // The reply is there at once: nothing is left to be synced.
                    let synced = client.call(&["WAITAOF", "1", "0", "0"]).expect("WAITAOF");
                    assert_eq!(
                        synced,
                        Value::Array(vec![Value::Integer(1), Value::Integer(0)])
                    );
                }
            });
        }
    });
}

#[test]
fn stores_of_one_process_are_apart() {
    let dir = Dir::new("apart");
    let (one, other) = (dir.0.join("one"), dir.0.join("other"));
    let first = Store::open(&one).expect("a store");
    let second = Store::open(&other).expect("a store");
    first.client().set("k", "1").expect("SET");
    assert_eq!(second.client().get("k").expect("GET"), None);
    second.client().set("k", "2").expect("SET");
    first.close().expect("closed");
    assert_eq!(second.client().get("k").expect("GET"), Some(b"2".to_vec()));
    drop(second);
    for (path, value) in [(one, "1"), (other, "2")] {
        let store = Store::open(path).expect("a store");
        assert_eq!(store.client().get("k").expect("GET"), Some(value.into()));
    }
}

#[test]
fn a_transaction_is_whole_or_nothing() {
    let store = Store::in_memory().expect("a store");
    let (mut client, mut other) = (store.client(), store.client());
    let replies = client
        .transaction(|tx| {
            tx.call(&["SET", "a", "1"]).call(&["INCR", "a"]);
            tx.call(&["LPUSH", "a", "x"]);
        })
        .expect("EXEC")
        .expect("replies");
    assert_eq!(replies[1], Value::Integer(2));
    assert!(replies[2].is_error());
    // Refused when it is queued: nothing is done, and the client is out of the transaction.
    let refused = client.transaction(|tx| {
        tx.call(&["SET", "a", "9"]).call(&["GET"]);
    });
    assert_eq!(code(refused), "ERR");
    assert_eq!(client.get("a").expect("GET"), Some(b"2".to_vec()));
    client.watch(&["a"]).expect("WATCH");
    other.set("a", "5").expect("SET");
    let conflict = client.transaction(|tx| {
        tx.call(&["SET", "a", "9"]);
    });
    assert_eq!(conflict, Ok(None));
    assert_eq!(client.get("a").expect("GET"), Some(b"5".to_vec()));
    // A client that goes leaves no watch behind.
    other.watch(&["a"]).expect("WATCH");
    drop(other);
    let clients = text(&client.call(&["INFO", "clients"]).expect("INFO"));
    assert!(clients.contains("watching_clients:0\r\n"), "{clients}");
    assert!(clients.contains("connected_clients:1\r\n"), "{clients}");
}

#[test]
fn a_call_does_not_wait_for_others() {
    let store = Store::in_memory().expect("a store");
    let mut client = store.client();
    assert_eq!(client.call(&["BLPOP", "l", "0"]), Ok(Value::Null));
    assert_eq!(client.call(&["BZPOPMIN", "z", "0"]), Ok(Value::Null));
    let read = client.call(&["XREAD", "BLOCK", "0", "STREAMS", "x", "$"]);
    assert_eq!(read, Ok(Value::Null));
    assert_eq!(client.call(&["WAIT", "1", "0"]), Ok(Value::Integer(0)));
    for words in [
        &["SUBSCRIBE", "c"][..],
        &["PSUBSCRIBE", "c*"],
        &["SSUBSCRIBE", "c"],
        &["MONITOR"],
        &["CLIENT", "TRACKING", "ON"],
        &["PSYNC", "?", "-1"],
    ] {
        assert_eq!(code(client.call(words)), "ERR", "{words:?}");
    }
    let inside = client.transaction(|tx| {
        tx.call(&["SUBSCRIBE", "c"]);
    });
    assert!(inside.expect("EXEC").expect("replies")[0].is_error());
    let blocked = text(&client.call(&["INFO", "clients"]).expect("INFO"));
    assert!(blocked.contains("blocked_clients:0\r\n"), "{blocked}");
    // What is there is taken.
    client.rpush("l", "a").expect("RPUSH");
    let popped = client.call(&["BLPOP", "l", "0"]).expect("BLPOP");
    assert_eq!(popped, Value::Array(vec![bulk("l"), bulk("a")]));
}

#[test]
fn connections_wait_and_get_messages() {
    let store = Store::in_memory().expect("a store");
    let mut client = store.client();
    let mut waiting = store.connect().expect("a connection");
    let popped = std::thread::scope(|scope| {
        let popped = scope.spawn(move || waiting.call(&["BLPOP", "jobs", "0"]));
        let start = Instant::now();
        while !text(&client.call(&["INFO", "clients"]).expect("INFO")).contains("blocked_clients:1")
        {
            assert!(start.elapsed() < PATIENCE);
            std::thread::yield_now();
        }
        client.rpush("jobs", "work").expect("RPUSH");
        popped.join().expect("a thread").expect("BLPOP")
    });
    assert_eq!(popped, Value::Array(vec![bulk("jobs"), bulk("work")]));

    let mut news = store.connect().expect("a connection");
    news.subscribe(&["a", "b"]).expect("SUBSCRIBE");
    news.subscribe_patterns(&["p*"]).expect("PSUBSCRIBE");
    assert_eq!(client.publish("a", "1").expect("PUBLISH"), 1);
    assert_eq!(client.publish("pq", "2").expect("PUBLISH"), 1);
    // Commands run beside subscriptions.
    assert_eq!(news.call(&["PING"]), Ok(Value::Simple(b"PONG".to_vec())));
    let message = news.message(PATIENCE).expect("a message").expect("in time");
    assert_eq!(
        (message.channel, message.payload),
        (b"a".to_vec(), b"1".to_vec())
    );
    let message = news.message(PATIENCE).expect("a message").expect("in time");
    assert_eq!(message.pattern.as_deref(), Some(&b"p*"[..]));
    assert_eq!(message.channel, b"pq");
    news.unsubscribe(&["a"]).expect("UNSUBSCRIBE");
    assert_eq!(client.publish("a", "1").expect("PUBLISH"), 0);
    assert_eq!(news.message(Duration::ZERO), Ok(None));
}

#[test]
fn a_port_serves_the_same_store() {
    let store = Store::options().port(0).open().expect("a store");
    store.client().set("k", "v").expect("SET");
    let port = store.port().expect("a port");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
    stream.write_all(b"GET k\r\nSET k w\r\n").expect("sent");
    let mut reply = [0; 12];
    stream.read_exact(&mut reply).expect("a reply");
    assert_eq!(&reply, b"$1\r\nv\r\n+OK\r\n");
    assert_eq!(store.client().get("k").expect("GET"), Some(b"w".to_vec()));
    assert_eq!(Store::in_memory().expect("a store").port(), None);
}

#[test]
fn a_closed_store_answers_nothing() {
    let store = Store::in_memory().expect("a store");
    let (mut client, mut connection) = (store.client(), store.connect().expect("connected"));
    store.clone().close().expect("closed");
    assert_eq!(client.get("k"), Err(Error::Call(CallError::Closed)));
    assert!(matches!(
        connection.call(&["PING"]),
        Err(Error::Connection(_))
    ));
    assert_eq!(store.client().get("k"), Err(Error::Call(CallError::Closed)));
    // SHUTDOWN does the same.
    let store = Store::in_memory().expect("a store");
    let mut client = store.client();
    let _ = client.call(&["SHUTDOWN"]);
    assert_eq!(client.get("k"), Err(Error::Call(CallError::Closed)));
    store.close().expect("closed");
}

#[test]
fn calls_that_run_while_the_store_closes_are_whole() {
    let dir = Dir::new("whole");
    for round in 0..5 {
        let store = Store::open(&dir.0).expect("a store");
        let mut client = store.client();
        let before = client.incr("n", 0).expect("INCRBY");
        let acknowledged = std::thread::scope(|scope| {
            let counting = scope.spawn(move || {
                let mut last = before;
                while let Ok(now) = client.incr("n", 1) {
                    last = now;
                }
                last
            });
            std::thread::sleep(Duration::from_millis(5 * round));
            store.close().expect("closed");
            counting.join().expect("a thread")
        });
        let store = Store::open(&dir.0).expect("a store");
        let after = store.client().incr("n", 0).expect("INCRBY");
        assert!(after >= acknowledged, "{after} of {acknowledged}");
    }
}

#[test]
fn a_client_can_be_killed_and_paused() {
    let store = Store::in_memory().expect("a store");
    let (mut client, mut other) = (store.client(), store.client());
    let id = client.call(&["CLIENT", "ID"]).expect("CLIENT ID");
    let id = id.as_integer().expect("a number").to_string();
    let list = text(&other.call(&["CLIENT", "LIST"]).expect("CLIENT LIST"));
    assert!(list.contains(&format!("id={id} addr=?:0 ")), "{list}");
    assert!(list.contains("cmd=client|id "), "{list}");
    other
        .call(&["CLIENT", "PAUSE", "100", "WRITE"])
        .expect("PAUSE");
    client.set("k", "behind the pause").expect("SET");
    other.call(&["CLIENT", "KILL", "ID", &id]).expect("KILL");
    assert_eq!(client.get("k"), Err(Error::Call(CallError::Disconnected)));
    other.call(&["QUIT"]).expect("QUIT");
    assert_eq!(other.get("k"), Err(Error::Call(CallError::Disconnected)));
}

#[test]
fn a_script_without_end_can_be_killed() {
    let store = Store::in_memory().expect("a store");
    let mut client = store.client();
    client
        .call(&["CONFIG", "SET", "busy-reply-threshold", "1"])
        .expect("CONFIG");
    std::thread::scope(|scope| {
        let mut runner = store.client();
        let none: [&str; 0] = [];
        let run = scope.spawn(move || runner.eval("while true do end", &none, &none));
        let start = Instant::now();
        while let Err(error) = client.call(&["SCRIPT", "KILL"]) {
            assert_eq!(error.code(), Some("NOTBUSY"));
            assert!(start.elapsed() < PATIENCE);
        }
        assert_eq!(code(run.join().expect("a thread")), "ERR");
    });
}

#[test]
fn a_limit_of_memory_needs_a_counting_allocator() {
    let opened = Options::new().set("maxmemory", "100mb").open();
    assert!(matches!(opened, Err(OpenError::Uncounted)));
    let wrong = Options::new().set("no-such-parameter", "1").open();
    assert!(matches!(wrong, Err(OpenError::Config(_))));
}
