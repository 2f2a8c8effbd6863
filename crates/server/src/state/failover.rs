//! A failover that this server hands its role over by (FAILOVER).

use std::sync::{Mutex, MutexGuard, PoisonError};

/// How far a failover is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Writes are paused until a replica has everything.
    WaitsForSync,
    /// This server follows the target, which is asked to be the primary.
    InProgress,
}

impl Phase {
    /// The word of INFO.
    pub fn word(self) -> &'static str {
        match self {
            Self::WaitsForSync => "waiting-for-sync",
            Self::InProgress => "failover-in-progress",
        }
    }
}

/// A failover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failover {
    /// How far it is.
    pub phase: Phase,
    /// Address and port of the replica that becomes the primary; `None`: the first that has
    /// everything.
    pub target: Option<(String, u16)>,
    /// Until when a replica has to have everything, in milliseconds of the steady clock.
    pub deadline_ms: Option<u64>,
    /// The target takes over at the deadline also without everything. It has a target and a
    /// deadline then.
    pub is_forced: bool,
}

/// The failover that is under way, if any.
#[derive(Debug, Default)]
pub struct FailoverState(Mutex<Option<Failover>>);

impl FailoverState {
    /// The failover under way.
    pub fn get(&self) -> Option<Failover> {
        self.lock().clone()
    }

    /// Sets it. Called under the locks of all data.
    pub fn set(&self, failover: Option<Failover>) {
        *self.lock() = failover;
    }

    /// The word of INFO.
    pub fn word(&self) -> &'static str {
        let phase = self.lock().as_ref().map(|it| it.phase);
        phase.map_or("no-failover", Phase::word)
    }

    /// A failover is under way.
    pub fn is_active(&self) -> bool {
        self.lock().is_some()
    }

    /// The target is being asked to be the primary.
    pub fn is_in_progress(&self) -> bool {
        let failover = self.lock();
        failover
            .as_ref()
            .is_some_and(|it| it.phase == Phase::InProgress)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Failover>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
