//! Server commands: configuration, statistics, diagnosis, the end of the process.

pub mod backup;
pub mod config;
pub mod debug;
pub mod info;
pub mod memory;
pub mod process;
pub mod save;

use engine::command::CommandSpec;

/// The commands of this group.
pub const COMMANDS: &[&CommandSpec] = &[
    &backup::BACKUP,
    &process::BGREWRITEAOF,
    &config::CONFIG,
    &debug::DEBUG,
    &info::INFO,
    &save::BGSAVE,
    &save::LASTSAVE,
    &process::LOLWUT,
    &memory::MEMORY,
    &process::MONITOR,
    &process::ROLE,
    &save::SAVE,
    &process::SHUTDOWN,
    &process::TIME,
];
