//! HOTKEYS: sessions, their errors, and the keys that they find.

use super::harness::{Client, TestServer, show};
use resp::Value;

/// The fields of HOTKEYS GET in RESP2.
fn report(client: &mut Client) -> Vec<(String, Value)> {
    let reply = client.run(&["HOTKEYS", "GET"]);
    let maps = reply.as_elements().expect("an array").to_vec();
    assert_eq!(maps.len(), 1);
    let fields = maps[0].as_elements().expect("a flat map");
    let text =
        |value: &Value| String::from_utf8_lossy(value.as_bytes().expect("text")).into_owned();
    fields
        .chunks(2)
        .map(|pair| (text(&pair[0]), pair[1].clone()))
        .collect()
}

fn names(client: &mut Client) -> Vec<String> {
    report(client).into_iter().map(|(name, _)| name).collect()
}

fn field(client: &mut Client, name: &str) -> Value {
    let fields = report(client);
    let found = fields.into_iter().find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("no {name}")).1
}

fn number(client: &mut Client, name: &str) -> i64 {
    field(client, name).as_integer().expect("an integer")
}

/// Keys with their figures.
fn keys(client: &mut Client, name: &str) -> Vec<(String, i64)> {
    let list = field(client, name);
    let pairs = list.as_elements().expect("an array").chunks(2);
    pairs
        .map(|pair| {
            let key = String::from_utf8_lossy(pair[0].as_bytes().expect("text")).into_owned();
            (key, pair[1].as_integer().expect("an integer"))
        })
        .collect()
}

#[test]
fn a_session_begins_ends_and_is_forgotten() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.check(&[
        ("HOTKEYS GET", "nil"),
        ("HOTKEYS STOP", "nil"),
        ("HOTKEYS RESET", "+OK"),
        ("HOTKEYS START METRICS 2 CPU NET", "+OK"),
        (
            "HOTKEYS START METRICS 1 CPU",
            "-ERR hotkey tracking session already in progress",
        ),
        (
            "HOTKEYS RESET",
            "-ERR hotkey tracking session in progress, stop tracking first",
        ),
        ("SET k v", "+OK"),
    ]);
    assert_eq!(number(&mut client, "tracking-active"), 1);
    client.check(&[("HOTKEYS STOP", "+OK"), ("HOTKEYS STOP", "nil")]);
    assert_eq!(number(&mut client, "tracking-active"), 0);
    let lasted = number(&mut client, "collection-duration-ms");
    client.check(&[("SET other v", "+OK")]);
    assert_eq!(number(&mut client, "collection-duration-ms"), lasted);
    // *3 $3 SET $1 k $1 v, and +OK.
    assert_eq!(keys(&mut client, "by-net-bytes"), [("k".to_owned(), 32)]);
    assert_eq!(number(&mut client, "total-net-bytes"), 32);
    assert_eq!(number(&mut client, "net-bytes-all-commands-all-slots"), 32);
    let by_cpu = keys(&mut client, "by-cpu-time-us");
    assert!(by_cpu.len() == 1 && by_cpu[0].1 > 0, "{by_cpu:?}");
    client.check(&[("HOTKEYS RESET", "+OK"), ("HOTKEYS GET", "nil")]);
    assert_eq!(server.connect_resp3().line("HOTKEYS GET"), "null");
}

#[test]
fn fields_depend_on_the_metrics() {
    let server = TestServer::start();
    let mut client = server.connect();
    let head = [
        "tracking-active",
        "sample-ratio",
        "selected-slots",
        "all-commands-all-slots-us",
        "net-bytes-all-commands-all-slots",
        "collection-start-time-unix-ms",
        "collection-duration-ms",
    ];
    let cpu = ["total-cpu-time-user-ms", "total-cpu-time-sys-ms"];
    let cases: [(&str, Vec<&str>); 3] = [
        ("1 CPU", [&head[..], &cpu, &["by-cpu-time-us"]].concat()),
        (
            "1 NET",
            [&head[..], &["total-net-bytes", "by-net-bytes"]].concat(),
        ),
        (
            "3 GPU NET CPU",
            [
                &head[..],
                &cpu,
                &["total-net-bytes", "by-cpu-time-us", "by-net-bytes"],
            ]
            .concat(),
        ),
    ];
    for (metrics, fields) in cases {
        let start = format!("HOTKEYS START METRICS {metrics} SAMPLE 5");
        if metrics.starts_with('3') {
            // Redis counts the metrics, and knows two.
            assert_eq!(
                client.line(&start),
                "-ERR METRICS count must be > 0 and <= 2"
            );
            continue;
        }
        assert_eq!(client.line(&start), "+OK");
        assert_eq!(names(&mut client), fields);
        assert_eq!(number(&mut client, "sample-ratio"), 5);
        assert_eq!(show(&field(&mut client, "selected-slots")), "[[:0 :16383]]");
        client.check(&[("HOTKEYS STOP", "+OK")]);
    }
    client.check(&[("HOTKEYS START METRICS 2 GPU CPU", "+OK")]);
    let mut modern = server.connect_resp3();
    let reply = modern.line("HOTKEYS GET");
    assert!(reply.starts_with("[{\"tracking-active\": :1 "), "{reply}");
}

#[test]
fn wrong_requests_are_refused() {
    let server = TestServer::start();
    let mut client = server.connect();
    let wrong = |text: &str| format!("-ERR {text}");
    for (line, error) in [
        ("HOTKEYS START", "METRICS parameter is required"),
        ("HOTKEYS START COUNT 5", "METRICS parameter is required"),
        (
            "HOTKEYS START METRICS 0 CPU",
            "METRICS count must be > 0 and <= 2",
        ),
        (
            "HOTKEYS START METRICS x CPU",
            "METRICS count must be > 0 and <= 2",
        ),
        (
            "HOTKEYS START METRICS 2 CPU",
            "METRICS count does not match number of metric types provided",
        ),
        ("HOTKEYS START METRICS 1 CPU NET", "syntax error"),
        (
            "HOTKEYS START METRICS 2 CPU cpu",
            "METRICS CPU defined more than once!",
        ),
        (
            "HOTKEYS START METRICS 2 NET NET",
            "METRICS NET defined more than once!",
        ),
        (
            "HOTKEYS START METRICS 1 GPU",
            "METRICS no valid metrics passed. Supported: CPU|NET",
        ),
        (
            "HOTKEYS START METRICS 1 CPU COUNT 0",
            "COUNT must be between 1 and 64",
        ),
        (
            "HOTKEYS START METRICS 1 CPU COUNT 65",
            "COUNT must be between 1 and 64",
        ),
        ("HOTKEYS START METRICS 1 CPU COUNT", "syntax error"),
        (
            "HOTKEYS START METRICS 1 CPU DURATION 0",
            "DURATION must be between 1 and 1000000",
        ),
        (
            "HOTKEYS START METRICS 1 CPU SAMPLE 0",
            "SAMPLE ratio must be positive",
        ),
        (
            "HOTKEYS START METRICS 1 CPU SLOTS 2 0 5",
            "SLOTS parameter cannot be used in non-cluster mode",
        ),
        (
            "HOTKEYS GET x",
            "wrong number of arguments for 'hotkeys|get' command",
        ),
        (
            "HOTKEYS FIND",
            "unknown subcommand 'FIND'. Try HOTKEYS HELP.",
        ),
    ] {
        assert_eq!(client.line(line), wrong(error), "{line}");
    }
    client.check(&[("HOTKEYS GET", "nil")]);
    let help = client.run(&["HOTKEYS", "HELP"]);
    assert!(help.as_elements().is_some_and(|lines| lines.len() > 8));
}

#[test]
fn transactions_scripts_and_served_clients_count() {
    let server = TestServer::start();
    let (mut client, mut other) = (server.connect(), server.connect());
    client.check(&[
        ("HOTKEYS START METRICS 1 NET COUNT 20", "+OK"),
        ("PING", "+PONG"),
        ("MULTI", "+OK"),
        ("SET t1 a", "+QUEUED"),
        ("SET t2 b", "+QUEUED"),
        ("EXEC", "[+OK +OK]"),
        (
            "EVAL \"redis.call('set', KEYS[1], 1) redis.call('set', KEYS[1], 2)\" 1 s",
            "nil",
        ),
        ("MSET m1 a m2 b", "+OK"),
        ("GET nothing", "nil"),
    ]);
    other.send(&[b"BLPOP", b"w", b"0"]);
    while client.line("INFO clients").contains("blocked_clients:0") {}
    client.check(&[("RPUSH w x", ":1")]);
    assert_eq!(show(&other.read()), "[\"w\" \"x\"]");
    let mut found: Vec<String> = keys(&mut client, "by-net-bytes")
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    found.sort();
    assert_eq!(found, ["m1", "m2", "nothing", "s", "t1", "t2", "w"]);
    let all = keys(&mut client, "by-net-bytes");
    let of = |name: &str| all.iter().find(|(key, _)| key == name).expect("there").1;
    // The commands of a script do not count beside it: its text and key, and the reply.
    assert!(of("s") > 90 && of("s") < 130, "{}", of("s"));
    assert_eq!(of("m1"), of("m2"));
    assert_eq!(of("nothing"), 31);
}

#[test]
fn a_session_ends_by_itself() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.check(&[("HOTKEYS START METRICS 1 CPU DURATION 1", "+OK")]);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while number(&mut client, "tracking-active") == 1 {
        assert!(std::time::Instant::now() < until, "it goes on");
        client.line("SET k v");
    }
    assert_eq!(number(&mut client, "collection-duration-ms"), 1000);
    client.check(&[
        ("HOTKEYS STOP", "nil"),
        ("HOTKEYS START METRICS 1 NET", "+OK"),
    ]);
    assert_eq!(
        names(&mut client).last().map(String::as_str),
        Some("by-net-bytes")
    );
}

/// 20 of 100 keys get four fifths of all requests; a session finds them, also when it looks at few
/// commands.
#[test]
fn hot_keys_are_found() {
    let server = TestServer::start();
    let mut client = server.connect();
    for sample in [1, 100] {
        let start = format!("HOTKEYS START METRICS 2 CPU NET SAMPLE {sample}");
        assert_eq!(client.line(&start), "+OK");
        let mut state = 7_u64;
        let mut below = |bound: u64| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 33) % bound
        };
        const ROUNDS: usize = 200;
        const PIPELINE: usize = 200;
        for _ in 0..ROUNDS {
            for _ in 0..PIPELINE {
                let key = if below(10) < 8 {
                    below(20)
                } else {
                    20 + below(80)
                };
                client.send(&[b"SET", format!("key:{key:03}").as_bytes(), b"value"]);
            }
            for _ in 0..PIPELINE {
                assert_eq!(show(&client.read()), "+OK");
            }
        }
        client.check(&[("HOTKEYS STOP", "+OK")]);
        for list in ["by-net-bytes", "by-cpu-time-us"] {
            let found = keys(&mut client, list);
            assert_eq!(found.len(), 10);
            assert!(found.is_sorted_by(|a, b| a.1 >= b.1));
            let hot = found.iter().filter(|(key, _)| **key < *"key:020").count();
            assert!(hot > 5, "{list} with SAMPLE {sample}: {found:?}");
        }
        // 42 bytes of request, 5 of reply.
        let bytes = (ROUNDS * PIPELINE * 42) as i64;
        assert_eq!(
            number(&mut client, "net-bytes-all-commands-all-slots"),
            bytes
        );
        if sample == 1 {
            // 4 % of the commands have the same hot key. Most of them are drawn by chance, one of
            // 64, so the largest figure of 20 is half as much again now and then.
            let (key, most) = &keys(&mut client, "by-net-bytes")[0];
            assert!(
                *most > bytes / 50 && *most < bytes / 10,
                "{key}: {most} of {bytes}"
            );
        }
    }
}

#[test]
fn only_administrators_track_keys() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.check(&[
        ("ACL SETUSER u on nopass ~* +@all -@admin", "+OK"),
        ("AUTH u x", "+OK"),
        (
            "HOTKEYS START METRICS 1 CPU",
            "-NOPERM User u has no permissions to run the 'hotkeys|start' command",
        ),
    ]);
    assert!(client.line("HOTKEYS HELP").starts_with('['));
}
