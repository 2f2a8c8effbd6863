//! A copy of the log, made while the log is in use.
//!
//! The instant of the copy is a moment under the file mutex: pending records are written, the files
//! of the manifest are opened, and the length of the growing one is noted. Everything else happens
//! without locks. Files that do not change any more are linked where the storage supports it, the
//! growing one is copied up to that length.

use crate::check::AofCheck;
use crate::log::Log;
use crate::manifest::{FileInfo, Manifest};
use crate::shared::Shared;
use crate::status::LogError;
use crate::storage::{File, OpenMode, Storage, append_all, errno_text, read_full};
use crate::sync::lock;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

const COPY_BUFFER: usize = 256 << 10;

/// The contents of a finished backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// Stream offset at its end.
    pub offset: u64,
    /// Files, the manifest not counted.
    pub files: usize,
    /// How many of them share their bytes with the log.
    pub linked: usize,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Why there is no backup.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The log is not enabled, or has no base yet.
    #[error("there is no append only file to copy")]
    Nothing,
    /// The log cannot be written at the moment.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A file or directory with the name exists already.
    #[error("{0} exists")]
    Exists(String),
    /// A file operation failed.
    #[error("{0}: {text}", text = errno_text(.1))]
    Io(String, #[source] io::Error),
    /// The copy is damaged: the message of the check.
    #[error("the copy is damaged: {0}")]
    Damaged(String),
}

/// A file at the instant of the copy.
struct Part {
    info: FileInfo,
    path: PathBuf,
    file: Arc<dyn File>,
    /// Bytes that count.
    len: u64,
    /// It is written no more, and all of it counts.
    is_closed: bool,
}

impl Log {
    /// Makes a copy of the log: a directory `target`, in which the log's own directory stands under
    /// its own name, so that a server finds it there. The parent of `target` is made when it is
    /// missing. The copy is durable and has been checked when this returns. Takes as long as
    /// copying the records since the last base, and reading all of the copy; the log stays in use
    /// meanwhile.
    ///
    /// # Errors
    /// See [`BackupError`]. Something incomplete may be left under the name of `target` with
    /// `.partial` behind it.
    pub fn backup(&self, target: &Path) -> Result<Backup, BackupError> {
        let shared = &*self.shared;
        let storage = &*shared.storage;
        if storage.list(target).is_ok() {
            return Err(BackupError::Exists(target.display().to_string()));
        }
        let mut partial = target.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let dir = partial.join(&shared.options.appenddirname);
        let parent = target.parent().filter(|path| !path.as_os_str().is_empty());
        for path in parent.into_iter().chain([&*partial, &*dir]) {
            io_at(path, storage.make_dir(path))?;
        }
        let (parts, offset) = instant(shared)?;
        let mut backup = Backup {
            offset,
            ..Backup::default()
        };
        let mut manifest = Manifest::default();
        for (index, part) in parts.iter().enumerate() {
            let to = dir.join(&part.info.name);
            let is_linked = io_at(&to, part.copy_to(storage, &to))?;
            backup.files += 1;
            backup.linked += usize::from(is_linked);
            backup.bytes += part.len;
            let info = FileInfo {
                length: None,
                unsynced: false,
                ..part.info.clone()
            };
            match index {
                0 => manifest.base = Some(info),
                _ => manifest.incr.push(info),
            }
        }
        let name = dir.join(format!("{}.manifest", shared.options.appendfilename));
        io_at(&name, write_file(storage, &name, &manifest.to_text()))?;
        io_at(&dir, storage.sync_dir(&dir))?;
        io_at(&partial, storage.sync_dir(&partial))?;
        check(storage, shared.options.clock.wall_ms(), &name)?;
        io_at(target, storage.rename(&partial, target))?;
        if let Some(parent) = parent {
            io_at(parent, storage.sync_dir(parent))?;
        }
        Ok(backup)
    }
}

/// The files as they are now, base first, and the stream offset at their end.
fn instant(shared: &Shared) -> Result<(Vec<Part>, u64), BackupError> {
    let mut slot = lock(&shared.writer);
    let writer = slot.as_mut().ok_or(BackupError::Nothing)?;
    let offset = shared.write_pending(writer, true)?;
    let (manifest, len) = writer.current().ok_or(BackupError::Nothing)?;
    let storage = &*shared.storage;
    let mut parts = Vec::new();
    let last = manifest.incr.len();
    let infos = manifest.base.iter().chain(&manifest.incr);
    for (index, info) in infos.enumerate() {
        let path = writer.directory.path_of(&info.name);
        let file = io_at(&path, storage.open(&path, OpenMode::Read))?;
        let whole = io_at(&path, file.len())?;
        let is_growing = index == last;
        parts.push(Part {
            info: info.clone(),
            len: match (is_growing, info.length) {
                (true, _) => len,
                (false, Some(length)) => length,
                (false, None) => whole,
            },
            is_closed: !is_growing && info.length.is_none(),
            path,
            file,
        });
    }
    if manifest.base.is_none() {
        return Err(BackupError::Nothing);
    }
    Ok((parts, offset))
}

impl Part {
    /// Makes the copy, durable; whether it is a link.
    fn copy_to(&self, storage: &dyn Storage, to: &Path) -> io::Result<bool> {
        // Left over from an earlier try: a link must be removed before anything is written under
        // its name.
        match storage.remove(to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if self.is_closed && storage.link(&self.path, to).is_ok() {
            self.file.sync_data()?;
            return Ok(true);
        }
        let copy = storage.open(to, OpenMode::Create)?;
        let mut buffer = vec![0; COPY_BUFFER];
        let mut at = 0;
        while at < self.len {
            let want =
                usize::try_from(self.len - at).map_or(COPY_BUFFER, |left| left.min(COPY_BUFFER));
            let piece = buffer.get_mut(..want).unwrap_or_default();
            if read_full(&*self.file, at, piece)? < want {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            append_all(&*copy, piece).map_err(|(_, error)| error)?;
            at += want as u64;
        }
        copy.sync_data()?;
        Ok(false)
    }
}

fn check(storage: &dyn Storage, now_ms: u64, manifest: &Path) -> Result<(), BackupError> {
    let mut said = Vec::new();
    let mut check = AofCheck {
        storage,
        out: &mut said,
        fix: false,
        to_timestamp: None,
        now_ms,
        confirm: &mut || false,
    };
    if io_at(manifest, check.run(manifest))? {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    Err(BackupError::Damaged(last.unwrap_or_default().to_owned()))
}

fn write_file(storage: &dyn Storage, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = storage.open(path, OpenMode::Create)?;
    append_all(&*file, bytes).map_err(|(_, error)| error)?;
    file.sync_data()
}

fn io_at<T>(path: &Path, result: io::Result<T>) -> Result<T, BackupError> {
    result.map_err(|error| BackupError::Io(path.display().to_string(), error))
}
