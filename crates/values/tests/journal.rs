//! Journals of collections: taken back, nothing is left of what was done, in both forms and with
//! parts that are kept or taken back before.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use values::stream::{Group, Keep, NodeLimits, Pending, References};
use values::{End, FieldDeadline, Hash, List, Set, SortedSet, Stream, StreamId, Thresholds};

/// Packed forms end early, so that most cases have a journal.
fn thresholds() -> Thresholds {
    Thresholds {
        hash_entries: 2,
        set_entries: 2,
        set_integers: 2,
        zset_entries: 2,
        list_size: 3,
        ..Thresholds::default()
    }
}

/// One change: what, where, and with which bytes.
type Op = (u8, u8, u8);

fn ops() -> impl Strategy<Value = Vec<Op>> {
    proptest::collection::vec(any::<Op>(), 0..60)
}

/// Ends of parts: opened, kept or taken back between the changes.
fn steps() -> impl Strategy<Value = Vec<(Op, u8)>> {
    proptest::collection::vec((any::<Op>(), 0u8..10), 1..60)
}

fn text(byte: u8) -> Vec<u8> {
    format!("element-{}", byte % 24).into_bytes()
}

trait Collection: Clone {
    fn change(&mut self, op: Op);
    fn begin(&mut self) -> Option<usize>;
    fn end(&mut self);
    fn roll_back(&mut self, mark: usize);
    fn show(&self) -> String;
}

fn check<C: Collection>(mut collection: C, before: Vec<Op>, steps: Vec<(Op, u8)>) {
    values::journal::open_account(usize::MAX);
    before.into_iter().for_each(|op| collection.change(op));
    let first = collection.show();
    let Some(mark) = collection.begin() else {
        return;
    };
    let mut parts = vec![(mark, first)];
    for (op, what) in steps {
        match what {
            0 => {
                let shown = collection.show();
                if let Some(mark) = collection.begin() {
                    parts.push((mark, shown));
                }
            }
            1 if parts.len() > 1 => {
                let (mark, shown) = parts.pop().expect("a part");
                collection.roll_back(mark);
                assert_eq!(collection.show(), shown);
            }
            2 if parts.len() > 1 => {
                parts.pop();
                collection.end();
            }
            _ => collection.change(op),
        }
    }
    assert!(collection.clone().show() == collection.show());
    while let Some((mark, shown)) = parts.pop() {
        collection.roll_back(mark);
        assert_eq!(collection.show(), shown);
    }
}

impl Collection for Hash {
    fn change(&mut self, (what, at, byte): Op) {
        let (field, value) = (text(at), vec![byte; usize::from(byte % 40)]);
        match what % 8 {
            0..=2 => drop(self.set(&field, &value, FieldDeadline::Keep, &thresholds())),
            3 => drop(self.set(
                &field,
                &value,
                FieldDeadline::At(byte.into()),
                &thresholds(),
            )),
            4 => drop(self.set_deadline(&field, (byte > 99).then_some(byte.into()))),
            5 => drop(self.expire(byte.into(), 3, &mut |_| ())),
            _ => drop(self.remove(&field)),
        }
    }
    fn begin(&mut self) -> Option<usize> {
        self.begin_journal()
    }
    fn end(&mut self) {
        self.end_journal();
    }
    fn roll_back(&mut self, mark: usize) {
        Hash::roll_back(self, mark);
    }
    fn show(&self) -> String {
        let show = |(field, value): (values::Element<'_>, values::Element<'_>)| {
            let deadline = self.deadline(&field.to_vec());
            format!("{field:?} {value:?} {deadline:?}")
        };
        let mut fields: Vec<String> = self.iter(0).map(show).collect();
        fields.sort();
        format!("{fields:?} {:?}", self.next_deadline())
    }
}

impl Collection for Set {
    fn change(&mut self, (what, at, byte): Op) {
        let member = text(at);
        match what % 7 {
            0..=2 => drop(self.add(&member, &thresholds())),
            3 => drop(self.set_deadline(&member, (byte > 99).then_some(byte.into()))),
            4 => drop(self.expire(byte.into(), 3, &mut |_| ())),
            5 => drop(self.pop(&mut || u64::from(byte) << 56)),
            _ => drop(self.remove(&member)),
        }
    }
    fn begin(&mut self) -> Option<usize> {
        self.begin_journal()
    }
    fn end(&mut self) {
        self.end_journal();
    }
    fn roll_back(&mut self, mark: usize) {
        Set::roll_back(self, mark);
    }
    fn show(&self) -> String {
        let show = |member: values::Element<'_>| {
            let deadline = self.deadline(&member.to_vec());
            format!("{member:?} {deadline:?}")
        };
        let mut members: Vec<String> = self.iter().map(show).collect();
        members.sort();
        format!("{members:?} {:?}", self.next_deadline())
    }
}

impl Collection for SortedSet {
    fn change(&mut self, (what, at, byte): Op) {
        let member = text(at);
        match what % 8 {
            0..=3 => drop(self.insert(&member, f64::from(byte) / 4.0, &thresholds())),
            4 => drop(self.set_deadline(&member, (byte > 99).then_some(byte.into()))),
            5 => drop(self.expire(byte.into(), 3, &mut |_| ())),
            6 => {
                let first = usize::from(at % 24);
                self.remove_range(first..first + usize::from(byte % 4), &mut |_, _| ());
            }
            _ => drop(self.remove(&member)),
        }
    }
    fn begin(&mut self) -> Option<usize> {
        self.begin_journal()
    }
    fn end(&mut self) {
        self.end_journal();
    }
    fn roll_back(&mut self, mark: usize) {
        SortedSet::roll_back(self, mark);
    }
    fn show(&self) -> String {
        let show = |(member, score): (values::Element<'_>, f64)| {
            let deadline = self.deadline(&member.to_vec());
            format!("{member:?} {score} {deadline:?}")
        };
        let members: Vec<String> = self.iter().map(show).collect();
        format!("{members:?} {:?}", self.next_deadline())
    }
}

impl Collection for List {
    fn change(&mut self, (what, at, byte): Op) {
        let (element, index) = (text(byte), usize::from(at) % (self.len() + 2));
        match what % 8 {
            0 | 1 => self.push(End::Front, &element, &thresholds()),
            2 | 3 => self.push(End::Back, &element, &thresholds()),
            4 => drop(self.set(index, &element, &thresholds())),
            5 => self.insert(index, &element, &thresholds()),
            6 => {
                let range = index..index + usize::from(byte % 5);
                self.remove_range(range, &thresholds());
            }
            _ => {
                let limit = usize::from(byte % 3);
                self.remove_equal(&text(at), limit, byte > 99, &thresholds());
            }
        }
    }
    fn begin(&mut self) -> Option<usize> {
        self.begin_journal()
    }
    fn end(&mut self) {
        self.end_journal(&thresholds());
    }
    fn roll_back(&mut self, mark: usize) {
        List::roll_back(self, mark, &thresholds());
    }
    fn show(&self) -> String {
        format!("{self:?}")
    }
}

impl Collection for Stream {
    fn change(&mut self, (what, at, byte): Op) {
        let id = StreamId::new(u64::from(at % 60), 0);
        match what % 10 {
            0..=4 => {
                let id = self.entries().next_id(0).expect("an id");
                let pairs = [b"field".as_slice(), &[byte; 9]];
                let limits = NodeLimits {
                    bytes: 0,
                    entries: 3,
                };
                self.entries_mut()
                    .append(id, pairs.into_iter(), &limits)
                    .expect("a small entry");
            }
            5 => drop(self.remove(StreamId::new(0, u64::from(at % 60)), References::Remove)),
            6 => {
                let keep = Keep::Newest(u64::from(byte % 30));
                self.trim(keep, at > 99, 0, References::Keep);
            }
            7 => {
                self.groups_mut().create(&text(at), id, None);
            }
            8 => {
                if let Some(group) = self.groups_mut().get_mut(&text(at)) {
                    let consumer = group.create_consumer(&[byte % 3], 5);
                    if let Some(consumer) = consumer {
                        let pending = Pending {
                            consumer: Some(consumer),
                            delivered_ms: byte.into(),
                            deliveries: 1,
                        };
                        group.set_pending(StreamId::new(0, u64::from(byte % 60)), pending);
                    }
                }
            }
            _ => self.entries_mut().set_added(u64::from(byte) + 200),
        }
    }
    fn begin(&mut self) -> Option<usize> {
        self.begin_journal().then_some(0)
    }
    fn end(&mut self) {
        self.end_journal();
    }
    fn roll_back(&mut self, _: usize) {
        Stream::roll_back(self);
    }
    fn show(&self) -> String {
        let entries = self.entries();
        let shown: Vec<String> = entries
            .range(StreamId::MIN, StreamId::MAX)
            .map(|entry| format!("{entry:?}"))
            .collect();
        let show = |group: &Group| {
            let pending: Vec<_> = group.pending_range(StreamId::MIN, StreamId::MAX).collect();
            let consumers = group.consumers();
            let mut names: Vec<_> = consumers.map(|(_, it)| it.name().to_vec()).collect();
            names.sort();
            format!("{:?} {} {pending:?} {names:?}", group.name(), group.last_id)
        };
        let groups: Vec<String> = self.groups().iter().map(show).collect();
        format!(
            "{} {} {} {} {} {shown:?} {groups:?} {}",
            entries.len(),
            entries.first_id(),
            entries.last_id(),
            entries.max_deleted_id(),
            entries.added(),
            entries.node_count(),
        )
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 192 }))]

    #[test]
    fn hashes(before in ops(), steps in steps()) {
        check(Hash::new(), before, steps);
    }

    #[test]
    fn sets(before in ops(), steps in steps()) {
        check(Set::new(), before, steps);
    }

    #[test]
    fn sorted_sets(before in ops(), steps in steps()) {
        check(SortedSet::new(), before, steps);
    }

    #[test]
    fn lists(before in ops(), steps in steps()) {
        check(List::new(), before, steps);
    }

    #[test]
    fn streams(before in ops(), steps in steps()) {
        check(Stream::new(), before, steps);
    }
}

#[test]
fn a_journal_over_the_limit_is_no_more() {
    values::journal::open_account(1000);
    let mut list = List::new();
    for _ in 0..10 {
        list.push(End::Back, b"element", &thresholds());
    }
    list.begin_journal().expect("a long list");
    assert!(!values::journal::is_over_limit());
    for _ in 0..100 {
        list.remove_range(0..1, &thresholds());
        list.push(End::Back, b"element", &thresholds());
    }
    assert!(values::journal::is_over_limit() && values::journal::bytes() > 1000);
    list.end_journal(&thresholds());
    assert!(!list.has_journal());
}

#[test]
fn a_journal_that_was_left_ends_with_the_next_change() {
    values::journal::open_account(usize::MAX);
    let mut list = List::new();
    for _ in 0..10 {
        list.push(End::Back, b"element", &thresholds());
    }
    list.begin_journal().expect("a long list");
    values::journal::close_account();
    list.push(End::Back, b"element", &thresholds());
    assert!(!list.has_journal());
}
