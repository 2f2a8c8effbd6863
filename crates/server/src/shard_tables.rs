//! What the server keeps beside the data of each shard, under its lock.

use keyspace::{KeyHash, Locked, Shard};

use crate::blocking::WaitTable;
use crate::watch::WatchTable;

/// Clients that care about keys of a shard.
#[derive(Default)]
pub struct ShardTables {
    /// Watched keys.
    pub watched: WatchTable,
    /// Keys that blocked clients wait for.
    pub waiting: WaitTable,
}

impl ShardTables {
    /// The tables beside this shard.
    pub fn beside(shard: &Shard) -> Option<&Self> {
        shard.attachment()
    }

    /// The tables of the shard of a key, when it is locked.
    pub fn of<'a>(locked: &'a Locked<'_>, hash: KeyHash) -> Option<&'a Self> {
        locked.shard(hash)?.attachment()
    }

    /// The same for change.
    pub fn of_mut<'a>(locked: &'a mut Locked<'_>, hash: KeyHash) -> Option<&'a mut Self> {
        locked.shard_mut(hash)?.attachment_mut()
    }
}
