//! A new base, written in the background while records go to a fresh increment.
//!
//! ```text
//! begin    under all data locks: what was appended goes to the old increment, a fresh one begins
//!          at offset O; the manifest names old base, old increments, fresh increment
//! write    the data as it was at O, to a temporary file, in any thread, as long as it takes
//! commit   the manifest names new base, fresh increment and those that follow; the rest is history
//! ```
//!
//! In two states the log has no fresh increment in the manifest:
//!
//! - A log that is switched on waits for its base. Its increment has a temporary name until then.
//! - A broken log writes nothing. Records before O and records after it wait in separate chunks: if
//!   the disk recovers, the former go to the old increment and the latter begin a fresh one; if the
//!   base is finished sooner, the former are dropped, also when they were lost before.

use crate::annotation::repl_line;
use crate::directory::{CommitError, Directory};
use crate::increment::{self, Fresh};
use crate::log::Log;
use crate::manifest::{BaseForm, FileInfo, Manifest};
use crate::replication::Mark;
use crate::shared::{Shared, switch_now};
use crate::status::{Cause, LogError};
use crate::storage::errno_text;
use crate::sync::lock;
use crate::writer::{Rewrite, Settled, Writer};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Bytes of a base that are written at once.
const WRITE_BUFFER: usize = 256 << 10;
/// Bytes of a base between two syncs, as in Redis.
const SYNC_EVERY: u64 = 4 << 20;

/// A base that is being written. Through [`io::Write`] it takes the data as of the beginning of the
/// job, in the requested form. Dropping it aborts the job.
pub struct BaseJob {
    shared: Arc<Shared>,
    directory: Arc<Directory>,
    form: BaseForm,
    /// The place that the data stands at.
    place: Mark,
    temporary: PathBuf,
    file: Option<Fresh>,
    waiting: Vec<u8>,
    unsynced: u64,
    /// The log is off and stays so.
    detached: bool,
    ended: bool,
}

/// The decisions of a commit, made under the locks.
struct Plan {
    next: Manifest,
    /// The old base and its increments.
    chain: Manifest,
    base: FileInfo,
    /// The increment that the manifest names first; made or renamed by the commit when it says so.
    incr: Option<FileInfo>,
    kind: Kind,
}

enum Kind {
    /// The increments from this number on are in the manifest already.
    Running(u64),
    /// The increment has this temporary name.
    Waiting(PathBuf),
    /// The log is broken: a fresh increment is made.
    Broken,
}

impl BaseJob {
    /// Stream offset that the data stands at.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.place.offset
    }

    /// The requested form of the base.
    #[must_use]
    pub fn form(&self) -> BaseForm {
        self.form
    }

    /// The data is in this file, in the requested form; nothing has been written to the job.
    pub(crate) fn take_file(&mut self, path: PathBuf, file: Fresh) {
        (self.temporary, self.file) = (path, Some(file));
    }

    fn write_out(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                self.shared.seal();
                self.file
                    .insert(Fresh::create(&self.directory, &self.temporary)?)
            }
        };
        file.append(&self.waiting)?;
        self.unsynced += self.waiting.len() as u64;
        self.waiting.clear();
        if self.unsynced >= SYNC_EVERY && self.shared.incremental_fsync.load(Ordering::Relaxed) {
            file.file.sync_data()?;
            self.unsynced = 0;
        }
        Ok(())
    }

    /// Completes and syncs the file; returns its length.
    fn finish(&mut self) -> io::Result<u64> {
        self.write_out()?;
        let checksums = self.shared.options.checksums && self.form == BaseForm::Commands;
        let offset = self.place.offset;
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
        // The head of the increment behind the base may not be durable when the base is.
        if self.form == BaseForm::Commands
            && let Some(line) = repl_line(&self.place)
        {
            file.append(line.as_bytes())?;
        }
        if checksums {
            file.close_checksum(offset)?;
        }
        file.file.sync_data()?;
        Ok(file.len)
    }

    fn give_up(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.directory.discard(&self.temporary);
        self.shared.rewrite_ended(&self.directory, false);
    }
}

impl Write for BaseJob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= WRITE_BUFFER {
            self.write_out()?;
        }
        Ok(bytes.len())
    }

    /// Does nothing: the end of the job writes the buffer.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for BaseJob {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl Log {
    /// Does the part of [`Log::begin_base`] that waits for the disk. Called without locks shortly
    /// before it; without this call [`Log::begin_base`] waits for the disk under the locks.
    ///
    /// # Errors
    /// The disk does not take new files; [`Log::begin_base`] would fail too.
    pub fn prepare_base(&self) -> Result<(), LogError> {
        let shared = &self.shared;
        let _turn = lock(&shared.sync_turn);
        let preparing = match lock(&shared.writer).as_ref() {
            None => {
                let mut opened = lock(&shared.opened);
                if opened.is_none() {
                    *opened = Some(shared.open_directory()?);
                }
                return Ok(());
            }
            // The log recovers by itself or by a base; both create their own increment.
            Some(_) if shared.broken.load(Ordering::Acquire) => None,
            Some(writer) => writer.prepare(),
        };
        let Some(preparing) = preparing else {
            return Ok(());
        };
        let (manifest, prepared) = preparing.run().map_err(LogError::Base)?;
        // The manifest changes, and the writer is removed, only in the turn to sync, which this
        // thread holds.
        if let Some(writer) = lock(&shared.writer).as_mut() {
            writer.take_prepared(manifest, prepared);
        }
        Ok(())
    }

    /// Begins a new base at the end of what was appended: the caller holds the locks of all data,
    /// writes the data as it is now to the job, at any time and without the locks, and ends it with
    /// [`Log::commit_base`] or [`Log::abort_base`]. Records go to a fresh increment from now on.
    ///
    /// A log that is not enabled is with `enable`: it waits for this base then, and nothing on the
    /// disk changes before it is there. Without, the base replaces the files of the log, which
    /// stays off.
    ///
    /// # Errors
    /// The log goes on as it was, perhaps in a further increment.
    pub fn begin_base(&self, form: BaseForm, enable: bool) -> Result<BaseJob, LogError> {
        let mut report = lock(&self.shared.report);
        if report.rewrite_started.is_some() {
            return Err(LogError::Rewriting);
        }
        report.rewrite_started = Some(self.shared.options.clock.monotonic_ns());
        report.rewrites += 1;
        drop(report);
        self.shared.begin_base(form, enable).inspect_err(|_| {
            let mut report = lock(&self.shared.report);
            report.rewrite_started = None;
            report.last_rewrite_failed = true;
            report.rewrite_failures += 1;
        })
    }

    /// Puts a complete base in force, and removes the files it supersedes. A crash at any step
    /// leaves the old state or the new one. A log whose trouble says `needs_base` is whole again
    /// afterwards.
    ///
    /// # Errors
    /// The job has failed, and the log goes on as it was.
    pub fn commit_base(&self, mut job: BaseJob) -> Result<(), LogError> {
        let length = job.finish().map_err(LogError::Base)?;
        let collect = self.shared.put_in_force(&job, length)?;
        job.ended = true;
        self.shared.rewrite_ended(&job.directory, true);
        if collect {
            self.shared.collect_history();
        }
        drop(job);
        self.shared.notify();
        Ok(())
    }

    /// Aborts a base. A log that waited for it waits for the next one.
    pub fn abort_base(&self, mut job: BaseJob) {
        job.give_up();
    }
}

impl Log {
    /// A base could not be begun: [`Status::last_rewrite_ok`] is false from now on.
    ///
    /// [`Status::last_rewrite_ok`]: crate::Status::last_rewrite_ok
    pub fn note_failed_rewrite(&self) {
        let mut report = lock(&self.shared.report);
        report.last_rewrite_failed = true;
        report.rewrite_failures += 1;
    }

    /// The data is not what the files make any more: writes are refused until a new base is there.
    /// The caller holds the locks of all data.
    pub fn require_base(&self) {
        let position = self.appended();
        lock(&self.shared.report).lost_to = position;
        let error = io::Error::other("the data was loaded anew");
        // The error is kept as the trouble of the log.
        let _ = self.shared.break_down(Cause::Write, &error, true);
    }

    /// Undoes [`Log::prepare_base`]: the directory of a log that is not enabled is closed.
    pub fn forget_prepared(&self) {
        *lock(&self.shared.opened) = None;
    }
}

impl Shared {
    /// The directory of a log that is off.
    pub(crate) fn open_directory(&self) -> Result<Arc<Directory>, LogError> {
        if let Some(directory) = lock(&self.lent).upgrade() {
            return Ok(directory);
        }
        let storage = self.storage.clone();
        let directory = Directory::open(storage, &self.options, self.retention.clone())?;
        Ok(Arc::new(directory))
    }

    fn begin_base(self: &Arc<Self>, form: BaseForm, enable: bool) -> Result<BaseJob, LogError> {
        let mut slot = lock(&self.writer);
        let place = lock(&self.buffer).chunk.after;
        let directory = match slot.as_mut() {
            Some(writer) if writer.waiting.is_none() => {
                self.begin_in_force(writer, place)?;
                writer.directory.clone()
            }
            waiting => {
                let known = waiting.map(|writer| writer.directory.clone());
                let directory = match known.or_else(|| lock(&self.opened).take()) {
                    Some(directory) => directory,
                    None => self.open_directory()?,
                };
                if enable || slot.is_some() {
                    self.begin_waiting(&mut slot, &directory, place)?;
                }
                directory
            }
        };
        Ok(BaseJob {
            shared: self.clone(),
            form,
            place,
            temporary: directory.temporary("base"),
            directory,
            file: None,
            waiting: Vec::new(),
            unsynced: 0,
            detached: slot.is_none(),
            ended: false,
        })
    }

    fn begin_in_force(&self, writer: &mut Writer, place: Mark) -> Result<(), LogError> {
        writer.rewrite = Some(Rewrite {
            position: place.position,
            first: None,
            before_len: 0,
            lost: None,
        });
        let broken = self.broken.load(Ordering::Acquire);
        if !broken && self.write_pending(writer, true).is_ok() {
            if let Err(error) = switch_now(writer, &place) {
                writer.rewrite = None;
                return Err(LogError::Base(error));
            }
            let bytes = lock(&self.buffer).restart_increment(place);
            self.pending.fetch_add(bytes, Ordering::Relaxed);
            self.publish_sizes(writer);
            return Ok(());
        }
        let lost = lock(&self.report)
            .trouble
            .as_ref()
            .is_some_and(|trouble| trouble.needs_base);
        let mut buffer = lock(&self.buffer);
        if lost {
            writer.unwritten.clear();
            self.pending.store(0, Ordering::Relaxed);
        } else {
            let before = buffer.take(Vec::new());
            if before.fresh || !before.bytes.is_empty() {
                writer.unwritten.push_back(before);
            }
        }
        let bytes = buffer.restart_increment(place);
        self.pending.fetch_add(bytes, Ordering::Relaxed);
        buffer.chunk.fresh = true;
        Ok(())
    }

    fn begin_waiting(
        &self,
        slot: &mut Option<Writer>,
        directory: &Arc<Directory>,
        place: Mark,
    ) -> Result<(), LogError> {
        let number = lock(&self.report).rewrites;
        let path = directory.temporary(&format!("{number}.incr"));
        let manifest = directory.manifest()?;
        let made = Fresh::create(directory, &path).and_then(|mut fresh| {
            fresh.head(&place.at_file_start(), self.options.checksums)?;
            Ok(fresh)
        });
        let fresh = made.map_err(|error| {
            directory.discard(&path);
            LogError::Base(error)
        })?;
        let start = (place.at_file_start(), self.options.checksums);
        let mut writer = Writer::with_file(directory.clone(), manifest, fresh, 0, start);
        writer.synced_len = 0;
        writer.waiting = Some(path);
        writer.rewrite = Some(Rewrite {
            position: place.position,
            first: None,
            before_len: 0,
            lost: None,
        });
        if let Some(old) = slot.take().and_then(|mut old| old.waiting.take()) {
            directory.discard(&old);
        }
        self.clear_trouble();
        self.begin(&writer, place);
        lock(&self.report).waits_for_base = true;
        *slot = Some(writer);
        Ok(())
    }

    /// Syncs the increments before the one that grows, and removes their `tail unsynced` marks from
    /// the manifest. A failure does not affect the base.
    fn seal(&self) {
        if let Err(error) = self.sync() {
            log::debug!("Syncing before a base is written: {error}");
        }
        let _turn = lock(&self.sync_turn);
        let sealed = match lock(&self.writer).as_ref() {
            Some(writer) if writer.can_seal() => (writer.directory.clone(), writer.sealed()),
            _ => return,
        };
        let (directory, next) = sealed;
        match directory.commit(&next) {
            Err(CommitError::NotDone(error)) => {
                log::warn!("Error writing the AOF manifest: {}", errno_text(&error));
            }
            Ok(()) | Err(CommitError::NotDurable(_)) => {
                if let Some(writer) = lock(&self.writer).as_mut() {
                    writer.manifest = next;
                }
            }
        }
    }

    /// Makes the base a part of the log. Whether superseded files may be removed.
    fn put_in_force(&self, job: &BaseJob, length: u64) -> Result<bool, LogError> {
        let _turn = lock(&self.sync_turn);
        let directory = &*job.directory;
        if job.detached {
            let mut next = directory.manifest()?;
            directory.note_chain(&next);
            let base = next.rebase(&directory.filename, job.form, None);
            let plan = Plan {
                next,
                chain: Manifest::default(),
                base,
                incr: None,
                kind: Kind::Running(0),
            };
            self.switch_manifest(job, &plan)?;
            directory.tidy(&mut plan.next.clone());
            return Ok(false);
        }
        let plan = self.plan(job)?;
        directory.note_chain(&plan.chain);
        let fresh = match (&plan.kind, &plan.incr) {
            (Kind::Broken, Some(incr)) => {
                let path = directory.path_of(incr);
                let checksums = self.options.checksums;
                let made =
                    increment::create(directory, &path, &job.place.at_file_start(), checksums);
                Some(made.map_err(LogError::Base)?)
            }
            _ => None,
        };
        let durable = self.switch_manifest(job, &plan)?;
        let mut slot = lock(&self.writer);
        let Some(writer) = slot.as_mut() else {
            return Ok(false);
        };
        self.take_base(writer, plan, fresh, (job.place, length), durable);
        if durable && !self.broken.load(Ordering::Acquire) {
            // An error is in the trouble report.
            let _ = self.write_pending(writer, false);
        }
        self.publish_sizes(writer);
        Ok(durable)
    }

    /// The next manifest, if the base still fits the log.
    fn plan(&self, job: &BaseJob) -> Result<Plan, LogError> {
        let slot = lock(&self.writer);
        let writer = slot
            .as_ref()
            .filter(|writer| Arc::ptr_eq(&writer.directory, &job.directory))
            .ok_or(LogError::Superseded("the log was switched off"))?;
        let rewrite = writer
            .rewrite
            .as_ref()
            .filter(|rewrite| rewrite.position == job.place.position)
            .ok_or(LogError::Superseded("another one was begun"))?;
        if let Some(reason) = rewrite.lost {
            return Err(LogError::Superseded(reason));
        }
        if self.lost_behind(job.place.position) {
            let reason = "records that came after it could not be written";
            return Err(LogError::Superseded(reason));
        }
        let mut next = writer.manifest.clone();
        let filename = &job.directory.filename;
        // Taken before the increments are removed: their numbers must not be used again.
        let incr = next.next_incr(filename);
        let mut chain = next.clone();
        chain.history.clear();
        if let Some(first) = rewrite.first {
            chain.incr.retain(|info| info.seq < first);
        }
        let base = next.rebase(filename, job.form, rewrite.first);
        let (incr, kind) = match (&writer.waiting, rewrite.first) {
            (Some(path), _) => (Some(incr), Kind::Waiting(path.clone())),
            (None, Some(first)) => (None, Kind::Running(first)),
            (None, None) => (Some(incr), Kind::Broken),
        };
        next.incr.extend(incr.clone());
        Ok(Plan {
            next,
            chain,
            base,
            incr,
            kind,
        })
    }

    /// Whether records behind this position are lost.
    fn lost_behind(&self, position: u64) -> bool {
        let report = lock(&self.report);
        let lost = report
            .trouble
            .as_ref()
            .is_some_and(|trouble| trouble.needs_base);
        lost && report.lost_to > position
    }

    /// Gives the files their names and puts the manifest in force. Whether it is durable.
    fn switch_manifest(&self, job: &BaseJob, plan: &Plan) -> Result<bool, LogError> {
        let directory = &*job.directory;
        let storage = &directory.storage;
        let base = directory.path_of(&plan.base);
        let incr = plan.incr.as_ref().map(|info| directory.path_of(info));
        if let Err(error) = directory.begin_first() {
            return Err(LogError::Base(error.into_io()));
        }
        let renamed =
            storage
                .rename(&job.temporary, &base)
                .and_then(|()| match (&plan.kind, &incr) {
                    (Kind::Waiting(path), Some(incr)) => {
                        storage.rename(path, incr)?;
                        if let Some(writer) = lock(&self.writer).as_mut() {
                            writer.waiting = Some(incr.clone());
                        }
                        Ok(())
                    }
                    _ => Ok(()),
                });
        let done = renamed
            .map_err(CommitError::NotDone)
            .and_then(|()| directory.commit(&plan.next));
        match done {
            Ok(()) => Ok(true),
            Err(CommitError::NotDurable(error)) => {
                log::warn!("Fail to fsync AOF directory: {}", errno_text(&error));
                Ok(false)
            }
            Err(CommitError::NotDone(error)) => {
                directory.discard(&base);
                if let (Kind::Broken, Some(incr)) = (&plan.kind, &incr) {
                    directory.discard(incr);
                }
                Err(LogError::Base(error))
            }
        }
    }

    /// Makes the writer continue behind the base, which stands at `place` and has `length` bytes.
    fn take_base(
        &self,
        writer: &mut Writer,
        plan: Plan,
        fresh: Option<Fresh>,
        (place, length): (Mark, u64),
        durable: bool,
    ) {
        let rewrite = writer.rewrite.take();
        let first = match plan.kind {
            Kind::Running(first) => {
                let before = rewrite.map_or(0, |rewrite| rewrite.before_len);
                writer.others_len = length + writer.others_len.saturating_sub(before);
                first
            }
            Kind::Waiting(_) | Kind::Broken => {
                writer.waiting = None;
                writer.others_len = length;
                plan.incr.as_ref().map_or(0, |incr| incr.seq)
            }
        };
        writer.rebased(plan.next, first, place.position);
        if let Some(fresh) = fresh {
            writer.leave_all(fresh, &place);
            self.skip_to(writer, place.position);
        }
        let synced = self.synced_place();
        let is_behind = synced.position > place.position;
        let settled = Settled {
            len: writer.synced_len,
            place: if is_behind { synced } else { place },
        };
        writer.settle(settled, !durable);
        if durable {
            self.note_synced(&settled.place);
            lock(&self.report).waits_for_base = false;
        } else {
            let error = io::Error::from_raw_os_error(libc::EIO);
            self.break_down(Cause::Manifest, &error, false);
        }
    }

    /// Records up to this position are in a base: they count as written, and lost ones are not
    /// missing any more.
    fn skip_to(&self, writer: &mut Writer, position: u64) {
        let mut buffer = lock(&self.buffer);
        buffer.chunk.fresh = false;
        let waiting = |chunk: &crate::chunk::Chunk| chunk.bytes.len();
        let pending = waiting(&buffer.chunk) + writer.unwritten.iter().map(waiting).sum::<usize>();
        self.pending.store(pending, Ordering::Relaxed);
        drop(buffer);
        self.written.fetch_max(position, Ordering::AcqRel);
        self.clear_trouble();
        lock(&self.report).last_fsync_error = None;
    }

    /// Removes superseded files without holding a lock of the log.
    pub(crate) fn collect_history(&self) {
        let found = lock(&self.writer)
            .as_ref()
            .map(|writer| (writer.directory.clone(), writer.manifest.history.clone()));
        let Some((directory, history)) = found else {
            return;
        };
        let removed = directory.collect(&history);
        let _turn = lock(&self.sync_turn);
        let next = lock(&self.writer)
            .as_ref()
            .filter(|writer| Arc::ptr_eq(&writer.directory, &directory))
            .map(|writer| writer.manifest.clone());
        let Some(mut next) = next else { return };
        directory.forget(&mut next, &removed);
        directory.expire_history(&next);
        if let Some(writer) = lock(&self.writer).as_mut() {
            writer.manifest = next;
        }
    }

    fn rewrite_ended(&self, directory: &Arc<Directory>, ok: bool) {
        if let Some(writer) = lock(&self.writer).as_mut()
            && Arc::ptr_eq(&writer.directory, directory)
        {
            writer.rewrite = None;
        }
        let mut report = lock(&self.report);
        let started = report.rewrite_started.take();
        report.last_rewrite_seconds = started.map(|at| self.options.clock.since(at).as_secs());
        report.last_rewrite_failed = !ok;
        if ok {
            report.rewrite_failures = 0;
            report.base_size = self.current_size.load(Ordering::Relaxed);
        } else {
            report.rewrite_failures += 1;
        }
    }
}
