//! WATCH: which clients watch which keys of a shard.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set when a key that a client watches was changed.
#[derive(Debug, Default)]
pub struct WatchFlag(AtomicBool);

impl WatchFlag {
    /// True when a watched key was changed.
    pub fn is_dirty(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Makes the next EXEC of the client fail.
    fn set_dirty(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Clears the mark before the next WATCH.
    pub fn clear(&self) {
        self.0.store(false, Ordering::Release);
    }
}

type Keys = HashMap<(u32, Box<[u8]>), Vec<Arc<WatchFlag>>, foldhash::fast::RandomState>;

/// Watchers of one shard by database and key.
#[derive(Default)]
pub struct WatchTable {
    keys: Keys,
}

impl WatchTable {
    /// True when no client watches a key of this shard, the usual case.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Number of watched keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Starts watching. False when the client watches the key already.
    pub fn add(&mut self, db: u32, key: &[u8], flag: &Arc<WatchFlag>) -> bool {
        let flags = self.keys.entry((db, key.into())).or_default();
        let is_new = !flags.iter().any(|other| Arc::ptr_eq(other, flag));
        if is_new {
            flags.push(Arc::clone(flag));
        }
        is_new
    }

    /// Stops watching.
    pub fn remove(&mut self, db: u32, key: &[u8], flag: &Arc<WatchFlag>) {
        let id = (db, Box::from(key));
        if let Some(flags) = self.keys.get_mut(&id) {
            flags.retain(|other| !Arc::ptr_eq(other, flag));
            if flags.is_empty() {
                self.keys.remove(&id);
            }
        }
    }

    /// Marks the watchers of a changed key.
    pub fn touch(&self, db: u32, key: &[u8]) {
        if let Some(flags) = self.keys.get(&(db, Box::from(key))) {
            flags.iter().for_each(|flag| flag.set_dirty());
        }
    }

    /// The watched keys of a database.
    pub fn keys_of(&self, db: u32) -> impl Iterator<Item = &[u8]> {
        let keys = self.keys.keys();
        keys.filter(move |(of, _)| *of == db).map(|(_, key)| &**key)
    }
}
