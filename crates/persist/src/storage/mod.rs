//! The seam between the log and the disk.
//!
//! Everything the crate does to files goes through [`Storage`] and [`File`], so that a test can
//! replace the disk by one that fails, tears writes and loses unsynced bytes.

mod disk;
mod faulty;
mod memory;

pub use disk::Disk;
pub use faulty::{Crash, Fault, Faulty, Op};
pub use memory::Memory;

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// How [`Storage::open`] opens a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading only.
    Read,
    /// A file to add to at its end; made when it does not exist.
    Append,
    /// As `Append`, but the file starts empty whatever it held before.
    Create,
}

/// Names: files and directories. Paths are what the caller configured, absolute or relative to the
/// working directory.
pub trait Storage: Send + Sync {
    /// Opens a file. `NotFound` when it is to be read and does not exist.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// Gives a file another name, atomically, replacing what had that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name, where the storage supports it; it is the same file under both.
    fn link(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// When a file was last changed. `NotFound` when there is none.
    fn modified(&self, path: &Path) -> io::Result<SystemTime>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Names of the entries of a directory, in no order. `NotFound` when there is no such
    /// directory.
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>>;
    /// Makes a directory; fine when it exists.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes the names created, renamed and removed in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes an exclusive lock that ends with its process. `WouldBlock` when another one holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>>;
}

/// An open file. Methods take `&self`: one thread may sync while another one appends.
pub trait File: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the length is 0.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Reads at a position; 0 bytes mean the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Adds bytes at the end; may take fewer than given, as write(2) may.
    fn append(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Cuts the file to `len` bytes.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Makes the bytes and the length durable. After an error the bytes that were not yet durable
    /// must be considered lost, even when a later call succeeds.
    fn sync_data(&self) -> io::Result<()>;
}

/// Holds a lock until it is dropped.
pub trait LockGuard: Send + Sync {}

/// The text of the operating system's error alone, as `strerror` gives it.
#[must_use]
pub fn errno_text(error: &io::Error) -> String {
    let text = error.to_string();
    match (error.raw_os_error(), text.rfind(" (os error ")) {
        (Some(_), Some(end)) => text[..end].to_owned(),
        _ => text,
    }
}

/// Reads until `buffer` is full or the file ends; returns the number of bytes read.
pub(crate) fn read_full(file: &dyn File, mut offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(offset, &mut buffer[filled..])? {
            0 => break,
            n => {
                filled += n;
                offset += n as u64;
            }
        }
    }
    Ok(filled)
}

/// Appends everything. The error carries how many bytes were taken before it.
pub(crate) fn append_all(file: &dyn File, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut done = 0;
    while done < bytes.len() {
        match file.append(&bytes[done..]) {
            Ok(0) => return Err((done, io::ErrorKind::WriteZero.into())),
            Ok(n) => done += n,
            Err(error) => return Err((done, error)),
        }
    }
    Ok(())
}
