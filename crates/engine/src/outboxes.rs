//! Sending to clients: into their outboxes, within their limits, with a word to their workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use resp::{Output, Protocol};

use crate::client::{ClientShared, Posted};
use crate::config::{ClientClass, Config};
use crate::port::PortSlot;

/// The way into the outboxes of all clients.
#[derive(Default)]
pub struct Outboxes {
    /// Hard limits of `client-output-buffer-limit` by class of client, in bytes; 0: none.
    hard_limits: [AtomicU64; 3],
    /// Clients that were disconnected because they left too much unread.
    overflows: AtomicU64,
    /// The server around the engine, whose workers own the connections.
    pub port: PortSlot,
}

impl Outboxes {
    /// Takes over the limits of the configuration.
    pub fn configure(&self, config: &Config) {
        let limits = config.output_limits();
        for class in ClientClass::ALL {
            let hard = &self.hard_limits[class as usize];
            hard.store(limits.of(class).hard, Ordering::Relaxed);
        }
    }

    /// The hard limit of a class of clients, in bytes; 0: none.
    pub fn hard_limit(&self, class: ClientClass) -> u64 {
        self.hard_limits[class as usize].load(Ordering::Relaxed)
    }

    /// Clients that were disconnected because their outboxes reached the limit, since the start or
    /// CONFIG RESETSTAT.
    pub fn overflows(&self) -> u64 {
        self.overflows.load(Ordering::Relaxed)
    }

    /// CONFIG RESETSTAT.
    pub fn reset_statistics(&self) {
        self.overflows.store(0, Ordering::Relaxed);
    }

    /// Puts bytes into the outbox of a client. They leave when the log is flushed up to `after`.
    pub fn deliver(&self, client: &ClientShared, after: u64, write: impl FnOnce(&mut Output)) {
        if self.post(client, after, |out, _| write(out)) == Posted::First {
            self.port.get().deliver(&[client]);
        }
    }

    /// Puts the reply of a blocked client into its outbox, in front of what is held back there, and
    /// ends its wait. It leaves when the log is flushed up to `after`.
    pub fn deliver_served(
        &self,
        client: &ClientShared,
        after: u64,
        write: impl FnOnce(&mut Output),
    ) {
        match client.post_before(after, self.hard_limit(client.class()), write) {
            Posted::Overflow => self.disconnect(client),
            _ => self.port.get().served(client, after),
        }
    }

    /// Puts the same bytes into the outboxes of many clients; each worker among theirs is woken
    /// once.
    pub fn deliver_many<'a>(
        &self,
        clients: impl Iterator<Item = &'a Arc<ClientShared>>,
        after: u64,
        write: impl Fn(&mut Output),
    ) {
        let mut announced = Vec::new();
        for client in clients {
            if self.post(client, after, |out, _| write(out)) == Posted::First {
                announced.push(&**client);
            }
        }
        if !announced.is_empty() {
            self.port.get().deliver(&announced);
        }
    }

    /// Puts something into the outbox of a client, in its protocol version; a client above its
    /// limit is disconnected. The first into an empty outbox is to be announced by
    /// [`crate::port::Port::deliver`].
    pub fn post(
        &self,
        client: &ClientShared,
        after: u64,
        write: impl FnOnce(&mut Output, Protocol),
    ) -> Posted {
        let posted = client.post(after, self.hard_limit(client.class()), write);
        if posted == Posted::Overflow {
            self.disconnect(client);
        }
        posted
    }

    #[cold]
    fn disconnect(&self, client: &ClientShared) {
        if !client.kill.swap(true, Ordering::AcqRel) {
            self.overflows.fetch_add(1, Ordering::Relaxed);
            log::warn!(
                "Client {} scheduled to be closed ASAP for overcoming of output buffer limits.",
                client.addr
            );
            self.port.get().kill(client);
        }
    }
}
