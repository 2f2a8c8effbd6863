//! Commands on hashes. Deadlines of fields are in `element_expiry`, beside those of members.

use std::collections::BTreeSet;

use resp::Value;

use super::harness::{Client, TestServer, dump};

const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const SYNTAX: &str = "-ERR syntax error";
const WRONGTYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const MISCOUNTED: &str =
    "-ERR numfields should be greater than 0 and match the provided number of fields";

#[test]
fn fields_are_set_and_read() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("HSET h a 1 b two", ":2"),
        ("HSET h a 3 c \"\"", ":1"),
        ("HMSET h d 4 e 5", "+OK"),
        ("HGET h a", "\"3\""),
        ("HGET h c", "\"\""),
        ("HGET h none", "nil"),
        ("HGET none a", "nil"),
        ("HMGET h a none b a", "[\"3\" nil \"two\" \"3\"]"),
        ("HMGET none a b", "[nil nil]"),
        ("HLEN h", ":5"),
        ("HLEN none", ":0"),
        ("HEXISTS h a", ":1"),
        ("HEXISTS h none", ":0"),
        ("HEXISTS none a", ":0"),
        ("HSTRLEN h b", ":3"),
        ("HSTRLEN h a", ":1"),
        ("HSTRLEN h none", ":0"),
        ("HSTRLEN none a", ":0"),
        ("HSETNX h a 9", ":0"),
        ("HSETNX h f 9", ":1"),
        ("HSETNX new f 9", ":1"),
        ("HGET h f", "\"9\""),
        ("TYPE h", "+hash"),
        ("HDEL h a none a b", ":2"),
        ("HDEL h c d e f g", ":4"),
        ("EXISTS h", ":0"),
        ("HDEL h a", ":0"),
        ("HGETALL none", "[]"),
        ("HKEYS none", "[]"),
        ("HVALS none", "[]"),
        (
            "HSET h a",
            "-ERR wrong number of arguments for 'hset' command",
        ),
        (
            "HSET h a 1 b",
            "-ERR wrong number of arguments for 'hset' command",
        ),
        (
            "HMSET h a 1 b",
            "-ERR wrong number of arguments for 'hmset' command",
        ),
        ("EXISTS h", ":0"),
    ]);
}

#[test]
fn replies_in_both_protocols() {
    let server = TestServer::start_twice();
    server.connect().line("HSET h f v");
    server.connect().check(&[
        ("HGETALL h", "[\"f\" \"v\"]"),
        ("HKEYS h", "[\"f\"]"),
        ("HVALS h", "[\"v\"]"),
        ("HRANDFIELD h 1 WITHVALUES", "[\"f\" \"v\"]"),
        ("HRANDFIELD h -2 WITHVALUES", "[\"f\" \"v\" \"f\" \"v\"]"),
        ("HRANDFIELD none", "nil"),
        ("HRANDFIELD none 1", "[]"),
        ("HSCAN none 0", "[\"0\" []]"),
    ]);
    server.connect_resp3().check(&[
        ("HGETALL h", "{\"f\": \"v\"}"),
        ("HGETALL none", "{}"),
        ("HKEYS h", "[\"f\"]"),
        ("HVALS h", "[\"v\"]"),
        ("HRANDFIELD h 1 WITHVALUES", "[[\"f\" \"v\"]]"),
        (
            "HRANDFIELD h -2 WITHVALUES",
            "[[\"f\" \"v\"] [\"f\" \"v\"]]",
        ),
        ("HRANDFIELD h -2", "[\"f\" \"f\"]"),
        ("HRANDFIELD h", "\"f\""),
        ("HRANDFIELD none", "null"),
        ("HRANDFIELD none 5 WITHVALUES", "[]"),
        ("HSCAN h 0", "[\"0\" [\"f\" \"v\"]]"),
        ("HGET none f", "null"),
    ]);
}

#[test]
fn other_types_are_refused() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.line("SET s v");
    client.line("HSET h f v");
    for command in [
        "HSET s f v",
        "HMSET s f v",
        "HSETNX s f v",
        "HGET s f",
        "HMGET s f",
        "HGETALL s",
        "HKEYS s",
        "HVALS s",
        "HLEN s",
        "HEXISTS s f",
        "HSTRLEN s f",
        "HDEL s f",
        "HINCRBY s f 1",
        "HINCRBYFLOAT s f 1",
        "HRANDFIELD s",
        "HRANDFIELD s 3",
        "HSCAN s 0",
        "HSCAN s 0 WHAT",
        "HGETEX s FIELDS 1 f",
        "HGETEX s EX 10 FIELDS 1 f",
        "HGETDEL s FIELDS 1 f",
        "HSETEX s FIELDS 1 f v",
        "HSETEX s NX FIELDS 1 f v",
        "HSETEX s EX -1 FIELDS 1 f v",
    ] {
        assert_eq!(client.line(command), WRONGTYPE, "{command}");
    }
    assert_eq!(client.line("APPEND h x"), WRONGTYPE);
    client.check(&[("GET s", "\"v\""), ("HGETALL h", "[\"f\" \"v\"]")]);
}

#[test]
fn counting() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("HINCRBY h n 5", ":5"),
        ("HINCRBY h n -7", ":-2"),
        (
            "HSET h max 9223372036854775807 text abc spaced \" 1\"",
            ":3",
        ),
        (
            "HINCRBY h max 1",
            "-ERR increment or decrement would overflow",
        ),
        ("HINCRBY h max -9223372036854775807", ":0"),
        ("HINCRBY h text 1", "-ERR hash value is not an integer"),
        ("HINCRBY h spaced 1", "-ERR hash value is not an integer"),
        ("HINCRBY h n x", NOT_INTEGER),
        ("HINCRBY none n x", NOT_INTEGER),
        ("HINCRBYFLOAT h f 10.5", "\"10.5\""),
        ("HINCRBYFLOAT h f 0.1", "\"10.6\""),
        ("HINCRBYFLOAT h f -5", "\"5.6\""),
        ("HINCRBYFLOAT h n 1.5e3", "\"1498\""),
        ("HINCRBYFLOAT h text 1", "-ERR hash value is not a float"),
        ("HINCRBYFLOAT h f x", "-ERR value is not a valid float"),
        ("HINCRBYFLOAT h f inf", "-ERR value is NaN or Infinity"),
        ("HINCRBYFLOAT none f -inf", "-ERR value is NaN or Infinity"),
        ("EXISTS none", ":0"),
    ]);
}

#[test]
fn values_with_every_byte() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    let bytes: Vec<u8> = (0..=255).collect();
    client.run_bytes(&[b"HSET", b"h", &bytes, &bytes, b"", b""]);
    let value = client.run_bytes(&[b"HGET", b"h", &bytes]);
    assert_eq!(value.as_bytes(), Some(&bytes[..]));
    client.check(&[("HGET h \"\"", "\"\""), ("HLEN h", ":2")]);
    let big = vec![b'x'; 3_000_000];
    client.run_bytes(&[b"HSET", b"h", b"big", &big]);
    client.check(&[("HSTRLEN h big", ":3000000")]);
    let value = client.run_bytes(&[b"HGET", b"h", b"big"]);
    assert_eq!(value.as_bytes(), Some(&big[..]));
    server.assert_replays();
}

/// Fields `f:0` to `f:{count - 1}` with their numbers.
fn fill(client: &mut Client, key: &str, count: usize) {
    let mut words = vec!["HSET".to_owned(), key.to_owned()];
    for number in 0..count {
        words.push(format!("f:{number}"));
        words.push(number.to_string());
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    assert_eq!(
        client.run(&words),
        Value::Integer(i64::try_from(count).expect("a count"))
    );
}

fn strings(value: &Value) -> Vec<String> {
    let elements = value.as_elements().expect("an array");
    let text =
        |value: &Value| String::from_utf8_lossy(value.as_bytes().expect("a string")).into_owned();
    elements.iter().map(text).collect()
}

#[test]
fn encodings() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("CONFIG SET hash-max-listpack-entries 4", "+OK"),
        ("CONFIG SET hash-max-listpack-value 8", "+OK"),
        ("HSET h a 1 b 2 c 3 d 12345678", ":4"),
        ("OBJECT ENCODING h", "\"listpack\""),
        ("HSET h d 123456789", ":0"),
        ("OBJECT ENCODING h", "\"hashtable\""),
        ("HGETALL none", "[]"),
        ("HSET many a 1 b 2 c 3 d 4 e 5", ":5"),
        ("OBJECT ENCODING many", "\"hashtable\""),
        ("HDEL many a b c", ":3"),
        ("OBJECT ENCODING many", "\"hashtable\""),
        ("HSET long 123456789 1", ":1"),
        ("OBJECT ENCODING long", "\"hashtable\""),
        ("HSET soon f v", ":1"),
        ("OBJECT ENCODING soon", "\"listpack\""),
        ("HEXPIRE soon 100 FIELDS 1 none", "[:-2]"),
        ("OBJECT ENCODING soon", "\"listpack\""),
        ("HEXPIRE soon 100 FIELDS 1 f", "[:1]"),
        ("OBJECT ENCODING soon", "\"hashtable\""),
    ]);
}

#[test]
fn random_fields() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    for (key, count) in [("small", 20_usize), ("large", 2_000)] {
        fill(&mut client, key, count);
        for wanted in [1, 5, count / 4, count / 2, count - 1, count, count * 2] {
            let reply = client.run(&["HRANDFIELD", key, &wanted.to_string()]);
            let fields = strings(&reply);
            let distinct: BTreeSet<&String> = fields.iter().collect();
            assert_eq!(fields.len(), wanted.min(count), "{wanted} of {key}");
            assert_eq!(distinct.len(), fields.len(), "{wanted} of {key}");
        }
        let reply = client.run(&["HRANDFIELD", key, "-5000", "WITHVALUES"]);
        let pairs = strings(&reply);
        assert_eq!(pairs.len(), 10_000);
        assert!(
            pairs
                .chunks(2)
                .all(|pair| pair[0] == format!("f:{}", pair[1]))
        );
        let distinct: BTreeSet<&[String]> = pairs.chunks(2).collect();
        assert!(distinct.len() > count / 2, "the draws of {key} are uneven");
    }
    client.check(&[
        ("HRANDFIELD small 0", "[]"),
        ("HRANDFIELD small x", NOT_INTEGER),
        ("HRANDFIELD small 1 WHAT", SYNTAX),
        ("HRANDFIELD small 1 WITHVALUES x", SYNTAX),
        (
            "HRANDFIELD small -9223372036854775808",
            "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ),
        (
            "HRANDFIELD small -9223372036854775807 WITHVALUES",
            "-ERR value is out of range",
        ),
        (
            "HRANDFIELD small -9223372036854775807",
            "-ERR reply exceeds maximum allowed size (proto-max-bulk-len)",
        ),
        ("CONFIG SET proto-max-bulk-len 1mb", "+OK"),
        (
            "HRANDFIELD small -150000 WITHVALUES",
            "-ERR reply exceeds maximum allowed size (proto-max-bulk-len)",
        ),
        ("PING", "+PONG"),
    ]);
    let all = client.run(&["HRANDFIELD", "small", "9223372036854775807"]);
    assert_eq!(strings(&all).len(), 20);
}

#[test]
fn walking() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    fill(&mut client, "large", 3_000);
    let mut seen = Vec::new();
    let mut cursor = "0".to_owned();
    loop {
        let reply = client.run(&["HSCAN", "large", &cursor, "COUNT", "50"]);
        let parts = reply.as_elements().expect("a cursor and fields");
        seen.extend(strings(&parts[1]));
        cursor = String::from_utf8_lossy(parts[0].as_bytes().expect("a cursor")).into_owned();
        if cursor == "0" {
            break;
        }
    }
    assert!(
        seen.chunks(2)
            .all(|pair| pair[0] == format!("f:{}", pair[1]))
    );
    let distinct: BTreeSet<&[String]> = seen.chunks(2).collect();
    assert_eq!(distinct.len(), 3_000);
    client.check(&[
        ("HSET h aa 1 ab 2 b 3", ":3"),
        (
            "HSCAN h 0 MATCH a? COUNT 1",
            "[\"0\" [\"aa\" \"1\" \"ab\" \"2\"]]",
        ),
        ("HSCAN h 0 MATCH a* NOVALUES", "[\"0\" [\"aa\" \"ab\"]]"),
        (
            "HSCAN h 0 NOVALUES COUNT 9223372036854775807",
            "[\"0\" [\"aa\" \"ab\" \"b\"]]",
        ),
        ("HSCAN h 0 MATCH x*", "[\"0\" []]"),
        ("HSCAN h x", "-ERR invalid cursor"),
        ("HSCAN h -1", "-ERR invalid cursor"),
        ("HSCAN h 0 COUNT 0", SYNTAX),
        ("HSCAN h 0 COUNT x", NOT_INTEGER),
        ("HSCAN h 0 COUNT", SYNTAX),
        ("HSCAN h 0 TYPE hash", SYNTAX),
        (
            "HSCAN h 0 NOSCORES",
            "-ERR NOSCORES option can only be used in ZSCAN",
        ),
        ("HSCAN none 0 WHAT", "[\"0\" []]"),
    ]);
}

#[test]
fn getting_with_deadlines() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("HSET h a 1 b 2 c 3", ":3"),
        ("HGETEX h FIELDS 3 a none b", "[\"1\" nil \"2\"]"),
        ("HTTL h FIELDS 2 a b", "[:-1 :-1]"),
        ("HGETEX h EX 100 FIELDS 2 a none", "[\"1\" nil]"),
        ("HTTL h FIELDS 2 a b", "[:100 :-1]"),
        ("HGETEX h PXAT 99999999999999 FIELDS 1 a", "[\"1\"]"),
        ("HPEXPIRETIME h FIELDS 1 a", "[:99999999999999]"),
        ("HGETEX h EXAT 9999999999 FIELDS 1 a", "[\"1\"]"),
        ("HEXPIRETIME h FIELDS 1 a", "[:9999999999]"),
        ("HGETEX h FIELDS 1 a", "[\"1\"]"),
        ("HEXPIRETIME h FIELDS 1 a", "[:9999999999]"),
        ("HGETEX h PERSIST FIELDS 2 a b", "[\"1\" \"2\"]"),
        ("HTTL h FIELDS 1 a", "[:-1]"),
        ("HGETEX h FIELDS 1 b PX 100000", "[\"2\"]"),
        ("HTTL h FIELDS 1 b", "[:100]"),
        ("HGETEX h PX 0 FIELDS 2 a a", "[\"1\" nil]"),
        ("HEXISTS h a", ":0"),
        ("HGETEX none EX 10 FIELDS 2 a b", "[nil nil]"),
        ("HGETEX none FIELDS 1 a", "[nil]"),
        ("HGETEX h EX 10 PERSIST FIELDS 1 a", SYNTAX),
        ("HGETEX h EX 10 PX 10 FIELDS 1 a", SYNTAX),
        ("HGETEX h KEEPTTL FIELDS 1 a", SYNTAX),
        ("HGETEX h EX FIELDS 1 a", SYNTAX),
        ("HGETEX h EX x FIELDS 1 a", NOT_INTEGER),
        (
            "HGETEX h EX -1 FIELDS 1 a",
            "-ERR invalid expire time in 'hgetex' command",
        ),
        ("HGETEX h FIELDS x a", NOT_INTEGER),
        ("HGETEX h FIELDS 0 a", MISCOUNTED),
        ("HGETEX h FIELDS -1 a", MISCOUNTED),
        ("HGETEX h FIELDS 2 a", MISCOUNTED),
        ("HGETEX h FIELDS 1 a b", MISCOUNTED),
        ("HGETEX h a b c", MISCOUNTED),
        ("HGETEX h EXAT 1 FIELDS 2 b c", "[\"2\" \"3\"]"),
        ("EXISTS h", ":0"),
    ]);
}

#[test]
fn setting_with_deadlines() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("HSETEX h EX 100 FIELDS 2 a 1 b 2", ":1"),
        ("HTTL h FIELDS 2 a b", "[:100 :100]"),
        ("HSETEX h FIELDS 1 a 3", ":1"),
        ("HTTL h FIELDS 1 a", "[:-1]"),
        ("HSETEX h KEEPTTL FIELDS 1 b 4", ":1"),
        ("HTTL h FIELDS 1 b", "[:100]"),
        ("HGETALL h", "[\"a\" \"3\" \"b\" \"4\"]"),
        ("HSETEX h NX FIELDS 1 a 9", ":0"),
        ("HSETEX none XX FIELDS 1 a 9", ":0"),
        ("EXISTS none", ":0"),
        ("HSETEX h XX FNX FIELDS 2 c 9 a 9", ":0"),
        ("HSETEX h FXX FIELDS 2 a 9 none 9", ":0"),
        ("HSETEX none FXX FIELDS 1 a 9", ":0"),
        ("HSETEX h FXX PX 50000 FIELDS 1 a 5", ":1"),
        ("HTTL h FIELDS 1 a", "[:50]"),
        ("HSETEX h FNX FIELDS 1 c 6", ":1"),
        ("HSETEX new NX FNX FIELDS 1 a 1", ":1"),
        ("HSETEX new FIELDS 1 a 2 EX 100", ":1"),
        ("HTTL new FIELDS 1 a", "[:100]"),
        ("HSETEX h EXAT 1 FIELDS 2 a x none x", ":1"),
        ("HEXISTS h a", ":0"),
        ("HSETEX h PX 0 FIELDS 2 b x c x", ":1"),
        ("EXISTS h", ":0"),
        ("HSETEX h PX 0 FIELDS 1 b x", ":1"),
        ("EXISTS h", ":0"),
        ("HSETEX h NX XX FIELDS 1 a 1", SYNTAX),
        ("HSETEX h FNX FXX FIELDS 1 a 1", SYNTAX),
        ("HSETEX h EX 1 KEEPTTL FIELDS 1 a 1", SYNTAX),
        ("HSETEX h KEEPTTL EX 1 FIELDS 1 a 1", SYNTAX),
        ("HSETEX h EX 1 PXAT 1 FIELDS 1 a 1", SYNTAX),
        ("HSETEX h PERSIST FIELDS 1 a 1", SYNTAX),
        ("HSETEX h EX x FIELDS 1 a 1", NOT_INTEGER),
        (
            "HSETEX h EX -5 FIELDS 1 a 1",
            "-ERR invalid expire time in 'hsetex' command",
        ),
        (
            "HSETEX h EX 9223372036854775807 FIELDS 1 a 1",
            "-ERR invalid expire time in 'hsetex' command",
        ),
        ("HSETEX h FIELDS 1 a 1 b 2", MISCOUNTED),
        ("HSETEX h FIELDS 2 a 1 b", MISCOUNTED),
        ("HSETEX h FIELDS 9223372036854775807 a 1", MISCOUNTED),
        ("HSETEX h FIELDS x a 1", NOT_INTEGER),
        ("HSETEX h FIELDS 0 a 1", MISCOUNTED),
        ("EXISTS h", ":0"),
    ]);
}

#[test]
fn getting_and_removing() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("HSET h a 1 b 2 c 3", ":3"),
        ("HGETDEL h FIELDS 3 a none a", "[\"1\" nil nil]"),
        ("HKEYS h", "[\"b\" \"c\"]"),
        ("HGETDEL h FIELDS 3 b c d", "[\"2\" \"3\" nil]"),
        ("EXISTS h", ":0"),
        ("HGETDEL h FIELDS 2 b c", "[nil nil]"),
        ("HGETDEL h FIELD 1 b", SYNTAX),
        ("HGETDEL h FIELDS x b", NOT_INTEGER),
        ("HGETDEL h FIELDS 2 b", MISCOUNTED),
        ("HGETDEL h FIELDS 0 b", MISCOUNTED),
    ]);
}

#[test]
fn what_is_logged() {
    let server = TestServer::start_twice();
    let logged = |commands: &[&str]| server.logs_of(commands).join("; ");
    assert_eq!(
        logged(&[
            "HSET h a 1 b 2",
            "HMSET h a 1",
            "HSETNX h a 2",
            "HSETNX h c 3"
        ]),
        "HSET h a 1 b 2; HMSET h a 1; HSETNX h c 3"
    );
    assert_eq!(logged(&["HINCRBY h a 4"]), "HINCRBY h a 4");
    assert_eq!(logged(&["HINCRBYFLOAT h a 0.5"]), "HSET h a 5.5");
    assert_eq!(
        logged(&["HGETDEL h FIELDS 2 c none", "HGETDEL h FIELDS 1 c"]),
        "HDEL h c"
    );
    assert_eq!(logged(&["HDEL h none", "HDEL h b none"]), "HDEL h b none");
    assert_eq!(
        logged(&[
            "HGETEX h FIELDS 1 a",
            "HGETEX h PERSIST FIELDS 1 a",
            "HGETEX h EXAT 9999999999 FIELDS 2 a none",
            "HGETEX h PERSIST FIELDS 2 a none",
            "HGETEX h PXAT 1 FIELDS 2 none a"
        ]),
        "HPEXPIREAT h 9999999999000 FIELDS 1 a; HPERSIST h FIELDS 1 a; HDEL h a"
    );
    assert_eq!(
        logged(&[
            "HSETEX h FIELDS 1 a 1",
            "HSETEX h KEEPTTL FIELDS 1 a 2",
            "HSETEX h PXAT 9999999999000 FIELDS 1 a 3",
            "HSETEX h XX FXX EXAT 9999999999 FIELDS 1 a 4",
            "HSETEX h NX FIELDS 1 a 5",
            "HSETEX h FNX KEEPTTL FIELDS 1 n 1",
            "HSETEX h EXAT 1 FIELDS 2 n 1 none 1",
            "HSETEX h EXAT 1 FIELDS 1 none 1"
        ]),
        "HSETEX h FIELDS 1 a 1; HSETEX h KEEPTTL FIELDS 1 a 2; \
         HSETEX h PXAT 9999999999000 FIELDS 1 a 3; HSETEX h PXAT 9999999999000 FIELDS 1 a 4; \
         HSETEX h KEEPTTL FIELDS 1 n 1; HDEL h n"
    );
    assert_eq!(
        logged(&[
            "HINCRBY h a 1",
            "HINCRBYFLOAT h a 0.5",
            "HINCRBY h n 1",
            "HSETNX h m 1"
        ]),
        "HSETEX h PXAT 9999999999000 FIELDS 1 a 5; HSETEX h PXAT 9999999999000 FIELDS 1 a 5.5; \
         HSET h n 1; HSET h m 1"
    );
    server.assert_replays();
}

#[test]
fn hashes_survive_a_restart() {
    let mut server = TestServer::start_twice();
    let mut client = server.connect();
    fill(&mut client, "large", 2_000);
    for line in [
        "HSET small a 1 b text c \"\"",
        "HSETEX volatile EX 1000 FIELDS 2 a 1 b 2",
        "HSET volatile c 3",
        "EXPIRE small 1000",
        "HINCRBYFLOAT counted n 1.25",
    ] {
        assert!(!client.line(line).starts_with('-'), "{line}");
    }
    let before = dump(&mut client);
    server.restart();
    let mut client = server.connect();
    assert_eq!(dump(&mut client), before);
    assert_eq!(
        client.line("BGREWRITEAOF"),
        "+Background append only file rewriting started"
    );
    while client
        .line("INFO persistence")
        .contains("aof_rewrite_in_progress:1")
    {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    server.restart();
    assert_eq!(dump(&mut server.connect()), before);
}
