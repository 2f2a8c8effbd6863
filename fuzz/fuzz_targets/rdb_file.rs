//! Loading any bytes ends: with the whole file, or with an error at an offset inside the file.
//! Loaded values survive being written and read again.

#![no_main]

use keyspace::NewValue;
use libfuzzer_sys::fuzz_target;
use persist::rdb::{self, LoadOptions, LoadedEntry, SaveOptions, Sink, Version};
use values::Thresholds;

fn options(any_version: bool) -> LoadOptions {
    LoadOptions {
        thresholds: Thresholds::default(),
        // Nearly no input would have the right one.
        checksum: false,
        any_version,
        skip_modules: any_version,
        max_string: 1 << 20,
    }
}

/// Writes every value that it is given, and reads it back.
struct Checker {
    progress: u64,
}

impl Sink for Checker {
    fn entry(&mut self, entry: LoadedEntry<'_>) -> Result<(), String> {
        let NewValue::Owned(value) = entry.value else {
            return Ok(());
        };
        let save = SaveOptions {
            version: Version::V80,
            compression: true,
            checksum: true,
        };
        let mut payload = Vec::new();
        // Members with deadlines and the like have no form there.
        if rdb::dump(&value.as_value_ref(), &save, &mut payload).is_ok() {
            let mut options = options(false);
            options.max_string = 1 << 30;
            let again = rdb::restore(&payload, &options).expect("what is written can be read");
            assert_eq!(again.value_type(), value.value_type());
        }
        Ok(())
    }

    fn function(&mut self, _code: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn progress(&mut self, bytes: u64) {
        assert!(bytes >= self.progress);
        self.progress = bytes;
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&flags, rest)) = data.split_first() else {
        return;
    };
    // The signature is known: mutations of it are of little use.
    let head: &[u8] = match flags % 4 {
        0 => b"REDIS0011",
        1 => b"REDIS0014",
        2 => b"VALKEY080",
        _ => b"",
    };
    let file = [head, rest].concat();
    let mut checker = Checker { progress: 0 };
    match rdb::load(&mut &file[..], &options(flags & 4 != 0), &mut checker) {
        Ok(loaded) => assert!(loaded.bytes <= file.len() as u64),
        Err(error) => {
            assert!(error.offset <= file.len() as u64);
            assert!(!error.to_string().is_empty());
        }
    }
});
