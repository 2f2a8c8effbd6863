//! The parts of the log for replication: the replication id, and scopes of records.

use std::fmt;

/// A replication id: 40 hexadecimal digits, as Redis makes them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplicationId([u8; ReplicationId::LEN]);

impl ReplicationId {
    /// Its length in bytes.
    pub const LEN: usize = 40;

    /// Takes 40 lower-case hexadecimal digits; `None` when `text` is anything else.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let id = <[u8; Self::LEN]>::try_from(text).ok()?;
        id.iter().all(is_hex).then_some(Self(id))
    }

    /// The 40 digits.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The 40 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for ReplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ReplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which readers of the log get a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The append-only file and the replication stream.
    #[default]
    Both,
    /// The replication stream alone: PING, REPLCONF GETACK, PUBLISH.
    StreamOnly,
    /// The append-only file alone: writes of clients to a writable replica.
    FileOnly,
}

/// The database that records run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// This one; the log adds a SELECT where another one is selected.
    Database(u32),
    /// The first one, as with [`Selection::Database`]; the records select others, and the last one
    /// at their end.
    Span {
        /// Where the records begin.
        first: u32,
        /// Where they end.
        last: u32,
    },
    /// The one that is selected in the stream, whichever it is. The log adds no SELECT to the
    /// stream: for records without a database, and for the stream of a primary, which a replica
    /// appends byte for byte.
    Current {
        /// The database that the records themselves select, when they hold a SELECT.
        then: Option<u32>,
    },
}

impl Selection {
    /// Where the records begin; `None`: the log adds no SELECT.
    pub(crate) fn first(self) -> Option<u32> {
        match self {
            Self::Database(db) | Self::Span { first: db, .. } => Some(db),
            Self::Current { .. } => None,
        }
    }

    /// What is selected behind the records, when that is known from this.
    pub(crate) fn last(self) -> Option<u32> {
        match self {
            Self::Database(db) | Self::Span { last: db, .. } => Some(db),
            Self::Current { then } => then,
        }
    }
}

/// Records to be appended.
#[derive(Clone, Copy, Debug)]
pub struct Append<'a> {
    /// Where they run.
    pub selection: Selection,
    /// Whole RESP commands; a transaction with its MULTI and EXEC in one piece.
    pub records: &'a [u8],
    /// Which readers get them.
    pub scope: Scope,
}

/// A place in the log: behind what was appended before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Grows with everything that is appended, whatever its scope. The offset and the position are
    /// the same after a load.
    pub(crate) position: u64,
    /// Offset in the replication stream, in bytes.
    pub(crate) offset: u64,
    /// Database selected in the file; `None` at the start of a file.
    pub(crate) db: Option<u32>,
    /// Database selected in the stream; `None` before its first SELECT.
    pub(crate) stream_db: Option<u32>,
    /// The replication id in force.
    pub(crate) id: Option<ReplicationId>,
}

impl Mark {
    /// The same place, at the start of a file.
    pub(crate) fn at_file_start(self) -> Self {
        Self { db: None, ..self }
    }
}
