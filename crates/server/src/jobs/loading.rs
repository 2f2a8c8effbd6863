//! Loading at start, while clients already get -LOADING: from the log, or from a snapshot.
//!
//! ```text
//! plan     which of the files in the directory is loaded        startup_plan.rs
//! reading  bytes to entries and commands                        persist::rdb, persist::Log
//! sink     entries in batches, inserted by other threads        rdb_sink.rs, loader_threads.rs
//! replay   the sink for a base, the executor for commands       replay.rs
//! ```

mod batch;
mod functions;
mod loader_threads;
mod rdb_sink;
pub(crate) mod reload;
mod replay;
mod report;
mod startup_plan;

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

pub(crate) use persist::existing_files::SIGNATURE_BYTES;
use persist::existing_files::{self, Source};
use persist::rdb::{self, RdbError};
use persist::{Disk, LogOptions};

pub(crate) use batch::Present;
pub(crate) use rdb_sink::{Figures, GoesOn, RdbSink, Rules, Staged, load_options};
pub(crate) use replay::Replay;

use crate::server::Server;
use engine::config::P;
use engine::shard_tables::{Keyspace, Locked};
use startup_plan::Decision;

/// Loads the data of the working directory, and opens the log when it is enabled. Commands on data
/// are refused until this succeeds.
///
/// # Errors
/// The data cannot be loaded. The reason has been logged as Redis logs it, unless the error
/// contains it.
pub(crate) fn load_all(server: &Server, log: &LogOptions) -> Result<(), LoadError> {
    server.engine.loading.begin(&server.engine.clock);
    let began_ns = server.engine.clock.monotonic_ns();
    let seconds = || server.engine.clock.monotonic_ns().saturating_sub(began_ns) as f64 / 1e9;
    let snapshot = server.engine.config.path(P::DbFileName);
    match startup_plan::decide(server, log) {
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
            startup_plan::take_over(server, log, &path, then)?;
        }
    }
    crate::jobs::snapshot::note_loaded(server);
    server.engine.loading.end();
    Ok(())
}

/// Loads the log of the data directory and opens it for appending. Returns the number of its files.
fn load_log(server: &Server) -> Result<usize, LoadError> {
    let mut replay = Replay::new(server, None);
    let report = server.engine.log.load(&mut replay)?;
    replay.finish().map_err(LoadError::Data)?;
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
fn load_at_start(server: &Server, path: &Path) -> Result<(), LoadError> {
    let goes_on = match server.engine.config.primary() {
        Some(_) => GoesOn::Replica,
        None => GoesOn::Primary,
    };
    let rules = Rules {
        drop_expired: true,
        goes_on: Some(goes_on),
        present: Present::Refuse,
    };
    match load_snapshot(server, path, None, rules) {
        Ok(figures) => {
            if let Some((id, offset)) = figures.history {
                server
                    .engine
                    .log
                    .set_stream_offset(offset, figures.stream_db);
                server.engine.log.set_replication_id(id);
            }
            Ok(())
        }
        Err(error) => {
            report::log(server, path, &error);
            Err(LoadError::Snapshot)
        }
    }
}

/// Why the data of a start is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The AOF cannot be loaded.
    #[error("{0}")]
    Log(#[from] persist::LoadError),
    /// The snapshot cannot be loaded; the log of the server says why.
    #[error("Fatal error loading the DB, check server logs. Exiting.")]
    Snapshot,
    /// The loaded entries could not be inserted, or the new base could not be written.
    #[error("{0}")]
    Data(String),
}

/// Why a snapshot is not loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    /// It cannot be opened.
    #[error("can't open the RDB file: {0}")]
    Open(#[from] io::Error),
    /// Its contents are wrong, or not supported here.
    #[error("{0}")]
    Data(#[from] RdbError),
}

/// Checks the beginning of the file, before the present data is removed.
///
/// # Errors
/// Its beginning is wrong; the error says why.
pub(crate) fn check_head(server: &Server, path: &Path) -> Result<(), SnapshotError> {
    let options = load_options(server);
    match existing_files::check_head(Source::open(&Disk, path)?, &options) {
        Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The same for bytes: the first ones of a snapshot, [`SIGNATURE_BYTES`] at least.
///
/// # Errors
/// The beginning is wrong; the error says why.
pub(crate) fn check_signature(server: &Server, head: &[u8]) -> Result<(), SnapshotError> {
    Ok(existing_files::check_signature(
        head,
        &load_options(server),
    )?)
}

/// Loads a snapshot as it arrives, into a keyspace beside that of the server, or else into its own,
/// without locks. Also returns how many bytes the snapshot has; more of them may have been read.
///
/// # Errors
/// It is wrong, which has been logged; entries before the error are loaded.
pub(crate) fn load_stream(
    server: &Server,
    source: &mut dyn Read,
    staged: Option<Arc<Keyspace>>,
    rules: Rules,
) -> Result<(Staged, u64), SnapshotError> {
    let mut sink = RdbSink::new(server, None, rules);
    if let Some(staged) = staged {
        sink = sink.into_staged(staged);
    }
    let loaded = rdb::load(source, &load_options(server), &mut sink);
    let loaded = loaded.inspect_err(report::log_stream)?;
    let rest = sink.finish_staged().map_err(|text| RdbError {
        cause: rdb::RdbCause::Refused(text),
        offset: loaded.bytes,
        place: None,
    })?;
    let figures = &rest.figures;
    server
        .engine
        .loading
        .note_keys(figures.loaded, figures.expired);
    Ok((rest, loaded.bytes))
}

/// Loads an RDB file. With `held` these are all shards, locked; without, none of them is.
///
/// # Errors
/// The file is wrong; entries before the error are loaded.
pub(crate) fn load_snapshot(
    server: &Server,
    path: &Path,
    held: Option<&mut Locked<'_>>,
    rules: Rules,
) -> Result<Figures, SnapshotError> {
    let mut source = Source::open(&Disk, path)?;
    server.engine.loading.set_total(source.len);
    let mut sink = RdbSink::new(server, held, rules);
    let loaded = rdb::load(&mut source, &load_options(server), &mut sink)?;
    let finished = sink.finish();
    server.replication.leave_out(sink.take_left_out());
    let figures = finished.map_err(|text| RdbError {
        cause: rdb::RdbCause::Refused(text),
        offset: loaded.bytes,
        place: None,
    })?;
    server
        .engine
        .loading
        .note_keys(figures.loaded, figures.expired);
    Ok(figures)
}
