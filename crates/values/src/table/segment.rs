//! A segment: one allocation of a header line and `n` buckets, and the word that stands for it in
//! the directory.
//!
//! ```text
//! word     63     58 57        48 47                            6 5      0
//!         +---------+------------+-------------------------------+--------+
//!         |  skip   |    len     |  address of the header line   |  n - 1 |
//!         +---------+------------+-------------------------------+--------+
//! ```
//! * skip: hash bits in front of the tag (the table's prefix plus the segment's depth);
//! * len: entries in buckets and stash, without the overflow list. Kept here and not in the header,
//!   so that an insert or removal touches no line that a lookup would not touch. When several
//!   directory places name one segment, only the first of them is kept up to date.
//!
//! The header line holds the stash (7 slots, shared by all buckets of the segment) and a pointer
//! to the overflow list, which exists only while more equal tags are present than slots for them.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use smallvec::SmallVec;

use super::bucket::{Bucket, NEIGHBOUR, Packed, SLOTS, STASH, home_of};

/// Stash slots of a segment: the rest of the header line beside the overflow pointer.
pub(super) const STASH_SLOTS: usize = 7;

/// Bucket counts of a segment, chosen so that header plus buckets are exactly the size classes of
/// jemalloc (four to a doubling): sizes between them would occupy the memory of the next one.
const SIZES: [u8; 19] = [
    1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 15, 19, 23, 27, 31, 39, 47, 55, 63,
];
pub(super) const MAX_BUCKETS: usize = 63;

/// Entries that fit a segment of the largest size without an overflow list: 511.
const MAX_ENTRIES: usize = MAX_BUCKETS * SLOTS + STASH_SLOTS;

/// How many buckets after a full neighbour an insert may look at for a free slot, shifting the
/// entries between by one bucket each. Measured at sizes up to 1 M, average fill and displaced
/// share: 0: 0.73, 4 %; 1: 0.78, 7 %; 2: 0.80, 10 %; 4: 0.83, 14 %; 8: 0.83, 17 %.
const SHIFT_REACH: usize = 2;

const LINE: usize = 64;
const BUCKETS_MASK: usize = LINE - 1;
const ADDRESS: usize = 0x0000_ffff_ffff_ffc0;
const LEN_SHIFT: u32 = 48;
const LEN_ONE: usize = 1 << LEN_SHIFT;
const LEN_MASK: usize = 0x3ff;
const SKIP_SHIFT: u32 = 58;

const _: () = assert!(size_of::<Header>() == LINE && align_of::<Header>() == LINE);
const _: () = assert!(MAX_ENTRIES <= LEN_MASK && (MAX_ENTRIES + 1).is_power_of_two());

/// A list of packed words, inline up to the content of the largest segment.
pub(super) type Gathered = SmallVec<[Packed; MAX_ENTRIES + 1]>;

/// Directory word of a segment (layout above). Copies name the same segment; the table decides
/// which of them is the owner.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Word(NonNull<Header>);

impl Word {
    #[inline(always)]
    fn bits(self) -> usize {
        self.0.addr().get()
    }

    /// Number of buckets, 1..=63.
    #[inline(always)]
    pub(super) fn buckets(self) -> usize {
        (self.bits() & BUCKETS_MASK) + 1
    }

    /// Hash bits in front of the tag.
    #[inline(always)]
    pub(super) fn skip(self) -> u32 {
        (self.bits() >> SKIP_SHIFT) as u32
    }

    /// Entries in buckets and stash; valid only in the first directory place of the segment.
    #[inline(always)]
    pub(super) fn len(self) -> usize {
        self.bits() >> LEN_SHIFT & LEN_MASK
    }

    #[inline(always)]
    pub(super) fn add_len(&mut self, one_less: bool) {
        let delta = if one_less {
            LEN_ONE.wrapping_neg()
        } else {
            LEN_ONE
        };
        self.0 = self.0.map_addr(|bits| {
            // SAFETY: the address part is that of a live allocation, hence not zero, and
            // 0 < len <= MAX_ENTRIES around the change, so no carry leaves the length field.
            unsafe { std::num::NonZero::new_unchecked(bits.get().wrapping_add(delta)) }
        });
    }

    /// The tag of `hash` in this segment.
    #[inline(always)]
    pub(super) fn tag(self, hash: u64) -> u16 {
        (hash.wrapping_shl(self.skip()) >> 48) as u16
    }

    #[inline(always)]
    fn header(self) -> *mut Header {
        self.0.as_ptr().map_addr(|bits| bits & ADDRESS)
    }

    /// Address of a bucket, for prefetching.
    #[inline(always)]
    pub(super) fn bucket_address(self, bucket: usize) -> *const Bucket {
        self.header()
            .cast::<Bucket>()
            .wrapping_add(1)
            .wrapping_add(bucket)
    }

    fn layout(buckets: usize) -> Layout {
        // At most 65 lines: the size cannot overflow.
        match Layout::from_size_align(LINE * (buckets + 1), LINE) {
            Ok(layout) => layout,
            Err(_) => unreachable!("a segment is a few kilobytes"),
        }
    }

    /// A new segment without entries.
    fn allocate(buckets: usize, skip: u32) -> Word {
        debug_assert!((1..=MAX_BUCKETS).contains(&buckets) && skip < 64);
        let layout = Word::layout(buckets);
        // All zero bytes are a header without overflow list and with an empty stash, followed by
        // empty buckets.
        // SAFETY: the layout is not zero-sized.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(memory) = NonNull::new(memory.cast::<Header>()) else {
            handle_alloc_error(layout)
        };
        assert!(memory.addr().get() & !ADDRESS == 0);
        Word(memory.map_addr(|address| address | (buckets - 1) | (skip as usize) << SKIP_SHIFT))
    }

    /// Frees the segment (not what its slots point to).
    ///
    /// # Safety
    /// The segment is live, and neither this nor another copy of the word is used afterwards.
    pub(super) unsafe fn free(self) {
        let header = self.header();
        // SAFETY: `allocate` made the segment with this bucket count; it is live, and no other copy
        // of the word is used again.
        unsafe {
            header.drop_in_place();
            dealloc(header.cast(), Word::layout(self.buckets()));
        }
    }

    /// Shared view of the segment.
    ///
    /// # Safety
    /// The segment stays live and unchanged for `'a`.
    #[inline(always)]
    pub(super) unsafe fn view<'a>(self) -> Segment<'a> {
        let header = self.header();
        // SAFETY: `allocate` made a header line followed by `buckets()` bucket lines.
        unsafe {
            Segment {
                header: &*header,
                buckets: std::slice::from_raw_parts(header.cast::<Bucket>().add(1), self.buckets()),
            }
        }
    }

    /// Exclusive view of the segment.
    ///
    /// # Safety
    /// The segment stays live for `'a`, and nothing else looks at it meanwhile.
    #[inline(always)]
    pub(super) unsafe fn view_mut<'a>(self) -> SegmentMut<'a> {
        let header = self.header();
        // SAFETY: `allocate` made a header line followed by `buckets()` bucket lines, which do not
        // overlap.
        unsafe {
            SegmentMut {
                buckets: std::slice::from_raw_parts_mut(
                    header.cast::<Bucket>().add(1),
                    self.buckets(),
                ),
                header: &mut *header,
            }
        }
    }

    /// A new segment that holds `entries` (tags valid for `skip`), with at least `at_least` buckets
    /// (a count of `SIZES`) and room to spare; larger when that spares an overflow list.
    pub(super) fn build(entries: &[Packed], skip: u32, at_least: usize) -> Word {
        let mut buckets = at_least.max(size_for(entries.len()));
        loop {
            let mut word = Word::allocate(buckets, skip);
            // SAFETY: just allocated, and there is no copy of the word.
            let mut segment = unsafe { word.view_mut() };
            let left = segment.fill(entries);
            let placed = entries.len() - left.len();
            if !left.is_empty()
                && let Some(larger) = next_size(buckets)
                && is_half_full(entries.len(), buckets)
            {
                // SAFETY: the word was not handed out; its view ended with `fill`.
                unsafe { word.free() };
                buckets = larger;
                continue;
            }
            for packed in left {
                segment.push_overflow(packed);
            }
            word.0 = word.0.map_addr(|bits| bits | placed << LEN_SHIFT);
            return word;
        }
    }

    /// Whether the segment is so full that the next insert should grow it first.
    #[inline(always)]
    pub(super) fn is_crowded(self) -> bool {
        // 15/16: reached only when the entries happen to spread well; usually the stash fills
        // first.
        let slots = self.buckets() * SLOTS;
        self.len() >= slots - slots / 16
    }

    /// Whether growing is likely to help an insert that found no room. In an emptier segment many
    /// tags are equal, and more buckets would not part them.
    pub(super) fn is_half_full(self) -> bool {
        is_half_full(self.len(), self.buckets())
    }

    /// Whether a removal should look for a smaller size or a merge: below a fill of 5/8, while a
    /// smaller size is chosen for 0.8 and growing leaves about 0.72, so sizes do not alternate.
    /// Looked at once in eight removals, because bad luck with tags can forbid the smaller size.
    #[inline(always)]
    pub(super) fn is_sparse(self) -> bool {
        let len = self.len();
        len.is_multiple_of(SLOTS) && len * 8 <= self.buckets() * SLOTS * 5
    }
}

fn is_half_full(entries: usize, buckets: usize) -> bool {
    entries * 2 >= buckets * SLOTS
}

/// The bucket count after `buckets`, if there is one.
pub(super) fn next_size(buckets: usize) -> Option<usize> {
    sizes().find(|&size| size > buckets)
}

/// The bucket count for this many entries: a fill of at most 0.8, unless the largest is too small.
pub(super) fn size_for(entries: usize) -> usize {
    sizes()
        .find(|&size| entries * 5 <= size * SLOTS * 4)
        .unwrap_or(MAX_BUCKETS)
}

fn sizes() -> impl Iterator<Item = usize> {
    SIZES.iter().map(|&size| usize::from(size))
}

/// Entries beyond stash and buckets; boxed so that its pointer fits beside the stash.
struct Overflow {
    words: Vec<Packed>,
}

/// First line of a segment.
#[repr(C, align(64))]
pub(super) struct Header {
    overflow: Option<Box<Overflow>>,
    stash: [Packed; STASH_SLOTS],
}

/// Where an entry lies in its segment, as a number: stash slot, bucket slot, or index in the
/// overflow list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place(u32);

impl Place {
    const FIRST_BUCKET: u32 = SLOTS as u32;
    const FIRST_OVERFLOW: u32 = ((MAX_BUCKETS + 1) * SLOTS) as u32;

    #[inline(always)]
    pub(super) fn bucket(bucket: usize, slot: usize) -> Place {
        Place((bucket * SLOTS + slot) as u32 + Place::FIRST_BUCKET)
    }

    /// Places 0..8 are the stash (7 slots) and 8.. the buckets' slots, in order.
    pub(super) fn numbered(number: usize) -> Place {
        Place(number.min(Place::FIRST_OVERFLOW as usize - 1) as u32)
    }

    fn stash(slot: usize) -> Place {
        Place(slot as u32)
    }

    fn overflow(index: usize) -> Place {
        // A list of 2^32 equal tags would need 32 GiB: saturating only makes such a slot stale.
        Place(u32::try_from(index).map_or(u32::MAX, |i| i.saturating_add(Place::FIRST_OVERFLOW)))
    }

    #[inline(always)]
    fn split(self) -> Part {
        if self.0 >= Place::FIRST_OVERFLOW {
            Part::Overflow((self.0 - Place::FIRST_OVERFLOW) as usize)
        } else if self.0 >= Place::FIRST_BUCKET {
            let line = (self.0 - Place::FIRST_BUCKET) as usize;
            Part::Bucket(line / SLOTS, line % SLOTS)
        } else {
            Part::Stash(self.0 as usize)
        }
    }
}

enum Part {
    Stash(usize),
    Bucket(usize, usize),
    Overflow(usize),
}

/// Shared view of a segment.
#[derive(Clone, Copy)]
pub(super) struct Segment<'a> {
    header: &'a Header,
    pub(super) buckets: &'a [Bucket],
}

impl<'a> Segment<'a> {
    pub(super) fn overflow_len(self) -> usize {
        self.header
            .overflow
            .as_ref()
            .map_or(0, |list| list.words.len())
    }

    /// Words of stash and overflow list that hold an entry, with their places.
    pub(super) fn stashed(self) -> impl Iterator<Item = (Place, Packed)> + use<'a> {
        let overflow = self
            .header
            .overflow
            .as_deref()
            .map_or(&[][..], |list| list.words.as_slice());
        let stash = self.header.stash.iter().enumerate();
        stash
            .map(|(slot, word)| (Place::stash(slot), *word))
            .chain(
                overflow
                    .iter()
                    .enumerate()
                    .map(|(index, word)| (Place::overflow(index), *word)),
            )
            .filter(|(_, word)| !word.is_empty())
    }

    /// Every word that holds an entry.
    pub(super) fn words(self) -> impl Iterator<Item = Packed> + use<'a> {
        self.buckets
            .iter()
            .flat_map(Bucket::words)
            .filter(|word| !word.is_empty())
            .chain(self.stashed().map(|(_, word)| word))
    }

    /// Every word that holds an entry, buckets in order first.
    pub(super) fn gather(self) -> Gathered {
        // Each word is written, and counted if it holds an entry: no branch to mispredict. The
        // place after the last possible entry takes what an empty word writes.
        let mut words = [Packed::EMPTY; MAX_ENTRIES + 1];
        let mut len = 0;
        for bucket in self.buckets {
            for word in bucket.words() {
                words[len & MAX_ENTRIES] = word;
                len += usize::from(!word.is_empty());
            }
        }
        let mut gathered = Gathered::from_buf_and_len(words, len);
        gathered.extend(self.stashed().map(|(_, word)| word));
        gathered
    }

    /// The words whose home is `home`, wherever they lie.
    pub(super) fn words_of_home(self, home: usize) -> impl Iterator<Item = Packed> + use<'a> {
        let count = self.buckets.len();
        let flags = self.buckets[home].flags();
        let lines = if flags & NEIGHBOUR != 0 { 2 } else { 1 };
        let stashed = (flags & STASH != 0).then(|| self.stashed().map(|(_, word)| word));
        self.buckets[home..]
            .iter()
            .take(lines)
            .flat_map(Bucket::words)
            .filter(|word| !word.is_empty())
            .chain(stashed.into_iter().flatten())
            .filter(move |word| home_of(word.tag(), count) == home)
    }

    /// The word at a place, or an empty one when there is no such place.
    pub(super) fn at(self, place: Place) -> Packed {
        let word = match place.split() {
            Part::Stash(slot) => self.header.stash.get(slot).copied(),
            Part::Bucket(bucket, slot) => self.buckets.get(bucket).map(|line| line.get(slot)),
            Part::Overflow(index) => self
                .header
                .overflow
                .as_ref()
                .and_then(|list| list.words.get(index).copied()),
        };
        word.unwrap_or(Packed::EMPTY)
    }
}

/// Exclusive view of a segment.
pub(super) struct SegmentMut<'a> {
    header: &'a mut Header,
    buckets: &'a mut [Bucket],
}

impl SegmentMut<'_> {
    #[inline(always)]
    fn home(&self, packed: Packed) -> usize {
        home_of(packed.tag(), self.buckets.len())
    }

    fn shared(&self) -> Segment<'_> {
        Segment {
            header: self.header,
            buckets: self.buckets,
        }
    }

    /// Puts an entry into its home, else the neighbour, else the stash. False when all are full.
    #[inline]
    pub(super) fn place(&mut self, packed: Packed) -> bool {
        let home = self.home(packed);
        if let Some(slot) = self.buckets[home].free_slot() {
            self.buckets[home].set(slot, packed);
            return true;
        }
        if let Some(next) = self.buckets.get_mut(home + 1)
            && let Some(slot) = next.free_slot()
        {
            next.set(slot, packed);
            self.buckets[home].raise(NEIGHBOUR);
            return true;
        }
        if home + 1 < self.buckets.len()
            && let Some(slot) = self.make_room(home + 1)
        {
            self.buckets[home + 1].set(slot, packed);
            self.buckets[home].raise(NEIGHBOUR);
            return true;
        }
        let Some(free) = self.header.stash.iter_mut().find(|word| word.is_empty()) else {
            return false;
        };
        *free = packed;
        self.buckets[home].raise(STASH);
        true
    }

    /// Frees a slot in a full bucket by moving one of its own entries to the next bucket, which may
    /// have to do the same first.
    fn make_room(&mut self, bucket: usize) -> Option<usize> {
        let count = self.buckets.len();
        let reach = (bucket + 1 + SHIFT_REACH).min(count);
        let (mut to, mut free) =
            (bucket + 1..reach).find_map(|b| Some((b, self.buckets[b].free_slot()?)))?;
        while to > bucket {
            let from = to - 1;
            // A bucket full of displaced entries has none that may move on.
            let (slot, moved) = self.find_in_bucket(from, from)?;
            self.buckets[to].set(free, moved);
            self.buckets[from].set(slot, Packed::EMPTY);
            self.buckets[from].raise(NEIGHBOUR);
            (to, free) = (from, slot);
        }
        Some(free)
    }

    /// The first entry in `bucket` whose home is `home`.
    fn find_in_bucket(&self, bucket: usize, home: usize) -> Option<(usize, Packed)> {
        let count = self.buckets.len();
        let line = self.buckets.get(bucket)?;
        let slot = line.first_of_home(home, count)?;
        Some((slot, line.get(slot)))
    }

    /// The last resort, without limit.
    #[cold]
    pub(super) fn push_overflow(&mut self, packed: Packed) {
        let home = self.home(packed);
        self.header
            .overflow
            .get_or_insert_with(|| Box::new(Overflow { words: Vec::new() }))
            .words
            .push(packed);
        self.buckets[home].raise(STASH);
    }

    /// Fills an empty segment. Returns the entries that found no room. Homes go first, so that
    /// displaced entries do not displace others in turn.
    fn fill(&mut self, entries: &[Packed]) -> SmallVec<[Packed; 64]> {
        let mut filled = [0u8; MAX_BUCKETS + 2];
        let mut displaced: SmallVec<[Packed; 64]> = SmallVec::new();
        for &packed in entries {
            let home = self.home(packed);
            let slot = usize::from(filled[home]);
            if slot < SLOTS {
                self.buckets[home].set_in_fresh(slot, packed);
                filled[home] += 1;
            } else {
                displaced.push(packed);
            }
        }
        // No neighbour after the last bucket.
        filled[self.buckets.len()] = SLOTS as u8;
        displaced.retain(|packed| {
            let home = self.home(*packed);
            let slot = usize::from(filled[home + 1]);
            if slot == SLOTS {
                return true;
            }
            self.buckets[home + 1].set(slot, *packed);
            self.buckets[home].raise(NEIGHBOUR);
            filled[home + 1] += 1;
            false
        });
        displaced.retain(|packed| !self.place(*packed));
        displaced
    }

    /// Exchanges the entry at a place for another one with the same hash.
    pub(super) fn replace(&mut self, place: Place, packed: Packed) {
        match place.split() {
            Part::Stash(slot) => self.header.stash[slot] = packed,
            Part::Bucket(bucket, slot) => self.buckets[bucket].set(slot, packed),
            Part::Overflow(index) => {
                if let Some(list) = &mut self.header.overflow {
                    list.words[index] = packed;
                }
            }
        }
    }

    /// Empties a place that holds an entry. Returns whether the overflow list got shorter (and not
    /// the number of entries in buckets and stash).
    pub(super) fn take(&mut self, place: Place) -> bool {
        let removed = self.shared().at(place);
        let home = self.home(removed);
        match place.split() {
            Part::Bucket(bucket, slot) => {
                self.buckets[bucket].set(slot, Packed::EMPTY);
                if home != bucket {
                    self.settle_neighbour(home);
                }
                self.refill(bucket, slot)
            }
            part => {
                let shorter = self.take_stashed(part);
                self.settle_stash(home);
                shorter
            }
        }
    }

    /// Moves an entry that belongs to `bucket` back into the slot that became free there: from the
    /// stash, else from the next bucket, which is then refilled in turn. Keeps both few under
    /// churn. Returns whether the overflow list got shorter.
    fn refill(&mut self, mut bucket: usize, mut slot: usize) -> bool {
        let count = self.buckets.len();
        loop {
            let flags = self.buckets[bucket].flags();
            if flags & STASH != 0 {
                let of_bucket = |(_, word): &(Place, Packed)| home_of(word.tag(), count) == bucket;
                let Some((place, packed)) = self.shared().stashed().find(of_bucket) else {
                    unreachable!("flag STASH without a stashed entry")
                };
                self.buckets[bucket].set(slot, packed);
                let shorter = self.take_stashed(place.split());
                self.settle_stash(bucket);
                return shorter;
            }
            if flags & NEIGHBOUR == 0 {
                return false;
            }
            let Some((hole, packed)) = self.find_in_bucket(bucket + 1, bucket) else {
                unreachable!("flag NEIGHBOUR without a displaced entry")
            };
            self.buckets[bucket].set(slot, packed);
            self.buckets[bucket + 1].set(hole, Packed::EMPTY);
            self.settle_neighbour(bucket);
            (bucket, slot) = (bucket + 1, hole);
        }
    }

    /// Removes from stash or overflow list; a hole in the stash is filled from the list.
    fn take_stashed(&mut self, part: Part) -> bool {
        let list = self.header.overflow.as_mut().map(|list| &mut list.words);
        let shorter = match (part, list) {
            (Part::Overflow(index), Some(list)) => {
                list.swap_remove(index);
                true
            }
            (Part::Stash(slot), list) => {
                let last = list.and_then(Vec::pop);
                self.header.stash[slot] = last.unwrap_or(Packed::EMPTY);
                last.is_some()
            }
            _ => false,
        };
        if let Some(list) = &mut self.header.overflow
            && shorter
        {
            if list.words.is_empty() {
                self.header.overflow = None;
            } else if list.words.len() * 4 < list.words.capacity() {
                list.words.shrink_to(list.words.len() * 2);
            }
        }
        shorter
    }

    /// Clears the neighbour flag of `home` if no entry of its lies there any more.
    fn settle_neighbour(&mut self, home: usize) {
        if self.find_in_bucket(home + 1, home).is_none() {
            self.buckets[home].lower(NEIGHBOUR);
        }
    }

    /// Clears the stash flag of `home` if no entry of its lies there any more.
    fn settle_stash(&mut self, home: usize) {
        let count = self.buckets.len();
        let any = self
            .shared()
            .stashed()
            .any(|(_, word)| home_of(word.tag(), count) == home);
        if !any {
            self.buckets[home].lower(STASH);
        }
    }
}
