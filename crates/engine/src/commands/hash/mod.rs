//! Commands on hashes.

mod delete;
mod expiry;
mod get;
mod incr;
mod lifetime;
mod random;
mod scan;
mod set;

use keyspace::{NewValue, Value};
use values::{Hash, HashView};

use crate::command::Arg;
use crate::context::{Data, EventClass, Expiry};
use crate::error::CommandError;
use crate::execute::CommandSpec;
use crate::keys::Key;

/// All commands of this group.
pub const COMMANDS: &[&CommandSpec] = &[
    &delete::HDEL,
    &get::HEXISTS,
    &expiry::HEXPIRE,
    &expiry::HEXPIREAT,
    &expiry::HEXPIRETIME,
    &get::HGET,
    &get::HGETALL,
    &delete::HGETDEL,
    &lifetime::HGETEX,
    &incr::HINCRBY,
    &incr::HINCRBYFLOAT,
    &get::HKEYS,
    &get::HLEN,
    &get::HMGET,
    &set::HMSET,
    &expiry::HPERSIST,
    &expiry::HPEXPIRE,
    &expiry::HPEXPIREAT,
    &expiry::HPEXPIRETIME,
    &expiry::HPTTL,
    &random::HRANDFIELD,
    &scan::HSCAN,
    &set::HSET,
    &lifetime::HSETEX,
    &set::HSETNX,
    &get::HSTRLEN,
    &expiry::HTTL,
    &get::HVALS,
];

/// Documented argument: fields with their values.
const DATA: Arg = Arg::block("data")
    .multiple()
    .args(&[Arg::FIELD, Arg::VALUE]);

/// Changes the hash at a key, or a new one, which is stored when it has fields afterwards.
fn edit_or_new<R>(
    data: &mut Data<'_, '_>,
    key: Key<'_>,
    change: impl FnOnce(&mut Hash) -> R,
) -> Result<R, CommandError> {
    if let Some(hash) = data.hash_mut(key)? {
        return Ok(change(hash));
    }
    let mut hash = Hash::new();
    let result = change(&mut hash);
    if !hash.is_empty() {
        let value = NewValue::Owned(Value::Hash(hash));
        data.set(key, value, Expiry::Clear);
        data.notify(EventClass::New, "new", key);
    }
    Ok(result)
}

/// Fields of one hash that have expired but are not removed yet: active expiry is off, in import
/// mode or during a pause.
#[derive(Clone, Copy)]
struct Overdue {
    /// Fields with a deadline up to this have expired; 0 when there are none.
    until_ms: u64,
}

impl Overdue {
    /// The expired fields of `hash` at `now_ms` (0: none counts as expired).
    #[inline]
    fn of(hash: &HashView, now_ms: u64) -> Self {
        let some = now_ms != 0 && hash.next_deadline().is_some_and(|at| at <= now_ms);
        Self {
            until_ms: if some { now_ms } else { 0 },
        }
    }

    /// True when there are any.
    #[inline]
    fn any(self) -> bool {
        self.until_ms != 0
    }

    /// True when `field` is one of them.
    #[inline]
    fn includes(self, hash: &HashView, field: &[u8]) -> bool {
        self.any() && matches!(hash.deadline(field), Some(Some(at)) if at <= self.until_ms)
    }
}

/// The time that writes compare the deadlines of existing fields with: 0 when no field counts as
/// expired, as in a replay of the log.
fn write_ms(data: &Data<'_, '_>) -> u64 {
    if data.is_past(data.now_ms) {
        data.now_ms
    } else {
        0
    }
}

/// Fields that were overdue have been overwritten, which counts as if they had expired.
fn note_overwritten(data: &mut Data<'_, '_>, key: Key<'_>, overdue: &[&[u8]]) {
    if !overdue.is_empty() {
        data.stats.expired_fields.add(overdue.len() as u64);
        data.notify_elements(key, (EventClass::Hash, "hexpired"), overdue);
    }
}
