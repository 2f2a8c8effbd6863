//! Annotation lines: what stands between the records of a log file without being one.
//!
//! ```text
//! #TS:1700000000\r\n                            the records that follow are not older than this
//! #CRC:0123456789abcdef OFF:4096\r\n            CRC-64 of the bytes since the previous checksum
//!                                               line (or the start of the file), and the stream
//!                                               offset after them
//! ```
//!
//! Every loader of the family skips lines that start with `#`. The checksum is Redis's CRC-64
//! (Jones polynomial, reflected, no inversion). The stream offset counts records alone, so it tells
//! when records are missing or doubled although each checksum is right.

use crc_fast::{CrcAlgorithm, Digest};

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

/// A line of the file that starts with `#`, without its line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Annotation {
    Checksum {
        crc: u64,
        offset: u64,
    },
    /// A checksum line whose text is damaged.
    Damaged,
    /// A time stamp, or one of a kind this version does not know.
    Other,
}

impl Annotation {
    pub(crate) fn parse(line: &[u8]) -> Self {
        let Some(rest) = line.strip_prefix(b"#CRC:") else {
            return Self::Other;
        };
        let fields = rest.split_at_checked(16).and_then(|(crc, rest)| {
            let offset = rest.strip_prefix(b" OFF:")?.strip_suffix(b"\r")?;
            Some(Self::Checksum {
                crc: hex(crc)?,
                offset: decimal(offset)?,
            })
        });
        fields.unwrap_or(Self::Damaged)
    }
}

/// The Unix seconds of a time stamp: a line without its line feed.
pub(crate) fn time_of(line: &[u8]) -> Option<u64> {
    decimal(line.strip_prefix(b"#TS:")?.strip_suffix(b"\r")?)
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
            assert_eq!(Annotation::parse(line), Annotation::Damaged);
        }
        assert_eq!(Annotation::parse(b"#TS:17\r"), Annotation::Other);
    }
}
