//! Moving pending entries from one consumer to another: XCLAIM and XAUTOCLAIM.

use smallvec::SmallVec;
use values::stream::{ConsumerId, Entries, Group as ConsumerGroup, Pending};
use values::{Stream, StreamId};

use super::{
    CONSUMER, Claim, GROUP, IDS, StreamReply, delivered_again, enter, ids, line, no_group,
    set_active,
};
use crate::command::*;
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::keys::Key;

const MIN_IDLE: Arg = Arg::string("min-idle-time");

const JUST_ID: Arg = Arg::flag("justid", "JUSTID");

pub(crate) const XCLAIM: CommandSpec = CommandSpec::new("xclaim", -6, xclaim)
    .group(Group::Stream)
    .since("5.0.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .summary(
        "Gives pending entries to a consumer, if they have been idle for long enough, and \
         returns them.",
    )
    .complexity("O(log(N)) for each id with N pending entries.")
    .hints(&["nondeterministic_output"])
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))])
    .args(&[
        Arg::KEY,
        GROUP,
        CONSUMER,
        MIN_IDLE,
        IDS,
        Arg::integer("ms").option("IDLE"),
        Arg::unix_time("unix-time-milliseconds").option("TIME"),
        Arg::integer("count").option("RETRYCOUNT"),
        Arg::flag("force", "FORCE"),
        JUST_ID,
        Arg::string("lastid").option("LASTID"),
    ]);

/// How entries are claimed.
struct Terms {
    /// Entries that were delivered later are left alone.
    min_idle_ms: u64,
    /// When they count as delivered.
    delivered_ms: u64,
    /// How often they count as delivered; `None` counts this delivery, if it is one.
    deliveries: Option<u64>,
    /// Entries that are not pending become so.
    force: bool,
    /// The reply has ids only, which is no delivery.
    just_id: bool,
    last_id: StreamId,
}

impl Terms {
    fn is_idle(&self, pending: &Pending, now_ms: u64) -> bool {
        pending.consumer.is_none()
            || now_ms.saturating_sub(pending.delivered_ms) >= self.min_idle_ms
    }

    /// The pending entry as the consumer gets it; `None` was not pending.
    fn claimed(&self, before: Option<Pending>, consumer: ConsumerId) -> Pending {
        let deliveries = match (self.deliveries, before) {
            (Some(count), _) => count,
            (None, Some(before)) if self.just_id => before.deliveries,
            (None, Some(before)) => delivered_again(before),
            (None, None) => 1 + u64::from(!self.just_id),
        };
        Pending {
            consumer: Some(consumer),
            delivered_ms: self.delivered_ms,
            deliveries,
        }
    }
}

/// The idle time of both commands.
fn min_idle(ctx: &Context<'_, '_>, index: usize, error: &'static str) -> Result<u64, CommandError> {
    let ms = ctx.integer(index).map_err(|_| CommandError::line(error))?;
    Ok(u64::try_from(ms).unwrap_or(0))
}

/// The ids of an XCLAIM, and the index behind them.
fn claimed_ids(ctx: &Context<'_, '_>) -> (SmallVec<[StreamId; 8]>, usize) {
    let texts = ctx.args.skip(5);
    let ids = texts.iter().map_while(|text| ids::strict(text, 0).ok());
    let ids: SmallVec<[StreamId; 8]> = ids.collect();
    let end = 5 + ids.len();
    (ids, end)
}

/// The options of an XCLAIM, which begin at `at`.
fn claim_options(ctx: &Context<'_, '_>, at: usize) -> Result<Terms, CommandError> {
    let now_ms = ctx.data.now_ms;
    let mut terms = Terms {
        min_idle_ms: min_idle(ctx, 4, "ERR Invalid min-idle-time argument for XCLAIM")?,
        delivered_ms: now_ms,
        deliveries: None,
        force: false,
        just_id: false,
        last_id: StreamId::MIN,
    };
    let mut time = None;
    let mut at = at;
    while at < ctx.args.len() {
        let has_value = at + 1 < ctx.args.len();
        let is = |word| ctx.is_word(at, word);
        let value = |error| ctx.integer(at + 1).map_err(|_| CommandError::line(error));
        let mut width = 2;
        if is("force") {
            terms.force = true;
            width = 1;
        } else if is("justid") {
            terms.just_id = true;
            width = 1;
        } else if is("idle") && has_value {
            let idle = value("ERR Invalid IDLE option argument for XCLAIM")?;
            time = Some((now_ms as i64).saturating_sub(idle));
        } else if is("time") && has_value {
            time = Some(value("ERR Invalid TIME option argument for XCLAIM")?);
        } else if is("retrycount") && has_value {
            let count = value("ERR Invalid RETRYCOUNT option argument for XCLAIM")?;
            terms.deliveries = u64::try_from(count).ok();
        } else if is("lastid") && has_value {
            terms.last_id = ids::strict(ctx.arg(at + 1), 0)?;
        } else {
            return Err(line(&[
                b"ERR Unrecognized XCLAIM option '",
                ctx.arg(at),
                b"'",
            ]));
        }
        at += width;
    }
    // An invalid time comes from a wrong clock of the client and is ignored, as in Redis.
    let time = time.and_then(|time| u64::try_from(time).ok());
    terms.delivered_ms = time.filter(|time| *time <= now_ms).unwrap_or(now_ms);
    Ok(terms)
}

/// The change of one entry.
struct Change {
    id: StreamId,
    pending: Pending,
    /// The former consumer of a deleted entry, which is not pending any more; `Some(None)` when it
    /// had no consumer.
    gone_from: Option<Option<Box<[u8]>>>,
}

/// The changes of an XCLAIM or XAUTOCLAIM.
#[derive(Default)]
struct Changes {
    consumer_is_new: bool,
    /// Number of entries concerned.
    count: u64,
    /// These entries, when they are logged.
    entries: Vec<Change>,
    last_id: StreamId,
    /// The group is set to `last_id` and `entries_read`.
    position: Option<Option<u64>>,
}

impl Changes {
    fn claimed(&mut self, logs: bool, id: StreamId, pending: Pending) {
        self.count += 1;
        if logs {
            self.entries.push(Change {
                id,
                pending,
                gone_from: None,
            });
        }
    }

    /// Removes the pending entry of an entry that does not exist any more.
    fn gone(&mut self, logs: bool, group: &mut ConsumerGroup, id: StreamId) {
        let Some(pending) = group.remove_pending(id) else {
            return;
        };
        self.count += 1;
        if logs {
            let owner = pending.consumer.and_then(|id| group.consumer(id));
            self.entries.push(Change {
                id,
                pending,
                gone_from: Some(owner.map(|owner| owner.name().into())),
            });
        }
    }
}

fn xclaim(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (key, name) = (ctx.key(1), ctx.arg(2));
    let stream = ctx.data.stream(key)?;
    if stream.is_none_or(|stream| stream.groups().get(name).is_none()) {
        return Err(no_group(key, name));
    }
    let (ids, options_at) = claimed_ids(ctx);
    let terms = claim_options(ctx, options_at)?;
    ctx.suppress_propagation();
    let (now_ms, logs, consumer) = (ctx.data.now_ms, ctx.engine.is_logging(), ctx.arg(3));
    let Some((entries, groups)) = ctx.data.stream_mut(key)?.map(Stream::parts_mut) else {
        return Err(no_group(key, name));
    };
    let Some(group) = groups.get_mut(name) else {
        return Err(no_group(key, name));
    };
    let mut changes = Changes::default();
    let (consumer, is_new) = enter(group, consumer, now_ms)?;
    changes.consumer_is_new = is_new;
    if terms.last_id > group.last_id {
        group.last_id = terms.last_id;
        changes.position = Some(group.entries_read);
    }
    changes.last_id = group.last_id;
    let array = ctx.reply.defer();
    let mut len = 0;
    for id in ids {
        let before = group.pending(id);
        let is_claimable = match &before {
            Some(pending) => terms.is_idle(pending, now_ms),
            None => terms.force,
        };
        if before.is_none() && !is_claimable {
            continue;
        }
        let Some(entry) = entries.get(id) else {
            changes.gone(logs, group, id);
            continue;
        };
        if !is_claimable {
            continue;
        }
        let pending = terms.claimed(before, consumer);
        group.set_pending(id, pending);
        match terms.just_id {
            true => ctx.reply.id(id),
            false => ctx.reply.entry(entry),
        }
        changes.claimed(logs, id, pending);
        len += 1;
    }
    if len > 0 {
        set_active(group, consumer, now_ms);
    }
    ctx.reply.finish_array(array, len);
    settle(ctx, key, &changes);
    if len > 0 && terms.delivered_ms < now_ms {
        // The idle time has grown: a blocked XREADGROUP with CLAIM may claim the entry.
        ctx.data.signal_ready(key);
    }
    Ok(Outcome::Done)
}

/// Counts, announces and logs the changes of claiming. Both commands have their arguments in the
/// same places.
fn settle(ctx: &mut Context<'_, '_>, key: Key<'_>, changes: &Changes) {
    let (group, consumer) = (ctx.arg(2), ctx.arg(3));
    if changes.consumer_is_new {
        ctx.consumer_created(key);
        // In a replay of the log, the XCLAIM of an entry creates the consumer.
        if changes.entries.iter().all(|it| it.gone_from.is_some()) {
            ctx.log_consumer(key, group, consumer);
        }
    }
    ctx.data.effects.add_dirty(changes.count);
    for change in &changes.entries {
        let owner = match &change.gone_from {
            None => consumer,
            Some(Some(owner)) => owner,
            Some(None) => {
                let id = &change.id.text(&mut { values::stream::ID_TEXT }).to_vec();
                ctx.propagate(&[b"XACK", key.bytes, group, id]);
                continue;
            }
        };
        let claim = Claim {
            consumer: owner,
            id: change.id,
            delivered_ms: change.pending.delivered_ms,
            deliveries: change.pending.deliveries,
            last_id: changes.last_id,
        };
        ctx.log_claim(key, group, &claim);
    }
    if let Some(entries_read) = changes.position
        && changes.count == 0
    {
        ctx.data.effects.add_dirty(1);
        ctx.log_position(key, group, changes.last_id, entries_read);
    }
}

pub(crate) const XAUTOCLAIM: CommandSpec = CommandSpec::new("xautoclaim", -6, xautoclaim)
    .group(Group::Stream)
    .since("6.2.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .summary(
        "Gives a consumer what is pending for long enough, going through all that is pending \
         with a cursor.",
    )
    .complexity("O(N*log(M)) with N pending entries looked at of M.")
    .hints(&["nondeterministic_output"])
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::DELETE))])
    .args(&[
        Arg::KEY,
        GROUP,
        CONSUMER,
        MIN_IDLE,
        Arg::string("start"),
        Arg::COUNT,
        JUST_ID,
    ]);

/// How many entries XAUTOCLAIM looks at for each that it may return.
const ATTEMPTS: usize = 10;

/// The greatest COUNT of XAUTOCLAIM: Redis's.
const COUNT_MAX: i64 = i64::MAX / 16;

/// COUNT and JUSTID of an XAUTOCLAIM.
fn auto_options(ctx: &Context<'_, '_>) -> Result<(usize, bool), CommandError> {
    let (mut count, mut just_id) = (100, false);
    let mut at = 6;
    while at < ctx.args.len() {
        if ctx.is_word(at, "count") && at + 1 < ctx.args.len() {
            let given = ctx.integer(at + 1).ok();
            let given = given.filter(|count| (1..=COUNT_MAX).contains(count));
            count = given
                .and_then(|count| usize::try_from(count).ok())
                .ok_or(CommandError::line("ERR COUNT must be > 0"))?;
            at += 2;
        } else if ctx.is_word(at, "justid") {
            just_id = true;
            at += 1;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok((count, just_id))
}

/// The entries of one XAUTOCLAIM, and the start of the next one.
struct Sweep {
    found: Vec<(StreamId, Pending)>,
    /// 0-0 at the end.
    next: StreamId,
}

impl Sweep {
    /// Looks at pending entries from `start` on. Returns those that are idle for long enough,
    /// whether the entry still exists or not, and of the others those whose entry is deleted.
    fn new(
        entries: &Entries,
        group: &ConsumerGroup,
        start: StreamId,
        count: usize,
        is_idle: impl Fn(&Pending) -> bool,
    ) -> Self {
        let mut found = Vec::new();
        let mut attempts = count.saturating_mul(ATTEMPTS);
        let mut pending = group.pending_range(start, StreamId::MAX);
        while attempts > 0 && found.len() < count {
            let Some((id, it)) = pending.next() else {
                break;
            };
            attempts -= 1;
            if is_idle(&it) || !entries.contains(id) {
                found.push((id, it));
            }
        }
        let next = pending.next().map_or(StreamId::MIN, |(id, _)| id);
        Self { found, next }
    }
}

fn xautoclaim(ctx: &mut Context<'_, '_>) -> CommandResult {
    let min_idle_ms = min_idle(ctx, 4, "ERR Invalid min-idle-time argument for XAUTOCLAIM")?;
    let start = ids::range_start(ctx.arg(5))?;
    let (count, just_id) = auto_options(ctx)?;
    let (key, name, consumer) = (ctx.key(1), ctx.arg(2), ctx.arg(3));
    let (now_ms, logs) = (ctx.data.now_ms, ctx.engine.is_logging());
    let stream = ctx.data.stream_mut(key)?.map(Stream::parts_mut);
    let Some((entries, group)) =
        stream.and_then(|(entries, groups)| Some((entries, groups.get_mut(name)?)))
    else {
        return Err(no_group(key, name));
    };
    let terms = Terms {
        min_idle_ms,
        delivered_ms: now_ms,
        deliveries: None,
        force: false,
        just_id,
        last_id: StreamId::MIN,
    };
    let mut changes = Changes::default();
    let (consumer, is_new) = enter(group, consumer, now_ms)?;
    changes.consumer_is_new = is_new;
    changes.last_id = group.last_id;
    let sweep = Sweep::new(entries, group, start, count, |it| terms.is_idle(it, now_ms));
    ctx.reply.array(3);
    ctx.reply.id(sweep.next);
    let array = ctx.reply.defer();
    let mut len = 0;
    let mut deleted = Vec::new();
    for (id, before) in sweep.found {
        let Some(entry) = entries.get(id) else {
            changes.gone(logs, group, id);
            deleted.push(id);
            continue;
        };
        let pending = terms.claimed(Some(before), consumer);
        group.set_pending(id, pending);
        match just_id {
            true => ctx.reply.id(id),
            false => ctx.reply.entry(entry),
        }
        changes.claimed(logs, id, pending);
        len += 1;
    }
    if len > 0 {
        set_active(group, consumer, now_ms);
    }
    ctx.reply.finish_array(array, len);
    ctx.reply.array(deleted.len());
    deleted.iter().for_each(|id| ctx.reply.id(*id));
    ctx.suppress_propagation();
    settle(ctx, key, &changes);
    Ok(Outcome::Done)
}
