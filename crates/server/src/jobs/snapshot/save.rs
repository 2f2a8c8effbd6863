//! `dbfilename`: SAVE, BGSAVE, save points, and the last snapshot before the end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use keyspace::EntryRef;
use persist::rdb::SaveOptions;

use super::file::{DumpFile, FileError, StreamPlace};
use super::hook::Buffers;
use super::walk::{Size, Walk, delay};
use super::{Encoder, Form, Output, SnapshotError, save_options};
use crate::server::Server;
use crate::state::{Job, Purpose};
use engine::error::CommandError;
use engine::shard_tables::Locked;

/// After a failure the next try of a save point waits so long, in seconds.
const RETRY_DELAY_S: u64 = 5;

/// A cancelled snapshot is waited for so long before the server ends.
const PATIENCE: Duration = Duration::from_secs(10);

/// How BGSAVE was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Save {
    /// Now or not at all.
    Now,
    /// As soon as nothing else is written.
    Scheduled,
    /// After the transaction that asks for it.
    AfterTransaction,
}

/// Writes the file under locks of all shards, so that nothing changes meanwhile. `unlogged`:
/// changes that the caller has made already and that are counted later.
///
/// # Errors
/// The reason, which has been logged. The old file stays.
pub(crate) fn save(server: &Server, locked: &Locked<'_>, unlogged: u64) -> Result<(), String> {
    save_unless(server, locked, unlogged, &|| false)
}

/// As [`save`]; cancelled when `is_over` returns true.
fn save_unless(
    server: &Server,
    locked: &Locked<'_>,
    unlogged: u64,
    is_over: &dyn Fn() -> bool,
) -> Result<(), String> {
    let state = &server.snapshots;
    let changes = server.engine.changes_made() + unlogged;
    state.saves.fetch_add(1, Ordering::Relaxed);
    match write_locked(server, locked, is_over) {
        Ok(()) => {
            log::info!("DB saved on disk");
            succeeded(server, changes);
            Ok(())
        }
        Err(error) => {
            log::warn!("{error}");
            Err(error.to_string())
        }
    }
}

fn succeeded(server: &Server, changes: u64) {
    let state = &server.snapshots;
    state.saved_changes.store(changes, Ordering::Relaxed);
    note_saved(server);
    server
        .engine
        .switches
        .snapshots_fail
        .store(false, Ordering::Relaxed);
}

/// Data was saved, or loaded, at this moment.
fn note_saved(server: &Server) {
    let (now_ms, steady_ms) = (server.engine.now_ms(), server.engine.steady_ms());
    server.last_save_s.store(now_ms / 1000, Ordering::Relaxed);
    let saved_at_s = &server.snapshots.saved_at_s;
    saved_at_s.store(steady_ms / 1000, Ordering::Relaxed);
}

/// The file as it is written without a hook: database by database.
fn write_locked(
    server: &Server,
    locked: &Locked<'_>,
    is_over: &dyn Fn() -> bool,
) -> Result<(), FileError> {
    let mut check = || match is_over() {
        true => Err(SnapshotError::Cancelled),
        false => Ok(()),
    };
    let options = save_options(server, locked);
    let sizes = sizes(server, locked);
    let (dir, place) = (server.engine.config.dir(), StreamPlace::now(server));
    let mut file = DumpFile::create(server, dir, options, place, &sizes)?;
    let encoder = Encoder::new(server, Form::Rdb(options));
    each_piece(server, locked, encoder, &sizes, &mut file, &mut check)?;
    file.finish()
}

/// The databases that have keys.
pub(crate) fn sizes(server: &Server, locked: &Locked<'_>) -> Vec<Size> {
    (0..server.engine.keyspace.databases())
        .map(|db| Size::of(locked, db))
        .filter(|size| size.keys > 0)
        .collect()
}

/// Gives all entries to an output, under locks of all shards.
///
/// # Errors
/// Those of the output and of encoding.
pub(crate) fn write_entries(
    server: &Server,
    locked: &Locked<'_>,
    form: Form,
    sizes: &[Size],
    output: &mut dyn Output,
) -> Result<(), SnapshotError> {
    let encoder = Encoder::new(server, form);
    each_piece(server, locked, encoder, sizes, output, &mut || Ok(()))
}

fn each_piece(
    server: &Server,
    locked: &Locked<'_>,
    encoder: Encoder,
    sizes: &[Size],
    output: &mut dyn Output,
    check: &mut dyn FnMut() -> Result<(), SnapshotError>,
) -> Result<(), SnapshotError> {
    let mut buffer = Vec::new();
    for size in sizes {
        each_entry(locked, size.db, &mut |entry| {
            check()?;
            encoder.encode(entry, &mut buffer)?;
            if buffer.len() >= Buffers::ENOUGH {
                output.entries(size.db, &buffer)?;
                buffer.clear();
                if let Some(grown) = output.due_sync() {
                    grown.sync_data()?;
                }
            }
            delay(server, &mut *check)
        })?;
        output.entries(size.db, &buffer)?;
        buffer.clear();
    }
    Ok(())
}

fn each_entry(
    locked: &Locked<'_>,
    db: u32,
    visit: &mut dyn FnMut(EntryRef<'_>) -> Result<(), SnapshotError>,
) -> Result<(), SnapshotError> {
    for shard in locked.shards() {
        let mut position = 0;
        let mut result = Ok(());
        loop {
            position = shard.scan(db, position, |entry| {
                if result.is_ok() {
                    result = visit(entry);
                }
            });
            std::mem::replace(&mut result, Ok(()))?;
            if position == 0 {
                break;
            }
        }
    }
    Ok(())
}

/// BGSAVE. All shards are locked. Returns what it answers.
///
/// # Errors
/// Another snapshot is under way, or the system has no thread to spare.
pub(crate) fn background(
    server: &Server,
    locked: &mut Locked<'_>,
    how: Save,
) -> Result<&'static str, CommandError> {
    let state = &server.snapshots;
    let job = match how {
        Save::AfterTransaction => None,
        _ => state.claim(Purpose::Save, server.engine.steady_ms()),
    };
    if let Some(job) = job {
        return start(server, locked, job)
            .map(|()| "Background saving started")
            .map_err(|reason| CommandError::owned(format!("ERR {reason}")));
    }
    if state.purpose() == Some(Purpose::Save) {
        return Err(CommandError::line(
            "ERR Background save already in progress",
        ));
    }
    match how {
        Save::Now => {
            return Err(CommandError::line(
                "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in \
                 order to schedule a BGSAVE whenever possible.",
            ));
        }
        Save::Scheduled => log::info!("Background saving scheduled due to user request"),
        Save::AfterTransaction => {
            log::info!("Background saving scheduled to run after transaction execution");
        }
    }
    state.scheduled.store(true, Ordering::Relaxed);
    Ok("Background saving scheduled")
}

/// The data that the thread of a snapshot begins with.
struct Start {
    walk: Walk,
    options: SaveOptions,
    /// The counter of changes at the start.
    changes: u64,
}

fn start(server: &Server, locked: &mut Locked<'_>, job: Arc<Job>) -> Result<(), String> {
    let state = &server.snapshots;
    let Some(server) = server.me.upgrade() else {
        return Err("the server is shutting down".to_owned());
    };
    state.saves.fetch_add(1, Ordering::Relaxed);
    state
        .last_try_s
        .store(server.engine.steady_ms() / 1000, Ordering::Relaxed);
    // The thread is started before the snapshot begins, so that no snapshot fails for want of a
    // thread.
    let (sender, receiver) = sync_channel(1);
    let thread = {
        let (server, job) = (Arc::clone(&server), Arc::clone(&job));
        std::thread::Builder::new()
            .name("snapshot".to_owned())
            .spawn(move || run(&server, job, &receiver))
    };
    if let Err(error) = thread {
        server
            .engine
            .switches
            .snapshots_fail
            .store(true, Ordering::Relaxed);
        let reason = format!("Can't save in background: {}", crate::os::os_text(&error));
        log::warn!("{reason}");
        return Err(reason);
    }
    let options = save_options(&server, locked);
    let changes = server.engine.changes_made();
    let walk = super::begin(&server, locked, Form::Rdb(options), &job);
    let start = Start {
        walk,
        options,
        changes,
    };
    log::info!("Background saving started by pid {}", server.identity.pid);
    // The thread waits for exactly this.
    drop(sender.send(start));
    Ok(())
}

/// The body of the thread.
fn run(server: &Arc<Server>, job: Arc<Job>, receiver: &Receiver<Start>) {
    let Ok(start) = receiver.recv() else { return };
    crate::os::lower_thread_priority();
    let state = &server.snapshots;
    let changes = start.changes;
    let result = catch_unwind(AssertUnwindSafe(|| write(server, start)))
        .unwrap_or_else(|_| Err(FileError::Failed("The snapshot panicked".to_owned())));
    let kept_peak = job.progress.kept_peak.load(Ordering::Relaxed);
    state.last_kept_peak.store(kept_peak, Ordering::Relaxed);
    let seconds = server.engine.steady_ms().saturating_sub(job.started_ms) / 1000;
    state.last_seconds.store(seconds as i64, Ordering::Relaxed);
    match result {
        Ok(()) => {
            log::info!("DB saved on disk");
            log::info!("Background saving terminated with success");
            succeeded(server, changes);
        }
        Err(FileError::Cancelled) => log::warn!("Background saving terminated: it was cancelled"),
        Err(error) => {
            log::warn!("{error}");
            log::warn!("Background saving error");
            server
                .engine
                .switches
                .snapshots_fail
                .store(true, Ordering::Relaxed);
        }
    }
    keyspace::memory::publish();
}

fn write(server: &Arc<Server>, start: Start) -> Result<(), FileError> {
    write_walk(
        server,
        server.engine.config.dir(),
        start.walk,
        start.options,
    )
}

fn write_walk(
    server: &Arc<Server>,
    dir: PathBuf,
    walk: Walk,
    options: SaveOptions,
) -> Result<(), FileError> {
    let file = DumpFile::create(server, dir, options, walk.place(), walk.sizes());
    let (file, figures) = match file {
        Ok(file) => walk.write(file)?,
        Err(error) => {
            walk.abandon();
            return Err(error);
        }
    };
    log::info!(
        "Snapshot: {} keys, {} of them changed meanwhile; {} bytes of old values waited at most; a lock was \
         held for {} microseconds at most",
        figures.keys,
        figures.pre_images,
        figures.kept_peak,
        figures.longest_hold_us
    );
    file.finish()
}

/// Writes the file into another directory, from a snapshot of this moment; the file of the server
/// itself stays as it is. Called without locks of shards held.
///
/// # Errors
/// Another snapshot is under way, or the file cannot be written.
pub(crate) fn copy(server: &Arc<Server>, dir: PathBuf) -> Result<(), String> {
    let job = server
        .snapshots
        .claim(Purpose::Copy, server.engine.steady_ms())
        .ok_or("another snapshot is under way")?;
    let (walk, options) = {
        let mut locked = server.engine.keyspace.lock_all();
        let options = save_options(server, &locked);
        let walk = super::begin(server, &mut locked, Form::Rdb(options), &job);
        (walk, options)
    };
    write_walk(server, dir, walk, options).map_err(|error| error.to_string())
}

/// BGSAVE CANCEL. Returns its reply.
///
/// # Errors
/// There is nothing to cancel.
pub(crate) fn cancel(server: &Server) -> Result<&'static str, CommandError> {
    let state = &server.snapshots;
    if let Some(job) = state.current()
        && job.purpose == Purpose::Save
    {
        log::info!("Background saving will be aborted due to user request");
        job.cancel();
        return Ok("Background saving cancelled");
    }
    if state.scheduled.swap(false, Ordering::Relaxed) {
        log::info!("Scheduled background saving will be cancelled due to user request");
        return Ok("Scheduled background saving cancelled");
    }
    Err(CommandError::line(
        "ERR Background saving is currently not in progress or scheduled",
    ))
}

/// Ends a snapshot that is being written to `dbfilename`. Whether there is one.
pub(crate) fn cancel_save(server: &Server) -> bool {
    match server.snapshots.current() {
        Some(job) if job.purpose == Purpose::Save => {
            job.cancel();
            true
        }
        _ => false,
    }
}

/// FLUSHALL has emptied the server: a running snapshot of the old data is cancelled, and with save
/// points the file is emptied, too, so that the data does not come back with a restart.
pub(crate) fn after_flush_all(server: &Server, locked: &Locked<'_>, unlogged: u64) {
    cancel_save(server);
    if !server.engine.config.save_points().is_empty() {
        // A failure has been logged, and does not fail the command.
        let _ = save(server, locked, unlogged);
    }
}

/// The timers' part: scheduled snapshots and save points.
pub(crate) fn tick(server: &Server, steady_ms: u64) {
    let state = &server.snapshots;
    if server.engine.loading.is_active()
        || server.shutdown.is_requested()
        || server.engine.is_half_changed()
    {
        return;
    }
    let now_s = steady_ms / 1000;
    let tried_s = state.last_try_s.load(Ordering::Relaxed);
    let has_failed = server
        .engine
        .switches
        .snapshots_fail
        .load(Ordering::Relaxed);
    if (has_failed && now_s.saturating_sub(tried_s) <= RETRY_DELAY_S) || state.is_busy() {
        return;
    }
    if !state.scheduled.load(Ordering::Relaxed) && !reached_point(server, now_s) {
        return;
    }
    let Some(job) = state.claim(Purpose::Save, steady_ms) else {
        return;
    };
    // While a script runs for long this is tried again at the next turn.
    let runs = &server.engine.runs;
    let mut waits = || !runs.any_slow();
    let Ok(mut locked) = server.engine.keyspace.lock_all_patient(&mut waits) else {
        return;
    };
    // The reason of a failure has been logged, and what is scheduled is tried again.
    if start(server, &mut locked, job).is_ok() {
        state.scheduled.store(false, Ordering::Relaxed);
    }
}

/// Whether a save point is reached, with its line in the log.
fn reached_point(server: &Server, now_s: u64) -> bool {
    let changes = server.changes_since_save();
    let since_s = now_s.saturating_sub(server.snapshots.saved_at_s.load(Ordering::Relaxed));
    let points = server.engine.config.save_points();
    let reached = points.iter().find(|point| {
        let (seconds, wanted) = (point.seconds.max(0) as u64, point.changes.max(0) as u64);
        changes >= wanted && since_s > seconds
    });
    if let Some(point) = reached {
        log::info!(
            "{} changes in {} seconds. Saving...",
            point.changes,
            point.seconds
        );
    }
    reached.is_some()
}

/// The last snapshot, before the server ends. Called without locks held. When `is_interrupted`
/// (another SIGINT has come) the process ends at once.
///
/// # Errors
/// The reason, which has been logged.
pub(crate) fn save_before_stop(
    server: &Server,
    is_interrupted: &dyn Fn() -> bool,
) -> Result<(), String> {
    log::info!("Saving the final RDB snapshot before exiting.");
    let saved = save_unless(
        server,
        &server.engine.keyspace.lock_all(),
        0,
        is_interrupted,
    );
    if saved.is_err() && is_interrupted() {
        log::warn!("You insist... exiting now.");
        std::process::exit(1);
    }
    saved?;
    server.snapshots.is_final.store(true, Ordering::Relaxed);
    Ok(())
}

/// Ends a snapshot that is under way, because the server ends. Called without locks held. False
/// when the server must not end: the log is of no use before its first base is written, and `force`
/// was not asked for.
pub(crate) fn stop_running(server: &Server, force: bool) -> bool {
    let Some(job) = server.snapshots.current() else {
        return true;
    };
    match job.purpose {
        Purpose::Save => log::warn!("There is a child saving an .rdb. Killing it!"),
        Purpose::Rewrite if server.engine.log.status().waits_for_base && !force => {
            log::warn!("Writing initial AOF, can't exit.");
            return false;
        }
        Purpose::Copy => log::warn!("There is a backup under way. Ending it!"),
        Purpose::Sync => log::warn!("There is a snapshot for replicas under way. Ending it!"),
        Purpose::Rewrite => log::warn!("There is a child rewriting the AOF. Killing it!"),
    }
    job.cancel();
    drop(job);
    if !server.snapshots.wait_for_end(PATIENCE) {
        log::warn!("The snapshot that was running does not end");
    }
    true
}

/// Starts counting changes, after the data was loaded.
pub(crate) fn note_loaded(server: &Server) {
    let state = &server.snapshots;
    state
        .saved_changes
        .store(server.engine.changes_made(), Ordering::Relaxed);
    note_saved(server);
}

/// Saves changes that were made after the last snapshot before the end. The workers have ended.
pub(crate) fn finish_stopped(server: &Server) {
    if server.snapshots.is_final.load(Ordering::Relaxed) && server.changes_since_save() > 0 {
        // A failure has been logged, and there is nothing else to be done.
        let _ = save(server, &server.engine.keyspace.lock_all(), 0);
    }
}
