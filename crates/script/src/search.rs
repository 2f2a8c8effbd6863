//! `find`, `match` and `gmatch` as they are for Rust: where a pattern matches first.

use crate::pattern::{Matcher, PatternError};
use crate::raise::Stopped;
use crate::state::Shared;

/// Characters that make a pattern more than a plain text.
const SPECIALS: &[u8] = b"^$*+?.([%-";

/// Bytes between two questions whether to go on. A plain search takes linear time.
const CHUNK: usize = 16 << 20;

/// A subject and a pattern.
#[derive(Clone, Copy)]
pub(crate) struct Search<'a> {
    pub(crate) subject: &'a [u8],
    pub(crate) pattern: &'a [u8],
}

/// Where a match begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

type Result<T> = std::result::Result<T, PatternError>;

impl Search<'_> {
    /// `string.find` from `init`, a position as scripts give it.
    pub(crate) fn find(&self, shared: &Shared, init: i64, plain: bool) -> Result<Option<Found>> {
        let before_nul = self.pattern.split(|byte| *byte == 0).next();
        let mut pattern = before_nul.unwrap_or_default().iter();
        if plain || !pattern.any(|byte| SPECIALS.contains(byte)) {
            shared.space.borrow_mut().forget();
            let found = self.find_plain(shared, self.start(init));
            return found.map_err(PatternError::Interrupted);
        }
        self.first(shared, init)
    }

    /// `string.match` from `init`. The captures are in [`Shared::space`].
    pub(crate) fn first(&self, shared: &Shared, init: i64) -> Result<Option<Found>> {
        let start = self.start(init);
        match self.pattern.split_first() {
            Some((b'^', rest)) => self.among(shared, rest, start..=start),
            _ => self.among(shared, self.pattern, start..=self.subject.len()),
        }
    }

    /// The next match of `string.gmatch` at or behind `position`.
    pub(crate) fn next(&self, shared: &Shared, position: usize) -> Result<Option<Found>> {
        self.among(shared, self.pattern, position..=self.subject.len())
    }

    /// The first of some places where the pattern matches.
    fn among(
        &self,
        shared: &Shared,
        pattern: &[u8],
        places: std::ops::RangeInclusive<usize>,
    ) -> Result<Option<Found>> {
        let mut space = shared.space.take();
        let interrupt = || shared.interrupt();
        let mut matcher = Matcher::new(self.subject, pattern, &mut space, &interrupt);
        let mut found = Ok(None);
        for start in places {
            match matcher.match_at(start) {
                Ok(None) => {}
                Ok(Some(end)) => {
                    found = Ok(Some(Found { start, end }));
                    break;
                }
                Err(error) => {
                    found = Err(error);
                    break;
                }
            }
        }
        space.trim();
        shared.space.replace(space);
        found
    }

    /// A position as scripts give it, from 1 or from the end, as one from 0 in the subject.
    fn start(&self, init: i64) -> usize {
        let len = self.subject.len();
        let position = match init < 0 {
            true => init.wrapping_add(len as i64 + 1),
            false => init,
        };
        (position.max(1) as usize - 1).min(len)
    }

    fn find_plain(
        &self,
        shared: &Shared,
        start: usize,
    ) -> std::result::Result<Option<Found>, Stopped> {
        let (text, needle) = (&self.subject[start..], self.pattern);
        let found = |at: usize| Found {
            start: start + at,
            end: start + at + needle.len(),
        };
        if needle.is_empty() {
            return Ok(Some(found(0)));
        }
        if text.len() <= CHUNK {
            return Ok(memchr::memmem::find(text, needle).map(found));
        }
        let finder = memchr::memmem::Finder::new(needle);
        let mut begin = 0;
        while begin < text.len() {
            let end = (begin + CHUNK + needle.len() - 1).min(text.len());
            if let Some(at) = finder.find(&text[begin..end]) {
                return Ok(Some(found(begin + at)));
            }
            begin += CHUNK;
            shared.interrupt()?;
        }
        Ok(None)
    }
}
