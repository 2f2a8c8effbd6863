//! Any configuration file loads or is refused, and what loaded reads back from the values CONFIG
//! GET shows.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resp::split_args;
use server::config::{Sources, load, with_options};

/// Directives that open files or look at directories, which a fuzzer must not choose.
const TOUCH_FILES: &[&str] = &["include", "dir", "logfile"];

fn touches_files(line: &[u8]) -> bool {
    let Ok(words) = split_args(line.trim_ascii()) else {
        return false;
    };
    let name = words.as_args().get(0).unwrap_or_default();
    TOUCH_FILES
        .iter()
        .any(|directive| directive.as_bytes().eq_ignore_ascii_case(name))
}

fuzz_target!(|text: &[u8]| {
    let text_without_mark = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    if text_without_mark
        .split(|&byte| byte == b'\n')
        .any(touches_files)
    {
        return;
    }
    let options = text.to_vec();
    let Ok(config) = load(Sources {
        options,
        ..Sources::default()
    }) else {
        return;
    };
    let Ok(defaults) = with_options(&[]) else {
        return;
    };
    let defaults = defaults.get(&[b"*"]);
    for ((name, value), (_, default)) in config.get(&[b"*"]).into_iter().zip(defaults) {
        if value == default
            || TOUCH_FILES
                .iter()
                .any(|directive| directive.as_bytes() == name)
        {
            continue;
        }
        // Names are ASCII; values that are not UTF-8 cannot be given as an option of an embedding
        // program.
        let (Ok(name), Ok(value)) = (str::from_utf8(&name), str::from_utf8(&value)) else {
            continue;
        };
        let again = with_options(&[(name, value)]);
        let again = again.unwrap_or_else(|error| panic!("{name} {value}: {error}"));
        assert_eq!(
            again.get(&[name.as_bytes()])[0].1,
            value.as_bytes(),
            "{name}"
        );
    }
});
