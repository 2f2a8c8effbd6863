//! The primitives below the shard locks. The model in `tests` compiles the files that use them a
//! second time over primitives of its own, which explore interleavings.

pub(super) use parking_lot::{Condvar, Mutex, MutexGuard};
pub(super) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
pub(super) use std::thread::panicking;

use std::cell::Cell;

thread_local! {
    static HOLDS: Cell<usize> = const { Cell::new(0) };
}

/// Counts a shard lock or an extension right that this thread has taken.
#[inline]
pub(super) fn hold() {
    HOLDS.with(|holds| holds.set(holds.get().wrapping_add(1)));
}

/// Counts a shard lock or an extension right that this thread has given back.
#[inline]
pub(super) fn release() {
    HOLDS.with(|holds| holds.set(holds.get().wrapping_sub(1)));
}

/// Number of shard locks and extension rights that this thread holds.
pub(super) fn holds() -> usize {
    HOLDS.with(Cell::get)
}
