//! The attached replicas as commands see them: how far each one is, and which clients wait for
//! them (WAIT, WAITAOF).

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::client::ClientShared;

/// How far the synchronization of a replica has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncState {
    /// It waits for a snapshot to begin.
    WaitsForSnapshot,
    /// Its snapshot is being written.
    SnapshotRuns,
    /// It is being sent the snapshot.
    ReceivesSnapshot,
    /// It is sent the stream behind a snapshot that it gets on a connection of its own.
    LoadsApart,
    /// It follows the stream.
    Online,
}

impl SyncState {
    /// The word of INFO.
    pub fn word(self) -> &'static str {
        match self {
            Self::WaitsForSnapshot | Self::SnapshotRuns => "wait_bgsave",
            Self::ReceivesSnapshot => "send_bulk",
            Self::LoadsApart => "bg_transfer",
            Self::Online => "online",
        }
    }
}

/// What a replica has said of itself before it asks for the data (REPLCONF).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaSetup {
    /// The port it listens on.
    pub port: u16,
    /// The address to announce, when it is not that of the connection.
    pub ip: String,
    /// It finds the end of a snapshot by a mark.
    pub eof: bool,
    /// It understands +CONTINUE with another replication id.
    pub psync2: bool,
    /// It is a Lodestore.
    pub is_lodestore: bool,
    /// Version of Valkey that it says it has, as 0x00MMmmpp; 0: none, as Redis.
    pub version: u32,
    /// It wants the snapshot alone, and not the stream.
    pub rdb_only: bool,
    /// Which parts of the snapshot it wants (`rdb-filter-only`); `None`: all.
    pub filter: Option<SnapshotFilter>,
    /// It can receive the snapshot on a connection of its own.
    pub dual_channel: bool,
    /// This is that connection.
    pub rdb_channel: bool,
    /// This is the other one, which gets the stream: the client id of that for the snapshot.
    pub rdb_client: Option<u64>,
}

impl ReplicaSetup {
    /// It is a server of another product, and follows the stream.
    pub fn is_foreign(&self) -> bool {
        !self.is_lodestore && self.gets_stream()
    }

    /// The stream follows, on this connection or on another one.
    pub fn gets_stream(&self) -> bool {
        !self.rdb_only || self.rdb_channel
    }
}

/// Parts of a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotFilter {
    /// Libraries of functions.
    pub functions: bool,
}

/// A request for the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    /// The history that it knows and the offset of the next byte it wants; `None`: a full
    /// synchronization.
    pub resume: Option<(Vec<u8>, u64)>,
    /// It was asked for by SYNC: the reply has no line before the snapshot.
    pub is_old: bool,
}

/// An attached replica.
#[derive(Debug)]
pub struct Replica {
    /// Its connection.
    pub client: Arc<ClientShared>,
    /// What it said of itself.
    pub setup: ReplicaSetup,
    /// Stream offset that it has processed.
    acknowledged: AtomicU64,
    /// It has acknowledged anything, if only offset 0.
    has_answered: AtomicBool,
    /// Stream offset that it has on its disk.
    durable: AtomicU64,
    /// Milliseconds of the steady clock when it last acknowledged anything.
    heard_ms: AtomicU64,
    state: AtomicU8,
}

impl Replica {
    /// A replica that has just asked for the data.
    pub fn new(client: Arc<ClientShared>, setup: ReplicaSetup, steady_ms: u64) -> Self {
        Self {
            client,
            setup,
            acknowledged: AtomicU64::new(0),
            has_answered: AtomicBool::new(false),
            durable: AtomicU64::new(0),
            heard_ms: AtomicU64::new(steady_ms),
            state: AtomicU8::new(SyncState::WaitsForSnapshot as u8),
        }
    }

    /// How far its synchronization is.
    pub fn state(&self) -> SyncState {
        match self.state.load(Ordering::Acquire) {
            0 => SyncState::WaitsForSnapshot,
            1 => SyncState::SnapshotRuns,
            2 => SyncState::ReceivesSnapshot,
            3 => SyncState::LoadsApart,
            _ => SyncState::Online,
        }
    }

    /// Moves on.
    pub fn set_state(&self, state: SyncState) {
        self.state.store(state as u8, Ordering::Release);
    }

    /// Stream offset that it has processed.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Acquire)
    }

    /// It has said that it has processed the stream up to its end.
    pub fn has_all(&self, end: u64) -> bool {
        self.has_answered.load(Ordering::Acquire) && self.acknowledged() == end
    }

    /// Notes `REPLCONF ACK offset [FACK durable]`.
    pub fn acknowledge(&self, offset: u64, durable: Option<u64>, steady_ms: u64) {
        self.acknowledged.fetch_max(offset, Ordering::AcqRel);
        self.has_answered.store(true, Ordering::Release);
        if let Some(durable) = durable {
            self.durable.fetch_max(durable, Ordering::AcqRel);
        }
        self.heard_ms.store(steady_ms, Ordering::Release);
    }

    /// It has said that it is there, and not how far it is.
    pub fn note_alive(&self, steady_ms: u64) {
        self.heard_ms.store(steady_ms, Ordering::Release);
    }

    /// Seconds since it last acknowledged anything.
    pub fn lag_s(&self, steady_ms: u64) -> u64 {
        steady_ms.saturating_sub(self.heard_ms.load(Ordering::Acquire)) / 1000
    }

    /// Milliseconds of the steady clock when it was last heard of.
    pub fn heard_ms(&self) -> u64 {
        self.heard_ms.load(Ordering::Acquire)
    }

    /// The address to announce.
    pub fn ip(&self) -> String {
        if !self.setup.ip.is_empty() {
            return self.setup.ip.clone();
        }
        match &self.client.peer {
            crate::client::Peer::Tcp(addr) => addr.ip().to_canonical().to_string(),
            _ => "127.0.0.1".to_owned(),
        }
    }
}

/// What a waiting client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// WAIT: so many replicas have processed the offset.
    Processed {
        /// How many.
        count: u64,
        /// Stream offset.
        offset: u64,
    },
    /// WAITAOF: so many replicas have the offset on their disks, and this server as well when
    /// `local` is the position of its log that has to be.
    Durable {
        /// How many.
        count: u64,
        /// Stream offset.
        offset: u64,
        /// Position in the log.
        local: Option<u64>,
    },
}

/// A client in WAIT or WAITAOF.
#[derive(Clone, Debug)]
pub struct ReplicaWait {
    /// The client.
    pub client: Arc<ClientShared>,
    /// The number of its wait.
    pub number: crate::wait::WaitNumber,
    /// What it asks for.
    pub wanted: Wanted,
    /// Its reply is dropped.
    pub is_silent: bool,
}

/// The attached replicas.
#[derive(Debug, Default)]
pub struct Replicas {
    list: Mutex<Vec<Arc<Replica>>>,
    /// How many there are.
    count: AtomicUsize,
    /// Those that are online and were heard of within `min-replicas-max-lag`.
    good: AtomicUsize,
    waits: Mutex<Vec<ReplicaWait>>,
    /// A client waits: replicas are to be asked how far they are.
    asks: AtomicBool,
    /// Behind this stream offset stands a command that only Lodestore understands; 0: none does
    /// that is known of. Its value is the offset plus 1.
    own_behind: AtomicU64,
    /// Bytes read from a primary and from replicas.
    pub net_input_bytes: AtomicU64,
    /// Bytes written to replicas.
    pub net_output_bytes: AtomicU64,
}

impl Replicas {
    /// Adds one.
    pub fn add(&self, replica: &Arc<Replica>) {
        let mut list = self.lock();
        list.push(Arc::clone(replica));
        self.count.store(list.len(), Ordering::Release);
    }

    /// Removes one.
    pub fn remove(&self, replica: &Arc<Replica>) {
        let mut list = self.lock();
        list.retain(|other| !Arc::ptr_eq(other, replica));
        self.count.store(list.len(), Ordering::Release);
    }

    /// How many there are, in any state. One relaxed load.
    #[inline]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// All of them, in the order in which they came.
    pub fn all(&self) -> Vec<Arc<Replica>> {
        self.lock().clone()
    }

    /// A replica of another product follows the stream, which has to hold nothing that only
    /// Lodestore understands.
    pub fn has_foreign(&self) -> bool {
        self.count() > 0 && self.lock().iter().any(|replica| replica.setup.is_foreign())
    }

    /// Notes that a command which only Lodestore understands comes behind this stream offset.
    /// Called under the locks of its keys.
    pub fn note_own(&self, offset: u64) {
        self.own_behind
            .fetch_max(offset.saturating_add(1), Ordering::AcqRel);
    }

    /// What stands before this offset is not known: it was appended before the start.
    pub fn note_unknown_before(&self, offset: u64) {
        self.own_behind.fetch_max(offset, Ordering::AcqRel);
    }

    /// A replica of another product can follow the stream from this offset on.
    pub fn is_plain_from(&self, offset: u64) -> bool {
        self.own_behind.load(Ordering::Acquire) <= offset
    }

    /// Up to where a replica of another product, which has the stream up to `offset`, can follow
    /// it; `None`: up to its end.
    pub fn plain_until(&self, offset: u64) -> Option<u64> {
        let own_behind = self.own_behind.load(Ordering::Acquire);
        (own_behind > offset).then(|| own_behind - 1)
    }

    /// CONFIG RESETSTAT.
    pub fn reset_statistics(&self) {
        self.net_input_bytes.store(0, Ordering::Relaxed);
        self.net_output_bytes.store(0, Ordering::Relaxed);
    }

    /// How many have processed the stream up to this offset.
    pub fn processed(&self, offset: u64) -> u64 {
        self.online(|replica| replica.acknowledged() >= offset)
    }

    /// How many have the stream up to this offset on their disks.
    pub fn durable(&self, offset: u64) -> u64 {
        self.online(|replica| replica.durable.load(Ordering::Acquire) >= offset)
    }

    /// How many replicas are online and were heard of within `lag_s` seconds (0: ever). Keeps the
    /// number for [`Replicas::good`].
    pub fn count_good(&self, lag_s: u64, steady_ms: u64) -> u64 {
        let good = self.online(|replica| lag_s == 0 || replica.lag_s(steady_ms) <= lag_s);
        self.good.store(good as usize, Ordering::Relaxed);
        good
    }

    /// As last counted by [`Replicas::count_good`].
    pub fn good(&self) -> u64 {
        self.good.load(Ordering::Relaxed) as u64
    }

    fn online(&self, fits: impl Fn(&Replica) -> bool) -> u64 {
        let list = self.lock();
        let online = list
            .iter()
            .filter(|replica| replica.state() == SyncState::Online && !replica.setup.rdb_only);
        online.filter(|replica| fits(replica)).count() as u64
    }

    /// A client begins to wait.
    pub fn add_wait(&self, wait: ReplicaWait) {
        self.lock_waits().push(wait);
        self.asks.store(true, Ordering::Release);
    }

    /// A client began to wait since [`Replicas::take_asks`]. One relaxed load.
    #[inline]
    pub fn has_asks(&self) -> bool {
        self.asks.load(Ordering::Relaxed)
    }

    /// True once after a client began to wait.
    pub fn take_asks(&self) -> bool {
        self.asks.load(Ordering::Relaxed) && self.asks.swap(false, Ordering::AcqRel)
    }

    /// Takes out the waits that are over by `is_over`, and those that have ended in another way.
    pub fn take_waits(&self, is_over: impl Fn(&Wanted) -> bool) -> Vec<ReplicaWait> {
        let mut waits = self.lock_waits();
        if waits.is_empty() {
            return Vec::new();
        }
        waits.retain(|wait| wait.client.wait.is_on(wait.number));
        waits.extract_if(.., |wait| is_over(&wait.wanted)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Replica>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_waits(&self) -> MutexGuard<'_, Vec<ReplicaWait>> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
