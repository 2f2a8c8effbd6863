//! How many clients and features listen to changes of keys.

use std::sync::atomic::{AtomicU64, Ordering};

/// What listens to changes of keys.
///
/// One word holds two counters and some flags, so that a change costs one load while nothing
/// listens. Counters of watching and waiting clients change under the lock of a key of theirs: a
/// command that holds that lock sees them.
#[derive(Default)]
pub struct KeyListeners {
    counts: AtomicU64,
}

/// Bits of the counter of watching clients, and of that of waiting clients.
const CLIENT_BITS: u32 = 28;
const CLIENT_MASK: u64 = (1 << CLIENT_BITS) - 1;
const ONE_WATCHING: u64 = 1;
const ONE_WAITING: u64 = 1 << CLIENT_BITS;
/// Keyspace events are sent.
pub(crate) const EVENTS: u64 = 1 << (2 * CLIENT_BITS);
/// They name elements.
const ELEMENTS: u64 = EVENTS << 1;
/// Clients keep copies of keys.
const CACHES: u64 = ELEMENTS << 1;

impl KeyListeners {
    #[inline]
    pub(crate) fn counts(&self) -> u64 {
        self.counts.load(Ordering::Relaxed)
    }

    /// Clients that watch keys.
    pub fn watching(&self) -> u64 {
        self.counts() & CLIENT_MASK
    }

    /// Clients that are blocked on keys.
    #[inline]
    pub fn waiting(&self) -> u64 {
        (self.counts() >> CLIENT_BITS) & CLIENT_MASK
    }

    /// A client watches its first key.
    pub fn add_watcher(&self) {
        self.counts.fetch_add(ONE_WATCHING, Ordering::Relaxed);
    }

    /// A client watches no key any more.
    pub fn remove_watcher(&self) {
        self.counts.fetch_sub(ONE_WATCHING, Ordering::Relaxed);
    }

    /// A client is blocked on keys.
    pub fn add_waiter(&self) {
        self.counts.fetch_add(ONE_WAITING, Ordering::Relaxed);
    }

    /// A client is not blocked on keys any more.
    pub fn remove_waiter(&self) {
        self.counts.fetch_sub(ONE_WAITING, Ordering::Relaxed);
    }

    /// Keyspace events are sent from now on, or no more.
    pub fn listen_to_events(&self, listens: bool) {
        self.set(EVENTS, listens);
    }

    /// Keyspace events name elements from now on, or no more.
    pub fn listen_to_elements(&self, listens: bool) {
        self.set(ELEMENTS, listens);
    }

    /// Some client keeps copies of keys from now on, or none does any more.
    pub fn listen_to_changes(&self, listens: bool) {
        self.set(CACHES, listens);
    }

    fn set(&self, flag: u64, on: bool) {
        if on {
            self.counts.fetch_or(flag, Ordering::Relaxed);
        } else {
            self.counts.fetch_and(!flag, Ordering::Relaxed);
        }
    }

    /// Keyspace events are sent.
    #[inline]
    pub fn wants_events(&self) -> bool {
        self.counts() & EVENTS != 0
    }

    /// Some client keeps copies of keys.
    #[inline]
    pub fn wants_changes(&self) -> bool {
        self.counts() & CACHES != 0
    }

    /// Keyspace events name elements.
    #[inline]
    pub fn wants_elements(&self) -> bool {
        self.counts() & ELEMENTS != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_do_not_touch_each_other() {
        let listeners = KeyListeners::default();
        for _ in 0..3 {
            listeners.add_watcher();
            listeners.add_waiter();
        }
        listeners.add_waiter();
        listeners.remove_watcher();
        assert_eq!((listeners.watching(), listeners.waiting()), (2, 4));
        assert!(!listeners.wants_events());
        listeners.listen_to_events(true);
        listeners.listen_to_elements(true);
        listeners.listen_to_events(false);
        assert!(!listeners.wants_events() && listeners.wants_elements());
        assert_eq!((listeners.watching(), listeners.waiting()), (2, 4));
    }
}
