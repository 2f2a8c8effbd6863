use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn cases() -> ProptestConfig {
    ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 96 })
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn id(ms: u64, seq: u64) -> StreamId {
    StreamId::new(ms, seq)
}

fn flat(pairs: &Pairs) -> impl Iterator<Item = &[u8]> + Clone {
    pairs
        .iter()
        .flat_map(|(name, value)| [&name[..], &value[..]])
}

fn add(stream: &mut Stream, at: StreamId, pairs: &Pairs, limits: &NodeLimits) {
    let result = stream.entries_mut().append(at, flat(pairs), limits);
    assert_eq!(result, Ok(()));
}

fn read<'a>(entries: impl Iterator<Item = Entry<'a>>) -> Vec<(StreamId, Pairs)> {
    let pairs = |entry: &Entry<'_>| {
        let fields = entry.fields.clone();
        assert_eq!(fields.len(), entry.fields.len());
        fields
            .map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect()
    };
    entries.map(|entry| (entry.id, pairs(&entry))).collect()
}

/// Through the form in which Redis saves it.
fn reloaded(stream: &Stream) -> Result<Stream, Malformed> {
    let entries = stream.entries();
    let mut builder = StreamBuilder::new();
    for (id, bytes) in entries.nodes() {
        builder.push_node(id, &bytes)?;
    }
    builder.finish(&Saved {
        len: entries.len(),
        last_id: entries.last_id(),
        max_deleted_id: entries.max_deleted_id(),
        added: Some(entries.added()),
    })
}

fn check(stream: &Stream, model: &BTreeMap<StreamId, Pairs>) {
    // Reads what an append will read, in every state.
    for step in AheadOfAppend::ALL {
        stream.look_ahead(step);
    }
    let entries = stream.entries();
    assert_eq!(entries.len(), model.len() as u64);
    let all: Vec<_> = model
        .iter()
        .map(|(id, pairs)| (*id, pairs.clone()))
        .collect();
    assert_eq!(read(entries.range(StreamId::MIN, StreamId::MAX)), all);
    let mut back = read(entries.range_back(StreamId::MIN, StreamId::MAX));
    back.reverse();
    assert_eq!(back, all);
    let first = model.keys().next().copied().unwrap_or_default();
    assert_eq!(entries.first_id(), first);
    stream.entries().check();
    let again = reloaded(stream).expect("what is written is valid");
    assert_eq!(again.entries().first_id(), first);
    assert_eq!(
        read(again.entries().range(StreamId::MIN, StreamId::MAX)),
        all
    );
    stream.groups().iter().for_each(Group::check);
}

#[derive(Clone, Debug)]
enum Op {
    Add(u64, u64, Pairs),
    Remove(u64, u64),
    Newest(u64, bool, u64, u8),
    From(u64, bool, u64, u8),
    Range(u64, u64),
    Deliver(u64, u8),
    Acknowledge(u64),
    Forget(u8),
}

fn pairs() -> impl Strategy<Value = Pairs> {
    let text = prop_oneof![
        3 => (0..3i64).prop_map(|number| number.to_string().into_bytes()),
        4 => "[a-b]{0,2}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..90),
        1 => (4090..4100usize).prop_map(|len| vec![b'x'; len]),
        1 => (0..64u32, -1..2i64).prop_map(|(bits, more)| {
            let number = 1i64.wrapping_shl(bits).wrapping_add(more);
            number.to_string().into_bytes()
        }),
        1 => (0..64u32, -1..2i64).prop_map(|(bits, more)| {
            let number = (-1i64).wrapping_shl(bits).wrapping_add(more);
            number.to_string().into_bytes()
        }),
    ];
    let fixed = vec![
        (b"name".to_vec(), b"value".to_vec()),
        (b"7".to_vec(), b"12".to_vec()),
    ];
    prop_oneof![
        3 => Just(fixed),
        2 => prop::collection::vec((text.clone(), text), 1..4),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let spread = 0..40u64;
    prop_oneof![
        1 => (any::<u32>(), any::<u64>(), pairs())
            .prop_map(|(ms, seq, pairs)| Op::Add(u64::from(ms), seq >> (ms % 64), pairs)),
        12 => (0..3u64, 0..3u64, pairs()).prop_map(|(ms, seq, pairs)| Op::Add(ms, seq, pairs)),
        3 => (spread.clone(), 0..3u64).prop_map(|(ms, seq)| Op::Remove(ms, seq)),
        1 => (0..30u64, any::<bool>(), 0..9u64, 0..3u8)
            .prop_map(|(len, whole, limit, refs)| Op::Newest(len, whole, limit, refs)),
        1 => (spread.clone(), any::<bool>(), 0..9u64, 0..3u8)
            .prop_map(|(ms, whole, limit, refs)| Op::From(ms, whole, limit, refs)),
        2 => (spread.clone(), spread.clone()).prop_map(|(a, b)| Op::Range(a, b)),
        3 => (spread.clone(), 0..4u8).prop_map(|(ms, who)| Op::Deliver(ms, who)),
        2 => spread.prop_map(Op::Acknowledge),
        1 => (0..4u8).prop_map(Op::Forget),
    ]
}

fn references(kind: u8) -> References {
    match kind {
        0 => References::Keep,
        1 => References::Remove,
        _ => References::Spare,
    }
}

struct World {
    stream: Stream,
    model: BTreeMap<StreamId, Pairs>,
    pending: BTreeMap<StreamId, u8>,
    limits: NodeLimits,
}

impl World {
    fn group(&mut self) -> &mut Group {
        self.stream.groups_mut().get_mut(b"g").expect("made first")
    }

    fn trim(&mut self, keep: Keep, whole: bool, limit: u64, kind: u8) {
        let references = references(kind);
        let before: Vec<StreamId> = self.model.keys().copied().collect();
        let removed = self.stream.trim(keep, whole, limit, references);
        let left: Vec<StreamId> = read(self.stream.entries().range(StreamId::MIN, StreamId::MAX))
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        let due = match keep {
            Keep::Newest(len) => before.len().saturating_sub(len as usize),
            Keep::From(id) => before.iter().filter(|it| **it < id).count(),
        };
        assert_eq!(before.len() - left.len(), removed as usize);
        match references {
            References::Spare => assert!(left.iter().all(|id| before.contains(id))),
            _ => assert_eq!(left, before[removed as usize..]),
        }
        match (whole, limit, references) {
            (_, 0, References::Keep | References::Remove) if !whole => {
                assert_eq!(removed, due as u64)
            }
            _ => assert!(removed <= due as u64),
        }
        if limit > 0 {
            assert!(removed <= limit);
        }
        for id in before {
            if left.contains(&id) {
                continue;
            }
            self.model.remove(&id);
            match references {
                References::Keep => {}
                References::Remove => drop(self.pending.remove(&id)),
                References::Spare => assert!(!self.pending.contains_key(&id)),
            }
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Add(ms, seq, pairs) => {
                let last = self.stream.entries().last_id();
                let at = if ms == 0 {
                    id(last.ms, last.seq.saturating_add(seq).saturating_add(1))
                } else {
                    id(last.ms + ms, seq)
                };
                if at <= last {
                    return;
                }
                add(&mut self.stream, at, &pairs, &self.limits);
                self.model.insert(at, pairs);
            }
            Op::Remove(ms, seq) => {
                let at = id(ms, seq);
                let there = self.model.remove(&at).is_some();
                assert_eq!(self.stream.entries_mut().remove(at), there);
            }
            Op::Newest(len, whole, limit, kind) => self.trim(Keep::Newest(len), whole, limit, kind),
            Op::From(ms, whole, limit, kind) => {
                self.trim(Keep::From(id(ms, 1)), whole, limit, kind)
            }
            Op::Range(a, b) => {
                let (start, end) = (id(a, 1), id(b, 0));
                let mut wanted: Vec<_> = self
                    .model
                    .iter()
                    .filter(|(it, _)| (start..=end).contains(*it))
                    .map(|(it, pairs)| (*it, pairs.clone()))
                    .collect();
                assert_eq!(read(self.stream.entries().range(start, end)), wanted);
                wanted.reverse();
                assert_eq!(read(self.stream.entries().range_back(start, end)), wanted);
            }
            Op::Deliver(ms, who) => {
                let name = [b'c', who];
                let group = self.group();
                group.last_id = id(20, 0);
                let consumer = group
                    .create_consumer(&name, 5)
                    .or(group.find_consumer(&name));
                let pending = Pending {
                    consumer,
                    delivered_ms: ms,
                    deliveries: 1,
                };
                let before = group.set_pending(id(ms, 0), pending);
                assert_eq!(
                    before.is_some(),
                    self.pending.insert(id(ms, 0), who).is_some()
                );
            }
            Op::Acknowledge(ms) => {
                let there = self.pending.remove(&id(ms, 0)).is_some();
                assert_eq!(self.group().remove_pending(id(ms, 0)).is_some(), there);
            }
            Op::Forget(who) => {
                let group = self.group();
                let Some(consumer) = group.find_consumer(&[b'c', who]) else {
                    return;
                };
                let removed = group.remove_consumer(consumer);
                let before = self.pending.len();
                self.pending.retain(|_, owner| *owner != who);
                assert_eq!(removed, before - self.pending.len());
            }
        }
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn behaves_as_an_ordered_map(
        ops in prop::collection::vec(op(), 1..if cfg!(miri) { 24 } else { 160 }),
        bytes in prop_oneof![Just(0usize), Just(4096), 40..200usize],
        entries in prop_oneof![Just(0u64), Just(100), 1..6u64],
    ) {
        let mut world = World {
            stream: Stream::new(),
            model: BTreeMap::new(),
            pending: BTreeMap::new(),
            limits: NodeLimits { bytes, entries },
        };
        world.stream.groups_mut().create(b"g", StreamId::MIN, Some(0));
        for op in ops {
            world.apply(op);
        }
        check(&world.stream, &world.model);
        let group = world.stream.groups().get(b"g").expect("made first");
        let pending: Vec<_> = group.pending_range(StreamId::MIN, StreamId::MAX).map(|(id, _)| id).collect();
        prop_assert!(pending.iter().eq(world.pending.keys()));
        check(&world.stream.clone(), &world.model);
    }

    #[test]
    fn ids_behave_as_an_ordered_map(
        ops in prop::collection::vec((0..3u8, 0..2000u64, 0..400u64), 1..if cfg!(miri) { 6 } else { 40 }),
        descends in any::<bool>(),
    ) {
        let mut ids = pending::Ids::default();
        let mut model = BTreeMap::new();
        for (kind, first, len) in ops {
            let len = if cfg!(miri) { len / 8 } else { len };
            let mut row: Vec<StreamId> = (first..first + len).map(|ms| id(ms, 0)).collect();
            if descends {
                row.reverse();
            }
            for at in row {
                match kind {
                    0 => prop_assert_eq!(ids.remove(at), model.remove(&at)),
                    _ => prop_assert_eq!(ids.insert(at, first), model.insert(at, first)),
                }
            }
            ids.check();
            let (start, end) = (id(first + 3, 1), id(first + len / 2, 0));
            if start <= end {
                let there = model.range(start..=end).map(|(at, value)| (*at, *value));
                prop_assert!(ids.range(start, end).eq(there.clone()));
                prop_assert!(ids.range(start, end).rev().eq(there.rev()));
            }
            let even = |at: &StreamId| at.ms.is_multiple_of(2);
            let mut there: Vec<_> = model.iter().map(|(at, value)| (*value, *at)).collect();
            there.sort_unstable();
            let later = there.iter().find(|(value, _)| *value > len).map(|(value, _)| *value);
            let next = ids.next_waiting(len);
            prop_assert!(next <= later.or(next) && next.is_none_or(|next| next > len));
            prop_assert_eq!(next.is_some(), later.is_some());
            there.retain(|(value, at)| *value <= first && even(at));
            for count in [0, 7, usize::MAX] {
                let found = ids.waiting(first, count, |at| even(&at));
                let found = found.into_iter().map(|(at, value)| (value, at));
                prop_assert!(found.eq(there.iter().copied().take(count)));
                ids.check();
            }
        }
        let there = model.iter().map(|(at, value)| (*at, *value));
        prop_assert!(ids.range(StreamId::MIN, StreamId::MAX).eq(there.clone()));
        prop_assert!(ids.range(StreamId::MIN, StreamId::MAX).rev().eq(there.rev()));
        prop_assert!(ids.get(id(5000, 0)).is_none());
    }

    #[test]
    fn bytes_from_outside_do_no_harm(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        rows in prop::collection::vec(pairs(), 1..6),
    ) {
        let mut stream = Stream::new();
        for (ms, row) in rows.iter().enumerate() {
            add(&mut stream, id(ms as u64 + 1, 0), row, &NodeLimits::default());
        }
        let (first, bytes) = stream.entries().nodes().next().expect("one node");
        let mut bytes = bytes.to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(node) = node::Node::from_bytes(first, &bytes) {
            let (live, _) = node.counts();
            let mut builder = StreamBuilder::new();
            builder.push_node(first, &bytes).expect("valid alone");
            let saved = Saved { len: live, last_id: StreamId::MAX, max_deleted_id: StreamId::MIN, added: None };
            let mut stream = builder.finish(&saved).expect("valid");
            let ids: Vec<_> = read(stream.entries().range(StreamId::MIN, StreamId::MAX)).into_iter().map(|it| it.0).collect();
            prop_assert_eq!(ids.len() as u64, live);
            for id in ids {
                prop_assert!(stream.entries_mut().remove(id));
            }
            prop_assert_eq!(stream.entries().node_count(), 0);
        }
    }
}

#[test]
fn nodes_are_those_of_redis() {
    let mut stream = Stream::new();
    let limits = NodeLimits::default();
    let pairs = |value: &str| vec![(b"f".to_vec(), value.as_bytes().to_vec())];
    add(&mut stream, id(1000, 1), &pairs("a"), &limits);
    add(&mut stream, id(1000, 5), &pairs("12"), &limits);
    add(
        &mut stream,
        id(1002, 0),
        &vec![(b"g".to_vec(), b"b".to_vec())],
        &limits,
    );
    assert!(stream.entries_mut().remove(id(1000, 5)));
    let (first, bytes) = stream.entries().nodes().next().expect("one node");
    assert_eq!(first, id(1000, 1));
    let pack = crate::listpack::View::new(&bytes).expect("a listpack");
    let texts: Vec<_> = pack
        .iter()
        .map(|it| String::from_utf8(it.to_vec()).expect("text"))
        .collect();
    let wanted = "2 1 1 f 0 2 0 0 a 4 3 0 4 12 4 0 2 -1 1 g b 6";
    assert_eq!(texts.join(" "), wanted);
    assert_eq!(stream.entries().max_deleted_id(), id(1000, 5));
    assert_eq!(stream.entries().added(), 3);
}

#[test]
fn nodes_keep_their_limits() {
    let mut stream = Stream::new();
    let pairs = vec![(b"f".to_vec(), b"v".to_vec())];
    for ms in 1..=250 {
        add(&mut stream, id(ms, 0), &pairs, &NodeLimits::default());
    }
    assert_eq!(stream.entries().node_count(), 3);
    let long = vec![(b"f".to_vec(), vec![b'x'; 5000])];
    add(&mut stream, id(300, 0), &long, &NodeLimits::default());
    assert_eq!(stream.entries().node_count(), 4);
    assert_eq!(
        stream.trim(Keep::Newest(60), true, 0, References::Keep),
        100
    );
    assert_eq!(
        stream.trim(Keep::Newest(60), false, 0, References::Keep),
        91
    );
    assert_eq!(stream.entries().node_count(), 3);
    assert_eq!(stream.trim(Keep::Newest(0), true, 0, References::Keep), 60);
    assert_eq!(stream.entries().node_count(), 0);
    assert_eq!(stream.entries().last_id(), id(300, 0));
    assert_eq!(stream.entries().first_id(), StreamId::MIN);
}
