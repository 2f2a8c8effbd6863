//! Bytes that pass as an intset are a set in order, and edits do to it what they do to a plain set.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;
use values::intset::Intset;

fn check(set: &Intset, model: &BTreeSet<i64>) {
    assert!(set.iter().eq(model.iter().copied()));
    assert!(set.iter().rev().eq(model.iter().rev().copied()));
    let copy = Intset::from_bytes(set.as_bytes()).expect("what was written is valid");
    assert_eq!(copy.as_bytes(), set.as_bytes());
}

fuzz_target!(|data: &[u8]| {
    let _ = Intset::from_bytes(data);
    let (first, rest) = data.split_at(data.len() / 2);
    let mut set = Intset::from_bytes(first).unwrap_or_default();
    let mut model: BTreeSet<i64> = set.iter().collect();
    check(&set, &model);
    for step in rest.chunks_exact(9).take(64) {
        let (kind, value) = (step[0], i64::from_le_bytes(step[1..].try_into().unwrap()));
        // Values of all widths.
        let value = value >> (kind & 0x3F);
        match kind >> 6 {
            0..3 => assert_eq!(set.insert(value), model.insert(value)),
            _ => {
                let there = set.iter().nth(step[1].into());
                let value = there.unwrap_or(value);
                assert_eq!(set.remove(value), model.remove(&value));
            }
        }
        assert_eq!(set.contains(value), model.contains(&value));
    }
    check(&set, &model);
});
