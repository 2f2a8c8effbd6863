//! Pieces of the stream on their way to the disk.

use std::collections::VecDeque;
use std::io::Write as _;

/// Segments up to this size are filled by copying; larger chunks are kept as they come.
const SEGMENT_BYTES: usize = 64 << 10;
/// Buffers above this capacity are given back to the allocator instead of being used again.
const KEEP_CAPACITY: usize = 1 << 20;

/// Whole records, and time stamps between them, that belong together in a file.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) bytes: Vec<u8>,
    /// Stream offset before the first record.
    pub(crate) start: u64,
    /// Stream offset after the last record; larger than `start` when there are records. The
    /// difference is smaller than `bytes.len()` when there are time stamps.
    pub(crate) end: u64,
    /// Database that is selected before the first record and after the last one.
    pub(crate) db_before: Option<u32>,
    pub(crate) db_after: Option<u32>,
    /// It starts a new increment, because a base with everything before it is being written.
    pub(crate) fresh: bool,
}

/// What appenders add to. Its mutex is held for a copy of the bytes, never during a write.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    pub(crate) chunk: Chunk,
    /// Second of the last time stamp.
    stamp: u64,
    /// Whether bytes are kept. Otherwise only the offset goes on.
    pub(crate) keeping: bool,
}

impl Buffer {
    /// Adds records; returns how many bytes of file they take.
    pub(crate) fn append(
        &mut self,
        db: u32,
        records: &[u8],
        now_ms: u64,
        timestamps: bool,
    ) -> usize {
        let chunk = &mut self.chunk;
        let before = chunk.bytes.len();
        if self.keeping && timestamps && now_ms / 1000 > self.stamp {
            self.stamp = now_ms / 1000;
            push(&mut chunk.bytes, format_args!("#TS:{}\r\n", self.stamp));
        }
        if chunk.db_after != Some(db) {
            chunk.db_after = Some(db);
            let at = chunk.bytes.len();
            push_select(&mut chunk.bytes, db);
            chunk.end += (chunk.bytes.len() - at) as u64;
        }
        chunk.end += records.len() as u64;
        if self.keeping {
            chunk.bytes.extend_from_slice(records);
            chunk.bytes.len() - before
        } else {
            chunk.bytes.truncate(before);
            chunk.start = chunk.end;
            0
        }
    }

    /// Takes everything, leaving `spare` to be filled.
    pub(crate) fn take(&mut self, spare: Vec<u8>) -> Chunk {
        let (end, db) = (self.chunk.end, self.chunk.db_after);
        let next = Chunk {
            bytes: spare,
            start: end,
            end,
            db_before: db,
            db_after: db,
            fresh: false,
        };
        std::mem::replace(&mut self.chunk, next)
    }

    /// Forgets the bytes and goes on at this offset, in a file that has selected no database.
    pub(crate) fn restart(&mut self, offset: u64, keeping: bool) {
        self.chunk = Chunk {
            start: offset,
            end: offset,
            ..Chunk::default()
        };
        self.keeping = keeping;
        self.stamp = 0;
    }
}

fn push(bytes: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing into a vector cannot fail.
    let _ = bytes.write_fmt(text);
}

/// Adds the record that selects a database.
pub(crate) fn push_select(bytes: &mut Vec<u8>, db: u32) {
    let digits = db.checked_ilog10().unwrap_or(0) + 1;
    push(
        bytes,
        format_args!("*2\r\n$6\r\nSELECT\r\n${digits}\r\n{db}\r\n"),
    );
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
/// The segments are adjacent and end at the written offset. What lies before `gap_end` is not kept.
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
    /// Keeps a chunk if all together stay within `limit` bytes; otherwise forgets everything.
    /// Returns a buffer to be used again.
    pub(crate) fn push(&mut self, chunk: Chunk, limit: usize) -> Vec<u8> {
        if self.bytes + chunk.bytes.len() > limit {
            self.forget(chunk.end);
            return recycle(chunk.bytes);
        }
        self.bytes += chunk.bytes.len();
        let len = chunk.bytes.len();
        if let Some(last) = self.segments.back_mut()
            && !self.sealed
            && last.bytes.len() + len <= SEGMENT_BYTES
        {
            last.bytes.extend_from_slice(&chunk.bytes);
            last.end = chunk.end;
            last.db_after = chunk.db_after;
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

    /// Keeps nothing up to this offset.
    pub(crate) fn forget(&mut self, offset: u64) {
        self.segments.clear();
        self.bytes = 0;
        self.gap_end = self.gap_end.max(offset);
    }

    /// Everything written so far is being synced: what comes now is kept apart from it.
    pub(crate) fn seal(&mut self) {
        self.sealed = true;
    }

    /// Everything up to this offset is durable.
    pub(crate) fn release(&mut self, offset: u64) {
        while let Some(first) = self.segments.front()
            && first.end <= offset
        {
            self.bytes -= first.bytes.len();
            if let Some(first) = self.segments.pop_front() {
                self.spare = recycle(first.bytes);
            }
        }
    }

    /// Whether everything from this offset on is here.
    pub(crate) fn reaches_back_to(&self, offset: u64) -> bool {
        self.gap_end <= offset
    }

    /// Stream offset up to which something was forgotten.
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

    fn chunk(start: u64, len: usize) -> Chunk {
        Chunk {
            bytes: vec![b'x'; len],
            start,
            end: start + len as u64,
            ..Chunk::default()
        }
    }

    fn kept(unsynced: &Unsynced) -> Vec<(u64, u64)> {
        unsynced
            .segments()
            .map(|segment| (segment.start, segment.end))
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
    fn select_has_the_length_of_its_number() {
        for (db, text) in [
            (0, "$1\r\n0\r\n"),
            (9, "$1\r\n9\r\n"),
            (10, "$2\r\n10\r\n"),
            (u32::MAX, "$10\r\n4294967295\r\n"),
        ] {
            let mut bytes = Vec::new();
            push_select(&mut bytes, db);
            assert_eq!(
                String::from_utf8(bytes).unwrap(),
                format!("*2\r\n$6\r\nSELECT\r\n{text}")
            );
        }
    }

    #[test]
    fn a_buffer_that_keeps_nothing_counts_all_the_same() {
        let (mut keeping, mut counting) = (Buffer::default(), Buffer::default());
        keeping.restart(7, true);
        counting.restart(7, false);
        for (db, records) in [(0, b"abc"), (0, b"def"), (3, b"ghi")] {
            assert!(keeping.append(db, records, 5_000, true) > 0);
            assert_eq!(counting.append(db, records, 5_000, true), 0);
            assert_eq!(keeping.chunk.end, counting.chunk.end);
        }
        let taken = keeping.take(Vec::new());
        assert_eq!(
            (taken.start, taken.db_before, taken.db_after),
            (7, None, Some(3))
        );
        assert_eq!(keeping.chunk.db_before, Some(3));
        assert!(counting.chunk.bytes.is_empty());
    }
}
