//! Tables of the server beside the data of each shard, under its lock.

use crate::key_changes::{ChangeKind, KeyChanges};
use crate::keys::Key;
use crate::listeners::KeyListeners;
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

/// True when the key exists and has not expired: to a client that watches it, an expired key is
/// gone already.
pub(crate) fn lives(shard: &Shard, db: u32, key: &[u8], now_ms: u64) -> bool {
    shard
        .find(db, shard.hash(key), key)
        .is_some_and(|entry| entry.deadline().is_none_or(|deadline| deadline > now_ms))
}

/// Marks the keys of a database in this shard for which `concerned` holds as changed: those that
/// clients watch or are blocked on.
pub(crate) fn note_all(
    (shard, db): (&Shard, u32),
    changes: &mut KeyChanges,
    listeners: &KeyListeners,
    concerned: impl Fn(&Shard, &[u8]) -> bool,
) {
    let tables = &shard.attachments;
    let mut note = |key: &[u8], kind| {
        let key = Key::new(key, shard.hash(key));
        changes.note(listeners, (db, key), kind, None);
    };
    for key in tables.watched.keys_of(db) {
        if concerned(shard, key) {
            note(key, ChangeKind::Touched);
        }
    }
    for key in tables.waiting.keys_of(db) {
        if concerned(shard, &key) {
            note(&key, ChangeKind::Ready);
        }
    }
}
