//! Backups: copies of the data that a server can start from, made while this one runs.
//!
//! With the log it is a copy of the log, most of it by hard links (`persist::Log::backup`); without
//! it, a snapshot. A thread makes the copy, checks it by reading it, and then renames it to its
//! final name.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use persist::Storage;
use persist::check::check_rdb;

use crate::jobs::snapshot;
use crate::os::os_text;
use crate::server::Server;
use engine::config::P;
use engine::error::CommandError;

/// The backup that is under way, until this is dropped.
struct Running(Arc<Server>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.backups.running.store(false, Ordering::Release);
    }
}

/// Begins a backup under this name. INFO and the server's log report how it ended.
///
/// # Errors
/// One is under way, or the system has no thread to spare.
pub(crate) fn start(server: &Server, name: String) -> Result<(), CommandError> {
    let me = server.me.upgrade();
    let me = me.ok_or(CommandError::line("ERR the server is shutting down"))?;
    if server
        .snapshots
        .storage
        .list(&target(server, &name))
        .is_ok()
    {
        return Err(CommandError::owned(format!(
            "ERR there is a backup called '{name}' already"
        )));
    }
    if server.backups.running.swap(true, Ordering::AcqRel) {
        return Err(CommandError::line(
            "ERR Background backup already in progress",
        ));
    }
    let running = Running(me);
    let thread = std::thread::Builder::new().name("backup".to_owned());
    let spawned = thread.spawn(move || {
        crate::os::lower_thread_priority();
        run(&running.0, &name);
    });
    spawned.map(|_| ()).map_err(|error| {
        let reason = os_text(&error);
        CommandError::owned(format!("ERR Can't start a backup: {reason}"))
    })
}

fn target(server: &Server, name: &str) -> PathBuf {
    let parent = server.engine.config.text(P::BackupDir);
    server.engine.config.dir().join(parent).join(name)
}

fn run(server: &Arc<Server>, name: &str) {
    let began_ns = server.engine.clock.monotonic_ns();
    let target = target(server, name);
    let result = match server.engine.log.is_enabled() {
        true => copy_log(server, &target),
        false => copy_data(server, &target),
    };
    let state = &server.backups;
    let seconds = server.engine.clock.monotonic_ns().saturating_sub(began_ns) / 1_000_000_000;
    state.last_seconds.store(seconds as i64, Ordering::Relaxed);
    state.failed.store(result.is_err(), Ordering::Relaxed);
    match result {
        Ok(what) => {
            let now_s = (server.engine.now_ms() / 1000) as i64;
            state.last_s.store(now_s, Ordering::Relaxed);
            let path = target.display();
            log::info!(
                "Backup '{name}' is complete and was checked: {what}. Start a server with --dir {path} to use it"
            );
        }
        Err(reason) => log::warn!("Backup '{name}' failed: {reason}"),
    }
    keyspace::memory::publish();
}

fn copy_log(server: &Server, target: &Path) -> Result<String, String> {
    let backup = server.engine.log.backup(target);
    let backup = backup.map_err(|error| error.to_string())?;
    Ok(format!(
        "{} files ({} of them links), {} bytes, up to log offset {}",
        backup.files, backup.linked, backup.bytes, backup.offset
    ))
}

/// A snapshot in a directory of its own.
fn copy_data(server: &Arc<Server>, target: &Path) -> Result<String, String> {
    let storage = &*server.snapshots.storage;
    let mut partial = target.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let parent = target.parent().unwrap_or(Path::new("."));
    for dir in [parent, &partial] {
        at(dir, storage.make_dir(dir))?;
    }
    snapshot::copy(server, partial.clone())?;
    let name = server.engine.config.text(P::DbFileName);
    check(storage, server.engine.now_ms(), &partial.join(&name))?;
    at(target, storage.rename(&partial, target))?;
    at(parent, storage.sync_dir(parent))?;
    Ok(format!("a snapshot, {name}"))
}

fn check(storage: &dyn Storage, now_ms: u64, path: &Path) -> Result<(), String> {
    let mut said = Vec::new();
    if at(path, check_rdb(storage, path, now_ms, &mut said))? {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    Err(format!("the copy is damaged: {}", last.unwrap_or_default()))
}

fn at<T>(path: &Path, result: std::io::Result<T>) -> Result<T, String> {
    result.map_err(|error| format!("{}: {}", path.display(), os_text(&error)))
}
