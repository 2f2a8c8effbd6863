//! The request to end the process.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// How far a shutdown has come.
#[derive(Debug, Default)]
pub struct Shutdown {
    requested: AtomicBool,
    exit_code: AtomicI32,
}

impl Shutdown {
    /// Asks for the end of the process.
    pub fn request(&self, exit_code: i32) {
        self.exit_code.store(exit_code, Ordering::Relaxed);
        self.requested.store(true, Ordering::Release);
    }

    /// True once it was asked for.
    #[inline]
    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Acquire)
    }

    /// The exit code to end with.
    pub fn exit_code(&self) -> i32 {
        self.exit_code.load(Ordering::Relaxed)
    }
}
