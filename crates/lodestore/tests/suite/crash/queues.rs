//! Queues as they are built on streams and lists: the guarantees to their clients hold after kills.
//!
//! A producer adds each job once, some through a sorted set of delayed ones; two groups of
//! consumers read the stream, fail now and then and take over from each other; trims spare what is
//! not acknowledged. A worker moves jobs from one list to another while it has them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use resp::Value;

use super::{ROUNDS, options};
use crate::suite::harness::{Client, TestServer};
use crate::suite::random::{Random, number_in_env};

const GROUPS: [&str; 2] = ["mail", "audit"];
const CONSUMERS: usize = 2;

/// An entry that was handed out this long ago may be taken over.
const IDLE_MS: &str = "40";

/// How long everything may take to come to its end after the last kill.
const DRAIN: Duration = Duration::from_secs(20);

#[test]
fn queues_keep_their_promises_with_everysec() {
    queue_rounds("everysec");
}

#[test]
fn queues_keep_their_promises_with_always() {
    queue_rounds("always");
}

fn queue_rounds(policy: &str) {
    let rounds = number_in_env("LODESTORE_CRASH_ROUNDS").unwrap_or(ROUNDS);
    let seed = Random::seed();
    println!("appendfsync {policy}, {rounds} rounds, LODESTORE_TEST_SEED={seed}");
    let mut random = Random::new(seed);
    let options = |round: u64| {
        let mut options = options(policy, 1 + round % 2);
        options.extend_from_slice(&["--stream-node-max-entries", "8"]);
        options
    };
    let mut server = TestServer::start_with(&options(0));
    let mut client = server.connect();
    for group in GROUPS {
        let reply = client.line(&format!("XGROUP CREATE jobs {group} 0 MKSTREAM"));
        assert_eq!(reply, "+OK");
    }
    let queue = Queue::default();
    for round in 1..=rounds {
        let seed = random.next();
        queue.run(&mut server, seed, |server, admin| {
            if seed.is_multiple_of(3) {
                admin.line("BGREWRITEAOF");
            }
            std::thread::sleep(Duration::from_millis(20 + seed % 250));
            server.kill();
        });
        server.restart_with(&options(round));
    }
    // On a machine with other work nothing may have been done until here: at least this is.
    queue.run(&mut server, random.next(), |_, admin| {
        std::thread::sleep(Duration::from_millis(50));
        queue.produces.store(false, Ordering::Relaxed);
        queue.drain(admin);
    });
    queue.compare(&mut server.connect());
}

/// The state that the clients of the queue know from replies of the server.
#[derive(Default)]
struct Known {
    /// Jobs in the stream: 0 up to this one.
    produced: u64,
    /// Jobs in lists: 0 up to this one.
    listed: u64,
    /// The entry of each job.
    ids: BTreeMap<u64, String>,
    groups: [Progress; 2],
    /// When it was answered that a job of a list is finished.
    finished: BTreeMap<u64, Instant>,
}

/// The state of a group.
#[derive(Default)]
struct Progress {
    /// Entries that were delivered as new.
    fresh: BTreeSet<String>,
    done: BTreeSet<u64>,
    /// When the acknowledgement of an entry was answered.
    acknowledged: BTreeMap<String, Instant>,
}

struct Queue {
    known: Mutex<Known>,
    /// Producers go on.
    produces: AtomicBool,
    /// All clients go on.
    runs: AtomicBool,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            produces: AtomicBool::new(true),
            runs: AtomicBool::new(true),
        }
    }
}

/// What a client does again and again; nothing when its connection is broken. The number is its own
/// among the clients of its kind.
type Step = fn(&Queue, &mut Client, usize, &mut Random) -> Option<()>;

impl Queue {
    /// All clients work until their connections break, or until `conduct` returns.
    fn run(
        &self,
        server: &mut TestServer,
        seed: u64,
        conduct: impl FnOnce(&mut TestServer, &mut Client),
    ) {
        let mut steps: Vec<(Step, usize)> = vec![
            (Self::produce, 0),
            (Self::produce_in_list, 0),
            (Self::release, 0),
            (Self::look, 0),
            (Self::work_on_list, 0),
        ];
        steps.extend((0..GROUPS.len() * CONSUMERS).map(|number| (Self::consume as Step, number)));
        self.runs.store(true, Ordering::Relaxed);
        let mut admin = server.connect();
        std::thread::scope(|scope| {
            for (index, (step, number)) in steps.into_iter().enumerate() {
                let mut client = server.connect();
                let mut random = Random::new(seed.wrapping_add(index as u64));
                scope.spawn(move || {
                    let mut alive = true;
                    while alive && self.runs.load(Ordering::Relaxed) {
                        alive = step(self, &mut client, number, &mut random).is_some();
                    }
                });
            }
            conduct(server, &mut admin);
            self.runs.store(false, Ordering::Relaxed);
        });
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().expect("no client has failed")
    }

    /// Whether a producer should go on; else it rests.
    fn produces(&self) -> bool {
        let produces = self.produces.load(Ordering::Relaxed);
        if !produces {
            std::thread::sleep(Duration::from_millis(5));
        }
        produces
    }

    /// Adds a job, unless it was added and only the answer got lost.
    fn produce(&self, client: &mut Client, _: usize, random: &mut Random) -> Option<()> {
        if !self.produces() {
            return Some(());
        }
        let job = self.known().produced.to_string();
        if ask(client, &["HEXISTS", "produced", &job])? == Value::Integer(0) {
            let noted = ["HSET", "produced", &job, "1"];
            match random.below(5) {
                0 => transaction(client, &[&noted, &["ZADD", "delayed", &job, &job]])?,
                _ => transaction(client, &[&noted, &addition(&job)])?,
            };
        }
        self.known().produced += 1;
        Some(())
    }

    /// Moves delayed jobs to the stream.
    fn release(&self, client: &mut Client, _: usize, _: &mut Random) -> Option<()> {
        let due = ask(client, &["ZRANGE", "delayed", "0", "3"])?;
        for job in texts(&due) {
            let moved = transaction(client, &[&["ZREM", "delayed", &job], &addition(&job)])?;
            assert_eq!(moved[0], Value::Integer(1), "job {job} was moved twice");
        }
        std::thread::sleep(Duration::from_millis(2));
        Some(())
    }

    fn consume(&self, client: &mut Client, number: usize, random: &mut Random) -> Option<()> {
        let at = number / CONSUMERS;
        let (group, name) = (GROUPS[at], number.to_string());
        let takes_over = number.is_multiple_of(CONSUMERS) && random.below(2) == 0;
        let mut read = vec!["XREADGROUP", "GROUP", group, &name];
        read.extend_from_slice(&["COUNT", "5", "BLOCK", "20"]);
        if takes_over {
            read.extend_from_slice(&["CLAIM", IDLE_MS]);
        }
        read.extend_from_slice(&["STREAMS", "jobs", ">"]);
        let asked_at = Instant::now();
        let reply = ask(client, &read)?;
        let stream = reply.as_elements().and_then(|streams| streams.first());
        if let Some(stream) = stream {
            let entries = &stream.as_elements().expect("a key and entries")[1];
            let taken = self.take(at, entries, asked_at, !takes_over);
            self.acknowledge(client, at, &taken, random)?;
        }
        if random.below(4) == 0 {
            let asked_at = Instant::now();
            let claim = ["XAUTOCLAIM", "jobs", group, &name, IDLE_MS, "0"];
            let reply = ask(client, &claim)?;
            let parts = reply.as_elements().expect("cursor, entries, deleted ones");
            let none = Value::Array(Vec::new());
            assert_eq!(parts[2], none, "pending in {group}, but deleted");
            let taken = self.take(at, &parts[1], asked_at, false);
            self.acknowledge(client, at, &taken, random)?;
        }
        Some(())
    }

    /// Entries were handed out by a command that was sent at `asked_at`. Returns their ids.
    fn take(&self, at: usize, entries: &Value, asked_at: Instant, fresh: bool) -> Vec<String> {
        let mut known = self.known();
        let mut taken = Vec::new();
        for entry in entries.as_elements().expect("entries") {
            let parts = entry.as_elements().expect("an entry");
            let (id, fields) = (text(&parts[0]), texts(&parts[1]));
            let job: u64 = fields[1].parse().expect("a job");
            let first = known.ids.entry(job).or_insert_with(|| id.clone());
            assert_eq!(*first, id, "job {job} is there twice");
            let group = &mut known.groups[at];
            if let Some(answered) = group.acknowledged.get(&id) {
                assert!(
                    *answered > asked_at,
                    "{id} came again after its acknowledgement"
                );
            }
            let is_first = !fresh || group.fresh.insert(id.clone());
            assert!(is_first, "{id} came as new twice");
            group.done.insert(job);
            taken.push(id);
        }
        taken
    }

    /// Acknowledges what was taken, but for what the consumer fails to work on.
    fn acknowledge(
        &self,
        client: &mut Client,
        at: usize,
        ids: &[String],
        random: &mut Random,
    ) -> Option<()> {
        for id in ids {
            match random.below(10) {
                0 => continue,
                1..=3 => ask(
                    client,
                    &["XACKDEL", "jobs", GROUPS[at], "ACKED", "IDS", "1", id],
                )?,
                _ => ask(client, &["XACK", "jobs", GROUPS[at], id])?,
            };
            let answered = Instant::now();
            let acknowledged = &mut self.known().groups[at].acknowledged;
            acknowledged.entry(id.clone()).or_insert(answered);
        }
        Some(())
    }

    /// Looks at what is pending, and trims what is not.
    fn look(&self, client: &mut Client, _: usize, random: &mut Random) -> Option<()> {
        for group in GROUPS {
            let summary = ["XPENDING", "jobs", group];
            let list = ["XPENDING", "jobs", group, "-", "+", "100000"];
            let replies = transaction(client, &[&summary, &list])?;
            let count = replies[0].as_elements().expect("a summary")[0].as_integer();
            let listed = replies[1].as_elements().expect("a list").len();
            assert_eq!(count, i64::try_from(listed).ok(), "pending in {group}");
        }
        let keep = random.below(40).to_string();
        ask(client, &["XTRIM", "jobs", "MAXLEN", "~", &keep, "ACKED"])?;
        std::thread::sleep(Duration::from_millis(5));
        Some(())
    }

    fn produce_in_list(&self, client: &mut Client, _: usize, _: &mut Random) -> Option<()> {
        if !self.produces() {
            return Some(());
        }
        let job = self.known().listed.to_string();
        let key = format!("job:{job}");
        if ask(client, &["EXISTS", &key])? == Value::Integer(0) {
            let commands: [&[&str]; 3] = [
                &["HSET", &key, "status", "queued"],
                &["EXPIRE", &key, "3600"],
                &["LPUSH", "queue", &job],
            ];
            transaction(client, &commands)?;
        }
        self.known().listed += 1;
        Some(())
    }

    fn work_on_list(&self, client: &mut Client, _: usize, random: &mut Random) -> Option<()> {
        // Elements that were moved although the reply was lost.
        let asked_at = Instant::now();
        let left = ask(client, &["LRANGE", "working", "0", "-1"])?;
        for job in texts(&left) {
            self.finish(client, &job, asked_at, random)?;
        }
        let asked_at = Instant::now();
        let take = ["BLMOVE", "queue", "working", "RIGHT", "LEFT", "0.02"];
        let job = ask(client, &take)?;
        match job.as_bytes() {
            Some(_) => self.finish(client, &text(&job), asked_at, random),
            None => Some(()),
        }
    }

    /// Finishes a job of a list that was handed out by a command sent at `asked_at`, or fails and
    /// gives it back.
    fn finish(
        &self,
        client: &mut Client,
        job: &str,
        asked_at: Instant,
        random: &mut Random,
    ) -> Option<()> {
        let number = job.parse().expect("a job");
        if let Some(answered) = self.known().finished.get(&number) {
            assert!(
                *answered > asked_at,
                "job {job} came again after it was finished"
            );
        }
        let key = format!("job:{job}");
        let remove = ["LREM", "working", "1", job];
        let replies = if random.below(10) == 0 {
            let retry = ["HINCRBY", &key, "retries", "1"];
            transaction(client, &[&remove, &retry, &["LPUSH", "queue", job]])?
        } else {
            let done = ["HSET", &key, "status", "finished"];
            let replies = transaction(client, &[&remove, &done, &["EXPIRE", &key, "600"]])?;
            let answered = Instant::now();
            self.known().finished.entry(number).or_insert(answered);
            replies
        };
        assert_eq!(replies[0], Value::Integer(1), "job {job} was lost");
        Some(())
    }

    /// Waits until nothing is left to do.
    fn drain(&self, client: &mut Client) {
        let began = Instant::now();
        while began.elapsed() < DRAIN {
            let done = {
                let known = self.known();
                let all = |group: &Progress| group.done.len() as u64 >= known.produced;
                known.groups.iter().all(all)
            };
            if done && left(client) == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The contents of the server in the end.
    fn compare(&self, client: &mut Client) {
        let known = self.known();
        let produced = i64::try_from(known.produced).expect("a count");
        println!("{produced} jobs in the stream, {} in lists", known.listed);
        assert!(produced > 0, "nothing was tested");
        for (name, group) in GROUPS.iter().zip(&known.groups) {
            let all: BTreeSet<u64> = (0..known.produced).collect();
            let missing: Vec<&u64> = all.symmetric_difference(&group.done).take(9).collect();
            assert!(missing.is_empty(), "{name} has lost or made up {missing:?}");
        }
        assert_eq!(left(client), 0, "something is pending or queued");
        assert_eq!(client.integer("HLEN produced"), produced);
        let info = client.line("XINFO STREAM jobs");
        let added = format!("\"entries-added\" :{produced} ");
        assert!(info.contains(&added), "not {added}: {info}");
        let kept = client.integer("XLEN jobs");
        assert_eq!(client.integer("XTRIM jobs MAXLEN 0 ACKED"), kept);
        for job in 0..known.listed {
            let status = client.line(&format!("HGET job:{job} status"));
            assert_eq!(status, "\"finished\"", "job {job}");
            let seconds = client.integer(&format!("TTL job:{job}"));
            assert!((1..=600).contains(&seconds), "job {job} ends in {seconds}");
        }
    }
}

/// Entries that are pending and jobs that wait somewhere.
fn left(client: &mut Client) -> i64 {
    let queued = ["ZCARD delayed", "LLEN queue", "LLEN working"].map(|line| client.integer(line));
    let pending = GROUPS.map(|group| {
        let reply = client.run(&["XPENDING", "jobs", group]);
        let summary = reply.as_elements().expect("a summary");
        summary[0].as_integer().expect("a count")
    });
    queued.iter().chain(&pending).sum()
}

/// The words that add a job to the stream.
fn addition(job: &str) -> [&str; 9] {
    [
        "XADD", "jobs", "MAXLEN", "~", "30", "ACKED", "*", "job", job,
    ]
}

/// Sends a request and reads its reply; nothing when the server is gone.
fn ask(client: &mut Client, words: &[&str]) -> Option<Value> {
    let mut bytes = Vec::new();
    encode(&mut bytes, words);
    let sent = client.try_send(&bytes);
    let reply = sent.then(|| client.read_or_closed()).flatten()?;
    assert!(!reply.is_error(), "{words:?}: {reply:?}");
    Some(reply)
}

/// Runs commands in MULTI and EXEC, sent at once. Nothing when the server is gone; the result is
/// unknown then.
fn transaction(client: &mut Client, commands: &[&[&str]]) -> Option<Vec<Value>> {
    let mut bytes = Vec::new();
    encode(&mut bytes, &["MULTI"]);
    for command in commands {
        encode(&mut bytes, command);
    }
    encode(&mut bytes, &["EXEC"]);
    let sent = client.try_send(&bytes);
    for _ in 0..=commands.len() {
        let reply = sent.then(|| client.read_or_closed()).flatten()?;
        assert!(!reply.is_error(), "{commands:?}: {reply:?}");
    }
    let reply = client.read_or_closed()?;
    let replies = reply.as_elements().expect("EXEC answers an array");
    assert!(!replies.iter().any(Value::is_error), "{replies:?}");
    Some(replies.to_vec())
}

fn encode(bytes: &mut Vec<u8>, words: &[&str]) {
    bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
}

fn text(value: &Value) -> String {
    let bytes = value.as_bytes().expect("a text");
    String::from_utf8_lossy(bytes).into_owned()
}

fn texts(value: &Value) -> Vec<String> {
    let elements = value.as_elements().expect("texts");
    elements.iter().map(text).collect()
}
