//! The state that the threads of one server share: the engine, and the parts around it.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use engine::client::{ClientShared, Peer};
use engine::config::{ClientClass, P};
use engine::context::Context;
use engine::engine::Engine;
use engine::error::CommandError;
use engine::execute::{Handlers, blocking};
use engine::stats::WorkerStats;

use crate::state::{
    Backups, Connections, DataOrigin, FEEDER, Handshakes, Http, Identity, InstantMetrics,
    Replication, Rewrites, Seats, Shutdown, Snapshots,
};
use crate::tls::Tls;
use crate::transport::connection::Connection;
use crate::transport::listener::{Accepted, Listener};
use crate::transport::mailbox::{Mailbox, Message};
use crate::transport::stream::Stream;

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

/// The engine with its connections, event loops and jobs.
pub struct Server {
    /// The data with all that commands work on.
    pub engine: Arc<Engine>,
    /// The handlers of the engine's commands.
    pub handlers: Handlers,
    /// Listening sockets; the first worker accepts from them, and the thread of handshakes from
    /// those for TLS.
    pub listeners: Mutex<Vec<Listener>>,
    /// Certificates and keys of encrypted connections.
    pub tls: Tls,
    /// The thread that encrypts new connections.
    pub handshakes: Handshakes,
    /// The thread that answers over HTTP.
    pub http: Http,
    /// Workers, in order of their number.
    pub workers: Vec<WorkerHandle>,
    /// Places for threads that run commands by function call.
    pub seats: Seats,
    /// How many workers have clients, as the controller spreads these.
    pub active_workers: AtomicUsize,
    /// Snapshots.
    pub snapshots: Snapshots,
    /// New bases of the log.
    pub rewrites: Rewrites,
    /// Backups.
    pub backups: Backups,
    /// The product whose data was loaded.
    pub origin: DataOrigin,
    /// Connections to other servers that MIGRATE keeps.
    pub migrations: Connections,
    /// Rates and other figures of INFO.
    pub metrics: InstantMetrics,
    /// Replication: the names of the data set's history, and the thread that feeds replicas.
    pub replication: Replication,
    /// How far a shutdown has come.
    pub shutdown: Shutdown,
    /// The identity of this process.
    pub identity: Identity,
    /// Bytes of the process in huge pages, as last counted.
    pub huge_page_bytes: AtomicU64,
    /// When data was last saved, Unix seconds.
    pub last_save_s: AtomicU64,
    /// The way back to the shared pointer, for jobs on other threads.
    pub me: Weak<Server>,
}

impl Server {
    /// The server around the engine that runs a command.
    ///
    /// # Errors
    /// The engine has no server, or the server is about to end.
    pub fn of(ctx: &Context<'_, '_>) -> Result<Arc<Self>, CommandError> {
        const NONE: CommandError = CommandError::line("ERR this command needs a running server");
        ctx.engine.outboxes.port.server().ok_or(NONE)
    }

    /// Changes since the beginning of the last good snapshot.
    pub fn changes_since_save(&self) -> u64 {
        let saved = self.snapshots.saved_changes.load(Ordering::Relaxed);
        self.engine.changes_made().saturating_sub(saved)
    }

    /// A connection inside of the process: a worker serves its other end as one that was accepted
    /// from `peer`. The stream blocks.
    ///
    /// # Errors
    /// The system has no descriptor to spare.
    pub(crate) fn connect(&self, peer: Peer, local: Peer) -> io::Result<UnixStream> {
        let (own, other) = UnixStream::pair()?;
        other.set_nonblocking(true)?;
        let accepted = Accepted {
            stream: Stream::Unix(mio::net::UnixStream::from_std(other)),
            peer,
            local,
            names: Vec::new(),
        };
        let worker = self.workers.first().ok_or(io::ErrorKind::NotConnected)?;
        worker.mailbox.send(Message::Welcome(Box::new(accepted)));
        Ok(own)
    }

    /// Sends a message to the worker that owns a client now.
    pub fn send_to(&self, client: &ClientShared, message: Message) {
        let worker = client.worker.load(Ordering::Acquire);
        if let Some(worker) = self.workers.get(worker) {
            worker.mailbox.send(message);
        } else if worker == FEEDER {
            self.replication.cut_killed_primary();
            // It looks at the flags of all its clients.
            self.replication.wake();
        }
    }

    /// How many bytes of the stream a replica may leave unread: the output limit of its class, and
    /// not less than the backlog, which is kept anyway. `u64::MAX` without a limit.
    pub fn replica_lag_max(&self) -> u64 {
        let hard = self
            .engine
            .config
            .output_limits()
            .of(ClientClass::Replica)
            .hard;
        let backlog = self.engine.config.int(P::ReplBacklogSize).max(0) as u64;
        match hard {
            0 => u64::MAX,
            hard => hard.max(backlog),
        }
    }

    /// Closes a connection that no thread holds, and ends what its client was doing.
    pub fn end(&self, mut connection: Box<Connection>) {
        let engine = &*self.engine;
        connection.set_postponed(engine, false);
        let waiter = connection.waiter.take();
        blocking::forget(engine, &mut connection.session, waiter);
        engine::execute::discard(engine, &mut connection.session);
        engine.unsubscribe_all(&mut connection.session);
        engine.stop_tracking(&mut connection.session);
        let shared = Arc::clone(&connection.session.shared);
        shared.kill.store(true, Ordering::Release);
        if connection.session.monitor {
            engine.monitors.remove(&shared);
        }
        engine.clients.remove(shared.id);
        drop(connection);
        if shared.leaving_bytes() > 0 {
            // What is free counts as used until it is published.
            keyspace::memory::publish();
        }
        engine.clients.closed(&shared);
        log::debug!("Client closed connection {}", shared.addr);
    }

    /// The listening sockets.
    pub fn lock_listeners(&self) -> MutexGuard<'_, Vec<Listener>> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends scripts because the process is about to end. One that has written goes on when the data
    /// is to be saved first: what it has done so far must not be saved without the rest. Otherwise
    /// nothing of it is logged.
    pub fn end_scripts(&self, nosave: bool) {
        let saves = !nosave && !self.engine.config.save_points().is_empty();
        self.engine.runs.end_all(saves);
    }

    /// Sends a message to every worker.
    pub fn broadcast(&self, mut message: impl FnMut() -> Message) {
        for worker in &self.workers {
            worker.mailbox.send(message());
        }
    }
}
