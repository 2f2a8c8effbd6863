//! Locks: atomicity over several shards, poisoning, contention.

use super::{keyspace, rng, stats};
use crate::{GaveUp, Keyspace, Locked, NewValue};

const ACCOUNTS: u64 = 64;

fn account(number: u64) -> Vec<u8> {
    format!("account {number}").into_bytes()
}

fn balance(keyspace: &Keyspace, locked: &Locked<'_>, key: &[u8]) -> i64 {
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
                for _ in 0..if cfg!(miri) { 20 } else { 2_000 } {
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
            for _ in 0..if cfg!(miri) { 3 } else { 50 } {
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

/// Panics while it holds what `lock` locks.
fn panic_under(keyspace: &Keyspace, lock: fn(&Keyspace) -> Locked<'_>) {
    let panicked = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let _locked = lock(keyspace);
            panic!("a handler fails");
        });
        thread.join().is_err()
    });
    assert!(panicked);
}

#[test]
fn a_panic_under_locks_poisons_the_keyspace_and_unlocks_the_shards() {
    let locks: [fn(&Keyspace) -> Locked<'_>; 4] = [
        |keyspace| keyspace.lock_one(3),
        |keyspace| keyspace.lock_many(&[2, 3, 7]),
        |keyspace| keyspace.lock_all(),
        |keyspace| {
            let mut locked = keyspace.lock_many(&[]);
            assert!(locked.try_extend(3));
            locked
        },
    ];
    for lock in locks {
        let keyspace = keyspace();
        let hash = keyspace.hash(b"k");
        let index = keyspace.shard_of(hash);
        let mut locked = keyspace.lock_one(index);
        locked
            .held_mut(hash)
            .put(0, hash, b"k", NewValue::Int(1), None, 0);
        drop(locked);
        assert!(!keyspace.poisoned());
        panic_under(&keyspace, lock);
        assert!(keyspace.poisoned());
        let all = keyspace.lock_all_patient(&mut || false).unwrap();
        assert!(all.holds_all());
        assert!(all.held(hash).find(0, hash, b"k").is_some());
        drop(all);
        assert!(keyspace.lock_one_patient(3, &mut || false).is_ok());
        assert!(keyspace.poisoned());
    }
}

#[test]
fn a_panic_outside_of_locks_does_not_poison() {
    let keyspace = keyspace();
    panic_under(&keyspace, |keyspace| keyspace.lock_many(&[]));
    assert!(!keyspace.poisoned());
}

#[test]
fn a_set_without_the_shard_is_a_clear_panic() {
    let keyspace = keyspace();
    let hash = keyspace.hash(b"k");
    let other = (keyspace.shard_of(hash) + 1) % keyspace.shard_count();
    let message = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            keyspace.lock_one(other).held_mut(hash).clear(0);
        });
        *thread.join().unwrap_err().downcast::<String>().unwrap()
    });
    let expected = format!("shard {} is used but not locked", keyspace.shard_of(hash));
    assert!(message.ends_with(&expected), "{message}");
}

#[test]
fn patience_is_asked_while_a_shard_is_locked_only() {
    let keyspace = keyspace();
    let held = keyspace.lock_many(&[4, 9]);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let never: &mut dyn FnMut() -> bool = &mut || unreachable!("the shard is free");
            assert!(keyspace.lock_one_patient(5, never).is_ok());
            assert!(keyspace.lock_many_patient(&[3, 5], never).is_ok());
            let mut asked = 0;
            let mut thrice = || {
                asked += 1;
                asked % 3 != 0
            };
            assert!(matches!(
                keyspace.lock_one_patient(4, &mut thrice),
                Err(GaveUp)
            ));
            assert!(matches!(
                keyspace.lock_many_patient(&[3, 9], &mut thrice),
                Err(GaveUp)
            ));
            assert!(matches!(
                keyspace.lock_all_patient(&mut thrice),
                Err(GaveUp)
            ));
            assert_eq!(asked, 9);
            // What was given up is free.
            assert!(keyspace.lock_many_patient(&[0, 1, 2, 3, 5], never).is_ok());
        });
        thread.join().unwrap();
    });
    drop(held);
    assert!(keyspace.lock_all_patient(&mut || false).is_ok());
}

#[test]
fn the_extension_right_is_exclusive() {
    let keyspace = keyspace();
    let right = keyspace.extension_right();
    std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            assert!(keyspace.try_extension_right().is_none());
            assert!(keyspace.extension_right_patient(&mut || false).is_err());
        });
        others.join().unwrap();
    });
    let mut locked = keyspace.lock_many(&[7, 9]);
    for shard in [8, 1, 9, 17] {
        locked.extend(&right, shard);
    }
    assert_eq!(locked.numbers().collect::<Vec<_>>(), [1, 7, 8, 9]);
    locked.extend_to_all(&right);
    assert!(locked.holds_all());
    assert!(locked.shard_at(12).is_some_and(|shard| shard.index() == 12));
    drop(locked);
    drop(right);
    assert!(keyspace.try_extension_right().is_some());
}

#[test]
fn an_extension_takes_a_shard_from_a_request_that_waits() {
    let keyspace = keyspace();
    let right = keyspace.extension_right();
    let mut locked = keyspace.lock_one(9);
    std::thread::scope(|scope| {
        let all = scope.spawn(|| keyspace.lock_all().holds_all());
        // The request for all shards holds the lower ones and waits for shard 9.
        while keyspace.lock_one_patient(8, &mut || false).is_ok() {
            std::thread::yield_now();
        }
        locked.extend(&right, 3);
        assert!(locked.holds(3));
        drop(locked);
        drop(right);
        assert!(all.join().unwrap());
    });
}

#[test]
fn an_extension_can_be_given_up() {
    let keyspace = keyspace();
    let other = keyspace.lock_one(2);
    std::thread::scope(|scope| {
        let script = scope.spawn(|| {
            let right = keyspace.extension_right();
            let mut locked = keyspace.lock_one(9);
            let result = locked.extend_patient(&right, 2, &mut || false);
            assert_eq!(result, Err(GaveUp));
            let result = locked.extend_to_all_patient(&right, &mut || false);
            assert_eq!(result, Err(GaveUp));
            assert_eq!(locked.numbers().collect::<Vec<_>>(), [0, 1, 9]);
        });
        script.join().unwrap();
    });
    drop(other);
    assert!(keyspace.lock_all_patient(&mut || false).is_ok());
}

#[test]
#[should_panic(expected = "by a thread that holds shards")]
fn the_right_is_not_for_threads_that_hold_shards() {
    let keyspace = keyspace();
    let _locked = keyspace.lock_one(1);
    let _right = keyspace.try_extension_right();
}

#[test]
#[should_panic(expected = "by a thread that holds shards or the right")]
fn the_right_is_not_taken_twice() {
    let keyspace = keyspace();
    let _right = keyspace.extension_right();
    let _again = keyspace.extension_right();
}

#[test]
#[should_panic(expected = "one of another keyspace")]
fn the_right_of_another_keyspace_does_not_count() {
    let (keyspace, other) = (keyspace(), keyspace());
    let right = other.extension_right();
    keyspace.lock_one(1).extend(&right, 0);
}

#[test]
fn sets_of_locks_know_what_they_hold() {
    let keyspace = keyspace();
    let mut locked = keyspace.lock_many(&[9, 3, 9, 20]);
    let numbers = |locked: &Locked<'_>| {
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
    std::thread::scope(|scope| {
        let refused = scope.spawn(|| keyspace.lock_one_patient(3, &mut || false).is_err());
        assert!(refused.join().unwrap());
    });
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
    let keyspace = Keyspace::<Vec<usize>>::new(options);
    assert_eq!((keyspace.shard_count(), keyspace.databases()), (32, 1));
    let mut locked = keyspace.lock_all();
    for shard in locked.shards_mut() {
        let index = shard.index();
        shard.attachments.push(index);
    }
    drop(locked);
    let locked = keyspace.lock_one(7);
    assert_eq!(locked.shard_at(7).unwrap().attachments, [7]);
}

#[test]
fn what_is_removed_may_be_freed_elsewhere() {
    let keyspace = keyspace();
    let mut locked = keyspace.lock_all();
    let count = if cfg!(miri) { 200 } else { 2_000 };
    for number in 0..count {
        let key = u32::to_le_bytes(number);
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
    assert_eq!(
        cleared.iter().map(|part| part.len()).sum::<usize>(),
        count as usize - 1
    );
    drop(locked);
    std::thread::spawn(move || drop((removed, cleared)))
        .join()
        .unwrap();
    assert_eq!(
        stats(&keyspace, 1),
        crate::DatabaseStats {
            wheel_bytes: 0,
            ..Default::default()
        }
    );
}
