//! A full synchronization without a file: the snapshot is parsed as it arrives
//! (`repl-diskless-load`).
//!
//! ```text
//! on-empty-db        nothing is there: into the keyspace, -LOADING meanwhile
//! flush-before-load  everything is removed first: the same
//! swapdb             into a keyspace beside it; when all of it is there, the databases are
//!                    exchanged under the locks of all data, otherwise everything stays
//! ```
//!
//! With swapdb clients are served the old data meanwhile when it is an earlier state of the same
//! history, and get -LOADING when it is not.
//!
//! What is parsed also goes to a file, the next base of the log: to write the data again after it
//! was loaded would cost more.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use persist::ReceivedBase;

use super::follow::{FollowError, PrimaryLink, Wire};
use super::kept;
use super::receive::{self, End, MARK_BYTES, RULES, Received};
use crate::jobs::loading::{self, SIGNATURE_BYTES, Staged};
use crate::os::os_text;
use crate::server::Server;
use engine::config::{P, ReplDisklessLoad};
use engine::port::Port;
use engine::shard_tables::Keyspace;

/// The primary hears of this server at least so often while it loads, in milliseconds, as long as
/// bytes are read.
const SIGN_MS: u64 = 1_000;

/// Where the snapshot goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Into the keyspace, which is emptied first.
    Replace,
    /// Into a keyspace of its own.
    Swap,
}

impl Way {
    /// What the configuration says; `None`: the snapshot goes to a file.
    pub(super) fn chosen(server: &Server) -> Option<Self> {
        match server.engine.config.choice(P::ReplDisklessLoad) {
            ReplDisklessLoad::Disabled => None,
            ReplDisklessLoad::SwapDb => Some(Self::Swap),
            ReplDisklessLoad::FlushBeforeLoad => Some(Self::Replace),
            ReplDisklessLoad::OnEmptyDb => {
                is_empty(&server.engine.keyspace).then_some(Self::Replace)
            }
        }
    }
}

fn is_empty(keyspace: &Keyspace) -> bool {
    (0..keyspace.shard_count()).all(|number| {
        let locked = keyspace.lock_one(number);
        let shard = locked.shard_at(number);
        shard.is_none_or(|shard| shard.occupied_dbs().next().is_none())
    })
}

/// Receives and loads the snapshot that stands for this offset of this history.
pub(super) fn run(
    link: &PrimaryLink,
    wire: &mut Wire,
    end: &End,
    way: Way,
    history: (&str, u64),
) -> Result<(), FollowError> {
    match way {
        Way::Replace => replace(link, wire, end, history),
        Way::Swap => swap(link, wire, end, history),
    }
}

fn replace(
    link: &PrimaryLink,
    wire: &mut Wire,
    end: &End,
    history: (&str, u64),
) -> Result<(), FollowError> {
    let server = &*link.server;
    while wire.input.len() < SIGNATURE_BYTES {
        wire.read(link)?;
    }
    if let Err(error) = loading::check_signature(server, &wire.input) {
        let text = format!(
            "PRIMARY <-> REPLICA sync: RDB version or signature incompatible, old data preserved: {error}"
        );
        return Err(FollowError::Refused(text));
    }
    let without = receive::without_rewrites(server)?;
    receive::begin_replacing(link, None)?;
    let loaded = load(link, wire, end, None, history);
    drop(without);
    receive::signalling(wire, || match loaded {
        Ok((staged, received)) => {
            let libraries = staged.libraries(server);
            let adopted = receive::finish_replacing(link, Ok(received), |server| {
                staged.take_over(server, libraries);
            })?;
            log_base(adopted);
            Ok(())
        }
        Err(error) => {
            log::info!("PRIMARY <-> REPLICA sync: Discarding the half-loaded data");
            receive::finish_replacing(link, Err(error), |_| {}).map(|_| ())
        }
    })
}

fn log_base(adopted: Option<String>) {
    if let Some(name) = adopted {
        log::info!("The snapshot of the primary is the AOF base file: {name}");
    }
}

fn swap(
    link: &PrimaryLink,
    wire: &mut Wire,
    end: &End,
    history: (&str, u64),
) -> Result<(), FollowError> {
    let (server, engine) = (&*link.server, &link.server.engine);
    let beside = Arc::new(engine.keyspace.sibling());
    // The old data is an earlier state of the same history.
    let lacks_data = server.replication.lacks_data.load(Ordering::Acquire);
    let is_same = server.replication.histories().id == history.0 && !lacks_data;
    {
        let _locked = engine.keyspace.lock_all();
        link.check()?;
        match is_same {
            true => engine.loading.begin_async(&engine.clock),
            false => engine.loading.begin(&engine.clock),
        }
        // A command that was admitted before looks again.
        engine.admission_epoch.fetch_add(1, Ordering::AcqRel);
    }
    let loaded = load(link, wire, end, Some(&beside), history);
    let result = receive::signalling(wire, || {
        let result =
            loaded.and_then(|(staged, received)| exchange(link, &beside, staged, received));
        if result.is_ok() {
            receive::write_base(server);
        }
        result
    });
    engine.loading.end();
    server.resume();
    match &result {
        Ok(()) => {
            crate::jobs::snapshot::note_loaded(server);
            log::info!("PRIMARY <-> REPLICA sync: Discarding old DB in background");
            log::info!("PRIMARY <-> REPLICA sync: Finished with success");
        }
        Err(_) => {
            log::info!("PRIMARY <-> REPLICA sync: Discarding temporary DB in background");
        }
    }
    drop(beside);
    keyspace::memory::publish();
    result
}

/// The loaded databases take the place of the present ones.
fn exchange(
    link: &PrimaryLink,
    beside: &Keyspace,
    staged: Staged,
    received: Received<'_>,
) -> Result<(), FollowError> {
    let (server, engine) = (&*link.server, &link.server.engine);
    let _without = receive::without_rewrites(server)?;
    let libraries = staged.libraries(server);
    log::info!("PRIMARY <-> REPLICA sync: Swapping active DB with loaded DB");
    let mut locked = engine.keyspace.lock_all();
    link.check()?;
    receive::leave_history(server);
    receive::replace(server, &mut locked, |locked| {
        for shard in locked.shards_mut() {
            let number = shard.index();
            if let Some(from) = beside.lock_one(number).shard_at_mut(number) {
                shard.adopt(from);
            }
        }
    });
    staged.take_over(server, libraries);
    log_base(receive::take_over(server, received));
    engine.next_expiry_ms.store(0, Ordering::Release);
    engine.outboxes.port.get().wake_timers();
    Ok(())
}

/// Loads the snapshot as it arrives, up to its end, and keeps it as a file when the log can take it
/// as its base.
fn load<'h>(
    link: &PrimaryLink,
    wire: &mut Wire,
    end: &End,
    beside: Option<&Arc<Keyspace>>,
    history: (&'h str, u64),
) -> Result<(Staged, Received<'h>), FollowError> {
    let server = &*link.server;
    log::info!("PRIMARY <-> REPLICA sync: Loading DB in memory");
    let mut arriving = Arriving::new(link, wire, end);
    server
        .engine
        .loading
        .set_total(arriving.left.unwrap_or_default());
    let loaded = loading::load_stream(server, &mut arriving, beside.cloned(), RULES);
    let result = match loaded {
        Ok((staged, bytes)) => arriving.finish(bytes, end).map(|()| {
            let figures = &staged.figures;
            let received = Received {
                history,
                stream_db: figures.stream_db,
                base: arriving.whole_base(bytes, kept::fits(server, figures, history.1)),
            };
            (staged, received)
        }),
        Err(error) => Err(arriving
            .failed
            .take()
            .unwrap_or_else(|| FollowError::Refused(error.to_string()))),
    };
    result.inspect_err(|_| {
        log::warn!(
            "Failed trying to load the PRIMARY synchronization DB from socket, check server logs."
        );
    })
}

/// A snapshot as it arrives.
struct Arriving<'a> {
    link: &'a PrimaryLink,
    wire: &'a mut Wire,
    /// Bytes that are still to come, where the length is known.
    left: Option<u64>,
    total: Option<u64>,
    given: u64,
    /// The last bytes that were given, a mark's worth: the parser reads ahead.
    last: Vec<u8>,
    /// Why there are no more bytes.
    failed: Option<FollowError>,
    next_sign_ms: u64,
    /// Where the bytes are kept.
    base: Option<ReceivedBase>,
}

impl<'a> Arriving<'a> {
    fn new(link: &'a PrimaryLink, wire: &'a mut Wire, end: &End) -> Self {
        let total = match end {
            End::Length(len) => Some(*len),
            End::Mark(_) => None,
        };
        let next_sign_ms = link.server.engine.steady_ms() + SIGN_MS;
        Self {
            link,
            wire,
            left: total,
            total,
            given: 0,
            last: Vec::new(),
            failed: None,
            next_sign_ms,
            base: kept::base(&link.server),
        }
    }

    /// Waits for bytes.
    fn wait(&mut self) -> Result<(), FollowError> {
        while self.wire.input.is_empty() {
            self.wire.read(self.link)?;
        }
        Ok(())
    }

    fn note(&mut self, bytes: &[u8]) {
        self.given += bytes.len() as u64;
        self.keep(bytes);
        if let Some(left) = &mut self.left {
            *left -= bytes.len() as u64;
        }
        let tail = bytes.len().saturating_sub(MARK_BYTES);
        self.last
            .extend_from_slice(bytes.get(tail..).unwrap_or_default());
        let excess = self.last.len().saturating_sub(MARK_BYTES);
        self.last.drain(..excess);
        let (given, total) = (self.given, self.total);
        let replication = &self.link.server.replication;
        replication.update_following(self.link.generation, |it| {
            (it.received, it.total) = (given, total);
        });
        let steady_ms = self.link.server.engine.steady_ms();
        if steady_ms >= self.next_sign_ms {
            self.next_sign_ms = steady_ms + SIGN_MS;
            self.wire.sign_of_life();
        }
    }

    /// A disk that fails does not end the synchronization: a base is written later.
    fn keep(&mut self, bytes: &[u8]) {
        let Some(base) = &mut self.base else { return };
        if let Err(error) = base.append(bytes) {
            self.lose_base(&error);
        }
    }

    /// The first `bytes` of what was kept, durable. Nothing, when it does not fit the log.
    fn whole_base(&mut self, bytes: u64, fits: bool) -> Option<ReceivedBase> {
        let mut base = self.base.take().filter(|_| fits)?;
        let finished = receive::signalling(self.wire, || base.finish(bytes));
        if let Err(error) = finished {
            self.lose_base(&error);
            return None;
        }
        Some(base)
    }

    fn lose_base(&mut self, error: &io::Error) {
        let text = os_text(error);
        log::warn!("The snapshot of the primary cannot become the AOF base file: {text}");
        self.base = None;
    }

    /// The snapshot had so many bytes: what else was read is its mark, and the rest of it comes.
    fn finish(&mut self, bytes: u64, end: &End) -> Result<(), FollowError> {
        let ahead = usize::try_from(self.given - bytes).unwrap_or(usize::MAX);
        let End::Mark(mark) = end else {
            return match self.left == Some(0) && ahead == 0 {
                true => Ok(()),
                false => Err(FollowError::Refused(
                    "the snapshot is shorter than the primary said".to_owned(),
                )),
            };
        };
        let broken = || FollowError::Refused("Replication stream EOF marker is broken".to_owned());
        if ahead > MARK_BYTES {
            return Err(broken());
        }
        let mut found = self.last.split_off(self.last.len().saturating_sub(ahead));
        while found.len() < MARK_BYTES {
            self.wait()?;
            let count = self.wire.input.len().min(MARK_BYTES - found.len());
            found.extend(self.wire.input.drain(..count));
        }
        match found == *mark {
            true => Ok(()),
            false => Err(broken()),
        }
    }
}

impl Read for Arriving<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let left = self.left.unwrap_or(u64::MAX);
        let most = room.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        if let Err(error) = self.wait() {
            self.failed = Some(error);
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let count = self.wire.input.len().min(most);
        let bytes: Vec<u8> = self.wire.input.drain(..count).collect();
        if let Some(room) = room.get_mut(..count) {
            room.copy_from_slice(&bytes);
        }
        self.note(&bytes);
        Ok(count)
    }
}
