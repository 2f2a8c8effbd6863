//! The tables `redis` and `server`.

use super::*;

fn with(replies: &[(&'static str, &'static str)], code: &str) -> (String, Canned) {
    let mut host = Canned {
        replies: replies.to_vec(),
        ..Canned::default()
    };
    let reply = run_with(&mut vm(), code, &mut host, Protocol::Resp2);
    (reply, host)
}

#[test]
fn calls_pass_strings_and_numbers() {
    let (_, host) = with(&[], "redis.call('set', 'k', 10, 1e15, 0.1, -0, 1e20, '')");
    let args: Vec<_> = host.calls[0]
        .iter()
        .map(|arg| String::from_utf8_lossy(arg))
        .collect();
    assert_eq!(
        args,
        [
            "set",
            "k",
            "10",
            "1000000000000000",
            "0.1",
            "0",
            "1e+20",
            ""
        ]
    );
    assert_eq!(
        with(&[], "return redis.pcall({}).err").0,
        "$46\r\nERR Command arguments must be strings or integers\r\n".replace("46", "49")
    );
}

#[test]
fn replies_become_values() {
    let code = |name: &str| format!("local r = redis.call('{name}') return cjson.encode(r)");
    for (reply, json) in [
        (":12\r\n", "12"),
        ("$3\r\nabc\r\n", "\"abc\""),
        ("$-1\r\n", "false"),
        ("*-1\r\n", "false"),
        ("*2\r\n:1\r\n$-1\r\n", "[1,false]"),
        ("+PONG\r\n", "{\"ok\":\"PONG\"}"),
        (",3.5\r\n", "{\"double\":3.5}"),
        ("#t\r\n", "true"),
        ("%1\r\n$1\r\na\r\n:1\r\n", "{\"map\":{\"a\":1}}"),
        ("~1\r\n$1\r\na\r\n", "{\"set\":{\"a\":true}}"),
        ("(123\r\n", "{\"big_number\":\"123\"}"),
    ] {
        let replies: Vec<(&'static str, &'static str)> = vec![("x", reply)];
        let expected = format!("${}\r\n{json}\r\n", json.len());
        assert_eq!(with(&replies, &code("x")).0, expected, "{reply}");
    }
    assert_eq!(
        with(&[("x", "_\r\n")], "return type(redis.call('x'))").0,
        "$3\r\nnil\r\n"
    );
}

#[test]
fn errors_of_commands() {
    let replies = [("x", "-WRONGTYPE no\r\n")];
    let code = "return redis.call('x')";
    let sha = String::from_utf8(digest(code.as_bytes()).to_vec()).unwrap();
    let (reply, _) = with(&replies, code);
    assert_eq!(
        reply,
        format!("-WRONGTYPE no script: {sha}, on @user_script:1.")
    );
    let mut host = Canned {
        replies: replies.to_vec(),
        ..Canned::default()
    };
    let (_, failure) = run_raw(&mut vm(), code.as_bytes(), &mut host, Protocol::Resp2);
    assert!(!failure.unwrap().counts);
    assert_eq!(with(&replies, "return redis.pcall('x')").0, "-WRONGTYPE no");
    assert_eq!(
        with(&replies, "local ok, e = pcall(redis.call, 'x') return e").0,
        "$12\r\nWRONGTYPE no\r\n"
    );
}

#[test]
fn helpers_of_replies() {
    assert_eq!(run("return redis.error_reply('My Err')"), "-My Err");
    assert_eq!(run("return redis.error_reply('MyErr')"), "-ERR MyErr");
    assert_eq!(run("return redis.status_reply('fine')"), "+fine\r\n");
    assert_eq!(
        run("return redis.sha1hex('')"),
        "$40\r\nda39a3ee5e6b4b0d3255bfef95601890afd80709\r\n"
    );
    assert_eq!(
        text("return redis.SERVER_NAME .. redis.REDIS_VERSION_NUM"),
        "lodestore459268"
    );
    assert_eq!(text("return server.VALKEY_VERSION"), "9.1.2");
    assert_eq!(run("return redis.replicate_commands()"), ":1\r\n");
    assert_eq!(run("return redis.breakpoint()"), "$-1\r\n");
}

#[test]
fn what_goes_to_the_host() {
    let (_, host) = with(
        &[],
        "redis.log(redis.LOG_WARNING, 'a', 1, 'b') redis.set_repl(redis.REPL_AOF)",
    );
    assert_eq!(host.logged, [(LogLevel::Warning, b"a 1 b".to_vec())]);
    let scope = Replication {
        aof: true,
        replicas: false,
    };
    assert_eq!(host.replication, [scope]);
    assert_eq!(run("return redis.acl_check_cmd('get', 'x')"), ":1\r\n");
    assert_eq!(run("return redis.acl_check_cmd('set', 'x')"), "$-1\r\n");
    assert!(run("return redis.acl_check_cmd('xyz')").starts_with("-ERR Invalid command passed"));
    let (_, host) = with(&[], "redis.setresp(3) redis.call('x')");
    assert_eq!(host.protocols, [Protocol::Resp3]);
}
