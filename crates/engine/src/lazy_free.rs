//! Freeing in the background: big values and whole databases.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError, Weak};

enum Job {
    Free(Box<dyn Any + Send>, u64),
    Run(Box<dyn FnOnce() + Send>),
}

/// The queue of the background thread.
pub struct Background {
    sender: Mutex<Sender<Job>>,
    receiver: Mutex<Option<Receiver<Job>>>,
    pending: AtomicU64,
    freed: AtomicU64,
}

impl Default for Background {
    fn default() -> Self {
        let (sender, receiver) = channel();
        Self {
            sender: Mutex::new(sender),
            receiver: Mutex::new(Some(receiver)),
            pending: AtomicU64::new(0),
            freed: AtomicU64::new(0),
        }
    }
}

impl Background {
    /// Frees one object in the background thread.
    pub fn free(&self, object: Box<dyn Any + Send>) {
        self.free_many(object, 1);
    }

    /// Frees an object that holds `objects` keys in the background thread.
    pub fn free_many(&self, object: Box<dyn Any + Send>, objects: u64) {
        self.pending.fetch_add(objects, Ordering::Relaxed);
        self.send(Job::Free(object, objects));
    }

    /// Runs a slow job in the background thread.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        self.send(Job::Run(Box::new(job)));
    }

    fn send(&self, job: Job) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = sender.send(job);
        // The job may send another one.
        drop(sender);
        if let Err(refused) = sent {
            // The thread has ended (shutdown): the calling thread does it.
            self.perform(refused.0);
        }
    }

    fn perform(&self, job: Job) {
        if catch_unwind(AssertUnwindSafe(|| self.do_job(job))).is_err() {
            log::error!("A job of the background thread panicked; what it was to free may be lost");
        }
    }

    fn do_job(&self, job: Job) {
        match job {
            Job::Free(object, objects) => {
                drop(object);
                self.pending.fetch_sub(objects, Ordering::Relaxed);
                self.freed.fetch_add(objects, Ordering::Relaxed);
            }
            Job::Run(run) => run(),
        }
        keyspace::memory::publish();
    }

    /// Objects waiting to be freed.
    pub fn pending(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }

    /// Objects freed so far.
    pub fn freed(&self) -> u64 {
        self.freed.load(Ordering::Relaxed)
    }

    /// CONFIG RESETSTAT.
    pub fn reset_freed(&self) {
        self.freed.store(0, Ordering::Relaxed);
    }
}

/// The body of the background thread: works until the server is gone.
pub fn work(background: &Weak<Background>) {
    let receiver = background.upgrade().and_then(|background| {
        let mut receiver = background
            .receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        receiver.take()
    });
    let Some(receiver) = receiver else { return };
    // The sender is a part of the engine: the channel closes when the last reference to it is
    // dropped.
    for job in receiver {
        match background.upgrade() {
            Some(background) => background.perform(job),
            None => drop(job),
        }
    }
}
