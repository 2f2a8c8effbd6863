//! Any string may claim to be a HyperLogLog: it is refused or used, never harmful, and all forms
//! agree.

#![no_main]

use libfuzzer_sys::fuzz_target;
use values::hyperloglog::{self, Form, Registers};

/// How long sparse sketches may get here.
const SPARSE_MAX: usize = 300;

fuzz_target!(|data: &[u8]| {
    let Some((head, rest)) = data.split_first_chunk::<4>() else {
        return;
    };
    let mut bytes = data.to_vec();
    if head[0] % 4 != 0 {
        // Most bytes are a valid header with arbitrary registers.
        bytes = [&hyperloglog::empty()[..16], rest].concat();
    }
    let valid = hyperloglog::count(&bytes);
    let mut registers = Registers::new();
    assert_eq!(registers.merge(&bytes).is_ok(), valid.is_ok());
    let _ = hyperloglog::runs(&bytes).count();
    let elements = head.chunks(1);
    let added = hyperloglog::add(&bytes, elements.clone(), SPARSE_MAX);
    let merged = hyperloglog::raise_to(&bytes, &registers, head[0] % 2 == 0, SPARSE_MAX);
    let Ok(count) = valid else {
        return;
    };
    let mut dense = hyperloglog::to_dense(&bytes).expect("what can be counted is valid");
    assert_eq!(hyperloglog::form(&dense), Some(Form::Dense));
    assert_eq!(hyperloglog::count(&dense), Ok(count));
    assert_eq!(hyperloglog::count(&merged.expect("it is valid")), Ok(count));
    hyperloglog::add_dense(&mut dense, elements);
    let added = added
        .expect("it is valid")
        .map_or(bytes, |(added, _)| added);
    assert_eq!(hyperloglog::count(&added), hyperloglog::count(&dense));
});
