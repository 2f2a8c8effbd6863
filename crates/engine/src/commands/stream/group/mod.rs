//! Consumer groups.
//!
//! Reads of a group are logged by their effects, never as the request: an XCLAIM for each entry
//! with its consumer and delivery time, XGROUP SETID for the last delivered id, XGROUP
//! CREATECONSUMER for a new consumer without entries.

mod claim;
mod info;
mod manage;
mod pending;
mod position;
mod read;
mod release;

use values::StreamId;
use values::stream::{ConsumerId, Group, ID_TEXT, Pending};

pub(super) use claim::{XAUTOCLAIM, XCLAIM};
pub(super) use info::XINFO;
pub(super) use manage::XGROUP;
pub(super) use pending::{XACK, XPENDING};
pub(super) use read::XREADGROUP;
pub(super) use release::{XACKDEL, XDELEX, XNACK};

use super::{StreamReply, ids, range};
use crate::command::Arg;
use crate::context::{Context, EventClass};
use crate::error::CommandError;
use crate::keys::Key;

/// Documented argument: the group.
const GROUP: Arg = Arg::string("group");

/// Documented argument: the consumer.
const CONSUMER: Arg = Arg::string("consumer");

/// Documented argument: ids.
const IDS: Arg = Arg::string("ID").multiple();

/// An error line of several parts, each up to its first NUL as in Redis.
fn line(parts: &[&[u8]]) -> CommandError {
    let mut line = Vec::new();
    for part in parts {
        let end = part.iter().position(|byte| *byte == 0);
        line.extend_from_slice(part.get(..end.unwrap_or(part.len())).unwrap_or_default());
    }
    CommandError::Bytes(line)
}

/// There is no such group, or not even the key.
fn no_group(key: Key<'_>, group: &[u8]) -> CommandError {
    line(&[
        b"NOGROUP No such key '",
        key.bytes,
        b"' or consumer group '",
        group,
        b"'",
    ])
}

/// The stream has no such group.
fn no_group_in(key: Key<'_>, group: &[u8]) -> CommandError {
    line(&[
        b"NOGROUP No such consumer group '",
        group,
        b"' for key name '",
        key.bytes,
        b"'",
    ])
}

/// Finds or creates the consumer of a request, and sets its last attempt. Returns whether it was
/// created.
fn enter(group: &mut Group, name: &[u8], now_ms: u64) -> Result<(ConsumerId, bool), CommandError> {
    let (id, is_new) = match group.find_consumer(name) {
        Some(id) => (id, false),
        None => match group.create_consumer(name, now_ms) {
            Some(id) => (id, true),
            None => return Err(CommandError::line("ERR the group has too many consumers")),
        },
    };
    if let Some(consumer) = group.consumer_mut(id) {
        consumer.seen_ms = now_ms;
    }
    Ok((id, is_new))
}

/// Sets when a consumer was last active.
fn set_active(group: &mut Group, consumer: ConsumerId, now_ms: u64) {
    if let Some(consumer) = group.consumer_mut(consumer) {
        consumer.active_ms = Some(now_ms);
    }
}

/// A pending entry that is delivered once more.
fn delivered_again(pending: Pending) -> u64 {
    // Replies and the log have room for signed numbers.
    let max = i64::MAX as u64;
    pending.deliveries.saturating_add(1).min(max)
}

/// A pending entry, for the log.
struct Claim<'a> {
    /// Name of its consumer.
    consumer: &'a [u8],
    id: StreamId,
    delivered_ms: u64,
    deliveries: u64,
    /// The group's last delivered id at that point.
    last_id: StreamId,
}

impl Context<'_, '_> {
    /// Announces a consumer that a command has created.
    fn consumer_created(&mut self, key: Key<'_>) {
        self.data.effects.add_dirty(1);
        self.data
            .notify(EventClass::Stream, "xgroup-createconsumer", key);
    }

    fn log_claim(&mut self, key: Key<'_>, group: &[u8], claim: &Claim<'_>) {
        self.propagate(&[
            b"XCLAIM",
            key.bytes,
            group,
            claim.consumer,
            b"0",
            claim.id.text(&mut { ID_TEXT }),
            b"TIME",
            itoa::Buffer::new().format(claim.delivered_ms).as_bytes(),
            b"RETRYCOUNT",
            itoa::Buffer::new().format(claim.deliveries).as_bytes(),
            b"FORCE",
            b"JUSTID",
            b"LASTID",
            claim.last_id.text(&mut { ID_TEXT }),
        ]);
    }

    fn log_position(
        &mut self,
        key: Key<'_>,
        group: &[u8],
        last_id: StreamId,
        entries_read: Option<u64>,
    ) {
        let mut room = itoa::Buffer::new();
        self.propagate(&[
            b"XGROUP",
            b"SETID",
            key.bytes,
            group,
            last_id.text(&mut { ID_TEXT }),
            b"ENTRIESREAD",
            entries_read
                .map_or("-1", |count| room.format(count))
                .as_bytes(),
        ]);
    }

    fn log_consumer(&mut self, key: Key<'_>, group: &[u8], consumer: &[u8]) {
        self.propagate(&[b"XGROUP", b"CREATECONSUMER", key.bytes, group, consumer]);
    }
}
