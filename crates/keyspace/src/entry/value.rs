//! Values of entries: types, encodings, borrowed and owned values.
//!
//! Integers, strings up to [`INLINE_MAX`] bytes and packed collections of up to 255 bytes lie
//! inside the entry's block. Everything else is one owning pointer; the table
//! [`pointer_values!`] at the end of this file lists those kinds, and the block, the references
//! and the owned [`Value`] all follow from it.

use std::fmt;
use std::ops::RangeInclusive;
use std::ptr::NonNull;
use std::sync::Arc;
use values::number;
use values::{
    BigString, Hash, HashView, List, ListView, Set, SetEncoding, SetView, SortedSet, SortedSetView,
    Stream, Thresholds,
};

/// The longest string that lies inside its entry, in bytes. Longer ones live out of line, so that
/// replies can share them instead of copying.
pub const INLINE_MAX: usize = u16::MAX as usize;

/// The lengths of listpacks and intsets that lie inside their entries, in bytes. The length has one
/// byte. Empty ones (7 or 8 bytes) stay out of line, because they are filled in place next.
pub(crate) const EMBEDDED_LENGTHS: RangeInclusive<usize> = 9..=u8::MAX as usize;

/// The longest key of an entry with an embedded collection, in bytes. Views of such collections
/// have 16 bits for the offset in the block.
pub(crate) const EMBEDDED_KEY_MAX: usize = u8::MAX as usize;

/// The longest string that `OBJECT ENCODING` calls `embstr`, in bytes.
pub const EMBSTR_MAX: usize = 44;

/// The data type of an entry: what `TYPE` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Type {
    /// A byte string or an integer.
    String = 0,
    /// A list.
    List = 1,
    /// A set.
    Set = 2,
    /// A sorted set.
    ZSet = 3,
    /// A hash.
    Hash = 4,
    /// A stream.
    Stream = 5,
}

impl Type {
    /// All types, in the order of their numbers.
    pub const ALL: [Type; 6] = [
        Type::String,
        Type::List,
        Type::Set,
        Type::ZSet,
        Type::Hash,
        Type::Stream,
    ];

    /// The type's name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Type::String => "string",
            Type::List => "list",
            Type::Set => "set",
            Type::ZSet => "zset",
            Type::Hash => "hash",
            Type::Stream => "stream",
        }
    }

    /// The type whose nibble an entry header carries.
    #[inline]
    pub(crate) fn from_nibble(nibble: u8) -> Type {
        match nibble {
            1 => Type::List,
            2 => Type::Set,
            3 => Type::ZSet,
            4 => Type::Hash,
            5 => Type::Stream,
            _ => Type::String,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a value is represented: what `OBJECT ENCODING` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// A string stored as an integer.
    Int,
    /// A string of at most [`EMBSTR_MAX`] bytes that was set in one piece.
    Embstr,
    /// Any other string.
    Raw,
    /// A packed list of elements in one block.
    Listpack,
    /// A list of packed blocks.
    Quicklist,
    /// A sorted array of integers.
    Intset,
    /// A hash table.
    Hashtable,
    /// An ordered index with ranks.
    Skiplist,
    /// A stream.
    Stream,
}

impl Encoding {
    /// The encoding's name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Int => "int",
            Encoding::Embstr => "embstr",
            Encoding::Raw => "raw",
            Encoding::Listpack => "listpack",
            Encoding::Quicklist => "quicklist",
            Encoding::Intset => "intset",
            Encoding::Hashtable => "hashtable",
            Encoding::Skiplist => "skiplist",
            Encoding::Stream => "stream",
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A string value, borrowed from its entry.
#[derive(Clone, Copy, Debug)]
pub enum StringRef<'a> {
    /// Stored as an integer; its text is the canonical one.
    Int(i64),
    /// Stored inside the entry.
    Bytes(&'a [u8]),
    /// Stored out of line; clone the `Arc` to keep sending it after the lock is gone.
    Big(&'a Arc<BigString>),
}

impl<'a> StringRef<'a> {
    /// The length of the text in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            StringRef::Int(value) => number::text_len(*value),
            StringRef::Bytes(bytes) => bytes.len(),
            StringRef::Big(big) => big.as_slice().len(),
        }
    }

    /// True when the text has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The text; an integer is written into `buffer`.
    #[inline]
    pub fn as_bytes<'b>(&self, buffer: &'b mut [u8; number::INTEGER_TEXT_MAX]) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            StringRef::Int(value) => number::format(value, buffer),
            StringRef::Bytes(bytes) => bytes,
            StringRef::Big(big) => big.as_slice(),
        }
    }

    /// A copy of the text.
    pub fn to_vec(&self) -> Vec<u8> {
        self.as_bytes(&mut [0; number::INTEGER_TEXT_MAX]).to_vec()
    }

    /// The integer that the text says, when it is the canonical text of one.
    #[inline]
    pub fn parse_i64(&self) -> Option<i64> {
        match self {
            StringRef::Int(value) => Some(*value),
            StringRef::Bytes(bytes) => number::parse_canonical(bytes),
            StringRef::Big(_) => None,
        }
    }
}

/// A value to be stored.
#[derive(Debug)]
pub enum NewValue<'a> {
    /// An integer.
    Int(i64),
    /// A string as SET stores it: an integer when it is the canonical text of one.
    Bytes(&'a [u8]),
    /// A string that stays a raw string: the result of APPEND, SETRANGE and the like.
    Raw(&'a [u8]),
    /// A string longer than [`INLINE_MAX`] with memory of its own.
    Big(Arc<BigString>),
    /// A value that was taken out of another entry, or built elsewhere; stored as it is.
    Owned(Value),
}

impl<'a> NewValue<'a> {
    /// Decides how the value is stored. Only [`Value::Big`] and shorter forms of it change: a
    /// string that fits the entry is stored inside it, a longer one out of line.
    #[inline]
    pub(crate) fn into_payload(self, key_len: usize) -> Payload<'a> {
        match self {
            NewValue::Int(value) => Payload::Int(value),
            NewValue::Bytes(bytes) if bytes.len() > INLINE_MAX => Payload::big(bytes),
            NewValue::Bytes(bytes) => match number::parse_canonical(bytes) {
                Some(value) => Payload::Int(value),
                None => Payload::Inline { bytes, raw: false },
            },
            NewValue::Raw(bytes) if bytes.len() > INLINE_MAX => Payload::big(bytes),
            NewValue::Raw(bytes) => Payload::Inline { bytes, raw: true },
            NewValue::Big(big) => Payload::OutOfLine(Value::Big(big)),
            NewValue::Owned(value) => Payload::from_value(value, key_len),
        }
    }
}

/// A value on its way into a block.
pub(crate) enum Payload<'a> {
    Int(i64),
    Inline {
        bytes: &'a [u8],
        raw: bool,
    },
    InlineOwned {
        bytes: Box<[u8]>,
        raw: bool,
    },
    /// A collection of which [`Value::embeddable`] has the bytes, copied into the block.
    Embedded(Value),
    /// One of the out-of-line variants of [`Value`], never another.
    OutOfLine(Value),
}

impl Payload<'_> {
    /// The earliest deadline of an element of the value.
    #[inline]
    pub(crate) fn next_element_deadline(&self) -> Option<u64> {
        match self {
            Payload::OutOfLine(value) => value.next_element_deadline(),
            _ => None,
        }
    }

    #[cold]
    fn big(bytes: &[u8]) -> Self {
        Payload::OutOfLine(Value::Big(Arc::new(BigString::from_slice(bytes))))
    }

    #[cold]
    fn from_value(value: Value, key_len: usize) -> Self {
        match value {
            Value::Int(value) => Payload::Int(value),
            Value::Bytes(bytes) if bytes.len() > INLINE_MAX => Payload::big(&bytes),
            Value::Bytes(bytes) => Payload::InlineOwned { bytes, raw: false },
            Value::Raw(bytes) if bytes.len() > INLINE_MAX => Payload::big(&bytes),
            Value::Raw(bytes) => Payload::InlineOwned { bytes, raw: true },
            other if key_len <= EMBEDDED_KEY_MAX && other.embeddable().is_some() => {
                Payload::Embedded(other)
            }
            other => Payload::OutOfLine(other),
        }
    }
}

/// The properties that every out-of-line value has.
trait OutOfLine {
    fn encoding(&self) -> Encoding;
    /// Bytes on the heap that this value keeps alive, the pointer itself not included.
    fn heap_bytes(&self) -> usize;
    /// True when freeing it is worth another thread.
    fn is_big(&self) -> bool;

    /// The earliest deadline of an element, in absolute unix milliseconds.
    fn next_deadline(&self) -> Option<u64> {
        None
    }

    /// Number of elements, `None` when it is none that has elements.
    fn len(&self) -> Option<usize> {
        None
    }
}

/// Allocations from which on freeing a value is worth another thread: sending it there costs about
/// as much as freeing some tens of blocks. The number is Redis's.
const BIG_BLOCKS: usize = 64;

impl OutOfLine for ListView {
    fn encoding(&self) -> Encoding {
        match self.is_packed() {
            true => Encoding::Listpack,
            false => Encoding::Quicklist,
        }
    }

    fn heap_bytes(&self) -> usize {
        ListView::heap_bytes(self)
    }

    fn is_big(&self) -> bool {
        self.nodes() > BIG_BLOCKS
    }

    fn len(&self) -> Option<usize> {
        Some(ListView::len(self))
    }
}

impl OutOfLine for SetView {
    fn encoding(&self) -> Encoding {
        match SetView::encoding(self) {
            SetEncoding::Intset => Encoding::Intset,
            SetEncoding::Listpack => Encoding::Listpack,
            SetEncoding::Table => Encoding::Hashtable,
        }
    }

    fn heap_bytes(&self) -> usize {
        SetView::heap_bytes(self)
    }

    fn is_big(&self) -> bool {
        SetView::encoding(self) == SetEncoding::Table && SetView::len(self) > BIG_BLOCKS
    }

    fn next_deadline(&self) -> Option<u64> {
        SetView::next_deadline(self)
    }

    fn len(&self) -> Option<usize> {
        Some(SetView::len(self))
    }
}

impl OutOfLine for SortedSetView {
    fn encoding(&self) -> Encoding {
        match self.is_packed() {
            true => Encoding::Listpack,
            false => Encoding::Skiplist,
        }
    }

    fn heap_bytes(&self) -> usize {
        SortedSetView::heap_bytes(self)
    }

    fn is_big(&self) -> bool {
        !self.is_packed() && SortedSetView::len(self) > BIG_BLOCKS
    }

    fn next_deadline(&self) -> Option<u64> {
        SortedSetView::next_deadline(self)
    }

    fn len(&self) -> Option<usize> {
        Some(SortedSetView::len(self))
    }
}

impl OutOfLine for HashView {
    fn encoding(&self) -> Encoding {
        match self.is_packed() {
            true => Encoding::Listpack,
            false => Encoding::Hashtable,
        }
    }

    fn heap_bytes(&self) -> usize {
        HashView::heap_bytes(self)
    }

    fn is_big(&self) -> bool {
        !self.is_packed() && HashView::len(self) > BIG_BLOCKS
    }

    fn next_deadline(&self) -> Option<u64> {
        HashView::next_deadline(self)
    }

    fn len(&self) -> Option<usize> {
        Some(HashView::len(self))
    }
}

impl OutOfLine for Stream {
    fn encoding(&self) -> Encoding {
        Encoding::Stream
    }

    fn heap_bytes(&self) -> usize {
        Stream::heap_bytes(self)
    }

    fn is_big(&self) -> bool {
        self.blocks() > BIG_BLOCKS
    }

    /// The earliest deadline of a producer's id; entries of a stream have no deadlines.
    fn next_deadline(&self) -> Option<u64> {
        self.idempotence()?.next_deadline()
    }

    fn len(&self) -> Option<usize> {
        Some(usize::try_from(self.entries().len()).unwrap_or(usize::MAX))
    }
}

impl OutOfLine for Arc<BigString> {
    fn encoding(&self) -> Encoding {
        Encoding::Raw
    }

    fn heap_bytes(&self) -> usize {
        // Two reference counts stand in front of the string.
        2 * size_of::<usize>() + self.memory_usage()
    }

    /// One block, however long: freeing it costs less than sending it to another thread.
    fn is_big(&self) -> bool {
        false
    }
}

/// Declares the kinds of out-of-line values. For each line: the variant, the owning pointer that
/// lies in the block (8 bytes, never null), and the type. A type has at most one such kind, so the
/// type nibble of the header is enough to distinguish them.
macro_rules! out_of_line_values {
    ($($(#[$doc:meta])* $variant:ident($owner:ty as $view:ty) => $type:ident),+ $(,)?) => {
        /// An owned value, outside of any entry.
        #[derive(Clone, Debug)]
        pub enum Value {
            /// An integer.
            Int(i64),
            /// A string.
            Bytes(Box<[u8]>),
            /// A string that reads `raw` in `OBJECT ENCODING` even when it is short.
            Raw(Box<[u8]>),
            $($(#[$doc])* $variant($owner)),+
        }

        /// The value of an entry, borrowed.
        #[derive(Clone, Copy, Debug)]
        pub enum ValueRef<'a> {
            /// An integer.
            Int(i64),
            /// A string inside the entry.
            Bytes(&'a [u8]),
            $($(#[$doc])* $variant(&'a $view)),+
        }

        /// The value of an entry, borrowed for change.
        #[derive(Debug)]
        pub enum ValueMut<'a> {
            /// A value inside the entry: a string, to be changed through the methods of
            /// `EntryMut`, which move a collection out before they lend it.
            Inline,
            $($(#[$doc])* $variant(&'a mut $owner)),+
        }

        $(const _: () = assert!(size_of::<$owner>() == 8 && align_of::<$owner>() == 8);)+

        impl Value {
            /// The value's data type.
            pub fn value_type(&self) -> Type {
                match self {
                    Value::Int(_) | Value::Bytes(_) | Value::Raw(_) => Type::String,
                    $(Value::$variant(_) => Type::$type),+
                }
            }

            /// The value, borrowed.
            pub fn as_value_ref(&self) -> ValueRef<'_> {
                match self {
                    Value::Int(value) => ValueRef::Int(*value),
                    Value::Bytes(bytes) | Value::Raw(bytes) => ValueRef::Bytes(bytes),
                    $(Value::$variant(owner) => ValueRef::$variant(owner)),+
                }
            }

            /// Moves the owning pointer into a block.
            ///
            /// # Safety
            /// The value is an out-of-line one. `at` is aligned to 8, writable for 8 bytes, and
            /// holds no live value.
            pub(super) unsafe fn write(self, at: *mut u8) {
                match self {
                    $(Value::$variant(owner) => {
                        // SAFETY: `at` is aligned to 8 and has 8 bytes without a live value; the
                        // owner is 8 bytes with alignment 8.
                        unsafe { at.cast::<$owner>().write(owner) }
                    })+
                    // SAFETY: the caller gives out-of-line values only, which the arms above cover.
                    _ => unsafe { std::hint::unreachable_unchecked() },
                }
            }

            /// Moves the owning pointer out of a block.
            ///
            /// # Safety
            /// `at` was written by [`Value::write`] with a value of this type and is not read again
            /// as a live value.
            pub(super) unsafe fn read(kind: Type, at: *mut u8) -> Value {
                match kind {
                    $(Type::$type => {
                        // SAFETY: `at` holds a live value of this type, and this is its last use.
                        Value::$variant(unsafe { at.cast::<$owner>().read() })
                    })+
                }
            }
        }

        impl<'a> ValueRef<'a> {
            /// The properties of an out-of-line value, `None` for one inside its entry.
            fn out_of_line(&self) -> Option<&'a dyn OutOfLine> {
                match *self {
                    ValueRef::Int(_) | ValueRef::Bytes(_) => None,
                    $(ValueRef::$variant(owner) => Some(owner)),+
                }
            }

            /// A copy of the value; a string inside its entry loses its `raw` mark.
            pub(super) fn to_owned_value(self) -> Value {
                match self {
                    ValueRef::Int(value) => Value::Int(value),
                    ValueRef::Bytes(bytes) => Value::Bytes(bytes.into()),
                    $(ValueRef::$variant(value) => Value::$variant(value.to_owned())),+
                }
            }

            /// Borrows the owning pointer in a block.
            ///
            /// # Safety
            /// `at` holds a live value of this type that is not changed during `'a`.
            #[inline]
            pub(super) unsafe fn borrow(kind: Type, at: *const u8) -> ValueRef<'a> {
                match kind {
                    $(Type::$type => {
                        // SAFETY: `at` holds a live value of this type, unchanged during `'a`.
                        ValueRef::$variant(unsafe { &*at.cast::<$owner>() })
                    })+
                }
            }
        }

        impl<'a> ValueMut<'a> {
            /// Borrows the owning pointer in a block for change.
            ///
            /// # Safety
            /// `at` holds a live value of this type that nothing else reads or changes during `'a`.
            #[inline]
            pub(super) unsafe fn borrow(kind: Type, at: *mut u8) -> ValueMut<'a> {
                match kind {
                    $(Type::$type => {
                        // SAFETY: `at` holds a live value of this type, the caller's alone during
                        // `'a`.
                        ValueMut::$variant(unsafe { &mut *at.cast::<$owner>() })
                    })+
                }
            }
        }
    };
}

out_of_line_values! {
    /// A string longer than [`INLINE_MAX`], shared with the replies that still send it. Writers
    /// copy it first when it is shared.
    Big(Arc<BigString> as Arc<BigString>) => String,
    /// A list.
    List(List as ListView) => List,
    /// A set.
    Set(Set as SetView) => Set,
    /// A sorted set.
    ZSet(SortedSet as SortedSetView) => ZSet,
    /// A hash.
    Hash(Hash as HashView) => Hash,
    /// A stream.
    Stream(Stream as Stream) => Stream,
}

impl Value {
    /// The listpack or intset of a collection that is small enough to lie inside an entry, and the
    /// mark of its form.
    pub(super) fn embeddable(&self) -> Option<(u8, &[u8])> {
        let (mark, bytes) = match self {
            Value::List(list) => (list.mark(), list.pack_bytes()?),
            Value::Set(set) => (set.mark(), set.pack_bytes()?),
            Value::ZSet(set) => (set.mark(), set.pack_bytes()?),
            Value::Hash(hash) => (hash.mark(), hash.pack_bytes()?),
            Value::Int(_) | Value::Bytes(_) | Value::Raw(_) => return None,
            Value::Big(_) | Value::Stream(_) => return None,
        };
        EMBEDDED_LENGTHS
            .contains(&bytes.len())
            .then_some((mark, bytes))
    }

    /// The value as a string, `None` for collections.
    pub fn string(&self) -> Option<StringRef<'_>> {
        self.as_value_ref().string()
    }

    /// True when freeing the value costs enough to be worth another thread.
    pub fn is_big(&self) -> bool {
        self.as_value_ref().is_big()
    }

    /// The earliest deadline of an element, in absolute unix milliseconds.
    pub fn next_element_deadline(&self) -> Option<u64> {
        self.as_value_ref().next_element_deadline()
    }
}

impl<'a> ValueRef<'a> {
    /// Borrows a collection inside the block of its entry.
    ///
    /// # Safety
    /// The bytes of a packed collection of this type, with this mark, lie `offset` bytes behind
    /// `block`, and the block is neither changed nor freed during `'a`. The type is not that of
    /// strings or streams.
    #[inline]
    pub(super) unsafe fn embedded(
        kind: Type,
        block: NonNull<u8>,
        offset: u16,
        mark: u8,
    ) -> ValueRef<'a> {
        // SAFETY: the caller guarantees that the form is there and stays during `'a`.
        unsafe {
            match kind {
                Type::List => ValueRef::List(ListView::embedded(block, offset, mark)),
                Type::Set => ValueRef::Set(SetView::embedded(block, offset, mark)),
                Type::ZSet => ValueRef::ZSet(SortedSetView::embedded(block, offset, mark)),
                Type::Hash => ValueRef::Hash(HashView::embedded(block, offset, mark)),
                Type::String | Type::Stream => std::hint::unreachable_unchecked(),
            }
        }
    }

    /// The value as a string, `None` for collections.
    #[inline]
    pub fn string(&self) -> Option<StringRef<'a>> {
        match *self {
            ValueRef::Int(value) => Some(StringRef::Int(value)),
            ValueRef::Bytes(bytes) => Some(StringRef::Bytes(bytes)),
            ValueRef::Big(big) => Some(StringRef::Big(big)),
            _ => None,
        }
    }

    /// True when freeing the value costs enough to be worth another thread.
    pub fn is_big(&self) -> bool {
        self.out_of_line().is_some_and(|value| value.is_big())
    }

    /// The earliest deadline of an element, in absolute unix milliseconds.
    pub fn next_element_deadline(&self) -> Option<u64> {
        self.out_of_line()?.next_deadline()
    }

    /// Number of elements of a collection, `None` for strings.
    pub fn element_count(&self) -> Option<usize> {
        self.out_of_line()?.len()
    }

    /// Bytes on the heap outside of the entry's block.
    pub fn heap_bytes(&self) -> usize {
        self.out_of_line().map_or(0, |value| value.heap_bytes())
    }

    /// True for a collection whose members have an index of their own. Does not read the
    /// collection.
    #[inline]
    pub(crate) fn has_index(&self) -> bool {
        match self {
            ValueRef::Set(set) => set.has_index(),
            ValueRef::ZSet(set) => set.has_index(),
            ValueRef::Hash(hash) => hash.has_index(),
            _ => false,
        }
    }

    /// Elements of a collection, and its bytes on the heap outside of the entry's block.
    #[inline]
    pub(crate) fn measures(&self) -> (usize, usize) {
        match self {
            ValueRef::Int(_) | ValueRef::Bytes(_) => (0, 0),
            ValueRef::Big(big) => (0, OutOfLine::heap_bytes(*big)),
            ValueRef::List(list) => (list.len(), list.heap_bytes()),
            ValueRef::Set(set) => (set.len(), set.heap_bytes()),
            ValueRef::ZSet(set) => (set.len(), set.heap_bytes()),
            ValueRef::Hash(hash) => (hash.len(), hash.heap_bytes()),
            ValueRef::Stream(stream) => (
                OutOfLine::len(*stream).unwrap_or(0),
                OutOfLine::heap_bytes(*stream),
            ),
        }
    }

    /// The encoding of an out-of-line value; one inside its entry has it in the entry's header.
    pub(super) fn out_of_line_encoding(&self) -> Option<Encoding> {
        self.out_of_line().map(|value| value.encoding())
    }
}

impl ValueRef<'_> {
    /// True while a collection notes its changes.
    pub(crate) fn has_journal(&self) -> bool {
        match self {
            ValueRef::Int(_) | ValueRef::Bytes(_) | ValueRef::Big(_) => false,
            ValueRef::List(list) => list.has_journal(),
            ValueRef::Set(set) => set.has_journal(),
            ValueRef::ZSet(set) => set.has_journal(),
            ValueRef::Hash(hash) => hash.has_journal(),
            ValueRef::Stream(stream) => stream.has_journal(),
        }
    }
}

/// Journals of large collections.
impl ValueMut<'_> {
    /// Begins a journal, or a part of one; returns its mark. `None` for a value of which a copy
    /// costs less. `streams`: also of a stream, whose journal has no parts.
    pub(crate) fn begin_journal(self, streams: bool) -> Option<usize> {
        match self {
            ValueMut::Inline | ValueMut::Big(_) => None,
            ValueMut::List(list) => list.begin_journal(),
            ValueMut::Set(set) => set.begin_journal(),
            ValueMut::ZSet(set) => set.begin_journal(),
            ValueMut::Hash(hash) => hash.begin_journal(),
            ValueMut::Stream(stream) => (streams && stream.begin_journal()).then_some(0),
        }
    }

    /// Keeps what was done since the last beginning.
    pub(crate) fn end_journal(self, thresholds: &Thresholds) {
        match self {
            ValueMut::Inline | ValueMut::Big(_) => {}
            ValueMut::List(list) => list.end_journal(thresholds),
            ValueMut::Set(set) => set.end_journal(),
            ValueMut::ZSet(set) => set.end_journal(),
            ValueMut::Hash(hash) => hash.end_journal(),
            ValueMut::Stream(stream) => stream.end_journal(),
        }
    }

    /// Takes back what was done since the beginning that returned `mark`, the last one.
    pub(crate) fn roll_back(self, mark: usize, thresholds: &Thresholds) {
        match self {
            ValueMut::Inline | ValueMut::Big(_) => {}
            ValueMut::List(list) => list.roll_back(mark, thresholds),
            ValueMut::Set(set) => set.roll_back(mark),
            ValueMut::ZSet(set) => set.roll_back(mark),
            ValueMut::Hash(hash) => hash.roll_back(mark),
            ValueMut::Stream(stream) => stream.roll_back(),
        }
    }
}

impl ValueMut<'_> {
    /// Removes at most `budget` elements whose deadline is not after `now_ms`, the earliest first;
    /// reports each before it goes. Returns how many.
    pub(crate) fn expire_elements(
        self,
        now_ms: u64,
        budget: usize,
        expired: &mut dyn FnMut(&[u8]),
    ) -> usize {
        match self {
            ValueMut::Inline | ValueMut::Big(_) | ValueMut::List(_) => 0,
            // Not reported: each server drops expired ids by its own clock.
            ValueMut::Stream(stream) => stream
                .idempotence_mut()
                .map_or(0, |known| known.expire(now_ms, budget)),
            ValueMut::Set(set) => set.expire(now_ms, budget, expired),
            ValueMut::ZSet(set) => set.expire(now_ms, budget, expired),
            ValueMut::Hash(hash) => hash.expire(now_ms, budget, expired),
        }
    }
}
