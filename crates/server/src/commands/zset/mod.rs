//! Commands on sorted sets.

use crate::command::Command;

/// All commands of this group.
pub const COMMANDS: &[&Command] = &[];
