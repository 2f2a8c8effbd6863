//! Jobs beside the commands: snapshots, rewrites of the AOF, backups, loading, MIGRATE's connections.

mod aof_encode;
pub mod backup;
pub mod loading;
pub mod migration;
pub mod rewrite;
pub mod snapshot;
