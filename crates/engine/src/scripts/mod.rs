//! Scripts and functions as the threads of a server share them: the script cache, the libraries,
//! and which scripts run.
//!
//! What is compiled belongs to the interpreter of a thread; here are the sources.

mod cache;
mod libraries;
mod running;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

pub use cache::{CACHED_MAX, Cached, Script, ScriptTable, sha1_hex};
pub use libraries::{Found, Function, Libraries, Library, is_name};
pub use running::{Kind, Left, Name, Run, Running, Runs, SlowScripts};

/// The scripts of a server.
#[derive(Default)]
pub struct Scripts {
    /// Sources of EVAL and SCRIPT LOAD.
    cache: Mutex<ScriptTable>,
    /// Scripts that left the cache because it was full.
    evicted: AtomicU64,
    script_flushes: AtomicU64,
    library_flushes: AtomicU64,
    /// Libraries of functions. They change under the locks of all shards only.
    libraries: RwLock<Arc<Libraries>>,
}

/// Numbers of flushes since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flushes {
    /// SCRIPT FLUSH
    pub scripts: u64,
    /// FUNCTION FLUSH
    pub libraries: u64,
}

impl Scripts {
    /// The script cache.
    pub fn cache(&self) -> MutexGuard<'_, ScriptTable> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a script to the cache, unless its source is there. A script of EVAL takes the place of
    /// the one that was not used for the longest time, when there are [`CACHED_MAX`] of them.
    pub fn add(&self, script: Script) -> Arc<Script> {
        let mut cache = self.cache();
        if let Some(known) = cache.find_body(&script.body) {
            return Arc::clone(known);
        }
        if !script.is_loaded() && cache.make_room() {
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
        cache.add(Arc::new(script))
    }

    /// Scripts that left the cache because it was full, since the last reset of statistics.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Back to zero, for CONFIG RESETSTAT.
    pub fn reset_evicted(&self) {
        self.evicted.store(0, Ordering::Relaxed);
    }

    /// SCRIPT FLUSH: empties the cache.
    pub fn flush(&self) {
        self.cache().flush();
        self.script_flushes.fetch_add(1, Ordering::AcqRel);
    }

    /// FUNCTION FLUSH: removes all libraries. As [`Scripts::set_libraries`].
    pub fn flush_libraries(&self) {
        self.set_libraries(Libraries::default());
        self.library_flushes.fetch_add(1, Ordering::AcqRel);
    }

    /// How often the cache and the libraries were flushed: interpreters drop what they have
    /// compiled of them before their next run.
    #[inline]
    pub fn flushes(&self) -> Flushes {
        Flushes {
            scripts: self.script_flushes.load(Ordering::Acquire),
            libraries: self.library_flushes.load(Ordering::Acquire),
        }
    }

    /// The present libraries.
    pub fn libraries(&self) -> Arc<Libraries> {
        let libraries = self.libraries.read();
        Arc::clone(&libraries.unwrap_or_else(PoisonError::into_inner))
    }

    /// The function with this name, in any case.
    pub fn function(&self, name: &[u8]) -> Option<Found> {
        let libraries = self.libraries.read();
        libraries
            .unwrap_or_else(PoisonError::into_inner)
            .function(name)
    }

    /// Replaces the libraries. To be called under the locks of all shards, or while data is loaded.
    pub fn set_libraries(&self, libraries: Libraries) {
        self.change_libraries(|all| *all = libraries);
    }

    /// Changes the libraries. As [`Scripts::set_libraries`].
    pub fn change_libraries<T>(&self, change: impl FnOnce(&mut Libraries) -> T) -> T {
        let libraries = self.libraries.write();
        let mut libraries = libraries.unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut libraries))
    }
}
