//! What a blocked client waits for, whether it still waits, and how a wait ends.

use std::sync::atomic::{AtomicU64, Ordering};

use keyspace::Type;

/// What a blocked client waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// One of the keys to become servable; `deadline_ms` is absolute, `None` waits for ever.
    Keys {
        /// Keys in the order of the command.
        keys: Vec<Vec<u8>>,
        /// Milliseconds of the steady clock.
        deadline_ms: Option<u64>,
        /// The changes of one of them that wake the client.
        wakes: Wakes,
    },
    /// WAIT: replicas that acknowledged `offset`.
    Replicas {
        /// How many are asked for.
        count: u64,
        /// The stream offset that they must have.
        offset: u64,
        /// Milliseconds of the steady clock.
        deadline_ms: Option<u64>,
    },
    /// WAITAOF: `offset` is fsynced here (when `local`) and on `replicas` replicas.
    Synced {
        /// The local log must be durable up to the offset.
        local: bool,
        /// How many replicas must be.
        replicas: u64,
        /// The stream offset that they must have.
        offset: u64,
        /// The position in the log that must be durable here.
        written: u64,
        /// Milliseconds of the steady clock.
        deadline_ms: Option<u64>,
    },
    /// SYNC and PSYNC: the connection leaves its worker, because it is a replica's now.
    Leaves,
    /// SHUTDOWN waits for replicas: the process ends, or the client gets an error.
    Shutdown,
}

impl Block {
    /// When the wait ends by itself.
    pub fn deadline_ms(&self) -> Option<u64> {
        match self {
            Self::Keys { deadline_ms, .. }
            | Self::Replicas { deadline_ms, .. }
            | Self::Synced { deadline_ms, .. } => *deadline_ms,
            Self::Leaves | Self::Shutdown => None,
        }
    }
}

/// The changes of a key after which the command of a blocked client is run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wakes {
    /// A key holds a value of this type now.
    pub kind: Type,
    /// A key is gone, or holds a value of any other type.
    pub removal: bool,
}

/// The present wait of a client: its number and its state in one word, so that exactly one event
/// ends it: a command that feeds a key, the timer, CLIENT UNBLOCK, or the end of the connection.
///
/// The thread that ends a wait has to send the client its reply, unless the connection is closed.
#[derive(Debug, Default)]
pub struct Wait(AtomicU64);

/// The number of one wait of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitNumber(u64);

/// The low bits of the word.
const STATE: u64 = 0b11;
/// Not waiting.
const IDLE: u64 = 0;
/// Waiting.
const WAITING: u64 = 1;
/// The command is being run again: it may or may not get its reply.
const SERVING: u64 = 2;
/// Waiting, for something that only the server ends.
const FIRM: u64 = 3;
const ONE: u64 = STATE + 1;

impl Wait {
    /// A new wait begins. Called by the client's own worker, while the client does not wait.
    pub fn begin(&self) -> WaitNumber {
        let number = (self.0.load(Ordering::Relaxed) & !STATE).wrapping_add(ONE);
        self.0.store(number | WAITING, Ordering::Release);
        WaitNumber(number)
    }

    /// As [`Wait::begin`], for a wait that CLIENT UNBLOCK does not end.
    pub fn begin_firm(&self) {
        let number = (self.0.load(Ordering::Relaxed) & !STATE).wrapping_add(ONE);
        self.0.store(number | FIRM, Ordering::Release);
    }

    /// Ends a wait of [`Wait::begin_firm`]. False when there is none.
    pub fn end_firm(&self) -> bool {
        let word = self.0.load(Ordering::Acquire);
        word & STATE == FIRM && self.change(word, word & !STATE)
    }

    /// True while this wait has not ended.
    pub fn is_on(&self, number: WaitNumber) -> bool {
        let word = self.0.load(Ordering::Acquire);
        word & !STATE == number.0 && word & STATE != IDLE
    }

    /// The command is about to be run again. False when the wait is over.
    pub fn try_serve(&self, number: WaitNumber) -> bool {
        self.change(number.0 | WAITING, number.0 | SERVING)
    }

    /// The command that was run again got its reply (`true`), or goes on waiting.
    pub fn finish(&self, number: WaitNumber, served: bool) {
        let state = if served { IDLE } else { WAITING };
        self.0.store(number.0 | state, Ordering::Release);
    }

    /// Ends the present wait, whichever it is. False when there is none, or when it has just been
    /// served.
    pub fn end(&self) -> bool {
        self.end_firm() || self.unblock()
    }

    /// As [`Wait::end`], and false also for a wait of [`Wait::begin_firm`].
    pub fn unblock(&self) -> bool {
        loop {
            let word = self.0.load(Ordering::Acquire);
            match word & STATE {
                WAITING if self.change(word, word & !STATE) => return true,
                // Another thread runs the command now, holding all locks that it needs, so this is
                // short.
                SERVING => std::thread::yield_now(),
                IDLE | FIRM => return false,
                _ => {}
            }
        }
    }

    fn change(&self, from: u64, to: u64) -> bool {
        self.0
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_once() {
        let wait = Wait::default();
        assert!(!wait.end());
        let first = wait.begin();
        assert!(wait.is_on(first));
        assert!(wait.end());
        assert!(!wait.end());
        assert!(!wait.try_serve(first));
        assert!(!wait.is_on(first));
    }

    #[test]
    fn a_firm_wait_is_not_unblocked() {
        let wait = Wait::default();
        wait.begin_firm();
        assert!(!wait.unblock());
        assert!(wait.end_firm());
        assert!(!wait.end_firm());
        wait.begin_firm();
        assert!(wait.end());
        let number = wait.begin();
        assert!(wait.is_on(number) && !wait.end_firm());
        assert!(wait.unblock());
    }

    #[test]
    fn a_wait_that_was_not_served_goes_on() {
        let wait = Wait::default();
        let number = wait.begin();
        assert!(wait.try_serve(number));
        assert!(wait.is_on(number));
        wait.finish(number, false);
        assert!(wait.try_serve(number));
        wait.finish(number, true);
        assert!(!wait.end());
    }

    #[test]
    fn the_number_of_an_old_wait_means_nothing() {
        let wait = Wait::default();
        let old = wait.begin();
        assert!(wait.end());
        let new = wait.begin();
        assert!(!wait.is_on(old));
        assert!(!wait.try_serve(old));
        assert!(wait.try_serve(new));
    }

    #[test]
    fn of_several_who_end_a_wait_one_does() {
        let wait = Wait::default();
        for _ in 0..200 {
            let number = wait.begin();
            let ended: usize = std::thread::scope(|scope| {
                let served = scope.spawn(|| {
                    let serves = wait.try_serve(number);
                    if serves {
                        wait.finish(number, true);
                    }
                    usize::from(serves)
                });
                let enders: Vec<_> = (0..2)
                    .map(|_| scope.spawn(|| usize::from(wait.end())))
                    .collect();
                let ended = enders.into_iter().map(|ender| ender.join().unwrap());
                served.join().unwrap() + ended.sum::<usize>()
            });
            assert_eq!(ended, 1);
        }
    }
}
