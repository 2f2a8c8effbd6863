//! Loading libraries of functions.

use resp::{Args, Output, Protocol, Reply};
use script::{AclVerdict, Host, LogLevel, Replication, Stop, header};

use super::caller::log_line;
use super::vm;
use crate::engine::Engine;
use crate::scripts::{Kind, Library, is_name};

/// How long the code of a library may run when it is loaded, as in Redis.
const LOAD_MS_MAX: u64 = 500;

/// Why a library cannot be loaded: the text behind `ERR `.
pub type LibraryError = Vec<u8>;

/// Reads the first line of a library. Its functions are not known afterwards.
///
/// # Errors
/// The line names no library, or no engine that is there.
pub fn read_library(code: &[u8]) -> Result<Library, LibraryError> {
    let header = header::library(code)?;
    if !is_name(&header.name) {
        return Err(b"Library names can only contain letters, numbers, or underscores(_) and must be at least one \
            character long"
            .to_vec());
    }
    if !header.engine.eq_ignore_ascii_case(b"lua") {
        return Err([b"Engine '", &*header.engine, b"' not found"].concat());
    }
    let name = String::from_utf8_lossy(&header.name).into_owned();
    Ok(Library::new(name, code, header.code_start))
}

/// Runs the code of a library, which registers its functions. `limited`: for half a second at most.
/// Returns the bytes of the heap of the interpreter that ran it.
///
/// # Errors
/// The code fails, or registers no functions, or one with a name that is none.
pub fn run_library(
    engine: &Engine,
    library: &mut Library,
    limited: bool,
) -> Result<usize, LibraryError> {
    let mut host = Loader {
        engine,
        ends_ns: limited.then(|| engine.clock.monotonic_ns() + LOAD_MS_MAX * 1_000_000),
    };
    let mut vm = vm::take(engine, Kind::Function).map_err(|error| error.text().into_owned())?;
    let loaded = vm.load_library(library.body(), &mut host);
    let heap_bytes = vm::put(vm);
    library.register(loaded?)?;
    Ok(heap_bytes)
}

/// A library as an interpreter knows it.
pub(super) fn source(library: &Library) -> script::Library<'_> {
    script::Library {
        name: &library.name,
        version: library.version,
        code: library.body(),
    }
}

/// What a library reaches while it is loaded: nothing.
struct Loader<'a> {
    engine: &'a Engine,
    ends_ns: Option<u64>,
}

impl Host for Loader<'_> {
    fn call(&mut self, _: Args<'_>, protocol: Protocol, reply: &mut Output) {
        Reply::new(reply, protocol)
            .error(b"ERR no command can be called while a library is loaded");
    }

    fn set_replication(&mut self, _: Replication) {}

    fn log(&mut self, level: LogLevel, message: &[u8]) {
        log_line(level, message);
    }

    fn acl_check(&mut self, _: &[&[u8]]) -> AclVerdict {
        AclVerdict::Invalid
    }

    fn interrupt(&mut self) -> Option<Stop> {
        let is_over = |ends_ns| self.engine.clock.monotonic_ns() > ends_ns;
        let is_stopped = self.engine.runs.is_stopping() || self.ends_ns.is_some_and(is_over);
        is_stopped.then(|| Stop {
            message: "ERR FUNCTION LOAD timeout".into(),
        })
    }
}
