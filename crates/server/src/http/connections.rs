//! Sockets of the HTTP side, and the limits on connections.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use engine::execute::panic_text;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinError, JoinSet};

use super::metrics::Metrics;
use super::routes::{self, Ends, Site};
use crate::os;
use crate::server::Server;

/// Connections at once: scrapes take milliseconds, so a few monitors never meet this. Beyond it the
/// oldest goes, so that idle ones keep no monitor out.
const CONNECTIONS_MAX: usize = 64;

/// Bytes of a request line with its headers: twice the least that the library allows, and more than
/// browsers send. Beyond it the answer is 431.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Headers of a request: browsers send about twenty.
const HEADERS_MAX: usize = 64;

/// How long a request may take to arrive: it is one packet on any honest network.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may last: time for a large answer on a slow line. A connection has one
/// request.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// How long nothing is accepted after an error that is not of one connection (no descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Accepts and serves until the server ends.
pub(super) async fn serve(
    server: &Arc<Server>,
    listeners: Vec<std::net::TcpListener>,
) -> io::Result<()> {
    let listeners = listeners.into_iter().map(TcpListener::from_std);
    let listeners = listeners.collect::<io::Result<Vec<_>>>()?;
    let site = Arc::new(Site {
        server: Arc::clone(server),
        metrics: Metrics::default(),
    });
    let mut connections = Connections::default();
    loop {
        match next(server, &listeners, &mut connections.tasks).await {
            Turn::Stop => return Ok(()),
            Turn::Accepted(Ok((stream, peer))) => connections.add(Arc::clone(&site), stream, peer),
            Turn::Accepted(Err(error)) => refused(&error).await,
            Turn::Ended(ended) => report(ended),
        }
    }
}

/// What the thread has to do next.
enum Turn {
    /// The server ends.
    Stop,
    /// A connection has come, or could not be accepted.
    Accepted(io::Result<(TcpStream, SocketAddr)>),
    /// A connection is over.
    Ended(Result<(), JoinError>),
}

async fn next(server: &Server, listeners: &[TcpListener], tasks: &mut JoinSet<()>) -> Turn {
    let mut stopped = pin!(server.http.stopped());
    poll_fn(|cx| {
        if stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Turn::Stop);
        }
        let mut accepted = listeners.iter().map(|listener| listener.poll_accept(cx));
        if let Some(Poll::Ready(accepted)) = accepted.find(Poll::is_ready) {
            return Poll::Ready(Turn::Accepted(accepted));
        }
        match tasks.poll_join_next(cx) {
            Poll::Ready(Some(ended)) => Poll::Ready(Turn::Ended(ended)),
            _ => Poll::Pending,
        }
    })
    .await
}

/// An error of accept(2): that of one connection is over with it, others need a pause.
async fn refused(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    ) {
        return;
    }
    log::warn!("Accepting an HTTP connection: {}", os::os_text(error));
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        let text = panic_text(panic.as_ref());
        log::error!("An HTTP request ended by a panic: {text}. The others are served.");
    }
}

/// The connections in the order of their coming, those that are over included until others come.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    oldest_first: VecDeque<AbortHandle>,
}

impl Connections {
    fn add(&mut self, site: Arc<Site>, stream: TcpStream, peer: SocketAddr) {
        self.oldest_first.retain(|task| !task.is_finished());
        while self.oldest_first.len() >= CONNECTIONS_MAX
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            oldest.abort();
        }
        let task = self.tasks.spawn(serve_one(site, stream, peer));
        self.oldest_first.push_back(task);
    }
}

async fn serve_one(site: Arc<Site>, stream: TcpStream, peer: SocketAddr) {
    let ends = Ends {
        peer,
        local: stream.local_addr().unwrap_or(peer),
    };
    let site = &*site;
    let service = service_fn(move |request| async move {
        let response = routes::answer(site, ends, request).await;
        // What was allocated for the answer counts as used memory, as all of the process does.
        keyspace::memory::publish();
        Ok::<_, Infallible>(response)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => log::debug!("HTTP connection of {peer}: {error}"),
        Err(_) => log::debug!("HTTP connection of {peer}: closed, it took too long"),
    }
    keyspace::memory::publish();
}
