//! Commands on sorted sets.

mod add;
mod arguments;
mod bounds;
mod combine;
mod expiry;
mod operations;
mod pop;
mod random;
mod range;
mod read;
mod remove;
mod scan;

use keyspace::{NewValue, Value};
use resp::{Protocol, Reply};
use values::{Element, SortedSet};

pub(in crate::commands) use add::{Options, Pairs, give};

use super::generic::delete_key;
use super::string::length;
use crate::context::{Context, ElementReply, EventClass, Expiry};
use crate::execute::CommandSpec;
use crate::keys::Key;

/// The commands of this group.
pub const COMMANDS: &[&CommandSpec] = &[
    &pop::BZMPOP,
    &pop::BZPOPMAX,
    &pop::BZPOPMIN,
    &add::ZADD,
    &read::ZCARD,
    &read::ZCOUNT,
    &operations::ZDIFF,
    &operations::ZDIFFSTORE,
    &expiry::ZEXPIRE,
    &expiry::ZEXPIREAT,
    &expiry::ZEXPIRETIME,
    &add::ZINCRBY,
    &operations::ZINTER,
    &operations::ZINTERCARD,
    &operations::ZINTERSTORE,
    &read::ZLEXCOUNT,
    &pop::ZMPOP,
    &read::ZMSCORE,
    &expiry::ZPERSIST,
    &expiry::ZPEXPIRE,
    &expiry::ZPEXPIREAT,
    &expiry::ZPEXPIRETIME,
    &pop::ZPOPMAX,
    &pop::ZPOPMIN,
    &expiry::ZPTTL,
    &random::ZRANDMEMBER,
    &range::ZRANGE,
    &range::ZRANGEBYLEX,
    &range::ZRANGEBYSCORE,
    &range::ZRANGESTORE,
    &read::ZRANK,
    &remove::ZREM,
    &remove::ZREMRANGEBYLEX,
    &remove::ZREMRANGEBYRANK,
    &remove::ZREMRANGEBYSCORE,
    &range::ZREVRANGE,
    &range::ZREVRANGEBYLEX,
    &range::ZREVRANGEBYSCORE,
    &read::ZREVRANK,
    &scan::ZSCAN,
    &read::ZSCORE,
    &expiry::ZTTL,
    &operations::ZUNION,
    &operations::ZUNIONSTORE,
];

/// The last step of a command that stores its result: puts the sorted set at `key`, over whatever
/// is there, with `event`; an empty one removes the key instead. Answers the number of members.
pub(crate) fn store(
    ctx: &mut Context<'_, '_>,
    key: Key<'_>,
    members: SortedSet,
    event: &'static str,
) {
    let len = members.len();
    if members.is_empty() {
        delete_key(ctx, key);
    } else {
        let value = NewValue::Owned(Value::ZSet(members));
        let existed = ctx.data.overwrite(key, value, Expiry::Clear);
        appeared(ctx, key, !existed);
        ctx.data.changed(key, EventClass::ZSet, event);
    }
    ctx.reply.integer(length(len));
}

/// Announces a sorted set at a key where there was none; `is_new`: there was no key at all.
fn appeared(ctx: &mut Context<'_, '_>, key: Key<'_>, is_new: bool) {
    if is_new {
        ctx.data.notify(EventClass::New, "new", key);
    }
    ctx.data.signal_ready(key);
}

/// Members in order, with their scores if asked for. Scores follow their members in one flat array
/// for RESP2 and stand in pairs with them for RESP3 (a map would lose the order).
pub(crate) fn write_members<'a>(
    reply: &mut Reply<'_>,
    members: impl ExactSizeIterator<Item = (Element<'a>, f64)>,
    with_scores: bool,
) {
    write_head(reply, members.len(), with_scores);
    for (member, score) in members {
        write_member(reply, member, score, with_scores);
    }
}

/// The head of a reply of `len` members.
fn write_head(reply: &mut Reply<'_>, len: usize, with_scores: bool) {
    let is_flat = with_scores && reply.protocol == Protocol::Resp2;
    reply.array(if is_flat { len.saturating_mul(2) } else { len });
}

/// One member of such a reply.
#[inline]
fn write_member(reply: &mut Reply<'_>, member: Element<'_>, score: f64, with_scores: bool) {
    if !with_scores {
        reply.element(member);
        return;
    }
    if reply.protocol == Protocol::Resp3 {
        reply.array(2);
    }
    reply.element(member);
    reply.double(score);
}
