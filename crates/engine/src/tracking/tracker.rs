//! One client that tracks keys.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use resp::{Output, Protocol, Reply};

use crate::client::{ClientShared, Posted};
use crate::config::ClientClass;
use crate::outboxes::Outboxes;

/// Which reads are registered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// All.
    #[default]
    Default,
    /// Those behind CLIENT CACHING YES.
    OptIn,
    /// All but those behind CLIENT CACHING NO.
    OptOut,
    /// None: the client names prefixes.
    Broadcast,
}

/// The options of CLIENT TRACKING ON.
#[derive(Default)]
pub struct Options {
    /// Which reads are registered.
    pub mode: Mode,
    /// NOLOOP
    pub noloop: bool,
    /// The client that gets the messages instead, with its id.
    pub redirect: Option<Arc<ClientShared>>,
    /// New prefixes of broadcast mode.
    pub prefixes: Vec<Vec<u8>>,
}

/// Numbers of trackers, which grow.
static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// A client that tracks keys, as the tables hold it: small, because it stays there after the client
/// has gone.
#[derive(Debug)]
pub struct Tracker {
    /// Order among the clients of a key.
    pub(super) number: u64,
    /// Id of the client.
    pub id: u64,
    noloop: AtomicBool,
    is_broken: AtomicBool,
    target: Mutex<Target>,
}

/// Where the messages go; `client` is none when tracking has ended.
#[derive(Debug, Default)]
struct Target {
    client: Option<Arc<ClientShared>>,
    redirect: Option<Arc<ClientShared>>,
}

/// Keys that are invalid.
pub enum Keys<'a> {
    /// One key.
    One(&'a [u8]),
    /// Several, in order.
    Some(&'a BTreeSet<&'a [u8]>),
    /// Every key.
    All,
}

impl Keys<'_> {
    fn write(&self, reply: &mut Reply<'_>) {
        match self {
            Keys::One(key) => {
                reply.array(1);
                reply.bulk(key);
            }
            Keys::Some(keys) => {
                reply.array(keys.len());
                keys.iter().for_each(|key| reply.bulk(key));
            }
            Keys::All => reply.null(),
        }
    }
}

/// The channel of invalidations for RESP2.
const CHANNEL: &[u8] = b"__redis__:invalidate";

impl Tracker {
    /// NOLOOP: changes by the client itself are not sent to it.
    pub(crate) fn is_spared(&self, actor: Option<u64>) -> bool {
        actor == Some(self.id) && self.noloop.load(Ordering::Relaxed)
    }

    /// The client that messages were redirected to has gone.
    pub fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }

    /// The client tracks no more.
    pub(crate) fn has_left(&self) -> bool {
        self.lock().client.is_none()
    }

    pub(crate) fn leave(&self) {
        *self.lock() = Target::default();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Target> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the message that keys are invalid. It leaves when the log is flushed up to `after`.
    pub(crate) fn invalidate(&self, outboxes: &Outboxes, keys: &Keys<'_>, after: u64) {
        // Held while the message is put into the outbox: nothing comes behind the end of tracking.
        let target = self.lock();
        let Some(client) = &target.client else { return };
        let Some(redirect) = &target.redirect else {
            return post(outboxes, client, after, |out, protocol| {
                // RESP2 has no messages besides replies.
                if protocol == Protocol::Resp3 {
                    write_push(out, keys);
                }
            });
        };
        if redirect.kill.load(Ordering::Acquire) {
            self.is_broken.store(true, Ordering::Relaxed);
            return post(outboxes, client, after, |out, protocol| {
                if protocol == Protocol::Resp3 {
                    let mut reply = Reply::new(out, protocol);
                    reply.push(2);
                    reply.bulk(b"tracking-redir-broken");
                    reply.integer(redirect.id as i64);
                }
            });
        }
        post(outboxes, redirect, after, |out, protocol| match protocol {
            Protocol::Resp3 => write_push(out, keys),
            Protocol::Resp2 if redirect.class() == ClientClass::PubSub => {
                let mut reply = Reply::new(out, protocol);
                reply.array(3);
                reply.bulk(b"message");
                reply.bulk(CHANNEL);
                keys.write(&mut reply);
            }
            Protocol::Resp2 => {}
        });
    }
}

fn write_push(out: &mut Output, keys: &Keys<'_>) {
    let mut reply = Reply::new(out, Protocol::Resp3);
    reply.push(2);
    reply.bulk(b"invalidate");
    keys.write(&mut reply);
}

fn post(
    outboxes: &Outboxes,
    client: &ClientShared,
    after: u64,
    write: impl FnOnce(&mut Output, Protocol),
) {
    if outboxes.post(client, after, write) == Posted::First {
        outboxes.port.get().deliver(&[client]);
    }
}

/// Tracking as the client's own session has it.
pub struct Tracking {
    /// What tables hold of it.
    pub tracker: Arc<Tracker>,
    mode: Mode,
    /// CLIENT CACHING holds for the next command.
    pub caching: bool,
    /// Prefixes of broadcast mode, in order.
    pub prefixes: BTreeSet<Vec<u8>>,
    /// Memory of the prefixes.
    pub(super) prefix_bytes: usize,
    /// Given and not yet in the table.
    pub(super) new_prefixes: Vec<Vec<u8>>,
}

impl Tracking {
    pub(crate) fn new(client: &Arc<ClientShared>, options: Options) -> Self {
        let tracker = Tracker {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            id: client.id,
            noloop: AtomicBool::new(false),
            is_broken: AtomicBool::new(false),
            target: Mutex::new(Target {
                client: Some(Arc::clone(client)),
                redirect: None,
            }),
        };
        let mut tracking = Self {
            mode: options.mode,
            ..Self::of_wait(&Arc::new(tracker))
        };
        tracking.change(options);
        tracking
    }

    /// As a command sees it that is run again for a client that was blocked in it: it registers
    /// what it reads.
    pub(crate) fn of_wait(tracker: &Arc<Tracker>) -> Self {
        Self {
            tracker: Arc::clone(tracker),
            mode: Mode::Default,
            caching: false,
            prefixes: BTreeSet::new(),
            prefix_bytes: 0,
            new_prefixes: Vec::new(),
        }
    }

    /// Other options hold from now on.
    pub(crate) fn change(&mut self, options: Options) {
        self.mode = options.mode;
        self.new_prefixes = options.prefixes;
        if self.new_prefixes.is_empty() && self.mode == Mode::Broadcast {
            self.new_prefixes.push(Vec::new());
        }
        let tracker = &self.tracker;
        tracker.noloop.store(options.noloop, Ordering::Relaxed);
        tracker.is_broken.store(false, Ordering::Relaxed);
        tracker.lock().redirect = options.redirect;
    }

    /// Which reads are registered.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// NOLOOP
    pub fn noloop(&self) -> bool {
        self.tracker.noloop.load(Ordering::Relaxed)
    }

    /// Heap memory on behalf of the client, in bytes.
    pub fn memory_usage(&self) -> usize {
        size_of::<Self>() + size_of::<Tracker>() + self.prefix_bytes
    }

    /// Bytes of `memory_usage` that CLIENT LIST leaves out: of a prefix it counts what holds it and
    /// not its text, as that of Valkey does.
    pub fn unlisted_memory(&self) -> usize {
        let listed = self.prefixes.len() * size_of::<Vec<u8>>();
        self.prefix_bytes.saturating_sub(listed)
    }

    /// Id of the client that gets the messages instead; 0: none.
    pub fn redirect(&self) -> u64 {
        let target = self.tracker.lock();
        target.redirect.as_ref().map_or(0, |client| client.id)
    }

    /// The keys of the present command are registered, if it reads.
    #[inline]
    pub fn registers(&self) -> bool {
        match self.mode {
            Mode::Default => true,
            Mode::OptIn => self.caching,
            Mode::OptOut => !self.caching,
            Mode::Broadcast => false,
        }
    }

    /// Publishes the field of CLIENT LIST.
    pub(crate) fn publish(&self, client: &ClientShared) {
        let redirect = i64::try_from(self.redirect()).unwrap_or(0);
        client.figures.redirect.store(redirect, Ordering::Relaxed);
    }

    pub(crate) fn publish_none(client: &ClientShared) {
        client.figures.redirect.store(-1, Ordering::Relaxed);
    }
}
