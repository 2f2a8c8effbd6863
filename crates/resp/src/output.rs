//! Output that waits to be sent to a client.
//!
//! Most replies are small and are appended to one byte vector. A large value is not copied: it
//! stays in its shared allocation and is recorded as a piece between two bytes of the vector.
//! Sending walks both in order:
//!
//! ```text
//! bytes   $3\r\nfoo\r\n$100000\r\n | \r\n:1\r\n
//!         ^start                   ^ piece 0 is sent here
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::io::IoSlice;
use std::sync::Arc;

/// Bytes that replies and values share.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A shared value shorter than this is copied into a reply: a separate piece costs more than the
/// copy.
pub(crate) const SHARED_MIN_BYTES: usize = 16 * 1024;

/// Moving more than this to insert a length in front of it costs more than a piece of its own.
const INSERT_MOVE_MAX: usize = 8 * 1024;

/// An idle output keeps at most this much memory, in bytes.
const IDLE_KEEP: usize = 16 * 1024;

/// The kernel takes at most this many slices in one call (IOV_MAX of Linux and macOS).
const SLICES_MAX: usize = 1024;

/// The bytes and shared pieces that wait to be sent. With a limit, an output that would exceed it
/// is given up as a whole: what waits is dropped, and so is what follows.
pub struct Output {
    /// Sent bytes up to `start`, then waiting ones.
    bytes: Vec<u8>,
    /// Offset in `bytes` of the first byte not sent. <= bytes.len().
    start: usize,
    /// Stream position of `bytes[0]`: positions of pieces and marks survive the dropping of sent
    /// bytes.
    base: u64,
    /// In the order of sending: positions never fall.
    pieces: VecDeque<Piece>,
    /// How many pieces have been sent completely.
    pieces_sent: u64,
    /// Unsent bytes of all pieces.
    shared_len: usize,
    /// Deferred lengths that are not filled in.
    deferred: u32,
    /// Most bytes that may wait.
    limit: usize,
    /// The limit was exceeded.
    is_given_up: bool,
}

impl Default for Output {
    fn default() -> Self {
        Self::new()
    }
}

/// Shared bytes that are sent in front of the byte at `position`.
struct Piece {
    /// Stream position: `base` plus an offset in `bytes`, which may be its end.
    position: u64,
    data: SharedBytes,
    /// Bytes of `data` already sent. < its length.
    sent: usize,
}

impl Piece {
    fn rest(&self) -> &[u8] {
        (*self.data).as_ref().get(self.sent..).unwrap_or_default()
    }
}

/// A place in an [`Output`], to go back to. Valid until the output is cleared or truncated to an
/// earlier one.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    position: u64,
    pieces: u64,
    deferred: u32,
}

impl Output {
    /// Nothing to send.
    pub const fn new() -> Output {
        Output {
            bytes: Vec::new(),
            start: 0,
            base: 0,
            pieces: VecDeque::new(),
            pieces_sent: 0,
            shared_len: 0,
            deferred: 0,
            limit: usize::MAX,
            is_given_up: false,
        }
    }

    /// Sets the most bytes that may wait. The limit is looked at when memory is taken, so small
    /// pieces may come up to twice as far. An output that was given up stays so.
    #[inline]
    pub fn set_limit(&mut self, bytes: usize) {
        self.limit = bytes;
    }

    /// True when the limit was exceeded: what stood here is gone, and nothing more is taken.
    #[inline]
    pub fn is_given_up(&self) -> bool {
        self.is_given_up
    }

    /// Makes room for `additional` bytes within the limit. False when the output is given up.
    #[cold]
    fn grow(&mut self, additional: usize) -> bool {
        if self.is_given_up || self.len().saturating_add(additional) > self.limit {
            self.give_up();
            return false;
        }
        self.bytes.reserve(additional);
        true
    }

    /// Drops everything, the memory too.
    fn give_up(&mut self) {
        let deferred = self.deferred;
        self.clear();
        // Lengths that were deferred are filled in later, to no effect.
        self.deferred = deferred;
        self.bytes = Vec::new();
        self.pieces = VecDeque::new();
        self.is_given_up = true;
    }

    #[inline]
    fn has_room(&mut self, additional: usize) -> bool {
        self.bytes.capacity() - self.bytes.len() >= additional || self.grow(additional)
    }

    /// Bytes that wait to be sent, those of shared pieces included.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start + self.shared_len
    }

    /// Whether nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.bytes.len() && self.pieces.is_empty()
    }

    /// Waiting bytes that belong to shared pieces and not to this output alone.
    pub fn shared_len(&self) -> usize {
        self.shared_len
    }

    /// Heap memory of this output alone, in bytes, without the shared pieces.
    pub fn memory_usage(&self) -> usize {
        self.bytes.capacity() + self.pieces.capacity() * size_of::<Piece>()
    }

    /// Appends bytes as they are.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        if self.has_room(bytes.len()) {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Makes room for `additional` bytes.
    #[inline]
    pub fn reserve(&mut self, additional: usize) {
        // An output that is given up has no use for room.
        let _ = self.has_room(additional);
    }

    /// Appends shared bytes: without a copy from 16 KiB on.
    pub fn shared(&mut self, data: SharedBytes) {
        let bytes = (*data).as_ref();
        if bytes.len() < SHARED_MIN_BYTES {
            self.raw(bytes);
            return;
        }
        if self.is_given_up || self.len().saturating_add(bytes.len()) > self.limit {
            self.give_up();
            return;
        }
        self.shared_len += bytes.len();
        let position = self.end();
        self.pieces.push_back(Piece {
            position,
            data,
            sent: 0,
        });
    }

    /// Moves everything that waits in `other` behind what waits here: shared pieces as they are,
    /// bytes by a copy.
    pub fn append(&mut self, other: &mut Output) {
        if self.is_given_up || self.len().saturating_add(other.len()) > self.limit {
            self.give_up();
            other.clear();
            return;
        }
        let end = self.end();
        let first = other.base + other.start as u64;
        self.bytes
            .extend_from_slice(other.bytes.get(other.start..).unwrap_or_default());
        self.shared_len += other.shared_len;
        self.pieces
            .extend(other.pieces.drain(..).map(|piece| Piece {
                position: piece.position - first + end,
                ..piece
            }));
        other.clear();
    }

    /// Stream position behind the last byte.
    #[inline]
    fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// Offset in `bytes` of a stream position; places already dropped become the first waiting
    /// byte.
    #[inline]
    fn offset(&self, position: u64) -> usize {
        let offset = usize::try_from(position.saturating_sub(self.base)).unwrap_or(usize::MAX);
        offset.clamp(self.start, self.bytes.len())
    }

    /// The slices to send, in order, for one vectored write: at most as many as the kernel takes.
    pub fn io_slices(&self) -> impl Iterator<Item = IoSlice<'_>> {
        let mut from = self.start;
        let tail = self.bytes.get(self.last_offset()..).unwrap_or_default();
        self.pieces
            .iter()
            .flat_map(move |piece| {
                let to = self.offset(piece.position);
                let before = self.bytes.get(from..to).unwrap_or_default();
                from = to;
                [before, piece.rest()]
            })
            .chain(std::iter::once(tail))
            .filter(|slice| !slice.is_empty())
            .take(SLICES_MAX)
            .map(IoSlice::new)
    }

    /// Offset in `bytes` of what is sent behind the last piece.
    fn last_offset(&self) -> usize {
        self.pieces
            .back()
            .map_or(self.start, |piece| self.offset(piece.position))
    }

    /// All that waits as one slice, if no shared piece stands in between.
    #[inline]
    pub fn as_contiguous(&self) -> Option<&[u8]> {
        if self.pieces.is_empty() {
            self.bytes.get(self.start..)
        } else {
            None
        }
    }

    /// A copy of all that waits.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len());
        let mut from = self.start;
        for piece in &self.pieces {
            let to = self.offset(piece.position);
            all.extend_from_slice(self.bytes.get(from..to).unwrap_or_default());
            all.extend_from_slice(piece.rest());
            from = to;
        }
        all.extend_from_slice(self.bytes.get(from..).unwrap_or_default());
        all
    }

    /// Drops the first `count` bytes because they have been sent.
    pub fn consume(&mut self, mut count: usize) {
        while count > 0 {
            let next = self
                .pieces
                .front()
                .map_or(self.bytes.len(), |piece| self.offset(piece.position));
            let plain = count.min(next - self.start);
            self.start += plain;
            count -= plain;
            let Some(piece) = self.pieces.front_mut().filter(|_| count > 0) else {
                break;
            };
            let shared = count.min(piece.rest().len());
            piece.sent += shared;
            self.shared_len -= shared;
            count -= shared;
            if piece.rest().is_empty() {
                self.pieces.pop_front();
                self.pieces_sent += 1;
            }
        }
        debug_assert_eq!(count, 0, "consumed more than there was");
        self.drop_sent();
    }

    /// Gives the room of sent bytes back, in steps that keep the cost per byte constant.
    fn drop_sent(&mut self) {
        if self.start == self.bytes.len() {
            self.base += self.start as u64;
            self.bytes.clear();
            self.start = 0;
        } else if self.start >= IDLE_KEEP && self.start >= self.bytes.len() / 2 {
            self.base += self.start as u64;
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    /// Drops all that waits.
    pub fn clear(&mut self) {
        self.base += self.bytes.len() as u64;
        self.bytes.clear();
        self.start = 0;
        self.pieces_sent += self.pieces.len() as u64;
        self.pieces.clear();
        self.shared_len = 0;
        self.deferred = 0;
    }

    /// Gives memory back when nothing waits and a past burst left a lot of it.
    pub fn shrink_if_idle(&mut self) {
        if self.is_empty() && (self.bytes.capacity() > IDLE_KEEP || self.pieces.capacity() > 64) {
            self.clear();
            self.bytes = Vec::new();
            self.pieces = VecDeque::new();
        }
    }

    /// The present end, to come back to with [`Output::truncate_to`].
    #[inline]
    pub fn mark(&self) -> Mark {
        Mark {
            position: self.end(),
            pieces: self.pieces_sent + self.pieces.len() as u64,
            deferred: self.deferred,
        }
    }

    /// Bytes that were appended since `mark` and are not sent.
    #[inline]
    pub fn len_since(&self, mark: &Mark) -> usize {
        let bytes = self.bytes.len() - self.offset(mark.position);
        if self.pieces.is_empty() {
            return bytes;
        }
        bytes + self.shared_len_since(mark)
    }

    fn shared_len_since(&self, mark: &Mark) -> usize {
        let pieces = self.pieces.iter().skip(self.piece_index(mark));
        pieces.map(|piece| piece.rest().len()).sum()
    }

    /// Drops what was appended since `mark`, as far as it has not been sent.
    pub fn truncate_to(&mut self, mark: Mark) {
        self.bytes.truncate(self.offset(mark.position));
        let keep = self.piece_index(&mark);
        for piece in self.pieces.drain(keep..) {
            self.shared_len -= piece.rest().len();
        }
        self.deferred = mark.deferred;
    }

    /// Takes out what was appended since `mark`, as far as it has not been sent.
    pub fn split_off(&mut self, mark: Mark) -> Output {
        let at = self.offset(mark.position);
        let first = self.base + at as u64;
        let mut tail = Output::new();
        let keep = self.piece_index(&mark);
        for piece in self.pieces.drain(keep..) {
            let rest = piece.rest().len();
            self.shared_len -= rest;
            tail.shared_len += rest;
            let position = piece.position.saturating_sub(first);
            tail.pieces.push_back(Piece { position, ..piece });
        }
        tail.bytes = self.bytes.split_off(at);
        tail
    }

    /// Index of the first piece behind `mark`.
    fn piece_index(&self, mark: &Mark) -> usize {
        let index =
            usize::try_from(mark.pieces.saturating_sub(self.pieces_sent)).unwrap_or(usize::MAX);
        index.min(self.pieces.len())
    }

    /// Marks the present end as a place where [`Output::insert_at`] will put something.
    pub(crate) fn defer(&mut self) -> Mark {
        self.deferred += 1;
        self.mark()
    }

    /// Inserts `bytes` at a place from [`Output::defer`]. The place deferred last is filled in
    /// first.
    pub(crate) fn insert_at(&mut self, mark: Mark, bytes: &[u8]) {
        debug_assert_eq!(mark.deferred, self.deferred, "deferred lengths nest");
        self.deferred = mark.deferred.saturating_sub(1);
        if self.is_given_up {
            return;
        }
        let at = self.offset(mark.position);
        let index = self.piece_index(&mark);
        let tail = self.bytes.len() - at;
        if tail > INSERT_MOVE_MAX {
            // Pieces at the same position that were there before the mark stay in front.
            self.shared_len += bytes.len();
            let data: SharedBytes = Arc::new(bytes.to_vec());
            self.pieces.insert(
                index,
                Piece {
                    position: self.base + at as u64,
                    data,
                    sent: 0,
                },
            );
            return;
        }
        self.bytes.extend_from_slice(bytes);
        if let Some(tail) = self.bytes.get_mut(at..) {
            tail.rotate_right(bytes.len());
        }
        for piece in self.pieces.iter_mut().skip(index) {
            piece.position += bytes.len() as u64;
        }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("len", &self.len())
            .field("pieces", &self.pieces.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shared(byte: u8, len: usize) -> SharedBytes {
        Arc::new(vec![byte; len])
    }

    fn gathered(output: &Output) -> Vec<u8> {
        let mut slices: Vec<IoSlice<'_>> = Vec::new();
        slices.extend(output.io_slices());
        assert!(slices.iter().all(|slice| !slice.is_empty()));
        slices
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect()
    }

    #[test]
    fn a_tail_is_taken_out_with_its_pieces() {
        let mut output = Output::new();
        output.raw(b"ab");
        output.shared(shared(b'x', 20_000));
        let mark = output.mark();
        output.raw(b"cd");
        output.shared(shared(b'y', 20_000));
        output.raw(b"e");
        output.consume(1);
        let tail = output.split_off(mark);
        assert_eq!(output.to_vec(), [b"b", &[b'x'; 20_000][..]].concat());
        assert_eq!(output.len(), 20_001);
        assert_eq!(tail.to_vec(), [b"cd", &[b'y'; 20_000][..], b"e"].concat());
        assert_eq!(gathered(&tail), tail.to_vec());
        assert_eq!((tail.len(), tail.shared_len()), (20_003, 20_000));
        // What was sent meanwhile is in no tail.
        output.raw(b"fg");
        output.consume(output.len() - 1);
        assert_eq!(output.split_off(mark).to_vec(), b"g");
        assert!(output.is_empty());
    }

    #[test]
    fn large_pieces_are_shared_and_small_ones_copied() {
        let mut output = Output::new();
        let large = shared(b'x', SHARED_MIN_BYTES);
        output.raw(b"a");
        output.shared(large.clone());
        assert_eq!(Arc::strong_count(&large), 2);
        assert_eq!(output.as_contiguous(), None);
        assert_eq!(
            (output.len(), output.shared_len()),
            (SHARED_MIN_BYTES + 1, SHARED_MIN_BYTES)
        );
        output.consume(SHARED_MIN_BYTES);
        assert_eq!(output.to_vec(), b"x");
        output.raw(b"b");
        output.consume(1);
        assert_eq!(Arc::strong_count(&large), 1);
        assert_eq!(output.as_contiguous(), Some(&b"b"[..]));

        let small = shared(b'x', SHARED_MIN_BYTES - 1);
        output.shared(small.clone());
        assert_eq!((Arc::strong_count(&small), output.shared_len()), (1, 0));
    }

    #[test]
    fn a_mark_undoes_what_was_not_sent() {
        let mut output = Output::new();
        output.raw(b"kept");
        let mark = output.mark();
        output.raw(b"dropped");
        output.shared(shared(b'x', SHARED_MIN_BYTES));
        assert_eq!(output.len_since(&mark), 7 + SHARED_MIN_BYTES);
        output.consume(2);
        output.truncate_to(mark);
        assert_eq!((output.to_vec(), output.shared_len()), (b"pt".to_vec(), 0));
        output.raw(b"ab");
        output.consume(3);
        output.truncate_to(mark);
        assert!(output.is_empty());
    }

    #[test]
    fn an_output_above_its_limit_is_given_up() {
        type Write = fn(&mut Output);
        let writes: [Write; 4] = [
            |output| output.raw(&[b'x'; 60_000]),
            |output| output.shared(shared(b'x', 60_000)),
            |output| {
                output.append(&mut {
                    let mut other = Output::new();
                    other.raw(&[b'x'; 60_000]);
                    other
                })
            },
            |output| (0..60_000).for_each(|_| output.raw(b"x")),
        ];
        for write in writes {
            let mut output = Output::new();
            output.set_limit(100_000);
            output.raw(b"+OK\r\n");
            let mark = output.mark();
            let deferred = output.defer();
            write(&mut output);
            assert!(!output.is_given_up());
            assert_eq!(output.len(), 60_005);
            write(&mut output);
            write(&mut output);
            assert!(output.is_given_up() && output.is_empty());
            output.insert_at(deferred, b"*1\r\n");
            write(&mut output);
            assert_eq!((output.len(), output.memory_usage()), (0, 0));
            output.truncate_to(mark);
            assert_eq!(output.len_since(&mark), 0);
        }
    }

    #[test]
    fn idle_outputs_give_memory_back() {
        let mut output = Output::new();
        output.raw(&[b'x'; 100_000]);
        output.shrink_if_idle();
        assert_eq!(output.len(), 100_000);
        output.consume(99_999);
        output.shrink_if_idle();
        assert_eq!(output.to_vec(), b"x");
        output.consume(1);
        output.shrink_if_idle();
        assert_eq!(output.memory_usage(), 0);
        output.raw(b"y");
        assert_eq!(output.to_vec(), b"y");
    }

    #[test]
    fn sent_bytes_are_dropped_in_steps() {
        let mut output = Output::new();
        for _ in 0..1000 {
            output.raw(&[b'x'; 1000]);
            output.consume(999);
        }
        assert_eq!(output.len(), 1000);
        assert!(output.memory_usage() < 100_000);
    }

    #[test]
    fn one_write_takes_a_bounded_number_of_slices() {
        let mut output = Output::new();
        for _ in 0..SLICES_MAX {
            output.raw(b"a");
            output.shared(shared(b'x', SHARED_MIN_BYTES));
        }
        assert_eq!(output.io_slices().count(), SLICES_MAX);
        assert_eq!(output.to_vec().len(), output.len());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Raw(usize),
        Shared(usize),
        Consume(prop::sample::Index),
        Mark,
        Truncate,
        Defer,
        Insert(usize),
        Append(usize, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let large = SHARED_MIN_BYTES - 2..SHARED_MIN_BYTES + 20;
        prop_oneof![
            4 => (0..2 * INSERT_MOVE_MAX).prop_map(Step::Raw),
            4 => (0..30usize).prop_map(Step::Raw),
            3 => large.clone().prop_map(Step::Shared),
            3 => any::<prop::sample::Index>().prop_map(Step::Consume),
            1 => Just(Step::Mark),
            1 => Just(Step::Truncate),
            3 => Just(Step::Defer),
            3 => (1..20usize).prop_map(Step::Insert),
            1 => (0..30usize, large).prop_map(|(raw, shared)| Step::Append(raw, shared)),
        ]
    }

    /// A mark, and the length of everything written before it.
    type Place = (Mark, usize);

    /// The same operations on one plain vector of everything that was ever written.
    #[derive(Default)]
    struct Model {
        all: Vec<u8>,
        sent: usize,
        mark: Option<(Place, Vec<Place>)>,
        open: Vec<Place>,
    }

    impl Model {
        fn apply(&mut self, output: &mut Output, step: &Step, byte: u8) {
            match step {
                Step::Raw(len) => {
                    output.raw(&vec![byte; *len]);
                    self.all.resize(self.all.len() + len, byte);
                }
                Step::Shared(len) => {
                    output.shared(shared(byte, *len));
                    self.all.resize(self.all.len() + len, byte);
                }
                // Nothing is sent in the middle of a reply.
                Step::Consume(index) if self.open.is_empty() => {
                    let count = index.index(self.all.len() - self.sent + 1);
                    output.consume(count);
                    self.sent += count;
                }
                Step::Mark => {
                    self.mark = Some(((output.mark(), self.all.len()), self.open.clone()))
                }
                Step::Truncate => {
                    if let Some(((mark, len), open)) = self.mark.take() {
                        output.truncate_to(mark);
                        self.all.truncate(len.max(self.sent));
                        self.open = open;
                    }
                }
                Step::Defer => self.open.push((output.defer(), self.all.len())),
                Step::Insert(len) => {
                    if let Some((mark, at)) = self.open.pop() {
                        output.insert_at(mark, &vec![byte; *len]);
                        self.all.splice(at..at, vec![byte; *len]);
                        self.mark = None;
                    }
                }
                Step::Append(raw, large) if self.open.is_empty() => {
                    let mut other = Output::new();
                    other.raw(b"sent");
                    other.raw(&vec![byte; *raw]);
                    other.shared(shared(byte, *large));
                    other.raw(b"!");
                    other.consume(4);
                    output.append(&mut other);
                    assert!(other.is_empty() && other.shared_len() == 0);
                    self.all.resize(self.all.len() + raw + large, byte);
                    self.all.push(b'!');
                    self.mark = None;
                }
                Step::Consume(_) | Step::Append(..) => {}
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn behaves_as_one_vector(steps in prop::collection::vec(step(), 0..40)) {
            let mut output = Output::new();
            let mut model = Model::default();
            for (index, step) in steps.iter().enumerate() {
                model.apply(&mut output, step, index as u8);
                let waiting = &model.all[model.sent..];
                prop_assert_eq!(output.len(), waiting.len());
                prop_assert_eq!(output.is_empty(), waiting.is_empty());
                prop_assert!(gathered(&output) == waiting, "slices differ after step {}", index);
                prop_assert!(output.to_vec() == waiting, "copy differs after step {}", index);
            }
        }
    }
}
