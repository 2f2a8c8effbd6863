//! Reading the log back.
//!
//! Files are read in pieces, commands handed out one by one, in the order of the stream. Three
//! things can stand at the end of the last file after a crash and are cut there: half a record, a
//! transaction without its EXEC, and zeros (blocks a file system allocated but never filled).
//! Anything else that is wrong is an error that names file and offset. A file may begin in RDB
//! form.

use crate::annotation::{Annotation, Checksum};
use crate::directory::{Directory, DirectoryError, Retention};
use crate::manifest::{FileInfo, Manifest};
use crate::options::LogOptions;
use crate::preamble;
use crate::rdb::{self, RdbError};
use crate::reader::Reader;
use crate::records::{Fault, Grammar, Item, Kind, ReadError, Record, RecordReader, State};
use crate::replication::{Mark, ReplicationId};
use crate::storage::{OpenMode, Storage, errno_text};
use resp::{Args, OwnedArgs};
use std::io;
use std::sync::Arc;
use thiserror::Error;
use values::Thresholds;

/// Bytes of a file between two reports of progress.
const PROGRESS_EVERY: u64 = 256 << 10;

/// Takes what the files of the log hold, in their order: entries of a base in RDB form by the
/// methods of [`rdb::Sink`], everything else as commands.
pub trait Target: rdb::Sink {
    /// Runs one command; the error text ends the loading.
    fn command(&mut self, args: Args<'_>) -> Result<(), String>;
    /// Told how far loading is: bytes loaded and bytes in all.
    fn progress(&mut self, loaded: u64, total: u64);
    /// How a base in RDB form is read.
    fn rdb_options(&self) -> rdb::LoadOptions {
        rdb::LoadOptions {
            thresholds: Thresholds::default(),
            checksum: true,
            any_version: false,
            skip_modules: false,
            count_streams: true,
            max_string: LogOptions::default().max_bulk,
        }
    }
}

/// What was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Files loaded, the empty ones included; 0 when there was no log.
    pub files: usize,
    /// Commands run, not counting MULTI and EXEC.
    pub commands: u64,
    /// Entries of a base in RDB form.
    pub entries: u64,
    /// Size of all files that count, in bytes, after cutting.
    pub bytes: u64,
    /// Size of the base, in bytes.
    pub base_bytes: u64,
    /// Stream offset at the end.
    pub offset: u64,
    /// Replication id at the end, when the log has one.
    pub replication_id: Option<ReplicationId>,
    /// Database that is selected in the stream at the end, as far as the log shows.
    pub stream_db: Option<u32>,
    /// What was cut off the end of the last file.
    pub truncated: Option<Truncated>,
}

impl LoadReport {
    /// The place to go on at.
    pub(crate) fn place(&self) -> Mark {
        Mark {
            position: self.offset,
            offset: self.offset,
            db: None,
            stream_db: self.stream_db,
            id: self.replication_id,
        }
    }
}

/// The end of the last file was incomplete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truncated {
    /// Name of the file.
    pub file: String,
    /// Its length now, in bytes.
    pub offset: u64,
    /// Bytes that were cut off.
    pub dropped: u64,
    /// Whether a transaction without EXEC was among them.
    pub transaction: bool,
}

/// Why the log cannot be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The directory or its manifest.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A file cannot be opened, measured, read or cut.
    #[error("{}: {}", .what.replacen("%s", .file, 1), errno_text(.source))]
    Io {
        /// What was tried, `%s` standing for the file.
        what: &'static str,
        /// The file.
        file: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Something that is neither a command nor an annotation.
    #[error(
        "Bad file format reading the append only file {file}: make a backup of your AOF file, then \
         use ./redis-check-aof --fix <filename.manifest> (at offset {offset}: {detail})"
    )]
    Format {
        /// The file.
        file: String,
        /// Where the record starts.
        offset: u64,
        /// What is wrong with it.
        detail: String,
    },
    /// The last file ends in the middle of a record, and cutting it is not allowed.
    #[error(
        "Unexpected end of file reading the append only file {file}. You can: 1) Make a backup of \
         your AOF file, then use ./redis-check-aof --fix <filename.manifest>. 2) Alternatively you \
         can set the 'aof-load-truncated' configuration option to yes and restart the server. \
         (the last whole record ends at offset {offset})"
    )]
    UnexpectedEnd {
        /// The file.
        file: String,
        /// End of what is whole.
        offset: u64,
    },
    /// A file before the last one ends in the middle of a record.
    #[error("Fatal error: the truncated file is not the last file ({file}, at offset {offset})")]
    TruncatedNotLast {
        /// The file.
        file: String,
        /// End of what is whole.
        offset: u64,
    },
    /// A checksum line does not fit the bytes before it.
    #[error(
        "Bad checksum in the append only file {file}: the bytes from offset {from} to {offset} are \
         not those that were written"
    )]
    Checksum {
        /// The file.
        file: String,
        /// Start of the range.
        from: u64,
        /// End of the range: where the checksum line starts.
        offset: u64,
    },
    /// Checksums fit, but records are missing or doubled before this place.
    #[error(
        "Records are missing or repeated in the append only file {file} before offset {offset}: \
         stream offset {found} where {expected} was expected"
    )]
    StreamOffset {
        /// The file.
        file: String,
        /// Where the checksum line starts.
        offset: u64,
        /// The stream offset counted.
        expected: u64,
        /// The one the line gives.
        found: u64,
    },
    /// A closed file is shorter than the manifest says.
    #[error("The append only file {file} has {found} bytes, but the manifest says {expected}")]
    TooShort {
        /// The file.
        file: String,
        /// Its length.
        found: u64,
        /// What the manifest says.
        expected: u64,
    },
    /// A file in RDB form is damaged, or holds what cannot be taken.
    #[error("Error reading the RDB {part} {file}, AOF loading aborted: {source}")]
    Rdb {
        /// What of the log it is: `base file`, or `preamble of the AOF file`.
        part: &'static str,
        /// The file.
        file: String,
        /// What is wrong, and where.
        #[source]
        source: Box<RdbError>,
    },
    /// A command that failed.
    #[error("Error reading the append only file {file}, error: {text} (at offset {offset})")]
    Command {
        /// The file.
        file: String,
        /// Where the command ends.
        offset: u64,
        /// What the command said.
        text: String,
    },
}

/// Loads the log in `options.dir`, cutting a torn end when the options allow it. The directory is
/// made when it is missing, and locked meanwhile. To go on writing use [`crate::Log::load`].
///
/// # Errors
/// See [`LoadError`]. Commands before the damage have been handed out by then.
pub fn load(
    storage: Arc<dyn Storage>,
    options: &LogOptions,
    target: &mut dyn Target,
) -> Result<LoadReport, LoadError> {
    let retention = Arc::new(Retention::new(options));
    let directory = Directory::open(storage, options, retention)?;
    let mut manifest = directory.manifest()?;
    directory.upgrade(&mut manifest)?;
    Ok(load_files(&directory, &manifest, options, target)?.report)
}

/// Where the last file ends, for going on there.
pub(crate) struct Tail {
    pub(crate) len: u64,
    pub(crate) checksum: Checksum,
}

/// What was loaded, and where it ends.
pub(crate) struct Loaded {
    pub(crate) report: LoadReport,
    /// The end of the last increment, when there is one.
    pub(crate) tail: Option<Tail>,
    /// How many increments count, the first of the manifest; the others came after a lost end.
    pub(crate) increments: usize,
    /// Their lengths.
    pub(crate) lengths: Vec<u64>,
}

/// Loads what the manifest names.
pub(crate) fn load_files(
    directory: &Directory,
    manifest: &Manifest,
    options: &LogOptions,
    target: &mut dyn Target,
) -> Result<Loaded, LoadError> {
    let mut sizes = Vec::new();
    for info in manifest.live() {
        sizes.push(size_of(directory, info)?);
    }
    let total = sizes.iter().sum();
    let mut session = LoadSession {
        options,
        target,
        total,
        done: 0,
        commands: 0,
        entries: 0,
        state: State::default(),
        other_db: false,
    };
    let mut report = LoadReport::default();
    let (mut tail, mut lengths) = (None, Vec::new());
    // The file before may have lost its end.
    let mut after_unsynced = false;
    for (index, (info, &size)) in manifest.live().zip(&sizes).enumerate() {
        let is_base = index == 0 && manifest.base.is_some();
        let role = if is_base { Role::Base } else { Role::Increment };
        if after_unsynced && session.is_beyond_a_gap(directory, info, size)? {
            log_lost_end(info, sizes.len() - index);
            break;
        }
        let last = index + 1 == sizes.len();
        let started = options.clock.monotonic_ns();
        let end = session.load_file(directory, info, role, size, last || info.unsynced)?;
        let kind = if is_base { "base" } else { "incr" };
        let seconds = options.clock.since(started).as_secs_f64();
        log::info!(
            "DB loaded from {kind} file {}: {seconds:.3} seconds",
            info.display()
        );
        report.files += 1;
        report.bytes += end.tail.len;
        if is_base {
            report.base_bytes = end.tail.len;
        } else {
            lengths.push(end.tail.len);
            tail = Some(end.tail);
        }
        report.truncated = end.truncated;
        if report.truncated.is_some() && !last {
            log_lost_end(info, sizes.len() - index - 1);
            break;
        }
        after_unsynced = info.unsynced;
    }
    Target::progress(session.target, total, total);
    report.commands = session.commands;
    report.entries = session.entries;
    report.offset = session.state.offset;
    report.replication_id = session.state.id;
    report.stream_db = session.state.stream_db;
    Ok(Loaded {
        report,
        tail,
        increments: lengths.len(),
        lengths,
    })
}

/// Files that were written behind an end that a power cut has taken were never acknowledged as
/// durable.
fn log_lost_end(info: &FileInfo, files: usize) {
    log::warn!(
        "The end of the AOF before or in {} was lost before it was synced: {files} later files are left out",
        info.display()
    );
}

/// Bytes of a file that count.
fn size_of(directory: &Directory, info: &FileInfo) -> Result<u64, LoadError> {
    let failed = |source| LoadError::Io {
        what: "Unable to obtain the AOF file %s length. stat",
        file: info.display(),
        source,
    };
    let file = directory
        .storage
        .open(&directory.path_of(info), OpenMode::Read)
        .map_err(failed)?;
    let found = file.len().map_err(failed)?;
    match info.length {
        Some(expected) if expected > found => Err(LoadError::TooShort {
            file: info.display(),
            found,
            expected,
        }),
        Some(expected) => Ok(expected),
        None => Ok(found),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Base,
    Increment,
}

/// What goes on from file to file.
struct LoadSession<'a> {
    options: &'a LogOptions,
    target: &'a mut dyn Target,
    total: u64,
    /// Bytes of the files before the current one.
    done: u64,
    commands: u64,
    entries: u64,
    /// Where the stream stands.
    state: State,
    /// Whether a database other than 0 is selected. Every file starts in database 0.
    other_db: bool,
}

struct FileEnd {
    tail: Tail,
    truncated: Option<Truncated>,
}

/// One file while it is read.
struct FileLoad {
    name: String,
    records: RecordReader,
    /// Commands of the transaction whose EXEC has not come yet.
    queued: Vec<OwnedArgs>,
}

impl LoadSession<'_> {
    /// Loads a file. Its end may be cut when it is the last, or was not synced when the next one
    /// began.
    fn load_file(
        &mut self,
        directory: &Directory,
        info: &FileInfo,
        role: Role,
        size: u64,
        may_be_cut: bool,
    ) -> Result<FileEnd, LoadError> {
        if self.other_db {
            self.run(
                &info.display(),
                0,
                OwnedArgs::from_slices(&[b"SELECT", b"0"]).as_args(),
            )?;
        }
        let mut load = self.open_file(directory, info, role, size)?;
        if load
            .records
            .reader
            .starts_with_any(&preamble::SIGNATURES)
            .map_err(|e| load.io(e))?
        {
            self.load_preamble(&mut load, size)?;
        }
        // Zeros at the end of a closed file are damage, not a torn end.
        let zeros = if may_be_cut {
            let reader = &mut load.records.reader;
            reader.drop_trailing_zeros().map_err(|e| load.io(e))?
        } else {
            0
        };
        let is_torn = self.read_records(&mut load)?;
        self.done += size;
        Target::progress(self.target, self.done, self.total);
        if is_torn || zeros > 0 || load.records.grammar.is_in_unit() {
            return self.cut(directory, info, load, size, may_be_cut);
        }
        self.state = *load.records.grammar.state();
        let tail = Tail {
            len: size,
            checksum: self.state.checksum,
        };
        Ok(FileEnd {
            tail,
            truncated: None,
        })
    }

    fn open_file(
        &self,
        directory: &Directory,
        info: &FileInfo,
        role: Role,
        size: u64,
    ) -> Result<FileLoad, LoadError> {
        let path = directory.path_of(info);
        let file = directory
            .storage
            .open(&path, OpenMode::Read)
            .map_err(|source| {
                let what = "Fatal error: can't open the append log file %s for reading";
                LoadError::Io {
                    what,
                    file: info.display(),
                    source,
                }
            })?;
        let grammar = Grammar::new(self.state, role == Role::Increment);
        Ok(FileLoad {
            name: info.display(),
            records: RecordReader::new(Reader::new(file, size), grammar, self.options.max_bulk),
            queued: Vec::new(),
        })
    }

    /// Whether the head of an increment says that records before it are missing.
    fn is_beyond_a_gap(
        &self,
        directory: &Directory,
        info: &FileInfo,
        size: u64,
    ) -> Result<bool, LoadError> {
        if !self.state.is_offset_known {
            return Ok(false);
        }
        let mut load = self.open_file(directory, info, Role::Increment, size)?;
        load.records.grammar.forget_offset();
        let found = match load.records.head_offset() {
            Ok(found) => found,
            Err(ReadError::Io(error)) => return Err(load.io(error)),
            // Loading it finds the damage again.
            Err(ReadError::Fault(_)) => None,
        };
        Ok(found.is_some_and(|found| found > self.state.offset))
    }

    /// Loads the part in RDB form that the file starts with; commands may follow it.
    fn load_preamble(&mut self, load: &mut FileLoad, size: u64) -> Result<(), LoadError> {
        let told = (self.done, self.total);
        let loaded = preamble::load(load.records.reader.file(), size, self.target, told);
        let loaded = loaded.map_err(|source| LoadError::Rdb {
            part: match load.name.ends_with(".rdb") {
                true => "base file",
                false => "preamble of the AOF file",
            },
            file: load.name.clone(),
            source: Box::new(source),
        })?;
        self.entries += loaded.entries;
        if let Some(offset) = loaded.offset {
            (self.state.offset, self.state.is_offset_known) = (offset, true);
            self.state.id = loaded.replication_id;
            self.state.stream_db = loaded.stream_db;
        }
        load.records.reader.skip_to(loaded.bytes);
        load.records.grammar.preamble(loaded.bytes, &self.state);
        if load.records.reader.remaining() > 0 {
            log::info!("Reading the remaining AOF tail...");
        }
        Ok(())
    }

    /// Runs what the file holds. Whether its last line or record begins and does not end.
    fn read_records(&mut self, load: &mut FileLoad) -> Result<bool, LoadError> {
        let mut told = 0;
        loop {
            let in_transaction = load.records.grammar.is_in_transaction();
            let record = match load.records.next() {
                Ok(Item::Line(_)) => continue,
                Ok(Item::Record(record)) => record,
                Ok(Item::End { is_torn: false }) => return Ok(false),
                Ok(Item::End { is_torn: true }) => {
                    load.refuse_hidden_damage()?;
                    return Ok(true);
                }
                Err(error) => return Err(load.error(error)),
            };
            if record.start >= told + PROGRESS_EVERY {
                told = record.start;
                Target::progress(self.target, self.done + told, self.total);
            }
            self.take(&load.name, &mut load.queued, &record, in_transaction)?;
        }
    }

    /// Runs a record, or queues it when inside a transaction.
    fn take(
        &mut self,
        file: &str,
        queued: &mut Vec<OwnedArgs>,
        record: &Record<'_>,
        in_transaction: bool,
    ) -> Result<(), LoadError> {
        match record.kind {
            Kind::Multi => {}
            Kind::Exec => {
                for command in queued.drain(..) {
                    self.run(file, record.start, command.as_args())?;
                }
            }
            Kind::Command if in_transaction => queued.push(record.args.to_owned()),
            Kind::Command => self.run(file, record.start, record.args)?,
        }
        Ok(())
    }

    fn run(&mut self, file: &str, offset: u64, args: Args<'_>) -> Result<(), LoadError> {
        if args.arg(0).eq_ignore_ascii_case(b"select") {
            self.other_db = args.arg(1) != b"0";
        }
        self.commands += 1;
        self.target
            .command(args)
            .map_err(|text| LoadError::Command {
                file: file.to_owned(),
                offset,
                text,
            })
    }

    /// Deals with a file that is not whole: cuts it when it is the last one and that is allowed.
    fn cut(
        &mut self,
        directory: &Directory,
        info: &FileInfo,
        load: FileLoad,
        size: u64,
        may_be_cut: bool,
    ) -> Result<FileEnd, LoadError> {
        let file = load.name;
        let reverted = load.records.grammar.is_in_transaction();
        if reverted {
            log::warn!("Revert incomplete MULTI/EXEC transaction in AOF file {file}");
        }
        let (offset, whole) = load.records.whole();
        self.state = whole;
        if !may_be_cut {
            return Err(LoadError::TruncatedNotLast { file, offset });
        }
        if !self.options.load_truncated {
            return Err(LoadError::UnexpectedEnd { file, offset });
        }
        log::warn!("!!! Warning: short read while loading the AOF file {file}!!!");
        log::warn!("!!! Truncating the AOF {file} at offset {offset} !!!");
        directory
            .storage
            .open(&directory.path_of(info), OpenMode::Append)
            .and_then(|handle| handle.truncate(offset).and_then(|()| handle.sync_data()))
            .map_err(|source| LoadError::Io {
                what: "Error truncating the AOF file %s",
                file: file.clone(),
                source,
            })?;
        log::warn!("AOF {file} loaded anyway because aof-load-truncated is enabled");
        let tail = Tail {
            len: offset,
            checksum: whole.checksum,
        };
        let dropped = size - offset;
        let truncated = Some(Truncated {
            file,
            offset,
            dropped,
            transaction: reverted,
        });
        Ok(FileEnd { tail, truncated })
    }
}

impl FileLoad {
    fn io(&self, source: io::Error) -> LoadError {
        let what = "Unrecoverable error reading the append only file %s";
        LoadError::Io {
            what,
            file: self.name.clone(),
            source,
        }
    }

    fn error(&self, error: ReadError) -> LoadError {
        let (file, offset) = (self.name.clone(), self.records.position());
        match error {
            ReadError::Io(source) => self.io(source),
            ReadError::Fault(Fault::Format(detail)) => LoadError::Format {
                file,
                offset,
                detail,
            },
            ReadError::Fault(Fault::Checksum { from }) => {
                LoadError::Checksum { file, from, offset }
            }
            ReadError::Fault(Fault::Offset { expected, found }) => LoadError::StreamOffset {
                file,
                offset,
                expected,
                found,
            },
        }
    }

    /// A damaged length can make a record reach beyond the end of the file, and everything after it
    /// look like a torn end. A checksum line inside the supposed record gives that away. A value
    /// may hold the text of such a line too; refusing the file is the safe mistake then.
    fn refuse_hidden_damage(&self) -> Result<(), LoadError> {
        let reader = &self.records.reader;
        let state = self.records.grammar.state();
        let plausible = state.offset..=state.offset + reader.remaining();
        let hidden = reader.find_line(b"#CRC:", |line| {
            matches!(Annotation::parse(line),
                     Annotation::Checksum { offset, .. } if plausible.contains(&offset))
        });
        match hidden.map_err(|e| self.io(e))? {
            None => Ok(()),
            Some(offset) => Err(LoadError::Checksum {
                file: self.name.clone(),
                from: state.checked_from.min(reader.position()),
                offset,
            }),
        }
    }
}
