//! Sorted sets with nodes of their real size against a plain model (the unit tests have small
//! nodes).

use std::collections::{BTreeMap, BTreeSet};
use values::{Element, Inserted, ScoreRange, SortedSet, SortedSetBuilder, Thresholds};

/// Members by name, and in order: scores are whole here, so that they have an order as integers.
#[derive(Default)]
struct Model {
    scores: BTreeMap<Vec<u8>, i64>,
    order: BTreeSet<(i64, Vec<u8>)>,
}

impl Model {
    fn insert(&mut self, member: &[u8], score: i64) -> Inserted {
        let before = self.scores.insert(member.to_vec(), score);
        if let Some(before) = before {
            self.order.remove(&(before, member.to_vec()));
        }
        self.order.insert((score, member.to_vec()));
        match before {
            None => Inserted::Added,
            Some(before) if before == score => Inserted::Same,
            Some(_) => Inserted::Moved,
        }
    }

    fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let score = self.scores.remove(member)?;
        self.order.remove(&(score, member.to_vec()));
        Some(score as f64)
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((u128::from(self.0) * bound as u128) >> 64) as usize
    }
}

const LIMITS: Thresholds = Thresholds {
    hash_entries: 0,
    hash_value: 0,
    set_integers: 0,
    set_entries: 0,
    set_value: 0,
    zset_entries: 128,
    zset_value: 64,
    list_size: -2,
    list_compress: 0,
};

fn owned((member, score): (Element<'_>, f64)) -> (i64, Vec<u8>) {
    (score as i64, member.to_vec())
}

fn compare(set: &SortedSet, model: &Model) {
    assert_eq!(set.len(), model.order.len());
    assert!(set.iter().map(owned).eq(model.order.iter().cloned()));
    assert!(
        set.iter()
            .rev()
            .map(owned)
            .eq(model.order.iter().rev().cloned())
    );
    for (rank, (score, member)) in model.order.iter().enumerate().step_by(97) {
        assert_eq!(set.rank(member), Some((rank, *score as f64)));
        let (min, max) = (*score as f64, *score as f64 + 50.0);
        let range = ScoreRange {
            min,
            min_exclusive: true,
            max,
            max_exclusive: false,
        };
        let start = model.order.range(..(score + 1, Vec::new())).count();
        let end = model.order.range(..(score + 51, Vec::new())).count();
        assert_eq!(set.score_range(&range), start..end);
    }
}

/// Random changes; scores are below `scores`, members among `members`.
fn change(set: &mut SortedSet, model: &mut Model, rounds: usize, members: usize, scores: usize) {
    let mut random = Random(rounds as u64 ^ scores as u64);
    for _ in 0..rounds {
        let member = format!("member:{:07}", random.below(members)).into_bytes();
        let score = random.below(scores) as i64 - scores as i64 / 2;
        match random.below(20) {
            0..10 => {
                let expected = model.insert(&member, score);
                assert_eq!(set.insert(&member, score as f64, &LIMITS), expected);
            }
            10..14 => {
                let score = model.scores.get(&member).map_or(0, |there| there + 1);
                let expected = model.insert(&member, score);
                assert_eq!(set.insert(&member, score as f64, &LIMITS), expected);
            }
            _ => assert_eq!(set.remove(&member), model.remove(&member)),
        }
    }
}

#[test]
fn random_changes() {
    for (members, scores) in [(20_000, 1 << 40), (20_000, 100), (5_000, 1)] {
        let (mut set, mut model) = (SortedSet::new(), Model::default());
        for _ in 0..3 {
            change(&mut set, &mut model, 30_000, members, scores);
            compare(&set, &model);
        }
        let copy = set.clone();
        while !model.order.is_empty() {
            let count = model.order.len() / 3 + 1;
            let start = (model.order.len() - count) / 2;
            let gone: Vec<_> = model
                .order
                .iter()
                .skip(start)
                .take(count)
                .cloned()
                .collect();
            let mut removed = Vec::new();
            set.remove_range(start..start + count, &mut |member, score| {
                removed.push(owned((member, score)));
            });
            assert_eq!(removed, gone);
            gone.iter().for_each(|(_, member)| {
                model.remove(member);
            });
            compare(&set, &model);
        }
        assert!(set.is_empty() && !copy.is_empty());
    }
}

#[test]
fn ascending_and_descending_scores_fill_leaves() {
    for sign in [1, -1] {
        let (mut set, mut model) = (SortedSet::new(), Model::default());
        for n in 0..20_000i64 {
            let member = format!("{n:016}").into_bytes();
            model.insert(&member, n * sign);
            set.insert(&member, (n * sign) as f64, &LIMITS);
        }
        compare(&set, &model);
        // 24 in the member's block, 8 in the leaf, at most 12 in the table, and less than 1 for
        // nodes.
        assert!(set.heap_bytes() < 20_000 * 45);
    }
}

#[test]
fn built_at_once() {
    let mut random = Random(7);
    let (mut builder, mut model) = (SortedSetBuilder::new(), Model::default());
    for _ in 0..60_000 {
        let member = format!("{}", random.below(30_000)).into_bytes();
        let score = random.below(1000) as i64;
        let sum = model
            .scores
            .get(&member)
            .map_or(score, |there| there + score);
        model.insert(&member, sum);
        builder.merge(&member, score as f64, |a, b| a + b);
    }
    let mut set = builder.finish(&LIMITS);
    assert!(!set.is_packed());
    compare(&set, &model);
    change(&mut set, &mut model, 30_000, 30_000, 1_000_000);
    compare(&set, &model);
}
