//! Publish/subscribe: who is subscribed to what, and the way of a message.
//!
//! Channels lie in shards by their hash. PUBLISH holds the shard of its channel until the message
//! stands in the outboxes of all receivers, those of patterns included, so every receiver sees the
//! messages of a channel in one order. Patterns lie in a trie that a publisher reads without a
//! lock; a pattern that matches is locked while its subscribers get the message. A client that has
//! left a channel or a pattern gets nothing from it any more: what stands in its outbox by then is
//! all there is.
//!
//! Locks are taken in the order shard of a channel, pattern, outbox; none of their holders takes
//! another one, or a lock of the keyspace.

mod channels;
mod delivery;
mod pattern_list;
mod patterns;
mod subscribers;
mod subscriptions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::client::ClientShared;
use crate::config::ClientClass;
use crate::outboxes::Outboxes;

pub use delivery::{Payload, PublishedAs};
pub use subscriptions::{Kind, Subscriptions};

use channels::Channels;
use delivery::{Delivery, Message};
use patterns::Patterns;
use subscribers::Subscribers;

/// The registry of all subscriptions.
#[derive(Default)]
pub struct PubSub {
    channels: Channels,
    shard_channels: Channels,
    patterns: Patterns,
    /// Clients with at least one subscription.
    clients: AtomicUsize,
    /// Subscriptions that keyspace events could reach.
    event_listeners: AtomicUsize,
}

impl PubSub {
    /// Sends a message to the subscribers of a channel and of the patterns that match it. It
    /// leaves when the log is flushed up to `after`. Returns how many clients it was sent to; a
    /// client counts once for its channel and once for each of its patterns.
    pub fn publish(
        &self,
        outboxes: &Outboxes,
        way: PublishedAs,
        channel: &[u8],
        payload: &[u8],
        after: u64,
    ) -> usize {
        let payload = Payload::new(payload);
        let mut delivery = Delivery::new(outboxes, after);
        let shard = self.channels_of(way).lock(channel);
        if let Some(subscribers) = shard.get(channel) {
            let mut message = Message::new(way, channel, &payload);
            delivery.send(subscribers, &mut message);
        }
        if way == PublishedAs::Message && self.patterns.count() != 0 {
            self.patterns.each_match(channel, |pattern, subscribers| {
                let mut message = Message::by_pattern(pattern, channel, &payload);
                delivery.send(subscribers, &mut message);
            });
        }
        drop(shard);
        delivery.finish()
    }

    /// How many clients a message would be sent to now.
    pub fn receivers(&self, way: PublishedAs, channel: &[u8]) -> usize {
        let shard = self.channels_of(way).lock(channel);
        let mut count = shard.get(channel).map_or(0, |clients| clients.len());
        if way == PublishedAs::Message {
            self.patterns
                .each_match(channel, |_, subscribers| count += subscribers.len());
        }
        count
    }

    /// The clients with a subscription that `keeps`, asked with the kind and the name of each
    /// subscription and a client that has it, says no to.
    pub fn clients_without(
        &self,
        mut keeps: impl FnMut(Kind, &[u8], &ClientShared) -> bool,
    ) -> Vec<Arc<ClientShared>> {
        let mut found: BTreeMap<u64, Arc<ClientShared>> = BTreeMap::new();
        let mut visit = |kind, name: &[u8], subscribers: &Subscribers| {
            for client in subscribers.iter() {
                if !found.contains_key(&client.id) && !keeps(kind, name, client) {
                    found.insert(client.id, Arc::clone(client));
                }
            }
        };
        self.channels
            .each_subscribers(|name, clients| visit(Kind::Channel, name, clients));
        self.shard_channels
            .each_subscribers(|name, clients| visit(Kind::ShardChannel, name, clients));
        self.patterns
            .each_subscribers(|name, clients| visit(Kind::Pattern, name, clients));
        found.into_values().collect()
    }

    fn channels_of(&self, way: PublishedAs) -> &Channels {
        match way {
            PublishedAs::Message => &self.channels,
            PublishedAs::ShardMessage => &self.shard_channels,
        }
    }

    /// Subscribes a client whose subscriptions are `own`. Returns how many its confirmation counts.
    pub fn subscribe(
        &self,
        client: &Arc<ClientShared>,
        own: &mut Option<Box<Subscriptions>>,
        (kind, name): (Kind, &[u8]),
    ) -> usize {
        let own = own.get_or_insert_default();
        if own.has(kind, name) {
            return own.count_with(kind);
        }
        let is_first = own.is_empty();
        let name = match kind {
            Kind::Channel => self.channels.add(name, client),
            Kind::ShardChannel => self.shard_channels.add(name, client),
            Kind::Pattern => self.patterns.add(name, client),
        };
        if may_match_events(kind, &name) {
            self.event_listeners.fetch_add(1, Ordering::AcqRel);
        }
        own.insert(kind, name);
        own.publish(client);
        if is_first {
            self.clients.fetch_add(1, Ordering::Relaxed);
            client.set_class(ClientClass::PubSub);
        }
        own.count_with(kind)
    }

    /// Ends a subscription; nothing of it comes into the outbox of the client any more. Returns
    /// how many subscriptions the confirmation counts.
    pub fn unsubscribe(
        &self,
        client: &ClientShared,
        place: &mut Option<Box<Subscriptions>>,
        (kind, name): (Kind, &[u8]),
    ) -> usize {
        let Some(own) = place else {
            return 0;
        };
        if own.remove(kind, name) {
            match kind {
                Kind::Channel => self.channels.remove(name, client),
                Kind::ShardChannel => self.shard_channels.remove(name, client),
                Kind::Pattern => self.patterns.remove(name, client),
            }
            if may_match_events(kind, name) {
                self.event_listeners.fetch_sub(1, Ordering::AcqRel);
            }
            own.publish(client);
        }
        let count = own.count_with(kind);
        if own.is_empty() {
            *place = None;
            self.clients.fetch_sub(1, Ordering::Relaxed);
            client.set_class(ClientClass::Normal);
        }
        count
    }

    /// The channels that have subscribers and match a pattern.
    pub fn channels(&self, way: PublishedAs, pattern: Option<&[u8]>) -> Vec<Arc<[u8]>> {
        let mut found = Vec::new();
        self.channels_of(way).each(|name| {
            if pattern.is_none_or(|pattern| values::glob::matches(pattern, name, false)) {
                found.push(Arc::clone(name));
            }
        });
        found
    }

    /// How many channels have subscribers.
    pub fn channel_count(&self, way: PublishedAs) -> usize {
        self.channels_of(way).count()
    }

    /// How many clients are subscribed to a channel by its name.
    pub fn subscriber_count(&self, way: PublishedAs, channel: &[u8]) -> usize {
        let shard = self.channels_of(way).lock(channel);
        shard.get(channel).map_or(0, |clients| clients.len())
    }

    /// How many different patterns there are.
    pub fn pattern_count(&self) -> usize {
        self.patterns.count()
    }

    /// How many clients have at least one subscription.
    pub fn client_count(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// True when a subscription could match the channel of a keyspace event.
    #[inline]
    pub fn has_event_listeners(&self) -> bool {
        self.event_listeners.load(Ordering::Relaxed) != 0
    }
}

/// The channels of keyspace events begin with one of these.
const EVENT_CHANNELS: [&[u8]; 2] = [b"__key", b"__sub"];

/// The subscription could match the channel of a keyspace event.
pub fn may_match_events(kind: Kind, name: &[u8]) -> bool {
    let is_prefix_of = |channel: &[u8], literal: &[u8]| {
        channel.starts_with(literal) || literal.starts_with(channel)
    };
    match kind {
        Kind::ShardChannel => false,
        Kind::Channel => EVENT_CHANNELS.iter().any(|begin| name.starts_with(begin)),
        Kind::Pattern => {
            let literal = patterns::literal_prefix(name);
            EVENT_CHANNELS
                .iter()
                .any(|begin| is_prefix_of(begin, literal))
        }
    }
}

#[cfg(test)]
mod tests;
