//! Lengths and strings.

use super::super::format::{self, string};
use values::{DIGITS, Element, lzf, number};

/// Longer strings are compressed when that saves enough; strings of this length or less never get
/// shorter.
const COMPRESS_ABOVE: usize = 20;
/// The least number of bytes that compression must save.
const COMPRESS_GAIN: usize = 4;
/// The longest text of an integer that has a short form.
const INTEGER_TEXT_MAX: usize = 11;

/// A length in as few bytes as it takes.
pub(super) fn put_len(len: u64, out: &mut Vec<u8>) {
    if len < 1 << 6 {
        out.push(len as u8);
    } else if len < 1 << 14 {
        let [high, low] = (len as u16).to_be_bytes();
        out.extend_from_slice(&[format::LEN_14_BITS | high, low]);
    } else if let Ok(len) = u32::try_from(len) {
        out.push(format::LEN_32_BITS);
        out.extend_from_slice(&len.to_be_bytes());
    } else {
        out.push(format::LEN_64_BITS);
        out.extend_from_slice(&len.to_be_bytes());
    }
}

/// A string: as an integer if it is the text of a small one, compressed if asked to and shorter so.
pub(super) fn put_string(bytes: &[u8], compress: bool, out: &mut Vec<u8>) {
    if bytes.len() <= INTEGER_TEXT_MAX
        && let Some(value) = number::parse_canonical(bytes)
        && put_short_integer(value, out)
    {
        return;
    }
    if compress && bytes.len() > COMPRESS_ABOVE && put_lzf(bytes, out) {
        return;
    }
    put_len(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// An integer as a string.
pub(super) fn put_integer(value: i64, out: &mut Vec<u8>) {
    if !put_short_integer(value, out) {
        let mut digits = DIGITS;
        let text = number::format(value, &mut digits);
        put_len(text.len() as u64, out);
        out.extend_from_slice(text);
    }
}

/// An element as a string.
pub(super) fn put_element(element: Element<'_>, compress: bool, out: &mut Vec<u8>) {
    match element {
        Element::Bytes(bytes) => put_string(bytes, compress, out),
        Element::Int(value) => put_integer(value, out),
    }
}

/// A string that is compressed already.
pub(super) fn put_compressed(bytes: &[u8], plain_len: usize, out: &mut Vec<u8>) {
    out.push(string::LZF);
    put_len(bytes.len() as u64, out);
    put_len(plain_len as u64, out);
    out.extend_from_slice(bytes);
}

/// Integers of up to 32 bits, in one, two or four bytes.
fn put_short_integer(value: i64, out: &mut Vec<u8>) -> bool {
    if let Ok(value) = i8::try_from(value) {
        out.push(string::INT8);
        out.extend_from_slice(&value.to_le_bytes());
    } else if let Ok(value) = i16::try_from(value) {
        out.push(string::INT16);
        out.extend_from_slice(&value.to_le_bytes());
    } else if let Ok(value) = i32::try_from(value) {
        out.push(string::INT32);
        out.extend_from_slice(&value.to_le_bytes());
    } else {
        return false;
    }
    true
}

/// Compresses behind the present bytes, then moves the lengths to the front, because they are known
/// only then.
fn put_lzf(bytes: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    if !lzf::compress(bytes, out) {
        return false;
    }
    let compressed_len = out.len() - start;
    if compressed_len + COMPRESS_GAIN > bytes.len() {
        out.truncate(start);
        return false;
    }
    out.push(string::LZF);
    put_len(compressed_len as u64, out);
    put_len(bytes.len() as u64, out);
    if let Some(written) = out.get_mut(start..) {
        written.rotate_left(compressed_len);
    }
    true
}
