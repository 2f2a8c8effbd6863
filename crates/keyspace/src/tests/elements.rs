//! Deadlines of elements against a map, with a simulated clock.

use super::{DB, check_sizes, one_shard};
use crate::{NewValue, OnExpired, Shard, Type, Value, ValueMut, ValueRef};
use proptest::prelude::*;
use std::collections::BTreeMap;
use values::{FieldDeadline, Hash, Set, Thresholds};

type Fields = BTreeMap<Vec<u8>, Option<u64>>;

#[derive(Default)]
struct Heard {
    elements: Vec<(Vec<u8>, Vec<u8>)>,
    emptied: Vec<Vec<u8>>,
    entries: Vec<Vec<u8>>,
}

impl OnExpired for Heard {
    fn entry(&mut self, _db: u32, key: &[u8]) {
        self.entries.push(key.to_vec());
    }

    fn element(&mut self, _db: u32, key: &[u8], kind: Type, element: &[u8]) {
        assert_eq!(kind, Type::Hash);
        self.elements.push((key.to_vec(), element.to_vec()));
    }

    fn emptied(&mut self, _db: u32, key: &[u8]) {
        self.emptied.push(key.to_vec());
    }
}

struct Model {
    shard: Shard,
    hashes: BTreeMap<Vec<u8>, Fields>,
    /// Deadlines of whole keys.
    deadlines: BTreeMap<Vec<u8>, u64>,
    now: u64,
}

fn with_hash(shard: &mut Shard, key: &[u8], change: impl FnOnce(&mut Hash)) {
    let hash = shard.hash(key);
    let is_hash = shard
        .find(DB, hash, key)
        .is_some_and(|entry| entry.value_type() == Type::Hash);
    if !is_hash {
        let value = NewValue::Owned(Value::Hash(Hash::new()));
        shard.put(DB, hash, key, value, None, 0);
    }
    let entry = shard.find_mut(DB, hash, key).expect("it was put");
    match entry.into_value_mut() {
        ValueMut::Hash(value) => change(value),
        _ => unreachable!("it is a hash"),
    }
    shard.sync_elements(DB, hash, key);
}

impl Model {
    fn set(&mut self, key: &[u8], field: &[u8], deadline: Option<u64>) {
        let limits = Thresholds::default();
        with_hash(&mut self.shard, key, |hash| {
            let deadline = deadline.map_or(FieldDeadline::Clear, FieldDeadline::At);
            hash.set(field, b"value", deadline, &limits);
        });
        let fields = self.hashes.entry(key.to_vec()).or_default();
        fields.insert(field.to_vec(), deadline);
    }

    fn remove(&mut self, key: &[u8]) {
        let hash = self.shard.hash(key);
        self.shard.remove(DB, hash, key);
        self.hashes.remove(key);
        self.deadlines.remove(key);
    }

    fn expire_key_at(&mut self, key: &[u8], deadline: u64) {
        let hash = self.shard.hash(key);
        if self.shard.set_deadline(DB, hash, key, Some(deadline)) {
            self.deadlines.insert(key.to_vec(), deadline);
        }
    }

    fn advance(&mut self, by: u64, budget: usize) {
        self.now += by;
        let mut heard = Heard::default();
        for _ in 0..10_000 {
            if !self.shard.expire_due(self.now, budget, &mut heard).more {
                break;
            }
        }
        for key in &heard.entries {
            assert!(self.deadlines.remove(key).expect("had a deadline") <= self.now);
            self.hashes.remove(key);
        }
        for (key, field) in &heard.elements {
            // Fields of a key that went as a whole a moment later.
            let Some(fields) = self.hashes.get_mut(key) else {
                continue;
            };
            let deadline = fields.remove(field).expect("was there");
            assert!(deadline.expect("had a deadline") <= self.now);
        }
        for key in &heard.emptied {
            let fields = self.hashes.remove(key);
            assert!(fields.is_none_or(|fields| fields.is_empty()));
            self.deadlines.remove(key);
        }
    }

    fn check(&self) {
        check_sizes(&self.shard, DB);
        let due = |deadline: &Option<u64>| deadline.is_some_and(|at| at <= self.now);
        for (key, fields) in &self.hashes {
            assert!(!fields.values().any(due), "overdue fields at {}", self.now);
            let hash = self.shard.hash(key);
            let entry = self.shard.find(DB, hash, key).expect("is there");
            let ValueRef::Hash(value) = entry.value() else {
                panic!("a hash")
            };
            assert_eq!(value.len(), fields.len());
            for (field, deadline) in fields {
                assert_eq!(value.deadline(field), Some(*deadline));
            }
        }
        assert_eq!(self.shard.len(DB), self.hashes.len());
        let volatile = |fields: &&Fields| fields.values().any(Option::is_some);
        let expected = self.hashes.values().filter(volatile).count();
        assert_eq!(self.shard.volatile_elements(DB), expected);
    }
}

#[derive(Clone, Debug)]
enum Op {
    Set(u8, u8, Option<u64>),
    Remove(u8),
    ExpireKey(u8, u64),
    Copy(u8, u8),
    Advance(u64, usize),
}

fn op() -> impl Strategy<Value = Op> {
    let later = || prop_oneof![1..40u64, 1..5_000u64];
    prop_oneof![
        6 => (0..6u8, 0..6u8, proptest::option::of(later())).prop_map(|(k, f, d)| Op::Set(k, f, d)),
        1 => (0..6u8).prop_map(Op::Remove),
        1 => (0..6u8, later()).prop_map(|(k, d)| Op::ExpireKey(k, d)),
        1 => (0..6u8, 0..6u8).prop_map(|(a, b)| Op::Copy(a, b)),
        4 => (0..100u64, 1..40usize).prop_map(|(by, budget)| Op::Advance(by, budget)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 128 }))]

    #[test]
    fn elements_go_when_their_time_comes(ops in proptest::collection::vec(op(), 1..120)) {
        let mut model = Model {
            shard: one_shard(),
            hashes: BTreeMap::new(),
            deadlines: BTreeMap::new(),
            now: 1_000_000,
        };
        model.advance(0, 10);
        for op in ops {
            let key = |number: u8| vec![b'k', number];
            match op {
                Op::Set(k, field, later) => {
                    let deadline = later.map(|by| model.now + by);
                    model.set(&key(k), &[field], deadline);
                }
                Op::Remove(k) => model.remove(&key(k)),
                Op::ExpireKey(k, by) => {
                    let at = model.now + by;
                    model.expire_key_at(&key(k), at);
                }
                Op::Copy(a, b) if a != b => {
                    let (from, to) = (key(a), key(b));
                    let source = model.shard.find(DB, model.shard.hash(&from), &from);
                    if let Some(value) = source.map(|entry| entry.to_value()) {
                        let hash = model.shard.hash(&to);
                        model.shard.put(DB, hash, &to, NewValue::Owned(value), None, 0);
                        let fields = model.hashes[&from].clone();
                        model.hashes.insert(to.clone(), fields);
                        model.deadlines.remove(&to);
                    }
                }
                Op::Copy(..) => {}
                Op::Advance(by, budget) => model.advance(by, budget),
            }
            model.check();
        }
    }
}

#[test]
fn elements_keep_their_deadlines_across_a_swap_of_databases() {
    let mut shard = one_shard();
    let key = b"key";
    let hash = shard.hash(key);
    let mut set = Set::new();
    let limits = Thresholds::default();
    set.add(b"a", &limits);
    set.set_deadline(b"a", Some(50));
    shard.put(DB, hash, key, NewValue::Owned(Value::Set(set)), None, 0);
    assert_eq!(shard.volatile_elements(DB), 1);
    shard.swap_dbs(DB, 1);
    assert_eq!(shard.volatile_elements(DB), 0);
    assert_eq!(shard.volatile_elements(1), 1);
    let progress = shard.expire_due(60, 100, &mut |_: u32, _: &[u8]| ());
    assert_eq!(progress.expired, 1);
    assert!(shard.find(1, hash, key).is_none());
    // A string in the place of a collection has no elements to expire.
    shard.put(DB, hash, key, NewValue::Int(1), None, 0);
    assert_eq!(shard.volatile_elements(DB), 0);
}

/// Hashes among the entries with deadlines of elements are counted, whatever becomes of the entry.
#[test]
fn hashes_with_deadlines_of_fields_are_counted() {
    let limits = Thresholds::default();
    let mut shard = one_shard();
    let hash = shard.hash(b"key");
    let set = || {
        let mut set = Set::new();
        set.add(b"a", &limits);
        set.set_deadline(b"a", Some(50));
        NewValue::Owned(Value::Set(set))
    };
    shard.put(DB, hash, b"key", set(), None, 0);
    assert_eq!(
        (shard.volatile_elements(DB), shard.volatile_hashes(DB)),
        (1, 0)
    );
    let mut value = Hash::new();
    value.set(b"f", b"v", FieldDeadline::At(90), &limits);
    shard.put(
        DB,
        hash,
        b"key",
        NewValue::Owned(Value::Hash(value)),
        None,
        0,
    );
    assert_eq!(
        (shard.volatile_elements(DB), shard.volatile_hashes(DB)),
        (1, 1)
    );
    shard.put(DB, hash, b"key", set(), None, 0);
    assert_eq!(
        (shard.volatile_elements(DB), shard.volatile_hashes(DB)),
        (1, 0)
    );
    with_hash(&mut shard, b"other", |hash| {
        hash.set(b"f", b"v", FieldDeadline::At(70), &limits);
        hash.set(b"g", b"v", FieldDeadline::At(95), &limits);
    });
    assert_eq!(shard.volatile_hashes(DB), 1);
    shard.expire_due(80, 1000, &mut |_: u32, _: &[u8]| ());
    assert_eq!(
        (shard.volatile_elements(DB), shard.volatile_hashes(DB)),
        (1, 1)
    );
    shard.expire_due(100, 1000, &mut |_: u32, _: &[u8]| ());
    assert_eq!(
        (shard.volatile_elements(DB), shard.volatile_hashes(DB)),
        (0, 0)
    );
}
