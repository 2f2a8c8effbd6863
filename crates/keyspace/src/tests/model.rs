//! Random commands against maps.

use super::{check_sizes, keyspace, rng, scan_all};
use crate::{Beyond, Encoding, Keyspace, Locked, NewValue, Recording, is_recording, number};
use proptest::prelude::*;
use std::collections::BTreeMap;
use values::Thresholds;

#[derive(Clone, Debug, PartialEq)]
struct Expected {
    text: Vec<u8>,
    encoding: Encoding,
    deadline: Option<u64>,
    lru: u32,
}

type Databases = Vec<BTreeMap<Vec<u8>, Expected>>;

#[derive(Clone, Debug)]
enum Op {
    Put {
        value: Text,
        raw: bool,
        deadline: Option<u64>,
        lru: u32,
    },
    PutInt(i64, Option<u64>),
    Replace(Text),
    Remove,
    Rename {
        to: usize,
    },
    Copy {
        to: usize,
    },
    Append(Text),
    SetRange(usize, Text),
    Flip(usize),
    Grow(usize),
    SetDeadline(Option<u64>),
    Touch(u32),
    Swap(u32),
    Clear,
}

/// A text by its length and seed: shrinks well and prints short.
#[derive(Clone, Copy, Debug)]
struct Text {
    len: usize,
    seed: u8,
}

impl Text {
    fn bytes(self) -> Vec<u8> {
        // Starts with digits often enough to be an integer.
        (0..self.len)
            .map(|i| b'0' + (i as u8).wrapping_mul(7).wrapping_add(self.seed) % 12)
            .collect()
    }
}

fn text() -> impl Strategy<Value = Text> {
    let len = prop_oneof![
        4 => 0usize..30,
        3 => 30usize..80,
        2 => 240usize..270,
        1 => 65_500usize..65_560,
        1 => 65_530usize..131_100,
    ];
    (len, 0u8..6).prop_map(|(len, seed)| Text { len, seed })
}

fn deadline() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![2 => Just(None), 2 => (0u64..1000).prop_map(Some), 1 => any::<u64>().prop_map(Some)]
}

fn op() -> impl Strategy<Value = Op> {
    let offset = prop_oneof![3 => 0usize..60, 1 => 200usize..300, 1 => 65_000usize..66_000];
    prop_oneof![
        8 => (text(), any::<bool>(), deadline(), 0u32..1 << 24)
            .prop_map(|(value, raw, deadline, lru)| Op::Put { value, raw, deadline, lru }),
        2 => (any::<i64>(), deadline()).prop_map(|(value, deadline)| Op::PutInt(value, deadline)),
        2 => text().prop_map(Op::Replace),
        3 => Just(Op::Remove),
        2 => (0usize..KEYS).prop_map(|to| Op::Rename { to }),
        2 => (0usize..KEYS).prop_map(|to| Op::Copy { to }),
        5 => text().prop_map(Op::Append),
        3 => (offset, text()).prop_map(|(offset, text)| Op::SetRange(offset, text)),
        2 => (0usize..300).prop_map(Op::Flip),
        1 => prop_oneof![0usize..300, 65_500usize..65_600].prop_map(Op::Grow),
        4 => deadline().prop_map(Op::SetDeadline),
        1 => (0u32..1 << 24).prop_map(Op::Touch),
        1 => (0u32..4).prop_map(Op::Swap),
        1 => Just(Op::Clear),
    ]
}

const KEYS: usize = 14;

fn key(number: usize) -> Vec<u8> {
    let len = [
        0, 1, 5, 9, 16, 16, 16, 40, 254, 255, 256, 300, 65_535, 65_536,
    ][number % KEYS];
    (0..len).map(|i| (i + number) as u8).collect()
}

fn encoding_of(text: &[u8], raw: bool) -> Encoding {
    if !raw && number::parse_canonical(text).is_some() {
        Encoding::Int
    } else if !raw && text.len() <= 44 {
        Encoding::Embstr
    } else {
        Encoding::Raw
    }
}

fn check_entry(locked: &Locked<'_>, model: &Databases, db: u32, key: &[u8]) {
    let hash = locked.keyspace().hash(key);
    let found = locked
        .shard(hash)
        .unwrap()
        .find(db, hash, key)
        .map(|entry| {
            assert_eq!(entry.key(), key);
            Expected {
                text: entry.string().unwrap().to_vec(),
                encoding: entry.encoding(),
                deadline: entry.deadline(),
                lru: entry.lru(),
            }
        });
    assert_eq!(found.as_ref(), model[db as usize].get(key));
}

fn check_all(locked: &Locked<'_>, model: &Databases) {
    for (number, database) in model.iter().enumerate() {
        let db = number as u32;
        let mut keys = scan_all(locked, db);
        keys.sort();
        assert_eq!(keys, database.keys().cloned().collect::<Vec<_>>());
        let sum = |count: fn(&crate::Shard, u32) -> usize| {
            locked.shards().map(|s| count(s, db)).sum::<usize>()
        };
        assert_eq!(sum(crate::Shard::len), database.len());
        assert_eq!(
            sum(crate::Shard::volatile),
            database
                .values()
                .filter(|entry| entry.deadline.is_some())
                .count()
        );
        for shard in locked.shards() {
            let entries = || shard.entries(db);
            let blocks: usize = entries()
                .map(|entry| entry.memory_usage() - entry.value().heap_bytes())
                .sum();
            assert_eq!(shard.stats(db).block_bytes, blocks);
            let deadlines: Vec<u128> = entries()
                .filter_map(|entry| entry.deadline())
                .map(u128::from)
                .collect();
            let sum = deadlines.iter().sum::<u128>();
            let average = sum.checked_div(deadlines.len() as u128).unwrap_or(0);
            assert_eq!(u128::from(shard.avg_ttl_ms(db, 0)), average);
            check_sizes(shard, db);
        }
        for key in database.keys() {
            check_entry(locked, model, db, key);
        }
    }
}

fn apply(locked: &mut Locked<'_>, model: &mut Databases, db: u32, key: &[u8], op: Op) {
    let keyspace: &Keyspace = locked.keyspace();
    let hash = keyspace.hash(key);
    let shard = locked.shard_mut(hash).unwrap();
    let database = &mut model[db as usize];
    match op {
        Op::Put {
            value,
            raw,
            deadline,
            lru,
        } => {
            let text = value.bytes();
            let new = if raw {
                NewValue::Raw(&text)
            } else {
                NewValue::Bytes(&text)
            };
            let old = shard.put(db, hash, key, new, deadline, lru);
            let before = database.get(key).map_or(0, |entry| entry.text.len());
            assert!(old.is_none_or(|old| old.is_big() && old.string().unwrap().len() == before));
            let encoding = encoding_of(&text, raw);
            database.insert(
                key.to_vec(),
                Expected {
                    text,
                    encoding,
                    deadline,
                    lru,
                },
            );
        }
        Op::PutInt(value, deadline) => {
            shard.put(db, hash, key, NewValue::Int(value), deadline, 1);
            let text = value.to_string().into_bytes();
            database.insert(
                key.to_vec(),
                Expected {
                    text,
                    encoding: Encoding::Int,
                    deadline,
                    lru: 1,
                },
            );
        }
        Op::Replace(value) => {
            let text = value.bytes();
            let entry = shard.find_mut(db, hash, key);
            assert_eq!(entry.is_some(), database.contains_key(key));
            if let (Some(mut entry), Some(expected)) = (entry, database.get_mut(key)) {
                entry.set_string(NewValue::Bytes(&text));
                // The same borrow goes on, over a block that may have moved.
                entry.set_deadline(Some(5));
                entry.set_deadline(expected.deadline);
                expected.encoding = encoding_of(&text, false);
                expected.text = text;
            }
        }
        Op::Remove => {
            let removed = shard.remove(db, hash, key);
            let expected = database.remove(key);
            assert_eq!(
                removed.as_ref().map(|r| (r.deadline(), r.lru())),
                expected.as_ref().map(|e| (e.deadline, e.lru))
            );
            assert_eq!(
                removed.map(|r| r.into_value().string().unwrap().to_vec()),
                expected.map(|e| e.text)
            );
        }
        Op::Rename { to } => {
            let (Some(removed), Some(expected)) =
                (shard.remove(db, hash, key), database.remove(key))
            else {
                return;
            };
            let to = self::key(to);
            let (deadline, lru) = (removed.deadline(), removed.lru());
            let to_hash = keyspace.hash(&to);
            let shard = locked.shard_mut(to_hash).unwrap();
            shard.put(
                db,
                to_hash,
                &to,
                NewValue::Owned(removed.into_value()),
                deadline,
                lru,
            );
            database.insert(to, expected);
        }
        Op::Copy { to } => {
            let Some(expected) = database.get(key).cloned() else {
                return;
            };
            let value = shard.find(db, hash, key).unwrap().to_value();
            let (to, to_db) = (self::key(to), (db + 1) % 4);
            let to_hash = keyspace.hash(&to);
            let shard = locked.shard_mut(to_hash).unwrap();
            shard.put(
                to_db,
                to_hash,
                &to,
                NewValue::Owned(value),
                expected.deadline,
                expected.lru,
            );
            model[to_db as usize].insert(to, expected);
        }
        Op::Append(tail) => {
            let (Some(mut entry), Some(expected)) =
                (shard.find_mut(db, hash, key), database.get_mut(key))
            else {
                return;
            };
            let tail = tail.bytes();
            let len = expected.text.len() + tail.len();
            assert_eq!(entry.append(&tail), Ok(len));
            if !tail.is_empty() {
                expected.text.extend(tail);
                expected.encoding = Encoding::Raw;
            }
        }
        Op::SetRange(offset, value) => {
            let (Some(mut entry), Some(expected)) =
                (shard.find_mut(db, hash, key), database.get_mut(key))
            else {
                return;
            };
            let bytes = value.bytes();
            if !bytes.is_empty() {
                let end = offset + bytes.len();
                expected.text.resize(expected.text.len().max(end), 0);
                expected.text[offset..end].copy_from_slice(&bytes);
                expected.encoding = Encoding::Raw;
            }
            assert_eq!(entry.set_range(offset, &bytes), Ok(expected.text.len()));
        }
        Op::Flip(at) => {
            let (Some(mut entry), Some(expected)) =
                (shard.find_mut(db, hash, key), database.get_mut(key))
            else {
                return;
            };
            let bytes = entry.string_mut().unwrap();
            assert_eq!(bytes, expected.text);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 0x80;
                expected.text[at] ^= 0x80;
            }
            expected.encoding = Encoding::Raw;
        }
        Op::Grow(len) => {
            let (Some(mut entry), Some(expected)) =
                (shard.find_mut(db, hash, key), database.get_mut(key))
            else {
                return;
            };
            expected.text.resize(expected.text.len().max(len), 0);
            expected.encoding = Encoding::Raw;
            assert_eq!(entry.grow_zeroed(len), Ok(expected.text.as_mut_slice()));
        }
        Op::SetDeadline(deadline) => {
            let found = shard.set_deadline(db, hash, key, deadline);
            assert_eq!(found, database.contains_key(key));
            if let Some(expected) = database.get_mut(key) {
                expected.deadline = deadline;
            }
        }
        Op::Touch(lru) => {
            let found = shard.find_touch(db, hash, key, |_| lru).is_some();
            assert_eq!(found, database.contains_key(key));
            if let Some(expected) = database.get_mut(key) {
                expected.lru = lru;
            }
        }
        Op::Swap(other) => {
            locked
                .shards_mut()
                .for_each(|shard| shard.swap_dbs(db, other));
            model.swap(db as usize, other as usize);
        }
        Op::Clear => {
            let cleared: usize = locked.shards_mut().map(|shard| shard.clear(db).len()).sum();
            assert_eq!(cleared, std::mem::take(&mut model[db as usize]).len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 96 }))]

    #[test]
    fn behaves_like_maps(ops in proptest::collection::vec((0u32..3, 0usize..KEYS, op()), 1..120)) {
        let keyspace = keyspace();
        let mut locked = keyspace.lock_all();
        let mut model: Databases = vec![BTreeMap::new(); 4];
        for (db, number, op) in ops {
            let key = key(number);
            apply(&mut locked, &mut model, db, &key, op);
            check_entry(&locked, &model, db, &key);
        }
        check_all(&locked, &model);
    }

    #[test]
    fn a_recording_is_taken_back_or_kept(
        before in proptest::collection::vec((0u32..3, 0usize..KEYS, op()), 1..60),
        steps in proptest::collection::vec((0u32..3, 0usize..KEYS, op(), 0u8..12), 1..80),
    ) {
        let keyspace = keyspace();
        let mut locked = keyspace.lock_all();
        let mut model: Databases = vec![BTreeMap::new(); 4];
        for (db, number, op) in before {
            apply(&mut locked, &mut model, db, &key(number), op);
        }
        // Each open recording, with what it goes back to.
        let mut open = vec![(Recording::begin(Beyond::GiveUp), model.clone())];
        for (db, number, op, what) in steps {
            match what {
                0 => open.push((Recording::begin(Beyond::GoOn), model.clone())),
                1 if open.len() > 1 => {
                    let (recording, was) = open.pop().unwrap();
                    prop_assert!(locked.roll_back(recording, Thresholds::default));
                    model = was;
                    check_all(&locked, &model);
                }
                2 if open.len() > 1 => {
                    drop(locked.keep(open.pop().unwrap().0, Thresholds::default));
                }
                // Accesses are not taken back.
                _ if matches!(op, Op::Touch(_)) => {}
                _ => apply(&mut locked, &mut model, db, &key(number), op),
            }
        }
        while let Some((recording, was)) = open.pop() {
            prop_assert!(locked.roll_back(recording, Thresholds::default));
            check_all(&locked, &was);
        }
        prop_assert!(!is_recording());
    }

    #[test]
    fn scan_visits_what_stays_exactly_once(
        seed: u64,
        stable in 1usize..3000,
        churn in 0usize..60,
        growing: bool,
    ) {
        let keyspace = keyspace();
        let mut locked = keyspace.lock_all();
        let mut random = rng(seed);
        let put = |locked: &mut Locked<'_>, key: &[u8]| {
            let hash = keyspace.hash(key);
            locked.shard_mut(hash).unwrap().put(1, hash, key, NewValue::Int(1), None, 0);
        };
        for i in 0..stable {
            put(&mut locked, format!("stable:{i}").as_bytes());
        }
        let mut other = if growing { 0 } else { 3000 };
        for i in 0..other {
            put(&mut locked, format!("other:{i}").as_bytes());
        }
        let mut seen = BTreeMap::new();
        for index in 0..keyspace.shard_count() {
            let mut position = keyspace.first_position(index);
            loop {
                let shard = locked.shard_at(index).unwrap();
                position = shard.scan(1, position, |entry| *seen.entry(entry.key().to_vec()).or_insert(0) += 1);
                if position == 0 {
                    break;
                }
                prop_assert_eq!(keyspace.shard_of(crate::KeyHash(position)), index);
                for _ in 0..random() as usize % (churn + 1) {
                    if growing {
                        put(&mut locked, format!("other:{other}").as_bytes());
                        other += 1;
                    } else {
                        let key = format!("other:{}", random() as usize % other);
                        let hash = keyspace.hash(key.as_bytes());
                        locked.shard_mut(hash).unwrap().remove(1, hash, key.as_bytes());
                    }
                }
            }
        }
        for i in 0..stable {
            prop_assert_eq!(seen.get(format!("stable:{i}").as_bytes()), Some(&1));
        }
        prop_assert!(seen.values().all(|count| *count == 1));
    }
}

#[test]
fn databases_beyond_the_configured_ones_do_not_exist() {
    let keyspace = keyspace();
    let hash = keyspace.hash(b"k");
    let mut locked = keyspace.lock_one(keyspace.shard_of(hash));
    let shard = locked.shard_mut(hash).unwrap();
    for db in [4, 1000, u32::MAX] {
        shard.put(db, hash, b"k", NewValue::Int(1), Some(1), 0);
        shard.swap_dbs(0, db);
        assert!(shard.find(db, hash, b"k").is_none());
        assert!(shard.find_mut(db, hash, b"k").is_none());
        assert!(shard.remove(db, hash, b"k").is_none());
        assert!(!shard.set_deadline(db, hash, b"k", Some(1)));
        assert_eq!(shard.scan(db, 0, |_| ()), 0);
        assert!(shard.random(db, &mut rng(1)).is_none());
        assert_eq!(shard.clear(db).len(), 0);
        assert_eq!(shard.len(db), 0);
    }
}

#[test]
fn random_reaches_every_entry() {
    let mut shard = super::one_shard();
    for i in 0..50u32 {
        let key = i.to_le_bytes();
        let hash = shard.hash(&key);
        shard.put(2, hash, &key, NewValue::Int(1), None, 0);
    }
    let mut random = rng(7);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..2000 {
        seen.insert(shard.random(2, &mut random).unwrap().key().to_vec());
    }
    assert_eq!(seen.len(), 50);
    assert!(shard.random(0, &mut random).is_none());
}
