//! The file of a snapshot: written beside the old one, and put in its place when it is whole and
//! durable.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use persist::rdb::{FileWriter, SaveOptions};
use persist::storage::{File, OpenMode};
use persist::{LOG_OFFSET_AUX, ReplicationId, Storage};

use super::walk::Size;
use super::{Output, SnapshotError};
use crate::os::{self, os_text};
use crate::server::Server;
use crate::state::{SnapshotFile, random_u64};
use engine::config::P;
use engine::version::{LODESTORE_VERSION, REDIS_VERSION};

/// A growing file is synced whenever it has grown by so many bytes (`rdb-save-incremental-fsync`).
const SYNC_BYTES: u64 = 4 * 1024 * 1024;

/// Auxiliary field: the product that the data came from, see [`crate::state::Product`].
pub(crate) const ORIGIN_AUX: &str = "lodestore-origin";

/// Auxiliary field: see [`Head::stream_db`].
pub(crate) const STREAM_DB_AUX: &str = "repl-stream-db";

/// Auxiliary field: the replication id, see [`Head::history`].
pub(crate) const REPL_ID_AUX: &str = "repl-id";

/// Auxiliary field: the stream offset, see [`Head::history`].
pub(crate) const REPL_OFFSET_AUX: &str = "repl-offset";

/// Begin and end of the name of a file that is being written; a process id stands between them, for
/// snapshots in the background followed by `-` and a number.
const TEMP_NAME: (&str, &str) = ("temp-", ".rdb");

/// Why a file was not written, in the words of Redis's log.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    /// The snapshot was cancelled, which is no error.
    #[error("the snapshot was cancelled")]
    Cancelled,
    /// The reason.
    #[error("{0}")]
    Failed(String),
}

impl From<SnapshotError> for FileError {
    fn from(error: SnapshotError) -> Self {
        match error {
            SnapshotError::Cancelled => Self::Cancelled,
            SnapshotError::NoForm(reason) => Self::Failed(reason.to_string()),
            SnapshotError::Io(error) => write_error("rdbSaveRio", &error),
        }
    }
}

fn write_error(step: &str, error: &io::Error) -> FileError {
    let reason = os_text(error);
    FileError::Failed(format!(
        "Write error while saving DB to the disk({step}): {reason}"
    ))
}

/// A file as an [`io::Write`]; like write(2), a call may write a part of the bytes only.
pub(super) struct Sink(Arc<dyn File>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.append(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A temporary file, removed unless it becomes the file.
struct Temp {
    server: Weak<Server>,
    storage: Arc<dyn Storage>,
    path: PathBuf,
    is_kept: bool,
}

impl Drop for Temp {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        let server = self.server.upgrade();
        let now_ns = || {
            server
                .as_ref()
                .map_or(0, |server| server.engine.clock.monotonic_ns())
        };
        let began_ns = now_ns();
        if let Err(error) = self.storage.remove(&self.path) {
            let path = self.path.display();
            log::warn!("Removing {path}: {}", os_text(&error));
        }
        if let Some(server) = &server {
            let ms = now_ns().saturating_sub(began_ns) / 1_000_000;
            server
                .engine
                .latency
                .record("rdb-unlink-temp-file", server.engine.now_ms(), ms);
        }
    }
}

/// A file that is being written.
pub(super) struct DumpFile {
    writer: FileWriter<Sink>,
    file: Arc<dyn File>,
    temp: Temp,
    dir: PathBuf,
    name: String,
    /// Sync while it grows.
    incremental: bool,
    synced: u64,
}

impl Output for DumpFile {
    fn entries(&mut self, db: u32, encoded: &[u8]) -> io::Result<()> {
        self.writer.entries(db, encoded)
    }

    fn due_sync(&mut self) -> Option<Arc<dyn File>> {
        let bytes = self.writer.bytes();
        if !self.incremental || bytes - self.synced < SYNC_BYTES {
            return None;
        }
        self.synced = bytes;
        Some(Arc::clone(&self.file))
    }
}

impl DumpFile {
    /// Begins the file that `dbfilename` names now, in this directory, with the data at `place`.
    pub(super) fn create(
        server: &Server,
        dir: PathBuf,
        options: SaveOptions,
        place: StreamPlace,
        sizes: &[Size],
    ) -> Result<DumpFile, FileError> {
        // Without a log the snapshot is what is newest: a server that starts with both decides by
        // this field which one to load.
        let head = Head {
            log_offset: server.engine.log.is_enabled().then_some(place.offset),
            history: place.id.map(|id| (id, place.offset)),
            stream_db: place.id.and(place.db.or(Some(0))),
            ..Head::default()
        };
        Self::create_with(server, dir, |sink| {
            begin_file(server, sink, options, head, sizes)
        })
    }

    /// Begins the file by what `begin` writes.
    pub(super) fn create_with(
        server: &Server,
        dir: PathBuf,
        begin: impl FnOnce(Sink) -> io::Result<FileWriter<Sink>>,
    ) -> Result<DumpFile, FileError> {
        let temp_name = temp_name(server);
        let path = dir.join(&temp_name);
        let storage = Arc::clone(&server.snapshots.storage);
        let file = storage.open(&path, OpenMode::Create).map_err(|error| {
            FileError::Failed(format!(
                "Failed opening the temp RDB file {temp_name} (in server root dir {}) for saving: {}",
                dir.display(),
                os_text(&error)
            ))
        })?;
        let temp = Temp {
            server: server.me.clone(),
            storage,
            path,
            is_kept: false,
        };
        let writer =
            begin(Sink(Arc::clone(&file))).map_err(|error| write_error("rdbSaveRio", &error))?;
        Ok(DumpFile {
            writer,
            file,
            temp,
            dir,
            name: server.engine.config.text(P::DbFileName),
            incremental: server.engine.config.bool(P::RdbSaveIncrementalFsync),
            synced: 0,
        })
    }

    /// Another handle of the file, to read what has been written.
    pub(super) fn reader(&self) -> Result<Arc<dyn File>, FileError> {
        let opened = self.temp.storage.open(&self.temp.path, OpenMode::Read);
        opened.map_err(|error| write_error("open", &error))
    }

    /// Ends the file and takes its name away: it lasts as long as what is returned, for reading.
    pub(super) fn finish_unnamed(self) -> Result<SnapshotFile, FileError> {
        let file = self.reader()?;
        let Self { writer, temp, .. } = self;
        writer
            .finish()
            .map_err(|error| write_error("fflush", &error))?;
        drop(temp);
        let len = file.len().map_err(|error| write_error("stat", &error))?;
        Ok(SnapshotFile { file, len })
    }

    /// Ends the file, makes it durable and puts it in the place of the old one.
    pub(super) fn finish(self) -> Result<(), FileError> {
        let Self {
            writer,
            file,
            mut temp,
            dir,
            name,
            ..
        } = self;
        writer
            .finish()
            .map_err(|error| write_error("fflush", &error))?;
        file.sync_data()
            .map_err(|error| write_error("fsync", &error))?;
        temp.storage
            .rename(&temp.path, &dir.join(&name))
            .map_err(|error| {
                let temp_name = temp.path.file_name().unwrap_or_default().to_string_lossy();
                FileError::Failed(format!(
                    "Error moving temp DB file {temp_name} on the final destination {name} (in server root dir {}): {}",
                    dir.display(),
                    os_text(&error)
                ))
            })?;
        temp.is_kept = true;
        temp.storage.sync_dir(&dir).map_err(|error| {
            let reason = os_text(&error);
            FileError::Failed(format!(
                "Failed to fsync directory while saving DB: {reason}"
            ))
        })
    }
}

/// `temp-<pid>-<number>.rdb`, with a number that cannot be guessed: no other user with the right to
/// write into the directory can take the name before.
fn temp_name(server: &Server) -> String {
    let (begin, end) = TEMP_NAME;
    let (pid, number) = (server.identity.pid, random_u64());
    format!("{begin}{pid}-{number}{end}")
}

/// Where data stands in the replication stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamPlace {
    /// Stream offset.
    pub(crate) offset: u64,
    /// The replication id; `None` when there is no backlog, so that offsets mean nothing to others.
    pub(crate) id: Option<ReplicationId>,
    /// The database that is selected in the stream there.
    pub(crate) db: Option<u32>,
}

impl StreamPlace {
    /// Where the data is now. Called under locks of all shards.
    pub(crate) fn now(server: &Server) -> Self {
        let log = &server.engine.log;
        let has_backlog = log.stream_range().is_some();
        Self {
            offset: log.stream_offset(),
            id: server.replication.log_id().filter(|_| has_backlog),
            db: log.stream_db(),
        }
    }
}

/// What a file says of itself at its beginning.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Head {
    /// It is the base of a log.
    pub(crate) aof_base: bool,
    /// The offset of the log that it stands for.
    pub(crate) log_offset: Option<u64>,
    /// The replication id of the data, and the stream offset that it stands for: a server that
    /// loads the file at its start goes on with this history.
    pub(crate) history: Option<(ReplicationId, u64)>,
    /// The database that is selected in the stream at that offset, for a replica that gets no
    /// SELECT.
    pub(crate) stream_db: Option<u32>,
}

/// Begins a file: its auxiliary fields, libraries of functions, sizes of databases.
pub(crate) fn begin_file<W: Write>(
    server: &Server,
    sink: W,
    options: SaveOptions,
    head: Head,
    sizes: &[Size],
) -> io::Result<FileWriter<W>> {
    let now_s = (server.engine.now_ms() / 1000).to_string();
    let used = keyspace::memory::used().to_string();
    let offset = head.log_offset.map(|offset| offset.to_string());
    let stream_db = head.stream_db.map(|db| db.to_string());
    let history = head.history.map(|(id, offset)| (id, offset.to_string()));
    let origin = server.origin.product().map(|product| product.text());
    let mut aux = vec![
        ("redis-ver", REDIS_VERSION),
        ("redis-bits", "64"),
        ("ctime", &now_s),
        ("used-mem", &used),
        ("aof-base", if head.aof_base { "1" } else { "0" }),
        ("lodestore-ver", LODESTORE_VERSION),
    ];
    aux.extend(offset.as_deref().map(|offset| (LOG_OFFSET_AUX, offset)));
    aux.extend(stream_db.as_deref().map(|db| (STREAM_DB_AUX, db)));
    if let Some((id, offset)) = &history {
        aux.extend([(REPL_ID_AUX, id.as_str()), (REPL_OFFSET_AUX, offset)]);
    }
    aux.extend(origin.as_deref().map(|origin| (ORIGIN_AUX, origin)));
    let mut writer = FileWriter::new(sink, options, &aux)?;
    for library in server.engine.scripts.libraries().iter() {
        writer.function(&library.code)?;
    }
    for size in sizes {
        writer.sizes(size.db, size.keys, size.volatile)?;
    }
    Ok(writer)
}

/// Removes what snapshots of processes that are gone have left in `dir`. To be called at the start.
pub(crate) fn remove_interrupted(server: &Server) {
    let (storage, dir) = (&server.snapshots.storage, server.engine.config.dir());
    let own = std::process::id();
    for name in storage.list(&dir).unwrap_or_default() {
        let Some(pid) = name.to_str().and_then(pid_of) else {
            continue;
        };
        // No snapshot has begun yet: a file with our own number is of a process that had it before.
        if pid != own && os::is_running(pid) {
            continue;
        }
        let path = dir.join(&name);
        match storage.remove(&path) {
            Ok(()) => log::info!(
                "Removed {}, a snapshot that was not finished",
                path.display()
            ),
            Err(error) => log::warn!("Removing {}: {}", path.display(), os_text(&error)),
        }
    }
}

/// The process that is writing the file with this name, when it is a temporary one.
fn pid_of(name: &str) -> Option<u32> {
    let (begin, end) = TEMP_NAME;
    let middle = name.strip_prefix(begin)?.strip_suffix(end)?;
    let (pid, number) = match middle.split_once('-') {
        Some((pid, number)) => (pid, number.parse::<u64>().ok()),
        None => (middle, Some(0)),
    };
    number.and_then(|_| pid.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::pid_of;

    #[test]
    fn temporary_files_are_known_by_their_names() {
        assert_eq!(pid_of("temp-12.rdb"), Some(12));
        assert_eq!(pid_of("temp-12-3.rdb"), Some(12));
        for other in [
            "dump.rdb",
            "temp-.rdb",
            "temp-x.rdb",
            "temp-1-x.rdb",
            "temp-1.rdb.old",
        ] {
            assert_eq!(pid_of(other), None, "{other}");
        }
    }
}
