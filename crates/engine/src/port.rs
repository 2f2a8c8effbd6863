//! The operations that an engine needs from the server around it.
//!
//! The engine runs commands, and reaches clients through their shared state and their outboxes.
//! Connections, event loops and background jobs belong to the server, which implements [`Port`]. An
//! engine without a server (a benchmark, a program that embeds it) has a port that does nothing.

use std::any::Any;
use std::sync::{Arc, OnceLock, Weak};

use crate::client::ClientShared;

/// Why the wait of a client was ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unblocked {
    /// CLIENT UNBLOCK: it gets the reply of a time-out.
    AsTimeout,
    /// It gets this error.
    Error(&'static str),
    /// The server has become a replica: the client is redirected to the primary when it understands
    /// that, else it gets an error and is disconnected.
    RoleChanged,
}

/// The server, as its engine sees it. Functions are called under shard locks unless they say
/// otherwise, so none of them may wait or lock shards.
pub trait Port: Any + Send + Sync {
    /// The outboxes of these clients hold something: each of their workers collects it, woken once.
    fn deliver(&self, clients: &[&ClientShared]);

    /// The wait of a client is over: its reply stands in its outbox. `offset` is the log offset
    /// behind what its command changed.
    fn served(&self, client: &ClientShared, offset: u64);

    /// The wait of a client was ended before its time.
    fn unblock(&self, client: &ClientShared, why: Unblocked);

    /// The connection of a client is to be closed.
    fn kill(&self, client: &ClientShared);

    /// Requests that a pause has postponed are offered again.
    fn resume(&self);

    /// The expiry loop has to look at its timers again.
    fn wake_timers(&self);
}

/// The port of an engine without a server.
struct NoPort;

impl Port for NoPort {
    fn deliver(&self, _: &[&ClientShared]) {}
    fn served(&self, _: &ClientShared, _: u64) {}
    fn unblock(&self, _: &ClientShared, _: Unblocked) {}
    fn kill(&self, _: &ClientShared) {}
    fn resume(&self) {}
    fn wake_timers(&self) {}
}

/// The place for the port, which is made after its engine.
#[derive(Default)]
pub struct PortSlot(OnceLock<Weak<dyn Port>>);

impl PortSlot {
    /// Sets the port, once.
    pub fn attach(&self, port: Weak<dyn Port>) {
        // A second server on one engine would be a defect; the first stays.
        let _ = self.0.set(port);
    }

    /// The port. Not for hot paths: it counts references.
    #[cold]
    pub fn get(&self) -> Arc<dyn Port> {
        let attached = self.0.get().and_then(Weak::upgrade);
        attached.unwrap_or_else(|| Arc::new(NoPort))
    }

    /// The server, when its type is this one.
    pub fn server<T: Port>(&self) -> Option<Arc<T>> {
        let port: Arc<dyn Any + Send + Sync> = self.get();
        port.downcast().ok()
    }
}
