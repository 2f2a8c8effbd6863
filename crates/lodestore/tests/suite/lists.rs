//! Commands on lists; what waits for elements is in `blocking`.

use resp::Value;

use super::harness::{TestServer, dump};

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const SYNTAX: &str = "-ERR syntax error";
const NOT_POSITIVE: &str = "-ERR value is out of range, must be positive";
const OUT_OF_RANGE: &str =
    "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";

#[test]
fn pushes_and_pops() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("LPUSHX l a", ":0"),
        ("RPUSHX l a", ":0"),
        ("EXISTS l", ":0"),
        ("LPUSH l a b c", ":3"),
        ("RPUSH l d 12", ":5"),
        ("LPUSHX l x", ":6"),
        ("RPUSHX l y z", ":8"),
        ("LRANGE l 0 -1", r#"["x" "c" "b" "a" "d" "12" "y" "z"]"#),
        ("LLEN l", ":8"),
        ("TYPE l", "+list"),
        ("LPOP l", r#""x""#),
        ("RPOP l", r#""z""#),
        ("RPOP l 0", "[]"),
        ("LPOP l 2", r#"["c" "b"]"#),
        ("RPOP l 3", r#"["y" "12" "d"]"#),
        ("LPOP l 9223372036854775807", r#"["a"]"#),
        ("EXISTS l", ":0"),
        ("LPOP l", "nil"),
        ("LPOP l 1", "nil-array"),
        ("RPOP l 0", "nil-array"),
        ("LLEN l", ":0"),
        ("LPOP l -1", NOT_POSITIVE),
        ("RPOP l abc", NOT_POSITIVE),
        (
            "LPOP l 1 2",
            "-ERR wrong number of arguments for 'lpop' command",
        ),
        (
            "RPOP l 1 2",
            "-ERR wrong number of arguments for 'rpop' command",
        ),
        (
            "LPUSH l",
            "-ERR wrong number of arguments for 'lpush' command",
        ),
    ]);
    // The kinds of null differ in RESP2.
    for (line, reply) in [
        ("LPOP none", Value::NullBulk),
        ("LPOP none 1", Value::NullArray),
        ("LMPOP 1 none LEFT", Value::NullArray),
        ("LMOVE none none LEFT LEFT", Value::NullBulk),
        ("LMOVEM none none LEFT LEFT", Value::NullArray),
        ("LINDEX none 0", Value::NullBulk),
        ("LPOS none a", Value::NullBulk),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(client.run(&words), reply, "{line}");
    }
    let mut resp3 = server.connect_resp3();
    for line in ["LPOP none", "RPOP none 1", "LMPOP 1 none LEFT"] {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(resp3.run(&words), Value::Null, "{line}");
    }
}

#[test]
fn reading() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("RPUSH l a b 3 d", ":4"),
        ("LINDEX l 0", r#""a""#),
        ("LINDEX l -1", r#""d""#),
        ("LINDEX l 2", r#""3""#),
        ("LINDEX l 4", "nil"),
        ("LINDEX l -5", "nil"),
        ("LINDEX l x", NOT_INTEGER),
        ("LINDEX none x", "nil"),
        ("LRANGE l 1 2", r#"["b" "3"]"#),
        ("LRANGE l -2 100", r#"["3" "d"]"#),
        ("LRANGE l -100 0", r#"["a"]"#),
        ("LRANGE l 2 1", "[]"),
        ("LRANGE l 4 9", "[]"),
        ("LRANGE none 0 -1", "[]"),
        ("LRANGE none x -1", NOT_INTEGER),
        ("LRANGE l 0 1.5", NOT_INTEGER),
    ]);
}

#[test]
fn editing() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("LINSERT l BEFORE a b", ":0"),
        ("LSET l 0 a", "-ERR no such key"),
        ("RPUSH l a c a", ":3"),
        ("LINSERT l before c b", ":4"),
        ("LINSERT l AFTER a x", ":5"),
        ("LINSERT l AFTER none x", ":-1"),
        ("LINSERT l MIDDLE a x", SYNTAX),
        ("LRANGE l 0 -1", r#"["a" "x" "b" "c" "a"]"#),
        ("LSET l 1 y", "+OK"),
        ("LSET l -1 z", "+OK"),
        ("LSET l 5 q", "-ERR index out of range"),
        ("LSET l -6 q", "-ERR index out of range"),
        ("LSET l x q", NOT_INTEGER),
        ("LRANGE l 0 -1", r#"["a" "y" "b" "c" "z"]"#),
        ("LTRIM l 1 -2", "+OK"),
        ("LRANGE l 0 -1", r#"["y" "b" "c"]"#),
        ("LTRIM l 0 -1", "+OK"),
        ("LTRIM l x -1", NOT_INTEGER),
        ("LTRIM l 5 10", "+OK"),
        ("EXISTS l", ":0"),
        ("LTRIM l 0 1", "+OK"),
        ("RPUSH l 1 2 1 3 1 4 1", ":7"),
        ("LREM l 2 1", ":2"),
        ("LRANGE l 0 -1", r#"["2" "3" "1" "4" "1"]"#),
        ("LREM l -1 1", ":1"),
        ("LRANGE l 0 -1", r#"["2" "3" "1" "4"]"#),
        ("LREM l 0 none", ":0"),
        ("LREM none 0 x", ":0"),
        ("LREM l x 1", NOT_INTEGER),
        ("LREM l -9223372036854775808 1", OUT_OF_RANGE),
        ("LREM l -9223372036854775807 3", ":1"),
        ("LTRIM l 0 0", "+OK"),
        ("LREM l 0 2", ":1"),
        ("EXISTS l", ":0"),
    ]);
}

#[test]
fn positions() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("LPOS none a", "nil"),
        ("LPOS none a COUNT 0", "[]"),
        ("RPUSH l a b c 1 2 3 c c", ":8"),
        ("LPOS l c", ":2"),
        ("LPOS l x", "nil"),
        ("LPOS l x COUNT 0", "[]"),
        ("LPOS l c RANK 2", ":6"),
        ("LPOS l c RANK -1", ":7"),
        ("LPOS l c RANK 4", "nil"),
        ("LPOS l c COUNT 2", "[:2 :6]"),
        ("LPOS l c COUNT 0 RANK -2", "[:6 :2]"),
        ("LPOS l c COUNT 0 RANK 2", "[:6 :7]"),
        ("LPOS l c MAXLEN 2", "nil"),
        ("LPOS l c MAXLEN 3 COUNT 0", "[:2]"),
        ("LPOS l c RANK -1 MAXLEN 1 COUNT 0", "[:7]"),
        ("LPOS l 1", ":3"),
        (
            "LPOS l c RANK 0",
            "-ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list",
        ),
        ("LPOS l c RANK -9223372036854775808", OUT_OF_RANGE),
        ("LPOS l c RANK x", NOT_INTEGER),
        ("LPOS l c COUNT -1", "-ERR COUNT can't be negative"),
        ("LPOS l c COUNT x", "-ERR COUNT can't be negative"),
        ("LPOS l c MAXLEN -1", "-ERR MAXLEN can't be negative"),
        ("LPOS l c RANK", SYNTAX),
        ("LPOS l c WHAT 1", SYNTAX),
    ]);
}

#[test]
fn moves() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("LMOVE none to LEFT RIGHT", "nil"),
        ("EXISTS to", ":0"),
        ("RPUSH from a b c d", ":4"),
        ("LMOVE from to LEFT RIGHT", r#""a""#),
        ("LMOVE from to right left", r#""d""#),
        ("RPOPLPUSH from to", r#""c""#),
        ("LRANGE to 0 -1", r#"["c" "d" "a"]"#),
        ("LMOVE from to LEFT LEFT", r#""b""#),
        ("EXISTS from", ":0"),
        ("LMOVE to to LEFT RIGHT", r#""b""#),
        ("LRANGE to 0 -1", r#"["c" "d" "a" "b"]"#),
        ("LMOVE to to LEFT LEFT", r#""c""#),
        ("RPOPLPUSH to to", r#""b""#),
        ("LRANGE to 0 -1", r#"["b" "c" "d" "a"]"#),
        ("RPUSH one x", ":1"),
        ("LMOVE one one RIGHT LEFT", r#""x""#),
        ("LRANGE one 0 -1", r#"["x"]"#),
        ("LMOVE from to UP LEFT", SYNTAX),
        ("LMOVE from to LEFT DOWN", SYNTAX),
        ("BLMOVE to one LEFT RIGHT 0", r#""b""#),
        ("BRPOPLPUSH to one 0", r#""a""#),
        ("LRANGE one 0 -1", r#"["a" "x" "b"]"#),
    ]);
}

#[test]
fn moves_of_many() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("LMOVEM none to LEFT LEFT", "nil-array"),
        ("LMOVEM none to LEFT LEFT COUNT 3 BULK", "nil-array"),
        ("LMOVEM none to LEFT LEFT EXACTLY 3 OBO", "nil-array"),
        ("RPUSH l 1 2 3 4 5 6 7 8", ":8"),
        ("LMOVEM l a LEFT RIGHT", r#"["1"]"#),
        ("LMOVEM l a LEFT LEFT COUNT 2 OBO", r#"["3" "2"]"#),
        ("LRANGE a 0 -1", r#"["3" "2" "1"]"#),
        ("LMOVEM l a left left count 2 bulk", r#"["4" "5"]"#),
        ("LRANGE a 0 -1", r#"["4" "5" "3" "2" "1"]"#),
        ("LMOVEM l b RIGHT RIGHT COUNT 2 OBO", r#"["8" "7"]"#),
        ("LMOVEM l b RIGHT LEFT EXACTLY 2 BULK", "nil-array"),
        ("LMOVEM l b RIGHT LEFT EXACTLY 1 BULK", r#"["6"]"#),
        ("EXISTS l", ":0"),
        ("LRANGE b 0 -1", r#"["6" "8" "7"]"#),
        ("LMOVEM b b LEFT LEFT EXACTLY 3 BULK", r#"["6" "8" "7"]"#),
        ("LMOVEM b b LEFT LEFT EXACTLY 2 OBO", r#"["8" "6"]"#),
        ("LRANGE b 0 -1", r#"["8" "6" "7"]"#),
        ("LMOVEM b b RIGHT LEFT COUNT 2 OBO", r#"["6" "7"]"#),
        ("LRANGE b 0 -1", r#"["6" "7" "8"]"#),
        ("LMOVEM b b LEFT RIGHT COUNT 2 BULK", r#"["6" "7"]"#),
        ("LRANGE b 0 -1", r#"["8" "6" "7"]"#),
        ("LMOVEM b a RIGHT LEFT COUNT 100 OBO", r#"["8" "6" "7"]"#),
        ("EXISTS b", ":0"),
        ("LLEN a", ":8"),
        ("BLMOVEM a b LEFT RIGHT 0 COUNT 2 BULK", r#"["8" "6"]"#),
        ("SET s v", "+OK"),
        ("LMOVEM a s LEFT LEFT COUNT 2 BULK", WRONG_TYPE),
        ("LMOVEM s a LEFT LEFT", WRONG_TYPE),
        ("LLEN a", ":6"),
        ("LMOVEM a b LEFT LEFT COUNT 2", SYNTAX),
        ("LMOVEM a b LEFT LEFT COUNT 2 OBO x", SYNTAX),
        ("LMOVEM a b LEFT LEFT BAD 2 OBO", SYNTAX),
        ("LMOVEM a b LEFT LEFT COUNT 2 BAD", SYNTAX),
        ("LMOVEM a b BAD LEFT", SYNTAX),
        (
            "LMOVEM a b LEFT",
            "-ERR wrong number of arguments for 'lmovem' command",
        ),
        (
            "LMOVEM a b LEFT LEFT COUNT 0 OBO",
            "-ERR count should be greater than 0",
        ),
        (
            "LMOVEM a b LEFT LEFT EXACTLY x OBO",
            "-ERR count should be greater than 0",
        ),
    ]);
}

#[test]
fn pops_from_several_keys() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("LMPOP 2 a b LEFT", "nil-array"),
        ("RPUSH b 1 2 3 4", ":4"),
        ("RPUSH c 5", ":1"),
        ("LMPOP 3 a b c LEFT", r#"["b" ["1"]]"#),
        ("LMPOP 3 a b c right COUNT 2", r#"["b" ["4" "3"]]"#),
        ("BLMPOP 0 3 a b c RIGHT COUNT 9", r#"["b" ["2"]]"#),
        ("EXISTS b", ":0"),
        ("BLPOP a b c 0", r#"["c" "5"]"#),
        ("LMPOP 0 a LEFT", "-ERR numkeys should be greater than 0"),
        ("LMPOP x a LEFT", "-ERR numkeys should be greater than 0"),
        ("LMPOP 2 a LEFT", SYNTAX),
        ("LMPOP 9223372036854775807 a LEFT", SYNTAX),
        ("LMPOP 1 a UP", SYNTAX),
        ("LMPOP 1 a LEFT COUNT", SYNTAX),
        (
            "LMPOP 1 a LEFT COUNT 0",
            "-ERR count should be greater than 0",
        ),
        (
            "LMPOP 1 a LEFT COUNT -1",
            "-ERR count should be greater than 0",
        ),
        ("LMPOP 1 a LEFT COUNT 1 COUNT 2", SYNTAX),
        ("LMPOP 1 a LEFT COUNT 1 x", SYNTAX),
        ("SET s v", "+OK"),
        ("RPUSH l 1", ":1"),
        ("LMPOP 2 s l LEFT", WRONG_TYPE),
        ("LMPOP 2 l s LEFT", r#"["l" ["1"]]"#),
    ]);
}

#[test]
fn wrong_type() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[("SET s v", "+OK"), ("RPUSH l a", ":1")]);
    for line in [
        "LPUSH s a",
        "RPUSH s a",
        "LPUSHX s a",
        "RPUSHX s a",
        "LINSERT s BEFORE a b",
        "LLEN s",
        "LINDEX s 0",
        "LINDEX s x",
        "LSET s x a",
        "LPOP s",
        "LPOP s 0",
        "RPOP s",
        "LRANGE s 0 -1",
        "LTRIM s 0 1",
        "LREM s 0 a",
        "LPOS s a",
        "LMOVE s l LEFT LEFT",
        "LMOVE l s LEFT LEFT",
        "RPOPLPUSH l s",
        "BLMOVE s l LEFT LEFT 0",
        "BLMOVE l s LEFT LEFT 0",
        "BRPOPLPUSH l s 0",
        "BLPOP s 0",
        "BRPOP none s 0",
        "BLMPOP 0 1 s LEFT",
        "BLMOVEM s l LEFT LEFT 0",
        "GET l",
    ] {
        assert_eq!(client.line(line), WRONG_TYPE, "{line}");
    }
    client.check(&[("LRANGE l 0 -1", r#"["a"]"#), ("GET s", r#""v""#)]);
}

#[test]
fn deadlines_stay_and_go_with_the_key() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("RPUSH l a b", ":2"),
        ("EXPIRE l 100", ":1"),
        ("LPUSH l c", ":3"),
        ("LPOP l", r#""c""#),
        ("LSET l 0 x", "+OK"),
        ("TTL l", ":100"),
        ("LPOP l 2", r#"["x" "b"]"#),
        ("RPUSH l a", ":1"),
        ("TTL l", ":-1"),
        ("PEXPIRE l 1", ":1"),
    ]);
    std::thread::sleep(std::time::Duration::from_millis(20));
    client.check(&[
        ("LLEN l", ":0"),
        ("LPUSHX l a", ":0"),
        ("RPUSH l new", ":1"),
        ("LRANGE l 0 -1", r#"["new"]"#),
    ]);
}

#[test]
fn encodings() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("RPUSH l a b c", ":3"),
        ("OBJECT ENCODING l", r#""listpack""#),
        ("CONFIG SET list-max-listpack-size 3", "+OK"),
        ("RPUSH l d", ":4"),
        ("OBJECT ENCODING l", r#""quicklist""#),
    ]);
}

#[test]
fn the_log_has_what_happened() {
    let server = TestServer::start_twice();
    let logged = server.logs_of(&[
        "RPUSH l 1 2 3 4 5 6 7 8",
        "LPUSHX none a",
        "LMPOP 2 none l LEFT COUNT 2",
        "BLMPOP 0 1 l RIGHT",
        "BLPOP none l 0",
        "BRPOP l 0",
        "BLMOVE l m left RIGHT 0",
        "BRPOPLPUSH l m 0",
        "LMOVE m m LEFT RIGHT",
        "BLMOVEM m n LEFT RIGHT 0 COUNT 9 BULK",
        "LMOVEM n m LEFT RIGHT COUNT 1 OBO",
        "LTRIM n 0 -1",
        "LREM n 0 none",
        "LTRIM n 5 6",
        "LPOP none",
    ]);
    assert_eq!(
        logged,
        [
            "RPUSH l 1 2 3 4 5 6 7 8",
            "LPOP l 2",
            "RPOP l 1",
            "LPOP l",
            "RPOP l",
            "LMOVE l m left RIGHT",
            "RPOPLPUSH l m",
            "LMOVE m m LEFT RIGHT",
            "LMOVEM m n LEFT RIGHT EXACTLY 2 BULK",
            "LMOVEM n m LEFT RIGHT COUNT 1 OBO",
            "LTRIM n 5 6",
        ]
    );
    server.assert_replays();
}

#[test]
fn long_elements_and_long_lists_survive_a_restart() {
    let mut server = TestServer::start_twice();
    let mut client = server.connect();
    let long = vec![b'x'; 200_000];
    for _ in 0..3 {
        client.run_bytes(&[b"RPUSH", b"long", &long, b"1", b"-77", b""]);
    }
    for number in 0..2_000 {
        client.line(&format!("LPUSH many {number} e{number}"));
    }
    client.check(&[
        ("LLEN many", ":4000"),
        ("LINDEX many 1", r#""1999""#),
        ("LINDEX many -1", r#""0""#),
        ("LLEN long", ":12"),
        ("LTRIM many 100 -101", "+OK"),
        ("LREM many 1 1000", ":1"),
        ("LINSERT many AFTER e999 new", ":3800"),
    ]);
    let before = dump(&mut client);
    server.restart();
    assert_eq!(dump(&mut server.connect()), before);
}
