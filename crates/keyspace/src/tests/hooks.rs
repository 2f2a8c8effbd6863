//! A snapshot made with the change hook is the data of one instant.

use super::{keyspace, rng, scan_all};
use crate::{ChangeHook, EntryRef, Keyspace, Locked, NewValue, Rest, Value, ValueMut, ValueRef};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use values::{End, FieldDeadline, Hash, List, Set, SortedSet, Stream, StreamId, Thresholds};

const DATABASES: u32 = 4;

type Random<'a> = &'a mut dyn FnMut() -> u64;
type Content = BTreeMap<(u32, Vec<u8>), String>;

/// Everything about an entry but its LRU field.
fn describe(entry: EntryRef<'_>) -> String {
    let mut parts = Vec::new();
    match entry.value() {
        ValueRef::List(list) => list.visit(0..list.len(), false, |element| {
            parts.push(format!("{element:?}"));
            ControlFlow::Continue(())
        }),
        ValueRef::Set(set) => {
            parts.extend(set.iter().map(|member| format!("{member:?}")));
            parts.sort();
        }
        ValueRef::ZSet(set) => parts.extend(set.iter().map(|element| format!("{element:?}"))),
        ValueRef::Hash(hash) => {
            parts.extend(hash.iter(0).map(|(field, value)| {
                let deadline = hash.deadline(field.as_bytes(&mut { values::DIGITS }));
                format!("{field:?} {value:?} {deadline:?}")
            }));
            parts.sort();
        }
        ValueRef::Stream(stream) => {
            let all = stream.entries().range(StreamId::MIN, StreamId::MAX);
            parts.push(format!(
                "{:?}",
                all.map(|entry| entry.id).collect::<Vec<_>>()
            ));
        }
        value => parts.push(format!("{:?}", value.string().unwrap().to_vec())),
    }
    format!("{:?} {:?} {parts:?}", entry.value_type(), entry.deadline())
}

/// What a shard's hook has kept.
#[derive(Default)]
struct Part {
    saved: Content,
    rests: Vec<(u32, Rest)>,
    /// Which number a database has now, by the number it had at the start.
    numbers: [u32; DATABASES as usize],
}

impl Part {
    fn original(&self, db: u32) -> u32 {
        let found = self.numbers.iter().position(|number| *number == db);
        found.unwrap() as u32
    }

    fn save(&mut self, original: u32, entry: EntryRef<'_>) {
        let old = self
            .saved
            .insert((original, entry.key().to_vec()), describe(entry));
        assert!(old.is_none(), "{entry:?} was saved twice");
    }
}

struct Hook(Arc<Mutex<Part>>);

impl ChangeHook for Hook {
    fn before_change(&mut self, db: u32, entry: EntryRef<'_>) {
        let mut part = self.0.lock().unwrap();
        let original = part.original(db);
        part.save(original, entry);
    }

    fn before_swap(&mut self, a: u32, b: u32) {
        let mut part = self.0.lock().unwrap();
        let (a, b) = (part.original(a), part.original(b));
        part.numbers.swap(a as usize, b as usize);
    }

    fn cleared(&mut self, db: u32, rest: Rest) {
        let mut part = self.0.lock().unwrap();
        let original = part.original(db);
        part.rests.push((original, rest));
    }
}

fn content(locked: &Locked<'_>) -> Content {
    let mut content = Content::new();
    for db in 0..DATABASES {
        for key in scan_all(locked, db) {
            let hash = locked.keyspace().hash(&key);
            let entry = locked.shard(hash).unwrap().find(db, hash, &key).unwrap();
            content.insert((db, key), describe(entry));
        }
    }
    content
}

fn limits() -> Thresholds {
    Thresholds {
        // Both forms of each type come up.
        hash_entries: 4,
        set_entries: 4,
        set_integers: 4,
        zset_entries: 4,
        ..Thresholds::default()
    }
}

fn some_bytes(random: Random<'_>) -> Vec<u8> {
    let len = match random() % 20 {
        0 => 70_000,
        1..4 => 300,
        _ => random() as usize % 30,
    };
    vec![random() as u8; len]
}

fn some_value(random: Random<'_>) -> Value {
    match random() % 7 {
        0 => Value::Int(random() as i64),
        1 => Value::Bytes(some_bytes(random).into()),
        2 => Value::List(List::new()),
        3 => Value::Set(Set::new()),
        4 => Value::ZSet(SortedSet::new()),
        5 => Value::Hash(Hash::new()),
        _ => Value::Stream(Stream::new()),
    }
}

/// Changes a value where it lies, whatever it is.
fn edit(mut entry: crate::EntryMut<'_>, random: Random<'_>, now: u64) {
    if entry.string().is_some() {
        match random() % 4 {
            0 => drop(entry.append(&some_bytes(random)).unwrap()),
            1 => drop(entry.set_range(random() as usize % 20, b"range").unwrap()),
            2 => entry.grow_zeroed(3).unwrap().fill(random() as u8),
            _ => drop(entry.set_value(NewValue::Int(random() as i64))),
        }
        return;
    }
    let member = format!("{}", random() % 9).into_bytes();
    let adds = !random().is_multiple_of(3);
    match entry.into_value_mut() {
        ValueMut::List(list) if adds => list.push(End::Back, &member, &limits()),
        ValueMut::List(list) => drop(list.remove_range(0..1.min(list.len()), &limits())),
        ValueMut::Set(set) if adds => drop(set.add(&member, &limits())),
        ValueMut::Set(set) => drop(set.remove(&member)),
        ValueMut::ZSet(set) if adds => {
            set.insert(&member, (random() % 5) as f64, &limits());
        }
        ValueMut::ZSet(set) => drop(set.remove(&member)),
        ValueMut::Hash(hash) if adds => {
            let deadline = match random() % 3 {
                0 => FieldDeadline::At(now + random() % 50),
                _ => FieldDeadline::Clear,
            };
            hash.set(&member, b"value", deadline, &limits());
        }
        ValueMut::Hash(hash) => drop(hash.remove(&member)),
        ValueMut::Stream(stream) => {
            let id = stream.entries().next_id(now).unwrap();
            let fields = [&b"field"[..], &member];
            let limits = values::stream::NodeLimits::default();
            stream
                .entries_mut()
                .append(id, fields.into_iter(), &limits)
                .unwrap();
        }
        other => panic!("{other:?} has been dealt with"),
    }
}

fn change(keyspace: &Keyspace, locked: &mut Locked<'_>, random: Random<'_>, now: u64) {
    let key = format!("key {}", random() % 400).into_bytes();
    let hash = keyspace.hash(&key);
    let db = (random() % 3) as u32;
    let deadline = random().is_multiple_of(4).then(|| now + random() % 50);
    let shard = locked.shard_mut(hash).unwrap();
    match random() % 400 {
        0..100 => {
            let value = NewValue::Owned(some_value(random));
            drop(shard.put(db, hash, &key, value, deadline, 0));
        }
        100..130 => drop(shard.remove(db, hash, &key)),
        130..300 => {
            if let Some(entry) = shard.find_mut(db, hash, &key) {
                edit(entry, random, now);
                shard.sync_elements(db, hash, &key);
            }
        }
        300..330 => drop(shard.set_deadline(db, hash, &key, deadline)),
        330..350 => {
            // RENAME, MOVE: to another key, often of another shard.
            let Some(removed) = shard.remove(db, hash, &key) else {
                return;
            };
            let deadline = removed.deadline();
            let to = format!("key {}", random() % 400).into_bytes();
            let (hash, db) = (keyspace.hash(&to), (random() % 3) as u32);
            let value = NewValue::Owned(removed.into_value());
            let target = locked.shard_mut(hash).unwrap();
            drop(target.put(db, hash, &to, value, deadline, 0));
        }
        350..370 => drop(shard.touch(db, hash, &key, random() as u32 & 0xff_ffff)),
        370..396 => {
            for shard in locked.shards_mut() {
                shard.expire_due(now, 3, &mut |_: u32, _: &[u8]| ());
            }
        }
        396..398 => {
            let other = (random() % 3) as u32;
            locked
                .shards_mut()
                .for_each(|shard| shard.swap_dbs(db, other));
        }
        398 => drop(shard.clear(db)),
        _ => locked.shards_mut().for_each(|shard| drop(shard.clear(db))),
    }
}

/// One step of the walk through a shard. False when the shard is done.
fn step(locked: &mut Locked<'_>, parts: &[Arc<Mutex<Part>>], index: usize, room: u64) -> bool {
    let mut room = room;
    let mut flow = move || {
        room = room.saturating_sub(1);
        match room {
            0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    };
    let part = &parts[index];
    if let Some((original, mut rest)) = { part.lock().unwrap().rests.pop() } {
        let more = rest.walk(|entry| {
            part.lock().unwrap().save(original, entry);
            flow()
        });
        if more {
            part.lock().unwrap().rests.push((original, rest));
        }
        return true;
    }
    locked.shard_at_mut(index).unwrap().walk(|db, entry| {
        let mut part = part.lock().unwrap();
        let original = part.original(db);
        part.save(original, entry);
        flow()
    })
}

/// Takes a snapshot of all shards under changes. It is given up half-way when `cancel` says so.
fn snapshot(keyspace: &Keyspace, locked: &mut Locked<'_>, random: Random<'_>, cancel: bool) {
    let before = content(locked);
    let part = || Part {
        numbers: std::array::from_fn(|db| db as u32),
        ..Part::default()
    };
    let parts: Vec<_> = locked
        .shards_mut()
        .map(|shard| {
            let part = Arc::new(Mutex::new(part()));
            shard.set_change_hook(Box::new(Hook(part.clone())));
            part
        })
        .collect();
    let cancel_at = if cancel { random() % 100 } else { u64::MAX };
    let mut index = 0;
    let mut steps = 0;
    while index < parts.len() && steps < cancel_at {
        steps += 1;
        let room = random() % 5;
        if !step(locked, &parts, index, room) {
            assert!(locked.shard_at(index).unwrap().is_walked());
            index += 1;
        }
        for _ in 0..random() % 8 {
            let now = 4_000 + random() % 100;
            change(keyspace, locked, random, now);
        }
    }
    for shard in locked.shards_mut() {
        assert!(shard.take_change_hook().is_some());
        while shard.walk(|_, _| ControlFlow::Continue(())) {}
        assert!(shard.is_walked());
    }
    if steps < cancel_at {
        let mut saved = Content::new();
        for part in &parts {
            saved.append(&mut part.lock().unwrap().saved);
        }
        assert_eq!(saved, before);
    }
}

#[test]
fn a_snapshot_has_the_values_of_its_start() {
    for seed in 0..if cfg!(miri) { 1 } else { 24 } {
        let keyspace = keyspace();
        let mut locked = keyspace.lock_all();
        let random = &mut rng(seed);
        for now in 0..if cfg!(miri) { 200 } else { 4_000 } {
            change(&keyspace, &mut locked, random, now);
        }
        for round in 0..6 {
            snapshot(&keyspace, &mut locked, random, round % 3 == 1);
        }
    }
}

/// Entries are visited in the order of their hashes, so that the walk can stop between any two.
#[test]
fn a_walk_stops_after_each_entry() {
    let keyspace = keyspace();
    let mut locked = keyspace.lock_all();
    for number in 0..2_000 {
        let key = format!("key {number}").into_bytes();
        let hash = keyspace.hash(&key);
        let shard = locked.shard_mut(hash).unwrap();
        shard.put(0, hash, &key, NewValue::Int(number), None, 0);
    }
    let parts: Vec<Arc<Mutex<Part>>> = (0..keyspace.shard_count())
        .map(|_| Arc::default())
        .collect();
    for (shard, part) in locked.shards_mut().zip(&parts) {
        shard.set_change_hook(Box::new(Hook(part.clone())));
        let mut hashes = Vec::new();
        loop {
            let before = hashes.len();
            let hash = |key: &[u8]| keyspace.hash(key);
            if !shard.walk(|_, entry| {
                hashes.push(hash(entry.key()));
                ControlFlow::Break(())
            }) {
                break;
            }
            assert!(hashes.len() <= before + 1);
        }
        assert_eq!(hashes.len(), shard.len(0));
        assert!(hashes.is_sorted());
    }
}
