//! Appends the effects of a change to the log and announces it to its listeners, under its locks.

use persist::{Append, Scope};

use super::announce::FanOut;
use super::{Execution, Executor, stats};
use crate::context::Data;
use crate::effects::Block;
use crate::engine::Engine;
use crate::fault::Stage;
use crate::keys::LocatedKey;
use crate::session::Origin;
use crate::shard_tables::Locked;

/// Which of the locked shards a command read or changed.
#[derive(Clone, Copy)]
pub enum Touched<'a> {
    /// The shards of its keys; others may be locked as well.
    Keys(&'a [LocatedKey]),
    /// All locked shards.
    All,
    /// None was shown; all that are locked may have been changed.
    Nothing,
}

impl Execution<'_, '_> {
    /// Logs the effects of an execution, announces its changes, and notes the log offset that its
    /// reply depends on.
    #[inline]
    pub fn commit(&mut self, locked: &mut Locked<'_>, touched: Touched<'_>) {
        let (exec, engine) = (&mut *self.exec, self.engine);
        if self.session.is_client() && !exec.has_to_commit() && !engine.log.is_enabled() {
            exec.count_changes(engine);
            return;
        }
        self.commit_all(locked, touched);
    }

    fn commit_all(&mut self, locked: &mut Locked<'_>, touched: Touched<'_>) {
        let origin = self.session.origin;
        let exec = &mut *self.exec;
        let actor = Some(self.session.shared.id);
        let committed = exec.commit(self.engine, (origin, actor), locked, touched);
        if let Some(offset) = committed {
            self.session.last_write_offset = offset;
            exec.reply_offset = exec.reply_offset.max(offset);
        } else if origin == Origin::Client && self.engine.log.is_enabled() {
            // The reply to a read waits for the log: a crash must not undo a value that a client
            // has seen.
            let seen = match touched {
                Touched::Nothing => None,
                Touched::All => locked.shards().map(|shard| shard.last_log_offset).max(),
                Touched::Keys(keys) => keys
                    .iter()
                    .filter_map(|key| locked.shard(key.hash))
                    .map(|shard| shard.last_log_offset)
                    .max(),
            };
            exec.reply_offset = exec.reply_offset.max(seen.unwrap_or(0));
        }
    }
}

impl Executor {
    /// There is something for the log or for listeners.
    #[inline]
    fn has_to_commit(&self) -> bool {
        self.effects.has_commands() || !self.changes.is_empty() || !self.monitor_lines.is_empty()
    }

    #[inline]
    fn count_changes(&self, engine: &Engine) {
        let dirty = self.effects.dirty();
        if dirty > 0 {
            stats(engine, self.worker).changes.add(dirty);
        }
    }

    /// Changes data on behalf of the server itself (expiry, eviction) under locks that are held
    /// already, logs and announces it.
    pub fn change(
        &mut self,
        engine: &Engine,
        locked: &mut Locked<'_>,
        db: u32,
        change: impl FnOnce(&mut Data<'_, '_>),
    ) {
        self.begin(engine.is_logging());
        let mut data = Data {
            locked,
            effects: &mut self.effects,
            changes: &mut self.changes,
            stats: stats(engine, self.worker),
            engine,
            db,
            now_ms: self.now_ms,
            touch: false,
            origin: Origin::Client,
            imports: false,
            random: &mut self.random,
        };
        change(&mut data);
        self.commit(engine, (Origin::Client, None), locked, Touched::All);
    }

    /// Appends the effects to the log and announces the changes. Returns the log offset behind the
    /// effects; `None` when there were none.
    fn commit(
        &mut self,
        engine: &Engine,
        (origin, actor): (Origin, Option<u64>),
        locked: &mut Locked<'_>,
        touched: Touched<'_>,
    ) -> Option<u64> {
        self.count_changes(engine);
        let offset = match origin {
            Origin::Client => self.append_effects(engine, locked, touched),
            Origin::Replay => None,
            Origin::Primary => self.note_appended(locked, touched),
        };
        // A read depends on what was appended before it.
        let after = || offset.unwrap_or_else(|| engine.log.appended());
        if !self.changes.is_empty() {
            let fan_out = FanOut {
                engine,
                locked,
                ready: &mut self.ready,
                after: after(),
                origin,
                actor,
            };
            fan_out.announce(&mut self.changes);
        }
        if !self.monitor_lines.is_empty() {
            let lines = self.monitor_lines.take();
            let monitors = engine.monitors.clients();
            engine
                .outboxes
                .deliver_many(monitors.iter(), after(), |out| out.raw(lines.as_bytes()));
        }
        offset
    }

    fn append_effects(
        &mut self,
        engine: &Engine,
        locked: &mut Locked<'_>,
        touched: Touched<'_>,
    ) -> Option<u64> {
        let offset = match self.effects.is_mixed() {
            true => self.append_blocks(engine)?,
            false => {
                let (selection, records) = self.effects.take()?;
                engine.faults.reach(Stage::BeforeLog);
                let scope = match engine.role.is_replica() {
                    false => Scope::Both,
                    // What clients write to a replica is no part of its primary's stream.
                    true => Scope::FileOnly,
                };
                let append = Append {
                    selection,
                    records,
                    scope,
                };
                engine.log.append_scoped(&append, self.now_ms)
            }
        };
        engine.faults.reach(Stage::AfterLog);
        stamp(locked, touched, offset);
        Some(offset)
    }

    /// The bytes of a primary's stream are in the log already.
    fn note_appended(&mut self, locked: &mut Locked<'_>, touched: Touched<'_>) -> Option<u64> {
        let offset = self.appended.take()?;
        stamp(locked, touched, offset);
        Some(offset)
    }

    /// Appends effects that are not all for the same readers of the log.
    #[cold]
    fn append_blocks(&mut self, engine: &Engine) -> Option<u64> {
        let blocks = self.effects.take_blocks().into_iter();
        let is_replica = engine.role.is_replica();
        let append = |block: Block| {
            let append = Append {
                selection: block.selection,
                records: &block.bytes,
                scope: match is_replica {
                    true => Scope::FileOnly,
                    false => block.scope,
                },
            };
            engine.log.append_scoped(&append, self.now_ms)
        };
        blocks.map(append).last()
    }
}

/// Replies that show these shards depend on the log up to `offset`.
fn stamp(locked: &mut Locked<'_>, touched: Touched<'_>, offset: u64) {
    match touched {
        Touched::All | Touched::Nothing => locked
            .shards_mut()
            .for_each(|shard| shard.last_log_offset = offset),
        Touched::Keys(keys) => {
            for key in keys {
                if let Some(shard) = locked.shard_mut(key.hash) {
                    shard.last_log_offset = offset;
                }
            }
        }
    }
}
