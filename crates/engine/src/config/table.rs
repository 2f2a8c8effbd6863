//! The table of configuration parameters. Everything about a parameter stands in its one line here:
//! CONFIG GET, SET and REWRITE, the configuration file, the command line, the environment and the
//! list of limits in COMPAT.md all iterate this table.
//!
//! A line reads
//!
//! ```text
//! Variant = "name" / "alias": kind, "default", FLAG, FLAG;
//! ```
//!
//! and makes both a variant of [`P`] and an entry of [`PARAMETERS`] at the same position. Names,
//! ranges and defaults are those of Valkey 9.1, and of Redis 8 for what only Redis has, so that
//! files written for them load. Defaults that differ on purpose: `appendonly yes` (what is
//! acknowledged is kept) and `syslog-ident lodestore`.

use super::check;
use super::choices::{
    AclPubsubDefault, AppendFsync, Choice, ClusterConfigSave, ClusterEndpoint, LogFormat, LogLevel,
    LogTimestamp, MaxmemoryPolicy, OomScoreAdj, PropagationError, ProtectedAction, RdbModuleValues,
    RdbVersionCheck, ReplDisklessLoad, SYSLOG_FACILITIES, SanitizeDump, Supervised, TlsAuthClients,
    TlsAuthClientsUser, UndeclaredKeys, Word, shutdown,
};
use crate::version::REDIS_VERSION;

/// Special properties of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(u16);

impl Flags {
    /// Nothing special.
    pub const NONE: Flags = Flags(0);
    /// Only a start can set it.
    pub const IMMUTABLE: Flags = Flags(1);
    /// Its value is a secret: redacted in logs, MONITOR and the slow log.
    pub const SENSITIVE: Flags = Flags(1 << 1);
    /// CONFIG GET shows it only when asked by its full name.
    pub const HIDDEN: Flags = Flags(1 << 2);
    /// CONFIG SET needs `enable-protected-configs`.
    pub const PROTECTED: Flags = Flags(1 << 3);
    /// CONFIG SET refuses it while data is being loaded.
    pub const DENY_LOADING: Flags = Flags(1 << 4);
    /// Setting it to the value it has is a change too (files may have new contents).
    pub const VOLATILE: Flags = Flags(1 << 5);
    /// Valkey does not have it. CONFIG SET to the value that it has is accepted even where only a
    /// start can set it: tools that set all that CONFIG GET shows know the others by name.
    pub const OWN: Flags = Flags(1 << 9);
    /// Accepted for the sake of existing configurations; it has no effect in Lodestore.
    pub const INERT: Flags = Flags(1 << 6);
    /// Stored and reported, but what it steers is not built yet.
    pub const LATER: Flags = Flags(1 << 7);
    /// Together with `LATER`: any value but the default is refused, because a server that went on
    /// without it would do harm (no TLS where TLS was asked for, a primary where a replica was
    /// asked for).
    pub const REFUSED: Flags = Flags(1 << 8);

    const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether all of `other` is set.
    #[must_use]
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A plain decimal integer.
    Plain,
    /// Bytes, with an optional `k`, `kb`, `m`, `mb`, `g` or `gb`.
    Memory,
    /// Bytes, or a share of `maxmemory` like `5%`, stored as the negative percentage.
    MemoryOrPercent,
    /// As `Memory`, up to 2^64 - 1: the number holds the same bits. Or a share of the memory there
    /// is, like `75%`, which is stored in bytes.
    UnsignedMemoryOrShare,
    /// Bytes, or a plain negative integer with a meaning of its own.
    SignedMemory,
    /// Octal digits.
    Octal,
}

/// The form of a parameter's values.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `yes` or `no`; stored as 1 or 0.
    Bool,
    /// A number between `min` and `max` inclusive.
    Number {
        /// The smallest value.
        min: i64,
        /// The largest value.
        max: i64,
        /// How it is written.
        unit: Unit,
    },
    /// One word of a list.
    Choice(&'static [Word]),
    /// Several words of a list, stored as bits.
    Flags(&'static [Word]),
    /// The letters of `notify-keyspace-events`, stored as the bits of [`super::events`].
    Events,
    /// Any text that `check` accepts.
    Text {
        /// Refuses a text with the reason.
        check: check::Check,
        /// An empty text means "not set", and a rewritten file does not mention it.
        empty_is_unset: bool,
    },
    /// The working directory; always stored as an absolute path.
    Dir,
    /// Points in time and changes at which snapshots are saved.
    Save,
    /// The output buffer limits of the client classes.
    OutputLimits,
    /// Listening addresses.
    Addresses,
    /// Out-of-memory scores of the process in its roles.
    OomScores,
    /// Percentiles between 0 and 100.
    Percentiles,
    /// Versions of the RDB format in order of preference.
    RdbVersions,
    /// A host and a port, or nothing.
    ReplicaOf,
}

impl Kind {
    /// Whether the value is stored as a number; otherwise it is stored as text.
    #[must_use]
    pub const fn is_number(&self) -> bool {
        matches!(
            self,
            Kind::Bool | Kind::Number { .. } | Kind::Choice(_) | Kind::Flags(_) | Kind::Events
        )
    }

    /// Whether a directive may have any number of arguments, which the kind then checks itself.
    #[must_use]
    pub const fn takes_many(&self) -> bool {
        matches!(
            self,
            Kind::Flags(_)
                | Kind::Save
                | Kind::OutputLimits
                | Kind::Addresses
                | Kind::OomScores
                | Kind::Percentiles
                | Kind::RdbVersions
                | Kind::ReplicaOf
        )
    }
}

/// One configuration parameter.
#[derive(Debug)]
pub struct Parameter {
    /// Its identity; `PARAMETERS[id as usize].id == id`.
    pub id: P,
    /// The name under which it is listed, rewritten and logged.
    pub name: &'static str,
    /// An older name.
    pub alias: Option<&'static str>,
    /// The form of its values.
    pub kind: Kind,
    /// The value when no source sets one. Empty for `dir`, whose default is the directory the
    /// server starts in.
    pub default: &'static str,
    /// Its special properties.
    pub flags: Flags,
}

impl Parameter {
    /// The parameter of this name or alias, in any case.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<&'static Parameter> {
        PARAMETERS.iter().find(|parameter| {
            let is = |spelling: &str| spelling.as_bytes().eq_ignore_ascii_case(name);
            is(parameter.name) || parameter.alias.is_some_and(is)
        })
    }
}

const INT_MIN: i64 = i32::MIN as i64;
const INT_MAX: i64 = i32::MAX as i64;
const UINT_MAX: i64 = u32::MAX as i64;
const MAX: i64 = i64::MAX;
const KB: i64 = 1024;
const MB: i64 = 1024 * KB;

const fn int(min: i64, max: i64) -> Kind {
    Kind::Number {
        min,
        max,
        unit: Unit::Plain,
    }
}

const fn memory(min: i64, max: i64) -> Kind {
    Kind::Number {
        min,
        max,
        unit: Unit::Memory,
    }
}

const fn unsigned_memory_or_share() -> Kind {
    Kind::Number {
        min: 0,
        max: MAX,
        unit: Unit::UnsignedMemoryOrShare,
    }
}

const fn memory_or_percent(min: i64, max: i64) -> Kind {
    Kind::Number {
        min,
        max,
        unit: Unit::MemoryOrPercent,
    }
}

const fn signed_memory(min: i64, max: i64) -> Kind {
    Kind::Number {
        min,
        max,
        unit: Unit::SignedMemory,
    }
}

const fn octal(min: i64, max: i64) -> Kind {
    Kind::Number {
        min,
        max,
        unit: Unit::Octal,
    }
}

const fn choice<T: Choice>() -> Kind {
    Kind::Choice(T::WORDS)
}

const fn text(check: check::Check) -> Kind {
    Kind::Text {
        check,
        empty_is_unset: false,
    }
}

const fn optional(check: check::Check) -> Kind {
    Kind::Text {
        check,
        empty_is_unset: true,
    }
}

macro_rules! parameters {
    ($( $id:ident = $name:literal $(/ $alias:literal)? : $kind:expr, $default:expr $(, $flag:ident)* ; )*) => {
        /// The identity of a parameter: the key of all accessors of [`super::Config`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum P {
            $( #[doc = concat!("`", $name, "`")] $id ),*
        }

        /// All parameters, in the order of [`P`].
        pub static PARAMETERS: &[Parameter] = &[
            $( Parameter {
                id: P::$id,
                name: $name,
                alias: parameters!(@alias $($alias)?),
                kind: $kind,
                default: $default,
                flags: Flags::NONE $( .with(Flags::$flag) )*,
            } ),*
        ];
    };
    (@alias) => { None };
    (@alias $alias:literal) => { Some($alias) };
}

impl P {
    /// The table's entry.
    #[must_use]
    pub fn parameter(self) -> &'static Parameter {
        &PARAMETERS[self as usize]
    }

    /// The parameter's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.parameter().name
    }
}

parameters! {
    // Network.
    Bind = "bind": Kind::Addresses, "* -::*";
    Port = "port": int(0, 65535), "6379";
    UnixSocket = "unixsocket": optional(check::any), "", IMMUTABLE;
    UnixSocketPerm = "unixsocketperm": octal(0, 0o777), "0", IMMUTABLE;
    UnixSocketGroup = "unixsocketgroup": optional(check::any), "", IMMUTABLE;
    TcpBacklog = "tcp-backlog": int(0, INT_MAX), "511", IMMUTABLE;
    TcpKeepalive = "tcp-keepalive": int(0, INT_MAX), "300";
    Timeout = "timeout": int(0, INT_MAX), "0";
    Maxclients = "maxclients": int(1, UINT_MAX), "10000";
    ProtectedMode = "protected-mode": Kind::Bool, "yes";
    HttpPort = "http-port": int(0, 65535), "0", IMMUTABLE, OWN;
    HttpBind = "http-bind": Kind::Addresses, "127.0.0.1", IMMUTABLE, OWN;
    HttpHosts = "http-hosts": text(check::any), "", OWN;
    Mptcp = "mptcp": Kind::Bool, "no", IMMUTABLE, LATER;
    SocketMarkId = "socket-mark-id": int(0, UINT_MAX), "0", IMMUTABLE, LATER;
    MaxNewConnectionsPerCycle = "max-new-connections-per-cycle": int(1, 1000), "10", LATER;
    MaxNewTlsConnectionsPerCycle = "max-new-tls-connections-per-cycle": int(1, 1000), "1";
    BindSourceAddr = "bind-source-addr": optional(check::any), "", LATER;
    RdmaBind = "rdma-bind": Kind::Addresses, "", INERT;
    RdmaPort = "rdma-port": int(0, 65535), "0", INERT;
    RdmaRxSize = "rdma-rx-size": int(64 * KB, 16 * MB), "1048576", IMMUTABLE, INERT;
    RdmaCompletionVector = "rdma-completion-vector": int(-1, 1024), "-1", IMMUTABLE, INERT;

    // Clients and the protocol.
    ClientOutputBufferLimit = "client-output-buffer-limit": Kind::OutputLimits, "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
    ClientQueryBufferLimit = "client-query-buffer-limit": memory(MB, MAX), "1073741824";
    ProtoMaxBulkLen = "proto-max-bulk-len": memory(MB, MAX), "536870912";
    MaxmemoryClients = "maxmemory-clients": memory_or_percent(-100, MAX), "0";
    TrackingTableMaxKeys = "tracking-table-max-keys": int(0, MAX), "1000000";
    AvailabilityZone = "availability-zone": text(check::any), "", LATER;

    // Threads.
    Threads = "threads": int(0, 1024), "0", IMMUTABLE, OWN;
    ThreadsSpread = "threads-spread": Kind::Bool, "no";
    IoThreads = "io-threads": int(1, 256), "1", INERT;
    IoThreadsAlwaysActive = "io-threads-always-active": Kind::Bool, "no", HIDDEN, INERT;
    MinIoThreadsAvoidCopyReply = "min-io-threads-avoid-copy-reply": int(0, INT_MAX), "7", HIDDEN, INERT;
    MinStringSizeAvoidCopyReply = "min-string-size-avoid-copy-reply": int(0, INT_MAX), "16384", HIDDEN, INERT;
    MinStringSizeAvoidCopyReplyThreaded = "min-string-size-avoid-copy-reply-threaded": int(0, INT_MAX), "65536", HIDDEN, INERT;
    PrefetchBatchMaxSize = "prefetch-batch-max-size": int(0, 128), "16", INERT;
    IoThreadsDoReads = "io-threads-do-reads": Kind::Bool, "no", IMMUTABLE, INERT, OWN;
    Lookahead = "lookahead": int(1, INT_MAX), "16", INERT;

    // The process.
    Daemonize = "daemonize": Kind::Bool, "no", IMMUTABLE;
    Supervised = "supervised": choice::<Supervised>(), "no", IMMUTABLE;
    PidFile = "pidfile": optional(check::any), "", IMMUTABLE;
    AlwaysShowLogo = "always-show-logo": Kind::Bool, "no", IMMUTABLE;
    Databases = "databases": int(1, INT_MAX), "16", IMMUTABLE;
    Dir = "dir": Kind::Dir, "", PROTECTED, DENY_LOADING;
    HashSeed = "hash-seed": optional(check::hash_seed), "", IMMUTABLE;
    Hz = "hz": int(0, INT_MAX), "10";
    DisableThp = "disable-thp": Kind::Bool, "yes", IMMUTABLE;
    BackgroundHugePages = "background-huge-pages": Kind::Bool, "yes", IMMUTABLE, OWN;
    OomScoreAdj = "oom-score-adj": choice::<OomScoreAdj>(), "no";
    OomScoreAdjValues = "oom-score-adj-values": Kind::OomScores, "0 200 800";
    ShutdownTimeout = "shutdown-timeout": int(0, INT_MAX), "10";
    ShutdownOnSigint = "shutdown-on-sigint": Kind::Flags(shutdown::WORDS), "default";
    ShutdownOnSigterm = "shutdown-on-sigterm": Kind::Flags(shutdown::WORDS), "default";
    SetProcTitle = "set-proc-title": Kind::Bool, "yes", IMMUTABLE;
    ProcTitleTemplate = "proc-title-template": text(check::title_template), "{title} {listen-addr} {server-mode}";
    IgnoreWarnings = "ignore-warnings": text(check::any), "", INERT;
    CrashMemcheckEnabled = "crash-memcheck-enabled": Kind::Bool, "yes", INERT;
    UseExitOnPanic = "use-exit-on-panic": Kind::Bool, "no", HIDDEN, INERT;
    EnableDebugAssert = "enable-debug-assert": Kind::Bool, "no", IMMUTABLE, HIDDEN, INERT;
    WatchdogPeriod = "watchdog-period": int(0, INT_MAX), "0", HIDDEN, INERT;
    DebugContext = "debug-context": text(check::any), "", HIDDEN, INERT;
    AofRewriteCpulist = "aof-rewrite-cpulist" / "aof_rewrite_cpulist": optional(check::any), "", IMMUTABLE, INERT;
    BgsaveCpulist = "bgsave-cpulist" / "bgsave_cpulist": optional(check::any), "", IMMUTABLE, INERT;
    CrashLogEnabled = "crash-log-enabled": Kind::Bool, "yes";
    ServerCpulist = "server-cpulist" / "server_cpulist": optional(check::any), "", IMMUTABLE, LATER;
    BioCpulist = "bio-cpulist" / "bio_cpulist": optional(check::any), "", IMMUTABLE, LATER;
    JemallocBgThread = "jemalloc-bg-thread": Kind::Bool, "yes";
    LocaleCollate = "locale-collate": text(check::any), "", LATER;
    DynamicHz = "dynamic-hz": Kind::Bool, "yes", INERT;

    // The log of the server's own messages.
    LogLevel = "loglevel": choice::<LogLevel>(), "notice";
    LogFile = "logfile": text(check::any), "", IMMUTABLE;
    LogFormat = "log-format": choice::<LogFormat>(), "legacy";
    LogTimestampFormat = "log-timestamp-format": choice::<LogTimestamp>(), "legacy";
    SyslogEnabled = "syslog-enabled": Kind::Bool, "no", IMMUTABLE;
    SyslogIdent = "syslog-ident": text(check::any), "lodestore", IMMUTABLE;
    SyslogFacility = "syslog-facility": Kind::Choice(SYSLOG_FACILITIES), "local0", IMMUTABLE;
    HideUserDataFromLog = "hide-user-data-from-log": Kind::Bool, "yes";

    // Permissions.
    RequirePass = "requirepass": optional(check::any), "", SENSITIVE;
    EnableProtectedConfigs = "enable-protected-configs": choice::<ProtectedAction>(), "no", IMMUTABLE;
    EnableDebugCommand = "enable-debug-command": choice::<ProtectedAction>(), "no", IMMUTABLE;
    EnableModuleCommand = "enable-module-command": choice::<ProtectedAction>(), "no", IMMUTABLE;
    AclFile = "aclfile": text(check::any), "", IMMUTABLE;
    AclPubsubDefault = "acl-pubsub-default": choice::<AclPubsubDefault>(), "resetchannels";
    AclLogMaxLen = "acllog-max-len": int(0, MAX), "128";
    AuditLog = "audit-log": text(check::any), "";
    AuthTimeout = "auth-timeout": int(0, INT_MAX), "60";

    // Behaviour of commands.
    NotifyKeyspaceEvents = "notify-keyspace-events": Kind::Events, "";
    RedisVersion = "redis-version": text(check::version), REDIS_VERSION;
    ExtendedRedisCompatibility = "extended-redis-compatibility": Kind::Bool, "no";
    ImportMode = "import-mode": Kind::Bool, "no";
    ActiveExpireEffort = "active-expire-effort": int(1, 10), "1", INERT;
    PropagationErrorBehavior = "propagation-error-behavior": choice::<PropagationError>(), "ignore";

    // Slow commands and latency.
    CommandlogExecutionSlowerThan = "commandlog-execution-slower-than" / "slowlog-log-slower-than": int(-1, MAX), "10000";
    CommandlogSlowExecutionMaxLen = "commandlog-slow-execution-max-len" / "slowlog-max-len": int(0, MAX), "128";
    CommandlogRequestLargerThan = "commandlog-request-larger-than": int(-1, MAX), "1048576";
    CommandlogLargeRequestMaxLen = "commandlog-large-request-max-len": int(0, MAX), "128";
    CommandlogReplyLargerThan = "commandlog-reply-larger-than": int(-1, MAX), "1048576";
    CommandlogLargeReplyMaxLen = "commandlog-large-reply-max-len": int(0, MAX), "128";
    LatencyMonitorThreshold = "latency-monitor-threshold": int(0, MAX), "0";
    LatencyTracking = "latency-tracking": Kind::Bool, "yes";
    LatencyTrackingInfoPercentiles = "latency-tracking-info-percentiles": Kind::Percentiles, "50 99 99.9";
    SlowlogEntryMaxArgc = "slowlog-entry-max-argc": int(2, INT_MAX), "32", LATER;
    SlowlogEntryMaxStringLen = "slowlog-entry-max-string-len": int(1, INT_MAX), "128", LATER;

    // Memory and eviction.
    Maxmemory = "maxmemory": unsigned_memory_or_share(), "0";
    MaxmemoryPolicy = "maxmemory-policy": choice::<MaxmemoryPolicy>(), "noeviction";
    MaxmemorySamples = "maxmemory-samples": int(1, 64), "5";
    MaxmemoryEvictionTenacity = "maxmemory-eviction-tenacity": int(0, 100), "10";
    LfuLogFactor = "lfu-log-factor": int(0, INT_MAX), "10";
    LfuDecayTime = "lfu-decay-time": int(0, INT_MAX), "1";
    LazyfreeLazyEviction = "lazyfree-lazy-eviction": Kind::Bool, "yes";
    LazyfreeLazyExpire = "lazyfree-lazy-expire": Kind::Bool, "yes";
    LazyfreeLazyServerDel = "lazyfree-lazy-server-del": Kind::Bool, "yes";
    LazyfreeLazyUserDel = "lazyfree-lazy-user-del": Kind::Bool, "yes";
    LazyfreeLazyUserFlush = "lazyfree-lazy-user-flush": Kind::Bool, "yes";
    ActiveRehashing = "activerehashing": Kind::Bool, "yes", INERT;
    ActiveDefrag = "activedefrag": Kind::Bool, "no", INERT;
    ActiveDefragCycleMin = "active-defrag-cycle-min": int(1, 99), "1", INERT;
    ActiveDefragCycleMax = "active-defrag-cycle-max": int(1, 99), "25", INERT;
    ActiveDefragCycleUs = "active-defrag-cycle-us": int(0, 100000), "500", INERT;
    ActiveDefragThresholdLower = "active-defrag-threshold-lower": int(0, 1000), "10", INERT;
    ActiveDefragThresholdUpper = "active-defrag-threshold-upper": int(0, 1000), "100", INERT;
    ActiveDefragIgnoreBytes = "active-defrag-ignore-bytes": memory(1, MAX), "104857600", INERT;
    ActiveDefragMaxScanFields = "active-defrag-max-scan-fields": int(1, MAX), "1000", INERT;
    KeyMemoryHistograms = "key-memory-histograms": Kind::Bool, "no";

    // The append-only file.
    AppendOnly = "appendonly": Kind::Bool, "yes", DENY_LOADING;
    AppendFsync = "appendfsync": choice::<AppendFsync>(), "everysec";
    AppendFileName = "appendfilename": text(check::file_name), "appendonly.aof", IMMUTABLE;
    AppendDirName = "appenddirname": text(check::dir_name), "appendonlydir", IMMUTABLE;
    AofLoadTruncated = "aof-load-truncated": Kind::Bool, "yes";
    AofTimestampEnabled = "aof-timestamp-enabled": Kind::Bool, "yes";
    NoAppendfsyncOnRewrite = "no-appendfsync-on-rewrite": Kind::Bool, "no", INERT;
    AofUseRdbPreamble = "aof-use-rdb-preamble": Kind::Bool, "yes";
    AutoAofRewritePercentage = "auto-aof-rewrite-percentage": int(0, INT_MAX), "100";
    AutoAofRewriteMinSize = "auto-aof-rewrite-min-size": memory(0, MAX), "67108864";
    AofRewriteIncrementalFsync = "aof-rewrite-incremental-fsync": Kind::Bool, "yes";
    AofDisableAutoGc = "aof-disable-auto-gc": Kind::Bool, "no", HIDDEN;
    AofHistorySeconds = "aof-history-seconds": int(0, MAX), "0";
    BackupDir = "backup-dir": text(check::any), "backups", IMMUTABLE, OWN;
    KeyLoadDelay = "key-load-delay": int(INT_MIN, INT_MAX), "0", HIDDEN;
    LoadingProcessEventsIntervalBytes = "loading-process-events-interval-bytes": int(1024, INT_MAX), "2097152", HIDDEN, INERT;
    AofLoadCorruptTailMaxSize = "aof-load-corrupt-tail-max-size": int(0, MAX), "0", LATER;

    // Snapshots.
    Save = "save": Kind::Save, "3600 1 300 100 60 10000";
    DbFileName = "dbfilename": text(check::file_name), "dump.rdb", PROTECTED;
    RdbCompression = "rdbcompression": Kind::Bool, "yes";
    RdbChecksum = "rdbchecksum": Kind::Bool, "yes", IMMUTABLE;
    RdbVersion = "rdb-version": Kind::RdbVersions, "11 80";
    RdbDelSyncFiles = "rdb-del-sync-files": Kind::Bool, "no";
    RdbSaveIncrementalFsync = "rdb-save-incremental-fsync": Kind::Bool, "yes";
    RdbModuleValues = "rdb-module-values": choice::<RdbModuleValues>(), "refuse";
    RdbVersionCheck = "rdb-version-check": choice::<RdbVersionCheck>(), "strict";
    RdbKeySaveDelay = "rdb-key-save-delay": int(INT_MIN, INT_MAX), "0", HIDDEN;
    StopWritesOnBgsaveError = "stop-writes-on-bgsave-error": Kind::Bool, "yes";
    SanitizeDumpPayload = "sanitize-dump-payload": choice::<SanitizeDump>(), "no", INERT;

    // When small collections stay packed.
    HashMaxListpackEntries = "hash-max-listpack-entries" / "hash-max-ziplist-entries": int(0, MAX), "512";
    HashMaxListpackValue = "hash-max-listpack-value" / "hash-max-ziplist-value": memory(0, MAX), "64";
    ListMaxListpackSize = "list-max-listpack-size" / "list-max-ziplist-size": int(INT_MIN, INT_MAX), "-2";
    ListCompressDepth = "list-compress-depth": int(0, INT_MAX), "0";
    SetMaxIntsetEntries = "set-max-intset-entries": int(0, MAX), "512";
    SetMaxListpackEntries = "set-max-listpack-entries": int(0, MAX), "128";
    SetMaxListpackValue = "set-max-listpack-value": int(0, MAX), "64";
    ZsetMaxListpackEntries = "zset-max-listpack-entries" / "zset-max-ziplist-entries": int(0, MAX), "128";
    ZsetMaxListpackValue = "zset-max-listpack-value" / "zset-max-ziplist-value": memory(0, MAX), "64";
    HllSparseMaxBytes = "hll-sparse-max-bytes": memory(0, MAX), "3000";
    StreamNodeMaxBytes = "stream-node-max-bytes": memory(0, MAX), "4096";
    StreamNodeMaxEntries = "stream-node-max-entries": int(0, MAX), "100";
    StreamIdmpDuration = "stream-idmp-duration": int(1, 86_400), "100";
    StreamIdmpMaxsize = "stream-idmp-maxsize": int(1, 10_000), "100";
    ArraySliceSize = "array-slice-size": int(1, INT_MAX), "4096", LATER;
    ArraySparseKmin = "array-sparse-kmin": int(0, INT_MAX), "5", LATER;
    ArraySparseKmax = "array-sparse-kmax": int(0, INT_MAX), "10", LATER;
    VsetForceSingleThreadedExecution = "vset-force-single-threaded-execution": Kind::Bool, "no", INERT;

    // Scripts.
    BusyReplyThreshold = "busy-reply-threshold" / "lua-time-limit": int(0, MAX), "5000";
    ScriptUndeclaredKeys = "script-undeclared-keys": choice::<UndeclaredKeys>(), "allow";
    ScriptMaxMemory = "script-max-memory": memory(0, MAX), "67108864";
    ScriptRollback = "script-rollback": Kind::Bool, "no";
    ScriptMaxMilliseconds = "script-max-milliseconds": int(0, MAX), "0";
    LuaEnableInsecureApi = "lua-enable-insecure-api" / "lua-enable-deprecated-api": Kind::Bool, "no", HIDDEN, PROTECTED, LATER;

    // Replication.
    ReplicaOf = "replicaof" / "slaveof": Kind::ReplicaOf, "", IMMUTABLE;
    PrimaryUser = "primaryuser" / "masteruser": optional(check::any), "", SENSITIVE;
    PrimaryAuth = "primaryauth" / "masterauth": optional(check::any), "", SENSITIVE;
    ReplicaAnnounceIp = "replica-announce-ip" / "slave-announce-ip": optional(check::any), "";
    ReplicaAnnouncePort = "replica-announce-port" / "slave-announce-port": int(0, 65535), "0";
    ReplicaAnnounced = "replica-announced": Kind::Bool, "yes";
    ReplicaPriority = "replica-priority" / "slave-priority": int(0, INT_MAX), "100";
    ReplicaLazyFlush = "replica-lazy-flush" / "slave-lazy-flush": Kind::Bool, "yes";
    ReplicaServeStaleData = "replica-serve-stale-data" / "slave-serve-stale-data": Kind::Bool, "yes";
    ReplicaReadOnly = "replica-read-only" / "slave-read-only": Kind::Bool, "yes";
    ReplicaIgnoreMaxmemory = "replica-ignore-maxmemory" / "slave-ignore-maxmemory": Kind::Bool, "yes";
    ReplicaIgnoreDiskWriteErrors = "replica-ignore-disk-write-errors": Kind::Bool, "no", LATER;
    MinReplicasToWrite = "min-replicas-to-write" / "min-slaves-to-write": int(0, INT_MAX), "0";
    MinReplicasMaxLag = "min-replicas-max-lag" / "min-slaves-max-lag": int(0, INT_MAX), "10";
    ReplBacklogSize = "repl-backlog-size": memory(1, MAX), "10485760";
    ReplBacklogTtl = "repl-backlog-ttl": int(0, MAX), "3600";
    ReplTimeout = "repl-timeout": int(1, INT_MAX), "60";
    ReplPingReplicaPeriod = "repl-ping-replica-period" / "repl-ping-slave-period": int(1, INT_MAX), "10";
    ReplDisableTcpNodelay = "repl-disable-tcp-nodelay": Kind::Bool, "no";
    ReplMptcp = "repl-mptcp": Kind::Bool, "no", IMMUTABLE, LATER;
    ReplDisklessSync = "repl-diskless-sync": Kind::Bool, "yes";
    ReplDisklessSyncDelay = "repl-diskless-sync-delay": int(0, INT_MAX), "5";
    ReplDisklessSyncMaxReplicas = "repl-diskless-sync-max-replicas": int(0, INT_MAX), "0";
    ReplDisklessLoad = "repl-diskless-load": choice::<ReplDisklessLoad>(), "disabled", DENY_LOADING;
    DualChannelReplicationEnabled = "dual-channel-replication-enabled": Kind::Bool, "no";
    ReplRdbChannel = "repl-rdb-channel": Kind::Bool, "no", HIDDEN, LATER;
    ReplicaFullSyncBufferLimit = "replica-full-sync-buffer-limit": memory(0, MAX), "0";

    // Cluster.
    ClusterEnabled = "cluster-enabled": Kind::Bool, "no", IMMUTABLE, LATER, REFUSED;
    ClusterPort = "cluster-port": int(0, 65535), "0", IMMUTABLE, LATER;
    ClusterDatabases = "cluster-databases": int(1, INT_MAX), "1", IMMUTABLE, LATER;
    ClusterConfigFile = "cluster-config-file": text(check::not_empty), "nodes.conf", IMMUTABLE, LATER;
    ClusterConfigSaveBehavior = "cluster-config-save-behavior": choice::<ClusterConfigSave>(), "sync", LATER;
    ClusterNodeTimeout = "cluster-node-timeout": int(0, MAX), "15000", LATER;
    ClusterPingInterval = "cluster-ping-interval": int(0, MAX), "0", HIDDEN, LATER;
    ClusterBlacklistTtl = "cluster-blacklist-ttl": int(0, MAX), "60", LATER;
    ClusterManualFailoverTimeout = "cluster-manual-failover-timeout": int(1, INT_MAX), "5000", LATER;
    ClusterMigrationBarrier = "cluster-migration-barrier": int(0, INT_MAX), "1", LATER;
    ClusterAllowReplicaMigration = "cluster-allow-replica-migration": Kind::Bool, "yes", LATER;
    ClusterReplicaValidityFactor = "cluster-replica-validity-factor" / "cluster-slave-validity-factor": int(0, INT_MAX), "10", LATER;
    ClusterReplicaNoFailover = "cluster-replica-no-failover" / "cluster-slave-no-failover": Kind::Bool, "no", LATER;
    ClusterRequireFullCoverage = "cluster-require-full-coverage": Kind::Bool, "yes", LATER;
    ClusterAllowReadsWhenDown = "cluster-allow-reads-when-down": Kind::Bool, "no", LATER;
    ClusterAllowPubsubshardWhenDown = "cluster-allow-pubsubshard-when-down": Kind::Bool, "yes", LATER;
    ClusterPreferredEndpointType = "cluster-preferred-endpoint-type": choice::<ClusterEndpoint>(), "ip", LATER;
    ClusterAnnounceIp = "cluster-announce-ip": optional(check::announced_ip), "", LATER;
    ClusterAnnouncePort = "cluster-announce-port": int(0, 65535), "0", LATER;
    ClusterAnnounceTlsPort = "cluster-announce-tls-port": int(0, 65535), "0", LATER;
    ClusterAnnounceBusPort = "cluster-announce-bus-port": int(0, 65535), "0", LATER;
    ClusterAnnounceHostname = "cluster-announce-hostname": optional(check::hostname), "", LATER;
    ClusterAnnounceHumanNodename = "cluster-announce-human-nodename": optional(check::node_name), "", LATER;
    ClusterAnnounceClientIpv4 = "cluster-announce-client-ipv4": optional(check::ipv4), "", LATER;
    ClusterAnnounceClientIpv6 = "cluster-announce-client-ipv6": optional(check::ipv6), "", LATER;
    ClusterAnnounceClientPort = "cluster-announce-client-port": int(0, 65535), "0", LATER;
    ClusterAnnounceClientTlsPort = "cluster-announce-client-tls-port": int(0, 65535), "0", LATER;
    ClusterLinkSendbufLimit = "cluster-link-sendbuf-limit": memory(0, MAX), "0", LATER;
    ClusterMessageGossipPerc = "cluster-message-gossip-perc": int(1, 100), "10", HIDDEN, LATER;
    ClusterSlotStatsEnabled = "cluster-slot-stats-enabled": Kind::Bool, "no", LATER;
    ClusterSlotMigrationLogMaxLen = "cluster-slot-migration-log-max-len": int(0, MAX), "1000", LATER;
    SlotMigrationMaxFailoverReplBytes = "slot-migration-max-failover-repl-bytes": signed_memory(-1, MAX), "0", LATER;
    ClusterCompatibilitySampleRatio = "cluster-compatibility-sample-ratio": int(0, 100), "0", LATER;
    ClusterSlotMigrationHandoffMaxLagBytes = "cluster-slot-migration-handoff-max-lag-bytes": memory(0, MAX), "1048576", LATER;
    ClusterSlotMigrationWritePauseTimeout = "cluster-slot-migration-write-pause-timeout": int(0, MAX), "10000", LATER;

    // TLS.
    TlsPort = "tls-port": int(0, 65535), "0";
    TlsCertFile = "tls-cert-file": optional(check::any), "", VOLATILE;
    TlsKeyFile = "tls-key-file": optional(check::any), "", VOLATILE;
    TlsKeyFilePass = "tls-key-file-pass": optional(check::any), "", SENSITIVE;
    TlsClientCertFile = "tls-client-cert-file": optional(check::any), "", VOLATILE;
    TlsClientKeyFile = "tls-client-key-file": optional(check::any), "", VOLATILE;
    TlsClientKeyFilePass = "tls-client-key-file-pass": optional(check::any), "", SENSITIVE;
    TlsDhParamsFile = "tls-dh-params-file": optional(check::any), "", VOLATILE, INERT;
    TlsCaCertFile = "tls-ca-cert-file": optional(check::any), "", VOLATILE;
    TlsCaCertDir = "tls-ca-cert-dir": optional(check::any), "", VOLATILE;
    TlsAuthClients = "tls-auth-clients": choice::<TlsAuthClients>(), "yes";
    TlsAuthClientsUser = "tls-auth-clients-user": choice::<TlsAuthClientsUser>(), "off";
    TlsProtocols = "tls-protocols": optional(check::tls_protocols), "";
    TlsCiphers = "tls-ciphers": optional(check::any), "";
    TlsCiphersuites = "tls-ciphersuites": optional(check::any), "";
    TlsPreferServerCiphers = "tls-prefer-server-ciphers": Kind::Bool, "no";
    TlsSessionCaching = "tls-session-caching": Kind::Bool, "yes";
    TlsSessionCacheSize = "tls-session-cache-size": int(0, INT_MAX), "20480";
    TlsSessionCacheTimeout = "tls-session-cache-timeout": int(0, INT_MAX), "300";
    TlsAutoReloadInterval = "tls-auto-reload-interval": int(0, INT_MAX), "0";
    TlsReplication = "tls-replication": Kind::Bool, "no";
    TlsCluster = "tls-cluster": Kind::Bool, "no";
}
