//! A blocking client for everything that is not measured: filling, asking, waiting.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::replies::Counter;
use crate::workload::{push_line, push_request};

/// How long one reply may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);
/// Requests are sent in pieces of about this many bytes. A piece fits into the socket buffers
/// together with its short replies, so that neither side can wait for the other for ever.
const PIECE_LEN: usize = 64 << 10;

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    /// Connects with Nagle's algorithm off and with limits on every wait.
    pub(crate) fn connect(address: SocketAddr) -> Result<Client> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
        Ok(Client {
            stream,
            input: vec![0; 64 << 10],
        })
    }

    /// Sends one request and returns its reply, which has to be an integer. Such a reply is one
    /// line, so it is complete when it ends like one.
    pub(crate) fn integer(&mut self, words: &[&[u8]]) -> Result<i64> {
        let mut request = Vec::new();
        push_request(&mut request, words);
        self.stream.write_all(&request)?;
        let mut reply = Vec::new();
        while !reply.ends_with(b"\r\n") {
            let length = self.stream.read(&mut self.input)?;
            if length == 0 {
                bail!("the server closed the connection");
            }
            reply.extend_from_slice(&self.input[..length]);
        }
        let text = String::from_utf8_lossy(&reply);
        let digits = text
            .trim_end()
            .strip_prefix(':')
            .with_context(|| format!("not an integer: {text:?}"))?;
        Ok(digits.parse()?)
    }

    /// The connection, for a caller that reads and writes by itself.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// A section of INFO.
    pub(crate) fn info(&mut self, section: &str) -> Result<String> {
        let mut request = Vec::new();
        push_request(&mut request, &[b"INFO", section.as_bytes()]);
        self.stream.write_all(&request)?;
        let mut counter = Counter::default();
        let mut reply = Vec::new();
        let mut complete = 0;
        while complete == 0 {
            let length = self.stream.read(&mut self.input)?;
            if length == 0 {
                bail!("the server closed the connection");
            }
            complete = counter.feed(&self.input[..length])?;
            reply.extend_from_slice(&self.input[..length]);
        }
        Ok(String::from_utf8_lossy(&reply).into_owned())
    }

    /// Sends one request and waits for its reply, which must not be an error.
    pub(crate) fn command(&mut self, words: &[&[u8]]) -> Result<()> {
        let mut request = Vec::new();
        push_request(&mut request, words);
        self.exchange(&request, 1)
    }

    /// Sends the request of a line, as `push_line` reads it, and waits for its reply, which must
    /// not be an error.
    pub(crate) fn line(&mut self, line: &str) -> Result<()> {
        let mut request = Vec::new();
        push_line(&mut request, line);
        self.exchange(&request, 1)
    }

    /// Sends one request.
    pub(crate) fn send(&mut self, words: &[&[u8]]) -> Result<()> {
        let mut request = Vec::new();
        push_request(&mut request, words);
        self.stream.write_all(&request).context("sending a request")
    }

    /// Waits for so many replies to requests that were sent.
    pub(crate) fn receive(&mut self, awaited: u64) -> Result<()> {
        self.exchange(&[], awaited)
    }

    /// Sends `count` requests, the bytes of which `push` appends, pipelined.
    pub(crate) fn fill(
        &mut self,
        count: u64,
        mut push: impl FnMut(u64, &mut Vec<u8>),
    ) -> Result<()> {
        let mut piece = Vec::with_capacity(2 * PIECE_LEN);
        let mut requests = 0;
        for index in 0..count {
            push(index, &mut piece);
            requests += 1;
            if piece.len() >= PIECE_LEN || index + 1 == count {
                self.exchange(&piece, requests)?;
                piece.clear();
                requests = 0;
            }
        }
        Ok(())
    }

    /// Sends all of `requests` and waits for `awaited` replies; an error among them is an error
    /// here.
    fn exchange(&mut self, requests: &[u8], mut awaited: u64) -> Result<()> {
        self.stream
            .write_all(requests)
            .context("sending requests")?;
        let mut counter = Counter::default();
        while awaited > 0 {
            let length = self
                .stream
                .read(&mut self.input)
                .context("reading replies")?;
            if length == 0 {
                bail!("the server closed the connection");
            }
            let complete = counter.feed(&self.input[..length])?;
            awaited = awaited
                .checked_sub(complete)
                .context("more replies than requests")?;
            if let Some(error) = counter.take_error() {
                bail!("the server answered with an error: {error}");
            }
        }
        Ok(())
    }
}
