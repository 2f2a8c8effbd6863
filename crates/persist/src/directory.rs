//! The directory of the log: its lock, its manifest, and how both change safely.

use crate::clock::Clock;
use crate::heads::holds_nothing;
use crate::manifest::{FileInfo, Manifest, ManifestError};
use crate::options::LogOptions;
use crate::storage::{LockGuard, OpenMode, Storage, append_all, errno_text, read_full};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use thiserror::Error;

/// File that the server using the directory keeps locked.
const LOCK_FILE: &str = "lodestore.lock";
/// A manifest line takes some tens of bytes; a longer file is not a manifest.
const MANIFEST_MAX: usize = 1 << 20;

/// Why the directory cannot be used.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// Another process has it.
    #[error("The AOF directory {0} is in use by another server (its file {LOCK_FILE} is locked)")]
    Locked(String),
    /// The manifest is damaged.
    #[error("Fatal AOF manifest file error in {0}: {1}")]
    Manifest(String, ManifestError),
    /// Files of a log stand there without the manifest that names them: directory, one of the
    /// files, name of the manifest.
    #[error(
        "The append-only dir {0} has {1}, which holds data, but no {2}: the AOF is not complete, and nothing is \
         changed. Put the manifest back, or move the files away to start without them"
    )]
    NoManifest(String, String, String),
    /// A file operation failed: its description, and the system's error.
    #[error("{0}: {text}", text = errno_text(.1))]
    Io(String, #[source] io::Error),
}

/// Why a new manifest is not in force.
#[derive(Debug)]
pub(crate) enum CommitError {
    /// Nothing changed.
    NotDone(io::Error),
    /// The new manifest is in place, but a power cut may bring the old one back.
    NotDurable(io::Error),
}

/// How superseded files are treated.
#[derive(Default)]
pub(crate) struct Retention {
    /// Whether they are removed.
    pub(crate) auto_gc: AtomicBool,
    /// How long they are kept in the history before.
    pub(crate) history_seconds: AtomicU64,
}

impl Retention {
    pub(crate) fn new(options: &LogOptions) -> Self {
        Self {
            auto_gc: AtomicBool::new(options.auto_gc),
            history_seconds: AtomicU64::new(options.history_seconds),
        }
    }
}

impl CommitError {
    pub(crate) fn into_io(self) -> io::Error {
        let (Self::NotDone(error) | Self::NotDurable(error)) = self;
        error
    }
}

/// An `appenddirname` directory. The lock is held as long as this lives, when there is one.
pub(crate) struct Directory {
    pub(crate) storage: Arc<dyn Storage>,
    /// `dir`, where a log of Redis 6 or older stands.
    parent: PathBuf,
    pub(crate) path: PathBuf,
    pub(crate) filename: String,
    pub(crate) clock: Arc<dyn Clock>,
    retention: Arc<Retention>,
    _lock: Option<Box<dyn LockGuard>>,
}

impl Directory {
    /// The directory for reading only: nothing is made, locked or changed.
    pub(crate) fn read_only(storage: Arc<dyn Storage>, options: &LogOptions) -> Self {
        Self {
            storage,
            parent: options.dir.clone(),
            path: options.dir.join(&options.appenddirname),
            filename: options.appendfilename.clone(),
            clock: options.clock.clone(),
            retention: Arc::new(Retention::new(options)),
            _lock: None,
        }
    }

    /// Makes the directory when it is not there and locks it.
    pub(crate) fn open(
        storage: Arc<dyn Storage>,
        options: &LogOptions,
        retention: Arc<Retention>,
    ) -> Result<Self, DirectoryError> {
        let mut directory = Self::read_only(storage, options);
        directory.retention = retention;
        let shown = directory.path.display().to_string();
        let make = |error| {
            DirectoryError::Io(
                format!("Can't open or create append-only dir {shown}"),
                error,
            )
        };
        directory.storage.make_dir(&directory.path).map_err(make)?;
        directory
            .storage
            .sync_dir(&directory.parent)
            .map_err(make)?;
        match directory.storage.lock(&directory.path.join(LOCK_FILE)) {
            Ok(lock) => directory._lock = Some(lock),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(DirectoryError::Locked(shown));
            }
            Err(error) => {
                return Err(DirectoryError::Io(
                    format!("Can't lock the append-only dir {shown}"),
                    error,
                ));
            }
        }
        directory.remove_temporary();
        Ok(directory)
    }

    /// Temporary name of a file that may become a part of the log.
    pub(crate) fn temporary(&self, rest: &str) -> PathBuf {
        self.path_of(format!("temp-{}.{rest}", self.filename))
    }

    /// Removes temporary files that a crash has left.
    fn remove_temporary(&self) {
        let prefix = format!("temp-{}.", self.filename);
        for name in self.storage.list(&self.path).unwrap_or_default() {
            if name.as_bytes().starts_with(prefix.as_bytes()) {
                log::info!("Removing the temporary file {}", name.to_string_lossy());
                self.discard(&self.path_of(&name));
            }
        }
    }

    /// Removes a file that is not needed. A file that cannot be removed does no harm.
    pub(crate) fn discard(&self, path: &Path) {
        match self.storage.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let (path, text) = (path.display(), errno_text(&error));
                log::warn!("Error removing {path}: {text}");
            }
            _ => {}
        }
    }

    pub(crate) fn path_of(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.path.join(name.as_ref())
    }

    fn manifest_name(&self) -> String {
        format!("{}.manifest", self.filename)
    }

    /// Reads the manifest; an empty one when there is none.
    ///
    /// # Errors
    /// Also when files of a log stand there without it: a log that begins would take their names.
    pub(crate) fn manifest(&self) -> Result<Manifest, DirectoryError> {
        let name = self.manifest_name();
        let unreadable = |error| {
            let what = format!("Fatal error: can't open the AOF manifest file {name} for reading");
            DirectoryError::Io(what, error)
        };
        let file = match self.storage.open(&self.path_of(&name), OpenMode::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return match self.file_with_data() {
                    None => Ok(Manifest::default()),
                    Some(file) => {
                        let dir = self.path.display().to_string();
                        Err(DirectoryError::NoManifest(dir, file, name))
                    }
                };
            }
            result => result.map_err(unreadable)?,
        };
        let len = usize::try_from(file.len().map_err(unreadable)?).unwrap_or(usize::MAX);
        if len > MANIFEST_MAX {
            let reason = "The AOF manifest file contains too long line";
            return Err(DirectoryError::Manifest(
                name,
                ManifestError { line: None, reason },
            ));
        }
        let mut text = vec![0; len];
        let read = read_full(&*file, 0, &mut text).map_err(unreadable)?;
        text.truncate(read);
        Manifest::parse(&text).map_err(|error| DirectoryError::Manifest(name, error))
    }

    /// A base or an increment that has entries or commands. A start that was interrupted leaves
    /// files without any.
    fn file_with_data(&self) -> Option<String> {
        let prefix = format!("{}.", self.filename);
        let mut names = self.storage.list(&self.path).unwrap_or_default();
        names.sort();
        let found = names.into_iter().find(|name| {
            let rest = name.as_bytes().strip_prefix(prefix.as_bytes());
            let kind = rest.and_then(|rest| rest.splitn(3, |byte| *byte == b'.').nth(1));
            matches!(kind, Some(b"base" | b"incr"))
                && !holds_nothing(&*self.storage, &self.path_of(name)).unwrap_or(false)
        });
        found.map(|name| name.to_string_lossy().into_owned())
    }

    /// Puts a manifest in force that names no file, when there is none: the files of a first base
    /// get their names before they are named, and a crash between both must not look like a lost
    /// manifest.
    pub(crate) fn begin_first(&self) -> Result<(), CommitError> {
        if self.exists(&self.path_of(self.manifest_name())) {
            return Ok(());
        }
        self.commit_text(b"# The first base is being put in place\n")
    }

    /// Puts a new manifest in force. Names of new files become durable with it.
    pub(crate) fn commit(&self, manifest: &Manifest) -> Result<(), CommitError> {
        let text = manifest.to_text();
        // Quoting can make a line longer than readers accept.
        if Manifest::parse(&text).is_err() {
            return Err(CommitError::NotDone(io::ErrorKind::InvalidFilename.into()));
        }
        self.commit_text(&text)
    }

    fn commit_text(&self, text: &[u8]) -> Result<(), CommitError> {
        let name = self.manifest_name();
        let temp = self.path_of(format!("temp-{name}"));
        self.write_file(&temp, text)
            .and_then(|()| self.storage.rename(&temp, &self.path_of(&name)))
            .map_err(CommitError::NotDone)?;
        self.storage
            .sync_dir(&self.path)
            .map_err(CommitError::NotDurable)
    }

    fn write_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let file = self.storage.open(path, OpenMode::Create)?;
        append_all(&*file, bytes).map_err(|(_, error)| error)?;
        file.sync_data()
    }

    /// Takes over the single file of Redis 6 and older as the base, as Redis 7 does: first the
    /// manifest, then the move, so that a crash between both is found and finished by the next
    /// start.
    pub(crate) fn upgrade(&self, manifest: &mut Manifest) -> Result<(), DirectoryError> {
        let old = self.parent.join(&self.filename);
        if !self.exists(&old) || !self.awaits_upgrade(manifest) {
            return Ok(());
        }
        manifest.base = Some(FileInfo::new(self.filename.clone(), 1));
        let failed = |what: &str, error| {
            let (from, to) = (&self.filename, self.path.display());
            DirectoryError::Io(
                format!("{what} the old AOF file {from} into dir {to}"),
                error,
            )
        };
        self.commit(manifest)
            .map_err(|error| failed("Error writing the manifest for", error.into_io()))?;
        self.storage
            .rename(&old, &self.path_of(&self.filename))
            .and_then(|()| self.storage.sync_dir(&self.path))
            .and_then(|()| self.storage.sync_dir(&self.parent))
            .map_err(|error| failed("Error trying to move", error))?;
        log::info!(
            "Successfully migrated an old-style AOF file ({}) into the AOF directory ({}).",
            self.filename,
            self.path.display()
        );
        Ok(())
    }

    fn awaits_upgrade(&self, manifest: &Manifest) -> bool {
        let half_done = |base: &FileInfo| {
            base.name == OsStr::new(&self.filename)
                && manifest.incr.is_empty()
                && !self.exists(&self.path_of(base))
        };
        manifest
            .base
            .as_ref()
            .map_or(manifest.incr.is_empty(), half_done)
    }

    fn exists(&self, path: &Path) -> bool {
        self.storage.open(path, OpenMode::Read).is_ok()
    }

    /// Carries out the manifest in force: removes history, cuts closed files. Errors are only
    /// logged: the manifest stays as it is, and the next call tries again.
    pub(crate) fn tidy(&self, manifest: &mut Manifest) {
        for info in &manifest.incr {
            if let Some(length) = info.length
                && let Err(error) = self.cut(info, length)
            {
                log::warn!(
                    "Error cutting the AOF file {}: {}",
                    info.display(),
                    errno_text(&error)
                );
            }
        }
        let removed = self.collect(&manifest.history);
        self.forget(manifest, &removed);
        self.expire_history(manifest);
    }

    pub(crate) fn history_seconds(&self) -> u64 {
        self.retention.history_seconds.load(Ordering::Relaxed)
    }

    /// Moves superseded files to the history or removes them, unless they are to stay; returns
    /// those that are gone.
    pub(crate) fn collect(&self, history: &[FileInfo]) -> Vec<FileInfo> {
        if !self.retention.auto_gc.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut removed = self.archive(history);
        let archived = removed.len();
        for info in history {
            if removed.iter().take(archived).any(|kept| kept == info) {
                continue;
            }
            log::info!("Removing the history file {}", info.display());
            match self.storage.remove(&self.path_of(info)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    log::warn!("Error removing {}: {}", info.display(), errno_text(&error));
                }
                _ => removed.push(info.clone()),
            }
        }
        removed
    }

    /// Takes removed files out of the manifest. A failure does no harm: the next call removes them
    /// again.
    pub(crate) fn forget(&self, manifest: &mut Manifest, removed: &[FileInfo]) {
        if removed.is_empty() {
            return;
        }
        manifest.history.retain(|info| !removed.contains(info));
        if let Err(error) = self.commit(manifest) {
            let text = errno_text(&error.into_io());
            log::warn!("Error writing the AOF manifest without history: {text}");
        }
    }

    fn suspect_path(&self) -> PathBuf {
        self.path_of(format!("{}.unsynced", self.filename))
    }

    /// Leaves a note that a sync of the last increment has failed. After such a failure the next
    /// sync of the same bytes may succeed without saving them, also when another process asks for
    /// it; so the next server that starts needs the note. The note need not be durable: a power cut
    /// leaves no unsaved bytes that could be mistaken for saved ones.
    pub(crate) fn mark_suspect(&self) -> bool {
        let result = self.storage.open(&self.suspect_path(), OpenMode::Create);
        if let Err(error) = &result {
            let text = errno_text(error);
            log::warn!("Can't note the failed fsync for a server that starts after this: {text}");
        }
        result.is_ok()
    }

    pub(crate) fn is_suspect(&self) -> bool {
        self.exists(&self.suspect_path())
    }

    pub(crate) fn clear_suspect(&self) {
        if let Err(error) = self.storage.remove(&self.suspect_path()) {
            log::warn!(
                "Error removing the note of a failed fsync: {}",
                errno_text(&error)
            );
        }
    }

    fn cut(&self, info: &FileInfo, length: u64) -> io::Result<()> {
        let path = self.path_of(info);
        if self.storage.open(&path, OpenMode::Read)?.len()? > length {
            self.storage
                .open(&path, OpenMode::Append)?
                .truncate(length)?;
        }
        Ok(())
    }
}
