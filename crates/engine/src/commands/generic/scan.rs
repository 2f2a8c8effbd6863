//! SCAN: walks over the keys of a database in hash order.
//!
//! The cursor is a position in hash order, over all shards, as an integer below 2^48 (see
//! [`values::table::cursor`]). A position means the same whatever the tables look like, so SCAN
//! returns every key that exists from the first to the last call exactly once.

use resp::Reply;
use values::table::cursor;

use super::keys::hides_expired;
use crate::command::*;
use crate::commands::scan::{self, ScanOptions, Scanned};
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::shard_tables::Shard;

/// Keys found so far, in one piece: they are copied out because the lock of a shard is released
/// before the cursor, which comes first in the reply, is known.
#[derive(Default)]
struct Found {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Log offset of the shards that were looked at.
    offset: u64,
    /// Keys that were asked for and have expired, of shards that the command has locked.
    expired: Vec<Vec<u8>>,
}

impl Found {
    fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    /// Writes the keys as an array.
    fn reply(&self, reply: &mut Reply<'_>) {
        reply.array(self.ends.len());
        self.iter().for_each(|found| reply.bulk(found));
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| self.bytes.get(start..*end).unwrap_or_default())
    }
}

pub(super) const SCAN: CommandSpec = CommandSpec::new("scan", -2, scan_keys)
    .group(Group::Generic)
    .since("2.8.0")
    .flags(Flags::READONLY)
    .categories(Categories::KEYSPACE)
    .summary("Returns some keys of the selected database and the cursor for the next call.")
    .complexity("O(1) per call, O(N) in the number of keys for a full walk.")
    .hints(&[
        "nondeterministic_output",
        "request_policy:special",
        "response_policy:special",
    ])
    .locks(Locks::Own)
    .args(&[
        Arg::integer("cursor"),
        Arg::MATCH,
        Arg::COUNT,
        Arg::string("type").option("TYPE").since("6.0.0"),
    ]);

pub(super) fn scan_keys(ctx: &mut Context<'_, '_>) -> CommandResult {
    let cursor = scan::cursor(ctx.arg(1))?;
    let options = ScanOptions::parse(ctx.args, 2, Scanned::Keys)?;
    let (found, next) = match cursor::to_position(cursor) {
        Some(position) => walk(ctx, position, &options)?,
        None => (Found::default(), 0),
    };
    remove(ctx, &found.expired);
    *ctx.reply_offset = (*ctx.reply_offset).max(found.offset);
    ctx.reply.array(2);
    ctx.reply.bulk_display(cursor::from_position(next));
    found.reply(&mut ctx.reply);
    Ok(Outcome::Done)
}

/// Removes keys that have expired, where that is allowed.
fn remove(ctx: &mut Context<'_, '_>, expired: &[Vec<u8>]) {
    if expired.is_empty() {
        return;
    }
    if !ctx.is_nested() {
        ctx.data.effects.keep_apart();
    }
    for bytes in expired {
        let key = ctx.data.key(bytes);
        ctx.data.exists(key);
    }
}

/// Collects keys from a position on. Returns them with the next position, 0 at the end.
fn walk(
    ctx: &Context<'_, '_>,
    mut position: u64,
    options: &ScanOptions<'_>,
) -> Result<(Found, u64), CommandError> {
    let keyspace = &ctx.engine.keyspace;
    let mut found = Found::default();
    let mut budget = Budget {
        elements: options.count,
        buckets: options.buckets(),
    };
    let first = keyspace.shard_of(keyspace::KeyHash(position));
    for index in first..keyspace.shard_count() {
        // Inside a transaction the shards are locked already, and locking one again would never
        // return.
        position = match ctx.data.locked.shard_at(index) {
            Some(shard) => walk_shard(ctx, shard, position, options, &mut budget, &mut found),
            None => {
                let locked = ctx.engine.lock_shard(index)?;
                match locked.shard_at(index) {
                    Some(shard) => {
                        walk_shard(ctx, shard, position, options, &mut budget, &mut found)
                    }
                    None => 0,
                }
            }
        };
        if position != 0 {
            break;
        }
        if index + 1 < keyspace.shard_count() {
            position = keyspace.first_position(index + 1);
            if budget.is_spent() {
                break;
            }
        }
    }
    Ok((found, position))
}

/// The remaining work of one call.
struct Budget {
    elements: u64,
    buckets: u64,
}

impl Budget {
    fn is_spent(&self) -> bool {
        self.elements == 0 || self.buckets == 0
    }
}

/// Collects keys of one shard. Returns the next position, 0 when the shard is done.
fn walk_shard(
    ctx: &Context<'_, '_>,
    shard: &Shard,
    mut position: u64,
    options: &ScanOptions<'_>,
    budget: &mut Budget,
    found: &mut Found,
) -> u64 {
    let db = ctx.data.db;
    let hides = hides_expired(&ctx.data);
    let is_held = ctx.data.locked.shards().next().is_some();
    found.offset = found.offset.max(shard.last_log_offset);
    while !budget.is_spent() {
        position = shard.scan(db, position, |entry| {
            budget.elements = budget.elements.saturating_sub(1);
            let is_asked_for = options.only.is_none_or(|only| entry.value_type() == only)
                && options.matches(entry.key());
            if !is_asked_for {
                return;
            }
            if !hides(entry.deadline()) {
                found.push(entry.key());
            } else if is_held {
                found.expired.push(entry.key().to_vec());
            }
        });
        budget.buckets -= 1;
        if position == 0 {
            break;
        }
    }
    position
}
