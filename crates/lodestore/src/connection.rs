//! A connection to a store of the same process, for commands that wait and for messages.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use resp::{Value, decode, request};

use crate::error::{Error, checked};
use crate::running::Running;

/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;

/// A message of a channel that was subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The pattern that the channel matches, for subscriptions to patterns.
    pub pattern: Option<Vec<u8>>,
    /// The channel.
    pub channel: Vec<u8>,
    /// What was published.
    pub payload: Vec<u8>,
}

/// A client with a connection: its commands may wait, and messages reach it.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use std::time::Duration;
/// let store = lodestore::Store::in_memory()?;
/// let mut news = store.connect()?;
/// news.subscribe(&["news"])?;
/// store.client().publish("news", "hello")?;
/// let message = news.message(Duration::from_secs(5))?;
/// assert_eq!(message.map(|message| message.payload), Some(b"hello".to_vec()));
/// # Ok(())
/// # }
/// ```
pub struct Connection {
    stream: UnixStream,
    input: Vec<u8>,
    messages: VecDeque<Message>,
    _store: Arc<Running>,
}

impl Connection {
    pub(crate) fn new(stream: UnixStream, store: Arc<Running>) -> Result<Self, Error> {
        let mut connection = Self {
            stream,
            input: Vec::new(),
            messages: VecDeque::new(),
            _store: store,
        };
        connection.call(&["HELLO", "3"])?;
        Ok(connection)
    }

    /// Runs any command and waits for its reply, as long as it takes.
    ///
    /// # Errors
    /// The command's own error, or the connection was closed.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Value, Error> {
        self.send(args)?;
        loop {
            match self.read(None)? {
                Some(Value::Push(parts)) => self.keep(parts),
                Some(reply) => return checked(reply),
                None => {}
            }
        }
    }

    /// Subscribes to channels.
    pub fn subscribe<A: AsRef<[u8]>>(&mut self, channels: &[A]) -> Result<(), Error> {
        self.change("SUBSCRIBE", channels)
    }

    /// Subscribes to all channels whose names match one of these patterns.
    pub fn subscribe_patterns<A: AsRef<[u8]>>(&mut self, patterns: &[A]) -> Result<(), Error> {
        self.change("PSUBSCRIBE", patterns)
    }

    /// Ends subscriptions to channels.
    pub fn unsubscribe<A: AsRef<[u8]>>(&mut self, channels: &[A]) -> Result<(), Error> {
        self.change("UNSUBSCRIBE", channels)
    }

    /// The next message, when one comes in this time.
    ///
    /// # Errors
    /// The connection was closed.
    pub fn message(&mut self, within: Duration) -> Result<Option<Message>, Error> {
        let deadline = Instant::now().checked_add(within);
        loop {
            if let Some(message) = self.messages.pop_front() {
                return Ok(Some(message));
            }
            match self.read(deadline)? {
                Some(Value::Push(parts)) => self.keep(parts),
                Some(other) => return Err(Error::Type(other)),
                None => return Ok(None),
            }
        }
    }

    /// Sends a command of subscription; each name is confirmed by a push.
    fn change<A: AsRef<[u8]>>(&mut self, name: &str, channels: &[A]) -> Result<(), Error> {
        let mut words = vec![name.as_bytes()];
        words.extend(channels.iter().map(AsRef::as_ref));
        self.send(&words)?;
        let mut missing = channels.len();
        let kind = name.to_ascii_lowercase();
        while missing > 0 {
            match self.read(None)? {
                Some(Value::Push(parts)) => {
                    let is_confirmation =
                        parts.first().and_then(Value::as_bytes) == Some(kind.as_bytes());
                    missing -= usize::from(is_confirmation);
                    self.keep(parts);
                }
                Some(reply) => return checked(reply).and_then(|other| Err(Error::Type(other))),
                None => {}
            }
        }
        Ok(())
    }

    fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<(), Error> {
        let args: Vec<&[u8]> = args.iter().map(AsRef::as_ref).collect();
        let mut bytes = Vec::new();
        request::encode(&mut bytes, &args);
        Ok(self.stream.write_all(&bytes)?)
    }

    /// Keeps what is a message; confirmations and invalidations are none.
    fn keep(&mut self, parts: Vec<Value>) {
        let text = |at: usize| parts.get(at).and_then(Value::as_bytes).map(<[u8]>::to_vec);
        let pattern_len = match parts.first().and_then(Value::as_bytes) {
            Some(b"message" | b"smessage") => 0,
            Some(b"pmessage") => 1,
            _ => return,
        };
        if let (Some(channel), Some(payload)) = (text(1 + pattern_len), text(2 + pattern_len)) {
            self.messages.push_back(Message {
                pattern: (pattern_len == 1).then(|| text(1)).flatten(),
                channel,
                payload,
            });
        }
    }

    /// The next reply or push; `None` when the deadline has passed.
    fn read(&mut self, deadline: Option<Instant>) -> Result<Option<Value>, Error> {
        loop {
            let decoded = decode(&self.input);
            let decoded = decoded.map_err(|error| Error::Connection(error.to_string()))?;
            if let Some((value, used)) = decoded {
                self.input.drain(..used);
                return Ok(Some(value));
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            self.stream.set_read_timeout(left)?;
            let start = self.input.len();
            self.input.resize(start + READ_BYTES, 0);
            let got = self
                .stream
                .read(self.input.get_mut(start..).unwrap_or_default());
            self.input
                .truncate(start + got.as_ref().copied().unwrap_or(0));
            match got {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(_) => {}
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return Ok(None),
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(error.into()),
                },
            }
        }
    }
}
