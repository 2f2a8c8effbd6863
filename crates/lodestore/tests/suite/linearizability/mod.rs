//! Many connections on several workers use few keys; what they saw must be explained by some order
//! of their calls (see `checker`).
//!
//! `LODESTORE_HISTORY_ROUNDS` sets the number of rounds, each on new keys.

mod checker;
mod model;
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use checker::{Record, Verdict, check};
use model::{Call, TwoKeys};
use resp::Value;

use super::harness::{Client, TestServer};
use super::random::{Random, number_in_env};

const ROUNDS: u64 = 8;
const CONNECTIONS: u64 = 10;
const CALLS: usize = 60;
/// Pairs of keys that all connections of a round share.
const OBJECTS: usize = 3;
/// Configurations the checker tries per object; ordinary histories need about as many as they have
/// calls.
const SEARCH_LIMIT: usize = 2_000_000;

#[test]
fn histories_of_two_workers_are_linearizable() {
    run(&["--threads", "2", "--threads-spread", "yes"]);
}

#[test]
fn histories_with_synced_writes_are_linearizable() {
    run(&[
        "--threads",
        "4",
        "--threads-spread",
        "yes",
        "--appendfsync",
        "always",
    ]);
}

fn run(options: &[&str]) {
    let seed = Random::seed();
    println!("LODESTORE_TEST_SEED={seed}");
    let server = TestServer::start_with(options);
    let rounds = number_in_env("LODESTORE_HISTORY_ROUNDS").unwrap_or(ROUNDS);
    let finished = AtomicBool::new(false);
    let mut calls = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| move_connections(&server, &finished));
        for round in 0..rounds {
            calls += check_round(&server, round, seed);
        }
        finished.store(true, Ordering::Release);
    });
    println!("{calls} calls checked");
    let threads = server.connect().run(&["INFO", "threads"]);
    let threads = String::from_utf8_lossy(threads.as_bytes().expect("a text")).into_owned();
    let second = threads
        .lines()
        .find(|line| line.starts_with("io_thread_1:"));
    let second = second.expect("a second worker");
    assert!(
        !second.contains("reads=0,"),
        "one worker did everything: {threads}"
    );
}

/// Flips the switch that packs connections on one worker and spreads them again.
fn move_connections(server: &TestServer, finished: &AtomicBool) {
    let mut client = server.connect();
    let mut spread = false;
    while !finished.load(Ordering::Acquire) {
        // The controller looks four times a second.
        std::thread::sleep(Duration::from_millis(260));
        let value = if spread { "yes" } else { "no" };
        client.check(&[(&format!("CONFIG SET threads-spread {value}"), "+OK")]);
        spread = !spread;
    }
}

/// One history on new keys. Returns the number of calls.
fn check_round(server: &TestServer, round: u64, seed: u64) -> usize {
    let began = Instant::now();
    let mut histories: Vec<Vec<Record<Call>>> = vec![Vec::new(); OBJECTS];
    std::thread::scope(|scope| {
        let players: Vec<_> = (0..CONNECTIONS)
            .map(|number| {
                let mut player = Player::new(server.connect(), began, round, number, seed);
                scope.spawn(move || {
                    for _ in 0..CALLS {
                        player.play();
                    }
                    player.history
                })
            })
            .collect();
        for player in players {
            let history = player.join().expect("a connection finishes");
            for (object, record) in history {
                histories[object].push(record);
            }
        }
    });
    for (object, history) in histories.iter().enumerate() {
        let verdict = check::<TwoKeys>(history, SEARCH_LIMIT);
        if verdict != Verdict::Linearizable {
            panic!(
                "round {round}, object {object}: {verdict:?}\n{}",
                listing(history)
            );
        }
    }
    histories.iter().map(Vec::len).sum()
}

fn listing(history: &[Record<Call>]) -> String {
    let mut sorted = history.to_vec();
    sorted.sort_by_key(|record| record.invoked_ns);
    let line = |record: &Record<Call>| {
        format!(
            "{:>12} {:>12} {:?}",
            record.invoked_ns, record.returned_ns, record.call
        )
    };
    sorted.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// One connection and what it saw.
struct Player {
    client: Client,
    began: Instant,
    round: u64,
    number: i64,
    values: i64,
    random: Random,
    history: Vec<(usize, Record<Call>)>,
}

impl Player {
    fn new(client: Client, began: Instant, round: u64, number: u64, seed: u64) -> Self {
        Self {
            client,
            began,
            round,
            number: number as i64,
            values: 0,
            random: Random::new(seed ^ (round << 40) ^ (number << 20)),
            history: Vec::new(),
        }
    }

    /// A number that no other client writes and that no count of this test reaches from another.
    fn fresh(&mut self) -> i64 {
        self.values += 1;
        (self.number * 100_000 + self.values) * 1_000_000
    }

    fn key(&self, object: usize, slot: usize) -> String {
        format!("round{}:{object}:{slot}", self.round)
    }

    /// Makes one call, or a few in one pipeline.
    fn play(&mut self) {
        let object = self.random.below(OBJECTS as u64) as usize;
        let slot = self.random.below(2) as usize;
        let key = self.key(object, slot);
        let value = self.fresh();
        let text = value.to_string();
        match self.random.below(12) {
            0..=1 => self.simple(object, &[&["GET", &key]], |replies| {
                let found = number(&replies[0]);
                vec![Call::Get { slot, found }]
            }),
            2 => self.simple(object, &[&["SET", &key, &text]], |replies| {
                assert_ok(&replies[0]);
                vec![Call::Set { slot, value }]
            }),
            3..=4 => self.simple(object, &[&["INCR", &key]], |replies| {
                let after = number(&replies[0]).expect("INCR answers a number");
                vec![Call::Incr { slot, after }]
            }),
            5 => self.burst(object, slot, value),
            6 => self.swap_watched(object, slot, value),
            7 => self.swap_if_equal(object, slot, value),
            8 => self.set_both(object, value),
            9 => self.get_both(object),
            10 => self.incr_both(object),
            _ => self.multi_key_commands(object, value),
        }
    }

    /// Sends requests in one write and records what `calls` makes of the replies.
    fn simple(
        &mut self,
        object: usize,
        requests: &[&[&str]],
        calls: impl FnOnce(&[Value]) -> Vec<Call>,
    ) {
        let mut bytes = Vec::new();
        for words in requests {
            bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
            for word in *words {
                bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
            }
        }
        let invoked_ns = self.now_ns();
        assert!(self.client.try_send(&bytes), "the server is gone");
        let replies: Vec<Value> = requests.iter().map(|_| self.client.read()).collect();
        let returned_ns = self.now_ns();
        for call in calls(&replies) {
            let record = Record {
                call,
                invoked_ns,
                returned_ns,
            };
            self.history.push((object, record));
        }
    }

    fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    fn burst(&mut self, object: usize, slot: usize, value: i64) {
        let (key, text) = (self.key(object, slot), value.to_string());
        let requests: [&[&str]; 3] = [&["SET", &key, &text], &["INCR", &key], &["GET", &key]];
        self.simple(object, &requests, |replies| {
            assert_ok(&replies[0]);
            let after = number(&replies[1]).expect("INCR answers a number");
            let found = number(&replies[2]);
            vec![
                Call::Set { slot, value },
                Call::Incr { slot, after },
                Call::Get { slot, found },
            ]
        });
    }

    /// WATCH, GET, MULTI, SET, EXEC. The GET before WATCH tells whether the key changed between
    /// WATCH and the GET that follows; then EXEC has to fail although the value it expects is
    /// there.
    fn swap_watched(&mut self, object: usize, slot: usize, new: i64) {
        let (key, text) = (self.key(object, slot), new.to_string());
        let (mut before, mut expected) = (None, None);
        let look: [&[&str]; 3] = [&["GET", &key], &["WATCH", &key], &["GET", &key]];
        self.simple(object, &look, |replies| {
            assert_ok(&replies[1]);
            before = number(&replies[0]);
            expected = number(&replies[2]);
            let get = |found| Call::Get { slot, found };
            vec![get(before), get(expected)]
        });
        let requests: [&[&str]; 3] = [&["MULTI"], &["SET", &key, &text], &["EXEC"]];
        self.simple(object, &requests, |replies| {
            let swapped = !replies[2].is_null();
            if swapped {
                assert_ok(&elements(&replies[2])[0]);
            } else if before != expected {
                return Vec::new();
            }
            vec![Call::Swap {
                slot,
                expected,
                new,
                swapped,
            }]
        });
    }

    fn swap_if_equal(&mut self, object: usize, slot: usize, new: i64) {
        let (key, text) = (self.key(object, slot), new.to_string());
        let mut expected = None;
        self.simple(object, &[&["GET", &key]], |replies| {
            expected = number(&replies[0]);
            vec![Call::Get {
                slot,
                found: expected,
            }]
        });
        let Some(present) = expected else { return };
        let present = present.to_string();
        self.simple(
            object,
            &[&["SET", &key, &text, "IFEQ", &present]],
            |replies| {
                let swapped = !replies[0].is_null();
                vec![Call::Swap {
                    slot,
                    expected,
                    new,
                    swapped,
                }]
            },
        );
    }

    fn set_both(&mut self, object: usize, value: i64) {
        let keys = [self.key(object, 0), self.key(object, 1)];
        let values = [value, self.fresh()];
        let texts = values.map(|value| value.to_string());
        let requests: [&[&str]; 4] = [
            &["MULTI"],
            &["SET", &keys[0], &texts[0]],
            &["SET", &keys[1], &texts[1]],
            &["EXEC"],
        ];
        self.simple(object, &requests, |replies| {
            elements(&replies[3]).iter().for_each(assert_ok);
            vec![Call::SetBoth { values }]
        });
    }

    fn get_both(&mut self, object: usize) {
        let keys = [self.key(object, 0), self.key(object, 1)];
        let requests: [&[&str]; 4] = [
            &["MULTI"],
            &["GET", &keys[0]],
            &["GET", &keys[1]],
            &["EXEC"],
        ];
        self.simple(object, &requests, |replies| {
            let found = elements(&replies[3]);
            let found = [number(&found[0]), number(&found[1])];
            vec![Call::GetBoth { found }]
        });
    }

    fn incr_both(&mut self, object: usize) {
        let keys = [self.key(object, 0), self.key(object, 1)];
        // The order of the keys differs from that of the others: locks must not care.
        let requests: [&[&str]; 4] = [
            &["MULTI"],
            &["INCR", &keys[1]],
            &["INCR", &keys[0]],
            &["EXEC"],
        ];
        self.simple(object, &requests, |replies| {
            let after = elements(&replies[3]);
            let after = [&after[1], &after[0]].map(|reply| reply.as_integer().expect("a number"));
            vec![Call::IncrBoth { after }]
        });
    }

    /// MSET and MGET, in one pipeline.
    fn multi_key_commands(&mut self, object: usize, value: i64) {
        let keys = [self.key(object, 0), self.key(object, 1)];
        let values = [value, self.fresh()];
        let texts = values.map(|value| value.to_string());
        let requests: [&[&str]; 2] = [
            &["MSET", &keys[0], &texts[0], &keys[1], &texts[1]],
            &["MGET", &keys[0], &keys[1]],
        ];
        self.simple(object, &requests, |replies| {
            assert_ok(&replies[0]);
            let found = elements(&replies[1]);
            let found = [number(&found[0]), number(&found[1])];
            vec![Call::SetBoth { values }, Call::GetBoth { found }]
        });
    }
}

fn assert_ok(reply: &Value) {
    assert_eq!(*reply, Value::Simple(b"OK".to_vec()));
}

fn elements(reply: &Value) -> &[Value] {
    reply
        .as_elements()
        .unwrap_or_else(|| panic!("{reply:?} is no array"))
}

/// The number in an integer or bulk reply; nothing for null.
fn number(reply: &Value) -> Option<i64> {
    if let Some(number) = reply.as_integer() {
        return Some(number);
    }
    assert!(reply.is_null() || reply.as_bytes().is_some(), "{reply:?}");
    let bytes = reply.as_bytes()?;
    let digits = std::str::from_utf8(bytes).expect("digits");
    Some(digits.parse().expect("a number"))
}
