//! Connections to other servers, for MIGRATE.
//!
//! They are ordinary sockets in blocking mode, used by one command at a time. A connection is kept
//! for a while after its command: keys are moved in series, and the next MIGRATE then costs one
//! round trip.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::tls::{self, OutgoingStream};
use crate::transport::listener::Listener;

/// How long a connection is kept without use.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// Most connections that are kept.
const KEPT_MAX: usize = 64;

/// Bytes that are written at once: each piece has the whole timeout.
const PIECE: usize = 64 * 1024;

/// Longest line of a reply that is read, in bytes; they are `+OK` or an error.
const LINE_MAX: u64 = 64 * 1024;

/// A connection to a server.
pub struct Connection {
    stream: BufReader<OutgoingStream>,
    /// The database that is selected there, as far as known.
    pub db: Option<i64>,
    last_used: Instant,
}

impl Connection {
    /// Connects, trying all addresses of the name; with a configuration of TLS the connection is
    /// encrypted.
    ///
    /// # Errors
    /// The error of the last address, or of the handshake.
    pub fn open(
        host: &str,
        port: u16,
        timeout: Duration,
        encryption: Option<Arc<ClientConfig>>,
    ) -> io::Result<Connection> {
        let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
        for addr in (host, port).to_socket_addrs()? {
            result = TcpStream::connect_timeout(&addr, timeout);
            if result.is_ok() {
                break;
            }
        }
        let socket = result?;
        socket.set_nodelay(true)?;
        let stream = match encryption {
            None => OutgoingStream::Plain(socket),
            Some(config) => {
                socket.set_read_timeout(Some(timeout))?;
                socket.set_write_timeout(Some(timeout))?;
                tls::connect(socket, host, config)?
            }
        };
        Ok(Connection {
            stream: BufReader::new(stream),
            db: None,
            last_used: Instant::now(),
        })
    }

    /// True when the other end is one of these sockets: the server would wait for itself.
    pub fn leads_to(&self, listeners: &[Listener]) -> bool {
        let stream = self.stream.get_ref().socket();
        let (Ok(local), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) else {
            return false;
        };
        let is_peer = |listener: &Listener| match listener {
            Listener::Tcp(listener) | Listener::Tls(listener) => {
                listener.local_addr().is_ok_and(|addr| {
                    let here = addr.ip() == peer.ip()
                        || (addr.ip().is_unspecified() && addr.is_ipv4() == peer.is_ipv4());
                    here && addr.port() == peer.port()
                })
            }
            Listener::Unix(..) => false,
        };
        // Between two addresses of the same machine the kernel takes the same for both ends, but
        // for loopback.
        let is_local = local.ip() == peer.ip() || peer.ip().is_loopback();
        is_local && listeners.iter().any(is_peer)
    }

    /// Limits how long each step may take.
    ///
    /// # Errors
    /// The error of the system.
    pub fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        let stream = self.stream.get_ref().socket();
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))
    }

    /// Sends all bytes.
    ///
    /// # Errors
    /// A piece of them was not taken in time, or the connection is broken.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.stream.get_mut();
        bytes
            .chunks(PIECE)
            .try_for_each(|piece| stream.write_all(piece))
    }

    /// Reads a line without its end.
    ///
    /// # Errors
    /// It did not come in time, is longer than any that is expected, or the connection is broken.
    pub fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let mut limited = (&mut self.stream).take(LINE_MAX);
        limited.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(line)
    }
}

/// Connections that are kept, by host and port as they were asked for. One in use is not here.
#[derive(Default)]
pub struct Connections {
    kept: Mutex<HashMap<(Vec<u8>, u16), Connection>>,
}

impl Connections {
    /// Takes the connection to a server out.
    pub fn take(&self, host: &[u8], port: u16) -> Option<Connection> {
        self.lock().remove(&(host.to_vec(), port))
    }

    /// Keeps a connection for the next command.
    pub fn keep(&self, host: &[u8], port: u16, mut connection: Connection) {
        connection.last_used = Instant::now();
        let mut kept = self.lock();
        if kept.len() >= KEPT_MAX {
            let oldest = kept.iter().min_by_key(|(_, one)| one.last_used);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                kept.remove(&oldest);
            }
        }
        kept.insert((host.to_vec(), port), connection);
    }

    /// Closes what was not used for a while.
    pub fn close_idle(&self) {
        self.lock()
            .retain(|_, connection| connection.last_used.elapsed() <= KEPT_FOR);
    }

    /// How many connections are kept.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// True when none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(Vec<u8>, u16), Connection>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
