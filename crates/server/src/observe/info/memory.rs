//! Where the memory is: INFO memory, MEMORY STATS and MEMORY DOCTOR.

use std::sync::atomic::Ordering;

use engine::config::P;
use engine::engine::Engine;
use engine::scripts::Kind;
use keyspace::memory::{self, AllocatorStats};

use super::KeyspaceTotals;
use crate::server::Server;

/// The name of the allocator in INFO: that of the program, with the version that is linked.
pub fn allocator() -> String {
    match memory::version() {
        Some(version) if memory::used() > 0 => format!("jemalloc-{version}"),
        // The program has another global allocator.
        _ => "libc".to_owned(),
    }
}

/// One database's share of the overhead, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DatabaseOverhead {
    /// Its number.
    pub db: u32,
    /// The hash tables of the keys.
    pub main: u64,
    /// The index of deadlines.
    pub expires: u64,
}

/// What scripts and functions take, in bytes as far as nothing else is said.
pub(crate) struct ScriptMemory {
    /// Heaps of the interpreters of scripts of all threads.
    pub script_heaps: u64,
    /// Heaps of the interpreters of functions of all threads.
    pub function_heaps: u64,
    /// Scripts in the cache.
    pub cached_scripts: u64,
    /// Their texts.
    pub script_bytes: u64,
    /// Libraries.
    pub libraries: u64,
    /// Functions of all libraries.
    pub functions: u64,
    /// Texts and names of libraries.
    pub library_bytes: u64,
}

impl ScriptMemory {
    /// Reads the present figures.
    pub(crate) fn of(engine: &Engine) -> Self {
        let cached = engine.scripts.cache().cached();
        let libraries = engine.scripts.libraries();
        let heaps = |kind| engine.runs.iter().map(|run| run.memory(kind) as u64).sum();
        Self {
            script_heaps: heaps(Kind::Eval),
            function_heaps: heaps(Kind::Function),
            cached_scripts: cached.scripts as u64,
            script_bytes: cached.bytes as u64,
            libraries: libraries.iter().len() as u64,
            functions: libraries.function_count() as u64,
            library_bytes: libraries.memory() as u64,
        }
    }

    /// Heaps of all interpreters.
    pub(crate) fn heaps(&self) -> u64 {
        self.script_heaps + self.function_heaps
    }

    /// Texts of scripts and libraries.
    pub(crate) fn texts(&self) -> u64 {
        self.script_bytes + self.library_bytes
    }
}

/// All figures, in bytes as far as nothing else is said.
#[derive(Clone, Debug)]
pub(crate) struct MemoryReport {
    pub used: u64,
    pub peak: u64,
    pub rss: u64,
    pub startup: u64,
    pub clients_normal: u64,
    pub aof_buffer: u64,
    /// The part of the stream in memory that `repl-backlog-size` asks for.
    pub backlog: u64,
    /// What else there is of it: replicas have not read it, or it waits for the end of a full
    /// synchronization here.
    pub replica_buffers: u64,
    pub script_bytes: u64,
    pub library_bytes: u64,
    pub databases: Vec<DatabaseOverhead>,
    pub overhead: u64,
    pub dataset: u64,
    /// Keys in all databases.
    pub keys: u64,
    pub allocator: AllocatorStats,
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    part as f64 / whole as f64
}

fn difference(large: u64, small: u64) -> i64 {
    large.wrapping_sub(small) as i64
}

/// The backlog, and what else there is of the stream. Replicas and the backlog share one ring.
fn stream_memory(server: &Server) -> (u64, u64) {
    let size = server.engine.config.int(P::ReplBacklogSize).max(0) as u64;
    let stream = server.engine.log.stream_range();
    let bytes = stream.map_or(0, |it| it.end - it.start);
    let waits = server.replication.buffered.load(Ordering::Relaxed);
    (bytes.min(size), bytes.saturating_sub(size) + waits)
}

impl MemoryReport {
    /// Reads the present figures.
    pub(crate) fn gather(server: &Server, keyspace: &KeyspaceTotals) -> Self {
        let used = memory::used();
        let startup = server.metrics.startup_memory();
        let clients = server.engine.clients.all();
        let clients_normal = clients.iter().map(|client| client.memory() as u64).sum();
        let aof_buffer = server.engine.log.status().buffer_length as u64;
        let databases: Vec<DatabaseOverhead> = (0u32..)
            .zip(&keyspace.databases)
            .filter(|(_, totals)| totals.stats.entries > 0)
            .map(|(db, totals)| DatabaseOverhead {
                db,
                main: totals.stats.table_bytes as u64,
                expires: totals.stats.wheel_bytes as u64,
            })
            .collect();
        let tables: u64 = databases.iter().map(|db| db.main + db.expires).sum();
        let scripts = ScriptMemory::of(&server.engine);
        let (backlog, replica_buffers) = stream_memory(server);
        let overhead = startup
            + clients_normal
            + aof_buffer
            + backlog
            + replica_buffers
            + tables
            + scripts.heaps()
            + scripts.texts();
        Self {
            used,
            peak: memory::peak().max(used),
            rss: memory::rss(),
            startup,
            clients_normal,
            aof_buffer,
            backlog,
            replica_buffers,
            script_bytes: scripts.script_bytes,
            library_bytes: scripts.library_bytes,
            databases,
            overhead,
            dataset: used.saturating_sub(overhead),
            keys: keyspace
                .databases
                .iter()
                .map(|db| db.stats.entries as u64)
                .sum(),
            allocator: AllocatorStats::read(),
        }
    }

    /// Used memory in percent of the peak.
    pub(crate) fn peak_percent(&self) -> f64 {
        ratio(self.used, self.peak) * 100.0
    }

    /// Data in percent of what was added since the start.
    pub(crate) fn dataset_percent(&self) -> f64 {
        ratio(self.dataset, self.used.saturating_sub(self.startup).max(1)) * 100.0
    }

    /// Bytes of data per key.
    pub(crate) fn bytes_per_key(&self) -> u64 {
        self.dataset.checked_div(self.keys).unwrap_or(0)
    }

    /// Space in partly used pages of the allocator, as a ratio and in bytes.
    pub(crate) fn allocator_fragmentation(&self) -> (f64, i64) {
        let AllocatorStats {
            active, allocated, ..
        } = self.allocator;
        (ratio(active, allocated), difference(active, allocated))
    }

    /// Pages that the allocator keeps without using them, as a ratio and in bytes.
    pub(crate) fn allocator_rss(&self) -> (f64, i64) {
        let AllocatorStats {
            active, resident, ..
        } = self.allocator;
        (ratio(resident, active), difference(resident, active))
    }

    /// Memory of the process that does not come from the allocator, as a ratio and in bytes.
    pub(crate) fn rss_overhead(&self) -> (f64, i64) {
        let resident = self.allocator.resident;
        (ratio(self.rss, resident), difference(self.rss, resident))
    }

    /// All of the process's memory against what is in use, as a ratio and in bytes.
    pub(crate) fn fragmentation(&self) -> (f64, i64) {
        (ratio(self.rss, self.used), difference(self.rss, self.used))
    }
}
