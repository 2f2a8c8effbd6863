//! Users that clients are by their certificates (`tls-auth-clients-user`).

use std::sync::atomic::Ordering;

use engine::config::P;
use engine::session::Session;

use crate::server::Server;

/// Logs a new client in as the first user that its certificate names. A certificate with names of
/// which none is that of a user is counted, and its client goes on as one without a certificate.
pub(super) fn log_in(server: &Server, session: &mut Session, names: &[Vec<u8>]) {
    let Some(last) = names.last() else {
        return;
    };
    let shown = |name: &[u8]| match server.engine.config.bool(P::HideUserDataFromLog) {
        true => "*redacted*".to_owned(),
        false => resp::quoted(name),
    };
    if let Some(name) = names.iter().find(|name| become_user(server, session, name)) {
        server.engine.clients.admit(&session.shared);
        let name = shown(name);
        log::debug!("TLS: Auto-authenticated client as {name}");
        return;
    }
    let denied = &server.tls.denied_certificates;
    denied.fetch_add(1, Ordering::Relaxed);
    engine::execute::log_certificate(&server.engine, session, last);
    let name = shown(last);
    log::debug!("TLS: No matching user found for certificate name {name}");
}

/// Makes the user of exactly this name (all bytes of it, zero bytes included) that of the session,
/// if there is one who may log in.
fn become_user(server: &Server, session: &mut Session, name: &[u8]) -> bool {
    let user = server.engine.users.get(name);
    let user = user.filter(|user| user.rules().enabled);
    let is_user = user.is_some();
    if is_user {
        session.set_user(user);
    }
    is_user
}
