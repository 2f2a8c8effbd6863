//! Following a primary: one thread connects, synchronizes, and applies the stream.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::stream::Applier;
use super::{dual_channel, handshake, receive};
use crate::os::os_text;
use crate::server::Server;
use crate::state::{FEEDER, LinkState};
use crate::tls::{self, OutgoingStream};
use engine::client::{ClientShared, Peer, flag};
use engine::config::P;
use engine::execute::panic_text;

/// Time between two attempts to connect.
const RETRY: Duration = Duration::from_secs(1);
/// While files cannot be written that time doubles so often: every attempt costs the primary a
/// snapshot.
const DOUBLINGS_MAX: u32 = 5;
/// A read waits so long at most before the thread looks at its timers.
const READ_WAIT: Duration = Duration::from_millis(100);
/// Bytes read from the primary at once.
const READ_BYTES: usize = 256 * 1024;

/// Why the connection to a primary ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum FollowError {
    /// The socket failed, or nothing came for `repl-timeout`.
    #[error("{}", os_text(.0))]
    Io(#[from] io::Error),
    /// A file of this server cannot be written.
    #[error("{0}")]
    Disk(String),
    /// The primary has closed the connection.
    #[error("Connection with primary lost.")]
    Closed,
    /// It is silent.
    #[error("{}", .0.timeout_text())]
    Timeout(LinkState),
    /// It refuses, or says what is not understood.
    #[error("{0}")]
    Refused(String),
    /// This server follows another primary by now, or none, or it ends.
    #[error("it is not followed any more")]
    Replaced,
}

/// Starts the thread, which ends when the role changes again.
pub(super) fn start(server: &Arc<Server>, generation: u64) {
    let following = Arc::clone(server);
    let thread = std::thread::Builder::new()
        .name("primary-link".to_owned())
        .spawn(move || {
            let mut link = PrimaryLink {
                server: following,
                generation,
            };
            link.run();
        });
    if let Err(error) = thread {
        log::error!(
            "No thread to follow the primary: {}. REPLICAOF tries again.",
            os_text(&error)
        );
    }
}

/// The thread's state.
pub(super) struct PrimaryLink {
    pub(super) server: Arc<Server>,
    pub(super) generation: u64,
}

impl PrimaryLink {
    fn run(&mut self) {
        let mut disk_failures: u32 = 0;
        while self.is_current() {
            let result = catch_unwind(AssertUnwindSafe(|| self.follow_once()));
            self.note(LinkState::Connect);
            let role = &self.server.engine.role;
            if self.is_current() {
                role.set_linked(false);
            }
            disk_failures = match result {
                Ok(Err(FollowError::Disk(_))) => disk_failures.saturating_add(1),
                _ => 0,
            };
            match result {
                Ok(Err(FollowError::Replaced)) => break,
                Ok(Err(error)) => log::warn!("The link to the primary ended: {error}"),
                Ok(Ok(())) => {}
                Err(panic) => {
                    // Half of a command may have been applied.
                    let half_changed = &self.server.engine.switches.half_changed;
                    half_changed.store(true, Ordering::Release);
                    log::error!(
                        "A panic while following the primary: {}",
                        panic_text(panic.as_ref())
                    );
                    return;
                }
            }
            let steady_ms = self.server.engine.steady_ms();
            let replication = &self.server.replication;
            replication.update_following(self.generation, |it| it.down_since_ms = steady_ms);
            let doublings = disk_failures.saturating_sub(1).min(DOUBLINGS_MAX);
            self.pause(RETRY * (1 << doublings));
        }
    }

    /// This thread still has the link.
    pub(super) fn is_current(&self) -> bool {
        let replication = &self.server.replication;
        replication.generation.load(Ordering::Acquire) == self.generation
            && !self.server.shutdown.is_requested()
    }

    pub(super) fn check(&self) -> Result<(), FollowError> {
        match self.is_current() {
            true => Ok(()),
            false => Err(FollowError::Replaced),
        }
    }

    fn pause(&self, time: Duration) {
        let until_ms = self.server.engine.steady_ms() + time.as_millis() as u64;
        while self.is_current() && self.server.engine.steady_ms() < until_ms {
            std::thread::sleep(READ_WAIT);
        }
    }

    /// Stands still as long as DEBUG SLEEP says.
    fn sleep_out(&self) {
        let replication = &self.server.replication;
        while self.is_current() && replication.is_stopped(self.server.engine.steady_ms()) {
            std::thread::sleep(READ_WAIT);
        }
    }

    pub(super) fn note(&self, state: LinkState) {
        let replication = &self.server.replication;
        replication.update_following(self.generation, |it| it.state = state);
    }

    fn follow_once(&mut self) -> Result<(), FollowError> {
        let Some(following) = self.server.replication.following() else {
            return Err(FollowError::Replaced);
        };
        let (host, port) = (following.host, following.port);
        self.sleep_out();
        log::info!("Connecting to PRIMARY {host}:{port}");
        let mut wire = Wire::connect(self, &host, port)?;
        self.note(LinkState::Handshake);
        log::info!("PRIMARY <-> REPLICA sync started");
        let answer = handshake::run(self, &mut wire)?;
        match answer {
            handshake::Answer::Continue => {}
            handshake::Answer::Full { id, offset } => {
                self.note(LinkState::Sync);
                receive::run(self, &mut wire, &id, offset)?;
            }
            handshake::Answer::Apart => {
                dual_channel::run(self, &mut wire, (&host, port))?;
            }
        }
        self.check()?;
        self.server.engine.role.set_linked(true);
        self.note(LinkState::Connected);
        wire.list(self)?;
        Applier::new(self).run(&mut wire)
    }
}

/// The connection: bytes read ahead, and a time limit.
pub(super) struct Wire {
    socket: OutgoingStream,
    pub(super) input: Vec<u8>,
    /// Where a read goes first.
    arrived: Vec<u8>,
    heard_ms: u64,
    /// Its row of CLIENT LIST, as long as the stream is followed.
    listed: Option<Listed>,
}

/// The primary as a client, which CLIENT KILL can disconnect.
struct Listed {
    server: Arc<Server>,
    client: Arc<ClientShared>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.server.replication.set_primary_socket(None);
        self.server.engine.clients.remove(self.client.id);
    }
}

impl Wire {
    /// Connects to a primary.
    pub(super) fn connect(link: &PrimaryLink, host: &str, port: u16) -> Result<Self, FollowError> {
        let config = &link.server.engine.config;
        let timeout = Duration::from_secs(config.int(P::ReplTimeout).max(1) as u64);
        let no_tls = || FollowError::Refused("TLS is not configured".to_owned());
        let encryption = match config.bool(P::TlsReplication) {
            true => Some(link.server.tls.client().ok_or_else(no_tls)?),
            false => None,
        };
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in (host, port).to_socket_addrs()? {
            link.check()?;
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(socket) => {
                    socket.set_nodelay(true)?;
                    socket.set_read_timeout(Some(timeout))?;
                    socket.set_write_timeout(Some(timeout))?;
                    let socket = match &encryption {
                        None => OutgoingStream::Plain(socket),
                        Some(config) => tls::connect(socket, host, Arc::clone(config))?,
                    };
                    socket.socket().set_read_timeout(Some(READ_WAIT))?;
                    return Ok(Self {
                        socket,
                        input: Vec::new(),
                        arrived: vec![0; READ_BYTES],
                        heard_ms: link.server.engine.steady_ms(),
                        listed: None,
                    });
                }
                Err(error) => last = error,
            }
        }
        Err(last.into())
    }

    /// Reads what there is behind the input. False: nothing came within a tenth of a second.
    pub(super) fn read(&mut self, link: &PrimaryLink) -> Result<bool, FollowError> {
        if self.is_killed() {
            return Err(FollowError::Closed);
        }
        link.sleep_out();
        link.check()?;
        let got = self.socket.read(&mut self.arrived);
        let steady_ms = link.server.engine.steady_ms();
        match got {
            Ok(0) => Err(FollowError::Closed),
            Ok(got) => {
                let arrived = self.arrived.get(..got).unwrap_or_default();
                self.input.extend_from_slice(arrived);
                self.heard_ms = steady_ms;
                let total = &link.server.engine.replicas.net_input_bytes;
                total.fetch_add(arrived.len() as u64, Ordering::Relaxed);
                let replication = &link.server.replication;
                replication.update_following(link.generation, |it| it.heard_ms = steady_ms);
                if let Some(Listed { client, .. }) = &self.listed {
                    let (got, figures) = (got as u64, &client.figures);
                    figures.net_in.fetch_add(got, Ordering::Relaxed);
                    figures.last_active_ms.store(steady_ms, Ordering::Relaxed);
                }
                Ok(true)
            }
            Err(error) if is_no_data(&error) => {
                let limit_s = link.server.engine.config.int(P::ReplTimeout).max(1) as u64;
                match steady_ms.saturating_sub(self.heard_ms) > limit_s * 1000 {
                    true => {
                        let following = link.server.replication.following();
                        let state = following.map_or(LinkState::Connect, |it| it.state);
                        Err(FollowError::Timeout(state))
                    }
                    false => Ok(false),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Adds the primary to the clients.
    fn list(&mut self, link: &PrimaryLink) -> Result<(), FollowError> {
        let (server, socket) = (&link.server, self.socket.socket());
        let client = Arc::new(ClientShared::new(
            server.engine.clients.next_id(),
            Peer::Tcp(socket.peer_addr()?),
            &Peer::Tcp(socket.local_addr()?),
            socket.as_raw_fd(),
            server.engine.steady_ms(),
            FEEDER,
        ));
        let flags = &client.figures.flags;
        flags.store(flag::PRIMARY, Ordering::Relaxed);
        client.lock_details().user = b"(superuser)".to_vec();
        let killable = (Arc::clone(&client), socket.try_clone()?);
        server.replication.set_primary_socket(Some(killable));
        server.engine.clients.add(Arc::clone(&client));
        self.listed = Some(Listed {
            server: Arc::clone(server),
            client,
        });
        Ok(())
    }

    /// Another handle of the socket, to end the connection from another thread.
    pub(super) fn handle(&self) -> Result<TcpStream, FollowError> {
        Ok(self.socket.socket().try_clone()?)
    }

    /// CLIENT KILL has ended the connection.
    fn is_killed(&self) -> bool {
        let listed = self.listed.as_ref();
        listed.is_some_and(|it| it.client.kill.load(Ordering::Acquire))
    }

    /// Sends a request.
    pub(super) fn send(&mut self, request: &[&[u8]]) -> Result<(), FollowError> {
        let mut bytes = Vec::new();
        resp::request::encode(&mut bytes, request);
        Ok(self.socket.write_all(&bytes)?)
    }

    /// Sends an empty line, which says that this server is busy and not gone. A connection that has
    /// failed shows with the next read.
    pub(super) fn sign_of_life(&mut self) {
        let _ = self.socket.write_all(b"\n");
    }

    /// Reads a line, without its end. Empty lines are signs of life.
    pub(super) fn line(&mut self, link: &PrimaryLink) -> Result<Vec<u8>, FollowError> {
        /// Longer lines are none of the protocol's.
        const LINE_MAX: usize = 64 * 1024;
        loop {
            if let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.input.drain(..=end).collect();
                while line
                    .last()
                    .is_some_and(|byte| matches!(byte, b'\r' | b'\n'))
                {
                    line.pop();
                }
                if line.is_empty() {
                    continue;
                }
                return Ok(line);
            }
            if self.input.len() > LINE_MAX {
                return Err(FollowError::Refused("a line without an end".to_owned()));
            }
            self.read(link)?;
        }
    }
}

fn is_no_data(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}
