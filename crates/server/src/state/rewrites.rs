//! The state of AOF rewrites.

use std::sync::atomic::{AtomicBool, AtomicU64};

/// The rewrites of the AOF: the next one, and those that failed.
#[derive(Debug, Default)]
pub struct Rewrites {
    /// One is wanted as soon as no other snapshot runs.
    pub scheduled: AtomicBool,
    /// Rewrites in a row that failed.
    pub failures: AtomicU64,
    /// Pre-images that the last one kept at most, in bytes.
    pub last_kept_peak: AtomicU64,
    /// Minutes of the last wait after failures, 0 without one.
    pub(crate) wait_min: AtomicU64,
    /// Seconds of the steady clock when that wait is over, 0 without one.
    pub(crate) wait_until_s: AtomicU64,
    /// A log that `appendonly` promises and that is not there is not tried again before this, in
    /// milliseconds of the steady clock.
    pub(crate) retry_at_ms: AtomicU64,
    /// DEBUG LOADAOF has the directory of the log: no rewrite begins.
    pub(crate) is_reloading: AtomicBool,
    /// The minute since 1970 when history was last looked at.
    pub(crate) expired_min: AtomicU64,
}
