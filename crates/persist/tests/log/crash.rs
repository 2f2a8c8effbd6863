//! Random histories with faults and crashes, against a plain model: the records in their order.

use crate::support::*;
use persist::storage::{Crash, Fault, Faulty, Op};
use persist::{BaseForm, BaseJob, FsyncPolicy, Log, LogOptions};
use proptest::prelude::*;
use std::io::{self, Write};

const SUSPECT: &str = "appendonlydir/appendonly.aof.unsynced";

/// The operations of a test on a log.
#[derive(Clone, Debug)]
enum Step {
    Append {
        db: u32,
        size: usize,
    },
    Transaction {
        db: u32,
        records: u32,
    },
    Flush,
    Service {
        ms: u64,
    },
    NewBase,
    Prepare,
    Begin,
    /// Writes what is left of the base and puts it in force.
    Commit,
    Abort,
    Reopen,
    Disable,
    /// Off, and on again with a base that comes later.
    Wait,
    Policy(FsyncPolicy),
    Fail {
        op: Op,
        skip: u32,
        times: u32,
        fault: Fault,
    },
    /// A write stops after some bytes, and perhaps they cannot be cut off.
    Tear {
        bytes: usize,
        stays: bool,
    },
    /// A sync fails, and perhaps what should mend it.
    LoseSync {
        then: Op,
        times: u32,
    },
    FailRandomly {
        seed: u64,
        per_mille: u32,
    },
    Heal,
    Crash(Crash),
}

fn step() -> impl Strategy<Value = Step> {
    let op = prop_oneof![
        Just(Op::Open),
        Just(Op::Append),
        Just(Op::Truncate),
        Just(Op::Sync),
        Just(Op::Rename),
        Just(Op::Remove),
        Just(Op::SyncDir),
    ];
    let any_op = op.clone();
    let fault = prop_oneof![
        Just(Fault::Errno(libc::EIO)),
        Just(Fault::Errno(libc::ENOSPC)),
        (1usize..80).prop_map(Fault::Short),
    ];
    let policy = prop_oneof![
        Just(FsyncPolicy::Always),
        Just(FsyncPolicy::EverySecond),
        Just(FsyncPolicy::No)
    ];
    let crash = prop_oneof![Just(Crash::Process), any::<u64>().prop_map(Crash::Power)];
    prop_oneof![
        12 => (0u32..3, 0usize..200).prop_map(|(db, size)| Step::Append { db, size }),
        2 => (0u32..3, 5_000usize..9_000).prop_map(|(db, size)| Step::Append { db, size }),
        4 => (0u32..3, 1u32..4).prop_map(|(db, records)| Step::Transaction { db, records }),
        8 => Just(Step::Flush),
        8 => (0u64..1_500).prop_map(|ms| Step::Service { ms }),
        1 => Just(Step::NewBase),
        2 => Just(Step::Prepare),
        4 => Just(Step::Begin),
        3 => Just(Step::Commit),
        1 => Just(Step::Abort),
        1 => Just(Step::Wait),
        1 => Just(Step::Reopen),
        1 => Just(Step::Disable),
        1 => policy.prop_map(Step::Policy),
        4 => (op, 0u32..4, 1u32..4, fault)
            .prop_map(|(op, skip, times, fault)| Step::Fail { op, skip, times, fault }),
        3 => (1usize..80, any::<bool>()).prop_map(|(bytes, stays)| Step::Tear { bytes, stays }),
        4 => (any_op, 0u32..3).prop_map(|(then, times)| Step::LoseSync { then, times }),
        1 => (any::<u64>(), 0u32..300)
            .prop_map(|(seed, per_mille)| Step::FailRandomly { seed, per_mille }),
        2 => Just(Step::Heal),
        2 => crash.prop_map(Step::Crash),
    ]
}

/// The log under test, and what must be in it.
struct World {
    storage: Faulty,
    options: LogOptions,
    log: Log,
    /// Every record since the beginning, with the stream offset after it; those of a transaction
    /// share one.
    history: Vec<(Ran, u64)>,
    synced: u64,
    written: u64,
    now_ms: u64,
    /// A base that is being written, of so many records.
    job: Option<(BaseJob, usize)>,
    /// The durable position when the log began to wait for a base.
    before_waiting: u64,
}

impl World {
    fn new(options: LogOptions) -> Self {
        let storage = Faulty::new();
        let (log, ..) = open(storage.clone(), options.clone()).unwrap();
        Self {
            storage,
            options,
            log,
            history: Vec::new(),
            synced: 0,
            written: 0,
            now_ms: 0,
            job: None,
            before_waiting: 0,
        }
    }

    fn next(&self, more: usize, size: usize) -> Vec<String> {
        vec![
            "ADD".to_owned(),
            (self.history.len() + more).to_string(),
            "x".repeat(size),
        ]
    }

    fn append(&mut self, db: u32, commands: &[Vec<String>], transaction: bool) {
        let bytes_of =
            |words: &Vec<String>| record(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let mut bytes: Vec<u8> = commands.iter().flat_map(bytes_of).collect();
        if transaction {
            bytes = [record(&["MULTI"]), bytes, record(&["EXEC"])].concat();
        }
        let offset = self.log.append(db, &bytes, self.now_ms);
        self.history
            .extend(commands.iter().map(|words| ((db, words.clone()), offset)));
    }

    fn new_base(&mut self) -> bool {
        self.job = None;
        let history = &self.history;
        self.log
            .start_new_base(|out| write_history(history, out))
            .is_ok()
    }

    fn begin(&mut self, enable: bool) -> bool {
        let job = self.log.begin_base(BaseForm::Commands, enable);
        assert_eq!(job.is_err() && self.job.is_some(), self.job.is_some());
        if let Ok(job) = job {
            assert_eq!(job.offset(), self.log.appended());
            self.job = Some((job, self.history.len()));
        }
        self.job.is_some()
    }

    fn commit(&mut self) -> bool {
        let Some((mut job, records)) = self.job.take() else {
            return false;
        };
        let written = write_history(&self.history[..records], &mut job);
        written.is_ok() && self.log.commit_base(job).is_ok()
    }

    /// Off and on: the records appended meanwhile are only in the base.
    fn switch_off(&mut self) {
        self.job = None;
        self.storage.heal();
        self.before_waiting = if self.log.status().waits_for_base {
            self.before_waiting
        } else {
            self.log.synced()
        };
        self.log.disable();
        self.append(1, &[self.next(0, 9)], false);
    }

    fn promised(&self, how: Crash) -> u64 {
        if self.log.status().waits_for_base || !self.log.is_enabled() {
            self.before_waiting
        } else if how == Crash::Process {
            self.log.written()
        } else {
            self.log.synced()
        }
    }

    /// Reads the offset that the log acknowledges now; it never decreases.
    fn listen(&mut self) {
        let (synced, written, appended) =
            (self.log.synced(), self.log.written(), self.log.appended());
        assert!(synced <= written && written <= appended);
        assert!(synced >= self.synced && written >= self.written);
        (self.synced, self.written) = (synced, written);
        assert_eq!(
            appended,
            self.history.last().map_or(appended, |(_, offset)| *offset)
        );
    }

    /// Loads what is left, checks it, and goes on with it.
    fn revive(&mut self, left: Faulty, promised: u64) {
        self.job = None;
        let (log, _, ran_now) = open(left.clone(), self.options.clone()).unwrap();
        let expected: Vec<&Ran> = self.history.iter().map(|(ran, _)| ran).collect();
        assert!(
            ran_now.len() <= expected.len(),
            "more than was ever appended"
        );
        assert!(
            ran_now.iter().eq(expected[..ran_now.len()].iter().copied()),
            "not a prefix"
        );
        let promised = self
            .history
            .iter()
            .filter(|(_, offset)| *offset <= promised)
            .count();
        assert!(
            ran_now.len() >= promised,
            "{} of {promised} records are left",
            ran_now.len()
        );
        let offset_at = |index: usize| self.history.get(index).map(|(_, offset)| *offset);
        if let Some(last) = ran_now.len().checked_sub(1) {
            assert_ne!(offset_at(last), offset_at(last + 1), "half a transaction");
        }
        self.history.truncate(ran_now.len());
        // Records of a base have no offset of their own any more: all of them are durable now.
        for (_, offset) in &mut self.history {
            *offset = log.appended();
        }
        (self.synced, self.written) = (log.synced(), log.written());
        (self.storage, self.log) = (left, log);
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Append { db, size } => self.append(db, &[self.next(0, size)], false),
            Step::Transaction { db, records } => {
                let commands: Vec<_> = (0..records as usize).map(|n| self.next(n, 3)).collect();
                self.append(db, &commands, true);
            }
            Step::Flush => {
                if self.log.flush().is_ok() {
                    assert_eq!(self.log.written(), self.log.appended());
                }
            }
            Step::Service { ms } => {
                self.now_ms += ms;
                self.log.service(self.now_ms);
            }
            Step::NewBase => {
                self.new_base();
            }
            Step::Prepare => {
                let _ = self.log.prepare_base();
            }
            Step::Begin => {
                self.begin(false);
            }
            Step::Commit => {
                self.commit();
            }
            Step::Abort => {
                if let Some((job, _)) = self.job.take() {
                    self.log.abort_base(job);
                }
            }
            Step::Wait => {
                self.switch_off();
                assert!(self.begin(true) && self.log.status().waits_for_base);
            }
            Step::Reopen => {
                self.storage.heal();
                self.job = None;
                let waiting = self.promised(Crash::Power(0));
                let waits = self.log.status().waits_for_base;
                let promised = if self.log.close().is_ok() && !waits {
                    self.log.appended()
                } else {
                    waiting
                };
                let storage = self.storage.clone();
                self.revive(storage, promised);
            }
            Step::Disable => {
                self.switch_off();
                assert!(self.new_base());
            }
            Step::Policy(policy) => self.log.set_policy(policy),
            Step::Fail {
                op,
                skip,
                times,
                fault,
            } => self.storage.fail(op, skip, times, fault),
            Step::Tear { bytes, stays } => {
                self.storage.fail(Op::Append, 0, 1, Fault::Short(bytes));
                self.storage
                    .fail(Op::Append, 0, 1, Fault::Errno(libc::ENOSPC));
                if stays {
                    self.storage
                        .fail(Op::Truncate, 0, 1, Fault::Errno(libc::EIO));
                }
            }
            Step::LoseSync { then, times } => {
                self.storage.fail(Op::Sync, 0, 1, Fault::Errno(libc::EIO));
                self.storage.fail(then, 0, times, Fault::Errno(libc::EIO));
            }
            Step::FailRandomly { seed, per_mille } => self.storage.fail_randomly(seed, per_mille),
            Step::Heal => self.storage.heal(),
            Step::Crash(how) => {
                // Without the note of a failed sync, the next process treats bytes of the page
                // cache as durable; then only a power cut shows what is left.
                let noted = self.storage.visible().read(SUSPECT).is_some();
                let hidden = self.log.status().last_fsync_error.is_some() && !noted;
                let how = match how {
                    Crash::Process if hidden => Crash::Power(self.now_ms),
                    how => how,
                };
                let promised = self.promised(how);
                let left = self.storage.crash(how);
                self.revive(left, promised);
            }
        }
        self.listen();
    }
}

fn small(fsync: FsyncPolicy) -> LogOptions {
    LogOptions {
        fsync,
        timestamps: true,
        max_pending: 20_000,
        max_unsynced: 20_000,
        ..options()
    }
}

proptest! {
    #[test]
    fn no_promise_is_broken(steps in prop::collection::vec(step(), 1..250), always: bool) {
        let policy = if always { FsyncPolicy::Always } else { FsyncPolicy::EverySecond };
        let mut world = World::new(small(policy));
        for step in steps {
            world.run(step);
        }
        let promised = world.promised(Crash::Power(1));
        let left = world.storage.crash(Crash::Power(1));
        world.revive(left, promised);
    }
}

fn write_history(history: &[(Ran, u64)], out: &mut dyn Write) -> io::Result<()> {
    for ((db, words), _) in history {
        out.write_all(&record(&["SELECT", &db.to_string()]))?;
        out.write_all(&record(
            &words.iter().map(String::as_str).collect::<Vec<_>>(),
        ))?;
    }
    Ok(())
}

/// Runs a history that ends the machine at every single change it makes.
fn die_at_every_step(history: impl Fn(&mut World)) {
    let mut world = World::new(small(FsyncPolicy::Always));
    let before = world.storage.steps();
    history(&mut world);
    let steps = world.storage.steps() - before;
    assert!(steps > 5);
    for alive in 0..steps {
        for how in [
            Crash::Process,
            Crash::Power(alive),
            Crash::Power(alive + 1_000),
        ] {
            let mut world = World::new(small(FsyncPolicy::Always));
            world.storage.die_after(alive);
            history(&mut world);
            let promised = world.promised(how);
            let left = world.storage.crash(how);
            world.revive(left, promised);
            // The next life can write, also a base over whatever was left lying about.
            world.append(0, &[world.next(0, 5)], false);
            world.log.flush().unwrap();
            assert!(world.new_base());
            let (left, promised) = (
                world.storage.crash(Crash::Power(alive)),
                world.log.appended(),
            );
            world.revive(left, promised);
        }
    }
}

fn add(world: &mut World) {
    world.append(2, &[world.next(0, 5)], false);
    let _ = world.log.flush();
    world.now_ms += 1_000;
    world.log.service(world.now_ms);
}

#[test]
fn a_new_base_survives_a_crash_at_every_step() {
    die_at_every_step(|world| {
        add(world);
        world.append(1, &[world.next(0, 5)], false);
        world.new_base();
        add(world);
    });
}

#[test]
fn a_base_in_the_background_survives_a_crash_at_every_step() {
    for prepared in [true, false] {
        die_at_every_step(|world| {
            add(world);
            world.append(1, &[world.next(0, 5)], false);
            if prepared {
                let _ = world.log.prepare_base();
            }
            world.begin(false);
            add(world);
            world.commit();
            add(world);
            world.begin(false);
            add(world);
            world.job = None;
            add(world);
        });
    }
}

#[test]
fn a_log_switched_on_survives_a_crash_at_every_step() {
    die_at_every_step(|world| {
        add(world);
        world.before_waiting = world.log.synced();
        world.log.disable();
        world.append(1, &[world.next(0, 5)], false);
        let _ = world.log.prepare_base();
        world.begin(true);
        add(world);
        world.commit();
        add(world);
    });
}

#[test]
fn a_base_for_a_broken_log_survives_a_crash_at_every_step() {
    die_at_every_step(|world| {
        add(world);
        world
            .storage
            .fail(Op::Append, 0, 1, Fault::Errno(libc::ENOSPC));
        world.append(2, &[world.next(0, 5)], false);
        let _ = world.log.flush();
        world.begin(false);
        world.append(1, &[world.next(0, 5)], false);
        world.commit();
        add(world);
    });
}

#[test]
fn writing_again_after_a_failed_sync_survives_a_crash_at_every_step() {
    die_at_every_step(|world| {
        add(world);
        world.storage.fail(Op::Sync, 0, 1, Fault::Errno(libc::EIO));
        add(world);
        add(world);
        add(world);
    });
}

#[test]
fn a_torn_write_survives_a_crash_at_every_step() {
    die_at_every_step(|world| {
        add(world);
        world.storage.fail(Op::Append, 0, 1, Fault::Short(7));
        world
            .storage
            .fail(Op::Append, 0, 1, Fault::Errno(libc::ENOSPC));
        add(world);
        add(world);
    });
}

#[test]
fn the_first_start_survives_a_crash_at_every_step() {
    for alive in 0..20 {
        for seed in 0..8 {
            let storage = Faulty::new();
            storage.die_after(alive);
            let _ = open(storage.clone(), always());
            let left = storage.crash(Crash::Power(seed));
            let (log, report, _) = open(left, always()).unwrap();
            assert_eq!(report.commands, 0);
            append(&log, 0, &["ADD", "0"]);
            log.close().unwrap();
        }
    }
}

#[test]
fn an_upgrade_survives_a_crash_at_every_step() {
    for alive in 0..20 {
        for seed in 0..8 {
            let memory = persist::storage::Memory::new();
            memory.write("appendonly.aof", &record(&["ADD", "0"]));
            let storage = Faulty::holding(memory);
            storage.die_after(alive);
            let _ = open(storage.clone(), always());
            let left = storage.crash(Crash::Power(seed));
            let (log, _, ran_now) = open(left, always()).unwrap();
            assert_eq!(ran_now, [ran(0, &["ADD", "0"])]);
            log.close().unwrap();
        }
    }
}
