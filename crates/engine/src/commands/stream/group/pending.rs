//! Pending entries: XACK and XPENDING.

use smallvec::SmallVec;
use values::StreamId;
use values::stream::{Group as ConsumerGroup, Pending};

use super::{CONSUMER, GROUP, IDS, StreamReply, ids, no_group};
use crate::command::*;
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

pub(crate) const XACK: CommandSpec = CommandSpec::new("xack", -4, xack)
    .group(Group::Stream)
    .since("5.0.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .summary("Acknowledges pending entries and returns how many were pending.")
    .complexity("O(log(N)) for each id with N pending entries.")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))])
    .args(&[Arg::KEY, GROUP, IDS]);

fn xack(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (key, name) = (ctx.key(1), ctx.arg(2));
    let stream = ctx.data.stream_mut(key)?;
    let Some(group) = stream.and_then(|stream| stream.groups_mut().get_mut(name)) else {
        ctx.reply.integer(0);
        return Ok(Outcome::Done);
    };
    let ids = ctx.args.skip(3).iter().map(|text| ids::strict(text, 0));
    let ids: SmallVec<[StreamId; 8]> = ids.collect::<Result<_, CommandError>>()?;
    let known = ids.iter().filter(|id| group.remove_pending(**id).is_some());
    let acknowledged = known.count();
    ctx.data.effects.add_dirty(acknowledged as u64);
    ctx.reply.integer(acknowledged as i64);
    Ok(Outcome::Done)
}

pub(crate) const XPENDING: CommandSpec = CommandSpec::new("xpending", -3, xpending)
    .group(Group::Stream)
    .since("5.0.0")
    .flags(Flags::READONLY)
    .summary("Returns the pending entries of a group or of one of its consumers.")
    .complexity(
        "O(N) in the number of pending entries looked at; the summary O(M) in the number of \
         consumers.",
    )
    .hints(&["nondeterministic_output"])
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[
        Arg::KEY,
        GROUP,
        Arg::block("filters").optional().args(&[
            Arg::integer("min-idle-time").option("IDLE").since("6.2.0"),
            Arg::string("start"),
            Arg::string("end"),
            Arg::integer("count"),
            CONSUMER.optional(),
        ]),
    ]);

/// Which pending entries are listed.
struct Filter<'a> {
    min_idle_ms: u64,
    start: StreamId,
    end: StreamId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

impl<'a> Filter<'a> {
    /// `None` asks for the summary.
    fn parse(ctx: &Context<'a, '_>) -> Result<Option<Self>, CommandError> {
        let argc = ctx.args.len();
        if argc == 3 {
            return Ok(None);
        }
        if !(6..=9).contains(&argc) {
            return Err(CommandError::Syntax);
        }
        let mut at = 3;
        let mut min_idle_ms = 0;
        if ctx.is_word(3, "idle") {
            min_idle_ms = u64::try_from(ctx.integer(4)?).unwrap_or(0);
            if argc < 8 {
                return Err(CommandError::Syntax);
            }
            at = 5;
        }
        let count = usize::try_from(ctx.integer(at + 2)?).unwrap_or(0);
        Ok(Some(Self {
            min_idle_ms,
            start: ids::range_start(ctx.arg(at))?,
            end: ids::range_end(ctx.arg(at + 1))?,
            count,
            consumer: ctx.args.get(at + 3),
        }))
    }
}

fn xpending(ctx: &mut Context<'_, '_>) -> CommandResult {
    let filter = Filter::parse(ctx)?;
    let (key, name, now_ms) = (ctx.key(1), ctx.arg(2), ctx.data.now_ms);
    let stream = ctx.data.stream(key)?;
    let group = stream.and_then(|stream| stream.groups().get(name));
    let group = group.ok_or_else(|| no_group(key, name))?;
    match filter {
        None => summary(&mut ctx.reply, group),
        Some(filter) => list(&mut ctx.reply, group, &filter, now_ms),
    }
    Ok(Outcome::Done)
}

fn summary(reply: &mut resp::Reply<'_>, group: &ConsumerGroup) {
    reply.array(4);
    reply.integer(group.pending_len() as i64);
    let mut pending = group.pending_range(StreamId::MIN, StreamId::MAX);
    let Some((first, _)) = pending.next() else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    let last = pending.next_back().map_or(first, |(id, _)| id);
    reply.id(first);
    reply.id(last);
    let array = reply.defer();
    let mut len = 0;
    let busy = group.consumers().filter(|(_, it)| it.pending_len() > 0);
    for (_, consumer) in busy {
        reply.array(2);
        reply.bulk(consumer.name());
        reply.integer_bulk(consumer.pending_len() as i64);
        len += 1;
    }
    reply.finish_array(array, len);
}

fn list(reply: &mut resp::Reply<'_>, group: &ConsumerGroup, filter: &Filter<'_>, now_ms: u64) {
    let (start, end) = (filter.start, filter.end);
    let Some(name) = filter.consumer else {
        let pending = group.pending_range(start, end);
        return write(reply, group, filter, now_ms, pending);
    };
    let consumer = group.find_consumer(name).and_then(|id| group.consumer(id));
    let Some(consumer) = consumer else {
        reply.empty_array();
        return;
    };
    let ids = consumer.pending_ids(start, end);
    let pending = ids.filter_map(|id| Some((id, group.pending(id)?)));
    write(reply, group, filter, now_ms, pending);
}

fn write(
    reply: &mut resp::Reply<'_>,
    group: &ConsumerGroup,
    filter: &Filter<'_>,
    now_ms: u64,
    pending: impl Iterator<Item = (StreamId, Pending)>,
) {
    let idle_ms = |pending: &Pending| now_ms.saturating_sub(pending.delivered_ms);
    let array = reply.defer();
    let mut len = 0;
    let is_idle =
        |pending: &Pending| pending.consumer.is_none() || idle_ms(pending) >= filter.min_idle_ms;
    let idle = pending.filter(|(_, it)| is_idle(it));
    for (id, pending) in idle.take(filter.count) {
        reply.array(4);
        reply.id(id);
        let consumer = pending.consumer.and_then(|id| group.consumer(id));
        reply.bulk(consumer.map_or(b"", |consumer| consumer.name()));
        // An entry without a consumer has no idle time.
        reply.integer(consumer.map_or(-1, |_| idle_ms(&pending) as i64));
        reply.integer(pending.deliveries as i64);
        len += 1;
    }
    reply.finish_array(array, len);
}
