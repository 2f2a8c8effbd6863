//! The threshold of long elements is one for the process: its tests are alone in theirs.

use std::ops::ControlFlow;
use values::list::set_packed_threshold;
use values::{End, List, Thresholds};

fn text(list: &List) -> String {
    let mut text = String::new();
    list.visit(0..usize::MAX, false, |element| {
        text.push_str(&String::from_utf8_lossy(&element.to_vec()));
        text.push(' ');
        ControlFlow::Continue(())
    });
    text
}

#[test]
fn elements_from_the_threshold_on_are_nodes() {
    let limits = Thresholds {
        list_size: 4,
        list_compress: 1,
        ..Thresholds::default()
    };
    assert!(!set_packed_threshold(usize::MAX));
    assert!(set_packed_threshold(5));
    let mut list = List::new();
    for element in ["aa", "bb", "cc", "dd", "ee"] {
        list.push(End::Back, element.as_bytes(), &limits);
    }
    assert_eq!(list.nodes(), 2);
    list.set(2, b"eeeeeeeeee", &limits);
    assert_eq!(text(&list), "aa bb eeeeeeeeee dd ee ");
    assert_eq!(list.nodes(), 3);
    list.insert(1, b"xxxxx", &limits);
    assert_eq!((list.nodes(), list.len()), (5, 6));
    list.set(1, b"y", &limits);
    assert_eq!(list.nodes(), 4);
    assert_eq!(text(&list), "aa y bb eeeeeeeeee dd ee ");
    assert_eq!(
        list.with(3, |element| element.is(b"eeeeeeeeee")),
        Some(true)
    );

    // A quicklist of one long element stays one; a short one in its place makes it a listpack.
    list.remove_range(0..3, &limits);
    list.remove_range(1..3, &limits);
    assert!(!list.is_packed());
    list.set(0, b"12345678", &limits);
    assert!(!list.is_packed());
    list.push(End::Back, b"9", &limits);
    assert_eq!(list.remove_equal(b"12345678", 0, true, &limits), 1);
    assert!(list.is_packed());

    assert!(set_packed_threshold(0));
    for _ in 0..4 {
        list.push(End::Front, b"longer than five", &limits);
    }
    assert_eq!(list.nodes(), 2);
}
