//! The section `keysizes` of INFO: how many keys there are of each size.

use std::fmt::Write;

use keyspace::{SizeCounts, Type};

use super::Facts;
use engine::config::P;
use engine::context::Data;
use engine::error::CommandError;

/// Fields by elements, or by bytes of strings, in the order of Redis.
const SIZES: [(Type, &str); 5] = [
    (Type::String, "strings_sizes"),
    (Type::List, "lists_items"),
    (Type::Set, "sets_items"),
    (Type::ZSet, "zsets_items"),
    (Type::Hash, "hashes_items"),
];

/// Fields by bytes of memory, with `key-memory-histograms`.
const MEMORY: [(Type, &str); 4] = [
    (Type::List, "lists_sizes"),
    (Type::Set, "sets_sizes"),
    (Type::ZSet, "zsets_sizes"),
    (Type::Hash, "hashes_sizes"),
];

/// Adds up the shards, one after the other; by database.
pub(super) fn gather(data: &mut Data<'_, '_>) -> Result<Vec<SizeCounts>, CommandError> {
    let count = data.engine.keyspace.databases();
    let mut sizes: Vec<SizeCounts> = Vec::new();
    data.visit_shards(|shard| {
        for db in shard.occupied_dbs().filter(|db| *db < count) {
            let needed = db as usize + 1;
            if sizes.len() < needed {
                sizes.resize_with(needed, SizeCounts::default);
            }
            if let Some(sum) = sizes.get_mut(db as usize) {
                shard.add_sizes(db, sum);
            }
        }
    })?;
    Ok(sizes)
}

/// Writes the section.
pub(super) fn write(facts: &Facts<'_>, text: &mut String) {
    text.push_str("# Keysizes\r\n");
    let shows_memory = facts.server.engine.config.bool(P::KeyMemoryHistograms);
    for (db, counts) in facts.sizes.iter().enumerate() {
        for (kind, name) in SIZES {
            field(text, db, name, counts.sizes(kind));
        }
        for (kind, name) in MEMORY.iter().filter(|_| shows_memory) {
            field(text, db, name, counts.memory(*kind));
        }
    }
}

fn field(text: &mut String, db: usize, name: &str, bins: impl Iterator<Item = (u64, u64)>) {
    let mut begun = false;
    for (size, count) in bins {
        if !std::mem::replace(&mut begun, true) {
            let _ = write!(text, "db{db}_distrib_{name}:");
        } else {
            text.push(',');
        }
        let _ = write!(text, "{}={count}", label(size));
    }
    if begun {
        text.push_str("\r\n");
    }
}

/// A power of two with its unit: `512`, `1K`, `2M`.
fn label(size: u64) -> String {
    const UNITS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];
    let steps = size.checked_ilog2().unwrap_or(0) / 10;
    let unit = UNITS.get(steps as usize).copied().unwrap_or("");
    format!("{}{unit}", size >> (10 * steps))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_units() {
        let labels = [0, 1, 512, 1024, 1 << 19, 1 << 20, 1 << 62].map(label);
        assert_eq!(labels, ["0", "1", "512", "1K", "512K", "1M", "4E"]);
    }
}
