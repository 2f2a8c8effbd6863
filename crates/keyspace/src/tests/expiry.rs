//! Expiry against a map of deadlines, with a simulated clock.

use super::{DB, keyspace, one_shard};
use crate::{NewValue, Shard};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

struct Model {
    shard: Shard,
    /// Key -> when it may be expired (its deadline) and when it must be: a deadline that has passed
    /// when it is set counts from the next millisecond.
    deadlines: BTreeMap<Vec<u8>, (u64, u64)>,
    now: u64,
}

impl Model {
    fn new(now: u64) -> Model {
        Model {
            shard: one_shard(),
            deadlines: BTreeMap::new(),
            now,
        }
    }

    fn put(&mut self, key: &[u8], deadline: Option<u64>) {
        let hash = self.shard.hash(key);
        self.shard.put(DB, hash, key, NewValue::Int(1), deadline, 0);
        self.note(key, deadline);
    }

    fn note(&mut self, key: &[u8], deadline: Option<u64>) {
        match deadline {
            Some(deadline) => {
                let due = deadline.max(self.now + 1);
                self.deadlines.insert(key.to_vec(), (deadline, due));
            }
            None => drop(self.deadlines.remove(key)),
        }
    }

    fn set_deadline(&mut self, key: &[u8], deadline: Option<u64>) {
        let hash = self.shard.hash(key);
        if self.shard.set_deadline(DB, hash, key, deadline) {
            self.note(key, deadline);
        }
    }

    fn remove(&mut self, key: &[u8]) {
        let hash = self.shard.hash(key);
        self.shard.remove(DB, hash, key);
        self.deadlines.remove(key);
    }

    /// One call. Nothing is expired early or twice.
    fn expire(&mut self, budget: usize) -> bool {
        let (now, deadlines) = (self.now, &mut self.deadlines);
        let mut expired = BTreeSet::new();
        let progress = self
            .shard
            .expire_due(now, budget, &mut |db: u32, key: &[u8]| {
                assert_eq!(db, DB);
                assert!(expired.insert(key.to_vec()));
                assert!(
                    deadlines
                        .remove(key)
                        .is_some_and(|(deadline, _)| deadline <= now)
                );
            });
        assert_eq!(progress.expired, expired.len());
        for key in expired {
            assert!(self.shard.find(DB, self.shard.hash(&key), &key).is_none());
        }
        assert_eq!(self.shard.volatile(DB), self.deadlines.len());
        if !progress.more {
            let first = self.deadlines.values().map(|(_, due)| *due).min();
            assert_eq!(progress.next_due_ms.is_some(), first.is_some());
            let next = progress.next_due_ms.unwrap_or(u64::MAX);
            assert!(first.is_none_or(|first| next <= first.max(self.now + 1)));
        }
        progress.more
    }

    /// Calls until all is done: then everything that is due is gone.
    fn expire_all(&mut self, budget: usize) {
        for _ in 0..100_000 {
            if !self.expire(budget) {
                assert!(self.deadlines.values().all(|(_, due)| *due > self.now));
                return;
            }
        }
        panic!("never done");
    }
}

#[derive(Clone, Debug)]
enum Op {
    Put(Option<u64>),
    SetDeadline(Option<u64>),
    Far(u64),
    Remove,
    Advance(u64, usize),
    Step(u64, usize),
}

fn after() -> impl Strategy<Value = u64> {
    (0u32..42).prop_flat_map(|bits| 0..1u64 << bits)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => proptest::option::weighted(0.8, after()).prop_map(Op::Put),
        4 => proptest::option::weighted(0.9, after()).prop_map(Op::SetDeadline),
        1 => any::<u64>().prop_map(Op::Far),
        1 => Just(Op::Remove),
        2 => (after(), 1usize..50).prop_map(|(by, budget)| Op::Advance(by, budget)),
        2 => (0u64..100, 1usize..8).prop_map(|(by, budget)| Op::Step(by, budget)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 128 }))]

    #[test]
    fn expires_exactly_what_is_due(
        start in prop_oneof![Just(0u64), Just(1_800_000_000_000u64)],
        ops in proptest::collection::vec((0u8..40, op()), 1..300),
    ) {
        let mut model = Model::new(start);
        for (key, op) in ops {
            let key = [key];
            let now = model.now;
            let at = |after: u64| now + after;
            match op {
                Op::Put(after) => model.put(&key, after.map(at)),
                Op::SetDeadline(after) => model.set_deadline(&key, after.map(at)),
                Op::Far(deadline) => model.set_deadline(&key, Some(deadline)),
                Op::Remove => model.remove(&key),
                Op::Advance(by, budget) => {
                    model.now += by;
                    model.expire_all(budget);
                }
                Op::Step(by, budget) => {
                    model.now += by;
                    model.expire(budget);
                }
            }
        }
        model.expire_all(1000);
    }
}

#[test]
fn repeated_deadlines_do_not_pile_up() {
    let mut model = Model::new(1_000_000);
    for key in 0..200u32 {
        model.put(&key.to_le_bytes(), None);
    }
    for round in 0..60_000u64 {
        let key = (round as u32 % 100).to_le_bytes();
        match round % 3 {
            // Longer and longer, shorter and shorter, gone and back.
            0 => model.set_deadline(&key, Some(model.now + 1_000_000 + round)),
            1 => model.set_deadline(&key, Some(model.now + 900_000 - round)),
            _ => {
                model.remove(&key);
                model.put(&key, Some(model.now + 500_000));
            }
        }
        if round % 10 == 0 {
            model.now += 1;
            model.expire(64);
        }
        let handles = model.shard.stats(DB).wheel_handles;
        assert!(handles < 6_000, "{handles} handles in round {round}");
    }
    model.now += 2_000_000;
    model.expire_all(64);
    assert_eq!(model.shard.len(DB), 100);
    assert_eq!(model.shard.stats(DB).wheel_handles, 0);
}

#[test]
fn later_deadlines_cost_no_handles() {
    let mut model = Model::new(0);
    for round in 0..10_000 {
        model.put(b"session", Some(1_000 + round));
    }
    assert_eq!(model.shard.stats(DB).wheel_handles, 1);
    model.now = 10_998;
    model.expire_all(10);
    assert_eq!(model.shard.len(DB), 1);
    model.now = 10_999;
    model.expire_all(10);
    assert_eq!(model.shard.len(DB), 0);
}

#[test]
fn small_budgets_expire_on_time_beside_many_other_keys() {
    let mut model = Model::new(1_000_000);
    model.expire(1);
    let others = 30_000u32;
    for key in 0..others {
        // All within 4 s, an hour away: they must be moved down ahead of time.
        model.put(&key.to_le_bytes(), Some(4_600_000 + u64::from(key) % 4_000));
    }
    let probes = 400u64;
    for probe in 0..probes {
        model.put(
            format!("probe {probe}").as_bytes(),
            Some(4_590_000 + probe * 20),
        );
    }
    while model.now < 4_598_000 {
        let next = model.shard.next_due_ms().min(4_598_000);
        model.now = next.max(model.now + 1);
        model.expire(100);
        // A probe is gone in the very millisecond.
        let late = model
            .deadlines
            .values()
            .filter(|(_, due)| *due <= model.now)
            .count();
        assert_eq!(late, 0, "at {}", model.now);
    }
    assert_eq!(model.shard.len(DB), others as usize);
}

#[test]
fn a_clock_that_goes_back_does_not_stop_expiry() {
    let mut model = Model::new(10_000_000);
    for key in 0..2_000u32 {
        model.put(
            &key.to_le_bytes(),
            Some(10_000_000 + 1_000 * u64::from(key)),
        );
    }
    model.expire_all(100);
    model.now = 2_000_000;
    for _ in 0..1_000 {
        model.expire(10);
    }
    model.put(b"new", Some(2_000_500));
    model.now = 2_000_500;
    model.expire_all(100);
    assert_eq!(model.shard.len(DB), 1_999);
    model.now = 20_000_000;
    model.expire_all(100);
    assert_eq!(model.shard.len(DB), 0);
}

#[test]
fn every_database_gets_its_turn() {
    let mut shard = one_shard();
    for db in 0..4 {
        for key in 0..500u32 {
            let key = key.to_le_bytes();
            let hash = shard.hash(&key);
            shard.put(db, hash, &key, NewValue::Int(1), Some(1_000), 0);
        }
    }
    let mut seen = BTreeSet::new();
    for _ in 0..4 {
        shard.expire_due(1_000, 10, &mut |db: u32, _: &[u8]| {
            seen.insert(db);
        });
    }
    assert_eq!(seen.len(), 4);
}

#[test]
fn the_next_time_is_known_without_the_lock() {
    let keyspace = keyspace();
    let hash = keyspace.hash(b"k");
    let index = keyspace.shard_of(hash);
    assert_eq!(keyspace.next_due_ms(index), None);
    let mut locked = keyspace.lock_one(index);
    locked
        .shard_mut(hash)
        .unwrap()
        .expire_due(5_000, 1, &mut |_: u32, _: &[u8]| ());
    locked
        .shard_mut(hash)
        .unwrap()
        .put(3, hash, b"k", NewValue::Int(1), Some(5_030), 0);
    drop(locked);
    assert_eq!(keyspace.next_due_ms(index), Some(5_030));
    let mut locked = keyspace.lock_one(index);
    let progress =
        locked
            .shard_at_mut(index)
            .unwrap()
            .expire_due(5_030, 10, &mut |_: u32, _: &[u8]| ());
    assert_eq!(
        (progress.expired, progress.more, progress.next_due_ms),
        (1, false, None)
    );
    drop(locked);
    assert_eq!(keyspace.next_due_ms(index), None);
}

#[test]
fn long_strings_are_freed_at_once() {
    let mut shard = one_shard();
    let hash = shard.hash(b"k");
    shard.put(
        DB,
        hash,
        b"k",
        NewValue::Bytes(&[b'x'; 100_000]),
        Some(1),
        0,
    );
    let progress = shard.expire_due(1, 10, &mut |_: u32, _: &[u8]| ());
    assert_eq!((progress.expired, progress.garbage.len()), (1, 0));
}
