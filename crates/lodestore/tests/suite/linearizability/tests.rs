//! The checker on histories made by hand.

use super::checker::{Record, Verdict, check};
use super::model::{Call, TwoKeys};

const LIMIT: usize = 100_000;

/// Calls with the instants of their invocation and return.
fn verdict(calls: &[(u64, u64, Call)]) -> Verdict {
    let history: Vec<Record<Call>> = calls
        .iter()
        .map(|(invoked_ns, returned_ns, call)| Record {
            call: *call,
            invoked_ns: *invoked_ns,
            returned_ns: *returned_ns,
        })
        .collect();
    check::<TwoKeys>(&history, LIMIT)
}

fn is_bad(calls: &[(u64, u64, Call)]) -> bool {
    matches!(verdict(calls), Verdict::Violation { .. })
}

fn get(found: i64) -> Call {
    let found = Some(found);
    Call::Get { slot: 0, found }
}

fn set(value: i64) -> Call {
    Call::Set { slot: 0, value }
}

fn incr(after: i64) -> Call {
    Call::Incr { slot: 0, after }
}

fn swap(expected: i64, new: i64, swapped: bool) -> Call {
    let expected = Some(expected);
    Call::Swap {
        slot: 0,
        expected,
        new,
        swapped,
    }
}

#[test]
fn one_after_the_other() {
    assert_eq!(verdict(&[]), Verdict::Linearizable);
    let good = [
        (0, 1, set(5)),
        (2, 3, get(5)),
        (4, 5, incr(6)),
        (6, 7, get(6)),
    ];
    assert_eq!(verdict(&good), Verdict::Linearizable);
    let missing = Call::Get {
        slot: 0,
        found: None,
    };
    assert_eq!(
        verdict(&[(0, 1, missing), (2, 3, set(1))]),
        Verdict::Linearizable
    );
    assert!(is_bad(&[(0, 1, set(1)), (2, 3, missing)]));
}

#[test]
fn a_stale_read_is_found() {
    assert!(is_bad(&[(0, 1, set(1)), (2, 3, set(2)), (4, 5, get(1))]));
    // While the second write runs, both values may be seen.
    for seen in [1, 2] {
        let calls = [(0, 1, set(1)), (2, 6, set(2)), (3, 5, get(seen))];
        assert_eq!(verdict(&calls), Verdict::Linearizable);
    }
}

#[test]
fn a_read_must_not_go_back() {
    let write = [(0, 1, set(1)), (2, 20, set(2))];
    let forward = [write[0], write[1], (3, 4, get(1)), (5, 6, get(2))];
    assert_eq!(verdict(&forward), Verdict::Linearizable);
    let back = [write[0], write[1], (3, 4, get(2)), (5, 6, get(1))];
    assert_eq!(verdict(&back), Verdict::Violation { explained: 3 });
}

#[test]
fn a_read_from_the_future_is_found() {
    assert!(is_bad(&[(0, 1, get(7)), (2, 3, set(7))]));
    // Touching instants count as concurrent.
    let touching = [(0, 2, get(7)), (2, 3, set(7))];
    assert_eq!(verdict(&touching), Verdict::Linearizable);
}

#[test]
fn a_lost_increment_is_found() {
    assert_eq!(
        verdict(&[(0, 9, incr(2)), (0, 9, incr(1)), (0, 9, incr(3))]),
        Verdict::Linearizable
    );
    assert!(is_bad(&[(0, 9, incr(1)), (0, 9, incr(1))]));
    assert!(is_bad(&[(0, 9, incr(1)), (0, 9, incr(3))]));
}

#[test]
fn swaps_happen_exactly_when_the_value_is_there() {
    let start = (0, 1, set(1));
    let one_wins = [start, (2, 9, swap(1, 2, true)), (2, 9, swap(1, 3, false))];
    assert_eq!(verdict(&one_wins), Verdict::Linearizable);
    assert!(is_bad(&[
        start,
        (2, 9, swap(1, 2, true)),
        (2, 9, swap(1, 3, true))
    ]));
    assert!(is_bad(&[start, (2, 9, swap(1, 2, false))]));
    assert!(is_bad(&[start, (2, 3, swap(1, 2, true)), (4, 5, get(1))]));
}

#[test]
fn half_a_transaction_is_found() {
    let both = |left, right| Call::GetBoth {
        found: [left, right],
    };
    let write = (0, 9, Call::SetBoth { values: [4, 5] });
    assert_eq!(
        verdict(&[write, (1, 2, both(None, None))]),
        Verdict::Linearizable
    );
    assert_eq!(
        verdict(&[write, (1, 2, both(Some(4), Some(5)))]),
        Verdict::Linearizable
    );
    assert!(is_bad(&[write, (1, 2, both(Some(4), None))]));
    let right = |found| Call::Get { slot: 1, found };
    assert!(is_bad(&[write, (1, 2, get(4)), (3, 4, right(None))]));
    let count = |after| Call::IncrBoth { after };
    assert!(is_bad(&[write, (10, 11, count([5, 5]))]));
    assert_eq!(
        verdict(&[write, (10, 11, count([5, 6]))]),
        Verdict::Linearizable
    );
}

#[test]
fn a_long_search_is_given_up() {
    let mut calls: Vec<(u64, u64, Call)> = (0..12).map(|n| (0, 9, set(n))).collect();
    calls.push((10, 11, get(99)));
    let history: Vec<Record<Call>> = calls
        .iter()
        .map(|(invoked_ns, returned_ns, call)| Record {
            call: *call,
            invoked_ns: *invoked_ns,
            returned_ns: *returned_ns,
        })
        .collect();
    assert_eq!(check::<TwoKeys>(&history, 100), Verdict::TooLong);
}
