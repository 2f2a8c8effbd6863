//! The timers of the server: they run in the first worker.

use std::sync::atomic::Ordering;

use engine::config::P;
use engine::execute::Executor;

use super::listen::rebind;
use super::signals::check_signals;
use crate::jobs::{rewrite, snapshot};
use crate::net::balance::Balance;
use crate::observe::info::sys::thread_times;
use crate::server::Server;
use crate::transport::mailbox::Message;

/// The timers of the first worker.
#[derive(Default)]
pub(crate) struct Cron {
    next_ms: u64,
    next_mend_ms: u64,
    next_listen_ms: u64,
    expire_from: usize,
    balance: Balance,
}

/// Time between two looks at whether the log needs a new base, in milliseconds: a disk that failed
/// does not recover any faster.
const MEND_INTERVAL_MS: u64 = 2_000;

/// Time between two looks at whether there is a listening socket, in milliseconds. A change of
/// `port` or `bind` that failed, and could not be taken back either, leaves none.
const LISTEN_INTERVAL_MS: u64 = 10_000;

/// Opens the listening sockets of the configuration when there is none.
fn listen_again(server: &Server) {
    if server.lock_listeners().is_empty() && !server.shutdown.is_requested() {
        match rebind(server) {
            Ok(()) => log::info!("Listening again"),
            Err(error) => log::warn!("The server listens nowhere: {error}"),
        }
    }
}

/// Closes clients that have had `auth-timeout` seconds for a login. Without a password there is
/// nothing to wait for.
fn close_strangers(server: &Server, steady_ms: u64) {
    let seconds = server.engine.config.int(P::AuthTimeout).unsigned_abs();
    if seconds == 0 || server.engine.users.default_user().is_open() {
        return;
    }
    let Some(before_ms) = steady_ms.checked_sub(seconds * 1000) else {
        return;
    };
    for client in server.engine.clients.remove_strangers_before(before_ms) {
        log::info!(
            "Closing {}, which has not authenticated within {seconds} s",
            client.addr
        );
        server.send_to(&client, Message::Kill(client.id));
    }
}

impl Cron {
    /// Called once per loop turn.
    pub(crate) fn tick(&mut self, server: &Server, exec: &mut Executor) {
        check_signals(server);
        super::shutdown::check(server, exec.steady_ms);
        if server.engine.switches.pause_cron.load(Ordering::Relaxed) {
            return;
        }
        if exec.now_ms >= server.engine.next_expiry_ms.load(Ordering::Acquire) {
            let next = engine::execute::expire::run(exec, &server.engine, &mut self.expire_from);
            server
                .engine
                .next_expiry_ms
                .fetch_min(next, Ordering::AcqRel);
        }
        let steady_ms = exec.steady_ms;
        if steady_ms < self.next_ms {
            return;
        }
        self.next_ms = steady_ms + 100;
        let began_ns = server.engine.clock.monotonic_ns();
        server.engine.lru.refresh(steady_ms);
        server.metrics.sample(&server.engine);
        let times = thread_times();
        server.metrics.note_main_thread([times.system, times.user]);
        self.balance.tick(server, steady_ms, exec.now_ns);
        snapshot::tick(server, steady_ms);
        rewrite::tick(server, steady_ms);
        server.migrations.close_idle();
        close_strangers(server, steady_ms);
        if steady_ms >= self.next_listen_ms {
            self.next_listen_ms = steady_ms + LISTEN_INTERVAL_MS;
            listen_again(server);
        }
        if steady_ms >= self.next_mend_ms {
            self.next_mend_ms = steady_ms + MEND_INTERVAL_MS;
            rewrite::mend(server);
        }
        if let Some(worker) = server.workers.first() {
            let nanos = server.engine.clock.monotonic_ns().saturating_sub(began_ns);
            worker.stats().cron_nanos.add(nanos);
        }
    }
}
