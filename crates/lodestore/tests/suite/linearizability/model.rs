//! The object that the history is about: two keys that hold integers.

use super::checker::Model;

/// What the two keys hold.
pub(super) type Pair = [Option<i64>; 2];

/// A call with its result. Slots are 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Get {
        slot: usize,
        found: Option<i64>,
    },
    Set {
        slot: usize,
        value: i64,
    },
    /// `after` is the reply.
    Incr {
        slot: usize,
        after: i64,
    },
    /// Sets the key to `new` if it holds `expected`: WATCH .. EXEC, or SET IFEQ. No value ever
    /// comes back, so an EXEC that failed means that another value is there.
    Swap {
        slot: usize,
        expected: Option<i64>,
        new: i64,
        swapped: bool,
    },
    /// Both keys read in one step.
    GetBoth {
        found: Pair,
    },
    /// Both keys set in one step.
    SetBoth {
        values: [i64; 2],
    },
    /// Both keys incremented in one step.
    IncrBoth {
        after: [i64; 2],
    },
}

/// Two registers that can also count.
pub(super) struct TwoKeys;

impl Model for TwoKeys {
    type State = Pair;
    type Call = Call;

    fn initial() -> Pair {
        [None, None]
    }

    fn step(state: &Pair, call: &Call) -> Option<Pair> {
        let mut next = *state;
        let possible = match *call {
            Call::Get { slot, found } => state[slot] == found,
            Call::Set { slot, value } => {
                next[slot] = Some(value);
                true
            }
            Call::Incr { slot, after } => {
                next[slot] = Some(after);
                state[slot].unwrap_or(0) + 1 == after
            }
            Call::Swap {
                slot,
                expected,
                new,
                swapped,
            } => {
                if swapped {
                    next[slot] = Some(new);
                }
                swapped == (state[slot] == expected)
            }
            Call::GetBoth { found } => *state == found,
            Call::SetBoth { values } => {
                next = values.map(Some);
                true
            }
            Call::IncrBoth { after } => {
                next = after.map(Some);
                state.map(|value| value.unwrap_or(0) + 1) == after
            }
        };
        possible.then_some(next)
    }
}
