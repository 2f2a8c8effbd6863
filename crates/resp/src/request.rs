//! Requests written as clients, logs and replication streams have them: arrays of bulk strings.

use std::io::{self, Write};

/// Longest text of a length, with its sign and line end, in bytes.
const HEADER_BYTES_MAX: usize = 1 + 20 + 2;

/// The line that gives the number of arguments, or the length of one.
struct Header {
    bytes: [u8; HEADER_BYTES_MAX],
    len: usize,
}

impl Header {
    fn new(sign: u8, number: usize) -> Self {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(number).as_bytes();
        let mut header = Self {
            bytes: [sign; HEADER_BYTES_MAX],
            len: digits.len() + 3,
        };
        header.bytes[1..=digits.len()].copy_from_slice(digits);
        header.bytes[digits.len() + 1..header.len].copy_from_slice(b"\r\n");
        header
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Adds a request.
pub fn encode(out: &mut Vec<u8>, argv: &[&[u8]]) {
    begin(out, argv.len());
    for arg in argv {
        bulk(out, arg);
    }
}

/// Adds the request that selects a database.
pub fn encode_select(out: &mut Vec<u8>, db: u32) {
    let mut digits = itoa::Buffer::new();
    encode(out, &[b"SELECT", digits.format(db).as_bytes()]);
}

/// Adds the head of a request of `argc` arguments, which follow by [`bulk`].
pub fn begin(out: &mut Vec<u8>, argc: usize) {
    out.extend_from_slice(Header::new(b'*', argc).as_bytes());
}

/// Adds an argument.
pub fn bulk(out: &mut Vec<u8>, arg: &[u8]) {
    out.extend_from_slice(Header::new(b'$', arg.len()).as_bytes());
    out.extend_from_slice(arg);
    out.extend_from_slice(b"\r\n");
}

/// As [`encode`], to a writer.
///
/// # Errors
/// Errors of the writer.
pub fn write(out: &mut dyn Write, argv: &[&[u8]]) -> io::Result<()> {
    write_begin(out, argv.len())?;
    argv.iter().try_for_each(|arg| write_bulk(out, arg))
}

/// As [`begin`], to a writer.
///
/// # Errors
/// Errors of the writer.
pub fn write_begin(out: &mut dyn Write, argc: usize) -> io::Result<()> {
    out.write_all(Header::new(b'*', argc).as_bytes())
}

/// As [`bulk`], to a writer.
///
/// # Errors
/// Errors of the writer.
pub fn write_bulk(out: &mut dyn Write, arg: &[u8]) -> io::Result<()> {
    out.write_all(Header::new(b'$', arg.len()).as_bytes())?;
    out.write_all(arg)?;
    out.write_all(b"\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Args, Limits, Progress, RequestParser};
    use proptest::prelude::*;

    #[test]
    fn select_has_the_length_of_its_number() {
        for (db, text) in [
            (0, "$1\r\n0\r\n"),
            (9, "$1\r\n9\r\n"),
            (10, "$2\r\n10\r\n"),
            (u32::MAX, "$10\r\n4294967295\r\n"),
        ] {
            let mut bytes = b"before".to_vec();
            encode_select(&mut bytes, db);
            let expected = format!("before*2\r\n$6\r\nSELECT\r\n{text}");
            assert_eq!(String::from_utf8(bytes).unwrap(), expected);
        }
    }

    #[test]
    fn the_longest_header_fits() {
        let mut out = Vec::new();
        begin(&mut out, usize::MAX);
        assert_eq!(out, format!("*{}\r\n", usize::MAX).into_bytes());
    }

    proptest! {
        #[test]
        fn requests_parse_again(argv in prop::collection::vec(any::<Vec<u8>>(), 1..40)) {
            let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
            let (mut bytes, mut written) = (Vec::new(), Vec::new());
            encode(&mut bytes, &argv);
            write(&mut written, &argv).unwrap();
            prop_assert_eq!(&bytes, &written);
            let mut spans = Vec::new();
            let parsed = RequestParser::default().parse(&bytes, &Limits::default(), &mut spans);
            let is_whole =
                matches!(parsed, Ok(Progress::Request { consumed, .. }) if consumed == bytes.len());
            prop_assert!(is_whole);
            prop_assert!(Args::new(&bytes, &spans).iter().eq(argv.iter().copied()));
        }
    }
}
