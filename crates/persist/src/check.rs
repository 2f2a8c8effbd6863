//! Checks files without loading them into a server, with the messages of `valkey-check-aof` and
//! `valkey-check-rdb`. The checksum lines of our own logs are compared, too.

mod aof;
mod rdb;

pub use aof::{AofCheck, Confirm};
pub use rdb::check_rdb;

use std::io;

/// Why a check ends. The messages have been printed.
enum Stop {
    /// The file is damaged, or cannot be read.
    Failed,
    /// The output cannot be written.
    Output(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}
