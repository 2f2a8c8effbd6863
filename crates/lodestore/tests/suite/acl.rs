//! Users and their rights as clients see them.

use std::process::Command;

use super::harness::{Client, TestServer, fresh_dir, show};
use super::operations::info;
use super::protection::with_file;
use super::pubsub::wait_until;

const NO_KEY: &str = "-NOPERM No permissions to access a key";
const WRONG: &str = "-WRONGPASS invalid username-password pair or user is disabled.";
/// The SHA-256 of `pw`.
const HASH: &str = "30c952fab122c3f9759f02a6d95c3758b246b4fee239957b2d4fee46e26170c4";

fn two_workers() -> TestServer {
    TestServer::start_with(&["--threads", "2", "--threads-spread", "yes"])
}

/// A client of a user with the password `pw`.
fn login(server: &TestServer, user: &str) -> Client {
    let mut client = server.connect();
    assert_eq!(client.line(&format!("AUTH {user} pw")), "+OK");
    client
}

/// A command of a client that another one closes: its connection ends without a reply.
fn assert_closed(client: &mut Client) {
    client.try_send(b"PING\r\n");
    assert_eq!(client.read_or_closed().map(|reply| show(&reply)), None);
}

#[test]
fn a_user_is_described_in_both_protocols() {
    let server = TestServer::start();
    let mut client = server.connect();
    let mut third = server.connect_resp3();
    client.check(&[
        (
            "ACL SETUSER u on >pw +@read -get ~a* %R~b &c* db=1,0 (+set ~x)",
            "+OK",
        ),
        ("ACL USERS", "[\"default\" \"u\"]"),
        ("ACL WHOAMI", "\"default\""),
        ("ACL GETUSER nobody", "nil"),
    ]);
    let line = format!(
        "user u on #{HASH} ~a* %R~b resetchannels &c* db=0,1 -@all +@read -get (~x resetchannels -@all +set)"
    );
    let default = "user default on nopass ~* &* +@all";
    assert_eq!(
        client.line("ACL LIST"),
        format!("[\"{default}\" \"{line}\"]")
    );
    let selector =
        "\"commands\" \"-@all +set\" \"keys\" \"~x\" \"channels\" \"\" \"databases\" \"alldbs\"";
    let root = "\"commands\" \"-@all +@read -get\" \"keys\" \"~a* %R~b\" \"channels\" \"&c*\" \"databases\" \"db=0,1\"";
    assert_eq!(
        client.line("ACL GETUSER u"),
        format!(
            "[\"flags\" [\"on\"] \"passwords\" [\"{HASH}\"] {root} \"selectors\" [[{selector}]]]"
        )
    );
    let shown = third.line("ACL GETUSER u");
    assert!(shown.starts_with("{\"flags\": ~[\"on\"]"), "{shown}");
    third.check(&[("ACL GETUSER nobody", "null")]);
}

#[test]
fn commands_are_refused_with_the_deepest_reason() {
    let server = two_workers();
    let mut admin = server.connect();
    admin.check(&[
        (
            "ACL SETUSER u on >pw +get +set +mset +multi +exec +publish +subscribe +psubscribe +select +sort ~a* &c* db=0",
            "+OK",
        ),
        ("AUTH u wrong", WRONG),
        ("AUTH nobody pw", WRONG),
    ]);
    let mut client = login(&server, "u");
    client.check(&[
        ("GET a", "nil"),
        ("SET a1 1", "+OK"),
        ("GET b", NO_KEY),
        ("MSET a 1 b 2", NO_KEY),
        (
            "DEL a",
            "-NOPERM User u has no permissions to run the 'del' command",
        ),
        (
            "CONFIG GET x",
            "-NOPERM User u has no permissions to run the 'config|get' command",
        ),
        ("PUBLISH d x", "-NOPERM No permissions to access a channel"),
        ("PSUBSCRIBE c", "-NOPERM No permissions to access a channel"),
        ("SELECT 1", "-NOPERM No permissions to access database"),
        (
            "SORT a BY w_*",
            "-ERR BY option of SORT denied due to insufficient ACL permissions.",
        ),
        (
            "NOSUCH",
            "-ERR unknown command 'NOSUCH', with args beginning with: ",
        ),
        ("MULTI", "+OK"),
        ("GET b", NO_KEY),
        (
            "EXEC",
            "-EXECABORT Transaction discarded because of previous errors.",
        ),
    ]);
    admin.check(&[
        (
            "ACL DRYRUN u GET b",
            "\"User u has no permissions to access the 'b' key\"",
        ),
        ("ACL DRYRUN u GET a", "+OK"),
        ("ACL DRYRUN nobody GET a", "-ERR User 'nobody' not found"),
        ("ACL DRYRUN u NOSUCH", "-ERR Command 'NOSUCH' not found"),
        (
            "ACL DRYRUN u GET",
            "-ERR wrong number of arguments for 'get' command",
        ),
    ]);
    for (field, count) in [
        ("acl_access_denied_auth", "2"),
        ("acl_access_denied_cmd", "2"),
        ("acl_access_denied_key", "3"),
        ("acl_access_denied_channel", "2"),
        ("acl_access_denied_db", "1"),
    ] {
        assert_eq!(info(&mut admin, field), count, "{field}");
    }
    let log = admin.line("ACL LOG 1");
    assert!(
        log.starts_with(
            "[[\"count\" :1 \"reason\" \"key\" \"context\" \"multi\" \"object\" \"b\" \"username\" \"u\" \"age-seconds\""
        ),
        "{log}"
    );
    admin.check(&[("ACL LOG RESET", "+OK"), ("ACL LOG", "[]")]);
}

#[test]
fn changed_rights_hold_at_once_for_connected_clients() {
    let server = two_workers();
    let mut admin = server.connect();
    admin.line("ACL SETUSER u on >pw +@all ~* &*");
    let mut client = login(&server, "u");
    client.check(&[("SET a 1", "+OK"), ("MULTI", "+OK"), ("GET a", "+QUEUED")]);
    admin.check(&[("ACL SETUSER u -get", "+OK")]);
    client.check(&[(
        "EXEC",
        "[-NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This \
         command is no longer allowed for the following reason: no permission to execute the command or subcommand]",
    )]);
    let refused = "-NOPERM User u has no permissions to run the 'get' command";
    client.check(&[("GET a", refused), ("SET a 2", "+OK")]);
    // A user that is switched off keeps its connections.
    admin.check(&[("ACL SETUSER u off +get", "+OK"), ("AUTH u pw", WRONG)]);
    client.check(&[("GET a", "\"2\"")]);
    // Rules that are wrong change nothing.
    admin.check(&[(
        "ACL SETUSER u -@all +nosuch",
        "-ERR Error in ACL SETUSER modifier '+nosuch': Unknown command or category name in ACL",
    )]);
    client.check(&[("GET a", "\"2\"")]);
}

#[test]
fn a_client_that_waits_is_served_with_the_rights_it_has_then() {
    let server = two_workers();
    let mut admin = server.connect();
    admin.line("ACL SETUSER u on >pw +@all ~*");
    let mut client = login(&server, "u");
    client.try_send(b"BLPOP list 0\r\n");
    while info(&mut admin, "blocked_clients") != "1" {}
    admin.check(&[
        ("ACL SETUSER u resetkeys ~other", "+OK"),
        ("RPUSH list a", ":1"),
    ]);
    assert_eq!(show(&client.read()), NO_KEY);
    admin.check(&[("LRANGE list 0 -1", "[\"a\"]")]);
}

#[test]
fn clients_that_lose_their_user_or_a_channel_are_closed() {
    let server = two_workers();
    let mut admin = server.connect();
    admin.line("ACL SETUSER u on >pw +@all ~* &a* &b");
    let mut other = login(&server, "u");
    let mut channel = login(&server, "u");
    let mut pattern = login(&server, "u");
    assert!(channel.line("SUBSCRIBE b").starts_with('['));
    assert!(pattern.line("PSUBSCRIBE a*").starts_with('['));
    // More channels close nothing.
    admin.check(&[("ACL SETUSER u &c", "+OK")]);
    other.check(&[("PING", "+PONG")]);
    admin.check(&[("ACL SETUSER u resetchannels &a*", "+OK")]);
    assert_closed(&mut channel);
    other.check(&[("PING", "+PONG")]);
    admin.check(&[("ACL DELUSER u nobody", ":1")]);
    assert_closed(&mut pattern);
    assert_closed(&mut other);
    admin.check(&[
        (
            "ACL DELUSER default",
            "-ERR The 'default' user cannot be removed",
        ),
        ("AUTH u pw", WRONG),
    ]);
    // A user that removes itself still gets the reply.
    admin.line("ACL SETUSER u on >pw +@all");
    let mut own = login(&server, "u");
    own.check(&[("ACL DELUSER u", ":1")]);
    assert_eq!(own.read_or_closed().map(|reply| show(&reply)), None);
}

#[test]
fn a_select_in_a_transaction_decides_the_database_behind_it() {
    let server = TestServer::start();
    let mut admin = server.connect();
    admin.line("ACL SETUSER u on >pw +@all ~* db=0,1");
    let mut client = login(&server, "u");
    client.check(&[
        ("SELECT 1", "+OK"),
        ("MULTI", "+OK"),
        ("SET a 1", "+QUEUED"),
        ("SELECT 0", "+QUEUED"),
        ("SET a 0", "+QUEUED"),
        ("EXEC", "[+OK +OK +OK]"),
    ]);
    admin.line("ACL SETUSER u db=0");
    client.check(&[
        ("SELECT 0", "+OK"),
        ("MULTI", "+OK"),
        ("SELECT 1", "-NOPERM No permissions to access database"),
        ("DISCARD", "+OK"),
        ("MOVE a 1", "-NOPERM No permissions to access database"),
        ("FLUSHALL", "-NOPERM No permissions to access database"),
        ("FLUSHDB", "+OK"),
    ]);
    admin.check(&[("SELECT 1", "+OK"), ("GET a", "\"1\"")]);
}

#[test]
fn the_default_user_is_a_user() {
    let server = TestServer::start();
    let mut admin = server.connect();
    admin.check(&[
        ("CONFIG SET requirepass secret", "+OK"),
        ("ACL SETUSER u on >pw +@all ~*", "+OK"),
    ]);
    let mut client = server.connect();
    client.check(&[
        ("PING", "-NOAUTH Authentication required."),
        ("HELLO 3 AUTH default wrong", WRONG),
        ("AUTH secret", "+OK"),
    ]);
    let mut waiting = server.connect();
    admin.check(&[("ACL SETUSER default off", "+OK"), ("AUTH secret", WRONG)]);
    waiting.check(&[("PING", "-NOAUTH Authentication required.")]);
    // A client that has not logged in is the default user when that one needs no password.
    admin.check(&[("ACL SETUSER default on nopass -echo", "+OK")]);
    waiting.check(&[
        ("PING", "+PONG"),
        (
            "ECHO x",
            "-NOPERM User default has no permissions to run the 'echo' command",
        ),
        (
            "AUTH x",
            "-ERR AUTH <password> called without any password configured for the default user. Are you sure your \
             configuration is correct?",
        ),
        ("AUTH u pw", "+OK"),
        ("ACL WHOAMI", "\"u\""),
        ("ECHO x", "\"x\""),
        ("RESET", "+RESET"),
        ("ACL WHOAMI", "\"default\""),
    ]);
    let list = admin.line("CLIENT LIST USER u");
    assert_eq!(list, "\"\"");
    admin.check(&[("CLIENT LIST USER nobody", "-ERR No such user 'nobody'")]);
    let mut user = login(&server, "u");
    let list = admin.line("CLIENT LIST USER u");
    assert!(list.contains(" user=u "), "{list}");
    admin.check(&[("CLIENT KILL USER u", ":1")]);
    assert_closed(&mut user);
}

#[test]
fn users_of_the_configuration_file_are_rewritten() {
    let dir = fresh_dir();
    let file = dir.join("server.conf");
    let script = with_file(&dir, "user alice on >pw ~a* +get\nuser bob off\n");
    let mut server = TestServer::start_peer(&script, dir, &[]);
    let mut client = login(&server, "alice");
    client.check(&[("GET a", "nil"), ("GET b", NO_KEY)]);
    let mut admin = server.connect();
    admin.check(&[
        ("ACL DELUSER bob", ":1"),
        (
            "ACL SETUSER carol on >pw (%R~\"x 'y'\" +get)",
            "-ERR Error in ACL SETUSER modifier '(%R~x 'y' +get)': Syntax error",
        ),
        ("ACL SETUSER carol on >pw ~'\"q' +get", "+OK"),
        ("CONFIG REWRITE", "+OK"),
    ]);
    let text = std::fs::read_to_string(&file).expect("a file");
    assert!(
        text.contains(&format!(
            "user alice on #{HASH} ~a* resetchannels -@all +get"
        )),
        "{text}"
    );
    assert!(!text.contains("bob"), "{text}");
    assert!(!text.contains("user default"), "{text}");
    let before = admin.line("ACL LIST");
    server.restart();
    assert_eq!(server.connect().line("ACL LIST"), before);
}

#[test]
fn an_acl_file_is_loaded_and_saved() {
    let dir = fresh_dir();
    let file = dir.join("users.acl");
    std::fs::write(
        &file,
        "user alice on >pw ~a* +@all &c\n\nuser bob on >pw +@all\n",
    )
    .expect("written");
    let mut server = TestServer::start_plain(dir, &["--aclfile", "users.acl"]);
    let mut admin = server.connect();
    let mut alice = login(&server, "alice");
    let mut bob = login(&server, "bob");
    let mut subscriber = login(&server, "alice");
    assert!(subscriber.line("SUBSCRIBE c").starts_with('['));
    // One wrong line changes nothing.
    std::fs::write(
        &file,
        "user alice on nopass\nuser bob +nosuch\nuser bob on\n",
    )
    .expect("written");
    admin.check(&[(
        "ACL LOAD",
        "-ERR users.acl:2: Error in applying operation '+nosuch': Unknown command or category name in ACL. WARNING: \
         Duplicate user 'bob' found on line 3. WARNING: ACL errors detected, no change to the previously active ACL \
         rules was performed",
    )]);
    alice.check(&[("SET a 1", "+OK")]);
    std::fs::write(&file, "user alice on >pw ~b* +@all\n").expect("written");
    admin.check(&[
        ("ACL LOAD", "+OK"),
        ("ACL USERS", "[\"alice\" \"default\"]"),
    ]);
    alice.check(&[("SET a 1", NO_KEY), ("SET b 1", "+OK")]);
    assert_closed(&mut bob);
    assert_closed(&mut subscriber);
    admin.check(&[("ACL SETUSER carol on >pw", "+OK"), ("ACL SAVE", "+OK")]);
    let list = admin.line("ACL LIST");
    server.restart();
    let mut admin = server.connect();
    assert_eq!(admin.line("ACL LIST"), list);
    let plain = TestServer::start();
    let reply = plain.connect().line("ACL LOAD");
    assert!(
        reply.starts_with("-ERR This instance is not configured to use an ACL file."),
        "{reply}"
    );
}

#[test]
fn passwords_are_shown_nowhere() {
    let server = TestServer::start();
    let mut admin = server.connect();
    let mut monitor = server.connect();
    assert_eq!(monitor.line("MONITOR"), "+OK");
    admin.check(&[
        ("CONFIG SET slowlog-log-slower-than 0", "+OK"),
        ("ACL SETUSER u on >secret +@all", "+OK"),
        ("AUTH u secret", "+OK"),
        ("ACL GETUSER secret", "nil"),
    ]);
    admin.check(&[("ECHO end", "\"end\"")]);
    let mut lines = String::new();
    while !lines.contains("\"end\"") {
        lines.push_str(&show(&monitor.read()));
    }
    assert!(
        lines.contains("\"AUTH\" \"(redacted)\" \"(redacted)\""),
        "{lines}"
    );
    assert!(!lines.contains("secret"), "{lines}");
    let log = admin.line("SLOWLOG GET");
    assert!(
        log.contains("(redacted)") && !log.contains("secret"),
        "{log}"
    );
}

#[test]
fn passwords_are_generated() {
    let server = TestServer::start();
    let mut client = server.connect();
    for (line, digits) in [
        ("ACL GENPASS", 64),
        ("ACL GENPASS 5", 2),
        ("ACL GENPASS 1", 1),
    ] {
        let shown = client.line(line);
        assert_eq!(shown.len(), digits + 2, "{shown}");
    }
    let range = "-ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096";
    client.check(&[
        ("ACL GENPASS 0", range),
        ("ACL GENPASS 4097", range),
        (
            "ACL GENPASS x",
            "-ERR value is not an integer or out of range",
        ),
        ("ACL CAT nosuch", "-ERR Unknown category 'nosuch'"),
    ]);
    let commands = client.line("ACL CAT scripting");
    assert!(!commands.contains("\"get\""), "{commands}");
    assert!(
        client
            .line("ACL CAT")
            .starts_with("[\"keyspace\" \"read\" \"write\" \"set\"")
    );
}

#[test]
fn the_audit_log_has_a_line_for_each_event() {
    let dir = fresh_dir();
    let file = dir.join("audit.jsonl");
    let server = TestServer::start_plain(dir, &["--audit-log", "audit.jsonl"]);
    let mut admin = server.connect();
    admin.line("ACL SETUSER u on >pw +get ~a");
    let mut client = server.connect();
    client.check(&[
        ("AUTH u wrong", WRONG),
        ("AUTH u pw", "+OK"),
        ("GET \"b\\n\"", NO_KEY),
        ("GET a", "nil"),
    ]);
    let text = std::fs::read_to_string(&file).expect("a file");
    assert!(!text.contains("pw") && !text.contains("wrong"), "{text}");
    for part in [
        "\"event\":\"connection\",\"client\":",
        "\"event\":\"auth-failure\"",
        "\"event\":\"auth-success\"",
        "\"user\":\"u\",\"command\":\"get\",\"reason\":\"key\",\"object\":\"b\\u000a\"}",
        "\"user\":\"default\",\"command\":\"acl|setuser\",\"args\":[\"ACL\",\"SETUSER\",\"(redacted)\"",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("\"a\""), "{text}");
    // Moved away, it is opened anew.
    std::fs::rename(&file, file.with_extension("old")).expect("renamed");
    let pid = server.pid().to_string();
    let sent = Command::new("kill").args(["-s", "HUP", &pid]).status();
    assert!(sent.expect("kill runs").success());
    wait_until("the file is opened anew", || file.exists());
    admin.check(&[("CONFIG SET audit-log ''", "+OK")]);
    let before = std::fs::metadata(&file).expect("a file").len();
    assert!(admin.line("ACL LIST").starts_with('['));
    assert_eq!(std::fs::metadata(&file).expect("a file").len(), before);
    let reply = admin.line("CONFIG SET audit-log /nonexistent/file");
    assert!(reply.starts_with("-ERR CONFIG SET failed"), "{reply}");
}

#[test]
fn a_client_that_does_not_log_in_is_closed() {
    let server = TestServer::start();
    let mut admin = server.connect();
    admin.check(&[
        ("CONFIG SET auth-timeout 1", "+OK"),
        ("CONFIG SET requirepass secret", "+OK"),
    ]);
    let mut silent = server.connect();
    let mut user = server.connect();
    user.check(&[("AUTH secret", "+OK")]);
    assert_eq!(silent.read_or_closed().map(|reply| show(&reply)), None);
    user.check(&[("PING", "+PONG")]);
    admin.check(&[("PING", "+PONG")]);
}
