//! The transports a client may come by.

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use socket2::{SockRef, TcpKeepalive};

use super::pipe::Pipe;
use crate::tls::TlsStream;

/// A connected socket.
pub enum Stream {
    /// TCP.
    Tcp(mio::net::TcpStream),
    /// A Unix domain socket.
    Unix(mio::net::UnixStream),
    /// TLS over TCP, behind its handshake.
    Tls(Box<TlsStream<mio::net::TcpStream>>),
    /// A client inside of the process.
    Memory(Pipe),
}

impl Stream {
    /// Sets what every TCP client gets: no delay for small replies, and keepalive probes every
    /// `keepalive_s` seconds (0: none).
    pub fn configure(&self, keepalive_s: u64) -> io::Result<()> {
        let stream = match self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => stream.socket(),
            Self::Unix(_) | Self::Memory(_) => return Ok(()),
        };
        stream.set_nodelay(true)?;
        if keepalive_s > 0 {
            // As Redis: the first probe after the interval, then three probes in the same time
            // again.
            let keepalive = TcpKeepalive::new()
                .with_time(Duration::from_secs(keepalive_s))
                .with_interval(Duration::from_secs((keepalive_s / 3).max(1)))
                .with_retries(3);
            SockRef::from(stream).set_tcp_keepalive(&keepalive)?;
        }
        Ok(())
    }

    /// Lets the system collect small writes (`repl-disable-tcp-nodelay`).
    pub fn delay_small_writes(&self) {
        let stream = match self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => stream.socket(),
            Self::Unix(_) | Self::Memory(_) => return,
        };
        if let Err(error) = stream.set_nodelay(false) {
            log::debug!("Setting options of a replica's socket: {error}");
        }
    }

    /// Reads into initialised memory.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(into),
            Self::Unix(stream) => stream.read(into),
            Self::Tls(stream) => stream.read(into),
            Self::Memory(pipe) => pipe.read(into),
        }
    }

    /// Reads behind the end of a vector.
    pub fn read_behind(&mut self, buffer: &mut Vec<u8>, max: usize) -> io::Result<usize> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => super::sys::read_behind(self, buffer, max),
            Self::Tls(stream) => stream.read_behind(buffer, max),
            Self::Memory(pipe) => {
                let start = buffer.len();
                buffer.resize(start + max, 0);
                let got = pipe.read(buffer.get_mut(start..).unwrap_or_default());
                buffer.truncate(start + got.as_ref().copied().unwrap_or(0));
                got
            }
        }
    }

    /// Whether a read may bring bytes although the last one has emptied the socket.
    pub fn has_more(&self) -> bool {
        match self {
            Self::Tls(stream) => stream.has_more(),
            Self::Tcp(_) | Self::Unix(_) | Self::Memory(_) => false,
        }
    }

    /// Whether bytes that count as written have yet to be taken by the socket.
    pub fn has_unsent(&self) -> bool {
        match self {
            Self::Tls(stream) => stream.has_unsent(),
            Self::Tcp(_) | Self::Unix(_) | Self::Memory(_) => false,
        }
    }

    /// Writes such bytes; `WouldBlock` when some are left.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tls(stream) => stream.flush(),
            Self::Tcp(_) | Self::Unix(_) | Self::Memory(_) => Ok(()),
        }
    }

    /// Heap memory of buffers, in bytes.
    pub fn memory_usage(&self) -> usize {
        match self {
            Self::Tls(stream) => size_of_val(&**stream) + stream.memory_usage(),
            Self::Tcp(_) | Self::Unix(_) | Self::Memory(_) => 0,
        }
    }

    /// Writes one piece. Encrypted bytes count as written although the socket may not have taken
    /// them ([`Stream::has_unsent`]).
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write([bytes], bytes.len()),
            Self::Memory(pipe) => pipe.write(bytes),
        }
    }

    /// Writes several pieces with one call.
    pub fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write_vectored(pieces),
            Self::Unix(stream) => stream.write_vectored(pieces),
            Self::Tls(stream) => stream.write(pieces.iter().map(|piece| &**piece), usize::MAX),
            Self::Memory(pipe) => pipe.write(pieces.first().map_or(&[], |piece| piece)),
        }
    }

    /// Adds the socket to a poll, for both directions.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE.add(Interest::WRITABLE);
        match self {
            Self::Tcp(stream) => stream.register(registry, token, interest),
            Self::Unix(stream) => stream.register(registry, token, interest),
            Self::Tls(stream) => stream.socket_mut().register(registry, token, interest),
            Self::Memory(_) => Ok(()),
        }
    }

    /// Removes the socket from a poll.
    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.deregister(registry),
            Self::Unix(stream) => stream.deregister(registry),
            Self::Tls(stream) => stream.socket_mut().deregister(registry),
            Self::Memory(_) => Ok(()),
        }
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(stream) => stream.as_raw_fd(),
            Self::Unix(stream) => stream.as_raw_fd(),
            Self::Tls(stream) => stream.socket().as_raw_fd(),
            Self::Memory(_) => -1,
        }
    }
}
