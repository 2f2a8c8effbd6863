//! The HTTP side: metrics for Prometheus, whether the server lives and is ready, and a console.
//!
//! It has a thread, a port (`http-port`) and a runtime of its own. It reads the counters that the
//! workers publish, and locks one shard at a time: no request of a client waits for it longer than
//! for another command on that shard.
//!
//! ```text
//! connections  sockets, the limits on connections
//! routes       what a request asks for
//! access       where a request comes from, and who asks
//! metrics      /metrics
//! health       /healthz, /readyz
//! console      /console
//! ```

mod access;
mod connections;
mod console;
mod health;
mod metrics;
mod routes;

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use engine::config::{Config, P};
use engine::execute::panic_text;
use socket2::{Domain, Protocol, Socket, Type};

use crate::os;
use crate::server::Server;

/// Connections that the kernel keeps until they are accepted: as many as there may be at once.
const BACKLOG: i32 = 64;

/// How long the thread rests after a failure before it begins anew.
const PAUSE: Duration = Duration::from_secs(1);

/// Opens the sockets of `http-port` on the addresses of `http-bind`; none when the port is 0.
///
/// # Errors
/// Why a socket cannot be opened, for the log.
pub(crate) fn listen(config: &Config) -> Result<Vec<TcpListener>, String> {
    let port = u16::try_from(config.int(P::HttpPort)).unwrap_or(0);
    if port == 0 {
        return Ok(Vec::new());
    }
    let mut listeners = Vec::new();
    for address in config.word_list(P::HttpBind) {
        let (is_optional, host) = match address.strip_prefix('-') {
            Some(host) => (true, host),
            None => (false, address.as_str()),
        };
        match bind(host, port) {
            Ok(listener) => listeners.push(listener),
            Err(error) if is_optional && error.kind() == io::ErrorKind::AddrNotAvailable => {}
            Err(error) => {
                let text = os::os_text(&error);
                return Err(format!(
                    "Failed listening on {host}:{port} (http-port), aborting: {text}"
                ));
            }
        }
    }
    match listeners.is_empty() {
        true => Err(format!(
            "http-port is {port}, but http-bind has no address of this machine"
        )),
        false => Ok(listeners),
    }
}

fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
    let host = match host {
        "*" => "0.0.0.0",
        "::*" => "::",
        host => host,
    };
    let none = || io::Error::from(io::ErrorKind::AddrNotAvailable);
    let addr: SocketAddr = (host, port).to_socket_addrs()?.next().ok_or_else(none)?;
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(addr), kind, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Starts the thread; does nothing without sockets.
///
/// # Errors
/// There is no thread to be had.
pub(crate) fn start(server: &Arc<Server>, listeners: Vec<TcpListener>) -> io::Result<()> {
    if listeners.is_empty() {
        return Ok(());
    }
    let own = Arc::clone(server);
    let thread = std::thread::Builder::new()
        .name("http".to_owned())
        .spawn(move || run(&own, &listeners))?;
    server.http.started(thread);
    let port = server.engine.config.int(P::HttpPort);
    log::info!("Metrics, health and the console over HTTP on port {port}");
    Ok(())
}

/// Serves until the server ends. After a failure the thread says so and begins anew: the sockets
/// stay open meanwhile.
fn run(server: &Arc<Server>, listeners: &[TcpListener]) {
    // Clients go first where there are more threads than processors.
    os::lower_thread_priority();
    while !server.http.is_stopping() {
        let served = catch_unwind(AssertUnwindSafe(|| serve(server, listeners)));
        let reason = match served {
            Ok(Ok(())) => return,
            Ok(Err(error)) => os::os_text(&error),
            Err(panic) => format!("a panic: {}", panic_text(panic.as_ref())),
        };
        log::error!("The HTTP thread failed ({reason}). It begins anew.");
        std::thread::park_timeout(PAUSE);
    }
}

fn serve(server: &Arc<Server>, listeners: &[TcpListener]) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let copies = listeners.iter().map(TcpListener::try_clone);
    let copies = copies.collect::<io::Result<Vec<_>>>()?;
    runtime.block_on(connections::serve(server, copies))
}
