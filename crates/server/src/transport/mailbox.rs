//! Messages from one thread to a worker.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::connection::Connection;
use super::listener::Accepted;
use engine::port::Unblocked;

/// A request to a worker. Clients are named by id: a connection may have moved or gone meanwhile.
pub enum Message {
    /// A connection that this worker owns from now on.
    Adopt(Box<Connection>),
    /// A new connection whose handshake is done.
    Welcome(Box<Accepted>),
    /// The outbox of a client holds something.
    Deliver(u64),
    /// A blocked client was served: its reply stands in its outbox.
    Served {
        /// The client.
        client: u64,
        /// The log offset behind what its command changed.
        offset: u64,
    },
    /// A wait ends before its time, with an error or with the reply of a time-out.
    Unblock {
        /// The client.
        client: u64,
        /// Why, which decides what it gets.
        why: Unblocked,
    },
    /// CLIENT KILL.
    Kill(u64),
    /// The log is durable up to a new offset.
    Synced,
    /// The pause ended or changed, or a parameter that loops cache changed.
    Refresh,
    /// The listening sockets were replaced.
    Listen,
    /// Give up to `count` connections to another worker.
    HandOver {
        /// How many.
        count: usize,
        /// Number of the other worker.
        to: usize,
    },
    /// The process is about to end: flush replies and close.
    Stop,
}

thread_local! {
    /// Address of the mailbox of the worker that this thread is; 0 for other threads. Only ever
    /// compared.
    static OWN: Cell<usize> = const { Cell::new(0) };
}

/// Inbox of a worker, with the waker of its poll.
#[derive(Default)]
pub struct Mailbox {
    queue: Mutex<Vec<Message>>,
    filled: AtomicBool,
    waker: OnceLock<mio::Waker>,
}

impl Mailbox {
    /// Attaches the waker, once, when the worker starts.
    pub fn attach(&self, waker: mio::Waker) {
        // A second attach would mean two loops on one mailbox; the first stays.
        let _ = self.waker.set(waker);
    }

    /// Sends a message and wakes the worker.
    pub fn send(&self, message: Message) {
        self.send_and(message, || {});
    }

    /// Sends messages and wakes the worker once.
    pub fn send_many(&self, messages: Vec<Message>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.extend(messages);
        drop(queue);
        self.announce();
    }

    /// Sends a message, and runs `together` while no other thread can put one into the mailbox:
    /// messages that other threads send because of it stand behind this one.
    pub fn send_and(&self, message: Message, together: impl FnOnce()) {
        {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.push(message);
            together();
        }
        self.announce();
    }

    fn announce(&self) {
        if !self.filled.swap(true, Ordering::AcqRel) && !self.is_own() {
            self.wake();
        }
    }

    /// Says that the calling thread is the worker. It need not be woken by itself, and in return
    /// looks at [`Mailbox::is_filled`] before it sleeps.
    pub fn settle(&self) {
        OWN.set(std::ptr::from_ref(self).addr());
    }

    fn is_own(&self) -> bool {
        OWN.get() == std::ptr::from_ref(self).addr()
    }

    /// True while there are messages.
    pub fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Acquire)
    }

    /// Wakes the worker without a message.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.get()
            && let Err(error) = waker.wake()
        {
            log::warn!("Waking a worker failed: {error}");
        }
    }

    /// Takes all messages.
    pub fn drain(&self, into: &mut Vec<Message>) {
        if self.filled.swap(false, Ordering::AcqRel) {
            into.append(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}
