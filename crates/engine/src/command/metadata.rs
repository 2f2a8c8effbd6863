//! A command as data.

use resp::Args;

use super::{
    Arg, Categories, Channels, FindDatabases, Flags, Group, KeyFlags, KeyPositions, KeySpec, Locks,
};

/// The description of a command or subcommand, without the function that runs it.
pub struct Metadata {
    /// Lower-case name; a subcommand has its own name only (`get` of `config`).
    pub name: &'static str,
    /// Arguments including the name; negative: at least that many. Of a subcommand: including
    /// both names.
    pub arity: i32,
    /// Further arguments that only Lodestore knows. COMMAND tells the arity without them.
    pub own_args: usize,
    /// Behaviour.
    pub flags: Flags,
    /// ACL categories beyond those that the flags and the group imply.
    pub categories: Categories,
    /// Where its keys are.
    pub keys: &'static [KeySpec],
    /// Finds the keys in place of `keys`, which then only describe them: for syntax that no
    /// specification covers.
    pub find_keys: Option<fn(Args<'_>) -> KeyPositions>,
    /// The shards that are locked while it runs.
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
    /// The command to use instead.
    pub replaced_by: Option<&'static str>,
    /// Argument tree.
    pub args: &'static [Arg],
    /// It has subcommands.
    pub is_container: bool,
    /// Decides which arguments, by index, are secrets: MONITOR and the command log hide them.
    pub secrets: Option<fn(Args<'_>, usize) -> bool>,
    /// Computes the flags of the keys from the arguments, for [`KeyFlags::VARIABLE_FLAGS`].
    pub variable_flags: Option<fn(Args<'_>) -> KeyFlags>,
    /// The channels among its arguments.
    pub channels: Option<Channels>,
    /// Finds the databases that its arguments name.
    pub databases: Option<FindDatabases>,
}

impl Metadata {
    /// A command without a name, without keys and arguments.
    pub const EMPTY: Self = Self {
        name: "",
        arity: 1,
        own_args: 0,
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
        is_container: false,
        secrets: None,
        variable_flags: None,
        channels: None,
        databases: None,
    };

    /// Some of its arguments may be keys.
    pub fn has_keys(&self) -> bool {
        let is_key = |spec: &KeySpec| !spec.flags.has(KeyFlags::NOT_KEY);
        self.find_keys.is_some() || self.keys.iter().any(is_key)
    }

    /// It works on the keys of a database, whether or not they are arguments.
    pub fn is_about_keys(&self) -> bool {
        let about = Categories::KEYSPACE
            .or(Categories::READ)
            .or(Categories::WRITE);
        self.has_keys() || self.all_categories().any(about)
    }

    /// ACL categories, with those that the flags and the group imply. A container that only has
    /// subcommands is in no category of its group.
    pub const fn all_categories(&self) -> Categories {
        let mut set = self.categories;
        if !self.is_container {
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
            let least = self.arity as usize;
            argc >= least && argc <= least + self.own_args
        } else {
            argc >= self.arity.unsigned_abs() as usize
        }
    }
}
