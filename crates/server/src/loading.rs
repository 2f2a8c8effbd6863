//! Loading the log at start, while clients already get -LOADING.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use persist::Target;
use persist::rdb::{LoadedEntry, Sink};
use resp::{Args, Output};

use crate::dispatch::{self, Executor, Request};
use crate::server::Server;

/// How far loading is.
#[derive(Debug, Default)]
pub struct Loading {
    active: AtomicBool,
    /// Unix milliseconds of the start.
    started_ms: AtomicU64,
    total_bytes: AtomicU64,
    loaded_bytes: AtomicU64,
}

impl Loading {
    /// Loading begins.
    pub fn begin(&self, now_ms: u64) {
        self.started_ms.store(now_ms, Ordering::Relaxed);
        self.loaded_bytes.store(0, Ordering::Relaxed);
        self.active.store(true, Ordering::Release);
    }

    /// Loading is over.
    pub fn end(&self) {
        self.active.store(false, Ordering::Release);
    }

    /// True while data is loaded.
    #[inline]
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// Reports progress, in bytes.
    pub fn progress(&self, loaded: u64, total: u64) {
        self.loaded_bytes.store(loaded, Ordering::Relaxed);
        self.total_bytes.store(total, Ordering::Relaxed);
    }

    /// Start (Unix milliseconds), bytes loaded, bytes in all.
    pub fn figures(&self) -> (u64, u64, u64) {
        (
            self.started_ms.load(Ordering::Relaxed),
            self.loaded_bytes.load(Ordering::Relaxed),
            self.total_bytes.load(Ordering::Relaxed),
        )
    }
}

/// Gives what the files of the log hold to the keyspace: commands by a function of the caller, which must not
/// hold locks of shards while entries are loaded.
pub struct FileTarget<'a, C> {
    /// Whose data it is.
    pub server: &'a Server,
    /// Runs a command.
    pub command: C,
}

impl<C: FnMut(Args<'_>) -> Result<(), String>> Sink for FileTarget<'_, C> {
    fn entry(&mut self, entry: LoadedEntry<'_>) -> Result<(), String> {
        let keyspace = &self.server.keyspace;
        if entry.db >= keyspace.databases() {
            return Err(format!("database {} is out of range", entry.db));
        }
        let hash = keyspace.hash(entry.key);
        let lru = self.server.lru.now().restored(entry.access);
        let mut locked = keyspace.lock_one(keyspace.shard_of(hash));
        if let Some(shard) = locked.shard_mut(hash) {
            let LoadedEntry {
                db, key, deadline, ..
            } = entry;
            drop(shard.put(db, hash, key, entry.value, deadline, lru));
        }
        Ok(())
    }

    fn function(&mut self, _code: &[u8]) -> Result<(), String> {
        Err("functions are not part of this version".to_owned())
    }
}

impl<C: FnMut(Args<'_>) -> Result<(), String>> Target for FileTarget<'_, C> {
    fn command(&mut self, args: Args<'_>) -> Result<(), String> {
        (self.command)(args)
    }

    fn progress(&mut self, loaded: u64, total: u64) {
        keyspace::memory::publish();
        self.server.loading.progress(loaded, total);
    }
}

/// Loads the log of the data directory and opens it for appending.
pub fn load_log(server: &Server) -> Result<(), persist::LoadError> {
    let started_ms = server.now_ms();
    let began_ns = server.clock.monotonic_ns();
    server.loading.begin(started_ms);
    let mut exec = Executor::new(server, server.workers.len());
    let mut session = crate::durability::replay_session(server);
    let mut out = Output::new();
    let result = server.log.load(&mut FileTarget {
        server,
        command: |args: Args<'_>| {
            let request = Request::new(server, args);
            if !matches!(request.entry, Ok(Some(_))) {
                return Err(format!(
                    "Unknown command '{}' reading the append only file",
                    String::from_utf8_lossy(args.arg(0))
                ));
            }
            dispatch::run(
                &mut exec,
                server,
                &mut session,
                request,
                &mut out,
                &mut None,
            );
            let failed = out
                .as_contiguous()
                .and_then(|reply| reply.strip_prefix(b"-"))
                .map(|line| String::from_utf8_lossy(line).trim_end().to_owned());
            out.clear();
            failed.map_or(Ok(()), Err)
        },
    });
    server.loading.end();
    let report = result?;
    keyspace::memory::publish();
    if let Some(truncated) = &report.truncated {
        log::warn!(
            "!!! Warning: short read while loading the AOF file {} !!!",
            truncated.file
        );
        log::warn!(
            "AOF {} loaded anyway because aof-load-truncated is enabled: {} bytes were cut off at offset {}",
            truncated.file,
            truncated.dropped,
            truncated.offset
        );
    }
    if report.files > 0 {
        let seconds = server.clock.monotonic_ns().saturating_sub(began_ns) as f64 / 1e9;
        log::info!("DB loaded from append only file: {seconds:.3} seconds");
    }
    Ok(())
}
