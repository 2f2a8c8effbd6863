//! The bytes of a file or of a payload, one piece after the other.

use super::error::RdbCause;
use crate::rdb::format;
use crc_fast::{CrcAlgorithm, Digest};
use std::borrow::Cow;
use std::io::{self, Read};
use values::{DIGITS, Element, lzf};

/// Bytes that are read from a file at once.
const CHUNK: usize = 256 << 10;

/// Buffers that a long string has made larger than this are made small again.
const KEPT_MAX: usize = 1 << 20;

/// A length, or the number of a special encoding of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Plain(u64),
    /// The first byte, see [`format::string`].
    Special(u8),
}

/// Reads numbers and strings.
// Invariant: hashed <= at <= filled <= bytes.len(). Bytes before `at` are consumed, bytes before
// `hashed` are in the checksum, and bytes behind `filled` are undefined.
pub(super) struct Input<'a> {
    source: Option<&'a mut dyn Read>,
    bytes: Cow<'a, [u8]>,
    at: usize,
    filled: usize,
    hashed: usize,
    /// The checksum of all bytes before `hashed`, if one is wanted.
    digest: Option<Digest>,
    /// Offset of the first byte of the buffer.
    base: u64,
    /// A compressed string, plain.
    plain: Vec<u8>,
    /// Longest string.
    string_max: usize,
}

impl<'a> Input<'a> {
    /// Reads from a file.
    pub(super) fn of_file(source: &'a mut dyn Read, checksum: bool, string_max: usize) -> Self {
        Input {
            source: Some(source),
            bytes: Cow::Owned(vec![0; CHUNK]),
            filled: 0,
            digest: checksum.then(|| Digest::new(CrcAlgorithm::Crc64Redis)),
            ..Input::of_slice(&[], string_max)
        }
    }

    /// Reads from memory.
    pub(super) fn of_slice(bytes: &'a [u8], string_max: usize) -> Self {
        Input {
            source: None,
            bytes: Cow::Borrowed(bytes),
            at: 0,
            filled: bytes.len(),
            hashed: 0,
            digest: None,
            base: 0,
            plain: Vec::new(),
            string_max,
        }
    }

    /// How many bytes were read.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// The checksum of all bytes that were read, if one is wanted.
    pub(super) fn checksum(&mut self) -> Option<u64> {
        let new = self.bytes.get(self.hashed..self.at).unwrap_or_default();
        self.hashed = self.at;
        let digest = self.digest.as_mut()?;
        digest.update(new);
        Some(digest.finalize())
    }

    /// Waits until `len` bytes are there. The buffer grows no faster than they arrive.
    #[cold]
    fn fill(&mut self, len: usize) -> Result<(), RdbCause> {
        let Some(source) = self.source.as_mut() else {
            return Err(RdbCause::Truncated);
        };
        if let Some(digest) = self.digest.as_mut() {
            digest.update(self.bytes.get(self.hashed..self.at).unwrap_or_default());
        }
        let bytes = self.bytes.to_mut();
        bytes.copy_within(self.at..self.filled, 0);
        self.base += self.at as u64;
        self.filled -= self.at;
        (self.at, self.hashed) = (0, 0);
        if bytes.len() > KEPT_MAX && self.filled.max(len) <= CHUNK {
            bytes.truncate(CHUNK);
            bytes.shrink_to_fit();
        }
        while self.filled < len {
            if self.filled == bytes.len() {
                bytes.resize(bytes.len() * 2, 0);
            }
            let room = bytes.get_mut(self.filled..).unwrap_or_default();
            match source.read(room) {
                Ok(0) => return Err(RdbCause::Truncated),
                Ok(count) => self.filled += count.min(room.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(RdbCause::Io(error)),
            }
        }
        Ok(())
    }

    /// The next `len` bytes, in the buffer from the index that is returned.
    #[inline]
    fn advance(&mut self, len: usize) -> Result<usize, RdbCause> {
        if self.filled - self.at < len {
            self.fill(len)?;
        }
        let start = self.at;
        self.at += len;
        Ok(start)
    }

    /// The next `len` bytes.
    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Result<&[u8], RdbCause> {
        let start = self.advance(len)?;
        // Written as a match, because building an error that is not needed costs more than the rest
        // of this function.
        match self.bytes.get(start..self.at) {
            Some(bytes) => Ok(bytes),
            None => Err(RdbCause::Truncated),
        }
    }

    /// The next bytes, as many as the array has.
    #[inline]
    pub(super) fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN], RdbCause> {
        match self.take(LEN)?.first_chunk() {
            Some(bytes) => Ok(*bytes),
            None => Err(RdbCause::Truncated),
        }
    }

    /// The next byte.
    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, RdbCause> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// Skips bytes, of any number.
    pub(super) fn skip(&mut self, mut len: u64) -> Result<(), RdbCause> {
        while len > 0 {
            let piece = len.min(CHUNK as u64);
            self.advance(piece as usize)?;
            len -= piece;
        }
        Ok(())
    }

    #[inline]
    fn length_or_special(&mut self) -> Result<Length, RdbCause> {
        let first = self.byte()?;
        let low = u64::from(first & 0x3f);
        Ok(match first >> 6 {
            0 => Length::Plain(low),
            1 => Length::Plain(low << 8 | u64::from(self.byte()?)),
            3 => Length::Special(first),
            _ => match first {
                format::LEN_32_BITS => Length::Plain(u32::from_be_bytes(self.array()?).into()),
                format::LEN_64_BITS => Length::Plain(u64::from_be_bytes(self.array()?)),
                _ => return Err(RdbCause::Malformed("unknown length encoding")),
            },
        })
    }

    /// A length or another number.
    #[inline]
    pub(super) fn length(&mut self) -> Result<u64, RdbCause> {
        match self.length_or_special()? {
            Length::Plain(length) => Ok(length),
            Length::Special(_) => Err(RdbCause::Malformed("a string where a length must be")),
        }
    }

    /// A length in bytes, at most that of the longest string.
    #[inline]
    fn bounded(&self, length: u64) -> Result<usize, RdbCause> {
        match usize::try_from(length) {
            Ok(length) if length <= self.string_max => Ok(length),
            _ => Err(RdbCause::Malformed("a string is longer than allowed")),
        }
    }

    /// A string.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Element<'_>, RdbCause> {
        match self.length_or_special()? {
            Length::Plain(length) => {
                let length = self.bounded(length)?;
                self.take(length).map(Element::Bytes)
            }
            Length::Special(encoding) => self.special(encoding),
        }
    }

    fn special(&mut self, encoding: u8) -> Result<Element<'_>, RdbCause> {
        Ok(match encoding {
            format::string::INT8 => Element::Int(i8::from_le_bytes(self.array()?).into()),
            format::string::INT16 => Element::Int(i16::from_le_bytes(self.array()?).into()),
            format::string::INT32 => Element::Int(i32::from_le_bytes(self.array()?).into()),
            format::string::LZF => Element::Bytes(self.compressed()?),
            _ => return Err(RdbCause::Malformed("unknown string encoding")),
        })
    }

    fn compressed(&mut self) -> Result<&[u8], RdbCause> {
        let (packed, plain) = (self.length()?, self.length()?);
        let (packed, plain) = (self.bounded(packed)?, self.bounded(plain)?);
        if self.plain.capacity() > KEPT_MAX {
            self.plain = Vec::new();
        }
        let start = self.advance(packed)?;
        let bytes = self.bytes.get(start..self.at).unwrap_or_default();
        lzf::decompress_into(bytes, plain, &mut self.plain)?;
        Ok(&self.plain)
    }

    /// The text of a string, in a buffer that keeps what it is given.
    #[inline]
    pub(super) fn string_into(&mut self, text: &mut Vec<u8>) -> Result<(), RdbCause> {
        text.clear();
        if text.capacity() > KEPT_MAX {
            text.shrink_to(0);
        }
        text.extend_from_slice(self.string()?.as_bytes(&mut { DIGITS }));
        Ok(())
    }

    /// A string of bytes that are a packed form: never a number.
    pub(super) fn blob(&mut self) -> Result<&[u8], RdbCause> {
        match self.string()? {
            Element::Bytes(bytes) => Ok(bytes),
            Element::Int(_) => Err(RdbCause::Malformed(
                "a number where packed elements must be",
            )),
        }
    }

    /// Skips a string.
    pub(super) fn skip_string(&mut self) -> Result<(), RdbCause> {
        match self.length_or_special()? {
            Length::Plain(length) => self.skip(length),
            Length::Special(format::string::LZF) => {
                let packed = self.length()?;
                self.length()?;
                self.skip(packed)
            }
            Length::Special(encoding) => self.special(encoding).map(drop),
        }
    }
}
