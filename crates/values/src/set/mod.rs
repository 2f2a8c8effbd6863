//! Sets.

use crate::{Element, Thresholds, number};
use std::ops::ControlFlow;

/// How a set is represented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetEncoding {
    /// A sorted array of integers.
    Intset,
    /// A packed list of members.
    Listpack,
    /// A hash table.
    Table,
}

#[derive(Clone, Debug)]
struct Member {
    name: Vec<u8>,
    deadline: Option<u64>,
}

#[derive(Clone, Debug)]
struct Model {
    members: Vec<Member>,
    encoding: SetEncoding,
    align: u64,
}

/// A set.
#[derive(Clone, Debug)]
pub struct Set(Box<Model>);

impl Default for Set {
    fn default() -> Self {
        Set::new()
    }
}

impl Set {
    /// An empty set.
    pub fn new() -> Set {
        Set(Box::new(Model {
            members: Vec::new(),
            encoding: SetEncoding::Intset,
            align: 0,
        }))
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.0.members.len()
    }

    /// True when there are no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How the set is represented.
    pub fn encoding(&self) -> SetEncoding {
        self.0.encoding
    }

    fn find(&self, member: &[u8]) -> Option<usize> {
        self.0.members.iter().position(|it| it.name == member)
    }

    /// True when `member` is in the set.
    pub fn contains(&self, member: &[u8]) -> bool {
        self.find(member).is_some()
    }

    /// As [`Set::contains`], for an element of another collection.
    pub fn contains_element(&self, member: Element<'_>) -> bool {
        self.contains(&member.to_vec())
    }

    /// Adds a member. True when it is new.
    pub fn add(&mut self, member: &[u8], limits: &Thresholds) -> bool {
        let new = self.find(member).is_none();
        if new {
            self.0.members.push(Member {
                name: member.to_vec(),
                deadline: None,
            });
            self.convert(limits);
        }
        new
    }

    /// Removes a member. True when it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        let found = self.find(member);
        if let Some(at) = found {
            self.0.members.remove(at);
        }
        found.is_some()
    }

    /// All members.
    pub fn iter(&self) -> impl Iterator<Item = Element<'_>> {
        let members = self.0.members.iter();
        members.map(|member| match number::parse_canonical(&member.name) {
            Some(value) => Element::Int(value),
            None => Element::Bytes(&member.name),
        })
    }

    /// Visits some members from a cursor on and returns the next cursor, 0 at the end.
    pub fn scan(&self, cursor: u64, visit: impl FnMut(Element<'_>)) -> u64 {
        let from = cursor as usize;
        let step = if self.0.encoding == SetEncoding::Table {
            4
        } else {
            usize::MAX
        };
        self.iter().skip(from).take(step).for_each(visit);
        let next = from.saturating_add(step);
        if next >= self.len() { 0 } else { next as u64 }
    }

    /// A random member.
    pub fn random(&self, rng: &mut impl FnMut() -> u64) -> Option<Element<'_>> {
        self.iter().nth(rng() as usize % self.len().max(1))
    }

    /// Takes a random member out.
    pub fn pop(&mut self, rng: &mut impl FnMut() -> u64) -> Option<Vec<u8>> {
        let member = self.random(rng)?.to_vec();
        self.remove(&member);
        Some(member)
    }

    /// The deadline of a member; `None` when there is no such member.
    pub fn deadline(&self, member: &[u8]) -> Option<Option<u64>> {
        let found = self.0.members.get(self.find(member)?)?;
        Some(found.deadline)
    }

    /// Sets or clears the deadline of a member. False when there is no such member.
    pub fn set_deadline(&mut self, member: &[u8], deadline: Option<u64>) -> bool {
        let Some(found) = self.find(member).and_then(|at| self.0.members.get_mut(at)) else {
            return false;
        };
        found.deadline = deadline;
        if deadline.is_some() {
            self.0.encoding = SetEncoding::Table;
        }
        true
    }

    /// Number of members with a deadline.
    pub fn volatile_len(&self) -> usize {
        let members = self.0.members.iter();
        members.filter(|member| member.deadline.is_some()).count()
    }

    /// The earliest deadline of a member.
    pub fn next_deadline(&self) -> Option<u64> {
        self.0.members.iter().filter_map(|it| it.deadline).min()
    }

    /// Removes at most `budget` members whose deadline is not after `now_ms`, the earliest first. Returns
    /// how many.
    pub fn expire(&mut self, now_ms: u64, budget: usize, expired: &mut dyn FnMut(&[u8])) -> usize {
        let mut count = 0;
        while count < budget {
            let members = self.0.members.iter().enumerate();
            let due = members
                .filter_map(|(at, member)| Some((member.deadline?, at)))
                .filter(|(deadline, _)| *deadline <= now_ms)
                .min();
            let Some((_, at)) = due else { break };
            let gone = self.0.members.remove(at);
            expired(&gone.name);
            count += 1;
        }
        count
    }

    /// Leaves a packed form when a limit is exceeded.
    pub fn convert(&mut self, limits: &Thresholds) {
        let is_number = |member: &Member| number::parse_canonical(&member.name).is_some();
        let members = &self.0.members;
        if self.0.encoding == SetEncoding::Intset
            && (!members.iter().all(is_number) || members.len() > limits.set_integers)
        {
            self.0.encoding = SetEncoding::Listpack;
        }
        if self.0.encoding == SetEncoding::Listpack
            && (members.len() > limits.set_entries
                || members.iter().any(|it| it.name.len() > limits.set_value))
        {
            self.0.encoding = SetEncoding::Table;
        }
        self.0.align = 0;
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.0.members.iter().map(|it| it.name.len() + 16).sum()
    }
}

/// Visits the members that are in all sets.
pub fn intersect(sets: &[&Set], mut visit: impl FnMut(Element<'_>) -> ControlFlow<()>) {
    let Some((first, others)) = sets.split_first() else {
        return;
    };
    for member in first.iter() {
        if others.iter().all(|set| set.contains_element(member)) && visit(member).is_break() {
            return;
        }
    }
}

/// Visits the members of `first` that are in none of `others`.
pub fn difference(
    first: &Set,
    others: &[&Set],
    mut visit: impl FnMut(Element<'_>) -> ControlFlow<()>,
) {
    for member in first.iter() {
        if !others.iter().any(|set| set.contains_element(member)) && visit(member).is_break() {
            return;
        }
    }
}

/// The members that are in any of the sets.
pub fn union(sets: &[&Set], limits: &Thresholds) -> Set {
    let mut result = Set::new();
    for member in sets.iter().flat_map(|set| set.iter()) {
        result.add(&member.to_vec(), limits);
    }
    result
}
