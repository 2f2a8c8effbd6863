//! Replies in RESP2 or RESP3.
//!
//! Handlers choose the type of a reply; a type that RESP2 lacks is written as the one that RESP2
//! clients expect for it: a map as a flat array, a set and a push as an array, a double, big number
//! and verbatim string as a bulk string, a boolean as 0 or 1. Attributes have no such form and are
//! left out.

use std::fmt::{Display, Write};

use smallvec::SmallVec;

use crate::number::{self, F64_BYTES_MAX, F80, I64_BYTES_MAX};
use crate::output::{Mark, Output, SharedBytes};

/// The protocol version that a client chose with HELLO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// The protocol of a new connection.
    #[default]
    Resp2,
    /// With maps, sets, doubles, pushes and the rest.
    Resp3,
}

/// Writes replies to the end of an output.
#[derive(Debug)]
pub struct Reply<'a> {
    /// Where the bytes go.
    pub out: &'a mut Output,
    /// The client's protocol version.
    pub protocol: Protocol,
}

/// Two digits for each number below a hundred.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < pairs.len() {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

/// The place of a length that is not known yet: see [`Reply::defer`].
#[derive(Debug)]
#[must_use = "an aggregate without its length breaks the reply"]
pub struct Deferred(Mark);

impl<'a> Reply<'a> {
    /// Replies of `protocol` into `out`.
    #[inline]
    pub fn new(out: &'a mut Output, protocol: Protocol) -> Reply<'a> {
        Reply { out, protocol }
    }

    #[inline]
    fn is_resp3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.out.raw(b"+OK\r\n");
    }

    /// A status line. Line breaks in it become spaces.
    pub fn simple(&mut self, text: impl AsRef<[u8]>) {
        self.line(b'+', text.as_ref());
    }

    /// An error: its code and text, as in `ERR syntax error`, without the minus sign. Line breaks
    /// at the ends are dropped, others become spaces.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        let mut text = text.as_ref();
        while let [b'\r' | b'\n', rest @ ..] | [rest @ .., b'\r' | b'\n'] = text {
            text = rest;
        }
        self.line(b'-', text);
    }

    fn line(&mut self, prefix: u8, text: &[u8]) {
        self.out.reserve(text.len() + 3);
        self.out.raw(&[prefix]);
        for (index, part) in text.split(|byte| matches!(byte, b'\r' | b'\n')).enumerate() {
            if index > 0 {
                self.out.raw(b" ");
            }
            self.out.raw(part);
        }
        self.out.raw(b"\r\n");
    }

    /// An integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        self.number_line(b':', value);
    }

    /// A prefix, a number and a line end, with one append.
    #[inline]
    fn number_line(&mut self, prefix: u8, value: i64) {
        if let digit @ 0..=9 = value {
            self.out.raw(&[prefix, b'0' + digit as u8, b'\r', b'\n']);
            return;
        }
        // Digits come last first, so that the line is built from its end.
        let mut line = *b"______________________\r\n";
        let mut start = line.len() - 2;
        let mut rest = value.unsigned_abs();
        while rest >= 10 {
            start -= 2;
            line[start..start + 2].copy_from_slice(&PAIRS[(rest % 100) as usize]);
            rest /= 100;
        }
        if rest > 0 {
            start -= 1;
            line[start] = b'0' + rest as u8;
        }
        if value < 0 {
            start -= 1;
            line[start] = b'-';
        }
        start -= 1;
        line[start] = prefix;
        self.out.raw(&line[start..]);
    }

    #[inline]
    fn length_line(&mut self, prefix: u8, len: usize) {
        self.number_line(prefix, i64::try_from(len).unwrap_or(i64::MAX));
    }

    /// A bulk string.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len() + I64_BYTES_MAX + 5);
        let digit = |of: usize| b'0' + (of % 10) as u8;
        // Arrays of a known length are stored without a call.
        match bytes.len() {
            len @ 0..=9 => self.out.raw(&[b'$', digit(len), b'\r', b'\n']),
            len @ 10..=99 => {
                let line = [b'$', digit(len / 10), digit(len), b'\r', b'\n'];
                self.out.raw(&line);
            }
            len => self.length_line(b'$', len),
        }
        self.out.raw(bytes);
        self.out.raw(b"\r\n");
    }

    /// A bulk string that is not copied when it is large.
    pub fn bulk_shared(&mut self, data: SharedBytes) {
        self.length_line(b'$', (*data).as_ref().len());
        self.out.shared(data);
        self.out.raw(b"\r\n");
    }

    /// The text of `value` as a bulk string.
    pub fn bulk_display(&mut self, value: impl Display) {
        let mut text = Text::default();
        // Writing to memory does not fail, and a `Display` that claims to fail has no error reply
        // here.
        let _ = write!(text, "{value}");
        self.bulk(&text.0);
    }

    /// An integer as a bulk string.
    pub fn integer_bulk(&mut self, value: i64) {
        self.bulk(number::format_i64(value, &mut [0; I64_BYTES_MAX]));
    }

    /// Nothing, where a string or number would stand.
    #[inline]
    pub fn null(&mut self) {
        self.out.raw(if self.is_resp3() {
            b"_\r\n"
        } else {
            b"$-1\r\n"
        });
    }

    /// Nothing, where an array would stand.
    pub fn null_array(&mut self) {
        self.out.raw(if self.is_resp3() {
            b"_\r\n"
        } else {
            b"*-1\r\n"
        });
    }

    /// The head of an array: `len` replies follow.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.length_line(b'*', len);
    }

    /// An array of no elements.
    pub fn empty_array(&mut self) {
        self.out.raw(b"*0\r\n");
    }

    /// The head of a map: `len` pairs of replies follow.
    pub fn map(&mut self, len: usize) {
        let (prefix, len) = self.map_head(len);
        self.length_line(prefix, len);
    }

    /// The head of a set: `len` replies follow.
    pub fn set(&mut self, len: usize) {
        let prefix = self.set_prefix();
        self.length_line(prefix, len);
    }

    /// The head of a message that answers no request: `len` replies follow.
    pub fn push(&mut self, len: usize) {
        self.length_line(if self.is_resp3() { b'>' } else { b'*' }, len);
    }

    /// The head of an attribute of the next reply: `len` pairs of replies follow, if this returns
    /// true. For a RESP2 client it writes nothing and returns false.
    #[must_use = "the pairs may follow only if this is true"]
    pub fn attribute(&mut self, len: usize) -> bool {
        if self.is_resp3() {
            self.length_line(b'|', len);
        }
        self.is_resp3()
    }

    fn map_head(&self, len: usize) -> (u8, usize) {
        if self.is_resp3() {
            (b'%', len)
        } else {
            (b'*', len.saturating_mul(2))
        }
    }

    fn set_prefix(&self) -> u8 {
        if self.is_resp3() { b'~' } else { b'*' }
    }

    /// A floating-point number, as [`number::format_f64`] prints it.
    pub fn double(&mut self, value: f64) {
        let mut buffer = [0; F64_BYTES_MAX];
        let text = number::format_f64(value, &mut buffer);
        self.double_text(text);
    }

    /// An 80-bit number in plain notation.
    pub fn long_double(&mut self, value: &F80) {
        self.double_text(value.to_string().as_bytes());
    }

    fn double_text(&mut self, text: &[u8]) {
        if self.is_resp3() {
            self.line(b',', text);
        } else {
            self.bulk(text);
        }
    }

    /// A truth value.
    pub fn boolean(&mut self, value: bool) {
        self.out.raw(match (self.protocol, value) {
            (Protocol::Resp2, false) => b":0\r\n",
            (Protocol::Resp2, true) => b":1\r\n",
            (Protocol::Resp3, false) => b"#f\r\n",
            (Protocol::Resp3, true) => b"#t\r\n",
        });
    }

    /// An integer of any size, as decimal digits.
    pub fn big_number(&mut self, digits: &str) {
        if self.is_resp3() {
            self.line(b'(', digits.as_bytes());
        } else {
            self.bulk(digits.as_bytes());
        }
    }

    /// Text with a format of three letters such as `txt`; a shorter one is filled up with spaces.
    pub fn verbatim(&mut self, format: &str, bytes: &[u8]) {
        if !self.is_resp3() {
            return self.bulk(bytes);
        }
        let mut head = *b"   :";
        for (to, from) in head.iter_mut().take(3).zip(format.bytes()) {
            *to = from;
        }
        self.length_line(b'=', bytes.len().saturating_add(head.len()));
        self.out.raw(&head);
        self.out.raw(bytes);
        self.out.raw(b"\r\n");
    }

    /// Bytes that are a reply already.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.raw(bytes);
    }

    /// Leaves the length of an aggregate open. The elements follow, then one of the `finish`
    /// functions; the aggregate opened last is finished first.
    pub fn defer(&mut self) -> Deferred {
        Deferred(self.out.defer())
    }

    /// Makes what was written since `deferred` an array of `len` elements.
    pub fn finish_array(&mut self, deferred: Deferred, len: usize) {
        self.finish(deferred, b'*', len);
    }

    /// Makes what was written since `deferred` a map of `len` pairs.
    pub fn finish_map(&mut self, deferred: Deferred, len: usize) {
        let (prefix, len) = self.map_head(len);
        self.finish(deferred, prefix, len);
    }

    /// Makes what was written since `deferred` a set of `len` elements.
    pub fn finish_set(&mut self, deferred: Deferred, len: usize) {
        self.finish(deferred, self.set_prefix(), len);
    }

    fn finish(&mut self, deferred: Deferred, prefix: u8, len: usize) {
        let mut line: SmallVec<[u8; 24]> = SmallVec::new();
        line.push(prefix);
        let len = i64::try_from(len).unwrap_or(i64::MAX);
        line.extend_from_slice(number::format_i64(len, &mut [0; I64_BYTES_MAX]));
        line.extend_from_slice(b"\r\n");
        self.out.insert_at(deferred.0, &line);
    }
}

/// Text that is put together on the stack as long as it is short.
#[derive(Default)]
struct Text(SmallVec<[u8; 128]>);

impl Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::decode::{Value, decode};
    use crate::output::SHARED_MIN_BYTES;
    use proptest::prelude::*;

    /// What `write` writes in both versions of the protocol, as text.
    fn both(write: impl Fn(&mut Reply<'_>)) -> (String, String) {
        let text = |protocol| {
            let mut output = Output::new();
            write(&mut Reply::new(&mut output, protocol));
            String::from_utf8_lossy(&output.to_vec()).into_owned()
        };
        (text(Protocol::Resp2), text(Protocol::Resp3))
    }

    fn assert_both(write: impl Fn(&mut Reply<'_>), resp2: &str, resp3: &str) {
        assert_eq!(both(write), (resp2.to_owned(), resp3.to_owned()));
    }

    fn assert_same(write: impl Fn(&mut Reply<'_>), text: &str) {
        assert_both(write, text, text);
    }

    #[test]
    fn types_that_both_versions_have() {
        assert_same(|reply| reply.ok(), "+OK\r\n");
        assert_same(|reply| reply.simple("a\r\nb"), "+a  b\r\n");
        assert_same(|reply| reply.error("ERR no\nno\r\n"), "-ERR no no\r\n");
        assert_same(|reply| reply.error(b"\r\n"), "-\r\n");
        assert_same(|reply| reply.integer(7), ":7\r\n");
        assert_same(|reply| reply.integer(-1), ":-1\r\n");
        assert_same(|reply| reply.integer(i64::MIN), ":-9223372036854775808\r\n");
        assert_same(
            |reply| reply.bulk(b"ab\r\ncdefghij"),
            "$12\r\nab\r\ncdefghij\r\n",
        );
        assert_same(|reply| reply.bulk(b""), "$0\r\n\r\n");
        assert_same(
            |reply| reply.bulk_display(format_args!("{}-{}", 1, 2)),
            "$3\r\n1-2\r\n",
        );
        assert_same(|reply| reply.integer_bulk(-10), "$3\r\n-10\r\n");
        assert_same(|reply| reply.array(10), "*10\r\n");
        assert_same(|reply| reply.empty_array(), "*0\r\n");
        assert_same(|reply| reply.raw(b"+x\r\n"), "+x\r\n");
    }

    #[test]
    fn types_that_resp2_lacks() {
        assert_both(|reply| reply.null(), "$-1\r\n", "_\r\n");
        assert_both(|reply| reply.null_array(), "*-1\r\n", "_\r\n");
        assert_both(|reply| reply.map(3), "*6\r\n", "%3\r\n");
        assert_both(|reply| reply.set(3), "*3\r\n", "~3\r\n");
        assert_both(|reply| reply.push(3), "*3\r\n", ">3\r\n");
        assert_both(|reply| reply.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n");
        assert_both(
            |reply| reply.double(f64::INFINITY),
            "$3\r\ninf\r\n",
            ",inf\r\n",
        );
        assert_both(
            |reply| reply.long_double(&F80::from(2)),
            "$1\r\n2\r\n",
            ",2\r\n",
        );
        assert_both(|reply| reply.boolean(true), ":1\r\n", "#t\r\n");
        assert_both(|reply| reply.boolean(false), ":0\r\n", "#f\r\n");
        assert_both(|reply| reply.big_number("123"), "$3\r\n123\r\n", "(123\r\n");
        assert_both(
            |reply| reply.verbatim("txt", b"hi"),
            "$2\r\nhi\r\n",
            "=6\r\ntxt:hi\r\n",
        );
        assert_both(
            |reply| reply.verbatim("md", b"hi"),
            "$2\r\nhi\r\n",
            "=6\r\nmd :hi\r\n",
        );
        let attribute = |reply: &mut Reply<'_>| {
            if reply.attribute(1) {
                reply.ok();
                reply.integer(1);
            }
            reply.null();
        };
        assert_both(attribute, "$-1\r\n", "|1\r\n+OK\r\n:1\r\n_\r\n");
    }

    #[test]
    fn lengths_known_afterwards() {
        let nested = |reply: &mut Reply<'_>| {
            let outer = reply.defer();
            let inner = reply.defer();
            reply.integer(1);
            reply.integer(2);
            reply.finish_map(inner, 1);
            let inner = reply.defer();
            reply.finish_set(inner, 0);
            reply.finish_array(outer, 2);
            let inner = reply.defer();
            reply.ok();
            reply.finish_array(inner, 1);
        };
        assert_both(
            nested,
            "*2\r\n*2\r\n:1\r\n:2\r\n*0\r\n*1\r\n+OK\r\n",
            "*2\r\n%1\r\n:1\r\n:2\r\n~0\r\n*1\r\n+OK\r\n",
        );
    }

    #[test]
    fn large_shared_strings_inside_deferred_arrays() {
        let mut output = Output::new();
        let mut reply = Reply::new(&mut output, Protocol::Resp2);
        let outer = reply.defer();
        reply.bulk_shared(Arc::new(vec![b'x'; SHARED_MIN_BYTES]));
        let inner = reply.defer();
        reply.bulk(&[b'y'; 20_000]);
        reply.bulk_shared(Arc::new(vec![b'z'; 3]));
        reply.finish_array(inner, 2);
        reply.finish_array(outer, 2);
        let wanted = Value::Array(vec![
            Value::Bulk(vec![b'x'; SHARED_MIN_BYTES]),
            Value::Array(vec![
                Value::Bulk(vec![b'y'; 20_000]),
                Value::Bulk(b"zzz".to_vec()),
            ]),
        ]);
        assert_eq!(decode(&output.to_vec()), Ok(Some((wanted, output.len()))));
    }

    /// Writes `value`, with lengths given in advance or afterwards.
    fn write(value: &Value, deferred: bool, reply: &mut Reply<'_>) {
        match value {
            Value::Simple(text) => reply.simple(std::str::from_utf8(text).unwrap()),
            Value::Error(text) => reply.error(text),
            Value::Integer(value) => reply.integer(*value),
            Value::Bulk(bytes) if deferred => reply.bulk_shared(Arc::new(bytes.clone())),
            Value::Bulk(bytes) => reply.bulk(bytes),
            Value::Null => reply.null(),
            Value::Double(value) => reply.double(*value),
            Value::Boolean(value) => reply.boolean(*value),
            Value::BigNumber(digits) => reply.big_number(std::str::from_utf8(digits).unwrap()),
            Value::Verbatim(format, bytes) => {
                reply.verbatim(std::str::from_utf8(format).unwrap(), bytes)
            }
            Value::Array(values) | Value::Set(values) if deferred => {
                let length = reply.defer();
                values
                    .iter()
                    .for_each(|value| write(value, deferred, reply));
                match value {
                    Value::Array(_) => reply.finish_array(length, values.len()),
                    _ => reply.finish_set(length, values.len()),
                }
            }
            Value::Array(values) | Value::Set(values) | Value::Push(values) => {
                match value {
                    Value::Array(_) => reply.array(values.len()),
                    Value::Set(_) => reply.set(values.len()),
                    _ => reply.push(values.len()),
                }
                values
                    .iter()
                    .for_each(|value| write(value, deferred, reply));
            }
            Value::Map(pairs) => {
                let length = deferred.then(|| reply.defer());
                if length.is_none() {
                    reply.map(pairs.len());
                }
                for (key, value) in pairs {
                    write(key, deferred, reply);
                    write(value, deferred, reply);
                }
                if let Some(length) = length {
                    reply.finish_map(length, pairs.len());
                }
            }
            Value::Attribute(pairs, value) => {
                assert!(reply.attribute(pairs.len()));
                for (key, value) in pairs {
                    write(key, deferred, reply);
                    write(value, deferred, reply);
                }
                write(value, deferred, reply);
            }
            Value::NullBulk | Value::NullArray | Value::BulkError(_) => {
                unreachable!("not generated")
            }
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let bytes = prop::collection::vec(any::<u8>(), 0..20);
        let leaf = prop_oneof![
            "[ -~]{0,10}".prop_map(|text| Value::Simple(text.into_bytes())),
            "[ -~]{0,10}".prop_map(|text| Value::Error(text.into_bytes())),
            any::<i64>().prop_map(Value::Integer),
            bytes.clone().prop_map(Value::Bulk),
            (SHARED_MIN_BYTES..20_000).prop_map(|len| Value::Bulk(vec![b'x'; len])),
            Just(Value::Null),
            any::<f64>()
                .prop_filter("NaN", |value| !value.is_nan())
                .prop_map(Value::Double),
            any::<bool>().prop_map(Value::Boolean),
            "-?[0-9]{1,30}".prop_map(|text| Value::BigNumber(text.into_bytes())),
            bytes.prop_map(|bytes| Value::Verbatim(*b"txt", bytes)),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            let values = prop::collection::vec(inner.clone(), 0..5);
            let pairs = prop::collection::vec((inner.clone(), inner.clone()), 0..3);
            prop_oneof![
                values.clone().prop_map(Value::Array),
                values.clone().prop_map(Value::Set),
                values.prop_map(Value::Push),
                pairs.clone().prop_map(Value::Map),
                (pairs, inner).prop_map(|(pairs, value)| Value::Attribute(pairs, Box::new(value))),
            ]
        })
    }

    proptest! {
        #[test]
        fn replies_decode_back(value in value(), deferred: bool, cut in any::<prop::sample::Index>()) {
            let mut output = Output::new();
            write(&value, deferred, &mut Reply::new(&mut output, Protocol::Resp3));
            let bytes = output.to_vec();
            prop_assert_eq!(decode(&bytes[..cut.index(bytes.len())]), Ok(None));
            prop_assert_eq!(decode(&[&bytes[..], b"more"].concat()), Ok(Some((value, bytes.len()))));
        }
    }
}
