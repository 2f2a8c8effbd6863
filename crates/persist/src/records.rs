//! The grammar of log files, read: lines, records and units, as the head of `annotation.rs` has it.
//!
//! [`Grammar`] is the state that the elements of a file lead to; [`RecordReader`] cuts a file into
//! elements and takes each through it. The check of files has a tokenizer of its own, which names
//! the byte that is wrong, over the same [`Grammar`].

use crate::annotation::{Annotation, Checksum};
use crate::reader::Reader;
use crate::replication::ReplicationId;
use resp::{Args, Limits, Progress, RequestParser, Span};
use std::io;

/// Longest annotation line Valkey's loader reads, in bytes; longer lines of others are refused.
const FOREIGN_ANNOTATION_MAX: usize = 1024;
/// Spans kept between two records, in elements.
const SPANS_KEPT: usize = 1024;

/// The position of a reader in the stream, and the checksum since the last checksum line.
#[derive(Clone, Copy, Default)]
pub(crate) struct State {
    /// Stream offset.
    pub(crate) offset: u64,
    /// Whether a line or a base has given the offset; before that it counts from 0.
    pub(crate) is_offset_known: bool,
    /// The replication id in force.
    pub(crate) id: Option<ReplicationId>,
    /// Database selected in the stream, as far as known.
    pub(crate) stream_db: Option<u32>,
    /// Checksum since the previous checksum line.
    pub(crate) checksum: Checksum,
    /// File offset where the range of `checksum` starts.
    pub(crate) checked_from: u64,
}

/// The error of an element.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It cannot stand here, or at all.
    Format(String),
    /// A checksum line does not fit the bytes from this file offset on.
    Checksum { from: u64 },
    /// A line gives another stream offset than the one counted.
    Offset { expected: u64, found: u64 },
}

/// The kind of a record in the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Multi,
    Exec,
    Command,
}

/// The state of a file that is read.
pub(crate) struct Grammar {
    state: State,
    /// Whether records are in the stream; those of a base are not.
    counts: bool,
    /// Stream offset at the start of the file, until a line has given one.
    first_offset: Option<u64>,
    /// Start of the unit that has begun, and the state there.
    unit: Option<(u64, State)>,
    in_transaction: bool,
    /// File offset where the unit ends that a LOCAL line stands before.
    local_end: Option<u64>,
}

impl Grammar {
    /// The grammar at the start of a file that continues at `state`. `counts` is false for a base.
    pub(crate) fn new(mut state: State, counts: bool) -> Self {
        state.checksum = Checksum::new();
        state.checked_from = 0;
        Self {
            state,
            counts,
            first_offset: Some(state.offset),
            unit: None,
            in_transaction: false,
            local_end: None,
        }
    }

    /// Forgets the stream offset; the next line that has one sets it.
    pub(crate) fn forget_offset(&mut self) {
        self.state.is_offset_known = false;
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn is_in_transaction(&self) -> bool {
        self.in_transaction
    }

    /// Whether a unit has begun and not ended.
    pub(crate) fn is_in_unit(&self) -> bool {
        self.unit.is_some()
    }

    /// The end of the last whole unit when the reader is at file offset `at`, and the state there.
    pub(crate) fn whole(&self, at: u64) -> (u64, State) {
        self.unit.unwrap_or((at, self.state))
    }

    /// Adds bytes of a record to the checksum.
    pub(crate) fn cover(&mut self, bytes: &[u8]) {
        self.state.checksum.update(bytes);
    }

    /// A part in RDB form ends at file offset `at`; `told` has the values of its auxiliary fields.
    pub(crate) fn preamble(&mut self, at: u64, told: &State) {
        self.state = State {
            checked_from: at,
            checksum: Checksum::new(),
            ..*told
        };
        self.first_offset = Some(self.state.offset);
    }

    /// Takes a line, its line feed included, that stands at file offset `at`.
    pub(crate) fn annotation(&mut self, line: &[u8], at: u64) -> Result<Annotation, Fault> {
        if self.local_end.is_some() {
            let text = "an annotation between a #LOCAL: line and the end of its records";
            return Err(Fault::Format(text.to_owned()));
        }
        let end = at + line.len() as u64;
        let annotation = Annotation::parse(line.strip_suffix(b"\n").unwrap_or(line));
        let before = self.state;
        match annotation {
            Annotation::Checksum { crc, offset } => {
                if self.state.checksum.value() != crc {
                    let from = self.state.checked_from;
                    return Err(Fault::Checksum { from });
                }
                self.meet_offset(offset)?;
                self.state.checksum = Checksum::new();
                self.state.checked_from = end;
                return Ok(annotation);
            }
            Annotation::Damaged(kind) => {
                return Err(Fault::Format(format!("damaged {kind} line")));
            }
            Annotation::Skip { bytes, db } => {
                let offset = self.state.offset.checked_add(bytes);
                let overflow = || Fault::Format("#SKIP: of too many bytes".to_owned());
                self.state.offset = offset.ok_or_else(overflow)?;
                self.state.stream_db = db.or(self.state.stream_db);
            }
            Annotation::Local { bytes } => {
                if self.in_transaction {
                    return Err(Fault::Format("#LOCAL: inside a transaction".to_owned()));
                }
                let overflow = || Fault::Format("#LOCAL: of too many bytes".to_owned());
                self.local_end = Some(end.checked_add(bytes).ok_or_else(overflow)?);
                self.unit = Some((at, before));
            }
            Annotation::Repl { id, offset, db } => {
                self.meet_offset(offset)?;
                self.state.id = Some(id);
                self.state.stream_db = db.or(self.state.stream_db);
            }
            Annotation::Time(_) | Annotation::Other => {}
        }
        self.cover(line);
        Ok(annotation)
    }

    /// Compares the stream offset of a line with the one counted; sets it when none is known.
    fn meet_offset(&mut self, found: u64) -> Result<(), Fault> {
        // The head of a file may repeat a SELECT that has no LOCAL line; then the offset is still
        // the one at the start of the file.
        let at_head = self.first_offset.take() == Some(found);
        let expected = self.state.offset;
        if self.counts && self.state.is_offset_known && found != expected && !at_head {
            return Err(Fault::Offset { expected, found });
        }
        self.state.offset = found;
        self.state.is_offset_known = true;
        Ok(())
    }

    /// Takes a whole record with these first two arguments that stands from file offset `start` to
    /// `end`. Its bytes are to be covered behind this call.
    pub(crate) fn record(
        &mut self,
        name: &[u8],
        argument: Option<&[u8]>,
        (start, end): (u64, u64),
    ) -> Result<Kind, Fault> {
        let kind = self.kind_of(name)?;
        if kind == Kind::Multi {
            self.in_transaction = true;
            self.unit.get_or_insert((start, self.state));
        }
        let ends = kind == Kind::Exec || !self.in_transaction;
        match self.local_end {
            Some(local_end) if end > local_end || (end == local_end) != ends => {
                let text = "a #LOCAL: line that does not count the bytes of what follows it";
                return Err(Fault::Format(text.to_owned()));
            }
            None if self.counts => {
                self.state.offset += end - start;
                if name.eq_ignore_ascii_case(b"select") {
                    let db = argument.and_then(|db| str::from_utf8(db).ok()?.parse().ok());
                    self.state.stream_db = db.or(self.state.stream_db);
                }
            }
            Some(_) | None => {}
        }
        if ends {
            self.in_transaction = false;
            (self.unit, self.local_end) = (None, None);
        }
        Ok(kind)
    }

    /// Whether it is a MULTI inside of a transaction, or an EXEC outside.
    pub(crate) fn is_misplaced(&self, name: &[u8]) -> bool {
        self.kind_of(name).is_err()
    }

    /// The kind of a record with this name in the present state.
    fn kind_of(&self, name: &[u8]) -> Result<Kind, Fault> {
        if name.eq_ignore_ascii_case(b"multi") {
            if self.in_transaction {
                return Err(Fault::Format("MULTI inside a transaction".to_owned()));
            }
            return Ok(Kind::Multi);
        }
        if name.eq_ignore_ascii_case(b"exec") {
            if !self.in_transaction {
                return Err(Fault::Format("EXEC without MULTI".to_owned()));
            }
            return Ok(Kind::Exec);
        }
        Ok(Kind::Command)
    }
}

/// An element of a file.
pub(crate) enum Item<'a> {
    /// A line.
    Line(Annotation),
    Record(Record<'a>),
    /// The file ends here. When it ends in the middle of something, [`Grammar::whole`] is before
    /// it.
    End {
        /// Whether a line or a record begins and does not end.
        is_torn: bool,
    },
}

/// A record of a file.
pub(crate) struct Record<'a> {
    pub(crate) args: Args<'a>,
    pub(crate) kind: Kind,
    /// Whether the file alone has it.
    pub(crate) is_local: bool,
    /// File offset where it starts.
    pub(crate) start: u64,
}

/// Why a file cannot be read on.
pub(crate) enum ReadError {
    Io(io::Error),
    /// What is wrong with the element at the position of the reader.
    Fault(Fault),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Fault> for ReadError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Reads a file element by element.
pub(crate) struct RecordReader {
    pub(crate) reader: Reader,
    pub(crate) grammar: Grammar,
    parser: RequestParser,
    limits: Limits,
    spans: Vec<Span>,
    /// Bytes of the element that was returned last.
    taken: usize,
}

impl RecordReader {
    pub(crate) fn new(reader: Reader, grammar: Grammar, max_bulk: usize) -> Self {
        Self {
            reader,
            grammar,
            parser: RequestParser::default(),
            limits: Limits {
                max_bulk,
                ..Limits::default()
            },
            spans: Vec::new(),
            taken: 0,
        }
    }

    /// File offset behind the element that was returned last; after an error, the start of the
    /// faulty one.
    pub(crate) fn position(&self) -> u64 {
        self.reader.position() + self.taken as u64
    }

    /// The last `len` bytes of the element that was returned last.
    pub(crate) fn last_bytes(&self, len: usize) -> &[u8] {
        let element = self.reader.available().get(..self.taken);
        let element = element.unwrap_or_default();
        element
            .get(element.len().saturating_sub(len)..)
            .unwrap_or_default()
    }

    /// The end of the last whole unit, and the state there.
    pub(crate) fn whole(&self) -> (u64, State) {
        self.grammar.whole(self.position())
    }

    /// Reads the head of the file up to the line that gives the stream offset; returns the offset.
    /// `None` when a record of the stream comes first.
    pub(crate) fn head_offset(&mut self) -> Result<Option<u64>, ReadError> {
        loop {
            match self.next()? {
                Item::Record(record) if record.is_local => {}
                Item::Line(Annotation::Skip { .. }) | Item::Record(_) | Item::End { .. } => {
                    return Ok(None);
                }
                Item::Line(_) => {}
            }
            let state = self.grammar.state();
            if state.is_offset_known {
                return Ok(Some(state.offset));
            }
        }
    }

    /// The next element. After [`Item::End`] there are no others.
    pub(crate) fn next(&mut self) -> Result<Item<'_>, ReadError> {
        self.reader.consume(std::mem::take(&mut self.taken));
        let is_line = loop {
            let more = match self.reader.available().first() {
                None => 1,
                Some(b'#') => match self.line_length()? {
                    Some(length) => {
                        self.taken = length;
                        break true;
                    }
                    None => 1,
                },
                Some(b'*') => match self.parse()? {
                    Progress::Request { consumed, .. } => {
                        self.taken = consumed;
                        break false;
                    }
                    Progress::NeedMore { hint } => hint.max(1),
                    Progress::Empty { .. } | Progress::Inline { .. } => {
                        let text = "a record without a command".to_owned();
                        return Err(Fault::Format(text).into());
                    }
                },
                Some(&byte) => {
                    let text = format!("expected '*', got {byte:#04x}");
                    return Err(Fault::Format(text).into());
                }
            };
            if !self.reader.fill(more)? {
                let is_torn = !self.reader.available().is_empty();
                return Ok(Item::End { is_torn });
            }
        };
        let is_local = self.grammar.local_end.is_some();
        let item = self.take(is_line);
        if item.is_err() {
            self.taken = 0;
        }
        // Taken again, since an error must not keep the borrow.
        match item? {
            Taken::Line(annotation) => Ok(Item::Line(annotation)),
            Taken::Record(kind) => Ok(Item::Record(Record {
                args: Args::new(self.reader.available(), &self.spans),
                kind,
                is_local,
                start: self.reader.position(),
            })),
        }
    }

    /// Takes the element of `taken` bytes through the grammar.
    fn take(&mut self, is_line: bool) -> Result<Taken, Fault> {
        let start = self.reader.position();
        let input = self.reader.available();
        let bytes = input.get(..self.taken).unwrap_or(input);
        if is_line {
            return self.grammar.annotation(bytes, start).map(Taken::Line);
        }
        let args = Args::new(input, &self.spans);
        let argument = (args.len() > 1).then(|| args.arg(1));
        let end = start + bytes.len() as u64;
        let kind = self.grammar.record(args.arg(0), argument, (start, end))?;
        self.grammar.cover(bytes);
        Ok(Taken::Record(kind))
    }

    /// Length of the line at the position, when it is there as a whole.
    fn line_length(&self) -> Result<Option<usize>, Fault> {
        let input = self.reader.available();
        let window = input.get(..FOREIGN_ANNOTATION_MAX).unwrap_or(input);
        let end = window.iter().position(|&byte| byte == b'\n');
        if end.is_none() && window.len() == FOREIGN_ANNOTATION_MAX {
            return Err(Fault::Format("annotation line too long".to_owned()));
        }
        Ok(end.map(|end| end + 1))
    }

    fn parse(&mut self) -> Result<Progress, Fault> {
        self.spans.clear();
        self.spans.shrink_to(SPANS_KEPT);
        let input = self.reader.available();
        let parsed = self.parser.parse(input, &self.limits, &mut self.spans);
        parsed.map_err(|error| Fault::Format(error.to_string()))
    }
}

enum Taken {
    Line(Annotation),
    Record(Kind),
}

/// Cuts whole records into units: a record, or a transaction from its MULTI to its EXEC.
pub(crate) fn units(records: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = records;
    std::iter::from_fn(move || {
        let all = rest;
        let mut len = 0;
        let mut in_transaction = false;
        while let Some((kind, consumed)) = first_record(all.get(len..).unwrap_or_default()) {
            len += consumed;
            in_transaction |= kind == Kind::Multi;
            if !in_transaction || kind == Kind::Exec {
                break;
            }
        }
        debug_assert!(len > 0 || all.is_empty(), "whole records are appended");
        // Bytes that are no record are one unit, so that nothing is lost.
        let (unit, left) = all.split_at(if len == 0 { all.len() } else { len });
        rest = left;
        (!unit.is_empty()).then_some(unit)
    })
}

/// Kind and length of the first record.
fn first_record(records: &[u8]) -> Option<(Kind, usize)> {
    let limits = Limits {
        max_bulk: usize::MAX,
        ..Limits::default()
    };
    let mut spans = Vec::new();
    let parsed = RequestParser::default().parse(records, &limits, &mut spans);
    match parsed {
        Ok(Progress::Request { consumed, .. }) => {
            let name = Args::new(records, &spans).arg(0);
            let kind = if name.eq_ignore_ascii_case(b"multi") {
                Kind::Multi
            } else if name.eq_ignore_ascii_case(b"exec") {
                Kind::Exec
            } else {
                Kind::Command
            };
            Some((kind, consumed))
        }
        _ => None,
    }
}
