//! A connection that sends in batches.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use resp::Value;

/// A connection to a server.
pub(super) struct Connection {
    stream: TcpStream,
    out: Vec<u8>,
    input: Vec<u8>,
}

impl Connection {
    pub(super) fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self {
            stream,
            out: Vec::new(),
            input: Vec::new(),
        })
    }

    pub(super) fn send(&mut self, command: &[Vec<u8>]) {
        self.out
            .extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
        for word in command {
            self.out
                .extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            self.out.extend_from_slice(word);
            self.out.extend_from_slice(b"\r\n");
        }
    }

    pub(super) fn receive(&mut self, count: usize) -> Result<Vec<Value>> {
        self.stream.write_all(&std::mem::take(&mut self.out))?;
        let mut replies = Vec::with_capacity(count);
        let mut chunk = [0; 65_536];
        let mut at = 0;
        while replies.len() < count {
            match resp::decode(&self.input[at..])? {
                Some((value, len)) => {
                    at += len;
                    replies.push(value);
                }
                None => {
                    let read = self.stream.read(&mut chunk).context("a server is silent")?;
                    if read == 0 {
                        bail!("a server closed the connection");
                    }
                    self.input.extend_from_slice(&chunk[..read]);
                }
            }
        }
        self.input.drain(..at);
        Ok(replies)
    }

    pub(super) fn ask(&mut self, words: &[&str]) -> Result<Value> {
        let command: Vec<Vec<u8>> = words.iter().map(|word| (*word).into()).collect();
        self.send(&command);
        self.receive(1)?.pop().context("one reply")
    }
}
