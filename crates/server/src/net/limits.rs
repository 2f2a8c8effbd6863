//! Bounds on what a client may make the server hold.

use std::sync::atomic::Ordering;

use crate::server::Server;
use crate::transport::connection::Connection;
use engine::config::P;

/// A client that does not read its replies is no longer read from above this many bytes of waiting
/// output. High enough for a pipeline that is sent as a whole before its replies are read (as some
/// client libraries do); low enough that a client cannot fill the memory.
pub(super) const THROTTLE_BYTES: usize = 256 * 1024 * 1024;

/// An unauthenticated client may make the server hold this much input, as in Redis.
pub(super) const UNAUTHENTICATED_INPUT_BYTES: usize = 1024 * 1024;

/// True when requests of the client have to wait until it has read some replies.
pub(super) fn is_throttled(connection: &Connection) -> bool {
    connection.output.len() > THROTTLE_BYTES
}

/// True when the unparsed input is larger than allowed.
pub(super) fn input_exceeded(server: &Server, connection: &Connection) -> bool {
    let held = connection.input.len();
    let queued = connection
        .session
        .multi
        .as_ref()
        .map_or(0, |multi| multi.bytes);
    let limit = server.engine.config.int(P::ClientQueryBufferLimit).max(0) as usize;
    held > limit
        || held + queued > limit
        || (!connection.session.is_authenticated() && held > UNAUTHENTICATED_INPUT_BYTES)
}

/// Waiting output up to this size counts as nothing, as what fits Redis's static buffer; more
/// counts whole.
pub(super) const OUTPUT_BLOCK_BYTES: usize = 16 * 1024;

/// A client that never authenticated may make the server hold this much output besides, as in
/// Redis.
const UNAUTHENTICATED_OUTPUT_BYTES: usize = 1024;

/// Output that counts against the limits. Values that replies share count whole: the client is what
/// keeps them alive.
pub(super) fn counted_output(server: &Server, connection: &Connection) -> usize {
    let waiting = connection.output.len();
    if waiting > OUTPUT_BLOCK_BYTES {
        waiting
    } else if waiting > 0
        && server
            .engine
            .switches
            .enforce_reply_list
            .load(Ordering::Relaxed)
    {
        OUTPUT_BLOCK_BYTES
    } else {
        0
    }
}

/// True when the output is above the hard limit, or above the soft limit for too long.
pub(super) fn output_exceeded(
    server: &Server,
    connection: &mut Connection,
    steady_ms: u64,
) -> bool {
    let used = counted_output(server, connection) as u64;
    let class = connection.session.shared.class();
    let limit = server.engine.config.output_limits().of(class);
    let over_soft = limit.soft > 0 && used > limit.soft;
    if !over_soft {
        connection.over_soft_limit_ms = 0;
    } else if connection.over_soft_limit_ms == 0 {
        connection.over_soft_limit_ms = steady_ms;
    }
    let soft_ms = steady_ms.saturating_sub(connection.over_soft_limit_ms);
    let exceeded = (limit.hard > 0 && used > limit.hard)
        || connection.output.is_given_up()
        || (over_soft && soft_ms > limit.soft_seconds * 1_000)
        || (!connection.was_authenticated && used > UNAUTHENTICATED_OUTPUT_BYTES as u64);
    if exceeded {
        log::warn!(
            "Client {} scheduled to be closed ASAP for overcoming of output buffer limits.",
            connection.session.shared.addr
        );
    }
    exceeded
}

/// Most bytes that may wait for a client: output beyond them is not even built, whatever command
/// makes it. `usize::MAX` without a limit.
pub(super) fn output_max(server: &Server, connection: &Connection) -> usize {
    let switches = &server.engine.switches;
    let class = connection.session.shared.class();
    let hard = server.engine.outboxes.hard_limit(class);
    let together = match connection.session.no_evict {
        true => 0,
        false => switches.client_memory_max.load(Ordering::Relaxed),
    };
    let limits = [hard, together].into_iter().filter(|limit| *limit != 0);
    limits.min().map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}
