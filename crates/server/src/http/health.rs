//! Whether the server is ready for clients.

use crate::jobs::rewrite;
use crate::server::Server;
use crate::state::LinkState;

/// Why the server is not ready; nothing when it is.
pub(super) fn reasons(server: &Server) -> Vec<String> {
    let engine = &server.engine;
    let mut reasons = Vec::new();
    if server.shutdown.is_requested() || server.shutdown.waits_until_ms().is_some() {
        reasons.push("it is shutting down".to_owned());
    }
    if engine.loading.is_active() {
        let (_, loaded, total) = engine.loading.figures();
        reasons.push(format!("data is being loaded ({loaded} of {total} bytes)"));
    }
    if engine.is_half_changed() {
        reasons.push("a defect has stopped writes; the log of the server has it".to_owned());
    }
    let log = engine.log.status();
    if let Some(trouble) = log.trouble {
        reasons.push(trouble.to_string());
    } else if !log.last_rewrite_ok && rewrite::is_missing(server) {
        reasons.push("the append-only file is on, and cannot be begun".to_owned());
    }
    if let Some(following) = server.replication.following()
        && following.state != LinkState::Connected
    {
        let word = following.state.word();
        reasons.push(format!(
            "the replica is not in sync with its primary ({word})"
        ));
    }
    reasons
}
