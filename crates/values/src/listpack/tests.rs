use super::*;

fn texts(view: View<'_>) -> Vec<Vec<u8>> {
    view.iter().map(|element| element.to_vec()).collect()
}

/// What must hold for every listpack: valid bytes, the same elements in both directions, the model's.
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
    let last = pack.view().last().unwrap();
    let d = pack.insert_after(last, b"d");
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
