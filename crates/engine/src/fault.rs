//! Panics on request, at a named stage of an execution: tests of what a defect leaves behind.
//!
//! `DEBUG FAULT <stage>` arms one stage; the next execution that reaches it panics once. Builds
//! without debug assertions have neither the subcommand nor the check.

use std::sync::atomic::{AtomicU8, Ordering};

/// A place where a panic can be injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// The checks before a command runs; no lock is held.
    Admission = 1,
    /// Behind the handler, before its effects are logged.
    BeforeLog,
    /// Behind the append to the log, under the locks.
    AfterLog,
    /// Before the waiters of a key are looked for, under the locks.
    Signals,
    /// While the command of a waiter is run again, under the locks.
    Serve,
    /// Behind the removal of expired keys, before it is logged.
    Expire,
    /// Behind the removal of an evicted key, before it is logged.
    Evict,
    /// In the loop of a worker, outside of every execution.
    Turn,
    /// Behind the handler of a command inside of a script or a transaction.
    Nested,
}

/// Every stage with its name for DEBUG FAULT.
pub const STAGES: &[(&str, Stage)] = &[
    ("admission", Stage::Admission),
    ("before-log", Stage::BeforeLog),
    ("after-log", Stage::AfterLog),
    ("signals", Stage::Signals),
    ("serve", Stage::Serve),
    ("expire", Stage::Expire),
    ("evict", Stage::Evict),
    ("turn", Stage::Turn),
    ("nested", Stage::Nested),
];

/// The stage that is armed, 0 for none.
#[derive(Debug, Default)]
pub struct Faults(AtomicU8);

impl Faults {
    /// The next execution that reaches `stage` panics.
    pub fn arm(&self, stage: Stage) {
        self.0.store(stage as u8, Ordering::Release);
    }

    /// Panics when `stage` is armed, and disarms it.
    #[inline(always)]
    pub fn reach(&self, stage: Stage) {
        if cfg!(debug_assertions) && self.0.load(Ordering::Relaxed) == stage as u8 {
            self.fail(stage);
        }
    }

    #[cold]
    #[expect(clippy::panic, reason = "the purpose of this module")]
    fn fail(&self, stage: Stage) {
        let armed = stage as u8;
        let taken = self
            .0
            .compare_exchange(armed, 0, Ordering::AcqRel, Ordering::Relaxed);
        if taken.is_ok() {
            panic!("injected at {stage:?}");
        }
    }
}
