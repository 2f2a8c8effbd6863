//! The options of SORT, and the keys and locks that follow from them.

use resp::Args;
use smallvec::SmallVec;

use crate::command::{KeyFlags, KeyPosition, KeyPositions, Locks};
use crate::error::CommandError;

/// One option; the numbers are indexes of arguments.
enum Word {
    Ascending,
    Descending,
    Alpha,
    Limit(usize, usize),
    Store(usize),
    By(usize),
    Get(usize),
    Unknown,
}

/// The option at `index` and where the next one begins.
fn word_at(args: Args<'_>, index: usize) -> (Word, usize) {
    let is = |word: &str| args.arg(index).eq_ignore_ascii_case(word.as_bytes());
    let values = args.len() - index - 1;
    match () {
        () if is("asc") => (Word::Ascending, index + 1),
        () if is("desc") => (Word::Descending, index + 1),
        () if is("alpha") => (Word::Alpha, index + 1),
        () if is("limit") && values >= 2 => (Word::Limit(index + 1, index + 2), index + 3),
        () if is("store") && values >= 1 => (Word::Store(index + 1), index + 2),
        () if is("by") && values >= 1 => (Word::By(index + 1), index + 2),
        () if is("get") && values >= 1 => (Word::Get(index + 1), index + 2),
        () => (Word::Unknown, index + 1),
    }
}

fn words(args: Args<'_>) -> impl Iterator<Item = Word> {
    let mut index = 2;
    std::iter::from_fn(move || {
        (index < args.len()).then(|| {
            let (word, next) = word_at(args, index);
            index = next;
            word
        })
    })
}

/// The parsed options.
pub(super) struct Options<'a> {
    pub(super) descending: bool,
    /// Compare bytes instead of numbers.
    pub(super) alpha: bool,
    /// Elements left out at the beginning.
    pub(super) skip: i64,
    /// Elements returned; negative for all.
    pub(super) count: i64,
    pub(super) by: Option<&'a [u8]>,
    pub(super) gets: SmallVec<[&'a [u8]; 2]>,
    /// Argument index of the destination.
    pub(super) store: Option<usize>,
}

impl<'a> Options<'a> {
    pub(super) fn parse(
        args: Args<'a>,
        may_store: bool,
        may_read_all_keys: impl Fn() -> bool,
    ) -> Result<Self, CommandError> {
        let mut options = Self {
            descending: false,
            alpha: false,
            skip: 0,
            count: -1,
            by: None,
            gets: SmallVec::new(),
            store: None,
        };
        let integer =
            |index| resp::number::parse_i64(args.arg(index)).ok_or(CommandError::NotInteger);
        for word in words(args) {
            match word {
                Word::Ascending => options.descending = false,
                Word::Descending => options.descending = true,
                Word::Alpha => options.alpha = true,
                Word::Limit(skip, count) => {
                    (options.skip, options.count) = (integer(skip)?, integer(count)?);
                }
                Word::Store(index) if may_store => options.store = Some(index),
                Word::By(index) => {
                    if is_pattern(args.arg(index)) && !may_read_all_keys() {
                        return Err(denied("BY"));
                    }
                    options.by = Some(args.arg(index));
                }
                Word::Get(index) => {
                    if !may_read_all_keys() {
                        return Err(denied("GET"));
                    }
                    options.gets.push(args.arg(index));
                }
                Word::Store(_) | Word::Unknown => return Err(CommandError::Syntax),
            }
        }
        Ok(options)
    }

    /// True when BY is the same for all elements, which are not sorted then.
    pub(super) fn keeps_order(&self) -> bool {
        self.by.is_some_and(|pattern| !is_pattern(pattern))
    }
}

fn denied(option: &str) -> CommandError {
    CommandError::owned(format!(
        "ERR {option} option of SORT denied due to insufficient ACL permissions."
    ))
}

/// True when the pattern contains `*`, so that each element has a key.
fn is_pattern(pattern: &[u8]) -> bool {
    memchr::memchr(b'*', pattern).is_some()
}

/// Patterns reach keys that are unknown before the elements are read, so all shards are locked;
/// without patterns only those of the named keys.
pub(super) fn locks(args: Args<'_>) -> Locks {
    let reaches_keys = words(args).any(|word| match word {
        Word::By(index) | Word::Get(index) => is_pattern(args.arg(index)),
        _ => false,
    });
    if reaches_keys {
        Locks::All
    } else {
        Locks::Keys
    }
}

/// The source and the destination: the last one, as in Redis.
pub(super) fn find_keys(args: Args<'_>) -> KeyPositions {
    let mut found = KeyPositions::new();
    if args.len() > 1 {
        found.push(KeyPosition {
            index: 1,
            flags: KeyFlags::RO.or(KeyFlags::ACCESS).0,
        });
    }
    let stores = words(args).filter_map(|word| match word {
        Word::Store(index) => Some(index),
        _ => None,
    });
    if let Some(index) = stores.last() {
        found.push(KeyPosition {
            index,
            flags: KeyFlags::OW.or(KeyFlags::UPDATE).0,
        });
    }
    found
}

/// A pattern of BY or GET.
pub(super) enum Pattern<'a> {
    /// `#`: the element itself.
    Element,
    /// Names no key.
    Nothing,
    /// A key around the element, and the field of the hash there when it is one.
    Key {
        before: &'a [u8],
        after: &'a [u8],
        field: Option<&'a [u8]>,
    },
}

impl<'a> Pattern<'a> {
    pub(super) fn parse(pattern: &'a [u8]) -> Self {
        if pattern == b"#" {
            return Self::Element;
        }
        let Some(star) = memchr::memchr(b'*', pattern) else {
            return Self::Nothing;
        };
        let (before, rest) = pattern.split_at(star);
        let after = rest.get(1..).unwrap_or_default();
        let arrow = memchr::memmem::find(after, b"->").filter(|at| at + 2 < after.len());
        match arrow {
            None => Self::Key {
                before,
                after,
                field: None,
            },
            Some(arrow) => Self::Key {
                before,
                after: after.get(..arrow).unwrap_or_default(),
                field: after.get(arrow + 2..),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resp::OwnedArgs;

    fn args(line: &str) -> OwnedArgs {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        OwnedArgs::from_slices(&words)
    }

    #[test]
    fn only_patterns_need_all_locks() {
        let needs_all = |line| matches!(locks(args(line).as_args()), Locks::All);
        for line in [
            "sort k",
            "sort k by nosort get # get plain",
            "sort k alpha desc store a*",
        ] {
            assert!(!needs_all(line), "{line}");
        }
        for line in ["sort k by w_*", "sort k limit 0 1 get # get v_*->f"] {
            assert!(needs_all(line), "{line}");
        }
    }

    #[test]
    fn the_last_destination_counts() {
        let indexes = |line| -> Vec<usize> {
            let found = find_keys(args(line).as_args());
            found.iter().map(|key| key.index).collect()
        };
        assert_eq!(indexes("sort k"), [1]);
        assert_eq!(indexes("sort k store a store b"), [1, 5]);
        assert_eq!(indexes("sort k by store store a"), [1, 5]);
        assert_eq!(indexes("sort k get store"), [1]);
    }

    #[test]
    fn fields_stand_behind_an_arrow() {
        let show = |pattern: &str| match Pattern::parse(pattern.as_bytes()) {
            Pattern::Element => "element".to_owned(),
            Pattern::Nothing => "nothing".to_owned(),
            Pattern::Key {
                before,
                after,
                field,
            } => format!(
                "{} {} {:?}",
                before.escape_ascii(),
                after.escape_ascii(),
                field.map(|field| field.escape_ascii().to_string())
            ),
        };
        assert_eq!(show("#"), "element");
        assert_eq!(show("a->b"), "nothing");
        assert_eq!(show("a_*_b"), "a_ _b None");
        assert_eq!(show("a_*_b->c->d"), "a_ _b Some(\"c->d\")");
        assert_eq!(show("a->*->"), "a-> -> None");
    }
}
