//! What stands in the files, and how bases and policies change.

use crate::support::*;
use persist::storage::{Faulty, Memory};
use persist::{DirectoryError, FsyncPolicy, LoadError, Log, LogError, LogOptions, WriteStatus};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

#[test]
fn a_new_log_has_an_empty_base_and_an_increment() {
    let memory = Memory::new();
    let (log, report, ran) = open(memory.clone(), options()).unwrap();
    assert_eq!(report.files, 0);
    assert!(ran.is_empty());
    log.close().unwrap();
    assert_eq!(
        text(&memory, MANIFEST),
        "file appendonly.aof.1.base.aof seq 1 type b\n\
         file appendonly.aof.1.incr.aof seq 1 type i\n"
    );
    assert_eq!(text(&memory, BASE_1), "");
    assert_eq!(text(&memory, INCR_1), "#CRC:0000000000000000 OFF:0\r\n");
}

#[test]
fn records_stand_with_select_time_and_checksum() {
    let memory = Memory::new();
    let (log, ..) = open(
        memory.clone(),
        LogOptions {
            timestamps: true,
            ..options()
        },
    )
    .unwrap();
    let first = log.append(0, &record(&["SET", "a", "1"]), 5_999);
    let second = log.append(3, &record(&["SET", "b", "2"]), 6_000);
    let third = log.append(3, &record(&["SET", "c", "3"]), 6_999);
    assert_eq!((log.appended(), log.written()), (third, 0));
    assert_eq!(log.flush().unwrap(), third);
    assert_eq!(log.written(), third);
    let body = "#TS:5\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n\
                #TS:6\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n2\r\n\
                *3\r\n$3\r\nSET\r\n$1\r\nc\r\n$1\r\n3\r\n";
    let head = "#CRC:0000000000000000 OFF:0\r\n";
    assert_eq!(text(&memory, INCR_1), format!("{head}{body}"));
    // SELECT is 23 bytes and each SET 27; annotations do not count.
    assert_eq!((first, second, third), (50, 100, 127));
    log.close().unwrap();
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Redis, body.as_bytes());
    assert_eq!(
        text(&memory, INCR_1),
        format!("{head}{body}#CRC:{crc:016x} OFF:127\r\n")
    );
}

#[test]
fn the_stream_goes_on_where_it_ended() {
    let memory = Memory::new();
    let mut expected = Vec::new();
    let mut offset = 0;
    for round in 0..4u32 {
        let (log, report, ran_before) = open(memory.clone(), options()).unwrap();
        assert_eq!(ran_before, expected);
        assert_eq!(report.offset, offset);
        assert_eq!(log.appended(), offset);
        for n in 0..50 {
            let word = format!("{round}-{n}");
            append(&log, round, &["ADD", &word, &"x".repeat(n * 7)]);
            expected.push(ran(round, &["ADD", &word, &"x".repeat(n * 7)]));
            if n % 3 == 0 {
                log.flush().unwrap();
            }
        }
        offset = log.appended();
        log.close().unwrap();
        assert_eq!(log.synced(), offset);
    }
}

#[test]
fn checksum_lines_are_rare() {
    let memory = Memory::new();
    let (log, ..) = open(memory.clone(), options()).unwrap();
    for n in 0..1000 {
        append(&log, 0, &["SET", &format!("key:{n:06}"), "0123456789"]);
        log.flush().unwrap();
    }
    let file = text(&memory, INCR_1);
    let lines = file.matches("#CRC:").count();
    assert!(
        (5..=20).contains(&lines),
        "{lines} checksum lines in {} bytes",
        file.len()
    );
}

#[test]
fn a_second_of_service_closes_and_syncs() {
    let storage = Faulty::new();
    let (log, ..) = open(storage.clone(), options()).unwrap();
    log.service(1_000);
    let offset = append(&log, 0, &["SET", "a", "1"]);
    log.flush().unwrap();
    assert!(log.service(1_500) <= 500);
    assert_eq!(log.synced(), 0);
    log.service(2_000);
    assert_eq!(log.synced(), offset);
    assert_eq!(visible(&storage, INCR_1).matches("#CRC:").count(), 2);
    assert_eq!(log.status().unsynced_length, 0);
}

#[test]
fn service_writes_what_nobody_flushes() {
    let (log, ..) = open(Memory::new(), options()).unwrap();
    let offset = append(&log, 0, &["DEL", "expired"]);
    log.service(1_000);
    assert_eq!((log.written(), log.synced()), (offset, offset));
}

#[test]
fn always_syncs_many_offsets_at_once_and_tells() {
    let (log, ..) = open(Memory::new(), always()).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = told.clone();
    log.on_synced(Box::new(move |offset| seen.lock().unwrap().push(offset)));
    for n in 0..10 {
        append(&log, 0, &["ADD", &n.to_string()]);
        log.flush().unwrap();
    }
    assert_eq!(log.acknowledged(), 0);
    log.service(1);
    assert_eq!(*told.lock().unwrap(), [log.appended()]);
    assert_eq!(log.acknowledged(), log.appended());
    assert_eq!(log.status().fsyncs, 1);
}

#[test]
fn the_thread_syncs_by_itself() {
    let (log, ..) = open(Memory::new(), always()).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    log.on_synced(Box::new(move |offset| {
        let _ = sender.send(offset);
    }));
    log.start().unwrap();
    for n in 0..20 {
        let offset = append(&log, 0, &["ADD", &n.to_string()]);
        log.flush().unwrap();
        while receiver.recv().unwrap() < offset {}
    }
    log.close().unwrap();
}

#[test]
fn a_panic_in_the_thread_refuses_writes_until_it_works_again() {
    let (log, ..) = open(Memory::new(), always()).unwrap();
    let fails = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let (sender, receiver) = std::sync::mpsc::channel();
    let panics = fails.clone();
    log.on_synced(Box::new(move |offset| {
        assert!(!panics.load(Ordering::Acquire), "a defect of an observer");
        let _ = sender.send(offset);
    }));
    log.start().unwrap();
    append(&log, 0, &["SET", "a", "1"]);
    log.flush().unwrap();
    wait_for(|| log.write_status() == WriteStatus::Refuse);
    fails.store(false, Ordering::Release);
    wait_for(|| log.write_status() == WriteStatus::Open);
    let offset = append(&log, 0, &["SET", "a", "2"]);
    log.flush().unwrap();
    while receiver.recv().unwrap() < offset {}
    log.close().unwrap();
}

fn wait_for(condition: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !condition() {
        assert!(began.elapsed() < std::time::Duration::from_secs(30));
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn many_threads_append_and_flush_one_stream() {
    let memory = Memory::new();
    let (log, ..) = open(memory.clone(), always()).unwrap();
    log.start().unwrap();
    let highest = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (log, highest) = (&log, &highest);
            scope.spawn(move || {
                for n in 0..500 {
                    let offset = append(log, thread, &["ADD", &n.to_string()]);
                    assert!(log.flush().unwrap() >= offset);
                    highest.fetch_max(offset, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(highest.into_inner(), log.appended());
    log.close().unwrap();
    let (_, ran) = load_only(memory, &options()).unwrap();
    for thread in 0..4 {
        let own = ran
            .iter()
            .filter(|(db, _)| *db == thread)
            .map(|(_, words)| words[1].clone());
        assert!(own.eq((0..500).map(|n| n.to_string())));
    }
}

#[test]
fn a_policy_can_change() {
    let (log, ..) = open(
        Memory::new(),
        LogOptions {
            fsync: FsyncPolicy::No,
            ..options()
        },
    )
    .unwrap();
    let offset = append(&log, 0, &["SET", "a", "1"]);
    log.flush().unwrap();
    log.service(5_000);
    assert_eq!((log.synced(), log.acknowledged()), (0, offset));
    log.set_policy(FsyncPolicy::Always);
    assert_eq!(log.acknowledged(), 0);
    log.service(5_001);
    assert_eq!(log.acknowledged(), offset);
}

#[test]
fn a_log_that_is_not_enabled_only_counts() {
    let memory = Memory::new();
    let log = Log::new(Arc::new(memory.clone()), always());
    let offset = append(&log, 2, &["SET", "a", "1"]);
    assert_eq!(log.flush().unwrap(), offset);
    assert_eq!(
        (log.written(), log.synced(), log.acknowledged()),
        (offset, offset, offset)
    );
    log.service(1_000);
    log.close().unwrap();
    assert!(memory.read(MANIFEST).is_none());
    assert_eq!(log.write_status(), WriteStatus::Open);
}

#[test]
fn a_new_base_replaces_everything() {
    let memory = Memory::new();
    let (log, ..) = open(memory.clone(), options()).unwrap();
    append(&log, 1, &["SET", "a", "1"]);
    log.flush().unwrap();
    append(&log, 1, &["SET", "a", "2"]);
    log.start_new_base(|out| out.write_all(&record(&["SET", "a", "2"])))
        .unwrap();
    let offset = append(&log, 1, &["SET", "b", "3"]);
    log.flush().unwrap();
    assert_eq!(
        text(&memory, MANIFEST),
        "file appendonly.aof.2.base.aof seq 2 type b\n\
         file appendonly.aof.2.incr.aof seq 2 type i\n"
    );
    assert!(memory.read(BASE_1).is_none() && memory.read(INCR_1).is_none());
    let status = log.status();
    assert_eq!((status.rewrites, status.last_rewrite_ok), (1, true));
    assert!(status.current_size > status.base_size && status.base_size > 0);
    log.close().unwrap();
    let (report, ran_now) = load_only(memory, &options()).unwrap();
    assert_eq!(
        ran_now,
        [ran(0, &["SET", "a", "2"]), ran(1, &["SET", "b", "3"])]
    );
    assert_eq!(report.offset, offset);
}

#[test]
fn appending_can_be_switched_on_and_off() {
    let memory = Memory::new();
    let log = Log::new(Arc::new(memory.clone()), options());
    append(&log, 0, &["SET", "lost", "1"]);
    log.start_new_base(|out| out.write_all(&record(&["SET", "kept", "1"])))
        .unwrap();
    assert!(log.is_enabled());
    let offset = append(&log, 0, &["SET", "later", "1"]);
    log.disable();
    assert!(!log.is_enabled());
    assert_eq!((log.synced(), log.status().current_size), (offset, 0));
    append(&log, 0, &["SET", "lost", "2"]);
    let (_, ran_now) = load_only(memory.clone(), &options()).unwrap();
    assert_eq!(
        ran_now,
        [
            ran(0, &["SET", "kept", "1"]),
            ran(0, &["SET", "later", "1"])
        ]
    );
    log.start_new_base(|out| out.write_all(&record(&["SET", "again", "1"])))
        .unwrap();
    log.close().unwrap();
    let (report, ran_now) = load_only(memory, &options()).unwrap();
    assert_eq!(ran_now, [ran(0, &["SET", "again", "1"])]);
    assert_eq!(report.offset, log.appended());
}

#[test]
fn a_base_that_fails_leaves_the_log_as_it_was() {
    let memory = Memory::new();
    let (log, ..) = open(memory.clone(), options()).unwrap();
    append(&log, 0, &["SET", "a", "1"]);
    let failed = log.start_new_base(|out| {
        out.write_all(&record(&["SET", "half", "1"]))?;
        Err(std::io::Error::other("no more"))
    });
    assert!(matches!(failed, Err(LogError::Base(_))));
    assert!(!log.status().last_rewrite_ok);
    append(&log, 0, &["SET", "b", "1"]);
    log.close().unwrap();
    assert!(
        memory
            .read("appendonlydir/appendonly.aof.2.base.aof")
            .is_none()
    );
    let (_, ran_now) = load_only(memory, &options()).unwrap();
    assert_eq!(
        ran_now,
        [ran(0, &["SET", "a", "1"]), ran(0, &["SET", "b", "1"])]
    );
}

#[test]
fn one_directory_has_one_server() {
    let memory = Memory::new();
    let (log, ..) = open(memory.clone(), options()).unwrap();
    match open(memory.clone(), options()) {
        Err(LoadError::Directory(error @ DirectoryError::Locked(_))) => assert_eq!(
            error.to_string(),
            "The AOF directory appendonlydir is in use by another server (its file \
             lodestore.lock is locked)"
        ),
        _ => panic!("a second log opened the directory"),
    }
    log.close().unwrap();
    open(memory, options()).unwrap();
}

#[test]
fn without_checksums_there_are_only_records() {
    let memory = Memory::new();
    let plain = LogOptions {
        checksums: false,
        ..options()
    };
    let (log, ..) = open(memory.clone(), plain.clone()).unwrap();
    append(&log, 0, &["SET", "a", "1"]);
    log.close().unwrap();
    assert!(!text(&memory, INCR_1).contains('#'));
    let (log, report, ran_before) = open(memory, plain).unwrap();
    assert_eq!((report.offset, ran_before.len()), (50, 1));
    log.close().unwrap();
}

#[test]
fn a_real_disk_does_the_same() {
    let dir = std::env::temp_dir().join(format!("lodestore-persist-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let on_disk = LogOptions {
        dir: dir.clone(),
        ..always()
    };
    let (log, ..) = open(persist::Disk, on_disk.clone()).unwrap();
    append(&log, 0, &["SET", "a", "1"]);
    log.start_new_base(|out| out.write_all(&record(&["SET", "a", "1"])))
        .unwrap();
    append(&log, 9, &["SET", "b", "1"]);
    log.flush().unwrap();
    assert!(matches!(
        open(persist::Disk, on_disk.clone()),
        Err(LoadError::Directory(DirectoryError::Locked(_)))
    ));
    log.close().unwrap();
    let (log, _, ran_now) = open(persist::Disk, on_disk).unwrap();
    assert_eq!(
        ran_now,
        [ran(0, &["SET", "a", "1"]), ran(9, &["SET", "b", "1"])]
    );
    drop(log);
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_name_that_a_manifest_cannot_hold_is_refused() {
    for name in ["\u{1}".repeat(250), "a/b".to_owned()] {
        let bad = LogOptions {
            appendfilename: name,
            ..options()
        };
        assert!(open(Memory::new(), bad).is_err());
    }
}
