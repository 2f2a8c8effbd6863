//! The cursor, the options and the pace that SCAN, HSCAN, SSCAN and ZSCAN share.

use keyspace::Type;
use resp::{Args, Output, Protocol, Reply};
use values::{DIGITS, Element, glob};

use crate::context::ElementReply;
use crate::error::CommandError;

/// COUNT when it is not given.
const COUNT_DEFAULT: u64 = 10;

/// Buckets looked at per element asked for, so that a sparse table does not make a call long.
const BUCKETS_PER_COUNT: u64 = 10;

/// The kind of elements that are scanned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scanned {
    /// Keys: SCAN.
    Keys,
    /// Fields: HSCAN.
    Fields,
    /// Members of a set: SSCAN.
    Members,
    /// Members of a sorted set: ZSCAN.
    Scored,
}

/// Options of one request.
pub(super) struct ScanOptions<'a> {
    /// COUNT.
    pub(super) count: u64,
    pattern: Option<&'a [u8]>,
    /// TYPE.
    pub(super) only: Option<Type>,
    /// NOVALUES or NOSCORES, or there is nothing to show beside the element.
    is_bare: bool,
}

impl<'a> ScanOptions<'a> {
    /// Reads the options, which begin at argument `index`.
    pub(super) fn parse(
        args: Args<'a>,
        mut index: usize,
        scanned: Scanned,
    ) -> Result<Self, CommandError> {
        let mut options = Self {
            count: COUNT_DEFAULT,
            pattern: None,
            only: None,
            is_bare: matches!(scanned, Scanned::Keys | Scanned::Members),
        };
        while let Some(word) = args.get(index) {
            let value = args.get(index + 1);
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            index += 2;
            match value {
                Some(value) if is("count") => options.count = count(value)?,
                Some(value) if is("match") => {
                    options.pattern = Some(value).filter(|pattern| *pattern != b"*");
                }
                Some(value) if is("type") && scanned == Scanned::Keys => {
                    options.only = Some(type_called(value)?);
                }
                _ if is("novalues") || is("noscores") => {
                    leave_out(is("novalues"), scanned)?;
                    options.is_bare = true;
                    index -= 1;
                }
                _ => return Err(CommandError::Syntax),
            }
        }
        Ok(options)
    }

    /// How many buckets one call looks at.
    pub(super) fn buckets(&self) -> u64 {
        self.count.saturating_mul(BUCKETS_PER_COUNT)
    }

    /// The key or element fits MATCH.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        let fits = |pattern| glob::matches(pattern, name, false);
        self.pattern.is_none_or(fits)
    }
}

/// The cursor of a request.
pub(super) fn cursor(text: &[u8]) -> Result<u64, CommandError> {
    resp::number::parse_cursor(text).ok_or(CommandError::line("ERR invalid cursor"))
}

fn count(text: &[u8]) -> Result<u64, CommandError> {
    let count = resp::number::parse_i64(text).ok_or(CommandError::NotInteger)?;
    u64::try_from(count)
        .ok()
        .filter(|count| *count > 0)
        .ok_or(CommandError::Syntax)
}

/// NOVALUES or NOSCORES, each of which one command has.
fn leave_out(values: bool, scanned: Scanned) -> Result<(), CommandError> {
    match (values, scanned) {
        (true, Scanned::Fields) | (false, Scanned::Scored) => Ok(()),
        (true, _) => Err(CommandError::line(
            "ERR NOVALUES option can only be used in HSCAN",
        )),
        (false, _) => Err(CommandError::line(
            "ERR NOSCORES option can only be used in ZSCAN",
        )),
    }
}

fn type_called(name: &[u8]) -> Result<Type, CommandError> {
    Type::ALL
        .into_iter()
        .find(|kind| kind.name().as_bytes().eq_ignore_ascii_case(name))
        .ok_or_else(|| {
            let mut line = b"ERR unknown type name '".to_vec();
            line.extend_from_slice(name);
            line.push(b'\'');
            CommandError::Bytes(line)
        })
}

/// Elements of a collection that one call found. They are written apart, because the cursor, which
/// comes first in the reply, is known last.
pub(super) struct Found {
    output: Output,
    protocol: Protocol,
    written: usize,
    seen: u64,
    next: u64,
}

impl Found {
    /// Nothing, and the walk is over: the reply for a key that does not exist.
    pub(super) fn nothing(protocol: Protocol) -> Self {
        Self {
            output: Output::new(),
            protocol,
            written: 0,
            seen: 0,
            next: 0,
        }
    }

    /// Walks from `cursor` on: `step` offers the elements of one bucket and returns the next
    /// cursor, 0 at the end.
    pub(super) fn walk(
        cursor: u64,
        options: &ScanOptions<'_>,
        protocol: Protocol,
        mut step: impl FnMut(u64, &mut Self) -> u64,
    ) -> Self {
        let mut found = Self::nothing(protocol);
        found.next = cursor;
        for _ in 0..options.buckets() {
            found.next = step(found.next, &mut found);
            if found.next == 0 || found.seen >= options.count {
                break;
            }
        }
        found
    }

    /// Adds an element of the walk if it matches; `value` writes its value or score.
    pub(super) fn offer(
        &mut self,
        options: &ScanOptions<'_>,
        element: Element<'_>,
        value: impl FnOnce(&mut Reply<'_>),
    ) {
        self.seen += 1;
        if !options.matches(element.as_bytes(&mut { DIGITS })) {
            return;
        }
        let mut reply = Reply::new(&mut self.output, self.protocol);
        reply.element(element);
        self.written += 1;
        if !options.is_bare {
            value(&mut reply);
            self.written += 1;
        }
    }

    /// Writes the cursor and the elements.
    pub(super) fn reply(mut self, reply: &mut Reply<'_>) {
        reply.array(2);
        reply.bulk_display(self.next);
        reply.array(self.written);
        reply.out.append(&mut self.output);
    }
}
