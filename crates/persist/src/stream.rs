//! Readers of the replication stream.

use crate::log::Log;
use crate::ring::{Ring, StreamSlice};
use crate::sync::lock;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Reads the stream from an offset on and pins what it has not read. Dropping it unpins.
pub struct StreamCursor {
    shared: Arc<crate::shared::Shared>,
    id: u64,
    offset: u64,
}

/// The cursor fell further behind than its limit, or the stream was closed: bytes between its
/// offset and the oldest one of the ring are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the replication stream has gone on without this reader")]
pub struct StreamLost;

impl StreamCursor {
    /// Stream offset of the next byte that [`StreamCursor::read`] gives.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Moves forward: the bytes before this offset are not wanted any more.
    pub fn skip_to(&mut self, offset: u64) {
        self.offset = self.offset.max(offset);
    }

    /// Adds the next bytes to `slices`, up to stream offset `to` and at most `most` bytes, and
    /// moves behind them. Adds nothing when there is nothing.
    ///
    /// # Errors
    /// The cursor was too far behind.
    pub fn read(
        &mut self,
        to: u64,
        most: usize,
        slices: &mut Vec<StreamSlice>,
    ) -> Result<(), StreamLost> {
        let mut buffer = lock(&self.shared.buffer);
        let ring = buffer.ring.as_mut().ok_or(StreamLost)?;
        // The pin is behind the bytes that were given out: their slices hold the blocks.
        if !ring.move_pin(self.id, self.offset) {
            return Err(StreamLost);
        }
        self.offset = ring.slices(self.offset, to, most, slices);
        ring.move_pin(self.id, self.offset);
        Ok(())
    }
}

impl Drop for StreamCursor {
    fn drop(&mut self) {
        if let Some(ring) = &mut lock(&self.shared.buffer).ring {
            ring.unpin(self.id);
        }
    }
}

impl Log {
    /// Keeps the stream in memory from its end on, at least its last `size` bytes: the log has a
    /// stream reader now, and [`Log::is_wanted`]. Does nothing but [`Log::resize_stream`] when the
    /// stream is kept. Called under the locks that [`Log::append`] is called under.
    pub fn open_stream(&self, size: u64) {
        let mut buffer = lock(&self.shared.buffer);
        match &mut buffer.ring {
            Some(ring) => ring.resize(size),
            None => {
                let offset = buffer.chunk.after.offset;
                buffer.ring = Some(Ring::new(offset, size));
            }
        }
        self.shared.streams.store(true, Ordering::Release);
    }

    /// Frees what is kept of the stream and loses all cursors: the log has no stream reader any
    /// more. Called under the locks that [`Log::append`] is called under.
    pub fn close_stream(&self) {
        let mut buffer = lock(&self.shared.buffer);
        self.shared.streams.store(false, Ordering::Release);
        let ring = buffer.ring.take();
        drop(buffer);
        drop(ring);
    }

    /// Sets how many bytes behind the end are kept (`repl-backlog-size`).
    pub fn resize_stream(&self, size: u64) {
        if let Some(ring) = &mut lock(&self.shared.buffer).ring {
            ring.resize(size);
        }
    }

    /// The stream offsets that are in memory; `None` when the stream is not kept.
    #[must_use]
    pub fn stream_range(&self) -> Option<Range<u64>> {
        lock(&self.shared.buffer).ring.as_ref().map(Ring::range)
    }

    /// A cursor that begins at this stream offset and may fall `limit` bytes behind. `None` when
    /// the bytes from there on are not in memory.
    #[must_use]
    pub fn stream_cursor(&self, offset: u64, limit: u64) -> Option<StreamCursor> {
        let id = lock(&self.shared.buffer)
            .ring
            .as_mut()?
            .pin(offset, limit)?;
        Some(StreamCursor {
            shared: self.shared.clone(),
            id,
            offset,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::LogOptions;
    use crate::replication::Selection;
    use crate::storage::Memory;

    fn log() -> Log {
        Log::new(Arc::new(Memory::new()), LogOptions::default())
    }

    const PLAIN: Selection = Selection::Current { then: None };

    #[test]
    fn a_copy_of_a_stream_gets_nothing_of_our_own() {
        let log = log();
        log.open_stream(100);
        log.append_to_own_stream(PLAIN, b"PING", 0);
        assert_eq!(log.stream_offset(), 4);
        log.set_stream_is_copy(true);
        log.append_to_own_stream(PLAIN, b"PING", 0);
        assert_eq!(log.stream_offset(), 4);
        log.set_stream_is_copy(false);
        log.append_to_own_stream(PLAIN, b"PING", 0);
        assert_eq!(log.stream_offset(), 8);
    }

    #[test]
    fn a_stream_without_a_file_is_kept_from_its_opening_on() {
        let log = log();
        log.append(0, b"before", 0);
        assert!(!log.is_wanted() && log.stream_range().is_none());
        log.open_stream(100);
        let start = log.stream_offset();
        assert!(log.is_wanted() && !log.is_enabled());
        assert!(log.stream_cursor(start - 1, 1_000).is_none());
        let mut cursor = log.stream_cursor(start, 1_000).unwrap();
        log.append(0, b"after", 0);
        let mut slices = Vec::new();
        cursor.read(u64::MAX, usize::MAX, &mut slices).unwrap();
        assert_eq!(
            (
                slices
                    .iter()
                    .flat_map(|slice| slice.to_vec())
                    .collect::<Vec<u8>>(),
                cursor.offset()
            ),
            (b"after".to_vec(), start + 5)
        );
        log.resize_stream(2);
        assert_eq!(log.stream_range(), Some(start..start + 5), "one block");
        log.close_stream();
        assert_eq!(cursor.read(u64::MAX, 1, &mut slices), Err(StreamLost));
        assert!(!log.is_wanted());
        log.open_stream(100);
        assert_eq!(cursor.read(u64::MAX, 1, &mut slices), Err(StreamLost));
    }

    #[test]
    fn a_jump_of_the_stream_loses_all_cursors() {
        let log = log();
        log.open_stream(100);
        log.append(0, b"some", 0);
        let mut cursor = log.stream_cursor(log.stream_offset(), 1_000).unwrap();
        log.set_stream_offset(5_000, Some(3));
        assert_eq!(log.stream_range(), Some(5_000..5_000));
        assert_eq!(cursor.read(u64::MAX, 1, &mut Vec::new()), Err(StreamLost));
        assert_eq!((log.stream_db(), log.appended()), (Some(3), 5_000));
    }
}
