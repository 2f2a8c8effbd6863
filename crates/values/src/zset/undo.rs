//! Taking back changes of a large sorted set.

use super::indexed::Indexed;
use super::member::Member;

/// A member before a change.
pub(super) struct Before {
    member: Box<[u8]>,
    /// Its score and its deadline; `None`: it was not there.
    was: Option<(f64, Option<u64>)>,
}

impl Indexed {
    /// Notes a member that is about to be changed or freed, while there is a journal.
    ///
    /// # Safety
    /// The member is live.
    #[inline]
    pub(super) unsafe fn note(&mut self, member: Member) {
        if self.journal.is_open() {
            // SAFETY: the member is live, and the borrow of its text ends with the copy.
            let (text, was) = unsafe {
                let text: Box<[u8]> = member.text().into();
                (text, (member.score(), member.deadline()))
            };
            self.push_before(text, Some(was));
        }
    }

    /// Notes a member that is about to be added, while there is a journal.
    #[inline]
    pub(super) fn note_absent(&mut self, text: &[u8]) {
        if self.journal.is_open() {
            self.push_before(text.into(), None);
        }
    }

    #[cold]
    fn push_before(&mut self, member: Box<[u8]>, was: Option<(f64, Option<u64>)>) {
        let bytes = member.len();
        self.journal.push(Before { member, was }, bytes);
    }

    /// Begins a journal, or a part of it; returns its mark.
    pub(super) fn begin_journal(&mut self) -> usize {
        self.journal.begin()
    }

    /// True while there is a journal.
    pub(super) fn has_journal(&self) -> bool {
        self.journal.is_open()
    }

    /// Keeps what was done since the last beginning.
    pub(super) fn end_journal(&mut self) {
        self.journal.end();
    }

    /// Takes back what was done since the beginning that returned `mark`, the last one.
    pub(super) fn roll_back(&mut self, mark: usize) {
        let mut journal = self.journal.take();
        while let Some(Before { member, was }) = journal.pop(mark) {
            match was {
                None => drop(self.remove(&member)),
                Some((score, deadline)) => {
                    self.insert(&member, score);
                    self.set_deadline(&member, deadline);
                }
            }
        }
        journal.end();
        self.journal = journal;
    }
}
