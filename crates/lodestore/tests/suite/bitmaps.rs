//! Commands on bits of strings.

use super::harness::{Client, TestServer, dump, show};

const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const SYNTAX: &str = "-ERR syntax error";
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const BAD_OFFSET: &str = "-ERR bit offset is not an integer or out of range";
const BAD_BIT: &str = "-ERR bit is not an integer or out of range";
const BAD_FIELD: &str = "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.";

/// The longest string that lies inside its entry is one byte shorter.
const LONG: usize = 65_536;

#[test]
fn single_bits() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("GETBIT k 5", ":0"),
        ("SETBIT k 1 1", ":0"),
        ("SETBIT k 1 1", ":1"),
        ("SETBIT k 2 1", ":0"),
        ("SETBIT k 23 0", ":0"),
        ("GET k", r#""`\x00\x00""#),
        ("GETBIT k 2", ":1"),
        ("GETBIT k 23", ":0"),
        ("GETBIT k 4294967295", ":0"),
        ("SETBIT k 1 0", ":1"),
        ("GET k", r#"" \x00\x00""#),
        ("OBJECT ENCODING k", "\"raw\""),
        // An integer becomes its text, even when no bit changes.
        ("SET n 12", "+OK"),
        ("GETBIT n 2", ":1"),
        ("GETBIT n 16", ":0"),
        ("OBJECT ENCODING n", "\"int\""),
        ("SETBIT n 2 1", ":1"),
        ("OBJECT ENCODING n", "\"raw\""),
        ("SETBIT n 15 1", ":0"),
        ("GET n", "\"13\""),
        ("INCR n", ":14"),
        // A lifetime stays.
        ("SET t v EX 100", "+OK"),
        ("SETBIT t 7 1", ":0"),
        ("TTL t", ":100"),
    ]);
    client.check(&[
        ("SETBIT k -1 1", BAD_OFFSET),
        ("SETBIT k x 1", BAD_OFFSET),
        ("SETBIT k #1 1", BAD_OFFSET),
        ("SETBIT k 4294967296 1", BAD_OFFSET),
        ("SETBIT k 9223372036854775807 1", BAD_OFFSET),
        ("SETBIT k 9223372036854775808 1", BAD_OFFSET),
        ("GETBIT k 4294967296", BAD_OFFSET),
        ("GETBIT k -1", BAD_OFFSET),
        ("SETBIT k 0 2", BAD_BIT),
        ("SETBIT k 0 -1", BAD_BIT),
        ("SETBIT k 0 x", BAD_BIT),
        ("SETBIT k x x", BAD_OFFSET),
        (
            "SETBIT k 0",
            "-ERR wrong number of arguments for 'setbit' command",
        ),
        ("RPUSH l a", ":1"),
        ("SETBIT l 0 1", WRONG_TYPE),
        ("GETBIT l 0", WRONG_TYPE),
        ("SETBIT l x 1", BAD_OFFSET),
        ("STRLEN k", ":3"),
        ("CONFIG SET proto-max-bulk-len 1mb", "+OK"),
        ("SETBIT k 8388608 1", BAD_OFFSET),
        ("GETBIT k 8388608", BAD_OFFSET),
        ("SETBIT k 8388607 1", ":0"),
        ("STRLEN k", ":1048576"),
    ]);
}

#[test]
fn counting() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("BITCOUNT none", ":0"),
        ("BITCOUNT none 0 -1 BIT", ":0"),
        ("SET k foobar", "+OK"),
        ("BITCOUNT k", ":26"),
        ("BITCOUNT k 0 0", ":4"),
        ("BITCOUNT k 1 1 BYTE", ":6"),
        ("BITCOUNT k 1", ":22"),
        ("BITCOUNT k -1", ":4"),
        ("BITCOUNT k 100", ":0"),
        ("BITCOUNT k -2 -3", ":0"),
        ("BITCOUNT k -100 -90", ":4"),
        ("BITCOUNT k -90 -100", ":0"),
        ("BITCOUNT k 5 30 BIT", ":17"),
        ("BITCOUNT k 5 30 bit", ":17"),
        ("BITCOUNT k -3 -1 BIT", ":1"),
        ("BITCOUNT k 9 9 BIT", ":1"),
        ("BITCOUNT k 3 1 BIT", ":0"),
        ("BITCOUNT k -9223372036854775808 9223372036854775807", ":26"),
        (
            "BITCOUNT k -9223372036854775808 9223372036854775807 BIT",
            ":26",
        ),
        ("SET n 1234", "+OK"),
        ("BITCOUNT n", ":13"),
        ("SET e \"\"", "+OK"),
        ("BITCOUNT e", ":0"),
        ("BITCOUNT e 0 -1 BIT", ":0"),
        ("BITCOUNT k a b", NOT_INTEGER),
        ("BITCOUNT k 0 b BIT", NOT_INTEGER),
        ("BITCOUNT k 0 b hello", SYNTAX),
        ("BITCOUNT k 0 1 hello", SYNTAX),
        ("BITCOUNT k 0 1 BIT x", SYNTAX),
        ("BITCOUNT none a", NOT_INTEGER),
        ("RPUSH l a", ":1"),
        ("BITCOUNT l", WRONG_TYPE),
        ("BITCOUNT l 0 1 hello", SYNTAX),
    ]);
}

#[test]
fn positions() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("BITPOS none 0", ":0"),
        ("BITPOS none 1", ":-1"),
        ("BITPOS none 0 5 7", ":0"),
        (r#"SET k "\xff\xf0\x00""#, "+OK"),
        ("BITPOS k 0", ":12"),
        ("BITPOS k 1", ":0"),
        ("BITPOS k 1 2", ":-1"),
        ("BITPOS k 1 -2 -1", ":8"),
        ("BITPOS k 0 2 -1 BYTE", ":16"),
        ("BITPOS k 0 9 11 BIT", ":-1"),
        ("BITPOS k 0 9 12 BIT", ":12"),
        ("BITPOS k 1 11 -1 BIT", ":11"),
        ("BITPOS k 1 12 -1 bit", ":-1"),
        ("BITPOS k 0 -100 -50", ":-1"),
        (r#"SET o "\xff\xff""#, "+OK"),
        ("BITPOS o 0", ":16"),
        ("BITPOS o 0 0", ":16"),
        ("BITPOS o 0 1", ":16"),
        ("BITPOS o 0 -1", ":16"),
        ("BITPOS o 0 2", ":-1"),
        ("BITPOS o 0 0 -1", ":-1"),
        ("BITPOS o 0 0 100", ":-1"),
        ("BITPOS o 0 3 12 BIT", ":-1"),
        ("SET e \"\"", "+OK"),
        ("BITPOS e 0", ":-1"),
        ("BITPOS e 0 0 -1", ":-1"),
        ("BITPOS k 2", "-ERR The bit argument must be 1 or 0."),
        ("BITPOS k x", NOT_INTEGER),
        ("BITPOS k 1 x", NOT_INTEGER),
        ("BITPOS k 1 0 x", NOT_INTEGER),
        ("BITPOS k 1 0 x hello", SYNTAX),
        ("BITPOS k 1 0 1 hello", SYNTAX),
        ("BITPOS k 1 0 1 BIT x", SYNTAX),
        ("RPUSH l a", ":1"),
        ("BITPOS l 1", WRONG_TYPE),
    ]);
}

#[test]
fn combinations() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        // The example of Redis's documentation: A, B and C.
        (r#"SET a "\xf0\x0f""#, "+OK"),
        (r#"SET b "\x3c""#, "+OK"),
        (r#"SET c "\x0a\xff\x01""#, "+OK"),
        ("BITOP AND d a b c", ":3"),
        ("GET d", r#""\x00\x00\x00""#),
        ("BITOP AND d a b", ":2"),
        ("GET d", r#""0\x00""#),
        ("BITOP or d a b c", ":3"),
        ("GET d", r#""\xfe\xff\x01""#),
        ("BITOP XOR d a b c", ":3"),
        ("GET d", r#""\xc6\xf0\x01""#),
        ("BITOP NOT d a", ":2"),
        ("GET d", r#""\x0f\xf0""#),
        ("BITOP DIFF d a b c", ":3"),
        ("GET d", r#""\xc0\x00\x00""#),
        ("BITOP DIFF1 d a b c", ":3"),
        ("GET d", r#""\x0e\xf0\x01""#),
        ("BITOP ANDOR d a b c", ":3"),
        ("GET d", r#""0\x0f\x00""#),
        ("BITOP ONE d a b c", ":3"),
        ("GET d", r#""\xc6\xf0\x01""#),
        ("BITOP ONE d a", ":2"),
        ("GET d", r#""\xf0\x0f""#),
        ("OBJECT ENCODING d", "\"raw\""),
        // Missing keys are empty strings.
        ("BITOP AND d a none", ":2"),
        ("GET d", r#""\x00\x00""#),
        ("BITOP XOR d none a", ":2"),
        ("GET d", r#""\xf0\x0f""#),
        // The destination as a source, and integers.
        ("SET d 12", "+OK"),
        ("BITOP XOR d d d d", ":2"),
        ("GET d", "\"12\""),
        // Whatever was there goes, with its lifetime.
        ("DEL d", ":1"),
        ("RPUSH d x", ":1"),
        ("EXPIRE d 100", ":1"),
        ("BITOP OR d a", ":2"),
        ("TTL d", ":-1"),
        ("BITOP OR d none none", ":0"),
        ("EXISTS d", ":0"),
        ("BITOP NOT d none", ":0"),
    ]);
    client.check(&[
        ("BITOP NAND d a b", SYNTAX),
        (
            "BITOP NOT d a b",
            "-ERR BITOP NOT must be called with a single source key.",
        ),
        (
            "BITOP diff d a",
            "-ERR BITOP DIFF must be called with at least two source keys.",
        ),
        (
            "BITOP DIFF1 d a",
            "-ERR BITOP DIFF1 must be called with at least two source keys.",
        ),
        (
            "BITOP AndOr d a",
            "-ERR BITOP ANDOR must be called with at least two source keys.",
        ),
        (
            "BITOP AND d",
            "-ERR wrong number of arguments for 'bitop' command",
        ),
        ("RPUSH l x", ":1"),
        ("BITOP OR a a l", WRONG_TYPE),
        ("GET a", r#""\xf0\x0f""#),
    ]);
}

/// Long strings lie outside of their entries, and the destination's memory is used again.
#[test]
fn combinations_of_long_strings() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    let patterns: Vec<Vec<u8>> = [(LONG, 3u32), (LONG + 5000, 7), (LONG / 2, 11)]
        .iter()
        .map(|(len, step)| (0..*len as u32).map(|n| ((n * step) >> 3) as u8).collect())
        .collect();
    let byte = |which: usize, at: usize| patterns[which].get(at).copied().unwrap_or(0);
    let reset = |client: &mut Client| {
        for (name, pattern) in [b"a", b"b", b"c"].iter().zip(&patterns) {
            let words: [&[u8]; 3] = [b"SET", *name, pattern];
            client.run_bytes(&words);
        }
    };
    type Combine = fn(u8, u8, u8) -> u8;
    let operations: [(&str, Combine); 4] = [
        ("AND", |a, b, c| a & b & c),
        ("XOR", |a, b, c| a ^ b ^ c),
        ("DIFF", |a, b, c| a & !(b | c)),
        ("ONE", |a, b, c| (a ^ b ^ c) & !(a & b & c)),
    ];
    for (name, combine) in operations {
        let expected: Vec<u8> = (0..LONG + 5000)
            .map(|at| combine(byte(0, at), byte(1, at), byte(2, at)))
            .collect();
        for to in ["new", "a", "b", "b", "c"] {
            reset(&mut client);
            client.check(&[(&format!("BITOP {name} {to} a b c"), ":70536")]);
            assert_eq!(
                show(&client.run(&["GET", to])),
                resp_quoted(&expected),
                "{name} into {to}"
            );
        }
    }
    server.assert_replays();
}

fn resp_quoted(bytes: &[u8]) -> String {
    show(&resp::Value::Bulk(bytes.to_vec()))
}

/// A reply that still sends a string shows it as it was.
#[test]
fn replies_keep_what_they_show() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    let mut writer = server.connect();
    client.check(&[("SETBIT k 79999999 0", ":0")]);
    for (line, reply) in [
        ("SETBIT k 0 1", ":0"),
        ("BITFIELD k SET u8 0 255", "[:128]"),
        ("BITOP NOT k k", ":10000000"),
    ] {
        let before = client.integer("BITCOUNT k");
        // The reply is far too long for the socket: it is being sent when the writer comes.
        client.send(&[b"GET", b"k"]);
        std::thread::sleep(std::time::Duration::from_millis(20));
        writer.check(&[(line, reply)]);
        let resp::Value::Bulk(bytes) = client.read() else {
            panic!("GET answers no string");
        };
        let shown: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
        assert_eq!(i64::from(shown), before, "{line}");
        assert_ne!(client.integer("BITCOUNT k"), before, "{line}");
    }
}

#[test]
fn fields() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("BITFIELD k", "[]"),
        ("BITFIELD k GET u8 0 GET i64 1000", "[:0 :0]"),
        ("BITFIELD k OVERFLOW SAT", "[]"),
        ("EXISTS k", ":0"),
        (
            "BITFIELD k SET i8 0 -100 GET i8 0 GET u8 0",
            "[:0 :-100 :156]",
        ),
        ("BITFIELD k SET u5 7 23 GET u5 7", "[:0 :23]"),
        ("GET k", r#""\x9dp""#),
        (
            "BITFIELD k INCRBY u8 #1 5 GET u8 #1 GET u8 8",
            "[:117 :117 :117]",
        ),
        ("STRLEN k", ":2"),
        (
            "BITFIELD k SET i64 #1 -1 GET u63 64 GET u63 65",
            "[:0 :9223372036854775807 :9223372036854775807]",
        ),
        ("STRLEN k", ":16"),
        ("DEL k", ":1"),
        (
            "BITFIELD k SET u63 3 9223372036854775807 GET u1 2 GET u1 3 GET u1 65 GET u1 66",
            "[:0 :0 :1 :1 :0]",
        ),
        (
            "bitfield k overflow wrap set u8 0 255 incrby u8 0 1",
            "[:31 :0]",
        ),
        ("SET n 12", "+OK"),
        ("BITFIELD n GET u8 0 GET u8 12", "[:49 :32]"),
        ("OBJECT ENCODING n", "\"int\""),
        ("BITFIELD n SET u8 8 51", "[:50]"),
        ("GET n", "\"13\""),
    ]);
    client.check(&[
        ("DEL k", ":1"),
        ("BITFIELD k SET u8 0 250 INCRBY u8 0 10 OVERFLOW SAT INCRBY u8 0 300 OVERFLOW FAIL INCRBY u8 0 1 GET u8 0", "[:0 :4 :255 nil :255]"),
        ("BITFIELD k OVERFLOW SAT INCRBY u8 0 -1000 INCRBY i8 0 -1000 INCRBY i8 0 1000", "[:0 :-128 :127]"),
        ("BITFIELD k OVERFLOW FAIL SET u8 0 256 SET u8 0 -1 SET i8 0 128 SET i8 0 -129 SET i8 0 -128", "[nil nil nil nil :127]"),
        ("BITFIELD k SET u8 0 257 GET u8 0 OVERFLOW SAT SET u8 0 -1 GET u8 0 SET i8 0 -9223372036854775808 GET i8 0", "[:128 :1 :1 :255 :-1 :127]"),
        ("BITFIELD k SET i64 0 9223372036854775807 INCRBY i64 0 1 OVERFLOW SAT INCRBY i64 0 -1", "[:9151314442816847872 :-9223372036854775808 :-9223372036854775808]"),
    ]);
    let mut resp3 = server.connect_resp3();
    resp3.check(&[
        ("BITFIELD k OVERFLOW FAIL SET u2 0 4", "[null]"),
        ("BITFIELD_RO k GET u2 0", "[:2]"),
    ]);
}

#[test]
fn field_errors() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("BITFIELD k GET u64 0", BAD_FIELD),
        ("BITFIELD k GET i65 0", BAD_FIELD),
        ("BITFIELD k GET i0 0", BAD_FIELD),
        ("BITFIELD k GET I8 0", BAD_FIELD),
        ("BITFIELD k GET \"\" 0", BAD_FIELD),
        ("BITFIELD k GET u 0", BAD_FIELD),
        ("BITFIELD k GET u08 0", BAD_FIELD),
        ("BITFIELD k GET u4294967297 0", BAD_FIELD),
        ("BITFIELD k GET u8 -1", BAD_OFFSET),
        ("BITFIELD k GET u8 #", BAD_OFFSET),
        ("BITFIELD k GET u8 #-1", BAD_OFFSET),
        ("BITFIELD k GET u8 4294967296", BAD_OFFSET),
        ("BITFIELD k GET u8 #536870912", BAD_OFFSET),
        ("BITFIELD k GET u8 #9223372036854775807", BAD_OFFSET),
        ("BITFIELD k GET u8", SYNTAX),
        ("BITFIELD k SET u8 0", SYNTAX),
        ("BITFIELD k INCRBY u8 0", SYNTAX),
        ("BITFIELD k OVERFLOW", SYNTAX),
        ("BITFIELD k OTHER u8 0 1", SYNTAX),
        (
            "BITFIELD k OVERFLOW none",
            "-ERR Invalid OVERFLOW type specified",
        ),
        ("BITFIELD k SET u8 0 x", NOT_INTEGER),
        ("BITFIELD k SET u8 0 1 INCRBY u8 0 x", NOT_INTEGER),
        ("BITFIELD k SET u8 0 9223372036854775808", NOT_INTEGER),
        ("EXISTS k", ":0"),
        (
            "BITFIELD_RO k SET u8 0 1",
            "-ERR BITFIELD_RO only supports the GET subcommand",
        ),
        (
            "BITFIELD_RO k GET u8 0 INCRBY u8 0 1",
            "-ERR BITFIELD_RO only supports the GET subcommand",
        ),
        ("BITFIELD_RO k SET u8 0 x", NOT_INTEGER),
        ("BITFIELD_RO k OVERFLOW SAT GET u8 0", "[:0]"),
        ("BITFIELD_RO k", "[]"),
        ("RPUSH l a", ":1"),
        ("BITFIELD l", WRONG_TYPE),
        ("BITFIELD l GET u8 0", WRONG_TYPE),
        ("BITFIELD l SET u8 0 1", WRONG_TYPE),
        ("BITFIELD_RO l GET u8 0", WRONG_TYPE),
    ]);
}

/// Only what changes something is logged and counted, and spoils a transaction.
#[test]
fn changes() {
    let server = TestServer::start_twice();
    let logged = |commands: &[&str]| server.logs_of(commands).join("; ");
    assert_eq!(
        logged(&[
            "SETBIT k 9 0",
            "SETBIT k 9 0",
            "SETBIT k 9 1",
            "SETBIT k 3 0"
        ]),
        "SETBIT k 9 0; SETBIT k 9 1"
    );
    assert_eq!(
        logged(&[
            "BITFIELD f GET u8 0",
            "BITFIELD f SET u8 0 0",
            "BITFIELD f SET u8 0 0",
            "BITFIELD f GET u8 0 INCRBY u8 0 1",
            "BITFIELD f OVERFLOW FAIL INCRBY u8 0 300",
            "BITFIELD g OVERFLOW FAIL INCRBY u8 0 300",
        ]),
        "BITFIELD f SET u8 0 0; BITFIELD f GET u8 0 INCRBY u8 0 1; BITFIELD g OVERFLOW FAIL INCRBY u8 0 300"
    );
    assert_eq!(
        logged(&[
            "BITOP NOT d k",
            "BITOP NOT d k",
            "BITOP OR d none",
            "BITOP OR d none",
            "BITOP OR none none",
        ]),
        "BITOP NOT d k; BITOP NOT d k; BITOP OR d none"
    );
    server.assert_replays();
    let mut client = server.connect();
    let mut other = server.connect();
    for (line, result) in [
        ("SETBIT k 3 0", "[+PONG]"),
        ("SETBIT k 3 1", "nil-array"),
        ("BITFIELD k GET u8 0 SET u1 3 1", "[+PONG]"),
        ("BITFIELD k SET u1 3 0", "nil-array"),
        ("BITOP NOT k k", "nil-array"),
    ] {
        client.check(&[("WATCH k", "+OK"), ("MULTI", "+OK"), ("PING", "+QUEUED")]);
        other.line(line);
        client.check(&[("EXEC", result)]);
    }
}

#[test]
fn strings_wake_nobody() {
    let server = TestServer::start_twice();
    let mut waiting = server.connect();
    let mut client = server.connect();
    waiting.send(&[b"BLPOP", b"k", b"0"]);
    std::thread::sleep(std::time::Duration::from_millis(20));
    client.check(&[
        ("SETBIT k 800000 1", ":0"),
        ("BITOP NOT k k", ":100001"),
        ("DEL k", ":1"),
        ("SETBIT k 0 1", ":0"),
        ("DEL k", ":1"),
        ("RPUSH k x", ":1"),
    ]);
    assert_eq!(show(&waiting.read()), r#"["k" "x"]"#);
}

#[test]
fn bitmaps_survive_a_restart() {
    let mut server = TestServer::start_twice();
    let mut client = server.connect();
    for line in [
        "SETBIT small 100 1",
        "SETBIT big 4000000 1",
        "BITFIELD fields SET u7 3 100 INCRBY i33 #5 -4 OVERFLOW SAT INCRBY u4 0 100",
        "BITOP NOT not big",
        "BITOP ONE one big small not",
        "BITOP AND small small big",
        "CONFIG SET proto-max-bulk-len 1mb",
        "SETBIT big 8000000 1",
    ] {
        assert!(!client.line(line).starts_with('-'), "{line}");
    }
    let before = dump(&mut client);
    // A lower limit does not make the log unreadable.
    server.restart_with(&["--proto-max-bulk-len", "1mb"]);
    assert_eq!(dump(&mut server.connect()), before);
}
