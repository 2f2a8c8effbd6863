//! Long strings, which may stay in the buffer that their request was received in.

use super::harness::{Client, TestServer, show};

/// Lengths around those at which requests are read and kept in another way: one read (16 KiB), a
/// big request (32 KiB), the longest string inside of an entry (64 KiB), the largest read (1 MiB).
const LENGTHS: [usize; 14] = [
    16_300, 16_384, 32_700, 32_768, 40_000, 65_400, 65_535, 65_536, 70_000, 100_000, 1_048_500,
    1_048_576, 1_048_700, 3_000_000,
];

/// A value that no other step makes.
fn value(len: usize, step: usize) -> Vec<u8> {
    let text = format!("{step}-{len};");
    text.bytes().cycle().take(len).collect()
}

fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn assert_value(client: &mut Client, key: &str, expected: &[u8]) {
    let reply = client.run(&["GET", key]);
    let got = reply.as_bytes().expect("a string");
    assert!(got == expected, "{key}: {} bytes", got.len());
}

#[test]
fn values_of_all_lengths_arrive_whole() {
    let server = TestServer::start();
    let mut client = server.connect();
    for round in 0..3 {
        for (index, len) in LENGTHS.into_iter().enumerate() {
            let (key, text) = (format!("key:{index}"), value(len, round));
            let reply = client.run_bytes(&[b"SET", key.as_bytes(), &text]);
            assert_eq!(show(&reply), "+OK");
            // A small request between big ones, and big ones of another length before it.
            client.check(&[("SET small 1", "+OK"), ("GET small", "\"1\"")]);
            assert_value(&mut client, &key, &text);
        }
    }
    for (index, len) in LENGTHS.into_iter().enumerate() {
        assert_value(&mut client, &format!("key:{index}"), &value(len, 2));
    }
    server.assert_replays();
}

#[test]
fn a_pipeline_of_big_and_small_requests_in_pieces() {
    let server = TestServer::start();
    for piece in [1_000, 16_384, 70_001, 1_048_577, usize::MAX] {
        let mut bytes = Vec::new();
        for (step, len) in LENGTHS.into_iter().enumerate() {
            let key = format!("key:{step}");
            let text = value(len, step);
            bytes.extend(request(&[b"SET", key.as_bytes(), &text]));
            bytes.extend(request(&[b"APPEND", key.as_bytes(), b"tail"]));
            bytes.extend(request(&[b"SET", b"other", &text]));
            bytes.extend(request(&[b"SETRANGE", b"other", b"1", b"X"]));
            bytes.extend(request(&[b"STRLEN", b"other"]));
        }
        let mut client = server.connect();
        for part in bytes.chunks(piece.min(bytes.len())) {
            assert!(client.try_send(part));
        }
        for len in LENGTHS {
            let replies: Vec<String> = (0..5).map(|_| show(&client.read())).collect();
            let (longer, same) = (format!(":{}", len + 4), format!(":{len}"));
            assert_eq!(replies, ["+OK", &longer, "+OK", &same, &same]);
        }
        for (step, len) in LENGTHS.into_iter().enumerate() {
            let mut text = value(len, step);
            text.extend_from_slice(b"tail");
            assert_value(&mut client, &format!("key:{step}"), &text);
        }
        let mut text = value(LENGTHS[13], 13);
        text[1] = b'X';
        assert_value(&mut client, "other", &text);
    }
    server.assert_replays();
}

#[test]
fn changes_of_a_received_value_leave_its_copies_alone() {
    let server = TestServer::start();
    let mut client = server.connect();
    let text = value(100_000, 1);
    client.run_bytes(&[b"SET", b"a", &text]);
    client.check(&[("COPY a b", ":1"), ("RENAME a c", "+OK")]);
    client.check(&[("SETRANGE b 99999 yz", ":100001"), ("SETBIT c 0 1", ":0")]);
    let (mut b, mut c) = (text.clone(), text);
    b.truncate(99_999);
    b.extend_from_slice(b"yz");
    c[0] |= 0x80;
    assert_value(&mut client, "b", &b);
    assert_value(&mut client, "c", &c);
    server.assert_replays();
}

#[test]
fn other_commands_get_big_arguments_too() {
    let server = TestServer::start();
    let mut client = server.connect();
    let text = value(80_000, 7);
    client.run_bytes(&[b"MSET", b"m1", &text, b"m2", &text, b"m3", b"short"]);
    client.run_bytes(&[b"SETEX", b"e", b"1000", &text]);
    client.run_bytes(&[b"SET", b"g", &text, b"GET"]);
    client.run_bytes(&[b"GETSET", b"g", &text]);
    client.run_bytes(&[b"APPEND", b"p", &text]);
    client.run_bytes(&[b"HSET", b"h", b"f", &text]);
    client.run_bytes(&[b"LPUSH", b"l", &text, b"x"]);
    for key in ["m1", "m2", "e", "g", "p"] {
        assert_value(&mut client, key, &text);
    }
    client.check(&[("MULTI", "+OK")]);
    client.run_bytes(&[b"SET", b"q", &text]);
    client.check(&[
        ("EXEC", "[+OK]"),
        ("LLEN l", ":2"),
        ("HSTRLEN h f", ":80000"),
    ]);
    assert_value(&mut client, "q", &text);
    server.assert_replays();
}

#[test]
fn a_received_value_takes_hardly_more_than_its_length() {
    let server = TestServer::start();
    let mut client = server.connect();
    for len in [70_000, 100_000, 1_000_000, 5_000_000] {
        // The second one is received into a buffer of the first one's length.
        for step in 0..3 {
            client.run_bytes(&[b"SET", b"k", &value(len, step)]);
            let bytes = client.integer("MEMORY USAGE k") as usize;
            assert!(bytes < len + len / 7 + 4_096, "{len}: {bytes}");
        }
    }
    // One that is much shorter than the buffer does not keep it.
    client.run_bytes(&[b"SET", b"k", &value(70_000, 9)]);
    let bytes = client.integer("MEMORY USAGE k");
    assert!(bytes < 84_000, "{bytes}");
    assert_value(&mut client, "k", &value(70_000, 9));
}
