//! The sink for entries of RDB files: at start, from the base of an AOF, by DEBUG RELOAD, and of a
//! full synchronization.

use std::sync::Arc;
use std::time::Duration;

use keyspace::{NewValue, Value};
use persist::rdb::{LoadOptions, LoadedEntry, Sink, Skipped, Version};
use persist::{LOG_OFFSET_AUX, ReplicationId};

use super::batch::{Batch, Duplicate, Incoming, Inserter, Present};
use super::loader_threads::{LoadIssue, LoaderThreads, thread_count};
use crate::jobs::snapshot::{ORIGIN_AUX, REPL_ID_AUX, REPL_OFFSET_AUX, STREAM_DB_AUX};
use crate::server::Server;
use crate::state::Product;
use engine::config::{P, RdbModuleValues, RdbVersionCheck};
use engine::keys::DbKey;
use engine::lru::AccessNow;
use engine::scripts::Libraries;
use engine::shard_tables::{Keyspace, Locked};

/// Keys of a kind that are named in the log when they are left out; the others are only counted, as
/// Redis does with empty keys.
const NAMED_MAX: u64 = 10;

/// A string in a file may be longer than `proto-max-bulk-len` lets clients send, as in Redis.
/// Memory grows only with the bytes that are really there.
const STRING_MAX: usize = 4 << 30;

/// How expired entries and existing keys are handled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Expired keys and elements are left out. False for the base of a log, because the commands
    /// behind it may refer to them.
    pub drop_expired: bool,
    /// The server goes on with the history of the file, when it has one, as this.
    pub goes_on: Option<GoesOn>,
    /// What happens to a key that exists already.
    pub present: Present,
}

/// How the history of a file goes on, at the start of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GoesOn {
    /// The stream of a primary follows, and removes what has expired.
    Replica,
    /// Replicas have to be told what has expired.
    Primary,
}

/// Figures of a loaded file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Keys that are in memory now.
    pub loaded: u64,
    /// Keys that were left out because they had expired.
    pub expired: u64,
    /// Collections that were left out because all their elements had expired.
    pub all_elements_expired: u64,
    /// Collections without elements.
    pub empty: u64,
    /// Values of modules, which were left out.
    pub of_modules: u64,
    /// The database that is selected in the stream that the file is followed by, when it says so.
    pub stream_db: Option<u32>,
    /// The replication id of the data and the stream offset that it stands for.
    pub history: Option<(ReplicationId, u64)>,
    /// The version of its format.
    pub version: Version,
    /// The stream offset that a base of this file would stand for, when it says so.
    pub log_offset: Option<u64>,
}

/// What a file has besides its keys.
pub(crate) struct Staged {
    /// Its figures.
    pub figures: Figures,
    functions: Vec<Box<[u8]>>,
    product: Option<Product>,
}

impl Staged {
    /// The libraries of its functions. Called without locks: their code is run.
    pub(crate) fn libraries(&self, server: &Server) -> Libraries {
        super::functions::read_all(&server.engine, &self.functions)
    }

    /// The server has these libraries and no others, and data of this product. Called under all
    /// locks.
    pub(crate) fn take_over(self, server: &Server, libraries: Libraries) {
        server.engine.scripts.set_libraries(libraries);
        server.origin.set(self.product);
    }
}

/// How files are read with this configuration.
pub(crate) fn load_options(server: &Server) -> LoadOptions {
    let config = &server.engine.config;
    LoadOptions {
        thresholds: config.thresholds(),
        checksum: config.bool(P::RdbChecksum),
        any_version: config.choice::<RdbVersionCheck>(P::RdbVersionCheck)
            == RdbVersionCheck::Relaxed,
        skip_modules: config.choice::<RdbModuleValues>(P::RdbModuleValues) == RdbModuleValues::Skip,
        count_streams: true,
        max_string: config.size(P::ProtoMaxBulkLen).max(STRING_MAX),
    }
}

/// Collects entries and inserts them into the shards in batches: see [`RdbSink::settle`].
pub(crate) struct RdbSink<'a, 'k> {
    server: &'a Server,
    /// The locks, when the caller holds all of them.
    held: Option<&'a mut Locked<'k>>,
    /// What is filled, when it is not the keyspace of the server.
    staged: Option<Arc<Keyspace>>,
    rules: Rules,
    began_ms: u64,
    access: AccessNow,
    batch: Batch,
    inserter: Inserter,
    /// Started with the first full batch, when there are cores for it.
    threads: Option<LoaderThreads>,
    thread_count: usize,
    functions: Vec<Box<[u8]>>,
    writer: Writer,
    repl_id: Option<ReplicationId>,
    figures: Figures,
    /// Keys that were left out although replicas have them.
    left_out: Vec<DbKey>,
}

/// What a file says about the product that wrote it.
#[derive(Default)]
struct Writer {
    version: Version,
    /// Its name and version, as far as it is not Lodestore.
    name: Option<String>,
    is_lodestore: bool,
    /// The product that the data of a file of Lodestore came from.
    origin: Option<Product>,
}

impl Writer {
    fn note(&mut self, name: &[u8], value: &[u8]) {
        let text = || String::from_utf8_lossy(value).into_owned();
        match name {
            b"redis-ver" if self.name.is_none() => self.name = Some(format!("Redis {}", text())),
            b"valkey-ver" => self.name = Some(format!("Valkey {}", text())),
            b"lodestore-ver" => self.is_lodestore = true,
            _ if name == ORIGIN_AUX.as_bytes() => self.origin = Product::parse(value),
            _ => {}
        }
    }

    /// The product that the data came from; `None` for Lodestore.
    fn product(self) -> Option<Product> {
        let version = self.version;
        match self.is_lodestore {
            true => self.origin,
            false => self.name.map(|name| Product { name, version }),
        }
    }
}

impl<'a, 'k> RdbSink<'a, 'k> {
    /// For entries of a file. With `held` these are all shards, locked; without, none of them is.
    pub(crate) fn new(server: &'a Server, held: Option<&'a mut Locked<'k>>, rules: Rules) -> Self {
        let thread_count = if held.is_some() { 0 } else { thread_count() };
        Self {
            server,
            held,
            staged: None,
            rules,
            began_ms: server.engine.now_ms(),
            access: server.engine.lru.now(),
            batch: Batch::default(),
            inserter: Inserter::default(),
            threads: None,
            thread_count,
            functions: Vec::new(),
            writer: Writer::default(),
            repl_id: None,
            figures: Figures::default(),
            left_out: Vec::new(),
        }
    }

    /// Fills this keyspace, a sibling of that of the server.
    pub(super) fn into_staged(mut self, staged: Arc<Keyspace>) -> Self {
        self.staged = Some(staged);
        self
    }

    fn keyspace(&self) -> &Keyspace {
        self.staged
            .as_deref()
            .unwrap_or(&self.server.engine.keyspace)
    }

    /// The keys that were left out although replicas of the file's history have them.
    pub(super) fn take_left_out(&mut self) -> Vec<DbKey> {
        std::mem::take(&mut self.left_out)
    }

    /// The server that is filled.
    pub(super) fn server(&self) -> &'a Server {
        self.server
    }

    /// The locks, when the caller holds all of them.
    pub(super) fn held(&mut self) -> Option<&mut Locked<'k>> {
        self.held.as_deref_mut()
    }

    /// Inserts all collected entries. Before this, any of them may still be in a batch.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        if !self.batch.is_empty() {
            self.insert()?;
        }
        if let Some(threads) = self.threads.take() {
            threads.finish().map_err(|issue| self.describe(issue))?;
        }
        keyspace::memory::publish();
        Ok(())
    }

    /// The end of an RDB file: as [`RdbSink::settle`], and the file's functions are the server's.
    pub(crate) fn finish(&mut self) -> Result<Figures, String> {
        let mut rest = self.finish_staged()?;
        let functions = std::mem::take(&mut rest.functions);
        super::functions::add_all(&self.server.engine, functions, self.rules.present)?;
        self.server.origin.set(rest.product);
        Ok(rest.figures)
    }

    /// As [`RdbSink::finish`], and the server has nothing of it yet.
    pub(super) fn finish_staged(&mut self) -> Result<Staged, String> {
        self.settle()?;
        self.log_figures();
        Ok(Staged {
            figures: self.figures,
            functions: std::mem::take(&mut self.functions),
            product: std::mem::take(&mut self.writer).product(),
        })
    }

    fn log_figures(&self) {
        let Figures {
            loaded,
            expired,
            all_elements_expired,
            empty,
            of_modules,
            stream_db: _,
            history: _,
            version: _,
            log_offset: _,
        } = self.figures;
        let mut skipped = String::new();
        if empty > 0 {
            skipped.push_str(&format!(", empty keys skipped: {empty}"));
        }
        if of_modules > 0 {
            skipped.push_str(&format!(", values of modules left out: {of_modules}"));
        }
        log::info!(
            "Done loading RDB, keys loaded: {loaded}, keys expired: {expired}{skipped}, all fields expired hashes: \
             {all_elements_expired}."
        );
    }

    /// Passes the batch on: to other threads, or into the shards.
    fn insert(&mut self) -> Result<(), String> {
        if self.threads.is_none() && self.thread_count > 0 && self.batch.is_full() {
            let staged = self.staged.clone();
            self.threads =
                LoaderThreads::start(self.server, staged, self.thread_count, self.rules.present);
            // The system refused a thread once, so no further one is tried.
            self.thread_count = 0;
        }
        let result = match &mut self.threads {
            Some(threads) => threads.send(&mut self.batch),
            None => {
                let present = self.rules.present;
                let staged = self.staged.as_deref();
                let keyspace = staged.unwrap_or(&self.server.engine.keyspace);
                let held = self.held.as_deref_mut();
                let result = self
                    .inserter
                    .insert(&mut self.batch, keyspace, held, 0, present);
                result.map_err(LoadIssue::Duplicate)
            }
        };
        result.map_err(|issue| self.describe(issue))?;
        check_stopping(self.server)
    }

    fn describe(&self, issue: LoadIssue) -> String {
        match issue {
            LoadIssue::Thread(reason) => reason.to_owned(),
            LoadIssue::Duplicate(Duplicate { db, .. }) if self.hides_data() => {
                format!("RDB has duplicated key in DB {db}")
            }
            LoadIssue::Duplicate(Duplicate { db, key }) => {
                format!("RDB has duplicated key '{}' in DB {db}", key.escape_ascii())
            }
        }
    }

    fn hides_data(&self) -> bool {
        self.server.engine.config.bool(P::HideUserDataFromLog)
    }

    /// Whether an entry has expired: its own deadline has passed, or those of all its elements.
    #[inline]
    fn is_over(&mut self, entry: &mut LoadedEntry<'_>) -> bool {
        let goes_on = self
            .rules
            .goes_on
            .filter(|_| self.figures.history.is_some());
        if goes_on == Some(GoesOn::Replica) {
            return false;
        }
        if entry
            .deadline
            .is_some_and(|deadline| deadline < self.began_ms)
        {
            self.figures.expired += 1;
            if goes_on.is_some() {
                self.left_out.push(DbKey::new(entry.db, entry.key));
            }
            return true;
        }
        // Elements that replicas have, too, are removed when the server runs, and logged.
        if goes_on.is_some() {
            return false;
        }
        if let NewValue::Owned(value) = &mut entry.value
            && expire_elements(value, self.began_ms)
        {
            self.figures.all_elements_expired += 1;
            return true;
        }
        false
    }
}

impl Sink for RdbSink<'_, '_> {
    #[inline]
    fn entry(&mut self, mut entry: LoadedEntry<'_>) -> Result<(), String> {
        if entry.db >= self.keyspace().databases() {
            return Err(format!(
                "FATAL: Data file was created with a Redis server configured to handle more than {} databases. Exiting",
                self.keyspace().databases()
            ));
        }
        if !(self.rules.drop_expired && self.is_over(&mut entry)) {
            self.figures.loaded += 1;
            self.batch.push(Incoming {
                db: entry.db,
                key: entry.key,
                value: entry.value,
                deadline: entry.deadline,
                lru: self.access.restored(entry.access),
            });
            if self.batch.is_full() {
                self.insert()?;
            }
        }
        delay(self.server, self.figures.loaded)
    }

    fn function(&mut self, code: &[u8]) -> Result<(), String> {
        self.functions.push(code.into());
        Ok(())
    }

    fn aux(&mut self, name: &[u8], value: &[u8]) {
        self.writer.note(name, value);
        if name == REPL_ID_AUX.as_bytes() {
            self.repl_id = ReplicationId::parse(value);
        }
        let offset = || resp::number::parse_i64(value).and_then(|it| u64::try_from(it).ok());
        if name == REPL_OFFSET_AUX.as_bytes() {
            self.figures.history = self.repl_id.zip(offset());
        }
        if name == LOG_OFFSET_AUX.as_bytes() {
            self.figures.log_offset = offset();
        }
        if name == STREAM_DB_AUX.as_bytes() {
            let db = resp::number::parse_i64(value).and_then(|db| u32::try_from(db).ok());
            self.figures.stream_db = db.filter(|db| *db < self.server.engine.keyspace.databases());
        }
        log_field(self.server, name, value);
    }

    fn skipped(&mut self, _db: u32, key: &[u8], why: Skipped) {
        match why {
            Skipped::Empty => {
                self.figures.empty += 1;
                match self.hides_data() {
                    _ if self.figures.empty > NAMED_MAX => {}
                    true => log::info!("rdbLoadObject skipping empty key"),
                    false => log::info!("rdbLoadObject skipping empty key: {}", key.escape_ascii()),
                }
            }
            Skipped::Module(name) => {
                self.figures.of_modules += 1;
                if self.figures.of_modules <= NAMED_MAX {
                    // Named whatever is hidden from the log: nothing else is left of it.
                    let key = key.escape_ascii();
                    log::warn!("The value of the module '{name}' at key '{key}' is left out");
                }
            }
        }
    }

    fn recounted(&mut self, _db: u32, key: &[u8], said: u64, counted: u64) {
        let key = match self.hides_data() {
            true => String::new(),
            false => format!(" at key '{}'", key.escape_ascii()),
        };
        log::warn!(
            "The stream{key} has {counted} entries where the file says {said}: the entries count"
        );
    }

    fn version(&mut self, version: Version) {
        self.writer.version = version;
        self.figures.version = version;
    }

    fn progress(&mut self, bytes: u64) {
        keyspace::memory::publish();
        self.server.engine.loading.progress(bytes);
    }
}

/// Removes elements that expired before `now_ms`. True when none is left.
#[inline]
fn expire_elements(value: &mut Value, now_ms: u64) -> bool {
    if matches!(value, Value::Big(_) | Value::List(_))
        || value
            .next_element_deadline()
            .is_none_or(|next| next >= now_ms)
    {
        return false;
    }
    let (last, none) = (now_ms.saturating_sub(1), &mut |_: &[u8]| {});
    match value {
        Value::Hash(hash) => hash.expire(last, usize::MAX, none) > 0 && hash.is_empty(),
        Value::Set(set) => set.expire(last, usize::MAX, none) > 0 && set.is_empty(),
        Value::ZSet(set) => set.expire(last, usize::MAX, none) > 0 && set.is_empty(),
        _ => false,
    }
}

/// `key-load-delay`: microseconds after each key; a negative number is a microsecond after every so
/// many. For tests. `number` counts the keys.
#[inline]
pub(super) fn delay(server: &Server, number: u64) -> Result<(), String> {
    match server.engine.config.int(P::KeyLoadDelay) {
        0 => Ok(()),
        delay => {
            wait(delay, number);
            check_stopping(server)
        }
    }
}

/// Loading ends with the server.
pub(super) fn check_stopping(server: &Server) -> Result<(), String> {
    match server.shutdown.is_requested() {
        true => Err("the server is shutting down".to_owned()),
        false => Ok(()),
    }
}

#[cold]
fn wait(delay: i64, number: u64) {
    match u64::try_from(delay) {
        Ok(micros) => std::thread::sleep(Duration::from_micros(micros)),
        Err(_) if number.is_multiple_of(delay.unsigned_abs()) => {
            std::thread::sleep(Duration::from_micros(1));
        }
        Err(_) => {}
    }
}

/// Logs an auxiliary field of the file, in Redis's words.
fn log_field(server: &Server, name: &[u8], value: &[u8]) {
    let text = String::from_utf8_lossy(value);
    let number = || resp::number::parse_i64(value).unwrap_or(0);
    match name {
        [b'%', ..] => log::info!("RDB '{}': {text}", String::from_utf8_lossy(name)),
        b"redis-ver" => log::info!("Loading RDB produced by Redis version {text}"),
        b"valkey-ver" => log::info!("Loading RDB produced by Valkey version {text}"),
        b"lodestore-ver" => log::info!("Loading RDB produced by Lodestore version {text}"),
        b"ctime" => {
            let now_s = i64::try_from(server.engine.now_ms() / 1000).unwrap_or(i64::MAX);
            log::info!("RDB age {} seconds", now_s.saturating_sub(number()).max(0));
        }
        b"used-mem" => {
            let bytes = number();
            log::info!(
                "RDB memory usage when created {:.2} Mb",
                bytes as f64 / 1_048_576.0
            );
            server.engine.loading.note_used_memory(bytes.max(0) as u64);
        }
        b"aof-preamble" if number() != 0 => log::info!("RDB has an AOF tail"),
        b"aof-base" if number() != 0 => log::info!("RDB is base AOF"),
        _ => log::debug!("RDB field '{}'", String::from_utf8_lossy(name)),
    }
}
