//! Undoing what a script or a transaction has done.
//!
//! A savepoint stands before the first command. Everything that leaves an execution (the log,
//! events, messages, invalidations, clients that are served) leaves at its commit, so it is enough
//! to take back the data (`keyspace::Recording`) and to forget what was collected.

use keyspace::{Beyond, Recording, UNDO_BYTES_MAX};

use super::{Execution, stats};
use crate::effects::EffectsMark;
use crate::engine::Engine;
use crate::key_changes::ChangesMark;
use crate::shard_tables::Locked;

/// A state of the data and of an execution that it can go back to.
pub(super) struct Savepoint {
    recording: Recording,
    effects: EffectsMark,
    changes: ChangesMark,
    /// The selected database.
    db: u32,
}

impl Savepoint {
    /// The present state. It can be gone back to as long as the locks of what is changed are held.
    pub(super) fn begin(execution: &Execution<'_, '_>, beyond: Beyond) -> Self {
        Self {
            recording: Recording::begin(beyond),
            effects: execution.exec.effects.mark(),
            changes: execution.exec.changes.mark(),
            db: execution.session.db,
        }
    }

    /// More old values than may be kept.
    pub(super) fn is_too_large(&self) -> bool {
        self.recording.bytes() > UNDO_BYTES_MAX
    }

    /// True when there is no way back, because there were too many old values.
    pub(super) fn is_lost(&self) -> bool {
        self.recording.has_given_up()
    }

    /// What was done since stays.
    pub(super) fn keep(self, engine: &Engine, locked: &mut Locked<'_>) {
        let thresholds = || engine.config.thresholds();
        if let Some(old) = locked.keep(self.recording, thresholds) {
            engine.lazy.free(Box::new(old));
        }
    }

    /// Goes back to the state of the savepoint. False, and everything stays, when it is lost.
    #[cold]
    pub(super) fn roll_back(
        self,
        execution: &mut Execution<'_, '_>,
        locked: &mut Locked<'_>,
    ) -> bool {
        let engine = execution.engine;
        if !locked.roll_back(self.recording, || engine.config.thresholds()) {
            return false;
        }
        let exec = &mut *execution.exec;
        exec.effects.back_to(self.effects);
        exec.changes.back_to(self.changes);
        execution.session.db = self.db;
        // Deadlines that are back may be nearer than those that timers wait for.
        engine.note_deadline(exec.now_ms);
        stats(engine, exec.worker).rollbacks.add(1);
        true
    }
}
