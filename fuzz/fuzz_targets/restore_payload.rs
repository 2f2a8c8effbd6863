//! A DUMP payload of any bytes is restored or refused, and what is restored is the same after it
//! was dumped again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use persist::rdb::{self, LoadOptions, SaveOptions, Version};
use values::Thresholds;

fuzz_target!(|data: &[u8]| {
    let Some((&version, body)) = data.split_first() else {
        return;
    };
    let options = LoadOptions {
        thresholds: Thresholds::default(),
        checksum: false,
        any_version: version & 0x80 != 0,
        skip_modules: false,
        max_string: 1 << 20,
    };
    let mut payload = body.to_vec();
    payload.extend_from_slice(&[version & 0x7f, 0]);
    payload.extend_from_slice(&[0; 8]);
    let value = match rdb::restore(&payload, &options) {
        Ok(value) => value,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    for version in [11, 12, 80] {
        let save = SaveOptions {
            version: Version(version),
            compression: version == 11,
            checksum: true,
        };
        let mut first = Vec::new();
        if rdb::dump(&value.as_value_ref(), &save, &mut first).is_err() {
            continue;
        }
        let options = LoadOptions {
            checksum: true,
            max_string: 1 << 30,
            ..options.clone()
        };
        let again = rdb::restore(&first, &options).expect("what is written can be read");
        let mut second = Vec::new();
        rdb::dump(&again.as_value_ref(), &save, &mut second).expect("it had a form before");
        let third = rdb::restore(&second, &options).expect("what is written can be read");
        assert_eq!(again.value_type(), third.value_type());
    }
});
