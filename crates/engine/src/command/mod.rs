//! The description of commands, as data.
//!
//! Every command is one `const` that stands directly above its handler
//! ([`CommandSpec`](crate::execute::CommandSpec)). COMMAND and its subcommands, arity checks, ACL
//! categories, key locking, transactions and the docs pages all derive from these constants;
//! nothing else in the server lists commands.
//!
//! The vocabulary (flags, key specifications, argument trees) is that of Redis's COMMAND reply,
//! because clients and proxies read it.

mod args;
mod flags;
mod keys;
mod metadata;

pub use args::{Arg, ArgKind};
pub use flags::{Categories, Flags, KeyFlags};
pub use keys::{
    BeginSearch, Callee, Channels, DatabaseArgs, FindDatabases, FindKeys, KeyPosition,
    KeyPositions, KeySpec, Locks, databases_at,
};
pub use metadata::Metadata;

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
    /// The ACL category of the group's commands, if all have one in common.
    pub const fn category(self) -> Categories {
        match self {
            Self::String => Categories::STRING,
            Self::List => Categories::LIST,
            Self::Set => Categories::SET,
            Self::SortedSet => Categories::SORTEDSET,
            Self::Hash => Categories::HASH,
            Self::Transactions => Categories::TRANSACTION,
            Self::Connection => Categories::CONNECTION,
            Self::Scripting => Categories::SCRIPTING,
            Self::HyperLogLog => Categories::HYPERLOGLOG,
            Self::Geo => Categories::GEO,
            Self::Stream => Categories::STREAM,
            Self::Bitmap => Categories::BITMAP,
            Self::Generic
            | Self::PubSub
            | Self::Server
            | Self::Cluster
            | Self::Sentinel
            | Self::Module => Categories::NONE,
        }
    }
}
