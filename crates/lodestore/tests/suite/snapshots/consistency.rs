//! Many snapshots beside many writers: each is the data of one instant, and that of its place in
//! the log.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use resp::decode;

use super::super::harness::{TestServer, dump, fresh_dir};
use super::invariants::{Content, Random, change, change_databases, fill};
use super::{info, save_in_background, wait_for, wait_until_saved};

/// The log gets a new base after so many snapshots.
const REWRITE_EVERY: u64 = 20;

/// How many snapshots are taken in a long run.
const LONG_RUN: &str = "LODESTORE_TEST_SNAPSHOTS";

#[test]
fn snapshots_beside_one_worker() {
    take_snapshots(1, 6, 3);
}

#[test]
fn snapshots_beside_two_workers() {
    take_snapshots(2, 6, 3);
}

#[test]
fn snapshots_beside_four_workers() {
    take_snapshots(4, 6, 3);
}

/// A thousand say more than a dozen: set the environment variable to their number.
#[test]
fn snapshots_for_a_long_time() {
    let count = std::env::var(LONG_RUN)
        .ok()
        .and_then(|count| count.parse().ok());
    let count: u64 = count.unwrap_or(0);
    for (workers, share) in [(1, count / 4), (2, count / 2), (4, count / 4)] {
        if share > 0 {
            take_snapshots(workers, share, 50);
        }
    }
}

/// Takes `count` snapshots and checks each; every `replay_every`th is compared with the log.
fn take_snapshots(workers: u32, count: u64, replay_every: u64) {
    let server = TestServer::start_with(&[
        "--threads",
        &workers.to_string(),
        "--threads-spread",
        "yes",
        "--auto-aof-rewrite-percentage",
        "0",
    ]);
    fill(&mut server.connect());
    let is_over = AtomicBool::new(false);
    let stop_at_end = StopAtEnd(&is_over);
    thread::scope(|scope| {
        for writer in 0..3 {
            let (server, is_over) = (&server, &is_over);
            scope.spawn(move || {
                let mut client = server.connect();
                let mut random = Random(0x9e37_79b9 + writer);
                while !is_over.load(Ordering::Relaxed) {
                    change(&mut client, &mut random);
                }
            });
        }
        let (server, is_over) = (&server, &is_over);
        scope.spawn(move || {
            let mut client = server.connect();
            let mut round = 0;
            while !is_over.load(Ordering::Relaxed) {
                round += 1;
                change_databases(&mut client, round);
            }
        });
        let stop_at_end = stop_at_end;
        for number in 1..=count {
            snapshot(server, number, number.is_multiple_of(replay_every));
            if number.is_multiple_of(REWRITE_EVERY) {
                rewrite(server);
            }
        }
        drop(stop_at_end);
    });
}

/// The writers end also when a check fails.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn snapshot(server: &TestServer, number: u64, replays: bool) {
    let mut client = server.connect();
    // Slow ones give the writers more to do meanwhile.
    let delay = if number.is_multiple_of(3) { 5 } else { 0 };
    client.line(&format!("CONFIG SET rdb-key-save-delay {delay}"));
    save_in_background(&mut client);
    // Not for long: a busy machine sleeps far longer than it is asked to.
    thread::sleep(Duration::from_millis(500));
    client.let_snapshots_go();
    wait_until_saved(&mut client);
    let path = server.dir().join("dump.rdb");
    let content = Content::read(&path);
    content.check();
    if replays {
        let offset = content.log_offset.expect("the offset of the log");
        compare_with_log(server.dir(), &path, offset);
    }
}

/// The other kind of snapshot: between two of ours, because one runs at a time.
fn rewrite(server: &TestServer) {
    let mut client = server.connect();
    client.line("CONFIG SET rdb-key-save-delay 0");
    let reply = client.line("BGREWRITEAOF");
    assert_eq!(reply, "+Background append only file rewriting started");
    wait_for(&mut client, "aof_rewrite_in_progress", "0");
    assert_eq!(
        info(&mut client, "persistence", "aof_last_bgrewrite_status"),
        "ok"
    );
}

/// A server that loads the snapshot has what one has that loads the log up to its offset.
fn compare_with_log(dir: &Path, snapshot: &Path, offset: u64) {
    let from_snapshot = {
        let dir = fresh_dir();
        std::fs::copy(snapshot, dir.join("dump.rdb")).expect("a copy");
        TestServer::start_plain(dir, &["--appendonly", "no"])
    };
    let from_log =
        TestServer::start_plain(cut_log(dir, offset), &["--appendonly", "yes", "--save", ""]);
    let (snapshot, log) = (
        dump(&mut from_snapshot.connect()),
        dump(&mut from_log.connect()),
    );
    let is_lasting = |line: &&String| {
        !["passing:", "fields:"]
            .iter()
            .any(|passing| line.contains(passing))
    };
    let lasting = |lines: &[String]| lines.iter().filter(is_lasting).cloned().collect::<Vec<_>>();
    assert_eq!(lasting(&snapshot), lasting(&log), "at offset {offset}");
}

/// A copy of the log that ends at a stream offset.
fn cut_log(dir: &Path, offset: u64) -> PathBuf {
    let from = dir.join("appendonlydir");
    let target = fresh_dir();
    let to = target.join("appendonlydir");
    std::fs::create_dir(&to).expect("a directory");
    let manifest = "appendonly.aof.manifest";
    let text = std::fs::read_to_string(from.join(manifest)).expect("the manifest");
    std::fs::write(to.join(manifest), &text).expect("a copy");
    // A base says at which offset it stands; without one the log begins with the first increment.
    let mut reached = 0;
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [_, name, _, _, _, kind, ..] = words[..] else {
            panic!("{line} in the manifest");
        };
        let mut bytes = std::fs::read(from.join(name)).expect("a file");
        match kind {
            "b" if name.ends_with(".rdb") => {
                let base = Content::read(&from.join(name));
                reached = base.log_offset.expect("the offset of the log");
            }
            "b" => assert_eq!(
                bytes.len(),
                0,
                "the log of a new server begins with nothing"
            ),
            _ => {
                let end = position_of(&bytes, &mut reached, offset);
                bytes.truncate(end);
            }
        }
        std::fs::write(to.join(name), bytes).expect("a copy");
    }
    assert_eq!(reached, offset, "the offset is between two records");
    target
}

/// Where in an increment a stream offset is, or its end. The increment begins at `reached`, which
/// goes along. Lines between records do not count.
fn position_of(bytes: &[u8], reached: &mut u64, offset: u64) -> usize {
    let mut at = 0;
    while *reached < offset && at < bytes.len() {
        let rest = &bytes[at..];
        if rest.starts_with(b"#") {
            at += rest
                .iter()
                .position(|byte| *byte == b'\n')
                .expect("a line end")
                + 1;
            continue;
        }
        let (_, used) = decode(rest).expect("a record").expect("a whole record");
        at += used;
        *reached += used as u64;
    }
    at
}
