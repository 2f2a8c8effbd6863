//! A simulated disk: writes fail or are torn, and a power cut loses unsynced data.
//!
//! The program reads and writes a [`Memory`]. Beside it stands the state that a power cut would
//! leave:
//!
//! - a file keeps the bytes of its last successful sync; of the bytes added since, any prefix;
//! - a failed sync loses the bytes it was to save for good: a later sync that succeeds leaves a
//!   hole of zeros there, as Linux does since it marks the pages clean;
//! - names created, renamed or removed since the last sync of their directory come back in the
//!   order they happened, up to any point, as a journal replays them.
//!
//! Faults come from rules ("the third append from now gets ENOSPC") or from a seed.

use super::memory::Node;
use super::{File, LockGuard, Memory, OpenMode, Storage};
use crate::sync::lock;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

/// The operation that a rule applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// [`Storage::open`] for writing.
    Open,
    /// [`File::append`].
    Append,
    /// [`File::truncate`].
    Truncate,
    /// [`File::sync_data`].
    Sync,
    /// [`Storage::rename`].
    Rename,
    /// [`Storage::remove`].
    Remove,
    /// [`Storage::sync_dir`].
    SyncDir,
}

/// The fault of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails with this error number and has no effect (a failed sync loses its bytes).
    Errno(i32),
    /// An append writes only this many bytes and returns that number; a following rule may make it
    /// an error.
    Short(usize),
}

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// kill -9: all written bytes stay, synced or not.
    Process,
    /// A power cut: synced bytes stay, and the seed picks which others do.
    Power(u64),
}

/// The disk with faults; clones share it.
#[derive(Clone)]
pub struct Faulty {
    visible: Memory,
    state: Arc<Mutex<State>>,
}

struct State {
    rules: Vec<Rule>,
    random: Option<(SplitMix, u32)>,
    /// Changes that may still happen before everything fails; unlimited when `None`.
    steps_left: Option<u64>,
    steps: u64,
    shadows: Vec<Shadow>,
    durable_dirs: BTreeSet<PathBuf>,
    durable_files: BTreeMap<PathBuf, Node>,
    /// Name changes not covered by a sync of their directory yet.
    journal: Vec<NameChange>,
}

struct Rule {
    op: Op,
    skip: u32,
    times: u32,
    fault: Fault,
}

/// The durable state of a file.
#[derive(Clone)]
struct Shadow {
    node: Node,
    stable: Vec<u8>,
    /// Shortest length since the last sync: bytes below it are as in `stable`.
    low: usize,
    /// Ranges a failed sync has lost.
    lost: Vec<Range<usize>>,
}

#[derive(Clone)]
enum NameChange {
    Dir(PathBuf),
    Create(PathBuf, Node),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

struct FaultyFile {
    node: Node,
    state: Arc<Mutex<State>>,
}

impl Default for Faulty {
    fn default() -> Self {
        Self::new()
    }
}

impl Faulty {
    /// An empty disk without faults.
    #[must_use]
    pub fn new() -> Self {
        Self::holding(Memory::new())
    }

    /// A disk holding these files durably.
    #[must_use]
    pub fn holding(visible: Memory) -> Self {
        let (durable_dirs, durable_files) =
            visible.with_tree(|tree| (tree.dirs.clone(), tree.files.clone()));
        let shadows = durable_files
            .values()
            .map(|node| {
                let stable = lock(node).clone();
                Shadow {
                    node: node.clone(),
                    low: stable.len(),
                    stable,
                    lost: Vec::new(),
                }
            })
            .collect();
        let state = State {
            rules: Vec::new(),
            random: None,
            steps_left: None,
            steps: 0,
            shadows,
            durable_dirs,
            durable_files,
            journal: Vec::new(),
        };
        Self {
            visible,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The files as a running program sees them.
    #[must_use]
    pub fn visible(&self) -> &Memory {
        &self.visible
    }

    /// Lets `skip` calls of this kind pass, then makes the next `times` fail.
    pub fn fail(&self, op: Op, skip: u32, times: u32, fault: Fault) {
        lock(&self.state).rules.push(Rule {
            op,
            skip,
            times,
            fault,
        });
    }

    /// Makes calls fail at random from now on: `per_mille` of them; 0 stops it.
    pub fn fail_randomly(&self, seed: u64, per_mille: u32) {
        lock(&self.state).random = (per_mille > 0).then_some((SplitMix(seed), per_mille));
    }

    /// Removes all rules.
    pub fn heal(&self) {
        let mut state = lock(&self.state);
        state.rules.clear();
        state.random = None;
    }

    /// After this many more changes every call fails, as if the machine had stopped at that step.
    pub fn die_after(&self, steps: u64) {
        lock(&self.state).steps_left = Some(steps);
    }

    /// Number of changing calls so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        lock(&self.state).steps
    }

    /// Ends the process: every open handle and this disk answer EIO from now on; the returned disk
    /// holds the remaining files, without locks and faults.
    #[must_use]
    pub fn crash(&self, how: Crash) -> Self {
        let mut state = lock(&self.state);
        state.steps_left = Some(0);
        match how {
            Crash::Process => self.after_kill(&state),
            Crash::Power(seed) => state.after_power_cut(&mut SplitMix(seed)),
        }
    }

    /// The kernel keeps running: bytes that were not durable are still not durable.
    fn after_kill(&self, state: &State) -> Self {
        let (dirs, files) = self
            .visible
            .with_tree(|tree| (tree.dirs.clone(), tree.files.clone()));
        let left = State {
            rules: Vec::new(),
            random: None,
            steps_left: None,
            steps: 0,
            shadows: state.shadows.clone(),
            durable_dirs: state.durable_dirs.clone(),
            durable_files: state.durable_files.clone(),
            journal: state.journal.clone(),
        };
        Self {
            visible: Memory::from_tree(dirs, files),
            state: Arc::new(Mutex::new(left)),
        }
    }
}

impl State {
    /// Counts a change and applies the rules to it.
    fn step(&mut self, op: Op) -> io::Result<Option<usize>> {
        self.steps += 1;
        if let Some(left) = &mut self.steps_left {
            if *left == 0 {
                return Err(io::Error::from_raw_os_error(libc::EIO));
            }
            *left -= 1;
        }
        if let Some(fault) = self.due_rule(op).or_else(|| self.random_fault(op)) {
            return match fault {
                Fault::Errno(errno) => Err(io::Error::from_raw_os_error(errno)),
                Fault::Short(bytes) => Ok(Some(bytes)),
            };
        }
        Ok(None)
    }

    fn alive(&self) -> io::Result<()> {
        match self.steps_left {
            Some(0) => Err(io::Error::from_raw_os_error(libc::EIO)),
            _ => Ok(()),
        }
    }

    fn due_rule(&mut self, op: Op) -> Option<Fault> {
        let rule = self
            .rules
            .iter_mut()
            .find(|rule| rule.op == op && rule.times > 0)?;
        if rule.skip > 0 {
            rule.skip -= 1;
            return None;
        }
        rule.times -= 1;
        Some(rule.fault)
    }

    fn random_fault(&mut self, op: Op) -> Option<Fault> {
        let (rng, per_mille) = self.random.as_mut()?;
        if rng.below(1000) >= u64::from(*per_mille) {
            return None;
        }
        let errno = if rng.below(2) == 0 {
            libc::EIO
        } else {
            libc::ENOSPC
        };
        if op == Op::Append && rng.below(2) == 0 {
            return Some(Fault::Short(rng.below(64) as usize + 1));
        }
        Some(Fault::Errno(errno))
    }

    fn shadow(&mut self, node: &Node) -> &mut Shadow {
        let known = self
            .shadows
            .iter()
            .position(|shadow| Arc::ptr_eq(&shadow.node, node));
        let index = known.unwrap_or_else(|| {
            self.shadows.push(Shadow {
                node: node.clone(),
                stable: Vec::new(),
                low: 0,
                lost: Vec::new(),
            });
            self.shadows.len() - 1
        });
        &mut self.shadows[index]
    }

    fn after_power_cut(&mut self, rng: &mut SplitMix) -> Faulty {
        let (mut dirs, mut files) = (self.durable_dirs.clone(), self.durable_files.clone());
        let kept = rng.below(self.journal.len() as u64 + 1) as usize;
        for change in &self.journal[..kept] {
            change.apply(&mut dirs, &mut files);
        }
        for node in files.values_mut() {
            let data = self.data_after_power_cut(node, rng);
            *node = Arc::new(Mutex::new(data));
        }
        Faulty::holding(Memory::from_tree(dirs, files))
    }

    fn data_after_power_cut(&mut self, node: &Node, rng: &mut SplitMix) -> Vec<u8> {
        let visible = lock(node).clone();
        let shadow = self.shadow(node);
        // A truncation that was not synced may never have happened.
        if shadow.low < shadow.stable.len() && rng.below(2) == 0 {
            return shadow.stable.clone();
        }
        let low = shadow.low.min(visible.len());
        let kept = low + rng.below((visible.len() - low) as u64 + 1) as usize;
        let mut data = visible[..kept].to_vec();
        for lost in &shadow.lost {
            let end = lost.end.min(data.len());
            if let Some(hole) = data.get_mut(lost.start..end) {
                hole.fill(0);
            }
        }
        data
    }
}

impl Shadow {
    fn synced(&mut self) {
        self.stable = lock(&self.node).clone();
        for lost in &self.lost {
            let end = lost.end.min(self.stable.len());
            if let Some(hole) = self.stable.get_mut(lost.start..end) {
                hole.fill(0);
            }
        }
        self.low = self.stable.len();
    }

    fn sync_failed(&mut self) {
        let len = lock(&self.node).len();
        if self.low < len {
            self.lost.push(self.low..len);
        }
    }

    fn truncated(&mut self, len: usize) {
        self.low = self.low.min(len);
        self.lost.retain_mut(|lost| {
            lost.end = lost.end.min(len);
            lost.start < lost.end
        });
    }
}

impl NameChange {
    fn dir(&self) -> Option<&Path> {
        match self {
            Self::Dir(path) | Self::Create(path, _) | Self::Remove(path) => path.parent(),
            Self::Rename(_, to) => to.parent(),
        }
    }

    fn apply(&self, dirs: &mut BTreeSet<PathBuf>, files: &mut BTreeMap<PathBuf, Node>) {
        match self {
            Self::Dir(path) => {
                dirs.insert(path.clone());
            }
            Self::Create(path, node) => {
                files.insert(path.clone(), node.clone());
            }
            Self::Rename(from, to) => {
                if let Some(node) = files.remove(from) {
                    files.insert(to.clone(), node);
                }
            }
            Self::Remove(path) => {
                files.remove(path);
            }
        }
    }
}

impl Storage for Faulty {
    fn modified(&self, path: &Path) -> io::Result<SystemTime> {
        self.visible.modified(path)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = lock(&self.state);
        if mode == OpenMode::Read {
            state.alive()?;
        } else {
            state.step(Op::Open)?;
        }
        let existed = self.visible.with_tree(|tree| tree.files.contains_key(path));
        let node = self.visible.open_node(path, mode)?;
        if !existed {
            state
                .journal
                .push(NameChange::Create(path.to_owned(), node.clone()));
        }
        if mode == OpenMode::Create {
            state.shadow(&node).truncated(0);
        }
        Ok(Arc::new(FaultyFile {
            node,
            state: self.state.clone(),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.step(Op::Rename)?;
        self.visible.rename(from, to)?;
        state
            .journal
            .push(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.step(Op::Remove)?;
        self.visible.remove(path)?;
        state.journal.push(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        lock(&self.state).alive()?;
        self.visible.list(dir)
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.step(Op::Open)?;
        if self
            .visible
            .with_tree(|tree| tree.dirs.insert(dir.to_owned()))
        {
            state.journal.push(NameChange::Dir(dir.to_owned()));
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.step(Op::SyncDir)?;
        let State {
            journal,
            durable_dirs,
            durable_files,
            ..
        } = &mut *state;
        journal.retain(|change| {
            let covered = change.dir() == Some(dir);
            if covered {
                change.apply(durable_dirs, durable_files);
            }
            !covered
        });
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        lock(&self.state).alive()?;
        self.visible.lock(path)
    }
}

impl File for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        lock(&self.state).alive()?;
        self.node.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        lock(&self.state).alive()?;
        self.node.read_at(offset, buffer)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let short = lock(&self.state).step(Op::Append)?;
        let taken = short.unwrap_or(bytes.len()).min(bytes.len());
        self.node.append(&bytes[..taken])
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.step(Op::Truncate)?;
        self.node.truncate(len)?;
        state.shadow(&self.node).truncated(len as usize);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        let result = state.step(Op::Sync);
        match result {
            Ok(_) => {
                state.shadow(&self.node).synced();
                Ok(())
            }
            Err(error) => {
                // A stopped machine has lost nothing beyond what the power cut removes.
                if state.alive().is_ok() {
                    state.shadow(&self.node).sync_failed();
                }
                Err(error)
            }
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and enough to pick faults.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(storage: &Faulty, path: &str) -> Option<Vec<u8>> {
        storage.visible().read(path)
    }

    #[test]
    fn a_power_cut_takes_what_was_not_synced() {
        let mut lengths = BTreeSet::new();
        for seed in 0..200 {
            let disk = Faulty::new();
            let file = disk.open(Path::new("f"), OpenMode::Append).unwrap();
            disk.sync_dir(Path::new("")).unwrap();
            file.append(b"syn").unwrap();
            file.sync_data().unwrap();
            file.append(b"ced").unwrap();
            assert_eq!(read(&disk.crash(Crash::Process), "f").unwrap(), b"synced");
            let left = read(&disk.crash(Crash::Power(seed)), "f").unwrap();
            assert!(b"synced".starts_with(left.as_slice()));
            lengths.insert(left.len());
        }
        assert_eq!(lengths, BTreeSet::from([3, 4, 5, 6]));
    }

    #[test]
    fn a_failed_sync_loses_bytes_that_a_later_one_does_not_bring_back() {
        let disk = Faulty::new();
        let file = disk.open(Path::new("f"), OpenMode::Append).unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        file.append(b"lost").unwrap();
        disk.fail(Op::Sync, 0, 1, Fault::Errno(libc::EIO));
        file.sync_data().unwrap_err();
        file.append(b"kept").unwrap();
        file.sync_data().unwrap();
        assert_eq!(read(&disk, "f").unwrap(), b"lostkept");
        // Also when another process asks for the sync.
        let next = disk.crash(Crash::Process);
        next.open(Path::new("f"), OpenMode::Append)
            .unwrap()
            .sync_data()
            .unwrap();
        assert_eq!(
            read(&next.crash(Crash::Power(1)), "f").unwrap(),
            b"\0\0\0\0kept"
        );
    }

    #[test]
    fn names_last_when_their_directory_is_synced() {
        let mut outcomes = BTreeSet::new();
        for seed in 0..100 {
            let disk = Faulty::new();
            disk.open(Path::new("old"), OpenMode::Append).unwrap();
            disk.sync_dir(Path::new("")).unwrap();
            disk.rename(Path::new("old"), Path::new("new")).unwrap();
            let left = disk.crash(Crash::Power(seed));
            outcomes.insert((read(&left, "old").is_some(), read(&left, "new").is_some()));
        }
        assert_eq!(outcomes, BTreeSet::from([(true, false), (false, true)]));
    }

    #[test]
    fn a_truncation_may_be_undone() {
        let mut outcomes = BTreeSet::new();
        for seed in 0..100 {
            let disk = Faulty::new();
            let file = disk.open(Path::new("f"), OpenMode::Append).unwrap();
            disk.sync_dir(Path::new("")).unwrap();
            file.append(b"long").unwrap();
            file.sync_data().unwrap();
            file.truncate(1).unwrap();
            outcomes.insert(read(&disk.crash(Crash::Power(seed)), "f").unwrap());
        }
        assert_eq!(outcomes, BTreeSet::from([b"l".to_vec(), b"long".to_vec()]));
    }

    #[test]
    fn what_has_crashed_is_dead_and_unlocked() {
        let disk = Faulty::new();
        let file = disk.open(Path::new("f"), OpenMode::Append).unwrap();
        let _held = disk.lock(Path::new("l")).unwrap();
        assert!(disk.lock(Path::new("l")).is_err());
        let left = disk.crash(Crash::Process);
        file.append(b"x").unwrap_err();
        file.len().unwrap_err();
        left.lock(Path::new("l")).unwrap();
    }

    #[test]
    fn rules_wait_for_their_turn() {
        let disk = Faulty::new();
        let file = disk.open(Path::new("f"), OpenMode::Append).unwrap();
        disk.fail(Op::Append, 1, 1, Fault::Short(2));
        assert_eq!(file.append(b"four").unwrap(), 4);
        assert_eq!(file.append(b"four").unwrap(), 2);
        assert_eq!(file.append(b"four").unwrap(), 4);
    }
}
