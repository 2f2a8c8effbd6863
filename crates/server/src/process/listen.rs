//! The listening sockets of the configuration.

use std::io;
use std::sync::Arc;

use engine::config::{Config, P};

use crate::net::handshakes;
use crate::os;
use crate::server::Server;
use crate::tls;
use crate::transport::listener::Listener;
use crate::transport::mailbox::Message;

/// Why the listening sockets could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The Unix socket could not be opened.
    #[error("{0}")]
    Unix(#[from] io::Error),
    /// A TCP address is taken or not of this machine.
    #[error("Failed listening on port {port} ({kind}), aborting: {text}")]
    Address {
        /// The port.
        port: i64,
        /// `tcp` or `tls`.
        kind: &'static str,
        /// The system's reason.
        text: String,
    },
    /// The permissions or the group of the Unix socket could not be set.
    #[error("{0}")]
    SocketOwner(String),
    /// The configuration names no address.
    #[error("no address to listen on")]
    NoAddress,
}

/// Opens all listening sockets of the configuration. An address that `bind` marks with `-` may be
/// missing.
pub(crate) fn listen(config: &Config) -> Result<Vec<Listener>, ListenError> {
    let backlog = i32::try_from(config.int(P::TcpBacklog)).unwrap_or(511);
    let mut listeners = listen_on(config, P::Port, backlog)?;
    listeners.extend(listen_on(config, P::TlsPort, backlog)?);
    if let Some(path) = config.path(P::UnixSocket) {
        let mode = u32::try_from(config.int(P::UnixSocketPerm)).unwrap_or(0);
        listeners.push(Listener::unix(&path, mode, backlog)?);
        os::set_socket_owner(&path, mode, &config.text(P::UnixSocketGroup))
            .map_err(ListenError::SocketOwner)?;
    }
    if listeners.is_empty() {
        log::warn!("Configured to not listen anywhere, exiting.");
        return Err(ListenError::NoAddress);
    }
    Ok(listeners)
}

/// Opens the sockets of one port on all addresses; none when the port is 0.
fn listen_on(config: &Config, id: P, backlog: i32) -> Result<Vec<Listener>, ListenError> {
    let mut listeners = Vec::new();
    let port = config.int(id);
    let (kind, bind): (_, fn(&str, u16, i32) -> _) = match id {
        P::TlsPort => ("tls", Listener::bind_tls),
        _ => ("tcp", Listener::bind),
    };
    let port16 = u16::try_from(port).unwrap_or(0);
    if port16 == 0 {
        return Ok(listeners);
    }
    let addresses = config.bind_addresses();
    for address in &addresses {
        let (optional, host) = match address.strip_prefix('-') {
            Some(host) => (true, host),
            None => (false, address.as_str()),
        };
        match bind(host, port16, backlog) {
            Ok(listener) => listeners.push(listener),
            Err(error) if optional && is_unavailable(&error) => {}
            Err(error) => {
                let text = os::os_text(&error);
                log::warn!(
                    "Warning: Could not create server TCP listening socket {host}:{port}: bind: {text}"
                );
                return Err(ListenError::Address { port, kind, text });
            }
        }
    }
    if listeners.is_empty() && !addresses.is_empty() {
        let text = "no address could be bound".to_owned();
        return Err(ListenError::Address { port, kind, text });
    }
    Ok(listeners)
}

/// Errors that make an optional address merely absent, as in Redis.
fn is_unavailable(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ENOPROTOOPT
                | libc::EPROTONOSUPPORT
                | libc::ESOCKTNOSUPPORT
                | libc::EPFNOSUPPORT
                | libc::EAFNOSUPPORT
                | libc::EADDRNOTAVAIL
        )
    )
}

/// New listening sockets in place of the old ones, which are closed first because the addresses may
/// overlap.
pub(super) fn rebind(server: &Server) -> Result<(), ListenError> {
    let mut listeners = server.lock_listeners();
    listeners.clear();
    *listeners = listen(&server.engine.config)?;
    drop(listeners);
    if let Some(worker) = server.workers.first() {
        worker.mailbox.send(Message::Listen);
    }
    if let Some(server) = server.me.upgrade() {
        start_handshakes(&server)?;
    }
    Ok(())
}

/// Has the thread of TLS handshakes look at the listening sockets and at its timers, and starts it
/// when TLS is in use for the first time.
pub(crate) fn start_handshakes(server: &Arc<Server>) -> io::Result<()> {
    match tls::is_wanted(&server.engine.config) {
        true => handshakes::start(server),
        false => Ok(()),
    }
}
