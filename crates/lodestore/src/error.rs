//! Errors of an embedded store.

use std::io;

use resp::Value;
use server::{CallError, StartError};

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A parameter is wrong.
    #[error("{0}")]
    Config(#[from] engine::config::LoadError),
    /// The store could not be started, or its data not be loaded.
    #[error("{0}")]
    Start(#[from] StartError),
    /// The directory could not be made.
    #[error("the directory {path}: {error}")]
    Directory {
        /// The directory.
        path: String,
        /// What the system says.
        error: io::Error,
    },
    /// A limit of memory was asked for in a program with another allocator.
    #[error(
        "maxmemory needs lodestore::Jemalloc as the global allocator: memory is not counted without it"
    )]
    Uncounted,
}

/// Why a command has no result.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The command answered with this error, its code first (`WRONGTYPE ...`).
    #[error("{0}")]
    Command(String),
    /// The command was not run.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The reply has another type than the function returns.
    #[error("a reply of another type than expected: {0:?}")]
    Type(Value),
    /// A connection failed.
    #[error("the connection: {0}")]
    Connection(String),
}

impl Error {
    /// The code of a command's error: `WRONGTYPE`, `OOM`, `ERR`.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Command(text) => text.split(' ').next(),
            _ => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Connection(error.to_string())
    }
}

/// Takes the error out of a reply.
pub(crate) fn checked(reply: Value) -> Result<Value, Error> {
    match reply {
        Value::Error(line) | Value::BulkError(line) => {
            Err(Error::Command(String::from_utf8_lossy(&line).into_owned()))
        }
        reply => Ok(reply),
    }
}
