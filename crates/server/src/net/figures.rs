//! The figures that a worker publishes of its connections: the figures of CLIENT LIST, and the
//! memory that `maxmemory-clients` limits.
//!
//! Plain relaxed stores, once per batch of requests and once per attempt to write. The sum over all
//! clients is touched only when the memory of one has changed, which small requests do not do.

use std::sync::atomic::Ordering;

use resp::Protocol;

use super::limits::OUTPUT_BLOCK_BYTES;
use crate::server::Server;
use crate::transport::connection::Connection;
use engine::client::Figures;
use engine::session::WatchedKey;

/// Memory of the tables of watched keys for one key and client, without the key itself.
const WATCH_ENTRY_BYTES: usize = 64;

impl Connection {
    /// Publishes what has been received and not been executed, and the state around it.
    pub(super) fn publish_input(&self, server: &Server) {
        let session = &self.session;
        let figures = &session.shared.figures;
        let understood = self.parser.position().min(self.input.len());
        let queued = session.multi.as_ref();
        let waiting = self.waiter.as_ref().map(|waiter| waiter.args.as_args());
        set(&figures.qbuf, self.input.len() - understood);
        set(&figures.qbuf_free, self.input.capacity() - self.input.len());
        set(
            &figures.argv_mem,
            understood + waiting.map_or(0, |args| args.byte_len()),
        );
        let commands = queued.map_or(-1, |multi| multi.queue.len() as i64);
        figures.multi.store(commands, Ordering::Relaxed);
        set(&figures.multi_mem, queued.map_or(0, |multi| multi.bytes));
        set(&figures.watch, session.watched.len());
        figures.flags.store(session.flag_bits(), Ordering::Relaxed);
        let protocol = match session.protocol {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        };
        figures.protocol.store(protocol, Ordering::Relaxed);
        self.publish_memory(server);
    }

    /// Publishes what waits to be sent.
    pub(super) fn publish_output(&self, server: &Server) {
        let figures = &self.session.shared.figures;
        let waiting = self.output.len();
        // Redis has a static buffer, whose bytes it does not count as memory, and a list of blocks.
        let (buffer, blocks) = if waiting > OUTPUT_BLOCK_BYTES {
            (0, waiting)
        } else {
            (waiting, 0)
        };
        set(&figures.output_bytes, buffer);
        set(&figures.output_pieces, blocks.div_ceil(OUTPUT_BLOCK_BYTES));
        set(&figures.output_mem, blocks);
        set(&figures.output_capacity, self.output.memory_usage());
        self.publish_memory(server);
    }

    fn publish_memory(&self, server: &Server) {
        let shared = &self.session.shared;
        if shared.kill.load(Ordering::Relaxed) {
            // It is out of the sum already.
            return;
        }
        let tracking = self.session.tracking.as_ref();
        let unlisted = tracking.map_or(0, |tracking| tracking.unlisted_memory());
        set(&shared.figures.unlisted, unlisted);
        let memory = self.memory(&shared.figures);
        if memory != shared.figures.memory.load(Ordering::Relaxed) {
            server.engine.clients.set_memory(shared, memory);
        }
    }

    /// Heap memory on behalf of the client. Values that its replies share count, because a client
    /// that does not read is what keeps them alive.
    fn memory(&self, figures: &Figures) -> usize {
        let session = &self.session;
        size_of::<Self>()
            + self.stream.memory_usage()
            + self.input.capacity()
            + self.parser.memory_usage()
            + self.output.memory_usage()
            + self.output.shared_len()
            + session.watched.capacity() * size_of::<WatchedKey>()
            + session.watched.len() * WATCH_ENTRY_BYTES
            + figures.multi_mem.load(Ordering::Relaxed)
            + session
                .tracking
                .as_ref()
                .map_or(0, |tracking| tracking.memory_usage())
            + session
                .subscriptions
                .as_ref()
                .map_or(0, |own| own.memory_usage())
            + self
                .waiter
                .as_ref()
                .map_or(0, |waiter| waiter.args.as_args().byte_len())
    }
}

fn set(figure: &std::sync::atomic::AtomicUsize, value: usize) {
    figure.store(value, Ordering::Relaxed);
}
