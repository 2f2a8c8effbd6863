//! Taking back changes of elements.

use super::Elements;
use crate::deadlines::FieldDeadline;
use crate::hash_seed::hash_of;

/// An element before a change.
pub(super) struct Before {
    key: Box<[u8]>,
    /// `None`: it was not there.
    was: Option<Was>,
}

/// What an element had.
struct Was {
    value: Option<Box<[u8]>>,
    deadline: Option<u64>,
}

impl Elements {
    /// Notes an element that is about to be changed, added or removed, while there is a journal.
    #[inline]
    pub(super) fn note(&mut self, key: &[u8]) {
        if self.journal.is_open() {
            self.note_before(key);
        }
    }

    #[cold]
    fn note_before(&mut self, key: &[u8]) {
        let was = self.get(key).map(|block| Was {
            value: block.own_value().map(Box::from),
            deadline: block.deadline(),
        });
        let value = was.as_ref().and_then(|was| was.value.as_ref());
        let bytes = key.len() + value.map_or(0, |value| value.len());
        let key = Box::from(key);
        self.journal.push(Before { key, was }, bytes);
    }

    /// Begins a journal, or a part of it; returns its mark.
    pub(crate) fn begin_journal(&mut self) -> usize {
        self.journal.begin()
    }

    /// True while there is a journal.
    pub(crate) fn has_journal(&self) -> bool {
        self.journal.is_open()
    }

    /// Keeps what was done since the last beginning.
    pub(crate) fn end_journal(&mut self) {
        self.journal.end();
    }

    /// Takes back what was done since the beginning that returned `mark`, the last one.
    pub(crate) fn roll_back(&mut self, mark: usize) {
        let mut journal = self.journal.take();
        while let Some(Before { key, was }) = journal.pop(mark) {
            match was {
                None => drop(self.remove(&key)),
                Some(Was {
                    value: Some(value),
                    deadline,
                }) => {
                    let deadline = deadline.map_or(FieldDeadline::Clear, FieldDeadline::At);
                    self.set(&key, &value, deadline);
                }
                Some(Was {
                    value: None,
                    deadline,
                }) => {
                    self.add_hashed(hash_of(&key), &key);
                    self.set_deadline(&key, deadline);
                }
            }
        }
        journal.end();
        self.journal = journal;
    }
}
