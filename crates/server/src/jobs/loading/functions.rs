//! Libraries of functions in logs of other servers. They cannot be called here, but they are kept
//! and written again, as those of snapshots are, so that nothing is lost on the way back.

use persist::rdb;
use resp::{Args, split_args};

use super::rdb_sink::load_options;
use crate::server::Server;

/// Does what a FUNCTION command of a log does to the libraries. False for every other command.
///
/// # Errors
/// The command cannot stand in a log.
pub(super) fn replay(server: &Server, args: Args<'_>) -> Result<bool, String> {
    if !args.arg(0).eq_ignore_ascii_case(b"function") {
        return Ok(false);
    }
    let mut libraries = server.engine.lock_functions();
    match args.arg(1).to_ascii_lowercase().as_slice() {
        // LOAD [REPLACE] code
        b"load" => add(&mut libraries, args.arg(args.len() - 1)),
        b"delete" => libraries.retain(|library| name(library).as_deref() != Some(args.arg(2))),
        b"flush" => libraries.clear(),
        // RESTORE payload [FLUSH | APPEND | REPLACE]
        b"restore" => {
            let restored = rdb::functions(args.arg(2), &load_options(server));
            let restored = restored.map_err(|error| format!("ERR {error}"))?;
            if args.arg(3).eq_ignore_ascii_case(b"flush") {
                libraries.clear();
            }
            for library in restored {
                add(&mut libraries, &library);
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Adds a library in the place of the one that has its name. The log has only what succeeded.
fn add(libraries: &mut Vec<Box<[u8]>>, code: &[u8]) {
    let name = name(code);
    libraries.retain(|library| name.is_none() || self::name(library) != name);
    libraries.push(code.into());
}

/// The name of a library: `name=` in its first line, `#!engine name=...`.
fn name(code: &[u8]) -> Option<Vec<u8>> {
    let line = code.split(|byte| *byte == b'\n').next()?;
    let words = split_args(line).ok()?;
    let mut names = words.as_args().iter().filter_map(|word| {
        let (option, value) = word.split_at_checked(5)?;
        option.eq_ignore_ascii_case(b"name=").then_some(value)
    });
    names.next().map(<[u8]>::to_vec)
}

/// Says how many libraries are kept.
pub(super) fn report(server: &Server) {
    let count = server.engine.lock_functions().len();
    if count > 0 {
        log::warn!(
            "Libraries of functions that are kept and written again, but cannot be called in this version of Lodestore: \
             {count}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_replace_those_of_the_same_name() {
        let mut libraries = Vec::new();
        add(&mut libraries, b"#!lua name=a\nreturn 1");
        add(&mut libraries, b"#!lua NAME=b\nreturn 2");
        add(&mut libraries, b"#!lua name=a\nreturn 3");
        let texts: Vec<&[u8]> = libraries.iter().map(|library| &**library).collect();
        assert_eq!(
            texts,
            [&b"#!lua NAME=b\nreturn 2"[..], b"#!lua name=a\nreturn 3"]
        );
        assert_eq!(name(b"no name"), None);
        assert_eq!(name(b""), None);
    }
}
