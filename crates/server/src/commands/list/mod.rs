//! Commands on lists.

use crate::command::Command;

/// All commands of this group.
pub const COMMANDS: &[&Command] = &[];
