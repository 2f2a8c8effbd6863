//! The sparse form: runs of equal registers.
//!
//! ```text
//!  00llllll            ZERO   l + 1 registers (1 to 64) that saw nothing
//!  01llllll llllllll   XZERO  l + 1 registers (1 to 16,384) that saw nothing, high bits first
//!  1vvvvvll            VAL    l + 1 registers (1 to 4) of the value v + 1 (1 to 32)
//! ```
//! The runs make up all registers, in order. A register is changed by splitting the run it is in;
//! then runs of the same value beside it are joined. Where runs end depends on the order of
//! changes, and everything here makes the same choices as Redis: sketches are compared as bytes.

use super::{Corrupted, HEADER_BYTES, Observation, REGISTERS};
use std::ops::Range;

/// The highest value that a run can have.
const VALUE_MAX: u8 = 32;
const VALUE_RUN_MAX: usize = 4;
const ZERO_RUN_MAX: usize = 64;

/// Runs looked at when neighbours are joined.
const JOIN_RUNS: usize = 5;

/// Registers that lie one after the other and have the same value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// How many.
    pub len: usize,
    /// Their value; 0 when they saw nothing.
    pub value: u8,
    /// Written in two bytes.
    pub is_long: bool,
}

impl Run {
    /// The run that begins with the first of these bytes.
    #[inline]
    fn read(bytes: &[u8]) -> Option<Run> {
        let first = *bytes.first()?;
        Some(match first >> 6 {
            0 => Run {
                len: usize::from(first) + 1,
                value: 0,
                is_long: false,
            },
            1 => Run {
                len: (usize::from(first & 0x3f) << 8 | usize::from(*bytes.get(1)?)) + 1,
                value: 0,
                is_long: true,
            },
            _ => Run {
                len: usize::from(first & 3) + 1,
                value: (first >> 2 & 0x1f) + 1,
                is_long: false,
            },
        })
    }

    /// How many bytes it takes.
    #[inline]
    fn width(self) -> usize {
        if self.is_long { 2 } else { 1 }
    }
}

/// The runs, as far as they can be read.
pub(super) fn runs(bytes: &[u8]) -> impl Iterator<Item = Result<Run, Corrupted>> {
    let mut rest = bytes.get(HEADER_BYTES..).unwrap_or_default();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let run = Run::read(rest).ok_or(Corrupted);
        rest = run.map_or(&[], |run| rest.get(run.width()..).unwrap_or_default());
        Some(run)
    })
}

/// Visits all runs, which never reach beyond the last register.
///
/// # Errors
/// When they do not make up the registers.
pub(super) fn visit(bytes: &[u8], mut visit: impl FnMut(Run)) -> Result<(), Corrupted> {
    let mut seen = 0;
    for run in runs(bytes) {
        let run = run?;
        seen += run.len;
        if seen > REGISTERS {
            return Err(Corrupted);
        }
        visit(run);
    }
    if seen == REGISTERS {
        Ok(())
    } else {
        Err(Corrupted)
    }
}

/// Raises registers to those of a sketch.
///
/// # Errors
/// When the runs do not make up the registers.
pub(super) fn merge(bytes: &[u8], registers: &mut [u8; REGISTERS]) -> Result<(), Corrupted> {
    let mut rest = bytes.get(HEADER_BYTES..).unwrap_or_default();
    let mut index = 0;
    while let [first, after @ ..] = rest {
        rest = after;
        if first >> 6 == 1 {
            let [second, after @ ..] = rest else {
                return Err(Corrupted);
            };
            rest = after;
            index += (usize::from(first & 0x3f) << 8 | usize::from(*second)) + 1;
            continue;
        }
        // Zeros and values take turns as chance has it, so the first register of a run is treated
        // in the same way in both: a branch would be mispredicted half of the time.
        let is_value = first >> 7;
        let value = ((first >> 2 & 0x1f) + 1) * is_value;
        let len = usize::from(first & (0x3f ^ (0x3c * is_value))) + 1;
        let run = registers.get_mut(index..index + len).ok_or(Corrupted)?;
        if let [register, others @ ..] = run {
            *register = value.max(*register);
            if is_value == 1 {
                others.iter_mut().for_each(|it| *it = value.max(*it));
            }
        }
        index += len;
    }
    if index == REGISTERS {
        Ok(())
    } else {
        Err(Corrupted)
    }
}

/// Registers that saw nothing, at the end.
pub(super) fn push_zeros(bytes: &mut Vec<u8>, len: usize) {
    let mut pieces = Pieces::default();
    pieces.zeros(len);
    bytes.extend_from_slice(pieces.as_slice());
}

/// The runs that replace a run.
#[derive(Default)]
struct Pieces {
    bytes: [u8; 5],
    len: usize,
}

impl Pieces {
    fn push(&mut self, byte: u8) {
        if let Some(free) = self.bytes.get_mut(self.len) {
            *free = byte;
            self.len += 1;
        }
    }

    /// At most 16,384.
    fn zeros(&mut self, len: usize) {
        match len {
            0 => {}
            1..=ZERO_RUN_MAX => self.push((len - 1) as u8),
            _ => {
                self.push(0x40 | ((len - 1) >> 8) as u8);
                self.push((len - 1) as u8);
            }
        }
    }

    fn values(&mut self, value: u8, len: usize) {
        if len > 0 {
            self.push(value_run(value, len));
        }
    }

    fn same(&mut self, run: Run, len: usize) {
        match run.value {
            0 => self.zeros(len),
            value => self.values(value, len),
        }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

fn value_run(value: u8, len: usize) -> u8 {
    0x80 | (value - 1) << 2 | (len - 1) as u8
}

/// The beginning of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Its offset.
    at: usize,
    /// Its first register.
    first: usize,
}

impl Cursor {
    /// The first run.
    pub(super) const START: Cursor = Cursor {
        at: HEADER_BYTES,
        first: 0,
    };
}

/// A run that was looked for.
pub(super) struct Place {
    run: Run,
    start: Cursor,
    /// The run before it.
    previous: Option<Cursor>,
    /// The first run, or one before `previous`: a change at this place does not affect it.
    resume: Cursor,
}

/// Looks for a run.
struct Search<'a> {
    bytes: &'a [u8],
    place: Cursor,
    previous: Option<Cursor>,
    resume: Cursor,
}

/// One bit in each byte.
const ONES: u64 = u64::MAX / 255;

impl<'a> Search<'a> {
    fn new(bytes: &'a [u8], from: Cursor) -> Search<'a> {
        Search {
            bytes,
            place: from,
            previous: None,
            resume: from,
        }
    }

    /// Goes to the run that has the register.
    fn find(mut self, index: usize) -> Result<Place, Corrupted> {
        while self.skip(index) {}
        loop {
            let run = self.bytes.get(self.place.at..).and_then(Run::read);
            let run = run.ok_or(Corrupted)?;
            if index < self.place.first + run.len {
                return Ok(Place {
                    run,
                    start: self.place,
                    previous: self.previous,
                    resume: self.resume,
                });
            }
            self.step(run);
        }
    }

    /// Goes on by one run.
    fn step(&mut self, run: Run) {
        if let Some(previous) = self.previous {
            self.resume = previous;
        }
        self.previous = Some(self.place);
        self.place = Cursor {
            at: self.place.at + run.width(),
            first: self.place.first + run.len,
        };
    }

    /// Goes on by the runs of one byte that begin in the next eight bytes, and the longer one that
    /// follows them there, unless the register is in one of them or the bytes end before.
    #[inline]
    fn skip(&mut self, index: usize) -> bool {
        let rest = self.bytes.get(self.place.at..);
        let Some(next) = rest.and_then(|rest| rest.first_chunk()) else {
            return false;
        };
        let word = u64::from_le_bytes(*next);
        // Bytes of the form 01......: before the first of them all are runs.
        let long = word & !(word >> 1) & (ONES << 6);
        let count = long.trailing_zeros() as usize / 8;
        if count > 0 {
            let kept = u64::MAX >> (64 - 8 * count);
            // Six bits are the length of a run of zeros, two that of a run of a value.
            let values = word >> 7 & ONES;
            let lens = ((word & ((ONES * 0x3f) ^ (values * 0x3c))) + ONES) & kept;
            let pairs = (lens & (u64::MAX / 0x101)) + (lens >> 8 & (u64::MAX / 0x101));
            let total = (pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48) as usize;
            if index < self.place.first + total {
                return false;
            }
            let last = (lens >> (8 * (count - 1)) & 0xff) as usize;
            match self.previous {
                _ if count > 1 => self.resume = self.place,
                Some(previous) => self.resume = previous,
                None => {}
            }
            self.place.at += count;
            self.place.first += total;
            self.previous = Some(Cursor {
                at: self.place.at - 1,
                first: self.place.first - last,
            });
        }
        if long != 0 {
            let run = self.bytes.get(self.place.at..).and_then(Run::read);
            match run {
                Some(run) if index >= self.place.first + run.len => self.step(run),
                _ => return false,
            }
        }
        true
    }
}

/// The run that the observation would change.
///
/// # Errors
/// When there is no such register.
pub(super) fn lower(bytes: &[u8], seen: Observation) -> Result<Option<Place>, Corrupted> {
    let place = Search::new(bytes, Cursor::START).find(seen.index)?;
    Ok((place.run.value < seen.value).then_some(place))
}

/// The result of an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Raised {
    /// The register has at least this value already.
    Same,
    /// The register was raised.
    Done,
    /// This form cannot hold the value, or not within the length allowed.
    NeedsDense,
}

/// Adds an observation. The search for the register begins at `cursor`, which moves to where the
/// search for the next register, one that is not before this, can begin. The cardinality in the
/// header stays.
///
/// # Errors
/// When there is no such register.
pub(super) fn raise(
    bytes: &mut Vec<u8>,
    cursor: &mut Cursor,
    seen: Observation,
    len_max: usize,
) -> Result<Raised, Corrupted> {
    if seen.value > VALUE_MAX {
        return Ok(Raised::NeedsDense);
    }
    let place = Search::new(bytes, *cursor).find(seen.index)?;
    *cursor = place.resume;
    if place.run.value >= seen.value {
        return Ok(Raised::Same);
    }
    Ok(raise_at(bytes, &place, seen, len_max))
}

/// The same for a register whose place is known and whose value is lower.
pub(super) fn raise_at(
    bytes: &mut Vec<u8>,
    place: &Place,
    seen: Observation,
    len_max: usize,
) -> Raised {
    if seen.value > VALUE_MAX {
        return Raised::NeedsDense;
    }
    let (run, start) = (place.run, place.start);
    let before = seen.index - start.first;
    let mut pieces = Pieces::default();
    pieces.same(run, before);
    pieces.values(seen.value, 1);
    pieces.same(run, run.len - before - 1);
    let pieces = pieces.as_slice();
    if pieces.len() > run.width() && bytes.len() + pieces.len() - run.width() > len_max {
        return Raised::NeedsDense;
    }
    replace(bytes, start.at..start.at + run.width(), pieces);
    join(bytes, place.previous.unwrap_or(start).at);
    Raised::Done
}

/// Puts other bytes in the place of some.
fn replace(bytes: &mut Vec<u8>, old: Range<usize>, new: &[u8]) {
    let len = bytes.len();
    let (end, new_end) = (old.end.min(len), old.start + new.len());
    let new_len = len - end + new_end;
    if new_len > len {
        bytes.resize(new_len, 0);
    }
    bytes.copy_within(end..len, new_end);
    bytes.truncate(new_len);
    if let Some(target) = bytes.get_mut(old.start..new_end) {
        target.copy_from_slice(new);
    }
}

/// Joins runs of the same value, from an offset on.
fn join(bytes: &mut Vec<u8>, mut at: usize) {
    for _ in 0..JOIN_RUNS {
        let mut next = bytes.get(at..).unwrap_or_default();
        let Some(run) = Run::read(next) else {
            return;
        };
        next = next.get(run.width()..).unwrap_or_default();
        let joined = match Run::read(next) {
            Some(after) if run.value > 0 && after.value == run.value => run.len + after.len,
            _ => usize::MAX,
        };
        if joined <= VALUE_RUN_MAX {
            bytes[at] = value_run(run.value, joined);
            bytes.remove(at + 1);
        } else {
            at += run.width();
        }
    }
}
