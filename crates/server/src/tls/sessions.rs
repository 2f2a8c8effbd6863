//! Resumption of TLS sessions.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::crypto::{GetRandomFailed, aws_lc_rs};
use rustls::server::{ProducesTickets, StoresServerSessions};
use rustls::ticketer::TicketRotator;

/// Sessions that are kept at most, also when `tls-session-cache-size` is 0, which sets no limit:
/// about a gigabyte of sessions without client certificates.
const SESSIONS_MAX: usize = 1 << 20;

/// Sessions by their ids, for clients of TLS 1.2 that do not take tickets. The oldest goes when
/// there are too many, and each is of use for one timeout.
#[derive(Debug)]
pub(super) struct SessionCache {
    max: usize,
    timeout: Duration,
    sessions: Mutex<Sessions>,
}

#[derive(Debug, Default)]
struct Sessions {
    by_id: HashMap<Vec<u8>, Session>,
    /// Ids in the order of their ends, with those of sessions that have gone meanwhile.
    order: VecDeque<(Instant, Vec<u8>)>,
}

#[derive(Debug)]
struct Session {
    value: Vec<u8>,
    ends: Instant,
}

impl SessionCache {
    /// A cache for `max` sessions (0: as many as there can be) of `timeout_s` seconds.
    pub(super) fn new(max: usize, timeout_s: u64) -> Self {
        Self {
            max: if max == 0 {
                SESSIONS_MAX
            } else {
                max.min(SESSIONS_MAX)
            },
            timeout: Duration::from_secs(timeout_s),
            sessions: Mutex::default(),
        }
    }

    fn with<T>(&self, run: impl FnOnce(&mut Sessions) -> T) -> T {
        run(&mut self.sessions.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl StoresServerSessions for SessionCache {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let now = Instant::now();
        let ends = now + self.timeout;
        self.with(|sessions| {
            while let Some((end, _)) = sessions.order.front()
                && (*end <= now || sessions.order.len() >= self.max)
                && let Some((end, id)) = sessions.order.pop_front()
            {
                if sessions.by_id.get(&id).is_some_and(|it| it.ends == end) {
                    sessions.by_id.remove(&id);
                }
            }
            sessions.order.push_back((ends, key.clone()));
            sessions.by_id.insert(key, Session { value, ends });
        });
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let now = Instant::now();
        self.with(|sessions| {
            let session = sessions.by_id.get(key)?;
            (session.ends > now).then(|| session.value.clone())
        })
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let now = Instant::now();
        let session = self.with(|sessions| sessions.by_id.remove(key))?;
        (session.ends > now).then_some(session.value)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// What makes and reads tickets; a ticket is of use for `timeout_s` seconds at most.
///
/// # Errors
/// The library has no random numbers.
pub(super) fn tickets(timeout_s: u64) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    // A key makes tickets for one period and reads them for two.
    let period_s = u32::try_from(timeout_s.div_ceil(2)).unwrap_or(u32::MAX / 2);
    Ok(Arc::new(TicketRotator::new(period_s.max(1), key)?))
}

/// The keys of one period. They live until the rotator drops them.
#[derive(Debug)]
struct Key(Arc<dyn ProducesTickets>);

fn key() -> Result<Box<dyn ProducesTickets>, GetRandomFailed> {
    match aws_lc_rs::Ticketer::new() {
        Ok(ticketer) => Ok(Box::new(Key(ticketer))),
        Err(_) => Err(GetRandomFailed),
    }
}

impl ProducesTickets for Key {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(cipher)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_keeps_the_newest_sessions() {
        let cache = SessionCache::new(2, 100);
        for id in [b"a", b"b", b"c"] {
            assert!(cache.put(id.to_vec(), vec![1]));
        }
        assert_eq!(cache.get(b"a"), None);
        assert_eq!(cache.get(b"b"), Some(vec![1]));
        assert_eq!(cache.take(b"c"), Some(vec![1]));
        assert_eq!(cache.take(b"c"), None);
    }

    #[test]
    fn a_session_ends() {
        let cache = SessionCache::new(0, 0);
        assert!(cache.put(b"a".to_vec(), vec![1]));
        assert_eq!(cache.get(b"a"), None);
        assert_eq!(cache.take(b"a"), None);
    }

    #[test]
    fn another_key_reads_no_ticket() {
        let (one, other) = (tickets(300).expect("a key"), tickets(300).expect("a key"));
        let ticket = one.encrypt(b"session").expect("a ticket");
        assert_eq!(one.decrypt(&ticket), Some(b"session".to_vec()));
        assert_eq!(other.decrypt(&ticket), None);
        assert_eq!(one.lifetime(), 300);
    }
}
