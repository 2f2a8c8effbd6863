//! A command as data, and how it is built.

use resp::Args;

use super::{
    Arg, Categories, CommandResult, Flags, Group, Handler, KeyFlags, KeyPositions, KeySpec, Locks,
    NestedHandler, Runs,
};
use crate::context::Context;
use crate::error::CommandError;

/// Everything the server knows about one command or subcommand.
pub struct CommandSpec {
    /// Lower-case name; a subcommand has its own name only (`get` of `config`).
    pub name: &'static str,
    /// Arguments including the name; negative: at least that many. Of a subcommand: including
    /// both names.
    pub arity: i32,
    /// Behaviour.
    pub flags: Flags,
    /// ACL categories beyond those that the flags and the group imply.
    pub categories: Categories,
    /// Where its keys are.
    pub keys: &'static [KeySpec],
    /// Finds the keys in place of `keys`, which then only describe them: for syntax that no
    /// specification covers.
    pub find_keys: Option<fn(Args<'_>) -> KeyPositions>,
    /// What is locked while it runs.
    pub locks: Locks,
    /// Group of the documentation.
    pub group: Group,
    /// Version of Redis (or Valkey, or Lodestore) that introduced it.
    pub since: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Complexity, as a sentence.
    pub complexity: &'static str,
    /// Command tips for clients and proxies.
    pub hints: &'static [&'static str],
    /// Version that deprecated it.
    pub deprecated_since: Option<&'static str>,
    /// What to use instead.
    pub replaced_by: Option<&'static str>,
    /// Argument tree.
    pub args: &'static [Arg],
    /// Subcommands; not empty for a container.
    pub subcommands: &'static [&'static CommandSpec],
    /// Decides which arguments, by index, are secrets: MONITOR and the command log hide them.
    pub secrets: Option<fn(Args<'_>, usize) -> bool>,
    /// Computes the flags of the keys from the arguments, for [`KeyFlags::VARIABLE_FLAGS`].
    pub variable_flags: Option<fn(Args<'_>) -> KeyFlags>,
    /// Runs it. A container's own handler is reached only when no subcommand is required.
    pub runs: Runs,
}

impl CommandSpec {
    /// Without name and handler: what several commands have in common is added to it, and
    /// [`CommandSpec::named`] makes it each of them.
    pub const BASE: Self = Self {
        name: "",
        arity: 1,
        flags: Flags::NONE,
        categories: Categories::NONE,
        keys: &[],
        find_keys: None,
        locks: Locks::Keys,
        group: Group::Generic,
        since: "1.0.0",
        summary: "",
        complexity: "",
        hints: &[],
        deprecated_since: None,
        replaced_by: None,
        args: &[],
        subcommands: &[],
        secrets: None,
        variable_flags: None,
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

    /// A command that only has subcommands.
    pub const fn container(name: &'static str, arity: i32) -> Self {
        Self::new(name, arity, container)
    }

    /// Makes what several commands have in common one of them.
    pub const fn named(mut self, name: &'static str, arity: i32, handler: Handler) -> Self {
        self.name = name;
        self.arity = arity;
        self.runs = Runs::Handler(handler);
        self
    }

    /// Adds flags.
    pub const fn flags(mut self, flags: Flags) -> Self {
        self.flags = self.flags.or(flags);
        self
    }

    /// Adds ACL categories beyond those that the flags and the group imply.
    pub const fn categories(mut self, categories: Categories) -> Self {
        self.categories = self.categories.or(categories);
        self
    }

    /// Sets the key specifications.
    pub const fn keys(mut self, keys: &'static [KeySpec]) -> Self {
        self.keys = keys;
        self
    }

    /// Sets the function that finds the keys.
    pub const fn find_keys(mut self, find: fn(Args<'_>) -> KeyPositions) -> Self {
        self.find_keys = Some(find);
        self
    }

    /// Sets what is locked.
    pub const fn locks(mut self, locks: Locks) -> Self {
        self.locks = locks;
        self
    }

    /// Sets the group of the documentation.
    pub const fn group(mut self, group: Group) -> Self {
        self.group = group;
        self
    }

    /// Sets the version that introduced it.
    pub const fn since(mut self, version: &'static str) -> Self {
        self.since = version;
        self
    }

    /// Sets the summary: one sentence.
    pub const fn summary(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    /// Sets the complexity.
    pub const fn complexity(mut self, complexity: &'static str) -> Self {
        self.complexity = complexity;
        self
    }

    /// Sets the command tips.
    pub const fn hints(mut self, hints: &'static [&'static str]) -> Self {
        self.hints = hints;
        self
    }

    /// Sets the version that deprecated it.
    pub const fn deprecated_since(mut self, version: &'static str) -> Self {
        self.deprecated_since = Some(version);
        self
    }

    /// Sets what to use instead.
    pub const fn replaced_by(mut self, what: &'static str) -> Self {
        self.replaced_by = Some(what);
        self
    }

    /// Sets the argument tree.
    pub const fn args(mut self, args: &'static [Arg]) -> Self {
        self.args = args;
        self
    }

    /// Sets the subcommands.
    pub const fn subcommands(mut self, subcommands: &'static [&'static CommandSpec]) -> Self {
        self.subcommands = subcommands;
        self
    }

    /// Sets the function that decides which arguments are secrets.
    pub const fn secrets(mut self, is_secret: fn(Args<'_>, usize) -> bool) -> Self {
        self.secrets = Some(is_secret);
        self
    }

    /// Sets the function that computes the flags of the keys.
    pub const fn variable_flags(mut self, flags: fn(Args<'_>) -> KeyFlags) -> Self {
        self.variable_flags = Some(flags);
        self
    }

    /// ACL categories, with those that the flags and the group imply. A container that only has
    /// subcommands is in no category of its group.
    pub const fn all_categories(&self) -> Categories {
        let mut set = self.categories;
        if self.subcommands.is_empty() {
            set = set.or(self.group.category());
        }
        if self.flags.has(Flags::WRITE) {
            set = set.or(Categories::WRITE);
        }
        if self.flags.has(Flags::READONLY) && !set.any(Categories::SCRIPTING) {
            set = set.or(Categories::READ);
        }
        if self.flags.has(Flags::ADMIN) {
            set = set.or(Categories::ADMIN).or(Categories::DANGEROUS);
        }
        if self.flags.has(Flags::PUBSUB) {
            set = set.or(Categories::PUBSUB);
        }
        if self.flags.has(Flags::BLOCKING) {
            set = set.or(Categories::BLOCKING);
        }
        set.or(match self.flags.has(Flags::FAST) {
            true => Categories::FAST,
            false => Categories::SLOW,
        })
    }
    /// True when `argc` arguments (names included) fit the arity.
    #[inline]
    pub const fn arity_fits(&self, argc: usize) -> bool {
        if self.arity >= 0 {
            argc == self.arity as usize
        } else {
            argc >= self.arity.unsigned_abs() as usize
        }
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
        assert!(command.flags.has(Flags::WRITE.or(Flags::BLOCKING)));
        let names: Vec<&str> = command.all_categories().names().collect();
        assert_eq!(
            names,
            ["keyspace", "write", "list", "slow", "blocking", "dangerous"]
        );
        assert_eq!(command.since, "2.0.0");
        assert_eq!(command.arity, -2);
    }

    #[test]
    fn a_container_is_in_no_category_of_its_group() {
        let container = CommandSpec::container("x", -2)
            .group(Group::List)
            .subcommands(&[&SHARED]);
        let names: Vec<&str> = container.all_categories().names().collect();
        assert_eq!(names, ["slow"]);
    }

    #[test]
    fn a_reader_of_the_scripting_group_is_not_in_read() {
        let command = SHARED.group(Group::Scripting);
        assert!(command.all_categories().has(Categories::SCRIPTING));
        let reader = CommandSpec::BASE
            .group(Group::Scripting)
            .flags(Flags::READONLY.or(Flags::FAST));
        let names: Vec<&str> = reader.all_categories().names().collect();
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
