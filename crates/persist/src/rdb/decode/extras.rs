//! Auxiliary fields of our own before an entry: properties of its value that the form of Redis
//! lacks.

use super::error::RdbCause;
use super::input::Input;
use super::stream;
use super::value::time;
use crate::rdb::format;
use keyspace::Value;
use values::stream::Pending;
use values::{DIGITS, Stream, StreamId};

/// The fields that are kept.
const NAMES: [&str; 3] = [
    format::AUX_MEMBER_DEADLINES,
    format::AUX_UNOWNED_PENDING,
    format::AUX_PRODUCERS,
];

/// The values of these fields for the next entry.
#[derive(Default)]
pub(super) struct Extras([Option<Box<[u8]>>; NAMES.len()]);

impl Extras {
    /// Keeps a field if it is one of these.
    pub(super) fn keep(&mut self, name: &[u8], value: &[u8]) -> bool {
        let mut places = NAMES.iter().zip(&mut self.0);
        let place = places.find(|(own, _)| own.as_bytes() == name);
        if let Some((_, place)) = place {
            *place = Some(value.into());
            return true;
        }
        false
    }

    /// True when no field is set.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Applies the fields to the value.
    pub(super) fn apply(&self, value: &mut Value, string_max: usize) -> Result<(), RdbCause> {
        for (name, bytes) in NAMES.iter().zip(&self.0) {
            let Some(bytes) = bytes else {
                continue;
            };
            let input = &mut Input::of_slice(bytes, string_max);
            let done = match (*name, &mut *value) {
                (format::AUX_MEMBER_DEADLINES, Value::Set(set)) => {
                    set_deadlines(input, |member, at| set.set_deadline(member, at))
                }
                (format::AUX_MEMBER_DEADLINES, Value::ZSet(zset)) => {
                    set_deadlines(input, |member, at| zset.set_deadline(member, at))
                }
                (format::AUX_UNOWNED_PENDING, Value::Stream(stream)) => add_pending(input, stream),
                (format::AUX_PRODUCERS, Value::Stream(stream)) => {
                    stream::read_producers(input, stream)
                }
                _ => return Err(NOT_OF_THIS),
            };
            // The field itself was read as a whole, so missing bytes in it do not mean a truncated
            // file.
            done.map_err(|cause| match cause {
                RdbCause::Truncated => RdbCause::Malformed("an auxiliary field that is cut off"),
                cause => cause,
            })?;
        }
        Ok(())
    }
}

/// The fields are only for collections.
pub(super) const NOT_OF_THIS: RdbCause =
    RdbCause::Malformed("what an auxiliary field says is not of this value");

fn set_deadlines(
    input: &mut Input<'_>,
    mut set: impl FnMut(&[u8], Option<u64>) -> bool,
) -> Result<(), RdbCause> {
    for _ in 0..input.length()? {
        let deadline = time(input)?;
        let member = input.string()?;
        if !set(member.as_bytes(&mut { DIGITS }), Some(deadline)) {
            return Err(RdbCause::Malformed(
                "a deadline of a member that is not there",
            ));
        }
    }
    Ok(())
}

fn add_pending(input: &mut Input<'_>, stream: &mut Stream) -> Result<(), RdbCause> {
    const WRONG: RdbCause = RdbCause::Malformed("a pending entry of no group, or there twice");
    for _ in 0..input.length()? {
        let mut digits = DIGITS;
        let name = input.string()?;
        let name = name.as_bytes(&mut digits);
        let group = stream.groups_mut().get_mut(name).ok_or(WRONG)?;
        for _ in 0..input.length()? {
            let id = StreamId::from_bytes(input.array()?);
            let pending = Pending {
                consumer: None,
                delivered_ms: time(input)?,
                deliveries: input.length()?,
            };
            if group.set_pending(id, pending).is_some() {
                return Err(WRONG);
            }
        }
    }
    Ok(())
}
