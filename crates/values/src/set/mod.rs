//! Sets: members, each once, and for some a deadline.
//!
//! A small set is an intset while all members are integers, else a listpack; a large one is a
//! table. Which it is follows Redis's rules, since OBJECT ENCODING shows it: a set only ever goes
//! on to the next form. Only the table stores deadlines.

mod algebra;
#[cfg(test)]
mod tests;

pub use algebra::{difference, intersect, union};

use crate::distinct::all_distinct;
use crate::elements::{Block, Elements};
use crate::hash_seed::{AHEAD_MIN, Ahead};
use crate::intset::{self, Intset, IntsetView};
use crate::listpack::{self, Listpack, View};
use crate::malformed::Malformed;
use crate::owner::{Editing, Owner, forms};
use crate::{DIGITS, Element, Thresholds, alloc, number};
use std::fmt;

/// The representation of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetEncoding {
    /// A sorted array of integers.
    Intset,
    /// A packed list of members.
    Listpack,
    /// A hash table.
    Table,
}

/// A set: eight bytes that own one of the three forms.
#[repr(transparent)]
pub struct Set {
    owner: Owner,
}

forms! {
    /// A set, borrowed for reading.
    Set, SetView {
        0 => Intset(Intset) as IntsetView<'a>, intset, intset_mut;
        1 => Listpack(Listpack) as View<'a>, listpack, listpack_mut;
        2 => Table(Box<Elements>) as &'a Elements, table, table_mut;
    }
}

/// How many members [`SetView::contains_many`] and the set operations look for at a time: enough to
/// have all their cache misses at once, few enough to be in the cache still when they are read.
const BATCH: usize = 32;

/// An iterator over the members of one of the forms.
enum Members<I, L, T> {
    Intset(I),
    Listpack(L),
    Table(T),
}

impl<'a, I, L, T> Iterator for Members<I, L, T>
where
    I: Iterator<Item = i64>,
    L: Iterator<Item = Element<'a>>,
    T: Iterator<Item = Block<'a>>,
{
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        match self {
            Members::Intset(members) => members.next().map(Element::Int),
            Members::Listpack(members) => members.next(),
            Members::Table(members) => Some(Element::Bytes(members.next()?.key())),
        }
    }
}

impl Set {
    /// An empty set.
    pub fn new() -> Set {
        Set::intset(Intset::new())
    }

    /// An empty set for `members` members, duplicates included, of which `first` is the first. It
    /// begins as a table if they are too many for a packed form.
    pub fn with_capacity_hint(first: &[u8], members: usize, limits: &Thresholds) -> Set {
        if number::parse_canonical(first).is_some() && members <= limits.set_integers {
            Set::new()
        } else if members <= limits.set_entries {
            Set::listpack(Listpack::new())
        } else {
            Set::table(Elements::new())
        }
    }

    /// The set as a table, which it becomes if it is not one.
    fn make_table(&mut self) -> Option<Editing<'_, Box<Elements>>> {
        if self.encoding() != SetEncoding::Table {
            let mut elements = Elements::new();
            for member in self.iter() {
                elements.add_absent(member.as_bytes(&mut { DIGITS }), None);
            }
            *self = Set::table(elements);
        }
        self.table_mut()
    }

    /// A set from an intset, as Redis saves it.
    ///
    /// # Errors
    /// When the bytes are not an intset.
    pub fn from_intset(bytes: &[u8]) -> Result<Set, Malformed> {
        Intset::from_bytes(bytes).map(Set::intset)
    }

    /// A set from a listpack of its members, as Redis saves it.
    ///
    /// # Errors
    /// When the bytes are not a listpack, or a member is there twice.
    pub fn from_listpack(bytes: &[u8]) -> Result<Set, Malformed> {
        let pack = Listpack::from_bytes(bytes)?;
        if !all_distinct(pack.view().iter()) {
            return Err(Malformed("a member of the set is there twice"));
        }
        Ok(Set::listpack(pack))
    }

    /// Prepares for so many new members, duplicates included: leaves a packed form at once when
    /// they are too many for it.
    pub fn prepare(&mut self, members: usize, limits: &Thresholds) {
        let most = match self.form() {
            Form::Intset(_) => limits.set_integers,
            Form::Listpack(_) => limits.set_entries,
            Form::Table(_) => return,
        };
        if members > most {
            self.make_table();
        }
    }

    /// Adds a member. True when it is new.
    #[inline]
    pub fn add(&mut self, member: &[u8], limits: &Thresholds) -> bool {
        if let Some(mut elements) = self.table_mut() {
            return elements.add(member);
        }
        self.add_packed(member, limits)
    }

    fn add_packed(&mut self, member: &[u8], limits: &Thresholds) -> bool {
        let room = match self.form() {
            Form::Intset(integers) => match number::parse_canonical(member) {
                Some(value) => return self.add_integer(value, member, limits),
                None => self.fits_listpack(integers, limits),
            },
            Form::Listpack(pack) if listed(pack, member) => return false,
            Form::Listpack(pack) => Some(pack.byte_len()),
            Form::Table(_) => None,
        };
        let bytes = listpack::encoded_len(member);
        let stays = room.is_some_and(|used| used.saturating_add(bytes) <= listpack::BYTES_MAX)
            && self.len() < limits.set_entries
            && member.len() <= limits.set_value;
        if stays && let Some(mut pack) = self.make_listpack() {
            return pack.push_back(member);
        }
        let table = self.make_table();
        table.is_some_and(|mut elements| elements.add(member))
    }

    /// Adds to an intset.
    fn add_integer(&mut self, value: i64, text: &[u8], limits: &Thresholds) -> bool {
        let Some(mut integers) = self.intset_mut() else {
            return false;
        };
        let most = limits.set_integers.min(intset::MEMBERS_MAX);
        if integers.len() < most {
            return integers.insert(value);
        }
        if integers.contains(value) {
            return false;
        }
        let is_empty = integers.is_empty();
        drop(integers);
        if is_empty {
            // No integers are wanted in intsets: a new set begins in the next form.
            *self = Set::listpack(Listpack::new());
            return self.add_packed(text, limits);
        }
        let table = self.make_table();
        table.is_some_and(|mut elements| elements.add(text))
    }

    /// The set as a listpack, which an intset becomes.
    fn make_listpack(&mut self) -> Option<Editing<'_, Listpack>> {
        if let Form::Intset(integers) = self.form() {
            let mut pack = Listpack::new();
            if !pack.push_back_elements(integers.iter().map(Element::Int)) {
                return None;
            }
            *self = Set::listpack(pack);
        }
        self.listpack_mut()
    }

    /// Removes a member. True when it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        if let Some(mut elements) = self.table_mut() {
            return elements.remove(member);
        }
        if let Some(mut integers) = self.intset_mut() {
            let value = number::parse_canonical(member);
            return value.is_some_and(|value| integers.remove(value));
        }
        let Some(mut pack) = self.listpack_mut() else {
            return false;
        };
        let view = pack.view();
        let found = view.first().and_then(|first| view.find(first, member, 0));
        if let Some(at) = found {
            pack.remove(at);
        }
        found.is_some()
    }

    /// Takes a random member out.
    pub fn pop(&mut self, rng: &mut impl FnMut() -> u64) -> Option<Vec<u8>> {
        if let Some(mut elements) = self.table_mut() {
            return elements.pop(rng);
        }
        if let Some(mut integers) = self.intset_mut() {
            let value = integers.view().random(rng)?;
            integers.remove(value);
            return Some(Element::Int(value).to_vec());
        }
        let mut pack = self.listpack_mut()?;
        let index = rng().checked_rem(pack.len() as u64)? as usize;
        let at = pack.view().nth(index)?;
        let member = pack.view().get(at).to_vec();
        pack.remove(at);
        Some(member)
    }

    /// Sets or clears the deadline of a member. False when there is no such member.
    pub fn set_deadline(&mut self, member: &[u8], deadline: Option<u64>) -> bool {
        if self.encoding() != SetEncoding::Table {
            let found = self.contains(member);
            if !found || deadline.is_none() {
                return found;
            }
        }
        let table = self.make_table();
        table.is_some_and(|mut elements| elements.set_deadline(member, deadline))
    }

    /// Removes at most `budget` members whose deadline is not after `now_ms`, the earliest first.
    /// Passes each to `expired` before the removal. Returns how many.
    pub fn expire(&mut self, now_ms: u64, budget: usize, expired: &mut dyn FnMut(&[u8])) -> usize {
        let table = self.table_mut();
        table.map_or(0, |mut elements| elements.expire(now_ms, budget, expired))
    }

    /// Leaves a packed form when it has more members than the limit, after loading it. Long members
    /// stay, as in Redis, until the next member comes.
    pub fn convert(&mut self, limits: &Thresholds) {
        self.prepare(self.len(), limits);
    }

    /// Begins a journal of changes, or a part of one; returns its mark. `None` for a packed form,
    /// which has no journal.
    pub fn begin_journal(&mut self) -> Option<usize> {
        self.table_mut()
            .map(|mut elements| elements.begin_journal())
    }

    /// Keeps what was done since the last beginning.
    pub fn end_journal(&mut self) {
        if let Some(mut elements) = self.table_mut() {
            elements.end_journal();
        }
    }

    /// Takes back what was done since the beginning that returned `mark`, the last one.
    pub fn roll_back(&mut self, mark: usize) {
        if let Some(mut elements) = self.table_mut() {
            elements.roll_back(mark);
        }
    }
}

impl SetView {
    /// Number of members.
    #[inline]
    pub fn len(&self) -> usize {
        match self.form() {
            Form::Intset(integers) => integers.len(),
            Form::Listpack(pack) => pack.len(),
            Form::Table(elements) => elements.len(),
        }
    }

    /// True when there are no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How the set is represented.
    pub fn encoding(&self) -> SetEncoding {
        match self.form() {
            Form::Intset(_) => SetEncoding::Intset,
            Form::Listpack(_) => SetEncoding::Listpack,
            Form::Table(_) => SetEncoding::Table,
        }
    }

    /// The intset or listpack, when the set is packed.
    pub fn pack_bytes(&self) -> Option<&[u8]> {
        match self.form() {
            Form::Intset(integers) => Some(integers.bytes()),
            Form::Listpack(pack) => Some(pack.bytes()),
            Form::Table(_) => None,
        }
    }

    /// True when `member` is in the set.
    #[inline]
    pub fn contains(&self, member: &[u8]) -> bool {
        match self.form() {
            Form::Intset(integers) => {
                number::parse_canonical(member).is_some_and(|value| integers.contains(value))
            }
            Form::Listpack(pack) => listed(pack, member),
            Form::Table(elements) => elements.get(member).is_some(),
        }
    }

    /// As [`SetView::contains`], for an element of another collection.
    #[inline]
    pub fn contains_element(&self, member: Element<'_>) -> bool {
        match (self.form(), member) {
            (Form::Intset(integers), Element::Int(value)) => integers.contains(value),
            (_, Element::Bytes(text)) => self.contains(text),
            (_, Element::Int(_)) => self.contains(member.as_bytes(&mut { DIGITS })),
        }
    }

    /// Looks for many members as [`SetView::contains`], and passes to `visit` which are present, in
    /// their order. In a large set this is much faster than one after the other.
    pub fn contains_many<'m>(
        &self,
        members: impl IntoIterator<Item = &'m [u8]>,
        mut visit: impl FnMut(bool),
    ) {
        let members = members.into_iter();
        match self.form() {
            Form::Table(elements) => {
                elements.get_many::<BATCH>(members, |found| visit(found.is_some()));
            }
            _ => members.for_each(|member| visit(self.contains(member))),
        }
    }

    /// The most bytes that an intset can take as a listpack, if its members are short enough for
    /// one.
    fn fits_listpack(&self, integers: IntsetView<'_>, limits: &Thresholds) -> Option<usize> {
        let ends = [integers.first(), integers.last()].into_iter().flatten();
        let mut longest = 0;
        for end in ends {
            if number::text_len(end) > limits.set_value {
                return None;
            }
            longest = longest.max(listpack::encoded_element_len(Element::Int(end)));
        }
        Some(longest * integers.len())
    }

    /// All members.
    pub fn iter(&self) -> impl Iterator<Item = Element<'_>> {
        match self.form() {
            Form::Intset(integers) => Members::Intset(integers.iter()),
            Form::Listpack(pack) => Members::Listpack(pack.iter()),
            Form::Table(elements) => Members::Table(elements.iter()),
        }
    }

    /// Visits some members from a cursor on and returns the next cursor, 0 at the end. The packed
    /// forms visit all members; the large one gives the guarantees of [`crate::table`], but for a
    /// scan during which a skewed table changes its order: it may visit members twice. Cursors are
    /// below 2^49.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(Element<'_>)) -> u64 {
        match self.form() {
            Form::Table(elements) => {
                elements.scan(cursor, |block| visit(Element::Bytes(block.key())))
            }
            _ => {
                self.iter().for_each(visit);
                0
            }
        }
    }

    /// A random member, each about as likely as any other.
    pub fn random(&self, rng: &mut impl FnMut() -> u64) -> Option<Element<'_>> {
        match self.form() {
            Form::Intset(integers) => integers.random(rng).map(Element::Int),
            Form::Listpack(pack) => {
                let index = rng().checked_rem(pack.len() as u64)? as usize;
                pack.nth(index).map(|at| pack.get(at))
            }
            Form::Table(elements) => {
                let block = elements.random(0, rng)?;
                Some(Element::Bytes(block.key()))
            }
        }
    }

    /// The deadline of a member; `None` when there is no such member.
    pub fn deadline(&self, member: &[u8]) -> Option<Option<u64>> {
        match self.form() {
            Form::Table(elements) => elements.get(member).map(Block::deadline),
            _ => self.contains(member).then_some(None),
        }
    }

    /// Number of members with a deadline.
    pub fn volatile_len(&self) -> usize {
        match self.form() {
            Form::Table(elements) => elements.volatile_len(),
            _ => 0,
        }
    }

    /// The earliest deadline of a member.
    pub fn next_deadline(&self) -> Option<u64> {
        match self.form() {
            Form::Table(elements) => elements.next_deadline(),
            _ => None,
        }
    }

    /// True when an index finds the members. Does not read the collection.
    #[inline]
    pub fn has_index(&self) -> bool {
        matches!(self.form(), Form::Table(_))
    }

    /// Whether bringing a member into the cache ahead of its use pays.
    #[inline]
    pub fn pays_to_look_ahead(&self) -> bool {
        matches!(self.form(), Form::Table(elements) if elements.len() >= AHEAD_MIN)
    }

    /// Starts bringing into the cache what looking for a member with this hash
    /// ([`crate::hash_seed::hash_of`]) will read.
    #[inline]
    pub fn look_ahead(&self, hash: u64, step: Ahead) {
        if let Form::Table(elements) = self.form() {
            elements.look_ahead(hash, step);
        }
    }

    /// True while there is a journal.
    pub fn has_journal(&self) -> bool {
        matches!(self.form(), Form::Table(elements) if elements.has_journal())
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        match self.form() {
            Form::Table(elements) => size_of::<Elements>() + elements.heap_bytes(),
            Form::Intset(integers) => {
                alloc::packed_bytes(self.is_embedded(), integers.bytes().len())
            }
            Form::Listpack(pack) => alloc::packed_bytes(self.is_embedded(), pack.byte_len()),
        }
    }
}

#[inline]
fn listed(pack: View<'_>, member: &[u8]) -> bool {
    let first = pack.first();
    first.is_some_and(|first| pack.find(first, member, 0).is_some())
}

impl Default for Set {
    fn default() -> Self {
        Set::new()
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl fmt::Debug for SetView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Set")
            .field("len", &self.len())
            .field("encoding", &self.encoding())
            .finish()
    }
}
