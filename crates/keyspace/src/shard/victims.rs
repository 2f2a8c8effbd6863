//! Choosing the keys of a shard that are evicted.

use super::Shard;
use crate::entry::EntryRef;
use crate::eviction::{Choice, Policy, Pool, Victim};
use smallvec::SmallVec;

impl<T> Shard<T> {
    /// Chooses a key of this shard to be evicted, `None` when there is none (or the policy evicts
    /// nothing). The key exists, and has a deadline if the policy demands one. It is not removed.
    pub fn pick_victim(
        &mut self,
        choice: &Choice,
        rng: &mut impl FnMut() -> u64,
    ) -> Option<Victim> {
        if choice.policy == Policy::NoEviction {
            return None;
        }
        if choice.policy.is_random() {
            return self.pick_random(choice, rng);
        }
        let mut pool = std::mem::take(&mut self.pool);
        pool.prepare(choice.policy);
        self.fill(&mut pool, choice, rng);
        let victim = std::iter::from_fn(|| pool.take_best())
            .find(|victim| self.is_victim(victim, choice.policy));
        self.pool = pool;
        victim
    }

    /// Whether a candidate of an earlier sample is still one.
    fn is_victim(&self, victim: &Victim, policy: Policy) -> bool {
        self.find(victim.db, victim.hash, &victim.key)
            .is_some_and(|entry| !policy.volatile_only() || entry.deadline().is_some())
    }

    fn fill(&self, pool: &mut Pool, choice: &Choice, rng: &mut impl FnMut() -> u64) {
        let samples = choice.samples.max(1);
        for db in self.occupied_dbs() {
            self.sample_for_eviction(db, choice.policy.volatile_only(), rng, samples, |entry| {
                let score = choice.policy.score(entry, choice.now_ms, &choice.lfu);
                if pool.wants(score) {
                    pool.offer(score, self.victim(db, entry));
                }
            });
        }
    }

    fn pick_random(&self, choice: &Choice, rng: &mut impl FnMut() -> u64) -> Option<Victim> {
        let volatile_only = choice.policy.volatile_only();
        let dbs: SmallVec<[u32; 16]> = self
            .occupied_dbs()
            .filter(|db| !volatile_only || self.volatile(*db) > 0)
            .collect();
        // Each database in turn would take a bookkeeping of its own; a random one is as fair.
        let at = usize::try_from(rng() >> 32).ok()?.checked_rem(dbs.len())?;
        let order = dbs.iter().cycle().skip(at).take(dbs.len());
        let mut victim = None;
        for db in order {
            if volatile_only {
                self.sample_for_eviction(*db, true, rng, 1, |entry| {
                    victim = Some(self.victim(*db, entry));
                });
            } else {
                victim = self.random(*db, rng).map(|entry| self.victim(*db, entry));
            }
            if victim.is_some() {
                return victim;
            }
        }
        None
    }

    fn victim(&self, db: u32, entry: EntryRef<'_>) -> Victim {
        let key = SmallVec::from_slice(entry.key());
        Victim {
            db,
            hash: self.hash(entry.key()),
            key,
        }
    }
}
