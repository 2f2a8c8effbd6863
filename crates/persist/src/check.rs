//! Checking files without loading them into a server: what `valkey-check-aof` and
//! `valkey-check-rdb` do, with their words. The checksum lines of our own logs are compared, too.

mod aof;
mod rdb;

pub use aof::{AofCheck, Confirm};
pub use rdb::check_rdb;

use std::io;

/// Why a check ends. What is to be said has been printed.
enum Stop {
    /// The file is not good, or cannot be read.
    Failed,
    /// The output cannot be written.
    Output(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}
