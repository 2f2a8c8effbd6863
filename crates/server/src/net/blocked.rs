//! Ends of waits, as the worker of the client sees them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use resp::{Output, Reply};

use super::worker::Worker;
use crate::server::Server;
use engine::error::CommandError;
use engine::execute;
use engine::execute::blocking;
use engine::keys::DbKey;
use engine::port::Unblocked;
use engine::session::{CAPA_REDIRECT, Session};
use engine::wait::Block;

/// The reply of a served client has arrived in its output.
pub(super) fn served(worker: &mut Worker, token: usize, offset: u64) {
    if let Some(connection) = worker.connection(token) {
        connection.session.last_write_offset = connection.session.last_write_offset.max(offset);
    }
    resume(worker, token);
}

/// Why a wait ends without being served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Its timeout has passed.
    Timeout,
    /// Before its time; with an error, or as by a time-out. The sender of the message has ended the
    /// wait already.
    Unblocked(Unblocked),
}

/// The wait of a client ends without being served.
pub(super) fn end_wait(worker: &mut Worker, server: &Server, token: usize, ending: Ending) {
    let Some(connection) = worker.connection(token) else {
        return;
    };
    let Some(block) = connection.session.blocked.clone() else {
        return;
    };
    if ending == Ending::Timeout && !connection.session.shared.wait.end() {
        // Served or unblocked meanwhile: the reply is on its way.
        return;
    }
    let waiter = connection.waiter.take();
    if let Some(waiter) = &waiter {
        blocking::withdraw(&server.engine, waiter);
    }
    let protocol = connection.session.protocol;
    let mut output = Output::new();
    let mut reply = Reply::new(&mut output, protocol);
    let error = match ending {
        Ending::Unblocked(Unblocked::RoleChanged) => {
            Some(role_changed(server, &mut connection.session, &block))
        }
        Ending::Unblocked(Unblocked::Error(line)) => Some(CommandError::line(line)),
        Ending::Unblocked(Unblocked::AsTimeout) | Ending::Timeout => None,
    };
    match (&error, &block) {
        (Some(error), _) => {
            execute::write_error(&worker.exec, &server.engine, protocol, error, &mut output);
        }
        (None, Block::Keys { .. }) => reply.null_array(),
        (None, Block::Replicas { offset, .. }) => {
            reply.integer(server.engine.replicas.processed(*offset) as i64);
        }
        (
            None,
            Block::Synced {
                offset, written, ..
            },
        ) => {
            reply.array(2);
            let synced = server.engine.log.is_enabled() && server.engine.log.synced() >= *written;
            reply.integer(i64::from(synced));
            reply.integer(server.engine.replicas.durable(*offset) as i64);
        }
        // Nothing but the end of the connection ends it, or an error.
        (None, Block::Leaves | Block::Shutdown) => {}
    }
    if let Some(waiter) = waiter {
        let exec = &mut worker.exec;
        let now_ns = server.engine.clock.monotonic_ns();
        exec.now_ns = now_ns;
        blocking::account(&waiter, exec, &server.engine, now_ns, output.len());
        if error.is_some() {
            execute::count_rejected(exec, &server.engine, waiter.command);
        }
    }
    if let Some(handle) = server.workers.get(worker.index)
        && ending == Ending::Timeout
    {
        handle.stats().blocked_timeouts.add(1);
    }
    if let Some(connection) = worker.connection(token)
        && !connection.session.silent_wait
    {
        connection.output.append(&mut output);
    }
    resume(worker, token);
}

/// The error of a client that waited when the server became a replica. Without a redirection it is
/// disconnected behind it.
fn role_changed(server: &Server, session: &mut Session, block: &Block) -> CommandError {
    let primary = server.engine.config.primary();
    match (primary, block) {
        (Some((host, port)), Block::Keys { .. })
            if session.capabilities.contains(&CAPA_REDIRECT) =>
        {
            CommandError::Redirect(format!("{host}:{port}"))
        }
        _ => {
            session.close_after_reply = true;
            CommandError::line(
                "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
            )
        }
    }
}

/// Handles a timer of a client: its wait has timed out, or its command is due to run again.
pub(super) fn timer(worker: &mut Worker, server: &Server, token: usize) {
    let steady_ms = worker.exec.steady_ms;
    let Some(connection) = worker.connection(token) else {
        return;
    };
    let session = &mut connection.session;
    let Some(block) = &session.blocked else {
        return;
    };
    if block
        .deadline_ms()
        .is_some_and(|deadline| deadline <= steady_ms)
    {
        return end_wait(worker, server, token, Ending::Timeout);
    }
    let id = session.shared.id;
    session.look_again_ms = None;
    let Some(waiter) = connection.waiter.clone() else {
        return;
    };
    let exec = &mut worker.exec;
    let keys = waiter.keys.iter();
    exec.ready
        .extend(keys.map(|key| DbKey::new(waiter.db, key)));
    let served = execute::guarded(&server.engine, "the service of a blocked client", || {
        let mut waits = || !server.engine.runs.any_slow();
        let keyspace = &server.engine.keyspace;
        match keyspace.lock_many_patient(&waiter.shards, &mut waits) {
            Ok(mut locked) => blocking::serve(exec, &server.engine, &mut locked),
            // The timer comes again.
            Err(_) => exec.ready.clear(),
        }
    });
    if served.is_some() && !exec.ready.is_empty() {
        blocking::serve_later(exec, &server.engine);
    }
    // The client keeps a timer until its worker has the result: served, or still waiting.
    let next_ms = waiter.look_again_ms.load(Ordering::Acquire);
    let next_ms = next_ms.max(steady_ms.saturating_add(blocking::LOOK_AGAIN_MIN_MS));
    if let Some(connection) = worker.connection(token) {
        connection.session.look_again_ms = Some(next_ms);
        worker.deadlines.insert((next_ms, id));
    }
}

/// Clients of this worker that wait for the log to be durable may be done, or have to get an error
/// because the log was switched off.
pub(super) fn log_synced(worker: &mut Worker, server: &Server) {
    let synced = server.engine.log.synced();
    let is_off = !server.engine.log.is_enabled();
    for token in 0..worker.slots() {
        let Some(connection) = worker.connection(token) else {
            continue;
        };
        if let Some(Block::Synced {
            local: true,
            replicas,
            written,
            ..
        }) = connection.session.blocked
        {
            let is_done = is_off || replicas == 0 && written <= synced;
            if !is_done || !connection.session.shared.wait.end() {
                continue;
            }
            let mut reply = Reply::new(&mut connection.output, connection.session.protocol);
            if is_off && !connection.session.silent_wait {
                reply.error(blocking::WAITAOF_WITHOUT_LOG);
            } else if !connection.session.silent_wait {
                reply.array(2);
                reply.integer(1);
                reply.integer(0);
            }
            resume(worker, token);
        }
    }
}

/// The client goes on with its next request.
fn resume(worker: &mut Worker, token: usize) {
    let server = Arc::clone(&worker.server);
    if let Some(connection) = worker.connection(token) {
        connection.waiter = None;
        let id = connection.session.shared.id;
        let look_again_ms = connection.session.look_again_ms.take();
        let block = blocking::unblock(&server.engine, &mut connection.session);
        let deadline_ms = block.and_then(|block| block.deadline_ms());
        for at in [deadline_ms, look_again_ms].into_iter().flatten() {
            worker.deadlines.remove(&(at, id));
        }
    }
    worker.want_write(token);
    worker.want_run(token);
}
