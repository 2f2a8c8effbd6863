use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// Small limits, so that conversions happen.
const LIMITS: Thresholds = Thresholds {
    hash_entries: 6,
    hash_value: 12,
    set_integers: 9,
    set_entries: 6,
    set_value: 12,
    zset_entries: 6,
    zset_value: 12,
    list_size: 6,
    list_compress: 0,
};

type Model = BTreeMap<Vec<u8>, Option<u64>>;
type Load = fn(&[u8]) -> Result<Set, Malformed>;

fn cases() -> ProptestConfig {
    ProptestConfig::with_cases(if cfg!(miri) { 6 } else { 96 })
}

fn random_bits(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ mixed >> 29
    }
}

#[derive(Clone, Debug)]
enum Op {
    Add(Vec<u8>),
    Remove(Vec<u8>),
    Deadline(Vec<u8>, Option<u64>),
    Expire(u64, usize),
    Random(u64),
    Pop(u64),
    Clone,
}

fn integer() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![8 => -5..25i64, 1 => any::<i64>()]
        .prop_map(|number| number.to_string().into_bytes())
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => integer(),
        3 => "[a-c]{0,2}".prop_map(String::into_bytes),
        1 => "0[0-3]".prop_map(String::into_bytes),
        1 => (10..16usize).prop_map(|len| vec![b'x'; len]),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    // Sets of integers alone, too; else they would not stay intsets for long.
    let member = prop_oneof![integer().boxed(), text().boxed()];
    prop::bool::ANY.prop_flat_map(move |integers| {
        let member = if integers {
            integer().boxed()
        } else {
            member.clone().boxed()
        };
        let deadline = 1..100u64;
        let op = prop_oneof![
            12 => member.clone().prop_map(Op::Add),
            4 => member.clone().prop_map(Op::Remove),
            1 => (member, prop::option::weighted(0.3, deadline.clone()))
                .prop_map(|(member, at)| Op::Deadline(member, at)),
            1 => (deadline, 0..4usize).prop_map(|(now, budget)| Op::Expire(now, budget)),
            1 => any::<u64>().prop_map(Op::Random),
            1 => any::<u64>().prop_map(Op::Pop),
            1 => Just(Op::Clone),
        ];
        prop::collection::vec(op, 1..if cfg!(miri) { 20 } else { 60 })
    })
}

/// Redis's rules for a member that was not there before: the form after it came.
fn encoding_after(before: SetEncoding, others: &Model, member: &[u8]) -> SetEncoding {
    let is_integer = number::parse_canonical(member).is_some();
    let listpack_takes = others.len() < LIMITS.set_entries && member.len() <= LIMITS.set_value;
    match before {
        SetEncoding::Intset if is_integer && others.len() < LIMITS.set_integers => before,
        SetEncoding::Intset if is_integer => SetEncoding::Table,
        SetEncoding::Intset
            if listpack_takes && others.keys().all(|key| key.len() <= LIMITS.set_value) =>
        {
            SetEncoding::Listpack
        }
        SetEncoding::Listpack if listpack_takes => before,
        _ => SetEncoding::Table,
    }
}

fn apply_add(set: &mut Set, model: &mut Model, member: Vec<u8>) {
    let before = set.encoding();
    let after = match model.contains_key(&member) {
        true => before,
        false => encoding_after(before, model, &member),
    };
    let new = set.add(&member, &LIMITS);
    assert_eq!(new, !model.contains_key(&member));
    assert_eq!(set.encoding(), after);
    if new {
        model.insert(member, None);
    }
}

fn expire(set: &mut Set, model: &mut Model, now: u64, budget: usize) {
    let mut gone = Vec::new();
    let count = set.expire(now, budget, &mut |member| gone.push(member.to_vec()));
    assert_eq!(count, gone.len());
    let due = |model: &Model| {
        let deadlines = model.values().filter_map(|deadline| *deadline);
        deadlines.filter(|deadline| *deadline <= now).min()
    };
    for member in gone {
        assert_eq!(model[&member], due(model));
        model.remove(&member);
    }
    assert!(count == budget || due(model).is_none());
}

fn members<'a>(elements: impl Iterator<Item = Element<'a>>) -> Vec<Vec<u8>> {
    let mut members: Vec<_> = elements.map(|member| member.to_vec()).collect();
    members.sort();
    members
}

fn scan_all(set: &Set) -> Vec<Vec<u8>> {
    let (mut seen, mut cursor) = (Vec::new(), 0);
    loop {
        cursor = set.scan(cursor, |member| seen.push(member.to_vec()));
        assert!(cursor < 1 << 49);
        if cursor == 0 {
            seen.sort();
            return seen;
        }
    }
}

fn check(set: &Set, model: &Model) {
    if let Form::Table(elements) = set.form() {
        elements.check();
    }
    assert_eq!(set.len(), model.len());
    assert_eq!(set.is_empty(), model.is_empty());
    let expected: Vec<_> = model.keys().cloned().collect();
    assert_eq!(members(set.iter()), expected);
    assert_eq!(scan_all(set), expected);
    let deadlines = || model.values().filter_map(|deadline| *deadline);
    assert_eq!(set.volatile_len(), deadlines().count());
    assert_eq!(set.next_deadline(), deadlines().min());
    for (member, deadline) in model {
        assert!(set.contains(member));
        assert!(set.contains_element(Element::Bytes(member)));
        assert_eq!(set.deadline(member), Some(*deadline));
        if let Some(value) = number::parse_canonical(member) {
            assert!(set.contains_element(Element::Int(value)));
        }
    }
    assert!(!set.contains(b"nowhere"));
    assert!(!set.contains(b"123456789"));
    assert!(!set.contains_element(Element::Int(123_456_789)));
    assert_eq!(set.deadline(b"nowhere"), None);
    let mut found = Vec::new();
    let asked = expected
        .iter()
        .map(Vec::as_slice)
        .chain([b"nowhere".as_slice()]);
    set.contains_many(asked, |is| found.push(is));
    assert_eq!(found.pop(), Some(false));
    assert_eq!(found, vec![true; model.len()]);
}

fn apply(set: &mut Set, model: &mut Model, op: Op) {
    match op {
        Op::Add(member) => apply_add(set, model, member),
        Op::Remove(member) => {
            let before = set.encoding();
            assert_eq!(set.remove(&member), model.remove(&member).is_some());
            assert_eq!(set.encoding(), before);
        }
        Op::Deadline(member, at) => {
            let before = set.encoding();
            let found = model.get_mut(&member).map(|deadline| *deadline = at);
            assert_eq!(set.set_deadline(&member, at), found.is_some());
            let converts = found.is_some() && at.is_some();
            let after = if converts { SetEncoding::Table } else { before };
            assert_eq!(set.encoding(), after);
        }
        Op::Expire(now, budget) => expire(set, model, now, budget),
        Op::Random(seed) => {
            let found = set
                .random(&mut random_bits(seed))
                .map(|member| member.to_vec());
            assert_eq!(found.is_some(), !model.is_empty());
            assert!(found.is_none_or(|member| model.contains_key(&member)));
        }
        Op::Pop(seed) => {
            let found = set.pop(&mut random_bits(seed));
            assert_eq!(found.is_some(), !model.is_empty());
            assert!(found.is_none_or(|member| model.remove(&member).is_some()));
        }
        Op::Clone => *set = set.clone(),
    }
}

fn build(ops: Vec<Op>) -> (Set, Model) {
    let (mut set, mut model) = (Set::new(), Model::new());
    for op in ops {
        apply(&mut set, &mut model, op);
    }
    (set, model)
}

fn reload(set: &Set) -> Option<Set> {
    let bytes = set.pack_bytes()?;
    let loaded = match set.encoding() {
        SetEncoding::Intset => Set::from_intset(bytes),
        _ => Set::from_listpack(bytes),
    };
    Some(loaded.unwrap())
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_set_is_a_set(ops in ops()) {
        let (mut set, mut model) = (Set::new(), Model::new());
        for op in ops {
            apply(&mut set, &mut model, op);
            check(&set, &model);
        }
        if let Some(loaded) = reload(&set) {
            prop_assert_eq!(loaded.encoding(), set.encoding());
            check(&loaded, &model);
        }
    }

    #[test]
    fn operations_on_sets(all in prop::collection::vec(ops(), 1..5), same in 0..8usize) {
        let built: Vec<_> = all.into_iter().map(build).collect();
        let mut sets: Vec<&SetView> = built.iter().map(|(set, _)| &**set).collect();
        let mut models: Vec<BTreeSet<&Vec<u8>>> =
            built.iter().map(|(_, model)| model.keys().collect()).collect();
        if same < sets.len() {
            sets.push(sets[same]);
            models.push(models[same].clone());
        }
        let (mut both, mut left) = (Vec::new(), Vec::new());
        intersect(&sets, |member| {
            both.push(member.to_vec());
            ControlFlow::Continue(())
        });
        difference(sets[0], &sets[1..], |member| {
            left.push(member.to_vec());
            ControlFlow::Continue(())
        });
        both.sort();
        left.sort();
        let first = models[0].iter();
        let others = &models[1..];
        let in_all = first.clone().filter(|member| others.iter().all(|it| it.contains(*member)));
        let in_none = first.filter(|member| !others.iter().any(|it| it.contains(*member)));
        prop_assert!(both.iter().eq(in_all.copied()));
        prop_assert!(left.iter().eq(in_none.copied()));
        check_union(&sets, &models);
        let mut count = 0;
        intersect(&sets, |_| {
            count += 1;
            ControlFlow::Break(())
        });
        prop_assert_eq!(count, both.len().min(1));
    }

    #[test]
    fn bytes_from_outside_are_checked(
        elements in prop::collection::vec(text(), 0..8),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let mut pack = Listpack::new();
        pack.push_back_all(elements.iter().map(Vec::as_slice));
        let distinct: BTreeSet<_> = elements.iter().collect();
        let loaded = Set::from_listpack(pack.as_bytes());
        prop_assert_eq!(loaded.is_ok(), distinct.len() == elements.len());
        let integers = distinct.iter().filter_map(|text| number::parse_canonical(text));
        let mut intset = Intset::new();
        integers.for_each(|value| assert!(intset.insert(value)));
        let load: [Load; 2] = [Set::from_listpack, Set::from_intset];
        for (load, bytes) in load.into_iter().zip([pack.as_bytes(), intset.as_bytes()]) {
            let mut bytes = bytes.to_vec();
            for (index, byte) in &changes {
                let at = index.index(bytes.len());
                bytes[at] = *byte;
            }
            if let Ok(mut set) = load(&bytes) {
                let model = set.iter().map(|member| (member.to_vec(), None)).collect();
                check(&set, &model);
                set.prepare(usize::MAX, &LIMITS);
                check(&set, &model);
            }
        }
    }
}

fn check_union(sets: &[&SetView], models: &[BTreeSet<&Vec<u8>>]) {
    let expected: BTreeSet<_> = models.iter().flatten().copied().collect();
    let all = union(sets, &LIMITS);
    let model: Model = expected
        .iter()
        .map(|member| (member.to_vec(), None))
        .collect();
    check(&all, &model);
    let integers = expected
        .iter()
        .all(|it| number::parse_canonical(it).is_some());
    let short = expected.iter().all(|it| it.len() <= LIMITS.set_value);
    let encoding = if integers && expected.len() <= LIMITS.set_integers {
        SetEncoding::Intset
    } else if !integers && short && expected.len() <= LIMITS.set_entries {
        SetEncoding::Listpack
    } else {
        SetEncoding::Table
    };
    assert_eq!(all.encoding(), encoding);
}

fn numbers(range: std::ops::Range<u32>, prefix: &str) -> Set {
    let mut set = Set::new();
    for number in range {
        set.add(format!("{prefix}{number}").as_bytes(), &LIMITS);
    }
    set
}

fn count(mut operation: impl FnMut(&mut dyn FnMut(Element<'_>) -> ControlFlow<()>)) -> usize {
    let mut count = 0;
    operation(&mut |_| {
        count += 1;
        ControlFlow::Continue(())
    });
    count
}

#[test]
fn operations_on_large_sets() {
    let scale = if cfg!(miri) { 1 } else { 20 };
    let (a, b) = (
        numbers(0..100 * scale, "m"),
        numbers(60 * scale..200 * scale, "m"),
    );
    let expected = |part: u32| (part * scale) as usize;
    assert_eq!(count(|visit| intersect(&[&a, &b], visit)), expected(40));
    assert_eq!(count(|visit| difference(&a, &[&b], visit)), expected(60));
    // So many small sets that taking them away is cheaper than looking for each member in them.
    let small: Vec<_> = (0..6).map(|i| numbers(i * 3..i * 3 + 3, "m")).collect();
    let small: Vec<&SetView> = small.iter().map(|set| &**set).collect();
    assert_eq!(
        count(|visit| difference(&a, &small, visit)),
        expected(100) - 18
    );
    let all = union(&[&a, &b], &LIMITS);
    assert_eq!(all.len(), expected(200));
    assert_eq!(all.encoding(), SetEncoding::Table);
    assert_eq!(count(|visit| difference(&a, &[&a, &b], visit)), 0);
}

#[test]
fn scan_keeps_its_promise_while_the_set_changes() {
    let size = if cfg!(miri) { 60 } else { 3000 };
    let mut set = numbers(0..size, "stays");
    let mut others = 0..;
    let (mut seen, mut cursor, mut grows) = (BTreeMap::new(), 0, true);
    loop {
        cursor = set.scan(cursor, |member| {
            *seen.entry(member.to_vec()).or_insert(0) += 1
        });
        if cursor == 0 {
            break;
        }
        for _ in 0..30 {
            if grows {
                set.add(format!("other{}", others.start).as_bytes(), &LIMITS);
                others.start += 1;
            } else if others.start > 0 {
                others.start -= 1;
                set.remove(format!("other{}", others.start).as_bytes());
            }
        }
        grows = if grows {
            set.len() < size as usize * 4
        } else {
            others.start == 0
        };
    }
    let stays = seen
        .iter()
        .filter(|(member, _)| member.starts_with(b"stays"));
    assert!(stays.clone().all(|(_, times)| *times == 1));
    assert_eq!(stays.count(), size as usize);
}

/// A large set's members come in the order that other tables have, too.
#[test]
fn copying_in_order_does_not_skew() {
    let size = if cfg!(miri) { 120 } else { 3000 };
    let original = numbers(0..size, "m");
    let members: Vec<_> = original.iter().map(|member| member.to_vec()).collect();
    let (mut copy, mut cursor, mut seen) = (Set::new(), 0, BTreeSet::new());
    for (count, member) in members.iter().enumerate() {
        copy.add(member, &LIMITS);
        // Begins in one order and ends in another.
        if count == 20 {
            cursor = copy.scan(0, |member| seen.extend([member.to_vec()]));
            assert_ne!(cursor, 0);
        }
    }
    while cursor != 0 {
        cursor = copy.scan(cursor, |member| seen.extend([member.to_vec()]));
        assert!(cursor < 1 << 53);
    }
    assert!(members[..=20].iter().all(|member| seen.contains(member)));
    let model = members.into_iter().map(|member| (member, None)).collect();
    check(&copy, &model);
    let is_common = |set: &Set| matches!(set.form(), Form::Table(it) if it.in_common_order());
    assert!(is_common(&original));
    assert!(is_common(&copy) && is_common(&copy.clone()));
    let (original, copy, third): (&SetView, &SetView, _) = (&original, &copy, copy.clone());
    for pair in [[original, copy], [copy, original], [copy, &third]] {
        assert_eq!(count(|visit| intersect(&pair, visit)), size as usize);
        assert_eq!(count(|visit| difference(pair[0], &pair[1..], visit)), 0);
        assert_eq!(union(&pair, &LIMITS).len(), size as usize);
    }
    check(&union(&[copy, original], &LIMITS), &model);
}

#[test]
fn random_and_pop_are_even() {
    let large = if cfg!(miri) { 8 } else { 40 };
    for (prefix, size) in [("", 5u32), ("m", 5), ("m", large)] {
        let set = numbers(0..size, prefix);
        let rng = &mut random_bits(3);
        let (mut seen, mut popped) = (BTreeMap::new(), BTreeMap::new());
        for _ in 0..size * if cfg!(miri) { 30 } else { 200 } {
            *seen.entry(set.random(rng).unwrap().to_vec()).or_insert(0) += 1;
            *popped.entry(set.clone().pop(rng).unwrap()).or_insert(0) += 1;
        }
        for times in [seen, popped] {
            assert_eq!(times.len(), size as usize);
            let even = if cfg!(miri) { 1..100 } else { 100..300 };
            assert!(
                times.values().all(|times| even.contains(times)),
                "{times:?}"
            );
        }
    }
}

#[test]
fn a_new_set_begins_in_the_form_that_is_expected() {
    let few = Thresholds {
        set_integers: 0,
        ..LIMITS
    };
    let mut set = Set::new();
    set.add(b"1", &few);
    assert_eq!(set.encoding(), SetEncoding::Listpack);
    let none = Thresholds {
        set_entries: 0,
        ..few
    };
    let mut set = Set::new();
    set.add(b"1", &none);
    assert_eq!(set.encoding(), SetEncoding::Table);
    for (first, members, encoding) in [
        (b"1", 9, SetEncoding::Intset),
        (b"1", 10, SetEncoding::Table),
        (b"a", 6, SetEncoding::Listpack),
        (b"a", 7, SetEncoding::Table),
    ] {
        let set = Set::with_capacity_hint(first, members, &LIMITS);
        assert_eq!(set.encoding(), encoding);
        assert!(set.is_empty());
    }
    let mut set = numbers(0..5, "");
    set.prepare(9, &LIMITS);
    assert_eq!(set.encoding(), SetEncoding::Intset);
    set.prepare(10, &LIMITS);
    assert_eq!(set.encoding(), SetEncoding::Table);
}

#[test]
fn heap_bytes_are_those_of_the_parts() {
    let mut set = numbers(0..5, "");
    assert_eq!(set.heap_bytes(), 8 + 5 * 2 + 6);
    set.set_deadline(b"1", Some(1));
    set.set_deadline(b"1", None);
    let Form::Table(elements) = set.form() else {
        unreachable!("a deadline needs a table");
    };
    let all = size_of::<Elements>() + elements.heap_bytes();
    assert_eq!(elements.iter().map(Block::bytes).sum::<usize>(), 5 * 8);
    assert_eq!(set.heap_bytes(), all);
    assert_eq!(format!("{set:?}"), "Set { len: 5, encoding: Table }");
}
