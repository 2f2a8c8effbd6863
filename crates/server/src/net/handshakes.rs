//! TLS handshakes, on a thread of their own.
//!
//! A handshake costs a thousand times what a command does, and clients may leave it unfinished. So
//! no worker makes any: this thread accepts the connections of `tls-port`, and hands them to the
//! first worker when they are encrypted, which then welcomes them as it does those of TCP. What is
//! not finished in time, or is too much, goes: the oldest first, because honest handshakes take
//! milliseconds.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::client::Peer;
use engine::config::P;
use engine::execute::panic_text;
use mio::{Events, Poll, Token};

use super::worker::{LISTENERS, is_of_one_connection};
use crate::os::os_text;
use crate::server::Server;
use crate::state::Running;
use crate::tls::{Reload, TlsStream, client_names};
use crate::transport::listener::Accepted;
use crate::transport::mailbox::Message;
use crate::transport::stream::Stream;

/// Token of the waker.
const WAKER: Token = Token(usize::MAX);
/// Events taken from the kernel per turn.
const EVENTS_PER_TURN: usize = 256;
/// How long a handshake may take. Slow networks need three round trips of a second each.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes under way at most: some megabytes, and descriptors that clients do not use.
const HANDSHAKES_MAX: usize = 1024;
/// The same for one address: many more than a pool of connections opens at once.
const HANDSHAKES_PER_ADDRESS: usize = 256;
/// Time until a failure to accept is tried again.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Failures are logged this often at most.
const LOG_INTERVAL: Duration = Duration::from_secs(1);
/// Certificates that end soon are logged this often.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// Starts the thread, unless it runs already, and has it look at the listening sockets.
///
/// # Errors
/// There is no poll or no thread to be had.
pub(crate) fn start(server: &Arc<Server>) -> io::Result<()> {
    {
        let mut running = server.handshakes.lock();
        if running.is_none() && !server.handshakes.is_stopping() {
            let poll = Poll::new()?;
            let waker = mio::Waker::new(poll.registry(), WAKER)?;
            let mut handshakes = Handshaker::new(Arc::clone(server), poll);
            let thread = std::thread::Builder::new()
                .name("tls".to_owned())
                .spawn(move || run(&mut handshakes))?;
            *running = Some(Running { thread, waker });
        }
    }
    server.handshakes.note_change();
    Ok(())
}

/// Runs until the server stops. Without it no encrypted connection is accepted: when it ends by a
/// panic or an error of its poll, the process ends in order, as with a worker.
fn run(handshaker: &mut Handshaker) {
    let result = catch_unwind(AssertUnwindSafe(|| handshaker.run()));
    let reason = match &result {
        Ok(Ok(())) => return,
        Ok(Err(error)) => os_text(error),
        Err(panic) => format!("a panic: {}", panic_text(panic.as_ref())),
    };
    log::error!("The thread of TLS handshakes ended ({reason}). The process ends.");
    handshaker.server.shutdown.request(1);
    handshaker.server.broadcast(|| Message::Stop);
}

/// A connection that is not encrypted yet.
struct Handshake {
    stream: TlsStream<mio::net::TcpStream>,
    peer: Peer,
    local: Peer,
    began: Instant,
}

impl Handshake {
    fn ip(&self) -> Option<IpAddr> {
        ip(&self.peer)
    }
}

fn ip(peer: &Peer) -> Option<IpAddr> {
    match peer {
        Peer::Tcp(address) => Some(address.ip()),
        _ => None,
    }
}

/// The state of the thread.
struct Handshaker {
    server: Arc<Server>,
    poll: Poll,
    /// By their numbers, which are their tokens: the oldest is the first.
    pending: BTreeMap<usize, Handshake>,
    per_address: HashMap<IpAddr, usize>,
    next: usize,
    accept_pending: bool,
    accept_again: Option<Instant>,
    failures: Failures,
    looked_at_files: Instant,
    looked_at_certificates: Instant,
}

impl Handshaker {
    fn new(server: Arc<Server>, poll: Poll) -> Self {
        let now = Instant::now();
        Self {
            server,
            poll,
            pending: BTreeMap::new(),
            per_address: HashMap::new(),
            next: 0,
            accept_pending: false,
            accept_again: None,
            failures: Failures::default(),
            looked_at_files: now,
            looked_at_certificates: now,
        }
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        while !self.server.handshakes.is_stopping() {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            if self.server.handshakes.take_change() {
                self.register();
            }
            for event in &events {
                match event.token() {
                    WAKER => {}
                    Token(token) if token >= LISTENERS => self.accept_pending = true,
                    Token(token) => self.advance(token),
                }
            }
            let now = Instant::now();
            if self.accept_again.is_some_and(|at| at <= now) {
                self.accept_again = None;
                self.register();
            }
            if self.accept_pending {
                self.accept();
            }
            self.end_late(now);
            self.look_at_files(now);
        }
        Ok(())
    }

    /// How long there is nothing to do; nothing: until the next event.
    fn timeout(&self) -> Option<Duration> {
        if self.accept_pending {
            return Some(Duration::ZERO);
        }
        let oldest = self.pending.first_key_value();
        let interval = self.reload_interval();
        let times = [
            self.accept_again,
            oldest.map(|(_, handshake)| handshake.began + HANDSHAKE_TIMEOUT),
            interval.map(|interval| self.looked_at_files + interval),
            Some(self.looked_at_certificates + CERTIFICATE_INTERVAL),
        ];
        let next = times.into_iter().flatten().min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn reload_interval(&self) -> Option<Duration> {
        let seconds = self.server.engine.config.size(P::TlsAutoReloadInterval);
        (seconds > 0).then(|| Duration::from_secs(seconds as u64))
    }

    /// Adds the present listeners to the poll. Closed ones have left it by themselves.
    fn register(&mut self) {
        let mut listeners = self.server.lock_listeners();
        for (number, listener) in listeners.iter_mut().enumerate() {
            if listener.is_tls()
                && let Err(error) =
                    listener.register(self.poll.registry(), Token(LISTENERS + number))
            {
                log::warn!("Changing the listening sockets: {}", os_text(&error));
                self.accept_again = Some(Instant::now() + ACCEPT_RETRY);
            }
        }
        self.accept_pending = true;
    }

    // ---- accepting ---------------------------------------------------------------------------

    /// Accepts `max-new-tls-connections-per-cycle` connections at most; handshakes that are under
    /// way go on before further ones begin.
    fn accept(&mut self) {
        let per_cycle = P::MaxNewTlsConnectionsPerCycle;
        let mut budget = self.server.engine.config.size(per_cycle).max(1);
        let mut number = 0;
        while budget > 0 {
            let listeners = self.server.lock_listeners();
            let Some(listener) = listeners.get(number) else {
                self.accept_pending = false;
                return;
            };
            if !listener.is_tls() {
                number += 1;
                continue;
            }
            let accepted = listener.accept();
            drop(listeners);
            match accepted {
                Ok(accepted) => {
                    budget -= 1;
                    self.begin(accepted);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    number += 1;
                    if error.kind() != io::ErrorKind::WouldBlock {
                        self.accept_again = Some(Instant::now() + ACCEPT_RETRY);
                        let text = os_text(&error);
                        self.failures
                            .log(|| format!("Accepting client connection: {text}"));
                    }
                }
            }
        }
    }

    fn begin(&mut self, accepted: Accepted) {
        let Some(settings) = self.server.tls.settings() else {
            // TLS was switched off meanwhile.
            return;
        };
        let Stream::Tcp(mut socket) = accepted.stream else {
            return;
        };
        self.make_room(ip(&accepted.peer));
        let token = self.next;
        self.next += 1;
        if let Err(error) = register(&self.poll, &mut socket, token) {
            self.failures
                .log(|| format!("Registering a client socket: {error}"));
            return;
        }
        match TlsStream::new(socket, Arc::clone(&settings.server)) {
            Ok(stream) => {
                let handshake = Handshake {
                    stream,
                    peer: accepted.peer,
                    local: accepted.local,
                    began: Instant::now(),
                };
                if let Some(ip) = handshake.ip() {
                    *self.per_address.entry(ip).or_default() += 1;
                }
                self.pending.insert(token, handshake);
                self.advance(token);
            }
            Err(error) => self.failures.log(|| format!("TLS: {error}")),
        }
    }

    /// Ends the oldest handshake of the address when it has too many, and the oldest of all when
    /// there are too many, or clients and handshakes together reach `maxclients`.
    fn make_room(&mut self, ip: Option<IpAddr>) {
        let of_address = ip.and_then(|ip| self.per_address.get(&ip)).copied();
        if of_address.unwrap_or(0) >= HANDSHAKES_PER_ADDRESS {
            let oldest = self.pending.iter().find(|(_, it)| it.ip() == ip);
            if let Some(token) = oldest.map(|(token, _)| *token) {
                self.end(token, "its address has too many unfinished handshakes");
            }
        }
        let max = self.server.engine.config.size(P::Maxclients);
        let together = self.server.engine.clients.count() + self.pending.len();
        if self.pending.len() >= HANDSHAKES_MAX || together >= max {
            let oldest = self.pending.first_key_value();
            if let Some(token) = oldest.map(|(token, _)| *token) {
                self.end(token, "there are too many unfinished handshakes");
            }
        }
    }

    // ---- handshakes --------------------------------------------------------------------------

    fn advance(&mut self, token: usize) {
        let Some(handshake) = self.pending.get_mut(&token) else {
            return;
        };
        // A defect that one client can cause must not cost the others theirs.
        let stream = AssertUnwindSafe(&mut handshake.stream);
        let result = catch_unwind(|| { stream }.shake_hands());
        match result {
            Ok(Ok(true)) => self.finish(token),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                let reason = reason(&error);
                self.end(token, &reason);
            }
            Err(panic) => {
                let text = panic_text(panic.as_ref());
                self.end(token, &format!("a panic: {text}"));
            }
        }
    }

    /// Hands an encrypted connection to the first worker.
    fn finish(&mut self, token: usize) {
        let Some(mut handshake) = self.take(token) else {
            return;
        };
        let socket = handshake.stream.socket_mut();
        if let Err(error) = self.poll.registry().deregister(socket) {
            log::debug!("Deregistering a client socket: {error}");
        }
        let config = &self.server.engine.config;
        let certificate = handshake.stream.peer_certificate();
        let names = certificate.map_or_else(Vec::new, |der| client_names(config, der));
        log::debug!(
            "TLS handshake with {} done{}",
            handshake.peer,
            if handshake.stream.is_resumed() {
                ", resumed"
            } else {
                ""
            }
        );
        let accepted = Accepted {
            stream: Stream::Tls(Box::new(handshake.stream)),
            peer: handshake.peer,
            local: handshake.local,
            names,
        };
        if let Some(worker) = self.server.workers.first() {
            worker.mailbox.send(Message::Welcome(Box::new(accepted)));
        }
    }

    fn end(&mut self, token: usize, reason: &str) {
        if let Some(handshake) = self.take(token) {
            let (peer, local) = (&handshake.peer, &handshake.local);
            self.failures.log(|| {
                format!("Error accepting a client connection: {reason} (addr={peer} laddr={local})")
            });
        }
    }

    fn take(&mut self, token: usize) -> Option<Handshake> {
        let handshake = self.pending.remove(&token)?;
        if let Some(ip) = handshake.ip()
            && let Some(count) = self.per_address.get_mut(&ip)
        {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&ip);
            }
        }
        Some(handshake)
    }

    fn end_late(&mut self, now: Instant) {
        while let Some((token, handshake)) = self.pending.first_key_value()
            && handshake.began + HANDSHAKE_TIMEOUT <= now
        {
            let token = *token;
            self.end(token, "the TLS handshake took too long");
        }
    }

    // ---- files -------------------------------------------------------------------------------

    /// Reads changed files again, every `tls-auto-reload-interval`, and looks at the ends of
    /// certificates once a day.
    fn look_at_files(&mut self, now: Instant) {
        let is_due = |interval| now >= self.looked_at_files + interval;
        if self.reload_interval().is_some_and(is_due) {
            self.looked_at_files = now;
            match self.server.tls.reload(&self.server.engine.config) {
                Reload::Unchanged => log::debug!("TLS reload skipped: materials unchanged"),
                Reload::Done => log::info!("TLS materials reloaded successfully"),
                Reload::Failed(reason) => {
                    log::warn!("TLS reload failed, the old materials stay in use: {reason}");
                }
            }
        }
        if now >= self.looked_at_certificates + CERTIFICATE_INTERVAL {
            self.looked_at_certificates = now;
            if let Some(settings) = self.server.tls.settings() {
                settings.announce();
            }
        }
    }
}

fn register(poll: &Poll, socket: &mut mio::net::TcpStream, token: usize) -> io::Result<()> {
    let interest = mio::Interest::READABLE.add(mio::Interest::WRITABLE);
    poll.registry().register(socket, Token(token), interest)
}

/// Why a handshake failed.
fn reason(error: &io::Error) -> String {
    use rustls::{Error, InvalidMessage};
    let tls = error.get_ref().and_then(|it| it.downcast_ref::<Error>());
    match (tls, error.kind()) {
        (Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)), _) => {
            "the client does not speak TLS, but the port is for TLS only".to_owned()
        }
        (Some(tls), _) => format!("the TLS handshake failed: {tls}"),
        (None, io::ErrorKind::UnexpectedEof) => {
            "the client hung up during the TLS handshake".to_owned()
        }
        (None, _) => format!("the TLS handshake failed: {}", os_text(error)),
    }
}

/// Lines about failures, which clients can cause as often as they like.
#[derive(Default)]
struct Failures {
    logged: Option<Instant>,
    unlogged: u64,
}

impl Failures {
    fn log(&mut self, line: impl FnOnce() -> String) {
        let now = Instant::now();
        if self.logged.is_some_and(|at| now < at + LOG_INTERVAL) {
            self.unlogged += 1;
            log::debug!("{}", line());
            return;
        }
        self.logged = Some(now);
        match std::mem::take(&mut self.unlogged) {
            0 => log::info!("{}", line()),
            more => log::info!("{} ({more} more since the last such line)", line()),
        }
    }
}
