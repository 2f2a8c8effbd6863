//! The target that the contents of the log are loaded into.

use crate::options::LogOptions;
use crate::rdb;
use resp::Args;
use values::Thresholds;

/// Takes the contents of the log's files, in their order: entries of a base in RDB form by the
/// methods of [`rdb::Sink`], everything else as commands.
pub trait Target: rdb::Sink {
    /// Runs one command; the error text ends the loading.
    fn command(&mut self, args: Args<'_>) -> Result<(), String>;
    /// Reports the progress of loading: bytes loaded and bytes in all.
    fn progress(&mut self, loaded: u64, total: u64);
    /// How a base in RDB form is read.
    fn rdb_options(&self) -> rdb::LoadOptions {
        rdb::LoadOptions {
            thresholds: Thresholds::default(),
            checksum: true,
            any_version: false,
            skip_modules: false,
            count_streams: true,
            max_string: LogOptions::default().max_bulk,
        }
    }
}
