use std::ops::RangeInclusive;

use proptest::prelude::*;

use super::combine::combine_portable;
use super::*;

/// Bits of a string, one by one.
fn bits_of(bytes: &[u8]) -> Vec<bool> {
    let bits = bytes
        .iter()
        .flat_map(|byte| (0..8).map(move |bit| byte >> (7 - bit) & 1 != 0));
    bits.collect()
}

const ALL: [Operation; 8] = [
    Operation::And,
    Operation::Or,
    Operation::Xor,
    Operation::Not,
    Operation::Diff,
    Operation::Diff1,
    Operation::AndOr,
    Operation::One,
];

/// The combination by the definition, one bit at a time.
fn naive(operation: Operation, operands: &[Vec<u8>]) -> Vec<u8> {
    let longest = operands.iter().map(Vec::len).max().unwrap_or(0);
    let mut result = vec![0; longest];
    for offset in 0..longest as u64 * 8 {
        let first = get(&operands[0], offset);
        let others = operands[1..]
            .iter()
            .filter(|bytes| get(bytes, offset))
            .count();
        let all = others + usize::from(first);
        let bit = match operation {
            Operation::And => all == operands.len(),
            Operation::Or => all > 0,
            Operation::Xor => all % 2 == 1,
            Operation::Not => !first,
            Operation::Diff => first && others == 0,
            Operation::Diff1 => !first && others > 0,
            Operation::AndOr => first && others > 0,
            Operation::One => all == 1,
        };
        set(&mut result, offset, bit);
    }
    result
}

fn wrapped(value: i128, signed: bool, bits: u32) -> i128 {
    let low = value.rem_euclid(1 << bits);
    match signed && low >= 1 << (bits - 1) {
        true => low - (1 << bits),
        false => low,
    }
}

#[test]
fn single_bits() {
    let mut bytes = [0; 3];
    assert!(!set(&mut bytes, 1, true));
    assert!(set(&mut bytes, 1, true));
    assert!(!set(&mut bytes, 23, true));
    assert_eq!(bytes, [0x40, 0, 1]);
    assert!(get(&bytes, 1) && get(&bytes, 23) && !get(&bytes, 0));
    assert!(!get(&bytes, 24) && !get(&bytes, u64::MAX));
    assert!(!set(&mut bytes, u64::MAX, true));
    assert!(set(&mut bytes, 1, false));
    assert_eq!(bytes, [0, 0, 1]);
}

#[test]
fn long_strings_are_counted_in_streams() {
    for len in [STREAMS_FROM - 1, STREAMS_FROM, STREAMS_FROM + 4097] {
        let len = if cfg!(miri) { len / 64 } else { len };
        let bytes: Vec<u8> = (0..len).map(|n| ((n * 31) >> 3) as u8).collect();
        let plain: u64 = bytes.iter().map(|byte| u64::from(byte.count_ones())).sum();
        assert_eq!(count(&bytes), plain);
        assert_eq!(count_portable(&bytes), plain);
        assert_eq!(count(&vec![0xff; len]), 8 * len as u64);
    }
}

#[test]
fn positions_in_long_strings() {
    let len = if cfg!(miri) { 700 } else { 5000 };
    for skipped in [0u8, 0xff] {
        let whole = 0..=len as u64 * 8 - 1;
        let mut bytes = vec![skipped; len];
        assert_eq!(position(&bytes, skipped == 0, whole.clone()), None);
        for at in (0..len as u64 * 8)
            .step_by(257)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            set(&mut bytes, at, skipped == 0);
            assert_eq!(position(&bytes, skipped == 0, whole.clone()), Some(at));
        }
    }
}

#[test]
fn ranges_outside_hold_nothing() {
    assert_eq!(count_range(b"\xff", 0..=8), 0);
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is tested")]
    let empty: RangeInclusive<u64> = 5..=4;
    assert_eq!(count_range(b"\xff", empty.clone()), 0);
    assert_eq!(position(b"\xff", true, empty), None);
    assert_eq!(position(b"\xff", true, u64::MAX..=u64::MAX), None);
    assert_eq!(position(b"", true, 0..=0), None);
}

#[test]
fn no_operands_give_nothing() {
    for operation in ALL {
        let mut output = b"old".to_vec();
        combine(operation, &[], &mut output);
        assert_eq!(output, b"");
        combine(operation, &[Operand::Bytes(b"")], &mut output);
        assert_eq!(output, b"");
    }
}

#[test]
fn fields_at_their_limits() {
    let field = |signed, bits| Field::new(signed, bits).unwrap();
    assert_eq!(Field::new(true, 0), None);
    assert_eq!(Field::new(true, 65), None);
    assert_eq!(Field::new(false, 64), None);
    let (i8_, u8_, i64_) = (field(true, 8), field(false, 8), field(true, 64));
    assert_eq!(i8_.fit(128, Overflow::Wrap), Some(-128));
    assert_eq!(i8_.fit(128, Overflow::Sat), Some(127));
    assert_eq!(i8_.fit(-129, Overflow::Sat), Some(-128));
    assert_eq!(i8_.fit(i64::MIN + 128, Overflow::Sat), Some(-128));
    assert_eq!(i8_.fit(i64::MIN + 127, Overflow::Sat), Some(127));
    assert_eq!(i8_.fit(-129, Overflow::Fail), None);
    assert_eq!(u8_.fit(-1, Overflow::Wrap), Some(255));
    assert_eq!(u8_.fit(-1, Overflow::Sat), Some(255));
    assert_eq!(u8_.add(250, 10, Overflow::Wrap), Some(4));
    assert_eq!(u8_.add(0, -1, Overflow::Sat), Some(0));
    assert_eq!(u8_.add(0, i64::MIN, Overflow::Fail), None);
    assert_eq!(i64_.add(i64::MAX, 1, Overflow::Wrap), Some(i64::MIN));
    assert_eq!(i64_.add(i64::MIN, -1, Overflow::Sat), Some(i64::MIN));
    assert_eq!(i64_.fit(i64::MIN, Overflow::Fail), Some(i64::MIN));
    // Beyond the end.
    let mut bytes = *b"\xff";
    assert_eq!(u8_.get(&bytes, 4), 0xf0);
    assert_eq!(u8_.get(&bytes, u64::MAX), 0);
    u8_.set(&mut bytes, 4, 0);
    u8_.set(&mut bytes, u64::MAX, 1);
    assert_eq!(bytes, [0xf0]);
}

fn cases(all: u32) -> ProptestConfig {
    ProptestConfig {
        cases: if cfg!(miri) { 4 } else { all },
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Random bytes with long stretches of equal ones.
fn string(max: usize) -> impl Strategy<Value = Vec<u8>> {
    let max = if cfg!(miri) { max / 20 } else { max };
    let stretch = (prop_oneof![Just(0u8), Just(0xff), any::<u8>()], 1..max / 4);
    let stretches = prop::collection::vec(stretch, 0..4);
    stretches.prop_map(|stretches| {
        let stretches = stretches.into_iter();
        stretches.flat_map(|(byte, len)| vec![byte; len]).collect()
    })
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn ranges_agree_with_single_bits(
        bytes in string(1200),
        bit: bool,
        a in 0..9600u64,
        b in 0..9600u64,
    ) {
        let all = bits_of(&bytes);
        prop_assert_eq!(count(&bytes), all.iter().filter(|bit| **bit).count() as u64);
        prop_assert_eq!(count_portable(&bytes), count(&bytes));
        prop_assert_eq!(first_other(&bytes, 0), first_other_portable(&bytes, 0));
        prop_assert_eq!(first_other(&bytes, 0xff), first_other_portable(&bytes, 0xff));
        if !bytes.is_empty() {
            let (a, b) = (a % all.len() as u64, b % all.len() as u64);
            let range = a.min(b)..=a.max(b);
            let part = &all[*range.start() as usize..=*range.end() as usize];
            let ones = part.iter().filter(|bit| **bit).count() as u64;
            prop_assert_eq!(count_range(&bytes, range.clone()), ones);
            let first = part.iter().position(|other| *other == bit);
            let first = first.map(|at| at as u64 + range.start());
            prop_assert_eq!(position(&bytes, bit, range), first);
        }
    }

    #[test]
    fn combinations_agree_with_single_bits(
        mut operands in prop::collection::vec(string(12_000), 1..5),
        which in 0..ALL.len(),
        capacity in 0..12_000usize,
        own in 0..8usize,
    ) {
        let operation = ALL[which];
        if operation == Operation::Not {
            operands.truncate(1);
        }
        let expected = naive(operation, &operands);
        // One or two of the operands may be what is overwritten; or something else is.
        let own_bytes = operands.get(own).cloned();
        let is_own = |bytes: &Vec<u8>| own_bytes.as_ref() == Some(bytes);
        let given: Vec<Operand<'_>> = operands
            .iter()
            .map(|bytes| match is_own(bytes) {
                true => Operand::Output,
                false => Operand::Bytes(bytes),
            })
            .collect();
        let before = own_bytes.clone().unwrap_or_else(|| vec![0x55; capacity]);
        let mut output = before.clone();
        combine(operation, &given, &mut output);
        prop_assert_eq!(&output, &expected);
        let mut output = before;
        combine_portable(operation, &given, &mut output);
        prop_assert_eq!(&output, &expected);
    }

    #[test]
    fn fields_agree_with_single_bits(
        bytes in prop::collection::vec(any::<u8>(), 0..24),
        signed: bool,
        bits in 1..=64u32,
        offset in 0..200u64,
        value: i64,
    ) {
        let field = Field::new(signed, bits).or(Field::new(true, bits)).unwrap();
        let signed = signed || bits == 64;
        let window = offset..offset + u64::from(bits);
        let plain = window.clone().fold(0, |sum, at| sum * 2 + i128::from(get(&bytes, at)));
        prop_assert_eq!(i128::from(field.get(&bytes, offset)), wrapped(plain, signed, bits));
        let mut written = bytes.clone();
        field.set(&mut written, offset, value);
        for at in 0..200 {
            let expected = match window.contains(&at) && at < bytes.len() as u64 * 8 {
                true => value >> (window.end - 1 - at) & 1 != 0,
                false => get(&bytes, at),
            };
            prop_assert_eq!(get(&written, at), expected);
        }
        if window.end <= bytes.len() as u64 * 8 {
            let stored = wrapped(i128::from(value), signed, bits);
            prop_assert_eq!(i128::from(field.get(&written, offset)), stored);
        }
    }

    #[test]
    fn overflow_follows_the_exact_sum(
        signed: bool,
        bits in 1..=64u32,
        old: i64,
        increment in prop_oneof![any::<i64>(), -300..300i64],
    ) {
        let field = Field::new(signed, bits).or(Field::new(true, bits)).unwrap();
        let signed = signed || bits == 64;
        let old = wrapped(i128::from(old), signed, bits);
        let sum = old + i128::from(increment);
        let (min, max) = match signed {
            true => (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1),
            false => (0, (1 << bits) - 1),
        };
        let add = |overflow| field.add(old as i64, increment, overflow).map(i128::from);
        prop_assert_eq!(add(Overflow::Wrap), Some(wrapped(sum, signed, bits)));
        prop_assert_eq!(add(Overflow::Sat), Some(sum.clamp(min, max)));
        prop_assert_eq!(add(Overflow::Fail), (min..=max).contains(&sum).then_some(sum));
    }
}
