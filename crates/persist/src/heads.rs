//! The beginnings of snapshots and of files of a log: what wrote them, whether they can be loaded,
//! whether they hold anything.

use crate::preamble::LOG_OFFSET_AUX;
use crate::rdb::{self, LoadOptions, LoadedEntry, Sink};
use crate::storage::{File, OpenMode, Storage};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use values::Thresholds;

/// The auxiliary field of files that Lodestore writes; its value is the version.
const AUX_WRITER: &[u8] = b"lodestore-ver";

/// Auxiliary fields come first: this much of a file has them all.
const HEAD_BYTES: u64 = 64 << 10;

/// The program that wrote a snapshot.
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

/// Whether a file of a log has neither entries nor commands, only a header and annotations.
pub(crate) fn holds_nothing(storage: &dyn Storage, path: &Path) -> io::Result<bool> {
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
/// The signature or the version is wrong.
pub fn check_head(source: Source, options: &LoadOptions) -> Result<(), rdb::RdbError> {
    let mut head = Vec::new();
    let mut source = source.take(SIGNATURE_BYTES as u64);
    source
        .read_to_end(&mut head)
        .map_err(|error| rdb::RdbError {
            cause: error.into(),
            offset: 0,
            place: None,
        })?;
    check_signature(&head, options)
}

/// Bytes of the signature of a snapshot with its version.
pub const SIGNATURE_BYTES: usize = 9;

/// Whether these bytes begin as a file that can be loaded.
///
/// # Errors
/// The signature or the version is wrong, or there are too few bytes.
pub fn check_signature(bytes: &[u8], options: &LoadOptions) -> Result<(), rdb::RdbError> {
    let mut head = bytes.get(..SIGNATURE_BYTES).unwrap_or(bytes);
    let is_long_enough = head.len() == SIGNATURE_BYTES;
    match rdb::load(&mut head, options, &mut Head::default()) {
        // The head is longer than the part that is checked.
        Err(error) if is_long_enough && error.is_truncated() => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}

/// The program that wrote the snapshot `source`, by its auxiliary fields.
pub fn writer(source: Source) -> Writer {
    let mut head = Head::default();
    // The error is expected: the first entry or the end of the head ends the loading.
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
