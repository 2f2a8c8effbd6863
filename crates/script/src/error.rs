//! How a run fails.

use std::fmt;

/// The error of a run, as the client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The error reply without the leading `-` and the line end, with its code and the place in
    /// the script. It may hold CR and LF, which [`resp::Reply::error`] replaces.
    pub message: Vec<u8>,
    /// Whether error statistics count it. An error of a command that the script passed on was
    /// counted already.
    pub counts: bool,
    /// Whether [`Host::interrupt`](crate::Host::interrupt) or the memory limit ended the run.
    pub stopped: bool,
}

/// The interpreter could not be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmError(pub String);

impl fmt::Display for VmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot set up Lua: {}", self.0)
    }
}

impl std::error::Error for VmError {}

impl From<mlua::Error> for VmError {
    fn from(error: mlua::Error) -> VmError {
        VmError(error.to_string())
    }
}
