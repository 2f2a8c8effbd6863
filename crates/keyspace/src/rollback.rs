//! Keeps or takes back the changes of a recording, in all shards that it has changed.

use crate::locks::Locked;
use crate::undo::{self, Recording, Step, paused};
use std::fmt;
use values::Thresholds;

/// Old values that a recording has kept, to be freed, perhaps on another thread.
pub struct OldValues {
    _steps: Vec<Step>,
}

impl fmt::Debug for OldValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OldValues").finish_non_exhaustive()
    }
}

impl<T> Locked<'_, T> {
    /// Takes back what this thread has changed since the recording began, and ends the recording.
    /// All shards that were changed are locked here still. False, and nothing is taken back, when
    /// the recording has given up. `thresholds` gives those of the packed forms.
    ///
    /// Values, deadlines and the counters of databases are as they were. An entry whose deadline
    /// has come meanwhile, and which was removed for it, is back as well: it expires again.
    pub fn roll_back(&mut self, recording: Recording, thresholds: impl Fn() -> Thresholds) -> bool {
        if recording.has_given_up() {
            drop(self.keep(recording, thresholds));
            return false;
        }
        let steps = recording.end();
        paused(|| {
            for step in steps.into_iter().rev() {
                let shard = self.shard_of_step(&step);
                if let Some(shard) = self.shard_at_mut(shard) {
                    shard.take_back(step, &thresholds);
                }
            }
        });
        true
    }

    /// Keeps what this thread has changed since the recording began, and ends the recording.
    /// Returns old values when freeing them is worth another thread.
    pub fn keep(
        &mut self,
        recording: Recording,
        thresholds: impl Fn() -> Thresholds,
    ) -> Option<OldValues> {
        let steps = recording.end_kept();
        let mut is_big = false;
        for step in &steps {
            is_big |= step.is_big();
            if matches!(step, Step::Journaled { .. }) {
                let shard = self.shard_of_step(step);
                if let Some(shard) = self.shard_at_mut(shard) {
                    shard.end_journal(step, &thresholds());
                }
            }
        }
        if is_big {
            return Some(OldValues { _steps: steps });
        }
        undo::recycle(steps);
        None
    }

    fn shard_of_step(&self, step: &Step) -> usize {
        match step {
            Step::Absent { hash, .. }
            | Step::Had { hash, .. }
            | Step::Journaled { hash, .. }
            | Step::Removed { hash, .. } => self.keyspace().shard_of(*hash),
            Step::Cleared { shard, .. } | Step::Swapped { shard, .. } => *shard,
        }
    }
}
