//! The parameters whose value is one word of a list (or several, or-ed).
//!
//! Each list is a Rust enum and its table of spellings at once, so that the word in a configuration
//! file, the number that is stored and the variant that code matches on cannot diverge. The order
//! of the words is the order in which error texts list them, which clients see.

/// A word of a list and the number it is stored as.
pub type Word = (&'static str, i64);

/// A parameter value that is one of a list of words.
pub trait Choice: Copy {
    /// All spellings. Two words may mean the same; the first is the canonical one.
    const WORDS: &'static [Word];

    /// The variant stored as `number`; the first variant for a number that no variant has.
    fn from_number(number: i64) -> Self;
}

macro_rules! choices {
    ($( $(#[$doc:meta])* $name:ident { $( $variant:ident = $word:literal $(| $more:literal)* ),* $(,)? } )*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name {
            $(
                #[doc = concat!("Written `", $word, "`.")]
                $variant
            ),*
        }

        impl Choice for $name {
            const WORDS: &'static [Word] = &[
                $( ($word, $name::$variant as i64), $( ($more, $name::$variant as i64), )* )*
            ];

            fn from_number(number: i64) -> Self {
                let all = [$( $name::$variant ),*];
                all.iter().copied().find(|variant| *variant as i64 == number).unwrap_or(all[0])
            }
        }

        impl $name {
            /// The canonical word.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $( $name::$variant => $word ),* }
            }
        }
    )* };
}

choices! {
    /// How much is logged (`loglevel`): everything from this level on.
    LogLevel { Debug = "debug", Verbose = "verbose", Notice = "notice", Warning = "warning", Nothing = "nothing" }

    /// The treatment of values of modules in snapshots (`rdb-module-values`).
    RdbModuleValues { Refuse = "refuse", Skip = "skip" }

    /// The treatment of keys that a script uses and did not declare (`script-undeclared-keys`).
    UndeclaredKeys { Allow = "allow", Deny = "deny" }

    /// Which keys are evicted when memory is full (`maxmemory-policy`).
    MaxmemoryPolicy {
        VolatileLru = "volatile-lru", VolatileLfu = "volatile-lfu", VolatileRandom = "volatile-random",
        VolatileTtl = "volatile-ttl", AllkeysLru = "allkeys-lru", AllkeysLfu = "allkeys-lfu",
        AllkeysRandom = "allkeys-random", NoEviction = "noeviction",
    }

    /// When the append-only file is synced (`appendfsync`).
    AppendFsync { EverySecond = "everysec", Always = "always", No = "no" }

    /// Which supervisor started the process (`supervised`).
    Supervised { Upstart = "upstart", Systemd = "systemd", Auto = "auto", No = "no" }

    /// Whether the kernel's out-of-memory score is set (`oom-score-adj`).
    OomScoreAdj { No = "no", Relative = "yes" | "relative", Absolute = "absolute" }

    /// Which clients may use a dangerous command or parameter (`enable-debug-command` and the
    /// like).
    ProtectedAction { No = "no", Yes = "yes", Local = "local" }

    /// The form of a log line (`log-format`).
    LogFormat { Legacy = "legacy", Logfmt = "logfmt", Json = "json" }

    /// The form of the time in a log line (`log-timestamp-format`).
    LogTimestamp { Legacy = "legacy", Iso8601 = "iso8601", Milliseconds = "milliseconds" }

    /// Where a replica loads a full synchronisation to (`repl-diskless-load`).
    ReplDisklessLoad {
        Disabled = "disabled", OnEmptyDb = "on-empty-db", SwapDb = "swapdb", FlushBeforeLoad = "flush-before-load",
    }

    /// Whether TLS clients must show a certificate (`tls-auth-clients`).
    TlsAuthClients { No = "no", Yes = "yes", Optional = "optional" }

    /// Which field of a client's certificate names its user (`tls-auth-clients-user`).
    TlsAuthClientsUser { CommonName = "CN", Uri = "URI", Off = "off" }

    /// The channels a new user may use (`acl-pubsub-default`).
    AclPubsubDefault { AllChannels = "allchannels", ResetChannels = "resetchannels" }

    /// The name under which cluster nodes send clients elsewhere
    /// (`cluster-preferred-endpoint-type`).
    ClusterEndpoint { Ip = "ip", Hostname = "hostname", Unknown = "unknown-endpoint" }

    /// The reaction when the cluster's file cannot be written (`cluster-config-save-behavior`).
    ClusterConfigSave { Sync = "sync", BestEffort = "best-effort" }

    /// The reaction when a replicated command fails (`propagation-error-behavior`).
    PropagationError { Ignore = "ignore", Panic = "panic", PanicOnReplicas = "panic-on-replicas" }

    /// Whether RDB files of unknown later versions are read (`rdb-version-check`).
    RdbVersionCheck { Strict = "strict", Relaxed = "relaxed" }

    /// Which RESTORE payloads Redis validates deeply (`sanitize-dump-payload`). Lodestore validates
    /// all of them.
    SanitizeDump { No = "no", Yes = "yes", Clients = "clients" }
}

/// The words of `syslog-facility` with the numbers of `<syslog.h>`: the facility codes of RFC 5424,
/// section 6.2.1 (`user` is 1, `local0` to `local7` are 16 to 23), shifted over the three bits of
/// the severity. All Unix systems use them.
pub const SYSLOG_FACILITIES: &[Word] = &[
    ("user", 1 << 3),
    ("local0", 16 << 3),
    ("local1", 17 << 3),
    ("local2", 18 << 3),
    ("local3", 19 << 3),
    ("local4", 20 << 3),
    ("local5", 21 << 3),
    ("local6", 22 << 3),
    ("local7", 23 << 3),
];

/// Options of a shutdown by signal (`shutdown-on-sigint`, `shutdown-on-sigterm`): bits, none is the
/// default.
pub mod shutdown {
    /// Save a snapshot even when no save points are configured.
    pub const SAVE: i64 = 1;
    /// Do not save.
    pub const NOSAVE: i64 = 1 << 1;
    /// Do not wait for replicas.
    pub const NOW: i64 = 1 << 2;
    /// Errors do not prevent the shutdown.
    pub const FORCE: i64 = 1 << 3;
    /// Shut down only when nothing is lost by it.
    pub const SAFE: i64 = 1 << 4;
    /// Hand over to a replica first.
    pub const FAILOVER: i64 = 1 << 5;

    pub(crate) const WORDS: &[super::Word] = &[
        ("default", 0),
        ("save", SAVE),
        ("nosave", NOSAVE),
        ("now", NOW),
        ("force", FORCE),
        ("safe", SAFE),
        ("failover", FAILOVER),
    ];
}

/// The number of the first of `words` spelled `word` in any case.
pub(super) fn number_of(words: &[Word], word: &[u8]) -> Option<i64> {
    words
        .iter()
        .find(|(spelling, _)| spelling.as_bytes().eq_ignore_ascii_case(word))
        .map(|(_, number)| *number)
}

/// The canonical word of `number`.
pub(super) fn word_of(words: &[Word], number: i64) -> Option<&'static str> {
    words
        .iter()
        .find(|(_, of)| *of == number)
        .map(|(spelling, _)| *spelling)
}

/// The words that together make `bits`, with spaces between them.
pub(super) fn words_of(words: &[Word], bits: i64) -> String {
    if let Some(word) = word_of(words, bits) {
        return word.to_owned();
    }
    let set: Vec<&str> = words
        .iter()
        .filter(|(_, bit)| *bit != 0 && bits & bit == *bit)
        .map(|(spelling, _)| *spelling)
        .collect();
    set.join(" ")
}

/// The text of a refusal that lists the words there are.
pub(super) fn must_be_one_of(words: &[Word]) -> String {
    let spellings: Vec<&str> = words.iter().map(|(spelling, _)| *spelling).collect();
    format!(
        "argument(s) must be one of the following: {}",
        spellings.join(", ")
    )
}
