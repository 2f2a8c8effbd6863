//! The large form: a table of members by name and a tree of them by score.

use super::Inserted;
use super::member::Member;
use super::score::key_of;
use super::tree::{Bound, Entries, Tree};
use super::undo::Before;
use crate::Element;
use crate::deadlines::Deadlines;
use crate::hash_seed::{Ahead, hash_of};
use crate::journal;
use crate::table::{HashOf, Slot, Table, cursor, prefetch};
use smallvec::SmallVec;
use std::ops::Range;
use std::ptr::NonNull;

/// Blocks that are fetched ahead when all are read.
const LOOKAHEAD: usize = 16;

/// Table and tree over the same members. This struct owns their blocks.
///
/// Invariant: every pointer in the table is a live block, and the tree has the same blocks, each
/// under the key of the score in it; `deadlines` has those with a deadline, and is none when there
/// are none.
pub(super) struct Indexed {
    table: Table,
    tree: Tree,
    deadlines: Option<Box<Deadlines>>,
    /// Bytes of all members' blocks.
    block_bytes: usize,
    pub(super) journal: journal::Slot<Before>,
}

// SAFETY: blocks are owned by this alone, and shared borrows only read.
unsafe impl Send for Indexed {}
// SAFETY: methods taking &self only read the blocks.
unsafe impl Sync for Indexed {}

/// Hashes the member in a block.
struct ByText;

impl HashOf for ByText {
    fn hash(&self, block: NonNull<u8>) -> u64 {
        // SAFETY: the tables with this hasher hold blocks of members only, and a member leaves its
        // table before it is freed. The borrow of the text ends here.
        hash_of(unsafe { Member::from_ptr(block).text() })
    }
}

/// Members by name, without order, for a builder.
pub(super) struct Members {
    table: Table,
    block_bytes: usize,
}

/// The slot of a member.
fn find(table: &Table, hash: u64, text: &[u8]) -> Option<(Slot, Member)> {
    // SAFETY: both tables of this module hold blocks of members only, and a member leaves its table
    // before it is freed.
    let member_at = |block| unsafe { Member::from_ptr(block) };
    // SAFETY: the member is live, and the borrow of its text ends with the comparison.
    let same = |block| unsafe { member_at(block).text() } == text;
    let slot = table.find(hash, same)?;
    Some((slot, member_at(table.get(slot))))
}

/// The same member in a block that has room for any score.
///
/// # Safety
/// The member is live.
unsafe fn with_score(member: Member, score: f64) -> Member {
    // SAFETY: the member is live, and the borrow of its text ends when the new one is made.
    unsafe { Member::new(member.text(), score, member.deadline()) }
}

impl Members {
    pub(super) fn new() -> Members {
        Members {
            table: Table::new(0),
            block_bytes: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Adds a member, or combines its score with the one that is there (there, new).
    pub(super) fn merge(&mut self, text: &[u8], score: f64, combine: impl FnOnce(f64, f64) -> f64) {
        let hash = hash_of(text);
        let Some((slot, member)) = find(&self.table, hash, text) else {
            return self.add(hash, Member::new(text, score, None));
        };
        // SAFETY: members in the table are live; the old block is freed when nothing names it.
        unsafe {
            let score = combine(member.score(), score);
            if !member.set_score(score) {
                let new = with_score(member, score);
                self.table.replace(slot, new.as_ptr());
                self.block_bytes += new.block_bytes();
                self.block_bytes -= member.block_bytes();
                member.free();
            }
        }
    }

    fn add(&mut self, hash: u64, member: Member) {
        self.table.insert(hash, member.as_ptr(), &ByText);
        // SAFETY: a member is live until it is freed.
        self.block_bytes += unsafe { member.block_bytes() };
    }

    /// All members with their keys, in order, in a list that may have room.
    pub(super) fn sort(&self, mut room: Vec<(u64, Member)>) -> Vec<(u64, Member)> {
        room.clear();
        room.reserve(self.table.len());
        let blocks = self.table.iter();
        let ahead = self.table.iter().skip(LOOKAHEAD).map(Some);
        for (block, ahead) in blocks.zip(ahead.chain(std::iter::repeat(None))) {
            if let Some(ahead) = ahead {
                prefetch(ahead.as_ptr());
            }
            // SAFETY: the table holds blocks of members only, which this struct frees in its drop.
            let (member, score) = unsafe {
                let member = Member::from_ptr(block);
                (member, member.score())
            };
            room.push((key_of(score), member));
        }
        room.sort_unstable_by(|a, b| {
            // SAFETY: both members are in the table, which this borrows, so they are live.
            a.0.cmp(&b.0)
                .then_with(|| unsafe { a.1.text().cmp(b.1.text()) })
        });
        room
    }

    /// The sorted set of the members; `order` is what `sort` returned.
    pub(super) fn index(mut self, order: &[(u64, Member)]) -> Indexed {
        Indexed {
            tree: Tree::build(order),
            table: std::mem::replace(&mut self.table, Table::new(0)),
            deadlines: None,
            block_bytes: self.block_bytes,
            journal: journal::Slot::default(),
        }
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        self.table.drain(|block| {
            // SAFETY: the blocks in the table are live, and this is their last use.
            unsafe { Member::from_ptr(block).free() }
        });
    }
}

impl Indexed {
    /// A sorted set of different members, which come in order.
    pub(super) fn from_sorted(members: impl Iterator<Item = Member>) -> Indexed {
        let mut all = Members::new();
        let mut deadlines: Option<Box<Deadlines>> = None;
        let order: Vec<(u64, Member)> = members
            .map(|member| {
                // SAFETY: a member is live until it is freed.
                unsafe {
                    all.add(hash_of(member.text()), member);
                    if let Some(deadline) = member.deadline() {
                        let deadlines = deadlines.get_or_insert_default();
                        deadlines.insert(deadline, member.as_ptr());
                    }
                    (key_of(member.score()), member)
                }
            })
            .collect();
        let mut indexed = all.index(&order);
        indexed.deadlines = deadlines;
        indexed
    }

    pub(super) fn len(&self) -> usize {
        self.tree.len()
    }

    /// Exact, but for the index of deadlines.
    pub(super) fn heap_bytes(&self) -> usize {
        let deadlines = self.deadlines.as_ref().map_or(0, |it| it.heap_bytes());
        size_of::<Indexed>()
            + self.table.memory_usage()
            + self.tree.bytes()
            + self.block_bytes
            + deadlines
    }

    fn find(&self, text: &[u8]) -> Option<(Slot, Member)> {
        find(&self.table, hash_of(text), text)
    }

    #[inline]
    pub(super) fn look_ahead(&self, hash: u64, step: Ahead) {
        match step {
            Ahead::Bucket => self.table.prefetch_bucket(hash),
            Ahead::Elements => self.table.prefetch_entry(hash),
        }
    }

    pub(super) fn score(&self, text: &[u8]) -> Option<f64> {
        let (_, member) = self.find(text)?;
        // SAFETY: members are live.
        Some(unsafe { member.score() })
    }

    pub(super) fn rank(&self, text: &[u8]) -> Option<(usize, f64)> {
        let (_, member) = self.find(text)?;
        // SAFETY: members are live.
        let score = unsafe { member.score() };
        Some((self.tree.rank(key_of(score), member)?, score))
    }

    pub(super) fn insert(&mut self, text: &[u8], score: f64) -> Inserted {
        let hash = hash_of(text);
        let key = key_of(score);
        // The tree is searched while the table's bucket comes into the cache. For a member that is
        // there already it is where the member goes now, so at least that leaf comes into the
        // cache.
        self.table.prefetch_bucket(hash);
        let gap = self.tree.gap(key, text);
        if let Some((slot, member)) = find(&self.table, hash, text) {
            // SAFETY: members are live.
            if unsafe { member.score() } == score {
                return Inserted::Same;
            }
            // SAFETY: members are live.
            unsafe { self.note(member) };
            self.set_score(slot, member, score);
            return Inserted::Moved;
        }
        self.note_absent(text);
        let member = Member::new(text, score, None);
        // SAFETY: the block is new.
        self.block_bytes += unsafe { member.block_bytes() };
        self.tree.insert_at(gap, key, member);
        self.table.insert(hash, member.as_ptr(), &ByText);
        Inserted::Added
    }

    fn set_score(&mut self, slot: Slot, member: Member, score: f64) {
        let key = key_of(score);
        // SAFETY: members are live; the tree does not read this one between place and shift, or
        // while it is out; an old block is freed when nothing names it.
        unsafe {
            let Some(place) = self.tree.place(key_of(member.score()), member) else {
                unreachable!("table and tree have the same members")
            };
            let stays = self.tree.stays(&place, key, member);
            let moved = if stays {
                let moved = self.written(member, score);
                self.tree.shift(place, key, moved);
                moved
            } else {
                self.tree.remove_place(place);
                let moved = self.written(member, score);
                self.tree.insert(key, moved);
                moved
            };
            if moved != member {
                self.replace(slot, member, moved);
            }
        }
    }

    /// The member with another score: in its block, or in a new one.
    ///
    /// # Safety
    /// The member is live, and neither read by the tree nor otherwise.
    unsafe fn written(&mut self, member: Member, score: f64) -> Member {
        // SAFETY: the member is live and not borrowed.
        unsafe {
            if member.set_score(score) {
                member
            } else {
                with_score(member, score)
            }
        }
    }

    /// A member got another block, which is in the tree already; frees the old one.
    ///
    /// # Safety
    /// Both are live; the slot is that of the old one.
    unsafe fn replace(&mut self, slot: Slot, old: Member, new: Member) {
        self.table.replace(slot, new.as_ptr());
        // SAFETY: both are live; the old one is neither in table nor tree when it is freed.
        unsafe {
            self.forget_deadline(old);
            if let Some(deadline) = new.deadline() {
                let deadlines = self.deadlines.get_or_insert_default();
                deadlines.insert(deadline, new.as_ptr());
            }
            self.block_bytes += new.block_bytes();
            self.block_bytes -= old.block_bytes();
            old.free();
        }
    }

    /// # Safety
    /// The member is live.
    unsafe fn forget_deadline(&mut self, member: Member) {
        // SAFETY: the member is live.
        if let Some(deadline) = unsafe { member.deadline() }
            && let Some(deadlines) = &mut self.deadlines
        {
            deadlines.remove(deadline, member.as_ptr());
            if deadlines.is_empty() {
                self.deadlines = None;
            }
        }
    }

    pub(super) fn remove(&mut self, text: &[u8]) -> Option<f64> {
        let (slot, member) = self.find(text)?;
        // SAFETY: members are live until they are freed, when nothing names them.
        unsafe {
            self.note(member);
            let score = member.score();
            self.tree.remove(key_of(score), member);
            self.table.remove(slot, &ByText);
            self.free(member);
            Some(score)
        }
    }

    /// Frees a member that is neither in the table nor in the tree.
    ///
    /// # Safety
    /// The member is live and not used again.
    unsafe fn free(&mut self, member: Member) {
        // SAFETY: the member is live, and not used again.
        unsafe {
            self.forget_deadline(member);
            self.block_bytes -= member.block_bytes();
            member.free();
        }
    }

    pub(super) fn remove_range(
        &mut self,
        ranks: Range<usize>,
        removed: &mut dyn FnMut(Element<'_>, f64),
    ) -> usize {
        let mut left = ranks.len();
        while left > 0 {
            let members = self.tree.remove_some(ranks.start, left);
            if members.is_empty() {
                break;
            }
            left -= members.len();
            self.take(&members, removed);
        }
        ranks.len() - left
    }

    /// Removes members from the table that are out of the tree, all from one leaf.
    fn take(&mut self, members: &[Member], removed: &mut dyn FnMut(Element<'_>, f64)) {
        members.iter().for_each(|it| prefetch(it.as_ptr().as_ptr()));
        let hash = |member: &Member| {
            let hash = ByText.hash(member.as_ptr());
            self.table.prefetch_bucket(hash);
            hash
        };
        let hashes: SmallVec<[u64; 128]> = members.iter().map(hash).collect();
        for (member, hash) in members.iter().zip(hashes) {
            if let Some(slot) = self.table.find(hash, |block| block == member.as_ptr()) {
                self.table.remove(slot, &ByText);
            }
            // SAFETY: the member is live until it is freed, when nothing names it.
            unsafe {
                self.note(*member);
                let (text, score) = member.pair();
                removed(text, score);
                self.free(*member);
            }
        }
    }

    pub(super) fn range(&self, ranks: Range<usize>) -> Entries<'_> {
        self.tree.range(ranks.start, ranks.end)
    }

    pub(super) fn count_before(&self, bound: &impl Bound) -> usize {
        self.tree.count_before(bound)
    }

    pub(super) fn scan(&self, cursor: u64, mut visit: impl FnMut(Element<'_>, f64)) -> u64 {
        let Some(position) = cursor::to_position(cursor) else {
            return 0;
        };
        let next = self.table.scan(position, &ByText, |block| {
            // SAFETY: the table holds blocks of members only; they are live while the set is
            // borrowed.
            let (text, score) = unsafe { Member::from_ptr(block).pair() };
            visit(text, score);
        });
        cursor::from_position(next)
    }

    pub(super) fn deadline(&self, text: &[u8]) -> Option<Option<u64>> {
        let (_, member) = self.find(text)?;
        // SAFETY: members are live.
        Some(unsafe { member.deadline() })
    }

    pub(super) fn set_deadline(&mut self, text: &[u8], deadline: Option<u64>) -> bool {
        let Some((slot, member)) = self.find(text) else {
            return false;
        };
        // SAFETY: members are live; the old block is freed when nothing names it.
        unsafe {
            if member.deadline() == deadline {
                return true;
            }
            self.note(member);
            let score = member.score();
            let new = Member::new(member.text(), score, deadline);
            let Some(place) = self.tree.place(key_of(score), member) else {
                unreachable!("table and tree have the same members")
            };
            self.tree.shift(place, key_of(score), new);
            self.replace(slot, member, new);
        }
        true
    }

    pub(super) fn volatile_len(&self) -> usize {
        self.deadlines
            .as_ref()
            .map_or(0, |deadlines| deadlines.len())
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.deadlines
            .as_ref()?
            .first()
            .map(|(deadline, _)| deadline)
    }

    pub(super) fn expire(
        &mut self,
        now_ms: u64,
        budget: usize,
        expired: &mut dyn FnMut(&[u8]),
    ) -> usize {
        for count in 0..budget {
            let first = self.deadlines.as_ref().and_then(|it| it.first());
            let Some((_, block)) = first.filter(|(deadline, _)| *deadline <= now_ms) else {
                return count;
            };
            // SAFETY: the index has blocks of members only, each until the member is freed; `take`
            // frees this one when it is in neither tree nor table.
            unsafe {
                let member = Member::from_ptr(block);
                self.tree.remove(key_of(member.score()), member);
                self.take(&[member], &mut |text, _| {
                    expired(text.as_bytes(&mut { crate::DIGITS }));
                });
            }
        }
        budget
    }

    /// Checks that table, tree and sums agree.
    #[cfg(test)]
    pub(super) fn check(&self) {
        self.tree.check();
        assert_eq!(self.table.len(), self.tree.len());
        let (mut bytes, mut volatile) = (0, 0);
        for member in self.tree.range(0, self.len()) {
            // SAFETY: members are live.
            unsafe {
                assert_eq!(self.find(member.text()).unwrap().1, member);
                bytes += member.block_bytes();
                volatile += usize::from(member.deadline().is_some());
            }
        }
        assert_eq!((bytes, volatile), (self.block_bytes, self.volatile_len()));
        assert_eq!(self.deadlines.is_some(), volatile > 0);
    }
}

impl Clone for Indexed {
    fn clone(&self) -> Self {
        Indexed::from_sorted(self.tree.range(0, self.len()).map(|member| {
            // SAFETY: members are live.
            unsafe { Member::new(member.text(), member.score(), member.deadline()) }
        }))
    }
}

impl Drop for Indexed {
    fn drop(&mut self) {
        // SAFETY: the members are live, and this is their last use: the table does not read them.
        self.tree.drain(|member| unsafe { member.free() });
    }
}
