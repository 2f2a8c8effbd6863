//! The state of the log.

use crate::directory::DirectoryError;
use crate::options::FsyncPolicy;
use crate::storage::errno_text;
use std::fmt;
use std::io;
use std::time::Duration;
use thiserror::Error;

/// Repeated errors are logged once in this time.
pub(crate) const ERROR_LOG_INTERVAL: Duration = Duration::from_secs(30);

/// What kind of call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Writing records.
    Write,
    /// Forcing them to the disk.
    Fsync,
    /// Writing the manifest or making its directory durable.
    Manifest,
    /// Records were dropped because too many were waiting; see [`crate::LogOptions::max_pending`].
    Overflow,
}

/// Why the log refuses writes at the moment. Displays as the text behind `-MISCONF `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What failed.
    pub cause: Cause,
    /// The system's error number, when there is one.
    pub errno: Option<i32>,
    /// Its text, as `strerror` gives it.
    pub text: String,
    /// Only a new base ([`crate::Log::begin_base`]) can repair it. Otherwise the log retries by
    /// itself.
    pub needs_base: bool,
}

impl Trouble {
    pub(crate) fn new(cause: Cause, error: &io::Error) -> Self {
        // A write of 0 bytes without an error counts as a full disk, as in Redis.
        let full = io::Error::from_raw_os_error(libc::ENOSPC);
        let error = if error.kind() == io::ErrorKind::WriteZero {
            &full
        } else {
            error
        };
        Self {
            cause,
            errno: error.raw_os_error(),
            text: errno_text(error),
            needs_base: false,
        }
    }
}

impl Cause {
    /// How many causes there are.
    pub(crate) const COUNT: usize = Self::Overflow as usize + 1;
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errors writing to the AOF file: {}", self.text)
    }
}

/// Why a call of the log failed.
#[derive(Debug, Error)]
pub enum LogError {
    /// Writing failed. The records are kept; see [`Trouble`].
    #[error("{0}")]
    Broken(Trouble),
    /// The log cannot be opened.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A base is being written already.
    #[error("Background append only file rewriting already in progress")]
    Rewriting,
    /// The base does not fit the log any more: the reason.
    #[error("The new AOF base is of no use: {0}")]
    Superseded(&'static str),
    /// A base could not be written; the log is as it was.
    #[error("Can't write the new AOF base: {text}", text = errno_text(.0))]
    Base(#[source] io::Error),
}

/// Whether a command that writes may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteStatus {
    /// Yes.
    Open,
    /// Yes, but half of `max_pending` is used: flush first.
    Slow,
    /// No: the log is broken, or `max_pending` is used up.
    Refuse,
}

/// Fields for `INFO persistence` and for monitoring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// `aof_enabled`.
    pub enabled: bool,
    /// The policy in force.
    pub policy: FsyncPolicy,
    /// `aof_current_size`: bytes of all files that count.
    pub current_size: u64,
    /// `aof_base_size`: `current_size` when the base was written or loaded.
    pub base_size: u64,
    /// `aof_buffer_length`: bytes waiting to be written.
    pub buffer_length: usize,
    /// Bytes kept in memory because they are written but not synced.
    pub unsynced_length: usize,
    /// `aof_pending_bio_fsync`: whether a sync is under way.
    pub pending_fsync: bool,
    /// `aof_delayed_fsync`: syncs that took over two seconds while records were written.
    pub delayed_fsync: u64,
    /// Syncs done.
    pub fsyncs: u64,
    /// Time in them.
    pub fsync_time: Duration,
    /// How long the last one took.
    pub last_fsync_time: Duration,
    /// `aof_last_write_status` is ok when this is empty.
    pub trouble: Option<Trouble>,
    /// Text of the last failed sync since the last good one.
    pub last_fsync_error: Option<String>,
    /// Whether records are kept but cannot be loaded before the first base is written.
    pub waits_for_base: bool,
    /// `aof_rewrite_in_progress`: whether a base is being written.
    pub rewriting: bool,
    /// `aof_current_rewrite_time_sec`, while one is.
    pub current_rewrite_seconds: Option<u64>,
    /// Bases that failed since the last one that did not.
    pub rewrite_failures: u32,
    /// `aof_rewrites`: bases begun.
    pub rewrites: u64,
    /// `aof_last_bgrewrite_status`: whether the last base that ended was written.
    pub last_rewrite_ok: bool,
    /// `aof_last_rewrite_time_sec`, when there was one.
    pub last_rewrite_seconds: Option<u64>,
    /// Stream offset after the last record appended.
    pub appended: u64,
    /// Stream offset up to which records are written.
    pub written: u64,
    /// Stream offset up to which records are durable.
    pub synced: u64,
}
