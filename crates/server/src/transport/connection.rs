//! One client connection: its socket, its session, what it sent and what it will get.
//!
//! A connection is a plain value. One worker owns it at a time and may hand it to another between
//! two loop turns.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use resp::{Output, RequestParser};
use smallvec::SmallVec;

use super::stream::Stream;
use engine::engine::Engine;
use engine::session::Session;
use engine::waiters::Waiter;

/// Read size for ordinary requests, in bytes: as Redis's PROTO_IOBUF_LEN, so that one client with a
/// long pipeline does not keep the others waiting.
pub(crate) const READ_BYTES: usize = 16 * 1024;

/// Read size while a big argument arrives, in bytes: fewer system calls, still a bounded turn.
pub(crate) const READ_BYTES_BIG: usize = 1024 * 1024;

/// A big argument is read with so many bytes of room behind it: a read that does not fill them has
/// emptied the socket, so no other one is needed to find that out.
pub(crate) const READ_BEHIND: usize = 64;

/// Most pieces of one vectored write; more than this do not make a call cheaper.
const WRITE_PIECES: usize = 64;

/// Bytes written to one client in a loop turn at most, so that a huge reply does not starve others
/// (Redis's NET_MAX_WRITES_PER_EVENT is 64 KiB; big replies here are shared, not copied, so larger
/// steps cost no memory).
const WRITE_BYTES_PER_TURN: usize = 1024 * 1024;

/// Replies from a position of the output stream on that wait for the log.
#[derive(Debug, Clone, Copy)]
struct Hold {
    /// First byte that waits, counted in the stream of all bytes ever queued.
    start: u64,
    /// Log offset that releases it.
    offset: u64,
}

/// The result of an attempt to write.
#[derive(Debug, PartialEq, Eq)]
pub enum Written {
    /// Nothing is left.
    All,
    /// The socket takes no more now; an event follows.
    Blocked,
    /// There is more to write, in the next turn.
    More,
    /// The rest waits for the log.
    Held,
}

/// A connection.
pub struct Connection {
    /// The socket.
    pub stream: Stream,
    /// State that commands see.
    pub session: Session,
    /// Output that waits to be sent.
    pub output: Output,
    /// Bytes received and not yet consumed; empty for a client between requests.
    pub input: Vec<u8>,
    /// State of the request at the beginning of `input`.
    pub parser: RequestParser,
    /// Bytes that the current request still misses, as far as known: sizes the next read.
    pub missing: usize,
    /// Length of the last request when it was a big one, 0 otherwise: the next one is received into
    /// a buffer of this size at once.
    pub expected: usize,
    /// There may be bytes to read.
    pub readable: bool,
    /// An event said that the end of the stream (or an error) stands behind the bytes in the
    /// socket. No further event follows, so reading goes on until the end.
    pub end_announced: bool,
    /// The client sent its end of file, or the socket failed.
    pub hung_up: bool,
    /// Already in the worker's list of connections to read and execute.
    pub queued_run: bool,
    /// Its requests are being executed in this round of its worker.
    pub in_round: bool,
    /// Already in the worker's list of connections to write.
    pub queued_write: bool,
    /// The connection is postponed, by CLIENT PAUSE or while loading is about to end.
    pub postponed: bool,
    /// It authenticated once, or did not need to: RESET does not restore the limits of
    /// unauthenticated clients.
    pub was_authenticated: bool,
    /// Not read from until its output has left.
    pub throttled: bool,
    /// The wait of a blocked client for keys.
    pub waiter: Option<Arc<Waiter>>,
    /// Highest log offset that replies of this turn depend on.
    pub reply_offset: u64,
    /// Last request, in milliseconds of the steady clock.
    pub last_active_ms: u64,
    /// Since when the output is above the soft limit; 0: it is not.
    pub over_soft_limit_ms: u64,
    /// Commands executed since it last moved, for the choice of connections to move.
    pub recent_commands: u32,
    /// In the order of the stream; `start` and `offset` never fall.
    holds: VecDeque<Hold>,
    /// Bytes sent so far.
    sent: u64,
    /// Stream position up to which `hold_replies` has decided.
    decided: u64,
}

impl Connection {
    /// A connection that has just been accepted.
    pub fn new(stream: Stream, session: Session, steady_ms: u64) -> Self {
        Self {
            was_authenticated: session.is_authenticated(),
            stream,
            session,
            output: Output::new(),
            input: Vec::new(),
            parser: RequestParser::new(),
            missing: 0,
            expected: 0,
            readable: true,
            end_announced: false,
            hung_up: false,
            queued_run: false,
            in_round: false,
            queued_write: false,
            postponed: false,
            throttled: false,
            waiter: None,
            reply_offset: 0,
            last_active_ms: steady_ms,
            over_soft_limit_ms: 0,
            recent_commands: 0,
            holds: VecDeque::new(),
            sent: 0,
            decided: 0,
        }
    }

    /// CLIENT PAUSE makes the connection wait, or no longer. Like Redis, INFO counts such clients
    /// among the blocked ones.
    pub(crate) fn set_postponed(&mut self, engine: &Engine, postponed: bool) {
        if self.postponed == postponed {
            return;
        }
        self.postponed = postponed;
        if postponed {
            engine.blocked_clients.fetch_add(1, Ordering::Relaxed);
        } else {
            engine.blocked_clients.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// True while no further request of this client may run.
    pub fn is_stopped(&self) -> bool {
        self.session.blocked.is_some()
            || self.session.close_after_reply
            || self.postponed
            || self.session.shared.kill.load(Ordering::Relaxed)
    }

    /// How many bytes the next read asks for.
    pub fn read_size(&self) -> usize {
        let wanted = match self.input.is_empty() {
            true => self.expected,
            false => self.missing,
        };
        if wanted > READ_BYTES {
            // The claim is the client's: no more than this is reserved before it has arrived.
            wanted.min(READ_BYTES_BIG) + READ_BEHIND
        } else {
            READ_BYTES
        }
    }

    /// Makes room for a read of `asked` bytes behind what is there. Doubling keeps the cost per
    /// byte constant, but no more than the rest of a big argument is reserved: it may be the only
    /// one of its kind.
    pub fn reserve_input(&mut self, asked: usize) {
        let (len, capacity) = (self.input.len(), self.input.capacity());
        if capacity - len < asked {
            let rest = len + self.missing.max(asked);
            let wanted = (capacity * 2).max(len + asked).min(rest);
            self.input.reserve_exact(wanted - len);
        }
    }

    /// Notes the result of a read; true when bytes arrived.
    pub fn note_read(&mut self, asked: usize, result: io::Result<usize>) -> usize {
        match result {
            Ok(0) => {
                self.readable = false;
                self.hung_up = true;
                0
            }
            Ok(got) => {
                // A short read has emptied the socket; the next bytes raise a new event.
                self.readable = got == asked || self.end_announced || self.stream.has_more();
                self.session
                    .shared
                    .figures
                    .net_in
                    .fetch_add(got as u64, Ordering::Relaxed);
                got
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                0
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(_) => {
                self.readable = false;
                self.hung_up = true;
                0
            }
        }
    }

    /// Keeps what was not consumed. An idle client keeps no input memory: returns the buffer when
    /// nothing is left in it.
    pub fn trim_input(&mut self, consumed: usize) -> Vec<u8> {
        if consumed >= self.input.len() {
            self.input.clear();
            return std::mem::take(&mut self.input);
        }
        self.input.drain(..consumed);
        Vec::new()
    }

    /// Takes what others have sent to the client behind its replies.
    pub fn collect_outbox(&mut self) {
        let after = self.session.shared.take_outbox(&mut self.output);
        self.reply_offset = self.reply_offset.max(after);
    }

    /// The replies of this turn leave only when the log has passed the offset they depend on.
    pub fn hold_replies(&mut self, released: u64) {
        let offset = std::mem::take(&mut self.reply_offset);
        let start = self.decided;
        self.decided = self.sent + self.output.len() as u64;
        if offset > released && self.decided > start {
            self.holds.push_back(Hold { start, offset });
        }
    }

    /// Sends what may leave, given that the log has passed `released`.
    pub fn write(&mut self, released: u64) -> io::Result<Written> {
        let mut budget = WRITE_BYTES_PER_TURN;
        if self.stream.has_unsent() && !self.flush()? {
            return Ok(Written::Blocked);
        }
        loop {
            if self.output.is_empty() {
                self.output.shrink_if_idle();
                return Ok(match self.stream.has_unsent() {
                    true => Written::Blocked,
                    false => Written::All,
                });
            }
            let allowed = self.allowed(released);
            if allowed == 0 {
                return Ok(Written::Held);
            }
            if budget == 0 {
                return Ok(Written::More);
            }
            match self.write_once(allowed.min(budget)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => {
                    self.output.consume(sent);
                    self.sent += sent as u64;
                    budget = budget.saturating_sub(sent);
                    self.session
                        .shared
                        .figures
                        .net_out
                        .fetch_add(sent as u64, Ordering::Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Written::Blocked);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes what the stream keeps of earlier writes; false when some of it is left.
    fn flush(&mut self) -> io::Result<bool> {
        match self.stream.flush() {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// True when an event of the socket lets bytes leave.
    pub fn waits_to_write(&self) -> bool {
        !self.output.is_empty() || self.stream.has_unsent()
    }

    /// Total bytes sent to the client.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    fn allowed(&mut self, released: u64) -> usize {
        while self
            .holds
            .front()
            .is_some_and(|hold| hold.offset <= released)
        {
            self.holds.pop_front();
        }
        match self.holds.front() {
            None => self.output.len(),
            Some(hold) => hold.start.saturating_sub(self.sent) as usize,
        }
    }

    fn write_once(&mut self, max: usize) -> io::Result<usize> {
        if let Some(bytes) = self.output.as_contiguous() {
            return self.stream.write(bytes.get(..max).unwrap_or(bytes));
        }
        let mut pieces: SmallVec<[IoSlice<'_>; WRITE_PIECES]> = SmallVec::new();
        let mut room = max;
        for piece in self.output.io_slices().take(WRITE_PIECES) {
            if piece.len() > room {
                break;
            }
            room -= piece.len();
            pieces.push(piece);
        }
        if pieces.is_empty() {
            // The first piece alone is more than may be sent: a part of it.
            let first = self.output.io_slices().next();
            return first.map_or(Ok(0), |piece| {
                self.stream.write(piece.get(..max).unwrap_or(&piece))
            });
        }
        self.stream.write_vectored(&pieces)
    }
}
