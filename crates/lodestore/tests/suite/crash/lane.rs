//! One connection's writes and what they must have left behind.

use std::collections::{BTreeMap, VecDeque};

use resp::Value;

use super::collections::{Change, Collections};
use crate::suite::harness::Client;
use crate::suite::random::Random;

/// Unix milliseconds in the year 2100: deadlines that no round reaches.
pub(super) const FAR_FUTURE_MS: u64 = 4_102_444_800_000;

/// Values grow by APPEND up to this many bytes.
const APPEND_MAX: usize = 4_096;

/// The value and the deadline of a string key.
type Held = (Vec<u8>, Option<u64>);

/// The contents of a lane's keys.
#[derive(Debug, Clone, Default, PartialEq)]
struct State {
    strings: BTreeMap<u8, Held>,
    collections: Collections,
}

/// A request (or a transaction) of a lane. Keys are numbered within the lane.
#[derive(Debug, Clone)]
enum Step {
    Set(u8, Vec<u8>),
    Append(u8, Vec<u8>),
    Incr(u8),
    Del(u8),
    ExpireAt(u8, u64),
    Get(u8),
    /// MULTI, SET of two keys to the same value, INCR, EXEC.
    Both(Vec<u8>, u8),
    /// INCR of a counter that all lanes share.
    Shared,
    /// MULTI, INCR of two counters that all lanes share, EXEC.
    SharedPair,
    /// A change of one of the lane's collections.
    Collection(Change),
}

/// The keys that a [`Step::Both`] sets.
const BOTH: [u8; 2] = [20, 21];

/// Keys 0..8 hold text, 10..14 counters.
const KEYS: [u8; 14] = [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, BOTH[0], BOTH[1]];

/// The sums of all lanes for the shared counters.
#[derive(Default, Clone, Copy)]
pub(super) struct Tally {
    /// Acknowledged steps.
    pub(super) acked: i64,
    /// Steps sent whose reply did not arrive.
    pub(super) open: i64,
    /// Highest value that a reply showed.
    pub(super) seen: i64,
}

/// A connection with keys of its own. No other connection writes them, so that the state after a
/// crash must be the state after some prefix of the sent commands, and that prefix must contain all
/// acknowledged ones.
pub(super) struct Lane {
    number: usize,
    random: Random,
    sequence: u64,
    /// State after all that was acknowledged.
    acked: State,
    /// State after all that was sent.
    sent: State,
    /// Sent and not acknowledged, in order.
    open: VecDeque<Step>,
    pub(super) shared: Tally,
    pub(super) pair: Tally,
    pub(super) steps: u64,
}

impl Lane {
    pub(super) fn new(number: usize, seed: u64) -> Self {
        Self {
            number,
            random: Random::new(seed ^ ((number as u64) << 32)),
            sequence: 0,
            acked: State::default(),
            sent: State::default(),
            open: VecDeque::new(),
            shared: Tally::default(),
            pair: Tally::default(),
            steps: 0,
        }
    }

    fn prefix(&self) -> String {
        format!("lane{}:", self.number)
    }

    fn key(&self, key: u8) -> String {
        format!("{}{key}", self.prefix())
    }

    /// Sends a pipeline. False when the server is gone.
    pub(super) fn send(&mut self, client: &mut Client) -> bool {
        let mut bytes = Vec::new();
        for _ in 0..=self.random.below(24) {
            let step = self.invent();
            self.encode(&step, &mut bytes);
            apply(&mut self.sent, &step);
            self.open.push_back(step);
        }
        client.try_send(&bytes)
    }

    /// Reads the replies of everything sent and checks them. False when the server is gone.
    pub(super) fn receive(&mut self, client: &mut Client) -> bool {
        while let Some(step) = self.open.front().cloned() {
            let Some(reply) = read_last(client, &step) else {
                return false;
            };
            self.open.pop_front();
            self.steps += 1;
            let expected = apply(&mut self.acked, &step);
            match step {
                Step::Shared => note(&mut self.shared, &reply),
                Step::SharedPair => {
                    let both = reply.as_elements().expect("EXEC answers an array");
                    assert_eq!(both[0], both[1], "counters of a transaction fell apart");
                    note(&mut self.pair, &both[0]);
                }
                _ => assert_eq!(Some(reply), expected, "lane {}: {step:?}", self.number),
            }
        }
        true
    }

    fn invent(&mut self) -> Step {
        self.sequence += 1;
        if self.random.below(2) == 0 {
            let state = &self.sent.collections;
            let change = Change::invent(&mut self.random, self.sequence, state);
            return Step::Collection(change);
        }
        let text = format!("{}-{}", self.number, self.sequence).into_bytes();
        let key = self.random.below(8) as u8;
        let counter = 10 + self.random.below(4) as u8;
        match self.random.below(20) {
            0..=4 => Step::Set(key, self.pad(text)),
            5..=6 if self.length(key) < APPEND_MAX => Step::Append(key, text),
            5..=8 => Step::Incr(counter),
            9 => Step::Del(key),
            10 => Step::Del(counter),
            11..=12 => Step::ExpireAt(key, FAR_FUTURE_MS + self.sequence),
            13..=14 => Step::Get(key),
            15..=17 => Step::Both(text, counter),
            18 => Step::Shared,
            _ => Step::SharedPair,
        }
    }

    /// Mostly small values, some that live out of line and do not fit one write.
    fn pad(&mut self, mut text: Vec<u8>) -> Vec<u8> {
        let length = match self.random.below(100) {
            0 => 200_000,
            1..=10 => self.random.below(3_000) as usize,
            _ => self.random.below(60) as usize,
        };
        text.resize(text.len().max(length), b'.');
        text
    }

    fn length(&self, key: u8) -> usize {
        let held = self.sent.strings.get(&key);
        held.map_or(0, |(value, _)| value.len())
    }

    fn encode(&self, step: &Step, out: &mut Vec<u8>) {
        let mut put = |words: &[&[u8]]| {
            out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
            for word in words {
                out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                out.extend_from_slice(word);
                out.extend_from_slice(b"\r\n");
            }
        };
        match step {
            Step::Set(key, value) => put(&[b"SET", self.key(*key).as_bytes(), value]),
            Step::Append(key, value) => put(&[b"APPEND", self.key(*key).as_bytes(), value]),
            Step::Incr(key) => put(&[b"INCR", self.key(*key).as_bytes()]),
            Step::Del(key) => put(&[b"DEL", self.key(*key).as_bytes()]),
            Step::Get(key) => put(&[b"GET", self.key(*key).as_bytes()]),
            Step::ExpireAt(key, deadline) => {
                let deadline = deadline.to_string();
                put(&[b"PEXPIREAT", self.key(*key).as_bytes(), deadline.as_bytes()]);
            }
            Step::Both(value, counter) => {
                put(&[b"MULTI"]);
                for key in BOTH {
                    put(&[b"SET", self.key(key).as_bytes(), value]);
                }
                put(&[b"INCR", self.key(*counter).as_bytes()]);
                put(&[b"EXEC"]);
            }
            Step::Shared => put(&[b"INCR", b"shared"]),
            Step::SharedPair => {
                put(&[b"MULTI"]);
                put(&[b"INCR", b"pair:a"]);
                put(&[b"INCR", b"pair:b"]);
                put(&[b"EXEC"]);
            }
            Step::Collection(change) => change.encode(&self.prefix(), &mut put),
        }
    }

    /// Compares with what a restarted server holds, and goes on from there. Returns the number of
    /// keys.
    pub(super) fn compare(&mut self, client: &mut Client) -> usize {
        let found = self.held(client);
        let mut state = self.acked.clone();
        let mut covered = 0;
        while state != found {
            let Some(step) = self.open.get(covered) else {
                panic!(
                    "lane {}: the state is none of those after {} acknowledged steps and 0 to {} more\n\
                     acknowledged: {}\nsent: {}\nfound: {}",
                    self.number,
                    self.steps,
                    self.open.len(),
                    brief(&self.acked),
                    brief(&self.sent),
                    brief(&found)
                );
            };
            apply(&mut state, step);
            covered += 1;
        }
        for step in self.open.drain(..) {
            match step {
                Step::Shared => self.shared.open += 1,
                Step::SharedPair => self.pair.open += 1,
                _ => {}
            }
        }
        self.acked = found.clone();
        self.sent = found;
        self.acked.strings.len() + self.acked.collections.keys()
    }

    /// The server's contents of this lane's keys.
    fn held(&self, client: &mut Client) -> State {
        let mut found = BTreeMap::new();
        for key in KEYS {
            let name = self.key(key);
            let value = client.run(&["GET", &name]);
            let deadline = client.run(&["PEXPIRETIME", &name]).as_integer();
            let deadline = deadline.expect("PEXPIRETIME answers an integer");
            if let Some(bytes) = value.as_bytes() {
                let deadline = u64::try_from(deadline).ok();
                found.insert(key, (bytes.to_vec(), deadline));
            } else {
                assert_eq!((value, deadline), (Value::NullBulk, -2), "{name}");
            }
        }
        State {
            strings: found,
            collections: Collections::held(client, &self.prefix()),
        }
    }
}

/// The reply of a step; of a transaction the reply of EXEC.
fn read_last(client: &mut Client, step: &Step) -> Option<Value> {
    let queued = match step {
        Step::Both(..) => 3,
        Step::SharedPair => 2,
        _ => return client.read_or_closed(),
    };
    assert_eq!(client.read_or_closed()?, Value::Simple(b"OK".to_vec()));
    for _ in 0..queued {
        assert_eq!(client.read_or_closed()?, Value::Simple(b"QUEUED".to_vec()));
    }
    client.read_or_closed()
}

fn note(tally: &mut Tally, reply: &Value) {
    let value = reply.as_integer().expect("INCR answers an integer");
    assert!(value > tally.seen, "a shared counter went back");
    tally.acked += 1;
    tally.seen = value;
}

/// Applies a step to a state and returns its reply, as far as the lane alone decides it.
fn apply(state: &mut State, step: &Step) -> Option<Value> {
    let ok = || Value::Simple(b"OK".to_vec());
    if let Step::Collection(change) = step {
        return Some(state.collections.apply(change));
    }
    let state = &mut state.strings;
    let reply = match step {
        Step::Set(key, value) => {
            state.insert(*key, (value.clone(), None));
            ok()
        }
        Step::Append(key, value) => {
            let held = state.entry(*key).or_default();
            held.0.extend_from_slice(value);
            Value::Integer(held.0.len() as i64)
        }
        Step::Incr(key) => Value::Integer(increment(state, *key)),
        Step::Del(key) => Value::Integer(i64::from(state.remove(key).is_some())),
        Step::ExpireAt(key, deadline) => {
            let held = state.get_mut(key);
            let exists = held.is_some();
            if let Some(held) = held {
                held.1 = Some(*deadline);
            }
            Value::Integer(i64::from(exists))
        }
        Step::Get(key) => match state.get(key) {
            Some((value, _)) => Value::Bulk(value.clone()),
            None => Value::NullBulk,
        },
        Step::Both(value, counter) => {
            for key in BOTH {
                state.insert(key, (value.clone(), None));
            }
            let count = Value::Integer(increment(state, *counter));
            Value::Array(vec![ok(), ok(), count])
        }
        Step::Shared | Step::SharedPair | Step::Collection(_) => return None,
    };
    Some(reply)
}

fn increment(state: &mut BTreeMap<u8, Held>, key: u8) -> i64 {
    let held = state.entry(key).or_default();
    let before = std::str::from_utf8(&held.0).expect("digits");
    let after = before.parse().unwrap_or(0) + 1;
    held.0 = i64::to_string(&after).into_bytes();
    after
}

fn brief(state: &State) -> String {
    let show = |(key, (value, deadline)): (&u8, &Held)| {
        let start = String::from_utf8_lossy(&value[..value.len().min(24)]).into_owned();
        format!("{key}={start}({} bytes, {deadline:?})", value.len())
    };
    let strings = state.strings.iter().map(show).collect::<Vec<_>>();
    format!("{} {:?}", strings.join(" "), state.collections)
}
