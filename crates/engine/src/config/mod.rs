//! Configuration: one table of parameters (`table`), where values come from (the sources of a start
//! through `builder`, CONFIG SET), and where they go (CONFIG GET and the rest of the server).
//!
//! A later source wins over an earlier one. `save` is the exception Redis makes: the first `save`
//! of a start replaces the default points, each further one adds to them, and an empty one removes
//! them all. The server reads and writes the files; this module reads no file and no environment.
//!
//! Reading a parameter is one relaxed atomic load for numbers, and a short lock for texts. Code
//! that caches values derived from the configuration compares [`Config::generation`] once per loop
//! turn and rebuilds them when it changed.

mod builder;
mod check;
mod choices;
mod get;
mod multi;
mod origin;
mod set;
mod table;
#[cfg(test)]
mod tests;
mod value;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use keyspace::Policy;
use persist::rdb::Version;
use values::Thresholds;

pub use builder::{ConfigBuilder, RefusedParameter, Surroundings};
pub use check::Check;
pub use choices::{
    AclPubsubDefault, AppendFsync, Choice, ClusterConfigSave, ClusterEndpoint, LogFormat, LogLevel,
    LogTimestamp, MaxmemoryPolicy, OomScoreAdj, PropagationError, ProtectedAction, RdbModuleValues,
    RdbVersionCheck, ReplDisklessLoad, SYSLOG_FACILITIES, SanitizeDump, Supervised, TlsAuthClients,
    TlsAuthClientsUser, UndeclaredKeys, Word, shutdown,
};
pub use multi::{
    ClientClass, OomScores, OutputLimit, OutputLimits, SavePoint, events, format_percentiles,
    format_rdb_versions, format_save, parse_percentiles, parse_rdb_versions, parse_save,
};
pub use origin::{LoadError, Location, Notice, Origin, Rename, Source, UserLine};
pub use set::{Apply, ConfigError, SetContext};
pub use table::{Flags, Kind, P, PARAMETERS, Parameter, Unit};

use value::Value;

/// Everything that can be configured, shared by all threads.
pub struct Config {
    /// By `P as usize`; meaningful where the kind is a number.
    numbers: Box<[AtomicI64]>,
    /// By `P as usize`; meaningful where the kind is not a number.
    texts: Box<[RwLock<Arc<[u8]>>]>,
    /// Grows with every change that took effect.
    generation: AtomicU64,
    /// By `P as usize`; whether the notice about a parameter without effect was given.
    noticed: Box<[AtomicBool]>,
    /// `save` was set, at the start or at run time.
    save_given: AtomicBool,
    /// Held during a CONFIG SET or REWRITE, so that each is all or nothing for the others.
    changing: Mutex<()>,
    surroundings: Surroundings,
    origin: Origin,
}

impl Default for Config {
    /// The defaults of the table, with the default [`Surroundings`].
    fn default() -> Config {
        Config::new(Surroundings::default())
    }
}

impl Config {
    fn new(surroundings: Surroundings) -> Config {
        let default = |parameter: &Parameter| default_value(parameter, &surroundings);
        let defaults: Vec<Value> = PARAMETERS.iter().map(default).collect();
        let number = |value: &Value| match value {
            Value::Number(number) => AtomicI64::new(*number),
            Value::Text(_) => AtomicI64::new(0),
        };
        let text = |value: &Value| match value {
            Value::Number(_) => RwLock::new(Arc::from([])),
            Value::Text(text) => RwLock::new(Arc::clone(text)),
        };
        Config {
            numbers: defaults.iter().map(number).collect(),
            texts: defaults.iter().map(text).collect(),
            generation: AtomicU64::new(1),
            noticed: PARAMETERS.iter().map(|_| AtomicBool::new(false)).collect(),
            save_given: AtomicBool::new(false),
            changing: Mutex::new(()),
            surroundings,
            origin: Origin::default(),
        }
    }
}

fn default_value(parameter: &Parameter, surroundings: &Surroundings) -> Value {
    match parameter.kind {
        Kind::Dir => Value::path(&surroundings.initial),
        _ => parameter.default_value(),
    }
}

impl std::fmt::Debug for Config {
    /// Only what is safe to log: no values, some are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("origin", &self.origin.file)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// The number a parameter is set to: the integer, the bytes, the bits, 1 or 0 for yes or no.
    #[inline]
    #[must_use]
    pub fn int(&self, id: P) -> i64 {
        debug_assert!(
            id.parameter().kind.is_number(),
            "{} is not a number",
            id.name()
        );
        self.numbers[id as usize].load(Ordering::Relaxed)
    }

    /// The number as a size or a count; 0 when it is negative.
    #[inline]
    #[must_use]
    pub fn size(&self, id: P) -> usize {
        usize::try_from(self.int(id)).unwrap_or(0)
    }

    /// `maxmemory-policy` as the keyspace names it.
    pub fn eviction_policy(&self) -> Policy {
        match self.choice(P::MaxmemoryPolicy) {
            MaxmemoryPolicy::VolatileLru => Policy::VolatileLru,
            MaxmemoryPolicy::VolatileLfu => Policy::VolatileLfu,
            MaxmemoryPolicy::VolatileRandom => Policy::VolatileRandom,
            MaxmemoryPolicy::VolatileTtl => Policy::VolatileTtl,
            MaxmemoryPolicy::AllkeysLru => Policy::AllKeysLru,
            MaxmemoryPolicy::AllkeysLfu => Policy::AllKeysLfu,
            MaxmemoryPolicy::AllkeysRandom => Policy::AllKeysRandom,
            MaxmemoryPolicy::NoEviction => Policy::NoEviction,
        }
    }

    /// Up to which size collections stay packed.
    #[must_use]
    pub fn thresholds(&self) -> Thresholds {
        let clamped = |id: P, least: i64| self.int(id).clamp(least, i64::from(i32::MAX)) as i32;
        Thresholds {
            hash_entries: self.size(P::HashMaxListpackEntries),
            hash_value: self.size(P::HashMaxListpackValue),
            set_integers: self.size(P::SetMaxIntsetEntries),
            set_entries: self.size(P::SetMaxListpackEntries),
            set_value: self.size(P::SetMaxListpackValue),
            zset_entries: self.size(P::ZsetMaxListpackEntries),
            zset_value: self.size(P::ZsetMaxListpackValue),
            list_size: clamped(P::ListMaxListpackSize, i64::from(i32::MIN)),
            list_compress: clamped(P::ListCompressDepth, 0).unsigned_abs(),
        }
    }

    /// Whether a yes-or-no parameter says yes.
    #[inline]
    #[must_use]
    pub fn bool(&self, id: P) -> bool {
        self.int(id) != 0
    }

    /// The variant a parameter with a list of words is set to.
    #[inline]
    #[must_use]
    pub fn choice<T: Choice>(&self, id: P) -> T {
        T::from_number(self.int(id))
    }

    /// The bytes of a text parameter.
    #[must_use]
    pub fn bytes(&self, id: P) -> Arc<[u8]> {
        debug_assert!(
            !id.parameter().kind.is_number(),
            "{} is a number",
            id.name()
        );
        let text = self.texts[id as usize]
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&text)
    }

    /// A text parameter as a string; bytes that are not UTF-8 are replaced, so secrets are compared
    /// with `bytes`.
    #[must_use]
    pub fn text(&self, id: P) -> String {
        String::from_utf8_lossy(&self.bytes(id)).into_owned()
    }

    /// A text parameter that names a file, relative to `dir` as long as it is not absolute; nothing
    /// when it is empty.
    #[must_use]
    pub fn path(&self, id: P) -> Option<PathBuf> {
        let name = self.bytes(id);
        (!name.is_empty()).then(|| self.dir().join(OsStr::from_bytes(&name)))
    }

    /// The working directory, absolute.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(&self.bytes(P::Dir)))
    }

    /// Grows with every change that took effect.
    #[inline]
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The configuration file the server was started with, absolute.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.origin.file.as_deref()
    }

    /// Whether configuration came from standard input.
    #[must_use]
    pub fn is_from_stdin(&self) -> bool {
        self.origin.from_stdin
    }

    /// How `dir` is resolved.
    #[must_use]
    pub fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    /// The canonical text of a parameter of any kind, as CONFIG GET answers it.
    #[must_use]
    pub fn value_text(&self, id: P) -> Vec<u8> {
        match id {
            P::Save => format_save(&self.save_points()).into_bytes(),
            _ => id.parameter().format(&self.value(id)),
        }
    }

    /// The `rename-command` directives of the start, in order.
    #[must_use]
    pub fn renames(&self) -> &[Rename] {
        &self.origin.renames
    }

    /// The `user` directives of the start, in order.
    #[must_use]
    pub fn users(&self) -> &[UserLine] {
        &self.origin.users
    }

    /// Notices about the configuration for the log: parameters without effect and ignored
    /// variables. Collected at start, before there is a log.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.origin.notices
    }

    /// The limits of `client-output-buffer-limit`.
    #[must_use]
    pub fn output_limits(&self) -> OutputLimits {
        value::output_limits(&self.bytes(P::ClientOutputBufferLimit))
    }

    /// The addresses of `bind` in order, with their `-` of optional ones.
    #[must_use]
    pub fn bind_addresses(&self) -> Vec<String> {
        self.word_list(P::Bind)
    }

    /// The words of a text.
    #[must_use]
    pub fn word_list(&self, id: P) -> Vec<String> {
        let text = self.text(id);
        text.split_ascii_whitespace().map(str::to_owned).collect()
    }

    /// The points of `save`. While it is not set there are none as long as the append-only file is
    /// on, which has all that a snapshot would have.
    #[must_use]
    pub fn save_points(&self) -> Vec<SavePoint> {
        if !self.save_given.load(Ordering::Relaxed) && self.bool(P::AppendOnly) {
            return Vec::new();
        }
        self.parsed(P::Save, parse_save).unwrap_or_default()
    }

    /// The percentiles of `latency-tracking-info-percentiles`.
    #[must_use]
    pub fn percentiles(&self) -> Vec<f64> {
        self.parsed(P::LatencyTrackingInfoPercentiles, |args| {
            parse_percentiles(args)
        })
        .unwrap_or_default()
    }

    /// The versions of `rdb-version`, in order of preference.
    #[must_use]
    pub fn rdb_versions(&self) -> Vec<Version> {
        self.parsed(P::RdbVersion, parse_rdb_versions)
            .unwrap_or_else(|| vec![Version::V11])
    }

    /// The scores of `oom-score-adj-values`.
    #[must_use]
    pub fn oom_scores(&self) -> OomScores {
        let none = OomScores {
            primary: 0,
            replica: 0,
            child: 0,
        };
        self.parsed(P::OomScoreAdjValues, OomScores::parse)
            .unwrap_or(none)
    }

    /// Whether a client may do what `id`, one of the `enable-...` parameters, guards.
    #[must_use]
    pub fn allows(&self, id: P, client_is_local: bool) -> bool {
        match self.choice(id) {
            ProtectedAction::No => false,
            ProtectedAction::Yes => true,
            ProtectedAction::Local => client_is_local,
        }
    }

    /// Puts a number in place that the system enforced instead of the one that was asked for, such
    /// as fewer clients because of the limit of open files. To be called while starting.
    pub fn adjust(&self, id: P, number: i64) {
        debug_assert!(
            id.parameter().kind.is_number(),
            "{} is not a number",
            id.name()
        );
        self.put(id, &Value::Number(number));
        self.changed();
    }

    /// Sets `replicaof` to what REPLICAOF has changed it to: host and port, or nothing.
    pub fn set_primary(&self, primary: Option<(&str, u16)>) {
        let text = primary.map_or_else(String::new, |(host, port)| format!("{host} {port}"));
        self.put(P::ReplicaOf, &Value::text(text.into_bytes()));
        self.changed();
    }

    /// The primary that `replicaof` names.
    #[must_use]
    pub fn primary(&self) -> Option<(String, u16)> {
        let text = self.text(P::ReplicaOf);
        let (host, port) = text.rsplit_once(' ')?;
        Some((host.to_owned(), port.parse().ok()?))
    }

    /// Whether the parameter has its default value.
    #[must_use]
    pub fn is_default(&self, id: P) -> bool {
        if id == P::Save {
            // Its default depends on another parameter.
            return !self.save_given.load(Ordering::Relaxed);
        }
        self.value(id) == default_value(id.parameter(), &self.surroundings)
    }

    /// Whether a source of the start set the parameter, be it to the default value.
    #[must_use]
    pub fn was_given(&self, id: P) -> bool {
        self.origin.given.contains(&id)
    }

    fn parsed<T>(&self, id: P, parse: impl Fn(&[&[u8]]) -> Result<T, String>) -> Option<T> {
        let text = self.bytes(id);
        let args: Vec<&[u8]> = multi::words(&text).collect();
        parse(&args).ok()
    }

    /// Reads the arguments of a directive; see [`Parameter::parse`].
    fn parse(&self, parameter: &Parameter, args: &[&[u8]]) -> Result<Value, String> {
        if let [text] = args
            && let Some(share) = self.share(parameter, text)?
        {
            return Ok(share);
        }
        let value = parameter.parse(args, &self.value(parameter.id))?;
        self.resolved(parameter, value)
    }

    /// Reads a value given as one text; see [`Parameter::parse_text`].
    fn parse_text(&self, parameter: &Parameter, text: &[u8]) -> Result<Value, String> {
        if let Some(share) = self.share(parameter, text)? {
            return Ok(share);
        }
        let value = parameter.parse_text(text, &self.value(parameter.id))?;
        self.resolved(parameter, value)
    }

    /// A share of the memory there is, in bytes, where the parameter may be one.
    fn share(&self, parameter: &Parameter, text: &[u8]) -> Result<Option<Value>, String> {
        let (
            Kind::Number {
                unit: Unit::UnsignedMemoryOrShare,
                ..
            },
            Some(percent),
        ) = (&parameter.kind, value::parse_percent(text))
        else {
            return Ok(None);
        };
        let memory = u128::from((self.surroundings.memory)());
        if !(1..=100).contains(&percent) || memory == 0 {
            return Err(
                "argument must be a memory value, or between 1% and 100% of the memory there is"
                    .to_owned(),
            );
        }
        let bytes = memory * u128::from(percent.unsigned_abs()) / 100;
        Ok(Some(Value::Number(
            u64::try_from(bytes).unwrap_or(u64::MAX).cast_signed(),
        )))
    }

    fn resolved(&self, parameter: &Parameter, value: Value) -> Result<Value, String> {
        match (&parameter.kind, &value) {
            (Kind::Dir, Value::Text(path)) => {
                let path = (self.surroundings.resolve)(Path::new(OsStr::from_bytes(path)))?;
                Ok(Value::path(&path))
            }
            _ => Ok(value),
        }
    }

    fn value(&self, id: P) -> Value {
        if id.parameter().kind.is_number() {
            Value::Number(self.int(id))
        } else {
            Value::Text(self.bytes(id))
        }
    }

    /// Stores a value without a new generation; `changed` follows once all values of a set are
    /// stored.
    fn put(&self, id: P, value: &Value) {
        match value {
            Value::Number(number) => self.numbers[id as usize].store(*number, Ordering::Relaxed),
            Value::Text(text) => {
                let mut slot = self.texts[id as usize]
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                *slot = Arc::clone(text);
            }
        }
    }

    fn changed(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Waits for sets and rewrites that are under way, and holds further ones off. Taken before
    /// shards: a set of `appendonly` waits for all of them.
    pub fn lock_changes(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The notice that setting `id` has no effect: each time for what is not built yet, the first
    /// time for what has no meaning here.
    fn notice_without_effect(&self, id: P) -> Option<Notice> {
        let Parameter { name, flags, .. } = id.parameter();
        let (is_warning, reason) = match () {
            () if flags.has(Flags::INERT) => (
                false,
                "is accepted for compatibility and has no meaning in Lodestore",
            ),
            () if flags.has(Flags::LATER) => (
                true,
                "is stored, but what it steers is not part of this version of Lodestore",
            ),
            () => return None,
        };
        let was_given = self.noticed[id as usize].swap(true, Ordering::Relaxed);
        if self.is_default(id) || was_given && !is_warning {
            return None;
        }
        let text = format!("The configuration parameter '{name}' {reason}");
        Some(Notice { text, is_warning })
    }
}
