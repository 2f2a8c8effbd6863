//! DEBUG OBJECT and POPULATE.

use keyspace::{EntryRef, KeyHash, NewValue, Shard, StringRef};

use crate::context::Context;
use crate::error::CommandError;
use crate::watch::ShardTables;

/// Looks at a key, expired or not, without touching it.
pub(super) fn with_entry<R>(
    ctx: &Context<'_, '_>,
    key: &[u8],
    look: impl FnOnce(&EntryRef<'_>) -> R,
) -> Option<R> {
    let keyspace = &ctx.server.keyspace;
    let hash = keyspace.hash(key);
    let db = ctx.data.db;
    if let Some(shard) = ctx.data.locked.shard(hash) {
        return shard.find(db, hash, key).map(|entry| look(&entry));
    }
    let locked = keyspace.lock_one(keyspace.shard_of(hash));
    let shard = locked.shard(hash)?;
    shard.find(db, hash, key).map(|entry| look(&entry))
}

/// DEBUG OBJECT.
pub(super) fn object(ctx: &mut Context<'_, '_>) -> Result<(), CommandError> {
    let fast = ctx.args.len() == 4 && ctx.is_word(3, "FAST");
    let clock = ctx.server.lru.now();
    let line = with_entry(ctx, ctx.arg(2), |entry| {
        let mut line = format!(
            "Value at:{:p} refcount:1 encoding:{}",
            entry.key().as_ptr(),
            entry.encoding()
        );
        if !fast {
            let len = entry.string().map_or(0, |string| serialized_len(&string));
            line.push_str(&format!(" serializedlength:{len}"));
        }
        let lru = entry.lru();
        if clock.is_lfu() {
            let frequency = clock.frequency(lru);
            line.push_str(&format!(
                " lfu_freq:{frequency} lfu_access_time_minutes:{}",
                lru >> 8
            ));
        } else {
            let idle = clock.idle_seconds(lru);
            line.push_str(&format!(" lru:{lru} lru_seconds_idle:{idle}"));
        }
        line
    });
    ctx.reply.simple(&line.ok_or(CommandError::NoSuchKey)?);
    Ok(())
}

/// Bytes of a string in an RDB file without compression.
fn serialized_len(string: &StringRef<'_>) -> usize {
    if let Some(number) = string.parse_i64() {
        let bytes = match () {
            () if i8::try_from(number).is_ok() => Some(2),
            () if i16::try_from(number).is_ok() => Some(3),
            () if i32::try_from(number).is_ok() => Some(5),
            () => None,
        };
        if let Some(bytes) = bytes {
            return bytes;
        }
    }
    let len = string.len();
    let head = match len {
        0..0x40 => 1,
        0x40..0x4000 => 2,
        0x4000..0x1_0000_0000 => 5,
        _ => 9,
    };
    head + len
}

/// A count or size that is not negative.
fn positive(ctx: &Context<'_, '_>, index: usize) -> Result<u64, CommandError> {
    resp::number::parse_i64(ctx.arg(index))
        .and_then(|number| u64::try_from(number).ok())
        .ok_or(CommandError::line(
            "ERR value is out of range, must be positive",
        ))
}

/// DEBUG POPULATE. As in Redis the keys are not logged: it is for filling memory, not for keeping data.
pub(super) fn populate(ctx: &mut Context<'_, '_>) -> Result<(), CommandError> {
    let count = positive(ctx, 2)?;
    if ctx.server.loading.is_active() {
        return Err(CommandError::line(
            "LOADING Lodestore is loading the dataset in memory",
        ));
    }
    let prefix: &[u8] = if ctx.args.len() > 3 {
        ctx.arg(3)
    } else {
        b"key"
    };
    let size = if ctx.args.len() == 5 {
        positive(ctx, 4)?
    } else {
        0
    };
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size > ctx.server.config.size(crate::config::P::ProtoMaxBulkLen) {
        return Err(CommandError::StringTooLong);
    }
    for number in 0..count {
        let key = [prefix, b":", number.to_string().as_bytes()].concat();
        let mut value = format!("value:{number}").into_bytes();
        if size > 0 {
            value.resize(size, 0);
        }
        insert(ctx, &key, &value);
    }
    ctx.reply.ok();
    Ok(())
}

fn insert(ctx: &mut Context<'_, '_>, key: &[u8], value: &[u8]) {
    let keyspace = &ctx.server.keyspace;
    let hash = keyspace.hash(key);
    let db = ctx.data.db;
    let lru = ctx.server.lru.now().initial();
    if let Some(shard) = ctx.data.locked.shard_mut(hash) {
        insert_into(shard, db, hash, key, value, lru);
        return;
    }
    let mut locked = keyspace.lock_one(keyspace.shard_of(hash));
    if let Some(shard) = locked.shard_mut(hash) {
        insert_into(shard, db, hash, key, value, lru);
    }
}

fn insert_into(shard: &mut Shard, db: u32, hash: KeyHash, key: &[u8], value: &[u8], lru: u32) {
    if shard.find(db, hash, key).is_some() {
        return;
    }
    shard.put(db, hash, key, NewValue::Bytes(value), None, lru);
    if let Some(tables) = shard.attachment_mut::<ShardTables>() {
        tables.watched.touch(db, key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serialized_lengths_are_those_of_rdb() {
        let int = |number| serialized_len(&StringRef::Int(number));
        assert_eq!([int(1), int(-129), int(70_000)], [2, 3, 5]);
        assert_eq!(int(10_000_000_000), 1 + 11);
        assert_eq!(serialized_len(&StringRef::Bytes(b"abc")), 4);
        assert_eq!(serialized_len(&StringRef::Bytes(&[b'x'; 100])), 102);
    }
}
