//! Lists.

use crate::{Element, Thresholds};
use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The first element's side, left.
    Front,
    /// The last element's side, right.
    Back,
}

#[derive(Clone, Debug, Default)]
struct Model {
    elements: VecDeque<Vec<u8>>,
    is_quicklist: bool,
    align: u64,
}

/// A list.
#[derive(Clone, Debug)]
pub struct List(Box<Model>);

impl Default for List {
    fn default() -> Self {
        List::new()
    }
}

impl List {
    /// An empty list.
    pub fn new() -> List {
        List(Box::default())
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.0.elements.len()
    }

    /// True when there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True for the packed form.
    pub fn is_packed(&self) -> bool {
        !self.0.is_quicklist
    }

    /// Number of nodes.
    pub fn nodes(&self) -> usize {
        1 + self.len() / 128
    }

    /// Adds an element at an end.
    pub fn push(&mut self, end: End, element: &[u8], limits: &Thresholds) {
        match end {
            End::Front => self.0.elements.push_front(element.to_vec()),
            End::Back => self.0.elements.push_back(element.to_vec()),
        }
        self.convert(limits);
    }

    fn clamp(&self, range: Range<usize>) -> Range<usize> {
        let end = range.end.min(self.len());
        range.start.min(end)..end
    }

    /// Visits the elements of a range, from its last one when `reverse`.
    pub fn visit(
        &self,
        range: Range<usize>,
        reverse: bool,
        visit: &mut dyn FnMut(Element<'_>) -> ControlFlow<()>,
    ) {
        let mut range = self.0.elements.range(self.clamp(range));
        while let Some(element) = if reverse {
            range.next_back()
        } else {
            range.next()
        } {
            if visit(Element::Bytes(element)).is_break() {
                return;
            }
        }
    }

    /// Reads the element at an index.
    pub fn with<R>(&self, index: usize, read: impl FnOnce(Element<'_>) -> R) -> Option<R> {
        let element = self.0.elements.get(index)?;
        Some(read(Element::Bytes(element)))
    }

    /// Replaces the element at an index. False when there is none.
    pub fn set(&mut self, index: usize, element: &[u8], limits: &Thresholds) -> bool {
        let Some(place) = self.0.elements.get_mut(index) else {
            return false;
        };
        *place = element.to_vec();
        self.convert(limits);
        true
    }

    /// Inserts an element before the one at an index; at the end when there is none.
    pub fn insert(&mut self, index: usize, element: &[u8], limits: &Thresholds) {
        let index = index.min(self.len());
        self.0.elements.insert(index, element.to_vec());
        self.convert(limits);
    }

    /// Removes the elements of a range. Returns how many.
    pub fn remove_range(&mut self, range: Range<usize>, limits: &Thresholds) -> usize {
        let range = self.clamp(range);
        let count = range.len();
        self.0.elements.drain(range);
        self.convert(limits);
        count
    }

    /// Removes the elements equal to `value`, at most `limit` (0: all), from the back when asked to. Returns
    /// how many.
    pub fn remove_equal(
        &mut self,
        value: &[u8],
        limit: usize,
        from_back: bool,
        limits: &Thresholds,
    ) -> usize {
        let mut at = Vec::new();
        self.position(value, from_back, 1, 0, &mut |index| {
            at.push(index);
            match limit != 0 && at.len() >= limit {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        at.sort_unstable();
        for index in at.iter().rev() {
            self.0.elements.remove(*index);
        }
        self.convert(limits);
        at.len()
    }

    /// Reports the indexes of the elements equal to `value`, from the `rank`-th match (1: the first) on,
    /// comparing at most `maxlen` elements (0: all), from the back when asked to.
    pub fn position(
        &self,
        value: &[u8],
        from_back: bool,
        rank: usize,
        maxlen: usize,
        found: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) {
        let mut index = if from_back { self.len() } else { 0 };
        let mut compared = 0;
        let mut matches = 0;
        self.visit(0..self.len(), from_back, &mut |element| {
            if maxlen != 0 && compared == maxlen {
                return ControlFlow::Break(());
            }
            compared += 1;
            if from_back {
                index -= 1;
            }
            let at = index;
            if !from_back {
                index += 1;
            }
            if element.is(value) {
                matches += 1;
                if matches >= rank {
                    return found(at);
                }
            }
            ControlFlow::Continue(())
        });
    }

    /// Takes the form that the limits want.
    pub fn convert(&mut self, limits: &Thresholds) {
        let bytes: usize = self.0.elements.iter().map(|it| it.len() + 3).sum();
        self.0.is_quicklist = match limits.list_size {
            count @ 1.. => self.len() > count as usize,
            0 => self.len() > 1,
            size => bytes > 4096 << (-size - 1).min(4),
        };
        self.0.align = 0;
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.0.elements.iter().map(|it| it.len() + 3).sum()
    }
}
