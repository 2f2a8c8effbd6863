//! Sorted sets.

use super::error::RdbCause;
use super::input::Input;
use super::packed;
use super::value::{count, not_empty};
use crate::rdb::format::types;
use values::{SortedSet, SortedSetBuilder, Thresholds};

const NOT_A_NUMBER: RdbCause = RdbCause::Malformed("Zset with NAN score detected");

/// Member by member, in any order.
pub(super) fn plain(
    input: &mut Input<'_>,
    code: u8,
    limits: &Thresholds,
) -> Result<SortedSet, RdbCause> {
    let mut builder = SortedSetBuilder::new();
    let mut member = Vec::new();
    let mut is_twice = false;
    for _ in 0..count(input)? {
        input.string_into(&mut member)?;
        let score = match code {
            types::ZSET_2 => f64::from_le_bytes(input.array()?),
            _ => score_text(input)?,
        };
        if score.is_nan() {
            return Err(NOT_A_NUMBER);
        }
        builder.merge(&member, score, |there, _| {
            is_twice = true;
            there
        });
        if is_twice {
            return Err(RdbCause::Malformed(
                "a member of the sorted set is there twice",
            ));
        }
    }
    Ok(builder.finish(limits))
}

/// A score as text: its length in a byte, or a code for infinity or NaN.
fn score_text(input: &mut Input<'_>) -> Result<f64, RdbCause> {
    match input.byte()? {
        255 => Ok(f64::NEG_INFINITY),
        254 => Ok(f64::INFINITY),
        253 => Err(NOT_A_NUMBER),
        len => {
            let text = std::str::from_utf8(input.take(len.into())?).ok();
            text.and_then(|text| text.trim_ascii().parse().ok())
                .ok_or(RdbCause::Malformed(
                    "a score of the sorted set is not a number",
                ))
        }
    }
}

/// Packed, in order.
pub(super) fn packed(
    input: &mut Input<'_>,
    code: u8,
    limits: &Thresholds,
) -> Result<SortedSet, RdbCause> {
    let bytes = input.blob()?;
    let mut zset = match code {
        types::ZSET_ZIPLIST => SortedSet::from_listpack(packed::of_ziplist(bytes)?.as_bytes())?,
        _ => SortedSet::from_listpack(bytes)?,
    };
    if zset.is_packed() && zset.len() > limits.zset_entries {
        zset.convert(limits);
    }
    let len = zset.len();
    not_empty(zset, len)
}
