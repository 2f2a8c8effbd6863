//! Clients as all threads see them.
//!
//! [`ClientShared`] is what CLIENT LIST, CLIENT KILL, MONITOR and blocked operations of other
//! workers see: identity, published figures, and an outbox.

mod strangers;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use resp::{Mark, Output, Protocol};

use crate::config::ClientClass;
use crate::wait::Wait;

use strangers::Strangers;

/// The other end of a connection. Shown as Redis does: `ip:port`, `[ip]:port` for IPv6, and the
/// path of a Unix socket with port 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of the Unix socket that it is connected to.
    Unix(PathBuf),
    /// None: the client stands for a file.
    None,
}

impl Peer {
    /// It is on this machine.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(addr) => addr.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
            Self::None => false,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => match addr.ip().to_canonical() {
                IpAddr::V4(ip) => write!(f, "{ip}:{}", addr.port()),
                IpAddr::V6(ip) => write!(f, "[{ip}]:{}", addr.port()),
            },
            Self::Unix(path) => write!(f, "{}:0", path.display()),
            Self::None => f.write_str("?:0"),
        }
    }
}

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
    pub user: Vec<u8>,
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
    /// A replica that follows this server.
    pub const REPLICA: u32 = 1 << 15;
    /// The primary that this server follows.
    pub const PRIMARY: u32 = 1 << 17;
    /// READONLY.
    pub const READONLY: u32 = 1 << 16;
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
    /// Of `memory`, what CLIENT LIST leaves out.
    pub unlisted: AtomicUsize,
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
    /// The other end.
    pub peer: Peer,
    /// Its address, as text.
    pub addr: String,
    /// The address of this end, as text.
    pub laddr: String,
    /// File descriptor, for CLIENT LIST only.
    pub fd: i32,
    /// When it connected, in milliseconds of the steady clock.
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
    /// It has not authenticated yet, and stands among the strangers of the registry.
    is_stranger: AtomicBool,
    /// Its part of [`ClientRegistry::leaving`].
    leaving: AtomicUsize,
    /// Whether it waits in a blocking command.
    pub wait: Wait,
}

impl ClientShared {
    /// A client that has just connected (or an internal one with `fd` -1).
    pub fn new(id: u64, peer: Peer, laddr: &Peer, fd: i32, steady_ms: u64, worker: usize) -> Self {
        let figures = Figures::default();
        figures.last_active_ms.store(steady_ms, Ordering::Relaxed);
        figures.multi.store(-1, Ordering::Relaxed);
        figures.redirect.store(-1, Ordering::Relaxed);
        figures.protocol.store(2, Ordering::Relaxed);
        Self {
            id,
            addr: peer.to_string(),
            laddr: laddr.to_string(),
            peer,
            fd,
            created_ms: steady_ms,
            worker: AtomicUsize::new(worker),
            figures,
            details: Mutex::new(Details {
                user: crate::users::DEFAULT_USER.into(),
                ..Details::default()
            }),
            outbox: Mutex::default(),
            outbox_announced: AtomicBool::new(false),
            class: AtomicU8::new(ClientClass::Normal as u8),
            kill: AtomicBool::new(false),
            is_stranger: AtomicBool::new(false),
            leaving: AtomicUsize::new(0),
            wait: Wait::default(),
        }
    }

    /// The client in a line of the log; `hides`: without what users have chosen.
    pub fn describe(&self, hides: bool) -> String {
        const HIDDEN: &[u8] = b"*redacted*";
        let details = self.details();
        let (name, user) = match hides {
            true => (HIDDEN, HIDDEN),
            false => (&*details.name, &*details.user),
        };
        format!(
            "id={} addr={} laddr={} fd={} name={} user={} lib-name={} lib-ver={}",
            self.id,
            self.addr,
            self.laddr,
            self.fd,
            String::from_utf8_lossy(name),
            String::from_utf8_lossy(user),
            String::from_utf8_lossy(&details.lib_name),
            String::from_utf8_lossy(&details.lib_ver),
        )
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

    /// Bytes that the client holds after it was evicted, until its worker has closed it.
    pub fn leaving_bytes(&self) -> usize {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Connected through a Unix socket.
    pub fn is_unix_socket(&self) -> bool {
        matches!(self.peer, Peer::Unix(_))
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
    /// Memory of clients that were evicted and whose workers have not closed them yet.
    leaving: AtomicUsize,
    /// Held by the worker that evicts clients: each sees what those before it have evicted.
    evicting: Mutex<()>,
    /// Clients that have not authenticated yet.
    strangers: Mutex<Strangers>,
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
            self.admit(&client);
        }
    }

    /// Adds a client that has yet to authenticate. Returns another one of its address that has to
    /// be closed for it: an address may have 1,024 such clients.
    pub fn add_stranger(&self, client: &Arc<ClientShared>) -> Option<Arc<ClientShared>> {
        client.is_stranger.store(true, Ordering::Release);
        let mut strangers = self.lock_strangers();
        strangers.insert(Arc::clone(client));
        let oldest = strangers.one_too_many(&client.peer)?;
        self.expel(strangers, oldest)
    }

    /// The client has authenticated, or it is gone.
    pub fn admit(&self, client: &ClientShared) {
        if client.is_stranger.swap(false, Ordering::AcqRel) {
            self.lock_strangers().remove(client.id);
        }
    }

    /// Removes the client that has been there longest without authenticating, so that another one
    /// finds room. Its worker has to close it.
    pub fn remove_oldest_stranger(&self) -> Option<Arc<ClientShared>> {
        let strangers = self.lock_strangers();
        let oldest = strangers.oldest()?.id;
        self.expel(strangers, oldest)
    }

    /// Removes the clients that have connected before `steady_ms` and have not authenticated. Their
    /// workers have to close them.
    pub fn remove_strangers_before(&self, steady_ms: u64) -> Vec<Arc<ClientShared>> {
        let mut removed = Vec::new();
        loop {
            let strangers = self.lock_strangers();
            // Ids grow with time.
            let Some(oldest) = strangers.oldest() else {
                return removed;
            };
            if oldest.created_ms >= steady_ms {
                return removed;
            }
            let oldest = oldest.id;
            removed.extend(self.expel(strangers, oldest));
        }
    }

    /// Takes a client out of the strangers and out of the registry.
    fn expel(
        &self,
        mut strangers: MutexGuard<'_, Strangers>,
        id: u64,
    ) -> Option<Arc<ClientShared>> {
        let client = strangers.remove(id)?;
        drop(strangers);
        client.is_stranger.store(false, Ordering::Release);
        client.kill.store(true, Ordering::Release);
        self.remove(client.id);
        Some(client)
    }

    fn lock_strangers(&self) -> MutexGuard<'_, Strangers> {
        self.strangers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a client because of its memory, which counts as [`ClientRegistry::leaving`] until
    /// its worker has closed it. False when it is about to be closed already.
    fn evict(&self, client: &ClientShared) -> bool {
        if client.kill.swap(true, Ordering::AcqRel) {
            return false;
        }
        let memory = client.figures.memory.load(Ordering::Relaxed);
        client.leaving.store(memory, Ordering::Relaxed);
        self.leaving.fetch_add(memory, Ordering::Relaxed);
        self.remove(client.id);
        true
    }

    /// A client is closed, and its memory is free.
    pub fn closed(&self, client: &ClientShared) {
        let memory = client.leaving.swap(0, Ordering::Relaxed);
        self.leaving.fetch_sub(memory, Ordering::Relaxed);
        // CLIENT KILL may have removed it long before, and it went on publishing until now.
        self.set_memory(client, 0);
    }

    /// Memory of evicted clients that is not free yet, in bytes.
    pub fn leaving(&self) -> usize {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Removes the largest clients until the rest is within `limit` bytes. Their workers have to
    /// close them.
    pub(crate) fn evict_largest(&self, limit: usize) -> Vec<Arc<ClientShared>> {
        if self.memory() <= limit {
            return Vec::new();
        }
        let _evicting = self.evicting.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = |client: &ClientShared| client.figures.memory.load(Ordering::Relaxed);
        let mut clients = self.all();
        clients.retain(|client| client.flags() & flag::NO_EVICT == 0);
        // Keys are read once: the figures move while this sorts.
        clients.sort_by_cached_key(|client| std::cmp::Reverse(memory(client)));
        clients.retain(|client| self.memory() > limit && self.evict(client));
        clients
    }

    /// Publishes the memory of one client.
    pub fn set_memory(&self, client: &ClientShared, bytes: usize) {
        // Each swap accounts for exactly the value it replaced, so the sum is right at rest. It
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

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(registry: &ClientRegistry, address: &str) -> Arc<ClientShared> {
        let peer = Peer::Tcp(address.parse().expect("an address"));
        let id = registry.next_id();
        let client = Arc::new(ClientShared::new(id, peer, &Peer::None, -1, 0, 0));
        registry.add(Arc::clone(&client));
        client
    }

    #[test]
    fn workers_that_evict_at_once_evict_no_more_than_one_would() {
        const WORKERS: usize = 4;
        for _ in 0..200 {
            let registry = ClientRegistry::default();
            let small = connect(&registry, "192.0.2.1:1");
            registry.set_memory(&small, 10);
            for _ in 0..20 {
                registry.set_memory(&connect(&registry, "192.0.2.1:2"), 1_000);
            }
            let start = std::sync::Barrier::new(WORKERS);
            let evicted = std::thread::scope(|scope| {
                let workers = [(); WORKERS].map(|()| {
                    scope.spawn(|| {
                        start.wait();
                        registry.evict_largest(4_500).len()
                    })
                });
                workers.map(|worker| worker.join().expect("no panic"))
            });
            assert_eq!(evicted.iter().sum::<usize>(), 16, "{evicted:?}");
            assert_eq!(registry.memory(), 4_010);
            assert!(registry.get(small.id).is_some());
        }
    }

    #[test]
    fn a_stranger_too_many_closes_the_oldest_of_its_address() {
        let registry = ClientRegistry::default();
        let connect = |address: &str| connect(&registry, address);
        let neighbour = connect("192.0.2.1:1");
        assert!(registry.add_stranger(&neighbour).is_none());
        let clients: Vec<_> = (0..=strangers::STRANGERS_PER_ADDRESS)
            .map(|_| connect("192.0.2.2:1"))
            .collect();
        // The first one authenticates, so the second one is the oldest.
        for client in &clients {
            assert!(registry.add_stranger(client).is_none(), "{}", client.id);
            registry.admit(&clients[0]);
        }
        let one_more = connect("192.0.2.2:2");
        let closed = registry.add_stranger(&one_more).expect("one too many");
        assert_eq!(closed.id, clients[1].id);
        assert!(closed.kill.load(Ordering::Acquire));
        assert!(registry.get(closed.id).is_none());
        assert_eq!(registry.count(), clients.len() + 1);
    }
}
