//! Lua 5.1 in a sandbox: the scripts of EVAL and the functions of FUNCTION LOAD.
//!
//! A [`Vm`] belongs to one thread. It compiles and runs scripts; what they call with `redis.call`
//! goes to a [`Host`], which the engine implements. The crate has no keys, clients, files, threads
//! or sockets.
//!
//! The interpreter is PUC Lua 5.1. What it leaves open is closed here: only source text is
//! compiled, the tables of libraries are read-only, pattern matching neither recurses without a
//! bound nor runs without asking [`Host::interrupt`], memory has a limit per run, and an error that
//! ends a run cannot be caught by the script.

pub mod header;
pub mod profile;

mod call;
mod convert;
mod error;
mod host;
mod json_options;
mod libraries;
mod limits;
mod number;
mod pattern;
mod raise;
mod search;
mod state;
mod sys;
mod vm;

#[cfg(test)]
mod tests;

pub use error::{Failure, VmError};
pub use header::FunctionInfo;
pub use host::{AclVerdict, Host, LogLevel, Replication, Stop};
pub use limits::{Identity, Limits};
pub use vm::{Arguments, Library, Script, Vm};
