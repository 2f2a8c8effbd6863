//! Where the keys of a command are, and what is locked for it.

use resp::Args;
use smallvec::SmallVec;

use super::KeyFlags;

/// One key of a request: its argument index and the flags of its specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPosition {
    /// Argument index.
    pub index: usize,
    /// Flags of the specification it came from.
    pub flags: u16,
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
    /// Unknown from the arguments alone.
    Unknown,
}

/// How the keys follow each other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum FindKeys {
    /// From the begin to `last` (relative; negative: from the end), every `step`.
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
    /// Unknown from the arguments alone.
    Unknown,
}

/// One rule that finds keys among the arguments.
#[derive(Clone, Copy)]
pub struct KeySpec {
    /// The effects of the command on these keys.
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

    /// Keys that only the command itself can find.
    pub const fn unknown(flags: KeyFlags) -> Self {
        Self {
            flags,
            begin: BeginSearch::Unknown,
            find: FindKeys::Unknown,
        }
    }
}

/// The channels among the arguments of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// The first argument, which a message is published to.
    Publish,
    /// All arguments, which the client subscribes to.
    Subscribe,
    /// The same for patterns.
    SubscribePatterns,
}

/// Finds the databases among the arguments: for each its argument index and its number. Only those
/// are found that exist among so many.
pub type FindDatabases = fn(Args<'_>, u32) -> DatabaseArgs;

/// Argument indexes with the databases that they name.
pub type DatabaseArgs = SmallVec<[(usize, u32); 2]>;

/// The databases that these arguments name; nothing when one of them names none of so many, because
/// the command answers an error then.
pub fn databases_at(
    args: Args<'_>,
    databases: u32,
    indexes: impl IntoIterator<Item = usize>,
) -> DatabaseArgs {
    let database = |index: usize| {
        let number = resp::number::parse_i64(args.get(index)?)?;
        let db = u32::try_from(number).ok().filter(|db| *db < databases)?;
        Some((index, db))
    };
    let found: Option<DatabaseArgs> = indexes.into_iter().map(database).collect();
    found.unwrap_or_default()
}

/// Positions of the keys among the arguments.
pub type KeyPositions = SmallVec<[KeyPosition; 8]>;

/// How a command names the script that it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callee {
    /// By its text.
    Body,
    /// By its digest.
    Digest,
    /// By the name of a function.
    Function,
}

/// The shards that are locked before the handler runs.
#[derive(Clone, Copy, Debug)]
pub enum Locks {
    /// The shards of the keys that the key specifications find (none when there are none).
    Keys,
    /// Every shard: the command depends on the whole data set.
    All,
    /// Nothing: the handler locks by itself, a shard at a time, or needs no data.
    Own,
    /// The shards of everything that the client's transaction has queued and watches.
    Queued,
    /// The shards of its keys, or further ones as it runs: the command calls a script.
    Script(Callee),
    /// One of the others: the function decides by the arguments. For commands that may reach keys
    /// which are no arguments (SORT with patterns).
    ByArguments(fn(Args<'_>) -> Locks),
}

impl Locks {
    /// The locks of a request with these arguments; never [`Locks::ByArguments`].
    #[inline]
    pub fn of(self, args: Args<'_>) -> Self {
        match self {
            Self::ByArguments(decide) => decide(args),
            fixed => fixed,
        }
    }
}
