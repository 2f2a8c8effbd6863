//! A growable byte string that can be shared.
//!
//! Strings too long to lie in their entry are held as `Arc<BigString>`, so that a reply can send
//! the bytes without copying them; a writer copies first when the string is shared
//! (`Arc::make_mut`). Growth follows the dynamic strings of Redis: appending doubles the capacity
//! up to 1 MiB and adds 1 MiB beyond, so that repeated APPEND and SETRANGE take amortised constant
//! time and a long string wastes little.

use std::fmt;

/// Bytes up to which growing doubles, and which growing adds beyond.
const MAX_SPARE: usize = 1024 * 1024;

/// The string. Limits on its length (proto-max-bulk-len) are the commands' business.
#[derive(Default, PartialEq, Eq)]
pub struct BigString {
    bytes: Vec<u8>,
}

impl BigString {
    /// An empty string without memory.
    pub const fn new() -> BigString {
        BigString { bytes: Vec::new() }
    }

    /// A copy of the bytes, without spare capacity.
    pub fn from_slice(bytes: &[u8]) -> BigString {
        BigString {
            bytes: bytes.to_vec(),
        }
    }

    /// A string of zero bytes, without spare capacity.
    pub fn zeroed(len: usize) -> BigString {
        BigString {
            bytes: vec![0; len],
        }
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes the string can hold without growing.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Bytes allocated, with this header.
    pub fn memory_usage(&self) -> usize {
        size_of::<BigString>() + self.bytes.capacity()
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes, to change in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The bytes as a vector, without copying.
    pub fn into_vec(self) -> Vec<u8> {
        self.bytes
    }

    /// Adds bytes at the end. Returns the new length.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        self.reserve(bytes.len());
        self.bytes.extend_from_slice(bytes);
        self.bytes.len()
    }

    /// Overwrites from `offset` on, growing as needed; a gap after the old end is filled with zero
    /// bytes. Writing nothing changes nothing, wherever. Returns the new length.
    pub fn set_range(&mut self, offset: usize, bytes: &[u8]) -> usize {
        if bytes.is_empty() {
            return self.bytes.len();
        }
        if offset > self.bytes.len() {
            // Room for both parts at once.
            let gap = offset - self.bytes.len();
            self.reserve(gap.saturating_add(bytes.len()));
            self.bytes.resize(offset, 0);
        }
        let inside = bytes.len().min(self.bytes.len() - offset);
        let (over, beyond) = bytes.split_at(inside);
        self.bytes[offset..offset + inside].copy_from_slice(over);
        self.append(beyond)
    }

    /// Lengthens with zero bytes to at least `len` (as SETBIT and BITFIELD do).
    pub fn grow_zeroed(&mut self, len: usize) {
        if len > self.bytes.len() {
            self.reserve(len - self.bytes.len());
            self.bytes.resize(len, 0);
        }
    }

    /// Drops the bytes from `len` on, and capacity that became excessive with them.
    pub fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
        self.shrink();
    }

    /// Gives spare capacity back when it is more than a tenth of the length.
    pub fn shrink(&mut self) {
        if self.bytes.capacity() - self.bytes.len() > self.bytes.len() / 10 {
            self.bytes.shrink_to_fit();
        }
    }

    /// Room for `additional` bytes, with the spare capacity of the growth policy when there is not
    /// enough yet.
    fn reserve(&mut self, additional: usize) {
        if additional <= self.bytes.capacity() - self.bytes.len() {
            return;
        }
        // Saturating: a length beyond the address space makes Vec panic and not wrap.
        let needed = self.bytes.len().saturating_add(additional);
        let spare = needed.min(MAX_SPARE);
        self.bytes.reserve_exact(additional.saturating_add(spare));
    }
}

/// The copy has no spare capacity.
impl Clone for BigString {
    fn clone(&self) -> BigString {
        BigString::from_slice(self.as_slice())
    }
}

impl AsRef<[u8]> for BigString {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl From<Vec<u8>> for BigString {
    fn from(bytes: Vec<u8>) -> BigString {
        BigString { bytes }
    }
}

/// Length and beginning: contents may be huge and need not be text.
impl fmt::Debug for BigString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let beginning = &self.bytes[..self.bytes.len().min(32)];
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
    use std::sync::Arc;

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
