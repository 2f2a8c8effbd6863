//! Bytes that pass as a listpack read the same in both directions, and edits do to it what they do
//! to a vector.

#![no_main]

use libfuzzer_sys::fuzz_target;
use values::listpack::{Listpack, View};

fn texts(view: View<'_>) -> Vec<Vec<u8>> {
    view.iter().map(|element| element.to_vec()).collect()
}

/// Walks both ways, one position after the other.
fn walk(view: View<'_>) -> Vec<Vec<u8>> {
    let forwards = texts(view);
    let mut backwards = Vec::new();
    let mut next = view.last();
    while let Some(position) = next {
        backwards.push(view.get(position).to_vec());
        next = view.prev(position);
    }
    backwards.reverse();
    assert_eq!(forwards, backwards);
    assert_eq!(forwards.len(), view.len());
    forwards
}

/// One edit: its kind, the index of an entry, the length of a text that `text` begins with.
fn edit(pack: &mut Listpack, model: &mut Vec<Vec<u8>>, [kind, at, len]: [u8; 3], text: &[u8]) {
    // Long texts, which are written in another way, from few bytes.
    let repeats = if len > 250 { 5_000 } else { 1 };
    let text = text[..text.len().min(usize::from(len))].repeat(repeats);
    let at = usize::from(at) % model.len().max(1);
    match (kind % 7, pack.view().nth(at)) {
        (0, Some(position)) => {
            pack.insert_before(position, &text);
            model.insert(at, text);
        }
        (1, Some(position)) => {
            pack.replace(position, &text);
            model[at] = text;
        }
        (2, Some(position)) => {
            pack.remove(position);
            model.remove(at);
        }
        (3, Some(position)) => {
            pack.remove_n(position, usize::from(len));
            model.drain(at..(at + usize::from(len)).min(model.len()));
        }
        (4, Some(position)) => {
            let tail = pack.split_off(position);
            let rest = model.split_off(at);
            assert_eq!(walk(tail.view()), rest);
            assert!(pack.prepend(tail.view()));
            model.splice(0..0, rest);
        }
        (5, Some(position)) => {
            let found = pack.view().find(position, &text, 0);
            let expected = model[at..].iter().position(|other| *other == text);
            assert_eq!(
                found,
                expected.and_then(|index| pack.view().nth(at + index))
            );
        }
        _ => {
            assert!(pack.push_back(&text));
            model.push(text);
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let (first, rest) = data.split_at(data.len() / 2);
    let _ = Listpack::from_bytes(data);
    let Ok(mut pack) = Listpack::from_bytes(first).or_else(|_| {
        // Most inputs have a header that is wrong: one that is right gets further.
        let mut framed = first.to_vec();
        framed.splice(0..0, [0, 0, 0, 0, 0xFF, 0xFF]);
        framed.push(0xFF);
        let len = framed.len() as u32;
        framed[..4].copy_from_slice(&len.to_le_bytes());
        Listpack::from_bytes(&framed)
    }) else {
        return;
    };
    let mut model = walk(pack.view());
    for step in rest.chunks(8).take(32) {
        if let Some((&head, text)) = step.split_first_chunk() {
            edit(&mut pack, &mut model, head, text);
        }
    }
    assert_eq!(walk(pack.view()), model);
    let copy = Listpack::from_bytes(pack.as_bytes()).expect("what was written is valid");
    assert_eq!(copy.as_bytes(), pack.as_bytes());
});
