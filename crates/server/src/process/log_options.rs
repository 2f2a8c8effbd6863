//! The options of the AOF, as the configuration has them.

use persist::{FsyncPolicy, LogOptions};

use engine::config::{AppendFsync, Config, P};

/// The options for [`persist::Log`].
pub(crate) fn log_options(config: &Config) -> LogOptions {
    LogOptions {
        dir: config.dir(),
        appenddirname: config.text(P::AppendDirName),
        appendfilename: config.text(P::AppendFileName),
        fsync: fsync_policy(config),
        timestamps: config.bool(P::AofTimestampEnabled),
        rdb_base: config.bool(P::AofUseRdbPreamble),
        load_truncated: config.bool(P::AofLoadTruncated),
        incremental_fsync: config.bool(P::AofRewriteIncrementalFsync),
        auto_gc: !config.bool(P::AofDisableAutoGc),
        history_seconds: config.int(P::AofHistorySeconds).max(0) as u64,
        max_bulk: config.size(P::ProtoMaxBulkLen),
        ..LogOptions::default()
    }
}

/// `appendfsync`.
pub(super) fn fsync_policy(config: &Config) -> FsyncPolicy {
    match config.choice(P::AppendFsync) {
        AppendFsync::Always => FsyncPolicy::Always,
        AppendFsync::EverySecond => FsyncPolicy::EverySecond,
        AppendFsync::No => FsyncPolicy::No,
    }
}
