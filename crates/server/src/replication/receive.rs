//! A full synchronization, as the replica sees it: the snapshot goes to a file, and from there into
//! memory, or with `repl-diskless-load` straight into memory.
//!
//! The log has the new data before the first acknowledgement leaves: what the primary counts as
//! being here, a crash does not take away.

use std::sync::atomic::Ordering;
use std::time::Duration;

use persist::{ReceivedBase, ReplicationId};
use resp::Output;

use super::diskless;
use super::follow::{FollowError, PrimaryLink, Wire};
use super::kept::{self, Kept};
use crate::jobs::loading::{self, Figures, Present, Rules};
use crate::jobs::{rewrite, snapshot};
use crate::server::Server;
use crate::state::Following;
use engine::config::P;
use engine::execute::{Execution, Executor, NO_WORKER, primary_session};
use engine::scripts::Libraries;
use engine::shard_tables::Locked;

/// Digits of the mark at the end of a snapshot of unknown length.
pub(super) const MARK_BYTES: usize = 40;

/// Time between two looks whether the snapshot has been loaded.
const NAP: Duration = Duration::from_millis(10);
/// The primary hears of this server every second while it loads.
const NAPS_PER_SIGN: u32 = 100;
/// Another snapshot that is under way is waited for so long before a base is written.
const PATIENCE: Duration = Duration::from_secs(10);
/// So often a snapshot of the old data is cancelled before a synchronization fails for it.
const CANCELS_MAX: u32 = 10;

/// How the end of the snapshot is found.
pub(super) enum End {
    /// After so many bytes.
    Length(u64),
    /// Behind these bytes.
    Mark(Vec<u8>),
}

/// What is loaded, and the place that it stands for.
pub(super) struct Received<'a> {
    /// Replication id and stream offset.
    pub(super) history: (&'a str, u64),
    /// The database that is selected in the stream there, when it is known.
    pub(super) stream_db: Option<u32>,
    /// The same data as a file, which becomes the base of the log.
    pub(super) base: Option<ReceivedBase>,
}

/// Receives and loads the snapshot that stands for this offset of this history.
pub(super) fn run(
    link: &PrimaryLink,
    wire: &mut Wire,
    id: &str,
    offset: u64,
) -> Result<(), FollowError> {
    let way = diskless::Way::chosen(&link.server);
    let end = announced_end(link, wire, way.map_or("disk", |_| "parser"))?;
    if let Some(way) = way {
        return diskless::run(link, wire, &end, way, (id, offset));
    }
    let mut kept = Kept::create(&link.server)?;
    let len = save(link, wire, &end, &mut kept)?;
    signalling(wire, || {
        kept.finish(len)?;
        load(link, kept, id, offset)
    })
}

/// Does what takes long, while the primary hears that this server is busy and not gone.
pub(super) fn signalling<T: Send>(wire: &mut Wire, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let working = scope.spawn(work);
        let mut naps = 0;
        while !working.is_finished() {
            std::thread::sleep(NAP);
            naps += 1;
            if naps % NAPS_PER_SIGN == 0 {
                wire.sign_of_life();
            }
        }
        match working.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn announced_end(link: &PrimaryLink, wire: &mut Wire, to: &str) -> Result<End, FollowError> {
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
            "PRIMARY <-> REPLICA sync: receiving streamed RDB from primary with EOF to {to}"
        );
        return Ok(End::Mark(mark.to_vec()));
    }
    let len = resp::number::parse_i64(text).and_then(|len| u64::try_from(len).ok());
    let len = len.ok_or_else(unknown)?;
    log::info!("PRIMARY <-> REPLICA sync: receiving {len} bytes from primary to {to}");
    Ok(End::Length(len))
}

/// Writes the snapshot into its file. Returns its length in bytes.
fn save(
    link: &PrimaryLink,
    wire: &mut Wire,
    end: &End,
    kept: &mut Kept,
) -> Result<u64, FollowError> {
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
        kept.append(wire.input.get(..ready).unwrap_or_default())?;
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
            return Ok(written);
        }
        wire.read(link)?;
    }
}

/// Replaces the data by that of the file. Commands on data are refused meanwhile.
fn load(link: &PrimaryLink, mut kept: Kept, id: &str, offset: u64) -> Result<(), FollowError> {
    let server = &*link.server;
    let head = loading::check_head(server, kept.path());
    head.map_err(|error| FollowError::Refused(format!("the snapshot is not readable: {error}")))?;
    let without = without_rewrites(server)?;
    begin_replacing(link, Some(&mut kept))?;
    log::info!("PRIMARY <-> REPLICA sync: Loading DB in memory");
    let loaded = loading::load_snapshot(server, kept.path(), None, RULES);
    let loaded = loaded.map_err(|error| {
        let reason = format!("Failed trying to load the PRIMARY synchronization DB: {error}");
        FollowError::Refused(reason)
    });
    drop(without);
    let received = loaded.map(|figures: Figures| Received {
        history: (id, offset),
        stream_db: figures.stream_db,
        base: kept
            .into_base()
            .filter(|_| kept::fits(server, &figures, offset)),
    });
    let adopted = finish_replacing(link, received, |_| {})?;
    if let Some(name) = adopted {
        log::info!("Reused RDB file from primary sync as AOF base file: {name}");
    }
    Ok(())
}

/// How the snapshot of a primary is loaded.
pub(super) const RULES: Rules = Rules {
    // The stream removes what has expired.
    drop_expired: false,
    goes_on: None,
    present: Present::Refuse,
};

/// Called without locks.
pub(super) fn without_rewrites(
    server: &Server,
) -> Result<rewrite::WithoutRewrites<'_>, FollowError> {
    rewrite::WithoutRewrites::new(server).map_err(|error| {
        let text = String::from_utf8_lossy(&error.text()).into_owned();
        FollowError::Refused(text)
    })
}

/// Removes all data. Commands on data are refused from now on. Without a log the file takes the
/// place of the snapshot of the server before.
pub(super) fn begin_replacing(
    link: &PrimaryLink,
    kept: Option<&mut Kept>,
) -> Result<(), FollowError> {
    let engine = &link.server.engine;
    let mut locked = match kept {
        Some(Kept::Dump(dump)) => {
            let locked = without_saves(&link.server)?;
            link.check()?;
            dump.replace_snapshot()?;
            locked
        }
        _ => engine.keyspace.lock_all(),
    };
    log::info!("PRIMARY <-> REPLICA sync: Flushing old data");
    link.check()?;
    engine.loading.begin(&engine.clock);
    let lacks_data = &link.server.replication.lacks_data;
    lacks_data.store(true, Ordering::Release);
    leave_history(&link.server);
    empty(&link.server, &mut locked);
    engine.scripts.set_libraries(Libraries::default());
    Ok(())
}

/// Locks all data while no snapshot of it is being written to `dbfilename`, which would take the
/// place of the file that was received.
fn without_saves(server: &Server) -> Result<Locked<'_>, FollowError> {
    for _ in 0..CANCELS_MAX {
        let locked = server.engine.keyspace.lock_all();
        if !snapshot::cancel_save(server) {
            return Ok(locked);
        }
        drop(locked);
        log::info!(
            "Replica is about to load the RDB file received from the primary, but there is a pending snapshot. Cancelling it."
        );
        server.snapshots.wait_for_end(PATIENCE);
    }
    Err(FollowError::Refused(
        "a snapshot of the old data does not end".to_owned(),
    ))
}

/// What is in the files is not what is in memory any more. Called under the locks of all data.
pub(super) fn leave_history(server: &Server) {
    let engine = &server.engine;
    // A command that was admitted before looks again.
    engine.admission_epoch.fetch_add(1, Ordering::AcqRel);
    engine.log.disable();
    engine.log.close_stream();
}

/// The data is loaded, or it is not, and removed. Returns the name of the base of the log, when
/// the received file is that now.
pub(super) fn finish_replacing(
    link: &PrimaryLink,
    received: Result<Received<'_>, FollowError>,
    then: impl FnOnce(&Server),
) -> Result<Option<String>, FollowError> {
    let server = &*link.server;
    let mut locked = server.engine.keyspace.lock_all();
    let result = match (received, link.check()) {
        (_, Err(error)) => Err(error),
        (Ok(received), Ok(())) => {
            let adopted = take_over(server, received);
            then(server);
            Ok(adopted)
        }
        (Err(error), Ok(())) => {
            empty(server, &mut locked);
            Err(error)
        }
    };
    drop(locked);
    if result.is_ok() {
        write_base(server);
    }
    server.engine.loading.end();
    snapshot::note_loaded(server);
    result.inspect(|_| log::info!("PRIMARY <-> REPLICA sync: Finished with success"))
}

/// The data is that of the primary at this place, and the log goes on behind it. Returns the name
/// of its base, when the received file is that now. Called under the locks of all data.
pub(super) fn take_over(server: &Server, received: Received<'_>) -> Option<String> {
    let (log, config) = (&server.engine.log, &server.engine.config);
    let (id, offset) = received.history;
    log.set_stream_offset(offset, received.stream_db);
    server.replication.join_history(id, None);
    if let Some(id) = ReplicationId::parse(id.as_bytes()) {
        log.set_replication_id(id);
    }
    // The parameter may have changed since the file was begun.
    let is_logged = config.bool(P::AppendOnly);
    let adopted = received.base.filter(|_| is_logged).and_then(|base| {
        let adopted = log.adopt_base(base);
        adopted
            .inspect_err(|error| {
                log::warn!("The snapshot of the primary is not the AOF base file: {error}");
            })
            .ok()
    });
    let replication = &server.replication;
    let awaits_base = is_logged && adopted.is_none();
    replication
        .awaits_base
        .store(awaits_base, Ordering::Release);
    replication.lacks_data.store(false, Ordering::Release);
    log.open_stream(config.int(P::ReplBacklogSize).max(0) as u64);
    adopted
}

/// Writes a base when the received file is none. When that fails, the timers try again, and nothing
/// is acknowledged before ([`Server::awaits_base`]). Called without locks; clients are refused
/// still, so that no promotion comes between.
pub(super) fn write_base(server: &Server) {
    if !server.awaits_base() {
        return;
    }
    let mut written = rewrite::new_base(server);
    if written.is_err() && server.snapshots.is_busy() {
        server.snapshots.wait_for_end(PATIENCE);
        written = rewrite::new_base(server);
    }
    if let Err(reason) = written {
        log::warn!(
            "The AOF has no base with the data of the primary yet: {reason}. This replica acknowledges nothing before."
        );
    }
}

/// Removes everything, and announces that.
fn empty(server: &Server, locked: &mut Locked<'_>) {
    replace(server, locked, |_| {});
}

/// Removes everything, lets `fill` move other data in, and announces both.
pub(super) fn replace(
    server: &Server,
    locked: &mut Locked<'_>,
    fill: impl FnOnce(&mut Locked<'_>),
) {
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
    execution.replace(&[b"FLUSHALL", how], locked, fill);
}
