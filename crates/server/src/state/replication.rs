//! The history of the data by name, and the way to the thread that feeds replicas.

use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

use persist::storage::File;
use persist::{ReplicationId, StreamCursor};

use super::failover::FailoverState;
use super::random::random_id;
use crate::transport::connection::Connection;
use engine::client::ClientShared;
use engine::keys::DbKey;

/// The names of this data set's history, by which replicas know whether they follow the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histories {
    /// The present one: 40 hexadecimal digits.
    pub id: String,
    /// The one before, and the offset up to which both are the same.
    pub before: Option<(String, u64)>,
}

/// A message to the thread that feeds replicas.
pub enum Mail {
    /// A connection that has asked for the data. It is the thread's from now on.
    Adopt(Box<Connection>),
    /// The history has changed: all replicas are disconnected, to ask again where they are.
    Disconnect,
    /// The snapshot for replicas has begun at this stream offset; their cursors by token.
    Begun {
        /// Stream offset of the snapshot.
        offset: u64,
        /// The database that is selected in the stream there; `None`: a SELECT follows.
        stream_db: Option<u32>,
        /// What each replica reads from there on.
        cursors: Vec<(usize, StreamCursor)>,
    },
    /// DEBUG SLEEP: the thread sends nothing meanwhile, as a server that hangs.
    Sleep(std::time::Duration),
    /// The snapshot for replicas is being written to this file.
    Growing(Arc<dyn File>),
    /// The snapshot is written, or the reason why it is not.
    Written(Result<SnapshotFile, String>),
}

/// A snapshot in a file without a name.
#[derive(Clone)]
pub struct SnapshotFile {
    /// The file.
    pub file: Arc<dyn File>,
    /// Its length in bytes.
    pub len: u64,
}

/// The worker number of clients whose connections the thread that feeds replicas has.
pub(crate) const FEEDER: usize = usize::MAX;

/// How far the connection to a primary is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// It is to be opened.
    Connect,
    /// The two are getting to know each other.
    Handshake,
    /// A snapshot is being received or loaded.
    Sync,
    /// The stream is followed.
    Connected,
}

impl LinkState {
    /// The word of ROLE.
    pub fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Handshake => "handshake",
            Self::Sync => "sync",
            Self::Connected => "connected",
        }
    }

    /// The line of the log when nothing has come for `repl-timeout`.
    pub fn timeout_text(self) -> &'static str {
        match self {
            Self::Connect | Self::Handshake => "Timeout connecting to the PRIMARY...",
            Self::Sync => {
                "Timeout receiving bulk data from PRIMARY... If the problem persists try to set the 'repl-timeout' parameter in valkey.conf to a larger value."
            }
            Self::Connected => "PRIMARY timeout: no data nor PING received...",
        }
    }
}

/// The primary that this server follows.
#[derive(Clone, Debug)]
pub struct Following {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How far the connection is.
    pub state: LinkState,
    /// When anything came from it, in milliseconds of the steady clock.
    pub heard_ms: u64,
    /// Since when there is no connection.
    pub down_since_ms: u64,
    /// Bytes of a snapshot that were received, and the length of it where it is known.
    pub received: u64,
    /// See `received`.
    pub total: Option<u64>,
}

/// The server's part in replication.
#[derive(Default)]
pub struct Replication {
    histories: Mutex<Option<Histories>>,
    inbox: Mutex<Vec<Mail>>,
    /// The thread has been told to look.
    is_announced: AtomicBool,
    waker: OnceLock<mio::Waker>,
    /// The thread is there, or about to be.
    is_started: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The server ends.
    stopping: AtomicBool,
    /// Stream offset that the thread was last told of.
    announced: AtomicU64,
    following: Mutex<Option<Following>>,
    /// Client ids of connections that carry a snapshot alone, as long as the stream behind it is
    /// kept.
    rdb_clients: Mutex<Vec<u64>>,
    /// Bytes of the stream that wait here for the end of a full synchronization on another
    /// connection.
    pub buffered: AtomicU64,
    /// The most that there have been.
    pub buffered_peak: AtomicU64,
    stopped_until_ms: AtomicU64,
    /// Keys that a snapshot of the start had, and that have expired: replicas are told.
    left_out: Mutex<Vec<DbKey>>,
    /// The primary as a client, and its socket, for CLIENT KILL.
    primary_socket: Mutex<Option<(Arc<ClientShared>, TcpStream)>>,
    /// The role is being handed over to a replica.
    pub failover: FailoverState,
    /// The data was removed for a full synchronization that has not succeeded: the files have what
    /// was there before, with its place in the history, and memory has nothing.
    pub lacks_data: AtomicBool,
    /// The data of a full synchronization is not in the log yet, see `Server::awaits_base`.
    pub awaits_base: AtomicBool,
    /// Grows with every change of role: a thread that follows an earlier primary ends.
    pub generation: AtomicU64,
    /// Commands of a primary's stream that failed here.
    pub unapplied: AtomicU64,
    /// Full synchronizations.
    pub full: AtomicU64,
    /// Synchronizations that went on where the replica was.
    pub partial: AtomicU64,
    /// Requests to go on that were refused.
    pub refused: AtomicU64,
    /// Replicas that were disconnected because they left too much unread.
    pub lost: AtomicU64,
}

impl Replication {
    /// The names.
    pub fn histories(&self) -> Histories {
        self.lock()
            .get_or_insert_with(|| Histories {
                id: random_id(),
                before: None,
            })
            .clone()
    }

    /// A new history begins. `before`: the one that it goes on from, and up to which offset.
    pub fn begin_history(&self, before: Option<(String, u64)>) -> Histories {
        let next = Histories {
            id: random_id(),
            before,
        };
        *self.lock() = Some(next.clone());
        next
    }

    /// The history is that of a primary from now on. `before`: the one that it goes on from.
    pub fn join_history(&self, id: &str, before: Option<(String, u64)>) {
        *self.lock() = Some(Histories {
            id: id.to_owned(),
            before,
        });
    }

    /// A connection carries a snapshot alone from now on, and the stream behind it is kept.
    pub fn add_rdb_client(&self, id: u64) {
        self.lock_rdb_clients().push(id);
    }

    /// The stream behind that snapshot is not kept any more, or followed.
    pub fn remove_rdb_client(&self, id: u64) {
        self.lock_rdb_clients().retain(|known| *known != id);
    }

    /// Whether the stream behind the snapshot of this connection can be asked for.
    pub fn is_rdb_client(&self, id: u64) -> bool {
        self.lock_rdb_clients().contains(&id)
    }

    /// How many of these connections there are.
    pub fn rdb_clients(&self) -> usize {
        self.lock_rdb_clients().len()
    }

    fn lock_rdb_clients(&self) -> MutexGuard<'_, Vec<u64>> {
        let clients = self.rdb_clients.lock();
        clients.unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the socket to the primary, as long as its stream is followed.
    pub fn set_primary_socket(&self, socket: Option<(Arc<ClientShared>, TcpStream)>) {
        *self.lock_primary_socket() = socket;
    }

    /// Ends the connection to the primary when CLIENT KILL asks for it: its thread may be waiting
    /// for locks.
    pub fn cut_killed_primary(&self) {
        if let Some((client, socket)) = &*self.lock_primary_socket()
            && client.kill.load(Ordering::Acquire)
            && let Err(error) = socket.shutdown(Shutdown::Both)
        {
            log::debug!("Closing the connection to the primary: {error}");
        }
    }

    fn lock_primary_socket(&self) -> MutexGuard<'_, Option<(Arc<ClientShared>, TcpStream)>> {
        let socket = self.primary_socket.lock();
        socket.unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps keys that have expired and were not loaded.
    pub fn leave_out(&self, mut keys: Vec<DbKey>) {
        let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        left_out.append(&mut keys);
    }

    /// Takes the keys that were not loaded.
    pub fn take_left_out(&self) -> Vec<DbKey> {
        let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut left_out)
    }

    /// The primary that is followed.
    pub fn following(&self) -> Option<Following> {
        self.lock_following().clone()
    }

    /// Sets the primary that is followed.
    pub fn set_following(&self, following: Option<Following>) {
        *self.lock_following() = following;
    }

    /// Changes what is known of it, unless it has been replaced since `generation`.
    pub fn update_following(&self, generation: u64, change: impl FnOnce(&mut Following)) {
        let mut following = self.lock_following();
        if self.generation.load(Ordering::Acquire) == generation
            && let Some(following) = &mut *following
        {
            change(following);
        }
    }

    fn lock_following(&self) -> MutexGuard<'_, Option<Following>> {
        self.following
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The present name, in the form of the log.
    pub fn log_id(&self) -> Option<ReplicationId> {
        ReplicationId::parse(self.histories().id.as_bytes())
    }

    /// True the first time: the caller starts the thread.
    pub fn claim_start(&self) -> bool {
        !self.is_started.swap(true, Ordering::AcqRel)
    }

    /// The thread could not be started, or it has ended.
    pub fn release_start(&self) {
        self.is_started.store(false, Ordering::Release);
    }

    /// Keeps the thread, to be waited for at the end.
    pub fn set_thread(&self, thread: JoinHandle<()>) {
        *self.lock_thread() = Some(thread);
    }

    /// The server ends: the thread is waited for, which ends when the replicas have everything or
    /// `shutdown-timeout` has passed.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
        let thread = self.lock_thread().take();
        if let Some(Err(_)) = thread.map(JoinHandle::join) {
            log::error!("The thread of the replicas panicked while it ended");
        }
    }

    /// [`Replication::stop`] was called.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn lock_thread(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// CONFIG RESETSTAT.
    pub fn reset_statistics(&self) {
        let counters = [
            &self.full,
            &self.partial,
            &self.refused,
            &self.lost,
            &self.unapplied,
        ];
        for counter in counters {
            counter.store(0, Ordering::Relaxed);
        }
    }

    /// Attaches the waker of the thread's poll, once.
    pub fn attach(&self, waker: mio::Waker) {
        // The thread is started once; the first waker stays.
        let _ = self.waker.set(waker);
    }

    /// Sends a message to the thread.
    pub fn send(&self, mail: Mail) {
        self.lock_inbox().push(mail);
        self.wake();
    }

    /// DEBUG SLEEP stops both threads of replication until this moment of the steady clock.
    pub fn stop_until(&self, steady_ms: u64, duration: std::time::Duration) {
        let until_ms = steady_ms.saturating_add(duration.as_millis() as u64);
        self.stopped_until_ms.fetch_max(until_ms, Ordering::AcqRel);
        self.send(Mail::Sleep(duration));
    }

    /// DEBUG SLEEP is under way.
    pub fn is_stopped(&self, steady_ms: u64) -> bool {
        steady_ms < self.stopped_until_ms.load(Ordering::Acquire)
    }

    /// Tells the thread that the stream has grown to `offset`.
    #[inline]
    pub fn announce(&self, offset: u64) {
        if self.announced.load(Ordering::Relaxed) != offset {
            self.announced.store(offset, Ordering::Relaxed);
            self.wake();
        }
    }

    /// Makes the thread look at everything.
    pub fn wake(&self) {
        if !self.is_announced.swap(true, Ordering::AcqRel)
            && let Some(waker) = self.waker.get()
            && let Err(error) = waker.wake()
        {
            log::warn!("Waking the thread of replicas failed: {error}");
        }
    }

    /// Takes all messages; the next one wakes the thread again.
    pub fn drain(&self) -> Vec<Mail> {
        self.is_announced.store(false, Ordering::Release);
        std::mem::take(&mut *self.lock_inbox())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Histories>> {
        self.histories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_inbox(&self) -> MutexGuard<'_, Vec<Mail>> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_forty_digits_and_differ() {
        let replication = Replication::default();
        let first = replication.histories();
        assert_eq!(replication.histories(), first);
        let next = replication.begin_history(Some((first.id.clone(), 7)));
        assert_ne!(next.id, first.id);
        for id in [&first.id, &next.id] {
            assert_eq!(id.len(), 40);
            assert!(id.bytes().all(|digit| digit.is_ascii_hexdigit()));
        }
        assert_eq!(next.before, Some((first.id, 7)));
        assert!(replication.log_id().is_some());
    }
}
