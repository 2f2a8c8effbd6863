//! Configuration of the log.

use crate::clock::{Clock, SystemClock};
use std::path::PathBuf;
use std::sync::Arc;

/// When written bytes are forced to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FsyncPolicy {
    /// Before they are acknowledged; many commands share one sync.
    Always,
    /// Once a second.
    #[default]
    EverySecond,
    /// When the operating system does.
    No,
}

/// Names, policy and bounds of a log. The comments name the configuration directives.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// `dir`.
    pub dir: PathBuf,
    /// `appenddirname`: the directory of the log's files, inside `dir`.
    pub appenddirname: String,
    /// `appendfilename`: the beginning of the names of the log's files.
    pub appendfilename: String,
    /// `appendfsync` at the start; see [`crate::Log::set_policy`].
    pub fsync: FsyncPolicy,
    /// `aof-timestamp-enabled`: write `#TS:` lines, at most one a second.
    pub timestamps: bool,
    /// Write checksum lines.
    pub checksums: bool,
    /// `aof-use-rdb-preamble`: the base of a log that begins with nothing is an RDB file of
    /// nothing.
    pub rdb_base: bool,
    /// `aof-load-truncated`: a log that ends in the middle of a record is cut, not refused.
    pub load_truncated: bool,
    /// `aof-rewrite-incremental-fsync`: a base is synced piece by piece while it is written, so
    /// that the disk does not get all of it at once.
    pub incremental_fsync: bool,
    /// Whether superseded files are removed; not with `aof-disable-auto-gc`.
    pub auto_gc: bool,
    /// `aof-history-seconds`: superseded files are kept so long in a directory of their own.
    pub history_seconds: u64,
    /// Bytes that may wait to be written before [`crate::Log::write_status`] refuses more. At twice
    /// this the waiting bytes are dropped, and the log needs a new base: a full disk must not fill
    /// the memory too.
    pub max_pending: usize,
    /// Written bytes kept in memory until they are synced (not with [`FsyncPolicy::No`]), for
    /// writing them again after a failed sync. At half of this a sync starts early. Beyond it they
    /// are no longer kept, and the log needs a new base after a failed sync.
    pub max_unsynced: usize,
    /// Longest argument accepted when loading, in bytes.
    pub max_bulk: usize,
    /// Where the time is read.
    pub clock: Arc<dyn Clock>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("."),
            appenddirname: "appendonlydir".to_owned(),
            appendfilename: "appendonly.aof".to_owned(),
            fsync: FsyncPolicy::default(),
            timestamps: true,
            checksums: true,
            rdb_base: false,
            load_truncated: true,
            incremental_fsync: true,
            auto_gc: true,
            history_seconds: 0,
            // A disk that writes 64 MiB/s has been stalled for a second at this size.
            max_pending: 64 << 20,
            max_unsynced: 64 << 20,
            max_bulk: 512 << 20,
            clock: Arc::new(SystemClock::default()),
        }
    }
}
