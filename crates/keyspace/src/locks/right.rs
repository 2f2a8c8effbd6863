//! The extension right: the permission to wait for a shard out of order.
//!
//! Lock requests take shards in ascending order, which excludes deadlocks. The shards of a script
//! are known only while it runs, so it may have to wait for a shard below those it holds. The
//! protocol:
//!
//! 1. One thread at a time has the extension right. It takes the right before its first shard.
//! 2. While the holder of the right waits for a shard, `extending` is set.
//! 3. A lock request that waits for a shard and holds others releases all of them when `extending`
//!    is set, waits until it is clear, and begins again.
//! 4. A lock request that gave shards back is served before the next thread gets the right.
//!
//! No deadlock: a thread that waits for a shard while it holds others is a lock request, which
//! gives its shards back, or the holder of the right. Threads with complete lock sets wait for no
//! shard. So the holder of the right gets its shard, and without it the order is ascending.
//!
//! No starvation: rule 4. Requests that give shards back do so while the right is taken, so the
//! next holder waits for a finite number of them, and nothing makes these give back again.
//!
//! Serializable: lock sets grow until they are released as a whole (two-phase locking). A request
//! releases shards only before it has read or changed them.

use super::patience::{GaveUp, PERIOD, Patience};
use super::sync::{self, AtomicBool, Condvar, Mutex, Ordering};
use std::collections::VecDeque;
use std::marker::PhantomData;

/// The right of one keyspace and the threads that wait for it. Its mutex is locked after shards,
/// and no thread waits for a shard while it holds the mutex.
pub(super) struct Extension {
    /// The holder of the right waits for a shard.
    extending: AtomicBool,
    state: Mutex<State>,
    /// Notified at every change of the state, and when `extending` becomes clear.
    changed: Condvar,
}

struct State {
    is_taken: bool,
    /// Tickets of the threads that wait for the right, in order of arrival.
    queue: VecDeque<u64>,
    next_ticket: u64,
    /// Number of lock requests that gave shards back and are not served yet.
    gave_back: usize,
}

impl State {
    fn is_free(&self) -> bool {
        !self.is_taken && self.gave_back == 0
    }
}

impl Extension {
    pub(super) fn new() -> Extension {
        Extension {
            extending: AtomicBool::new(false),
            state: Mutex::new(State {
                is_taken: false,
                queue: VecDeque::new(),
                next_ticket: 0,
                gave_back: 0,
            }),
            changed: Condvar::new(),
        }
    }

    /// True while the holder of the right waits for a shard.
    pub(super) fn is_extending(&self) -> bool {
        self.extending.load(Ordering::Relaxed)
    }

    /// Takes the right, in order of arrival.
    #[track_caller]
    pub(super) fn take(&self, patience: &mut Patience<'_>) -> Result<ExtensionRight<'_>, GaveUp> {
        if let Some(right) = self.try_take() {
            return Ok(right);
        }
        let ticket = self.queue();
        let mut state = self.state.lock();
        while !(state.is_free() && state.queue.front() == Some(&ticket.number)) {
            if patience.is_unlimited() {
                self.changed.wait(&mut state);
            } else if self.changed.wait_for(&mut state, PERIOD).timed_out() {
                drop(state);
                patience.ask()?;
                state = self.state.lock();
            }
        }
        state.is_taken = true;
        drop(state);
        Ok(ExtensionRight::new(self))
    }

    /// Takes the right when it is free and no thread waits for it.
    #[track_caller]
    pub(super) fn try_take(&self) -> Option<ExtensionRight<'_>> {
        assert!(
            sync::holds() == 0,
            "the extension right is taken by a thread that holds shards or the right"
        );
        let mut state = self.state.lock();
        if !state.is_free() || !state.queue.is_empty() {
            return None;
        }
        state.is_taken = true;
        drop(state);
        Some(ExtensionRight::new(self))
    }

    fn queue(&self) -> Ticket<'_> {
        let mut state = self.state.lock();
        let number = state.next_ticket;
        state.next_ticket += 1;
        state.queue.push_back(number);
        Ticket {
            extension: self,
            number,
        }
    }

    /// Announces that the holder of the right waits for a shard.
    pub(super) fn extend(&self) -> Extending<'_> {
        self.extending.store(true, Ordering::Relaxed);
        Extending { extension: self }
    }

    /// Announces that a lock request gives its shards back; `None` when the holder of the right
    /// does not wait for a shard any more. To be called before the shards are unlocked: the right
    /// changes hands after `extending` is cleared under the same mutex, so its next holder sees the
    /// request.
    pub(super) fn give_back(&self) -> Option<GaveBack<'_>> {
        let mut state = self.state.lock();
        if !self.is_extending() {
            return None;
        }
        state.gave_back += 1;
        Some(GaveBack { extension: self })
    }

    /// Waits until the holder of the right does not wait for a shard.
    pub(super) fn wait_until_clear(&self, patience: &mut Patience<'_>) -> Result<(), GaveUp> {
        let mut state = self.state.lock();
        while self.is_extending() {
            if patience.is_unlimited() {
                self.changed.wait(&mut state);
            } else if self.changed.wait_for(&mut state, PERIOD).timed_out() {
                drop(state);
                patience.ask()?;
                state = self.state.lock();
            }
        }
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.notify_all();
    }

    /// Number of lock requests that gave shards back and are not served yet.
    #[cfg(test)]
    #[allow(dead_code, reason = "for the model")]
    pub(super) fn gave_back(&self) -> usize {
        self.state.lock().gave_back
    }

    /// Number of threads that wait for the right.
    #[cfg(test)]
    #[allow(dead_code, reason = "for the model")]
    pub(super) fn waiting(&self) -> usize {
        self.state.lock().queue.len()
    }
}

/// The permission to wait for shards out of order, of one thread at a time. See
/// [`Keyspace::extension_right`](crate::Keyspace::extension_right).
#[must_use = "the right is given back when it is dropped"]
pub struct ExtensionRight<'k> {
    extension: &'k Extension,
    /// It counts for the thread that took it.
    not_send: PhantomData<*const ()>,
}

impl<'k> ExtensionRight<'k> {
    fn new(extension: &'k Extension) -> ExtensionRight<'k> {
        sync::hold();
        ExtensionRight {
            extension,
            not_send: PhantomData,
        }
    }

    /// True when this is the right of that keyspace.
    pub(super) fn is_of(&self, extension: &Extension) -> bool {
        std::ptr::eq(self.extension, extension)
    }
}

impl Drop for ExtensionRight<'_> {
    fn drop(&mut self) {
        sync::release();
        self.extension.change(|state| state.is_taken = false);
    }
}

/// A place in the queue for the right.
struct Ticket<'a> {
    extension: &'a Extension,
    number: u64,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.extension
            .change(|state| state.queue.retain(|other| *other != self.number));
    }
}

/// The holder of the right waits for a shard until this is dropped.
pub(super) struct Extending<'a> {
    extension: &'a Extension,
}

impl Drop for Extending<'_> {
    fn drop(&mut self) {
        let extending = &self.extension.extending;
        self.extension
            .change(|_| extending.store(false, Ordering::Relaxed));
    }
}

/// A lock request that gave shards back. It is served when this is dropped.
pub(super) struct GaveBack<'a> {
    extension: &'a Extension,
}

impl Drop for GaveBack<'_> {
    fn drop(&mut self) {
        self.extension.change(|state| state.gave_back -= 1);
    }
}
