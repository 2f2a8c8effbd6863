//! MONITOR: clients that see every command as it is executed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use resp::Args;

use crate::client::ClientShared;
use crate::command::Flags;
use crate::engine::Engine;
use crate::redact;
use crate::session::Session;
use crate::table::Command;

/// The clients in MONITOR mode.
#[derive(Default)]
pub struct Monitors {
    /// Length of `clients`, so that a server without monitors pays one relaxed load per command.
    count: AtomicUsize,
    clients: Mutex<Vec<Arc<ClientShared>>>,
}

impl Monitors {
    /// Starts sending commands to a client; a second time changes nothing.
    pub fn add(&self, client: &Arc<ClientShared>) {
        let mut clients = self.lock();
        if !clients.iter().any(|other| other.id == client.id) {
            clients.push(Arc::clone(client));
        }
        self.count.store(clients.len(), Ordering::Relaxed);
    }

    /// Stops sending commands to a client (RESET, disconnect).
    pub fn remove(&self, client: &ClientShared) {
        let mut clients = self.lock();
        clients.retain(|other| other.id != client.id);
        self.count.store(clients.len(), Ordering::Relaxed);
    }

    /// How many clients monitor.
    #[inline]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<ClientShared>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lines for the monitors, of the commands of one execution.
#[derive(Default)]
pub struct MonitorLines(String);

impl MonitorLines {
    /// Notes a command that has just run.
    #[inline]
    pub fn note(&mut self, engine: &Engine, session: &Session, entry: &Command, args: Args<'_>) {
        if engine.monitors.count() != 0 {
            self.push(engine, session, entry, args);
        }
    }

    #[cold]
    fn push(&mut self, engine: &Engine, session: &Session, entry: &Command, args: Args<'_>) {
        let hidden = Flags::SKIP_MONITOR.or(Flags::ADMIN);
        if !entry.spec.flags.any(hidden) && session.is_client() {
            let line = line(engine.clock.unix_us(), session, entry, args);
            self.0.push_str(&line);
        }
    }

    /// True when there is nothing to show.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Shows the commands to all monitors, in the order in which they are logged: under the locks
    /// of the execution, when its effects are appended. They leave when the log is flushed up to
    /// `after`.
    #[cold]
    pub fn deliver(&mut self, engine: &Engine, after: u64) {
        let lines = std::mem::take(&mut self.0);
        let clients = engine.monitors.lock();
        engine.deliver_many(clients.iter(), after, |out| out.raw(lines.as_bytes()));
    }
}

/// `+<seconds>.<microseconds> [<db> <address>] "cmd" "arg" ...`.
fn line(now_us: u64, session: &Session, entry: &Command, args: Args<'_>) -> String {
    let client = &session.shared;
    let mut line = format!(
        "+{}.{:06} [{} ",
        now_us / 1_000_000,
        now_us % 1_000_000,
        session.db
    );
    if client.is_unix_socket() {
        line.push_str("unix:");
        line.push_str(client.addr.strip_suffix(":0").unwrap_or(&client.addr));
    } else {
        line.push_str(&client.addr);
    }
    line.push(']');
    for index in 0..args.len() {
        line.push(' ');
        line.push_str(&resp::quoted(redact::shown(entry, args, index)));
    }
    line.push_str("\r\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Origin;
    use crate::table::CommandTable;
    use resp::OwnedArgs;

    fn client(id: u64) -> Arc<ClientShared> {
        let addr = "127.0.0.1:60866".to_owned();
        Arc::new(ClientShared::new(id, addr.clone(), addr, 8, 0, 0))
    }

    #[test]
    fn clients_are_counted_once() {
        let monitors = Monitors::default();
        let one = client(1);
        monitors.add(&one);
        monitors.add(&one);
        monitors.add(&client(2));
        assert_eq!(monitors.count(), 2);
        monitors.remove(&one);
        monitors.remove(&one);
        assert_eq!(monitors.count(), 1);
    }

    #[test]
    fn a_line_is_quoted_and_redacted() {
        let table = CommandTable::new(crate::commands::GROUPS, &[]).expect("no renames");
        let mut session = Session::new(client(1), Origin::Client, true);
        session.db = 9;
        let owned = OwnedArgs::from_slices(&[b"AUTH", b"secret"]);
        let entry = table.lookup(b"auth").expect("known");
        assert_eq!(
            line(1_339_518_083_107_412, &session, entry, owned.as_args()),
            "+1339518083.107412 [9 127.0.0.1:60866] \"AUTH\" \"(redacted)\"\r\n"
        );
        let owned = OwnedArgs::from_slices(&[b"ECHO", b"a\"\r\n\xff"]);
        let entry = table.lookup(b"echo").expect("known");
        assert!(
            line(0, &session, entry, owned.as_args())
                .ends_with("\"ECHO\" \"a\\\"\\r\\n\\xff\"\r\n")
        );
    }
}
