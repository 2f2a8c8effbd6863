use std::collections::BTreeSet;

use resp::Output;

use super::*;
use crate::client::ClientShared;
use crate::session::Origin;

fn session(id: u64) -> Session {
    let addr = "127.0.0.1:1".to_owned();
    let shared = ClientShared::new(id, addr.clone(), addr, 8, 0, 0);
    Session::new(Arc::new(shared), Origin::Client, true)
}

fn matching(registry: &PubSub, channel: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut found = BTreeSet::new();
    registry.patterns.each_match(channel, |pattern, clients| {
        assert!(clients.len() > 0, "a pattern without subscribers");
        found.insert(pattern.to_vec());
    });
    found
}

#[test]
fn the_trie_finds_what_the_glob_matches() {
    let texts: [&[u8]; 14] = [
        b"*", b"", b"a", b"a*", b"ab*", b"abc?", b"abd[xy]", b"b\\*", b"abcd*", b"a?c*", b"[a]b*",
        b"abcde", b"ab", b"\\abc",
    ];
    let channels: [&[u8]; 12] = [
        b"", b"a", b"ab", b"abc", b"abcd", b"abcde", b"abdx", b"b*", b"c", b"axc", b"abcdef", b"b",
    ];
    let registry = PubSub::default();
    let mut client = session(1);
    // Every second pattern goes again, so that nodes split and join.
    for round in 0..2 {
        for text in texts {
            registry.subscribe(&mut client, Kind::Pattern, text);
        }
        for text in texts.iter().skip(round).step_by(2) {
            registry.unsubscribe(&mut client, Kind::Pattern, text);
        }
        let left: Vec<_> = names(&client, Kind::Pattern);
        assert_eq!(registry.pattern_count(), left.len());
        for channel in channels {
            let expected: BTreeSet<Vec<u8>> = left
                .iter()
                .filter(|text| values::glob::matches(text, channel, false))
                .map(|text| text.to_vec())
                .collect();
            assert_eq!(matching(&registry, channel), expected, "{channel:?}");
        }
    }
    for name in names(&client, Kind::Pattern) {
        registry.unsubscribe(&mut client, Kind::Pattern, &name);
    }
    assert_eq!(registry.pattern_count(), 0);
    assert!(client.subscriptions.is_none());
}

#[test]
fn patterns_with_the_same_long_beginning_are_kept_apart() {
    let registry = PubSub::default();
    let mut client = session(1);
    let (one, two) = ([b'x'; 200], [b'x'; 201]);
    registry.subscribe(&mut client, Kind::Pattern, &one);
    registry.subscribe(&mut client, Kind::Pattern, &two);
    assert_eq!(matching(&registry, &one), BTreeSet::from([one.to_vec()]));
    registry.unsubscribe(&mut client, Kind::Pattern, &one);
    assert_eq!(matching(&registry, &one), BTreeSet::new());
    assert_eq!(matching(&registry, &two), BTreeSet::from([two.to_vec()]));
}

#[test]
fn counts_are_those_of_the_confirmations() {
    let registry = PubSub::default();
    let mut client = session(1);
    assert_eq!(registry.subscribe(&mut client, Kind::Channel, b"a"), 1);
    assert_eq!(registry.subscribe(&mut client, Kind::Channel, b"a"), 1);
    assert_eq!(registry.subscribe(&mut client, Kind::Pattern, b"a"), 2);
    assert_eq!(registry.subscribe(&mut client, Kind::ShardChannel, b"a"), 1);
    assert_eq!(registry.client_count(), 1);
    assert_eq!(client.shared.class(), ClientClass::PubSub);
    assert_eq!(registry.unsubscribe(&mut client, Kind::Channel, b"a"), 1);
    assert_eq!(registry.unsubscribe(&mut client, Kind::Channel, b"a"), 1);
    assert_eq!(
        registry.unsubscribe(&mut client, Kind::ShardChannel, b"a"),
        0
    );
    assert_eq!(registry.unsubscribe(&mut client, Kind::Pattern, b"a"), 0);
    assert_eq!(registry.client_count(), 0);
    assert_eq!(client.shared.class(), ClientClass::Normal);
    assert!(client.subscriptions.is_none());
}

#[test]
fn a_thousand_subscribers_leave_in_any_order() {
    let registry = PubSub::default();
    let mut clients: Vec<Session> = (0..1_000).map(session).collect();
    for client in &mut clients {
        registry.subscribe(client, Kind::Channel, b"c");
    }
    let mut left = clients.len();
    while left > 0 {
        let mut client = clients.swap_remove(left * 7 / 11);
        registry.unsubscribe(&mut client, Kind::Channel, b"c");
        left -= 1;
        let way = PublishedAs::Message;
        assert_eq!(registry.subscriber_count(way, b"c"), left);
    }
    assert_eq!(registry.channel_count(PublishedAs::Message), 0);
}

#[test]
fn only_some_subscriptions_can_match_events() {
    let patterns: [(&[u8], bool); 7] = [
        (b"*", true),
        (b"__key*", true),
        (b"__keyspace@0__:x", true),
        (b"_[_]key*", true),
        (b"__sub*", true),
        (b"__k?", true),
        (b"news.*", false),
    ];
    for (pattern, expected) in patterns {
        assert_eq!(may_match_events(Kind::Pattern, pattern), expected);
    }
    assert!(may_match_events(Kind::Channel, b"__keyevent@0__:set"));
    assert!(!may_match_events(Kind::Channel, b"__k"));
    assert!(!may_match_events(Kind::ShardChannel, b"__keyevent@0__:set"));
}

#[test]
fn large_messages_are_shared() {
    let client = session(1);
    let bytes = vec![b'x'; 100_000];
    let payload = Payload::new(&bytes);
    let mut message = Message::new(PublishedAs::Message, b"c", &payload);
    for _ in 0..2 {
        client
            .shared
            .post(0, 0, |out, protocol| message.write(out, protocol));
    }
    let mut out = Output::new();
    client.shared.take_outbox(&mut out);
    assert_eq!(out.shared_len(), 2 * bytes.len());
    let one = [
        b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$100000\r\n",
        &*bytes,
        b"\r\n",
    ]
    .concat();
    assert_eq!(out.to_vec(), [&*one, &*one].concat());
}

#[test]
fn many_patterns_with_one_beginning_come_and_go() {
    let registry = PubSub::default();
    let mut clients = [session(1), session(2)];
    for number in 0..20_000 {
        let pattern = format!("*{number}");
        registry.subscribe(&mut clients[number % 2], Kind::Pattern, pattern.as_bytes());
    }
    let expected = BTreeSet::from([b"*7".to_vec(), b"*17".to_vec(), b"*317".to_vec()]);
    assert_eq!(matching(&registry, b"a317"), expected);
    for name in names(&clients[1], Kind::Pattern) {
        registry.unsubscribe(&mut clients[1], Kind::Pattern, &name);
    }
    assert_eq!(registry.pattern_count(), 10_000);
    assert_eq!(matching(&registry, b"a317"), BTreeSet::new());
    assert_eq!(matching(&registry, b"a318").len(), 3);
}
