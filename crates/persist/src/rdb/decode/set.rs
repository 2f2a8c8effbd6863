//! Sets.

use super::error::RdbCause;
use super::input::Input;
use super::value::{count, hint, not_empty};
use crate::rdb::format::types;
use values::{DIGITS, Set, Thresholds};

/// Member by member.
pub(super) fn plain(input: &mut Input<'_>, limits: &Thresholds) -> Result<Set, RdbCause> {
    let members = count(input)?;
    let mut set = None;
    for _ in 0..members {
        let mut digits = DIGITS;
        let member = input.string()?;
        let member = member.as_bytes(&mut digits);
        let set = set.get_or_insert_with(|| Set::with_capacity_hint(member, hint(members), limits));
        if !set.add(member, limits) {
            return Err(RdbCause::Malformed("a member of the set is there twice"));
        }
    }
    set.ok_or(RdbCause::Empty)
}

/// Packed.
pub(super) fn packed(
    input: &mut Input<'_>,
    code: u8,
    limits: &Thresholds,
) -> Result<Set, RdbCause> {
    let bytes = input.blob()?;
    let mut set = match code {
        types::SET_INTSET => Set::from_intset(bytes)?,
        _ => Set::from_listpack(bytes)?,
    };
    set.convert(limits);
    let len = set.len();
    not_empty(set, len)
}
