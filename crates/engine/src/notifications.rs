//! Keyspace notifications: changes of keys as messages of publish/subscribe.
//!
//! `notify-keyspace-events` says which classes of events are sent, and on which channels:
//!
//! ```text
//! K  __keyspace@<db>__:<key>              <event>
//! E  __keyevent@<db>__:<event>            <key>
//! S  __subkeyspace@<db>__:<key>           <event>|<elements>
//! T  __subkeyevent@<db>__:<event>         <length>:<key>|<elements>
//! I  __subkeyspaceitem@<db>__:<key>\n<element>   <event>, once for each element
//! V  __subkeyspaceevent@<db>__:<event>|<key>     <elements>
//! ```
//!
//! `<elements>` is `<length>:<element>[,<length>:<element>...]`: the fields or members that the
//! event is about. Events are sent by [`crate::key_changes`], behind the append to the log and
//! under the locks of the change. Nothing is noted while no class is switched on or no subscription
//! could match the channel of an event.

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::config::{Config, P, events};
use crate::key_changes::EventClass;
use crate::listeners::KeyListeners;
use crate::outboxes::Outboxes;
use crate::pubsub::{PubSub, PublishedAs};

/// An event of one key.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Database.
    pub db: u32,
    /// The key.
    pub key: &'a [u8],
    /// Its class.
    pub class: EventClass,
    /// Its name.
    pub name: &'static str,
    /// The elements (fields, members) that it is about, where it names them.
    pub elements: &'a [Vec<u8>],
    /// The log must be flushed up to this offset before the message leaves.
    pub after: u64,
}

/// Which events are sent.
#[derive(Default)]
pub struct Notifications {
    /// The bits of `notify-keyspace-events`.
    mask: AtomicU32,
    /// Held while what the listeners of key changes want is worked out.
    deciding: Mutex<()>,
}

/// Bits of the channels that name elements.
const ELEMENT_CHANNELS: i64 =
    events::SUBKEYSPACE | events::SUBKEYEVENT | events::SUBKEYSPACEITEM | events::SUBKEYSPACEEVENT;

impl Notifications {
    /// Has to be called when the parameter has changed, or the subscriptions that could match the
    /// channel of an event.
    pub fn refresh(
        &self,
        config: &Config,
        listeners: &KeyListeners,
        has_subscribers: impl Fn() -> bool,
    ) {
        let held = self.deciding.lock().unwrap_or_else(PoisonError::into_inner);
        let mask = config.int(P::NotifyKeyspaceEvents);
        self.mask
            .store(u32::try_from(mask).unwrap_or(0), Ordering::Relaxed);
        let is_heard = has_subscribers();
        let names_elements = mask & ELEMENT_CHANNELS != 0;
        let has_channel = names_elements || mask & (events::KEYSPACE | events::KEYEVENT) != 0;
        listeners.listen_to_events(is_heard && has_channel);
        listeners.listen_to_elements(is_heard && names_elements);
        drop(held);
    }

    /// Sends an event, when its class is switched on.
    pub fn send(&self, pubsub: &PubSub, outboxes: &Outboxes, event: &Event<'_>) {
        let mask = i64::from(self.mask.load(Ordering::Relaxed));
        if mask & event.class.bit() == 0 {
            return;
        }
        let mut sender = Sender {
            pubsub,
            outboxes,
            event,
            channel: Vec::with_capacity(64),
        };
        let (key, name) = (event.key, event.name.as_bytes());
        if mask & events::KEYSPACE != 0 {
            sender.send("keyspace", &[key], name);
        }
        if mask & events::KEYEVENT != 0 {
            sender.send("keyevent", &[name], key);
        }
        if mask & ELEMENT_CHANNELS != 0 && !event.elements.is_empty() {
            sender.send_elements(mask);
        }
    }
}

struct Sender<'a> {
    pubsub: &'a PubSub,
    outboxes: &'a Outboxes,
    event: &'a Event<'a>,
    /// Reused from one channel to the next.
    channel: Vec<u8>,
}

impl Sender<'_> {
    fn send(&mut self, kind: &str, parts: &[&[u8]], payload: &[u8]) {
        self.channel.clear();
        // Writing to memory does not fail.
        let _ = write!(self.channel, "__{kind}@{}__:", self.event.db);
        for part in parts {
            self.channel.extend_from_slice(part);
        }
        let way = PublishedAs::Message;
        let after = self.event.after;
        self.pubsub
            .publish(self.outboxes, way, &self.channel, payload, after);
    }

    /// The channels that name elements. One whose parts could not be told apart is left out.
    fn send_elements(&mut self, mask: i64) {
        let Event {
            key,
            name,
            elements,
            ..
        } = *self.event;
        let list = listed(elements);
        let is_plain = !name.contains('|');
        let name = name.as_bytes();
        if mask & events::SUBKEYSPACE != 0 && is_plain {
            self.send("subkeyspace", &[key], &[name, b"|", &list].concat());
        }
        if mask & events::SUBKEYEVENT != 0 {
            let length = format!("{}:", key.len());
            let payload = [length.as_bytes(), key, b"|", &list].concat();
            self.send("subkeyevent", &[name], &payload);
        }
        if mask & events::SUBKEYSPACEITEM != 0 && !key.contains(&b'\n') {
            for element in elements {
                self.send("subkeyspaceitem", &[key, b"\n", element], name);
            }
        }
        if mask & events::SUBKEYSPACEEVENT != 0 && is_plain {
            self.send("subkeyspaceevent", &[name, b"|", key], &list);
        }
    }
}

/// `<length>:<element>[,<length>:<element>...]`
fn listed(elements: &[Vec<u8>]) -> Vec<u8> {
    let mut list = Vec::new();
    for element in elements {
        if !list.is_empty() {
            list.push(b',');
        }
        // Writing to memory does not fail.
        let _ = write!(list, "{}:", element.len());
        list.extend_from_slice(element);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_listed_with_their_lengths() {
        assert_eq!(listed(&[]), b"");
        let elements = [b"abc".to_vec(), Vec::new(), b"a,b".to_vec()];
        assert_eq!(listed(&elements), b"3:abc,0:,3:a,b");
    }
}
