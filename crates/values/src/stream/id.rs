//! Ids of entries.

use crate::number;
use std::fmt;

/// The id of an entry: a Unix time in milliseconds, and a number among the entries of that time.
/// Ids are ordered by time, then by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Unix time in milliseconds.
    pub ms: u64,
    /// Number among the entries of the same time.
    pub seq: u64,
}

/// Room for the text of an id.
pub type IdText = [u8; 2 * number::INTEGER_TEXT_MAX + 1];

/// Room for the text of an id, zeroed.
pub const ID_TEXT: IdText = [0; 2 * number::INTEGER_TEXT_MAX + 1];

impl StreamId {
    /// The first of all ids, which no entry can have.
    pub const MIN: StreamId = StreamId { ms: 0, seq: 0 };
    /// The last of all ids.
    pub const MAX: StreamId = StreamId {
        ms: u64::MAX,
        seq: u64::MAX,
    };

    /// An id of its parts.
    pub const fn new(ms: u64, seq: u64) -> StreamId {
        StreamId { ms, seq }
    }

    /// True for 0-0.
    pub fn is_zero(self) -> bool {
        self == StreamId::MIN
    }

    /// The id behind this one; `None` behind the last.
    pub fn next(self) -> Option<StreamId> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(StreamId { seq, ..self }),
            None => Some(StreamId::new(self.ms.checked_add(1)?, 0)),
        }
    }

    /// The id in front of this one; `None` in front of the first.
    pub fn prev(self) -> Option<StreamId> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(StreamId { seq, ..self }),
            None => Some(StreamId::new(self.ms.checked_sub(1)?, u64::MAX)),
        }
    }

    /// The sixteen bytes that Redis saves: both numbers with the high bytes first.
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.ms) << 64 | u128::from(self.seq)).to_be_bytes()
    }

    /// From the sixteen bytes that Redis saves.
    pub fn from_bytes(bytes: [u8; 16]) -> StreamId {
        let both = u128::from_be_bytes(bytes);
        StreamId::new((both >> 64) as u64, both as u64)
    }

    /// The text `ms-seq`.
    pub fn text(self, room: &mut IdText) -> &[u8] {
        let mut at = room.len();
        at = digits_before(room, at, self.seq);
        if let Some(sign) = at.checked_sub(1).and_then(|sign| room.get_mut(sign)) {
            *sign = b'-';
            at -= 1;
        }
        at = digits_before(room, at, self.ms);
        room.get(at..).unwrap_or_default()
    }
}

/// Writes digits that end in front of `at`; returns where they begin.
fn digits_before(room: &mut IdText, mut at: usize, mut number: u64) -> usize {
    loop {
        let Some(digit) = at.checked_sub(1).and_then(|digit| room.get_mut(digit)) else {
            return at;
        };
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        at -= 1;
        if number == 0 {
            return at;
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_and_texts() {
        let id = StreamId::new(5, u64::MAX);
        assert_eq!(id.next(), Some(StreamId::new(6, 0)));
        assert_eq!(id.next().and_then(StreamId::prev), Some(id));
        assert_eq!(StreamId::MAX.next(), None);
        assert_eq!(StreamId::MIN.prev(), None);
        for id in [id, StreamId::MIN, StreamId::MAX, StreamId::new(10, 100)] {
            assert_eq!(id.text(&mut { ID_TEXT }), id.to_string().as_bytes());
            assert_eq!(StreamId::from_bytes(id.to_bytes()), id);
        }
    }
}
