//! SORT and SORT_RO.

use super::harness::TestServer;

const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const SYNTAX: &str = "-ERR syntax error";
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_NUMBERS: &str = "-ERR One or more scores can't be converted into double";

#[test]
fn numbers_and_texts() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("RPUSH l 3 10 -5 2 1.5 1e2", ":6"),
        ("SORT l", "[\"-5\" \"1.5\" \"2\" \"3\" \"10\" \"1e2\"]"),
        ("SORT l DESC LIMIT 1 2", "[\"10\" \"3\"]"),
        (
            "SORT l ALPHA",
            "[\"-5\" \"1.5\" \"10\" \"1e2\" \"2\" \"3\"]",
        ),
        ("SORT l LIMIT 2 -1", "[\"2\" \"3\" \"10\" \"1e2\"]"),
        ("SORT l LIMIT -5 2", "[\"-5\" \"1.5\"]"),
        ("SORT l LIMIT 0 0", "[]"),
        ("SORT l LIMIT 6 1", "[]"),
        ("SORT l LIMIT 9223372036854775807 9223372036854775807", "[]"),
        ("SORT l DESC ASC LIMIT 0 1", "[\"-5\"]"),
        ("RPUSH same 1.0 1 01", ":3"),
        ("SORT same", "[\"01\" \"1\" \"1.0\"]"),
        ("SORT same DESC", "[\"1.0\" \"1\" \"01\"]"),
        ("RPUSH words b a abcdefghij abcdefgh abcdefghi", ":5"),
        (
            "SORT words ALPHA",
            "[\"a\" \"abcdefgh\" \"abcdefghi\" \"abcdefghij\" \"b\"]",
        ),
        ("SORT words", NOT_NUMBERS),
        ("RPUSH nan nan", ":1"),
        ("SORT nan", NOT_NUMBERS),
        ("SORT none", "[]"),
        ("SADD set 3 1 2", ":3"),
        ("SORT set", "[\"1\" \"2\" \"3\"]"),
        ("ZADD zset 3 1 2 2 1 3", ":3"),
        ("SORT zset", "[\"1\" \"2\" \"3\"]"),
        ("SORT_RO zset DESC", "[\"3\" \"2\" \"1\"]"),
    ]);
    let mut resp3 = server.connect_resp3();
    resp3.check(&[
        ("SORT set LIMIT 1 1", "[\"2\"]"),
        ("SORT set GET x_*", "[null null null]"),
    ]);
}

#[test]
fn errors() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("SET str x", "+OK"),
        ("HSET hash f v", ":1"),
        ("SORT str", WRONG_TYPE),
        ("SORT hash", WRONG_TYPE),
        ("SORT_RO str", WRONG_TYPE),
        ("SORT str STORE x", WRONG_TYPE),
        ("SORT k WHAT", SYNTAX),
        ("SORT k LIMIT 1", SYNTAX),
        ("SORT k LIMIT x 1", NOT_INTEGER),
        ("SORT k BY", SYNTAX),
        ("SORT k GET", SYNTAX),
        ("SORT k STORE", SYNTAX),
        ("SORT_RO k STORE x", SYNTAX),
        ("SORT str LIMIT x 1", NOT_INTEGER),
        ("SORT", "-ERR wrong number of arguments for 'sort' command"),
        ("COMMAND GETKEYS SORT k BY store STORE d", "[\"k\" \"d\"]"),
        ("COMMAND GETKEYS SORT k STORE a STORE b", "[\"k\" \"b\"]"),
        ("COMMAND GETKEYS SORT_RO k GET x_*", "[\"k\"]"),
    ]);
}

#[test]
fn by_other_keys() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("RPUSH l 1 2 3 4", ":4"),
        ("MSET w_1 30 w_2 20 w_3 10 name_1 one name_2 two", "+OK"),
        ("HSET h_1 weight 5 name eins", ":2"),
        ("HSET h_2 weight 7", ":1"),
        ("SORT l BY w_*", "[\"4\" \"3\" \"2\" \"1\"]"),
        ("SORT l BY w_* DESC LIMIT 0 2", "[\"1\" \"2\"]"),
        ("SORT l BY h_*->weight", "[\"3\" \"4\" \"1\" \"2\"]"),
        ("SORT l BY h_*->weight DESC", "[\"2\" \"1\" \"4\" \"3\"]"),
        ("SORT l BY name_* ALPHA", "[\"3\" \"4\" \"1\" \"2\"]"),
        ("SORT l BY name_* ALPHA DESC", "[\"2\" \"1\" \"3\" \"4\"]"),
        ("SORT l BY name_*", NOT_NUMBERS),
        ("SORT l BY w_*->field", "[\"1\" \"2\" \"3\" \"4\"]"),
        ("SORT l GET name_* LIMIT 0 3", "[\"one\" \"two\" nil]"),
        (
            "SORT l LIMIT 0 2 GET # GET name_* GET h_*->name GET nothing GET h_*",
            "[\"1\" \"one\" \"eins\" nil nil \"2\" \"two\" nil nil nil]",
        ),
        ("SORT l BY nosort DESC", "[\"4\" \"3\" \"2\" \"1\"]"),
        ("SORT l BY nosort LIMIT 1 2", "[\"2\" \"3\"]"),
        ("SORT l BY nosort DESC LIMIT 1 2", "[\"3\" \"2\"]"),
        ("SORT l BY nosort LIMIT 9 2", "[]"),
        ("ZADD z 1 c 2 b 3 a", ":3"),
        ("SORT z BY nosort", "[\"c\" \"b\" \"a\"]"),
        ("SORT z BY nosort DESC LIMIT 0 2", "[\"a\" \"b\"]"),
        // Inside a transaction the other keys are locked as well.
        ("MULTI", "+OK"),
        ("SORT l BY w_* GET name_*", "+QUEUED"),
        ("SORT l", "+QUEUED"),
        (
            "EXEC",
            "[[nil nil \"two\" \"one\"] [\"1\" \"2\" \"3\" \"4\"]]",
        ),
    ]);
}

#[test]
fn long_collections() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    let numbers: Vec<u64> = (0..2000u64).map(|n| n * 7919 % 2003).collect();
    let all: String = numbers.iter().map(|n| format!(" {n}")).collect();
    client.line(&format!("RPUSH l{all}"));
    for number in &numbers {
        client.run(&["SET", &format!("w_{number}"), &(5000 - number).to_string()]);
    }
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    let show = |numbers: &[u64]| {
        let texts: Vec<String> = numbers.iter().map(|n| format!("\"{n}\"")).collect();
        format!("[{}]", texts.join(" "))
    };
    assert_eq!(client.line("SORT l"), show(&sorted));
    assert_eq!(client.line("SORT l LIMIT 700 20"), show(&sorted[700..720]));
    sorted.reverse();
    assert_eq!(client.line("SORT l BY w_*"), show(&sorted));
    assert_eq!(
        client.line("SORT l BY w_* LIMIT 1990 30"),
        show(&sorted[1990..])
    );
}

#[test]
fn storing() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("RPUSH l 3 1 2", ":3"),
        ("SET d old EX 100", "+OK"),
        ("SORT l STORE d", ":3"),
        ("LRANGE d 0 -1", "[\"1\" \"2\" \"3\"]"),
        ("TTL d", ":-1"),
        ("OBJECT ENCODING d", "\"listpack\""),
        ("SORT l GET none_* GET # STORE d", ":6"),
        ("LRANGE d 0 -1", "[\"\" \"1\" \"\" \"2\" \"\" \"3\"]"),
        ("SORT l LIMIT 0 0 STORE d", ":0"),
        ("EXISTS d", ":0"),
        ("SORT none STORE d", ":0"),
        ("SORT l DESC STORE l", ":3"),
        ("LRANGE l 0 -1", "[\"3\" \"2\" \"1\"]"),
        // A set is stored in an order that does not depend on chance.
        ("SADD set b a c", ":3"),
        ("SORT set BY nosort STORE d", ":3"),
        ("LRANGE d 0 -1", "[\"a\" \"b\" \"c\"]"),
    ]);
    let logged = |commands: &[&str]| server.logs_of(commands).join("; ");
    assert_eq!(
        logged(&["SORT l STORE d", "SORT l", "SORT none STORE none"]),
        "SORT l STORE d"
    );
    server.assert_replays();
}

#[test]
fn stored_lists_wake_who_waits() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    let mut waiting = server.connect();
    client.line("RPUSH l 2 1");
    waiting.send(&[b"BLPOP", b"d", b"10"]);
    while client.line("INFO clients").contains("blocked_clients:0") {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert_eq!(client.integer("SORT l STORE d"), 2);
    assert_eq!(super::harness::show(&waiting.read()), "[\"d\" \"1\"]");
    assert_eq!(client.line("LRANGE d 0 -1"), "[\"2\"]");
}
