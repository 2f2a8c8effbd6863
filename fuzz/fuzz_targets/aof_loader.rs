//! No bytes make the loader panic, and what it cuts off a torn log leaves a log that loads whole,
//! with the same commands.
//!
//! The first byte of the input says where the rest is cut in two files; the second one is the last.

#![no_main]

use libfuzzer_sys::fuzz_target;
use persist::storage::Memory;
use persist::{LoadError, LoadReport, LogOptions};
use std::sync::Arc;

type Commands = Vec<Vec<Vec<u8>>>;

fn load(memory: &Memory, load_truncated: bool) -> (Result<LoadReport, LoadError>, Commands) {
    let options = LogOptions {
        dir: "".into(),
        load_truncated,
        max_bulk: 1 << 16,
        ..LogOptions::default()
    };
    let mut commands = Commands::new();
    let result = persist::load(
        Arc::new(memory.clone()),
        &options,
        &mut |args| {
            commands.push(args.iter().map(<[u8]>::to_vec).collect());
            Ok(())
        },
        &mut |done, total| assert!(done <= total),
    );
    (result, commands)
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
