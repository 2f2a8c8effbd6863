//! The manifest: which files make up the append-only log, and in which order.
//!
//! The text format is that of Redis 7 and later, one file per line:
//!
//! ```text
//! file appendonly.aof.2.base.rdb seq 2 type b
//! file appendonly.aof.1.incr.aof seq 1 type h
//! file appendonly.aof.4.incr.aof seq 4 type i length 81920
//! file appendonly.aof.5.incr.aof seq 5 type i tail unsynced
//! file appendonly.aof.6.incr.aof seq 6 type i
//! ```
//!
//! Types: `b` the base (at most one), `h` history (superseded, to be removed), `i` increments in
//! ascending order. Further pairs are allowed and ignored by every reader; ours are:
//!
//! - `length`: only the first so many bytes of the file count. It is written for a file whose tail
//!   could not be synced and stands again in the next file, so that renaming the manifest switches
//!   both at once.
//! - `tail unsynced`: the next file was begun before the end of this one was synced. A power cut
//!   may have removed that end, and later files do not count then.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use thiserror::Error;

/// Longest line a reader accepts, in bytes, with its line end.
const LINE_MAX: usize = 1024;

/// How a base is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseForm {
    /// RESP commands that create the data, starting in database 0.
    Commands,
    /// A whole RDB file (`aof-use-rdb-preamble`).
    Rdb,
}

impl BaseForm {
    fn extension(self) -> &'static str {
        match self {
            Self::Commands => "aof",
            Self::Rdb => "rdb",
        }
    }
}

/// One file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// Name inside the directory; never a path.
    pub name: OsString,
    /// Sequence number, counted separately for bases and increments; from 1.
    pub seq: u64,
    /// Number of bytes that count, when it is not all of them.
    pub length: Option<u64>,
    /// A power cut may have removed the end; later files do not count then.
    pub unsynced: bool,
}

/// The files of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The data set at some moment.
    pub base: Option<FileInfo>,
    /// Superseded files that have not been removed yet.
    pub history: Vec<FileInfo>,
    /// Increments since the base, ascending by sequence number.
    pub incr: Vec<FileInfo>,
}

/// Why a manifest cannot be used. The texts are Valkey's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{reason}", position(.line))]
pub struct ManifestError {
    /// Line number from 1 and the line itself.
    pub line: Option<(usize, String)>,
    /// What is wrong with it.
    pub reason: &'static str,
}

fn position(line: &Option<(usize, String)>) -> String {
    match line {
        Some((number, text)) => {
            format!("Reading the manifest file, at line {number} >>> '{text}': ")
        }
        None => String::new(),
    }
}

impl Manifest {
    /// Reads the text.
    ///
    /// # Errors
    /// The text is not exactly a manifest. A guess could lose a file, so the server refuses to
    /// start.
    pub fn parse(text: &[u8]) -> Result<Self, ManifestError> {
        if text.is_empty() {
            return Err(ManifestError {
                line: None,
                reason: "Found an empty AOF manifest",
            });
        }
        let mut manifest = Self::default();
        for (index, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
            if line.first() == Some(&b'#') {
                continue;
            }
            manifest.add_line(line).map_err(|reason| {
                let shown = String::from_utf8_lossy(trim(line)).into_owned();
                ManifestError {
                    line: Some((index + 1, shown)),
                    reason,
                }
            })?;
        }
        Ok(manifest)
    }

    fn add_line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        // A line without its end was cut off; Valkey answers the same text for both.
        if line.len() > LINE_MAX || line.last() != Some(&b'\n') {
            return Err("The AOF manifest file contains too long line");
        }
        let (info, kind) = parse_file(trim(line))?;
        match kind {
            b'b' if self.base.is_some() => return Err("Found duplicate base file information"),
            b'b' => self.base = Some(info),
            b'h' => self.history.push(info),
            b'i' => {
                if self.incr.last().is_some_and(|last| info.seq <= last.seq) {
                    return Err("Found a non-monotonic sequence number");
                }
                self.incr.push(info);
            }
            _ => return Err("Unknown AOF file type"),
        }
        Ok(())
    }

    /// The text, as [`Manifest::parse`] and the loaders of Redis and Valkey read it.
    #[must_use]
    pub fn to_text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let base = self.base.iter().map(|info| (info, 'b'));
        let history = self.history.iter().map(|info| (info, 'h'));
        let incr = self.incr.iter().map(|info| (info, 'i'));
        for (info, kind) in base.chain(history).chain(incr) {
            text.extend_from_slice(b"file ");
            push_name(&mut text, info.name.as_bytes());
            text.extend_from_slice(format!(" seq {} type {kind}", info.seq).as_bytes());
            if let Some(length) = info.length {
                text.extend_from_slice(format!(" length {length}").as_bytes());
            }
            if info.unsynced {
                text.extend_from_slice(b" tail unsynced");
            }
            text.push(b'\n');
        }
        text
    }

    /// Whether it names no file that counts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.base.is_none() && self.incr.is_empty()
    }

    /// Files to load, in order.
    pub fn live(&self) -> impl Iterator<Item = &FileInfo> {
        self.base.iter().chain(&self.incr)
    }

    /// Puts a new base there, and makes the old one and the increments before `keep_from` history;
    /// all increments when that is `None`.
    pub(crate) fn rebase(
        &mut self,
        filename: &str,
        form: BaseForm,
        keep_from: Option<u64>,
    ) -> FileInfo {
        let mut seq = self.base.as_ref().map_or(0, |base| base.seq) + 1;
        let name = |seq: u64, form: BaseForm| {
            FileInfo::new(format!("{filename}.{seq}.base.{}", form.extension()), seq)
        };
        while [BaseForm::Commands, BaseForm::Rdb]
            .iter()
            .any(|form| self.is_history(&name(seq, *form)))
        {
            seq += 1;
        }
        let base = name(seq, form);
        self.history.extend(self.base.replace(base.clone()));
        let kept = keep_from.map_or(self.incr.len(), |from| {
            self.incr.partition_point(|info| info.seq < from)
        });
        self.history.extend(self.incr.drain(..kept));
        base
    }

    /// The increment that follows those it names; not added yet.
    pub(crate) fn next_incr(&self, filename: &str) -> FileInfo {
        let mut seq = self.incr.last().map_or(0, |last| last.seq) + 1;
        let mut incr = FileInfo::new(format!("{filename}.{seq}.incr.aof"), seq);
        while self.is_history(&incr) {
            seq += 1;
            incr = FileInfo::new(format!("{filename}.{seq}.incr.aof"), seq);
        }
        incr
    }

    /// A history file is about to be removed, so its name must not be given again.
    fn is_history(&self, info: &FileInfo) -> bool {
        self.history.iter().any(|old| old.name == info.name)
    }
}

impl FileInfo {
    /// A file that counts as a whole.
    #[must_use]
    pub fn new(name: impl Into<OsString>, seq: u64) -> Self {
        Self {
            name: name.into(),
            seq,
            length: None,
            unsynced: false,
        }
    }

    /// The name for messages.
    #[must_use]
    pub fn display(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }
}

const INVALID: &str = "Invalid AOF manifest file format";

fn parse_file(line: &[u8]) -> Result<(FileInfo, u8), &'static str> {
    let words = split_words(line).ok_or(INVALID)?;
    if words.len() < 6 || !words.len().is_multiple_of(2) {
        return Err(INVALID);
    }
    let (mut name, mut seq, mut kind, mut length) = (None, 0, None, None);
    let mut unsynced = false;
    for pair in words.chunks_exact(2) {
        let [key, value] = pair else { continue };
        match key.to_ascii_lowercase().as_slice() {
            b"file" if value.iter().any(|byte| matches!(byte, b'/' | b'\\')) => {
                return Err("File can't be a path, just a filename");
            }
            b"file" => name = Some(value.clone()),
            b"seq" => seq = parse_number(value).ok_or(INVALID)?,
            b"type" => kind = value.first().copied(),
            b"length" => length = Some(parse_number(value).ok_or(INVALID)?),
            b"tail" => unsynced = value == b"unsynced",
            _ => {}
        }
    }
    match (name, kind) {
        (Some(name), Some(kind)) if seq > 0 && is_file_name(&name) => Ok((
            FileInfo {
                name: OsString::from_vec(name),
                seq,
                length,
                unsynced,
            },
            kind,
        )),
        _ => Err(INVALID),
    }
}

fn is_file_name(name: &[u8]) -> bool {
    !name.is_empty() && name != b"." && name != b".." && !name.contains(&0)
}

/// A number of at most 18 digits, so that counting on from it cannot overflow.
fn parse_number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 18 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn trim(line: &[u8]) -> &[u8] {
    line.trim_ascii()
}

/// Writes a name, quoted when it holds anything but visible ASCII.
fn push_name(text: &mut Vec<u8>, name: &[u8]) {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'\'');
    if name.iter().all(plain) {
        text.extend_from_slice(name);
        return;
    }
    text.push(b'"');
    for &byte in name {
        match byte {
            b'\\' | b'"' => text.extend_from_slice(&[b'\\', byte]),
            b' '..=b'~' => text.push(byte),
            b'\n' => text.extend_from_slice(b"\\n"),
            b'\r' => text.extend_from_slice(b"\\r"),
            b'\t' => text.extend_from_slice(b"\\t"),
            0x07 => text.extend_from_slice(b"\\a"),
            0x08 => text.extend_from_slice(b"\\b"),
            _ => text.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    text.push(b'"');
}

/// Splits at blanks; words may be quoted as in Redis's configuration file.
fn split_words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        let Some(&first) = rest.first() else {
            return Some(words);
        };
        let (word, used) = match first {
            b'"' | b'\'' => quoted_word(rest, first)?,
            _ => plain_word(rest)?,
        };
        words.push(word);
        rest = &rest[used..];
    }
}

fn plain_word(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let len = text
        .iter()
        .position(u8::is_ascii_whitespace)
        .unwrap_or(text.len());
    let word = &text[..len];
    // A quote may only open a word: a quote inside a word, which Redis accepts, is a mistake here.
    (!word.iter().any(|byte| matches!(byte, b'"' | b'\''))).then(|| (word.to_vec(), len))
}

/// A word in quotes, and the bytes it took. `None` when the quote does not end a word.
fn quoted_word(text: &[u8], quote: u8) -> Option<(Vec<u8>, usize)> {
    let mut word = Vec::new();
    let mut at = 1;
    loop {
        let byte = *text.get(at)?;
        at += 1;
        if byte == quote {
            let ends = text.get(at).is_none_or(u8::is_ascii_whitespace);
            return ends.then_some((word, at));
        }
        if byte != b'\\' {
            word.push(byte);
            continue;
        }
        let escaped = *text.get(at)?;
        if quote == b'\'' {
            // Only the quote itself is escaped between single quotes.
            if escaped == b'\'' {
                at += 1;
                word.push(b'\'');
            } else {
                word.push(b'\\');
            }
            continue;
        }
        let (decoded, used) = unescape(&text[at..], escaped);
        word.push(decoded);
        at += used;
    }
}

/// The byte an escape stands for and its length after the backslash.
fn unescape(text: &[u8], escaped: u8) -> (u8, usize) {
    if escaped == b'x' {
        let hex = text
            .get(1..3)
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let value = hex.and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(value) = value.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            return (value, 3);
        }
    }
    let byte = match escaped {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    };
    (byte, 1)
}

impl AsRef<OsStr> for FileInfo {
    fn as_ref(&self) -> &OsStr {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reason(text: &str) -> &'static str {
        Manifest::parse(text.as_bytes()).unwrap_err().reason
    }

    #[test]
    fn the_example_of_the_format_reads() {
        let text = "file appendonly.aof.2.base.rdb seq 2 type b\n\
                    file appendonly.aof.1.incr.aof seq 1 type h\n\
                    file appendonly.aof.4.incr.aof seq 4 type i length 81920\n\
                    file appendonly.aof.5.incr.aof seq 5 type i tail unsynced\n\
                    file appendonly.aof.6.incr.aof seq 6 type i\n";
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        assert_eq!(manifest.base.as_ref().map(|base| base.seq), Some(2));
        assert_eq!(manifest.history.len(), 1);
        assert_eq!(manifest.incr[0].length, Some(81920));
        assert_eq!(manifest.live().count(), 4);
        assert!(manifest.incr[1].unsynced && !manifest.incr[0].unsynced);
        assert_eq!(manifest.to_text(), text.as_bytes());
    }

    #[test]
    fn keys_have_any_case_and_order_and_unknown_ones_are_ignored() {
        let manifest = Manifest::parse(b"# note\n  TYPE i  Seq 3 FILE 'a b.aof' color red \r\n");
        let manifest = manifest.unwrap();
        assert_eq!(manifest.incr, [FileInfo::new("a b.aof", 3)]);
        assert_eq!(manifest.to_text(), b"file \"a b.aof\" seq 3 type i\n");
    }

    #[test]
    fn what_is_wrong_is_told_as_valkey_does() {
        assert_eq!(reason(""), "Found an empty AOF manifest");
        assert_eq!(reason("\n"), INVALID);
        assert_eq!(reason("file a seq 1\n"), INVALID);
        assert_eq!(reason("file a seq 1 type i more\n"), INVALID);
        assert_eq!(reason("file a seq 0 type i\n"), INVALID);
        assert_eq!(reason("file a seq 9999999999999999999 type i\n"), INVALID);
        assert_eq!(reason("file \"a seq 1 type i\n"), INVALID);
        assert_eq!(reason("file .. seq 1 type b\n"), INVALID);
        assert_eq!(reason("file a seq 1 kind i\n"), INVALID);
        assert_eq!(
            reason("file ../a seq 1 type b\n"),
            "File can't be a path, just a filename"
        );
        assert_eq!(reason("file a seq 1 type x\n"), "Unknown AOF file type");
        assert_eq!(
            reason("file a seq 1 type i"),
            "The AOF manifest file contains too long line"
        );
        let long = format!("file {} seq 1 type i\n", "a".repeat(LINE_MAX));
        assert_eq!(
            reason(&long),
            "The AOF manifest file contains too long line"
        );
        assert_eq!(
            reason("file a seq 1 type b\nfile b seq 2 type b\n"),
            "Found duplicate base file information"
        );
        let error = Manifest::parse(b"file a seq 2 type i\nfile b seq 2 type i\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "Reading the manifest file, at line 2 >>> 'file b seq 2 type i': Found a non-monotonic \
             sequence number"
        );
    }

    #[test]
    fn new_files_never_take_a_name_in_use() {
        let text = b"file log.1.base.aof seq 1 type h\nfile log.3.incr.aof seq 3 type i\n";
        let mut manifest = Manifest::parse(text).unwrap();
        let incr = manifest.next_incr("log");
        assert_eq!(incr, FileInfo::new("log.4.incr.aof", 4));
        manifest.incr.push(incr.clone());
        let base = manifest.rebase("log", BaseForm::Rdb, Some(4));
        assert_eq!(base, FileInfo::new("log.2.base.rdb", 2));
        assert_eq!((manifest.history.len(), manifest.incr), (2, vec![incr]));
    }

    fn name() -> impl Strategy<Value = OsString> {
        prop::collection::vec(1u8.., 1..40)
            .prop_map(|bytes| {
                bytes
                    .into_iter()
                    .filter(|byte| !b"/\\".contains(byte))
                    .collect()
            })
            .prop_filter("no file name", |name: &Vec<u8>| is_file_name(name))
            .prop_map(OsString::from_vec)
    }

    proptest! {
        #[test]
        fn any_name_survives(name in name(), seq in 1u64..1 << 50, length: Option<u32>, unsynced: bool) {
            let info = FileInfo { name, seq, length: length.map(u64::from), unsynced };
            let manifest = Manifest { base: Some(info.clone()), history: vec![info.clone()], incr: vec![info] };
            prop_assert_eq!(Manifest::parse(&manifest.to_text()), Ok(manifest));
        }

        #[test]
        fn any_text_is_read_or_refused(text: Vec<u8>) {
            let _ = Manifest::parse(&text);
        }
    }
}
