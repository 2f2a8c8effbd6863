//! Both forms against a plain model. Nodes of the tree are small here, see `tree`; with nodes of
//! their real size the same is done by the crate's integration tests.

use super::*;
use crate::DIGITS;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Always indexed, packed while small, packed as long as it can be.
const LIMITS: [(usize, usize); 3] = [(0, 0), (12, 8), (100_000, 1 << 20)];

fn limits(which: usize) -> Thresholds {
    let (zset_entries, zset_value) = LIMITS[which % LIMITS.len()];
    Thresholds {
        zset_entries,
        zset_value,
        ..Thresholds::default()
    }
}

type Name = Vec<u8>;

/// Members with scores and deadlines.
#[derive(Clone, Default)]
struct Model(BTreeMap<Name, (f64, Option<u64>)>);

impl Model {
    fn order(&self) -> Vec<(Name, f64)> {
        let mut all: Vec<_> = self.0.iter().map(|(m, it)| (m.clone(), it.0)).collect();
        all.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap().then_with(|| a.0.cmp(&b.0)));
        all
    }
}

fn owned((member, score): (Element<'_>, f64)) -> (Name, f64) {
    (member.to_vec(), score)
}

#[derive(Clone, Debug)]
enum Step {
    Insert(Name, f64),
    Add(Name, f64),
    Remove(Name),
    RemoveRange(usize, usize),
    Deadline(Name, Option<u64>),
    Expire(u64, usize),
    Ascending(u8, f64),
    Descending(u8, f64),
    Clone,
}

/// Few different members, some integers, some long, some with common beginnings.
fn names() -> impl Strategy<Value = Name> {
    prop_oneof![
        4 => (0u32..60).prop_map(|n| format!("{n}").into_bytes()),
        4 => (0u32..60).prop_map(|n| format!("member:{n:04}").into_bytes()),
        1 => (60usize..68, 0u8..4).prop_map(|(len, byte)| vec![byte; len]),
        1 => Just(Vec::new()),
    ]
}

fn scores() -> impl Strategy<Value = f64> {
    prop_oneof![
        3 => (-3i32..4).prop_map(f64::from),
        3 => -1e6..1e6f64,
        2 => (0u32..1000).prop_map(|n| f64::from(n) / 1000.0),
        1 => (0u64..40).prop_map(|n| f64::from_bits(1.0f64.to_bits() + n)),
        1 => prop_oneof![
            Just(f64::INFINITY),
            Just(f64::NEG_INFINITY),
            Just(-0.0),
            Just(0.0),
            Just(f64::MAX),
            Just(f64::MIN),
            Just(5e-324)
        ],
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (names(), scores()).prop_map(|(m, s)| Step::Insert(m, s)),
        4 => (names(), -2.0..2.0f64).prop_map(|(m, s)| Step::Add(m, s)),
        5 => names().prop_map(Step::Remove),
        1 => (0usize..140, 0usize..40).prop_map(|(a, n)| Step::RemoveRange(a, a + n)),
        1 => (names(), prop::option::of(0u64..50)).prop_map(|(m, d)| Step::Deadline(m, d)),
        1 => (0u64..50, 0usize..6).prop_map(|(now, n)| Step::Expire(now, n)),
        1 => (1u8..40, scores()).prop_map(|(n, s)| Step::Ascending(n, s)),
        1 => (1u8..40, scores()).prop_map(|(n, s)| Step::Descending(n, s)),
        1 => Just(Step::Clone),
    ]
}

fn insert(set: &mut SortedSet, model: &mut Model, member: &[u8], score: f64, limits: &Thresholds) {
    let before = model.0.get(member).map(|it| it.0);
    let expected = match before {
        None => Inserted::Added,
        Some(there) if there == score => Inserted::Same,
        Some(_) => Inserted::Moved,
    };
    let entry = model.0.entry(member.to_vec()).or_insert((score, None));
    if expected == Inserted::Moved {
        entry.0 = score;
    }
    assert_eq!(set.insert(member, score, limits), expected);
}

fn apply(set: &mut SortedSet, model: &mut Model, step: &Step, limits: &Thresholds) {
    match step {
        Step::Insert(member, score) => insert(set, model, member, *score, limits),
        Step::Add(member, by) => {
            let score = model.0.get(member).map_or(0.0, |it| it.0) + by;
            insert(set, model, member, score, limits);
        }
        Step::Remove(member) => {
            let expected = model.0.remove(member).map(|it| it.0);
            assert_eq!(set.remove(member), expected);
        }
        Step::RemoveRange(start, end) => {
            let all = model.order();
            let gone = &all[(*start).min(all.len())..(*end).min(all.len())];
            model
                .0
                .retain(|member, _| !gone.iter().any(|it| it.0 == *member));
            let mut removed = Vec::new();
            let count = set.remove_range(*start..*end, &mut |m, s| removed.push(owned((m, s))));
            assert_eq!((count, &removed[..]), (gone.len(), gone));
        }
        Step::Deadline(member, deadline) => {
            let there = model.0.get_mut(member);
            assert_eq!(set.set_deadline(member, *deadline), there.is_some());
            if let Some(there) = there {
                there.1 = *deadline;
            }
        }
        Step::Expire(now, budget) => expire(set, model, *now, *budget),
        Step::Ascending(count, from) => {
            for n in 0..*count {
                let name = format!("up:{n}").into_bytes();
                insert(set, model, &name, from + f64::from(n), limits);
            }
        }
        Step::Descending(count, from) => {
            for n in 0..*count {
                let name = format!("down:{n}").into_bytes();
                insert(set, model, &name, from - f64::from(n), limits);
            }
        }
        Step::Clone => *set = set.clone(),
    }
}

fn expire(set: &mut SortedSet, model: &mut Model, now: u64, budget: usize) {
    let due = |it: &(&Name, &(f64, Option<u64>))| it.1.1.filter(|at| *at <= now);
    let mut all: Vec<u64> = model.0.iter().filter_map(|it| due(&it)).collect();
    all.sort_unstable();
    all.truncate(budget);
    let mut gone = Vec::new();
    let count = set.expire(now, budget, &mut |member| {
        let (_, deadline) = model.0.remove(member).unwrap();
        gone.push(deadline.unwrap());
    });
    assert_eq!((count, gone), (all.len(), all));
}

fn compare(set: &SortedSet, model: &Model) {
    set.check();
    let all = model.order();
    assert_eq!(set.len(), all.len());
    assert!(set.iter().map(owned).eq(all.iter().cloned()));
    assert!(set.iter().rev().map(owned).eq(all.iter().rev().cloned()));
    for (rank, (member, score)) in all.iter().enumerate() {
        assert_eq!(set.rank(member), Some((rank, *score)));
        assert_eq!(set.score(member), Some(*score));
        assert_eq!(set.deadline(member), Some(model.0[member].1));
    }
    assert_eq!(set.rank(b"nobody"), None);
    let deadlines = model.0.values().filter_map(|it| it.1);
    assert_eq!(set.volatile_len(), deadlines.clone().count());
    assert_eq!(set.next_deadline(), deadlines.min());
}

fn compare_ranges(set: &SortedSet, model: &Model, bounds: &[(Name, f64)]) {
    let all = model.order();
    for (a, b) in bounds.iter().zip(bounds.iter().skip(1)) {
        for flags in 0..4 {
            let (min_exclusive, max_exclusive) = (flags & 1 > 0, flags & 2 > 0);
            let range = ScoreRange {
                min: a.1,
                min_exclusive,
                max: b.1,
                max_exclusive,
            };
            let start = all.partition_point(|it| it.1 < a.1 || min_exclusive && it.1 == a.1);
            let end = all.partition_point(|it| it.1 < b.1 || !max_exclusive && it.1 == b.1);
            assert_eq!(set.score_range(&range), start..end.max(start));
        }
        let (start, end) = (a.0.len() * 3, b.0.len() * 5);
        let expected = &all[start.min(end).min(all.len())..end.min(all.len())];
        let range = set.range(start..end);
        assert_eq!(range.len(), expected.len());
        assert!(range.map(owned).eq(expected.iter().cloned()));
        let mut both = set.range(start..end);
        let mut expected = expected.iter().cloned();
        loop {
            assert_eq!(both.next().map(owned), expected.next());
            assert_eq!(both.len(), expected.len());
            let last = expected.next_back();
            assert_eq!(both.next_back().map(owned), last);
            assert_eq!(both.nth(1).map(owned), expected.nth(1));
            assert_eq!(both.nth_back(1).map(owned), expected.nth_back(1));
            if last.is_none() {
                break;
            }
        }
    }
}

fn cases() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(if cfg!(miri) { 3 } else { 96 })
    }
}

fn some<T: std::fmt::Debug>(one: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(one, 0..if cfg!(miri) { 60 } else { 300 })
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn both_forms_do_what_the_model_does(
        steps in some(steps()),
        which in 0usize..3,
        bounds in prop::collection::vec((names(), scores()), 8),
    ) {
        let limits = limits(which);
        let (mut set, mut model) = (SortedSet::new(), Model::default());
        for (n, step) in steps.iter().enumerate() {
            apply(&mut set, &mut model, step, &limits);
            if n % 16 == 0 {
                compare(&set, &model);
            }
        }
        compare(&set, &model);
        compare_ranges(&set, &model, &bounds);
    }

    #[test]
    fn members_with_one_score_are_in_their_order(
        members in some(names()),
        gone in some(names()),
        bounds in prop::collection::vec(names(), 4),
        which in 0usize..3,
    ) {
        let limits = limits(which);
        let (mut set, mut model) = (SortedSet::new(), Model::default());
        members.iter().for_each(|m| insert(&mut set, &mut model, m, 1.5, &limits));
        for member in gone.iter().take(gone.len() / 2) {
            apply(&mut set, &mut model, &Step::Remove(member.clone()), &limits);
        }
        compare(&set, &model);
        let all: Vec<Name> = model.order().into_iter().map(|it| it.0).collect();
        let before = |bound: LexBound<'_>, is_max: bool| match bound {
            LexBound::Min => 0,
            LexBound::Max => all.len(),
            LexBound::Inclusive(text) => {
                all.partition_point(|it| &it[..] < text || is_max && it == text)
            }
            LexBound::Exclusive(text) => {
                all.partition_point(|it| &it[..] < text || !is_max && it == text)
            }
        };
        let of = |text| [LexBound::Inclusive(text), LexBound::Exclusive(text)];
        let ends = [LexBound::Min, LexBound::Max];
        let all_bounds = bounds.iter().flat_map(|it| of(it)).chain(ends);
        for min in all_bounds.clone() {
            for max in all_bounds.clone() {
                let start = before(min, false);
                let expected = start..before(max, true).max(start);
                prop_assert_eq!(set.lex_range(&LexRange { min, max }), expected);
            }
        }
    }

    #[test]
    fn a_builder_makes_the_same_set(
        members in some((names(), scores())),
        more in some(steps()),
        which in 0usize..3,
    ) {
        let limits = limits(which);
        let (mut builder, mut model) = (SortedSetBuilder::with_capacity(which), Model::default());
        for (member, score) in &members {
            builder.merge(member, *score, f64::max);
            let there = model.0.entry(member.clone()).or_insert((*score, None));
            there.0 = there.0.max(*score);
        }
        prop_assert_eq!(builder.len(), model.0.len());
        let mut set = builder.finish(&limits);
        compare(&set, &model);
        let small = model.0.len() <= limits.zset_entries
            && model.0.keys().all(|it| it.len() <= limits.zset_value);
        prop_assert_eq!(set.is_packed(), small);
        for step in more.iter().take(more.len() / 4) {
            apply(&mut set, &mut model, step, &limits);
        }
        compare(&set, &model);
    }

    #[test]
    fn a_scan_sees_each_member_once(members in some((names(), scores())), which in 0usize..3) {
        let limits = limits(which);
        let (mut set, mut model) = (SortedSet::new(), Model::default());
        members.iter().for_each(|(m, s)| insert(&mut set, &mut model, m, *s, &limits));
        let (mut seen, mut cursor) = (Vec::new(), 0);
        loop {
            cursor = set.scan(cursor, |member, score| seen.push(owned((member, score))));
            assert!(cursor < 1 << 48);
            if cursor == 0 {
                break;
            }
        }
        seen.sort_by(|a, b| a.partial_cmp(b).unwrap());
        let expected = model.0.iter().map(|(member, it)| (member.clone(), it.0));
        prop_assert!(seen.into_iter().eq(expected));
    }

    #[test]
    fn packed_bytes_come_back(members in some((names(), scores()))) {
        let limits = limits(2);
        let (mut set, mut model) = (SortedSet::new(), Model::default());
        members.iter().for_each(|(m, s)| insert(&mut set, &mut model, m, *s, &limits));
        let again = SortedSet::from_listpack(set.pack_bytes().unwrap()).unwrap();
        compare(&again, &model);
        set.convert(&Thresholds { zset_entries: 0, ..limits });
        prop_assert_eq!(set.is_packed(), model.0.is_empty());
        compare(&set, &model);
    }

    #[test]
    fn bytes_from_outside_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(set) = SortedSet::from_listpack(&bytes) {
            set.check();
        }
    }
}

fn listpack(elements: &[&str]) -> Listpack {
    let mut listpack = Listpack::new();
    elements
        .iter()
        .for_each(|it| assert!(listpack.push_back(it.as_bytes())));
    listpack
}

#[test]
fn listpacks_that_are_no_sorted_sets_are_refused() {
    for elements in [
        &["a"][..],
        &["a", "x"],
        &["a", "nan"],
        &["a", "2", "b", "1"],
        &["b", "1", "a", "1"],
        &["a", "1", "a", "1"],
        &["a", "1", "b", "2", "a", "3"],
    ] {
        assert!(SortedSet::from_listpack(listpack(elements).as_bytes()).is_err());
    }
    let good = listpack(&[
        "z", "-inf", "a", "-0.5", "b", "-0", "c", "0", "7", "1e+20", "8", "inf",
    ]);
    let set = SortedSet::from_listpack(good.as_bytes()).unwrap();
    assert_eq!(set.rank(b"7"), Some((4, 1e20)));
    assert_eq!(set.len(), 6);
}

#[test]
fn forms_change_with_the_limits() {
    let limits = limits(1);
    let mut set = SortedSet::new();
    for n in 0..12u8 {
        assert!(set.is_packed());
        set.insert(&[n], f64::from(n), &limits);
    }
    assert!(set.is_packed() && set.heap_bytes() > 0);
    assert_eq!(set.insert(&[3], 99.0, &limits), Inserted::Moved);
    assert!(set.is_packed());
    set.insert(b"one more", 1.5, &limits);
    assert!(!set.is_packed());
    assert_eq!(set.remove_range(0..usize::MAX, &mut |_, _| ()), 13);
    assert!(!set.is_packed() && set.is_empty());
    let mut set = SortedSet::new();
    set.insert(b"123456789", 1.0, &limits);
    assert!(!set.is_packed());
    let mut set = SortedSet::new();
    set.insert(b"volatile", 1.0, &limits);
    assert!(!set.set_deadline(b"nobody", Some(1)) && set.is_packed());
    assert!(set.set_deadline(b"volatile", None) && set.is_packed());
    assert!(set.set_deadline(b"volatile", Some(5)) && !set.is_packed());
    assert_eq!((set.volatile_len(), set.next_deadline()), (1, Some(5)));
    assert_eq!(set.expire(4, 10, &mut |_| ()), 0);
    assert_eq!(set.expire(5, 10, &mut |_| ()), 1);
    assert!(set.is_empty());
}

#[test]
fn a_long_member_is_no_trouble() {
    let long = vec![b'x'; if cfg!(miri) { 5000 } else { 1 << 20 }];
    for which in [0, 2] {
        let limits = limits(which);
        let mut set = SortedSet::new();
        set.insert(&long, 0.1, &limits);
        set.insert(b"short", 0.2, &limits);
        assert_eq!(set.rank(&long), Some((0, 0.1)));
        assert_eq!(set.insert(&long, 0.3, &limits), Inserted::Moved);
        assert_eq!(set.rank(&long), Some((1, 0.3)));
        set.check();
    }
}

#[test]
fn random_members_are_those_that_are_there() {
    let (mut set, mut state) = (SortedSet::new(), 1u64);
    let mut rng = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state
    };
    assert!(set.random(&mut rng).is_none());
    for n in 0..50u8 {
        set.insert(&[n], 0.0, &limits(0));
    }
    let mut seen = [false; 50];
    for _ in 0..2000 {
        let (member, score) = set.random(&mut rng).unwrap();
        seen[usize::from(member.as_bytes(&mut { DIGITS })[0])] = score == 0.0;
    }
    assert!(seen.iter().all(|it| *it));
}
