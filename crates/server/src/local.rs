//! Clients in the process of the server: requests by function call, and connections that need no
//! port.
//!
//! A call runs its command on the calling thread, under the same locks as a worker, and returns
//! when the log has what it changed. Nothing reaches such a client but replies, so its commands
//! cannot wait (BLPOP answers as after its time-out) and messages cannot be asked for; that is what
//! [`connect`] is for.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::client::{ClientShared, Peer};
use engine::config::P;
use engine::execute::{self, Execution, Request, Verdict, blocking};
use engine::session::{Origin, Session};
use resp::{Output, OwnedArgs, Protocol, Value};

use crate::process::shutdown::request_shutdown;
use crate::server::Server;
use crate::state::ShutdownOptions;
use crate::transport::mailbox::Message;

/// The number of no worker: messages to such a client are not collected.
const NO_WORKER: usize = usize::MAX - 1;

/// How long a request that CLIENT PAUSE postpones waits before it is offered again.
const POSTPONED_SLEEP: Duration = Duration::from_millis(1);

/// Reply buffers above this many bytes are not kept for the next call.
const REPLY_BYTES_KEEP: usize = 64 * 1024;

/// Why a call has no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The server has stopped, or is about to.
    #[error("the store is closed")]
    Closed,
    /// CLIENT KILL or QUIT ended this client.
    #[error("the client was disconnected")]
    Disconnected,
    /// There is no command name.
    #[error("a request needs a command name")]
    Empty,
    /// An argument is longer than `proto-max-bulk-len`.
    #[error("an argument is longer than proto-max-bulk-len")]
    TooLong,
    /// The command would have to wait for something that only a connection waits for.
    #[error("this command needs a connection")]
    NeedsConnection,
    /// The server was started without places for local clients.
    #[error("the server has no local clients")]
    NoSeats,
}

/// A client whose commands run on the calling thread.
pub struct LocalClient {
    server: Arc<Server>,
    session: Session,
    seat: usize,
    args: OwnedArgs,
    out: Output,
}

impl LocalClient {
    /// A client of this server, as the user `default`: the program needs no password for its own
    /// data. Replies are those of RESP3.
    pub fn new(server: &Arc<Server>) -> Self {
        let engine = &*server.engine;
        let shared = Arc::new(ClientShared::new(
            engine.clients.next_id(),
            Peer::None,
            &Peer::None,
            -1,
            engine.steady_ms(),
            NO_WORKER,
        ));
        engine.clients.add(Arc::clone(&shared));
        let user = Arc::clone(engine.users.default_user());
        let mut session = Session::new(shared, Origin::Client, Some(user));
        session.protocol = Protocol::Resp3;
        session.denies_blocking = true;
        let figures = &session.shared.figures;
        figures.protocol.store(3, Ordering::Relaxed);
        Self {
            seat: server.seats.assign(),
            server: Arc::clone(server),
            session,
            args: OwnedArgs::new(),
            out: Output::new(),
        }
    }

    /// Runs one command, its name first. The reply may be an error of the command.
    ///
    /// # Errors
    /// The command was not run, see [`CallError`].
    pub fn call(&mut self, args: &[&[u8]]) -> Result<Value, CallError> {
        self.take_over(args)?;
        let offset = self.run()?;
        self.release(offset)?;
        let reply = match self.out.as_contiguous() {
            Some(bytes) => read(bytes),
            None => read(&self.out.to_vec()),
        };
        self.out.clear();
        if self.out.memory_usage() > REPLY_BYTES_KEEP {
            self.out = Output::new();
        }
        Ok(reply)
    }

    /// The selected database.
    pub fn db(&self) -> u32 {
        self.session.db
    }

    /// Whether MULTI has begun a transaction that is not over.
    pub fn is_in_transaction(&self) -> bool {
        self.session.multi.is_some()
    }

    fn take_over(&mut self, args: &[&[u8]]) -> Result<(), CallError> {
        if args.is_empty() {
            return Err(CallError::Empty);
        }
        let longest = self.server.engine.config.int(P::ProtoMaxBulkLen);
        let longest = usize::try_from(longest).unwrap_or(usize::MAX);
        self.args.clear();
        for arg in args {
            if arg.len() > longest {
                return Err(CallError::TooLong);
            }
            self.args.push(arg);
        }
        Ok(())
    }

    /// Runs the request. Returns the log offset that its reply depends on.
    fn run(&mut self) -> Result<u64, CallError> {
        loop {
            let server = &*self.server;
            let engine = &*server.engine;
            let mut exec = server.seats.take(self.seat).ok_or(CallError::NoSeats)?;
            // Looked at with the place taken: see `close`.
            if server.shutdown.is_requested() {
                return Err(CallError::Closed);
            }
            if self.session.shared.kill.load(Ordering::Acquire) || self.session.close_after_reply {
                return Err(CallError::Disconnected);
            }
            exec.refresh_clock(engine);
            exec.reply_offset = 0;
            let mut execution = Execution {
                exec: &mut exec,
                engine,
                session: &mut self.session,
                out: &mut self.out,
                right: None,
                turn: None,
            };
            let request = Request::new(engine, self.args.as_args());
            let verdict = execution.request(&request, &mut None);
            let offset = exec.reply_offset;
            let now_ms = exec.steady_ms;
            drop(exec);
            match verdict {
                Verdict::Done | Verdict::Failed(_) => {
                    self.publish(request.command.found().map(|command| command.id), now_ms);
                    return Ok(offset);
                }
                Verdict::Postponed => std::thread::sleep(POSTPONED_SLEEP),
                Verdict::Blocked => {
                    let waiter = self.session.new_waiter.take();
                    blocking::forget(engine, &mut self.session, waiter);
                    self.out.clear();
                    return Err(CallError::NeedsConnection);
                }
            }
        }
    }

    /// What CLIENT LIST shows of this client.
    fn publish(&self, command: Option<usize>, now_ms: u64) {
        let figures = &self.session.shared.figures;
        figures.last_active_ms.store(now_ms, Ordering::Relaxed);
        figures.db.store(self.session.db, Ordering::Relaxed);
        if let Some(id) = command {
            figures.last_command.store(id + 1, Ordering::Relaxed);
        }
        let commands = figures.commands.load(Ordering::Relaxed);
        figures.commands.store(commands + 1, Ordering::Relaxed);
    }

    /// Waits until the log has what the reply depends on.
    fn release(&mut self, offset: u64) -> Result<(), CallError> {
        let server = &*self.server;
        if server.engine.replicas.count() > 0 {
            crate::replication::announce(server);
        }
        keyspace::memory::publish();
        if engine::durability::flush(&server.engine) >= offset {
            return Ok(());
        }
        let is_released = || server.engine.log.acknowledged() >= offset;
        server
            .seats
            .wait_for_sync(|| is_released() || server.shutdown.is_requested());
        if is_released() {
            return Ok(());
        }
        self.out.clear();
        Err(CallError::Closed)
    }
}

impl Drop for LocalClient {
    fn drop(&mut self) {
        let engine = &*self.server.engine;
        execute::discard(engine, &mut self.session);
        engine.stop_tracking(&mut self.session);
        let shared = &self.session.shared;
        shared.kill.store(true, Ordering::Release);
        engine.clients.remove(shared.id);
        engine.clients.closed(shared);
    }
}

/// The server's own reply; one that it did not finish is an error as well.
fn read(bytes: &[u8]) -> Value {
    match resp::decode(bytes) {
        Ok(Some((value, _))) => value,
        // CLIENT REPLY OFF
        Ok(None) if bytes.is_empty() => Value::Null,
        Ok(None) => Value::Error(b"ERR the reply is not complete".to_vec()),
        Err(error) => Value::Error(format!("ERR {error}").into_bytes()),
    }
}

/// A connection to a server of this process, for any client that speaks the protocol over a Unix
/// socket. It is a client like those that come by a port: with a password it has to log in.
///
/// # Errors
/// The system has no descriptor to spare.
pub fn connect(server: &Server) -> io::Result<UnixStream> {
    let path = || Peer::Unix(PathBuf::from("(in the process)"));
    server.connect(path(), path())
}

/// Asks a server to stop as SHUTDOWN NOW does: with save points a snapshot is written. When that
/// fails it stops nevertheless, and `false` comes back; the reason is in the log. After this no
/// call runs.
pub fn close(server: &Server) -> bool {
    let options = ShutdownOptions {
        now: true,
        ..ShutdownOptions::default()
    };
    let is_saved =
        server.shutdown.is_requested() || request_shutdown(server, options, None).is_ok();
    server.shutdown.request(i32::from(!is_saved));
    server.broadcast(|| Message::Stop);
    server.seats.note_sync();
    server.seats.drain();
    is_saved
}
