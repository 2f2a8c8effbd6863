//! XREADGROUP: new entries of the stream, or the pending entries of a consumer.

use keyspace::{Type, ValueRef};
use resp::{Deferred, Protocol, Reply};
use smallvec::SmallVec;
use values::stream::{ConsumerId, Entries, Entry, Group as ConsumerGroup, Pending};
use values::{Stream, StreamId};

use super::super::read::{
    Budget, Limits, MAX_COUNT, MAX_SIZE, MILLISECONDS, STREAMS, STREAMS_KEYS, block_deadline,
};
use super::{
    CONSUMER, Claim, GROUP, StreamReply, delivered_again, enter, ids, line, position, set_active,
};
use crate::command::KeyPosition;
use crate::command::*;
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::blocking::LOOK_AGAIN_MIN_MS;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::keys::Key;
use crate::wait::{Block, Wakes};

pub(crate) const XREADGROUP: CommandSpec = CommandSpec::new("xreadgroup", -7, xreadgroup)
    .group(Group::Stream)
    .since("5.0.0")
    .flags(Flags::BLOCKING.or(Flags::WRITE))
    .summary(
        "Returns entries to a consumer of a group: new ones, or what it has pending; waits \
         until there are some.",
    )
    .complexity("O(N*log(M)) with N entries returned and M pending.")
    .keys(&[KeySpec {
        flags: KEY_FLAGS,
        begin: BeginSearch::Keyword {
            keyword: "STREAMS",
            start: 4,
        },
        ..STREAMS_KEYS
    }])
    .find_keys(find_keys)
    .args(&[
        Arg::block("group-block")
            .token("GROUP")
            .args(&[GROUP, CONSUMER]),
        Arg::COUNT,
        MAX_COUNT,
        MAX_SIZE,
        MILLISECONDS,
        Arg::integer("min-idle-time").option("CLAIM").since("8.4.0"),
        Arg::flag("noack", "NOACK"),
        STREAMS,
    ]);

const KEY_FLAGS: KeyFlags = KeyFlags::RO.or(KeyFlags::ACCESS);

/// The keys, where the group or the consumer may be called STREAMS.
fn find_keys(args: resp::Args<'_>) -> KeyPositions {
    let mut at = 1;
    while let Some(option) = args.get(at) {
        let is = |word: &str| option.eq_ignore_ascii_case(word.as_bytes());
        at += match () {
            () if ["block", "count", "maxcount", "maxsize", "claim"]
                .into_iter()
                .any(is) =>
            {
                2
            }
            () if is("group") => 3,
            () if is("noack") => 1,
            () if is("streams") => {
                let first = at + 1;
                let rest = args.len() - first;
                let keys = if rest.is_multiple_of(2) { rest / 2 } else { 0 };
                let position = |index| KeyPosition {
                    index,
                    flags: KEY_FLAGS.0,
                };
                return (first..first + keys).map(position).collect();
            }
            () => break,
        };
    }
    KeyPositions::new()
}

/// A parsed XREADGROUP, except for the ids.
struct Reading<'a> {
    group: &'a [u8],
    consumer: &'a [u8],
    limits: Limits,
    /// When waiting ends; `None` does not wait, `Some(None)` waits for ever.
    wait: Option<Option<u64>>,
    /// NOACK: delivered entries do not become pending.
    no_ack: bool,
    /// CLAIM: entries that have been pending for so many milliseconds are delivered first.
    claim_ms: Option<u64>,
    /// Index of the first key.
    keys_at: usize,
    /// How many keys there are.
    keys: usize,
}

/// The idle time of CLAIM.
fn claim_ms(ctx: &Context<'_, '_>, index: usize) -> Result<u64, CommandError> {
    let ms = ctx
        .integer(index)
        .map_err(|_| CommandError::line("ERR min-idle-time is not an integer"))?;
    u64::try_from(ms)
        .map_err(|_| CommandError::line("ERR min-idle-time must be a positive integer"))
}

/// The entries that a consumer asks for in one stream.
#[derive(Clone, Copy)]
enum Wanted {
    /// `>`: entries that the group has not read.
    New,
    /// The consumer's pending entries behind an id.
    Pending(StreamId),
}

impl<'a> Reading<'a> {
    fn parse(ctx: &Context<'a, '_>) -> Result<Self, CommandError> {
        let mut reading = Self {
            group: b"",
            consumer: b"",
            limits: Limits::NONE,
            wait: None,
            no_ack: false,
            claim_ms: None,
            keys_at: 0,
            keys: 0,
        };
        let mut has_group = false;
        let mut at = 1;
        while at < ctx.args.len() && reading.keys_at == 0 {
            let more = ctx.args.len() - at - 1;
            let is = |word| ctx.is_word(at, word);
            if is("block") && more >= 1 {
                reading.wait = Some(block_deadline(ctx, at + 1)?);
                at += 2;
            } else if reading.limits.take(ctx, at)? {
                at += 2;
            } else if is("streams") && more >= 1 {
                if !more.is_multiple_of(2) {
                    return Err(CommandError::line(
                        "ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified.",
                    ));
                }
                reading.keys_at = at + 1;
                reading.keys = more / 2;
            } else if is("group") && more >= 2 {
                (reading.group, reading.consumer) = (ctx.arg(at + 1), ctx.arg(at + 2));
                has_group = true;
                at += 3;
            } else if is("claim") && more >= 1 {
                reading.claim_ms = Some(claim_ms(ctx, at + 1)?);
                at += 2;
            } else if is("noack") {
                reading.no_ack = true;
                at += 1;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        match reading.keys_at {
            0 => Err(CommandError::Syntax),
            _ if !has_group => Err(CommandError::line(
                "ERR Missing GROUP option for XREADGROUP",
            )),
            _ => reading.limits.check().map(|()| reading),
        }
    }

    /// The requested entries of each stream; all streams and groups must exist.
    fn wanted(&self, ctx: &mut Context<'_, '_>) -> Result<SmallVec<[Wanted; 8]>, CommandError> {
        let mut wanted = SmallVec::new();
        for index in self.keys_at..self.keys_at + self.keys {
            let key = ctx.key(index);
            let stream = ctx.data.stream(key)?;
            if stream.is_none_or(|stream| stream.groups().get(self.group).is_none()) {
                return Err(line(&[
                    b"NOGROUP No such key '",
                    key.bytes,
                    b"' or consumer group '",
                    self.group,
                    b"' in XREADGROUP with GROUP option",
                ]));
            }
            wanted.push(match ctx.args.arg(index + self.keys) {
                b">" => Wanted::New,
                b"$" => return Err(CommandError::line(MEANINGLESS_DOLLAR)),
                b"+" => return Err(CommandError::line(MEANINGLESS_PLUS)),
                text => match ids::strict(text, 0)? {
                    StreamId::MAX => Wanted::New,
                    id => Wanted::Pending(id),
                },
            });
        }
        Ok(wanted)
    }
}

const MEANINGLESS_DOLLAR: &str = "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the \
    history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just \
    return an empty result set.";

const MEANINGLESS_PLUS: &str = "ERR The + ID is meaningless in the context of XREADGROUP: you want to read the \
    history of this consumer by specifying a proper ID, or use the > ID to get new messages. The + ID would just \
    return an empty result set.";

fn xreadgroup(ctx: &mut Context<'_, '_>) -> CommandResult {
    let reading = Reading::parse(ctx)?;
    let wanted = reading.wanted(ctx)?;
    ctx.suppress_propagation();
    let mut streams = None;
    let mut served = 0;
    let mut budget = reading.limits.budget(&ctx.reply);
    for (index, wanted) in (reading.keys_at..).zip(wanted) {
        if budget.is_spent(&ctx.reply) {
            break;
        }
        let key = ctx.key(index);
        let visit = visit(ctx, &reading, (key, wanted), &mut streams, &mut budget)?;
        served += usize::from(visit.is_served);
        settle(ctx, &reading, key, &visit);
    }
    match (streams, ctx.reply.protocol) {
        (None, _) => return wait(ctx, &reading),
        (Some(streams), Protocol::Resp2) => ctx.reply.finish_array(streams, served),
        (Some(streams), Protocol::Resp3) => ctx.reply.finish_map(streams, served),
    }
    Ok(Outcome::Done)
}

/// The changes of reading one stream.
#[derive(Default)]
struct Visit {
    /// The consumer was made.
    is_new: bool,
    /// The stream stands in the reply.
    is_served: bool,
    /// The group has read on, or the consumer has got what was pending.
    delivers: bool,
    /// Deliveries of entries that are pending now, for the log.
    delivered: SmallVec<[Delivery; 8]>,
    /// The group's last delivered id and its count, if they have changed.
    position: Option<(StreamId, Option<u64>)>,
}

/// An entry that has just been delivered.
struct Delivery {
    id: StreamId,
    deliveries: u64,
    /// The group's last delivered id at that point.
    last_id: StreamId,
}

/// Reads one stream. The reply begins with the first stream that has entries.
fn visit(
    ctx: &mut Context<'_, '_>,
    reading: &Reading<'_>,
    (key, wanted): (Key<'_>, Wanted),
    streams: &mut Option<Deferred>,
    budget: &mut Budget,
) -> Result<Visit, CommandError> {
    let mut visit = Visit::default();
    let (now_ms, logs) = (ctx.data.now_ms, ctx.engine.is_logging());
    let Some((entries, groups)) = ctx.data.stream_mut(key)?.map(Stream::parts_mut) else {
        return Ok(visit);
    };
    let Some(group) = groups.get_mut(reading.group) else {
        return Ok(visit);
    };
    let (consumer, is_new) = enter(group, reading.consumer, now_ms)?;
    visit.is_new = is_new;
    let count = reading.limits.count;
    let claimable = match (wanted, reading.claim_ms) {
        (Wanted::New, Some(min_ms)) => claimable(entries, group, min_ms, now_ms, count),
        _ => Vec::new(),
    };
    let has_new = entries.last().is_some_and(|last| last.id > group.last_id);
    visit.delivers = has_new || !claimable.is_empty();
    // What a consumer has pending is read once more: nothing of that is logged, or a change.
    visit.is_served = visit.delivers || matches!(wanted, Wanted::Pending(_));
    if !visit.is_served {
        return Ok(visit);
    }
    streams.get_or_insert_with(|| ctx.reply.defer());
    if ctx.reply.protocol == Protocol::Resp2 {
        ctx.reply.array(2);
    }
    ctx.reply.bulk(key.bytes);
    let array = ctx.reply.defer();
    let mut pass = Pass {
        reply: &mut ctx.reply,
        entries,
        group,
        consumer,
        now_ms,
        budget,
        delivered: logs.then_some(&mut visit.delivered),
    };
    let len = match wanted {
        Wanted::Pending(after) => pass.pending(after, count),
        Wanted::New => {
            let claimed = pass.claimed(claimable);
            let fresh = pass.fresh(reading, count - claimed);
            if fresh > 0 {
                visit.position = Some((group.last_id, group.entries_read));
            }
            claimed + fresh
        }
    };
    ctx.reply.finish_array(array, len);
    Ok(visit)
}

/// Up to `count` entries that have been pending for `min_ms`: those without a consumer first, then
/// in the order of their delivery times.
fn claimable(
    entries: &Entries,
    group: &ConsumerGroup,
    min_ms: u64,
    now_ms: u64,
    count: usize,
) -> Vec<(StreamId, Pending)> {
    // The clock may have gone back since a delivery, so with an idle time of 0 all entries are
    // claimable.
    let until_ms = match min_ms {
        0 => u64::MAX - 1,
        _ => now_ms.saturating_sub(min_ms),
    };
    group.claimable(until_ms, count, |id| entries.contains(id))
}

/// Delivers entries of one stream to one consumer. Each method returns how many.
struct Pass<'a, 'r> {
    reply: &'a mut Reply<'r>,
    entries: &'a Entries,
    group: &'a mut ConsumerGroup,
    consumer: ConsumerId,
    now_ms: u64,
    budget: &'a mut Budget,
    delivered: Option<&'a mut SmallVec<[Delivery; 8]>>,
}

impl Pass<'_, '_> {
    /// Delivers the consumer's pending entries behind an id again. Deleted entries have only their
    /// id.
    fn pending(&mut self, after: StreamId, count: usize) -> usize {
        let mut next = after.next();
        let mut len = 0;
        while let Some((id, pending)) = next
            .filter(|_| len < count)
            .and_then(|from| self.pending_from(from))
        {
            if !self.budget.takes(self.reply) {
                break;
            }
            if let Some(entry) = self.entries.get(id) {
                self.reply.entry(entry);
                let again = Pending {
                    delivered_ms: self.now_ms,
                    deliveries: delivered_again(pending),
                    ..pending
                };
                self.group.set_pending(id, again);
            } else {
                self.reply.array(2);
                self.reply.id(id);
                self.reply.null_array();
            }
            next = id.next();
            len += 1;
        }
        len
    }

    /// The first entry from an id on that the consumer has pending.
    fn pending_from(&self, from: StreamId) -> Option<(StreamId, Pending)> {
        let consumer = self.group.consumer(self.consumer)?;
        let id = consumer.pending_ids(from, StreamId::MAX).next()?;
        Some((id, self.group.pending(id)?))
    }

    /// Delivers claimable entries.
    fn claimed(&mut self, claimable: Vec<(StreamId, Pending)>) -> usize {
        let mut len = 0;
        for (id, before) in claimable {
            let Some(entry) = self.entries.get(id) else {
                continue;
            };
            if !self.budget.takes(self.reply) {
                break;
            }
            len += 1;
            let idle_ms = match before.consumer {
                Some(_) => self.now_ms.saturating_sub(before.delivered_ms) as i64,
                None => -1,
            };
            self.reply.array(4);
            self.parts(entry);
            self.reply.integer(idle_ms);
            self.reply.integer(before.deliveries as i64);
            self.deliver(id, delivered_again(before));
        }
        len
    }

    /// Delivers entries that the group has not read.
    fn fresh(&mut self, reading: &Reading<'_>, count: usize) -> usize {
        let start = self.group.last_id.next();
        let entries = self.entries;
        let fresh = start.map(|start| entries.range(start, StreamId::MAX).take(count));
        let mut len = 0;
        for entry in fresh.into_iter().flatten() {
            if !self.budget.takes(self.reply) {
                break;
            }
            let id = entry.id;
            position::advance(entries, self.group, id);
            if reading.claim_ms.is_some() {
                self.reply.array(4);
                self.parts(entry);
                self.reply.integer(0);
                self.reply.integer(0);
            } else {
                self.reply.entry(entry);
            }
            if !reading.no_ack {
                self.deliver(id, 1);
            }
            len += 1;
        }
        len
    }

    /// The id of an entry, its names and values.
    fn parts(&mut self, entry: Entry<'_>) {
        self.reply.id(entry.id);
        self.reply.fields(entry.fields);
    }

    /// Makes the entry pending for the consumer.
    fn deliver(&mut self, id: StreamId, deliveries: u64) {
        let pending = Pending {
            consumer: Some(self.consumer),
            delivered_ms: self.now_ms,
            deliveries,
        };
        self.group.set_pending(id, pending);
        set_active(self.group, self.consumer, self.now_ms);
        if let Some(delivered) = &mut self.delivered {
            delivered.push(Delivery {
                id,
                deliveries,
                last_id: self.group.last_id,
            });
        }
    }
}

/// Counts, announces and logs the changes of reading one stream.
fn settle(ctx: &mut Context<'_, '_>, reading: &Reading<'_>, key: Key<'_>, visit: &Visit) {
    if visit.is_new {
        ctx.consumer_created(key);
        // In a replay of the log, the XCLAIM of an entry creates the consumer.
        if visit.delivered.is_empty() {
            ctx.log_consumer(key, reading.group, reading.consumer);
        }
    }
    if visit.delivers {
        ctx.data.effects.add_dirty(1);
    }
    for delivery in &visit.delivered {
        let claim = Claim {
            consumer: reading.consumer,
            id: delivery.id,
            delivered_ms: ctx.data.now_ms,
            deliveries: delivery.deliveries,
            last_id: delivery.last_id,
        };
        ctx.log_claim(key, reading.group, &claim);
    }
    if let Some((last_id, entries_read)) = visit.position {
        ctx.log_position(key, reading.group, last_id, entries_read);
    }
}

/// When the next entry becomes claimable for CLAIM. Entries that are delivered meanwhile become
/// claimable a whole idle time later at the earliest.
fn claimable_at(ctx: &mut Context<'_, '_>, reading: &Reading<'_>) -> Option<u64> {
    let (min_ms, now_ms) = (reading.claim_ms?, ctx.data.now_ms);
    let mut first = now_ms.saturating_add(min_ms);
    for index in reading.keys_at..reading.keys_at + reading.keys {
        let key = ctx.key(index);
        let Some(ValueRef::Stream(stream)) = ctx.data.peek(key).map(|entry| entry.value()) else {
            continue;
        };
        let Some(group) = stream.groups().get(reading.group) else {
            continue;
        };
        // Entries that are claimable now and were not delivered are deleted ones.
        if let Some(delivered_ms) = group.next_delivered(now_ms.saturating_sub(min_ms)) {
            first = first.min(delivered_ms.saturating_add(min_ms));
        }
    }
    let wait_ms = first.saturating_sub(now_ms).max(LOOK_AGAIN_MIN_MS);
    ctx.engine.clock.steady_ms_after(wait_ms)
}

/// Blocks the client, because there is no entry yet.
fn wait(ctx: &mut Context<'_, '_>, reading: &Reading<'_>) -> CommandResult {
    let Some(deadline_ms) = reading.wait.filter(|_| ctx.may_block()) else {
        ctx.reply.null_array();
        return Ok(Outcome::Done);
    };
    ctx.session.look_again_ms = claimable_at(ctx, reading);
    let keys = reading.keys_at..reading.keys_at + reading.keys;
    Ok(Outcome::Block(Block::Keys {
        keys: keys.map(|at| ctx.arg(at).to_vec()).collect(),
        deadline_ms,
        wakes: Wakes {
            kind: Type::Stream,
            removal: true,
        },
    }))
}
