//! Client-side caching: registering reads and sending invalidations, under the locks of the keys.

use std::sync::Arc;

use super::Engine;
use crate::config::P;
use crate::keys::Key;
use crate::session::Session;
use crate::shard_tables::Locked;
use crate::tracking::{Keys, Mode, Options, Tracker, Tracking, TrackingTable};

/// Most keys that are remembered; 0: any number.
fn keys_max(engine: &Engine) -> usize {
    usize::try_from(engine.config.int(P::TrackingTableMaxKeys)).unwrap_or(0)
}

impl Engine {
    /// CLIENT TRACKING ON for a client whose options have been checked.
    pub fn start_tracking(&self, session: &mut Session, options: Options) {
        match &mut session.tracking {
            Some(tracking) => tracking.change(options),
            place @ None => {
                let tracking = Tracking::new(&session.shared, options);
                self.tracking.add(&self.key_listeners, &tracking.tracker);
                *place = Some(Box::new(tracking));
            }
        }
        let Some(tracking) = &mut session.tracking else {
            return;
        };
        if tracking.mode() == Mode::Broadcast {
            self.tracking.prefixes.add(tracking);
        }
        tracking.publish(&session.shared);
    }

    /// CLIENT TRACKING OFF, RESET, a disconnection. True when the client tracked keys. No
    /// invalidation comes into its outbox any more.
    pub fn stop_tracking(&self, session: &mut Session) -> bool {
        let Some(tracking) = session.tracking.take() else {
            return false;
        };
        self.tracking.prefixes.remove(&tracking);
        self.tracking.remove(&self.key_listeners, &tracking.tracker);
        tracking.tracker.leave();
        Tracking::publish_none(&session.shared);
        true
    }

    /// Registers a client for a key that it has read, under the lock of the key's shard. A table
    /// that is full forgets another key of the shard, as if that had changed.
    pub(crate) fn remember_read(
        &self,
        locked: &mut Locked<'_>,
        tracker: &Arc<Tracker>,
        key: Key<'_>,
    ) {
        let Some(shard) = locked.shard_mut(key.hash) else {
            return;
        };
        let table = &mut shard.attachments.tracking;
        let registered = table.add(key.bytes, tracker);
        self.tracking.note_added(&registered);
        if registered.is_new_client && self.tracking.is_over(keys_max(self)) {
            self.forget_one(table, key.bytes);
        }
    }

    /// Forgets a key of a table, but not `spared`.
    fn forget_one(&self, table: &mut TrackingTable, spared: &[u8]) -> bool {
        let Some((key, trackers)) = table.take_any(spared) else {
            return false;
        };
        self.tracking.note_removed(trackers.len());
        for tracker in &trackers {
            tracker.invalidate(&self.outboxes, &Keys::One(&key), 0);
        }
        true
    }

    /// Sends the invalidation of a key that has changed, to all that have read it since the last
    /// time. `actor` is the client that changed it.
    pub(crate) fn invalidate(
        &self,
        table: &mut TrackingTable,
        key: &[u8],
        actor: Option<u64>,
        after: u64,
    ) {
        let Some(trackers) = table.take(key) else {
            return;
        };
        self.tracking.note_removed(trackers.len());
        for tracker in &trackers {
            if !tracker.is_spared(actor) {
                tracker.invalidate(&self.outboxes, &Keys::One(key), after);
            }
        }
    }

    /// The data has been emptied under these locks, which are all: whatever a client keeps is
    /// invalid.
    pub(crate) fn invalidate_all(&self, locked: &mut Locked<'_>, after: u64) {
        if self.tracking.count() == 0 && self.tracking.key_count() == 0 {
            return;
        }
        for shard in locked.shards_mut() {
            for trackers in shard.attachments.tracking.take_all() {
                self.tracking.note_removed(trackers.len());
            }
        }
        for tracker in self.tracking.all() {
            tracker.invalidate(&self.outboxes, &Keys::All, after);
        }
    }

    fn forget_left(&self) {
        for shard in 0..self.keyspace.shard_count() {
            let mut waits = || !self.runs.any();
            let Ok(mut locked) = self.keyspace.lock_one_patient(shard, &mut waits) else {
                continue;
            };
            for shard in locked.shards_mut() {
                let (keys, items) = shard.attachments.tracking.forget_left();
                self.tracking.note_all_removed(keys, items);
            }
        }
    }

    /// Forgets keys until no more are remembered than the limit allows, and all when no client is
    /// left that tracks. Called by a timer: locks one shard after the other.
    pub fn limit_tracking(&self) {
        if self.tracking.count() == 0 && self.tracking.key_count() > 0 {
            self.forget_left();
        }
        let max = keys_max(self);
        for shard in 0..self.keyspace.shard_count() {
            if !self.tracking.is_over(max) {
                return;
            }
            // A script may have locked it for long: it has its turn later.
            let mut waits = || !self.runs.any();
            let Ok(mut locked) = self.keyspace.lock_one_patient(shard, &mut waits) else {
                continue;
            };
            let share = max / self.keyspace.shard_count();
            for shard in locked.shards_mut() {
                let table = &mut shard.attachments.tracking;
                while table.len() > share && self.tracking.is_over(max) {
                    self.forget_one(table, b"");
                }
            }
        }
    }
}
