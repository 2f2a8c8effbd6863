//! The append-only log of Lodestore: its files, and the storage under them.
//!
//! [`Log`] takes the records of everything that changes data and brings them to the disk; it writes
//! the multi-part layout of Redis 7 and later, which Redis and Valkey load. [`load`] reads it back.
//! [`Storage`] is the seam to the disk.

mod annotation;
mod backup;
mod base;
pub mod check;
mod chunk;
mod clock;
mod directory;
pub mod existing_files;
mod heads;
mod history;
mod increment;
mod kept;
mod load;
mod log;
mod manifest;
mod options;
mod preamble;
pub mod rdb;
mod reader;
mod received;
mod records;
mod replication;
mod restore;
mod resume;

mod ring;
mod shared;
mod status;
pub mod storage;
mod stream;
mod sync;
mod target;
mod writer;

pub use crate::backup::{Backup, BackupError};
pub use crate::base::BaseJob;
pub use crate::clock::{Clock, SystemClock};
pub use crate::directory::DirectoryError;
pub use crate::kept::{KeptError, KeptStream};
pub use crate::load::{LoadError, LoadReport, Truncated, load};
pub use crate::log::Log;
pub use crate::manifest::{BaseForm, FileInfo, Manifest, ManifestError};
pub use crate::options::{FsyncPolicy, LogOptions};
pub use crate::preamble::LOG_OFFSET_AUX;
pub use crate::received::ReceivedBase;
pub use crate::replication::{Append, ReplicationId, Scope, Selection};
pub use crate::restore::{Moment, RestoreError, Restored, restore_to};
pub use crate::ring::StreamSlice;
pub use crate::status::{Cause, LogError, Status, Trouble, WriteStatus};
pub use crate::storage::{Disk, Storage};
pub use crate::stream::{StreamCursor, StreamLost};
pub use crate::target::Target;
