use proptest::prelude::*;

use super::*;

const SPARSE_MAX: usize = 3000;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: if cfg!(miri) { 3 } else { 64 },
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// FNV-1a, to name a sketch in one number.
fn fingerprint(bytes: &[u8]) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325u64;
    bytes.iter().fold(start, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

fn put(sketch: &mut Vec<u8>, element: &[u8], sparse_max: usize) -> u64 {
    match add(sketch, std::iter::once(element), sparse_max) {
        Ok(Some((bytes, changes))) => {
            *sketch = bytes;
            changes
        }
        Ok(None) => 0,
        Err(Corrupted) => panic!("a sketch made here is valid"),
    }
}

fn sketch_of(elements: impl Iterator<Item = String>, sparse_max: usize) -> (Vec<u8>, u64) {
    let mut sketch = empty();
    let changes = elements
        .map(|element| put(&mut sketch, element.as_bytes(), sparse_max))
        .sum();
    (sketch, changes)
}

#[test]
fn the_bytes_are_those_of_redis() {
    let (sketch, _) = sketch_of(["a", "b", "c"].map(str::to_owned).into_iter(), SPARSE_MAX);
    let expected = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80\x60\xf3\x80\x50\xb1\x84\x4b\xfb\x80\x42\x5a";
    assert_eq!(sketch, expected);
    // Elements, limit; length, fingerprint and cardinality of the sketch that valkey-server made of
    // them. The cardinality was computed afterwards.
    let known = [
        (10, 3000, 48, 0x4afc_b65d_27f7_d346, 10, 10),
        (300, 3000, 713, 0xa4cf_ffba_965d_1718, 302, 299),
        (1500, 3000, 2719, 0xd67e_e50b_81f2_a28c, 1509, 1463),
        (1500, 500, 12304, 0x2578_cb86_79f8_0327, 1509, 1463),
        (30_000, 3000, 12304, 0x415f_2de9_97fa_fac3, 29_797, 18_275),
    ];
    for (elements, limit, len, print, cardinality, changes) in known {
        if cfg!(miri) && elements > 300 {
            continue;
        }
        let numbers = (0..elements).map(|i| format!("e{}", i * 7919 % elements));
        let (sketch, changed) = sketch_of(numbers, limit);
        assert_eq!(
            (sketch.len(), fingerprint(&sketch)),
            (len, print),
            "{elements}"
        );
        assert_eq!((count(&sketch), changed), (Ok(cardinality), changes));
    }
}

#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn merged_bytes_are_those_of_redis() {
    let named = |name: &str, len: usize| {
        let name = name.to_owned();
        sketch_of((0..len).map(move |i| format!("{name}{i}")), SPARSE_MAX).0
    };
    let merged = |target: &[u8], source: &[u8]| {
        let mut registers = Registers::new();
        registers.merge(target).unwrap();
        registers.merge(source).unwrap();
        let dense = form(source) == Some(Form::Dense);
        raise_to(target, &registers, dense, SPARSE_MAX).unwrap()
    };
    let (x, y, z) = (named("x", 400), named("y", 400), named("z", 600));
    let d = named("d", 20_000);
    let print = |bytes: &[u8]| (bytes.len(), fingerprint(bytes));
    let xy = merged(&x, &y);
    assert_eq!(print(&xy), (1569, 0x40bf_ed12_c184_6b02));
    let xyz = merged(&xy, &z);
    assert_eq!(print(&xyz), (2553, 0x0aac_c3b8_85a7_0ed2));
    assert_eq!(print(&merged(&y, &d)), (12304, 0x354f_dc4e_0e75_8013));
    let mut registers = Registers::new();
    [&xyz, &d]
        .iter()
        .for_each(|sketch| registers.merge(sketch).unwrap());
    assert_eq!(registers.count(), 21_371);
}

#[test]
fn counts_are_noted_and_forgotten() {
    let mut sketch = empty();
    assert_eq!(cached_count(&sketch), None);
    assert_eq!(count(&sketch), Ok(0));
    cache_count(&mut sketch, 0);
    assert_eq!(cached_count(&sketch), Some(0));
    put(&mut sketch, b"a", SPARSE_MAX);
    assert_eq!(cached_count(&sketch), None);
    cache_count(&mut sketch, 1);
    assert_eq!(put(&mut sketch, b"a", SPARSE_MAX), 0);
    assert_eq!(cached_count(&sketch), Some(1));
    let mut dense = to_dense(&sketch).unwrap();
    assert_eq!(cached_count(&dense), Some(1));
    assert_eq!(add_dense(&mut dense, [&b"b"[..], b"a"].into_iter()), 1);
    assert_eq!((cached_count(&dense), count(&dense)), (None, Ok(2)));
}

#[test]
fn what_is_no_sketch_is_told_from_what_is_corrupted() {
    for bytes in [
        &b""[..],
        b"HYLL",
        b"HYLL\x02\0\0\0\0\0\0\0\0\0\0\0\x7f\xff",
        b"hyll\x01\0\0\0\0\0\0\0\0\0\0\0\x7f\xff",
        b"HYLL\x00\0\0\0\0\0\0\0\0\0\0\0\x7f\xff",
    ] {
        assert_eq!(form(bytes), None);
        assert_eq!(count(bytes), Err(Corrupted));
    }
    let header = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0";
    let wrong: [&[u8]; 6] = [
        b"",
        b"\x7f\xfe",
        b"\x7f",
        b"\x7f\xff\0",
        b"\x7f\xff\x7f\xff",
        b"\x80\x7f\xff",
    ];
    for registers in wrong {
        let bytes = [header, registers].concat();
        assert_eq!(form(&bytes), Some(Form::Sparse));
        assert_eq!(count(&bytes), Err(Corrupted));
        assert_eq!(to_dense(&bytes), Err(Corrupted));
        assert_eq!(Registers::new().merge(&bytes), Err(Corrupted));
    }
    let long = [&header[..], &[0; SPARSE_BYTES_MAX]].concat();
    assert_eq!(
        add(&long, std::iter::once(&b"a"[..]), 1 << 20),
        Err(Corrupted)
    );
}

#[test]
fn plain_code_does_the_same_as_vector_instructions() {
    let mut state = 1u64;
    for limit in if cfg!(miri) {
        &[20][..]
    } else {
        &[64, 3, 20, 52]
    } {
        let mut registers = Registers::new();
        for register in registers.values.iter_mut() {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            *register = ((state >> 33) % limit) as u8;
        }
        let mut packed = [0; dense::BYTES];
        dense::pack_groups(registers.as_array(), &mut packed);
        for index in (0..REGISTERS).step_by(if cfg!(miri) { 997 } else { 1 }) {
            assert_eq!(dense::get(&packed, index), registers.values[index]);
        }
        let mut other = [0; dense::BYTES];
        simd::pack(registers.as_array(), &mut other);
        assert!(packed == other);
        let mut unpacked = [5; REGISTERS];
        simd::merge(&mut unpacked, &packed);
        assert!(
            unpacked
                .iter()
                .zip(registers.values.iter())
                .all(|(a, b)| *a == *b.max(&5))
        );
        let mut plain = [5; REGISTERS];
        dense::merge_groups(&mut plain, &packed);
        assert!(plain == unpacked);
        let histogram = simd::histogram(registers.as_array());
        let mut counted = [0; 64];
        for value in registers.values.iter() {
            counted[usize::from(*value)] += 1;
        }
        assert_eq!(histogram, counted);
        assert_eq!(simd::plain_histogram(registers.as_array()), histogram);
    }
}

#[test]
fn single_registers_are_set_among_others() {
    let mut packed = [0xff; dense::BYTES];
    for index in [0, 1, 2, 3, 4, 8191, REGISTERS - 2, REGISTERS - 1] {
        dense::set(&mut packed, index, 0);
        assert_eq!(dense::get(&packed, index), 0);
        dense::set(&mut packed, index, 42);
        assert_eq!(dense::get(&packed, index), 42);
    }
    let others = (0..REGISTERS).filter(|index| dense::get(&packed, *index) == 63);
    assert_eq!(others.count(), REGISTERS - 8);
}

/// The registers of a sketch, checked.
fn registers_of(sketch: &[u8]) -> Registers {
    let mut registers = Registers::new();
    registers.merge(sketch).unwrap();
    registers
}

/// Observations close together, so that runs are split and joined in every way.
fn observations() -> impl Strategy<Value = Vec<Observation>> {
    let index = prop_oneof![0..40usize, 90..230usize, 8000..8010usize, 16_300..REGISTERS];
    let value = prop_oneof![8 => 1..4u8, 1 => 30..33u8];
    prop::collection::vec((index, value), 0..300).prop_map(|all| {
        let make = |(index, value)| Observation { index, value };
        all.into_iter().map(make).collect()
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn sparse_sketches_hold_what_was_observed(all in observations(), high in any::<bool>()) {
        let (mut sketch, mut model) = (empty(), Registers::new());
        for seen in &all {
            let changes = model.values[seen.index] < seen.value;
            model.add(*seen);
            prop_assert_eq!(lower(&sketch, *seen).unwrap().is_some(), changes);
            prop_assert_eq!(raise(&mut sketch, *seen, SPARSE_MAX), Ok(changes));
        }
        if high {
            let seen = Observation { index: 100, value: 33 };
            model.add(seen);
            prop_assert_eq!(raise(&mut sketch, seen, SPARSE_MAX), Ok(true));
            prop_assert_eq!(form(&sketch), Some(Form::Dense));
        }
        prop_assert_eq!(&registers_of(&sketch), &model);
        let dense = to_dense(&sketch).unwrap();
        prop_assert_eq!(&registers_of(&dense), &model);
        prop_assert_eq!(count(&dense), count(&sketch));
    }

    /// Where the search begins makes no difference.
    #[test]
    fn merging_is_raising_one_by_one(first in observations(), second in observations()) {
        let mut target = empty();
        for seen in first {
            raise(&mut target, seen, SPARSE_MAX).unwrap();
        }
        let mut registers = registers_of(&target);
        second.into_iter().for_each(|seen| registers.add(seen));
        let merged = raise_to(&target, &registers, false, SPARSE_MAX).unwrap();
        for (index, value) in registers.values.iter().enumerate().filter(|(_, value)| **value > 0) {
            raise(&mut target, Observation { index, value: *value }, SPARSE_MAX).unwrap();
        }
        invalidate(&mut target);
        prop_assert_eq!(&merged, &target);
        prop_assert_eq!(&registers_of(&merged), &registers);
        let dense = raise_to(&target, &registers, true, SPARSE_MAX).unwrap();
        prop_assert_eq!(&registers_of(&dense), &registers);
        let mut again = to_dense(&target).unwrap();
        prop_assert!(raise_dense_to(&mut again, &registers));
        prop_assert_eq!(again, dense);
        let short = raise_to(&empty(), &registers, false, 30).unwrap();
        prop_assert_eq!(&registers_of(&short), &registers);
    }

    #[test]
    fn no_bytes_do_harm(registers in prop::collection::vec(any::<u8>(), 0..200), element in any::<[u8; 3]>()) {
        let mut bytes = [&empty()[..HEADER_BYTES], &registers].concat();
        let valid = count(&bytes).is_ok();
        prop_assert_eq!(to_dense(&bytes).is_ok(), valid);
        let mut merged = Registers::new();
        prop_assert_eq!(merged.merge(&bytes).is_ok(), valid);
        let _ = runs(&bytes).count();
        let _ = add(&bytes, [&element[..], b"x"].into_iter(), SPARSE_MAX);
        let _ = raise_to(&bytes, &merged, false, SPARSE_MAX);
        prop_assert_eq!(add_dense(&mut bytes, std::iter::once(&element[..])), 0);
    }
}
