//! Lists.

use super::error::RdbCause;
use super::input::Input;
use super::packed;
use super::value::{count, not_empty};
use crate::rdb::format;
use values::{DIGITS, End, List, Thresholds};

/// Element by element.
pub(super) fn plain(input: &mut Input<'_>, limits: &Thresholds) -> Result<List, RdbCause> {
    let mut list = List::new();
    for _ in 0..count(input)? {
        let element = input.string()?;
        list.push(End::Back, element.as_bytes(&mut { DIGITS }), limits);
    }
    list.convert(limits);
    Ok(list)
}

/// One ziplist of all elements.
pub(super) fn ziplist(input: &mut Input<'_>, limits: &Thresholds) -> Result<List, RdbCause> {
    let pack = packed::of_ziplist(input.blob()?)?;
    let mut list = List::new();
    // Redis splits such a list into nodes of the size that is configured.
    for element in pack.view().iter() {
        list.push(End::Back, element.as_bytes(&mut { DIGITS }), limits);
    }
    let len = list.len();
    not_empty(list, len)
}

/// Nodes: ziplists, or each with its kind before it, a listpack or one element.
pub(super) fn nodes(
    input: &mut Input<'_>,
    with_kind: bool,
    limits: &Thresholds,
) -> Result<List, RdbCause> {
    let mut list = List::new();
    for _ in 0..count(input)? {
        if !with_kind {
            let pack = packed::of_ziplist(input.blob()?)?;
            list.append_listpack(pack.as_bytes(), limits)?;
            continue;
        }
        match input.length()? {
            format::NODE_PLAIN => {
                let element = input.string()?;
                if element.is_empty() {
                    return Err(RdbCause::Malformed(
                        "a node of the list is an empty element",
                    ));
                }
                list.append_plain(element.as_bytes(&mut { DIGITS }).into(), limits);
            }
            format::NODE_PACKED => list.append_listpack(input.blob()?, limits)?,
            _ => return Err(RdbCause::Malformed("a node of the list is of unknown kind")),
        }
    }
    list.convert(limits);
    let len = list.len();
    not_empty(list, len)
}
