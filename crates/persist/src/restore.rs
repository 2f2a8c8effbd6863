//! The log as it was at an earlier moment: a copy of its directory that is cut there.
//!
//! The copy begins with the newest base that is not after the moment, the one in force or one of
//! the history (`aof-history-seconds`), and goes on with increments up to the first record after
//! the moment. Times come from `#TS:` lines, offsets from checksum lines; a transaction is kept or
//! left out as a whole.

use crate::annotation::{ANNOTATION_MAX, Annotation};
use crate::directory::{Directory, DirectoryError, Retention};
use crate::history::Chain;
use crate::manifest::{FileInfo, Manifest};
use crate::options::LogOptions;
use crate::preamble;
use crate::rdb::{LoadedEntry, Sink};
use crate::reader::Reader;
use crate::records::{Fault, Grammar, Item, ReadError, RecordReader, State};
use crate::storage::{File, OpenMode, Storage, append_all, errno_text, read_full};
use crate::target::Target;
use resp::Args;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

const COPY_BUFFER: usize = 256 << 10;

/// A moment in the life of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Unix seconds: everything of that second is kept.
    Time(u64),
    /// Stream offset: records that end there or before are kept.
    Offset(u64),
}

/// The result of restoring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Name of the base.
    pub base: String,
    /// Whether it is one that was superseded.
    pub from_history: bool,
    /// Number of increments.
    pub increments: usize,
    /// Stream offset at the end of the copy, when the log has it.
    pub offset: Option<u64>,
    /// The last time stamp in the copy, Unix seconds.
    pub time: Option<u64>,
}

/// Why a moment cannot be restored. Nothing was changed.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The directory or its manifest.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// There is no log.
    #[error("there is no append only file to restore from")]
    Nothing,
    /// No base is old enough.
    #[error("the oldest base was written after that moment ({})", begin_text(.oldest))]
    TooEarly {
        /// The moment of the oldest base: Unix seconds and stream offset, as far as known.
        oldest: (Option<u64>, Option<u64>),
    },
    /// The log has no time stamps or offsets to find the moment by.
    #[error(
        "the append only file has no {0}, so it cannot be said which records came before that moment"
    )]
    Unmarked(&'static str),
    /// The log ends before.
    #[error("the append only file ends at offset {0}, before that moment")]
    TooLate(u64),
    /// A file is damaged before the moment.
    #[error("{file} is damaged at offset {offset}: {detail}")]
    Damaged {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        detail: String,
    },
    /// A file operation failed.
    #[error("{0}: {text}", text = errno_text(.1))]
    Io(String, #[source] io::Error),
}

fn begin_text((time, offset): &(Option<u64>, Option<u64>)) -> String {
    let part = |name: &str, value: &Option<u64>| {
        value.map_or_else(
            || format!("{name} unknown"),
            |value| format!("{name} {value}"),
        )
    };
    format!(
        "{}, {}",
        part("Unix time", time),
        part("stream offset", offset)
    )
}

/// Makes a copy of the log in `options.dir` as it was at a moment, in `target`, a directory that is
/// made. Files that are not written any more are linked where the storage supports it. The log must
/// not be in use.
///
/// # Errors
/// See [`RestoreError`]. The log itself is never changed.
pub fn restore_to(
    storage: Arc<dyn Storage>,
    options: &LogOptions,
    moment: Moment,
    target: &Path,
) -> Result<Restored, RestoreError> {
    let retention = Arc::new(Retention::default());
    let directory = Directory::open(storage, options, retention)?;
    let live = directory.manifest()?;
    let mut chains: Vec<Source> = directory
        .chains()
        .into_iter()
        .map(|chain: Chain| Source {
            manifest: chain.manifest,
            dir: directory.history_path(),
            is_history: true,
        })
        .collect();
    if !live.is_empty() {
        chains.push(Source {
            manifest: live,
            dir: directory.path.clone(),
            is_history: false,
        });
    }
    let restore = Restore {
        directory: &directory,
        options,
        moment,
    };
    let (source, begin) = restore.choose(chains)?;
    restore.copy(&source, begin, target)
}

/// A base with its increments.
struct Source {
    manifest: Manifest,
    dir: PathBuf,
    is_history: bool,
}

/// The moment of a base.
#[derive(Clone, Copy, Default)]
struct Begin {
    time: Option<u64>,
    offset: Option<u64>,
}

struct Restore<'a> {
    directory: &'a Directory,
    options: &'a LogOptions,
    moment: Moment,
}

impl Restore<'_> {
    /// The newest base that is not after the moment.
    fn choose(&self, sources: Vec<Source>) -> Result<(Source, Begin), RestoreError> {
        let mut oldest = None;
        let mut unmarked = false;
        let mut chosen = None;
        for source in sources {
            let begin = match self.begin_of(&source) {
                // A file is damaged, or could not be moved to the history.
                Err(error) if source.is_history => {
                    log::warn!("AOF history: a base cannot be restored: {error}");
                    continue;
                }
                begin => begin?,
            };
            let stands = match self.moment {
                Moment::Time(time) => begin.time.map(|base| base <= time),
                Moment::Offset(offset) => begin.offset.map(|base| base <= offset),
            };
            oldest.get_or_insert((begin.time, begin.offset));
            match stands {
                Some(true) => chosen = Some((source, begin)),
                Some(false) => {}
                None => unmarked = true,
            }
        }
        match (chosen, oldest) {
            (Some(chosen), _) => Ok(chosen),
            (None, None) => Err(RestoreError::Nothing),
            (None, Some(_)) if unmarked => Err(RestoreError::Unmarked(self.marks())),
            (None, Some(oldest)) => Err(RestoreError::TooEarly { oldest }),
        }
    }

    fn marks(&self) -> &'static str {
        match self.moment {
            Moment::Time(_) => "time stamps (aof-timestamp-enabled)",
            Moment::Offset(_) => "stream offsets",
        }
    }

    /// The moment of a base from its auxiliary fields, else from the head of its increments.
    fn begin_of(&self, source: &Source) -> Result<Begin, RestoreError> {
        let mut begin = Begin::default();
        if let Some(base) = &source.manifest.base {
            begin = self.base_of(source, base)?;
        }
        let mut is_first = true;
        for info in &source.manifest.incr {
            if begin.time.is_some() && !is_first {
                break;
            }
            let head = self.scan(source, info, is_first.then_some(0), Limit::Head)?;
            if is_first {
                begin.offset = begin.offset.or(head.first_offset);
            }
            begin.time = begin.time.or(head.time);
            // An increment that a failed sync has emptied has no head.
            is_first &= head.size == 0;
        }
        Ok(begin)
    }

    /// The auxiliary fields of a base in RDB form. An empty base stands before everything.
    fn base_of(&self, source: &Source, base: &FileInfo) -> Result<Begin, RestoreError> {
        let path = source.dir.join(&base.name);
        let file = self.open(&path)?;
        let len = self.io(&path, file.len())?;
        if len == 0 {
            return Ok(Begin {
                time: Some(0),
                offset: Some(0),
            });
        }
        let mut head = [0; 8];
        let read = self.io(&path, read_full(&*file, 0, &mut head))?;
        let start = head.get(..read).unwrap_or_default();
        let mut facts = Facts::default();
        if preamble::SIGNATURES
            .iter()
            .any(|magic| start.starts_with(magic))
        {
            // The error is expected: the first entry ends the loading.
            let _ = preamble::load(file, len, &mut facts, (0, len));
        } else {
            facts.0.offset = self.io(&path, offset_at_end(&*file, len))?;
        }
        Ok(facts.0)
    }

    fn copy(&self, source: &Source, begin: Begin, target: &Path) -> Result<Restored, RestoreError> {
        let storage = &self.directory.storage;
        self.io(target, storage.make_dir(target))?;
        let mut copied = Manifest::default();
        if let Some(base) = &source.manifest.base {
            let from = source.dir.join(&base.name);
            self.link(&from, &target.join(&base.name))?;
            copied.base = Some(base.clone());
        }
        let mut offset = begin.offset;
        let mut time = None;
        let last = source.manifest.incr.len();
        let mut reached = false;
        for (index, info) in source.manifest.incr.iter().enumerate() {
            let cut = self.scan(source, info, offset, Limit::Moment(self.moment))?;
            reached = cut.reached;
            if let Some(found) = cut.first_offset
                && index > 0
                && offset.is_some_and(|expected| found > expected)
            {
                // The end of the file before was lost.
                break;
            }
            (offset, time) = (cut.offset, cut.time.or(time));
            if matches!(self.moment, Moment::Time(_)) && cut.has_records && time.is_none() {
                return Err(RestoreError::Unmarked(self.marks()));
            }
            let (from, to) = (source.dir.join(&info.name), target.join(&info.name));
            let is_last = reached || index + 1 == last;
            // The last one grows: it must not be the same file. One with a length may be longer.
            if is_last || info.length.is_some() || cut.end < cut.size {
                self.copy_start(&from, &to, cut.end)?;
            } else {
                self.link(&from, &to)?;
            }
            copied.incr.push(FileInfo {
                length: None,
                unsynced: false,
                ..info.clone()
            });
            if reached {
                break;
            }
        }
        self.check_end(reached, offset)?;
        self.write_manifest(&copied, target)?;
        Ok(Restored {
            base: copied.base.map_or_else(String::new, |base| base.display()),
            from_history: source.is_history,
            increments: copied.incr.len(),
            offset,
            time,
        })
    }

    /// A log that ends before the moment is restored as a whole for a time, but an offset beyond
    /// its end is a mistake.
    fn check_end(&self, reached: bool, end: Option<u64>) -> Result<(), RestoreError> {
        match (self.moment, end) {
            (Moment::Offset(offset), Some(end)) if !reached && end < offset => {
                Err(RestoreError::TooLate(end))
            }
            _ => Ok(()),
        }
    }

    fn write_manifest(&self, manifest: &Manifest, target: &Path) -> Result<(), RestoreError> {
        let storage = &self.directory.storage;
        let path = target.join(format!("{}.manifest", self.options.appendfilename));
        let written = storage.open(&path, OpenMode::Create).and_then(|file| {
            append_all(&*file, &manifest.to_text()).map_err(|(_, error)| error)?;
            file.sync_data()?;
            storage.sync_dir(target)
        });
        self.io(&path, written)
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn File>, RestoreError> {
        self.io(path, self.directory.storage.open(path, OpenMode::Read))
    }

    fn io<T>(&self, path: &Path, result: io::Result<T>) -> Result<T, RestoreError> {
        result.map_err(|error| RestoreError::Io(path.display().to_string(), error))
    }

    fn link(&self, from: &Path, to: &Path) -> Result<(), RestoreError> {
        self.make_room(to)?;
        match self.directory.storage.link(from, to) {
            Ok(()) => Ok(()),
            Err(_) => self.copy_start(from, to, u64::MAX),
        }
    }

    /// Removes the file of an earlier attempt: writing over a link would damage the log.
    fn make_room(&self, to: &Path) -> Result<(), RestoreError> {
        match self.directory.storage.remove(to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => self.io(to, Err(error)),
            _ => Ok(()),
        }
    }

    /// Copies the first `len` bytes, synced.
    fn copy_start(&self, from: &Path, to: &Path, len: u64) -> Result<(), RestoreError> {
        let source = self.open(from)?;
        self.make_room(to)?;
        let result = self
            .directory
            .storage
            .open(to, OpenMode::Create)
            .and_then(|file| {
                let mut buffer = vec![0; COPY_BUFFER];
                let mut at = 0;
                while at < len {
                    let want =
                        usize::try_from(len - at).map_or(COPY_BUFFER, |left| left.min(COPY_BUFFER));
                    let part = buffer.get_mut(..want).unwrap_or_default();
                    let read = read_full(&*source, at, part)?;
                    append_all(&*file, part.get(..read).unwrap_or_default())
                        .map_err(|(_, error)| error)?;
                    at += read as u64;
                    if read < want {
                        break;
                    }
                }
                file.sync_data()
            });
        self.io(to, result)
    }

    /// Goes over an increment that begins at stream offset `offset`.
    fn scan(
        &self,
        source: &Source,
        info: &FileInfo,
        offset: Option<u64>,
        limit: Limit,
    ) -> Result<Cut, RestoreError> {
        let path = source.dir.join(&info.name);
        let file = self.open(&path)?;
        let len = self.io(&path, file.len())?;
        let size = info.length.map_or(len, |length| length.min(len));
        let state = State {
            offset: offset.unwrap_or(0),
            ..State::default()
        };
        let unmarked = matches!(limit, Limit::Moment(Moment::Offset(_))) && offset.is_none();
        if unmarked {
            return Err(RestoreError::Unmarked(self.marks()));
        }
        let grammar = Grammar::new(state, true);
        let mut search = CutSearch {
            records: RecordReader::new(Reader::new(file, size), grammar, self.options.max_bulk),
            is_offset_known: offset.is_some(),
            is_head: true,
            cut: Cut {
                size,
                ..Cut::default()
            },
        };
        search.run(limit).map_err(|error| match error {
            ReadError::Io(error) => RestoreError::Io(path.display().to_string(), error),
            ReadError::Fault(fault) => RestoreError::Damaged {
                file: info.display(),
                offset: search.records.position(),
                detail: detail_of(fault),
            },
        })?;
        Ok(search.cut)
    }
}

/// The stream offset that the checksum line at the end of a base of commands gives.
fn offset_at_end(file: &dyn File, len: u64) -> io::Result<Option<u64>> {
    let mut end = [0; ANNOTATION_MAX];
    let read = read_full(file, len.saturating_sub(ANNOTATION_MAX as u64), &mut end)?;
    let text = end.get(..read).unwrap_or_default().strip_suffix(b"\n");
    let line = text.and_then(|text| text.rsplit(|&byte| byte == b'\n').next());
    Ok(match line.map(Annotation::parse) {
        Some(Annotation::Checksum { offset, .. }) => Some(offset),
        _ => None,
    })
}

fn detail_of(fault: Fault) -> String {
    match fault {
        Fault::Format(detail) => detail,
        Fault::Checksum { from } => format!("bad checksum of the bytes from offset {from} on"),
        Fault::Offset { expected, found } => {
            format!("stream offset {found} where {expected} was expected")
        }
    }
}

/// How far an increment is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Limit {
    /// To its first record after a time stamp.
    Head,
    Moment(Moment),
}

/// The part of an increment up to a limit.
#[derive(Clone, Copy, Default)]
struct Cut {
    /// Bytes of the file that count.
    size: u64,
    /// Where it is to be cut.
    end: u64,
    /// Whether a record after the limit follows.
    reached: bool,
    /// Stream offset that its first checksum line gives, before any record.
    first_offset: Option<u64>,
    /// Stream offset at `end`.
    offset: Option<u64>,
    /// The last time stamp before `end`.
    time: Option<u64>,
    has_records: bool,
}

/// Looks for the place where an increment is to be cut.
struct CutSearch {
    records: RecordReader,
    /// Whether the stream offset at the start of the file is known.
    is_offset_known: bool,
    /// Nothing of the stream has been read.
    is_head: bool,
    cut: Cut,
}

impl CutSearch {
    fn run(&mut self, limit: Limit) -> Result<(), ReadError> {
        loop {
            let before = self.records.whole();
            let reached = match self.records.next()? {
                Item::Line(Annotation::Time(time)) => {
                    let is_late = matches!(limit, Limit::Moment(Moment::Time(most)) if time > most);
                    if !is_late {
                        self.cut.time = Some(time);
                    }
                    is_late || limit == Limit::Head
                }
                Item::Line(annotation) => {
                    self.is_head &= !matches!(annotation, Annotation::Skip { .. });
                    let state = self.records.grammar.state();
                    if state.is_offset_known && self.is_head {
                        self.cut.first_offset.get_or_insert(state.offset);
                    }
                    false
                }
                Item::Record(record) => {
                    self.cut.has_records = true;
                    self.is_head &= record.is_local;
                    false
                }
                Item::End { .. } => {
                    // A torn end is left out.
                    self.end_at(self.records.whole());
                    return Ok(());
                }
            };
            let offset = self.records.grammar.state().offset;
            let is_beyond = matches!(limit, Limit::Moment(Moment::Offset(most)) if offset > most);
            if reached || is_beyond {
                self.cut.reached = true;
                self.end_at(before);
                return Ok(());
            }
        }
    }

    fn end_at(&mut self, (end, state): (u64, State)) {
        self.cut.end = end;
        let is_known = self.is_offset_known || state.is_offset_known;
        self.cut.offset = is_known.then_some(state.offset);
    }
}

/// The moment that the auxiliary fields of a file in RDB form give.
#[derive(Default)]
struct Facts(Begin);

impl Sink for Facts {
    fn entry(&mut self, _entry: LoadedEntry<'_>) -> Result<(), String> {
        Err("seen enough".to_owned())
    }

    fn function(&mut self, _code: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn aux(&mut self, name: &[u8], value: &[u8]) {
        let number = || std::str::from_utf8(value).ok()?.parse().ok();
        if name == b"ctime" {
            self.0.time = number();
        } else if name == preamble::LOG_OFFSET_AUX.as_bytes() {
            self.0.offset = number();
        }
    }
}

impl Target for Facts {
    fn command(&mut self, _args: Args<'_>) -> Result<(), String> {
        Ok(())
    }

    fn progress(&mut self, _loaded: u64, _total: u64) {}
}
