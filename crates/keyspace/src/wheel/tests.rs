use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A wheel, and beside it what was filed: handle -> time.
struct Model {
    wheel: Wheel,
    filed: BTreeMap<u64, u64>,
    now: u64,
    next_handle: u64,
}

impl Model {
    fn new(now: u64) -> Model {
        Model {
            wheel: Wheel::new(now),
            filed: BTreeMap::new(),
            now,
            next_handle: 0,
        }
    }

    fn file(&mut self, time: u64) {
        let handle = self.next_handle;
        self.next_handle += 1;
        // The wheel has taken out the tick `now` already.
        let time = time.max(self.wheel.cursor());
        let due = self.wheel.file(handle, time);
        assert!(due <= time);
        self.filed.insert(handle, time);
    }

    fn move_ahead(&mut self, count: usize) {
        for _ in 0..count {
            let Some(handle) = self.wheel.pop_ahead() else {
                return;
            };
            let time = self.filed[&handle];
            assert!(time >= self.wheel.cursor());
            self.wheel.file(handle, time);
        }
    }

    /// Goes to `now` and takes out what is due: exactly what was filed up to then.
    fn advance(&mut self, now: u64) {
        self.now = self.now.max(now);
        self.wheel.advance(self.now);
        while let Some(handle) = self.wheel.pop_due() {
            let time = self.filed[&handle];
            if time <= self.now {
                self.filed.remove(&handle);
            } else {
                self.wheel.file(handle, time);
            }
        }
        assert!(self.filed.values().all(|time| *time > self.now));
    }

    fn check(&self) {
        assert_eq!(self.wheel.handles(), self.filed.len());
        match self.wheel.wanted() {
            Wanted::Never => assert!(self.filed.is_empty()),
            Wanted::Now => assert!(!self.filed.is_empty()),
            Wanted::At(time) => {
                assert!(time >= self.wheel.cursor());
                assert!(self.filed.values().all(|filed| *filed >= time));
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    File(u64),
    FileFar(u64),
    Advance(u64),
    MoveAhead(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0u32..44).prop_flat_map(|bits| 0..1u64 << bits).prop_map(Op::File),
        1 => any::<u64>().prop_map(Op::FileFar),
        3 => (0u32..40).prop_flat_map(|bits| 0..1u64 << bits).prop_map(Op::Advance),
        2 => (1usize..20).prop_map(Op::MoveAhead),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 128 }))]

    #[test]
    fn fires_exactly_what_is_due(
        start in prop_oneof![Just(0u64), 1_700_000_000_000..1_800_000_000_000u64],
        ops in proptest::collection::vec(op(), 1..200),
    ) {
        let mut model = Model::new(start);
        for op in ops {
            match op {
                Op::File(after) => model.file(model.now.saturating_add(after)),
                Op::FileFar(time) => model.file(time),
                Op::Advance(by) => model.advance(model.now.saturating_add(by)),
                Op::MoveAhead(count) => model.move_ahead(count),
            }
            model.check();
        }
    }
}

#[test]
fn moving_down_ahead_of_time_leaves_nothing_for_the_last_moment() {
    let mut model = Model::new(1_000_000);
    let deadline = 1_000_000 + 3_600_000;
    for extra in 0..20_000 {
        model.file(deadline + extra % 7);
    }
    // A caller that comes at every wanted time and does a little each time.
    let mut calls = 0;
    while model.now < deadline - 1 {
        let next = match model.wheel.wanted() {
            Wanted::Now => model.now + 1,
            Wanted::At(time) => time,
            Wanted::Never => break,
        };
        model.now = next.min(deadline - 1);
        model.wheel.advance(model.now);
        assert!(model.wheel.pop_due().is_none(), "late at {}", model.now);
        model.move_ahead(1_000);
        calls += 1;
    }
    assert!(calls < 5_000);
    assert_eq!(model.wheel.handles(), 20_000);
    model.advance(deadline);
    assert_eq!(model.wheel.handles(), 20_000 - 20_000usize.div_ceil(7));
}

#[test]
fn the_end_of_time_is_a_time() {
    let mut model = Model::new(u64::MAX - 100);
    model.file(u64::MAX);
    model.file(u64::MAX - 50);
    model.advance(u64::MAX - 1);
    model.check();
    assert_eq!(model.filed.len(), 1);
}

#[test]
fn samples_come_from_everywhere() {
    let mut wheel = Wheel::new(0);
    for handle in 0..100 {
        wheel.file(handle, handle * handle * handle);
    }
    let mut state = 1u64;
    let mut rng = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state ^ state >> 29
    };
    let mut seen = [0; 100];
    for _ in 0..20_000 {
        if let Some(handle) = wheel.sample(&mut rng) {
            seen[handle as usize] += 1;
        }
    }
    assert!(seen.iter().all(|count| *count > 50), "{seen:?}");
}

#[test]
fn an_emptied_wheel_reuses_its_chunks() {
    let mut model = Model::new(0);
    for round in 0..50 {
        for i in 0..1000 {
            model.file(round * 1000 + 1 + i);
        }
        model.advance(round * 1000 + 1000);
        model.check();
    }
    assert!(model.filed.is_empty());
    // 1,000 handles over up to 1,000 slots of which at most 64 * 2 + 32 are in use at a time.
    assert!(model.wheel.memory_usage() < 64 * 1024);
}
