//! The thread of a worker: waits for what is ready, and has the worker take a step.

use std::io;
use std::sync::Arc;

use mio::event::Event;
use mio::{Events, Poll, Token};

use super::worker::{Ready, Timers, Worker};
use crate::server::Server;

/// Token of the waker.
const WAKER: Token = Token(usize::MAX);
/// Events taken from the kernel per turn.
const EVENTS_PER_TURN: usize = 1024;

/// A worker with the poll of its thread.
pub(crate) struct EventLoop {
    poll: Poll,
    worker: Worker,
}

impl EventLoop {
    /// Prepares the loop of worker `index`, as [`Worker::new`].
    pub(crate) fn new(
        server: Arc<Server>,
        index: usize,
        timers: Option<Timers>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), WAKER)?;
        if let Some(handle) = server.workers.get(index) {
            handle.mailbox.attach(waker);
        }
        let registry = poll.registry().try_clone()?;
        let worker = Worker::new(server, index, timers, Some(registry))?;
        Ok(Self { poll, worker })
    }

    /// Works until the server stops.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        if let Some(handle) = self.worker.server.workers.get(self.worker.index) {
            handle.mailbox.settle();
        }
        let mut timeout = self.worker.timeout();
        loop {
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let sockets = events.iter().filter(|event| event.token() != WAKER);
            match self.worker.step(sockets.map(ready)) {
                Some(next) => timeout = next,
                None => return Ok(()),
            }
        }
    }
}

fn ready(event: &Event) -> Ready {
    Ready {
        token: event.token().0,
        reads: event.is_readable(),
        writes: event.is_writable(),
        ended: event.is_read_closed() || event.is_error(),
    }
}
