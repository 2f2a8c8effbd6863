//! The snapshot of a primary as the base.

use super::support::{Collected, INCR_2, append, options, ran, record, visible};
use persist::rdb::{FileWriter, SaveOptions, Version};
use persist::storage::{Crash, Fault, Faulty, Op};
use persist::{Append, Scope, Storage};
use persist::{FsyncPolicy, LoadReport, Log, LogError, LogOptions, ReplicationId, Selection};
use std::path::Path;
use std::sync::Arc;

const OFFSET: u64 = 5_000;
const BASE_2: &str = "appendonlydir/appendonly.aof.2.base.rdb";

fn always() -> LogOptions {
    LogOptions {
        fsync: FsyncPolicy::Always,
        ..options()
    }
}

fn id() -> ReplicationId {
    ReplicationId::parse(&[b'7'; ReplicationId::LEN]).unwrap()
}

/// A snapshot with two keys, as another product sends it or with the offset of Lodestore.
fn snapshot(aux: &[(&str, &str)]) -> Vec<u8> {
    let options = SaveOptions {
        version: Version::V11,
        compression: true,
        checksum: true,
    };
    let mut file = FileWriter::new(Vec::new(), options, aux).unwrap();
    file.entries(0, b"\x00\x01a\x011").unwrap();
    file.entries(3, b"\x00\x01b\x012").unwrap();
    file.finish().unwrap()
}

/// Receives a snapshot with bytes behind its end, and goes on at its place.
fn adopt(log: &Log, aux: &[(&str, &str)]) -> Result<String, LogError> {
    let bytes = snapshot(aux);
    let mut received = log.receive_base()?;
    let (first, rest) = bytes.split_at(10);
    let sent = received
        .append(first)
        .and_then(|()| received.append(rest))
        .and_then(|()| received.append(b"0123456789"))
        .and_then(|()| received.finish(bytes.len() as u64));
    sent.map_err(LogError::Base)?;
    log.disable();
    log.set_stream_offset(OFFSET, Some(3));
    log.set_stream_is_copy(true);
    log.set_replication_id(id());
    log.adopt_base(received)
}

/// A record of the primary's stream, without a SELECT.
fn follow(log: &Log, words: &[&str]) {
    let append = Append {
        selection: Selection::Current { then: None },
        records: &record(words),
        scope: Scope::Both,
    };
    log.append_scoped(&append, 0);
    let _ = log.flush();
}

fn open(storage: &Faulty) -> (Log, LoadReport, Collected) {
    let log = Log::new(Arc::new(storage.clone()), always());
    log.set_stream_is_copy(true);
    let mut collected = Collected::default();
    let report = log.load(&mut collected).unwrap();
    (log, report, collected)
}

fn keys() -> Vec<(u32, String)> {
    vec![(0, "a".to_owned()), (3, "b".to_owned())]
}

#[test]
fn the_log_goes_on_behind_the_snapshot_of_a_primary() {
    for aux in [&[][..], &[(persist::LOG_OFFSET_AUX, "5000")]] {
        let storage = Faulty::new();
        let (log, ..) = open(&storage);
        append(&log, 0, &["ADD", "old"]);
        log.flush().unwrap();
        assert_eq!(adopt(&log, aux).unwrap(), "appendonly.aof.2.base.rdb");
        assert!(log.is_enabled() && !log.status().waits_for_base);
        assert_eq!((log.stream_offset(), log.synced_offset()), (OFFSET, OFFSET));
        let base = storage.visible().read(BASE_2);
        assert_eq!(base, Some(snapshot(aux)));
        follow(&log, &["ADD", "new"]);
        assert!(visible(&storage, INCR_2).contains("SELECT"));
        drop(log);
        let (log, report, collected) = open(&storage);
        assert_eq!(collected.entries, keys());
        assert_eq!(collected.ran, [ran(3, &["ADD", "new"])]);
        let end = OFFSET + record(&["ADD", "new"]).len() as u64;
        assert_eq!((report.offset, report.stream_db), (end, Some(3)));
        assert_eq!(report.replication_id, Some(id()));
        // What was superseded is gone, and so is what was received and not adopted.
        drop(log.receive_base().unwrap());
        let names = storage.list(Path::new("appendonlydir")).unwrap();
        assert_eq!(names.len(), 3, "{names:?}");
    }
}

#[test]
fn a_log_that_was_off_begins_with_it_and_its_directory_is_shared() {
    let storage = Faulty::new();
    let log = Log::new(Arc::new(storage.clone()), always());
    let received = log.receive_base().unwrap();
    // CONFIG SET appendonly yes while it arrives.
    log.prepare_base().unwrap();
    log.start_new_base(|_| Ok(())).unwrap();
    drop(received);
    adopt(&log, &[]).unwrap();
    drop(log);
    assert_eq!(open(&storage).2.entries, keys());
}

#[test]
fn a_disk_that_is_full_leaves_the_log_of_before() {
    let storage = Faulty::new();
    let (log, ..) = open(&storage);
    append(&log, 0, &["ADD", "old"]);
    log.flush().unwrap();
    storage.fail(Op::Append, 1, 1, Fault::Errno(libc::ENOSPC));
    assert!(adopt(&log, &[]).is_err());
    assert!(log.is_enabled());
    append(&log, 0, &["ADD", "more"]);
    log.flush().unwrap();
    // The increment behind it cannot be made.
    storage.fail(Op::Open, 1, 1, Fault::Errno(libc::ENOSPC));
    assert!(adopt(&log, &[]).is_err());
    assert!(!log.is_enabled());
    drop(log);
    let (_, _, collected) = open(&storage);
    assert_eq!(collected.entries, []);
    assert_eq!(
        collected.ran,
        [ran(0, &["ADD", "old"]), ran(0, &["ADD", "more"])]
    );
}

#[test]
fn the_old_log_or_the_snapshot_is_there_after_a_crash_at_every_step() {
    let run = |log: &Log| {
        append(log, 2, &["ADD", "old"]);
        let is_old = log.flush().is_ok();
        log.service(0);
        let is_synced = is_old && log.synced() == log.appended();
        let is_new = adopt(log, &[]).is_ok();
        let base = is_new && !log.status().waits_for_base;
        follow(log, &["ADD", "new"]);
        log.service(1_000);
        (is_synced, base, log.synced() == log.appended())
    };
    let storage = Faulty::new();
    let (log, ..) = open(&storage);
    let before = storage.steps();
    assert_eq!(run(&log), (true, true, true));
    let steps = storage.steps() - before;
    assert!(steps > 15);
    for alive in 0..steps {
        for how in [
            Crash::Process,
            Crash::Power(alive),
            Crash::Power(alive + 1_000),
        ] {
            let storage = Faulty::new();
            let (log, ..) = open(&storage);
            storage.die_after(alive);
            let (is_synced, is_new, is_all) = run(&log);
            let left = storage.crash(how);
            let (log, report, collected) = open(&left);
            let old = collected.entries.is_empty();
            assert!(!(old && is_new), "{alive}: the snapshot is lost");
            match old {
                true if is_synced => assert_eq!(collected.ran, [ran(2, &["ADD", "old"])]),
                true => assert!(collected.ran.len() <= 1),
                false => {
                    assert_eq!(collected.entries, keys());
                    assert!(collected.ran.len() <= 1);
                    assert!(report.replication_id.is_none_or(|found| found == id()));
                    let new = record(&["ADD", "new"]).len() as u64 * collected.ran.len() as u64;
                    let is_known = report.replication_id.is_some();
                    assert!(!is_known || report.offset == OFFSET + new);
                    assert!(is_known || how != Crash::Process);
                    let is_written = is_new && is_all;
                    assert!(!is_written || collected.ran == [ran(3, &["ADD", "new"])]);
                }
            }
            // The next life can do the same.
            adopt(&log, &[]).unwrap();
            drop(log);
            assert_eq!(open(&left).2.entries, keys());
        }
    }
}
