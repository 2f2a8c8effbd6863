//! A disk that fails, one fault at a time.

use crate::support::*;
use persist::storage::{Crash, Fault, Faulty, File, LockGuard, Op, OpenMode};
use persist::{Cause, FsyncPolicy, LogError, LogOptions, Storage, WriteStatus};
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

const ENOSPC: Fault = Fault::Errno(libc::ENOSPC);
const EIO: Fault = Fault::Errno(libc::EIO);

fn assert_holds(storage: &Faulty, count: usize) {
    let left = storage.crash(Crash::Power(7));
    let (_, ran_now) = load_only(left, &options()).unwrap();
    let expected: Vec<Ran> = (0..count)
        .map(|n| ran(0, &["ADD", &n.to_string()]))
        .collect();
    assert_eq!(ran_now, expected);
}

#[test]
fn a_full_disk_keeps_the_records_and_recovers() {
    let storage = Faulty::new();
    let (log, ..) = open(storage.clone(), options()).unwrap();
    append(&log, 0, &["ADD", "0"]);
    log.flush().unwrap();
    let before = visible(&storage, INCR_1);
    // Half of the record goes to the file, then nothing more.
    storage.fail(Op::Append, 0, 1, Fault::Short(9));
    storage.fail(Op::Append, 0, 2, ENOSPC);
    let offset = append(&log, 0, &["ADD", "1"]);
    let Err(LogError::Broken(trouble)) = log.flush() else {
        panic!("the flush succeeded")
    };
    assert_eq!(
        (trouble.cause, trouble.errno),
        (Cause::Write, Some(libc::ENOSPC))
    );
    assert_eq!(
        trouble.to_string(),
        "Errors writing to the AOF file: No space left on device"
    );
    assert_eq!(
        visible(&storage, INCR_1),
        before,
        "the torn record was cut off"
    );
    assert_eq!(log.write_status(), WriteStatus::Refuse);
    assert_eq!(log.status().buffer_length, record(&["ADD", "1"]).len());

    append(&log, 0, &["ADD", "2"]);
    log.service(1_000);
    assert!(log.trouble().is_some(), "the second ENOSPC");
    log.service(1_001);
    assert!(
        log.trouble().is_some(),
        "not tried again before a second is over"
    );
    log.service(2_000);
    assert_eq!(
        (log.trouble(), log.write_status()),
        (None, WriteStatus::Open)
    );
    assert!(log.written() > offset);
    log.service(3_000);
    assert_holds(&storage, 3);
}

#[test]
fn a_torn_record_that_cannot_be_cut_off_waits() {
    let storage = Faulty::new();
    let (log, ..) = open(storage.clone(), options()).unwrap();
    append(&log, 0, &["ADD", "0"]);
    log.flush().unwrap();
    storage.fail(Op::Append, 0, 1, Fault::Short(9));
    storage.fail(Op::Append, 0, 1, EIO);
    storage.fail(Op::Truncate, 0, 2, EIO);
    append(&log, 0, &["ADD", "1"]);
    log.flush().unwrap_err();
    let killed = storage.crash(Crash::Process);
    let (report, ran_now) = load_only(killed, &options()).unwrap();
    assert_eq!(
        (ran_now.len(), report.truncated.map(|cut| cut.dropped)),
        (1, Some(9))
    );
}

#[test]
fn a_torn_record_is_cut_off_when_the_disk_can() {
    let storage = Faulty::new();
    let (log, ..) = open(storage.clone(), options()).unwrap();
    append(&log, 0, &["ADD", "0"]);
    storage.fail(Op::Append, 0, 1, Fault::Short(30));
    storage.fail(Op::Append, 0, 1, EIO);
    storage.fail(Op::Truncate, 0, 2, EIO);
    log.flush().unwrap_err();
    for second in 1..=3 {
        log.service(second * 1_000);
    }
    assert_eq!(log.trouble(), None);
    append(&log, 0, &["ADD", "1"]);
    log.service(5_000);
    assert_holds(&storage, 2);
}

#[test]
fn after_a_failed_sync_the_records_are_written_again() {
    let storage = Faulty::new();
    let (log, ..) = open(storage.clone(), always()).unwrap();
    append(&log, 0, &["ADD", "0"]);
    log.flush().unwrap();
    log.service(1);
    let synced = log.synced();
    let good = visible(&storage, INCR_1).len();

    append(&log, 0, &["ADD", "1"]);
    log.flush().unwrap();
    storage.fail(Op::Sync, 0, 1, EIO);
    assert_eq!(log.service(2), 0, "to be tried at once");
    assert_eq!(log.synced(), synced);
    assert_eq!(
        log.status().last_fsync_error.as_deref(),
        Some("Input/output error")
    );
    assert_eq!(
        log.trouble().map(|trouble| trouble.cause),
        Some(Cause::Fsync)
    );
    append(&log, 0, &["ADD", "2"]);
    log.flush().unwrap_err();

    log.service(3);
    assert_eq!(log.trouble(), None);
    assert_eq!(
        visible(&storage, MANIFEST),
        format!(
            "file appendonly.aof.1.base.aof seq 1 type b\n\
             file appendonly.aof.1.incr.aof seq 1 type i length {good}\n\
             file appendonly.aof.2.incr.aof seq 2 type i\n"
        )
    );
    assert_eq!(
        visible(&storage, INCR_1).len(),
        good,
        "nothing stands twice"
    );
    assert!(visible(&storage, INCR_2).contains("SELECT"));
    log.service(4);
    assert_eq!(log.synced(), log.appended());
    assert_holds(&storage, 3);
}

#[test]
fn a_failed_sync_that_is_not_mended_loses_nothing_synced() {
    for seed in 0..32 {
        let storage = Faulty::new();
        let (log, ..) = open(storage.clone(), always()).unwrap();
        append(&log, 0, &["ADD", "0"]);
        log.flush().unwrap();
        log.service(1);
        append(&log, 0, &["ADD", "1"]);
        log.flush().unwrap();
        storage.fail(Op::Sync, 0, 100, EIO);
        for now in 2..6 {
            log.service(now * 1_000);
        }
        assert!(log.trouble().is_some());
        let (_, ran_now) = load_only(storage.crash(Crash::Power(seed)), &options()).unwrap();
        assert_eq!(ran_now[0], ran(0, &["ADD", "0"]));
        assert!(ran_now.len() <= 2);
    }
}

#[test]
fn a_manifest_that_is_not_durable_holds_acknowledgements_back() {
    let storage = Faulty::new();
    let (log, ..) = open(storage.clone(), always()).unwrap();
    append(&log, 0, &["ADD", "0"]);
    log.flush().unwrap();
    storage.fail(Op::Sync, 0, 1, EIO);
    storage.fail(Op::SyncDir, 0, 2, EIO);
    // The second of the failures is the retry that follows at once.
    for now in 1..=2 {
        log.service(now * 1_000);
    }
    assert_eq!(
        log.trouble().map(|trouble| trouble.cause),
        Some(Cause::Manifest)
    );
    assert_eq!(log.synced(), 0);
    log.service(4_000);
    assert_eq!((log.trouble(), log.synced()), (None, log.appended()));
    assert_holds(&storage, 1);
}

#[test]
fn a_base_whose_manifest_is_not_durable_mends_later() {
    let storage = Faulty::new();
    let (log, ..) = open(storage.clone(), always()).unwrap();
    append(&log, 0, &["ADD", "0"]);
    // The fresh increment's name is durable, and the end of the old one; the base's is not.
    storage.fail(Op::SyncDir, 2, 1, EIO);
    log.start_new_base(|out| out.write_all(&record(&["ADD", "0"])))
        .unwrap();
    assert_eq!(log.trouble().map(|t| t.cause), Some(Cause::Manifest));
    assert!(
        storage.visible().read(INCR_1).is_some(),
        "the old files may come back"
    );
    log.service(1_000);
    assert_eq!((log.synced(), log.trouble()), (log.appended(), None));
    assert!(storage.visible().read(INCR_1).is_none());
    assert_holds(&storage, 1);
}

#[test]
fn records_that_are_no_longer_kept_need_a_base() {
    let storage = Faulty::new();
    let small = LogOptions {
        max_unsynced: 64,
        ..always()
    };
    let (log, ..) = open(storage.clone(), small).unwrap();
    append(&log, 0, &["ADD", &"x".repeat(100)]);
    log.flush().unwrap();
    storage.fail(Op::Sync, 0, 1, EIO);
    log.service(1_000);
    assert!(log.trouble().is_some_and(|trouble| trouble.needs_base));
    log.service(9_000);
    assert!(log.trouble().is_some());
    log.start_new_base(|out| out.write_all(&record(&["ADD", "0"])))
        .unwrap();
    assert_eq!(log.trouble(), None);
    assert_holds(&storage, 1);
}

#[test]
fn waiting_records_are_bounded() {
    let storage = Faulty::new();
    let small = LogOptions {
        max_pending: 1_000,
        ..options()
    };
    let (log, ..) = open(storage.clone(), small).unwrap();
    storage.fail(Op::Append, 0, 1_000, ENOSPC);
    append(&log, 0, &["ADD", &"x".repeat(600)]);
    assert_eq!(log.write_status(), WriteStatus::Slow);
    log.flush().unwrap_err();
    for _ in 0..3 {
        append(&log, 0, &["ADD", &"x".repeat(600)]);
    }
    let trouble = log.trouble().unwrap();
    assert!(trouble.needs_base);
    assert_eq!(
        trouble.errno,
        Some(libc::ENOSPC),
        "the reason stays the disk"
    );
    assert!(log.status().buffer_length < 1_000);
    storage.heal();
    log.service(1_000);
    log.flush().unwrap_err();
    log.start_new_base(|out| out.write_all(&record(&["ADD", "0"])))
        .unwrap();
    append(&log, 0, &["ADD", "1"]);
    log.service(5_000);
    assert_holds(&storage, 2);
}

#[test]
fn a_large_record_is_not_refused_while_the_disk_works() {
    let small = LogOptions {
        max_pending: 1_000,
        ..options()
    };
    let (log, ..) = open(Faulty::new(), small).unwrap();
    append(&log, 0, &["ADD", &"x".repeat(100_000)]);
    assert_eq!(log.write_status(), WriteStatus::Refuse);
    log.flush().unwrap();
    assert_eq!(log.write_status(), WriteStatus::Open);
}

#[test]
fn many_unsynced_bytes_sync_early() {
    let small = LogOptions {
        max_unsynced: 1_000,
        ..options()
    };
    let (log, ..) = open(Faulty::new(), small).unwrap();
    log.service(1_000);
    append(&log, 0, &["ADD", &"x".repeat(600)]);
    log.flush().unwrap();
    log.service(1_001);
    assert_eq!(log.synced(), log.appended());
}

#[test]
fn closing_tells_when_it_could_not_sync() {
    let storage = Faulty::new();
    let (log, ..) = open(storage.clone(), options()).unwrap();
    append(&log, 0, &["ADD", "0"]);
    storage.fail(Op::Sync, 0, 9, EIO);
    log.close().unwrap_err();
    assert!(!log.is_enabled());
}

#[test]
fn without_syncing_a_failed_last_sync_is_told() {
    let storage = Faulty::new();
    let (log, ..) = open(
        storage.clone(),
        LogOptions {
            fsync: FsyncPolicy::No,
            ..options()
        },
    )
    .unwrap();
    append(&log, 0, &["ADD", "0"]);
    log.flush().unwrap();
    storage.fail(Op::Sync, 0, 1, EIO);
    log.close().unwrap_err();
}

type DuringSync = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// A disk on which something happens while a sync is under way.
#[derive(Clone)]
struct Busy {
    disk: Faulty,
    during_sync: DuringSync,
}

struct BusyFile {
    file: Arc<dyn File>,
    during_sync: DuringSync,
}

impl Storage for Busy {
    fn modified(&self, path: &Path) -> io::Result<std::time::SystemTime> {
        self.disk.modified(path)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let during_sync = self.during_sync.clone();
        Ok(Arc::new(BusyFile {
            file: self.disk.open(path, mode)?,
            during_sync,
        }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.disk.list(dir)
    }
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.make_dir(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        self.disk.lock(path)
    }
}

impl File for BusyFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buffer)
    }
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        self.file.append(bytes)
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()?;
        let action = self.during_sync.lock().unwrap().take();
        if let Some(action) = action {
            action();
        }
        Ok(())
    }
}

#[test]
fn what_is_written_during_a_sync_is_not_taken_for_synced() {
    let during_sync = DuringSync::default();
    let storage = Busy {
        disk: Faulty::new(),
        during_sync: during_sync.clone(),
    };
    let (log, ..) = open(storage.clone(), always()).unwrap();
    let log = Arc::new(log);
    let first = append(&log, 0, &["ADD", "0"]);
    log.flush().unwrap();
    let writer = log.clone();
    *during_sync.lock().unwrap() = Some(Box::new(move || {
        append(&writer, 5, &["ADD", "1"]);
        writer.flush().unwrap();
    }));
    log.service(1);
    assert_eq!((log.synced(), log.written()), (first, log.appended()));
    storage.disk.fail(Op::Sync, 0, 1, EIO);
    log.service(2);
    log.service(3);
    assert_eq!((log.trouble(), log.synced()), (None, log.appended()));
    let (_, ran_now) = load_only(storage.disk.crash(Crash::Power(3)), &options()).unwrap();
    assert_eq!(ran_now, [ran(0, &["ADD", "0"]), ran(5, &["ADD", "1"])]);
}

#[test]
fn the_selected_database_is_repeated_in_the_new_file() {
    let storage = Faulty::new();
    let (log, ..) = open(storage.clone(), always()).unwrap();
    append(&log, 3, &["ADD", "0"]);
    log.flush().unwrap();
    log.service(1);
    append(&log, 3, &["ADD", "1"]);
    log.flush().unwrap();
    storage.fail(Op::Sync, 0, 1, EIO);
    log.service(2);
    log.service(3);
    append(&log, 3, &["ADD", "2"]);
    log.close().unwrap();
    let (report, ran_now) = load_only(storage.crash(Crash::Power(3)), &options()).unwrap();
    assert_eq!(ran_now, ["0", "1", "2"].map(|n| ran(3, &["ADD", n])));
    assert_eq!(
        report.offset,
        log.appended(),
        "the repeated SELECT does not count"
    );
}
