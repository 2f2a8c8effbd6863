//! Scripts as they are in use: locks, limiters, queues.

use super::super::harness::{TestServer, show};
use super::{eval, load};

/// Releases a lock, or prolongs it, when it is still ours.
const UNLOCK: &str = "
    if redis.call('get', KEYS[1]) == ARGV[1] then
        return redis.call('del', KEYS[1])
    else
        return 0
    end";
const PROLONG: &str = "
    if redis.call('get', KEYS[1]) == ARGV[1] then
        return redis.call('pexpire', KEYS[1], ARGV[2])
    end
    return 0";

#[test]
fn a_lock_is_released_by_its_owner_only() {
    let server = TestServer::start();
    let mut client = server.connect();
    let (unlock, prolong) = (load(&mut client, UNLOCK), load(&mut client, PROLONG));
    client.check(&[
        ("SET lock me NX PX 30000", "+OK"),
        ("SET lock you NX PX 30000", "nil"),
        (&format!("EVALSHA {prolong} 1 lock you 50000"), ":0"),
        (&format!("EVALSHA {prolong} 1 lock me 50000"), ":1"),
        (&format!("EVALSHA {unlock} 1 lock you"), ":0"),
        (&format!("EVALSHA {unlock} 1 lock me"), ":1"),
        ("EXISTS lock", ":0"),
    ]);
}

/// A bucket that is filled with `ARGV[2]` tokens a second, up to `ARGV[1]`.
const BUCKET: &str = "
    local capacity, rate, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
    local state = redis.call('HMGET', KEYS[1], 'tokens', 'time')
    local tokens = tonumber(state[1]) or capacity
    local time = tonumber(state[2]) or now
    tokens = math.min(capacity, tokens + math.max(0, now - time) * rate)
    local allowed = tokens >= 1
    if allowed then tokens = tokens - 1 end
    redis.call('HSET', KEYS[1], 'tokens', tokens, 'time', now)
    redis.call('EXPIRE', KEYS[1], math.ceil(capacity / rate) * 2)
    return {allowed and 1 or 0, tostring(tokens)}";

#[test]
fn a_bucket_limits_a_rate() {
    let server = TestServer::start();
    let mut client = server.connect();
    let mut take = |now: &str| eval(&mut client, BUCKET, &["bucket"], &["2", "0.5", now]);
    assert_eq!(take("100"), "[:1 \"1\"]");
    assert_eq!(take("100"), "[:1 \"0\"]");
    assert_eq!(take("100"), "[:0 \"0\"]");
    assert_eq!(take("101.5"), "[:0 \"0.75\"]");
    assert_eq!(take("103"), "[:1 \"0.5\"]");
    server.assert_replays();
}

/// Adds a job to a queue, as queues of jobs do: the id comes from a counter, and the key of the job
/// is made of it.
const ADD: &str = "
    local prefix = KEYS[1]
    local id = redis.call('INCR', prefix .. ':id')
    local job = prefix .. ':' .. id
    redis.call('HMSET', job, 'name', ARGV[1], 'data', ARGV[2], 'opts', cjson.encode({attempts = 3}))
    if tonumber(ARGV[3]) > 0 then
        redis.call('ZADD', prefix .. ':delayed', ARGV[3], id)
    else
        redis.call('LPUSH', prefix .. ':wait', id)
    end
    redis.call('XADD', prefix .. ':events', '*', 'event', 'added', 'jobId', id)
    return id .. ''";

/// Moves a job from the waiting ones to the active ones.
const TAKE: &str = "
    local prefix = KEYS[1]
    local due = redis.call('ZRANGEBYSCORE', prefix .. ':delayed', 0, ARGV[1], 'LIMIT', 0, 1000)
    if #due > 0 then
        redis.call('ZREM', prefix .. ':delayed', unpack(due))
        redis.call('LPUSH', prefix .. ':wait', unpack(due))
    end
    local id = redis.call('RPOPLPUSH', prefix .. ':wait', prefix .. ':active')
    if not id then return {} end
    local job = redis.call('HGETALL', prefix .. ':' .. id)
    local options = cjson.decode(redis.call('HGET', prefix .. ':' .. id, 'opts'))
    return {id, #job, options.attempts}";

#[test]
fn queues_make_the_names_of_their_keys() {
    let server = TestServer::start_with(&["--threads", "2", "--threads-spread", "yes"]);
    let (mut adder, mut taker) = (server.connect(), server.connect());
    assert_eq!(eval(&mut adder, ADD, &["q"], &["mail", "{}", "0"]), "\"1\"");
    assert_eq!(
        eval(&mut adder, ADD, &["q"], &["mail", "{}", "50"]),
        "\"2\""
    );
    assert_eq!(eval(&mut taker, TAKE, &["q"], &["10"]), "[\"1\" :6 :3]");
    assert_eq!(eval(&mut taker, TAKE, &["q"], &["10"]), "[]");
    assert_eq!(eval(&mut taker, TAKE, &["q"], &["60"]), "[\"2\" :6 :3]");
    taker.check(&[
        ("LRANGE q:active 0 -1", "[\"2\" \"1\"]"),
        ("XLEN q:events", ":2"),
        ("HGET q:1 opts", "\"{\\\"attempts\\\":3}\""),
    ]);
    server.assert_replays();
    assert_eq!(
        show(&adder.run(&[
            "EVAL",
            "return cmsgpack.unpack(cmsgpack.pack({1,2}))[2]",
            "0"
        ])),
        ":2"
    );
}
