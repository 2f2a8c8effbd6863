//! Server commands: configuration, statistics, diagnosis, the end of the process.

pub(crate) mod backup;
mod bigkeys;
pub(crate) mod config;
pub(crate) mod debug;
pub(crate) mod hotkeys;
pub(crate) mod info;
pub(crate) mod memory;
pub(crate) mod process;
pub(crate) mod save;

use engine::execute::CommandSpec;

/// The commands of this group.
pub(crate) const COMMANDS: &[&CommandSpec] = &[
    &backup::BACKUP,
    &process::BGREWRITEAOF,
    &config::CONFIG,
    &debug::DEBUG,
    &hotkeys::HOTKEYS,
    &info::INFO,
    &save::BGSAVE,
    &save::LASTSAVE,
    &process::LOLWUT,
    &memory::MEMORY,
    &process::MONITOR,
    &save::SAVE,
    &process::SHUTDOWN,
    &process::TIME,
];
