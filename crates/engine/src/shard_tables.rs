//! Tables of the server beside the data of each shard, under its lock.

use crate::tracking::TrackingTable;
use crate::waiters::WaitTable;
use crate::watch::WatchTable;

/// The keyspace, with the server's tables.
pub type Keyspace = keyspace::Keyspace<ShardTables>;
/// Locked shards of it.
pub type Locked<'k> = keyspace::Locked<'k, ShardTables>;
/// A shard of it.
pub type Shard = keyspace::Shard<ShardTables>;

/// Clients that watch keys of a shard, are blocked on them or keep copies of them.
#[derive(Default)]
pub struct ShardTables {
    /// Watched keys.
    pub watched: WatchTable,
    /// Keys that clients are blocked on.
    pub waiting: WaitTable,
    /// Keys that clients keep copies of.
    pub tracking: TrackingTable,
}
