//! Requests out of bytes, without copying and without trusting a length.
//!
//! A request comes as a RESP array of bulk strings, or as an inline line of words:
//!
//! ```text
//! *2\r\n$3\r\nGET\r\n$3\r\nkey\r\n        GET key\r\n
//! ```
//!
//! The parser gets the input from the first byte of the current request on, each time that more of
//! it has arrived, and keeps its position: a long request is never scanned twice. The requests do
//! not depend on how the bytes were cut into reads. Nothing is reserved because of a length that a
//! client claims; the only memory that grows is one [`Span`] for each argument that is really
//! there.

use std::fmt;

use crate::args::{OwnedArgs, Span};
use crate::number;
use crate::split::split_args;

/// Largest size of an inline request and of a length line, in bytes, without its line end.
const INLINE_BYTES_MAX: usize = 64 * 1024;
/// Default of `proto-max-bulk-len`: the largest argument, in bytes.
const BULK_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Most arguments of a request, whatever the limits allow.
const ARGS_MAX: i64 = i32::MAX as i64;
/// Most arguments of a request before the client has authenticated.
const UNAUTHENTICATED_ARGS_MAX: usize = 10;
/// Largest argument before the client has authenticated, in bytes.
const UNAUTHENTICATED_BULK_BYTES_MAX: usize = 16 * 1024;

/// A parser keeps at most this much memory for spans between two requests, in elements.
const PARTIAL_KEEP: usize = 256;

/// The limits of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most arguments of one request.
    pub max_args: usize,
    /// Largest argument in bytes.
    pub max_bulk: usize,
    /// Largest inline request and longest length line in bytes.
    pub max_inline: usize,
    /// The client still has to authenticate: the errors for too many or too large arguments mention
    /// it.
    pub unauthenticated: bool,
}

impl Limits {
    /// The limits of a client that has not authenticated yet.
    pub const UNAUTHENTICATED: Limits = Limits {
        max_args: UNAUTHENTICATED_ARGS_MAX,
        max_bulk: UNAUTHENTICATED_BULK_BYTES_MAX,
        max_inline: INLINE_BYTES_MAX,
        unauthenticated: true,
    };
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_args: ARGS_MAX as usize,
            max_bulk: BULK_BYTES_MAX,
            max_inline: INLINE_BYTES_MAX,
            unauthenticated: false,
        }
    }
}

/// The result of parsing the bytes so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A request: its last `args` spans stand at the end of the caller's vector.
    Request {
        /// Bytes of input that the request took.
        consumed: usize,
        /// Number of arguments, at least 1.
        args: usize,
    },
    /// A request that came as an inline line.
    Inline {
        /// Bytes of input that the request took.
        consumed: usize,
        /// Its arguments, at least 1, unquoted.
        args: OwnedArgs,
    },
    /// A blank line or an array of no elements: nothing to run, nothing to answer.
    Empty {
        /// Bytes of input to drop.
        consumed: usize,
    },
    /// The request is not complete.
    NeedMore {
        /// Bytes that are missing at least, or 0 if that is unknown. The client claims this number:
        /// cap it before reserving memory.
        hint: usize,
    },
}

/// A violation of the protocol. The client gets the text behind `-ERR ` and is disconnected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// No line end within the limit for inline requests.
    TooBigInline,
    /// No line end within the limit behind `*`.
    TooBigMultibulkCount,
    /// No line end within the limit behind `$`.
    TooBigBulkCount,
    /// The number of arguments is no number, or too large.
    InvalidMultibulkLength,
    /// The number of arguments is too large for a client that has not authenticated.
    UnauthenticatedMultibulkLength,
    /// An argument starts with this byte instead of `$`.
    ExpectedDollar(u8),
    /// The length of an argument is no number, negative, or too large.
    InvalidBulkLength,
    /// The length of an argument is too large for a client that has not authenticated.
    UnauthenticatedBulkLength,
    /// A quote in an inline request is left open.
    UnbalancedQuotes,
    /// Something else than `\r\n` where a line or an argument has to end.
    InvalidCrlf,
}

impl ProtocolError {
    /// The bytes of the error reply behind `-ERR `.
    ///
    /// These differ from the displayed text when a byte beyond ASCII is quoted back to the client.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut text = self.to_string().into_bytes();
        if let ProtocolError::ExpectedDollar(byte @ 0x80..) = self {
            // The character was written as two bytes of UTF-8 in front of the closing quote.
            text.truncate(text.len() - 3);
            text.extend_from_slice(&[byte, b'\'']);
        }
        text
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        f.write_str(match self {
            ProtocolError::TooBigInline => "too big inline request",
            ProtocolError::TooBigMultibulkCount => "too big mbulk count string",
            ProtocolError::TooBigBulkCount => "too big bulk count string",
            ProtocolError::InvalidMultibulkLength => "invalid multibulk length",
            ProtocolError::UnauthenticatedMultibulkLength => "unauthenticated multibulk length",
            ProtocolError::InvalidBulkLength => "invalid bulk length",
            ProtocolError::UnauthenticatedBulkLength => "unauthenticated bulk length",
            ProtocolError::UnbalancedQuotes => "unbalanced quotes in request",
            ProtocolError::InvalidCrlf => "invalid CRLF in request",
            ProtocolError::ExpectedDollar(byte) => {
                // A line break would end the error reply early.
                let byte = if matches!(byte, b'\r' | b'\n') {
                    b' '
                } else {
                    *byte
                };
                return write!(f, "expected '$', got '{}'", char::from(byte));
            }
        })
    }
}

impl std::error::Error for ProtocolError {}

/// The state of one connection's request stream.
#[derive(Debug, Default)]
pub struct RequestParser {
    /// Where an array request stands; `None` in front of a request and inside an inline one.
    array: Option<Array>,
    /// No line end stands in front of this offset, as far as the current line goes. <= input
    /// length.
    scanned: usize,
    /// Spans of a request that is not complete yet. Empty between requests.
    partial: Vec<Span>,
}

/// How far an array request has been read.
#[derive(Clone, Copy, Debug)]
struct Array {
    /// Offset of the first byte not yet parsed.
    position: usize,
    /// Arguments still to come, the current one included. > 0 between two calls.
    remaining: usize,
    /// Length of the current argument, if its length line has been read.
    bulk: Option<usize>,
}

/// The two kinds of length lines, which fail with different errors.
#[derive(Clone, Copy, PartialEq)]
enum Line {
    Multibulk,
    Bulk,
}

/// The result of reading further, inside an array request.
enum Step {
    Complete,
    NeedMore { hint: usize },
}

impl RequestParser {
    /// A parser in front of a request.
    pub fn new() -> RequestParser {
        RequestParser::default()
    }

    /// Drops a partial request.
    pub fn reset(&mut self) {
        self.array = None;
        self.scanned = 0;
        self.partial.clear();
        self.partial.shrink_to(PARTIAL_KEEP);
    }

    /// How many bytes of the incomplete request have been parsed.
    pub fn position(&self) -> usize {
        self.array.map_or(0, |array| array.position)
    }

    /// Number of complete arguments of the request that is not complete, for tests.
    pub fn partial_args(&self) -> usize {
        self.partial.len()
    }

    /// Heap memory that the parser holds, in bytes.
    pub fn memory_usage(&self) -> usize {
        self.partial.capacity() * size_of::<Span>()
    }

    /// Reads a request that is there as a whole, as nearly all are: the bytes that it took and its
    /// number of arguments, with its spans as [`RequestParser::parse`] gives them. `None`, and
    /// nothing has changed, for everything else, which is left to that method.
    #[inline]
    pub fn parse_whole(
        &mut self,
        input: &[u8],
        limits: &Limits,
        spans: &mut Vec<Span>,
    ) -> Option<(usize, usize)> {
        if self.array.is_some() {
            return None;
        }
        let (count, mut position) = plain_length_line(input, 0, Line::Multibulk)?;
        if count == 0 || count > limits.max_args {
            return None;
        }
        let base = spans.len();
        for _ in 0..count {
            let Some((span, behind)) = plain_bulk(input, position, limits) else {
                spans.truncate(base);
                return None;
            };
            spans.push(span);
            position = behind;
        }
        self.scanned = 0;
        Some((position, count))
    }

    /// Reads one request.
    ///
    /// `input` starts at the first byte of the current request on every call until that request has
    /// been consumed, and never loses bytes in between. The spans of a complete array request are
    /// pushed to `spans` and are relative to `input`; otherwise `spans` is left as it was. After an
    /// error the stream has no meaning any more; the same input gives the same error again.
    #[inline]
    pub fn parse(
        &mut self,
        input: &[u8],
        limits: &Limits,
        spans: &mut Vec<Span>,
    ) -> Result<Progress, ProtocolError> {
        if self.array.is_some() {
            return self.resume_array(input, limits, spans);
        }
        match input.first() {
            Some(b'*') => self.start_array(input, limits, spans),
            Some(_) => self.inline(input, limits),
            None => Ok(Progress::NeedMore { hint: 0 }),
        }
    }

    /// The common case is that all of the request is there: spans go straight to the caller.
    #[inline]
    fn start_array(
        &mut self,
        input: &[u8],
        limits: &Limits,
        spans: &mut Vec<Span>,
    ) -> Result<Progress, ProtocolError> {
        let Some((count, position)) = self.length_line(input, 0, Line::Multibulk, limits)? else {
            return Ok(Progress::NeedMore { hint: 0 });
        };
        if count <= 0 {
            self.scanned = 0;
            return Ok(Progress::Empty { consumed: position });
        }
        let args = check_arg_count(count, limits)?;
        self.scanned = 0;
        let mut array = Array {
            position,
            remaining: args,
            bulk: None,
        };
        let base = spans.len();
        match self.read_args(input, limits, &mut array, spans) {
            Ok(Step::Complete) => Ok(Progress::Request {
                consumed: array.position,
                args,
            }),
            Ok(Step::NeedMore { hint }) => {
                self.partial.extend(spans.drain(base..));
                self.array = Some(array);
                Ok(Progress::NeedMore { hint })
            }
            Err(error) => {
                spans.truncate(base);
                self.scanned = 0;
                Err(error)
            }
        }
    }

    /// Continues a request that came in pieces; its spans gather in the parser, so that each is
    /// copied once.
    #[cold]
    fn resume_array(
        &mut self,
        input: &[u8],
        limits: &Limits,
        spans: &mut Vec<Span>,
    ) -> Result<Progress, ProtocolError> {
        let Some(mut array) = self.array else {
            return Ok(Progress::NeedMore { hint: 0 });
        };
        let mut partial = std::mem::take(&mut self.partial);
        let known = partial.len();
        let step = self.read_args(input, limits, &mut array, &mut partial);
        self.partial = partial;
        match step {
            Ok(Step::NeedMore { hint }) => {
                self.array = Some(array);
                Ok(Progress::NeedMore { hint })
            }
            Ok(Step::Complete) => {
                let args = self.partial.len();
                spans.extend_from_slice(&self.partial);
                self.reset();
                Ok(Progress::Request {
                    consumed: array.position,
                    args,
                })
            }
            Err(error) => {
                self.partial.truncate(known);
                self.scanned = 0;
                Err(error)
            }
        }
    }

    /// Reads as many of the remaining arguments as the input has.
    #[inline]
    fn read_args(
        &mut self,
        input: &[u8],
        limits: &Limits,
        array: &mut Array,
        spans: &mut Vec<Span>,
    ) -> Result<Step, ProtocolError> {
        while array.remaining > 0 {
            let len = match array.bulk {
                Some(len) => len,
                None => {
                    let line = self.length_line(input, array.position, Line::Bulk, limits)?;
                    let Some((len, position)) = line else {
                        return Ok(Step::NeedMore { hint: 0 });
                    };
                    let len = check_bulk_len(len, limits)?;
                    array.position = position;
                    len
                }
            };
            let end = array.position.saturating_add(len);
            match input.get(end..end.saturating_add(2)) {
                Some(b"\r\n") => {}
                Some(_) => return Err(ProtocolError::InvalidCrlf),
                None => {
                    array.bulk = Some(len);
                    return Ok(Step::NeedMore {
                        hint: end.saturating_add(2) - input.len(),
                    });
                }
            }
            spans.push(Span {
                start: array.position,
                len,
            });
            array.position = end + 2;
            array.bulk = None;
            array.remaining -= 1;
        }
        Ok(Step::Complete)
    }

    /// Reads `*<number>\r\n` or `$<number>\r\n` at `at`: the number and the offset behind the line,
    /// or `None` if the line is not complete.
    #[inline(always)]
    fn length_line(
        &mut self,
        input: &[u8],
        at: usize,
        kind: Line,
        limits: &Limits,
    ) -> Result<Option<(i64, usize)>, ProtocolError> {
        match plain_length_line(input, at, kind) {
            // At most ten digits.
            Some((number, behind)) => Ok(Some((number as i64, behind))),
            None => self.odd_line(input, at, kind, limits),
        }
    }

    /// Everything that [`plain_length_line`] does not read: incomplete lines, negative numbers,
    /// errors in the order in which Valkey finds them.
    #[cold]
    fn odd_line(
        &mut self,
        input: &[u8],
        at: usize,
        kind: Line,
        limits: &Limits,
    ) -> Result<Option<(i64, usize)>, ProtocolError> {
        let from = self.scanned.max(at);
        let Some(end) = find_within(input, at, from, limits.max_inline, |b| {
            memchr::memchr(b'\r', b)
        }) else {
            if input.len().saturating_sub(at) > limits.max_inline {
                return Err(match kind {
                    Line::Multibulk => ProtocolError::TooBigMultibulkCount,
                    Line::Bulk => ProtocolError::TooBigBulkCount,
                });
            }
            self.scanned = input.len();
            return Ok(None);
        };
        self.scanned = end;
        let Some(line_feed) = input.get(end + 1) else {
            return Ok(None);
        };
        let first = input[at];
        if kind == Line::Bulk && first != b'$' {
            return Err(ProtocolError::ExpectedDollar(first));
        }
        if *line_feed != b'\n' {
            return Err(ProtocolError::InvalidCrlf);
        }
        match number::parse_i64(&input[at + 1..end]) {
            Some(number) => {
                self.scanned = 0;
                Ok(Some((number, end + 2)))
            }
            None if kind == Line::Multibulk => Err(ProtocolError::InvalidMultibulkLength),
            None => Err(ProtocolError::InvalidBulkLength),
        }
    }

    /// Reads a line of words. Not a fast path: people and health checks type these.
    #[cold]
    fn inline(&mut self, input: &[u8], limits: &Limits) -> Result<Progress, ProtocolError> {
        // Valkey looks for the line end in a C string, so a NUL byte hides it: such a request can
        // only become too big.
        let find = |bytes: &[u8]| memchr::memchr2(b'\n', 0, bytes);
        let end = find_within(input, 0, self.scanned, limits.max_inline, find);
        let Some(end) = end.filter(|end| input[*end] == b'\n') else {
            if input.len() > limits.max_inline {
                return Err(ProtocolError::TooBigInline);
            }
            self.scanned = end.unwrap_or(input.len());
            return Ok(Progress::NeedMore { hint: 0 });
        };
        let line = &input[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let args = split_args(line).map_err(|_| ProtocolError::UnbalancedQuotes)?;
        self.scanned = 0;
        let consumed = end + 1;
        Ok(if args.is_empty() {
            Progress::Empty { consumed }
        } else {
            Progress::Inline { consumed, args }
        })
    }
}

/// Reads a complete argument with a plain length line: its span, and the offset behind it.
#[inline(always)]
fn plain_bulk(input: &[u8], at: usize, limits: &Limits) -> Option<(Span, usize)> {
    let (len, start) = plain_length_line(input, at, Line::Bulk)?;
    let (_, rest) = input.get(start..)?.split_at_checked(len)?;
    let is_whole = len <= limits.max_bulk && rest.first_chunk() == Some(b"\r\n");
    // The sum is an offset into the input.
    is_whole.then(|| (Span { start, len }, start.wrapping_add(len).wrapping_add(2)))
}

/// Reads a complete length line of one to ten digits, as nearly all are: the number and the offset
/// behind it. Lines of one and of two digits are compared as one word with what they would be
/// without their digits.
#[inline(always)]
fn plain_length_line(input: &[u8], at: usize, kind: Line) -> Option<(usize, usize)> {
    const ONE_DIGIT: u64 = u64::from_le_bytes(*b"\x000\r\n\0\0\0\0");
    const TWO_DIGITS: u64 = u64::from_le_bytes(*b"\x0000\r\n\0\0\0");
    let prefix = match kind {
        Line::Multibulk => b'*',
        Line::Bulk => b'$',
    };
    let line = input.get(at..)?;
    if let Some(word) = line.first_chunk() {
        let word = u64::from_le_bytes(*word) ^ u64::from(prefix);
        let one = word ^ ONE_DIGIT;
        let digit = (one >> 8) as u8;
        // Sums that lie in the input, or below a hundred: they cannot overflow.
        if one as u32 & 0xffff_00ff == 0 && digit <= 9 {
            return Some((usize::from(digit), at.wrapping_add(4)));
        }
        let two = word ^ TWO_DIGITS;
        let (tens, ones) = ((two >> 8) as u8, (two >> 16) as u8);
        if two & 0xff_ff00_00ff == 0 && tens.wrapping_sub(1) <= 8 && ones <= 9 {
            let number = usize::from(tens)
                .wrapping_mul(10)
                .wrapping_add(usize::from(ones));
            return Some((number, at.wrapping_add(5)));
        }
    }
    long_length_line(line, prefix).map(|(number, len)| (number, at + len))
}

/// The same digit by digit: the number and the length of the line.
fn long_length_line(line: &[u8], prefix: u8) -> Option<(usize, usize)> {
    let (first, rest) = line.split_first()?;
    let digit = rest.first()?.wrapping_sub(b'0');
    if *first != prefix || digit > 9 {
        return None;
    }
    let mut number = usize::from(digit);
    let mut len = 1;
    loop {
        let digit = match *rest.get(len)? {
            b'\r' if rest.get(len + 1) == Some(&b'\n') => return Some((number, len + 3)),
            byte => byte.wrapping_sub(b'0'),
        };
        // A leading zero is only right as the whole number.
        if digit > 9 || number == 0 || len == 10 {
            return None;
        }
        number = number * 10 + usize::from(digit);
        len += 1;
    }
}

/// Finds a byte of a line that starts at `start`, looking from `from` on and not further than `max`
/// bytes into the line, so that the result does not depend on how much more has arrived.
fn find_within(
    input: &[u8],
    start: usize,
    from: usize,
    max: usize,
    find: impl Fn(&[u8]) -> Option<usize>,
) -> Option<usize> {
    let stop = input.len().min(start.saturating_add(max).saturating_add(1));
    let window = input.get(from..stop)?;
    find(window).map(|offset| from + offset)
}

#[inline]
fn check_arg_count(count: i64, limits: &Limits) -> Result<usize, ProtocolError> {
    match usize::try_from(count) {
        Ok(args) if args <= limits.max_args && count <= ARGS_MAX => Ok(args),
        _ if limits.unauthenticated && count <= ARGS_MAX => {
            Err(ProtocolError::UnauthenticatedMultibulkLength)
        }
        _ => Err(ProtocolError::InvalidMultibulkLength),
    }
}

#[inline]
fn check_bulk_len(len: i64, limits: &Limits) -> Result<usize, ProtocolError> {
    match usize::try_from(len) {
        Ok(len) if len <= limits.max_bulk => Ok(len),
        Ok(len) if limits.unauthenticated && len <= BULK_BYTES_MAX => {
            Err(ProtocolError::UnauthenticatedBulkLength)
        }
        _ => Err(ProtocolError::InvalidBulkLength),
    }
}

#[cfg(test)]
mod tests;
