//! The command log: slow executions, large requests and large replies, most recent first.
//!
//! Nearly every command is within all three thresholds, so [`CommandLogs::record`] compares three
//! cached numbers and takes a lock only for a command that goes into a log.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use resp::Args;

use crate::command::Flags;
use crate::config::{Config, P};
use crate::keys::LocatedKey;
use crate::redact;
use crate::session::Session;
use crate::table::Command;

/// Arguments of one entry that are kept; the last one then has the number of the others.
pub const ARGS_MAX: usize = 32;
/// Bytes of one argument that are kept.
const ARG_BYTES_MAX: usize = 128;

/// An execution that has ended, as its observers see it.
#[derive(Clone, Copy)]
pub struct Executed<'a> {
    /// Unix milliseconds.
    pub now_ms: u64,
    /// The client.
    pub session: &'a Session,
    /// The command.
    pub command: &'static Command,
    /// Its arguments.
    pub args: Args<'a>,
    /// The keys among them, but for commands of a script, whose keys count for the script.
    pub keys: &'a [LocatedKey],
    /// Time it took, in nanoseconds; a wait is not part of it.
    pub nanos: u64,
    /// Length of its reply, in bytes.
    pub reply_bytes: usize,
}

/// Which of the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKind {
    /// By execution time, in microseconds.
    Slow,
    /// By the size of the request, in bytes.
    LargeRequest,
    /// By the size of the reply, in bytes.
    LargeReply,
}

impl LogKind {
    /// The log with this name in COMMANDLOG, in any case.
    pub fn named(name: &[u8]) -> Option<Self> {
        const NAMES: [(&[u8], LogKind); 3] = [
            (b"slow", LogKind::Slow),
            (b"large-request", LogKind::LargeRequest),
            (b"large-reply", LogKind::LargeReply),
        ];
        NAMES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, kind)| *kind)
    }
}

/// One logged command.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// Grows by one per entry of the same log, and is never used again.
    pub id: u64,
    /// Unix seconds.
    pub time_s: u64,
    /// Microseconds or bytes.
    pub value: i64,
    /// Shortened and redacted arguments.
    pub args: Vec<Vec<u8>>,
    /// Address of the client.
    pub addr: String,
    /// Its name.
    pub name: Vec<u8>,
}

#[derive(Default)]
struct Entries {
    next_id: u64,
    /// Newest first.
    queue: VecDeque<LogEntry>,
}

/// One of the logs.
struct Log {
    /// Values from here on are logged; negative: none.
    threshold: AtomicI64,
    len_max: AtomicUsize,
    entries: Mutex<Entries>,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            threshold: AtomicI64::new(-1),
            len_max: AtomicUsize::new(128),
            entries: Mutex::default(),
        }
    }
}

impl Log {
    /// Whether a value that is at most `value_max` could be logged.
    #[inline]
    fn wants(&self, value_max: i64) -> bool {
        let threshold = self.threshold.load(Ordering::Relaxed);
        threshold >= 0 && value_max >= threshold
    }

    fn configure(&self, config: &Config, threshold: P, len_max: P) {
        self.threshold
            .store(config.int(threshold), Ordering::Relaxed);
        self.len_max.store(config.size(len_max), Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cold]
    fn push(&self, executed: &Executed<'_>, value: i64) {
        let len_max = self.len_max.load(Ordering::Relaxed);
        if len_max == 0 || !self.wants(value) {
            return;
        }
        let mut entries = self.lock();
        let id = entries.next_id;
        entries.next_id += 1;
        entries.queue.push_front(LogEntry {
            id,
            time_s: executed.now_ms / 1000,
            value,
            args: shortened(executed.command, executed.args),
            addr: executed.session.shared.addr.clone(),
            name: executed.session.shared.lock_details().name.clone(),
        });
        // A log that was made shorter shrinks when the next entry comes.
        entries.queue.truncate(len_max);
    }
}

/// The three logs.
#[derive(Default)]
pub struct CommandLogs {
    slow: Log,
    large_request: Log,
    large_reply: Log,
}

impl CommandLogs {
    /// Takes over the thresholds and lengths of the configuration.
    pub fn configure(&self, config: &Config) {
        self.slow.configure(
            config,
            P::CommandlogExecutionSlowerThan,
            P::CommandlogSlowExecutionMaxLen,
        );
        self.large_request.configure(
            config,
            P::CommandlogRequestLargerThan,
            P::CommandlogLargeRequestMaxLen,
        );
        self.large_reply.configure(
            config,
            P::CommandlogReplyLargerThan,
            P::CommandlogLargeReplyMaxLen,
        );
    }

    /// Logs an executed command where it exceeds a threshold.
    #[inline]
    pub fn record(&self, executed: &Executed<'_>) {
        let micros = (executed.nanos / 1000) as i64;
        if self.slow.wants(micros)
            || self.large_reply.wants(executed.reply_bytes as i64)
            || self.large_request.wants(request_bytes_max(executed.args))
        {
            self.record_all(executed, micros);
        }
    }

    #[cold]
    fn record_all(&self, executed: &Executed<'_>, micros: i64) {
        if executed.command.spec.flags.has(Flags::SKIP_COMMANDLOG) {
            return;
        }
        self.slow.push(executed, micros);
        let request = request_bytes(executed.args);
        self.large_request.push(executed, request);
        self.large_reply.push(executed, executed.reply_bytes as i64);
    }

    fn log(&self, kind: LogKind) -> &Log {
        match kind {
            LogKind::Slow => &self.slow,
            LogKind::LargeRequest => &self.large_request,
            LogKind::LargeReply => &self.large_reply,
        }
    }

    /// The newest `count` entries.
    pub fn newest(&self, kind: LogKind, count: usize) -> Vec<LogEntry> {
        self.log(kind)
            .lock()
            .queue
            .iter()
            .take(count)
            .cloned()
            .collect()
    }

    /// Number of entries.
    pub fn len(&self, kind: LogKind) -> usize {
        self.log(kind).lock().queue.len()
    }

    /// Removes all entries; ids go on.
    pub fn reset(&self, kind: LogKind) {
        self.log(kind).lock().queue.clear();
    }

    /// Slow executions are not logged at all.
    pub fn is_slow_log_off(&self) -> bool {
        self.slow.threshold.load(Ordering::Relaxed) < 0
            || self.slow.len_max.load(Ordering::Relaxed) == 0
    }

    /// Microseconds from which an execution is logged; negative: never.
    pub fn slow_threshold_us(&self) -> i64 {
        self.slow.threshold.load(Ordering::Relaxed)
    }
}

/// Longest `$<len>\r\n...\r\n` or `*<count>\r\n` around the bytes of an argument.
const FRAME_BYTES_MAX: usize = 25;

/// An upper bound of [`request_bytes`] that needs no look at the arguments.
#[inline]
fn request_bytes_max(args: Args<'_>) -> i64 {
    (args.buffer_len() + (args.len() + 1) * FRAME_BYTES_MAX) as i64
}

/// Size of the request as a RESP array of bulk strings.
pub(crate) fn request_bytes(args: Args<'_>) -> i64 {
    let digits = |n: usize| n.checked_ilog10().map_or(1, |log| log as usize + 1);
    let head = 3 + digits(args.len());
    let bulks: usize = args
        .iter()
        .map(|arg| 5 + digits(arg.len()) + arg.len())
        .sum();
    (head + bulks) as i64
}

/// At most [`ARGS_MAX`] arguments of at most [`ARG_BYTES_MAX`] bytes, with a note about what is
/// missing.
fn shortened(entry: &Command, args: Args<'_>) -> Vec<Vec<u8>> {
    let kept = if args.len() > ARGS_MAX {
        ARGS_MAX - 1
    } else {
        args.len()
    };
    let mut shown: Vec<Vec<u8>> = (0..kept)
        .map(|index| shortened_arg(redact::shown(entry, args, index)))
        .collect();
    if kept < args.len() {
        shown.push(format!("... ({} more arguments)", args.len() - kept).into_bytes());
    }
    shown
}

fn shortened_arg(arg: &[u8]) -> Vec<u8> {
    match arg.split_at_checked(ARG_BYTES_MAX) {
        Some((head, rest)) if !rest.is_empty() => {
            let mut text = head.to_vec();
            text.extend_from_slice(format!("... ({} more bytes)", rest.len()).as_bytes());
            text
        }
        _ => arg.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{ClientShared, Peer};
    use crate::execute::command_table;
    use crate::session::Origin;
    use crate::session::Session;
    use resp::OwnedArgs;
    use std::sync::Arc;

    fn session() -> Session {
        let shared = ClientShared::new(
            1,
            Peer::Tcp("1.2.3.4:5".parse().unwrap()),
            &Peer::None,
            8,
            0,
            0,
        );
        Session::new(Arc::new(shared), Origin::Client, None)
    }

    fn table() -> crate::table::CommandTable {
        command_table(crate::commands::GROUPS, &[])
            .expect("no renames")
            .0
    }

    #[test]
    fn only_what_reaches_a_threshold_is_logged() {
        let logs = CommandLogs::default();
        logs.slow.threshold.store(10, Ordering::Relaxed);
        logs.slow.len_max.store(2, Ordering::Relaxed);
        let table = table();
        let echo = table.lookup(b"echo").expect("known");
        let request = OwnedArgs::from_slices(&[b"ECHO", b"x"]);
        for micros in [9, 10, 11, 12] {
            logs.record(&Executed {
                now_ms: 5_000,
                session: &session(),
                command: echo,
                args: request.as_args(),
                keys: &[],
                nanos: micros * 1000,
                reply_bytes: 7,
            });
        }
        let entries = logs.newest(LogKind::Slow, 10);
        let found: Vec<_> = entries.iter().map(|e| (e.id, e.value, e.time_s)).collect();
        assert_eq!(found, [(2, 12, 5), (1, 11, 5)]);
        assert_eq!(logs.len(LogKind::LargeReply), 0);
        logs.reset(LogKind::Slow);
        assert_eq!(logs.len(LogKind::Slow), 0);
    }

    #[test]
    fn the_size_of_a_request_is_that_of_its_resp_form() {
        let request = OwnedArgs::from_slices(&[b"ECHO", b"0123456789"]);
        // *2 $4 ECHO $10 0123456789, each with a line end.
        assert_eq!(request_bytes(request.as_args()), 4 + 4 + 6 + 5 + 12);
        assert!(request_bytes_max(request.as_args()) >= request_bytes(request.as_args()));
        let empty = OwnedArgs::from_slices(&[b""]);
        assert_eq!(request_bytes(empty.as_args()), 4 + 4 + 2);
    }

    #[test]
    fn long_requests_are_shortened() {
        let table = table();
        let echo = table.lookup(b"echo").expect("known");
        let long = vec![b'A'; 130];
        let many: Vec<&[u8]> = std::iter::repeat_n(long.as_slice(), 33).collect();
        let shown = shortened(echo, OwnedArgs::from_slices(&many).as_args());
        assert_eq!(shown.len(), 32);
        assert!(shown[0].ends_with(b"AA... (2 more bytes)"));
        assert_eq!(shown[31], b"... (2 more arguments)");
        let exactly: Vec<&[u8]> = std::iter::repeat_n(b"x".as_slice(), 32).collect();
        let shown = shortened(echo, OwnedArgs::from_slices(&exactly).as_args());
        assert_eq!(shown[31], b"x");
    }
}
