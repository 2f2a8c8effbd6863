//! The effects of a command besides its reply: the commands that replay it, and key events.
//!
//! Effects are collected while a command (or a whole transaction) runs under its locks and go to
//! the log in one piece before the locks are released, so the order of the log is the order of the
//! locks.

use resp::{Args, request};

/// One command to replay: a range of `Effects::bytes`, and the database it ran in.
#[derive(Clone, Copy)]
struct Op {
    db: u32,
    start: usize,
    end: usize,
}

/// Collects the effects of one command, transaction or script.
#[derive(Default)]
pub struct Effects {
    /// False while the log has no reader (AOF off, no replica): then nothing is encoded.
    enabled: bool,
    ops: Vec<Op>,
    bytes: Vec<u8>,
    /// Changes made so far; grows by one per changed key or element, as Redis's `dirty`.
    dirty: u64,
    /// Set by a handler that replaced (or suppressed) the verbatim form of its command.
    replaced: bool,
    /// The collected commands are independent of each other: they are logged without MULTI and
    /// EXEC.
    apart: bool,
}

impl Effects {
    /// Clears everything and sets whether commands are encoded.
    pub fn reset(&mut self, enabled: bool) {
        self.enabled = enabled;
        self.ops.clear();
        self.bytes.clear();
        // A burst must not pin its buffer: 64 KiB serves ordinary commands without reallocation.
        if self.bytes.capacity() > 64 * 1024 {
            self.bytes = Vec::new();
        }
        self.dirty = 0;
        self.replaced = false;
        self.apart = false;
    }

    /// Changes since the last reset.
    #[inline]
    pub fn dirty(&self) -> u64 {
        self.dirty
    }

    /// Counts `n` changes.
    #[inline]
    pub fn add_dirty(&mut self, n: u64) {
        self.dirty = self.dirty.saturating_add(n);
    }

    /// True when the current command has replaced what is logged for it.
    #[inline]
    pub fn is_replaced(&self) -> bool {
        self.replaced
    }

    /// Marks where a new command begins (inside a transaction).
    pub fn next_command(&mut self) {
        self.replaced = false;
    }

    /// Logs nothing for the current command beyond what was pushed explicitly.
    pub fn suppress(&mut self) {
        self.replaced = true;
    }

    /// Logs what is collected as single commands. For a command that removed expired keys of one
    /// database. Not inside a transaction.
    pub fn keep_apart(&mut self) {
        self.apart = true;
    }

    /// Logs `argv` instead of the command as the client sent it; may be called several times.
    pub fn replace(&mut self, db: u32, argv: &[&[u8]]) {
        self.replaced = true;
        self.push(db, argv);
    }

    /// As [`Effects::replace`], for a request that differs from the one sent in few arguments.
    pub fn replace_iter<'a>(&mut self, db: u32, argv: impl ExactSizeIterator<Item = &'a [u8]>) {
        self.replaced = true;
        if !self.enabled {
            return;
        }
        let start = self.bytes.len();
        request::begin(&mut self.bytes, argv.len());
        argv.for_each(|arg| request::bulk(&mut self.bytes, arg));
        self.end(db, start);
    }

    /// Logs `argv` in addition to whatever else is logged.
    pub fn push(&mut self, db: u32, argv: &[&[u8]]) {
        if !self.enabled {
            return;
        }
        let start = self.bytes.len();
        request::encode(&mut self.bytes, argv);
        self.end(db, start);
    }

    /// Logs a request as it came.
    pub fn push_args(&mut self, db: u32, args: Args<'_>) {
        if !self.enabled {
            return;
        }
        let start = self.bytes.len();
        request::begin(&mut self.bytes, args.len());
        for arg in args.iter() {
            request::bulk(&mut self.bytes, arg);
        }
        self.end(db, start);
    }

    /// The first database and the bytes to append, or `None` when there is nothing. Several
    /// commands become one MULTI ... EXEC block; a change of database inside is a SELECT, and the
    /// block ends in the database it began in.
    #[inline]
    pub fn take(&mut self) -> Option<(u32, &[u8])> {
        let first = *self.ops.first()?;
        if self.ops.len() > 1 && !self.apart {
            self.wrap_transaction(first.db);
        }
        Some((first.db, &self.bytes))
    }

    fn wrap_transaction(&mut self, first_db: u32) {
        let mut block = Vec::with_capacity(self.bytes.len() + 64);
        request::encode(&mut block, &[b"MULTI"]);
        let mut db = first_db;
        for op in &self.ops {
            if op.db != db {
                db = op.db;
                request::encode_select(&mut block, db);
            }
            if let Some(bytes) = self.bytes.get(op.start..op.end) {
                block.extend_from_slice(bytes);
            }
        }
        if db != first_db {
            request::encode_select(&mut block, first_db);
        }
        request::encode(&mut block, &[b"EXEC"]);
        self.bytes = block;
        self.ops.clear();
    }

    fn end(&mut self, db: u32, start: usize) {
        self.ops.push(Op {
            db,
            start,
            end: self.bytes.len(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_command_stands_alone() {
        let mut effects = Effects::default();
        effects.reset(true);
        effects.push(3, &[b"DEL", b"k"]);
        assert_eq!(
            effects.take(),
            Some((3, &b"*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n"[..]))
        );
    }

    #[test]
    fn several_commands_become_a_transaction_with_selects() {
        let mut effects = Effects::default();
        effects.reset(true);
        effects.push(0, &[b"A"]);
        effects.push(1, &[b"B"]);
        let (db, bytes) = effects.take().expect("two commands were pushed");
        assert_eq!(db, 0);
        assert_eq!(
            bytes,
            b"*1\r\n$5\r\nMULTI\r\n*1\r\n$1\r\nA\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\n*1\r\n$1\r\nB\r\n\
              *2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*1\r\n$4\r\nEXEC\r\n"
                .as_slice()
        );
    }

    #[test]
    fn commands_that_are_kept_apart_are_no_transaction() {
        let mut effects = Effects::default();
        effects.reset(true);
        effects.keep_apart();
        effects.push(2, &[b"A"]);
        effects.push(2, &[b"B"]);
        let expected = b"*1\r\n$1\r\nA\r\n*1\r\n$1\r\nB\r\n".as_slice();
        assert_eq!(effects.take(), Some((2, expected)));
    }

    #[test]
    fn nothing_is_encoded_while_nobody_reads() {
        let mut effects = Effects::default();
        effects.reset(false);
        effects.push(0, &[b"A"]);
        assert!(effects.take().is_none());
    }
}
