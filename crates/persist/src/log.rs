//! The log: all changes of data are appended here, in the order of the locks.
//!
//! ```text
//! append   under shard locks: copies into the buffer                buffer mutex, short
//! flush    the first caller writes the bytes of all, one write      file mutex
//! service  the log thread: syncs, checksum lines, retries           file mutex, not during a sync
//!
//!     synced <= written <= appended        positions in the log, atomics
//! ```
//!
//! The log has two readers: the append-only file and the replication stream. The stream is what a
//! replica gets: records and the SELECTs between them. Annotation lines, the heads of files and
//! records for the file alone are not part of it ([`Scope`]). A stream offset counts bytes of the
//! stream. A position counts what is appended for either reader, so that a reply can wait for it;
//! positions and offsets are the same until something is appended for the file alone. A log that
//! is not enabled still counts both.
//!
//! Lock order: the turn to sync, file mutex, then buffer mutex, then the small ones. Appending
//! takes only the second, so it never waits for the disk.

use crate::chunk::Buffer;
use crate::directory::{Directory, Retention};
use crate::load::{LoadError, LoadReport, load_files};
use crate::manifest::BaseForm;
use crate::options::{FsyncPolicy, LogOptions};
use crate::replication::{Append, ReplicationId, Scope, Selection};
use crate::shared::{Shared, policy_code};
use crate::status::{LogError, Status, Trouble, WriteStatus};
use crate::storage::Storage;
use crate::sync::lock;
use crate::target::Target;
use crate::writer::Writer;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

/// The append-only log, shared by all threads. See the module's head for how it works.
pub struct Log {
    pub(crate) shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Log {
    /// A log that is not enabled: nothing on the disk is touched. [`Log::load`] or
    /// [`Log::start_new_base`] enable it, [`Log::start`] starts its thread.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, options: LogOptions) -> Self {
        let shared = Shared {
            storage,
            buffer: Mutex::default(),
            opened: Mutex::default(),
            lent: Mutex::default(),
            writer: Mutex::default(),
            sync_turn: Mutex::default(),
            schedule: Mutex::default(),
            observers: Mutex::default(),
            wake: Mutex::default(),
            woken: Condvar::new(),
            appended: AtomicU64::new(0),
            written: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            stream_end: AtomicU64::new(0),
            stream_synced: AtomicU64::new(0),
            pending: AtomicUsize::new(0),
            unsynced: AtomicUsize::new(0),
            enabled: AtomicBool::new(false),
            streams: AtomicBool::new(false),
            policy: AtomicU8::new(policy_code(options.fsync)),
            timestamps: AtomicBool::new(options.timestamps),
            broken: AtomicBool::new(false),
            incremental_fsync: AtomicBool::new(options.incremental_fsync),
            retention: Arc::new(Retention::new(&options)),
            current_size: AtomicU64::new(0),
            report: Mutex::default(),
            options,
        };
        Self {
            shared: Arc::new(shared),
            thread: Mutex::default(),
        }
    }

    /// Loads the log of the directory, then opens it for appending; makes one when there is none.
    /// Nothing may be appended meanwhile: the commands that the target runs are in the log already.
    ///
    /// # Errors
    /// See [`LoadError`]; the log is not enabled then.
    pub fn load(&self, target: &mut dyn Target) -> Result<LoadReport, LoadError> {
        let shared = &*self.shared;
        let _turn = lock(&shared.sync_turn);
        let mut slot = lock(&shared.writer);
        let retention = shared.retention.clone();
        let directory = Directory::open(shared.storage.clone(), &shared.options, retention)?;
        let mut manifest = directory.manifest()?;
        directory.upgrade(&mut manifest)?;
        let mut loaded = load_files(&directory, &manifest, &shared.options, target)?;
        let directory = Arc::new(directory);
        let writer = Writer::resume(directory, manifest, &mut loaded, &shared.options).map_err(
            |source| LoadError::Io {
                what: "Can't open the append-only file %s",
                file: shared.options.appendfilename.clone(),
                source,
            },
        )?;
        let report = loaded.report;
        let place = report.place();
        shared.begin(slot.insert(writer), place);
        lock(&shared.report).base_size = report.base_bytes;
        Ok(report)
    }

    /// Starts the thread of the log, which syncs, retries, and writes records that no caller
    /// flushes.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(&self) -> io::Result<()> {
        self.start_on(|work| {
            let builder = std::thread::Builder::new().name("log".to_owned());
            builder.spawn(work)
        })
    }

    /// [`Log::start`] on a thread that `spawn` makes, which is to run what it gets.
    ///
    /// # Errors
    /// Errors of `spawn`.
    fn start_on(
        &self,
        spawn: impl FnOnce(Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>>,
    ) -> io::Result<()> {
        let mut thread = lock(&self.thread);
        if thread.is_none() {
            lock(&self.shared.wake).stop = false;
            let shared = self.shared.clone();
            *thread = Some(spawn(Box::new(move || shared.run_thread()))?);
        }
        Ok(())
    }

    /// Adds records (whole RESP commands; a transaction with its MULTI and EXEC in one call) for a
    /// database and for both readers, and returns the position after them. Never waits for the
    /// disk. Called under the locks of the data that the records change.
    pub fn append(&self, db: u32, records: &[u8], now_ms: u64) -> u64 {
        let append = Append {
            selection: Selection::Database(db),
            records,
            scope: Scope::Both,
        };
        self.append_scoped(&append, now_ms)
    }

    /// [`Log::append`] for a choice of readers, and for records that come with their SELECTs.
    pub fn append_scoped(&self, append: &Append<'_>, now_ms: u64) -> u64 {
        let timestamps = self.shared.timestamps.load(Ordering::Relaxed);
        let mut buffer = lock(&self.shared.buffer);
        let bytes = buffer.append(append, now_ms, timestamps);
        self.appended_bytes(&mut buffer, bytes)
    }

    /// Adds records without data (PING, messages) to the stream alone, unless it is a copy of a
    /// primary's: then nothing happens. No lock of data is needed, because that is looked at where
    /// records are added.
    pub fn append_to_own_stream(&self, selection: Selection, records: &[u8], now_ms: u64) {
        let mut buffer = lock(&self.shared.buffer);
        if buffer.is_copy() {
            return;
        }
        let append = Append {
            selection,
            records,
            scope: Scope::StreamOnly,
        };
        let bytes = buffer.append(&append, now_ms, false);
        self.appended_bytes(&mut buffer, bytes);
    }

    /// Publishes the end of the buffer, which got `bytes` bytes of file.
    fn appended_bytes(&self, buffer: &mut Buffer, bytes: usize) -> u64 {
        let shared = &*self.shared;
        let end = buffer.chunk.after;
        let waiting = shared.pending.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let most = shared.options.max_pending.saturating_mul(2);
        if waiting > most && shared.broken.load(Ordering::Relaxed) {
            shared.overflow(buffer);
        }
        shared.stream_end.store(end.offset, Ordering::Release);
        shared.appended.store(end.position, Ordering::Release);
        if !shared.enabled.load(Ordering::Relaxed) {
            shared.skip_all(&end);
        }
        end.position
    }

    /// Sets the replication id of the stream from here on. The log keeps it in its files and
    /// returns it from [`Log::load`]. Returns the position after the change: it is durable when
    /// [`Log::synced`] is there. Called under the locks of all data.
    pub fn set_replication_id(&self, id: ReplicationId) -> u64 {
        let mut buffer = lock(&self.shared.buffer);
        let bytes = buffer.set_id(id);
        self.appended_bytes(&mut buffer, bytes)
    }

    /// The replication id in force, when one was set or loaded.
    #[must_use]
    pub fn replication_id(&self) -> Option<ReplicationId> {
        lock(&self.shared.buffer).chunk.after.id
    }

    /// Database that is selected at the end of the stream; `None` before the first SELECT.
    #[must_use]
    pub fn stream_db(&self) -> Option<u32> {
        lock(&self.shared.buffer).chunk.after.stream_db
    }

    /// Sets whether the stream is a copy of a primary's stream, byte for byte. Then a fresh
    /// increment repeats the selected database for the file alone; otherwise, as by default, the
    /// stream gets a SELECT there, and at once when the copying ends. May be called before
    /// [`Log::load`]. Called under the locks of all data.
    pub fn set_stream_is_copy(&self, is_copy: bool) {
        lock(&self.shared.buffer).set_copy(is_copy);
    }

    /// The stream gets a SELECT before the next record that has a database, for a replica whose
    /// stream begins here. Not for a copy of a primary's stream. Called under the locks of all
    /// data.
    pub fn force_select(&self) {
        lock(&self.shared.buffer).force_select();
    }

    /// Goes on at this stream offset, with this database selected, as after a full synchronization
    /// from a primary. Only while the file is disabled and nothing waits: positions go on from
    /// the larger of both. Called under the locks of all data.
    pub fn set_stream_offset(&self, offset: u64, stream_db: Option<u32>) {
        let mut buffer = lock(&self.shared.buffer);
        debug_assert!(!self.is_enabled(), "the file would have a gap");
        buffer.jump(offset, stream_db);
        self.appended_bytes(&mut buffer, 0);
    }

    /// Writes everything that was appended before the call, for all callers, with one write;
    /// returns the position written. At once when another caller has written it.
    ///
    /// # Errors
    /// [`LogError::Broken`]: the records are kept and written later.
    pub fn flush(&self) -> Result<u64, LogError> {
        self.shared.flush()
    }

    /// Stream offset after the last record of the stream: `master_repl_offset`.
    #[must_use]
    pub fn stream_offset(&self) -> u64 {
        self.shared.stream_end.load(Ordering::Acquire)
    }

    /// Stream offset up to which the stream is durable in the file: the offset that a replica
    /// acknowledges with FACK.
    #[must_use]
    pub fn synced_offset(&self) -> u64 {
        self.shared.stream_synced.load(Ordering::Acquire)
    }

    /// Position after the last append.
    #[must_use]
    pub fn appended(&self) -> u64 {
        self.shared.appended.load(Ordering::Acquire)
    }

    /// Position up to which records are written: kill -9 leaves them.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Acquire)
    }

    /// Position up to which records are durable: a power cut leaves them.
    #[must_use]
    pub fn synced(&self) -> u64 {
        self.shared.synced.load(Ordering::Acquire)
    }

    /// Position up to which replies may leave: [`Log::synced`] with [`FsyncPolicy::Always`],
    /// else [`Log::written`].
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged()
    }

    /// Adds a function that is called whenever [`Log::acknowledged`] has moved by a sync or by a
    /// change of policy or files, with its new value; on the log thread or on the thread that made
    /// the change, without any lock of the log. It must not call [`Log::close`].
    pub fn on_synced(&self, observer: Box<dyn Fn(u64) + Send + Sync>) {
        lock(&self.shared.observers).push(Arc::from(observer));
    }

    /// Whether the append-only file is on. Changes only under the locks that [`Log::append`] is
    /// called under.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.shared.enabled.load(Ordering::Acquire)
    }

    /// Whether records have a reader: the append-only file or the replication stream. Otherwise
    /// they need not be encoded. Changes only under the locks that [`Log::append`] is called under.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.shared.enabled.load(Ordering::Acquire) || self.shared.streams.load(Ordering::Acquire)
    }

    /// Whether a command that writes may run now. Two atomic reads.
    #[must_use]
    pub fn write_status(&self) -> WriteStatus {
        let (pending, max) = (
            self.shared.pending.load(Ordering::Relaxed),
            self.shared.options.max_pending,
        );
        if self.shared.broken.load(Ordering::Relaxed) || pending >= max {
            WriteStatus::Refuse
        } else if pending >= max / 2 {
            WriteStatus::Slow
        } else {
            WriteStatus::Open
        }
    }

    /// The present trouble, if there is one.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        lock(&self.shared.report).trouble.clone()
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> FsyncPolicy {
        self.shared.policy()
    }

    /// Changes the policy. Observers are called, since other replies may leave now.
    pub fn set_policy(&self, policy: FsyncPolicy) {
        self.shared
            .policy
            .store(policy_code(policy), Ordering::SeqCst);
        self.shared.wake_thread();
        self.shared.notify();
    }

    /// Switches time stamps on or off (`aof-timestamp-enabled`).
    pub fn set_timestamps(&self, on: bool) {
        self.shared.timestamps.store(on, Ordering::Relaxed);
    }

    /// Sets whether a base is synced piece by piece (`aof-rewrite-incremental-fsync`).
    pub fn set_incremental_fsync(&self, on: bool) {
        self.shared.incremental_fsync.store(on, Ordering::Relaxed);
    }

    /// Sets whether superseded files are removed (not with `aof-disable-auto-gc`), and removes
    /// them.
    pub fn set_auto_gc(&self, on: bool) {
        let auto_gc = &self.shared.retention.auto_gc;
        auto_gc.store(on, Ordering::Relaxed);
        self.shared.collect_history();
    }

    /// Sets how long superseded files are kept (`aof-history-seconds`), and removes those that are
    /// older.
    pub fn set_history(&self, seconds: u64) {
        let kept = &self.shared.retention.history_seconds;
        kept.store(seconds, Ordering::Relaxed);
        self.expire_history();
    }

    /// Removes superseded files that have been kept long enough. To be called now and then.
    pub fn expire_history(&self) {
        let found = lock(&self.shared.writer)
            .as_ref()
            .map(|writer| (writer.directory.clone(), writer.manifest.clone()));
        if let Some((directory, manifest)) = found {
            let _turn = lock(&self.shared.sync_turn);
            directory.expire_history(&manifest);
        }
    }

    /// Writes a new base with the data as it is now, while the caller holds the locks of all data;
    /// enables the log when it is not. `write` writes RESP commands that create the data, starting
    /// in database 0. See [`Log::begin_base`] for one that is written in the background.
    ///
    /// # Errors
    /// The log goes on as it was, perhaps in a further increment.
    pub fn start_new_base(
        &self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), LogError> {
        let enabled = self.is_enabled();
        let result = self
            .begin_base(BaseForm::Commands, true)
            .and_then(|mut job| match write(&mut job) {
                Ok(()) => self.commit_base(job),
                Err(error) => {
                    self.abort_base(job);
                    Err(LogError::Base(error))
                }
            });
        if result.is_err() && !enabled {
            self.shared.detach();
        }
        result
    }

    /// Stops keeping records: flushes, syncs and closes the directory. Offsets go on. The caller
    /// holds the locks of all data. Errors are only logged, as Redis does: the log is being
    /// switched off.
    pub fn disable(&self) {
        if let Err(error) = self.shared.finish() {
            log::warn!("Fail to fsync the AOF file: {error}");
        }
        self.shared.detach();
        self.shared.notify();
    }

    /// Stops the thread, flushes, syncs, and closes the directory.
    ///
    /// # Errors
    /// When not everything could be written and synced; the directory is closed all the same.
    pub fn close(&self) -> Result<(), LogError> {
        self.stop_thread();
        let result = self.shared.finish();
        self.shared.detach();
        result
    }

    fn stop_thread(&self) {
        let Some(thread) = lock(&self.thread).take() else {
            return;
        };
        lock(&self.shared.wake).stop = true;
        self.shared.woken.notify_all();
        if thread.join().is_err() {
            log::error!("The log thread has panicked");
        }
    }

    /// One turn of the log thread, for callers that run it themselves: writes, syncs and retries
    /// when due. `now_ms` is any clock that does not go back; the result is how long nothing will
    /// be due, in milliseconds.
    pub fn service(&self, now_ms: u64) -> u64 {
        self.shared.service(now_ms)
    }

    /// The state of the log. Does not wait for the disk.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            log::warn!("The log was not closed cleanly: {error}");
        }
    }
}
