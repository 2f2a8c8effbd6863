//! Going over the shards.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyspace::Rest;

use super::file::StreamPlace;
use super::hook::{Buffers, Hook, Part, Shared, lock};
use super::{Encoder, Form, Output, SnapshotError};
use crate::server::Server;
use crate::state::Job;
use engine::config::P;
use engine::shard_tables::{Locked, Shard};

/// Entries visited per lock: some tens of microseconds.
const ENTRIES_PER_HOLD: usize = 32;
/// Bytes encoded per lock, but for the last entry.
const BYTES_PER_HOLD: usize = 16 * 1024;
/// Buckets looked at per lock, whether there is anything to visit in them or not.
const BUCKETS_PER_HOLD: usize = 32;
/// A long delay between two keys is cut in pieces, so that a cancellation takes effect soon.
const NAP: Duration = Duration::from_millis(5);

/// The figures of a finished snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Entries written.
    pub keys: u64,
    /// Bytes of encoded entries.
    pub bytes: u64,
    /// How many of the entries were changed before the walk came to them.
    pub pre_images: u64,
    /// Bytes of these that waited to be written, at most.
    pub kept_peak: u64,
    /// The longest time that the lock of a shard was held, in microseconds.
    pub longest_hold_us: u64,
}

/// How many keys a database has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Number of the database.
    pub db: u32,
    /// Keys.
    pub keys: u64,
    /// Keys with a deadline.
    pub volatile: u64,
}

/// A snapshot that was begun. Dropping it gives it up; that, too, is done without locks of shards
/// held.
pub struct Walk {
    server: Arc<Server>,
    shared: Arc<Shared>,
    job: Arc<Job>,
    /// The data of the snapshot beside each shard.
    parts: Vec<Arc<Mutex<Part>>>,
    sizes: Vec<Size>,
    place: StreamPlace,
    /// Shards before this one have no hook any more.
    done: usize,
    longest_hold_us: u64,
}

/// Begins a snapshot of what the data is now. All shards are locked, and nothing of a command that
/// is under way may be missing from the log. Entries are encoded in `form`.
pub fn begin(server: &Arc<Server>, locked: &mut Locked<'_>, form: Form, job: &Arc<Job>) -> Walk {
    debug_assert!(locked.holds_all());
    let began_ns = server.engine.clock.monotonic_ns();
    let databases = server.engine.keyspace.databases();
    let shared = Arc::new(Shared {
        encoder: Encoder::new(server, form),
        job: Arc::clone(job),
        output: Mutex::new(None),
        over: AtomicBool::new(false),
        failure: Mutex::new(None),
    });
    let sizes: Vec<Size> = (0..databases)
        .map(|db| Size::of(locked, db))
        .filter(|size| size.keys > 0)
        .collect();
    let total = sizes.iter().map(|size| size.keys).sum();
    job.progress.keys_total.store(total, Ordering::Relaxed);
    let parts = locked
        .shards_mut()
        .map(|shard| {
            let part = Arc::new(Mutex::new(Part::new(databases)));
            shard.set_change_hook(Box::new(Hook {
                part: Arc::clone(&part),
                shared: Arc::clone(&shared),
            }));
            part
        })
        .collect();
    let state = &server.snapshots;
    state.walking.store(true, Ordering::Relaxed);
    state.begun.fetch_add(1, Ordering::Relaxed);
    let nanos = server.engine.clock.monotonic_ns().saturating_sub(began_ns);
    state.last_begin_us.store(nanos / 1000, Ordering::Relaxed);
    Walk {
        server: Arc::clone(server),
        shared,
        job: Arc::clone(job),
        parts,
        sizes,
        place: StreamPlace::now(server),
        done: 0,
        longest_hold_us: 0,
    }
}

impl Size {
    pub(super) fn of(locked: &Locked<'_>, db: u32) -> Size {
        let mut size = Size {
            db,
            keys: 0,
            volatile: 0,
        };
        for shard in locked.shards() {
            size.keys += shard.len(db) as u64;
            size.volatile += shard.volatile(db) as u64;
        }
        size
    }
}

impl Walk {
    /// The databases that have keys in the snapshot.
    pub fn sizes(&self) -> &[Size] {
        &self.sizes
    }

    /// The place in the stream that the snapshot stands for.
    pub(crate) fn place(&self) -> StreamPlace {
        self.place
    }

    /// Writes the snapshot. Called without locks of shards held. The output comes back when all of
    /// it was written.
    ///
    /// # Errors
    /// The snapshot is not complete; the hooks are gone all the same.
    pub fn write<O: Output + 'static>(mut self, output: O) -> Result<(O, Figures), SnapshotError> {
        let output = Arc::new(Mutex::new(output));
        *lock(&self.shared.output) = Some(Arc::clone(&output) as Arc<Mutex<dyn Output>>);
        let result = self.write_all(&output);
        let figures = self.figures();
        self.give_up();
        result?;
        // A hook that failed may have been the last one to be called.
        if let Some(error) = lock(&self.shared.failure).take() {
            return Err(error);
        }
        drop(self);
        let output = Arc::into_inner(output).ok_or(SnapshotError::Cancelled)?;
        Ok((
            output
                .into_inner()
                .unwrap_or_else(|error| error.into_inner()),
            figures,
        ))
    }

    /// Gives the snapshot up. Called without locks of shards held.
    pub fn abandon(mut self) {
        self.give_up();
    }

    fn figures(&self) -> Figures {
        let progress = &self.job.progress;
        Figures {
            keys: progress.keys.load(Ordering::Relaxed),
            bytes: progress.bytes.load(Ordering::Relaxed),
            pre_images: progress.pre_images.load(Ordering::Relaxed),
            kept_peak: progress.kept_peak.load(Ordering::Relaxed),
            longest_hold_us: self.longest_hold_us,
        }
    }

    fn write_all<O: Output>(&mut self, output: &Mutex<O>) -> Result<(), SnapshotError> {
        let mut buffers = Buffers::default();
        for index in 0..self.parts.len() {
            while self.step(index, &mut buffers, output)? {}
            self.done = index + 1;
        }
        Ok(())
    }

    /// Writes some entries of a shard. False when it is done, and its hook gone.
    fn step<O: Output>(
        &mut self,
        index: usize,
        buffers: &mut Buffers,
        output: &Mutex<O>,
    ) -> Result<bool, SnapshotError> {
        self.check()?;
        let delay_us = self.server.engine.config.int(P::RdbKeySaveDelay);
        let room = if delay_us == 0 { ENTRIES_PER_HOLD } else { 1 };
        let server = Arc::clone(&self.server);
        // Yields while no lock is held: a time slice that ends under the lock would delay all
        // writers.
        std::thread::yield_now();
        let mut locked = server.engine.keyspace.lock_one(index);
        let began_ns = server.engine.clock.monotonic_ns();
        let Some((shard, part)) = locked.shard_at_mut(index).zip(self.parts.get(index)) else {
            return Ok(false);
        };
        let mut part = lock(part);
        let visited = self.visit(shard, &part, room, buffers)?;
        let is_done = shard.is_walked();
        let mut last = Buffers::default();
        if is_done {
            drop(shard.take_change_hook());
            last = std::mem::take(&mut part.pre_images);
        }
        let rests = std::mem::take(&mut part.rests);
        drop(part);
        drop(locked);
        let hold_us = server.engine.clock.monotonic_ns().saturating_sub(began_ns) / 1000;
        self.longest_hold_us = self.longest_hold_us.max(hold_us);
        self.put(buffers, output)?;
        self.job.progress.release(last.bytes() as u64);
        self.put(&mut last, output)?;
        for (db, rest) in rests {
            self.write_rest(db, rest, buffers, output)?;
        }
        if visited > 0 {
            self.delay()?;
        }
        Ok(!is_done)
    }

    /// Encodes up to `room` entries at the frontier of a shard. Returns how many.
    fn visit(
        &self,
        shard: &mut Shard,
        part: &Part,
        room: usize,
        buffers: &mut Buffers,
    ) -> Result<usize, SnapshotError> {
        let mut visited = 0;
        let mut result = Ok(());
        for _ in 0..BUCKETS_PER_HOLD {
            if visited >= room || buffers.bytes() >= BYTES_PER_HOLD {
                break;
            }
            let more = shard.walk(|db, entry| {
                let buffer = buffers.of(part.original(db));
                result = self.shared.encoder.encode(entry, buffer);
                visited += 1;
                if result.is_err() || visited >= room || buffer.len() >= BYTES_PER_HOLD {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            if !more {
                break;
            }
            std::mem::replace(&mut result, Ok(()))?;
        }
        let progress = &self.job.progress;
        progress.keys.fetch_add(visited as u64, Ordering::Relaxed);
        Ok(visited)
    }

    /// Writes what is left of a database that was cleared. It is detached from the keyspace, so no
    /// lock is taken.
    fn write_rest<O: Output>(
        &self,
        db: u32,
        mut rest: Rest,
        buffers: &mut Buffers,
        output: &Mutex<O>,
    ) -> Result<(), SnapshotError> {
        loop {
            self.check()?;
            let mut visited = 0;
            let mut result = Ok(());
            let more = rest.walk(|entry| {
                result = self.shared.encoder.encode(entry, buffers.of(db));
                visited += 1;
                match result {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            });
            result?;
            let progress = &self.job.progress;
            progress.keys.fetch_add(visited, Ordering::Relaxed);
            if !more || buffers.bytes() >= BYTES_PER_HOLD {
                self.put(buffers, output)?;
            }
            if !more {
                return Ok(());
            }
            for _ in 0..visited {
                self.delay()?;
            }
        }
    }

    fn put<O: Output>(
        &self,
        buffers: &mut Buffers,
        output: &Mutex<O>,
    ) -> Result<(), SnapshotError> {
        if buffers.bytes() == 0 {
            return Ok(());
        }
        let due = {
            let mut output = lock(output);
            buffers.write(&mut *output, &self.job)?;
            output.due_sync()
        };
        if let Some(file) = due {
            file.sync_data()?;
        }
        keyspace::memory::publish();
        Ok(())
    }

    /// `rdb-key-save-delay`.
    fn delay(&self) -> Result<(), SnapshotError> {
        delay(&self.server, &mut || self.check())
    }

    fn check(&self) -> Result<(), SnapshotError> {
        if self.job.is_cancelled() {
            return Err(SnapshotError::Cancelled);
        }
        if self.shared.over.load(Ordering::Acquire) {
            return Err(lock(&self.shared.failure)
                .take()
                .unwrap_or(SnapshotError::Cancelled));
        }
        Ok(())
    }

    /// Takes away all hooks that are left, and the marks behind them.
    fn give_up(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        *lock(&self.shared.output) = None;
        let parts = std::mem::take(&mut self.parts);
        clean(&self.server, self.done, &parts, &self.job);
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        if self.parts.is_empty() {
            return;
        }
        // The walk was never written. The thread that drops it may hold locks.
        self.shared.over.store(true, Ordering::Release);
        let parts = std::mem::take(&mut self.parts);
        let (server, job) = (Arc::clone(&self.server), Arc::clone(&self.job));
        self.server
            .engine
            .lazy
            .run(move || clean(&server, 0, &parts, &job));
    }
}

/// Takes hooks and marks away from the shards from `first` on.
fn clean(server: &Server, first: usize, parts: &[Arc<Mutex<Part>>], job: &Job) {
    for (index, part) in parts.iter().enumerate().skip(first) {
        loop {
            let mut locked = server.engine.keyspace.lock_one(index);
            let Some(shard) = locked.shard_at_mut(index) else {
                break;
            };
            drop(shard.take_change_hook());
            let mut buckets = 0;
            while buckets < BUCKETS_PER_HOLD && shard.walk(|_, _| ControlFlow::Continue(())) {
                buckets += 1;
            }
            if shard.is_walked() {
                break;
            }
        }
        let mut part = lock(part);
        job.progress.release(part.pre_images.bytes() as u64);
        part.pre_images = Buffers::default();
        part.rests.clear();
    }
    server.snapshots.walking.store(false, Ordering::Relaxed);
}

/// Sleeps between two keys for `rdb-key-save-delay`: microseconds, or one of them every so many
/// keys when negative. A change of the parameter holds at once.
pub(super) fn delay(
    server: &Server,
    check: &mut dyn FnMut() -> Result<(), SnapshotError>,
) -> Result<(), SnapshotError> {
    let mut slept = Duration::ZERO;
    loop {
        let delay_us = server.engine.config.int(P::RdbKeySaveDelay);
        if delay_us < 0 {
            // As Redis's: the sleep is too long to be done for every key.
            static KEYS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
            let key = KEYS.fetch_add(1, Ordering::Relaxed);
            if key.is_multiple_of(delay_us.unsigned_abs()) {
                std::thread::sleep(Duration::from_micros(1));
            }
            return Ok(());
        }
        let left = Duration::from_micros(delay_us.unsigned_abs()).saturating_sub(slept);
        if left.is_zero() {
            return Ok(());
        }
        check()?;
        let nap = left.min(NAP);
        std::thread::sleep(nap);
        slept += nap;
    }
}
