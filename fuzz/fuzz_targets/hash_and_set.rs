//! Packed hashes and sets from outside are refused, or are collections of distinct elements that
//! can be changed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::HashSet;
use values::listpack::Listpack;
use values::{FieldDeadline, Hash, Set, Thresholds};

fn hash(bytes: &[u8]) {
    let limits = Thresholds::default();
    let Ok(mut hash) = Hash::from_listpack(bytes) else {
        return;
    };
    let fields: HashSet<_> = hash.iter(0).map(|(field, _)| field.to_vec()).collect();
    assert_eq!(fields.len(), hash.len());
    let copy = hash.pack_bytes().map(Hash::from_listpack);
    assert!(copy.is_some_and(|copy| copy.is_ok_and(|copy| copy.len() == hash.len())));
    for (i, field) in fields.iter().enumerate() {
        assert!(hash.get(field, 0).is_some());
        match i % 3 {
            0 => assert!(!hash.set(field, b"12", FieldDeadline::Keep, &limits)),
            1 => assert!(hash.set_deadline(field, (i > 9).then_some(7))),
            _ => assert!(hash.remove(field)),
        }
    }
    assert_eq!(hash.iter(0).count(), hash.len());
}

fn set(mut set: Set) {
    let limits = Thresholds::default();
    let members: HashSet<_> = set.iter().map(|member| member.to_vec()).collect();
    assert_eq!(members.len(), set.len());
    for (i, member) in members.iter().enumerate() {
        assert!(set.contains(member));
        assert!(!set.add(member, &limits));
        if i % 2 == 0 {
            assert!(set.remove(member));
        }
    }
    set.add(b"0", &limits);
    set.add(b"text", &limits);
    assert_eq!(set.iter().count(), set.len());
}

fuzz_target!(|bytes: &[u8]| {
    // The bytes as they are, and as texts of a listpack.
    let mut texts = Listpack::new();
    texts.push_back_all(bytes.split(|byte| *byte == b' '));
    hash(texts.as_bytes());
    Set::from_listpack(texts.as_bytes())
        .into_iter()
        .for_each(set);
    hash(bytes);
    Set::from_listpack(bytes).into_iter().for_each(set);
    Set::from_intset(bytes).into_iter().for_each(set);
});
