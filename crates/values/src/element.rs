//! One element of a collection: a member, a field, a value of a field.

use crate::number;
use std::fmt;

/// Room for the text of an integer.
pub type Digits = [u8; number::INTEGER_TEXT_MAX];

/// Room for the text of an integer, zeroed.
pub const DIGITS: Digits = [0; number::INTEGER_TEXT_MAX];

/// An element, borrowed from its collection. Packed forms store canonical integers as integers; the
/// text of both is the same for clients.
#[derive(Clone, Copy)]
pub enum Element<'a> {
    /// Stored as bytes.
    Bytes(&'a [u8]),
    /// Stored as an integer; its text is the canonical one.
    Int(i64),
}

impl<'a> Element<'a> {
    /// The text; an integer is written into `digits`.
    #[inline]
    pub fn as_bytes<'b>(&self, digits: &'b mut Digits) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            Element::Bytes(bytes) => bytes,
            Element::Int(value) => number::format(value, digits),
        }
    }

    /// The length of the text in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        match *self {
            Element::Bytes(bytes) => bytes.len(),
            Element::Int(value) => number::text_len(value),
        }
    }

    /// True when the text has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy of the text.
    pub fn to_vec(&self) -> Vec<u8> {
        self.as_bytes(&mut { DIGITS }).to_vec()
    }

    /// The integer of the text, if the text is the canonical one of an integer.
    #[inline]
    pub fn parse_i64(&self) -> Option<i64> {
        match *self {
            Element::Bytes(bytes) => number::parse_canonical(bytes),
            Element::Int(value) => Some(value),
        }
    }

    /// True when the text is `text`.
    #[inline]
    pub fn is(&self, text: &[u8]) -> bool {
        match *self {
            Element::Bytes(bytes) => bytes == text,
            Element::Int(value) => number::parse_canonical(text) == Some(value),
        }
    }
}

/// Elements are equal when their texts are.
impl PartialEq for Element<'_> {
    fn eq(&self, other: &Self) -> bool {
        match *other {
            Element::Bytes(bytes) => self.is(bytes),
            Element::Int(value) => self.parse_i64() == Some(value),
        }
    }
}

impl Eq for Element<'_> {}

impl fmt::Debug for Element<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.to_vec().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_decides_equality() {
        assert_eq!(Element::Bytes(b"12"), Element::Int(12));
        assert_eq!(Element::Int(12), Element::Bytes(b"12"));
        assert_ne!(Element::Bytes(b"012"), Element::Int(12));
        assert_ne!(Element::Int(1), Element::Int(2));
        assert!(Element::Int(-5).is(b"-5"));
        assert_eq!(Element::Int(-5).len(), 2);
        assert_eq!(Element::Int(-5).to_vec(), b"-5");
    }
}
