//! Bounds on what a client may make the server hold.

use crate::config::P;
use crate::net::connection::Connection;
use crate::server::Server;

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
    let limit = server.config.int(P::ClientQueryBufferLimit).max(0) as usize;
    held > limit
        || held + queued > limit
        || (!connection.session.is_authenticated() && held > UNAUTHENTICATED_INPUT_BYTES)
}

/// An unauthenticated client may make the server hold this much output: about what Redis's static buffer
/// and its limit for such clients allow together.
pub(super) const UNAUTHENTICATED_OUTPUT_BYTES: usize = 17 * 1024;

/// True when the output is above the hard limit, or above the soft limit for too long.
pub(super) fn output_exceeded(server: &Server, connection: &mut Connection, now_ms: u64) -> bool {
    let limit = server.config.output_limits().normal;
    let used = connection.output.memory_usage() as u64;
    let authenticated = connection.session.is_authenticated();
    if (limit.hard > 0 && used > limit.hard)
        || (!authenticated && connection.output.len() > UNAUTHENTICATED_OUTPUT_BYTES)
    {
        log::warn!(
            "Client {} scheduled to be closed ASAP for overcoming of output buffer limits.",
            connection.session.shared.addr
        );
        return true;
    }
    if limit.soft == 0 || used <= limit.soft {
        connection.over_soft_limit_ms = 0;
        return false;
    }
    if connection.over_soft_limit_ms == 0 {
        connection.over_soft_limit_ms = now_ms;
        return false;
    }
    now_ms.saturating_sub(connection.over_soft_limit_ms) > limit.soft_seconds * 1_000
}
