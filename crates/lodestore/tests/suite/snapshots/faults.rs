//! Snapshots whose output is slow, fails, or is never asked for.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use keyspace::NewValue;
use server::Instance;
use server::{Form, Job, Output, Purpose, Server, SnapshotError, Walk, begin_snapshot};

use super::super::harness::{Client, TestServer, fresh_dir, program};
use super::invariants::Content;
use super::{PATIENCE, info, save_in_background, wait_for};

const KEYS: u64 = 5_000;

/// A server inside the test, with some keys. No client connects to it.
fn instance() -> Instance {
    let dir = fresh_dir();
    let (dir, socket) = (dir.to_string_lossy(), dir.join("socket"));
    let options = [
        ("dir", &*dir),
        ("appendonly", "no"),
        ("save", ""),
        ("port", "0"),
        ("unixsocket", &socket.to_string_lossy()),
        ("threads", "2"),
    ];
    let config = server::config::with_options(&options).expect("a configuration");
    let instance = Instance::start(config, lodestore::BUILD).expect("a server");
    (0..KEYS).for_each(|key| put(instance.server(), key, b"old"));
    instance
}

fn put(server: &Server, key: u64, value: &[u8]) {
    let key = format!("key:{key}").into_bytes();
    let hash = server.engine.keyspace.hash(&key);
    let mut locked = server
        .engine
        .keyspace
        .lock_one(server.engine.keyspace.shard_of(hash));
    let shard = locked.shard_mut(hash).expect("it is locked");
    drop(shard.put(0, hash, &key, NewValue::Bytes(value), None, 0));
}

fn claim(server: &Server) -> Arc<Job> {
    let began = Instant::now();
    loop {
        if let Some(job) = server
            .snapshots
            .claim(Purpose::Save, server.engine.now_ms())
        {
            return job;
        }
        assert!(began.elapsed() < PATIENCE, "the job before does not end");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn start(server: &Arc<Server>) -> (Walk, Arc<Job>) {
    let job = claim(server);
    let walk = begin_snapshot(
        server,
        &mut server.engine.keyspace.lock_all(),
        Form::Commands,
        &job,
    );
    (walk, job)
}

/// Gathers what it gets, slowly or up to a length.
#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    bytes_max: Option<usize>,
    pause: Duration,
}

impl Output for Gathered {
    fn entries(&mut self, db: u32, encoded: &[u8]) -> io::Result<()> {
        assert_eq!(db, 0);
        std::thread::sleep(self.pause);
        self.bytes.extend_from_slice(encoded);
        match self.bytes_max {
            Some(max) if self.bytes.len() > max => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }
}

impl Gathered {
    fn count(&self, text: &str) -> usize {
        let all = String::from_utf8_lossy(&self.bytes);
        all.matches(text).count()
    }
}

/// All keys as they are, once each.
fn check_next_snapshot(server: &Arc<Server>, value: &str) {
    let (walk, _job) = start(server);
    let (gathered, figures) = walk.write(Gathered::default()).expect("a snapshot");
    assert_eq!(figures.keys, KEYS);
    assert_eq!(gathered.count("SET"), KEYS as usize);
    assert_eq!(gathered.count(value), KEYS as usize);
}

fn stop(instance: Instance) {
    instance.stop(0);
    assert_eq!(instance.wait(), 0);
}

#[test]
fn after_an_output_that_fails_the_next_snapshot_is_whole() {
    let instance = instance();
    let server = instance.server();
    for bytes_max in [0, 1, 30_000, 100_000] {
        let (walk, job) = start(server);
        (0..KEYS)
            .step_by(3)
            .for_each(|key| put(server, key, b"new"));
        let full = Gathered {
            bytes_max: Some(bytes_max),
            ..Gathered::default()
        };
        let result = walk.write(full);
        assert!(
            matches!(result, Err(SnapshotError::Io(_))),
            "at {bytes_max} bytes"
        );
        drop(job);
        assert!(!server.snapshots.walking.load(Ordering::Relaxed));
    }
    (0..KEYS).for_each(|key| put(server, key, b"next"));
    check_next_snapshot(server, "next");
    stop(instance);
}

#[test]
fn a_snapshot_that_is_never_written_leaves_nothing_behind() {
    let instance = instance();
    let server = instance.server();
    for _ in 0..3 {
        let (walk, job) = start(server);
        (0..KEYS)
            .step_by(2)
            .for_each(|key| put(server, key, b"new"));
        // The thread that drops it may hold locks.
        let locked = server.engine.keyspace.lock_all();
        drop((walk, job));
        drop(locked);
    }
    (0..KEYS).for_each(|key| put(server, key, b"next"));
    check_next_snapshot(server, "next");
    stop(instance);
}

/// Writers wait for a slow output rather than fill the memory.
#[test]
fn old_values_take_no_more_memory_than_their_buffers() {
    const VALUE_BYTES: usize = 1_000;
    /// What a shard keeps before it is written, and the value that comes on top.
    const SHARD_BYTES: usize = 64 * 1024 + 2 * VALUE_BYTES;
    let instance = instance();
    let server = instance.server();
    (0..KEYS).for_each(|key| put(server, key, &[b'x'; VALUE_BYTES]));
    let (walk, job) = start(server);
    let progress = std::thread::scope(|scope| {
        let walking = scope.spawn(|| {
            walk.write(Gathered {
                pause: Duration::from_millis(1),
                ..Gathered::default()
            })
        });
        // Until there is an output old values have nowhere to go.
        while job.progress.bytes.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        for key in 0..KEYS {
            put(server, key, b"new");
        }
        let (gathered, figures) = walking.join().expect("no panic").expect("a snapshot");
        assert_eq!(gathered.count("SET"), KEYS as usize);
        assert_eq!(gathered.count("new"), 0);
        figures
    });
    assert!(progress.pre_images > 0);
    let most = server.engine.keyspace.shard_count() * SHARD_BYTES;
    assert!(progress.kept_peak <= most as u64, "{progress:?}");
    assert_eq!(job.progress.kept.load(Ordering::Relaxed), 0);
    drop(job);
    check_next_snapshot(server, "new");
    stop(instance);
}

/// A server whose files cannot grow beyond 64 KiB or so.
fn limited_server() -> TestServer {
    let dir = fresh_dir();
    let script = dir.join("limited");
    let program = program();
    let program = program.display();
    let text = format!("#!/bin/sh\ntrap '' XFSZ\nulimit -f 64\nexec {program} \"$@\"\n");
    std::fs::write(&script, text).expect("a script");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("a program");
    TestServer::start_peer(
        &script,
        dir,
        &["--appendonly", "no", "--save", "", "--rdbcompression", "no"],
    )
}

fn names(server: &TestServer) -> Vec<String> {
    let entries = std::fs::read_dir(server.dir()).expect("the directory");
    let name = |entry: io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
    let mut names: Vec<String> = entries
        .map(|entry| name(entry).to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn fill(client: &mut Client) {
    for key in 0..300 {
        client.line(&format!("SET long:{key} {}", "x".repeat(1_000)));
    }
}

#[test]
fn a_full_disk_leaves_the_old_file() {
    let server = limited_server();
    let mut client = server.connect();
    client.check(&[("SET a 1", "+OK"), ("SAVE", "+OK")]);
    fill(&mut client);
    let reply = client.line("SAVE");
    let expected = "-ERR Write error while saving DB to the disk(rdbSaveRio): File too large";
    assert_eq!(reply, expected);
    assert_eq!(names(&server), ["dump.rdb", "limited"]);
    // The walk comes across it, or a command with an old value.
    for delay in ["0", "5000"] {
        client.line(&format!("CONFIG SET rdb-key-save-delay {delay}"));
        save_in_background(&mut client);
        fill(&mut client);
        wait_for(&mut client, "rdb_bgsave_in_progress", "0");
        assert_eq!(
            info(&mut client, "persistence", "rdb_last_bgsave_status"),
            "err"
        );
        assert_eq!(names(&server), ["dump.rdb", "limited"]);
    }
    assert_eq!(Content::read(&server.dir().join("dump.rdb")).len(), 1);
    client.check(&[("FLUSHDB", "+OK"), ("SET b 2", "+OK"), ("SAVE", "+OK")]);
    assert_eq!(
        info(&mut client, "persistence", "rdb_last_bgsave_status"),
        "ok"
    );
}
