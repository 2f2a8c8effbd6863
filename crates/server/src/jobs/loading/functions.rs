//! Libraries of functions in snapshots and logs.
//!
//! One that cannot be run, because it is for another engine or uses what is not there, is kept and
//! written again, so that nothing is lost on the way back; its functions cannot be called.

use std::sync::Arc;

use engine::engine::Engine;
use engine::execute::{read_library, run_library};
use engine::scripts::{Libraries, Library};
use persist::rdb;
use resp::{Args, split_args};

use super::batch::Present;
use super::rdb_sink::load_options;
use crate::server::Server;

/// Adds the libraries of a file to those that are there.
///
/// # Errors
/// A library is there already, and is not to be replaced.
pub(super) fn add_all(
    engine: &Engine,
    codes: Vec<Box<[u8]>>,
    present: Present,
) -> Result<(), String> {
    let mut libraries = Libraries::clone(&engine.scripts.libraries());
    for code in codes {
        let name = name(&code);
        if matches!(present, Present::Refuse) && libraries.library(name.as_bytes()).is_some() {
            return Err(format!("Library '{name}' already exists"));
        }
        add(engine, &mut libraries, &code);
    }
    engine.scripts.set_libraries(libraries);
    Ok(())
}

/// The libraries of a file. One that occurs twice is there as it was last.
pub(super) fn read_all(engine: &Engine, codes: &[Box<[u8]>]) -> Libraries {
    let mut libraries = Libraries::default();
    for code in codes {
        add(engine, &mut libraries, code);
    }
    libraries
}

/// Does what FUNCTION LOAD or RESTORE of a log did, when it fails here: libraries that cannot be
/// loaded are kept. False for every other command, and for a payload that cannot be read.
pub(super) fn keep(server: &Server, args: Args<'_>) -> bool {
    if !args.arg(0).eq_ignore_ascii_case(b"function") {
        return false;
    }
    let engine = &server.engine;
    let mut libraries = Libraries::clone(&engine.scripts.libraries());
    match args.arg(1).to_ascii_lowercase().as_slice() {
        b"load" => add(engine, &mut libraries, args.arg(args.len() - 1)),
        // RESTORE payload [FLUSH | APPEND | REPLACE]
        b"restore" => {
            let Ok(restored) = rdb::functions(args.arg(2), &load_options(server)) else {
                return false;
            };
            if args.arg(3).eq_ignore_ascii_case(b"flush") {
                libraries = Libraries::default();
            }
            for code in restored {
                add(engine, &mut libraries, &code);
            }
        }
        _ => return false,
    }
    engine.scripts.set_libraries(libraries);
    true
}

/// Adds a library in the place of the one that has its name.
fn add(engine: &Engine, libraries: &mut Libraries, code: &[u8]) {
    let loaded = read_library(code).and_then(|mut library| {
        run_library(engine, &mut library, false)?;
        libraries.remove(library.name.as_bytes());
        libraries.add(Arc::new(library))
    });
    if let Err(reason) = loaded {
        keep_uncallable(libraries, code, &String::from_utf8_lossy(&reason));
    }
}

fn keep_uncallable(libraries: &mut Libraries, code: &[u8], reason: &str) {
    let name = name(code);
    log::warn!(
        "The library of functions '{name}' cannot be loaded ({reason}). It is kept and written again, but cannot be called."
    );
    libraries.remove(name.as_bytes());
    // Without functions it has none that another library could have.
    let _ = libraries.add(Arc::new(Library::new(name, code, 0)));
}

/// The name of a library: `name=` in its first line, `#!engine name=...`.
fn name(code: &[u8]) -> String {
    let line = code.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let words = split_args(line).unwrap_or_default();
    let mut names = words.as_args().iter().filter_map(|word| {
        let (option, value) = word.split_at_checked(5)?;
        option.eq_ignore_ascii_case(b"name=").then_some(value)
    });
    String::from_utf8_lossy(names.next().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_that_cannot_be_called_replace_those_of_the_same_name() {
        let mut libraries = Libraries::default();
        keep_uncallable(&mut libraries, b"#!js name=a\nreturn 1", "x");
        keep_uncallable(&mut libraries, b"#!js NAME=b\nreturn 2", "x");
        keep_uncallable(&mut libraries, b"#!js name=a\nreturn 3", "x");
        let texts: Vec<&[u8]> = libraries.iter().map(|library| &*library.code).collect();
        assert_eq!(
            texts,
            [&b"#!js name=a\nreturn 3"[..], b"#!js NAME=b\nreturn 2"]
        );
        assert_eq!(name(b"no name"), "");
    }
}
