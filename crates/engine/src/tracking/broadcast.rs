//! Prefixes of clients in broadcast mode.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::tracker::{Keys, Tracker, Tracking};
use crate::outboxes::Outboxes;

/// What a prefix takes besides its bytes, in the sets of its client and of the table.
const PREFIX_OVERHEAD: usize = 96;

/// The clients of each prefix.
#[derive(Default)]
pub struct Prefixes {
    table: RwLock<Table>,
    count: AtomicUsize,
}

#[derive(Default)]
struct Table {
    by_prefix: HashMap<Vec<u8>, Vec<Arc<Tracker>>, foldhash::fast::RandomState>,
    /// Lengths of the prefixes, with how many have each: a key is looked up once for each length.
    lengths: BTreeMap<usize, usize>,
}

impl Table {
    fn add(&mut self, prefix: Vec<u8>, tracker: &Arc<Tracker>) {
        let length = prefix.len();
        let trackers = self.by_prefix.entry(prefix).or_default();
        if trackers.is_empty() {
            *self.lengths.entry(length).or_default() += 1;
        }
        trackers.push(Arc::clone(tracker));
    }

    fn remove(&mut self, prefix: &[u8], tracker: &Arc<Tracker>) {
        let Some(trackers) = self.by_prefix.get_mut(prefix) else {
            return;
        };
        trackers.retain(|other| !Arc::ptr_eq(other, tracker));
        if trackers.is_empty() {
            self.by_prefix.remove(prefix);
            if let Some(count) = self.lengths.get_mut(&prefix.len()) {
                *count -= 1;
            }
            self.lengths.retain(|_, count| *count > 0);
        }
    }

    /// The prefixes of a key that clients have named.
    fn matches<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.lengths
            .keys()
            .filter_map(|length| key.get(..*length))
            .filter(|prefix| self.by_prefix.contains_key(*prefix))
    }
}

/// Two prefixes of one client that some key would begin with both.
#[derive(Debug, PartialEq, Eq)]
pub enum Collision {
    /// A new one with one that the client has: the new one, the other.
    Existing(Vec<u8>, Vec<u8>),
    /// Two new ones.
    Provided(Vec<u8>, Vec<u8>),
}

fn overlap(one: &[u8], other: &[u8]) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// The first of some prefixes, of which no two overlap, that overlaps with another one.
fn neighbour<'a>(existing: &'a BTreeSet<Vec<u8>>, prefix: &Vec<u8>) -> Option<&'a Vec<u8>> {
    // One that `prefix` begins with is the last in front of it: between the two stand only such as
    // begin with that one.
    let before = existing.range::<Vec<u8>, _>(..prefix).next_back();
    let behind = existing.range::<Vec<u8>, _>(prefix..).next();
    let mut both = before.into_iter().chain(behind);
    both.find(|other| overlap(other, prefix))
}

/// Checks new prefixes against each other and against those that a client has.
pub fn check_prefixes(
    new: &[Vec<u8>],
    existing: Option<&BTreeSet<Vec<u8>>>,
) -> Result<(), Collision> {
    for (index, prefix) in new.iter().enumerate() {
        if let Some(other) = existing.and_then(|existing| neighbour(existing, prefix)) {
            return Err(Collision::Existing(prefix.clone(), other.clone()));
        }
        let behind = new.get(index + 1..).unwrap_or_default();
        if let Some(other) = behind.iter().find(|other| overlap(other, prefix)) {
            return Err(Collision::Provided(prefix.clone(), other.clone()));
        }
    }
    Ok(())
}

impl Prefixes {
    /// How many different prefixes there are.
    #[inline]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Adds the new prefixes of a client.
    pub(crate) fn add(&self, tracking: &mut Tracking) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        for prefix in std::mem::take(&mut tracking.new_prefixes) {
            if tracking.prefixes.insert(prefix.clone()) {
                tracking.prefix_bytes += prefix.len() + PREFIX_OVERHEAD;
                table.add(prefix, &tracking.tracker);
            }
        }
        self.count.store(table.by_prefix.len(), Ordering::Relaxed);
    }

    /// Removes all prefixes of a client.
    pub(crate) fn remove(&self, tracking: &Tracking) {
        if tracking.prefixes.is_empty() {
            return;
        }
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        for prefix in &tracking.prefixes {
            table.remove(prefix, &tracking.tracker);
        }
        self.count.store(table.by_prefix.len(), Ordering::Relaxed);
    }

    /// Sends the invalidation of keys that one execution has changed: a message for each prefix
    /// and client, with all keys that begin with the prefix.
    pub(crate) fn invalidate<'k>(
        &self,
        outboxes: &Outboxes,
        keys: impl Iterator<Item = &'k [u8]>,
        actor: Option<u64>,
        after: u64,
    ) {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let mut changed: HashMap<&[u8], BTreeSet<&[u8]>> = HashMap::new();
        for key in keys {
            for prefix in table.matches(key) {
                changed.entry(prefix).or_default().insert(key);
            }
        }
        for (prefix, keys) in &changed {
            for tracker in table.by_prefix.get(*prefix).into_iter().flatten() {
                if !tracker.is_spared(actor) {
                    tracker.invalidate(outboxes, &Keys::Some(keys), after);
                }
            }
        }
    }
}
