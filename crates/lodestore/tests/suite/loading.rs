//! What is loaded at start, what clients see meanwhile, and what is refused.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::harness::{Client, TestServer, fresh_dir};

/// A small RDB file, written by hand: no checksum, texts shorter than 64 bytes.
struct Rdb(Vec<u8>);

impl Rdb {
    /// As Redis begins it.
    fn of_redis() -> Self {
        Self::of("REDIS0011", "redis-ver", "7.2.5")
    }

    fn of(version: &str, product: &str, number: &str) -> Self {
        Self(version.as_bytes().to_vec()).aux(product, number)
    }

    fn text(mut self, text: &str) -> Self {
        assert!(text.len() < 64);
        self.0.push(text.len() as u8);
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    fn aux(self, name: &str, value: &str) -> Self {
        self.byte(0xfa).text(name).text(value)
    }

    fn select(self, db: u8) -> Self {
        self.byte(0xfe).byte(db)
    }

    fn deadline(mut self, unix_ms: u64) -> Self {
        self.0.push(0xfc);
        self.0.extend_from_slice(&unix_ms.to_le_bytes());
        self
    }

    fn set(self, key: &str, value: &str) -> Self {
        self.byte(0).text(key).text(value)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(0xff);
        self.0.extend_from_slice(&[0; 8]);
        self.0
    }

    /// Puts it into a fresh directory.
    fn in_dir(self) -> PathBuf {
        let dir = fresh_dir();
        std::fs::write(dir.join("dump.rdb"), self.end()).expect("the snapshot");
        dir
    }
}

/// A second apart from the present, so that it is newer than what was just written.
fn make_newer(path: &Path) {
    let time = SystemTime::now() + Duration::from_secs(5);
    let file = std::fs::File::options().write(true).open(path);
    file.expect("the file").set_modified(time).expect("a time");
}

fn field(client: &mut Client, name: &str) -> String {
    let info = client.run(&["INFO", "persistence"]);
    let info = String::from_utf8_lossy(info.as_bytes().expect("text")).into_owned();
    let prefix = format!("{name}:");
    let value = info.lines().find_map(|line| line.strip_prefix(&prefix));
    value.unwrap_or_default().to_owned()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("the directory");
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.expect("an entry");
        entry.file_name().to_string_lossy().into_owned()
    };
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

#[test]
fn a_snapshot_alone_is_loaded_and_the_log_begins_with_it() {
    let dir = Rdb::of_redis()
        .set("a", "1")
        .select(3)
        .set("b", "x")
        .in_dir();
    let mut server = TestServer::start_plain(dir.clone(), &[]);
    let mut client = server.connect();
    client.check(&[("GET a", "\"1\""), ("SELECT 3", "+OK"), ("GET b", "\"x\"")]);
    assert_eq!(field(&mut client, "rdb_last_load_keys_loaded"), "2");
    assert_eq!(field(&mut client, "loading"), "0");
    client.check(&[("SET c 2", "+OK")]);
    // From now on it is the log that counts, with the snapshot and without it.
    for _ in 0..2 {
        server.restart();
        let mut client = server.connect();
        client.check(&[("GET a", "\"1\""), ("SELECT 3", "+OK")]);
        client.check(&[("GET b", "\"x\""), ("GET c", "\"2\"")]);
        let _ = std::fs::remove_file(dir.join("dump.rdb"));
    }
}

#[test]
fn without_a_log_the_snapshot_is_loaded_and_no_log_begins() {
    let dir = Rdb::of_redis().set("a", "1").in_dir();
    let server = TestServer::start_plain(dir.clone(), &["--appendonly", "no"]);
    server.connect().check(&[("GET a", "\"1\"")]);
    assert_eq!(names(&dir), ["dump.rdb"]);
}

#[test]
fn a_newer_snapshot_of_another_server_wins_unless_appendonly_was_set() {
    let dir = fresh_dir();
    let mut server = TestServer::start_plain(dir.clone(), &[]);
    server.connect().check(&[("SET k log", "+OK")]);
    server.kill();
    let snapshot = dir.join("dump.rdb");
    let write = |file: Rdb| {
        std::fs::write(&snapshot, file.set("k", "snapshot").end()).expect("the snapshot");
        make_newer(&snapshot);
    };

    // Set: as in Redis.
    write(Rdb::of_redis());
    server.restart_with(&["--appendonly", "yes"]);
    server.connect().check(&[("GET k", "\"log\"")]);
    // One that Lodestore made while it had a log is never newer than the log.
    write(
        Rdb::of_redis()
            .aux("lodestore-ver", "1")
            .aux("lodestore-log-offset", "9"),
    );
    server.restart_with(&[]);
    server.connect().check(&[("GET k", "\"log\"")]);
    // One that it made without a log may be.
    let before = names(&dir);
    write(Rdb::of_redis().aux("lodestore-ver", "1"));
    server.restart_with(&[]);
    server.connect().check(&[("GET k", "\"snapshot\"")]);
    let moved: Vec<String> = names(&dir)
        .into_iter()
        .filter(|name| !before.contains(name))
        .collect();
    assert_eq!(moved.len(), 1, "{moved:?}");
    assert!(moved[0].starts_with("appendonlydir.before-"), "{moved:?}");
    assert!(!names(&dir.join(&moved[0])).is_empty());
    // And the new log is in force.
    server.connect().check(&[("SET k again", "+OK")]);
    std::fs::remove_file(&snapshot).expect("the snapshot");
    server.restart();
    server.connect().check(&[("GET k", "\"again\"")]);
}

#[test]
fn a_log_without_anything_in_it_hides_no_snapshot() {
    let dir = fresh_dir();
    let mut server = TestServer::start_plain(dir.clone(), &[]);
    server.kill();
    let path = dir.join("dump.rdb");
    std::fs::write(&path, Rdb::of_redis().set("k", "v").end()).expect("the snapshot");
    let file = std::fs::File::options().write(true).open(&path);
    let file = file.expect("the file");
    file.set_modified(SystemTime::UNIX_EPOCH).expect("a time");
    server.restart();
    server.connect().check(&[("GET k", "\"v\"")]);
    server.restart_with(&["--appendonly", "yes"]);
    server.connect().check(&[("GET k", "\"v\"")]);
}

#[test]
fn keys_whose_time_is_over_are_left_out() {
    let dir = Rdb::of_redis()
        .deadline(1)
        .set("gone", "1")
        .deadline(u64::MAX >> 10)
        .set("there", "1")
        .set("always", "1")
        .in_dir();
    let server = TestServer::start_plain(dir, &["--appendonly", "no"]);
    let mut client = server.connect();
    client.check(&[("DBSIZE", ":2"), ("TTL always", ":-1")]);
    assert_eq!(client.integer("PEXPIRETIME there"), (u64::MAX >> 10) as i64);
    assert_eq!(field(&mut client, "rdb_last_load_keys_loaded"), "2");
    assert_eq!(field(&mut client, "rdb_last_load_keys_expired"), "1");
}

#[test]
fn a_wrong_snapshot_ends_the_start_and_nothing_is_touched() {
    let twice = Rdb::of_redis().set("twice", "1").set("twice", "2").end();
    let beyond = Rdb::of_redis().select(20).set("key", "1").end();
    let mut torn = Rdb::of_redis().set("key", "a value that is cut").end();
    torn.truncate(torn.len() - 12);
    let mut wrong = Rdb::of_redis().set("key", "value").end();
    *wrong.last_mut().expect("bytes") = 1;
    for (bytes, expected) in [
        (twice, "RDB has duplicated key 'twice' in DB 0"),
        (beyond, "configured to handle more than 16 databases"),
        (torn, "Unexpected EOF reading RDB file"),
        (wrong, "RDB CRC error"),
        (b"REDIS0999".to_vec(), "Can't handle RDB format version 999"),
        (
            b"something else".to_vec(),
            "Wrong signature trying to load DB from file",
        ),
        (Vec::new(), "Short read or OOM loading DB"),
    ] {
        let dir = fresh_dir();
        std::fs::write(dir.join("dump.rdb"), &bytes).expect("the snapshot");
        let args = ["--logfile", "log", "--hide-user-data-from-log", "no"];
        let mut server = TestServer::begin_plain(dir.clone(), &args);
        assert_eq!(server.wait_for_end(), Some(1), "{expected}");
        let log = std::fs::read_to_string(dir.join("log")).expect("the log file");
        assert!(log.contains(expected), "{expected}: {log}");
        let last = log.lines().last().expect("a line");
        assert!(last.contains("Fatal error loading the DB"), "{last}");
        assert_eq!(names(&dir), ["dump.rdb", "log"]);
        assert_eq!(std::fs::read(dir.join("dump.rdb")).expect("it"), bytes);
    }
}

/// A server that takes a minute to load.
fn slow() -> TestServer {
    let mut file = Rdb::of_redis().aux("used-mem", "123456");
    for number in 0..600 {
        file = file.set(&format!("key:{number}"), "value");
    }
    let args = [
        "--key-load-delay",
        "100000",
        "--enable-debug-command",
        "yes",
    ];
    let server = TestServer::begin_plain(file.in_dir(), &args);
    while std::net::TcpStream::connect(("127.0.0.1", server.port())).is_err() {
        std::thread::sleep(Duration::from_millis(5));
    }
    server
}

#[test]
fn clients_are_told_that_data_is_loading() {
    let mut server = slow();
    let mut client = server.connect();
    let loading = "-LOADING Lodestore is loading the dataset in memory";
    client.check(&[
        ("GET key:1", loading),
        ("PING", loading),
        ("DBSIZE", loading),
        ("BGREWRITEAOF", loading),
        ("CONFIG SET appendonly no", loading),
        ("CLIENT ID", ":2"),
    ]);
    client.check(&[("MULTI", "+OK"), ("GET key:1", loading)]);
    let aborted = "-EXECABORT Transaction discarded because of previous errors.";
    client.check(&[("EXEC", aborted), ("CONFIG SET hz 20", "+OK")]);
    for (name, value) in [
        ("loading", "1"),
        ("async_loading", "0"),
        ("loading_rdb_used_mem", "123456"),
    ] {
        assert_eq!(field(&mut client, name), value);
    }
    for name in [
        "loading_start_time",
        "loading_total_bytes",
        "loading_loaded_bytes",
        "loading_loaded_perc",
        "loading_eta_seconds",
    ] {
        assert_ne!(field(&mut client, name), "", "{name}");
    }
    client.send(&[b"SHUTDOWN", b"NOSAVE"]);
    assert_eq!(server.wait_for_end(), Some(0));
    assert_eq!(names(server.dir()), ["dump.rdb"]);
}

/// The reply to a request that is sent as soon as the server listens, while it loads a snapshot of
/// one key for `delay_ms`.
fn first_answer(delay_ms: u64, request: &[&str]) -> String {
    let dir = Rdb::of_redis().set("key", "value").in_dir();
    let delay_us = (delay_ms * 1000).to_string();
    let server = TestServer::begin_plain(dir, &["--key-load-delay", &delay_us]);
    while std::net::TcpStream::connect(("127.0.0.1", server.port())).is_err() {
        std::thread::sleep(Duration::from_millis(1));
    }
    crate::suite::harness::show(&server.connect().run(request))
}

/// Requests wait for the end of a short loading, and for that of a long one not at all.
#[test]
fn a_server_that_is_ready_soon_never_says_that_it_loads() {
    /// How long requests wait.
    const GRACE: Duration = Duration::from_millis(100);
    let refused = "-LOADING Lodestore is loading the dataset in memory";
    for (pause_ms, request, expected) in [
        (0, &["GET", "key"][..], "\"value\""),
        (0, &["SET", "key", "2"], "+OK"),
        (20, &["GET", "key"], "\"value\""),
    ] {
        // On a busy machine a start takes longer than that, which shows nothing.
        let shows = (0..10).any(|_| {
            let began = Instant::now();
            let answer = first_answer(pause_ms, request);
            if answer == refused && began.elapsed() >= GRACE {
                return false;
            }
            assert_eq!(answer, expected, "{request:?}");
            true
        });
        if !shows {
            println!("skipped: no start takes less than {GRACE:?} here");
        }
    }
    assert_eq!(first_answer(30_000, &["GET", "key"]), refused);
    assert_eq!(first_answer(30_000, &["EXEC"]), "-ERR EXEC without MULTI");
}

/// The snapshot that a server saves, without its end.
fn head_of_snapshot(server: &TestServer) -> String {
    let bytes = std::fs::read(server.dir().join("dump.rdb")).expect("the snapshot");
    String::from_utf8_lossy(&bytes[..9]).into_owned()
}

fn log_path(dir: &Path) -> String {
    dir.join("log.txt").to_str().expect("a path").to_owned()
}

#[test]
fn snapshots_are_saved_in_a_form_that_their_origin_reads() {
    for (head, product, plain, with_deadlines) in [
        ("REDIS0009", "redis-ver", "REDIS0009", "VALKEY080"),
        ("REDIS0010", "redis-ver", "REDIS0010", "VALKEY080"),
        ("REDIS0011", "redis-ver", "REDIS0011", "VALKEY080"),
        ("REDIS0012", "redis-ver", "REDIS0011", "REDIS0012"),
        ("REDIS0013", "redis-ver", "REDIS0011", "REDIS0012"),
        ("REDIS0011", "valkey-ver", "REDIS0011", "VALKEY080"),
        ("VALKEY080", "valkey-ver", "REDIS0011", "VALKEY080"),
    ] {
        let dir = Rdb::of(head, product, "1.2.3").set("key", "value").in_dir();
        let log = log_path(&dir);
        let args = ["--appendonly", "no", "--save", "", "--logfile", &log];
        let mut server = TestServer::start_plain(dir, &args);
        // What the files of Lodestore say about their origin counts as well.
        for _ in 0..2 {
            server.connect().check(&[("SAVE", "+OK")]);
            assert_eq!(head_of_snapshot(&server), plain, "{head} {product}");
            server.restart();
        }
        server.connect().check(&[
            ("HSET h f 1", ":1"),
            ("HEXPIRE h 1000 FIELDS 1 f", "[:1]"),
            ("SAVE", "+OK"),
            ("SAVE", "+OK"),
        ]);
        assert_eq!(
            head_of_snapshot(&server),
            with_deadlines,
            "{head} {product}"
        );
        let said = std::fs::read_to_string(&log).expect("the log");
        let warnings = said.matches("which cannot read what is saved").count();
        let is_foreign = with_deadlines == "VALKEY080" && head != "VALKEY080";
        assert_eq!(warnings, usize::from(is_foreign), "{said}");
        // With `rdb-version` nothing is chosen.
        server.restart_with(&["--appendonly", "no", "--save", "", "--rdb-version", "11 80"]);
        server.connect().check(&[("DEL h", ":1"), ("SAVE", "+OK")]);
        assert_eq!(head_of_snapshot(&server), "REDIS0011");
    }
}

#[test]
fn libraries_that_cannot_be_loaded_are_kept() {
    let dir = fresh_dir();
    let log = log_path(&dir);
    let mut file = Vec::new();
    // The payload of FUNCTION DUMP: opcode, code, version, checksum (0: not checked here).
    let code = "#!lua name=c\nreturn 3";
    let mut payload = vec![0xf5, code.len() as u8];
    payload.extend_from_slice(code.as_bytes());
    payload.extend_from_slice(&11u16.to_le_bytes());
    let checksum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Redis, &payload);
    payload.extend_from_slice(&checksum.to_le_bytes());
    for words in [
        &[&b"FUNCTION"[..], b"LOAD", b"#!lua name=gone\nreturn 0"][..],
        &[b"FUNCTION", b"FLUSH"],
        &[b"FUNCTION", b"LOAD", b"#!lua name=a\nreturn 1"],
        &[b"FUNCTION", b"LOAD", b"#!lua name=b\nreturn 1"],
        &[b"FUNCTION", b"LOAD", b"REPLACE", b"#!lua name=a\nreturn 2"],
        &[b"FUNCTION", b"DELETE", b"b"],
        &[b"FUNCTION", b"RESTORE", &payload, b"REPLACE"],
        &[b"SET", b"key", b"value"],
    ] {
        resp::request::encode(&mut file, words);
    }
    std::fs::write(dir.join("appendonly.aof"), file).expect("the log");
    let args = ["--appendonly", "yes", "--save", "", "--logfile", &log];
    let mut server = TestServer::start_plain(dir, &args);
    let expect = |server: &TestServer, count: usize| {
        let said = std::fs::read_to_string(&log).expect("the log");
        assert!(said.contains("'a' cannot be loaded ("), "{said}");
        let mut client = server.connect();
        client.check(&[("GET key", "\"value\""), ("SAVE", "+OK")]);
        assert!(
            client
                .line("INFO memory")
                .contains(&format!("number_of_libraries:{count}"))
        );
        let snapshot = std::fs::read(server.dir().join("dump.rdb")).expect("the snapshot");
        let text = String::from_utf8_lossy(&snapshot).into_owned();
        assert!(
            text.contains("#!lua name=a\nreturn 2") && text.contains(code),
            "{text}"
        );
        assert!(
            !text.contains("name=gone") && !text.contains("name=b"),
            "{text}"
        );
    };
    expect(&server, 2);
    server.restart();
    expect(&server, 2);
    let mut client = server.connect();
    client.check(&[("FUNCTION FLUSH", "+OK"), ("SAVE", "+OK")]);
    server.restart();
    let info = server.connect().line("INFO memory");
    assert!(info.contains("number_of_libraries:0"), "{info}");
}

/// A value of a module: its type has the name AAAAAAAAA, and it is one number.
fn with_module_value() -> Rdb {
    let mut rdb = Rdb::of_redis().set("before", "1").byte(7).text("strange");
    rdb = rdb.byte(0x81);
    for _ in 0..8 {
        rdb = rdb.byte(0);
    }
    rdb.byte(2).byte(5).byte(0).set("after", "2")
}

#[test]
fn values_of_modules_are_refused_with_their_key_or_skipped() {
    let dir = with_module_value().in_dir();
    let log = log_path(&dir);
    let args = ["--appendonly", "no", "--logfile", &log];
    let mut server = TestServer::begin_plain(dir, &args);
    assert_eq!(server.wait_for_end(), Some(1));
    let said = std::fs::read_to_string(&log).expect("the log");
    assert!(
        said.contains("no matching module type 'AAAAAAAAA'"),
        "{said}"
    );
    assert!(said.contains("key 'strange'"), "{said}");

    let dir = with_module_value().in_dir();
    let log = log_path(&dir);
    let args = [
        "--appendonly",
        "no",
        "--logfile",
        &log,
        "--rdb-module-values",
        "skip",
    ];
    let server = TestServer::start_plain(dir, &args);
    server.connect().check(&[
        ("MGET before after", "[\"1\" \"2\"]"),
        ("EXISTS strange", ":0"),
    ]);
    let said = std::fs::read_to_string(&log).expect("the log");
    let line = "The value of the module 'AAAAAAAAA' at key 'strange' is left out";
    assert!(said.contains(line), "{said}");
    assert!(said.contains("values of modules left out: 1"), "{said}");
}

/// The value of a DUMP payload of a stream of one small node, and where its length stands in it.
fn stream_value(payload: &[u8]) -> (Vec<u8>, usize) {
    let value = payload[..payload.len() - 10].to_vec();
    // Type, number of nodes, length of the id, the id, length of the node below 2^14, the node.
    assert_eq!((value[1], value[2]), (1, 16));
    let len = match value[19] {
        short @ 0..0x40 => 20 + usize::from(short),
        high => 21 + (usize::from(high & 0x3f) << 8) + usize::from(value[20]),
    };
    (value, len)
}

/// Prereleases of Redis 5 saved streams with a wrong length.
#[test]
fn streams_of_a_file_are_counted() {
    let source =
        TestServer::start_with(&["--rdbcompression", "no", "--enable-debug-command", "yes"]);
    let mut client = source.connect();
    client.check(&[("XADD s 1-1 f v", "\"1-1\""), ("XADD s 2-1 f v", "\"2-1\"")]);
    let payload = client
        .run(&["DUMP", "s"])
        .as_bytes()
        .expect("a payload")
        .to_vec();
    let (mut value, at) = stream_value(&payload);
    assert_eq!(value[at], 2);
    value[at] = 9;
    // A payload is not corrected.
    let mut wrong = payload.clone();
    wrong[at] = 9;
    client.check(&[("DEBUG SET-SKIP-CHECKSUM-VALIDATION 1", "+OK")]);
    let reply = client.run_bytes(&[b"RESTORE", b"other", b"0", &wrong]);
    assert_eq!(crate::suite::harness::show(&reply), "-ERR Bad data format");

    let mut rdb = Rdb::of_redis().byte(value[0]).text("s");
    rdb.0.extend_from_slice(&value[1..]);
    let dir = rdb.set("key", "value").in_dir();
    let log = log_path(&dir);
    let shown = ["--hide-user-data-from-log", "no"];
    let args = [&["--appendonly", "no", "--logfile", &log], &shown[..]].concat();
    let server = TestServer::start_plain(dir, &args);
    let mut client = server.connect();
    client.check(&[
        ("XLEN s", ":2"),
        (
            "XRANGE s - +",
            "[[\"1-1\" [\"f\" \"v\"]] [\"2-1\" [\"f\" \"v\"]]]",
        ),
        ("GET key", "\"value\""),
        ("SAVE", "+OK"),
    ]);
    let said = std::fs::read_to_string(&log).expect("the log");
    let line = "The stream at key 's' has 2 entries where the file says 9";
    assert!(said.contains(line), "{said}");
}

/// Redis takes hexadecimal scores and logs them as they are; clients cannot send them here.
#[test]
fn hexadecimal_scores_of_a_log_are_read() {
    let dir = fresh_dir();
    let mut log = Vec::new();
    for line in [
        "SELECT 0",
        "ZADD z 0x10 a 0x1p-1 b",
        "ZINCRBY z 0x10 a",
        "ZUNIONSTORE d 1 z WEIGHTS 0x2",
    ] {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        resp::request::encode(&mut log, &words);
    }
    std::fs::write(dir.join("appendonly.aof"), log).expect("the log");
    let server = TestServer::start_plain(dir, &["--appendonly", "yes"]);
    server.connect().check(&[
        ("ZRANGE z 0 -1 WITHSCORES", "[\"b\" \"0.5\" \"a\" \"32\"]"),
        ("ZRANGE d 0 -1 WITHSCORES", "[\"b\" \"1\" \"a\" \"64\"]"),
        ("ZADD z 0x10 a", "-ERR value is not a valid float"),
    ]);
}

#[test]
fn a_signal_ends_the_loading() {
    let mut server = slow();
    let kill = std::process::Command::new("kill")
        .args(["-TERM", &server.pid().to_string()])
        .status();
    assert!(kill.expect("a shell tool").success());
    assert_eq!(server.wait_for_end(), Some(0));
    assert_eq!(names(server.dir()), ["dump.rdb"]);
}

#[test]
fn many_keys_arrive_by_other_threads() {
    let mut file = Rdb::of_redis();
    for number in 0..30_000 {
        let db = (number / 10_000) as u8;
        if number % 10_000 == 0 {
            file = file.select(db);
        }
        if number % 3 == 0 {
            file = file.deadline(2_000_000_000_000 + number);
        }
        file = file.set(&format!("key:{number}"), &format!("value:{number}"));
    }
    let server = TestServer::start_plain(file.in_dir(), &["--appendonly", "no"]);
    let mut client = server.connect();
    for db in 0..3 {
        client.check(&[(&format!("SELECT {db}"), "+OK"), ("DBSIZE", ":10000")]);
        for number in (db * 10_000..(db + 1) * 10_000).step_by(997) {
            let key = format!("key:{number}");
            let value = format!("\"value:{number}\"");
            client.check(&[(&format!("GET {key}"), &value)]);
            let deadline = client.integer(&format!("PEXPIRETIME {key}"));
            let expected = if number % 3 == 0 {
                2_000_000_000_000 + number
            } else {
                -1
            };
            assert_eq!(deadline, expected);
        }
    }
}
