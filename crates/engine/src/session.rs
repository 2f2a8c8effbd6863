//! The state of a client that its own commands read and change.
//!
//! A [`Session`] lives in the connection and needs no lock.

use std::sync::Arc;

use resp::{OwnedArgs, Protocol};
use smallvec::SmallVec;

use crate::client::{ClientShared, flag};
use crate::command::Flags;
use crate::pubsub::{Kind, Subscriptions};
use crate::replicas::{ReplicaSetup, SyncRequest};
use crate::table::Command;
use crate::tracking::{Mode, Tracking};
use crate::users::{DEFAULT_USER, User};
use crate::wait::Block;
use crate::waiters::Waiter;
use crate::watch::WatchFlag;

/// Where the commands of a session come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A connection.
    Client,
    /// The append-only file at start: no checks, no propagation, keys do not expire.
    Replay,
    /// The stream of the primary that this server follows: no checks, keys do not expire, and the
    /// bytes that came are what is appended.
    Primary,
}

impl Origin {
    /// What such commands say is done as it is said: it was checked where it came from.
    #[inline]
    pub fn is_trusted(self) -> bool {
        self != Self::Client
    }
}

/// CLIENT REPLY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyMode {
    /// Replies are sent.
    On,
    /// No replies until CLIENT REPLY ON.
    Off,
    /// CLIENT REPLY SKIP was just run: the next command gets no reply.
    SkipNext,
    /// The current command gets no reply.
    Skip,
}

/// One command queued by MULTI.
#[derive(Debug)]
pub struct Queued {
    /// The command.
    pub entry: &'static Command,
    /// Its arguments.
    pub args: OwnedArgs,
}

/// A MULTI block in the making.
#[derive(Default)]
pub struct Multi {
    /// Commands so far.
    pub queue: Vec<Queued>,
    /// A queued command was refused: EXEC answers EXECABORT.
    pub aborted: bool,
    /// EXEC undoes everything when a command fails (MULTI ROLLBACK).
    pub rolls_back: bool,
    /// The flags of all of them, as they were admitted.
    pub flags: Flags,
    /// Some of them run scripts.
    pub runs_scripts: bool,
    /// Bytes held by the queue.
    pub bytes: usize,
    /// The database that the next command will work on.
    pub db: u32,
}

/// A watched key.
#[derive(Debug, Clone)]
pub struct WatchedKey {
    /// Its database.
    pub db: u32,
    /// The key.
    pub key: Vec<u8>,
    /// It existed when WATCH looked at it: only then is its expiry a change.
    pub lived: bool,
}

/// The letter of CLIENT CAPA REDIRECT in [`Session::capabilities`].
pub const CAPA_REDIRECT: u8 = b'r';

/// The state of a client that its commands read and change.
pub struct Session {
    /// The public side.
    pub shared: Arc<ClientShared>,
    /// Where its commands come from.
    pub origin: Origin,
    /// Selected database.
    pub db: u32,
    /// Version of the protocol.
    pub protocol: Protocol,
    /// The user of its commands; `None` until AUTH succeeded, where that is needed.
    pub user: Option<Arc<User>>,
    /// CLIENT REPLY.
    pub reply_mode: ReplyMode,
    /// The reply of the present command consists of pushes, which CLIENT REPLY does not silence.
    pub reply_is_push: bool,
    /// Channels and patterns; `None` without any.
    pub subscriptions: Option<Box<Subscriptions>>,
    /// CLIENT TRACKING; `None` when it is off.
    pub tracking: Option<Box<Tracking>>,
    /// In a MULTI block.
    pub multi: Option<Box<Multi>>,
    /// Watched keys.
    pub watched: Vec<WatchedKey>,
    /// Shared with the watch tables.
    pub watch_flag: Arc<WatchFlag>,
    /// CLIENT NO-EVICT.
    pub no_evict: bool,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// In MONITOR mode.
    pub monitor: bool,
    /// The connection closes once the reply is sent.
    pub close_after_reply: bool,
    /// Log offset after the last write of this client, for WAIT and WAITAOF.
    pub last_write_offset: u64,
    /// What the client waits for, while it is blocked.
    pub blocked: Option<Block>,
    /// The command that waits was sent under CLIENT REPLY OFF or SKIP: its reply is dropped.
    pub silent_wait: bool,
    /// The wait that the last command began, for the connection to keep.
    pub new_waiter: Option<Arc<Waiter>>,
    /// The arguments with which a blocked command is run again, where they differ from those that
    /// were sent.
    pub run_again: Option<OwnedArgs>,
    /// When a command that waits is to be run again without being woken, in milliseconds of the
    /// steady clock.
    pub look_again_ms: Option<u64>,
    /// Import mode source (CLIENT IMPORT-SOURCE).
    pub import_source: bool,
    /// The buffer that the present request lies in, when it is a long one: a value may stay there.
    pub received: Option<Arc<Vec<u8>>>,
    /// What a replica has said of itself (REPLCONF); `None` for other clients.
    pub replica: Option<Box<ReplicaSetup>>,
    /// What a replica has asked for (PSYNC).
    pub sync: Option<Box<SyncRequest>>,
    /// CLIENT CAPA, as letters.
    pub capabilities: SmallVec<[u8; 4]>,
    /// READONLY: reads of a replica are not redirected to its primary.
    pub reads_replicas: bool,
    /// Nothing reaches the client but replies, and those at once: it cannot wait in a command, and
    /// it cannot ask for messages.
    pub denies_blocking: bool,
}

impl Session {
    /// The session of a new client.
    pub fn new(shared: Arc<ClientShared>, origin: Origin, user: Option<Arc<User>>) -> Self {
        Self {
            shared,
            origin,
            db: 0,
            protocol: Protocol::Resp2,
            user,
            reply_mode: ReplyMode::On,
            reply_is_push: false,
            subscriptions: None,
            tracking: None,
            multi: None,
            watched: Vec::new(),
            watch_flag: Arc::default(),
            no_evict: false,
            no_touch: false,
            monitor: false,
            close_after_reply: false,
            last_write_offset: 0,
            blocked: None,
            silent_wait: false,
            new_waiter: None,
            run_again: None,
            look_again_ms: None,
            import_source: false,
            received: None,
            replica: None,
            sync: None,
            capabilities: SmallVec::new(),
            reads_replicas: false,
            denies_blocking: false,
        }
    }

    /// Replies are not sent: CLIENT REPLY OFF or SKIP.
    pub fn is_silent(&self) -> bool {
        matches!(self.reply_mode, ReplyMode::Off | ReplyMode::Skip)
    }

    /// True when its commands come from a connection, not from a file.
    #[inline]
    pub fn is_client(&self) -> bool {
        self.origin == Origin::Client
    }

    /// The subscriptions of one kind that the client has.
    pub fn subscribed(&self, kind: Kind) -> Vec<Arc<[u8]>> {
        let own = self.subscriptions.as_ref();
        own.map_or_else(Vec::new, |own| own.names(kind))
    }

    /// Subscribed in RESP2, where messages and replies cannot be told apart: few commands are
    /// allowed.
    #[inline]
    pub fn is_subscriber_only(&self) -> bool {
        self.subscriptions.is_some() && self.protocol == Protocol::Resp2
    }

    /// The database that the next command works on: in a transaction that of the last SELECT.
    pub fn transaction_db(&self) -> u32 {
        self.multi.as_ref().map_or(self.db, |multi| multi.db)
    }

    /// Makes this user that of the session, or none.
    pub fn set_user(&mut self, user: Option<Arc<User>>) {
        let name = user.as_ref().map(|user| user.name().to_vec());
        self.shared.lock_details().user = name.unwrap_or_else(|| DEFAULT_USER.into());
        self.user = user;
    }

    /// Commands may be executed without AUTH, or it happened.
    #[inline]
    pub fn is_authenticated(&self) -> bool {
        self.user.is_some()
    }

    /// Published form of the state that other threads may ask for.
    pub fn flag_bits(&self) -> u32 {
        let mut bits = 0;
        let mut set = |on: bool, bit: u32| bits |= if on { bit } else { 0 };
        set(self.monitor, flag::MONITOR);
        set(self.subscriptions.is_some(), flag::PUBSUB);
        set(self.multi.is_some(), flag::MULTI);
        set(self.blocked.is_some(), flag::BLOCKED);
        set(self.close_after_reply, flag::CLOSE_AFTER_REPLY);
        set(self.no_evict, flag::NO_EVICT);
        set(self.no_touch, flag::NO_TOUCH);
        set(self.watch_flag.is_dirty(), flag::DIRTY_CAS);
        set(self.import_source, flag::IMPORT_SOURCE);
        if let Some(tracking) = &self.tracking {
            set(true, flag::TRACKING);
            set(tracking.tracker.is_broken(), flag::BROKEN_REDIRECT);
            set(tracking.mode() == Mode::Broadcast, flag::BROADCAST);
        }
        set(
            self.capabilities.contains(&CAPA_REDIRECT),
            flag::CAPA_REDIRECT,
        );
        set(self.reads_replicas, flag::READONLY);
        bits
    }
}
