//! What the threads of one server share: the engine, and what surrounds it.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use engine::client::ClientShared;
use engine::context::Context;
use engine::engine::Engine;
use engine::error::CommandError;
use engine::port::Port;
use engine::shard_tables::Locked;
use engine::stats::WorkerStats;

use crate::jobs::backup::Backups;
use crate::jobs::migration::Connections;
use crate::jobs::rewrite::Rewrites;
use crate::jobs::snapshot::Snapshots;
use crate::net::listener::Listener;
use crate::net::mailbox::{Mailbox, Message};
use crate::observe::info::{InstantMetrics, ReplicationId};

/// A worker as the other threads see it.
pub struct WorkerHandle {
    /// Its inbox.
    pub mailbox: Mailbox,
    engine: Arc<Engine>,
    number: usize,
}

impl WorkerHandle {
    /// Worker `number` of an engine that has at least so many.
    pub fn new(engine: &Arc<Engine>, number: usize) -> Self {
        Self {
            mailbox: Mailbox::default(),
            engine: Arc::clone(engine),
            number,
        }
    }

    /// Its counters.
    #[inline]
    pub fn stats(&self) -> &WorkerStats {
        &self.engine.stats[self.number]
    }
}

/// Who this process is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// 40 hexadecimal digits, new at each start.
    pub run_id: String,
    /// Unix milliseconds of the start.
    pub started_ms: u64,
    /// Path of the executable.
    pub executable: String,
    /// Absolute path of the configuration file; empty without one.
    pub config_file: String,
    /// Process id.
    pub pid: u32,
}

/// How far a shutdown has come.
#[derive(Debug, Default)]
pub struct Shutdown {
    requested: AtomicBool,
    exit_code: AtomicI32,
}

impl Shutdown {
    /// Asks for the end of the process.
    pub fn request(&self, exit_code: i32) {
        self.exit_code.store(exit_code, Ordering::Relaxed);
        self.requested.store(true, Ordering::Release);
    }

    /// True once it was asked for.
    #[inline]
    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Acquire)
    }

    /// The exit code to end with.
    pub fn exit_code(&self) -> i32 {
        self.exit_code.load(Ordering::Relaxed)
    }
}

/// The engine with its connections, event loops and jobs.
pub struct Server {
    /// The data with all that commands work on.
    pub engine: Arc<Engine>,
    /// Listening sockets; the first worker accepts from them.
    pub listeners: Mutex<Vec<Listener>>,
    /// Workers, in order of their number.
    pub workers: Vec<WorkerHandle>,
    /// How many of them have clients, as the controller spreads these.
    pub active_workers: AtomicUsize,
    /// Snapshots.
    pub snapshots: Snapshots,
    /// New bases of the log.
    pub rewrites: Rewrites,
    /// Backups.
    pub backups: Backups,
    /// Connections to other servers that MIGRATE keeps.
    pub migrations: Connections,
    /// Rates and other figures of INFO.
    pub metrics: InstantMetrics,
    /// Name of the data set's history.
    pub replication_id: ReplicationId,
    /// How far a shutdown has come.
    pub shutdown: Shutdown,
    /// Who this process is.
    pub identity: Identity,
    /// When data was last saved, Unix seconds.
    pub last_save_s: AtomicU64,
    /// The way back to the shared pointer, for jobs on other threads.
    pub me: Weak<Server>,
}

impl Server {
    /// The server around the engine that runs a command.
    ///
    /// # Errors
    /// The engine has no server, or that is about to end.
    pub fn of(ctx: &Context<'_, '_>) -> Result<Arc<Self>, CommandError> {
        const NONE: CommandError = CommandError::line("ERR this command needs a running server");
        ctx.engine.port.server().ok_or(NONE)
    }

    /// Changes since the beginning of the last good snapshot.
    pub fn changes_since_save(&self) -> u64 {
        let saved = self.snapshots.saved_changes.load(Ordering::Relaxed);
        self.engine.changes_made().saturating_sub(saved)
    }

    /// Sends a message to the worker that owns a client now.
    pub fn send_to(&self, client: &ClientShared, message: Message) {
        let worker = client.worker.load(Ordering::Acquire);
        if let Some(worker) = self.workers.get(worker) {
            worker.mailbox.send(message);
        }
    }

    /// The listening sockets.
    pub fn lock_listeners(&self) -> MutexGuard<'_, Vec<Listener>> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a message to every worker.
    pub fn broadcast(&self, mut message: impl FnMut() -> Message) {
        for worker in &self.workers {
            worker.mailbox.send(message());
        }
    }
}

impl Port for Server {
    fn deliver(&self, clients: &[&ClientShared]) {
        if let [client] = clients {
            return self.send_to(client, Message::Deliver(client.id));
        }
        let mut mail: Vec<Vec<Message>> = Vec::new();
        mail.resize_with(self.workers.len(), Vec::new);
        for client in clients {
            let worker = client.worker.load(Ordering::Acquire);
            if let Some(mail) = mail.get_mut(worker) {
                mail.push(Message::Deliver(client.id));
            }
        }
        for (worker, mail) in self.workers.iter().zip(mail) {
            if !mail.is_empty() {
                worker.mailbox.send_many(mail);
            }
        }
    }

    fn served(&self, client: &ClientShared, offset: u64) {
        let message = Message::Served {
            client: client.id,
            offset,
        };
        self.send_to(client, message);
    }

    fn unblock(&self, client: &ClientShared, error: bool) {
        let message = Message::Unblock {
            client: client.id,
            error,
        };
        self.send_to(client, message);
    }

    fn kill(&self, client: &ClientShared) {
        self.send_to(client, Message::Kill(client.id));
    }

    fn resume(&self) {
        self.broadcast(|| Message::Refresh);
    }

    fn wake_timers(&self) {
        if let Some(worker) = self.workers.first() {
            worker.mailbox.wake();
        }
    }

    fn emptied(&self, locked: &Locked<'_>, unlogged: u64) {
        crate::jobs::snapshot::after_flush_all(self, locked, unlogged);
    }
}
