//! One replica: its connection, and what it is being sent.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use persist::storage::File;
use persist::{KeptError, KeptStream, StreamCursor, StreamLost, StreamSlice};
use resp::{Args, Limits, Progress, Span};

use crate::state::{SnapshotFile, random_id};
use crate::transport::connection::{Connection, Written};
use engine::command::Flags;
use engine::replicas::{Replica, SyncRequest, SyncState};
use engine::table::CommandTable;

/// Bytes of a snapshot that are read at once.
const FILE_PIECE: usize = 256 * 1024;
/// Bytes of the stream that are taken from the ring at once.
const STREAM_PIECE: usize = 1024 * 1024;
/// Bytes that a replica is sent before others get their turn.
const TURN_BYTES: usize = 4 * 1024 * 1024;
/// Slices of one vectored write.
const SLICES_MAX: usize = 64;
/// Bytes read from a replica at once; it sends little.
const READ_PIECE: usize = 16 * 1024;
/// Bytes of requests that a replica may leave unfinished.
const INPUT_MAX: usize = 1024 * 1024;

/// What a replica is being sent.
pub(super) enum Feed {
    /// Nothing yet: it waits for a snapshot to begin.
    Waits,
    /// A snapshot is being written, and the stream behind it is kept.
    Snapshot(Option<StreamCursor>),
    /// The snapshot.
    File {
        /// The file.
        file: Arc<dyn File>,
        /// Its length; `None` while it is being written.
        len: Option<u64>,
        /// What the replica finds its end by, when it does not know the length.
        mark: Option<Mark>,
        /// Bytes of it that were read.
        read: u64,
        /// What was read and not sent.
        piece: Vec<u8>,
        /// Bytes of the piece that were sent.
        sent: usize,
        /// What comes behind it.
        then: Option<StreamCursor>,
    },
    /// Nothing before the replica has loaded what ends with a mark: it looks for the mark at the
    /// end of all that it has read.
    AwaitsAck(StreamCursor),
    /// The snapshot has left on a connection of its own. The stream behind it is kept until the
    /// other connection of the replica asks for it.
    SentApart(Option<StreamCursor>),
    /// The stream from the files of the log.
    Kept(Box<KeptFeed>),
    /// The stream.
    Stream(StreamCursor),
    /// Everything was sent; the connection closes.
    Done,
}

/// A part of the stream that memory does not have any more.
pub(super) struct KeptFeed {
    kept: KeptStream,
    /// What memory has behind it.
    then: StreamCursor,
    /// What was read and not sent.
    piece: Vec<u8>,
    /// Bytes of the piece that were sent.
    sent: usize,
    /// There is more behind the piece.
    has_more: bool,
}

impl KeptFeed {
    pub(super) fn new(kept: KeptStream, then: StreamCursor) -> Self {
        Self {
            kept,
            then,
            piece: Vec::new(),
            sent: 0,
            has_more: true,
        }
    }
}

/// The end of a snapshot of unknown length: 40 random digits.
pub(super) type Mark = String;

/// How an attempt to feed ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fed {
    /// There is nothing more to send.
    All,
    /// The socket takes no more; an event follows.
    Blocked,
    /// There is more to send.
    More,
    /// The connection is to be closed.
    Close,
}

/// Why a connection to a replica ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// The socket failed.
    #[error("{}", crate::os::os_text(.0))]
    Io(#[from] io::Error),
    /// It left too much of the stream unread.
    #[error("it left more of the stream unread than client-output-buffer-limit allows")]
    Lost(#[from] StreamLost),
    /// The files of the log cannot be read on.
    #[error("the files of the log cannot be read: {0}")]
    Kept(#[from] KeptError),
    /// It closed the connection.
    #[error("it closed the connection")]
    Closed,
    /// It sends something else than requests.
    #[error("it broke the protocol")]
    Protocol,
    /// It sent a command that is to be answered; the stream has no place for that.
    #[error("it sent a command that has a reply")]
    Replied,
}

/// A replica.
pub(super) struct Link {
    pub(super) connection: Box<Connection>,
    pub(super) replica: Arc<Replica>,
    pub(super) request: SyncRequest,
    pub(super) feed: Feed,
    /// When the present state began, in milliseconds of the steady clock.
    pub(super) since_ms: u64,
    /// When bytes last left or a sign of life was sent.
    pub(super) sent_ms: u64,
    /// When it began to leave more unread than the soft limit; 0: it does not.
    pub(super) over_soft_ms: u64,
    /// What of the stream was taken from the ring and not sent.
    slices: VecDeque<StreamSlice>,
    /// Bytes of the first slice that were sent.
    sent_of_first: usize,
    /// The snapshot that was sent ends with a mark.
    ends_with_mark: bool,
    /// Bytes of snapshots and of the stream that were sent and not counted yet.
    pub(super) sent_bytes: u64,
}

impl Link {
    pub(super) fn new(
        connection: Box<Connection>,
        replica: Arc<Replica>,
        request: SyncRequest,
        steady_ms: u64,
    ) -> Self {
        Self {
            connection,
            replica,
            request,
            feed: Feed::Waits,
            since_ms: steady_ms,
            sent_ms: steady_ms,
            over_soft_ms: 0,
            slices: VecDeque::new(),
            sent_of_first: 0,
            ends_with_mark: false,
            sent_bytes: 0,
        }
    }

    /// A line for it, before anything of a snapshot or of the stream.
    pub(super) fn line(&mut self, text: &str) {
        self.connection.output.raw(text.as_bytes());
    }

    /// The snapshot is there.
    pub(super) fn begin_file(&mut self, snapshot: SnapshotFile, steady_ms: u64) {
        let feed = std::mem::replace(&mut self.feed, Feed::Done);
        let Feed::Snapshot(then) = feed else {
            self.feed = feed;
            return;
        };
        self.line(&format!("${}\r\n", snapshot.len));
        self.send_from(snapshot.file, Some(snapshot.len), None, then, steady_ms);
    }

    /// The snapshot is being written: the replica gets it as it grows, and a mark behind it.
    pub(super) fn begin_growing(&mut self, file: Arc<dyn File>, steady_ms: u64) {
        let feed = std::mem::replace(&mut self.feed, Feed::Done);
        let Feed::Snapshot(then) = feed else {
            self.feed = feed;
            return;
        };
        let mark = random_id();
        self.line(&format!("$EOF:{mark}\r\n"));
        self.send_from(file, None, Some(mark), then, steady_ms);
    }

    fn send_from(
        &mut self,
        file: Arc<dyn File>,
        len: Option<u64>,
        mark: Option<Mark>,
        then: Option<StreamCursor>,
        steady_ms: u64,
    ) {
        // As in Redis, where what is sent while it is written is not called a transfer.
        let state = match mark {
            Some(_) => SyncState::SnapshotRuns,
            None => SyncState::ReceivesSnapshot,
        };
        self.feed = Feed::File {
            file,
            len,
            mark,
            read: 0,
            piece: Vec::new(),
            sent: 0,
            then,
        };
        self.since_ms = steady_ms;
        self.replica.set_state(state);
    }

    /// The snapshot is whole.
    pub(super) fn end_growing(&mut self, whole: u64) {
        if let Feed::File { len, .. } = &mut self.feed {
            *len = Some(whole);
        }
    }

    /// A snapshot that is still being written is being sent.
    pub(super) fn is_growing(&self) -> bool {
        matches!(self.feed, Feed::File { len: None, .. })
    }

    /// Bytes of the stream that it has not been sent.
    pub(super) fn unread(&self, end: u64) -> u64 {
        let cursor = match &self.feed {
            Feed::Stream(cursor) | Feed::AwaitsAck(cursor) => Some(cursor),
            Feed::Kept(feed) => Some(&feed.then),
            Feed::Snapshot(cursor) | Feed::File { then: cursor, .. } => cursor.as_ref(),
            Feed::SentApart(cursor) => cursor.as_ref(),
            Feed::Waits | Feed::Done => None,
        };
        cursor.map_or(0, |cursor| end.saturating_sub(cursor.offset()))
    }

    /// Sends what there is, of the stream up to offset `to`; `released`: how far the log has
    /// released replies.
    pub(super) fn feed(&mut self, to: u64, released: u64) -> Result<Fed, LinkError> {
        let mut budget = TURN_BYTES;
        self.connection.hold_replies(released);
        loop {
            match self.connection.write(released)? {
                Written::All => {}
                Written::Blocked => return Ok(Fed::Blocked),
                Written::More => return Ok(Fed::More),
                Written::Held => return Ok(Fed::All),
            }
            if budget == 0 {
                return Ok(Fed::More);
            }
            let sent = match &self.feed {
                Feed::Waits | Feed::Snapshot(_) | Feed::AwaitsAck(_) | Feed::SentApart(_) => {
                    return Ok(Fed::All);
                }
                Feed::Done => return Ok(Fed::Close),
                Feed::File { .. } => self.send_file(),
                Feed::Kept(_) => self.send_kept()?,
                Feed::Stream(_) => self.send_stream(to)?,
            };
            match sent {
                Ok(None) => return Ok(Fed::All),
                Ok(Some(sent)) => {
                    budget = budget.saturating_sub(sent);
                    let figures = &self.connection.session.shared.figures;
                    figures.net_out.fetch_add(sent as u64, Ordering::Relaxed);
                    self.sent_bytes += sent as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Fed::Blocked),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends a part of the snapshot, and goes on to the stream behind its end. Returns how many
    /// bytes left.
    fn send_file(&mut self) -> io::Result<Option<usize>> {
        let Feed::File {
            file,
            len,
            mark,
            read,
            piece,
            sent,
            then,
        } = &mut self.feed
        else {
            return Ok(None);
        };
        if *sent == piece.len() {
            *sent = 0;
            fill(&**file, *read, piece)?;
            *read += piece.len() as u64;
            match len {
                None if piece.is_empty() => return Ok(None),
                Some(len) if piece.is_empty() && *read < *len => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Some(_) if piece.is_empty() => match mark.take() {
                    Some(mark) => {
                        piece.extend_from_slice(mark.as_bytes());
                        // The mark is no part of the file, and what is read next is nothing.
                        self.ends_with_mark = true;
                    }
                    None => {
                        let then = then.take();
                        self.go_online(then);
                        return Ok(Some(0));
                    }
                },
                _ => {}
            }
        }
        let rest = piece.get(*sent..).unwrap_or_default();
        let left = self.connection.stream.write(rest)?;
        *sent += left;
        Ok(Some(left))
    }

    /// The snapshot has left.
    fn go_online(&mut self, then: Option<StreamCursor>) {
        log::info!(
            "Synchronization with replica {} succeeded",
            self.replica.client.addr
        );
        self.feed = match then {
            then if self.replica.setup.rdb_channel => Feed::SentApart(then),
            Some(cursor) if self.ends_with_mark => Feed::AwaitsAck(cursor),
            Some(cursor) => {
                self.replica.set_state(SyncState::Online);
                Feed::Stream(cursor)
            }
            None => Feed::Done,
        };
    }

    /// Sends a part of the stream from the files, and goes on to memory behind its end. Returns how
    /// many bytes left.
    fn send_kept(&mut self) -> Result<io::Result<Option<usize>>, KeptError> {
        let Feed::Kept(feed) = &mut self.feed else {
            return Ok(Ok(None));
        };
        if feed.sent == feed.piece.len() {
            feed.piece.clear();
            feed.sent = 0;
            if feed.has_more {
                feed.has_more = feed.kept.read(&mut feed.piece, FILE_PIECE)?;
            }
        }
        if feed.piece.is_empty() && !feed.has_more {
            if let Feed::Kept(feed) = std::mem::replace(&mut self.feed, Feed::Done) {
                let mut cursor = feed.then;
                cursor.skip_to(feed.kept.offset());
                self.feed = Feed::Stream(cursor);
            }
            return Ok(Ok(Some(0)));
        }
        let rest = feed.piece.get(feed.sent..).unwrap_or_default();
        Ok(self.connection.stream.write(rest).map(|left| {
            feed.sent += left;
            Some(left)
        }))
    }

    /// The line in front of a snapshot: the place that it stands for.
    pub(super) fn begin_snapshot(&mut self, id: &str, offset: u64, stream_db: Option<u32>) {
        if self.replica.setup.rdb_channel {
            let db = stream_db.map_or(-1, i64::from);
            let client = self.replica.client.id;
            log::info!(
                "Dual channel replication: Sending to replica {} RDB end offset {offset} and client-id {client}",
                self.replica.client.addr
            );
            self.line(&format!("$ENDOFF:{offset} {id} {db} {client}\r\n"));
        } else if !self.request.is_old {
            self.line(&format!("+FULLRESYNC {id} {offset}\r\n"));
        }
    }

    /// Takes the stream behind a snapshot that this connection alone does not get.
    pub(super) fn take_kept(&mut self) -> Option<StreamCursor> {
        match &mut self.feed {
            Feed::Snapshot(then) | Feed::File { then, .. } | Feed::SentApart(then) => then.take(),
            _ => None,
        }
    }

    /// It has been sent the stream up to this offset.
    pub(super) fn has_been_sent(&self, offset: u64) -> bool {
        matches!(self.feed, Feed::Stream(_))
            && self.slices.is_empty()
            && self.stream_offset().is_some_and(|at| at >= offset)
    }

    /// Offset up to which it has been given the stream; `None` before it follows it.
    pub(super) fn stream_offset(&self) -> Option<u64> {
        match &self.feed {
            Feed::Stream(cursor) | Feed::AwaitsAck(cursor) => Some(cursor.offset()),
            Feed::Kept(feed) => Some(feed.kept.offset()),
            _ => None,
        }
    }

    /// Sends a part of the stream. Returns how many bytes left; `None`: there is no more.
    fn send_stream(&mut self, to: u64) -> Result<io::Result<Option<usize>>, StreamLost> {
        let Feed::Stream(cursor) = &mut self.feed else {
            return Ok(Ok(None));
        };
        if self.slices.is_empty() {
            let mut slices = Vec::new();
            cursor.read(to, STREAM_PIECE, &mut slices)?;
            self.slices.extend(slices);
            self.sent_of_first = 0;
        }
        if self.slices.is_empty() {
            return Ok(Ok(None));
        }
        let mut pieces: Vec<IoSlice<'_>> = Vec::with_capacity(self.slices.len().min(SLICES_MAX));
        for (index, slice) in self.slices.iter().take(SLICES_MAX).enumerate() {
            let skipped = if index == 0 { self.sent_of_first } else { 0 };
            pieces.push(IoSlice::new(slice.get(skipped..).unwrap_or_default()));
        }
        let written = self.connection.stream.write_vectored(&pieces);
        drop(pieces);
        Ok(written.map(|left| {
            self.forget(left);
            Some(left)
        }))
    }

    /// Drops the first bytes of the slices.
    fn forget(&mut self, mut bytes: usize) {
        while let Some(first) = self.slices.front() {
            let rest = first.len() - self.sent_of_first;
            if bytes < rest {
                self.sent_of_first += bytes;
                return;
            }
            bytes -= rest;
            self.sent_of_first = 0;
            self.slices.pop_front();
        }
    }

    /// Reads what the replica says. Returns true when it has acknowledged anything.
    pub(super) fn hear(
        &mut self,
        commands: &CommandTable,
        steady_ms: u64,
    ) -> Result<bool, LinkError> {
        let connection = &mut *self.connection;
        loop {
            let got = connection
                .stream
                .read_behind(&mut connection.input, READ_PIECE);
            match got {
                Ok(0) => return Err(LinkError::Closed),
                Ok(got) => {
                    let figures = &connection.session.shared.figures;
                    figures.net_in.fetch_add(got as u64, Ordering::Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
            if connection.input.len() > INPUT_MAX {
                break;
            }
        }
        self.understand(commands, steady_ms)
    }

    /// Goes through the requests that have arrived.
    fn understand(&mut self, commands: &CommandTable, steady_ms: u64) -> Result<bool, LinkError> {
        let mut input = std::mem::take(&mut self.connection.input);
        let mut spans: Vec<Span> = Vec::new();
        let (mut start, mut heard) = (0, false);
        let limits = Limits::default();
        let result = loop {
            spans.clear();
            let bytes = input.get(start..).unwrap_or_default();
            if bytes.is_empty() {
                break Ok(heard);
            }
            match self.connection.parser.parse(bytes, &limits, &mut spans) {
                Ok(Progress::NeedMore { .. }) if bytes.len() > INPUT_MAX => {
                    break Err(LinkError::Protocol);
                }
                Ok(Progress::NeedMore { .. }) => break Ok(heard),
                Ok(Progress::Empty { consumed }) => {
                    // A replica that loads a snapshot sends empty lines.
                    self.replica.note_alive(steady_ms);
                    start += consumed;
                }
                Ok(Progress::Request { consumed, .. }) => {
                    let request = bytes.get(..consumed).unwrap_or_default();
                    start += consumed;
                    match self.take(commands, Args::new(request, &spans), steady_ms) {
                        Ok(has_acknowledged) => heard |= has_acknowledged,
                        Err(error) => break Err(error),
                    }
                }
                Ok(Progress::Inline { consumed, args }) => {
                    start += consumed;
                    match self.take(commands, args.as_args(), steady_ms) {
                        Ok(has_acknowledged) => heard |= has_acknowledged,
                        Err(error) => break Err(error),
                    }
                }
                Err(_) => break Err(LinkError::Protocol),
            }
        };
        input.drain(..start.min(input.len()));
        self.connection.input = input;
        result
    }

    /// `REPLCONF ACK offset [FACK offset]`. Returns true when that is it.
    fn take(
        &mut self,
        commands: &CommandTable,
        args: Args<'_>,
        steady_ms: u64,
    ) -> Result<bool, LinkError> {
        let is = |index: usize, word: &str| {
            args.get(index)
                .is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
        };
        let number = |index: usize| {
            let number = resp::number::parse_i64(args.get(index)?)?;
            u64::try_from(number).ok()
        };
        if !is(0, "replconf") {
            self.log_replied(commands, args);
            return Err(LinkError::Replied);
        }
        if !is(1, "ack") {
            return Ok(false);
        }
        let Some(offset) = number(2) else {
            return Ok(false);
        };
        let durable = if is(3, "fack") { number(4) } else { None };
        self.replica.acknowledge(offset, durable, steady_ms);
        if self.replica.state() == SyncState::LoadsApart {
            self.replica.set_state(SyncState::Online);
        }
        if matches!(self.feed, Feed::AwaitsAck(_))
            && let Feed::AwaitsAck(cursor) = std::mem::replace(&mut self.feed, Feed::Done)
        {
            self.feed = Feed::Stream(cursor);
            self.replica.set_state(SyncState::Online);
        }
        Ok(true)
    }

    /// The lines of the log about a command that a replica must not send, in Redis's words.
    fn log_replied(&self, commands: &CommandTable, args: Args<'_>) {
        let command = commands.resolve(args).found();
        let name = command.map_or("<unknown>", |command| command.full_name);
        let error = match command {
            None => Some("ERR unknown command"),
            Some(command) if command.spec.flags.any(KEYSPACE_FLAGS) => {
                Some("ERR Replica can't interact with the keyspace")
            }
            Some(_) => None,
        };
        if let Some(error) = error {
            log::error!(
                "== CRITICAL == This primary is sending an error to its replica: '-{error}' after processing the command '{name}'"
            );
        }
        let client = &self.replica.client;
        log::warn!(
            "Replica generated a reply to command '{name}', disconnecting it: id={} addr={} laddr={}",
            client.id,
            client.addr,
            client.laddr
        );
    }
}

/// Commands that replicas must not send because they read or change data.
const KEYSPACE_FLAGS: Flags = Flags::WRITE.or(Flags::READONLY).or(Flags::MAY_REPLICATE);

/// Reads the next piece of a snapshot.
fn fill(file: &dyn File, offset: u64, piece: &mut Vec<u8>) -> io::Result<()> {
    piece.resize(FILE_PIECE, 0);
    let got = file.read_at(offset, piece);
    piece.truncate(got.as_ref().copied().unwrap_or(0));
    got.map(|_| ())
}
