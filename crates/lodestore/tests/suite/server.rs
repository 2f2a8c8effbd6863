//! Server commands: configuration, statistics, logs of slow commands, diagnosis.

use resp::Value;

use super::harness::{Client, TestServer, show};

const DEBUG: &[&str] = &["--enable-debug-command", "yes"];

/// A field of INFO.
fn info(client: &mut Client, section: &str, name: &str) -> Option<String> {
    let reply = client.run(&["INFO", section]);
    let text = String::from_utf8_lossy(reply.as_bytes().expect("text")).into_owned();
    let start = format!("{name}:");
    text.lines()
        .find_map(|line| line.strip_prefix(&start))
        .map(str::to_owned)
}

#[test]
fn configuration() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.check(&[
        ("CONFIG GET maxmemory", "[\"maxmemory\" \"0\"]"),
        ("CONFIG SET maxmemory 1mb timeout 7", "+OK"),
        (
            "CONFIG GET maxmemory TIMEOUT nosuch",
            "[\"TIMEOUT\" \"7\" \"maxmemory\" \"1048576\"]",
        ),
        (
            "CONFIG SET maxmemory 0 timeout x",
            "-ERR CONFIG SET failed (possibly related to argument 'timeout') - argument couldn't be parsed into an integer",
        ),
        ("CONFIG GET maxmemory", "[\"maxmemory\" \"1048576\"]"),
        ("CONFIG SET maxmemory 0", "+OK"),
        (
            "CONFIG SET nosuch 1",
            "-ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'",
        ),
        (
            "CONFIG SET databases 3",
            "-ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config",
        ),
        ("CONFIG SET timeout 1 maxmemory", "-ERR syntax error"),
        ("CONFIG REWRITE", "-ERR The server is running without a config file"),
        ("CONFIG FOO", "-ERR unknown subcommand 'FOO'. Try CONFIG HELP."),
    ]);
    assert!(matches!(
        server.connect_resp3().run(&["CONFIG", "GET", "maxmemory*"]),
        Value::Map(pairs) if pairs.len() > 2
    ));
}

#[test]
fn the_log_can_be_switched_inside_a_transaction() {
    let mut server = TestServer::start();
    let mut client = server.connect();
    client.check(&[
        ("SET a 1", "+OK"),
        ("MULTI", "+OK"),
        ("CONFIG SET appendonly no", "+QUEUED"),
        ("INCR a", "+QUEUED"),
        ("EXEC", "[+OK :2]"),
    ]);
    let wait_for = |client: &mut Client, state: &str| {
        let is = |client: &mut Client, field: &str, value: &str| {
            info(client, "persistence", field).as_deref() == Some(value)
        };
        while !is(client, "aof_enabled", state)
            || !is(client, "aof_rewrite_scheduled", "0")
            || !is(client, "aof_rewrite_in_progress", "0")
        {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    };
    wait_for(&mut client, "0");
    client.check(&[
        ("INCR a", ":3"),
        ("MULTI", "+OK"),
        ("INCR a", "+QUEUED"),
        ("CONFIG SET appendonly yes", "+QUEUED"),
        ("INCR a", "+QUEUED"),
        ("EXEC", "[:4 +OK :5]"),
    ]);
    wait_for(&mut client, "1");
    client.check(&[("INCR a", ":6")]);
    server.restart();
    assert_eq!(server.connect().line("GET a"), "\"6\"");
}

#[test]
fn statistics_count_and_reset() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.check(&[
        ("CONFIG RESETSTAT", "+OK"),
        ("SET a 1", "+OK"),
        ("GET a", "\"1\""),
        ("GET b", "nil"),
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        ("INCR a", ":2"),
        ("SET s x", "+OK"),
        ("INCR s", "-ERR value is not an integer or out of range"),
    ]);
    let stats = |client: &mut Client, name: &str| info(client, "stats", name).expect("a field");
    assert_eq!(stats(&mut client, "keyspace_hits"), "1");
    assert_eq!(stats(&mut client, "keyspace_misses"), "1");
    assert_eq!(stats(&mut client, "total_error_replies"), "2");
    let get = info(&mut client, "commandstats", "cmdstat_get").expect("GET was called");
    assert!(get.starts_with("calls=2,"), "{get}");
    assert!(get.ends_with("rejected_calls=1,failed_calls=0"), "{get}");
    let incr = info(&mut client, "commandstats", "cmdstat_incr").expect("INCR was called");
    assert!(incr.ends_with("rejected_calls=0,failed_calls=1"), "{incr}");
    assert_eq!(
        info(&mut client, "errorstats", "errorstat_ERR").as_deref(),
        Some("count=2")
    );
    let latency = info(&mut client, "latencystats", "latency_percentiles_usec_get");
    assert!(latency.is_some_and(|line| line.starts_with("p50=")));
    client.line("CONFIG RESETSTAT");
    assert_eq!(stats(&mut client, "keyspace_hits"), "0");
    assert_eq!(info(&mut client, "commandstats", "cmdstat_get"), None);
    assert_eq!(info(&mut client, "errorstats", "errorstat_ERR"), None);
}

#[test]
fn info_has_its_sections() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.line("SET a 1 EX 1000");
    let headers = |client: &mut Client, names: &[&str]| -> Vec<String> {
        let request: Vec<&str> = std::iter::once("INFO")
            .chain(names.iter().copied())
            .collect();
        let reply = client.run(&request);
        let text = String::from_utf8_lossy(reply.as_bytes().expect("text")).into_owned();
        text.lines()
            .filter_map(|line| line.strip_prefix("# "))
            .map(str::to_owned)
            .collect()
    };
    let default = [
        "Server",
        "Clients",
        "Memory",
        "Persistence",
        "Stats",
        "Replication",
        "CPU",
        "Modules",
        "Errorstats",
        "Cluster",
        "Keyspace",
        "Keysizes",
    ];
    assert_eq!(headers(&mut client, &[]), default);
    assert_eq!(headers(&mut client, &["cpu", "CPU", "nosuch"]), ["CPU"]);
    assert!(headers(&mut client, &["all"]).contains(&"Commandstats".to_owned()));
    assert!(headers(&mut client, &["nosuch"]).is_empty());
    let db = info(&mut client, "keyspace", "db0").expect("db0 has a key");
    assert!(db.starts_with("keys=1,expires=1,avg_ttl="), "{db}");
    let ttl: u64 = db
        .trim_start_matches("keys=1,expires=1,avg_ttl=")
        .split(',')
        .next()
        .and_then(|ttl| ttl.parse().ok())
        .expect("a number");
    assert!((900_000..=1_000_000).contains(&ttl), "{ttl}");
    assert_eq!(
        info(&mut client, "server", "redis_version").as_deref(),
        Some("8.4.0")
    );
    assert_eq!(
        info(&mut client, "persistence", "aof_enabled").as_deref(),
        Some("1")
    );
    // Inside a transaction all locks are held already.
    client.check(&[("MULTI", "+OK"), ("INFO keyspace", "+QUEUED")]);
    assert!(client.line("EXEC").contains("keys=1"));
}

#[test]
fn the_command_table_describes_itself() {
    let server = TestServer::start();
    let mut client = server.connect();
    let count = client.integer("COMMAND COUNT");
    assert!(matches!(client.run(&["COMMAND"]), Value::Array(all) if all.len() as i64 == count));
    client.check(&[
        ("COMMAND GETKEYS MSET a 1 b 2", "[\"a\" \"b\"]"),
        ("COMMAND GETKEYSANDFLAGS SET k v", "[[\"k\" [+OW +update]]]"),
        (
            "COMMAND GETKEYSANDFLAGS SET k v GET",
            "[[\"k\" [+RW +access +update]]]",
        ),
        (
            "COMMAND GETKEYS PING",
            "-ERR The command has no key arguments",
        ),
        ("COMMAND GETKEYS NOSUCH a", "-ERR Invalid command specified"),
        (
            "COMMAND GETKEYS GET a b",
            "-ERR Invalid number of arguments specified for command",
        ),
        ("COMMAND GETKEYS MIGRATE h 1 k 0 10", "[\"k\"]"),
        (
            "COMMAND GETKEYS MIGRATE h 1 \"\" 0 10 KEYS a b",
            "[\"a\" \"b\"]",
        ),
        (
            "COMMAND GETKEYSANDFLAGS MIGRATE h 1 \"\" 0 10 KEYS a",
            "[[\"a\" [+RW +access +delete]]]",
        ),
        ("COMMAND GETKEYS ZUNIONSTORE d 2 a b", "[\"d\" \"a\" \"b\"]"),
        ("COMMAND GETKEYS MSETEX 2 a 1 b 2", "[\"a\" \"b\"]"),
        ("COMMAND INFO nosuch", "[nil]"),
        ("COMMAND LIST FILTERBY PATTERN get", "[\"get\"]"),
        ("COMMAND LIST FILTERBY MODULE x", "[]"),
        ("COMMAND LIST FILTERBY x y", "-ERR syntax error"),
    ]);
    // A number of keys that the command itself refuses.
    for command in [
        "ZUNION 3 a",
        "ZUNION 0 a",
        "ZUNION x a",
        "ZUNIONSTORE d 3 a",
        "SINTERCARD -1 a",
        "LMPOP 5 a LEFT",
        "BLMPOP 0 5 a LEFT",
        "MSETEX 3 a 1 b 2",
    ] {
        for form in ["GETKEYS", "GETKEYSANDFLAGS"] {
            assert_eq!(
                client.line(&format!("COMMAND {form} {command}")),
                "-ERR Invalid arguments specified for command",
                "{command}"
            );
        }
    }
    let info = client.line("COMMAND INFO get");
    assert!(
        info.starts_with("[[\"get\" :2 [+readonly +fast] :1 :1 :1 [+@read +@string +@fast] []"),
        "{info}"
    );
    let docs = client.line("COMMAND DOCS config|get");
    assert!(
        docs.contains("\"since\" \"2.0.0\" \"group\" \"server\""),
        "{docs}"
    );
    let by_category = client.line("COMMAND LIST FILTERBY ACLCAT string");
    assert!(by_category.contains("\"getrange\"") && !by_category.contains("\"del\""));
}

#[test]
fn slow_and_large_commands_are_logged() {
    let server = TestServer::start_with(DEBUG);
    let mut client = server.connect();
    client.check(&[
        ("CLIENT SETNAME tester", "+OK"),
        ("CONFIG SET commandlog-execution-slower-than 20000", "+OK"),
        ("SLOWLOG RESET", "+OK"),
        ("DEBUG SLEEP 0.05", "+OK"),
        ("SLOWLOG LEN", ":1"),
        ("COMMANDLOG LEN slow", ":1"),
        (
            "COMMANDLOG LEN foo",
            "-ERR type should be one of the following: slow, large-request, large-reply",
        ),
        (
            "SLOWLOG GET -2",
            "-ERR count should be greater than or equal to -1",
        ),
    ]);
    let Value::Array(entries) = client.run(&["SLOWLOG", "GET"]) else {
        panic!("SLOWLOG GET answers an array");
    };
    let entry = entries[0].as_elements().expect("an entry");
    assert_eq!(entry.len(), 6);
    assert!(matches!(entry[2], Value::Integer(micros) if micros >= 50_000));
    assert_eq!(show(&entry[3]), "[\"DEBUG\" \"SLEEP\" \"0.05\"]");
    assert_eq!(show(&entry[5]), "\"tester\"");
    client.check(&[
        ("CONFIG SET commandlog-request-larger-than 500", "+OK"),
        ("CONFIG SET commandlog-reply-larger-than 500", "+OK"),
    ]);
    let big = "x".repeat(600);
    client.run(&["SET", "big", &big]);
    client.run(&["GET", "big"]);
    let requests = client.line("COMMANDLOG GET -1 large-request");
    assert!(requests.contains("... (472 more bytes)"), "{requests}");
    let replies = client.line("COMMANDLOG GET 1 large-reply");
    assert!(replies.contains("[\"GET\" \"big\"]"), "{replies}");
    // Secrets are not shown.
    client.line("CONFIG SET commandlog-execution-slower-than 0");
    client.line("CONFIG SET requirepass hidden");
    client.line("AUTH hidden");
    let log = client.line("SLOWLOG GET -1");
    assert!(log.contains("\"requirepass\" \"(redacted)\""), "{log}");
    assert!(!log.contains("hidden"), "{log}");
}

#[test]
fn monitors_see_commands() {
    let server = TestServer::start();
    let mut monitor = server.connect();
    let mut client = server.connect();
    assert_eq!(monitor.line("MONITOR"), "+OK");
    client.line("SELECT 3");
    client.line("SET a \"b c\"");
    client.line("CONFIG GET port");
    client.line("AUTH default x");
    let mut lines = Vec::new();
    for _ in 0..3 {
        lines.push(show(&monitor.read()));
    }
    assert!(lines[0].ends_with("] \"SELECT\" \"3\""), "{lines:?}");
    // As in Valkey, commands are shown when they have run: SELECT with the database it selected.
    assert!(lines[0].contains(" [3 127.0.0.1:"), "{lines:?}");
    assert!(lines[1].contains(" [3 127.0.0.1:"), "{lines:?}");
    assert!(lines[1].ends_with("] \"SET\" \"a\" \"b c\""), "{lines:?}");
    // CONFIG is not shown, and passwords are hidden.
    assert!(
        lines[2].ends_with("] \"AUTH\" \"(redacted)\" \"(redacted)\""),
        "{lines:?}"
    );
}

#[test]
fn no_line_comes_behind_the_end_of_monitor_mode() {
    let server = TestServer::start_with(&["--threads", "2", "--threads-spread", "yes"]);
    let mut other = server.connect();
    for round in 0..50 {
        let mut monitor = server.connect();
        other.send(&[b"SET", b"key", b"value"]);
        assert!(monitor.try_send(b"MONITOR\r\nPING\r\nRESET\r\nPING\r\n"));
        other.read();
        let mut seen = Vec::new();
        while seen.iter().filter(|line| *line == "+PONG").count() < 2 {
            seen.push(show(&monitor.read()));
        }
        let reset = seen.iter().position(|line| line == "+RESET").unwrap();
        assert_eq!(&seen[reset..], ["+RESET", "+PONG"], "round {round}");
        // The own command stands right behind its reply.
        let pong = seen.iter().position(|line| line == "+PONG").unwrap();
        let own = &seen[pong + 1..reset];
        assert!(
            own.iter().any(|line| line.ends_with("\"PING\"")),
            "{seen:?}"
        );
    }
}

#[test]
fn a_monitoring_client_has_no_keys() {
    let server = TestServer::start();
    let mut monitor = server.connect();
    monitor.check(&[
        ("MONITOR", "+OK"),
        ("GET a", "-ERR Replica can't interact with the keyspace"),
        ("SET a 1", "-ERR Replica can't interact with the keyspace"),
        ("RESET", "+RESET"),
        ("SET a 1", "+OK"),
    ]);
}

#[test]
fn monitors_see_transactions_in_the_order_of_the_log() {
    let server = TestServer::start();
    let mut monitor = server.connect();
    let mut client = server.connect();
    monitor.check(&[("MONITOR", "+OK")]);
    client.check(&[
        ("MULTI", "+OK"),
        ("INCR a", "+QUEUED"),
        ("INCR b", "+QUEUED"),
        ("EXEC", "[:1 :1]"),
    ]);
    let lines: Vec<_> = (0..4).map(|_| show(&monitor.read())).collect();
    for (line, end) in
        lines
            .iter()
            .zip(["\"MULTI\"", "\"INCR\" \"a\"", "\"INCR\" \"b\"", "\"EXEC\""])
    {
        assert!(line.ends_with(end), "{lines:?}");
    }
}

#[test]
fn a_monitor_that_does_not_read_is_disconnected() {
    let server = TestServer::start();
    let mut monitor = server.connect();
    let mut client = server.connect();
    client.check(&[(
        "CONFIG SET client-output-buffer-limit \"normal 1mb 0 0\"",
        "+OK",
    )]);
    monitor.check(&[("MONITOR", "+OK")]);
    let value = "x".repeat(100_000);
    let began = std::time::Instant::now();
    while client.line("CLIENT LIST").lines().count() > 1 {
        client.run(&["SET", "key", &value]);
        assert!(began.elapsed() < std::time::Duration::from_secs(60));
    }
}

#[test]
fn latencies_are_recorded() {
    let server = TestServer::start_with(DEBUG);
    let mut client = server.connect();
    assert!(client.line("LATENCY DOCTOR").contains("not monitored"));
    client.check(&[
        ("CONFIG SET latency-monitor-threshold 20", "+OK"),
        ("DEBUG SLEEP 0.05", "+OK"),
        ("LATENCY HISTORY nosuch", "[]"),
        (
            "LATENCY GRAPH nosuch",
            "-ERR No samples available for event 'nosuch'",
        ),
    ]);
    let latest = client.line("LATENCY LATEST");
    assert!(latest.starts_with("[[\"command\" :"), "{latest}");
    assert!(
        client
            .line("LATENCY GRAPH command")
            .contains("command - high")
    );
    assert!(client.line("LATENCY DOCTOR").contains("SLOWLOG GET"));
    client.check(&[("LATENCY RESET nosuch", ":0"), ("LATENCY RESET", ":1")]);
    client.line("CONFIG RESETSTAT");
    client.line("SET a 1");
    let histogram = client.line("LATENCY HISTOGRAM set nosuch");
    assert!(
        histogram.starts_with("[\"set\" [\"calls\" :1 \"histogram_usec\" [:"),
        "{histogram}"
    );
}

#[test]
fn memory() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.line("SET a 1");
    assert!(client.integer("MEMORY USAGE a") > 0);
    client.check(&[
        ("MEMORY USAGE nosuch", "nil"),
        ("MEMORY USAGE a SAMPLES -1", "-ERR syntax error"),
        ("MEMORY PURGE", "+OK"),
    ]);
    let stats = client.line("MEMORY STATS");
    assert!(stats.contains("\"keys.count\" :1"), "{stats}");
    assert!(
        stats.contains("\"db.0\" [\"overhead.hashtable.main\""),
        "{stats}"
    );
    assert!(client.line("MEMORY DOCTOR").len() > 20);
    assert!(client.line("MEMORY MALLOC-STATS").contains("jemalloc"));
}

#[test]
fn debugging_has_to_be_enabled() {
    let server = TestServer::start();
    let mut client = server.connect();
    assert!(
        client
            .line("DEBUG SLEEP 0")
            .starts_with("-ERR DEBUG command not allowed.")
    );
}

#[test]
fn digests_tell_data_apart() {
    let server = TestServer::start_with(DEBUG);
    let mut client = server.connect();
    let empty = client.line("DEBUG DIGEST");
    assert_eq!(empty, format!("+{}", "0".repeat(40)));
    client.line("SET a 1");
    client.line("SET b 2 EX 1000");
    let both = client.line("DEBUG DIGEST");
    assert_ne!(both, empty);
    client.line("DEL a");
    assert_ne!(client.line("DEBUG DIGEST"), both);
    client.line("SET a 1");
    assert_eq!(client.line("DEBUG DIGEST"), both);
    client.line("DEBUG RELOAD");
    assert_eq!(client.line("DEBUG DIGEST"), both);
    client.line("DEBUG LOADAOF");
    assert_eq!(client.line("DEBUG DIGEST"), both);
    // As Valkey computes it, and the same for integers and texts.
    assert_eq!(
        client.line("DEBUG DIGEST-VALUE a nosuch"),
        format!(
            "[+{} +{}]",
            client
                .line("DEBUG DIGEST-VALUE a")
                .trim_start_matches("[+")
                .trim_end_matches(']'),
            "0".repeat(40)
        )
    );
}

#[test]
fn populating_and_looking() {
    let server = TestServer::start_with(DEBUG);
    let mut client = server.connect();
    client.check(&[
        ("DEBUG POPULATE 100", "+OK"),
        ("DEBUG POPULATE 10 pre 3", "+OK"),
        ("DBSIZE", ":110"),
        ("GET key:99", "\"value:99\""),
        ("GET pre:9", "\"val\""),
        (
            "DEBUG POPULATE x",
            "-ERR value is out of range, must be positive",
        ),
        ("DEBUG OBJECT nosuch", "-ERR no such key"),
        ("DEBUG SET-ACTIVE-EXPIRE 0", "+OK"),
        ("DEBUG STRINGMATCH-LEN a* abc", ":1"),
        ("DEBUG ERROR \"MINE a b\"", "-MINE a b"),
        (
            "DEBUG NOSUCH",
            "-ERR unknown subcommand or wrong number of arguments for 'NOSUCH'. Try DEBUG HELP.",
        ),
    ]);
    let object = client.line("DEBUG OBJECT key:1");
    assert!(
        object.contains(" encoding:embstr serializedlength:8 lru:"),
        "{object}"
    );
    assert!(
        client
            .line("DEBUG HTSTATS 0")
            .contains("number of elements: 110")
    );
    let mut resp3 = server.connect_resp3();
    resp3.check(&[
        ("DEBUG PROTOCOL map", "{:0: #f :1: #t :2: #f}"),
        ("DEBUG PROTOCOL set", "~[:0 :1 :2]"),
        ("DEBUG PROTOCOL double", ",3.141"),
        (
            "DEBUG PROTOCOL bignum",
            "(1234567999999999999999999999999999999",
        ),
        ("DEBUG PROTOCOL null", "null"),
    ]);
}

#[test]
fn small_ones() {
    let server = TestServer::start();
    let mut client = server.connect();
    let role = client.line("ROLE");
    assert!(
        role.starts_with("[\"master\" :") && role.ends_with(" []]"),
        "{role}"
    );
    assert!(matches!(client.run(&["TIME"]), Value::Array(parts) if parts.len() == 2));
    assert!(client.integer("LASTSAVE") > 1_600_000_000);
    assert!(client.line("LOLWUT").contains("Lodestore ver. "));
    client.check(&[
        ("FUNCTION FLUSH", "+OK"),
        ("FUNCTION LIST", "[]"),
        ("SCRIPT EXISTS a b", "[:0 :0]"),
        ("SCRIPT FLUSH ASYNC", "+OK"),
        (
            "SCRIPT FLUSH foo",
            "-ERR SCRIPT FLUSH only support SYNC|ASYNC option",
        ),
        (
            "BGREWRITEAOF",
            "+Background append only file rewriting started",
        ),
        ("SHUTDOWN foo", "-ERR syntax error"),
        ("SHUTDOWN SAVE NOSAVE", "-ERR syntax error"),
        ("SHUTDOWN ABORT", "-ERR No shutdown in progress."),
    ]);
}

#[test]
fn help_lists_subcommands() {
    let server = TestServer::start_with(DEBUG);
    let mut client = server.connect();
    for name in [
        "CLIENT",
        "CONFIG",
        "COMMAND",
        "COMMANDLOG",
        "DEBUG",
        "FUNCTION",
        "LATENCY",
        "MEMORY",
        "SCRIPT",
        "SLOWLOG",
    ] {
        let help = client.line(&format!("{name} HELP"));
        let head = format!("[+{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are: +");
        assert!(help.starts_with(&head), "{help}");
    }
}

#[test]
fn shutdown_keeps_what_was_acknowledged() {
    let mut server = TestServer::start();
    let mut client = server.connect();
    client.line("SET a 1");
    client.send(&[b"SHUTDOWN"]);
    assert!(
        client.read_or_closed().is_none(),
        "a shutdown answers nothing"
    );
    server.restart();
    assert_eq!(server.connect().line("GET a"), "\"1\"");
}
