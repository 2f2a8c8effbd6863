//! A base that another server writes: the snapshot of a full synchronization.
//!
//! ```text
//! receive  its bytes go to a temporary file in the directory of the log, as they come
//! finish   the file is whole and durable, and can be loaded
//! adopt    under all data locks, the log being off: a fresh increment begins at the place that the
//!          data stands at, and the manifest names both
//! ```
//!
//! A crash before the manifest is in force leaves the log of before the synchronization, a crash
//! behind it leaves the data of the primary.

use crate::directory::Directory;
use crate::increment::Fresh;
use crate::log::Log;
use crate::manifest::{BaseForm, FileInfo};
use crate::shared::Shared;
use crate::status::LogError;
use crate::storage::{File, OpenMode, append_all};
use crate::sync::lock;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Bytes between two syncs: what a sync at the end writes stays small. The number is Redis's.
const SYNC_EVERY: u64 = 8 << 20;

/// A snapshot in RDB form that may become the base of the log. Dropping it removes its file.
pub struct ReceivedBase {
    shared: Arc<Shared>,
    directory: Arc<Directory>,
    path: PathBuf,
    file: Arc<dyn File>,
    len: u64,
    unsynced: u64,
    is_adopted: bool,
}

impl ReceivedBase {
    /// Where it is: for reading.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        append_all(&*self.file, bytes).map_err(|(_, error)| error)?;
        self.len += bytes.len() as u64;
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= SYNC_EVERY && self.shared.incremental_fsync.load(Ordering::Relaxed) {
            self.file.sync_data()?;
            self.unsynced = 0;
        }
        Ok(())
    }

    /// The snapshot has the first `len` of the bytes; they are durable afterwards.
    ///
    /// # Errors
    /// Those of the disk, or there are fewer bytes.
    pub fn finish(&mut self, len: u64) -> io::Result<()> {
        if len > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if len < self.len {
            self.file.truncate(len)?;
            self.len = len;
        }
        self.file.sync_data()?;
        self.unsynced = 0;
        Ok(())
    }
}

impl Drop for ReceivedBase {
    fn drop(&mut self) {
        if !self.is_adopted {
            self.directory.discard(&self.path);
        }
    }
}

impl Log {
    /// Begins to receive a base. The log goes on as it is, and may be off.
    ///
    /// # Errors
    /// The directory cannot be used, or the disk takes no new file.
    pub fn receive_base(&self) -> Result<ReceivedBase, LogError> {
        let shared = &self.shared;
        let known = lock(&shared.writer)
            .as_ref()
            .map(|writer| writer.directory.clone());
        let directory = match known {
            Some(directory) => directory,
            None => shared.open_directory()?,
        };
        // The lock of the directory is held as long as this: the log, switched on again, shares it.
        *lock(&shared.lent) = Arc::downgrade(&directory);
        let path = directory.temporary("received");
        let file = directory.storage.open(&path, OpenMode::Create);
        Ok(ReceivedBase {
            shared: Arc::clone(shared),
            file: file.map_err(LogError::Base)?,
            directory,
            path,
            len: 0,
            unsynced: 0,
            is_adopted: false,
        })
    }

    /// Switches the log on with a finished base, whose data stands at the end of what was counted:
    /// stream offset, replication id and selected database have been set. The caller holds the
    /// locks of all data, and the log is off. Returns the name of the base.
    ///
    /// # Errors
    /// The base is gone. The log is off, or on and waiting for a base, see [`Log::begin_base`].
    pub fn adopt_base(&self, mut base: ReceivedBase) -> Result<String, LogError> {
        debug_assert!(
            !self.is_enabled(),
            "its increments would not follow the base"
        );
        *lock(&self.shared.opened) = Some(base.directory.clone());
        let mut job = self.begin_base(BaseForm::Rdb, true)?;
        base.is_adopted = true;
        let fresh = Fresh::written(base.file.clone(), base.len);
        job.take_file(base.path.clone(), fresh);
        self.commit_base(job)?;
        let slot = lock(&self.shared.writer);
        let named = slot.as_ref().and_then(|it| it.manifest.base.as_ref());
        Ok(named.map(FileInfo::display).unwrap_or_default())
    }
}
