//! FAILOVER: a primary hands its role over to a replica that has everything.
//!
//! ```text
//! FAILOVER        writes are paused under the locks of all data, so the offset stands still
//! ACK of a target this server follows it, and sends PSYNC id offset FAILOVER
//! +CONTINUE       the target is the primary: blocked clients are told, the pause ends
//! -ERR            this server is the primary again, the pause ends
//! ```

use std::sync::Arc;

use super::roles::{Waits, end_waits, follow, promote};
use crate::server::Server;
use crate::state::{Failover, Phase};
use engine::port::Port;
use engine::replicas::Replica;

/// Begins a failover. Called under the locks of all data, so that no write is under way.
pub(crate) fn begin(server: &Server, failover: Failover) {
    match &failover.target {
        Some((host, port)) => log::info!("FAILOVER requested to {host}:{port}."),
        None => log::info!("FAILOVER requested to any replica."),
    }
    server.replication.failover.set(Some(failover));
    server.engine.pause.set_failover(true);
    let epoch = &server.engine.admission_epoch;
    epoch.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
    server.replication.wake();
}

/// The replica at this address, as it announces it.
pub(crate) fn replica_at(server: &Server, host: &str, port: u16) -> Option<Arc<Replica>> {
    let mut replicas = server.engine.replicas.all().into_iter();
    replicas.find(|it| it.setup.port == port && it.ip().eq_ignore_ascii_case(host))
}

/// Gives a failover up. Called under the locks of all data.
pub(crate) fn abort(server: &Server, reason: &str) {
    let Some(failover) = server.replication.failover.get() else {
        return;
    };
    match &failover.target {
        Some((host, port)) => log::info!("FAILOVER to {host}:{port} aborted: {reason}"),
        None => log::info!("FAILOVER to any replica aborted: {reason}"),
    }
    if failover.phase == Phase::InProgress {
        promote(server);
    }
    end(server);
}

/// The target has taken over. Called under the locks of all data.
pub(super) fn succeed(server: &Server) {
    end_waits(server);
    end(server);
}

fn end(server: &Server) {
    server.replication.failover.set(None);
    server.engine.pause.set_failover(false);
    server.resume();
}

/// Looks whether a replica has everything, and whether the time is over.
pub(super) fn check(server: &Arc<Server>, steady_ms: u64) {
    let waits = |it: &Failover| it.phase == Phase::WaitsForSync;
    let state = &server.replication.failover;
    let is_due = |it: &Failover| {
        it.deadline_ms.is_some_and(|at| at <= steady_ms) || caught_up(server, it).is_some()
    };
    if !state.get().filter(waits).is_some_and(|it| is_due(&it)) {
        return;
    }
    let _locked = server.engine.keyspace.lock_all();
    let Some(failover) = state.get().filter(waits) else {
        return;
    };
    if failover.deadline_ms.is_some_and(|at| at <= steady_ms) {
        match &failover.target {
            Some((host, port)) if failover.is_forced => {
                log::info!("FAILOVER to {host}:{port} time out exceeded, failing over.");
                hand_over(server, host, *port, &failover);
            }
            _ => abort(server, "Replica never caught up before timeout"),
        }
    } else if let Some((host, port)) = caught_up(server, &failover) {
        log::info!("Failover target {host}:{port} is synced, failing over.");
        hand_over(server, &host, port, &failover);
    }
}

/// Address and port of the replica that has everything, and may be the primary.
fn caught_up(server: &Server, failover: &Failover) -> Option<(String, u16)> {
    let end = server.engine.log.stream_offset();
    match &failover.target {
        Some((host, port)) => {
            let replica = replica_at(server, host, *port)?;
            replica.has_all(end).then(|| (host.clone(), *port))
        }
        None => {
            let mut replicas = server.engine.replicas.all().into_iter();
            let replica = replicas.find(|it| it.has_all(end) && it.setup.port != 0)?;
            Some((replica.ip(), replica.setup.port))
        }
    }
}

fn hand_over(server: &Arc<Server>, host: &str, port: u16, failover: &Failover) {
    server.replication.failover.set(Some(Failover {
        phase: Phase::InProgress,
        target: Some((host.to_owned(), port)),
        ..failover.clone()
    }));
    follow(server, host, port, Waits::GoOn);
}
