use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Small limits, so that conversions happen.
const LIMITS: Thresholds = Thresholds {
    hash_entries: 6,
    hash_value: 12,
    set_integers: 6,
    set_entries: 6,
    set_value: 12,
    zset_entries: 6,
    zset_value: 12,
    list_size: 6,
    list_compress: 0,
};

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

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
    Set(Vec<u8>, Vec<u8>, u8, u64),
    Remove(Vec<u8>),
    Deadline(Vec<u8>, Option<u64>),
    Expire(u64, usize),
    Random(u64),
    Clone,
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (0..30i64).prop_map(|number| number.to_string().into_bytes()),
        3 => "[a-c]{0,2}".prop_map(String::into_bytes),
        1 => "0[0-3]".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (0usize..400).prop_map(|len| vec![b'x'; len]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let deadline = 1..100u64;
    prop_oneof![
        8 => (text(), text(), 0..12u8, deadline.clone())
            .prop_map(|(field, value, kind, at)| Op::Set(field, value, kind, at)),
        3 => text().prop_map(Op::Remove),
        1 => (text(), prop::option::of(deadline.clone())).prop_map(|(field, at)| Op::Deadline(field, at)),
        1 => (deadline, 0..4usize).prop_map(|(now, budget)| Op::Expire(now, budget)),
        1 => any::<u64>().prop_map(Op::Random),
        1 => Just(Op::Clone),
    ]
}

fn apply_set(hash: &mut Hash, model: &mut Model, op: (&[u8], &[u8], u8, u64)) {
    let (field, value, kind, at) = op;
    let deadline = match kind {
        0 => FieldDeadline::At(at),
        1..=3 => FieldDeadline::Keep,
        _ => FieldDeadline::Clear,
    };
    let before = model.get(field).cloned();
    let after = match deadline {
        FieldDeadline::At(at) => Some(at),
        FieldDeadline::Keep => before.as_ref().and_then(|(_, deadline)| *deadline),
        FieldDeadline::Clear => None,
    };
    let was_packed = hash.is_packed();
    model.insert(field.to_vec(), (value.to_vec(), after));
    assert_eq!(hash.set(field, value, deadline, &LIMITS), before.is_none());
    let too_long = field.len().max(value.len()) > LIMITS.hash_value;
    let stays = !too_long && model.len() <= LIMITS.hash_entries && kind != 0;
    assert_eq!(hash.is_packed(), was_packed && stays);
}

fn expire(hash: &mut Hash, model: &mut Model, now: u64, budget: usize) {
    let mut gone = Vec::new();
    let count = hash.expire(now, budget, &mut |field| gone.push(field.to_vec()));
    assert_eq!(count, gone.len());
    let due = |model: &Model| {
        let deadlines = model.values().filter_map(|(_, deadline)| *deadline);
        deadlines.filter(|deadline| *deadline <= now).min()
    };
    for field in gone {
        let (_, deadline) = model[&field];
        assert_eq!(deadline, due(model));
        model.remove(&field);
    }
    assert!(count == budget || due(model).is_none());
}

fn visible(model: &Model, now: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let seen = model
        .iter()
        .filter(|(_, (_, deadline))| now == 0 || deadline.is_none_or(|deadline| deadline > now));
    seen.map(|(field, (value, _))| (field.clone(), value.clone()))
        .collect()
}

fn scan_all(hash: &Hash, now: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (mut seen, mut cursor) = (Vec::new(), 0);
    loop {
        cursor = hash.scan(cursor, now, |field, value| {
            seen.push((field.to_vec(), value.to_vec()));
        });
        assert!(cursor < 1 << 49);
        if cursor == 0 {
            seen.sort();
            return seen;
        }
    }
}

fn check(hash: &Hash, model: &Model) {
    if let Form::Table(elements) = hash.form() {
        elements.check();
    }
    assert_eq!(hash.len(), model.len());
    assert_eq!(hash.is_empty(), model.is_empty());
    let deadlines = || model.values().filter_map(|(_, deadline)| *deadline);
    assert_eq!(hash.volatile_len(), deadlines().count());
    assert_eq!(hash.next_deadline(), deadlines().min());
    for now in [0, 50] {
        let expected = visible(model, now);
        let mut seen: Vec<_> = hash
            .iter(now)
            .map(|(f, v)| (f.to_vec(), v.to_vec()))
            .collect();
        seen.sort();
        assert_eq!(seen, expected);
        assert_eq!(scan_all(hash, now), expected);
        let mut found = Vec::new();
        let fields = model
            .keys()
            .map(Vec::as_slice)
            .chain([b"nowhere".as_slice()]);
        hash.get_many(fields.clone(), now, |value| {
            found.push(value.map(|value| value.to_vec()));
        });
        let one_by_one: Vec<_> = fields
            .map(|field| hash.get(field, now).map(|value| value.to_vec()))
            .collect();
        assert_eq!(found, one_by_one);
        let values: Vec<_> = expected.into_iter().map(|(_, value)| value).collect();
        let found: Vec<_> = found.into_iter().flatten().collect();
        assert_eq!(found, values);
    }
    for (field, (_, deadline)) in model {
        assert_eq!(hash.deadline(field), Some(*deadline));
    }
    assert_eq!(hash.deadline(b"nowhere"), None);
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_hash_is_a_map(ops in prop::collection::vec(op(), 1..if cfg!(miri) { 20 } else { 80 })) {
        let (mut hash, mut model) = (Hash::new(), Model::new());
        for op in ops {
            match op {
                Op::Set(field, value, kind, at) => {
                    apply_set(&mut hash, &mut model, (&field, &value, kind, at));
                }
                Op::Remove(field) => {
                    prop_assert_eq!(hash.remove(&field), model.remove(&field).is_some());
                }
                Op::Deadline(field, at) => {
                    let found = model.get_mut(&field).map(|(_, deadline)| *deadline = at);
                    let packed = hash.is_packed() && (found.is_none() || at.is_none());
                    prop_assert_eq!(hash.set_deadline(&field, at), found.is_some());
                    prop_assert_eq!(hash.is_packed(), packed);
                }
                Op::Expire(now, budget) => expire(&mut hash, &mut model, now, budget),
                Op::Random(seed) => {
                    let expected = visible(&model, 50);
                    let found = hash.random(50, &mut random_bits(seed));
                    let found = found.map(|(field, value)| (field.to_vec(), value.to_vec()));
                    prop_assert_eq!(found.is_some(), !expected.is_empty());
                    prop_assert!(found.is_none_or(|pair| expected.contains(&pair)));
                }
                Op::Clone => hash = hash.clone(),
            }
            check(&hash, &model);
        }
        if let Some(bytes) = hash.pack_bytes() {
            let again = Hash::from_listpack(bytes).unwrap();
            check(&again, &model);
        }
    }

    #[test]
    fn bytes_from_outside_are_checked(
        elements in prop::collection::vec(text(), 0..8),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let mut pack = Listpack::new();
        pack.push_back_all(elements.iter().map(Vec::as_slice));
        let mut fields: Vec<_> = elements.iter().step_by(2).collect();
        fields.sort();
        fields.dedup();
        let valid = fields.len() * 2 == elements.len();
        prop_assert_eq!(Hash::from_listpack(pack.as_bytes()).is_ok(), valid);
        let mut bytes = pack.as_bytes().to_vec();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(mut hash) = Hash::from_listpack(&bytes) {
            let model = hash
                .iter(0)
                .map(|(field, value)| (field.to_vec(), (value.to_vec(), None)))
                .collect();
            check(&hash, &model);
            hash.prepare(usize::MAX, &LIMITS);
            check(&hash, &model);
        }
    }
}

fn fill(hash: &mut Hash, count: u64, deadline: FieldDeadline) {
    for i in 0..count {
        hash.set(format!("field{i}").as_bytes(), b"1", deadline, &LIMITS);
    }
}

#[test]
fn random_ends_when_most_are_past() {
    let mut hash = Hash::new();
    fill(
        &mut hash,
        if cfg!(miri) { 40 } else { 500 },
        FieldDeadline::At(5),
    );
    let rng = &mut random_bits(1);
    assert_eq!(hash.random(10, rng), None);
    hash.set(b"live", b"v", FieldDeadline::Clear, &LIMITS);
    let (field, _) = hash.random(10, rng).unwrap();
    assert!(field.is(b"live"));
    assert!(hash.random(0, rng).is_some());
}

#[test]
fn random_reaches_all_evenly() {
    for count in if cfg!(miri) { [2u64, 8] } else { [5, 40] } {
        let mut hash = Hash::new();
        fill(&mut hash, count, FieldDeadline::Clear);
        let rng = &mut random_bits(2);
        let mut seen = BTreeMap::new();
        for _ in 0..count * 200 {
            let (field, _) = hash.random(0, rng).unwrap();
            *seen.entry(field.to_vec()).or_insert(0) += 1;
        }
        assert_eq!(seen.len() as u64, count);
        assert!(
            seen.values().all(|times| (100..300).contains(times)),
            "{seen:?}"
        );
    }
}

#[test]
fn heap_bytes_are_those_of_the_parts() {
    let mut hash = Hash::new();
    assert_eq!(hash.heap_bytes(), 8);
    fill(&mut hash, 100, FieldDeadline::Clear);
    let Form::Table(elements) = hash.form() else {
        unreachable!("more than the limit");
    };
    let blocks: usize = elements.iter().map(Block::bytes).sum();
    assert_eq!(blocks, 100 * 16);
    let all = hash.heap_bytes();
    assert_eq!(all, size_of::<Elements>() + elements.heap_bytes());
    hash.set_deadline(b"field1", Some(7));
    assert!(hash.heap_bytes() > all);
    hash.set_deadline(b"field1", None);
    assert_eq!(hash.heap_bytes(), all);
    let debug = format!("{hash:?}");
    assert_eq!(debug, "Hash { len: 100, is_packed: false }");
}

#[test]
fn loaded_hashes_keep_long_values_until_a_write() {
    let mut pack = Listpack::new();
    pack.push_back_all([b"f".as_slice(), &[b'v'; 100]]);
    let mut hash = Hash::from_listpack(pack.as_bytes()).unwrap();
    hash.convert(&LIMITS);
    assert!(hash.is_packed());
    hash.set(b"g", &[b'v'; 13], FieldDeadline::Keep, &LIMITS);
    assert!(!hash.is_packed());
    let few = Thresholds {
        hash_entries: 0,
        ..LIMITS
    };
    let mut hash = Hash::from_listpack(pack.as_bytes()).unwrap();
    hash.convert(&few);
    assert!(!hash.is_packed());
}
