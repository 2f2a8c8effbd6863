//! Victims of all policies.

use super::{DB, one_shard, rng};
use crate::lru::{self, Lfu};
use crate::{Choice, NewValue, Policy, Shard};

const NOW: u64 = 1_800_000_000_000;

fn choice(policy: Policy) -> Choice {
    Choice {
        policy,
        samples: 5,
        now_ms: NOW,
        lfu: Lfu::default(),
    }
}

/// 400 keys in two databases; the higher the number, the worse a victim. Even ones have a deadline.
fn filled(policy: Policy) -> Shard {
    let mut shard = one_shard();
    for number in 0..400u32 {
        let key = number.to_le_bytes();
        let hash = shard.hash(&key);
        let field = if policy.is_lfu() {
            Lfu::field((number / 2) as u8, NOW)
        } else {
            lru::from_idle_ms(u64::from(1_000 - number) * 1_000, NOW)
        };
        let deadline = number
            .is_multiple_of(2)
            .then(|| NOW + u64::from(number) * 1_000);
        shard.put(
            number % 4 / 2,
            hash,
            &key,
            NewValue::Int(1),
            deadline,
            field,
        );
    }
    shard
}

fn number_of(key: &[u8]) -> u32 {
    u32::from_le_bytes(key.try_into().unwrap())
}

#[test]
fn names_go_both_ways() {
    for policy in Policy::ALL {
        assert_eq!(
            Policy::from_name(&policy.to_string().to_uppercase()),
            Some(policy)
        );
    }
    assert_eq!(Policy::from_name("lru"), None);
}

#[test]
fn victims_are_good_ones() {
    for policy in Policy::ALL {
        let mut shard = filled(policy);
        let mut random = rng(3);
        let choice = choice(policy);
        let mut victims = Vec::new();
        for _ in 0..100 {
            let Some(victim) = shard.pick_victim(&choice, &mut random) else {
                break;
            };
            let removed = shard.remove(victim.db, victim.hash, &victim.key).unwrap();
            assert!(!policy.volatile_only() || removed.deadline().is_some());
            victims.push(number_of(&victim.key));
        }
        if policy == Policy::NoEviction {
            assert!(victims.is_empty());
            continue;
        }
        assert_eq!(victims.len(), 100, "{policy}");
        let average = victims.iter().sum::<u32>() / 100;
        match policy.is_random() {
            true => assert!((120..280).contains(&average), "{policy}: {average}"),
            // The best possible average is 50 of all keys, 100 of those with a deadline.
            false => assert!(average < 150, "{policy}: {average}"),
        }
    }
}

#[test]
fn volatile_policies_end_with_the_volatile_keys() {
    for policy in [
        Policy::VolatileLru,
        Policy::VolatileLfu,
        Policy::VolatileRandom,
        Policy::VolatileTtl,
    ] {
        let mut shard = filled(policy);
        let mut random = rng(5);
        let mut misses = 0;
        while shard.volatile(0) + shard.volatile(1) > 0 {
            match shard.pick_victim(&choice(policy), &mut random) {
                Some(victim) => drop(shard.remove(victim.db, victim.hash, &victim.key).unwrap()),
                None => misses += 1,
            }
            assert!(misses < 1000, "{policy}");
        }
        assert!(shard.pick_victim(&choice(policy), &mut random).is_none());
        assert_eq!(shard.len(0) + shard.len(1), 200);
    }
}

#[test]
fn a_few_volatile_keys_among_many_are_found() {
    let mut shard = one_shard();
    for number in 0..10_000u32 {
        let key = number.to_le_bytes();
        let hash = shard.hash(&key);
        let deadline = number.is_multiple_of(1000).then_some(NOW);
        shard.put(DB, hash, &key, NewValue::Int(1), deadline, 0);
    }
    let mut random = rng(9);
    let mut seen = 0;
    shard.sample_for_eviction(DB, true, &mut random, 5, |entry| {
        assert!(entry.deadline().is_some());
        seen += 1;
    });
    assert!(seen > 0);
}

#[test]
fn remembered_candidates_that_are_gone_are_not_chosen() {
    let mut shard = filled(Policy::AllKeysLru);
    let mut random = rng(11);
    shard
        .pick_victim(&choice(Policy::AllKeysLru), &mut random)
        .unwrap();
    drop(shard.clear(0));
    drop(shard.clear(1));
    assert!(
        shard
            .pick_victim(&choice(Policy::AllKeysLru), &mut random)
            .is_none()
    );
}
