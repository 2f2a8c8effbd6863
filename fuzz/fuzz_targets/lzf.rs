//! Malformed streams are errors and no panics; compressed input is restored exactly.

#![no_main]

use libfuzzer_sys::fuzz_target;
use values::lzf;

fuzz_target!(|data: &[u8]| {
    if let Some((length, stream)) = data.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length));
        if let Ok(bytes) = lzf::decompress(stream, length) {
            assert_eq!(bytes.len(), length);
        }
    }
    let mut packed = Vec::new();
    if lzf::compress(data, &mut packed) {
        assert!(packed.len() < data.len());
        assert_eq!(lzf::decompress(&packed, data.len()).as_deref(), Ok(data));
        assert!(lzf::decompress(&packed, data.len() - 1).is_err());
    } else {
        assert!(packed.is_empty());
    }
});
