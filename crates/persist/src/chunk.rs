//! Pieces of the stream on their way to the disk.

use crate::annotation::{local_line, push_local_select, repl_line, skip_line};
use crate::records::units;
use crate::replication::{Append, Mark, ReplicationId, Scope, Selection};
use crate::ring::Ring;
use resp::request::encode_select;
use std::collections::VecDeque;
use std::io::Write as _;

/// Segments up to this size are filled by copying; larger chunks are kept as they come.
const SEGMENT_BYTES: usize = 64 << 10;
/// Buffers above this capacity are given back to the allocator instead of being used again.
const KEEP_CAPACITY: usize = 1 << 20;

/// Whole records, and lines between them, that belong together in a file.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) bytes: Vec<u8>,
    /// The place before the first record.
    pub(crate) before: Mark,
    /// The place after the last record. Its position is larger than that of `before` when the chunk
    /// holds anything.
    pub(crate) after: Mark,
    /// It starts a new increment, because a base with everything before it is being written.
    pub(crate) fresh: bool,
}

/// The SKIP line at the end of the chunk, which further skipped bytes are added to.
#[derive(Debug)]
struct SkipLine {
    /// Where it starts in the chunk.
    at: usize,
    bytes: u64,
    db: Option<u32>,
}

/// The buffer that records are appended to. Its mutex is held for a copy of the bytes, never during
/// a write.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    pub(crate) chunk: Chunk,
    /// Second of the last time stamp.
    stamp: u64,
    /// Whether bytes are kept for the file.
    pub(crate) keeping: bool,
    /// The stream is that of a primary, byte for byte: it gets no SELECT of our own.
    is_copy: bool,
    /// The stream gets a SELECT before the next record, whatever is selected.
    must_select: bool,
    skip: Option<SkipLine>,
    /// Room for a SELECT.
    select: Vec<u8>,
    /// The end of the stream in memory, while the stream has readers.
    pub(crate) ring: Option<Ring>,
}

impl Buffer {
    /// Adds records; returns how many bytes of file they take.
    pub(crate) fn append(&mut self, append: &Append<'_>, now_ms: u64, timestamps: bool) -> usize {
        let before = self.chunk.bytes.len();
        let to_stream = append.scope != Scope::FileOnly;
        let to_file = self.keeping && append.scope != Scope::StreamOnly;
        if to_file && timestamps && now_ms / 1000 > self.stamp {
            self.stamp = now_ms / 1000;
            push(
                &mut self.chunk.bytes,
                format_args!("#TS:{}\r\n", self.stamp),
            );
        }
        self.select.clear();
        let was_selected = self.chunk.after.stream_db;
        if to_stream {
            self.select_in_stream(append.selection);
        }
        if to_file {
            self.skip = None;
            self.select_in_file(append);
            self.put_in_file(append);
        } else if self.keeping {
            self.skip_in_file(append, was_selected);
        }
        self.advance(append, to_stream);
        self.chunk.bytes.len().saturating_sub(before)
    }

    /// Selects the database in the stream; a SELECT that is needed goes to `select`.
    fn select_in_stream(&mut self, selection: Selection) {
        let after = &mut self.chunk.after;
        let Some(db) = selection.first() else {
            return;
        };
        if self.must_select || after.stream_db != Some(db) {
            self.must_select = false;
            encode_select(&mut self.select, db);
        }
        after.stream_db = selection.last();
    }

    /// Selects the database in the file: by the SELECT of the stream when there is one, else by one
    /// for the file alone.
    fn select_in_file(&mut self, append: &Append<'_>) {
        let chunk = &mut self.chunk;
        let wanted = append.selection.first().or(chunk.after.stream_db);
        if self.select.is_empty() && wanted.is_some_and(|db| chunk.after.db != Some(db)) {
            push_local_select(&mut chunk.bytes, wanted.unwrap_or_default());
        }
        let last = match append.selection {
            Selection::Span { last, .. } => Some(last),
            Selection::Database(_) | Selection::Current { .. } => wanted,
        };
        chunk.after.db = last.or(chunk.after.db);
    }

    fn put_in_file(&mut self, append: &Append<'_>) {
        let bytes = &mut self.chunk.bytes;
        if append.scope == Scope::Both {
            let (before, behind) = around_select(&self.select, append.records);
            bytes.extend_from_slice(before);
            bytes.extend_from_slice(&self.select);
            bytes.extend_from_slice(behind);
            return;
        }
        for unit in units(append.records) {
            bytes.extend_from_slice(local_line(unit.len()).as_bytes());
            bytes.extend_from_slice(unit);
        }
    }

    /// Notes bytes that only the stream has, in the SKIP line at the end of the chunk.
    fn skip_in_file(&mut self, append: &Append<'_>, was_selected: Option<u32>) {
        let chunk = &mut self.chunk;
        if let Selection::Current { then: Some(db) } = append.selection {
            chunk.after.stream_db = Some(db);
        }
        let selects = chunk.after.stream_db != was_selected;
        if selects {
            // A line only ever gets longer, so that the count of waiting bytes does.
            self.skip = None;
        }
        let skip = self.skip.get_or_insert(SkipLine {
            at: chunk.bytes.len(),
            bytes: 0,
            db: chunk.after.stream_db.filter(|_| selects),
        });
        skip.bytes += (self.select.len() + append.records.len()) as u64;
        chunk.bytes.truncate(skip.at);
        if skip.bytes > 0 {
            chunk
                .bytes
                .extend_from_slice(skip_line(skip.bytes, skip.db).as_bytes());
        }
    }

    /// Moves the end of the chunk behind the records.
    fn advance(&mut self, append: &Append<'_>, to_stream: bool) {
        let after = &mut self.chunk.after;
        if to_stream && let Some(ring) = &mut self.ring {
            let (before, behind) = around_select(&self.select, append.records);
            ring.push(before);
            ring.push(&self.select);
            ring.push(behind);
        }
        let bytes = (self.select.len() + append.records.len()) as u64;
        after.position += bytes;
        if to_stream {
            after.offset += bytes;
        }
        if let Selection::Current { then: Some(db) } = append.selection {
            if to_stream {
                after.stream_db = Some(db);
            }
            if append.scope != Scope::StreamOnly {
                after.db = Some(db);
            }
        }
        if !self.keeping {
            self.chunk.before = self.chunk.after;
        }
    }

    /// Sets the replication id from here on; returns how many bytes of file that takes.
    pub(crate) fn set_id(&mut self, id: ReplicationId) -> usize {
        let after = &mut self.chunk.after;
        if after.id.replace(id) == Some(id) {
            return 0;
        }
        let line = repl_line(after).unwrap_or_default();
        // The line has to become durable as records have.
        after.position += line.len() as u64;
        if !self.keeping {
            self.chunk.before = self.chunk.after;
            return 0;
        }
        self.skip = None;
        self.chunk.bytes.extend_from_slice(line.as_bytes());
        line.len()
    }

    /// Whether the stream is a copy of a primary's. Otherwise it gets a SELECT before the next
    /// record.
    pub(crate) fn set_copy(&mut self, is_copy: bool) {
        self.is_copy = is_copy;
        self.must_select = !is_copy;
    }

    /// Whether the stream is a copy of a primary's.
    pub(crate) fn is_copy(&self) -> bool {
        self.is_copy
    }

    /// The stream gets a SELECT before the next record that has a database.
    pub(crate) fn force_select(&mut self) {
        self.must_select = true;
    }

    /// Continues at this stream offset. Positions never go back.
    pub(crate) fn jump(&mut self, offset: u64, stream_db: Option<u32>) {
        let after = &mut self.chunk.after;
        (after.offset, after.stream_db) = (offset, stream_db);
        after.position = after.position.max(offset);
        self.chunk.before = self.chunk.after;
        self.restart_ring();
    }

    /// Takes everything, leaving `spare` to be filled.
    pub(crate) fn take(&mut self, spare: Vec<u8>) -> Chunk {
        let end = self.chunk.after;
        self.skip = None;
        let next = Chunk {
            bytes: spare,
            before: end,
            after: end,
            fresh: false,
        };
        std::mem::replace(&mut self.chunk, next)
    }

    /// Drops the bytes and continues at this place, in a file that has selected no database.
    pub(crate) fn restart(&mut self, place: Mark, keeping: bool) {
        let place = place.at_file_start();
        self.chunk = Chunk {
            before: place,
            after: place,
            ..Chunk::default()
        };
        self.skip = None;
        self.keeping = keeping;
        self.stamp = 0;
        self.must_select = !self.is_copy;
        self.restart_ring();
    }

    /// [`Buffer::restart`] for an increment that has only the shortest head: the first chunk begins
    /// with the replication id. Returns how many bytes of file that takes.
    pub(crate) fn restart_increment(&mut self, place: Mark) -> usize {
        self.restart(place, true);
        if let Some(line) = repl_line(&self.chunk.after) {
            self.chunk.bytes.extend_from_slice(line.as_bytes());
        }
        self.chunk.bytes.len()
    }

    /// Begins the ring anew when the stream has jumped.
    fn restart_ring(&mut self) {
        if let Some(ring) = &mut self.ring {
            ring.restart(self.chunk.after.offset);
        }
    }
}

/// The parts of `records` in front of a SELECT and behind it: as in Redis, the SELECT of a
/// transaction stands inside of it.
fn around_select<'a>(select: &[u8], records: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
    match records.strip_prefix(MULTI) {
        Some(rest) if !select.is_empty() => (MULTI, rest),
        _ => (&[], records),
    }
}

fn push(bytes: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing into a vector cannot fail.
    let _ = bytes.write_fmt(text);
}

/// Empties a buffer for the next use, unless it has grown too large to be kept.
pub(crate) fn recycle(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.clear();
    if bytes.capacity() > KEEP_CAPACITY {
        Vec::new()
    } else {
        bytes
    }
}

/// Written chunks kept until they are synced, so that they can be written again.
///
/// The segments are adjacent and end at the written position. Bytes before `gap_end` are not kept.
#[derive(Debug, Default)]
pub(crate) struct Unsynced {
    segments: VecDeque<Chunk>,
    bytes: usize,
    gap_end: u64,
    /// The last segment must not grow: a sync of it is under way.
    sealed: bool,
    spare: Vec<u8>,
}

impl Unsynced {
    /// Keeps a chunk if all together stay within `limit` bytes; otherwise drops all chunks. Returns
    /// a buffer to be used again.
    pub(crate) fn push(&mut self, chunk: Chunk, limit: usize) -> Vec<u8> {
        if self.bytes + chunk.bytes.len() > limit {
            self.forget(chunk.after.position);
            return recycle(chunk.bytes);
        }
        self.bytes += chunk.bytes.len();
        let len = chunk.bytes.len();
        if let Some(last) = self.segments.back_mut()
            && !self.sealed
            && last.bytes.len() + len <= SEGMENT_BYTES
        {
            last.bytes.extend_from_slice(&chunk.bytes);
            last.after = chunk.after;
            return recycle(chunk.bytes);
        }
        self.sealed = false;
        if len > SEGMENT_BYTES / 2 {
            self.segments.push_back(chunk);
            return Vec::new();
        }
        let mut bytes = std::mem::take(&mut self.spare);
        bytes.extend_from_slice(&chunk.bytes);
        self.segments.push_back(Chunk { bytes, ..chunk });
        recycle(chunk.bytes)
    }

    /// Keeps nothing up to this position.
    pub(crate) fn forget(&mut self, position: u64) {
        self.segments.clear();
        self.bytes = 0;
        self.gap_end = self.gap_end.max(position);
    }

    /// A sync of everything written so far begins: chunks that follow are kept in another segment.
    pub(crate) fn seal(&mut self) {
        self.sealed = true;
    }

    /// Everything up to this position is durable.
    pub(crate) fn release(&mut self, position: u64) {
        while let Some(first) = self.segments.front()
            && first.after.position <= position
        {
            self.bytes -= first.bytes.len();
            if let Some(first) = self.segments.pop_front() {
                self.spare = recycle(first.bytes);
            }
        }
    }

    /// Whether everything from this position on is here.
    pub(crate) fn reaches_back_to(&self, position: u64) -> bool {
        self.gap_end <= position
    }

    /// Position up to which chunks were dropped.
    pub(crate) fn gap_end(&self) -> u64 {
        self.gap_end
    }

    pub(crate) fn segments(&self) -> impl Iterator<Item = &Chunk> {
        self.segments.iter()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Mark {
        Mark {
            position: offset,
            offset,
            ..Mark::default()
        }
    }

    fn both(db: u32, records: &[u8]) -> Append<'_> {
        Append {
            selection: Selection::Database(db),
            records,
            scope: Scope::Both,
        }
    }

    fn chunk(start: u64, len: usize) -> Chunk {
        Chunk {
            bytes: vec![b'x'; len],
            before: at(start),
            after: at(start + len as u64),
            ..Chunk::default()
        }
    }

    fn kept(unsynced: &Unsynced) -> Vec<(u64, u64)> {
        unsynced
            .segments()
            .map(|segment| (segment.before.position, segment.after.position))
            .collect()
    }

    #[test]
    fn small_chunks_share_a_segment_until_a_sync_starts() {
        let mut unsynced = Unsynced::default();
        unsynced.push(chunk(0, 10), 1000);
        unsynced.push(chunk(10, 10), 1000);
        unsynced.seal();
        unsynced.push(chunk(20, 10), 1000);
        unsynced.push(chunk(30, 10), 1000);
        assert_eq!(kept(&unsynced), [(0, 20), (20, 40)]);
        unsynced.release(20);
        assert_eq!((kept(&unsynced), unsynced.bytes()), (vec![(20, 40)], 20));
        assert!(unsynced.reaches_back_to(0));
    }

    #[test]
    fn beyond_the_bound_everything_is_forgotten() {
        let mut unsynced = Unsynced::default();
        unsynced.push(chunk(0, 60), 100);
        unsynced.push(chunk(60, 60), 100);
        unsynced.push(chunk(120, 60), 100);
        assert_eq!((kept(&unsynced), unsynced.bytes()), (vec![(120, 180)], 60));
        assert!(!unsynced.reaches_back_to(119));
        assert!(unsynced.reaches_back_to(120));
    }

    #[test]
    fn a_buffer_that_keeps_nothing_counts_all_the_same() {
        let (mut keeping, mut counting) = (Buffer::default(), Buffer::default());
        keeping.restart(at(7), true);
        counting.restart(at(7), false);
        for (db, records) in [(0, b"abc"), (0, b"def"), (3, b"ghi")] {
            assert!(keeping.append(&both(db, records), 5_000, true) > 0);
            assert_eq!(counting.append(&both(db, records), 5_000, true), 0);
            assert_eq!(keeping.chunk.after.offset, counting.chunk.after.offset);
        }
        let taken = keeping.take(Vec::new());
        assert_eq!(
            (taken.before.offset, taken.before.db, taken.after.db),
            (7, None, Some(3))
        );
        assert_eq!(keeping.chunk.before.db, Some(3));
        assert!(counting.chunk.bytes.is_empty());
    }
}
