//! The buffer of a snapshot beside each shard, and the hook that fills it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keyspace::{ChangeHook, EntryRef, Rest};

use super::{Encoder, Output, SnapshotError};
use crate::state::Job;

/// A shard's pre-images are given to the output when they have so many bytes.
const SPILL_BYTES: usize = 64 * 1024;

/// Locks a mutex, also after a panic of a holder: its content is always usable.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The state that the walk and all hooks of a snapshot share.
pub(super) struct Shared {
    pub(super) encoder: Encoder,
    pub(super) job: Arc<Job>,
    /// Where entries go; nowhere until the walk has an output.
    pub(super) output: Mutex<Option<Arc<Mutex<dyn Output>>>>,
    /// The snapshot has ended, successfully or not: hooks keep no more values.
    pub(super) over: AtomicBool,
    /// Why it failed, when a hook came across the reason.
    pub(super) failure: Mutex<Option<SnapshotError>>,
}

impl Shared {
    fn fail(&self, error: SnapshotError) {
        self.over.store(true, Ordering::Release);
        lock(&self.failure).get_or_insert(error);
    }
}

/// Encoded entries by database.
#[derive(Default)]
pub(super) struct Buffers {
    by_db: Vec<(u32, Vec<u8>)>,
}

impl Buffers {
    /// Bytes that are worth a call of the output.
    pub(super) const ENOUGH: usize = SPILL_BYTES;

    /// The buffer of a database.
    pub(super) fn of(&mut self, db: u32) -> &mut Vec<u8> {
        let at = match self.by_db.iter().position(|(number, _)| *number == db) {
            Some(at) => at,
            None => {
                self.by_db.push((db, Vec::new()));
                self.by_db.len() - 1
            }
        };
        &mut self.by_db[at].1
    }

    pub(super) fn bytes(&self) -> usize {
        self.by_db.iter().map(|(_, buffer)| buffer.len()).sum()
    }

    /// Gives everything to the output. Buffers keep their memory unless a big value has enlarged
    /// them.
    pub(super) fn write(
        &mut self,
        output: &mut dyn Output,
        job: &Job,
    ) -> Result<(), SnapshotError> {
        for (db, buffer) in &mut self.by_db {
            if buffer.is_empty() {
                continue;
            }
            output.entries(*db, buffer)?;
            job.progress
                .bytes
                .fetch_add(buffer.len() as u64, Ordering::Relaxed);
            buffer.clear();
            buffer.shrink_to(2 * SPILL_BYTES);
        }
        Ok(())
    }
}

/// The data of a snapshot beside one shard. Changes under the lock of the shard.
pub(super) struct Part {
    /// The number that each database had at the start, indexed by its present number (SWAPDB).
    pub(super) originals: Vec<u32>,
    pub(super) pre_images: Buffers,
    /// Databases that were cleared before the walk came to their end, with their original numbers.
    pub(super) rests: Vec<(u32, Rest)>,
}

impl Part {
    pub(super) fn new(databases: u32) -> Self {
        Self {
            originals: (0..databases).collect(),
            pre_images: Buffers::default(),
            rests: Vec::new(),
        }
    }

    pub(super) fn original(&self, db: u32) -> u32 {
        self.originals.get(db as usize).copied().unwrap_or(db)
    }
}

pub(super) struct Hook {
    pub(super) part: Arc<Mutex<Part>>,
    pub(super) shared: Arc<Shared>,
}

impl Hook {
    fn keep(&self, db: u32, entry: EntryRef<'_>) -> Result<(), SnapshotError> {
        let mut part = lock(&self.part);
        let original = part.original(db);
        let buffer = part.pre_images.of(original);
        let before = buffer.len();
        self.shared.encoder.encode(entry, buffer)?;
        let bytes = buffer.len() - before;
        let progress = &self.shared.job.progress;
        progress.keep(bytes as u64);
        progress.keys.fetch_add(1, Ordering::Relaxed);
        let kept = part.pre_images.bytes();
        if kept >= SPILL_BYTES {
            let output = lock(&self.shared.output).clone();
            if let Some(output) = output {
                part.pre_images
                    .write(&mut *lock(&output), &self.shared.job)?;
                progress.release(kept as u64);
            }
        }
        Ok(())
    }
}

impl ChangeHook for Hook {
    fn before_change(&mut self, db: u32, entry: EntryRef<'_>) {
        if self.shared.over.load(Ordering::Acquire) {
            return;
        }
        if let Err(error) = self.keep(db, entry) {
            self.shared.fail(error);
        }
    }

    fn before_swap(&mut self, a: u32, b: u32) {
        let mut part = lock(&self.part);
        let highest = a.max(b) as usize;
        if highest < part.originals.len() {
            part.originals.swap(a as usize, b as usize);
        }
    }

    fn cleared(&mut self, db: u32, rest: Rest) {
        if self.shared.over.load(Ordering::Acquire) {
            return;
        }
        let mut part = lock(&self.part);
        let original = part.original(db);
        part.rests.push((original, rest));
    }
}
