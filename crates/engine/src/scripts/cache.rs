//! The sources of EVAL and SCRIPT LOAD, found by their text and by their digest.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use script::header::{self, Flags};
use script::profile::Profile;
use sha1::{Digest, Sha1};

/// Scripts of EVAL that were never loaded with SCRIPT LOAD and stay in the cache, as in Redis.
pub const CACHED_MAX: usize = 500;

/// What a script costs beside its text, in bytes: its entries in two tables, and itself.
const OVERHEAD: usize = size_of::<Script>() + 2 * size_of::<usize>() * 2;

/// A script.
#[derive(Debug)]
pub struct Script {
    /// The SHA-1 of `body`, in lower case.
    pub sha: [u8; 40],
    /// Its text as it was sent, first line included.
    pub body: Box<[u8]>,
    /// Its flags; `None` without a first line that declares them.
    pub flags: Option<Flags>,
    code_start: usize,
    /// What is proved about its keys, when that was asked for.
    pub profile: OnceLock<Profile>,
    /// SCRIPT LOAD: it is never evicted.
    loaded: AtomicBool,
    /// It is in the cache.
    cached: AtomicBool,
    /// When it last ran, monotonic nanoseconds.
    used_ns: AtomicU64,
}

impl Script {
    /// Reads the first line of a script.
    ///
    /// # Errors
    /// The text behind `ERR `.
    pub fn new(body: &[u8], loaded: bool) -> Result<Self, Vec<u8>> {
        let header = header::script(body)?;
        if !header.engine.eq_ignore_ascii_case(b"lua") {
            let name = header.engine.as_slice();
            return Err([b"Could not find scripting engine '", name, b"'"].concat());
        }
        Ok(Self {
            sha: sha1_hex(body),
            body: body.into(),
            flags: header.flags,
            code_start: header.code_start,
            profile: OnceLock::new(),
            loaded: AtomicBool::new(loaded),
            cached: AtomicBool::new(false),
            used_ns: AtomicU64::new(0),
        })
    }

    /// Its text without the first line that declares flags.
    pub fn code(&self) -> &[u8] {
        self.body.get(self.code_start..).unwrap_or_default()
    }

    /// True when it is never evicted.
    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Relaxed)
    }

    /// SCRIPT LOAD.
    pub fn keep(&self) {
        self.loaded.store(true, Ordering::Relaxed);
    }

    /// True until it leaves the cache.
    #[inline]
    pub fn is_cached(&self) -> bool {
        self.cached.load(Ordering::Acquire)
    }

    /// It runs at `now_ns`.
    #[inline]
    pub fn use_at(&self, now_ns: u64) {
        self.used_ns.store(now_ns, Ordering::Relaxed);
    }
}

/// The SHA-1 of `bytes`, in lower-case hexadecimal digits.
pub fn sha1_hex(bytes: &[u8]) -> [u8; 40] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digest = Sha1::digest(bytes);
    let mut hex = [0; 40];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(digest) {
        pair.copy_from_slice(&[
            DIGITS[usize::from(byte >> 4)],
            DIGITS[usize::from(byte & 15)],
        ]);
    }
    hex
}

/// A script in a table by its text.
#[derive(Debug)]
struct ByBody(Arc<Script>);

/// A script in a table by its digest.
#[derive(Debug)]
struct BySha(Arc<Script>);

macro_rules! found_by {
    ($wrapper:ident, $field:ident: $key:ty) => {
        impl Borrow<$key> for $wrapper {
            fn borrow(&self) -> &$key {
                &self.0.$field
            }
        }
        impl Hash for $wrapper {
            fn hash<H: Hasher>(&self, state: &mut H) {
                Hash::hash(Borrow::<$key>::borrow(self), state);
            }
        }
        impl PartialEq for $wrapper {
            fn eq(&self, other: &Self) -> bool {
                self.0.$field == other.0.$field
            }
        }
        impl Eq for $wrapper {}
    };
}

found_by!(ByBody, body: [u8]);
found_by!(BySha, sha: [u8; 40]);

type Table<T> = HashSet<T, foldhash::fast::RandomState>;

/// Scripts by their text and by their digest: those of the cache, or those that a thread has used.
#[derive(Debug, Default)]
pub struct ScriptTable {
    by_body: Table<ByBody>,
    by_sha: Table<BySha>,
    /// Bytes of texts and tables.
    bytes: usize,
}

/// What the cache holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cached {
    /// Scripts.
    pub scripts: usize,
    /// Bytes of their texts, and of the tables.
    pub bytes: usize,
}

impl ScriptTable {
    /// The script with this text.
    #[inline]
    pub fn find_body(&self, body: &[u8]) -> Option<&Arc<Script>> {
        self.by_body.get(body).map(|found| &found.0)
    }

    /// The script with this digest, in any case.
    pub fn find_sha(&self, sha: &[u8]) -> Option<&Arc<Script>> {
        let mut key = <[u8; 40]>::try_from(sha).ok()?;
        key.make_ascii_lowercase();
        self.by_sha.get(&key).map(|found| &found.0)
    }

    /// How many scripts there are.
    pub fn count(&self) -> usize {
        self.by_sha.len()
    }

    /// Number and memory of the scripts.
    pub fn cached(&self) -> Cached {
        Cached {
            scripts: self.count(),
            bytes: self.bytes,
        }
    }

    /// Adds a script that a thread has found in the cache to its own table.
    pub fn remember(&mut self, script: &Arc<Script>) {
        self.by_body.insert(ByBody(Arc::clone(script)));
        self.by_sha.insert(BySha(Arc::clone(script)));
    }

    /// Drops the scripts that have left the cache.
    pub fn drop_uncached(&mut self) {
        self.by_body.retain(|script| script.0.is_cached());
        self.by_sha.retain(|script| script.0.is_cached());
    }

    pub(super) fn add(&mut self, script: Arc<Script>) -> Arc<Script> {
        script.cached.store(true, Ordering::Release);
        self.bytes += script.body.len() + OVERHEAD;
        self.remember(&script);
        script
    }

    /// Evicts a script when the cache is full of those that may be. True when it did.
    pub(super) fn make_room(&mut self) -> bool {
        let evictable = || self.by_sha.iter().filter(|script| !script.0.is_loaded());
        if evictable().count() < CACHED_MAX {
            return false;
        }
        let oldest = evictable().min_by_key(|script| script.0.used_ns.load(Ordering::Relaxed));
        let Some(oldest) = oldest.map(|script| Arc::clone(&script.0)) else {
            return false;
        };
        self.remove(&oldest);
        true
    }

    fn remove(&mut self, script: &Script) {
        script.cached.store(false, Ordering::Release);
        self.by_body.remove(&*script.body);
        self.by_sha.remove(&script.sha);
        self.bytes = self.bytes.saturating_sub(script.body.len() + OVERHEAD);
    }

    /// Empties the cache: SCRIPT FLUSH.
    pub fn flush(&mut self) {
        for script in &self.by_sha {
            script.0.cached.store(false, Ordering::Release);
        }
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripts::Scripts;

    fn script(body: &str, loaded: bool) -> Script {
        Script {
            sha: sha1_hex(body.as_bytes()),
            body: body.as_bytes().into(),
            flags: None,
            code_start: 0,
            profile: OnceLock::new(),
            loaded: AtomicBool::new(loaded),
            cached: AtomicBool::new(false),
            used_ns: AtomicU64::new(0),
        }
    }

    #[test]
    fn digests_are_those_of_sha1() {
        let digest = sha1_hex(b"return 1");
        assert_eq!(&digest, b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    }

    #[test]
    fn scripts_are_found_by_text_and_by_digest() {
        let scripts = Scripts::default();
        scripts.add(script("return 1", false));
        let cache = scripts.cache();
        assert!(cache.find_body(b"return 1").is_some());
        assert!(
            cache
                .find_sha(b"E0E1F9FABFC9D4800C877A703B823AC0578FF8DB")
                .is_some()
        );
        assert!(cache.find_sha(b"e0e1").is_none());
    }

    #[test]
    fn the_least_used_script_of_eval_goes_first() {
        let scripts = Scripts::default();
        let kept = scripts.add(script("kept", true));
        for number in 0..CACHED_MAX as u64 {
            let body = format!("return {number}");
            scripts.add(script(&body, false)).use_at(number + 1);
        }
        assert_eq!(scripts.cache().count(), CACHED_MAX + 1);
        let first = Arc::clone(scripts.cache().find_body(b"return 0").unwrap());
        first.use_at(10_000);
        scripts.add(script("return 'more'", false));
        assert_eq!(scripts.evicted(), 1);
        assert!(kept.is_cached() && first.is_cached());
        assert!(scripts.cache().find_body(b"return 1").is_none());
        scripts.cache().flush();
        assert!(!kept.is_cached());
        let empty = Cached {
            scripts: 0,
            bytes: 0,
        };
        assert_eq!(scripts.cache().cached(), empty);
    }
}
