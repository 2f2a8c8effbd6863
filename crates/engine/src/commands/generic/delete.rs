//! Removing keys, and testing whether they exist: DEL, UNLINK, EXISTS, TOUCH.

use crate::command::*;
use crate::config::P;
use crate::context::{Context, Data, EventClass};
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::keys::Key;

/// Removes a key, if it exists, and announces the removal.
pub fn delete_key(ctx: &mut Context<'_, '_>, key: Key<'_>) -> bool {
    let removed = ctx.data.remove(key);
    if removed {
        deleted(ctx, key);
    }
    removed
}

/// Announces the removal of a key.
fn deleted(ctx: &mut Context<'_, '_>, key: Key<'_>) {
    // Unblocks consumers of a stream at this key: it is gone.
    ctx.data.signal_ready(key);
    ctx.data.changed(key, EventClass::Generic, "del");
}

/// Removes an existing key because a command gave it a deadline that has passed. Logs the removal
/// instead of the command.
pub(crate) fn delete_expired(ctx: &mut Context<'_, '_>, key: Key<'_>) {
    if let Some(old) = ctx.data.take(key) {
        ctx.data.free_by(P::LazyfreeLazyExpire, old);
    }
    ctx.data.signal_ready(key);
    ctx.data.note_expired(key);
    ctx.data.effects.add_dirty(1);
    ctx.suppress_propagation();
}

pub(super) const DEL: CommandSpec = CommandSpec::new("del", -2, del)
    .group(Group::Generic)
    .since("1.0.0")
    .flags(Flags::WRITE)
    .categories(Categories::KEYSPACE)
    .summary("Removes keys.")
    .complexity(
        "O(N) in the number of keys; with lazyfree-lazy-user-del no, also in the number of \
         elements of big values.",
    )
    .hints(&["request_policy:multi_shard", "response_policy:agg_sum"])
    .keys(&[KeySpec::range(1, -1, 1, KeyFlags::RM.or(KeyFlags::DELETE))])
    .args(&[Arg::KEYS]);

pub(super) fn del(ctx: &mut Context<'_, '_>) -> CommandResult {
    remove_all(ctx, |data, old| {
        data.free_by(P::LazyfreeLazyUserDel, old);
    })
}

fn remove_all(
    ctx: &mut Context<'_, '_>,
    free: impl Fn(&Data<'_, '_>, keyspace::Removed),
) -> CommandResult {
    let mut removed = 0;
    for index in 1..ctx.args.len() {
        let key = ctx.key(index);
        if let Some(old) = ctx.data.take_visible(key) {
            free(&ctx.data, old);
            deleted(ctx, key);
            removed += 1;
        }
    }
    ctx.reply.integer(removed);
    Ok(Outcome::Done)
}

pub(super) const UNLINK: CommandSpec = CommandSpec::new("unlink", -2, unlink)
    .group(Group::Generic)
    .since("4.0.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .categories(Categories::KEYSPACE)
    .summary("Removes keys; their values are freed in the background when that takes long.")
    .complexity("O(N) in the number of keys.")
    .hints(&["request_policy:multi_shard", "response_policy:agg_sum"])
    .keys(&[KeySpec::range(1, -1, 1, KeyFlags::RM.or(KeyFlags::DELETE))])
    .args(&[Arg::KEYS]);

pub(super) fn unlink(ctx: &mut Context<'_, '_>) -> CommandResult {
    remove_all(ctx, |data, old| {
        if old.is_big() {
            data.engine.lazy.free(Box::new(old));
        }
    })
}

pub(super) const EXISTS: CommandSpec = CommandSpec::new("exists", -2, exists)
    .group(Group::Generic)
    .since("1.0.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .categories(Categories::KEYSPACE)
    .summary("Counts how many of the given keys exist; a key named twice counts twice.")
    .complexity("O(N) in the number of keys.")
    .hints(&["request_policy:multi_shard", "response_policy:agg_sum"])
    .keys(&[KeySpec::range(1, -1, 1, KeyFlags::RO)])
    .args(&[Arg::KEYS]);

pub(super) fn exists(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.data.touch = false;
    count_present(ctx)
}

pub(super) const TOUCH: CommandSpec = CommandSpec::new("touch", -2, touch)
    .group(Group::Generic)
    .since("3.2.1")
    .flags(Flags::READONLY.or(Flags::FAST).or(Flags::TOUCHES_ALWAYS))
    .categories(Categories::KEYSPACE)
    .summary("Updates the last access time of keys and returns how many of them exist.")
    .complexity("O(N) in the number of keys.")
    .hints(&["request_policy:multi_shard", "response_policy:agg_sum"])
    .keys(&[KeySpec::range(1, -1, 1, KeyFlags::RO)])
    .args(&[Arg::KEYS]);

pub(super) fn touch(ctx: &mut Context<'_, '_>) -> CommandResult {
    count_present(ctx)
}

fn count_present(ctx: &mut Context<'_, '_>) -> CommandResult {
    let present = (1..ctx.args.len())
        .filter(|index| {
            let key = ctx.key(*index);
            ctx.data.lookup(key).is_some()
        })
        .count();
    ctx.reply.integer(present as i64);
    Ok(Outcome::Done)
}
