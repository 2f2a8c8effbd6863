//! Making increments.

use crate::annotation::{Checksum, push_local_select, repl_line};
use crate::directory::Directory;
use crate::replication::Mark;
use crate::storage::{File, OpenMode, append_all};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A file that is being made: its end, and the checksum of the bytes since the last checksum line.
pub(crate) struct Fresh {
    pub(crate) file: Arc<dyn File>,
    pub(crate) len: u64,
    pub(crate) checksum: Checksum,
}

impl Fresh {
    /// An empty file.
    pub(crate) fn create(directory: &Directory, path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: directory.storage.open(path, OpenMode::Create)?,
            len: 0,
            checksum: Checksum::new(),
        })
    }

    /// A file of `len` bytes that no checksum line covers.
    pub(crate) fn written(file: Arc<dyn File>, len: u64) -> Self {
        Self {
            file,
            len,
            checksum: Checksum::new(),
        }
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        append_all(&*self.file, bytes).map_err(|(_, error)| error)?;
        self.len += bytes.len() as u64;
        self.checksum.update(bytes);
        Ok(())
    }

    /// Adds the checksum line for this stream offset.
    pub(crate) fn close_checksum(&mut self, offset: u64) -> io::Result<()> {
        let line = self.checksum.line(offset);
        self.append(line.as_bytes())?;
        self.checksum = Checksum::new();
        Ok(())
    }

    /// Writes the head of an increment that begins at this place: the database that the next record
    /// runs in (a loader starts every file in database 0), the replication id and the stream
    /// offset.
    pub(crate) fn head(&mut self, place: &Mark, checksums: bool) -> io::Result<()> {
        let mut head = Vec::new();
        if let Some(db) = place.db {
            push_local_select(&mut head, db);
        }
        if let Some(line) = repl_line(place) {
            head.extend_from_slice(line.as_bytes());
        }
        self.append(&head)?;
        if checksums {
            self.close_checksum(place.offset)?;
        }
        Ok(())
    }
}

/// Makes an increment that begins at this place, synced.
pub(crate) fn create(
    directory: &Directory,
    path: &Path,
    place: &Mark,
    checksums: bool,
) -> io::Result<Fresh> {
    let mut fresh = Fresh::create(directory, path)?;
    fresh.head(place, checksums)?;
    fresh.file.sync_data()?;
    Ok(fresh)
}
