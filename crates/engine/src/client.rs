//! Clients: what the whole server may know of one, and what only its worker knows.
//!
//! [`ClientShared`] is what CLIENT LIST, CLIENT KILL, MONITOR and blocked operations of other
//! workers see: identity, published figures, and an outbox. [`Session`] is the state that commands
//! of the client itself read and change; it lives in the connection and needs no lock.

use std::collections::BTreeMap;
use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use std::sync::{Arc, Mutex, PoisonError};

use resp::{Mark, Output, OwnedArgs, Protocol};
use smallvec::SmallVec;

use crate::pubsub::Subscriptions;
use crate::table::Command;
use crate::tracking::{Mode, Tracking};
use crate::watch::WatchFlag;

/// Strings of a client that change rarely.
#[derive(Debug, Clone, Default)]
pub struct Details {
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO LIB-NAME.
    pub lib_name: Vec<u8>,
    /// CLIENT SETINFO LIB-VER.
    pub lib_ver: Vec<u8>,
    /// ACL user.
    pub user: String,
}

/// Published flags of a client, as bits of [`ClientShared::flags`].
pub mod flag {
    /// In MONITOR mode.
    pub const MONITOR: u32 = 1 << 0;
    /// In a MULTI block.
    pub const MULTI: u32 = 1 << 1;
    /// Waiting in a blocking operation.
    pub const BLOCKED: u32 = 1 << 2;
    /// Closes after its reply was sent.
    pub const CLOSE_AFTER_REPLY: u32 = 1 << 3;
    /// Closes as soon as possible.
    pub const CLOSE_ASAP: u32 = 1 << 4;
    /// Never evicted because of client memory.
    pub const NO_EVICT: u32 = 1 << 6;
    /// Does not touch LRU/LFU.
    pub const NO_TOUCH: u32 = 1 << 7;
    /// A watched key was changed.
    pub const DIRTY_CAS: u32 = 1 << 8;
    /// Subscribed to channels.
    pub const PUBSUB: u32 = 1 << 9;
    /// A source of imported data.
    pub const IMPORT_SOURCE: u32 = 1 << 10;
    /// Announced that it understands redirections.
    pub const CAPA_REDIRECT: u32 = 1 << 11;
    /// CLIENT TRACKING
    pub const TRACKING: u32 = 1 << 12;
    /// The client that its invalidations were redirected to has gone.
    pub const BROKEN_REDIRECT: u32 = 1 << 13;
    /// Tracks prefixes.
    pub const BROADCAST: u32 = 1 << 14;
}

/// What other threads have sent to a client and its worker has not collected yet.
#[derive(Debug, Default)]
struct Outbox {
    output: Output,
    /// Log offset that must be flushed (and synced, when the policy says so) before it leaves.
    after: u64,
    /// Protocol version of what is put in.
    protocol: Protocol,
    /// What stands behind it is held back for a reply that has to come before it.
    held: Option<Mark>,
}

/// What came of posting into an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posted {
    /// The worker of the client has to be told.
    First,
    /// It has been told already.
    Announced,
    /// There is more than the client may leave unread: it has to be disconnected.
    Overflow,
}

/// Classes of clients, as `client-output-buffer-limit` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ClientClass {
    /// `normal`
    Normal = 0,
    /// `pubsub`: subscribed to a channel or a pattern.
    PubSub = 1,
    /// `replica`
    Replica = 2,
}

impl ClientClass {
    /// Every class.
    pub const ALL: [Self; 3] = [Self::Normal, Self::PubSub, Self::Replica];
}

/// Figures that a worker publishes about its client once per loop turn.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "the names are the fields of CLIENT LIST")]
pub struct Figures {
    pub last_active_ms: AtomicU64,
    pub db: AtomicU32,
    pub protocol: AtomicU32,
    pub flags: AtomicU32,
    /// Id of the last command's entry + 1; 0: none yet.
    pub last_command: AtomicUsize,
    pub qbuf: AtomicUsize,
    pub qbuf_free: AtomicUsize,
    /// Commands queued by MULTI; -1 outside.
    pub multi: AtomicI64,
    pub multi_mem: AtomicUsize,
    pub watch: AtomicUsize,
    pub sub: AtomicUsize,
    pub psub: AtomicUsize,
    pub ssub: AtomicUsize,
    pub redirect: AtomicI64,
    pub argv_mem: AtomicUsize,
    pub output_bytes: AtomicUsize,
    pub output_pieces: AtomicUsize,
    pub output_mem: AtomicUsize,
    pub output_capacity: AtomicUsize,
    /// All memory of the connection; changed by [`ClientRegistry::set_memory`] alone.
    pub memory: AtomicUsize,
    pub net_in: AtomicU64,
    pub net_out: AtomicU64,
    pub commands: AtomicU64,
}

/// What every thread may know of a client.
#[derive(Debug)]
pub struct ClientShared {
    /// Unique, growing.
    pub id: u64,
    /// `ip:port`, or the socket path with `:0`.
    pub addr: String,
    /// Local address.
    pub laddr: String,
    /// File descriptor, for CLIENT LIST only.
    pub fd: i32,
    /// When it connected, Unix milliseconds.
    pub created_ms: u64,
    /// The worker that owns the connection now.
    pub worker: AtomicUsize,
    /// Published by the worker.
    pub figures: Figures,
    /// Names.
    pub details: Mutex<Details>,
    /// What others send to this client: replies to its waits, pushes, MONITOR lines.
    outbox: Mutex<Outbox>,
    /// True while the outbox has been announced to the worker and not yet collected.
    outbox_announced: AtomicBool,
    /// Which output limit holds for it.
    class: AtomicU8,
    /// The connection is to be closed, or is closed already.
    pub kill: AtomicBool,
    /// Whether it waits in a blocking command.
    pub wait: crate::wait::Wait,
}

impl ClientShared {
    /// A client that has just connected (or an internal one with `fd` -1).
    pub fn new(id: u64, addr: String, laddr: String, fd: i32, now_ms: u64, worker: usize) -> Self {
        let figures = Figures::default();
        figures.last_active_ms.store(now_ms, Ordering::Relaxed);
        figures.multi.store(-1, Ordering::Relaxed);
        figures.redirect.store(-1, Ordering::Relaxed);
        figures.protocol.store(2, Ordering::Relaxed);
        Self {
            id,
            addr,
            laddr,
            fd,
            created_ms: now_ms,
            worker: AtomicUsize::new(worker),
            figures,
            details: Mutex::new(Details {
                user: "default".to_owned(),
                ..Details::default()
            }),
            outbox: Mutex::default(),
            outbox_announced: AtomicBool::new(false),
            class: AtomicU8::new(ClientClass::Normal as u8),
            kill: AtomicBool::new(false),
            wait: crate::wait::Wait::default(),
        }
    }

    /// Puts something into the outbox, in one piece and in the protocol version of the client; it
    /// may leave when the log is flushed up to `after`. With more than `limit` bytes waiting (0:
    /// any number) the outbox is emptied instead.
    pub fn post(
        &self,
        after: u64,
        limit: u64,
        write: impl FnOnce(&mut Output, Protocol),
    ) -> Posted {
        self.put(&mut self.lock_outbox(), after, limit, write)
    }

    fn put(
        &self,
        outbox: &mut Outbox,
        after: u64,
        limit: u64,
        write: impl FnOnce(&mut Output, Protocol),
    ) -> Posted {
        let protocol = outbox.protocol;
        write(&mut outbox.output, protocol);
        outbox.after = outbox.after.max(after);
        if limit > 0 && outbox.output.len() as u64 > limit {
            outbox.output = Output::new();
            return Posted::Overflow;
        }
        match self.outbox_announced.swap(true, Ordering::AcqRel) {
            true => Posted::Announced,
            false => Posted::First,
        }
    }

    /// What is put into the outbox from now on stays there, until [`ClientShared::post_before`] or
    /// [`ClientShared::release_outbox`].
    pub fn hold_outbox(&self) {
        let mut outbox = self.lock_outbox();
        outbox.held = Some(outbox.output.mark());
    }

    /// Ends [`ClientShared::hold_outbox`]. True when something was put in that has to be announced.
    pub fn release_outbox(&self) -> bool {
        let mut outbox = self.lock_outbox();
        outbox.held = None;
        !outbox.output.is_empty()
    }

    /// As [`ClientShared::post`], in front of what is held back, which is held no more.
    pub fn post_before(&self, after: u64, limit: u64, write: impl FnOnce(&mut Output)) -> Posted {
        let mut outbox = self.lock_outbox();
        let held = outbox.held.take();
        self.put(&mut outbox, after, limit, |out, _| {
            let mut behind = held.map(|mark| out.split_off(mark)).unwrap_or_default();
            write(out);
            out.append(&mut behind);
        })
    }

    /// True when the outbox holds something.
    #[inline]
    pub fn has_mail(&self) -> bool {
        self.outbox_announced.load(Ordering::Acquire)
    }

    /// Moves the outbox behind `output`. Returns the log offset that it depends on.
    pub fn take_outbox(&self, output: &mut Output) -> u64 {
        if !self.has_mail() {
            return 0;
        }
        self.empty_outbox(&mut self.lock_outbox(), output)
    }

    /// From here on the outbox gets messages of another protocol version. Those that are in it are
    /// moved behind `output`, if there is one. Returns the log offset that they depend on.
    pub fn set_protocol(&self, protocol: Protocol, output: Option<&mut Output>) -> u64 {
        let mut outbox = self.lock_outbox();
        outbox.protocol = protocol;
        output.map_or(0, |output| self.empty_outbox(&mut outbox, output))
    }

    fn empty_outbox(&self, outbox: &mut Outbox, output: &mut Output) -> u64 {
        self.outbox_announced.store(false, Ordering::Release);
        let Some(mark) = outbox.held else {
            output.append(&mut outbox.output);
            return std::mem::take(&mut outbox.after);
        };
        let behind = outbox.output.split_off(mark);
        output.append(&mut outbox.output);
        outbox.held = Some(Output::new().mark());
        outbox.output = behind;
        outbox.after
    }

    fn lock_outbox(&self) -> std::sync::MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which output limit holds for the client.
    pub fn class(&self) -> ClientClass {
        match self.class.load(Ordering::Relaxed) {
            1 => ClientClass::PubSub,
            2 => ClientClass::Replica,
            _ => ClientClass::Normal,
        }
    }

    /// Another output limit holds from now on.
    pub fn set_class(&self, class: ClientClass) {
        self.class.store(class as u8, Ordering::Relaxed);
    }

    /// A copy of the names.
    pub fn details(&self) -> Details {
        self.lock_details().clone()
    }

    /// The names, for a change.
    pub fn lock_details(&self) -> std::sync::MutexGuard<'_, Details> {
        self.details.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Published flags.
    pub fn flags(&self) -> u32 {
        self.figures.flags.load(Ordering::Relaxed)
    }

    /// Memory of the connection and its buffers as last published, in bytes.
    pub fn memory(&self) -> usize {
        size_of::<Self>()
            + self.addr.capacity()
            + self.laddr.capacity()
            + self.figures.memory.load(Ordering::Relaxed)
    }

    /// Connected through a Unix socket: only their addresses have port 0.
    pub fn is_unix_socket(&self) -> bool {
        self.addr.ends_with(":0")
    }

    /// Connected from this machine.
    pub fn is_local(&self) -> bool {
        self.is_unix_socket() || self.addr.starts_with("127.") || self.addr.starts_with("[::1]:")
    }
}

/// All connected clients by id (ids grow, so iteration is in order of arrival).
#[derive(Default)]
pub struct ClientRegistry {
    clients: Mutex<BTreeMap<u64, Arc<ClientShared>>>,
    next_id: AtomicU64,
    count: AtomicUsize,
    /// Sum of the published memory of all clients.
    memory: AtomicUsize,
}

impl ClientRegistry {
    /// The id of the next client; ids begin at 1.
    pub fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Adds a client.
    pub fn add(&self, client: Arc<ClientShared>) {
        self.lock().insert(client.id, client);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Removes a client.
    pub fn remove(&self, id: u64) {
        if let Some(client) = self.lock().remove(&id) {
            self.count.fetch_sub(1, Ordering::Relaxed);
            self.set_memory(&client, 0);
        }
    }

    /// Publishes the memory of one client.
    pub fn set_memory(&self, client: &ClientShared, bytes: usize) {
        // Whoever swaps accounts for exactly what it replaced, so the sum is right at rest. It
        // wraps in between when a removal is counted before the growth it takes back.
        let before = client.figures.memory.swap(bytes, Ordering::Relaxed);
        self.memory
            .fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
    }

    /// Sum of the published memory of all clients, in bytes.
    pub fn memory(&self) -> usize {
        let sum = self.memory.load(Ordering::Relaxed);
        if sum > isize::MAX as usize { 0 } else { sum }
    }

    /// Number of connected clients.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// One client.
    pub fn get(&self, id: u64) -> Option<Arc<ClientShared>> {
        self.lock().get(&id).cloned()
    }

    /// All clients in order of arrival.
    pub fn all(&self) -> Vec<Arc<ClientShared>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Arc<ClientShared>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who is behind a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A connection.
    Client,
    /// The append-only file at start: no checks, no propagation, keys do not expire.
    Replay,
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
#[derive(Debug, Default)]
pub struct Multi {
    /// Commands so far.
    pub queue: Vec<Queued>,
    /// A queued command was refused: EXEC answers EXECABORT.
    pub aborted: bool,
    /// Bytes held by the queue.
    pub bytes: usize,
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

/// What commands of a client read and change.
pub struct Session {
    /// The public side.
    pub shared: Arc<ClientShared>,
    /// Who is behind it.
    pub origin: Origin,
    /// Selected database.
    pub db: u32,
    /// Version of the protocol.
    pub protocol: Protocol,
    /// AUTH succeeded, or none is needed.
    pub authenticated: bool,
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
    pub blocked: Option<crate::wait::Block>,
    /// The command that waits was sent under CLIENT REPLY OFF or SKIP: its reply is dropped.
    pub silent_wait: bool,
    /// The wait that the last command began, for the connection to keep.
    pub new_waiter: Option<Arc<crate::waiters::Waiter>>,
    /// What a command that begins to wait is run again with, where that differs from what was sent.
    pub run_again: Option<resp::OwnedArgs>,
    /// When a command that waits is to be run again without being woken, in Unix milliseconds.
    pub look_again_ms: Option<u64>,
    /// Import mode source (CLIENT IMPORT-SOURCE).
    pub import_source: bool,
    /// CLIENT CAPA, as letters.
    pub capabilities: SmallVec<[u8; 4]>,
}

impl Session {
    /// The session of a new client.
    pub fn new(shared: Arc<ClientShared>, origin: Origin, authenticated: bool) -> Self {
        Self {
            shared,
            origin,
            db: 0,
            protocol: Protocol::Resp2,
            authenticated,
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
            capabilities: SmallVec::new(),
        }
    }

    /// Replies are not sent: CLIENT REPLY OFF or SKIP.
    pub fn is_silent(&self) -> bool {
        matches!(self.reply_mode, ReplyMode::Off | ReplyMode::Skip)
    }

    /// A connection is behind it, not a file.
    #[inline]
    pub fn is_client(&self) -> bool {
        self.origin == Origin::Client
    }

    /// Subscribed in RESP2, where messages and replies cannot be told apart: few commands are
    /// allowed.
    #[inline]
    pub fn is_subscriber_only(&self) -> bool {
        self.subscriptions.is_some() && self.protocol == Protocol::Resp2
    }

    /// Commands may be executed without AUTH, or it happened.
    #[inline]
    pub fn is_authenticated(&self) -> bool {
        self.authenticated
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
        bits
    }
}
