//! Superseded files that are kept, and the log as it was at earlier moments.

use crate::support::*;
use persist::storage::{Crash, Faulty, Memory, Op};
use persist::{Log, LogOptions, Moment, RestoreError, Restored, Storage, restore_to};
use std::path::Path;
use std::sync::Arc;

const HISTORY: &str = "appendonlydir/history";

fn keeping() -> LogOptions {
    LogOptions {
        timestamps: true,
        history_seconds: 3_600,
        ..options()
    }
}

/// Restores a moment and loads the copy.
fn restored(memory: &Memory, moment: Moment) -> Result<(Restored, Vec<Ran>), RestoreError> {
    let storage: Arc<dyn Storage> = Arc::new(memory.clone());
    let found = restore_to(storage, &keeping(), moment, Path::new("copy"))?;
    let copy = LogOptions {
        appenddirname: "copy".to_owned(),
        ..keeping()
    };
    let (report, ran_now) = load_only(memory.clone(), &copy).unwrap();
    assert_eq!(report.truncated, None);
    assert_eq!(found.offset, Some(report.offset));
    for name in memory.list(Path::new("copy")).unwrap() {
        memory.remove(&Path::new("copy").join(name)).unwrap();
    }
    Ok((found, ran_now))
}

/// A log with bases at 0, 4 and 8 records; one record a second from 1,000 on. Returns the offset
/// after each.
fn with_bases(memory: &Memory) -> Vec<u64> {
    let (log, ..) = open(memory.clone(), keeping()).unwrap();
    let mut offsets = vec![0];
    for n in 0..12u64 {
        if n > 0 && n % 4 == 0 {
            rewrite(&log, n);
        }
        let bytes = record(&["ADD", &n.to_string()]);
        offsets.push(log.append(0, &bytes, (1_000 + n) * 1_000));
    }
    log.close().unwrap();
    offsets
}

fn rewrite(log: &Log, records: u64) {
    log.start_new_base(|out| {
        for n in 0..records {
            out.write_all(&record(&["ADD", &n.to_string()]))?;
        }
        Ok(())
    })
    .unwrap();
}

fn first(count: usize) -> Vec<Ran> {
    (0..count)
        .map(|n| ran(0, &["ADD", &n.to_string()]))
        .collect()
}

#[test]
fn superseded_files_stand_apart_with_their_manifest() {
    let memory = Memory::new();
    with_bases(&memory);
    let mut names = memory.list(Path::new(HISTORY)).unwrap();
    names.sort();
    let expected = [
        "appendonly.aof.1.base.aof",
        "appendonly.aof.1.incr.aof",
        "appendonly.aof.1.manifest",
        "appendonly.aof.2.base.aof",
        "appendonly.aof.2.incr.aof",
        "appendonly.aof.2.manifest",
    ];
    assert_eq!(names, expected);
    assert!(!text(&memory, MANIFEST).contains("type h"));
    let chain = text(&memory, "appendonlydir/history/appendonly.aof.2.manifest");
    assert!(chain.starts_with("# superseded "), "{chain}");
    assert!(chain.contains("file appendonly.aof.2.base.aof seq 2 type b\n"));
}

#[test]
fn history_goes_when_it_is_not_wanted_any_more() {
    let memory = Memory::new();
    with_bases(&memory);
    let (log, ..) = open(memory.clone(), keeping()).unwrap();
    log.expire_history();
    assert_eq!(memory.list(Path::new(HISTORY)).unwrap().len(), 6);
    log.set_history(0);
    assert!(memory.list(Path::new(HISTORY)).unwrap().is_empty());
    log.close().unwrap();
}

#[test]
fn every_offset_can_be_restored() {
    let memory = Memory::new();
    let offsets = with_bases(&memory);
    for (count, &offset) in offsets.iter().enumerate() {
        for offset in [offset, offset + 5] {
            if count == 12 && offset > offsets[12] {
                continue;
            }
            let (found, ran_now) = restored(&memory, Moment::Offset(offset)).unwrap();
            assert_eq!(ran_now, first(count), "offset {offset}");
            assert_eq!(found.from_history, count < 8);
        }
    }
    let beyond = restored(&memory, Moment::Offset(offsets[12] + 1)).unwrap_err();
    assert!(matches!(beyond, RestoreError::TooLate(end) if end == offsets[12]));
}

#[test]
fn every_second_can_be_restored() {
    let memory = Memory::new();
    with_bases(&memory);
    for count in 1..=12 {
        let (_, ran_now) = restored(&memory, Moment::Time(999 + count)).unwrap();
        assert_eq!(ran_now, first(count as usize), "second {}", 999 + count);
    }
    assert_eq!(restored(&memory, Moment::Time(9_999)).unwrap().1, first(12));
}

#[test]
fn a_transaction_is_not_cut() {
    let memory = Memory::new();
    let (log, ..) = open(memory.clone(), keeping()).unwrap();
    let before = log.append(0, &record(&["ADD", "0"]), 1_000);
    let both = [
        record(&["MULTI"]),
        record(&["ADD", "1"]),
        record(&["ADD", "2"]),
        record(&["EXEC"]),
    ];
    let after = log.append(0, &both.concat(), 2_000);
    log.close().unwrap();
    for offset in before..=after {
        let count = if offset < after { 1 } else { 3 };
        let (_, ran_now) = restored(&memory, Moment::Offset(offset)).unwrap();
        assert_eq!(ran_now, first(count), "offset {offset}");
    }
}

#[test]
fn what_cannot_be_restored_is_said() {
    let memory = Memory::new();
    let nothing = restored(&memory, Moment::Time(5)).unwrap_err();
    assert!(matches!(nothing, RestoreError::Nothing));

    with_bases(&memory);
    let (log, ..) = open(memory.clone(), keeping()).unwrap();
    log.set_history(0);
    log.close().unwrap();
    let early = restored(&memory, Moment::Time(1_003)).unwrap_err();
    assert!(matches!(early, RestoreError::TooEarly { .. }), "{early}");
    let early = restored(&memory, Moment::Offset(30)).unwrap_err();
    assert!(matches!(early, RestoreError::TooEarly { .. }), "{early}");

    let memory = with_increment(&record(&["ADD", "0"]));
    let unmarked = restored(&memory, Moment::Time(5)).unwrap_err();
    assert!(matches!(unmarked, RestoreError::Unmarked(_)), "{unmarked}");
}

#[test]
fn the_log_is_whole_after_a_crash_at_every_step_of_keeping_history() {
    for alive in 0..90 {
        for seed in 0..3 {
            let storage = Faulty::new();
            let (log, ..) = open(storage.clone(), keeping()).unwrap();
            log.append(0, &record(&["ADD", "0"]), 1_000);
            log.flush().unwrap();
            log.service(1_000);
            storage.die_after(alive);
            let _ = log.start_new_base(|out| out.write_all(&record(&["ADD", "0"])));
            let left = storage.crash(Crash::Power(seed));
            let (log, _, ran_now) = open(left.clone(), keeping()).unwrap();
            assert_eq!(ran_now, first(1));
            // What a crash has left undone does not stand in the way.
            rewrite(&log, 1);
            rewrite(&log, 1);
            log.close().unwrap();
            assert_eq!(load_only(left, &keeping()).unwrap().1, first(1));
        }
    }
}

#[test]
fn files_that_cannot_be_kept_are_removed_or_named() {
    let storage = Faulty::new();
    let (log, ..) = open(storage.clone(), keeping()).unwrap();
    append(&log, 0, &["ADD", "0"]);
    log.flush().unwrap();
    // The base gets its name; moving the old files fails.
    storage.fail(Op::Rename, 4, 9, persist::storage::Fault::Errno(libc::EIO));
    rewrite(&log, 1);
    storage.heal();
    log.close().unwrap();
    assert_eq!(load_only(storage, &keeping()).unwrap().1, first(1));
}
