use super::*;
use proptest::prelude::*;

fn texts(view: View<'_>) -> Vec<Vec<u8>> {
    view.iter().map(|element| element.to_vec()).collect()
}

/// What must hold for every listpack: valid bytes, the same elements in both directions, the
/// model's.
fn check(pack: &Listpack, model: &[Vec<u8>]) {
    assert_eq!(texts(pack.view()), model);
    let mut backwards: Vec<_> = pack
        .view()
        .iter()
        .rev()
        .map(|element| element.to_vec())
        .collect();
    backwards.reverse();
    assert_eq!(backwards, model);
    assert_eq!(pack.len(), model.len());
    assert_eq!(pack.is_empty(), model.is_empty());
    assert_eq!(pack.byte_len(), pack.as_bytes().len());
    assert_eq!(pack.heap_bytes(), size_class(pack.byte_len()));
    let size: usize = model.iter().map(|text| encoded_len(text)).sum();
    assert_eq!(pack.byte_len(), HEADER + size + 1);
    let copy = Listpack::from_bytes(pack.as_bytes());
    assert_eq!(copy.as_ref().map(Listpack::as_bytes), Ok(pack.as_bytes()));
}

#[test]
fn bytes_are_those_of_redis() {
    let mut pack = Listpack::new();
    assert_eq!(pack.as_bytes(), [7, 0, 0, 0, 0, 0, 0xFF]);
    for text in [
        "a",
        "127",
        "-1",
        "4096",
        "-40000",
        "8388608",
        "4294967296",
        "007",
        "",
    ] {
        assert!(pack.push_back(text.as_bytes()));
    }
    let entries: &[&[u8]] = &[
        &[47, 0, 0, 0, 9, 0],
        &[0x81, b'a', 2],
        &[127, 1],
        &[0xDF, 0xFF, 2],
        &[0xF1, 0, 0x10, 3],
        &[0xF2, 0xC0, 0x63, 0xFF, 4],
        &[0xF3, 0, 0, 0x80, 0, 5],
        &[0xF4, 0, 0, 0, 0, 1, 0, 0, 0, 9],
        &[0x83, b'0', b'0', b'7', 4],
        &[0x80, 1],
        &[0xFF],
    ];
    assert_eq!(pack.as_bytes(), entries.concat());
}

#[test]
fn edits_at_the_ends_and_within() {
    let mut pack = Listpack::new();
    pack.push_back(b"b");
    pack.push_front(b"a");
    pack.push_back(b"d");
    let d = pack.view().last().unwrap();
    let c = pack.insert_before(d, b"3");
    assert_eq!(texts(pack.view()), [&b"a"[..], b"b", b"3", b"d"]);
    assert_eq!(pack.view().get(c), Element::Int(3));
    pack.replace(c, &[b'x'; 5000]);
    assert_eq!(pack.view().get(pack.view().nth(2).unwrap()).len(), 5000);
    let after = pack.remove(c).unwrap();
    assert!(pack.view().get(after).is(b"d"));
    assert_eq!(pack.remove(after), None);
    let first = pack.view().first().unwrap();
    assert_eq!(pack.view().find(first, b"b", 0), pack.view().next(first));
    assert_eq!(pack.view().find(first, b"b", 1), None);
    assert_eq!(pack.remove_n(first, 9), None);
    check(&pack, &[]);
}

#[test]
fn many_entries_are_counted_as_soon_as_the_header_can_say_it() {
    let entries = if cfg!(miri) { 70 } else { 70_000 };
    let numbers: Vec<_> = (0..entries)
        .map(|number| Element::Int(number % 100))
        .collect();
    let mut pack = Listpack::new();
    assert!(pack.push_back_elements(numbers.iter().copied()));
    assert_eq!(pack.len(), numbers.len());
    assert!(pack.view().nth(numbers.len() - 1).is_some());
    assert_eq!(pack.view().nth(numbers.len()), None);
    let copy = Listpack::from_bytes(pack.as_bytes()).unwrap();
    let middle = copy.view().nth(numbers.len() / 2).unwrap();
    let mut front = copy.clone();
    let mut back = front.split_off(middle);
    assert_eq!(
        (front.len(), back.len()),
        (numbers.len() / 2, numbers.len() / 2)
    );
    assert!(front.append(back.view()) && back.prepend(front.view()));
    assert_eq!(back.len(), numbers.len() / 2 * 3);
    assert_eq!(front.as_bytes(), pack.as_bytes());
    pack.remove_n(pack.view().first().unwrap(), 10);
    assert_eq!(pack.len(), numbers.len() - 10);
    pack.truncate(20);
    assert_eq!(pack.len(), 20);
    assert_eq!(pack.as_bytes()[4..6], [20, 0]);
    // A count that is not known although it could be is known afterwards.
    let mut bytes = pack.as_bytes().to_vec();
    bytes[4..6].fill(0xFF);
    assert_eq!(
        Listpack::from_bytes(&bytes).unwrap().as_bytes(),
        pack.as_bytes()
    );
}

#[test]
fn longer_backlens_of_redis_are_shortened() {
    // Entries of 2^14 - 1 bytes have two bytes behind them here, and three in Redis.
    let text = vec![b'x'; 0x3FFF - 5];
    let mut pack = Listpack::new();
    pack.push_back_all([b"1".as_slice(), &text, b"a", &text, b"b"]);
    let mut bytes = pack.as_bytes().to_vec();
    let end = HEADER + 2 + 0x3FFF;
    assert_eq!(bytes[end..end + 2], [0x7F, 0xFF]);
    bytes.insert(end, 0);
    bytes[end + 1] = 0xFF;
    bytes[0] += 1;
    assert!(View::new(&bytes).is_err());
    assert_eq!(
        Listpack::from_bytes(&bytes).unwrap().as_bytes(),
        pack.as_bytes()
    );
    bytes[end + 1] = 0x7F;
    assert!(Listpack::from_bytes(&bytes).is_err());
}

#[test]
fn too_large_insertions_change_nothing() {
    let mut pack = Listpack::new();
    pack.push_back(b"a");
    assert!(pack.view().fits(BYTES_MAX - pack.byte_len()));
    assert!(!pack.view().fits(BYTES_MAX - pack.byte_len() + 1));
    assert!(!pack.view().fits(usize::MAX));
    // A slice as large as the format forbids, without its memory: it is never read but for its
    // ends.
    if !cfg!(miri) {
        let large = vec![0; BYTES_MAX];
        let first = pack.view().first().unwrap();
        assert!(!pack.push_back(&large));
        assert!(!pack.push_back_all([&large[..], &large[..], &large[..], &large[..]]));
        pack.insert_before(first, &large);
        pack.replace(first, &large);
    }
    check(&pack, &[b"a".to_vec()]);
}

#[test]
fn stale_positions_do_no_harm() {
    let mut pack = Listpack::new();
    pack.push_back_all([b"aaaaaaaaaaaaaaaaaaaa".as_slice(), b"b", b"c"]);
    let last = pack.view().last().unwrap();
    let second = pack.view().prev(last).unwrap();
    pack.remove_n(pack.view().first().unwrap(), 2);
    assert_eq!(pack.view().next(second), None);
    assert_eq!(pack.view().find(second, b"c", 0), None);
    assert_eq!(pack.view().iter_from(last).next(), None);
    assert_eq!(pack.remove(last), None);
    assert_eq!(pack.insert_before(last, b"d"), pack.view().last().unwrap());
    check(&pack, &[b"c".to_vec(), b"d".to_vec()]);
}

#[test]
fn texts_of_other_kinds_are_found() {
    // The same text in all ways it can be written.
    let entries: &[&[u8]] = &[
        &[0x82, b'1', b'2', 3],
        &[0xE0, 2, b'1', b'2', 4],
        &[0xF0, 2, 0, 0, 0, b'1', b'2', 7],
        &[12, 1],
        &[0xC0, 12, 2],
        &[0xF4, 12, 0, 0, 0, 0, 0, 0, 0, 9],
        &[0xE0, 1, b'a', 3],
        &[0xFF],
    ];
    let mut bytes = [&[0, 0, 0, 0, 7, 0], &entries.concat()[..]].concat();
    bytes[0] = bytes.len() as u8;
    let view = View::new(&bytes).unwrap();
    assert!(
        view.iter()
            .take(6)
            .all(|element| element == Element::Int(12))
    );
    for (position, _) in view.positions().take(6) {
        assert_eq!(view.find(position, b"12", 0), Some(position));
    }
    assert_eq!(view.find(view.first().unwrap(), b"a", 2), view.last());
    assert_eq!(view.find(view.first().unwrap(), b"a", 3), None);
}

const CASES: u32 = if cfg!(miri) { 5 } else { 96 };

/// Texts at the edges of all ways to write them.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let bytes = |len| prop::collection::vec(any::<u8>(), len);
    let edge = prop_oneof![
        Just(0i64),
        Just(1 << 7),
        Just(1 << 12),
        Just(1 << 15),
        Just(1 << 23)
    ];
    let far_edge = prop_oneof![
        Just(1i64 << 31),
        Just(1 << 62),
        Just(i64::MIN),
        Just(i64::MAX)
    ];
    let near = (prop_oneof![edge, far_edge], -2i64..=2, any::<bool>());
    let large = if cfg!(miri) {
        4090..4100usize
    } else {
        4090..20_000usize
    };
    prop_oneof![
        4 => bytes(0..6),
        4 => near.prop_map(|(edge, off, negative)| {
            let value = edge.saturating_add(off);
            let value = if negative { value.saturating_neg() } else { value };
            value.to_string().into_bytes()
        }),
        2 => "[0-9+ -]{1,21}".prop_map(String::into_bytes),
        2 => bytes(60..70),
        1 => bytes(120..132),
        1 => (large, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ]
}

/// One change of listpack and model. `at` is the index of an entry when there are any.
fn change(pack: &mut Listpack, model: &mut Vec<Vec<u8>>, kind: u8, at: usize, texts: &[Vec<u8>]) {
    let text = &texts[0];
    let slices = texts.iter().map(Vec::as_slice);
    let position = pack.view().nth(at);
    match (kind, position) {
        (0, _) => {
            assert!(pack.push_front(text));
            model.insert(0, text.clone());
        }
        (1, _) => {
            assert!(pack.push_back_int(at as i64 * -77));
            model.push((at as i64 * -77).to_string().into_bytes());
        }
        (2, _) => {
            assert!(pack.push_back_all(slices));
            model.extend_from_slice(texts);
        }
        (3, _) => {
            assert!(pack.insert_elements(position, slices.map(Element::Bytes)));
            model.splice(at..at, texts.iter().cloned());
        }
        (4, Some(position)) => {
            assert_eq!(pack.insert_before(position, text), position);
            model.insert(at, text.clone());
        }
        (5, Some(position)) => {
            let element = Element::Bytes(text);
            assert_eq!(pack.insert_element_before(position, element), position);
            assert!(pack.view().get(position).is(text));
            model.insert(at, text.clone());
        }
        (6, Some(position)) => {
            assert_eq!(pack.replace(position, text), position);
            model[at].clone_from(text);
        }
        (7, Some(position)) => {
            let next = pack.remove(position);
            model.remove(at);
            assert_eq!(
                next.map(|next| pack.view().get(next).to_vec()),
                model.get(at).cloned()
            );
        }
        (8, Some(position)) => {
            pack.remove_n(position, texts.len());
            model.drain(at..(at + texts.len()).min(model.len()));
        }
        (9, Some(position)) => {
            let tail = pack.split_off(position);
            let rest = model.split_off(at);
            check(&tail, &rest);
            if at.is_multiple_of(2) {
                assert!(pack.prepend(tail.view()));
                model.splice(0..0, rest);
            } else {
                assert!(pack.append(tail.view()) && pack.append(tail.view()));
                model.extend_from_slice(&rest);
                model.extend(rest);
            }
        }
        (10, _) => {
            pack.truncate(at + 3);
            model.truncate(at + 3);
        }
        (11, Some(_)) => {
            let first = pack.view().first().unwrap();
            pack.remove_n(first, 2);
            model.drain(..model.len().min(2));
        }
        (12, _) => {
            pack.truncate(pack.len().saturating_sub(2));
            model.truncate(model.len().saturating_sub(2));
        }
        _ => {
            assert!(pack.push_back_element(Element::Bytes(text)));
            model.push(text.clone());
        }
    }
}

/// Reading by position agrees with the model.
fn check_reads(pack: &Listpack, model: &[Vec<u8>], needle: &[u8]) {
    let view = pack.view();
    let positions: Vec<_> = view.positions().map(|(position, _)| position).collect();
    let mut backwards: Vec<_> = view
        .positions()
        .rev()
        .map(|(position, _)| position)
        .collect();
    backwards.reverse();
    assert_eq!(positions, backwards);
    assert_eq!(view.first(), positions.first().copied());
    assert_eq!(view.last(), positions.last().copied());
    assert_eq!(view.nth(model.len()), None);
    assert_eq!(view.nth(usize::MAX), None);
    for (index, &position) in positions.iter().enumerate() {
        assert_eq!(view.nth(index), Some(position));
        assert_eq!(view.next(position), positions.get(index + 1).copied());
        assert_eq!(
            view.prev(position),
            index.checked_sub(1).map(|index| positions[index])
        );
        assert!(view.get(position).is(&model[index]));
        assert_eq!(view.iter_from(position).count(), model.len() - index);
        for (needle, skip) in [(needle, 0), (needle, 1), (&model[model.len() / 2], 2)] {
            let found = (index..model.len())
                .step_by(skip + 1)
                .find(|&at| model[at] == needle)
                .map(|at| positions[at]);
            assert_eq!(view.find(position, needle, skip), found);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn behaves_as_a_vector(
        steps in prop::collection::vec(
            (0u8..18, any::<prop::sample::Index>(), prop::collection::vec(text(), 1..4)),
            1..40,
        ),
    ) {
        let (mut pack, mut model) = (Listpack::new(), Vec::new());
        for (kind, at, texts) in steps {
            let at = if model.is_empty() { 0 } else { at.index(model.len()) };
            change(&mut pack, &mut model, kind, at, &texts);
            check(&pack, &model);
            check_reads(&pack, &model, &texts[0]);
        }
    }

    #[test]
    fn changed_bytes_are_refused_or_read_the_same_both_ways(
        texts in prop::collection::vec(text(), 0..6),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0usize..40, any::<u8>()), 1..4),
        len in any::<Option<prop::sample::Index>>(),
    ) {
        let mut pack = Listpack::new();
        pack.push_back_all(texts.iter().map(Vec::as_slice));
        let mut bytes = pack.as_bytes().to_vec();
        for (at, near, byte) in changes {
            // Most changes at the front, where heads are.
            let at = at.index(bytes.len());
            bytes[if near < 30 { near.min(at) } else { at }] = byte;
        }
        bytes.truncate(len.map_or(bytes.len(), |len| len.index(bytes.len() + 1)));
        if let Ok(pack) = Listpack::from_bytes(&bytes) {
            let model: Vec<_> = pack.view().iter().map(|element| element.to_vec()).collect();
            prop_assert_eq!(model.len(), pack.len());
            let mut backwards: Vec<_> = pack.view().iter().rev().map(|element| element.to_vec()).collect();
            backwards.reverse();
            prop_assert_eq!(&model, &backwards);
            check_reads(&pack, &model, b"1");
        }
    }
}
