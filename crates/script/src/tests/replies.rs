//! Values of scripts as replies, and errors.

use super::*;

#[test]
fn values_become_replies() {
    assert_eq!(run("return 1"), ":1\r\n");
    assert_eq!(run("return 3.99"), ":3\r\n");
    assert_eq!(run("return -3.99"), ":-3\r\n");
    assert_eq!(run("return 'x'"), "$1\r\nx\r\n");
    assert_eq!(run("return true"), ":1\r\n");
    assert_eq!(run("return false"), "$-1\r\n");
    assert_eq!(run("return"), "$-1\r\n");
    assert_eq!(
        run("return {1, 'a', {2}}"),
        "*3\r\n:1\r\n$1\r\na\r\n*1\r\n:2\r\n"
    );
    assert_eq!(run("return {1, nil, 3}"), "*1\r\n:1\r\n");
    assert_eq!(run("return {ok='fine'}"), "+fine\r\n");
    assert_eq!(run("return {ok='a\\r\\n:1'}"), "+a  :1\r\n");
    assert_eq!(
        run("return {KEYS[1], ARGV[3]}"),
        "*2\r\n$2\r\nk1\r\n$2\r\na3\r\n"
    );
    assert_eq!(run("return {#KEYS, #ARGV}"), "*2\r\n:2\r\n:3\r\n");
}

#[test]
fn replies_of_resp3() {
    let reply = |code: &str| run_with(&mut vm(), code, &mut Canned::default(), Protocol::Resp3);
    assert_eq!(reply("return nil"), "_\r\n");
    assert_eq!(reply("return true"), ":1\r\n");
    assert_eq!(reply("redis.setresp(3) return true"), "#t\r\n");
    assert_eq!(reply("return {double=3.5}"), ",3.5\r\n");
    assert_eq!(reply("return {map={a=1}}"), "%1\r\n$1\r\na\r\n:1\r\n");
    assert_eq!(reply("return {set={a=true}}"), "~1\r\n$1\r\na\r\n");
    assert_eq!(reply("return {big_number='12'}"), "(12\r\n");
    assert_eq!(
        reply("return {verbatim_string={format='txt', string='x'}}"),
        "=5\r\ntxt:x\r\n"
    );
}

#[test]
fn errors_name_their_place() {
    let sha = |code: &str| String::from_utf8(digest(code.as_bytes()).to_vec()).unwrap();
    for (code, message) in [
        ("error('x')", "ERR user_script:1: x"),
        (
            "return foo",
            "ERR user_script:1: Script attempted to access nonexistent global variable 'foo'",
        ),
        (
            "x = 1",
            "ERR user_script:1: Attempt to modify a readonly table",
        ),
        ("error({err='My Err'})", "My Err"),
        ("error({})", "ERR unknown error"),
    ] {
        let expected = format!("-{message} script: {}, on @user_script:1.", sha(code));
        assert_eq!(run(code), expected);
    }
    assert_eq!(run("return {err='MY a\\r\\n+OK'}"), "-MY a\r\n+OK");
    assert_eq!(
        run("return +"),
        "-ERR Error compiling script (new function): user_script:1: unexpected symbol near '+'"
    );
}

#[test]
fn a_table_that_has_itself_ends() {
    let reply = run("local t = {} t[1] = t return t");
    assert!(
        reply.ends_with("-ERR reached lua stack limit\r\n"),
        "{reply}"
    );
}
