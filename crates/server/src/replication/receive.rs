//! A full synchronization, as the replica sees it: the snapshot goes to a file, and from there into
//! memory.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use persist::ReplicationId;
use persist::storage::{File, OpenMode};
use resp::Output;

use super::follow::{FollowError, PrimaryLink, Wire};
use crate::jobs::loading::{self, Present, Rules};
use crate::jobs::rewrite;
use crate::os::os_text;
use crate::server::Server;
use crate::state::{Following, random_u64};
use engine::config::P;
use engine::execute::{Execution, Executor, NO_WORKER, primary_session};
use engine::shard_tables::Locked;

/// Digits of the mark at the end of a snapshot of unknown length.
const MARK_BYTES: usize = 40;

/// Time between two looks whether the snapshot has been loaded.
const NAP: std::time::Duration = std::time::Duration::from_millis(10);
/// The primary hears of this server every second while it loads.
const NAPS_PER_SIGN: u32 = 100;

/// How the end of the snapshot is found.
enum End {
    /// After so many bytes.
    Length(u64),
    /// Behind these bytes.
    Mark(Vec<u8>),
}

/// A file that goes away when it is not needed any more.
struct Received {
    server: Arc<Server>,
    path: PathBuf,
}

impl Drop for Received {
    fn drop(&mut self) {
        if let Err(error) = self.server.snapshots.storage.remove(&self.path) {
            log::warn!("Removing {}: {}", self.path.display(), os_text(&error));
        }
    }
}

/// Receives and loads the snapshot that stands for this offset of this history.
pub(super) fn run(
    link: &PrimaryLink,
    wire: &mut Wire,
    id: &str,
    offset: u64,
) -> Result<(), FollowError> {
    let end = announced_end(link, wire)?;
    let name = format!("temp-{}-{}.rdb", link.server.identity.pid, random_u64());
    let received = Received {
        server: Arc::clone(&link.server),
        path: link.server.engine.config.dir().join(name),
    };
    save(link, wire, &end, &received)?;
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| load(link, &received, id, offset));
        let mut naps = 0;
        while !loading.is_finished() {
            std::thread::sleep(NAP);
            naps += 1;
            if naps % NAPS_PER_SIGN == 0 {
                wire.sign_of_life();
            }
        }
        match loading.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn announced_end(link: &PrimaryLink, wire: &mut Wire) -> Result<End, FollowError> {
    let line = wire.line(link)?;
    let unknown = || {
        let line = String::from_utf8_lossy(&line);
        FollowError::Refused(format!(
            "Bad protocol from PRIMARY, the first byte is not '$' (we received '{line}'), are you sure the host and port are right?"
        ))
    };
    let text = line.strip_prefix(b"$").ok_or_else(unknown)?;
    if let Some(mark) = text.strip_prefix(b"EOF:") {
        if mark.len() != MARK_BYTES {
            return Err(unknown());
        }
        log::info!(
            "PRIMARY <-> REPLICA sync: receiving streamed RDB from primary with EOF to disk"
        );
        return Ok(End::Mark(mark.to_vec()));
    }
    let len = resp::number::parse_i64(text).and_then(|len| u64::try_from(len).ok());
    let len = len.ok_or_else(unknown)?;
    log::info!("PRIMARY <-> REPLICA sync: receiving {len} bytes from primary to disk");
    Ok(End::Length(len))
}

/// Writes the snapshot into its file.
fn save(
    link: &PrimaryLink,
    wire: &mut Wire,
    end: &End,
    received: &Received,
) -> Result<(), FollowError> {
    let storage = &link.server.snapshots.storage;
    let file = storage.open(&received.path, OpenMode::Create)?;
    let replication = &link.server.replication;
    let total = match end {
        End::Length(len) => Some(*len),
        End::Mark(_) => None,
    };
    let progress = |bytes: u64| {
        replication.update_following(link.generation, |it: &mut Following| {
            (it.received, it.total) = (bytes, total);
        });
    };
    let mut written = 0;
    progress(0);
    loop {
        let ready = match end {
            End::Length(len) => wire.input.len().min((len - written) as usize),
            // The mark may have come in part.
            End::Mark(_) => wire.input.len().saturating_sub(MARK_BYTES),
        };
        append(&*file, wire.input.get(..ready).unwrap_or_default())?;
        wire.input.drain(..ready);
        written += ready as u64;
        progress(written);
        let is_whole = match end {
            End::Length(len) => written == *len,
            // Nothing of the stream follows before the first acknowledgement.
            End::Mark(mark) => wire.input == *mark,
        };
        if is_whole {
            if let End::Mark(_) = end {
                wire.input.clear();
            }
            return Ok(());
        }
        wire.read(link)?;
    }
}

fn append(file: &dyn File, mut bytes: &[u8]) -> Result<(), FollowError> {
    while !bytes.is_empty() {
        let taken = file.append(bytes)?;
        if taken == 0 {
            return Err(FollowError::Io(std::io::ErrorKind::WriteZero.into()));
        }
        bytes = bytes.get(taken..).unwrap_or_default();
    }
    Ok(())
}

/// Replaces the data by that of the file. Commands on data are refused meanwhile.
fn load(link: &PrimaryLink, received: &Received, id: &str, offset: u64) -> Result<(), FollowError> {
    let server = &*link.server;
    let head = loading::check_head(server, &received.path);
    head.map_err(|error| FollowError::Refused(format!("the snapshot is not readable: {error}")))?;
    let _without = rewrite::WithoutRewrites::new(server)
        .map_err(|error| FollowError::Refused(error_text(&error)))?;
    log::info!("PRIMARY <-> REPLICA sync: Flushing old data");
    {
        let mut locked = server.engine.keyspace.lock_all();
        link.check()?;
        server.engine.loading.begin(&server.engine.clock);
        // A command that was admitted before looks again, and is refused.
        server.engine.admission_epoch.fetch_add(1, Ordering::AcqRel);
        // What is in the files is not what is in memory any more.
        server.engine.log.disable();
        server.engine.log.close_stream();
        empty(server, &mut locked);
    }
    log::info!("PRIMARY <-> REPLICA sync: Loading DB in memory");
    let rules = Rules {
        // The stream removes what has expired.
        drop_expired: false,
        goes_on: None,
        present: Present::Refuse,
    };
    let loaded = loading::load_snapshot(server, &received.path, None, rules);
    let mut locked = server.engine.keyspace.lock_all();
    let result = match (loaded, link.check()) {
        (_, Err(error)) => Err(error),
        (Ok(figures), Ok(())) => {
            take_over(server, id, offset, figures.stream_db);
            Ok(())
        }
        (Err(error), Ok(())) => {
            empty(server, &mut locked);
            let reason = format!("Failed trying to load the PRIMARY synchronization DB: {error}");
            Err(FollowError::Refused(reason))
        }
    };
    drop(locked);
    server.engine.loading.end();
    crate::jobs::snapshot::note_loaded(server);
    result.inspect(|()| log::info!("PRIMARY <-> REPLICA sync: Finished with success"))
}

/// The data is that of the primary at this offset. A log begins anew by the timers, as after
/// CONFIG SET appendonly yes.
fn take_over(server: &Server, id: &str, offset: u64, stream_db: Option<u32>) {
    let log = &server.engine.log;
    log.set_stream_offset(offset, stream_db);
    server.replication.join_history(id, None);
    if let Some(id) = ReplicationId::parse(id.as_bytes()) {
        log.set_replication_id(id);
    }
    log.open_stream(server.engine.config.int(P::ReplBacklogSize).max(0) as u64);
}

/// Removes everything, and tells those who listen.
fn empty(server: &Server, locked: &mut Locked<'_>) {
    let engine = &server.engine;
    let mut exec = Executor::new(engine, server.handlers, NO_WORKER);
    let mut session = primary_session(engine);
    let mut out = Output::new();
    let mut execution = Execution {
        exec: &mut exec,
        engine,
        session: &mut session,
        out: &mut out,
        right: None,
        turn: None,
    };
    let how: &[u8] = match engine.config.bool(P::ReplicaLazyFlush) {
        true => b"ASYNC",
        false => b"SYNC",
    };
    execution.empty(&[b"FLUSHALL", how], locked);
}

fn error_text(error: &engine::error::CommandError) -> String {
    String::from_utf8_lossy(&error.text()).into_owned()
}
