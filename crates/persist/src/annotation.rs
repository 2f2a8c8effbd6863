//! Annotation lines: lines between the records of a log file.
//!
//! ```text
//! #TS:1700000000\r\n                        the records that follow are not older than this
//! #CRC:0123456789abcdef OFF:4096\r\n        CRC-64 of the bytes since the previous checksum line
//!                                           (or the start of the file), and the stream offset
//! #SKIP:14\r\n                              14 bytes of the stream that the file does not have
//! #SKIP:37 DB:3\r\n                         the same; they leave database 3 selected in the stream
//! #LOCAL:27\r\n                             the next 27 bytes of the file are not in the stream
//! #REPL:<40 hex digits> 4096\r\n            replication id from here on, and the stream offset
//! #REPL:<40 hex digits> 4096 DB:3\r\n       the same; database 3 is selected in the stream here
//! ```
//!
//! Where they stand:
//!
//! ```text
//! file       = [RDB] element*
//! element    = line | unit | local unit
//! line       = TS | CRC | SKIP | REPL | any other line that starts with '#'
//! unit       = record | MULTI (record | line)* EXEC
//! increment  = [local SELECT] [REPL] [CRC] [REPL] element*
//! append     = [TS] [local SELECT] [SELECT] unit+      for both readers
//!            | [TS] ([local SELECT] local unit)+       for the file only
//!            | SKIP                                    for the stream only; adjacent ones merge
//! ```
//!
//! A LOCAL line stands directly before its unit and counts exactly the bytes of this unit, in which
//! there are no lines. So a file that ends anywhere is cut before the LOCAL line of the last unit
//! that is not whole, and a SELECT for the file alone has a LOCAL line of its own.
//!
//! The loaders of Redis and Valkey skip lines that start with `#`, and run the records behind
//! LOCAL lines as any others. No line of ours is longer than 127 bytes. The checksum is Redis's
//! CRC-64 (Jones polynomial, reflected, no inversion); it covers the other lines. The stream offset
//! counts records of the stream, in the file or skipped, so it shows when records are missing or
//! doubled although each checksum is right.

use crate::replication::{Mark, ReplicationId};
use crc_fast::{CrcAlgorithm, Digest};
use resp::request::encode_select;

/// Longest annotation line, in bytes, with its line end. Valkey reads them with a limit of 1,024.
pub(crate) const ANNOTATION_MAX: usize = 128;

/// Bytes between two checksum lines of a busy log. A line takes about 40 bytes, so this keeps them
/// under one per cent of the file; computing the CRC is some hundred times cheaper than writing.
pub(crate) const CHECKSUM_EVERY: u64 = 4096;

/// The checksum since the previous checksum line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checksum {
    digest: Digest,
}

impl Default for Checksum {
    fn default() -> Self {
        Self::new()
    }
}

impl Checksum {
    pub(crate) fn new() -> Self {
        Self {
            digest: Digest::new(CrcAlgorithm::Crc64Redis),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
    }

    /// Bytes it covers so far.
    pub(crate) fn covered(&self) -> u64 {
        self.digest.get_amount()
    }

    pub(crate) fn value(&self) -> u64 {
        self.digest.finalize()
    }

    /// The line that closes the range at this stream offset.
    pub(crate) fn line(&self, offset: u64) -> String {
        format!("#CRC:{:016x} OFF:{offset}\r\n", self.value())
    }
}

/// The line for bytes of the stream that the file does not have; `db` is the database that they
/// leave selected, when they select one.
pub(crate) fn skip_line(bytes: u64, db: Option<u32>) -> String {
    match db {
        Some(db) => format!("#SKIP:{bytes} DB:{db}\r\n"),
        None => format!("#SKIP:{bytes}\r\n"),
    }
}

/// The line before a unit of `bytes` bytes that is not in the stream.
pub(crate) fn local_line(bytes: usize) -> String {
    format!("#LOCAL:{bytes}\r\n")
}

/// The line that gives the replication id of a place, when there is one.
pub(crate) fn repl_line(mark: &Mark) -> Option<String> {
    let (id, offset) = (mark.id?, mark.offset);
    Some(match mark.stream_db {
        Some(db) => format!("#REPL:{id} {offset} DB:{db}\r\n"),
        None => format!("#REPL:{id} {offset}\r\n"),
    })
}

/// A line of the file that starts with `#`, without its line feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Annotation {
    /// Unix seconds.
    Time(u64),
    Checksum {
        crc: u64,
        offset: u64,
    },
    Skip {
        bytes: u64,
        db: Option<u32>,
    },
    Local {
        bytes: u64,
    },
    Repl {
        id: ReplicationId,
        offset: u64,
        db: Option<u32>,
    },
    /// A line of one of these kinds whose text is damaged: the name of the kind.
    Damaged(&'static str),
    /// A line of an unknown kind.
    Other,
}

impl Annotation {
    pub(crate) fn parse(line: &[u8]) -> Self {
        if let Some(time) = line.strip_prefix(b"#TS:") {
            return ended(time)
                .and_then(decimal)
                .map_or(Self::Other, Self::Time);
        }
        let (kind, parsed) = if let Some(rest) = line.strip_prefix(b"#CRC:") {
            ("checksum", checksum_fields(rest))
        } else if let Some(rest) = line.strip_prefix(b"#SKIP:") {
            ("#SKIP:", skip_fields(rest))
        } else if let Some(rest) = line.strip_prefix(b"#LOCAL:") {
            ("#LOCAL:", local_fields(rest))
        } else if let Some(rest) = line.strip_prefix(b"#REPL:") {
            ("#REPL:", repl_fields(rest))
        } else {
            return Self::Other;
        };
        parsed.unwrap_or(Self::Damaged(kind))
    }
}

fn checksum_fields(rest: &[u8]) -> Option<Annotation> {
    let (crc, rest) = rest.split_at_checked(16)?;
    Some(Annotation::Checksum {
        crc: hex(crc)?,
        offset: decimal(ended(rest)?.strip_prefix(b" OFF:")?)?,
    })
}

fn skip_fields(rest: &[u8]) -> Option<Annotation> {
    let (bytes, db) = number_and_db(ended(rest)?)?;
    (bytes > 0).then_some(Annotation::Skip { bytes, db })
}

fn local_fields(rest: &[u8]) -> Option<Annotation> {
    let bytes = decimal(ended(rest)?)?;
    (bytes > 0).then_some(Annotation::Local { bytes })
}

fn repl_fields(rest: &[u8]) -> Option<Annotation> {
    let (id, rest) = rest.split_at_checked(ReplicationId::LEN)?;
    let (offset, db) = number_and_db(ended(rest)?.strip_prefix(b" ")?)?;
    Some(Annotation::Repl {
        id: ReplicationId::parse(id)?,
        offset,
        db,
    })
}

/// The text of a line before its carriage return.
fn ended(line: &[u8]) -> Option<&[u8]> {
    line.strip_suffix(b"\r")
}

/// `<number>` or `<number> DB:<db>`.
fn number_and_db(text: &[u8]) -> Option<(u64, Option<u32>)> {
    let Some(space) = text.iter().position(|&byte| byte == b' ') else {
        return Some((decimal(text)?, None));
    };
    let (number, db) = text.split_at(space);
    let db = u32::try_from(decimal(db.strip_prefix(b" DB:")?)?).ok()?;
    Some((decimal(number)?, Some(db)))
}

fn hex(digits: &[u8]) -> Option<u64> {
    let lower = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    digits.iter().all(lower).then_some(())?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn decimal(digits: &[u8]) -> Option<u64> {
    digits.iter().all(u8::is_ascii_digit).then_some(())?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Adds the record that selects a database in the file alone.
pub(crate) fn push_local_select(bytes: &mut Vec<u8>, db: u32) {
    let mut select = Vec::new();
    encode_select(&mut select, db);
    bytes.extend_from_slice(local_line(select.len()).as_bytes());
    bytes.append(&mut select);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_redis() {
        let mut checksum = Checksum::new();
        checksum.update(b"123456789");
        assert_eq!(checksum.value(), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(checksum.covered(), 9);
    }

    #[test]
    fn lines_read_back() {
        let mut checksum = Checksum::new();
        checksum.update(b"abc");
        let line = checksum.line(u64::MAX);
        assert!(line.len() < ANNOTATION_MAX);
        let expected = Annotation::Checksum {
            crc: checksum.value(),
            offset: u64::MAX,
        };
        assert_eq!(
            Annotation::parse(line.trim_end_matches('\n').as_bytes()),
            expected
        );
    }

    #[test]
    fn damaged_lines_are_not_taken_for_others() {
        for line in [
            &b"#CRC:"[..],
            b"#CRC:0123456789abcdef OFF:1",
            b"#CRC:0123456789abcdeF OFF:1\r",
            b"#CRC:0123456789abcdef OFF:\r",
            b"#CRC:0123456789abcdef OFF:-1\r",
            b"#CRC:0123456789abcdef OFF:18446744073709551616\r",
        ] {
            assert_eq!(Annotation::parse(line), Annotation::Damaged("checksum"));
        }
        assert_eq!(Annotation::parse(b"#TS:17\r"), Annotation::Time(17));
    }

    fn id() -> ReplicationId {
        ReplicationId::parse(b"0123456789abcdef0123456789abcdef01234567").unwrap()
    }

    #[test]
    fn lines_for_replication_read_back() {
        for db in [None, Some(0), Some(u32::MAX)] {
            let mark = Mark {
                offset: u64::MAX,
                stream_db: db,
                id: Some(id()),
                ..Mark::default()
            };
            let (offset, bytes) = (u64::MAX, u64::MAX);
            for (line, expected) in [
                (skip_line(bytes, db), Annotation::Skip { bytes, db }),
                (
                    repl_line(&mark).unwrap(),
                    Annotation::Repl {
                        id: id(),
                        offset,
                        db,
                    },
                ),
                (local_line(7), Annotation::Local { bytes: 7 }),
            ] {
                assert!(line.len() < ANNOTATION_MAX);
                let text = line.strip_suffix('\n').unwrap();
                assert_eq!(Annotation::parse(text.as_bytes()), expected);
            }
        }
        assert_eq!(repl_line(&Mark::default()), None);
    }

    #[test]
    fn damaged_lines_for_replication_are_not_taken_for_others() {
        for (line, kind) in [
            (&b"#SKIP:0\r"[..], "#SKIP:"),
            (b"#SKIP:1", "#SKIP:"),
            (b"#SKIP:1 \r", "#SKIP:"),
            (b"#SKIP:1 DB:\r", "#SKIP:"),
            (b"#SKIP:1 DB:4294967296\r", "#SKIP:"),
            (b"#LOCAL:\r", "#LOCAL:"),
            (b"#LOCAL:0\r", "#LOCAL:"),
            (b"#LOCAL:1 DB:1\r", "#LOCAL:"),
            (
                b"#REPL:0123456789abcdef0123456789abcdef0123456 7\r",
                "#REPL:",
            ),
            (
                b"#REPL:0123456789ABCDEF0123456789abcdef01234567 7\r",
                "#REPL:",
            ),
            (
                b"#REPL:0123456789abcdef0123456789abcdef01234567\r",
                "#REPL:",
            ),
        ] {
            assert_eq!(Annotation::parse(line), Annotation::Damaged(kind));
        }
    }
}
