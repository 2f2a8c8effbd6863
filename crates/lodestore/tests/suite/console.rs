//! The console: its page, and the endpoint that runs its commands.

use std::time::Instant;

use super::harness::REPLY_TIMEOUT;
use super::http::{Watched, basic, status};

const OWN: [&str; 2] = ["Content-Type: application/json", "X-Lodestore-Console: 1"];

/// The status and the contents of an answer to a request with contents.
fn post(watched: &Watched, headers: &[&str], body: &str) -> (u16, String) {
    let length = format!("Content-Length: {}", body.len());
    let mut request = format!(
        "POST /console/api HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n",
        watched.port
    );
    for header in headers.iter().chain(&[&*length]) {
        request.push_str(header);
        request.push_str("\r\n");
    }
    let answer = watched.exchange(format!("{request}\r\n{body}").as_bytes());
    let contents = answer.split_once("\r\n\r\n").expect("a head").1.to_owned();
    (status(&answer), contents)
}

/// The replies to a list of commands, as JSON.
fn run_as(watched: &Watched, headers: &[&str], fields: &str, commands: &str) -> String {
    let body = format!("{{{fields}\"commands\":[{commands}]}}");
    let (code, contents) = post(watched, &[&OWN, headers].concat(), &body);
    assert_eq!(code, 200, "{contents}");
    let replies = contents.strip_prefix("{\"replies\":[");
    let replies = replies.and_then(|rest| rest.strip_suffix("]}"));
    replies.unwrap_or_else(|| panic!("{contents}")).to_owned()
}

fn run(watched: &Watched, commands: &str) -> String {
    run_as(watched, &[], "", commands)
}

#[test]
fn the_page_is_served_with_its_files() {
    let watched = Watched::start(&[]);
    watched
        .server
        .connect()
        .line("CONFIG SET requirepass secret");
    for (path, kind) in [
        ("/console", "text/html"),
        ("/console/console.css", "text/css"),
        ("/console/console.js", "text/javascript"),
    ] {
        let (code, answer) = watched.ask("GET", path, &[]);
        let answer = answer.to_ascii_lowercase();
        assert_eq!(code, 200, "{path}");
        assert!(
            answer.contains(&format!("content-type: {kind}; charset=utf-8")),
            "{path}"
        );
        assert!(answer.contains("script-src 'self'") && answer.contains("frame-ancestors 'none'"));
        assert!(!answer.contains("innerhtml") && !answer.contains("unsafe-"));
        // Nothing from elsewhere; the namespace of SVG is a name.
        let links = answer.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !links.contains("http://") && !links.contains("https://"),
            "{path}"
        );
    }
    assert_eq!(watched.ask("GET", "/console/../../etc/passwd", &[]).0, 404);
    assert_eq!(watched.ask("GET", "/console/page", &[]).0, 404);
    assert_eq!(
        watched.ask("POST", "/console", &["Content-Length: 0"]).0,
        405
    );
    assert!(watched.ask("GET", "/", &[]).1.contains("/console"));
}

#[test]
fn only_the_page_may_ask() {
    let watched = Watched::start(&[]);
    let body = "{\"commands\":[[\"PING\"]]}";
    let own = format!("Origin: http://127.0.0.1:{}", watched.port);
    let ask = |headers: &[&str]| post(&watched, headers, body).0;
    assert_eq!(ask(&OWN), 200);
    assert_eq!(
        ask(&[OWN[0], OWN[1], &own, "Sec-Fetch-Site: same-origin"]),
        200
    );
    assert_eq!(ask(&[OWN[0]]), 403);
    assert_eq!(ask(&[OWN[1]]), 403);
    assert_eq!(ask(&[OWN[1], "Content-Type: text/plain"]), 403);
    assert_eq!(ask(&[OWN[0], OWN[1], "Origin: http://evil.example"]), 403);
    assert_eq!(ask(&[OWN[0], OWN[1], "Origin: null"]), 403);
    assert_eq!(ask(&[OWN[0], OWN[1], "Sec-Fetch-Site: cross-site"]), 403);
    let rebound = format!(
        "POST /console/api HTTP/1.1\r\nHost: evil.example\r\n{}\r\n{}\r\nContent-Length: {}\r\n\r\n{body}",
        OWN[0],
        OWN[1],
        body.len()
    );
    assert_eq!(status(&watched.exchange(rebound.as_bytes())), 403);
    let (code, answer) = watched.ask("GET", "/console/api", &OWN);
    assert_eq!(code, 405);
    assert!(answer.to_ascii_lowercase().contains("allow: post"));
    // A page of others may not even ask whether it may.
    let (code, answer) = watched.ask("OPTIONS", "/console/api", &["Origin: http://evil.example"]);
    assert!(code == 403 && !answer.to_ascii_lowercase().contains("access-control"));
}

#[test]
fn wrong_requests_are_refused() {
    let watched = Watched::start(&[]);
    let ask = |body: &str| post(&watched, &OWN, body).0;
    for wrong in ["", "x", "[]", "{\"commands\":[[]]}", "{\"commands\":[[1]]}"] {
        assert_eq!(ask(wrong), 400, "{wrong}");
    }
    assert_eq!(ask("{\"db\":16,\"commands\":[[\"PING\"]]}"), 400);
    let large = format!("{{\"commands\":[[\"ECHO\",\"{}\"]]}}", "x".repeat(1 << 20));
    assert_eq!(ask(&large), 413);
    let fits = format!(
        "{{\"commands\":[[\"STRLEN\",\"{}\"]]}}",
        "x".repeat(1 << 19)
    );
    assert_eq!(ask(&fits), 200);
    // More than a browser should get at once.
    let mut client = watched.server.connect();
    let value = vec![b'v'; 15_000];
    for i in 0..700 {
        client.send(&[b"RPUSH", b"l", &value]);
        if i % 100 == 99 {
            (0..100).for_each(|_| drop(client.read()));
        }
    }
    assert_eq!(ask("{\"commands\":[[\"LRANGE\",\"l\",\"0\",\"-1\"]]}"), 413);
    assert_eq!(ask("{\"commands\":[[\"LRANGE\",\"l\",\"0\",\"99\"]]}"), 200);
}

#[test]
fn users_log_in_and_have_their_rights() {
    let watched = Watched::start(&[]);
    let mut client = watched.server.connect();
    client.line("CONFIG SET requirepass secret");
    client.line("ACL SETUSER reader on >pw +@read +info ~a*");
    client.line("ACL SETUSER asleep off >pw +@all ~*");
    let ask = |credentials: &str| {
        let login = basic(credentials);
        let (code, text) = post(
            &watched,
            &[OWN[0], OWN[1], &login],
            "{\"commands\":[[\"PING\"]]}",
        );
        println!("{credentials}: {code} {text}");
        code
    };
    let (code, text) = post(&watched, &OWN, "{\"commands\":[[\"PING\"]]}");
    assert_eq!((code, &*text), (401, "A user and a password are needed\n"));
    assert_eq!(ask("default:secret"), 200);
    assert_eq!(ask(":secret"), 200);
    assert_eq!(ask("reader:pw"), 200);
    for wrong in ["default:x", "reader:", "nosuch:pw", "asleep:pw"] {
        assert_eq!(ask(wrong), 401, "{wrong}");
    }
    assert_eq!(
        post(&watched, &[OWN[0], OWN[1], "Authorization: Bearer x"], "{}").0,
        400
    );
    client.line("SET a1 x");
    let login = basic("reader:pw");
    let replies = run_as(
        &watched,
        &[&login],
        "\"write\":true,",
        "[\"GET\",\"a1\"],[\"GET\",\"b\"],[\"SET\",\"a1\",\"y\"],[\"ACL\",\"WHOAMI\"]",
    );
    assert_eq!(
        replies,
        "\"x\",{\"error\":\"NOPERM No permissions to access a key\"},\
         {\"error\":\"NOPERM User reader has no permissions to run the 'set' command\"},\
         {\"error\":\"NOPERM User reader has no permissions to run the 'acl|whoami' command\"}"
    );
    assert_eq!(client.line("GET a1"), "\"x\"");
    let log = client.line("ACL LOG");
    assert!(log.contains("\"username\" \"nosuch\""), "{log}");
}

#[test]
fn changes_have_to_be_allowed() {
    let watched = Watched::start(&[]);
    let refused = |name: &str| {
        format!(
            "{{\"error\":\"'{name}' may change something: allow changes in the console first\"}}"
        )
    };
    for (command, name) in [
        ("[\"set\",\"k\",\"v\"]", "set"),
        ("[\"CONFIG\",\"SET\",\"maxmemory\",\"1\"]", "config|set"),
        ("[\"EVAL\",\"return 1\",\"0\"]", "eval"),
        ("[\"PUBLISH\",\"c\",\"m\"]", "publish"),
        ("[\"DEBUG\",\"SLEEP\",\"0\"]", "debug"),
        (
            "[\"HOTKEYS\",\"START\",\"METRICS\",\"1\",\"CPU\"]",
            "hotkeys|start",
        ),
        ("[\"FLUSHALL\"]", "flushall"),
    ] {
        assert_eq!(run(&watched, command), refused(name));
    }
    assert_eq!(
        run(&watched, "[\"PING\"],[\"set\",\"k\",\"v\"],[\"DBSIZE\"]"),
        format!("{{\"status\":\"PONG\"}},{},0", refused("set"))
    );
    let write = |commands: &str| run_as(&watched, &[], "\"db\":3,\"write\":true,", commands);
    assert_eq!(
        write("[\"SET\",\"k\",\"v\"],[\"DBSIZE\"]"),
        "{\"status\":\"OK\"},1"
    );
    assert_eq!(watched.server.connect().integer("DBSIZE"), 0);
    for name in [
        "MONITOR",
        "SUBSCRIBE",
        "HELLO",
        "AUTH",
        "RESET",
        "QUIT",
        "SHUTDOWN",
        "SYNC",
    ] {
        let reply = write(&format!("[\"{name}\",\"a\"]"));
        let text = format!(
            "{{\"error\":\"The console does not run '{}'\"}}",
            name.to_lowercase()
        );
        assert!(
            reply == text || reply.contains("wrong number"),
            "{name}: {reply}"
        );
    }
    // A transaction in one request; a wait for keys ends with the request.
    assert_eq!(
        write("[\"MULTI\"],[\"INCR\",\"n\"],[\"INCR\",\"n\"],[\"EXEC\"]"),
        "{\"status\":\"OK\"},{\"status\":\"QUEUED\"},{\"status\":\"QUEUED\"},[1,2]"
    );
    assert_eq!(write("[\"BLPOP\",\"nothing\",\"0.01\"]"), "null");
}

#[test]
fn replies_are_json() {
    let watched = Watched::start(&["--enable-debug-command", "yes"]);
    let mut client = watched.server.connect();
    client.run_bytes(&[b"SET", b"text", "<b>\"\\\u{7}ä\u{2028}".as_bytes()]);
    client.run_bytes(&[b"SET", b"bin\xff\0", b"\xff\0a"]);
    client.line("HSET h f v");
    client.line("SADD s m");
    client.line("ZADD z 1.5 m");
    client.line("XADD x 1-1 f v");
    for (command, reply) in [
        ("[\"GET\",\"text\"]", "\"\\u003cb>\\\"\\\\\\u0007ä\\u2028\""),
        ("[\"GET\",{\"hex\":\"62696eff00\"}]", "{\"hex\":\"ff0061\"}"),
        ("[\"GET\",\"nothing\"]", "null"),
        (
            "[\"NOSUCH\"]",
            "{\"error\":\"ERR unknown command 'NOSUCH', with args beginning with: \"}",
        ),
        ("[\"HGETALL\",\"h\"]", "{\"map\":[[\"f\",\"v\"]]}"),
        ("[\"SMEMBERS\",\"s\"]", "{\"set\":[\"m\"]}"),
        (
            "[\"ZRANGE\",\"z\",\"0\",\"-1\",\"WITHSCORES\"]",
            "[[\"m\",{\"number\":\"1.5\"}]]",
        ),
        (
            "[\"XRANGE\",\"x\",\"-\",\"+\"]",
            "[[\"1-1\",[\"f\",\"v\"]]]",
        ),
        ("[\"KEYS\",\"bin*\"]", "[{\"hex\":\"62696eff00\"}]"),
        ("[\"LRANGE\",\"none\",\"0\",\"-1\"]", "[]"),
        ("[\"HGETALL\",\"none\"]", "{\"map\":[]}"),
    ] {
        assert_eq!(run(&watched, command), reply, "{command}");
    }
    let write = |commands: &str| run_as(&watched, &[], "\"write\":true,", commands);
    for (kind, reply) in [
        ("true", "true"),
        ("null", "null"),
        ("double", "{\"number\":\"3.141\"}"),
        (
            "bignum",
            "{\"number\":\"1234567999999999999999999999999999999\"}",
        ),
        ("verbatim", "\"This is a verbatim\\u000astring\""),
    ] {
        assert_eq!(
            write(&format!("[\"DEBUG\",\"PROTOCOL\",\"{kind}\"]")),
            reply
        );
    }
    assert_eq!(
        write("[\"SET\",\"n\",\"9007199254740992\"],[\"INCR\",\"n\"],[\"DECRBY\",\"n\",\"2\"]"),
        "{\"status\":\"OK\"},{\"number\":\"9007199254740993\"},9007199254740991"
    );
    let info = run(&watched, "[\"INFO\",\"server\"]");
    assert!(info.starts_with("\"# Server\\u000d\\u000a"), "{info}");
    let docs = run(&watched, "[\"COMMAND\",\"DOCS\",\"set\"]");
    assert!(docs.starts_with("{\"map\":[[\"set\",{\"map\":["), "{docs}");
}

/// What the browser of keys asks for, page by page.
#[test]
fn values_of_every_type_come_in_pages() {
    let watched = Watched::start(&[]);
    let mut client = watched.server.connect();
    // A packed hash is one page.
    client.line("CONFIG SET hash-max-listpack-entries 128");
    for i in 0..250 {
        client.line(&format!("RPUSH list {i}"));
        client.line(&format!("ZADD zset {i} m{i}"));
        client.line(&format!("SADD set m{i}"));
        client.line(&format!("HSET hash f{i} v{i}"));
        client.line(&format!("XADD stream {}-1 f v{i}", i + 1));
        client.line(&format!("SET key:{i} v"));
    }
    let count = |replies: &str, what: &str| replies.matches(what).count();
    let page = run(&watched, "[\"LRANGE\",\"list\",\"200\",\"299\"]");
    assert!(
        page.starts_with("[\"200\",") && page.ends_with(",\"249\"]"),
        "{page}"
    );
    let page = run(
        &watched,
        "[\"ZRANGE\",\"zset\",\"100\",\"199\",\"WITHSCORES\"]",
    );
    assert!(
        page.starts_with("[[\"m100\",{\"number\":\"100\"}],"),
        "{page}"
    );
    assert_eq!(count(&page, "\"m"), 100);
    let page = run(
        &watched,
        "[\"XRANGE\",\"stream\",\"(100-1\",\"+\",\"COUNT\",\"100\"]",
    );
    assert!(page.starts_with("[[\"101-1\",[\"f\",\"v100\"]],"), "{page}");
    assert_eq!(count(&page, "-1\""), 100);
    for (command, mark, expected) in [
        ("SSCAN\",\"set", "\"m", 250),
        ("HSCAN\",\"hash", "\"f", 250),
        ("SCAN", "\"key:", 250),
    ] {
        let (mut cursor, mut found) = ("0".to_owned(), 0);
        let mut pages = 0;
        loop {
            let more = if command == "SCAN" {
                ",\"MATCH\",\"key:*\",\"TYPE\",\"string\""
            } else {
                ""
            };
            let page = run(
                &watched,
                &format!("[\"{command}\",\"{cursor}\",\"COUNT\",\"100\"{more}]"),
            );
            found += count(&page, mark);
            pages += 1;
            let rest = page.strip_prefix("[\"").expect("a cursor");
            cursor = rest.split('"').next().expect("a cursor").to_owned();
            if cursor == "0" {
                break;
            }
        }
        assert!(
            found == expected && pages > 1,
            "{command}: {found} in {pages} pages"
        );
    }
}

#[test]
fn a_value_of_fifty_megabytes_is_cut() {
    let watched = Watched::start(&[]);
    let mut client = watched.server.connect();
    client.line("SETRANGE s 49999999 x");
    let big = vec![b'v'; 50_000_000];
    client.run_bytes(&[b"HSET", b"h", b"f", &big]);
    client.run_bytes(&[b"SET", b"letters", "ä".repeat(20_000).as_bytes()]);
    let hash = run(&watched, "[\"HGETALL\",\"h\"]");
    assert!(hash.len() < 20_000, "{}", hash.len());
    assert!(hash.starts_with("{\"map\":[[\"f\",{\"text\":\"vvvv"));
    assert!(hash.ends_with("vvvv\",\"len\":50000000}]]}"));
    let string = run(&watched, "[\"GET\",\"s\"]");
    assert!(string.len() < 120_000 && string.ends_with("\\u0000\",\"len\":50000000}"));
    let page = run(&watched, "[\"GETRANGE\",\"s\",\"49999990\",\"49999999\"]");
    assert!(page.ends_with("\\u0000x\""), "{page}");
    // A cut is between letters.
    let letters = run(&watched, "[\"GET\",\"letters\"]");
    assert!(letters.ends_with("ä\",\"len\":40000}"));
    // Others are served meanwhile and afterwards.
    assert_eq!(watched.ask("GET", "/healthz", &[]).0, 200);
    assert_eq!(run(&watched, "[\"STRLEN\",\"s\"]"), "50000000");
}

#[test]
fn its_clients_come_and_go() {
    let watched = Watched::start(&["--maxclients", "3"]);
    let mut client = watched.server.connect();
    // The client of a request goes soon after its answer.
    let mut wait_alone = || {
        let began = Instant::now();
        while !client
            .line("INFO clients")
            .contains("connected_clients:1\\r")
        {
            assert!(
                began.elapsed() < REPLY_TIMEOUT,
                "{}",
                client.line("CLIENT LIST")
            );
        }
    };
    let list = run(&watched, "[\"CLIENT\",\"LIST\"]");
    assert_eq!(list.matches(" addr=127.0.0.1:").count(), 2, "{list}");
    for _ in 0..10 {
        wait_alone();
        assert_eq!(run(&watched, "[\"PING\"]"), "{\"status\":\"PONG\"}");
    }
    wait_alone();
    let _others = [watched.server.connect(), watched.server.connect()];
    let (code, text) = post(&watched, &OWN, "{\"commands\":[[\"PING\"]]}");
    assert_eq!((code, &*text), (503, "ERR max number of clients reached\n"));
    client.check(&[("PING", "+PONG")]);
}
