//! ACL LOG: commands that were denied, and logins that failed.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::check::DeniedReason;

/// Events that are alike count as one while they follow each other within this time.
const GROUPING_MS: u64 = 60_000;

/// How many entries are compared with a new one.
const COMPARED: usize = 10;

/// Longest object and user name that an entry keeps, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogReason {
    /// A command, or its arguments.
    Denied(DeniedReason),
    /// A login.
    Auth,
    /// The certificate of a client, which names no user.
    Certificate,
}

impl LogReason {
    /// The word in ACL LOG.
    pub fn word(self) -> &'static str {
        match self {
            Self::Denied(DeniedReason::Command) => "command",
            Self::Denied(DeniedReason::Key) => "key",
            Self::Denied(DeniedReason::Channel) => "channel",
            Self::Denied(DeniedReason::Database) => "database",
            Self::Auth => "auth",
            Self::Certificate => "tls-cert",
        }
    }
}

/// Where a command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogContext {
    /// A request.
    TopLevel,
    /// Between MULTI and EXEC.
    Multi,
    /// A script in Lua.
    Lua,
}

impl LogContext {
    /// The word in ACL LOG.
    pub fn word(self) -> &'static str {
        match self {
            Self::TopLevel => "toplevel",
            Self::Multi => "multi",
            Self::Lua => "lua",
        }
    }
}

/// A refusal.
#[derive(Clone, Debug)]
pub struct LogEvent {
    /// What was refused.
    pub reason: LogReason,
    /// Where.
    pub context: LogContext,
    /// The command, key, channel or database.
    pub object: Vec<u8>,
    /// The user, or the name of the login.
    pub user: Vec<u8>,
    /// The client as CLIENT LIST shows it.
    pub client: String,
    /// Unix milliseconds.
    pub now_ms: u64,
}

/// An entry: events that are alike.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// The last of the events; its time is that of the last one.
    pub event: LogEvent,
    /// How many there were.
    pub count: u64,
    /// Its number since the start.
    pub id: u64,
    /// When the first one happened, Unix milliseconds.
    pub created_ms: u64,
}

/// The log, the newest entry first.
#[derive(Debug, Default)]
pub struct AclLog {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<LogEntry>,
    next_id: u64,
}

impl AclLog {
    /// Adds an event, of which at most `max` entries are kept.
    pub fn add(&self, mut event: LogEvent, max: usize) {
        event.object.truncate(TEXT_BYTES_MAX);
        event.user.truncate(TEXT_BYTES_MAX);
        let mut state = self.lock();
        let place = state.entries.iter().take(COMPARED).position(|entry| {
            let known = &entry.event;
            known.reason == event.reason
                && known.context == event.context
                && known.now_ms.abs_diff(event.now_ms) <= GROUPING_MS
                && known.object == event.object
                && known.user == event.user
        });
        let entry = match place.and_then(|place| state.entries.remove(place)) {
            Some(mut entry) => {
                entry.count += 1;
                entry.event = event;
                entry
            }
            None => {
                let id = state.next_id;
                state.next_id += 1;
                LogEntry {
                    count: 1,
                    id,
                    created_ms: event.now_ms,
                    event,
                }
            }
        };
        state.entries.push_front(entry);
        state.entries.truncate(max);
    }

    /// Forgets all entries beyond `max`.
    pub fn trim(&self, max: usize) {
        self.lock().entries.truncate(max);
    }

    /// The newest entries.
    pub fn newest(&self, count: usize) -> Vec<LogEntry> {
        self.lock().entries.iter().take(count).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
