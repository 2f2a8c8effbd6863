//! Listening sockets.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use engine::client::Peer;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use super::stream::Stream;

/// A listening socket.
pub enum Listener {
    /// TCP.
    Tcp(mio::net::TcpListener),
    /// TCP for connections that begin with a TLS handshake.
    Tls(mio::net::TcpListener),
    /// Unix domain; the path is removed when the listener goes.
    Unix(mio::net::UnixListener, PathBuf),
}

/// A connection as it came in.
pub struct Accepted {
    /// The socket.
    pub stream: Stream,
    /// Its other end.
    pub peer: Peer,
    /// This end.
    pub local: Peer,
    /// Users that its certificate names, best first.
    pub names: Vec<Vec<u8>>,
}

impl Listener {
    /// Listens on one TCP address.
    fn tcp(addr: SocketAddr, backlog: i32) -> io::Result<mio::net::TcpListener> {
        let socket = Socket::new(
            Domain::for_address(addr),
            Type::STREAM.nonblocking().cloexec(),
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&addr.into())?;
        socket.listen(backlog)?;
        Ok(mio::net::TcpListener::from_std(socket.into()))
    }

    /// Listens on a Unix socket; a stale socket file is replaced. `mode` 0 leaves the permissions
    /// to the umask.
    pub fn unix(path: &Path, mode: u32, backlog: i32) -> io::Result<Self> {
        if path.exists() {
            std::fs::remove_file(path)?;
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
        socket.bind(&socket2::SockAddr::unix(path)?)?;
        if mode != 0 {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        }
        socket.listen(backlog)?;
        let listener: std::os::unix::net::UnixListener = socket.into();
        Ok(Self::Unix(
            mio::net::UnixListener::from_std(listener),
            path.to_owned(),
        ))
    }

    /// Listens on an address of `bind`. `*` and `::*` are all addresses of their family.
    pub fn bind(host: &str, port: u16, backlog: i32) -> io::Result<Self> {
        Self::bind_tcp(host, port, backlog).map(Self::Tcp)
    }

    /// The same for connections that begin with a TLS handshake.
    pub fn bind_tls(host: &str, port: u16, backlog: i32) -> io::Result<Self> {
        Self::bind_tcp(host, port, backlog).map(Self::Tls)
    }

    fn bind_tcp(host: &str, port: u16, backlog: i32) -> io::Result<mio::net::TcpListener> {
        let host = match host {
            "*" => "0.0.0.0",
            "::*" => "::",
            other => other,
        };
        let addr = (host, port)
            .to_socket_addrs()?
            .next()
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        Self::tcp(addr, backlog)
    }

    /// Whether connections begin with a TLS handshake.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// `tcp`, `tls` or `unix`, for the log.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Tcp(_) => "tcp",
            Self::Tls(_) => "tls",
            Self::Unix(..) => "unix",
        }
    }

    /// Adds the listener to a poll, unless it is there already.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let added = match self {
            Self::Tcp(listener) | Self::Tls(listener) => {
                registry.register(listener, token, Interest::READABLE)
            }
            Self::Unix(listener, _) => registry.register(listener, token, Interest::READABLE),
        };
        match added {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            added => added,
        }
    }

    /// Removes the listener from a poll.
    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(listener) | Self::Tls(listener) => registry.deregister(listener),
            Self::Unix(listener, _) => registry.deregister(listener),
        }
    }

    /// Takes the next connection. One that begins with a handshake is handed out before that.
    pub fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) | Self::Tls(listener) => {
                let (stream, peer) = listener.accept()?;
                let local = stream.local_addr().map_or(Peer::None, Peer::Tcp);
                Ok(Accepted {
                    stream: Stream::Tcp(stream),
                    peer: Peer::Tcp(peer),
                    local,
                    names: Vec::new(),
                })
            }
            Self::Unix(listener, path) => {
                let (stream, _) = listener.accept()?;
                Ok(Accepted {
                    stream: Stream::Unix(stream),
                    peer: Peer::Unix(path.clone()),
                    local: Peer::Unix(path.clone()),
                    names: Vec::new(),
                })
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // A missing file is no error: another process may have replaced the socket.
            let _ = std::fs::remove_file(path);
        }
    }
}
