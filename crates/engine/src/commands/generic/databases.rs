//! Whole databases: DBSIZE, FLUSHDB, FLUSHALL, SWAPDB.

use keyspace::Cleared;
use smallvec::SmallVec;

use crate::command::*;
use crate::config::P;
use crate::context::{Context, Data};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::session::Origin;
use crate::shard_tables::{Shard, lives, note_all};

pub(super) const DBSIZE: CommandSpec = CommandSpec::new("dbsize", 1, dbsize)
    .group(Group::Server)
    .since("1.0.0")
    .flags(Flags::READONLY.or(Flags::FAST).or(Flags::SHOWS_NO_DATA))
    .categories(Categories::KEYSPACE)
    .summary("Returns the number of keys in the selected database.")
    .complexity("O(1)")
    .hints(&["request_policy:all_shards", "response_policy:agg_sum"])
    .locks(Locks::All);

pub(super) fn dbsize(ctx: &mut Context<'_, '_>) -> CommandResult {
    let db = ctx.data.db;
    let keys: usize = ctx.data.locked.shards().map(|shard| shard.len(db)).sum();
    ctx.reply.integer(keys as i64);
    Ok(Outcome::Done)
}

/// Whether the memory is freed in the background.
const FLUSH_TYPE: Arg = Arg::one_of("flush-type").optional().args(&[
    Arg::word("async", "ASYNC").since("4.0.0"),
    Arg::word("sync", "SYNC").since("6.2.0"),
]);

pub(super) const FLUSHDB: CommandSpec = CommandSpec::new("flushdb", -1, flushdb)
    .group(Group::Server)
    .since("1.0.0")
    .flags(Flags::WRITE)
    .categories(Categories::DANGEROUS.or(Categories::KEYSPACE))
    .summary("Removes all keys of the selected database.")
    .complexity("O(N) in the number of keys; O(1) for the caller with ASYNC.")
    .hints(&["request_policy:all_shards", "response_policy:all_succeeded"])
    .locks(Locks::All)
    .args(&[FLUSH_TYPE]);

pub(super) fn flushdb(ctx: &mut Context<'_, '_>) -> CommandResult {
    let only = ctx.data.db;
    flush(ctx, Some(only))
}

pub(super) const FLUSHALL: CommandSpec = CommandSpec::new("flushall", -1, flushall)
    .group(Group::Server)
    .since("1.0.0")
    .flags(Flags::WRITE.or(Flags::ALL_DATABASES))
    .categories(Categories::DANGEROUS.or(Categories::KEYSPACE))
    .summary("Removes all keys of all databases.")
    .complexity("O(N) in the number of keys; O(1) for the caller with ASYNC.")
    .hints(&["request_policy:all_shards", "response_policy:all_succeeded"])
    .locks(Locks::All)
    .args(&[FLUSH_TYPE]);

pub(super) fn flushall(ctx: &mut Context<'_, '_>) -> CommandResult {
    flush(ctx, None)
}

fn flush(ctx: &mut Context<'_, '_>, only: Option<u32>) -> CommandResult {
    let in_background = match ctx.args.len() {
        1 => ctx.engine.config.bool(P::LazyfreeLazyUserFlush),
        2 if ctx.is_word(1, "async") => true,
        2 if ctx.is_word(1, "sync") => false,
        _ => return Err(CommandError::Syntax),
    };
    let cleared = clear(&mut ctx.data, only);
    ctx.data.changes.note_emptied(&ctx.engine.key_listeners);
    let keys: u64 = cleared.iter().map(|part| part.len() as u64).sum();
    ctx.data.effects.add_dirty(keys);
    // What can be undone is no reason for a snapshot, and is not freed yet.
    let is_final = !keyspace::is_recording();
    if only.is_none()
        && is_final
        && ctx.data.origin == Origin::Client
        && let Some(on_emptied) = ctx.engine.on_emptied.get()
    {
        on_emptied(ctx.data.locked, ctx.data.effects.dirty());
    }
    if in_background && is_final {
        ctx.engine.lazy.free_many(Box::new(cleared), keys);
    } else {
        drop(cleared);
        // The allocator returns the freed memory to the operating system in the background, so that
        // the client does not wait for it.
        ctx.engine.lazy.run(|| {
            keyspace::memory::purge();
        });
    }
    // Logged even when there was nothing to remove, so that replicas and readers of the log are
    // empty too.
    let argv: SmallVec<[&[u8]; 2]> = ctx.args.iter().collect();
    ctx.propagate(&argv);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// Takes out everything in one database or in all of them.
fn clear(data: &mut Data<'_, '_>, only: Option<u32>) -> Vec<Cleared> {
    let now_ms = data.now_ms;
    let listeners = &data.engine.key_listeners;
    let Data {
        locked, changes, ..
    } = data;
    let mut cleared = Vec::new();
    for shard in locked.shards_mut() {
        let dbs: SmallVec<[u32; 4]> = shard
            .occupied_dbs()
            .filter(|db| only.is_none_or(|only| only == *db))
            .collect();
        for db in dbs {
            let gone = |shard: &Shard, key: &[u8]| lives(shard, db, key, now_ms);
            note_all((shard, db), changes, listeners, gone);
            cleared.push(shard.clear(db));
        }
    }
    cleared
}

pub(super) const SWAPDB: CommandSpec = CommandSpec::new("swapdb", 3, swapdb)
    .group(Group::Server)
    .since("4.0.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .databases(|args, count| databases_at(args, count, [1, 2]))
    .categories(Categories::DANGEROUS.or(Categories::KEYSPACE))
    .summary("Exchanges the contents of two databases.")
    .complexity("O(N) in the number of clients that watch keys or are blocked on them.")
    .locks(Locks::All)
    .args(&[Arg::integer("index1"), Arg::integer("index2")]);

pub(super) fn swapdb(ctx: &mut Context<'_, '_>) -> CommandResult {
    let first = swapped(ctx, 1, "ERR invalid first DB index")?;
    let second = swapped(ctx, 2, "ERR invalid second DB index")?;
    let databases = ctx.engine.keyspace.databases();
    let (Some(first), Some(second)) = (first, second) else {
        return Err(CommandError::DbIndex);
    };
    if first >= databases || second >= databases {
        return Err(CommandError::DbIndex);
    }
    if first != second {
        let now_ms = ctx.data.now_ms;
        let listeners = &ctx.engine.key_listeners;
        let Data {
            locked, changes, ..
        } = &mut ctx.data;
        for shard in locked.shards_mut() {
            let either = |shard: &Shard, key: &[u8]| {
                lives(shard, first, key, now_ms) || lives(shard, second, key, now_ms)
            };
            note_all((shard, first), changes, listeners, either);
            note_all((shard, second), changes, listeners, either);
            shard.swap_dbs(first, second);
        }
    }
    ctx.data.effects.add_dirty(1);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// A database number of SWAPDB: `error` when it is no 32-bit integer, `None` when it is negative.
fn swapped(
    ctx: &Context<'_, '_>,
    index: usize,
    error: &'static str,
) -> Result<Option<u32>, CommandError> {
    let number = resp::number::parse_i64(ctx.arg(index))
        .and_then(|number| i32::try_from(number).ok())
        .ok_or(CommandError::line(error))?;
    Ok(u32::try_from(number).ok())
}
