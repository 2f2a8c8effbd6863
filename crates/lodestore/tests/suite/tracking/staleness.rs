//! A model of stale copies: many clients keep what they read until it is invalidated, while others
//! write. After each quiet moment every copy equals the value of the server.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use resp::Value;

use super::super::harness::{Client, TestServer};
use super::super::random::{Random, number_in_env};

const KEYS: u64 = 24;
const READERS: usize = 5;
const WRITERS: usize = 3;

/// A client with its copies.
struct Cache {
    client: Client,
    mode: &'static str,
    copies: HashMap<String, Value>,
    random: Random,
}

const MODES: [&str; READERS] = ["", "OPTIN", "OPTOUT", "BCAST", "NOLOOP"];

impl Cache {
    fn new(server: &TestServer, number: usize, seed: u64) -> Self {
        let mode = MODES[number % MODES.len()];
        let mut client = server.connect_resp3();
        let on = format!("CLIENT TRACKING ON {mode}");
        assert_eq!(client.line(on.trim()), "+OK");
        Self {
            client,
            mode,
            copies: HashMap::new(),
            random: Random::new(seed ^ number as u64),
        }
    }

    /// Reads until a reply; invalidations before it take copies away.
    fn reply(&mut self) -> Value {
        loop {
            let value = self.client.read();
            let Value::Push(parts) = &value else {
                return value;
            };
            assert_eq!(parts[0].as_bytes(), Some(&b"invalidate"[..]));
            match parts[1].as_elements() {
                None => self.copies.clear(),
                Some(keys) => {
                    for key in keys {
                        let key = String::from_utf8_lossy(key.as_bytes().expect("a key"));
                        self.copies.remove(&*key);
                    }
                }
            }
        }
    }

    fn ask(&mut self, words: &[&str]) -> Value {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.client.send(&words);
        self.reply()
    }

    fn read_one(&mut self) {
        let key = format!("k{}", self.random.below(KEYS));
        let optin = self.mode == "OPTIN";
        match self.random.below(8) {
            // Not to be kept.
            0 if self.mode == "OPTOUT" => {
                self.ask(&["CLIENT", "CACHING", "NO"]);
                self.ask(&["GET", &key]);
            }
            0 if optin => drop(self.ask(&["GET", &key])),
            1 => {
                if optin {
                    self.ask(&["CLIENT", "CACHING", "YES"]);
                }
                self.ask(&["MULTI"]);
                self.ask(&["GET", &key]);
                let replies = self.ask(&["EXEC"]);
                let value = replies.as_elements().expect("replies")[0].clone();
                self.copies.insert(key, value);
            }
            // A change of its own: its copy is the new value, which NOLOOP leaves alone.
            2 => {
                let value = format!("own{}", self.random.next());
                self.ask(&["SET", &key, &value]);
                self.copies.remove(&key);
            }
            _ => {
                if optin {
                    self.ask(&["CLIENT", "CACHING", "YES"]);
                }
                let value = self.ask(&["GET", &key]);
                self.copies.insert(key, value);
            }
        }
    }

    /// Nothing writes: after all that was sent has arrived, the copies are those of the server.
    fn check(&mut self, server: &mut Client, seed: u64) {
        self.ask(&["PING"]);
        for (key, copy) in &self.copies {
            let value = server.run(&["GET", key]);
            assert_eq!(
                *copy, value,
                "seed {seed}: a stale copy of {key} in mode {:?}",
                self.mode
            );
        }
    }
}

fn write(client: &mut Client, random: &mut Random) {
    let key = format!("k{}", random.below(KEYS));
    let value = random.next().to_string();
    match random.below(12) {
        0 => client.line(&format!("DEL {key}")),
        1 => client.line(&format!("SET {key} {value} PX {}", 1 + random.below(5))),
        2 => client.line(&format!("RENAME {key} k{}", random.below(KEYS))),
        3 => client.line(&format!(
            "MSET {key} {value} k{} {value}",
            random.below(KEYS)
        )),
        4 => client.line(&format!("PEXPIRE {key} {}", 1 + random.below(5))),
        5 if random.below(40) == 0 => client.line("FLUSHALL"),
        6 => {
            client.line("MULTI");
            client.line(&format!("SET {key} {value}"));
            client.line(&format!("APPEND {key} x"));
            client.line("EXEC")
        }
        _ => client.line(&format!("SET {key} {value}")),
    };
}

#[test]
fn copies_are_never_stale() {
    let seed = Random::seed();
    println!("LODESTORE_TEST_SEED={seed}");
    // A small table, so that keys are forgotten all the time.
    let server = TestServer::start_with(&[
        "--threads",
        "4",
        "--threads-spread",
        "yes",
        "--tracking-table-max-keys",
        "16",
    ]);
    let rounds = number_in_env("LODESTORE_STALENESS_ROUNDS").unwrap_or(12);
    let mut caches: Vec<Cache> = (0..READERS)
        .map(|number| Cache::new(&server, number, seed))
        .collect();
    let mut kept = 0;
    for round in 0..rounds {
        let finished = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (server, finished) = (&server, &finished);
                let mut random = Random::new(seed ^ (round << 8) ^ (writer as u64 + 100));
                scope.spawn(move || {
                    let mut client = server.connect();
                    while !finished.load(Ordering::Acquire) {
                        write(&mut client, &mut random);
                    }
                });
            }
            let readers: Vec<_> = caches
                .iter_mut()
                .map(|cache| {
                    scope.spawn(move || {
                        for _ in 0..300 {
                            cache.read_one();
                        }
                    })
                })
                .collect();
            for reader in readers {
                reader.join().expect("a reader");
            }
            finished.store(true, Ordering::Release);
        });
        let mut client = server.connect_resp3();
        // Keys with a short time expire before copies are compared.
        std::thread::sleep(Duration::from_millis(20));
        for cache in &mut caches {
            cache.check(&mut client, seed);
            kept += cache.copies.len();
        }
    }
    assert!(kept > 0, "seed {seed}: nothing was kept");
}
