//! Which scripts run, for how long, and ending them.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_utils::CachePadded;

use crate::error::CommandError;
use crate::session::WatchedKey;
use crate::waiters::Waiter;
use crate::watch::WatchFlag;

/// EVAL and EVALSHA, or FCALL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A script.
    Eval,
    /// A function.
    Function,
}

/// The name of a running script: a digest, or the name of a function.
pub type Name = Vec<u8>;

/// A script that runs for longer than `busy-reply-threshold`.
#[derive(Debug, Clone)]
pub struct Running {
    /// Its digest, or the name of the function.
    pub name: Name,
    /// The request that runs it.
    pub args: Vec<Vec<u8>>,
}

const FUNCTION: u32 = 1;
const WROTE: u32 = 2;
const SLOW: u32 = 4;
const KILLED: u32 = 8;
const LOADS: u32 = 16;
const FINAL: u32 = 32;

/// The script that one thread runs, as the other threads see it.
#[derive(Debug, Default)]
pub struct Run {
    /// When it began, monotonic nanoseconds; 0: none runs.
    began_ns: AtomicU64,
    /// Id of its client.
    client: AtomicU64,
    /// Unix microseconds that TIME shows to it; 0: it has not asked yet.
    time_us: AtomicU64,
    flags: AtomicU32,
    /// Set while it is slow.
    what: Mutex<Option<Running>>,
    /// Bytes of the heaps of the interpreters of scripts and of functions.
    memory: [AtomicUsize; 2],
}

impl Run {
    /// A script begins at `now_ns`. `is_replay`: it comes from a file, so it cannot be killed.
    pub fn begin(&self, kind: Kind, client: u64, now_ns: u64, is_replay: bool) {
        let function = if kind == Kind::Function { FUNCTION } else { 0 };
        let loads = if is_replay { LOADS } else { 0 };
        self.flags.store(function | loads, Ordering::Relaxed);
        self.client.store(client, Ordering::Relaxed);
        self.time_us.store(0, Ordering::Relaxed);
        self.began_ns.store(now_ns.max(1), Ordering::Release);
    }

    /// The time that the script sees, Unix microseconds; `now` is asked once.
    pub fn time_us(&self, now: impl FnOnce() -> u64) -> u64 {
        match self.time_us.load(Ordering::Relaxed) {
            0 => {
                let now_us = now();
                self.time_us.store(now_us, Ordering::Relaxed);
                now_us
            }
            seen_us => seen_us,
        }
    }

    /// When the script began, monotonic nanoseconds; 0 when none runs.
    pub fn began_ns(&self) -> u64 {
        self.began_ns.load(Ordering::Acquire)
    }

    fn has(&self, flag: u32) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }

    fn set(&self, flag: u32) {
        self.flags.fetch_or(flag, Ordering::AcqRel);
    }

    /// The script has called a command that writes.
    #[inline]
    pub fn note_write(&self) {
        if !self.has(WROTE) {
            self.set(WROTE);
        }
    }

    /// True when the script has called a command that writes.
    #[inline]
    pub fn has_written(&self) -> bool {
        self.has(WROTE)
    }

    /// What the script has written cannot be undone any more: there were too many old values.
    pub fn note_final(&self) {
        self.set(FINAL);
    }

    /// True when the script may be ended: it has written nothing, or it can be undone.
    pub fn can_end(&self) -> bool {
        let is_final = self.has(WROTE) && self.has(FINAL);
        !self.has(LOADS) && !is_final
    }

    /// True when the script runs for longer than `busy-reply-threshold`.
    pub fn is_slow(&self) -> bool {
        self.has(SLOW)
    }

    /// True when the script is to end.
    pub fn is_killed(&self) -> bool {
        self.has(KILLED)
    }

    fn kind(&self) -> Kind {
        match self.has(FUNCTION) {
            true => Kind::Function,
            false => Kind::Eval,
        }
    }

    /// Bytes of the heap of the thread's interpreter of a kind.
    pub fn memory(&self, kind: Kind) -> usize {
        self.memory[kind as usize].load(Ordering::Relaxed)
    }

    /// Publishes the bytes of the heap of the thread's interpreter of a kind.
    #[inline]
    pub fn set_memory(&self, kind: Kind, bytes: usize) {
        self.memory[kind as usize].store(bytes, Ordering::Relaxed);
    }

    fn what(&self) -> MutexGuard<'_, Option<Running>> {
        self.what.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which kinds of scripts run for longer than `busy-reply-threshold`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowScripts(Kind);

impl SlowScripts {
    /// The error of a request that would have to wait for the script.
    pub fn error(self) -> CommandError {
        match self.0 {
            Kind::Eval => BUSY_EVAL,
            Kind::Function => BUSY_FUNCTION,
        }
    }
}

const BUSY_EVAL: CommandError = CommandError::line(
    "BUSY Lodestore is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
);
const BUSY_FUNCTION: CommandError = CommandError::line(
    "BUSY Lodestore is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.",
);

/// The scripts that run, by the number of their thread.
pub struct Runs {
    runs: Box<[CachePadded<Run>]>,
    /// How many of them are slow.
    slow: AtomicUsize,
    /// The process ends: every script is to end.
    stopping: AtomicBool,
    /// What is to be taken out of tables when their shards are free.
    left: Mutex<Vec<Left>>,
}

/// What stays in the tables of a shard that a script has locked for long, until it has ended.
pub enum Left {
    /// A key that its client does not watch any more.
    Watched {
        /// The key.
        key: WatchedKey,
        /// The flag of the client.
        flag: Arc<WatchFlag>,
    },
    /// A waiter whose wait has ended.
    Waiter(Arc<Waiter>),
}

impl Runs {
    /// For so many workers, and one other thread.
    pub fn new(workers: usize) -> Self {
        let run = |_| CachePadded::new(Run::default());
        Self {
            runs: (0..=workers).map(run).collect(),
            slow: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            left: Mutex::default(),
        }
    }

    /// The place of a thread's scripts. Threads that are no workers share the last one.
    pub fn of(&self, worker: usize) -> &Run {
        &self.runs[worker.min(self.runs.len() - 1)]
    }

    /// The places of all threads.
    pub fn iter(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().map(|run| &**run)
    }

    /// True while some script runs.
    pub fn any(&self) -> bool {
        self.iter().any(|run| run.began_ns() != 0)
    }

    /// True when some script runs for longer than `busy-reply-threshold`. One relaxed load.
    #[inline]
    pub fn any_slow(&self) -> bool {
        self.slow.load(Ordering::Relaxed) != 0
    }

    /// The kind of the slow script, if there is one.
    pub fn slow(&self) -> Option<SlowScripts> {
        if !self.any_slow() {
            return None;
        }
        let slow = self.iter().find(|run| run.is_slow());
        slow.map(|run| SlowScripts(run.kind()))
    }

    /// A script of `run` is slow from now on.
    pub fn note_slow(&self, run: &Run, running: Running) {
        *run.what() = Some(running);
        run.set(SLOW);
        self.slow.fetch_add(1, Ordering::AcqRel);
    }

    /// The script of `run` has ended. True when it was slow.
    #[inline]
    pub fn end(&self, run: &Run) -> bool {
        run.began_ns.store(0, Ordering::Release);
        let was_slow = run.is_slow();
        if was_slow {
            run.flags.store(0, Ordering::Release);
            *run.what() = None;
            self.slow.fetch_sub(1, Ordering::AcqRel);
        }
        was_slow
    }

    /// A slow script, with the time it began, for FUNCTION STATS.
    ///
    /// # Errors
    /// It is a script and no function.
    pub fn slow_function(&self) -> Result<Option<(Running, u64)>, CommandError> {
        let mut slow = self.iter().filter(|run| run.is_slow());
        match slow.next() {
            None => Ok(None),
            Some(run) if run.kind() == Kind::Eval => Err(BUSY_EVAL),
            Some(run) => Ok(run.what().clone().map(|what| (what, run.began_ns()))),
        }
    }

    /// SCRIPT KILL, FUNCTION KILL: ends all slow scripts of a kind that can be undone.
    ///
    /// # Errors
    /// There is none.
    pub fn kill(&self, kind: Kind) -> Result<(), CommandError> {
        let mut refusal = CommandError::line("NOTBUSY No scripts in execution right now.");
        let mut found = false;
        for run in self.iter().filter(|run| run.is_slow()) {
            if run.has(LOADS) {
                refusal = CommandError::line(
                    "UNKILLABLE The busy script was sent by a master instance in the context of \
                     replication and cannot be killed.",
                );
            } else if !run.can_end() {
                refusal = CommandError::line(
                    "UNKILLABLE Sorry the script already executed write commands against the dataset. \
                     You can either wait the script termination or kill the server in a hard way using \
                     the SHUTDOWN NOSAVE command.",
                );
            } else if run.kind() != kind {
                refusal = SlowScripts(run.kind()).error();
            } else {
                run.set(KILLED);
                found = true;
            }
        }
        if found { Ok(()) } else { Err(refusal) }
    }

    /// CLIENT KILL: ends the script of a client, unless it cannot be undone.
    pub fn kill_of(&self, client: u64) {
        for run in self.iter() {
            let is_its = run.began_ns() != 0 && run.client.load(Ordering::Relaxed) == client;
            if is_its && run.can_end() {
                run.set(KILLED);
            }
        }
    }

    /// Notes what could not be taken out of the tables of a locked shard.
    pub fn leave(&self, left: Left) {
        self.left().push(left);
    }

    /// What was noted so.
    pub fn take_left(&self) -> Vec<Left> {
        std::mem::take(&mut self.left())
    }

    fn left(&self) -> MutexGuard<'_, Vec<Left>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process is about to end: so do scripts, at their next interruption. `clean`: only those
    /// that have written nothing.
    pub fn end_all(&self, clean: bool) {
        if !clean {
            self.stopping.store(true, Ordering::Release);
        }
        let running = self.iter().filter(|run| run.began_ns() != 0);
        running
            .filter(|run| !run.has_written())
            .for_each(|run| run.set(KILLED));
    }

    /// True when the process ends.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(result: Result<(), CommandError>) -> String {
        let error = result.expect_err("nothing to kill");
        String::from_utf8_lossy(&error.text()).into_owned()
    }

    fn slow(runs: &Runs, worker: usize, kind: Kind) {
        runs.of(worker).begin(kind, 7, 5, false);
        let running = Running {
            name: b"f".to_vec(),
            args: vec![b"FCALL".to_vec()],
        };
        runs.note_slow(runs.of(worker), running);
    }

    #[test]
    fn only_slow_scripts_of_the_kind_are_killed() {
        let runs = Runs::new(2);
        runs.of(0).begin(Kind::Eval, 1, 1, false);
        assert!(text(runs.kill(Kind::Eval)).starts_with("NOTBUSY "));
        slow(&runs, 1, Kind::Function);
        assert!(text(runs.kill(Kind::Eval)).starts_with("BUSY "));
        assert!(runs.kill(Kind::Function).is_ok());
        assert!(runs.of(1).is_killed() && !runs.of(0).is_killed());
        assert!(runs.end(runs.of(1)));
        assert!(!runs.any_slow() && !runs.end(runs.of(0)));
    }

    #[test]
    fn a_script_that_cannot_be_undone_is_not_killed() {
        let runs = Runs::new(1);
        slow(&runs, 0, Kind::Eval);
        runs.of(0).note_final();
        assert!(runs.of(0).can_end());
        runs.of(0).note_write();
        assert!(text(runs.kill(Kind::Eval)).starts_with("UNKILLABLE Sorry"));
        runs.kill_of(7);
        assert!(!runs.of(0).is_killed());
        runs.end(runs.of(0));
        slow(&runs, 0, Kind::Eval);
        runs.of(0).note_write();
        assert!(runs.kill(Kind::Eval).is_ok());
    }

    #[test]
    fn a_client_that_is_killed_takes_its_script_along() {
        let runs = Runs::new(1);
        runs.of(0).begin(Kind::Eval, 7, 5, false);
        runs.kill_of(8);
        assert!(!runs.of(0).is_killed());
        runs.kill_of(7);
        assert!(runs.of(0).is_killed());
    }
}
