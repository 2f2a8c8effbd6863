//! Decides whether a history of concurrent calls is linearizable: whether the calls could have
//! happened one after the other, each at some instant between its invocation and its return, with
//! these results.
//!
//! The algorithm is Wing and Gong's search (1993) with Lowe's cache of configurations (2017): go
//! through the events in time; try each call that is open; remember which sets of linearized calls
//! with which state led nowhere; when a return is met whose call is not linearized, take the last
//! choice back.

use std::collections::HashSet;
use std::hash::Hash;

/// What calls do to an object, when they happen one after the other.
pub(super) trait Model {
    type State: Clone + Eq + Hash;
    type Call;

    /// The state of a new object.
    fn initial() -> Self::State;

    /// The state after the call; nothing when the call cannot have had its result in `state`.
    fn step(state: &Self::State, call: &Self::Call) -> Option<Self::State>;
}

/// A call with its result and the time it took; the times are of one monotonic clock.
#[derive(Debug, Clone)]
pub(super) struct Record<C> {
    pub(super) call: C,
    pub(super) invoked_ns: u64,
    pub(super) returned_ns: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Linearizable,
    /// No order explains the results; this many calls can be explained at most.
    Violation {
        explained: usize,
    },
    /// The search became longer than allowed.
    TooLong,
}

/// Checks the history of one object, trying at most `limit` configurations.
pub(super) fn check<M: Model>(history: &[Record<M::Call>], limit: usize) -> Verdict {
    let mut events = Events::new(history);
    let mut state = M::initial();
    let mut done = Bits::new(history.len());
    let mut visited = HashSet::new();
    // Linearized calls with the state before each.
    let mut stack: Vec<(usize, M::State)> = Vec::new();
    let mut explained = 0;
    let mut at = events.first();
    loop {
        let Some(event) = at else {
            return Verdict::Linearizable;
        };
        if let Event::Call(call) = event {
            if let Some(next) = M::step(&state, &history[call].call) {
                done.set(call, true);
                if visited.insert((done.clone(), next.clone())) {
                    stack.push((call, std::mem::replace(&mut state, next)));
                    explained = explained.max(stack.len());
                    events.lift(call);
                    at = events.first();
                    continue;
                }
                done.set(call, false);
            }
            at = events.after(event);
            continue;
        }
        if visited.len() > limit {
            return Verdict::TooLong;
        }
        let Some((call, before)) = stack.pop() else {
            return Verdict::Violation { explained };
        };
        state = before;
        done.set(call, false);
        events.unlift(call);
        at = events.after(Event::Call(call));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Call(usize),
    Return(usize),
}

/// Invocations and returns in order of time, as a doubly linked list from which calls can be taken
/// and to which they can be given back in reverse order.
struct Events {
    /// Events by position; position 0 is the head, before all events.
    order: Vec<Event>,
    next: Vec<usize>,
    previous: Vec<usize>,
    /// Positions of each call's invocation and return.
    places: Vec<(usize, usize)>,
}

impl Events {
    fn new<C>(history: &[Record<C>]) -> Self {
        let mut timed: Vec<(u64, bool, Event)> = Vec::with_capacity(2 * history.len());
        for (call, record) in history.iter().enumerate() {
            // At the same instant invocations come first: the calls count as concurrent.
            timed.push((record.invoked_ns, false, Event::Call(call)));
            timed.push((record.returned_ns, true, Event::Return(call)));
        }
        timed.sort_by_key(|(time, returns, _)| (*time, *returns));
        let mut order = vec![Event::Return(usize::MAX)];
        order.extend(timed.into_iter().map(|(_, _, event)| event));
        let mut places = vec![(0, 0); history.len()];
        for (position, event) in order.iter().enumerate().skip(1) {
            match *event {
                Event::Call(call) => places[call].0 = position,
                Event::Return(call) => places[call].1 = position,
            }
        }
        let count = order.len();
        Self {
            order,
            // The last event's successor is the head.
            next: (0..count).map(|place| (place + 1) % count).collect(),
            previous: (0..count)
                .map(|place| (place + count - 1) % count)
                .collect(),
            places,
        }
    }

    fn first(&self) -> Option<Event> {
        self.event(self.next[0])
    }

    fn after(&self, event: Event) -> Option<Event> {
        let place = match event {
            Event::Call(call) => self.places[call].0,
            Event::Return(call) => self.places[call].1,
        };
        self.event(self.next[place])
    }

    fn event(&self, place: usize) -> Option<Event> {
        (place != 0).then(|| self.order[place])
    }

    /// Takes the two events of a call out.
    fn lift(&mut self, call: usize) {
        let (invoked, returned) = self.places[call];
        for place in [invoked, returned] {
            let (before, after) = (self.previous[place], self.next[place]);
            self.next[before] = after;
            self.previous[after] = before;
        }
    }

    /// Puts them back where they were; must be in the reverse order of `lift`.
    fn unlift(&mut self, call: usize) {
        let (invoked, returned) = self.places[call];
        for place in [returned, invoked] {
            let (before, after) = (self.previous[place], self.next[place]);
            self.next[before] = place;
            self.previous[after] = place;
        }
    }
}

/// A set of calls.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Bits(Vec<u64>);

impl Bits {
    fn new(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    fn set(&mut self, index: usize, value: bool) {
        let bit = 1 << (index % 64);
        if value {
            self.0[index / 64] |= bit;
        } else {
            self.0[index / 64] &= !bit;
        }
    }
}
