//! MEMORY BIGKEYS: the biggest keys of each type. The keyspace keeps track of them as they grow, so
//! nothing is scanned.

use engine::command::{Arg, Flags, Group, Locks};
use engine::context::Context;
use engine::error::CommandError;
use engine::execute::{CommandResult, CommandSpec, Outcome};
use engine::shard_tables::Shard;
use keyspace::{Measure, Type};

/// Keys for each type and measure without COUNT.
const COUNT_DEFAULT: usize = 10;
/// The most of them: fewer than a shard keeps, so that the result has no gaps.
const COUNT_MAX: i64 = 100;

pub(super) const MEMORY_BIGKEYS: CommandSpec = CommandSpec::new("bigkeys", -2, memory_bigkeys)
    .group(Group::Server)
    .since("8.6.0")
    .flags(Flags::ADMIN.or(Flags::NOSCRIPT))
    .summary("Returns the biggest keys of each type, by bytes and by elements.")
    .complexity("O(N) in the number of keys that are returned")
    .hints(&[
        "nondeterministic_output",
        "request_policy:all_shards",
        "response_policy:special",
    ])
    .locks(Locks::Own)
    .args(&[Arg::COUNT.optional()]);
fn memory_bigkeys(ctx: &mut Context<'_, '_>) -> CommandResult {
    let count = match ctx.args.len() {
        2 => COUNT_DEFAULT,
        4 if ctx.is_word(2, "COUNT") => {
            let count = ctx.integer(3)?;
            if !(1..=COUNT_MAX).contains(&count) {
                return Err(CommandError::line("ERR COUNT must be between 1 and 100"));
            }
            count as usize
        }
        _ => return Err(CommandError::Syntax),
    };
    let mut lists: Vec<Biggest> = Type::ALL.into_iter().flat_map(Biggest::of_type).collect();
    let (databases, now_ms) = (ctx.engine.keyspace.databases(), ctx.data.now_ms);
    ctx.data.visit_shards(|shard| {
        for list in &mut lists {
            list.add(shard, databases, now_ms);
            list.keep(count);
        }
    })?;
    reply(ctx, &lists);
    Ok(Outcome::Done)
}

/// A key and its size.
struct BigKey {
    key: Vec<u8>,
    db: u32,
    bytes: u64,
    /// Elements; bytes of a string.
    elements: u64,
}

/// The biggest keys of a type by one measure.
struct Biggest {
    kind: Type,
    measure: Measure,
    /// The biggest first.
    keys: Vec<BigKey>,
    /// Keys up to this size may be missing.
    unlisted_below: u64,
}

impl Biggest {
    fn of_type(kind: Type) -> impl Iterator<Item = Biggest> {
        // A string has no elements.
        let measures = [Measure::Bytes, Measure::Elements];
        let count = if kind == Type::String { 1 } else { 2 };
        measures
            .into_iter()
            .take(count)
            .map(move |measure| Biggest {
                kind,
                measure,
                keys: Vec::new(),
                unlisted_below: 0,
            })
    }

    fn add(&mut self, shard: &Shard, databases: u32, now_ms: u64) {
        let (kind, measure) = (self.kind, self.measure);
        for db in shard.occupied_dbs().filter(|db| *db < databases) {
            let unlisted_below = shard.unlisted_below(db, kind, measure);
            self.unlisted_below = self.unlisted_below.max(unlisted_below);
            shard.big_entries(db, kind, measure, |entry| {
                if entry.deadline().is_some_and(|deadline| deadline <= now_ms) {
                    return;
                }
                let elements = match entry.string() {
                    Some(string) => string.len(),
                    None => entry.value().element_count().unwrap_or(0),
                };
                self.keys.push(BigKey {
                    key: entry.key().to_vec(),
                    db,
                    bytes: entry.memory_usage() as u64,
                    elements: elements as u64,
                });
            });
        }
    }

    fn size(&self, key: &BigKey) -> u64 {
        match self.measure {
            Measure::Bytes => key.bytes,
            Measure::Elements => key.elements,
        }
    }

    /// Keeps the `count` biggest keys.
    fn keep(&mut self, count: usize) {
        let mut keys = std::mem::take(&mut self.keys);
        keys.sort_by(|a, b| {
            let sizes = self.size(b).cmp(&self.size(a));
            sizes.then_with(|| (a.db, &a.key).cmp(&(b.db, &b.key)))
        });
        keys.truncate(count);
        self.keys = keys;
    }
}

/// A map of the types that have big keys, each with a map of its lists.
fn reply(ctx: &mut Context<'_, '_>, lists: &[Biggest]) {
    let reply = &mut ctx.reply;
    let of = |kind: Type| lists.iter().filter(move |list| list.kind == kind);
    let is_there = |kind: &Type| of(*kind).any(|list| !list.keys.is_empty());
    reply.map(Type::ALL.iter().filter(|kind| is_there(kind)).count());
    for kind in Type::ALL.iter().filter(|kind| is_there(kind)) {
        reply.bulk(kind.name().as_bytes());
        reply.map(2 * of(*kind).count());
        for list in of(*kind) {
            let name = match list.measure {
                Measure::Bytes => "bytes",
                Measure::Elements => "elements",
            };
            reply.bulk(format!("by-{name}").as_bytes());
            reply.array(list.keys.len());
            for key in &list.keys {
                reply.array(4);
                reply.bulk(&key.key);
                reply.integer(key.db.into());
                reply.integer(key.bytes as i64);
                reply.integer(key.elements as i64);
            }
            reply.bulk(format!("{name}-unlisted-below").as_bytes());
            reply.integer(list.unlisted_below as i64);
        }
    }
}
