//! What a working directory holds when a server starts on it: a log, a snapshot, or both, and who
//! wrote the snapshot. Which of them is loaded is the server's decision.

use crate::directory::{Directory, DirectoryError};
use crate::options::LogOptions;
use crate::preamble::LOG_OFFSET_AUX;
use crate::rdb::{self, LoadOptions, LoadedEntry, Sink};
use crate::storage::{File, OpenMode, Storage};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use values::Thresholds;

/// The auxiliary field of files that Lodestore writes; its value is the version.
pub const AUX_WRITER: &[u8] = b"lodestore-ver";

/// Auxiliary fields come first: this much of a file has them all.
const HEAD_BYTES: u64 = 64 << 10;

/// A log that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExistingLog {
    /// When one of its files was last changed.
    pub changed: SystemTime,
    /// Nothing was ever written to it: as good as no log. One that was rewritten is not blank, even
    /// if there is no data in it any more.
    pub is_blank: bool,
}

/// Who wrote a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// Lodestore, while its log was on.
    WithLog,
    /// Lodestore, without a log.
    WithoutLog,
    /// Redis, Valkey, or a tool.
    Other,
    /// The file does not begin as an RDB file does.
    Unknown,
}

/// The log of the directory, `None` when there is none: neither a manifest nor a single file as
/// Redis 6 and older kept it.
pub fn log(storage: Arc<dyn Storage>, options: &LogOptions) -> Option<ExistingLog> {
    let directory = Directory::read_only(storage, options);
    let storage = &*directory.storage;
    let old_style = options.dir.join(&options.appendfilename);
    let manifest = directory.path_of(format!("{}.manifest", options.appendfilename));
    let mut changed = [&old_style, &manifest]
        .into_iter()
        .filter_map(|path| changed(storage, path))
        .max()?;
    let mut is_blank = !exists(storage, &old_style);
    match directory.manifest() {
        Ok(manifest) => {
            for file in manifest.live() {
                let path = directory.path_of(file);
                changed = self::changed(storage, &path).map_or(changed, |time| time.max(changed));
                is_blank &= file.seq == 1 && holds_nothing(storage, &path).unwrap_or(false);
            }
        }
        // Whoever loads it will refuse it.
        Err(_) => is_blank = false,
    }
    Some(ExistingLog { changed, is_blank })
}

/// Whether a file of a log has neither entries nor commands, only what stands around them.
fn holds_nothing(storage: &dyn Storage, path: &Path) -> io::Result<bool> {
    /// More than a head and some annotations.
    const EMPTY_MAX: u64 = 4096;
    let mut source = Source::open(storage, path)?;
    if source.len > EMPTY_MAX {
        return Ok(false);
    }
    let mut bytes = Vec::new();
    source.read_to_end(&mut bytes)?;
    if bytes.starts_with(rdb::format::MAGIC) || bytes.starts_with(rdb::format::MAGIC_VALKEY) {
        let loaded = rdb::load(&mut bytes.as_slice(), &head_options(), &mut Head::default());
        return Ok(loaded.is_ok_and(|loaded| loaded.bytes == source.len));
    }
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    Ok(lines.all(|line| line.starts_with(b"#")))
}

/// When a file was last changed, `None` when there is none.
pub fn changed(storage: &dyn Storage, path: &Path) -> Option<SystemTime> {
    storage.modified(path).ok()
}

/// Whether there is a file or a directory with this name.
fn exists(storage: &dyn Storage, path: &Path) -> bool {
    storage.open(path, OpenMode::Read).is_ok() || storage.list(path).is_ok()
}

/// Moves the log out of the way by adding `suffix` to the names of its directory, or of its single
/// file. Returns the new names.
///
/// # Errors
/// Another server uses it, or the system refuses.
pub fn set_log_aside(
    storage: &Arc<dyn Storage>,
    options: &LogOptions,
    suffix: &str,
) -> Result<Vec<PathBuf>, DirectoryError> {
    let mut moved = Vec::new();
    // Who holds the lock of the directory goes on holding it under the new name.
    let directory = options.dir.join(&options.appenddirname);
    let _locked = match storage.list(&directory).is_ok() {
        true => Some(Directory::open(storage.clone(), options, Arc::default())?),
        false => None,
    };
    for name in [&options.appenddirname, &options.appendfilename] {
        let from = options.dir.join(name);
        if !exists(&**storage, &from) {
            continue;
        }
        let to = free_name(&**storage, &options.dir.join(format!("{name}.{suffix}")));
        let renamed = storage
            .rename(&from, &to)
            .and_then(|()| storage.sync_dir(&options.dir));
        renamed.map_err(|error| {
            let what = format!("Can't move {} to {}", from.display(), to.display());
            DirectoryError::Io(what, error)
        })?;
        moved.push(to);
    }
    Ok(moved)
}

fn free_name(storage: &dyn Storage, wanted: &Path) -> PathBuf {
    let mut name = wanted.to_owned();
    let mut number = 1;
    while exists(storage, &name) {
        number += 1;
        name = PathBuf::from(format!("{}-{number}", wanted.display()));
    }
    name
}

/// A file that is read from its beginning to its end.
pub struct Source {
    file: Arc<dyn File>,
    at: u64,
    /// Its length when it was opened, in bytes.
    pub len: u64,
}

impl Source {
    /// Opens a snapshot.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn open(storage: &dyn Storage, path: &Path) -> io::Result<Self> {
        let file = storage.open(path, OpenMode::Read)?;
        let len = file.len()?;
        Ok(Self { file, at: 0, len })
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(self.at, buffer)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Whether `source` begins as a file that can be loaded: its signature, and its version.
///
/// # Errors
/// What is wrong with them.
pub fn check_head(source: Source, options: &LoadOptions) -> Result<(), rdb::RdbError> {
    const SIGNATURE_BYTES: u64 = 9;
    let is_long_enough = source.len >= SIGNATURE_BYTES;
    let mut head = source.take(SIGNATURE_BYTES);
    match rdb::load(&mut head, options, &mut Head::default()) {
        // It goes on where this looks no further.
        Err(error) if is_long_enough && error.is_truncated() => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}

/// Who wrote the snapshot `source`, by what stands in front of its entries.
pub fn writer(source: Source) -> Writer {
    let mut head = Head::default();
    // It ends with an error in any case, when not by the first entry then by the end of the bytes.
    let result = rdb::load(&mut source.take(HEAD_BYTES), &head_options(), &mut head);
    match result {
        Err(error) if matches!(error.cause, rdb::RdbCause::Signature(_)) => Writer::Unknown,
        _ if head.with_log => Writer::WithLog,
        _ if head.by_lodestore => Writer::WithoutLog,
        _ => Writer::Other,
    }
}

/// How the beginning of a file is read.
fn head_options() -> LoadOptions {
    LoadOptions {
        thresholds: Thresholds::default(),
        checksum: false,
        any_version: true,
        skip_modules: true,
        count_streams: true,
        max_string: HEAD_BYTES as usize,
    }
}

#[derive(Default)]
struct Head {
    by_lodestore: bool,
    with_log: bool,
}

impl Sink for Head {
    fn entry(&mut self, _: LoadedEntry<'_>) -> Result<(), String> {
        Err("enough".to_owned())
    }

    fn function(&mut self, _: &[u8]) -> Result<(), String> {
        Err("enough".to_owned())
    }

    fn aux(&mut self, name: &[u8], _: &[u8]) {
        self.by_lodestore |= name == AUX_WRITER;
        // A snapshot without this field may be newer than any log.
        self.with_log |= name == LOG_OFFSET_AUX.as_bytes();
    }
}
