//! The timing wheel that finds keys whose expiry has come.
//!
//! It files 8-byte handles (the hash of a key) under times, and nothing else. When a handle fires,
//! the expiry cycle looks up the real deadline of the keys with this hash, and files the handle
//! again when no key is due. So changing a deadline to a later one,
//! removing it or deleting the key costs the wheel nothing.
//!
//! ```text
//!  level 0   64 slots of 1 ms        cursor = first tick not yet taken out
//!  level 1   64 slots of 32 ms       K(L)   = cursor >> 5L, the slot of level L of the cursor
//!  level 2   64 slots of 1 s
//!  ...                               A time goes to the lowest level L where its slot index
//!  level 8   64 slots of 34.8 years  t >> 5L is less than K(L) + 64. Times beyond level 8 go to
//!                                    its last slot.
//! ```
//! Levels widen by 32 but have 64 slots, so that the times of one slot of level L fit level L - 1
//! as soon as the cursor is in the slot before it. This leaves the width of a whole slot for moving
//! its handles down ahead of time, a few per call: a slot with a million handles causes no stall
//! and no late key.
//!
//! Handles that left their slots wait in chains: `ahead[L]` was slot K(L) + 1 and is moved down
//! when nothing is due; `due` has the slots that the cursor has passed and comes first. Invariant:
//! levels above 0 hold only slots K(L) + 2 to K(L) + 63, and no slot holds a time before the
//! cursor.
//!
//! Slots are chains of chunks of 15 handles from a pool; taking a whole slot is one link, and
//! nothing here recurses or allocates per handle.

mod set;

use std::collections::VecDeque;

pub(crate) use set::{BATCH, Expiry, Rebuild};

/// Slots per level; also the bits of the occupancy words.
const SLOTS: u64 = 64;
/// Each level's slots are 2^5 times as wide as those of the level below.
const WIDEN_SHIFT: u32 = 5;
/// Nine levels reach 2,231 years; later deadlines are filed again when that time comes.
const LEVELS: usize = 9;
/// No chunk.
const NONE: u32 = u32::MAX;
/// Handles per chunk: with two words of header a chunk is two cache lines.
const CHUNK_HANDLES: usize = 15;
/// Chunks allocated together.
const SEGMENT_CHUNKS: usize = 16;

/// A part of a chain of handles.
#[derive(Clone, Copy)]
struct Chunk {
    /// The next chunk of the chain or of the free list.
    next: u32,
    /// 0..=CHUNK_HANDLES; 0 exactly for free chunks.
    len: u32,
    handles: [u64; CHUNK_HANDLES],
}

const EMPTY_CHUNK: Chunk = Chunk {
    next: NONE,
    len: 0,
    handles: [0; CHUNK_HANDLES],
};

/// Chunks by index. Memory returns only with the whole pool.
struct Pool {
    // Boxed, so that growing moves pointers, not two kilobytes per segment.
    #[allow(clippy::vec_box)]
    segments: Vec<Box<[Chunk; SEGMENT_CHUNKS]>>,
    free: u32,
}

impl Pool {
    const fn new() -> Pool {
        Pool {
            segments: Vec::new(),
            free: NONE,
        }
    }

    #[inline]
    fn chunk(&mut self, index: u32) -> Option<&mut Chunk> {
        let index = index as usize;
        self.segments
            .get_mut(index / SEGMENT_CHUNKS)?
            .get_mut(index % SEGMENT_CHUNKS)
    }

    /// A chunk with one handle in front of the chain `next`.
    fn allocate(&mut self, next: u32, handle: u64) -> u32 {
        if self.free == NONE {
            let first = (self.segments.len() * SEGMENT_CHUNKS) as u32;
            let mut segment = Box::new([EMPTY_CHUNK; SEGMENT_CHUNKS]);
            for (chunk, next) in segment.iter_mut().zip(first + 1..) {
                chunk.next = next;
            }
            if let Some(last) = segment.last_mut() {
                last.next = NONE;
            }
            self.segments.push(segment);
            self.free = first;
        }
        let index = self.free;
        let mut after = NONE;
        if let Some(chunk) = self.chunk(index) {
            after = chunk.next;
            chunk.next = next;
            chunk.len = 1;
            chunk.handles[0] = handle;
        }
        self.free = after;
        index
    }

    /// Adds a handle to the chain that begins at `head`; returns the new head.
    fn push(&mut self, head: u32, handle: u64) -> u32 {
        if let Some(chunk) = self.chunk(head)
            && let Some(place) = chunk.handles.get_mut(chunk.len as usize)
        {
            *place = handle;
            chunk.len += 1;
            return head;
        }
        self.allocate(head, handle)
    }

    /// Takes a handle off the chain that begins at `head`.
    fn pop(&mut self, head: &mut u32) -> Option<u64> {
        let free = self.free;
        let index = *head;
        let chunk = self.chunk(index)?;
        chunk.len -= 1;
        let handle = chunk.handles.get(chunk.len as usize).copied();
        if chunk.len == 0 {
            *head = chunk.next;
            chunk.next = free;
            self.free = index;
        }
        handle
    }

    fn chunks(&self) -> usize {
        self.segments.len() * SEGMENT_CHUNKS
    }
}

/// The wheel of one database in one shard.
pub(crate) struct Wheel {
    cursor: u64,
    handles: usize,
    /// Bit i: slot i of the level has handles.
    occupied: [u64; LEVELS],
    heads: [[u32; SLOTS as usize]; LEVELS],
    /// Former slots K(L) + 1, by level; that of level 0 stays empty.
    ahead: [u32; LEVELS],
    /// Slots that the cursor has passed, oldest first.
    due: VecDeque<u32>,
    pool: Pool,
}

/// When the wheel has work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Handles can be taken out now.
    Now,
    /// Nothing to do before this time.
    At(u64),
    /// The wheel is empty.
    Never,
}

impl Wheel {
    /// A wheel for times from `now_ms` on; earlier ones count as `now_ms`.
    pub(crate) fn new(now_ms: u64) -> Wheel {
        Wheel {
            cursor: now_ms,
            handles: 0,
            occupied: [0; LEVELS],
            heads: [[NONE; SLOTS as usize]; LEVELS],
            ahead: [NONE; LEVELS],
            due: VecDeque::new(),
            pool: Pool::new(),
        }
    }

    /// Handles filed, stale ones included.
    pub(crate) fn handles(&self) -> usize {
        self.handles
    }

    /// The first tick that was not taken out yet.
    pub(crate) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Bytes that the wheel has allocated.
    pub(crate) fn memory_usage(&self) -> usize {
        size_of::<Wheel>()
            + self.pool.chunks() * size_of::<Chunk>()
            + self.pool.segments.capacity() * size_of::<usize>()
            + self.due.capacity() * size_of::<u32>()
    }

    /// True when the pool has room for more than four times the handles and `slack` more.
    pub(crate) fn is_sparse(&self, slack: usize) -> bool {
        self.pool.chunks() * CHUNK_HANDLES > 4 * self.handles + slack
    }

    /// Files a handle. Returns when the wheel has to be advanced because of it.
    pub(crate) fn file(&mut self, handle: u64, time_ms: u64) -> u64 {
        let time = time_ms.max(self.cursor);
        self.handles += 1;
        let mut level = 0;
        let (mut index, mut current) = (time, self.cursor);
        while index - current >= SLOTS {
            if level == LEVELS - 1 {
                index = current + SLOTS - 1;
                break;
            }
            index >>= WIDEN_SHIFT;
            current >>= WIDEN_SHIFT;
            level += 1;
        }
        let slot = (index % SLOTS) as usize;
        let head = self.heads[level][slot];
        self.heads[level][slot] = self.pool.push(head, handle);
        self.occupied[level] |= 1 << slot;
        if level == 0 {
            time
        } else {
            ahead_from(level, index)
        }
    }

    /// Moves the cursor past `now_ms`. Everything filed up to then is due afterwards.
    pub(crate) fn advance(&mut self, now_ms: u64) {
        let old = self.cursor;
        let new = now_ms.saturating_add(1).max(old);
        self.cursor = new;
        if self.handles == 0 || new == old {
            return;
        }
        self.drain_slots(0, old, 0, new - old - 1);
        for level in 1..LEVELS {
            let shift = WIDEN_SHIFT * level as u32;
            let (from, to) = (old >> shift, new >> shift);
            if from == to {
                // The levels above are wider: their slots have not changed either.
                break;
            }
            let ahead = std::mem::replace(&mut self.ahead[level], NONE);
            self.push_due(ahead);
            self.drain_slots(level, from, 2, to - from);
            self.ahead[level] = self.take_slot(level, to.saturating_add(1), to + 1 - from);
        }
    }

    /// Makes the slots `base + first ..= base + last` of a level due; `first` to 63 are in use.
    fn drain_slots(&mut self, level: usize, base: u64, first: u64, last: u64) {
        let from_base = self.occupied[level].rotate_right((base % SLOTS) as u32);
        let mut bits = from_base & (u64::MAX << first);
        while bits != 0 {
            let offset = u64::from(bits.trailing_zeros());
            if offset > last {
                return;
            }
            bits &= bits - 1;
            let head = self.take_slot(level, base + offset, offset);
            self.push_due(head);
        }
    }

    /// Takes the chain of a slot out; `offset` is its distance from the slot the cursor was in.
    fn take_slot(&mut self, level: usize, index: u64, offset: u64) -> u32 {
        if offset >= SLOTS {
            return NONE;
        }
        let slot = (index % SLOTS) as usize;
        self.occupied[level] &= !(1 << slot);
        std::mem::replace(&mut self.heads[level][slot], NONE)
    }

    fn push_due(&mut self, head: u32) {
        if head != NONE {
            self.due.push_back(head);
        }
    }

    /// Takes out a handle that is due.
    pub(crate) fn pop_due(&mut self) -> Option<u64> {
        loop {
            let head = self.due.front_mut()?;
            if let Some(handle) = self.pool.pop(head) {
                self.handles -= 1;
                return Some(handle);
            }
            self.due.pop_front();
        }
    }

    /// Takes out a handle that will be due in the next slot of some level, the nearest one first.
    /// It is to be filed again, which puts it on a lower level.
    pub(crate) fn pop_ahead(&mut self) -> Option<u64> {
        let head = self.ahead.iter_mut().find(|head| **head != NONE)?;
        let handle = self.pool.pop(head)?;
        self.handles -= 1;
        Some(handle)
    }

    /// When the wheel has to be advanced next.
    pub(crate) fn wanted(&self) -> Wanted {
        if self.handles == 0 {
            return Wanted::Never;
        }
        if self.due.iter().chain(&self.ahead).any(|head| *head != NONE) {
            return Wanted::Now;
        }
        let next = (0..LEVELS).filter_map(|level| {
            let current = self.cursor >> (WIDEN_SHIFT * level as u32);
            let word = self.occupied[level].rotate_right((current % SLOTS) as u32);
            if word == 0 {
                return None;
            }
            let index = current + u64::from(word.trailing_zeros());
            Some(if level == 0 {
                index
            } else {
                ahead_from(level, index)
            })
        });
        next.min().map_or(Wanted::Never, Wanted::At)
    }

    /// A handle from anywhere in the wheel, each with the same probability. May give up when the
    /// pool is nearly empty.
    pub(crate) fn sample(&self, rng: &mut impl FnMut() -> u64) -> Option<u64> {
        const TRIES: usize = 64;
        for _ in 0..TRIES {
            let bits = rng();
            // The high half chooses the chunk, the low half the place; an empty place is a miss.
            let number = (((bits >> 32) * self.pool.chunks() as u64) >> 32) as usize;
            let place = ((u64::from(bits as u32) * CHUNK_HANDLES as u64) >> 32) as usize;
            let chunk = self
                .pool
                .segments
                .get(number / SEGMENT_CHUNKS)?
                .get(number % SEGMENT_CHUNKS)?;
            if place < chunk.len as usize {
                return chunk.handles.get(place).copied();
            }
        }
        None
    }
}

/// When slot `index` of a level above 0 can be moved down: when the cursor enters the slot before
/// it.
fn ahead_from(level: usize, index: u64) -> u64 {
    index.saturating_sub(1) << (WIDEN_SHIFT * level as u32)
}

#[cfg(test)]
mod tests;
