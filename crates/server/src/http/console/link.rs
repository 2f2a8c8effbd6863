//! A connection to the server, inside of the process.

use std::io;

use engine::client::Peer;
use tokio::net::UnixStream;

use crate::http::routes::Ends;
use crate::server::Server;

/// Bytes of one read from the socket.
const CHUNK: usize = 64 * 1024;

/// One end of the connection, with what was read and not used yet.
pub(super) struct Link {
    stream: UnixStream,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were used.
    used: usize,
}

impl Link {
    /// Connects to a worker, for which the client has the addresses of the HTTP connection.
    pub(super) fn open(server: &Server, ends: Ends) -> io::Result<Link> {
        let own = server.connect(Peer::Tcp(ends.peer), Peer::Tcp(ends.local))?;
        own.set_nonblocking(true)?;
        Ok(Link {
            stream: UnixStream::from_std(own)?,
            buffer: Vec::new(),
            used: 0,
        })
    }

    /// Sends all of these bytes.
    pub(super) async fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.writable().await?;
            match self.stream.try_write(bytes) {
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads more; an error at the end of the connection.
    async fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.used);
        self.used = 0;
        loop {
            self.stream.readable().await?;
            let mut chunk = [0; CHUNK];
            match self.stream.try_read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(got) => {
                    self.buffer
                        .extend_from_slice(chunk.get(..got).unwrap_or_default());
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.used..).unwrap_or_default()
    }

    /// The next line, without its end.
    pub(super) async fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut searched = 0;
        loop {
            let rest = self.rest();
            let found = rest
                .get(searched..)
                .and_then(|it| memchr::memchr(b'\n', it));
            if let Some(at) = found {
                let line = rest.get(..searched + at).unwrap_or_default();
                let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
                self.used += searched + at + 1;
                return Ok(line);
            }
            searched = rest.len();
            self.fill().await?;
        }
    }

    /// The next `len` bytes and the line end behind them; of these bytes the first `kept`.
    pub(super) async fn bulk(&mut self, len: usize, kept: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(len.min(kept));
        let mut left = len + 2;
        while left > 0 {
            if self.rest().is_empty() {
                self.fill().await?;
            }
            let take = self.rest().len().min(left);
            let wanted = len.min(kept).saturating_sub(bytes.len()).min(take);
            bytes.extend_from_slice(
                self.buffer
                    .get(self.used..self.used + wanted)
                    .unwrap_or_default(),
            );
            self.used += take;
            left -= take;
        }
        Ok(bytes)
    }
}
