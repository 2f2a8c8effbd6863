//! WATCH: which clients look at which keys of a shard.

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
    pub fn set_dirty(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// A new round of WATCH begins.
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
    /// True when nobody watches a key of this shard: the usual case.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Keys somebody watches.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Starts watching.
    pub fn add(&mut self, db: u32, key: &[u8], flag: &Arc<WatchFlag>) {
        let flags = self.keys.entry((db, key.into())).or_default();
        if !flags.iter().any(|other| Arc::ptr_eq(other, flag)) {
            flags.push(Arc::clone(flag));
        }
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

    /// A key was changed.
    pub fn touch(&self, db: u32, key: &[u8]) {
        if let Some(flags) = self.keys.get(&(db, Box::from(key))) {
            flags.iter().for_each(|flag| flag.set_dirty());
        }
    }

    /// Every watched key of `db` for which `exists` holds was changed at once (FLUSHDB, SWAPDB).
    pub fn touch_db(&self, db: u32, mut exists: impl FnMut(&[u8]) -> bool) {
        for ((of, key), flags) in &self.keys {
            if *of == db && exists(key) {
                flags.iter().for_each(|flag| flag.set_dirty());
            }
        }
    }
}

/// What the server keeps under the lock of each shard.
#[derive(Default)]
pub struct ShardTables {
    /// Watched keys.
    pub watched: WatchTable,
    /// Keys that blocked clients wait for.
    pub waiting: crate::blocking::WaitTable,
}
