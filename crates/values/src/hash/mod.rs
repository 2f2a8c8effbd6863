//! Hashes: fields with values and, for some, deadlines.

use crate::{Element, Thresholds};

/// What a write does with the deadline of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldDeadline {
    /// The field lives for ever.
    Clear,
    /// The field keeps the deadline it has.
    Keep,
    /// Absolute unix milliseconds.
    At(u64),
}

#[derive(Clone, Debug)]
struct Field {
    name: Vec<u8>,
    value: Vec<u8>,
    deadline: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Model {
    fields: Vec<Field>,
    is_table: bool,
    align: u64,
}

/// A hash.
#[derive(Clone, Debug)]
pub struct Hash(Box<Model>);

impl Default for Hash {
    fn default() -> Self {
        Hash::new()
    }
}

fn visible(field: &Field, now_ms: u64) -> bool {
    field.deadline.is_none_or(|deadline| deadline > now_ms)
}

impl Hash {
    /// An empty hash.
    pub fn new() -> Hash {
        Hash(Box::default())
    }

    /// Number of fields, those past their deadline that are still there included.
    pub fn len(&self) -> usize {
        self.0.fields.len()
    }

    /// True when there are no fields.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True for the packed form.
    pub fn is_packed(&self) -> bool {
        !self.0.is_table
    }

    fn find(&self, field: &[u8]) -> Option<usize> {
        self.0.fields.iter().position(|it| it.name == field)
    }

    /// The value of a field that is not past its deadline at `now_ms`; 0 sees all.
    pub fn get(&self, field: &[u8], now_ms: u64) -> Option<Element<'_>> {
        let found = self.0.fields.get(self.find(field)?)?;
        visible(found, now_ms).then_some(Element::Bytes(&found.value))
    }

    /// Sets a field. True when it is new.
    pub fn set(
        &mut self,
        field: &[u8],
        value: &[u8],
        deadline: FieldDeadline,
        limits: &Thresholds,
    ) -> bool {
        let new = match self.find(field).and_then(|at| self.0.fields.get_mut(at)) {
            Some(found) => {
                found.value = value.to_vec();
                match deadline {
                    FieldDeadline::Clear => found.deadline = None,
                    FieldDeadline::Keep => {}
                    FieldDeadline::At(at) => found.deadline = Some(at),
                }
                false
            }
            None => {
                self.0.fields.push(Field {
                    name: field.to_vec(),
                    value: value.to_vec(),
                    deadline: match deadline {
                        FieldDeadline::At(at) => Some(at),
                        _ => None,
                    },
                });
                true
            }
        };
        if matches!(deadline, FieldDeadline::At(_)) {
            self.0.is_table = true;
        }
        self.convert(limits);
        new
    }

    /// Removes a field. True when it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        let found = self.find(field);
        if let Some(at) = found {
            self.0.fields.remove(at);
        }
        found.is_some()
    }

    /// Fields and values, those past their deadline at `now_ms` left out.
    pub fn iter(&self, now_ms: u64) -> impl Iterator<Item = (Element<'_>, Element<'_>)> {
        let fields = self.0.fields.iter();
        fields
            .filter(move |field| visible(field, now_ms))
            .map(|field| (Element::Bytes(&field.name), Element::Bytes(&field.value)))
    }

    /// Visits some fields from a cursor on and returns the next cursor, 0 at the end.
    pub fn scan(
        &self,
        cursor: u64,
        now_ms: u64,
        mut visit: impl FnMut(Element<'_>, Element<'_>),
    ) -> u64 {
        let from = cursor as usize;
        let step = if self.is_packed() { usize::MAX } else { 4 };
        for field in self.0.fields.iter().skip(from).take(step) {
            if visible(field, now_ms) {
                visit(Element::Bytes(&field.name), Element::Bytes(&field.value));
            }
        }
        let next = from.saturating_add(step);
        if next >= self.len() { 0 } else { next as u64 }
    }

    /// A random field.
    pub fn random(
        &self,
        now_ms: u64,
        rng: &mut impl FnMut() -> u64,
    ) -> Option<(Element<'_>, Element<'_>)> {
        let count = self.iter(now_ms).count();
        self.iter(now_ms).nth(rng() as usize % count.max(1))
    }

    /// The deadline of a field; `None` when there is no such field.
    pub fn deadline(&self, field: &[u8]) -> Option<Option<u64>> {
        let found = self.0.fields.get(self.find(field)?)?;
        Some(found.deadline)
    }

    /// Sets or clears the deadline of a field. False when there is no such field.
    pub fn set_deadline(&mut self, field: &[u8], deadline: Option<u64>) -> bool {
        let Some(found) = self.find(field).and_then(|at| self.0.fields.get_mut(at)) else {
            return false;
        };
        found.deadline = deadline;
        self.0.is_table |= deadline.is_some();
        true
    }

    /// Number of fields with a deadline.
    pub fn volatile_len(&self) -> usize {
        let fields = self.0.fields.iter();
        fields.filter(|field| field.deadline.is_some()).count()
    }

    /// The earliest deadline of a field.
    pub fn next_deadline(&self) -> Option<u64> {
        self.0
            .fields
            .iter()
            .filter_map(|field| field.deadline)
            .min()
    }

    /// Removes at most `budget` fields whose deadline is not after `now_ms`, the earliest first. Returns how
    /// many.
    pub fn expire(&mut self, now_ms: u64, budget: usize, expired: &mut dyn FnMut(&[u8])) -> usize {
        let mut count = 0;
        while count < budget {
            let fields = self.0.fields.iter().enumerate();
            let due = fields
                .filter_map(|(at, field)| Some((field.deadline?, at)))
                .filter(|(deadline, _)| *deadline <= now_ms)
                .min();
            let Some((_, at)) = due else { break };
            let gone = self.0.fields.remove(at);
            expired(&gone.name);
            count += 1;
        }
        count
    }

    /// Leaves the packed form when a limit is exceeded.
    pub fn convert(&mut self, limits: &Thresholds) {
        let fields = &self.0.fields;
        let too_long = |field: &Field| field.name.len().max(field.value.len()) > limits.hash_value;
        if fields.len() > limits.hash_entries || fields.iter().any(too_long) {
            self.0.is_table = true;
        }
        self.0.align = 0;
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let fields = self.0.fields.iter();
        fields
            .map(|field| field.name.len() + field.value.len() + 16)
            .sum()
    }
}
