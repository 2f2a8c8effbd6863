//! A file of the log that begins in RDB form: a base, or the single file of Redis 4 to 6.

use crate::rdb::{self, LoadedEntry, Sink, Skipped, Version};
use crate::replication::ReplicationId;
use crate::storage::File;
use crate::target::Target;
use std::io;
use std::sync::Arc;

/// Auxiliary field of an RDB file: the stream offset of the log that the data stands at.
pub const LOG_OFFSET_AUX: &str = "lodestore-log-offset";

/// Auxiliary field: the replication id of the log there. Counts beside [`LOG_OFFSET_AUX`] only.
const REPL_ID_AUX: &str = "repl-id";

/// Auxiliary field: the database that is selected in the stream there. Counts beside
/// [`LOG_OFFSET_AUX`] only.
const REPL_STREAM_DB_AUX: &str = "repl-stream-db";

/// The first bytes of files in RDB form.
pub(crate) const SIGNATURES: [&[u8]; 2] = [b"REDIS", b"VALKEY"];

/// Facts about the part in RDB form.
pub(crate) struct Preamble {
    /// Its length in bytes.
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    /// Stream offset that its data stands at, when the file has the field.
    pub(crate) offset: Option<u64>,
    pub(crate) replication_id: Option<ReplicationId>,
    pub(crate) stream_db: Option<u32>,
}

/// Loads the first part of a file of `len` bytes that count. Reports progress as bytes behind
/// `done`.
pub(crate) fn load(
    file: Arc<dyn File>,
    len: u64,
    target: &mut dyn Target,
    (done, total): (u64, u64),
) -> Result<Preamble, rdb::RdbError> {
    let options = target.rdb_options();
    let mut sink = Watched {
        target,
        done,
        total,
        entries: 0,
        offset: None,
        replication_id: None,
        stream_db: None,
    };
    let mut source = Source::new(file, len);
    let loaded = rdb::load(&mut source, &options, &mut sink)?;
    Ok(Preamble {
        bytes: loaded.bytes.min(len),
        entries: sink.entries,
        offset: sink.offset,
        replication_id: sink.replication_id,
        stream_db: sink.stream_db,
    })
}

/// A file up to `len`.
pub(crate) struct Source {
    file: Arc<dyn File>,
    len: u64,
    at: u64,
}

impl Source {
    pub(crate) fn new(file: Arc<dyn File>, len: u64) -> Self {
        Self { file, len, at: 0 }
    }

    /// A file from an offset to `len`.
    pub(crate) fn from(file: Arc<dyn File>, at: u64, len: u64) -> Self {
        let at = at.min(len);
        Self { file, len, at }
    }
}

impl io::Read for Source {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len - self.at).unwrap_or(usize::MAX);
        let most = room.len().min(left);
        let count = self
            .file
            .read_at(self.at, room.get_mut(..most).unwrap_or_default())?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Passes everything on, and keeps the auxiliary fields of the log.
struct Watched<'a> {
    target: &'a mut dyn Target,
    done: u64,
    total: u64,
    entries: u64,
    offset: Option<u64>,
    replication_id: Option<ReplicationId>,
    stream_db: Option<u32>,
}

impl Sink for Watched<'_> {
    fn entry(&mut self, entry: LoadedEntry<'_>) -> Result<(), String> {
        self.entries += 1;
        self.target.entry(entry)
    }

    fn function(&mut self, code: &[u8]) -> Result<(), String> {
        self.target.function(code)
    }

    fn aux(&mut self, name: &[u8], value: &[u8]) {
        let text = || str::from_utf8(value).ok();
        if name == LOG_OFFSET_AUX.as_bytes() {
            self.offset = text().and_then(|text| text.parse().ok());
        } else if name == REPL_ID_AUX.as_bytes() {
            self.replication_id = ReplicationId::parse(value);
        } else if name == REPL_STREAM_DB_AUX.as_bytes() {
            self.stream_db = text().and_then(|text| text.parse().ok());
        }
        self.target.aux(name, value);
    }

    fn sizes(&mut self, db: u32, keys: u64, volatile: u64) {
        self.target.sizes(db, keys, volatile);
    }

    fn skipped(&mut self, db: u32, key: &[u8], why: Skipped) {
        self.target.skipped(db, key, why);
    }

    fn recounted(&mut self, db: u32, key: &[u8], said: u64, counted: u64) {
        self.target.recounted(db, key, said, counted);
    }

    fn version(&mut self, version: Version) {
        self.target.version(version);
    }

    fn progress(&mut self, bytes: u64) {
        let loaded = self.done.saturating_add(bytes).min(self.total);
        Target::progress(self.target, loaded, self.total);
    }
}
