//! Loading at start, while clients already get -LOADING: from the log, or from a snapshot.
//!
//! ```text
//! survey   what the directory holds, which of it is loaded        loading/survey.rs
//! reading  bytes to entries and commands                          persist::rdb, persist::Log
//! intake   entries in batches, on other cores into the shards     loading/{intake,batch,crew}.rs
//! replay   the intake for a base, the dispatcher for commands     loading/replay.rs
//! ```

mod batch;
mod crew;
mod intake;
mod replay;
mod report;
mod survey;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use keyspace::Locked;
use persist::existing_files::{self, Source};
use persist::rdb::{self, RdbError};
use persist::{Disk, LogOptions};

pub use batch::Present;
pub use intake::{Figures, Intake, Rules, load_options};
pub use replay::Replay;

use crate::config::P;
use crate::server::Server;
use crate::start::StartError;
use survey::Decision;

/// How far loading is, and what the last loading brought.
#[derive(Debug, Default)]
pub struct Loading {
    active: AtomicBool,
    /// Unix milliseconds of the start.
    started_ms: AtomicU64,
    total_bytes: AtomicU64,
    loaded_bytes: AtomicU64,
    /// What the file says its data took in memory, in bytes.
    used_memory: AtomicU64,
    keys_loaded: AtomicU64,
    keys_expired: AtomicU64,
}

impl Loading {
    /// Loading begins.
    pub fn begin(&self, now_ms: u64) {
        self.started_ms.store(now_ms, Ordering::Relaxed);
        for number in [
            &self.total_bytes,
            &self.loaded_bytes,
            &self.used_memory,
            &self.keys_loaded,
            &self.keys_expired,
        ] {
            number.store(0, Ordering::Relaxed);
        }
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

    /// How many bytes there are to load.
    pub fn set_total(&self, bytes: u64) {
        self.total_bytes.store(bytes, Ordering::Relaxed);
    }

    /// How many bytes are loaded.
    pub fn progress(&self, bytes: u64) {
        self.loaded_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Start (Unix milliseconds), bytes loaded, bytes in all.
    pub fn figures(&self) -> (u64, u64, u64) {
        (
            self.started_ms.load(Ordering::Relaxed),
            self.loaded_bytes.load(Ordering::Relaxed),
            self.total_bytes.load(Ordering::Relaxed),
        )
    }

    /// What the file says its data took in memory, in bytes.
    pub fn used_memory(&self) -> u64 {
        self.used_memory.load(Ordering::Relaxed)
    }

    fn note_used_memory(&self, bytes: u64) {
        self.used_memory.store(bytes, Ordering::Relaxed);
    }

    /// Keys loaded and keys left out as expired, by the last loading.
    pub fn keys(&self) -> (u64, u64) {
        (
            self.keys_loaded.load(Ordering::Relaxed),
            self.keys_expired.load(Ordering::Relaxed),
        )
    }

    fn note_keys(&self, figures: &Figures) {
        self.keys_loaded.store(figures.loaded, Ordering::Relaxed);
        self.keys_expired.store(figures.expired, Ordering::Relaxed);
    }
}

/// Loads what there is to load, and opens the log when there is to be one. Nothing serves commands on data before
/// this is over; after an error it never does.
///
/// # Errors
/// What is there cannot be loaded. It has been logged as Redis logs it, as far as the error does not say it.
pub fn load_all(server: &Server, log: &LogOptions) -> Result<(), StartError> {
    server.loading.begin(server.now_ms());
    let began_ns = server.clock.monotonic_ns();
    let seconds = || server.clock.monotonic_ns().saturating_sub(began_ns) as f64 / 1e9;
    let snapshot = server.config.path(P::DbFileName);
    match survey::decide(server, log) {
        Decision::Nothing => {}
        Decision::Log => {
            let files = load_log(server)?;
            if files > 0 {
                log::info!("DB loaded from append only file: {:.3} seconds", seconds());
            }
        }
        Decision::Snapshot { then } => {
            let path = snapshot.unwrap_or_default();
            load_at_start(server, &path)?;
            log::info!("DB loaded from disk: {:.3} seconds", seconds());
            survey::take_over(server, log, &path, then)?;
        }
    }
    crate::snapshot::note_loaded(server);
    server.loading.end();
    Ok(())
}

/// Loads the log of the data directory and opens it for appending. Returns the number of its files.
fn load_log(server: &Server) -> Result<usize, StartError> {
    let mut replay = Replay::new(server, None);
    let report = server.log.load(&mut replay)?;
    replay.finish().map_err(StartError::Data)?;
    keyspace::memory::publish();
    if let Some(truncated) = &report.truncated {
        let file = &truncated.file;
        log::warn!("!!! Warning: short read while loading the AOF file {file} !!!");
        log::warn!(
            "AOF {file} loaded anyway because aof-load-truncated is enabled: {} bytes were cut off at offset {}",
            truncated.dropped,
            truncated.offset
        );
    }
    Ok(report.files)
}

/// Loads the snapshot of a start.
fn load_at_start(server: &Server, path: &Path) -> Result<(), StartError> {
    let rules = Rules {
        drop_expired: true,
        present: Present::Refuse,
    };
    match load_snapshot(server, path, None, rules) {
        Ok(_) => Ok(()),
        Err(error) => {
            report::log(server, path, &error);
            Err(StartError::Snapshot)
        }
    }
}

/// Why a snapshot is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It cannot be opened.
    #[error("can't open the RDB file: {0}")]
    Open(#[from] io::Error),
    /// Something in it is wrong, or not possible here.
    #[error("{0}")]
    Data(#[from] RdbError),
}

/// Whether the file begins as one that can be loaded: before what is there makes room for it.
///
/// # Errors
/// What is wrong with its beginning.
pub fn check_head(server: &Server, path: &Path) -> Result<(), SnapshotError> {
    let options = load_options(server);
    match existing_files::check_head(Source::open(&Disk, path)?, &options) {
        Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Loads an RDB file. With `held` these are all shards, locked; without, none of them is.
///
/// # Errors
/// What is wrong with the file. What came before that is loaded.
pub fn load_snapshot(
    server: &Server,
    path: &Path,
    held: Option<&mut Locked<'_>>,
    rules: Rules,
) -> Result<Figures, SnapshotError> {
    let mut source = Source::open(&Disk, path)?;
    server.loading.set_total(source.len);
    let mut intake = Intake::new(server, held, rules);
    let loaded = rdb::load(&mut source, &load_options(server), &mut intake)?;
    let finished = intake.finish();
    let figures = finished.map_err(|text| RdbError {
        cause: rdb::RdbCause::Refused(text),
        offset: loaded.bytes,
        place: None,
    })?;
    server.loading.note_keys(&figures);
    Ok(figures)
}
