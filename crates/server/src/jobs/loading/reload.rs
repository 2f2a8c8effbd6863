//! DEBUG RELOAD and DEBUG LOADAOF: the data is loaded again while the server runs.

use std::sync::atomic::Ordering;

use crate::jobs::loading::{self, Present, Replay, Rules, SnapshotError};
use crate::jobs::{rewrite, snapshot};
use crate::server::Server;
use engine::config::P;
use engine::error::CommandError;
use engine::shard_tables::Locked;

/// The options of DEBUG RELOAD.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reload {
    /// Write the snapshot first.
    pub save: bool,
    /// Empty the server before the snapshot is loaded.
    pub flush: bool,
    /// The snapshot wins over keys that are there; else they are an error.
    pub merge: bool,
}

/// DEBUG RELOAD: saves the snapshot and loads it again. What is loaded need not be what the log
/// makes (an older snapshot, keys that have expired meanwhile), so a log gets a new base with it
/// before any other command runs. Called without locks held.
pub(crate) fn reload(server: &Server, what: Reload) -> Result<(), CommandError> {
    let _without = rewrite::WithoutRewrites::new(server)?;
    let mut locked = server.engine.keyspace.lock_all();
    if what.save {
        snapshot::save(server, &locked, 0)
            .map_err(|reason| CommandError::owned(format!("ERR {reason}")))?;
    }
    let path = server.engine.config.path(P::DbFileName).unwrap_or_default();
    let failed = |error: SnapshotError| {
        log::warn!("{error}");
        CommandError::line("ERR Error trying to load the RDB dump, check server logs.")
    };
    loading::check_head(server, &path).map_err(failed)?;
    if what.flush {
        log::info!("RDB signature and version check passed. Flushing old data");
        clear(server, &mut locked);
    }
    let rules = Rules {
        drop_expired: true,
        goes_on: None,
        present: match what.merge {
            true => Present::Replace,
            false => Present::Refuse,
        },
    };
    let loaded = loading::load_snapshot(server, &path, Some(&mut locked), rules);
    // Also after a failure: what was loaded before it is the data now.
    let based = rewrite::new_base_locked(server, &locked);
    loaded.map_err(failed)?;
    based.map_err(|reason| {
        CommandError::owned(format!(
            "ERR The RDB dump is loaded, but the append only file can't be rewritten: {reason}"
        ))
    })
}

/// DEBUG LOADAOF: empties the server and loads the log again. Called without locks held.
pub(crate) fn load_again(server: &Server) -> Result<(), CommandError> {
    let _without = rewrite::WithoutRewrites::new(server)?;
    let mut locked = server.engine.keyspace.lock_all();
    let was_enabled = server.engine.log.is_enabled();
    server.engine.log.disable();
    clear(server, &mut locked);
    let mut replay = Replay::new(server, Some(&mut locked));
    let result = server
        .engine
        .log
        .load(&mut replay)
        .map_err(|error| error.to_string());
    let result = result.and_then(|_| replay.finish());
    // Positions begin anew with the load, and no reply may wait for an old one.
    let appended = server.engine.log.appended();
    for shard in locked.shards_mut() {
        shard.last_log_offset = appended;
    }
    if !was_enabled {
        server.engine.log.disable();
    }
    result.map(drop).map_err(|error| {
        if was_enabled {
            // The files have more than the memory: nothing that is written now may replace them.
            let half_changed = &server.engine.switches.half_changed;
            half_changed.store(true, Ordering::Release);
            log::error!(
                "DEBUG LOADAOF failed, and the data is not complete. The append only file stays as it is, and writes \
                 are refused until a restart: {error}"
            );
        }
        CommandError::owned(format!(
            "ERR Error trying to load the AOF files, check server logs: {error}"
        ))
    })
}

fn clear(server: &Server, locked: &mut Locked<'_>) {
    for shard in locked.shards_mut() {
        for db in 0..server.engine.keyspace.databases() {
            drop(shard.clear(db));
        }
    }
    server.engine.scripts.flush_libraries();
}
