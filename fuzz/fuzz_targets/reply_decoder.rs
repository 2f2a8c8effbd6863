//! Replies are read without panicking, need exactly the bytes they claim, and keep to the limits.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resp::{DecodeLimits, Value, decode_with};

/// Counts the values of a reply. Recursion is safe here: the limits bound the depth.
fn count(value: &Value, depth: usize, limits: &DecodeLimits) -> usize {
    assert!(depth <= limits.max_depth);
    let pairs = |pairs: &[(Value, Value)]| -> usize {
        let each = |(key, value): &(Value, Value)| {
            count(key, depth + 1, limits) + count(value, depth + 1, limits)
        };
        pairs.iter().map(each).sum()
    };
    1 + match value {
        Value::Array(values) | Value::Set(values) | Value::Push(values) => values
            .iter()
            .map(|value| count(value, depth + 1, limits))
            .sum(),
        Value::Map(map) => pairs(map),
        Value::Attribute(map, value) => pairs(map) + count(value, depth + 1, limits),
        _ => 0,
    }
}

fuzz_target!(|data: &[u8]| {
    let limits = DecodeLimits {
        max_depth: 16,
        max_bulk: 1024,
        max_values: 256,
        max_line: 256,
    };
    if let Ok(Some((value, len))) = decode_with(data, &limits) {
        assert!(len > 0 && len <= data.len());
        assert!(count(&value, 0, &limits) <= limits.max_values);
        // Nothing less is enough, and what follows does not matter.
        assert_eq!(decode_with(&data[..len - 1], &limits), Ok(None));
        let again = decode_with(&data[..len], &limits);
        assert!(matches!(again, Ok(Some((_, again))) if again == len));
    }
});
