//! What a worker executes in one round: bytes of its connections, and requests among them.

use std::sync::Arc;

use keyspace::KeyHash;
use resp::{Args, OwnedArgs, ProtocolError, Span};

use super::spares::{BIG_REQUEST, Spares};
use engine::command::{Flags, Group};
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
    /// Bytes of replies that this turn has written. Above a limit the rest of the requests waits
    /// for the next turn.
    pub(super) reply_bytes: usize,
    /// The last command that was looked up: pipelines repeat it.
    pub(super) last: Option<LastCommand>,
}

/// Bytes of one connection that are being consumed.
pub(super) struct Source {
    pub(super) token: usize,
    pub(super) bytes: Bytes,
    /// Length of the longest request in a buffer that values may share; 0 without one.
    pub(super) longest: usize,
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
    /// The same, with room for a big request: a value may keep it.
    Shared(Arc<Vec<u8>>),
}

impl Bytes {
    #[inline]
    pub(super) fn slice<'a>(&'a self, arena: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Arena(start, end) => arena.get(*start..*end).unwrap_or_default(),
            Self::Own(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(buffer: Vec<u8>) -> Self {
        match buffer.len() > BIG_REQUEST {
            true => Self::Shared(Arc::new(buffer)),
            false => Self::Own(buffer),
        }
    }
}

impl Source {
    /// The buffer of a big request, for values that stay in it.
    #[inline]
    pub(super) fn lend(&mut self, request: &Pending) -> Option<Arc<Vec<u8>>> {
        let Bytes::Shared(buffer) = &self.bytes else {
            return None;
        };
        let len = request.end - request.start;
        self.longest = self.longest.max(len);
        (len > BIG_REQUEST).then(|| buffer.clone())
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

    /// A command that may append to a stream.
    pub(super) fn may_append(&self) -> bool {
        self.command.found().is_some_and(|entry| {
            entry.spec.group == Group::Stream && entry.spec.flags.has(Flags::WRITE)
        })
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
