//! Hashes: fields with values and, for some, deadlines.
//!
//! A small hash is a listpack of fields, each followed by its value; a large one is a table of
//! blocks that hold a field with its value. Only the table stores deadlines. A hash that has become
//! a table stays one.

#[cfg(test)]
mod tests;

use crate::deadlines::FieldDeadline;
use crate::distinct::all_distinct;
use crate::elements::{Block, Elements};
use crate::hash_seed::{AHEAD_MIN, Ahead};
use crate::listpack::{self, Listpack, Position, View};
use crate::malformed::Malformed;
use crate::owner::{Editing, Owner, forms};
use crate::{Element, Thresholds};
use std::fmt;

/// A hash: eight bytes that own one of the two forms.
#[repr(transparent)]
pub struct Hash {
    owner: Owner,
}

forms! {
    /// A hash, borrowed for reading.
    Hash, HashView {
        0 => Packed(Listpack) as View<'a>, packed, packed_mut;
        1 => Table(Box<Elements>) as &'a Elements, table, table_mut;
    }
}

/// How many fields [`HashView::get_many`] looks for at a time: enough to have all their cache
/// misses at once, few enough to be in the cache still when they are read.
const BATCH: usize = 16;

impl Hash {
    /// An empty hash.
    pub fn new() -> Hash {
        Hash::packed(Listpack::new())
    }

    /// The hash as a table, which it becomes if it is not one.
    fn make_table(&mut self) -> Option<Editing<'_, Box<Elements>>> {
        if let Form::Packed(pack) = self.form() {
            let mut elements = Elements::new();
            for (field, value) in pairs(pack) {
                let (mut field_digits, mut value_digits) = (crate::DIGITS, crate::DIGITS);
                elements.add_absent(
                    field.as_bytes(&mut field_digits),
                    Some(value.as_bytes(&mut value_digits)),
                );
            }
            *self = Hash::table(elements);
        }
        self.table_mut()
    }

    /// A hash from a listpack of fields and values, as Redis saves them.
    ///
    /// # Errors
    /// When the bytes are not a listpack, a value is missing, or a field is there twice.
    pub fn from_listpack(bytes: &[u8]) -> Result<Hash, Malformed> {
        let pack = Listpack::from_bytes(bytes)?;
        if !pack.len().is_multiple_of(2) {
            return Err(Malformed("a field of the hash has no value"));
        }
        if !all_distinct(pairs(pack.view()).map(|(field, _)| field)) {
            return Err(Malformed("a field of the hash is there twice"));
        }
        Ok(Hash::packed(pack))
    }

    /// Prepares for a write of so many fields, which become a table at once when that is too many
    /// for the packed form, even if some of them turn out to be the same.
    pub fn prepare(&mut self, fields: usize, limits: &Thresholds) {
        if fields > limits.hash_entries {
            self.make_table();
        }
    }

    /// Sets a field. True when it is new.
    #[inline]
    pub fn set(
        &mut self,
        field: &[u8],
        value: &[u8],
        deadline: FieldDeadline,
        limits: &Thresholds,
    ) -> bool {
        if let Some(new) = self.set_packed(field, value, deadline, limits) {
            return new;
        }
        let table = self.make_table();
        table.is_some_and(|mut elements| elements.set(field, value, deadline))
    }

    /// Sets a field of a packed hash, if it can be in one.
    fn set_packed(
        &mut self,
        field: &[u8],
        value: &[u8],
        deadline: FieldDeadline,
        limits: &Thresholds,
    ) -> Option<bool> {
        let mut pack = self.packed_mut()?;
        let added = listpack::encoded_len(field).saturating_add(listpack::encoded_len(value));
        if matches!(deadline, FieldDeadline::At(_))
            || field.len().max(value.len()) > limits.hash_value
            || !pack.view().fits(added)
        {
            return None;
        }
        let found = find(pack.view(), field);
        match found {
            Some((_, at)) => {
                pack.replace(at, value);
            }
            None => {
                pack.push_back_all([field, value]);
            }
        }
        let too_many = pack.len() / 2 > limits.hash_entries;
        drop(pack);
        if too_many {
            self.make_table();
        }
        Some(found.is_none())
    }

    /// Removes a field. True when it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        if let Some(mut elements) = self.table_mut() {
            return elements.remove(field);
        }
        let Some(mut pack) = self.packed_mut() else {
            return false;
        };
        let found = find(pack.view(), field);
        if let Some((at, _)) = found {
            pack.remove_n(at, 2);
        }
        found.is_some()
    }

    /// Sets or clears the deadline of a field. False when there is no such field.
    pub fn set_deadline(&mut self, field: &[u8], deadline: Option<u64>) -> bool {
        if let Form::Packed(pack) = self.form()
            && (deadline.is_none() || find(pack, field).is_none())
        {
            return find(pack, field).is_some();
        }
        let table = self.make_table();
        table.is_some_and(|mut elements| elements.set_deadline(field, deadline))
    }

    /// Removes at most `budget` fields whose deadline is not after `now_ms`, the earliest first.
    /// Passes each to `expired` before the removal. Returns how many.
    pub fn expire(&mut self, now_ms: u64, budget: usize, expired: &mut dyn FnMut(&[u8])) -> usize {
        let table = self.table_mut();
        table.map_or(0, |mut elements| elements.expire(now_ms, budget, expired))
    }

    /// Leaves the packed form when it has more fields than the limit, after loading it. Long values
    /// stay, as in Redis, until the next write of one.
    pub fn convert(&mut self, limits: &Thresholds) {
        if self.is_packed() {
            self.prepare(self.len(), limits);
        }
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

impl HashView {
    /// Number of fields, those past their deadline that are still there included.
    #[inline]
    pub fn len(&self) -> usize {
        match self.form() {
            Form::Packed(pack) => pack.len() / 2,
            Form::Table(elements) => elements.len(),
        }
    }

    /// True when there are no fields.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True for the packed form.
    pub fn is_packed(&self) -> bool {
        matches!(self.form(), Form::Packed(_))
    }

    /// The listpack of fields and values, when the hash is packed.
    pub fn pack_bytes(&self) -> Option<&[u8]> {
        match self.form() {
            Form::Packed(pack) => Some(pack.bytes()),
            Form::Table(_) => None,
        }
    }

    /// The value of a field that is not past its deadline at `now_ms`; 0 sees all.
    #[inline]
    pub fn get(&self, field: &[u8], now_ms: u64) -> Option<Element<'_>> {
        match self.form() {
            Form::Packed(pack) => {
                let (_, value) = find(pack, field)?;
                Some(pack.get(value))
            }
            Form::Table(elements) => visible_value(elements.get(field), now_ms),
        }
    }

    /// Looks for many fields as [`HashView::get`], and passes to `visit` what each has, in the
    /// order of the fields. In a large hash this is much faster than one after the other.
    pub fn get_many<'f>(
        &self,
        fields: impl IntoIterator<Item = &'f [u8]>,
        now_ms: u64,
        mut visit: impl FnMut(Option<Element<'_>>),
    ) {
        let fields = fields.into_iter();
        match self.form() {
            Form::Packed(_) => fields.for_each(|field| visit(self.get(field, now_ms))),
            Form::Table(elements) => elements.get_many::<BATCH>(fields, |found| {
                visit(visible_value(found, now_ms));
            }),
        }
    }

    /// Fields and values, those past their deadline at `now_ms` left out.
    pub fn iter(&self, now_ms: u64) -> impl Iterator<Item = (Element<'_>, Element<'_>)> {
        let (pack, elements) = match self.form() {
            Form::Packed(pack) => (Some(pairs(pack)), None),
            Form::Table(elements) => (None, Some(elements.iter())),
        };
        let blocks = elements.into_iter().flatten();
        let visible = blocks.filter(move |block| block.is_visible(now_ms));
        pack.into_iter().flatten().chain(visible.map(pair))
    }

    /// Visits some fields from a cursor on and returns the next cursor, 0 at the end. The packed
    /// forms visit all fields; the large one gives the guarantees of [`crate::table`], but for a
    /// scan during which a skewed table changes its order: it may visit fields twice. Cursors are
    /// below 2^49.
    pub fn scan(
        &self,
        cursor: u64,
        now_ms: u64,
        mut visit: impl FnMut(Element<'_>, Element<'_>),
    ) -> u64 {
        match self.form() {
            Form::Packed(pack) => {
                pairs(pack).for_each(|(field, value)| visit(field, value));
                0
            }
            Form::Table(elements) => elements.scan(cursor, |block| {
                if block.is_visible(now_ms) {
                    let (field, value) = pair(block);
                    visit(field, value);
                }
            }),
        }
    }

    /// A random field that is not past its deadline at `now_ms`, each about as likely as any other.
    pub fn random(
        &self,
        now_ms: u64,
        rng: &mut impl FnMut() -> u64,
    ) -> Option<(Element<'_>, Element<'_>)> {
        match self.form() {
            Form::Packed(pack) => {
                let fields = pack.len() as u64 / 2;
                let index = rng().checked_rem(fields)? as usize;
                let mut elements = pack.iter_from(pack.nth(index * 2)?);
                Some((elements.next()?, elements.next()?))
            }
            Form::Table(elements) => elements.random(now_ms, rng).map(pair),
        }
    }

    /// The deadline of a field; `None` when there is no such field.
    pub fn deadline(&self, field: &[u8]) -> Option<Option<u64>> {
        match self.form() {
            Form::Packed(pack) => find(pack, field).map(|_| None),
            Form::Table(elements) => elements.get(field).map(Block::deadline),
        }
    }

    /// Number of fields with a deadline.
    pub fn volatile_len(&self) -> usize {
        match self.form() {
            Form::Packed(_) => 0,
            Form::Table(elements) => elements.volatile_len(),
        }
    }

    /// The earliest deadline of a field.
    pub fn next_deadline(&self) -> Option<u64> {
        match self.form() {
            Form::Packed(_) => None,
            Form::Table(elements) => elements.next_deadline(),
        }
    }

    /// True when an index finds the fields. Does not read the collection.
    #[inline]
    pub fn has_index(&self) -> bool {
        matches!(self.form(), Form::Table(_))
    }

    /// Whether bringing a field into the cache ahead of its use pays.
    #[inline]
    pub fn pays_to_look_ahead(&self) -> bool {
        matches!(self.form(), Form::Table(elements) if elements.len() >= AHEAD_MIN)
    }

    /// Starts bringing into the cache what looking for a field with this hash
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
            Form::Packed(pack) => crate::alloc::packed_bytes(self.is_embedded(), pack.byte_len()),
            Form::Table(elements) => size_of::<Elements>() + elements.heap_bytes(),
        }
    }
}

/// Where a field and its value are.
#[inline]
fn find(pack: View<'_>, field: &[u8]) -> Option<(Position, Position)> {
    let at = pack.find(pack.first()?, field, 1)?;
    Some((at, pack.next(at)?))
}

fn pairs<'a>(pack: View<'a>) -> impl Iterator<Item = (Element<'a>, Element<'a>)> {
    let mut elements = pack.iter();
    std::iter::from_fn(move || Some((elements.next()?, elements.next()?)))
}

#[inline]
fn pair(block: Block<'_>) -> (Element<'_>, Element<'_>) {
    (Element::Bytes(block.key()), Element::Bytes(block.value()))
}

#[inline]
fn visible_value(block: Option<Block<'_>>, now_ms: u64) -> Option<Element<'_>> {
    let block = block.filter(|block| block.is_visible(now_ms))?;
    Some(Element::Bytes(block.value()))
}

impl Default for Hash {
    fn default() -> Self {
        Hash::new()
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl fmt::Debug for HashView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hash")
            .field("len", &self.len())
            .field("is_packed", &self.is_packed())
            .finish()
    }
}
