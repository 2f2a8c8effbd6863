//! DEBUG OBJECT and POPULATE.

use keyspace::{EntryRef, KeyHash, NewValue, ValueRef};
use persist::rdb;
use values::list::NodeRef;
use values::{ListView, Thresholds};

use engine::context::Context;
use engine::error::CommandError;
use engine::rdb_options;
use engine::shard_tables::Shard;

/// Looks at a key, expired or not, without touching it.
pub(super) fn with_entry<R>(
    ctx: &Context<'_, '_>,
    key: &[u8],
    look: impl FnOnce(&EntryRef<'_>) -> R,
) -> Option<R> {
    let keyspace = &ctx.engine.keyspace;
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
    let clock = ctx.engine.lru.now();
    let limits = ctx.thresholds();
    let saving = rdb_options::save_options(&ctx.engine.config, Vec::new(), false);
    let line = with_entry(ctx, ctx.arg(2), |entry| {
        let mut line = format!(
            "Value at:{:p} refcount:1 encoding:{}",
            entry.key().as_ptr(),
            entry.encoding()
        );
        if !fast {
            let len = rdb::value_len(&entry.value(), &saving);
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
        if let ValueRef::List(list) = entry.value()
            && !list.is_packed()
        {
            describe_nodes(&mut line, list, &limits, fast);
        }
        line
    });
    ctx.reply.simple(&line.ok_or(CommandError::NoSuchKey)?);
    Ok(())
}

/// Appends the figures of the nodes of a quicklist.
fn describe_nodes(line: &mut String, list: &ListView, limits: &Thresholds, fast: bool) {
    let nodes = list.nodes();
    line.push_str(&format!(
        " ql_nodes:{nodes} ql_avg_node:{:.2} ql_listpack_max:{} ql_compressed:{}",
        list.len() as f64 / nodes.max(1) as f64,
        limits.list_size,
        u8::from(limits.list_compress != 0)
    ));
    if !fast {
        let mut bytes = 0;
        list.each_node(&mut |node| bytes += node_bytes(&node));
        line.push_str(&format!(" ql_uncompressed_size:{bytes}"));
    }
}

/// Bytes of a node, not compressed.
fn node_bytes(node: &NodeRef<'_>) -> usize {
    match node {
        NodeRef::Packed(bytes) | NodeRef::Plain(bytes) => bytes.len(),
        NodeRef::Compressed { plain_len, .. } => *plain_len,
    }
}

/// A count or size that is not negative.
fn positive(ctx: &Context<'_, '_>, index: usize) -> Result<u64, CommandError> {
    resp::number::parse_i64(ctx.arg(index))
        .and_then(|number| u64::try_from(number).ok())
        .ok_or(CommandError::line(
            "ERR value is out of range, must be positive",
        ))
}

/// DEBUG POPULATE. As in Redis the keys are not logged: it is for filling memory, not for keeping
/// data.
pub(super) fn populate(ctx: &mut Context<'_, '_>) -> Result<(), CommandError> {
    let count = positive(ctx, 2)?;
    if ctx.engine.loading.is_active() {
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
    if size > ctx.engine.config.size(engine::config::P::ProtoMaxBulkLen) {
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
    let engine = ctx.engine;
    let hash = engine.keyspace.hash(key);
    let db = ctx.data.db;
    let lru = engine.lru.now().initial();
    let command: [&[u8]; 3] = [b"SET", key, value];
    if let Some(shard) = ctx.data.locked.shard_mut(hash) {
        if insert_into(shard, db, hash, key, value, lru) {
            ctx.data.effects.push(db, &command);
        }
        return;
    }
    let mut locked = engine.keyspace.lock_one(engine.keyspace.shard_of(hash));
    if let Some(shard) = locked.shard_mut(hash)
        && insert_into(shard, db, hash, key, value, lru)
        && engine.is_logging()
    {
        // One record for each key, in the order of the locks.
        let mut record = Vec::with_capacity(key.len() + value.len() + 64);
        // Writing to memory does not fail.
        let _ = resp::request::write(&mut record, &command);
        shard.last_log_offset = engine.log.append(db, &record, ctx.data.now_ms);
        *ctx.reply_offset = (*ctx.reply_offset).max(shard.last_log_offset);
    }
}

/// False when the key is there already.
fn insert_into(
    shard: &mut Shard,
    db: u32,
    hash: KeyHash,
    key: &[u8],
    value: &[u8],
    lru: u32,
) -> bool {
    if shard.find(db, hash, key).is_some() {
        return false;
    }
    shard.put(db, hash, key, NewValue::Bytes(value), None, lru);
    shard.attachments.watched.touch(db, key);
    true
}
