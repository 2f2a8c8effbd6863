//! The end of the replication stream in memory: the backlog, and the bytes that replicas have not
//! read yet.
//!
//! ```text
//! oldest                                  end - size                          end
//!   [ block | block | block | ... |  block  |  block  |  block  |  tail block ]
//!       ^ cursor of a slow replica pins this and everything behind it
//! ```
//!
//! [`Log::append`](crate::Log::append) adds to the tail, under the buffer mutex. A reader gets
//! [`StreamSlice`]s, which share the blocks: no bytes are copied for it, however many readers there
//! are. The tail grows in place while no slice of it is out; when one is, the next record begins
//! another block. So blocks are full unless readers hold on to the tail.
//!
//! Blocks are freed when they lie `size` bytes behind the end and no cursor pins them. A cursor
//! pins the bytes it has not read, up to its limit; a cursor that falls further behind is lost, and
//! its replica needs a full synchronization.

use std::collections::VecDeque;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Bytes of a block, in a ring that is large enough.
const BLOCK_BYTES: usize = 64 << 10;
/// Bytes of a block in a small ring.
const BLOCK_BYTES_MIN: usize = 4 << 10;
/// Room of a tail block that begins while the one before is held by a reader: it often stays small.
const FIRST_ROOM: usize = 1 << 10;

/// Bytes of the stream that are shared with the ring.
#[derive(Clone, Debug)]
pub struct StreamSlice {
    block: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl Deref for StreamSlice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.block.get(self.range.clone()).unwrap_or_default()
    }
}

/// The pin of a cursor.
#[derive(Debug)]
struct Pin {
    id: u64,
    offset: u64,
    limit: u64,
}

/// A block and the stream offset where it starts. `bytes` is never empty, except in the tail.
#[derive(Debug)]
struct Block {
    start: u64,
    bytes: Arc<Vec<u8>>,
}

impl Block {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

/// The blocks, which are adjacent.
#[derive(Debug)]
pub(crate) struct Ring {
    blocks: VecDeque<Block>,
    /// Stream offset behind the last block.
    end: u64,
    /// Bytes behind the end that are kept for future readers.
    size: u64,
    pins: Vec<Pin>,
    next_id: u64,
}

impl Ring {
    /// An empty ring that begins at this stream offset.
    pub(crate) fn new(offset: u64, size: u64) -> Self {
        Self {
            blocks: VecDeque::new(),
            end: offset,
            size,
            pins: Vec::new(),
            next_id: 0,
        }
    }

    /// Begins anew at this stream offset, unless the ring ends there. All cursors are lost.
    pub(crate) fn restart(&mut self, offset: u64) {
        if self.end != offset {
            self.blocks.clear();
            self.pins.clear();
            self.end = offset;
        }
    }

    /// Adds bytes at the end.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        // What is kept is exact to a sixteenth of the size, so long records are cut.
        let full = ((self.size / 16) as usize).clamp(BLOCK_BYTES_MIN, BLOCK_BYTES);
        for piece in bytes.chunks(full) {
            self.push_piece(piece, full);
        }
    }

    /// Adds bytes that fit one block.
    fn push_piece(&mut self, bytes: &[u8], full: usize) {
        let room = match self.blocks.back_mut() {
            None => full,
            // No reader holds a slice of it, so it may grow in place.
            Some(tail) => match Arc::get_mut(&mut tail.bytes) {
                Some(tail) if tail.len() + bytes.len() <= full => {
                    tail.extend_from_slice(bytes);
                    self.end += bytes.len() as u64;
                    return;
                }
                Some(_) => full,
                None => FIRST_ROOM,
            },
        };
        let mut block = Vec::with_capacity(room.max(bytes.len()));
        block.extend_from_slice(bytes);
        self.blocks.push_back(Block {
            start: self.end,
            bytes: Arc::new(block),
        });
        self.end += bytes.len() as u64;
        self.trim();
    }

    /// Sets the bytes behind the end that are kept.
    pub(crate) fn resize(&mut self, size: u64) {
        self.size = size;
        self.trim();
    }

    /// Removes blocks that are neither pinned nor within `size` of the end.
    fn trim(&mut self) {
        let end = self.end;
        // A cursor beyond its limit is lost.
        self.pins.retain(|pin| end - pin.offset <= pin.limit);
        let pinned = self.pins.iter().map(|pin| pin.offset).min();
        let kept = self.end.saturating_sub(self.size);
        let needed = pinned.map_or(kept, |pinned| pinned.min(kept));
        while self
            .blocks
            .front()
            .is_some_and(|first| first.end() <= needed)
        {
            self.blocks.pop_front();
        }
    }

    /// Offsets that can be read.
    pub(crate) fn range(&self) -> Range<u64> {
        let oldest = self.blocks.front().map_or(self.end, |first| first.start);
        oldest..self.end
    }

    /// Pins everything from this offset on; `None` when it is not in the ring.
    pub(crate) fn pin(&mut self, offset: u64, limit: u64) -> Option<u64> {
        let range = self.range();
        if offset < range.start || offset > range.end || range.end - offset > limit {
            return None;
        }
        let id = self.next_id;
        self.next_id += 1;
        self.pins.push(Pin { id, offset, limit });
        Some(id)
    }

    /// Moves the pin of a cursor; whether the cursor has one.
    pub(crate) fn move_pin(&mut self, id: u64, offset: u64) -> bool {
        let pin = self.pins.iter_mut().find(|pin| pin.id == id);
        pin.map(|pin| pin.offset = offset).is_some()
    }

    pub(crate) fn unpin(&mut self, id: u64) {
        self.pins.retain(|pin| pin.id != id);
        self.trim();
    }

    /// Appends slices from `from` to at most `to` and at most `most` bytes. Returns the offset
    /// behind them.
    pub(crate) fn slices(
        &self,
        from: u64,
        to: u64,
        most: usize,
        slices: &mut Vec<StreamSlice>,
    ) -> u64 {
        let to = to.min(self.end).min(from.saturating_add(most as u64));
        let first = self.blocks.partition_point(|block| block.end() <= from);
        let mut at = from;
        for block in self.blocks.range(first..) {
            if at >= to {
                break;
            }
            let end = block.end().min(to);
            let range = (at - block.start) as usize..(end - block.start) as usize;
            slices.push(StreamSlice {
                block: block.bytes.clone(),
                range,
            });
            at = end;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes_of(slices: &[StreamSlice]) -> Vec<u8> {
        slices
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect()
    }

    #[test]
    fn blocks_are_filled_unless_a_reader_holds_the_tail() {
        let mut ring = Ring::new(10, 1 << 20);
        for _ in 0..100 {
            ring.push(b"0123456789");
        }
        assert_eq!((ring.blocks.len(), ring.range()), (1, 10..1010));
        let mut slices = Vec::new();
        assert_eq!(ring.slices(500, 2_000, usize::MAX, &mut slices), 1010);
        ring.push(b"behind");
        assert_eq!(ring.blocks.len(), 2, "a held block does not change");
        assert_eq!((slices.len(), bytes_of(&slices).len()), (1, 510));
        slices.clear();
        ring.push(b"more");
        assert_eq!(ring.blocks.len(), 2, "the tail grows again");
        assert_eq!(ring.slices(1005, u64::MAX, 8, &mut slices), 1013);
        assert_eq!(bytes_of(&slices), b"56789beh");
    }

    #[test]
    fn long_records_do_not_keep_more_than_the_size() {
        let mut ring = Ring::new(0, 10);
        let long: Vec<u8> = (0..3 * BLOCK_BYTES).map(|number| number as u8).collect();
        ring.push(b"small");
        let id = ring.pin(5, u64::MAX).unwrap();
        ring.push(&long);
        let mut slices = Vec::new();
        assert_eq!(ring.slices(5, u64::MAX, usize::MAX, &mut slices), ring.end);
        assert_eq!(bytes_of(&slices), long);
        ring.unpin(id);
        let range = ring.range();
        assert!(range.end - range.start <= (10 + BLOCK_BYTES_MIN) as u64);
        assert_eq!(ring.pin(5, u64::MAX), None);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(usize),
        Resize(u64),
        Pin {
            back: u64,
            limit: u64,
        },
        Read {
            index: usize,
            most: usize,
            hold: bool,
        },
        Unpin(usize),
        Release,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0usize..3_000).prop_map(Step::Push),
            2 => (30_000usize..200_000).prop_map(Step::Push),
            1 => (0u64..300_000).prop_map(Step::Resize),
            3 => (0u64..300_000, 0u64..400_000)
                .prop_map(|(back, limit)| Step::Pin { back, limit }),
            8 => (any::<usize>(), 0usize..150_000, any::<bool>())
                .prop_map(|(index, most, hold)| Step::Read { index, most, hold }),
            1 => any::<usize>().prop_map(Step::Unpin),
            2 => Just(Step::Release),
        ]
    }

    struct Reader {
        id: u64,
        offset: u64,
        limit: u64,
    }

    /// A ring, everything that was ever pushed, and the readers.
    struct World {
        ring: Ring,
        all: Vec<u8>,
        readers: Vec<Reader>,
        held: Vec<(u64, Vec<StreamSlice>)>,
    }

    impl World {
        fn check(&self, offset: u64, slices: &[StreamSlice]) {
            let bytes = bytes_of(slices);
            let from = offset as usize;
            assert_eq!(bytes, self.all[from..from + bytes.len()]);
        }

        fn read(&mut self, index: usize, most: usize, hold: bool) {
            if self.readers.is_empty() {
                return;
            }
            let index = index % self.readers.len();
            let end = self.all.len() as u64;
            let reader = &mut self.readers[index];
            let from = reader.offset;
            if !self.ring.move_pin(reader.id, from) {
                assert!(end - from > reader.limit, "lost within its limit");
                self.readers.remove(index);
                return;
            }
            let mut slices = Vec::new();
            let behind = self.ring.slices(from, end, most, &mut slices);
            assert_eq!(behind, end.min(from + most as u64), "nothing is missing");
            reader.offset = behind;
            self.ring.move_pin(reader.id, behind);
            self.check(from, &slices);
            if hold {
                self.held.push((from, slices));
            }
        }

        fn run(&mut self, step: Step) {
            match step {
                Step::Push(len) => {
                    let start = self.all.len();
                    self.all
                        .extend((start..start + len).map(|n| (n % 251) as u8));
                    self.ring.push(&self.all[start..]);
                }
                Step::Resize(size) => self.ring.resize(size),
                Step::Pin { back, limit } => {
                    let end = self.all.len() as u64;
                    let offset = end.saturating_sub(back);
                    let is_there = self.ring.range().start <= offset && end - offset <= limit;
                    let id = self.ring.pin(offset, limit);
                    assert_eq!(id.is_some(), is_there);
                    self.readers
                        .extend(id.map(|id| Reader { id, offset, limit }));
                }
                Step::Read { index, most, hold } => self.read(index, most, hold),
                Step::Unpin(index) if !self.readers.is_empty() => {
                    let reader = self.readers.remove(index % self.readers.len());
                    self.ring.unpin(reader.id);
                }
                Step::Unpin(_) => {}
                Step::Release => {
                    for (offset, slices) in std::mem::take(&mut self.held) {
                        self.check(offset, &slices);
                    }
                }
            }
            self.invariants();
        }

        fn invariants(&self) {
            let (range, end) = (self.ring.range(), self.all.len() as u64);
            assert_eq!(range.end, end);
            let mut at = range.start;
            for block in &self.ring.blocks {
                assert_eq!(block.start, at);
                at = block.end();
            }
            assert_eq!(at, end);
        }
    }

    proptest! {
        #[test]
        fn readers_get_the_stream(steps in prop::collection::vec(step(), 1..120)) {
            let mut world = World {
                ring: Ring::new(0, 100_000),
                all: Vec::new(),
                readers: Vec::new(),
                held: Vec::new(),
            };
            let mut kept = 0;
            for step in steps {
                world.run(step);
                // What is kept shrinks only when the size does.
                kept = world.ring.range().start.max(kept);
                assert_eq!(world.ring.range().start, kept);
                let end = world.all.len() as u64;
                let pinned = world.readers.iter().map(|reader| reader.limit).max();
                let most = world.ring.size.max(pinned.unwrap_or(0));
                let slack = 2 * BLOCK_BYTES as u64;
                assert!(end - kept <= most + slack, "{} bytes are kept", end - kept);
            }
        }
    }
}
