use super::*;
use crate::edit::StringError;
use crate::tests::{DB, one_shard};
use std::sync::Arc;
use values::{BigString, End, FieldDeadline, Hash, List, Set, SortedSet, Thresholds};

fn owned(key: &[u8], value: NewValue<'_>, deadline: Option<u64>) -> OwnedBlock {
    let block = Block::create(key, value.into_payload(key.len()), deadline, 0x00ab_cdef);
    // SAFETY: the block is new, and this is its only copy.
    unsafe { OwnedBlock::new(block) }
}

fn block_bytes(key: &[u8], value: NewValue<'_>, deadline: Option<u64>) -> usize {
    owned(key, value, deadline).block().capacity()
}

#[test]
fn blocks_are_as_small_as_promised() {
    let key = b"sixteen-byte-key";
    assert_eq!(block_bytes(key, NewValue::Bytes(b"12345x78"), None), 32);
    assert_eq!(block_bytes(key, NewValue::Bytes(&[b'x'; 32]), None), 56);
    assert_eq!(block_bytes(key, NewValue::Bytes(&[b'x'; 32]), Some(1)), 64);
    assert_eq!(block_bytes(key, NewValue::Int(7), None), 24);
    assert_eq!(block_bytes(key, NewValue::Int(i64::MIN), None), 32);
    assert_eq!(block_bytes(b"", NewValue::Int(0), None), 8);
    assert_eq!(block_bytes(key, NewValue::Raw(&[b'x'; 70_000]), None), 32);
}

#[test]
fn every_width_of_key_value_and_integer_reads_back() {
    let long = vec![b'k'; 70_001];
    let mut values: Vec<NewValue<'_>> = Vec::new();
    for shift in 0..63 {
        for near in [-1, 0, 1] {
            values.push(NewValue::Int((1i64 << shift).wrapping_add(near)));
            values.push(NewValue::Int((-1i64 << shift).wrapping_add(near)));
        }
    }
    values.push(NewValue::Int(i64::MAX));
    for len in [
        0,
        1,
        2,
        7,
        8,
        44,
        45,
        255,
        256,
        257,
        INLINE_MAX,
        INLINE_MAX + 1,
    ] {
        values.push(NewValue::Bytes(&long[..len]));
        values.push(NewValue::Raw(&long[..len]));
    }
    let buffer = Arc::new(long.clone());
    let part = BigString::part_of(&buffer, &buffer[..INLINE_MAX + 1]);
    values.push(NewValue::Big(Arc::new(part.unwrap())));
    for key_len in [0, 1, 2, 3, 255, 256, 65_535, 65_536, 70_000] {
        for deadline in [None, Some(0), Some(u64::MAX)] {
            for value in &values {
                let (value, text) = match value {
                    NewValue::Int(value) => (NewValue::Int(*value), value.to_string().into_bytes()),
                    NewValue::Raw(bytes) => (NewValue::Raw(bytes), bytes.to_vec()),
                    NewValue::Bytes(bytes) => (NewValue::Bytes(bytes), bytes.to_vec()),
                    NewValue::Big(big) => (NewValue::Big(big.clone()), big.as_slice().to_vec()),
                    NewValue::Owned(_) => unreachable!(),
                };
                if key_len > 300 && text.len() > 300 && deadline.is_none() {
                    continue;
                }
                let block = owned(&long[..key_len], value, deadline);
                let entry = block.entry();
                assert_eq!(entry.key(), &long[..key_len]);
                assert!(block.block().key_is(&long[..key_len]));
                assert!(!block.block().key_is(&long[..key_len + 1]));
                assert_eq!(entry.deadline(), deadline);
                assert_eq!(entry.lru(), 0x00ab_cdef);
                assert_eq!(entry.string().unwrap().to_vec(), text);
                assert_eq!(entry.string().unwrap().len(), text.len());
                assert_eq!(block.into_value().string().unwrap().to_vec(), text);
            }
        }
    }
}

#[test]
fn a_key_is_equal_to_itself_alone() {
    for len in (0..=40).chain([255, 256, 300]) {
        let key: Vec<u8> = (0..len).map(|at| at as u8).collect();
        let owner = owned(&key, NewValue::Bytes(b"value"), None);
        let block = owner.block();
        assert!(block.key_is(&key));
        assert!(!block.key_is(&[&key[..], b"x"].concat()));
        for at in 0..key.len() {
            let mut other = key.clone();
            other[at] ^= 1;
            assert!(!block.key_is(&other), "{len} {at}");
        }
    }
}

#[test]
fn encodings_are_those_of_redis() {
    let encoding = |value: NewValue<'_>| owned(b"k", value, None).entry().value_type();
    assert_eq!(encoding(NewValue::Int(1)), Type::String);
    let name = |value: NewValue<'_>| {
        let block = owned(b"k", value, None);
        block.entry().encoding().to_string()
    };
    assert_eq!(name(NewValue::Bytes(b"12")), "int");
    assert_eq!(name(NewValue::Bytes(b"012")), "embstr");
    assert_eq!(name(NewValue::Raw(b"12")), "raw");
    assert_eq!(name(NewValue::Bytes(&[b'x'; 44])), "embstr");
    assert_eq!(name(NewValue::Bytes(&[b'x'; 45])), "raw");
    assert_eq!(name(NewValue::Bytes(&[b'x'; 70_000])), "raw");
    assert_eq!(
        name(NewValue::Owned(Value::Bytes(b"12".as_slice().into()))),
        "embstr"
    );
    assert_eq!(
        name(NewValue::Owned(Value::Raw(b"12".as_slice().into()))),
        "raw"
    );
    assert_eq!(
        name(NewValue::Owned(Value::Bytes(
            [b'x'; 70_000].as_slice().into()
        ))),
        "raw"
    );
}

#[test]
fn a_shared_string_is_copied_before_it_is_changed() {
    let mut shard = one_shard();
    let hash = shard.hash(b"k");
    let text = vec![b'x'; 100_000];
    shard.put(DB, hash, b"k", NewValue::Bytes(&text), None, 0);
    let held = match shard.find(DB, hash, b"k").unwrap().string().unwrap() {
        StringRef::Big(big) => big.clone(),
        other => panic!("{other:?}"),
    };
    let mut entry = shard.find_mut(DB, hash, b"k").unwrap();
    assert_eq!(entry.append(b"yz"), Ok(100_002));
    entry.string_mut().unwrap()[0] = b'!';
    assert_eq!(held.as_slice(), text);
    let now = shard
        .find(DB, hash, b"k")
        .unwrap()
        .string()
        .unwrap()
        .to_vec();
    assert_eq!(
        (now[0], now.len(), &now[99_999..]),
        (b'!', 100_002, b"xyz".as_slice())
    );
}

#[test]
fn appending_moves_the_value_a_logarithmic_number_of_times() {
    let mut shard = one_shard();
    let hash = shard.hash(b"k");
    shard.put(DB, hash, b"k", NewValue::Bytes(b""), Some(77), 3);
    let mut blocks = 0;
    let mut last = 0;
    for len in 1..=100_000 {
        let mut entry = shard.find_mut(DB, hash, b"k").unwrap();
        assert_eq!(entry.append(b"a"), Ok(len));
        let usage = entry.memory_usage();
        blocks += usize::from(usage != last);
        last = usage;
    }
    assert!(blocks < 60, "{blocks}");
    let entry = shard.find(DB, hash, b"k").unwrap();
    assert_eq!((entry.deadline(), entry.lru()), (Some(77), 3));
    assert!(
        entry
            .string()
            .unwrap()
            .to_vec()
            .iter()
            .all(|byte| *byte == b'a')
    );
}

#[test]
fn set_gives_spare_room_back() {
    let mut shard = one_shard();
    let hash = shard.hash(b"k");
    shard.put(DB, hash, b"k", NewValue::Bytes(b"x"), None, 0);
    shard
        .find_mut(DB, hash, b"k")
        .unwrap()
        .append(&[b'x'; 500])
        .unwrap();
    assert!(shard.find(DB, hash, b"k").unwrap().memory_usage() > 1000);
    shard.put(DB, hash, b"k", NewValue::Bytes(&[b'x'; 501]), None, 0);
    assert!(shard.find(DB, hash, b"k").unwrap().memory_usage() < 600);
}

#[test]
fn lengths_beyond_an_address_space_are_refused() {
    let mut shard = one_shard();
    let hash = shard.hash(b"k");
    shard.put(DB, hash, b"k", NewValue::Int(12), None, 0);
    let mut entry = shard.find_mut(DB, hash, b"k").unwrap();
    assert_eq!(entry.set_range(usize::MAX, b"x"), Err(StringError::TooLong));
    assert_eq!(
        entry.set_range(usize::MAX / 2, b"x"),
        Err(StringError::TooLong)
    );
    assert_eq!(entry.set_range(usize::MAX, b""), Ok(2));
    assert_eq!(entry.encoding(), Encoding::Int);
    assert_eq!(entry.set_range(3, b"x"), Ok(4));
    assert_eq!(entry.string().unwrap().to_vec(), b"12\0x");
    assert_eq!(entry.encoding(), Encoding::Raw);
}

/// Packed collections of every type and form, with one to four elements of `len` bytes.
fn collections(len: usize) -> Vec<Value> {
    let limits = Thresholds::default();
    let text = |index: usize| format!("{index}{}", "x".repeat(len.saturating_sub(1)));
    let mut values = Vec::new();
    for count in 1..=4 {
        let (mut list, mut hash) = (List::new(), Hash::new());
        let (mut integers, mut members) = (Set::new(), Set::new());
        let mut sorted = SortedSet::new();
        for index in 0..count {
            let text = text(index);
            let text = text.as_bytes();
            list.push(End::Back, text, &limits);
            hash.set(text, text, FieldDeadline::Clear, &limits);
            integers.add(format!("{}", index << (len % 50)).as_bytes(), &limits);
            members.add([text, b"m"].concat().as_slice(), &limits);
            sorted.insert(text, index as f64, &limits);
        }
        values.extend([
            Value::List(list),
            Value::Hash(hash),
            Value::Set(integers),
            Value::Set(members),
            Value::ZSet(sorted),
        ]);
    }
    values
}

fn pack_of(value: ValueRef<'_>) -> (Encoding, Vec<u8>) {
    let encoding = value.out_of_line_encoding().unwrap();
    let bytes = match value {
        ValueRef::List(list) => list.pack_bytes(),
        ValueRef::Set(set) => set.pack_bytes(),
        ValueRef::ZSet(set) => set.pack_bytes(),
        ValueRef::Hash(hash) => hash.pack_bytes(),
        other => panic!("{other:?}"),
    };
    (encoding, bytes.unwrap().to_vec())
}

#[test]
fn small_collections_lie_in_their_entries() {
    let lengths: &[usize] = if cfg!(miri) {
        &[3, 60]
    } else {
        &[1, 3, 8, 20, 60, 63]
    };
    let key_lengths: &[usize] = if cfg!(miri) {
        &[1, 255, 256]
    } else {
        &[0, 1, 2, 16, 255, 256, 70_000]
    };
    for value in lengths.iter().flat_map(|&len| collections(len)) {
        let expected = pack_of(value.as_value_ref());
        for &key_len in key_lengths {
            let key = vec![b'k'; key_len];
            for deadline in [None, Some(7)] {
                let block = owned(&key, NewValue::Owned(value.clone()), deadline);
                let fits = expected.1.len() <= 255 && key_len <= 255;
                let storage = if fits {
                    Storage::Embedded
                } else {
                    Storage::OutOfLine
                };
                assert_eq!(block.storage(), storage);
                let entry = block.entry();
                assert_eq!((entry.key(), entry.deadline()), (key.as_slice(), deadline));
                assert_eq!(pack_of(entry.value()), expected);
                assert_eq!(entry.encoding(), expected.0);
                assert_eq!(entry.value().heap_bytes() == 0, fits);
                assert_eq!(pack_of(entry.to_value().as_value_ref()), expected);
                let value = block.into_value();
                assert_eq!(pack_of(value.as_value_ref()), expected);
            }
        }
    }
}

#[test]
fn an_embedded_collection_takes_one_block() {
    let hash = |value: &str| {
        let mut hash = Hash::new();
        for field in 1..=5 {
            let field = format!("field{field}");
            let limits = Thresholds::default();
            hash.set(
                field.as_bytes(),
                value.as_bytes(),
                FieldDeadline::Clear,
                &limits,
            );
        }
        NewValue::Owned(Value::Hash(hash))
    };
    assert_eq!(
        block_bytes(b"sixteen-byte-key", hash("elm:000000000001"), None),
        160
    );
    assert_eq!(block_bytes(b"sixteen-byte-key", hash("v"), None), 96);
}

#[test]
fn a_change_in_place_moves_a_collection_out() {
    let mut shard = one_shard();
    let hash = shard.hash(b"k");
    let limits = Thresholds::default();
    for value in collections(8) {
        let expected = pack_of(value.as_value_ref());
        shard.put(DB, hash, b"k", NewValue::Owned(value), Some(77), 3);
        let mut entry = shard.find_mut(DB, hash, b"k").unwrap();
        entry.set_deadline(None);
        assert_eq!(pack_of(entry.value()), expected);
        entry.set_deadline(Some(78));
        assert_eq!(pack_of(entry.value()), expected);
        match entry.value_mut() {
            ValueMut::List(list) => list.push(End::Back, b"more", &limits),
            ValueMut::Set(set) => drop(set.add(b"1234", &limits)),
            ValueMut::ZSet(set) => drop(set.insert(b"more", 9.0, &limits)),
            ValueMut::Hash(hash) => {
                hash.set(b"more", b"value", FieldDeadline::Clear, &limits);
            }
            other => panic!("{other:?}"),
        }
        let entry = shard.find(DB, hash, b"k").unwrap();
        assert_eq!((entry.deadline(), entry.lru()), (Some(78), 3));
        assert!(entry.value().heap_bytes() > 0);
        assert!(pack_of(entry.value()).1.len() > expected.1.len());
        let block_bytes = shard.entries(DB).map(|entry| entry.block.capacity()).sum();
        assert_eq!(shard.stats(DB).block_bytes, block_bytes);
        // Stored as a whole, it lies in the block again.
        let value = shard.remove(DB, hash, b"k").unwrap().into_value();
        shard.put(DB, hash, b"k", NewValue::Owned(value), None, 3);
        let entry = shard.find(DB, hash, b"k").unwrap();
        assert_eq!(entry.value().heap_bytes(), 0);
        shard.put(DB, hash, b"k", NewValue::Bytes(b"text"), None, 3);
    }
}

#[test]
fn an_integer_replaces_another_of_any_width() {
    let mut shard = one_shard();
    let numbers = [
        0,
        -1,
        127,
        -128,
        128,
        40_000,
        -70_000,
        1 << 40,
        i64::MIN,
        i64::MAX,
    ];
    for key in [b"".as_slice(), b"k", &[b'k'; 300]] {
        let hash = shard.hash(key);
        for (old, new) in numbers
            .iter()
            .flat_map(|old| numbers.map(|new| (*old, new)))
        {
            shard.put(DB, hash, key, NewValue::Int(old), Some(77), 3);
            let mut entry = shard.find_mut(DB, hash, key).unwrap();
            assert!(entry.set_integer(new).is_none());
            let entry = shard.find(DB, hash, key).unwrap();
            assert_eq!(entry.string().unwrap().parse_i64(), Some(new));
            assert_eq!(
                (entry.key(), entry.deadline(), entry.lru()),
                (key, Some(77), 3)
            );
            let bytes = shard.entries(DB).map(|entry| entry.block.capacity()).sum();
            assert_eq!(shard.stats(DB).block_bytes, bytes);
        }
    }
    let hash = shard.hash(b"text");
    shard.put(DB, hash, b"text", NewValue::Bytes(b"text"), None, 3);
    let mut entry = shard.find_mut(DB, hash, b"text").unwrap();
    entry.set_integer(5);
    assert_eq!(entry.encoding(), Encoding::Int);
}
