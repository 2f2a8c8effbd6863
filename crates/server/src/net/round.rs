//! What a worker executes in one round: bytes of its connections, and requests among them.

use keyspace::KeyHash;
use resp::{Args, OwnedArgs, ProtocolError, Span};

use engine::table::{Command, Resolved};

/// Buffers that are reused from round to round.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) arena: Vec<u8>,
    pub(super) sources: Vec<Source>,
    pub(super) pending: Vec<Pending>,
    pub(super) spans: Vec<Span>,
    /// Requests that came as lines of words.
    pub(super) inline: Vec<OwnedArgs>,
    /// Input buffers between two big requests.
    pub(super) spares: Spares,
    /// Requests of the last round, as an estimate for the next one.
    pub(super) requests: usize,
    /// Bytes of replies that this turn has written. Above a limit the rest of the requests waits for
    /// the next turn.
    pub(super) reply_bytes: usize,
    /// The last command that was looked up: pipelines repeat it.
    pub(super) last: Option<LastCommand>,
}

/// Bytes of one connection that are being consumed.
pub(super) struct Source {
    pub(super) token: usize,
    pub(super) bytes: Bytes,
    /// Consumed so far.
    pub(super) position: usize,
    /// Parsed so far; >= position.
    pub(super) parsed: usize,
    /// Requests of it wait for the next turn.
    pub(super) is_cut: bool,
    /// It is at a request that has to run without other connections in the round.
    pub(super) waits: bool,
}

pub(super) enum Bytes {
    /// A range of the arena: the usual case, the connection had nothing left over.
    Arena(usize, usize),
    /// The connection's own buffer, taken out of it for the round.
    Own(Vec<u8>),
}

impl Bytes {
    #[inline]
    pub(super) fn slice<'a>(&'a self, arena: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Arena(start, end) => arena.get(*start..*end).unwrap_or_default(),
            Self::Own(bytes) => bytes,
        }
    }
}

#[derive(Clone, Copy)]
pub(super) enum What {
    /// A request: spans relative to `start`.
    Spans(usize, usize),
    /// A request of its own memory, by its place in [`Batch::inline`].
    Inline(usize),
    Broken(ProtocolError),
}

/// One request of the batch.
pub(super) struct Pending {
    pub(super) source: usize,
    /// Offsets of the request in its source.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) what: What,
    pub(super) command: Resolved,
    pub(super) hash: Option<KeyHash>,
    pub(super) db: u32,
    /// The key most likely holds a collection with an index.
    pub(super) has_index: bool,
    /// Hash of the member that is looked for in a large collection.
    pub(super) member: Option<u64>,
}

impl Pending {
    /// Its arguments, or why it has none.
    #[inline]
    pub(super) fn args<'a>(&self, batch: &'a Batch) -> Result<Args<'a>, ProtocolError> {
        match self.what {
            What::Spans(first, count) => {
                let source = batch.sources.get(self.source);
                let bytes = source.map_or(&[][..], |source| source.bytes.slice(&batch.arena));
                Ok(Args::new(
                    bytes.get(self.start..self.end).unwrap_or_default(),
                    batch.spans.get(first..first + count).unwrap_or_default(),
                ))
            }
            What::Inline(place) => match batch.inline.get(place) {
                Some(args) => Ok(args.as_args()),
                None => Ok(Args::new(&[], &[])),
            },
            What::Broken(error) => Err(error),
        }
    }

    /// Where the member stands that a command looks for in a collection with an index.
    pub(super) fn member_place(&self) -> Option<usize> {
        match self.has_index {
            true => self.command.found()?.member,
            false => None,
        }
    }

    pub(super) fn is_for_collection(&self) -> bool {
        let command = self.command.found();
        command.is_some_and(|command| command.is_for_collection)
    }
}

/// A command, and how a client wrote its name.
pub(super) struct LastCommand {
    name: (usize, u64),
    pub(super) command: &'static Command,
}

impl LastCommand {
    /// `None` when the name is not one that [`Args::short`] gives.
    pub(super) fn new(args: Args<'_>, command: &'static Command) -> Option<LastCommand> {
        let name = args.short(0)?;
        Some(LastCommand { name, command })
    }

    /// True when the request writes the name in the same way.
    #[inline]
    pub(super) fn is(&self, args: Args<'_>) -> bool {
        args.short(0) == Some(self.name)
    }
}

/// Empty input buffers for the next connection that needs one: allocating and touching a fresh one
/// for every big argument would cost more than reading it. Freed once a second.
#[derive(Default)]
pub(super) struct Spares {
    buffers: Vec<Vec<u8>>,
    /// Sum of their capacities.
    bytes: usize,
}

/// Bytes that spare buffers may hold: some hundred kilobytes for each of fifty busy clients would
/// be more than the second-level cache serves anyway.
const SPARE_BYTES_MAX: usize = 8 * 1024 * 1024;

impl Spares {
    pub(super) fn take(&mut self) -> Vec<u8> {
        let buffer = self.buffers.pop().unwrap_or_default();
        self.bytes -= buffer.capacity();
        buffer
    }

    pub(super) fn keep(&mut self, buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if capacity > 0 && self.bytes + capacity <= SPARE_BYTES_MAX {
            self.bytes += capacity;
            self.buffers.push(buffer);
        }
    }

    /// Frees all of them.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
