//! The thread that feeds all replicas.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::{Events, Poll, Token, Waker};
use persist::rdb::Version;
use persist::storage::File;
use persist::{ReplicationId, StreamCursor};

use super::link::{Fed, Feed, KeptFeed, Link, LinkError};
use super::sendable;
use crate::jobs::snapshot::{ForReplicas, for_replicas};
use crate::os::os_text;
use crate::server::Server;
use crate::state::{FEEDER, Job, Mail, Purpose, SnapshotFile};
use crate::transport::connection::Connection;
use engine::client::flag;
use engine::config::{ClientClass, Config, P};
use engine::execute::{blocking, panic_text};
use engine::replicas::{Replica, ReplicaSetup, SnapshotFilter, SyncState};

/// The token of the waker.
const WAKE: Token = Token(usize::MAX);
/// Time between two looks at timers.
const TICK: Duration = Duration::from_millis(100);

/// Bytes of the stream that are always sent from the files of the log rather than a snapshot; else
/// not more of them than memory is used, which a snapshot would send.
const KEPT_MAX: u64 = 64 << 20;

const ONLY_OURS: &str = "the stream holds commands that only Lodestore understands";

/// Time between two looks at a file that is being written.
const GROWING_TICK: Duration = Duration::from_millis(5);

/// Starts the thread.
///
/// # Errors
/// The system gives no poll or no thread.
pub(super) fn start(server: &Arc<Server>) -> io::Result<()> {
    let poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), WAKE)?;
    let server = Arc::clone(server);
    server.replication.attach(waker);
    let mut feeder = Feeder {
        poll,
        links: Vec::new(),
        parked: Vec::new(),
        syncing: None,
        next_tick_ms: 0,
        pinged_ms: server.engine.steady_ms(),
        alone_since_ms: None,
        stopping_since_ms: None,
        server: Arc::clone(&server),
    };
    let thread = std::thread::Builder::new()
        .name("replicas".to_owned())
        .spawn(move || feeder.guard())?;
    server.replication.set_thread(thread);
    Ok(())
}

/// After a snapshot was sent on a connection of its own that has ended, the stream behind it is
/// kept for so long, as in Valkey.
const GRACE_MS: u64 = 60_000;

/// The stream behind a snapshot, which the replica has not asked for yet.
struct Parked {
    /// The client id of the connection that the snapshot was sent on.
    id: u64,
    /// Keeps it in memory.
    _cursor: StreamCursor,
    until_ms: u64,
}

/// A snapshot for replicas that is under way.
struct Syncing {
    /// Tokens of the replicas that share it.
    tokens: Vec<usize>,
}

struct Feeder {
    server: Arc<Server>,
    poll: Poll,
    links: Vec<Option<Link>>,
    parked: Vec<Parked>,
    syncing: Option<Syncing>,
    next_tick_ms: u64,
    /// When the last PING was sent: a change of its period holds at once.
    pinged_ms: u64,
    /// Since when there is no replica, while the stream is kept.
    alone_since_ms: Option<u64>,
    /// Since when the server ends.
    stopping_since_ms: Option<u64>,
}

impl Feeder {
    /// Runs; a panic disconnects all replicas, which synchronize again.
    fn guard(&mut self) {
        loop {
            let result = catch_unwind(AssertUnwindSafe(|| self.run()));
            match result {
                Ok(Ok(())) => break,
                Ok(Err(error)) => {
                    log::error!("The poll of the replicas failed: {}", os_text(&error));
                    std::thread::sleep(TICK);
                }
                Err(panic) => log::error!(
                    "A panic while feeding replicas: {}. All of them are disconnected.",
                    panic_text(panic.as_ref())
                ),
            }
            self.syncing = None;
            self.close_all("the thread of the replicas failed");
        }
        self.close_all("the server ends");
    }

    fn run(&mut self) -> io::Result<()> {
        let server = Arc::clone(&self.server);
        let mut events = Events::with_capacity(128);
        let mut has_more = false;
        loop {
            let is_growing = self.links.iter().flatten().any(Link::is_growing);
            let timeout = match has_more {
                true => Duration::ZERO,
                false if is_growing => GROWING_TICK,
                false => TICK,
            };
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let steady_ms = server.engine.steady_ms();
            for mail in server.replication.drain() {
                self.receive(mail, steady_ms);
            }
            let mut heard = false;
            for event in &events {
                heard |= self.note(event, steady_ms);
            }
            if heard {
                blocking::serve_acknowledged(&server.engine);
                super::failover::check(&server, steady_ms);
                super::hasten_shutdown(&server);
            }
            // The offset of a failover stands still.
            if !server.engine.is_paused() && server.engine.replicas.take_asks() && self.has_online()
            {
                let request: [&[u8]; 3] = [b"REPLCONF", b"GETACK", b"*"];
                server.engine.append_to_stream(&request);
            }
            has_more = self.feed_all();
            if steady_ms >= self.next_tick_ms {
                self.next_tick_ms = steady_ms + TICK.as_millis() as u64;
                self.tick(steady_ms);
            }
            if self.may_end(steady_ms) {
                return Ok(());
            }
        }
    }

    fn receive(&mut self, mail: Mail, steady_ms: u64) {
        match mail {
            Mail::Adopt(connection) => self.adopt(connection, steady_ms),
            Mail::Begun {
                offset,
                stream_db,
                cursors,
            } => {
                let id = self.server.replication.histories().id;
                let tokens = self.syncing.as_ref().map(|it| it.tokens.clone());
                let tokens = tokens.unwrap_or_default();
                for (token, cursor) in cursors {
                    if tokens.contains(&token)
                        && let Some(link) = self.link(token)
                    {
                        link.feed = Feed::Snapshot(Some(cursor));
                    }
                }
                for token in tokens {
                    let Some(link) = self.link(token) else {
                        continue;
                    };
                    if matches!(link.feed, Feed::Waits) {
                        link.feed = Feed::Snapshot(None);
                    }
                    link.replica.set_state(SyncState::SnapshotRuns);
                    link.since_ms = steady_ms;
                    link.begin_snapshot(&id, offset, stream_db);
                }
            }
            Mail::Growing(file) => self.send_growing(&file, steady_ms),
            Mail::Sleep(duration) => std::thread::sleep(duration),
            Mail::Disconnect => self.close_all("the role of this server has changed"),
            Mail::Written(result) => self.written(result, steady_ms),
        }
    }

    fn link(&mut self, token: usize) -> Option<&mut Link> {
        self.links.get_mut(token)?.as_mut()
    }

    // ---- connections -------------------------------------------------------------------------

    fn adopt(&mut self, mut connection: Box<Connection>, steady_ms: u64) {
        let server = Arc::clone(&self.server);
        let session = &mut connection.session;
        blocking::unblock(&server.engine, session);
        session.shared.wait.end();
        let Some(request) = session.sync.take() else {
            return server.end(connection);
        };
        let setup = session.replica.as_deref().cloned().unwrap_or_default();
        let shared = Arc::clone(&session.shared);
        shared.worker.store(FEEDER, Ordering::Release);
        shared.set_class(ClientClass::Replica);
        let flags = session.flag_bits() | flag::REPLICA;
        shared.figures.flags.store(flags, Ordering::Relaxed);
        let token = self.links.iter().position(Option::is_none);
        let token = token.unwrap_or_else(|| {
            self.links.push(None);
            self.links.len() - 1
        });
        let registry = self.poll.registry();
        if let Err(error) = connection.stream.register(registry, Token(token)) {
            log::warn!("Registering the socket of a replica: {}", os_text(&error));
            return server.end(connection);
        }
        if server.engine.config.bool(P::ReplDisableTcpNodelay) {
            connection.stream.delay_small_writes();
        }
        log::info!("Replica {} asks for synchronization", shared.addr);
        let replica = Arc::new(Replica::new(shared, setup, steady_ms));
        server.engine.replicas.add(&replica);
        self.alone_since_ms = None;
        let mut link = Link::new(connection, replica, *request, steady_ms);
        if link.replica.setup.rdb_channel {
            let id = link.replica.client.id;
            server.replication.add_rdb_client(id);
        }
        if !self.resume(&mut link) {
            if self.syncing.is_some() {
                log::info!("Current BGSAVE has socket target. Waiting for next BGSAVE for SYNC");
            }
            server.replication.full.fetch_add(1, Ordering::Relaxed);
            if link
                .request
                .resume
                .as_ref()
                .is_some_and(|(id, _)| id != b"?")
            {
                server.replication.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
        if let Some(slot) = self.links.get_mut(token) {
            *slot = Some(link);
        }
        // Whatever arrived before the registration raises no event.
        self.hear(token, steady_ms);
    }

    /// Lets a replica go on where it was. False when it needs everything.
    fn resume(&mut self, link: &mut Link) -> bool {
        let server = Arc::clone(&self.server);
        let (setup, address) = (&link.replica.setup, &link.replica.client.addr);
        let resume = link.request.resume.as_ref();
        let Some((feed, next)) = continuation(&server, setup, address, resume) else {
            return false;
        };
        let id = server.replication.histories().id;
        let line = match setup.psync2 {
            true => format!("+CONTINUE {id}\r\n"),
            false => "+CONTINUE\r\n".to_owned(),
        };
        log::info!(
            "Partial resynchronization request from {address} accepted. Sending bytes of backlog starting from offset {next}."
        );
        let apart = setup.rdb_client;
        let loads_apart = apart.is_some_and(|id| server.replication.is_rdb_client(id));
        link.line(&line);
        link.feed = feed;
        link.replica.set_state(match loads_apart {
            true => SyncState::LoadsApart,
            false => SyncState::Online,
        });
        if let Some(apart) = apart {
            self.unpark(apart);
        }
        server.replication.partial.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Notes an event; true when a replica has acknowledged anything.
    fn note(&mut self, event: &mio::event::Event, steady_ms: u64) -> bool {
        let token = event.token();
        token != WAKE && event.is_readable() | event.is_read_closed() | event.is_error() && {
            self.hear(token.0, steady_ms)
        }
    }

    fn hear(&mut self, token: usize, steady_ms: u64) -> bool {
        let Some(link) = self.links.get_mut(token).and_then(Option::as_mut) else {
            return false;
        };
        match link.hear(&self.server.engine.commands, steady_ms) {
            Ok(heard) => heard,
            Err(error) => {
                self.close(token, &error.to_string());
                false
            }
        }
    }

    fn close(&mut self, token: usize, reason: &str) {
        let Some(mut link) = self.links.get_mut(token).and_then(Option::take) else {
            return;
        };
        log::warn!(
            "Connection with replica {} lost: {reason}.",
            link.replica.client.addr
        );
        if let Err(error) = link.connection.stream.deregister(self.poll.registry()) {
            log::debug!("Deregistering a replica: {error}");
        }
        self.server.engine.replicas.remove(&link.replica);
        self.park(&mut link);
        self.server.end(link.connection);
        self.leave_snapshot(token);
        super::hasten_shutdown(&self.server);
    }

    /// The link has gone, and another one may get its place: the snapshot under way is not for
    /// that. It ends when the last replica that it is written for has gone.
    fn leave_snapshot(&mut self, token: usize) {
        let Some(syncing) = &mut self.syncing else {
            return;
        };
        syncing.tokens.retain(|its| *its != token);
        if !syncing.tokens.is_empty() {
            return;
        }
        if let Some(job) = self.server.snapshots.current()
            && job.purpose == Purpose::Sync
        {
            log::info!("The last replica that waits for the snapshot has gone: it is cancelled");
            job.cancel();
        }
    }

    fn close_all(&mut self, reason: &str) {
        for token in 0..self.links.len() {
            self.close(token, reason);
        }
    }

    /// Any replica is sent the stream.
    fn has_online(&self) -> bool {
        let mut links = self.links.iter().flatten();
        links.any(|link| {
            matches!(
                link.replica.state(),
                SyncState::Online | SyncState::LoadsApart
            )
        })
    }

    // ---- snapshots on a connection of their own ----------------------------------------------

    /// The connection of a snapshot has ended. When all of it was sent, the stream behind it stays
    /// for a while.
    fn park(&mut self, link: &mut Link) {
        let id = link.replica.client.id;
        if !link.replica.setup.rdb_channel || !self.server.replication.is_rdb_client(id) {
            return;
        }
        let is_sent = matches!(link.feed, Feed::SentApart(_));
        match link.take_kept().filter(|_| is_sent) {
            Some(cursor) => self.parked.push(Parked {
                id,
                _cursor: cursor,
                until_ms: self.server.engine.steady_ms() + GRACE_MS,
            }),
            None => self.server.replication.remove_rdb_client(id),
        }
    }

    /// The stream behind a snapshot is followed, or not kept any more.
    fn unpark(&mut self, id: u64) {
        self.server.replication.remove_rdb_client(id);
        self.parked.retain(|parked| parked.id != id);
        let mut links = self.links.iter_mut().flatten();
        if let Some(link) = links.find(|link| link.replica.client.id == id) {
            drop(link.take_kept());
        }
    }

    fn expire_parked(&mut self, steady_ms: u64) {
        let over = self.parked.iter().find(|it| it.until_ms <= steady_ms);
        if let Some(id) = over.map(|parked| parked.id) {
            log::warn!(
                "Dual channel replication: Replica main channel failed to establish PSYNC within the grace period ({} seconds). Freeing RDB client {id}.",
                GRACE_MS / 1000
            );
            self.unpark(id);
        }
    }

    /// Sends to every replica what its socket takes. Returns whether there is more.
    fn feed_all(&mut self) -> bool {
        let server = Arc::clone(&self.server);
        let (to, released) = (sendable(&server), server.engine.log.acknowledged());
        let mut has_more = false;
        for token in 0..self.links.len() {
            let Some(link) = self.link(token) else {
                continue;
            };
            if link.connection.session.shared.kill.load(Ordering::Acquire) {
                self.close(token, "it was killed");
                continue;
            }
            let plain = match link.replica.setup.is_foreign() {
                true => link
                    .stream_offset()
                    .and_then(|offset| server.engine.replicas.plain_until(offset)),
                false => None,
            };
            if plain.is_some_and(|until| link.has_been_sent(until)) {
                self.close(token, ONLY_OURS);
                continue;
            }
            let to = plain.map_or(to, |until| to.min(until));
            let fed = link.feed(to, released);
            let sent = std::mem::take(&mut link.sent_bytes);
            let total = &server.engine.replicas.net_output_bytes;
            total.fetch_add(sent, Ordering::Relaxed);
            match fed {
                Ok(Fed::All | Fed::Blocked) => {}
                Ok(Fed::More) => has_more = true,
                Ok(Fed::Close) => self.close(token, "it has got what it asked for"),
                Err(error) => {
                    if matches!(error, LinkError::Lost(_)) {
                        server.replication.lost.fetch_add(1, Ordering::Relaxed);
                    }
                    self.close(token, &error.to_string());
                }
            }
        }
        has_more
    }

    // ---- timers ------------------------------------------------------------------------------

    fn tick(&mut self, steady_ms: u64) {
        let engine = &self.server.engine;
        let lag_s = engine.config.int(P::MinReplicasMaxLag).max(0) as u64;
        engine.replicas.count_good(lag_s, steady_ms);
        let period_ms = engine.config.int(P::ReplPingReplicaPeriod).max(1) as u64 * 1000;
        if self.has_online() && steady_ms >= self.pinged_ms + period_ms {
            self.pinged_ms = steady_ms;
            if !engine.is_paused() {
                engine.append_to_stream(&[b"PING"]);
            }
        }
        super::failover::check(&self.server, steady_ms);
        self.check_links(steady_ms, period_ms);
        self.expire_parked(steady_ms);
        self.begin_snapshot(steady_ms);
        self.drop_backlog(steady_ms);
    }

    /// Signs of life for those who wait, and the end of those who are silent or too slow.
    fn check_links(&mut self, steady_ms: u64, period_ms: u64) {
        let server = Arc::clone(&self.server);
        let timeout_ms = server.engine.config.int(P::ReplTimeout).max(1) as u64 * 1000;
        let soft = server
            .engine
            .config
            .output_limits()
            .of(ClientClass::Replica);
        let end = server.engine.log.stream_offset();
        for token in 0..self.links.len() {
            let Some(link) = self.link(token) else {
                continue;
            };
            let waits = matches!(link.feed, Feed::Waits | Feed::Snapshot(_));
            if waits && steady_ms >= link.sent_ms + period_ms {
                link.sent_ms = steady_ms;
                link.line("\n");
            }
            if soft.soft == 0 || link.unread(end) <= soft.soft {
                link.over_soft_ms = 0;
            } else if link.over_soft_ms == 0 {
                link.over_soft_ms = steady_ms;
            }
            let is_slow =
                link.over_soft_ms > 0 && steady_ms - link.over_soft_ms > soft.soft_seconds * 1000;
            let has_all = link.replica.state() == SyncState::Online
                || matches!(link.feed, Feed::AwaitsAck(_));
            let is_silent = has_all
                && !link.request.is_old
                && steady_ms.saturating_sub(link.replica.heard_ms().max(link.since_ms))
                    > timeout_ms;
            if is_slow {
                server.replication.lost.fetch_add(1, Ordering::Relaxed);
                self.close(
                    token,
                    "it left more of the stream unread than client-output-buffer-limit allows",
                );
            } else if is_silent {
                self.close(token, "it was silent for repl-timeout");
            }
        }
    }

    /// Begins a snapshot for the replicas that wait for one, all that can share it.
    fn begin_snapshot(&mut self, steady_ms: u64) {
        let server = Arc::clone(&self.server);
        if self.syncing.is_some() || server.shutdown.is_requested() {
            return;
        }
        // What is there is not the data of any history.
        let lacks_data = server.replication.lacks_data.load(Ordering::Acquire);
        if lacks_data || server.engine.loading.is_active() {
            return;
        }
        let waiting = |link: &&Link| matches!(link.feed, Feed::Waits);
        let Some(first) = self.links.iter().flatten().find(waiting) else {
            return;
        };
        let config = &server.engine.config;
        let wanted = requirements(config, &first.replica.setup);
        let foreign = first.replica.setup.is_foreign();
        let fits = |link: &Link| {
            matches!(link.feed, Feed::Waits)
                && requirements(config, &link.replica.setup) == wanted
                && link.replica.setup.is_foreign() == foreign
        };
        let group: Vec<(usize, &Link)> = (0..)
            .zip(&self.links)
            .filter_map(|(token, link)| Some((token, link.as_ref()?)))
            .filter(|(_, link)| fits(link))
            .collect();
        if !is_time(&server, &group, steady_ms) {
            return;
        }
        // The next look is in 100 ms when another snapshot is under way.
        let Some(job) = server.snapshots.claim(Purpose::Sync, steady_ms) else {
            return;
        };
        let followers = group
            .iter()
            .filter(|(_, link)| link.replica.setup.gets_stream())
            .map(|(token, _)| *token)
            .collect();
        let tokens = group.iter().map(|(token, _)| *token).collect();
        let wanted = ForReplicas {
            versions: wanted.0,
            filter: wanted.1,
            foreign,
            followers,
        };
        log::info!("Starting a snapshot for replicas");
        if let Err(error) = spawn(&server, job, wanted) {
            log::warn!("No thread for a snapshot: {}", os_text(&error));
            return;
        }
        self.syncing = Some(Syncing { tokens });
    }

    /// With `repl-diskless-sync` replicas that find the end by a mark get the snapshot while it is
    /// being written.
    fn send_growing(&mut self, file: &Arc<dyn File>, steady_ms: u64) {
        let is_diskless = self.server.engine.config.bool(P::ReplDisklessSync);
        let tokens = self.syncing.as_ref().map(|it| it.tokens.clone());
        for token in tokens.unwrap_or_default() {
            if let Some(link) = self.link(token)
                && link.replica.setup.eof
                && (is_diskless || link.replica.setup.rdb_channel)
            {
                link.begin_growing(Arc::clone(file), steady_ms);
            }
        }
    }

    fn written(&mut self, result: Result<SnapshotFile, String>, steady_ms: u64) {
        let tokens = self.syncing.take().map(|it| it.tokens).unwrap_or_default();
        if let Err(reason) = &result {
            log::warn!("Background RDB transfer error: the snapshot for replicas failed: {reason}");
        }
        for token in tokens {
            match &result {
                Ok(snapshot) => match self.link(token) {
                    Some(link) if link.is_growing() => link.end_growing(snapshot.len),
                    Some(link) => link.begin_file(snapshot.clone(), steady_ms),
                    None => {}
                },
                Err(reason) => match self.link(token) {
                    // It has no answer to PSYNC yet.
                    Some(link) if matches!(link.feed, Feed::Waits) => {
                        link.line(&format!("-ERR {reason}\r\n"));
                        link.feed = Feed::Done;
                    }
                    _ => self.close(token, "its snapshot failed"),
                },
            }
        }
    }

    /// Frees the backlog when there has been no replica for `repl-backlog-ttl` seconds.
    fn drop_backlog(&mut self, steady_ms: u64) {
        let engine = &self.server.engine;
        let is_needed = engine.replicas.count() > 0 || engine.role.is_replica();
        if is_needed || engine.log.stream_range().is_none() {
            self.alone_since_ms = None;
            return;
        }
        let since_ms = *self.alone_since_ms.get_or_insert(steady_ms);
        let ttl_ms = engine.config.int(P::ReplBacklogTtl).max(0) as u64 * 1000;
        if ttl_ms > 0 && steady_ms - since_ms >= ttl_ms {
            log::info!(
                "Replication backlog freed after {} seconds without connected replicas.",
                ttl_ms / 1000
            );
            let _locked = engine.keyspace.lock_all();
            engine.log.close_stream();
        }
    }

    /// The server ends, and every replica has what there is, or has had `shutdown-timeout` to get
    /// it.
    fn may_end(&mut self, steady_ms: u64) -> bool {
        let server = &self.server;
        if !server.replication.is_stopping() {
            return false;
        }
        // SHUTDOWN has waited already. What sockets take at once has just left.
        if server.shutdown.is_settled() {
            return true;
        }
        let since_ms = *self.stopping_since_ms.get_or_insert(steady_ms);
        let patience_ms = server.engine.config.int(P::ShutdownTimeout).max(0) as u64 * 1000;
        let end = server.engine.log.stream_offset();
        let mut links = self.links.iter().flatten();
        let is_behind = links.any(|link| {
            link.replica.state() == SyncState::Online
                && !link.request.is_old
                && link.replica.acknowledged() < end
        });
        !is_behind || steady_ms - since_ms >= patience_ms
    }
}

/// The stream from where a replica is on, and the offset of the next byte that it asked for;
/// `None`, with the reason in the log, when it needs everything.
pub(super) fn continuation(
    server: &Server,
    setup: &ReplicaSetup,
    address: &str,
    resume: Option<&(Vec<u8>, u64)>,
) -> Option<(Feed, u64)> {
    let (id, next) = resume?;
    let histories = server.replication.histories();
    let known = match &histories.before {
        _ if *id == *histories.id.as_bytes() => true,
        Some((before, until)) => *id == *before.as_bytes() && *next <= until + 1,
        None => false,
    };
    // Offsets in requests count from 1.
    let Some(offset) = next.checked_sub(1).filter(|_| known) else {
        log::info!(
            "Partial resynchronization not accepted: Replication ID mismatch (Replica {address} asked for '{}')",
            String::from_utf8_lossy(id)
        );
        return None;
    };
    if setup.is_foreign() && !server.engine.replicas.is_plain_from(offset) {
        log::info!(
            "Partial resynchronization not accepted: the stream holds commands that only Lodestore understands (Replica {address})."
        );
        return None;
    }
    let limit = server.replica_lag_max();
    let cursor = server.engine.log.stream_cursor(offset, limit);
    let feed = cursor.map(Feed::Stream);
    let feed = feed.or_else(|| kept_feed(server, offset, limit));
    if feed.is_none() {
        log::info!(
            "Unable to partial resync with replica {address} for lack of backlog (Replica request was: {next})."
        );
    }
    Some((feed?, *next))
}

/// The stream from this offset on, as the files of the log have it, up to what memory has.
fn kept_feed(server: &Server, offset: u64, limit: u64) -> Option<Feed> {
    let log = &server.engine.log;
    let begin = log.stream_range()?.start;
    let distance = begin.checked_sub(offset).filter(|bytes| *bytes > 0)?;
    if distance > KEPT_MAX.max(keyspace::memory::used()) {
        return None;
    }
    let histories = server.replication.histories();
    let before = histories.before.as_ref().map(|(id, _)| id);
    let ids: Vec<ReplicationId> = std::iter::once(&histories.id)
        .chain(before)
        .filter_map(|id| ReplicationId::parse(id.as_bytes()))
        .collect();
    // What memory has is kept from here on.
    let then = log.stream_cursor(begin, limit)?;
    match log.kept_stream(offset, begin, &ids) {
        Ok(kept) => {
            let kept = kept?;
            log::info!("{distance} bytes of the stream come from the files of the log.");
            Some(Feed::Kept(Box::new(KeptFeed::new(kept, then))))
        }
        Err(error) => {
            log::warn!("The files of the log cannot be read for a replica: {error}");
            None
        }
    }
}

/// Which versions of the format a replica reads, in order of preference, and which parts it wants.
fn requirements(config: &Config, setup: &ReplicaSetup) -> (Vec<Version>, Option<SnapshotFilter>) {
    /// Valkey 9.0.0
    const VALKEY_9: u32 = 0x0009_0000;
    let versions = match setup.version {
        // It reads all of them, and keeps the file as the base of its log, which others may read.
        _ if setup.is_lodestore => {
            let mut versions = config.rdb_versions();
            versions.push(Version::V80);
            versions
        }
        VALKEY_9.. => vec![Version::V80],
        _ => vec![Version::V11, Version::V12],
    };
    (versions, setup.filter)
}

/// Whether the snapshot for these replicas begins: at once, or with `repl-diskless-sync` after a
/// delay in which more of them may come.
fn is_time(server: &Server, group: &[(usize, &Link)], steady_ms: u64) -> bool {
    let config = &server.engine.config;
    let all_find_the_end = group.iter().all(|(_, link)| link.replica.setup.eof);
    if !config.bool(P::ReplDisklessSync) || !all_find_the_end {
        return true;
    }
    let delay_ms = config.int(P::ReplDisklessSyncDelay).max(0) as u64 * 1000;
    let enough = config.size(P::ReplDisklessSyncMaxReplicas);
    let oldest_ms = group.iter().map(|(_, link)| link.since_ms).min();
    let waited_ms = steady_ms - oldest_ms.unwrap_or(steady_ms);
    waited_ms >= delay_ms || (enough > 0 && group.len() >= enough)
}

/// Writes the snapshot in a thread of its own.
fn spawn(server: &Arc<Server>, job: Arc<Job>, wanted: ForReplicas) -> io::Result<()> {
    let server = Arc::clone(server);
    std::thread::Builder::new()
        .name("replica-sync".to_owned())
        .spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(|| {
                let send = |mail| server.replication.send(mail);
                for_replicas(&server, &job, &wanted, &send)
            }));
            drop(job);
            let result = result.unwrap_or_else(|panic| Err(panic_text(panic.as_ref()).to_owned()));
            server.replication.send(Mail::Written(result));
        })?;
    Ok(())
}
