use std::collections::BTreeSet;

use resp::Output;

use super::*;
use crate::client::Peer;

/// A client with its subscriptions.
struct Subscriber {
    shared: Arc<ClientShared>,
    subscriptions: Option<Box<Subscriptions>>,
}

impl Subscriber {
    fn subscribe(&mut self, registry: &PubSub, kind: Kind, name: &[u8]) -> usize {
        registry.subscribe(&self.shared, &mut self.subscriptions, (kind, name))
    }

    fn unsubscribe(&mut self, registry: &PubSub, kind: Kind, name: &[u8]) -> usize {
        registry.unsubscribe(&self.shared, &mut self.subscriptions, (kind, name))
    }

    fn names(&self, kind: Kind) -> Vec<Arc<[u8]>> {
        let own = self.subscriptions.as_ref();
        own.map_or_else(Vec::new, |own| own.names(kind))
    }
}

fn subscriber(id: u64) -> Subscriber {
    Subscriber {
        shared: Arc::new(ClientShared::new(id, Peer::None, &Peer::None, 8, 0, 0)),
        subscriptions: None,
    }
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
    let mut client = subscriber(1);
    // Every second pattern goes again, so that nodes split and join.
    for round in 0..2 {
        for text in texts {
            client.subscribe(&registry, Kind::Pattern, text);
        }
        for text in texts.iter().skip(round).step_by(2) {
            client.unsubscribe(&registry, Kind::Pattern, text);
        }
        let left: Vec<_> = client.names(Kind::Pattern);
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
    for name in client.names(Kind::Pattern) {
        client.unsubscribe(&registry, Kind::Pattern, &name);
    }
    assert_eq!(registry.pattern_count(), 0);
    assert!(client.subscriptions.is_none());
}

#[test]
fn patterns_with_the_same_long_beginning_are_kept_apart() {
    let registry = PubSub::default();
    let mut client = subscriber(1);
    let (one, two) = ([b'x'; 200], [b'x'; 201]);
    client.subscribe(&registry, Kind::Pattern, &one);
    client.subscribe(&registry, Kind::Pattern, &two);
    assert_eq!(matching(&registry, &one), BTreeSet::from([one.to_vec()]));
    client.unsubscribe(&registry, Kind::Pattern, &one);
    assert_eq!(matching(&registry, &one), BTreeSet::new());
    assert_eq!(matching(&registry, &two), BTreeSet::from([two.to_vec()]));
}

#[test]
fn counts_are_those_of_the_confirmations() {
    let registry = PubSub::default();
    let mut client = subscriber(1);
    assert_eq!(client.subscribe(&registry, Kind::Channel, b"a"), 1);
    assert_eq!(client.subscribe(&registry, Kind::Channel, b"a"), 1);
    assert_eq!(client.subscribe(&registry, Kind::Pattern, b"a"), 2);
    assert_eq!(client.subscribe(&registry, Kind::ShardChannel, b"a"), 1);
    assert_eq!(registry.client_count(), 1);
    assert_eq!(client.shared.class(), ClientClass::PubSub);
    assert_eq!(client.unsubscribe(&registry, Kind::Channel, b"a"), 1);
    assert_eq!(client.unsubscribe(&registry, Kind::Channel, b"a"), 1);
    assert_eq!(client.unsubscribe(&registry, Kind::ShardChannel, b"a"), 0);
    assert_eq!(client.unsubscribe(&registry, Kind::Pattern, b"a"), 0);
    assert_eq!(registry.client_count(), 0);
    assert_eq!(client.shared.class(), ClientClass::Normal);
    assert!(client.subscriptions.is_none());
}

#[test]
fn a_thousand_subscribers_leave_in_any_order() {
    let registry = PubSub::default();
    let mut clients: Vec<Subscriber> = (0..1_000).map(subscriber).collect();
    for client in &mut clients {
        client.subscribe(&registry, Kind::Channel, b"c");
    }
    let mut left = clients.len();
    while left > 0 {
        let mut client = clients.swap_remove(left * 7 / 11);
        client.unsubscribe(&registry, Kind::Channel, b"c");
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
    let client = subscriber(1);
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
    let mut clients = [subscriber(1), subscriber(2)];
    for number in 0..20_000 {
        let pattern = format!("*{number}");
        clients[number % 2].subscribe(&registry, Kind::Pattern, pattern.as_bytes());
    }
    let expected = BTreeSet::from([b"*7".to_vec(), b"*17".to_vec(), b"*317".to_vec()]);
    assert_eq!(matching(&registry, b"a317"), expected);
    for name in clients[1].names(Kind::Pattern) {
        clients[1].unsubscribe(&registry, Kind::Pattern, &name);
    }
    assert_eq!(registry.pattern_count(), 10_000);
    assert_eq!(matching(&registry, b"a317"), BTreeSet::new());
    assert_eq!(matching(&registry, b"a318").len(), 3);
}
