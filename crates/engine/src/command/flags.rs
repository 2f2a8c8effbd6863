//! Sets of flags: of commands, of ACL categories, and of keys.

/// Declares a set: each flag with its bit and with its name in the replies of COMMAND. A flag
/// without a name is internal.
macro_rules! flag_set {
    (
        $(#[$set_doc:meta])*
        $set:ident: $bits:ty { $( $(#[$doc:meta])* $flag:ident = $bit:literal $(: $text:literal)?, )* }
    ) => {
        $(#[$set_doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq)]
        pub struct $set(pub $bits);

        impl $set {
            /// The empty set.
            pub const NONE: Self = Self(0);
            $( $(#[$doc])* pub const $flag: Self = Self(1 << $bit); )*

            /// All flags with a name.
            pub const ALL: Self = Self(0 $( $( | { let _ = $text; Self::$flag.0 } )? )*);

            const DISTINCT: () = assert!(
                (0 $( + (1u64 << $bit) )*) == (0 $( | (1u64 << $bit) )*),
                "two flags have the same bit"
            );

            const NAMES: &[(Self, &str)] = &[$( $( (Self::$flag, $text), )? )*];

            /// Both sets.
            pub const fn or(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// The flags that are not in `other`.
            pub const fn without(self, other: Self) -> Self {
                Self(self.0 & !other.0)
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

            /// The flag of this name, in any case.
            pub fn named(name: &[u8]) -> Option<Self> {
                let mut names = Self::NAMES.iter();
                let found = names.find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(name));
                found.map(|(flag, _)| *flag)
            }

            /// Names of the flags in the set, in the order of their declaration.
            pub fn names(self) -> impl Iterator<Item = &'static str> {
                let () = Self::DISTINCT;
                let set = Self::NAMES.iter().filter(move |(flag, _)| self.has(*flag));
                set.map(|(_, name)| *name)
            }
        }
    };
}

flag_set! {
    /// Behaviour of a command, as Redis's command flags. COMMAND shows them in this order.
    Flags: u32 {
        /// May change data.
        WRITE = 0: "write",
        /// Reads data and never changes it.
        READONLY = 1: "readonly",
        /// Refused when memory is above `maxmemory` and nothing can be evicted.
        DENYOOM = 2: "denyoom",
        /// Administrative.
        ADMIN = 3: "admin",
        /// Belongs to publish/subscribe.
        PUBSUB = 4: "pubsub",
        /// Not callable from scripts.
        NOSCRIPT = 5: "noscript",
        /// May block its client.
        BLOCKING = 6: "blocking",
        /// Allowed while the data set is loading.
        LOADING = 7: "loading",
        /// Allowed on a replica with stale data.
        STALE = 8: "stale",
        /// Not shown to MONITOR clients.
        SKIP_MONITOR = 9: "skip_monitor",
        /// Not recorded by the command log.
        SKIP_COMMANDLOG = 10: "skip_commandlog",
        /// Accepts an importing slot without ASKING.
        ASKING = 11: "asking",
        /// Constant or logarithmic time.
        FAST = 12: "fast",
        /// Allowed before authentication.
        NO_AUTH = 13: "no_auth",
        /// May be called without any key.
        NO_MANDATORY_KEYS = 14: "no_mandatory_keys",
        /// Not allowed while loading asynchronously.
        NO_ASYNC_LOADING = 15: "no_async_loading",
        /// Not allowed inside MULTI.
        NO_MULTI = 16: "no_multi",
        /// Allowed while a script keeps the server busy.
        ALLOW_BUSY = 17: "allow_busy",
        /// Not a write, but may have something to propagate.
        MAY_REPLICATE = 18,
        /// Gated by an `enable-*-command` parameter.
        PROTECTED = 19,
        /// Counts as an access to its keys, even after CLIENT NO-TOUCH.
        TOUCHES_ALWAYS = 20,
        /// Refused like a write after a failed snapshot or AOF write, to report the failure.
        REFUSED_WITH_WRITES = 21,
        /// Runs at once inside MULTI, where other commands are queued.
        RUNS_IN_MULTI = 22,
        /// Is EXEC: runs the queued commands.
        IS_EXEC = 23,
        /// Allowed for a RESP2 client that is subscribed to something.
        SUBSCRIBER = 24,
        /// Takes `Config::lock_changes`; EXEC takes it before its shards.
        LOCKS_CONFIG = 25,
        /// Reads data and shows none of it: its reply does not wait for what a crash could take
        /// back.
        SHOWS_NO_DATA = 26,
        /// Works on the keys of all databases.
        ALL_DATABASES = 27,
    }
}

impl Flags {
    /// The reply may depend on data.
    pub const fn shows_data(self) -> bool {
        let reads = Self::WRITE.or(Self::READONLY).or(Self::MAY_REPLICATE);
        self.any(reads.or(Self::IS_EXEC)) && !self.has(Self::SHOWS_NO_DATA)
    }

    /// Needs no data: allowed while loading and on a replica with stale data.
    pub const ANY_TIME: Self = Self::LOADING.or(Self::STALE);
}

flag_set! {
    /// ACL categories.
    Categories: u32 {
        /// `@keyspace`
        KEYSPACE = 0: "keyspace",
        /// `@read`
        READ = 1: "read",
        /// `@write`
        WRITE = 2: "write",
        /// `@set`
        SET = 3: "set",
        /// `@sortedset`
        SORTEDSET = 4: "sortedset",
        /// `@list`
        LIST = 5: "list",
        /// `@hash`
        HASH = 6: "hash",
        /// `@string`
        STRING = 7: "string",
        /// `@bitmap`
        BITMAP = 8: "bitmap",
        /// `@hyperloglog`
        HYPERLOGLOG = 9: "hyperloglog",
        /// `@geo`
        GEO = 10: "geo",
        /// `@stream`
        STREAM = 11: "stream",
        /// `@pubsub`
        PUBSUB = 12: "pubsub",
        /// `@admin`
        ADMIN = 13: "admin",
        /// `@fast`
        FAST = 14: "fast",
        /// `@slow`
        SLOW = 15: "slow",
        /// `@blocking`
        BLOCKING = 16: "blocking",
        /// `@dangerous`
        DANGEROUS = 17: "dangerous",
        /// `@connection`
        CONNECTION = 18: "connection",
        /// `@transaction`
        TRANSACTION = 19: "transaction",
        /// `@scripting`
        SCRIPTING = 20: "scripting",
    }
}

flag_set! {
    /// The effects of a command on the keys of one specification.
    KeyFlags: u16 {
        /// Reads the value only.
        RO = 0: "RO",
        /// Reads and changes the value.
        RW = 1: "RW",
        /// Overwrites the value.
        OW = 2: "OW",
        /// Removes the key.
        RM = 3: "RM",
        /// Returns or copies user data.
        ACCESS = 4: "access",
        /// Changes user data.
        UPDATE = 5: "update",
        /// Only adds user data.
        INSERT = 6: "insert",
        /// Only removes user data.
        DELETE = 7: "delete",
        /// Not a key, but routed like one.
        NOT_KEY = 8: "not_key",
        /// The specification may miss keys.
        INCOMPLETE = 9: "incomplete",
        /// The flags depend on other arguments.
        VARIABLE_FLAGS = 10: "variable_flags",
    }
}

impl KeyFlags {
    /// Returns the value and changes it.
    pub const RW_ACCESS_UPDATE: Self = Self::RW.or(Self::ACCESS).or(Self::UPDATE);
    /// Returns data and removes it.
    pub const RW_ACCESS_DELETE: Self = Self::RW.or(Self::ACCESS).or(Self::DELETE);
}
