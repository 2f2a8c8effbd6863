//! Finding keys: KEYS, RANDOMKEY, TYPE.

use values::glob;

use crate::command::*;
use crate::context::{Context, Data};
use crate::execute::{CommandResult, CommandSpec, Outcome};

pub(super) const KEYS: CommandSpec = CommandSpec::new("keys", 2, keys)
    .group(Group::Generic)
    .since("1.0.0")
    .flags(Flags::READONLY)
    .categories(Categories::DANGEROUS.or(Categories::KEYSPACE))
    .summary("Returns all keys that match a pattern.")
    .complexity("O(N) in the number of keys of the database.")
    .hints(&["request_policy:all_shards", "nondeterministic_output_order"])
    .locks(Locks::All)
    .args(&[Arg::pattern("pattern")]);

pub(super) fn keys(ctx: &mut Context<'_, '_>) -> CommandResult {
    let pattern = ctx.arg(1);
    let all = pattern == b"*";
    let db = ctx.data.db;
    let hides = hides_expired(&ctx.data);
    let list = ctx.reply.defer();
    let mut count = 0;
    for shard in ctx.data.locked.shards() {
        for entry in shard.entries(db) {
            let key = entry.key();
            if (all || glob::matches(pattern, key, false)) && !hides(entry.deadline()) {
                ctx.reply.bulk(key);
                count += 1;
            }
        }
    }
    ctx.reply.finish_array(list, count);
    Ok(Outcome::Done)
}

/// Returns whether a key with a given deadline is hidden. Commands that walk over many keys leave
/// the removal of expired ones to the expiry loop.
pub(super) fn hides_expired(data: &Data<'_, '_>) -> impl Fn(Option<u64>) -> bool + use<> {
    let now_ms = data.now_ms;
    let sees = data.sees_expired();
    move |deadline| !sees && deadline.is_some_and(|at| at <= now_ms)
}

/// How often RANDOMKEY draws again while expired keys may not be removed.
const DRAWS_MAX: usize = 100;

pub(super) const RANDOMKEY: CommandSpec = CommandSpec::new("randomkey", 1, randomkey)
    .group(Group::Generic)
    .since("1.0.0")
    .flags(Flags::READONLY)
    .categories(Categories::KEYSPACE)
    .summary("Returns a random key of the selected database.")
    .complexity("O(1)")
    .hints(&[
        "request_policy:all_shards",
        "response_policy:special",
        "nondeterministic_output",
    ])
    .locks(Locks::All);

pub(super) fn randomkey(ctx: &mut Context<'_, '_>) -> CommandResult {
    let mut draws = 0;
    if !ctx.is_nested() {
        ctx.data.effects.keep_apart();
    }
    while let Some(bytes) = draw(&mut ctx.data) {
        let key = ctx.data.key(&bytes);
        let before = keys_in_db(&ctx.data);
        let lives = ctx.data.exists(key);
        draws += usize::from(before == keys_in_db(&ctx.data));
        // During a pause expired keys stay: a database full of them must not keep the server busy.
        if lives || draws >= DRAWS_MAX {
            ctx.reply.bulk(&bytes);
            return Ok(Outcome::Done);
        }
    }
    ctx.reply.null();
    Ok(Outcome::Done)
}

fn keys_in_db(data: &Data<'_, '_>) -> u64 {
    let keys = data.locked.shards().map(|shard| shard.len(data.db) as u64);
    keys.sum()
}

/// A random key, expired or not: a shard by its share of the keys, then an entry of it.
fn draw(data: &mut Data<'_, '_>) -> Option<Vec<u8>> {
    let total = keys_in_db(data);
    let Data {
        locked, random, db, ..
    } = data;
    let mut rank = random.below(total);
    for shard in locked.shards() {
        let keys = shard.len(*db) as u64;
        if rank < keys {
            let entry = shard.random(*db, &mut || random.next_u64())?;
            return Some(entry.key().to_vec());
        }
        rank -= keys;
    }
    None
}

pub(super) const TYPE: CommandSpec = CommandSpec::new("type", 2, type_key)
    .group(Group::Generic)
    .since("1.0.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .categories(Categories::KEYSPACE)
    .summary("Returns the type of the value at a key.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RO)])
    .args(&[Arg::KEY]);

pub(super) fn type_key(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    ctx.data.touch = false;
    let name = match ctx.data.lookup(key) {
        Some(entry) => entry.value_type().name(),
        None => "none",
    };
    ctx.reply.simple(name);
    Ok(Outcome::Done)
}
