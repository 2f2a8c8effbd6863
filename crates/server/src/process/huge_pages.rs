//! The thread that moves full memory into huge pages (`background-huge-pages`).
//!
//! Its priority is that of the workers: a call holds a lock of the kernel for a moment, for which
//! page faults of workers wait, and a thread of lower priority could lose its processor then.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::os::huge_pages::{Memory, Walk};
use crate::os::os_text;
use crate::server::Server;

/// Less memory than this is within reach of the processor's own tables of addresses.
const LEAST_BYTES: u64 = 16 * 1024 * 1024;

/// Least time between two walks.
const PERIOD: Duration = Duration::from_secs(1);
/// Rest after a walk: looking takes 1 % of a processor at most.
const RESTS_PER_WALK: u32 = 100;
/// Longest rest after a walk: full memory does not wait for longer.
const REST_MAX: Duration = Duration::from_secs(30);
/// Rest when the kernel had no memory for another huge page.
const REST_WHEN_SHORT: Duration = Duration::from_secs(60);
/// The thread looks this often whether the server ends.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);

/// Starts the thread. Without it everything works, a little slower.
pub fn make_huge_pages(server: &Arc<Server>) {
    let server = Arc::downgrade(server);
    let thread = std::thread::Builder::new().name("huge-pages".to_owned());
    if let Err(error) = thread.spawn(move || work(&server)) {
        log::warn!("No thread for huge pages: {}", os_text(&error));
    }
}

fn work(server: &Weak<Server>) {
    let Some(mut memory) = Memory::open() else {
        return;
    };
    let mut rest = PERIOD;
    while sleep(server, rest) {
        rest = PERIOD;
        if keyspace::memory::used() < LEAST_BYTES {
            continue;
        }
        let began = Instant::now();
        match walk(server, &mut memory) {
            Ok((Walk::Done, other)) => {
                let looking = began.elapsed().saturating_sub(other);
                rest = rest.max(looking * RESTS_PER_WALK).min(REST_MAX);
            }
            Ok((Walk::Short, _)) => rest = REST_WHEN_SHORT,
            Ok((Walk::Stopped, _)) => return,
            Ok((Walk::Refused, _)) => {
                log::debug!("The kernel makes no huge pages on request");
                return;
            }
            Err(error) => {
                log::debug!("Looking for memory to put into huge pages: {error}");
                return;
            }
        }
        keyspace::memory::publish();
    }
}

/// A walk, and how much of its time was not for looking. INFO gets what is covered.
fn walk(server: &Weak<Server>, memory: &mut Memory) -> io::Result<(Walk, Duration)> {
    let publish = |covered| {
        if let Some(server) = server.upgrade() {
            server.huge_page_bytes.store(covered, Ordering::Relaxed);
        }
    };
    let mut other = Duration::ZERO;
    let walk = memory.walk(|rest| {
        publish(rest.covered);
        let began = Instant::now();
        let goes_on = sleep(server, rest.length);
        other += rest.behind + began.elapsed();
        goes_on
    })?;
    publish(memory.covered()?);
    Ok((walk, other))
}

/// Sleeps; false when the server ends.
fn sleep(server: &Weak<Server>, mut time: Duration) -> bool {
    loop {
        let step = time.min(LONGEST_SLEEP);
        std::thread::sleep(step);
        time -= step;
        let server = server.upgrade();
        if server.is_none_or(|server| server.shutdown.is_requested()) {
            return false;
        }
        if time.is_zero() {
            return true;
        }
    }
}
