//! All commands, one file or folder per group.

pub mod bitmap;
pub mod connection;
pub mod element_expiry;
pub mod generic;
pub mod geo;
pub mod hash;
pub mod hyperloglog;
pub mod list;
pub mod scripting;
pub mod server;
pub mod set;
pub mod stream;
pub mod string;
pub mod transactions;
pub mod zset;

use crate::client::Session;
use crate::command::Command;
use crate::error::CommandError;
use crate::server::Server;
use crate::table::Entry;

/// The commands of every group.
pub const GROUPS: &[&[&Command]] = &[
    bitmap::COMMANDS,
    connection::COMMANDS,
    generic::COMMANDS,
    geo::COMMANDS,
    hash::COMMANDS,
    hyperloglog::COMMANDS,
    list::COMMANDS,
    scripting::COMMANDS,
    server::COMMANDS,
    set::COMMANDS,
    stream::COMMANDS,
    string::COMMANDS,
    transactions::COMMANDS,
    zset::COMMANDS,
];

/// Commands gated by a parameter (`enable-debug-command`): `no`, `local` or `yes`.
pub fn check_protected(
    server: &Server,
    session: &Session,
    entry: &Entry,
) -> Result<(), CommandError> {
    server::debug::check_enabled(server, session, entry)
}

#[cfg(test)]
mod tests {
    use super::GROUPS;
    use crate::command::{Command, Flags, container};
    use crate::table::CommandTable;

    fn check(command: &Command, path: &str) {
        let is_container = !command.subcommands.is_empty();
        assert!(!command.name.is_empty(), "{path} has no name");
        assert!(!command.summary.is_empty(), "{path} has no summary");
        assert!(
            command.summary.ends_with('.') && !command.summary.trim_end_matches('.').contains(". "),
            "the summary of {path} is not one sentence"
        );
        assert!(!command.complexity.is_empty(), "{path} has no complexity");
        assert!(!command.since.is_empty(), "{path} has no version");
        assert_ne!(command.arity, 0, "{path} has no arity");
        if !is_container {
            assert!(
                !std::ptr::fn_addr_eq(command.handler, container as crate::command::Handler),
                "{path} has no handler"
            );
        }
        assert!(
            !(command.flags.has(Flags::WRITE) && command.flags.has(Flags::READONLY)),
            "{path} reads only and writes"
        );
        for sub in command.subcommands {
            check(sub, &format!("{path}|{}", sub.name));
        }
    }

    #[test]
    fn every_command_is_complete() {
        for command in GROUPS.iter().flat_map(|group| group.iter()) {
            check(command, command.name);
        }
    }

    #[test]
    fn no_name_is_taken_twice() {
        let commands: usize = GROUPS.iter().map(|group| group.len()).sum();
        let table = CommandTable::new(GROUPS, &[]).expect("no renames");
        assert_eq!(table.len(), commands);
    }
}
