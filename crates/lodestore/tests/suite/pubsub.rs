//! Publish/subscribe as clients see it.

use std::time::{Duration, Instant};

use super::harness::{Client, TestServer, show};

mod order;

/// Waits until a condition holds.
pub(super) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < super::harness::PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The next messages of a client, as text.
fn reads(client: &mut Client, count: usize) -> Vec<String> {
    (0..count).map(|_| show(&client.read())).collect()
}

/// Sends a request written as one line.
fn send(client: &mut Client, line: &str) {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    client.send(&words);
}

/// Checks that a client has got nothing more: the next thing it reads is the reply to a PING.
fn assert_quiet(client: &mut Client, pong: &str) {
    assert_eq!(client.line("PING quiet"), pong);
}

const QUIET_RESP2: &str = r#"["pong" "quiet"]"#;

fn two_workers() -> TestServer {
    TestServer::start_with(&["--threads", "2", "--threads-spread", "yes"])
}

#[test]
fn confirmations_count_channels_and_patterns() {
    let server = TestServer::start();
    for (mut client, push) in [(server.connect(), ""), (server.connect_resp3(), ">")] {
        let nothing = if push.is_empty() { "nil" } else { "null" };
        send(&mut client, "UNSUBSCRIBE");
        assert_eq!(
            reads(&mut client, 1),
            [format!(r#"{push}["unsubscribe" {nothing} :0]"#)]
        );
        send(&mut client, "SUBSCRIBE a b a");
        assert_eq!(
            reads(&mut client, 3),
            [
                format!(r#"{push}["subscribe" "a" :1]"#),
                format!(r#"{push}["subscribe" "b" :2]"#),
                format!(r#"{push}["subscribe" "a" :2]"#),
            ]
        );
        send(&mut client, "PSUBSCRIBE a*");
        send(&mut client, "SSUBSCRIBE a");
        send(&mut client, "PUNSUBSCRIBE x");
        send(&mut client, "UNSUBSCRIBE x b a");
        send(&mut client, "SUNSUBSCRIBE");
        send(&mut client, "PUNSUBSCRIBE");
        send(&mut client, "SUNSUBSCRIBE");
        send(&mut client, "PUNSUBSCRIBE");
        assert_eq!(
            reads(&mut client, 10),
            [
                format!(r#"{push}["psubscribe" "a*" :3]"#),
                format!(r#"{push}["ssubscribe" "a" :1]"#),
                format!(r#"{push}["punsubscribe" "x" :3]"#),
                format!(r#"{push}["unsubscribe" "x" :3]"#),
                format!(r#"{push}["unsubscribe" "b" :2]"#),
                format!(r#"{push}["unsubscribe" "a" :1]"#),
                format!(r#"{push}["sunsubscribe" "a" :0]"#),
                format!(r#"{push}["punsubscribe" "a*" :0]"#),
                format!(r#"{push}["sunsubscribe" {nothing} :0]"#),
                format!(r#"{push}["punsubscribe" {nothing} :0]"#),
            ]
        );
        assert_eq!(client.line("PING"), "+PONG");
    }
}

#[test]
fn messages_reach_channels_and_patterns() {
    let server = two_workers();
    let mut publisher = server.connect();
    let mut channel = server.connect();
    let mut pattern = server.connect_resp3();
    let mut shard = server.connect();
    channel.line("SUBSCRIBE news.a");
    pattern.line("PSUBSCRIBE news.*");
    pattern.subscribes("PSUBSCRIBE n?ws.[ab]");
    pattern.line("SUBSCRIBE news.a");
    shard.line("SSUBSCRIBE news.a");
    publisher.check(&[
        ("PUBLISH news.a one", ":4"),
        ("PUBLISH news.c two", ":1"),
        ("PUBLISH other three", ":0"),
        ("SPUBLISH news.a four", ":1"),
        ("SPUBLISH news.c five", ":0"),
    ]);
    assert_eq!(reads(&mut channel, 1), [r#"["message" "news.a" "one"]"#]);
    let mut first = reads(&mut pattern, 3);
    first.sort();
    assert_eq!(
        first,
        [
            r#">["message" "news.a" "one"]"#,
            r#">["pmessage" "n?ws.[ab]" "news.a" "one"]"#,
            r#">["pmessage" "news.*" "news.a" "one"]"#,
        ]
    );
    assert_eq!(
        reads(&mut pattern, 1),
        [r#">["pmessage" "news.*" "news.c" "two"]"#]
    );
    assert_eq!(reads(&mut shard, 1), [r#"["smessage" "news.a" "four"]"#]);
    assert_quiet(&mut channel, QUIET_RESP2);
    assert_quiet(&mut shard, QUIET_RESP2);
    assert_quiet(&mut pattern, r#""quiet""#);
}

impl Client {
    /// Runs a subscribing command of one channel and checks that it is confirmed.
    fn subscribes(&mut self, line: &str) {
        let confirmation = self.line(line);
        assert!(confirmation.contains("subscribe"), "{confirmation}");
    }
}

#[test]
fn resp2_subscribers_may_run_few_commands() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.line("SSUBSCRIBE a");
    let context =
        "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context";
    client.check(&[
        ("GET a", &format!("-ERR Can't execute 'get': {context}")),
        (
            "CLIENT ID",
            &format!("-ERR Can't execute 'client|id': {context}"),
        ),
        ("HELLO 3", &format!("-ERR Can't execute 'hello': {context}")),
        ("MULTI", &format!("-ERR Can't execute 'multi': {context}")),
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        (
            "NOSUCH",
            "-ERR unknown command 'NOSUCH', with args beginning with: ",
        ),
        ("PING", r#"["pong" ""]"#),
        ("PING hi", r#"["pong" "hi"]"#),
        (
            "PING a b",
            "-ERR wrong number of arguments for 'ping' command",
        ),
        (
            "SUBSCRIBE",
            "-ERR wrong number of arguments for 'subscribe' command",
        ),
        ("RESET", "+RESET"),
        ("PING", "+PONG"),
        ("GET a", "nil"),
        ("SUBSCRIBE a", r#"["subscribe" "a" :1]"#),
        ("QUIT", "+OK"),
    ]);
    assert!(client.read_or_closed().is_none());
    let mut client = server.connect_resp3();
    client.check(&[
        ("SUBSCRIBE a", r#">["subscribe" "a" :1]"#),
        ("GET a", "null"),
        ("PING", "+PONG"),
        ("PUBLISH a hi", ":1"),
    ]);
    assert_eq!(reads(&mut client, 1), [r#">["message" "a" "hi"]"#]);
}

#[test]
fn another_protocol_version_while_subscribed() {
    let server = two_workers();
    let mut publisher = server.connect();
    let mut client = server.connect_resp3();
    client.line("SUBSCRIBE a");
    client.line("PSUBSCRIBE *");
    assert_eq!(publisher.line("PUBLISH a 3"), ":2");
    assert_eq!(
        reads(&mut client, 2),
        [r#">["message" "a" "3"]"#, r#">["pmessage" "*" "a" "3"]"#]
    );
    let hello = client.line("HELLO 2");
    assert!(hello.starts_with(r#"["server" "#), "{hello}");
    assert_eq!(publisher.line("PUBLISH a 2"), ":2");
    assert_eq!(
        reads(&mut client, 2),
        [r#"["message" "a" "2"]"#, r#"["pmessage" "*" "a" "2"]"#]
    );
    assert_eq!(client.line("PING"), r#"["pong" ""]"#);
    assert_eq!(client.line("RESET"), "+RESET");
    assert_eq!(publisher.line("PUBLISH a 1"), ":0");
    assert_eq!(client.line("PING"), "+PONG");
}

#[test]
fn own_messages_come_behind_the_reply() {
    let server = TestServer::start();
    let mut client = server.connect_resp3();
    client.line("SUBSCRIBE a");
    send(&mut client, "PUBLISH a 1");
    send(&mut client, "PUBLISH a 2");
    assert_eq!(
        reads(&mut client, 4),
        [
            ":1",
            r#">["message" "a" "1"]"#,
            ":1",
            r#">["message" "a" "2"]"#
        ]
    );
}

#[test]
fn transactions_subscribe_and_publish() {
    let server = two_workers();
    let mut other = server.connect_resp3();
    other.line("SUBSCRIBE a");
    let mut client = server.connect();
    for line in [
        "SET k v",
        "PUBLISH a 1",
        "SUBSCRIBE b c",
        "PING",
        "UNSUBSCRIBE b",
    ] {
        client.check(&[("MULTI", "+OK"), (line, "+QUEUED"), ("DISCARD", "+OK")]);
    }
    client.check(&[
        ("MULTI", "+OK"),
        ("SET k v", "+QUEUED"),
        ("PUBLISH a 1", "+QUEUED"),
        ("SUBSCRIBE b", "+QUEUED"),
        ("PING", "+QUEUED"),
        ("GET k", "+QUEUED"),
        ("UNSUBSCRIBE", "+QUEUED"),
        ("PUBLISH b 2", "+QUEUED"),
        (
            "EXEC",
            r#"[+OK :1 ["subscribe" "b" :1] ["pong" ""] "v" ["unsubscribe" "b" :0] :0]"#,
        ),
        ("PING", "+PONG"),
        ("MULTI", "+OK"),
        ("SUBSCRIBE b", "+QUEUED"),
        ("PUBLISH b 3", "+QUEUED"),
        ("EXEC", r#"[["subscribe" "b" :1] :1]"#),
    ]);
    assert_eq!(reads(&mut client, 1), [r#"["message" "b" "3"]"#]);
    assert_eq!(client.line("PING"), r#"["pong" ""]"#);
    assert_eq!(reads(&mut other, 1), [r#">["message" "a" "1"]"#]);
    other.check(&[
        ("MULTI", "+OK"),
        ("SSUBSCRIBE s", "+QUEUED"),
        (
            "EXEC",
            "[-ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client]",
        ),
    ]);
    // What came before the end of a subscription stands before the reply that confirms it.
    other.check(&[("MULTI", "+OK"), ("UNSUBSCRIBE a", "+QUEUED")]);
    let mut publisher = server.connect();
    assert_eq!(publisher.line("PUBLISH a 4"), ":1");
    send(&mut other, "EXEC");
    assert_eq!(
        reads(&mut other, 2),
        [r#">["message" "a" "4"]"#, r#"[>["unsubscribe" "a" :0]]"#]
    );
}

#[test]
fn client_reply_does_not_silence_pushes() {
    let server = TestServer::start();
    let mut publisher = server.connect();
    for (mut client, push) in [(server.connect(), ""), (server.connect_resp3(), ">")] {
        send(&mut client, "CLIENT REPLY OFF");
        send(&mut client, "SUBSCRIBE a");
        assert_eq!(
            reads(&mut client, 1),
            [format!(r#"{push}["subscribe" "a" :1]"#)]
        );
        send(&mut client, "PING");
        assert_eq!(publisher.line("PUBLISH a x"), ":1");
        assert_eq!(
            reads(&mut client, 1),
            [format!(r#"{push}["message" "a" "x"]"#)]
        );
        send(&mut client, "UNSUBSCRIBE");
        assert_eq!(
            reads(&mut client, 1),
            [format!(r#"{push}["unsubscribe" "a" :0]"#)]
        );
        assert_eq!(client.line("CLIENT REPLY ON"), "+OK");
        send(&mut client, "CLIENT REPLY OFF");
        for line in ["MULTI", "SUBSCRIBE b", "UNSUBSCRIBE b", "PING", "EXEC"] {
            send(&mut client, line);
        }
        assert_eq!(
            reads(&mut client, 2),
            [
                format!(r#"{push}["subscribe" "b" :1]"#),
                format!(r#"{push}["unsubscribe" "b" :0]"#)
            ]
        );
        assert_eq!(client.line("CLIENT REPLY ON"), "+OK");
        send(&mut client, "CLIENT REPLY SKIP");
        send(&mut client, "SUBSCRIBE c");
        assert_eq!(
            reads(&mut client, 1),
            [format!(r#"{push}["subscribe" "c" :1]"#)]
        );
    }
}

#[test]
fn subscriptions_are_shown() {
    let server = two_workers();
    let mut client = server.connect();
    let mut one = server.connect();
    let mut two = server.connect_resp3();
    one.line("SUBSCRIBE a");
    two.line("SUBSCRIBE a");
    two.line("PSUBSCRIBE b*");
    one.line("PSUBSCRIBE b*");
    one.line("SSUBSCRIBE s");
    client.check(&[
        ("PUBSUB CHANNELS", r#"["a"]"#),
        ("PUBSUB CHANNELS b*", "[]"),
        ("PUBSUB NUMSUB", "[]"),
        ("PUBSUB NUMSUB a x", r#"["a" :2 "x" :0]"#),
        ("PUBSUB NUMPAT", ":1"),
        ("PUBSUB SHARDCHANNELS", r#"["s"]"#),
        ("PUBSUB SHARDCHANNELS x", "[]"),
        ("PUBSUB SHARDNUMSUB s a", r#"["s" :1 "a" :0]"#),
        (
            "PUBSUB NUMPAT x",
            "-ERR wrong number of arguments for 'pubsub|numpat' command",
        ),
        (
            "PUBSUB CHANNELS a b",
            "-ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP.",
        ),
        (
            "PUBSUB NOSUCH",
            "-ERR unknown subcommand 'NOSUCH'. Try PUBSUB HELP.",
        ),
        (
            "COMMAND GETKEYS SPUBLISH c m",
            "-ERR The command has no key arguments",
        ),
        (
            "COMMAND GETKEYS SSUBSCRIBE c",
            "-ERR The command has no key arguments",
        ),
        (
            "COMMAND GETKEYS PUBLISH c m",
            "-ERR The command has no key arguments",
        ),
    ]);
    let info = client.line("INFO everything");
    for field in [
        "pubsub_clients:2",
        "pubsub_channels:1",
        "pubsub_patterns:1",
        "pubsubshard_channels:1",
    ] {
        assert!(info.contains(&format!("{field}\\r\\n")), "{field}: {info}");
    }
    let list = client.line("CLIENT LIST TYPE pubsub");
    assert_eq!(list.matches("id=").count(), 2, "{list}");
    assert_eq!(list.matches(" flags=P ").count(), 2, "{list}");
    assert!(list.contains(" sub=1 psub=1 ssub=1 "), "{list}");
    assert!(list.contains(" sub=1 psub=1 ssub=0 "), "{list}");
    assert_eq!(client.line("CLIENT KILL TYPE pubsub"), ":2");
    assert!(one.read_or_closed().is_none() && two.read_or_closed().is_none());
    wait_until("killed subscribers leave", || {
        client.line("PUBSUB NUMPAT") == ":0"
            && client.line("PUBSUB CHANNELS") == "[]"
            && client.line("PUBSUB SHARDCHANNELS") == "[]"
            && client.line("INFO clients").contains("pubsub_clients:0")
    });
}

#[test]
fn messages_of_many_sizes_arrive_whole() {
    let server = two_workers();
    let mut publisher = server.connect();
    let mut channel = server.connect();
    let mut pattern = server.connect_resp3();
    channel.line("SUBSCRIBE big");
    pattern.line("PSUBSCRIBE b*");
    for size in [0, 1, 255, 256, 16_383, 16_384, 16_385, 1_000_000] {
        let payload: Vec<u8> = (0..size).map(|index: usize| index as u8).collect();
        let reply = publisher.run_bytes(&[b"PUBLISH", b"big", &payload]);
        assert_eq!(show(&reply), ":2");
        for (client, expected) in [(&mut channel, 3), (&mut pattern, 4)] {
            let message = client.read();
            let parts = message.as_elements().expect("a message");
            assert_eq!(parts.len(), expected);
            assert_eq!(
                parts.last().and_then(|part| part.as_bytes()),
                Some(&*payload)
            );
        }
    }
    let name = vec![b'n'; 100_000];
    channel.run_bytes(&[b"SUBSCRIBE", &name]);
    assert_eq!(show(&publisher.run_bytes(&[b"PUBLISH", &name, b"x"])), ":1");
    let message = channel.read();
    let parts = message.as_elements().expect("a message");
    assert_eq!(parts.get(1).and_then(|part| part.as_bytes()), Some(&*name));
}

#[test]
fn a_subscriber_that_does_not_read_is_closed_alone() {
    let server = two_workers();
    let mut publisher = server.connect();
    publisher.line("CONFIG SET client-output-buffer-limit \"pubsub 1mb 0 0\"");
    let mut deaf = server.connect();
    let mut good = server.connect();
    deaf.line("SUBSCRIBE a");
    good.line("SUBSCRIBE a");
    let payload = vec![b'x'; 100_000];
    let mut receivers = 2;
    let mut sent = 0;
    while receivers == 2 {
        let reply = show(&publisher.run_bytes(&[b"PUBLISH", b"a", &payload]));
        receivers = reply.trim_start_matches(':').parse().expect("a number");
        let message = good.read();
        let parts = message.as_elements().expect("a message");
        assert_eq!(
            parts.last().and_then(|part| part.as_bytes()),
            Some(&*payload)
        );
        sent += 1;
        assert!(sent < 10_000, "the limit does not hold");
    }
    assert_quiet(&mut good, QUIET_RESP2);
    let info = publisher.line("INFO stats");
    assert!(
        info.contains("client_output_buffer_limit_disconnections:1\\r"),
        "{info}"
    );
    publisher.line("CONFIG RESETSTAT");
    let info = publisher.line("INFO stats");
    assert!(
        info.contains("client_output_buffer_limit_disconnections:0\\r"),
        "{info}"
    );
}

#[test]
fn the_help_of_pubsub_is_in_no_category_of_its_group() {
    let server = TestServer::start();
    let mut client = server.connect();
    let info = client.line("COMMAND INFO pubsub|help pubsub|channels");
    assert_eq!(info.matches("@pubsub").count(), 1, "{info}");
    let info = client.line("COMMAND INFO publish subscribe ssubscribe");
    assert_eq!(info.matches("@pubsub").count(), 3, "{info}");
}

#[test]
fn idle_subscribers_stay() {
    let server = TestServer::start();
    let mut client = server.connect();
    let mut idle = server.connect();
    let mut subscriber = server.connect();
    subscriber.line("SUBSCRIBE a");
    client.line("CONFIG SET timeout 1");
    wait_until("the idle client is closed", || {
        client.line("PING");
        !client.line("CLIENT LIST TYPE normal").contains("\\nid=")
    });
    assert!(idle.read_or_closed().is_none());
    assert_eq!(client.line("PUBLISH a x"), ":1");
    assert_eq!(reads(&mut subscriber, 1), [r#"["message" "a" "x"]"#]);
}

#[test]
fn patterns_of_a_million_stars_are_harmless() {
    let server = TestServer::start();
    let mut client = server.connect_resp3();
    let stars = vec![b'*'; 1_000_000];
    let more = [&*stars, b"x"].concat();
    client.run_bytes(&[b"PSUBSCRIBE", &stars]);
    client.run_bytes(&[b"PSUBSCRIBE", &more]);
    assert_eq!(client.line("PUBLISH abc 1"), ":1");
    let message = client.read();
    let parts = message.as_elements().expect("a message");
    assert_eq!(parts.get(1).and_then(|part| part.as_bytes()), Some(&*stars));
}
