//! Users that clients are by their certificates (`tls-auth-clients-user`).

use std::sync::atomic::Ordering;

use engine::config::P;

use crate::server::Server;

/// Whether a new client is logged in by the names in its certificate. A certificate with names of
/// which none is that of a user is counted, and its client goes on as one without a certificate.
pub(super) fn log_in(server: &Server, names: &[Vec<u8>]) -> bool {
    let Some(last) = names.last() else {
        return false;
    };
    let shown = |name: &[u8]| match server.engine.config.bool(P::HideUserDataFromLog) {
        true => "*redacted*".to_owned(),
        false => resp::quoted(name),
    };
    if let Some(user) = names.iter().find(|name| is_enabled_user(name)) {
        log::debug!("TLS: Auto-authenticated client as {}", shown(user));
        return true;
    }
    let denied = &server.tls.denied_certificates;
    denied.fetch_add(1, Ordering::Relaxed);
    log::debug!(
        "TLS: No matching user found for certificate name {}",
        shown(last)
    );
    false
}

/// CONNECT ACL HERE: whether there is a user of exactly this name (all bytes of it, zero bytes
/// included) who may log in. `default` is the only user as long as there are no others.
fn is_enabled_user(name: &[u8]) -> bool {
    name == b"default"
}
