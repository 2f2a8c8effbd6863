//! Libraries of functions.

use super::super::harness::{Client, TestServer, show};

const COUNTER: &str = "#!lua name=counter
local calls = 0
local function add(keys, args)
    calls = calls + 1
    return redis.call('incrby', keys[1], args[1] or 1)
end
redis.register_function('add', add)
redis.register_function{function_name='peek', description='reads', flags={'no-writes'},
    callback=function(keys) return redis.call('get', keys[1]) end}
redis.register_function{function_name='sneak', flags={'no-writes'},
    callback=function(keys) return redis.call('del', keys[1]) end}";

fn function(client: &mut Client, words: &[&str]) -> String {
    let mut all = vec!["FUNCTION"];
    all.extend(words);
    show(&client.run(&all))
}

#[test]
fn functions_are_called_by_name() {
    let server = TestServer::start();
    let mut client = server.connect();
    assert_eq!(function(&mut client, &["LOAD", COUNTER]), "\"counter\"");
    client.check(&[
        ("FCALL add 1 k", ":1"),
        ("FCALL ADD 1 k 5", ":6"),
        ("FCALL peek 1 k", "\"6\""),
        ("FCALL_RO peek 1 k", "\"6\""),
        ("FCALL_RO add 1 k", "-ERR Can not execute a script with write flag using *_ro command."),
        ("FCALL none 1 k", "-ERR Function not found"),
        ("FCALL add x k", "-ERR Bad number of keys provided"),
        ("FCALL add 2 k", "-ERR Number of keys can't be greater than number of args"),
        ("FCALL add -1 k", "-ERR Number of keys can't be negative"),
        ("FUNCTION STATS", "[\"running_script\" nil \"engines\" [\"LUA\" [\"libraries_count\" :1 \"functions_count\" :3]]]"),
        ("FUNCTION KILL", "-NOTBUSY No scripts in execution right now."),
        ("FUNCTION LIST LIBRARYNAME x*", "[]"),
    ]);
    let sneak = client.line("FCALL sneak 1 k");
    assert!(
        sneak.starts_with("-ERR Write commands are not allowed from read-only scripts. script: "),
        "{sneak}"
    );
    let list = client.line("FUNCTION LIST LIBRARYNAME COUNT* WITHCODE");
    for part in [
        "[[\"library_name\" \"counter\" \"engine\" \"LUA\" \"functions\" [[\"name\" \"add\" \"description\" nil \"flags\" []] ",
        "[\"name\" \"peek\" \"description\" \"reads\" \"flags\" [+no-writes]]",
        "\"library_code\" \"#!lua name=counter\\nlocal calls",
    ] {
        assert!(list.contains(part), "{part} in {list}");
    }
    let list = server.connect_resp3().line("FUNCTION LIST");
    assert!(
        list.contains("\"description\": null \"flags\": ~[]}"),
        "{list}"
    );
}

#[test]
fn libraries_are_checked_when_they_are_loaded() {
    let server = TestServer::start();
    let mut client = server.connect();
    assert_eq!(function(&mut client, &["LOAD", COUNTER]), "\"counter\"");
    for (words, reply) in [
        (
            &["LOAD", COUNTER][..],
            "-ERR Library 'counter' already exists",
        ),
        (&["LOAD", "REPLACE", COUNTER], "\"counter\""),
        (&["LOAD", "x", COUNTER], "-ERR Unknown option given: x"),
        (&["LOAD", "return 1"], "-ERR Missing library metadata"),
        (&["LOAD", "#!lua"], "-ERR Invalid library metadata"),
        (&["LOAD", "#!lua\nx"], "-ERR Library name was not given"),
        (
            &["LOAD", "#!lua name=a name=b\nx"],
            "-ERR Invalid metadata value, name argument was given multiple times",
        ),
        (
            &["LOAD", "#!lua name=a more=b\nx"],
            "-ERR Invalid metadata value given: more=b",
        ),
        (&["LOAD", "#!js name=a\nx"], "-ERR Engine 'js' not found"),
        (
            &["LOAD", "#!lua name=a-b\nx"],
            "-ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one character long",
        ),
        (
            &["LOAD", "#!lua name=a\nlocal x = 1"],
            "-ERR No functions registered",
        ),
        (
            &[
                "LOAD",
                "#!lua name=a\nredis.register_function('Add', function() end)",
            ],
            "-ERR Function Add already exists",
        ),
        (
            &[
                "LOAD",
                "#!lua name=a\nredis.register_function('a-b', function() end)",
            ],
            "-ERR Function names can only contain letters, numbers, or underscores(_) and must be at least one character long",
        ),
        (&["DELETE", "none"], "-ERR Library not found"),
        (
            &["RESTORE", "garbage"],
            "-ERR DUMP payload version or checksum are wrong",
        ),
        (
            &["RESTORE", "x", "WRONG"],
            "-ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
        ),
        (
            &["FLUSH", "x"],
            "-ERR FUNCTION FLUSH only supports SYNC|ASYNC option",
        ),
    ] {
        assert_eq!(function(&mut client, words), reply, "{words:?}");
    }
    // What failed has changed nothing.
    client.check(&[("FCALL add 1 k", ":1")]);
    let slow = "#!lua name=a\nwhile true do end";
    let reply = function(&mut client, &["LOAD", slow]);
    assert!(reply.contains("FUNCTION LOAD timeout"), "{reply}");
    let calls = "#!lua name=a\nredis.call('set', 'k', 1)";
    assert!(function(&mut client, &["LOAD", calls]).starts_with("-ERR "));
    client.check(&[
        ("GET k", "\"1\""),
        ("FUNCTION DELETE counter", "+OK"),
        ("FCALL add 1 k", "-ERR Function not found"),
    ]);
}

#[test]
fn libraries_outlive_the_server() {
    let mut server = TestServer::start();
    let mut client = server.connect();
    function(&mut client, &["LOAD", COUNTER]);
    client.check(&[("FCALL add 1 k 3", ":3")]);
    let before = server.logged();
    assert!(
        before[1].starts_with("FUNCTION LOAD #!lua name=counter"),
        "{before:?}"
    );
    server.restart();
    server
        .connect()
        .check(&[("FCALL add 1 k", ":4"), ("SAVE", "+OK")]);
    // A rewritten log has them in its base, and so has a snapshot.
    let mut client = server.connect();
    client.check(&[(
        "BGREWRITEAOF",
        "+Background append only file rewriting started",
    )]);
    super::wait_until(|| {
        client
            .line("INFO persistence")
            .contains("aof_rewrite_in_progress:0\\r\\n")
    });
    server.restart();
    server
        .connect()
        .check(&[("FCALL add 1 k", ":5"), ("SAVE", "+OK")]);
    server.restart_with(&["--appendonly", "no"]);
    let mut client = server.connect();
    client.check(&[
        ("FCALL add 1 k", ":6"),
        ("FUNCTION FLUSH", "+OK"),
        ("FCALL add 1 k", "-ERR Function not found"),
    ]);
}

#[test]
fn payloads_carry_libraries() {
    let server = TestServer::start();
    let mut client = server.connect();
    function(&mut client, &["LOAD", COUNTER]);
    let payload = client.run(&["FUNCTION", "DUMP"]);
    let payload = payload.as_bytes().expect("a payload").to_vec();
    let restore = |policy: Option<&str>| {
        let mut words: Vec<&[u8]> = vec![b"FUNCTION", b"RESTORE", &payload];
        words.extend(policy.map(str::as_bytes));
        show(&server.connect().run_bytes(&words))
    };
    assert_eq!(restore(None), "-ERR Library counter already exists");
    assert_eq!(restore(Some("REPLACE")), "+OK");
    assert_eq!(restore(Some("FLUSH")), "+OK");
    client.check(&[("FUNCTION DELETE counter", "+OK")]);
    let other = "#!lua name=other\nredis.register_function('add', function() return 7 end)";
    function(&mut client, &["LOAD", other]);
    assert_eq!(restore(None), "-ERR Function add already exists");
    client.check(&[("FCALL add 0", ":7"), ("FUNCTION FLUSH ASYNC", "+OK")]);
    assert_eq!(restore(Some("append")), "+OK");
    client.check(&[("FCALL add 1 k", ":1")]);
    server.assert_replays();
    let other = server.replayed();
    other.connect().check(&[("FCALL add 1 k", ":2")]);
}
