//! The command table: what a command is, as data.
//!
//! Every command is one `const` that stands directly above its handler. COMMAND and its
//! subcommands, arity checks, ACL categories, key locking, transactions and the docs pages all
//! derive from these constants; nothing else in the server lists commands.
//!
//! The vocabulary (flags, key specifications, argument trees) is that of Redis's COMMAND reply,
//! because clients and proxies read it.

use resp::Args;
use smallvec::SmallVec;

use crate::context::Context;
use crate::error::CommandError;
use crate::table::KeyPosition;

/// What a handler returns.
pub type CommandResult = Result<Outcome, CommandError>;

/// A handler reads its context, writes a reply and effects, and never waits.
pub type Handler = fn(&mut Context<'_, '_>) -> CommandResult;

/// How a command ended.
#[derive(Debug)]
pub enum Outcome {
    /// The reply stands in the output.
    Done,
    /// Nothing was written; the client waits for what the request says.
    Block(crate::blocking::Block),
}

/// Behaviour of a command, as Redis's command flags.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// May change data.
    pub const WRITE: Self = Self(1 << 0);
    /// Reads data and never changes it.
    pub const READONLY: Self = Self(1 << 1);
    /// Refused when memory is above `maxmemory` and nothing can be evicted.
    pub const DENYOOM: Self = Self(1 << 2);
    /// Administrative.
    pub const ADMIN: Self = Self(1 << 3);
    /// Belongs to publish/subscribe.
    pub const PUBSUB: Self = Self(1 << 4);
    /// Not callable from scripts.
    pub const NOSCRIPT: Self = Self(1 << 5);
    /// May block its client.
    pub const BLOCKING: Self = Self(1 << 6);
    /// Allowed while the data set is loading.
    pub const LOADING: Self = Self(1 << 7);
    /// Allowed on a replica with stale data.
    pub const STALE: Self = Self(1 << 8);
    /// Not shown to MONITOR clients.
    pub const SKIP_MONITOR: Self = Self(1 << 9);
    /// Not recorded by the command log.
    pub const SKIP_COMMANDLOG: Self = Self(1 << 10);
    /// Accepts an importing slot without ASKING.
    pub const ASKING: Self = Self(1 << 11);
    /// Constant or logarithmic time.
    pub const FAST: Self = Self(1 << 12);
    /// Allowed before authentication.
    pub const NO_AUTH: Self = Self(1 << 13);
    /// Not a write, but may have something to propagate.
    pub const MAY_REPLICATE: Self = Self(1 << 14);
    /// Not allowed inside MULTI.
    pub const NO_MULTI: Self = Self(1 << 15);
    /// Allowed while a script keeps the server busy.
    pub const ALLOW_BUSY: Self = Self(1 << 16);
    /// Not allowed while loading asynchronously.
    pub const NO_ASYNC_LOADING: Self = Self(1 << 17);
    /// Also exists in Sentinel.
    pub const SENTINEL: Self = Self(1 << 18);
    /// May be called without any key.
    pub const NO_MANDATORY_KEYS: Self = Self(1 << 19);
    /// Gated by an `enable-*-command` parameter.
    pub const PROTECTED: Self = Self(1 << 20);
    /// Touches keys that its arguments do not name.
    pub const TOUCHES_ARBITRARY_KEYS: Self = Self(1 << 21);

    /// Both sets.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// True when every flag of `other` is set.
    #[inline]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// True when at least one flag of `other` is set.
    #[inline]
    pub const fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// ACL categories that the flags do not imply.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Categories(pub u32);

impl Categories {
    /// No category of its own.
    pub const NONE: Self = Self(0);
    /// `@keyspace`
    pub const KEYSPACE: Self = Self(1 << 0);
    /// `@read`
    pub const READ: Self = Self(1 << 1);
    /// `@write`
    pub const WRITE: Self = Self(1 << 2);
    /// `@set`
    pub const SET: Self = Self(1 << 3);
    /// `@sortedset`
    pub const SORTEDSET: Self = Self(1 << 4);
    /// `@list`
    pub const LIST: Self = Self(1 << 5);
    /// `@hash`
    pub const HASH: Self = Self(1 << 6);
    /// `@string`
    pub const STRING: Self = Self(1 << 7);
    /// `@bitmap`
    pub const BITMAP: Self = Self(1 << 8);
    /// `@hyperloglog`
    pub const HYPERLOGLOG: Self = Self(1 << 9);
    /// `@geo`
    pub const GEO: Self = Self(1 << 10);
    /// `@stream`
    pub const STREAM: Self = Self(1 << 11);
    /// `@pubsub`
    pub const PUBSUB: Self = Self(1 << 12);
    /// `@admin`
    pub const ADMIN: Self = Self(1 << 13);
    /// `@fast`
    pub const FAST: Self = Self(1 << 14);
    /// `@slow`
    pub const SLOW: Self = Self(1 << 15);
    /// `@blocking`
    pub const BLOCKING: Self = Self(1 << 16);
    /// `@dangerous`
    pub const DANGEROUS: Self = Self(1 << 17);
    /// `@connection`
    pub const CONNECTION: Self = Self(1 << 18);
    /// `@transaction`
    pub const TRANSACTION: Self = Self(1 << 19);
    /// `@scripting`
    pub const SCRIPTING: Self = Self(1 << 20);

    /// Names in the order of the bits.
    pub const NAMES: [&'static str; 21] = [
        "keyspace",
        "read",
        "write",
        "set",
        "sortedset",
        "list",
        "hash",
        "string",
        "bitmap",
        "hyperloglog",
        "geo",
        "stream",
        "pubsub",
        "admin",
        "fast",
        "slow",
        "blocking",
        "dangerous",
        "connection",
        "transaction",
        "scripting",
    ];

    /// Both sets.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// True when at least one category of `other` is set.
    pub const fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Command group of the documentation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(
    missing_docs,
    reason = "the names are the groups of Redis's documentation"
)]
pub enum Group {
    Generic,
    String,
    List,
    Set,
    SortedSet,
    Hash,
    PubSub,
    Transactions,
    Connection,
    Server,
    Scripting,
    HyperLogLog,
    Cluster,
    Sentinel,
    Geo,
    Stream,
    Bitmap,
    Module,
}

impl Group {
    /// The name in COMMAND DOCS.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Hash => "hash",
            Self::PubSub => "pubsub",
            Self::Transactions => "transactions",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Scripting => "scripting",
            Self::HyperLogLog => "hyperloglog",
            Self::Cluster => "cluster",
            Self::Sentinel => "sentinel",
            Self::Geo => "geo",
            Self::Stream => "stream",
            Self::Bitmap => "bitmap",
            Self::Module => "module",
        }
    }
}

/// What a command does to the keys of one specification.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyFlags(pub u16);

impl KeyFlags {
    /// Reads the value only.
    pub const RO: Self = Self(1 << 0);
    /// Reads and changes the value.
    pub const RW: Self = Self(1 << 1);
    /// Overwrites the value.
    pub const OW: Self = Self(1 << 2);
    /// Removes the key.
    pub const RM: Self = Self(1 << 3);
    /// Returns or copies user data.
    pub const ACCESS: Self = Self(1 << 4);
    /// Changes user data.
    pub const UPDATE: Self = Self(1 << 5);
    /// Only adds user data.
    pub const INSERT: Self = Self(1 << 6);
    /// Only removes user data.
    pub const DELETE: Self = Self(1 << 7);
    /// Not a key, but routed like one.
    pub const NOT_KEY: Self = Self(1 << 8);
    /// The specification may miss keys.
    pub const INCOMPLETE: Self = Self(1 << 9);
    /// The flags depend on other arguments.
    pub const VARIABLE_FLAGS: Self = Self(1 << 10);

    /// Names in the order of the bits.
    pub const NAMES: [&'static str; 11] = [
        "RO",
        "RW",
        "OW",
        "RM",
        "access",
        "update",
        "insert",
        "delete",
        "not_key",
        "incomplete",
        "variable_flags",
    ];

    /// Both sets.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Where the keys of a specification begin.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum BeginSearch {
    /// At a fixed argument index.
    Index(i32),
    /// After a keyword, searched from `start` (negative: backwards from the end).
    Keyword {
        /// The token, upper case.
        keyword: &'static str,
        /// First index looked at.
        start: i32,
    },
    /// Cannot be told from the arguments alone.
    Unknown,
}

/// How the keys follow each other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum FindKeys {
    /// From the begin to `last` (relative; negative: from the end), every `step`; `limit` as in Redis.
    Range {
        /// Last key relative to the first; -1 is the last argument.
        last: i32,
        /// Distance between keys.
        step: i32,
        /// With `last` -1: stop at 1/limit of the remaining arguments (0 and 1: no limit).
        limit: i32,
    },
    /// A count argument, then the keys.
    KeyNum {
        /// Index of the count, relative to the begin.
        count: i32,
        /// Index of the first key, relative to the begin.
        first: i32,
        /// Distance between keys.
        step: i32,
    },
    /// Cannot be told from the arguments alone.
    Unknown,
}

/// One rule that finds keys among the arguments.
#[derive(Clone, Copy)]
pub struct KeySpec {
    /// What happens to these keys.
    pub flags: KeyFlags,
    /// Where they begin.
    pub begin: BeginSearch,
    /// How they follow each other.
    pub find: FindKeys,
}

impl KeySpec {
    /// One key at argument `index`.
    pub const fn one(index: i32, flags: KeyFlags) -> Self {
        Self::range(index, 0, 1, flags)
    }

    /// Keys from `first` to `last` (relative to the first, or negative from the end) every `step`.
    pub const fn range(first: i32, last: i32, step: i32, flags: KeyFlags) -> Self {
        Self {
            flags,
            begin: BeginSearch::Index(first),
            find: FindKeys::Range {
                last,
                step,
                limit: 0,
            },
        }
    }

    /// A count at argument `index`, followed by that many keys.
    pub const fn counted(index: i32, flags: KeyFlags) -> Self {
        Self {
            flags,
            begin: BeginSearch::Index(index),
            find: FindKeys::KeyNum {
                count: 0,
                first: 1,
                step: 1,
            },
        }
    }
}

/// What the dispatcher locks before the handler runs.
#[derive(Clone, Copy, Debug)]
pub enum Locks {
    /// The shards of the keys that the key specifications find (none when there are none).
    Keys,
    /// Every shard: the command depends on the whole data set.
    All,
    /// Nothing: the handler locks by itself, a shard at a time, or needs no data.
    Own,
    /// One of the others, as the function says of the arguments. For commands that may reach keys which are
    /// no arguments (SORT with patterns).
    ByArguments(fn(Args<'_>) -> Locks),
}

impl Locks {
    /// What a request with these arguments needs; never [`Locks::ByArguments`].
    #[inline]
    pub fn of(self, args: Args<'_>) -> Self {
        match self {
            Self::ByArguments(decide) => decide(args),
            fixed => fixed,
        }
    }
}

/// Positions of the keys among the arguments.
pub type KeyPositions = SmallVec<[KeyPosition; 8]>;

/// Type of one documented argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are those of COMMAND DOCS")]
pub enum ArgKind {
    String,
    Integer,
    Double,
    Key,
    Pattern,
    UnixTime,
    PureToken,
    OneOf,
    Block,
}

impl ArgKind {
    /// The name in COMMAND DOCS.
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::Key => "key",
            Self::Pattern => "pattern",
            Self::UnixTime => "unix-time",
            Self::PureToken => "pure-token",
            Self::OneOf => "oneof",
            Self::Block => "block",
        }
    }
}

/// One node of a command's argument tree, as COMMAND DOCS shows it.
#[derive(Clone, Copy)]
pub struct Arg {
    /// Name of the argument.
    pub name: &'static str,
    /// Its type.
    pub kind: ArgKind,
    /// Literal word before it, or the word itself for a pure token.
    pub token: Option<&'static str>,
    /// Index of the key specification it belongs to.
    pub key_spec: Option<u8>,
    /// Name shown to people when it differs.
    pub display: Option<&'static str>,
    /// May be left out.
    pub optional: bool,
    /// May be repeated.
    pub multiple: bool,
    /// The token is repeated with each value.
    pub multiple_token: bool,
    /// Version of Redis that introduced it, when later than the command.
    pub since: Option<&'static str>,
    /// Version of Redis that deprecated it.
    pub deprecated_since: Option<&'static str>,
    /// Members of a `oneof` or `block`.
    pub args: &'static [Arg],
}

impl Arg {
    /// The common case, for struct update syntax.
    pub const BASE: Self = Self {
        name: "",
        kind: ArgKind::String,
        token: None,
        key_spec: None,
        display: None,
        optional: false,
        multiple: false,
        multiple_token: false,
        since: None,
        deprecated_since: None,
        args: &[],
    };
}

/// Everything the server knows about one command or subcommand.
pub struct Command {
    /// Lower-case name; a subcommand has its own name only (`get` of `config`).
    pub name: &'static str,
    /// Arguments including the name; negative: at least that many. Of a subcommand: including
    /// both names.
    pub arity: i32,
    /// Behaviour.
    pub flags: Flags,
    /// ACL categories beyond those that the flags imply.
    pub categories: Categories,
    /// Where its keys are.
    pub keys: &'static [KeySpec],
    /// Finds the keys in place of `keys`, which then only describe them: for syntax that no specification covers.
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
    pub subcommands: &'static [&'static Command],
    /// Runs it. A container's own handler is reached only when no subcommand is required.
    pub handler: Handler,
}

impl Command {
    /// The common case, for struct update syntax. Its handler refuses, so a command that forgets
    /// its own is noticed by the test over the whole table.
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
        handler: container,
    };

    /// ACL categories including those that the flags imply, by Redis's rules.
    pub const fn all_categories(&self) -> Categories {
        let mut set = self.categories;
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
        if self.flags.has(Flags::FAST) {
            set = set.or(Categories::FAST);
        }
        if self.flags.has(Flags::BLOCKING) {
            set = set.or(Categories::BLOCKING);
        }
        if !set.any(Categories::FAST) {
            set = set.or(Categories::SLOW);
        }
        set
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
