//! Taking back steps of a [recording](crate::undo).

use super::Shard;
use crate::db::{Cleared, FRONTIER_END};
use crate::entry::{NewValue, OwnedBlock};
use crate::hash::KeyHash;
use crate::hook;
use crate::undo::{Change, Step};
use std::sync::Arc;
use values::Thresholds;

impl<T> Shard<T> {
    /// Takes a step back, which is about this shard. Those behind it have been taken back, and
    /// changes are not recorded.
    pub(crate) fn take_back(&mut self, step: Step, thresholds: &dyn Fn() -> Thresholds) {
        match step {
            Step::Absent { db, hash, key } => drop(self.remove(db, hash, &key)),
            Step::Had {
                db,
                hash,
                key,
                value,
                deadline,
                lru,
            } => drop(self.put(db, hash, &key, NewValue::Owned(value), deadline, lru)),
            Step::Journaled {
                db,
                hash,
                key,
                mark,
                deadline,
                lru,
            } => {
                if let Some(mut entry) = self.entry_mut(db, hash, &key, Change::Edit) {
                    entry.value_mut().roll_back(mark, &thresholds());
                    entry.set_deadline(deadline);
                    entry.set_lru(lru);
                }
                self.sync_elements(db, hash, &key);
            }
            Step::Removed { db, hash, block } => {
                drop(self.remove(db, hash, block.entry().key()));
                match Arc::try_unwrap(block) {
                    Ok(block) => self.reinsert(db, hash, block),
                    Err(_) => unreachable!("a handler keeps nothing that it has removed"),
                }
            }
            Step::Cleared { db, content, .. } => self.refill(db, content),
            Step::Swapped { a, b, .. } => self.swap_dbs(a, b),
        }
    }

    /// Ends the journal that a step has begun.
    pub(crate) fn end_journal(&mut self, step: &Step, thresholds: &Thresholds) {
        if let Step::Journaled { db, hash, key, .. } = step
            && let Some(entry) = self.entry_mut(*db, *hash, key, Change::Edit)
            && entry.value().has_journal()
        {
            entry.into_value_mut().end_journal(thresholds);
        }
    }

    /// Puts an entry back whose key is absent.
    fn reinsert(&mut self, db: u32, hash: KeyHash, block: OwnedBlock) {
        let hasher = self.hasher;
        if db != 0 && self.other_or_create(db).is_none() {
            return;
        }
        let database = match db {
            0 => Some(&mut self.first),
            _ => self
                .others
                .get_mut(db as usize - 1)
                .and_then(Option::as_deref_mut),
        };
        let Some(database) = database else { return };
        let block = block.into_block();
        // It may have been in another table, where a hook has marked it.
        // SAFETY: the block is in no table, and has no other owner.
        unsafe { block.set_saved(false) };
        hook::before_insert(&self.hook, database, hash, block);
        let due_ms = database.insert(hash, block, &hasher);
        self.next_due_ms = self.next_due_ms.min(due_ms);
    }

    /// Gives a database the entries that it had before it was cleared.
    fn refill(&mut self, db: u32, content: Cleared) {
        drop(self.clear(db));
        match content.into_database() {
            Ok(content) => {
                debug_assert_eq!(content.frontier, FRONTIER_END);
                self.pool.clear();
                // Its wheel has stood still: the next cycle finds what is due.
                self.next_due_ms = 0;
                if let Some(place) = self.db_or_create(db) {
                    *place = content;
                }
            }
            // A snapshot reads them: it keeps the entries, and copies take their place.
            Err(content) => {
                for entry in content.entries() {
                    let hash = self.hash(entry.key());
                    let value = NewValue::Owned(entry.to_value());
                    let (deadline, lru) = (entry.deadline(), entry.lru());
                    drop(self.put(db, hash, entry.key(), value, deadline, lru));
                }
            }
        }
    }
}
