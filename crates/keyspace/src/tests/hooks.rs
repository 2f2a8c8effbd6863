//! A snapshot made with the change hook is the data of one instant.

use super::{keyspace, rng, scan_all};
use crate::{ChangeHook, EntryRef, KeyHash, Keyspace, Locked, NewValue};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

type Saved = BTreeMap<(u32, Vec<u8>), Vec<u8>>;

/// What the snapshot has, and which keys it need not look at again.
#[derive(Default)]
struct Snapshot {
    saved: Saved,
    seen: BTreeSet<(u32, Vec<u8>)>,
    /// The database that had this number at the start has which number now: the inverse is needed.
    numbers: [u32; 4],
}

impl Snapshot {
    fn save(&mut self, db: u32, key: &[u8], entry: Option<EntryRef<'_>>) {
        let db = self.numbers[db as usize];
        if self.seen.insert((db, key.to_vec()))
            && let Some(entry) = entry
        {
            self.saved
                .insert((db, key.to_vec()), entry.string().unwrap().to_vec());
        }
    }
}

struct Hook(Arc<Mutex<Snapshot>>);

impl ChangeHook for Hook {
    fn before_change(&mut self, db: u32, _: KeyHash, key: &[u8], entry: Option<EntryRef<'_>>) {
        self.0.lock().unwrap().save(db, key, entry);
    }

    fn before_swap(&mut self, a: u32, b: u32) {
        self.0.lock().unwrap().numbers.swap(a as usize, b as usize);
    }

    fn before_clear(&mut self, db: u32, entries: &mut dyn Iterator<Item = EntryRef<'_>>) {
        entries.for_each(|entry| self.0.lock().unwrap().save(db, entry.key(), Some(entry)));
    }
}

fn content(locked: &Locked<'_>) -> Saved {
    let mut content = Saved::new();
    for db in 0..4 {
        for key in scan_all(locked, db) {
            let hash = locked.keyspace().hash(&key);
            let entry = locked.shard(hash).unwrap().find(db, hash, &key).unwrap();
            content.insert((db, key), entry.string().unwrap().to_vec());
        }
    }
    content
}

fn change(
    keyspace: &Keyspace,
    locked: &mut Locked<'_>,
    random: &mut impl FnMut() -> u64,
    now: u64,
) {
    let key = format!("key {}", random() % 300).into_bytes();
    let hash = keyspace.hash(&key);
    let db = (random() % 3) as u32;
    let shard = locked.shard_mut(hash).unwrap();
    match random() % 40 {
        0..20 => {
            let deadline = random().is_multiple_of(3).then(|| now + random() % 50);
            shard.put(db, hash, &key, NewValue::Int(random() as i64), deadline, 0);
        }
        20..27 => drop(shard.remove(db, hash, &key)),
        27..32 => {
            if let Some(mut entry) = shard.find_mut(db, hash, &key) {
                entry.append(b"tail").unwrap();
            }
        }
        32..38 => {
            for shard in locked.shards_mut() {
                shard.expire_due(now, 1000, &mut |_: u32, _: &[u8]| ());
            }
        }
        38 => {
            let other = (random() % 3) as u32;
            // Swapping is for all shards of a snapshot at once; one number map serves this test.
            shard.swap_dbs(db, other);
        }
        _ => drop(shard.clear(db)),
    }
}

/// One shard at a time has a hook, so that a swap concerns one map of numbers.
#[test]
fn a_snapshot_has_the_values_of_its_start() {
    (0..20).for_each(snapshots);
}

fn snapshots(seed: u64) {
    let keyspace = keyspace();
    let mut locked = keyspace.lock_all();
    let mut random = rng(seed);
    for now in 0..3_000 {
        change(&keyspace, &mut locked, &mut random, now);
    }
    for index in 0..keyspace.shard_count() {
        let mut before = content(&locked);
        before.retain(|(_, key), _| keyspace.shard_of(keyspace.hash(key)) == index);
        let snapshot = Arc::new(Mutex::new(Snapshot {
            numbers: [0, 1, 2, 3],
            ..Snapshot::default()
        }));
        let hook = Box::new(Hook(snapshot.clone()));
        locked
            .shard_at_mut(index)
            .unwrap()
            .set_change_hook(Some(hook));
        for original in 0..4u32 {
            walk(
                &keyspace,
                &mut locked,
                &mut random,
                &snapshot,
                index,
                original,
            );
        }
        locked.shard_at_mut(index).unwrap().set_change_hook(None);
        assert_eq!(snapshot.lock().unwrap().saved, before, "shard {index}");
    }
}

/// Walks the database that had this number at the start, with changes between the steps.
fn walk(
    keyspace: &Keyspace,
    locked: &mut Locked<'_>,
    random: &mut impl FnMut() -> u64,
    snapshot: &Arc<Mutex<Snapshot>>,
    index: usize,
    original: u32,
) {
    loop {
        let numbers = snapshot.lock().unwrap().numbers;
        let db = numbers
            .iter()
            .position(|number| *number == original)
            .unwrap() as u32;
        let more = locked
            .shard_at_mut(index)
            .unwrap()
            .walk_frontier(db, |entry| {
                snapshot.lock().unwrap().save(db, entry.key(), Some(entry));
            });
        if !more {
            return;
        }
        for _ in 0..20 {
            let now = 3_000 + random() % 100;
            change(keyspace, locked, random, now);
        }
    }
}
