//! DEBUG HTSTATS: the shape of hash tables.

use std::fmt::Write;

use keyspace::{DatabaseStats, Encoding};
use values::table::Stats;

use super::keys::with_entry;
use engine::context::Context;
use engine::error::CommandError;

/// Slots of one bucket.
const SLOTS: usize = 8;

/// DEBUG HTSTATS.
pub(super) fn htstats(ctx: &mut Context<'_, '_>) -> Result<(), CommandError> {
    let db = ctx.integer(2)?;
    let db = u32::try_from(db)
        .ok()
        .filter(|db| *db < ctx.engine.keyspace.databases())
        .ok_or(CommandError::line("ERR Out of range database"))?;
    let full = ctx.args.len() > 3 && ctx.is_word(3, "FULL");
    let mut sizes = DatabaseStats::default();
    let mut shape = Stats::default();
    ctx.data.visit_shards(|shard| {
        sizes += shard.stats(db);
        if full {
            add(&mut shape, &shard.table_stats(db));
        }
    })?;
    let mut text = "[Dictionary HT]\n".to_owned();
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "Hash table 0 stats (main hash table):\n table size: {}\n number of elements: {}\n bytes: {}\n",
        sizes.buckets * SLOTS,
        sizes.entries,
        sizes.table_bytes
    );
    if full {
        describe(&mut text, &shape);
    }
    let _ = write!(
        text,
        "[Expires HT]\nTiming wheel stats:\n number of elements: {}\n handles: {}\n bytes: {}\n",
        sizes.volatile, sizes.wheel_handles, sizes.wheel_bytes
    );
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn add(sum: &mut Stats, other: &Stats) {
    sum.entries += other.entries;
    sum.segments += other.segments;
    sum.buckets += other.buckets;
    sum.directory += other.directory;
    sum.displaced += other.displaced;
    sum.stashed += other.stashed;
    sum.overflowed += other.overflowed;
    sum.memory += other.memory;
    sum.largest_home = sum.largest_home.max(other.largest_home);
    sum.fill
        .iter_mut()
        .zip(other.fill)
        .for_each(|(buckets, more)| *buckets += more);
}

fn describe(text: &mut String, shape: &Stats) {
    let _ = write!(
        text,
        " segments: {}\n buckets: {}\n directory words: {}\n displaced: {}\n stashed: {}\n overflowed: {}\n \
         largest home: {}\n Buckets by number of elements:\n",
        shape.segments,
        shape.buckets,
        shape.directory,
        shape.displaced,
        shape.stashed,
        shape.overflowed,
        shape.largest_home
    );
    for (filled, buckets) in shape.fill.iter().enumerate() {
        let percent = *buckets as f64 * 100.0 / shape.buckets.max(1) as f64;
        let _ = writeln!(text, "   {filled}: {buckets} ({percent:.02}%)");
    }
}

/// DEBUG HTSTATS-KEY, for collections that are a hash table or have one beside an index. Their
/// tables never resize as a whole, so they have fewer figures than those of a database.
pub(super) fn htstats_key(ctx: &mut Context<'_, '_>) -> Result<(), CommandError> {
    let text = with_entry(ctx, ctx.arg(2), |entry| {
        let has_table = matches!(entry.encoding(), Encoding::Hashtable | Encoding::Skiplist);
        has_table.then(|| {
            let value = entry.value();
            format!(
                "Hash table 0 stats (main hash table):\n number of elements: {}\n bytes: {}\n",
                value.element_count().unwrap_or(0),
                value.heap_bytes()
            )
        })
    });
    let text = text
        .ok_or(CommandError::NoSuchKey)?
        .ok_or(CommandError::line(
            "ERR The value stored at the specified key is not represented using an hash table",
        ))?;
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}
