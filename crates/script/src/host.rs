//! What a running script reaches outside of the interpreter.

use std::borrow::Cow;

use resp::{Args, Output, Protocol};

/// What a running script calls. One host serves one run.
pub trait Host {
    /// Runs the command `args`, whose first element is its name, for `redis.call` and
    /// `redis.pcall`. There is at least one element.
    ///
    /// The reply is appended to `reply` in `protocol`; `reply` is empty before. An error is an
    /// error reply, with the text that a script sees (`-ERR Unknown command called from script`).
    fn call(&mut self, args: Args<'_>, protocol: Protocol, reply: &mut Output);

    /// `redis.set_repl`: where the effects of later writes go.
    fn set_replication(&mut self, scope: Replication);

    /// `redis.log`: a line for the server's log. `message` may hold any bytes.
    fn log(&mut self, level: LogLevel, message: &[u8]);

    /// `redis.acl_check_cmd`: whether the user of the script may run the command `args`.
    fn acl_check(&mut self, args: &[&[u8]]) -> AclVerdict;

    /// Is asked every [`INSTRUCTIONS_PER_INTERRUPT`](crate::Limits::INSTRUCTIONS_PER_INTERRUPT)
    /// instructions, and by library functions that work for long. An answer ends the run; the
    /// script cannot catch it.
    fn interrupt(&mut self) -> Option<Stop>;
}

/// Ends a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The error with its code, without a leading `-`: `ERR Script killed by user with SCRIPT
    /// KILL.` The run's [`Failure`](crate::Failure) adds the place in the script to it.
    pub message: Cow<'static, str>,
}

/// Whether a user may run a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclVerdict {
    /// The command with these arguments is allowed.
    Allowed,
    /// The command, a key, a channel or the database is refused.
    Denied,
    /// There is no such command, or the number of arguments is wrong for it.
    Invalid,
}

/// Levels of `redis.log`, in the order of the server's log levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// `redis.LOG_DEBUG`, 0.
    Debug,
    /// `redis.LOG_VERBOSE`, 1.
    Verbose,
    /// `redis.LOG_NOTICE`, 2.
    Notice,
    /// `redis.LOG_WARNING`, 3.
    Warning,
}

/// Where the effects of a script's writes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replication {
    /// To the append-only file.
    pub aof: bool,
    /// To replicas.
    pub replicas: bool,
}
