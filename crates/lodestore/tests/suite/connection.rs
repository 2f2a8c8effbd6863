//! Connection commands: login, protocol versions, names, and what clients can do to each other.

use std::time::{Duration, Instant};

use resp::Value;

use super::harness::{Client, TestServer, show};

fn text(value: &Value) -> String {
    String::from_utf8_lossy(value.as_bytes().expect("a string")).into_owned()
}

/// The value of a field in a line of CLIENT LIST.
fn field(line: &str, name: &str) -> String {
    let start = format!("{name}=");
    line.split_ascii_whitespace()
        .find_map(|part| part.strip_prefix(&start))
        .unwrap_or_else(|| panic!("{name} in {line}"))
        .to_owned()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn simple_ones() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.check(&[
        ("PING", "+PONG"),
        ("PING \"a b\"", "\"a b\""),
        (
            "PING a b",
            "-ERR wrong number of arguments for 'ping' command",
        ),
        ("ECHO x", "\"x\""),
        ("ECHO", "-ERR wrong number of arguments for 'echo' command"),
        ("SELECT 15", "+OK"),
        ("SELECT 16", "-ERR DB index is out of range"),
        ("SELECT -1", "-ERR DB index is out of range"),
        ("SELECT x", "-ERR value is not an integer or out of range"),
    ]);
    assert_eq!(field(&text(&client.run(&["CLIENT", "INFO"])), "db"), "15");
    assert_eq!(client.line("QUIT"), "+OK");
    assert!(client.read_or_closed().is_none(), "QUIT closes");
}

/// Whatever refuses EXEC itself also ends the transaction, and the reply says both.
#[test]
fn exec_that_is_refused_aborts() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.check(&[("CONFIG SET requirepass secret", "+OK")]);
    let mut client = server.connect();
    client.check(&[
        (
            "EXEC",
            "-EXECABORT Transaction discarded because of: NOAUTH Authentication required.",
        ),
        (
            "EXEC x",
            "-EXECABORT Transaction discarded because of: NOAUTH Authentication required.",
        ),
        ("AUTH secret", "+OK"),
        ("EXEC", "-ERR EXEC without MULTI"),
    ]);
    let arity =
        "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command";
    let mut other = server.connect();
    other.check(&[("AUTH secret", "+OK")]);
    client.check(&[("EXEC x", arity), ("MULTI", "+OK"), ("EXEC x", arity)]);
    client.check(&[("EXEC", "-ERR EXEC without MULTI")]);
    // Watched keys are forgotten, inside of MULTI and outside.
    client.check(&[("WATCH k", "+OK"), ("EXEC x", arity)]);
    other.check(&[("SET k 1", "+OK")]);
    client.check(&[("MULTI", "+OK"), ("PING", "+QUEUED"), ("EXEC", "[+PONG]")]);
    client.check(&[("WATCH k", "+OK"), ("MULTI", "+OK"), ("EXEC x", arity)]);
    other.check(&[("SET k 2", "+OK")]);
    client.check(&[("MULTI", "+OK"), ("PING", "+QUEUED"), ("EXEC", "[+PONG]")]);
    assert!(client.line("INFO clients").contains("watching_clients:0"));
}

/// A closing quote ends an argument: what follows it at once is an error, and the client is closed.
#[test]
fn quotes_of_inline_requests_end_their_argument() {
    let server = TestServer::start();
    for line in [
        "\"pi\"ng\r\n",
        "ping 'x'y\r\n",
        "ping \"a\"\"b\"\r\n",
        "ping \"a\r\n",
    ] {
        let mut client = server.connect();
        assert!(client.try_send(line.as_bytes()));
        let reply = client.read();
        assert_eq!(
            show(&reply),
            "-ERR Protocol error: unbalanced quotes in request",
            "{line:?}"
        );
        assert!(client.read_or_closed().is_none());
    }
    let mut client = server.connect();
    for (line, reply) in [
        ("\"ping\"\r\n", "+PONG"),
        ("ping \"\\x41\"\t\r\n", "\"A\""),
        (
            "ping b'a 'c\r\n",
            "-ERR Protocol error: unbalanced quotes in request",
        ),
    ] {
        assert!(client.try_send(line.as_bytes()));
        assert_eq!(show(&client.read()), reply, "{line:?}");
    }
}

#[test]
fn hello_changes_the_protocol() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.check(&[
        ("HELLO 4", "-NOPROTO unsupported protocol version"),
        (
            "HELLO x",
            "-ERR Protocol version is not an integer or out of range",
        ),
        ("HELLO 3 FOO", "-ERR Syntax error in HELLO option 'FOO'"),
        (
            "HELLO 3 SETNAME \"a b\"",
            "-ERR Client names cannot contain spaces, newlines or special characters.",
        ),
    ]);
    assert!(matches!(client.run(&["HELLO"]), Value::Array(parts) if parts.len() == 14));
    let Value::Map(pairs) = client.run(&["HELLO", "3", "SETNAME", "me"]) else {
        panic!("HELLO 3 answers a map");
    };
    let keys: Vec<String> = pairs.iter().map(|(key, _)| text(key)).collect();
    let known = [
        "server", "version", "proto", "id", "mode", "role", "modules",
    ];
    assert_eq!(keys, known);
    assert_eq!(client.line("CLIENT GETNAME"), "\"me\"");
    assert_eq!(
        client.line("CLIENT TRACKINGINFO"),
        "{\"flags\": ~[\"off\"] \"redirect\": :-1 \"prefixes\": []}"
    );
    client.check(&[("RESET", "+RESET"), ("CLIENT GETNAME", "nil")]);
    assert!(matches!(client.run(&["HELLO"]), Value::Array(_)));
}

#[test]
fn passwords() {
    let server = TestServer::start();
    let mut admin = server.connect();
    assert_eq!(admin.line("CONFIG SET requirepass secret"), "+OK");
    let mut client = server.connect();
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.";
    client.check(&[
        ("GET a", "-NOAUTH Authentication required."),
        ("NOSUCH", "-NOAUTH Authentication required."),
        ("AUTH wrong", wrong),
        ("AUTH default wrong", wrong),
        ("AUTH other secret", wrong),
        ("AUTH a b c", "-ERR syntax error"),
        ("HELLO 3 AUTH default wrong SETNAME n", wrong),
        ("AUTH secret", "+OK"),
        ("GET a", "nil"),
        ("CLIENT GETNAME", "nil"),
        // A new password concerns new connections only.
        ("CONFIG SET requirepass other", "+OK"),
        ("GET a", "nil"),
        ("AUTH secret", wrong),
        ("GET a", "nil"),
        ("RESET", "+RESET"),
        ("GET a", "-NOAUTH Authentication required."),
        ("AUTH default other", "+OK"),
        ("CONFIG SET requirepass \"\"", "+OK"),
    ]);
    let mut open = server.connect();
    assert!(
        open.line("AUTH x")
            .starts_with("-ERR AUTH <password> called without any password")
    );
    open.check(&[("AUTH default whatever", "+OK"), ("GET a", "nil")]);
}

#[test]
fn names_and_settings() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.check(&[
        ("CLIENT GETNAME", "nil"),
        ("CLIENT SETNAME a", "+OK"),
        ("CLIENT SETINFO LIB-NAME lib", "+OK"),
        ("CLIENT SETINFO lib-ver 1.2", "+OK"),
        ("CLIENT SETINFO foo 1", "-ERR Unrecognized option 'foo'"),
        (
            "CLIENT SETINFO lib-ver \"1 2\"",
            "-ERR lib-ver cannot contain spaces, newlines or special characters.",
        ),
        ("CLIENT NO-EVICT ON", "+OK"),
        ("CLIENT NO-TOUCH maybe", "-ERR syntax error"),
        ("CLIENT CAPA redirect unknown", "+OK"),
        (
            "CLIENT IMPORT-SOURCE ON",
            "-ERR Server is not in import mode",
        ),
        ("CONFIG SET import-mode yes", "+OK"),
        ("CLIENT IMPORT-SOURCE ON", "+OK"),
        (
            "CLIENT FOO",
            "-ERR unknown subcommand 'FOO'. Try CLIENT HELP.",
        ),
        (
            "CLIENT",
            "-ERR wrong number of arguments for 'client' command",
        ),
    ]);
    let line = text(&client.run(&["CLIENT", "INFO"]));
    let shown: Vec<String> = [
        "name", "flags", "capa", "cmd", "user", "resp", "lib-name", "lib-ver",
    ]
    .iter()
    .map(|name| field(&line, name))
    .collect();
    let expected = ["a", "eI", "r", "client|info", "default", "2", "lib", "1.2"];
    assert_eq!(shown, expected);
}

#[test]
fn replies_can_be_turned_off() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.send(&[b"CLIENT", b"REPLY", b"SKIP"]);
    client.send(&[b"SET", b"a", b"1"]);
    assert_eq!(client.line("GET a"), "\"1\"");
    client.send(&[b"CLIENT", b"REPLY", b"OFF"]);
    client.send(&[b"NOSUCH"]);
    client.send(&[b"SET", b"a", b"2"]);
    assert_eq!(client.line("CLIENT REPLY ON"), "+OK");
    assert_eq!(client.line("GET a"), "\"2\"");
}

#[test]
fn lists_are_filtered() {
    let server = TestServer::start();
    let mut client = server.connect();
    let mut other = server.connect();
    client.line("CLIENT SETNAME me");
    other.line("CLIENT SETNAME other");
    other.line("SELECT 3");
    let own = client.integer("CLIENT ID");
    let its = other.integer("CLIENT ID");
    let mut ids = |filter: &str| -> Vec<i64> {
        let reply = client.line(&format!("CLIENT LIST {filter}"));
        reply
            .split("\\n")
            .filter_map(|line| line.trim_start_matches('"').strip_prefix("id="))
            .filter_map(|line| line.split(' ').next()?.parse().ok())
            .collect()
    };
    assert_eq!(ids("TYPE normal"), [own, its]);
    assert_eq!(ids("NAME other"), [its]);
    assert_eq!(ids("NOT-NAME other"), [own]);
    assert_eq!(ids(&format!("ID {own} 999 {its}")), [own, its]);
    assert_eq!(ids(&format!("NOT-ID {its}")), [own]);
    assert_eq!(ids("DB 3"), [its]);
    assert_eq!(ids("NOT-DB 3 SKIPME yes"), [] as [i64; 0]);
    assert_eq!(ids("SKIPME yes"), [its]);
    assert_eq!(ids("IP 127.0.0.1 USER default"), [own, its]);
    assert_eq!(ids("TYPE pubsub"), [] as [i64; 0]);
    assert_eq!(ids("FLAGS N NAME me"), [own]);
    assert_eq!(ids("IDLE 1000"), [] as [i64; 0]);
    client.check(&[
        ("CLIENT LIST ID", "-ERR syntax error"),
        ("CLIENT LIST FOO bar", "-ERR syntax error"),
        ("CLIENT LIST TYPE foo", "-ERR Unknown client type 'foo'"),
        ("CLIENT LIST USER foo", "-ERR No such user 'foo'"),
        (
            "CLIENT LIST FLAGS NZ",
            "-ERR Unknown flags found in the provided filter: NZ",
        ),
        (
            "CLIENT LIST NOT-CAPA z",
            "-ERR Unknown capa found in the NOT-CAPA filter: z",
        ),
        (
            "CLIENT LIST ID 0",
            "-ERR client-id should be greater than 0",
        ),
        (
            "CLIENT LIST DB 16",
            "-ERR DB number should be between 0 and 15",
        ),
    ]);
}

#[test]
fn clients_are_killed() {
    let server = TestServer::start();
    let mut client = server.connect();
    let mut victim = server.connect();
    let id = victim.integer("CLIENT ID");
    assert_eq!(client.line(&format!("CLIENT KILL ID {id}")), ":1");
    assert_eq!(client.line(&format!("CLIENT KILL ID {id}")), ":0");
    assert!(victim.read_or_closed().is_none());
    let victim = server.connect();
    let line = {
        let mut victim = victim;
        let line = text(&victim.run(&["CLIENT", "INFO"]));
        let addr = field(&line, "addr");
        assert_eq!(client.line(&format!("CLIENT KILL {addr}")), "+OK");
        assert!(victim.read_or_closed().is_none());
        addr
    };
    assert_eq!(
        client.line(&format!("CLIENT KILL {line}")),
        "-ERR No such client"
    );
    // By default the client that asks is spared.
    assert_eq!(client.line("CLIENT KILL TYPE normal"), ":0");
    assert_eq!(client.line("CLIENT KILL TYPE normal SKIPME no"), ":1");
    assert!(client.read_or_closed().is_none());
}

#[test]
fn pauses() {
    let server = TestServer::start();
    let mut client = server.connect();
    let mut writer = server.connect();
    client.check(&[
        (
            "CLIENT PAUSE x",
            "-ERR timeout is not an integer or out of range",
        ),
        ("CLIENT PAUSE -1", "-ERR timeout is negative"),
        (
            "CLIENT PAUSE 1 foo",
            "-ERR CLIENT PAUSE mode must be WRITE or ALL",
        ),
        ("CLIENT PAUSE 100000 WRITE", "+OK"),
    ]);
    writer.send(&[b"SET", b"a", b"1"]);
    wait_until("the write waits", || {
        show(&client.run(&["INFO", "clients"])).contains("blocked_clients:1")
    });
    assert!(client.line("INFO clients").contains("paused_actions:write"));
    client.check(&[("GET a", "nil"), ("CLIENT UNPAUSE", "+OK")]);
    assert_eq!(show(&writer.read()), "+OK");
    assert_eq!(client.line("GET a"), "\"1\"");
    assert!(client.line("INFO clients").contains("paused_reason:none"));
}

#[test]
fn unblocking_who_does_not_wait() {
    let server = TestServer::start();
    let mut client = server.connect();
    let id = client.integer("CLIENT ID");
    assert_eq!(client.line(&format!("CLIENT UNBLOCK {id}")), ":0");
    client.check(&[
        ("CLIENT UNBLOCK 999", ":0"),
        (
            "CLIENT UNBLOCK 1 FOO",
            "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR",
        ),
        (
            "CLIENT UNBLOCK x",
            "-ERR value is not an integer or out of range",
        ),
    ]);
}

#[test]
fn a_waiting_client_is_unblocked() {
    let server = TestServer::start();
    let mut client = server.connect();
    for (reason, reply) in [
        ("TIMEOUT", ":0"),
        ("ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK"),
    ] {
        let mut waiting = server.connect();
        let id = waiting.integer("CLIENT ID");
        // No replica will ever acknowledge.
        waiting.send(&[b"WAIT", b"1", b"0"]);
        wait_until("the client waits", || {
            show(&client.run(&["INFO", "clients"])).contains("blocked_clients:1")
        });
        let line = text(&client.run(&["CLIENT", "LIST", "ID", &id.to_string()]));
        assert_eq!(field(&line, "flags"), "b");
        assert_eq!(client.line(&format!("CLIENT UNBLOCK {id} {reason}")), ":1");
        assert_eq!(show(&waiting.read()), reply);
        assert_eq!(client.line(&format!("CLIENT UNBLOCK {id}")), ":0");
    }
}

#[test]
fn reset_ends_everything() {
    let server = TestServer::start();
    let mut client: Client = server.connect_resp3();
    client.check(&[
        ("SELECT 5", "+OK"),
        ("CLIENT NO-TOUCH on", "+OK"),
        ("WATCH a", "+OK"),
        ("MULTI", "+OK"),
        ("SET a 1", "+QUEUED"),
        ("RESET", "+RESET"),
        ("EXEC", "-ERR EXEC without MULTI"),
        ("GET a", "nil"),
    ]);
    let line = text(&client.run(&["CLIENT", "INFO"]));
    let shown: Vec<String> = ["db", "flags", "multi", "watch", "resp"]
        .iter()
        .map(|name| field(&line, name))
        .collect();
    assert_eq!(shown, ["0", "N", "-1", "0", "2"]);
}
