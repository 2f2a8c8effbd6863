//! What the tests share: records to append, and loading them back.

use persist::rdb::{LoadedEntry, Sink};
use persist::storage::{Faulty, Memory};
use persist::{FsyncPolicy, LoadError, LoadReport, Log, LogOptions, Storage, Target};
use std::sync::Arc;

pub(crate) const MANIFEST: &str = "appendonlydir/appendonly.aof.manifest";
pub(crate) const BASE_1: &str = "appendonlydir/appendonly.aof.1.base.aof";
pub(crate) const INCR_1: &str = "appendonlydir/appendonly.aof.1.incr.aof";
pub(crate) const INCR_2: &str = "appendonlydir/appendonly.aof.2.incr.aof";

/// A command with the database it ran in.
pub(crate) type Ran = (u32, Vec<String>);

pub(crate) fn options() -> LogOptions {
    LogOptions {
        dir: "".into(),
        timestamps: false,
        ..LogOptions::default()
    }
}

pub(crate) fn always() -> LogOptions {
    LogOptions {
        fsync: FsyncPolicy::Always,
        ..options()
    }
}

pub(crate) fn record(args: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend_from_slice(format!("${}\r\n{arg}\r\n", arg.len()).as_bytes());
    }
    bytes
}

pub(crate) fn append(log: &Log, db: u32, args: &[&str]) -> u64 {
    log.append(db, &record(args), 1_700_000_000_000)
}

/// Collects what a load runs, SELECT applied.
#[derive(Default)]
pub(crate) struct Collected {
    pub(crate) db: u32,
    pub(crate) ran: Vec<Ran>,
    /// Entries of a base in RDB form: database and key.
    pub(crate) entries: Vec<(u32, String)>,
    /// Progress told: bytes loaded and bytes in all.
    pub(crate) seen: Vec<(u64, u64)>,
}

impl Sink for Collected {
    fn entry(&mut self, entry: LoadedEntry<'_>) -> Result<(), String> {
        self.entries
            .push((entry.db, String::from_utf8_lossy(entry.key).into_owned()));
        Ok(())
    }

    fn function(&mut self, _code: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

impl Target for Collected {
    fn command(&mut self, args: resp::Args<'_>) -> Result<(), String> {
        self.run(args)
    }

    fn progress(&mut self, loaded: u64, total: u64) {
        self.seen.push((loaded, total));
    }
}

impl Collected {
    pub(crate) fn run(&mut self, args: resp::Args<'_>) -> Result<(), String> {
        let words: Vec<String> = args
            .iter()
            .map(|arg| String::from_utf8_lossy(arg).into_owned())
            .collect();
        if words[0].eq_ignore_ascii_case("select") {
            self.db = words[1]
                .parse()
                .map_err(|_| "ERR invalid DB index".to_owned())?;
        } else if words[0] == "nonsense" {
            return Err("ERR unknown command 'nonsense'".to_owned());
        } else {
            self.ran.push((self.db, words));
        }
        Ok(())
    }
}

/// A log that has loaded what was there.
pub(crate) fn open(
    storage: impl Storage + 'static,
    options: LogOptions,
) -> Result<(Log, LoadReport, Vec<Ran>), LoadError> {
    let log = Log::new(Arc::new(storage), options);
    let mut collected = Collected::default();
    let report = log.load(&mut collected)?;
    Ok((log, report, collected.ran))
}

pub(crate) fn load_only(
    storage: impl Storage + 'static,
    options: &LogOptions,
) -> Result<(LoadReport, Vec<Ran>), LoadError> {
    let mut collected = Collected::default();
    let report = persist::load(Arc::new(storage), options, &mut collected)?;
    Ok((report, collected.ran))
}

/// A directory with this one increment.
pub(crate) fn with_increment(bytes: &[u8]) -> Memory {
    let memory = Memory::new();
    memory.write(MANIFEST, b"file appendonly.aof.1.incr.aof seq 1 type i\n");
    memory.write(INCR_1, bytes);
    memory
}

pub(crate) fn text(memory: &Memory, path: &str) -> String {
    String::from_utf8(memory.read(path).unwrap_or_default()).unwrap()
}

pub(crate) fn ran(db: u32, words: &[&str]) -> Ran {
    (db, words.iter().map(|word| (*word).to_owned()).collect())
}

pub(crate) fn visible(storage: &Faulty, path: &str) -> String {
    text(storage.visible(), path)
}
