//! No bytes make the loader panic, and what it cuts off a torn log leaves a log that loads whole,
//! with the same commands.
//!
//! The first byte of the input decides where the rest is cut into two files; the second one is the
//! last.

#![no_main]

use libfuzzer_sys::fuzz_target;
use persist::rdb::{LoadedEntry, Sink};
use persist::storage::Memory;
use persist::{LoadError, LoadReport, LogOptions, Target};
use std::sync::Arc;

type Commands = Vec<Vec<Vec<u8>>>;

#[derive(Default)]
struct Collected(Commands);

impl Sink for Collected {
    fn entry(&mut self, _entry: LoadedEntry<'_>) -> Result<(), String> {
        Ok(())
    }

    fn function(&mut self, _code: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

impl Target for Collected {
    fn command(&mut self, args: resp::Args<'_>) -> Result<(), String> {
        self.0.push(args.iter().map(<[u8]>::to_vec).collect());
        Ok(())
    }

    fn progress(&mut self, loaded: u64, total: u64) {
        assert!(loaded <= total);
    }
}

fn load(memory: &Memory, load_truncated: bool) -> (Result<LoadReport, LoadError>, Commands) {
    let options = LogOptions {
        dir: "".into(),
        load_truncated,
        max_bulk: 1 << 16,
        ..LogOptions::default()
    };
    let mut target = Collected::default();
    let result = persist::load(Arc::new(memory.clone()), &options, &mut target);
    (result, target.0)
}

fuzz_target!(|data: &[u8]| {
    let Some((&at, bytes)) = data.split_first() else {
        return;
    };
    let (first, last) = bytes.split_at(bytes.len() * usize::from(at) / 256);
    let memory = Memory::new();
    memory.write(
        "appendonlydir/appendonly.aof.manifest",
        b"file appendonly.aof.1.base.aof seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n",
    );
    memory.write("appendonlydir/appendonly.aof.1.base.aof", first);
    memory.write("appendonlydir/appendonly.aof.1.incr.aof", last);
    let (result, commands) = load(&memory, true);
    let Ok(report) = result else { return };
    assert_eq!(report.commands, commands.len() as u64);
    let (again, same) = load(&memory, false);
    let again = again.expect("what was cut is whole");
    assert_eq!((again.truncated, again.offset), (None, report.offset));
    assert_eq!(same, commands);
});
