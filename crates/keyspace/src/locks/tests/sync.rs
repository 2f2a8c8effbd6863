//! The primitives of `locks/sync.rs` for the model. A wait with a time-out ends after a random
//! number of steps of other threads, because the model has no clock.

pub(super) use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};
pub(super) use std::thread::panicking;

use shuttle::rand::Rng;
use shuttle::sync;
use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// Most attempts of a wait with a time-out.
const ATTEMPTS_MAX: usize = 3;

fn random(below: usize) -> usize {
    shuttle::rand::thread_rng().gen_range(0..below)
}

pub(super) struct Mutex<T>(sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(super) fn new(value: T) -> Mutex<T> {
        Mutex(sync::Mutex::new(value))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Some(self.0.lock().unwrap()))
    }

    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let guard = self.0.try_lock().ok()?;
        Some(MutexGuard(Some(guard)))
    }

    pub(super) fn try_lock_for(&self, _: Duration) -> Option<MutexGuard<'_, T>> {
        for _ in 0..random(ATTEMPTS_MAX) {
            if let Some(guard) = self.try_lock() {
                return Some(guard);
            }
            shuttle::thread::yield_now();
        }
        self.try_lock()
    }
}

/// Without a guard only inside of [`Condvar`].
pub(super) struct MutexGuard<'a, T>(Option<sync::MutexGuard<'a, T>>);

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().unwrap()
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().unwrap()
    }
}

pub(super) struct Condvar(sync::Condvar);

pub(super) struct Timeout(bool);

impl Timeout {
    pub(super) fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    pub(super) fn new() -> Condvar {
        Condvar(sync::Condvar::new())
    }

    pub(super) fn notify_all(&self) {
        self.0.notify_all();
    }

    pub(super) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let inner = guard.0.take().unwrap();
        guard.0 = Some(self.0.wait(inner).unwrap());
    }

    /// Times out at once or not at all.
    pub(super) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _: Duration) -> Timeout {
        let times_out = random(2) == 0;
        if !times_out {
            self.wait(guard);
        }
        Timeout(times_out)
    }
}

shuttle::thread_local! {
    static HOLDS: Cell<usize> = Cell::new(0);
}

pub(super) fn hold() {
    HOLDS.with(|holds| holds.set(holds.get() + 1));
}

pub(super) fn release() {
    HOLDS.with(|holds| holds.set(holds.get() - 1));
}

pub(super) fn holds() -> usize {
    HOLDS.with(Cell::get)
}
