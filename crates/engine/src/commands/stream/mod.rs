//! Commands on streams.

mod add;
mod delete;
mod group;
mod idempotence;
mod ids;
mod options;
mod range;
mod read;
mod set_id;
mod trim;

use resp::Reply;
use values::StreamId;
use values::stream::{Entry, Fields, ID_TEXT, NodeLimits};

use crate::config::P;
use crate::context::{Context, ElementReply};
use crate::execute::CommandSpec;

/// All commands of this group.
pub const COMMANDS: &[&CommandSpec] = &[
    &group::XACK,
    &group::XACKDEL,
    &add::XADD,
    &group::XAUTOCLAIM,
    &idempotence::XCFGSET,
    &group::XCLAIM,
    &delete::XDEL,
    &group::XDELEX,
    &group::XGROUP,
    &idempotence::XIDMPRECORD,
    &group::XINFO,
    &range::XLEN,
    &group::XNACK,
    &group::XPENDING,
    &range::XRANGE,
    &read::XREAD,
    &group::XREADGROUP,
    &range::XREVRANGE,
    &set_id::XSETID,
    &trim::XTRIM,
];

/// Up to which size nodes take entries.
fn node_limits(ctx: &Context<'_, '_>) -> NodeLimits {
    let config = &ctx.engine.config;
    NodeLimits {
        bytes: config.size(P::StreamNodeMaxBytes),
        entries: config.size(P::StreamNodeMaxEntries) as u64,
    }
}

/// Replies of streams.
trait StreamReply {
    /// An id as a bulk string.
    fn id(&mut self, id: StreamId);
    /// An entry: its id, then names and values in turn.
    fn entry(&mut self, entry: Entry<'_>);
    /// Names and values in turn.
    fn fields(&mut self, fields: Fields<'_>);
}

impl StreamReply for Reply<'_> {
    #[inline]
    fn id(&mut self, id: StreamId) {
        self.bulk(id.text(&mut { ID_TEXT }));
    }

    #[inline]
    fn entry(&mut self, entry: Entry<'_>) {
        self.array(2);
        self.id(entry.id);
        self.fields(entry.fields);
    }

    #[inline]
    fn fields(&mut self, fields: Fields<'_>) {
        self.array(fields.len().saturating_mul(2));
        for (name, value) in fields {
            self.element(name);
            self.element(value);
        }
    }
}
