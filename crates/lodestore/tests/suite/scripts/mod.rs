//! EVAL and its relatives as clients see them.

mod busy;
mod functions;
mod locks;
mod rollback;
mod users;

use super::harness::{Client, TestServer, show};
use super::pubsub;
use super::replication::field;

fn wait_until(done: impl FnMut() -> bool) {
    pubsub::wait_until("the script is where it should be", done);
}

/// Runs a script with keys and arguments; the reply as `show` writes it, without the digest of the
/// script.
fn eval(client: &mut Client, script: &str, keys: &[&str], args: &[&str]) -> String {
    let count = keys.len().to_string();
    let mut words = vec!["EVAL", script, &count];
    words.extend(keys);
    words.extend(args);
    without_digest(&show(&client.run(&words)))
}

/// An error without the digest of its script, of 40 digits.
fn without_digest(reply: &str) -> String {
    const BEFORE: &str = " script: ";
    let Some(at) = reply.find(BEFORE).map(|at| at + BEFORE.len()) else {
        return reply.to_owned();
    };
    let is_digest = reply.get(at..at + 42).is_some_and(|text| {
        let (digits, end) = text.split_at(40);
        digits.bytes().all(|byte| byte.is_ascii_hexdigit()) && end == ", "
    });
    match is_digest {
        true => format!("{}{}", &reply[..at], &reply[at + 42..]),
        false => reply.to_owned(),
    }
}

/// The digest under which a script is known.
fn load(client: &mut Client, script: &str) -> String {
    let reply = show(&client.run(&["SCRIPT", "LOAD", script]));
    reply.trim_matches('"').to_owned()
}

/// In a script, in a transaction, and one with a script.
#[test]
fn clients_have_the_commands_that_ran_for_them() {
    let server = TestServer::start();
    let mut client = server.connect();
    let count = |client: &mut Client| -> u64 {
        let line = client.run(&["CLIENT", "INFO"]);
        let line = String::from_utf8_lossy(line.as_bytes().expect("text")).into_owned();
        let (_, rest) = line.split_once("tot-cmds=").expect("the field");
        let digits = rest.split([' ', '\n']).next().expect("a number");
        digits.parse().expect("a number")
    };
    let before = count(&mut client);
    assert_eq!(
        eval(&mut client, "return redis.call('PING')", &[], &[]),
        "+PONG"
    );
    // The script, its command, and CLIENT INFO.
    assert_eq!(count(&mut client), before + 3);
    let script = "redis.pcall('SET'); redis.pcall('GET', 'k'); return 1";
    client.line("MULTI");
    client.run(&["EVAL", script, "1", "k"]);
    client.line("GET k");
    assert_eq!(client.line("EXEC"), "[:1 nil]");
    // A command that is refused was not run.
    assert_eq!(count(&mut client), before + 3 + 4 + 1 + 1);
}

#[test]
fn values_of_lua_become_replies() {
    let server = TestServer::start();
    let mut client = server.connect();
    for (script, reply) in [
        ("return 1", ":1"),
        ("return 3.99", ":3"),
        ("return 'x'", "\"x\""),
        ("return true", ":1"),
        ("return false", "nil"),
        ("return nil", "nil"),
        ("return {1, 'a', {2, {}}, nil, 3}", "[:1 \"a\" [:2 []]]"),
        ("return {ok='fine'}", "+fine"),
        ("return {err='BAD thing'}", "-BAD thing"),
        ("return redis.status_reply('s')", "+s"),
        ("return redis.error_reply('plain')", "-ERR plain"),
        ("return {KEYS[1], KEYS[2], ARGV[1]}", "[\"a\" \"b\" \"c\"]"),
        ("return {ok='a\\r\\n:1'}", "+a  :1"),
        ("return {err='a\\r\\n+OK'}", "-a  +OK"),
    ] {
        let given = eval(&mut client, script, &["a", "b"], &["c"]);
        assert_eq!(given, reply, "{script}");
    }
    let mut newer = server.connect_resp3();
    for (script, reply) in [
        ("return nil", "null"),
        ("return false", "null"),
        ("redis.setresp(3); return true", "#t"),
        ("redis.setresp(3); return {double=1.5}", ",1.5"),
        ("redis.setresp(3); return {map={a=1}}", "{\"a\": :1}"),
        ("redis.setresp(3); return {set={a=true}}", "~[\"a\"]"),
    ] {
        assert_eq!(eval(&mut newer, script, &[], &[]), reply, "{script}");
    }
    // The version that a script has set is gone afterwards.
    newer.check(&[("HSET h f v", ":1"), ("HGETALL h", "{\"f\": \"v\"}")]);
    client.check(&[("HGETALL h", "[\"f\" \"v\"]")]);
    let script = "redis.setresp(3); return redis.call('hgetall', 'h').map.f";
    assert_eq!(eval(&mut client, script, &["h"], &[]), "\"v\"");
}

#[test]
fn calls_have_the_replies_of_commands() {
    let server = TestServer::start();
    let mut client = server.connect();
    let script = "
        redis.call('set', KEYS[1], 7)
        redis.call('rpush', KEYS[2], 'a', 'b')
        return {redis.call('incr', KEYS[1]), redis.call('lrange', KEYS[2], 0, -1),
                redis.call('get', 'none'), redis.call('type', KEYS[2]),
                redis.call('zscore', 'none', 'm'), redis.call('exists', KEYS[1], 'none')}";
    assert_eq!(
        eval(&mut client, script, &["n", "l"], &[]),
        "[:8 [\"a\" \"b\"] nil +list nil :1]"
    );
    // A number is written with all its digits.
    assert_eq!(
        eval(&mut client, "return redis.call('echo', 0.1)", &[], &[]),
        "\"0.1\""
    );
    assert_eq!(
        eval(&mut client, "return redis.call('echo', 1e15)", &[], &[]),
        "\"1000000000000000\""
    );
    // SELECT holds for the rest of the script only.
    let select = "redis.call('select', 3); redis.call('set', 'in', 'three'); return 1";
    assert_eq!(eval(&mut client, select, &[], &[]), ":1");
    client.check(&[
        ("GET in", "nil"),
        ("SELECT 3", "+OK"),
        ("GET in", "\"three\""),
    ]);
}

#[test]
fn errors_name_their_place() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.line("SET text x");
    for (script, reply) in [
        (
            "return redis.call('nosuch')",
            "-ERR Unknown command called from script script: on @user_script:1.",
        ),
        (
            "\nreturn redis.call('incr')",
            "-ERR Wrong number of args calling command from script script: on @user_script:2.",
        ),
        (
            "return redis.call('incr', 'text')",
            "-ERR value is not an integer or out of range script: on @user_script:1.",
        ),
        (
            "return redis.call('lpush', 'text', 1)",
            "-WRONGTYPE Operation against a key holding the wrong kind of value script: on @user_script:1.",
        ),
        (
            "return redis.call('subscribe', 'c')",
            "-ERR This Redis command is not allowed from script script: on @user_script:1.",
        ),
        (
            "return redis.call('eval', 'return 1', 0)",
            "-ERR This Redis command is not allowed from script script: on @user_script:1.",
        ),
        (
            "return redis.call('multi')",
            "-ERR This Redis command is not allowed from script script: on @user_script:1.",
        ),
        (
            "return redis.call('config', 'nosuch')",
            "-ERR unknown subcommand 'nosuch'. Try CONFIG HELP. script: on @user_script:1.",
        ),
        (
            "return redis.call()",
            "-ERR Please specify at least one argument for this call script: on @user_script:1.",
        ),
        (
            "return redis.call('set', {}, 1)",
            "-ERR Command arguments must be strings or integers script: on @user_script:1.",
        ),
        (
            "return redis.pcall('nosuch')",
            "-ERR Unknown command called from script",
        ),
        (
            "return redis.pcall('incr', 'text')['err']",
            "\"ERR value is not an integer or out of range\"",
        ),
        (
            "error({err='MY own'})",
            "-MY own script: on @user_script:1.",
        ),
        (
            "foo bar",
            "-ERR Error compiling script (new function): user_script:1: '=' expected near 'bar'",
        ),
    ] {
        assert_eq!(eval(&mut client, script, &[], &[]), reply, "{script}");
    }
    client.check(&[
        (
            "EVAL 'return 1' 1",
            "-ERR Number of keys can't be greater than number of args",
        ),
        (
            "EVAL 'return 1' -1",
            "-ERR Number of keys can't be negative",
        ),
        (
            "EVAL 'return 1' x",
            "-ERR value is not an integer or out of range",
        ),
        (
            "EVAL 'return 1'",
            "-ERR wrong number of arguments for 'eval' command",
        ),
        ("EVALSHA abc 0", "-NOSCRIPT No matching script."),
        (
            "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0",
            "-NOSCRIPT No matching script.",
        ),
        ("FCALL none 0", "-ERR Function not found"),
    ]);
    // Each error counts once, and the script that it ended has failed.
    client.line("CONFIG RESETSTAT");
    for script in [
        "return redis.call('nosuch')",
        "redis.pcall('incr', 'text') return 1",
        "return redis.pcall('incr')",
        "return redis.call('incr', 'text')",
        "return redis.error_reply('MY own')",
    ] {
        eval(&mut client, script, &["text"], &[]);
    }
    let stats = client.line("INFO errorstats");
    assert!(stats.contains("errorstat_ERR:count=4\\r\\n"), "{stats}");
    assert!(stats.contains("errorstat_MY:count=1\\r\\n"), "{stats}");
    let stats = client.line("INFO commandstats");
    for part in [
        "cmdstat_eval:calls=5,",
        "cmdstat_incr:calls=2,",
        "rejected_calls=1,failed_calls=2\\r\\n",
        "rejected_calls=0,failed_calls=4\\r\\n",
    ] {
        assert!(stats.contains(part), "{part} in {stats}");
    }
}

#[test]
fn the_cache_keeps_what_was_loaded() {
    let server = TestServer::start();
    let mut client = server.connect();
    const SHA: &str = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    assert_eq!(load(&mut client, "return 1"), SHA);
    client.check(&[
        (
            &format!("SCRIPT EXISTS {SHA} {}", "0".repeat(40)),
            "[:1 :0]",
        ),
        (&format!("EVALSHA {SHA} 0"), ":1"),
        (&format!("EVALSHA {} 0", SHA.to_uppercase()), ":1"),
        (&format!("EVALSHA_RO {SHA} 0"), ":1"),
        (&format!("SCRIPT SHOW {SHA}"), "\"return 1\""),
        ("SCRIPT SHOW abc", "-NOSCRIPT No matching script."),
        (
            "SCRIPT LOAD 'x y'",
            "-ERR Error compiling script (new function): user_script:1: '=' expected near 'y'",
        ),
        ("SCRIPT FLUSH", "+OK"),
        (&format!("EVALSHA {SHA} 0"), "-NOSCRIPT No matching script."),
        ("SCRIPT DEBUG NO", "+OK"),
        (
            "SCRIPT DEBUG YES",
            "-ERR Lodestore has no debugger of scripts",
        ),
        ("SCRIPT DEBUG x", "-ERR Use SCRIPT DEBUG YES/SYNC/NO"),
        ("SCRIPT KILL", "-NOTBUSY No scripts in execution right now."),
    ]);
    // EVAL makes a script known as well; only so many of those are kept.
    let kept = load(&mut client, "return 'kept'");
    for number in 0..510 {
        eval(&mut client, &format!("return {number}"), &[], &[]);
    }
    let info = client.line("INFO everything");
    assert!(
        info.contains("number_of_cached_scripts:501\\r\\n"),
        "{info}"
    );
    assert!(info.contains("evicted_scripts:10\\r\\n"), "{info}");
    client.check(&[(&format!("EVALSHA {kept} 0"), "\"kept\"")]);
    assert_eq!(eval(&mut client, "return 3", &[], &[]), ":3");
    client.check(&[("SCRIPT FLUSH SYNC", "+OK"), ("CONFIG RESETSTAT", "+OK")]);
    let info = client.line("INFO everything");
    assert!(info.contains("number_of_cached_scripts:0\\r\\n"), "{info}");
    assert!(info.contains("evicted_scripts:0\\r\\n"), "{info}");
}

#[test]
fn a_flush_gives_the_heap_of_its_interpreter_back() {
    let server = TestServer::start_with(&["--threads", "1"]);
    let mut client = server.connect();
    let heaps = |client: &mut Client| {
        ["eval", "functions", "total"].map(|kind| {
            let bytes = field(client, "memory", &format!("used_memory_vm_{kind}"));
            bytes.parse::<u64>().expect("a number")
        })
    };
    assert_eq!(heaps(&mut client), [0, 0, 0]);
    eval(&mut client, "return 1", &[], &[]);
    let [first, none, total] = heaps(&mut client);
    assert!(first > 0 && none == 0 && total == first);
    for number in 0..1000 {
        eval(&mut client, &format!("return {number}"), &[], &[]);
    }
    let many = heaps(&mut client)[0];
    assert!(many > first, "{many} {first}");
    for number in 0..60 {
        let code = format!(
            "#!lua name=l{number}\nserver.register_function('f{number}', function() return 1 end)"
        );
        client.run(&["FUNCTION", "LOAD", &code]);
    }
    let [scripts, functions, total] = heaps(&mut client);
    assert!(functions > 0 && total == scripts + functions);
    client.check(&[("FCALL f7 0", ":1"), ("FUNCTION FLUSH", "+OK")]);
    assert_eq!(heaps(&mut client), [scripts, 0, scripts]);
    client.check(&[("SCRIPT FLUSH", "+OK")]);
    assert_eq!(heaps(&mut client), [0, 0, 0]);
    // A flush leaves an interpreter that works.
    assert_eq!(eval(&mut client, "return 1", &[], &[]), ":1");
    assert_eq!(heaps(&mut client)[0], first);
}

#[test]
fn read_only_scripts_cannot_write() {
    let server = TestServer::start();
    let mut client = server.connect();
    const REFUSED: &str =
        "-ERR Write commands are not allowed from read-only scripts. script: on @user_script:1.";
    client.line("SET k 1");
    for (line, reply) in [
        ("EVAL_RO \"return redis.call('get', 'k')\" 1 k", "\"1\""),
        ("EVAL_RO \"return redis.call('set', 'k', 2)\" 1 k", REFUSED),
        (
            "EVAL_RO \"return redis.call('publish', 'c', 'm')\" 0",
            REFUSED,
        ),
        ("GET k", "\"1\""),
    ] {
        assert_eq!(without_digest(&client.line(line)), reply, "{line}");
    }
    let script = "#!lua flags=no-writes\nreturn redis.call('del', 'k')";
    assert_eq!(
        eval(&mut client, script, &[], &[]),
        "-ERR Write commands are not allowed from read-only scripts. script: on @user_script:2."
    );
    let writes = "#!lua\nreturn 1";
    assert_eq!(eval(&mut client, writes, &[], &[]), ":1");
    assert_eq!(
        show(&client.run(&["EVAL_RO", writes, "0"])),
        "-ERR Can not execute a script with write flag using *_ro command."
    );
    for (script, reply) in [
        (
            "#!lua flags=nosuch\nreturn 1",
            "-ERR Unexpected flag in script shebang: nosuch",
        ),
        (
            "#!lua more=1\nreturn 1",
            "-ERR Unknown lua shebang option: more=1",
        ),
        (
            "#!js\nreturn 1",
            "-ERR Could not find scripting engine 'js'",
        ),
        ("#!lua", "-ERR Invalid script shebang"),
        (
            "#!lua flags=allow-oom,allow-stale,no-cluster,allow-cross-slot-keys\nreturn 7",
            ":7",
        ),
    ] {
        assert_eq!(eval(&mut client, script, &[], &[]), reply, "{script}");
    }
}

#[test]
fn effects_of_a_script_are_one_transaction() {
    let server = TestServer::start();
    let run = |script: &str| {
        let before = server.logged().len();
        let mut client = server.connect();
        eval(&mut client, script, &[], &[]);
        let mut added = server.logged().split_off(before);
        added.retain(|command| !command.starts_with("SELECT "));
        added
    };
    assert_eq!(run("return redis.call('set', 'a', 1)"), ["set a 1"]);
    assert_eq!(
        run("redis.call('incr', 'a') redis.call('spop', 'none') redis.call('rpush', 'l', 1, 2)"),
        ["MULTI", "incr a", "rpush l 1 2", "EXEC"]
    );
    // What was done before an error stays.
    assert_eq!(
        run("redis.call('incr', 'a') redis.call('incr', 'l')"),
        ["incr a"]
    );
    assert!(run("return redis.call('get', 'a')").is_empty());
    assert_eq!(run("redis.call('pexpireat', 'a', 1)"), ["UNLINK a"]);
    assert_eq!(
        run("redis.set_repl(redis.REPL_NONE) redis.call('set', 'x', 1)
             redis.set_repl(redis.REPL_REPLICA) redis.call('set', 'y', 1)
             redis.set_repl(redis.REPL_AOF) redis.call('set', 'z', 1)"),
        ["set z 1"]
    );
    // It holds for the one script.
    assert_eq!(run("redis.call('del', 'x', 'y')"), ["del x y"]);
    server.assert_replays();
    // Within a transaction the blocks do not nest.
    let before = server.logged().len();
    let mut transaction = server.connect();
    transaction.check(&[
        ("MULTI", "+OK"),
        ("SET m 1", "+QUEUED"),
        (
            "EVAL \"redis.call('incr', 'm') return redis.call('incr', 'm')\" 1 m",
            "+QUEUED",
        ),
        ("EVAL \"return redis.call('nosuch')\" 0", "+QUEUED"),
        ("GET m", "+QUEUED"),
    ]);
    assert_eq!(
        without_digest(&transaction.line("EXEC")),
        "[+OK :3 -ERR Unknown command called from script script: on @user_script:1. \"3\"]"
    );
    let added = server.logged().split_off(before);
    assert_eq!(added, ["MULTI", "SET m 1", "incr m", "incr m", "EXEC"]);
    server.assert_replays();
}

#[test]
fn scripts_of_older_logs_run_again() {
    let dir = super::harness::fresh_dir();
    let mut file = Vec::new();
    for words in [
        &[
            "EVAL",
            "redis.call('set', KEYS[1], ARGV[1]) return redis.call('incr', 'undeclared')",
            "1",
            "k",
            "v",
        ][..],
        &["SCRIPT", "LOAD", "return redis.call('incr', 'undeclared')"],
        &["EVALSHA", "096fdac54759ce4c48d78efbab4c5c00c1611801", "0"],
        &[
            "FUNCTION",
            "LOAD",
            "#!lua name=l\nredis.register_function('f', function(k) return redis.call('incr', k[1]) end)",
        ],
        &["FCALL", "f", "1", "k2"],
    ] {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        resp::request::encode(&mut file, &words);
    }
    std::fs::write(dir.join("appendonly.aof"), file).expect("the log");
    let mut server = TestServer::start_plain(dir, &["--appendonly", "yes", "--save", ""]);
    let expected = [
        ("GET k", "\"v\""),
        ("GET undeclared", "\"2\""),
        ("GET k2", "\"1\""),
        ("FCALL f 1 k2", ":2"),
    ];
    server.connect().check(&expected);
    server.restart();
    server
        .connect()
        .check(&[("GET k2", "\"2\""), ("FCALL f 1 k2", ":3")]);
}

#[test]
fn time_stands_still_in_a_script() {
    let server = TestServer::start();
    let mut client = server.connect();
    let script = "
        redis.call('set', KEYS[1], 'v', 'px', 1)
        local before, began = redis.call('time'), os.clock()
        repeat until os.clock() - began > 0.02
        local after = redis.call('time')
        return {redis.call('get', KEYS[1]), redis.call('pttl', KEYS[1]),
                before[1] == after[1] and before[2] == after[2]}";
    assert_eq!(eval(&mut client, script, &["k"], &[]), "[\"v\" :1 :1]");
    client.check(&[("GET k", "nil")]);
}

#[test]
fn monitors_see_what_a_script_calls() {
    let server = TestServer::start();
    let mut monitor = server.connect();
    monitor.check(&[("MONITOR", "+OK")]);
    let mut client = server.connect();
    eval(
        &mut client,
        "return redis.call('set', KEYS[1], ARGV[1])",
        &["k"],
        &["v"],
    );
    let mut lines = Vec::new();
    for _ in 0..2 {
        lines.push(show(&monitor.read()));
    }
    assert!(
        lines[0].contains("127.0.0.1:") && lines[0].contains("\"EVAL\" \"return "),
        "{lines:?}"
    );
    assert!(
        lines[1].ends_with(" [0 lua] \"set\" \"k\" \"v\""),
        "{lines:?}"
    );
    client.check(&[
        ("CONFIG SET slowlog-log-slower-than 0", "+OK"),
        ("SLOWLOG RESET", "+OK"),
    ]);
    eval(
        &mut client,
        "return redis.call('get', KEYS[1])",
        &["k"],
        &[],
    );
    let log = client.line("SLOWLOG GET");
    assert!(
        log.contains("[\"EVAL\" ") && log.contains("[\"get\" \"k\"]"),
        "{log}"
    );
}

#[test]
fn what_a_script_causes_comes_in_order() {
    let server = TestServer::start_with(&["--notify-keyspace-events", "KEA"]);
    let mut client = server.connect();
    let mut listener = server.connect();
    listener.check(&[("PSUBSCRIBE *", "[\"psubscribe\" \"*\" :1]")]);
    let script = "
        redis.call('set', KEYS[1], 1)
        redis.call('publish', 'c', 'between')
        redis.call('del', KEYS[1])
        return redis.call('get', KEYS[1])";
    assert_eq!(eval(&mut client, script, &["k"], &[]), "nil");
    let messages: Vec<String> = (0..5).map(|_| show(&listener.read())).collect();
    let order = [
        "@0__:k\" \"set\"]",
        "event@0__:set\" \"k\"]",
        "\"c\" \"between\"]",
        "@0__:k\" \"del\"]",
        "event@0__:del\" \"k\"]",
    ];
    for (message, end) in messages.iter().zip(order) {
        assert!(message.ends_with(end), "{messages:?}");
    }
    // A client that keeps copies has to be told what its own scripts read, and only once.
    let mut cache = server.connect_resp3();
    cache.check(&[("CLIENT TRACKING ON", "+OK")]);
    assert_eq!(
        eval(&mut cache, "return redis.call('get', KEYS[1])", &["k"], &[]),
        "null"
    );
    cache.check(&[("EVAL_RO \"return 1\" 1 other", ":1")]);
    client.check(&[("SET other 1", "+OK"), ("SET k 1", "+OK")]);
    assert_eq!(show(&cache.read()), r#">["invalidate" ["k"]]"#);
    // Blocked clients are served when the script has ended.
    let mut blocked = server.connect();
    blocked.send(&[b"BLPOP", b"l", b"0"]);
    wait_until(|| {
        client
            .line("INFO clients")
            .contains("blocked_clients:1\\r\\n")
    });
    let script = "redis.call('rpush', KEYS[1], 'a', 'b') return redis.call('lpop', KEYS[1])";
    assert_eq!(eval(&mut client, script, &["l"], &[]), "\"a\"");
    assert_eq!(show(&blocked.read()), "[\"l\" \"b\"]");
    assert_eq!(
        eval(
            &mut client,
            "return redis.call('blpop', KEYS[1], 0)",
            &["l"],
            &[]
        ),
        "nil"
    );
}

#[test]
fn the_memory_at_the_start_decides() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.check(&[("SET k v", "+OK"), ("CONFIG SET maxmemory 1", "+OK")]);
    const REFUSED: &str = "-OOM command not allowed when used memory > 'maxmemory'.";
    assert_eq!(
        eval(&mut client, "return redis.call('set', 'k', 1)", &["k"], &[]),
        format!("{REFUSED} script: on @user_script:1.")
    );
    assert_eq!(
        eval(&mut client, "return redis.call('get', 'k')", &["k"], &[]),
        "\"v\""
    );
    // After a write that needs no memory nothing is refused any more.
    let script = "redis.call('del', 'k') return redis.call('set', 'k', 2)";
    assert_eq!(eval(&mut client, script, &["k"], &[]), "+OK");
    for (script, reply) in [
        ("#!lua\nreturn 1", REFUSED),
        (
            "#!lua flags=no-writes\nreturn redis.call('get', 'k')",
            "\"2\"",
        ),
        (
            "#!lua flags=allow-oom\nreturn redis.call('set', 'k', 3)",
            "+OK",
        ),
    ] {
        assert_eq!(eval(&mut client, script, &["k"], &[]), reply, "{script}");
    }
    client.check(&[
        ("CONFIG SET maxmemory 0", "+OK"),
        ("GET k", "\"3\""),
        ("CONFIG SET min-replicas-to-write 1", "+OK"),
        ("EVAL '#!lua\\nreturn 1' 0", "-ERR Invalid script shebang"),
    ]);
    assert_eq!(
        eval(&mut client, "return redis.call('set', 'k', 1)", &["k"], &[]),
        "-NOREPLICAS Not enough good replicas to write. script: on @user_script:1."
    );
    assert_eq!(
        eval(&mut client, "#!lua\nreturn 1", &[], &[]),
        "-NOREPLICAS Not enough good replicas to write."
    );
}

#[test]
fn one_run_cannot_take_all_memory() {
    let server = TestServer::start_with(&["--script-max-memory", "4mb"]);
    let mut client = server.connect();
    for script in [
        "local t = {} for i = 1, 1e9 do t[i] = i end",
        "local s = 'x' while true do s = s .. s end",
        "pcall(function() local t = {} for i = 1, 1e9 do t[i] = {} end end) return 1",
        "return string.rep('x', 1e9)",
    ] {
        let reply = eval(&mut client, script, &[], &[]);
        assert!(reply.starts_with("-ERR "), "{script}: {reply}");
    }
    assert_eq!(eval(&mut client, "return 1", &[], &[]), ":1");
}
