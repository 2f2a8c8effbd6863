//! The request to end the process, and how far it has come.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::client::ClientShared;

/// Options of SHUTDOWN.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ShutdownOptions {
    /// SAVE: a snapshot even without save points.
    pub save: bool,
    /// NOSAVE.
    pub nosave: bool,
    /// NOW: do not wait for replicas.
    pub now: bool,
    /// FORCE: errors do not matter.
    pub force: bool,
    /// SAFE: only when nothing is lost by it.
    pub safe: bool,
    /// FAILOVER: hand over to a replica first.
    pub failover: bool,
}

/// How far a SHUTDOWN is.
#[derive(Debug, Clone, Copy, Default)]
enum Stage {
    /// There is none.
    #[default]
    None,
    /// It waits for replicas.
    Waits(ShutdownOptions),
    /// A thread ends the server, or finds that it must not end.
    Finishing,
}

#[derive(Debug, Default)]
struct Progress {
    stage: Stage,
    /// Clients that are blocked in SHUTDOWN.
    callers: Vec<Arc<ClientShared>>,
    /// Callers of a shutdown that was given up, to be told so.
    refused: Vec<Arc<ClientShared>>,
}

/// How far a shutdown has come.
///
/// ```text
/// none --begin--> finishing --wait--> waits --resume--> finishing --> request
///   ^                |                  |                   |
///   +-----cancel-----+------abort-------+------cancel-------+
/// ```
#[derive(Debug, Default)]
pub struct Shutdown {
    requested: AtomicBool,
    exit_code: AtomicI32,
    progress: Mutex<Progress>,
    /// Until when it waits for replicas, in milliseconds of the steady clock; 0: it does not wait.
    waits_until_ms: AtomicU64,
    /// There are callers to be told that the server goes on.
    has_refused: AtomicBool,
    /// Replicas were waited for, or were not to be waited for.
    is_settled: AtomicBool,
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

    /// Replicas are not waited for any more when the server ends.
    pub fn settle(&self) {
        self.is_settled.store(true, Ordering::Release);
    }

    /// [`Shutdown::settle`] was called.
    pub fn is_settled(&self) -> bool {
        self.is_settled.load(Ordering::Acquire)
    }

    /// Begins a shutdown, which the calling thread finishes. False when one is under way: the
    /// caller of this one is told when that fails.
    pub(crate) fn begin(&self, caller: Option<&Arc<ClientShared>>) -> bool {
        let mut progress = self.lock();
        if matches!(progress.stage, Stage::None) {
            progress.stage = Stage::Finishing;
            return true;
        }
        progress.callers.extend(caller.cloned());
        false
    }

    /// The shutdown that was begun waits for replicas until `until_ms` of the steady clock.
    pub(crate) fn wait(
        &self,
        options: ShutdownOptions,
        until_ms: u64,
        caller: Option<&Arc<ClientShared>>,
    ) {
        let mut progress = self.lock();
        progress.stage = Stage::Waits(options);
        progress.callers.extend(caller.cloned());
        self.waits_until_ms
            .store(until_ms.max(1), Ordering::Release);
    }

    /// Until when a shutdown waits for replicas, in milliseconds of the steady clock. One load.
    #[inline]
    pub(crate) fn waits_until_ms(&self) -> Option<u64> {
        let until_ms = self.waits_until_ms.load(Ordering::Acquire);
        (until_ms != 0).then_some(until_ms)
    }

    /// The wait is over: the calling thread finishes the shutdown. `None` when it has been aborted.
    pub(crate) fn resume(&self) -> Option<ShutdownOptions> {
        let mut progress = self.lock();
        let Stage::Waits(options) = progress.stage else {
            return None;
        };
        progress.stage = Stage::Finishing;
        self.waits_until_ms.store(0, Ordering::Release);
        Some(options)
    }

    /// The server goes on: callers are to be told.
    pub(crate) fn cancel(&self) {
        self.give_up(&mut self.lock());
    }

    /// [`Shutdown::cancel`], unless no shutdown waits. Returns whether one did.
    pub(crate) fn abort(&self) -> bool {
        let mut progress = self.lock();
        let waits = matches!(progress.stage, Stage::Waits(_));
        if waits {
            self.give_up(&mut progress);
        }
        waits
    }

    /// The caller of a shutdown that has failed is to be told.
    pub(crate) fn refuse(&self, caller: &Arc<ClientShared>) {
        self.lock().refused.push(Arc::clone(caller));
        self.has_refused.store(true, Ordering::Release);
    }

    fn give_up(&self, progress: &mut Progress) {
        progress.stage = Stage::None;
        self.waits_until_ms.store(0, Ordering::Release);
        let callers = std::mem::take(&mut progress.callers);
        progress.refused.extend(callers);
        self.has_refused
            .store(!progress.refused.is_empty(), Ordering::Release);
    }

    /// Calls `tell` with each caller of a shutdown that was given up, until it returns true. A
    /// client may have called SHUTDOWN and not be blocked yet.
    pub(crate) fn tell_refused(&self, tell: impl Fn(&ClientShared) -> bool) {
        if !self.has_refused.load(Ordering::Acquire) {
            return;
        }
        let mut progress = self.lock();
        progress.refused.retain(|caller| !tell(caller));
        self.has_refused
            .store(!progress.refused.is_empty(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_shutdown_is_under_way() {
        let shutdown = Shutdown::default();
        assert!(!shutdown.abort());
        assert!(shutdown.begin(None));
        assert!(!shutdown.begin(None));
        assert!(!shutdown.abort());
        shutdown.wait(ShutdownOptions::default(), 0, None);
        assert_eq!(shutdown.waits_until_ms(), Some(1));
        assert!(shutdown.resume().is_some());
        assert!(shutdown.resume().is_none());
        shutdown.cancel();
        assert!(shutdown.begin(None));
        shutdown.wait(ShutdownOptions::default(), 5, None);
        assert!(shutdown.abort());
        assert_eq!(shutdown.waits_until_ms(), None);
        assert!(shutdown.resume().is_none());
        assert!(shutdown.begin(None));
    }
}
