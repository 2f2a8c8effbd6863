//! Jobs beside the commands: snapshots, rewrites of the AOF, backups, loading.

mod aof_encode;
pub mod backup;
pub mod loading;
pub mod rewrite;
pub mod snapshot;
