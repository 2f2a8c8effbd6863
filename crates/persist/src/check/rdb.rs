//! Files in RDB form.

use super::Stop;
use crate::preamble::Source;
use crate::rdb::{
    self, LoadOptions, Loaded, LoadedEntry, RdbCause, RdbError, Sink, Skipped, Version,
};
use crate::storage::{File, OpenMode, Storage, errno_text};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use values::Thresholds;

/// Length of the signature and the version.
const HEADER: usize = 9;

/// Checks a file in RDB form. Returns whether it is valid.
///
/// Keys that expire before `now_ms` (Unix milliseconds) count as expired.
///
/// # Errors
/// Errors of writing to `out`.
pub fn check_rdb(
    storage: &dyn Storage,
    path: &Path,
    now_ms: u64,
    out: &mut dyn Write,
) -> io::Result<bool> {
    let opened = storage
        .open(path, OpenMode::Read)
        .and_then(|file| Ok((file.len()?, file)));
    let (len, file) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let (path, text) = (path.display(), errno_text(&error));
            writeln!(out, "Cannot open file {path}: {text}")?;
            return Ok(false);
        }
    };
    match check_preamble(&file, len, &path.display().to_string(), now_ms, out) {
        Ok(bytes) => Ok(bytes.is_some()),
        Err(Stop::Failed) => Ok(false),
        Err(Stop::Output(error)) => Err(error),
    }
}

/// Checks the part of a file that is in RDB form; returns its length when it is valid.
pub(super) fn check_preamble(
    file: &Arc<dyn File>,
    len: u64,
    name: &str,
    now_ms: u64,
    out: &mut dyn Write,
) -> Result<Option<u64>, Stop> {
    writeln!(out, "[offset 0] Checking RDB file {name}")?;
    let kind = version_kind(Source::new(Arc::clone(file), len));
    if let Some((word, version)) = &kind {
        writeln!(
            out,
            "[offset {HEADER}] {word} RDB version {version} detected"
        )?;
    }
    let mut counts = Counts::new(now_ms, out);
    let mut source = Source::new(Arc::clone(file), len);
    let loaded = rdb::load(&mut source, &options(true), &mut counts);
    let totals = counts.end()?;
    let is_good = loaded.is_ok() && totals.empty == 0;
    match &loaded {
        Ok(loaded) if is_good => conclude(file, loaded, kind.is_some(), out)?,
        Ok(loaded) => {
            // A server skips them, but they are an error of the writer.
            writeln!(out, "--- RDB ERROR DETECTED ---")?;
            writeln!(out, "[offset {}] {} empty keys", loaded.bytes, totals.empty)?;
        }
        Err(error) => report(error, kind.map(|(word, _)| word), out)?,
    }
    totals.print(out)?;
    Ok(loaded.ok().filter(|_| is_good).map(|loaded| loaded.bytes))
}

fn options(any_version: bool) -> LoadOptions {
    LoadOptions {
        thresholds: Thresholds::default(),
        checksum: true,
        any_version,
        skip_modules: true,
        count_streams: true,
        max_string: usize::MAX >> 1,
    }
}

/// The version of a file that a server loads only with `rdb-version-check relaxed`, and its name
/// for messages.
fn version_kind(source: Source) -> Option<(&'static str, u16)> {
    let mut header = Vec::new();
    source.take(HEADER as u64).read_to_end(&mut header).ok()?;
    let error = rdb::load(&mut header.as_slice(), &options(false), &mut Nothing).err()?;
    match error.cause {
        RdbCause::Version(version) if Version(version) > Version::V80 => Some(("Future", version)),
        RdbCause::Version(version) => Some(("Foreign", version)),
        _ => None,
    }
}

fn conclude(
    file: &Arc<dyn File>,
    loaded: &Loaded,
    is_foreign: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let end = loaded.bytes;
    if loaded.version.0 >= 5 {
        let mut sum = [0; 8];
        let read = file.read_at(end.saturating_sub(8), &mut sum).unwrap_or(0);
        if read == sum.len() && sum == [0; 8] {
            writeln!(
                out,
                "[offset {end}] RDB file was saved with checksum disabled: no check performed."
            )?;
        } else {
            writeln!(out, "[offset {end}] Checksum OK")?;
        }
    }
    writeln!(
        out,
        "[offset {end}] Check RDB returned error code 0 (0 means success)"
    )?;
    if is_foreign {
        writeln!(
            out,
            "[offset {end}] \\o/ RDB looks OK, but loading requires config 'rdb-version-check relaxed'"
        )
    } else {
        writeln!(out, "[offset {end}] \\o/ RDB looks OK! \\o/")
    }
}

fn report(error: &RdbError, kind: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
    let offset = error.offset;
    let text = match (&error.cause, kind) {
        (
            RdbCause::Type {
                code,
                version: Some(version),
            },
            Some(kind),
        ) => format!(
            "Unknown object type {code} in RDB file with {} version {}",
            kind.to_ascii_lowercase(),
            version.0
        ),
        (RdbCause::Truncated, _) => "Unexpected EOF reading RDB file".to_owned(),
        (cause, _) => cause.to_string(),
    };
    let doing = match (&error.cause, &error.place) {
        (_, Some(_)) => "read-object-value",
        (RdbCause::Signature(_) | RdbCause::Version(_), _) => "start",
        (RdbCause::Checksum { .. }, _) => "check-sum",
        _ => "read-type",
    };
    writeln!(out, "--- RDB ERROR DETECTED ---")?;
    writeln!(out, "[offset {offset}] {text}")?;
    writeln!(out, "[additional info] While doing: {doing}")?;
    if let Some(place) = &error.place {
        writeln!(
            out,
            "[additional info] Reading key '{}'",
            place.key.escape_ascii()
        )?;
        writeln!(out, "[additional info] Reading type {}", place.code)?;
    }
    Ok(())
}

struct Nothing;

impl Sink for Nothing {
    fn entry(&mut self, _entry: LoadedEntry<'_>) -> Result<(), String> {
        Ok(())
    }

    fn function(&mut self, _code: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

/// Counts of a file's contents.
#[derive(Default)]
struct Totals {
    keys: u64,
    expires: u64,
    expired: u64,
    functions: u64,
    /// Keys without elements.
    empty: u64,
}

impl Totals {
    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "[info] {} keys read", self.keys)?;
        writeln!(out, "[info] {} expires", self.expires)?;
        writeln!(out, "[info] {} already expired", self.expired)?;
        writeln!(out, "[info] {} functions", self.functions)
    }
}

struct Counts<'a> {
    out: &'a mut dyn Write,
    totals: Totals,
    now_ms: u64,
    db: Option<u32>,
    /// The first error of printing.
    failed: Option<io::Error>,
}

impl<'a> Counts<'a> {
    fn new(now_ms: u64, out: &'a mut dyn Write) -> Self {
        Self {
            out,
            totals: Totals::default(),
            now_ms,
            db: None,
            failed: None,
        }
    }

    fn end(self) -> io::Result<Totals> {
        match self.failed {
            Some(error) => Err(error),
            None => Ok(self.totals),
        }
    }

    fn say(&mut self, text: std::fmt::Arguments<'_>) {
        if self.failed.is_none() {
            self.failed = writeln!(self.out, "[info] {text}").err();
        }
    }
}

impl Sink for Counts<'_> {
    fn entry(&mut self, entry: LoadedEntry<'_>) -> Result<(), String> {
        if self.db != Some(entry.db) {
            self.db = Some(entry.db);
            self.say(format_args!("Selecting DB ID {}", entry.db));
        }
        self.totals.keys += 1;
        if let Some(deadline) = entry.deadline {
            self.totals.expires += 1;
            self.totals.expired += u64::from(deadline < self.now_ms);
        }
        Ok(())
    }

    fn function(&mut self, _code: &[u8]) -> Result<(), String> {
        self.totals.functions += 1;
        Ok(())
    }

    fn aux(&mut self, name: &[u8], value: &[u8]) {
        let (name, value) = (name.escape_ascii(), value.escape_ascii());
        self.say(format_args!("AUX FIELD {name} = '{value}'"));
    }

    fn recounted(&mut self, _db: u32, key: &[u8], said: u64, counted: u64) {
        let key = key.escape_ascii();
        self.say(format_args!(
            "The stream at key '{key}' has {counted} entries and says {said}"
        ));
    }

    fn skipped(&mut self, _db: u32, key: &[u8], why: Skipped) {
        let key = key.escape_ascii();
        match why {
            Skipped::Empty => {
                self.totals.empty += 1;
                self.say(format_args!("Skipping empty key '{key}'"));
            }
            Skipped::Module(name) => {
                self.totals.keys += 1;
                self.say(format_args!("Skipping key '{key}' of module {name}"));
            }
        }
    }
}
