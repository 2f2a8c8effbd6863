//! Commands on sorted sets.

use std::collections::BTreeSet;
use std::time::Duration;

use resp::Value;

use super::harness::{Client, TestServer, show};

const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const NOT_FLOAT: &str = "-ERR value is not a valid float";
const SYNTAX: &str = "-ERR syntax error";
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const BAD_SCORES: &str = "-ERR min or max is not a float";
const BAD_MEMBERS: &str = "-ERR min or max not valid string range item";

/// Members `m0` to `m(n-1)` with their numbers as scores at `key`.
fn fill(client: &mut Client, key: &str, count: usize) {
    for start in (0..count).step_by(500) {
        let pairs: Vec<String> = (start..count.min(start + 500))
            .map(|at| format!("{at} m{at}"))
            .collect();
        client.line(&format!("ZADD {key} {}", pairs.join(" ")));
    }
}

/// The texts of an array of bulk strings.
fn texts(value: &Value) -> Vec<String> {
    let elements = value.as_elements().expect("an array");
    let bytes = elements.iter().filter_map(Value::as_bytes);
    bytes
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .collect()
}

#[test]
fn adding() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("ZADD k 1 a 2 b 3 c", ":3"),
        ("ZADD k 1 a 5 b 4 d", ":1"),
        ("ZADD k CH 1 a 6 b 7 e", ":2"),
        ("ZADD k NX 9 a 9 f", ":1"),
        ("ZADD k XX 2 a 9 g", ":0"),
        ("ZADD k XX CH 3 a 9 g", ":1"),
        ("ZADD k GT CH 1 a 10 b", ":1"),
        ("ZADD k LT CH 1 a 20 b", ":1"),
        ("ZADD k GT 5 h", ":1"),
        ("ZRANGE k 0 -1 WITHSCORES", "[\"a\" \"1\" \"c\" \"3\" \"d\" \"4\" \"h\" \"5\" \"e\" \"7\" \"f\" \"9\" \"b\" \"10\"]"),
        ("ZADD none XX 1 a", ":0"),
        ("ZADD none XX INCR 1 a", "nil"),
        ("EXISTS none", ":0"),
        ("ZCARD none", ":0"),
        ("ZADD k 1", "-ERR wrong number of arguments for 'zadd' command"),
        ("ZADD k 1 a 2", SYNTAX),
        ("ZADD k NX CH", SYNTAX),
        ("ZADD k XX NX 1 a", "-ERR XX and NX options at the same time are not compatible"),
        ("ZADD k GT NX 1 a", "-ERR GT, LT, and/or NX options at the same time are not compatible"),
        ("ZADD k GT LT 1 a", "-ERR GT, LT, and/or NX options at the same time are not compatible"),
        ("ZADD k INCR 1 a 2 b", "-ERR INCR option supports a single increment-element pair"),
        ("ZADD k 1 a x b", NOT_FLOAT),
        ("ZADD k nan a", NOT_FLOAT),
        ("ZADD k 1e999 a", NOT_FLOAT),
        ("ZSCORE k a", "\"1\""),
    ]);
    client.check(&[
        ("ZADD s inf a -inf b 1.5 c 1e20 d -0 e 0.1 f", ":6"),
        (
            "ZMSCORE s a b c d e f none",
            "[\"inf\" \"-inf\" \"1.5\" \"1e+20\" \"0\" \"0.1\" nil]",
        ),
        ("ZMSCORE none a b", "[nil nil]"),
        ("ZSCORE none a", "nil"),
        ("ZSCORE s none", "nil"),
    ]);
}

#[test]
fn incrementing() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    const NAN: &str = "-ERR resulting score is not a number (NaN)";
    client.check(&[
        ("ZINCRBY k 1.5 a", "\"1.5\""),
        ("ZINCRBY k 1.5 a", "\"3\""),
        ("ZINCRBY k 0 a", "\"3\""),
        ("ZADD k INCR -1 a", "\"2\""),
        ("ZADD k INCR NX 1 a", "nil"),
        ("ZADD k INCR XX 1 b", "nil"),
        ("ZADD k INCR GT -1 a", "nil"),
        ("ZADD k INCR LT -1 a", "\"1\""),
        ("ZINCRBY k inf a", "\"inf\""),
        ("ZINCRBY k -inf a", NAN),
        ("ZSCORE k a", "\"inf\""),
        ("ZINCRBY k x a", NOT_FLOAT),
        ("ZINCRBY k NX a", SYNTAX),
        (
            "ZINCRBY k 1",
            "-ERR wrong number of arguments for 'zincrby' command",
        ),
    ]);
    let mut resp3 = server.connect_resp3();
    resp3.check(&[
        ("ZINCRBY n 2.5 a", ",2.5"),
        ("ZADD n INCR 1 a", ",3.5"),
        ("ZADD n INCR NX 1 a", "null"),
        ("ZADD n 4 a", ":0"),
    ]);
}

#[test]
fn ranges_by_rank_and_score() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.line("ZADD k -inf a 1 b 2 c 2 d 3 e inf f");
    client.check(&[
        ("ZRANGE k 0 -1", "[\"a\" \"b\" \"c\" \"d\" \"e\" \"f\"]"),
        ("ZRANGE k 1 2 WITHSCORES", "[\"b\" \"1\" \"c\" \"2\"]"),
        ("ZRANGE k -2 100", "[\"e\" \"f\"]"),
        ("ZRANGE k 3 1", "[]"),
        ("ZRANGE k 6 9", "[]"),
        ("ZRANGE k 0 1 REV", "[\"f\" \"e\"]"),
        (
            "ZREVRANGE k 0 1 WITHSCORES",
            "[\"f\" \"inf\" \"e\" \"3\"]",
        ),
        ("ZREVRANGE k -1 -1", "[\"a\"]"),
        ("ZRANGE none 0 -1", "[]"),
        ("ZRANGE k 0 -1 LIMIT 2 -1", "[\"a\" \"b\" \"c\" \"d\" \"e\" \"f\"]"),
        ("ZRANGEBYSCORE k 1 2", "[\"b\" \"c\" \"d\"]"),
        ("ZRANGEBYSCORE k (1 (3", "[\"c\" \"d\"]"),
        ("ZRANGEBYSCORE k (2 2", "[]"),
        ("ZRANGEBYSCORE k 3 1", "[]"),
        ("ZRANGEBYSCORE k -inf +inf LIMIT 1 2", "[\"b\" \"c\"]"),
        ("ZRANGEBYSCORE k -inf +inf LIMIT 4 -1", "[\"e\" \"f\"]"),
        ("ZRANGEBYSCORE k -inf +inf LIMIT 100 1", "[]"),
        ("ZRANGEBYSCORE k -inf +inf LIMIT -1 1", "[]"),
        (
            "ZRANGEBYSCORE k -inf +inf LIMIT 9223372036854775807 9223372036854775807",
            "[]",
        ),
        (
            "ZREVRANGEBYSCORE k 3 (1 WITHSCORES LIMIT 1 9223372036854775807",
            "[\"d\" \"2\" \"c\" \"2\"]",
        ),
        ("ZRANGE k 1 (3 BYSCORE", "[\"b\" \"c\" \"d\"]"),
        (
            "ZRANGE k (3 1 BYSCORE REV LIMIT 0 2 WITHSCORES",
            "[\"d\" \"2\" \"c\" \"2\"]",
        ),
        ("ZCOUNT k 1 2", ":3"),
        ("ZCOUNT k -inf +inf", ":6"),
        ("ZCOUNT k 5 1", ":0"),
        ("ZCOUNT none 1 2", ":0"),
        ("ZCOUNT k a 2", BAD_SCORES),
        ("ZRANGEBYSCORE k 1 nan", BAD_SCORES),
        ("ZRANGE k a 1", NOT_INTEGER),
        ("ZRANGE k 0 1 LIMIT a 1 BYSCORE", NOT_INTEGER),
        ("ZRANGE k 0 1 LIMIT 0", SYNTAX),
        ("ZRANGE k 0 1 x", SYNTAX),
        ("ZRANGE k 0 1 BYSCORE BYLEX", SYNTAX),
        ("ZREVRANGE k 0 1 REV", SYNTAX),
        ("ZRANGEBYSCORE k 0 1 BYLEX", SYNTAX),
        (
            "ZRANGE k 0 1 LIMIT 0 1",
            "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
        ),
        (
            "ZRANGE k - + BYLEX WITHSCORES",
            "-ERR syntax error, WITHSCORES not supported in combination with BYLEX",
        ),
        ("ZRANK k d", ":3"),
        ("ZREVRANK k d", ":2"),
        ("ZRANK k d WITHSCORE", "[:3 \"2\"]"),
        ("ZREVRANK k f WITHSCORE", "[:0 \"inf\"]"),
        ("ZRANK k none", "nil"),
        ("ZRANK k none WITHSCORE", "nil-array"),
        ("ZRANK none d", "nil"),
        ("ZRANK k d x", SYNTAX),
        (
            "ZRANK k d WITHSCORE x",
            "-ERR wrong number of arguments for 'zrank' command",
        ),
    ]);
    client.send(&[b"ZRANK", b"none", b"a", b"WITHSCORE"]);
    assert_eq!(client.read(), Value::NullArray);
    client.send(&[b"ZRANK", b"none", b"a"]);
    assert_eq!(client.read(), Value::NullBulk);
}

#[test]
fn ranges_by_member() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.line("ZADD k 0 a 0 b 0 c 0 d \"0\" \"\" 0 bb");
    client.check(&[
        ("ZRANGEBYLEX k - +", "[\"\" \"a\" \"b\" \"bb\" \"c\" \"d\"]"),
        ("ZRANGEBYLEX k + -", "[]"),
        ("ZRANGEBYLEX k (a [c", "[\"b\" \"bb\" \"c\"]"),
        ("ZRANGEBYLEX k [b (c", "[\"b\" \"bb\"]"),
        ("ZRANGEBYLEX k (b (b", "[]"),
        ("ZRANGEBYLEX k [b [b", "[\"b\"]"),
        ("ZRANGEBYLEX k - + LIMIT 1 2", "[\"a\" \"b\"]"),
        ("ZRANGEBYLEX k - + LIMIT -1 2", "[]"),
        ("ZREVRANGEBYLEX k + [b LIMIT 0 2", "[\"d\" \"c\"]"),
        ("ZREVRANGEBYLEX k [b -", "[\"b\" \"a\" \"\"]"),
        ("ZRANGE k [b (d BYLEX", "[\"b\" \"bb\" \"c\"]"),
        ("ZRANGE k (d [b BYLEX REV LIMIT 1 -1", "[\"bb\" \"b\"]"),
        ("ZLEXCOUNT k - +", ":6"),
        ("ZLEXCOUNT k [b [c", ":3"),
        ("ZLEXCOUNT none - +", ":0"),
        ("ZRANGEBYLEX k a b", BAD_MEMBERS),
        ("ZLEXCOUNT k [a b", BAD_MEMBERS),
        ("ZLEXCOUNT k -x +", BAD_MEMBERS),
        (
            "ZRANGEBYLEX k - + WITHSCORES",
            "-ERR syntax error, WITHSCORES not supported in combination with BYLEX",
        ),
        ("ZREMRANGEBYLEX k [b (c", ":2"),
        ("ZREMRANGEBYLEX k b c", BAD_MEMBERS),
        ("ZRANGEBYLEX k - +", "[\"\" \"a\" \"c\" \"d\"]"),
        ("ZREMRANGEBYLEX k - +", ":4"),
        ("EXISTS k", ":0"),
        ("ZREMRANGEBYLEX k - +", ":0"),
    ]);
}

#[test]
fn resp3_has_doubles_and_pairs() {
    let server = TestServer::start_twice();
    let mut client = server.connect_resp3();
    client.check(&[
        ("ZADD k 1 a 2.5 b inf c", ":3"),
        ("ZSCORE k b", ",2.5"),
        ("ZMSCORE k a none c", "[,1 null ,inf]"),
        ("ZRANGE k 0 1", "[\"a\" \"b\"]"),
        ("ZRANGE k 0 1 WITHSCORES", "[[\"a\" ,1] [\"b\" ,2.5]]"),
        (
            "ZREVRANGEBYSCORE k 3 -inf WITHSCORES",
            "[[\"b\" ,2.5] [\"a\" ,1]]",
        ),
        ("ZRANK k b WITHSCORE", "[:1 ,2.5]"),
        (
            "ZUNION 1 k WITHSCORES",
            "[[\"a\" ,1] [\"b\" ,2.5] [\"c\" ,inf]]",
        ),
        (
            "ZINTER 2 k k WITHSCORES",
            "[[\"a\" ,2] [\"b\" ,5] [\"c\" ,inf]]",
        ),
        (
            "ZDIFF 2 k none WITHSCORES",
            "[[\"a\" ,1] [\"b\" ,2.5] [\"c\" ,inf]]",
        ),
        (
            "ZRANDMEMBER k 5 WITHSCORES",
            "[[\"c\" ,inf] [\"b\" ,2.5] [\"a\" ,1]]",
        ),
        (
            "ZSCAN k 0",
            "[\"0\" [\"a\" \"1\" \"b\" \"2.5\" \"c\" \"inf\"]]",
        ),
        ("ZPOPMIN k", "[\"a\" ,1]"),
        ("ZPOPMAX k 2", "[[\"c\" ,inf] [\"b\" ,2.5]]"),
        ("ZADD k 1 a 2 b 3 c", ":3"),
        ("ZMPOP 1 k MIN", "[\"k\" [[\"a\" ,1]]]"),
        (
            "BZMPOP 1 1 k MAX COUNT 5",
            "[\"k\" [[\"c\" ,3] [\"b\" ,2]]]",
        ),
        ("ZADD k 1 a", ":1"),
        ("BZPOPMIN k 1", "[\"k\" \"a\" ,1]"),
    ]);
    client.send(&[b"ZMPOP", b"1", b"k", b"MIN"]);
    assert_eq!(client.read(), Value::Null);
}

#[test]
fn removing() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    fill(&mut client, "k", 10);
    client.check(&[
        ("ZREM k m0 m1 none m1", ":2"),
        ("ZREM none a", ":0"),
        ("ZREMRANGEBYRANK k 0 1", ":2"),
        ("ZREMRANGEBYRANK k -1 -1", ":1"),
        ("ZREMRANGEBYRANK k 5 9", ":0"),
        ("ZREMRANGEBYRANK k x 9", NOT_INTEGER),
        ("ZRANGE k 0 -1", "[\"m4\" \"m5\" \"m6\" \"m7\" \"m8\"]"),
        ("ZREMRANGEBYSCORE k (4 6", ":2"),
        ("ZREMRANGEBYSCORE k 4 x", BAD_SCORES),
        ("ZREMRANGEBYSCORE none 4 5", ":0"),
        ("ZREMRANGEBYSCORE k -inf +inf", ":3"),
        ("EXISTS k", ":0"),
        ("ZADD k 1 a 2 b", ":2"),
        ("ZREM k a b c", ":2"),
        ("EXISTS k", ":0"),
        ("ZADD k 1 a 2 b", ":2"),
        ("ZREMRANGEBYRANK k 0 -1", ":2"),
        ("EXISTS k", ":0"),
    ]);
}

#[test]
fn popping() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    const POSITIVE: &str = "-ERR value is out of range, must be positive";
    client.line("ZADD k 1 a 2 b 3 c 4 d 5 e");
    client.check(&[
        ("ZPOPMIN k", "[\"a\" \"1\"]"),
        ("ZPOPMAX k 2", "[\"e\" \"5\" \"d\" \"4\"]"),
        ("ZPOPMIN k 0", "[]"),
        ("ZPOPMIN k -1", POSITIVE),
        ("ZPOPMIN k x", POSITIVE),
        ("ZPOPMIN k 1 2", SYNTAX),
        ("ZPOPMAX k 9223372036854775807", "[\"c\" \"3\" \"b\" \"2\"]"),
        ("EXISTS k", ":0"),
        ("ZPOPMIN k", "[]"),
        ("ZADD k2 1 a 2 b 3 c", ":3"),
        ("ZMPOP 2 k k2 MIN", "[\"k2\" [[\"a\" \"1\"]]]"),
        (
            "ZMPOP 2 k k2 max count 9",
            "[\"k2\" [[\"c\" \"3\"] [\"b\" \"2\"]]]",
        ),
        ("ZMPOP 2 k k2 MAX", "nil-array"),
        ("ZMPOP 0 k MIN", "-ERR numkeys should be greater than 0"),
        ("ZMPOP x k MIN", "-ERR numkeys should be greater than 0"),
        ("ZMPOP 2 k MIN", SYNTAX),
        ("ZMPOP 9223372036854775807 k MIN", SYNTAX),
        ("ZMPOP 1 k MID", SYNTAX),
        ("ZMPOP 1 k MIN COUNT", SYNTAX),
        ("ZMPOP 1 k MIN x 1", SYNTAX),
        ("ZMPOP 1 k MIN COUNT 1 COUNT 2", SYNTAX),
        (
            "ZMPOP 1 k MIN COUNT 0",
            "-ERR count should be greater than 0",
        ),
        (
            "ZMPOP 1 k MIN COUNT 0 x",
            "-ERR count should be greater than 0",
        ),
    ]);
}

#[test]
fn unions_intersections_and_differences() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("ZADD a 1 x 2 y 3 z", ":3"),
        ("ZADD b 10 y 20 z 30 w", ":3"),
        ("SADD s x y 7", ":3"),
        (
            "ZUNION 2 a b WITHSCORES",
            "[\"x\" \"1\" \"y\" \"12\" \"z\" \"23\" \"w\" \"30\"]",
        ),
        (
            "ZUNION 2 a b WEIGHTS 2 0.5 AGGREGATE MAX WITHSCORES",
            "[\"x\" \"2\" \"y\" \"5\" \"z\" \"10\" \"w\" \"15\"]",
        ),
        (
            "ZUNION 2 a s WITHSCORES AGGREGATE MIN",
            "[\"7\" \"1\" \"x\" \"1\" \"y\" \"1\" \"z\" \"3\"]",
        ),
        (
            "ZUNION 3 a b s AGGREGATE COUNT WITHSCORES",
            "[\"7\" \"1\" \"w\" \"1\" \"x\" \"2\" \"z\" \"2\" \"y\" \"3\"]",
        ),
        (
            "ZUNION 2 a b AGGREGATE count WEIGHTS 2 0.5 WITHSCORES",
            "[\"w\" \"0.5\" \"x\" \"2\" \"y\" \"2.5\" \"z\" \"2.5\"]",
        ),
        (
            "ZINTER 2 a a WEIGHTS inf -inf AGGREGATE COUNT WITHSCORES",
            "[\"x\" \"0\" \"y\" \"0\" \"z\" \"0\"]",
        ),
        ("ZINTERSTORE to 3 a b s AGGREGATE COUNT", ":1"),
        ("ZRANGE to 0 -1 WITHSCORES", "[\"y\" \"3\"]"),
        ("ZUNIONSTORE to 2 to s WEIGHTS 1 -4 AGGREGATE COUNT", ":3"),
        (
            "ZRANGE to 0 -1 WITHSCORES",
            "[\"7\" \"-4\" \"x\" \"-4\" \"y\" \"-3\"]",
        ),
        ("ZUNION 2 a none", "[\"x\" \"y\" \"z\"]"),
        ("ZINTER 2 a b WITHSCORES", "[\"y\" \"12\" \"z\" \"23\"]"),
        ("ZINTER 3 a b s WITHSCORES", "[\"y\" \"13\"]"),
        ("ZINTER 2 a none", "[]"),
        (
            "ZINTER 2 a a WEIGHTS 1 2 WITHSCORES",
            "[\"x\" \"3\" \"y\" \"6\" \"z\" \"9\"]",
        ),
        ("ZDIFF 2 a b WITHSCORES", "[\"x\" \"1\"]"),
        ("ZDIFF 2 s a WITHSCORES", "[\"7\" \"1\"]"),
        ("ZDIFF 2 none a", "[]"),
        ("ZDIFF 3 a b a", "[]"),
        ("ZINTERCARD 2 a b", ":2"),
        ("ZINTERCARD 2 a b LIMIT 1", ":1"),
        ("ZINTERCARD 2 a b LIMIT 0", ":2"),
        ("ZINTERCARD 2 a b LIMIT 5", ":2"),
        ("ZUNIONSTORE to 2 a b", ":4"),
        ("ZINTERSTORE to 2 to s AGGREGATE MIN", ":2"),
        ("ZRANGE to 0 -1 WITHSCORES", "[\"x\" \"1\" \"y\" \"1\"]"),
        ("ZDIFFSTORE to 2 to s", ":0"),
        ("EXISTS to", ":0"),
        ("SET to text", "+OK"),
        ("ZUNIONSTORE to 1 s WEIGHTS 3", ":3"),
        (
            "ZRANGE to 0 -1 WITHSCORES",
            "[\"7\" \"3\" \"x\" \"3\" \"y\" \"3\"]",
        ),
        ("SET to text", "+OK"),
        ("ZINTERSTORE to 2 a none", ":0"),
        ("EXISTS to", ":0"),
    ]);
    client.check(&[
        ("ZADD inf inf m", ":1"),
        ("ZADD -inf -inf m", ":1"),
        ("ZUNION 2 inf -inf WITHSCORES", "[\"m\" \"0\"]"),
        ("ZINTER 2 inf -inf WITHSCORES", "[\"m\" \"0\"]"),
        ("ZUNION 1 inf WEIGHTS 0 WITHSCORES", "[\"m\" \"0\"]"),
        (
            "ZUNION 2 inf -inf WEIGHTS 1 inf AGGREGATE MIN WITHSCORES",
            "[\"m\" \"-inf\"]",
        ),
    ]);
}

#[test]
fn errors_of_unions_intersections_and_differences() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.line("ZADD a 1 x");
    client.check(&[
        (
            "ZUNION 0 a",
            "-ERR at least 1 input key is needed for 'zunion' command",
        ),
        (
            "ZINTERSTORE d 0 a",
            "-ERR at least 1 input key is needed for 'zinterstore' command",
        ),
        (
            "ZDIFF -1 a",
            "-ERR at least 1 input key is needed for 'zdiff' command",
        ),
        ("ZUNION x a", NOT_INTEGER),
        ("ZUNION 2 a", SYNTAX),
        ("ZUNION 9223372036854775807 a", SYNTAX),
        ("ZUNION 1 a WEIGHTS x", "-ERR weight value is not a float"),
        ("ZUNION 1 a WEIGHTS nan", "-ERR weight value is not a float"),
        ("ZUNION 1 a WEIGHTS", SYNTAX),
        ("ZUNION 2 a a WEIGHTS 1", SYNTAX),
        ("ZUNION 1 a WEIGHTS 1 2", SYNTAX),
        ("ZUNION 1 a AGGREGATE", SYNTAX),
        ("ZUNION 1 a AGGREGATE avg", SYNTAX),
        ("ZUNION 1 a LIMIT 1", SYNTAX),
        ("ZUNIONSTORE d 1 a WITHSCORES", SYNTAX),
        ("ZDIFF 1 a WEIGHTS 1", SYNTAX),
        ("ZDIFFSTORE d 1 a AGGREGATE SUM", SYNTAX),
        ("ZINTERCARD 1 a AGGREGATE COUNT", SYNTAX),
        ("ZUNION 1 a WEIGHTS 0x2", "-ERR weight value is not a float"),
        ("ZADD hex 0x10 m", "-ERR value is not a valid float"),
        ("ZINCRBY hex 0x1p3 m", "-ERR value is not a valid float"),
        ("ZCOUNT hex 0x1 0x2", "-ERR min or max is not a float"),
        ("GEOADD hex 0x1 2 m", "-ERR value is not a valid float"),
        ("ZINTERCARD 1 a WEIGHTS 1", SYNTAX),
        ("ZINTERCARD 1 a LIMIT", SYNTAX),
        ("ZINTERCARD 1 a LIMIT -1", "-ERR LIMIT can't be negative"),
        ("ZINTERCARD 1 a LIMIT x", "-ERR LIMIT can't be negative"),
        ("ZINTERCARD 1 a WITHSCORES", SYNTAX),
        ("EXISTS d", ":0"),
        ("SET str v", "+OK"),
        ("ZUNION 2 a str", WRONG_TYPE),
        ("ZUNION 1 str WEIGHTS x", WRONG_TYPE),
        ("ZINTERCARD 2 none str", WRONG_TYPE),
        ("ZDIFFSTORE d 2 none str", WRONG_TYPE),
    ]);
}

#[test]
fn big_unions_intersections_and_differences() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    fill(&mut client, "a", 1_000);
    client.check(&[
        ("ZRANGESTORE b a 500 999", ":500"),
        ("ZUNIONSTORE u 2 a b", ":1000"),
        ("ZSCORE u m499", "\"499\""),
        ("ZSCORE u m500", "\"1000\""),
        ("ZINTERSTORE i 2 a b WEIGHTS 1 -1", ":500"),
        ("ZSCORE i m777", "\"0\""),
        ("ZINTERCARD 2 a b LIMIT 100", ":100"),
        ("ZDIFFSTORE d 2 a b", ":500"),
        (
            "ZRANGE d -2 -1 WITHSCORES",
            "[\"m498\" \"498\" \"m499\" \"499\"]",
        ),
        // Many small inputs are marked in the first, few are asked.
        ("ZADD one 1 m0", ":1"),
        ("ZADD two 1 m1 1 other", ":2"),
        ("ZDIFFSTORE d 6 a one two one two none", ":998"),
        ("ZRANGE d 0 0", "[\"m2\"]"),
        ("ZDIFFSTORE d 6 a b one two one two", ":498"),
        ("SADD s m0 m1 m2", ":3"),
        ("ZDIFFSTORE d 6 s one two none none none", ":1"),
        ("ZRANGE d 0 -1 WITHSCORES", "[\"m2\" \"1\"]"),
        ("ZDIFF 8 one a a a a a a a", "[]"),
    ]);
}

#[test]
fn storing_ranges() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.line("ZADD k 1 a 2 b 3 c 4 d");
    client.check(&[
        ("ZRANGESTORE to k 1 -1", ":3"),
        ("ZRANGE to 0 -1 WITHSCORES", "[\"b\" \"2\" \"c\" \"3\" \"d\" \"4\"]"),
        ("ZRANGESTORE to k 0 0 REV", ":1"),
        ("ZRANGE to 0 -1 WITHSCORES", "[\"d\" \"4\"]"),
        ("ZRANGESTORE to k (1 3 BYSCORE LIMIT 1 1", ":1"),
        ("ZRANGE to 0 -1", "[\"c\"]"),
        ("ZRANGESTORE to k 4 2 BYSCORE REV LIMIT 0 2", ":2"),
        ("ZRANGE to 0 -1", "[\"c\" \"d\"]"),
        ("ZRANGESTORE to k [a (c BYLEX", ":2"),
        ("ZRANGESTORE k k 0 1", ":2"),
        ("ZRANGE k 0 -1", "[\"a\" \"b\"]"),
        ("ZRANGESTORE to k 5 6", ":0"),
        ("EXISTS to", ":0"),
        ("SET to text", "+OK"),
        ("ZRANGESTORE to none 0 -1", ":0"),
        ("EXISTS to", ":0"),
        ("ZRANGESTORE to k 0 -1 WITHSCORES", SYNTAX),
        ("ZRANGESTORE to k 0 -1 LIMIT 0 1", "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"),
        ("ZRANGESTORE to k a b BYSCORE", BAD_SCORES),
        ("ZRANGESTORE to k a b BYLEX", BAD_MEMBERS),
        ("ZRANGESTORE to k a b", NOT_INTEGER),
    ]);
}

#[test]
fn random_members() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("ZRANDMEMBER none", "nil"),
        ("ZRANDMEMBER none 3", "[]"),
        ("ZADD k 1 a", ":1"),
        ("ZRANDMEMBER k", "\"a\""),
        ("ZRANDMEMBER k 0", "[]"),
        ("ZRANDMEMBER k 1 WITHSCORES", "[\"a\" \"1\"]"),
        ("ZRANDMEMBER k -2 WITHSCORES", "[\"a\" \"1\" \"a\" \"1\"]"),
        ("ZRANDMEMBER k 9223372036854775807", "[\"a\"]"),
        ("ZRANDMEMBER k x", NOT_INTEGER),
        ("ZRANDMEMBER k 1 x", SYNTAX),
        ("ZRANDMEMBER k 1 WITHSCORES x", SYNTAX),
        ("ZRANDMEMBER k -9223372036854775808", "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"),
        ("ZRANDMEMBER k -9223372036854775807 WITHSCORES", "-ERR value is out of range"),
        ("ZRANDMEMBER k 9223372036854775807 WITHSCORES", "-ERR value is out of range"),
        ("ZRANDMEMBER k -4611686018427387903 WITHSCORES", "-ERR value is out of range"),
    ]);
    for (key, size) in [("small", 50), ("big", 1_000)] {
        fill(&mut client, key, size);
        for count in [2, size / 10, size / 2, size - 1, size] {
            let reply = client.run(&["ZRANDMEMBER", key, &count.to_string()]);
            let found = texts(&reply);
            let distinct: BTreeSet<&String> = found.iter().collect();
            assert_eq!((found.len(), distinct.len()), (count, count));
        }
        let reply = client.run(&["ZRANDMEMBER", key, "-300"]);
        assert_eq!(texts(&reply).len(), 300);
    }
}

#[test]
fn scanning() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("ZSCAN none 0", "[\"0\" []]"),
        ("ZSCAN none 0 x", "[\"0\" []]"),
        ("ZADD k 1.5 a 2 b", ":2"),
        ("ZSCAN k 0", "[\"0\" [\"a\" \"1.5\" \"b\" \"2\"]]"),
        ("ZSCAN k 0 NOSCORES", "[\"0\" [\"a\" \"b\"]]"),
        ("ZSCAN k 0 NOSCORES MATCH b COUNT 5", "[\"0\" [\"b\"]]"),
        ("ZSCAN k x", "-ERR invalid cursor"),
        ("ZSCAN k 0 COUNT 0", SYNTAX),
        ("ZSCAN k 0 COUNT x", NOT_INTEGER),
        ("ZSCAN k 0 COUNT", SYNTAX),
        (
            "ZSCAN k 0 NOVALUES",
            "-ERR NOVALUES option can only be used in HSCAN",
        ),
    ]);
    fill(&mut client, "big", 1_000);
    client.line("ZADD big 3.1 fraction");
    let mut cursor = "0".to_owned();
    let mut found = BTreeSet::new();
    loop {
        let reply = client.run(&["ZSCAN", "big", &cursor, "COUNT", "50"]);
        let parts = reply.as_elements().expect("two parts");
        for pair in texts(&parts[1]).chunks(2) {
            found.insert((pair[0].clone(), pair[1].clone()));
        }
        cursor = texts(&Value::Array(vec![parts[0].clone()])).remove(0);
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(found.len(), 1_001);
    assert!(found.contains(&("m17".to_owned(), "17".to_owned())));
    assert!(found.contains(&("fraction".to_owned(), "3.1000000000000001".to_owned())));
}

#[test]
fn wrong_type() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.line("SET str v");
    for command in [
        "ZADD str 1 a",
        "ZADD str XX 1 a",
        "ZINCRBY str 1 a",
        "ZCARD str",
        "ZCOUNT str 0 1",
        "ZLEXCOUNT str - +",
        "ZSCORE str a",
        "ZMSCORE str a",
        "ZRANK str a",
        "ZREVRANK str a WITHSCORE",
        "ZREM str a",
        "ZREMRANGEBYRANK str 0 1",
        "ZREMRANGEBYSCORE str 0 1",
        "ZREMRANGEBYLEX str - +",
        "ZRANGE str 0 1",
        "ZREVRANGE str 0 1",
        "ZRANGEBYSCORE str 0 1",
        "ZREVRANGEBYSCORE str 0 1",
        "ZRANGEBYLEX str - +",
        "ZREVRANGEBYLEX str + -",
        "ZRANGESTORE to str 0 1",
        "ZPOPMIN str",
        "ZPOPMAX str 0",
        "ZMPOP 2 none str MIN",
        "BZPOPMIN none str 0",
        "BZPOPMAX str 0",
        "BZMPOP 0 1 str MAX",
        "ZRANDMEMBER str",
        "ZRANDMEMBER str 3",
        "ZSCAN str 0 x",
    ] {
        assert_eq!(client.line(command), WRONG_TYPE, "{command}");
    }
    client.line("ZADD z 1 a");
    client.check(&[("GET z", WRONG_TYPE), ("TYPE z", "+zset")]);
}

#[test]
fn lifetimes() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.line("ZADD k 1 a 2 b 3 c");
    client.line("EXPIRE k 100");
    client.line("ZADD k 4 d");
    client.line("ZINCRBY k 1 a");
    client.line("ZREM k b");
    client.line("ZPOPMIN k");
    assert!((90..=100).contains(&client.integer("TTL k")));
    client.line("ZADD source 1 a");
    client.line("ZUNIONSTORE k 1 source");
    client.check(&[("TTL k", ":-1")]);
    client.line("PEXPIRE k 20");
    std::thread::sleep(Duration::from_millis(40));
    client.check(&[
        ("ZCARD k", ":0"),
        ("ZADD k XX 1 a", ":0"),
        ("ZUNION 2 k source", "[\"a\"]"),
        ("ZADD k 1 z", ":1"),
        ("TTL k", ":-1"),
        ("ZRANGE k 0 -1", "[\"z\"]"),
    ]);
}

#[test]
fn encodings() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    fill(&mut client, "small", 128);
    fill(&mut client, "big", 129);
    let long = "x".repeat(65);
    client.line(&format!("ZADD long 1 {long}"));
    client.check(&[
        ("OBJECT ENCODING small", "\"listpack\""),
        ("OBJECT ENCODING big", "\"skiplist\""),
        ("OBJECT ENCODING long", "\"skiplist\""),
        ("ZUNIONSTORE u 2 small big", ":129"),
        ("OBJECT ENCODING u", "\"skiplist\""),
        ("ZRANGESTORE u big 0 9", ":10"),
        ("OBJECT ENCODING u", "\"listpack\""),
        ("ZDIFFSTORE u 2 big small", ":1"),
        ("OBJECT ENCODING u", "\"listpack\""),
        ("ZREMRANGEBYRANK big 1 -1", ":128"),
        ("OBJECT ENCODING big", "\"skiplist\""),
    ]);
}

#[test]
fn what_is_logged() {
    let server = TestServer::start_twice();
    let logged = |commands: &[&str], expected: &[&str]| {
        assert_eq!(server.logs_of(commands), expected, "{commands:?}");
    };
    logged(&["ZADD k 1 a 2 b 3 c 4 d"], &["ZADD k 1 a 2 b 3 c 4 d"]);
    logged(&["ZADD k 1 a", "ZADD k NX 9 a", "ZADD none XX 1 a"], &[]);
    logged(&["ZADD k INCR 1.5 a"], &["ZADD k INCR 1.5 a"]);
    logged(&["ZINCRBY k 1 a", "ZINCRBY k 0 a"], &["ZINCRBY k 1 a"]);
    logged(&["ZREM k x", "ZREM k a x"], &["ZREM k a x"]);
    logged(&["ZPOPMIN none", "ZPOPMIN k"], &["ZPOPMIN k"]);
    logged(&["ZMPOP 2 none k MAX COUNT 9"], &["ZPOPMAX k 2"]);
    logged(&["ZADD k 1 a 2 b 3 c 4 d"], &["ZADD k 1 a 2 b 3 c 4 d"]);
    logged(&["BZPOPMIN none k 0"], &["ZPOPMIN k"]);
    logged(&["BZMPOP 0 2 none k MAX"], &["ZPOPMAX k 1"]);
    logged(&["ZUNIONSTORE u 1 k"], &["ZUNIONSTORE u 1 k"]);
    logged(&["ZRANGESTORE r k 0 0"], &["ZRANGESTORE r k 0 0"]);
    logged(&["ZINTERSTORE u 2 k none"], &["ZINTERSTORE u 2 k none"]);
    logged(&["ZINTERSTORE u 2 k none"], &[]);
    logged(&["ZREMRANGEBYSCORE k 9 9", "ZREMRANGEBYRANK k 9 9"], &[]);
    logged(&["ZREMRANGEBYSCORE k 2 2"], &["ZREMRANGEBYSCORE k 2 2"]);
    logged(&["ZRANGE k 0 -1", "ZDIFF 1 k", "ZRANDMEMBER k 3"], &[]);
}

#[test]
fn everything_is_there_after_a_restart() {
    let mut server = TestServer::start_twice();
    let mut client = server.connect();
    fill(&mut client, "big", 600);
    for command in [
        "ZADD k 1.1 a -inf b inf c -0 d 5e-324 e 1.7976931348623157e308 f",
        "ZINCRBY k 0.1 a",
        "ZINCRBY big 1000.25 m3",
        "ZREMRANGEBYRANK big 10 19",
        "ZPOPMAX big 5",
        "ZUNIONSTORE u 2 big k WEIGHTS 0.1 3",
        "ZRANGESTORE r big 5 100 BYSCORE LIMIT 3 20",
        "ZDIFFSTORE d 2 big r",
    ] {
        client.line(command);
    }
    let contents = |client: &mut Client| {
        ["k", "big", "u", "r", "d"]
            .map(|key| show(&client.run(&["ZRANGE", key, "0", "-1", "WITHSCORES"])))
    };
    let before = contents(&mut client);
    server.restart();
    assert_eq!(contents(&mut server.connect()), before);
}

#[test]
fn waiting_clients_are_served_in_order() {
    let server = TestServer::start();
    let mut feeder = server.connect();
    let waiters = [
        "BZPOPMIN k 0",
        "BZPOPMAX other k 0",
        "BZMPOP 0 1 k MIN COUNT 2",
    ];
    let mut clients = Vec::new();
    for (at, command) in waiters.iter().enumerate() {
        let mut client = server.connect();
        let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        client.send(&words);
        until_blocked(&mut feeder, at + 1);
        clients.push(client);
    }
    feeder.line("ZADD k 1 a 2 b 3 c 4 d 5 e");
    let replies: Vec<String> = clients.iter_mut().map(|it| show(&it.read())).collect();
    assert_eq!(
        replies,
        [
            "[\"k\" \"a\" \"1\"]",
            "[\"k\" \"e\" \"5\"]",
            "[\"k\" [[\"b\" \"2\"] [\"c\" \"3\"]]]"
        ]
    );
    feeder.check(&[("ZRANGE k 0 -1", "[\"d\"]")]);
    server.assert_replays();
}

/// Waits until so many clients are blocked.
fn until_blocked(client: &mut Client, count: usize) {
    let wanted = format!("blocked_clients:{count}\r");
    for _ in 0..1_000 {
        let info = client.run(&["INFO", "clients"]);
        let text = info.as_bytes().expect("a text");
        if String::from_utf8_lossy(text).contains(&wanted) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("there are never {count} blocked clients");
}

#[test]
fn every_way_to_feed_wakes_waiting_clients() {
    let server = TestServer::start();
    let mut feeder = server.connect();
    feeder.line("ZADD source 1 a");
    feeder.line("SADD set a");
    for feed in [
        "ZADD k 1 a",
        "ZINCRBY k 1 a",
        "ZUNIONSTORE k 1 source",
        "ZINTERSTORE k 1 set",
        "ZDIFFSTORE k 1 source",
        "ZRANGESTORE k source 0 -1",
        "COPY source k",
    ] {
        let mut client = server.connect();
        client.send(&[b"BZPOPMIN", b"k", b"0"]);
        until_blocked(&mut feeder, 1);
        feeder.line(feed);
        assert_eq!(show(&client.read()), "[\"k\" \"a\" \"1\"]", "{feed}");
        feeder.check(&[("EXISTS k", ":0")]);
    }
}

#[test]
fn waits_end() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("BZPOPMIN k 0.01", "nil-array"),
        ("BZMPOP 0.01 1 k MIN", "nil-array"),
        (
            "BZPOPMIN k x",
            "-ERR timeout is not a float or out of range",
        ),
        ("BZPOPMAX k -1", "-ERR timeout is negative"),
        ("BZPOPMAX k inf", "-ERR timeout is out of range"),
        ("BZMPOP -1 1 k MIN", "-ERR timeout is negative"),
        ("BZMPOP x 0 k MIN", "-ERR numkeys should be greater than 0"),
        (
            "BZMPOP 1 1 k MIN COUNT 0",
            "-ERR count should be greater than 0",
        ),
        (
            "BZMPOP 1 1 k",
            "-ERR wrong number of arguments for 'bzmpop' command",
        ),
        ("BZMPOP 1 2 k MIN", SYNTAX),
        ("MULTI", "+OK"),
        ("BZPOPMIN k 0", "+QUEUED"),
        ("ZADD k 1 a 2 b", "+QUEUED"),
        ("BZPOPMIN k 0", "+QUEUED"),
        ("BZMPOP 0 2 none k MAX", "+QUEUED"),
        ("BZMPOP 0 1 k MAX", "+QUEUED"),
        (
            "EXEC",
            "[nil-array :2 [\"k\" \"a\" \"1\"] [\"k\" [[\"b\" \"2\"]]] nil-array]",
        ),
    ]);
    client.send(&[b"BZPOPMIN", b"k", b"0.01"]);
    assert_eq!(client.read(), Value::NullArray);
    client.send(&[b"BZMPOP", b"0.01", b"1", b"k", b"MAX"]);
    assert_eq!(client.read(), Value::NullArray);
}

#[test]
fn a_key_of_another_type_wakes_nobody() {
    let server = TestServer::start_twice();
    let mut feeder = server.connect();
    let mut client = server.connect();
    client.send(&[b"BZPOPMIN", b"k", b"0"]);
    until_blocked(&mut feeder, 1);
    feeder.check(&[
        ("SADD k x", ":1"),
        ("SET k x", "+OK"),
        ("DEL k", ":1"),
        ("ZADD k 1 a", ":1"),
    ]);
    assert_eq!(show(&client.read()), "[\"k\" \"a\" \"1\"]");
    // A key that is gone again when the transaction ends serves no client.
    client.send(&[b"BZPOPMIN", b"k", b"0"]);
    until_blocked(&mut feeder, 1);
    feeder.check(&[
        ("MULTI", "+OK"),
        ("ZADD k 1 b", "+QUEUED"),
        ("DEL k", "+QUEUED"),
        ("EXEC", "[:1 :1]"),
        ("ZADD k 2 c", ":1"),
    ]);
    assert_eq!(show(&client.read()), "[\"k\" \"c\" \"2\"]");
}
