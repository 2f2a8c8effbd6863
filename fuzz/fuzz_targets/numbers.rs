//! Numbers that are read print back as themselves; sums are symmetric; quoted text splits back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resp::number::{self, F64_BYTES_MAX, F80, I64_BYTES_MAX};
use resp::{quoted, split_args};

fn integers(text: &[u8]) {
    if let Some(value) = number::parse_i64(text) {
        assert_eq!(number::format_i64(value, &mut [0; I64_BYTES_MAX]), text);
        assert_eq!(F80::parse(text), Some(F80::from(value)));
        assert_eq!(F80::from(value).to_string().as_bytes(), text);
    }
    let _ = number::parse_u64(text);
    let _ = number::parse_memory(text);
}

fn doubles(text: &[u8]) {
    let Some(value) = number::parse_f64(text) else {
        return;
    };
    let mut buffer = [0; F64_BYTES_MAX];
    let printed = number::format_f64(value, &mut buffer);
    assert_eq!(
        number::parse_f64(printed).map(f64::to_bits),
        Some(value.to_bits())
    );
    if text.len() <= number::F80_TEXT_BYTES_MAX {
        assert!(
            F80::parse(text).is_some(),
            "a double is never out of range for 80 bits"
        );
    }
}

fn sums(a: &[u8], b: &[u8]) {
    if let (Some(a), Some(b)) = (F80::parse(a), F80::parse(b)) {
        assert_eq!((a + b).to_string(), (b + a).to_string());
        let printed = (a + b).to_string();
        assert!(printed == "nan" || F80::parse(printed.as_bytes()).is_some());
    }
}

fuzz_target!(|data: &[u8]| {
    integers(data);
    doubles(data);
    let middle = data
        .iter()
        .position(|byte| *byte == b' ')
        .unwrap_or(data.len());
    sums(&data[..middle], data.get(middle + 1..).unwrap_or_default());
    if let Some(bytes) = data.first_chunk() {
        let value = f64::from_le_bytes(*bytes);
        let mut buffer = [0; F64_BYTES_MAX];
        let printed = number::format_f64(value, &mut buffer);
        let read = number::parse_f64(printed);
        assert!(value.is_nan() || read.map(f64::to_bits) == Some(value.to_bits()));
    }
    let line = quoted(data);
    let args = split_args(line.as_bytes()).expect("quoted text is balanced");
    assert_eq!(args.as_args().iter().collect::<Vec<_>>(), [data]);
    let _ = split_args(data);
});
