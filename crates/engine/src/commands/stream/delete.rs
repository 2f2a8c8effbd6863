//! XDEL.

use smallvec::SmallVec;
use values::StreamId;

use super::ids;
use crate::command::*;
use crate::context::{Context, EventClass};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

pub(super) const XDEL: CommandSpec = CommandSpec::new("xdel", -3, xdel)
    .group(Group::Stream)
    .since("5.0.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .summary("Deletes entries by their ids and returns how many there were.")
    .complexity("O(N) in the number of ids.")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::DELETE))])
    .args(&[Arg::KEY, Arg::string("ID").multiple()]);

pub(super) fn xdel(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    let Some(stream) = ctx.data.stream_mut(key)? else {
        ctx.reply.integer(0);
        return Ok(Outcome::Done);
    };
    let ids = ctx.args.skip(2).iter().map(|text| ids::strict(text, 0));
    let ids: SmallVec<[StreamId; 8]> = ids.collect::<Result<_, CommandError>>()?;
    let entries = stream.entries_mut();
    let deleted = ids.iter().filter(|id| entries.remove(**id)).count();
    if deleted > 0 {
        let times = deleted as u64;
        ctx.data
            .changed_times(times, key, EventClass::Stream, "xdel");
    }
    ctx.reply.integer(deleted as i64);
    Ok(Outcome::Done)
}
