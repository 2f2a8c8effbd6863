//! Parsing ids in requests.

use values::StreamId;

use crate::error::CommandError;

pub(super) const INVALID: CommandError =
    CommandError::line("ERR Invalid stream ID specified as stream command argument");

/// The longest text that can be an id, in bytes: Redis's limit.
const TEXT_MAX: usize = 127;

/// An id to be given to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NewId {
    /// `*`.
    Auto,
    /// `ms-*`.
    Time(u64),
    /// Written out.
    Given(StreamId),
}

/// `ms` or `ms-seq`; without a number after the time it is `missing_seq`.
pub(super) fn strict(text: &[u8], missing_seq: u64) -> Result<StreamId, CommandError> {
    if text.len() > TEXT_MAX {
        return Err(INVALID);
    }
    // Bytes behind a NUL are ignored, as in Redis.
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut parts = text.splitn(2, |byte| *byte == b'-');
    let ms = parts.next().and_then(number).ok_or(INVALID)?;
    let seq = match parts.next() {
        Some(seq) => number(seq).ok_or(INVALID)?,
        None => missing_seq,
    };
    Ok(StreamId::new(ms, seq))
}

/// A number as strtoull reads it, without a minus sign.
fn number(text: &[u8]) -> Option<u64> {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let start = text.iter().position(|byte| !blank(byte))?;
    let text = text.get(start..)?;
    resp::number::parse_u64(text.strip_prefix(b"+").unwrap_or(text))
}

/// The same, or `-` for the first and `+` for the last of all ids.
pub(super) fn lenient(text: &[u8], missing_seq: u64) -> Result<StreamId, CommandError> {
    match text {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => strict(text, missing_seq),
    }
}

/// The start of a range: as [`lenient`], or an id with `(` in front that does not belong to the
/// range itself.
pub(super) fn range_start(text: &[u8]) -> Result<StreamId, CommandError> {
    match excluded(text) {
        None => lenient(text, 0),
        Some(text) => strict(text, 0)?
            .next()
            .ok_or(CommandError::line("ERR invalid start ID for the interval")),
    }
}

/// The end of a range.
pub(super) fn range_end(text: &[u8]) -> Result<StreamId, CommandError> {
    match excluded(text) {
        None => lenient(text, u64::MAX),
        Some(text) => strict(text, u64::MAX)?
            .prev()
            .ok_or(CommandError::line("ERR invalid end ID for the interval")),
    }
}

fn excluded(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(b"(").filter(|rest| !rest.is_empty())
}

/// The id of a new entry.
pub(super) fn new_id(text: &[u8]) -> Result<NewId, CommandError> {
    if text == b"*" {
        return Ok(NewId::Auto);
    }
    if let Some(ms) = text.strip_suffix(b"-*").filter(|ms| ms.len() < TEXT_MAX) {
        return number(ms).map(NewId::Time).ok_or(INVALID);
    }
    strict(text, 0).map(NewId::Given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_redis_reads_them() {
        assert_eq!(strict(b"5", 7), Ok(StreamId::new(5, 7)));
        assert_eq!(strict(b"5-3", 7), Ok(StreamId::new(5, 3)));
        assert_eq!(strict(b" +05-\t03", 7), Ok(StreamId::new(5, 3)));
        for text in [
            &b""[..],
            b"-",
            b"+",
            b"-1",
            b"5-",
            b"5-x",
            b"a",
            b"5-3-2",
            b"5-*",
            b"5 ",
            b"++5",
        ] {
            assert_eq!(strict(text, 0), Err(INVALID), "{}", text.escape_ascii());
        }
        let last = b"18446744073709551615-18446744073709551615";
        assert_eq!(strict(last, 0), Ok(StreamId::MAX));
        assert_eq!(strict(b"18446744073709551616", 0), Err(INVALID));
        assert_eq!(lenient(b"+", 0), Ok(StreamId::MAX));
        assert_eq!(lenient(b"-", 0), Ok(StreamId::MIN));
        assert_eq!(range_start(b"(5-3"), Ok(StreamId::new(5, 4)));
        assert_eq!(range_end(b"(5"), Ok(StreamId::new(5, u64::MAX - 1)));
        assert!(range_start(&[b"(", &last[..]].concat()).is_err());
        assert!(range_end(b"(0-0").is_err());
        assert_eq!(range_start(b"("), Err(INVALID));
        assert_eq!(range_start(b"(-"), Err(INVALID));
        assert_eq!(new_id(b"*"), Ok(NewId::Auto));
        assert_eq!(new_id(b"12-*"), Ok(NewId::Time(12)));
        assert_eq!(new_id(b"12"), Ok(NewId::Given(StreamId::new(12, 0))));
        for text in [&b"-*"[..], b"x-*", b"+", b"**", b"1-*-"] {
            assert_eq!(new_id(text), Err(INVALID), "{}", text.escape_ascii());
        }
    }
}
