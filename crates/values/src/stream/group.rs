//! Consumer groups: their last delivered id, and their pending entries.
//!
//! A pending entry lies once in its group, with the number of its consumer; each consumer has only
//! the ids. So nothing is shared, and XCLAIM only moves an id from one consumer to another.

use super::StreamId;
use super::pending::{Ids, IdsRange, Since};
use crate::alloc::size_class;

/// A consumer of a group; holds until the consumer is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConsumerId(u32);

/// An entry that is delivered and not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The consumer that has it; `None` without one (XNACK).
    pub consumer: Option<ConsumerId>,
    /// When it was delivered the last time, in Unix milliseconds.
    pub delivered_ms: u64,
    /// How often it was delivered.
    pub deliveries: u64,
}

/// A pending entry without gaps.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed(4))]
struct Stored {
    delivered_ms: u64,
    deliveries: u64,
    consumer: u32,
}

/// No consumer.
const NOBODY: u32 = u32::MAX;

impl Since for Stored {
    /// Entries without a consumer have the longest idle time.
    fn since(self) -> u64 {
        match self.consumer {
            NOBODY => 0,
            _ => self.delivered_ms,
        }
    }
}

impl From<Pending> for Stored {
    fn from(pending: Pending) -> Stored {
        Stored {
            delivered_ms: pending.delivered_ms,
            deliveries: pending.deliveries,
            consumer: pending.consumer.map_or(NOBODY, |consumer| consumer.0),
        }
    }
}

impl From<Stored> for Pending {
    fn from(stored: Stored) -> Pending {
        Pending {
            consumer: (stored.consumer != NOBODY).then_some(ConsumerId(stored.consumer)),
            delivered_ms: stored.delivered_ms,
            deliveries: stored.deliveries,
        }
    }
}

/// A consumer.
#[derive(Clone, Debug)]
pub struct Consumer {
    name: Box<[u8]>,
    /// When it last tried to read or to claim, in Unix milliseconds.
    pub seen_ms: u64,
    /// When it last read or claimed an entry; `None` for never.
    pub active_ms: Option<u64>,
    pending: Ids<()>,
}

impl Consumer {
    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// How many entries it has pending.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// Ids of its pending entries from `start` to `end`, both included, in ascending order.
    pub fn pending_ids(
        &self,
        start: StreamId,
        end: StreamId,
    ) -> impl DoubleEndedIterator<Item = StreamId> {
        self.pending.range(start, end).map(|(id, ())| id)
    }

    fn heap_bytes(&self) -> usize {
        size_class(self.name.len()) + self.pending.heap_bytes()
    }
}

/// A consumer group.
// Invariants: `order` has the places of all consumers in `consumers`, by name, and `free` all
// others. A consumer's ids are those of `pending` with its number.
#[derive(Clone, Debug)]
pub struct Group {
    name: Box<[u8]>,
    /// The greatest id that was delivered, or the one that XGROUP SETID set.
    pub last_id: StreamId,
    /// How many entries of the stream the group has read up to `last_id`, deleted ones included;
    /// `None` when the count is unknown.
    pub entries_read: Option<u64>,
    pending: Ids<Stored>,
    consumers: Vec<Option<Consumer>>,
    free: Vec<u32>,
    order: Vec<u32>,
}

impl Group {
    fn new(name: &[u8], last_id: StreamId, entries_read: Option<u64>) -> Group {
        Group {
            name: name.into(),
            last_id,
            entries_read,
            pending: Ids::default(),
            consumers: Vec::new(),
            free: Vec::new(),
            order: Vec::new(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Number of consumers.
    pub fn consumer_count(&self) -> usize {
        self.order.len()
    }

    fn slot(&self, slot: u32) -> Option<&Consumer> {
        self.consumers.get(slot as usize)?.as_ref()
    }

    fn search(&self, name: &[u8]) -> Result<usize, usize> {
        self.order.binary_search_by(|slot| {
            let other = self.slot(*slot).map_or(&[][..], Consumer::name);
            other.cmp(name)
        })
    }

    /// Looks for a consumer by name.
    pub fn find_consumer(&self, name: &[u8]) -> Option<ConsumerId> {
        let at = self.search(name).ok()?;
        self.order.get(at).map(|slot| ConsumerId(*slot))
    }

    /// A consumer.
    pub fn consumer(&self, id: ConsumerId) -> Option<&Consumer> {
        self.slot(id.0)
    }

    /// A consumer, for its times.
    pub fn consumer_mut(&mut self, id: ConsumerId) -> Option<&mut Consumer> {
        self.consumers.get_mut(id.0 as usize)?.as_mut()
    }

    /// The consumers in the order of their names.
    pub fn consumers(&self) -> impl Iterator<Item = (ConsumerId, &Consumer)> {
        let consumers = self.order.iter();
        consumers.filter_map(|slot| Some((ConsumerId(*slot), self.slot(*slot)?)))
    }

    /// Makes a consumer that has never been active; `None` when there is one with this name.
    pub fn create_consumer(&mut self, name: &[u8], now_ms: u64) -> Option<ConsumerId> {
        let at = self.search(name).err()?;
        let consumer = Consumer {
            name: name.into(),
            seen_ms: now_ms,
            active_ms: None,
            pending: Ids::default(),
        };
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = u32::try_from(self.consumers.len()).ok();
                let slot = slot.filter(|slot| *slot < NOBODY)?;
                self.consumers.push(None);
                slot
            }
        };
        *self.consumers.get_mut(slot as usize)? = Some(consumer);
        self.order.insert(at, slot);
        Some(ConsumerId(slot))
    }

    /// Removes a consumer with all that it has pending; returns how many entries these were.
    pub fn remove_consumer(&mut self, id: ConsumerId) -> usize {
        let Some(consumer) = self.consumers.get_mut(id.0 as usize).and_then(Option::take) else {
            return 0;
        };
        self.order.retain(|slot| *slot != id.0);
        self.free.push(id.0);
        for (id, ()) in consumer.pending.range(StreamId::MIN, StreamId::MAX) {
            self.pending.remove(id);
        }
        consumer.pending.len()
    }

    /// Number of pending entries.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// A pending entry.
    pub fn pending(&self, id: StreamId) -> Option<Pending> {
        self.pending.get(id).map(Pending::from)
    }

    /// Pending entries from `start` to `end`, both included, in ascending order.
    pub fn pending_range(&self, start: StreamId, end: StreamId) -> PendingRange<'_> {
        PendingRange {
            items: self.pending.range(start, end),
        }
    }

    /// Up to `count` pending entries that `takes` accepts: those without a consumer, in the order
    /// of their ids, then those that were delivered at `until_ms` or before, the earliest first.
    pub fn claimable(
        &self,
        until_ms: u64,
        count: usize,
        takes: impl FnMut(StreamId) -> bool,
    ) -> Vec<(StreamId, Pending)> {
        let found = self.pending.waiting(until_ms, count, takes);
        let found = found.into_iter();
        found.map(|(id, stored)| (id, stored.into())).collect()
    }

    /// The earliest delivery time after `after_ms` of a pending entry, or an earlier time after
    /// `after_ms`; `None` without such an entry.
    pub fn next_delivered(&self, after_ms: u64) -> Option<u64> {
        self.pending.next_waiting(after_ms)
    }

    /// Makes an entry pending, or changes its consumer, delivery time and delivery count.
    /// Returns how it was before.
    pub fn set_pending(&mut self, id: StreamId, pending: Pending) -> Option<Pending> {
        let before = self.pending.insert(id, pending.into()).map(Pending::from);
        let owner = before.and_then(|before| before.consumer);
        if before.is_none() || owner != pending.consumer {
            if let Some(owner) = owner.and_then(|owner| self.consumer_mut(owner)) {
                owner.pending.remove(id);
            }
            if let Some(owner) = pending.consumer.and_then(|owner| self.consumer_mut(owner)) {
                owner.pending.insert(id, ());
            }
        }
        before
    }

    /// Removes a pending entry that is acknowledged or deleted. Returns its former state.
    pub fn remove_pending(&mut self, id: StreamId) -> Option<Pending> {
        let pending = Pending::from(self.pending.remove(id)?);
        let owner = pending.consumer.and_then(|owner| self.consumer_mut(owner));
        if let Some(owner) = owner {
            owner.pending.remove(id);
        }
        Some(pending)
    }

    fn heap_bytes(&self) -> usize {
        let consumers = self.consumers.iter().flatten();
        size_class(self.name.len())
            + self.pending.heap_bytes()
            + size_class(self.consumers.capacity() * size_of::<Option<Consumer>>())
            + size_class(self.free.capacity() * size_of::<u32>())
            + size_class(self.order.capacity() * size_of::<u32>())
            + consumers.map(Consumer::heap_bytes).sum::<usize>()
    }

    /// Number of allocations, about.
    fn blocks(&self) -> usize {
        let consumers = self.consumers.iter().flatten();
        let of_consumers = consumers.map(|consumer| 1 + consumer.pending.blocks());
        self.pending.blocks() + of_consumers.sum::<usize>()
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        self.pending.check();
        let mut owned = 0;
        for (id, consumer) in self.consumers() {
            consumer.pending.check();
            owned += consumer.pending_len();
            for entry in consumer.pending_ids(StreamId::MIN, StreamId::MAX) {
                assert_eq!(self.pending(entry).and_then(|it| it.consumer), Some(id));
            }
        }
        let unowned = self.pending_range(StreamId::MIN, StreamId::MAX);
        let unowned = unowned.filter(|(_, it)| it.consumer.is_none()).count();
        assert_eq!(owned + unowned, self.pending_len());
        let names: Vec<_> = self.consumers().map(|(_, it)| it.name()).collect();
        assert!(names.is_sorted_by(|a, b| a < b));
        assert_eq!(self.order.len() + self.free.len(), self.consumers.len());
    }
}

/// Pending entries in order, from both ends.
#[derive(Clone)]
pub struct PendingRange<'a> {
    items: IdsRange<'a, Stored>,
}

impl Iterator for PendingRange<'_> {
    type Item = (StreamId, Pending);

    fn next(&mut self) -> Option<Self::Item> {
        let (id, stored) = self.items.next()?;
        Some((id, stored.into()))
    }
}

impl DoubleEndedIterator for PendingRange<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let (id, stored) = self.items.next_back()?;
        Some((id, stored.into()))
    }
}

/// The consumer groups of a stream, in the order of their names.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    groups: Vec<Group>,
}

impl Groups {
    /// Number of groups.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// True without groups.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    fn search(&self, name: &[u8]) -> Result<usize, usize> {
        self.groups.binary_search_by(|group| group.name().cmp(name))
    }

    /// A group by its name.
    pub fn get(&self, name: &[u8]) -> Option<&Group> {
        let at = self.search(name).ok()?;
        self.groups.get(at)
    }

    /// A group by its name, for change.
    pub fn get_mut(&mut self, name: &[u8]) -> Option<&mut Group> {
        let at = self.search(name).ok()?;
        self.groups.get_mut(at)
    }

    /// The groups in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Group> {
        self.groups.iter()
    }

    /// The groups, for change.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = &mut Group> {
        self.groups.iter_mut()
    }

    /// Makes a group; `None` when there is one with this name.
    pub fn create(
        &mut self,
        name: &[u8],
        last_id: StreamId,
        entries_read: Option<u64>,
    ) -> Option<&mut Group> {
        let at = self.search(name).err()?;
        let group = Group::new(name, last_id, entries_read);
        self.groups.insert(at, group);
        self.groups.get_mut(at)
    }

    /// Removes a group. False when there is none with this name.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let found = self.search(name);
        if let Ok(at) = found {
            self.groups.remove(at);
        }
        found.is_ok()
    }

    /// True when a group has still to do with an entry: it has it pending, or has not read so far.
    pub fn refer_to(&self, id: StreamId) -> bool {
        self.iter()
            .any(|group| group.last_id < id || group.pending(id).is_some())
    }

    /// An entry is pending in no group any more.
    pub fn remove_pending(&mut self, id: StreamId) {
        for group in self.iter_mut() {
            group.remove_pending(id);
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let groups = self.groups.iter().map(|group| group.heap_bytes());
        size_class(self.groups.capacity() * size_of::<Group>()) + groups.sum::<usize>()
    }

    pub(super) fn blocks(&self) -> usize {
        self.groups.iter().map(|group| group.blocks()).sum()
    }
}
