//! Jobs beside the commands: snapshots, rewrites of the AOF, backups, loading.

mod aof_encode;
pub(crate) mod backup;
pub(crate) mod loading;
pub(crate) mod rewrite;
pub(crate) mod snapshot;
