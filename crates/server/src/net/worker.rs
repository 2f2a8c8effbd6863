//! A worker: the commands of its own connections.
//!
//! A worker is driven by steps: it is told what is ready, does all there is to do, and says for how
//! long it has nothing to do. What waits in between is the event loop of its thread, or a
//! simulation.
//!
//! A turn has four steps, and their order is the promise of the server: read from all ready
//! connections and execute everything that came (`batch`), flush the log once, let the replies
//! leave that the log has released, run timers. What is acknowledged is therefore in the log first.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::{Registry, Token};

use super::blocked::Ending;
use crate::os::os_text;
use crate::server::Server;
use crate::transport::connection::{Connection, Written};
use crate::transport::listener::Accepted;
use crate::transport::mailbox::Message;
use engine::audit::Event;
use engine::client::ClientShared;
use engine::config::P;
use engine::execute::Executor;
use engine::fault::Stage;
use engine::session::{Origin, Session};

/// Tokens from here up are listeners.
pub(super) const LISTENERS: usize = usize::MAX - 1024;
/// Connections accepted per turn, so that a flood of them does not stop the others.
const ACCEPTS_PER_TURN: usize = 256;
/// Time until a failure to accept is tried again, in milliseconds.
const ACCEPT_RETRY_MS: u64 = 100;
/// Such failures are logged this often at most, in milliseconds.
const ACCEPT_LOG_MS: u64 = 30_000;
/// The first worker sleeps no longer than this: it has the timers of the server.
const SLEEP_TIMERS: Duration = Duration::from_millis(100);
/// The others look after their clients once a second; mail wakes them.
const SLEEP_OTHERS: Duration = Duration::from_secs(1);

/// The timers of the server, which one worker has.
pub(crate) struct Timers {
    /// Called once per loop turn.
    pub(crate) tick: Tick,
    /// Whether a signal asks for the end of the process, and the timers have not seen it yet.
    pub(crate) is_stop_asked: fn() -> bool,
}

type Tick = Box<dyn FnMut(&Server, &mut Executor) + Send>;

/// What is ready: a connection, or a listener.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ready {
    /// The token that it was registered with.
    pub(super) token: usize,
    /// There is something to read.
    pub(super) reads: bool,
    /// There is room to write.
    pub(super) writes: bool,
    /// The other end was closed, or the connection failed.
    pub(super) ended: bool,
}

/// One worker.
pub(crate) struct Worker {
    pub(crate) server: Arc<Server>,
    pub(crate) index: usize,
    pub(crate) exec: Box<Executor>,
    /// Executes in place of `exec` while that runs a script.
    pub(super) spare: Option<Box<Executor>>,
    /// When the last turn during a long script was, in milliseconds of the steady clock.
    pub(super) busy_turn_ms: u64,
    /// Connections at a request that runs in a round of its own.
    pub(super) alone: Vec<usize>,
    /// Mail to be read when the running script has ended.
    pub(super) later: Vec<Message>,
    /// The next round is for this connection only.
    pub(super) only: Option<usize>,
    /// Connections to be closed when the running script has ended.
    pub(super) closing: Vec<usize>,
    /// Where connections and listeners are registered; none in a simulation.
    registry: Option<Registry>,
    /// The first worker accepts connections.
    accepts: bool,
    accept_pending: bool,
    /// After a failure to accept, listeners are looked at again then, in milliseconds of the steady
    /// clock; 0 without one. No event tells that descriptors are free again.
    accept_again_ms: u64,
    /// When such a failure was last logged.
    accept_logged_ms: u64,
    /// A listener could not be added to the poll.
    unregistered: bool,
    pub(super) connections: Vec<Option<Box<Connection>>>,
    free: Vec<usize>,
    by_id: HashMap<u64, usize, foldhash::fast::RandomState>,
    /// Connections with something to read or to execute.
    pub(super) runnable: Vec<usize>,
    /// Connections with something to write.
    pub(super) writable: Vec<usize>,
    /// Connections whose replies wait for the log.
    held: Vec<usize>,
    /// Deadlines of blocked clients.
    pub(crate) deadlines: BTreeSet<(u64, u64)>,
    /// Connections that CLIENT PAUSE, or the end of loading that is near, postponed.
    pub(super) postponed: Vec<usize>,
    pub(super) batch: super::round::Batch,
    messages: Vec<Message>,
    next_idle_check_ms: u64,
    /// When the log last had a line about a web request.
    pub(super) web_request_logged_ms: u64,
    /// The same about a TLS handshake on a port without TLS.
    pub(super) handshake_logged_ms: u64,
    pub(super) timers: Option<Timers>,
    stopping: bool,
}

impl Worker {
    /// Prepares worker `index`; the first one accepts connections and gets the timers of the
    /// server. Without a registry its steps are those of a simulation.
    pub(crate) fn new(
        server: Arc<Server>,
        index: usize,
        timers: Option<Timers>,
        registry: Option<Registry>,
    ) -> io::Result<Self> {
        let exec = Executor::new(&server.engine, server.handlers, index);
        let mut worker = Self {
            exec: Box::new(exec),
            spare: None,
            busy_turn_ms: 0,
            alone: Vec::new(),
            later: Vec::new(),
            only: None,
            closing: Vec::new(),
            index,
            registry,
            accepts: index == 0,
            accept_pending: false,
            accept_again_ms: 0,
            accept_logged_ms: 0,
            unregistered: false,
            connections: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::default(),
            runnable: Vec::new(),
            writable: Vec::new(),
            held: Vec::new(),
            deadlines: BTreeSet::new(),
            postponed: Vec::new(),
            batch: super::round::Batch::default(),
            messages: Vec::new(),
            next_idle_check_ms: 0,
            web_request_logged_ms: 0,
            handshake_logged_ms: 0,
            timers,
            stopping: false,
            server,
        };
        worker.register_listeners()?;
        Ok(worker)
    }

    /// Adds the server's present listeners to the poll. Closed ones have left it by themselves.
    fn register_listeners(&mut self) -> io::Result<()> {
        if self.accepts
            && let Some(registry) = &self.registry
        {
            let mut listeners = self.server.lock_listeners();
            for (number, listener) in listeners.iter_mut().enumerate() {
                if !listener.is_tls() {
                    listener.register(registry, Token(LISTENERS + number))?;
                }
            }
            self.accept_pending = true;
        }
        Ok(())
    }

    /// The same while the server runs; what fails is tried again by the timers.
    fn listen(&mut self) {
        if let Err(error) = self.register_listeners() {
            self.unregistered = true;
            log::warn!("Changing the listening sockets: {}", os_text(&error));
        }
    }

    /// Takes notice of what is ready and does all there is to do. Returns for how long there is
    /// nothing to do; `None`: the server has stopped.
    pub(super) fn step(&mut self, ready: impl Iterator<Item = Ready>) -> Option<Duration> {
        let server = Arc::clone(&self.server);
        self.exec.refresh_clock(&server.engine);
        let began_ns = self.exec.now_ns;
        let commands = self.commands_processed(&server);
        ready.for_each(|ready| self.note(ready));
        self.turn(&server);
        self.note_turn(&server, began_ns, commands);
        if self.stopping {
            self.close_all();
            return None;
        }
        Some(self.timeout())
    }

    fn turn(&mut self, server: &Arc<Server>) {
        server.engine.faults.reach(Stage::Turn);
        self.read_mail(server);
        if self.accept_pending {
            self.accept(server);
        }
        self.execute_runnable(server);
        self.run_alone(server);
        // Clients of this worker that were served by others of it get their replies in the same
        // turn.
        self.read_mail(server);
        let released = self.release(server);
        self.write_replies(server, released);
        server.engine.evict_clients(self.index);
        self.timers(server);
    }

    fn commands_processed(&self, server: &Server) -> u64 {
        let handle = server.workers.get(self.index);
        handle.map_or(0, |handle| handle.stats().commands_processed.get())
    }

    fn note_turn(&mut self, server: &Server, began_ns: u64, commands_before: u64) {
        keyspace::memory::publish();
        if let Some(handle) = server.workers.get(self.index) {
            let nanos = server.engine.clock.monotonic_ns().saturating_sub(began_ns);
            let commands = self.commands_processed(server);
            handle.stats().loop_turns.add(1);
            handle.stats().busy_nanos.add(nanos);
            handle.stats().turn_nanos_max.raise(nanos);
            // After CONFIG RESETSTAT the count is below what it was.
            let commands = commands.saturating_sub(commands_before);
            handle.stats().turn_commands_max.raise(commands);
        }
    }

    pub(super) fn timeout(&self) -> Duration {
        let handle = self.server.workers.get(self.index);
        let has_mail = handle.is_some_and(|handle| handle.mailbox.is_filled());
        let switches = &self.server.engine.switches;
        let has_work = !self.runnable.is_empty()
            || !self.writable.is_empty()
            || (self.index == 0 && switches.limit_lowered.load(Ordering::Acquire));
        if has_mail || has_work || self.accept_pending {
            return Duration::ZERO;
        }
        let engine = &self.server.engine;
        let (now_ms, steady_ms) = (engine.now_ms(), engine.steady_ms());
        let mut sleep = if self.index == 0 {
            SLEEP_TIMERS
        } else {
            SLEEP_OTHERS
        };
        let mut until = |deadline_ms: u64, now_ms: u64| {
            sleep = sleep.min(Duration::from_millis(deadline_ms.saturating_sub(now_ms)));
        };
        if let Some((deadline, _)) = self.deadlines.first() {
            until(*deadline, steady_ms);
        }
        if !self.postponed.is_empty() {
            let pause_ms = engine.pause.until_ms();
            until(if pause_ms == 0 { u64::MAX } else { pause_ms }, steady_ms);
            if let Some(grace) = self.loading_grace() {
                until(steady_ms + grace.as_millis() as u64 + 1, steady_ms);
            }
        }
        if self.index == 0 {
            until(engine.next_expiry_ms.load(Ordering::Acquire), now_ms);
        }
        sleep
    }

    /// How long postponed requests still wait for the end of loading.
    fn loading_grace(&self) -> Option<Duration> {
        let engine = &self.server.engine;
        let left_ns = engine.loading.grace_left_ns(engine.clock.monotonic_ns());
        (left_ns > 0).then(|| Duration::from_nanos(left_ns))
    }

    fn note(&mut self, ready: Ready) {
        if ready.token >= LISTENERS {
            self.accept_pending = true;
            return;
        }
        let Some(connection) = connection_of(&mut self.connections, ready.token) else {
            return;
        };
        connection.end_announced |= ready.ended;
        if ready.reads || connection.end_announced {
            connection.readable = true;
            if !connection.queued_run {
                connection.queued_run = true;
                self.runnable.push(ready.token);
            }
        }
        if ready.writes && connection.waits_to_write() && !connection.queued_write {
            connection.queued_write = true;
            self.writable.push(ready.token);
        }
    }

    // ---- connections -------------------------------------------------------------------------

    /// Accepts connections one by one: each is refused or welcomed before the next, so that a burst
    /// takes no more descriptors than `maxclients` leaves.
    pub(super) fn accept(&mut self, server: &Arc<Server>) {
        if !self.accepts {
            return;
        }
        self.accept_pending = false;
        self.accept_again_ms = 0;
        let mut budget = ACCEPTS_PER_TURN;
        let mut number = 0;
        loop {
            let listeners = server.lock_listeners();
            let Some(listener) = listeners.get(number) else {
                return;
            };
            if listener.is_tls() {
                number += 1;
                continue;
            }
            let accepted = listener.accept();
            drop(listeners);
            match accepted {
                Ok(client) => self.welcome(server, client),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    number += 1;
                    if error.kind() != io::ErrorKind::WouldBlock {
                        self.accept_later(&error);
                    }
                    continue;
                }
            }
            budget -= 1;
            if budget == 0 {
                // More may be waiting, and no event tells that.
                self.accept_pending = true;
                return;
            }
        }
    }

    /// The system has no descriptor or memory to spare.
    fn accept_later(&mut self, error: &io::Error) {
        let steady_ms = self.exec.steady_ms;
        self.accept_again_ms = steady_ms + ACCEPT_RETRY_MS;
        if self.accept_logged_ms == 0 || steady_ms >= self.accept_logged_ms + ACCEPT_LOG_MS {
            self.accept_logged_ms = steady_ms;
            log::warn!(
                "Accepting client connection: {} (tried again every {ACCEPT_RETRY_MS} ms)",
                os_text(error)
            );
        }
    }

    /// Tries again what an event has asked for and what failed.
    fn retry(&mut self) {
        if self.accept_again_ms != 0 && self.exec.steady_ms >= self.accept_again_ms {
            self.accept_pending = true;
        }
        if self.accepts && self.unregistered {
            self.unregistered = false;
            self.listen();
        }
    }

    /// Whether `maxclients` leaves room for one more. When it is reached, the client goes that has
    /// been connected longest without having authenticated: a client without the password cannot
    /// keep others out by connecting.
    fn has_room(&mut self, server: &Server) -> bool {
        let max = server.engine.config.int(P::Maxclients).max(0) as usize;
        if server.engine.clients.count() < max {
            return true;
        }
        let Some(client) = server.engine.clients.remove_oldest_stranger() else {
            return false;
        };
        self.close_stranger(server, &client, "maxclients is reached");
        true
    }

    /// Closes a client that the registry has expelled.
    fn close_stranger(&mut self, server: &Server, client: &ClientShared, why: &str) {
        log::debug!(
            "Closing {}, which has not authenticated: {why}",
            client.addr
        );
        match self.token_of(client.id) {
            // Its descriptor may be needed at once.
            Some(token) => self.close(token),
            None => server.send_to(client, Message::Kill(client.id)),
        }
    }

    pub(super) fn welcome(&mut self, server: &Arc<Server>, mut accepted: Accepted) {
        let refusal = match self.has_room(server) {
            true => refusal(server, &accepted),
            false => Some("-ERR max number of clients reached\r\n"),
        };
        let stats = server.workers.get(self.index).map(|handle| handle.stats());
        if let Some(line) = refusal {
            // The socket's buffer is empty, so this little always fits.
            let sent = accepted.stream.write(line.as_bytes()).unwrap_or(0);
            count_output(server, self.index, sent as u64);
            if let Some(stats) = stats {
                stats.connections_rejected.add(1);
            }
            return;
        }
        if let Some(stats) = stats {
            stats.connections_received.add(1);
        }
        if let Err(error) = accepted
            .stream
            .configure(server.engine.config.int(P::TcpKeepalive) as u64)
        {
            log::debug!("Setting options of a client socket: {error}");
        }
        let fd = std::os::fd::AsRawFd::as_raw_fd(&accepted.stream);
        let shared = Arc::new(ClientShared::new(
            server.engine.clients.next_id(),
            accepted.peer,
            &accepted.local,
            fd,
            self.exec.steady_ms,
            self.index,
        ));
        log::debug!("Accepted {}", shared.addr);
        server.engine.clients.add(Arc::clone(&shared));
        if server.engine.audit.is_on() {
            let now_us = server.engine.clock.unix_us();
            server.engine.audit.note(now_us, &shared, Event::Connected);
        }
        let default = server.engine.users.default_user();
        let user = default.is_open().then(|| Arc::clone(default));
        if user.is_none()
            && let Some(oldest) = server.engine.clients.add_stranger(&shared)
        {
            self.close_stranger(server, &oldest, "its address has too many such clients");
        }
        let mut session = Session::new(shared, Origin::Client, user);
        super::certificate_users::log_in(server, &mut session, &accepted.names);
        let id = session.shared.id;
        let connection = Connection::new(accepted.stream, session, self.exec.steady_ms);
        let connection = Box::new(connection);
        match super::balance::home(server, id) {
            Some(to) if to != self.index => give(server, connection, to),
            _ => self.adopt(connection),
        }
    }

    /// Takes a connection over: a new one, or one that another worker hands on.
    fn adopt(&mut self, mut connection: Box<Connection>) {
        let token = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        if let Some(registry) = &self.registry
            && let Err(error) = connection.stream.register(registry, Token(token))
        {
            log::warn!("Registering a client socket: {error}");
            self.free.push(token);
            self.server.end(connection);
            return;
        }
        let shared = &connection.session.shared;
        shared.worker.store(self.index, Ordering::Release);
        self.by_id.insert(shared.id, token);
        connection.readable = true;
        connection.queued_run = true;
        self.runnable.push(token);
        if connection.postponed {
            self.postponed.push(token);
        }
        let has_output = connection.waits_to_write();
        connection.queued_write = has_output;
        if has_output {
            self.writable.push(token);
        }
        if let Some(deadline) = connection
            .session
            .blocked
            .as_ref()
            .and_then(engine::wait::Block::deadline_ms)
        {
            self.deadlines.insert((deadline, shared.id));
        }
        if let Some(at) = connection.session.look_again_ms {
            self.deadlines.insert((at, shared.id));
        }
        if let Some(slot) = self.connections.get_mut(token) {
            *slot = Some(connection);
        }
    }

    pub(crate) fn connection(&mut self, token: usize) -> Option<&mut Connection> {
        connection_of(&mut self.connections, token)
    }

    fn token_of(&self, client: u64) -> Option<usize> {
        self.by_id.get(&client).copied()
    }

    /// Takes a connection out of this worker's tables without closing it.
    fn release_connection(&mut self, token: usize) -> Option<Box<Connection>> {
        let mut connection = self.connections.get_mut(token)?.take()?;
        let id = connection.session.shared.id;
        self.by_id.remove(&id);
        if let Some(deadline) = connection
            .session
            .blocked
            .as_ref()
            .and_then(engine::wait::Block::deadline_ms)
        {
            self.deadlines.remove(&(deadline, id));
        }
        if let Some(at) = connection.session.look_again_ms {
            self.deadlines.remove(&(at, id));
        }
        // Where it does not stand the lists are not searched: many may be closed at once.
        if connection.queued_run {
            self.runnable.retain(|other| *other != token);
        }
        if connection.queued_write {
            self.writable.retain(|other| *other != token);
        }
        if connection.postponed {
            self.postponed.retain(|other| *other != token);
        }
        self.held.retain(|other| *other != token);
        if let Some(registry) = &self.registry
            && let Err(error) = connection.stream.deregister(registry)
        {
            log::debug!("Deregistering a client socket: {error}");
        }
        self.free.push(token);
        Some(connection)
    }

    /// Hands a connection to another worker.
    pub(super) fn hand_over(&mut self, token: usize, to: usize) {
        let server = Arc::clone(&self.server);
        if to < server.workers.len()
            && let Some(connection) = self.release_connection(token)
        {
            give(&server, connection, to);
        }
    }

    /// Closes a connection. That may lock shards, so it waits for the end of a script that runs
    /// on this thread.
    pub(super) fn close(&mut self, token: usize) {
        if self.exec.is_busy {
            if let Some(connection) = self.connection(token) {
                connection.session.close_after_reply = true;
            }
            if !self.closing.contains(&token) {
                self.closing.push(token);
            }
            return;
        }
        if let Some(connection) = self.release_connection(token) {
            self.server.end(connection);
        }
    }

    /// A connection has become that of a replica: the thread that feeds replicas takes it.
    pub(super) fn leave(&mut self, token: usize) {
        if let Some(connection) = self.release_connection(token) {
            crate::replication::adopt(&self.server, connection);
        }
    }

    fn close_all(&mut self) {
        for token in 0..self.connections.len() {
            self.close(token);
        }
    }

    // ---- mail --------------------------------------------------------------------------------

    fn read_mail(&mut self, server: &Arc<Server>) {
        let Some(handle) = server.workers.get(self.index) else {
            return;
        };
        let mut messages = std::mem::take(&mut self.messages);
        messages.append(&mut self.later);
        handle.mailbox.drain(&mut messages);
        for message in messages.drain(..) {
            self.handle(server, message);
        }
        self.messages = messages;
    }

    pub(super) fn handle(&mut self, server: &Arc<Server>, message: Message) {
        match message {
            Message::Adopt(connection) => self.adopt(connection),
            Message::Welcome(accepted) => self.welcome(server, *accepted),
            Message::Synced => self.synced(server),
            Message::Refresh => self.resume_postponed(),
            Message::Listen => self.listen(),
            Message::HandOver { count, to } => self.hand_over_some(count, to),
            Message::Stop => self.stop(server),
            Message::Deliver(client)
            | Message::Kill(client)
            | Message::Unblock { client, .. }
            | Message::Served { client, .. } => match self.token_of(client) {
                Some(token) => self.handle_for(server, token, message),
                None => forward(server, self.index, client, message),
            },
        }
    }

    fn handle_for(&mut self, server: &Arc<Server>, token: usize, message: Message) {
        match message {
            Message::Deliver(_) => self.collect_outbox(token),
            Message::Kill(_) => self.kill(server, token),
            Message::Unblock { why, .. } => {
                let ending = Ending::Unblocked(why);
                super::blocked::end_wait(self, server, token, ending);
            }
            Message::Served { offset, .. } => {
                self.collect_outbox(token);
                super::blocked::served(self, token, offset);
            }
            _ => {}
        }
    }

    fn collect_outbox(&mut self, token: usize) {
        if let Some(connection) = self.connection(token) {
            connection.collect_outbox();
        }
        self.want_write(token);
    }

    /// CLIENT KILL: what was answered already still leaves if the socket takes it at once.
    fn kill(&mut self, server: &Server, token: usize) {
        let (released, index) = (self.released(), self.index);
        if let Some(connection) = self.connection(token) {
            connection.hold_replies(released);
            let sent = connection.sent();
            // The connection goes either way.
            let _ = connection.write(released);
            count_output(server, index, connection.sent() - sent);
        }
        self.close(token);
    }

    fn stop(&mut self, server: &Arc<Server>) {
        let (released, index) = (self.release(server), self.index);
        for token in 0..self.connections.len() {
            if let Some(connection) = self.connection(token) {
                connection.hold_replies(released);
                let sent = connection.sent();
                // Best effort: the process ends now.
                let _ = connection.write(released);
                count_output(server, index, connection.sent() - sent);
            }
        }
        self.stopping = true;
    }

    pub(crate) fn want_write(&mut self, token: usize) {
        if let Some(connection) = connection_of(&mut self.connections, token)
            && !connection.queued_write
        {
            connection.queued_write = true;
            self.writable.push(token);
        }
    }

    pub(crate) fn want_run(&mut self, token: usize) {
        if let Some(connection) = connection_of(&mut self.connections, token)
            && !connection.queued_run
        {
            connection.queued_run = true;
            self.runnable.push(token);
        }
    }

    fn resume_postponed(&mut self) {
        let server = Arc::clone(&self.server);
        for token in std::mem::take(&mut self.postponed) {
            if let Some(connection) = self.connection(token) {
                connection.set_postponed(&server.engine, false);
            }
            self.want_run(token);
        }
    }

    // ---- replies -----------------------------------------------------------------------------

    /// Writes the log for everything executed so far; returns the offset up to which replies may
    /// leave.
    pub(super) fn release(&mut self, server: &Server) -> u64 {
        if server.engine.replicas.count() > 0 {
            crate::replication::announce(server);
        }
        if !server.engine.log.is_enabled() {
            return engine::durability::flush(&server.engine);
        }
        let began_ns = server.engine.clock.monotonic_ns();
        let released = engine::durability::flush(&server.engine);
        if let Some(handle) = server.workers.get(self.index) {
            let nanos = server.engine.clock.monotonic_ns().saturating_sub(began_ns);
            handle.stats().log_nanos.add(nanos);
        }
        released
    }

    pub(crate) fn released(&self) -> u64 {
        self.server.engine.log.acknowledged()
    }

    /// The log is durable up to a new offset: replies that waited for it may leave.
    fn synced(&mut self, server: &Server) {
        for token in std::mem::take(&mut self.held) {
            self.want_write(token);
        }
        if self.index == 0 && server.engine.replicas.count() > 0 {
            crate::replication::announce(server);
            engine::execute::blocking::serve_acknowledged(&server.engine);
        }
        super::blocked::log_synced(self, server);
    }

    pub(super) fn write_replies(&mut self, server: &Server, released: u64) {
        let mut again = Vec::new();
        for token in std::mem::take(&mut self.writable) {
            let Some(connection) = connection_of(&mut self.connections, token) else {
                continue;
            };
            connection.queued_write = false;
            connection.hold_replies(released);
            if let Some(stats) = server.workers.get(self.index) {
                stats.stats().writes_processed.add(1);
            }
            let sent = connection.sent();
            let written = connection.write(released);
            connection.publish_output(server);
            count_output(server, self.index, connection.sent() - sent);
            match written {
                // What the client was sent by others is more than it may leave unread.
                Ok(_) if connection.output.is_given_up() => self.check_output_limit(server, token),
                Ok(Written::All) => {
                    if connection.throttled {
                        connection.throttled = false;
                        self.want_run(token);
                    } else if connection.session.close_after_reply {
                        self.close(token);
                    }
                }
                // The client has hung up and reads no rest.
                Ok(Written::Blocked) if connection.hung_up => self.close(token),
                Ok(Written::Blocked) => self.check_output_limit(server, token),
                Ok(Written::More) => again.push(token),
                Ok(Written::Held) => self.held.push(token),
                Err(error) => {
                    log::debug!("Error writing to client: {error}");
                    self.close(token);
                }
            }
        }
        for token in again {
            self.want_write(token);
        }
    }

    fn check_output_limit(&mut self, server: &Server, token: usize) {
        let steady_ms = self.exec.steady_ms;
        let Some(connection) = self.connection(token) else {
            return;
        };
        if super::limits::output_exceeded(server, connection, steady_ms) {
            if let Some(handle) = server.workers.get(self.index) {
                handle.stats().output_buffer_disconnections.add(1);
            }
            self.close(token);
        }
    }

    // ---- timers ------------------------------------------------------------------------------

    fn timers(&mut self, server: &Arc<Server>) {
        let steady_ms = self.exec.steady_ms;
        while let Some((deadline, client)) = self.deadlines.first().copied() {
            if deadline > steady_ms {
                break;
            }
            self.deadlines.pop_first();
            if let Some(token) = self.token_of(client) {
                super::blocked::timer(self, server, token);
            }
        }
        let is_postponing =
            server.engine.pause.is_active(steady_ms) || self.loading_grace().is_some();
        if !self.postponed.is_empty() && !is_postponing {
            self.resume_postponed();
        }
        if self.index == 0 && server.engine.pause.has_weakened(steady_ms) {
            engine::port::Port::resume(&**server);
        }
        if self.index == 0
            && let Some(mut fed) = server.engine.pause.take_fed(steady_ms)
        {
            self.exec.ready.append(&mut fed);
            engine::execute::blocking::serve_later(&mut self.exec, &server.engine);
        }
        if steady_ms >= self.next_idle_check_ms {
            self.next_idle_check_ms = steady_ms + 1_000;
            self.batch.spares.clear();
            self.check_clients(server, steady_ms);
        }
        if self.index == 0 {
            engine::execute::evict::approach_limit(&mut self.exec, &server.engine);
            server.engine.limit_tracking();
        }
        self.retry();
        if let Some(timers) = &mut self.timers {
            (timers.tick)(server, &mut self.exec);
        }
    }

    /// Once a second: idle clients, soft output limits.
    fn check_clients(&mut self, server: &Server, steady_ms: u64) {
        let timeout_ms = server.engine.config.int(P::Timeout).max(0) as u64 * 1_000;
        for token in 0..self.connections.len() {
            let Some(connection) = self.connection(token) else {
                continue;
            };
            let idle = timeout_ms > 0
                && connection.session.blocked.is_none()
                && !connection.session.monitor
                && connection.session.subscriptions.is_none()
                && steady_ms.saturating_sub(connection.last_active_ms) > timeout_ms;
            if idle {
                log::debug!("Closing idle client");
                self.close(token);
            } else if !connection.output.is_empty() {
                self.check_output_limit(server, token);
            }
        }
    }

    /// Upper bound of the tokens in use.
    pub(crate) fn slots(&self) -> usize {
        self.connections.len()
    }

    /// Gives up to `count` connections away that were active since they came here; all connections
    /// when `count` is the maximum.
    fn hand_over_some(&mut self, count: usize, to: usize) {
        let mut tokens = Vec::new();
        for (token, slot) in self.connections.iter_mut().enumerate() {
            if let Some(connection) = slot {
                let active = connection.recent_commands > 0;
                if tokens.len() < count && (active || count == usize::MAX) {
                    connection.recent_commands = 0;
                    tokens.push(token);
                }
            }
        }
        for token in tokens {
            self.hand_over(token, to);
        }
    }
}

/// Sends a connection that no worker holds to its new one.
fn give(server: &Server, connection: Box<Connection>, to: usize) {
    let Some(target) = server.workers.get(to) else {
        return;
    };
    let shared = Arc::clone(&connection.session.shared);
    target.mailbox.send_and(Message::Adopt(connection), || {
        shared.worker.store(to, Ordering::Release);
    });
}

pub(super) fn connection_of(
    connections: &mut [Option<Box<Connection>>],
    token: usize,
) -> Option<&mut Connection> {
    connections.get_mut(token)?.as_deref_mut()
}

/// Errors of one connection, behind which others may wait: accept(2) hands on what the network has
/// said about it.
pub(super) fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EINTR
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ENETUNREACH
        )
    )
}

/// A message for a client that is not here: it moved, or it is gone.
fn forward(server: &Server, here: usize, client: u64, message: Message) {
    if let Some(shared) = server.engine.clients.get(client) {
        let owner = shared.worker.load(Ordering::Acquire);
        if owner != here
            && let Some(handle) = server.workers.get(owner)
        {
            handle.mailbox.send(message);
        }
    }
}

/// Why a new connection is refused, as the line it gets.
fn refusal(server: &Server, accepted: &Accepted) -> Option<&'static str> {
    let is_open = server.engine.config.bool(P::ProtectedMode)
        && server.engine.users.default_user().rules().nopass;
    if is_open && !accepted.peer.is_local() {
        return Some(PROTECTED_MODE);
    }
    None
}

/// Adds bytes that a worker has sent to its clients.
fn count_output(server: &Server, worker: usize, bytes: u64) {
    if let Some(handle) = server.workers.get(worker) {
        handle.stats().net_output_bytes.add(bytes);
    }
}

const PROTECTED_MODE: &str = "-DENIED Lodestore is running in protected mode because protected \
mode is enabled and no password is set for the default user. In this mode connections are only \
accepted from the loopback interface. To connect from other computers, either set a password \
(requirepass), or bind to trusted interfaces and set protected-mode to no.\r\n";
