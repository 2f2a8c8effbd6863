//! Keyspace events: what handlers report about keys.
//!
//! The class and name of each event are those of `notify-keyspace-events`. Events are handed to the
//! observers of the server; without an observer an event costs one relaxed load.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::context::EventClass;

/// Somebody who wants to know about keys. Called under the shard lock of the key: it must be quick
/// and must not touch the keyspace.
pub type Observer = Box<dyn Fn(EventClass, &'static str, u32, &[u8]) + Send + Sync>;

/// Distributes keyspace events.
#[derive(Default)]
pub struct Events {
    observed: AtomicBool,
    observers: Mutex<Vec<Observer>>,
}

impl Events {
    /// Adds an observer for the life of the server.
    pub fn observe(&self, observer: Observer) {
        self.observers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(observer);
        self.observed.store(true, Ordering::Release);
    }

    /// Reports an event.
    #[inline]
    pub fn publish(&self, class: EventClass, event: &'static str, db: u32, key: &[u8]) {
        if self.observed.load(Ordering::Relaxed) {
            self.distribute(class, event, db, key);
        }
    }

    #[cold]
    fn distribute(&self, class: EventClass, event: &'static str, db: u32, key: &[u8]) {
        let observers = self
            .observers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for observer in observers.iter() {
            observer(class, event, db, key);
        }
    }
}
