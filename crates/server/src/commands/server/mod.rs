//! Server commands: configuration, statistics, diagnosis, the end of the process.

pub mod backup;
pub mod command;
pub mod commandlog;
pub mod config;
pub mod debug;
pub mod info;
pub mod latency;
pub mod memory;
pub mod process;
pub mod save;

use crate::command::Command;

/// The commands of this group.
pub const COMMANDS: &[&Command] = &[
    &backup::BACKUP,
    &process::BGREWRITEAOF,
    &command::COMMAND,
    &commandlog::COMMANDLOG,
    &config::CONFIG,
    &debug::DEBUG,
    &info::INFO,
    &save::BGSAVE,
    &save::LASTSAVE,
    &latency::LATENCY,
    &process::LOLWUT,
    &memory::MEMORY,
    &process::MONITOR,
    &process::ROLE,
    &save::SAVE,
    &process::SHUTDOWN,
    &commandlog::SLOWLOG,
    &process::TIME,
];
