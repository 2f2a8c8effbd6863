//! Logs: a single file, or all files of a manifest.

use super::Stop;
use super::rdb::check_preamble;
use crate::annotation::Annotation;
use crate::manifest::{FileInfo, Manifest};
use crate::preamble::{SIGNATURES, Source};
use crate::records::{Fault, Grammar, State};
use crate::storage::{File, OpenMode, Storage, errno_text, read_full};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;

/// Longest line of an annotation or of a length that is read at once.
const LINE_MAX: usize = 1024;
/// Bytes of an argument that the grammar sees: a name or a database number, with its line end.
const START_BYTES: usize = 16;
/// Longest line of a length, with its end.
const LENGTH_MAX: usize = 127;

/// Asks whether a file shall be cut.
pub type Confirm<'a> = dyn FnMut() -> bool + 'a;

/// Input, output and options of a check.
pub struct AofCheck<'a> {
    /// Where it is.
    pub storage: &'a dyn Storage,
    /// Messages are printed there.
    pub out: &'a mut dyn Write,
    /// Cut the last file behind its last whole record, if `confirm` says so.
    pub fix: bool,
    /// Cut the last file before the first record that is newer than this many Unix seconds.
    pub to_timestamp: Option<u64>,
    /// Keys of a base in RDB form that expire before count as expired, Unix milliseconds.
    pub now_ms: u64,
    /// Whether the user agrees.
    pub confirm: &'a mut Confirm<'a>,
}

/// The result for one file.
enum Outcome {
    Good,
    Empty,
    Cut,
    CutToTimestamp,
}

/// A file to be checked.
struct Subject<'a> {
    /// For messages.
    name: String,
    path: &'a Path,
    /// Bytes that count.
    length: Option<u64>,
    may_be_cut: bool,
    preamble: bool,
}

impl AofCheck<'_> {
    /// Checks the file: a manifest with all files it names, or a log in one file. Returns whether
    /// it is valid, perhaps after a fix.
    ///
    /// # Errors
    /// Errors of writing to `out`.
    pub fn run(&mut self, path: &Path) -> io::Result<bool> {
        let result = match self.is_manifest(path) {
            Ok(true) => self.multi_part(path),
            Ok(false) => self.old_style(path),
            Err(stop) => Err(stop),
        };
        match result {
            Ok(()) => Ok(true),
            Err(Stop::Failed) => Ok(false),
            Err(Stop::Output(error)) => Err(error),
        }
    }

    fn open(&mut self, path: &Path) -> Result<(Arc<dyn File>, u64), Stop> {
        let opened = self
            .storage
            .open(path, OpenMode::Read)
            .and_then(|file| Ok((file.len()?, file)));
        match opened {
            Ok((len, file)) => Ok((file, len)),
            Err(error) => {
                let (path, text) = (path.display(), errno_text(&error));
                writeln!(self.out, "Cannot open file {path}: {text}, aborting...")?;
                Err(Stop::Failed)
            }
        }
    }

    /// A manifest has lines that begin with `file`, after comments.
    fn is_manifest(&mut self, path: &Path) -> Result<bool, Stop> {
        let (file, len) = self.open(path)?;
        let mut lines = BufReader::new(Source::new(file, len));
        loop {
            let mut line = Vec::new();
            let read = (&mut lines)
                .take(LINE_MAX as u64)
                .read_until(b'\n', &mut line);
            match read {
                Ok(0) => return Ok(false),
                Ok(_) if line.first() == Some(&b'#') => {}
                Ok(_) => return Ok(line.starts_with(b"file")),
                Err(_) => {
                    writeln!(self.out, "Cannot read file: {}", path.display())?;
                    return Err(Stop::Failed);
                }
            }
        }
    }

    fn is_rdb(&mut self, path: &Path) -> Result<bool, Stop> {
        let (file, len) = self.open(path)?;
        let mut head = [0; 8];
        let read = read_full(&*file, 0, &mut head).unwrap_or(0);
        Ok(len >= 8
            && SIGNATURES
                .iter()
                .any(|start| head[..read].starts_with(start)))
    }

    fn multi_part(&mut self, path: &Path) -> Result<(), Stop> {
        writeln!(self.out, "Start checking Multi Part AOF")?;
        let manifest = self.read_manifest(path)?;
        let dir = path.parent().unwrap_or(Path::new(""));
        let count = manifest.live().count();
        let mut said = false;
        for (index, info) in manifest.live().enumerate() {
            let is_base = index == 0 && manifest.base.is_some();
            let path = dir.join(&info.name);
            let preamble = is_base && self.is_rdb(&path)?;
            if is_base {
                let form = if preamble { "RDB" } else { "RESP" };
                writeln!(self.out, "Start to check BASE AOF ({form} format).")?;
            } else if !said {
                said = true;
                writeln!(self.out, "Start to check INCR files.")?;
            }
            let outcome = self.single(&subject(info, &path, index + 1 == count, preamble))?;
            let kind = if is_base { "BASE AOF" } else { "INCR AOF" };
            self.say(&outcome, &info.display(), kind)?;
        }
        writeln!(self.out, "All AOF files and manifest are valid")?;
        Ok(())
    }

    fn read_manifest(&mut self, path: &Path) -> Result<Manifest, Stop> {
        let (file, len) = self.open(path)?;
        let mut text = Vec::new();
        let parsed = Source::new(file, len)
            .read_to_end(&mut text)
            .map_err(|error| errno_text(&error))
            .and_then(|_| Manifest::parse(&text).map_err(|error| error.to_string()));
        match parsed {
            Ok(manifest) => Ok(manifest),
            Err(reason) => {
                writeln!(self.out, "Fatal error: {reason}")?;
                Err(Stop::Failed)
            }
        }
    }

    fn old_style(&mut self, path: &Path) -> Result<(), Stop> {
        writeln!(self.out, "Start checking Old-Style AOF")?;
        let name = path.display().to_string();
        let subject = Subject {
            name: name.clone(),
            path,
            length: None,
            may_be_cut: true,
            preamble: self.is_rdb(path)?,
        };
        let outcome = self.single(&subject)?;
        self.say(&outcome, &name, "AOF")
    }

    fn say(&mut self, outcome: &Outcome, name: &str, kind: &str) -> Result<(), Stop> {
        let time = self.to_timestamp.unwrap_or(0);
        match outcome {
            Outcome::Good => writeln!(self.out, "{kind} {name} is valid")?,
            Outcome::Empty => writeln!(self.out, "{kind} {name} is empty")?,
            Outcome::Cut => writeln!(self.out, "Successfully truncated AOF {name}")?,
            Outcome::CutToTimestamp => {
                writeln!(
                    self.out,
                    "Successfully truncated AOF {name} to timestamp {time}"
                )?;
            }
        }
        Ok(())
    }

    fn single(&mut self, subject: &Subject<'_>) -> Result<Outcome, Stop> {
        let (file, len) = self.open(subject.path)?;
        let size = subject.length.map_or(len, |length| length.min(len));
        if size == 0 {
            return Ok(Outcome::Empty);
        }
        let mut start = 0;
        if subject.preamble {
            start = match check_preamble(&file, size, &subject.name, self.now_ms, self.out)? {
                Some(bytes) => bytes,
                None => {
                    writeln!(self.out, "RDB preamble of AOF file is not sane, aborting.")?;
                    return Err(Stop::Failed);
                }
            };
            writeln!(self.out, "RDB preamble is OK, proceeding with AOF tail...")?;
        }
        let mut check = RecordCheck::new(file, start, size);
        let newer = check.run(subject, self.to_timestamp).map_err(|error| {
            let text = errno_text(&error);
            // An error of this message itself is ignored.
            let _ = writeln!(
                self.out,
                "Failed to read from AOF {}: {text}, aborting...",
                subject.name
            );
            Stop::Failed
        })?;
        if let Some(at) = newer {
            return self.cut_to_timestamp(subject, at);
        }
        if let Some(error) = &check.error {
            writeln!(self.out, "{error}")?;
        }
        self.conclude(subject, size, &check)
    }

    fn conclude(
        &mut self,
        subject: &Subject<'_>,
        size: u64,
        check: &RecordCheck,
    ) -> Result<Outcome, Stop> {
        let (name, good) = (&subject.name, check.good);
        let rest = size - good;
        if let Some(time) = self.to_timestamp.filter(|_| rest == 0) {
            writeln!(
                self.out,
                "Truncate nothing in AOF {name} to timestamp {time}"
            )?;
            return Ok(Outcome::Good);
        }
        writeln!(
            self.out,
            "AOF analyzed: filename={name}, size={size}, ok_up_to={good}, ok_up_to_line={}, diff={rest}",
            check.line
        )?;
        if rest == 0 {
            return Ok(Outcome::Good);
        }
        if !self.fix {
            writeln!(
                self.out,
                "AOF {name} is not valid. Use the --fix option to try fixing it."
            )?;
            return Err(Stop::Failed);
        }
        if !subject.may_be_cut {
            writeln!(
                self.out,
                "Failed to truncate AOF {name} because it is not the last file"
            )?;
            return Err(Stop::Failed);
        }
        writeln!(
            self.out,
            "This will shrink the AOF {name} from {size} bytes, with {rest} bytes, to {good} bytes"
        )?;
        write!(self.out, "Continue? [y/N]: ")?;
        self.out.flush()?;
        if !(self.confirm)() {
            writeln!(self.out, "Aborting...")?;
            return Err(Stop::Failed);
        }
        if self.cut(subject.path, good).is_err() {
            writeln!(self.out, "Failed to truncate AOF {name}")?;
            return Err(Stop::Failed);
        }
        Ok(Outcome::Cut)
    }

    fn cut_to_timestamp(&mut self, subject: &Subject<'_>, at: u64) -> Result<Outcome, Stop> {
        let time = self.to_timestamp.unwrap_or(0);
        let path = subject.path.display();
        if at == 0 {
            writeln!(
                self.out,
                "AOF {path} has nothing before timestamp {time}, aborting..."
            )?;
            return Err(Stop::Failed);
        }
        if !subject.may_be_cut {
            writeln!(
                self.out,
                "Failed to truncate AOF {path} to timestamp {time} to offset {at} because it is not the last file.\n\
                 If you insist, please delete all files after this file according to the manifest file and delete \
                 the corresponding records in manifest file manually. Then re-run lodestore check aof."
            )?;
            return Err(Stop::Failed);
        }
        if self.cut(subject.path, at).is_err() {
            writeln!(
                self.out,
                "Failed to truncate AOF {path} to timestamp {time}"
            )?;
            return Err(Stop::Failed);
        }
        Ok(Outcome::CutToTimestamp)
    }

    fn cut(&self, path: &Path, len: u64) -> io::Result<()> {
        let file = self.storage.open(path, OpenMode::Append)?;
        file.truncate(len)?;
        file.sync_data()
    }
}

fn subject<'a>(info: &FileInfo, path: &'a Path, last: bool, preamble: bool) -> Subject<'a> {
    Subject {
        name: info.display(),
        path,
        length: info.length,
        may_be_cut: last,
        preamble,
    }
}

/// Goes over the records of a file, naming the byte that is wrong.
struct RecordCheck {
    input: BufReader<Source>,
    position: u64,
    /// End of the last whole record or transaction.
    good: u64,
    line: u64,
    grammar: Grammar,
    /// Start of the part that is being read.
    part: u64,
    error: Option<String>,
}

impl RecordCheck {
    fn new(file: Arc<dyn File>, start: u64, len: u64) -> Self {
        let mut grammar = Grammar::new(State::default(), true);
        grammar.preamble(start, &State::default());
        Self {
            input: BufReader::new(Source::from(file, start, len)),
            position: start,
            good: start,
            line: 1,
            grammar,
            part: start,
            error: None,
        }
    }

    /// Reads up to the first damage. Returns the offset of the first time stamp that is newer than
    /// `to_timestamp`.
    fn run(&mut self, subject: &Subject<'_>, to: Option<u64>) -> io::Result<Option<u64>> {
        loop {
            self.good = self.grammar.whole(self.position).0;
            let Some(&first) = self.input.fill_buf()?.first() else {
                self.fail_in_unit();
                return Ok(None);
            };
            match first {
                b'#' => match self.annotation(to)? {
                    Seen::Good => {}
                    Seen::Newer(at) => return Ok(Some(at)),
                    Seen::Bad => return Ok(None),
                },
                b'*' if self.record(subject)? => {}
                b'*' => {
                    if self.input.fill_buf()?.is_empty() && self.error.is_none() {
                        self.fail_in_unit();
                    }
                    return Ok(None);
                }
                _ => {
                    self.error = Some(format!("AOF {} format error", subject.name));
                    return Ok(None);
                }
            }
        }
    }

    /// Handles the end of the file, an error inside a transaction and behind a LOCAL line.
    fn fail_in_unit(&mut self) {
        if self.grammar.is_in_transaction() {
            self.fail("Reached EOF before reading EXEC for MULTI");
        } else if self.grammar.is_in_unit() {
            self.fail("Reached EOF behind #LOCAL:");
        }
    }

    fn fail(&mut self, text: &str) -> bool {
        self.error = Some(format!("0x{:>16x}: {text}", self.part));
        false
    }

    /// A line of at most `most` bytes; shorter without its end only at the end of the file.
    fn line(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        self.part = self.position;
        let read = (&mut self.input)
            .take(most as u64)
            .read_until(b'\n', &mut line)?;
        self.position += read as u64;
        Ok(line)
    }

    fn annotation(&mut self, to: Option<u64>) -> io::Result<Seen> {
        let line = self.line(LINE_MAX)?;
        if line.last() != Some(&b'\n') {
            self.fail("Expected \\r\\n at the end of an annotation");
            return Ok(Seen::Bad);
        }
        match self.grammar.annotation(&line, self.part) {
            Ok(Annotation::Time(time)) if to.is_some_and(|to| time > to) => {
                Ok(Seen::Newer(self.good))
            }
            Ok(_) => Ok(Seen::Good),
            Err(fault) => {
                self.fault(fault);
                Ok(Seen::Bad)
            }
        }
    }

    fn fault(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::Format(text) => self.fail(&text),
            Fault::Checksum { from } => {
                // The damage is anywhere in the range of the checksum.
                self.good = from;
                self.fail("Bad checksum")
            }
            Fault::Offset { expected, found } => self.fail(&format!(
                "Expected stream offset {expected}, got {found}: records are missing or repeated"
            )),
        }
    }

    /// Reads a record. False when it is not whole, or must not stand here.
    fn record(&mut self, subject: &Subject<'_>) -> io::Result<bool> {
        let start = self.position;
        let Some(count) = self.length(b'*')? else {
            return Ok(false);
        };
        let mut head = Vec::new();
        for index in 0..count {
            let Some(len) = self.length(b'$')? else {
                return Ok(false);
            };
            let Some(len) = u64::try_from(len).ok().and_then(|len| len.checked_add(2)) else {
                let text = format!(
                    "Expected to read string of {len} bytes, which is not in the suitable range"
                );
                return Ok(self.fail(&text));
            };
            let Some(start) = self.string(len)? else {
                return Ok(false);
            };
            if index < 2 {
                head.push(start);
            }
        }
        Ok(self.take(&head, start, subject))
    }

    /// Passes a record with these first arguments to the grammar.
    fn take(&mut self, head: &[Vec<u8>], start: u64, subject: &Subject<'_>) -> bool {
        let name = head.first().map_or(&b""[..], Vec::as_slice);
        let argument = head.get(1).map(Vec::as_slice);
        match self.grammar.record(name, argument, (start, self.position)) {
            Ok(_) => true,
            Err(Fault::Format(_)) if self.grammar.is_misplaced(name) => {
                let (name, path) = (name.to_ascii_uppercase(), subject.path.display());
                let name = String::from_utf8_lossy(&name);
                self.fail(&format!("Unexpected {name} in AOF {path}"))
            }
            Err(fault) => self.fault(fault),
        }
    }

    /// Reads `len` bytes with the line end; returns the first of them.
    fn string(&mut self, len: u64) -> io::Result<Option<Vec<u8>>> {
        self.part = self.position;
        let mut start = Vec::new();
        let mut tail = [0; 2];
        let mut done = 0;
        while done < len {
            let chunk = self.input.fill_buf()?;
            let take =
                usize::try_from(len - done).map_or(chunk.len(), |left| left.min(chunk.len()));
            if take == 0 {
                let text = format!("Expected to read {len} bytes, got {done} bytes");
                self.fail(&text);
                return Ok(None);
            }
            let part = &chunk[..take];
            self.grammar.cover(part);
            start.extend(part.iter().take(START_BYTES - start.len()));
            for &byte in part.iter().skip(part.len().saturating_sub(2)) {
                tail = [tail[1], byte];
            }
            self.input.consume(take);
            self.position += take as u64;
            done += take as u64;
        }
        if tail != *b"\r\n" {
            self.fail(&no_line_end(&tail));
            return Ok(None);
        }
        self.line += 1;
        start.truncate(usize::try_from(len - 2).unwrap_or(usize::MAX));
        Ok(Some(start))
    }

    /// Reads the line with a number that follows `prefix`.
    fn length(&mut self, prefix: u8) -> io::Result<Option<i64>> {
        let line = self.line(LENGTH_MAX)?;
        let Some((&first, rest)) = line.split_first() else {
            return Ok(None);
        };
        if first != prefix {
            let (prefix, first) = (char::from(prefix), char::from(first));
            self.fail(&format!("Expected prefix '{prefix}', got: '{first}'"));
            return Ok(None);
        }
        let digits = rest
            .iter()
            .enumerate()
            .take_while(|(index, byte)| byte.is_ascii_digit() || (*index == 0 && **byte == b'-'))
            .count();
        let (number, end) = rest.split_at(digits);
        if end != b"\r\n" {
            self.fail(&no_line_end(end));
            return Ok(None);
        }
        self.grammar.cover(&line);
        self.line += 1;
        let number = std::str::from_utf8(number).ok();
        let is_negative = rest.first() == Some(&b'-');
        let beyond = if is_negative { i64::MIN } else { i64::MAX };
        Ok(Some(match number {
            None | Some("" | "-") => 0,
            Some(text) => text.parse().unwrap_or(beyond),
        }))
    }
}

/// The result of an annotation.
enum Seen {
    Good,
    Bad,
    /// A time stamp that is too new, and where it stands.
    Newer(u64),
}

fn no_line_end(found: &[u8]) -> String {
    let byte = |index: usize| found.get(index).copied().unwrap_or(0);
    format!("Expected \\r\\n, got: {:02x}{:02x}", byte(0), byte(1))
}
