//! One node of a quicklist.

use super::limits::Limits;
use super::pack::Pack;
use crate::alloc::size_class;
use crate::listpack::{EMPTY, FRAME, View};
use crate::lzf;

/// Contents below this size are not compressed.
const COMPRESS_MIN: usize = 48;
/// The bytes that compression must save at least.
const COMPRESS_GAIN: usize = 8;

/// A node: many short elements, or one long one; compressed or not.
#[derive(Clone)]
pub(super) enum Node {
    /// A listpack.
    Packed(Pack),
    /// One element, its bytes as they are.
    Plain(Box<[u8]>),
    /// Either of them, compressed.
    Compressed(Compressed),
}

/// The LZF form of a node.
#[derive(Clone)]
pub(super) struct Compressed {
    bytes: Box<[u8]>,
    plain_len: u32,
    /// Elements of the listpack; 0 means that it is the bytes of one element.
    count: u32,
}

const _: () = assert!(size_of::<Node>() == 32, "lists have many nodes");

/// The contents of a node, uncompressed.
#[derive(Clone, Copy)]
pub(super) enum Contents<'a> {
    Packed(View<'a>),
    Plain(&'a [u8]),
}

impl Node {
    /// A node of one element.
    pub(super) fn of(element: &[u8], limits: &Limits) -> Node {
        if limits.is_large(element) {
            Node::Plain(element.into())
        } else {
            Node::Packed(Pack::of(element))
        }
    }

    /// The number of elements, at least one.
    #[inline]
    pub(super) fn count(&self) -> usize {
        match self {
            Node::Packed(pack) => pack.count(),
            Node::Plain(_) => 1,
            Node::Compressed(compressed) => compressed.count.max(1) as usize,
        }
    }

    /// True when the node is the bytes of one element.
    pub(super) fn is_plain(&self) -> bool {
        match self {
            Node::Packed(_) => false,
            Node::Plain(_) => true,
            Node::Compressed(compressed) => compressed.count == 0,
        }
    }

    /// Bytes of the contents, not compressed.
    #[inline]
    pub(super) fn byte_len(&self) -> usize {
        match self {
            Node::Packed(pack) => pack.byte_len(),
            Node::Plain(bytes) => bytes.len(),
            Node::Compressed(compressed) => compressed.plain_len as usize,
        }
    }

    /// Bytes on the heap.
    #[inline]
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Node::Packed(pack) => pack.heap_bytes(),
            Node::Plain(bytes) => size_class(bytes.len()),
            Node::Compressed(compressed) => size_class(compressed.bytes.len()),
        }
    }

    /// The contents; those of a compressed node are in `scratch`.
    #[inline]
    pub(super) fn read<'a>(&'a self, scratch: &'a mut Vec<u8>) -> Contents<'a> {
        match self {
            Node::Packed(pack) => Contents::Packed(pack.view()),
            Node::Plain(bytes) => Contents::Plain(bytes),
            Node::Compressed(compressed) => {
                compressed.unpack(scratch);
                match compressed.count {
                    0 => Contents::Plain(scratch),
                    _ => Contents::Packed(View::trusting(scratch)),
                }
            }
        }
    }

    /// True when an element of `len` bytes that is not large may come to this node.
    #[inline]
    pub(super) fn allows_another(&self, limits: &Limits, len: usize) -> bool {
        !self.is_plain() && limits.allow_another(self.byte_len(), self.count(), len)
    }

    /// True when both nodes may become one.
    pub(super) fn allows_merge(&self, other: &Node, limits: &Limits) -> bool {
        let bytes = self.byte_len() + other.byte_len() - FRAME;
        !self.is_plain() && !other.is_plain() && limits.allow(bytes, self.count() + other.count())
    }

    /// The pack, for change; a compressed one is taken out of compression. `None` when the node is
    /// plain.
    #[inline]
    pub(super) fn pack_mut(&mut self) -> Option<&mut Pack> {
        self.expand();
        match self {
            Node::Packed(pack) => Some(pack),
            _ => None,
        }
    }

    /// Takes the elements of the node behind this one. Both are packed.
    pub(super) fn append(&mut self, other: &mut Node) {
        if let (Some(pack), Some(other)) = (self.pack_mut(), other.pack_mut()) {
            pack.append(other);
        }
    }

    /// Takes the node out of compression.
    #[inline]
    pub(super) fn expand(&mut self) {
        if let Node::Compressed(compressed) = self {
            let mut bytes = Vec::new();
            compressed.unpack(&mut bytes);
            *self = match compressed.count {
                0 => Node::Plain(bytes.into()),
                count => Node::Packed(Pack::from_raw(bytes, count as usize)),
            };
        }
    }

    /// Compresses the node, when that saves something.
    pub(super) fn compress(&mut self) {
        let (plain, count) = match self {
            Node::Packed(pack) => (pack.as_bytes(), pack.count() as u32),
            Node::Plain(bytes) => (&bytes[..], 0),
            Node::Compressed(_) => return,
        };
        let Ok(plain_len) = u32::try_from(plain.len()) else {
            return;
        };
        let mut bytes = Vec::new();
        if plain.len() >= COMPRESS_MIN
            && lzf::compress(plain, &mut bytes)
            && bytes.len() + COMPRESS_GAIN < plain.len()
        {
            *self = Node::Compressed(Compressed {
                bytes: bytes.into(),
                plain_len,
                count,
            });
        } else if let Node::Packed(pack) = self {
            pack.trim();
        }
    }

    /// The node as it is stored.
    pub(super) fn stored(&self) -> NodeRef<'_> {
        match self {
            Node::Packed(pack) => NodeRef::Packed(pack.as_bytes()),
            Node::Plain(bytes) => NodeRef::Plain(bytes),
            Node::Compressed(compressed) => NodeRef::Compressed {
                bytes: &compressed.bytes,
                plain_len: compressed.plain_len as usize,
                is_plain: compressed.count == 0,
            },
        }
    }
}

impl Compressed {
    fn unpack(&self, into: &mut Vec<u8>) {
        let done = lzf::decompress_into(&self.bytes, self.plain_len as usize, into);
        debug_assert!(done.is_ok(), "compressed here");
        // Only this module writes these bytes, so this cannot happen; if it did, there are no
        // elements to be read.
        if done.is_err() {
            into.clear();
            into.extend_from_slice(&EMPTY);
        }
    }
}

/// A node as it is stored, for RDB and DUMP.
#[derive(Clone, Copy, Debug)]
pub enum NodeRef<'a> {
    /// A listpack.
    Packed(&'a [u8]),
    /// The bytes of one element.
    Plain(&'a [u8]),
    /// One of them, compressed with LZF (see [`crate::lzf`]).
    Compressed {
        /// The compressed bytes.
        bytes: &'a [u8],
        /// How many they become.
        plain_len: usize,
        /// True for the bytes of one element, false for a listpack.
        is_plain: bool,
    },
}
