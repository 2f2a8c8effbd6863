//! Locks: atomicity over several shards, poisoning, contention.

use super::{keyspace, rng};
use crate::{Keyspace, NewValue};
use std::panic::{AssertUnwindSafe, catch_unwind};

const ACCOUNTS: u64 = 64;

fn account(number: u64) -> Vec<u8> {
    format!("account {number}").into_bytes()
}

fn balance(keyspace: &Keyspace, locked: &crate::Locked<'_>, key: &[u8]) -> i64 {
    let hash = keyspace.hash(key);
    let entry = locked.shard(hash).unwrap().find(0, hash, key).unwrap();
    entry.string().unwrap().parse_i64().unwrap()
}

fn transfer(keyspace: &Keyspace, from: &[u8], to: &[u8]) {
    let mut shards = [from, to].map(|key| keyspace.shard_of(keyspace.hash(key)));
    shards.sort_unstable();
    let distinct = if shards[0] == shards[1] {
        &shards[..1]
    } else {
        &shards[..]
    };
    let mut locked = keyspace.lock_many(distinct);
    for (key, change) in [(from, -1), (to, 1)] {
        let new = balance(keyspace, &locked, key) + change;
        let hash = keyspace.hash(key);
        locked
            .shard_mut(hash)
            .unwrap()
            .put(0, hash, key, NewValue::Int(new), None, 0);
    }
}

#[test]
fn transfers_over_two_shards_are_atomic() {
    let keyspace = keyspace();
    for number in 0..ACCOUNTS {
        let key = account(number);
        let hash = keyspace.hash(&key);
        keyspace
            .lock_one(keyspace.shard_of(hash))
            .shard_mut(hash)
            .unwrap()
            .put(0, hash, &key, NewValue::Int(100), None, 0);
    }
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let keyspace = &keyspace;
            scope.spawn(move || {
                let mut random = rng(seed);
                for _ in 0..2_000 {
                    transfer(
                        keyspace,
                        &account(random() % ACCOUNTS),
                        &account(random() % ACCOUNTS),
                    );
                    let hash = keyspace.hash(&account(random() % ACCOUNTS));
                    keyspace.prefetch_bucket(0, hash);
                    keyspace.prefetch_entry(0, hash);
                }
            });
        }
        let keyspace = &keyspace;
        scope.spawn(move || {
            for _ in 0..50 {
                let locked = keyspace.lock_all();
                let sum: i64 = (0..ACCOUNTS)
                    .map(|number| balance(keyspace, &locked, &account(number)))
                    .sum();
                assert_eq!(sum, 100 * ACCOUNTS as i64);
            }
        });
    });
    assert!(!keyspace.poisoned());
}

#[test]
fn a_panic_under_the_lock_is_recorded_and_reads_go_on() {
    let keyspace = keyspace();
    let hash = keyspace.hash(b"k");
    let index = keyspace.shard_of(hash);
    keyspace
        .lock_one(index)
        .shard_mut(hash)
        .unwrap()
        .put(0, hash, b"k", NewValue::Int(1), None, 0);
    let result = catch_unwind(AssertUnwindSafe(|| {
        let _locked = keyspace.lock_one(index);
        panic!("a handler fails");
    }));
    assert!(result.is_err());
    assert!(keyspace.poisoned());
    assert_eq!(keyspace.poisoned_shards().collect::<Vec<_>>(), [index]);
    assert!(
        keyspace
            .lock_one(index)
            .shard(hash)
            .unwrap()
            .find(0, hash, b"k")
            .is_some()
    );
    assert!(keyspace.try_lock_one(index).is_some());
    assert!(keyspace.lock_all().holds_all());
}

#[test]
fn sets_of_locks_know_what_they_hold() {
    let keyspace = keyspace();
    let mut locked = keyspace.lock_many(&[9, 3, 9, 20]);
    let numbers = |locked: &crate::Locked<'_>| {
        locked
            .shards()
            .map(|shard| shard.index())
            .collect::<Vec<_>>()
    };
    // 20 wraps to 4.
    assert_eq!(numbers(&locked), [3, 4, 9]);
    assert!(locked.holds(9) && !locked.holds(5) && !locked.holds_all());
    let other = keyspace.lock_one(5);
    assert!(!locked.try_extend(5));
    assert!(keyspace.try_lock_one(3).is_none());
    drop(other);
    assert!(locked.try_extend(5) && locked.try_extend(5) && locked.try_extend(0));
    assert!(!locked.try_extend(16));
    assert_eq!(numbers(&locked), [0, 3, 4, 5, 9]);
    assert_eq!(locked.shard_at(4).map(|shard| shard.index()), Some(4));
    assert!(locked.shard_at_mut(6).is_none());
    drop(locked);

    let mut one = keyspace.lock_one(2);
    assert!(one.try_extend(1));
    assert_eq!(numbers(&one), [1, 2]);
    drop(one);
    assert!(keyspace.lock_many(&[]).shards().next().is_none());
    let all = keyspace.lock_all();
    assert!(all.holds_all());
    assert_eq!(numbers(&all), (0..16).collect::<Vec<_>>());
}

#[test]
fn attachments_lie_under_the_lock() {
    let options = crate::Options {
        shards: 20,
        databases: 0,
        hash_seed: [0, 0],
    };
    let keyspace = Keyspace::new_with(options, |index| Box::new(vec![index]));
    assert_eq!((keyspace.shard_count(), keyspace.databases()), (32, 1));
    let mut locked = keyspace.lock_all();
    for shard in locked.shards_mut() {
        let index = shard.index();
        assert_eq!(shard.attachment::<Vec<usize>>(), Some(&vec![index]));
        assert_eq!(shard.attachment::<String>(), None);
        shard.attachment_mut::<Vec<usize>>().unwrap().push(1);
    }
    assert_eq!(
        locked.shard_at(7).unwrap().attachment::<Vec<usize>>(),
        Some(&vec![7, 1])
    );
}

#[test]
fn what_is_removed_may_be_freed_elsewhere() {
    let keyspace = keyspace();
    let mut locked = keyspace.lock_all();
    for number in 0..2_000u32 {
        let key = number.to_le_bytes();
        let hash = keyspace.hash(&key);
        let text = vec![b'x'; if number % 100 == 0 { 70_000 } else { 10 }];
        locked
            .shard_mut(hash)
            .unwrap()
            .put(1, hash, &key, NewValue::Bytes(&text), Some(9), 0);
    }
    let key = 100u32.to_le_bytes();
    let hash = keyspace.hash(&key);
    let removed = locked
        .shard_mut(hash)
        .unwrap()
        .remove(1, hash, &key)
        .unwrap();
    let cleared: Vec<_> = locked.shards_mut().map(|shard| shard.clear(1)).collect();
    assert_eq!(cleared.iter().map(|part| part.len()).sum::<usize>(), 1_999);
    drop(locked);
    std::thread::spawn(move || drop((removed, cleared)))
        .join()
        .unwrap();
    assert_eq!(
        keyspace.db_stats(1),
        crate::DatabaseStats {
            wheel_bytes: 0,
            ..Default::default()
        }
    );
}
