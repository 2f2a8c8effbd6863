//! MEMORY BIGKEYS: the biggest keys as they come, grow, shrink and go.

use std::collections::BTreeMap;

use super::harness::{Client, TestServer};
use super::random::Random;
use resp::Value;

/// A key with its database, bytes and elements.
type Row = (String, i64, i64, i64);

fn rows(list: &Value) -> Vec<Row> {
    let rows = list.as_elements().expect("an array").iter();
    rows.map(|row| {
        let row = row.as_elements().expect("an array");
        let number = |at: usize| row[at].as_integer().expect("an integer");
        let key = String::from_utf8_lossy(row[0].as_bytes().expect("text")).into_owned();
        (key, number(1), number(2), number(3))
    })
    .collect()
}

/// The lists of the reply, by type and field.
fn big_keys(client: &mut Client, count: usize) -> BTreeMap<String, Vec<Row>> {
    let reply = client.run(&["MEMORY", "BIGKEYS", "COUNT", &count.to_string()]);
    let Value::Map(types) = reply else {
        panic!("no map: {reply:?}");
    };
    let text =
        |value: &Value| String::from_utf8_lossy(value.as_bytes().expect("text")).into_owned();
    let mut lists = BTreeMap::new();
    for (kind, fields) in &types {
        let Value::Map(fields) = fields else {
            panic!("no map: {fields:?}");
        };
        for (name, value) in fields {
            let name = format!("{} {}", text(kind), text(name));
            match value {
                Value::Integer(below) => assert_eq!(*below, 0, "{name}"),
                list => drop(lists.insert(name, rows(list))),
            }
        }
    }
    lists
}

fn names(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(|row| &*row.0).collect()
}

fn words(count: usize) -> String {
    let words: Vec<String> = (0..count).map(|i| format!("{i}")).collect();
    words.join(" ")
}

#[test]
fn keys_are_listed_as_they_grow_and_go() {
    let server = TestServer::start();
    let mut client = server.connect_resp3();
    assert_eq!(client.line("MEMORY BIGKEYS"), "{}");
    client.line("SET small 1");
    client.line("SETRANGE s1 2000 x");
    client.line("SETRANGE s2 5000 x");
    client.line("SETRANGE s3 200000 x");
    client.line(&format!("RPUSH l1 {}", words(100)));
    client.line(&format!("RPUSH l2 {}", words(300)));
    client.line(&format!("HSET h1 f {}", "v".repeat(3000)));
    client.line(&format!("HSET h2 {}", words(400)));
    client.line("SELECT 2");
    client.line(&format!("SADD t {}", words(1000)));
    let lists = big_keys(&mut client, 2);
    assert_eq!(names(&lists["string by-bytes"]), ["s3", "s2"]);
    assert_eq!(lists["string by-bytes"][0].3, 200_001);
    assert_eq!(names(&lists["list by-elements"]), ["l2", "l1"]);
    assert_eq!(lists["list by-elements"][0].3, 300);
    assert_eq!(names(&lists["hash by-elements"]), ["h2"]);
    assert_eq!(names(&lists["hash by-bytes"]), ["h1", "h2"]);
    let bytes = client.integer("MEMORY USAGE t");
    assert_eq!(lists["set by-bytes"], [("t".to_owned(), 2, bytes, 1000)]);
    assert!(!lists.contains_key("zset by-bytes"));

    client.line("SELECT 0");
    client.line(&format!("RPUSH l1 {}", words(500)));
    client.line("LTRIM l2 0 9");
    client.line("DEL s3");
    client.line("RENAME h2 h3");
    client.line("HPEXPIREAT h1 1 FIELDS 1 f");
    client.line("COPY s2 s4");
    client.line("SET s1 x");
    client.line("MOVE l1 3");
    client.line("SWAPDB 2 4");
    let lists = big_keys(&mut client, 10);
    assert_eq!(names(&lists["string by-bytes"]), ["s2", "s4"]);
    assert_eq!(names(&lists["list by-elements"]), ["l1"]);
    assert_eq!(lists["list by-elements"][0].1, 3);
    assert_eq!(names(&lists["hash by-elements"]), ["h3"]);
    assert_eq!(lists["set by-bytes"][0].1, 4);

    client.line("FLUSHALL");
    assert_eq!(client.line("MEMORY BIGKEYS"), "{}");
}

/// More than all shards together keep.
const KEYS: usize = 9000;

/// The bytes of all keys, the largest first.
fn all_bytes(client: &mut Client) -> Vec<i64> {
    for i in 0..KEYS {
        client.send(&[b"MEMORY", b"USAGE", format!("k{i}").as_bytes()]);
    }
    let mut bytes: Vec<i64> = (0..KEYS)
        .map(|_| client.read().as_integer().expect("an integer"))
        .collect();
    bytes.sort_unstable_by(|a, b| b.cmp(a));
    bytes
}

/// Bytes of the 50 biggest strings, and the size up to which some may be missing.
fn biggest(client: &mut Client) -> (Vec<i64>, i64) {
    let reply = client.run(&["MEMORY", "BIGKEYS", "COUNT", "50"]);
    let Value::Map(types) = reply else {
        panic!("no map: {reply:?}");
    };
    let Value::Map(fields) = &types[0].1 else {
        panic!("no map: {types:?}");
    };
    let bytes = rows(&fields[0].1).iter().map(|row| row.2).collect();
    (bytes, fields[1].1.as_integer().expect("an integer"))
}

#[test]
fn the_biggest_of_many_are_right() {
    let mut server = TestServer::start();
    let mut client = server.connect_resp3();
    let seed = Random::seed();
    println!("LODESTORE_TEST_SEED={seed}");
    let mut random = Random::new(seed);
    // They come in no order, and grow, within a power of two and beyond.
    for _ in 0..3 {
        for i in 0..KEYS {
            let tail = vec![b'v'; 400 + random.below(1200) as usize];
            client.send(&[b"APPEND", format!("k{i}").as_bytes(), &tail]);
        }
        for _ in 0..KEYS {
            client.read();
        }
        let (listed, below) = biggest(&mut client);
        assert_eq!(listed, all_bytes(&mut client)[..50]);
        // The bound is a careful one: a size that grew unmeasured counts four times.
        assert!(below <= 4 * listed[49], "{below} {}", listed[49]);
    }
    server.restart();
    let mut client = server.connect_resp3();
    assert_eq!(biggest(&mut client).0, all_bytes(&mut client)[..50]);
}

#[test]
fn wrong_requests_are_refused() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.check(&[
        ("MEMORY BIGKEYS", "[]"),
        ("MEMORY BIGKEYS COUNT", "-ERR syntax error"),
        ("MEMORY BIGKEYS LIMIT 3", "-ERR syntax error"),
        (
            "MEMORY BIGKEYS COUNT 0",
            "-ERR COUNT must be between 1 and 100",
        ),
        (
            "MEMORY BIGKEYS COUNT 101",
            "-ERR COUNT must be between 1 and 100",
        ),
        (
            "MEMORY BIGKEYS COUNT x",
            "-ERR value is not an integer or out of range",
        ),
    ]);
    client.line("SETRANGE s 2000 x");
    let reply = client.line("MEMORY BIGKEYS");
    assert!(
        reply.starts_with("[\"string\" [\"by-bytes\" [[\"s\" :0 :"),
        "{reply}"
    );
}
