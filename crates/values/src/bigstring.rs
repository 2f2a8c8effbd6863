//! A growable byte string that can be shared.
//!
//! Strings too long to lie in their entry are held as `Arc<BigString>`, so that a reply can send
//! the bytes without copying them; a writer copies first when the string is shared
//! (`Arc::make_mut`). Growth follows the dynamic strings of Redis: appending doubles the capacity
//! up to 1 MiB and adds 1 MiB beyond, so that repeated APPEND and SETRANGE take amortised constant
//! time and a long string wastes little.
//!
//! A string that has just been received may stay in the buffer that the socket was read into:
//!
//! ```text
//! buffer   *3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$100000\r\n | 100000 bytes | \r\n
//!                                                     ^start         ^start + len
//! ```
//!
//! The first change moves it out of there.

use std::fmt;
use std::sync::Arc;

/// Bytes up to which growing doubles, and which growing adds beyond.
const MAX_SPARE: usize = 1024 * 1024;

/// A part stays in its buffer when at most this share of the buffer's memory is not its own: an
/// eighth. Size classes of allocators waste as much.
const UNUSED_SHARE: usize = 8;

/// The string. Limits on its length (proto-max-bulk-len) are the commands' business.
pub struct BigString {
    place: Place,
}

enum Place {
    /// Memory of its own.
    Own(Vec<u8>),
    /// A part of a buffer: `start + len <= buffer.len()`.
    Part {
        buffer: Arc<Vec<u8>>,
        start: usize,
        len: usize,
    },
}

impl BigString {
    /// An empty string without memory.
    pub const fn new() -> BigString {
        BigString {
            place: Place::Own(Vec::new()),
        }
    }

    /// A copy of the bytes, without spare capacity.
    pub fn from_slice(bytes: &[u8]) -> BigString {
        BigString::from(bytes.to_vec())
    }

    /// The string `bytes`, which stays where it is. `None` when `bytes` is no part of the buffer,
    /// or when more than an eighth of the buffer's memory would be kept for nothing.
    pub fn part_of(buffer: &Arc<Vec<u8>>, bytes: &[u8]) -> Option<BigString> {
        let start = bytes.as_ptr().addr().checked_sub(buffer.as_ptr().addr())?;
        let end = start.checked_add(bytes.len())?;
        if end > buffer.len() {
            return None;
        }
        let unused = buffer.capacity() - bytes.len();
        (unused <= buffer.capacity() / UNUSED_SHARE).then(|| BigString {
            place: Place::Part {
                buffer: buffer.clone(),
                start,
                len: bytes.len(),
            },
        })
    }

    /// A string of zero bytes, without spare capacity.
    pub fn zeroed(len: usize) -> BigString {
        BigString::from(vec![0; len])
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        match &self.place {
            Place::Own(bytes) => bytes.len(),
            Place::Part { len, .. } => *len,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes the string can hold without growing.
    pub fn capacity(&self) -> usize {
        match &self.place {
            Place::Own(bytes) => bytes.capacity(),
            Place::Part { buffer, .. } => buffer.capacity(),
        }
    }

    /// Bytes allocated, with this header.
    pub fn memory_usage(&self) -> usize {
        let shared = match &self.place {
            Place::Own(_) => 0,
            // Two reference counts stand in front of the buffer.
            Place::Part { .. } => size_of::<Vec<u8>>() + 2 * size_of::<usize>(),
        };
        size_of::<BigString>() + shared + self.capacity()
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match &self.place {
            Place::Own(bytes) => bytes,
            Place::Part { buffer, start, len } => &buffer[*start..start + len],
        }
    }

    /// The bytes, to change in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.own()
    }

    /// The bytes as a vector, without copying those that have memory of their own.
    pub fn into_vec(mut self) -> Vec<u8> {
        std::mem::take(self.own())
    }

    /// Adds bytes at the end. Returns the new length.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let own = self.own();
        reserve(own, bytes.len());
        own.extend_from_slice(bytes);
        own.len()
    }

    /// Overwrites from `offset` on, growing as needed; a gap after the old end is filled with zero
    /// bytes. Writing nothing changes nothing, wherever. Returns the new length.
    pub fn set_range(&mut self, offset: usize, bytes: &[u8]) -> usize {
        if bytes.is_empty() {
            return self.len();
        }
        let own = self.own();
        if offset > own.len() {
            // Room for both parts at once.
            let gap = offset - own.len();
            reserve(own, gap.saturating_add(bytes.len()));
            own.resize(offset, 0);
        }
        let inside = bytes.len().min(own.len() - offset);
        let (over, beyond) = bytes.split_at(inside);
        own[offset..offset + inside].copy_from_slice(over);
        self.append(beyond)
    }

    /// Lengthens with zero bytes to at least `len` (as SETBIT and BITFIELD do).
    pub fn grow_zeroed(&mut self, len: usize) {
        let own = self.own();
        if len > own.len() {
            reserve(own, len - own.len());
            own.resize(len, 0);
        }
    }

    /// Drops the bytes from `len` on, and capacity that became excessive with them.
    pub fn truncate(&mut self, len: usize) {
        self.own().truncate(len);
        self.shrink();
    }

    /// Gives spare capacity back when it is more than a tenth of the length.
    pub fn shrink(&mut self) {
        if self.capacity() - self.len() > self.len() / 10 {
            self.own().shrink_to_fit();
        }
    }

    /// The vector that holds the bytes, and nothing else, from now on.
    fn own(&mut self) -> &mut Vec<u8> {
        if let Place::Part { buffer, start, len } = &mut self.place {
            let (start, end) = (*start, *start + *len);
            let bytes = match Arc::get_mut(buffer) {
                Some(alone) => {
                    let mut bytes = std::mem::take(alone);
                    bytes.truncate(end);
                    bytes.drain(..start);
                    bytes
                }
                None => buffer[start..end].to_vec(),
            };
            self.place = Place::Own(bytes);
        }
        match &mut self.place {
            Place::Own(bytes) => bytes,
            Place::Part { .. } => unreachable!("it has just been moved out"),
        }
    }
}

/// Room for `additional` bytes, with the spare capacity of the growth policy when there is not
/// enough yet.
fn reserve(bytes: &mut Vec<u8>, additional: usize) {
    if additional <= bytes.capacity() - bytes.len() {
        return;
    }
    // Saturating: a length beyond the address space makes Vec panic and not wrap.
    let needed = bytes.len().saturating_add(additional);
    let spare = needed.min(MAX_SPARE);
    bytes.reserve_exact(additional.saturating_add(spare));
}

impl Default for BigString {
    fn default() -> BigString {
        BigString::new()
    }
}

/// The copy has no spare capacity.
impl Clone for BigString {
    fn clone(&self) -> BigString {
        BigString::from_slice(self.as_slice())
    }
}

impl PartialEq for BigString {
    fn eq(&self, other: &BigString) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for BigString {}

impl AsRef<[u8]> for BigString {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl From<Vec<u8>> for BigString {
    fn from(bytes: Vec<u8>) -> BigString {
        BigString {
            place: Place::Own(bytes),
        }
    }
}

/// Length and beginning: contents may be huge and need not be text.
impl fmt::Debug for BigString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.as_slice();
        let beginning = &bytes[..bytes.len().min(32)];
        write!(
            f,
            "BigString({} bytes: \"{}\")",
            self.len(),
            beginning.escape_ascii()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn append_doubles_and_then_adds_a_mebibyte() {
        let mut string = BigString::from_slice(b"hello");
        assert_eq!(string.capacity(), 5);
        assert_eq!(string.append(b" world"), 11);
        assert_eq!(string.as_slice(), b"hello world");
        assert_eq!(string.capacity(), 22);
        string.append(&[b'x'; 11]);
        assert_eq!(string.capacity(), 22);
        string.append(&vec![0; 3 * MAX_SPARE]);
        assert_eq!(string.capacity(), 22 + 4 * MAX_SPARE);
    }

    #[test]
    fn set_range_overwrites_extends_and_pads() {
        let mut string = BigString::from_slice(b"hello world");
        assert_eq!(string.set_range(6, b"redis"), 11);
        assert_eq!(string.as_slice(), b"hello redis");
        assert_eq!(string.set_range(9, b"kiss"), 13);
        assert_eq!(string.as_slice(), b"hello redkiss");
        assert_eq!(string.set_range(15, b"!"), 16);
        assert_eq!(string.as_slice(), b"hello redkiss\0\0!");
        assert_eq!(string.set_range(100, b""), 16);
        let mut empty = BigString::new();
        assert_eq!(empty.set_range(3, b"abc"), 6);
        assert_eq!(empty.as_slice(), b"\0\0\0abc");
        assert_eq!(empty.capacity(), 12);
    }

    #[test]
    fn grow_zeroed_never_shortens() {
        let mut string = BigString::from_slice(b"ab");
        string.grow_zeroed(4);
        string.grow_zeroed(1);
        assert_eq!(string.as_slice(), b"ab\0\0");
        string.as_mut_slice()[3] = b'!';
        assert_eq!(string, BigString::from(b"ab\0!".to_vec()));
        assert_eq!(BigString::zeroed(3).into_vec(), [0; 3]);
    }

    #[test]
    fn shrink_gives_spare_capacity_back() {
        let mut string = BigString::zeroed(100);
        string.append(b"x");
        assert_eq!(string.capacity(), 202);
        string.shrink();
        assert_eq!(string.capacity(), 101);
        string.append(b"y");
        string.truncate(50);
        assert_eq!((string.len(), string.capacity()), (50, 50));
        assert_eq!(string.memory_usage(), 50 + size_of::<BigString>());
        string.truncate(48);
        assert_eq!(string.capacity(), 50);
    }

    #[test]
    fn a_part_stays_in_its_buffer_until_it_changes() {
        let buffer = Arc::new([b"head".as_slice(), &[b'v'; 100], b"\r\n"].concat());
        let value = BigString::part_of(&buffer, &buffer[4..104]).expect("most of the buffer");
        assert_eq!(value.as_slice(), [b'v'; 100]);
        assert_eq!(value.as_slice().as_ptr(), buffer[4..].as_ptr());
        assert_eq!((value.len(), value.capacity()), (100, 106));
        // While the buffer has another user, a change copies.
        let mut copied = BigString::part_of(&buffer, &buffer[4..104]).expect("the same again");
        assert_eq!(copied.append(b"!"), 101);
        assert_eq!(buffer[4..104], [b'v'; 100]);
        assert_eq!(copied.as_slice(), [[b'v'; 100].as_slice(), b"!"].concat());
        // The last user moves its bytes to the front.
        drop(buffer);
        let mut alone = value;
        alone.as_mut_slice()[0] = b'V';
        assert_eq!(alone.capacity(), 106);
        assert_eq!(alone.set_range(99, b"end"), 102);
        let expected = [b"V".as_slice(), &[b'v'; 98], b"end"].concat();
        assert_eq!(alone.into_vec(), expected);
    }

    #[test]
    fn a_part_is_most_of_its_buffer() {
        let buffer = Arc::new(vec![b'x'; 800]);
        assert!(BigString::part_of(&buffer, &buffer[..700]).is_some());
        assert!(BigString::part_of(&buffer, &buffer[100..]).is_some());
        assert!(BigString::part_of(&buffer, &buffer[..699]).is_none());
        assert!(BigString::part_of(&buffer, &[b'x'; 800]).is_none());
        let mut shrunk = BigString::part_of(&buffer, &buffer[..700]).expect("a part");
        shrunk.truncate(10);
        assert_eq!((shrunk.len(), shrunk.capacity()), (10, 10));
        assert_eq!(shrunk, BigString::from_slice(&[b'x'; 10]));
    }

    #[test]
    fn writers_copy_shared_strings() {
        let mut mine = Arc::new(BigString::from_slice(b"shared"));
        let reply: Arc<dyn AsRef<[u8]> + Send + Sync> = mine.clone();
        Arc::make_mut(&mut mine).append(b" no more");
        assert_eq!((*reply).as_ref(), b"shared");
        assert_eq!(mine.as_slice(), b"shared no more");
        assert_eq!(
            format!("{mine:?}"),
            "BigString(14 bytes: \"shared no more\")"
        );
    }
}
