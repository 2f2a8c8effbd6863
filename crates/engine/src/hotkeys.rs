//! HOTKEYS: which keys take the most processor time and network bytes.
//!
//! While no session is tracked, an execution pays one relaxed load. In a session each worker has
//! its own part: exact sums over all commands with keys, and for each metric a summary of the
//! heaviest keys, which HOTKEYS GET merges. A summary is Space-Saving (Metwally, Agrawal and El
//! Abbadi, 2005) with weights: it has a fixed number of keys, and a new key takes the place, and
//! the count, of the lightest one. What a key may owe to its predecessors is subtracted again, so
//! reported figures are never too large.
//!
//! The first `EXACT_COMMANDS` commands of a worker go into the summaries one by one. Later it
//! draws one of `STRIDE` at random and counts it as that many, because a summary costs about a
//! hundred nanoseconds. SAMPLE comes on top of that, and is not made up for, as in Redis.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_utils::CachePadded;
use resp::Args;

use crate::commandlog::{Executed, request_bytes};
use crate::keys::LocatedKey;
use crate::stats::Counter;

/// Commands of a worker that are counted one by one at the beginning of a session: more than a
/// test or a quick look sends, and a few milliseconds of work.
const EXACT_COMMANDS: u64 = 16_384;
/// Of how many commands one is counted later, on average.
const STRIDE: u64 = 64;
/// Keys of a summary for each key that is asked for; Redis has ten.
const KEYS_PER_RESULT: usize = 16;
/// Longer keys are not tracked: bounds the memory of a summary.
const KEY_BYTES_MAX: usize = 4096;

/// What HOTKEYS START asks for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Processor time is tracked.
    pub cpu: bool,
    /// Network bytes are tracked.
    pub net: bool,
    /// Number of keys to report for each metric.
    pub count: usize,
    /// How long the session lasts, in milliseconds; 0: until it is stopped.
    pub duration_ms: u64,
    /// One of so many commands is tracked; at least 1.
    pub sample: u64,
    /// Processor time of the process at the beginning, in milliseconds: user and system.
    pub process_ms: (u64, u64),
}

/// The parts of a session that one worker writes.
#[derive(Default)]
struct WorkerPart {
    /// Of all commands with keys, in nanoseconds.
    nanos: Counter,
    /// Requests and replies of all commands with keys, in bytes.
    bytes: Counter,
    /// Locked by readers only now and then.
    summaries: Mutex<Summaries>,
}

#[derive(Default)]
struct Summaries {
    cpu: Summary,
    net: Summary,
    /// Bytes of the commands that were counted.
    net_bytes: u64,
}

/// A session of tracking.
struct Session {
    number: u64,
    options: Options,
    start_ms: u64,
    workers: Box<[CachePadded<WorkerPart>]>,
}

impl Session {
    /// Frees the summaries: workers keep a session until they see the next one.
    fn clear(&self) {
        for part in &self.workers {
            let mut summaries = part
                .summaries
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *summaries = Summaries::default();
        }
    }

    fn end_ms(&self) -> u64 {
        match self.options.duration_ms {
            0 => u64::MAX,
            duration => self.start_ms.saturating_add(duration),
        }
    }
}

#[derive(Default)]
struct State {
    last_number: u64,
    session: Option<Arc<Session>>,
    /// When the session ended (Unix milliseconds); `None` while it is active.
    ended_ms: Option<u64>,
}

/// The session of HOTKEYS, if there is one.
#[derive(Default)]
pub struct HotKeys {
    /// Number of the session that is active, 0 for none.
    active: AtomicU64,
    state: Mutex<State>,
}

/// Results of a session.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was asked for.
    pub options: Options,
    /// The session goes on.
    pub is_active: bool,
    /// When it began, in Unix milliseconds.
    pub start_ms: u64,
    /// How long it has lasted, in milliseconds.
    pub duration_ms: u64,
    /// Time of all commands with keys, in nanoseconds.
    pub nanos: u64,
    /// Bytes of all commands with keys.
    pub bytes: u64,
    /// Bytes of those that were tracked.
    pub tracked_bytes: u64,
    /// Keys with the most processor time, in nanoseconds, the first first.
    pub by_cpu: Vec<(Box<[u8]>, u64)>,
    /// Keys with the most network bytes.
    pub by_net: Vec<(Box<[u8]>, u64)>,
}

impl HotKeys {
    /// The number of the active session; 0 while nothing is tracked. One relaxed load.
    #[inline]
    pub fn active(&self) -> u64 {
        self.active.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session for this many workers, in place of one that has ended. False while one is
    /// active.
    pub fn start(&self, options: Options, workers: usize, now_ms: u64) -> bool {
        let mut state = self.lock();
        self.end_due(&mut state, now_ms);
        if state.session.is_some() && state.ended_ms.is_none() {
            return false;
        }
        if let Some(session) = state.session.take() {
            session.clear();
        }
        state.last_number += 1;
        let number = state.last_number;
        let capacity = options.count * KEYS_PER_RESULT;
        let part = || {
            let part = WorkerPart::default();
            if let Ok(mut summaries) = part.summaries.lock() {
                summaries.cpu.capacity = capacity;
                summaries.net.capacity = capacity;
            }
            CachePadded::new(part)
        };
        state.session = Some(Arc::new(Session {
            number,
            options,
            start_ms: now_ms,
            workers: (0..workers.max(1)).map(|_| part()).collect(),
        }));
        state.ended_ms = None;
        self.active.store(number, Ordering::Relaxed);
        true
    }

    /// True while a session is active.
    pub fn is_running(&self, now_ms: u64) -> bool {
        let mut state = self.lock();
        self.end_due(&mut state, now_ms);
        state.session.is_some() && state.ended_ms.is_none()
    }

    /// Ends the session. False when none is active.
    pub fn stop(&self, now_ms: u64) -> bool {
        let mut state = self.lock();
        self.end_due(&mut state, now_ms);
        let is_active = state.session.is_some() && state.ended_ms.is_none();
        if is_active {
            state.ended_ms = Some(now_ms);
            self.active.store(0, Ordering::Relaxed);
        }
        is_active
    }

    /// Forgets the results. False while a session is active.
    pub fn reset(&self, now_ms: u64) -> bool {
        let mut state = self.lock();
        self.end_due(&mut state, now_ms);
        let is_over = state.session.is_none() || state.ended_ms.is_some();
        if is_over && let Some(session) = state.session.take() {
            session.clear();
        }
        is_over
    }

    /// Ends a session whose time is over.
    fn end_due(&self, state: &mut State, now_ms: u64) {
        if let Some(session) = &state.session
            && state.ended_ms.is_none()
            && now_ms >= session.end_ms()
        {
            state.ended_ms = Some(session.end_ms());
            self.active.store(0, Ordering::Relaxed);
        }
    }

    /// The results of the session, `None` when there is none.
    pub fn report(&self, now_ms: u64) -> Option<Report> {
        let (session, ended_ms) = {
            let mut state = self.lock();
            self.end_due(&mut state, now_ms);
            (state.session.clone()?, state.ended_ms)
        };
        let mut report = Report {
            options: session.options,
            is_active: ended_ms.is_none(),
            start_ms: session.start_ms,
            duration_ms: ended_ms.unwrap_or(now_ms).saturating_sub(session.start_ms),
            nanos: 0,
            bytes: 0,
            tracked_bytes: 0,
            by_cpu: Vec::new(),
            by_net: Vec::new(),
        };
        let (mut cpu, mut net) = (HashMap::new(), HashMap::new());
        for part in &session.workers {
            report.nanos += part.nanos.get();
            report.bytes += part.bytes.get();
            let summaries = part
                .summaries
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            report.tracked_bytes += summaries.net_bytes;
            summaries.cpu.add_to(&mut cpu);
            summaries.net.add_to(&mut net);
        }
        if session.options.sample == 1 {
            report.tracked_bytes = report.bytes;
        }
        report.by_cpu = heaviest(cpu, session.options.count);
        report.by_net = heaviest(net, session.options.count);
        Some(report)
    }

    fn session(&self, number: u64) -> Option<Arc<Session>> {
        let state = self.lock();
        let session = state.session.clone();
        session.filter(|session| session.number == number)
    }
}

/// The part of a thread that executes commands.
#[derive(Default)]
pub struct HotKeysThread {
    session: Option<Arc<Session>>,
    /// Commands that are not counted before the next one is.
    skip: u64,
    /// Commands that have been counted.
    counted: u64,
}

impl HotKeysThread {
    /// Counts a command with keys that this worker has executed, in the session with this number.
    /// `random` draws numbers.
    #[inline(never)]
    pub fn note(
        &mut self,
        (hot_keys, number): (&HotKeys, u64),
        worker: usize,
        executed: &Executed<'_>,
        random: impl FnMut() -> u64,
    ) {
        if self.session.as_ref().map(|session| session.number) != Some(number) {
            *self = HotKeysThread {
                session: hot_keys.session(number),
                ..HotKeysThread::default()
            };
        }
        let Some(session) = &self.session else { return };
        if executed.now_ms >= session.end_ms() {
            hot_keys.end_due(&mut hot_keys.lock(), executed.now_ms);
            self.session = None;
            return;
        }
        // Threads that are no workers count with the first one, as in the statistics.
        let Some(part) = session.workers.get(worker).or(session.workers.first()) else {
            return;
        };
        let bytes = request_bytes(executed.args).cast_unsigned() + executed.reply_bytes as u64;
        part.nanos.add(executed.nanos);
        part.bytes.add(bytes);
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        let weight = if self.counted < EXACT_COMMANDS {
            1
        } else {
            STRIDE
        };
        self.counted += 1;
        self.skip = gap(session.options.sample.saturating_mul(weight), random);
        let options = &session.options;
        count(part, options, executed, (bytes, weight));
    }
}

/// How many commands to leave out, so that one of `ratio` is counted on average and no pattern of
/// the requests meets one of the counting.
fn gap(ratio: u64, mut random: impl FnMut() -> u64) -> u64 {
    let most = ratio.saturating_sub(1).saturating_mul(2);
    match most {
        0 => 0,
        most => ((u128::from(random()) * (u128::from(most) + 1)) >> 64) as u64,
    }
}

#[inline(never)]
fn count(
    part: &WorkerPart,
    options: &Options,
    executed: &Executed<'_>,
    (bytes, weight): (u64, u64),
) {
    let keys = executed.keys.len().max(1) as u64;
    let mut summaries = part
        .summaries
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    summaries.net_bytes += bytes * weight;
    let (nanos, bytes) = (executed.nanos * weight / keys, bytes * weight / keys);
    for key in executed.keys {
        if options.cpu {
            summaries.cpu.add(key, executed.args, nanos);
        }
        if options.net {
            summaries.net.add(key, executed.args, bytes);
        }
    }
}

/// The keys of all workers, the heaviest `count` of them first.
fn heaviest(keys: HashMap<Box<[u8]>, u64>, count: usize) -> Vec<(Box<[u8]>, u64)> {
    let mut keys: Vec<_> = keys.into_iter().filter(|(_, weight)| *weight > 0).collect();
    keys.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    keys.truncate(count);
    keys
}

/// The heaviest keys of a stream of keys with weights.
#[derive(Default)]
struct Summary {
    capacity: usize,
    slots: Vec<Slot>,
    /// Slots by the hash of their key.
    places: HashMap<u64, usize>,
    /// Slots, the lightest first, by counts that may have grown since.
    order: BinaryHeap<Reverse<(u64, usize)>>,
}

struct Slot {
    hash: u64,
    key: Box<[u8]>,
    /// At least the weight of the key.
    count: u64,
    /// How much of that may be owed to other keys.
    error: u64,
}

impl Summary {
    fn add(&mut self, key: &LocatedKey, args: Args<'_>, weight: u64) {
        let hash = key.hash.0;
        if let Some(slot) = self
            .places
            .get(&hash)
            .and_then(|at| self.slots.get_mut(*at))
        {
            slot.count += weight;
            return;
        }
        let bytes = args.arg(key.position.index);
        if weight == 0 || bytes.len() > KEY_BYTES_MAX {
            return;
        }
        let (at, owed) = match self.slots.len() < self.capacity {
            true => (self.slots.len(), 0),
            false => match self.lightest() {
                Some(found) => found,
                None => return,
            },
        };
        let slot = Slot {
            hash,
            key: bytes.into(),
            count: owed + weight,
            error: owed,
        };
        match self.slots.get_mut(at) {
            Some(old) => {
                self.places.remove(&old.hash);
                *old = slot;
            }
            None => self.slots.push(slot),
        }
        self.places.insert(hash, at);
        self.order.push(Reverse((owed + weight, at)));
    }

    /// Takes the lightest slot out of the order; with its count.
    fn lightest(&mut self) -> Option<(usize, u64)> {
        loop {
            let Reverse((count, at)) = self.order.pop()?;
            let now = self.slots.get(at)?.count;
            if now == count {
                return Some((at, count));
            }
            self.order.push(Reverse((now, at)));
        }
    }

    fn add_to(&self, keys: &mut HashMap<Box<[u8]>, u64>) {
        for slot in &self.slots {
            *keys.entry(slot.key.clone()).or_default() += slot.count - slot.error;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::KeyPosition;
    use keyspace::KeyHash;
    use resp::OwnedArgs;

    fn add(summary: &mut Summary, key: u64, weight: u64) {
        let args = OwnedArgs::from_slices(&[format!("key:{key}").as_bytes()]);
        let located = LocatedKey {
            position: KeyPosition { index: 0, flags: 0 },
            hash: KeyHash(key),
        };
        summary.add(&located, args.as_args(), weight);
    }

    #[test]
    fn heavy_keys_are_found_among_many() {
        let mut summary = Summary {
            capacity: 160,
            ..Summary::default()
        };
        let mut exact = [0; 10];
        for round in 0..100_000_u64 {
            let hot = round % 10;
            let weight = 20 - hot;
            exact[hot as usize] += weight;
            add(&mut summary, hot, weight);
            // Each comes once.
            add(&mut summary, 1000 + round, 1);
        }
        let mut keys = HashMap::new();
        summary.add_to(&mut keys);
        let found = heaviest(keys, 10);
        for (place, (key, weight)) in found.iter().enumerate() {
            assert_eq!(**key, *format!("key:{place}").as_bytes());
            assert!(*weight <= exact[place], "never too large");
            assert!(*weight >= exact[place] - exact[place] / 100, "{weight}");
        }
        assert_eq!((summary.slots.len(), summary.places.len()), (160, 160));
        assert_eq!(summary.order.len(), 160);
    }

    #[test]
    fn gaps_have_the_mean_that_the_ratio_asks_for() {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            state
        };
        assert_eq!(gap(1, &mut random), 0);
        let sum: u64 = (0..10_000).map(|_| gap(64, &mut random)).sum();
        assert!((62 * 10_000..64 * 10_000).contains(&sum), "{sum}");
    }

    #[test]
    fn sessions_begin_and_end() {
        let hot_keys = HotKeys::default();
        let options = Options {
            cpu: true,
            net: true,
            count: 10,
            duration_ms: 1000,
            sample: 1,
            process_ms: (0, 0),
        };
        assert!(hot_keys.report(1).is_none() && !hot_keys.stop(1) && hot_keys.reset(1));
        assert!(hot_keys.start(options, 2, 5000));
        assert!(!hot_keys.start(options, 2, 5999) && !hot_keys.reset(5999));
        assert_eq!(hot_keys.active(), 1);
        // Its time is over.
        let report = hot_keys.report(7000).expect("a session");
        assert_eq!((report.is_active, report.duration_ms), (false, 1000));
        assert_eq!(hot_keys.active(), 0);
        assert!(!hot_keys.stop(7000) && hot_keys.start(options, 2, 8000));
        assert!(hot_keys.stop(8100) && hot_keys.reset(8200));
        assert!(hot_keys.report(8300).is_none());
    }
}
