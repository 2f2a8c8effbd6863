//! The replication stream from the files of the log: for replicas that were away for longer than
//! the stream is kept in memory.
//!
//! The increments of the manifest and those of the history (`aof-history-seconds`) have the stream
//! byte for byte, but for what only its readers got (`#SKIP:`): PING, messages. These bytes are
//! replaced by others of the same number that change nothing, so offsets stay those of the stream.
//!
//! ```text
//! files  [ increment | increment | increment ]
//! stream        ^ from                  [ memory ... end
//!               |----- KeptStream ------->|  ends at the end of a record that memory has, too
//! ```

use crate::annotation::Annotation;
use crate::history::Chain;
use crate::log::Log;
use crate::reader::Reader;
use crate::records::{Fault, Grammar, Item, ReadError, RecordReader, State};
use crate::replication::ReplicationId;
use crate::shared::Shared;
use crate::storage::{File, OpenMode};
use crate::sync::lock;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Longest record that fills a gap, in bytes: a replica holds it as a whole.
const FILLER_MAX: u64 = 64 << 10;

/// An increment: its number, its file and how many bytes of it count.
type Part = (Arc<dyn File>, u64);

/// Reads the stream from the files of the log. The files that it reads may be removed meanwhile.
pub struct KeptStream {
    parts: VecDeque<Part>,
    records: RecordReader,
    max_bulk: usize,
    /// Stream offset of the next byte that is given.
    at: u64,
    /// Reading ends at the first end of an element that is not before this.
    until: u64,
}

/// Why the files cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// A file cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A file is damaged, or the files do not fit together.
    #[error("{0}")]
    Damaged(&'static str),
}

impl From<ReadError> for KeptError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => Self::Io(error),
            ReadError::Fault(Fault::Format(_)) => Self::Damaged("a record is damaged"),
            ReadError::Fault(Fault::Checksum { .. }) => Self::Damaged("a checksum is wrong"),
            ReadError::Fault(Fault::Offset { .. }) => Self::Damaged("an offset is wrong"),
        }
    }
}

impl Log {
    /// The stream from offset `from` up to where memory has it: not before `until`, which is the
    /// beginning of that. `None` when the files do not begin early enough, or have another history
    /// there than one of `ids`.
    ///
    /// # Errors
    /// A file cannot be read, or is damaged.
    pub fn kept_stream(
        &self,
        from: u64,
        until: u64,
        ids: &[ReplicationId],
    ) -> Result<Option<KeptStream>, KeptError> {
        let shared = &*self.shared;
        let Some(mut parts) = increments(shared)? else {
            return Ok(None);
        };
        let max_bulk = shared.options.max_bulk;
        // The last one that does not begin behind `from`.
        let mut later = VecDeque::new();
        while let Some((file, len)) = parts.pop_back() {
            let mut head = open(file.clone(), len, max_bulk);
            let begin = head.head_offset()?;
            if begin.is_none_or(|begin| begin > from) {
                later.push_front((file, len));
                continue;
            }
            let mut kept = KeptStream {
                parts: later,
                records: open(file, len, max_bulk),
                max_bulk,
                at: from,
                until,
            };
            return Ok(kept.begin(ids)?.then_some(kept));
        }
        Ok(None)
    }
}

fn open(file: Arc<dyn File>, len: u64, max_bulk: usize) -> RecordReader {
    let mut grammar = Grammar::new(State::default(), true);
    grammar.forget_offset();
    RecordReader::new(Reader::new(file, len), grammar, max_bulk)
}

/// The increments of the log and of its history by age, as they are now; `None` without a log.
fn increments(shared: &Shared) -> Result<Option<VecDeque<Part>>, KeptError> {
    let mut slot = lock(&shared.writer);
    let Some(writer) = slot.as_mut() else {
        return Ok(None);
    };
    let pending = shared.write_pending(writer, true);
    pending.map_err(|_| KeptError::Damaged("the log cannot be written"))?;
    let Some((manifest, len)) = writer.current() else {
        return Ok(None);
    };
    let (directory, storage) = (&writer.directory, &shared.storage);
    let mut paths: BTreeMap<u64, (PathBuf, Option<u64>)> = BTreeMap::new();
    for Chain { manifest, .. } in directory.chains() {
        for info in manifest.incr {
            let path = directory.history_path().join(&info.name);
            paths.insert(info.seq, (path, info.length));
        }
    }
    let last = manifest.incr.last().map(|info| info.seq);
    for info in manifest.incr {
        let length = match Some(info.seq) == last {
            true => Some(len),
            false => info.length,
        };
        paths.insert(info.seq, (directory.path_of(&info.name), length));
    }
    let mut parts = VecDeque::new();
    for (path, length) in paths.into_values() {
        match storage.open(&path, OpenMode::Read) {
            Ok(file) => {
                let len = file.len()?;
                parts.push_back((file, length.map_or(len, |length| length.min(len))));
            }
            // What stands before a gap is of no use.
            Err(error) if error.kind() == io::ErrorKind::NotFound => parts.clear(),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(parts))
}

/// Bytes of the stream that an element of a file stands for.
enum Piece {
    /// So many bytes of the element itself.
    Record(usize),
    /// So many bytes that the file does not have, and the database that they have selected.
    Gap(u64, Option<u32>),
    Nothing,
    End,
}

impl KeptStream {
    /// Stream offset of the next byte.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.at
    }

    /// Reads up to the element that has the first byte. Whether the history is one of `ids` there.
    fn begin(&mut self, ids: &[ReplicationId]) -> Result<bool, KeptError> {
        loop {
            let state = self.state();
            let is_there = state.is_offset_known && state.offset == self.at;
            // The line with the id may follow others at the same offset.
            if is_there && state.id.is_some_and(|id| ids.contains(&id)) {
                return Ok(true);
            }
            let piece = self.next()?;
            let has_passed = self.state().offset > self.at;
            if matches!(piece, Piece::End) || !matches!(piece, Piece::Nothing) && has_passed {
                return Ok(false);
            }
        }
    }

    fn state(&self) -> State {
        *self.records.grammar.state()
    }

    /// Takes the next element.
    fn next(&mut self) -> Result<Piece, KeptError> {
        let before = self.state();
        let piece = match self.records.next()? {
            Item::End { .. } => Piece::End,
            Item::Line(Annotation::Skip { bytes, db }) => Piece::Gap(bytes, db),
            Item::Line(_) => Piece::Nothing,
            Item::Record(record) if record.is_local => Piece::Nothing,
            Item::Record(_) => Piece::Record(0),
        };
        let after = self.state();
        Ok(match piece {
            Piece::Record(_) => Piece::Record((after.offset - before.offset) as usize),
            piece => piece,
        })
    }

    /// Appends the next bytes of the stream to `out`, some `most` of them. False behind the last
    /// one: [`KeptStream::offset`] is where memory goes on.
    ///
    /// # Errors
    /// A file cannot be read, is damaged, or does not go on where the one before ends.
    pub fn read(&mut self, out: &mut Vec<u8>, most: usize) -> Result<bool, KeptError> {
        let begin = out.len();
        while out.len() - begin < most {
            if self.at >= self.until && !self.records.grammar.is_in_unit() {
                return Ok(false);
            }
            match self.next()? {
                Piece::Record(len) => {
                    let bytes = self.records.last_bytes(len);
                    out.extend_from_slice(bytes);
                    self.at += bytes.len() as u64;
                }
                Piece::Gap(bytes, db) => {
                    fill(out, bytes, db)?;
                    self.at += bytes;
                }
                Piece::Nothing => {}
                Piece::End => self.open_next()?,
            }
        }
        Ok(true)
    }

    fn open_next(&mut self) -> Result<(), KeptError> {
        const GAP: KeptError = KeptError::Damaged("the files of the log do not fit together");
        let (file, len) = self.parts.pop_front().ok_or(GAP)?;
        let begin = open(file.clone(), len, self.max_bulk).head_offset()?;
        self.records = open(file, len, self.max_bulk);
        match begin {
            Some(begin) if begin == self.at => Ok(()),
            // A record that was lost, or another history.
            _ => Err(GAP),
        }
    }
}

/// Appends `bytes` bytes that change nothing, but that they select a database.
fn fill(out: &mut Vec<u8>, bytes: u64, db: Option<u32>) -> Result<(), KeptError> {
    let mut select = Vec::new();
    if let Some(db) = db {
        resp::request::encode_select(&mut select, db);
    }
    let mut left = bytes
        .checked_sub(select.len() as u64)
        .ok_or(KeptError::Damaged("a gap is too short for its SELECT"))?;
    while left > 0 {
        let piece = left.min(FILLER_MAX) as usize;
        out.extend_from_slice(&filler(piece));
        left -= piece as u64;
    }
    out.extend_from_slice(&select);
    Ok(())
}

/// So many bytes of the stream that change nothing: a PING, and empty lines where none fits.
fn filler(len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    // The frame of a PING with a message has some forty bytes.
    const FRAME_MAX: usize = 64;
    if len >= FRAME_MAX {
        let text = vec![b' '; len - FRAME_MAX];
        resp::request::encode(&mut bytes, &[b"PING", &text]);
    }
    let mut padded = vec![b'\n'; len.saturating_sub(bytes.len())];
    padded.append(&mut bytes);
    padded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::LogOptions;
    use crate::replication::{Append, Scope, Selection};
    use crate::storage::Memory;
    use crate::target::Target;
    use resp::Args;

    struct Nothing;

    impl crate::rdb::Sink for Nothing {
        fn entry(&mut self, _: crate::rdb::LoadedEntry<'_>) -> Result<(), String> {
            Ok(())
        }

        fn function(&mut self, _: &[u8]) -> Result<(), String> {
            Ok(())
        }

        fn aux(&mut self, _: &[u8], _: &[u8]) {}
    }

    impl Target for Nothing {
        fn command(&mut self, _: Args<'_>) -> Result<(), String> {
            Ok(())
        }

        fn progress(&mut self, _: u64, _: u64) {}
    }

    fn id(digit: char) -> ReplicationId {
        ReplicationId::parse(digit.to_string().repeat(40).as_bytes()).unwrap()
    }

    fn log() -> Log {
        let log = Log::new(Arc::new(Memory::new()), LogOptions::default());
        log.load(&mut Nothing).unwrap();
        log.set_replication_id(id('a'));
        log.open_stream(4_096);
        log
    }

    fn all(log: &Log) -> (u64, Vec<u8>) {
        let range = log.stream_range().unwrap();
        let mut cursor = log.stream_cursor(range.start, u64::MAX).unwrap();
        let mut slices = Vec::new();
        cursor.read(range.end, usize::MAX, &mut slices).unwrap();
        let bytes = slices.iter().flat_map(|slice| slice.iter().copied());
        (range.start, bytes.collect())
    }

    fn read(log: &Log, from: u64) -> Option<(Vec<u8>, u64)> {
        let until = log.stream_range().unwrap().start;
        let mut kept = log.kept_stream(from, until, &[id('a')]).unwrap()?;
        let mut bytes = Vec::new();
        while kept.read(&mut bytes, 100).unwrap() {}
        assert_eq!(kept.offset(), from + bytes.len() as u64);
        assert!(kept.offset() >= until);
        Some((bytes, kept.offset()))
    }

    #[test]
    fn fillers_have_their_length_and_are_requests() {
        for len in (0..300).chain([4_095, 65_535, 65_536]) {
            assert_eq!(filler(len).len(), len);
        }
        let mut out = Vec::new();
        fill(&mut out, 23, Some(3)).unwrap();
        assert_eq!(out, b"*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n");
        assert!(fill(&mut out, 22, Some(3)).is_err());
    }

    #[test]
    fn the_stream_is_read_from_the_files() {
        let log = log();
        let (mut whole, mut boundaries, mut gaps) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..400_u32 {
            let (mut records, text) = (Vec::new(), "x".repeat(number as usize));
            resp::request::encode(&mut records, &[b"SET", b"key", text.as_bytes()]);
            let scope = match number % 5 {
                3 => Scope::StreamOnly,
                4 => Scope::FileOnly,
                _ => Scope::Both,
            };
            let append = Append {
                selection: Selection::Database(number % 3),
                records: &records,
                scope,
            };
            let before = log.stream_offset();
            boundaries.push(before);
            log.append_scoped(&append, 0);
            if scope == Scope::StreamOnly {
                gaps.push(before..log.stream_offset());
            }
            let (start, bytes) = all(&log);
            let known = whole.len() as u64;
            whole.extend_from_slice(&bytes[(known - start.min(known)) as usize..]);
        }
        log.flush().unwrap();
        for from in boundaries.iter().copied() {
            if from >= log.stream_range().unwrap().start {
                break;
            }
            let Some((bytes, _)) = read(&log, from) else {
                panic!("the files begin at 0, not behind {from}");
            };
            for (at, byte) in (from..).zip(&bytes) {
                let is_gap = gaps.iter().any(|gap| gap.contains(&at));
                assert!(is_gap || *byte == whole[at as usize], "at {at} from {from}");
            }
        }
        assert!(log.kept_stream(1, 5_000, &[id('a')]).unwrap().is_none());
        assert!(log.kept_stream(0, 5_000, &[id('b')]).unwrap().is_none());
    }
}
