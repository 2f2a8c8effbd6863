//! A counted list of elements among options: `[options] FIELDS n element ... [options]`.
//!
//! Valkey requires the options before the list; Redis accepts them behind it as well. As in Valkey,
//! an argument behind the list that is no option means that the number of elements is wrong.

use resp::Args;

use super::Words;
use crate::error::CommandError;

/// The parts of such a request.
#[derive(Clone, Copy)]
pub(in crate::commands) struct Listed<'a> {
    /// The elements, each with its value where it has one.
    pub(in crate::commands) elements: Args<'a>,
    /// How many elements there are.
    pub(in crate::commands) count: usize,
    before: Args<'a>,
    after: Args<'a>,
}

impl<'a> Listed<'a> {
    /// Takes a request apart. Options begin at argument `first`, `width` arguments make an element,
    /// and `check` refuses options.
    pub(in crate::commands) fn parse(
        args: Args<'a>,
        first: usize,
        width: usize,
        words: &Words,
        check: impl Fn(&mut dyn Iterator<Item = &'a [u8]>) -> Result<(), CommandError>,
    ) -> Result<Self, CommandError> {
        let miscounted = || CommandError::line(words.miscounted);
        let rest = args.skip(first);
        let at = rest
            .iter()
            .position(|word| word.eq_ignore_ascii_case(words.list.as_bytes()))
            .filter(|at| at + 1 < rest.len())
            .ok_or_else(miscounted)?;
        let before = rest.take(at);
        check(&mut before.iter())?;
        let number = resp::number::parse_i64(rest.arg(at + 1)).ok_or(CommandError::NotInteger)?;
        let listed = rest.skip(at + 2);
        let count = usize::try_from(number)
            .ok()
            .filter(|count| *count > 0 && *count <= listed.len() / width)
            .ok_or_else(miscounted)?;
        let request = Self {
            elements: listed.take(count * width),
            count,
            before,
            after: listed.skip(count * width),
        };
        if !request.after.is_empty() && check(&mut request.options()).is_err() {
            return Err(miscounted());
        }
        Ok(request)
    }

    /// All options, in their order.
    pub(in crate::commands) fn options(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.before.iter().chain(self.after.iter())
    }

    /// True when options stand behind the list, a form that not every reader of the log accepts.
    pub(in crate::commands) fn has_options_behind(&self) -> bool {
        !self.after.is_empty()
    }
}
