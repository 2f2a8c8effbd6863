//! Echo loops: servers that count requests and answer each with the same bytes. They show what an
//! event loop costs before it does any work, and so what a real server can at best reach.

#[cfg(feature = "tokio")]
mod on_tokio;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, bail};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::replies::Counter;

/// Which loop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One thread, epoll through mio.
    Mio,
    /// A blocking thread per connection.
    Threads,
    /// Tokio's current-thread runtime, a task per connection.
    #[cfg(feature = "tokio")]
    Tokio,
}

impl Kind {
    /// Every loop that this build contains.
    pub(crate) const ALL: &[Kind] = &[
        Kind::Mio,
        Kind::Threads,
        #[cfg(feature = "tokio")]
        Kind::Tokio,
    ];

    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Mio => "mio",
            Kind::Threads => "threads",
            #[cfg(feature = "tokio")]
            Kind::Tokio => "tokio",
        }
    }

    /// The name in tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Kind::Mio => "bare mio echo",
            Kind::Threads => "bare thread-per-connection echo",
            #[cfg(feature = "tokio")]
            Kind::Tokio => "bare tokio echo",
        }
    }
}

/// Serves on `port` of the loopback interface until the process is killed. Every request is
/// answered with a bulk string of `reply_len` bytes.
pub(crate) fn serve(kind: &str, port: u16, reply_len: usize) -> Result<()> {
    let Some(&kind) = Kind::ALL.iter().find(|candidate| candidate.name() == kind) else {
        bail!("no such loop in this build: {kind}");
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut reply = format!("${reply_len}\r\n").into_bytes();
    reply.resize(reply.len() + reply_len, b'v');
    reply.extend_from_slice(b"\r\n");
    match kind {
        Kind::Mio => serve_mio(address, &reply),
        Kind::Threads => serve_threads(address, &reply),
        #[cfg(feature = "tokio")]
        Kind::Tokio => on_tokio::serve(address, reply),
    }
}

/// The token of the listening socket, which no connection can reach.
const LISTENER: Token = Token(usize::MAX);

/// A client of the mio loop. Tokens are indexes of the list of connections, which only grows: a
/// benchmark opens some hundreds.
struct Connection {
    stream: TcpStream,
    requests: Counter,
    /// Replies that the socket has not taken yet.
    output: Vec<u8>,
}

/// The loop that the design has to stay near: read what is there, answer all of it in one write,
/// wait.
fn serve_mio(address: SocketAddr, reply: &[u8]) -> Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(address)?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events = Events::with_capacity(1024);
    let mut input = vec![0; 64 << 10];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut connections)?;
                continue;
            }
            let place = connections
                .get_mut(event.token().0)
                .context("event of an unknown connection")?;
            if let Some(connection) = place
                && connection.turn(&mut input, reply).is_err()
            {
                *place = None;
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    poll: &Poll,
    connections: &mut Vec<Option<Connection>>,
) -> Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        stream.set_nodelay(true)?;
        let token = Token(connections.len());
        poll.registry()
            .register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        connections.push(Some(Connection {
            stream,
            requests: Counter::default(),
            output: Vec::new(),
        }));
    }
}

impl Connection {
    /// Reads, answers complete requests and sends. An error means that the connection is over.
    fn turn(&mut self, input: &mut [u8], reply: &[u8]) -> Result<()> {
        loop {
            match self.stream.read(input) {
                Ok(0) => bail!("closed"),
                Ok(length) => {
                    push_replies(
                        &mut self.output,
                        reply,
                        self.requests.feed(&input[..length])?,
                    );
                    if length < input.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(written) => drop(self.output.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The model of a thread for each connection, on blocking sockets and with small stacks.
fn serve_threads(address: SocketAddr, reply: &[u8]) -> Result<()> {
    let listener = std::net::TcpListener::bind(address)?;
    for stream in listener.incoming() {
        let stream = stream?;
        let reply = reply.to_vec();
        // The end of a connection, orderly or not, is the end of its thread.
        std::thread::Builder::new()
            .stack_size(64 << 10)
            .spawn(move || drop(serve_blocking(stream, &reply)))?;
    }
    Ok(())
}

fn serve_blocking(mut stream: std::net::TcpStream, reply: &[u8]) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut requests = Counter::default();
    let mut input = vec![0; 16 << 10];
    let mut output = Vec::new();
    loop {
        let length = stream.read(&mut input)?;
        if length == 0 {
            return Ok(());
        }
        push_replies(&mut output, reply, requests.feed(&input[..length])?);
        stream.write_all(&output)?;
        output.clear();
    }
}

/// Appends `count` copies of `reply`.
fn push_replies(output: &mut Vec<u8>, reply: &[u8], count: u64) {
    for _ in 0..count {
        output.extend_from_slice(reply);
    }
}
