//! Errors of commands.
//!
//! The text of every variant is the exact line that Redis clients match on, code first. Redis's own
//! texts are the specification (clients and their tests compare them), so they live in one place.

use std::borrow::Cow;

/// The failure of one command: becomes one error reply and one entry of the error statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandError {
    /// The key holds another type than the command works on.
    WrongType,
    /// An option is unknown, repeated or in the wrong place.
    Syntax,
    /// A signed 64-bit integer was expected.
    NotInteger,
    /// A finite or infinite double was expected.
    NotFloat,
    /// An integer is outside of the range that the argument allows.
    OutOfRange,
    /// A command that needs an existing key did not find it.
    NoSuchKey,
    /// INCR and friends left the signed 64-bit range.
    Overflow,
    /// INCRBYFLOAT would produce something that is not a finite number.
    NanOrInfinity,
    /// A string would grow beyond `proto-max-bulk-len`.
    StringTooLong,
    /// A deadline that cannot be represented; holds the command's name.
    InvalidExpire(&'static str),
    /// A database number that does not exist.
    DbIndex,
    /// Wrong number of arguments; holds the full command name (`config|get`).
    Arity(Cow<'static, str>),
    /// Any other line, code first (`ERR ...`, `NOPROTO ...`).
    Line(Cow<'static, str>),
    /// A line that carries client bytes, code first; control characters are replaced when sent.
    Bytes(Vec<u8>),
    /// The primary at `host:port` has to be asked.
    Redirect(String),
    /// The error of a nested command that a script passed on: it was counted when it happened.
    Passed(Vec<u8>),
}

impl CommandError {
    /// A fixed line, code first.
    pub const fn line(text: &'static str) -> Self {
        Self::Line(Cow::Borrowed(text))
    }

    /// A line made at run time, code first.
    pub fn owned(text: impl Into<String>) -> Self {
        Self::Line(Cow::Owned(text.into()))
    }

    /// The wire line without the leading `-` and the line end.
    pub fn text(&self) -> Cow<'_, [u8]> {
        let fixed: &'static str = match self {
            Self::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
            Self::Syntax => "ERR syntax error",
            Self::NotInteger => "ERR value is not an integer or out of range",
            Self::NotFloat => "ERR value is not a valid float",
            Self::OutOfRange => "ERR index out of range",
            Self::NoSuchKey => "ERR no such key",
            Self::Overflow => "ERR increment or decrement would overflow",
            Self::NanOrInfinity => "ERR increment would produce NaN or Infinity",
            Self::StringTooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            Self::DbIndex => "ERR DB index is out of range",
            Self::InvalidExpire(name) => {
                return Cow::Owned(
                    format!("ERR invalid expire time in '{name}' command").into_bytes(),
                );
            }
            Self::Arity(name) => {
                return Cow::Owned(
                    format!("ERR wrong number of arguments for '{name}' command").into_bytes(),
                );
            }
            Self::Redirect(place) => {
                return Cow::Owned(format!("REDIRECT {place}").into_bytes());
            }
            Self::Line(text) => return Cow::Borrowed(text.as_bytes()),
            Self::Bytes(bytes) | Self::Passed(bytes) => return Cow::Borrowed(bytes),
        };
        Cow::Borrowed(fixed.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_carry_their_code_first() {
        assert!(CommandError::WrongType.text().starts_with(b"WRONGTYPE "));
        assert_eq!(
            CommandError::Arity("config|get".into()).text().as_ref(),
            b"ERR wrong number of arguments for 'config|get' command"
        );
        assert_eq!(
            CommandError::InvalidExpire("set").text().as_ref(),
            b"ERR invalid expire time in 'set' command"
        );
    }
}
