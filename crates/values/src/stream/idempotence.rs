//! The ids under which producers have added entries, so that a repeated XADD adds no second one.
//!
//! Every producer has its ids in the order in which they came: the oldest are dropped when there
//! are too many, and when they expire. A look-up compares 32-bit marks, which lie next to each
//! other: a hundred of them, the usual most, are seven cache lines, and the most that may be asked
//! for, ten thousand, take about as long as adding an entry. That is a third of the memory that a
//! table of ids would need besides the queue.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;

use super::StreamId;
use crate::alloc::size_class;
use crate::hash_seed::hash_of;

/// How long, and how many, ids of producers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdempotenceLimits {
    /// Seconds after which an id expires.
    pub duration_s: u32,
    /// How many ids of one producer are kept at most.
    pub ids_max: u32,
}

impl Default for IdempotenceLimits {
    /// The defaults of Redis.
    fn default() -> IdempotenceLimits {
        IdempotenceLimits {
            duration_s: 100,
            ids_max: 100,
        }
    }
}

/// An id of a producer, and the entry that was added under it.
#[derive(Clone, Debug)]
struct Record {
    entry: StreamId,
    /// When it was added, in Unix milliseconds.
    since_ms: u64,
    id: Box<[u8]>,
}

/// A producer. It exists as long as it has ids.
// Invariants: `marks` has as many elements as `records`, at the same places; `since_ms` never
// decreases.
#[derive(Clone, Debug, Default)]
struct Producer {
    records: VecDeque<Record>,
    marks: VecDeque<u32>,
}

fn mark_of(id: &[u8]) -> u32 {
    hash_of(id) as u32
}

/// Marks that are compared without a branch in between.
const STRIDE: usize = 32;

/// The first place at or behind `from` where `mark` stands.
fn find_mark(marks: &[u32], mark: u32, from: usize) -> Option<usize> {
    let rest = marks.get(from..)?;
    for (index, chunk) in rest.chunks(STRIDE).enumerate() {
        let found = chunk.iter().fold(false, |found, it| found | (*it == mark));
        if found {
            let inside = chunk.iter().position(|it| *it == mark)?;
            return Some(from + index * STRIDE + inside);
        }
    }
    None
}

impl Producer {
    fn find(&self, id: &[u8]) -> Option<usize> {
        let mark = mark_of(id);
        let (front, back) = self.marks.as_slices();
        for (marks, first) in [(front, 0), (back, front.len())] {
            let mut from = 0;
            while let Some(at) = find_mark(marks, mark, from) {
                if self.records.get(first + at).is_some_and(|it| *it.id == *id) {
                    return Some(first + at);
                }
                from = at + 1;
            }
        }
        None
    }

    fn push(&mut self, id: &[u8], entry: StreamId, now_ms: u64) {
        let last_ms = self.records.back().map_or(0, |last| last.since_ms);
        self.marks.push_back(mark_of(id));
        self.records.push_back(Record {
            entry,
            // The time of the entry's id is the same after a restart; it is limited to the present
            // time, because an id may be ahead of the clock.
            since_ms: entry.ms.min(now_ms).max(last_ms),
            id: id.into(),
        });
    }

    fn pop(&mut self) {
        self.marks.pop_front();
        self.records.pop_front();
    }

    fn remove(&mut self, at: usize) {
        self.marks.remove(at);
        self.records.remove(at);
    }

    fn heap_bytes(&self) -> usize {
        let ids = self.records.iter().map(|it| size_class(it.id.len()));
        size_class(self.records.capacity() * size_of::<Record>())
            + size_class(self.marks.capacity() * size_of::<u32>())
            + ids.sum::<usize>()
    }
}

/// Ids of the producers of a stream.
// Invariants: `due` has one handle for every producer, with a time that is not after that of its
// oldest id; `len` is the number of all records.
#[derive(Clone, Debug, Default)]
pub struct Idempotence {
    limits: IdempotenceLimits,
    producers: BTreeMap<Arc<[u8]>, Producer>,
    due: BinaryHeap<Reverse<(u64, Arc<[u8]>)>>,
    len: usize,
    added: u64,
    duplicates: u64,
}

impl Idempotence {
    /// Without ids.
    pub fn new(limits: IdempotenceLimits) -> Idempotence {
        Idempotence {
            limits,
            ..Idempotence::default()
        }
    }

    /// How long, and how many, ids are kept.
    pub fn limits(&self) -> IdempotenceLimits {
        self.limits
    }

    /// Changes the limits. New limits drop all ids.
    pub fn set_limits(&mut self, limits: IdempotenceLimits) {
        if self.limits == limits {
            return;
        }
        self.limits = limits;
        self.producers = BTreeMap::new();
        self.due = BinaryHeap::new();
        self.len = 0;
    }

    /// How many producers have ids.
    pub fn producer_count(&self) -> usize {
        self.producers.len()
    }

    /// How many ids are kept, of all producers.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when no id is kept.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many ids have ever been added.
    pub fn added(&self) -> u64 {
        self.added
    }

    /// How often a producer repeated an id.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Sets both counts, as they were saved.
    pub fn set_counts(&mut self, added: u64, duplicates: u64) {
        (self.added, self.duplicates) = (added, duplicates);
    }

    /// Counts a repeated id.
    pub fn count_duplicate(&mut self) {
        self.duplicates = self.duplicates.saturating_add(1);
    }

    /// The entry that a producer added under an id.
    pub fn get(&self, producer: &[u8], id: &[u8]) -> Option<StreamId> {
        let producer = self.producers.get(producer)?;
        let at = producer.find(id)?;
        producer.records.get(at).map(|record| record.entry)
    }

    /// Stores that a producer added an entry under an id. Replaces what was stored for that id. The
    /// oldest ids of the producer are dropped when there are too many.
    pub fn record(&mut self, producer: &[u8], id: &[u8], entry: StreamId, now_ms: u64) {
        self.added = self.added.saturating_add(1);
        if !self.producers.contains_key(producer) {
            let name: Arc<[u8]> = producer.into();
            let since_ms = entry.ms.min(now_ms);
            self.due.push(Reverse((since_ms, Arc::clone(&name))));
            self.producers.insert(name, Producer::default());
        }
        let Some(known) = self.producers.get_mut(producer) else {
            return;
        };
        if let Some(at) = known.find(id) {
            known.remove(at);
            self.len -= 1;
        }
        known.push(id, entry, now_ms);
        self.len += 1;
        while known.records.len() > self.limits.ids_max.max(1) as usize {
            known.pop();
            self.len -= 1;
        }
    }

    fn duration_ms(&self) -> u64 {
        u64::from(self.limits.duration_s) * 1000
    }

    /// When the next id expires at the earliest, in Unix milliseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        let Reverse((since_ms, _)) = self.due.peek()?;
        Some(since_ms.saturating_add(self.duration_ms()))
    }

    /// Removes up to `budget` expired ids. Returns the used part of the budget; less than all of it
    /// when no expired id is left.
    pub fn expire(&mut self, now_ms: u64, budget: usize) -> usize {
        let duration_ms = self.duration_ms();
        let is_over = |since_ms: u64| since_ms.saturating_add(duration_ms) <= now_ms;
        let mut spent = 0;
        while spent < budget {
            let Some(Reverse((_, name))) = self.due.pop_if_over(is_over) else {
                break;
            };
            // The look at a producer counts, too.
            spent += 1;
            let Some(producer) = self.producers.get_mut(&name) else {
                continue;
            };
            while spent < budget
                && producer
                    .records
                    .front()
                    .is_some_and(|it| is_over(it.since_ms))
            {
                producer.pop();
                self.len -= 1;
                spent += 1;
            }
            match producer.records.front() {
                Some(first) => self.due.push(Reverse((first.since_ms, name))),
                None => {
                    self.producers.remove(&name);
                }
            }
        }
        spent
    }

    /// All producers in the order of their names, each with its ids and their entries, the oldest
    /// first.
    pub fn producers(
        &self,
    ) -> impl ExactSizeIterator<
        Item = (
            &[u8],
            impl ExactSizeIterator<Item = (&[u8], StreamId)> + Clone,
        ),
    > {
        self.producers.iter().map(|(name, producer)| {
            let records = producer.records.iter();
            (&**name, records.map(|record| (&*record.id, record.entry)))
        })
    }

    pub(super) fn heap_bytes(&self) -> usize {
        // A node of the map has places for eleven and is filled to two thirds.
        const PLACE: usize = (size_of::<Producer>() + size_of::<Arc<[u8]>>()) * 3 / 2;
        // An Arc counts its owners, twice.
        let names = self
            .producers
            .keys()
            .map(|name| size_class(name.len() + 16));
        size_class(size_of::<Idempotence>())
            + self.producers.len() * PLACE
            + names.sum::<usize>()
            + self
                .producers
                .values()
                .map(Producer::heap_bytes)
                .sum::<usize>()
            + size_class(self.due.capacity() * size_of::<Reverse<(u64, Arc<[u8]>)>>())
    }

    /// Number of allocations.
    pub(super) fn blocks(&self) -> usize {
        self.len + self.producers.len() * 3
    }
}

/// Takes the first handle from a heap when its time has come.
trait PopIfOver {
    fn pop_if_over(&mut self, is_over: impl Fn(u64) -> bool) -> Option<Reverse<(u64, Arc<[u8]>)>>;
}

impl PopIfOver for BinaryHeap<Reverse<(u64, Arc<[u8]>)>> {
    fn pop_if_over(&mut self, is_over: impl Fn(u64) -> bool) -> Option<Reverse<(u64, Arc<[u8]>)>> {
        let Reverse((since_ms, _)) = self.peek()?;
        if is_over(*since_ms) { self.pop() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: IdempotenceLimits = IdempotenceLimits {
        duration_s: 1,
        ids_max: 3,
    };

    fn id(ms: u64) -> StreamId {
        StreamId::new(ms, 0)
    }

    fn text(number: u64) -> [u8; 8] {
        number.to_be_bytes()
    }

    #[test]
    fn the_oldest_ids_go_when_there_are_too_many() {
        let mut known = Idempotence::new(LIMITS);
        for ms in 1..=5 {
            known.record(b"p", &text(ms), id(ms), 10);
        }
        known.record(b"q", &text(1), id(6), 10);
        assert_eq!((known.producer_count(), known.len()), (2, 4));
        assert_eq!(known.added(), 6);
        assert_eq!(known.get(b"p", &text(2)), None);
        assert_eq!(known.get(b"p", &text(3)), Some(id(3)));
        assert_eq!(known.get(b"q", &text(1)), Some(id(6)));
        assert_eq!(known.get(b"r", &text(1)), None);
        // What comes again under an id is the newest.
        known.record(b"p", &text(3), id(7), 10);
        known.record(b"p", &text(8), id(8), 10);
        assert_eq!(known.get(b"p", &text(3)), Some(id(7)));
        assert_eq!(known.get(b"p", &text(4)), None);
        known.set_limits(LIMITS);
        assert_eq!(known.len(), 4);
        known.set_limits(IdempotenceLimits::default());
        assert_eq!((known.producer_count(), known.len()), (0, 0));
        assert_eq!((known.added(), known.next_deadline()), (8, None));
    }

    #[test]
    fn ids_go_when_their_time_is_over() {
        let mut known = Idempotence::new(LIMITS);
        known.record(b"p", b"1", id(1000), 5000);
        known.record(b"p", b"2", id(2000), 5000);
        known.record(b"q", b"1", id(1500), 5000);
        // One that is ahead of the clock has come now.
        known.record(b"r", b"1", id(9000), 5000);
        assert_eq!(known.next_deadline(), Some(2000));
        assert_eq!(known.expire(1999, usize::MAX), 0);
        assert_eq!(known.expire(2000, 1), 1);
        assert_eq!(known.len(), 4);
        known.expire(2000, usize::MAX);
        assert_eq!(known.get(b"p", b"1"), None);
        assert_eq!(known.next_deadline(), Some(2500));
        known.expire(2500, usize::MAX);
        assert_eq!(known.producer_count(), 2);
        known.expire(6000, usize::MAX);
        assert_eq!((known.producer_count(), known.len()), (0, 0));
        assert_eq!(known.next_deadline(), None);
    }

    #[test]
    fn marks_are_found_over_the_end_of_the_ring() {
        let limits = IdempotenceLimits {
            duration_s: 100,
            ids_max: 200,
        };
        let mut known = Idempotence::new(limits);
        for number in 1..=1000 {
            known.record(b"p", &text(number), id(number), 0);
        }
        for number in 1..=1000 {
            let wanted = (number > 800).then_some(id(number));
            assert_eq!(known.get(b"p", &text(number)), wanted, "{number}");
        }
        let all: Vec<_> = known.producers().flat_map(|(_, ids)| ids).collect();
        assert_eq!(all.len(), 200);
        assert_eq!(all[0], (&text(801)[..], id(801)));
        assert!(known.heap_bytes() > 200 * (40 + 4 + 8));
    }
}
