//! Matching of Lua patterns, with the results of PUC Lua 5.1 but without recursion.
//!
//! A pattern is matched by a machine with a stack of alternatives: where PUC Lua calls itself for
//! the rest of the pattern, the machine notes what to try when the rest fails. The stack has at
//! most one alternative per item of the pattern, and every step is counted.

use crate::raise::Stopped;

/// Captures that a pattern may have.
const CAPTURES_MAX: usize = 32;

/// Steps between two questions whether to go on: some 100 microseconds.
const STEPS_PER_INTERRUPT: u32 = 1 << 16;

/// The escape character of patterns.
const ESCAPE: u8 = b'%';

/// Why matching failed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PatternError {
    /// The pattern is wrong; the text is PUC Lua's.
    Malformed(&'static str),
    /// The run ends.
    Interrupted(Stopped),
}

/// The extent of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// `(` was met, `)` not yet.
    Open,
    /// `()`: the position alone.
    Position,
    /// Bytes from the start.
    Bytes(usize),
}

/// A capture: `start` is an index into the subject.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capture {
    pub(crate) start: usize,
    pub(crate) extent: Extent,
}

/// What to try when the rest of the pattern does not match.
#[derive(Clone, Copy, Debug)]
enum Alternative {
    /// `*` and `+` matched `count` characters from `start`: one less, then the pattern at `next`.
    Fewer {
        start: usize,
        count: usize,
        next: usize,
    },
    /// `-` matched up to `at`: one more of the item at `item`, then the pattern at `next`.
    More { at: usize, item: usize, next: usize },
    /// `?`: without the item.
    Without { at: usize, next: usize },
    /// A capture was opened: it is dropped, and the search for an alternative goes on.
    Opened,
    /// A capture was closed: it is open again, and the search goes on.
    Closed(usize),
}

/// What matching needs room for, kept from one match to the next.
#[derive(Debug, Default)]
pub(crate) struct Space {
    /// `captures.len() <= CAPTURES_MAX`
    captures: Vec<Capture>,
    alternatives: Vec<Alternative>,
}

impl Space {
    /// The captures of the last match.
    pub(crate) fn captures(&self) -> &[Capture] {
        &self.captures
    }

    /// Drops the captures.
    pub(crate) fn forget(&mut self) {
        self.captures.clear();
    }

    /// Gives back what a long match has taken.
    pub(crate) fn trim(&mut self) {
        const ALTERNATIVES_KEEP: usize = 1024;
        self.alternatives.clear();
        self.alternatives.shrink_to(ALTERNATIVES_KEEP);
    }
}

/// A match of one pattern on one subject.
pub(crate) struct Matcher<'a> {
    subject: &'a [u8],
    pattern: &'a [u8],
    space: &'a mut Space,
    steps: u32,
    interrupt: &'a dyn Fn() -> Result<(), Stopped>,
}

/// How one item of the pattern ended.
enum Step {
    /// Go on at this place of the subject and of the pattern.
    On(usize, usize),
    /// The whole pattern matched up to here.
    Matched(usize),
    /// The item does not match.
    Failed,
}

impl<'a> Matcher<'a> {
    /// A matcher of `pattern`, without an anchor, which ends at its first NUL.
    pub(crate) fn new(
        subject: &'a [u8],
        pattern: &'a [u8],
        space: &'a mut Space,
        interrupt: &'a dyn Fn() -> Result<(), Stopped>,
    ) -> Matcher<'a> {
        let end = memchr::memchr(0, pattern);
        Matcher {
            subject,
            pattern: &pattern[..end.unwrap_or(pattern.len())],
            space,
            steps: 0,
            interrupt,
        }
    }

    /// The captures of the last match.
    pub(crate) fn captures(&self) -> &[Capture] {
        &self.space.captures
    }

    /// Matches at `start` of the subject, and returns where the match ends.
    pub(crate) fn match_at(&mut self, start: usize) -> Result<Option<usize>, PatternError> {
        self.space.captures.clear();
        self.space.alternatives.clear();
        let (mut at, mut item) = (start, 0);
        loop {
            self.count()?;
            match self.step(at, item)? {
                Step::On(next_at, next_item) => (at, item) = (next_at, next_item),
                Step::Matched(end) => return Ok(Some(end)),
                Step::Failed => match self.alternative()? {
                    Some(place) => (at, item) = place,
                    None => return Ok(None),
                },
            }
        }
    }

    fn count(&mut self) -> Result<(), PatternError> {
        self.steps += 1;
        if self.steps >= STEPS_PER_INTERRUPT {
            self.steps = 0;
            (self.interrupt)().map_err(PatternError::Interrupted)?;
        }
        Ok(())
    }

    /// The byte of the pattern, 0 behind its end.
    fn item(&self, index: usize) -> u8 {
        self.pattern.get(index).copied().unwrap_or(0)
    }

    /// The byte of the subject, 0 behind its end.
    fn byte(&self, index: usize) -> u8 {
        self.subject.get(index).copied().unwrap_or(0)
    }

    fn step(&mut self, at: usize, item: usize) -> Result<Step, PatternError> {
        match self.item(item) {
            0 => Ok(Step::Matched(at)),
            b'(' if self.item(item + 1) == b')' => self.open(at, item + 2, Extent::Position),
            b'(' => self.open(at, item + 1, Extent::Open),
            b')' => self.close(at, item + 1),
            b'$' if item + 1 == self.pattern.len() => Ok(if at == self.subject.len() {
                Step::Matched(at)
            } else {
                Step::Failed
            }),
            ESCAPE => match self.item(item + 1) {
                b'b' => self.balanced(at, item + 2),
                b'f' => self.frontier(at, item + 2),
                digit @ b'0'..=b'9' => self.repeat_capture(at, item, digit),
                _ => self.single(at, item),
            },
            _ => self.single(at, item),
        }
    }

    /// The place of the next alternative, the last noted first.
    fn alternative(&mut self) -> Result<Option<(usize, usize)>, PatternError> {
        while let Some(alternative) = self.space.alternatives.pop() {
            self.count()?;
            match alternative {
                Alternative::Fewer { count: 0, .. } => {}
                Alternative::Fewer { start, count, next } => {
                    let count = count - 1;
                    self.space
                        .alternatives
                        .push(Alternative::Fewer { start, count, next });
                    return Ok(Some((start + count, next)));
                }
                Alternative::More { at, item, next } => {
                    let class_end = next - 1;
                    if at < self.subject.len() && self.matches_one(at, item, class_end) {
                        let at = at + 1;
                        self.space
                            .alternatives
                            .push(Alternative::More { at, item, next });
                        return Ok(Some((at, next)));
                    }
                }
                Alternative::Without { at, next } => return Ok(Some((at, next))),
                Alternative::Opened => {
                    self.space.captures.pop();
                }
                Alternative::Closed(index) => self.space.captures[index].extent = Extent::Open,
            }
        }
        Ok(None)
    }

    fn open(&mut self, at: usize, next: usize, extent: Extent) -> Result<Step, PatternError> {
        if self.space.captures.len() >= CAPTURES_MAX {
            return Err(PatternError::Malformed("too many captures"));
        }
        self.space.captures.push(Capture { start: at, extent });
        self.space.alternatives.push(Alternative::Opened);
        Ok(Step::On(at, next))
    }

    fn close(&mut self, at: usize, next: usize) -> Result<Step, PatternError> {
        let open = self
            .captures()
            .iter()
            .rposition(|capture| capture.extent == Extent::Open);
        let Some(index) = open else {
            return Err(PatternError::Malformed("invalid pattern capture"));
        };
        let capture = &mut self.space.captures[index];
        capture.extent = Extent::Bytes(at - capture.start);
        self.space.alternatives.push(Alternative::Closed(index));
        Ok(Step::On(at, next))
    }

    /// `%bxy`: `item` is at `x`.
    fn balanced(&mut self, at: usize, item: usize) -> Result<Step, PatternError> {
        let (open, close) = (self.item(item), self.item(item + 1));
        if open == 0 || close == 0 {
            return Err(PatternError::Malformed("unbalanced pattern"));
        }
        if self.byte(at) != open || at >= self.subject.len() {
            return Ok(Step::Failed);
        }
        let mut depth = 1_usize;
        for index in at + 1..self.subject.len() {
            self.count()?;
            let byte = self.subject[index];
            if byte == close {
                depth -= 1;
                if depth == 0 {
                    return Ok(Step::On(index + 1, item + 2));
                }
            } else if byte == open {
                depth += 1;
            }
        }
        Ok(Step::Failed)
    }

    /// `%f[set]`: `item` is at the bracket.
    fn frontier(&mut self, at: usize, item: usize) -> Result<Step, PatternError> {
        if self.item(item) != b'[' {
            return Err(PatternError::Malformed("missing '[' after '%f' in pattern"));
        }
        let end = self.class_end(item)?;
        let previous = if at == 0 { 0 } else { self.subject[at - 1] };
        let outside = !self.in_set(previous, item, end - 1);
        Ok(if outside && self.in_set(self.byte(at), item, end - 1) {
            Step::On(at, end)
        } else {
            Step::Failed
        })
    }

    /// `%1`: what a capture matched, again.
    fn repeat_capture(&mut self, at: usize, item: usize, digit: u8) -> Result<Step, PatternError> {
        let index = usize::from(digit).wrapping_sub(usize::from(b'1'));
        let capture = self.captures().get(index).copied();
        let Some(Capture { start, extent }) = capture.filter(|c| c.extent != Extent::Open) else {
            return Err(PatternError::Malformed("invalid capture index"));
        };
        // The length of a position capture counts as one that no subject has.
        let Extent::Bytes(bytes) = extent else {
            return Ok(Step::Failed);
        };
        let wanted = &self.subject[start..start + bytes];
        Ok(if self.subject[at..].starts_with(wanted) {
            Step::On(at + bytes, item + 2)
        } else {
            Step::Failed
        })
    }

    /// An item that stands for one character, with what follows it.
    fn single(&mut self, at: usize, item: usize) -> Result<Step, PatternError> {
        let end = self.class_end(item)?;
        let matches = at < self.subject.len() && self.matches_one(at, item, end);
        match self.item(end) {
            b'?' => {
                if !matches {
                    return Ok(Step::On(at, end + 1));
                }
                self.space
                    .alternatives
                    .push(Alternative::Without { at, next: end + 1 });
                Ok(Step::On(at + 1, end + 1))
            }
            b'*' => self.repeat(at, item, end),
            b'+' if matches => self.repeat(at + 1, item, end),
            b'+' => Ok(Step::Failed),
            b'-' => {
                self.space.alternatives.push(Alternative::More {
                    at,
                    item,
                    next: end + 1,
                });
                Ok(Step::On(at, end + 1))
            }
            _ if matches => Ok(Step::On(at + 1, end)),
            _ => Ok(Step::Failed),
        }
    }

    fn repeat(&mut self, start: usize, item: usize, end: usize) -> Result<Step, PatternError> {
        let mut at = start;
        while at < self.subject.len() && self.matches_one(at, item, end) {
            self.count()?;
            at += 1;
        }
        let next = end + 1;
        let count = at - start;
        self.space
            .alternatives
            .push(Alternative::Fewer { start, count, next });
        Ok(Step::On(at, next))
    }

    /// Where the item at `item`, which stands for one character, ends.
    fn class_end(&self, item: usize) -> Result<usize, PatternError> {
        match self.item(item) {
            ESCAPE if self.item(item + 1) == 0 => {
                Err(PatternError::Malformed("malformed pattern (ends with '%')"))
            }
            ESCAPE => Ok(item + 2),
            b'[' => {
                let mut index = item + 1;
                if self.item(index) == b'^' {
                    index += 1;
                }
                // The first character may be a bracket of the set itself.
                loop {
                    match self.item(index) {
                        0 => {
                            return Err(PatternError::Malformed("malformed pattern (missing ']')"));
                        }
                        ESCAPE if self.item(index + 1) != 0 => index += 2,
                        _ => index += 1,
                    }
                    if self.item(index) == b']' {
                        return Ok(index + 1);
                    }
                }
            }
            _ => Ok(item + 1),
        }
    }

    /// Whether the character at `at` is of the class from `item` to `end`.
    fn matches_one(&self, at: usize, item: usize, end: usize) -> bool {
        let byte = self.subject[at];
        match self.item(item) {
            b'.' => true,
            ESCAPE => in_class(byte, self.item(item + 1)),
            b'[' => self.in_set(byte, item, end - 1),
            literal => literal == byte,
        }
    }

    /// Whether `byte` is of the set from the bracket at `open` to the one at `close`.
    fn in_set(&self, byte: u8, open: usize, close: usize) -> bool {
        let mut index = open + 1;
        let negated = self.item(index) == b'^';
        if negated {
            index += 1;
        }
        while index < close {
            let found;
            if self.item(index) == ESCAPE {
                found = in_class(byte, self.item(index + 1));
                index += 2;
            } else if self.item(index + 1) == b'-' && index + 2 < close {
                found = (self.item(index)..=self.item(index + 2)).contains(&byte);
                index += 3;
            } else {
                found = self.item(index) == byte;
                index += 1;
            }
            if found {
                return !negated;
            }
        }
        negated
    }
}

/// Whether `byte` is of the class with this letter; a capital letter is the complement, any other
/// character stands for itself.
fn in_class(byte: u8, class: u8) -> bool {
    let found = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte.is_ascii_whitespace() || byte == 0x0b,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    found != class.is_ascii_uppercase()
}
