//! Changes of role: REPLICAOF.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::server::Server;
use crate::state::{Following, LinkState, Mail};
use engine::client::{ClientShared, flag};
use engine::command::Flags;
use engine::config::P;
use engine::port::Unblocked;

/// What becomes of clients that wait in blocking commands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// They get an error.
    End,
    /// They wait on: the change of role can still be undone.
    GoOn,
}

/// Follows a primary from now on. Called under the locks of all data. The connection is made in
/// the background.
pub(crate) fn follow_primary(server: &Arc<Server>, host: &str, port: u16) {
    follow(server, host, port, Waits::End);
}

/// See [`follow_primary`].
pub(super) fn follow(server: &Arc<Server>, host: &str, port: u16, waits: Waits) {
    let (engine, replication) = (&server.engine, &server.replication);
    let generation = replication.generation.fetch_add(1, Ordering::AcqRel) + 1;
    let steady_ms = engine.steady_ms();
    replication.set_following(Some(Following {
        host: host.to_owned(),
        port,
        state: LinkState::Connect,
        heard_ms: steady_ms,
        down_since_ms: steady_ms,
        received: 0,
        total: None,
    }));
    let was_primary = !engine.role.is_replica();
    engine.role.set_replica(true);
    engine.log.set_stream_is_copy(true);
    // Requests that were admitted for a primary look again.
    engine.admission_epoch.fetch_add(1, Ordering::AcqRel);
    engine.config.set_primary(Some((host, port)));
    replication.send(Mail::Disconnect);
    if was_primary {
        if waits == Waits::End {
            end_waits(server);
        }
        log::info!(
            "Before turning into a replica, using my own primary parameters to synthesize a cached primary"
        );
    }
    super::follow::start(server, generation);
}

/// Follows no server from now on. Called under the locks of all data.
pub(crate) fn promote(server: &Server) {
    let (engine, replication) = (&server.engine, &server.replication);
    if !engine.role.is_replica() {
        return;
    }
    replication.generation.fetch_add(1, Ordering::AcqRel);
    replication.set_following(None);
    // Data that was removed for a synchronization does not go on with the history that it had.
    match replication.lacks_data.swap(false, Ordering::AcqRel) {
        true => drop(replication.begin_history(None)),
        false => shift_history(server),
    }
    engine.log.set_stream_is_copy(false);
    if let Some(id) = replication.log_id() {
        engine.log.set_replication_id(id);
    }
    engine.role.set_replica(false);
    engine.admission_epoch.fetch_add(1, Ordering::AcqRel);
    engine.config.set_primary(None);
    // Keys whose time has passed go now.
    engine.next_expiry_ms.store(0, Ordering::Release);
    engine.outboxes.port.get().wake_timers();
    replication.send(Mail::Disconnect);
}

/// The history goes on under a new name.
fn shift_history(server: &Server) {
    let replication = &server.replication;
    let offset = server.engine.log.stream_offset();
    let old = replication.histories().id;
    let histories = replication.begin_history(Some((old.clone(), offset)));
    log::info!(
        "Setting secondary replication ID to {old}, valid up to offset: {}. New replication ID is {}",
        offset + 1,
        histories.id
    );
}

/// Goes on, at the start, with the history that the log names: as a replica of the primary of the
/// configuration, or as a primary with a name of its own.
pub(crate) fn begin(server: &Arc<Server>) {
    let primary = server.engine.config.primary();
    let loaded = server.engine.log.stream_offset();
    server.engine.replicas.note_unknown_before(loaded);
    if let Some(id) = server.engine.log.replication_id() {
        match &primary {
            Some(_) => {
                server.replication.join_history(id.as_str(), None);
                let _locked = server.engine.keyspace.lock_all();
                let size = server.engine.config.int(P::ReplBacklogSize).max(0) as u64;
                server.engine.log.open_stream(size);
            }
            None => go_on_from(server, &id.to_string()),
        }
    }
    if let Some((host, port)) = primary {
        let _locked = server.engine.keyspace.lock_all();
        follow_primary(server, &host, port);
    }
}

/// A primary that had replicas was started again. Its history gets a new name, because replicas may
/// have bytes of the old one that were lost here; replicas with no more than what was loaded go on.
/// The new name is kept at once: at the next start the old one must not reach further.
fn go_on_from(server: &Arc<Server>, old: &str) {
    let log = &server.engine.log;
    let _locked = server.engine.keyspace.lock_all();
    let before = Some((old.to_owned(), log.stream_offset()));
    server.replication.begin_history(before);
    if let Some(id) = server.replication.log_id() {
        log.set_replication_id(id);
    }
    log.open_stream(server.engine.config.int(P::ReplBacklogSize).max(0) as u64);
    for gone in server.replication.take_left_out() {
        let mut records = Vec::new();
        let request: [&[u8]; 2] = [b"DEL", &gone.key];
        resp::request::encode(&mut records, &request);
        log.append(gone.db, &records, server.engine.now_ms());
    }
    // It frees the backlog when no replica comes.
    super::start_feeder(server);
}

/// Ends the waits of all clients: what they wait for is not theirs to change any more.
pub(super) fn end_waits(server: &Server) {
    let port = server.engine.outboxes.port.get();
    for client in server.engine.clients.all() {
        if client.flags() & flag::BLOCKED != 0 && !may_wait_on(server, &client) && client.wait.end()
        {
            port.unblock(&client, Unblocked::RoleChanged);
        }
    }
}

/// It has said that it reads from replicas (READONLY), and waits in a command that reads.
fn may_wait_on(server: &Server, client: &ClientShared) -> bool {
    let last = client.figures.last_command.load(Ordering::Relaxed);
    let command = last
        .checked_sub(1)
        .and_then(|id| server.engine.commands.entries().get(id).copied());
    client.flags() & flag::READONLY != 0
        && command.is_some_and(|command| !command.spec.flags.has(Flags::WRITE))
}

/// The address under which this server is reached, as it announces it: host, when it is set, and
/// port.
pub(super) fn announced(server: &Server) -> (Option<String>, u16) {
    let config = &server.engine.config;
    let is_encrypted = config.bool(P::TlsReplication) && config.int(P::TlsPort) != 0;
    let port = match config.int(P::ReplicaAnnouncePort) {
        0 if is_encrypted => config.int(P::TlsPort),
        0 => config.int(P::Port),
        port => port,
    };
    let host = config.text(P::ReplicaAnnounceIp);
    (
        (!host.is_empty()).then_some(host),
        u16::try_from(port).unwrap_or(0),
    )
}
