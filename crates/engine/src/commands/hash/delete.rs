//! Commands that remove fields: HDEL, HGETDEL.

use super::Overdue;
use crate::command::*;
use crate::commands::element_expiry::syntax::FIELDS;
use crate::commands::element_expiry::{Elements, Volatile, plain_list, propagate};
use crate::context::{Context, ElementReply, EventClass};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

pub(super) const HDEL: CommandSpec = CommandSpec::new("hdel", -3, hdel)
    .group(Group::Hash)
    .since("2.0.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .summary("Removes fields from a hash, and the hash with its last field.")
    .complexity("O(N) in the number of fields that are named.")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::DELETE))])
    .args(&[Arg::KEY, Arg::FIELD.multiple()]);

pub(super) fn hdel(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    let view_ms = ctx.data.view_ms();
    let mut removed = 0;
    let names_fields = ctx.data.wants_elements();
    let mut fields = Elements::new();
    if let Some(hash) = ctx.data.hash_mut(key)? {
        let overdue = Overdue::of(hash, view_ms);
        for field in ctx.args.skip(2).iter() {
            if !overdue.includes(hash, field) && hash.remove(field) {
                removed += 1;
                if names_fields {
                    fields.push(field);
                }
            }
        }
    }
    if removed > 0 {
        ctx.data
            .changed_elements(removed, key, (EventClass::Hash, "hdel"), &fields);
        ctx.data.drop_if_empty(key);
    }
    ctx.reply.integer(removed as i64);
    Ok(Outcome::Done)
}

pub(super) const HGETDEL: CommandSpec = CommandSpec::new("hgetdel", -5, hgetdel)
    .group(Group::Hash)
    .since("9.1.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .summary("Removes fields from a hash and returns the values they had.")
    .complexity("O(N) in the number of fields that are named.")
    .keys(&[KeySpec::one(1, KeyFlags::RW_ACCESS_DELETE)])
    .args(&[Arg::KEY, FIELDS]);

pub(super) fn hgetdel(ctx: &mut Context<'_, '_>) -> CommandResult {
    let words = &<values::Hash as Volatile>::WORDS;
    let fields = plain_list(ctx, words, CommandError::line(words.miscounted))?;
    let key = ctx.key(1);
    let view_ms = ctx.data.view_ms();
    let mut removed = Elements::new();
    let mut hash = ctx.data.hash_mut(key)?;
    ctx.reply.array(fields.len());
    for field in fields.iter() {
        let value = hash.as_ref().and_then(|hash| hash.get(field, view_ms));
        match value {
            None => ctx.reply.null(),
            Some(value) => {
                ctx.reply.element(value);
                if let Some(hash) = &mut hash {
                    hash.remove(field);
                }
                removed.push(field);
            }
        }
    }
    if !removed.is_empty() {
        let count = removed.len() as u64;
        ctx.data
            .changed_elements(count, key, (EventClass::Hash, "hdel"), &removed);
        ctx.data.drop_if_empty(key);
        propagate(ctx, &[b"HDEL", key.bytes], &removed);
    }
    Ok(Outcome::Done)
}
