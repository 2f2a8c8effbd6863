//! Server commands that need no server: the command table, the logs of commands, latency.

pub mod command;
pub mod commandlog;
pub mod latency;
mod module;

use crate::execute::CommandSpec;

/// The commands of this group.
pub const COMMANDS: &[&CommandSpec] = &[
    &command::COMMAND,
    &commandlog::COMMANDLOG,
    &latency::LATENCY,
    &module::MODULE,
    &commandlog::SLOWLOG,
];
