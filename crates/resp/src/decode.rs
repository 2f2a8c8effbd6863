//! Replies out of bytes: all types of RESP2 and RESP3.
//!
//! The server reads replies where it is a client itself, and tests read them everywhere. Bytes are
//! not trusted: nothing is reserved because of a claimed length, and nesting costs no stack.

use std::fmt;

use crate::number;

/// A reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `+`: a status line.
    Simple(Vec<u8>),
    /// `-`: an error, its code included.
    Error(Vec<u8>),
    /// `:`
    Integer(i64),
    /// `$`: a string of bytes.
    Bulk(Vec<u8>),
    /// RESP3's `_`.
    Null,
    /// RESP2's `$-1`.
    NullBulk,
    /// RESP2's `*-1`.
    NullArray,
    /// `*`
    Array(Vec<Value>),
    /// `%`: keys and values in the order in which they came.
    Map(Vec<(Value, Value)>),
    /// `~`: elements in the order in which they came.
    Set(Vec<Value>),
    /// `>`: a message that answers no request.
    Push(Vec<Value>),
    /// `|`: facts about a reply, and the reply.
    Attribute(Vec<(Value, Value)>, Box<Value>),
    /// `,`
    Double(f64),
    /// `#`
    Boolean(bool),
    /// `(`: an integer of any size, as its digits.
    BigNumber(Vec<u8>),
    /// `=`: text with a format of three letters.
    Verbatim([u8; 3], Vec<u8>),
    /// `!`: an error that may hold any bytes.
    BulkError(Vec<u8>),
}

impl Value {
    /// The bytes of a string or error of any kind.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Simple(bytes)
            | Value::Error(bytes)
            | Value::Bulk(bytes)
            | Value::BigNumber(bytes)
            | Value::Verbatim(_, bytes)
            | Value::BulkError(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The integer, if it is one.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Value::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// The elements of an array, set or push.
    pub fn as_elements(&self) -> Option<&[Value]> {
        match self {
            Value::Array(elements) | Value::Set(elements) | Value::Push(elements) => Some(elements),
            _ => None,
        }
    }

    /// Whether this is an error reply.
    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_) | Value::BulkError(_))
    }

    /// Whether this is one of the nulls.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null | Value::NullBulk | Value::NullArray)
    }
}

/// The limits of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Most aggregates inside each other.
    pub max_depth: usize,
    /// Largest string in bytes.
    pub max_bulk: usize,
    /// Most values of a reply, all levels together. Each takes about 32 bytes of memory.
    pub max_values: usize,
    /// Longest line in bytes.
    pub max_line: usize,
}

impl Default for DecodeLimits {
    fn default() -> DecodeLimits {
        DecodeLimits {
            max_depth: 128,
            max_bulk: 512 * 1024 * 1024,
            max_values: 64 * 1024 * 1024,
            max_line: 64 * 1024,
        }
    }
}

/// Why bytes are no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// No type starts with this byte.
    UnknownType(u8),
    /// A length is no number, or negative where that has no meaning.
    InvalidLength,
    /// The text of a number, boolean or null is not one.
    InvalidText,
    /// Something else than `\r\n` ends a line or string.
    InvalidCrlf,
    /// One of the [`DecodeLimits`].
    TooLarge,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::UnknownType(byte) => {
                write!(f, "unknown reply type {:?}", char::from(*byte))
            }
            DecodeError::InvalidLength => f.write_str("invalid length in a reply"),
            DecodeError::InvalidText => f.write_str("invalid number, boolean or null in a reply"),
            DecodeError::InvalidCrlf => {
                f.write_str("a line or string of a reply has no proper end")
            }
            DecodeError::TooLarge => f.write_str("reply exceeds a limit"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Reads the reply at the start of `input`: the value and how many bytes it took, or `None` if it
/// is not complete.
pub fn decode(input: &[u8]) -> Result<Option<(Value, usize)>, DecodeError> {
    decode_with(input, &DecodeLimits::default())
}

/// [`decode`] with limits of one's own.
pub fn decode_with(
    input: &[u8],
    limits: &DecodeLimits,
) -> Result<Option<(Value, usize)>, DecodeError> {
    let mut reader = Reader {
        input,
        at: 0,
        limits,
        values: 0,
    };
    let mut open: Vec<Aggregate> = Vec::new();
    loop {
        let mut value = match reader.item()? {
            None => return Ok(None),
            Some(Item::Value(value)) => value,
            Some(Item::Aggregate(kind, len)) => {
                if open.len() >= limits.max_depth {
                    return Err(DecodeError::TooLarge);
                }
                let aggregate = Aggregate {
                    kind,
                    missing: len,
                    values: Vec::new(),
                };
                if aggregate.missing > 0 {
                    open.push(aggregate);
                    continue;
                }
                aggregate.close()
            }
        };
        // A complete value may complete the aggregates around it.
        loop {
            let Some(mut aggregate) = open.pop() else {
                return Ok(Some((value, reader.at)));
            };
            aggregate.values.push(value);
            aggregate.missing -= 1;
            if aggregate.missing > 0 {
                open.push(aggregate);
                break;
            }
            value = aggregate.close();
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Array,
    Map,
    Set,
    Push,
    Attribute,
}

/// An aggregate whose elements are being read.
struct Aggregate {
    kind: Kind,
    /// Values still to come; of a map two for each pair, of an attribute one more.
    missing: usize,
    values: Vec<Value>,
}

impl Aggregate {
    fn close(mut self) -> Value {
        match self.kind {
            Kind::Array => Value::Array(self.values),
            Kind::Set => Value::Set(self.values),
            Kind::Push => Value::Push(self.values),
            Kind::Map => Value::Map(pairs(self.values)),
            Kind::Attribute => {
                let value = self.values.pop().unwrap_or(Value::Null);
                Value::Attribute(pairs(self.values), Box::new(value))
            }
        }
    }
}

fn pairs(values: Vec<Value>) -> Vec<(Value, Value)> {
    let mut pairs = Vec::with_capacity(values.len() / 2);
    let mut values = values.into_iter();
    while let (Some(key), Some(value)) = (values.next(), values.next()) {
        pairs.push((key, value));
    }
    pairs
}

/// A value without parts, or the head of one with parts and how many there are.
enum Item {
    Value(Value),
    Aggregate(Kind, usize),
}

struct Reader<'a> {
    input: &'a [u8],
    /// Bytes read. <= input.len()
    at: usize,
    limits: &'a DecodeLimits,
    /// Values begun.
    values: usize,
}

impl<'a> Reader<'a> {
    fn item(&mut self) -> Result<Option<Item>, DecodeError> {
        let Some(line) = self.line()? else {
            return Ok(None);
        };
        self.values += 1;
        if self.values > self.limits.max_values {
            return Err(DecodeError::TooLarge);
        }
        let Some((kind, text)) = line.split_first() else {
            return Err(DecodeError::UnknownType(b'\r'));
        };
        let value = match kind {
            b'+' => Value::Simple(text.to_vec()),
            b'-' => Value::Error(text.to_vec()),
            b':' => Value::Integer(number::parse_i64(text).ok_or(DecodeError::InvalidText)?),
            b'_' if text.is_empty() => Value::Null,
            b',' => Value::Double(double(text)?),
            b'#' => Value::Boolean(match text {
                b"t" => true,
                b"f" => false,
                _ => return Err(DecodeError::InvalidText),
            }),
            b'(' if is_integer(text) => Value::BigNumber(text.to_vec()),
            b'_' | b'(' => return Err(DecodeError::InvalidText),
            b'$' | b'!' | b'=' => return self.string(*kind, text),
            b'*' | b'%' | b'~' | b'>' | b'|' => return self.aggregate(*kind, text).map(Some),
            _ => return Err(DecodeError::UnknownType(*kind)),
        };
        Ok(Some(Item::Value(value)))
    }

    /// The next line without its end.
    fn line(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        let rest = &self.input[self.at..];
        let window = &rest[..rest.len().min(self.limits.max_line.saturating_add(1))];
        let Some(end) = window.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
            let complete = window.len() > self.limits.max_line;
            return if complete {
                Err(DecodeError::TooLarge)
            } else {
                Ok(None)
            };
        };
        match rest.get(end..end + 2) {
            None if rest[end] == b'\r' => Ok(None),
            Some(b"\r\n") => {
                self.at += end + 2;
                Ok(Some(&rest[..end]))
            }
            _ => Err(DecodeError::InvalidCrlf),
        }
    }

    /// A string of known length behind its length line.
    fn string(&mut self, kind: u8, text: &[u8]) -> Result<Option<Item>, DecodeError> {
        let len = match (kind, number::parse_i64(text)) {
            (b'$', Some(-1)) => return Ok(Some(Item::Value(Value::NullBulk))),
            (_, Some(len)) => usize::try_from(len).map_err(|_| DecodeError::InvalidLength)?,
            (_, None) => return Err(DecodeError::InvalidLength),
        };
        if len > self.limits.max_bulk {
            return Err(DecodeError::TooLarge);
        }
        let end = self.at.saturating_add(len);
        match self.input.get(end..end.saturating_add(2)) {
            None => return Ok(None),
            Some(b"\r\n") => {}
            Some(_) => return Err(DecodeError::InvalidCrlf),
        }
        let bytes = &self.input[self.at..end];
        self.at = end + 2;
        let value = match (kind, bytes) {
            (b'$', _) => Value::Bulk(bytes.to_vec()),
            (b'!', _) => Value::BulkError(bytes.to_vec()),
            (_, [a, b, c, b':', text @ ..]) => Value::Verbatim([*a, *b, *c], text.to_vec()),
            _ => return Err(DecodeError::InvalidText),
        };
        Ok(Some(Item::Value(value)))
    }

    fn aggregate(&self, kind: u8, text: &[u8]) -> Result<Item, DecodeError> {
        let len = match (kind, number::parse_i64(text)) {
            (b'*', Some(-1)) => return Ok(Item::Value(Value::NullArray)),
            (_, Some(len)) => usize::try_from(len).map_err(|_| DecodeError::InvalidLength)?,
            (_, None) => return Err(DecodeError::InvalidLength),
        };
        let (kind, len) = match kind {
            b'*' => (Kind::Array, len),
            b'~' => (Kind::Set, len),
            b'>' => (Kind::Push, len),
            b'%' => (Kind::Map, len.saturating_mul(2)),
            _ => (Kind::Attribute, len.saturating_mul(2).saturating_add(1)),
        };
        if len > self.limits.max_values.saturating_sub(self.values) {
            return Err(DecodeError::TooLarge);
        }
        Ok(Item::Aggregate(kind, len))
    }
}

fn double(text: &[u8]) -> Result<f64, DecodeError> {
    match text {
        b"nan" | b"-nan" => Ok(f64::NAN),
        _ => number::parse_f64(text).ok_or(DecodeError::InvalidText),
    }
}

fn is_integer(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(input: &[u8]) -> Value {
        let (value, len) = decode(input).unwrap().unwrap();
        assert_eq!(len, input.len());
        for end in 0..len {
            assert_eq!(decode(&input[..end]), Ok(None), "{end} bytes");
        }
        value
    }

    #[test]
    fn every_type() {
        assert_eq!(value(b"+OK\r\n"), Value::Simple(b"OK".to_vec()));
        assert_eq!(value(b"-ERR x\r\n"), Value::Error(b"ERR x".to_vec()));
        assert_eq!(value(b":-5\r\n"), Value::Integer(-5));
        assert_eq!(
            value(b"$4\r\n\r\n\0\n\r\n"),
            Value::Bulk(b"\r\n\0\n".to_vec())
        );
        assert_eq!(value(b"$-1\r\n"), Value::NullBulk);
        assert_eq!(value(b"*-1\r\n"), Value::NullArray);
        assert_eq!(value(b"_\r\n"), Value::Null);
        assert_eq!(value(b",1.5e3\r\n"), Value::Double(1500.0));
        assert!(matches!(value(b",nan\r\n"), Value::Double(nan) if nan.is_nan()));
        assert_eq!(value(b"#t\r\n"), Value::Boolean(true));
        assert_eq!(
            value(b"(-12345678901234567890123\r\n").as_bytes(),
            Some(&b"-12345678901234567890123"[..])
        );
        assert_eq!(
            value(b"=6\r\ntxt:hi\r\n"),
            Value::Verbatim(*b"txt", b"hi".to_vec())
        );
        assert_eq!(value(b"!3\r\nERR\r\n"), Value::BulkError(b"ERR".to_vec()));
        assert_eq!(
            value(b"*2\r\n*0\r\n:1\r\n"),
            Value::Array(vec![Value::Array(vec![]), Value::Integer(1)])
        );
        assert_eq!(value(b"~1\r\n:1\r\n"), Value::Set(vec![Value::Integer(1)]));
        assert_eq!(value(b">1\r\n:1\r\n"), Value::Push(vec![Value::Integer(1)]));
        let pairs = vec![(Value::Integer(1), Value::Null)];
        assert_eq!(value(b"%1\r\n:1\r\n_\r\n"), Value::Map(pairs.clone()));
        let attribute = Value::Attribute(pairs, Box::new(Value::Boolean(false)));
        assert_eq!(value(b"|1\r\n:1\r\n_\r\n#f\r\n"), attribute);
    }

    #[test]
    fn accessors() {
        assert_eq!(value(b":3\r\n").as_integer(), Some(3));
        assert_eq!(
            value(b"*1\r\n:3\r\n").as_elements().map(<[Value]>::len),
            Some(1)
        );
        assert!(value(b"-E\r\n").is_error() && value(b"!1\r\nE\r\n").is_error());
        for null in [&b"_\r\n"[..], b"$-1\r\n", b"*-1\r\n"] {
            assert!(value(null).is_null());
        }
        assert_eq!(value(b"_\r\n").as_bytes(), None);
    }

    #[test]
    fn what_is_no_reply() {
        use DecodeError::*;
        let cases: [(&[u8], DecodeError); 19] = [
            (b"\r\n", UnknownType(b'\r')),
            (b"?1\r\n", UnknownType(b'?')),
            (b":x\r\n", InvalidText),
            (b":\r\n", InvalidText),
            (b",x\r\n", InvalidText),
            (b"#x\r\n", InvalidText),
            (b"(1x\r\n", InvalidText),
            (b"(-\r\n", InvalidText),
            (b"_x\r\n", InvalidText),
            (b"=3\r\ntxt\r\n", InvalidText),
            (b"$-2\r\n", InvalidLength),
            (b"!-1\r\n", InvalidLength),
            (b"%-1\r\n", InvalidLength),
            (b"*x\r\n", InvalidLength),
            (b"+a\nb", InvalidCrlf),
            (b"+a\rb", InvalidCrlf),
            (b"$1\r\nabc", InvalidCrlf),
            (b"$536870913\r\n", TooLarge),
            (b"%9223372036854775807\r\n", TooLarge),
        ];
        for (input, error) in cases {
            assert_eq!(
                decode(input),
                Err(error),
                "{:?}",
                String::from_utf8_lossy(input)
            );
        }
    }

    #[test]
    fn limits() {
        let limits = DecodeLimits {
            max_depth: 3,
            max_bulk: 4,
            max_values: 6,
            max_line: 8,
        };
        let error = |input: &[u8]| decode_with(input, &limits).err();
        assert_eq!(error(b"*1\r\n*1\r\n*1\r\n:1\r\n"), None);
        assert_eq!(
            error(b"*1\r\n*1\r\n*1\r\n*1\r\n"),
            Some(DecodeError::TooLarge)
        );
        assert_eq!(error(b"$5\r\n"), Some(DecodeError::TooLarge));
        assert_eq!(error(b"*6\r\n"), Some(DecodeError::TooLarge));
        assert_eq!(
            error(b"*3\r\n*3\r\n"),
            Some(DecodeError::TooLarge).filter(|_| false)
        );
        assert_eq!(
            error(b"*3\r\n*3\r\n:1\r\n:1\r\n:1\r\n*3\r\n"),
            Some(DecodeError::TooLarge)
        );
        assert_eq!(error(b"+1234567"), None);
        assert_eq!(error(b"+12345678"), Some(DecodeError::TooLarge));
    }

    #[test]
    fn deep_nesting_ends_with_an_error() {
        let input = b"*1\r\n".repeat(100_000);
        assert_eq!(decode(&input), Err(DecodeError::TooLarge));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(
            input in prop::collection::vec(
                prop_oneof![prop::sample::select(b"*$:+-_,#(=!~%>|\r\n\r\n0123tf".to_vec()), any::<u8>()],
                0..200,
            ),
        ) {
            if let Ok(Some((_, len))) = decode(&input) {
                prop_assert!(len <= input.len());
            }
        }
    }
}
