//! A set of held locks.

use super::patience::{GaveUp, Patience};
use super::right::ExtensionRight;
use super::table::{Content, Guard, LockTable};
use smallvec::SmallVec;

/// Some guards, ascending and without duplicates.
pub(super) type Many<'a, C> = SmallVec<[Guard<'a, C>; 4]>;

/// Guards in the order in which their locks were taken.
pub(super) trait Guards<'a, C: Content> {
    fn len(&self) -> usize;
    fn push(&mut self, guard: Guard<'a, C>);
    fn clear(&mut self);
}

impl<'a, C: Content> Guards<'a, C> for Many<'a, C> {
    fn len(&self) -> usize {
        SmallVec::len(self)
    }

    #[inline]
    fn push(&mut self, guard: Guard<'a, C>) {
        SmallVec::push(self, guard);
    }

    fn clear(&mut self) {
        SmallVec::clear(self);
    }
}

impl<'a, C: Content> Guards<'a, C> for Vec<Guard<'a, C>> {
    fn len(&self) -> usize {
        Vec::len(self)
    }

    #[inline]
    fn push(&mut self, guard: Guard<'a, C>) {
        Vec::push(self, guard);
    }

    fn clear(&mut self) {
        Vec::clear(self);
    }
}

/// A set of held locks of one table.
pub(super) enum Held<'a, C: Content> {
    One(Guard<'a, C>),
    Many(Many<'a, C>),
    /// Lock i at index i.
    All(Vec<Guard<'a, C>>),
}

impl<'a, C: Content> Held<'a, C> {
    /// The content with this number, when its lock is in the set.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<&C> {
        let guard = match self {
            Held::One(guard) => (guard.index() == index).then_some(guard),
            Held::Many(guards) => guards.get(position(guards, index).ok()?),
            Held::All(guards) => guards.get(index),
        };
        guard.map(|guard| &**guard)
    }

    /// The content with this number for change, when its lock is in the set.
    #[inline]
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut C> {
        let guard = match self {
            Held::One(guard) => (guard.index() == index).then_some(guard),
            Held::Many(guards) => {
                let at = position(guards, index).ok()?;
                guards.get_mut(at)
            }
            Held::All(guards) => guards.get_mut(index),
        };
        guard.map(|guard| &mut **guard)
    }

    pub(super) fn guards(&self) -> &[Guard<'a, C>] {
        match self {
            Held::One(guard) => std::slice::from_ref(guard),
            Held::Many(guards) => guards,
            Held::All(guards) => guards,
        }
    }

    pub(super) fn guards_mut(&mut self) -> &mut [Guard<'a, C>] {
        match self {
            Held::One(guard) => std::slice::from_mut(guard),
            Held::Many(guards) => guards,
            Held::All(guards) => guards,
        }
    }

    /// Adds a lock that is not in the set. True when it is free, and now in the set.
    pub(super) fn try_extend(&mut self, table: &'a LockTable<C>, index: usize) -> bool {
        let guard = table.try_lock(index);
        let is_free = guard.is_some();
        if let Some(guard) = guard {
            self.insert(guard);
        }
        is_free
    }

    /// Adds a lock, when it is not in the set; waits for it, whatever its number. The caller has
    /// the extension right, so lock requests release the lock that this waits for. The set is
    /// unchanged when the wait is given up.
    pub(super) fn extend(
        &mut self,
        table: &'a LockTable<C>,
        right: &ExtensionRight<'_>,
        index: usize,
        patience: &mut Patience<'_>,
    ) -> Result<(), GaveUp> {
        assert!(
            right.is_of(table.extension()),
            "the extension right is one of another keyspace"
        );
        if self.get(index).is_some() || self.try_extend(table, index) {
            return Ok(());
        }
        let extending = table.extension().extend();
        let guard = table.lock(index, patience)?;
        drop(extending);
        self.insert(guard);
        Ok(())
    }

    /// Adds all locks that are not in the set, as [`Held::extend`] does.
    pub(super) fn extend_to_all(
        &mut self,
        table: &'a LockTable<C>,
        right: &ExtensionRight<'_>,
        patience: &mut Patience<'_>,
    ) -> Result<(), GaveUp> {
        (0..table.len()).try_for_each(|index| self.extend(table, right, index, patience))?;
        let all = std::mem::replace(self, Held::Many(Many::new()));
        *self = Held::All(all.into_many().into_vec());
        Ok(())
    }

    fn insert(&mut self, guard: Guard<'a, C>) {
        let held = std::mem::replace(self, Held::Many(Many::new()));
        let mut guards = held.into_many();
        let at = position(&guards, guard.index()).unwrap_or_else(|at| at);
        guards.insert(at, guard);
        *self = Held::Many(guards);
    }

    fn into_many(self) -> Many<'a, C> {
        match self {
            Held::One(guard) => Many::from_iter([guard]),
            Held::Many(guards) => guards,
            Held::All(guards) => Many::from_vec(guards),
        }
    }
}

fn position<C: Content>(guards: &[Guard<'_, C>], index: usize) -> Result<usize, usize> {
    guards.binary_search_by_key(&index, Guard::index)
}
