//! Keys: of a request, of a database, among arguments.

use keyspace::KeyHash;

use crate::command::KeyPosition;

/// A key of the request with its hash.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// The key.
    pub bytes: &'a [u8],
    /// Its hash, computed once per request.
    pub hash: KeyHash,
}

impl<'a> Key<'a> {
    /// A key with its hash.
    pub fn new(bytes: &'a [u8], hash: KeyHash) -> Self {
        Self { bytes, hash }
    }
}

/// A key of a database, kept beyond its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DbKey {
    /// Database.
    pub db: u32,
    /// The key.
    pub key: Vec<u8>,
}

impl DbKey {
    /// A copy of a key.
    pub fn new(db: u32, key: &[u8]) -> Self {
        Self {
            db,
            key: key.to_vec(),
        }
    }

    /// True when it is this key.
    pub fn is(&self, db: u32, key: &[u8]) -> bool {
        self.db == db && self.key == key
    }
}

/// A key found among the arguments, before the command runs.
#[derive(Clone, Copy, Debug)]
pub struct LocatedKey {
    /// Where it stands.
    pub position: KeyPosition,
    /// Its hash.
    pub hash: KeyHash,
}
