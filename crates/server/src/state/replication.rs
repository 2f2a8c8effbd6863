//! The replication id.

use std::sync::{Mutex, PoisonError};

use super::random::random_id;

/// The name of this data set's history, by which replicas know whether they follow the same one.
pub struct ReplicationId(Mutex<String>);

impl Default for ReplicationId {
    fn default() -> Self {
        Self(Mutex::new(random_id()))
    }
}

impl ReplicationId {
    /// 40 hexadecimal digits.
    pub fn get(&self) -> String {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A new history begins.
    pub fn change(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = random_id();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_forty_digits_and_differ() {
        let id = ReplicationId::default();
        let before = id.get();
        id.change();
        assert_eq!(before.len(), 40);
        assert!(before.bytes().all(|digit| digit.is_ascii_hexdigit()));
        assert_ne!(before, id.get());
    }
}
