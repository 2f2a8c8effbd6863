//! A model of stale copies: many clients keep what they read until it is invalidated, while others
//! write in short bursts. Readers go on until the last write is answered, so that copies of the
//! newest values are left, and then every copy has to equal the value of the server.

use std::collections::HashMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use resp::Value;

use super::super::harness::{Client, TestServer};
use super::super::random::{Random, number_in_env};

const KEYS: u64 = 12;
/// Commands of a writer in a burst.
const BURST: u64 = 30;
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

    /// A key that it has no copy of, as a cache asks only for those. Without one it looks for
    /// invalidations.
    fn missing(&mut self) -> Option<String> {
        let first = self.random.below(KEYS);
        let missing = (0..KEYS)
            .map(|step| format!("k{}", (first + step) % KEYS))
            .find(|key| !self.copies.contains_key(key));
        if missing.is_none() {
            self.ask(&["PING"]);
        }
        missing
    }

    fn read_one(&mut self) {
        let Some(key) = self.missing() else { return };
        let optin = self.mode == "OPTIN";
        match self.random.below(40) {
            // Not to be kept.
            0 if self.mode == "OPTOUT" => {
                self.ask(&["CLIENT", "CACHING", "NO"]);
                self.ask(&["GET", &key]);
            }
            0 if optin => drop(self.ask(&["GET", &key])),
            1..=4 => {
                if optin {
                    self.ask(&["CLIENT", "CACHING", "YES"]);
                }
                self.ask(&["MULTI"]);
                self.ask(&["GET", &key]);
                let replies = self.ask(&["EXEC"]);
                let value = replies.as_elements().expect("replies")[0].clone();
                self.copies.insert(key, value);
            }
            // A change of its own, which NOLOOP does not tell.
            5 => {
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
    fn check(&mut self, server: &mut Client) -> bool {
        self.ask(&["PING"]);
        let keys: Vec<String> = self.copies.keys().cloned().collect();
        let mut is_right = true;
        for key in keys {
            let value = server.run(&["GET", &key]);
            if self.copies.get(&key) != Some(&value) {
                // The key may have expired just now; then its invalidation has been sent.
                self.ask(&["PING"]);
                if let Some(copy) = self.copies.get(&key) {
                    println!(
                        "{key} in mode {:?}: {copy:?} is stale, {value:?}",
                        self.mode
                    );
                    is_right = false;
                }
            }
        }
        is_right
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

/// What the threads of a run share.
struct Run<'a> {
    server: &'a TestServer,
    seed: u64,
    rounds: u64,
    /// Begins and ends each burst.
    barrier: Barrier,
    /// Writers that have not ended their burst.
    writing: AtomicUsize,
    /// Copies that were compared.
    kept: AtomicUsize,
    failed: AtomicBool,
}

impl Run<'_> {
    fn write(&self, number: usize) {
        let mut random = Random::new(self.seed ^ (number as u64 + 100));
        let mut client = self.server.connect();
        for _ in 0..self.rounds {
            self.barrier.wait();
            for _ in 0..BURST {
                write(&mut client, &mut random);
            }
            self.writing.fetch_sub(1, Ordering::SeqCst);
            self.barrier.wait();
        }
    }

    fn read(&self, number: usize) {
        let mut cache = Cache::new(self.server, number, self.seed);
        let mut client = self.server.connect_resp3();
        for _ in 0..self.rounds {
            self.writing.store(WRITERS, Ordering::SeqCst);
            self.barrier.wait();
            while self.writing.load(Ordering::SeqCst) > 0 {
                cache.read_one();
            }
            // Its own writes have ended, those of other readers may not have.
            self.barrier.wait();
            std::thread::sleep(Duration::from_millis(8));
            if !cache.check(&mut client) {
                // The other threads must not wait for this one at the barrier.
                self.failed.store(true, Ordering::SeqCst);
            }
            self.kept.fetch_add(cache.copies.len(), Ordering::Relaxed);
        }
    }
}

#[test]
fn copies_are_never_stale() {
    let seed = Random::seed();
    println!("LODESTORE_TEST_SEED={seed}");
    // A small table, so that keys are forgotten now and then.
    let server = TestServer::start_with(&[
        "--threads",
        "4",
        "--threads-spread",
        "yes",
        "--tracking-table-max-keys",
        "11",
    ]);
    let run = Run {
        server: &server,
        seed,
        rounds: number_in_env("LODESTORE_STALENESS_ROUNDS").unwrap_or(150),
        barrier: Barrier::new(READERS + WRITERS),
        writing: AtomicUsize::new(WRITERS),
        kept: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        for number in 0..WRITERS {
            let run = &run;
            scope.spawn(move || run.write(number));
        }
        for number in 0..READERS {
            let run = &run;
            scope.spawn(move || run.read(number));
        }
    });
    let kept = run.kept.into_inner();
    println!("{kept} copies compared");
    assert!(!run.failed.into_inner(), "seed {seed}: stale copies");
    assert!(kept > 100, "seed {seed}: only {kept} copies were kept");
}
