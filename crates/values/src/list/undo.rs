//! Taking back changes of long lists.

use super::limits::Limits;
use super::{End, Form, FormMut, List, ListView};
use crate::Thresholds;
use std::ops::{ControlFlow, Range};

/// A change of elements, by the indexes that they had.
pub(super) enum Step {
    /// An element was added at an end.
    Pushed(End),
    /// An element was inserted.
    Inserted(usize),
    /// The element had other bytes.
    Replaced(usize, Box<[u8]>),
    /// These elements were removed, from an index on.
    Removed(usize, Vec<Box<[u8]>>),
}

impl ListView {
    /// True while there is a journal.
    pub fn has_journal(&self) -> bool {
        matches!(self.form(), Form::Quick(quick) if quick.journal.is_open())
    }
}

impl List {
    /// Begins a journal of changes, or a part of one; returns its mark. `None` for the packed form,
    /// which has no journal.
    pub fn begin_journal(&mut self) -> Option<usize> {
        match self.form_mut() {
            FormMut::Packed(_) => None,
            FormMut::Quick(mut quick) => Some(quick.journal.begin()),
        }
    }

    /// Keeps what was done since the last beginning.
    pub fn end_journal(&mut self, thresholds: &Thresholds) {
        if let FormMut::Quick(mut quick) = self.form_mut() {
            quick.journal.end();
        }
        self.shrink(&Limits::new(thresholds));
    }

    /// Takes back what was done since the beginning that returned `mark`, the last one.
    pub fn roll_back(&mut self, mark: usize, thresholds: &Thresholds) {
        let mut journal = match self.form_mut() {
            FormMut::Packed(_) => return,
            FormMut::Quick(mut quick) => quick.journal.take(),
        };
        while let Some(step) = journal.pop(mark) {
            self.take_back(step, thresholds);
        }
        if !journal.end() {
            // A part of the journal goes on.
            self.unpack(&Limits::new(thresholds));
            if let FormMut::Quick(mut quick) = self.form_mut() {
                quick.journal = journal;
            }
        }
    }

    fn take_back(&mut self, step: Step, thresholds: &Thresholds) {
        match step {
            Step::Pushed(End::Front) => drop(self.remove_range(0..1, thresholds)),
            Step::Pushed(End::Back) => {
                let len = self.len();
                self.remove_range(len.saturating_sub(1)..len, thresholds);
            }
            Step::Inserted(at) => drop(self.remove_range(at..at + 1, thresholds)),
            Step::Replaced(at, element) => drop(self.set(at, &element, thresholds)),
            Step::Removed(at, elements) => {
                for (offset, element) in elements.iter().enumerate() {
                    self.insert(at + offset, element, thresholds);
                }
            }
        }
    }

    fn note(&mut self, step: Step, bytes: usize) {
        if let FormMut::Quick(mut quick) = self.form_mut() {
            quick.journal.push(step, bytes);
        }
    }

    /// Notes an element that is about to be replaced, while there is a journal.
    #[inline]
    pub(super) fn note_replaced(&mut self, index: usize) {
        if self.has_journal()
            && let Some(element) = self.with(index, |element| element.to_vec())
        {
            let bytes = element.len();
            self.note(Step::Replaced(index, element.into()), bytes);
        }
    }

    /// Notes elements that are about to be removed, while there is a journal.
    #[inline]
    pub(super) fn note_removed(&mut self, range: Range<usize>) {
        if self.has_journal() {
            let (mut elements, mut bytes) = (Vec::with_capacity(range.len()), 0);
            self.visit(range.clone(), false, |element| {
                let element: Box<[u8]> = element.to_vec().into();
                bytes += element.len() + size_of::<Box<[u8]>>();
                elements.push(element);
                ControlFlow::Continue(())
            });
            self.note(Step::Removed(range.start, elements), bytes);
        }
    }

    /// Notes the elements that [`List::remove_equal`] is about to remove, while there is a journal.
    #[inline]
    pub(super) fn note_equal(&mut self, value: &[u8], limit: usize, from_back: bool) {
        if !self.has_journal() {
            return;
        }
        let mut found = Vec::new();
        self.position(value, from_back, 1, 0, &mut |index| {
            found.push(index);
            match found.len() < limit {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        // Steps are taken back in reverse: the first element comes back first, at its index.
        found.sort_unstable_by(|a, b| b.cmp(a));
        for index in found {
            self.note(Step::Removed(index, vec![value.into()]), value.len());
        }
    }
}
