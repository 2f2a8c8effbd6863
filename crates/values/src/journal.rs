//! Journals of large collections: what changes have done to their elements, to be taken back.
//!
//! A collection in its large form has a slot for a journal. While a journal is there, each change
//! adds what the changed elements were before; a packed collection has none, because a copy of it
//! costs less. Journals nest: `Slot::begin` returns how many steps there are, and only
//! those behind are taken back.
//!
//! All journals of a thread share one account of bytes, which the keyspace opens and watches. When
//! there is more than its limit, journals forget what they have and note nothing more.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// The account of the journals of a thread.
#[derive(Clone, Copy)]
struct Account {
    is_open: bool,
    bytes: usize,
    limit: usize,
    /// Unique in the process among all accounts that were opened: the number of the thread in the
    /// high half, counted from 1.
    number: u64,
}

/// Threads that have opened accounts.
static THREADS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static ACCOUNT: Cell<Account> = const {
        Cell::new(Account { is_open: false, bytes: 0, limit: usize::MAX, number: 0 })
    };
}

/// Opens a new account for the journals of this thread.
pub fn open_account(limit: usize) {
    let last = match ACCOUNT.get().number {
        0 => (THREADS.fetch_add(1, Ordering::Relaxed) + 1) << 32,
        number => number,
    };
    ACCOUNT.set(Account {
        is_open: true,
        bytes: 0,
        limit,
        number: last + 1,
    });
}

/// Closes the account of this thread: a journal that is still there ends with the next change, or
/// when a new one begins.
pub fn close_account() {
    ACCOUNT.set(Account {
        is_open: false,
        bytes: 0,
        limit: usize::MAX,
        ..ACCOUNT.get()
    });
}

/// The number of the account of this thread, for journals that are no [`Slot`].
pub(crate) fn account() -> u64 {
    ACCOUNT.get().number
}

/// True while the account with this number is open.
pub(crate) fn is_open(number: u64) -> bool {
    let account = ACCOUNT.get();
    account.is_open && account.number == number
}

/// Bytes that were charged to the account of this thread.
pub fn bytes() -> usize {
    ACCOUNT.get().bytes
}

/// True when more was charged than the limit: journals of this thread are not complete.
pub fn is_over_limit() -> bool {
    let account = ACCOUNT.get();
    account.bytes > account.limit
}

/// Charges bytes to the account of this thread. False when that is more than the limit.
pub fn charge(bytes: usize) -> bool {
    let mut account = ACCOUNT.get();
    account.bytes = account.bytes.saturating_add(bytes);
    ACCOUNT.set(account);
    account.bytes <= account.limit
}

/// The journal of a collection, if there is one. A copy of the collection has none.
pub(crate) struct Slot<T>(Option<Box<Journal<T>>>);

/// The steps of a journal, the newest last.
struct Journal<T> {
    steps: Vec<T>,
    /// How many beginnings have no end yet, at least one.
    depth: u32,
    /// The number of its account.
    account: u64,
}

impl<T> Slot<T> {
    /// True while changes are noted.
    #[inline(always)]
    pub(crate) fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// Begins to note changes; returns the number of steps that are there.
    pub(crate) fn begin(&mut self) -> usize {
        let account = ACCOUNT.get().number;
        let fresh = || {
            Box::new(Journal {
                steps: Vec::new(),
                depth: 0,
                account,
            })
        };
        if self.0.as_ref().is_some_and(|old| old.account != account) {
            self.0 = None;
        }
        let journal = self.0.get_or_insert_with(fresh);
        journal.depth += 1;
        journal.steps.len()
    }

    /// Adds a step that keeps `bytes` outside of itself.
    #[cold]
    pub(crate) fn push(&mut self, step: T, bytes: usize) {
        let account = ACCOUNT.get();
        let Some(journal) = &mut self.0 else { return };
        if !account.is_open || account.number != journal.account {
            // It was left by an execution that has ended without its end.
            self.0 = None;
            return;
        }
        if charge(size_of::<T>() + bytes) {
            journal.steps.push(step);
        } else {
            journal.steps = Vec::new();
        }
    }

    /// Ends what the last beginning began. True when nothing is noted any more.
    pub(crate) fn end(&mut self) -> bool {
        if let Some(journal) = &mut self.0 {
            journal.depth -= 1;
            if journal.depth == 0 {
                self.0 = None;
            }
        }
        self.0.is_none()
    }

    /// Takes the journal out while its steps are taken back.
    pub(crate) fn take(&mut self) -> Slot<T> {
        Slot(self.0.take())
    }

    /// The newest step, if there are more than `mark`.
    pub(crate) fn pop(&mut self, mark: usize) -> Option<T> {
        let journal = self.0.as_mut()?;
        match journal.steps.len() > mark {
            true => journal.steps.pop(),
            false => None,
        }
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Slot(None)
    }
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Slot(None)
    }
}

impl<T> fmt::Debug for Slot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = self.0.as_ref().map(|journal| journal.steps.len());
        f.debug_tuple("Slot").field(&steps).finish()
    }
}
