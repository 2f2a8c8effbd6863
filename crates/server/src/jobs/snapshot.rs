//! Snapshots: the data as it was at one instant, written while commands go on, without a second
//! process.
//!
//! [`begin`] sets a hook in every shard while all locks are held; that instant is what the snapshot
//! shows. The [`Walk`] it returns then goes over the shards in a thread of the caller's, in the
//! order of the hashes, a few entries per lock, and gives them to an [`Output`]. A command that is
//! about to change an entry which the walk has not reached encodes the old value first, into a
//! buffer of the shard (its pre-image); when that buffer is full the command itself gives it to the
//! output. A snapshot takes no other memory, and full buffers slow writers down to the speed of the
//! disk. (Before [`Walk::write`] is called there is no output: the caller keeps that time short.)
//!
//! ```text
//!  shard lock  ->  part of the shard (its pre-images)  ->  output
//! ```
//! is the order of locks. The walk holds at most one of them at a time when it writes, so the disk
//! delays only writers with full buffers. A value is encoded in one go under the lock of its shard:
//! for one of hundreds of megabytes that takes a noticeable fraction of a second.
//!
//! One snapshot runs at a time, whatever it is for: the holder of the [`Job`] may begin.

mod file;
mod hook;
mod save;
mod sync;
mod walk;

use std::io::{self, Write};
use std::sync::Arc;

use keyspace::EntryRef;
use persist::rdb::{self, Access, FileWriter, NoForm, SaveOptions};

use crate::jobs::aof_encode;
use crate::os::os_text;
use crate::server::Server;
use crate::state::Product;
use engine::config::P;
use engine::lru::AccessNow;
use engine::rdb_options;
use engine::shard_tables::Locked;

pub(crate) use file::{
    Head, ORIGIN_AUX, REPL_ID_AUX, REPL_OFFSET_AUX, STREAM_DB_AUX, begin_file, remove_interrupted,
};
pub(crate) use save::{
    Save, after_flush_all, background, cancel, cancel_save, copy, finish_stopped, note_loaded,
    save, save_before_stop, sizes, stop_running, tick, write_entries,
};
pub(crate) use sync::{ForReplicas, for_replicas};
pub use walk::{Walk, begin};

/// The form of entries in a snapshot.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// Entries of an RDB file.
    Rdb(SaveOptions),
    /// Commands that make them anew; the output selects the database.
    Commands,
}

/// Takes the encoded entries of a snapshot. Called by the walk and by commands that change data,
/// one at a time.
pub trait Output: Send {
    /// Entries of one database. No entry is torn between two calls.
    ///
    /// # Errors
    /// Errors of writing, which end the snapshot.
    fn entries(&mut self, db: u32, encoded: &[u8]) -> io::Result<()>;

    /// A file that has grown enough to be synced. The walk syncs it between two steps, when it
    /// holds no lock.
    fn due_sync(&mut self) -> Option<Arc<dyn persist::storage::File>> {
        None
    }
}

impl<W: Write + Send> Output for FileWriter<W> {
    fn entries(&mut self, db: u32, encoded: &[u8]) -> io::Result<()> {
        FileWriter::entries(self, db, encoded)
    }
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It was cancelled.
    #[error("it was cancelled")]
    Cancelled,
    /// The output returned an error.
    #[error("{}", os_text(.0))]
    Io(#[from] io::Error),
    /// A value has no form in the version of the file.
    #[error("{0}")]
    NoForm(#[from] NoForm),
}

/// Turns entries into bytes.
#[derive(Clone, Copy)]
struct Encoder {
    form: Form,
    clock: AccessNow,
    uses: Uses,
}

/// Which access data is saved: LRU or LFU, whichever the eviction policy uses.
#[derive(Clone, Copy)]
enum Uses {
    None,
    Idle,
    Frequency,
}

impl Encoder {
    fn new(server: &Server, form: Form) -> Self {
        let policy = server.engine.config.eviction_policy();
        let uses = match policy {
            policy if policy.is_lru() => Uses::Idle,
            policy if policy.is_lfu() => Uses::Frequency,
            _ => Uses::None,
        };
        Self {
            form,
            clock: server.engine.lru.now(),
            uses,
        }
    }

    fn encode(&self, entry: EntryRef<'_>, out: &mut Vec<u8>) -> Result<(), SnapshotError> {
        let options = match &self.form {
            Form::Commands => return Ok(aof_encode::write_entry(&entry, out)?),
            Form::Rdb(options) => options,
        };
        let access = match self.uses {
            Uses::None => Access::Unknown,
            Uses::Idle => Access::IdleSeconds(self.clock.idle_seconds(entry.lru())),
            Uses::Frequency => Access::Frequency(self.clock.frequency(entry.lru())),
        };
        Ok(rdb::entry(&entry, access, options, out)?)
    }
}

/// How a file with the present data is written: in the way that `rdb-version` says when it is set,
/// else so that the product which the data came from reads it.
pub(crate) fn save_options(server: &Server, locked: &Locked<'_>) -> SaveOptions {
    let config = &server.engine.config;
    let is_set = config.was_given(P::RdbVersion) || !config.is_default(P::RdbVersion);
    let product = server.origin.product().filter(|_| !is_set);
    let versions = product.as_ref().map(Product::versions);
    let deadlines = has_field_deadlines(locked);
    let options = rdb_options::save_options(config, versions.unwrap_or_default(), deadlines);
    if let Some(product) = product
        && !product.reads(options.version)
        && server.origin.warn_once()
    {
        log::warn!(
            "The data came from {}, which cannot read what is saved from now on: RDB version {} is {}",
            product.name,
            options.version.0,
            match deadlines {
                true => "needed for fields of hashes that have deadlines",
                false => "the oldest that is written",
            }
        );
    }
    options
}

/// True when a hash has fields with deadlines.
pub(crate) fn has_field_deadlines(locked: &Locked<'_>) -> bool {
    let databases = locked.keyspace().databases();
    let mut shards = locked.shards();
    shards.any(|shard| (0..databases).any(|db| shard.volatile_hashes(db) > 0))
}
