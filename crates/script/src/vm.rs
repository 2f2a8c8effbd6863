//! The interpreter of a thread.

use resp::Reply;

use crate::header::Flags;
use crate::{Failure, Host, Limits, VmError};

/// A script of EVAL.
#[derive(Clone, Copy, Debug)]
pub struct Script<'a> {
    /// The SHA-1 of the whole body, as 40 hexadecimal digits in lower case.
    pub sha: &'a [u8; 40],
    /// The code behind the header: `body[header.code_start..]`.
    pub code: &'a [u8],
}

/// A library of FUNCTION LOAD.
#[derive(Clone, Copy, Debug)]
pub struct Library<'a> {
    /// The library's name.
    pub name: &'a str,
    /// Changes whenever the library is replaced, and is unique in the process.
    pub version: u64,
    /// The code behind the header.
    pub code: &'a [u8],
}

/// A function that a library registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionInfo {
    /// The name, not yet checked for its characters nor for being new.
    pub name: Vec<u8>,
    /// The description, when there is one.
    pub description: Option<Vec<u8>>,
    /// The flags.
    pub flags: Flags,
}

/// The interpreter of a thread. It stays on its thread.
pub struct Vm {
    limits: Limits,
}

impl Vm {
    /// An interpreter with its libraries, of some 100 KB.
    pub fn new(limits: Limits) -> Result<Vm, VmError> {
        Ok(Vm { limits })
    }

    /// Compiles `script`, if this VM has not done it before, and keeps the function. The error is
    /// the text behind `ERR `.
    pub fn compile(&mut self, script: Script<'_>) -> Result<(), Vec<u8>> {
        let _ = (script, &self.limits);
        Err(Vec::new())
    }

    /// Runs `script` with `KEYS` and `ARGV`, compiles it before if need be, and writes what it
    /// returns to `reply`. Nothing is written for a [`Failure`], which is also what a script
    /// returns as an error (`return redis.error_reply(...)`).
    pub fn run(
        &mut self,
        script: Script<'_>,
        arguments: Arguments<'_>,
        host: &mut dyn Host,
        reply: &mut Reply<'_>,
    ) -> Result<(), Failure> {
        let _ = (script, arguments, host, reply);
        Err(Failure {
            message: Vec::new(),
            counts: true,
            stopped: false,
        })
    }

    /// Runs the code of a library in load mode, and returns the functions that it registers. The
    /// VM keeps nothing of it. The time limit is the host's, by its
    /// [`interrupt`](Host::interrupt). The error is the text behind `ERR `.
    pub fn load_library(
        &mut self,
        name: &str,
        code: &[u8],
        host: &mut dyn Host,
    ) -> Result<Vec<FunctionInfo>, Vec<u8>> {
        let _ = (name, code, host);
        Err(Vec::new())
    }

    /// Runs a function of `library`, whose code runs first if this VM has not this version of it.
    pub fn call_function(
        &mut self,
        library: Library<'_>,
        function: &[u8],
        arguments: Arguments<'_>,
        host: &mut dyn Host,
        reply: &mut Reply<'_>,
    ) -> Result<(), Failure> {
        let _ = (library, function, arguments, host, reply);
        Err(Failure {
            message: Vec::new(),
            counts: true,
            stopped: false,
        })
    }

    /// Drops the function of a script that left the cache.
    pub fn forget_script(&mut self, sha: &[u8; 40]) {
        let _ = sha;
    }

    /// Drops all functions of scripts: SCRIPT FLUSH.
    pub fn forget_scripts(&mut self) {}

    /// Drops all libraries: FUNCTION FLUSH.
    pub fn forget_libraries(&mut self) {}

    /// Bytes that the Lua heap has.
    pub fn memory(&self) -> usize {
        0
    }
}

/// `KEYS` and `ARGV` of a run.
#[derive(Clone, Copy, Debug)]
pub struct Arguments<'a> {
    /// The keys.
    pub keys: &'a [&'a [u8]],
    /// The other arguments.
    pub args: &'a [&'a [u8]],
}
