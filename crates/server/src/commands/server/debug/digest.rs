//! DEBUG DIGEST and DIGEST-VALUE: hashes of data that do not depend on its order.
//!
//! The scheme is Redis's, so that digests of two servers can be compared. Bytes are mixed into a digest in
//! two ways: xor with their SHA-1, where order does not matter, and SHA-1 of that, where it does.

use keyspace::EntryRef;
use sha1::{Digest as _, Sha1};

use super::keys::with_entry;
use crate::context::Context;
use crate::error::CommandError;

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

    /// A value with its type and whether it has a deadline. `None` for a type that has no digest yet.
    fn append_value(&mut self, entry: &EntryRef<'_>) -> Option<()> {
        let string = entry.string()?;
        // Strings are type number 0.
        self.append(&0u32.to_be_bytes());
        let mut digits = [0; 20];
        self.append(string.as_bytes(&mut digits));
        if entry.deadline().is_some() {
            self.add(b"!!expire!!");
        }
        Some(())
    }

    fn text(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn no_digest() -> CommandError {
    CommandError::line(
        "ERR there is no digest for values of this type in this version of Lodestore",
    )
}

/// DEBUG DIGEST.
pub(super) fn digest(ctx: &mut Context<'_, '_>) -> Result<(), CommandError> {
    let databases = ctx.server.keyspace.databases();
    let mut all = vec![(0usize, Digest::default()); databases as usize];
    let mut complete = true;
    ctx.data.visit_shards(|shard| {
        for (db, (count, sum)) in (0u32..).zip(&mut all) {
            for entry in shard.entries(db) {
                let mut digest = Digest::default();
                digest.append(entry.key());
                complete &= digest.append_value(&entry).is_some();
                *count += 1;
                sum.add(&digest.0);
            }
        }
    });
    if !complete {
        return Err(no_digest());
    }
    let mut result = Digest::default();
    for (db, (count, sum)) in (0u32..).zip(&all) {
        if *count > 0 {
            result.append(&db.to_be_bytes());
            let bytes = result.0.iter_mut().zip(sum.0);
            bytes.for_each(|(byte, other)| *byte ^= other);
        }
    }
    ctx.reply.simple(&result.text());
    Ok(())
}

/// DEBUG DIGEST-VALUE; zeros for a key that does not exist.
pub(super) fn digest_value(ctx: &mut Context<'_, '_>) -> Result<(), CommandError> {
    let mut texts = Vec::new();
    for key in ctx.args.skip(2).iter() {
        let digest = with_entry(ctx, key, |entry| {
            let mut digest = Digest::default();
            digest.append_value(entry).map(|()| digest)
        });
        let digest = match digest {
            None => Digest::default(),
            Some(digest) => digest.ok_or_else(no_digest)?,
        };
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
