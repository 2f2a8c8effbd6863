//! A manifest is refused, or it means the same after it has been written again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use persist::Manifest;

fuzz_target!(|data: &[u8]| {
    if let Ok(manifest) = Manifest::parse(data) {
        let text = manifest.to_text();
        // Comments are not kept, so nothing may be left. And quoting makes a name longer: a line
        // that is too long then would have to be refused.
        let short = |line: &[u8]| line.len() < 1024;
        if !text.is_empty() && text.split(|&byte| byte == b'\n').all(short) {
            assert_eq!(Manifest::parse(&text).as_ref(), Ok(&manifest));
        }
    }
});
