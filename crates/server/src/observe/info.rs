//! INFO: figures about the server.
//!
//! Fields stand under the names and in the order of Valkey, because monitoring tools read them. A
//! feature that does not exist (replicas, modules, child processes) has the values of one that is
//! not used.

pub(crate) mod memory;
mod sections;
mod sizes;
pub(crate) mod sys;

use keyspace::{DatabaseStats, SizeCounts};

use crate::server::Server;
use engine::context::Data;
use engine::engine::Engine;
use engine::error::CommandError;
use engine::shard_tables::Shard;
use engine::stats::Totals;

use memory::MemoryReport;
pub(crate) use sections::command_totals;

/// The sections of INFO, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Server,
    Tls,
    Clients,
    Memory,
    Persistence,
    Threads,
    Stats,
    Replication,
    Cpu,
    Modules,
    CommandStats,
    ErrorStats,
    LatencyStats,
    Cluster,
    ClusterInfo,
    ScriptingEngines,
    Keyspace,
    Keysizes,
    Debug,
}

impl Section {
    const ALL: [Section; 19] = [
        Section::Server,
        Section::Tls,
        Section::Clients,
        Section::Memory,
        Section::Persistence,
        Section::Threads,
        Section::Stats,
        Section::Replication,
        Section::Cpu,
        Section::Modules,
        Section::CommandStats,
        Section::ErrorStats,
        Section::LatencyStats,
        Section::Cluster,
        Section::ClusterInfo,
        Section::ScriptingEngines,
        Section::Keyspace,
        Section::Keysizes,
        Section::Debug,
    ];

    /// Names in the request; some sections have two.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Server => &["server"],
            Self::Tls => &["tls"],
            Self::Clients => &["clients"],
            Self::Memory => &["memory"],
            Self::Persistence => &["persistence"],
            Self::Threads => &["threads"],
            Self::Stats => &["stats"],
            Self::Replication => &["replication"],
            Self::Cpu => &["cpu"],
            Self::Modules => &["modules", "module_list"],
            Self::CommandStats => &["commandstats"],
            Self::ErrorStats => &["errorstats"],
            Self::LatencyStats => &["latencystats"],
            Self::Cluster => &["cluster"],
            Self::ClusterInfo => &["cluster_info"],
            Self::ScriptingEngines => &["scriptingengines"],
            Self::Keyspace => &["keyspace"],
            Self::Keysizes => &["keysizes"],
            Self::Debug => &["debug"],
        }
    }

    fn is_default(self) -> bool {
        matches!(
            self,
            Self::Server
                | Self::Clients
                | Self::Memory
                | Self::Persistence
                | Self::Stats
                | Self::Replication
                | Self::Cpu
                | Self::Modules
                | Self::ErrorStats
                | Self::Cluster
                | Self::Keyspace
                | Self::Keysizes
        )
    }
}

/// The sections that a request names; none named means the default ones. Unknown names select
/// nothing.
fn selected(names: &[&[u8]]) -> Vec<Section> {
    let is = |name: &[u8], word: &str| name.eq_ignore_ascii_case(word.as_bytes());
    let wants = |section: Section| {
        names.iter().any(|name| {
            section.names().iter().any(|own| is(name, own))
                || (is(name, "default") && section.is_default())
                || ((is(name, "all") || is(name, "everything")) && section != Section::Debug)
        })
    };
    Section::ALL
        .into_iter()
        .filter(|section| wants(*section) || (names.is_empty() && section.is_default()))
        .collect()
}

/// Sums over all shards.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyspaceTotals {
    /// By database.
    pub databases: Vec<DatabaseTotals>,
    /// Keys that clients watch.
    pub watched_keys: usize,
    /// Keys that clients wait for.
    pub blocking_keys: usize,
    /// Keys whose removal also wakes a client.
    pub heeded_keys: usize,
}

/// Sums of one database.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DatabaseTotals {
    /// Sizes.
    pub stats: DatabaseStats,
    /// Times to live of all keys together, in milliseconds.
    ttl_ms: u128,
}

impl DatabaseTotals {
    /// The average time to live of the keys with a deadline, in milliseconds.
    pub(crate) fn avg_ttl_ms(&self) -> u64 {
        let average = self.ttl_ms.checked_div(self.stats.volatile as u128);
        average.and_then(|ttl| ttl.try_into().ok()).unwrap_or(0)
    }
}

impl KeyspaceTotals {
    /// Adds up the shards, one after the other: not a consistent cut while others write.
    pub(crate) fn gather(data: &mut Data<'_, '_>) -> Result<Self, CommandError> {
        let count = data.engine.keyspace.databases();
        let now_ms = data.now_ms;
        let mut totals = Self {
            databases: vec![DatabaseTotals::default(); count as usize],
            ..Self::default()
        };
        data.visit_shards(|shard| totals.add(shard, now_ms))?;
        Ok(totals)
    }

    /// The same for a thread that runs no commands. `None` when a shard stays locked for as long as
    /// `waits` answers true.
    pub(crate) fn gather_apart(engine: &Engine, mut waits: impl FnMut() -> bool) -> Option<Self> {
        let now_ms = engine.now_ms();
        let mut totals = Self {
            databases: vec![DatabaseTotals::default(); engine.keyspace.databases() as usize],
            ..Self::default()
        };
        for shard in 0..engine.keyspace.shard_count() {
            let locked = engine.keyspace.lock_one_patient(shard, &mut waits).ok()?;
            locked.shards().for_each(|shard| totals.add(shard, now_ms));
        }
        Some(totals)
    }

    fn add(&mut self, shard: &Shard, now_ms: u64) {
        let tables = &shard.attachments;
        self.watched_keys += tables.watched.len();
        let (waited_for, heeded) = tables.waiting.counts();
        self.blocking_keys += waited_for;
        self.heeded_keys += heeded;
        for (db, totals) in (0u32..).zip(&mut self.databases) {
            let stats = shard.stats(db);
            totals.ttl_ms += u128::from(shard.avg_ttl_ms(db, now_ms)) * stats.volatile as u128;
            totals.stats += stats;
        }
    }
}

/// The data that the sections are written from.
struct Facts<'a> {
    server: &'a Server,
    now_ms: u64,
    totals: Totals,
    keyspace: &'a KeyspaceTotals,
    /// By database; empty without the section that shows them.
    sizes: &'a [SizeCounts],
    memory: Option<MemoryReport>,
}

/// The text of INFO with the sections that `names` select.
///
/// # Errors
/// A script keeps data locked for long that a section is about.
pub(crate) fn render(
    server: &Server,
    data: &mut Data<'_, '_>,
    names: &[&[u8]],
) -> Result<String, CommandError> {
    let sections = selected(names);
    let needs_keyspace = |section: &Section| {
        matches!(
            section,
            Section::Clients | Section::Memory | Section::Keyspace
        )
    };
    let keyspace = if sections.iter().any(needs_keyspace) {
        KeyspaceTotals::gather(data)?
    } else {
        KeyspaceTotals::default()
    };
    let sizes = if sections.contains(&Section::Keysizes) {
        sizes::gather(data)?
    } else {
        Vec::new()
    };
    Ok(written(server, (&keyspace, &sizes), data.now_ms, &sections))
}

/// The sections whose fields are single figures.
const FIGURES: [Section; 8] = [
    Section::Server,
    Section::Clients,
    Section::Memory,
    Section::Persistence,
    Section::Stats,
    Section::Replication,
    Section::Cpu,
    Section::Cluster,
];

/// The sections of INFO whose fields are single figures, with these sums over the shards.
pub(crate) fn figures(server: &Server, keyspace: &KeyspaceTotals) -> String {
    written(server, (keyspace, &[]), server.engine.now_ms(), &FIGURES)
}

fn written(
    server: &Server,
    (keyspace, sizes): (&KeyspaceTotals, &[SizeCounts]),
    now_ms: u64,
    sections: &[Section],
) -> String {
    // Read before the text is written, so that the text does not count as used memory.
    let memory = sections
        .contains(&Section::Memory)
        .then(|| MemoryReport::gather(server, keyspace));
    let facts = Facts {
        memory,
        server,
        now_ms,
        totals: server.engine.totals(),
        keyspace,
        sizes,
    };
    let mut text = String::with_capacity(8192);
    for section in sections {
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        sections::write(*section, &facts, &mut text);
    }
    text
}

/// A number of bytes as people read it: `512B`, `1.50K`, `2.00G`.
pub(crate) fn human_bytes(bytes: u64) -> String {
    const UNITS: [char; 5] = ['K', 'M', 'G', 'T', 'P'];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let exponent = (bytes.ilog2() / 10).min(UNITS.len() as u32);
    let unit = UNITS.get(exponent as usize - 1).copied().unwrap_or('P');
    format!("{:.2}{unit}", bytes as f64 / 1024f64.powi(exponent as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_selected_by_name_and_group() {
        assert_eq!(selected(&[b"CPU"]), [Section::Cpu]);
        assert_eq!(selected(&[b"module_list"]), [Section::Modules]);
        assert!(selected(&[b"sentinel"]).is_empty());
        let default = selected(&[]);
        assert_eq!(default, selected(&[b"default"]));
        assert!(!default.contains(&Section::CommandStats));
        let all = selected(&[b"keyspace", b"all"]);
        assert_eq!(all.len(), Section::ALL.len() - 1);
        assert_eq!(
            selected(&[b"debug", b"everything"]).len(),
            Section::ALL.len()
        );
    }

    #[test]
    fn bytes_for_people() {
        assert_eq!(human_bytes(0), "0B");
        assert_eq!(human_bytes(1023), "1023B");
        assert_eq!(human_bytes(1536), "1.50K");
        assert_eq!(human_bytes(5 << 30), "5.00G");
        assert_eq!(human_bytes(u64::MAX), "16384.00P");
    }
}
