//! The patterns of one node of the trie.

use std::sync::Arc;

use super::patterns::Pattern;

/// A longer list is divided into buckets.
const FEW_MAX: usize = 256;

const BUCKETS: usize = 1024;

type Bucket = Arc<Vec<Arc<Pattern>>>;

/// A list that is copied for every change. A long one shares most of its buckets with its copy, so
/// that a hundred thousand patterns that begin with a star can be added and removed one by one.
#[derive(Clone)]
pub(super) enum PatternList {
    Few(Vec<Arc<Pattern>>),
    /// By the numbers of the patterns.
    Many(Box<[Bucket]>, usize),
}

impl Default for PatternList {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

fn bucket_mut<'a>(buckets: &'a mut [Bucket], pattern: &Pattern) -> &'a mut Vec<Arc<Pattern>> {
    let place = pattern.number as usize % BUCKETS;
    Arc::make_mut(&mut buckets[place])
}

impl PatternList {
    pub(super) fn one(pattern: Arc<Pattern>) -> Self {
        Self::Few(vec![pattern])
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Few(list) => list.is_empty(),
            Self::Many(_, len) => *len == 0,
        }
    }

    pub(super) fn push(&mut self, pattern: Arc<Pattern>) {
        match self {
            Self::Few(list) if list.len() < FEW_MAX => list.push(pattern),
            Self::Few(list) => {
                let patterns = std::mem::take(list);
                *self = Self::Many((0..BUCKETS).map(|_| Bucket::default()).collect(), 0);
                patterns.into_iter().for_each(|pattern| self.push(pattern));
                self.push(pattern);
            }
            Self::Many(buckets, len) => {
                bucket_mut(buckets, &pattern).push(pattern);
                *len += 1;
            }
        }
    }

    pub(super) fn remove(&mut self, pattern: &Arc<Pattern>) {
        let is_other = |other: &Arc<Pattern>| !Arc::ptr_eq(other, pattern);
        match self {
            Self::Few(list) => list.retain(is_other),
            Self::Many(buckets, len) => {
                let bucket = bucket_mut(buckets, pattern);
                let before = bucket.len();
                bucket.retain(is_other);
                *len -= before - bucket.len();
            }
        }
    }

    pub(super) fn each(&self, mut visit: impl FnMut(&Pattern)) {
        match self {
            Self::Few(list) => list.iter().for_each(|pattern| visit(pattern)),
            Self::Many(buckets, _) => buckets
                .iter()
                .flat_map(|bucket| bucket.iter())
                .for_each(|pattern| visit(pattern)),
        }
    }
}
