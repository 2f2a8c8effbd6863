//! A command with the function that runs it, and how it is built.

use resp::Args;

use super::{Call, Execution};
use crate::command::{
    Arg, Categories, Channels, FindDatabases, Flags, Group, KeyFlags, KeyPositions, KeySpec, Locks,
    Metadata,
};
use crate::context::Context;
use crate::error::CommandError;
use crate::shard_tables::Locked;
use crate::table::{CommandTable, RenameError};
use crate::wait::Block;

/// The result of a handler.
pub type CommandResult = Result<Outcome, CommandError>;

/// A handler reads its context, writes a reply and effects, and never waits.
pub type Handler = fn(&mut Context<'_, '_>) -> CommandResult;

/// The handler of a command that runs other commands, under locks that cover them all, or that it
/// extends.
pub type NestedHandler = fn(&mut Execution<'_, '_>, &Call<'_>, &mut Locked<'_>) -> CommandResult;

/// The function that runs a command.
#[derive(Clone, Copy)]
pub enum Runs {
    /// An ordinary handler.
    Handler(Handler),
    /// A handler that runs other commands.
    Nested(NestedHandler),
}

/// How a command ended.
#[derive(Debug)]
pub enum Outcome {
    /// The reply stands in the output.
    Done,
    /// Nothing was written; the client blocks as the request says.
    Block(Block),
}

/// A command or subcommand: its metadata, and what runs it.
pub struct CommandSpec {
    /// Its description.
    pub metadata: Metadata,
    /// Subcommands; not empty for a container.
    pub subcommands: &'static [&'static CommandSpec],
    /// Runs it. A container's own handler is reached only when no subcommand is required.
    pub runs: Runs,
}

impl crate::table::Registration for CommandSpec {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn subcommands(&self) -> &'static [&'static Self] {
        self.subcommands
    }
}

/// The handlers of a table's commands, by the command's id.
#[derive(Clone, Copy)]
pub struct Handlers(&'static [Runs]);

impl Handlers {
    /// The handler of this command.
    #[inline]
    pub(super) fn of(self, id: usize) -> Runs {
        self.0.get(id).copied().unwrap_or(Runs::Handler(container))
    }
}

/// The table of these commands, and what runs them. See [`CommandTable::new`] for `rename`.
///
/// Both results live as long as the process.
pub fn command_table(
    groups: &[&[&'static CommandSpec]],
    rename: &[(String, String)],
) -> Result<(CommandTable, Handlers), RenameError> {
    let mut runs = Vec::new();
    let table = CommandTable::new(groups, rename, |spec| runs.push(spec.runs))?;
    Ok((table, Handlers(Vec::leak(runs))))
}

impl CommandSpec {
    /// A specification without name and handler: several commands start from it, and
    /// [`CommandSpec::named`] completes it for each of them.
    pub const BASE: Self = Self {
        metadata: Metadata::EMPTY,
        subcommands: &[],
        runs: Runs::Handler(container),
    };

    /// A command; see the fields for `name` and `arity`.
    pub const fn new(name: &'static str, arity: i32, handler: Handler) -> Self {
        Self::BASE.named(name, arity, handler)
    }

    /// A command that runs other commands.
    pub const fn nested(name: &'static str, arity: i32, handler: NestedHandler) -> Self {
        let mut command = Self::new(name, arity, container);
        command.runs = Runs::Nested(handler);
        command
    }

    /// Completes a shared specification that has an arity and a handler with the name of one
    /// command.
    pub const fn called(mut self, name: &'static str) -> Self {
        self.metadata.name = name;
        self
    }

    /// A command that only has subcommands.
    pub const fn container(name: &'static str, arity: i32) -> Self {
        Self::new(name, arity, container)
    }

    /// Completes a shared specification with the name, arity and handler of one command.
    pub const fn named(mut self, name: &'static str, arity: i32, handler: Handler) -> Self {
        self.metadata.name = name;
        self.metadata.arity = arity;
        self.runs = Runs::Handler(handler);
        self
    }

    /// Lets so many arguments follow that only Lodestore knows.
    pub const fn own_args(mut self, count: usize) -> Self {
        self.metadata.own_args = count;
        self
    }

    /// Adds flags.
    pub const fn flags(mut self, flags: Flags) -> Self {
        self.metadata.flags = self.metadata.flags.or(flags);
        self
    }

    /// Adds ACL categories beyond those that the flags and the group imply.
    pub const fn categories(mut self, categories: Categories) -> Self {
        self.metadata.categories = self.metadata.categories.or(categories);
        self
    }

    /// Sets the key specifications.
    pub const fn keys(mut self, keys: &'static [KeySpec]) -> Self {
        self.metadata.keys = keys;
        self
    }

    /// Sets the function that finds the keys.
    pub const fn find_keys(mut self, find: fn(Args<'_>) -> KeyPositions) -> Self {
        self.metadata.find_keys = Some(find);
        self
    }

    /// Sets what is locked.
    pub const fn locks(mut self, locks: Locks) -> Self {
        self.metadata.locks = locks;
        self
    }

    /// Sets the group of the documentation.
    pub const fn group(mut self, group: Group) -> Self {
        self.metadata.group = group;
        self
    }

    /// Sets the version that introduced it.
    pub const fn since(mut self, version: &'static str) -> Self {
        self.metadata.since = version;
        self
    }

    /// Sets the summary: one sentence.
    pub const fn summary(mut self, summary: &'static str) -> Self {
        self.metadata.summary = summary;
        self
    }

    /// Sets the complexity.
    pub const fn complexity(mut self, complexity: &'static str) -> Self {
        self.metadata.complexity = complexity;
        self
    }

    /// Sets the command tips.
    pub const fn hints(mut self, hints: &'static [&'static str]) -> Self {
        self.metadata.hints = hints;
        self
    }

    /// Sets the version that deprecated it.
    pub const fn deprecated_since(mut self, version: &'static str) -> Self {
        self.metadata.deprecated_since = Some(version);
        self
    }

    /// Sets what to use instead.
    pub const fn replaced_by(mut self, what: &'static str) -> Self {
        self.metadata.replaced_by = Some(what);
        self
    }

    /// Sets the argument tree.
    pub const fn args(mut self, args: &'static [Arg]) -> Self {
        self.metadata.args = args;
        self
    }

    /// Sets the subcommands.
    pub const fn subcommands(mut self, subcommands: &'static [&'static CommandSpec]) -> Self {
        self.metadata.is_container = !subcommands.is_empty();
        self.subcommands = subcommands;
        self
    }

    /// Sets the function that decides which arguments are secrets.
    pub const fn secrets(mut self, is_secret: fn(Args<'_>, usize) -> bool) -> Self {
        self.metadata.secrets = Some(is_secret);
        self
    }

    /// Sets the channels among the arguments.
    pub const fn channels(mut self, channels: Channels) -> Self {
        self.metadata.channels = Some(channels);
        self
    }

    /// Sets the function that finds the databases among the arguments.
    pub const fn databases(mut self, find: FindDatabases) -> Self {
        self.metadata.databases = Some(find);
        self
    }

    /// Sets the function that computes the flags of the keys.
    pub const fn variable_flags(mut self, flags: fn(Args<'_>) -> KeyFlags) -> Self {
        self.metadata.variable_flags = Some(flags);
        self
    }
}

/// Handler of containers: dispatch resolves subcommands before it gets here.
pub fn container(_: &mut Context<'_, '_>) -> CommandResult {
    Err(CommandError::Syntax)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARED: CommandSpec = CommandSpec::BASE
        .group(Group::List)
        .flags(Flags::WRITE)
        .since("2.0.0");

    #[test]
    fn flags_and_categories_add_up() {
        let command = SHARED
            .named("x", -2, container)
            .flags(Flags::BLOCKING)
            .categories(Categories::DANGEROUS)
            .categories(Categories::KEYSPACE);
        assert!(command.metadata.flags.has(Flags::WRITE.or(Flags::BLOCKING)));
        let names: Vec<&str> = command.metadata.all_categories().names().collect();
        assert_eq!(
            names,
            ["keyspace", "write", "list", "slow", "blocking", "dangerous"]
        );
        assert_eq!(command.metadata.since, "2.0.0");
        assert_eq!(command.metadata.arity, -2);
    }

    #[test]
    fn a_container_is_in_no_category_of_its_group() {
        let container = CommandSpec::container("x", -2)
            .group(Group::List)
            .subcommands(&[&SHARED]);
        let names: Vec<&str> = container.metadata.all_categories().names().collect();
        assert_eq!(names, ["slow"]);
    }

    #[test]
    fn a_reader_of_the_scripting_group_is_not_in_read() {
        let command = SHARED.group(Group::Scripting);
        assert!(command.metadata.all_categories().has(Categories::SCRIPTING));
        let reader = CommandSpec::BASE
            .group(Group::Scripting)
            .flags(Flags::READONLY.or(Flags::FAST));
        let names: Vec<&str> = reader.metadata.all_categories().names().collect();
        assert_eq!(names, ["fast", "scripting"]);
    }

    #[test]
    fn internal_flags_have_no_name() {
        let internal = Flags::PROTECTED
            .or(Flags::MAY_REPLICATE)
            .or(Flags::IS_EXEC)
            .or(Flags::RUNS_IN_MULTI)
            .or(Flags::REFUSED_WITH_WRITES)
            .or(Flags::TOUCHES_ALWAYS);
        let names: Vec<&str> = internal.or(Flags::FAST).names().collect();
        assert_eq!(names, ["fast"]);
    }
}
