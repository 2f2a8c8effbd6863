//! Threads that insert while another one reads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::batch::{Batch, Duplicate, Inserter, Present};
use crate::server::Server;
use engine::shard_tables::Keyspace;

/// Batches that wait: enough to bridge a slow value, few enough to stay in the cache.
const WAITING_MAX: usize = 4;

/// Why the threads could not insert all entries.
pub(super) enum LoadIssue {
    /// A key occurs twice.
    Duplicate(Duplicate),
    /// A thread could not be started, or ended by a defect.
    Thread(&'static str),
}

/// The threads. Dropping this waits for them.
pub(super) struct LoaderThreads {
    sender: Option<SyncSender<Batch>>,
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

struct Shared {
    failed: AtomicBool,
    duplicate: Mutex<Option<Duplicate>>,
    /// Empty batches, to be filled again.
    spare: Mutex<Vec<Batch>>,
}

/// How many threads insert while one reads. Reading takes about as long as inserting, so on two or
/// three cores a second inserter would slow the reader down, and a third one would be idle.
pub(super) fn thread_count() -> usize {
    match std::thread::available_parallelism().map_or(1, usize::from) {
        1 => 0,
        2 | 3 => 1,
        _ => 2,
    }
}

impl LoaderThreads {
    /// Starts `size` threads that fill `staged`, or else the keyspace of the server; `None` when
    /// `size` is 0 or the system refuses a thread.
    pub(super) fn start(
        server: &Server,
        staged: Option<Arc<Keyspace>>,
        size: usize,
        present: Present,
    ) -> Option<Self> {
        if size == 0 {
            return None;
        }
        let server = server.me.upgrade()?;
        let (sender, receiver) = sync_channel(WAITING_MAX);
        // The threads alone own the receiving end: when all of them are gone, sending fails instead
        // of waiting.
        let receiver = Arc::new(Mutex::new(receiver));
        let shared = Arc::new(Shared {
            failed: AtomicBool::new(false),
            duplicate: Mutex::default(),
            spare: Mutex::default(),
        });
        let mut threads = Vec::new();
        for number in 0..size {
            let (server, shared) = (Arc::clone(&server), Arc::clone(&shared));
            let (receiver, staged) = (Arc::clone(&receiver), staged.clone());
            let first = number * server.engine.keyspace.shard_count() / size;
            let builder = std::thread::Builder::new().name(format!("loader-{number}"));
            let started = builder.spawn(move || {
                let keyspace = staged.as_deref().unwrap_or(&server.engine.keyspace);
                work(keyspace, &receiver, &shared, first, present);
            });
            threads.extend(started.ok());
        }
        (!threads.is_empty()).then_some(Self {
            sender: Some(sender),
            threads,
            shared,
        })
    }

    /// Queues a batch and leaves an empty one in its place. Waits while the queue is full.
    pub(super) fn send(&mut self, batch: &mut Batch) -> Result<(), LoadIssue> {
        let spare = lock(&self.shared.spare).pop().unwrap_or_default();
        let full = std::mem::replace(batch, spare);
        let sent = self.sender.as_ref().map(|sender| sender.send(full));
        if !matches!(sent, Some(Ok(()))) || self.shared.failed.load(Ordering::Acquire) {
            return Err(self.issue());
        }
        Ok(())
    }

    /// Waits until everything sent is in the shards.
    pub(super) fn finish(mut self) -> Result<(), LoadIssue> {
        let panicked = self.join();
        if panicked || self.shared.failed.load(Ordering::Acquire) {
            return Err(self.issue());
        }
        Ok(())
    }

    fn issue(&self) -> LoadIssue {
        match lock(&self.shared.duplicate).take() {
            Some(duplicate) => LoadIssue::Duplicate(duplicate),
            None => LoadIssue::Thread("a thread that inserts entries has ended"),
        }
    }

    fn join(&mut self) -> bool {
        self.sender = None;
        let threads = self.threads.drain(..);
        threads.fold(false, |panicked, thread| thread.join().is_err() | panicked)
    }
}

impl Drop for LoaderThreads {
    fn drop(&mut self) {
        self.join();
    }
}

fn work(
    keyspace: &Keyspace,
    receiver: &Mutex<Receiver<Batch>>,
    shared: &Shared,
    first: usize,
    present: Present,
) {
    let mut inserter = Inserter::default();
    loop {
        let next = lock(receiver).recv();
        let Ok(mut batch) = next else { return };
        let result = inserter.insert(&mut batch, keyspace, None, first, present);
        keyspace::memory::publish();
        if let Err(duplicate) = result {
            lock(&shared.duplicate).get_or_insert(duplicate);
            shared.failed.store(true, Ordering::Release);
            return;
        }
        lock(&shared.spare).push(batch);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
