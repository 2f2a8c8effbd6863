//! An ordered map from ids of entries: the pending entries of a group or a consumer.
//!
//! Ids are added in ascending order and mostly removed at the front. So the map is a row of sorted
//! blocks: an append fills the last block to the end, and an empty block is freed as a whole. A
//! look-up is two binary searches, among the blocks and in one.

use super::StreamId;
use crate::alloc::size_class;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering as Memory};

/// A value that has waited since some time.
pub(super) trait Since: Copy {
    /// Smaller values come first; [`u64::MAX`] when the value does not wait.
    fn since(self) -> u64;
}

impl Since for () {
    fn since(self) -> u64 {
        u64::MAX
    }
}

#[cfg(test)]
impl Since for u64 {
    fn since(self) -> u64 {
        self
    }
}

/// An id with its value, without the gap that alignment would leave behind the value.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed(4))]
struct Item<V: Copy> {
    id: StreamId,
    value: V,
}

/// Bytes of a full block: a size class that items nearly fill.
const BLOCK_BYTES: usize = 4096;

/// Sorted by id; never empty; at most [`Ids::BLOCK_LEN`] items.
#[derive(Debug)]
struct Block<V: Copy> {
    items: Vec<Item<V>>,
    /// A lower bound of the items' `since`. Removing an item leaves it; a search that finds no item
    /// of the block below its limit raises it.
    since: AtomicU64,
}

impl<V: Since> Block<V> {
    fn new(items: Vec<Item<V>>) -> Self {
        let since = AtomicU64::new(earliest(&items));
        Block { items, since }
    }

    fn since(&self) -> u64 {
        self.since.load(Memory::Relaxed)
    }

    /// Something that has waited since then is among the items.
    fn note(&mut self, since: u64) {
        let earliest = self.since.get_mut();
        *earliest = since.min(*earliest);
    }
}

fn earliest<V: Since>(items: &[Item<V>]) -> u64 {
    let times = items.iter().map(|item| { item.value }.since());
    times.min().unwrap_or(u64::MAX)
}

impl<V: Copy> Deref for Block<V> {
    type Target = Vec<Item<V>>;

    fn deref(&self) -> &Self::Target {
        &self.items
    }
}

impl<V: Copy> DerefMut for Block<V> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.items
    }
}

impl<V: Since> Clone for Block<V> {
    fn clone(&self) -> Self {
        Block::new(self.items.clone())
    }
}

/// The ordered map.
// Invariants: ids ascend within blocks and from block to block. `bytes` is the sum of the blocks'.
#[derive(Debug)]
pub(super) struct Ids<V: Copy> {
    blocks: VecDeque<Block<V>>,
    len: usize,
    bytes: usize,
}

impl<V: Copy> Default for Ids<V> {
    fn default() -> Self {
        Ids {
            blocks: VecDeque::new(),
            len: 0,
            bytes: 0,
        }
    }
}

/// Copied blocks have no room for more.
impl<V: Since> Clone for Ids<V> {
    fn clone(&self) -> Self {
        let blocks = self.blocks.clone();
        Ids {
            bytes: blocks.iter().map(block_bytes).sum(),
            len: self.len,
            blocks,
        }
    }
}

fn block_bytes<V: Copy>(block: &Block<V>) -> usize {
    size_class(block.capacity() * size_of::<Item<V>>())
}

impl<V: Since> Ids<V> {
    const BLOCK_LEN: usize = BLOCK_BYTES / size_of::<Item<V>>();

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes + size_class(self.blocks.capacity() * size_of::<Block<V>>())
    }

    /// Number of blocks on the heap.
    pub(super) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// The place of the first item whose id is not below `id`.
    fn seek(&self, id: StreamId) -> Place {
        let behind = self
            .blocks
            .partition_point(|block| block.first().is_some_and(|item| { item.id } <= id));
        let Some(block) = behind.checked_sub(1) else {
            return Place { block: 0, item: 0 };
        };
        let items = self.blocks.get(block).map_or(&[][..], |it| it.as_slice());
        let item = items.partition_point(|item| { item.id } < id);
        match item == items.len() {
            true => Place {
                block: behind,
                item: 0,
            },
            false => Place { block, item },
        }
    }

    fn at(&self, place: Place) -> Option<&Item<V>> {
        self.blocks.get(place.block)?.get(place.item)
    }

    pub(super) fn get(&self, id: StreamId) -> Option<V> {
        let item = self.at(self.seek(id))?;
        ({ item.id } == id).then_some(item.value)
    }

    /// Sets the value of an id; returns the one before.
    pub(super) fn insert(&mut self, id: StreamId, value: V) -> Option<V> {
        let place = self.seek(id);
        if let Some(block) = self.blocks.get_mut(place.block)
            && let Some(item) = block.get_mut(place.item)
            && { item.id } == id
        {
            let before = std::mem::replace(item, Item { id, value }).value;
            block.note(value.since());
            return Some(before);
        }
        let has_room = |index: usize| {
            let block = self.blocks.get(index);
            block.is_some_and(|block| block.len() < Self::BLOCK_LEN)
        };
        // In front of all of a block is behind all of the one before, which is taken unless only
        // this one has room.
        let place = match (place.item, place.block.checked_sub(1)) {
            (0, Some(before)) if has_room(before) || !has_room(place.block) => Place {
                block: before,
                item: self.blocks.get(before).map_or(0, |it| it.len()),
            },
            _ => place,
        };
        self.insert_at(place, Item { id, value });
        self.len += 1;
        None
    }

    fn insert_at(&mut self, place: Place, item: Item<V>) {
        let Some(block) = self.blocks.get_mut(place.block) else {
            self.put_block(place.block, vec![item]);
            return;
        };
        let before = block_bytes(block);
        if block.len() < Self::BLOCK_LEN {
            if block.len() == block.capacity() {
                let room = block.capacity().max(4).min(Self::BLOCK_LEN - block.len());
                block.reserve_exact(room);
            }
            block.insert(place.item, item);
            block.note({ item.value }.since());
            self.bytes = self.bytes - before + block_bytes(block);
            return;
        }
        if place.item == block.len() {
            self.put_block(place.block + 1, vec![item]);
            return;
        }
        if place.item == 0 {
            self.put_block(place.block, vec![item]);
            return;
        }
        let half = block.len() / 2;
        let tail = block.split_off(half);
        // The first half keeps the room for more.
        self.bytes = self.bytes - before + block_bytes(block);
        self.put_block(place.block + 1, tail);
        let place = match place.item.checked_sub(half) {
            None | Some(0) => place,
            Some(item) => Place {
                block: place.block + 1,
                item,
            },
        };
        self.insert_at(place, item);
    }

    fn put_block(&mut self, index: usize, mut items: Vec<Item<V>>) {
        items.shrink_to_fit();
        let block = Block::new(items);
        self.bytes += block_bytes(&block);
        self.blocks.insert(index, block);
    }

    /// Takes an id out.
    pub(super) fn remove(&mut self, id: StreamId) -> Option<V> {
        let place = self.seek(id);
        let block = self.blocks.get_mut(place.block)?;
        let found = block.get(place.item).filter(|item| { item.id } == id)?;
        let value = found.value;
        let before = block_bytes(block);
        block.remove(place.item);
        self.len -= 1;
        self.bytes -= before;
        if block.is_empty() {
            self.blocks.remove(place.block);
            if self.blocks.len() < self.blocks.capacity() / 4 {
                self.blocks.shrink_to(self.blocks.len() * 2);
            }
            return Some(value);
        }
        if block.len() < block.capacity() / 4 {
            let room = block.len() * 2;
            block.shrink_to(room);
        }
        self.bytes += block_bytes(block);
        if self.blocks.get(place.block).map_or(0, |it| it.len()) < Self::BLOCK_LEN / 4 {
            self.merge(place.block);
        }
        Some(value)
    }

    /// Puts a small block and its neighbour together when they fill at most half of one.
    fn merge(&mut self, index: usize) {
        let fits = |left: usize| {
            let pair = (self.blocks.get(left), self.blocks.get(left + 1));
            matches!(pair, (Some(a), Some(b)) if a.len() + b.len() <= Self::BLOCK_LEN / 2)
        };
        let neighbours = [Some(index), index.checked_sub(1)];
        let Some(left) = neighbours.into_iter().flatten().find(|left| fits(*left)) else {
            return;
        };
        let Some(right) = self.blocks.remove(left + 1) else {
            return;
        };
        self.bytes -= block_bytes(&right);
        if let Some(block) = self.blocks.get_mut(left) {
            self.bytes -= block_bytes(block);
            block.extend_from_slice(&right);
            block.note(right.since());
            self.bytes += block_bytes(block);
        }
    }

    /// Up to `count` items that have waited since `until` or longer, the longest first, and of
    /// those that have waited equally long the lowest ids. Those that `takes` refuses do not count.
    /// Blocks whose items all have waited for a shorter time are passed over.
    pub(super) fn waiting(
        &self,
        until: u64,
        count: usize,
        mut takes: impl FnMut(StreamId) -> bool,
    ) -> Vec<(StreamId, V)> {
        let mut found: BinaryHeap<(u64, StreamId)> = BinaryHeap::new();
        for block in self.blocks.iter().filter(|block| block.since() <= until) {
            let is_full = found.len() >= count;
            if is_full && found.peek().is_none_or(|(last, _)| block.since() > *last) {
                continue;
            }
            block.since.store(earliest(block), Memory::Relaxed);
            for item in block.iter() {
                let entry = ({ item.value }.since(), item.id);
                let is_full = found.len() >= count;
                let is_wanted = entry.0 <= until
                    && (!is_full || found.peek().is_some_and(|last| entry < *last));
                if is_wanted && takes(entry.1) {
                    found.push(entry);
                    if found.len() > count {
                        found.pop();
                    }
                }
            }
        }
        let found = found.into_sorted_vec().into_iter();
        found
            .filter_map(|(_, id)| Some((id, self.get(id)?)))
            .collect()
    }

    /// Since when the item has waited that has done so longest of those that wait for a shorter
    /// time than since `after`, or some time before that.
    pub(super) fn next_waiting(&self, after: u64) -> Option<u64> {
        let of_block = |block: &Block<V>| {
            if block.since() > after {
                return Some(block.since());
            }
            let times = block.iter().map(|item| { item.value }.since());
            times.filter(|since| *since > after).min()
        };
        self.blocks.iter().filter_map(of_block).min()
    }

    /// Items from `start` to `end`, both included.
    pub(super) fn range(&self, start: StreamId, end: StreamId) -> IdsRange<'_, V> {
        let front = self.seek(start);
        let back = match end.next() {
            Some(next) => self.seek(next),
            None => Place {
                block: self.blocks.len(),
                item: 0,
            },
        };
        IdsRange {
            ids: self,
            front,
            back: back.max(front),
        }
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        let items: Vec<StreamId> = self
            .blocks
            .iter()
            .flat_map(|it| it.iter())
            .map(|item| item.id)
            .collect();
        assert!(items.is_sorted_by(|a, b| a < b));
        assert_eq!(items.len(), self.len);
        assert_eq!(
            self.blocks.iter().map(block_bytes).sum::<usize>(),
            self.bytes
        );
        assert!(
            self.blocks
                .iter()
                .all(|block| !block.is_empty() && block.len() <= Self::BLOCK_LEN)
        );
        assert!(
            self.blocks
                .iter()
                .all(|block| block.since() <= earliest(block))
        );
    }
}

/// Where an item is; behind the last of a block is the first of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    block: usize,
    item: usize,
}

impl Place {
    fn max(self, other: Place) -> Place {
        match (self.block, self.item).cmp(&(other.block, other.item)) {
            Ordering::Less => other,
            _ => self,
        }
    }
}

/// Items in order, from both ends.
#[derive(Clone)]
pub(super) struct IdsRange<'a, V: Copy> {
    ids: &'a Ids<V>,
    front: Place,
    back: Place,
}

impl<V: Since> Iterator for IdsRange<'_, V> {
    type Item = (StreamId, V);

    fn next(&mut self) -> Option<Self::Item> {
        if self.front == self.back {
            return None;
        }
        let block = self.ids.blocks.get(self.front.block)?;
        let item = block.get(self.front.item)?;
        self.front.item += 1;
        if self.front.item == block.len() {
            self.front = Place {
                block: self.front.block + 1,
                item: 0,
            };
        }
        Some((item.id, item.value))
    }
}

impl<V: Since> DoubleEndedIterator for IdsRange<'_, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front == self.back {
            return None;
        }
        self.back = match self.back.item.checked_sub(1) {
            Some(item) => Place { item, ..self.back },
            None => {
                let block = self.back.block.checked_sub(1)?;
                let len = self.ids.blocks.get(block)?.len();
                Place {
                    block,
                    item: len.checked_sub(1)?,
                }
            }
        };
        let item = self.ids.at(self.back)?;
        Some((item.id, item.value))
    }
}
