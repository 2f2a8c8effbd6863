//! The state of the log that threads share: it moves bytes from the buffer to the disk, and handles
//! errors of the disk.

use crate::chunk::{Buffer, Chunk};
use crate::directory::{Directory, Retention};
use crate::options::{FsyncPolicy, LogOptions};
use crate::replication::Mark;
use crate::status::{Cause, ERROR_LOG_INTERVAL, LogError, Status, Trouble};
use crate::storage::{Storage, errno_text};
use crate::sync::lock;
use crate::writer::Writer;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

/// Time between two attempts to recover a broken log, and between two syncs of `everysec`.
const SECOND_MS: u64 = 1000;
/// A sync that takes longer counts as delayed when records were written meanwhile, as in Redis.
const DELAYED_FSYNC: Duration = Duration::from_secs(2);

pub(crate) type Observer = Arc<dyn Fn(u64) + Send + Sync>;

pub(crate) struct Shared {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) options: LogOptions,
    pub(crate) buffer: Mutex<Buffer>,
    /// The directory, opened for a base that comes next, while the log is not enabled.
    pub(crate) opened: Mutex<Option<Arc<Directory>>>,
    /// The directory that a base is being received in.
    pub(crate) lent: Mutex<Weak<Directory>>,
    /// `None` while the log is not enabled.
    pub(crate) writer: Mutex<Option<Writer>>,
    /// Held during a sync and while files change hands: a second sync must not succeed where the
    /// first one failed, and a result must not be attributed to another file. Locked before the
    /// writer.
    pub(crate) sync_turn: Mutex<()>,
    pub(crate) schedule: Mutex<Schedule>,
    pub(crate) observers: Mutex<Vec<Observer>>,
    pub(crate) wake: Mutex<Wake>,
    pub(crate) woken: Condvar,

    /// Positions.
    pub(crate) appended: AtomicU64,
    pub(crate) written: AtomicU64,
    pub(crate) synced: AtomicU64,
    /// The stream offsets of `appended` and `synced`.
    pub(crate) stream_end: AtomicU64,
    pub(crate) stream_synced: AtomicU64,
    /// Bytes in the buffer and in the writer's unwritten chunk.
    pub(crate) pending: AtomicUsize,
    pub(crate) unsynced: AtomicUsize,
    /// The append-only file is on.
    pub(crate) enabled: AtomicBool,
    /// The replication stream has readers.
    pub(crate) streams: AtomicBool,
    pub(crate) policy: AtomicU8,
    pub(crate) timestamps: AtomicBool,
    /// Whether `report.trouble` is there.
    pub(crate) broken: AtomicBool,
    pub(crate) incremental_fsync: AtomicBool,
    pub(crate) retention: Arc<Retention>,
    pub(crate) current_size: AtomicU64,
    pub(crate) report: Mutex<Report>,
}

/// Figures for [`Status`] alone. Times are nanoseconds of the monotonic clock.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) trouble: Option<Trouble>,
    /// When a failure of each cause was last logged, in the order of [`Cause`].
    pub(crate) trouble_logged: [Option<u64>; Cause::COUNT],
    /// The present trouble is in the log, so its end belongs there too.
    pub(crate) is_trouble_logged: bool,
    pub(crate) last_fsync_error: Option<String>,
    pub(crate) sync_started: Option<(u64, u64)>,
    pub(crate) delayed_fsync: u64,
    pub(crate) fsyncs: u64,
    pub(crate) fsync_time: Duration,
    pub(crate) last_fsync_time: Duration,
    /// Records up to this position are lost, when the trouble says that a base is needed.
    pub(crate) lost_to: u64,
    pub(crate) base_size: u64,
    /// When the base that is being written was begun.
    pub(crate) rewrite_started: Option<u64>,
    pub(crate) rewrites: u64,
    pub(crate) rewrite_failures: u32,
    pub(crate) waits_for_base: bool,
    pub(crate) last_rewrite_failed: bool,
    pub(crate) last_rewrite_seconds: Option<u64>,
}

/// When the log thread has work, on the clock of [`Log::service`].
#[derive(Default)]
pub(crate) struct Schedule {
    pub(crate) last_second_ms: u64,
    pub(crate) retry_ms: u64,
}

#[derive(Default)]
pub(crate) struct Wake {
    pub(crate) stop: bool,
    pub(crate) pending: bool,
}

impl Shared {
    pub(crate) fn flush(&self) -> Result<u64, LogError> {
        let target = self.appended.load(Ordering::Acquire);
        let written = self.written.load(Ordering::Acquire);
        if written >= target {
            return Ok(written);
        }
        if self.broken.load(Ordering::Acquire) {
            return Err(self.broken_error());
        }
        let mut slot = lock(&self.writer);
        let written = self.written.load(Ordering::Acquire);
        match slot.as_mut() {
            Some(writer) if written < target => self.write_pending(writer, false),
            _ => Ok(written),
        }
    }

    /// Writes all pending chunks. `close` adds a checksum line, also when nothing is pending.
    pub(crate) fn write_pending(&self, writer: &mut Writer, close: bool) -> Result<u64, LogError> {
        if self.broken.load(Ordering::Acquire) {
            return Err(self.broken_error());
        }
        self.write_all(writer, close)
            .map_err(|error| self.break_down(Cause::Write, &error, false))
    }

    pub(crate) fn write_all(&self, writer: &mut Writer, close: bool) -> io::Result<u64> {
        while let Some(chunk) = writer.unwritten.pop_front() {
            self.write_chunk(writer, chunk, false)?;
        }
        let spare = std::mem::take(&mut writer.spare);
        let chunk = lock(&self.buffer).take(spare);
        let checksum_only = close && writer.wants_closing();
        if chunk.bytes.is_empty() && !chunk.fresh && !checksum_only {
            writer.spare = chunk.bytes;
        } else {
            self.write_chunk(writer, chunk, close)?;
        }
        Ok(self.written.load(Ordering::Acquire))
    }

    fn write_chunk(&self, writer: &mut Writer, mut chunk: Chunk, close: bool) -> io::Result<()> {
        if chunk.fresh {
            if let Err(error) = switch_now(writer, &chunk.before) {
                writer.unwritten.push_front(chunk);
                return Err(error);
            }
            chunk.fresh = false;
        }
        let (bytes, end) = (chunk.bytes.len(), chunk.after.position);
        let policy = self.policy();
        let keep = if policy == FsyncPolicy::No {
            0
        } else {
            self.options.max_unsynced
        };
        writer.write(chunk, close, keep)?;
        self.pending.fetch_sub(bytes, Ordering::Relaxed);
        self.publish_sizes(writer);
        self.written.store(end, Ordering::Release);
        let early = writer.unsynced.bytes() > self.options.max_unsynced / 2;
        if policy == FsyncPolicy::Always || early {
            self.wake_thread();
        }
        Ok(())
    }

    pub(crate) fn publish_sizes(&self, writer: &Writer) {
        self.current_size
            .store(writer.others_len + writer.len, Ordering::Relaxed);
        self.unsynced
            .store(writer.unsynced.bytes(), Ordering::Relaxed);
    }

    /// Drops the pending records, because there are too many to keep; the log is broken until there
    /// is a new base. Called with the buffer locked.
    pub(crate) fn overflow(&self, buffer: &mut Buffer) {
        let dropped = buffer.chunk.bytes.len();
        let place = buffer.chunk.after;
        buffer.restart(place, false);
        self.pending.fetch_sub(dropped, Ordering::Relaxed);
        let mut report = lock(&self.report);
        let mut trouble = report.trouble.clone().unwrap_or_else(|| {
            Trouble::new(
                Cause::Overflow,
                &io::Error::from_raw_os_error(libc::ENOBUFS),
            )
        });
        trouble.needs_base = true;
        report.lost_to = place.position;
        log::error!("AOF: {dropped} bytes that could not be written were dropped: {trouble}");
        report.trouble = Some(trouble);
        self.broken.store(true, Ordering::Release);
    }

    pub(crate) fn break_down(&self, cause: Cause, error: &io::Error, needs_base: bool) -> LogError {
        let mut trouble = Trouble::new(cause, error);
        let mut report = lock(&self.report);
        trouble.needs_base =
            needs_base || report.trouble.as_ref().is_some_and(|old| old.needs_base);
        let last = report.trouble_logged.get(cause as usize).copied().flatten();
        if last.is_none_or(|at| self.options.clock.since(at) >= ERROR_LOG_INTERVAL) {
            let now_ns = self.options.clock.monotonic_ns();
            if let Some(logged) = report.trouble_logged.get_mut(cause as usize) {
                *logged = Some(now_ns);
            }
            report.is_trouble_logged = true;
            match cause {
                Cause::Fsync => log::warn!("Fail to fsync the AOF file: {}", trouble.text),
                _ => log::warn!("Error writing to the AOF file: {}", trouble.text),
            }
        }
        report.trouble = Some(trouble.clone());
        self.broken.store(true, Ordering::Release);
        LogError::Broken(trouble)
    }

    pub(crate) fn broken_error(&self) -> LogError {
        let trouble = lock(&self.report).trouble.clone();
        LogError::Broken(trouble.unwrap_or_else(|| {
            // The log has recovered between the read of the flag and that of the reason.
            Trouble::new(Cause::Write, &io::Error::from_raw_os_error(libc::EAGAIN))
        }))
    }

    /// Tries to recover a broken log.
    pub(crate) fn recover(&self) {
        let _turn = lock(&self.sync_turn);
        let mut slot = lock(&self.writer);
        let needs_base = lock(&self.report)
            .trouble
            .as_ref()
            .is_some_and(|old| old.needs_base);
        let Some(writer) = slot.as_mut() else { return };
        writer.note_failed_sync();
        if needs_base {
            return;
        }
        match self.mend(writer) {
            Ok(()) => {
                // A disk with little room left may break and recover each second.
                if std::mem::take(&mut lock(&self.report).is_trouble_logged) {
                    log::info!("AOF write error looks solved. The server can write again.");
                }
                self.clear_trouble();
            }
            Err((cause, error)) => {
                self.break_down(cause, &error, false);
            }
        }
        self.publish_sizes(writer);
    }

    pub(crate) fn mend(&self, writer: &mut Writer) -> Result<(), (Cause, io::Error)> {
        if writer.needs_roll() {
            writer.roll().map_err(|error| (Cause::Fsync, error))?;
        }
        let settled = writer
            .commit_again()
            .map_err(|error| (Cause::Manifest, error))?;
        if let Some(place) = settled {
            self.note_synced(&place);
            lock(&self.report).waits_for_base = false;
        }
        if writer.all_synced() {
            self.note_synced(&writer.place());
            lock(&self.report).last_fsync_error = None;
        }
        self.write_all(writer, false)
            .map_err(|error| (Cause::Write, error))?;
        Ok(())
    }

    pub(crate) fn clear_trouble(&self) {
        let mut report = lock(&self.report);
        report.trouble = None;
        self.broken.store(false, Ordering::Release);
    }

    /// Makes everything written so far durable; returns the synced offset.
    pub(crate) fn sync(&self) -> Result<u64, LogError> {
        let turn = lock(&self.sync_turn);
        while self.sync_one()? {}
        drop(turn);
        self.notify();
        Ok(self.synced.load(Ordering::Acquire))
    }

    /// Syncs the oldest file that waits for it; whether there are more. Called in one's turn: files
    /// are only added meanwhile.
    fn sync_one(&self) -> Result<bool, LogError> {
        let target = {
            let mut slot = lock(&self.writer);
            let Some(writer) = slot.as_mut() else {
                return Ok(false);
            };
            if self.broken.load(Ordering::Acquire) {
                return Err(self.broken_error());
            }
            writer.sync_target()
        };
        let now_ns = self.options.clock.monotonic_ns();
        lock(&self.report).sync_started = Some((now_ns, target.place.position));
        let result = target.file.sync_data();
        let mut slot = lock(&self.writer);
        self.sync_ended(result.as_ref().err());
        let Some(writer) = slot.as_mut() else {
            return Ok(false);
        };
        if let Err(error) = result {
            writer.distrust();
            let synced = self.synced.load(Ordering::Acquire);
            let kept = writer.unsynced.reaches_back_to(synced) && writer.waiting.is_none();
            if !kept {
                lock(&self.report).lost_to = writer.lost_to(self.written.load(Ordering::Acquire));
            }
            return Err(self.break_down(Cause::Fsync, &error, !kept));
        }
        if writer.note_synced(&target) {
            self.note_synced(&target.place);
        }
        self.publish_sizes(writer);
        Ok(!target.is_last)
    }

    pub(crate) fn sync_ended(&self, error: Option<&io::Error>) {
        let written = self.written.load(Ordering::Acquire);
        let mut report = lock(&self.report);
        report.fsyncs += 1;
        report.last_fsync_error = error.map(errno_text);
        if let Some(started) = report.sync_started.take() {
            let took = self.options.clock.since(started.0);
            report.fsync_time += took;
            report.last_fsync_time = took;
            report.delayed_fsync += u64::from(self.is_delayed(started, written));
        }
    }

    /// Flushes and syncs, with a last attempt to recover a broken log.
    pub(crate) fn finish(&self) -> Result<(), LogError> {
        if self.broken.load(Ordering::Acquire) {
            self.recover();
        }
        if let Some(writer) = lock(&self.writer).as_mut() {
            self.write_pending(writer, true)?;
        }
        self.sync().map(|_| ())
    }

    /// Closes the files; records are only counted from now on.
    pub(crate) fn detach(&self) {
        let _turn = lock(&self.sync_turn);
        let mut slot = lock(&self.writer);
        let mut buffer = lock(&self.buffer);
        let place = buffer.chunk.after;
        buffer.restart(place, false);
        self.enabled.store(false, Ordering::Release);
        self.skip_all(&place);
        self.pending.store(0, Ordering::Relaxed);
        self.unsynced.store(0, Ordering::Relaxed);
        self.current_size.store(0, Ordering::Relaxed);
        if let Some(path) = slot.take().and_then(|mut writer| writer.waiting.take()) {
            // No manifest names it.
            let _ = self.storage.remove(&path);
        }
        drop(buffer);
        self.clear_trouble();
        let mut report = lock(&self.report);
        (report.base_size, report.last_fsync_error) = (0, None);
        report.waits_for_base = false;
    }

    /// Starts appending behind this place, with fresh files. Records before it are durable, or do
    /// not count.
    pub(crate) fn begin(&self, writer: &Writer, place: Mark) {
        let mut buffer = lock(&self.buffer);
        buffer.restart(place, true);
        self.pending.store(0, Ordering::Relaxed);
        self.appended.store(place.position, Ordering::Release);
        self.stream_end.store(place.offset, Ordering::Release);
        self.skip_all(&place);
        self.publish_sizes(writer);
        self.enabled.store(true, Ordering::Release);
    }

    /// Counts everything up to this place as written and synced, without writing it.
    pub(crate) fn skip_all(&self, place: &Mark) {
        self.written.store(place.position, Ordering::Release);
        self.synced.store(place.position, Ordering::Release);
        self.stream_synced.store(place.offset, Ordering::Release);
    }

    /// Position and offset up to which everything is durable. Called with the writer locked.
    pub(crate) fn synced_place(&self) -> Mark {
        Mark {
            position: self.synced.load(Ordering::Acquire),
            offset: self.stream_synced.load(Ordering::Acquire),
            ..Mark::default()
        }
    }

    /// Everything up to this place is durable. Called with the writer locked.
    pub(crate) fn note_synced(&self, place: &Mark) {
        self.stream_synced.fetch_max(place.offset, Ordering::AcqRel);
        self.synced.fetch_max(place.position, Ordering::AcqRel);
    }

    pub(crate) fn service(&self, now_ms: u64) -> u64 {
        if !self.enabled.load(Ordering::Acquire) {
            return SECOND_MS;
        }
        if self.broken.load(Ordering::Acquire) {
            return self.service_broken(now_ms);
        }
        let mut schedule = lock(&self.schedule);
        let second = now_ms.saturating_sub(schedule.last_second_ms) >= SECOND_MS;
        if second {
            schedule.last_second_ms = now_ms;
            if let Some(writer) = lock(&self.writer).as_mut() {
                // The error is in the trouble report, and the next turn tries to mend it.
                let _ = self.write_pending(writer, true);
            }
        }
        let waiting = self.written.load(Ordering::Acquire) > self.synced.load(Ordering::Acquire);
        let early = self.unsynced.load(Ordering::Relaxed) > self.options.max_unsynced / 2;
        let due = match self.policy() {
            FsyncPolicy::Always => waiting,
            FsyncPolicy::EverySecond => waiting && (second || early),
            FsyncPolicy::No => false,
        };
        if due {
            let _ = self.sync();
        }
        let waits = self.broken.load(Ordering::Acquire)
            || (self.policy() == FsyncPolicy::Always
                && self.written.load(Ordering::Acquire) > self.synced.load(Ordering::Acquire));
        if waits {
            0
        } else {
            (schedule.last_second_ms + SECOND_MS)
                .saturating_sub(now_ms)
                .max(1)
        }
    }

    pub(crate) fn service_broken(&self, now_ms: u64) -> u64 {
        let mut schedule = lock(&self.schedule);
        if now_ms >= schedule.retry_ms {
            schedule.retry_ms = now_ms + SECOND_MS;
            self.recover();
            self.notify();
        }
        schedule.retry_ms.saturating_sub(now_ms).max(1)
    }

    pub(crate) fn run_thread(&self) {
        let clock = &*self.options.clock;
        let start_ns = clock.monotonic_ns();
        loop {
            // Begins at one second, so that the first turn does the work of a second.
            let now_ms = clock.since(start_ns).as_millis() as u64 + SECOND_MS;
            let idle_ms = self.service_or_break(now_ms);
            // This thread frees the buffers that other threads have allocated: without this call
            // the count of used memory would only grow.
            keyspace::memory::publish();
            let mut wake = lock(&self.wake);
            if wake.stop {
                return;
            }
            if !wake.pending && idle_ms > 0 {
                let wait = self
                    .woken
                    .wait_timeout(wake, Duration::from_millis(idle_ms));
                wake = wait.unwrap_or_else(PoisonError::into_inner).0;
            }
            wake.pending = false;
        }
    }

    /// A turn of the log thread. A panic in it breaks the log, so that writes are refused instead
    /// of staying unsynced without notice, and the thread tries again.
    fn service_or_break(&self, now_ms: u64) -> u64 {
        let turn = catch_unwind(AssertUnwindSafe(|| self.service(now_ms)));
        turn.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            let text = text.unwrap_or("no message");
            log::error!("A panic in the log thread: {text}");
            let error = io::Error::other("the log thread has panicked");
            // The error is kept as the trouble of the log.
            let _ = self.break_down(Cause::Fsync, &error, false);
            SECOND_MS
        })
    }

    /// Whether a sync that started then, at that written position, counts as delayed.
    fn is_delayed(&self, (started, position): (u64, u64), written: u64) -> bool {
        written > position && self.options.clock.since(started) >= DELAYED_FSYNC
    }

    pub(crate) fn wake_thread(&self) {
        lock(&self.wake).pending = true;
        self.woken.notify_one();
    }

    pub(crate) fn notify(&self) {
        let observers = lock(&self.observers).clone();
        let offset = self.acknowledged();
        for observer in observers {
            observer(offset);
        }
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        match self.policy() {
            FsyncPolicy::Always => self.synced.load(Ordering::Acquire),
            _ => self.written.load(Ordering::Acquire),
        }
    }

    pub(crate) fn policy(&self) -> FsyncPolicy {
        match self.policy.load(Ordering::Relaxed) {
            0 => FsyncPolicy::Always,
            1 => FsyncPolicy::EverySecond,
            _ => FsyncPolicy::No,
        }
    }

    pub(crate) fn status(&self) -> Status {
        let (synced, written, appended) = (
            self.synced.load(Ordering::Acquire),
            self.written.load(Ordering::Acquire),
            self.appended.load(Ordering::Acquire),
        );
        let report = lock(&self.report);
        let late = report
            .sync_started
            .is_some_and(|started| self.is_delayed(started, written));
        Status {
            enabled: self.enabled.load(Ordering::Acquire),
            policy: self.policy(),
            current_size: self.current_size.load(Ordering::Relaxed),
            base_size: report.base_size,
            buffer_length: self.pending.load(Ordering::Relaxed),
            unsynced_length: self.unsynced.load(Ordering::Relaxed),
            pending_fsync: report.sync_started.is_some(),
            delayed_fsync: report.delayed_fsync + u64::from(late),
            fsyncs: report.fsyncs,
            fsync_time: report.fsync_time,
            last_fsync_time: report.last_fsync_time,
            trouble: report.trouble.clone(),
            last_fsync_error: report.last_fsync_error.clone(),
            waits_for_base: report.waits_for_base,
            rewriting: report.rewrite_started.is_some(),
            current_rewrite_seconds: report
                .rewrite_started
                .map(|at| self.options.clock.since(at).as_secs()),
            rewrite_failures: report.rewrite_failures,
            rewrites: report.rewrites,
            last_rewrite_ok: !report.last_rewrite_failed,
            last_rewrite_seconds: report.last_rewrite_seconds,
            appended,
            written,
            synced,
        }
    }
}

/// Switches to a fresh increment at once, although this waits for the disk.
pub(crate) fn switch_now(writer: &mut Writer, place: &Mark) -> io::Result<()> {
    if let Some(preparing) = writer.prepare() {
        let (manifest, prepared) = preparing.run()?;
        writer.take_prepared(manifest, prepared);
    }
    writer.switch(place)
}

pub(crate) fn policy_code(policy: FsyncPolicy) -> u8 {
    match policy {
        FsyncPolicy::Always => 0,
        FsyncPolicy::EverySecond => 1,
        FsyncPolicy::No => 2,
    }
}
