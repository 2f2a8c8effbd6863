//! Records for one reader of the log, replication ids, and the stream offset that the files keep.

use crate::support::*;
use persist::storage::{Crash, Fault, Faulty, Memory, Op};
use persist::{
    Append, BaseForm, BaseJob, FsyncPolicy, Log, LogOptions, Moment, ReplicationId, Scope,
    Selection, StreamCursor, StreamSlice, restore_to,
};
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;

/// Bytes of a SELECT of a database with one digit.
const SELECT_BYTES: u64 = 23;
const SUSPECT: &str = "appendonlydir/appendonly.aof.unsynced";
const NOW_MS: u64 = 1_700_000_000_000;

fn id(number: u8) -> ReplicationId {
    let digit = b"0123456789abcdef"[usize::from(number % 16)];
    ReplicationId::parse(&[digit; ReplicationId::LEN]).unwrap()
}

fn add(log: &Log, scope: Scope, db: u32, words: &[&str]) -> u64 {
    let append = Append {
        selection: Selection::Database(db),
        records: &record(words),
        scope,
    };
    log.append_scoped(&append, NOW_MS)
}

#[test]
fn each_reader_gets_its_records() {
    let memory = Memory::new();
    let options = LogOptions {
        checksums: false,
        ..options()
    };
    let (log, ..) = open(memory.clone(), options.clone()).unwrap();
    log.open_stream(1 << 20);
    log.set_replication_id(id(1));
    add(&log, Scope::Both, 0, &["ADD", "1"]);
    add(&log, Scope::StreamOnly, 0, &["PING"]);
    add(&log, Scope::StreamOnly, 0, &["PING"]);
    add(&log, Scope::FileOnly, 3, &["ADD", "2"]);
    add(&log, Scope::Both, 0, &["ADD", "3"]);
    add(&log, Scope::StreamOnly, 7, &["ADD", "4"]);
    add(&log, Scope::Both, 7, &["ADD", "5"]);
    let offset = log.stream_offset();
    assert!(log.appended() > offset);
    log.close().unwrap();
    let select = |db: &str| String::from_utf8(record(&["SELECT", db])).unwrap();
    let add = |n: &str| String::from_utf8(record(&["ADD", n])).unwrap();
    let local = |text: String| format!("#LOCAL:{}\r\n{text}", text.len());
    let expected = [
        format!("#REPL:{} 0\r\n", id(1)),
        select("0"),
        add("1"),
        "#SKIP:28\r\n".to_owned(),
        local(select("3")),
        local(add("2")),
        local(select("0")),
        add("3"),
        "#SKIP:43 DB:7\r\n".to_owned(),
        local(select("7")),
        add("5"),
    ];
    assert_eq!(text(&memory, INCR_1), expected.concat());
    let (log, report, ran_now) = open(memory, options).unwrap();
    assert_eq!(
        ran_now,
        [
            ran(0, &["ADD", "1"]),
            ran(3, &["ADD", "2"]),
            ran(0, &["ADD", "3"]),
            ran(7, &["ADD", "5"]),
        ]
    );
    assert_eq!(
        (report.offset, report.replication_id, report.stream_db),
        (offset, Some(id(1)), Some(7))
    );
    assert_eq!(
        (log.stream_offset(), log.replication_id()),
        (offset, Some(id(1)))
    );
}

#[test]
fn a_transaction_for_the_file_alone_is_one_unit() {
    let memory = Memory::new();
    let (log, ..) = open(memory.clone(), options()).unwrap();
    let block = [record(&["MULTI"]), record(&["ADD", "1"]), record(&["EXEC"])].concat();
    let records = [record(&["ADD", "0"]), block.clone(), record(&["ADD", "2"])].concat();
    let append = Append {
        selection: Selection::Database(0),
        records: &records,
        scope: Scope::FileOnly,
    };
    log.append_scoped(&append, NOW_MS);
    log.close().unwrap();
    let file = text(&memory, INCR_1);
    assert_eq!(file.matches("#LOCAL:").count(), 4, "{file}");
    assert!(file.contains(&format!("#LOCAL:{}\r\n*1\r\n$5\r\nMULTI", block.len())));
    // A file that ends anywhere is cut before the line of a unit that is not whole.
    let units: Vec<usize> = file.match_indices("#LOCAL:").map(|(at, _)| at).collect();
    let end = file.rfind("#CRC:").unwrap();
    for len in units[0]..end {
        let memory = with_increment(&file.as_bytes()[..len]);
        let (report, _) = load_only(memory.clone(), &options()).unwrap();
        let kept = memory.read(INCR_1).unwrap().len();
        assert!(
            units.contains(&kept) && kept <= len && report.offset == 0,
            "{len} {kept}"
        );
    }
}

#[test]
fn damaged_lines_are_refused() {
    let add = record(&["ADD", "1"]);
    for (line, detail) in [
        ("#LOCAL:19\r\n", "#LOCAL: line that does not count"),
        ("#LOCAL:21\r\n", "#LOCAL: line that does not count"),
        ("#LOCAL:20\r\n#TS:1\r\n", "an annotation between"),
        (
            "#LOCAL:18446744073709551615\r\n",
            "#LOCAL: of too many bytes",
        ),
        (
            "#SKIP:18446744073709551615\r\n#SKIP:1\r\n",
            "#SKIP: of too many bytes",
        ),
        ("#SKIP:x\r\n", "damaged #SKIP: line"),
        ("#REPL:x\r\n", "damaged #REPL: line"),
    ] {
        let bytes = [line.as_bytes(), &add, &add].concat();
        let error = load_only(with_increment(&bytes), &options()).unwrap_err();
        assert!(error.to_string().contains(detail), "{line}: {error}");
    }
}

#[test]
fn a_fresh_increment_repeats_the_database_in_the_stream_of_a_primary_only() {
    for is_copy in [false, true] {
        let memory = Memory::new();
        let (log, ..) = open(memory.clone(), options()).unwrap();
        log.set_stream_is_copy(is_copy);
        add(&log, Scope::Both, 4, &["ADD", "1"]);
        let job = log.begin_base(BaseForm::Commands, false).unwrap();
        let before = log.stream_offset();
        add(&log, Scope::Both, 4, &["ADD", "2"]);
        log.commit_base(job).unwrap();
        log.close().unwrap();
        let select = String::from_utf8(record(&["SELECT", "4"])).unwrap();
        let file = text(&memory, INCR_2);
        let (added, form) = match is_copy {
            true => (20, format!("#LOCAL:23\r\n{select}*2")),
            false => (43, format!("\r\n{select}*2")),
        };
        assert_eq!(log.stream_offset() - before, added);
        assert!(file.contains(&form), "{file}");
        let (report, ran_now) = load_only(memory, &options()).unwrap();
        assert_eq!(report.offset, log.stream_offset());
        assert_eq!(ran_now, [ran(4, &["ADD", "2"])]);
    }
}

#[test]
fn the_stream_gets_a_select_when_it_is_asked_for() {
    let log = Log::new(Arc::new(Memory::new()), options());
    let len = |db| {
        let before = log.stream_offset();
        add(&log, Scope::Both, db, &["ADD", "1"]);
        log.stream_offset() - before
    };
    assert_eq!((len(1), len(1)), (43, 20));
    log.force_select();
    assert_eq!((len(1), len(1)), (43, 20));
    log.set_stream_is_copy(true);
    assert_eq!(len(1), 20);
    log.set_stream_is_copy(false);
    assert_eq!((len(1), len(1)), (43, 20));
}

#[test]
fn replies_can_wait_for_records_of_the_file_alone() {
    let (log, ..) = open(Memory::new(), always()).unwrap();
    let position = add(&log, Scope::FileOnly, 0, &["ADD", "1"]);
    assert_eq!(log.stream_offset(), 0);
    assert!(log.written() < position && log.acknowledged() < position);
    assert_eq!(log.flush().unwrap(), position);
    assert!(log.acknowledged() < position);
    log.service(1_000);
    assert_eq!((log.acknowledged(), log.synced_offset()), (position, 0));
    let position = log.set_replication_id(id(2));
    assert!(log.synced() < position);
    log.flush().unwrap();
    log.service(2_000);
    assert_eq!(log.synced(), position);
}

#[derive(Clone, Debug)]
enum Step {
    Append {
        scope: Scope,
        db: u32,
        commands: usize,
        block: bool,
        size: usize,
    },
    Id(u8),
    Copy(bool),
    ForceSelect,
    Flush,
    Service(u64),
    NewBase,
    Begin,
    Commit,
    /// The file is off for a while.
    Off,
    Reopen,
    Backup,
    Restore(prop::sample::Index),
    Tear {
        bytes: usize,
        stays: bool,
    },
    LoseSync,
    Fail(Op, u32),
    Heal,
    Crash(Crash),
}

fn step() -> impl Strategy<Value = Step> {
    let scope = prop_oneof![
        3 => Just(Scope::Both),
        2 => Just(Scope::StreamOnly),
        2 => Just(Scope::FileOnly),
    ];
    let op = prop_oneof![
        Just(Op::Open),
        Just(Op::Append),
        Just(Op::Truncate),
        Just(Op::Sync),
        Just(Op::Rename),
        Just(Op::SyncDir),
    ];
    let crash = prop_oneof![Just(Crash::Process), any::<u64>().prop_map(Crash::Power)];
    prop_oneof![
        24 => (scope, 0u32..4, 1usize..4, any::<bool>(), 0usize..600).prop_map(
            |(scope, db, commands, block, size)| {
                Step::Append { scope, db, commands, block, size }
            }
        ),
        2 => any::<u8>().prop_map(Step::Id),
        1 => any::<bool>().prop_map(Step::Copy),
        1 => Just(Step::ForceSelect),
        6 => Just(Step::Flush),
        6 => (0u64..1_500).prop_map(Step::Service),
        1 => Just(Step::NewBase),
        3 => Just(Step::Begin),
        2 => Just(Step::Commit),
        1 => Just(Step::Off),
        1 => Just(Step::Reopen),
        1 => Just(Step::Backup),
        1 => any::<prop::sample::Index>().prop_map(Step::Restore),
        2 => (1usize..80, any::<bool>()).prop_map(|(bytes, stays)| Step::Tear { bytes, stays }),
        2 => Just(Step::LoseSync),
        2 => (op, 0u32..4).prop_map(|(op, skip)| Step::Fail(op, skip)),
        2 => Just(Step::Heal),
        3 => crash.prop_map(Step::Crash),
    ]
}

/// What was done to the log, and where it stood then.
#[derive(Clone, Debug)]
struct Event {
    /// `None` for a new replication id.
    scope: Option<Scope>,
    commands: Vec<Ran>,
    position: u64,
    offset: u64,
    stream_db: Option<u32>,
    id: Option<ReplicationId>,
}

struct World {
    storage: Faulty,
    options: LogOptions,
    log: Log,
    cursor: StreamCursor,
    /// The stream from offset 0 on.
    stream: Vec<u8>,
    events: Vec<Event>,
    job: Option<(BaseJob, usize)>,
    is_copy: bool,
    counter: usize,
    now_ms: u64,
    backups: usize,
}

fn file_of(events: &[Event]) -> Vec<Ran> {
    let is_in_file = |event: &&Event| matches!(event.scope, Some(Scope::Both | Scope::FileOnly));
    let events = events.iter().filter(is_in_file);
    events.flat_map(|event| event.commands.clone()).collect()
}

fn stream_of(events: &[Event]) -> Vec<Ran> {
    let is_in_stream =
        |event: &&Event| matches!(event.scope, Some(Scope::Both | Scope::StreamOnly));
    let events = events.iter().filter(is_in_stream);
    events.flat_map(|event| event.commands.clone()).collect()
}

/// Runs a stream, MULTI and EXEC left out.
fn run_stream(bytes: &[u8]) -> Vec<Ran> {
    let (mut collected, mut parser) = (Collected::default(), resp::RequestParser::default());
    let mut rest = bytes;
    while !rest.is_empty() {
        let mut spans = Vec::new();
        let parsed = parser.parse(rest, &resp::Limits::default(), &mut spans);
        let Ok(resp::Progress::Request { consumed, .. }) = parsed else {
            panic!("half a record in the stream");
        };
        let args = resp::Args::new(rest, &spans);
        if !matches!(args.arg(0), b"MULTI" | b"EXEC") {
            collected.run(args).unwrap();
        }
        rest = &rest[consumed..];
    }
    collected.ran
}

/// A log that has loaded, with its stream open.
fn reopen(
    storage: &Faulty,
    options: &LogOptions,
    is_copy: bool,
) -> (Log, StreamCursor, persist::LoadReport, Vec<Ran>) {
    let log = Log::new(Arc::new(storage.clone()), options.clone());
    log.set_stream_is_copy(is_copy);
    let mut collected = Collected::default();
    let report = log.load(&mut collected).unwrap();
    log.open_stream(1 << 20);
    let cursor = log.stream_cursor(report.offset, 1 << 30).unwrap();
    (log, cursor, report, collected.ran)
}

impl World {
    fn new(options: LogOptions) -> Self {
        let storage = Faulty::new();
        let (log, cursor, ..) = reopen(&storage, &options, false);
        let mut world = Self {
            storage,
            options,
            log,
            cursor,
            stream: Vec::new(),
            events: Vec::new(),
            job: None,
            is_copy: false,
            counter: 0,
            now_ms: 0,
            backups: 0,
        };
        world.set_id(0);
        world.log.flush().unwrap();
        world.log.service(1_000);
        world
    }

    fn note(&mut self, scope: Option<Scope>, commands: Vec<Ran>, position: u64) {
        let mut slices: Vec<StreamSlice> = Vec::new();
        self.cursor.read(u64::MAX, usize::MAX, &mut slices).unwrap();
        self.stream
            .extend(slices.iter().flat_map(|slice| slice.to_vec()));
        assert_eq!(self.stream.len() as u64, self.log.stream_offset());
        assert_eq!(position, self.log.appended());
        let last = self.events.last();
        let moved = last.is_none_or(|last| position > last.position);
        assert!(moved || (scope.is_none() && last.unwrap().id == self.log.replication_id()));
        self.events.push(Event {
            scope,
            commands,
            position,
            offset: self.log.stream_offset(),
            stream_db: self.log.stream_db(),
            id: self.log.replication_id(),
        });
    }

    fn set_id(&mut self, number: u8) {
        let position = self.log.set_replication_id(id(number));
        self.note(None, Vec::new(), position);
    }

    fn append(&mut self, scope: Scope, db: u32, count: usize, block: bool, size: usize) {
        let mut commands = Vec::new();
        // What may be torn apart is one record.
        for _ in 0..if block { count } else { 1 } {
            self.counter += 1;
            let words = ["ADD".to_owned(), self.counter.to_string(), "x".repeat(size)];
            commands.push((db, words.to_vec()));
        }
        let bytes_of =
            |(_, words): &Ran| record(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let mut records: Vec<u8> = commands.iter().flat_map(bytes_of).collect();
        let mut selection = Selection::Database(db);
        let is_verbatim = self.is_copy && scope != Scope::FileOnly;
        if block && !is_verbatim && count > 1 {
            // The last command runs in another database.
            let last = db + 1;
            if let Some(command) = commands.last_mut() {
                command.0 = last;
            }
            records = commands[..count - 1].iter().flat_map(bytes_of).collect();
            records.extend(record(&["SELECT", &last.to_string()]));
            records.extend(bytes_of(&commands[count - 1]));
            selection = Selection::Span { first: db, last };
        }
        if block {
            records = [record(&["MULTI"]), records, record(&["EXEC"])].concat();
        }
        if is_verbatim {
            let mut then = None;
            if self.log.stream_db() != Some(db) {
                then = Some(db);
                records = [record(&["SELECT", &db.to_string()]), records].concat();
            }
            selection = Selection::Current { then };
        }
        let before = self.log.stream_offset();
        let append = Append {
            selection,
            records: &records,
            scope,
        };
        let position = self.log.append_scoped(&append, self.now_ms);
        if is_verbatim {
            let len = records.len() as u64;
            assert_eq!(self.log.stream_offset(), before + len, "a copy is exact");
        }
        self.note(Some(scope), commands, position);
    }

    fn write_base(&self, count: usize, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        for (db, words) in file_of(&self.events[..count]) {
            out.write_all(&record(&["SELECT", &db.to_string()]))?;
            out.write_all(&record(
                &words.iter().map(String::as_str).collect::<Vec<_>>(),
            ))?;
        }
        Ok(())
    }

    fn new_base(&mut self) -> bool {
        self.job = None;
        // Records for the stream alone do not matter to a base.
        let count = self.events.len();
        let world = &*self;
        world
            .log
            .start_new_base(|out| world.write_base(count, out))
            .is_ok()
    }

    fn commit(&mut self) {
        if let Some((mut job, count)) = self.job.take()
            && self.write_base(count, &mut job).is_ok()
        {
            let _ = self.log.commit_base(job);
        }
    }

    /// The number of events after which the log stands where `report` says. Of the next event, the
    /// SELECT may be there.
    fn place_of(&self, ran_now: &[Ran], report: &persist::LoadReport) -> usize {
        let found = (report.offset, report.replication_id, report.stream_db);
        let stands = |&count: &usize| {
            let at = |index: usize| self.events.get(index);
            let last = count.checked_sub(1).and_then(at);
            let (offset, id, db) = last.map_or((0, None, None), |last| {
                (last.offset, last.id, last.stream_db)
            });
            let is_selected = at(count).is_some_and(|next| {
                next.scope == Some(Scope::Both)
                    && found == (offset + SELECT_BYTES, id, next.stream_db)
            });
            (found == (offset, id, db) || is_selected) && file_of(&self.events[..count]) == ran_now
        };
        let found = (0..=self.events.len()).rev().find(stands);
        found.unwrap_or_else(|| {
            let last: Vec<_> = self.events.iter().rev().take(4).collect();
            panic!(
                "no place fits {report:?} with {} records: {last:?}",
                ran_now.len()
            )
        })
    }

    fn revive(&mut self, left: Faulty, promised: u64) {
        self.job = None;
        let (log, cursor, report, ran_now) = reopen(&left, &self.options, self.is_copy);
        let count = self.place_of(&ran_now, &report);
        let owed = self
            .events
            .iter()
            .filter(|event| event.position <= promised)
            .count();
        assert!(count >= owed, "{count} of {owed} events are left");
        self.events.truncate(count);
        let last = self.events.last();
        if last.is_none_or(|last| last.offset < report.offset) {
            self.events.push(Event {
                scope: None,
                commands: Vec::new(),
                position: report.offset,
                offset: report.offset,
                stream_db: report.stream_db,
                id: report.replication_id,
            });
        }
        self.stream.truncate(report.offset as usize);
        assert_eq!(run_stream(&self.stream), stream_of(&self.events));
        for event in &mut self.events {
            event.position = report.offset;
        }
        (self.storage, self.log, self.cursor) = (left, log, cursor);
    }

    fn promised(&self, how: Crash) -> u64 {
        match how {
            Crash::Process => self.log.written(),
            Crash::Power(_) => self.log.synced(),
        }
    }

    fn backup(&mut self) {
        self.storage.heal();
        self.backups += 1;
        let target = format!("backup-{}", self.backups);
        let Ok(backup) = self.log.backup(Path::new(&target)) else {
            return;
        };
        let options = LogOptions {
            dir: target.into(),
            ..self.options.clone()
        };
        let (report, ran_now) = load_only(self.storage.clone(), &options).unwrap();
        assert_eq!(backup.offset, report.offset);
        assert_eq!(report.offset, self.log.stream_offset());
        assert_eq!(self.place_of(&ran_now, &report), self.events.len());
    }

    /// Restores the offset of an event, from a closed log.
    fn restore(&mut self, index: prop::sample::Index) {
        self.reopen();
        if self.events.is_empty() {
            return;
        }
        let offset = self.events[index.index(self.events.len())].offset;
        self.log.close().unwrap();
        self.backups += 1;
        let target = format!("restored-{}/appendonlydir", self.backups);
        let parent = Path::new(&target).parent().unwrap();
        persist::Storage::make_dir(&self.storage, parent).unwrap();
        let storage = Arc::new(self.storage.clone());
        let moment = Moment::Offset(offset);
        match restore_to(storage, &self.options, moment, Path::new(&target)) {
            Ok(restored) => {
                let options = LogOptions {
                    dir: parent.to_owned(),
                    ..self.options.clone()
                };
                let (report, ran_now) = load_only(self.storage.clone(), &options).unwrap();
                assert_eq!(restored.offset, Some(report.offset));
                assert!(report.offset <= offset);
                self.place_of(&ran_now, &report);
                let count = self.events.partition_point(|event| event.offset <= offset);
                let is_all = file_of(&self.events[..count]) == ran_now;
                // The end of a superseded log may be lost, when a base mended it.
                assert!(is_all || restored.from_history, "more could be kept");
            }
            // Superseded files have gone or could not be kept, or the log was off or broken then.
            Err(error) => {
                let text = error.to_string();
                let missing = [
                    "oldest base",
                    "file ends at",
                    "entity not found",
                    "is damaged",
                ];
                let is_missing = missing.iter().any(|part| text.contains(part));
                assert!(is_missing && offset < self.log.stream_offset(), "{text}");
            }
        }
        let storage = self.storage.clone();
        self.revive(storage, u64::MAX);
    }

    fn reopen(&mut self) {
        self.storage.heal();
        self.job = None;
        let promised = match self.log.close() {
            Ok(()) => u64::MAX,
            Err(_) => self.log.synced().min(self.promised(Crash::Power(0))),
        };
        let storage = self.storage.clone();
        self.revive(storage, promised);
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Append {
                scope,
                db,
                commands,
                block,
                size,
            } => self.append(scope, db, commands, block, size),
            Step::Id(number) => self.set_id(number),
            Step::Copy(is_copy) => {
                self.is_copy = is_copy;
                self.log.set_stream_is_copy(is_copy);
            }
            Step::ForceSelect if !self.is_copy => self.log.force_select(),
            Step::ForceSelect => {}
            Step::Flush => {
                let _ = self.log.flush();
            }
            Step::Service(ms) => {
                self.now_ms += ms;
                self.log.service(self.now_ms);
            }
            Step::NewBase => {
                self.new_base();
            }
            Step::Begin => {
                let job = self.log.begin_base(BaseForm::Commands, false);
                if let Ok(job) = job {
                    assert_eq!(job.offset(), self.log.stream_offset());
                    self.job = Some((job, self.events.len()));
                }
            }
            Step::Commit => self.commit(),
            Step::Off => {
                self.storage.heal();
                self.job = None;
                self.log.disable();
                assert!(self.log.is_wanted() && !self.log.is_enabled());
                self.append(Scope::Both, 1, 1, false, 9);
                self.append(Scope::StreamOnly, 2, 1, false, 9);
                self.set_id(self.counter as u8);
                assert!(self.new_base());
            }
            Step::Reopen => self.reopen(),
            Step::Backup => self.backup(),
            Step::Restore(index) => self.restore(index),
            Step::Tear { bytes, stays } => {
                self.storage.fail(Op::Append, 0, 1, Fault::Short(bytes));
                self.storage
                    .fail(Op::Append, 0, 1, Fault::Errno(libc::ENOSPC));
                if stays {
                    self.storage
                        .fail(Op::Truncate, 0, 1, Fault::Errno(libc::EIO));
                }
            }
            Step::LoseSync => self.storage.fail(Op::Sync, 0, 1, Fault::Errno(libc::EIO)),
            Step::Fail(op, skip) => self.storage.fail(op, skip, 1, Fault::Errno(libc::EIO)),
            Step::Heal => self.storage.heal(),
            Step::Crash(how) => {
                // Without the note of a failed sync, only a power cut shows what is left.
                let noted = self.storage.visible().read(SUSPECT).is_some();
                let is_hidden = self.log.status().last_fsync_error.is_some() && !noted;
                let how = match how {
                    Crash::Process if is_hidden => Crash::Power(self.now_ms),
                    how => how,
                };
                let promised = self.promised(how);
                let left = self.storage.crash(how);
                self.revive(left, promised);
            }
        }
    }
}

proptest! {
    #[test]
    fn the_stream_offset_survives(
        steps in prop::collection::vec(step(), 1..200),
        always: bool,
        history: bool,
    ) {
        let options = LogOptions {
            fsync: if always { FsyncPolicy::Always } else { FsyncPolicy::EverySecond },
            timestamps: true,
            max_pending: 20_000,
            max_unsynced: 20_000,
            history_seconds: if history { 1_000_000 } else { 0 },
            ..options()
        };
        let mut world = World::new(options);
        for step in steps {
            world.run(step);
        }
        world.reopen();
    }
}
