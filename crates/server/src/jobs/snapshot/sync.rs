//! The snapshot that a full synchronization sends to replicas.

use std::sync::Arc;

use persist::StreamCursor;
use persist::rdb::{FileWriter, Version};

use super::file::{DumpFile, FileError, Head, StreamPlace, begin_file};
use super::{Form, has_field_deadlines};
use crate::server::Server;
use crate::state::{Job, Mail, SnapshotFile};
use engine::config::P;
use engine::rdb_options;
use engine::replicas::SnapshotFilter;
use engine::shard_tables::{Locked, Shard};

/// What replicas ask of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ForReplicas {
    /// Versions of the format that they read, in order of preference.
    pub(crate) versions: Vec<Version>,
    /// Which parts they want; `None`: all.
    pub(crate) filter: Option<SnapshotFilter>,
    /// They are servers of another product.
    pub(crate) foreign: bool,
    /// Tokens of those that follow the stream behind the snapshot.
    pub(crate) followers: Vec<usize>,
}

/// What is known when a snapshot for replicas begins: its stream offset, and a cursor for each
/// follower.
pub(crate) type Begun = (u64, Vec<(usize, StreamCursor)>);

/// Writes the data as it is at one instant into a file without a name. `send` gets the beginning,
/// at that instant's end, and the file before anything is written. Called without locks of shards
/// held.
///
/// # Errors
/// The reason, for the log.
pub(crate) fn for_replicas(
    server: &Arc<Server>,
    job: &Arc<Job>,
    wanted: &ForReplicas,
    send: &dyn Fn(Mail),
) -> Result<SnapshotFile, String> {
    let written = match wanted.filter {
        None => whole(server, job, wanted, send),
        Some(filter) => {
            let (offset, cursors) = follow(server, wanted);
            send(Mail::Begun {
                offset,
                stream_db: None,
                cursors,
            });
            parts(server, wanted, filter)
        }
    };
    written.map_err(|error| error.to_string())
}

fn whole(
    server: &Arc<Server>,
    job: &Arc<Job>,
    wanted: &ForReplicas,
    send: &dyn Fn(Mail),
) -> Result<SnapshotFile, FileError> {
    let config = &server.engine.config;
    let (walk, options, start, place) = {
        let mut locked = server.engine.keyspace.lock_all();
        if wanted.foreign && has_own_data(&locked) {
            return Err(FileError::Failed(REFUSED.to_owned()));
        }
        let start = follow_locked(server, wanted);
        let deadlines = has_field_deadlines(&locked);
        let options = rdb_options::save_options(config, wanted.versions.clone(), deadlines);
        let walk = super::begin(server, &mut locked, Form::Rdb(options), job);
        // A copy of a primary's stream gets no SELECT of our own.
        let is_copy = server.engine.role.is_replica();
        let mut place = StreamPlace::now(server);
        place.db = place.db.filter(|_| is_copy);
        (walk, options, start, place)
    };
    let (offset, cursors) = start;
    send(Mail::Begun {
        offset,
        stream_db: place.db,
        cursors,
    });
    let dir = config.dir();
    let head = Head {
        log_offset: Some(offset),
        // A replica without a log keeps the file, and starts with it.
        history: place.id.map(|id| (id, offset)),
        stream_db: place.db,
        ..Head::default()
    };
    let file = DumpFile::create_with(server, dir, |sink| {
        begin_file(server, sink, options, head, walk.sizes())
    });
    let file = match file.and_then(|file| Ok((file.reader()?, file))) {
        Ok((reader, file)) => {
            send(Mail::Growing(reader));
            file
        }
        Err(error) => {
            walk.abandon();
            return Err(error);
        }
    };
    let (file, figures) = walk.write(file)?;
    log::info!(
        "Snapshot for replicas: {} keys, {} bytes of entries, {} of them changed meanwhile",
        figures.keys,
        figures.bytes,
        figures.pre_images
    );
    file.finish_unnamed()
}

/// Why a replica of another product gets nothing.
const REFUSED: &str = "the data has deadlines of members of sets or sorted sets, or ids of producers of streams, \
     which a replica of another product cannot hold";

/// True when the data has properties that the files and streams of other products cannot express.
fn has_own_data(locked: &Locked<'_>) -> bool {
    let databases = locked.keyspace().databases();
    let has_own = |shard: &Shard, db| shard.volatile_elements(db) > shard.volatile_hashes(db);
    let mut shards = locked.shards();
    shards.any(|shard| (0..databases).any(|db| has_own(shard, db)))
}

/// A file without the data: the libraries of functions, or nothing at all.
fn parts(
    server: &Server,
    wanted: &ForReplicas,
    filter: SnapshotFilter,
) -> Result<SnapshotFile, FileError> {
    let config = &server.engine.config;
    let options = rdb_options::save_options(config, wanted.versions.clone(), false);
    if filter.functions {
        let place = StreamPlace {
            offset: server.engine.log.stream_offset(),
            id: None,
            db: None,
        };
        return DumpFile::create(server, config.dir(), options, place, &[])?.finish_unnamed();
    }
    DumpFile::create_with(server, config.dir(), |sink| {
        FileWriter::new(sink, options, &[])
    })?
    .finish_unnamed()
}

/// Where the stream is now, with cursors for those who follow it from here.
fn follow(server: &Server, wanted: &ForReplicas) -> Begun {
    let _locked = server.engine.keyspace.lock_all();
    follow_locked(server, wanted)
}

/// The same under locks of all shards.
fn follow_locked(server: &Server, wanted: &ForReplicas) -> Begun {
    let (log, config) = (&server.engine.log, &server.engine.config);
    let offset = log.stream_offset();
    if !wanted.followers.is_empty() {
        if log.stream_range().is_none() && !log.is_enabled() {
            // Changes were not counted so far: offsets of an earlier time mean nothing.
            let histories = server.replication.begin_history(None);
            log::info!(
                "Replication backlog created, my new replication ID is '{}'",
                histories.id
            );
        }
        if let Some(id) = server.replication.log_id() {
            log.set_replication_id(id);
        }
        log.open_stream(config.int(P::ReplBacklogSize).max(0) as u64);
        if !server.engine.role.is_replica() {
            // What follows has to begin with a SELECT: a replica has selected nothing.
            log.force_select();
        }
    }
    let limit = server.replica_lag_max();
    let cursors = wanted.followers.iter().filter_map(|token| {
        let cursor = log.stream_cursor(offset, limit)?;
        Some((*token, cursor))
    });
    (offset, cursors.collect())
}
