//! Scripts that run for long.

use super::super::harness::{Client, TestServer, show};
use super::super::operations::signal;
use super::{eval, load, wait_until};

const BUSY_EVAL: &str =
    "-BUSY Lodestore is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
const BUSY_FUNCTION: &str =
    "-BUSY Lodestore is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.";

fn start(threads: &str) -> TestServer {
    TestServer::start_with(&[
        "--threads",
        threads,
        "--threads-spread",
        "yes",
        "--busy-reply-threshold",
        "20",
    ])
}

/// Starts a script whose reply comes later.
fn begin(server: &TestServer, script: &str, keys: &[&str]) -> Client {
    let mut client = server.connect();
    let count = keys.len().to_string();
    let mut words: Vec<&[u8]> = vec![b"EVAL", script.as_bytes(), count.as_bytes()];
    words.extend(keys.iter().map(|key| key.as_bytes()));
    client.send(&words);
    client
}

fn kill(client: &mut Client, command: &str) {
    wait_until(|| client.line(command) == "+OK");
}

#[test]
fn the_only_worker_can_end_a_script() {
    let server = start("1");
    let mut other = server.connect();
    other.check(&[("SET k 1", "+OK"), ("MULTI", "+OK"), ("GET k", "+QUEUED")]);
    for script in [
        "while true do end",
        "while true do redis.call('get', KEYS[1]) end",
        "while true do pcall(function() while true do end end) end",
        "while true do redis.pcall('get', 'elsewhere') end",
        "return coroutine.wrap(function() while true do end end)()",
        "string.find(string.rep('a', 30000), string.rep('.-', 1000) .. 'b')",
    ] {
        let mut busy = begin(&server, script, &["k"]);
        // A connection that is made meanwhile.
        let mut client = server.connect();
        wait_until(|| client.line("PING") == BUSY_EVAL);
        client.check(&[
            ("GET k", BUSY_EVAL),
            ("FUNCTION STATS", BUSY_EVAL),
            ("FUNCTION KILL", BUSY_EVAL),
            ("EVAL 'return 1' 0", BUSY_EVAL),
        ]);
        kill(&mut client, "SCRIPT KILL");
        let reply = show(&busy.read());
        assert!(
            reply.starts_with("-ERR Script killed by user with SCRIPT KILL."),
            "{script}: {reply}"
        );
        wait_until(|| client.line("PING") == "+PONG");
        client.check(&[("SCRIPT KILL", "-NOTBUSY No scripts in execution right now.")]);
        busy.check(&[("GET k", "\"1\"")]);
    }
    other.check(&[("EXEC", "[\"1\"]")]);
}

fn client_id(client: &mut Client) -> String {
    client.line("CLIENT ID")
}

#[test]
fn a_transaction_is_refused_while_a_script_runs() {
    let server = start("1");
    let mut watcher = server.connect();
    watcher.check(&[("WATCH k", "+OK"), ("MULTI", "+OK"), ("GET k", "+QUEUED")]);
    let mut leaver = server.connect();
    leaver.check(&[("WATCH k other", "+OK")]);
    let mut busy = begin(&server, "while true do end", &["k"]);
    wait_until(|| server.connect().line("PING") == BUSY_EVAL);
    let reply = watcher.line("EXEC");
    assert!(
        reply.starts_with("-EXECABORT Transaction discarded because of: BUSY "),
        "{reply}"
    );
    drop(leaver);
    kill(&mut server.connect(), "SCRIPT KILL");
    busy.read();
    watcher.check(&[
        ("SET k 1", "+OK"),
        ("MULTI", "+OK"),
        ("GET k", "+QUEUED"),
        ("EXEC", "[\"1\"]"),
    ]);
    wait_until(|| {
        watcher
            .line("INFO clients")
            .contains("watching_clients:0\\r\\n")
    });
}

#[test]
fn the_end_of_the_server_undoes_scripts() {
    let mut server = start("2");
    let script = "redis.call('set', KEYS[1], 'half') while true do end";
    server.connect().check(&[("SET k whole", "+OK")]);
    let _busy = begin(&server, script, &["k"]);
    let mut client = server.connect();
    wait_until(|| server.connect().line("GET k") == BUSY_EVAL);
    client.send(&[b"SHUTDOWN", b"NOSAVE"]);
    assert_eq!(server.wait_for_end(), Some(0));
    // Nothing of it is in the log.
    server.restart();
    server.connect().check(&[("GET k", "\"whole\"")]);
}

#[test]
fn functions_are_ended_by_their_own_command() {
    let server = start("1");
    let mut client = server.connect();
    let code = "#!lua name=l\nredis.register_function{function_name='spin', flags={'no-writes'},\n\
        callback=function() while true do end end}";
    assert_eq!(show(&client.run(&["FUNCTION", "LOAD", code])), "\"l\"");
    let mut busy = server.connect();
    busy.send(&[b"FCALL", b"spin", b"1", b"k", b"arg"]);
    wait_until(|| client.line("PING") == BUSY_FUNCTION);
    client.check(&[("SCRIPT KILL", BUSY_FUNCTION)]);
    let stats = client.line("FUNCTION STATS");
    assert!(
        stats.starts_with("[\"running_script\" [\"name\" \"spin\" \"command\" [\"FCALL\" \"spin\" \"1\" \"k\" \"arg\"] \"duration_ms\" :"),
        "{stats}"
    );
    kill(&mut client, "FUNCTION KILL");
    let reply = show(&busy.read());
    assert!(
        reply.starts_with("-ERR Script killed by user with FUNCTION KILL."),
        "{reply}"
    );
}

#[test]
fn other_workers_go_on_with_other_keys() {
    let server = start("2");
    let mut busy = begin(
        &server,
        "while true do redis.call('get', KEYS[1]) end",
        &["k"],
    );
    // Which worker a client is on is not known: clients of both are served in the end.
    let mut clients: Vec<Client> = (0..6).map(|_| server.connect()).collect();
    let mut replies: Vec<String> = Vec::new();
    wait_until(|| {
        replies = clients
            .iter_mut()
            .map(|client| client.line("GET k"))
            .collect();
        replies.iter().all(|reply| reply == BUSY_EVAL)
    });
    let free = |client: &mut Client| {
        (0..64).any(|number| client.line(&format!("SET key{number} 1")) == "+OK")
    };
    assert!(clients.iter_mut().any(free), "a worker serves other keys");
    kill(&mut clients[0], "SCRIPT KILL");
    assert!(show(&busy.read()).starts_with("-ERR Script killed"));
    clients
        .iter_mut()
        .for_each(|client| client.check(&[("GET k", "nil")]));
}

#[test]
fn clients_take_their_scripts_along() {
    let server = start("2");
    let mut client = server.connect();
    let mut busy = server.connect();
    let id = client_id(&mut busy);
    busy.send(&[b"EVAL", b"while true do end", b"1", b"k"]);
    wait_until(|| server.connect().line("GET k") == BUSY_EVAL || client.line("GET k") == BUSY_EVAL);
    // On the worker of the script CLIENT KILL has to wait, as in Redis.
    let command = format!("CLIENT KILL ID {}", id.trim_start_matches(':'));
    wait_until(|| {
        let mut killer = server.connect();
        let reply = killer.line(&command);
        reply == ":1" || reply == ":0"
    });
    assert!(busy.read_or_closed().is_none_or(|reply| reply.is_error()));
    wait_until(|| client.line("SET k 1") == "+OK");
}

#[test]
fn sigterm_ends_a_script() {
    for threads in ["1", "2"] {
        let mut server = start(threads);
        server.connect().check(&[("SET k 1", "+OK")]);
        let _busy = begin(&server, "while true do end", &["k"]);
        wait_until(|| server.connect().line("GET k") == BUSY_EVAL);
        signal(&server, "TERM");
        assert_eq!(server.wait_for_end(), Some(0), "{threads} threads");
    }
}

#[test]
fn keys_of_a_long_script_expire_later() {
    let server = start("2");
    let mut client = server.connect();
    client.check(&[("SET k 1 PX 30", "+OK"), ("SET other 1 PX 30", "+OK")]);
    let mut busy = begin(
        &server,
        "while true do redis.call('get', KEYS[1]) end",
        &["k"],
    );
    wait_until(|| client.line("PING") == BUSY_EVAL || client.line("GET k") == BUSY_EVAL);
    kill(&mut client, "SCRIPT KILL");
    busy.read();
    // The script may have ended before their time was over.
    wait_until(|| client.line("EXISTS k other") == ":0");
    let sha = load(&mut client, "return 1");
    client.check(&[(&format!("EVALSHA {sha} 0"), ":1")]);
    assert_eq!(eval(&mut client, "return 2", &[], &[]), ":2");
}

#[test]
fn a_script_has_so_much_time() {
    let server = TestServer::start_with(&["--script-max-milliseconds", "30"]);
    let mut client = server.connect();
    const OVER: &str = "-ERR Script ended because it ran for longer than script-max-milliseconds";
    for script in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do redis.pcall('get', KEYS[1]) end",
        "string.find(string.rep('a', 30000), string.rep('.-', 1000) .. 'b')",
    ] {
        let reply = eval(&mut client, script, &["k"], &[]);
        assert!(reply.starts_with(OVER), "{script}: {reply}");
    }
    client.check(&[
        ("CONFIG GET script-max-milliseconds", "[\"script-max-milliseconds\" \"30\"]"),
        ("CONFIG SET script-max-milliseconds -1", "-ERR CONFIG SET failed (possibly related to argument 'script-max-milliseconds') - argument must be between 0 and 9223372036854775807 inclusive"),
        ("CONFIG SET script-max-milliseconds 0", "+OK"),
    ]);
    let script = "for i = 1, 5e6 do end return redis.call('set', KEYS[1], 1)";
    assert_eq!(eval(&mut client, script, &["k"], &[]), "+OK");
}
