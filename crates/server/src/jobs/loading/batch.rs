//! Entries on their way from the thread that reads a file into the shards.

use engine::shard_tables::{Keyspace, Locked, Shard};
use keyspace::{INLINE_MAX, KeyHash, NewValue, Value};
use values::BigString;

use std::sync::Arc;

/// Entries of a batch: some tens for each shard, so that a lock and the misses of a shard's table
/// are shared.
const ENTRIES_MAX: usize = 1024;

/// Bytes of keys and strings of a batch: as much as the cache of a core can hold between two
/// threads.
const BYTES_MAX: usize = 256 << 10;

/// What happens to a key that exists already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Present {
    /// A file must not have a key twice.
    Refuse,
    /// The file wins over what is in memory.
    Replace,
}

/// A key exists already and must not.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Duplicate {
    pub(super) db: u32,
    pub(super) key: Box<[u8]>,
}

/// Where the value of an item is.
enum Content {
    Int(i64),
    /// In the arena behind the key: so many bytes.
    Bytes(usize),
    Raw(usize),
    Owned(Value),
}

struct Item {
    db: u32,
    /// LRU or LFU field.
    lru: u32,
    deadline: Option<u64>,
    /// Where the key begins in the arena, and its length.
    start: usize,
    key_len: usize,
    content: Content,
}

/// An entry with its access field.
pub(super) struct Incoming<'a> {
    pub(super) db: u32,
    pub(super) key: &'a [u8],
    pub(super) value: NewValue<'a>,
    pub(super) deadline: Option<u64>,
    pub(super) lru: u32,
}

/// Some entries: keys and strings in one arena, collections as they are.
#[derive(Default)]
pub(super) struct Batch {
    arena: Vec<u8>,
    items: Vec<Item>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// True when the batch is full enough to be inserted.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.items.len() >= ENTRIES_MAX || self.arena.len() >= BYTES_MAX
    }

    #[inline]
    pub(super) fn push(&mut self, entry: Incoming<'_>) {
        let start = self.arena.len();
        self.arena.extend_from_slice(entry.key);
        let content = match entry.value {
            NewValue::Int(value) => Content::Int(value),
            NewValue::Bytes(bytes) => self.string(bytes, Content::Bytes),
            NewValue::Raw(bytes) => self.string(bytes, Content::Raw),
            NewValue::Big(big) => Content::Owned(Value::Big(big)),
            NewValue::Owned(value) => Content::Owned(value),
        };
        self.items.push(Item {
            db: entry.db,
            lru: entry.lru,
            deadline: entry.deadline,
            start,
            key_len: entry.key.len(),
            content,
        });
    }

    /// Long strings are allocated as values at once instead of being copied twice.
    #[inline]
    fn string(&mut self, bytes: &[u8], content: fn(usize) -> Content) -> Content {
        if bytes.len() > INLINE_MAX {
            return Content::Owned(Value::Big(Arc::new(BigString::from_slice(bytes))));
        }
        self.arena.extend_from_slice(bytes);
        content(bytes.len())
    }

    fn clear(&mut self) {
        self.items.clear();
        self.arena.clear();
        if self.arena.capacity() > 2 * BYTES_MAX {
            self.arena = Vec::new();
        }
    }

    fn key(&self, index: u32) -> &[u8] {
        self.items.get(index as usize).map_or(&[], |item| {
            let end = item.start + item.key_len;
            self.arena.get(item.start..end).unwrap_or_default()
        })
    }
}

/// Puts batches into shards. Keeps its memory from batch to batch.
#[derive(Default)]
pub(super) struct Inserter {
    /// Items ordered by shard.
    order: Vec<(KeyHash, u32)>,
    hashes: Vec<KeyHash>,
    /// Where the items of shard i begin in `order`; one more at the end.
    starts: Vec<u32>,
}

impl Inserter {
    /// Puts everything into the shards, each locked once, unless they are `held` already, beginning
    /// with shard number `first`. The batch is empty afterwards, also after an error.
    pub(super) fn insert(
        &mut self,
        batch: &mut Batch,
        keyspace: &Keyspace,
        held: Option<&mut Locked<'_>>,
        first: usize,
        present: Present,
    ) -> Result<(), Duplicate> {
        self.sort(batch, keyspace);
        let result = match held {
            Some(locked) => (0..keyspace.shard_count())
                .try_for_each(|shard| self.fill(batch, locked, shard, present)),
            None => (0..keyspace.shard_count()).try_for_each(|step| {
                let shard = (first + step) % keyspace.shard_count();
                if self.group(shard).is_empty() {
                    return Ok(());
                }
                self.fill(batch, &mut keyspace.lock_one(shard), shard, present)
            }),
        };
        batch.clear();
        result
    }

    /// Hashes the keys and counts them into shards.
    fn sort(&mut self, batch: &Batch, keyspace: &Keyspace) {
        let count = batch.items.len();
        self.starts.clear();
        self.starts.resize(keyspace.shard_count() + 1, 0);
        self.hashes.clear();
        for index in 0..count as u32 {
            let hash = keyspace.hash(batch.key(index));
            self.hashes.push(hash);
            if let Some(next) = self.starts.get_mut(keyspace.shard_of(hash) + 1) {
                *next += 1;
            }
        }
        let mut sum = 0;
        for start in &mut self.starts {
            sum += *start;
            *start = sum;
        }
        self.order.clear();
        self.order.resize(count, (KeyHash(0), 0));
        for (hash, index) in self.hashes.iter().zip(0..) {
            // Counted up to where the next shard begins, and put back below.
            if let Some(start) = self.starts.get_mut(keyspace.shard_of(*hash)) {
                if let Some(place) = self.order.get_mut(*start as usize) {
                    *place = (*hash, index);
                }
                *start += 1;
            }
        }
        self.starts.rotate_right(1);
        if let Some(first) = self.starts.first_mut() {
            *first = 0;
        }
    }

    fn group(&self, shard: usize) -> &[(KeyHash, u32)] {
        match self.starts.get(shard..shard + 2) {
            Some(&[from, to]) => self.order.get(from as usize..to as usize),
            _ => None,
        }
        .unwrap_or_default()
    }

    fn fill(
        &self,
        batch: &mut Batch,
        locked: &mut Locked<'_>,
        shard: usize,
        present: Present,
    ) -> Result<(), Duplicate> {
        let group = self.group(shard);
        for (hash, index) in group {
            if let Some(item) = batch.items.get(*index as usize) {
                locked.prefetch_bucket(item.db, *hash);
            }
        }
        let Some(target) = locked.shard_at_mut(shard) else {
            return Ok(());
        };
        group
            .iter()
            .try_for_each(|(hash, index)| put(batch, *index, *hash, target, present))
    }
}

#[inline]
fn put(
    batch: &mut Batch,
    index: u32,
    hash: KeyHash,
    shard: &mut Shard,
    present: Present,
) -> Result<(), Duplicate> {
    let Some(item) = batch.items.get_mut(index as usize) else {
        return Ok(());
    };
    let content = std::mem::replace(&mut item.content, Content::Int(0));
    let bytes = batch.arena.get(item.start..).unwrap_or_default();
    let Some((key, rest)) = bytes.split_at_checked(item.key_len) else {
        return Ok(());
    };
    let value = match content {
        Content::Int(value) => NewValue::Int(value),
        Content::Bytes(len) => NewValue::Bytes(rest.get(..len).unwrap_or_default()),
        Content::Raw(len) => NewValue::Raw(rest.get(..len).unwrap_or_default()),
        Content::Owned(value) => NewValue::Owned(value),
    };
    let db = item.db;
    if present == Present::Replace {
        drop(shard.put(db, hash, key, value, item.deadline, item.lru));
        return Ok(());
    }
    match shard.add(db, hash, key, value, item.deadline, item.lru) {
        true => Ok(()),
        false => Err(Duplicate {
            db,
            key: key.into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyspace::{Options, ValueRef};

    fn keyspace() -> Keyspace {
        Keyspace::new(Options {
            shards: 16,
            databases: 4,
            hash_seed: [1, 2],
        })
    }

    fn entry<'a>(db: u32, key: &'a [u8], value: NewValue<'a>) -> Incoming<'a> {
        Incoming {
            db,
            key,
            value,
            deadline: None,
            lru: 7,
        }
    }

    fn insert(batch: &mut Batch, keyspace: &Keyspace, present: Present) -> Result<(), Duplicate> {
        Inserter::default().insert(batch, keyspace, None, 3, present)
    }

    #[test]
    fn everything_arrives() {
        let keyspace = keyspace();
        let mut inserter = Inserter::default();
        let mut batch = Batch::default();
        let long = vec![b'x'; INLINE_MAX + 1];
        for round in 0..3_u32 {
            for number in 0..2000 {
                let key = format!("key:{round}:{number}");
                let value = match number % 4 {
                    0 => NewValue::Int(i64::from(number)),
                    1 => NewValue::Bytes(b"some text"),
                    2 => NewValue::Raw(b"12"),
                    _ if number == 3 => NewValue::Bytes(&long),
                    _ => NewValue::Owned(Value::Bytes(key.as_bytes().into())),
                };
                batch.push(entry(number as u32 % 4, key.as_bytes(), value));
                if batch.is_full() {
                    let result = inserter.insert(&mut batch, &keyspace, None, 5, Present::Refuse);
                    result.expect("new keys");
                }
            }
        }
        let mut all = keyspace.lock_all();
        let result = inserter.insert(&mut batch, &keyspace, Some(&mut all), 0, Present::Refuse);
        result.expect("new keys");
        assert!(batch.is_empty());
        let shards = all.shards();
        let total: usize = shards
            .map(|shard| (0..4).map(|db| shard.len(db)).sum::<usize>())
            .sum();
        assert_eq!(total, 6000);
        drop(all);
        let hash = keyspace.hash(b"key:2:3");
        let locked = keyspace.lock_one(keyspace.shard_of(hash));
        let found = locked
            .shard(hash)
            .and_then(|it| it.find(3, hash, b"key:2:3"));
        let found = found.expect("the key");
        assert_eq!(found.lru(), 7);
        assert!(matches!(found.value(), ValueRef::Big(big) if big.as_slice() == long));
    }

    #[test]
    fn a_key_twice_is_refused_or_replaced() {
        let keyspace = keyspace();
        let mut batch = Batch::default();
        batch.push(entry(1, b"key", NewValue::Int(1)));
        batch.push(entry(2, b"key", NewValue::Int(1)));
        insert(&mut batch, &keyspace, Present::Refuse).expect("two databases");
        batch.push(entry(2, b"key", NewValue::Int(5)));
        let duplicate = Duplicate {
            db: 2,
            key: b"key".as_slice().into(),
        };
        assert_eq!(
            insert(&mut batch, &keyspace, Present::Refuse),
            Err(duplicate)
        );
        assert!(batch.is_empty());
        batch.push(entry(2, b"key", NewValue::Int(5)));
        insert(&mut batch, &keyspace, Present::Replace).expect("replaced");
        let entries: usize = keyspace.lock_all().shards().map(|shard| shard.len(2)).sum();
        assert_eq!(entries, 1);
    }
}
