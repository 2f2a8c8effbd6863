//! Which clients have read which keys of a shard.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::Tracker;

/// The clients of a key, by their ids.
pub(crate) type Trackers = SmallVec<[Arc<Tracker>; 2]>;

/// Keys that clients keep copies of.
#[derive(Default)]
pub struct TrackingTable {
    keys: HashMap<Box<[u8]>, Trackers, foldhash::fast::RandomState>,
}

/// What a registration has added.
pub(crate) struct Registered {
    pub(crate) is_new_key: bool,
    pub(crate) is_new_client: bool,
}

impl TrackingTable {
    /// True when nothing is remembered.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys are remembered.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn add(&mut self, key: &[u8], tracker: &Arc<Tracker>) -> Registered {
        let Some(trackers) = self.keys.get_mut(key) else {
            let trackers = SmallVec::from_iter([Arc::clone(tracker)]);
            self.keys.insert(key.into(), trackers);
            return Registered {
                is_new_key: true,
                is_new_client: true,
            };
        };
        let place = trackers.binary_search_by_key(&tracker.number, |other| other.number);
        if let Err(place) = place {
            trackers.insert(place, Arc::clone(tracker));
        }
        Registered {
            is_new_key: false,
            is_new_client: place.is_err(),
        }
    }

    /// Forgets a key.
    pub(crate) fn take(&mut self, key: &[u8]) -> Option<Trackers> {
        let trackers = self.keys.remove(key)?;
        self.shrink();
        Some(trackers)
    }

    /// Forgets some key, but not `spared`.
    pub(crate) fn take_any(&mut self, spared: &[u8]) -> Option<(Box<[u8]>, Trackers)> {
        let key = self.keys.keys().find(|key| &***key != spared)?.clone();
        let trackers = self.take(&key)?;
        Some((key, trackers))
    }

    /// Forgets all keys.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Trackers> + use<> {
        std::mem::take(&mut self.keys).into_values()
    }

    /// Forgets clients that track no more. Returns how many keys and how many clients of keys.
    pub(crate) fn forget_left(&mut self) -> (usize, usize) {
        let (keys, mut items) = (self.keys.len(), 0);
        self.keys.retain(|_, trackers| {
            let before = trackers.len();
            trackers.retain(|tracker| !tracker.has_left());
            items += before - trackers.len();
            !trackers.is_empty()
        });
        self.shrink();
        (keys - self.keys.len(), items)
    }

    fn shrink(&mut self) {
        const KEEP: usize = 64;
        if self.keys.capacity() > KEEP && self.keys.len() < self.keys.capacity() / 8 {
            let room = self.keys.len() * 2;
            self.keys.shrink_to(room);
        }
    }
}
