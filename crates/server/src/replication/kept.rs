//! The file that a full synchronization leaves on the disk: the next base of the log, or without a
//! log the snapshot of the server, as in Valkey.
//!
//! | `appendonly` | `aof-use-rdb-preamble` | the snapshot that was received |
//! | --- | --- | --- |
//! | yes | yes | is the base of the log, whichever way it is loaded |
//! | yes | no | goes when it is loaded; a base of commands comes before the replica is online |
//! | no | any | takes the place of `dbfilename` before it is loaded, if it goes to a file at all |

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use persist::storage::{File, OpenMode};
use persist::{ReceivedBase, Storage};

use super::follow::FollowError;
use crate::jobs::loading::Figures;
use crate::os::os_text;
use crate::server::Server;
use crate::state::random_u64;
use engine::config::P;

/// A snapshot in a file.
pub(super) enum Kept {
    /// In the directory of the log.
    Base(ReceivedBase),
    /// In the working directory.
    Dump(Dump),
}

impl Kept {
    /// A file for a snapshot that arrives.
    pub(super) fn create(server: &Arc<Server>) -> Result<Self, FollowError> {
        match base(server) {
            Some(base) => Ok(Self::Base(base)),
            None => match Dump::create(server) {
                Ok(dump) => Ok(Self::Dump(dump)),
                Err(error) => Err(failed("Opening the temp file needed for", &error)),
            },
        }
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), FollowError> {
        let appended = match self {
            Self::Base(base) => base.append(bytes),
            Self::Dump(dump) => dump.append(bytes),
        };
        appended.map_err(|error| {
            let what = "Write error or short write writing to the DB dump file needed for";
            failed(what, &error)
        })
    }

    /// All of its bytes are there, and durable afterwards.
    pub(super) fn finish(&mut self, len: u64) -> Result<(), FollowError> {
        let finished = match self {
            Self::Base(base) => base.finish(len),
            Self::Dump(dump) => dump.file.sync_data(),
        };
        finished.map_err(|error| failed("Failed trying to sync the temp DB to disk in", &error))
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Base(base) => base.path(),
            Self::Dump(dump) => &dump.path,
        }
    }

    /// The base of the log that it is to become.
    pub(super) fn into_base(self) -> Option<ReceivedBase> {
        match self {
            Self::Base(base) => Some(base),
            Self::Dump(_) => None,
        }
    }
}

/// The error of a file, in Redis's words.
fn failed(what: &str, error: &io::Error) -> FollowError {
    let reason = os_text(error);
    FollowError::Disk(format!(
        "{what} PRIMARY <-> REPLICA synchronization: {reason}"
    ))
}

/// A file for a snapshot that becomes the base of the log; `None` when there is to be no such base,
/// or, with a line in the log, when the disk takes no file.
pub(super) fn base(server: &Server) -> Option<ReceivedBase> {
    let (config, log) = (&server.engine.config, &server.engine.log);
    if !config.bool(P::AppendOnly) || !config.bool(P::AofUseRdbPreamble) {
        return None;
    }
    let received = log.receive_base();
    let reason = "The snapshot of the primary cannot become the AOF base file";
    received
        .inspect_err(|error| log::warn!("{reason}: {error}"))
        .ok()
}

/// Whether a snapshot that stands for this offset, loaded with these figures, makes the same data
/// again as a base: a field of its own must not say another offset, nothing was left out, and its
/// version is one of `rdb-version`, where that was set.
pub(super) fn fits(server: &Server, figures: &Figures, offset: u64) -> bool {
    let config = &server.engine.config;
    let is_set = config.was_given(P::RdbVersion) || !config.is_default(P::RdbVersion);
    figures.of_modules == 0
        && figures.log_offset.is_none_or(|it| it == offset)
        && (!is_set || config.rdb_versions().contains(&figures.version))
}

/// A file of the working directory, which goes away unless it is the snapshot of the server.
pub(super) struct Dump {
    server: Arc<Server>,
    file: Arc<dyn File>,
    path: PathBuf,
    is_snapshot: bool,
}

impl Dump {
    fn create(server: &Arc<Server>) -> io::Result<Self> {
        let name = format!("temp-{}-{}.rdb", server.identity.pid, random_u64());
        let path = server.engine.config.dir().join(name);
        Ok(Self {
            file: server.snapshots.storage.open(&path, OpenMode::Create)?,
            server: Arc::clone(server),
            path,
            is_snapshot: false,
        })
    }

    fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = self.file.append(bytes)?;
            if taken == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// Without a log it takes the place of the snapshot. No snapshot is written meanwhile: the
    /// caller holds the locks of all data.
    pub(super) fn replace_snapshot(&mut self) -> Result<(), FollowError> {
        let config = &self.server.engine.config;
        if config.bool(P::AppendOnly) {
            return Ok(());
        }
        let Some(path) = config.path(P::DbFileName) else {
            return Ok(());
        };
        let storage: &dyn Storage = &*self.server.snapshots.storage;
        if let Err(error) = storage.rename(&self.path, &path) {
            let name = config.text(P::DbFileName);
            let what = format!("Failed trying to rename the temp DB into {name} in");
            return Err(failed(&what, &error));
        }
        (self.path, self.is_snapshot) = (path, true);
        storage.sync_dir(&config.dir()).map_err(|error| {
            let dir = config.dir();
            let what = format!("Failed trying to sync DB directory {} in", dir.display());
            failed(&what, &error)
        })
    }

    /// `rdb-del-sync-files`: a server that keeps nothing on the disk keeps this file neither.
    fn is_unwanted(&self) -> bool {
        let config = &self.server.engine.config;
        config.bool(P::RdbDelSyncFiles)
            && !config.bool(P::AppendOnly)
            && config.save_points().is_empty()
    }
}

impl Drop for Dump {
    fn drop(&mut self) {
        if self.is_snapshot {
            if !self.is_unwanted() {
                return;
            }
            log::info!(
                "Removing the RDB file obtained from the primary. This replica has persistence disabled"
            );
        }
        if let Err(error) = self.server.snapshots.storage.remove(&self.path) {
            log::warn!("Removing {}: {}", self.path.display(), os_text(&error));
        }
    }
}
