//! Auxiliary fields of our own before an entry: what its value has beyond the form of Redis.

use super::error::RdbCause;
use super::input::Input;
use super::value::time;
use crate::rdb::format;
use keyspace::Value;
use values::stream::Pending;
use values::{DIGITS, Stream, StreamId};

/// What was said of the next entry.
#[derive(Default)]
pub(super) struct Extras {
    member_deadlines: Option<Box<[u8]>>,
    unowned_pending: Option<Box<[u8]>>,
}

impl Extras {
    /// Keeps a field if it is one of these.
    pub(super) fn keep(&mut self, name: &[u8], value: &[u8]) -> bool {
        let place = if name == format::AUX_MEMBER_DEADLINES.as_bytes() {
            &mut self.member_deadlines
        } else if name == format::AUX_UNOWNED_PENDING.as_bytes() {
            &mut self.unowned_pending
        } else {
            return false;
        };
        *place = Some(value.into());
        true
    }

    /// Gives the value what was said of it.
    pub(super) fn apply(&self, value: &mut Value, string_max: usize) -> Result<(), RdbCause> {
        if let Some(bytes) = &self.member_deadlines {
            let mut input = Input::of_slice(bytes, string_max);
            for _ in 0..inside(input.length())? {
                let deadline = inside(time(&mut input))?;
                let mut digits = DIGITS;
                let member = inside(input.string())?;
                let member = member.as_bytes(&mut digits);
                let found = match value {
                    Value::Set(set) => set.set_deadline(member, Some(deadline)),
                    Value::ZSet(zset) => zset.set_deadline(member, Some(deadline)),
                    _ => false,
                };
                if !found {
                    return Err(RdbCause::Malformed(
                        "a deadline of a member that is not there",
                    ));
                }
            }
        }
        match (&self.unowned_pending, value) {
            (None, _) => Ok(()),
            (Some(bytes), Value::Stream(stream)) => {
                inside(add_pending(&mut Input::of_slice(bytes, string_max), stream))
            }
            (Some(_), _) => Err(RdbCause::Malformed("pending entries of what is no stream")),
        }
    }
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

/// The field was there as a whole: what is missing in it is not missing in the file.
fn inside<T>(result: Result<T, RdbCause>) -> Result<T, RdbCause> {
    result.map_err(|cause| match cause {
        RdbCause::Truncated => RdbCause::Malformed("an auxiliary field that is cut off"),
        cause => cause,
    })
}
