//! XSETID.

use values::StreamId;

use super::ids;
use crate::command::*;
use crate::context::{Context, EventClass};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

pub(super) const XSETID: CommandSpec = CommandSpec::new("xsetid", -3, xsetid)
    .group(Group::Stream)
    .since("5.0.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST))
    .summary("Sets the last id of a stream, its entries-added counter and its maximal deleted id.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))])
    .args(&[
        Arg::KEY,
        Arg::string("last-id"),
        Arg::integer("entries-added")
            .option("ENTRIESADDED")
            .since("7.0.0"),
        Arg::string("max-deleted-id")
            .option("MAXDELETEDID")
            .since("7.0.0"),
    ]);

pub(super) fn xsetid(ctx: &mut Context<'_, '_>) -> CommandResult {
    let id = ids::strict(ctx.arg(2), 0)?;
    let mut added = None;
    let mut max_deleted = StreamId::MIN;
    let mut at = 3;
    while at < ctx.args.len() {
        let has_value = at + 1 < ctx.args.len();
        if has_value && ctx.is_word(at, "entriesadded") {
            let count = u64::try_from(ctx.integer(at + 1)?)
                .map_err(|_| CommandError::line("ERR entries_added must be positive"))?;
            added = Some(count);
        } else if has_value && ctx.is_word(at, "maxdeletedid") {
            max_deleted = ids::strict(ctx.arg(at + 1), 0)?;
            if id < max_deleted {
                return Err(CommandError::line(
                    "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                ));
            }
        } else {
            return Err(CommandError::Syntax);
        }
        at += 2;
    }
    let key = ctx.key(1);
    let stream = ctx.data.stream_mut(key)?.ok_or(CommandError::NoSuchKey)?;
    let entries = stream.entries_mut();
    if id < entries.max_deleted_id() {
        return Err(CommandError::line(
            "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
        ));
    }
    if entries.last().is_some_and(|last| id < last.id) {
        return Err(CommandError::line(
            "ERR The ID specified in XSETID is smaller than the target stream top item",
        ));
    }
    if added.is_some_and(|added| added < entries.len()) {
        return Err(CommandError::line(
            "ERR The entries_added specified in XSETID is smaller than the target stream length",
        ));
    }
    entries.set_last_id(id);
    if let Some(added) = added {
        entries.set_added(added);
    }
    if !max_deleted.is_zero() {
        entries.set_max_deleted_id(max_deleted);
    }
    // Clients that watch the key see no change, as in Redis: no entry is added or removed.
    ctx.data.effects.add_dirty(1);
    ctx.data.notify(EventClass::Stream, "xsetid", key);
    ctx.reply.ok();
    Ok(Outcome::Done)
}
