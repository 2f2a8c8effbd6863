//! The state of snapshots: the one right to take one, its progress, figures of earlier ones.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use persist::{Disk, Storage};

/// The purpose of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// BGSAVE and save points: `dbfilename`.
    Save,
    /// The base of the log.
    Rewrite,
    /// A file elsewhere (BACKUP).
    Copy,
    /// A full synchronization of replicas.
    Sync,
}

/// How far a snapshot is.
#[derive(Debug, Default)]
pub struct Progress {
    /// Entries that are written or kept.
    pub keys: AtomicU64,
    /// Entries in all.
    pub keys_total: AtomicU64,
    /// Bytes given to the output.
    pub bytes: AtomicU64,
    /// Bytes of pre-images that wait to be written.
    pub kept: AtomicU64,
    /// The most there were of these.
    pub kept_peak: AtomicU64,
    /// Pre-images in all: entries that were changed before the walk came to them.
    pub pre_images: AtomicU64,
}

impl Progress {
    /// Pre-images of `bytes` wait.
    pub(crate) fn keep(&self, bytes: u64) {
        let kept = self.kept.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.kept_peak.fetch_max(kept, Ordering::Relaxed);
        self.pre_images.fetch_add(1, Ordering::Relaxed);
    }

    /// Pre-images of `bytes` are written, or are not wanted any more.
    pub(crate) fn release(&self, bytes: u64) {
        self.kept.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The figures of a running snapshot, for INFO; all are 0 without one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Seconds since BGSAVE began, when it runs.
    pub saves_for: Option<i64>,
    /// Entries that are written or kept.
    pub keys: u64,
    /// Entries in all.
    pub keys_total: u64,
    /// Bytes of pre-images that wait to be written.
    pub kept: u64,
    /// The most there were of these.
    pub kept_peak: u64,
}

impl Report {
    /// The part of the entries that is done, in percent.
    pub fn percent(&self) -> f64 {
        if self.keys_total == 0 {
            return 0.0;
        }
        self.keys as f64 * 100.0 / self.keys_total as f64
    }
}

/// The right to take a snapshot: there is one at a time. It is over when the last copy is dropped.
#[derive(Debug)]
pub struct Job {
    owner: Arc<Slot>,
    /// Its purpose.
    pub purpose: Purpose,
    /// Milliseconds of the steady clock at its start.
    pub started_ms: u64,
    /// How far it is.
    pub progress: Progress,
    cancelled: AtomicBool,
}

impl Job {
    /// Asks for its end. The snapshot fails soon.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    /// True once its end was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        *self.owner.lock() = None;
        self.owner.ended.notify_all();
    }
}

#[derive(Debug, Default)]
struct Slot {
    current: Mutex<Option<std::sync::Weak<Job>>>,
    ended: Condvar,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Option<std::sync::Weak<Job>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The snapshots of a server: the running one, the next one, figures of the last ones.
pub struct Snapshots {
    slot: Arc<Slot>,
    /// Hooks are set: a walk takes the locks of shards now and then.
    pub walking: AtomicBool,
    /// BGSAVE waits for another job.
    pub scheduled: AtomicBool,
    /// When the last BGSAVE was tried, in seconds of the steady clock.
    pub last_try_s: AtomicU64,
    /// Seconds that the last BGSAVE took, -1 before the first.
    pub last_seconds: AtomicI64,
    /// How many were begun for `dbfilename`.
    pub saves: AtomicU64,
    /// Pre-images that the last BGSAVE kept at most, in bytes.
    pub last_kept_peak: AtomicU64,
    /// How many snapshots were begun beside commands, for whatever purpose.
    pub begun: AtomicU64,
    /// Microseconds that the beginning of the last one took, with all locks held.
    pub last_begin_us: AtomicU64,
    /// The counter of changes when the last good snapshot was begun.
    pub saved_changes: AtomicU64,
    /// When data was last saved or loaded, in seconds of the steady clock: save points count from
    /// there.
    pub saved_at_s: AtomicU64,
    /// The server ends with a snapshot.
    pub is_final: AtomicBool,
    pub(crate) storage: Arc<dyn Storage>,
}

impl Default for Snapshots {
    fn default() -> Self {
        Self {
            slot: Arc::default(),
            walking: AtomicBool::new(false),
            scheduled: AtomicBool::new(false),
            last_try_s: AtomicU64::new(0),
            last_seconds: AtomicI64::new(-1),
            saves: AtomicU64::new(0),
            last_kept_peak: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            last_begin_us: AtomicU64::new(0),
            saved_changes: AtomicU64::new(0),
            saved_at_s: AtomicU64::new(0),
            is_final: AtomicBool::new(false),
            storage: Arc::new(Disk),
        }
    }
}

impl Snapshots {
    /// Takes the right to take a snapshot; `None` while another job has it.
    pub fn claim(&self, purpose: Purpose, steady_ms: u64) -> Option<Arc<Job>> {
        let mut current = self.slot.lock();
        if current.is_some() {
            return None;
        }
        let job = Arc::new(Job {
            owner: Arc::clone(&self.slot),
            purpose,
            started_ms: steady_ms,
            progress: Progress::default(),
            cancelled: AtomicBool::new(false),
        });
        *current = Some(Arc::downgrade(&job));
        Some(job)
    }

    /// The running job. Callers must not keep the copy: the job lasts as long.
    pub fn current(&self) -> Option<Arc<Job>> {
        self.slot.lock().as_ref()?.upgrade()
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&self) {
        self.saves.store(0, Ordering::Relaxed);
        self.begun.store(0, Ordering::Relaxed);
    }

    /// How far the running snapshot is.
    pub fn report(&self, steady_ms: u64) -> Report {
        let Some(job) = self.current() else {
            return Report::default();
        };
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let elapsed_s = (steady_ms.saturating_sub(job.started_ms) / 1000) as i64;
        let progress = &job.progress;
        Report {
            saves_for: matches!(job.purpose, Purpose::Save | Purpose::Sync).then_some(elapsed_s),
            keys: number(&progress.keys),
            keys_total: number(&progress.keys_total),
            kept: number(&progress.kept),
            kept_peak: number(&progress.kept_peak),
        }
    }

    /// True while a job has the right to take a snapshot.
    pub fn is_busy(&self) -> bool {
        self.slot.lock().is_some()
    }

    /// The purpose of the running snapshot, its cleaning up included.
    pub fn purpose(&self) -> Option<Purpose> {
        self.current().map(|job| job.purpose)
    }

    /// Waits until no snapshot runs. To be called without locks of shards, because the job may need
    /// them to end. False when it still runs after `patience`.
    pub fn wait_for_end(&self, patience: Duration) -> bool {
        let current = self.slot.lock();
        let waited = self
            .slot
            .ended
            .wait_timeout_while(current, patience, |current| current.is_some());
        waited.map_or_else(
            |error| error.into_inner().0.is_none(),
            |(current, _)| current.is_none(),
        )
    }
}
