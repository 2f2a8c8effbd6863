//! Keyspace notifications as subscribers see them.

use super::harness::{Client, TestServer, show};
use super::pubsub::wait_until;

/// Requests and their events as Valkey 9.1 sends them, in order: `event key`, with the database in
/// front when it is not 0. An empty request waits for an event that comes by itself.
#[rustfmt::skip]
const EVENTS: &[(&str, &str)] = &[
    ("SET a 1", "new a, set a"),
    ("SET a 2", "set a"),
    ("SET a 3 EX 100", "set a, expire a"),
    ("SET a 4 NX", ""),
    ("SET a 5 XX KEEPTTL", "set a"),
    ("SETEX a 100 1", "set a, expire a"),
    ("PSETEX a 100000 1", "set a, expire a"),
    ("SETNX a 1", ""),
    ("SETNX b 1", "new b, set b"),
    ("GETSET a 7", "set a"),
    ("GETSET n1 7", "keymiss n1, new n1, set n1"),
    ("SET a 5 GET", "set a"),
    ("GETDEL n1", "del n1"),
    ("GETDEL nokey", "keymiss nokey"),
    ("GETEX a EX 100", "expire a"),
    ("GETEX a PERSIST", "persist a"),
    ("GETEX a PERSIST", ""),
    ("GETEX a PXAT 1", "expired a"),
    ("GETEX a", "keymiss a"),
    ("GET a", "keymiss a"),
    ("MGET a b nokey", "keymiss a, keymiss nokey"),
    ("MSET a 1 c 2", "new a, set a, new c, set c"),
    ("MSETNX a 1 z 2", ""),
    ("MSETNX y 1 z 2", "new y, set y, new z, set z"),
    ("MSETEX 2 m1 1 m2 2 EX 100", "new m1, set m1, expire m1, new m2, set m2, expire m2"),
    ("APPEND a x", "append a"),
    ("APPEND new1 x", "new new1, append new1"),
    ("APPEND new1 \"\"", "append new1"),
    ("SETRANGE a 3 abc", "setrange a"),
    ("SETRANGE new2 3 abc", "new new2, setrange new2"),
    ("SETRANGE new2 0 \"\"", ""),
    ("INCR cnt", "new cnt, incrby cnt"),
    ("INCRBY cnt 3", "incrby cnt"),
    ("DECR cnt", "incrby cnt"),
    ("DECRBY cnt 5", "incrby cnt"),
    ("INCRBYFLOAT cnt 1.5", "incrbyfloat cnt"),
    ("INCRBYFLOAT newf 1.5", "new newf, incrbyfloat newf"),
    ("STRLEN nokey", "keymiss nokey"),
    ("LCS a b", ""),
    ("GETRANGE nokey 0 1", "keymiss nokey"),
    ("DELIFEQ c 2", "del c"),
    ("DEL a b nokey", "del a, del b"),
    ("UNLINK y z", "del y, del z"),
    ("EXISTS nokey", "keymiss nokey"),
    ("TYPE nokey", "keymiss nokey"),
    ("SETBIT bits 7 1", "new bits, setbit bits"),
    ("SETBIT bits 7 1", ""),
    ("SETBIT bits 100 1", "setbit bits"),
    ("BITFIELD bits SET u8 0 5", "setbit bits"),
    ("BITFIELD bits GET u8 0", ""),
    ("BITFIELD nob GET u8 0", "keymiss nob"),
    ("BITFIELD nob INCRBY u8 0 1", "new nob, setbit nob"),
    ("BITOP AND dest bits nob", "new dest, set dest"),
    ("BITOP NOT dest bits", "set dest"),
    ("BITOP AND dest nokey nokey2", "keymiss nokey, keymiss nokey2, del dest"),
    ("BITOP AND dest nokey nokey2", "keymiss nokey, keymiss nokey2"),
    ("BITCOUNT nokey", "keymiss nokey"),
    ("BITPOS nokey 1", "keymiss nokey"),
    ("EXPIRE bits 100", "expire bits"),
    ("EXPIRE bits 200 GT", "expire bits"),
    ("EXPIRE bits 20 GT", ""),
    ("PEXPIRE bits 100000", "expire bits"),
    ("EXPIREAT bits 9999999999", "expire bits"),
    ("PERSIST bits", "persist bits"),
    ("PERSIST bits", ""),
    ("EXPIRE bits -1", "expired bits"),
    ("EXPIRE nokey 10", ""),
    ("TTL nokey", "keymiss nokey"),
    ("SET r1 x", "new r1, set r1"),
    ("RENAME r1 r2", "new r2, rename_from r1, rename_to r2"),
    ("SET r3 x", "new r3, set r3"),
    ("RENAME r2 r3", "new r3, rename_from r2, rename_to r3"),
    ("RENAME r3 r3", ""),
    ("RENAMENX r3 r4", "new r4, rename_from r3, rename_to r4"),
    ("SET r5 x", "new r5, set r5"),
    ("RENAMENX r4 r5", ""),
    ("COPY r4 r6", "new r6, copy_to r6"),
    ("COPY r4 r6", ""),
    ("COPY r4 r6 REPLACE", "new r6, copy_to r6"),
    ("COPY r4 r4 DB 1", "1/new r4, 1/copy_to r4"),
    ("COPY r4 r4 DB 1 REPLACE", "1/new r4, 1/copy_to r4"),
    ("MOVE r4 1", ""),
    ("MOVE r4 2", "2/new r4, move_from r4, 2/move_to r4"),
    ("TOUCH r4 nokey", "keymiss r4, keymiss nokey"),
    ("OBJECT ENCODING nokey", ""),
    ("DUMP nokey", "keymiss nokey"),
    ("SELECT 1", ""),
    ("SET db1 x", "1/new db1, 1/set db1"),
    ("DEL db1", "1/del db1"),
    ("SELECT 0", ""),
    ("LPUSH l a b c", "new l, lpush l"),
    ("RPUSH l d", "rpush l"),
    ("LPUSHX l x", "lpush l"),
    ("LPUSHX nol x", ""),
    ("RPUSHX l y", "rpush l"),
    ("LINSERT l BEFORE a z", "linsert l"),
    ("LINSERT l BEFORE nope z", ""),
    ("LSET l 0 new", "lset l"),
    ("LTRIM l 0 3", "ltrim l"),
    ("LTRIM l 0 100", "ltrim l"),
    ("LREM l 0 nope", ""),
    ("LREM l 0 new", "lrem l"),
    ("LPOP l", "lpop l"),
    ("RPOP l", "rpop l"),
    ("LPOP l 10", "lpop l, del l"),
    ("LPOP l", ""),
    ("RPUSH l a b c d e", "new l, rpush l"),
    ("RPOP l 2", "rpop l"),
    ("LMOVE l l LEFT RIGHT", "rpush l, lpop l"),
    ("LMOVE l l2 LEFT RIGHT", "new l2, rpush l2, lpop l"),
    ("RPOPLPUSH l l2", "lpush l2, rpop l"),
    ("RPOPLPUSH l l2", "lpush l2, rpop l, del l"),
    ("RPOPLPUSH l l2", ""),
    ("LMPOP 1 l2 LEFT COUNT 2", "lpop l2"),
    ("LMPOP 1 l2 LEFT COUNT 2", "lpop l2, del l2"),
    ("RPUSH l2 x y", "new l2, rpush l2"),
    ("BLPOP l2 0", "lpop l2"),
    ("BRPOP l2 0", "rpop l2, del l2"),
    ("RPUSH l2 x y", "new l2, rpush l2"),
    ("BLMPOP 0 1 l2 LEFT COUNT 5", "lpop l2, del l2"),
    ("RPUSH l2 x y", "new l2, rpush l2"),
    ("BLMOVE l2 l3 LEFT RIGHT 0", "new l3, rpush l3, lpop l2"),
    ("BRPOPLPUSH l2 l3 0", "lpush l3, rpop l2, del l2"),
    ("LTRIM l3 5 6", "ltrim l3, del l3"),
    ("LRANGE nokey 0 1", "keymiss nokey"),
    ("LLEN nokey", "keymiss nokey"),
    ("LINDEX nokey 0", "keymiss nokey"),
    ("LPOS nokey x", "keymiss nokey"),
    ("SADD s a b c", "new s, sadd s"),
    ("SADD s a", ""),
    ("SADD s d e f", "sadd s"),
    ("SREM s a", "srem s"),
    ("SREM s nope", ""),
    ("SMOVE s s2 b", "srem s, new s2, sadd s2"),
    ("SMOVE s s2 nope", ""),
    ("SMOVE s2 s b", "srem s2, del s2, sadd s"),
    ("SADD s2 x", "new s2, sadd s2"),
    ("SPOP s", "spop s"),
    ("SPOP s2", "spop s2, del s2"),
    ("SPOP s2", ""),
    ("SPOP s 2", "spop s"),
    ("SPOP s 100", "spop s, del s"),
    ("SADD s a b c", "new s, sadd s"),
    ("SADD s2 b c d", "new s2, sadd s2"),
    ("SINTERSTORE s3 s s2", "new s3, sinterstore s3"),
    ("SINTERSTORE s3 s nokey", "keymiss nokey, del s3"),
    ("SINTERSTORE s3 s nokey", "keymiss nokey"),
    ("SUNIONSTORE s3 s s2", "new s3, sunionstore s3"),
    ("SDIFFSTORE s3 s s2", "sdiffstore s3"),
    ("SDIFFSTORE s3 s s", "del s3"),
    ("SINTER s nokey", "keymiss nokey"),
    ("SUNION nokey", "keymiss nokey"),
    ("SMEMBERS nokey", "keymiss nokey"),
    ("SISMEMBER nokey x", "keymiss nokey"),
    ("SMISMEMBER nokey x", "keymiss nokey"),
    ("SRANDMEMBER nokey", "keymiss nokey"),
    ("SCARD nokey", "keymiss nokey"),
    ("SINTERCARD 2 s nokey", "keymiss nokey"),
    ("SREM s a b c", "srem s, del s"),
    ("HSET h a 1 b 2", "new h, hset h"),
    ("HSET h a 1", "hset h"),
    ("HMSET h c 1", "hset h"),
    ("HSETNX h a 1", ""),
    ("HSETNX h d 1", "hset h"),
    ("HINCRBY h n 1", "hincrby h"),
    ("HINCRBYFLOAT h n 1.5", "hincrbyfloat h"),
    ("HDEL h nope", ""),
    ("HDEL h a b", "hdel h"),
    ("HEXPIRE h 100 FIELDS 1 c", "hexpire h"),
    ("HPEXPIRE h 100000 FIELDS 2 c nope", "hexpire h"),
    ("HEXPIREAT h 9999999999 FIELDS 1 c", "hexpire h"),
    ("HPERSIST h FIELDS 1 c", "hpersist h"),
    ("HPERSIST h FIELDS 1 c", ""),
    ("HEXPIRE h 0 FIELDS 1 c", "hexpired h"),
    ("HSETEX h EX 100 FIELDS 1 x 1", "hset h, hexpire h"),
    ("HSETEX h FIELDS 1 x 1", "hset h"),
    ("HSETEX h KEEPTTL FIELDS 1 y 1", "hset h"),
    ("HSETEX h PXAT 1 FIELDS 1 y 1", "hset h, hexpire h, hexpired h"),
    ("HSETEX hnew PXAT 1 FIELDS 1 y 1", "new hnew, hset hnew, hexpire hnew, hexpired hnew, del hnew"),
    ("HGETEX h EX 100 FIELDS 1 x", "hexpire h"),
    ("HGETEX h PERSIST FIELDS 1 x", "hpersist h"),
    ("HGETEX h PXAT 1 FIELDS 1 x", "hexpired h"),
    ("HGETDEL h FIELDS 1 d", "hdel h"),
    ("HGETDEL h FIELDS 1 n", "hdel h, del h"),
    ("HSET h a 1", "new h, hset h"),
    ("HPEXPIRE h 1 FIELDS 1 a", "hexpire h"),
    ("", "hexpired h, del h"),
    ("HGET h a", "keymiss h"),
    ("HSET h a 1 b 2", "new h, hset h"),
    ("HDEL h a b", "hdel h, del h"),
    ("HGET nokey a", "keymiss nokey"),
    ("HGETALL nokey", "keymiss nokey"),
    ("HMGET nokey a", "keymiss nokey"),
    ("HLEN nokey", "keymiss nokey"),
    ("HKEYS nokey", "keymiss nokey"),
    ("HVALS nokey", "keymiss nokey"),
    ("HEXISTS nokey a", "keymiss nokey"),
    ("HSTRLEN nokey a", "keymiss nokey"),
    ("HRANDFIELD nokey", "keymiss nokey"),
    ("HTTL nokey FIELDS 1 a", "keymiss nokey"),
    ("HSCAN nokey 0", "keymiss nokey"),
    ("ZADD z 1 a 2 b 3 c", "new z, zadd z"),
    ("ZADD z 1 a", ""),
    ("ZADD z 5 a", "zadd z"),
    ("ZADD z NX 5 a", ""),
    ("ZADD z INCR 1 a", "zincr z"),
    ("ZINCRBY z 1 a", "zincr z"),
    ("ZREM z nope", ""),
    ("ZREM z a", "zrem z"),
    ("ZADD z 1 a 2 b 3 c 4 d 5 e", "zadd z"),
    ("ZREMRANGEBYSCORE z 1 1", "zremrangebyscore z"),
    ("ZREMRANGEBYRANK z 0 0", "zremrangebyrank z"),
    ("ZREMRANGEBYLEX z - (a", ""),
    ("ZPOPMIN z", "zpopmin z"),
    ("ZPOPMAX z 5", "zpopmax z, del z"),
    ("ZPOPMIN z", ""),
    ("ZADD z 1 a 2 b 3 c", "new z, zadd z"),
    ("BZPOPMIN z 0", "zpopmin z"),
    ("BZPOPMAX z 0", "zpopmax z"),
    ("ZMPOP 1 z MIN COUNT 5", "zpopmin z, del z"),
    ("ZADD z 1 a 2 b 3 c", "new z, zadd z"),
    ("BZMPOP 0 1 z MIN COUNT 2", "zpopmin z"),
    ("ZRANGESTORE z2 z 0 -1", "new z2, zrangestore z2"),
    ("ZRANGESTORE z2 z 5 6", "del z2"),
    ("ZRANGESTORE z2 z 5 6", ""),
    ("ZADD z 1 a 2 b 3 c", "zadd z"),
    ("ZUNIONSTORE z2 2 z z3", "keymiss z3, new z2, zunionstore z2"),
    ("ZINTERSTORE z2 2 z z3", "keymiss z3, del z2"),
    ("ZINTERSTORE z2 2 z z3", "keymiss z3"),
    ("ZDIFFSTORE z2 2 z z3", "keymiss z3, new z2, zdiffstore z2"),
    ("ZREMRANGEBYRANK z 0 -1", "zremrangebyrank z, del z"),
    ("ZSCORE nokey a", "keymiss nokey"),
    ("ZRANK nokey a", "keymiss nokey"),
    ("ZRANGE nokey 0 1", "keymiss nokey"),
    ("ZCARD nokey", "keymiss nokey"),
    ("ZCOUNT nokey 0 1", "keymiss nokey"),
    ("ZMSCORE nokey a", "keymiss nokey"),
    ("ZRANDMEMBER nokey", "keymiss nokey"),
    ("ZSCAN nokey 0", "keymiss nokey"),
    ("ZUNION 1 nokey", "keymiss nokey"),
    ("GEOADD geo 13.361389 38.115556 P 15.087269 37.502669 C", "new geo, zadd geo"),
    ("GEOADD geo 13.361389 38.115556 P", ""),
    ("GEOSEARCHSTORE geo2 geo FROMLONLAT 15 37 BYRADIUS 200 km", "new geo2, geosearchstore geo2"),
    ("GEOSEARCHSTORE geo2 geo FROMLONLAT 0 0 BYRADIUS 1 km", "del geo2"),
    ("GEORADIUS geo 15 37 200 km STORE geo2", "new geo2, georadiusstore geo2"),
    ("GEORADIUS geo 15 37 200 km STOREDIST geo2", "georadiusstore geo2"),
    ("GEOPOS nokey a", "keymiss nokey"),
    ("GEODIST nokey a b", "keymiss nokey"),
    ("PFADD pf a b c", "new pf, pfadd pf"),
    ("PFADD pf a", ""),
    ("PFADD pf2", "new pf2, pfadd pf2"),
    ("PFCOUNT pf", ""),
    ("PFCOUNT nokey", "keymiss nokey"),
    ("PFMERGE pf3 pf pf2", "keymiss pf3, new pf3, pfadd pf3"),
    ("PFMERGE pf3 pf", "pfadd pf3"),
    ("XADD x 1-1 f v", "new x, xadd x"),
    ("XADD x MAXLEN 1 2-1 f v", "xadd x, xtrim x"),
    ("XADD x NOMKSTREAM 3-1 f v", "xadd x"),
    ("XADD nox NOMKSTREAM 3-1 f v", ""),
    ("XDEL x 1-1", ""),
    ("XDEL x 2-1", "xdel x"),
    ("XTRIM x MAXLEN 10", ""),
    ("XTRIM x MAXLEN 0", "xtrim x"),
    ("XADD x 4-1 f v", "xadd x"),
    ("XADD x 4-2 f v", "xadd x"),
    ("XSETID x 10-1", "xsetid x"),
    ("XGROUP CREATE x g 0", "xgroup-create x"),
    ("XGROUP CREATE newx g $ MKSTREAM", "new newx, xgroup-create newx"),
    ("XGROUP SETID x g 0", "xgroup-setid x"),
    ("XGROUP CREATECONSUMER x g c", "xgroup-createconsumer x"),
    ("XGROUP CREATECONSUMER x g c", ""),
    ("XREADGROUP GROUP g c COUNT 1 STREAMS x >", ""),
    ("XREADGROUP GROUP g c2 COUNT 1 STREAMS x >", "xgroup-createconsumer x"),
    ("XREADGROUP GROUP g c2 STREAMS x 0", ""),
    ("XACK x g 4-1", ""),
    ("XCLAIM x g c3 0 4-2", "xgroup-createconsumer x"),
    ("XAUTOCLAIM x g c4 0 0", "xgroup-createconsumer x"),
    ("XGROUP DELCONSUMER x g c", "xgroup-delconsumer x"),
    ("XGROUP DELCONSUMER x g nope", ""),
    ("XGROUP DESTROY x g", "xgroup-destroy x"),
    ("XGROUP DESTROY x g", ""),
    ("XDEL x 4-1 4-2", "xdel x"),
    ("XLEN nokey", "keymiss nokey"),
    ("XRANGE nokey - +", "keymiss nokey"),
    ("XINFO STREAM nokey", "keymiss nokey"),
    ("RPUSH sl 3 1 2", "new sl, rpush sl"),
    ("SORT sl STORE sd", "new sd, sortstore sd"),
    ("SORT nokey STORE sd", "keymiss nokey, del sd"),
    ("SORT nokey STORE sd", "keymiss nokey"),
    ("SORT nokey", "keymiss nokey"),
    ("SORT_RO nokey", "keymiss nokey"),
    ("SET str x", "new str, set str"),
    ("GET str", ""),
    ("LPUSH str x", ""),
    ("SADD str x", ""),
    ("INCR str", ""),
    ("HGET str x", ""),
    ("SET e1 x PX 100", "new e1, set e1, expire e1"),
    ("", "expired e1"),
    ("GET e1", "keymiss e1"),
    ("SET e2 x PXAT 1", ""),
    ("MULTI", ""),
    ("SET m 1", ""),
    ("DEL m", ""),
    ("INCR m", ""),
    ("EXEC", "new m, set m, del m, new m, incrby m"),
    ("SORT sl BY w_* GET # STORE sd2", "keymiss w_3, keymiss w_1, keymiss w_2, new sd2, sortstore sd2"),
    ("SUBSTR nokey 0 1", "keymiss nokey"),
    ("MEMORY USAGE nokey", ""),
    ("RANDOMKEY", ""),
    ("SCAN 0", ""),
    ("DBSIZE", ""),
    ("KEYS *", ""),
    ("SETRANGE bb 0 abc", "new bb, setrange bb"),
    ("SETBIT bb 0 1", "setbit bb"),
    ("FLUSHDB", ""),
    ("SWAPDB 0 1", ""),
    ("SWAPDB 0 1", ""),
    ("FLUSHALL", ""),
];

/// A server and a subscriber to all its events, in RESP2.
struct Listener {
    server: TestServer,
    client: Client,
    subscriber: Client,
}

impl Listener {
    fn start(classes: &str) -> Self {
        let server = TestServer::start_with(&["--threads", "2", "--threads-spread", "yes"]);
        let mut client = server.connect();
        client.run(&["CONFIG", "SET", "notify-keyspace-events", classes]);
        let mut subscriber = server.connect();
        subscriber.line("PSUBSCRIBE __key*");
        subscriber.line("PSUBSCRIBE __sub*");
        Self {
            server,
            client,
            subscriber,
        }
    }

    /// The next message as `channel payload`.
    fn message(&mut self) -> Option<String> {
        let message = self.subscriber.read();
        let parts = message.as_elements().expect("a message");
        let text = |part: &resp::Value| {
            String::from_utf8_lossy(part.as_bytes().expect("bytes")).into_owned()
        };
        match parts {
            [word, _, channel, payload] if word.as_bytes() == Some(b"pmessage") => {
                Some(format!("{} {}", text(channel), text(payload)))
            }
            _ => None,
        }
    }

    /// The messages that have come since the last time.
    fn messages(&mut self) -> Vec<String> {
        self.subscriber.send(&[b"PING", b"mark"]);
        std::iter::from_fn(|| self.message()).collect()
    }

    /// The messages of one request.
    fn of(&mut self, line: &str) -> Vec<String> {
        self.client.line(line);
        self.messages()
    }
}

/// Both messages of each event as one.
fn in_pairs(messages: &[String]) -> Vec<String> {
    messages
        .chunks(2)
        .map(|pair| {
            let (channel, event) = pair[0].rsplit_once(' ').expect("an event");
            let (place, key) = channel.split_once("__:").expect("a key");
            let db = place.strip_prefix("__keyspace@").expect("a keyspace event");
            let other = format!("__keyevent@{db}__:{event} {key}");
            assert_eq!(pair.get(1), Some(&other));
            let db = if db == "0" {
                String::new()
            } else {
                format!("{db}/")
            };
            format!("{db}{event} {key}")
        })
        .collect()
}

#[test]
fn events_are_those_of_valkey() {
    let mut listener = Listener::start("AKEmn");
    let words = |text: &'static str| text.split(", ").filter(|it| !it.is_empty());
    let mut events = EVENTS.iter().peekable();
    while let Some((line, expected)) = events.next() {
        let mut expected: Vec<&str> = words(expected).collect();
        // What comes later by itself may come at once on a busy machine: both are one.
        let later = events.next_if(|(line, _)| line.is_empty());
        let messages = match later {
            Some((_, later)) => {
                expected.extend(words(later));
                listener.client.line(line);
                let count = 2 * expected.len();
                (0..count)
                    .map(|_| listener.message().expect("a message"))
                    .collect()
            }
            None => listener.of(line),
        };
        assert_eq!(in_pairs(&messages), expected, "events of {line}");
    }
}

#[test]
fn classes_and_channels_are_chosen() {
    let mut listener = Listener::start("");
    for (given, shown) in [
        ("KEA", "AKE"),
        ("g$lshzxetdKE", "AKE"),
        ("KEg$", "g$KE"),
        ("AnocmSTIVKE", "AnocKEmSTIV"),
        ("", ""),
    ] {
        listener
            .client
            .run(&["CONFIG", "SET", "notify-keyspace-events", given]);
        let reply = listener.client.line("CONFIG GET notify-keyspace-events");
        assert_eq!(reply, format!(r#"["notify-keyspace-events" "{shown}"]"#));
    }
    let refused = listener.client.line("CONFIG SET notify-keyspace-events Q");
    assert!(refused.starts_with("-ERR CONFIG SET failed"), "{refused}");
    let cases: [(&str, &str, &[&str]); 7] = [
        ("", "SET a 1", &[]),
        ("A", "SET a 1", &[]),
        ("K$", "SET a 1", &["__keyspace@0__:a set"]),
        ("E$", "SET a 1", &["__keyevent@0__:set a"]),
        ("KEl", "SET a 1", &[]),
        ("Eg", "DEL a", &["__keyevent@0__:del a"]),
        ("En", "SET a 1", &["__keyevent@0__:new a"]),
    ];
    for (classes, line, expected) in cases {
        listener
            .client
            .run(&["CONFIG", "SET", "notify-keyspace-events", classes]);
        assert_eq!(listener.of(line), expected, "{line} with {classes}");
    }
}

#[test]
fn replaced_values_are_told() {
    let mut listener = Listener::start("EAoc");
    let cases: [(&str, &[&str]); 11] = [
        ("SET a 1", &["set a"]),
        ("SET a 2", &["overwritten a", "set a"]),
        ("RPUSH l x", &["rpush l"]),
        ("SET l 1", &["overwritten l", "type_changed l", "set l"]),
        ("APPEND l 1", &["append l"]),
        ("SADD s a", &["sadd s"]),
        (
            "SUNIONSTORE l s",
            &["overwritten l", "type_changed l", "sunionstore l"],
        ),
        (
            "COPY a l REPLACE",
            &["copy_to l", "overwritten l", "type_changed l"],
        ),
        (
            "RENAME a l",
            &["rename_from a", "rename_to l", "overwritten l"],
        ),
        (
            "BITOP NOT s l",
            &["overwritten s", "type_changed s", "set s"],
        ),
        ("ZADD z 1 a", &["zadd z"]),
    ];
    for (line, expected) in cases {
        let expected: Vec<String> = expected
            .iter()
            .map(|event| {
                let (event, key) = event.split_once(' ').expect("event and key");
                format!("__keyevent@0__:{event} {key}")
            })
            .collect();
        assert_eq!(listener.of(line), expected, "{line}");
    }
}

#[test]
fn elements_have_channels_of_their_own() {
    let mut listener = Listener::start("STIVhszg");
    let of = |event: &str, key: &str, fields: &[&str]| -> Vec<String> {
        let list: Vec<String> = fields
            .iter()
            .map(|field| format!("{}:{field}", field.len()))
            .collect();
        let list = list.join(",");
        let mut messages = vec![
            format!("__subkeyspace@0__:{key} {event}|{list}"),
            format!("__subkeyevent@0__:{event} {}:{key}|{list}", key.len()),
        ];
        let items = fields.iter();
        messages.extend(items.map(|field| format!("__subkeyspaceitem@0__:{key}\n{field} {event}")));
        messages.push(format!("__subkeyspaceevent@0__:{event}|{key} {list}"));
        messages
    };
    let cases: [(&str, &str, &[&str]); 15] = [
        ("HSET h a 1 b 2", "hset", &["a", "b"]),
        ("HMSET h c 1", "hset", &["c"]),
        ("HSETNX h d 1", "hset", &["d"]),
        ("HINCRBY h n 1", "hincrby", &["n"]),
        ("HINCRBYFLOAT h n 1.5", "hincrbyfloat", &["n"]),
        ("HDEL h a nope", "hdel", &["a"]),
        ("HGETDEL h FIELDS 2 b nope", "hdel", &["b"]),
        ("HEXPIRE h 1000 FIELDS 2 c nope", "hexpire", &["c"]),
        ("HPERSIST h FIELDS 1 c", "hpersist", &["c"]),
        ("HSETEX h FIELDS 1 x 1", "hset", &["x"]),
        ("HGETEX h EX 1000 FIELDS 1 x", "hexpire", &["x"]),
        ("HEXPIRE h 0 FIELDS 2 c d", "hexpired", &["c", "d"]),
        ("SADD s a b", "", &[]),
        ("SEXPIRE s 1000 MEMBERS 1 a", "sexpire", &["a"]),
        ("DEL s", "", &[]),
    ];
    for (line, event, fields) in cases {
        let key = line.split(' ').nth(1).expect("a key");
        let expected = if event.is_empty() {
            Vec::new()
        } else {
            of(event, key, fields)
        };
        assert_eq!(listener.of(line), expected, "{line}");
    }
    // The channel of an element cannot be told apart when the key has an end of line.
    listener.client.run(&["HSET", "k\n", "f", "v"]);
    let messages = listener.messages();
    assert!(
        !messages
            .iter()
            .any(|message| message.contains("subkeyspaceitem"))
    );
    assert_eq!(messages.len(), 3);
    // What expires by itself.
    listener.client.line("HPEXPIRE h 1 FIELDS 1 x");
    let mut messages = Vec::new();
    wait_until("the field expires", || {
        messages.extend(listener.messages());
        messages
            .iter()
            .any(|message| message.starts_with("__subkeyspaceevent@0__:hexpired|h"))
    });
    assert_eq!(
        messages,
        [of("hexpire", "h", &["x"]), of("hexpired", "h", &["x"])].concat()
    );
}

#[test]
fn evicted_keys_are_told() {
    let mut listener = Listener::start("Ee");
    listener
        .client
        .line("CONFIG SET maxmemory-policy allkeys-random");
    for number in 0..100 {
        listener.client.line(&format!("SET key:{number} x"));
    }
    assert!(listener.messages().is_empty());
    // Nothing but the lower limit asks for room.
    listener.client.line("CONFIG SET maxmemory 1");
    let messages: Vec<String> = (0..100)
        .map(|_| listener.message().expect("a message"))
        .collect();
    listener.client.line("CONFIG SET maxmemory 0");
    assert_eq!(listener.client.line("DBSIZE"), ":0");
    assert!(
        messages
            .iter()
            .all(|it| it.starts_with("__keyevent@0__:evicted key:"))
    );
}

#[test]
fn keys_expire_with_an_event_at_their_time() {
    let mut listener = Listener::start("Ex");
    for number in 0..20 {
        listener
            .client
            .line(&format!("SET key:{number} x PX {}", 5 + number));
    }
    let mut seen: Vec<String> = (0..20)
        .map(|_| listener.message().expect("a message"))
        .collect();
    seen.sort();
    let mut expected: Vec<String> = (0..20)
        .map(|number| format!("__keyevent@0__:expired key:{number}"))
        .collect();
    expected.sort();
    assert_eq!(seen, expected);
    assert_eq!(listener.client.line("DBSIZE"), ":0");
}

#[test]
fn events_come_in_the_order_of_the_log() {
    const WRITERS: usize = 4;
    const WRITES: usize = 200;
    let mut listener = Listener::start("E$");
    let server = &listener.server;
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                let mut client = server.connect();
                for number in 0..WRITES {
                    client.line(&format!("APPEND shared {writer}:{number},"));
                    client.line(&format!("SET own:{writer}:{number} x"));
                }
            });
        }
    });
    let events = (0..2 * WRITERS * WRITES).map(|_| listener.message().expect("a message"));
    let events: Vec<String> = events.collect();
    let logged: Vec<String> = listener
        .server
        .logged()
        .iter()
        .filter_map(|command| {
            let mut words = command.split(' ');
            match (words.next()?, words.next()?) {
                ("APPEND", key) => Some(format!("__keyevent@0__:append {key}")),
                ("SET", key) => Some(format!("__keyevent@0__:set {key}")),
                _ => None,
            }
        })
        .collect();
    assert_eq!(logged.len(), events.len());
    // All writes of a key: their events are in the order of their records.
    for key in ["shared", "own:0:0", "own:3:199"] {
        let of = |all: &[String]| -> Vec<String> {
            all.iter()
                .filter(|it| it.ends_with(&format!(" {key}")))
                .cloned()
                .collect()
        };
        assert_eq!(of(&events), of(&logged));
    }
    // And those of one writer, over all its keys.
    for writer in 0..WRITERS {
        let own = format!(" own:{writer}:");
        let of = |all: &[String]| -> Vec<String> {
            all.iter().filter(|it| it.contains(&own)).cloned().collect()
        };
        assert_eq!(of(&events), of(&logged));
    }
}

#[test]
fn transactions_and_messages_keep_their_order() {
    let mut listener = Listener::start("E$");
    listener.subscriber.line("PSUBSCRIBE chat");
    for line in ["MULTI", "SET a 1", "PUBLISH chat hi", "SET b 1"] {
        listener.client.line(line);
    }
    assert_eq!(listener.client.line("EXEC"), "[+OK :1 +OK]");
    assert_eq!(
        listener.messages(),
        ["__keyevent@0__:set a", "chat hi", "__keyevent@0__:set b"]
    );
}

#[test]
fn events_reach_resp3_clients_and_single_channels() {
    let mut listener = Listener::start("KEA");
    let mut one = listener.server.connect_resp3();
    one.line("SUBSCRIBE __keyevent@0__:set");
    listener
        .client
        .check(&[("SET k v", "+OK"), ("LPUSH l a", ":1")]);
    one.send(&[b"SUBSCRIBE", b"__keyspace@0__:k"]);
    assert_eq!(
        show(&one.read()),
        r#">["message" "__keyevent@0__:set" "k"]"#
    );
    assert_eq!(show(&one.read()), r#">["subscribe" "__keyspace@0__:k" :2]"#);
    // Its own changes come behind its replies.
    one.send(&[b"SET", b"k", b"w"]);
    assert_eq!(show(&one.read()), "+OK");
    assert_eq!(
        show(&one.read()),
        r#">["message" "__keyspace@0__:k" "set"]"#
    );
    assert_eq!(
        show(&one.read()),
        r#">["message" "__keyevent@0__:set" "k"]"#
    );
    // Nothing is sent any more when the last listener has gone.
    one.line("UNSUBSCRIBE __keyspace@0__:k");
    one.line("UNSUBSCRIBE __keyevent@0__:set");
    listener.subscriber.line("RESET");
    listener.client.line("SET k x");
    assert_eq!(one.line("PING"), "+PONG");
}
