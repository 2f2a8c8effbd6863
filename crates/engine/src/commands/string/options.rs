//! The options that SET, GETEX and MSETEX share: a condition, GET, and how long the key lives.

use resp::Args;

use super::compare::Comparison;
use crate::error::CommandError;

/// When a write happens at all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Condition<'a> {
    /// Always.
    #[default]
    Always,
    /// The key must not exist.
    Missing,
    /// The key must exist.
    Exists,
    /// The key's value must satisfy this comparison.
    Compares(Comparison<'a>),
}

/// Unit and origin of an expiration argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands) enum Unit {
    /// EX: seconds from now.
    Seconds,
    /// PX: milliseconds from now.
    Milliseconds,
    /// EXAT: Unix time in seconds.
    UnixSeconds,
    /// PXAT: Unix time in milliseconds.
    UnixMilliseconds,
}

impl Unit {
    /// The unit that an option word stands for.
    pub(in crate::commands) fn of_word(word: &[u8]) -> Option<Self> {
        match word.len() {
            2 if word.eq_ignore_ascii_case(b"ex") => Some(Self::Seconds),
            2 if word.eq_ignore_ascii_case(b"px") => Some(Self::Milliseconds),
            4 if word.eq_ignore_ascii_case(b"exat") => Some(Self::UnixSeconds),
            4 if word.eq_ignore_ascii_case(b"pxat") => Some(Self::UnixMilliseconds),
            _ => None,
        }
    }

    /// Milliseconds in this unit, rounded to the nearest.
    pub(in crate::commands) fn count(self, milliseconds: u64) -> i64 {
        let count = match self {
            Self::Seconds | Self::UnixSeconds => milliseconds.saturating_add(500) / 1000,
            Self::Milliseconds | Self::UnixMilliseconds => milliseconds,
        };
        i64::try_from(count).unwrap_or(i64::MAX)
    }

    /// True when the argument is a point in time and not a duration.
    pub(in crate::commands) fn is_absolute(self) -> bool {
        matches!(self, Self::UnixSeconds | Self::UnixMilliseconds)
    }

    /// The absolute deadline in Unix milliseconds that an argument asks for. `command` names the
    /// command in the error.
    pub(super) fn deadline(
        self,
        text: &[u8],
        now_ms: u64,
        command: &'static str,
    ) -> Result<u64, CommandError> {
        let amount = resp::number::parse_i64(text).ok_or(CommandError::NotInteger)?;
        if amount == 0 {
            return Err(CommandError::InvalidExpire(command));
        }
        self.deadline_after(amount, now_ms, command)
    }

    /// The absolute deadline in Unix milliseconds after a number of units, which may be none.
    pub(in crate::commands) fn deadline_after(
        self,
        amount: i64,
        now_ms: u64,
        command: &'static str,
    ) -> Result<u64, CommandError> {
        let invalid = || CommandError::InvalidExpire(command);
        if amount < 0 {
            return Err(invalid());
        }
        let in_seconds = matches!(self, Self::Seconds | Self::UnixSeconds);
        let milliseconds = if in_seconds {
            amount.checked_mul(1000).ok_or_else(invalid)?
        } else {
            amount
        };
        let base = if self.is_absolute() {
            0
        } else {
            i64::try_from(now_ms).map_err(|_| invalid())?
        };
        let deadline = milliseconds.checked_add(base).ok_or_else(invalid)?;
        u64::try_from(deadline).map_err(|_| invalid())
    }
}

/// The deadline that the options ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Lifetime<'a> {
    /// Nothing.
    #[default]
    Unsaid,
    /// KEEPTTL.
    Keep,
    /// PERSIST.
    Persist,
    /// EX, PX, EXAT or PXAT with its argument, and where the word stands among the options.
    Until {
        /// The word.
        unit: Unit,
        /// Its argument.
        text: &'a [u8],
        /// Index of the word, counted from the first option.
        index: usize,
    },
}

/// Which of the options a command has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepted {
    /// NX and XX.
    pub(super) existence: bool,
    /// IFEQ, IFNE, IFDEQ and IFDNE.
    pub(super) comparison: bool,
    /// GET.
    pub(super) get: bool,
    /// KEEPTTL.
    pub(super) keep: bool,
    /// PERSIST.
    pub(super) persist: bool,
}

/// The options of one request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options<'a> {
    /// NX, XX or a comparison.
    pub(super) condition: Condition<'a>,
    /// GET.
    pub(super) get: bool,
    /// The rest.
    pub(super) lifetime: Lifetime<'a>,
}

impl<'a> Options<'a> {
    /// Reads options until the end of `args`. The same word may be repeated, but not combined with
    /// one that contradicts it.
    pub(super) fn parse(args: Args<'a>, accepted: Accepted) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut index = 0;
        while let Some(word) = args.get(index) {
            let next = args.get(index + 1);
            let taken = options.flag(word, accepted) || {
                let taken = next.is_some_and(|next| options.pair(word, next, index, accepted));
                index += usize::from(taken);
                taken
            };
            if !taken {
                return Err(CommandError::Syntax);
            }
            index += 1;
        }
        Ok(options)
    }

    /// Takes an option without an argument.
    fn flag(&mut self, word: &[u8], accepted: Accepted) -> bool {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        match (self.condition, self.lifetime) {
            (Condition::Always | Condition::Missing, _) if accepted.existence && is(b"nx") => {
                self.condition = Condition::Missing;
            }
            (Condition::Always | Condition::Exists, _) if accepted.existence && is(b"xx") => {
                self.condition = Condition::Exists;
            }
            _ if accepted.get && is(b"get") => self.get = true,
            (_, Lifetime::Unsaid | Lifetime::Keep) if accepted.keep && is(b"keepttl") => {
                self.lifetime = Lifetime::Keep;
            }
            (_, Lifetime::Unsaid | Lifetime::Persist) if accepted.persist && is(b"persist") => {
                self.lifetime = Lifetime::Persist;
            }
            _ => return false,
        }
        true
    }

    /// Takes an option with an argument.
    fn pair(&mut self, word: &'a [u8], next: &'a [u8], index: usize, accepted: Accepted) -> bool {
        if let Some(unit) = Unit::of_word(word) {
            let free = match self.lifetime {
                Lifetime::Unsaid => true,
                Lifetime::Until { unit: before, .. } => before == unit,
                _ => false,
            };
            if free {
                self.lifetime = Lifetime::Until {
                    unit,
                    text: next,
                    index,
                };
            }
            return free;
        }
        match (self.condition, Comparison::of_words(word, next)) {
            (Condition::Always, Some(comparison)) if accepted.comparison => {
                self.condition = Condition::Compares(comparison);
                true
            }
            _ => false,
        }
    }

    /// The absolute deadline that EX, PX, EXAT or PXAT asks for.
    pub(super) fn deadline(
        &self,
        now_ms: u64,
        command: &'static str,
    ) -> Result<Option<u64>, CommandError> {
        match self.lifetime {
            Lifetime::Until { unit, text, .. } => unit.deadline(text, now_ms, command).map(Some),
            _ => Ok(None),
        }
    }

    /// True for a deadline given as a point in time (EXAT or PXAT).
    pub(super) fn is_absolute(&self) -> bool {
        matches!(self.lifetime, Lifetime::Until { unit, .. } if unit.is_absolute())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resp::OwnedArgs;

    const ALL: Accepted = Accepted {
        existence: true,
        comparison: true,
        get: true,
        keep: true,
        persist: true,
    };

    fn parse(words: &[&str]) -> bool {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let args = OwnedArgs::from_slices(&words);
        Options::parse(args.as_args(), ALL).is_ok()
    }

    #[test]
    fn contradictions_are_refused_and_repetitions_are_not() {
        assert!(parse(&["nx", "NX", "get", "GET", "ex", "1", "EX", "2"]));
        assert!(parse(&["IFEQ", "nx", "keepttl"]));
        for words in [
            &["nx", "xx"][..],
            &["ifeq", "a", "ifeq", "a"],
            &["nx", "ifne", "a"],
            &["ex", "1", "px", "1"],
            &["keepttl", "ex", "1"],
            &["ex", "1", "persist"],
            &["ex"],
            &["ifeq"],
            &["what"],
        ] {
            assert!(!parse(words), "{words:?}");
        }
    }

    #[test]
    fn deadlines_that_cannot_be_are_refused() {
        let max = i64::MAX.to_string();
        assert_eq!(Unit::Seconds.deadline(b"10", 5, "set"), Ok(10_005));
        assert_eq!(
            Unit::UnixMilliseconds.deadline(max.as_bytes(), 5, "set"),
            Ok(i64::MAX as u64)
        );
        for (unit, text) in [
            (Unit::Seconds, "0"),
            (Unit::Seconds, "-1"),
            (Unit::Seconds, max.as_str()),
            (Unit::UnixSeconds, "9223372036854776"),
            (Unit::Milliseconds, max.as_str()),
        ] {
            assert_eq!(
                unit.deadline(text.as_bytes(), 5, "set"),
                Err(CommandError::InvalidExpire("set"))
            );
        }
        assert_eq!(
            Unit::Seconds.deadline(b"1.5", 5, "set"),
            Err(CommandError::NotInteger)
        );
    }
}
