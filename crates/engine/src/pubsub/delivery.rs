//! The way of a message into the outboxes of its receivers.

use std::cell::OnceCell;
use std::sync::Arc;

use resp::{Output, Protocol, Reply, SharedBytes};
use smallvec::SmallVec;

use super::subscribers::Subscribers;
use crate::client::{ClientShared, Posted};
use crate::outboxes::Outboxes;

/// How a message was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishedAs {
    /// PUBLISH, a keyspace event, an invalidation.
    Message,
    /// SPUBLISH
    ShardMessage,
}

/// What a message says. A large one is copied once and shared by all outboxes.
pub struct Payload<'a> {
    bytes: &'a [u8],
    shared: OnceCell<SharedBytes>,
}

/// From this size on outboxes share what they would copy otherwise, in bytes: as
/// [`Output::shared`].
const SHARED_MIN: usize = 16 * 1024;

impl<'a> Payload<'a> {
    /// A payload.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            shared: OnceCell::new(),
        }
    }

    fn is_shared(&self) -> bool {
        self.bytes.len() >= SHARED_MIN
    }

    fn write(&self, out: &mut Output) {
        let mut reply = Reply::new(out, Protocol::Resp2);
        if self.is_shared() {
            let shared = self.shared.get_or_init(|| Arc::new(self.bytes.to_vec()));
            reply.bulk_shared(Arc::clone(shared));
        } else {
            reply.bulk(self.bytes);
        }
    }
}

/// A message as one channel or pattern brings it, encoded once per protocol version.
pub(super) struct Message<'a> {
    /// What stands before the payload.
    head: SmallVec<[&'a [u8]; 3]>,
    payload: &'a Payload<'a>,
    encoded: [Option<Encoded>; 2],
}

/// Bytes for any number of outboxes.
#[derive(Default)]
struct Encoded {
    bytes: SmallVec<[u8; 256]>,
    /// In place of `bytes` when there are many.
    shared: Option<SharedBytes>,
}

impl<'a> Message<'a> {
    /// For the subscribers of the channel.
    pub(super) fn new(way: PublishedAs, channel: &'a [u8], payload: &'a Payload<'a>) -> Self {
        let word: &[u8] = match way {
            PublishedAs::Message => b"message",
            PublishedAs::ShardMessage => b"smessage",
        };
        Self {
            head: SmallVec::from_slice(&[word, channel]),
            payload,
            encoded: [None, None],
        }
    }

    /// For the subscribers of a pattern.
    pub(super) fn by_pattern(
        pattern: &'a [u8],
        channel: &'a [u8],
        payload: &'a Payload<'a>,
    ) -> Self {
        Self {
            head: SmallVec::from_slice(&[b"pmessage", pattern, channel]),
            payload,
            encoded: [None, None],
        }
    }

    pub(super) fn write(&mut self, out: &mut Output, protocol: Protocol) {
        let [resp2, resp3] = &mut self.encoded;
        let place = match protocol {
            Protocol::Resp2 => resp2,
            Protocol::Resp3 => resp3,
        };
        let encoded = place.get_or_insert_with(|| encode(&self.head, self.payload, protocol));
        match &encoded.shared {
            None => out.raw(&encoded.bytes),
            Some(bytes) => out.shared(Arc::clone(bytes)),
        }
        if self.payload.is_shared() {
            self.payload.write(out);
        }
    }
}

/// The message without a payload that is shared.
fn encode(head: &[&[u8]], payload: &Payload<'_>, protocol: Protocol) -> Encoded {
    let mut out = Output::new();
    let mut reply = Reply::new(&mut out, protocol);
    reply.push(head.len() + 1);
    head.iter().for_each(|part| reply.bulk(part));
    if !payload.is_shared() {
        payload.write(&mut out);
    }
    let mut encoded = Encoded::default();
    if out.len() >= SHARED_MIN {
        encoded.shared = Some(Arc::new(out.to_vec()));
    } else {
        let bytes = out.as_contiguous().unwrap_or_default();
        encoded.bytes.extend_from_slice(bytes);
    }
    encoded
}

/// Puts messages into outboxes and wakes the workers of their clients, each once.
pub(super) struct Delivery<'e> {
    outboxes: &'e Outboxes,
    after: u64,
    /// Clients whose workers are to be woken.
    announced: SmallVec<[Arc<ClientShared>; 4]>,
    receivers: usize,
}

impl<'e> Delivery<'e> {
    pub(super) fn new(outboxes: &'e Outboxes, after: u64) -> Self {
        Self {
            outboxes,
            after,
            announced: SmallVec::new(),
            receivers: 0,
        }
    }

    pub(super) fn send(&mut self, subscribers: &Subscribers, message: &mut Message<'_>) {
        for client in subscribers.iter() {
            let posted = self.outboxes.post(client, self.after, |out, protocol| {
                message.write(out, protocol)
            });
            if posted == Posted::First {
                self.announced.push(Arc::clone(client));
            }
        }
        self.receivers += subscribers.len();
    }

    /// Wakes the workers. Returns how many clients got a message.
    pub(super) fn finish(self) -> usize {
        if !self.announced.is_empty() {
            let clients: SmallVec<[&ClientShared; 4]> =
                self.announced.iter().map(|client| &**client).collect();
            self.outboxes.port.get().deliver(&clients);
        }
        self.receivers
    }
}
