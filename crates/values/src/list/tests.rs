use super::*;
use crate::DIGITS;
use proptest::prelude::*;
use std::collections::VecDeque;

fn thresholds(list_size: i32, list_compress: u32) -> Thresholds {
    Thresholds {
        list_size,
        list_compress,
        ..Thresholds::default()
    }
}

fn all(list: &List) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    list.visit(0..usize::MAX, false, |element| {
        all.push(element.to_vec());
        ControlFlow::Continue(())
    });
    all
}

fn of(texts: &str, limits: &Thresholds) -> List {
    let mut list = List::new();
    for text in texts.split(' ') {
        list.push(End::Back, text.as_bytes(), limits);
    }
    list
}

fn text(list: &List) -> String {
    let words = all(list)
        .into_iter()
        .map(|it| String::from_utf8(it).unwrap());
    words.collect::<Vec<_>>().join(" ")
}

/// Panics where the structure is not as it should be.
fn check(list: &List, thresholds: &Thresholds) {
    let Form::Quick(quick) = list.form() else {
        return;
    };
    let (limits, nodes) = (Limits::new(thresholds), quick.nodes());
    nodes.check();
    let len = nodes.len();
    let mut scratch = Vec::new();
    for (rank, node) in nodes.iter().enumerate() {
        let (bytes, count) = (node.byte_len(), node.count());
        // A listpack that becomes a node may exceed the limit by the overhead of one entry.
        let fits = limits.allow(bytes.saturating_sub(16), count);
        assert!(
            count == 1 || fits && !node.is_plain(),
            "{bytes} bytes, {count} elements"
        );
        let depth = limits.depth;
        let is_outer = depth == 0 || rank < depth || rank + depth >= len;
        let is_compressed = matches!(node, Node::Compressed(_));
        assert!(!(is_outer && is_compressed), "node {rank} of {len}");
        match node.read(&mut scratch) {
            Contents::Packed(view) => {
                assert_eq!(View::new(view.bytes()).unwrap().len(), count);
                assert_eq!(view.byte_len(), bytes);
                // Long elements of one letter always compress.
                let compresses = count == 1 && bytes > 100;
                assert!(
                    is_outer || is_compressed || !compresses,
                    "node {rank} of {len}"
                );
            }
            Contents::Plain(element) => assert_eq!(element.len(), bytes),
        }
    }
}

#[derive(Clone, Debug)]
enum Change {
    Push(bool, Vec<u8>),
    Insert(usize, Vec<u8>),
    Set(usize, Vec<u8>),
    RemoveRange(usize, usize),
    Pop(bool),
    RemoveEqual(Vec<u8>, usize, bool),
    Reload,
    Clone,
}

fn element() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (-3i64..5).prop_map(|it| it.to_string().into_bytes()),
        2 => any::<i64>().prop_map(|it| it.to_string().into_bytes()),
        4 => "[a-c]{0,3}".prop_map(String::into_bytes),
        3 => (b'a'..b'f', 40usize..400).prop_map(|(byte, len)| vec![byte; len]),
        1 => (b'a'..b'c', 3000usize..10_000).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        8 => (any::<bool>(), element()).prop_map(|(back, it)| Change::Push(back, it)),
        5 => (any::<usize>(), element()).prop_map(|(at, it)| Change::Insert(at, it)),
        4 => (any::<usize>(), element()).prop_map(|(at, it)| Change::Set(at, it)),
        1 => (any::<usize>(), 0usize..12).prop_map(|(at, len)| Change::RemoveRange(at, len)),
        3 => any::<bool>().prop_map(Change::Pop),
        1 => (element(), 0usize..4, any::<bool>())
            .prop_map(|(it, limit, back)| Change::RemoveEqual(it, limit, back)),
        1 => Just(Change::Reload),
        1 => Just(Change::Clone),
    ]
}

fn reload(list: &List, thresholds: &Thresholds) -> List {
    let mut copy = List::new();
    list.each_node(&mut |node| match node {
        NodeRef::Packed(bytes) => copy.append_listpack(bytes, thresholds).unwrap(),
        NodeRef::Plain(bytes) => copy.append_plain(bytes.into(), thresholds),
        NodeRef::Compressed {
            bytes,
            plain_len,
            is_plain,
        } => {
            let bytes = crate::lzf::decompress(bytes, plain_len).unwrap();
            match is_plain {
                true => copy.append_plain(bytes.into(), thresholds),
                false => copy.append_listpack(&bytes, thresholds).unwrap(),
            }
        }
    });
    copy.convert(thresholds);
    copy
}

fn remove_equal(model: &mut VecDeque<Vec<u8>>, value: &[u8], limit: usize, back: bool) -> usize {
    let equal = (0..model.len()).filter(|&it| model[it] == value);
    let mut equal: Vec<usize> = equal.collect();
    if back {
        equal.reverse();
    }
    if limit > 0 {
        equal.truncate(limit);
    }
    equal.sort_unstable();
    for &index in equal.iter().rev() {
        model.remove(index);
    }
    equal.len()
}

fn apply(list: &mut List, model: &mut VecDeque<Vec<u8>>, change: Change, limits: &Thresholds) {
    let len = model.len();
    match change {
        Change::Push(true, element) => {
            list.push(End::Back, &element, limits);
            model.push_back(element);
        }
        Change::Push(false, element) => {
            list.push(End::Front, &element, limits);
            model.push_front(element);
        }
        Change::Insert(at, element) => {
            let at = at % (len + 1);
            list.insert(at, &element, limits);
            model.insert(at, element);
        }
        Change::Set(at, element) => {
            let at = at % (len + 1);
            assert_eq!(list.set(at, &element, limits), at < len);
            if at < len {
                model[at] = element;
            }
        }
        Change::RemoveRange(at, count) => {
            let at = at % (len + 1);
            let range = at..(at + count).min(len);
            assert_eq!(list.remove_range(at..at + count, limits), range.len());
            model.drain(range);
        }
        Change::Pop(back) => {
            let at = if back { len.saturating_sub(1) } else { 0 };
            list.remove_range(at..at + 1, limits);
            model.remove(at);
        }
        Change::RemoveEqual(value, limit, back) => {
            let removed = remove_equal(model, &value, limit, back);
            assert_eq!(list.remove_equal(&value, limit, back, limits), removed);
        }
        Change::Reload => *list = reload(list, limits),
        Change::Clone => *list = list.clone(),
    }
}

fn compare(list: &List, model: &VecDeque<Vec<u8>>, pick: usize) {
    assert_eq!(list.len(), model.len());
    assert_eq!(all(list), Vec::from(model.clone()));
    assert!(list.heap_bytes() >= model.iter().map(Vec::len).sum::<usize>() / 400);
    let at = pick % (model.len() + 1);
    let found = list.with(at, |element| element.as_bytes(&mut { DIGITS }).to_vec());
    assert_eq!(found.as_ref(), model.get(at));
    let mut backwards = Vec::new();
    let range = at / 2..at;
    list.visit(range.clone(), true, |element| {
        backwards.push(element.to_vec());
        ControlFlow::Continue(())
    });
    assert!(backwards.iter().eq(model.range(range).rev()));
    if let Some(value) = model.get(at) {
        for back in [false, true] {
            let mut indexes = Vec::new();
            list.position(value, back, 1, 0, &mut |index| {
                indexes.push(index);
                ControlFlow::Continue(())
            });
            if back {
                indexes.reverse();
            }
            assert!(
                indexes
                    .into_iter()
                    .eq((0..model.len()).filter(|&it| model[it] == *value))
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 3 } else { 128 }))]

    #[test]
    fn lists_are_as_a_deque(
        size in prop::sample::select(vec![1, 2, 4, 50, -1, -2]),
        depth in 0u32..3,
        changes in prop::collection::vec(change(), 1..if cfg!(miri) { 40 } else { 150 }),
        pick: usize,
    ) {
        let limits = thresholds(size, depth);
        let (mut list, mut model) = (List::new(), VecDeque::new());
        for (step, change) in changes.into_iter().enumerate() {
            apply(&mut list, &mut model, change, &limits);
            check(&list, &limits);
            if step % 8 == 0 {
                compare(&list, &model, pick.wrapping_add(step));
            }
        }
        compare(&list, &model, pick);
    }

    #[test]
    fn changed_limits_do_no_harm(
        steps in prop::collection::vec((change(), -2i32..4, 0u32..3), 1..if cfg!(miri) { 30 } else { 100 }),
    ) {
        let (mut list, mut model) = (List::new(), VecDeque::new());
        for (change, size, depth) in steps {
            apply(&mut list, &mut model, change, &thresholds(size, depth));
            if let Form::Quick(quick) = list.form() {
                quick.nodes().check();
            }
        }
        compare(&list, &model, 3);
    }

    #[test]
    fn bytes_from_outside_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let limits = thresholds(-2, 0);
        let mut list = List::new();
        if list.append_listpack(&bytes, &limits).is_err() {
            prop_assert!(list.is_empty());
        }
        list.convert(&limits);
        prop_assert_eq!(all(&list).len(), list.len());
    }
}

#[test]
fn many_nodes_in_the_middle() {
    let count = if cfg!(miri) { 150 } else { 3000 };
    let limits = thresholds(2, 1);
    let (mut list, mut model) = (List::new(), VecDeque::new());
    for number in 0..count {
        let element = number.to_string().into_bytes();
        let at = number * 7919 % (number + 1);
        apply(&mut list, &mut model, Change::Insert(at, element), &limits);
    }
    check(&list, &limits);
    compare(&list, &model, 1234);
    for round in 0..count / 10 {
        let at = round * 104_729 % model.len();
        apply(&mut list, &mut model, Change::RemoveRange(at, 6), &limits);
    }
    check(&list, &limits);
    compare(&list, &model, 77);
    let (from, to) = (model.len() / 4, model.len() / 2);
    apply(
        &mut list,
        &mut model,
        Change::RemoveRange(from, to),
        &limits,
    );
    check(&list, &limits);
    compare(&list, &model, 5);
}

#[test]
fn equal_elements_in_many_nodes() {
    let count = if cfg!(miri) { 80 } else { 5000 };
    for depth in 0..3 {
        let limits = thresholds(2, depth);
        let (mut list, mut model) = (List::new(), VecDeque::new());
        for number in 0..count {
            let element = format!("{:0>60}", number * number % 7).into_bytes();
            apply(
                &mut list,
                &mut model,
                Change::Push(number % 2 == 0, element),
                &limits,
            );
        }
        for (value, limit, back) in [(1, count / 20, true), (2, count / 30, false), (4, 0, true)] {
            let value = format!("{value:0>60}").into_bytes();
            apply(
                &mut list,
                &mut model,
                Change::RemoveEqual(value, limit, back),
                &limits,
            );
            check(&list, &limits);
            compare(&list, &model, count / 2);
        }
    }
}

#[test]
fn forms_change_as_in_redis() {
    let limits = thresholds(3, 0);
    let mut list = of("a b c", &limits);
    assert!(list.is_packed());
    list.push(End::Back, b"d", &limits);
    assert!(!list.is_packed());
    list.remove_range(3..4, &limits);
    assert!(!list.is_packed(), "three are more than half of three");
    assert!(reload(&list, &limits).is_packed());
    list.remove_range(1..3, &limits);
    assert!(list.is_packed());

    let mut list = of("a a a d", &limits);
    assert_eq!(list.remove_equal(b"a", 3, false, &limits), 3);
    assert!(list.is_packed());
    let mut list = of("a b c", &limits);
    list.set(0, b"x", &limits);
    assert!(!list.is_packed(), "asked as if one more came");

    let limits = thresholds(-1, 0);
    let large = "x".repeat(8192);
    let mut list = of(&format!("{large} a b"), &limits);
    assert_eq!(list.nodes(), 2);
    list.remove_range(1..3, &limits);
    assert!(!list.is_packed(), "a long element");
    list.set(0, b"c", &limits);
    assert!(list.is_packed());
    let mut list = of(&format!("a {large} b"), &limits);
    list.remove_range(1..2, &limits);
    assert_eq!((list.nodes(), text(&list).as_str()), (2, "a b"));
    list.remove_range(0..1, &limits);
    assert!(list.is_packed());

    let limits = thresholds(0, 0);
    let mut list = of("a", &limits);
    assert!(list.is_packed());
    list.push(End::Front, b"b", &limits);
    assert!(!list.is_packed());
}

#[test]
fn ranks_and_limits_of_position() {
    let limits = thresholds(2, 0);
    let list = of("a b c 1 2 3 c c", &limits);
    let find = |value: &str, back, rank, maxlen| {
        let mut found = Vec::new();
        list.position(value.as_bytes(), back, rank, maxlen, &mut |index| {
            found.push(index);
            ControlFlow::Continue(())
        });
        found
    };
    assert_eq!(find("c", false, 1, 0), [2, 6, 7]);
    assert_eq!(find("c", false, 2, 0), [6, 7]);
    assert_eq!(find("c", true, 1, 0), [7, 6, 2]);
    assert_eq!(find("c", true, 2, 0), [6, 2]);
    assert_eq!(find("c", true, 1, 3), [7, 6]);
    assert_eq!(find("c", false, 2, 7), [6]);
    assert_eq!(find("1", false, 1, 0), [3]);
    assert!(find("01", false, 1, 0).is_empty());
}

#[test]
fn inner_nodes_are_compressed() {
    let limits = thresholds(-1, 1);
    let mut list = List::new();
    let count = if cfg!(miri) { 1200 } else { 4000 };
    for number in 0..count {
        list.push(
            End::Back,
            format!("element number {number}").as_bytes(),
            &limits,
        );
    }
    check(&list, &limits);
    let mut kinds = Vec::new();
    list.each_node(&mut |node| kinds.push(matches!(node, NodeRef::Compressed { .. })));
    assert!(kinds.len() > 4);
    assert_eq!(kinds.iter().filter(|it| !**it).count(), 2);
    let middle = count / 2;
    let expected = format!("element number {middle}").into_bytes();
    assert_eq!(list.with(middle, |it| it.to_vec()), Some(expected));
    list.set(middle, b"changed", &limits);
    list.insert(middle + 300, b"new", &limits);
    check(&list, &limits);
    let plain = {
        let mut copy = List::new();
        for element in all(&list) {
            copy.push(End::Back, &element, &thresholds(-1, 0));
        }
        copy
    };
    assert!(list.heap_bytes() < plain.heap_bytes() / 4 * 3);
    assert_eq!(all(&list), all(&plain));
}
