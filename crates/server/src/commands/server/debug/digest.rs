//! DEBUG DIGEST and DIGEST-VALUE: hashes of data that do not depend on its order.
//!
//! The scheme is Redis's, so that digests of two servers can be compared. Bytes are mixed into a
//! digest in two ways: xor with their SHA-1, where order does not matter, and SHA-1 of that, where
//! it does.

use std::ops::ControlFlow;

use keyspace::{EntryRef, Type, ValueRef};
use resp::number::{F64_BYTES_MAX, format_f64_fpconv};
use sha1::{Digest as _, Sha1};
use values::{DIGITS, Element, StreamId};

use super::keys::with_entry;
use engine::context::Context;
use engine::error::CommandError;

#[derive(Clone, Copy, Default)]
struct Digest([u8; 20]);

impl Digest {
    /// Mixes bytes in, in any order.
    fn add(&mut self, bytes: &[u8]) {
        let hash = Sha1::digest(bytes);
        self.0
            .iter_mut()
            .zip(hash)
            .for_each(|(byte, other)| *byte ^= other);
    }

    /// Mixes bytes in after what is there already.
    fn append(&mut self, bytes: &[u8]) {
        self.add(bytes);
        self.0 = Sha1::digest(self.0).into();
    }

    /// The digest of parts in this order.
    fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut digest = Self::default();
        parts.into_iter().for_each(|part| digest.append(part));
        digest
    }

    /// A value with its type and whether it has a deadline. Fields of hashes that have expired by
    /// `view_ms` do not count.
    fn append_value(&mut self, entry: &EntryRef<'_>, view_ms: u64) {
        // The number 5 is that of types from modules.
        let kind = match entry.value_type() {
            Type::Stream => 6,
            kind => kind as u32,
        };
        self.append(&kind.to_be_bytes());
        match entry.value() {
            ValueRef::List(list) => list.visit(0..list.len(), false, |element| {
                self.append(text(element, &mut { DIGITS }));
                ControlFlow::Continue(())
            }),
            ValueRef::Set(set) => set
                .iter()
                .for_each(|member| self.add(text(member, &mut { DIGITS }))),
            ValueRef::ZSet(set) => set.iter().for_each(|(member, score)| {
                let mut room = [0; F64_BYTES_MAX];
                let score = format_f64_fpconv(score, &mut room);
                self.add(&Self::of([text(member, &mut { DIGITS }), score]).0);
            }),
            ValueRef::Hash(hash) => hash.iter(view_ms).for_each(|(field, value)| {
                let (mut room, mut other) = (DIGITS, DIGITS);
                let parts = [text(field, &mut room), text(value, &mut other)];
                self.add(&Self::of(parts).0);
            }),
            ValueRef::Stream(stream) => {
                for entry in stream.entries().range(StreamId::MIN, StreamId::MAX) {
                    self.append(format!("{}.{}", entry.id.ms, entry.id.seq).as_bytes());
                    for (name, value) in entry.fields {
                        self.append(text(name, &mut { DIGITS }));
                        self.append(text(value, &mut { DIGITS }));
                    }
                }
            }
            value => {
                if let Some(string) = value.string() {
                    self.append(string.as_bytes(&mut { DIGITS }));
                }
            }
        }
        if entry.deadline().is_some() {
            self.add(b"!!expire!!");
        }
    }

    fn text(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn text<'b>(element: Element<'b>, room: &'b mut values::Digits) -> &'b [u8] {
    element.as_bytes(room)
}

/// DEBUG DIGEST.
pub(super) fn digest(ctx: &mut Context<'_, '_>) -> Result<(), CommandError> {
    let databases = ctx.engine.keyspace.databases();
    let mut all = vec![(0usize, Digest::default()); databases as usize];
    let view_ms = ctx.data.view_ms();
    ctx.data.visit_shards(|shard| {
        for (db, (count, sum)) in (0u32..).zip(&mut all) {
            for entry in shard.entries(db) {
                let mut digest = Digest::default();
                digest.append(entry.key());
                digest.append_value(&entry, view_ms);
                *count += 1;
                sum.add(&digest.0);
            }
        }
    })?;
    let mut result = Digest::default();
    for (db, (count, sum)) in (0u32..).zip(&all) {
        if *count > 0 {
            result.append(&db.to_be_bytes());
            let bytes = result.0.iter_mut().zip(sum.0);
            bytes.for_each(|(byte, other)| *byte ^= other);
        }
    }
    ctx.reply.simple(result.text());
    Ok(())
}

/// DEBUG DIGEST-VALUE; zeros for a key that does not exist.
pub(super) fn digest_value(ctx: &mut Context<'_, '_>) -> Result<(), CommandError> {
    let view_ms = ctx.data.view_ms();
    let mut texts = Vec::new();
    for key in ctx.args.skip(2).iter() {
        let digest = with_entry(ctx, key, |entry| {
            let mut digest = Digest::default();
            digest.append_value(entry, view_ms);
            digest
        });
        let digest = digest.unwrap_or_default();
        texts.push(digest.text());
    }
    ctx.reply.array(texts.len());
    texts.iter().for_each(|text| ctx.reply.simple(text));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_matters_where_it_should() {
        let mix = |parts: &[&[u8]], append: bool| {
            let mut digest = Digest::default();
            for part in parts {
                if append {
                    digest.append(part);
                } else {
                    digest.add(part);
                }
            }
            digest.text()
        };
        assert_eq!(mix(&[b"a", b"b"], false), mix(&[b"b", b"a"], false));
        assert_ne!(mix(&[b"a", b"b"], true), mix(&[b"b", b"a"], true));
        assert_eq!(
            mix(&[b"abc"], false),
            "a9993e364706816aba3e25717850c26c9cd0d89d"
        );
    }
}
