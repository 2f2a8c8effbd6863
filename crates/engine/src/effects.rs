//! The effects of a command besides its reply: the commands that replay it, and key events.
//!
//! Effects are collected while a command (or a whole transaction) runs under its locks and go to
//! the log in one piece before the locks are released, so the order of the log is the order of the
//! locks.

use persist::{Scope, Selection};
use resp::{Args, request};

/// One command to replay: a range of `Effects::bytes`, and the database it ran in.
#[derive(Clone, Copy)]
struct Op {
    db: u32,
    scope: Scope,
    start: usize,
    end: usize,
}

/// Collects the effects of one command, transaction or script.
pub struct Effects {
    /// False while the log has no reader (AOF off, no replica): then nothing is encoded.
    enabled: bool,
    /// Which readers of the log get the next commands; `None`: no reader.
    scope: Option<Scope>,
    /// Some command is not for all readers.
    is_mixed: bool,
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

impl Default for Effects {
    fn default() -> Self {
        Self {
            enabled: false,
            scope: Some(Scope::Both),
            is_mixed: false,
            ops: Vec::new(),
            bytes: Vec::new(),
            dirty: 0,
            replaced: false,
            apart: false,
        }
    }
}

/// Commands with one scope that follow each other, ready to be appended.
pub struct Block {
    /// The databases that they begin and end in.
    pub selection: Selection,
    /// Which readers get them.
    pub scope: Scope,
    /// The commands.
    pub bytes: Vec<u8>,
}

/// How far effects have been collected, for [`Effects::back_to`].
#[derive(Debug, Clone, Copy)]
pub struct EffectsMark {
    ops: usize,
    bytes: usize,
    dirty: u64,
    is_mixed: bool,
}

impl Effects {
    /// How far effects have been collected.
    pub fn mark(&self) -> EffectsMark {
        EffectsMark {
            ops: self.ops.len(),
            bytes: self.bytes.len(),
            dirty: self.dirty,
            is_mixed: self.is_mixed,
        }
    }

    /// Forgets the effects behind a mark.
    pub fn back_to(&mut self, mark: EffectsMark) {
        self.ops.truncate(mark.ops);
        self.bytes.truncate(mark.bytes);
        self.dirty = mark.dirty;
        self.is_mixed = mark.is_mixed;
    }

    /// Clears everything and sets whether commands are encoded.
    #[inline]
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
        self.scope = Some(Scope::Both);
        self.is_mixed = false;
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

    /// Commands are encoded: the log has a reader.
    #[inline]
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// True when some command is to be logged.
    #[inline]
    pub fn has_commands(&self) -> bool {
        !self.ops.is_empty()
    }

    /// True when the current command has replaced what is logged for it.
    #[inline]
    pub fn is_replaced(&self) -> bool {
        self.replaced
    }

    /// Sets which readers of the log get the commands that follow (`redis.set_repl`); `None`: none.
    pub fn set_scope(&mut self, scope: Option<Scope>) {
        self.scope = scope;
    }

    /// Encodes one command with `write`, unless no reader gets it.
    #[inline]
    fn encode(&mut self, db: u32, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(scope) = self.scope.filter(|_| self.enabled) else {
            return;
        };
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.is_mixed |= scope != Scope::Both;
        self.ops.push(Op {
            db,
            scope,
            start,
            end: self.bytes.len(),
        });
    }

    /// Marks where a new command begins (inside a transaction).
    #[inline]
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
        self.encode(db, |bytes| {
            request::begin(bytes, argv.len());
            argv.for_each(|arg| request::bulk(bytes, arg));
        });
    }

    /// Logs `argv` in addition to whatever else is logged.
    pub fn push(&mut self, db: u32, argv: &[&[u8]]) {
        self.encode(db, |bytes| request::encode(bytes, argv));
    }

    /// Logs a request as it came.
    #[inline]
    pub fn push_args(&mut self, db: u32, args: Args<'_>) {
        if self.enabled {
            self.encode_args(db, args);
        }
    }

    fn encode_args(&mut self, db: u32, args: Args<'_>) {
        self.encode(db, |bytes| {
            request::begin(bytes, args.len());
            args.iter().for_each(|arg| request::bulk(bytes, arg));
        });
    }

    /// The bytes to append with the databases that they begin and end in, or `None` when there is
    /// nothing. Several commands become one MULTI ... EXEC block; a change of database inside is a
    /// SELECT. Not when commands have different readers.
    #[inline]
    pub fn take(&mut self) -> Option<(Selection, &[u8])> {
        let selection = selection(&self.ops)?;
        if self.ops.len() > 1 && !self.apart {
            self.bytes = self.transaction(&self.ops);
            self.ops.clear();
        }
        Some((selection, &self.bytes))
    }

    /// True when some command is not for all readers of the log.
    #[inline]
    pub fn is_mixed(&self) -> bool {
        self.is_mixed
    }

    /// What is to be appended, when commands have different readers: one block after the other.
    #[cold]
    pub fn take_blocks(&mut self) -> Vec<Block> {
        let ops = std::mem::take(&mut self.ops);
        let groups = ops.chunk_by(|a, b| a.scope == b.scope);
        let block = |group: &[Op]| {
            let selection = selection(group)?;
            let first = group.first()?;
            let bytes = match group {
                [one] => self.bytes.get(one.start..one.end)?.to_vec(),
                many => self.transaction(many),
            };
            Some(Block {
                selection,
                scope: first.scope,
                bytes,
            })
        };
        groups.filter_map(block).collect()
    }

    fn transaction(&self, ops: &[Op]) -> Vec<u8> {
        let mut block = Vec::with_capacity(self.bytes.len() + 64);
        request::encode(&mut block, &[b"MULTI"]);
        let mut db = ops.first().map_or(0, |op| op.db);
        for op in ops {
            if op.db != db {
                db = op.db;
                request::encode_select(&mut block, db);
            }
            if let Some(bytes) = self.bytes.get(op.start..op.end) {
                block.extend_from_slice(bytes);
            }
        }
        request::encode(&mut block, &[b"EXEC"]);
        block
    }
}

/// The databases that commands begin and end in.
#[inline]
fn selection(ops: &[Op]) -> Option<Selection> {
    let (first, last) = (ops.first()?.db, ops.last()?.db);
    Some(match first == last {
        true => Selection::Database(first),
        false => Selection::Span { first, last },
    })
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
            Some((
                Selection::Database(3),
                &b"*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n"[..]
            ))
        );
    }

    #[test]
    fn several_commands_become_a_transaction_with_selects() {
        let mut effects = Effects::default();
        effects.reset(true);
        effects.push(0, &[b"A"]);
        effects.push(1, &[b"B"]);
        let (selection, bytes) = effects.take().expect("two commands were pushed");
        assert_eq!(selection, Selection::Span { first: 0, last: 1 });
        assert_eq!(
            bytes,
            b"*1\r\n$5\r\nMULTI\r\n*1\r\n$1\r\nA\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\n*1\r\n$1\r\nB\r\n\
              *1\r\n$4\r\nEXEC\r\n"
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
        assert_eq!(effects.take(), Some((Selection::Database(2), expected)));
    }

    #[test]
    fn commands_for_other_readers_stand_in_blocks_of_their_own() {
        let mut effects = Effects::default();
        effects.reset(true);
        effects.push(0, &[b"A"]);
        effects.set_scope(None);
        effects.push(0, &[b"B"]);
        effects.set_scope(Some(Scope::FileOnly));
        effects.push(1, &[b"C"]);
        assert!(effects.is_mixed());
        let blocks = effects.take_blocks();
        let shown = blocks.iter().map(|it| (it.selection, it.scope, &*it.bytes));
        assert_eq!(
            shown.collect::<Vec<_>>(),
            [
                (
                    Selection::Database(0),
                    Scope::Both,
                    &b"*1\r\n$1\r\nA\r\n"[..]
                ),
                (
                    Selection::Database(1),
                    Scope::FileOnly,
                    &b"*1\r\n$1\r\nC\r\n"[..]
                ),
            ]
        );
        effects.reset(true);
        assert!(!effects.is_mixed());
    }

    #[test]
    fn effects_behind_a_mark_are_forgotten() {
        let mut effects = Effects::default();
        effects.reset(true);
        effects.push(0, &[b"A"]);
        effects.add_dirty(1);
        let mark = effects.mark();
        effects.set_scope(Some(Scope::FileOnly));
        effects.push(1, &[b"B"]);
        effects.add_dirty(5);
        effects.back_to(mark);
        assert_eq!(effects.dirty(), 1);
        assert!(!effects.is_mixed());
        let a = &b"*1\r\n$1\r\nA\r\n"[..];
        assert_eq!(effects.take(), Some((Selection::Database(0), a)));
    }

    #[test]
    fn nothing_is_encoded_while_nobody_reads() {
        let mut effects = Effects::default();
        effects.reset(false);
        effects.push(0, &[b"A"]);
        assert!(effects.take().is_none());
    }
}
