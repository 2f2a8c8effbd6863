//! Feeding replicas: full and partial synchronization, the stream, acknowledgements.
//!
//! ```text
//! worker   PSYNC: the connection leaves       -->  feeder thread: one poll, all replicas
//! worker   appends to the log, end of a turn  -->  woken once, reads the stream by cursors
//! feeder   needs a snapshot                   -->  a thread of its own writes a file without name
//! ```
//!
//! A replica costs the workers one word at the end of a turn. What it has not read lies in the ring
//! of the log ([`persist::StreamCursor`]), once for all replicas; a replica that leaves more unread
//! than its output limit is disconnected. Snapshots go to a file first: a slow replica holds
//! neither writers nor the snapshot, and replicas that ask at the same time share one.

mod diskless;
mod dual_channel;
mod failover;
mod feeder;
mod follow;
mod handshake;
mod kept;
mod link;
mod receive;
mod roles;
mod stream;

pub(crate) use failover::{abort as abort_failover, begin as begin_failover, replica_at};
pub(crate) use roles::{begin, follow_primary, promote};

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::server::Server;
use crate::state::Mail;
use crate::transport::connection::Connection;
use engine::config::P;
use engine::replicas::ReplicaSetup;

/// Takes a connection that has asked for the data.
pub(crate) fn adopt(server: &Arc<Server>, connection: Box<Connection>) {
    match start_feeder(server) {
        true => server.replication.send(Mail::Adopt(connection)),
        false => server.end(connection),
    }
}

/// Starts the thread that feeds replicas, unless it is there. False, with a line in the log: the
/// system has none to spare.
fn start_feeder(server: &Arc<Server>) -> bool {
    if !server.replication.claim_start() {
        return true;
    }
    let started = feeder::start(server);
    if let Err(error) = &started {
        server.replication.release_start();
        log::warn!("No thread for replicas: {}", crate::os::os_text(error));
    }
    started.is_ok()
}

/// Tells the thread how far the stream is, at the end of a turn.
pub(crate) fn announce(server: &Server) {
    let replication = &server.replication;
    if server.engine.replicas.has_asks() {
        replication.wake();
    }
    replication.announce(sendable(server));
}

/// Up to where the stream may be sent: with `appendfsync always` no further than what is durable
/// here, or a replica would be ahead of what its primary survives with.
fn sendable(server: &Server) -> u64 {
    let log = &server.engine.log;
    match log.policy() {
        persist::FsyncPolicy::Always if log.is_enabled() => log.synced_offset(),
        _ => log.stream_offset(),
    }
}

/// Whether a replica can go on where it is; the reason is in the log when it cannot.
pub(crate) fn can_continue(
    server: &Server,
    setup: &ReplicaSetup,
    address: &str,
    resume: Option<&(Vec<u8>, u64)>,
) -> bool {
    feeder::continuation(server, setup, address, resume).is_some()
}

impl Server {
    /// The data of a full synchronization is in no file yet although `appendonly` promises that: a
    /// crash would bring back what was there before.
    fn awaits_base(&self) -> bool {
        let awaits = &self.replication.awaits_base;
        if !awaits.load(Ordering::Acquire) {
            return false;
        }
        let log = &self.engine.log;
        let is_there = log.is_enabled() && !log.status().waits_for_base;
        let is_over = is_there || !self.engine.config.bool(P::AppendOnly);
        awaits.store(!is_over, Ordering::Release);
        !is_over
    }
}

/// Makes the timers look whether a shutdown still has to wait for replicas.
fn hasten_shutdown(server: &Server) {
    if server.shutdown.waits_until_ms().is_some()
        && let Some(worker) = server.workers.first()
    {
        worker.mailbox.wake();
    }
}
