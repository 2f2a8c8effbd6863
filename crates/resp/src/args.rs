//! Requests as lists of byte strings: borrowed from the input buffer, or owned.

use std::fmt;
use std::ops::Index;

/// Where one argument stands in the buffer that its request was parsed from, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Number of bytes.
    pub len: usize,
}

/// A borrowed request: spans into a buffer. Copying it copies two fat pointers.
///
/// A span that does not lie inside the buffer reads as an empty argument; the parser never makes
/// one.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    buffer: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    /// A request whose arguments are `spans` of `buffer`.
    #[inline]
    pub fn new(buffer: &'a [u8], spans: &'a [Span]) -> Args<'a> {
        Args { buffer, spans }
    }

    /// Number of arguments, the command name included.
    #[inline]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no argument at all.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Argument number `index`, or `None` behind the last.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.spans.get(index).map(|span| slice(self.buffer, *span))
    }

    /// Argument number `index`, empty behind the last. Unlike with indexing, the slice has the
    /// lifetime of the buffer.
    #[inline]
    pub fn arg(&self, index: usize) -> &'a [u8] {
        self.get(index).unwrap_or_default()
    }

    /// An argument of one to eight bytes as its length and a number, to compare it without a loop.
    /// `None` for others, and near the end of the buffer.
    #[inline]
    pub fn short(&self, index: usize) -> Option<(usize, u64)> {
        let span = self.spans.get(index)?;
        let bytes = self.buffer.get(span.start..)?.first_chunk()?;
        let other_bits = match span.len {
            len @ 1..=8 => u64::BITS - 8 * len as u32,
            _ => return None,
        };
        Some((span.len, u64::from_le_bytes(*bytes) << other_bits))
    }

    /// The arguments in order.
    #[inline]
    pub fn iter(&self) -> ArgsIter<'a> {
        ArgsIter {
            buffer: self.buffer,
            spans: self.spans.iter(),
        }
    }

    /// The request without its first `count` arguments; empty when there are fewer.
    #[inline]
    pub fn skip(&self, count: usize) -> Args<'a> {
        Args {
            buffer: self.buffer,
            spans: self.spans.get(count..).unwrap_or_default(),
        }
    }

    /// The first `count` arguments; all of them when there are fewer.
    #[inline]
    pub fn take(&self, count: usize) -> Args<'a> {
        Args {
            buffer: self.buffer,
            spans: self.spans.get(..count).unwrap_or(self.spans),
        }
    }

    /// Sum of the lengths of all arguments, in bytes.
    pub fn byte_len(&self) -> usize {
        self.spans.iter().map(|span| span.len).sum()
    }

    /// Length of the buffer that they stand in, in bytes: at least that of all of them together.
    #[inline]
    pub fn buffer_len(&self) -> usize {
        self.buffer.len()
    }

    /// A copy that owns its bytes.
    pub fn to_owned(&self) -> OwnedArgs {
        OwnedArgs::collect(self.spans.len(), self.byte_len(), self.iter())
    }
}

#[inline]
fn slice(buffer: &[u8], span: Span) -> &[u8] {
    debug_assert!(
        span.start + span.len <= buffer.len(),
        "span outside of its buffer"
    );
    buffer
        .get(span.start..)
        .and_then(|rest| rest.get(..span.len))
        .unwrap_or_default()
}

impl Index<usize> for Args<'_> {
    type Output = [u8];

    /// Panics behind the last argument: only for places that a checked arity makes safe.
    #[inline]
    fn index(&self, index: usize) -> &[u8] {
        slice(self.buffer, self.spans[index])
    }
}

impl<'a> IntoIterator for Args<'a> {
    type Item = &'a [u8];
    type IntoIter = ArgsIter<'a>;

    fn into_iter(self) -> ArgsIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Args<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(crate::quote::quoted))
            .finish()
    }
}

/// The iterator of [`Args::iter`].
#[derive(Clone)]
pub struct ArgsIter<'a> {
    buffer: &'a [u8],
    spans: std::slice::Iter<'a, Span>,
}

impl<'a> Iterator for ArgsIter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.spans.next().map(|span| slice(self.buffer, *span))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.spans.size_hint()
    }

    #[inline]
    fn nth(&mut self, n: usize) -> Option<&'a [u8]> {
        self.spans.nth(n).map(|span| slice(self.buffer, *span))
    }
}

impl DoubleEndedIterator for ArgsIter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.spans.next_back().map(|span| slice(self.buffer, *span))
    }
}

impl ExactSizeIterator for ArgsIter<'_> {}

/// A request that owns its bytes: one allocation for the bytes, one for the spans.
///
/// Queued commands, blocked clients and inline requests keep their arguments this way.
#[derive(Clone, Default)]
pub struct OwnedArgs {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl OwnedArgs {
    /// No arguments yet; see [`OwnedArgs::push`].
    pub fn new() -> OwnedArgs {
        OwnedArgs::default()
    }

    /// A copy of `args`.
    pub fn from_slices(args: &[&[u8]]) -> OwnedArgs {
        let bytes = args.iter().map(|arg| arg.len()).sum();
        OwnedArgs::collect(args.len(), bytes, args.iter().copied())
    }

    fn collect<'b>(count: usize, bytes: usize, args: impl Iterator<Item = &'b [u8]>) -> OwnedArgs {
        let mut owned = OwnedArgs {
            bytes: Vec::with_capacity(bytes),
            spans: Vec::with_capacity(count),
        };
        args.for_each(|arg| owned.push(arg));
        owned
    }

    /// Removes all arguments and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
    }

    /// Appends one argument.
    pub fn push(&mut self, arg: &[u8]) {
        self.spans.push(Span {
            start: self.bytes.len(),
            len: arg.len(),
        });
        self.bytes.extend_from_slice(arg);
    }

    /// Appends one argument that `write` produces byte by byte; kept only if `write` returns true.
    pub(crate) fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        let start = self.bytes.len();
        let kept = write(&mut self.bytes);
        if kept {
            self.spans.push(Span {
                start,
                len: self.bytes.len() - start,
            });
        } else {
            self.bytes.truncate(start);
        }
        kept
    }

    /// The request as handlers see it.
    #[inline]
    pub fn as_args(&self) -> Args<'_> {
        Args::new(&self.bytes, &self.spans)
    }

    /// Number of arguments, the command name included.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no argument at all.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Heap memory that this request holds, in bytes.
    pub fn memory_usage(&self) -> usize {
        self.bytes.capacity() + self.spans.capacity() * size_of::<Span>()
    }
}

impl PartialEq for OwnedArgs {
    fn eq(&self, other: &OwnedArgs) -> bool {
        self.as_args().iter().eq(other.as_args().iter())
    }
}

impl Eq for OwnedArgs {}

impl fmt::Debug for OwnedArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_args().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borrowed_arguments_by_place() {
        let spans = [
            Span { start: 0, len: 3 },
            Span { start: 4, len: 0 },
            Span { start: 4, len: 2 },
        ];
        let args = Args::new(b"GET ab", &spans);
        assert_eq!(args.len(), 3);
        assert_eq!(args.get(0), Some(&b"GET"[..]));
        assert_eq!(args.get(3), None);
        assert_eq!(args.arg(9), b"");
        assert_eq!(&args[2], b"ab");
        assert_eq!(args.byte_len(), 5);
        assert_eq!(args.skip(2).iter().collect::<Vec<_>>(), [b"ab"]);
        assert_eq!(args.take(1).len(), 1);
        assert!(args.skip(7).is_empty());
        assert_eq!(args.iter().next_back(), Some(&b"ab"[..]));
        assert_eq!(args.iter().len(), 3);
    }

    #[test]
    fn short_arguments_are_numbers() {
        let spans = [
            Span { start: 0, len: 3 },
            Span { start: 3, len: 0 },
            Span { start: 3, len: 8 },
            Span { start: 3, len: 9 },
            Span { start: 5, len: 3 },
        ];
        let args = Args::new(b"GETsomething", &spans);
        let number = |text: &[u8]| {
            let low_first = text.iter().rev();
            let number = low_first.fold(0, |number, byte| number << 8 | u64::from(*byte));
            Some((text.len(), number << (64 - 8 * text.len())))
        };
        assert_eq!(args.short(0), number(b"GET"));
        assert_eq!(args.short(2), number(b"somethin"));
        assert!(
            [1, 3, 4, 5]
                .iter()
                .all(|index| args.short(*index).is_none())
        );
    }

    #[test]
    fn owned_copies_are_equal() {
        let owned = OwnedArgs::from_slices(&[b"SET", b"", b"v\0"]);
        assert_eq!(owned.as_args().to_owned(), owned);
        assert_eq!(format!("{owned:?}"), r#"["\"SET\"", "\"\"", "\"v\\x00\""]"#);
        assert_ne!(owned, OwnedArgs::from_slices(&[b"SET", b"v\0", b""]));
        assert!(OwnedArgs::new().is_empty());
    }
}
